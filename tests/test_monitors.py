"""Jobs: isolated from each other, never twice at once, never stopped by what they raise or by a clock."""

from __future__ import annotations

import datetime
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import schedule
from conftest import OWNER, Run, first_look

from base.clock import PHASE, slot
from base.worker import AlreadyReported
from monitors import LONGEST_REST, RETRY_EVERY, Job, Jobs, Scheduler
from simulation.account import SimBot
from simulation.simulator import Simulator


class Clock:
    """The computer's clock as `schedule` and the Scheduler read it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = datetime.datetime(2026, 10, 25, 2, 30)
        stub = SimpleNamespace(datetime=SimpleNamespace(now=self.now), timedelta=datetime.timedelta)
        monkeypatch.setattr(schedule, "datetime", stub)

    def now(self, zone: datetime.tzinfo | None = None) -> datetime.datetime:
        return self.time

    def pass_(self, seconds: float) -> None:
        self.time += datetime.timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


Runner = Callable[..., Scheduler]


@pytest.fixture
def runner(clock: Clock) -> Iterator[Runner]:
    """A scheduler by the test's clock. Its schedule thread is not started: the test calls `step`."""
    made: list[Scheduler] = []

    def make(*jobs: Job) -> Scheduler:
        scheduler = Scheduler(jobs, now=clock.now)
        made.append(scheduler)
        for worker in scheduler.workers[1:]:
            worker.start()
        return scheduler

    yield make
    for scheduler in made:
        scheduler.stop()
        assert scheduler.join(30)


def wait(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.001)


def test_a_job_runs_first_at_the_start_or_so_long_after_it(runner: Runner, clock: Clock) -> None:
    ran: list[str] = []
    scheduler = runner(
        Job(name="a", every=30, run=lambda: ran.append("a")),
        Job(name="b", every=30, after=2, run=lambda: ran.append("b")),
    )
    assert scheduler.step() == 2
    assert ran == ["a"]
    clock.pass_(2)
    scheduler.step()
    assert ran == ["a", "b"]


def test_a_job_runs_at_the_start_and_then_at_its_interval(clock: Clock, runner: Runner) -> None:
    runs: list[int] = []
    scheduler = runner(Job(name="a", every=15.0, run=lambda: runs.append(1)))
    assert scheduler.step() == LONGEST_REST
    assert len(runs) == 1
    clock.pass_(14.9)
    assert scheduler.step() == pytest.approx(0.1)
    assert len(runs) == 1
    clock.pass_(0.1)
    scheduler.step()
    assert len(runs) == 2


def test_fractions_of_a_second_are_kept(clock: Clock, runner: Runner) -> None:
    runs: list[int] = []
    scheduler = runner(Job(name="a", every=0.2, run=lambda: runs.append(1)))
    for number in range(1, 6):
        assert scheduler.step() == pytest.approx(0.2)
        assert len(runs) == number
        clock.pass_(0.2)


def test_a_job_whose_interval_changes_runs_when_it_says(clock: Clock, runner: Runner) -> None:
    runs: list[int] = []
    due = [clock.time]

    def rest() -> float:
        return (due[0] - clock.time).total_seconds()

    job = Job(name="a", every=4.0, run=lambda: runs.append(1), rest=rest)
    scheduler = runner(job)
    scheduler.step()
    due[0] = clock.time + datetime.timedelta(seconds=9)
    for seconds, count in ((4.0, 1), (4.9, 1), (0.2, 2)):
        clock.pass_(seconds)
        scheduler.step()
        assert len(runs) == count
    due[0] = clock.time + datetime.timedelta(seconds=1)
    assert scheduler.step() == pytest.approx(1)


def test_a_clock_put_back_costs_at_most_one_interval(clock: Clock, runner: Runner) -> None:
    """As when summer time ends, or a wrong clock is set right."""
    runs: list[int] = []
    scheduler = runner(Job(name="a", every=15.0, run=lambda: runs.append(1)))
    scheduler.step()
    clock.pass_(-3600)
    scheduler.step()
    clock.pass_(15)
    scheduler.step()
    assert len(runs) == 2


def test_a_clock_put_forward_silences_no_job(clock: Clock, runner: Runner) -> None:
    runs: list[int] = []
    scheduler = runner(Job(name="a", every=15.0, run=lambda: runs.append(1)))
    scheduler.step()
    clock.pass_(3600)
    scheduler.step()
    clock.pass_(15)
    scheduler.step()
    assert len(runs) == 3


