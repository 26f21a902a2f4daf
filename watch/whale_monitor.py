"""Watching the markets: market trades become alerts in the store. Nothing here sends anything.

`WhaleMonitor.tick` reads every symbol from its cursor to the head of the first feed that answers, puts fills
together to orders, and commits each alert with its messages, then the cursors: after a kill at any instant what was
not committed is read again, and a known alert adds nothing. Rules: paging from a
cursor, never alerting what was there before the first run, replaying at most ten minutes after an outage, and saying
what was missed.
"""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import NamedTuple

from alerts.publish import announce, publish
from base import text
from base.config import Settings
from store import Store
from store.rows import Alert
from venues.availability import PATIENCE, Health, SourceHealth
from venues.spot import SpotVenue
from venues.trades import Bar, Page, SourceError, UnknownSymbol, add_to_bars
from watch.orders import Clusterer, Order
from watch.progress import Progress
from watch.thresholds import Thresholds

log = logging.getLogger(__name__)

PAGES_A_TICK = 20  # of one symbol, so that catching up does not starve the others
REPLAY = 600.0  # seconds: what an outage is made good for; older orders are no news
LATE = 60.0  # seconds after which an alert says that it is late
UNKNOWN_EVERY = 86400.0  # seconds until a venue that did not know a coin is asked for it again


@dataclass(eq=False)
class _Feed:
    """One symbol of one venue.

    cursor: where to read on, None before the first read. stored: what a restart reads on from, which is earlier
    while an order is open. at: unix seconds up to which the feed was read.
    """

    venue: str
    symbol: str
    clusterer: Clusterer
    cursor: str | None
    at: float
    stored: str = ""
    barred: int = 0  # trades with ids below this are in the bars already
    traded_at: float = 0.0  # when a trade last came, or the head was last looked at


class _Gap(NamedTuple):
    """Trades not seen. missed None: an outage, nobody knows how many; instead: the venue read meanwhile."""

    venue: str
    symbol: str
    missed: int | None
    start: float
    end: float
    instead: str = ""


@dataclass
class _Batch:
    """What the next transaction will hold."""

    alerts: list[Alert] = field(default_factory=list)
    gaps: list[_Gap] = field(default_factory=list)
    bars: dict[tuple[str, int], Bar] = field(default_factory=dict)
    feeds: set[_Feed] = field(default_factory=set)


