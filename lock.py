"""One instance of a bot per machine: the right to run, held by the kernel.

The key is the numeric bot id; the token's secret half is only hashed. There are two locks. Both are gone the instant
the process is gone, however it ends, so nothing left behind can block a start:

- The file lock, on `bot.lock` in the bot's folder, keeps out every other start by the same OS user.
- The machine-wide lock works across OS users and folders and survives `rm bot.lock`. macOS has none, and a sandbox
  may forbid it. Containers share only the file lock, on a shared volume.

The file lock is taken first; if the machine-wide lock is then refused, it is released. /proc/locks: see proc(5).
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from base import files
from machine import holder as records
from machine import private
from machine.holder import Holder, refusal, user_name
from machine.machine_lock import MachineLock, Take

log = logging.getLogger(__name__)

# A soft lock would outlive a crash. The file itself stays, so that all copies lock the same one.
_file_lock = partial(FileLock, mode=0o600, thread_local=False, preserve_lock_file=True, fallback_to_soft=False)
POLL = 0.05  # seconds between two tries of a waiting start
GLANCE = 0.2  # seconds that a start takes at least: `holder()` of another process may have the file for an instant
TOUCH_EVERY = 3600.0  # seconds; programs that delete old files must see that this one is in use


class LockError(Exception):
    """The lock cannot be used for a reason the user can fix: what happened, what it means, what to do."""


class LockLost(LockError):
    """The lock file is gone and the machine-wide lock is not held: a second copy may be running."""


class InstanceLock:
    """The right to run as the bot of `token` on this machine. Making the object touches nothing.

    It lasts until `release()` or the end of the process. A forked child does not hold it: daemonise first, then lock.
    machine_wide: False leaves only the file lock. held: whether this process has it. same_folder: whether the last
    refusal came from this folder's own lock file. name: the bot's user name, for people.
    """

    def __init__(self, folder: Path, token: str, *, name: str = "", machine_wide: bool = True) -> None:
        self.folder = folder
        self.path = folder / "bot.lock"
        self.record_path = folder / "holder.json"
        number, _, secret = token.partition(":")
        self.bot_id = int(number)
        self.name = name
        self.held = False
        self.same_folder = False
        self._machine_lock = MachineLock(self.bot_id, secret) if machine_wide else None
        self._file: FileLock | None = None
        self._seen = (0, 0)
        self._since = 0.0
        self._touched = 0.0
        self._warned: str | None = None
        self._details: dict[str, object] = {}  # of the record; the first check finds them, after the start
        self._mutex = threading.RLock()  # check() runs in another thread than release()

    def rename(self, name: str) -> None:
        """Take the bot's user name, which is usually known only after the lock is held, and record it."""
        with self._mutex:
            if name != self.name:
                self.name = name
                if self.held:
                    self._write_record()

    def acquire(self, timeout: float = GLANCE, *, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Try for `timeout` seconds (math.inf: as a standby), or until `cancelled()`; True if the lock is now held.

        Raises LockError when the lock cannot be used at all, which never counts as free.
        """
        with self._mutex:
            if not self.held:
                self._file = None  # one made before a fork would refuse to work in the child
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while not cancelled():
            with self._mutex:
                if self.held or self._try():
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            pause.wait(min(POLL, left))
        return False

    def release(self) -> None:
        """Let go; the lock file stays. Has no effect the second time, and none in a forked child."""
        with self._mutex:
            if not self.held:
                return
            self.held = False
            # After a lost lock the record may already be a successor's.
            if (files.read_json(self.record_path) or {}).get("pid") == os.getpid():
                try:
                    self.record_path.unlink()
                except OSError as error:
                    log.debug("%s was not removed: %s", self.record_path, error)
            self._let_go()

    def __enter__(self) -> InstanceLock:
        if not self.acquire():
            raise LockError(refusal(self.holder(), self.bot_id, self.name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def holder(self) -> Holder | None:
        """Who runs the bot, from the machine-wide lock, /proc/locks or holder.json; None when nobody is known to.

        The lock decides: a record of another computer or from before a restart is only a hint. Where such a record is
        all there is, the lock file is tried for an instant, which every start outlasts (GLANCE).
        """
        if self._machine_lock is not None and not self.held and self._machine_lock.surely_free():
            return None
        record = records.read(self.record_path)
        pid, user = self._machine_lock.peer() if self._machine_lock is not None else (None, "")
        pid = pid or _flock_holder(self.path)
        if pid:
            return records.of_process(pid, user=user, record=record)
        if record is not None and not records.is_left_over(record) and self._is_locked():
            return records.of_record(record)
        return Holder(user=user, sure=True) if user else None  # seen, but in another container

    def _is_locked(self) -> bool:
        """Whether some process has the lock file, or it cannot be tried."""
        try:
            if self.held or not self.path.is_file():
                return self.held
            if sys.platform != "win32":
                import fcntl

                with self.path.open("rb") as file:  # shared: of two that look at once neither is the holder
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            probe = _file_lock(self.path)
            probe.acquire(blocking=False)
        except OSError:  # also filelock's Timeout
            return True
        probe.release(force=True)
        return False

    def check(self) -> str | None:
        """Check that the lock file is still ours; to be called about every 30 s. Touches it once an hour.

        The first check completes the record. If the file was deleted or replaced, a new one is locked and a sentence
        for the log is returned, once; else None.
        Raises LockLost without the machine-wide lock: a second copy may run already, so the bot must stop polling.
        """
        with self._mutex:
            if not self.held:
                return None
            if self._machine_lock is not None:
                self._machine_lock.drain()
            damage = self._damage()
            if damage is None:
                if not self._details:
                    self._details = records.details()
                    self._write_record()
                self._touch()
                self._warned = None
                return None
            if self._machine_lock is None or not self._machine_lock.taken:
                raise LockLost(
                    f"The lock file {self.path} {damage} while the bot ran, and there is no machine-wide lock. "
                    "A second copy may have started, so this one must stop. Start it again and don't delete the lock "
                    "file; that stops no bot."
                )
            before, self._warned = self._warned, self._relock(damage)
            return self._warned if self._warned != before else None

    def _try(self) -> bool:
        _HOLDERS.add(self)  # before the socket exists: no fork may carry it away
        try:
            self.held = self._try_file() and not self._held_elsewhere()
        finally:
            if not self.held:
                self._let_go()
        if self.held:
            self._since, self._touched, self._warned = time.time(), time.monotonic(), None
            self._write_record()
        return self.held

    def _try_file(self) -> bool:
        self.same_folder = False
        self._file = self._file or self._new_file_lock()
        try:
            self._lock(self._file)
        except Timeout:
            self.same_folder = True
            return False
        except OSError as error:
            # Such a file proves nothing and never counts as free. The machine-wide lock may know more.
            if self._held_elsewhere():
                return False
            raise LockError(_explain(self.path, error)) from error
        return True

    def _lock(self, file: FileLock) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.acquire(blocking=False)

    def _held_elsewhere(self) -> bool:
        """Try the machine-wide lock: does another process have it?"""
        return self._machine_lock is not None and self._machine_lock.take() is Take.HELD_BY_ANOTHER

    def _let_go(self) -> None:
        if self._machine_lock is not None:
            self._machine_lock.drop()
        if self._file is not None:
            self._file.release(force=True)
        _HOLDERS.discard(self)

    def _forget(self) -> None:
        # In a forked child. filelock closes its own descriptor there and refuses to be used again.
        self.held = False
        self._file = None
        self._details = {}
        self._mutex = threading.RLock()  # another thread may have been inside it
        if self._machine_lock is not None:
            self._machine_lock.drop()

    def _new_file_lock(self) -> FileLock:
        return _file_lock(self.path, on_acquired=self._remember)

    def _remember(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._seen = (found.st_dev, found.st_ino)

    def _damage(self) -> str | None:
        if sys.platform == "win32":  # nobody can delete or replace a file that is held open there
            return None
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return "was deleted"
        except OSError as error:
            log.debug("%s cannot be checked now: %s", self.path, error)
            return None
        return None if (found.st_dev, found.st_ino) == self._seen else "was replaced"

    def _touch(self) -> None:
        if time.monotonic() - self._touched < TOUCH_EVERY:
            return
        self._touched = time.monotonic()
        try:
            os.utime(self.path)
        except OSError as error:
            log.debug("%s was not touched: %s", self.path, error)

    def _relock(self, damage: str) -> str:
        if (open_to_others := private.trouble(self.folder)) is not None:
            raise LockLost(f"The lock file {self.path} {damage} while the bot ran. {open_to_others}")
        warning = f"The lock file {self.path} {damage}. The machine-wide lock still keeps other copies out."
        fresh = self._new_file_lock()
        try:
            self._lock(fresh)
        except OSError as error:
            # Also filelock's Timeout: a second start has it until the machine-wide lock refuses it.
            reason = "another process holds it" if isinstance(error, Timeout) else error.strerror or error
            return f"{warning} It could not be locked again ({reason}); the bot tries again at every check."
        self._file, old = fresh, self._file
        if old is not None:
            old.release(force=True)
        self._write_record()
        return f"{warning} It is locked again. Don't delete it; that stops no bot."

    def _write_record(self) -> None:
        known = {"bot_id": self.bot_id, "username": self.name, "lock": str(self.path), **self._details}
        records.write_record(self.record_path, known, since=self._since)


def _explain(path: Path, error: OSError) -> str:
    found = _found(path)
    mode = found.st_mode if found else 0
    if stat.S_ISLNK(mode):
        what, fix = "is a symbolic link, not a file", "Remove the link"
    elif stat.S_ISDIR(mode):
        what, fix = "is a folder, not a file", "Remove or rename it"
    elif isinstance(error, PermissionError):
        found = found or _found(path.parent)
        owner = user_name(found.st_uid) if found and sys.platform != "win32" else "another account"
        what = f"may not be written by {user_name()}; it belongs to {owner}"
        fix = f"Start the bot as {owner}, or give {path.parent} to {user_name()}, or set DATA_DIR to another folder"
    else:
        what = f"cannot be locked ({error.strerror or error})"
        fix = "Free or repair the disk it is on, or set DATA_DIR to a folder on a local disk"
    return f"The lock file {path} {what}. Only it keeps a second copy out, so the bot does not start. {fix}."


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _flock_holder(path: Path) -> int | None:
    """The pid that /proc/locks names for the file (Linux; None elsewhere, and for a holder in another container)."""
    found = _found(path)
    if sys.platform != "linux" or found is None:
        return None
    try:
        table = Path("/proc/locks").read_text(encoding="utf-8")
    except OSError:
        return None
    # "1: FLOCK  ADVISORY  WRITE 4321 fe:00:260072 0 EOF"; a waiter's line has "->" for its second word.
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in table.splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[3] == "WRITE" and words[5] == wanted:
            return int(words[4]) or None
    return None


# Keeps every held lock alive, and says what a forked child must not carry on.
_HOLDERS: set[InstanceLock] = set()


def _forget_in_child() -> None:
    for lock in _HOLDERS:
        lock._forget()
    _HOLDERS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
