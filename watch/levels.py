"""Price levels: which trades touch the levels that chats set with /alert. Pure.

What was not read in an outage is judged by the candles that fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from store.levels import REARM, Level
from venues.trades import Bar, Trade


class Point(NamedTuple):
    """A trade that a move may begin with. rough: all that is known is its bar, and `at_ms` is the bar's start."""

    at_ms: int
    price: float
    rough: bool = False


class Touch(NamedTuple):
    """A trade that brought the price to a level, or a move to its size. level: as it was before; its state says from
    which side. start: where the move began."""

    level: Level
    trade: Trade
    start: Point | None = None


def judge(level: Level, trades: Sequence[Trade]) -> tuple[Level, list[Touch]]:
    """What trades, in the venue's order, make of a level that waits; and the touches among them."""
    touches: list[Touch] = []
    for trade in trades:
        if trade.at_ms < level.since_ms:
            continue
        if level.state == "done" or 0 < level.expires * 1000 <= trade.at_ms:
            break
        price, state = trade.price, level.state
        if state == "rest":
            level = replace(level.waiting(price, now=0.0), since_ms=trade.at_ms)
        elif state == "away":
            if price <= level.price * (1 - REARM) and level.direction != "below":
                level = replace(level, state="above", since_ms=trade.at_ms)
            elif price >= level.price * (1 + REARM) and level.direction != "above":
                level = replace(level, state="below", since_ms=trade.at_ms)
        elif price >= level.price if state == "above" else price <= level.price:
            touches.append(Touch(level, trade))
            level = _told(level, trade.at_ms)
    return level, touches


def _told(level: Level, at_ms: int) -> Level:
    """The level after a touch at that time."""
    level = replace(level, touched_ms=at_ms)
    if level.cooldown:
        return level.resting(at_ms / 1000 + level.cooldown)
    return replace(level, state="away" if level.repeat else "done", since_ms=at_ms)


def as_trades(bars: Sequence[Bar], venue: str) -> list[Trade]:
    """Bars of what was not read, as trades without a number at the bar's start: its low is first if it rose."""
    return [
        Trade(venue, bar.symbol, 0, price, 0.0, "", bar.at * 1000)
        for bar in bars
        for price in (bar.open, *sorted((bar.low, bar.high), reverse=bar.close < bar.open), bar.close)
    ]
