"""A copy of the database that is complete also while the bot runs, and the way back."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from botapi.storage import StoreError
from store import salvage, schema


def save(database: Path, target: Path) -> int:
    """Copy the database to `target`, which does not exist. Returns the number of chats in it. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10.0)) as db:
            schema.refuse_others(db, database, newest=schema.NEWEST)
            schema.copy(db, target)
            target.chmod(0o600)  # chats and people are named in it
            return int(db.execute("SELECT count(*) FROM chats").fetchone()[0])
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"No copy was made ({error}). Check the free space and the rights of {target.parent}."
        ) from None


def check(backup: Path) -> None:
    """Raises StoreError unless this is a sound database of this bot, which this version can read."""
    if not backup.is_file():
        raise StoreError(f"There is no file {backup}.")
    try:
        with closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro", uri=True)) as db:
            if schema.read_version(db)[0] != schema.APPLICATION_ID:
                raise StoreError(f"{backup} is not a backup of this bot.")
            schema.refuse_others(db, backup, newest=schema.NEWEST)
            if salvage.flaw(db, deep=True) != "ok":
                raise StoreError(f"{backup} is damaged. Take another backup.")
    except sqlite3.Error as error:
        raise StoreError(f"{backup} is not a backup of this bot ({error}).") from None


def bring_back(backup: Path, database: Path) -> Path | None:
    """Put a checked backup in the database's place while nobody uses it.

    Returns the name under which the old one is kept, None if there was none. A kill at any instant leaves one of the
    two in place. Raises OSError.
    """
    new, kept = database.with_name(f"{database.name}.restored"), None
    shutil.copyfile(backup, new)
    new.chmod(0o600)
    if database.exists():
        kept = database.with_name(f"{database.name}.before-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
        try:
            with closing(sqlite3.connect(database)) as db:  # closing it also empties SQLite's log beside it
                schema.copy(db, kept)
        except sqlite3.DatabaseError:  # damaged: perhaps the reason to be here
            kept = salvage.set_aside(database)
    for suffix in ("-wal", "-shm"):
        database.with_name(f"{database.name}{suffix}").unlink(missing_ok=True)
    new.replace(database)
    return kept
