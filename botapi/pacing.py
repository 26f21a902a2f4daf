"""Which message may be sent next: a queue per chat, round-robin over the chats and lanes, Telegram's limits.

Limits (Bot API FAQ, "My bot is hitting limits"): about 30 messages a second overall, one a second in a chat
(short bursts are allowed), 20 a minute in a group. Pure: the outbox sends, waits and locks.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from botapi.storage import ALERTS, ANSWERS, STRANGERS, TOASTS

BURST = 3.0  # messages in a chat
CATCH_UP = 5.0  # messages in all
LONGEST_REST = 60.0
LIMITS_LAST = 60.0  # seconds: the longest time that a limit looks back on
LANES = (ANSWERS, ALERTS, TOASTS, STRANGERS)
_TOAST = 1 << 60  # above every chat id: with a toast's own id the queue that it has for itself


class Bucket:
    """A budget that refills at `rate` a second up to `burst`; rate 0 means no limit."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._level, self._at = rate, burst, burst, now

    def wait(self, now: float) -> float:
        """Seconds until one may be taken."""
        if self._rate == 0:
            return 0.0
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        # Tolerance for floating point: "now" must not become a wait of a nanosecond.
        return max(0.0, (1.0 - self._level) / self._rate) if self._level < 1.0 - 1e-9 else 0.0

    def refill_from(self, now: float) -> None:
        """What was taken counts from now on: Telegram counted it then at the latest."""
        self._at = now

    def is_full(self, now: float) -> bool:
        """Is it as if nothing had been taken?"""
        return self.wait(now) == 0.0 and (self._rate == 0 or self._level >= self._burst)

    def take(self, count: float = 1.0) -> None:
        """Use up so many."""
        self._level -= count


class _Chat:
    """The queue of one chat: lanes of delivery ids, at most one message in flight.

    Small, as an alert may wait for 100,000 chats: lists, because an empty deque takes 600 bytes.
    """

    __slots__ = ("bucket", "hold_until", "in_flight", "lanes", "last", "waits")

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.lanes: tuple[list[int], ...] = tuple([] for _ in LANES)
        self.in_flight = False
        self.waits = False
        self.hold_until = 0.0
        self.last = ALERTS  # the lane of the last message

    def next_lane(self) -> int | None:
        """The lane whose turn it is, None when nothing waits."""
        if self.lanes[ANSWERS] and self.lanes[ALERTS]:
            return ALERTS if self.last == ANSWERS else ANSWERS
        return next((lane for lane in LANES if self.lanes[lane]), None)


@dataclass(frozen=True)
class Claim:
    """A message to send (`delivery_id`), or None and the seconds to rest."""

    chat_id: int = 0
    delivery_id: int | None = None
    rest: float = 0.0


