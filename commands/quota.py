"""How many commands and presses one person, and one chat, may send: many at once, then few; and how often those are
answered who may not use the bot. Kept in memory only."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

BURST = 20.0
EVERY = 3.0  # seconds for one more
TELL_EVERY = 3600.0  # seconds until somebody is told again that a command is not for them
TOLD_AT_ONCE = 3  # members of a group in that time
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


class Told:
    """Which members of a group were told that a command is not for them: few, so nobody can make the bot talk."""

    def __init__(self) -> None:
        self._told: dict[int, dict[int, float]] = {}  # by group: whom and when

    def may_be(self, user_id: int, chat_id: int, *, at: float) -> bool:
        """May this one be told now? A yes is noted. at: unix seconds."""
        recent = {who: when for who, when in self._told.get(chat_id, {}).items() if 0 <= at - when < TELL_EVERY}
        may = user_id not in recent and len(recent) < TOLD_AT_ONCE
        self._told[chat_id] = recent | {user_id: at} if may else recent
        return may
