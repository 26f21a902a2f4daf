"""Delivers what the store holds: in order per chat, within Telegram's limits, until Telegram has taken it.

A delivery leaves the store's queue only when Telegram answered or said that it never will take it. So a
message is sent at least once; twice only when the process dies between Telegram's answer and the mark.

Limits (Bot API FAQ, "My bot is hitting limits"): about 30 messages a second overall, one a second in a chat
(short bursts pass), 20 a minute in a group. They are kept by pacing; a 429 is obeyed all the same.
"""

from __future__ import annotations

import heapq
import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from loop import Loop
from store import ALERTS, ANSWERS, Delivery, Store
from telegram import Rejected, TokenRefused, TooManyRequests, Unreachable
from text import clip, duration

log = logging.getLogger(__name__)

SENDERS = 8
MAX_ATTEMPTS = 20  # for one message that the server answers with 5xx again and again
BURST = 3.0
AFTER_FAILURE = 5.0  # seconds a chat rests when the bot itself failed at its message
GONE = ("chat not found", "user is deactivated", "group chat was deactivated", "group chat was deleted")


class Sender(Protocol):
    """What the outbox needs of Telegram."""

    def send(self, method: str, payload: dict[str, Any]) -> int | None: ...


class _Bucket:
    """A budget that refills at `rate` a second up to `burst`; rate 0 means no limit."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._level, self._at = rate, burst, burst, now

    def wait(self, now: float) -> float:
        """Seconds until one may be taken."""
        if self._rate == 0:
            return 0.0
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        # A hair of tolerance: floating point must not turn "now" into a wait of a nanosecond.
        return max(0.0, (1.0 - self._level) / self._rate) if self._level < 1.0 - 1e-9 else 0.0

    def take(self) -> None:
        self._level -= 1.0


class _Chat:
    """The queue of one chat: two lanes of delivery ids, at most one message in flight."""

    def __init__(self, bucket: _Bucket) -> None:
        self.bucket = bucket
        self.lanes: tuple[deque[int], deque[int]] = (deque(), deque())
        self.in_flight = False
        self.waits = False
        self.hold_until = 0.0

    def head(self) -> int | None:
        lane = self.lanes[ANSWERS] or self.lanes[ALERTS]
        return lane[0] if lane else None


class Outbox:
    """The sending threads and their queue. `send_rate` is messages a second overall, 0 for no pacing at all."""

    def __init__(
        self,
        store: Store,
        telegram: Sender,
        *,
        send_rate: float = 30.0,
        on_token_refused: Callable[[str], None] = lambda reason: None,
        on_death: Callable[[str], None] | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.alerts_paused = False
        self._store = store
        self._telegram = telegram
        self._paced = send_rate > 0
        self._on_token_refused = on_token_refused
        self._now, self._monotonic, self._jitter = now, monotonic, jitter
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)
        # A little under the limit: network jitter can press two paced messages into one of Telegram's seconds.
        self._overall = _Bucket(send_rate * 0.97, 1.0, monotonic())
        self._chats: dict[int, _Chat] = {}
        self._ready: tuple[dict[int, None], dict[int, None]] = ({}, {})  # chats that may send now, in turn, by lane
        self._waiting: list[tuple[float, int]] = []  # heap: when a chat may send again
        self._last_id = 0
        self._news = True
        self._hold_until = 0.0  # nothing at all is sent before this
        self._failures = 0
        self._failing_since: float | None = None
        self._flooded: tuple[int, float] = (0, 0.0)  # the chat of the last 429 and its end
        self._unmarked: dict[int, int | None] = {}  # sent, but the store could not be told yet: message ids
        self._idle: set[Loop] = set()
        self._loops = [Loop(f"outbox-{n}", self._step_of(n), on_death=on_death) for n in range(1, SENDERS + 1)]
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
            loop = next(iter(self._idle), None)
        if loop is not None:
            loop.wake()

    def stop(self, timeout: float) -> None:
        """Send the answers that may go now, let sends in flight end, for at most `timeout` seconds."""
        self._draining = True
        deadline = self._monotonic() + timeout
        started = self._loops[: self._started]
        for loop in started:
            loop.wake()
        with self._given_back:
            self._given_back.wait_for(lambda: not self._busy(), timeout)
        for loop in started:
            loop.stop()
        for loop in started:
            loop.join(max(0.0, deadline - self._monotonic()))

    def loops(self) -> list[Loop]:
        """The threads that run, for a watchdog."""
        return self._loops[: self._started]

    def unreachable_since(self) -> float | None:
        """Unix time since when nothing could be sent, None when all is well."""
        return self._failing_since

    # The threads

    def _start_one(self) -> None:
        self._started += 1  # before the thread runs: its first step may start the next one
        self._loops[self._started - 1].start()

    def _busy(self) -> bool:
        answers = (self._news or bool(self._ready[ANSWERS])) and self._hold_until <= self._monotonic()
        return answers or any(chat.in_flight for chat in self._chats.values())

    def _step_of(self, number: int) -> Callable[[], float]:
        return lambda: self._step(self._loops[number - 1])

    def _step(self, loop: Loop) -> float:
        with self._lock:
            chat_id, delivery_id, rest = self._claim(self._monotonic())
            if delivery_id is None:
                self._idle.add(loop)
                self._given_back.notify_all()
                return rest
            self._idle.discard(loop)
            helper, more = next(iter(self._idle), None), any(self._ready)
            if more and helper is None and self._started < SENDERS:
                self._start_one()
        if more and helper is not None:
            helper.wake()
        hold = AFTER_FAILURE
        try:
            hold = self._deliver(chat_id, delivery_id)
        finally:
            with self._lock:
                self._give_back(chat_id, delivery_id, hold)
        return 0.0

    def _claim(self, now: float) -> tuple[int, int | None, float]:
        """The next message to send (its chat marked in flight), or None and the seconds until one may be due."""
        if self._news:
            self._news = False
            for delivery_id, chat_id, lane in self._store.pending(after=self._last_id):
                self._queue(chat_id).lanes[lane].append(delivery_id)
                self._last_id = delivery_id
                self._line_up(chat_id, now)
        while self._waiting and self._waiting[0][0] <= now:
            chat_id = heapq.heappop(self._waiting)[1]
            self._chats[chat_id].waits = False
            self._line_up(chat_id, now)
        lanes = (ANSWERS,) if self._draining or self.alerts_paused else (ANSWERS, ALERTS)
        chats = next((self._ready[lane] for lane in lanes if self._ready[lane]), None)
        if chats is None:
            return 0, None, min(60.0, self._waiting[0][0] - now) if self._waiting else 60.0
        hold = max(self._hold_until - now, self._overall.wait(now))
        if hold > 0:
            return 0, None, hold
        chat_id = next(iter(chats))
        chat = self._chats[chat_id]
        for ready in self._ready:
            ready.pop(chat_id, None)
        chat.in_flight = True
        self._overall.take()
        chat.bucket.take()
        return chat_id, chat.head(), 0.0

    def _queue(self, chat_id: int) -> _Chat:
        chat = self._chats.get(chat_id)
        if chat is None:
            rate = 0.0 if not self._paced else 1.0 if chat_id > 0 else 17 / 60
            chat = self._chats[chat_id] = _Chat(_Bucket(rate, BURST, self._monotonic()))
        return chat

    def _line_up(self, chat_id: int, now: float) -> None:
        """Put a chat among those that may send now, or among those that wait for their time."""
        chat = self._chats[chat_id]
        if chat.in_flight or chat.waits or chat.head() is None:
            return
        due = max(chat.hold_until, now + chat.bucket.wait(now))
        if due > now:
            chat.waits = True
            heapq.heappush(self._waiting, (due, chat_id))
            return
        lane = ANSWERS if chat.lanes[ANSWERS] else ALERTS
        if lane == ANSWERS:
            self._ready[ALERTS].pop(chat_id, None)
        self._ready[lane][chat_id] = None

    def _give_back(self, chat_id: int, delivery_id: int, hold: float) -> None:
        """The send is over. A hold (seconds) keeps the message at the head of its lane; without, it is done with."""
        chat = self._chats[chat_id]
        chat.in_flight = False
        now = self._monotonic()
        chat.hold_until = now + hold if hold else 0.0
        for lane in chat.lanes:
            if not hold and lane and lane[0] == delivery_id:
                lane.popleft()
        self._line_up(chat_id, now)
        self._given_back.notify_all()

    def _deliver(self, chat_id: int, delivery_id: int) -> float:
        """Send one message and settle it in the store. Returns seconds to hold this chat, 0 when done with it."""
        delivery = self._store.delivery(delivery_id)
        if delivery is None:
            return 0.0  # it was taken back meanwhile
        try:
            # A mark that failed (a full disk) is made up for, the message is not sent again.
            message_id = self._unmarked[delivery.id] if delivery.id in self._unmarked else self._send(delivery)
        except TooManyRequests as error:
            return self._flood(chat_id, error.retry_after)
        except TokenRefused as error:
            self._on_token_refused(str(error))
            return 60.0
        except Unreachable as error:
            return self._unreachable(delivery, error)
        except Rejected as error:
            self._reached()
            return self._rejected(delivery, error)
        self._reached()
        self._unmarked[delivery.id] = message_id
        if self._store.settle_sent(delivery, message_id=message_id, now=self._now()):
            with self._lock:
                self._news = True  # the edit that follows
        del self._unmarked[delivery.id]
        return 0.0

    def _send(self, delivery: Delivery) -> int | None:
        payload = delivery.payload
        if delivery.method in ("sendMessage", "editMessageText"):
            payload = {"chat_id": delivery.chat_id, "link_preview_options": {"is_disabled": True}, **payload}
        while True:
            try:
                return self._telegram.send(delivery.method, payload)
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
                self._hold_until = max(self._hold_until, now + retry_after)
            self._flooded = (chat_id, now + retry_after)
        log.info("Telegram asks for a pause of %g s in a chat", retry_after)
        return retry_after + 0.1

    def _unreachable(self, delivery: Delivery, error: Unreachable) -> float:
        if error.status is not None:
            self._store.count_attempt(delivery.id)
            if delivery.attempts + 1 >= MAX_ATTEMPTS:
                log.error("A message was given up after %d answers of %s", MAX_ATTEMPTS, error)
                self._store.settle_buried(delivery.id, reason=str(error), now=self._now())
                return 0.0
        with self._lock:
            self._failures += 1
            pause = min(60.0, 2.0 ** min(self._failures - 1, 6)) * (0.75 + self._jitter() / 2)
            self._hold_until = max(self._hold_until, self._monotonic() + pause)
            begins = self._failing_since is None
            if begins:
                self._failing_since = self._now()
        if begins:
            log.warning("Sending: Telegram cannot be reached (%s). Messages wait in the queue; tries go on", error)
        return pause

    def _reached(self) -> None:
        if self._failing_since is None:
            return
        with self._lock:
            since, self._failing_since = self._failing_since, None
            self._failures = 0
            self._hold_until = 0.0
        if since is not None:
            log.info("Sending: Telegram is reached again after %s", duration(max(0.0, self._now() - since)))

    def _rejected(self, delivery: Delivery, error: Rejected) -> float:
        now, reason = self._now(), clip(error.description, 200)
        if error.migrate_to is not None:
            self._store.migrate_chat(delivery.chat_id, error.migrate_to)
            with self._lock:
                # The moved rows keep their ids: the new chat's queue takes over what waits here.
                old, new = self._chats[delivery.chat_id], self._queue(error.migrate_to)
                for mine, theirs in zip(new.lanes, old.lanes, strict=True):
                    mine.extend(theirs)
                for lane in old.lanes:
                    lane.clear()
                self._line_up(error.migrate_to, self._monotonic())
            log.info("A group became a supergroup; its settings moved with it")
            return 0.0
        self._store.settle_buried(delivery.id, reason=reason, now=now)
        if error.code == 403 or any(words in reason.lower() for words in GONE):
            self._store.unsubscribe(delivery.chat_id, note=f"unsubscribed by Telegram: {reason}")
            log.warning("Chat %d cannot be reached any more (%s); it was unsubscribed", delivery.chat_id, reason)
        elif delivery.method != "answerCallbackQuery":
            log.error("A message to chat %d was refused for good: %s", delivery.chat_id, reason)
        return 0.0


def _mended(payload: dict[str, Any], description: str) -> dict[str, Any] | None:
    """The message in a form that may pass where this one was refused; None when there is none."""
    if "can't parse entities" in description and "parse_mode" in payload:
        plain = {name: value for name, value in payload.items() if name != "parse_mode"}
        return plain | {"text": re.sub(r"<[^>]*>", "", payload["text"])}
    if "thread not found" in description and "message_thread_id" in payload:
        return {name: value for name, value in payload.items() if name != "message_thread_id"}
    return None
