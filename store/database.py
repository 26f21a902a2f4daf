"""The bot's one SQLite file: opened, checked, migrated, and written in transactions. The only door to sqlite3.

One connection, one re-entrant lock, WAL mode: every method may be called from any thread. A kill of the process
at any instant leaves the file as it was at the last commit; `durable=True` also survives a loss of power. A file
of another program or of a newer version is refused and left as it is; a damaged one is set aside, never deleted;
before a migration the old file is kept beside the new one. Every failure leaves as `StoreError`.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from base.text import count, duration, price, usd
from botapi.storage import StoreError
from store import salvage
from store.turns import Turns

log = logging.getLogger(__name__)

Row = sqlite3.Row

BUSY_PATIENCE = 2.0  # seconds to wait for another program's lock: a stop must not take longer than 5 s
LOG_SIZE = 4 << 20  # bytes to which SQLite's own log is cut again after a large transaction
CHECKED_AT_ONCE = 32 << 20  # bytes

APPLICATION_ID = 0x43534154  # "CSAT": tells our file from any other SQLite database


def _to_generic_alerts(db: sqlite3.Connection) -> None:
    """Version 1 kept whale orders in fields of their own, and thresholds without the monitor's name."""
    for key, text in db.execute("SELECT key, body FROM alerts").fetchall():
        old = json.loads(text)
        worded = {
            "headline": f"{old['symbol']} {old['side']} {usd(old['usd'])} USD at {price(old['price'])}",
            "facts": f"{count(old['fills'], 'fill')}",
            "at_ms": old["last_ms"],
            "monitor": "whales",
        }
        kept = {name: old[name] for name in ("key", "symbol", "side", "usd", "price", "venue", "url", "late")}
        db.execute("UPDATE alerts SET body = ? WHERE key = ?", (json.dumps(kept | worded), key))
    for chat_id, text in db.execute("SELECT chat_id, settings FROM chats").fetchall():
        settings = json.loads(text)
        thresholds = settings.get("thresholds") or {}
        settings["thresholds"] = {"whales": thresholds} if thresholds else {}
        db.execute("UPDATE chats SET settings = ? WHERE chat_id = ?", (json.dumps(settings), chat_id))


# Version N of the schema is what the first N steps make; a step is never changed once it was released.
_MIGRATIONS: tuple[str | Callable[[sqlite3.Connection], None], ...] = (
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
    """
    ALTER TABLE alerts ADD COLUMN monitor TEXT NOT NULL DEFAULT 'whales';
    CREATE INDEX alerts_monitor ON alerts (monitor, at);
    ALTER TABLE chats ADD COLUMN digest_at REAL;
    CREATE INDEX chats_digest ON chats (digest_at) WHERE digest_at IS NOT NULL;
    CREATE TABLE held (chat_id INTEGER NOT NULL, alert_key TEXT NOT NULL, why TEXT NOT NULL, at REAL NOT NULL,
                       PRIMARY KEY (chat_id, alert_key)) WITHOUT ROWID;
    CREATE TABLE bars (symbol TEXT NOT NULL, at INTEGER NOT NULL, open REAL NOT NULL, high REAL NOT NULL,
                       low REAL NOT NULL, close REAL NOT NULL, buy_usd REAL NOT NULL, sell_usd REAL NOT NULL,
                       PRIMARY KEY (symbol, at)) WITHOUT ROWID;
    """,
    _to_generic_alerts,
    "CREATE INDEX held_waiting ON held (chat_id, at) WHERE why IN ('quiet', 'cap')",
    """
    DROP INDEX deliveries_bundle;
    CREATE INDEX deliveries_told ON deliveries (chat_id, created_at) WHERE bundle IS NOT NULL;
    DROP INDEX deliveries_settled;
    CREATE INDEX deliveries_settled ON deliveries (settled_at, state) WHERE settled_at IS NOT NULL;
    CREATE INDEX deliveries_plain ON deliveries (settled_at) WHERE bundle IS NULL AND settled_at IS NOT NULL
    """,
    """
    CREATE TABLE liquidations (venue TEXT NOT NULL, row TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
                               usd REAL NOT NULL, price REAL NOT NULL, at_ms INTEGER NOT NULL,
                               PRIMARY KEY (venue, row)) WITHOUT ROWID;
    CREATE INDEX liquidations_at ON liquidations (at_ms);
    CREATE TABLE rates (venue TEXT NOT NULL, symbol TEXT NOT NULL, contract TEXT NOT NULL, rate REAL NOT NULL,
                        hours REAL NOT NULL, next_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
                        PRIMARY KEY (venue, contract)) WITHOUT ROWID;
    CREATE TABLE watched (chat_id INTEGER NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL,
                          PRIMARY KEY (chat_id, address)) WITHOUT ROWID;
    CREATE TABLE looks (address TEXT PRIMARY KEY, body TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
    """,
)

