"""The store: nothing committed is lost, nothing half is kept, no foreign or damaged file is overwritten."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from botapi.storage import ALERTS, ANSWERS, Delivery, StoreError
from store import Store, database, salvage, schema
from store.rows import Alert, Chat, User, WatchedWallet
from venues.trades import Bar

NOW = 1_750_000_000.0
DAY = 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def say(store: Store, chat_id: int, text: str, *, lane: int = ANSWERS, bundle: str | None = None) -> int:
    return store.messages.enqueue(chat_id, "sendMessage", {"text": text}, now=NOW, lane=lane, bundle=bundle)


def whale(key: str, *, symbol: str = "BTC", at: float = NOW, facts: str = "") -> Alert:
    return Alert(
        key=key,
        monitor="whales",
        symbol=symbol,
        side="buy",
        usd=2e6,
        headline=f"{symbol} buy 2M USD",
        facts=facts,
        at_ms=round(at * 1000),
        venue="Binance spot",
        url="https://example.org",
    )


def pending(store: Store) -> list[Delivery]:
    found = [store.delivery(delivery_id) for delivery_id, _, _ in store.pending()]
    return [delivery for delivery in found if delivery is not None]


def texts(store: Store) -> list[str]:
    return [delivery.payload["text"] for delivery in pending(store)]


def full_disk(store: Store, *, full: bool = True) -> None:
    """From now on the file may not grow: SQLite's own "database or disk is full"."""
    pages = store._db._connection.execute("PRAGMA page_count").fetchone()[0]
    store._db._connection.execute(f"PRAGMA max_page_count = {pages if full else 10**6}")


# Transactions


def test_what_is_in_one_transaction_is_kept_together_or_not_at_all(store: Store, path: Path) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        store.chats.mark_handled(1, now=NOW)
        say(store, 7, "pong")
        raise RuntimeError("a bug")
    assert not store.chats.handled(1)
    assert texts(store) == []
    with store.transaction():
        store.chats.mark_handled(1, now=NOW)
        say(store, 7, "pong")
    other = Store(path)
    assert other.chats.handled(1)
    assert texts(other) == ["pong"]
    other.close()


