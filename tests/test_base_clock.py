"""One clock for every decision: the computer's may be wrong or jump, Telegram's puts it right."""

from __future__ import annotations

import logging

import pytest

from base.clock import PATIENCE, SETTLED, SURE, Clock

NOW = 1_790_000_000.0
YEAR = 365 * 86400.0
WRONG = [3 * 3600.0, -3 * 3600.0, 3 * YEAR, -50 * YEAR]


class Computer:
    """Its clock may be set; the counter goes on."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.passed, self.wrong = 5000.0, wrong
        self.clock = Clock(wall=lambda: NOW - 5000 + self.passed + self.wrong, counter=lambda: self.passed)

    @property
    def right(self) -> float:
        return NOW - 5000 + self.passed


@pytest.mark.parametrize("wrong", WRONG)
def test_a_computer_whose_clock_is_wrong_from_the_start_is_put_right_by_the_first_answer(wrong: float) -> None:
    computer = Computer(wrong)
    assert not computer.clock.may_decide()
    computer.clock.told(NOW, took=0.2)
    assert computer.clock() == pytest.approx(computer.right, abs=1.3)
    assert computer.clock.may_decide()
    assert computer.clock.began() == pytest.approx(computer.right, abs=1.3)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_clock_that_is_set_in_mid_run_moves_nothing(wrong: float) -> None:
    computer = Computer()
    computer.clock.told(NOW, took=0.2)
    computer.wrong = wrong
    computer.passed += 60
    assert computer.clock() == computer.right
    computer.clock.told(computer.right // 1, took=0.2)
    computer.passed += SETTLED + SURE
    computer.clock.follow_computer()
    assert computer.clock() == computer.right


def test_a_date_in_whole_seconds_and_a_slow_answer_are_no_reason_to_move() -> None:
    computer = Computer()
    for took, date in ((0.1, NOW), (0.1, NOW - 1), (4.0, NOW - 5)):
        computer.clock.told(date, took=took)
        assert computer.clock() == NOW


def test_a_server_whose_own_clock_is_behind_misleads_it_until_the_first_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    computer = Computer()
    for number in range(5):
        computer.clock.told(computer.right // 1 - 3600, took=0.1)
        computer.passed += 3
        computer.clock.message(computer.right, since=4)
        assert computer.clock() == pytest.approx(computer.right, abs=5), number
    assert len(caplog.records) <= 1


def test_a_message_that_telegram_passes_on_late_does_not_put_the_clock_back() -> None:
    computer = Computer()
    computer.clock.told(NOW, took=0.1)
    computer.clock.message(NOW - 600, since=4)
    assert computer.clock() == NOW


def test_it_does_not_drift_by_being_asked() -> None:
    """The counter goes on between two lines of code."""
    clock = Clock()
    began = clock.began()
    for _ in range(1000):
        clock.told(clock() // 1, took=0.1)
    assert clock.began() == began


def test_an_answer_that_a_frozen_process_reads_late_does_not_put_the_clock_back() -> None:
    computer = Computer()
    computer.clock.told(NOW - 3600, took=3601)
    assert computer.clock() == NOW


def test_a_message_is_never_from_the_future() -> None:
    """A self-hosted server sends no Date."""
    computer = Computer(-3600)
    computer.clock.told(None, took=0.1)
    assert computer.clock() == NOW - 3600
    computer.clock.message(NOW)
    assert computer.clock() == NOW
    computer.passed += SETTLED + 1
    computer.clock.follow_computer()
    assert computer.clock() == computer.right, "the computer's clock was not set, so it is as wrong as before"


@pytest.mark.parametrize("wrong", WRONG)
def test_without_telegrams_time_a_new_time_of_the_computer_counts_once_it_has_stayed(wrong: float) -> None:
    computer = Computer()
    computer.clock.told(None, took=0.1)
    computer.wrong = wrong
    for _ in range(10):
        computer.clock.follow_computer()
        assert computer.clock() == computer.right
        computer.passed += SETTLED / 10
    computer.passed += 1
    computer.clock.follow_computer()
    assert computer.clock() == pytest.approx(computer.right + wrong)


def test_a_jump_for_some_seconds_is_never_believed() -> None:
    computer = Computer()
    for wrong in (0.0, 3 * YEAR, 0.0, -3 * YEAR, 0.0):
        computer.wrong = wrong
        computer.clock.follow_computer()
        computer.passed += SETTLED - 1
        assert computer.clock() == computer.right
        assert not computer.clock.may_delete()


def test_nothing_old_is_deleted_until_telegram_or_an_hour_confirms_the_time() -> None:
    computer = Computer()
    computer.clock.told(None, took=0.1)
    computer.passed += SURE - 1
    assert not computer.clock.may_delete()
    computer.passed += 2
    assert computer.clock.may_delete()
    computer.wrong = 3 * YEAR
    assert not computer.clock.may_delete()
    computer.clock.told(computer.right, took=0.1)
    assert computer.clock.may_delete()


def test_without_a_word_from_telegram_work_begins_after_a_while() -> None:
    computer = Computer()
    computer.passed += PATIENCE + 0.1
    assert computer.clock.may_decide()


def test_a_wrong_clock_of_the_computer_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    computer = Computer(3 * 3600)
    for _ in range(3):
        computer.clock.told(computer.right, took=0.1)
        computer.passed += 10
    assert [record.getMessage() for record in caplog.records] == [
        "This computer's clock is 3 h ahead of Telegram's. The bot goes by Telegram's; set the computer's right."
    ]
