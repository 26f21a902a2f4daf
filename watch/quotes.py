"""The spread of a coin where it is read: asked for when somebody wants a price, and added to the answer if it comes
in time. A thread of its own asks, so that a slow exchange delays no message by more than WAIT."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from base import text
from base.worker import Worker
from commands.context import SPREAD
from venues.spot import SpotVenue
from venues.trades import Quote, SourceError

FRESH = 5.0  # seconds for which an answer is good, also the one that there is none
WAIT = 1.5  # seconds that a message waits
FAILED_REST = 30.0  # seconds until a venue is asked again that did not answer
IDLE = 60.0


class Quotes:
    """Best bids and asks. venue_of: where a coin is read now, None for nowhere. Everything is for any thread.

    The thread runs from the first question on. What several messages want at a time is one request, and between two
    of them there is as much time as the venue's trades get.
    """

    def __init__(
        self,
        venue_of: Callable[[str], SpotVenue | None],
        *,
        on_death: Callable[[str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wait: float = WAIT,
    ) -> None:
        self._venue_of, self._monotonic, self._wait = venue_of, monotonic, wait
        self._changed = threading.Condition()
        self._wanted: dict[str, None] = {}
        self._known: dict[str, tuple[float, Quote | None]] = {}  # by coin: when it was asked for, and the answer
        self._rests: dict[str, float] = {}  # by the name of a venue that failed: until when
        self._asking_since: float | None = None
        self._next_at = 0.0
        self._started = self._stopped = False
        self.worker = Worker("quotes", self.step, on_death=on_death)

    def stop(self) -> None:
        """End the thread after its present request, and every wait for it at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.worker.stop()

    def filled(self, payload: dict[str, Any] | None) -> dict[str, Any] | None:
        """A message at the moment of sending, with the spread of the coins that it asks for, if there is one."""
        if payload is None or SPREAD not in payload:
            return payload
        words = line(self.of(payload[SPREAD]))
        message = {name: value for name, value in payload.items() if name != SPREAD}
        return message | {"text": f"{message['text']}\n{words}"} if words else message

    def of(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The quotes of these coins that are known within WAIT. Never raises."""
        with self._changed:
            now = self._monotonic()
            old = [symbol for symbol in symbols if not self._is_fresh(symbol)]
            hangs = self._asking_since is not None and now - self._asking_since >= self._wait
            if old and not (self._stopped or hangs or self._next_at - now >= self._wait):
                self._wanted.update(dict.fromkeys(old))
                self._wake()
                self._changed.wait_for(lambda: self._stopped or all(map(self._is_fresh, old)), self._wait)
            known = {symbol: self._known[symbol][1] for symbol in symbols if self._is_fresh(symbol)}
        return {symbol: quote for symbol, quote in known.items() if quote is not None}

    def step(self) -> float:
        """Ask for what is wanted. Returns the seconds to rest."""
        with self._changed:
            now = self._monotonic()
            if not self._wanted:
                return IDLE
            if now < self._next_at:
                return self._next_at - now
            wanted, self._wanted, self._asking_since = list(self._wanted), {}, now
        found: dict[str, Quote] = {}
        try:
            rest = self._ask(wanted, found)
        finally:
            with self._changed:
                self._asking_since, now = None, self._monotonic()
                self._known.update({symbol: (now, found.get(symbol)) for symbol in wanted})
                self._changed.notify_all()
        self._next_at = now + rest
        return rest

    def _ask(self, wanted: Sequence[str], found: dict[str, Quote]) -> float:
        """Put the answers into `found`; returns the seconds until the next request."""
        coins: dict[SpotVenue, list[str]] = defaultdict(list)
        for symbol in wanted:
            venue = self._venue_of(symbol)
            if venue is not None and self._monotonic() >= self._rests.get(venue.name, 0.0):
                coins[venue].append(symbol)
        rest = 0.0
        for venue, symbols in coins.items():
            rest += venue.request_seconds
            try:
                found.update(venue.quotes(symbols))
            except SourceError as error:
                self._rests[venue.name] = self._monotonic() + max(FAILED_REST, error.retry_after or 0.0)
        return rest

    def _is_fresh(self, symbol: str) -> bool:
        return symbol in self._known and 0 <= self._monotonic() - self._known[symbol][0] < FRESH

    def _wake(self) -> None:
        if not self._started:
            self._started = True
            self.worker.start()
        self.worker.wake()


def line(quotes: dict[str, Quote]) -> str:
    """`bid 67,000.00 · ask 67,000.01 · spread 0.012 %`; of several coins only the spreads, "" of none."""
    if len(quotes) != 1:
        spreads = ", ".join(f"{text.escape(symbol)} {_spread(quote)}" for symbol, quote in quotes.items())
        return spreads and f"spread: {spreads}"
    (quote,) = quotes.values()
    decimals = max(map(_decimals, quote))
    return f"bid {quote.bid:,.{decimals}f} · ask {quote.ask:,.{decimals}f} · spread {_spread(quote)}"


def _spread(quote: Quote) -> str:
    """In percent of the price in the middle."""
    share = (quote.ask - quote.bid) / (quote.ask + quote.bid) * 200
    if 0 < share < 0.0005:
        return "under 0.001 %"
    return f"{f'{share:.3f}'.rstrip('0').rstrip('.')} %"


def _decimals(price: float) -> int:
    """How many decimals the exchange gave the price."""
    return next(number for number in range(16) if number == 15 or abs(round(price, number) - price) <= price * 1e-12)
