"""What Telegram has taken, until the store knows that it was sent. Several marks are written as one.

Writing one may take a way to a server and back. Meanwhile the marks of other messages gather, and go together next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from botapi.storage import Delivery, Storage, StoreError


class Marks:
    """Safe from any thread. waiting: by the delivery's id, with the message's. failed: the last write did.

    sent: called with the seconds from storing a message to its mark.
    """

    def __init__(self, store: Storage, *, now: Callable[[], float], sent: Callable[[float], None]) -> None:
        self.waiting: dict[int, tuple[Delivery, int | None]] = {}
        self.failed = False
        self._store, self._now, self._sent = store, now, sent
        self._writing = False
        self._turn = threading.Condition()

    def sent(self, delivery: Delivery, message_id: int | None) -> bool:
        """Telegram took this message: returns when its mark is written, by whatever thread. As `write`."""
        self.waiting[delivery.id] = (delivery, message_id)
        return self._write(until=lambda: delivery.id not in self.waiting)

    def write(self) -> bool:
        """Write all that waits; True when the content of one was revised meanwhile, and an edit follows.

        Raises StoreError: then they wait on.
        """
        return self._write(until=lambda: not self.waiting)

    def _write(self, *, until: Callable[[], bool]) -> bool:
        with self._turn:
            self._turn.wait_for(lambda: until() or not self._writing)
            if until():
                return False
            self._writing, taken = True, list(self.waiting.values())
        try:
            return self._settle(taken)
        finally:
            with self._turn:
                self._writing = False
                self._turn.notify_all()

    def _settle(self, taken: list[tuple[Delivery, int | None]]) -> bool:
        now = self._now()
        try:
            revised = self._store.settle_all(taken, now=now)
        except StoreError:
            self.failed = True
            raise
        self.failed = False
        for delivery, _ in taken:
            del self.waiting[delivery.id]
            self._sent(now - delivery.created_at)
        return revised
