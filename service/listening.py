"""The first getUpdates at once: connects and polls while the rest of the bot is loaded. What comes waits for that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from access import Access, Link
from base import exit_codes
from base.clock import Clock
from base.config import NOBODY, ConfigError, Settings
from botapi.client import Telegram
from botapi.conflict import ConflictPolicy
from botapi.events import PollerEvents
from botapi.longpoll import Inbox
from botapi.poller import Poller
from service.events import died
from store import Store

HEAD_START = 0.05  # seconds in which nothing else competes with the first calls for the processor


class Listening:
    """The connection to Telegram, the gate and the poller. Raises ConfigError when nobody could use the bot.

    end: ends the process, with an exit code and a sentence for people; from any thread, and it returns at once.
    leads: may this copy call Telegram now? Asked before each call.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        clock: Clock,
        end: Callable[[int, str], None],
        link: Link,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        store.when_damaged(lambda words: end(exit_codes.CRASHED, words))
        self.telegram = Telegram(settings.token, settings.api_url, clock=clock, leads=leads)
        self.access = Access(store, owner_id=settings.owner_id, allowed_users=settings.allowed_users, now=clock)
        self.nobody = self.access.owner_id is None and not settings.allowed_users
        if self.nobody and link is Link.NEVER:
            raise ConfigError([NOBODY], missing=("OWNER_ID",))
        self._end = end
        self._connects = threading.Event()
        self._username: str | None = None
        self._inbox: Inbox | None = None
        self._events = PollerEvents()  # nobody listens yet
        self._serves = threading.Event()
        self._lock = threading.Lock()
        self.poller = Poller(
            self.telegram,
            store,
            self,
            events=PollerEvents(
                connected=self._connected,
                end=end,
                died=self.died,
                tell_owner=lambda words, pauses: self._served().tell_owner(words, pauses),
                changed=lambda: self._served().changed(),
                reached=lambda: self._served().reached(),
            ),
            policy=ConflictPolicy(
                on_conflict=settings.on_conflict,
                patience=settings.conflict_patience_minutes * 60,
                alone_here=settings.machine_wide_lock,
                host=settings.host,
            ),
            drop_pending=settings.drop_pending_updates,
            now=clock,
        )

    def start(self) -> None:
        """Start polling. Returns when it has connected, or soon: what comes next uses the time that calls travel."""
        self.poller.start()
        self._connects.wait(HEAD_START)

    def serve(self, inbox: Inbox, events: PollerEvents) -> None:
        """The rest of the bot is there: give it what has come and what comes. For one call.

        events: all but `end` and `died`.
        """
        with self._lock:  # so that `connected` is called once, whichever comes first
            self._inbox, self._events = inbox, events
            if self._username is not None:
                events.connected(self._username)
        self._serves.set()

    def died(self, thread: str) -> None:
        """End the process, because this thread ended by itself."""
        self._end(*died(thread))

    def _connected(self, username: str) -> None:
        with self._lock:
            self._username = username
            self._events.connected(username)
        self._connects.set()

    def _served(self) -> PollerEvents:
        self._serves.wait()
        return self._events

    # The poller's inbox

    def take(self, raw: dict[str, Any]) -> None:
        """Handle one update. Raises StoreError."""
        self._served()
        assert self._inbox is not None
        self._inbox.take(raw)

    def tell_stale(self, *, away_since: float | None) -> bool:
        """Tell each chat of commands that were too old to run."""
        self._served()
        assert self._inbox is not None
        return self._inbox.tell_stale(away_since=away_since)
