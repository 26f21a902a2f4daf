"""The machine-wide half of the instance lock: a kernel object with a name instead of a file.

It crosses OS users and folders, survives `rm bot.lock`, and is gone the instant its process is gone. Linux: an
abstract UNIX socket. Windows: a `Global\\` mutex. Elsewhere there is none, and the lock file stands alone.
The socket ends at a network namespace: two containers do not see each other's.

The name carries a keyed hash of the token's secret: who does not know the token cannot hold the name before the bot
does. It does not prove anything: while the bot runs, every account can read the name (/proc/net/unix).

Sources: unix(7) and socket(7) (abstract names, SO_PEERCRED); Microsoft's page of CreateMutexW.
"""

from __future__ import annotations

import errno
import hmac
import logging
import socket
import struct
import sys
from enum import Enum, auto

from machine.holder import user_name

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

log = logging.getLogger(__name__)

APP = "cryptosat"


class Take(Enum):
    """What an attempt to take the lock led to."""

    TAKEN = auto()
    HELD_BY_ANOTHER = auto()
    UNAVAILABLE = auto()  # this system or sandbox has no such lock (a warning is logged where it should have one)


class NoMachineLock:
    """Stands in on a system that has no such lock: never taken, never held by another."""

    taken = False

    def __init__(self, bot_id: int, secret: str) -> None:
        name = f"{APP}-lock/{bot_id}"
        self._name = f"{name}/{hmac.digest(secret.encode(), name.encode(), 'sha256').hex()[:32]}"

    def take(self) -> Take:
        """Try once, without waiting."""
        return Take.UNAVAILABLE

    def peer(self) -> tuple[int | None, str]:
        """The pid (None: in another container) and the OS user of whoever holds it; (None, "") if nobody is seen."""
        return None, ""

    def surely_free(self) -> bool:
        """Is it certain that no process has it? Takes nothing."""
        return False

    def drain(self) -> None:
        """Clear the questions of `peer()` that wait in the kernel's queue."""

    def drop(self) -> None:
        """Let go."""


def _unavailable(reason: object) -> Take:
    log.warning("The machine-wide lock is not available (%s). Only the lock file keeps other copies out.", reason)
    return Take.UNAVAILABLE


if sys.platform == "win32":

    class MachineLock(NoMachineLock):
        """A named mutex, visible to every session and account."""

        def __init__(self, bot_id: int, secret: str) -> None:
            super().__init__(bot_id, secret)
            self._name = f"Global\\{self._name.replace('/', '-')}"
            self._handle: int | None = None
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            self._kernel.CreateMutexW.restype = self._kernel.OpenMutexW.restype = wintypes.HANDLE
            self._kernel.CreateMutexW.argtypes = [ctypes.c_void_p, wintypes.BOOL, wintypes.LPCWSTR]
            self._kernel.OpenMutexW.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR]
            self._kernel.CloseHandle.argtypes = [wintypes.HANDLE]

        def take(self) -> Take:
            handle = self._kernel.CreateMutexW(None, False, self._name)
            error = ctypes.get_last_error()
            if handle and error != 183:  # ERROR_ALREADY_EXISTS
                self._handle, self.taken = handle, True
                return Take.TAKEN
            if handle:
                self._kernel.CloseHandle(handle)  # kept, it would outlive the holder and shut everybody out
            if handle or error == 5:  # ERROR_ACCESS_DENIED: another account's
                return Take.HELD_BY_ANOTHER
            return _unavailable(ctypes.WinError(error))

        def surely_free(self) -> bool:
            handle = self._kernel.OpenMutexW(0x00100000, False, self._name)  # SYNCHRONIZE
            error = ctypes.get_last_error()
            if handle:
                self._kernel.CloseHandle(handle)
            return not handle and error == 2  # ERROR_FILE_NOT_FOUND

        def drop(self) -> None:
            if self._handle is not None:
                self._kernel.CloseHandle(self._handle)
            self._handle, self.taken = None, False

elif sys.platform == "linux":

    class MachineLock(NoMachineLock):
        """A listening socket with an abstract name, so that a second start can ask who has it.

        `surely_free` is never true: another network namespace has names of its own.
        """

        _socket: socket.socket | None = None

        def take(self) -> Take:
            found: socket.socket | None = None
            try:
                found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                found.setblocking(False)
                found.bind(f"\0{self._name}")
                found.listen(socket.SOMAXCONN)
            except OSError as error:
                if found is not None:
                    found.close()
                return Take.HELD_BY_ANOTHER if error.errno == errno.EADDRINUSE else _unavailable(error.strerror)
            self._socket, self.taken = found, True
            return Take.TAKEN

        def peer(self) -> tuple[int | None, str]:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                    probe.setblocking(False)  # a full queue must not hold up a refusal
                    probe.connect(f"\0{self._name}")
                    raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            except OSError:
                return None, ""
            pid, uid, _gid = struct.unpack("iII", raw)
            return pid or None, user_name(uid)

        def drain(self) -> None:
            try:
                while self._socket is not None:
                    self._socket.accept()[0].close()
            except OSError:
                pass  # the queue is empty

        def drop(self) -> None:
            if self._socket is not None:
                self._socket.close()
            self._socket, self.taken = None, False

else:
    MachineLock = NoMachineLock
