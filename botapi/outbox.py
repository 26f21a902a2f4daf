"""Delivers what the store holds: in order per chat, within Telegram's limits, until Telegram has taken it.

A delivery leaves the store's queue only when Telegram answered or said that it never will take it. So a
message is sent at least once; twice only when the process dies between Telegram's answer and the mark. While the
store cannot be written (a full disk) nothing more is sent, so that no answer of Telegram stays without its mark.

A delivery may wish for a file (payload key `attachment`), which is made in the sending thread at the moment of
sending: the store holds the wish only.
"""

from __future__ import annotations

import html
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from base.text import clip, duration
from base.worker import Worker
from botapi.client import Rejected, TelegramError, TokenRefused, TooManyRequests, Unreachable
from botapi.pacing import Queues
from botapi.storage import Delivery, Storage, StoreError

log = logging.getLogger(__name__)

SENDERS = 8
MAKERS = 4  # of the senders, so many may make a file at a time: the others go on sending
MAX_ATTEMPTS = 60  # about an hour, for one message that a server that is well answers with 5xx again and again
LONGEST_BACKOFF = 60.0
AFTER_FAILURE = 5.0  # seconds to rest when the bot itself failed: at one message, or at its store
GONE = ("chat not found", "user is deactivated", "group chat was deactivated", "group chat was deleted")
EDIT_LOST = ("message to edit not found", "message can't be edited", "message_id_invalid")
WITH_TEXT = ("sendMessage", "editMessageText")  # methods that take link_preview_options
# What stays of a message whose file could not be made.
ADDRESS = ("message_thread_id", "disable_notification", "reply_parameters")


@dataclass(frozen=True)
class Attachment:
    """A file to send. field: the Bot API's name of the parameter (`photo` for sendPhoto, `document`)."""

    field: str
    filename: str
    content: bytes


class AttachmentError(Exception):
    """The file cannot be made. str() is what the chat is told instead, in plain words."""


Files = Mapping[str, tuple[str, bytes]]
Maker = Callable[[dict[str, Any]], Attachment]  # from a delivery's `attachment`; may raise AttachmentError


class Sender(Protocol):
    """What the outbox needs of Telegram."""

    def send(self, method: str, payload: dict[str, Any], *, files: Files | None = None) -> int | None: ...


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class OutboxEvents:
    """What the application can listen to. All are called from a sending thread.

    sent: Telegram took a message, so many seconds after it was kept. token_refused: 401 or 404, with Telegram's
    words. died: a thread ended by itself; its name.
    """

    sent: Callable[[float], None] = _ignore
    token_refused: Callable[[str], None] = _ignore
    died: Callable[[str], None] = _ignore


