"""One moment as people type it after `until`: `18:00`, `fri`, `tomorrow 9am`, `2026-12-24`. No clock, no state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo

from base import schedules, typed, zones
from base.typed import Unreadable

LAST_MINUTE = 24 * 60 - 1  # of a day that is named without a time


def until(words: Sequence[str], *, now: float, where: tzinfo) -> tuple[float, int] | None:
    """Unix seconds of the moment in that zone that the first words mean, and their number; None for other words.

    A time alone is the next one, a weekday is never today, a day without a time lasts to its end. Raises Unreadable
    for a moment that has passed or is more than a year away.
    """
    lower = [word.lower().strip(",") for word in words[:4]]
    today = datetime.fromtimestamp(now, where).date()
    day = _day(lower[0], today) if lower else None
    used = int(day is not None)
    if lower[used : used + 1] == ["at"]:
        used += 1
    minute, more = _clock(lower[used:], alone=day is None or used == 2)
    if not more and (day is None or used == 2):
        return None
    at = _unix(day or today, minute, where)
    if day is None and at <= now:
        at = _unix(today + timedelta(days=1), minute, where)
    if not 0 < at - now <= typed.LONGEST:
        raise Unreadable("That time has passed." if at <= now else "That is more than a year away.")
    return at, used + more


def _day(word: str, today: date) -> date | None:
    if word in ("today", "tonight", "tomorrow"):
        return today + timedelta(days=int(word == "tomorrow"))
    number = schedules.weekday(word)
    if number is not None and word != "we":
        return today + timedelta(days=(number - today.isoweekday() - 1) % 7 + 1)
    try:
        return date.fromisoformat(word) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", word, re.ASCII) else None
    except ValueError:
        return None


def _clock(words: Sequence[str], *, alone: bool) -> tuple[int, int]:
    """Minutes after midnight and the number of words that say so. alone: may it be a number, like `9`?"""
    for number in (2, 1):
        said = " ".join(words[:number])
        if len(words) < number or (said.isdecimal() and not alone):
            continue
        try:
            return typed.clock(said), number
        except Unreadable:
            continue
    return LAST_MINUTE, 0


def _unix(day: date, minute: int, where: tzinfo) -> float:
    return zones.moment(datetime(day.year, day.month, day.day), minute, where, second_time=False)
