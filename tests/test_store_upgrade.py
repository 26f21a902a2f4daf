"""What an older version of the bot stored is brought up to date in the same way on both engines."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import serverkit
from conftest import BOT_ID
from test_store_engines import columns, rows, tables

from store import Store, schema
from store.sqlite import File


def old(connection: Any, described: dict[str, list[tuple[str, str]]]) -> None:
    """Rows as an older version may have left them."""
    texts = ['{"digest": "09:00", "quiet": "22:00-07:00"}', "no JSON", "[]", '{"digest": ""}', "é"]
    for table, kinds in described.items():
        for number in range(1, 8):
            made = {"INTEGER": number * 7, "REAL": number / 4, "TEXT": f"{number}"}
            row = [texts[number % 5] if name == "settings" else made[kind] for name, kind in kinds]
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", tuple(row))


@pytest.mark.parametrize("steps", range(len(schema.MIGRATIONS) + 1))
def test_an_older_version_is_upgraded_to_the_same_rows_on_both_engines(
    database_url: str, tmp_path: Path, steps: int
) -> None:
    from store.postgres import Server

    serverkit.empty(database_url, anew=True)
    path, before = tmp_path / "bot.db", schema.MIGRATIONS[:steps]
    file, server = File(path, migrations=before), Server(database_url, bot_id=BOT_ID, migrations=before)
    file.connect()
    names = file.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'"
    ).fetchall()
    described = {
        name: [(column[1], column[2]) for column in file.execute(f"PRAGMA table_info({name})").fetchall()]
        for (name,) in names
    }
    server.connect()
    for engine in (file, server):
        old(engine, described)
        engine.close()
    with closing(Store(path)) as one, closing(Store(Server(database_url, bot_id=BOT_ID))) as other:
        assert rows(one) == rows(other)
        for table in tables(one):
            assert columns(one, table) == columns(other, table)
