"""The tables of the database, its version, and how a file of an older version is upgraded.

All of it is in SQLite's words, which dialect.py puts into PostgreSQL's. SQLite keeps two numbers for us in a file's
head: `application_id` marks our file among all databases, `user_version` is the version of the schema
(sqlite.org/pragma.html).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from botapi.storage import StoreError
from store.engine import Connection

log = logging.getLogger(__name__)

APPLICATION_ID = 0x43534154  # "CSAT"
FIRST_VERSION = 17  # no earlier one was released

Migration = Callable[[Connection], None]


# The first of them turns FIRST_VERSION into the next version, and so on. Once released, a migration is never changed,
# and it never calls code of ours that may change: what it writes stays what it was.
MIGRATIONS: tuple[Migration, ...] = ()
NEWEST = FIRST_VERSION + len(MIGRATIONS)

# What changes together is in one page of the disk: bars are in the order of time, open interest is a row a venue.
_TABLES = """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE inbox (update_id INTEGER PRIMARY KEY, handled_at REAL NOT NULL);
    CREATE TABLE stale (chat_id INTEGER PRIMARY KEY, thread_id INTEGER, commands INTEGER NOT NULL,
                        first_at REAL NOT NULL, last_at REAL NOT NULL);
    CREATE TABLE users (user_id INTEGER PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, at REAL NOT NULL,
                        answered_at REAL NOT NULL DEFAULT 0, asked_at REAL NOT NULL DEFAULT 0);
    CREATE INDEX users_answered ON users (answered_at);
    CREATE TABLE chats (chat_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, thread_id INTEGER,
                        added_by INTEGER NOT NULL, subscribed INTEGER NOT NULL, since REAL NOT NULL,
                        note TEXT NOT NULL DEFAULT '', settings TEXT NOT NULL DEFAULT '{}');
    CREATE INDEX chats_in_turn ON chats (since, chat_id) WHERE subscribed = 1;
    CREATE TABLE schedules (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, thread_id INTEGER,
                            user_id INTEGER NOT NULL, rule TEXT NOT NULL, command TEXT NOT NULL, at REAL,
                            delivery INTEGER NOT NULL);
    CREATE INDEX schedules_at ON schedules (at) WHERE at IS NOT NULL;
    CREATE INDEX schedules_of_chat ON schedules (chat_id);
    CREATE TABLE levels (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, symbol TEXT NOT NULL,
                         price REAL NOT NULL, direction TEXT NOT NULL, state TEXT NOT NULL, repeat INTEGER NOT NULL,
                         expires REAL NOT NULL, note TEXT NOT NULL, since_ms INTEGER NOT NULL,
                         touched_ms INTEGER NOT NULL, cooldown REAL NOT NULL DEFAULT 0,
                         topic INTEGER NOT NULL DEFAULT -1, kind TEXT NOT NULL DEFAULT 'price',
                         size REAL NOT NULL DEFAULT 0, span INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX levels_of_coin ON levels (symbol, state, price);
    CREATE INDEX levels_of_chat ON levels (chat_id);
    CREATE INDEX levels_of_span ON levels (symbol, state, span, size, since_ms);

    CREATE TABLE alerts (key TEXT PRIMARY KEY, monitor TEXT NOT NULL, symbol TEXT NOT NULL, at REAL NOT NULL,
                         body TEXT NOT NULL, created_at REAL NOT NULL) WITHOUT ROWID;
    CREATE INDEX alerts_at ON alerts (at);
    CREATE INDEX alerts_symbol ON alerts (symbol, at);
    CREATE INDEX alerts_monitor ON alerts (monitor, at);
    CREATE TABLE deliveries (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, lane INTEGER NOT NULL,
                             method TEXT NOT NULL, payload TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0,
                             created_at REAL NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
                             settled_at REAL, message_id INTEGER, bundle TEXT, parent INTEGER, update_id INTEGER);
    CREATE INDEX deliveries_pending ON deliveries (id) WHERE state = 'pending';
    CREATE INDEX deliveries_alerts ON deliveries (chat_id, created_at) WHERE bundle IS NOT NULL;
    CREATE INDEX deliveries_parent ON deliveries (parent) WHERE parent IS NOT NULL;
    CREATE INDEX deliveries_settled ON deliveries (settled_at, state) WHERE settled_at IS NOT NULL;
    CREATE INDEX deliveries_plain ON deliveries (settled_at) WHERE bundle IS NULL AND settled_at IS NOT NULL;
    CREATE TABLE bundled (delivery_id INTEGER NOT NULL, alert_key TEXT NOT NULL,
                          PRIMARY KEY (delivery_id, alert_key)) WITHOUT ROWID;
    CREATE TABLE held (chat_id INTEGER NOT NULL, alert_key TEXT NOT NULL, why TEXT NOT NULL, at REAL NOT NULL,
                       PRIMARY KEY (chat_id, alert_key)) WITHOUT ROWID;
    CREATE INDEX held_waiting ON held (chat_id, at) WHERE why IN ('quiet', 'cap');
    CREATE TABLE unfinished (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, since REAL NOT NULL,
                             chat_id INTEGER NOT NULL);
    CREATE TABLE places (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, url TEXT NOT NULL,
                         secret TEXT NOT NULL, state TEXT NOT NULL, problem TEXT NOT NULL,
                         failing_since REAL NOT NULL, tries INTEGER NOT NULL, next_at REAL NOT NULL,
                         told INTEGER NOT NULL, sent INTEGER NOT NULL, sent_at REAL NOT NULL);
    CREATE TABLE outgoing (id INTEGER PRIMARY KEY AUTOINCREMENT, place_id INTEGER NOT NULL, body TEXT NOT NULL,
                           test INTEGER NOT NULL);
    CREATE INDEX outgoing_of_place ON outgoing (place_id, test, id);

    CREATE TABLE cursors (venue TEXT NOT NULL, symbol TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL,
                          PRIMARY KEY (venue, symbol)) WITHOUT ROWID;
    CREATE TABLE gaps (id INTEGER PRIMARY KEY, venue TEXT NOT NULL, symbol TEXT NOT NULL, missed INTEGER,
                       began REAL NOT NULL, ended REAL NOT NULL, noted_at REAL NOT NULL);
    CREATE UNIQUE INDEX gaps_once ON gaps (venue, symbol, began, coalesce(missed, -1));
    CREATE TABLE bars (at INTEGER NOT NULL, symbol TEXT NOT NULL, open REAL NOT NULL, high REAL NOT NULL,
                       low REAL NOT NULL, close REAL NOT NULL, buy_usd REAL NOT NULL, sell_usd REAL NOT NULL,
                       PRIMARY KEY (at, symbol)) WITHOUT ROWID;
    CREATE TABLE liquidations (venue TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, usd REAL NOT NULL,
                               price REAL NOT NULL, at_ms INTEGER NOT NULL, row TEXT NOT NULL,
                               PRIMARY KEY (venue, row)) WITHOUT ROWID;
    CREATE INDEX liquidations_at ON liquidations (at_ms);
    CREATE TABLE rates (venue TEXT NOT NULL, symbol TEXT NOT NULL, contract TEXT NOT NULL, rate REAL NOT NULL,
                        hours REAL NOT NULL, next_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
                        PRIMARY KEY (venue, contract)) WITHOUT ROWID;
    CREATE TABLE interest (venue TEXT NOT NULL, at_ms INTEGER NOT NULL, body TEXT NOT NULL,
                           PRIMARY KEY (venue, at_ms)) WITHOUT ROWID;
    CREATE TABLE watched (chat_id INTEGER NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL,
                          PRIMARY KEY (chat_id, address)) WITHOUT ROWID;
    CREATE TABLE wallets (address TEXT PRIMARY KEY, positions TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID
"""


def bring_up_to_date(db: Connection, version: int, migrations: Sequence[Migration]) -> None:
    """Make the tables, where `version` is 0, and do what has come since that version. In a transaction."""
    if version == 0:
        for statement in _TABLES.split(";"):
            db.execute(statement)
    for migrate in migrations[max(0, version - FIRST_VERSION) :]:
        migrate(db)


def read_version(db: sqlite3.Connection) -> tuple[int, int]:
    """The file's application id and schema version; (0, 0) for a new file."""
    return db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]


def refuse_others(db: sqlite3.Connection, path: Path, *, newest: int) -> None:
    """Raises StoreError for a file that this version cannot use, whose last known version is `newest`."""
    application, version = read_version(db)
    # A kill or a full disk at the very first start can leave a file that has a head and nothing in it.
    empty = application == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if empty:
        return
    if application != APPLICATION_ID:
        raise StoreError(
            f"{path} is a database of another program, so the bot leaves it alone. "
            f"Move it away, or set DATA_DIR to another folder."
        )
    if version > newest:
        raise StoreError(
            f"{path} was written by a newer version of this bot (schema {version}; this version knows up to "
            f"{newest}). It was left unchanged. Update the bot, or set DATA_DIR to another folder."
        )
    if version < FIRST_VERSION:
        raise StoreError(
            f"{path} was written by a test version of this bot from before the first release (schema {version}) and "
            f"cannot be upgraded. It was left unchanged. Move it away to start with a new database, or set DATA_DIR "
            f"to another folder."
        )


def upgrade(db: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Create the tables of a new file, or bring an older one up to date, in one transaction.

    A copy of an older file is kept beside it. Raises StoreError when a row is not as its version wrote it: then the
    file is unchanged.
    """
    version, newest = read_version(db)[1], FIRST_VERSION + len(migrations)
    if version == newest:
        return
    if version > 0:
        backup = path.with_name(f"{path.name}.version-{version}")
        log.info("Upgrading the database from version %d to %d (backup: %s)", version, newest, backup)
        copy(db, backup)
    db.execute("BEGIN IMMEDIATE")
    try:
        bring_up_to_date(db, version, migrations)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {newest}")
        db.execute("COMMIT")
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The database {path} could not be upgraded: a row is not as version {version} wrote it "
            f"({type(error).__name__}). The file was left unchanged. Go back to the version of the bot that wrote "
            f"it, or move the file away to start with a new one."
        ) from error  # the caller closes the connection, which undoes all of it


def copy(db: sqlite3.Connection, backup: Path) -> None:
    """A complete copy, also of a file that is being written to. It has its name only once it is complete."""
    unfinished = backup.with_name(f"{backup.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        db.execute("VACUUM INTO ?", (str(unfinished),))
        unfinished.replace(backup)
    finally:
        discard(unfinished)  # on a full disk it would stay in the way


def discard(copy: Path) -> None:
    """Remove a copy that was not finished, if it is there, with what SQLite keeps beside it. Raises OSError."""
    for suffix in ("", "-journal"):
        copy.with_name(f"{copy.name}{suffix}").unlink(missing_ok=True)
