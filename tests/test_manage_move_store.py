"""move-store: everything goes over and is compared, the source stays, and what fails has changed nothing."""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import serverkit
from conftest import BOT_ID, TOKEN
from storekit import NOW, deliver, say, whale

from botapi.storage import StoreError
from lock import InstanceLock
from manage import move_store
from store import Store, leader
from store.levels import Level
from store.rows import Chat, User
from store.wallets import WatchedWallet
from venues.trades import Bar


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TELEGRAM_BOT_TOKEN", "DATA_DIR", "LOCK_SCOPE", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "bot.env"
    file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nDATA_DIR={tmp_path}\nLOCK_SCOPE=folder\n", encoding="utf-8")
    (tmp_path / str(BOT_ID)).mkdir(mode=0o700)
    return file


@pytest.fixture
def file(env_file: Path, tmp_path: Path) -> Path:
    """A database with something in every table, and what only one of the engines can keep."""
    from store.move import tables

    path = tmp_path / str(BOT_ID) / "bot.db"
    with closing(Store(path)) as store, store.transaction():
        fill(store)
        for table in tables():  # also those that `fill` does not know
            if not store._db.number(f"SELECT count(*) FROM {table.name}"):
                values = tuple(kind(7) for kind in table.kinds)
                store._db.write(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(values))})", values)
    return path


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


def fill(store: Store) -> None:
    store.chats.put(Chat(chat_id=-100, added_by=7, title="鲸 🐳", since=-0.0, thread_id=2**40))
    store.chats.put_user(User(user_id=9, name="Eve", at=NOW + 0.1))
    store.chats.mark_handled(5, now=NOW)
    store.chats.add_stale(7, thread_id=None, at=NOW)
    for number in range(2500):
        store.messages.add_alert(whale(f"k{number}", at=NOW + number / 7), now=NOW)
    first = say(store, 7, "told", bundle="b")
    store.fan_out.add_to_bundles([first], "k1")
    deliver(store, 11)
    say(store, 7, "waits")
    store.fan_out.hold([7], "k2", why="quiet", at=NOW)
    store.markets.set_cursor("OKX", "BTC", "a\0b", at=NOW)
    store.markets.add_gap("OKX", "BTC", missed=None, start=NOW - 60, end=float("inf"))
    store.markets.add_bars([Bar("BTC", 300, 1.0, 3.0, 0.5, 2.0, 10.0, 1e-300)])
    store.wallets.watch(WatchedWallet(7, "0xa", "whale"), now=NOW)
    store.set_value("name", "value")
    store.levels.add(Level(chat_id=7, symbol="BTC", price=1e5))
    gone = store.levels.add(Level(chat_id=7, symbol="ETH", price=1e4))
    store.levels.remove(7, gone)


def stored(place: Path | str) -> dict[str, list[tuple[Any, ...]]]:
    from store.move import tables

    found = {}
    for table in tables():
        sql = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"
        if isinstance(place, str):
            found[table.name] = serverkit.execute(place, sql)
        else:
            with closing(sqlite3.connect(place)) as db:
                found[table.name] = [tuple(row) for row in db.execute(sql)]
    return found


def move(env_file: Path, target: str) -> int:
    return move_store.run(env_file, argparse.Namespace(target=target))


