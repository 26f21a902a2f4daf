"""Long work is told of every few seconds and at its end; short work is not."""

from __future__ import annotations

import logging

import pytest

from watch.spot_reader import PROGRESS_EVERY, Progress


class Work:
    def __init__(self) -> None:
        self.now = 100.0
        self.progress = Progress(monotonic=lambda: self.now)

    def pages(self, count: int, *, seconds: float) -> None:
        for page in range(count):
            self.progress.note("page %d", page)
            self.now += seconds


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_short_work_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    for _ in range(3):
        work.pages(10, seconds=PROGRESS_EVERY / 20)
        work.progress.end("done after %s")
    assert caplog.messages == []


def test_long_work_says_every_few_seconds_where_it_is_and_when_it_is_done(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.pages(25, seconds=PROGRESS_EVERY / 10)
    work.progress.end("done after %s")
    assert caplog.messages == ["page 10", "page 20", "done after 10 s"]


def test_each_work_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.pages(15, seconds=PROGRESS_EVERY / 10)
    work.progress.end("done after %s")
    work.now += 3600
    work.pages(5, seconds=PROGRESS_EVERY / 10)
    work.progress.end("done after %s")
    assert caplog.messages == ["page 10", "done after 6 s"]
