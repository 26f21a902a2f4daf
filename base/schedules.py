"""Repeating times as people type them: `09:00 18:00 mon-fri`, `every 4h`, a cron expression. No clock, no state.

Each becomes five-field cron expressions in one time zone. `cronsim` finds the times, also when clocks change: like
Debian's cron, a time that the clocks skip comes right after the change, and one that they repeat comes once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from base import text, typed, zones
from base.typed import Unreadable

SHORTEST = 900.0  # seconds between two times; a summary that comes more often is not a summary
TOO_OFTEN = "That is too often. The shortest interval is 15 minutes."
HOURS = (1, 2, 3, 4, 6, 8, 12)  # a day is a whole number of these
MOST_TIMES = 6  # times of day in one rule
CHECKED = 366 * 86400.0  # seconds of a cron expression's times that are looked through
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_NAMED = {
    "weekday": range(1, 6),
    "workday": range(1, 6),
    "businessday": range(1, 6),
    "m-f": range(1, 6),
    "weekend": (0, 6),
    "day": range(7),
    "daily": range(7),
    "everyday": range(7),
}
_OTHER = re.compile(
    r"(?:every|each) ?(?:-?\d[\d.,]* ?(?:m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)|minute|week|month)\b"
    r"|weekly\b|monthly\b",
    re.IGNORECASE,
)
_FILLERS = ("at", "on", "and", "every", "each", "all", "the", "a", "from", "o'clock", "o’clock", "uhr", "&", "+")
_DAY = r"[^\W\d_]{2,}"
_ONCE = re.compile(r"(?:today|tonight|tomorrow|in|once|until)|\d{1,2}\.\d{1,2}\.(?:\d+)?|\d+[-/]\d+[-/]\d+|\d+/\d+")


@dataclass(frozen=True)
class Schedule:
    """A rule for times. typed: the rule as people write it, to be kept. zone: its own one, "" for the chat's."""

    typed: str
    crons: tuple[str, ...]
    zone: str

    def next(self, after: float, *, zone: str = "UTC") -> float:
        """The first time after `after` (unix seconds); `zone` is used if the rule names none."""
        return self._step(after, zone, reverse=False)

    def previous(self, before: float, *, zone: str = "UTC") -> float:
        """The last time before `before`."""
        return self._step(before, zone, reverse=True)

    def _step(self, at: float, zone: str, *, reverse: bool) -> float:
        from cronsim import CronSim  # here, not at every start: only chats that scheduled something need it

        moment = datetime.fromtimestamp(at, UTC).astimezone(zones.zone(self.zone or zone))
        found = [
            at.timestamp()
            for cron in self.crons
            for at in itertools.islice(CronSim(cron, moment, reverse=reverse), 1)
        ]
        if not found:
            raise Unreadable(f"“{self.typed[:60]}” never matches a date.")
        return max(found) if reverse else min(found)


def parse(said: str) -> Schedule:
    """`09:00 18:00 [days] [Zone]`, `every 4h [Zone]` or `cron 30 8 * * 1-5 [Zone]`. Raises Unreadable."""
    said = re.sub(r"\b(?:once (?:a )?(?=da)|(?:work|business) (?=days?\b))", _joined_days, said, flags=re.IGNORECASE)
    said = re.sub(
        rf"\b({_DAY})\s*(?:[-–—]|\b(?:to|through|thru|bis|until)\b)\s*({_DAY})", _range, said, flags=re.IGNORECASE
    )
    words = typed.in_digits(re.sub(r"\s*,\s*", ",", said)).split()
    if not words:
        raise Unreadable("Give a time (09:00), an interval (every 4h) or a cron expression.")
    if words[0].lower() == "cron":
        return _cron(said.split()[1:])
    if re.match(r"(?:[\d*/,-]+ ){4}[\w*/,-]+( |$)", said) and "*" in said:
        return _cron(said.split())
    hourly = re.match(r"(?:every|each)\s*(\d{0,2})\s*(?:hours?|hrs?|h)\b|hourly\b", " ".join(words), re.IGNORECASE)
    if hourly is not None:
        return _every(int(hourly[1] or 1), " ".join(words)[hourly.end() :].split())
    if _OTHER.match(" ".join(words)):
        return _every(0, [])
    if words[0].lower() in ("every", "each") and re.fullmatch(r"\d\d?", "".join(words[1:2]), re.ASCII):
        _every(int(words[1]), [])  # raises
        words[:2] = [f"{words[1]}h"]  # hours or a time
    return _daily(words)


