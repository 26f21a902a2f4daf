"""Jobs at intervals: the `schedule` thread, and one thread for each job. The only door to `schedule`.

`schedule` plans by the local wall clock, neither catches what a job raises nor plans that job again, and runs
jobs one after the other. So a planned job here only rings its own thread, which never overlaps itself, and
the plan is checked against a monotonic clock: an hour put back (summer time, a corrected clock) is no hour of
silence.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime

import schedule

from base.worker import Loop

log = logging.getLogger(__name__)

LONGEST_REST = 5.0  # seconds: how soon a clock that was put back is noticed, and how often a thread shows life


class _Worker:
    """One job and its thread."""

    def __init__(
        self, name: str, every: float, func: Callable[[], None], on_death: Callable[[str], None] | None
    ) -> None:
        self.every = every
        self.skipped = 0
        self.rung_at = -math.inf
        self.loop = Loop(name, self.step, on_death=on_death)
        self._func = func
        self._busy = False  # set by the schedule thread, cleared by the job's own

    def ring(self) -> None:
        if self._busy:
            self.skipped += 1
            if self.skipped == 1:
                log.info("Job %s takes longer than its %g s; it is not begun again before it ends", *self._described)
            return
        self._busy = True
        self.loop.wake()

    @property
    def _described(self) -> tuple[str, float]:
        return self.loop.name, self.every

    def step(self) -> float:
        if self._busy:
            try:
                self._func()  # what it raises is logged by the Loop, which goes on
            finally:
                self._busy = False
        return LONGEST_REST


class Scheduler:
    """Runs jobs every so many seconds, each for the first time at once. `clock` is monotonic, in seconds."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, on_death: Callable[[str], None] | None = None
    ) -> None:
        self._clock = clock
        self._on_death = on_death
        self._schedule = schedule.Scheduler()
        self._jobs: list[tuple[schedule.Job, _Worker]] = []
        self._loop = Loop("schedule", self.step, on_death=on_death)

    def add(self, job_name: str, every_seconds: float, func: Callable[[], None]) -> None:
        """Plan a job. Call it before `start`."""
        worker = _Worker(job_name, every_seconds, func, self._on_death)
        # Whole seconds for `schedule`; `step` sees to fractions.
        job = self._schedule.every(math.ceil(every_seconds)).seconds.do(self._ring, worker)
        self._jobs.append((job, worker))

    @property
    def loops(self) -> list[Loop]:
        """The threads, for a watchdog: `name` and `progress_at`, at most a few seconds old while it is well."""
        return [self._loop, *(worker.loop for _, worker in self._jobs)]

    def skipped(self, job_name: str) -> int:
        """How often a job was due while it still ran."""
        return sum(worker.skipped for _, worker in self._jobs if worker.loop.name == job_name)

    def start(self) -> None:
        for loop in reversed(self.loops):
            loop.start()

    def stop(self) -> None:
        """Ask every thread to end after what it is doing. Returns at once."""
        for loop in self.loops:
            loop.stop()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds in all; True when every thread has ended."""
        ends_at = time.monotonic() + timeout
        return all([loop.join(max(0.0, ends_at - time.monotonic())) for loop in self.loops])

    def step(self) -> float:
        """Ring the jobs that are due; return the seconds until the next one is."""
        now = self._clock()
        for job, worker in self._jobs:
            if now - worker.rung_at >= worker.every:
                job.next_run = datetime.now()
        self._schedule.run_pending()
        rests = [worker.rung_at + worker.every - now for _, worker in self._jobs]
        idle = self._schedule.idle_seconds
        return max(0.0, min(LONGEST_REST, *rests, LONGEST_REST if idle is None else idle))

    def _ring(self, worker: _Worker) -> None:
        worker.rung_at = self._clock()
        worker.ring()
