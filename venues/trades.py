"""Trades: how a venue's rows become trades, and trades become five-minute bars. Pure: nothing is asked here.

Nothing a venue sends is trusted. A row that cannot be read is skipped and counted; gaps in the ids show which trades
are missing. The checks that all venues share, and `SourceError`, are here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from base.secrets import redact
from base.text import one_line

TOO_LARGE = 1e12  # no price and no number of dollars comes near
MOST_COINS = 1e18  # of one order, one position or a day: a coin of tiny price trades by the trillion
_MOST_USD = 1e9  # of one fill: a row above it has a digit too many and would be the largest alert of all time
_OLDEST_MS, _NEWEST_MS = 1_230_768_000_000, 4_102_444_800_000  # 2009 to 2100
_AHEAD_MS = 60_000  # how far an event may be ahead of its venue's clock
_JUMP = 10_000_000  # an id this far ahead is not the next trade: following it would silence the feed
MANY_ROWS = 10  # this many rows, none of them readable: the API has changed
BAD_ROW = (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError)  # what reading one may raise
BAR_SECONDS = 300
SHORT_PAUSE = 5.0  # seconds until a host is asked again that did not answer at all
LIMIT_PAUSE = 10.0  # and until one is that counts requests by the second


class SourceError(Exception):
    """A venue did not answer as its API promises. Every method that asks a venue raises it.

    host: the host's name. reason: a few words, without the URL and without any key. retry_after: seconds in which the
    host is asked nothing more; None when only this question failed. blocked: it refuses requests from this place, or
    its name does not exist. too_often: it wants fewer requests.
    """

    def __init__(
        self,
        host: str,
        reason: str,
        *,
        retry_after: float | None = None,
        blocked: bool = False,
        too_often: bool = False,
    ) -> None:
        self.host, self.reason = host, one_line(redact(reason))  # it may hold the host's own words
        super().__init__(f"{host}: {self.reason}")
        self.retry_after = retry_after
        self.blocked, self.too_often = blocked, too_often


class UnknownSymbol(SourceError):
    """The venue works, but has no market for this coin."""


class Trade(NamedTuple):
    """One fill. price: in US dollars (USDT counts as one); quantity: coins; taker_side: `buy` or `sell`; at_ms:
    the venue's time, unix ms."""

    venue: str
    symbol: str
    trade_id: int
    price: float
    quantity: float
    taker_side: str
    at_ms: int


class Quote(NamedTuple):
    """The best bid and the best ask, in US dollars."""

    bid: float
    ask: float


@dataclass(frozen=True, kw_only=True)
class Page:
    """Trades in the order of their ids, none from before the cursor asked for.

    next_cursor: where the next page begins. head: this page reaches the newest trade. venue_ms: the venue's clock
    when it answered, unix ms, 0 when it did not say. missed: trades that the ids prove missing. skipped: unreadable
    rows.
    """

    trades: list[Trade]
    next_cursor: str
    head: bool
    venue_ms: int = 0
    missed: int = 0
    skipped: int = 0


@dataclass(slots=True)
class Bar:
    """A coin's trades of five minutes. at: its start, unix seconds; prices in US dollars; buy_usd, sell_usd: what
    takers bought and sold."""

    symbol: str
    at: int
    open: float
    high: float
    low: float
    close: float
    buy_usd: float
    sell_usd: float


def add_to_bars(bars: dict[tuple[str, int], Bar], trades: Iterable[Trade]) -> None:
    """Add trades, in the venue's order, to the bars by (symbol, start), making new ones as needed."""
    at, bar = -1, None
    for _, symbol, _, price, quantity, side, at_ms in trades:
        begins = at_ms // 1000 // BAR_SECONDS * BAR_SECONDS
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


def as_list(host: str, rows: Any) -> list[Any]:
    """The rows themselves. Raises SourceError when they are not a list."""
    if not isinstance(rows, list):
        raise SourceError(host, "an answer in an unknown shape")
    return rows


def number(text: Any, *, most: float = TOO_LARGE) -> float:
    """A positive number below `most` that came as text. Raises ValueError or TypeError for anything else."""
    value = float(text)
    if type(text) is not str or not 0 < value < most:
        raise ValueError("not a usable number")
    return value


def newest_ms(venue_ms: int) -> int:
    """The latest time, unix ms, that a venue whose clock shows `venue_ms` (0: not known) can have seen."""
    return venue_ms + _AHEAD_MS if venue_ms else _NEWEST_MS


def possible_ms(at_ms: int, *, newest: int = _NEWEST_MS) -> bool:
    """Whether unix ms are a time from 2009 to `newest`."""
    return _OLDEST_MS <= at_ms <= newest


Fields = tuple[Any, Any, Any, str, Any]  # id, price text, quantity text, taker side or "", unix ms


