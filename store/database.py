"""The bot's one database: written in transactions, from any thread. The rest of the store speaks SQL to this.

One connection and one lock, whatever the engine (engine.py): transactions follow one another, so that what is read,
decided and written in one is not changed in between. What differs is in sqlite.py (a file, the default) and
postgres.py (a server that several machines share).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

from base.text import duration
from botapi.storage import StoreError
from store.engine import Engine, Posted, Row, Values
from store.fifo_lock import FifoLock

log = logging.getLogger(__name__)

T = TypeVar("T")
PRUNED_AT_ONCE = 500  # rows in one transaction


class Database:
    """What `engine` opens. Raises StoreError when it cannot be used.

    on_damage: called once, with a text for people, when what is stored turns out to be damaged while it is used. That
    the database stops working, and that it works again, is logged here and nowhere else.
    """

    steady = 10.0  # seconds without a failure, which end a trouble: some of what is written finds room on a full disk

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.on_damage: Callable[[str], None] = lambda text: None
        self._trouble: str | None = None
        self._failing_since: float | None = None
        self._failed_at, self._wrote_since = 0.0, False
        self._damage_reported = False
        self._unreadable: set[str] = set()
        self._lock = FifoLock()
        self._depth = 0
        self._changes = 0  # of the engine in all, when the transaction began
        self._answers: dict[tuple[str, tuple[Any, ...]], list[Row]] = {}  # since the transaction wrote something
        self._errors: tuple[type[Exception], ...] = (OSError, *engine.errors)  # outside of transactions
        engine.connect()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """Commit everything inside together, or nothing when an exception leaves it. Nested ones join the outer.

        durable: wait until the disk has it (this also covers every earlier commit). Raises StoreError.
        """
        engine = self.engine
        with self._lock:
            try:
                if self._depth == 0:
                    engine.begin(durable=durable)
                    self._changes = engine.changes()
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                    if self._depth == 0:
                        self._answers.clear()
                if self._depth == 0:
                    engine.commit()
                    if engine.changes() > self._changes:  # else nothing had to be written
                        self._wrote_since = True
            except BaseException as error:  # whatever it was, all of it or nothing
                if self._depth == 0:
                    engine.roll_back()
                if isinstance(error, engine.errors):
                    raise self._known(error) from error
                raise

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undo what is inside when an exception leaves it, and nothing else."""
        with self._lock:
            self.engine.post("SAVEPOINT inside")
            try:
                yield
                self.engine.execute("RELEASE inside")  # what was written inside may fail now
            except BaseException as error:  # as above
                self._answers.clear()
                if self.engine.in_transaction():  # SQLite gives it up by itself on a full disk
                    # An earlier statement may be what failed: then there is no savepoint, and the whole is undone.
                    with suppress(*self.engine.errors):
                        self.engine.undo_inside()
                if isinstance(error, self.engine.errors):
                    raise self._known(error) from error
                raise

    def write(self, sql: str, values: tuple[Any, ...] = ()) -> Posted:
        """One statement, as a transaction of its own or as a part of the one around it; its end may raise for it.

        What it returns is known after that end.
        """
        return self._run(self.engine.post, sql, values)

    def change(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """As `write`, at once. Returns the rows changed."""
        return self.changed(self.write(sql, values))

    def changed(self, written: Posted) -> int:
        """How many rows a statement of `write` changed; asks where it still waits."""
        if written.rowcount < 0:
            self._run(self.engine.execute, "SELECT 1", ())
        return written.rowcount

    def insert(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """An INSERT of one row into a table with the column `id`, at once. Returns the id that it was given."""
        return self._run(self.engine.insert, sql, values)

    def add(self, table: str, row: Any) -> int:
        """Insert a dataclass whose fields are the table's columns; it gets a new `id`, which is returned."""
        columns = {name: value for name, value in vars(row).items() if name != "id"}
        marks = ", ".join("?" * len(columns))
        return self.insert(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))

    def _run(self, statement: Callable[[str, tuple[Any, ...]], T], sql: str, values: tuple[Any, ...]) -> T:
        with self._lock:
            if self._depth == 0:
                with self.transaction():
                    return statement(sql, values)
            self._answers.clear()
            try:
                return statement(sql, values)
            except self.engine.errors as error:
                raise self._known(error) from error

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows of a query. One that also writes (RETURNING) is to be called inside a transaction.

        What a transaction has asked, and has written nothing since, is not asked again: each question may take a way
        to a server and back.
        """
        try:
            if self.engine.reads_beside and not self._lock.is_mine():
                found = self.engine.read(sql, values)
                if found is not None:
                    return found
            with self._lock:
                if not sql.startswith("SELECT"):
                    self._answers.clear()
                elif self._depth and isinstance(values, tuple):
                    found = self._answers.get((sql, values))
                    if found is None:
                        found = self._answers[sql, values] = self.engine.execute(sql, values).fetchall()
                    return found
                return self.engine.execute(sql, values).fetchall()
        except self.engine.errors as error:
            raise self._known(error) from error

    def row(self, sql: str, values: tuple[Any, ...] = ()) -> Row | None:
        found = self.rows(sql, values)
        return found[0] if found else None

    def number(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        """The one number that a `SELECT count(*)` gives."""
        return int(self.rows(sql, values)[0][0])

    def put(self, table: str, key: tuple[str, ...], values: Mapping[str, Any]) -> None:
        """Write one row, in place of the one with the same values in the `key` columns."""
        self.write(_upsert(table, key, tuple(values), self.engine.differs), tuple(values.values()))

    def prune(self, table: str, key: str, where: str, values: tuple[Any, ...]) -> None:
        """Delete the rows of a table in small transactions, so that commands get their turn between them."""
        some = f"SELECT {key} FROM {table} WHERE {where} LIMIT {PRUNED_AT_ONCE}"
        while self.change(f"DELETE FROM {table} WHERE ({key}) IN ({some})", values) == PRUNED_AT_ONCE:
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
                return self.engine.save_if_deleted(self.on_damage)
            except self._errors as error:
                raise self._known(error) from error

    def trouble(self) -> str | None:
        """Why it cannot be used now, for people; None while it works. Never waits."""
        since = self._failing_since
        if since is not None and self._wrote_since and time.monotonic() - self._failed_at >= self.steady:
            self._failing_since = self._trouble = None
            log.info("The database can be written again after %s", duration(time.monotonic() - since))
        return self._trouble

    def failing_for(self) -> float | None:
        """Seconds since when the database cannot be used, None while it can. Never waits."""
        since = self._failing_since
        return None if since is None else time.monotonic() - since

    def lost(self, why: str) -> None:
        """The connection is lost, as someone else has logged. Never waits."""
        if self._failing_since is None:
            self._failing_since = self._failed_at = time.monotonic()
            self._trouble = why

    def close(self) -> None:
        with self._lock:
            self.engine.close()

    def _known(self, error: Exception) -> Exception:
        """The error explained for people, or itself when it is a bug of ours. Only the first in a row is logged."""
        text = self.engine.explain(error)
        if text is None:
            return error
        self._failed_at, self._wrote_since = time.monotonic(), False
        if self._failing_since is None:
            self._failing_since, self._trouble = self._failed_at, text
            log.error("%s", text)
        if self.engine.is_damage(error) and not self._damage_reported:
            self._damage_reported, self._trouble = True, text
            self.engine.suspect()
            self.on_damage(text)
        return StoreError(text)


@lru_cache
def _upsert(table: str, key: tuple[str, ...], columns: tuple[str, ...], differs: str) -> str:
    others = [column for column in columns if column not in key]
    changes = ", ".join(f"{column} = excluded.{column}" for column in others)
    # Without a change nothing is written to the disk.
    news = " OR ".join(f"{table}.{column} {differs} excluded.{column}" for column in others)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes} WHERE {news}"
    )


class Part:
    """A part of `Store`, which says what its units, threads and errors are."""

    def __init__(self, db: Database) -> None:
        self._db = db
