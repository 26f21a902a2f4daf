"""Positions of one wallet: what changed between two looks. Pure functions of snapshots: no clock, network or store.

A change is a position that was opened, closed, flipped, made larger or smaller by a quarter, or that came close to
its liquidation. Sizes are compared with those of the last alert, so a change in many small steps is seen too. The
first look at a wallet finds no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from store.wallets import TrackedPosition
from venues.perpetuals import Position

RESIZED = 0.25  # share of the size at the last alert
NEAR = 0.05  # distance to the liquidation price, as a share of the price
FAR = 0.075  # from this distance on, coming near is a change again


@dataclass(frozen=True)
class Change:
    """What an alert is about. kind: open, close, flip, more, less or near. before: the position at the last look.

    alerted: the size at the last alert, coins, 0 for an open.
    """

    kind: str
    coin: str
    before: Position | None
    after: Position | None
    alerted: float

    @property
    def shown(self) -> Position:
        """The position now, or as it was last seen when it is closed."""
        position = self.after or self.before
        assert position is not None
        return position

    @property
    def usd(self) -> float:
        """US dollars that changed hands, at the price now; for `near` what the position is worth."""
        if self.kind == "near":
            return self.shown.usd
        after = 0.0 if self.after is None else self.after.size
        return abs(after - self.alerted) * self.shown.price


def first_sight(positions: Iterable[Position]) -> dict[str, TrackedPosition]:
    """What is known after the first look at a wallet, by coin."""
    return {seen.coin: TrackedPosition(seen, seen.size, seen.distance <= NEAR) for seen in positions}


def compare(
    known: Mapping[str, TrackedPosition], positions: Iterable[Position], *, unread: Iterable[str] | None = ()
) -> tuple[list[Change], dict[str, TrackedPosition]]:
    """The changes that a new look shows, and what is known after it, by coin.

    unread: coins whose position is there but could not be read; None when it is not even known which. They do not
    count as closed.
    """
    changes: list[Change] = []
    after: dict[str, TrackedPosition] = {}
    for seen in positions:
        change, after[seen.coin] = _compare_one(known.get(seen.coin), seen)
        changes += change
    for coin, before in known.items():
        if coin in after:
            continue
        if unread is None or coin in unread:
            after[coin] = before
        else:
            changes.append(Change("close", coin, before.position, None, before.alerted))
    return changes, after


def _compare_one(before: TrackedPosition | None, seen: Position) -> tuple[list[Change], TrackedPosition]:
    near = seen.distance <= NEAR
    if before is None:
        kind = "open"
    elif before.alerted * seen.size < 0:
        kind = "flip"
    elif abs(seen.size) >= abs(before.alerted) * (1 + RESIZED):
        kind = "more"
    elif abs(seen.size) <= abs(before.alerted) * (1 - RESIZED):
        kind = "less"
    else:
        kind = ""
    alerted = seen.size if before is None or kind else before.alerted
    was_near = before is not None and before.near and kind not in ("open", "flip")
    was = None if before is None else before.position
    changes = []
    if kind:
        changes.append(Change(kind, seen.coin, was, seen, 0.0 if before is None else before.alerted))
    if near and not was_near:
        changes.append(Change("near", seen.coin, was, seen, alerted))
    known = TrackedPosition(seen, alerted, near or (was_near and seen.distance < FAR))
    return changes, known
