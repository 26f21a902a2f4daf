"""Alerts in many chats: bundled under messages or held back, each step for many chats at once; and how far one that
is too much for one transaction has come. The part `Store.fan_out`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from botapi.storage import ALERTS
from store.chats import FIRST
from store.database import Part


class Unfinished(NamedTuple):
    """What some chats still wait for. last: (since, id) of the last chat that has it."""

    id: int
    what: str
    last: tuple[float, int]


class FanOut(Part):
    """Chats and messages are named by their ids."""

    def enqueue(
        self, chats: Collection[int], payload: Mapping[str, Any], *, now: float, bundle: str | None = None
    ) -> list[int]:
        """Keep a message for each of these chats, in their order: `Messages.enqueue` of lane ALERTS."""
        if not chats:
            return []
        rows = self._db.rows(
            "INSERT INTO deliveries (chat_id, lane, method, payload, created_at, state, bundle) "
            f"SELECT column1, ?, 'sendMessage', ?, ?, 'pending', ? FROM {_each(chats)} RETURNING id",
            (ALERTS, json.dumps(payload), now, bundle, *chats),
        )
        return [row["id"] for row in rows]

    def add_to_bundles(self, messages: Collection[int], alert_key: str) -> None:
        """Add an alert to each of these messages, which may tell of several."""
        if messages:
            self._db.write(
                f"INSERT INTO bundled SELECT column1, ? FROM {_each(messages)} ON CONFLICT DO NOTHING",
                (alert_key, *messages),
            )

    def open_bundles(
        self, chats: Collection[int], bundle: str, *, since: float, until: float = math.inf
    ) -> dict[int, int]:
        """The message of each chat's bundle of that name that was begun after `since` and was or may yet be sent.

        until: now, so that a bundle begun before the clock was put back does not stay open for an hour.
        """
        if not chats:
            return {}
        rows = self._db.rows(
            f"SELECT chat_id, max(id) AS id FROM deliveries WHERE chat_id IN ({_marks(chats)}) AND bundle = ? "
            "AND created_at > ? AND created_at <= ? AND state != 'buried' GROUP BY chat_id ORDER BY chat_id",
            (*chats, bundle, since, until),
        )
        return {row["chat_id"]: row["id"] for row in rows}

    def made_between(self, chats: Collection[int], since: float, until: float) -> list[tuple[int, float]]:
        """(chat, when) of every message with alerts that was made in that time. Not of edits and buried ones."""
        if not chats:
            return []
        rows = self._db.rows(
            f"SELECT chat_id, created_at FROM deliveries WHERE chat_id IN ({_marks(chats)}) AND bundle IS NOT NULL "
            "AND created_at >= ? AND created_at <= ? AND state != 'buried' ORDER BY id",
            (*chats, since, until),
        )
        return [(row["chat_id"], row["created_at"]) for row in rows]

    def hold(self, chats: Collection[int], alert_key: str, *, why: str, at: float) -> None:
        """Hold an alert back for these chats: `quiet` or `cap`; `muted` and `paused` only count it."""
        if chats:
            self._db.write(
                f"INSERT INTO held SELECT column1, ?, ?, ? FROM {_each(chats)} ON CONFLICT DO NOTHING",
                (alert_key, why, at, *chats),
            )

    # What is too much for one transaction

    def go_on_later(self, what: str, *, last: tuple[float, int] = FIRST) -> None:
        """Note what the chats after `last` still wait for."""
        self._db.write("INSERT INTO unfinished (what, since, chat_id) VALUES (?, ?, ?)", (what, *last))

    def unfinished(self) -> Unfinished | None:
        """What was noted first and is not done yet."""
        row = self._db.row("SELECT * FROM unfinished ORDER BY id LIMIT 1")
        if row is None:
            return None
        return Unfinished(row["id"], row["what"], (row["since"], row["chat_id"]))

    def came_to(self, number: int, last: tuple[float, int]) -> None:
        """The chats up to `last` have it now."""
        self._db.write("UPDATE unfinished SET since = ?, chat_id = ? WHERE id = ?", (*last, number))

    def done(self, number: int) -> None:
        """Every chat has it."""
        self._db.write("DELETE FROM unfinished WHERE id = ?", (number,))


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _each(values: Collection[object]) -> str:
    """A table of these values, in the column that both engines call `column1`."""
    return f"(VALUES {', '.join(['(?)'] * len(values))}) AS given WHERE true"
