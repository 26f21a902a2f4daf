"""Jobs: isolated from each other, never twice at once, never stopped by what they raise or by a clock."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from monitors import Scheduler


class Jobs:
    """A scheduler with the test's clock; its own thread is not started, `step` is called instead."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.scheduler = Scheduler(clock=lambda: self.now)
        self.runs: list[str] = []
        self._changed = threading.Condition()
        self._started = False

    def job(self, name: str) -> Callable[[], None]:
        def run() -> None:
            with self._changed:
                self.runs.append(name)
                self._changed.notify_all()

        return run

    def step(self, *, after: float = 0.0) -> float:
        if not self._started:
            self._started = True
            for loop in self.scheduler.loops[1:]:
                loop.start()
        self.now += after
        return self.scheduler.step()

    def wait_runs(self, name: str, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.runs.count(name) >= times, 5), self.runs
        # The run was counted inside the job: it is over only when its thread says so.
        worker = next(worker for _, worker in self.scheduler._jobs if worker.loop.name == name)
        deadline = time.monotonic() + 5
        while worker._busy:
            assert time.monotonic() < deadline, "the job did not end"
            threading.Event().wait(0.001)


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.scheduler.stop()
    assert jobs.scheduler.join(5)


def test_a_job_runs_at_once_and_then_at_its_interval(jobs: Jobs) -> None:
    jobs.scheduler.add("a", 15.0, jobs.job("a"))
    jobs.step()
    jobs.wait_runs("a", 1)
    assert jobs.step(after=14.9) == pytest.approx(0.1)
    jobs.step(after=0.1)
    jobs.wait_runs("a", 2)
    assert jobs.runs == ["a", "a"]


def test_fractions_of_a_second_are_kept(jobs: Jobs) -> None:
    jobs.scheduler.add("a", 0.2, jobs.job("a"))
    for number in range(1, 6):
        assert jobs.step(after=0.2) == pytest.approx(0.2)
        jobs.wait_runs("a", number)


def test_a_job_that_hangs_stalls_no_other_and_is_not_begun_twice(jobs: Jobs) -> None:
    hang, begun = threading.Event(), threading.Semaphore(0)
    count = []

    def stuck() -> None:
        count.append(1)
        begun.release()
        assert hang.wait(10)

    jobs.scheduler.add("stuck", 5.0, stuck)
    jobs.scheduler.add("b", 5.0, jobs.job("b"))
    jobs.step()
    assert begun.acquire(timeout=5)
    jobs.wait_runs("b", 1)
    for number in range(2, 5):
        jobs.step(after=5)
        jobs.wait_runs("b", number)
    assert len(count) == 1
    assert jobs.scheduler.skipped("stuck") == 3
    hang.set()
    deadline = time.monotonic() + 5
    while not begun.acquire(timeout=0.01):
        jobs.step(after=5)
        assert time.monotonic() < deadline
    assert len(count) == 2


def test_a_job_that_raises_is_logged_and_runs_again(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        jobs.job("a")()
        raise ValueError("a bug")

    jobs.scheduler.add("a", 5.0, fails)
    jobs.step()
    jobs.wait_runs("a", 1)
    deadline = time.monotonic() + 5
    while jobs.runs.count("a") < 2:
        jobs.step(after=5)
        assert time.monotonic() < deadline
    assert "ValueError: a bug" in caplog.text
    assert "Thread a" in caplog.text


def test_a_wall_clock_put_back_costs_no_run(jobs: Jobs) -> None:
    jobs.scheduler.add("a", 15.0, jobs.job("a"))
    jobs.step()
    jobs.wait_runs("a", 1)
    job, _ = jobs.scheduler._jobs[0]
    job.next_run = datetime.now() + timedelta(hours=1)  # as `schedule` sees it when summer time ends
    jobs.step(after=15)
    jobs.wait_runs("a", 2)


def test_threads_are_named_show_progress_and_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ran = threading.Event()
    scheduler = Scheduler()
    scheduler.add("whales", 60.0, ran.set)
    assert [loop.name for loop in scheduler.loops] == ["schedule", "whales"]
    began = time.monotonic()
    scheduler.start()
    assert ran.wait(5)
    scheduler.stop()
    assert scheduler.join(5)
    assert all(loop.progress_at >= began for loop in scheduler.loops)
