"""Positions of one wallet: what changed between two looks. Pure functions of snapshots: no clock, network or store.

Told is a position that was opened, closed, turned to the other side, made larger or smaller by a quarter, or came
near its liquidation. Sizes are compared with the size that was told last, so that a change in many small steps is
seen too. At first sight of a wallet nothing is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from base import text

RESIZED = 0.25
NEAR = 0.05  # share of the price that is left to the liquidation price
FAR = 0.075  # from here on it may be told again that it is near


class Position(NamedTuple):
    """size: coins, positive for a long, negative for a short. usd: what it is worth now.

    liquidation: the price at which the venue closes it by force, 0 when it does not say.
    """

    coin: str
    size: float
    usd: float
    entry: float
    liquidation: float
    leverage: float

    @property
    def side(self) -> str:
        return "long" if self.size > 0 else "short"

    @property
    def price(self) -> float:
        """What one coin is worth now."""
        return self.usd / abs(self.size)

    @property
    def distance(self) -> float:
        """Share of the price that is left to the liquidation price; 1 when none is known."""
        return abs(self.price - self.liquidation) / self.price if self.liquidation else 1.0


@dataclass(frozen=True)
class Known:
    """A position as it was last seen. told: its size when it was last told. near: it was told that it is near."""

    position: Position
    told: float
    near: bool = False


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


def first_sight(positions: Iterable[Position]) -> dict[str, Known]:
    """What is known after the first look: nothing is told of it."""
    return {seen.coin: Known(seen, seen.size, seen.distance <= NEAR) for seen in positions}


def compare(
    known: Mapping[str, Known], positions: Iterable[Position], *, unread: Iterable[str] | None = ()
) -> tuple[list[Change], dict[str, Known]]:
    """What is to be told of a new look, and what is known after it.

    unread: coins whose position is there but could not be read; None when it is not even known which. They are no
    closed ones.
    """
    changes: list[Change] = []
    after: dict[str, Known] = {}
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


def _look(before: Known | None, seen: Position) -> tuple[list[Change], Known]:
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
    known = Known(seen, told, near or (was_near and seen.distance < FAR))
    return changes, known


def dump(known: Mapping[str, Known]) -> dict[str, list[object]]:
    """As JSON has it; `load` goes on from there."""
    return {coin: [list(seen.position), seen.told, seen.near] for coin, seen in known.items()}


def load(dumped: Mapping[str, list[object]]) -> dict[str, Known]:
    """Raises TypeError or ValueError for what `dump` did not make."""
    loaded = {}
    for coin, (position, told, near) in dumped.items():
        loaded[coin] = Known(Position(*position), told, near)  # type: ignore[misc, arg-type]
    return loaded


def short(address: str) -> str:
    """`0x12ab…34cd`."""
    return f"{address[:6]}…{address[-4:]}"


def described(position: Position) -> str:
    """`BTC short 154k USD at 77,000, 16.9% to liquidation`: a position as a list shows it."""
    words = f"{position.coin} {position.side} {text.usd(position.usd)} USD at {text.price(position.price)}"
    return f"{words}, {position.distance:.0%} to liquidation" if position.liquidation else words
