"""Binance's candles (`GET /api/v3/klines`), made of the simulated trades and of what was before them."""

from __future__ import annotations

import time

from simulation.market import Market, Past

_MINUTE, _DAY = 60_000, 86_400_000
LENGTHS = {f"{minutes}m": minutes * _MINUTE for minutes in (1, 3, 5, 15, 30)} | {  # ms, by the name of the interval
    **{f"{hours}h": hours * 60 * _MINUTE for hours in (1, 2, 4, 6, 8, 12)},
    **{"1d": _DAY, "3d": 3 * _DAY},
}
Row = list[int | str]


def klines(market: Market, symbol: str, length: int) -> list[Row]:
    """All candles of a coin, oldest first, from its first trade to the one that is not over yet.

    Where nothing was traded the last price stays and the volume is 0, as at the real one.
    """
    parts = [*market.past.get(symbol, ())]
    for trade in market.trades("binance", symbol):
        usd = trade.price * trade.quantity
        parts.append(Past(trade.ms, *(trade.price,) * 4, usd, usd if trade.side == "buy" else 0.0))
    rows: list[Row] = []
    candle: list[Past] = []
    now = int(time.time() * 1000)
    at = parts[0].ms // length * length if parts else now + 1
    place, close = 0, 0.0
    while at <= now:
        candle = []
        while place < len(parts) and parts[place].ms < at + length:
            candle.append(parts[place])
            place += 1
        rows.append(_row(at, length, candle or [Past(at, *(close,) * 4, 0.0, 0.0)]))
        close = candle[-1].close if candle else close
        at += length
    return rows


def _row(at: int, length: int, parts: list[Past]) -> Row:
    usd, bought = sum(part.usd for part in parts), sum(part.bought for part in parts)
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    base = usd / parts[-1].close
    prices = (parts[0].open, high, low, parts[-1].close)
    bought_base = bought / parts[-1].close
    return [
        at,
        *(f"{price:.8f}" for price in prices),
        f"{base:.8f}",
        at + length - 1,
        f"{usd:.8f}",
        len(parts) if usd else 0,
        f"{bought_base:.8f}",
        f"{bought:.8f}",
        "0",
    ]
