"""All that survives a restart, in one database: chats, messages and what is known of the markets.

Methods called inside `transaction()` commit together or not at all; alone, each is its own transaction. Every method
of the store and its parts may be called from any thread, and raises StoreError when the database cannot be used.
Times are unix seconds and amounts US dollars, unless a name says otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from store.chats import Chats
from store.database import Database
from store.engine import Engine
from store.messages import HELD_BACK, Messages
from store.readable import UNREADABLE
from store.sqlite import File

if TYPE_CHECKING:
    from store.fan_out import FanOut
    from store.history import History
    from store.levels import Levels
    from store.markets import Markets
    from store.places import Places
    from store.schedules import Schedules
    from store.volume import Volume
    from store.wallets import Wallets

T = TypeVar("T")
DAY = 86400.0
# The tables with rows of chats; by which column, beside the chat's id, two rows of two chats are the same.
_OF_CHATS = {
    "chats": "1",
    "stale": "1",
    "deliveries": "id",
    "held": "alert_key",
    "watched": "address",
    "levels": "id",
    "schedules": "id",
}
_RENAME_FACTS = (
    "UPDATE facts SET name = replace(name, ?, ?) WHERE name LIKE '%' || ? "
    "AND NOT EXISTS (SELECT 1 FROM facts AS known WHERE known.name = replace(facts.name, ?, ?))"
)


def place(database_url: str, file: Path, *, bot_id: int) -> Path | Engine:
    """Where a bot of these settings keeps its data. Raises StoreError for a URL that cannot be used."""
    if not database_url:
        return file
    from store.postgres import Server  # with its driver, which a bot with a file does not need

    return Server(database_url, bot_id=bot_id)


class Store:
    """The bot's database: a file (its folder exists), or another engine. Raises StoreError when it cannot be used.

    set_aside: the new name of a damaged file, None when there was none. taken_over: how many of its rows were saved.
    """

    def __init__(self, place: Path | Engine, *, now: Callable[[], float] = time.time) -> None:
        engine = File(place) if isinstance(place, Path) else place
        self._db = Database(engine)
        self._now = now
        self.set_aside, self.taken_over = engine.set_aside, engine.taken_over
        self.transaction, self.savepoint = self._db.transaction, self._db.savepoint
        self.trouble, self.failing_for = self._db.trouble, self._db.failing_for
        self.lost, self.close = self._db.lost, self._db.close
        self.save_if_deleted = self._db.save_if_deleted
        self.chats = Chats(self._db)
        self.messages = Messages(self._db)
        # Polling and the outbox know the store as botapi.storage.Storage, which has these without a part.
        self.pending = self.messages.pending
        self.sent_since = self.messages.sent_since
        self.delivery = self.messages.delivery
        self.settle_all = self.messages.settle_all
        self.settle_buried = self.messages.settle_buried
        self.send_anew = self.messages.send_anew
        self.bury_answers = self.messages.bury_answers

    # The other parts are loaded when they are used: the first getUpdates does without them, and without the venues.

    @cached_property
    def markets(self) -> Markets:
        from store.markets import Markets

        return Markets(self._db, now=self._now)

    @cached_property
    def wallets(self) -> Wallets:
        from store.wallets import Wallets

        return Wallets(self._db)

    @cached_property
    def fan_out(self) -> FanOut:
        from store.fan_out import FanOut

        return FanOut(self._db)

    @cached_property
    def history(self) -> History:
        from store.history import History

        return History(self._db)

    @cached_property
    def levels(self) -> Levels:
        from store.levels import Levels

        return Levels(self._db)

    @cached_property
    def schedules(self) -> Schedules:
        from store.schedules import Schedules

        return Schedules(self._db)

    @cached_property
    def places(self) -> Places:
        from store.places import Places

        return Places(self._db)

    def volume(self, symbol: str, *, now: float) -> Volume | None:
        """A coin's volume of the last hour; None when it is not being read, or what is usual is not known yet."""
        from store import volume  # as `markets`

        return volume.read(self._db, self.markets, symbol, now=now)

    def value(self, name: str) -> str | None:
        """A small fact that was kept under this name."""
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else str(row["value"])

    def values(self, begins: str) -> dict[str, str]:
        """All small facts whose names begin so, which ends with a colon."""
        rows = self._db.rows(
            "SELECT name, value FROM facts WHERE name >= ? AND name < ?", (begins, f"{begins[:-1]};")
        )
        return {row["name"]: row["value"] for row in rows}

    def read_value(self, name: str, read: Callable[[str], T], otherwise: T) -> T:
        """A small fact that is not text, by what reads it; `otherwise` when there is none or it cannot be read."""
        kept = self.value(name)
        if not kept:
            return otherwise
        try:
            return read(kept)
        except UNREADABLE as error:
            self._db.unreadable(f"the fact {name}", error)
            return otherwise

    def set_value(self, name: str, value: str) -> None:
        """Keep a small fact, in place of an earlier one of that name. One that is known already is not written."""
        self._db.write(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
            "WHERE facts.value <> excluded.value",
            (name, value),
        )

    def unsubscribe(self, chat_id: int, *, note: str) -> None:
        """End a chat's alerts and withdraw those not sent yet. Its settings stay. note: why, "" when it asked to."""
        with self.transaction():
            self.chats.unsubscribe(chat_id, note=note)
            self.messages.withdraw_alerts(chat_id, reason=note or "unsubscribed", now=self._now())

    def migrate_chat(self, old: int, new: int) -> None:
        """A group became a supergroup: everything of the old chat id now belongs to the new one.

        Where both have something (settings, a held alert, a wallet), the new chat's counts. Messages that were sent
        have other numbers there, or none: what is to be added to them goes out as a new message.
        """
        with self.transaction():
            self._db.write("UPDATE deliveries SET message_id = NULL WHERE chat_id = ?", (old,))
            for table, key in _OF_CHATS.items():
                both = f"{key} IN (SELECT {key} FROM {table} WHERE chat_id = ?)"
                self._db.write(f"DELETE FROM {table} WHERE chat_id = ? AND {both}", (old, new))
                self._db.write(f"UPDATE {table} SET chat_id = ? WHERE chat_id = ?", (new, old))
            # Facts of a chat end with its id (access.py: who administers it).
            ends = (f":{old}", f":{new}")
            self._db.write(_RENAME_FACTS, (*ends, ends[0], *ends))
            self._db.write("UPDATE chats SET kind = 'supergroup' WHERE chat_id = ?", (new,))

    def prune(self, *, now: float) -> None:
        """Delete what is no longer of use: messages and handled update ids after 3 days, alerts and bars after 30.

        A message with alerts stays for those 30 days (`History`); an alert that is held back stays as long
        as it waits; a stranger is forgotten 30 days after the last message. Small transactions, so that commands get
        their turn between them. The file keeps its size: new rows are written where the old ones were.
        """
        old, older = now - 3 * DAY, now - 30 * DAY
        self.messages.prune_settled("settled_at < ? AND bundle IS NULL", old)
        self.messages.prune_settled("settled_at < ?", older)
        self._db.prune("inbox", "update_id", "handled_at < ?", (old,))
        self._db.prune("gaps", "id", "noted_at < ?", (older,))
        self._db.prune(
            "alerts", "key", f"at < ? AND key NOT IN (SELECT alert_key FROM held WHERE {HELD_BACK})", (older,)
        )
        self._db.prune("held", "chat_id, alert_key", f"at < ? AND NOT {HELD_BACK}", (older,))
        self._db.prune("bars", "at, symbol", "at < ?", (older - DAY,))  # a chart of 30 days begins within a bar
        silent = "state = 'stranger' AND at < ? AND answered_at < ? AND asked_at < ?"
        self._db.prune("users", "user_id", silent, (older, older, older))
        self.levels.prune(older, now=now)
        self.markets.prune(now=now)

    def when_damaged(self, report: Callable[[str], None]) -> None:
        """Call `report` with a text for people when the file turns out to be damaged while it is used."""
        self._db.on_damage = report
