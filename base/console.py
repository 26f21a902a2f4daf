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
DRAIN = 0.3  # seconds that the end of the process waits for it; less than any supervisor's patience


class Console:
    """Prints what it is given, in order. room: how many texts may wait; what comes when it is full is left out."""

    def __init__(self, room: int = ROOM) -> None:
        self._waiting: queue.Queue[tuple[TextIO, str]] = queue.Queue(room)
        self._left_out = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def print(self, text: str, stream: TextIO) -> None:
        """Have the text and a line break written. Returns at once, whatever the console does."""
        with self._lock:
            if self._thread is None:  # a daemon: it may hang in a write when the process ends
                self._thread = threading.Thread(target=self._run, name="console", daemon=True)
                self._thread.start()
            left_out = self._left_out
            if left_out:
                text = f"({left_out} lines were left out here: the console took no output. bot.log has them.)\n{text}"
            try:
                self._waiting.put_nowait((stream, f"{text}\n"))
                self._left_out = 0
            except queue.Full:
                self._left_out += 1

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
        self._hangs = False

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging` for each record."""
        try:
            self._console.print(self.format(record), self._stream)
        except Exception:  # as every handler of `logging` does: a bad line must not end what wrote it
            self.handleError(record)

    def flush(self) -> None:
        """Called by `logging` at the end of the process, twice."""
        self._hangs = self._hangs or not self._console.drain()


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
