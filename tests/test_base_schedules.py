"""Schedules: what people type becomes the times they mean, in their zone, across daylight saving changes."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import schedules
from base.typed import Unreadable

BERLIN = "Europe/Berlin"


def at(words: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(words).replace(tzinfo=ZoneInfo(zone)).timestamp()


def times(typed: str, after: str, count: int = 4, *, zone: str = "UTC") -> list[str]:
    """The next `count` times as a clock on the wall of `zone` shows them."""
    schedule, moment = schedules.parse(typed), at(after, zone)
    found = []
    for _ in range(count):
        moment = schedule.next(moment, zone=zone)
        found.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%a %d %H:%M"))
    return found


def test_a_time_of_day_comes_daily() -> None:
    assert times("09:00", "2026-11-24 09:00", 2) == ["Wed 25 09:00", "Thu 26 09:00"]


@pytest.mark.parametrize("days", ["mon-fri", "MON-FRI", "weekdays", "fri,mon,tue-thu"])
def test_days_are_kept_to(days: str) -> None:
    assert times(f"09:00 {days}", "2026-11-27 08:00", 3) == ["Fri 27 09:00", "Mon 30 09:00", "Tue 01 09:00"]


def test_days_may_go_round_the_weekend() -> None:
    assert times("09:00 fri-mon", "2026-11-26 12:00", 5) == [
        *("Fri 27 09:00", "Sat 28 09:00", "Sun 29 09:00", "Mon 30 09:00", "Fri 04 09:00")
    ]


def test_every_few_hours_follows_the_clock() -> None:
    assert times("every 4h", "2026-11-24 05:10", 3) == ["Tue 24 08:00", "Tue 24 12:00", "Tue 24 16:00"]


def test_a_cron_expression_means_what_cron_means() -> None:
    assert times("cron 30 8 * * 1-5", "2026-11-27 09:00", 2) == ["Mon 30 08:30", "Tue 01 08:30"]


@pytest.mark.parametrize("typed", ["09:00", "every 12h", "cron 0 9 * * *"])
def test_without_a_zone_of_its_own_a_rule_follows_the_chats(typed: str) -> None:
    schedule = schedules.parse(typed)
    assert schedule.next(at("2026-11-24 00:30", BERLIN), zone=BERLIN) == at(
        "2026-11-24 12:00" if "every" in typed else "2026-11-24 09:00", BERLIN
    )


def test_a_zone_of_its_own_wins() -> None:
    schedule = schedules.parse("09:00 America/New_York mon-fri")
    assert schedule.next(at("2026-11-24 10:00"), zone=BERLIN) == at("2026-11-24 14:00")


def test_a_zone_may_be_a_city() -> None:
    assert schedules.parse("09:00 berlin mon-fri").typed == "09:00 Europe/Berlin mon-fri"


def test_the_wall_clock_holds_when_daylight_saving_ends_and_begins() -> None:
    assert times("09:00", "2026-10-24 10:00", 2, zone=BERLIN) == ["Sun 25 09:00", "Mon 26 09:00"]
    assert times("09:00", "2026-03-28 10:00", 2, zone=BERLIN) == ["Sun 29 09:00", "Mon 30 09:00"]


def test_a_time_that_is_skipped_comes_right_after_and_one_that_is_repeated_comes_once() -> None:
    assert times("02:30", "2026-03-28 12:00", 2, zone=BERLIN) == ["Sun 29 03:00", "Mon 30 02:30"]
    assert times("02:30", "2026-10-24 12:00", 2, zone=BERLIN) == ["Sun 25 02:30", "Mon 26 02:30"]


@given(
    st.sampled_from(["09:00", "02:30", "00:00 mon-fri", "every 1h", "every 4h", "cron 15 */3 1 * *"]),
    st.floats(1.7e9, 2.0e9),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_the_next_time_is_later_and_nothing_lies_between_it_and_the_one_before(
    typed: str, now: float, zone: str
) -> None:
    schedule = schedules.parse(typed)
    following = schedule.next(now, zone=zone)
    before = schedule.previous(following, zone=zone)
    assert before <= now < following
    assert schedule.next(before, zone=zone) == following


@pytest.mark.parametrize(
    "typed", ["09:00", "21:30 mon-fri", "09:00 Europe/Berlin sat,sun", "every 4h", "cron 30 8 * * 1-5 Europe/Berlin"]
)
def test_a_rule_as_it_is_kept_reads_as_the_same_rule(typed: str) -> None:
    schedule = schedules.parse(typed)
    assert schedules.parse(schedule.typed) == schedule


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Give a time"),
        ("25:00", "“25:00” as a time. Write 09:00"),
        ("nine", "“nine” as a time. Write 09:00"),
        ("09:00 Mars/Base", "“Mars/Base” as a time, a day or a time zone"),
        ("09:00 Europe", "“Europe” has several time zones"),
        ("09:00 CST", "Did you mean America/Chicago or Asia/Shanghai"),
        ("09:00 ../../etc/passwd", "time zone"),
        ("09:00 09:05", "shortest interval is 15 minutes"),
        ("23:55 00:05", "shortest interval is 15 minutes"),
        ("1 2 3 4 5 6 7", "At most 6 times"),
        ("09:00 mon-funday", "time zone"),
        ("every 5h", "every 1h, 2h"),
        ("every 30m", "every 1h, 2h"),
        ("every 1.5h", "every 1h, 2h"),
        ("every 100h", "every 1h, 2h"),
        ("every 2 days", "every 1h, 2h"),
        ("every 4h 3h", "time zone “3h”"),
        ("every", "“every” as a time"),
        ("every minute", "Intervals: every 1h"),
        ("cron 30 8 * *", "five fields"),
        ("cron 61 8 * * *", "bad minute"),
        ("cron 0 0 30 2 *", "bad day-of-month"),
        ("cron * * * * *", "shortest interval is 15 minutes"),
        ("cron */5 9 * * mon", "shortest interval is 15 minutes"),
        ("cron 30 8 * * 1-5 Nowhere", "time zone “Nowhere”"),
    ],
)
def test_what_is_not_a_schedule_is_told_in_one_sentence(typed: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said) as caught:
        schedules.parse(typed)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_whatever_is_typed_is_a_schedule_or_refused(typed: str) -> None:
    for words in (typed, f"cron {typed}", f"every {typed}", f"09:00 {typed}"):
        try:
            schedules.parse(words)
        except Unreadable:
            pass
