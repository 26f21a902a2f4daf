"""Open interest: which changes make an alert. Pure: no clock, network or store.

Compared are coins, not dollars: a price that moves opens no position. A change is told when the positions of a coin
at a venue have grown or shrunk by the mark from their least or most of the last hour. After that the count begins
anew: the next alert needs as much again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from venues.perpetuals import Interest

DEFAULT = 10.0  # percent, for chats that set none
SPAN_MS = 3_600_000
LEAST_USD = 10e6  # of open interest: a single trader moves less than that by many percent


class Change(NamedTuple):
    """Open interest that changed from `before` to `now`."""

    before: Interest
    now: Interest

    @property
    def share(self) -> float:
        """By which fraction; negative when positions were closed."""
        return self.now.coins / self.before.coins - 1

    @property
    def usd(self) -> float:
        """What the positions opened, or closed (negative), are worth now; US dollars."""
        return (self.now.coins - self.before.coins) * self.now.price

    @property
    def key(self) -> str:
        """Its identity: the same after a restart."""
        direction = "up" if self.share > 0 else "down"
        return f"{self.now.venue}:{self.now.symbol}:{direction}:{self.before.at_ms}"


def change(now: Interest, past: Iterable[Interest], *, mark: float, since_ms: int) -> Change | None:
    """The largest change of at least `mark`, a fraction, within an hour and since `since_ms`; None without one.

    past: of the same coin and venue. since_ms: of the last alert.
    """
    begin = max(since_ms, now.at_ms - SPAN_MS)
    compared = [one for one in past if begin <= one.at_ms < now.at_ms]
    if not compared or now.usd < LEAST_USD:
        return None
    ends = min(compared, key=lambda one: one.coins), max(compared, key=lambda one: one.coins)
    largest = max((Change(one, now) for one in ends), key=lambda found: abs(found.share))
    return largest if abs(largest.share) >= mark else None