class Outbox:
    """The sending threads. `send_rate` is messages a second overall, 0 for no pacing at all.

    compose: a delivery's parameters at the moment of sending, None when there is nothing to send any more.
    attachments: for each `kind` of attachment, how it is made. alerts_paused: while it is true answers
    go and alerts wait; `wake` when that changes.
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
        events: OutboxEvents | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._telegram = telegram
        self._compose = compose
        self._makers = dict(attachments or {})
        self._making = threading.BoundedSemaphore(MAKERS)
        self.alerts_paused = alerts_paused
        self._events = events or OutboxEvents()
        self._now, self._monotonic, self._jitter = now, monotonic, jitter
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)
        self._queues = Queues(rate=send_rate, now=monotonic())
        self._last_id = 0
        self._news = True
        self._taken = 0  # messages that Telegram has taken
        self._failures = 0  # in a row, several at the same time counted once
        self._failing_since: float | None = None
        self._failed_at: dict[int, int] = {}  # messages that got a 5xx: `_taken` at the first one
        self._flooded: tuple[int, float] = (0, 0.0)  # the chat of the last 429 and its end
        self._unmarked: dict[int, tuple[Delivery, int | None]] = {}  # sent, but the store could not be told yet
        self._idle: set[Worker] = set()
        self._workers = [
            Worker(f"outbox-{n}", partial(self.step, n), on_death=self._events.died) for n in range(1, SENDERS + 1)
        ]
        self._started = 0
        self._draining = False

    # What others call

    def start(self) -> None:
        with self._lock:
            self._start_one()

    def wake(self) -> None:
        """There is something new in the store. Never blocks for long; safe from any thread."""
        with self._lock:
            self._news = True
            worker = next(iter(self._idle), None)
        if worker is not None:
            worker.wake()

    def try_again(self) -> None:
        """Telegram was just reached on another road: what waits for the network waits no longer."""
        with self._lock:
            if self._failing_since is None:
                return
            self._failures = 0
            self._queues.hold_until = 0.0
        self.wake()

    def stop(self, timeout: float) -> None:
        """Send the answers that may go now, let sends in flight end, for at most `timeout` seconds."""
        self._draining = True
        deadline = self._monotonic() + timeout
        started = self._workers[: self._started]
        for worker in started:
            worker.wake()
        with self._given_back:
            self._given_back.wait_for(lambda: not self._busy(), timeout)
        for worker in started:
            worker.stop()
        for worker in started:
            worker.join(max(0.0, deadline - self._monotonic()))

    def workers(self) -> list[Worker]:
        """The threads that run, for a watchdog."""
        return self._workers[: self._started]

    def unreachable_since(self) -> float | None:
        """Unix time since when nothing could be sent, None when all is well."""
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
            self._mark()
            return self._send_one(self._workers[number - 1])
        except StoreError:
            return AFTER_FAILURE  # the store has told of it; nothing is sent that could not be marked

    def _send_one(self, worker: Worker) -> float:
        with self._lock:
            if self._news:
                self._take_news()
            chat_id, delivery_id, rest = self._queues.claim(
                self._monotonic(),
                answers_only=self._draining or self.alerts_paused(),
                one_at_a_time=self._failing_since is not None,
            )
            if delivery_id is None:
                self._idle.add(worker)
                self._given_back.notify_all()
                return rest
            failures = self._failures
            self._idle.discard(worker)
            helper, more = next(iter(self._idle), None), self._queues.more()
            if more and helper is None and 0 < self._started < SENDERS:
                self._start_one()
        if more and helper is not None:
            helper.wake()
        hold = AFTER_FAILURE
        try:
            hold = self._deliver(chat_id, delivery_id, failures)
        finally:
            with self._lock:
                self._queues.give_back(chat_id, delivery_id, hold, now=self._monotonic())
                self._given_back.notify_all()
        return 0.0

    def _take_news(self) -> None:
        now = self._monotonic()
        for delivery_id, chat_id, lane in self._store.pending(after=self._last_id):
            self._queues.add(delivery_id, chat_id, lane, now=now)
            self._last_id = delivery_id
        self._news = False

    def _mark(self) -> None:
        """Make up for marks that failed. Raises StoreError while the store still cannot be written."""
        for delivery, message_id in tuple(self._unmarked.values()):
            self._settle(delivery, message_id)

    def _settle(self, delivery: Delivery, message_id: int | None) -> None:
        now = self._now()
        revised = self._store.settle_sent(delivery, message_id=message_id, now=now)
        self._events.sent(now - delivery.created_at)
        with self._lock:
            self._unmarked.pop(delivery.id, None)
            self._news = self._news or revised  # the edit that follows

    # One message

    def _deliver(self, chat_id: int, delivery_id: int, failures: int) -> float:
        """Send one message and settle it in the store. Returns seconds to hold this chat, 0 when done with it.

        failures: how many there had been in a row when it was claimed.
        """
        if delivery_id in self._unmarked:
            return AFTER_FAILURE
        delivery = self._store.delivery(delivery_id)
        if delivery is None:
            return 0.0  # it was taken back meanwhile, or its mark was made up for
        payload = self._compose(delivery)
        if payload is None:
            self._store.settle_buried(delivery.id, reason="nothing to tell any more", now=self._now())
            return 0.0
        try:
            if "attachment" not in payload:
                message_id = self._send(delivery, delivery.method, payload, None)
            elif self._making.acquire(blocking=False):
                try:
                    message_id = self._send(delivery, *self._with_file(delivery))
                finally:
                    self._making.release()
            else:
                return 1.0
        except TooManyRequests as error:
            return self._flood(chat_id, error.retry_after)
        except TokenRefused as error:
            self._events.token_refused(str(error))
            return 60.0
        except Unreachable as error:
            return self._unreachable(delivery, error, failures)
        except Rejected as error:
            self._reached()
            self._failed_at.pop(delivery.id, None)
            return self._rejected(delivery, error)
        with self._lock:
            self._taken += 1
        self._failed_at.pop(delivery.id, None)
        self._reached()
        self._unmarked[delivery.id] = (delivery, message_id)
        self._settle(delivery, message_id)
        return 0.0

    def _with_file(self, delivery: Delivery) -> tuple[str, dict[str, Any], Files | None]:
        """The call that sends the file which the delivery wishes for, or words where it cannot be made."""
        wish = delivery.payload["attachment"]
        try:
            maker = self._makers.get(wish["kind"])
            if maker is None:
                raise AttachmentError("This file can no longer be made: the bot was changed meanwhile.")
            made = maker(wish)
        except AttachmentError as error:
            words = str(error)
        except Exception:  # a bug in a maker must not stop the chat's other messages
            log.exception("A file for chat %d could not be made", delivery.chat_id)
            words = "The file could not be made; the bot's log tells more."
        else:
            payload = {name: value for name, value in delivery.payload.items() if name != "attachment"}
            return delivery.method, payload, {made.field: (made.filename, made.content)}
        kept = {name: delivery.payload[name] for name in ADDRESS if name in delivery.payload}
        return "sendMessage", {"text": words, **kept}, None

    def _send(self, delivery: Delivery, method: str, payload: dict[str, Any], files: Files | None) -> int | None:
        if method.startswith(("send", "edit", "delete")):
            payload = {"chat_id": delivery.chat_id, **payload}
        if method in WITH_TEXT:
            payload = {"link_preview_options": {"is_disabled": True}, **payload}
        while True:
            try:
                return self._telegram.send(method, payload, files=files)
            except Rejected as error:
                if "message is not modified" in error.description:
                    return int(payload["message_id"])
                mended = _mended(payload, error.description)
                if mended is None:
                    raise
                log.warning("A message was refused (%s); it is sent in a plainer form", clip(error.description, 120))
                payload = mended

    # What can go wrong

    def _flood(self, chat_id: int, retry_after: float) -> float:
        now = self._monotonic()
        with self._lock:
            other, until = self._flooded
            if other != chat_id and until > now:
                # Two chats at once: the limit that was hit is the overall one.
                self._queues.hold_until = max(self._queues.hold_until, now + retry_after)
            self._flooded = (chat_id, now + retry_after)
        log.info("Telegram asks for a pause of %g s in a chat", retry_after)
        return retry_after + 0.1

    def _unreachable(self, delivery: Delivery, error: Unreachable, failures: int) -> float:
        """No usable answer: the message, the server or the way to it is to blame. Returns seconds to hold the chat.

        An outage of hours must not bury a message, and one message that the server always fails at must not hold
        the others. So an attempt counts against a message only when the server is well: others got through since
        it failed first, or at least getMe does.
        """
        if error.status is not None:
            alone = self._failed_at.setdefault(delivery.id, self._taken) == self._taken
            if not alone or self._answers():
                self._store.count_attempt(delivery.id)
                if delivery.attempts + 1 >= MAX_ATTEMPTS:
                    log.error("A message was given up after %d answers of %s", MAX_ATTEMPTS, error)
                    self._store.settle_buried(delivery.id, reason=str(error), now=self._now())
                    self._failed_at.pop(delivery.id, None)
                    return 0.0
            if not alone:
                return self._backoff(delivery.attempts)
        with self._lock:
            if failures == self._failures:  # else it failed together with one that was counted already
                self._failures += 1
                hold_until = self._monotonic() + self._backoff(failures)
                self._queues.hold_until = max(self._queues.hold_until, hold_until)
            begins = self._failing_since is None
            if begins:
                self._failing_since = self._now()
        if begins:
            log.warning("Sending: Telegram cannot be reached (%s). Messages wait in the queue; tries go on", error)
        return 0.001  # no more: what holds all holds this chat too, and ends at once when another one gets through

    def _backoff(self, failures: int) -> float:
        return min(LONGEST_BACKOFF, 2.0 ** min(failures, 6)) * (0.75 + self._jitter() / 2)

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
            log.info("Sending: Telegram is reached again after %s", duration(max(0.0, self._now() - since)))

    def _rejected(self, delivery: Delivery, error: Rejected) -> float:
        now, reason = self._now(), clip(error.description, 200)
        if error.migrate_to is not None:
            self._store.migrate_chat(delivery.chat_id, error.migrate_to)
            with self._lock:
                # The moved rows keep their ids: the new chat's queue takes over what waits here.
                self._queues.move(delivery.chat_id, error.migrate_to, now=self._monotonic())
            log.info("A group became a supergroup; its settings moved with it")
            return 0.0
        said = reason.lower()
        if delivery.parent is not None and any(words in said for words in EDIT_LOST):
            # Someone deleted the message that was to grow: what is new would be lost with it.
            self._store.send_anew(delivery, reason=reason, now=now)
            with self._lock:
                self._news = True
            return 0.0
        self._store.settle_buried(delivery.id, reason=reason, now=now)
        if error.code == 403 or any(words in said for words in GONE):
            self._store.unsubscribe(delivery.chat_id, note=f"unsubscribed by Telegram: {reason}")
            log.warning("Chat %d cannot be reached any more (%s); it was unsubscribed", delivery.chat_id, reason)
        elif any(words in said for words in EDIT_LOST):
            log.info("A message in chat %d could not be changed: %s", delivery.chat_id, reason)
        elif delivery.method != "answerCallbackQuery":
            log.error("A message to chat %d was refused for good: %s", delivery.chat_id, reason)
        return 0.0


def _mended(payload: dict[str, Any], description: str) -> dict[str, Any] | None:
    """The message in a form that may pass where this one was refused; None when there is none."""
    if "can't parse entities" in description and "parse_mode" in payload:
        plain = {name: value for name, value in payload.items() if name != "parse_mode"}
        words = {name: _plain(plain[name]) for name in ("text", "caption") if name in plain}
        return plain | words
    if "thread not found" in description and "message_thread_id" in payload:
        return {name: value for name, value in payload.items() if name != "message_thread_id"}
    return None


def _plain(marked_up: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", marked_up))
