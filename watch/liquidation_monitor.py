"""The liquidation watcher: those of OKX and Gate, and with a CoinGlass key of more venues, become alerts.

Venues show the newest ones again at each look, so the store decides what is new. An alert, the events up to it and
the sums are one transaction, the cursors the last one: a kill at any instant loses nothing and repeats nothing. What
was there before a feed's first look is stored and makes no alert.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import partial

from alerts.publish import announce, publish
from base import text
from base.config import Settings
from store import Store
from store.rows import Alert
from venues.coinglass import EXCHANGES, CoinGlass
from venues.gate import Gate
from venues.okx import Okx
from venues.perpetuals import Liquidation, Reading
from watch.feeds import DEFAULT_HOOKS, Feeds, Hooks, Use
from watch.waves import Wave, Waves

log = logging.getLogger(__name__)

SINGLE, SINGLE_OTHERS = {"BTC": 5e5, "ETH": 5e5}, 2e5  # US dollars of one, where the settings say `auto`
SUMS, SUMS_OTHERS = {"BTC": 2e6, "ETH": 2e6}, 5e5  # US dollars in five minutes
REPLAY = 600.0  # seconds: what happened longer ago is no news
LATE = 180.0  # seconds after which an alert says that it is late
HORIZON = 86400.0  # seconds: older rows that a venue still shows are ignored
OVERLAP_MS = 120_000  # how far back before the cursor a page must reach: venues may publish late
STATE = "liquidations:waves"


@dataclass
class _Batch:
    """What one look at every feed found.

    before: was there at a feed's first look. missed: too long ago for an alert. fresh: True for those that are late.
    read: (venue, feed) -> unix ms up to which it was read. gaps: venue, coin, start and end in unix seconds.
    """

    before: list[Liquidation] = field(default_factory=list)
    missed: list[Liquidation] = field(default_factory=list)
    fresh: dict[Liquidation, bool] = field(default_factory=dict)
    read: dict[tuple[str, str], int] = field(default_factory=dict)
    gaps: list[tuple[str, str, float, float]] = field(default_factory=list)


class LiquidationMonitor:
    """`tick` is for one thread; `feeds` and `default_threshold` for any. coinglass: None without a key."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        okx: Okx,
        gate: Gate,
        coinglass: CoinGlass | None,
        hooks: Hooks = DEFAULT_HOOKS,
    ) -> None:
        self._settings = settings
        self._store = store
        self._okx, self._gate, self._coinglass = okx, gate, coinglass
        self._now = hooks.now
        venues: list[Okx | Gate | CoinGlass] = [okx, gate, *([coinglass] if coinglass else [])]
        self.feeds = Feeds("liquidations", venues, store, hooks)
        self._waves: Waves | None = None
        self._least: dict[str, float] = {}  # coin -> US dollars from which some chat wants a single one

    def default_threshold(self, symbol: str) -> float:
        """US dollars from which chats without an amount of their own get a single one."""
        return self._settings.liquidation_min(symbol) or SINGLE.get(symbol, SINGLE_OTHERS)

    def wave_threshold(self, symbol: str) -> float:
        """US dollars from which a sum of five minutes makes an alert."""
        return self._settings.liquidation_sum(symbol) or SUMS.get(symbol, SUMS_OTHERS)

    # The tick

    def tick(self) -> None:
        """Ask for every feed once. Failures of venues are in `feeds.health()`, never raised. Raises StoreError."""
        self.feeds.begin_tick()
        batch = _Batch()
        for venue, feed, found in self._read():
            self._sort(batch, venue, feed, found)
        self._commit(batch)
        coins = text.count(len(self._settings.symbols), "coin")
        others = f"{coins} on {' and '.join(EXCHANGES)}"
        self.feeds.end_tick({"okx": Use(coins), "gate": Use(coins), "coinglass": Use(others)})

    def _read(self) -> Iterator[tuple[str, str, Reading[Liquidation]]]:
        """(venue, feed, what it shows) of everything that answers. feed: a family, a coin, or `*` for all coins."""
        symbols, okx, gate, coinglass = self._settings.symbols, self._okx, self._gate, self._coinglass
        for family in self.feeds.ask(okx, partial(okx.families, symbols), cached=True) or ():
            ask = partial(okx.liquidations, family, since_ms=self._since(okx.venue, family))
            yield from self._ask(okx, okx.venue, family, ask)
        ask = partial(gate.liquidations, symbols, since_ms=self._since(gate.venue, "*"))
        yield from self._ask(gate, gate.venue, "*", ask)
        if coinglass is None:
            return
        for exchange in EXCHANGES:
            for symbol in symbols:
                ask = partial(coinglass.liquidations, exchange, symbol, since_ms=self._since(exchange, symbol))
                yield from self._ask(coinglass, exchange, symbol, ask)

    def _ask(
        self, asked: Okx | Gate | CoinGlass, venue: str, feed: str, question: Callable[[], Reading[Liquidation]]
    ) -> Iterator[tuple[str, str, Reading[Liquidation]]]:
        found = self.feeds.ask(asked, question, feed=feed)
        if found is not None:
            self.feeds.count_unreadable(asked, found.unreadable, feed=f"{venue} {feed}")
            yield venue, feed, found

    def _since(self, venue: str, feed: str) -> int | None:
        """Unix ms back to which a look must reach; None before the first one."""
        known = self._store.markets.cursor(venue, feed)
        return None if known is None else int(known.text) - OVERLAP_MS

    def _sort(self, batch: _Batch, venue: str, feed: str, found: Reading[Liquidation]) -> None:
        known = self._store.markets.cursor(venue, feed)
        # By the venue's clock: a wrong local one would make all of it old, or none.
        clock = found.venue_ms or int(self._now() * 1000)
        for event in found.rows:
            if event.at_ms < clock - HORIZON * 1000:
                continue
            if known is None:
                batch.before.append(event)
            elif event.at_ms < clock - REPLAY * 1000:
                batch.missed.append(event)
            else:
                batch.fresh[event] = clock - event.at_ms > LATE * 1000
        newest = max((event.at_ms for event in found.rows), default=0)
        batch.read[venue, feed] = max(newest, int(known.text) if known else clock - OVERLAP_MS)
        if found.gap_from is not None and known is not None:
            coins = self._settings.symbols if feed == "*" else [feed.split("-")[0]]
            batch.gaps += [(venue, coin, int(known.text) / 1000, found.gap_from / 1000) for coin in coins]
            log.warning("%s shows only its newest liquidations (%s); some older ones are missing", venue, feed)

    # What is stored

    def _commit(self, batch: _Batch) -> None:
        """Store what was found: first what makes no alert, then each alert alone, so that commands get their turn
        between them, and the cursors last. What was not stored is found again at the next look."""
        if not batch.read:
            return
        now = self._now()
        try:
            with self._store.transaction():
                self._store.markets.begin_liquidations(now=now)
                waves = self._loaded()
                new = self._store.markets.add_liquidations(sorted([*batch.before, *batch.missed], key=_order))
                waves.feed(new)
                self._announce_missed(set(batch.missed).intersection(new), now)
                self._store.set_value(STATE, json.dumps(waves.dump()))
            rest = deque(sorted(batch.fresh, key=_order))
            while rest:
                with self._store.transaction():
                    self._add_up_to_next_alert(rest, waves, batch.fresh, now)
            with self._store.transaction():
                for venue, symbol, start, end in batch.gaps:
                    self._store.markets.add_gap(venue, symbol, missed=None, start=start, end=end)
                for (venue, feed), newest in batch.read.items():
                    self._store.markets.set_cursor(venue, feed, str(newest), at=now)
        except BaseException:
            self._waves = None  # what is in memory is ahead of the store
            raise

    def _add_up_to_next_alert(
        self, rest: deque[Liquidation], waves: Waves, fresh: Mapping[Liquidation, bool], now: float
    ) -> None:
        """Take events from `rest` and store them, up to the first that makes an alert. fresh: True for late ones."""
        while rest:
            event = rest.popleft()
            if not self._store.markets.add_liquidations([event]):
                continue
            late = fresh[event]
            alerts = [self._wave_alert(wave, late) for wave in waves.feed([event])]
            if event.usd >= self._least[event.symbol]:
                alerts.insert(0, self._alert(event, late))
            for alert in alerts:
                publish(self._store, alert, now=now, default_min=self.default_threshold(alert.symbol))
            if alerts:
                break
        self._store.set_value(STATE, json.dumps(waves.dump()))

    def _loaded(self) -> Waves:
        if self._waves is None:
            self._waves = Waves(self.wave_threshold)
            kept = self._store.value(STATE)
            if kept:
                self._waves.load(json.loads(kept))
        chats = self._store.chats.all()
        for symbol in self._settings.symbols:
            default = self.default_threshold(symbol)
            asked = [chat.threshold("liquidations", symbol, default) for chat in chats]
            self._least[symbol] = min([default, *asked])
        return self._waves

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
            facts.append(f"at {text.price(wave.low)} to {text.price(wave.high)}")
        if len(venues) > 1:
            facts.append(", ".join(f"{venue} {text.usd(wave.venues[venue])}" for venue in venues))
        if wave.before:
            facts.append(f"{text.usd(wave.before)} at the last alert")
        return Alert(
            key=f"wave:{wave.key}",
            monitor="liquidations",
            symbol=wave.symbol,
            side=wave.side,
            usd=wave.usd,
            headline=(
                f"{wave.symbol} {wave.side}s liquidated on {_and(venues)}: {text.usd(wave.usd)} USD in {lasted}"
                f"{', and growing' if wave.before else ''}"
            ),
            facts=" · ".join(facts),
            at_ms=wave.last_ms,
            venue=_and(venues),
            url=self._url(venues[0], wave.symbol),
            late=late,
        )

    def _announce_missed(self, missed: Iterable[Liquidation], now: float) -> None:
        """One line for all large ones that happened too long ago for an alert, while the bot was offline."""
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
        urls: dict[str, Callable[[str], str]] = {self._okx.venue: self._okx.url, self._gate.venue: self._gate.url}
        return urls.get(venue, CoinGlass.url)(symbol)


def _order(event: Liquidation) -> tuple[int, str, str]:
    return event.at_ms, event.venue, event.row


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
