"""Whose tables a database on a server holds, and of which version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botapi.storage import StoreError
from store import schema

_ABOUT = {"application", "version", "bot_id"}
# Not from information_schema, which hides what the user has no right to.
_ABOUT_COLUMNS = (
    "SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relname = 'about' "
    "AND relnamespace = current_schema()::regnamespace AND attnum > 0 AND NOT attisdropped"
)
# Without those of extensions, which a new database may have.
_OUR_TABLES = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace "
    "AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"
)


def version(execute: Callable[[str], Any], where: str, *, bot_id: int, newest: int) -> int:
    """The version of the tables, 0 where there are none yet. Raises StoreError for those of no use here.

    where: the names of the database and its server. newest: the version that this program knows.
    """
    found = {row[0] for row in execute(_OUR_TABLES).fetchall()}
    if not found:
        return 0
    columns = {row[0] for row in execute(_ABOUT_COLUMNS).fetchall()}
    row = execute("SELECT * FROM about").fetchone() if columns == _ABOUT else None
    if row is None or row["application"] != schema.APPLICATION_ID:
        raise StoreError(
            f"The database {where} holds tables of another program, so the bot leaves it alone. Create one for the "
            f"bot (createdb NAME) and name it in DATABASE_URL."
        )
    if row["bot_id"] != bot_id:
        raise StoreError(
            f"The database {where} belongs to bot {row['bot_id']}, and this is bot {bot_id}. Each bot needs its own: "
            f"create one (createdb NAME) and name it in DATABASE_URL."
        )
    if row["version"] > newest:
        raise StoreError(
            f"The database {where} was written by a newer version of this bot (schema {row['version']}; this version "
            f"knows up to {newest}). It was left unchanged. Update the bot."
        )
    if row["version"] < schema.FIRST_VERSION:
        raise StoreError(
            f"The database {where} was written by a test version of this bot from before the first release (schema "
            f"{row['version']}) and cannot be upgraded. It was left unchanged. Create another one (createdb NAME) "
            f"and name it in DATABASE_URL."
        )
    return int(row["version"])
