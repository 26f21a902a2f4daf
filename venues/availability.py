"""How each market source is: when it failed, when it may be asked again, and its line in /status.

The state of one process; nothing is stored. A state is logged when it begins and when it ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo

from base import text
from venues.trades import SourceError

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds of failure after which the next source is read instead
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds between two questions to a source that fails
TELL_EVERY = 6 * 3600.0  # seconds between two notices to the owner about one source


@dataclass(frozen=True, kw_only=True)
class SourceHealth:
    """One source as /status shows it.

    state: `ok`, `resting` (it failed and waits for its next try), `blocked` (it refuses requests from here), `off`
    (it refuses for good) or `unused`. since: unix seconds when that began, or None. lag: seconds since
    its slowest coin was read. covers: what it is read for, in words, where that is not coins.
    """

    source: str
    venue: str
    host: str
    state: str
    since: float | None
    reason: str
    symbols: tuple[str, ...]
    lag: float
    missed: int
    skipped: int
    last_ok: float | None
    retry_at: float
    covers: str = ""

    def line(self, now: float, zone: tzinfo = UTC) -> str:
        """One line for people, times in their zone."""
        if self.state == "ok":
            covers = self.covers or text.count(len(self.symbols), "coin")
            words = [f"{self.venue}: ok, {covers}, checked {text.duration(max(0.0, self.lag))} ago"]
        elif self.state == "unused":
            words = [f"{self.venue} ({self.host}): not needed"]
        else:
            began = "" if self.since is None else f" since {text.clock(self.since, now=now, zone=zone)}"
            words = [f"{self.venue} ({self.host}): {self.state}{began}: {self.reason}"]
            if self.retry_at > now:
                words.append(f", next try in {text.duration(self.retry_at - now)}")
        if self.missed:
            words.append(f", {text.count(self.missed, 'trade')} missed")
        if self.skipped:
            words.append(f", {text.count(self.skipped, 'unreadable row')} skipped")
        return "".join(words)


class Health:
    """The state of one source. `jitter` gives numbers from 0 to 1; all times are unix seconds."""

    def __init__(self, source: str, venue: str, host: str, jitter: Callable[[], float]) -> None:
        self.source = source
        self.venue = venue
        self.host = host
        self.blocked = False
        self.off = False
        self.missed = 0
        self.skipped = 0
        self.last_ok: float | None = None
        self.reason = ""  # of the latest failure; "" when it is over
        self.answered = False  # in this tick
        self._jitter = jitter
        self._failing_since: float | None = None
        self._ok_since: float | None = None
        self._failures = 0  # without a success in between
        self._retry_at = 0.0
        self._failed_in_tick = False
        self._told_at: float | None = None

    @property
    def failing(self) -> bool:
        """Whether it failed and no tick without a failure came since."""
        return self._failing_since is not None

    def begin_tick(self) -> None:
        """A new tick: what failed in the last one may be asked again after its rest."""
        self._failed_in_tick = self.answered = False

    def may_be_asked(self, now: float) -> bool:
        """False in the tick in which it failed, while it rests, and once it is off."""
        return not self.off and not self._failed_in_tick and now >= self._retry_at

    def failing_for(self, now: float) -> float:
        """Seconds since it began to fail, 0 while it is well."""
        return 0.0 if self._failing_since is None else now - self._failing_since

    def failed(self, error: SourceError, now: float) -> None:
        """It did not answer as it should: it rests, longer each time, or as long as it says."""
        if self._failing_since is None:
            self._failing_since = now
            log.warning("%s fails: %s", self.host, error.reason)
        elif error.blocked and not self.blocked:
            log.warning("%s cannot be reached from here: %s", self.host, error.reason)
        self._failed_in_tick = True
        self.reason = error.reason
        self.blocked = error.blocked
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE) * (0.75 + self._jitter() / 2)
        self._failures += 1
        self._retry_at = now + (pause if error.retry_after is None else max(1.0, error.retry_after))

    def switch_off(self, reason: str) -> None:
        """It refuses, and asking again is of no use."""
        self.off = True
        self.reason = reason

    def succeeded(self, now: float) -> None:
        """It answered. A failure is over only with a tick in which nothing failed."""
        self.answered = True
        self.last_ok = now
        self._failures = 0
        self._retry_at = 0.0
        self.blocked = False

    def end_tick(self, now: float) -> None:
        """Decide whether a failure is over."""
        if not self.answered or self._failed_in_tick:
            return
        if self._failing_since is not None:
            log.info("%s answers again after %s", self.host, text.duration(now - self._failing_since))
            self._failing_since = None
            self._ok_since = None
            self.reason = ""
        if self._ok_since is None:
            self._ok_since = now

    def owner_should_know(self, now: float) -> bool:
        """True once for each time it refuses requests from here, but not more often than every six hours."""
        if not self.blocked or (self._told_at is not None and now - self._told_at < TELL_EVERY):
            return False
        self._told_at = now
        return True

    def view(self, symbols: tuple[str, ...], *, lag: float, covers: str = "") -> SourceHealth:
        """The state, for /status. symbols, covers: what it is read for; neither: it is not needed."""
        state, since = ("ok", self._ok_since) if symbols or covers else ("unused", None)
        if self.off:
            state, since = "off", None
        elif self._failing_since is not None:
            state, since = "blocked" if self.blocked else "resting", self._failing_since
        return SourceHealth(
            source=self.source,
            venue=self.venue,
            host=self.host,
            state=state,
            since=since,
            reason=self.reason,
            symbols=symbols,
            lag=lag,
            missed=self.missed,
            skipped=self.skipped,
            last_ok=self.last_ok,
            retry_at=self._retry_at,
            covers=covers,
        )