@dataclass(frozen=True)
class ParsedTrades:
    """The trades of some rows, the id after the newest one, and how many trades are missing or unreadable."""

    trades: list[Trade]
    next_id: int
    missed: int
    skipped: int

    def page(self, next_cursor: str, *, head: bool, venue_ms: int) -> Page:
        """The same as a Page."""
        return Page(
            trades=self.trades,
            next_cursor=next_cursor,
            head=head,
            venue_ms=venue_ms,
            missed=self.missed,
            skipped=self.skipped,
        )


@dataclass(frozen=True)
class TradeParser:
    """Turns a venue's raw rows, in the order of their ids, into trades.

    fields: picks a row's values, may raise any of BAD_ROW. id_at: key or index of a row's id. overlaps: pages may
    begin with rows from before the cursor.
    """

    host: str
    venue: str
    fields: Callable[[Any], Fields]
    id_at: str | int
    overlaps: bool = False

    def parse(self, rows: Sequence[Any], symbol: str, *, wanted: int, venue_ms: int) -> ParsedTrades:
        """Trades with ids from `wanted` (0: any), each once, and what is missing between them.

        Raises SourceError when there are many rows and none can be read.
        """
        venue, fields, oldest, newest = self.venue, self.fields, _OLDEST_MS, newest_ms(venue_ms)
        make = Trade._make  # a third of the time of Trade(...), and this loop is what a busy market costs
        top = wanted + _JUMP if wanted else 1 << 62
        trades: list[Trade] = []
        bad_rows: list[tuple[int, int | None]] = []  # (readable rows before it, its id if that can be read)
        for row in rows:
            try:
                trade_id, price_text, quantity_text, side, at_ms = fields(row)
                price, quantity = float(price_text), float(quantity_text)
                if (
                    type(trade_id) is int
                    and 0 <= trade_id <= top
                    and type(price_text) is str
                    and type(quantity_text) is str
                    and 0 < price < TOO_LARGE  # also false for NaN
                    and 0 < quantity < MOST_COINS
                    and price * quantity < _MOST_USD
                    and side
                    and type(at_ms) is int
                    and oldest <= at_ms <= newest
                ):
                    trades.append(make((venue, symbol, trade_id, price, quantity, side, at_ms)))
                    continue
            except BAD_ROW:
                pass  # not a row as promised: counted just below
            bad_rows.append((len(trades), self._id(row, top)))
        if len(rows) >= MANY_ROWS and not trades:
            raise SourceError(self.host, "rows in an unknown shape")
        # A page of bad rows only: new ones, or the one before the cursor once more.
        alone = -1 - len(bad_rows) if self.overlaps else wanted
        skipped = {i for i in _bad_ids(bad_rows, trades, alone) if i >= wanted} if bad_rows else set()
        return _count(trades, skipped, wanted)

    def _id(self, row: Any, top: int) -> int | None:
        try:
            value = row[self.id_at]
        except BAD_ROW:
            return None
        return value if type(value) is int and 0 <= value <= top else None


def _bad_ids(bad_rows: list[tuple[int, int | None]], trades: list[Trade], alone: int) -> list[int]:
    """The ids of unreadable rows; a row without a readable id gets the one of its place among its neighbours.

    alone: the first id when the page has no readable row.
    """
    leading = sum(1 for before, _ in bad_rows if before == 0)
    place, last = 0, (trades[0].trade_id - leading if trades else alone) - 1
    ids: list[int] = []
    for before, known in bad_rows:
        if before != place:
            place, last = before, trades[before - 1].trade_id
        last = last + 1 if known is None else known
        ids.append(last)
    return ids


def _count(trades: list[Trade], skipped: set[int], wanted: int) -> ParsedTrades:
    ids = [trade.trade_id for trade in trades]
    first = wanted or (ids[0] if ids else 0)
    if ids and not skipped and ids == list(range(first, first + len(ids))):
        return ParsedTrades(trades, ids[-1] + 1, 0, 0)  # nearly always
    by_id: dict[int, Trade] = {}
    for trade in sorted(trades, key=attrgetter("trade_id")):
        if trade.trade_id >= wanted:
            by_id.setdefault(trade.trade_id, trade)
    skipped -= by_id.keys()
    seen = by_id.keys() | skipped
    if not seen:
        return ParsedTrades([], wanted, 0, 0)
    first, last = wanted or min(seen), max(seen)
    return ParsedTrades(list(by_id.values()), last + 1, last - first + 1 - len(seen), len(skipped))


def as_quote(bid: Any, ask: Any, *, units: int = 1) -> Quote:
    """A venue's best bid and ask for so many coins as one. Raises one of BAD_ROW."""
    found = Quote(number(bid) / units, number(ask) / units)
    if found.bid > found.ask:
        raise ValueError("a bid above the ask")
    return found


def volume_of_each(symbols: Sequence[str], ask: Callable[[str], float]) -> dict[str, float]:
    """US dollars by coin, where a venue is asked for each alone. Raises SourceError for the host as a whole only."""
    volumes = {}
    for symbol in symbols:
        try:
            volumes[symbol] = ask(symbol)
        except BAD_ROW:
            continue
        except SourceError as error:
            if error.retry_after is not None:
                raise
    return volumes
