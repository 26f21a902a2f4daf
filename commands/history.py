"""Commands about this chat's alerts: which were sent or held back, and a sample alert."""

from __future__ import annotations

from dataclasses import replace

from alerts.preferences import Outcome, decide
from alerts.publish import payload
from alerts.wording import BECAME, listed
from base import text, typed
from botapi.updates import Update
from commands.context import Context, Reply, Usage
from commands.words import monitor_of
from store.rows import MARKED, Alert, Chat


def history(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """List the latest alerts of this chat, sent or held back."""
    try:
        limit = typed.whole(" ".join(arguments) or "10", 1, 50)
    except ValueError:
        raise Usage("Give a number from 1 to 50.") from None
    found = context.store.history.newest(update.chat_id, limit=limit)
    if not found:
        return [Reply(text="No alerts in this chat in the last 30 days.")]
    now, zone = context.now(), context.zone(update)
    title = "The last alert" if len(found) == 1 else f"The last {len(found)} alerts"
    lines = [f"<b>{title}</b>, times in {text.offset_at(now, zone)}"]
    for entry in found:
        became = f" · <i>{BECAME[entry.how]}</i>" if entry.how in BECAME else ""
        lines.append(f"{listed(entry.alert, now=now, zone=zone)}{became}")
    return [Reply(text="\n".join(lines), html=True)]


def test(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Send a sample alert with the present settings, and say what would happen to a real one."""
    chat = context.need_chat(update)
    now = context.now()
    alert = _sample(context, chat, monitor_of(" ".join(arguments) or "whales"), now)
    least = context.default_min(alert.monitor, alert.symbol)
    outcome = decide(chat, alert, now=now, default_min=least)
    # With the sound of its level, even if it would be held back now.
    open_chat = replace(chat, quiet="", muted_until=0.0, symbol_mutes={})
    sound = decide(open_chat, alert, now=now, default_min=least)
    message = payload(open_chat, [alert], now=now, sound=sound)
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [
        Reply(
            text=f"{message['text']}\n\n<i>This is a test, not a real trade. {_WOULD[outcome]}</i>",
            html=True,
            keyboard=tuple(tuple((button["text"], button["callback_data"]) for button in row) for row in rows),
            silent=sound is Outcome.SILENT,
        )
    ]


_WOULD = {
    Outcome.LOUD: "A real alert would come with sound.",
    Outcome.SILENT: "A real alert would come without sound.",
    Outcome.QUIET: "A real alert would be held back now (quiet hours).",
    Outcome.CAP: "A real alert would be held back now (hourly limit).",
    Outcome.MUTED: "A real alert would not be sent now (muted); /history would list it.",
    Outcome.PAUSED: "A real alert would be tried tomorrow: the bot was not allowed to write here.",
    Outcome.NO: "A real alert would not come: this kind is off (/settings).",
}


def _sample(context: Context, chat: Chat, monitor: str, now: float) -> Alert:
    """A sample alert: like the newest real one of a coin the chat follows, or made up."""
    coins = context.followed(chat) or list(context.symbols)
    symbol = coins[0]
    # Wallets and prices are the business of the chat that follows them.
    newest = [] if monitor in ("wallets", "prices") else context.store.messages.alerts(monitor, symbol, limit=1)
    sample = newest[0] if newest else _made_up(context, chat, monitor, symbol)
    mark = chat.threshold(monitor, symbol, context.default_min(monitor, symbol)) if monitor in MARKED else 0.0
    sample = replace(sample, key="test", at_ms=int(now * 1000), late=False, mark=mark)
    return replace(sample, headline=f"TEST: {sample.headline}")


def _made_up(context: Context, chat: Chat, monitor: str, symbol: str) -> Alert:
    usd = 2.5 * (chat.threshold(monitor, symbol, context.default_min(monitor, symbol)) or 1e6)
    bar = context.store.markets.one_bar(symbol, since=context.now() - 86400)
    price = 1234.5 if bar is None else bar.close
    worth = f"{text.usd(usd)} USD at {text.price(price)}"
    end, entry, ruin = (text.price(price * share, beside=price) for share in (1.0005, 0.996, 0.907))
    side, headline, facts, venue = {
        "whales": (
            "buy",
            f"{symbol} buy {worth}",
            f"38 fills in 0.2 s · price {text.price(price, beside=price * 1.0005)} → {end}",
            "Binance spot",
        ),
        "liquidations": ("long", f"{symbol} long liquidated on OKX: {worth}", "", "OKX"),
        "funding": (
            "",
            f"{symbol} funding on OKX: +0.1200 % for 8 h, +131 % a year",
            "longs pay shorts, above +0.1 % · charged every 8 h",
            "OKX",
        ),
        "oi": (
            "",
            f"{symbol} open interest on OKX: +12.4 % in 52 min",
            f"269M USD opened, now 2.43B USD · price {text.percent(0.018)}",
            "OKX",
        ),
        "wallets": (
            "buy",
            f"A wallet opened a {symbol} long: {worth}",
            f"entry {entry} · 10x · liquidation at {ruin}, 9.3% away",
            "Hyperliquid",
        ),
        "prices": ("", f"{symbol} rose to 1,234.5: your note", "first trade at 1,234.6", "Binance spot"),
    }[monitor]
    return Alert(
        key="test",
        monitor=monitor,
        symbol=symbol,
        side=side,
        usd=usd,
        headline=headline,
        facts=facts,
        at_ms=0,
        venue=venue,
        url="https://www.tradingview.com/symbols/BTCUSD/",
    )
