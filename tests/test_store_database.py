"""The database: nothing committed is lost, nothing half is kept, and trouble with the disk is told in words."""

from __future__ import annotations

import contextlib
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
from conftest import BOT_ID, ROOT, NewStore
from storekit import NOW, file_only, full_disk, pending, raw, say, texts

from botapi.storage import StoreError
from machine.folders import network_disk
from store import Store, sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


def test_what_is_in_one_transaction_is_kept_together_or_not_at_all(store: Store, new_store: NewStore) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        store.chats.mark_handled(1, now=NOW)
        say(store, 7, "pong")
        raise RuntimeError("a bug")
    assert not store.chats.handled(1)
    assert texts(store) == []
    with store.transaction():
        store.chats.mark_handled(1, now=NOW)
        say(store, 7, "pong")
    other = new_store()
    assert other.chats.handled(1)
    assert texts(other) == ["pong"]


def test_a_transaction_sees_what_it_wrote_and_not_what_it_took_back(store: Store) -> None:
    """Though it asks the same again, which is not asked twice where nothing was written between."""
    store.set_value("name", "old")
    with store.transaction():
        assert store.value("name") == "old"
        store.set_value("name", "new")
        assert store.value("name") == store.value("name") == "new"
        with contextlib.suppress(RuntimeError), store.savepoint():
            store.set_value("name", "newest")
            assert store.value("name") == "newest"
            raise RuntimeError("a bug")
        assert store.value("name") == "new"
        number = say(store, 7, "pong")
        assert texts(store) == ["pong"]
        store.messages.revise([number], {"text": "ping"}, now=NOW)
        assert texts(store) == ["ping"]
    with contextlib.suppress(RuntimeError), store.transaction():
        store.set_value("name", "undone")
        assert store.value("name") == "undone"
        raise RuntimeError("a bug")
    with store.transaction():
        assert store.value("name") == "new"


