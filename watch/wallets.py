"""Positions of one wallet: what changed between two looks. Pure functions of snapshots: no clock, network or store.

Told is a position that was opened, closed, turned to the other side, made larger or smaller by a quarter, or came
near its liquidation. Sizes are compared with the size that was told last, so that a change in many small steps is
seen too. At first sight of a wallet nothing is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from store.rows import TrackedPosition
from venues.perpetuals import Position

RESIZED = 0.25
NEAR = 0.05  # share of the price that is left to the liquidation price
FAR = 0.075  # from here on it may be told again that it is near


@dataclass(frozen=True)
class Change:
    """Something to tell. kind: open, close, flip, more, less or near. before: the position as it was last seen.

    told: the size that was told last, 0 for an open.
    """

    kind: str
    coin: str
    before: Position | None
    after: Position | None
    told: float

    @property
    def shown(self) -> Position:
        """The position it is about: as it is, or as it was when it is gone."""
        position = self.after or self.before
        assert position is not None
        return position

    @property
    def usd(self) -> float:
        """How many dollars changed hands, by the price now; for `near` what is at stake."""
        if self.kind == "near":
            return self.shown.usd
        after = 0.0 if self.after is None else self.after.size
        return abs(after - self.told) * self.shown.price


def first_sight(positions: Iterable[Position]) -> dict[str, TrackedPosition]:
    """What is known after the first look: nothing is told of it."""
    return {seen.coin: TrackedPosition(seen, seen.size, seen.distance <= NEAR) for seen in positions}


def compare(
    known: Mapping[str, TrackedPosition], positions: Iterable[Position], *, unread: Iterable[str] | None = ()
) -> tuple[list[Change], dict[str, TrackedPosition]]:
    """What is to be told of a new look, and what is known after it.

    unread: coins whose position is there but could not be read; None when it is not even known which. They are no
    closed ones.
    """
    changes: list[Change] = []
    after: dict[str, TrackedPosition] = {}
    for seen in positions:
        change, after[seen.coin] = _look(known.get(seen.coin), seen)
        changes += change
    for coin, before in known.items():
        if coin in after:
            continue
        if unread is None or coin in unread:
            after[coin] = before
        else:
            changes.append(Change("close", coin, before.position, None, before.told))
    return changes, after


def _look(before: TrackedPosition | None, seen: Position) -> tuple[list[Change], TrackedPosition]:
    near = seen.distance <= NEAR
    if before is None:
        kind = "open"
    elif before.told * seen.size < 0:
        kind = "flip"
    elif abs(seen.size) >= abs(before.told) * (1 + RESIZED):
        kind = "more"
    elif abs(seen.size) <= abs(before.told) * (1 - RESIZED):
        kind = "less"
    else:
        kind = ""
    told = seen.size if before is None or kind else before.told
    was_near = before is not None and before.near and kind not in ("open", "flip")
    was = None if before is None else before.position
    changes = []
    if kind:
        changes.append(Change(kind, seen.coin, was, seen, 0.0 if before is None else before.told))
    if near and not was_near:
        changes.append(Change("near", seen.coin, was, seen, told))
    known = TrackedPosition(seen, told, near or (was_near and seen.distance < FAR))
    return changes, known
