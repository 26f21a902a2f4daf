"""The file: no foreign or newer one is touched, an older one upgraded, a damaged one set aside and salvaged."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from storekit import NOW, full_disk, raw, say, texts, whale

from botapi.storage import StoreError
from store import Store, backup, database, salvage, schema, sqlite
from store.engine import Connection
from store.rows import Chat, User
from store.sqlite import File
from venues.perpetuals import Liquidation, Rate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def spoil(path: Path, *, first: int, pages: int = 10**6) -> None:
    """Overwrite pages of the file in place, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(0, 2)
        end = min(file.tell(), (first + pages) * 4096)
        file.seek(first * 4096)
        file.write(b"\xa5" * (end - first * 4096))


def test_damage_in_mid_run_is_told_once_and_the_next_start_sets_the_file_aside(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    store.when_damaged(told.append)
    for number in range(2000):
        store.messages.add_alert(whale(f"k{number}", facts="x" * 200), now=NOW)
    raw(store).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw(store).execute("PRAGMA shrink_memory")
    spoil(path, first=30)
    for _ in range(3):
        with pytest.raises(StoreError, match=r"is damaged.*Start the bot again"):
            store.messages.alerts("whales", limit=5000)
    assert len(told) == 1
    assert caplog.text.count("is damaged") == 1
    store.close()
    again = Store(path)
    assert again.set_aside is not None
    again.close()
    third = Store(path)
    assert third.set_aside is None
    third.close()


def test_damage_is_reported_also_when_the_disk_was_full_before(store: Store, path: Path) -> None:
    reports: list[str] = []
    store.when_damaged(reports.append)
    for number in range(2000):
        store.messages.add_alert(whale(f"k{number}", facts="x" * 200), now=NOW)
    raw(store).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    full_disk(store)
    with pytest.raises(StoreError, match="is full"):
        say(store, 7, "x" * 100_000)
    raw(store).execute("PRAGMA shrink_memory")
    spoil(path, first=30)
    with pytest.raises(StoreError, match="is damaged"):
        store.messages.alerts("whales", limit=5000)
    assert len(reports) == 1
    assert "is damaged" in str(store.trouble())


def test_a_large_database_that_was_found_damaged_is_checked_at_the_next_start(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size alone would spare it the check, and the bot would end and start for ever."""
    monkeypatch.setattr(sqlite, "CHECKED_AT_ONCE", 0)
    for number in range(2000):
        store.messages.add_alert(whale(f"k{number}", facts="x" * 200), now=NOW)
    raw(store).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw(store).execute("PRAGMA shrink_memory")
    spoil(path, first=30)
    with pytest.raises(StoreError):
        store.messages.alerts("whales", limit=5000)
    store.close()
    again = Store(path)
    assert again.set_aside is not None
    again.close()
    assert not list(path.parent.glob("*.suspect")), "the next start is not delayed again"
    third = Store(path)
    assert third.set_aside is None
    third.close()


def test_what_can_be_read_of_a_damaged_file_is_taken_over(store: Store, path: Path) -> None:
    for chat_id in range(1, 31):
        store.chats.put(Chat(chat_id=chat_id, added_by=7, since=float(chat_id), thresholds={"whales": {"*": 2e6}}))
    store.set_value("inbox", "500 1.0")
    store.chats.put_user(User(user_id=9, name="Eve", state="allowed", at=NOW))
    for number in range(3000):
        say(store, 7, f"{number}" + "x" * 300)
    store.close()
    spoil(path, first=80, pages=3)
    again = Store(path)
    assert again.set_aside is not None
    assert [chat.chat_id for chat in again.chats.some(limit=99)] == list(range(1, 31))
    assert again.chats.some(limit=99)[0].thresholds == {"whales": {"*": 2e6}}
    assert again.value("inbox") == "500 1.0"
    assert [user.name for user in again.chats.users("allowed", limit=99)] == ["Eve"]
    kept = [int(words.rstrip("x")) for words in texts(again)]
    assert 2900 < len(kept) < 3000, "only what stood in the damaged pages is gone"
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (0, 2999)
    assert again.taken_over > 2900
    assert say(again, 7, "new") == 3001, "no id is used twice"
    again.close()


def test_a_row_that_is_no_longer_what_it_should_be_is_not_taken_over(store: Store, path: Path) -> None:
    """It would make every later look at the chats fail."""
    for chat_id in (1, 2):
        store.chats.put(Chat(chat_id=chat_id, added_by=7))
    for number in range(300):
        say(store, 7, f"{number}" + "x" * 300)
    store._db.write("UPDATE chats SET settings = '{\"symb' WHERE chat_id = 1")
    store.close()
    spoil(path, first=40, pages=2)
    again = Store(path)
    assert [chat.chat_id for chat in again.chats.some(limit=99)] == [2]
    again.close()


@pytest.mark.parametrize("content", ["CREATE TABLE recipes (name TEXT)", "PRAGMA application_id = 77"])
def test_a_database_of_another_program_is_refused_and_not_changed(path: Path, content: str) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute(content)
    foreign.commit()
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["bot.db"]


@pytest.mark.parametrize("begun", ["", "PRAGMA journal_mode = WAL"])
def test_a_file_whose_making_was_cut_off_is_made_anew(path: Path, begun: str) -> None:
    """A kill or a full disk at the first start must not leave a file that looks like another program's."""
    half = sqlite3.connect(path)
    half.execute(begun)
    half.close()
    path.touch()
    store = Store(path)
    store.set_value("name", "1")
    assert store.value("name") == "1"
    store.close()


def set_version(path: Path, version: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")


NEWEST = schema.FIRST_VERSION + len(schema.MIGRATIONS)


def shout(db: Connection) -> None:
    """A migration, as a later version may bring it: the titles of chats in capitals, in a column of another name."""
    db.execute("ALTER TABLE chats RENAME COLUMN title TO name")
    for chat_id, settings in db.execute("SELECT chat_id, settings FROM chats").fetchall():
        assert json.loads(settings)["timezone"] == "Asia/Tokyo"
        db.execute("UPDATE chats SET name = upper(name) WHERE chat_id = ?", (chat_id,))


def test_an_older_file_is_upgraded_in_one_step_and_a_copy_of_it_is_kept(store: Store, path: Path) -> None:
    store.chats.put(Chat(chat_id=7, title="Ann", added_by=7, timezone="Asia/Tokyo"))
    store.close()
    upgraded = database.Database(File(path, migrations=(*schema.MIGRATIONS, shout)))
    assert [tuple(row) for row in upgraded.rows("SELECT chat_id, name FROM chats")] == [(7, "ANN")]
    upgraded.close()
    again = database.Database(File(path, migrations=(*schema.MIGRATIONS, shout)))
    assert again.rows("SELECT name FROM chats")[0]["name"] == "ANN", "it is upgraded once"
    again.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert schema.read_version(db) == (schema.APPLICATION_ID, NEWEST + 1)
    kept = path.with_name(f"bot.db.version-{NEWEST}")
    with contextlib.closing(sqlite3.connect(kept)) as db:
        assert schema.read_version(db) == (schema.APPLICATION_ID, NEWEST)
        assert db.execute("SELECT title FROM chats").fetchall() == [("Ann",)]
    assert {found.name for found in path.parent.iterdir()} == {"bot.db", kept.name}


def test_an_upgrade_runs_the_missing_steps_only_also_after_one_that_was_cut_off(store: Store, path: Path) -> None:
    store.chats.put(Chat(chat_id=7, title="Ann", added_by=7, timezone="Asia/Tokyo"))
    store.close()
    database.Database(File(path, migrations=(*schema.MIGRATIONS, shout))).close()
    path.with_name(f"bot.db.version-{NEWEST + 1}.unfinished").write_bytes(b"half a copy")
    steps = (*schema.MIGRATIONS, shout, lambda db: db.execute("UPDATE chats SET name = name || '!'"))
    upgraded = database.Database(File(path, migrations=steps))
    assert upgraded.rows("SELECT name FROM chats")[0]["name"] == "ANN!"
    upgraded.close()
    assert not list(path.parent.glob("*.unfinished"))


def test_a_new_file_gets_the_newest_schema_without_a_copy(path: Path) -> None:
    made = database.Database(File(path, migrations=(*schema.MIGRATIONS, shout)))
    assert made.rows("SELECT name FROM chats") == []
    made.close()
    assert [found.name for found in path.parent.iterdir()] == ["bot.db"]


def test_a_migration_that_fails_leaves_the_file_as_it_was(store: Store, path: Path) -> None:
    store.chats.put(Chat(chat_id=7, title="Ann", added_by=7))
    store._db.write("UPDATE chats SET settings = 'no JSON'")
    store.close()
    with pytest.raises(StoreError, match=r"could not be upgraded.*left unchanged\. Go back to the version"):
        database.Database(File(path, migrations=(*schema.MIGRATIONS, shout)))
    with contextlib.closing(sqlite3.connect(path)) as after:
        assert schema.read_version(after)[1] == NEWEST
        assert after.execute("SELECT title, settings FROM chats").fetchone() == ("Ann", "no JSON")


def test_a_file_from_before_the_first_release_is_refused_and_left_as_it_is(store: Store, path: Path) -> None:
    store.close()
    for version in (1, schema.FIRST_VERSION - 1):
        set_version(path, version)
        before = path.read_bytes()
        with pytest.raises(StoreError, match=rf"test version.*schema {version}.*Move it away"):
            Store(path)
        assert path.read_bytes() == before
        assert salvage.inspect(path).verdict == "older"


def test_a_newer_versions_file_is_refused_and_left_as_it_is(store: Store, path: Path) -> None:
    store.set_value("name", "kept")
    raw(store).execute("PRAGMA user_version = 99")
    store.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer version.*schema 99"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["the head", "the middle", "no database at all"])
def test_a_damaged_file_is_set_aside_and_kept_and_the_bot_goes_on_with_a_new_one(path: Path, where: str) -> None:
    store = Store(path)
    for number in range(300):
        say(store, number + 1, "x" * 200)
    store.close()
    content = bytearray(path.read_bytes())
    if where == "no database at all":
        content = bytearray(b"this is a letter to a friend\n" * 100)
    else:
        start = 16 if where == "the head" else len(content) // 2
        content[start : start + 8192] = b"\xa5" * 8192
    path.write_bytes(content)
    store = Store(path)
    assert store.set_aside is not None
    assert store.set_aside.read_bytes() == bytes(content)
    assert where == "the middle" or store.pending() == []
    say(store, 7, "new")
    store.close()
    again = Store(path)
    assert again.set_aside is None
    assert texts(again)[-1] == "new"
    again.close()


def test_a_second_damaged_file_does_not_overwrite_the_first(path: Path) -> None:
    kept = set()
    for content in (b"first damage " * 100, b"second damage " * 100):
        path.write_bytes(content)
        store = Store(path)
        assert store.set_aside is not None
        kept.add(store.set_aside)
        store.close()
    assert sorted(aside.read_bytes()[:6] for aside in kept) == [b"first ", b"second"]


def test_what_sqlite_keeps_beside_a_damaged_file_goes_with_it(path: Path) -> None:
    """Left where it was, it would be read into the new file."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"bot.db{suffix}").write_text(f"of {suffix}", encoding="utf-8")
    aside = salvage.set_aside(path)
    assert {found.name: found.read_text(encoding="utf-8") for found in path.parent.iterdir()} == {
        f"{aside.name}{suffix}": f"of {suffix}" for suffix in ("", "-wal", "-shm")
    }


def test_a_sound_file_with_something_in_every_table_is_no_damage(path: Path) -> None:
    """SQLite 3.40 (Debian 12) finds NULLs where there are none in two of the tables."""
    with contextlib.closing(Store(path)) as store:
        store.markets.add_liquidations([Liquidation("OKX", "BTC", "long", 7.5, 7.5, 7, "x")])
        store.markets.put_rates("OKX", [Rate("OKX", "BTC", "BTC-SWAP", 0.1, 8.0, 5, 6)])
    path.with_name("bot.db.suspect").touch()  # a deep check
    for _ in range(2):
        with contextlib.closing(Store(path)) as store:
            assert store.set_aside is None
    assert salvage.inspect(path).verdict == "sound"
    with contextlib.closing(sqlite3.connect(path)) as db:
        schema.copy(db, path.with_name("saved.db"))
        sql = str(db.execute("SELECT sql FROM sqlite_master WHERE name = 'rates'").fetchone()[0])
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_master SET sql = ? WHERE name = 'rates'",
            (sql.replace("hours REAL NOT NULL", "hours REAL"),),
        )
        db.commit()
    backup.check(path.with_name("saved.db"))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE rates SET hours = NULL")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'rates'", (sql,))
        db.commit()
    assert salvage.inspect(path).verdict == "damaged", "this one is there"


def test_nothing_is_taken_over_from_a_damaged_file_of_another_version(store: Store, path: Path) -> None:
    """Its rows were never upgraded."""
    for number in range(300):
        say(store, 7, f"{number}" + "x" * 300)
    store.close()
    spoil(path, first=40, pages=2)
    again = database.Database(File(path, migrations=(*schema.MIGRATIONS, shout)))
    assert again.engine.set_aside is not None
    assert again.engine.taken_over == 0
    again.close()


def test_a_path_that_cannot_be_a_database_is_told_as_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not be opened"):
        Store(tmp_path / "missing" / "bot.db")
    (tmp_path / "bot.db").mkdir()
    with pytest.raises(StoreError, match="could not be opened"):
        Store(tmp_path / "bot.db")


# A look from outside (doctor)


def files(path: Path) -> dict[str, bytes]:
    return {found.name: found.read_bytes() for found in path.parent.iterdir() if not found.name.endswith("-shm")}


def test_a_database_in_use_is_looked_at_without_a_trace_and_goes_on(store: Store, path: Path) -> None:
    say(store, 7, "before")
    before = files(path)
    with store.transaction():
        say(store, 7, "in the middle")
        assert salvage.inspect(path).verdict == "sound"
    say(store, 7, "after")
    assert texts(store) == ["before", "in the middle", "after"]
    assert set(files(path)) == set(before)


def test_a_look_at_a_closed_database_makes_no_file_beside_it(store: Store, path: Path) -> None:
    say(store, 7, "kept")
    store.close()
    before, touched = files(path), path.parent.stat().st_mtime_ns
    found = salvage.inspect(path)
    assert path.parent.stat().st_mtime_ns == touched, "not even for a moment"
    assert (found.verdict, found.size) == ("sound", path.stat().st_size)
    assert files(path) == before
    assert {found.name for found in path.parent.iterdir()} == {"bot.db"}


def test_a_look_tells_damaged_foreign_and_newer_files_apart_and_changes_none(store: Store, path: Path) -> None:
    for number in range(300):
        say(store, 7, f"filling {number} " * 40)
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\x55" * 12288 + whole[20480:])
    assert salvage.inspect(path).verdict == "damaged"
    path.write_bytes(b"this is no database at all, however long it is" * 100)
    damaged = path.read_bytes()
    assert salvage.inspect(path).verdict == "damaged"
    assert path.read_bytes() == damaged
    path.unlink()
    for pragma, verdict in (("application_id = 77", "foreign"), ("user_version = 99", "newer")):
        other = sqlite3.connect(path)
        other.executescript(f"PRAGMA {pragma}; CREATE TABLE IF NOT EXISTS t (a);")
        other.close()
        assert salvage.inspect(path).verdict == verdict
        path.unlink()
    with pytest.raises(FileNotFoundError):
        salvage.inspect(path)


def test_a_look_ends_in_time_at_a_file_too_large_for_it(store: Store, path: Path) -> None:
    for number in range(300):
        say(store, 7, f"filling {number} " * 40)
    assert salvage.inspect(path, seconds=-1).verdict == "not all checked"
