"""Who administers the groups: asked of Telegram now and then, kept in the store, read by the gate (access.py).

Commands never touch the network, so the list is asked for by a job: soon after /start, then once an hour. Asking is
what works in every group: updates about members come only to a bot that is an administrator itself. So someone who
is no longer an administrator may still change settings for up to an hour; who cannot be verified may not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from botapi.client import Rejected, TelegramError
from store import Store

log = logging.getLogger(__name__)

EVERY = 3600.0  # seconds between two questions about a group
TRUSTED = 2 * EVERY  # how old an answer may be
RETRY = 60.0


class Groups:
    """Asks for the administrators of every group with a subscription. `ask`: chat id to user ids, may raise."""

    def __init__(self, store: Store, *, ask: Callable[[int], list[int]], now: Callable[[], float]) -> None:
        self._store = store
        self._ask = ask
        self._now = now
        self._retry_at = 0.0

    def tick(self) -> None:
        """Ask about the groups whose turn it is. What Telegram refuses or cannot answer is nobody's error here."""
        for chat in self._store.chats():
            now = self._now()
            if chat.kind == "private" or now < self._retry_at or now - _known(self._store, chat.chat_id)[0] < EVERY:
                continue
            try:
                found = self._ask(chat.chat_id)
            except Rejected as error:
                log.info("The administrators of a group are not told (%s): only allowed users may set it", error)
                found = []
            except TelegramError:
                self._retry_at = now + RETRY
                return
            self._store.set_value(_name(chat.chat_id), json.dumps({"at": now, "ids": found}))


def administers(store: Store, chat_id: int, user_id: int, *, now: float) -> bool:
    """Did Telegram say lately that this user is an administrator of that group?"""
    at, ids = _known(store, chat_id)
    return user_id in ids and abs(now - at) < TRUSTED


def _known(store: Store, chat_id: int) -> tuple[float, list[int]]:
    value = store.value(_name(chat_id))
    if value is None:
        return 0.0, []
    known = json.loads(value)
    return known["at"], known["ids"]


def _name(chat_id: int) -> str:
    return f"administrators:{chat_id}"