class WhaleMonitor:
    """Finds whale orders. `tick` is for one thread; `health`, `default_threshold` and `stop` for any.

    notify_owner: called with a sentence for the owner when no source is left for a symbol, when a source is
    blocked, and when that is over.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sources: Sequence[SpotVenue],
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        notify_owner: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._thresholds = Thresholds(settings, store)
        self._sources = tuple(sources)
        self._now = now
        self._notify_owner = notify_owner
        self._health = {source.name: Health(source.name, source.venue, source.host, jitter) for source in sources}
        self._unknown: dict[tuple[str, str], float] = {}  # (source, symbol) -> when it may be asked again
        self._feeds: dict[tuple[str, str], _Feed] = {}
        self._batch = _Batch()
        self._serving: dict[str, SpotVenue] = {}  # symbol -> the source it was last read from
        self._unserved: dict[str, float] = {}  # symbol -> since when no source gave it
        self._alarm_since: float | None = None
        self._told_unknown: set[str] = set()
        self._order = list(settings.symbols)
        self._stopping = False
        self._behind: set[str] = set()  # symbols whose feed was not read to its end yet
        self._progress = Progress()

    # For other threads

    def default_threshold(self, symbol: str) -> float:
        """US dollars from which chats without a threshold of their own hear of this symbol."""
        return self._thresholds.default(symbol)

    def health(self) -> list[SourceHealth]:
        """Every source in order of preference, for /status."""
        now = self._now()
        serving, unserved, feeds = dict(self._serving), dict(self._unserved), dict(self._feeds)
        views = []
        for source in self._sources:
            symbols = tuple(s for s, serves in serving.items() if serves is source and s not in unserved)
            read = [feeds[source.venue, symbol].at for symbol in symbols if (source.venue, symbol) in feeds]
            views.append(self._health[source.name].view(now, symbols, lag=now - min(read, default=now)))
        return views

    def stop(self) -> None:
        """Let the tick in progress end before its next request. What it has read is still committed."""
        self._stopping = True

    def unfinished(self) -> bool:
        """Is there an order that is a whale already and not yet known to be over?"""
        return any(feed.clusterer.pending_usd >= feed.clusterer.threshold for feed in self._feeds.values())

    # The tick

    def tick(self) -> None:
        """Read every symbol up to the head once. Failures of hosts are kept in `health`, never raised."""
        for health in self._health.values():
            health.begin_tick()
        thresholds = self._thresholds.detection()
        before = dict(self._serving)
        for symbol in tuple(self._order):
            if self._stopping:
                break
            self._read_from_any(symbol, thresholds[symbol])
        self._commit()
        if not self._behind:
            self._progress.end("Caught up with the markets after %s")
        for health in self._health.values():
            health.end_tick(self._now())
        self._tell_changes(before)
        # After the trades, from a source that was just read: a failure here costs no alert.
        served = {source for symbol, source in self._serving.items() if symbol not in self._unserved}
        source = next((source for source in self._sources if source in served), None)
        if source is not None and not self._stopping:
            self._thresholds.refresh(source, now=self._now())

    def _read_from_any(self, symbol: str, threshold: float) -> None:
        source = self._choose(symbol)
        while source is not None and not self._stopping:
            try:
                self._read(source, symbol, threshold)
            except UnknownSymbol as error:
                if (source.name, symbol) not in self._unknown:
                    log.info("%s", error)
                self._unknown[source.name, symbol] = self._now() + UNKNOWN_EVERY
            except SourceError as error:
                self._failed(source, symbol, error)
            else:
                self._health[source.name].succeeded(self._now())
                self._serving[symbol] = source
                self._unserved.pop(symbol, None)
                return
            source = self._choose(symbol)
        if not self._stopping:
            self._unserved.setdefault(symbol, self._now())

    def _choose(self, symbol: str) -> SpotVenue | None:
        """The first source that knows the symbol and may be asked now.

        A source that fails is waited for: only after two minutes, or at once where it refuses this place, the
        next one is taken, because another venue's orders are other orders.
        """
        now = self._now()
        patience_over = False
        for source in self._knowing(symbol):
            health = self._health[source.name]
            if health.may_be_asked(now):
                return source
            patience_over = patience_over or health.failing_for(now) >= PATIENCE
            if not (patience_over or health.blocked):
                return None
        return None

    def _knowing(self, symbol: str) -> list[SpotVenue]:
        now = self._now()
        return [source for source in self._sources if now >= self._unknown.get((source.name, symbol), 0.0)]

    def _failed(self, source: SpotVenue, symbol: str, error: SourceError) -> None:
        self._health[source.name].failed(error, self._now())
        self._commit()  # a failure may have taken its time: what was found must not wait any longer
        # The symbol after this one begins the next tick: one bad symbol, or a host that allows only so many
        # requests at a time, must not always starve the same others.
        after = (self._order.index(symbol) + 1) % len(self._order)
        self._order = self._order[after:] + self._order[:after]

    # One feed

    def _read(self, source: SpotVenue, symbol: str, threshold: float) -> None:
        """Read one symbol up to the head. Raises SourceError; what was read before it counts."""
        feed = self._feed(source.venue, symbol, threshold)
        cursor = self._start(source, feed)
        again = False
        for _ in range(PAGES_A_TICK):
            if self._stopping:
                return
            page = source.page(symbol, cursor)
            cursor = self._take(source, feed, page)
            if not page.head:
                self._behind.add(symbol)
                behind = text.duration(max(0.0, self._now() - feed.at))
                self._progress.note("Catching up: %s on %s is read up to %s ago", symbol, source.venue, behind)
            else:
                self._behind.discard(symbol)
                if not page.trades:
                    self._check_silence(source, feed, cursor)
                # An order still open is read for once more now, not only at the next tick.
                if again or feed.clusterer.pending_usd < threshold:
                    return
                again = True

    def _feed(self, venue: str, symbol: str, threshold: float) -> _Feed:
        feed = self._feeds.get((venue, symbol))
        if feed is None:
            feed = _Feed(venue, symbol, Clusterer(venue, symbol, threshold=threshold), None, 0.0)
            stored = self._store.markets.cursor(venue, symbol)
            if stored is not None:
                feed.cursor, counted = _unpack(stored.text)
                feed.at = stored.at
                feed.barred = counted.pop("bars", 0)
                feed.clusterer.resume(counted)
            self._feeds[venue, symbol] = feed
        feed.clusterer.threshold = threshold
        return feed

    def _start(self, source: SpotVenue, feed: _Feed) -> str:
        """The cursor to read on from: the feed's own, unless this is the first run, a change of venue or an
        outage of more than ten minutes, which is noted.

        What a fallback venue traded while another one was read is no outage, so a fallback begins where the
        other one was left. The preferred venue always goes on where it was itself.
        """
        now = self._now()
        other_at, other = self._read_elsewhere(feed)
        preferred = self._knowing(feed.symbol)[0].venue == feed.venue
        if feed.cursor is None and (preferred or not other):
            return self._place(feed, source.head(feed.symbol), at=now)
        since = feed.at
        if feed.cursor is not None and (preferred or feed.at >= other_at):
            if now - feed.at <= REPLAY:
                return feed.cursor
        else:
            since, other = other_at, ""
        start = max(since, now - REPLAY)
        cursor = source.at(feed.symbol, int(start * 1000))
        if cursor is None:
            start, cursor = now, source.head(feed.symbol)
        if now - since > REPLAY:
            log.warning("%s %s: not read for %s", feed.venue, feed.symbol, text.duration(now - since))
            instead = other if other_at > since else ""
            self._batch.gaps.append(_Gap(feed.venue, feed.symbol, None, since, start, instead))
        return self._place(feed, cursor, at=start)

    def _check_silence(self, source: SpotVenue, feed: _Feed, cursor: str) -> None:
        """A cursor beyond the newest trade (ids begun anew, one absurd id) would be silent for ever: start again."""
        now = self._now()
        if now - feed.traded_at > REPLAY:
            feed.traded_at = now
            head = source.head(feed.symbol)
            if source.is_beyond(cursor, head):
                log.warning("%s %s: the ids went back; read on from the newest trade", feed.venue, feed.symbol)
                self._batch.gaps.append(_Gap(feed.venue, feed.symbol, None, feed.at, now))
                self._place(feed, head, at=now)

    def _read_elsewhere(self, feed: _Feed) -> tuple[float, str]:
        """Up to when another venue was read for this symbol, and which; 0 and "" when none was."""
        read = [(0.0, "")]
        for venue in {source.venue for source in self._sources} - {feed.venue}:
            known = self._feeds.get((venue, feed.symbol)) or self._store.markets.cursor(venue, feed.symbol)
            if known is not None and known.at > 0:  # begun, but never answered yet: it was not read
                read.append((known.at, venue))
        return max(read)

    def _place(self, feed: _Feed, cursor: str, *, at: float) -> str:
        feed.cursor = feed.stored = cursor
        feed.barred = 0
        feed.at = at
        feed.traded_at = self._now()
        self._batch.feeds.add(feed)
        return cursor

    def _take(self, source: SpotVenue, feed: _Feed, page: Page) -> str:
        """Count one page: what it closed and how far the feed is read now go into the batch."""
        now = self._now()
        self._note_flaws(source, feed, page)
        orders = feed.clusterer.feed(page.trades)
        if page.head:
            orders += feed.clusterer.head_reached(page.venue_ms)
        # Late by the venue's clock: a wrong local one would call every alert late, or none.
        venue_now = page.venue_ms / 1000 or now
        self._batch.alerts += [
            _alert(order, source, late=venue_now - order.last_ms / 1000 > LATE) for order in orders
        ]
        if page.trades:
            feed.traded_at = now
            add_to_bars(self._batch.bars, (trade for trade in page.trades if trade.trade_id >= feed.barred))
            feed.barred = max(feed.barred, page.trades[-1].trade_id + 1)
        first = feed.clusterer.open_since()
        feed.cursor = feed.stored = page.next_cursor
        if first is not None:
            feed.stored = _pack(source.cursor_at(first), feed.clusterer.counted(), feed.barred)
        feed.at = now if page.head else page.trades[-1].at_ms / 1000 if page.trades else feed.at
        self._batch.feeds.add(feed)
        return page.next_cursor

    def _note_flaws(self, source: SpotVenue, feed: _Feed, page: Page) -> None:
        health = self._health[source.name]
        if page.skipped and not health.skipped:
            log.warning("%s: an unreadable row of %s was skipped; further ones are counted", source.host, feed.symbol)
        health.skipped += page.skipped
        if page.missed:
            health.missed += page.missed
            end = page.trades[-1].at_ms / 1000 if page.trades else self._now()
            log.warning(
                "%s: %s of %s missing by their ids", source.host, text.count(page.missed, "trade"), feed.symbol
            )
            self._batch.gaps.append(_Gap(feed.venue, feed.symbol, page.missed, min(feed.at, end), end))

    # What is kept

    def _commit(self) -> None:
        """Write all that was found since the last commit: each alert alone, so that commands get their turn between
        them, and the cursors last. What was not written is read again; a known alert adds nothing then."""
        batch, self._batch = self._batch, _Batch()
        if not (batch.alerts or batch.gaps or batch.feeds):
            return
        now = self._now()
        try:
            with self._store.transaction():
                self._keep_gaps(batch.gaps, now)
            for alert in sorted(batch.alerts, key=lambda alert: (alert.at_ms, alert.key)):
                with self._store.transaction():
                    publish(self._store, alert, now=now, default_min=self.default_threshold(alert.symbol))
            with self._store.transaction():
                self._store.markets.add_bars(batch.bars.values())
                for feed in batch.feeds:
                    self._store.markets.set_cursor(feed.venue, feed.symbol, feed.stored, at=feed.at)
        except BaseException:
            self._feeds.clear()  # what is in memory is ahead of the store: read on from what is stored
            raise

    def _keep_gaps(self, gaps: Sequence[_Gap], now: float) -> None:
        new = [
            gap
            for gap in gaps
            if self._store.markets.add_gap(gap.venue, gap.symbol, missed=gap.missed, start=gap.start, end=gap.end)
        ]
        for words, symbol in _outages(new, now):
            announce(self._store, words, now=now, symbol=symbol)

    # What is said

    def _tell_changes(self, before: Mapping[str, SpotVenue]) -> None:
        """Log which source serves what when that changed; tell the owner what needs them, once at begin and end."""
        now = self._now()
        for source in self._sources:
            moved = [s for s, serves in self._serving.items() if serves is source and before.get(s, source) != source]
            if moved:
                log.info("%s (%s) is read now for %s", source.venue, source.host, ", ".join(moved))
        for symbol in self._settings.symbols:
            if not self._knowing(symbol) and symbol not in self._told_unknown:
                self._told_unknown.add(symbol)
                self._notify_owner(f"No source knows the coin {symbol}: nothing is watched for it. Check SYMBOLS.")
        if len(self._unserved) < len(self._settings.symbols):  # else our own network is the likelier reason
            for source in self._sources:
                health = self._health[source.name]
                if health.owner_should_know(now):
                    self._notify_owner(
                        f"{source.venue} ({source.host}) cannot be read from here: {health.reason}. The next source "
                        f"is read instead; this one is asked again from time to time. See /status."
                    )
        silent = [
            symbol
            for symbol, since in sorted(self._unserved.items())
            if now - since >= PATIENCE and self._knowing(symbol)
        ]
        if silent and self._alarm_since is None:
            self._alarm_since = min(self._unserved[symbol] for symbol in silent)
            reasons = "; ".join(f"{s.host}: {h.reason}" for s in self._sources if (h := self._health[s.name]).reason)
            self._notify_owner(
                f"No market source answers for {', '.join(silent)}: no whale alerts for them now. {reasons}."
            )
        elif not silent and self._alarm_since is not None:
            took = text.duration(now - self._alarm_since)
            self._alarm_since = None
            self._notify_owner(f"Market sources answer again after {took}.")


def _alert(order: Order, source: SpotVenue, *, late: bool) -> Alert:
    side, usd = order.taker_side, text.usd(order.notional)
    lasted = (order.last_ms - order.first_ms) / 1000
    facts = text.count(order.fills, "fill")
    facts += f" in {text.duration(lasted)}" if lasted > 0 else " at once" if order.fills > 1 else ""
    if order.high > order.low:
        facts += f" · price {text.price(order.first_price)} → {text.price(order.last_price)}"
    return Alert(
        key=order.key,
        monitor="whales",
        symbol=order.symbol,
        side=side,
        usd=order.notional,
        headline=f"{order.symbol} {side} {usd} USD at {text.price(order.vwap)}",
        facts=facts,
        at_ms=order.last_ms,
        venue=order.venue,
        url=source.url(order.symbol),
        price=order.vwap,
        late=late,
    )


def _outages(gaps: Sequence[_Gap], now: float) -> list[tuple[Callable[[tzinfo], str], str | None]]:
    """One line for each venue that was not read, and the symbol when it is about one alone."""
    lines: list[tuple[Callable[[tzinfo], str], str | None]] = []
    for venue in dict.fromkeys(gap.venue for gap in gaps if gap.missed is None):
        out = [gap for gap in gaps if gap.venue == venue and gap.missed is None]
        start, end = min(gap.start for gap in out), max(gap.end for gap in out)
        symbols = sorted({gap.symbol for gap in out})
        instead = " and ".join(sorted({gap.instead for gap in out} - {""}))
        rest = f"{venue}: whale orders of that time are unknown for {', '.join(symbols)}."
        if instead:
            rest += f" {instead} was read instead."
        words = functools.partial(_missed, start, end, now, rest)
        lines.append((words, symbols[0] if len(symbols) == 1 else None))
    return lines


def _missed(start: float, end: float, now: float, rest: str, zone: tzinfo) -> str:
    began, ended = (text.clock(at, now=now, zone=zone) for at in (start, end))
    return f"Missed {began} to {ended} ({text.duration(end - start)}) on {rest}"


def _pack(cursor: str, counted: dict[str, int], barred: int) -> str:
    return f"{cursor} {counted['buy']} {counted['sell']} {barred}"


def _unpack(stored: str) -> tuple[str, dict[str, int]]:
    cursor, *ids = stored.split(" ")
    return cursor, dict(zip(("buy", "sell", "bars"), map(int, ids), strict=False))
