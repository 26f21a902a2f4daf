"""What the feeds of perpetual contracts share: how contracts count, and how rows become events. Nothing is trusted.

A row that cannot be read is left out and counted alone; an answer that is not what the API promises raises
`SourceError`. Sizes come in contracts: without a contract's multiplier its rows are unreadable, never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from venues.trades import SourceError

T = TypeVar("T")

KEPT = 86400.0  # seconds for which the contracts of a venue are kept
BAD_ROW = (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError)
TOO_LARGE = 1e12
_AHEAD_MS = 60_000  # how far an event may be ahead of its venue's clock
_OLDEST_MS, _NEWEST_MS = 1_230_768_000_000, 4_102_444_800_000  # 2009 to 2100
_MANY = 10  # so many rows without one that can be read: not bad rows but another API


class Liquidation(NamedTuple):
    """Some of a position, closed by force.

    side: `long` or `short`, the position that died. usd: of the part closed by this one order. row: its identity
    at the venue; two events of a venue with the same one are told apart by their number.
    """

    venue: str
    symbol: str
    side: str
    usd: float
    price: float
    at_ms: int
    row: str


class Rate(NamedTuple):
    """What one contract charges. rate: a fraction for one interval; positive: longs pay shorts.

    hours: the interval. next_ms: when it is charged next, unix ms, 0 when the venue does not say. at_ms: when it
    was so. contract: the venue's name of it.
    """

    venue: str
    symbol: str
    contract: str
    rate: float
    hours: float
    next_ms: int
    at_ms: int

    @property
    def eight_hours(self) -> float:
        return self.rate * 8 / self.hours

    @property
    def year(self) -> float:
        return self.rate * 24 * 365 / self.hours

    @property
    def interval(self) -> int:
        """The funding interval it belongs to: the same number for all of its time."""
        length = int(self.hours * 3_600_000)
        return self.next_ms or (self.at_ms // length + 1) * length


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


@dataclass(frozen=True, kw_only=True)
class Found(Generic[T]):
    """What one question gave.

    poison: marks of the rows that could not be read; the same row has the same one next time. venue_ms: the
    venue's clock, unix ms, 0 when it did not say. gap_from: for liquidations, when there were more since the time
    asked for than the venue still shows: unix ms of the oldest one that it shows.
    """

    rows: list[T]
    poison: frozenset[int] = frozenset()
    venue_ms: int = 0
    gap_from: int | None = None


class Contract(NamedTuple):
    """How a contract counts. unit: coins of one contract, dollars for an inverse one; 0: not for us."""

    symbol: str
    unit: float
    inverse: bool = False

    def usd(self, size: float, price: float) -> float:
        return size * self.unit if self.inverse else size * self.unit * price


class Contracts:
    """A venue's contracts by name, read again once a day; when that fails those of before stay in use.

    read: asks the venue, raises SourceError. clock: monotonic seconds.
    """

    def __init__(self, read: Callable[[], dict[str, Contract]], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[str, Contract] = {}
        self._read_again_at = 0.0

    def get(self) -> dict[str, Contract]:
        """Raises SourceError when they could never be read."""
        now = self._clock()
        if not self._known or now >= self._read_again_at:
            self._read_again_at = now + KEPT / 24
            try:
                self._known = self._read()
            except SourceError:
                if not self._known:
                    raise
            else:
                self._read_again_at = now + KEPT
        return self._known


class Numbered:
    """Tells equal rows of one page apart: each is an event. The same row in another page is the same event."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, identity: str) -> str:
        number = self._seen[identity] = self._seen.get(identity, 0) + 1
        return f"{identity}|{number}"


def read_rows(host: str, rows: Sequence[Any], read: Callable[[Any], T | None]) -> tuple[list[T], frozenset[int]]:
    """What `read` makes of each row (None: it is none of ours), and the marks of those that could not be read.

    Raises SourceError when not one of many can be read.
    """
    good: list[T] = []
    poison: list[int] = []
    for row in rows:
        try:
            made = read(row)
        except BAD_ROW:
            poison.append(hash(repr(row)))
            continue
        if made is not None:
            good.append(made)
    if len(rows) >= _MANY and len(poison) == len(rows):
        raise SourceError(host, "rows in an unknown shape")
    return good, frozenset(poison)


def as_list(host: str, rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise SourceError(host, "an answer in an unknown shape")
    return rows


def number(text: Any) -> float:
    """A positive number that came as text. Raises ValueError for anything else."""
    value = float(text)
    if type(text) is not str or not 0 < value < TOO_LARGE:
        raise ValueError("not a usable number")
    return value


def name(value: Any) -> str:
    """A coin's or a wallet's name. Raises ValueError for what is none, or cannot be written down."""
    if type(value) is not str or not 0 < len(value) <= 64:
        raise ValueError("not a name")
    value.encode()  # half a surrogate pair is a ValueError here, not later in the store
    return value


def liquidation_price(value: Any) -> float:
    """The price at which a position ends by force; 0 where none is told, or none that a market could reach."""
    price = 0.0 if value is None else float(value)
    return price if 0 < price < TOO_LARGE else 0.0


def checked_rate(rate: Rate) -> Rate:
    """The rate itself. Raises ValueError for one that cannot be."""
    possible = abs(rate.rate) < 1 and 0 < rate.hours <= 24  # no venue allows a hundredth of 100 % an interval
    if (
        type(rate.symbol) is not str
        or not possible
        or (rate.next_ms and not _OLDEST_MS <= rate.next_ms <= _NEWEST_MS)
    ):
        raise ValueError("not a usable rate")
    return rate


def checked_liquidation(event: Liquidation, venue_ms: int) -> Liquidation:
    """The event itself. Raises ValueError for one that cannot be."""
    newest_ms = venue_ms + _AHEAD_MS if venue_ms else _NEWEST_MS
    possible = event.side in ("long", "short") and 0 < event.usd < TOO_LARGE and 0 < event.price < TOO_LARGE
    if not possible or not _OLDEST_MS <= event.at_ms <= newest_ms:
        raise ValueError("not a usable liquidation")
    return event
