"""Five-minute bars of a coin's trades: price, and how much was bought and sold by takers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from venues.trades import Trade

SECONDS = 300


@dataclass(slots=True)
class Bar:
    """at: unix seconds when the bar begins; prices in quote dollars; *_usd: what takers bought and sold in it."""

    symbol: str
    at: int
    open: float
    high: float
    low: float
    close: float
    buy_usd: float
    sell_usd: float


def add(bars: dict[tuple[str, int], Bar], trades: Iterable[Trade]) -> None:
    """Count trades, in the venue's order, into the bars of their time; new bars are made as needed."""
    at, bar = -1, None
    for _, symbol, _, price, quantity, side, at_ms in trades:
        begins = at_ms // 1000 // SECONDS * SECONDS
        if bar is None or begins != at or bar.symbol != symbol:
            at = begins
            bar = bars.get((symbol, at))
            if bar is None:
                bar = bars[symbol, at] = Bar(symbol, at, price, price, price, price, 0.0, 0.0)
        bar.close = price
        if price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        if side == "buy":
            bar.buy_usd += price * quantity
        else:
            bar.sell_usd += price * quantity
