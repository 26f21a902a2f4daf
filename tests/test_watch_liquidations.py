"""Waves of liquidations: the same as a slow, obvious reference; pages, ticks and restarts change nothing."""

from __future__ import annotations

import json
import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from venues.perpetuals import Liquidation
from watch.waves import GROWN, MOST, REARM, WINDOW_MS, Wave, Waves

MANY = settings().max_examples  # 50, or what the profile says

AMOUNT = 1_000_000.0
START_MS = 1_789_308_895_000


def event(at: int, usd: float, *, side: str = "long", coin: str = "BTC", venue: str = "OKX") -> Liquidation:
    return Liquidation(venue, coin, side, usd, 77_000.0 + at % 7, START_MS + at, f"{venue}{at}")


def waves() -> Waves:
    return Waves(lambda coin: AMOUNT)


def reference(events: list[Liquidation]) -> list[tuple[str, float, int, int]]:
    """(side, dollars, events, step) of what is told, from the full list of what came before each event."""
    found = []
    for side in ("long", "short"):
        mine = [e for e in events if e.side == side]
        wave: list[Liquidation] = []
        told, step = 0.0, 0
        for number, new in enumerate(mine):
            before = mine[:number]
            newest = max(e.at_ms for e in [*before, new])
            if new.at_ms <= newest - WINDOW_MS:
                continue
            # What was too late when it came is in no window.
            in_time = [e for i, e in enumerate(before) if e.at_ms > max(b.at_ms for b in mine[: i + 1]) - WINDOW_MS]
            window = [e for e in in_time if e.at_ms > newest - WINDOW_MS]
            if step and math.fsum(e.usd for e in window) < AMOUNT * REARM:
                told, step = 0.0, 0
            wave = [*(wave if step else window), new]
            total = math.fsum(e.usd for e in wave)
            if total >= (told * GROWN if step else AMOUNT) and max(e.usd for e in wave) <= MOST * total:
                told, step = total, step + 1
                found.append((number, side, total, len(wave), step))
    order = {id(e): n for n, e in enumerate(events)}
    by_side = {side: [e for e in events if e.side == side] for side in ("long", "short")}
    found.sort(key=lambda told: order[id(by_side[told[1]][told[0]])])
    return [told[1:] for told in found]


@st.composite
def tapes(draw: st.DrawFn) -> list[Liquidation]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0, 0, 1000, 30_000, 100_000, 299_999, 300_000, 300_001, 400_000, -20_000, -310_000]),
                st.sampled_from(["long", "long", "short"]),
                st.sampled_from([1024.0, 131_072.0, 262_144.0, 524_288.0, 1_048_576.0]),
                st.sampled_from(["OKX", "Gate"]),
            ),
            max_size=40,
        )
    )
    at, tape = 400_000, []
    for number, (step, side, usd, venue) in enumerate(rows):
        at += max(step, 0)
        tape.append(Liquidation(venue, "BTC", side, usd, 100.0, START_MS + at + min(step, 0), str(number)))
    return tape


def short(told: list[Wave]) -> list[tuple[str, float, int, int]]:
    return [(wave.side, wave.usd, wave.events, wave.step) for wave in told]


@given(tapes())
@settings(max_examples=3 * MANY, deadline=None)
def test_waves_are_those_of_a_slow_obvious_reference(tape: list[Liquidation]) -> None:
    assert short(waves().feed(tape)) == reference(tape)


EVERYWHERE = list(range(41))


@given(tapes(), st.just(EVERYWHERE) | st.lists(st.integers(0, 40), max_size=6))
@settings(max_examples=3 * MANY, deadline=None)
def test_pages_and_restarts_anywhere_change_nothing(tape: list[Liquidation], cuts: list[int]) -> None:
    told: list[Wave] = []
    watching = waves()
    for start, end in pairwise([0, *sorted(cut for cut in cuts if cut <= len(tape)), len(tape)]):
        told += watching.feed(tape[start:end])
        kept = json.dumps(watching.dump())
        watching = waves()
        watching.load(json.loads(kept))
    assert told == waves().feed(tape)


def test_a_restart_in_the_middle_of_a_wave_does_not_tell_it_anew() -> None:
    watching = waves()
    assert len(watching.feed([event(0, 600_000.0), event(1000, 500_000.0)])) == 1
    again = waves()
    again.load(json.loads(json.dumps(watching.dump())))
    assert again.feed([event(2000, 900_000.0)]) == []
    assert [wave.step for wave in again.feed([event(3000, 300_000.0)])] == [2]


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=300))
@settings(max_examples=MANY, deadline=None)
def test_a_wave_is_told_as_often_as_it_doubles_and_no_more(steps: list[int]) -> None:
    at, tape = 0, []
    for step in steps:
        at += step
        tape.append(event(at, 40_000.0))
    told = waves().feed(tape)
    total = 40_000.0 * len(tape)
    assert len(told) <= max(0, math.floor(math.log2(max(1.0, total / AMOUNT))) + 1)
    assert all(after.before == before.usd for before, after in pairwise(told))
    assert len({wave.key for wave in told}) == len(told)


def test_what_the_sum_names_is_what_happened() -> None:
    tape = [event(0, 600_000.0), event(60_000, 300_000.0, venue="Gate"), event(120_000, 200_000.0)]
    (wave,) = waves().feed(tape)
    assert (wave.usd, wave.before, wave.events, wave.biggest) == (1_100_000.0, 0.0, 3, 600_000.0)
    assert wave.last_ms - wave.first_ms == 120_000
    assert wave.venues == {"OKX": 800_000.0, "Gate": 300_000.0}
    assert (wave.low, wave.high) == (77_000.0, 77_006.0)


def test_one_big_liquidation_alone_is_no_wave() -> None:
    assert waves().feed([event(0, 5_000_000.0), event(1000, 100_000.0)]) == []


def test_longs_and_shorts_and_coins_are_never_added_up() -> None:
    tape = [
        event(n * 10, 300_000.0, side=side, coin=coin)
        for n in range(3)
        for side, coin in (("long", "BTC"), ("short", "BTC"), ("long", "ETH"))
    ]
    assert waves().feed(tape) == []


def test_what_comes_later_than_the_window_counts_for_no_sum() -> None:
    assert waves().feed([event(WINDOW_MS, 600_000.0), event(0, 600_000.0)]) == []
    assert len(waves().feed([event(WINDOW_MS, 600_000.0), event(1, 600_000.0)])) == 1


def test_a_sum_of_exactly_the_amount_is_a_wave_and_its_largest_may_be_four_fifths_of_it() -> None:
    (wave,) = waves().feed([event(0, 0.8 * AMOUNT), event(1000, 0.2 * AMOUNT)])
    assert (wave.usd, wave.step) == (AMOUNT, 1)