def test_a_transaction_inside_another_is_undone_with_it(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        with store.transaction():
            store.set_value("inner", "1")
        raise RuntimeError("a bug")
    assert store.value("inner") is None


def test_an_inner_transaction_that_fails_undoes_nothing_when_the_outer_goes_on(store: Store) -> None:
    with store.transaction():
        store.set_value("outer", "1")
        with contextlib.suppress(RuntimeError), store.transaction():
            raise RuntimeError("a bug")
        store.set_value("after", "2")
    assert (store.value("outer"), store.value("after")) == ("1", "2")


@file_only
def test_only_a_durable_transaction_waits_for_the_disk(store: Store) -> None:
    found = []
    for durable in (False, True, False):
        with store.transaction(durable=durable):
            found.append(store._db.number("PRAGMA synchronous"))
    assert found == [1, 2, 1], "sqlite.org/pragma.html: 1 NORMAL, 2 FULL"


@file_only
def test_a_large_transaction_leaves_no_large_log_behind(store: Store, path: Path) -> None:
    with store.transaction():
        for _ in range(120):
            say(store, 7, "x" * 100_000)
    log = path.with_name("bot.db-wal")
    assert log.stat().st_size > 2 * sqlite.LOG_SIZE
    for _ in range(2):  # the log is cut when it is begun anew
        store._db.rows("PRAGMA wal_checkpoint")
        store.set_value("name", "1")
    assert log.stat().st_size <= sqlite.LOG_SIZE


@file_only
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


def test_a_statement_that_fails_in_a_savepoint_undoes_only_what_is_inside(store: Store) -> None:
    with store.transaction():
        store.set_value("before", "kept")
        with pytest.raises(store._db.engine.errors), store.savepoint():
            store.set_value("inside", "undone")
            store.chats.mark_handled(1, now=float("nan"))
        store.set_value("after", "kept")
    assert (store.value("before"), store.value("inside"), store.value("after")) == ("kept", None, "kept")


def test_an_error_in_a_savepoint_after_a_write_undoes_only_what_is_inside(store: Store) -> None:
    with store.transaction():
        store.set_value("before", "kept")
        for refused in (1.0, float("nan")):
            with pytest.raises((RuntimeError, *store._db.engine.errors)), store.savepoint():
                store.chats.mark_handled(1, now=refused)  # a server may not have been asked yet
                raise RuntimeError("a bug")
    assert store.value("before") == "kept"
    assert not store.chats.handled(1)


@file_only
def test_the_cause_is_told_when_sqlite_gave_up_the_whole_transaction_by_itself(store: Store) -> None:
    """It does so on a full disk; the savepoint is gone then, and that must not hide the first error."""
    with pytest.raises(StoreError, match="first"), store.transaction(), store.savepoint():
        store.set_value("name", "1")
        raw(store).execute("ROLLBACK")
        raise StoreError("the first error")
    assert store.value("name") is None


def test_a_bug_in_our_own_values_stays_a_bug_and_leaves_the_store_usable(store: Store) -> None:
    with pytest.raises(store._db.engine.errors):
        store.messages.enqueue(None, "sendMessage", {}, now=NOW)  # type: ignore[arg-type]
    say(store, 7, "on")
    assert texts(store) == ["on"]


@file_only
def test_a_full_disk_is_a_store_error_at_once_also_inside_a_transaction(store: Store) -> None:
    """Who skips a faulty command must be able to tell it from a disk that is full."""
    full_disk(store)
    with pytest.raises(StoreError, match="outside"), store.transaction():
        with pytest.raises(StoreError, match="Free some space"):
            say(store, 7, "x" * 100_000)
        raise StoreError("outside")


@file_only
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
        thread.join(30)
    assert store.value("count") == "200"
    rows = pending(store)
    for number in range(1, 5):
        mine = [row.payload["text"] for row in rows if row.chat_id == number]
        assert mine == [str(turn) for turn in range(50)], "each chat's messages keep their order"


WRITER = """
import sys
from pathlib import Path
from store import Store, place
store = Store(place(sys.argv[1], Path(sys.argv[2]), bot_id=int(sys.argv[3])))
number = 0
while True:
    number += 1
    with store.transaction(durable=number % 10 == 0):
        store.chats.mark_handled(number, now=1.0)
        store.messages.enqueue(7, "sendMessage", {"text": str(number)}, now=1.0)
        store.set_value("last", str(number))
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_committed_and_keeps_nothing_half(
    new_store: NewStore, path: Path, request: pytest.FixtureRequest
) -> None:
    server = request.node.callspec.params["new_store"] == "server"
    url = request.getfixturevalue("database_url") if server else ""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(path), str(BOT_ID)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert writer.stdout is not None
    try:
        for line in writer.stdout:
            if int(line) == 100:
                break
    finally:
        writer.kill()
    told = [int(line) for line in writer.stdout.read().split("\n")[:-1]] or [100]
    writer.wait(30)
    store = new_store()
    last = int(store.value("last") or 0)
    assert last >= told[-1] >= 100
    assert texts(store) == [str(number) for number in range(1, last + 1)]
    assert store.chats.handled(last)
    assert not store.chats.handled(last + 1)
    assert store.set_aside is None


# Trouble with the disk


@file_only
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
        say(store, 7, "little enough")
        full_disk(store)
        assert "is full" in str(store.trouble())
    full_disk(store, full=False)
    say(store, 7, "room again")
    store._db.steady = 0.0
    assert (store.trouble(), store.failing_for()) == (None, None)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "written again" in caplog.records[1].message


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_file_that_may_not_grow_loses_nothing_and_works_again_when_it_may(path: Path) -> None:
    """A real refusal of the kernel in the middle of a write, as a quota makes it; then the limit is lifted."""
    script = """
import resource, sys
from pathlib import Path
from botapi.storage import StoreError
from machine.folders import network_disk
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


@file_only
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


@file_only
def test_a_database_that_another_program_holds_locked_is_waited_for_and_then_refused_in_words(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    raw(store).execute("PRAGMA busy_timeout = 50")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            with pytest.raises(StoreError, match=r"Another program has locked .*Close that program"):
                say(store, 7, "waits")
        assert store.value("name") is None, "reading goes on"
        other.execute("ROLLBACK")
    say(store, 7, "free")
    assert texts(store) == ["free"]
    store._db.steady = 0.0
    assert store.trouble() is None
    assert len(caplog.records) == 2


@file_only
def test_a_start_while_another_program_holds_the_database_says_so_and_changes_nothing(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set_value("name", "kept")
    store.close()
    monkeypatch.setattr(sqlite, "BUSY_PATIENCE", 0.05)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"has locked .*\. Nothing was changed\. Close that program"):
            Store(path)
    again = Store(path)
    assert (again.value("name"), again.set_aside) == ("kept", None)
    again.close()


def test_a_database_on_a_network_disk_that_cannot_be_locked_is_no_other_programs_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bot.db"
    Store(path).close()
    monkeypatch.setattr(sqlite, "BUSY_PATIENCE", 0.1)
    monkeypatch.setattr(sqlite, "network_disk", lambda place: "nfs4")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"is on a network disk \(nfs4\).*Set DATA_DIR to a folder on a local"):
            Store(path)


@pytest.mark.skipif(sys.platform == "win32", reason="read from /proc")
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/me/bot", ""),
        ("/srv/share/bot", "nfs4"),
        ("/srv/my share/bot", "cifs"),
        ("/srv/share/local/bot", ""),
        ("/srv/twice/bot", "cifs"),
        ("/srv/shared", ""),
    ],
)
def test_a_network_disk_is_known_by_the_mount_that_is_nearest_and_on_top(
    tmp_path: Path, place: str, kind: str
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "mounts").write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /srv/share nfs4 rw 0 0\n//server/y /srv/my\\040share cifs rw 0 0\n"
        "/dev/sdb1 /srv/share/local ext4 rw 0 0\n/dev/sdc1 /srv/twice ext4 rw 0 0\n//s/z /srv/twice cifs rw 0 0\n\n",
        encoding="utf-8",
    )
    assert network_disk(Path(place), root=tmp_path) == kind


def test_a_write_that_fails_in_a_savepoint_undoes_what_is_inside_and_nothing_else(store: Store) -> None:
    with store.transaction():
        store.set_value("before", "1")
        with pytest.raises(store._db.engine.errors), store.savepoint():
            store.set_value("inside", "2")
            store._db.write("INSERT INTO facts (name, value) VALUES ('none', NULL)")  # told at the end on a server
        store.set_value("after", "3")
    assert [store.value(name) for name in ("before", "inside", "none", "after")] == ["1", None, None, "3"]
