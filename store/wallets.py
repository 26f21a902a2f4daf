"""The wallets that chats watch, and what is known of each. The part `Store.wallets`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from store.database import Part
from store.readable import UNREADABLE
from venues.perpetuals import Position


@dataclass(frozen=True)
class TrackedPosition:
    """A position as it was last seen. alerted: its size at the last alert. near: there was an alert that it is near
    its liquidation price."""

    position: Position
    alerted: float
    near: bool = False


class WalletSnapshot(NamedTuple):
    """What is known of a wallet, by coin, since it was last read."""

    positions: dict[str, TrackedPosition]
    at: float


class WatchedWallet(NamedTuple):
    """A wallet that a chat watches, by the name the chat gave it."""

    chat_id: int
    address: str
    name: str


class Wallets(Part):
    def watch(self, wallet: WatchedWallet, *, now: float) -> None:
        """The chat watches the wallet from now on, by this name."""
        self._db.write(
            "INSERT INTO watched VALUES (?, ?, ?, ?) "
            "ON CONFLICT (chat_id, address) DO UPDATE SET name = excluded.name",
            (wallet.chat_id, wallet.address, wallet.name, now),
        )

    def unwatch(self, chat_id: int, address: str) -> None:
        self._db.write("DELETE FROM watched WHERE chat_id = ? AND address = ?", (chat_id, address))

    def count(self) -> int:
        """How many different ones are watched."""
        return self._db.number("SELECT count(DISTINCT address) FROM watched")

    def of_chat(self, chat_id: int) -> list[WatchedWallet]:
        """The chat's wallets in the order in which they were added."""
        columns = "chat_id, address, name"
        rows = self._db.rows(f"SELECT {columns} FROM watched WHERE chat_id = ? ORDER BY at, address", (chat_id,))
        return [WatchedWallet(*row) for row in rows]

    def watchers(self) -> dict[str, list[WatchedWallet]]:
        """Every wallet that a chat with alerts watches, with its chats; the one read longest ago comes first."""
        rows = self._db.rows(
            "SELECT watched.* FROM watched JOIN chats USING (chat_id) LEFT JOIN wallets USING (address) "
            "WHERE subscribed = 1 ORDER BY coalesce(wallets.at, 0), address, chat_id"
        )
        found: dict[str, list[WatchedWallet]] = {}
        for row in rows:
            found.setdefault(row["address"], []).append(WatchedWallet(row["chat_id"], row["address"], row["name"]))
        return found

    def look(self, address: str) -> WalletSnapshot | None:
        """What is known of a wallet; None if it was never read, was not watched meanwhile, or is unreadable."""
        row = self._db.row("SELECT positions, at FROM wallets WHERE address = ?", (address,))
        if row is None:
            return None
        try:
            return WalletSnapshot(load_positions(json.loads(row["positions"])), row["at"])
        except UNREADABLE as error:
            self._db.unreadable(f"wallet {address}", error)
            return None

    def put_look(self, address: str, look: WalletSnapshot) -> None:
        """Store a wallet's positions as last seen."""
        positions = json.dumps(dump_positions(look.positions))
        self._db.put("wallets", ("address",), {"address": address, "positions": positions, "at": look.at})

    def forget_unwatched(self) -> None:
        """Forget wallets that nobody watches: if one is watched again, what was known of it would be old news."""
        self._db.write(
            "DELETE FROM wallets WHERE address NOT IN "
            "(SELECT address FROM watched JOIN chats USING (chat_id) WHERE subscribed = 1)"
        )


def dump_positions(known: Mapping[str, TrackedPosition]) -> dict[str, list[object]]:
    """As JSON; `load_positions` reads it."""
    return {coin: [list(seen.position), seen.alerted, seen.near] for coin, seen in known.items()}


def load_positions(dumped: Mapping[str, list[object]]) -> dict[str, TrackedPosition]:
    """Raises TypeError or ValueError for what `dump_positions` did not make."""
    loaded = {}
    for coin, (position, alerted, near) in dumped.items():
        loaded[coin] = TrackedPosition(Position(*position), alerted, near)  # type: ignore[misc, arg-type]
    return loaded
