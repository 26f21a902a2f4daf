"""The bot's parts, who listens to whom, and the order in which they start and stop. run.py runs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from access import Groups, Link
from alerts.attachments import makers
from alerts.paused import pause
from alerts.places import Places
from alerts.publish import compose
from base import exit_codes, text
from base.clock import Clock
from base.config import Settings
from base.worker import Worker
from botapi.events import OutboxEvents, PollerEvents
from botapi.outbox import Outbox
from botapi.poller import LONG_POLL
from commands import table
from commands.context import Context
from commands.dispatch import Commands
from commands.due import Due
from commands.inbox import Inbox
from lock import InstanceLock
from monitors import Jobs, Scheduler
from service.listening import Listening
from service.metrics import Latency
from service.owner import OwnerInvitation, OwnerMessages
from service.state import Snapshot, State
from service.systemd import Notifier
from service.watchdog import PATIENCE, Watchdog
from store import Store
from store.coins import Coins
from store.copies import Copy
from watch.quotes import Quotes
from watch.watchers import Watchers

if TYPE_CHECKING:
    from service.web import HealthServer

log = logging.getLogger(__name__)


class Bot:
    """The parts of one running bot, which polls already.

    end: ends the process, with an exit code and a sentence for people; from any thread, and it returns at once.
    env_file: where an owner who opens the link is saved. copies: those that share the database, this one among them.
    web: a status page that is there already.
    """

    def __init__(
        self,
        settings: Settings,
        lock: InstanceLock,
        store: Store,
        listening: Listening,
        *,
        clock: Clock,
        end: Callable[[int, str], None],
        env_file: Path,
        link: Link = Link.NEVER,
        copies: Callable[[], Sequence[Copy]] = tuple,
        web: HealthServer | None = None,
    ) -> None:
        self._settings, self._lock, self._store, self._end = settings, lock, store, end
        self.clock, self._listening, self._copies, self.web = clock, listening, copies, web
        self.telegram, self.access, self.poller = listening.telegram, listening.access, listening.poller
        self._died = listening.died
        self.refused = threading.Event()  # Telegram does not take the token
        self._told_of_refusal = threading.Lock()  # taken once, never released
        nobody = listening.nobody
        self.invitation = OwnerInvitation(store, self.access, env_file, link=link, nobody=nobody, end=end, now=clock)
        self._make_alerts()
        self._make_commands()
        self._make_service()

    def _make_alerts(self) -> None:
        settings, store, now = self._settings, self._store, self.clock
        self.latency = Latency()
        self.outbox = Outbox(
            store,
            self.telegram,
            send_rate=settings.sends_per_second,
            now=now,
            alerts_paused=lambda: self.poller.polling_state().alerts_paused,
            is_ours=self.poller.is_ours,
            events=OutboxEvents(
                sent=self.latency.add,
                token_refused=self._token_refused,
                died=self._died,
                tell_owner=lambda words: self.owner.keep(words),  # noqa: PLW0108 - made below
                no_rights=lambda chat_id: pause(store, chat_id, now=now()),
            ),
            compose=lambda delivery: self.quotes.filled(compose(store, delivery, now=now())),
            attachments=makers(store, self._lock.folder, now=now),
        )
        self.owner = OwnerMessages(store, self.access, self.outbox, self.telegram, now)
        self.coins = Coins(store, settings.symbols)
        self.places = Places(
            store,
            now=now,
            tell_owner=self.owner.keep,
            told=self.outbox.wake,
            may_send=lambda: self.telegram.leads() and not self.poller.polling_state().alerts_paused,
            private=settings.out_private,
            on_death=self._died,
        )
        self.watchers = Watchers(
            settings, store, self.coins, now=now, notify_owner=self.owner.keep, published=self._published
        )
        self.quotes = Quotes(self.watchers.whales.venue_of, on_death=self._died)

    def _make_commands(self) -> None:
        settings, store, now = self._settings, self._store, self.clock
        self.context = Context(
            store,
            self.access,
            symbols=self.coins,
            now=now,
            default_min=self.watchers.default_threshold,
            status=lambda zone: self.state.lines(zone, polling=self.poller.status(zone)),
            host=settings.host,
            pause_others=self.telegram.heartbeat.pause_others,
            out_private=settings.out_private,
            places_changed=self.places.wake,
        )
        self.inbox = Inbox(
            store,
            self.access,
            Commands(self.context),
            stale_after=settings.stale_after_minutes * 60,
            now=now,
            limited=settings.sends_per_second > 0,
        )

    def _make_service(self) -> None:
        settings, folder = self._settings, self._lock.folder
        patience = LONG_POLL + PATIENCE  # seconds: a long poll waits on purpose
        self.state = State(
            folder,
            self._store,
            bot_id=settings.bot_id,
            host=settings.host,
            coins=self.coins,
            snapshot=self._snapshot,
            patience=patience,
            now=self.clock,
        )
        self.jobs = Jobs(
            settings=settings,
            store=self._store,
            clock=self.clock,
            lock=self._lock,
            outbox=self.outbox,
            watchers=self.watchers,
            due=Due(self.context, table.schedulable()),
            groups=Groups(self._store, ask=self.telegram.administrators, now=self.clock),
            end=self._end,
            owner_link=self.invitation.tick,
            database_trouble=self.owner.tell_of_trouble,
            save_database=self.owner.save_database,
            status_file=self.state.write,
        )
        self.scheduler = Scheduler(self.jobs.table(), on_death=self._died, may_decide=self.clock.may_decide)
        self.watchdog = Watchdog(self._workers, limit=patience, on_stuck=self._crash, give_up=self.scheduler.give_up)
        if settings.health_port and self.web is None:
            from service.web import HealthServer  # and http.server: off by default

            self.web = HealthServer.of(settings, self._died)

    def serve(self) -> None:
        """From now on what the poller brings is handled."""
        self._listening.serve(
            self.inbox,
            PollerEvents(
                connected=self._connected,
                tell_owner=self.owner.tell,
                changed=self.outbox.wake,
                reached=self.outbox.try_again,
            ),
        )

    def start(self) -> None:
        """Start every thread; the poller's runs. Returns at once."""
        self.owner.tell_of_damage()
        self.access.sweep()
        self.serve()
        self.outbox.start()
        self.places.start()
        self.scheduler.start()
        if self.web is not None:
            self.web.show(self.state.view)

    def stop(self, why: str = "", *, drain: float = 0.6) -> None:
        """End within the shortest limit of a supervisor (PM2: 1.6 s): cut the poll, send what can go, end threads.

        why: for `status`, where the bot ends by itself. drain: seconds for answers that wait.
        """
        self.watchers.stop()
        self.quotes.stop()
        self.scheduler.stop()
        self.poller.stop(0.6)
        self.outbox.stop(drain)
        self.places.stop(0.1)
        self.scheduler.join(0.3)
        self.state.end(why)

    def watch(self, notifier: Notifier) -> None:
        """For the main thread, twice a second: is a thread stuck? Tell the service manager. Never waits."""
        self.watchdog.look()
        notifier.report(self.poller.polling_state().state, well=not self.watchdog.stuck)

    # What the parts ask for

    def _workers(self) -> list[Worker]:
        return [self.poller.worker, *self.scheduler.workers, *self.outbox.workers()]

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            username=self.poller.username,
            polling=self.poller.polling_state(),
            conflict=self.poller.conflict_state(),
            sending_failed_since=self.outbox.unreachable_since(),
            sources=self.watchers.health(),
            workers=self._workers(),
            stuck=self.watchdog.stuck,
            latency=self.latency.spread(),
            started_at=self.clock.began(),
            copies=self._copies(),
            failing_for=self._store.failing_for(),
        )

    # What the parts report

    def _published(self) -> None:
        self.outbox.wake()
        self.places.published()

    def _crash(self, words: str) -> None:
        self._end(exit_codes.CRASHED, words)

    def _token_refused(self, words: str) -> None:
        self.refused.set()
        if self._told_of_refusal.acquire(blocking=False):  # several sending threads are refused at the same time
            log.warning("Sending: %s. Messages wait", words)

    def _connected(self, username: str) -> None:
        self.context.username = username
        self._lock.rename(username)
        self.invitation.connected(username)
        menu = [{"command": name, "description": words} for name, words in table.menu()]
        # Through the outbox, which tries until Telegram takes it: the first poll need not wait for it.
        self._store.messages.post(0, "setMyCommands", {"commands": menu}, now=self.clock())
        self.outbox.wake()
        log.info(
            "This is %s (bot %d). Folder: %s. Watching %s every %s",
            text.handle(username),
            self._settings.bot_id,
            self._lock.folder,
            ", ".join(self.coins),
            text.duration(self.watchers.whales.interval()),
        )
        if not self._store.chats.count():
            log.warning(
                "No chat gets alerts from this folder's database yet. Send /start to %s.", text.handle(username)
            )
