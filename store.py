"""All that survives a restart, in one SQLite file: inbox, outbox, chats, users, cursors, alerts.

One connection, one re-entrant lock, WAL mode: every method may be called from any thread. Methods called
inside `transaction()` commit together or not at all; alone, each is its own transaction. A kill of the
process at any instant leaves the file as it was at the last commit; `durable=True` also survives a loss of
power. Only this module speaks to sqlite3; every failure leaves it as `StoreError`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

APPLICATION_ID = 0x43534154  # "CSAT": tells our file from any other SQLite database

# Version N of the schema is what the first N scripts make; a script is never changed once it was released.
_MIGRATIONS = (
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE inbox (update_id INTEGER PRIMARY KEY, handled_at REAL NOT NULL);
    CREATE TABLE stale (chat_id INTEGER PRIMARY KEY, thread_id INTEGER, commands INTEGER NOT NULL,
                        first_at REAL NOT NULL, last_at REAL NOT NULL);
    CREATE TABLE users (user_id INTEGER PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, at REAL NOT NULL,
                        answered_at REAL NOT NULL DEFAULT 0, asked_at REAL NOT NULL DEFAULT 0);
    CREATE TABLE chats (chat_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, thread_id INTEGER,
                        added_by INTEGER NOT NULL, subscribed INTEGER NOT NULL, since REAL NOT NULL,
                        note TEXT NOT NULL DEFAULT '', settings TEXT NOT NULL DEFAULT '{}');
    CREATE TABLE cursors (venue TEXT NOT NULL, symbol TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL,
                          PRIMARY KEY (venue, symbol)) WITHOUT ROWID;
    CREATE TABLE gaps (venue TEXT NOT NULL, symbol TEXT NOT NULL, missed INTEGER, start REAL NOT NULL,
                       end REAL NOT NULL, noted_at REAL NOT NULL);
    CREATE TABLE alerts (key TEXT PRIMARY KEY, symbol TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL,
                         created_at REAL NOT NULL) WITHOUT ROWID;
    CREATE INDEX alerts_at ON alerts (at);
    CREATE INDEX alerts_symbol ON alerts (symbol, at);
    CREATE TABLE deliveries (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, lane INTEGER NOT NULL,
                             method TEXT NOT NULL, payload TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0,
                             created_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL,
                             reason TEXT NOT NULL DEFAULT '', settled_at REAL, message_id INTEGER,
                             bundle TEXT, parent INTEGER);
    CREATE INDEX deliveries_pending ON deliveries (id) WHERE state = 'pending';
    CREATE INDEX deliveries_bundle ON deliveries (chat_id, bundle, created_at) WHERE bundle IS NOT NULL;
    CREATE INDEX deliveries_parent ON deliveries (parent) WHERE parent IS NOT NULL;
    CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;
    CREATE TABLE bundled (delivery_id INTEGER NOT NULL, alert_key TEXT NOT NULL,
                          PRIMARY KEY (delivery_id, alert_key)) WITHOUT ROWID;
    """,
)

# These are mistakes in our own SQL or values, not the disk's: they stay what they are.
_BUGS = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError)

ANSWERS, ALERTS = 0, 1  # lanes of the outbox: answers to commands go first


class StoreError(Exception):
    """The database cannot be used. str() says what happened, what it means and what to do."""


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A chat that was started once. `symbols` None means every symbol; amounts in US dollars, times unix seconds."""

    chat_id: int
    kind: str = "private"
    title: str = ""
    thread_id: int | None = None
    added_by: int
    subscribed: bool = True
    since: float = 0.0
    note: str = ""
    symbols: frozenset[str] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    muted_until: float = 0.0
    symbol_mutes: Mapping[str, float] = field(default_factory=dict)

    def follows(self, symbol: str) -> bool:
        return self.symbols is None or symbol in self.symbols

    def muted(self, symbol: str, now: float) -> bool:
        return now < self.muted_until or now < self.symbol_mutes.get(symbol, 0.0)


@dataclass(frozen=True, kw_only=True)
class User:
    """A person who wrote to the bot. state: `allowed`, `denied` or `stranger`."""

    user_id: int
    name: str = ""
    state: str = "stranger"
    at: float = 0.0
    answered_at: float = 0.0
    asked_at: float = 0.0


@dataclass(frozen=True)
class Cursor:
    """Where a feed is to be read on. `at`: unix seconds up to which it was read."""

    text: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message to send: a Bot API method with its parameters, for one chat."""

    id: int
    chat_id: int
    lane: int
    method: str
    payload: dict[str, Any]
    revision: int
    created_at: float
    attempts: int
    bundle: str | None
    parent: int | None


