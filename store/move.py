"""All that is stored, from the file to a server or back: in one transaction, and compared; the source stays as it is.

The caller holds the bot's lock, so that nobody writes meanwhile on this computer.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from botapi.storage import StoreError
from store import backup, leader, salvage, schema
from store.engine import Engine, StoreAway, StoreRefuses
from store.postgres import AGAIN, THEN, UNCHANGED, Server
from store.sqlite import File

AT_ONCE = 1000  # rows in one statement: SQLite takes 32,766 values
_BUG = "This is a mistake in the bot, please report it"
_OLDER = "was written by an older version of the bot. Start this one once, and move then."
UNFINISHED = "move-store: unfinished"  # a fact of a target whose move did not come to its end
_KINDS: dict[str, type] = {"INTEGER": int, "REAL": float, "TEXT": str}

Row = tuple[Any, ...]
Ask = Callable[..., Any]  # execute(sql, values) of an engine, or of SQLite's own connection
Progress = Callable[[int], None]  # called with the number of rows copied so far


@dataclass(frozen=True)
class Table:
    """kinds: of its columns. key: by which its rows are sorted. numbered: the database numbers its rows; counted: and
    gives no number twice."""

    name: str
    columns: tuple[str, ...]
    kinds: tuple[type, ...]
    key: tuple[str, ...]
    numbered: bool
    counted: bool


@dataclass(eq=False)
class Sum:
    """The rows of a table on one side: how many, and what tells them from any others."""

    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, row: Row) -> None:
        self.rows += 1
        self.digest.update(f"{row!r}\n".encode())

    def same(self, other: Sum) -> bool:
        return (self.rows, self.digest.digest()) == (other.rows, other.digest.digest())


@cache
def tables() -> tuple[Table, ...]:
    """All tables, as the newest version makes them."""
    with closing(sqlite3.connect(":memory:")) as db:
        schema.bring_up_to_date(db, 0, schema.MIGRATIONS)
        found = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'")
        return tuple(_described(db, name, sql) for name, sql in sorted(found))


def _described(db: sqlite3.Connection, name: str, sql: str) -> Table:
    columns = db.execute(f"PRAGMA table_info({name})").fetchall()
    key = tuple(column[1] for column in sorted(columns, key=lambda column: column[5]) if column[5])
    names, kinds = tuple(column[1] for column in columns), tuple(_KINDS[column[2]] for column in columns)
    return Table(name, names, kinds, key, numbered=key == ("id",), counted="AUTOINCREMENT" in sql)


def to_server(file: Path, server: Server, *, bot_id: int, progress: Progress) -> int:
    """Copy the file's rows to the server's database. Returns how many. Raises StoreError: then nothing was changed.

    Until `finish` is called a new move to that database begins anew.
    """
    with closing(_read_only(file)) as db, _explained(file, server, url="the URL"):
        server.connect()
        _alone(server, bot_id)
        server.begin(durable=True)
        try:
            _make_empty(server)
            last_ids = dict(db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
            rows = _copy(db.execute, server, last_ids=last_ids, progress=progress)
            server.execute("INSERT INTO facts (name, value) VALUES (?, '')", (UNFINISHED,))
            server.commit()
        except BaseException:  # whatever it was, all of it or nothing
            server.roll_back()
            raise
        return rows


def finish(server: Server) -> None:
    """The setting is written: from now on the server has the bot's data. Raises StoreError."""
    with _explained(Path(), server):
        server.execute("DELETE FROM facts WHERE name = ?", (UNFINISHED,))
        for table in tables():  # the server's planner knows of rows only later by itself
            server.execute(f"ANALYZE {table.name}")


def to_file(server: Server, file: Path, *, bot_id: int, progress: Progress) -> tuple[int, Path | None]:
    """Copy the rows of the server's database into a new file, and put that in the place of `file`.

    Returns how many, and the name under which the old file is kept. Raises StoreError, OSError: then nothing was
    changed.
    """
    new = file.with_name(f"{file.name}.moving")
    for suffix in ("", "-wal", "-shm"):
        new.with_name(f"{new.name}{suffix}").unlink(missing_ok=True)
    with _explained(file, server):
        server.open_session()
        version = server.refuse_others()
        if not version:
            raise StoreError(f"The database {server.name} on {server.server} is empty, so there is nothing to move.")
        if version < schema.NEWEST:
            raise StoreError(f"The database {server.name} on {server.server} {_OLDER}")
        _alone(server, bot_id)
        target = File(new)
        target.connect()
        try:
            server.begin(durable=False)
            server.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            target.begin(durable=True)
            rows = _copy(server.execute, target, last_ids=_last_ids(server), progress=progress)
            target.execute("DELETE FROM facts WHERE name = ?", (UNFINISHED,))
            target.commit()
        finally:
            server.roll_back()
            target.close()
    kept = backup.bring_back(new, file)
    new.unlink()
    return rows, kept


