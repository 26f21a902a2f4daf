"""How much time went by, also while the process was frozen, the computer slept or a virtual machine was paused.

No single clock counts all of these: Linux's and macOS's monotonic clocks rest while the computer sleeps, a paused
virtual machine stops them all and only the wall clock is set right later. So the clock that went furthest counts. A
wall clock that is set forward looks like a pause, which costs a question more than needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


def _boot_time() -> list[Clock]:
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux
        return [lambda: time.clock_gettime(time.CLOCK_BOOTTIME)]
    return []


CLOCKS: tuple[Clock, ...] = (time.monotonic, time.time, *_boot_time())  # seconds each


class Stopwatch:
    """Runs from the moment it is made. clocks: each gives seconds."""

    def __init__(self, clocks: tuple[Clock, ...] = CLOCKS) -> None:
        self._began = [(clock, clock()) for clock in clocks]

    def elapsed(self) -> float:
        """Seconds since then, by the clock that went furthest. Never negative."""
        return max(0.0, *(clock() - began for clock, began in self._began))
