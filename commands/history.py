"""Commands about this chat's alerts: what came and what was held, and how one would look."""

from __future__ import annotations

from dataclasses import replace

from alerts.preferences import Heard, decide
from alerts.publish import payload
from alerts.wording import listed
from base import text
from botapi.updates import Update
from commands.context import Desk, Reply, Usage
from store.rows import MONITORS, Alert, Chat

# What became of an alert, where it did not simply come.
_BECAME = {
    "pending": "being sent",
    "buried": "could not be delivered",
    Heard.QUIET.value: "held: quiet hours",
    Heard.CAP.value: "held: hourly cap",
    Heard.MUTED.value: "muted",
    "told": "held, told later",
    "dropped": "held, then alerts were switched off",
}


def history(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    limit = 10
    if arguments:
        typed = arguments[0] if len(arguments) == 1 else ""
        limit = int(typed[:9]) if typed.isascii() and typed.isdigit() else 0
        if not 1 <= limit <= 50:
            raise Usage("I list from 1 to 50 alerts.")
    found = desk.store.messages.history(update.chat_id, limit=limit)
    if not found:
        return [Reply(text="No alerts in this chat in the last 30 days.")]
    now, zone = desk.now(), desk.zone(update)
    lines = [f"<b>The last {text.count(len(found), 'alert')}</b>, times in {text.offset_at(now, zone)}"]
    for told in found:
        became = f" · <i>{_BECAME[told.how]}</i>" if told.how in _BECAME else ""
        lines.append(f"{listed(told.alert, now=now, zone=zone)}{became}")
    return [Reply(text="\n".join(lines), html=True)]


def test(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    word = arguments[0].lower() if len(arguments) == 1 else ""
    named = [monitor for monitor in MONITORS if len(word) >= 3 and monitor.startswith(word)]
    if arguments and not named:
        raise Usage(f"I need one of {', '.join(MONITORS)}.")
    now = desk.now()
    alert = _sample(desk, chat, named[0] if named else "whales", now)
    least = desk.default_min(alert.monitor, alert.symbol)
    heard = decide(chat, alert, now=now, default_min=least)
    # As loud as its level makes it, also where it would be held just now.
    open_chat = replace(chat, quiet="", muted_until=0.0, symbol_mutes={})
    sound = decide(open_chat, alert, now=now, default_min=least)
    message = payload(open_chat, [alert], now=now, heard=sound)
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [
        Reply(
            text=f"{message['text']}\n\n<i>This is a test: nothing happened on a market. {_WOULD[heard]}</i>",
            html=True,
            keyboard=tuple(tuple((button["text"], button["callback_data"]) for button in row) for row in rows),
            silent=sound is Heard.SILENT,
        )
    ]


_WOULD = {
    Heard.LOUD: "A real one would come with a sound.",
    Heard.SILENT: "A real one would come without a sound.",
    Heard.QUIET: "A real one would be held now: these are quiet hours.",
    Heard.CAP: "A real one would be held now.",
    Heard.MUTED: "A real one would only be counted now: it is muted.",
    Heard.NO: "A real one would not come: it is off here (/settings).",
}


def _sample(desk: Desk, chat: Chat, monitor: str, now: float) -> Alert:
    """An alert as the market would make it now: like the newest real one of a coin, or made up."""
    coins = [symbol for symbol in desk.symbols if symbol in desk.watched(chat)] or list(desk.symbols)
    symbol = coins[0]
    # A wallet is the affair of the chat that watches it: another chat's alerts are no sample.
    newest = desk.store.messages.alerts(monitor, symbol, limit=1) if monitor != "wallets" else []
    sample = newest[0] if newest else _made_up(desk, chat, monitor, symbol)
    return replace(sample, key="test", headline=f"TEST: {sample.headline}", at_ms=int(now * 1000), late=False)


def _made_up(desk: Desk, chat: Chat, monitor: str, symbol: str) -> Alert:
    usd = 2.5 * (chat.threshold(monitor, symbol, desk.default_min(monitor, symbol)) or 1e6)
    worth = f"{text.usd(usd)} USD at 1,234.5"
    side, headline, facts, venue = {
        "whales": ("buy", f"{symbol} buy {worth}", "38 fills in 0.2 s · price 1,234.1 → 1,235", "Binance spot"),
        "liquidations": ("long", f"{symbol} long liquidated on OKX: {worth}", "", "OKX"),
        "funding": (
            *("", f"{symbol} funding on OKX: +0.1200 % for 8 h, +131 % a year"),
            *("longs pay shorts, beyond +0.1 % · charged every 8 h", "OKX"),
        ),
        "wallets": (
            *("buy", f"A wallet opened a {symbol} long: {worth}"),
            *("entry 1,230 · 10x · liquidation at 1,120, 9.3% away", "Hyperliquid"),
        ),
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
