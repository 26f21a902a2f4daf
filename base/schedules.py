"""When something comes again and again, as people type it: `09:00 mon-fri`, `every 4h`, a cron expression.

Everything becomes one five-field cron expression in one time zone; `cronsim` finds the times, also across
daylight saving changes (as Debian's cron: a time that a change skips comes right after it, one that a change
repeats comes once). Pure: no clock, no state.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from base import zones

SHORTEST = 900.0  # seconds between two times: what comes more often is no summary
HOURS = (1, 2, 3, 4, 6, 8, 12)  # a day is a whole number of these
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED = {"daily": "*", "weekdays": "1-5", "weekends": "0,6"}
_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_EVERY = re.compile(r"(\d{1,2})\s*h")


class ScheduleError(ValueError):
    """What was typed is no schedule. str() is one sentence for the one who typed it."""


@dataclass(frozen=True)
class Schedule:
    """A rule for times. typed: the rule as people write it, to be kept. zone: its own one, "" for the chat's."""

    typed: str
    cron: str
    zone: str

    def next(self, after: float, *, zone: str = "UTC") -> float:
        """The first time after `after` (unix seconds); `zone` is used where the rule names none."""
        return self._step(after, zone, reverse=False)

    def previous(self, before: float, *, zone: str = "UTC") -> float:
        """The last time before `before`."""
        return self._step(before, zone, reverse=True)

    def _step(self, at: float, zone: str, *, reverse: bool) -> float:
        moment = datetime.fromtimestamp(at, UTC).astimezone(zones.zone(self.zone or zone))
        return next(CronSim(self.cron, moment, reverse=reverse)).timestamp()


def parse(typed: str) -> Schedule:
    """`09:00 [Zone] [days]`, `every 4h [Zone]` or `cron 30 8 * * 1-5 [Zone]`. Raises ScheduleError."""
    words = typed.split()
    if not words:
        raise ScheduleError("I need a time (09:00), `every 4h`, or a cron expression.")
    kind = words[0].lower()
    if kind == "cron":
        return _cron(words[1:])
    if kind == "every":
        return _every(words[1:])
    return _daily(words)


def _cron(words: Sequence[str]) -> Schedule:
    if len(words) not in (5, 6):
        raise ScheduleError("A cron expression has five fields: minute hour day month weekday.")
    cron, zone = " ".join(words[:5]), _zone(words[5:])
    try:
        # From the start of a leap year on, so that the answer does not hang on today.
        times = CronSim(cron, datetime(2028, 1, 1, tzinfo=UTC))
        first = [next(times).timestamp() for _ in range(200)]
    except CronSimError as error:
        raise ScheduleError(f"“{cron[:60]}” is no cron expression: {str(error).lower()}.") from None
    except StopIteration:
        raise ScheduleError(f"“{cron[:60]}” never comes.") from None
    if min(later - sooner for sooner, later in itertools.pairwise(first)) < SHORTEST:
        raise ScheduleError("That is more often than every 15 minutes.")
    return Schedule(_joined("cron", cron, zone), cron, zone)


def _every(words: Sequence[str]) -> Schedule:
    zones = [word for word in words if "/" in word or word.upper() == "UTC"]
    length = _EVERY.fullmatch("".join(word for word in words if word not in zones).lower())
    if length is None or int(length[1]) not in HOURS or len(zones) > 1:
        listed = ", ".join(f"{hours}h" for hours in HOURS)
        raise ScheduleError(f"I can do every {listed}; once a day is a time, like 09:00.")
    hours, zone = int(length[1]), _zone(zones)
    return Schedule(_joined(f"every {hours}h", zone), f"0 */{hours} * * *", zone)


def _daily(words: Sequence[str]) -> Schedule:
    clock = _TIME.fullmatch(words[0])
    if clock is None or int(clock[1]) > 23 or int(clock[2]) > 59:
        raise ScheduleError(f"“{words[0][:20]}” is no time of day (09:00, 21:30).")
    zone, days, shown = "", "*", ""
    for word in words[1:]:
        found = _days(word.lower())
        if found is not None and not shown:
            days, shown = found, word.lower()
        elif found is None and not zone:
            zone = _zone([word])
        else:
            raise ScheduleError("I need one time, at most one time zone and one set of days (mon-fri, sat,sun).")
    hour, minute = int(clock[1]), int(clock[2])
    return Schedule(
        _joined(f"{hour:02}:{minute:02}", zone, "" if shown == "daily" else shown),
        f"{minute} {hour} * * {days}",
        zone,
    )


def _days(word: str) -> str | None:
    """The weekday field for `mon-fri`, `sat,sun`, `fri-mon` or `weekdays`; None when it is no such word."""
    if word in _NAMED:
        return _NAMED[word]
    chosen: set[int] = set()
    for part in word.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            return None
        start, count = _DAYS.index(first), (_DAYS.index(last or first) - _DAYS.index(first)) % 7 + 1
        chosen |= {(start + step) % 7 for step in range(count)}
    return "*" if len(chosen) == 7 else ",".join(str(day) for day in sorted(chosen))


def _zone(words: Sequence[str]) -> str:
    try:
        return zones.find(words[0]) if words else ""
    except zones.UnknownZone as error:
        raise ScheduleError(str(error)) from None


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
