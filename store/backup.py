"""A copy of the database that is complete also while the bot runs, and the way back."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from botapi.storage import StoreError
from store import salvage, schema


def save(database: Path, target: Path) -> int:
    """Copy the database to `target`, which does not exist. Returns the number of chats in it. Raises StoreError.

    Two at once are in each other's way only at the end: one of them has the name first.
    """
    unfinished = None
    try:
        _refuse_taken(target)
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10.0)) as db:
            schema.refuse_others(db, database, newest=schema.NEWEST)
            # For this account only, from its first byte on: chats and people are named in it.
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.unfinished-")
            os.close(descriptor)
            unfinished = Path(name)
            db.execute("VACUUM INTO ?", (name,))
            chats = int(db.execute("SELECT count(*) FROM chats").fetchone()[0])
        _refuse_taken(target)
        unfinished.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"No copy was made ({error}). Check the free space and the rights of {target.parent}."
        ) from None
    finally:
        if unfinished is not None:
            schema.discard(unfinished)
    return chats


def _refuse_taken(target: Path) -> None:
    if target.exists():
        raise StoreError(f"{target} exists already, so nothing was written. Give another name.")


def check(backup: Path) -> None:
    """Raises StoreError unless this is a sound database of this bot, which this version can read."""
    if not backup.is_file():
        raise StoreError(f"There is no file {backup}.")
    try:
        with closing(_opened(backup)) as db:
            if schema.read_version(db)[0] != schema.APPLICATION_ID:
                raise StoreError(f"{backup} is not a backup of this bot.")
            schema.refuse_others(db, backup, newest=schema.NEWEST)
            if salvage.flaw(db, deep=True) != "ok":
                raise StoreError(f"{backup} is damaged. Take another backup.")
    except sqlite3.Error as error:
        raise StoreError(f"{backup} is not a backup of this bot ({error}).") from None


def _opened(backup: Path) -> sqlite3.Connection:
    """To read it, with what is in SQLite's log beside it; where there is none, none is made."""
    log = backup.with_name(f"{backup.name}-wal").exists()
    return sqlite3.connect(f"{backup.as_uri()}?mode=ro{'' if log else '&immutable=1'}", uri=True)


def bring_back(backup: Path, database: Path) -> Path | None:
    """Put a checked backup in the database's place while nobody uses it.

    Returns the name under which the old one is kept, None if there was none. A kill at any instant leaves one of the
    two in place. Raises OSError and StoreError.
    """
    new, kept = database.with_name(f"{database.name}.restored"), None
    if new.exists() and backup.samefile(new):
        raise StoreError(
            f"{backup} may be part of a backup only: a restore was killed while it wrote it. Name another."
        )
    try:
        for pattern in (f"{new.name}*", f"{database.name}.before-*.unfinished*"):
            for part in database.parent.glob(pattern):
                part.unlink()  # of a restore that was killed
        new.touch(0o600)
        with closing(_opened(backup)) as db:
            db.execute("VACUUM INTO ?", (str(new),))  # with what is still in SQLite's log beside it
        if database.exists():
            kept = _kept(database)
        for suffix in ("-wal", "-shm"):
            database.with_name(f"{database.name}{suffix}").unlink(missing_ok=True)
        new.replace(database)
    except sqlite3.Error as error:
        raise StoreError(f"{backup} could not be copied to {database} ({error}). Is the disk full?") from None
    finally:
        schema.discard(new)
    return kept


def _kept(database: Path) -> Path:
    """Keep the old database beside the new one. Returns its name."""
    kept = database.with_name(f"{database.name}.before-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    while kept.exists():  # of another restore in this second
        kept = kept.with_name(f"{kept.name}x")
    try:
        with closing(sqlite3.connect(database)) as db:  # closing it also empties SQLite's log beside it
            schema.copy(db, kept)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise
        return salvage.set_aside(database)  # damaged: perhaps the reason to be here
    return kept
