"""Notices a stuck thread and logs where it hangs. A thread that can be done without is given up in place; for another
one the process ends, so that a supervisor can start it again.

A resting thread is not stuck: a Worker says how long it rests. Only time in which the watchdog itself ran counts, so
after a laptop was suspended every thread gets its full time again.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from base.worker import Worker

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds a step may take beyond what it waits for on purpose
LOOK_EVERY = 5.0
GRACE = 10.0  # seconds for an orderly stop; after that the process is ended at once


class Watchdog:
    """Looks at the workers every few seconds. limit: seconds one of them may go without a heartbeat outside its rest.

    For the main thread, which waits for nothing else. give_up: replaces a stuck worker by a new one; False if it
    cannot be done without. on_stuck: called once, with a text for people; it should end the process. If that fails,
    `end_process` does. stuck: the names of the threads that are stuck now.
    """

    def __init__(
        self,
        workers: Callable[[], Sequence[Worker]],
        *,
        limit: float,
        on_stuck: Callable[[str], None],
        give_up: Callable[[Worker], bool] = lambda worker: False,
        monotonic: Callable[[], float] = time.monotonic,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._workers = workers
        self._limit = limit
        self._on_stuck = on_stuck
        self._give_up = give_up
        self._monotonic = monotonic
        self._end_process = end_process
        self._looked_at = -math.inf
        self._quiet: dict[Worker, tuple[int, float]] = {}  # heartbeats as last seen, seconds without a new one
        self.stuck: list[str] = []
        self._alarmed = False

    def look(self) -> None:
        """Look at every worker, if it is time to; raise the alarm when one is stuck. Call it often."""
        now = self._monotonic()
        ran = now - self._looked_at
        if ran < LOOK_EVERY:
            return
        self._looked_at = now
        # Called much later than asked for: this process was frozen, and so were the others.
        counted = 0.0 if ran > 2 * LOOK_EVERY else min(ran, LOOK_EVERY)
        stuck = [worker for worker in self._workers() if self._is_stuck(worker, counted)]
        stuck = [worker for worker in stuck if not self._given_up(worker)]
        self.stuck = [worker.name for worker in stuck]
        if stuck and not self._alarmed:
            self._alarmed = True
            self._alarm(stuck)

    def _is_stuck(self, worker: Worker, counted: float) -> bool:
        # In this order: a rest that ends between the two lines has beaten before `resting` went to 0.
        resting, heartbeats = worker.resting, worker.heartbeats
        known, quiet = self._quiet.get(worker, (-1, 0.0))
        quiet = quiet + counted if heartbeats == known else 0.0
        self._quiet[worker] = heartbeats, quiet
        return quiet > self._limit + resting

    def _given_up(self, worker: Worker) -> bool:
        if not self._give_up(worker):
            return False
        quiet = self._quiet.pop(worker)[1]
        words = "Stuck: %s did nothing for %.0f s. A new thread takes its place. Where every thread is:\n%s"
        log.error(words, worker.name, quiet, stacks())
        return True

    def _alarm(self, stuck: Sequence[Worker]) -> None:
        # First, because what follows takes locks that the stuck thread may hold, the log's own among them.
        end_for_sure(1, self._end_process)
        quiet = f"{max(self._quiet[worker][1] for worker in stuck):.0f} s"
        names = ", ".join(self.stuck)
        log.critical("Stuck: %s did nothing for %s. Where every thread is:\n%s", names, quiet, stacks())
        self._on_stuck(
            f"Stuck: {names} did nothing for {quiet}, so the bot could miss commands or alerts. It stops now (exit "
            f"1) so that a supervisor starts it again; without one, start it yourself. Nothing is lost. The lines "
            f"above show where each thread was."
        )


def end_for_sure(code: int, end_process: Callable[[int], object] = os._exit) -> None:
    """End the process after GRACE seconds if it still runs then, whatever hangs. Returns at once."""

    def end() -> None:
        threading.Event().wait(GRACE)
        end_process(code)

    threading.Thread(target=end, name="end", daemon=True).start()


def stacks() -> str:
    """The code position of every thread but this one, without any values."""
    frames = sys._current_frames()
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    return "\n".join(
        f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
        for thread in others
        if thread.ident in frames
    )
