"""When a silent market has stopped: the rule alone."""

from __future__ import annotations

import pytest

from watch.silence import HABIT, READS, SHORTEST, TIMES, Silence


def reading(every: float, *, reads: int = READS, start: float = 1e9) -> Silence:
    silence = Silence()
    for number in range(reads):
        silence.traded(start + every * number, start + every * number)
    return silence


@pytest.mark.parametrize("every", [0.5, 15.0, 60.0, 600.0])
def test_a_coin_has_stopped_when_it_is_silent_five_times_as_long_as_ever_and_five_minutes(every: float) -> None:
    silence = reading(every, reads=max(READS, 1 + int(HABIT / every)))
    patience = max(SHORTEST, TIMES * every)
    assert silence.too_long(silence.newest + patience) == 0
    assert silence.too_long(silence.newest + patience + 1) == patience + 1
    assert silence.too_long(silence.newest + patience + 60) == 0, "told once"


def test_a_habit_must_be_known_first() -> None:
    assert reading(0.5).longest == 0.5
    silence = reading(60.0, reads=READS - 1)
    assert silence.too_long(silence.newest + 1e6) == 0
    silence = reading(1.0, reads=int(HABIT))
    assert silence.too_long(silence.newest + 1e6) == 0, "a busy minute is no habit, however often it was read"
    assert Silence(reads=READS).too_long(1e9) == 0, "no trade is known"


def test_a_long_silence_that_was_told_is_no_habit_and_one_that_was_not_is() -> None:
    silence = reading(60.0)
    since = silence.newest
    assert silence.too_long(since + 3000)
    assert silence.traded(since + 3600, since + 3700) == 3600
    assert (silence.longest, silence.told) == (60.0, 0)
    silence.traded(since + 3700 + 250, since + 3950)
    assert silence.longest == 250


def test_an_old_habit_fades() -> None:
    silence = reading(900.0)
    for number in range(96 * 4):
        at = silence.newest + 900.0 if number % 2 else silence.newest + 90.0
        silence.traded(at, at)
    assert silence.longest == 900.0
    for _ in range(960):
        silence.traded(silence.newest + 90.0, silence.newest + 90.0)
    assert 400 < silence.longest < 500


def test_the_time_before_the_first_read_is_no_habit() -> None:
    silence = Silence(newest=1e9)
    for number in range(READS):
        silence.traded(1e9 + 7200 + 60 * number, 1e9 + 7200 + 60 * number)
    assert silence.longest == 60
