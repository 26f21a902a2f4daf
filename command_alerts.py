"""Commands about this chat's alerts: what came and what was held, and how one would look."""

from __future__ import annotations

from dataclasses import replace

import alerts
import preferences
import text
from access import Update
from desk import Desk, Reply, Usage
from preferences import Heard
from records import MONITORS, Alert, Chat

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
    found = desk.store.history(update.chat_id, limit=limit)
    if not found:
        return [Reply(text="No alerts in this chat in the last 30 days.")]
    now, zone = desk.now(), desk.zone(update)
    lines = [f"<b>The last {text.count(len(found), 'alert')}</b>, times in {text.offset_at(now, zone)}"]
    for told in found:
        at = text.clock(told.alert.at, now=now, zone=zone, named=False)
        became = f" · <i>{_BECAME[told.how]}</i>" if told.how in _BECAME else ""
        lines.append(f"{at} {alerts.headline(told.alert)} · {text.escape(told.alert.venue)}{became}")
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
    heard = preferences.decide(chat, alert, now=now, default_min=least)
    # As loud as its level makes it, also where it would be held just now.
    open_chat = replace(chat, quiet="", muted_until=0.0, symbol_mutes={})
    sound = preferences.decide(open_chat, alert, now=now, default_min=least)
    message = alerts.payload(open_chat, [alert], now=now, heard=sound)
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
    """An alert of the monitor as the market would make it: the newest real one, or one of this size and place."""
    coins = [symbol for symbol in desk.symbols if symbol in desk.watched(chat)] or list(desk.symbols)
    symbol = coins[0]
    usd = max(10_000.0, 2.5 * chat.threshold(monitor, symbol, desk.default_min(monitor, symbol)))
    newest = [Alert(**body) for body in desk.store.alerts(monitor, symbol, limit=1)]
    sample = newest[0] if newest else _MADE_UP[monitor]
    headline = sample.headline
    if not newest:
        headline = headline.format(symbol=symbol, usd=text.usd(usd))
    return replace(
        sample,
        key="test",
        monitor=monitor,
        symbol=symbol,
        usd=sample.usd if newest else usd,
        headline=f"TEST: {headline}",
        at_ms=int(now * 1000),
        late=False,
    )


def _made_up(monitor: str, side: str, headline: str, facts: str, venue: str) -> Alert:
    url = "https://www.tradingview.com/symbols/BTCUSD/"
    return Alert(
        key="test",
        monitor=monitor,
        symbol="",
        side=side,
        usd=0.0,
        headline=headline,
        facts=facts,
        at_ms=0,
        venue=venue,
        url=url,
    )


_MADE_UP = {
    "whales": _made_up(
        *("whales", "buy", "{symbol} buy {usd} USD at 1,234.5", "38 fills in 0.2 s · price 1,234.1 → 1,235"),
        "Binance spot",
    ),
    "liquidations": _made_up("liquidations", "long", "{symbol} long liquidated, {usd} USD at 1,234.5", "", "OKX"),
    "funding": _made_up("funding", "", "{symbol} funding +0.12 % for 8 h", "+131 % a year", "OKX"),
    "wallets": _made_up("wallets", "buy", "0x12ab…34cd opened a {symbol} long of {usd} USD", "", "Hyperliquid"),
}
