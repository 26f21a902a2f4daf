"""What to do about another poller or a webhook of the same bot: decisions and words, no thread and no network.

`Rivalry` is the conflict with a second poller: from its first 409 over retries and standby to its end.
`WebhookWar` is the struggle with a service that keeps setting a webhook. Times are arguments: `now` in unix seconds
for people, `monotonic` for intervals; jitter is a number from 0 to 1. Both belong to the polling thread; other
threads may only call `Rivalry.state` and read `current` and `alerts_paused`.
"""

from __future__ import annotations

import logging
import math
import socket
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from base import text
from botapi.heartbeat import Heard
from botapi.polling_state import ConflictState, PastConflict

log = logging.getLogger(__name__)

RETRY_REST = 5.0
STANDBY_REST = 0.7  # a look is 0.3 kB; with UNREAD and two looks of the long poll an answer comes within 4.5 s
UNREAD = 3.0  # seconds updates go unread before a take-over; see longpoll.OLD_ANSWER
UNREAD_STUBBORN = 4.0  # from a memory of STUBBORN conflicts on
STUBBORN = 2.5  # about three conflicts within some minutes
UNHARMED = 5.0  # seconds of undisturbed polling after which a first conflict counts as over
UNHARMED_MOST = 120.0
HALF_LIFE = 600.0  # seconds in which the memory of past conflicts halves
WEBHOOK_PATIENCE = 2.5  # so many webhooks, the older ones counted less, are removed at once
WEBHOOK_REST_FIRST = 30.0
WEBHOOK_REST_MOST = 600.0
WEBHOOK_QUIET = 600.0  # seconds without a new webhook, after which the war is over
ADVICE = "Stop that service, or get a new token with /revoke at @BotFather."


@dataclass(frozen=True, kw_only=True)
class ConflictPolicy:
    """What this copy does while another one polls.

    on_conflict: `keep-alerting` (stand by, alerts continue), `pause` (stand by, alerts wait) or `exit` (after
    `patience` seconds). alone_here: the lock proves that no other copy runs on this machine. host: its
    name, for the owner.
    """

    on_conflict: str = "keep-alerting"
    patience: float = 900.0
    alone_here: bool = True
    host: str = field(default_factory=socket.gethostname)

    @property
    def pauses(self) -> bool:
        """Does this copy send no alerts while it waits?"""
        return self.on_conflict == "pause"


class After409(Enum):
    """What to do after a 409 of another poller."""

    RETRY = "poll once more"
    STAND_BY = "stand by"


class Look(NamedTuple):
    """What one look from standby found: take over now, or look again after `rest` seconds."""

    take_over: bool
    rest: float


class Removal(NamedTuple):
    """When to remove a webhook, in seconds from now, and what to tell the owner; None for nothing.

    kind: messages of one kind are sent at most once an hour.
    """

    rest: float
    kind: str = "webhook"
    message: str | None = None


@dataclass
class CurrentConflict:
    """The conflict that is on."""

    since: float
    count: int = 0
    owner_knows: bool = False
    taken_over: bool = False
    other: Heard = field(default_factory=Heard)


