"""What chats scheduled with /schedule and /digest. The part `Store.schedules`."""

from __future__ import annotations

from dataclasses import dataclass

from store.database import Part
from store.rows import DIGEST


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """A command that a chat wants answered at times of its choice.

    rule: the times, as base/schedules.py keeps them. command: without its slash. thread_id: the topic for the
    answers. user_id: who asked for it. at: the next time, unix seconds, None while it is paused. delivery: the id of
    its last message, 0 for none.
    """

    id: int = 0
    chat_id: int
    thread_id: int | None = None
    user_id: int
    rule: str
    command: str
    at: float | None
    delivery: int = 0


class Schedules(Part):
    def add(self, scheduled: Scheduled) -> int:
        """Keep a new one. Returns its number."""
        return self._db.add("schedules", scheduled)

    def get(self, number: int) -> Scheduled | None:
        return next(iter(self._found("id = ?", number)), None)

    def of_chat(self, chat_id: int) -> list[Scheduled]:
        """What a chat scheduled, oldest first."""
        return self._found("chat_id = ?", chat_id)

    def due(self, now: float) -> list[int]:
        """The numbers of those that are due, the longest due first, without digests whose last message waits.

        Charts come last: they wait for each other, and hold nothing else up.
        """
        rows = self._db.rows(
            "SELECT id FROM schedules WHERE at <= ? AND (command <> ? OR NOT EXISTS "
            "(SELECT 1 FROM deliveries WHERE deliveries.id = schedules.delivery AND state = 'pending')) "
            "ORDER BY command LIKE 'chart%', at, id",
            (now, DIGEST),
        )
        return [row["id"] for row in rows]

    def planned_after(self, now: float) -> list[Scheduled]:
        """Those whose next time is later than that."""
        return self._found("at > ?", now)

    def next_digest(self, chat_id: int) -> float | None:
        """When the chat's next digest comes, None for never."""
        row = self._db.row("SELECT min(at) AS at FROM schedules WHERE chat_id = ? AND command = ?", (chat_id, DIGEST))
        return None if row is None else row["at"]

    def set_at(self, number: int, at: float | None) -> None:
        """When it is due next, None for paused."""
        self._db.write("UPDATE schedules SET at = ? WHERE id = ?", (at, number))

    def bring_forward(self, number: int, at: float) -> None:
        """It is due at that time if it was to be due later."""
        self._db.write("UPDATE schedules SET at = ? WHERE id = ? AND at > ?", (at, number, at))

    def answered(self, number: int, *, at: float, delivery: int) -> None:
        """It was answered by the messages up to this delivery, and is due next at that time."""
        self._db.write("UPDATE schedules SET at = ?, delivery = ? WHERE id = ?", (at, delivery, number))

    def withdraw(self, number: int, *, now: float) -> None:
        """What still waits of its last answer is not sent: a newer answer takes its place."""
        last = self._db.row(
            "SELECT deliveries.*, (SELECT coalesce(max(others.delivery), 0) FROM schedules AS others "
            "WHERE others.delivery < deliveries.id) AS before "
            "FROM schedules JOIN deliveries ON deliveries.id = delivery WHERE schedules.id = ? AND state = 'pending'",
            (number,),
        )
        if last is not None:  # a long answer is several messages in a row
            self._db.write(
                "UPDATE deliveries SET state = 'buried', reason = 'a newer answer follows', settled_at = ? WHERE "
                "state = 'pending' AND bundle IS NULL AND chat_id = ? AND created_at = ? AND id > ? AND id <= ?",
                (now, last["chat_id"], last["created_at"], last["before"], last["id"]),
            )

    def remove(self, chat_id: int, number: int) -> None:
        self._db.write("DELETE FROM schedules WHERE chat_id = ? AND id = ?", (chat_id, number))

    def _found(self, where: str, value: float) -> list[Scheduled]:
        rows = self._db.rows(f"SELECT * FROM schedules WHERE {where} ORDER BY id", (value,))
        return [Scheduled(**dict(row)) for row in rows]
