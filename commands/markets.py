"""Commands that show what the markets did."""

from __future__ import annotations

from alerts.wording import listed
from base import text
from botapi.updates import Update
from commands.context import Desk, Reply, Usage

SHORTEST_CHART, LONGEST_CHART = 3600.0, 30 * 86400.0  # the bars are kept for so long


def whales(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    symbol, limit = None, 5
    for argument in arguments:
        if argument.isascii() and argument.isdigit():
            limit = int(argument)
            if not 1 <= limit <= 20:
                raise Usage("I list from 1 to 20 orders.")
        elif symbol is not None:
            raise Usage("I need one coin, or none for all of them.")
        else:
            symbol = desk.symbol(argument)
    found = desk.store.messages.alerts("whales", symbol, limit=limit)
    if not found:
        return [Reply(text=f"No whale orders{f' of {symbol}' if symbol else ''} seen yet. I keep looking.")]
    now, zone = desk.now(), desk.zone(update)
    lines = [listed(alert, now=now, zone=zone, named=True) for alert in found]
    return [Reply(text="\n".join(lines), html=True)]


def chart(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    symbol, seconds = "", 86400.0
    for argument in arguments:
        try:
            seconds = text.parse_duration(argument)
        except ValueError:
            if symbol:
                raise Usage("I can draw one coin in a chart.") from None
            symbol = desk.symbol(argument)
    symbol = symbol or desk.symbols[0]
    if not SHORTEST_CHART <= seconds <= LONGEST_CHART:
        raise Usage("A chart covers from 1h to 30d.")
    chat = desk.store.chats.get(update.chat_id)
    wanted = {
        "kind": "chart",
        "symbol": symbol,
        "seconds": seconds,
        "zone": "UTC" if chat is None else chat.timezone,
        "owner": desk.is_owner(update) and update.chat_id == update.user_id,  # in private: paths are not for a group
    }
    return [Reply(text=f"{symbol}, the last {text.duration(seconds)}", method="sendPhoto", attachment=wanted)]
