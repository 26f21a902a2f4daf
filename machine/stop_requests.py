"""How a bot is asked to stop: signals, Windows console events, and a file in its folder.

A signal handler only puts a number on a `SimpleQueue`: setting an Event in a handler can deadlock the thread that
waits on it. The file is for where no signal can be sent, as on Windows. Only the bot's own OS user can write it; it
names the process, so an old file stops no other.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from base import files

FILE = "stop.json"
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # each where the platform has it
CLOSE_EVENTS = (2, 5, 6)  # Windows: console closed, logoff, shutdown
CLOSE_GRACE = 4.0  # Windows ends the process 5 s after the console was closed


class Signals:
    """The first signal is put on `events`, the second ends the process at once."""

    def __init__(self, events: queue.SimpleQueue[object]) -> None:
        self._events = events
        self._asked = False
        self._done = threading.Event()
        self._console_handler: object = None

    def install(self) -> None:
        """Call it from the main thread. SIGINT is handled even if the parent ignored it (nohup, &)."""
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                signal.signal(number, self._on_signal)
        self._install_console_handler()

    def done(self) -> None:
        """The process has cleaned up: a console that is being closed need not wait."""
        self._done.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            os._exit(128 + number)
        self._asked = True
        self._events.put(number)

    def _install_console_handler(self) -> None:
        if sys.platform != "win32":
            return
        import ctypes

        # Called in a thread of its own; when it returns from a close event, Windows ends the process.
        def on_event(event: int) -> int:
            if event not in CLOSE_EVENTS:
                return 0  # Ctrl-C and Ctrl-Break come as signals
            self._events.put(event)
            self._done.wait(CLOSE_GRACE)
            return 1

        self._console_handler = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)(on_event)
        ctypes.windll.kernel32.SetConsoleCtrlHandler(self._console_handler, 1)


def ask(folder: Path, pid: int) -> None:
    """Ask process `pid` to stop; it checks about once a second. Raises OSError."""
    files.write_json(folder / FILE, {"pid": pid})


def asked(folder: Path) -> bool:
    """Whether the file asks this process to stop. The file is removed."""
    path = folder / FILE
    if not path.exists():
        return False
    request = files.read_json(path)
    withdraw(folder)
    return request is not None and request.get("pid") == os.getpid()


def withdraw(folder: Path) -> None:
    try:
        (folder / FILE).unlink(missing_ok=True)
    except OSError:
        pass  # it names a process that may end before the next try; it cannot stop another
