"""The whale watcher: trades of spot venues become orders, and large orders become alerts in the store.

`tick` reads every coin from its cursor to the newest trade of the first venue that answers. Each alert is committed
with its messages, the cursors last: after a kill at any instant what was not committed is read again, and no alert is
sent twice. Trades that are no news are written every few ticks only, because that is most of what the bot writes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from alerts.publish import publish
from base import text
from store.rows import Alert
from venues.availability import PATIENCE, Use
from venues.spot import SpotVenue
from watch.candles import Candles
from watch.feeds import Context, Feeds
from watch.gaps import keep_gaps
from watch.judged import LATE
from watch.orders import Order
from watch.pace import interval
from watch.spot_reader import SpotReader
from watch.thresholds import Thresholds, smallest
from watch.volume import Volumes

log = logging.getLogger(__name__)

SELDOM = 10.0  # seconds since the last tick, after which one may ask for several candles
WRITE_EVERY = 20.0  # seconds for which bars and cursors may wait in memory
BEGUN_FOR = 3600.0  # seconds for which it is known that a bar was stored


class WhaleMonitor:
    """Finds whale orders. `tick` and `look_again` are for one thread; everything else is for any.

    write_every: seconds for which bars and cursors may wait.
    """

    def __init__(self, context: Context, venues: Sequence[SpotVenue], *, write_every: float = WRITE_EVERY) -> None:
        self._symbols, self._store, self._now = context.symbols, context.store, context.now
        self._published, self._write_every = context.published, write_every
        self._written_at = self._ticked_at = 0.0
        self._begun: set[tuple[str, int]] = set()  # bars that are stored, as far as they were built then
        self._every = context.settings.whale_interval_seconds
        self._no_such_coin = context.no_such_coin
        self._thresholds = Thresholds(context.settings, context.store, context.symbols)
        self.feeds = Feeds("whale orders", venues, context, fallbacks=True, silent_after=PATIENCE)
        self._reader = SpotReader(context, self.feeds)
        self._candles = Candles(
            context.store, self.feeds, self._reader.read_at, self._reader.windows.fill, now=self._now
        )
        self._volumes = Volumes(context.store, now=self._now)
        self.default_threshold = self._thresholds.default
        self.unfinished = self._reader.unfinished
        self._serving: dict[str, SpotVenue] = {}  # coin -> the venue it was last read from
        self._unserved: set[str] = set()  # coins that no venue gave at the last look
        self._told_unknown: set[str] = set()

    def tick(self) -> None:
        """Read every coin up to the newest trade once. Failures of venues are in `feeds.health()`, never raised.

        Raises StoreError.
        """
        self.feeds.begin_tick()
        symbols, now = self._symbols(), self._now()
        rested, self._ticked_at = abs(now - self._ticked_at), now
        self._forget_removed(symbols)
        thresholds = smallest(self._store, "whales", {coin: self.default_threshold(coin) for coin in symbols})
        before = dict(self._serving)
        self._read_all({symbol: thresholds[symbol] for symbol in self.feeds.in_turn(symbols)})
        self._reader.end_tick()
        self._note_changes(before)
        unknown = {symbol for symbol in self._unserved if not self.feeds.knowing(symbol)}
        served = self._served()
        self.feeds.end_tick({venue.name: use for venue, use in served.items()}, unserved=self._unserved - unknown)
        # After the trades, from a venue that has just answered: a failure here costs no alert.
        if served and not self.feeds.stopping:
            self._thresholds.refresh(next(iter(served)), now=self._now())
            serving = {symbol: venue for venue, use in served.items() for symbol in use.symbols}
            if self._volumes.look(serving):
                self._published()
            self._candles.fill(serving, rare=rested >= SELDOM)

    def look_again(self) -> None:
        """Read the coins of `unfinished` once more, sooner than the next tick. Raises StoreError."""
        self._read_all(self.unfinished())

    def venue_of(self, symbol: str) -> SpotVenue | None:
        """Where this coin is read now; None while that fails. For any thread."""
        venue = self._serving.get(symbol)
        return None if venue is None or symbol in self._unserved or self.feeds.rests(venue) else venue

    def interval(self) -> float:
        """Seconds from one tick to the next."""
        if self._every is not None:
            return self._every
        served = [self._serving.get(symbol, self.feeds.venues[0]) for symbol in self._symbols()]
        venues = {venue: served.count(venue) for venue in self.feeds.venues}
        return interval(venues, {venue: self.feeds.slowness(venue) for venue in venues})

    def _read_all(self, thresholds: Mapping[str, float]) -> None:
        """Read these coins, and write what was found."""
        try:
            for symbol, threshold in thresholds.items():
                if self.feeds.stopping:
                    break
                self._read(symbol, threshold)
                if self._reader.batch.urgent():  # the next coins may take seconds
                    self._commit()
            if not 0 <= self._now() - self._written_at < self._write_every:
                self._commit()
            self._commit_news()
        except Exception:  # not GivenUp: another thread goes on with what this one read
            self._reader.forget()
            raise

    def _commit_news(self) -> None:
        if not self._reader.batch.may_wait(self._begun):
            self._commit()

    def _forget_removed(self, symbols: Sequence[str]) -> None:
        """What is known of coins that are not watched any more."""
        self._serving = {symbol: venue for symbol, venue in self._serving.items() if symbol in symbols}
        self._unserved &= set(symbols)
        self._told_unknown &= set(symbols)
        self._reader.keep(symbols)

    def _read(self, symbol: str, threshold: float) -> None:
        """Read one coin from the first venue that answers."""
        while (venue := self.feeds.choose(symbol)) is not None:
            if self.feeds.ask(venue, partial(self._reader.read, venue, symbol, threshold), feed=symbol):
                self._serving[symbol] = venue
                self._unserved.discard(symbol)
                return
            self._commit_news()  # a failure may have taken its time: what was found must not wait any longer
        if not self.feeds.stopping:
            self._unserved.add(symbol)

    def _commit(self) -> None:
        """Write what was read since the last commit: each alert alone, so that commands get their turn between
        them, and the cursors last."""
        batch = self._reader.take_batch()
        if not (batch.orders or batch.gaps or batch.feeds):
            return
        self._written_at = now = self._now()
        # Late by the venue's clock: a wrong local one would call every alert late, or none.
        alerts = [
            _alert(order, venue, late=clock - order.last.at_ms / 1000 > LATE) for order, venue, clock in batch.orders
        ]
        with self._store.transaction():
            keep_gaps(self._store, batch.gaps, now=now)
        for alert in sorted(alerts, key=lambda alert: (alert.at_ms, alert.key)):
            with self._store.transaction():
                publish(self._store, alert, now=now, default_min=self.default_threshold(alert.symbol))
        with self._store.transaction():
            batch.levels.keep(self._store, now=now)
            self._store.markets.add_bars(batch.bars.values())
            self._store.markets.mark_flawed(batch.flawed)
            for feed in batch.feeds:
                self._store.markets.set_cursor(feed.venue, feed.symbol, feed.stored, at=feed.at)
        self._begun = {key for key in self._begun | batch.bars.keys() if key[1] > now - BEGUN_FOR}
        if batch.urgent():
            self._published()

    def _served(self) -> dict[SpotVenue, Use]:
        """The venues in use, in order of preference, each with its coins."""
        found = {}
        for venue in self.feeds.venues:
            symbols = tuple(s for s, serves in self._serving.items() if serves is venue and s not in self._unserved)
            if symbols:
                read = [self._reader.read_at(venue.venue, symbol) for symbol in symbols]
                read_at = min((at for at in read if at is not None), default=None)
                traded = ((self._reader.traded_at(venue.venue, symbol), symbol) for symbol in symbols)
                quietest = min(((at, symbol) for at, symbol in traded if at is not None), default=None)
                found[venue] = Use(symbols=symbols, read_at=read_at, quietest=quietest, every=self.interval())
        return found

    def _note_changes(self, before: Mapping[str, SpotVenue]) -> None:
        """Log which venue serves what when that changed; tell the owner once of a coin that no venue has."""
        for venue in self.feeds.venues:
            moved = [s for s, serves in self._serving.items() if serves is venue and before.get(s, venue) != venue]
            if moved:
                log.info("Now reading %s from %s (%s)", ", ".join(moved), venue.venue, venue.host)
        for symbol in self._symbols():
            if not self.feeds.knowing(symbol) and symbol not in self._told_unknown:
                if self._no_such_coin(symbol):
                    self._told_unknown.add(symbol)
                else:  # it may be on the list again by now, and whoever added it wants it looked for
                    self._unserved.discard(symbol)
                    self.feeds.ask_again(symbol)


def _alert(order: Order, venue: SpotVenue, *, late: bool) -> Alert:
    first, last = order.first, order.last
    lasted = (last.at_ms - first.at_ms) / 1000
    facts = text.count(order.fills, "fill")
    facts += f" in {text.duration(lasted)}" if lasted > 0 else " at once" if order.fills > 1 else ""
    if first.price != last.price:
        started, ended = text.price(first.price, beside=last.price), text.price(last.price, beside=first.price)
        facts += f" · price {started} → {ended}"
    return Alert(
        key=order.key,
        monitor="whales",
        symbol=first.symbol,
        side=first.taker_side,
        usd=order.notional,
        headline=f"{first.symbol} {first.taker_side} {text.usd(order.notional)} USD at {text.price(order.vwap)}",
        facts=facts,
        at_ms=last.at_ms,
        venue=first.venue,
        url=venue.url(first.symbol),
        price=order.vwap,
        late=late,
    )
