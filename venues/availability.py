"""The state of each market source: when it failed, when it may be asked again, and its line in /status.

The state of one process; nothing is stored. A state is logged when it begins and when it ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    state: str = "ok"
    since: float | None = None
    reason: str = ""
    symbols: tuple[str, ...] = ()
    lag: float = 0.0
    missed: int = 0
    skipped: int = 0
    last_ok: float | None = None
    retry_at: float = 0.0
    covers: str = ""

    @property
    def failing(self) -> bool:
        """Whether it failed and no tick without a failure came since."""
        return self.state in ("resting", "blocked")

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
    """The state of one source as it changes. `jitter` gives numbers from 0 to 1; all times are unix seconds."""

    def __init__(self, source: str, venue: str, host: str, jitter: Callable[[], float]) -> None:
        self.seen = SourceHealth(source=source, venue=venue, host=host)
        self.answered = False  # in this tick
        self._jitter = jitter
        self._failures = 0  # without a success in between
        self._failed_in_tick = False
        self._told_at: float | None = None

    def begin_tick(self) -> None:
        """A new tick: what failed in the last one may be asked again after its rest."""
        self._failed_in_tick = self.answered = False

    def may_be_asked(self, now: float) -> bool:
        """False in the tick in which it failed, while it rests, and once it is off."""
        return self.seen.state != "off" and not self._failed_in_tick and now >= self.seen.retry_at

    def failing_for(self, now: float) -> float:
        """Seconds since it began to fail, 0 while it is well."""
        return now - self.seen.since if self.seen.failing and self.seen.since is not None else 0.0

    def failed(self, error: SourceError, now: float) -> None:
        """It did not answer as it should: it rests, longer each time, or as long as it says."""
        seen, state = self.seen, "blocked" if error.blocked else "resting"
        if not seen.failing:
            log.warning("%s is failing: %s", seen.host, error.reason)
        elif error.blocked and seen.state != state:
            log.warning("%s cannot be reached from here: %s", seen.host, error.reason)
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE) * (0.75 + self._jitter() / 2)
        retry_at = now + (pause if error.retry_after is None else max(1.0, error.retry_after))
        since = seen.since if seen.failing else now
        self.seen = replace(seen, state=state, since=since, reason=error.reason, retry_at=retry_at)
        self._failed_in_tick = True
        self._failures += 1

    def switch_off(self, reason: str) -> None:
        """It refuses for good: it is not asked again."""
        self.seen = replace(self.seen, state="off", since=None, reason=reason)

    def succeeded(self, now: float) -> None:
        """It answered. A failure is over only with a tick in which nothing failed."""
        state = "resting" if self.seen.failing else self.seen.state
        self.seen = replace(self.seen, state=state, last_ok=now, retry_at=0.0)
        self.answered = True
        self._failures = 0

    def end_tick(self, now: float) -> None:
        """Decide whether a failure is over."""
        if not self.answered or self._failed_in_tick or self.seen.state == "off":
            return
        if self.seen.failing:
            log.info("%s answers again after %s", self.seen.host, text.duration(self.failing_for(now)))
            self.seen = replace(self.seen, state="ok", since=now, reason="")
        elif self.seen.since is None:
            self.seen = replace(self.seen, since=now)

    def owner_should_know(self, now: float) -> bool:
        """True once for each time it refuses requests from here, but not more often than every six hours."""
        if self.seen.state != "blocked" or (self._told_at is not None and now - self._told_at < TELL_EVERY):
            return False
        self._told_at = now
        return True
