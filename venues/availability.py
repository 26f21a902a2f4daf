"""The state of each market source: when it failed, when it may be asked again, and its line in /status.

The state of one process; nothing is stored. A state is logged when it begins and when it ends.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import NamedTuple

from base import text
from venues.trades import SHORT_PAUSE, SourceError

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds of failure after which the next source is read instead
TELL_EVERY = 6 * 3600.0  # seconds between two notices to the owner about one source
SLOWEST = 8.0  # times as rarely as usual, for one that keeps asking for fewer requests
FORGIVEN_IN = 600.0  # seconds in which that fades to a half
SILENT = 60.0  # seconds without a trade from which a line says so
SHOWN = 3  # failing feeds that are named in a line


class Trouble(NamedTuple):
    """What is wrong with one feed, and since when, unix seconds."""

    since: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class SourceHealth:
    """One source as /status shows it.

    state: `ok`, `resting` (it failed and waits for its next try), `blocked` (it refuses requests from here), `off`
    (it refuses for good) or `unused`. since: unix seconds when that began, or None. lag: seconds since
    its slowest coin was read. covers: what it is read for, in words, where that is not coins. except_for: the feeds
    that fail while the others are answered, with reasons. quietest: the coin that was traded longest ago, silent: how
    many seconds ago. every: seconds between two looks, 0 where that is not shown.
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
    except_for: str = ""
    quietest: str = ""
    silent: float = 0.0
    every: float = 0.0

    @property
    def failing(self) -> bool:
        """Whether it failed and no tick without a failure came since."""
        return self.state in ("resting", "blocked")

    def line(self, now: float, zone: tzinfo = UTC) -> str:
        """One line for people, times in their zone."""
        if self.state == "ok":
            covers = self.covers or text.count(len(self.symbols), "coin")
            covers += f" every {text.duration(round(self.every, 1))}" if self.every else ""
            words = [f"{self.venue}: ok, {covers}, checked {text.duration(max(0.0, self.lag))} ago"]
            if self.silent >= SILENT:
                words.append(f", last trade of {self.quietest} {text.duration(self.silent)} ago")
            if self.except_for:
                words.append(f", except {self.except_for}")
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


class Use(NamedTuple):
    """What a venue is read for, for /status: in words, or which coins. read_at: unix seconds up to which it was
    read, None for its last answer. quietest: when the coin was traded that was traded longest ago, and which. every:
    seconds between two looks, 0 where that is not shown."""

    words: str = ""
    symbols: tuple[str, ...] = ()
    read_at: float | None = None
    quietest: tuple[float, str] | None = None
    every: float = 0.0


