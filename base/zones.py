"""Time zones by the names people type, and stretches of the day in them. Pure: no clock, no state.

Zones come from the system's database or from the package `tzdata` (Windows has none of its own). A time of day that
a change to summer time skips counts as the moment of the change; one that comes twice begins a stretch the first
time and ends it the second, so that no night falls into two.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

_OFFSET = re.compile(r"(?:utc|gmt)\s*([+-])\s*(\d{1,2})")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?")
_RANGE = re.compile(r"(\d{1,2}(?::\d{2})?)\s*(?:-|–|to)\s*(\d{1,2}(?::\d{2})?)")
_SUGGESTED = 4
# What people call their time is no zone (EST has no summer time, IST is three places): ask which one is meant.
_CALLED = {
    "est": ("America/New_York", "America/Panama"),
    "edt": ("America/New_York",),
    "cst": ("America/Chicago", "Asia/Shanghai"),
    "cdt": ("America/Chicago",),
    "mst": ("America/Denver", "America/Phoenix"),
    "mdt": ("America/Denver",),
    "pst": ("America/Los_Angeles",),
    "pdt": ("America/Los_Angeles",),
    "bst": ("Europe/London", "Asia/Dhaka"),
    "ist": ("Asia/Kolkata", "Asia/Jerusalem", "Europe/Dublin"),
    "jst": ("Asia/Tokyo",),
    "msk": ("Europe/Moscow",),
}


class UnknownZone(ValueError):
    """No such time zone. str() is one sentence, with the nearest names if there are any."""


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The zone of that IANA name; UTC where this machine does not know it (any more)."""
    try:
        return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a name that is a folder, as "Europe"
        return UTC


def find(words: str) -> str:
    """The IANA name for `Europe/Berlin`, `berlin`, `new york`, `CET` or `UTC+2`. Raises UnknownZone."""
    wanted = re.sub(r"\s+", "_", words.strip().lower())
    offset = _OFFSET.fullmatch(words.strip().lower())
    names = _names()
    if wanted in ("utc", "gmt", "z"):
        return "UTC"
    if not names:
        raise UnknownZone("This machine has no time zone data: `pip install tzdata`, then restart the bot.")
    if offset is not None:
        # In the database's names of fixed offsets west is plus (POSIX): UTC+2 is Etc/GMT-2.
        sign, hours = ("-" if offset[1] == "+" else "+"), int(offset[2])
        wanted = f"etc/gmt{sign}{hours}" if hours else "utc"
    if wanted in _CALLED:
        raise UnknownZone(_sentence(words.strip(), wanted, _CALLED[wanted]))
    exact = names.get(wanted)
    if exact is not None:
        return exact
    cities = sorted(name for name in names.values() if _city(name) == wanted)
    if cities and len({_character(name) for name in cities}) == 1:
        return min(cities, key=lambda name: (len(name), name))
    raise UnknownZone(_sentence(words.strip(), wanted, cities))


def _sentence(words: str, wanted: str, cities: Sequence[str]) -> str:
    shown = words if len(words) <= 40 else f"{words[:39]}…"
    names = _names().values()
    if not cities:
        close = difflib.get_close_matches(wanted, {_city(name) for name in names}, _SUGGESTED, 0.7)
        cities = [name for city in close for name in names if _city(name) == city]
    if not cities:
        return f"I do not know the time zone “{shown}”; take a large city in yours."
    listed = " or ".join(cities[:_SUGGESTED])
    return f"I do not know the time zone “{shown}”. Did you mean {listed}?"


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """IANA names by their lower case; without the old ones that only stand for others in other words."""
    return {
        name.lower(): name
        for name in sorted(zoneinfo.available_timezones())
        if not name.startswith(("posix/", "right/", "SystemV/")) and name not in ("Factory", "localtime")
    }


def _city(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _character(name: str) -> tuple[timedelta | None, timedelta | None]:
    """What two names of one place have in common: their offsets in winter and in summer."""
    where = zone(name)
    return (datetime(2026, 1, 1, tzinfo=where).utcoffset(), datetime(2026, 7, 1, tzinfo=where).utcoffset())


@dataclass(frozen=True)
class Hours:
    """A stretch of every day, in minutes after midnight; over midnight when it ends before it begins."""

    start: int
    end: int

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.start, self.end))

    def until(self, now: float, where: tzinfo) -> float | None:
        """Unix seconds at which the stretch around `now` ends; None when `now` is in none."""
        return _until(self, now, where)


@lru_cache(maxsize=256)  # of an alert each of a thousand chats asks, most of them for the same hours and zone
def _until(stretch: Hours, now: float, where: tzinfo) -> float | None:
    today = datetime.fromtimestamp(now, where).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    for day in (today - timedelta(days=1), today):
        last = day + timedelta(days=1 if stretch.end <= stretch.start else 0)
        begins = _moment(day, stretch.start, where, second_time=False)
        ends = _moment(last, stretch.end, where, second_time=True)
        if begins <= now < ends:
            return ends
    return None


@lru_cache(maxsize=256)
def hours(typed: str) -> Hours:
    """`22:00-07:00`, `22-7`. Raises ValueError for anything else, also for a stretch of no length."""
    match = _RANGE.fullmatch(typed.strip().lower())
    if match is None:
        raise ValueError(typed)
    start, end = _minute(match[1]), _minute(match[2])
    if start == end:
        raise ValueError(typed)
    return Hours(start, end)


def hour_began(now: float, where: tzinfo) -> float:
    """Unix seconds of the last full hour in that zone (in India it is not the one of Greenwich)."""
    offset = datetime.fromtimestamp(now, where).utcoffset() or timedelta()
    return now - (now + offset.total_seconds()) % 3600


def _minute(typed: str) -> int:
    match = _CLOCK.fullmatch(typed)
    if match is None:
        raise ValueError(typed)
    hour, minute = int(match[1]), int(match[2] or 0)
    if hour == 24 and minute == 0:
        hour = 0
    if hour > 23 or minute > 59:
        raise ValueError(typed)
    return hour * 60 + minute


def _moment(day: datetime, minute: int, where: tzinfo, *, second_time: bool) -> float:
    """Unix seconds of a time of day on a date (at midnight, without a zone)."""
    wanted = day + timedelta(minutes=minute)
    at = wanted.replace(tzinfo=where, fold=int(second_time)).timestamp()
    if _local(at, where) == wanted:
        return at
    # The clock skips this time: `fold` gives a moment before the change and one after it; the change is between.
    early = min(wanted.replace(tzinfo=where, fold=fold).timestamp() for fold in (0, 1))
    while _local(early, where) < wanted:
        early += 60
    return early


def _local(at: float, where: tzinfo) -> datetime:
    return datetime.fromtimestamp(at, where).replace(tzinfo=None, fold=0)
