"""What the bot watches and how often: the table of all jobs, and the `schedule` thread that starts them.

`Jobs.table` is the table. A job that is local and short runs in the schedule thread. A job that waits for a network
has a thread of its own, so a slow exchange delays nothing else. This is the only door to `schedule`.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import schedule

from access import Groups
from alerts.held_back import send_due
from alerts.publish import go_on
from base import exit_codes
from base.clock import Clock, slot
from base.config import Settings
from base.worker import AlreadyReported, Worker, heartbeat
from botapi.outbox import Outbox
from commands.due import Due
from lock import InstanceLock, LockError
from store import Store
from watch.watchers import Watcher, Watchers

log = logging.getLogger(__name__)

SCHEDULE = "schedule"  # the thread of every job that needs none of its own
HELD_EVERY = 15.0  # seconds: how soon after quiet hours the alerts held back are sent
MANY_EVERY = 5.0  # seconds: how soon an alert for many chats goes on; until then the first of them get theirs
STATUS_EVERY = 5.0  # seconds
ADMINS_EVERY = 10.0  # seconds: how soon a new group's admins are known
TROUBLE_EVERY = 10.0  # seconds: how soon the owner knows that the database cannot be written
MOST_GIVEN_UP = 20  # threads that hang at the same time; with more of them the process ends
LONGEST_REST = 5.0  # seconds: how soon a clock that was put back is noticed
RETRY_EVERY = 20.0  # seconds until a market that failed is asked again, at most
OPEN_ORDERS_EVERY = 1.0  # seconds until a coin with a whale order that may go on is read again
SOON = 0.05  # seconds before its time in which a round may begin
PRUNE_EVERY = 3600.0  # seconds
FILES_EVERY = 30.0  # seconds: how soon it is noticed that someone deleted the bot's files
DUE_WITHIN = 20.0  # seconds for scheduled messages in a round of `--once`
LOOK_AGAIN = 0.2  # seconds: how soon the jobs begin that wait for the time
# Fact in the store: when the latest finished round of whale checks began, by the computer's clock, as of `--once`.
ROUND_BEGAN = "checked"
ROUND_WANTED = "wanted"  # fact: since when a `--once` waits for one; only then it is noted


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something the bot does every so many seconds, for the first time `after` seconds from the start.

    waits: not before the time is known (base/clock.py), because it decides who gets what. given_up: what is done
    after it hung and its thread was given up. rest: seconds until the next time, where that changes.
    """

    name: str
    every: float
    run: Callable[[], object]
    thread: str = SCHEDULE
    after: float = 0.0
    waits: bool = False
    given_up: Callable[[], object] | None = None
    rest: Callable[[], float] | None = None


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """All jobs of the bot. The last ones belong to the running bot itself (service/)."""

    settings: Settings
    store: Store
    clock: Clock
    lock: InstanceLock
    outbox: Outbox
    watchers: Watchers
    due: Due
    groups: Groups
    end: Callable[[int, str], None]
    owner_link: Callable[[], None]
    database_trouble: Callable[[], None]
    save_database: Callable[[], None]
    status_file: Callable[[], object]

    def table(self) -> tuple[Job, ...]:
        """What the bot does, every how many seconds, and in which thread. Paused alerts pause the first six."""
        contracts = self.settings.derivatives_interval_seconds
        watch, watchers = self._watch, self.watchers
        return (
            # The markets
            self._whales(),
            watch("liquidations", contracts, watchers.liquidations.tick, watchers.liquidations),
            watch("funding", contracts, watchers.funding.tick, watchers.funding),
            watch("wallets", contracts, watchers.wallets.tick, watchers.wallets),
            # What chats asked for
            watch("scheduled messages", 5.0, self.due.tick),
            watch("held alerts", HELD_EVERY, lambda: send_due(self.store, now=self.clock())),
            self._many(),
            # Questions to Telegram, and a message that cannot wait in a broken database
            Job(name="group admins", every=ADMINS_EVERY, run=self.groups.tick, thread="telegram", waits=True),
            Job(name="database trouble", every=TROUBLE_EVERY, run=self.database_trouble, thread="telegram"),
            # The bot itself
            Job(name="owner link", every=1.0, run=self.owner_link),
            Job(name="status file", every=STATUS_EVERY, run=self.status_file),
            Job(name="database file", every=FILES_EVERY, after=1.0, run=self.save_database),
            Job(name="lock", every=FILES_EVERY, after=2.0, run=self._check_lock),
            Job(name="clock", every=60.0, run=self.clock.follow_computer),
            Job(name="old records", every=PRUNE_EVERY, run=self._prune, waits=True),
        )

    def check_spot(self) -> None:
        """One round for `--once`: whales, and the scheduled messages and held alerts that are due."""
        self.watchers.whales.tick()
        ends_at = time.monotonic() + DUE_WITHIN
        while self.due.tick() and time.monotonic() < ends_at:  # charts that wait for others stay due
            pass
        while send_due(self.store, now=self.clock()) or go_on(self.store, now=self.clock()):
            pass

    def _many(self) -> Job:
        """Alerts for more chats than one transaction takes: a thousand chats at a time, one after the other."""
        due_at = 0.0

        def run() -> None:
            nonlocal due_at
            due_at = time.monotonic() + MANY_EVERY
            if go_on(self.store, now=self.clock()):
                due_at = 0.0
                self.outbox.wake()

        def rest() -> float:
            return max(0.0, due_at - time.monotonic())

        return Job(name="alerts for many chats", every=MANY_EVERY, run=run, rest=rest, waits=True)

    def _prune(self) -> None:
        if self.clock.may_delete():
            self.store.prune(now=self.clock())

    def _watch(self, name: str, every: float, check: Callable[[], object], watcher: Watcher | None = None) -> Job:
        """A job that does nothing while alerts are paused (ON_CONFLICT=pause); what it found is sent at once.

        watcher: of a market; its job has a thread of its own, and is done sooner while one of its venues fails.
        """
        due_at = -math.inf

        def run() -> None:
            nonlocal due_at
            now = time.monotonic()
            early = watcher is not None and now < due_at - 1 and not watcher.feeds.may_retry()
            if not early and not self.outbox.alerts_paused():
                at = self.clock()
                due_at = now + slot(at + 1, every) + every - at  # in a new slot, where what was found is noted
                check()
                self.outbox.wake()

        if watcher is None:
            return Job(name=name, every=every, run=run, waits=True)
        often = every / math.ceil(every / RETRY_EVERY)
        return Job(name=name, every=often, run=run, thread=name, waits=True, given_up=watcher.feeds.give_up)

    def _whales(self) -> Job:
        """Trades: as often as the venues' limits allow, and the coins with an order that goes on sooner."""
        whales, due_at, again_at = self.watchers.whales, -math.inf, math.inf

        def run() -> None:
            nonlocal due_at, again_at
            now, again_at = time.monotonic(), math.inf
            if self.outbox.alerts_paused():
                due_at = now + whales.interval()
            elif now >= due_at - SOON:
                due_at = now + whales.interval()
                self._check_whales()
            else:
                whales.look_again()
            if whales.unfinished():
                again_at = time.monotonic() + OPEN_ORDERS_EVERY
            self.outbox.wake()

        def rest() -> float:
            return max(0.0, min(due_at, again_at) - time.monotonic())

        return Job(
            name="whales",
            every=whales.interval(),
            run=run,
            rest=rest,
            thread="whales",
            waits=True,
            given_up=whales.feeds.give_up,
        )

    def _check_whales(self) -> None:
        began = time.time()
        self.watchers.whales.tick()
        if began > self.store.read_value(ROUND_WANTED, float, math.inf):
            with self.store.transaction():
                self.store.set_value(ROUND_BEGAN, str(began))
                self.store.set_value(ROUND_WANTED, "")

    def _check_lock(self) -> None:
        try:
            warning = self.lock.check()
        except LockError as error:
            self.end(exit_codes.CRASHED, str(error))
            return
        if warning is not None:
            log.error("%s", warning)


