"""Liquidations of OKX and Gate, and with a CoinGlass key of more venues, become alerts.

OKX (`liquidation-orders`), Gate (`liq_orders`) and CoinGlass (`liquidation/order`) show their newest rows again at
each look, so the store decides which are new. An alert, the events up to it and the sums are one transaction, the
cursors the last one: a kill at any instant loses nothing and repeats nothing. What was there before a feed's first
look, or happened long ago while nobody looked, is stored and counted and makes no alert. What a venue published late
(OKX: over an hour in a quiet time) makes one that says so.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from enum import Enum, auto
from functools import partial
from typing import NamedTuple

from alerts.publish import announce, publish
from base import text
from base.clock import slot
from store.rows import Alert
from venues.availability import Use
from venues.coinglass import EXCHANGES, CoinGlass
from venues.gate import Gate
from venues.okx import Okx
from venues.perpetuals import Liquidation, Reading
from watch.feeds import Context, Feeds
from watch.gaps import Gap, keep_gaps
from watch.thresholds import smallest
from watch.waves import Wave, Waves

log = logging.getLogger(__name__)

SINGLE, SINGLE_OTHERS = {"BTC": 5e5, "ETH": 5e5}, 2e5  # US dollars of one, where the settings say `auto`
SUMS, SUMS_OTHERS = {"BTC": 2e6, "ETH": 2e6}, 5e5  # US dollars in five minutes
REPLAY = 600.0  # seconds: older liquidations make no alert when the bot was away
LATE = 180.0  # seconds after which an alert says that it is late
HORIZON = 86400.0  # seconds: older rows that a venue still shows are ignored
PUBLISHED = 7200.0  # seconds: the latest that a venue publishes one
OVERLAP_MS = 120_000  # how far back before the last look a page must reach: venues may publish late
STATE = "liquidations:waves"


class Age(Enum):
    """How old an event was when it was found. Only LATE and NEW events make alerts."""

    FIRST_LOOK = auto()  # it was there at its feed's first look
    TOO_OLD = auto()
    LATE = auto()
    NEW = auto()


class Look(NamedTuple):
    """What one feed showed. feed: a family, a coin, or `*` for all coins.

    kept: the cursor of the look before, "" at its first one. read_to: the venue's clock then, unix ms. new: coins not
    asked for then.
    """

    venue: str
    feed: str
    kept: str
    read_to: int | None
    found: Reading[Liquidation]
    clock: int  # unix ms, the venue's: by a wrong local clock all events would be old, or none
    new: frozenset[str]


class LiquidationMonitor:
    """Finds liquidations and waves. `tick` is for one thread; `feeds` and `default_threshold` for any.

    coinglass: None without a key.
    """

    def __init__(self, context: Context, okx: Okx, gate: Gate, coinglass: CoinGlass | None) -> None:
        self._settings, self._store, self._now = context.settings, context.store, context.now
        self._symbols = context.symbols
        self._okx, self._gate, self._coinglass = okx, gate, coinglass
        self.feeds: Feeds[Okx | Gate | CoinGlass] = Feeds("liquidations", (okx, gate, coinglass), context)

    def default_threshold(self, symbol: str) -> float:
        """US dollars from which chats without an amount of their own get a single one."""
        return self._settings.liquidation_min(symbol) or SINGLE.get(symbol, SINGLE_OTHERS)

    def wave_threshold(self, symbol: str) -> float:
        """US dollars from which a sum of five minutes makes an alert."""
        return self._settings.liquidation_sum(symbol) or SUMS.get(symbol, SUMS_OTHERS)

    def _least(self) -> dict[str, float]:
        """For each coin the US dollars from which some chat wants a single liquidation."""
        defaults = {symbol: self.default_threshold(symbol) for symbol in self._symbols()}
        return smallest(self._store, "liquidations", defaults)

    # The tick

    def tick(self) -> None:
        """Ask for every feed once. Failures of venues are in `feeds.health()`, never raised. Raises StoreError."""
        self.feeds.begin_tick()
        looks = list(self._read())
        if looks:
            self._commit(looks)
        coins = text.count(len(self._symbols()), "coin")
        others = Use(f"{coins} on {' and '.join(EXCHANGES)}")
        self.feeds.end_tick({"okx": Use(coins), "gate": Use(coins), "coinglass": others})

    def _read(self) -> Iterator[Look]:
        symbols, okx, gate, coinglass = self._symbols(), self._okx, self._gate, self._coinglass
        least = self._least()

        def worth(symbol: str) -> float:
            return min(least[symbol], self.wave_threshold(symbol))

        for family in self.feeds.in_turn(self.feeds.ask(okx, partial(okx.families, symbols), cached=True) or ()):
            yield from self._ask(okx, okx.venue, family, partial(okx.liquidations, family, worth=worth))
        yield from self._ask(gate, gate.venue, "*", partial(gate.liquidations, symbols, worth=worth))
        if coinglass is not None:
            for pair in self.feeds.in_turn(f"{exchange} {symbol}" for exchange in EXCHANGES for symbol in symbols):
                exchange, symbol = pair.split()
                question = partial(coinglass.liquidations, exchange, symbol)
                yield from self._ask(coinglass, exchange, symbol, question)

    def _ask(
        self, asked: Okx | Gate | CoinGlass, venue: str, feed: str, question: Callable[..., Reading[Liquidation]]
    ) -> Iterator[Look]:
        """What the feed shows, if it answers. question: takes `since_ms`, to which the answer must reach back."""
        cursor = self._store.markets.cursor(venue, feed)
        kept = "" if cursor is None else cursor.text
        read, _, coins = kept.partition(" ")
        read_to = int(read) if read.isdecimal() else None
        new = frozenset(self._symbols()) - set(coins.split(",")) if coins else frozenset[str]()
        since_ms = None if read_to is None else read_to - OVERLAP_MS
        named = feed if asked.venue == venue else f"{venue} {feed}"
        found = self.feeds.ask(asked, partial(question, since_ms=since_ms), feed=named)
        if found is not None:
            self.feeds.count_unreadable(asked, found.unreadable, feed=named)
            yield Look(venue, feed, kept, read_to, found, found.venue_ms or int(self._now() * 1000), new)

    # What is stored

    def _commit(self, looks: Sequence[Look]) -> None:
        """Store what was found, in order of time: up to each alert in a transaction of its own, so that commands get
        their turn, and the cursors last. What was not stored is found again at the next look."""
        now, ages = self._now(), _ages(looks)
        events = sorted(
            self._store.markets.new_liquidations(ages), key=lambda event: (event.at_ms, event.venue, event.row)
        )
        # Old events and what lies between them are one transaction, as there is one line about all of them.
        old = [number for number, event in enumerate(events, 1) if ages[event] in (Age.FIRST_LOOK, Age.TOO_OLD)]
        known = deque(events[: max(old, default=0)])
        rest = deque(events[len(known) :])
        least = self._least()
        waves = self._store.read_value(STATE, self._waves, self._waves("{}"))
        with self._store.transaction():
            self._store.markets.begin_liquidations(now=now)
            missed: list[Liquidation] = []
            while known:
                missed += self._add(known, waves, ages, least)
            self._announce_missed(missed, now)
        while rest:
            with self._store.transaction():
                self._add(rest, waves, ages, least)
        with self._store.transaction():
            for look in looks:
                self._close(look, now)

    def _waves(self, kept: str) -> Waves:
        waves = Waves(self.wave_threshold)
        waves.load(json.loads(kept))
        return waves

    def _add(
        self, rest: deque[Liquidation], waves: Waves, ages: Mapping[Liquidation, Age], least: Mapping[str, float]
    ) -> list[Liquidation]:
        """Take events from `rest` and store them, up to the first that makes an alert. Returns those too old for one.

        least: for each coin the US dollars from which some chat wants a single liquidation.
        """
        missed, alerts = [], list[Alert]()
        while rest and not alerts:
            event = rest.popleft()
            self._store.markets.add_liquidations([event])
            begun = waves.feed([event])
            if ages[event] is Age.TOO_OLD:
                missed.append(event)
            if ages[event] in (Age.LATE, Age.NEW):
                late = ages[event] is Age.LATE
                alerts = [self._alert(event, late)] if event.usd >= least[event.symbol] else []
                alerts += [self._wave_alert(wave, late) for wave in begun]
        for alert in alerts:
            publish(self._store, alert, now=self._now(), default_min=self.default_threshold(alert.symbol))
        self._store.set_value(STATE, json.dumps(waves.dump()))
        return missed

    def _close(self, look: Look, now: float) -> None:
        """Keep how far the feed is read now, and what is missing in between."""
        venue, feed, kept, read_to, found, clock, _ = look
        coins = self._symbols() if feed == "*" else [feed.split("-")[0]]
        known = f" {','.join(coins)}" if feed == "*" else ""
        # Some minutes old it does as well: what is stored is known. As old as REPLAY it would be a gap to tell.
        if read_to is None or not kept.endswith(known) or slot(clock / 1000) != slot(read_to / 1000):
            self._store.markets.set_cursor(venue, feed, f"{max(clock, read_to or 0)}{known}", at=now)
        if found.gap_from is None or read_to is None or found.gap_from <= read_to:
            return
        log.warning("%s shows only its newest liquidations (%s); some older ones are missing", venue, feed)
        gaps = [Gap(venue, coin, None, read_to / 1000, found.gap_from / 1000) for coin in coins]
        keep_gaps(self._store, gaps, now=now, monitor="liquidations", least=REPLAY)

    # Alerts

    def _alert(self, event: Liquidation, late: bool) -> Alert:
        at = f"{text.usd(event.usd)} USD at {text.price(event.price)}"
        return Alert(
            key=f"liquidation:{event.venue}:{event.row}",
            monitor="liquidations",
            symbol=event.symbol,
            side=event.side,
            usd=event.usd,
            headline=f"{event.symbol} {event.side} liquidated on {event.venue}: {at}",
            facts=f"{text.price(event.usd / event.price)} {event.symbol}",
            at_ms=event.at_ms,
            venue=event.venue,
            url=self._url(event.venue, event.symbol),
            price=event.price,
            late=late,
        )

    def _wave_alert(self, wave: Wave, late: bool) -> Alert:
        venues = sorted(wave.venues, key=lambda venue: (-wave.venues[venue], venue))
        lasted = text.duration(max(1.0, (wave.last_ms - wave.first_ms) / 1000))
        facts = [f"{text.count(wave.events, 'liquidation')}, the largest {text.usd(wave.biggest)}"]
        if wave.high > wave.low:
            low, high = text.price(wave.low, beside=wave.high), text.price(wave.high, beside=wave.low)
            facts.append(f"at {low} to {high}")
        if len(venues) > 1:
            facts.append(", ".join(f"{venue} {text.usd(wave.venues[venue])}" for venue in venues))
        if wave.before:
            facts.append(f"up from {text.usd(wave.before)}")
        where, grows = text.enumerated(venues, "and"), ", and growing" if wave.before else ""
        return Alert(
            key=f"wave:{wave.key}",
            monitor="liquidations",
            symbol=wave.symbol,
            side=wave.side,
            usd=wave.usd,
            headline=f"{wave.symbol} {wave.side}s liquidated on {where}: {text.usd(wave.usd)} USD in {lasted}{grows}",
            facts=" · ".join(facts),
            at_ms=wave.last_ms,
            venue=where,
            url=self._url(venues[0], wave.symbol),
            late=late,
        )

    def _announce_missed(self, missed: Sequence[Liquidation], now: float) -> None:
        """One line for all large liquidations that are too old for an alert: the bot was offline."""
        large = [event for event in missed if event.usd >= self.default_threshold(event.symbol)]
        if not large:
            return
        biggest = max(large, key=lambda event: event.usd)
        first, last = min(event.at_ms for event in large) / 1000, max(event.at_ms for event in large) / 1000

        def words(zone: tzinfo) -> str:
            times = f"{text.clock(first, now=now, zone=zone)} to {text.clock(last, now=now, zone=zone)}"
            return (
                f"{text.count(len(large), 'large liquidation')} from {times} came too late for alerts. The largest: "
                f"{biggest.symbol} {biggest.side}, {text.usd(biggest.usd)} USD on {biggest.venue}. Latest ones: /liq"
            )

        announce(self._store, words, now=now, monitor="liquidations")

    def _url(self, venue: str, symbol: str) -> str:
        direct = {self._okx.venue: self._okx.url, self._gate.venue: self._gate.url}
        return direct.get(venue, CoinGlass.url)(symbol)


def _ages(looks: Sequence[Look]) -> dict[Liquidation, Age]:
    """The events of one look at every feed; older ones than HORIZON are left out."""
    ages = {}
    for look in looks:
        for event in look.found.rows:
            seconds = (look.clock - event.at_ms) / 1000
            if seconds > HORIZON:
                continue
            if look.read_to is None or event.symbol in look.new:
                ages[event] = Age.FIRST_LOOK
            elif seconds > (REPLAY if event.at_ms > look.read_to else PUBLISHED):
                ages[event] = Age.TOO_OLD
            else:
                ages[event] = Age.LATE if seconds > LATE else Age.NEW
    return ages
