"""A damaged database: how it is found out, moved aside (never deleted), and what can still be read taken over."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Literal, NamedTuple

from botapi.storage import StoreError
from store import schema

log = logging.getLogger(__name__)

MANY = 1_000_000  # findings of a check: the first true one ends it
_JSON = ("settings", "payload", "body", "positions")  # columns that must hold JSON


def is_damage(error: Exception) -> bool:
    """Does SQLite say that the file itself is not what it should be?"""
    words = str(error)
    return isinstance(error, sqlite3.DatabaseError) and ("malformed" in words or "not a database" in words)


def flaw(db: sqlite3.Connection, *, deep: bool = False) -> str:
    """What is wrong with the file, in SQLite's words; "ok" when nothing is.

    SQLite 3.40 finds NULLs that are not there in a table WITHOUT ROWID whose key is not its first columns.
    """
    false = {"ok"}
    for (words,) in db.execute(f"PRAGMA {'integrity' if deep else 'quick'}_check({MANY})"):
        found = re.fullmatch(r"NULL value in (\w+)\.(\w+)", words)
        if found and words not in false:
            # By its type: SQLite does not look for a NULL where there may be none.
            sql = f"SELECT 1 FROM {found[1]} WHERE typeof({found[2]}) = 'null' LIMIT 1"
            if db.execute(sql).fetchone() is None:
                false.add(words)
        if words not in false:
            return str(words)
    return "ok"


def set_aside(path: Path, *, why: str = "corrupt") -> Path:
    """Rename the file, with the log that SQLite keeps beside it. Returns its new name. Raises OSError."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.{why}-{stamp}")
    while aside.exists():  # rename() would overwrite it
        aside = aside.with_name(f"{aside.name}x")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside


Identity = dict[str, tuple[int, int]]  # by suffix: device and inode of the database and SQLite's files beside it


def identity(path: Path) -> Identity:
    """What identifies these files, without those that are not there. Raises OSError."""
    found = {}
    for suffix in ("", "-wal", "-shm"):
        try:
            seen = path.with_name(path.name + suffix).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        found[suffix] = (seen.st_dev, seen.st_ino)
    return found


def rescue(db: sqlite3.Connection, path: Path, known: Identity) -> Path | None:
    """Write all that the open `db` holds into a new file at `path`, whose files are not the `known` ones any more.

    Another database that is there now is set aside: returns its new name. Raises OSError, sqlite3.Error.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.unfinished")
    new.unlink(missing_ok=True)
    db.execute("VACUUM INTO ?", (str(new),))
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    there = identity(path)
    for suffix in ("-wal", "-shm"):  # ours belong to no other database
        if suffix in there and there[suffix] == known.get(suffix):
            path.with_name(path.name + suffix).unlink()
    aside = set_aside(path, why="replaced") if "" in there and there[""] != known[""] else None
    new.replace(path)
    db.close()  # before the new file is opened: SQLite now deletes the files beside `path`, whoever made them
    return aside


def take_over(damaged: Path, db: sqlite3.Connection, *, version: int) -> int:
    """Copy every row that can be read from a damaged file of schema `version` into `db`, all or nothing.

    Returns their number, 0 when the file's head or its schema cannot be read. Never raises for what is in the file.
    """
    rows = 0
    old = read_only(damaged)
    try:
        if schema.read_version(old)[1] != version:
            return 0
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        db.execute("BEGIN IMMEDIATE")
        for name in names:
            if not name.startswith("sqlite_"):
                rows += _take_table(old, db, name)
        db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        log.info("Nothing could be taken over from the damaged database: %s", error)
        rows = 0
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
        old.close()
    return rows


def _take_table(old: sqlite3.Connection, db: sqlite3.Connection, name: str) -> int:
    """From both ends: a damaged page stops a reader, and there may be much behind it."""
    described = db.execute(f"PRAGMA table_info({name})").fetchall()
    columns = [row[1] for row in described]
    key = [row[1] for row in described if row[5]]
    checked = [number for number, column in enumerate(columns) if column in _JSON]
    insert = f"INSERT OR IGNORE INTO {name} VALUES ({', '.join('?' * len(columns))})"
    taken = 0
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{column} {direction}" for column in key)
        try:
            for row in old.execute(f"SELECT {', '.join(columns)} FROM {name} ORDER BY {order}"):
                if all(_is_json(row[number]) for number in checked):
                    taken += db.execute(insert, tuple(row)).rowcount
            return taken  # all of it could be read
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if db.in_transaction:
                continue
            raise sqlite3.DatabaseError(str(error)) from error  # the new file is the one that cannot be written
    return taken


def _is_json(value: object) -> bool:
    try:
        json.loads(str(value))
    except ValueError:
        return False
    return True


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def read_only(path: Path, *, in_use: bool = False) -> sqlite3.Connection:
    """Open a database and leave it and what is beside it unchanged. in_use: it may be written meanwhile.

    Without its log the file is complete, and `immutable` makes SQLite create and change no file beside it.
    """
    immutable = "" if in_use or _log(path).exists() else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{immutable}", uri=True, timeout=1.0)


class Inspection(NamedTuple):
    """What a check of a database file found. size: bytes, with the log beside it. detail: in SQLite's words."""

    verdict: Literal["sound", "damaged", "foreign", "newer", "older", "not all checked"]
    size: int
    detail: str = ""


def inspect(path: Path, *, seconds: float = 3.0) -> Inspection:
    """Check a database that may be in use just now, for at most `seconds`. Never writes, never blocks a writer.

    Raises FileNotFoundError when there is none, StoreError when it cannot be read.
    """
    size = path.stat().st_size + (_log(path).stat().st_size if _log(path).exists() else 0)
    try:
        found = _inspect(path, size, seconds)
        if found.verdict == "damaged" and _log(path).exists():
            # Opened as a file that nobody writes, while the bot was just starting: check again as one in use.
            found = _inspect(path, size, seconds, in_use=True)
    except sqlite3.Error as error:
        raise StoreError(
            f"The database {path} could not be checked: {error}. That does not mean it is damaged. "
            f"Run this as the user that runs the bot."
        ) from None
    return found


def _inspect(path: Path, size: int, seconds: float, *, in_use: bool = False) -> Inspection:
    newest = schema.NEWEST
    ends_at = time.monotonic() + seconds
    db = read_only(path, in_use=in_use)
    try:
        db.set_progress_handler(lambda: time.monotonic() > ends_at, 1000)
        application, version = schema.read_version(db)
        if application not in (schema.APPLICATION_ID, 0):
            return Inspection("foreign", size)
        if version > newest or 0 < version < schema.FIRST_VERSION:
            verdict: Literal["newer", "older"] = "newer" if version > newest else "older"
            return Inspection(verdict, size, f"schema {version}, this version knows {newest}")
        result = flaw(db)
        return Inspection("sound", size) if result == "ok" else Inspection("damaged", size, result)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return Inspection("not all checked", size)
        raise
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return Inspection("damaged", size, str(error))
        raise
    finally:
        db.close()
