"""The simulated spot markets: trades with ids without holes, made by tests or by a background flow.

feeds.py shows them over HTTP. `binance` and `binance_api` are two hosts of one venue: the same trades, faults of
their own. All trades are synthetic.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from simulation.http import Hub
from simulation.perpetuals import Perpetuals
from simulation.request import Params

# Price and 24-hour volume in US dollars, in the right order of magnitude.
COINS = {
    "BTC": (77_000.0, 2.1e9),
    "ETH": (2_500.0, 1.2e9),
    "SOL": (150.0, 5.0e8),
    "BNB": (650.0, 1.5e8),
    "XRP": (2.2, 4.0e8),
    "DOGE": (0.17, 1.5e8),
    "ADA": (0.65, 8.0e7),
    "AVAX": (20.0, 6.0e7),
    "LINK": (14.0, 7.0e7),
    "TON": (3.1, 4.0e7),
}
_SIDES = ("buy", "sell")
_KEEP = 200_000  # trades kept of a market


class Trade(NamedTuple):
    """One fill. side: the taker's. poison: what is wrong with the row that shows it, "" for nothing."""

    id: int
    ms: int
    side: str
    price: float
    quantity: float
    poison: str = ""


class Past(NamedTuple):
    """Five minutes from before the simulator: start (unix ms), prices, US dollars, and how many takers bought."""

    ms: int
    open: float
    high: float
    low: float
    close: float
    usd: float
    bought: float


@dataclass
class MarketCall:
    """One request to a venue. at: unix seconds. status: None while it waits, 0 when it got no answer."""

    venue: str
    path: str
    params: Params
    at: float
    status: int | None = None


@dataclass
class _Tape:
    trades: list[Trade] = field(default_factory=list)
    next_id: int = 3_000_001


