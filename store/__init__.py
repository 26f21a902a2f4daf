"""All that survives a restart, in one database: chats, messages and what is known of the markets.

Methods called inside `transaction()` commit together or not at all; alone, each is its own transaction. Every method
of the store and its parts may be called from any thread, and raises StoreError when the database cannot be used.
Times are unix seconds and amounts US dollars, unless a name says otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from store.chats import Chats
from store.database import Database
from store.markets import Markets
from store.messages import Messages


class Store:
    """The bot's database at `path` (a folder that exists). Raises StoreError when it cannot be used."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._db = Database(path)
        self._now = now
        self.path = path
        self.set_aside, self.taken_over = self._db.set_aside, self._db.taken_over
        self.chats = Chats(self._db)
        self.messages = Messages(self._db)
        self.markets = Markets(self._db, now=now)
        # Polling and the outbox know the store as botapi.storage.Storage, which has these without a part.
        self.pending = self.messages.pending
        self.delivery = self.messages.delivery
        self.settle_sent = self.messages.settle_sent
        self.settle_buried = self.messages.settle_buried
        self.send_anew = self.messages.send_anew
        self.count_attempt = self.messages.count_attempt

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[None]:
        """Commit everything inside together, or nothing when an exception leaves it. Nested ones join the outer.

        durable: wait until the disk has it (this also covers every earlier commit). Raises StoreError.
        """
        return self._db.transaction(durable=durable)

    def savepoint(self) -> AbstractContextManager[None]:
        """Inside a transaction: undo what is inside when an exception leaves it, and nothing else."""
        return self._db.savepoint()

    def value(self, name: str) -> str | None:
        """A small fact that was kept under this name."""
        row = self._db.row("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else str(row["value"])

    def set_value(self, name: str, value: str) -> None:
        """Keep a small fact, in place of an earlier one of that name."""
        self._db.put("facts", ("name",), {"name": name, "value": value})

    def unsubscribe(self, chat_id: int, *, note: str) -> None:
        """End a chat's alerts and withdraw those not sent yet. Its settings stay. note: why, "" when it asked to."""
        with self.transaction():
            self.chats.unsubscribe(chat_id, note=note)
            self.messages.withdraw_alerts(chat_id, reason=note or "unsubscribed", now=self._now())

    def migrate_chat(self, old: int, new: int) -> None:
        """A group became a supergroup: everything of the old chat id now belongs to the new one."""
        with self.transaction():
            for part in (self.chats, self.messages, self.markets):
                part.migrate_chat(old, new)

    def prune(self, *, now: float) -> None:
        """Delete what is of no more use: messages and handled update ids after 3 days, alerts and bars after 30.

        A message with alerts stays for those 30 days (`Messages.history`); an alert that is held back stays as long
        as it waits. Small transactions, so that commands get their turn between them. The file keeps its size: new
        rows are written where the old ones were.
        """
        for part in (self.chats, self.messages, self.markets):
            part.prune(now=now)

    def failing_for(self) -> float | None:
        """Seconds since when the database cannot be used, None while it can. Never waits."""
        return self._db.failing_for()

    def trouble(self) -> str | None:
        """Why the database cannot be used now, for people; None when all is well."""
        return self._db.trouble

    def when_damaged(self, report: Callable[[str], None]) -> None:
        """Call `report` with a text for people when the file turns out to be damaged while it is used."""
        self._db.on_damage = report

    def close(self) -> None:
        self._db.close()
