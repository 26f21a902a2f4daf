"""What to do about another poller or a webhook of the same bot: decisions and words, no thread and no network.

`Rivalry` is the conflict with a second poller: from its first 409 over retries and standby to its end.
`WebhookWar` is the struggle with someone who sets a webhook. Times are arguments: `now` in unix seconds for people,
`monotonic` for intervals; jitter is a number from 0 to 1. Both are for the polling thread; only `Rivalry.state` and
`Rivalry.episode` may be read from others.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass

from base import text
from botapi.polling_state import ConflictState, Episode

log = logging.getLogger(__name__)

RETRY_REST = 5.0
STANDBY_REST = 3.0
UNREAD = 3.0  # seconds updates lie unread before a take-over; more than longpoll.OLD_ANSWER and its error (1 s)
UNREAD_STUBBORN = 4.0  # from a score of STUBBORN on; with all that comes before and after it still less than 10 s
STUBBORN = 2.5  # about three fights in some minutes
UNHARMED = 5.0  # seconds of polling that nobody ends, after which a first conflict counts as over
UNHARMED_MOST = 120.0
HALF_LIFE = 600.0  # seconds in which the memory of past fights halves
WEBHOOK_PATIENCE = 2.5  # so many webhooks, the older ones counted less, are removed at once
WEBHOOK_REST_MOST = 600.0
WEBHOOK_QUIET = 600.0  # seconds without a new one, after which the war is over
ADVICE = (
    "Another program or service uses this bot's token: stop it there, or get a new token with /revoke at @BotFather."
)


@dataclass(frozen=True, kw_only=True)
class ConflictPolicy:
    """What this copy does while another one polls.

    on_conflict: `keep-alerting` (stand by, alerts go on), `pause` (stand by, alerts wait) or `exit` (after `patience`
    seconds). alone_here: the lock proves that no other copy runs on this machine.
    """

    on_conflict: str = "keep-alerting"
    patience: float = 900.0
    alone_here: bool = True


@dataclass
class Fight:
    """A conflict from its first 409 on. told: the owner knows of it."""

    since: float
    count: int = 0
    told: bool = False
    taken_over: bool = False


class Rivalry:
    """The conflict with another poller. `episode` is the one that is on, None when none is."""

    def __init__(self, *, started: float, policy: ConflictPolicy) -> None:
        self.episode: Fight | None = None
        self._over: deque[Episode] = deque(maxlen=100)  # oldest first
        self._begun = self._answers = 0  # all episodes and all 409s of those that are over
        self._policy = policy
        self._retried = False
        self._pending = 0
        self._unread_since: float | None = None  # monotonic
        self._score = Fading(started)

    def state(self) -> ConflictState:
        """The conflict that is on and those that were, since the start. Safe from any thread."""
        over, on = tuple(self._over), self.episode
        begun, answers = self._begun, self._answers
        if on is None:
            return ConflictState(since=None, count=0, episodes=over, begun=begun, answers=answers)
        return ConflictState(
            since=on.since,
            count=on.count,
            episodes=(*over, Episode(since=on.since, until=None, count=on.count)),
            begun=begun + 1,
            answers=answers + on.count,
        )

    def collided(self, error: Exception, *, newcomer: bool, now: float, monotonic: float) -> tuple[bool, str]:
        """A 409: whether to try again soon (else: stand by), and what to tell the owner, "" for nothing.

        newcomer: this copy has never polled undisturbed. It tries once more: an older copy of ours that had updates
        in hand when we came, and so polled after us, stands down then. Two newcomers need three 409s at most.
        """
        if self.episode is None:
            self.episode = Fight(since=now)
            log.warning("Conflict: another program polls with this bot's token (%s)", error)
        self.episode.count += 1
        retry = newcomer and not self._retried
        words = self._words(self.episode, retry=retry) if self.episode.count == 1 else ""
        if retry:
            self._retried = True
        else:
            self._score.add(monotonic)
            self._pending, self._unread_since = 0, None
        return retry, words

    def looked(self, pending: int, *, monotonic: float) -> float:
        """One look from standby: `pending` updates are unread. Seconds to the next look, 0: take over now.

        Nobody reads when they lie there for some seconds and do not get fewer.
        """
        if not pending:
            self._unread_since = None
        elif self._unread_since is None or pending < self._pending:
            self._unread_since = monotonic
        self._pending = pending
        if self._unread_since is None:
            return STANDBY_REST
        wanted = UNREAD if self._score.at(monotonic) < STUBBORN else UNREAD_STUBBORN
        left = self._unread_since + wanted - monotonic
        if left > 0:
            return min(left, STANDBY_REST)
        if self.episode is not None and not self.episode.taken_over:
            self.episode.taken_over = True  # a state is logged when it begins, not at each try
            log.info("Conflict: updates lie unread, this copy takes over")
        self._pending, self._unread_since = 0, None
        return 0.0

    def unharmed(self, seconds: float, *, now: float, monotonic: float) -> str:
        """This copy has polled for so long and nobody ended it. What to tell the owner, "" for nothing.

        The more fights there were, the longer it takes until one counts as over: a rival that comes back every minute
        is one conflict, not sixty an hour.
        """
        fights = max(0.0, self._score.at(monotonic) - 1)
        if self.episode is None or seconds < min(UNHARMED_MOST, UNHARMED * 2**fights):
            return ""
        fight, self.episode = self.episode, None
        self._over.append(Episode(since=fight.since, until=now, count=fight.count))
        self._begun, self._answers = self._begun + 1, self._answers + fight.count
        lasted = text.duration(max(0.0, now - fight.since))
        log.info("Conflict: over after %s, %s", lasted, text.count(fight.count, "collision"))
        return f"Conflict over after {lasted}: I read your commands again." if fight.told else ""

    def _words(self, fight: Fight, *, retry: bool) -> str:
        where = (
            "It does not run on this machine (the lock here is ours): look for a second computer, a server, a "
            "hosting panel or another app with the same token."
            if self._policy.alone_here
            else "It may run on this machine or on another one (LOCK_SCOPE=folder)."
        )
        does = (
            "I try again in some seconds; if it keeps on polling, I stand by and take over when nobody reads."
            if retry
            else "I stand by without disturbing it; the other copy answers your commands. As soon as nobody reads "
            "them I take over by myself."
        )
        waits = self._policy.on_conflict == "pause"
        alerts = "Alerts from here wait meanwhile." if waits else "Alerts from here go on."
        return (
            f"Conflict: another program polls this bot's updates, seen at {text.clock(fight.since)}. {where}\n"
            f"{does} {alerts}\n"
            f"If you know of no other copy, the token has leaked: get a new one with /revoke at @BotFather."
        )


def longer(seconds: float, jitter: float) -> float:
    """Up to a tenth more, so that two copies do not act in step; never less, since others rely on the least time."""
    return seconds * (1 + jitter / 10)


class WebhookWar:
    """Someone sets a webhook, which stops all polling: it is removed, but not for ever at full speed."""

    def __init__(self, *, started: float) -> None:
        self.count = 0  # webhooks of this war; 0: there is none
        self._last = started
        self._strength = Fading(started)
        self._slow = False

    def hit(self, host: str, *, monotonic: float) -> tuple[float, str, str]:
        """A webhook to `host` is set. Seconds to wait before it is removed; kind of news and words, "" for none."""
        self.count += 1
        self._last = monotonic
        self._strength.add(monotonic)
        strength = self._strength.at(monotonic)
        if self.count == 1:
            log.warning("Webhook: one was set to %s; it is removed, polling needs that", host)
            words = f"A webhook to {host} was set for this bot and made it deaf. I removed it. {ADVICE}"
            return 0.0, "webhook", words
        if strength < WEBHOOK_PATIENCE:
            return 0.0, "", ""
        rest = min(WEBHOOK_REST_MOST, 30.0 * 2 ** (strength - WEBHOOK_PATIENCE))
        if self._slow:
            return rest, "", ""
        self._slow = True
        log.warning("Webhook: %s is set again and again; removing it slows down", host)
        words = (
            f"The webhook to {host} comes back again and again. I remove it more and more slowly, and hear no "
            f"commands while it is set. {ADVICE}"
        )
        return rest, "webhook war", words

    def polled(self, *, monotonic: float) -> None:
        """Polling works. After some time without a new webhook the war is over."""
        if self.count and monotonic - self._last >= WEBHOOK_QUIET:
            quiet = text.duration(monotonic - self._last)
            log.info("Webhook: none was set for %s, after %s", quiet, text.count(self.count, "removal"))
            self.count, self._slow = 0, False


class Fading:
    """A count that halves every HALF_LIFE seconds (monotonic times)."""

    def __init__(self, started: float) -> None:
        self._value, self._at = 0.0, started

    def at(self, monotonic: float) -> float:
        return self._value * math.exp2((self._at - monotonic) / HALF_LIFE)

    def add(self, monotonic: float) -> None:
        self._value, self._at = self.at(monotonic) + 1, monotonic
