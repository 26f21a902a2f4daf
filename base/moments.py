"""One moment as people type it after `until`: `18:00`, `fri`, `tomorrow 9am`, `31 Dec`, `31.12.2026`, `2026-12-24`.

No clock, no state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo

from base import schedules, typed, zones
from base.typed import Unreadable

LAST_MINUTE = 24 * 60 - 1  # of a day that is named without a time
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_OF_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th|\.)?", re.ASCII)
_AFTER_TIME = re.compile("today|tonight|tomorrow|(?:mon|tue|wed|thu|fri|sat|sun)(?:[a-z]*day)?")
_YEAR = re.compile(r"20\d\d", re.ASCII)


def until(words: Sequence[str], *, now: float, where: tzinfo) -> tuple[float, int] | None:
    """Unix seconds of the moment in that zone that the first words mean, and their number; None for other words.

    A time alone is the next one, a weekday is never today, a day without a time lasts to its end. Raises Unreadable
    for a moment that has passed or is more than a year away.
    """
    lower = [word.lower().strip(",") for word in words[:8]]
    stamp = re.fullmatch(r"(\d{4}-\d\d-\d\d)t(\d.*)", lower[0]) if lower else None
    if stamp is not None:
        lower[:1] = stamp.groups()
    today = datetime.fromtimestamp(now, where).date()
    day, used = _day(lower, today)
    dated = " ".join(words[:used]).strip(",")
    bare = used  # words without a time
    if lower[used : used + 1] == ["at"]:
        used += 1
    minute, more = _clock(lower[used:], alone=day is None or used > bare)
    if not more and (day is None or used > bare):
        return None
    if day is None and _AFTER_TIME.fullmatch(lower[more] if more < len(lower) else ""):  # 9am tomorrow
        day, used = _day(lower[more : more + 1], today)
    at = _unix(day or today, minute, where)
    if day is None and at <= now:
        at = _unix(today + timedelta(days=1), minute, where)
    if not 0 < at - now <= typed.LONGEST:
        what = f"“{dated}”" if dated and (day or today) != today else "That time"
        raise Unreadable(f"{what} has passed." if at <= now else f"{what} is more than a year away.")
    return at, used + more - (stamp is not None)


def _day(words: Sequence[str], today: date) -> tuple[date | None, int]:
    """The day that the first words name, and how many they are; None and 0 when they name none."""
    word = words[0] if words else ""
    if word in ("today", "tonight", "tomorrow"):
        return today + timedelta(days=int(word == "tomorrow")), 1
    if word == "next" and len(words) > 1 and schedules.weekday(words[1]) is not None:
        day, used = _day(words[1:], today)
        return day, used + 1
    number = schedules.weekday(word)
    if number is not None and word != "we":
        found, used = _date(words[1:], today)  # `thu 31 dec`
        return (found, used + 1) if found else (today + timedelta(days=(number - today.isoweekday() - 1) % 7 + 1), 1)
    return _date(words, today)


def _date(words: Sequence[str], today: date) -> tuple[date | None, int]:
    """The date of `31 dec`, `dec 31st 2026`, `31.12.`, `31.12.2026`, `12/31` or `2026-12-31`, and its words."""
    word = words[0] if words else ""
    iso = re.fullmatch(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", word, re.ASCII)
    if iso is not None:
        return _made(int(iso[1]), int(iso[3]), int(iso[4]), today, word), 1
    figures = re.fullmatch(r"(\d{1,2})([-/.])(\d{1,2})(?:\2(20\d\d|\d\d)?)?", word, re.ASCII)
    if figures is not None:
        return _figures(figures, today)
    of = int(words[1:2] == ["of"])  # `31st of december`
    second, third = [*words[1 + of :], "", ""][:2]
    found, used = _spelled(word, second, third, today)
    return found, used and used + of


def _figures(found: re.Match[str], today: date) -> tuple[date | None, int]:
    """`31.12.`, `31.12.26` and `31/12`. `18.12` is a time, and `5/6` could be two dates."""
    word, mark, year = found[0], found[2], int(found[4] or 0)
    first, second = int(found[1]), int(found[3])
    if not year and (mark == "-" or (mark == "." and word[-1] != "." and first < 24)):
        return None, 0
    if mark == "/" and first <= 12 and second <= 12 and first != second:
        raise Unreadable(f"“{word}” can be two dates. Write 31 Dec or 2026-12-31.")
    if mark == "/" and second > 12:
        first, second = second, first
    return _made(year + 2000 if 0 < year < 100 else year, second, first, today, word), 1


def _spelled(first: str, second: str, third: str, today: date) -> tuple[date | None, int]:
    """`31 dec`, `31st december 2026` and `dec 31`."""
    for number, name in ((first, second), (second, first)):
        day, month = _OF_MONTH.fullmatch(number), _month(name)
        if day is not None and month:
            year = int(third) if _YEAR.fullmatch(third) else 0
            return _made(year, month, int(day[1]), today, f"{first} {second}"), 3 if year else 2
    return None, 0


def _month(word: str) -> int:
    """The number of a month by the beginning of its name; 0 for any other word."""
    bare = word.rstrip(".")
    return next((at for at, name in enumerate(_MONTHS, 1) if len(bare) > 2 and name.startswith(bare)), 0)


def _made(year: int, month: int, day: int, today: date, word: str) -> date:
    """The date; without a year the next one. Raises Unreadable."""
    try:
        found = date(year or today.year, month, day)
        return found if year or found >= today else date(today.year + 1, month, day)
    except ValueError:
        raise Unreadable(f"There is no day “{word}”.") from None


def _clock(words: Sequence[str], *, alone: bool) -> tuple[int, int]:
    """Minutes after midnight and the number of words that say so. alone: may it be a number, like `9`?"""
    for number in (2, 1):
        said = " ".join(words[:number])
        if len(words) < number or (said.isdecimal() and not alone) or any(map(typed.is_picture, words[:number])):
            continue
        try:
            return typed.clock(said), number
        except Unreadable:
            continue
    return LAST_MINUTE, 0


def _unix(day: date, minute: int, where: tzinfo) -> float:
    return zones.moment(datetime(day.year, day.month, day.day), minute, where, second_time=False)
