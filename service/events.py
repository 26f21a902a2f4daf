"""What the main thread waits for: a signal, a stop file, or what a part of the bot reports."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from base import exit_codes
from machine import stop_requests
from service.systemd import Notifier

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds: how soon a stop file is noticed

Events = queue.SimpleQueue[object]


class End(NamedTuple):
    """A reason to stop: the exit code and a sentence for people."""

    code: int
    message: str


def died(thread: str) -> End:
    """A thread ended by itself: the process ends, too."""
    words = f"The thread {thread} ended unexpectedly, so the bot stops. The error is in the lines above."
    return End(exit_codes.CRASHED, words)


def next_event(events: Events, folder: Path, *, meanwhile: Callable[[], object]) -> object:
    """The next one; a signal or a stop file becomes an End. Nothing here waits for another thread or the store.

    meanwhile: called about every LOOK seconds.
    """
    while True:
        try:
            # In slices: on Windows a wait without an end could not be interrupted by Ctrl-C.
            event = events.get(timeout=LOOK)
        except queue.Empty:
            if stop_requests.asked(folder):
                return End(exit_codes.STOPPED, "Stopping: `bot.py stop` asked for it.")
            meanwhile()
        else:
            return End(exit_codes.STOPPED, f"Stopping (signal {event})") if isinstance(event, int) else event


def begin_end(end: End, notifier: Notifier) -> None:
    """The process ends now, whatever hangs: to the log, to the service manager, and to the watch over the end."""
    from service.watchdog import end_for_sure  # not needed before

    end_for_sure(end.code)
    notifier.stopping()
    log.log(logging.ERROR if end.code else logging.INFO, "%s", end.message)
