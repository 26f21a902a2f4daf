"""The places other than Telegram that alerts go to, and what waits for each. The part `Store.places`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

from store.database import Part
from store.readable import UNREADABLE, alert_of
from store.rows import Alert


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somewhere other than Telegram to which alerts go.

    chat_id: the private chat of the owner, whose settings choose the alerts. url, secret: never shown. state: `on`,
    or `off` once it was given up. problem: why the last try failed, "" when it did not. failing_since, next_at (not
    tried before), sent_at: unix seconds, 0 for never. tries: failures in a row. told: 1 once the owner knows of them.
    sent: alerts that it took.
    """

    id: int = 0
    chat_id: int
    url: str
    secret: str = ""
    state: str = "on"
    problem: str = ""
    failing_since: float = 0.0
    tries: int = 0
    next_at: float = 0.0
    told: int = 0
    sent: int = 0
    sent_at: float = 0.0


_COLUMNS = tuple(field.name for field in fields(Place))[1:]


class Places(Part):
    def add(self, place: Place) -> int:
        """Keep a new place. Returns its number."""
        return self._db.add("places", place)

    def all(self) -> list[Place]:
        """Every place, oldest first."""
        return [Place(**dict(row)) for row in self._db.rows("SELECT * FROM places ORDER BY id")]

    def get(self, number: int) -> Place | None:
        row = self._db.row("SELECT * FROM places WHERE id = ?", (number,))
        return None if row is None else Place(**dict(row))

    def put(self, place: Place) -> None:
        """Write the whole place, if it is still there. Read it in the same transaction."""
        changed = ", ".join(f"{name} = ?" for name in _COLUMNS)
        values = tuple(getattr(place, name) for name in _COLUMNS)
        self._db.write(f"UPDATE places SET {changed} WHERE id = ?", (*values, place.id))

    def remove(self, number: int) -> None:
        """Forget a place and what waits for it."""
        with self._db.transaction():
            self._db.write("DELETE FROM places WHERE id = ?", (number,))
            self.drop_all(number)

    def enqueue(self, number: int, alert: Alert, *, test: bool = False) -> None:
        """Keep an alert to be sent to a place. test: it goes first, and is tried once."""
        self._db.insert(
            "INSERT INTO outgoing (place_id, body, test) VALUES (?, ?, ?)",
            (number, json.dumps(vars(alert)), int(test)),
        )

    def next(self, number: int) -> tuple[int, Alert, bool] | None:
        """What is to be sent to a place next: its number, the alert, and whether it is a test."""
        while True:
            row = self._db.row(
                "SELECT id, body, test FROM outgoing WHERE place_id = ? ORDER BY test DESC, id LIMIT 1", (number,)
            )
            if row is None:
                return None
            try:
                return row["id"], alert_of(row["body"]), bool(row["test"])
            except UNREADABLE as error:
                self._db.unreadable(f"an alert for place {number}", error)
                self.drop(row["id"])

    def waiting(self, number: int) -> int:
        return self._db.number("SELECT count(*) FROM outgoing WHERE place_id = ?", (number,))

    def drop(self, outgoing: int) -> None:
        """It is sent, or never will be."""
        self._db.write("DELETE FROM outgoing WHERE id = ?", (outgoing,))

    def drop_all(self, number: int) -> None:
        self._db.write("DELETE FROM outgoing WHERE place_id = ?", (number,))
