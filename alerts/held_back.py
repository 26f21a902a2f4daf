"""What was held back for a chat is told later, all of it: coins with counts and net, and the biggest by name.

Held by quiet hours: told when they end. Held by the hourly cap: told in the chat's next digest or, where none is
planned, when the hour is over. Taking and enqueueing are one transaction: a kill neither loses nor doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alerts import preferences, publish
from alerts.preferences import Heard
from base import text
from botapi.storage import ALERTS
from store import Store
from store.rows import Alert, Chat, HistoryEntry

BIGGEST = 5  # alerts of one monitor that get a line of their own


def tell_due(store: Store, *, now: float) -> bool:
    """Enqueue what was held for every chat whose time has come. True if there was any."""
    told = False
    for chat_id in store.messages.chats_holding():
        with store.transaction():
            chat = store.chats.get(chat_id)
            if chat is None or not chat.subscribed or preferences.is_quiet(chat, now):
                continue
            waiting = store.messages.held(chat_id)
            if not is_due(chat, waiting, now=now):
                continue
            silent = all(chat.levels.get(one.alert.monitor) == "silent" for one in waiting)
            form: dict[str, Any] = {"parse_mode": "HTML"} | ({"disable_notification": True} if silent else {})
            for part in text.split(take(store, chat, now=now)):
                payload = publish.addressed(chat, {"text": part, **form})
                store.messages.enqueue(chat_id, "sendMessage", payload, now=now, lane=ALERTS)
            told = True
    return told


def is_due(chat: Chat, waiting: Sequence[HistoryEntry], *, now: float) -> bool:
    """Is it time to tell? What the next digest brings is left to it (digest.py)."""
    return bool(waiting) and not _is_for_digest(chat, waiting) and due_at(chat, waiting, now=now) <= now


def due_at(chat: Chat, waiting: Sequence[HistoryEntry], *, now: float) -> float:
    """When what waits is told, by the settings as they are now; never in quiet hours or while all is muted."""
    if _is_for_digest(chat, waiting):
        assert chat.digest_at is not None
        return chat.digest_at
    at = now
    if not _any_quiet(waiting):
        at = preferences.hour_began(chat, min(one.at for one in waiting)) + 3600
    at = max(at, now, chat.muted_until)
    quiet = chat.quiet_hours
    return (quiet.until(at, chat.zone) if quiet is not None else None) or at


def _is_for_digest(chat: Chat, waiting: Sequence[HistoryEntry]) -> bool:
    return chat.digest_at is not None and not _any_quiet(waiting)


def _any_quiet(waiting: Sequence[HistoryEntry]) -> bool:
    return any(one.how == Heard.QUIET.value for one in waiting)


def take(store: Store, chat: Chat, *, now: float) -> str:
    """Word all that waits for the chat, as Telegram HTML in whole lines, "" for nothing; it no longer waits.

    To be called in the transaction that enqueues the words.
    """
    waiting = store.messages.held(chat.chat_id)
    if not waiting:
        return ""
    store.messages.settle_held(chat.chat_id, "told")
    return words(chat, waiting, now=now)


def words(chat: Chat, waiting: Sequence[HistoryEntry], *, now: float) -> str:
    first, last = (text.clock(one.at, now=now, zone=chat.zone) for one in (waiting[0], waiting[-1]))
    lines = [
        f"<b>Held back: {text.count(len(waiting), 'alert')}</b>",
        f"{first} to {last}" if first != last else first,
        reasons(waiting),
    ]
    for monitor in dict.fromkeys(one.alert.monitor for one in waiting):
        lines += ["", *_of_monitor(chat, [one.alert for one in waiting if one.alert.monitor == monitor], now=now)]
    return "\n".join(lines)


def reasons(waiting: Sequence[HistoryEntry]) -> str:
    """`quiet hours 12 · over the hourly cap 2`"""
    over = sum(one.how == Heard.CAP.value for one in waiting)
    whys = [f"quiet hours {len(waiting) - over:,}"] if over < len(waiting) else []
    return " · ".join([*whys, f"over the hourly cap {over:,}"] if over else whys)


def _of_monitor(chat: Chat, found: Sequence[Alert], *, now: float) -> list[str]:
    noun = publish.noun(found[0].monitor)
    lines = [f"<b>{text.count(len(found), noun)}</b>"]
    coins = {symbol: [a for a in found if a.symbol == symbol] for symbol in dict.fromkeys(a.symbol for a in found)}
    by_size = sorted(coins.items(), key=lambda coin: sum(alert.usd for alert in coin[1]), reverse=True)
    lines += [text.escape(f"{symbol}: {publish.totals(mine)}") for symbol, mine in by_size]
    biggest = sorted(found, key=lambda alert: alert.usd, reverse=True)[:BIGGEST]
    if len(found) > BIGGEST:
        lines.append("The biggest:")
    for alert in sorted(biggest, key=lambda alert: alert.at):
        at = text.clock(alert.at, now=now, zone=chat.zone, named=False)
        lines.append(f"{at} {publish.headline(alert)} · {text.escape(alert.venue)}")
    return lines