class Scheduler:
    """Runs jobs at their intervals. A job never runs twice at once; one that raises is logged and planned again.

    `schedule` plans by the computer's clock, which can be put back: by hand, by the network, when summer time ends.
    So no job stays planned for later than one interval from now: a clock put back costs at most one interval.
    `now` is the local time, as `schedule` reads it. may_decide: is the time known, for jobs that wait for it?
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        *,
        on_death: Callable[[str], None] | None = None,
        may_decide: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._now, self._may_decide = now, may_decide
        self._plan = schedule.Scheduler()
        self._planned: list[tuple[schedule.Job, Job]] = []
        self._threads: dict[str, _Thread] = {}
        self._given_up: list[Worker] = []
        self._worker = Worker(SCHEDULE, self.step, on_death=on_death)
        first = now()
        for job in jobs:
            if job.thread != SCHEDULE and job.thread not in self._threads:
                self._threads[job.thread] = _Thread(job.thread, on_death)
            begin = partial(_run if job.thread == SCHEDULE else self._begin, job)
            # The annotation says int; what it means is a timedelta, which takes fractions of a second.
            planned = self._plan.every(job.every).seconds.do(begin)  # type: ignore[arg-type]
            planned.next_run = first + timedelta(seconds=job.after)
            self._planned.append((planned, job))

    @property
    def workers(self) -> list[Worker]:
        """The threads, for the watchdog."""
        return [self._worker, *(thread.worker for thread in self._threads.values())]

    def start(self) -> None:
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        """Ask every thread to end after the job it is doing. Returns at once."""
        for worker in self.workers:
            worker.stop()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds in all; True when every thread has ended."""
        ends_at = time.monotonic() + timeout
        return all([worker.join(max(0.0, ends_at - time.monotonic())) for worker in self.workers])

    def give_up(self, worker: Worker) -> bool:
        """A new thread takes the place of this stuck one; False for the schedule's own. For the watchdog's thread."""
        stuck = next((thread for thread in self._threads.values() if thread.worker is worker), None)
        self._given_up = [one for one in self._given_up if not one.join(0.0)]
        if stuck is None or len(self._given_up) >= MOST_GIVEN_UP:
            return False
        worker.give_up()
        self._given_up.append(worker)
        fresh = stuck.successor()
        self._threads[worker.name] = fresh
        fresh.worker.start()
        return True

    def _begin(self, job: Job) -> None:
        self._threads[job.thread].begin(job)

    def step(self) -> float:
        """Start the jobs that are due; return the seconds until the next one is."""
        now = self._now()
        known = self._may_decide()
        for planned, job in self._planned:
            planned.next_run = min(planned.next_run or now, now + timedelta(seconds=job.every))
            if job.rest is not None:
                planned.next_run = now + timedelta(seconds=job.rest())
            if job.waits and not known:
                planned.next_run = max(planned.next_run, now + timedelta(seconds=LOOK_AGAIN))
        self._plan.run_pending()
        rest = self._plan.idle_seconds
        return LONGEST_REST if rest is None else min(LONGEST_REST, max(0.0, rest))