def _cron(words: Sequence[str]) -> Schedule:
    if len(words) not in (5, 6):
        raise Unreadable("A cron expression has five fields: minute hour day month weekday.")
    from cronsim import CronSim, CronSimError

    cron, zone = " ".join(words[:5]), _zone(words[5:])
    try:
        # Always from the start of the same leap year, so that the answer is the same every day.
        times = CronSim(cron, datetime(2028, 1, 1, tzinfo=UTC))
        first = [next(times).timestamp()]
        while len(first) < 200 and first[-1] - first[0] < CHECKED:
            first.append(next(times).timestamp())
    except CronSimError as error:
        raise Unreadable(f"“{cron[:60]}” is not a cron expression: {str(error).lower()}.") from None
    except StopIteration:
        raise Unreadable(f"“{cron[:60]}” never matches a date.") from None
    if min(later - sooner for sooner, later in itertools.pairwise(first)) < SHORTEST:
        raise Unreadable(TOO_OFTEN)
    return Schedule(_joined("cron", cron, zone), (cron,), zone)


def _every(hours: int, words: Sequence[str]) -> Schedule:
    if hours not in HOURS:
        offered = text.enumerated([f"{hours}h" for hours in HOURS], "or")
        more = "For once a day give a time: 09:00; for once a week: mon 09:00. More often: cron */15 * * * *"
        raise Unreadable(f"Intervals: every {offered}. {more}")
    zone = _zone(words)
    return Schedule(_joined(f"every {hours}h", zone), (f"0 */{hours} * * *",), zone)


def _range(found: re.Match[str]) -> str:
    """`monday to friday` and `mo - fr` as `monday-friday`; other words stay."""
    known = None not in [weekday(word.lower()) for word in found.groups()]
    return f"{found[1]}-{found[2]}" if known else found[0]


def _joined_days(found: re.Match[str]) -> str:
    """`once a day` as `day`, `work days` as `workdays`."""
    return "" if found[0].lower().startswith("once") else found[0].strip()


def _daily(words: Sequence[str]) -> Schedule:
    """Times, days and a zone in any order; 09:00 if there are only days."""
    minutes: list[int] = []
    days: list[int] = []
    place: list[str] = []
    order: list[str] = []
    said = typed.halves_of_day(" ".join(words))
    for word in re.sub(r"(?<=\d) (?=[ap]\.?m\b)", "", said, flags=re.I).split():
        found = _days(word.lower())
        if word.lower() in _FILLERS or typed.is_picture(word):
            continue
        if _ONCE.fullmatch(word.lower()):
            raise Unreadable(
                f"These times repeat, so “{word[:20]}” cannot be one: give times and days, like 09:00 mon-fri."
            )
        if found:
            days += found
            order.append("days")
        elif word[0].isdecimal() or word.lower() in ("noon", "midday", "midnight"):
            minutes += [_clock(part) for part in re.split("[,/+&]", word) if part]
            order.append("times")
        else:
            place.append(word)
    if not minutes and not days:
        raise Unreadable(f"I can't read “{' '.join(words)[:20]}” as a time. Write 09:00, 21:30 or 9pm.")
    if len(list(itertools.groupby(order))) > 3:  # weekdays 9 weekends 11
        raise Unreadable(
            "Every time would be for every one of these days. For other times on other days send one rule for each: "
            "/schedule 09:00 mon-fri digest"
        )
    minutes, days = sorted(set(minutes)) or [9 * 60], sorted(set(days))
    clocks = [f"{minute // 60:02}:{minute % 60:02}" for minute in minutes]
    zone = _place(place, before=clocks, after=_shown(days))
    if len(minutes) > MOST_TIMES:
        raise Unreadable(f"At most {MOST_TIMES} times a day. For more: every 1h")
    if min(later - sooner for sooner, later in itertools.pairwise([*minutes, minutes[0] + 1440])) * 60 < SHORTEST:
        raise Unreadable(TOO_OFTEN)
    weekdays = "*" if len(days) in (0, 7) else ",".join(map(str, days))
    crons = tuple(f"{minute % 60} {minute // 60} * * {weekdays}" for minute in minutes)
    return Schedule(_joined(*clocks, zone, _shown(days)), crons, zone)


