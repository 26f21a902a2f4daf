"""How liquidations, positions and wallets read in alerts, lists and digests. Plain text."""

from __future__ import annotations

from collections.abc import Iterable

from base import text
from venues.perpetuals import Liquidation, Position


def sums(events: Iterable[Liquidation]) -> list[str]:
    """`BTC longs 1.2M, shorts 300k` for each coin, the one with most first; US dollars."""
    found: dict[str, dict[str, float]] = {}
    for event in events:
        sides = found.setdefault(event.symbol, {})
        sides[event.side] = sides.get(event.side, 0.0) + event.usd
    coins = sorted(found.items(), key=lambda coin: -sum(coin[1].values()))
    return [
        f"{symbol} {', '.join(f'{side}s {text.usd(sides[side])}' for side in sorted(sides))}"
        for symbol, sides in coins
    ]


def short(address: str) -> str:
    """`0x12ab…34cd`."""
    return f"{address[:6]}…{address[-4:]}"


def described(position: Position) -> str:
    """`BTC short 154k USD at 77,000, 16.9% to liquidation`: a position as a list shows it."""
    words = f"{position.coin} {position.side} {text.usd(position.usd)} USD at {text.price(position.price)}"
    return f"{words}, {position.distance:.0%} to liquidation" if position.liquidation else words
