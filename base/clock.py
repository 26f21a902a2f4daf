"""The time that every decision goes by: Telegram's, as far as it is known.

It starts with the computer's clock, runs by a counter that nobody can set, and is put right by what Telegram says. So
a computer whose clock is wrong, or jumps, changes no mute, no quiet hours, no digest and no age.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from base.text import duration

log = logging.getLogger(__name__)

WRONG = 60.0  # seconds by which the computer's clock is wrong enough to be logged
PATIENCE = 15.0  # seconds after which work begins without a word from Telegram
SETTLED = 600.0  # seconds after which the computer's new time is believed, where Telegram sends none
SLOT = 300.0  # seconds in which a time that only goes on is noted once
PHASE = 40.0  # seconds of the hour at which slots begin: by then the candles of a quiet five minutes are coming in
SURE = 3600.0  # seconds without a jump after which old records may be deleted, where Telegram sends no time


def slot(at: float, every: float = SLOT) -> float:
    """When the slot of the clock began that a time is in, both unix seconds.

    What is noted only because time goes on is noted in a new slot: so the notes of all parts come together, and what
    they have in common on the disk is written once. A clock that is put back is in another slot as well.
    """
    return (at - PHASE) // every * every + PHASE


def _counter() -> Callable[[], float]:
    """Seconds that keep counting while the computer sleeps, which `time.monotonic` does only on Windows."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):  # Linux; macOS
        if hasattr(time, name):
            number = getattr(time, name)
            return lambda: time.clock_gettime(number)
    return time.monotonic


class Clock:
    """Call it for the time, in unix seconds. Safe from any thread. wall: the computer's clock. counter: seconds."""

    def __init__(self, *, wall: Callable[[], float] = time.time, counter: Callable[[], float] | None = None) -> None:
        self._wall, self._counter = wall, counter or _counter()
        self._began = self._steady_since = self._counter()
        # Unix seconds when the counter was 0: for our time, for the computer's, and for what was taken from there.
        self._zero = self._wall_zero = self._followed = wall() - self._began
        self._told = self._answered = False
        self._misled = False  # by the server's Date

    def __call__(self) -> float:
        return self._zero + self._counter()

    def began(self) -> float:
        """When this clock was made, in unix seconds as they are known now."""
        return self._zero + self._began

    def told(self, date: float | None, *, took: float) -> None:
        """Telegram answered within the last `took` seconds, with this `Date` in whole seconds; None: without one."""
        if date is not None and not self._misled:
            self._told = True
            self._bound(date, date + 1 + took)
        self._answered = True

    def message(self, sent: float, *, since: float = math.inf) -> None:
        """A message has come that was sent at this time, and not more than `since` seconds ago.

        Servers without a `Date` tell the time by these alone, and so does one whose own clock turns out to be wrong.
        """
        if sent - self() > WRONG:
            self._told, self._misled = False, self._misled or self._told
        late = self() - sent > since + WRONG
        # A Date is the better witness: Telegram itself may pass a message on late.
        self._bound(sent, sent + since if late and not self._told else math.inf)

    def _bound(self, least: float, most: float) -> None:
        """It is now between these two times: put the clock right if it says something else."""
        now = self()
        off = now - min(max(now, least), most)
        if not off:
            return
        self._zero -= off
        wrong = self._wall() - self()
        if abs(off) > WRONG and abs(wrong) > WRONG:
            log.warning(
                "This computer's clock is %s %s Telegram's. The bot goes by Telegram's; set the computer's right.",
                duration(60 * round(abs(wrong) / 60)),
                "ahead of" if wrong > 0 else "behind",
            )

    def may_decide(self) -> bool:
        """Has Telegram answered yet, or not for so long that the computer's clock must do?"""
        return self._answered or self._counter() - self._began > PATIENCE

    def may_delete(self) -> bool:
        """Is the time sure enough to delete what is old by it? Never soon after the computer's clock has jumped."""
        return self._told or self._steady_for() > SURE

    def follow_computer(self) -> None:
        """For a job: where Telegram sends no time, the computer's new one counts once it has stayed for a while."""
        if not self._told and self._steady_for() > SETTLED and self._followed != self._wall_zero:
            self._zero = self._followed = self._wall_zero

    def _steady_for(self) -> float:
        """Seconds since the computer's clock was last set."""
        now = self._counter()
        zero = self._wall() - now
        if abs(zero - self._wall_zero) > 2.0:
            self._wall_zero, self._steady_since = zero, now
        return now - self._steady_since
