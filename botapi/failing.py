"""Is it the message or the server? What is known of messages that the server failed on, with a 5xx or a 4xx.

An outage of hours must not bury a message, and one message on which the server always fails must not hold up the
others. So a message's time counts only while the server is well: others got through since it failed first, or at
least the server answers another question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LONGEST_BACKOFF = 60.0
GIVE_UP_AFTER = 7200.0  # seconds; a logOut, which refuses every message, lasts an hour


def backoff(failures: int, jitter: float, *, most: float = LONGEST_BACKOFF) -> float:
    """Seconds to rest after so many failures before this one, about `most` at most. jitter: from 0 to 1."""
    return min(most, 2.0 ** min(failures, 6)) * (0.75 + jitter / 2)


@dataclass
class Failing:
    """One such message. alone: nothing got through since it failed first. since: monotonic seconds from which on the
    server was well, None when it is not. tries: since then."""

    taken: int
    alone: bool = True
    since: float | None = None
    tries: int = 0

    def is_hopeless(self, now: float) -> bool:
        """Has it failed for so long, on a server that is well, that it is given up?"""
        return self.since is not None and now - self.since >= GIVE_UP_AFTER


class FailingMessages:
    """By delivery id. Thread-safe as far as each message is with one thread at a time."""

    def __init__(self) -> None:
        self._taken = 0  # messages that Telegram has taken
        self._messages: dict[int, Failing] = {}

    def got_through(self) -> None:
        """Telegram has taken a message."""
        self._taken += 1

    def settled(self, delivery_id: int) -> None:
        """This message is sent, buried or withdrawn."""
        self._messages.pop(delivery_id, None)

    def failed(self, delivery_id: int, *, now: float, well: Callable[[], bool]) -> Failing:
        """This message failed again. well: asks the server something else."""
        failing = self._messages.setdefault(delivery_id, Failing(self._taken))
        failing.alone = failing.taken == self._taken
        if failing.alone and not well():
            failing.since, failing.tries = None, 0
            return failing
        failing.since = now if failing.since is None else failing.since
        failing.tries += 1
        return failing
