"""How each market source is: when it failed, when it may be asked again, and what /status says of it.

State of one process only, nothing is stored. A state is logged when it begins and when it ends.
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
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
TELL_EVERY = 6 * 3600.0  # seconds between two notices to the owner about one source


@dataclass(frozen=True, kw_only=True)
class SourceHealth:
    """One source as /status shows it.

    state: `ok`, `resting` (failed, waits for its next try), `blocked` (refuses this place), `off` (refuses for
    good) or `unused`. since: unix seconds since when it is so, None for unused. lag: seconds since the feed of its
    slowest symbol was read to the end. covers: what it is read for, in words, where that is not symbols.
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
        words = [f"{self.venue} ({self.host}): "]
        if self.state == "unused":
            words.append("not needed")
        elif self.state == "ok":
            covers = self.covers or text.count(len(self.symbols), "coin")
            words.append(f"ok, {covers}, {text.duration(max(0.0, self.lag))} behind")
        else:
            began = "" if self.since is None else f" since {text.clock(self.since, now=now, zone=zone)}"
            words.append(f"{self.state}{began}: {self.reason}")
            if self.retry_at > now:
                words.append(f", asked again in {text.duration(self.retry_at - now)}")
        if self.missed:
            words.append(f", {text.count(self.missed, 'trade')} missed")
        if self.skipped:
            words.append(f", {text.count(self.skipped, 'unreadable row')} skipped")
        return "".join(words)


class Health:
    """The state of one source. `jitter` gives numbers from 0 to 1; times are unix seconds."""

    def __init__(self, source: str, venue: str, host: str, jitter: Callable[[], float]) -> None:
        self.source = source
        self.venue = venue
        self.host = host
        self.blocked = False
        self.off = False
        self.missed = 0
        self.skipped = 0
        self._jitter = jitter
        self._failing_since: float | None = None
        self._ok_since: float | None = None
        self.last_ok: float | None = None
        self._reason = ""
        self._failures = 0  # without a success in between
        self._retry_at = 0.0
        self._failed_in_tick = False
        self._answered_in_tick = False
        self._told_at: float | None = None

    def begin_tick(self) -> None:
        self._failed_in_tick = self._answered_in_tick = False

    def may_be_asked(self, now: float) -> bool:
        return not self.off and not self._failed_in_tick and now >= self._retry_at

    def failing_for(self, now: float) -> float:
        return 0.0 if self._failing_since is None else now - self._failing_since

    @property
    def reason(self) -> str:
        return self._reason

    def failed(self, error: SourceError, now: float) -> None:
        """It did not answer as it should: it rests, longer each time, or as long as it says."""
        if self._failing_since is None:
            self._failing_since = now
            log.warning("%s fails: %s", self.host, error.reason)
        elif error.blocked and not self.blocked:
            log.warning("%s cannot be read from here: %s", self.host, error.reason)
        self._failed_in_tick = True
        self._reason = error.reason
        self.blocked = error.blocked
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE) * (0.75 + self._jitter() / 2)
        self._failures += 1
        self._retry_at = now + (pause if error.retry_after is None else max(1.0, error.retry_after))

    def switch_off(self, reason: str) -> None:
        """It refuses, and asking again is of no use."""
        self.off = True
        self._reason = reason

    def succeeded(self, now: float) -> None:
        """It answered. The episode of failure ends only with a tick in which nothing failed."""
        self._answered_in_tick = True
        self.last_ok = now
        self._failures = 0
        self._retry_at = 0.0
        self.blocked = False

    def end_tick(self, now: float) -> None:
        if not self._answered_in_tick or self._failed_in_tick:
            return
        if self._failing_since is not None:
            log.info("%s answers again after %s", self.host, text.duration(now - self._failing_since))
            self._failing_since = None
            self._ok_since = None
            self._reason = ""
        if self._ok_since is None:
            self._ok_since = now

    def owner_should_know(self, now: float) -> bool:
        """True once for each time it is found to refuse this place, but not more often than every six hours."""
        if not self.blocked or (self._told_at is not None and now - self._told_at < TELL_EVERY):
            return False
        self._told_at = now
        return True

    def view(self, now: float, symbols: tuple[str, ...], *, lag: float, covers: str = "") -> SourceHealth:
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
            reason=self._reason,
            symbols=symbols,
            lag=lag,
            missed=self.missed,
            skipped=self.skipped,
            last_ok=self.last_ok,
            retry_at=self._retry_at,
            covers=covers,
        )
