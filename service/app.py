"""The bot's parts and their wiring: what each is given, in which order they start and stop. process.py runs it."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from dataclasses import dataclass
from datetime import tzinfo
from enum import Enum
from pathlib import Path

from access import Access, Groups
from alerts.attachments import makers
from alerts.digest import Digests
from alerts.publish import compose
from base import exit_codes, logs, text
from base.config import NOBODY, ConfigError, Settings
from base.worker import Loop
from botapi.client import Telegram, TelegramError, TokenRefused
from botapi.outbox import Outbox
from botapi.poller import LONG_POLL, Poller
from commands import table
from commands.context import Desk
from commands.inbox import Inbox
from lock import InstanceLock
from machine import stop_requests
from monitors import Jobs, Scheduler
from service import once
from service.latency import Latency
from service.owner import OwnerInvitation, OwnerMessages
from service.state import Parts, State
from service.watchdog import PATIENCE, Watchdog
from service.web import HealthServer
from store import Store
from venues.availability import SourceHealth
from venues.spot import spot_venues
from watch.derivatives import Derivatives
from watch.whale_monitor import WhaleMonitor

log = logging.getLogger(__name__)


class Link(Enum):
    """Whether a link is shown on the terminal that makes whoever opens it the owner."""

    NEVER = "never"
    IF_NEEDED = "if nobody could use the bot"
    ONLY = "in any case, and the bot ends when it was opened"


@dataclass(frozen=True)
class End:
    """A reason to stop that came from inside: the exit code and what to tell."""

    code: int
    message: str


class Bot:
    """The parts and their wiring. Raises ConfigError when nobody could use it."""

    def __init__(
        self,
        settings: Settings,
        lock: InstanceLock,
        store: Store,
        events: queue.SimpleQueue[object],
        *,
        env_file: Path,
        link: Link = Link.NEVER,
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._store = store
        self._events = events
        self._started_at = time.time()
        store.when_damaged(lambda words: self._end(exit_codes.CRASHED, words))
        self._token_refusals = 0
        self._counting_refusals = threading.Lock()  # several sending threads meet the same refusal
        self.latency = Latency()
        self.telegram = Telegram(settings.token, settings.api_url)
        self.access = Access(
            store, owner_id=settings.owner_id, allowed_users=settings.allowed_users, now=self._server_time
        )
        nobody = self.access.owner_id is None and not settings.allowed_users
        if nobody and link is Link.NEVER:
            raise ConfigError([NOBODY], missing=("OWNER_ID",))
        self.monitor = WhaleMonitor(settings, store, spot_venues(settings.source_urls), notify_owner=self._tell_owner)
        self.derivatives = Derivatives(settings, store, notify_owner=self._tell_owner)
        self.desk = Desk(
            store,
            self.access,
            symbols=settings.symbols,
            now=self._server_time,
            default_min=self._default_min,
            status=self._status,
        )
        self.outbox = Outbox(
            store,
            self.telegram,
            send_rate=settings.send_rate,
            on_token_refused=self._token_refused,
            on_death=self._died,
            on_sent=self.latency.add,
            compose=lambda delivery: compose(store, delivery, now=time.time()),
            attachments=makers(
                store,
                lock.folder,
                now=time.time,
                redact=lambda words: logs.redact(words, settings.token.partition(":")[2]),
            ),
        )
        self.owner = OwnerMessages(store, self.access, self.outbox, self.telegram)
        self.digests = Digests(
            store, symbols=settings.symbols, default_min=self.monitor.default_threshold, now=self._server_time
        )
        inbox = Inbox(
            store,
            self.access,
            table.Commands(self.desk),
            stale_after=settings.stale_after_minutes * 60,
            now=self._server_time,
        )
        self.poller = Poller(
            settings.token,
            self.telegram,
            store,
            inbox,
            on_connected=self._connected,
            on_end=self._end,
            on_death=self._died,
            tell_owner=self._tell_owner,
            on_news=self.outbox.wake,
            on_standby=self._standby,
            on_reached=self.outbox.try_again,
            on_conflict=settings.on_conflict,
            patience=settings.conflict_patience * 60,
            drop_pending=settings.drop_pending_updates,
            alone_here=settings.machine_wide_lock,
        )
        self.invitation = OwnerInvitation(
            store,
            self.access,
            env_file,
            offered=link is Link.ONLY or (nobody and link is Link.IF_NEEDED),
            only=link is Link.ONLY,
            end=self._end,
            now=self._server_time,
        )
        patience = LONG_POLL + PATIENCE
        self.watchdog = Watchdog(
            self._loops,
            limit=patience,
            on_stuck=lambda words: self._end(exit_codes.CRASHED, words),
            on_death=self._died,
        )
        self.state = State(lock.folder, bot_id=settings.bot_id, parts=self._parts(), patience=patience)
        self.jobs = Jobs(
            settings=settings,
            store=store,
            lock=lock,
            outbox=self.outbox,
            whales=self.monitor,
            derivatives=self.derivatives,
            digests=self.digests,
            groups=Groups(store, ask=self.telegram.administrators, now=self._server_time),
            end=self._end,
            owner_link=self.invitation.tick,
            database_trouble=self.owner.tell_of_trouble,
            status_file=self.state.write,
        )
        self.scheduler = Scheduler(self.jobs.table(), on_death=self._died)
        self.web = (
            HealthServer(self.state.view, host=settings.health_host, port=settings.health_port, on_death=self._died)
            if settings.health_port
            else None
        )

    def start(self) -> None:
        """Start every thread. Returns at once."""
        self.owner.tell_of_damage()
        stop_requests.withdraw(self._lock.folder)  # left over from an earlier process
        self.access.sweep()
        # The poller first: it has the network's round trips to wait for, the others start meanwhile.
        self.poller.start()
        self.outbox.start()
        self.scheduler.start()
        self.watchdog.start()
        if self.web is not None:
            self.web.start()

    def one_round(self, pause: once.Pause) -> int:
        """Instead of `start`: check the markets once, deliver, and leave; returns the exit code."""
        code = once.alone(
            self.jobs,
            pause=lambda seconds: pause(seconds) or self._token_refusals > 0,
            refused=lambda: self._token_refusals > 0,
        )
        try:
            self.telegram.me(within=5.0)  # also when nothing waited: cron must not hide a revoked token
        except TokenRefused as error:
            if not self._token_refusals:
                self._token_refused(str(error))
        except TelegramError:
            pass  # what could not be sent was told of; nothing waited otherwise
        return exit_codes.TOKEN_REFUSED if self._token_refusals else code

    def stop(self) -> None:
        """Within the shortest limit of a supervisor (PM2: 1.6 s): cut the poll, drain what can go, end threads."""
        self.watchdog.stop()
        self.monitor.stop()
        self.derivatives.stop()
        self.scheduler.stop()
        self.poller.stop(0.6)
        self.outbox.stop(0.6)
        self.scheduler.join(0.3)
        self.state.remove()
        if self.web is not None:
            self.web.stop()

    # What the parts ask for

    def _server_time(self) -> float:
        """Our clock corrected by Telegram's: a wrong clock must not make commands look old."""
        return time.time() + self.telegram.clock_offset

    def _parts(self) -> Parts:
        return Parts(
            username=lambda: self.poller.username,
            polling=self.poller.polling_state,
            conflict=self.poller.conflict_state,
            sources=self._sources,
            pending=self._store.messages.pending_count,
            settled=lambda since: self._store.messages.counts(since=since),
            loops=self._loops,
            stuck=self.watchdog.healthy,
            store_failing_for=self._store.failing_for,
            latency=self.latency.spread,
            alerts_by_hour=lambda since: self._store.messages.alerts_by_hour(since=since),
        )

    def _loops(self) -> list[Loop]:
        return [self.poller.loop, *self.scheduler.loops, *self.outbox.loops()]

    def _end(self, code: int, message: str) -> None:
        self._events.put(End(code, message))

    def _died(self, thread: str) -> None:
        self._end(
            exit_codes.CRASHED, f"The thread {thread} ended by itself; the process ends with it. Its error is above."
        )

    def _token_refused(self, reason: str) -> None:
        with self._counting_refusals:
            self._token_refusals += 1
            first = self._token_refusals == 1
        if first:
            log.warning("Sending: the token was refused (%s). Put the current one from @BotFather into .env", reason)
        self.poller.loop.wake()

    def _connected(self, username: str) -> None:
        self.desk.username = username
        self._lock.name = username
        self.invitation.connected(username)
        menu = [{"command": name, "description": words} for name, words in table.menu()]
        # Through the outbox, which tries until Telegram has taken it: the first poll need not wait for it.
        self._store.messages.enqueue(0, "setMyCommands", {"commands": menu}, now=time.time())
        self.outbox.wake()
        log.info(
            "This is @%s (bot %d). Folder: %s. Watching %s every %g s",
            *(username, self._settings.bot_id, self._lock.folder),
            *(", ".join(self._settings.symbols), self._settings.whale_interval),
        )

    def _tell_owner(self, words: str) -> None:
        self.owner.tell(words)

    def _standby(self, standby: bool) -> None:
        self.outbox.alerts_paused = standby and self._settings.on_conflict == "pause"
        self.outbox.wake()

    def _sources(self) -> list[SourceHealth]:
        return [*self.monitor.health(), *self.derivatives.health()]

    def _default_min(self, monitor: str, symbol: str) -> float:
        if monitor == "whales":
            return self.monitor.default_threshold(symbol)
        return self.derivatives.default_threshold(monitor, symbol)

    def _status(self, zone: tzinfo) -> list[str]:
        now = time.time()
        lines = [
            f"Up {text.duration(now - self._started_at)}, pid {os.getpid()} on {socket.gethostname()}.",
            *self.poller.status(zone),
        ]
        unreachable = self.outbox.unreachable_since()
        if unreachable is not None:
            lines.append(f"Sending: Telegram unreachable since {text.clock(unreachable, now=now, zone=zone)}.")
        counts = self._store.messages.counts(since=now - 86400)
        lines.append(
            f"Messages: {counts['pending']:,} waiting; in 24 h {counts['sent']:,} sent, "
            f"{counts['buried']:,} undeliverable."
        )
        return [*lines, *(health.line(now, zone) for health in self._sources())]
