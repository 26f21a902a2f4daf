"""The machine-wide half of the instance lock: a kernel object with a name instead of a file.

It crosses OS users and folders, survives `rm bot.lock`, and is gone the instant its process is gone. Linux: an
abstract UNIX socket. Windows: a `Global\\` mutex. Elsewhere there is none, and the lock file stands alone.
The socket ends at a network namespace: two containers do not see each other's.

Sources: unix(7) and socket(7) (abstract names, SO_PEERCRED); Microsoft's page of CreateMutexW.
"""

from __future__ import annotations

import errno
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

NO_LOCK = "The machine-wide lock is not available (%s). Only the lock file keeps other copies out."

APP = "cryptosat"


class Take(Enum):
    """What an attempt to take the lock led to."""

    TAKEN = auto()
    HELD_BY_ANOTHER = auto()
    UNAVAILABLE = auto()  # this system or sandbox has no such lock (a warning is logged where it should have one)


if sys.platform == "win32":

    class MachineLock:
        """A named mutex, visible to every session and account."""

        def __init__(self, bot_id: int) -> None:
            self._name = f"Global\\{APP}-lock-{bot_id}"
            self._handle: int | None = None
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            self._kernel.CreateMutexW.restype = wintypes.HANDLE
            self._kernel.CreateMutexW.argtypes = [ctypes.c_void_p, wintypes.BOOL, wintypes.LPCWSTR]
            self._kernel.OpenMutexW.restype = wintypes.HANDLE
            self._kernel.OpenMutexW.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR]
            self._kernel.CloseHandle.argtypes = [wintypes.HANDLE]

        @property
        def taken(self) -> bool:
            return self._handle is not None

        def take(self) -> Take:
            """Try once, without waiting."""
            handle = self._kernel.CreateMutexW(None, False, self._name)
            error = ctypes.get_last_error()
            if handle and error != 183:  # ERROR_ALREADY_EXISTS
                self._handle = handle
                return Take.TAKEN
            if handle:
                self._kernel.CloseHandle(handle)  # kept, it would outlive the holder and bar everybody
                return Take.HELD_BY_ANOTHER
            if error == 5:  # ERROR_ACCESS_DENIED: another account's
                return Take.HELD_BY_ANOTHER
            log.warning(
                NO_LOCK,
                ctypes.WinError(error),
            )
            return Take.UNAVAILABLE

        def peer(self) -> tuple[int | None, str]:
            return None, ""  # a mutex does not tell

        def surely_free(self) -> bool:
            """Does no process have it? Asked by opening what is there, which takes nothing."""
            handle = self._kernel.OpenMutexW(0x00100000, False, self._name)  # SYNCHRONIZE
            error = ctypes.get_last_error()
            if handle:
                self._kernel.CloseHandle(handle)
            return not handle and error == 2  # ERROR_FILE_NOT_FOUND

        def drain(self) -> None:
            pass

        def drop(self) -> None:
            if self._handle is not None:
                self._kernel.CloseHandle(self._handle)
                self._handle = None

elif sys.platform == "linux":

    class MachineLock:
        """A listening socket with an abstract name, so that a second start can ask who has it."""

        def __init__(self, bot_id: int) -> None:
            self._address = f"\0{APP}-lock/{bot_id}"
            self._socket: socket.socket | None = None

        @property
        def taken(self) -> bool:
            return self._socket is not None

        def take(self) -> Take:
            """Try once, without waiting."""
            found: socket.socket | None = None
            try:
                found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                found.setblocking(False)
                found.bind(self._address)
                found.listen(socket.SOMAXCONN)
            except OSError as error:
                if found is not None:
                    found.close()
                if error.errno == errno.EADDRINUSE:
                    return Take.HELD_BY_ANOTHER
                log.warning(
                    NO_LOCK,
                    error.strerror or error,
                )
                return Take.UNAVAILABLE
            self._socket = found
            return Take.TAKEN

        def peer(self) -> tuple[int | None, str]:
            """The pid (None: in another container) and the OS user of whoever holds it; (None, "") if nobody does."""
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                    probe.setblocking(False)  # a full queue must not hold a refusal up
                    probe.connect(self._address)
                    raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            except OSError:
                return None, ""
            pid, uid, _gid = struct.unpack("iII", raw)
            return pid or None, user_name(uid)

        def surely_free(self) -> bool:
            return False  # another network namespace has names of its own; `peer` tells what can be told

        def drain(self) -> None:
            """Take the questions off the queue: the kernel keeps each until it is accepted."""
            try:
                while self._socket is not None:
                    self._socket.accept()[0].close()
            except OSError:
                pass

        def drop(self) -> None:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

else:

    class MachineLock:
        """Not available on this system."""

        taken = False

        def __init__(self, bot_id: int) -> None:
            pass

        def take(self) -> Take:
            return Take.UNAVAILABLE

        def peer(self) -> tuple[int | None, str]:
            return None, ""

        def surely_free(self) -> bool:
            return False

        def drain(self) -> None:
            pass

        def drop(self) -> None:
            pass