class Store:
    """The bot's database at `path` (a folder that exists). Raises StoreError when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self._lock = threading.RLock()
        self._depth = 0
        try:
            try:
                self._db = self._open()
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                self.set_aside = self._set_corrupt_file_aside()
                self._db = self._open()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"The database {path} could not be opened: {error}. Nothing in it was changed. Check that the disk "
                f"has room, that this user may write there and that no other program holds the file."
            ) from None

    def _open(self) -> sqlite3.Connection:
        known = self.path.exists() and self.path.stat().st_size > 0
        db = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            # A kill or a full disk at the very first start can leave a file that has a head and nothing in it.
            empty = application == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            if known and application != APPLICATION_ID and not empty:
                raise StoreError(
                    f"{self.path} is a database of another program. The bot does not touch it. "
                    f"Move it away, or point DATA_DIR to another folder."
                )
            if version > len(_MIGRATIONS):
                raise StoreError(
                    f"{self.path} was written by a newer version of this bot (schema {version}, this version knows "
                    f"{len(_MIGRATIONS)}). It was left as it is. Update the bot, or point DATA_DIR to another folder."
                )
            # A small file is checked page by page at once; for a large one that would delay the start.
            if known and self.path.stat().st_size < 32 * 1024 * 1024:
                verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if verdict != "ok":
                    raise sqlite3.DatabaseError(f"malformed: {verdict}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if version < len(_MIGRATIONS):
                steps = ";".join(_MIGRATIONS[version:])
                db.executescript(
                    f"BEGIN IMMEDIATE; {steps}; PRAGMA application_id = {APPLICATION_ID};"
                    f"PRAGMA user_version = {len(_MIGRATIONS)}; COMMIT;"
                )
        except BaseException:
            db.close()
            raise
        return db

    def _set_corrupt_file_aside(self) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        while aside.exists():  # rename() would overwrite it
            aside = aside.with_name(f"{aside.name}x")
        for suffix in ("", "-wal", "-shm"):
            source = self.path.with_name(self.path.name + suffix)
            if source.exists():
                source.rename(aside.with_name(aside.name + suffix))
        return aside

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """Commit everything inside together, or nothing when an exception leaves it. Nested ones join the outer.

        durable: wait until the disk has it (this also covers every earlier commit). Raises StoreError.
        """
        with self._lock:
            try:
                if self._depth == 0:
                    self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._db.execute("BEGIN IMMEDIATE")
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                if self._depth == 0:
                    self._db.execute("COMMIT")
            except BaseException as error:
                if self._depth == 0 and self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and not isinstance(error, _BUGS):
                    raise StoreError(
                        f"The database {self.path} could not be written: {error}. What was being done is undone and "
                        f"will be tried again. Check the disk's free space and its permissions."
                    ) from error
                raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undo what is inside when an exception leaves it, and nothing else."""
        with self._lock:
            self._db.execute("SAVEPOINT inner")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # on a full disk SQLite may have undone everything by itself
                    self._db.execute("ROLLBACK TO inner")
                    self._db.execute("RELEASE inner")
                raise
            self._db.execute("RELEASE inner")

    def _write(self, sql: str, *values: Any) -> sqlite3.Cursor:
        with self.transaction():
            return self._db.execute(sql, values)

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(
                    f"The database {self.path} could not be read: {error}. Check the disk, then restart the bot."
                ) from error

    def _row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # Small facts

    def value(self, name: str) -> str | None:
        row = self._row("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else str(row["value"])

    def set_value(self, name: str, value: str) -> None:
        self._write("INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value)

    # Inbox: which updates were handled

    def handled(self, update_id: int) -> bool:
        return self._row("SELECT 1 FROM inbox WHERE update_id = ?", update_id) is not None

    def mark_handled(self, update_id: int, *, now: float) -> None:
        self._write("INSERT OR IGNORE INTO inbox VALUES (?, ?)", update_id, now)

    def add_stale(self, chat_id: int, *, thread_id: int | None, at: float) -> None:
        """Count a command that was too old to run; `take_stale` tells the chat once."""
        self._write(
            "INSERT INTO stale VALUES (?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET commands = commands + 1, "
            "first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)",
            *(chat_id, thread_id, at, at),
        )

    def take_stale(self) -> list[sqlite3.Row]:
        """Rows (chat_id, thread_id, commands, first_at, last_at), removed from the store by this call."""
        with self.transaction():
            rows = self._rows("SELECT * FROM stale")
            if rows:
                self._db.execute("DELETE FROM stale")
            return rows

    # People

    def user(self, user_id: int) -> User | None:
        row = self._row("SELECT * FROM users WHERE user_id = ?", user_id)
        return None if row is None else User(**dict(row))

    def users(self, *states: str) -> list[User]:
        marks = ",".join("?" * len(states))
        return [
            User(**dict(row))
            for row in self._rows(f"SELECT * FROM users WHERE state IN ({marks}) ORDER BY at", *states)
        ]

    def put_user(self, user: User) -> None:
        self._write(
            "INSERT OR REPLACE INTO users (user_id, name, state, at, answered_at, asked_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(user.user_id, user.name, user.state, user.at, user.answered_at, user.asked_at),
        )

    def asked_since(self, at: float) -> int:
        """How many strangers were brought before the owner since `at`."""
        row = self._row("SELECT count(*) AS n FROM users WHERE asked_at > ?", at)
        return 0 if row is None else int(row["n"])

    # Chats

    def chat(self, chat_id: int) -> Chat | None:
        row = self._row("SELECT * FROM chats WHERE chat_id = ?", chat_id)
        return None if row is None else _chat(row)

    def chats(self, *, subscribed: bool = True) -> list[Chat]:
        """Every chat with (or, when asked, without) a subscription, oldest first."""
        rows = self._rows("SELECT * FROM chats WHERE subscribed = ? ORDER BY since, chat_id", int(subscribed))
        return [_chat(row) for row in rows]

    def put_chat(self, chat: Chat) -> None:
        settings = {
            "symbols": None if chat.symbols is None else sorted(chat.symbols),
            "thresholds": dict(chat.thresholds),
            "muted_until": chat.muted_until,
            "symbol_mutes": dict(chat.symbol_mutes),
        }
        self._write(
            "INSERT OR REPLACE INTO chats "
            "(chat_id, kind, title, thread_id, added_by, subscribed, since, note, settings) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(chat.chat_id, chat.kind, chat.title, chat.thread_id, chat.added_by, int(chat.subscribed)),
            *(chat.since, chat.note, json.dumps(settings)),
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

    def migrate_chat(self, old: int, new: int) -> None:
        """A group became a supergroup: everything of the old chat id belongs to the new one."""
        with self.transaction():
            if self._db.execute("SELECT 1 FROM chats WHERE chat_id = ?", (new,)).fetchone() is None:
                self._db.execute("UPDATE chats SET chat_id = ?, kind = 'supergroup' WHERE chat_id = ?", (new, old))
            else:
                self._db.execute("DELETE FROM chats WHERE chat_id = ?", (old,))
            self._db.execute("UPDATE deliveries SET chat_id = ? WHERE chat_id = ? AND state = 'pending'", (new, old))

    # Market feeds

    def cursor(self, venue: str, symbol: str) -> Cursor | None:
        row = self._row("SELECT text, at FROM cursors WHERE venue = ? AND symbol = ?", venue, symbol)
        return None if row is None else Cursor(row["text"], row["at"])

    def set_cursor(self, venue: str, symbol: str, text: str, *, at: float) -> None:
        self._write("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", venue, symbol, text, at)

    def add_gap(self, venue: str, symbol: str, *, missed: int | None, start: float, end: float) -> None:
        """Note that trades between two times were not seen; `missed` None when their number is not known."""
        self._write("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?)", venue, symbol, missed, start, end, time.time())

    def gaps(self, *, since: float) -> list[sqlite3.Row]:
        """Rows (venue, symbol, missed, start, end) noted since then, newest first."""
        return self._rows("SELECT * FROM gaps WHERE noted_at > ? ORDER BY noted_at DESC", since)

    # Alerts

    def add_alert(self, key: str, symbol: str, *, at: float, body: dict[str, Any], now: float) -> bool:
        """Keep an alert; False when its key was known already."""
        made = self._write(
            "INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?)", key, symbol, at, json.dumps(body), now
        )
        return made.rowcount == 1

    def alerts(self, symbol: str | None = None, *, limit: int = 5) -> list[dict[str, Any]]:
        """Bodies of the newest alerts, newest first."""
        where, values = ("WHERE symbol = ?", [symbol]) if symbol else ("", [])
        rows = self._rows(f"SELECT body FROM alerts {where} ORDER BY at DESC LIMIT ?", *values, limit)
        return [json.loads(row["body"]) for row in rows]

    def bundle(self, delivery_id: int) -> list[dict[str, Any]]:
        """Bodies of the alerts that one delivery tells of, in the order they happened."""
        rows = self._rows(
            "SELECT body FROM bundled JOIN alerts ON key = alert_key WHERE delivery_id = ? ORDER BY at, key",
            delivery_id,
        )
        return [json.loads(row["body"]) for row in rows]

    def add_to_bundle(self, delivery_id: int, alert_key: str) -> None:
        self._write("INSERT OR IGNORE INTO bundled VALUES (?, ?)", delivery_id, alert_key)

    def open_bundle(self, chat_id: int, bundle: str, *, since: float) -> int | None:
        """Id of the chat's bundle of that name begun after `since` whose message was or may yet be sent."""
        row = self._row(
            "SELECT id FROM deliveries WHERE chat_id = ? AND bundle = ? AND created_at > ? AND state != 'buried' "
            "ORDER BY id DESC LIMIT 1",
            *(chat_id, bundle, since),
        )
        return None if row is None else int(row["id"])

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
        made = self._write(
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
        rows = self._rows(
            "SELECT id, chat_id, lane FROM deliveries WHERE state = 'pending' AND id > ? ORDER BY id", after
        )
        return [(row["id"], row["chat_id"], row["lane"]) for row in rows]

    def delivery(self, delivery_id: int) -> Delivery | None:
        """The message if it is still to be sent. An edit carries its parent's message_id in the payload."""
        row = self._row(
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
            self._db.execute(
                "UPDATE deliveries SET state = 'sent', settled_at = ?, message_id = ? WHERE id = ?",
                (now, message_id, delivery.id),
            )
            row = self._db.execute("SELECT revision, payload FROM deliveries WHERE id = ?", (delivery.id,)).fetchone()
            revised = row is not None and row["revision"] != delivery.revision
            if revised:
                self._enqueue_edit(delivery.parent or delivery.id, row["payload"], now=now)
            return revised

    def settle_buried(self, delivery_id: int, *, reason: str, now: float) -> None:
        """The message can never be delivered: keep why."""
        self._write(
            "UPDATE deliveries SET state = 'buried', reason = ?, settled_at = ? WHERE id = ?",
            reason,
            now,
            delivery_id,
        )

    def count_attempt(self, delivery_id: int) -> None:
        self._write("UPDATE deliveries SET attempts = attempts + 1 WHERE id = ?", delivery_id)

    def outbox_counts(self, *, since: float) -> dict[str, int]:
        """How many messages are `pending`, and were `sent` and `buried` since then."""
        rows = self._rows(
            "SELECT state, count(*) AS n FROM deliveries WHERE state = 'pending' OR settled_at > ? GROUP BY state",
            since,
        )
        return {"pending": 0, "sent": 0, "buried": 0} | {row["state"]: row["n"] for row in rows}

    def prune(self, *, now: float) -> None:
        """Forget what is of no more use: settled messages and handled update ids after 3 days, alerts after 30."""
        with self.transaction():
            old, older = now - 3 * 86400, now - 30 * 86400
            self._db.execute("DELETE FROM deliveries WHERE settled_at < ?", (old,))
            self._db.execute("DELETE FROM inbox WHERE handled_at < ?", (old,))
            self._db.execute("DELETE FROM gaps WHERE noted_at < ?", (older,))
            self._db.execute("DELETE FROM alerts WHERE at < ?", (older,))
            self._db.execute("DELETE FROM bundled WHERE delivery_id NOT IN (SELECT id FROM deliveries)")


def _chat(row: sqlite3.Row) -> Chat:
    settings = json.loads(row["settings"])
    symbols = settings.get("symbols")
    return Chat(
        **{name: row[name] for name in ("chat_id", "kind", "title", "thread_id", "added_by", "since", "note")},
        subscribed=bool(row["subscribed"]),
        symbols=None if symbols is None else frozenset(symbols),
        thresholds=settings.get("thresholds", {}),
        muted_until=settings.get("muted_until", 0.0),
        symbol_mutes=settings.get("symbol_mutes", {}),
    )


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    return "malformed" in str(error) or "not a database" in str(error)
