"""How many commands and presses one person, and one chat, may send: many at once, then few. Kept in memory only."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

BURST = 20.0
EVERY = 3.0  # seconds for one more
MOST_KNOWN = 10_000  # people and chats; those that have been quiet are forgotten first


class Verdict(Enum):
    """What to do with a command."""

    RUN = auto()
    TELL = auto()  # do not run it, and say so
    IGNORE = auto()  # that was said already


class Quota:
    """Counts by the time at which something was sent, so that what waited through an outage is not a flood."""

    def __init__(self) -> None:
        self._used: dict[int, tuple[float, float, bool]] = {}  # id -> (how much is used, when, was it told)

    def judge(self, ids: Iterable[int], *, at: float) -> Verdict:
        """Count one command of this person in this chat. at: when it was sent, unix seconds."""
        verdict = Verdict.RUN
        if len(self._used) > MOST_KNOWN:
            self._used = {one: row for one, row in self._used.items() if at - row[1] < BURST * EVERY}
        for one in ids:
            used, since, told = self._used.get(one, (0.0, at, False))
            left = max(0.0, used - max(0.0, at - since) / EVERY)
            if left + 1 <= BURST:
                self._used[one] = left + 1, max(at, since), told and left > 0
                continue
            self._used[one] = left, max(at, since), True
            verdict = verdict if verdict is Verdict.IGNORE else Verdict.IGNORE if told else Verdict.TELL
        return verdict
