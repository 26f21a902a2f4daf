"""The console, written by a thread of its own: one that takes no output (a selected Windows console, a full pipe)
holds up nobody. What finds no room waits in memory up to a limit, and is counted beyond it.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from typing import TextIO

ROOM = 1000  # lines that wait for the console
LEFT_OUT = "The console took no output; %d lines are missing here. The log file has them."
DRAIN = 0.3  # seconds that the end of the process waits for it; less than any supervisor's patience


class Console:
    """Prints what it is given, in order. room: how many texts may wait."""

    def __init__(self, room: int = ROOM) -> None:
        self._waiting: queue.Queue[tuple[TextIO, str]] = queue.Queue(room)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def print(self, text: str, stream: TextIO) -> bool:
        """Have the text and a line break written; False when too much waits. Returns at once, whatever happens."""
        with self._lock:
            if self._thread is None:  # a daemon: it may hang in a write when the process ends
                self._thread = threading.Thread(target=self._run, name="console", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait((stream, f"{text}\n"))
        except queue.Full:
            return False
        return True

    def drain(self, within: float = DRAIN) -> bool:
        """Wait until everything is written, for at most so many seconds; whether it is."""
        with self._waiting.all_tasks_done:
            return self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, within)

    def _run(self) -> None:
        while True:
            stream, text = self._waiting.get()
            try:
                _write(stream, text)
            except (OSError, ValueError):
                pass  # the console is gone; the file has the line
            finally:
                self._waiting.task_done()


class ConsoleHandler(logging.Handler):
    """Logs to a stream of the console through its queue."""

    def __init__(self, console: Console, stream: TextIO) -> None:
        super().__init__()
        self._console, self._stream = console, stream
        self._hangs, self._left_out = False, 0

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging` for each record."""
        try:
            if self._left_out and self._show(logging.WARNING, LEFT_OUT, self._left_out):
                self._left_out = 0
            if not self._console.print(self.format(record), self._stream):
                self._left_out += 1
        except Exception:  # as every handler of `logging` does: a bad line must not end what wrote it
            self.handleError(record)

    def _show(self, level: int, words: str, *values: object) -> bool:
        record = logging.LogRecord(__name__, level, __file__, 0, words, values, None)
        return self._console.print(self.format(record), self._stream)

    def flush(self) -> None:
        """Called by `logging` at the end of the process, twice."""
        self._hangs = self._hangs or not self._console.drain()


def interactive() -> bool:
    """Can this process ask questions: a terminal at both ends, and not in its background."""
    if sys.stdin is None or sys.stdout is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if sys.platform != "win32":
        try:
            return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
        except OSError:
            return False
    return True


def _write(stream: TextIO, text: str) -> None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if raw is None:  # not a console but an object in its place
        stream.write(text)
        stream.flush()
        return
    # Past the buffer, whose lock a hanging write would hold: the interpreter could not end then.
    rest = text.replace("\n", os.linesep).encode(stream.encoding, "backslashreplace")
    pause = threading.Event()
    while rest:
        written = raw.write(rest)
        if written is None:  # a pipe that its reader set to not blocking
            pause.wait(0.05)
        else:
            rest = rest[written:]


console = Console()


def show(text: str) -> None:
    """Print a text for the person at the terminal, which must not stand in any log."""
    if sys.stdout is not None:
        console.print(text, sys.stdout)
