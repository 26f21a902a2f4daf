"""Time zones and quiet hours: understood as typed, right over midnight and when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import zones
from base.typed import Unreadable

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        (" New  York ", "America/New_York"),
        ("kolkata", "Asia/Kolkata"),
        ("CET", "CET"),
        ("utc", "UTC"),
        ("UTC+2", "UTC+2"),
        ("gmt -3", "UTC-3"),
        ("UTC+0", "UTC"),
        ("+2", "UTC+2"),
        ("UTC+5:30", "UTC+5:30"),
        ("+0545", "UTC+5:45"),
        ("Etc/GMT-2", "UTC+2"),
        ("Germany", "Europe/Berlin"),
        ("UK", "Europe/London"),
        ("India", "Asia/Kolkata"),
        ("Munich", "Europe/Berlin"),
        ("San Francisco", "America/Los_Angeles"),
        ("Beijing", "Asia/Shanghai"),
        ("Mumbai", "Asia/Kolkata"),
    ],
)
def test_a_zone_is_found_as_people_call_it(typed: str, name: str) -> None:
    assert zones.find(typed) == name


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("berln", "Europe/Berlin"),
        ("Berlin, Germany", "Europe/Berlin"),
        ("new york usa", "America/New_York"),
        ("EST", "America/New_York"),
        ("cst", "America/Chicago or Asia/Shanghai"),
    ],
)
def test_an_unknown_or_ambiguous_zone_is_refused_with_suggestions(typed: str, suggested: str) -> None:
    with pytest.raises(Unreadable, match=f"Did you mean .*{suggested}"):
        zones.find(typed)


@pytest.mark.parametrize(
    "typed", ["", "x" * 300, "Atlantis", "../etc/passwd", "UTC+25", "Europe", "\x00", "posix/UTC"]
)
def test_what_is_not_a_zone_is_refused_in_one_sentence(typed: str) -> None:
    with pytest.raises(Unreadable) as refused:
        zones.find(typed)
    assert len(str(refused.value)) < 200


def test_a_zone_that_this_machine_does_not_know_any_more_shows_as_utc() -> None:
    for name in ("Atlantis", "Europe", "../etc/passwd", ""):
        assert zones.zone(name) is UTC


@given(st.text(max_size=40))
def test_any_text_is_a_zone_or_refused(typed: str) -> None:
    try:
        name = zones.find(typed)
    except Unreadable:
        return
    assert name == "UTC" or zones.zone(name) is not UTC


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("22:00-07:00", "22:00-07:00"),
        ("22-7", "22:00-07:00"),
        (" 9:30 - 17 ", "09:30-17:00"),
        ("22:00 to 06:15", "22:00-06:15"),
        ("20-24", "20:00-00:00"),
    ],
)
def test_hours_are_read_as_people_write_them(typed: str, shown: str) -> None:
    assert str(zones.hours(typed)) == shown
    assert zones.hours(shown) == zones.hours(typed)


@pytest.mark.parametrize("typed", ["", "22", "22:00", "25-7", "22:60-7", "7-7", "0-24", "22-7-9", "a-b", "٢-٣٠"])
def test_what_is_not_a_time_range_is_refused(typed: str) -> None:
    with pytest.raises(ValueError):
        zones.hours(typed)


def at(day: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("typed", "now", "ends"),
    [
        ("22-7", "2026-01-10 23:00", "2026-01-11 07:00"),
        ("22-7", "2026-01-11 06:59:59", "2026-01-11 07:00"),
        ("22-7", "2026-01-11 07:00", None),
        ("22-7", "2026-01-10 21:59:59", None),
        ("22-7", "2026-01-10 22:00", "2026-01-11 07:00"),
        ("9-17", "2026-01-10 12:00", "2026-01-10 17:00"),
        ("9-17", "2026-01-10 08:59", None),
        ("20-24", "2026-01-10 23:59", "2026-01-11 00:00"),
    ],
)
def test_hours_hold_from_their_start_until_their_end_also_over_midnight(
    typed: str, now: str, ends: str | None
) -> None:
    assert zones.hours(typed).until(at(now), BERLIN) == (None if ends is None else at(ends))


def test_the_night_of_a_clock_change_ends_at_its_time_of_day() -> None:
    quiet = zones.hours("22-7")
    for change, length in (("2026-03-28", 8), ("2026-10-24", 10)):
        begins = at(f"{change} 22:00")
        ends = quiet.until(begins, BERLIN)
        assert ends is not None
        assert ends - begins == length * 3600
        assert datetime.fromtimestamp(ends, BERLIN).hour == 7


def test_a_time_that_the_clocks_skip_is_the_moment_of_the_change() -> None:
    change = at("2026-03-29 03:00")  # 02:00 becomes 03:00
    assert zones.hours("22-2:30").until(at("2026-03-29 01:59"), BERLIN) == change
    assert zones.hours("2:30-9").until(change - 1, BERLIN) is None
    assert zones.hours("2:30-9").until(change, BERLIN) == at("2026-03-29 09:00")


def test_an_hour_that_comes_twice_is_one_night_not_two() -> None:
    first, second = at("2026-10-25 02:45"), at("2026-10-25 02:15", fold=1)
    assert zones.hours("22-2:30").until(first, BERLIN) == at("2026-10-25 02:30", fold=1)
    assert zones.hours("2:30-9").until(second, BERLIN) == at("2026-10-25 09:00")


ZONES = st.sampled_from(
    [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")]
)
MINUTES = st.integers(min_value=0, max_value=1439)


@given(start=MINUTES, end=MINUTES, now=st.integers(min_value=1_750_000_000, max_value=1_850_000_000), zone=ZONES)
def test_quiet_hours_are_what_the_clock_on_the_wall_says(start: int, end: int, now: int, zone: ZoneInfo) -> None:
    """Except in an hour that comes twice, where the wall's clock alone does not know."""
    if start == end:
        return
    local = datetime.fromtimestamp(now, zone)
    until = zones.Hours(start, end).until(now, zone)
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        minute = local.hour * 60 + local.minute
        wall = start <= minute < end if start < end else minute >= start or minute < end
        assert (until is not None) == wall, local
    if until is not None:
        assert now < until <= now + 90_000
        assert zones.Hours(start, end).until(until - 1, zone) == until, "it lasts until its end"
        assert zones.Hours(start, end).until(until, zone) is None, "and then it is over"


@given(now=st.integers(min_value=1_750_000_000, max_value=1_850_000_000), zone=ZONES)
def test_the_hour_began_when_the_minute_hand_stood_at_twelve(now: int, zone: ZoneInfo) -> None:
    began = zones.hour_began(now, zone)
    assert now - 3600 < began <= now
    shown = datetime.fromtimestamp(began, zone)
    # Lord Howe's clocks change by half an hour.
    assert shown.minute == 0 or shown.dst() != datetime.fromtimestamp(now, zone).dst() or zone.key.endswith("Howe")
    assert zones.hour_began(began + timedelta(minutes=1).total_seconds(), zone) == began or zone.key.endswith("Howe")
