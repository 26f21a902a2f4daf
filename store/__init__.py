"""All that survives a restart: inbox, outbox, chats, users, cursors, alerts.

Methods called inside `transaction()` commit together or not at all; alone, each is its own transaction. Every
method may be called from any thread and raises StoreError when the file cannot be used (database.py).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

from botapi.storage import ALERTS, ANSWERS, Delivery
from store.database import Database, Row
from store.history import WAITING, History
from store.markets import Book
from store.rows import Chat, Cursor, User
from venues.bars import Bar

PRUNED_AT_ONCE = 500  # rows in one transaction

_PLAIN_SETTINGS = ("timezone", "quiet", "hourly_cap", "digest")


class Store:
    """The bot's database at `path` (a folder that exists). Raises StoreError when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path)
        self.book = Book(self._db)
        self.history = History(self._db)
        self.path = path
        self.set_aside, self.taken_over = self._db.set_aside, self._db.taken_over

    def transaction(self, *, durable: bool = False) -> AbstractContextManager[None]:
        """Commit everything inside together, or nothing when an exception leaves it. Nested ones join the outer.

        durable: wait until the disk has it (this also covers every earlier commit). Raises StoreError.
        """
        return self._db.transaction(durable=durable)

    def savepoint(self) -> AbstractContextManager[None]:
        """Inside a transaction: undo what is inside when an exception leaves it, and nothing else."""
        return self._db.savepoint()

    def failing_for(self) -> float | None:
        """Seconds since when the database cannot be used, None while it can. Never waits."""
        return self._db.failing_for()

    def close(self) -> None:
        self._db.close()

    def trouble(self) -> str | None:
        """Why the database cannot be used now, in words for people; None when all is well."""
        return self._db.trouble

    def when_damaged(self, tell: Callable[[str], None]) -> None:
        """Call `tell` with words for people when the file turns out to be damaged while it is used."""
        self._db.on_damage = tell

    # Small facts

    def value(self, name: str) -> str | None:
        row = self._db.row("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else str(row["value"])

    def set_value(self, name: str, value: str) -> None:
        self._db.write(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value
        )

    # Inbox: which updates were handled

    def handled(self, update_id: int) -> bool:
        return self._db.row("SELECT 1 FROM inbox WHERE update_id = ?", update_id) is not None

    def mark_handled(self, update_id: int, *, now: float) -> None:
        self._db.write("INSERT OR IGNORE INTO inbox VALUES (?, ?)", update_id, now)

    def add_stale(self, chat_id: int, *, thread_id: int | None, at: float) -> None:
        """Count a command that was too old to run; `take_stale` tells the chat once."""
        self._db.write(
            "INSERT INTO stale VALUES (?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET commands = commands + 1, "
            "first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)",
            *(chat_id, thread_id, at, at),
        )

    def take_stale(self) -> list[Row]:
        """Rows (chat_id, thread_id, commands, first_at, last_at), removed from the store by this call."""
        with self.transaction():
            rows = self._db.rows("SELECT * FROM stale")
            if rows:
                self._db.execute("DELETE FROM stale")
            return rows

    # People

    def user(self, user_id: int) -> User | None:
        row = self._db.row("SELECT * FROM users WHERE user_id = ?", user_id)
        return None if row is None else User(**dict(row))

    def users(self, *states: str) -> list[User]:
        marks = ",".join("?" * len(states))
        return [
            User(**dict(row))
            for row in self._db.rows(f"SELECT * FROM users WHERE state IN ({marks}) ORDER BY at", *states)
        ]

    def put_user(self, user: User) -> None:
        self._db.write(
            "INSERT OR REPLACE INTO users (user_id, name, state, at, answered_at, asked_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(user.user_id, user.name, user.state, user.at, user.answered_at, user.asked_at),
        )

    def asked_since(self, at: float) -> int:
        """How many strangers were brought before the owner since `at`."""
        row = self._db.row("SELECT count(*) AS n FROM users WHERE asked_at > ?", at)
        return 0 if row is None else int(row["n"])

    # Chats

    def chat(self, chat_id: int) -> Chat | None:
        row = self._db.row("SELECT * FROM chats WHERE chat_id = ?", chat_id)
        return None if row is None else _chat(row)

    def chats(self, *, subscribed: bool = True) -> list[Chat]:
        """Every chat with (or, when asked, without) a subscription, oldest first."""
        rows = self._db.rows("SELECT * FROM chats WHERE subscribed = ? ORDER BY since, chat_id", int(subscribed))
        return [_chat(row) for row in rows]

    def digests_due(self, now: float) -> list[Chat]:
        """Chats with a subscription whose digest is due."""
        rows = self._db.rows("SELECT * FROM chats WHERE digest_at <= ? AND subscribed = 1", now)
        return [_chat(row) for row in rows]

    def put_chat(self, chat: Chat) -> None:
        settings = {
            "symbols": None if chat.symbols is None else sorted(chat.symbols),
            "thresholds": {monitor: dict(amounts) for monitor, amounts in chat.thresholds.items()},
            "muted_until": chat.muted_until,
            "symbol_mutes": dict(chat.symbol_mutes),
            "levels": dict(chat.levels),
            "sides": dict(chat.sides),
            **{name: getattr(chat, name) for name in _PLAIN_SETTINGS},
        }
        self._db.write(
            "INSERT OR REPLACE INTO chats "
            "(chat_id, kind, title, thread_id, added_by, subscribed, since, note, settings, digest_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(chat.chat_id, chat.kind, chat.title, chat.thread_id, chat.added_by, int(chat.subscribed)),
            *(chat.since, chat.note, json.dumps(settings), chat.digest_at),
        )

    def unsubscribe(self, chat_id: int, *, note: str) -> None:
        """End a chat's alerts (its settings stay) and take back what was still to be sent to it."""
        with self.transaction():
            self._db.execute("UPDATE chats SET subscribed = 0, note = ? WHERE chat_id = ?", (note, chat_id))
            self._db.execute(
                "UPDATE deliveries SET state = 'buried', reason = ?, settled_at = ? WHERE chat_id = ? AND lane = ? "
                "AND state = 'pending'",
                (note or "unsubscribed", time.time(), chat_id, ALERTS),
            )
            self.history.settle_held(chat_id, "dropped")

    def migrate_chat(self, old: int, new: int) -> None:
        """A group became a supergroup: everything of the old chat id belongs to the new one."""
        with self.transaction():
            if self._db.execute("SELECT 1 FROM chats WHERE chat_id = ?", (new,)).fetchone() is None:
                self._db.execute("UPDATE chats SET chat_id = ?, kind = 'supergroup' WHERE chat_id = ?", (new, old))
            else:
                self._db.execute("DELETE FROM chats WHERE chat_id = ?", (old,))
            self._db.execute("UPDATE deliveries SET chat_id = ? WHERE chat_id = ? AND state = 'pending'", (new, old))
            self.book.migrate_chat(old, new)
            self._db.execute("UPDATE OR IGNORE held SET chat_id = ? WHERE chat_id = ?", (new, old))

    # Market feeds

    def cursor(self, venue: str, symbol: str) -> Cursor | None:
        row = self._db.row("SELECT text, at FROM cursors WHERE venue = ? AND symbol = ?", venue, symbol)
        return None if row is None else Cursor(row["text"], row["at"])

    def set_cursor(self, venue: str, symbol: str, text: str, *, at: float) -> None:
        self._db.write("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", venue, symbol, text, at)

    def add_gap(self, venue: str, symbol: str, *, missed: int | None, start: float, end: float) -> bool:
        """Note that trades between two times were not seen; `missed` None when their number is not known.

        False when a gap with that beginning is known: the feed was read again from the same place.
        """
        made = self._db.write(
            "INSERT INTO gaps SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS "
            "(SELECT 1 FROM gaps WHERE venue = ? AND symbol = ? AND start = ? AND missed IS ?)",
            *(venue, symbol, missed, start, end, time.time(), venue, symbol, start, missed),
        )
        return made.rowcount == 1

    def gaps(self, *, since: float) -> list[Row]:
        """Rows (venue, symbol, missed, start, end) noted since then, newest first."""
        return self._db.rows("SELECT * FROM gaps WHERE noted_at > ? ORDER BY noted_at DESC", since)

    # Bars of five minutes

    def add_bars(self, bars: Iterable[Bar]) -> None:
        """Count these into the bars that are kept: each trade must be in one of them only."""
        with self.transaction():
            for bar in bars:
                self._db.execute(
                    "INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                    "high = max(high, excluded.high), low = min(low, excluded.low), close = excluded.close, "
                    "buy_usd = buy_usd + excluded.buy_usd, sell_usd = sell_usd + excluded.sell_usd",
                    (bar.symbol, bar.at, bar.open, bar.high, bar.low, bar.close, bar.buy_usd, bar.sell_usd),
                )

    def bars_from(self) -> float | None:
        """Since when trades have been seen, unix seconds; None before the first one."""
        row = self._db.row("SELECT min(at) AS at FROM bars")
        return None if row is None or row["at"] is None else float(row["at"])

    def bars(self, symbol: str, *, since: float) -> list[Bar]:
        """A coin's bars that began since then, oldest first."""
        rows = self._db.rows("SELECT * FROM bars WHERE symbol = ? AND at >= ? ORDER BY at", symbol, since)
        return [Bar(*row) for row in rows]

    # Alerts

    def add_alert(self, key: str, monitor: str, symbol: str, *, at: float, body: dict[str, Any], now: float) -> bool:
        """Keep an alert; False when its key was known already."""
        made = self._db.write(
            "INSERT OR IGNORE INTO alerts (key, monitor, symbol, at, body, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            *(key, monitor, symbol, at, json.dumps(body), now),
        )
        return made.rowcount == 1

    def alerts(self, monitor: str, symbol: str | None = None, *, limit: int = 5) -> list[dict[str, Any]]:
        """Bodies of a monitor's newest alerts, newest first."""
        also, values = (" AND symbol = ?", [symbol]) if symbol else ("", [])
        rows = self._db.rows(
            f"SELECT body FROM alerts WHERE monitor = ?{also} ORDER BY at DESC LIMIT ?", *(monitor, *values, limit)
        )
        return [json.loads(row["body"]) for row in rows]

    def has_alerts(self, symbol: str) -> bool:
        return self._db.row("SELECT 1 FROM alerts WHERE symbol = ? LIMIT 1", symbol) is not None

    def alerts_between(self, since: float, until: float) -> list[dict[str, Any]]:
        """Bodies of every monitor's alerts that happened in that time, oldest first."""
        rows = self._db.rows("SELECT body FROM alerts WHERE at >= ? AND at < ? ORDER BY at, key", since, until)
        return [json.loads(row["body"]) for row in rows]

    def alerts_by_hour(self, *, since: float) -> dict[int, int]:
        """How many alerts each hour had, by the unix time at which it began; hours without any are left out."""
        rows = self._db.rows(
            "SELECT CAST(at / 3600 AS INTEGER) AS hour, count(*) AS n FROM alerts WHERE at >= ? GROUP BY hour", since
        )
        return {row["hour"] * 3600: row["n"] for row in rows}

    def bundle(self, delivery_id: int) -> list[dict[str, Any]]:
        """Bodies of the alerts that one delivery tells of, in the order they happened."""
        rows = self._db.rows(
            "SELECT body FROM bundled JOIN alerts ON key = alert_key WHERE delivery_id = ? ORDER BY at, key",
            delivery_id,
        )
        return [json.loads(row["body"]) for row in rows]

    def add_to_bundle(self, delivery_id: int, alert_key: str) -> None:
        self._db.write("INSERT OR IGNORE INTO bundled VALUES (?, ?)", delivery_id, alert_key)

    def open_bundle(self, chat_id: int, bundle: str, *, since: float, until: float = math.inf) -> int | None:
        """Id of the chat's bundle of that name begun after `since` whose message was or may yet be sent.

        until: now, so that a bundle begun before the clock was put back does not stay open for an hour.
        """
        row = self._db.row(
            "SELECT id FROM deliveries WHERE chat_id = ? AND bundle = ? AND created_at > ? AND created_at <= ? "
            "AND state != 'buried' ORDER BY id DESC LIMIT 1",
            *(chat_id, bundle, since, until),
        )
        return None if row is None else int(row["id"])

    def messages_since(self, chat_id: int, at: float) -> int:
        """How many messages with alerts were made for the chat since then; an edit is none."""
        row = self._db.row(
            "SELECT count(*) AS n FROM deliveries WHERE chat_id = ? AND bundle IS NOT NULL AND created_at >= ? "
            "AND state != 'buried'",
            *(chat_id, at),
        )
        return 0 if row is None else int(row["n"])

    # Outbox

    def enqueue(
        self,
        chat_id: int,
        method: str,
        payload: dict[str, Any],
        *,
        now: float,
        lane: int = ANSWERS,
        bundle: str | None = None,
    ) -> int:
        """Keep one message to be sent; the outbox does the rest. Returns its id."""
        made = self._db.write(
            "INSERT INTO deliveries (chat_id, lane, method, payload, created_at, state, bundle) "
            "VALUES (?, ?, ?, ?, ?, 'pending', ?)",
            *(chat_id, lane, method, json.dumps(payload), now, bundle),
        )
        return int(made.lastrowid or 0)

    def revise(self, delivery_id: int, payload: dict[str, Any], *, now: float) -> None:
        """Give a message another content: before it is sent in place, afterwards by an edit that follows it."""
        with self.transaction():
            for where in ("id = ?", "parent = ?"):
                changed = self._db.execute(
                    f"UPDATE deliveries SET payload = ?, revision = revision + 1 WHERE {where} AND state = 'pending'",
                    (json.dumps(payload), delivery_id),
                )
                if changed.rowcount:
                    return
            self._enqueue_edit(delivery_id, json.dumps(payload), now=now)

    def _enqueue_edit(self, parent: int, payload: str, *, now: float) -> None:
        self._db.execute(
            "INSERT INTO deliveries (chat_id, lane, method, payload, created_at, state, parent) "
            "SELECT chat_id, lane, 'editMessageText', ?, ?, 'pending', id FROM deliveries WHERE id = ?",
            (payload, now, parent),
        )

    def pending(self, *, after: int = 0) -> list[tuple[int, int, int]]:
        """(id, chat_id, lane) of every message still to be sent with an id above `after`, in order."""
        rows = self._db.rows(
            "SELECT id, chat_id, lane FROM deliveries WHERE state = 'pending' AND id > ? ORDER BY id", after
        )
        return [(row["id"], row["chat_id"], row["lane"]) for row in rows]

    def delivery(self, delivery_id: int) -> Delivery | None:
        """The message if it is still to be sent. An edit carries its parent's message_id in the payload."""
        row = self._db.row(
            "SELECT d.*, p.message_id AS target FROM deliveries d LEFT JOIN deliveries p ON p.id = d.parent "
            "WHERE d.id = ? AND d.state = 'pending'",
            delivery_id,
        )
        if row is None:
            return None
        payload = json.loads(row["payload"])
        if row["target"] is not None:
            payload["message_id"] = row["target"]
        return Delivery(
            payload=payload,
            **{name: row[name] for name in ("id", "chat_id", "lane", "method", "revision", "created_at")},
            **{name: row[name] for name in ("attempts", "bundle", "parent")},
        )

    def settle_sent(self, delivery: Delivery, *, message_id: int | None, now: float) -> bool:
        """Telegram took the message. If its content was revised meanwhile an edit is enqueued: then True."""
        with self.transaction():
            row = self._db.execute(
                "SELECT revision, payload, state FROM deliveries WHERE id = ?", (delivery.id,)
            ).fetchone()
            if row is None or row["state"] == "sent":
                return False
            self._db.execute(
                "UPDATE deliveries SET state = 'sent', settled_at = ?, message_id = ? WHERE id = ?",
                (now, message_id, delivery.id),
            )
            revised = row["revision"] != delivery.revision
            if revised:
                self._enqueue_edit(delivery.parent or delivery.id, row["payload"], now=now)
            return bool(revised)

    def settle_buried(self, delivery_id: int, *, reason: str, now: float) -> None:
        """The message can never be delivered: keep why."""
        self._db.write(
            "UPDATE deliveries SET state = 'buried', reason = ?, settled_at = ? WHERE id = ?",
            reason,
            now,
            delivery_id,
        )

    def send_anew(self, edit: Delivery, *, reason: str, now: float) -> None:
        """The message that an edit was for is gone from its chat: all it told of goes out as a new message."""
        payload = {name: value for name, value in edit.payload.items() if name != "message_id"}
        with self.transaction():
            old = self._db.execute("SELECT id, bundle FROM deliveries WHERE id = ?", (edit.parent,)).fetchone()
            made = self.enqueue(
                edit.chat_id, "sendMessage", payload, now=now, lane=edit.lane, bundle=old["bundle"] if old else None
            )
            self._db.execute(
                "INSERT INTO bundled SELECT ?, alert_key FROM bundled WHERE delivery_id = ?", (made, edit.parent)
            )
            for delivery_id in (edit.id, edit.parent):
                if delivery_id is not None:
                    self.settle_buried(delivery_id, reason=reason, now=now)

    def count_attempt(self, delivery_id: int) -> None:
        self._db.write("UPDATE deliveries SET attempts = attempts + 1 WHERE id = ?", delivery_id)

    def outbox_counts(self, *, since: float) -> dict[str, int]:
        """How many messages are `pending`, and were `sent` and `buried` since then."""
        rows = self._db.rows(
            "SELECT 'pending' AS state, count(*) AS n FROM deliveries WHERE state = 'pending' "
            "UNION ALL SELECT state, count(*) FROM deliveries WHERE settled_at > ? GROUP BY state",
            since,
        )
        return {"pending": 0, "sent": 0, "buried": 0} | {row["state"]: row["n"] for row in rows}

    def pending_count(self) -> int:
        """How many messages wait to be sent."""
        row = self._db.row("SELECT count(*) AS n FROM deliveries WHERE state = 'pending'")
        return 0 if row is None else int(row["n"])

    def prune(self, *, now: float) -> None:
        """Forget what is of no more use: messages and handled update ids after 3 days, alerts and bars after 30.

        Of a message with alerts it stays for those 30 days that it was sent (`history`); an alert that still
        waits to be told stays as long as it waits. Small transactions, so that commands get their turn between
        them. The file keeps its size: what follows is written where the old rows stood.
        """
        old, older = now - 3 * 86400, now - 30 * 86400
        self._prune_deliveries("settled_at < ? AND bundle IS NULL", old)
        self._prune_deliveries("settled_at < ?", older)
        not_waiting = f"NOT {WAITING}"
        for table, key, which, at in (
            ("inbox", "update_id", "handled_at < ?", old),
            ("gaps", "rowid", "noted_at < ?", older),
            ("alerts", "key", f"at < ? AND key NOT IN (SELECT alert_key FROM held WHERE {WAITING})", older),
            ("held", "chat_id, alert_key", f"at < ? AND {not_waiting}", older),
            ("bars", "symbol, at", "at < ?", older - 86400),  # a chart of 30 days begins within a bar
            ("users", "user_id", "state = 'stranger' AND max(at, answered_at, asked_at) < ?", older),
        ):
            statement = f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {which} LIMIT ?)"
            while self._db.write(statement, at, PRUNED_AT_ONCE).rowcount == PRUNED_AT_ONCE:
                pass
        while self.book.prune(now=now, at_most=PRUNED_AT_ONCE) == PRUNED_AT_ONCE:
            pass

    def _prune_deliveries(self, which: str, at: float) -> None:
        ids: list[tuple[int]] = [(0,)]
        while ids:
            with self.transaction():
                rows = self._db.rows(f"SELECT id FROM deliveries WHERE {which} LIMIT ?", at, PRUNED_AT_ONCE)
                ids = [(row["id"],) for row in rows]
                for statement in ("DELETE FROM bundled WHERE delivery_id = ?", "DELETE FROM deliveries WHERE id = ?"):
                    self._db.execute_all(statement, ids)


def _chat(row: Row) -> Chat:
    return _chat_of(tuple(row.keys()), tuple(row))


@lru_cache(maxsize=4096)  # a thousand chats are read with every alert, and seldom has one of them changed
def _chat_of(names: tuple[str, ...], values: tuple[Any, ...]) -> Chat:
    row = dict(zip(names, values, strict=True))
    settings = json.loads(row["settings"])
    symbols = settings.get("symbols")
    return Chat(
        **{name: row[name] for name in ("chat_id", "kind", "title", "thread_id", "added_by", "since", "note")},
        digest_at=row["digest_at"],
        subscribed=bool(row["subscribed"]),
        symbols=None if symbols is None else frozenset(symbols),
        thresholds=settings.get("thresholds", {}),
        muted_until=settings.get("muted_until", 0.0),
        symbol_mutes=settings.get("symbol_mutes", {}),
        levels=settings.get("levels", {}),
        sides=settings.get("sides", {}),
        **{name: settings[name] for name in _PLAIN_SETTINGS if name in settings},
    )
