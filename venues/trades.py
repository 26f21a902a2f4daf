"""Trades and how rows of a market feed become trades: pure, nothing is asked and nothing is trusted.

A row that cannot be read is skipped and counted alone; ids tell what is missing. `SourceError` stands here
because both a row and a host can break a promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

_TOO_LARGE = 1e12  # no price and no quantity comes near
_TOO_DEAR = 1e9  # dollars of one fill: a row above has a digit too many, and would be the largest alert ever told
_OLDEST_MS, _NEWEST_MS = 1_230_768_000_000, 4_102_444_800_000  # 2009 to 2100
_AHEAD_MS = 3_600_000  # how far a trade may be ahead of its venue's clock
_JUMP = 10_000_000  # an id so far ahead is no trade of ours: following it would silence the feed
_MANY = 10  # so many rows without one that can be read: not bad rows but another API


class Trade(NamedTuple):
    """One fill. taker_side: `buy` or `sell`; price in quote dollars; at_ms: the venue's time, unix ms."""

    venue: str
    symbol: str
    trade_id: int
    price: float
    quantity: float
    taker_side: str
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """Trades in the venue's order, none before the cursor asked for.

    head: read up to the venue's newest trade. venue_ms: the venue's clock when it answered, unix ms, 0 when it
    did not say. missed: trades proven missing by the ids. skipped: rows that could not be read.
    """

    trades: list[Trade]
    next_cursor: str
    head: bool
    venue_ms: int = 0
    missed: int = 0
    skipped: int = 0


class SourceError(Exception):
    """A host did not give what it promises. blocked: it refuses, or does not exist for, this place."""

    def __init__(self, host: str, reason: str, *, retry_after: float | None = None, blocked: bool = False) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason
        self.retry_after = retry_after
        self.blocked = blocked


class UnknownSymbol(SourceError):
    """The host is well; it has no market for this coin."""


Fields = tuple[Any, Any, Any, str, Any]  # id, price text, quantity text, taker side or "", unix ms
_BAD_ROW = (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError)


@dataclass(frozen=True)
class Read:
    trades: list[Trade]
    next_id: int
    missed: int
    skipped: int

    def page(self, next_cursor: str, *, head: bool, venue_ms: int) -> Page:
        return Page(
            trades=self.trades,
            next_cursor=next_cursor,
            head=head,
            venue_ms=venue_ms,
            missed=self.missed,
            skipped=self.skipped,
        )


@dataclass(frozen=True)
class Reader:
    """Turns raw rows, in the order of their ids, into trades.

    id_at: where a row has its id. overlaps: pages may begin with rows from before the cursor.
    """

    host: str
    venue: str
    symbol: str
    fields: Callable[[Any], Fields]
    id_at: str | int
    overlaps: bool = False

    def read(self, rows: Sequence[Any], *, wanted: int, venue_ms: int) -> Read:
        """Trades with ids from `wanted` (0: any), each once, and what is missing between them."""
        venue, symbol, fields = self.venue, self.symbol, self.fields
        make = Trade._make  # a third of the time that Trade(...) takes, and this loop is what a busy market costs
        newest_ms = venue_ms + _AHEAD_MS if venue_ms else _NEWEST_MS
        top = wanted + _JUMP if wanted else 1 << 62
        trades: list[Trade] = []
        poison: list[tuple[int, int | None]] = []  # (readable rows before it, its id if that can be read)
        for row in rows:
            try:
                trade_id, price_text, quantity_text, side, at_ms = fields(row)
                price, quantity = float(price_text), float(quantity_text)
                if (
                    type(trade_id) is int
                    and 0 <= trade_id <= top
                    and type(price_text) is str
                    and type(quantity_text) is str
                    and 0 < price < _TOO_LARGE  # also false for NaN
                    and 0 < quantity < _TOO_LARGE
                    and price * quantity < _TOO_DEAR
                    and side
                    and type(at_ms) is int
                    and _OLDEST_MS <= at_ms <= newest_ms
                ):
                    trades.append(make((venue, symbol, trade_id, price, quantity, side, at_ms)))
                    continue
            except _BAD_ROW:
                pass  # not a row as promised: counted just below
            poison.append((len(trades), self._id(row, top)))
        if len(rows) >= _MANY and not trades:
            raise SourceError(self.host, "rows in an unknown shape")
        # A page of bad rows only: new ones, or the one before the cursor once more.
        alone = -1 - len(poison) if self.overlaps else wanted
        skipped = {i for i in _poison_ids(poison, trades, alone) if i >= wanted} if poison else set()
        return _settle(trades, skipped, wanted)

    def _id(self, row: Any, top: int) -> int | None:
        try:
            value = row[self.id_at]
        except _BAD_ROW:
            return None
        return value if type(value) is int and 0 <= value <= top else None


def _poison_ids(poison: list[tuple[int, int | None]], trades: list[Trade], alone: int) -> list[int]:
    """The ids of rows that could not be read; where a row does not tell, its place among its neighbours does.

    `alone` is the first id when no row of the page could be read.
    """
    leading = sum(1 for before, _ in poison if before == 0)
    place, last = 0, (trades[0].trade_id - leading if trades else alone) - 1
    ids: list[int] = []
    for before, known in poison:
        if before != place:
            place, last = before, trades[before - 1].trade_id
        last = last + 1 if known is None else known
        ids.append(last)
    return ids


def _settle(trades: list[Trade], skipped: set[int], wanted: int) -> Read:
    ids = [trade.trade_id for trade in trades]
    first = wanted or (ids[0] if ids else 0)
    if ids and not skipped and ids == list(range(first, first + len(ids))):
        return Read(trades, ids[-1] + 1, 0, 0)  # as it nearly always is
    trades.sort(key=attrgetter("trade_id"))  # they are in order: this only checks it
    if trades and trades[0].trade_id < wanted:
        trades = [trade for trade in trades if trade.trade_id >= wanted]
    seen = {trade.trade_id for trade in trades}
    if len(seen) < len(trades):
        trades = [t for t, before in zip(trades, [None, *trades], strict=False) if not _same(t, before)]
    skipped -= seen
    seen |= skipped
    if not seen:
        return Read([], wanted, 0, 0)
    first, last = wanted or min(seen), max(seen)
    return Read(trades, last + 1, last - first + 1 - len(seen), len(skipped))


def _same(trade: Trade, before: Trade | None) -> bool:
    return before is not None and before.trade_id == trade.trade_id
