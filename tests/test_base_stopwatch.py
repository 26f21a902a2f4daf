"""A stopwatch counts the time in which the process was frozen or the computer slept."""

from __future__ import annotations

import pytest

from base.stopwatch import CLOCKS, Stopwatch


@pytest.mark.parametrize("clock", range(3), ids=["monotonic", "wall", "since boot"])
def test_the_clock_that_went_furthest_counts(clock: int) -> None:
    times = [100.0, 5000.0, 70.0]
    watch = Stopwatch(tuple(lambda n=n: times[n] for n in range(3)))  # type: ignore[misc]
    times[clock] += 30.0
    assert watch.elapsed() == 30.0


def test_a_clock_that_was_put_back_does_not_hide_the_others() -> None:
    times = [100.0, 5000.0]
    watch = Stopwatch((lambda: times[0], lambda: times[1]))
    times[:] = [102.5, 1400.0]
    assert watch.elapsed() == 2.5


def test_the_real_clocks_agree_when_nothing_happened() -> None:
    watch = Stopwatch()
    assert 0.0 <= watch.elapsed() < 5.0
    assert len(CLOCKS) >= 2