def test_everything_goes_to_the_server_and_back_and_only_the_setting_changes(
    file: Path, env_file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, settings = stored(file), env_file.read_text(encoding="utf-8")
    content = hashlib.sha256(file.read_bytes()).digest()
    assert move(env_file, url) == 0, capsys.readouterr().err
    assert "rows of" in (said := capsys.readouterr().out) and url not in said
    there = stored(url)
    assert there["cursors"] == [("OKX", "BTC", "a\ufffdb", NOW)], "PostgreSQL takes no U+0000"
    before["cursors"] = there["cursors"]
    assert there == before
    assert hashlib.sha256(file.read_bytes()).digest() == content
    assert env_file.read_text(encoding="utf-8") == f"{settings}DATABASE_URL={url}\n"

    from store.postgres import Server

    with closing(Store(Server(url, bot_id=BOT_ID))) as store:
        assert say(store, 7, "next") == 3
        assert store.levels.add(Level(chat_id=7, symbol="BTC", price=2e5)) == 3, "not the number of the one removed"
        store.set_value("name", "newer")
    before = stored(url)
    assert move(env_file, "file") == 0, capsys.readouterr().err
    assert stored(file) == before == stored(url)
    (kept,) = file.parent.glob("bot.db.before-*")
    assert kept.name in capsys.readouterr().out
    assert env_file.read_text(encoding="utf-8") == f"{settings}DATABASE_URL=\n"
    with closing(Store(file)) as store:
        assert say(store, 7, "next") == 4
        assert store.value("name") == "newer"
    assert not list(file.parent.glob("*.moving*"))


def test_it_is_refused_while_the_bot_runs_here_or_with_that_database(
    file: Path, env_file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = env_file.read_bytes()
    with InstanceLock(file.parent, TOKEN, machine_wide=False):
        assert move(env_file, url) == 1
    assert "Nothing was changed" in capsys.readouterr().err
    import psycopg

    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"SELECT pg_advisory_lock({leader.lock_key(BOT_ID)})".encode())
        assert move(env_file, url) == 1
    assert "Stop every copy of it first" in capsys.readouterr().err
    assert env_file.read_bytes() == before
    assert not stored(url)["chats"]


def test_what_fails_on_the_way_has_changed_nothing_and_the_next_one_begins_anew(
    file: Path, env_file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from store import move as moving
    from store.postgres import Server

    before = env_file.read_bytes()
    server = Server(url, bot_id=BOT_ID)
    with pytest.raises(StoreError, match=r"cannot be reached.*, then move again"):
        moving.to_server(file, server, bot_id=BOT_ID, progress=lambda rows: server.cut() if rows > 1000 else None)
    assert not stored(url)["alerts"]
    server = Server(url, bot_id=BOT_ID)
    moving.to_server(file, server, bot_id=BOT_ID, progress=lambda rows: None)
    server.close()  # as if killed before the setting was written
    with closing(Store(file)) as store:
        store.set_value("name", "newer")
    assert move(env_file, url) == 0, capsys.readouterr().err
    assert dict(stored(url)["facts"])["name"] == "newer"
    assert [name for name, _ in stored(url)["facts"]] == [name for name, _ in stored(file)["facts"]]
    assert env_file.read_bytes() != before


def test_data_that_is_there_already_is_not_replaced(
    file: Path, env_file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert move(env_file, url) == 0
    env_file.write_text(env_file.read_text(encoding="utf-8").replace(url, ""), encoding="utf-8")
    before = stored(url)
    assert move(env_file, url) == 1
    assert "holds data of this bot already" in capsys.readouterr().err
    assert stored(url) == before


def test_rows_that_arrive_changed_are_found_and_nothing_is_kept(
    file: Path, env_file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from store.postgres import Server

    Store(Server(url, bot_id=BOT_ID)).close()
    serverkit.execute(
        url,
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN NEW.name := upper(NEW.name); RETURN NEW; END'",
        "CREATE TRIGGER meddle BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION meddle()",
    )
    before = env_file.read_bytes()
    assert move(env_file, url) == 1
    serverkit.execute(url, "DROP FUNCTION meddle CASCADE")
    assert "table users has 1 rows, of 1. Try again" in capsys.readouterr().err
    assert not stored(url)["alerts"]
    assert env_file.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE chats SET added_by = 'ann'", "added_by in table chats is no number"),
        ("UPDATE alerts SET at = x'00'", "at in table alerts is no number"),
        ("UPDATE inbox SET handled_at = 'x'", "handled_at in table inbox is no number"),
        ("UPDATE users SET name = x'ff00'", "name in table users is no text"),
        ("PRAGMA user_version = 7", "is older schema 7"),
        ("PRAGMA application_id = 5", "is foreign"),
    ],
)
def test_a_file_that_cannot_be_moved_is_refused_in_words(
    file: Path, env_file: Path, url: str, capsys: pytest.CaptureFixture[str], sql: str, words: str
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(sql)
    assert move(env_file, url) == 1
    assert words in capsys.readouterr().err
    made = serverkit.execute(url, "SELECT count(*) FROM pg_class WHERE relname = 'alerts'")
    assert made == [(0,)] or not stored(url)["alerts"]


def test_a_server_that_refuses_is_told_with_what_to_do_before_the_next_move(
    file: Path, env_file: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert move(env_file, f"{url}_none") == 1
    told = capsys.readouterr().err
    assert told.endswith("_none), or correct the URL, then move again.\nNothing was changed.\n")
    assert told.count("Nothing was changed") == 1


def test_what_is_no_place_to_move_to_is_said_without_its_password(
    file: Path, env_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in ("mysql://ann:correct-horse@db/bot", "postgresql://ann:correct@horse@db/bot", "nonsense"):
        assert move(env_file, target) == 1
        told = capsys.readouterr().err
        assert "Say file, or a URL like postgresql://" in told
        assert "correct" not in told
    assert move(env_file, "file") == 1
    assert "there already" in capsys.readouterr().err
