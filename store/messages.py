"""Messages to send, alerts, and what became of each alert in each chat. The part `Store.messages`.

A delivery is one message: `pending` until Telegram took it (`sent`) or it never can be delivered (`buried`). Alerts
are bundled under deliveries, or held back for a chat: in quiet hours (`quiet`) or over its hourly limit (`cap`) until
they are `told`; only counted (`muted`, or `paused`: the bot may not write there); or `dropped` when the chat stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from botapi.storage import ALERTS, ANSWERS, TOASTS, Delivery
from store import database
from store.chats import chat_of
from store.database import Part
from store.readable import UNREADABLE, alerts_of
from store.rows import DIGEST, Alert, Chat, HistoryEntry

_ENQUEUE = (
    "INSERT INTO deliveries (chat_id, lane, method, payload, created_at, state, bundle, update_id) "
    "VALUES (?, ?, ?, ?, ?, 'pending', ?, ?)"
)
HELD_BACK = "why IN ('quiet', 'cap')"  # held alerts still to be sent. Written out: an index of just these serves it


class HeldBack(NamedTuple):
    """The alerts held back for a chat. first: when the first one came. quiet: is one of them held in quiet hours?
    digest_at: when the chat's next digest comes, None for never.
    """

    chat: Chat
    first: float
    quiet: bool
    digest_at: float | None


class Messages(Part):
    # Deliveries; those of `botapi.storage.Storage` are described there

    def enqueue(
        self,
        chat_id: int,
        method: str,
        payload: dict[str, Any],
        *,
        now: float,
        lane: int = ANSWERS,
        bundle: str | None = None,
        update_id: int | None = None,
    ) -> int:
        """Keep one message to be sent: a Bot API method with its parameters. Returns its id.

        bundle: the name under which a message with alerts takes further ones. update_id: what it is the answer to.
        """
        return self._db.insert(_ENQUEUE, (chat_id, lane, method, json.dumps(payload), now, bundle, update_id))

    def post(
        self,
        chat_id: int,
        method: str,
        payload: dict[str, Any],
        *,
        now: float,
        lane: int = ANSWERS,
        update_id: int | None = None,
    ) -> None:
        """`enqueue` where nobody asks for the id: many of them take one way to a server."""
        self._db.write(_ENQUEUE, (chat_id, lane, method, json.dumps(payload), now, None, update_id))

    def revise(self, ids: Collection[int], payload: dict[str, Any], *, now: float) -> None:
        """Replace the content of these messages: in place until one is sent, then by one edit that follows it."""
        left, content = list(ids), json.dumps(payload)
        with self._db.transaction():
            for column in ("id", "parent"):
                if not left:
                    return
                rows = self._db.rows(
                    "UPDATE deliveries SET payload = ?, revision = revision + 1 WHERE state = 'pending' "
                    f"AND {column} IN ({', '.join('?' * len(left))}) RETURNING {column} AS done",
                    (content, *left),
                )
                done = {row["done"] for row in rows}
                left = [delivery_id for delivery_id in left if delivery_id not in done]
            self._enqueue_edits(left, content, now=now)

    def _enqueue_edits(self, parents: Collection[int], payload: str, *, now: float) -> None:
        if parents:
            self._db.write(
                "INSERT INTO deliveries (chat_id, lane, method, payload, created_at, state, parent) "
                "SELECT chat_id, lane, 'editMessageText', ?, ?, 'pending', id FROM deliveries "
                f"WHERE id IN ({', '.join('?' * len(parents))}) ORDER BY id",
                (payload, now, *parents),
            )

    def pending(self, *, after: int = 0) -> list[tuple[int, int, int]]:
        rows = self._db.rows(
            "SELECT id, chat_id, lane FROM deliveries WHERE state = 'pending' AND id > ? ORDER BY id", (after,)
        )
        return [(row["id"], row["chat_id"], row["lane"]) for row in rows]

    def sent_since(self, at: float) -> list[tuple[int, float]]:
        rows = self._db.rows(
            "SELECT chat_id, settled_at FROM deliveries WHERE settled_at > ? AND state = 'sent' AND lane <> ? "
            "ORDER BY settled_at, id",
            (at, TOASTS),
        )
        return [(row["chat_id"], row["settled_at"]) for row in rows]

    def delivery(self, delivery_id: int) -> Delivery | None:
        """The message if it is still to be sent. An edit has its parent's message_id in the payload."""
        row = self._db.row(
            "SELECT d.*, p.message_id AS target FROM deliveries d LEFT JOIN deliveries p ON p.id = d.parent "
            "WHERE d.id = ? AND d.state = 'pending'",
            (delivery_id,),
        )
        if row is None:
            return None
        try:
            payload = dict(json.loads(row["payload"]))
        except UNREADABLE as error:
            self._db.unreadable(f"message {delivery_id}", error)
            self.settle_buried(delivery_id, reason="it cannot be read", now=row["created_at"])
            return None
        if row["target"] is not None:
            payload["message_id"] = row["target"]
        return Delivery(**{name: row[name] for name in Delivery._fields} | {"payload": payload})

    def settle_all(self, sent: Sequence[tuple[Delivery, int | None]], *, now: float) -> bool:
        if not sent:
            return False
        ids = tuple(delivery.id for delivery, _ in sent)
        each = f"CASE id {'WHEN ? THEN CAST(? AS INTEGER) ' * len(ids)}END"
        of_these = f"id IN ({', '.join('?' * len(ids))}) AND state <> 'sent'"
        revisions = (value for delivery, _ in sent for value in (delivery.id, delivery.revision))
        messages = (value for delivery, message_id in sent for value in (delivery.id, message_id))
        with self._db.transaction():  # of statements that need no answer: they travel together
            edits = self._db.write(
                "INSERT INTO deliveries (chat_id, lane, method, payload, created_at, state, parent) "
                "SELECT chat_id, lane, 'editMessageText', payload, ?, 'pending', coalesce(parent, id) "
                f"FROM deliveries WHERE {of_these} AND revision <> {each} ORDER BY id",
                (now, *ids, *revisions),
            )
            self._db.write(
                f"UPDATE deliveries SET state = 'sent', settled_at = ?, message_id = {each} WHERE {of_these}",
                (now, *messages, *ids),
            )
        return self._db.changed(edits) > 0

    def settle_buried(self, delivery_id: int, *, reason: str, now: float) -> None:
        self._db.write(*_buried("id = ?", (delivery_id,), reason=reason, now=now))

    def bury_answers(self, update_ids: Collection[int], *, reason: str, now: float) -> int:
        if not update_ids:
            return 0
        answers = f"state = 'pending' AND update_id IN ({', '.join('?' * len(update_ids))})"
        return self._db.change(*_buried(answers, tuple(update_ids), reason=reason, now=now))

    def send_anew(self, edit: Delivery, *, reason: str, now: float) -> None:
        """The message that an edit was for was deleted in its chat: its whole content goes out as a new message."""
        payload = {name: value for name, value in edit.payload.items() if name != "message_id"}
        with self._db.transaction():
            old = self._db.row("SELECT bundle FROM deliveries WHERE id = ?", (edit.parent,))
            bundle = None if old is None else old["bundle"]
            new = self.enqueue(edit.chat_id, "sendMessage", payload, now=now, lane=edit.lane, bundle=bundle)
            self._db.write(
                "INSERT INTO bundled SELECT ?, alert_key FROM bundled WHERE delivery_id = ?", (new, edit.parent)
            )
            for delivery_id in (edit.id, edit.parent):
                if delivery_id is not None:
                    self.settle_buried(delivery_id, reason=reason, now=now)

    def withdraw_alerts(self, chat_id: int, *, reason: str, now: float) -> None:
        """Bury the alerts not sent to a chat yet and drop those held back for it. Answers stay."""
        with self._db.transaction():
            self.bury_alerts(chat_id, reason=reason, now=now)
            self.settle_held(chat_id, "dropped")

    def bury_alerts(self, chat_id: int, *, reason: str, now: float) -> None:
        """Bury the alerts not sent to a chat yet."""
        waiting = "chat_id = ? AND lane = ? AND state = 'pending'"
        self._db.write(*_buried(waiting, (chat_id, ALERTS), reason=reason, now=now))

    def bury_all(self, chat_id: int, *, reason: str, now: float) -> None:
        """Bury everything not sent to a chat yet."""
        self._db.write(*_buried("chat_id = ? AND state = 'pending'", (chat_id,), reason=reason, now=now))

    def bury_edits(self, chat_id: int, message_id: int, *, now: float) -> None:
        """Bury earlier edits of a message not made yet: a newer one follows."""
        rows = self._db.rows(
            "SELECT id, payload FROM deliveries WHERE chat_id = ? AND state = 'pending' AND parent IS NULL "
            "AND method = 'editMessageText'",
            (chat_id,),
        )
        for row in rows:
            if json.loads(row["payload"]).get("message_id") == message_id:
                self.settle_buried(row["id"], reason="a newer edit follows", now=now)

    def pending_count(self) -> int:
        return self._db.number("SELECT count(*) FROM deliveries WHERE state = 'pending'")

    def counts(self, *, since: float) -> dict[str, int]:
        """How many messages are `pending`, and were `sent` and `buried` since then."""
        rows = self._db.rows(
            "SELECT state, count(*) AS n FROM deliveries WHERE settled_at > ? GROUP BY state", (since,)
        )
        return {"sent": 0, "buried": 0} | {row["state"]: row["n"] for row in rows} | {"pending": self.pending_count()}

    # Alerts

    def add_alert(self, alert: Alert, *, now: float) -> bool:
        """Keep an alert; False when its key was known already."""
        added = self._db.change(
            "INSERT INTO alerts (key, monitor, symbol, at, body, created_at) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (alert.key, alert.monitor, alert.symbol, alert.at, json.dumps(vars(alert)), now),
        )
        return added == 1

    def alerts(self, monitor: str, symbol: str | None = None, *, limit: int = 5) -> list[Alert]:
        """A monitor's newest alerts, newest first."""
        also, values = (" AND symbol = ?", [symbol]) if symbol else ("", [])
        rows = self._db.rows(
            f"SELECT body FROM alerts WHERE monitor = ?{also} ORDER BY at DESC, key LIMIT ?",
            (monitor, *values, limit),
        )
        return [alert for _, alert in alerts_of(self._db, rows)]

    def has_alerts(self, symbol: str) -> bool:
        """Was there an alert of this coin in the last 30 days?"""
        return self._db.row("SELECT 1 FROM alerts WHERE symbol = ? LIMIT 1", (symbol,)) is not None

    def alerts_between(self, since: float, until: float) -> list[Alert]:
        """Every monitor's alerts that happened in that time, oldest first."""
        rows = self._db.rows("SELECT body FROM alerts WHERE at >= ? AND at < ? ORDER BY at, key", (since, until))
        return [alert for _, alert in alerts_of(self._db, rows)]

    def alerts_by_hour(self, *, since: float) -> dict[int, int]:
        """How many alerts each hour had, by the unix time at which it began; hours without any are left out."""
        rows = self._db.rows("SELECT at FROM alerts WHERE at >= ?", (since,))
        return dict(Counter(int(row["at"] // 3600) * 3600 for row in rows))

    def bundle(self, delivery: Delivery) -> tuple[Chat | None, list[Alert]]:
        """The chat of a message, and the alerts that it tells of in the order they happened; both, or none."""
        rows = self._db.rows(
            "SELECT chats.*, body FROM bundled JOIN alerts ON key = alert_key JOIN chats ON chat_id = ? "
            "WHERE delivery_id = ? ORDER BY at, key",
            (delivery.chat_id, delivery.parent or delivery.id),
        )
        alerts = [alert for _, alert in alerts_of(self._db, rows)]
        return chat_of(self._db, rows[0]) if alerts else None, alerts

    # Alerts held back for a chat

    def waiting_files(self) -> Mapping[int, int]:
        """How many pictures and files each chat still waits for."""
        rows = self._db.rows(
            "SELECT chat_id, count(*) AS n FROM deliveries WHERE state = 'pending' "
            "AND method IN ('sendPhoto', 'sendDocument') GROUP BY chat_id"
        )
        return {row["chat_id"]: row["n"] for row in rows}

    def held(self, chat_id: int) -> list[HistoryEntry]:
        """The alerts held back for a chat, in the order they came."""
        rows = self._db.rows(
            f"SELECT body, why, held.at AS at FROM held JOIN alerts ON key = alert_key "
            f"WHERE chat_id = ? AND {HELD_BACK} ORDER BY held.at, key",
            (chat_id,),
        )
        return [HistoryEntry(alert, row["why"], row["at"]) for row, alert in alerts_of(self._db, rows)]

    def held_back(self) -> list[HeldBack]:
        """What is held back for each chat that gets alerts: one question, however many they are."""
        rows = self._db.rows(
            "SELECT chats.*, first, quiet, (SELECT min(at) FROM schedules WHERE schedules.chat_id = chats.chat_id "
            "AND command = ?) AS digest_at FROM (SELECT chat_id AS held_for, min(at) AS first, "
            "max(CASE why WHEN 'quiet' THEN 1 ELSE 0 END) AS quiet FROM held "
            f"WHERE {HELD_BACK} GROUP BY chat_id) found JOIN chats ON chat_id = held_for "
            "WHERE subscribed = 1 ORDER BY chat_id",
            (DIGEST,),
        )
        return [HeldBack(chat_of(self._db, row), row["first"], bool(row["quiet"]), row["digest_at"]) for row in rows]

    def settle_held(self, chat_id: int, state: str) -> None:
        """The alerts held back for a chat were `told`, or `dropped`."""
        self._db.write(f"UPDATE held SET why = ? WHERE chat_id = ? AND {HELD_BACK}", (state, chat_id))

    def muted_since(self, chat_id: int, at: float) -> int:
        """How many alerts came since then while the chat, or their coin, was muted."""
        return self._db.number(
            "SELECT count(*) FROM held WHERE chat_id = ? AND why = 'muted' AND at >= ?", (chat_id, at)
        )

    def prune_settled(self, where: str, at: float) -> None:
        """Delete the messages settled before `at`, with their bundles, in small transactions."""
        some = f"SELECT id FROM deliveries WHERE {where} LIMIT {database.PRUNED_AT_ONCE}"
        ids = [0]
        while ids:
            with self._db.transaction():
                rows = self._db.rows(f"DELETE FROM deliveries WHERE id IN ({some}) RETURNING id", (at,))
                ids = [row["id"] for row in rows]
                if ids:
                    marks = ", ".join("?" * len(ids))
                    self._db.write(f"DELETE FROM bundled WHERE delivery_id IN ({marks})", tuple(ids))


def _buried(where: str, values: tuple[Any, ...], *, reason: str, now: float) -> tuple[str, tuple[Any, ...]]:
    """The statement that buries these, and its values."""
    return (
        f"UPDATE deliveries SET state = 'buried', reason = ?, settled_at = ? WHERE {where}",
        (reason, now, *values),
    )
