"""Copies of the bot that share a database (DATABASE_URL): one leads, the others stand by and do nothing else.

A copy that loses the lead ends all its parts. When it leads again it makes new ones, which know nothing but what the
database says: another copy may have led meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from base import exit_codes
from base.clock import Clock
from base.config import NOBODY, Settings
from base.worker import Worker
from botapi.client import Telegram
from botapi.errors import TelegramError
from botapi.marks import Sent
from botapi.polling_state import ConflictState, PollingReport, PollingState
from botapi.storage import StoreError
from lock import InstanceLock, LockError
from service.app import Bot
from service.events import End, Events, begin_end, died, next_event
from service.listening import Listening
from service.metrics import Latency
from service.state import Snapshot, State
from service.systemd import Notifier
from service.web import HealthServer
from store import Store
from store.leader import Election, Role
from store.postgres import Server

log = logging.getLogger(__name__)

TELL_AFTER = 10.0  # seconds without the database after which the owner is told
TELL_LATER = 60.0  # and by a copy that did not lead: the one that did may be gone, too
CHECK_LOCK_EVERY = 30.0  # seconds


class Chosen(NamedTuple):
    """This copy is to lead."""

    store: Store


class Lost(NamedTuple):
    """This copy leads no longer."""

    why: str


class Sharing:
    """One copy, from its start to its end. listen, load: make the two halves of a bot that leads (run.py)."""

    def __init__(
        self,
        settings: Settings,
        lock: InstanceLock,
        events: Events,
        notifier: Notifier,
        *,
        listen: Callable[..., Listening],
        load: Callable[..., Bot],
    ) -> None:
        self._settings, self._lock, self._listen, self._load = settings, lock, listen, load
        self._events, self._notifier = events, notifier
        self._web = (
            HealthServer.of(settings, lambda thread: events.put(died(thread))) if settings.health_port else None
        )
        self._clock = Clock()
        self._owner, self._told = settings.owner_id, False
        self._nobody = settings.owner_id is None and not settings.allowed_users
        self._failed = ""  # why this copy was chosen and could not begin
        self._unsure: list[Sent] = []  # sent by an earlier leader here, and perhaps not marked
        host = settings.host
        self._election = Election(
            lambda name: Server(settings.database_url, bot_id=settings.bot_id, name=name),
            self._open,
            bot_id=settings.bot_id,
            host=host,
            chosen=lambda store: events.put(Chosen(store)),
            lost=lambda why: events.put(Lost(why)),
            refused=lambda why: events.put(End(exit_codes.BAD_SETTINGS, why)),
            died=lambda thread: events.put(died(thread)),
        )

    def run(self) -> int:
        """Stand by, lead, stand by again, until there is a reason to stop; returns the exit code."""
        self._election.worker.start()
        try:
            while True:
                event = self._stand_by()
                if isinstance(event, Chosen):
                    event = self._lead(event.store)
                if isinstance(event, End):
                    return event.code
        finally:
            self._election.stop()

    def _open(self, server: Server) -> Store:
        self._clock = Clock()  # the time is learnt anew from Telegram's first answer
        store = Store(server, now=self._clock)
        if self._failed:  # which is in the log
            store.lost(self._failed)
        return store

    def _stand_by(self) -> object:
        """Wait to be chosen; the event that ends the wait."""
        standby = Standby(
            self._settings, self._lock, self._election, self._events, owner=self._owner, told=self._told
        )
        if self._web is not None:
            self._web.show(standby.state.view)
        standby.worker.start()

        def meanwhile() -> None:
            self._election.watch()
            if self._nobody and any(copy.leads for copy in self._election.copies):
                self._events.put(End(exit_codes.BAD_SETTINGS, NOBODY))  # it could not lead when its time comes
            self._notifier.status(standby.words(), ready=True)
            self._notifier.alive()

        event: object = None
        while not isinstance(event, Chosen | End):
            event = next_event(self._events, self._lock.folder, meanwhile=meanwhile)
        standby.worker.stop()
        if isinstance(event, End):
            begin_end(event, self._notifier)
            standby.state.end(event.message if event.code else "")
        self._told = standby.told
        return event

    def _lead(self, store: Store) -> object:
        """Be the bot until the lead is lost or the bot ends; that event."""
        election = self._election
        with closing(store):
            listening = self._listen(store, clock=self._clock, leads=election.leads)
            election.lead()
            listening.start()
            try:
                bot = self._load(store, listening, clock=self._clock, copies=lambda: election.copies, web=self._web)
                bot.outbox.marks.may_be_forgotten = True
                bot.outbox.marks.take_over(self._unsure)
                bot.owner.told_of_trouble = self._told
                bot.start()
            except StoreError as error:  # such as a full disk, perhaps for hours
                listening.poller.stop(0.0)
                self._failed = str(error)
                event: object = Lost(self._failed)
            else:
                self._failed = ""
                election.begun()
                event = self._until_the_end(bot)
        if isinstance(event, Lost):
            election.stand(event.why, could_not_begin=bool(self._failed))
        return event

    def _until_the_end(self, bot: Bot) -> object:
        def meanwhile() -> None:
            self._election.watch()
            bot.watch(self._notifier)

        event: object = None
        while not isinstance(event, Lost | End):
            event = next_event(self._events, self._lock.folder, meanwhile=meanwhile)
        if isinstance(event, End):
            begin_end(event, self._notifier)
            self._election.end_soon()
            bot.stop(event.message if event.code else "")
        else:
            log.warning("This copy leads no longer. %s", event.why)
            bot.stop(drain=0.0)
            self._owner, self._told = bot.access.owner_id, bot.owner.told_of_trouble
            self._unsure = bot.outbox.marks.unsure()
        return event


class Standby:
    """What is shown of a copy that does not lead. told: the owner knows that the database is away."""

    def __init__(
        self,
        settings: Settings,
        lock: InstanceLock,
        election: Election,
        events: Events,
        *,
        owner: int | None,
        told: bool,
    ) -> None:
        self.worker = Worker("standby", self.step)
        self.told = told
        self._lock, self._election, self._events, self._owner = lock, election, events, owner
        self._host = settings.host
        self._telegram = Telegram(settings.token, settings.api_url)
        self._check_lock_at = time.monotonic() + CHECK_LOCK_EVERY
        self._tell_at = 0.0  # not before, by the monotonic clock
        self._began = time.time()
        self.state = State(lock.folder, None, bot_id=settings.bot_id, snapshot=self._snapshot)

    def words(self) -> str:
        """For the service manager."""
        leader = next((copy.host for copy in self._election.copies if copy.leads), "")
        if self._election.role is Role.AWAY:
            return PollingState.WAITING.words
        return f"Standing by: the copy on {leader} leads" if leader else PollingState.STANDBY.words

    def step(self) -> float:
        """Write the status, tell the owner, look after the lock of this machine."""
        self.state.write()
        now = time.monotonic()
        if now >= self._tell_at and not self._tell():
            self._tell_at = now + TELL_AFTER
        if now >= self._check_lock_at:
            self._check_lock_at = now + CHECK_LOCK_EVERY
            try:
                if (warning := self._lock.check()) is not None:
                    log.error("%s", warning)
            except LockError as error:
                self._events.put(End(exit_codes.CRASHED, str(error)))
        return 1.0

    def _tell(self) -> bool:
        """Tell the owner, past the queue, when the database is away and when it is back. False: to be tried again."""
        away, copies = self._election.away_for(), self._election.copies
        if self.told and not away and any(copy.leads for copy in copies):
            words = f"{self._host}: the database can be reached again, and another copy leads."
        elif not self.told and away > (TELL_AFTER if self._election.led_last else TELL_LATER):
            words = (
                f"{self._election.trouble} This is the copy on {self._host}: another one that reaches it takes over."
            )
        else:
            return True
        if self._owner is not None:
            try:
                self._telegram.send("sendMessage", {"chat_id": self._owner, "text": words})
            except TelegramError as error:
                log.info("The owner cannot be told about the database yet: %s", error)
                return False
        self.told = not self.told
        return True

    def _snapshot(self) -> Snapshot:
        away = self._election.role is Role.AWAY
        state = PollingState.WAITING if away else PollingState.STANDBY
        return Snapshot(
            username=self._lock.name,
            polling=PollingReport(state=state, last_good_at=None, failing_since=None),
            conflict=ConflictState(since=None, count=0),
            sending_failed_since=None,
            sources=(),
            workers=(self._election.worker,),
            stuck=(),
            latency=Latency().spread(),
            started_at=self._began,
            copies=self._election.copies,
            failing_for=self._election.away_for() or None,
        )
