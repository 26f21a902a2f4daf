"""The store in one SQLite file: opened, checked, and how its errors read. The engine of a bot on one machine.

WAL mode: a kill of the process at any instant leaves the file as it was at the last commit; a durable commit also
survives a power failure. Files of other programs and of newer versions are refused and left unchanged; a damaged
file is set aside, never deleted.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from botapi.storage import StoreError
from machine.folders import network_disk
from store import salvage, schema
from store.engine import Values
from store.salvage import is_damage

log = logging.getLogger(__name__)

BUSY_PATIENCE = 2.0  # seconds to wait for another program's lock: stopping the bot must not take longer than 5 s
LOG_SIZE = 4 << 20  # bytes to which SQLite's own log is cut again after a large transaction
CHECKED_AT_ONCE = 32 << 20  # bytes: checking a larger file page by page would delay the start

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


def _text(stored: bytes) -> str:
    # A damaged page can hold anything: then its row cannot be read, and the others can.
    return stored.decode(errors="replace")


class File:
    """The file at `path`, whose folder exists; an engine (engine.py)."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    reads_beside = False
    differs = "IS NOT"  # IS DISTINCT FROM came with SQLite 3.39
    execute: Callable[..., sqlite3.Cursor]
    post: Callable[..., sqlite3.Cursor]

    def __init__(self, path: Path, *, migrations: Sequence[schema.Migration] = schema.MIGRATIONS) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self.taken_over = 0
        self._migrations = migrations

    def connect(self) -> None:
        """Open or create the file; a damaged one is set aside, and what can be read of it taken over."""
        try:
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._begin_anew(error)
            self._suspicion.unlink(missing_ok=True)
        except (OSError, sqlite3.Error) as error:
            words = _explain(self.path, error, opening=True)
            raise StoreError(f"The database could not be opened. {words}") from None

    def _begin_anew(self, error: sqlite3.Error) -> None:
        self.set_aside = salvage.set_aside(self.path)
        self._open()
        version = schema.FIRST_VERSION + len(self._migrations)
        self.taken_over = salvage.take_over(self.set_aside, self.connection, version=version)
        log.warning(
            "The database was damaged (%s). It is kept as %s; rows saved from it: %d",
            error,
            self.set_aside,
            self.taken_over,
        )

    def _open(self) -> None:
        known = self.path.exists() and self.path.stat().st_size > 0
        db = sqlite3.connect(self.path, timeout=BUSY_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            db.text_factory = _text
            schema.refuse_others(db, self.path, newest=schema.FIRST_VERSION + len(self._migrations))
            suspicious = self._suspicion.exists()
            if known and (suspicious or self.path.stat().st_size < CHECKED_AT_ONCE):
                found = salvage.flaw(db, deep=suspicious)
                if found != "ok":
                    raise sqlite3.DatabaseError(f"malformed: {found}")
            if not known:  # there is nothing to go back to: three waits for the disk less
                db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA journal_size_limit = {LOG_SIZE}")
            schema.upgrade(db, self.path, self._migrations)
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # SQLite makes its files beside it
            self._identity = salvage.identity(self.path)
        except BaseException:  # whatever it was, the file is not kept open
            db.close()
            raise
        self.connection, self.execute, self.post, self._durable = db, db.execute, db.execute, False

    def read(self, sql: str, values: Values = (), /) -> None:
        """A file is asked in turn."""

    def insert(self, sql: str, values: Values) -> int:
        return self.execute(sql, values).lastrowid or 0

    def begin(self, *, durable: bool) -> None:
        if durable is not self._durable:
            self.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.execute("COMMIT")

    def undo_inside(self) -> None:
        self.execute("ROLLBACK TO inside")
        self.execute("RELEASE inside")

    def changes(self) -> int:
        return self.connection.total_changes

    def in_transaction(self) -> bool:
        """False also when SQLite has undone everything by itself, on a full disk."""
        return self.connection.in_transaction

    def roll_back(self) -> None:
        try:
            if self.connection.in_transaction:
                self.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.debug("Rolling back: %s", error)  # SQLite undoes it itself; the first error is the one to report

    def suspect(self) -> None:
        """The next start checks the whole file, however large it is."""
        try:
            self._suspicion.touch()
        except OSError as reason:
            log.debug("The suspicion could not be noted: %s", reason)

    def save_if_deleted(self, report: Callable[[str], None]) -> str | None:
        """If someone deleted or replaced the file, write everything into a new one; what happened, for people."""
        found = salvage.identity(self.path)
        if all(found.get(suffix) == seen for suffix, seen in self._identity.items()):
            return None
        replaced = salvage.rescue(self.connection, self.path, self._identity)
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:  # the new file is complete: a new start can use it
            report(text := _explain(self.path, error, opening=True))
            raise StoreError(text) from error
        kept = f" The file that took its place is kept as {replaced.name}." if replaced else ""
        return (
            f"The bot's database {self.path} was {'replaced' if replaced else 'deleted'} while the bot was running. "
            f"Everything was saved into a new file: nothing is lost.{kept} Stop the bot before you touch its files."
        )

    def explain(self, error: Exception) -> str | None:
        return None if isinstance(error, _BUGS) else _explain(self.path, error)

    def is_damage(self, error: Exception) -> bool:
        """Is the file itself not what it should be?"""
        return is_damage(error)

    def close(self) -> None:
        self.connection.close()

    @property
    def _suspicion(self) -> Path:
        """A file whose presence means: check the whole database at the next start, however large it is."""
        return self.path.with_name(f"{self.path.name}.suspect")


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