def _clock(word: str) -> int:
    """The time of day of `9:30`. Raises Unreadable, also for `4h`, which is a time or an interval."""
    hours = re.fullmatch(r"(\d{1,2})h", word.lower(), re.ASCII)
    if hours is None or int(hours[1]) > 24:
        return typed.clock(word)
    if int(hours[1]) == 24:
        raise Unreadable("For once a day give a time: 09:00. At midnight: 00:00.")
    if int(hours[1]) not in HOURS:
        return int(hours[1]) * 60
    meant = [f"every {int(hours[1])}h", f"{int(hours[1]):02}:00"]
    raise Unreadable(f"Does “{word}” mean {text.enumerated(meant, 'or')}?", meant=meant)


def _place(words: Sequence[str], *, before: Sequence[str], after: str) -> str:
    """The zone that is left when times and days are read. Raises Unreadable; before, after: the rest of the rule."""
    try:
        return _zone(words)
    except Unreadable as problem:
        if problem.meant:
            meant = [_joined(*before, zone, after) for zone in problem.meant]
            raise Unreadable(str(problem), meant=meant) from None
        shown = text.clip(" ".join(words), 32)
        raise Unreadable(
            f"I can't read “{shown}” as a time, a day or a time zone. Write it like 09:00 mon-fri Berlin."
        ) from None


def _days(word: str) -> list[int]:
    """The weekdays (0 is Sunday) of `mon-fri`, `sat,sun`, `mo-fr`, `mondays`, `weekdays`; none for any other word."""
    chosen: list[int] = []
    for part in re.split("[,/+&]", word.replace("–", "-")):
        if part.removesuffix("s") in _NAMED:
            chosen += _NAMED[part.removesuffix("s")]
            continue
        ends = [weekday(name) for name in part.split("-")]
        if len(ends) > 2 or None in ends:
            return []
        first, last = ends[0] or 0, ends[-1] or 0
        chosen += [(first + step) % 7 for step in range((last - first) % 7 + 1)]
    return chosen


def weekday(word: str) -> int | None:
    """The number of a day (0 is Sunday) by the beginning of its name; None for any other word."""
    bare = word.rstrip(".").removesuffix("s")
    names = (place for place, name in enumerate(_DAYS) if name.startswith((bare, word)) and len(bare) > 1)
    return next(names, None)


def _shown(days: Sequence[int]) -> str:
    """`mon-fri` for days in a row, `sun,wed` for others, "" for all."""
    if len(days) in (0, 7):
        return ""
    first = next(day for day in days if (day - 1) % 7 not in days)
    row = [(first + step) % 7 for step in range(len(days))]
    if len(days) > 2 and set(row) == set(days):
        return f"{_DAYS[row[0]][:3]}-{_DAYS[row[-1]][:3]}"
    return ",".join(_DAYS[day][:3] for day in days)


def _zone(words: Sequence[str]) -> str:
    return zones.find(" ".join(words)) if words else ""


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)
