"""The bot's one SQLite file: opened, checked, and written in transactions. The rest of the store speaks SQL to this.

One connection, one lock, WAL mode: every method may be called from any thread. A kill of the process at any instant
leaves the file as it was at the last commit; `durable=True` also survives a power failure. Files of other programs
and of newer versions are refused and left unchanged; a damaged file is set aside, never deleted.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from base.text import duration
from botapi.storage import StoreError
from machine.folders import network_disk
from store import salvage, schema
from store.fifo_lock import FifoLock
from store.salvage import is_damage

log = logging.getLogger(__name__)

Row = sqlite3.Row  # what `rows` returns: its values by column name

BUSY_PATIENCE = 2.0  # seconds to wait for another program's lock: stopping the bot must not take longer than 5 s
LOG_SIZE = 4 << 20  # bytes to which SQLite's own log is cut again after a large transaction
CHECKED_AT_ONCE = 32 << 20  # bytes: checking a larger file page by page would delay the start
PRUNED_AT_ONCE = 500  # rows in one transaction

# These are mistakes in our own SQL or values, not the disk's: they are re-raised unchanged.
_BUGS = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError)

# What happened, and what to do, by SQLite's own codes (sqlite.org/rescode.html).
_FULL = ("The disk with {path} is full", "Free some space")
_LOCKED = ("Another program has locked {path}", "Close that program (a database browser, a backup)")
_READ_ONLY = (
    "{path} cannot be written: the file or its folder belongs to another user or is mounted read-only",
    "Give this user write permission there",
)
_OTHER = ("The database {path} cannot be used: {error}", "Check the disk, its free space and its permissions")
_SHARE = (
    "{path} is on a network disk ({share}), where SQLite cannot lock it ({error})",
    "Set DATA_DIR to a folder on a local disk, and copy bot.db there if there is one",
)
_OF_SHARES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR)
_MEANINGS = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
}


class Database:
    """The file at `path` (its folder exists). Raises StoreError when it cannot be used.

    set_aside: the new name of a damaged file, None when there was none. taken_over: how many of its rows were saved.
    trouble: why the file cannot be used now, for people; None while it works. on_damage: called once, with a text for
    people, when the file turns out to be damaged while it is used. That the file stops working, and that it works
    again, is logged here and nowhere else.
    """

    def __init__(self, path: Path, *, migrations: Sequence[schema.Migration] = schema.MIGRATIONS) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self.taken_over = 0
        self.on_damage: Callable[[str], None] = lambda text: None
        self.trouble: str | None = None
        self._migrations = migrations
        self._failing_since: float | None = None
        self._damage_reported = False
        self._unreadable: set[str] = set()
        self._lock = FifoLock()
        self._depth = 0
        self._changes = 0  # of the connection in all, when the transaction began
        try:
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self.set_aside = salvage.set_aside(path)
                self._connection = self._open()
                version = schema.FIRST_VERSION + len(migrations)
                self.taken_over = salvage.take_over(self.set_aside, self._connection, version=version)
                log.warning(
                    "The database was damaged (%s). It is kept as %s; rows saved from it: %d",
                    error,
                    self.set_aside,
                    self.taken_over,
                )
            self._suspicion.unlink(missing_ok=True)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The database could not be opened. {_explain(path, error, opening=True)}") from None

    def _open(self) -> sqlite3.Connection:
        known = self.path.exists() and self.path.stat().st_size > 0
        db = sqlite3.connect(self.path, timeout=BUSY_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            schema.refuse_others(db, self.path, newest=schema.FIRST_VERSION + len(self._migrations))
            suspicious = self._suspicion.exists()
            if known and (suspicious or self.path.stat().st_size < CHECKED_AT_ONCE):
                verdict = db.execute(f"PRAGMA {'integrity' if suspicious else 'quick'}_check(1)").fetchone()[0]
                if verdict != "ok":
                    raise sqlite3.DatabaseError(f"malformed: {verdict}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA journal_size_limit = {LOG_SIZE}")
            schema.upgrade(db, self.path, self._migrations)
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # SQLite makes its files beside it
            self._identity = salvage.identity(self.path)
        except BaseException:  # whatever it was, the file is not kept open
            db.close()
            raise
        return db

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
            except BaseException as error:  # whatever it was, all of it or nothing
                if self._depth == 0:
                    self._roll_back()
                if isinstance(error, sqlite3.Error):
                    raise self._known(error) from error
                raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undo what is inside when an exception leaves it, and nothing else."""
        with self._lock:
            self._connection.execute("SAVEPOINT inner")
            try:
                yield
            except BaseException:  # as above
                if self._connection.in_transaction:  # on a full disk SQLite may have undone everything by itself
                    self._connection.execute("ROLLBACK TO inner")
                    self._connection.execute("RELEASE inner")
                raise
            self._connection.execute("RELEASE inner")

    def write(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """One statement, as a transaction of its own or as a part of the one around it. Returns the rows changed."""
        return self._execute(sql, values).rowcount

    def insert(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """An INSERT of one row, as `write`. Returns the id that the row was given."""
        return self._execute(sql, values).lastrowid or 0

    def _execute(self, sql: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        with self._lock:
            if self._depth == 0:
                with self.transaction():
                    return self._connection.execute(sql, values)
            try:
                return self._connection.execute(sql, values)
            except sqlite3.Error as error:
                raise self._known(error) from error

    def rows(self, sql: str, values: tuple[Any, ...] | Mapping[str, Any] = ()) -> list[Row]:
        """All rows of a query. One that also writes (RETURNING) is to be called inside a transaction."""
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._known(error) from error

    def row(self, sql: str, values: tuple[Any, ...] = ()) -> Row | None:
        """The first row of a query."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def number(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """The one number that a `SELECT count(*)` gives."""
        return int(self.rows(sql, values)[0][0])

    def put(self, table: str, key: tuple[str, ...], values: Mapping[str, Any]) -> None:
        """Write one row, in place of the one with the same values in the `key` columns."""
        self.write(_upsert(table, key, tuple(values)), tuple(values.values()))

    def prune(self, table: str, key: str, where: str, values: tuple[Any, ...]) -> None:
        """Delete the rows of a table in small transactions, so that commands get their turn between them."""
        some = f"SELECT {key} FROM {table} WHERE {where} LIMIT {PRUNED_AT_ONCE}"
        while self.write(f"DELETE FROM {table} WHERE ({key}) IN ({some})", values) == PRUNED_AT_ONCE:
            pass

    def unreadable(self, what: str, why: object) -> None:
        """Something that is stored cannot be read and is left out: logged once for each."""
        if what not in self._unreadable:
            self._unreadable.add(what)
            log.warning("In the database, %s cannot be read and is left out: %s", what, why)

    def save_if_deleted(self) -> str | None:
        """If someone deleted or replaced the file, write everything into a new one; what happened, for people.

        Not in a transaction. Raises StoreError: then the next call tries again.
        """
        with self._lock:
            try:
                found = salvage.identity(self.path)
                if all(found.get(suffix) == seen for suffix, seen in self._identity.items()):
                    return None
                replaced = salvage.rescue(self._connection, self.path, self._identity)
            except (OSError, sqlite3.Error) as error:
                raise self._known(error) from error
            try:
                self._connection = self._open()
            except (OSError, sqlite3.Error) as error:  # the new file is complete: a new start can use it
                self.on_damage(text := _explain(self.path, error, opening=True))
                raise StoreError(text) from error
        kept = f" The file that took its place is kept as {replaced.name}." if replaced else ""
        return (
            f"The bot's database {self.path} was {'replaced' if replaced else 'deleted'} while the bot was running. "
            f"Everything was saved into a new file: nothing is lost.{kept} Stop the bot before you touch its files."
        )

    def failing_for(self) -> float | None:
        """Seconds since when the file cannot be used, None while it can. Never waits."""
        since = self._failing_since
        return None if since is None else time.monotonic() - since

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.debug(
                "Rolling back: %s", error
            )  # the first error is the one to report; SQLite undoes the rest itself

    def _known(self, error: sqlite3.Error | OSError) -> Exception:
        """The error explained for people, or itself when it is a bug of ours. Only the first in a row is logged."""
        if isinstance(error, _BUGS):
            return error
        text = _explain(self.path, error)
        if self._failing_since is None:
            self._failing_since, self.trouble = time.monotonic(), text
            log.error("%s", text)
        if is_damage(error) and not self._damage_reported:
            self._damage_reported, self.trouble = True, text
            try:
                self._suspicion.touch()
            except OSError as reason:
                log.debug("The suspicion could not be noted: %s", reason)
            self.on_damage(text)
        return StoreError(text)

    def _works(self) -> None:
        since, self._failing_since, self.trouble = self._failing_since, None, None
        if since is not None:
            log.info("The database can be written again after %s", duration(time.monotonic() - since))

    @property
    def _suspicion(self) -> Path:
        """A file whose presence means: check the whole database at the next start, however large it is."""
        return self.path.with_name(f"{self.path.name}.suspect")


@lru_cache
def _upsert(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    others = [column for column in columns if column not in key]
    changes = ", ".join(f"{column} = excluded.{column}" for column in others)
    # Without a change nothing is written to the disk.
    news = " OR ".join(f"{table}.{column} IS NOT excluded.{column}" for column in others)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes} WHERE {news}"
    )


def _explain(path: Path, error: Exception, *, opening: bool = False) -> str:
    """What happened, what it means and what to do."""
    if is_damage(error):
        return (
            f"{path} is damaged ({error}). Start the bot again: it keeps this file under another name and begins a "
            f"new one with everything that can still be read. Check the disk."
        )
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest its special case
    share = network_disk(path.absolute())
    meaning = _SHARE if share and code in _OF_SHARES else _MEANINGS.get(code, _OTHER)
    happened, remedy = (part.format(path=path, error=error, share=share) for part in meaning)
    if opening:
        return f"{happened}. Nothing was changed. {remedy}, then start the bot again."
    return f"{happened}. Nothing stored is lost; new commands and alerts wait. {remedy}: the bot continues by itself."