class _Thread:
    """A thread for jobs that wait for a network. A job that is due while it still runs is left out that time."""

    def __init__(self, name: str, on_death: Callable[[str], None] | None) -> None:
        self.worker = Worker(name, self.step, on_death=on_death)
        self._on_death = on_death
        self._running: Job | None = None
        self._due: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._begun: set[str] = set()  # names of jobs that wait or run
        self._slow: set[str] = set()  # names of jobs whose length was logged

    def begin(self, job: Job) -> None:
        if job.name not in self._begun:
            self._begun.add(job.name)
            self._due.put(job)
            self.worker.wake()
        elif job.name not in self._slow:
            self._slow.add(job.name)
            log.info(
                "The job %s takes longer than its %g s. It starts again when it has finished.", job.name, job.every
            )

    def step(self) -> float:
        try:
            self._running = job = self._due.get_nowait()
        except queue.Empty:
            return LONGEST_REST
        try:
            _run(job)
        finally:
            self._running = None
            self._begun.discard(job.name)
        return 0.0

    def successor(self) -> _Thread:
        """A thread in place of this one, which is stuck; first it does what that job asks for."""
        fresh, job = _Thread(self.worker.name, self._on_death), self._running
        if job is not None and job.given_up is not None:
            fresh.begin(replace(job, name=f"{job.name} given up", run=job.given_up))
        return fresh


def _run(job: Job) -> None:
    heartbeat()  # a step of the schedule thread may run several jobs
    try:
        job.run()
    except AlreadyReported:
        pass  # who raised it has logged it
    except Exception:  # a bug in one job must not stop the others
        log.exception("The job %s failed. It runs again in %g s.", job.name, job.every)