@contextmanager
def _explained(file: Path, server: Server, *, url: str = "DATABASE_URL") -> Iterator[None]:
    """What goes wrong with either side, in words. url: what the server's is called. Raises StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(File(file).explain(error) or f"{_BUG}: {error}") from error
    except psycopg.Error as error:
        raise StoreError(
            ". ".join(server.words(error)).replace("DATABASE_URL", url) + ", then move again."
        ) from error
    except (StoreAway, StoreRefuses) as error:
        words = str(error).replace(UNCHANGED, "").removesuffix(AGAIN).removesuffix(THEN)
        raise StoreError(f"{words.replace('DATABASE_URL', url)}, then move again.") from None


def _read_only(file: Path) -> sqlite3.Connection:
    """Raises StoreError unless this is a sound database of this version."""
    if not file.exists():
        raise StoreError(f"There is no database at {file} yet, so there is nothing to move. Start the bot once.")
    found = salvage.inspect(file, seconds=60.0)
    if found.verdict not in ("sound", "not all checked"):
        why = f"{found.verdict} {found.detail}".strip()
        raise StoreError(f"The database {file} is {why}, so nothing was moved. See: bot.py doctor")
    db = salvage.read_only(file)
    if schema.read_version(db)[1] != schema.NEWEST:
        db.close()
        raise StoreError(f"{file} {_OLDER}")
    db.execute("BEGIN")
    return db


def _alone(server: Server, bot_id: int) -> None:
    """Raises StoreError where a copy of the bot uses the database, on whichever computer."""
    if not _one(server, f"SELECT pg_try_advisory_lock({leader.lock_key(bot_id)})")[0]:
        raise StoreError(
            f"The bot runs with the database {server.name} on {server.server}, on this or another computer. Stop "
            f"every copy of it first."
        )


def _make_empty(server: Server) -> None:
    """Take away what a move left that did not come to its end. Raises StoreError where there is anything else."""
    begun = server.execute("SELECT 1 FROM facts WHERE name = ?", (UNFINISHED,)).fetchone() is not None
    for table in tables():
        if begun:
            server.execute(f"DELETE FROM {table.name}")
        elif server.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchone() is not None:
            raise StoreError(
                f"The database {server.name} on {server.server} holds data of this bot already, so nothing was "
                f"moved. To use that, put its URL into DATABASE_URL. To replace it, name an empty database."
            )


def _one(server: Server, sql: str) -> Row:
    """The row of a query that always gives one."""
    return tuple(server.execute(sql).fetchall()[0])


def _last_ids(server: Server) -> dict[str, int]:
    found = {}
    for table in tables():
        if table.counted:
            (sequence,) = _one(server, f"SELECT pg_get_serial_sequence('{table.name}', 'id')")
            last, called = _one(server, f"SELECT last_value, is_called FROM {sequence}")
            found[table.name] = last if called else 0
    return found


def _copy(source: Ask, target: Engine, *, last_ids: dict[str, int], progress: Progress) -> int:
    """Fill the target, whose tables are empty, inside its transaction, and compare. Returns how many rows there are.

    last_ids: of each table whose ids are never given twice.
    """
    done = 0
    for table in tables():
        here, there = Sum(), Sum()
        for found in _pages(source, table):
            rows = [_fitting(table, row) for row in found]
            _insert(target, table, rows)
            for row in rows:
                here.add(row)
            progress(done := done + len(rows))
        for rows in _pages(target.execute, table):
            for row in rows:
                there.add(_fitting(table, row))
        if not here.same(there):
            raise StoreError(
                f"What arrived is not what was sent: table {table.name} has {there.rows} rows, of {here.rows}. "
                f"Try again; if it comes again, report it."
            )
        if table.numbered:
            _number(target, table, last_ids.get(table.name, 0))
    return done


def _pages(ask: Ask, table: Table) -> Iterator[list[Row]]:
    """The rows in the order of their key, some at a time."""
    columns, key = ", ".join(table.columns), ", ".join(table.key)
    places = [table.columns.index(column) for column in table.key]
    after, values = "", ()
    while rows := ask(
        f"SELECT {columns} FROM {table.name} {after} ORDER BY {key} LIMIT {AT_ONCE}", values
    ).fetchall():
        yield [tuple(row) for row in rows]
        after, values = (
            f"WHERE ({key}) > ({', '.join('?' * len(places))})",
            tuple(rows[-1][place] for place in places),
        )


def _fitting(table: Table, row: Row) -> Row:
    """The row as both engines keep it. SQLite keeps anything in any column, and PostgreSQL no text with U+0000."""
    return tuple(_fit(table, *one) for one in zip(table.columns, table.kinds, row, strict=True))


def _fit(table: Table, column: str, kind: type, value: Any) -> Any:
    if value is None:
        return None
    if kind is str and isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if kind is not str and isinstance(value, int | float) and kind(value) == value:
        return kind(value) + 0  # no minus before a zero
    raise StoreError(
        f"The database holds a value that cannot be moved: {column} in table {table.name} is no "
        f"{'text' if kind is str else 'number'} there. See: bot.py doctor"
    )


def _insert(target: Engine, table: Table, rows: list[Row]) -> None:
    one = f"({', '.join('?' * len(table.columns))})"
    sql = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES {', '.join([one] * len(rows))}"
    target.execute(sql, tuple(value for row in rows for value in row))


def _number(target: Engine, table: Table, last: int) -> None:
    """The next row gets a number that none had."""
    if not isinstance(target, File):
        used = max(last, target.execute(f"SELECT max(id) FROM {table.name}").fetchone()[0] or 0)
        value = f"{used}, true" if used else "1, false"
        target.execute(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {value})")
    elif table.counted:
        target.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
        target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, last))
