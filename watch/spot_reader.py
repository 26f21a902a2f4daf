"""Reads trades of spot venues, page by page from a cursor, into orders, bars and gaps. Stores nothing.

Rules: nothing from before the first run becomes an alert; after an outage at most ten minutes are replayed, and what
is missing beyond that is a gap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from base import text
from venues.spot import SpotVenue
from venues.trades import BAR_SECONDS, Bar, Page, add_to_bars
from watch.feeds import Context, Feeds
from watch.gaps import Gap
from watch.judged import Judged
from watch.moves import Windows
from watch.orders import Clusterer, Order
from watch.silence import Silence

log = logging.getLogger(__name__)

PAGES_A_TICK = 20  # of one coin, so that catching up does not starve the others
REPLAY = 600.0  # seconds of an outage that are read again; older orders make no alert
FRESH = 15.0  # seconds after which an order is not told before those of the next coins
PROGRESS_EVERY = 4.0  # seconds between two log lines while the bot catches up


@dataclass(eq=False)
class FeedState:
    """How far one coin of one venue is read.

    cursor: where to continue, None before the first read. stored: where a restart continues, which is earlier while
    an order is open. at: unix seconds up to which the feed was read. in_bars: the bars hold all lower ids.
    traded_at: unix seconds when a trade last came, or the newest one was last looked for. silence: since when, and
    whether that is longer than usual.
    """

    venue: str
    symbol: str
    clusterer: Clusterer
    cursor: str | None = None
    at: float = 0.0
    stored: str = ""
    in_bars: int = 0
    traded_at: float = 0.0
    silence: Silence = field(default_factory=Silence)


@dataclass
class Batch:
    """What was read since the last commit. orders: each with its venue and the venue's clock, unix seconds.
    flawed: bars (coin, start) that lack trades or count some twice."""

    orders: list[tuple[Order, SpotVenue, float]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    bars: dict[tuple[str, int], Bar] = field(default_factory=dict)
    feeds: set[FeedState] = field(default_factory=set)
    flawed: set[tuple[str, int]] = field(default_factory=set)
    levels: Judged = field(default_factory=Judged)

    def urgent(self) -> bool:
        """Is there something to tell that has just happened?"""
        told = [(order.last.at_ms, clock) for order, _, clock in self.orders]
        told += [(touch.trade.at_ms, clock) for touch, _, clock in self.levels.touches]
        return not self.gaps and any(clock - at_ms / 1000 <= FRESH for at_ms, clock in told)

    def may_wait(self, begun: Collection[tuple[str, int]]) -> bool:
        """Is it nothing but more trades of these bars, which are stored? They are read again if they never are."""
        return not (self.orders or self.gaps or self.flawed or self.levels.levels) and self.bars.keys() <= set(begun)


class SpotReader:
    """Reads one coin of one venue at a time, up to the newest trade. For one thread."""

    def __init__(self, context: Context, feeds: Feeds[SpotVenue]) -> None:
        self._store, self._now, self._feeds = context.store, context.now, feeds
        self._notify_owner = context.notify_owner
        self._states: dict[tuple[str, str], FeedState] = {}
        self._batch = Batch()
        self.windows = Windows(context.store)
        self._behind: set[str] = set()  # coins whose feed was not read to its end yet
        self._progress = Progress()

    @property
    def batch(self) -> Batch:
        """What was read since the last `take_batch`."""
        return self._batch

    def take_batch(self) -> Batch:
        """What was read since the last call."""
        batch, self._batch = self._batch, Batch()
        return batch

    def forget(self) -> None:
        """Continue from what is stored, after what is in memory could not be stored."""
        self._states.clear()
        self._batch = Batch()
        self.windows.keep(())

    def keep(self, symbols: Collection[str]) -> None:
        """Forget every other coin: when it is watched again it is read from its newest trade on."""
        self._states = {key: state for key, state in self._states.items() if key[1] in symbols}
        self._behind &= set(symbols)
        self.windows.keep(symbols)
        gone = {feed for feed in self._batch.feeds if feed.symbol not in symbols}
        if gone:
            self._batch.feeds -= gone
            self._batch.bars = {key: bar for key, bar in self._batch.bars.items() if key[0] in symbols}

    def read_at(self, venue: str, symbol: str) -> float | None:
        """Unix seconds up to which the feed was read; None when it was not."""
        state = self._states.get((venue, symbol))
        return None if state is None else state.at

    def traded_at(self, venue: str, symbol: str) -> float | None:
        """When the newest known trade was, unix seconds; None when that is not known."""
        state = self._states.get((venue, symbol))
        return (state.silence.newest or None) if state is not None else None

    def unfinished(self) -> dict[str, float]:
        """The coins with an order that is a whale already and may still be growing, with their thresholds."""
        clusters = {symbol: state.clusterer for (_, symbol), state in tuple(self._states.items())}
        return {symbol: one.threshold for symbol, one in clusters.items() if one.pending_usd >= one.threshold}

    def end_tick(self) -> None:
        """Log that a long catch-up is over."""
        if not self._behind:
            self._progress.end("Caught up with the markets after %s")

    def read(self, venue: SpotVenue, symbol: str, threshold: float) -> bool:
        """Read one coin up to the newest trade and return True. Raises SourceError; what was read before is kept."""
        feed = self._state(venue.venue, symbol, threshold)
        cursor = self._start(venue, feed)
        again = False
        for _ in range(PAGES_A_TICK):
            if self._feeds.stopping:
                break
            page = venue.page(symbol, cursor)
            cursor = self._take(venue, feed, page)
            if not page.head:
                self._behind.add(symbol)
                behind = text.duration(max(0.0, self._now() - feed.at))
                self._progress.note("Catching up: %s on %s is read up to %s ago", symbol, venue.venue, behind)
            else:
                self._behind.discard(symbol)
                if not page.trades:
                    self._check_silence(venue, feed, cursor)
                # Read once more now for an order that is still open, not only at the next tick.
                if again or feed.clusterer.pending_usd < threshold:
                    break
                again = True
        return True

    # Where to read

    def _state(self, venue: str, symbol: str, threshold: float) -> FeedState:
        feed = self._states.get((venue, symbol))
        if feed is None:
            feed = FeedState(venue, symbol, Clusterer(threshold=threshold))
            stored = self._store.markets.cursor(venue, symbol)
            if stored is not None:
                try:
                    cursor, counted = _unpack(stored.text)
                except ValueError:
                    log.error("%s %s: where reading ended cannot be read; it begins anew", venue, symbol)
                else:
                    feed.cursor, feed.at = cursor, stored.at
                    feed.in_bars = counted.pop("bars", 0)
                    feed.clusterer.resume(counted)
            self._states[venue, symbol] = feed
        feed.clusterer.threshold = threshold
        return feed

    def _start(self, venue: SpotVenue, feed: FeedState) -> str:
        """The cursor to continue from: the feed's own, unless this is the first run, a change of venue or an
        outage of more than ten minutes, which becomes a gap.

        What a fallback venue traded while another one was read is not missing, so a fallback starts where the other
        one stopped. The preferred venue always continues from its own cursor.
        """
        now = self._now()
        other_at, other = self._read_elsewhere(feed)
        preferred = self._feeds.knowing(feed.symbol)[0].venue == feed.venue
        if feed.cursor is None and (preferred or not other):
            cursor, traded_ms = venue.newest(feed.symbol)
            return self._place(feed, cursor, at=now, traded_ms=traded_ms)
        since = feed.at
        if feed.cursor is not None and (preferred or feed.at >= other_at):
            if now - feed.at <= REPLAY:
                if other_at > feed.at:  # what the other venue traded is in the bars already
                    self._mark_flawed(feed, *range(int(feed.at), int(other_at) + BAR_SECONDS, BAR_SECONDS))
                return feed.cursor
        else:
            since, other = other_at, ""
        self._mark_flawed(feed, since)
        start, traded_ms = max(since, now - REPLAY), 0
        found = venue.at(feed.symbol, int(start * 1000))
        if found is None:
            start = now
            found, traded_ms = venue.newest(feed.symbol)
        if now - since > REPLAY:
            log.warning("%s %s: not read for %s", feed.venue, feed.symbol, text.duration(now - since))
            instead = other if other_at > since else ""
            self._batch.gaps.append(Gap(feed.venue, feed.symbol, None, since, start, instead))
        return self._place(feed, found, at=start, traded_ms=traded_ms)

    def _read_elsewhere(self, feed: FeedState) -> tuple[float, str]:
        """Unix seconds up to which another venue was read for this coin, and which; 0 and "" when none was."""
        read = [(0.0, "")]
        for venue in {other.venue for other in self._feeds.venues} - {feed.venue}:
            known = self._states.get((venue, feed.symbol)) or self._store.markets.cursor(venue, feed.symbol)
            if known is not None and known.at > 0:  # begun, but never answered yet: it was not read
                read.append((known.at, venue))
        return max(read)

    def _check_silence(self, venue: SpotVenue, feed: FeedState, cursor: str) -> None:
        """A cursor beyond the newest trade (ids restarted, or one absurd id) would never find a trade again."""
        now = self._now()
        if now - feed.traded_at > REPLAY:
            feed.traded_at = now
            head, traded_ms = venue.newest(feed.symbol)
            feed.silence.newest = max(feed.silence.newest, traded_ms / 1000)
            if venue.is_beyond(cursor, head):
                log.warning("%s %s: trade ids went back; continuing from the newest trade", feed.venue, feed.symbol)
                self._batch.gaps.append(Gap(feed.venue, feed.symbol, None, feed.at, now))
                self._place(feed, head, at=now, traded_ms=traded_ms)

    def _place(self, feed: FeedState, cursor: str, *, at: float, traded_ms: int) -> str:
        feed.cursor = feed.stored = cursor
        feed.silence = replace(feed.silence, newest=traded_ms / 1000, reads=0)  # what was in between is not known
        feed.in_bars = 0
        self._mark_flawed(feed, feed.at, at)
        feed.at = at
        feed.traded_at = self._now()
        self._batch.feeds.add(feed)
        return cursor

    def _mark_flawed(self, feed: FeedState, *times: float) -> None:
        """The bars of these times lack trades, or count those of two venues."""
        self._batch.flawed |= {(feed.symbol, int(at) // BAR_SECONDS * BAR_SECONDS) for at in times if at}

    # One page

    def _take(self, venue: SpotVenue, feed: FeedState, page: Page) -> str:
        """Put into the batch what the page completed and how far the feed is read now; return the next cursor."""
        now = self._now()
        self._note_flaws(venue, feed, page)
        orders = feed.clusterer.feed(page.trades)
        if page.head:
            orders += feed.clusterer.head_reached(page.venue_ms)
        self._batch.orders += [(order, venue, page.venue_ms / 1000 or now) for order in orders]
        self._note_silence(feed, page)
        if page.trades:
            feed.traded_at = now
            new = [trade for trade in page.trades if trade.trade_id >= feed.in_bars]
            add_to_bars(self._batch.bars, new)
            if new:
                self._batch.levels.look(self._store, new, venue, page.venue_ms / 1000 or now, self.windows)
            feed.in_bars = max(feed.in_bars, page.trades[-1].trade_id + 1)
        first = feed.clusterer.open_since()
        feed.cursor = feed.stored = page.next_cursor
        if first is not None:
            feed.stored = _pack(venue.cursor_at(first), feed.clusterer.counted(), feed.in_bars)
        feed.at = now if page.head else page.trades[-1].at_ms / 1000 if page.trades else feed.at
        self._batch.feeds.add(feed)
        return page.next_cursor

    def _note_silence(self, feed: FeedState, page: Page) -> None:
        """Tell the owner once when a coin is silent for longer than usual, and when it is traded again."""
        where = f"{feed.symbol} on {feed.venue}"
        if page.trades:
            ended = feed.silence.traded(page.trades[0].at_ms / 1000, page.trades[-1].at_ms / 1000)
            if ended:
                self._notify_owner(f"{where} is traded again, after {text.duration(ended)}.")
        elif page.head and (lasted := feed.silence.too_long(page.venue_ms / 1000 or self._now())):
            usual = text.duration(max(1.0, feed.silence.longest))
            self._notify_owner(
                f"No trade of {where} for {text.duration(lasted)}; at most {usual} is usual. The exchange answers, "
                f"so the market may be halted. The bot keeps reading it."
            )

    def _note_flaws(self, venue: SpotVenue, feed: FeedState, page: Page) -> None:
        self._feeds.count_flaws(venue, skipped=page.skipped, missed=page.missed)
        if page.missed:
            end = page.trades[-1].at_ms / 1000 if page.trades else self._now()
            missing = text.count(page.missed, "trade")
            log.warning("%s: %s of %s missing by their ids", venue.host, missing, feed.symbol)
            self._batch.gaps.append(Gap(feed.venue, feed.symbol, page.missed, min(feed.at, end), end))
            self._mark_flawed(feed, min(feed.at, end), end)


class Progress:
    """Logs long work every few seconds and at its end, short work never. For one thread."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: float | None = None
        self._logged_at: float | None = None

    def note(self, words: str, *values: object) -> None:
        """Log how far the work is, if the last line is a while ago."""
        now = self._monotonic()
        if self._began is None:
            self._began = now
        elif now - (self._logged_at or self._began) >= PROGRESS_EVERY:
            self._logged_at = now
            log.info(words, *values)

    def end(self, words: str) -> None:
        """Log the end of long work; `words` has one %s for how long it took."""
        if self._began is not None and self._logged_at is not None:
            log.info(words, text.duration(self._monotonic() - self._began))
        self._began = self._logged_at = None


def _pack(cursor: str, counted: dict[str, int], in_bars: int) -> str:
    return f"{cursor} {counted['buy']} {counted['sell']} {in_bars}"


def _unpack(stored: str) -> tuple[str, dict[str, int]]:
    cursor, *ids = stored.split(" ")
    return cursor, dict(zip(("buy", "sell", "bars"), map(int, ids), strict=False))
