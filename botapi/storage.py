"""What this package keeps between two steps: how far updates were handled, and the messages still to be sent.

`Storage` says what polling and the outbox need; the bot's own is `store.Store`, in a database. `MemoryStorage` is for
a bot without one: it forgets what was not sent when the process ends.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from base.worker import AlreadyReported

# Lanes of the outbox. Answers and alerts take turns where both wait. TOASTS answer button presses: no messages for
# Telegram's limits, they go first and at once. STRANGERS: what is said to people who may not use the bot goes last.
ANSWERS, ALERTS, TOASTS, STRANGERS = range(4)


class StoreError(AlreadyReported):
    """The database cannot be used. str() says what happened, what it means and what to do."""


class Delivery(NamedTuple):
    """One message to send: a Bot API method with its parameters, for one chat.

    update_id: the update that it answers, None for an alert.
    """

    id: int
    chat_id: int
    lane: int
    method: str
    payload: dict[str, Any]
    revision: int
    created_at: float
    bundle: str | None
    parent: int | None
    update_id: int | None


class Storage(Protocol):
    """Methods called inside `transaction()` commit together or not at all. Any thread; all raise StoreError."""

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[None]: ...

    def value(self, name: str) -> str | None:
        """A small fact by its name, None if there is none."""

    def set_value(self, name: str, value: str) -> None:
        """Keep a small fact."""

    def pending(self, *, after: int = 0) -> list[tuple[int, int, int]]:
        """(id, chat_id, lane) of every message still to be sent with an id above `after`, in order."""

    def sent_since(self, at: float) -> list[tuple[int, float]]:
        """(chat_id, when) of every message that Telegram has taken since then, oldest first."""

    def delivery(self, delivery_id: int) -> Delivery | None:
        """The message if it is still to be sent."""

    def settle_all(self, sent: Sequence[tuple[Delivery, int | None]], *, now: float) -> bool:
        """Telegram took these messages, with these ids. True when one was revised meanwhile and an edit follows."""

    def settle_buried(self, delivery_id: int, *, reason: str, now: float) -> None:
        """The message can never be delivered: keep why."""

    def bury_answers(self, update_ids: Collection[int], *, reason: str, now: float) -> int:
        """The answers to these updates that were not sent yet are not to be sent any more. Returns how many."""

    def send_anew(self, edit: Delivery, *, reason: str, now: float) -> None:
        """The message that an edit was for is gone: its content goes out as a new message."""

    def migrate_chat(self, old: int, new: int) -> None:
        """A group became a supergroup: what waits for the old chat id goes to the new one."""

    def unsubscribe(self, chat_id: int, *, note: str) -> None:
        """The chat cannot be written to any more."""


class MemoryStorage:
    """`Storage` in memory, for a bot without a database. Messages that were not sent end with the process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._values: dict[str, str] = {}
        self._waiting: dict[int, Delivery] = {}
        self._last_id = 0

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[None]:
        """Keeps other threads out; there is nothing to roll back to."""
        return self._lock  # type: ignore[return-value]

    def value(self, name: str) -> str | None:
        return self._values.get(name)

    def set_value(self, name: str, value: str) -> None:
        self._values[name] = value

    def enqueue(
        self,
        chat_id: int,
        method: str,
        payload: dict[str, Any],
        *,
        now: float,
        lane: int = ANSWERS,
        update_id: int | None = None,
    ) -> int:
        """Keep one message to be sent: a Bot API method and its parameters. Returns its id.

        update_id: what it is the answer to, so that it is not sent when another copy has answered meanwhile.
        """
        with self._lock:
            self._last_id += 1
            self._waiting[self._last_id] = Delivery(
                id=self._last_id,
                chat_id=chat_id,
                lane=lane,
                method=method,
                payload=payload,
                revision=0,
                created_at=now,
                bundle=None,
                parent=None,
                update_id=update_id,
            )
            return self._last_id

    def pending(self, *, after: int = 0) -> list[tuple[int, int, int]]:
        with self._lock:
            return [(one.id, one.chat_id, one.lane) for one in self._waiting.values() if one.id > after]

    def sent_since(self, at: float) -> list[tuple[int, float]]:
        return []

    def delivery(self, delivery_id: int) -> Delivery | None:
        return self._waiting.get(delivery_id)

    def settle_all(self, sent: Sequence[tuple[Delivery, int | None]], *, now: float) -> bool:
        for delivery, _ in sent:
            self._waiting.pop(delivery.id, None)
        return False

    def settle_buried(self, delivery_id: int, *, reason: str, now: float) -> None:
        self._waiting.pop(delivery_id, None)

    def bury_answers(self, update_ids: Collection[int], *, reason: str, now: float) -> int:
        with self._lock:
            found = [one.id for one in self._waiting.values() if one.update_id in update_ids]
            for delivery_id in found:
                del self._waiting[delivery_id]
            return len(found)

    def send_anew(self, edit: Delivery, *, reason: str, now: float) -> None:
        with self._lock:
            payload = {name: value for name, value in edit.payload.items() if name != "message_id"}
            self._waiting.pop(edit.id, None)
            self.enqueue(edit.chat_id, "sendMessage", payload, now=now, lane=edit.lane)

    def migrate_chat(self, old: int, new: int) -> None:
        with self._lock:
            for one in list(self._waiting.values()):
                if one.chat_id == old:
                    self._waiting[one.id] = one._replace(chat_id=new)

    def unsubscribe(self, chat_id: int, *, note: str) -> None:
        with self._lock:
            self._waiting = {one.id: one for one in self._waiting.values() if one.chat_id != chat_id}