class Rivalry:
    """The conflict with another poller. `current` is the one that is on, None when none is."""

    def __init__(self, *, started: float, policy: ConflictPolicy) -> None:
        self.current: CurrentConflict | None = None
        self.alerts_paused = policy.pauses  # while this copy waits
        self._past: deque[PastConflict] = deque(maxlen=100)  # oldest first
        self._begun = self._count_409 = 0  # all conflicts that are over, and their 409s
        self._policy = policy
        self._retried = False
        self._pending = 0
        self._unread_since: float | None = None  # monotonic
        self._memory = Fading(started)

    def state(self) -> ConflictState:
        """The conflict that is on and those that are over, since the start. Safe from any thread."""
        past, current = tuple(self._past), self.current
        begun, count_409 = self._begun, self._count_409
        if current is None:
            return ConflictState(since=None, count=0, episodes=past, begun=begun, answers=count_409)
        return ConflictState(
            since=current.since,
            count=current.count,
            episodes=(*past, PastConflict(since=current.since, until=None, count=current.count)),
            begun=begun + 1,
            answers=count_409 + current.count,
        )

    def got_409(self, error: Exception, *, newcomer: bool, now: float, monotonic: float) -> After409:
        """Another program polls: poll once more or stand by.

        newcomer: this copy has never polled undisturbed. It polls once more: an older copy of ours that was busy with
        updates when we came, and so polled after us, then gets the 409 and stands down. Time line of two newcomers:
        A polls, B polls (A: 409), A polls again (B: 409), B polls again (A: 409 and standby): three 409s at most.
        """
        if self.current is None:
            self.current = CurrentConflict(since=now)
            log.warning("Conflict: another program polls with this bot's token (%s)", error)
        self.current.count += 1
        if newcomer and not self._retried:
            self._retried = True
            return After409.RETRY
        self._memory.add(monotonic)
        self._pending, self._unread_since = 0, None
        return After409.STAND_BY

    def looked(self, pending: int, *, asked: float, answered: float) -> Look:
        """One look from standby: `pending` updates are unread. asked, answered: monotonic times of the question.

        Nobody reads them when they wait for some seconds and do not get fewer. An answer may be late: from the first
        answer to the last question is the time that they surely waited.
        """
        if not pending:
            self._unread_since = None
        elif self._unread_since is None or pending < self._pending:
            self._unread_since = answered
        self._pending = pending
        if self._unread_since is None:
            return Look(take_over=False, rest=STANDBY_REST)
        needed = UNREAD if self._memory.at(answered) < STUBBORN else UNREAD_STUBBORN
        left = self._unread_since + needed - asked
        if left > 0:
            return Look(take_over=False, rest=min(left, STANDBY_REST))
        if self.current is not None and not self.current.taken_over:
            self.current.taken_over = True  # logged once a conflict, not at each try
            log.info("Conflict: the other copy has stopped reading, this copy takes over")
        self._pending, self._unread_since = 0, None
        return Look(take_over=True, rest=0.0)

    def hear(self, types: Collection[str], *, monotonic: float) -> None:
        """The update types that the copy that polls asks for: shall this copy's alerts pause?"""
        if self.current is None:
            return
        self.current.other.look(types, monotonic)
        before, asked = self.alerts_paused, self._policy.pauses or self.current.other.pauses
        self.alerts_paused = asked and not self.current.other.silent(monotonic)
        if before and not self.alerts_paused:
            log.info("Conflict: this copy sends its alerts again%s", ", the other one is silent" if asked else "")
        elif self.alerts_paused and not before:
            log.info("Conflict: this copy sends no alerts while it waits")

    def unharmed(self, seconds: float, *, now: float, monotonic: float) -> str | None:
        """This copy has polled undisturbed for so long. What to tell the owner when that ends a conflict.

        The more conflicts there were lately, the longer it takes: a rival that comes back every minute is one
        conflict, not sixty an hour.
        """
        earlier = max(0.0, self._memory.at(monotonic) - 1)
        if self.current is None or seconds < min(UNHARMED_MOST, UNHARMED * 2**earlier):
            return None
        ended, self.current = self.current, None
        self.alerts_paused = self._policy.pauses
        self._past.append(PastConflict(since=ended.since, until=now, count=ended.count))
        self._begun, self._count_409 = self._begun + 1, self._count_409 + ended.count
        lasted = text.duration(max(0.0, now - ended.since))
        log.info("Conflict: over after %s and %s", lasted, text.count(ended.count, "refusal"))
        if not ended.owner_knows:
            return None
        return f"The other copy has stopped or stands by. {self._policy.host} answers your commands (after {lasted})."

    def pauses(self) -> str:
        """The machine whose alerts the owner can pause by a button, "" if none."""
        return "" if self._policy.pauses else self._policy.host

    def message(self, next_step: After409) -> str:
        """The message to the owner when a conflict begins. Names this machine: a chat has no "here"."""
        host = self._policy.host
        if self._policy.alone_here:
            where = f"This one is on {host}; the other is not on {host}."
            stop = "Stop one of them: a second computer, a server, a hosting panel or another app with this token."
        else:
            where = f"This one is on {host}; the other may be there too (LOCK_SCOPE=folder) or on another computer."
            stop = "Stop one of them."
        if next_step is After409.RETRY:
            does = f"{host} tries again in a few seconds. If the other copy stays, {host} waits until it stops."
        else:
            does = f"The other copy answers commands for now; {host} takes over when it stops."
        if self._policy.pauses:
            alerts = f"Until then {host} sends no alerts."
        else:
            alerts = (
                f"Both send alerts, so you may see each one twice: ON_CONFLICT=pause in the .env file of {host} "
                f"stops those of {host} while it waits."
            )
        return (
            f"Two copies of this bot are running. {where} {stop}\n{does} {alerts}\n"
            f"If you know of no other copy, your token has leaked: get a new one with /revoke at @BotFather."
        )


def longer(seconds: float, jitter: float) -> float:
    """Up to a tenth more, so that two copies do not act in step; never less, since others rely on the least time."""
    return seconds * (1 + jitter / 10)


class WebhookWar:
    """A service sets a webhook, which stops all polling. It is removed, but less and less often if it comes back."""

    def __init__(self, *, started: float) -> None:
        self.count = 0  # webhooks of this war; 0: there is none
        self._last = started
        self._memory = Fading(started)
        self._slow = False

    def found(self, host: str, *, monotonic: float) -> Removal:
        """A webhook to `host` is set: when to remove it, and what to tell the owner."""
        self.count += 1
        self._last = monotonic
        self._memory.add(monotonic)
        strength = self._memory.at(monotonic)
        if self.count == 1:
            log.warning("Webhook: %s set one, which stops all polling; it is removed", host)
            message = (
                f"Another service ({host}) set a webhook, which blocks this bot's commands. It was removed. {ADVICE}"
            )
            return Removal(0.0, message=message)
        if strength < WEBHOOK_PATIENCE:
            return Removal(0.0)
        rest = min(WEBHOOK_REST_MOST, WEBHOOK_REST_FIRST * 2 ** (strength - WEBHOOK_PATIENCE))
        if self._slow:
            return Removal(rest)
        self._slow = True
        log.warning("Webhook: %s sets one again and again; it is removed less and less often", host)
        message = (
            f"{host} sets its webhook again and again. The bot removes it less and less often and gets "
            f"no commands while it is set. {ADVICE}"
        )
        return Removal(rest, kind="webhook war", message=message)

    def polled(self, *, monotonic: float) -> None:
        """Polling works. After WEBHOOK_QUIET seconds without a new webhook the war is over."""
        if self.count and monotonic - self._last >= WEBHOOK_QUIET:
            quiet = text.duration(monotonic - self._last)
            log.info("Webhook: none for %s; %s before that", quiet, text.count(self.count, "removal"))
            self.count, self._slow = 0, False


class Fading:
    """A count that halves every HALF_LIFE seconds (monotonic times)."""

    def __init__(self, started: float) -> None:
        self._value, self._at = 0.0, started

    def at(self, monotonic: float) -> float:
        """The count at that time."""
        return self._value * math.exp2((self._at - monotonic) / HALF_LIFE)

    def add(self, monotonic: float) -> None:
        """One more, at that time."""
        self._value, self._at = self.at(monotonic) + 1, monotonic