# These are mistakes in our own SQL or values, not the disk's: they stay what they are.
_BUGS = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError)


# What happened, and what to do, by SQLite's own codes (sqlite.org/rescode.html).
_FULL = ("The disk that holds {path} is full", "Free some space")
_HELD = ("Another program holds {path} locked", "Close that program (a database browser, a backup)")
_BARRED = (
    "{path} may not be written: it or its folder belongs to another user, or is mounted read-only",
    "Give this user the right to write there",
)
_OTHER = ("The database {path} cannot be used: {error}", "Check the disk, its free space and its permissions")
_MEANINGS = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_READONLY: _BARRED,
    sqlite3.SQLITE_PERM: _BARRED,
    sqlite3.SQLITE_CANTOPEN: _BARRED,
}


class Database:
    """The file at `path` (its folder exists). Raises StoreError when it cannot be used.

    set_aside: where a damaged file was moved to, None when there was none; taken_over: how many rows of it were
    saved. on_damage: called with words when the file turns out to be damaged while it is used; to be set by whoever
    can end the process. That the file cannot be used, and that it can again, is logged here and nowhere else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self.taken_over = 0
        self.on_damage: Callable[[str], None] = lambda words: None
        self.trouble: str | None = None  # in words for people, while the file cannot be used
        self._failing_since: float | None = None
        self._lock = Turns()
        self._depth = 0
        self._changes = 0  # of the connection in all, when the transaction began
        try:
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                self.set_aside = salvage.set_aside(path)
                self._connection = self._open()
                self.taken_over = salvage.take_over(self.set_aside, self._connection, version=len(_MIGRATIONS))
            self._suspicion.unlink(missing_ok=True)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The database could not be opened. {_words(path, error, opening=True)}") from None

    def _open(self) -> sqlite3.Connection:
        known = self.path.exists() and self.path.stat().st_size > 0
        db = sqlite3.connect(self.path, timeout=BUSY_PATIENCE, isolation_level=None, check_same_thread=False)
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
            suspicious = self._suspicion.exists()
            if known and (suspicious or self.path.stat().st_size < CHECKED_AT_ONCE):
                verdict = db.execute(f"PRAGMA {'integrity' if suspicious else 'quick'}_check(1)").fetchone()[0]
                if verdict != "ok":
                    raise sqlite3.DatabaseError(f"malformed: {verdict}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA journal_size_limit = {LOG_SIZE}")
            if version < len(_MIGRATIONS):
                self._migrate(db, version)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection, version: int) -> None:
        """Bring the file to this version in one transaction; a copy of it as it was stays beside it."""
        if version > 0:
            kept = self.path.with_name(f"{self.path.name}.version-{version}")
            log.info(
                "The database is brought from version %d to %d; a copy is kept as %s",
                *(version, len(_MIGRATIONS)),
                kept,
            )
            self._copy(db, kept)
        db.execute("BEGIN IMMEDIATE")
        try:
            for step in _MIGRATIONS[version:]:
                if callable(step):
                    step(db)
                else:
                    for statement in step.split(";"):
                        db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
            db.execute("COMMIT")
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"The database {self.path} could not be brought up to date: a row of version {version} is not as it "
                f"should be ({type(error).__name__}). It was left as it is. Go back to the version of the bot that "
                f"wrote it, or move the file away and begin a new one."
            ) from error
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _copy(self, db: sqlite3.Connection, kept: Path) -> None:
        unfinished = kept.with_name(f"{kept.name}.unfinished")
        unfinished.unlink(missing_ok=True)
        told = time.monotonic()

        def progress(status: int, remaining: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told >= 3:
                told = time.monotonic()
                log.info("Copying the database: %d of %d pages", total - remaining, total)

        target = sqlite3.connect(unfinished)
        try:
            db.backup(target, pages=4096, progress=progress, sleep=0)
        finally:
            target.close()
        unfinished.replace(kept)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """Commit everything inside together, or nothing when an exception leaves it. Nested ones join the outer.

        durable: wait until the disk has it (this also covers every earlier commit). Raises StoreError.
        """
        with self._lock:
            try:
                if self._depth == 0:
                    self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._connection.execute("BEGIN IMMEDIATE")
                    self._changes = self._connection.total_changes
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("COMMIT")
                    if self._connection.total_changes > self._changes:  # else nothing had to be written
                        self._works()
            except BaseException as error:
                if self._depth == 0:
                    self._roll_back()
                if isinstance(error, sqlite3.Error) and not isinstance(error, _BUGS):
                    raise self._fails(error) from error
                raise

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.debug("Rolling back: %s", error)  # the first error is the one to tell; SQLite undoes the rest itself

    def _fails(self, error: sqlite3.Error) -> StoreError:
        """The error in words for people. The first of a row is logged; damage is told to `on_damage` as well."""
        words = _words(self.path, error)
        if self._failing_since is None:
            self._failing_since, self.trouble = time.monotonic(), words
            log.error("%s", words)
            if isinstance(error, sqlite3.DatabaseError) and _is_corrupt(error):
                try:
                    self._suspicion.touch()
                except OSError as reason:
                    log.debug("The suspicion could not be noted: %s", reason)
                self.on_damage(words)
        return StoreError(words)

    def failing_for(self) -> float | None:
        """Seconds since when the file cannot be used, None while it can. Never waits."""
        since = self._failing_since
        return None if since is None else time.monotonic() - since

    def _works(self) -> None:
        since, self._failing_since, self.trouble = self._failing_since, None, None
        if since is not None:
            log.info("The database can be written again after %s", duration(time.monotonic() - since))

    @property
    def _suspicion(self) -> Path:
        """A file whose presence means: look at the whole database at the next start, however large it is."""
        return self.path.with_name(f"{self.path.name}.suspect")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undo what is inside when an exception leaves it, and nothing else."""
        with self._lock:
            self._connection.execute("SAVEPOINT inner")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # on a full disk SQLite may have undone everything by itself
                    self._connection.execute("ROLLBACK TO inner")
                    self._connection.execute("RELEASE inner")
                raise
            self._connection.execute("RELEASE inner")

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """One statement inside the caller's `transaction()`; there alone a failure leaves as StoreError."""
        return self._connection.execute(sql, values)

    def execute_all(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """One statement for each row, as `execute`."""
        self._connection.executemany(sql, rows)

    def write(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """One statement as a transaction of its own, or as a part of the one around it."""
        with self.transaction():
            return self._connection.execute(sql, values)

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                if isinstance(error, _BUGS):
                    raise
                raise self._fails(error) from error

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _words(path: Path, error: Exception, *, opening: bool = False) -> str:
    if isinstance(error, sqlite3.DatabaseError) and _is_corrupt(error):
        return (
            f"{path} is damaged ({error}). It is kept as it is. Start the bot again: the file is then set aside "
            f"and a new one is begun with all that can still be read. Check the disk."
        )
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest its special case
    happened, remedy = (words.format(path=path, error=error) for words in _MEANINGS.get(code, _OTHER))
    if opening:
        return f"{happened}. Nothing in it was changed. {remedy}, then start the bot again."
    return f"{happened}. What is there stays; new commands and alerts wait. {remedy}: the bot goes on by itself."


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    return "malformed" in str(error) or "not a database" in str(error)


@dataclass(frozen=True)
class Inspection:
    """What a look at a database file told. `size` is in bytes, with the log beside it; `detail` is SQLite's words."""

    verdict: Literal["sound", "damaged", "foreign", "newer", "not all looked at"]
    size: int
    detail: str = ""


def inspect(path: Path, *, seconds: float = 3.0) -> Inspection:
    """Check a database that may be in use just now, for at most `seconds`. Never writes, never bars a writer.

    Raises FileNotFoundError when there is none, StoreError when it cannot be read.
    """
    log_file = path.with_name(f"{path.name}-wal")
    size = path.stat().st_size + (log_file.stat().st_size if log_file.exists() else 0)
    try:
        found = _inspect(path, size, seconds, in_use=log_file.exists())
        if found.verdict == "damaged" and log_file.exists():
            # Opened as a file that nobody writes, while the bot was just starting: look again, in its company.
            found = _inspect(path, size, seconds, in_use=True)
    except sqlite3.Error as error:
        raise StoreError(
            f"The database {path} could not be looked at: {error}. That does not mean that it is damaged. Ask as "
            f"the user who runs the bot."
        ) from None
    return found


def _inspect(path: Path, size: int, seconds: float, *, in_use: bool) -> Inspection:
    # Without its log the file is complete, and `immutable` makes SQLite create no file beside it.
    how = "mode=ro" if in_use else "mode=ro&immutable=1"
    ends_at = time.monotonic() + seconds
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=1.0)
    try:
        db.set_progress_handler(lambda: time.monotonic() > ends_at, 1000)
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if application not in (APPLICATION_ID, 0):
            return Inspection("foreign", size)
        if version > len(_MIGRATIONS):
            return Inspection("newer", size, f"schema {version}, this version knows {len(_MIGRATIONS)}")
        told = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        return Inspection("sound", size) if told == "ok" else Inspection("damaged", size, told)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return Inspection("not all looked at", size)
        raise
    except sqlite3.DatabaseError as error:
        if _is_corrupt(error):
            return Inspection("damaged", size, str(error))
        raise
    finally:
        db.close()
