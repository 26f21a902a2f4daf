"""What Telegram has taken, until the store knows that it was sent. Several marks are written as one.

Writing one may take a way to a server and back. Meanwhile the marks of other messages gather, and go together next.
A server that crashes forgets what it was told last, while the bot goes on: so the latest marks for one are kept here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from base.stopwatch import Stopwatch
from botapi.storage import Delivery, Storage, StoreError

FORGOTTEN = 2.0  # seconds after which a server has a mark on its disk: over three times PostgreSQL's wal_writer_delay

Sent = tuple[Delivery, int | None]  # what Telegram has taken, and its number there


class Marks:
    """Safe from any thread. waiting: by the delivery's id, with the message's. failed: the last write did.

    sent: called with the seconds from storing a message to its mark. may_be_forgotten: the store is on a server.
    """

    def __init__(self, store: Storage, *, now: Callable[[], float], sent: Callable[[float], None]) -> None:
        self.waiting: dict[int, Sent] = {}
        self.failed = self.may_be_forgotten = False
        self._store, self._now, self._sent = store, now, sent
        self._writing = False
        self._turn = threading.Condition()
        self._written: deque[tuple[Stopwatch, list[Sent]]] = deque()  # lately

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

    def _settle(self, taken: list[Sent]) -> bool:
        now = self._now()
        try:
            revised = self._store.settle_all(taken, now=now)
        except StoreError:
            self.failed = True
            raise
        self.failed = False
        if self.may_be_forgotten:
            self._written.append((Stopwatch(), taken))
            while self._written[0][0].elapsed() > FORGOTTEN:
                self._written.popleft()
        for delivery, _ in taken:
            del self.waiting[delivery.id]
            self._sent(now - delivery.created_at)
        return revised

    # A database that was lost, and may have forgotten the latest marks

    def unsure(self) -> list[Sent]:
        """What was sent and is perhaps not marked."""
        return [one for _, written in self._written for one in written] + list(self.waiting.values())

    def take_over(self, sent: Iterable[Sent]) -> None:
        """Mark what an earlier outbox is unsure about and the store has as still to be sent. Raises StoreError."""
        known = {one[0].id: one for one in sent}
        pending = self._store.pending(after=min(known) - 1) if known else []
        for delivery_id in known.keys() & {row[0] for row in pending}:
            stored = self._store.delivery(delivery_id)
            # A message that was forgotten altogether leaves its number to another one.
            if stored is not None and stored.created_at == known[delivery_id][0].created_at:
                self.waiting[delivery_id] = known[delivery_id]
        self.failed = bool(self.waiting)
