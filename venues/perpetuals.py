"""What the venues of perpetual contracts share: what contracts are worth, and how rows become events.

Nothing a venue sends is trusted: a row that cannot be read is left out and counted. Sizes come in contracts; the rows
of a contract without a known multiplier are unreadable, never guessed at.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from venues.fetch import Venue
from venues.trades import BAD_ROW, MANY_ROWS, TOO_LARGE, SourceError, newest_ms, possible_ms

T = TypeVar("T")

_SHORTEST_HOURS = 1 / 60  # of a funding interval; real ones are 1 to 8 hours
INTEREST_NEAR = 900.0  # seconds from a time within which open interest may have been read to count as of that time
CONTRACTS_KEPT = 900.0  # seconds until a venue's contracts are read again: their sizes can change
CONTRACTS_RETRY = 300.0  # and after a failure


class Liquidation(NamedTuple):
    """A position, or a part of one, that the venue closed by force.

    side: `long` or `short`, of the position. usd: of the part that this order closed; price: US dollars; at_ms: unix
    ms. row: the event's identity at the venue; equal rows of one page get numbers of their own.
    """

    venue: str
    symbol: str
    side: str
    usd: float
    price: float
    at_ms: int
    row: str


class Rate(NamedTuple):
    """The funding rate of one contract. rate: a fraction for one interval; positive: longs pay shorts.

    contract: its name at the venue. hours: the funding interval. next_ms: when it is charged next, unix ms, 0 when
    the venue does not say. at_ms: when the rate was read, unix ms.
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
        """The rate for eight hours, as most venues quote it; a fraction."""
        return self.rate * 8 / self.hours

    @property
    def year(self) -> float:
        """The rate for a year, without compounding; a fraction."""
        return self.rate * 24 * 365 / self.hours

    @property
    def interval(self) -> int:
        """When its funding interval ends, unix ms: the same number for the whole interval."""
        length = int(self.hours * 3_600_000)
        return self.next_ms or (self.at_ms // length + 1) * length


class Interest(NamedTuple):
    """The open interest of a coin at a venue: all open positions. coins: their size, usd: what they are worth, in US
    dollars; at_ms: when it was read, unix ms. contract: its name at the venue, "" where that is the coin's."""

    venue: str
    symbol: str
    coins: float
    usd: float
    at_ms: int
    contract: str = ""

    @property
    def price(self) -> float:
        """Of one coin, US dollars."""
        return self.usd / self.coins


def growth(pasts: Iterable[Sequence[Interest]], seconds: float) -> float | None:
    """By which fraction the sum of several open interests grew in that time; each as it was read, oldest first.

    None when one of them was not read then.
    """
    before = now = 0.0
    for past in pasts:
        begin = past[-1].at_ms - seconds * 1000
        then = min(past, key=lambda one: abs(one.at_ms - begin))
        if abs(then.at_ms - begin) > INTEREST_NEAR * 1000:
            return None
        before, now = before + then.coins, now + past[-1].coins
    return now / before - 1


class Position(NamedTuple):
    """An open position. size: coins, negative for a short. usd: what it is worth now. entry: its average price.

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
        """`long` or `short`."""
        return "long" if self.size > 0 else "short"

    @property
    def price(self) -> float:
        """What one coin is worth now, US dollars."""
        return self.usd / abs(self.size)

    @property
    def distance(self) -> float:
        """How far away the liquidation price is, as a fraction of the price; 1 when there is none."""
        return abs(self.price - self.liquidation) / self.price


@dataclass(frozen=True, kw_only=True)
class Reading(Generic[T]):
    """What a venue answered to one question.

    unreadable: marks of the rows that could not be read; the same row gets the same mark next time. venue_ms: the
    venue's clock, unix ms, 0 when it did not say. gap_from: for liquidations, when there were more since the time
    asked for than the venue still shows: unix ms of the oldest one that it shows.
    """

    rows: list[T]
    unreadable: frozenset[int] = frozenset()
    venue_ms: int = 0
    gap_from: int | None = None


class Contract(NamedTuple):
    """What one contract is worth. unit: coins, or US dollars for an inverse one; 0: it is not watched.

    thousands: how many coins the price is for: 1000 where the venue calls it 1000PEPE.
    """

    symbol: str
    unit: float
    inverse: bool = False
    thousands: int = 1

    def usd(self, size: float, price: float) -> float:
        """US dollars of `size` contracts at a price."""
        return size * self.unit if self.inverse else size * self.unit * price


Worth = Callable[[str], float]  # US dollars of a coin's liquidations that are worth an alert


def worth_nothing(coin: str) -> float:
    """No amount is worth an alert."""
    return float("inf")


class ContractVenue(Venue):
    """A venue whose contracts are read again every 15 minutes. When that fails, the earlier ones stay in use.

    clock: monotonic seconds.
    """

    def __init__(self, base_url: str, *, clock: Callable[[], float] = time.monotonic, **how: Any) -> None:
        super().__init__(base_url, **how)
        self._clock = clock
        self._contracts: dict[str, Contract] = {}
        self._read_again_at = 0.0
        self._read_ms = 0  # when they were read, unix ms

    def contracts(self) -> dict[str, Contract]:
        """The contracts by name. Raises SourceError when they could not be read even once."""
        now = self._clock()
        if not self._contracts or now >= self._read_again_at:
            self._read_again_at = now + CONTRACTS_RETRY
            try:
                self._contracts, self._read_ms = self._read_contracts()
            except SourceError:
                if not self._contracts:
                    raise
            else:
                self._read_again_at = now + CONTRACTS_KEPT
        return self._contracts

    def _read_contracts(self) -> tuple[dict[str, Contract], int]:
        rows, venue_ms = self._contract_rows()
        found: dict[str, Contract] = {}
        for row in rows:
            try:
                found |= self._contract(row)
            except BAD_ROW:
                continue  # no multiplier: its rows count as unreadable
        if not found:
            raise SourceError(self.host, "no contract could be read")
        return found, self._time_ms(venue_ms)

    def _contract_rows(self) -> tuple[list[Any], int]:
        """Ask for the contracts; the venue's clock, unix ms. Raises SourceError."""
        raise NotImplementedError

    def _contract(self, row: Any) -> dict[str, Contract]:
        """The row's contract by its name, none for one of another kind. Raises one of BAD_ROW."""
        raise NotImplementedError

    def _sizes_changed(self, events: Iterable[Liquidation], worth: Worth) -> bool:
        """Whether sizes had changed: read again when what happened since the last reading is worth an alert.

        By a size that is no longer true, an event is alerted as a hundred times of what it was.
        """
        usd: defaultdict[str, float] = defaultdict(float)
        for event in events:
            if event.at_ms >= self._read_ms:
                usd[event.symbol] += event.usd
        if all(total < worth(symbol) for symbol, total in usd.items()):
            return False
        before, self._read_again_at = self._contracts, 0.0
        return self.contracts() != before


class Numbered:
    """Numbers equal rows of one page, since each is an event; the same row in another page is the same event."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, identity: str) -> str:
        number = self._seen[identity] = self._seen.get(identity, 0) + 1
        return f"{identity}|{number}"


def read_rows(host: str, rows: Sequence[Any], read: Callable[[Any], T | None], venue_ms: int) -> Reading[T]:
    """What `read` makes of each row (None: not wanted), and the marks of the rows that could not be read.

    Raises SourceError when there are many rows and none can be read.
    """
    good: list[T] = []
    unreadable: list[int] = []
    for row in rows:
        try:
            made = read(row)
        except BAD_ROW:
            unreadable.append(hash(repr(row)))
            continue
        if made is not None:
            good.append(made)
    if len(rows) >= MANY_ROWS and len(unreadable) == len(rows):
        raise SourceError(host, "rows in an unknown shape")
    return Reading(rows=good, unreadable=frozenset(unreadable), venue_ms=venue_ms)


def name(value: Any) -> str:
    """A coin's or a wallet's name. Raises ValueError for anything else, and for text that cannot be stored."""
    if type(value) is not str or not 0 < len(value) <= 64 or "\0" in value:
        raise ValueError("not a name")
    value.encode()  # half a surrogate pair is a ValueError here, not later in the store
    return value


def liquidation_price(value: Any) -> float:
    """A position's liquidation price; 0 when there is none, or none that a market could reach. Raises ValueError."""
    price = 0.0 if value is None else float(value)
    return price if 0 < price < TOO_LARGE else 0.0


def checked_rate(rate: Rate) -> Rate:
    """The rate itself. Raises ValueError for one that cannot be real."""
    # No venue charges 100 % an interval, or every few seconds: an interval below 1 ms would divide by zero.
    possible = abs(rate.rate) < 1 and _SHORTEST_HOURS <= rate.hours <= 24
    if type(rate.symbol) is not str or not possible or (rate.next_ms and not possible_ms(rate.next_ms)):
        raise ValueError("not a usable rate")
    return rate


def checked_liquidation(event: Liquidation, venue_ms: int) -> Liquidation:
    """The event itself. Raises ValueError for one that cannot be real."""
    possible = event.side in ("long", "short") and 0 < event.usd < TOO_LARGE and 0 < event.price < TOO_LARGE
    if not possible or not possible_ms(event.at_ms, newest=newest_ms(venue_ms)):
        raise ValueError("not a usable liquidation")
    return event
