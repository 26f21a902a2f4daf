"""A Worker: steps, rests that end at once, and bugs that are seen and never end the thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from base.worker import Worker, heartbeat

FAR = 60.0  # a rest that would fail every deadline here


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(step: Callable[[], float], *, on_death: Callable[[str], None] | None = None) -> Worker:
        worker = Worker("test", step, on_death=on_death, error_rest=0.0)
        workers.append(worker)
        worker.start()
        return worker

    yield make
    for worker in workers:
        worker.stop()
        assert worker.join(30), "the thread did not end"


def test_a_thread_that_was_given_up_ends_at_its_next_heartbeat_and_is_no_death() -> None:
    hangs, goes_on, died = threading.Event(), threading.Event(), list[str]()
    after: list[str] = []

    def step() -> float:
        hangs.set()
        goes_on.wait(30)
        heartbeat()
        after.append("worked on")
        return 0.0

    worker = Worker("stuck", step, on_death=died.append)
    worker.start()
    assert hangs.wait(30)
    worker.give_up()
    goes_on.set()
    assert worker.join(30)
    assert (after, died) == ([], [])


def test_a_stop_ends_a_long_rest_at_once(start: Callable[..., Worker]) -> None:
    stepped = threading.Event()

    def step() -> float:
        stepped.set()
        return FAR

    worker = start(step)
    assert stepped.wait(30)
    worker.stop()
    assert worker.join(30), "the rest was not ended"


def test_a_wake_ends_a_rest_at_once(start: Callable[..., Worker]) -> None:
    steps: queue.SimpleQueue[None] = queue.SimpleQueue()

    def step() -> float:
        steps.put(None)
        return FAR

    worker = start(step)
    for _ in range(3):
        steps.get(timeout=30)
        worker.wake()
    steps.get(timeout=30)


def test_a_wake_that_comes_during_a_step_is_not_lost(start: Callable[..., Worker]) -> None:
    inside, go_on, steps = threading.Event(), threading.Event(), queue.SimpleQueue[None]()

    def step() -> float:
        steps.put(None)
        inside.set()
        assert go_on.wait(30)
        return FAR

    worker = start(step)
    assert inside.wait(30)
    worker.wake()
    go_on.set()
    steps.get(timeout=30)
    steps.get(timeout=30)  # without the wake this step is a minute away


def test_a_step_that_raises_is_logged_with_its_traceback_and_the_loop_goes_on(
    start: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    went_on = threading.Event()
    steps = 0

    def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 1:
            raise ZeroDivisionError("a bug")
        went_on.set()
        return FAR

    start(step)
    assert went_on.wait(30)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_tells_its_name(start: Callable[..., Worker]) -> None:
    died: queue.SimpleQueue[str] = queue.SimpleQueue()

    def step() -> float:
        raise SystemExit

    worker = start(step, on_death=died.put)
    assert died.get(timeout=30) == "test"
    assert worker.join(30)


def test_a_thread_that_was_stopped_is_not_reported_as_dead(start: Callable[..., Worker]) -> None:
    died: list[str] = []
    worker = start(lambda: FAR, on_death=died.append)
    worker.stop()
    assert worker.join(30)
    assert died == []


def test_a_hung_step_is_told_by_join_and_by_progress(start: Callable[..., Worker]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def step() -> float:
        inside.set()
        go_on.wait(30)
        return FAR

    worker = start(step)
    assert inside.wait(30)
    before = worker.progress_at
    worker.stop()
    assert not worker.join(0.01)
    assert worker.progress_at == before
    go_on.set()
    assert worker.join(30)
    assert worker.progress_at > before


def test_a_loop_tells_a_rest_from_a_step_and_counts_every_heartbeat(start: Callable[..., Worker]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def step() -> float:
        heartbeat()
        inside.set()
        go_on.wait(30)
        return FAR

    worker = start(step)
    assert inside.wait(30)
    assert (worker.resting, worker.heartbeats) == (0.0, 1)
    go_on.set()
    deadline = time.monotonic() + 30
    while worker.heartbeats < 2 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert (worker.resting, worker.heartbeats) == (FAR, 2)


def test_a_beat_in_a_thread_that_is_no_loop_does_nothing() -> None:
    heartbeat()


def test_join_of_a_loop_that_never_began_is_true() -> None:
    assert Worker("idle", lambda: FAR).join(0)
