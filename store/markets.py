"""What the markets of perpetual contracts told, kept: liquidations, the latest funding, watched wallets.

A part of the store (`Store.book`): the same file, the same transactions, the same StoreError.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from store.database import Database
from store.rows import Known
from venues.perpetuals import Liquidation, Position, Rate

KEPT = 2 * 86400.0  # seconds for which liquidations are kept: venues show them again for a day


class Watched(NamedTuple):
    """A wallet that a chat watches, by the name the chat gave it."""

    chat_id: int
    address: str
    name: str


class Look(NamedTuple):
    """What is known of a wallet since it was last looked at, unix seconds."""

    positions: dict[str, Known]
    at: float


class Book:
    """Every method may be called from any thread, and inside a transaction of the store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # Liquidations

    def add_liquidations(self, events: Iterable[Liquidation]) -> list[Liquidation]:
        """Keep these; returns those that were not known yet, in their order."""
        with self._db.transaction():
            return [event for event in events if self._add_liquidation(event)]

    def _add_liquidation(self, event: Liquidation) -> bool:
        made = self._db.execute(
            "INSERT OR IGNORE INTO liquidations (venue, row, symbol, side, usd, price, at_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.venue, event.row, event.symbol, event.side, event.usd, event.price, event.at_ms),
        )
        return made.rowcount == 1

    def liquidations(self, *, since: float, symbol: str | None = None) -> list[Liquidation]:
        """Those that happened since then (unix seconds), newest first."""
        rows = self._db.rows(
            "SELECT venue, symbol, side, usd, price, at_ms, row FROM liquidations "
            "WHERE at_ms > ? AND symbol = coalesce(?, symbol) ORDER BY at_ms DESC, venue, row",
            *(int(since * 1000), symbol),
        )
        return [Liquidation(*row) for row in rows]

    def liquidations_from(self) -> float:
        """Since when the venues are looked at, unix seconds; infinite before the first look."""
        row = self._db.row("SELECT value FROM facts WHERE name = 'liquidations:from'")
        return float("inf") if row is None else float(row["value"])

    def begin_liquidations(self, *, now: float) -> None:
        """The venues are looked at; what counts is the first time."""
        self._db.write("INSERT OR IGNORE INTO facts VALUES ('liquidations:from', ?)", repr(now))

    # Funding

    def put_rates(self, venue: str, rates: Iterable[Rate]) -> None:
        """The latest rates of a venue, in place of all it had."""
        with self._db.transaction():
            self._db.execute("DELETE FROM rates WHERE venue = ?", (venue,))
            for rate in rates:
                self._db.execute("INSERT OR REPLACE INTO rates VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(rate))

    def rates(self, symbol: str | None = None) -> list[Rate]:
        """The latest known rates of every venue."""
        rows = self._db.rows("SELECT * FROM rates WHERE symbol = coalesce(?, symbol) ORDER BY venue, symbol", symbol)
        return [Rate(*row) for row in rows]

    # Wallets

    def watch(self, wallet: Watched, *, now: float) -> None:
        """The chat watches the wallet from now on, by this name."""
        self._db.write(
            "INSERT INTO watched VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET name = excluded.name",
            *(wallet.chat_id, wallet.address, wallet.name, now),
        )

    def unwatch(self, chat_id: int, address: str) -> None:
        self._db.write("DELETE FROM watched WHERE chat_id = ? AND address = ?", chat_id, address)

    def watched(self, chat_id: int) -> list[Watched]:
        """The chat's wallets in the order in which it named them."""
        rows = self._db.rows("SELECT * FROM watched WHERE chat_id = ? ORDER BY at, address", chat_id)
        return [Watched(row["chat_id"], row["address"], row["name"]) for row in rows]

    def watchers(self) -> dict[str, list[Watched]]:
        """Every wallet that a chat with alerts watches, with its chats; the one not seen for longest comes first."""
        rows = self._db.rows(
            "SELECT watched.* FROM watched JOIN chats USING (chat_id) LEFT JOIN looks USING (address) "
            "WHERE subscribed = 1 ORDER BY coalesce(looks.at, 0), address, chat_id"
        )
        found: dict[str, list[Watched]] = {}
        for row in rows:
            found.setdefault(row["address"], []).append(Watched(row["chat_id"], row["address"], row["name"]))
        return found

    def look(self, address: str) -> Look | None:
        """What is known of a wallet; None when it was never looked at, or nobody watched it meanwhile."""
        row = self._db.row("SELECT body, at FROM looks WHERE address = ?", address)
        return None if row is None else Look(load_positions(json.loads(row["body"])), row["at"])

    def put_look(self, address: str, look: Look) -> None:
        self._db.write(
            "INSERT OR REPLACE INTO looks VALUES (?, ?, ?)",
            *(address, json.dumps(dump_positions(look.positions)), look.at),
        )

    # Keeping it small

    def forget_unwatched(self) -> None:
        """What is known of wallets that nobody watches: were one watched again, it would be old news."""
        self._db.write(
            "DELETE FROM looks WHERE address NOT IN "
            "(SELECT address FROM watched JOIN chats USING (chat_id) WHERE subscribed = 1)"
        )

    def migrate_chat(self, old: int, new: int) -> None:
        with self._db.transaction():
            self._db.execute("UPDATE OR IGNORE watched SET chat_id = ? WHERE chat_id = ?", (new, old))
            self._db.execute("DELETE FROM watched WHERE chat_id = ?", (old,))

    def prune(self, *, now: float, at_most: int) -> int:
        """Forget so many liquidations that no venue shows any more; returns how many there were."""
        return self._db.write(
            "DELETE FROM liquidations WHERE (venue, row) IN "
            "(SELECT venue, row FROM liquidations WHERE at_ms < ? LIMIT ?)",
            *(int((now - KEPT) * 1000), at_most),
        ).rowcount


def dump_positions(known: Mapping[str, Known]) -> dict[str, list[object]]:
    """As JSON has it; `load` goes on from there."""
    return {coin: [list(seen.position), seen.told, seen.near] for coin, seen in known.items()}


def load_positions(dumped: Mapping[str, list[object]]) -> dict[str, Known]:
    """Raises TypeError or ValueError for what `dump_positions` did not make."""
    loaded = {}
    for coin, (position, told, near) in dumped.items():
        loaded[coin] = Known(Position(*position), told, near)  # type: ignore[misc, arg-type]
    return loaded
