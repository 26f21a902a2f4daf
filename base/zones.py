"""Time zones by the names people type, and quiet hours in them. Pure: no clock, no state.

Zones come from the system's database or from the package `tzdata` (Windows has no database). When clocks change, a
time of day that is skipped counts as the moment of the change. A time that comes twice starts quiet hours the first
time and ends them the second, so one night is not split in two.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from base.text import clip

_CLOCK = r"(\d{1,2})(?::(\d{2}))?"
_RANGE = re.compile(rf"{_CLOCK}\s*(?:-|–|to)\s*{_CLOCK}")
_SUGGESTED = 4
# Abbreviations are not zones (EST has no summer time, IST is three places): ask which one is meant.
_ABBREVIATIONS = {
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


class Unreadable(ValueError):
    """What was typed is not a zone, or not a schedule. str() is a sentence for the person who typed it."""


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The zone of that IANA name; UTC if this machine does not know it."""
    try:
        return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a name that is a folder, as "Europe"
        return UTC


def find(words: str) -> str:
    """The IANA name for `Europe/Berlin`, `berlin`, `new york`, `CET` or `UTC+2`. Raises Unreadable."""
    typed, names = words.strip(), _names()
    wanted = re.sub(r"\s+", "_", typed.lower())
    offset = re.fullmatch(r"(?:utc|gmt)\s*([+-])\s*(\d{1,2})", typed.lower())
    if wanted in ("utc", "gmt", "z"):
        return "UTC"
    if not names:
        raise Unreadable(
            "The bot's machine has no time zone data. Run `pip install tzdata` there and restart the bot."
        )
    if offset is not None:
        # In the database's names of fixed offsets west is plus (POSIX): UTC+2 is Etc/GMT-2.
        sign, hours = ("-" if offset[1] == "+" else "+"), int(offset[2])
        wanted = f"etc/gmt{sign}{hours}" if hours else "utc"
    if wanted in _ABBREVIATIONS:
        raise Unreadable(_sentence(typed, wanted, _ABBREVIATIONS[wanted]))
    if wanted in names:
        return names[wanted]
    cities = sorted(name for name in names.values() if _city(name) == wanted)
    if cities and len({_offsets(name) for name in cities}) == 1:
        return min(cities, key=lambda name: (len(name), name))
    raise Unreadable(_sentence(typed, wanted, cities))


def _sentence(words: str, wanted: str, cities: Sequence[str]) -> str:
    shown = clip(words, 40)
    names = _names().values()
    if not cities:
        close = difflib.get_close_matches(wanted, {_city(name) for name in names}, _SUGGESTED, 0.7)
        cities = [name for city in close for name in names if _city(name) == city]
    meant = f"Did you mean {' or '.join(cities[:_SUGGESTED])}?"
    return f"I don't know the time zone “{shown}”. {meant if cities else 'Send a large city in it, like Berlin.'}"


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """IANA names by their lower case, without those that only repeat others."""
    return {
        name.lower(): name
        for name in sorted(zoneinfo.available_timezones())
        if not name.startswith(("posix/", "right/", "SystemV/")) and name not in ("Factory", "localtime")
    }


def _city(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _offsets(name: str) -> tuple[timedelta | None, timedelta | None]:
    """The zone's offsets in winter and in summer: two names of one place have the same."""
    where = zone(name)
    return (datetime(2026, 1, 1, tzinfo=where).utcoffset(), datetime(2026, 7, 1, tzinfo=where).utcoffset())


@dataclass(frozen=True)
class Hours:
    """Hours of every day, from `start` to `end` in minutes after midnight; past midnight if `end` is earlier."""

    start: int
    end: int

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.start, self.end))

    def until(self, now: float, where: tzinfo) -> float | None:
        """When the hours that `now` falls into end, in unix seconds; None if it falls into none."""
        return _until(self, now, where)


@lru_cache(maxsize=256)  # an alert is checked against a thousand chats, most with the same hours and zone
def _until(daily: Hours, now: float, where: tzinfo) -> float | None:
    today = datetime.fromtimestamp(now, where).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    for day in (today - timedelta(days=1), today):
        last = day + timedelta(days=1 if daily.end <= daily.start else 0)
        begins = _moment(day, daily.start, where, second_time=False)
        ends = _moment(last, daily.end, where, second_time=True)
        if begins <= now < ends:
            return ends
    return None


@lru_cache(maxsize=256)
def hours(typed: str) -> Hours:
    """`22:00-07:00`, `22-7`. Raises ValueError for anything else, also if start and end are the same."""
    match = _RANGE.fullmatch(typed.strip().lower())
    if match is None:
        raise ValueError(typed)
    start, end = _minute(match[1], match[2]), _minute(match[3], match[4])
    if start == end:
        raise ValueError(typed)
    return Hours(start, end)


def hour_began(now: float, where: tzinfo) -> float:
    """Unix seconds of the last full hour in that zone (India's is half an hour off that of UTC)."""
    offset = datetime.fromtimestamp(now, where).utcoffset() or timedelta()
    return now - (now + offset.total_seconds()) % 3600


def _minute(hour: str, minute: str | None) -> int:
    minutes = int(hour) * 60 + int(minute or 0)
    if minutes > 24 * 60 or int(minute or 0) > 59:
        raise ValueError(f"{hour}:{minute}")
    return minutes % (24 * 60)


def _moment(day: datetime, minute: int, where: tzinfo, *, second_time: bool) -> float:
    """Unix seconds of a time of day. day: midnight of the date, without a zone."""
    wanted = day + timedelta(minutes=minute)
    at = wanted.replace(tzinfo=where, fold=int(second_time)).timestamp()
    if _local(at, where) == wanted:
        return at
    # The clocks skip this time. `fold` gives a moment before the change and one after it; the change is between.
    early = min(wanted.replace(tzinfo=where, fold=fold).timestamp() for fold in (0, 1))
    while _local(early, where) < wanted:
        early += 60
    return early


def _local(at: float, where: tzinfo) -> datetime:
    return datetime.fromtimestamp(at, where).replace(tzinfo=None, fold=0)
