"""What to do about another poller or a webhook of the same bot: decisions and words, no thread and no network.

`Rivalry` is the conflict with a second poller: from its first 409 over retries and standby to its end.
`WebhookWar` is the struggle with someone who sets a webhook. Times are arguments: `now` in unix seconds for people,
`monotonic` for intervals; jitter is a number from 0 to 1. Both are for the polling thread; only `Rivalry.state` and
`Rivalry.episode` may be read from others.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

import text
from state import ConflictState, Episode

log = logging.getLogger(__name__)

JUST_STARTED = 30.0
RETRIES = 3
RETRY_REST = 5.0
STANDBY_REST = 3.0
STUBBORN = 3.0  # the score from which on a take-over waits for one look more
HALF_LIFE = 600.0  # seconds in which the score of past fights halves
WEBHOOK_WINDOW = 600.0
ADVICE = (
    "Another program or service uses this bot's token: stop it there, or get a new token with /revoke at @BotFather."
)


@dataclass
class Fight:
    """A conflict from its first 409 on. told: the owner knows of it."""

    since: float
    count: int = 0
    told: bool = False


class Rivalry:
    """The conflict with another poller. `episode` is the one that is on, None when none is."""

    def __init__(self, *, started: float, alone_here: bool, alerts_wait: bool) -> None:
        self.episode: Fight | None = None
        self._over: deque[Episode] = deque(maxlen=100)  # oldest first
        self._begun = self._answers = 0  # all episodes and all 409s of those that are over
        self._started = started
        self._alone_here = alone_here
        self._alerts_wait = alerts_wait
        self._retries = 0
        self._unread = 0
        self._score, self._scored_at = 0.0, started

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

    def collided(self, error: Exception, *, now: float, monotonic: float) -> tuple[bool, str]:
        """A 409: whether to try again soon (else: stand by), and what to tell the owner, "" for nothing."""
        if self.episode is None:
            self.episode = Fight(since=now)
            log.warning("Conflict: another program polls with this bot's token (%s)", error)
        self.episode.count += 1
        retry = monotonic - self._started < JUST_STARTED and self._retries < RETRIES
        words = self._words(self.episode, retry=retry) if self.episode.count == 1 else ""
        if retry:
            # We are the newcomer: the older copy stands down, if it is one of ours, before the next try.
            self._retries += 1
        else:
            self._score = self._score * 0.5 ** ((monotonic - self._scored_at) / HALF_LIFE) + 1
            self._scored_at = monotonic
            self._unread = 0
        return retry, words

    def nobody_reads(self, pending: int) -> bool:
        """One look from standby: `pending` updates are unread. True: take over."""
        self._unread = self._unread + 1 if pending else 0
        # Someone who was here again and again is given one look more, which still ends within 10 s.
        if self._unread < (2 if self._score < STUBBORN else 3):
            return False
        log.info("Conflict: updates lie unread, this copy takes over")
        return True

    def over(self, *, now: float) -> str:
        """This copy polls undisturbed: the episode ends. What to tell the owner, "" for nothing."""
        fight, self.episode = self.episode, None
        if fight is None:
            return ""
        self._over.append(Episode(since=fight.since, until=now, count=fight.count))
        self._begun, self._answers = self._begun + 1, self._answers + fight.count
        self._retries = 0
        lasted = text.duration(max(0.0, now - fight.since))
        log.info("Conflict: over after %s, %s", lasted, text.count(fight.count, "collision"))
        return f"Conflict over after {lasted}: I read your commands again." if fight.told else ""

    def _words(self, fight: Fight, *, retry: bool) -> str:
        where = (
            "It does not run on this machine (the lock here is ours): look for a second computer, a server, a "
            "hosting panel or another app with the same token."
            if self._alone_here
            else "It may run on this machine or on another one (LOCK_SCOPE=folder)."
        )
        does = (
            "I try again in some seconds; if it keeps on polling, I stand by and take over when nobody reads."
            if retry
            else "I stand by without disturbing it; the other copy answers your commands. As soon as nobody reads "
            "them I take over by myself."
        )
        alerts = "Alerts from here wait meanwhile." if self._alerts_wait else "Alerts from here go on."
        return (
            f"Conflict: another program polls this bot's updates, seen at {text.clock(fight.since)}. {where}\n"
            f"{does} {alerts}\n"
            f"If you know of no other copy, the token has leaked: get a new one with /revoke at @BotFather."
        )


def retry_rest(jitter: float) -> float:
    return RETRY_REST * (0.8 + jitter * 0.4)


def standby_rest(jitter: float) -> float:
    return STANDBY_REST * (0.9 + jitter * 0.2)


class WebhookWar:
    """Someone sets a webhook, which stops all polling: it is removed, but not for ever at full speed."""

    def __init__(self) -> None:
        self.hits: list[float] = []

    def hit(self, host: str, *, monotonic: float, jitter: float) -> tuple[float, str, str]:
        """A webhook to `host` is set. Seconds to wait before it is removed; kind of news and words, "" for none."""
        self.hits = [at for at in self.hits if monotonic - at < WEBHOOK_WINDOW] + [monotonic]
        count = len(self.hits)
        kind = words = ""
        if count == 1:
            log.warning("Webhook: one was set to %s; it is removed, polling needs that", host)
            kind = "webhook"
            words = f"A webhook to {host} was set for this bot and made it deaf. I removed it. {ADVICE}"
        elif count == 3:
            log.warning("Webhook: %s is set again and again; removing it slows down", host)
            kind, words = "webhook war", f"The webhook to {host} comes back again and again. {ADVICE}"
        if count < 3:
            return 0.0, kind, words
        return min(600.0, 30.0 * 2.0 ** min(count - 3, 5)) * (0.9 + jitter * 0.2), kind, words
