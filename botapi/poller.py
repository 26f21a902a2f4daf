"""The polling thread: `infinity_polling` through conflict-aware restarts, and standby.

`Poller` lets `longpoll.PollingBot` poll until there is trouble, decides what it was, rests, and polls again.

What a 409 of getUpdates means (Bot API server, Client.cpp): of two long polls the newer wins and the older gets the
409. So a 409 means a live poller that polled after us, or a webhook; never a dead one. In standby this copy calls
getWebhookInfo only, which disturbs nobody, and takes over when updates stay unread.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, tzinfo

from base import exit_codes, text
from base.clock import slot
from base.shell import bot_command
from base.worker import Worker
from botapi.client import Telegram, Webhook
from botapi.conflict import RETRY_REST, STANDBY_REST, After409, ConflictPolicy, Rivalry, WebhookWar, longer
from botapi.errors import Conflict, NotLeading, TelegramError, TokenRefused, TooManyRequests
from botapi.events import PollerEvents
from botapi.longpoll import Inbox, PollingBot
from botapi.outage import Outage
from botapi.polling_state import ConflictState, PollingReport, PollingState
from botapi.storage import Storage, StoreError

log = logging.getLogger(__name__)

LONG_POLL = 3  # seconds: how soon a dead connection is noticed; 20 polls of 1 kB a minute (docs/architecture.md)
FIRST_POLL = 1
STORE_REST = 5.0
WEBHOOK_LOOK = 10.0
MARK_EVERY = 600.0  # seconds of a slot, in which it is noted once that it polled: each is a write to the disk
TELL_EVERY = 3600.0


class Poller:
    """The polling thread: connects, clears the webhook, polls, stands by. Ends the process through `events.end`."""

    def __init__(
        self,
        telegram: Telegram,
        store: Storage,
        inbox: Inbox,
        *,
        events: PollerEvents,
        policy: ConflictPolicy | None = None,
        drop_pending: bool = False,
        long_poll: int = LONG_POLL,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.worker = Worker("polling", self.step, on_death=events.died)
        self.username = ""
        self.last_good_at: float | None = None
        self.read_all = False  # the last getUpdates brought nothing
        self._telegram = telegram
        self._store = store
        self._inbox = inbox
        self._events = events
        self._policy = policy or ConflictPolicy()
        telegram.heartbeat.beats = self._policy.pauses  # the other copy may be told the same
        self._drop_pending = drop_pending
        self._long_poll = long_poll
        self._now, self._monotonic, self._jitter = now, monotonic, jitter
        self._bot = PollingBot(
            telegram,
            store,
            inbox,
            poll_length=self._poll_length,
            on_poll=self._polled,
            on_handled=self._handled,
            now=now,
        )
        self._state: Callable[[], float] = self._connect
        self._running = self._stopping = False
        self._outage = Outage(now=now, monotonic=monotonic, jitter=jitter)
        try:
            self._away_since = float(store.value("last_poll") or 0) or None
        except ValueError:
            self._away_since = None
        self._polling_since = 0.0
        self._marked_at = 0.0
        self._rivalry = Rivalry(started=monotonic(), policy=self._policy)
        self._war = WebhookWar(started=monotonic())
        self._remove_at = 0.0
        self._told: dict[str, float] = {}

    # What others call

    def start(self) -> None:
        self.worker.start()

    def stop(self, timeout: float) -> None:
        """End the poll in flight, finish the batch in hand, confirm what was handled; at most `timeout` seconds."""
        deadline = self._monotonic() + timeout
        self._stopping = True
        self._bot.end()
        self.worker.stop()
        self.worker.join(timeout)
        left = deadline - self._monotonic()
        if left > 0.1:
            try:
                self._bot.confirm(within=left)
            except TelegramError:
                log.info("The last updates could not be confirmed; Telegram sends them again and they are skipped")

    def is_ours(self, update_id: int) -> bool:
        """May the answer to this handled update be sent, or may another copy have answered it? Any thread."""
        return self._bot.is_ours(update_id)

    def polling_state(self) -> PollingReport:
        """How polling is doing. Any thread may call it."""
        if self._outage.since is not None:
            state = PollingState.UNREACHABLE
        elif self._state == self._standby:
            state = PollingState.STANDBY
        elif self._state == self._clear_webhook and self._war.count:
            state = PollingState.WEBHOOK
        elif self._rivalry.current is not None:
            state = PollingState.RETRYING
        else:
            state = PollingState.RUNNING if self._running else PollingState.CONNECTING
        return PollingReport(
            state=state,
            last_good_at=self.last_good_at,
            failing_since=self._outage.since,
            alerts_paused=self._alerts_paused(),
        )

    def conflict_state(self) -> ConflictState:
        """The present conflict and earlier ones, since the start. Any thread may call it."""
        return self._rivalry.state()

    def status(self, zone: tzinfo = UTC) -> list[str]:
        """The lines of /status about polling and conflict, times in that zone."""
        now, polling, conflict = self._now(), self.polling_state(), self.conflict_state()
        return [
            f"Polling: {polling.described(now=now, zone=zone)}.",
            f"Conflict: {conflict.described(now=now, zone=zone)}.",
        ]

    # The thread

    def step(self) -> float:
        """One step: connect, remove a webhook, poll until there is trouble, or look from standby. Seconds to rest."""
        paused = self._alerts_paused()
        try:
            if self._outage.doubts_token:
                self._telegram.me()
                self._outage.token_is_good()
            return self._state()
        except TokenRefused as error:
            return self._refused(error)
        except TooManyRequests as error:
            self._outage.begins(error)
            return error.retry_after + 0.1
        except NotLeading:
            return 1.0  # this copy is about to stand by
        except StoreError:
            return STORE_REST  # the store has reported it; Telegram sends the updates again
        except TelegramError as error:
            return self._outage.failed(error)
        finally:
            if paused and not self._alerts_paused():
                self._events.changed()

    def _alerts_paused(self) -> bool:
        # Asked, not remembered: however standby ends (a take-over, a webhook), the pause ends with it.
        return self._state == self._standby and self._rivalry.alerts_paused

    def _connect(self) -> float:
        before: list[Webhook] = []
        asking = threading.Thread(target=self._ask_webhook, args=(before,), daemon=True)
        asking.start()  # at the same time as getMe
        try:
            self.username = str(self._bot.user.username or "")
        except (KeyError, TypeError, AttributeError):
            raise TelegramError("the answer to getMe is not one of the Bot API") from None
        asking.join(5.0)
        if self._drop_pending:
            self._telegram.drop_pending()
            self._drop_pending = False
            log.info("Waiting updates were dropped (DROP_PENDING_UPDATES)")
        self._events.connected(self.username)
        if before and before[0].url:
            self._webhook_found(before[0])
        self._state = self._poll if before and not before[0].url else self._clear_webhook
        return 0.0

    def _ask_webhook(self, found: list[Webhook]) -> None:
        try:
            found.append(self._telegram.webhook())
        except TelegramError:
            pass  # getMe, asked at the same time, reports the problem

    def _clear_webhook(self) -> float:
        left = self._remove_at - self._monotonic()
        if left > 0:  # someone sets it again and again: wait, unless they have given up
            if self._telegram.webhook().url:
                return min(left, WEBHOOK_LOOK)
            self._remove_at = 0.0
        self._telegram.delete_webhook()
        still = self._telegram.webhook()
        if still.url:
            return max(1.0, self._webhook_found(still))
        self._state = self._poll
        return 0.0

    def _poll(self) -> float:
        self._polling_since = self._monotonic()
        trouble = self._bot.run_until_trouble()
        if self._stopping and self.last_good_at is not None:
            self._mark(self.last_good_at)
        if trouble is None:
            # Two copies that start together must not look in step. Looks from standby never are.
            current = self._rivalry.current
            comes = not current.taken_over if current is not None else not self._bot.has_polled_alone
            return self._bot.rest * (1 + self._jitter() * (1.8 if comes else 0.1))
        if isinstance(trouble, Conflict):
            return self._conflict(trouble)
        raise trouble

    def _poll_length(self) -> int:
        """Seconds the next getUpdates waits: short at first and after a failure, to know soon whether polling works.

        Where something between us and Telegram ends every long poll, short ones still get the commands.
        """
        return self._long_poll if self._running and self._outage.since is None else FIRST_POLL

    def _polled(self, updates: int) -> None:
        """A getUpdates was answered."""
        now, monotonic = self._now(), self._monotonic()
        self._answered()
        if not self._running:
            log.info("Polling: running as %s", text.handle(self.username))
        if self.last_good_at is not None and now - self.last_good_at > 60:
            self._away_since = self.last_good_at
        self._running = True
        self.last_good_at = now
        self.read_all = updates == 0
        words = self._rivalry.unharmed(monotonic - self._polling_since, now=now, monotonic=monotonic)
        if words:
            self._events.tell_owner(words, "")
        self._war.polled(monotonic=monotonic)
        if updates == 0:
            self._tell_stale()
        if updates < 100 and slot(now, MARK_EVERY) != slot(self._marked_at, MARK_EVERY):
            self._mark(now)

    def _mark(self, at: float) -> None:
        self._store.set_value("last_poll", str(at))
        self._marked_at = at

    def _handled(self, more: bool) -> None:
        """A batch of updates is in the store. more: others wait, so it is too soon to report the skipped ones."""
        self._events.changed()
        if not more:
            self._tell_stale()

    def _tell_stale(self) -> None:
        if self._inbox.tell_stale(away_since=self._away_since):
            self._events.changed()
        self._away_since = None

    def _refused(self, error: TokenRefused) -> float:
        rest = self._outage.refused(error, worked=self._state != self._connect)
        if rest is not None:
            return rest
        self._events.end(
            exit_codes.TOKEN_REFUSED, f"{error.says}. {error.remedy} ({bot_command('setup')}) and start again."
        )
        return 3600.0

    def _answered(self) -> None:
        """Telegram gave a good answer."""
        if self._outage.over():
            self._events.reached()

    # Conflict

    def _conflict(self, error: Conflict) -> float:
        if error.by_webhook:
            return self._webhook_found(self._telegram.webhook())
        self._answered()
        next_step = self._rivalry.got_409(
            error, newcomer=not self._bot.has_polled_alone, now=self._now(), monotonic=self._monotonic()
        )
        current = self._rivalry.current
        if current is not None and current.count == 1:
            current.owner_knows = self._tell(
                "conflict", self._rivalry.message(next_step), pauses=self._rivalry.pauses()
            )
        if next_step is After409.RETRY:
            return RETRY_REST * (0.5 + self._jitter())  # two newcomers must not act in step
        self._state = self._standby
        return longer(STANDBY_REST, self._jitter())

    def _standby(self) -> float:
        episode = self._rivalry.current
        if episode is None:
            self._state = self._poll
            return 0.0
        waited = self._now() - episode.since
        if self._policy.on_conflict == "exit" and waited > self._policy.patience:
            self._events.end(
                exit_codes.CONFLICT_GIVEN_UP,
                f"Another copy has polled with this bot's token for {text.duration(waited)}, so this one stops "
                f"(ON_CONFLICT=exit). Stop the other copy, or get a new token with /revoke at @BotFather.",
            )
            return 3600.0
        asked = self._monotonic()
        found = self._telegram.webhook()
        self._answered()
        if found.url:
            return self._webhook_found(found)
        self._rivalry.hear(found.types, monotonic=self._monotonic())
        look = self._rivalry.looked(found.pending, asked=asked, answered=self._monotonic())
        if look.take_over:
            self._state = self._poll
        return longer(look.rest, self._jitter())

    def _webhook_found(self, webhook: Webhook) -> float:
        self._state = self._clear_webhook
        now = self._monotonic()
        removal = self._war.found(webhook.host or "an unknown host", monotonic=now)
        if removal.message:
            self._tell(removal.kind, removal.message)
        self._remove_at = now + longer(removal.rest, self._jitter())
        return min(removal.rest, WEBHOOK_LOOK)

    def _tell(self, what: str, words: str, *, pauses: str = "") -> bool:
        """Tell the owner; at most one message of a kind per hour."""
        now = self._now()
        if abs(now - self._told.get(what, 0.0)) < TELL_EVERY:
            return False
        self._told[what] = now
        self._events.tell_owner(words, pauses)
        return True
