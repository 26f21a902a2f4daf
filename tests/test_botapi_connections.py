"""How late answers may be, and when the next try is made: tables on a clock of their own."""

from __future__ import annotations

import pytest

from botapi.connections import LATE_MOST, MARGIN, Delay
from botapi.errors import NoAnswer, Unreachable
from botapi.outage import Outage


class Line:
    """Questions on one line."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.delay = Delay(monotonic=lambda: self.now)

    def answer(self, seconds: float, *, after: float = 0.0, early: bool = False) -> None:
        """A question that is answered after so many seconds."""
        with self.delay.measured():
            self.now += seconds
            if early:
                self.delay.answered_early()
            else:
                self.delay.answered(after=after)

    def fails(self, error: Exception) -> None:
        """A question without an answer."""
        with pytest.raises(type(error)), self.delay.measured():
            raise error

    def late(self) -> float:
        """The delay that is reckoned with, in seconds."""
        return (self.delay.allowed() - MARGIN) / 2


@pytest.fixture
def line() -> Line:
    return Line()


def test_before_the_first_answer_the_line_may_be_slow(line: Line) -> None:
    assert line.late() == LATE_MOST


def test_the_first_answer_tells_at_once_how_quick_the_line_is(line: Line) -> None:
    line.answer(0.1)
    assert line.late() == pytest.approx(0.1)


def test_the_time_that_a_long_poll_waits_on_purpose_is_no_delay(line: Line) -> None:
    line.answer(3.2, after=3.0)
    assert line.late() == pytest.approx(0.2)


def test_an_answer_that_comes_before_its_time_is_not_late(line: Line) -> None:
    line.answer(1.0, after=3.0)
    assert line.late() == 0


def test_a_late_answer_counts_at_once_and_is_forgotten_slowly(line: Line) -> None:
    line.answer(0.1)
    line.answer(1.0)
    assert line.late() == pytest.approx(1.0)
    line.answer(0.1)
    assert line.late() == pytest.approx(0.6)


def test_no_delay_counts_for_more_than_the_most(line: Line) -> None:
    line.answer(60.0)
    assert line.late() == LATE_MOST


@pytest.mark.parametrize(("took", "late"), [(0.9, 0.9), (0.1, 0.6), (2.0, 1.0)])
def test_an_answer_with_updates_is_no_later_than_it_took(line: Line, took: float, late: float) -> None:
    line.answer(1.0)
    line.answer(took, early=True)
    assert line.late() == pytest.approx(late)


def test_an_answer_with_updates_alone_tells_nothing_of_the_line(line: Line) -> None:
    line.answer(0.0, early=True)
    assert line.late() == LATE_MOST


def test_only_two_silences_in_a_row_may_be_a_slow_line(line: Line) -> None:
    line.answer(0.1)
    line.fails(NoAnswer("silence"))
    line.answer(0.1)
    line.fails(NoAnswer("silence"))
    assert line.late() == pytest.approx(0.1)
    line.fails(Unreachable("refused"))
    assert line.late() == pytest.approx(0.1)
    line.fails(NoAnswer("silence"))
    assert line.late() == LATE_MOST


def test_a_call_that_must_not_be_made_twice_is_given_a_longer_margin(line: Line) -> None:
    line.answer(0.1)
    assert line.delay.allowed(1.0) == pytest.approx(1.2)


def test_a_try_without_a_network_begins_two_seconds_after_the_last_one_however_long_that_took() -> None:
    """The kernel repeats a lost SYN less and less often: a new try is quicker."""
    outage = Outage(now=lambda: 0.0, monotonic=lambda: 0.0, jitter=lambda: 0.5)
    outage.failed(Unreachable("refused"))
    outage.failed(Unreachable("refused"))
    rests = [outage.failed(Unreachable("no connection", took=took)) for took in (0.0, 0.5, 2.5)]
    assert rests == [2.0, 1.5, 0.0]
    assert outage.failed(Unreachable("HTTP 502", status=502, took=0.5)) == 32.0
