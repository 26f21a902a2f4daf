"""A damaged database: moved aside, never deleted, and what can still be read in it taken over into a new one."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from pathlib import Path

log = logging.getLogger(__name__)

_JSON = ("settings", "payload", "body")  # columns that must hold JSON


def set_aside(path: Path) -> Path:
    """Rename the file, with the log that SQLite keeps beside it. Returns its new name. Raises OSError."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    while aside.exists():  # rename() would overwrite it
        aside = aside.with_name(f"{aside.name}x")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside


def take_over(damaged: Path, db: sqlite3.Connection, *, version: int) -> int:
    """Copy every row that can be read from a damaged file of schema `version` into `db`, all or nothing.

    Returns their number, 0 when the file's head or its schema cannot be read. Never raises for what is in the file.
    """
    rows = 0
    # Without `immutable` SQLite would write to the log beside it; the file is evidence and stays as it is.
    old = sqlite3.connect(
        f"{damaged.absolute().as_uri()}?mode=ro&immutable={int(not _log(damaged).exists())}", uri=True
    )
    try:
        if old.execute("PRAGMA user_version").fetchone()[0] != version:
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
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
    key = [row[1] for row in db.execute(f"PRAGMA table_info({name})") if row[5]] or ["rowid"]
    checked = [number for number, column in enumerate(columns) if column in _JSON]
    marks = ", ".join("?" * len(columns))
    taken = 0
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{column} {direction}" for column in key)
        try:
            for row in old.execute(f"SELECT {', '.join(columns)} FROM {name} ORDER BY {order}"):
                if all(_is_json(row[number]) for number in checked):
                    taken += db.execute(f"INSERT OR IGNORE INTO {name} VALUES ({marks})", tuple(row)).rowcount
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
