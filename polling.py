"""`infinity_polling` without its sharp edges, the three kinds of 409, and standby.

`PollingBot` is a TeleBot whose `infinity_polling` ends at the first trouble instead of sleeping deaf;
`Poller` is the thread that decides what the trouble was, rests, and starts it again.

What a 409 of getUpdates means (Bot API server, Client.cpp): of two long polls the newer wins, the older gets
the 409. So a 409 tells of a poller that is alive and polled after us, or of a webhook; never of a dead one.
In standby this copy calls getWebhookInfo only, which disturbs nobody, and takes over when updates lie unread.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Any

import telebot

import exits
import text
from conflict import Rivalry, WebhookWar, retry_rest, standby_rest
from inbox import Inbox
from loop import Loop, beat
from state import ConflictState, PollingState
from store import Store, StoreError
from telegram import Conflict, Telegram, TelegramError, TokenRefused, TooManyRequests, Unreachable, Webhook

log = logging.getLogger(__name__)

LONG_POLL = 20  # seconds; the Bot API server allows up to 50
FIRST_POLL = 1
PROBE_POLL = 5  # after a conflict: a poll that nobody ends for so long means that nobody is there
STORE_REST = 5.0
OLD_ANSWER = 5.0  # an answer that waited longer for us may have been given to another copy meanwhile
FORGOTTEN = 6 * 86400.0  # after a week without updates Telegram may number them anew (Bot API, Update)
TELL_EVERY = 3600.0


class PollingBot(telebot.TeleBot):
    """A TeleBot that hands raw updates to the inbox and leaves `infinity_polling` when anything goes wrong."""

    def __init__(
        self,
        token: str,
        telegram: Telegram,
        store: Store,
        inbox: Inbox,
        *,
        poll_length: Callable[[], int],
        on_poll: Callable[[int], None],
        on_handled: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        super().__init__(token, threaded=False, skip_pending=False)
        self.trouble: Exception | None = None
        self.offset_sent = 0
        self._telegram = telegram
        self._store = store
        self._inbox = inbox
        self._poll_length = poll_length
        self._on_poll = on_poll
        self._on_handled = on_handled
        self._now = now
        self._ended = False
        mark, _, at = (store.value("inbox") or "-1 0").partition(" ")
        self.handled_id, self._last_at = int(mark), float(at)

    def run_until_trouble(self) -> Exception | None:
        """Poll until `end()` (None) or until something goes wrong (the error). Never sleeps."""
        self.trouble = None
        # The library sets this flag to leave infinity_polling and offers no way to take it back.
        self._TeleBot__stop_polling.clear()  # type: ignore[attr-defined]
        if not self._ended:
            self.infinity_polling(logger_level=None)
        return self.trouble

    def end(self) -> None:
        """Leave infinity_polling for good, at once. Safe from any thread."""
        self._ended = True
        self.stop_polling()  # type: ignore[no-untyped-call]
        self._telegram.cut()

    def next_offset(self) -> int:
        """What the next getUpdates asks for; 0 when the last known id is too old to mean anything."""
        return 0 if self._now() - self._last_at > FORGOTTEN else self.handled_id + 1

    def get_updates(self, *args: Any, **kwargs: Any) -> list[Any]:
        """One long poll. Every error is kept in `trouble` and ends infinity_polling; [] means nothing came."""
        beat()  # a step lasts as long as all goes well
        if self._ended:
            return self._leave(None)
        try:
            self.offset_sent = self.next_offset()
            updates = self._telegram.updates(self.offset_sent, timeout=self._poll_length())
        except Exception as error:
            return self._leave(None if self._ended else error)
        if updates and self._telegram.answer_age > OLD_ANSWER:
            log.warning("An answer of Telegram waited %s for this process; it is asked again", _age(self._telegram))
            return []
        try:
            self._on_poll(len(updates))
        except StoreError as error:
            return self._leave(error)
        return updates

    def process_new_updates(self, updates: list[Any]) -> None:
        """Give each update to the inbox; only what the store has taken is confirmed to Telegram later."""
        try:
            for raw in updates:
                if self._ended:
                    break
                update_id = raw.get("update_id")
                if not isinstance(update_id, int):
                    # It could never be confirmed: asked for again and again, at full speed, nothing else would come.
                    raise Unreachable("an update without a number")
                self._inbox.take(raw)
                self.handled_id = update_id
                self._last_at = self._now()
            if updates:
                with self._store.transaction(durable=True):
                    self._store.set_value("inbox", f"{self.handled_id} {self._last_at}")
                self._on_handled()
        except Exception as error:
            self._leave(error)

    def _leave(self, trouble: Exception | None) -> list[Any]:
        self.trouble = trouble
        self.stop_polling()  # type: ignore[no-untyped-call]
        return []


class Poller:
    """The polling thread: connects, clears the webhook, polls, stands by. Ends the process through `on_end`."""

    def __init__(
        self,
        token: str,
        telegram: Telegram,
        store: Store,
        inbox: Inbox,
        *,
        on_connected: Callable[[str], None],
        on_end: Callable[[int, str], None],
        on_death: Callable[[str], None],
        tell_owner: Callable[[str], None],
        on_news: Callable[[], None],
        on_standby: Callable[[bool], None] = lambda standby: None,
        on_conflict: str = "keep-alerting",
        patience: float = 900.0,
        drop_pending: bool = False,
        alone_here: bool = True,
        long_poll: int = LONG_POLL,
        probe_poll: int = PROBE_POLL,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.loop = Loop("polling", self.step, on_death=on_death)
        self.username = ""
        self.last_good_at: float | None = None
        self._telegram = telegram
        self._store = store
        self._inbox = inbox
        self._on_connected, self._on_end, self._on_news = on_connected, on_end, on_news
        self._on_standby = on_standby
        self._tell_owner = tell_owner
        self._on_conflict, self._patience, self._drop_pending = on_conflict, patience, drop_pending
        self._long_poll, self._probe_poll = long_poll, probe_poll
        self._now, self._monotonic, self._jitter = now, monotonic, jitter
        self._bot = PollingBot(
            token,
            telegram,
            store,
            inbox,
            poll_length=self._poll_length,
            on_poll=self._polled,
            on_handled=self._handled,
            now=now,
        )
        self._state: Callable[[], float] = self._connect
        self._running = False
        self._failures = 0
        self._failing_since: float | None = None
        self._away_since = float(store.value("last_poll") or 0) or None
        self._polling_since = 0.0
        self._rivalry = Rivalry(started=monotonic(), alone_here=alone_here, alerts_wait=on_conflict == "pause")
        self._war = WebhookWar()
        self._told: dict[str, float] = {}

    # What others call

    def start(self) -> None:
        self.loop.start()

    def stop(self, timeout: float) -> None:
        """End the poll in flight, wait for the thread, confirm what was handled. At most `timeout` seconds."""
        deadline = self._monotonic() + timeout
        self._bot.end()
        self.loop.stop()
        self.loop.join(timeout)
        left = deadline - self._monotonic()
        handled = self._bot.next_offset()
        # Needed only when updates were handled after the last poll was sent. The offset is then another one, so
        # the server's 3 s rule (same offset again: becomes a long poll) cannot put a 409 on a successor.
        if self._running and handled > self._bot.offset_sent and left > 0.1:
            try:
                self._telegram.updates(handled, timeout=0, limit=1, within=left)
            except TelegramError:
                log.info("The last updates could not be confirmed; they come again and are recognised as handled")

    def polling_state(self) -> PollingState:
        """How polling is, for status and health. Safe from any thread."""
        if self._failing_since is not None:
            state = "unreachable"
        elif self._state == self._standby:
            state = "standby"
        elif self._state == self._clear_webhook and self._war.hits:
            state = "webhook"
        elif self._rivalry.episode is not None:
            state = "retrying"
        else:
            state = "running" if self._running else "connecting"
        return PollingState(state=state, last_good_at=self.last_good_at, failing_since=self._failing_since)

    def conflict_state(self) -> ConflictState:
        """The conflict that is on and those that were, since the start. Safe from any thread."""
        return self._rivalry.state()

    def status(self, zone: tzinfo = UTC) -> list[str]:
        """Lines of /status about polling and conflict, times in that zone."""
        now = self._now()
        if self.last_good_at is None:
            lines = ["Polling: not yet; connecting."]
        else:
            lines = [f"Polling: last answer {text.duration(max(0.0, now - self.last_good_at))} ago."]
        if self._failing_since is not None:
            lines.append(f"Telegram unreachable since {text.clock(self._failing_since, now=now, zone=zone)}.")
        episode = self._rivalry.episode
        if episode is None:
            lines.append("Conflict: none.")
        else:
            state = "standing by" if self._state == self._standby else "polling again"
            since = text.clock(episode.since, now=now, zone=zone)
            lines.append(f"Conflict: another poller since {since}, {episode.count} times; {state}.")
        return lines

    # The thread

    def step(self) -> float:
        try:
            return self._state()
        except TokenRefused as error:
            self._on_end(
                exits.TOKEN_REFUSED,
                f"Telegram refuses this bot's token ({error}): it is wrong or was revoked. Get the current token "
                f"from @BotFather (/token), put it into TELEGRAM_BOT_TOKEN and start again.",
            )
            return 3600.0
        except TooManyRequests as error:
            log.info("Telegram asks polling to wait %g s", error.retry_after)
            return error.retry_after + 0.1
        except StoreError:
            return STORE_REST  # it was told of; what was not taken comes again
        except TelegramError as error:
            return self._failed(error)

    def _connect(self) -> float:
        before: list[Webhook] = []
        asking = threading.Thread(target=self._ask_webhook, args=(before,), daemon=True)
        asking.start()  # beside getMe: one wait instead of two
        try:
            self.username = str(self._bot.user.username)
        except (KeyError, TypeError, AttributeError):
            raise TelegramError("getMe answered something that is not the Bot API's") from None
        asking.join(5.0)
        self._on_connected(self.username)
        if self._drop_pending:
            self._telegram.drop_pending()
            self._drop_pending = False
            log.info("Updates that were waiting were dropped, as DROP_PENDING_UPDATES asks")
        if before and before[0].url:
            self._webhook_found(before[0])
        self._state = self._clear_webhook
        return 0.0

    def _ask_webhook(self, found: list[Webhook]) -> None:
        try:
            found.append(self._telegram.webhook())
        except TelegramError:
            pass  # getMe beside it tells what is wrong

    def _clear_webhook(self) -> float:
        self._bot.remove_webhook()
        still = self._telegram.webhook()
        if still.url:
            return max(1.0, self._webhook_found(still))  # removed again after a pause
        self._state = self._poll
        return 0.0

    def _poll(self) -> float:
        self._polling_since = self._monotonic()
        trouble = self._bot.run_until_trouble()
        if trouble is None:
            return 0.0
        if isinstance(trouble, Conflict):
            return self._conflict(trouble)
        raise trouble

    def _poll_length(self) -> int:
        """Seconds the next getUpdates waits: short at first, so that it is soon known whether polling works."""
        if self._rivalry.episode is not None:
            return self._probe_poll
        return self._long_poll if self._running else FIRST_POLL

    def _polled(self, updates: int) -> None:
        """A getUpdates was answered well."""
        now = self._now()
        if self._failing_since is not None:
            log.info("Polling: Telegram answers again after %s", text.duration(max(0.0, now - self._failing_since)))
        if not self._running:
            log.info("Polling: running as @%s", self.username)
        if self.last_good_at is not None and now - self.last_good_at > 60:
            self._away_since = self.last_good_at
        self._running, self._failing_since, self._failures = True, None, 0
        self.last_good_at = now
        unharmed = self._monotonic() - self._polling_since >= self._probe_poll - 0.5
        if self._rivalry.episode is not None and unharmed:
            words = self._rivalry.over(now=now)
            if words:
                self._tell_owner(words)
        if updates < 100:
            if updates == 0:
                self._tell_stale()
            self._store.set_value("last_poll", str(now))

    def _handled(self) -> None:
        """A batch of updates was taken into the store."""
        self._on_news()
        self._tell_stale()

    def _tell_stale(self) -> None:
        if self._inbox.tell_stale(away_since=self._away_since):
            self._on_news()
        self._away_since = None

    def _failed(self, error: Exception) -> float:
        """Network, 5xx, garbage: rest from 1 s to 60 s, growing. One log line when it begins."""
        if self._failing_since is None:
            self._failing_since = self._now()
            log.warning("Polling: %s. Tries go on; nothing is lost", error)
        self._failures += 1
        return min(60.0, 2.0 ** min(self._failures - 1, 6) * (0.75 + self._jitter() / 2))

    # Conflict

    def _conflict(self, error: Conflict) -> float:
        if error.by_webhook:
            return self._webhook_found(self._telegram.webhook())
        retry, words = self._rivalry.collided(error, now=self._now(), monotonic=self._monotonic())
        episode = self._rivalry.episode
        if words and episode is not None:
            episode.told = self._tell("conflict", words)
        if retry:
            return retry_rest(self._jitter())
        if self._state != self._standby:
            self._state = self._standby
            self._on_standby(True)
        return standby_rest(self._jitter())

    def _standby(self) -> float:
        episode = self._rivalry.episode
        if episode is None:
            self._state = self._poll
            return 0.0
        waited = self._now() - episode.since
        if self._on_conflict == "exit" and waited > self._patience:
            self._on_end(
                exits.CONFLICT_GIVEN_UP,
                f"Another program has polled with this bot's token for {text.duration(waited)}; as ON_CONFLICT=exit "
                f"asks, this copy gives up. Stop the other one, or get a new token with /revoke at @BotFather.",
            )
            return 3600.0
        found = self._telegram.webhook()
        self._failing_since, self._failures = None, 0
        if found.url:
            return self._webhook_found(found)
        if self._rivalry.nobody_reads(found.pending):
            self._state = self._poll
            self._on_standby(False)
            return 0.0
        return standby_rest(self._jitter())

    def _webhook_found(self, webhook: Webhook) -> float:
        self._state = self._clear_webhook
        if not webhook.url:
            return 0.0  # it is gone already
        rest, kind, words = self._war.hit(webhook.host, monotonic=self._monotonic(), jitter=self._jitter())
        if words:
            self._tell(kind, words)
        return rest

    def _tell(self, what: str, words: str) -> bool:
        """Tell the owner, at most once an hour of the same kind."""
        now = self._now()
        if now - self._told.get(what, 0.0) < TELL_EVERY:
            return False
        self._told[what] = now
        self._tell_owner(words)
        return True


def _age(telegram: Telegram) -> str:
    return text.duration(telegram.answer_age)
