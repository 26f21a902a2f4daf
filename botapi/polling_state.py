"""How polling is doing and which conflicts there were: the states, their words, and what is reported about them.

Every place that shows it (/status, `bot.py status`, doctor, status.json, the status page, /metrics, systemd) takes
the states and the words from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Any

from base import text


class PollingState(StrEnum):
    """What polling is doing. The value is for programs (status.json, /metrics), `words` are for people."""

    CONNECTING = "connecting"
    RUNNING = "running"
    RETRYING = "retrying"
    STANDBY = "standby"
    WAITING = "waiting"
    UNREACHABLE = "unreachable"
    WEBHOOK = "webhook"

    @property
    def words(self) -> str:
        """The state for people."""
        return _WORDS[self]

    @property
    def shares(self) -> bool:
        """Another copy polls, did a moment ago, or may: that this one does not is no fault of its own."""
        return self in (PollingState.STANDBY, PollingState.RETRYING, PollingState.WAITING)


_WORDS = {
    PollingState.CONNECTING: "Connecting to Telegram",
    PollingState.RUNNING: "Running",
    PollingState.RETRYING: "Polling again after a conflict",
    PollingState.STANDBY: "Standing by while another copy polls",
    PollingState.WAITING: "Waiting for the database",
    PollingState.UNREACHABLE: "Telegram cannot be reached",
    PollingState.WEBHOOK: "Removing a webhook that another service set",
}


def words_of(state: str) -> str:
    """The words for a state read from a file; the state itself when this version does not know it."""
    try:
        return PollingState(state).words
    except ValueError:
        return state


@dataclass(frozen=True, kw_only=True)
class PollingReport:
    """The state of polling, when Telegram last answered well, and since when it has not. Times are unix seconds.

    alerts_paused: this copy stands by and, as ON_CONFLICT=pause asks, sends no alerts meanwhile.
    """

    state: PollingState
    last_good_at: float | None
    failing_since: float | None
    alerts_paused: bool = False

    def as_json(self) -> dict[str, Any]:
        """For status.json and the status page."""
        return {
            "state": self.state.value,
            "words": self.state.words,
            "last_good_at": self.last_good_at,
            "failing_since": self.failing_since,
        }


@dataclass(frozen=True, kw_only=True)
class PastConflict:
    """A conflict from its first 409 to its end (None while it lasts), in unix seconds. count: how many 409s."""

    since: float
    until: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class ConflictState:
    """The conflict that is on (`since` None when none is), and the latest ones, oldest first, with it.

    begun, answers: how many conflicts and how many 409s there were since the start.
    """

    since: float | None
    count: int
    episodes: tuple[PastConflict, ...] = ()
    begun: int = 0
    answers: int = 0


def status_lines(polling: PollingReport, conflict: ConflictState, *, now: float, zone: tzinfo) -> list[str]:
    """The lines of /status about polling and conflict, times in that zone."""
    if polling.last_good_at is None:
        lines = ["Polling: connecting."]
    else:
        lines = [f"Polling: last answer {text.duration(max(0.0, now - polling.last_good_at))} ago."]
    if polling.failing_since is not None:
        lines.append(f"Telegram unreachable since {text.clock(polling.failing_since, now=now, zone=zone)}.")
    if conflict.since is None:
        return [*lines, "Conflict: none."]
    state = "standing by" if polling.state is PollingState.STANDBY else "polling again"
    since = text.clock(conflict.since, now=now, zone=zone)
    times = text.count(conflict.count, "time")
    return [*lines, f"Conflict: another copy has polled since {since} (409 {times}); {state}."]