class Health:
    """The state of one source as it changes; all times are unix seconds. A feed is one question, "" for all coins.

    A failure of one feed says nothing of the others: all are asked in each tick. The source as a whole fails when the
    host wants to be left alone or does not answer at all, which ends its part of the tick, and when nothing that was
    asked in a tick was answered.
    """

    def __init__(self, source: str, venue: str, host: str) -> None:
        self.seen = SourceHealth(source=source, venue=venue, host=host)
        self._failing: dict[str, Trouble] = {}  # feed -> what is wrong with it
        self.hung: set[str] = set()  # those of them that got no answer at all
        self._logged: set[str] = set()  # those of them that the log knows
        self._told_at: float | None = None
        self._slow, self._slowed_at = 1.0, 0.0
        self.begin_tick()

    def begin_tick(self) -> None:
        """A new tick: what failed in the last one may be asked again."""
        self.answered = False
        self._down = False  # the host as a whole: nothing more is asked in this tick
        self._rested = False
        self._asked: set[str] = set()
        self._failed: set[str] = set()

    def clock_set_back(self, now: float) -> None:
        """Rests and failures that were marked by a clock that was ahead count from now."""
        since = self.seen.since
        self.seen = replace(self.seen, retry_at=0.0, since=None if since is None else min(since, now))
        self._failing = {
            feed: trouble._replace(since=min(trouble.since, now)) for feed, trouble in self._failing.items()
        }

    def may_be_asked(self, now: float, feed: str = "") -> bool:
        """False for what failed in this tick, and while the host rests or is off."""
        return not self._down and now >= self.seen.retry_at and feed not in self._failed

    def failing_for(self, now: float, feed: str) -> float:
        """Seconds since the source or this feed began to fail, 0 while both are well."""
        begun = [self._failing[feed].since] if feed in self._failing else []
        if self.seen.failing and self.seen.since is not None:
            begun.append(self.seen.since)
        return now - min(begun, default=now)

    def failing_feeds(self) -> dict[str, Trouble]:
        """The feeds that fail while the source as a whole does not."""
        return {} if self.seen.failing or self.seen.state == "off" else dict(self._failing)

    def view(self) -> SourceHealth:
        """The source as it is now, without what it is read for."""
        failing = sorted(self.failing_feeds().items())
        words = [f"{feed}: {trouble.reason}" for feed, trouble in failing[:SHOWN]]
        more = [f"{len(failing) - SHOWN} more"] if len(failing) > SHOWN else []
        return replace(self.seen, except_for="; ".join([*words, *more]))

    def failed(self, error: SourceError, now: float, feed: str = "") -> None:
        """This feed was not answered as it should be."""
        self._asked.add(feed)
        self._failed.add(feed)
        known = self._failing.get(feed)
        self._failing[feed] = Trouble(now if known is None else known.since, error.reason)
        if error.retry_after is not None:
            self._down = True
            pause = max(1.0, error.retry_after)
            if error.too_often:
                self._slow, self._slowed_at = min(SLOWEST, 2 * self.slowness(now)), now
            elif pause <= SHORT_PAUSE:
                self.hung.add(feed)
            if self.answered and pause <= SHORT_PAUSE:  # others were answered: this one alone may hang
                self.seen = replace(self.seen, retry_at=now + pause)
            else:
                self._rest(error.reason, now, pause=pause, blocked=error.blocked)

    def _rest(self, reason: str, now: float, *, pause: float, blocked: bool = False) -> None:
        seen, state, self._rested = self.seen, "blocked" if blocked else "resting", True
        if not seen.failing:
            log.warning("%s is failing: %s", seen.host, reason)
        elif blocked and seen.state != state:
            log.warning("%s cannot be reached from here: %s", seen.host, reason)
        since = seen.since if seen.failing else now
        self.seen = replace(seen, state=state, since=since, reason=reason, retry_at=now + pause)

    def switch_off(self, reason: str, until: float) -> None:
        """It refuses for good: it is not asked before then."""
        self.seen = replace(self.seen, state="off", since=None, reason=reason, retry_at=until)

    def succeeded(self, now: float, feed: str = "") -> None:
        """It answered. A failure of the source is over only with the tick."""
        self._asked.add(feed)
        self._failing.pop(feed, None)
        self.hung.discard(feed)
        if self.seen.state == "off":
            self.seen = replace(self.seen, state="ok", since=now, reason="")
        self.seen = replace(self.seen, last_ok=now, retry_at=0.0)
        self.answered = True

    def end_tick(self, now: float) -> None:
        """Decide whether the source as a whole fails, or a failure is over."""
        if self.seen.state == "off" or not self._asked or self._rested:
            return
        if not self._down:  # all that is still of interest was asked
            self._failing = {feed: known for feed, known in self._failing.items() if feed in self._asked}
        if not self.answered:
            self._rest(next(iter(self._failing.values())).reason, now, pause=SHORT_PAUSE)
            return
        if self.seen.failing:
            log.info("%s answers again after %s", self.seen.host, text.duration(self.failing_for(now, "")))
            self.seen = replace(self.seen, state="ok", since=now, reason="")
        elif self.seen.since is None:
            self.seen = replace(self.seen, since=now)
        self._log_feeds()

    def _log_feeds(self) -> None:
        for feed in sorted(self._failing.keys() - self._logged):
            log.warning("%s fails for %s: %s", self.seen.host, feed, self._failing[feed].reason)
        for feed in sorted(self._logged - self._failing.keys()):
            log.info("%s answers for %s again", self.seen.host, feed)
        self._logged = set(self._failing)

    def slowness(self, now: float) -> float:
        """How many times as rarely as usual it is to be asked: double for each time it said so, then slowly less."""
        return max(1.0, self._slow * math.pow(0.5, max(0.0, now - self._slowed_at) / FORGIVEN_IN))

    def owner_should_know(self, now: float) -> bool:
        """True once for each time it refuses requests from here, but not more often than every six hours."""
        if self.seen.state != "blocked" or (self._told_at is not None and abs(now - self._told_at) < TELL_EVERY):
            return False
        self._told_at = now
        return True
