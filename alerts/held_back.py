"""The alerts held back for a chat arrive later as one summary: each coin with its totals, and the largest alerts.

Held in quiet hours: sent when they end. Held over the hourly limit: sent in the chat's next digest or, without one,
when the hour is over. Taking and enqueueing are one transaction: a kill neither loses nor doubles.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from alerts import wording
from alerts.preferences import Outcome, hour_began, is_quiet
from alerts.publish import enqueue
from base import text
from base.worker import heartbeat
from store import Store
from store.messages import HeldBack
from store.rows import Alert, Chat, HistoryEntry

log = logging.getLogger(__name__)

AT_ONCE = 5.0  # seconds of one look: the schedule thread has other jobs
LARGEST = 5  # alerts of one monitor that get a line of their own


def send_due(store: Store, *, now: float, monotonic: Callable[[], float] = time.monotonic) -> bool:
    """Enqueue the summaries of chats whose time has come; of many, the next call does the rest. True if any was.

    Raises StoreError.
    """
    sent, ends_at = False, monotonic() + AT_ONCE
    for found in store.messages.held_back():
        heartbeat()
        if monotonic() > ends_at:
            break
        chat_id = found.chat.chat_id
        try:
            if is_due(found, now=now):
                with store.transaction():
                    sent |= _send_if_due(store, chat_id, now=now)
        except (LookupError, TypeError, ValueError):  # what is stored of one chat must not stop the others
            log.exception("The alerts held back for chat %d could not be put together", chat_id)
    return sent


def _send_if_due(store: Store, chat_id: int, *, now: float) -> bool:
    chat, held = store.chats.get(chat_id), store.messages.held(chat_id)
    if not held:  # none of them can be read
        store.messages.settle_held(chat_id, "dropped")
    if chat is None or not chat.subscribed or not is_due(of(store, chat, held), now=now):
        return False
    silent = all(chat.levels.get(entry.alert.monitor) == "silent" for entry in held)
    enqueue(store, chat, take(store, chat, now=now), now=now, silent=silent, html=True)
    return True


def of(store: Store, chat: Chat, held: Sequence[HistoryEntry]) -> HeldBack | None:
    """When what is held back for the chat came and will go; None for nothing."""
    if not held:
        return None
    quiet = any(entry.how == Outcome.QUIET.value for entry in held)
    return HeldBack(chat, min(entry.at for entry in held), quiet, store.schedules.next_digest(chat.chat_id))


def is_due(found: HeldBack | None, *, now: float) -> bool:
    """Is it time to send them? What the next digest brings is left to it (digest.py)."""
    if found is None or is_quiet(found.chat, now) or found.chat.paused(now):
        return False
    return (found.quiet or found.digest_at is None) and due_at(found, now=now) <= now


def due_at(found: HeldBack, *, now: float) -> float:
    """When they are sent, by the settings as they are now; never in quiet hours or while everything is muted."""
    chat = found.chat
    if not found.quiet and found.digest_at is not None:
        return found.digest_at
    at = now
    if not found.quiet and found.first <= now:  # else a clock that was ahead marked it
        at = hour_began(chat, found.first) + 3600
    at = max(at, now + chat.muted_for(now))
    quiet = chat.quiet_hours
    return (quiet.until(at, chat.zone) if quiet is not None else None) or at


def take(store: Store, chat: Chat, *, now: float, in_digest: bool = False) -> str:
    """The summary of all alerts held back for the chat, as Telegram HTML, "" for none. They are held no longer.

    in_digest: the largest whale orders are listed above it.
    To be called in the transaction that enqueues the summary.
    """
    held = store.messages.held(chat.chat_id)
    if not held:
        return ""
    store.messages.settle_held(chat.chat_id, "told")
    first, last = (text.clock(entry.at, now=now, zone=chat.zone) for entry in (held[0], held[-1]))
    lines = [
        f"<b>Held back: {text.count(len(held), 'alert')}</b>",
        f"{first} to {last}" if first != last else first,
        reasons(held),
    ]
    for monitor in dict.fromkeys(entry.alert.monitor for entry in held):
        listed = 0 if in_digest and monitor == "whales" else LARGEST
        found = [entry.alert for entry in held if entry.alert.monitor == monitor]
        lines += ["", *_of_monitor(chat, found, now=now, most=listed)]
    return "\n".join(lines)


def reasons(held: Sequence[HistoryEntry]) -> str:
    """`12 in quiet hours · 2 over the hourly limit`"""
    over = sum(entry.how == Outcome.CAP.value for entry in held)
    whys = [f"{len(held) - over:,} in quiet hours"] if over < len(held) else []
    return " · ".join([*whys, f"{over:,} over the hourly limit"] if over else whys)


def _of_monitor(chat: Chat, found: Sequence[Alert], *, now: float, most: int) -> list[str]:
    coins: dict[str, list[Alert]] = {}
    for alert in found:
        coins.setdefault(alert.symbol, []).append(alert)
    by_size = sorted(coins.items(), key=lambda coin: sum(alert.usd for alert in coin[1]), reverse=True)
    lines = [f"<b>{wording.count(len(found), found[0].monitor)}</b>"]
    lines += [text.escape(f"{symbol}: {wording.totals(mine)}") for symbol, mine in by_size]
    if len(found) > most > 0:
        lines.append("Largest:")
    largest = sorted(found, key=lambda alert: alert.usd, reverse=True)[:most]
    lines += [wording.listed(alert, now=now, zone=chat.zone) for alert in sorted(largest, key=lambda alert: alert.at)]
    return lines