def test_a_transaction_inside_another_is_undone_with_it(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        with store.transaction():
            store.set_value("inner", "1")
        raise RuntimeError("a bug")
    assert store.value("inner") is None


def test_nobody_sees_a_transaction_before_it_is_committed(store: Store, path: Path) -> None:
    reader = sqlite3.connect(path)
    with store.transaction():
        store.set_value("name", "new")
        assert reader.execute("SELECT count(*) FROM facts").fetchone() == (0,)
    assert reader.execute("SELECT count(*) FROM facts").fetchone() == (1,)
    reader.close()


def test_a_savepoint_undoes_only_what_is_inside(store: Store) -> None:
    with store.transaction():
        store.set_value("outside", "kept")
        with pytest.raises(RuntimeError), store.savepoint():
            store.set_value("inside", "undone")
            raise RuntimeError("a bug")
    assert store.value("outside") == "kept"
    assert store.value("inside") is None


def test_the_cause_is_told_when_sqlite_gave_up_the_whole_transaction_by_itself(store: Store) -> None:
    """It does so on a full disk; the savepoint is gone then, and that must not hide the first error."""
    with pytest.raises(StoreError, match="first"), store.transaction(), store.savepoint():
        store.set_value("name", "1")
        store._db._connection.execute("ROLLBACK")
        raise StoreError("the first error")
    assert store.value("name") is None


def test_a_bug_in_our_own_values_stays_a_bug_and_leaves_the_store_usable(store: Store) -> None:
    with pytest.raises(sqlite3.Error):
        store.messages.enqueue(None, "sendMessage", {}, now=NOW)  # type: ignore[arg-type]
    assert say(store, 7, "on") == 1


def test_a_full_disk_is_a_store_error_at_once_also_inside_a_transaction(store: Store) -> None:
    """Who skips a faulty command must be able to tell it from a disk that is full."""
    full_disk(store)
    with pytest.raises(StoreError, match="outside"), store.transaction():
        with pytest.raises(StoreError, match="Free some space"):
            say(store, 7, "x" * 100_000)
        raise StoreError("outside")


def test_a_full_disk_is_a_store_error_and_nothing_half_is_kept(store: Store) -> None:
    full_disk(store)
    with pytest.raises(StoreError, match="Free some space"), store.transaction():
        store.chats.mark_handled(1, now=NOW)
        say(store, 7, "x" * 100_000)
    assert not store.chats.handled(1)
    full_disk(store, full=False)
    say(store, 7, "room again")
    assert texts(store) == ["room again"]


def test_threads_do_not_mix_their_transactions(store: Store) -> None:
    def work(number: int) -> None:
        for turn in range(50):
            with store.transaction():
                count = int(store.value("count") or 0)
                say(store, number, str(turn))
                store.set_value("count", str(count + 1))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert store.value("count") == "200"
    rows = pending(store)
    for number in range(1, 5):
        mine = [row.payload["text"] for row in rows if row.chat_id == number]
        assert mine == [str(turn) for turn in range(50)], "each chat's messages keep their order"


WRITER = """
import sys
from pathlib import Path
from store import Store
store = Store(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    with store.transaction(durable=number % 10 == 0):
        store.chats.mark_handled(number, now=1.0)
        store.messages.enqueue(7, "sendMessage", {"text": str(number)}, now=1.0)
        store.set_value("last", str(number))
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_committed_and_keeps_nothing_half(path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert writer.stdout is not None
    try:
        for line in writer.stdout:
            if int(line) == 100:
                break
    finally:
        writer.kill()
    told = [int(line) for line in writer.stdout.read().split("\n")[:-1]] or [100]
    writer.wait(10)
    store = Store(path)
    last = int(store.value("last") or 0)
    assert last >= told[-1] >= 100
    assert texts(store) == [str(number) for number in range(1, last + 1)]
    assert store.chats.handled(last)
    assert not store.chats.handled(last + 1)
    assert store.set_aside is None
    store.close()


# Trouble with the disk


def test_a_disk_that_stays_full_is_logged_once_and_once_when_there_is_room_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    full_disk(store)
    for _ in range(5):
        with pytest.raises(StoreError, match=r"is full\. Nothing stored is lost.*wait\. Free some space"):
            say(store, 7, "x" * 100_000)
        assert store.chats.take_stale() == [], "a transaction that writes nothing is no sign of room"
    full_disk(store, full=False)
    say(store, 7, "room again")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "written again" in caplog.records[1].message


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_file_that_may_not_grow_loses_nothing_and_works_again_when_it_may(path: Path) -> None:
    """A real refusal of the kernel in the middle of a write, as a quota makes it; then the limit is lifted."""
    script = """
import resource, sys
from pathlib import Path
from botapi.storage import StoreError
from store import Store
store = Store(Path(sys.argv[1]))
store.set_value("kept", "1")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
failed = 0
for number in range(60):
    try:
        store.messages.enqueue(7, "sendMessage", {"text": str(number) + "x" * 10_000}, now=1.0)
        assert not failed, "it came back before the limit was lifted"
    except StoreError as error:
        failed += 1
        assert "Check the disk" in str(error) or "full" in str(error), error
assert failed > 20, failed
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.messages.enqueue(7, "sendMessage", {"text": "room"}, now=1.0)
assert store.value("kept") == "1"
print(60 - failed)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    again = Store(path)
    assert again.set_aside is None
    assert [words.rstrip("x") for words in texts(again)] == [*map(str, range(int(done.stdout))), "room"]
    again.close()


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may write everywhere: step down for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may read; pytest's own are for their owner alone."""
    if os.name == "nt":
        pytest.skip("on Windows a folder's read-only mark bars nobody")
    folder = Path(tempfile.mkdtemp())
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_said_in_words_and_nothing_is_made_there(public: Path) -> None:
    public.chmod(0o555)
    words = r"cannot be written.*Nothing was changed.*Give this user write permission"
    with ordinary_user(), pytest.raises(StoreError, match=words):
        Store(public / "bot.db")
    assert list(public.iterdir()) == []


def test_a_database_that_may_only_be_read_is_refused_and_not_changed(store: Store, path: Path, public: Path) -> None:
    store.set_value("name", "kept")
    store.close()
    copy = public / "bot.db"
    shutil.copyfile(path, copy)
    copy.chmod(0o444)
    public.chmod(0o555)
    before = copy.read_bytes()
    with ordinary_user(), pytest.raises(StoreError, match="cannot be written"):
        Store(copy)
    assert copy.read_bytes() == before
    assert list(public.iterdir()) == [copy]


def test_a_database_that_another_program_holds_locked_is_waited_for_and_then_refused_in_words(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store._db._connection.execute("PRAGMA busy_timeout = 50")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            with pytest.raises(StoreError, match=r"Another program has locked .*Close that program"):
                say(store, 7, "waits")
        assert store.value("name") is None, "reading goes on"
        other.execute("ROLLBACK")
    say(store, 7, "free")
    assert texts(store) == ["free"]
    assert len(caplog.records) == 2


def test_a_start_while_another_program_holds_the_database_says_so_and_changes_nothing(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set_value("name", "kept")
    store.close()
    monkeypatch.setattr(database, "BUSY_PATIENCE", 0.05)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"has locked .*\. Nothing was changed\. Close that program"):
            Store(path)
    again = Store(path)
    assert (again.value("name"), again.set_aside) == ("kept", None)
    again.close()


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
    store._db._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._db._connection.execute("PRAGMA shrink_memory")
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


def test_a_large_database_that_was_found_damaged_is_checked_at_the_next_start(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size alone would spare it the check, and the bot would end and start for ever."""
    monkeypatch.setattr(database, "CHECKED_AT_ONCE", 0)
    for number in range(2000):
        store.messages.add_alert(whale(f"k{number}", facts="x" * 200), now=NOW)
    store._db._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._db._connection.execute("PRAGMA shrink_memory")
    spoil(path, first=30)
    with pytest.raises(StoreError):
        store.messages.alerts("whales", limit=5000)
    store.close()
    again = Store(path)
    assert again.set_aside is not None
    again.close()
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
    assert [chat.chat_id for chat in again.chats.all()] == list(range(1, 31))
    assert again.chats.all()[0].thresholds == {"whales": {"*": 2e6}}
    assert again.value("inbox") == "500 1.0"
    assert [user.name for user in again.chats.users("allowed")] == ["Eve"]
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
    assert [chat.chat_id for chat in again.chats.all()] == [2]
    again.close()


# The file


def test_a_database_of_another_program_is_refused_and_not_changed(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE recipes (name TEXT)")
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


def shout(db: sqlite3.Connection) -> None:
    """A migration, as a later version may bring it: the titles of chats in capitals, in a column of another name."""
    db.execute("ALTER TABLE chats RENAME COLUMN title TO name")
    for chat_id, settings in db.execute("SELECT chat_id, settings FROM chats").fetchall():
        assert json.loads(settings)["timezone"] == "UTC"
        db.execute("UPDATE chats SET name = upper(name) WHERE chat_id = ?", (chat_id,))


def test_an_older_file_is_upgraded_in_one_step_and_a_copy_of_it_is_kept(store: Store, path: Path) -> None:
    store.chats.put(Chat(chat_id=7, title="Ann", added_by=7))
    store.close()
    upgraded = database.Database(path, migrations=(shout,))
    assert [tuple(row) for row in upgraded.rows("SELECT chat_id, name FROM chats")] == [(7, "ANN")]
    upgraded.close()
    again = database.Database(path, migrations=(shout,))
    assert again.rows("SELECT name FROM chats")[0]["name"] == "ANN", "it is upgraded once"
    again.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert schema.read_version(db) == (schema.APPLICATION_ID, schema.FIRST_VERSION + 1)
    kept = path.with_name(f"bot.db.version-{schema.FIRST_VERSION}")
    with contextlib.closing(sqlite3.connect(kept)) as db:
        assert schema.read_version(db) == (schema.APPLICATION_ID, schema.FIRST_VERSION)
        assert db.execute("SELECT title FROM chats").fetchall() == [("Ann",)]
    assert {found.name for found in path.parent.iterdir()} == {"bot.db", kept.name}


def test_a_new_file_gets_the_newest_schema_without_a_copy(path: Path) -> None:
    made = database.Database(path, migrations=(shout,))
    assert made.rows("SELECT name FROM chats") == []
    made.close()
    assert [found.name for found in path.parent.iterdir()] == ["bot.db"]


def test_a_migration_that_fails_leaves_the_file_as_it_was(store: Store, path: Path) -> None:
    store.chats.put(Chat(chat_id=7, title="Ann", added_by=7))
    store._db.write("UPDATE chats SET settings = 'no JSON'")
    store.close()
    with pytest.raises(StoreError, match=r"could not be upgraded.*left unchanged\. Go back to the version"):
        database.Database(path, migrations=(shout,))
    with contextlib.closing(sqlite3.connect(path)) as after:
        assert schema.read_version(after)[1] == schema.FIRST_VERSION
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


def test_every_setting_of_a_chat_survives(store: Store) -> None:
    chat = Chat(
        chat_id=-5,
        kind="supergroup",
        title="Desk",
        thread_id=3,
        added_by=7,
        since=NOW,
        symbols=frozenset({"BTC"}),
        thresholds={"whales": {"*": 1e6}, "funding": {"BTC": 0.1}},
        muted_until=1.0,
        symbol_mutes={"ETH": 2.0},
        levels={"whales": "loud"},
        sides={"whales": "buy"},
        timezone="Europe/Berlin",
        quiet="22:00-07:00",
        hourly_cap=20,
        digest="09:00 mon-fri",
        digest_at=NOW,
    )
    store.chats.put(chat)
    assert store.chats.get(-5) == chat


def test_a_newer_versions_file_is_refused_and_left_as_it_is(store: Store, path: Path) -> None:
    store.set_value("name", "kept")
    store._db._connection.execute("PRAGMA user_version = 99")
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


def test_a_path_that_cannot_be_a_database_is_told_as_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not be opened"):
        Store(tmp_path / "missing" / "bot.db")
    (tmp_path / "bot.db").mkdir()
    with pytest.raises(StoreError, match="could not be opened"):
        Store(tmp_path / "bot.db")


def test_everything_is_there_after_a_restart(store: Store, path: Path) -> None:
    chat = Chat(
        chat_id=-100,
        kind="supergroup",
        title="鲸",
        thread_id=5,
        added_by=7,
        since=NOW,
        symbols=frozenset({"BTC", "ETH"}),
        thresholds={"whales": {"BTC": 2e6, "*": 5e5}},
        muted_until=NOW + 60,
        symbol_mutes={"ETH": NOW + 3600},
    )
    user = User(user_id=9, name="Eve", state="denied", at=NOW, answered_at=NOW - 1, asked_at=NOW - 2)
    store.chats.put(chat)
    store.chats.put_user(user)
    store.markets.set_cursor("Binance spot", "BTC", "123", at=NOW)
    store.markets.add_gap("Binance spot", "BTC", missed=None, start=NOW - 60, end=NOW)
    store.close()
    again = Store(path)
    assert again.chats.get(-100) == chat
    assert again.chats.user(9) == user
    cursor = again.markets.cursor("Binance spot", "BTC")
    assert cursor is not None
    assert (cursor.text, cursor.at) == ("123", NOW)
    assert [(gap.venue, gap.missed) for gap in again.markets.gaps(since=0)] == [("Binance spot", None)]
    assert again.markets.cursor("Kraken", "BTC") is None
    again.close()


def test_every_symbol_and_no_symbol_are_different_choices(store: Store) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1, symbols=None))
    store.chats.put(Chat(chat_id=2, added_by=2, symbols=frozenset()))
    everything, nothing = store.chats.all()
    assert everything.follows("BTC")
    assert not nothing.follows("BTC")


# Outbox rows


def test_pending_messages_come_in_the_order_they_were_enqueued(store: Store) -> None:
    ids = [say(store, 7, "a"), say(store, 8, "b"), say(store, 7, "c", lane=ALERTS)]
    assert store.pending() == [(ids[0], 7, ANSWERS), (ids[1], 8, ANSWERS), (ids[2], 7, ALERTS)]
    assert store.pending(after=ids[0]) == [(ids[1], 8, ANSWERS), (ids[2], 7, ALERTS)]


def test_an_id_is_never_used_twice_even_after_the_newest_row_is_gone(store: Store) -> None:
    first = say(store, 7, "a")
    store.settle_buried(first, reason="x", now=NOW)
    store.prune(now=NOW + 4 * DAY)
    assert say(store, 7, "b") > first


def deliver(store: Store, message_id: int) -> Delivery:
    """The outbox's part: read, (send), settle."""
    delivery = pending(store)[0]
    store.settle_sent(delivery, message_id=message_id, now=NOW)
    return delivery


def test_a_message_revised_before_it_is_sent_is_sent_once_in_its_new_form(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    store.messages.revise(made, {"text": "one and two"}, now=NOW)
    assert deliver(store, 11).payload["text"] == "one and two"
    assert store.pending() == []


def test_a_message_revised_after_it_was_sent_gets_exactly_one_edit_with_the_newest_content(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    deliver(store, 11)
    store.messages.revise(made, {"text": "two"}, now=NOW)
    store.messages.revise(made, {"text": "three"}, now=NOW)
    (edit,) = pending(store)
    assert (edit.method, edit.payload) == ("editMessageText", {"text": "three", "message_id": 11})
    assert edit.lane == ALERTS
    deliver(store, 11)
    assert store.pending() == []


def test_a_message_revised_while_it_is_being_sent_gets_exactly_one_edit(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    in_flight = pending(store)[0]
    store.messages.revise(made, {"text": "two"}, now=NOW)
    store.settle_sent(in_flight, message_id=11, now=NOW)
    in_flight = pending(store)[0]
    assert in_flight.payload == {"text": "two", "message_id": 11}
    store.messages.revise(made, {"text": "three"}, now=NOW)  # now the edit is in flight
    store.settle_sent(in_flight, message_id=11, now=NOW)
    (edit,) = pending(store)
    assert edit.payload == {"text": "three", "message_id": 11}
    deliver(store, 11)
    assert store.pending() == []


def test_unsubscribing_takes_back_waiting_alerts_but_no_answer_and_keeps_the_settings(store: Store) -> None:
    store.chats.put(Chat(chat_id=7, added_by=7, thresholds={"whales": {"BTC": 1e6}}))
    say(store, 7, "whale", lane=ALERTS)
    say(store, 7, "pong")
    say(store, 8, "whale of another", lane=ALERTS)
    store.unsubscribe(7, note="blocked")
    assert texts(store) == ["pong", "whale of another"]
    chat = store.chats.get(7)
    assert chat is not None
    assert (chat.subscribed, chat.note, chat.thresholds) == (False, "blocked", {"whales": {"BTC": 1e6}})
    assert store.chats.all() == []
    assert store.messages.counts(since=0) == {"pending": 2, "sent": 0, "buried": 1}


def test_a_group_that_became_a_supergroup_keeps_settings_and_waiting_messages(store: Store) -> None:
    store.chats.put(Chat(chat_id=-5, kind="group", added_by=7, thresholds={"whales": {"*": 3e6}}, thread_id=None))
    say(store, -5, "waiting", lane=ALERTS)
    for _ in range(2):  # both Telegram's update and a refused send may tell
        store.migrate_chat(-5, -1005)
    assert store.chats.get(-5) is None
    chat = store.chats.get(-1005)
    assert chat is not None
    assert (chat.kind, chat.thresholds, chat.subscribed) == ("supergroup", {"whales": {"*": 3e6}}, True)
    assert [delivery.chat_id for delivery in pending(store)] == [-1005]


def test_a_supergroup_keeps_the_history_and_the_held_alerts_of_its_group_once_each(store: Store) -> None:
    for key in ("sent", "held", "held twice"):
        store.messages.add_alert(whale(key), now=NOW)
    store.messages.add_to_bundle(say(store, -5, "whale", lane=ALERTS, bundle="whales:BTC"), "sent")
    deliver(store, 11)
    store.messages.hold(-5, "held", why="quiet", at=NOW)
    for chat_id in (-5, -1005):
        store.chats.put(Chat(chat_id=chat_id, kind="group", added_by=chat_id))
        store.messages.hold(chat_id, "held twice", why="quiet", at=NOW)
        store.markets.watch(WatchedWallet(chat_id, "0x1", f"by {chat_id}"), now=NOW)
    store.migrate_chat(-5, -1005)
    assert sorted(entry.alert.key for entry in store.messages.history(-1005, limit=9)) == [
        "held",
        "held twice",
        "sent",
    ]
    assert [entry.alert.key for entry in store.messages.held(-1005)] == ["held", "held twice"]
    assert store.messages.chats_holding() == [-1005]
    assert [wallet.name for wallet in store.markets.watched(-1005)] == ["by -1005"]
    assert store.markets.watched(-5) == []
    (chat,) = store.chats.all()
    assert (chat.chat_id, chat.kind, chat.added_by) == (-1005, "supergroup", -1005)


def test_what_a_newer_version_added_to_an_alert_is_left_out(store: Store) -> None:
    store.messages.add_alert(whale("k"), now=NOW)
    store._db.write("UPDATE alerts SET body = ?", json.dumps(vars(whale("k")) | {"mood": "blue"}))
    assert store.messages.alerts("whales") == [whale("k")]


def test_a_bundle_stays_open_from_its_beginning_unless_it_was_buried(store: Store) -> None:
    made = say(store, 7, "whale", lane=ALERTS, bundle="whale:BTC")
    assert store.messages.open_bundle(7, "whale:BTC", since=NOW - 1) == made
    assert store.messages.open_bundle(7, "whale:BTC", since=NOW) is None
    assert store.messages.open_bundle(7, "whale:ETH", since=NOW - 1) is None
    assert store.messages.open_bundle(8, "whale:BTC", since=NOW - 1) is None
    deliver(store, 11)
    assert store.messages.open_bundle(7, "whale:BTC", since=NOW - 1) == made
    store.settle_buried(made, reason="refused", now=NOW)
    assert store.messages.open_bundle(7, "whale:BTC", since=NOW - 1) is None


def test_alerts_are_counted_by_the_hour_they_happened_in(store: Store) -> None:
    for number, at in enumerate((3599.9, 3600.0, 7199.0, 7200.0, 90_000.0)):
        store.messages.add_alert(whale(f"k{number}", at=at), now=NOW)
    assert store.messages.alerts_by_hour(since=3600.0) == {3600: 2, 7200: 1, 90_000: 1}


def test_an_alert_is_known_by_its_key_and_listed_newest_first(store: Store) -> None:
    assert store.messages.add_alert(whale("k1", facts="1"), now=NOW)
    assert not store.messages.add_alert(whale("k1", facts="9"), now=NOW)
    assert store.messages.add_alert(whale("k2", symbol="ETH", at=NOW + 2, facts="2"), now=NOW)
    assert store.messages.add_alert(whale("k3", at=NOW + 1, facts="3"), now=NOW)
    assert [found.facts for found in store.messages.alerts("whales")] == ["2", "3", "1"]
    assert [found.facts for found in store.messages.alerts("whales", "BTC", limit=1)] == ["3"]


def test_stale_commands_are_counted_for_each_chat_and_taken_once(store: Store) -> None:
    for at in (NOW, NOW - 50, NOW - 20):
        store.chats.add_stale(7, thread_id=None, at=at)
    store.chats.add_stale(8, thread_id=3, at=NOW)
    rows = {row.chat_id: row[1:] for row in store.chats.take_stale()}
    assert rows == {7: (None, 3, NOW - 50, NOW), 8: (3, 1, NOW, NOW)}
    assert store.chats.take_stale() == []


def test_pruning_forgets_what_is_settled_and_old_and_nothing_that_waits(store: Store) -> None:
    waiting, sent, recent = say(store, 7, "waits"), say(store, 7, "sent"), say(store, 7, "recent")
    for delivery_id, at in ((sent, NOW), (recent, NOW + 3 * DAY)):
        delivery = store.delivery(delivery_id)
        assert delivery is not None
        store.settle_sent(delivery, message_id=1, now=at)
    store.chats.mark_handled(1, now=NOW)
    store.chats.mark_handled(2, now=NOW + 3 * DAY)
    store.messages.add_alert(whale("old", at=NOW - 31 * DAY), now=NOW)
    store.messages.add_alert(whale("new"), now=NOW)
    store.chats.put(Chat(chat_id=7, added_by=7))
    store.prune(now=NOW + 3.5 * DAY)
    assert [row[0] for row in store.pending()] == [waiting]
    assert store.messages.counts(since=0) == {"pending": 1, "sent": 1, "buried": 0}
    assert (store.chats.handled(1), store.chats.handled(2)) == (False, True)
    assert not store.messages.add_alert(whale("new"), now=NOW), "an alert of today stays known"
    assert store.messages.add_alert(whale("old"), now=NOW)
    assert store.chats.get(7) is not None


@pytest.mark.parametrize("count", [9, 10, 11, 95])
def test_pruning_in_small_steps_forgets_all_of_it_in_every_table(
    store: Store, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PRUNED_AT_ONCE", 10)
    for number in range(count):
        at = NOW + number
        store.messages.add_alert(whale(f"k{number}", at=at), now=at)
        for chat_id, bundle in ((7, "whales:BTC:loud"), (8, None)):
            store.messages.add_to_bundle(say(store, chat_id, "x", bundle=bundle), f"k{number}")
        store.messages.hold(9, f"k{number}", why="muted", at=at)
        store.messages.hold(10, f"k{number}", why="quiet", at=at)
        store.chats.mark_handled(number, now=at)
        store.markets.add_gap("Kraken", "BTC", missed=number, start=at, end=at)
        store.markets.add_bars([Bar("BTC", int(NOW) + 300 * number, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
        store.chats.put_user(User(user_id=1000 + number, name="spam", state="stranger", at=at))
    store.chats.put_user(User(user_id=1, name="Ann", state="allowed", at=NOW))
    for delivery in pending(store):
        store.settle_sent(delivery, message_id=1, now=NOW)
    tables = ("alerts", "bundled", "deliveries", "held", "inbox", "bars", "users")
    store._db.write("UPDATE gaps SET noted_at = ?", NOW)

    def left() -> dict[str, int]:
        return {name: store._db.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in (*tables, "gaps")}

    store.prune(now=NOW + 4 * DAY)
    assert left()["deliveries"] == count, "a message with alerts stays, for /history"
    assert left()["inbox"] == 0
    assert left()["alerts"] == count
    store.prune(now=NOW + 40 * DAY)
    assert left() == {name: 0 for name in tables} | {"users": 1, "gaps": 0, "alerts": count, "held": count}
    store.messages.settle_held(10, "told")
    store.prune(now=NOW + 40 * DAY)
    assert (left()["alerts"], left()["held"]) == (0, 0)


def test_a_file_does_not_grow_while_as_much_goes_as_comes(store: Store, path: Path) -> None:
    sizes = []
    for day in range(45):
        now = NOW + day * DAY
        with store.transaction():
            for number in range(50):
                key = f"{day}:{number}"
                store.messages.add_alert(whale(key, at=now, facts="x" * 300), now=now)
                store.messages.add_to_bundle(
                    store.messages.enqueue(7, "sendMessage", {"text": "x" * 300}, now=now, bundle=key), key
                )
        for delivery in pending(store):
            store.settle_sent(delivery, message_id=1, now=now)
        store.prune(now=now)
        sizes.append(path.stat().st_size)
    assert sizes[-1] <= 1.05 * sizes[33]


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
