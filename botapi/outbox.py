"""Sends what the store holds: in order per chat, within Telegram's limits, until Telegram has taken it.

A delivery leaves the queue only when Telegram took it, or refused it for good. So a message is sent at least once,
and twice only if the process dies between Telegram's answer and the mark. While the store cannot be written (a full
disk) nothing is sent, because it could not be marked as sent.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from base.text import clip, duration
from base.worker import Worker
from botapi.errors import LineRenewed, NotLeading, Rejected, TelegramError, TokenRefused, TooManyRequests, Unreachable
from botapi.events import OutboxEvents
from botapi.failing import GIVE_UP_AFTER, FailingMessages, backoff
from botapi.marks import Marks
from botapi.pacing import LIMITS_LAST, Queues
from botapi.refusals import About, edit_is_lost
from botapi.sending import Maker, MakersBusyError, Sender, Sending
from botapi.storage import Delivery, Storage, StoreError

log = logging.getLogger(__name__)

SENDERS = 8
TRIED_FOR = duration(GIVE_UP_AFTER)
AFTER_FAILURE = 5.0  # seconds to rest after a failure of our own: of one message, or of the store
LAST_ANSWERS = 7.5  # seconds; with all else a stop takes, less than the 10 s after which the process is ended
NOT_KNOWN_YET = 0.2  # seconds after which to ask again whether another copy has answered
AS_ALL = 0.001  # seconds to hold one chat where the pause for all chats applies


class Outbox:
    """The sending threads. send_rate: messages a second in all, 0 for no limit.

    compose: a delivery's parameters at the moment of sending; None if there is nothing left to send.
    attachments: for each `kind` of attachment, how it is made. alerts_paused: while true, answers
    are sent and alerts wait; call `wake` when it changes. is_ours: may the answer to this update be sent? While it
    is false the answer waits: another copy may have given it.
    """

    def __init__(
        self,
        store: Storage,
        telegram: Sender,
        *,
        send_rate: float = 30.0,
        compose: Callable[[Delivery], dict[str, Any] | None] = lambda delivery: delivery.payload,
        attachments: Mapping[str, Maker] | None = None,
        alerts_paused: Callable[[], bool] = lambda: False,
        is_ours: Callable[[int], bool] = lambda update_id: True,
        events: OutboxEvents | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._telegram = telegram
        self._compose = compose
        self._sending = Sending(telegram, attachments or {})
        self.alerts_paused = alerts_paused
        self._is_ours = is_ours
        self._events = events or OutboxEvents()
        self._now, self._monotonic, self._jitter = now, monotonic, jitter
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)
        self._queues = Queues(rate=send_rate, now=monotonic())
        self._recalled = False  # what was sent before the start, in the last minute
        self._last_id = 0
        self._news = True
        self._failures = 0  # in a row, several at the same time counted once
        self._failing_since: float | None = None
        self._failing = FailingMessages()
        self._flooded: tuple[int, float] = (0, 0.0)  # the chat of the last 429 and its end
        self.marks = Marks(store, now=now, sent=self._events.sent)
        self._idle: set[Worker] = set()
        self._workers = [
            Worker(f"outbox-{n}", partial(self.step, n), on_death=self._events.died) for n in range(1, SENDERS + 1)
        ]
        self._started = 0
        self._draining = False

    # What others call

    def start(self) -> None:
        """Start the first sending thread; others start when there is more to send."""
        with self._lock:
            self._start_one()

    def wake(self) -> None:
        """There is something new in the store. Never blocks for long; any thread may call it."""
        with self._lock:
            self._news = True
            worker = next(iter(self._idle), None)
        if worker is not None:
            worker.wake()

    def try_again(self) -> None:
        """Telegram was just reached by another call: stop waiting for the network."""
        with self._lock:
            if self._failing_since is None:
                return
            self._failures = 0
            self._queues.hold_until = 0.0
        self.wake()

    def stop(self, timeout: float) -> None:
        """Send the answers that are due, for at most `timeout` seconds; then begin nothing more.

        A send in flight gets LAST_ANSWERS seconds: what Telegram took and nobody marked would be sent again.
        """
        self._draining = True
        started = self._workers[: self._started]
        for worker in started:
            worker.wake()
        with self._given_back:
            self._given_back.wait_for(lambda: not self._busy(), timeout)
        for worker in started:
            worker.stop()
        deadline = self._monotonic() + LAST_ANSWERS
        for worker in started:
            worker.join(max(0.0, deadline - self._monotonic()))

    def workers(self) -> list[Worker]:
        """The running threads, for a watchdog."""
        return self._workers[: self._started]

    def unreachable_since(self) -> float | None:
        """Since when nothing could be sent (unix seconds); None if all is well."""
        return self._failing_since

    # The threads

    def _start_one(self) -> None:
        self._started += 1  # before the thread runs: its first step may start the next one
        self._workers[self._started - 1].start()

    def _busy(self) -> bool:
        now = self._monotonic()
        news = self._news and self._queues.hold_until <= now
        return news or self._queues.answers_due(now) or self._queues.in_flight > 0

    def step(self, number: int = 1) -> float:
        """Sender `number` (from 1) sends at most one message. Returns the seconds until there may be one more."""
        try:
            if self.marks.failed and self.marks.write():
                self._look_again()
            return self._send_one(self._workers[number - 1])
        except StoreError:
            return AFTER_FAILURE  # the store has reported it

    def _send_one(self, worker: Worker) -> float:
        with self._lock:
            if self._news:
                self._take_news()
            claim = self._queues.claim(
                self._monotonic(),
                answers_only=self._draining or self.alerts_paused(),
                one_at_a_time=self._failing_since is not None,
            )
            if claim.delivery_id is None:
                self._idle.add(worker)
                self._given_back.notify_all()
                return claim.rest
            failures = self._failures
            self._idle.discard(worker)
            helper, more = next(iter(self._idle), None), self._queues.more()
            if more and helper is None and 0 < self._started < SENDERS:
                self._start_one()
        if more and helper is not None:
            helper.wake()
        hold = AFTER_FAILURE
        try:
            hold = self._deliver(claim.chat_id, claim.delivery_id, failures)
        finally:
            with self._lock:
                self._queues.give_back(claim.chat_id, claim.delivery_id, hold, now=self._monotonic())
                self._given_back.notify_all()
        return 0.0

    def _take_news(self) -> None:
        now = self._monotonic()
        if not self._recalled:
            clock = self._now()
            sent = self._store.sent_since(clock - LIMITS_LAST)
            self._queues.recall((now - max(0.0, clock - at), chat_id) for chat_id, at in sent)
            self._recalled = True
        for delivery_id, chat_id, lane in self._store.pending(after=self._last_id):
            self._queues.add(delivery_id, chat_id, lane, now=now)
            self._last_id = delivery_id
        self._news = False

    def _look_again(self) -> None:
        """The store has another message: an edit that follows one, or what the owner is told of one."""
        with self._lock:
            self._news = True

    # One message

    def _deliver(self, chat_id: int, delivery_id: int, failures: int) -> float:
        """Send one message and settle it in the store. Returns the seconds to hold this chat, 0 when it is done.

        failures: how many there were in a row when the message was claimed.
        """
        if delivery_id in self.marks.waiting:
            return AFTER_FAILURE
        delivery = self._store.delivery(delivery_id)
        if delivery is None:
            self._failing.settled(delivery_id)
            return 0.0  # withdrawn meanwhile, or its mark was written by now
        if delivery.update_id is not None and not self._is_ours(delivery.update_id):
            return NOT_KNOWN_YET
        payload = self._compose(delivery)
        if payload is None:
            self._store.settle_buried(delivery.id, reason="nothing left to send", now=self._now())
            return 0.0
        try:
            message_id = self._sending.send(delivery, payload)
        except (MakersBusyError, NotLeading):
            return 1.0
        except TooManyRequests as error:
            return self._flood(chat_id, error.retry_after)
        except TokenRefused as error:
            self._events.token_refused(error.says)
            return self._unreachable(delivery, Unreachable(str(error)), failures)  # perhaps a stray answer
        except LineRenewed:
            return AS_ALL
        except Unreachable as error:
            return self._unreachable(delivery, error, failures)
        except Rejected as error:
            self._reached()
            self._failing.settled(delivery.id)
            return self._rejected(delivery, error)
        self._failing.got_through()
        self._failing.settled(delivery.id)
        self._reached()
        if self.marks.sent(delivery, message_id):
            self._look_again()
        return 0.0

    # What can go wrong

    def _flood(self, chat_id: int, retry_after: float) -> float:
        now = self._monotonic()
        with self._lock:
            other, until = self._flooded
            if other != chat_id and until > now:
                # Two chats at once: it is the limit for all chats.
                self._queues.hold_until = max(self._queues.hold_until, now + retry_after)
            self._flooded = (chat_id, now + retry_after)
        log.info("Telegram asks for a pause of %g s in a chat", retry_after)
        return retry_after + 0.1

    def _unreachable(self, delivery: Delivery, error: Unreachable, failures: int) -> float:
        """No usable answer: is it the message, the server or the network? Returns the seconds to hold the chat."""
        if error.status is not None:
            now = self._monotonic()
            failing = self._failing.failed(delivery.id, now=now, well=self._answers)
            if failing.tries == 1:
                log.warning("A message to chat %d fails (%s); trying for %s", delivery.chat_id, error, TRIED_FOR)
            if failing.is_hopeless(now):
                return self._give_up(delivery, error)
            if not failing.alone:
                return backoff(failing.tries - 1, self._jitter())
        with self._lock:
            if failures == self._failures:  # else it failed together with one that is counted already
                self._failures += 1
                hold_until = self._monotonic() + backoff(failures, self._jitter())
                self._queues.hold_until = max(self._queues.hold_until, hold_until)
            begins = self._failing_since is None
            if begins:
                self._failing_since = self._now()
        if begins:
            log.warning("Sending: Telegram cannot be reached (%s). Messages wait and are sent when it is back", error)
        return AS_ALL

    def _give_up(self, delivery: Delivery, error: Unreachable) -> float:
        words = (
            f"A message to chat {delivery.chat_id} could not be delivered for {TRIED_FOR} and was dropped: {error}"
        )
        log.error("%s", words)
        with self._store.transaction():
            self._store.settle_buried(delivery.id, reason=str(error), now=self._now())
            self._events.tell_owner(words)
        self._failing.settled(delivery.id)
        self._look_again()
        return 0.0

    def _answers(self) -> bool:
        try:
            self._telegram.send("getMe", {})
        except TelegramError:
            return False
        return True

    def _reached(self) -> None:
        if self._failing_since is None:
            return
        with self._lock:
            since, self._failing_since = self._failing_since, None
            self._failures = 0
            self._queues.hold_until = 0.0
        if since is not None:
            log.info("Sending: Telegram is back after %s", duration(max(0.0, self._now() - since)))

    def _rejected(self, delivery: Delivery, error: Rejected) -> float:
        now, reason = self._now(), clip(error.description, 200)
        if error.migrate_to is not None:
            self._store.migrate_chat(delivery.chat_id, error.migrate_to)
            with self._lock:
                # The rows keep their ids: the new chat's queue takes over what waits here.
                self._queues.move(delivery.chat_id, error.migrate_to, now=self._monotonic())
            log.info("A group became a supergroup; its settings moved with it")
            return 0.0
        about = error.about
        lost = edit_is_lost(reason) or (about is About.TOPIC and delivery.method == "editMessageText")
        if delivery.parent is not None and lost:
            # Someone deleted the message that was to be updated, or closed its topic: its news would be lost.
            self._store.send_anew(delivery, reason=reason, now=now)
            self._look_again()
            return 0.0
        with self._store.transaction():
            self._store.settle_buried(delivery.id, reason=reason, now=now)
            if about is About.CHAT:
                self._store.unsubscribe(delivery.chat_id, note=f"alerts ended: {reason.partition(': ')[2] or reason}")
            elif about is About.RIGHTS or (about is About.TOPIC and not lost):
                self._events.no_rights(delivery.chat_id)
        self._look_again()  # perhaps there is a message to the owner
        if about is About.CHAT:
            log.warning("Chat %d can no longer be reached (%s); its alerts are off", delivery.chat_id, reason)
        elif lost:
            log.info("A message in chat %d could not be edited: %s", delivery.chat_id, reason)
        elif not delivery.method.startswith("answer"):  # of a button or an inline query, which comes too late
            log.error("A message to chat %d was refused for good: %s", delivery.chat_id, reason)
        return 0.0
