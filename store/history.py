"""What became of each alert in each chat: told in a message, held back for later, or only counted.

Part of the store (`store.history`); every method may be called from any thread and raises StoreError.
"""

from __future__ import annotations

import json

from store.database import Database
from store.rows import Alert, Told

# Held alerts that are still to be told. Written out: an index of just these serves it.
WAITING = "why IN ('quiet', 'cap')"


class History:
    """The store's tables of alerts as one chat sees them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def latest(self, chat_id: int, *, limit: int) -> list[Told]:
        """The newest alerts that concerned a chat, newest first, whatever became of them."""
        # The newest of both kinds first, by an index: to sort a month of a busy chat would take a tenth of a second.
        rows = self._db.rows(
            "SELECT body, how, happened, came FROM ("
            "SELECT body, d.state AS how, a.at AS happened, d.created_at AS came FROM ("
            "SELECT id, state, created_at FROM deliveries WHERE chat_id = ? AND bundle IS NOT NULL "
            "ORDER BY created_at DESC LIMIT ?) d JOIN bundled ON delivery_id = d.id JOIN alerts a ON key = alert_key "
            "UNION ALL SELECT body, why, alerts.at, h.at FROM (SELECT alert_key, why, at FROM held WHERE chat_id = ? "
            "ORDER BY at DESC LIMIT ?) h JOIN alerts ON key = alert_key) ORDER BY happened DESC LIMIT ?",
            *(chat_id, 2 * limit, chat_id, limit, 2 * limit),
        )
        found: dict[str, Told] = {}
        for row in rows:
            told = Told(Alert(**json.loads(row["body"])), row["how"], row["came"])
            # A message that was sent anew leaves its alerts in two deliveries, the first of them buried.
            if told.alert.key not in found or told.how != "buried":
                found[told.alert.key] = told
        return list(found.values())[:limit]

    def hold(self, chat_id: int, alert_key: str, *, why: str, at: float) -> None:
        """Keep an alert for later: `quiet` or `cap`; `muted` only counts it."""
        self._db.write("INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?)", chat_id, alert_key, why, at)

    def held(self, chat_id: int) -> list[Told]:
        """What waits to be told in a chat, in the order it was held."""
        rows = self._db.rows(
            f"SELECT body, why, held.at AS at FROM held JOIN alerts ON key = alert_key "
            f"WHERE chat_id = ? AND {WAITING} ORDER BY held.at, key",
            chat_id,
        )
        return [Told(Alert(**json.loads(row["body"])), row["why"], row["at"]) for row in rows]

    def chats_holding(self) -> list[int]:
        """Ids of the chats for which something waits."""
        return [row["chat_id"] for row in self._db.rows(f"SELECT DISTINCT chat_id FROM held WHERE {WAITING}")]

    def settle_held(self, chat_id: int, state: str) -> None:
        """What waited in a chat was `told`, or `dropped`."""
        self._db.write(f"UPDATE held SET why = ? WHERE chat_id = ? AND {WAITING}", state, chat_id)

    def muted_since(self, chat_id: int, at: float) -> int:
        """How many alerts came since then while the chat, or their coin, was muted."""
        row = self._db.row(
            "SELECT count(*) AS n FROM held WHERE chat_id = ? AND why = 'muted' AND at >= ?", chat_id, at
        )
        return 0 if row is None else int(row["n"])
