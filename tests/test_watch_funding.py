"""Funding: made comparable, told when it crosses the mark, once in an interval; restarts change nothing."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venues.perpetuals import Rate
from watch.funding import FLIPPED, REARM, Change, Crossings

MANY = settings().max_examples  # 50, or what the profile says

MARK = 0.0005
HOUR_MS = 3_600_000
START_MS = 497_028 * HOUR_MS  # a whole hour


def rate(eight: float, *, at: float = 0.0, hours: float = 8.0, venue: str = "OKX") -> Rate:
    """`eight`: the rate for eight hours, `at`: hours after the start."""
    at_ms = START_MS + int(at * HOUR_MS)
    length = int(hours * HOUR_MS)
    return Rate(venue, "BTC", "BTC-USDT", eight * hours / 8, hours, (at_ms // length + 1) * length, at_ms)


def reference(rates: list[Rate], flips: bool) -> list[Change]:
    """What is told of one contract, from what the reader knows: the last thing told, and what came after it."""
    told: list[Change] = []
    side = sign = 0
    last_told = 0
    for number, new in enumerate(rates):
        value = new.eight_hours
        now_side = 1 if value >= MARK else -1 if value <= -MARK else 0
        now_sign = 1 if value >= MARK * FLIPPED else -1 if value <= -MARK * FLIPPED else 0
        if number == 0:
            side, sign = now_side, now_sign
            continue
        if side == 1 and value < MARK * REARM:
            side = 0
        if side == -1 and value > -MARK * REARM:
            side = 0
        if new.interval == last_told:
            continue
        if now_side != 0 and now_side != side:
            told.append(Change("above" if now_side == 1 else "below", new))
            side, sign, last_told = now_side, now_sign, new.interval
        elif now_sign != 0 and now_sign != sign:
            if sign != 0 and flips:
                told.append(Change("flip", new))
                last_told = new.interval
            sign = now_sign
    return told


@st.composite
def histories(draw: st.DrawFn) -> list[Rate]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0.02, 0.02, 0.5, 1.0, 5.0, 9.0]),
                st.sampled_from([-0.9, -0.5, -0.41, -0.39, -0.06, -0.04, 0.0, 0.04, 0.06, 0.39, 0.41, 0.5, 0.9]),
            ),
            max_size=40,
        )
    )
    hours = draw(st.sampled_from([1.0, 4.0, 8.0]))
    at, found = 0.0, []
    for step, permille in rows:
        at += step
        found.append(rate(permille / 1000, at=at, hours=hours))
    return found


@given(histories(), st.booleans())
@settings(max_examples=3 * MANY, deadline=None)
def test_crossings_are_those_of_a_slow_obvious_reference(history: list[Rate], flips: bool) -> None:
    watching = Crossings(MARK, flips=flips)
    assert [change for new in history for change in watching.feed([new])] == reference(history, flips)


@given(histories(), st.booleans())
@settings(max_examples=3 * MANY, deadline=None)
def test_looking_twice_and_restarting_after_each_look_change_nothing(history: list[Rate], flips: bool) -> None:
    told: list[Change] = []
    watching = Crossings(MARK, flips=flips)
    for new in history:
        told += watching.feed([new]) + watching.feed([new])
        kept = json.dumps(watching.dump())
        watching = Crossings(MARK, flips=flips)
        watching.load(json.loads(kept))
    assert told == reference(history, flips)


@given(histories())
@settings(max_examples=3 * MANY, deadline=None)
def test_nothing_is_told_twice_in_one_funding_interval(history: list[Rate]) -> None:
    watching = Crossings(MARK, flips=True)
    keys = [change.key for new in history for change in watching.feed([new])]
    assert len(set(keys)) == len(keys)


def test_rates_of_other_intervals_are_compared_for_eight_hours() -> None:
    hourly = Rate("Hyperliquid", "BTC", "BTC", 0.0000125, 1.0, 0, START_MS)
    assert math.isclose(hourly.eight_hours, 0.0001)
    assert math.isclose(hourly.year, 0.1095)
    assert hourly.interval == START_MS + HOUR_MS
    assert math.isclose(rate(0.0005, hours=4).year, 0.0005 * 3 * 365)


def test_what_was_so_at_first_sight_is_no_crossing() -> None:
    watching = Crossings(MARK)
    assert watching.feed([rate(0.0009)]) == []
    assert watching.feed([rate(0.0009, at=9)]) == []
    assert watching.feed([rate(0.0003, at=17)]) == []
    assert [change.kind for change in watching.feed([rate(0.0006, at=25)])] == ["above"]


def test_a_crossing_in_an_interval_of_which_something_was_told_is_told_in_the_next() -> None:
    watching = Crossings(MARK)
    watching.feed([rate(0.0)])
    assert len(watching.feed([rate(0.0006, at=1)])) == 1
    assert watching.feed([rate(-0.0006, at=2)]) == []
    assert [change.kind for change in watching.feed([rate(-0.0006, at=9)])] == ["below"]


@pytest.mark.parametrize("flips", [True, False])
def test_a_sign_that_changed_is_told_on_wish_only(flips: bool) -> None:
    watching = Crossings(MARK, flips=flips)
    watching.feed([rate(0.0001)])
    assert watching.feed([rate(-0.00001, at=1)]) == []  # around zero
    assert [change.kind for change in watching.feed([rate(-0.0001, at=2)])] == (["flip"] if flips else [])


def test_a_rate_of_exactly_a_mark_counts_and_is_armed_again_only_below_four_fifths() -> None:
    watching = Crossings(MARK, flips=True)
    watching.feed([rate(-MARK * FLIPPED)])
    assert [change.kind for change in watching.feed([rate(MARK * FLIPPED, at=1)])] == ["flip"]
    assert [change.kind for change in watching.feed([rate(MARK, at=9)])] == ["above"]
    assert watching.feed([rate(MARK * REARM, at=17)]) + watching.feed([rate(MARK, at=18)]) == []
    watching.feed([rate(MARK * REARM * 0.999, at=19)])
    assert [change.kind for change in watching.feed([rate(MARK, at=20)])] == ["above"]
