"""How polling is doing and which conflicts there were: the states, their words, and what is reported about them.

Every place that shows it (/status, `bot.py status`, doctor, status.json, the status page, /metrics, systemd) takes
the states and the words from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

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
        """Another copy polls, did a moment ago, or may: it is not this one's fault that it does not."""
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


PAUSED = "paused while another copy answers (ON_CONFLICT=pause, or the button under its message)"


class PollingReport(NamedTuple):
    """The state of polling, when Telegram last answered well, and since when it has not. Times are unix seconds.

    alerts_paused: this copy stands by and sends no alerts meanwhile: ON_CONFLICT=pause, or the owner's button.
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

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> PollingReport:
        """What `as_json` made. Raises KeyError or ValueError for what another version wrote."""
        return cls(
            state=PollingState(told["state"]), last_good_at=told["last_good_at"], failing_since=told["failing_since"]
        )

    def described(self, *, now: float, zone: tzinfo = UTC) -> str:
        """`Running; last answer from Telegram 3 s ago`."""
        words = self.state.words
        if self.failing_since is not None:
            words += f" since {text.clock(self.failing_since, now=now, zone=zone)}"
        if self.last_good_at is None:
            return f"{words}; no answer from Telegram yet"
        return f"{words}; last answer from Telegram {text.duration(max(0.0, now - self.last_good_at))} ago"


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

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> ConflictState:
        """What `asdict` made. Raises KeyError or TypeError for what another version wrote."""
        return cls(**dict(told) | {"episodes": tuple(PastConflict(**one) for one in told["episodes"])})

    def described(self, *, now: float, zone: tzinfo = UTC) -> str:
        """`another copy has been polling since 14:03:07 UTC (3 conflicts)`, or `none`."""
        if self.since is not None:
            since, count = text.clock(self.since, now=now, zone=zone), text.count(self.count, "conflict")
            return f"another copy has been polling since {since} ({count})"
        ended = [one.until for one in self.episodes if one.until is not None]
        return f"none; the last one ended at {text.clock(ended[-1], now=now, zone=zone)}" if ended else "none"