class Queues:
    """The queues of all chats. rate: messages a second in all, 0 for no limit. Times are monotonic seconds."""

    def __init__(self, *, rate: float, now: float) -> None:
        self.in_flight = 0
        self.hold_until = 0.0  # nothing at all is sent before this
        self._paced = rate > 0
        # A little under the limit: network jitter can squeeze two messages into one of Telegram's seconds. A busy
        # machine may catch up, as long as no second gets more than its share.
        self._overall = Bucket(rate * 0.97, CATCH_UP, now)
        self._overall.take(CATCH_UP - 1)
        self._last_second: deque[float] = deque(maxlen=max(1, int(rate)))
        self._chats: dict[int, _Chat] = {}
        self._ready: tuple[dict[int, None], ...] = tuple({} for _ in LANES)  # chats that may send now, in turn
        self._last = ALERTS  # the lane of the last message, of those that take turns
        self._waiting: list[tuple[float, int]] = []  # heap: when a chat may send again
        self._cleaned_at = now

    def recall(self, sent: Iterable[tuple[float, int]]) -> None:
        """Count what an earlier process sent: when, oldest first, and to which chat. Telegram counts it, too."""
        for at, chat_id in sent:
            for bucket in (self._overall, self._chat(chat_id, at).bucket):
                bucket.wait(at)
                bucket.take()
            self._last_second.append(at)

    def add(self, delivery_id: int, chat_id: int, lane: int, *, now: float) -> None:
        """Append a message to its chat's lane."""
        chat_id = _TOAST + delivery_id if lane == TOASTS else chat_id
        self._chat(chat_id, now).lanes[lane].append(delivery_id)
        self._line_up(chat_id, now)

    def claim(self, now: float, *, answers_only: bool, one_at_a_time: bool) -> Claim:
        """The message to send now, in flight from here on; or the seconds until one may be due."""
        self._clean(now)
        while self._waiting and self._waiting[0][0] <= now:
            chat_id = heapq.heappop(self._waiting)[1]
            self._chats[chat_id].waits = False
            self._line_up(chat_id, now)
        turn = self._turn(answers_only)
        if turn is None:
            return Claim(rest=min(LONGEST_REST, self._waiting[0][0] - now) if self._waiting else LONGEST_REST)
        if one_at_a_time and self.in_flight:
            return Claim(rest=LONGEST_REST)  # the sender that has it continues
        chat_id, lane = turn
        hold = max(self.hold_until - now, 0.0 if lane == TOASTS else self._overall_wait(now))
        if hold > 0:
            return Claim(rest=hold)
        chat = self._chats[chat_id]
        for ready in self._ready:
            ready.pop(chat_id, None)
        chat.in_flight = True
        self.in_flight += 1
        if lane != TOASTS:
            self._overall.take()
            self._last_second.append(now)
            chat.bucket.take()
            chat.last = self._last = lane
        return Claim(chat_id, chat.lanes[lane][0])

    def _turn(self, answers_only: bool) -> tuple[int, int] | None:
        """The chat and the lane whose turn it is; None when no chat may send now."""
        first, second = (ALERTS, ANSWERS) if self._last == ANSWERS else (ANSWERS, ALERTS)
        for lane in (TOASTS, first, second, STRANGERS):
            for chat_id in self._ready[lane]:
                if not answers_only or lane != ALERTS:
                    return chat_id, lane
                if self._chats[chat_id].lanes[ANSWERS]:  # in this chat it would be an alert's turn
                    return chat_id, ANSWERS
        return None

    def give_back(self, chat_id: int, delivery_id: int, hold: float, *, now: float) -> None:
        """The send is over. A hold (seconds) keeps the message at the head of its lane; 0 removes it."""
        chat = self._chats[chat_id]
        chat.in_flight = False
        chat.bucket.refill_from(now)
        self.in_flight -= 1
        chat.hold_until = now + hold if hold else 0.0
        for lane in chat.lanes:
            if not hold and lane and lane[0] == delivery_id:
                del lane[0]
        self._line_up(chat_id, now)

    def move(self, old: int, new: int, *, now: float) -> None:
        """Move what waits for one chat to another one, in order."""
        source, target = self._chat(old, now), self._chat(new, now)
        for theirs, mine in zip(source.lanes, target.lanes, strict=True):
            mine.extend(theirs)
            theirs.clear()
        self._line_up(new, now)

    def more(self) -> bool:
        """May another chat send besides those in flight?"""
        return any(self._ready)

    def answers_due(self, now: float) -> bool:
        """May an answer be sent now?"""
        return self._turn(answers_only=True) is not None and self.hold_until <= now

    def _overall_wait(self, now: float) -> float:
        wait = self._overall.wait(now)
        if self._paced and len(self._last_second) == self._last_second.maxlen:
            wait = max(wait, self._last_second[0] + 1.0 - now)
        return wait

    def _clean(self, now: float) -> None:
        """Forget the chats that would begin anew as they are. Once a minute."""
        if now - self._cleaned_at < LIMITS_LAST:
            return
        self._cleaned_at = now
        for chat_id, chat in list(self._chats.items()):
            idle = chat.next_lane() is None and not (chat.in_flight or chat.waits)
            if idle and chat.hold_until <= now and chat.bucket.is_full(now):
                del self._chats[chat_id]

    def _chat(self, chat_id: int, now: float) -> _Chat:
        chat = self._chats.get(chat_id)
        if chat is None:
            rate = 0.0 if not self._paced or chat_id >= _TOAST else 1.0 if chat_id > 0 else 17 / 60
            chat = self._chats[chat_id] = _Chat(Bucket(rate, BURST, now))
        return chat

    def _line_up(self, chat_id: int, now: float) -> None:
        """Put a chat among those that may send now, or those that must wait."""
        chat = self._chats[chat_id]
        lane = chat.next_lane()
        if chat.in_flight or chat.waits or lane is None:
            return
        due = max(chat.hold_until, now + chat.bucket.wait(now))
        if due > now:
            chat.waits = True
            heapq.heappush(self._waiting, (due, chat_id))
            return
        for ready in self._ready:  # its turn may have changed
            if ready is not self._ready[lane]:
                ready.pop(chat_id, None)
        self._ready[lane][chat_id] = None
