"""Repeating times as people type them: `09:00 mon-fri`, `every 4h`, a cron expression. Pure: no clock, no state.

Each becomes one five-field cron expression in one time zone. `cronsim` finds the times, also when clocks change: like
Debian's cron, a time that the clocks skip comes right after the change, and one that they repeat comes once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from base import zones
from base.zones import Unreadable

SHORTEST = 900.0  # seconds between two times; a summary that comes more often is not a summary
HOURS = (1, 2, 3, 4, 6, 8, 12)  # a day is a whole number of these
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED = {"daily": "*", "weekdays": "1-5", "weekends": "0,6"}


@dataclass(frozen=True)
class Schedule:
    """A rule for times. typed: the rule as people write it, to be kept. zone: its own one, "" for the chat's."""

    typed: str
    cron: str
    zone: str

    def next(self, after: float, *, zone: str = "UTC") -> float:
        """The first time after `after` (unix seconds); `zone` is used if the rule names none."""
        return self._step(after, zone, reverse=False)

    def previous(self, before: float, *, zone: str = "UTC") -> float:
        """The last time before `before`."""
        return self._step(before, zone, reverse=True)

    def _step(self, at: float, zone: str, *, reverse: bool) -> float:
        from cronsim import CronSim  # here, not at every start: only chats with a digest need it

        moment = datetime.fromtimestamp(at, UTC).astimezone(zones.zone(self.zone or zone))
        for found in CronSim(self.cron, moment, reverse=reverse):
            return found.timestamp()
        raise Unreadable(f"“{self.cron[:60]}” never matches a date.")


def parse(typed: str) -> Schedule:
    """`09:00 [Zone] [days]`, `every 4h [Zone]` or `cron 30 8 * * 1-5 [Zone]`. Raises zones.Unreadable."""
    words = typed.split()
    if not words:
        raise Unreadable("Give a time (09:00), an interval (every 4h) or a cron expression.")
    kind = words[0].lower()
    if kind == "cron":
        return _cron(words[1:])
    return _every(words[1:]) if kind == "every" else _daily(words)


def _cron(words: Sequence[str]) -> Schedule:
    if len(words) not in (5, 6):
        raise Unreadable("A cron expression has five fields: minute hour day month weekday.")
    from cronsim import CronSim, CronSimError

    cron, zone = " ".join(words[:5]), _zone(words[5:])
    try:
        # Always from the start of the same leap year, so that the answer is the same every day.
        times = CronSim(cron, datetime(2028, 1, 1, tzinfo=UTC))
        first = [next(times).timestamp() for _ in range(200)]
    except CronSimError as error:
        raise Unreadable(f"“{cron[:60]}” is not a cron expression: {str(error).lower()}.") from None
    except StopIteration:
        raise Unreadable(f"“{cron[:60]}” never matches a date.") from None
    if min(later - sooner for sooner, later in itertools.pairwise(first)) < SHORTEST:
        raise Unreadable("That is too often. The shortest interval is 15 minutes.")
    return _schedule(cron, zone, "cron", cron, zone)


def _every(words: Sequence[str]) -> Schedule:
    named = [word for word in words if "/" in word or word.upper() == "UTC"]
    length = re.fullmatch(r"(\d{1,2})\s*h", "".join(word for word in words if word not in named).lower())
    if length is None or int(length[1]) not in HOURS or len(named) > 1:
        *most, last = (f"{hours}h" for hours in HOURS)
        raise Unreadable(f"Intervals: every {', '.join(most)} or {last}. For once a day give a time: 09:00")
    hours, zone = int(length[1]), _zone(named)
    return _schedule(f"0 */{hours} * * *", zone, f"every {hours}h", zone)


def _daily(words: Sequence[str]) -> Schedule:
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})", words[0])
    if clock is None or int(clock[1]) > 23 or int(clock[2]) > 59:
        raise Unreadable(f"I can't read “{words[0][:20]}” as a time. Use 24-hour times like 09:00 or 21:30.")
    zone, days, shown = "", "*", ""
    for word in words[1:]:
        found = _days(word.lower())
        if found is not None and not shown:
            days, shown = found, word.lower()
        elif found is None and not zone:
            zone = _zone([word])
        else:
            raise Unreadable("Give one time, and if you like one time zone and one set of days (mon-fri, sat,sun).")
    hour, minute = int(clock[1]), int(clock[2])
    return _schedule(
        f"{minute} {hour} * * {days}", zone, f"{hour:02}:{minute:02}", zone, "" if shown == "daily" else shown
    )


def _days(word: str) -> str | None:
    """The weekday field for `mon-fri`, `sat,sun`, `fri-mon` or `weekdays`; None for any other word."""
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
    return zones.find(words[0]) if words else ""


def _schedule(cron: str, zone: str, *typed: str) -> Schedule:
    return Schedule(" ".join(word for word in typed if word), cron, zone)
