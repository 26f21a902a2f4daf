"""The spread of delivery times: counted once each, percentiles that were measured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.latency import BOUNDS, LATEST, Latency


def test_nothing_sent_is_no_figure() -> None:
    spread = Latency().spread()
    assert (spread.p50, spread.p95, spread.longest, spread.latest, sum(spread.counts)) == (None, None, None, 0, 0)


def test_percentiles_are_by_the_nearest_rank() -> None:
    latency = Latency()
    for number in range(1, 101):
        latency.add(float(number))
    spread = latency.spread()
    assert (spread.p50, spread.p95, spread.longest) == (50.0, 95.0, 100.0)


def test_a_clock_that_went_back_makes_no_negative_time() -> None:
    latency = Latency()
    latency.add(-3600.0)
    assert latency.spread().longest == 0.0
    assert latency.spread().total == 0.0


@given(st.lists(st.floats(0, 1000), max_size=LATEST))
def test_each_message_is_in_the_one_bucket_whose_bound_it_does_not_exceed(times: list[float]) -> None:
    latency = Latency()
    for seconds in times:
        latency.add(seconds)
    counts = latency.spread().counts
    assert sum(counts) == len(times)
    for number, bound in enumerate(BOUNDS):
        assert sum(counts[: number + 1]) == sum(seconds <= bound for seconds in times)


def test_percentiles_forget_counts_do_not() -> None:
    latency = Latency()
    latency.add(500.0)
    for _ in range(LATEST):
        latency.add(0.01)
    spread = latency.spread()
    assert spread.longest == 0.01
    assert spread.counts[-1] == 1
    assert spread.latest == LATEST