def test_a_job_with_a_thread_that_hangs_stalls_no_other_and_is_not_begun_twice(
    clock: Clock, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hang, begun, others = threading.Event(), threading.Semaphore(0), []

    def stuck() -> None:
        begun.release()
        assert hang.wait(30)

    scheduler = runner(
        Job(name="stuck", every=5.0, run=stuck, thread="stuck"),
        Job(name="in a thread", every=5.0, run=lambda: others.append("thread"), thread="other"),
        Job(name="local", every=5.0, run=lambda: others.append("local")),
    )
    scheduler.step()
    assert begun.acquire(timeout=30)
    for number in range(2, 5):
        wait(lambda number=number: others.count("thread") >= number - 1, "the other thread's job")  # type: ignore[misc]
        clock.pass_(5)
        scheduler.step()
        assert others.count("local") == number
    assert not begun.acquire(blocking=False)
    assert caplog.text.count("The job stuck takes longer than its 5 s") == 1
    hang.set()

    def again() -> bool:
        clock.pass_(5)
        scheduler.step()
        return begun.acquire(blocking=False)

    wait(again, "the job runs again after its end")


@pytest.mark.parametrize("thread", ["schedule", "of its own"])
def test_a_job_that_raises_is_logged_and_runs_again_and_stalls_no_other(
    clock: Clock, runner: Runner, caplog: pytest.LogCaptureFixture, thread: str
) -> None:
    runs: list[str] = []

    def fails() -> None:
        runs.append("fails")
        raise ValueError("a bug")

    scheduler = runner(
        Job(name="a", every=5.0, run=fails, thread=thread),
        Job(name="b", every=5.0, run=lambda: runs.append("b"), thread=thread),
    )
    for number in (1, 2):
        scheduler.step()
        wait(lambda number=number: runs.count("b") == number, "the other job")  # type: ignore[misc]
        clock.pass_(5)
    assert runs == ["fails", "b", "fails", "b"]
    assert "The job a failed. It runs again in 5 s." in caplog.text
    assert "ValueError: a bug" in caplog.text


def test_a_trouble_that_its_part_has_logged_is_not_logged_again(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise AlreadyReported("the disk is full")

    runner(Job(name="a", every=5.0, run=fails)).step()
    assert not caplog.records


def test_threads_are_named_and_end() -> None:
    ran = threading.Event()
    scheduler = Scheduler(
        [
            Job(name="whales", every=60.0, run=ran.set, thread="whales"),
            Job(name="groups", every=60.0, run=ran.set, thread="telegram"),
            Job(name="disk", every=60.0, run=ran.set, thread="telegram"),
        ]
    )
    assert [worker.name for worker in scheduler.workers] == ["schedule", "whales", "telegram"]
    scheduler.start()
    assert ran.wait(30)
    scheduler.stop()
    assert scheduler.join(30)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_an_idle_bot_has_at_most_eleven_threads(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    # On a busy machine more messages overlap, for which there are more senders.
    bot = run_bot(before="from botapi import outbox; outbox.SENDERS = 2")
    bot.wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong")
    first_look(sim, "BTC")
    tasks = Path(f"/proc/{bot.pid}/task")
    sim.wait(lambda: len(list(tasks.iterdir())) <= 11, what="eleven threads at most")  # those of its start have ended


def test_a_thread_that_hangs_is_replaced_and_its_job_runs_again_after_what_it_asks_for() -> None:
    done, hangs = threading.Event(), threading.Event()
    order: list[str] = []

    def check() -> None:
        order.append("check")
        if len(order) == 1:
            hangs.set()
            done.wait(30)

    job = Job(name="whales", every=0.05, run=check, thread="whales", given_up=lambda: order.append("given up"))
    scheduler = Scheduler([job])
    scheduler.start()
    try:
        assert hangs.wait(30)
        _, stuck = scheduler.workers
        assert not scheduler.give_up(scheduler.workers[0]), "the schedule's own thread cannot be done without"
        assert scheduler.give_up(stuck)
        assert not scheduler.give_up(stuck), "once"
        deadline = time.monotonic() + 30
        while len(order) < 4 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert order[:3] == ["check", "given up", "check"]
        done.set()
        assert stuck.join(30), "the old thread ends when it comes back"
    finally:
        done.set()
        scheduler.stop()
        assert scheduler.join(30)


def test_a_market_that_fails_is_asked_again_sooner_and_one_that_rests_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks, retry = [0.0], list[float](), [False]
    monkeypatch.setattr("monitors.time.monotonic", lambda: clock[0])
    jobs: Any = Jobs.__new__(Jobs)
    object.__setattr__(jobs, "outbox", SimpleNamespace(alerts_paused=lambda: False, wake=lambda: None))
    object.__setattr__(jobs, "clock", lambda: PHASE + clock[0])
    watcher: Any = SimpleNamespace(feeds=SimpleNamespace(may_retry=lambda: retry[0], give_up=lambda: None))
    job = jobs._watch("funding", 50.0, lambda: looks.append(clock[0]), watcher)
    assert 15 < job.every <= RETRY_EVERY
    for number in range(7):
        clock[0] = number * job.every
        retry[0] = 3 < number < 5
        job.run()
    assert looks == [number * job.every for number in (0, 3, 4, 6)]


def test_a_market_is_asked_at_the_beginning_of_a_slot_and_as_often_as_it_should_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, looks = [slot(1e9) + 130.0], list[float]()
    monkeypatch.setattr("monitors.time.monotonic", lambda: clock[0] - 1e8)
    jobs: Any = Jobs.__new__(Jobs)
    object.__setattr__(jobs, "outbox", SimpleNamespace(alerts_paused=lambda: False, wake=lambda: None))
    object.__setattr__(jobs, "clock", lambda: clock[0])
    watcher: Any = SimpleNamespace(feeds=SimpleNamespace(may_retry=lambda: False, give_up=lambda: None))
    job = jobs._watch("funding", 60.0, lambda: looks.append(clock[0]), watcher)
    for _ in range(5000):  # a thread is never early and sometimes a little late
        job.run()
        clock[0] += job.every + 0.01
    assert all(at - slot(at, 60.0) < RETRY_EVERY + 1 or at - slot(at, 60.0) > 59 for at in looks[1:])
    rests = [after - before for before, after in pairwise(looks[1:])]
    assert 39 < min(rests) <= max(rests) < 61