class Market:
    """All markets. Venues have the names of their settings: binance (also as binance_api), coinbase, kraken."""

    def __init__(self, hub: Hub) -> None:
        self.volumes = {symbol: volume for symbol, (_, volume) in COINS.items()}
        self.prices = {symbol: price for symbol, (price, _) in COINS.items()}
        self.delisted: set[tuple[str, str]] = set()  # (venue, symbol or OKX family) that the venue does not know
        self.closed_at_coinbase: set[str] = set()  # coins that it knows as delisted
        self.kraken_since_inclusive = True  # not documented, so a client must not depend on it
        self.perpetuals = Perpetuals(hub, self.prices)
        self._hub = hub
        self._calls: deque[MarketCall] = deque(maxlen=50_000)
        self._tapes: dict[tuple[str, str], _Tape] = {}
        self._weight = (0, 0)
        self.books: dict[tuple[str, str], tuple[float, float]] = {}  # (venue, symbol): best bid and ask, where set
        self.past: dict[str, list[Past]] = {}  # by symbol: Binance's candles from before the simulator

    @property
    def calls(self) -> list[MarketCall]:
        """The newest requests to all venues, oldest first."""
        with self._hub.lock:
            return list(self._calls)

    def log_call(self, call: MarketCall) -> None:
        """Log a request."""
        with self._hub.lock:
            self._calls.append(call)

    def trade(
        self, venue: str, symbol: str, side: str, price: float, quantity: float, *, at_ms: int | None = None
    ) -> Trade:
        """One fill, now or at `at_ms` (unix ms). Raises ValueError for another side than buy or sell."""
        return self._add(venue, symbol, side, price, quantity, at_ms=at_ms)

    def sweep(
        self,
        venue: str,
        symbol: str,
        side: str,
        *,
        usd: float,
        fills: int = 40,
        price: float | None = None,
        at_ms: int | None = None,
        span_ms: int = 0,
    ) -> list[Trade]:
        """A whale: one order of `usd` dollars in `fills` fills over `span_ms`, moving the price."""
        start = price or self.prices[symbol]
        first = int(time.time() * 1000) if at_ms is None else at_ms
        step = 0.00002 if side == "buy" else -0.00002
        with self._hub.lock:
            return [
                self._add(
                    venue,
                    symbol,
                    side,
                    start * (1 + step * number),
                    usd / fills / (start * (1 + step * number)),
                    at_ms=first + (span_ms * number // (fills - 1) if fills > 1 else 0),
                )
                for number in range(fills)
            ]

    def skip_ids(self, venue: str, symbol: str, count: int) -> None:
        """A gap: the next trade's id is `count` higher than it should be."""
        with self._hub.lock:
            self._tape(venue, symbol).next_id += count

    def poison(self, venue: str, symbol: str, kind: str = "missing") -> Trade:
        """An unreadable row: missing (its price), text (as price), nan, negative, null, or list (an empty one)."""
        return self._add(venue, symbol, "buy", self.prices[symbol], 0.001, poison=kind)

    def trades(self, venue: str, symbol: str) -> list[Trade]:
        """All trades kept, oldest first."""
        with self._hub.lock:
            return list(self._tape(venue, symbol).trades)

    def start_flow(
        self,
        rate: float,
        symbols: tuple[str, ...] = ("BTC", "ETH", "SOL"),
        *,
        seed: int = 1,
        whale_every: float | None = None,
        venues: tuple[str, ...] = ("binance",),
        whale_usd: float = 1_500_000,
    ) -> threading.Event:
        """Background trades, `rate` a second over all symbols, until the returned event is set.

        They are worth 20 to 1,000 US dollars each and never add up to a whale. Whales come every `whale_every`
        seconds (None: never), of `whale_usd` dollars up to three times that.
        """
        stop = threading.Event()
        for symbol in symbols:  # so that the first reader finds a newest trade
            for venue in venues:
                self._background(random.Random(seed), venue, symbol)
        arguments = (stop, rate, symbols, random.Random(seed), whale_every, venues, whale_usd)
        threading.Thread(target=self._flow, args=arguments, name="simulator-flow", daemon=True).start()
        return stop

    def give_past(self, days: float, *, seed: int = 1) -> None:
        """Every coin was traded on Binance for so many days before now; there are candles of that time, no trades."""
        step, now = 300_000, int(time.time() * 1000)
        for place, (symbol, price) in enumerate(self.prices.items()):
            chance, found, close = random.Random(seed * 1000 + place), [], price
            usd = self.volumes[symbol] / 288
            for ms in range(now // step * step - step, now - int(days * 86_400_000), -step):
                opened = close * (1 + chance.gauss(0, 0.0012))
                top, bottom = max(opened, close), min(opened, close)
                high, low = top * (1 + abs(chance.gauss(0, 0.0004))), bottom * (1 - abs(chance.gauss(0, 0.0004)))
                traded = usd * chance.lognormvariate(0, 0.5)
                share = min(0.95, max(0.05, 0.5 + (close / opened - 1) * 60 + chance.gauss(0, 0.08)))
                found.append(Past(ms, opened, high, low, close, traded, traded * share))
                close = opened
            self.past[symbol] = found[::-1]

    def newest(self, venue: str, symbol: str, count: int) -> list[Trade]:
        """The newest `count` trades, oldest first."""
        trades = self._tape(venue, symbol).trades
        return trades[-count:]

    def since_id(self, venue: str, symbol: str, first: int, count: int) -> list[Trade]:
        """At most `count` trades with ids from `first`, oldest first."""
        trades = self._tape(venue, symbol).trades
        low, high = 0, len(trades)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if trades[middle].id < first else (low, middle)
        return trades[low : low + count]

    def knows(self, venue: str, symbol: str | None) -> bool:
        """Whether the venue has a market for the coin."""
        return symbol in self.volumes and (venue, symbol) not in self.delisted

    def book(self, venue: str, symbol: str) -> tuple[float, float]:
        """The best bid and the best ask; 0.01 % apart where a test sets nothing else."""
        venue, price = "binance" if venue == "binance_api" else venue, self.prices[symbol]
        digits = 2 if price >= 1 else 8
        return self.books.get((venue, symbol), (round(price * 0.99995, digits), round(price * 1.00005, digits)))

    def weigh(self, weight: int) -> int:
        """Add to Binance's request weight; returns the sum of this minute."""
        minute = int(time.time() // 60)
        used = self._weight[1] if self._weight[0] == minute else 0
        self._weight = (minute, used + weight)
        return used + weight

    def _tape(self, venue: str, symbol: str) -> _Tape:
        venue = "binance" if venue == "binance_api" else venue
        return self._tapes.setdefault((venue, symbol), _Tape())

    def _add(
        self,
        venue: str,
        symbol: str,
        side: str,
        price: float,
        quantity: float,
        *,
        at_ms: int | None = None,
        poison: str = "",
    ) -> Trade:
        if side not in _SIDES:
            raise ValueError(f"side is buy or sell, not {side!r}")
        with self._hub.lock:
            tape = self._tape(venue, symbol)
            at_ms = int(time.time() * 1000) if at_ms is None else at_ms
            trade = Trade(tape.next_id, at_ms, side, price, quantity, poison)
            tape.next_id += 1
            tape.trades.append(trade)
            if len(tape.trades) > _KEEP:
                del tape.trades[: _KEEP // 2]
            self._hub.touch()
            return trade

    def _background(self, chance: random.Random, venue: str, symbol: str) -> None:
        price = self.prices[symbol] * (1 + chance.uniform(-0.0002, 0.0002))
        self.prices[symbol] = price
        self._add(venue, symbol, chance.choice(_SIDES), price, chance.uniform(20, 1000) / price)

    def _flow(
        self,
        stop: threading.Event,
        rate: float,
        symbols: tuple[str, ...],
        chance: random.Random,
        whale_every: float | None,
        venues: tuple[str, ...],
        whale_usd: float,
    ) -> None:
        due = whale_at = time.monotonic()
        while not self._hub.closing.is_set():
            due += 1 / rate
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            for venue in venues:
                self._background(chance, venue, chance.choice(symbols))
            if whale_every is not None and time.monotonic() - whale_at >= whale_every:
                whale_at = time.monotonic()
                usd = whale_usd * chance.uniform(1, 3)
                self.sweep(
                    venues[0], chance.choice(symbols), chance.choice(_SIDES), usd=usd, fills=chance.randint(5, 60)
                )
