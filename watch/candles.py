"""Fills the bars that the bot did not build from trades: of the week before its first start, and of outages.

They come from the candles of Binance, the only venue that says how much of a candle the takers bought. Bars of the
last day come first, of every coin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from store import Store
from venues.spot import PAGE_ROWS, BinanceSpot, SpotVenue
from venues.trades import BAR_SECONDS, Bar
from watch.feeds import Feeds
from watch.judged import Judged
from watch.levels import as_trades

DAY, WEEK = 86400, 7 * 86400
A_TICK = 3  # requests, where ticks are rare: a week of ten coins is complete after ten of them
FINAL = 15.0  # seconds after its end in which a bar may still change
AT_ONCE = 500  # bars in one transaction: fewer wait until every coin was asked for


class Candles:
    """Asks where the trades come from, a few requests in each tick. For one thread.

    read_at: venue and coin to the unix seconds up to which its trades were read, None when they were not. filled: is
    told the venue, the coin and its new bars.
    """

    def __init__(
        self,
        store: Store,
        feeds: Feeds[SpotVenue],
        read_at: Callable[[str, str], float | None],
        filled: Callable[[str, str, Sequence[Bar]], None],
        *,
        now: Callable[[], float],
    ) -> None:
        self._store, self._feeds, self._read_at, self._now = store, feeds, read_at, now
        self._newest: dict[str, int | None] = {}  # coin -> start of the newest bar to ask for
        self._filled = filled
        self._waiting: list[tuple[BinanceSpot, str, list[Bar]]] = []  # answers that are not stored yet
        self._seen: dict[str, int] = {}  # coin -> up to which its bars were looked through
        self._nowhere: dict[str, set[int]] = {}  # coin -> starts of bars that Binance does not have

    def fill(self, serving: Mapping[str, SpotVenue], *, rare: bool) -> None:
        """Ask for missing bars. serving: coins with the venue that has just answered for them. rare: seldom called.

        Raises StoreError.
        """
        venues = {symbol: venue for symbol, venue in serving.items() if isinstance(venue, BinanceSpot)}
        for symbol, venue in venues.items():
            self._look(symbol, self._read_at(venue.venue, symbol) or 0.0)
        for _ in range(A_TICK if rare else 1):
            newest = {symbol: at for symbol in venues if (at := self._newest[symbol]) is not None}
            if not newest or self._feeds.stopping:
                break
            recent = [symbol for symbol, at in newest.items() if at >= self._seen[symbol] - DAY]
            symbol = (recent or list(newest))[0]
            if any(coin == symbol for _, coin, _ in self._waiting):
                self._keep()
            if not self._ask(venues[symbol], symbol):
                self._newest[symbol] = None  # until the next bar is over
                break
        more = any(self._newest[symbol] is not None for symbol in venues)
        if rare or not more or sum(len(bars) for _, _, bars in self._waiting) >= AT_ONCE:
            self._keep()

    def _look(self, symbol: str, read_at: float) -> None:
        """Find what is missing, once for each bar that is over."""
        until = int(read_at - FINAL) // BAR_SECONDS * BAR_SECONDS
        if self._seen.get(symbol) == until:
            return
        since = until - WEEK
        nowhere = {at for at in self._nowhere.get(symbol, ()) if since <= at < until}  # a clock may be set back
        self._seen[symbol], self._nowhere[symbol] = until, nowhere
        self._newest[symbol] = max(self._missing(symbol), default=None)

    def _missing(self, symbol: str) -> set[int]:
        """Starts of the coin's bars to ask for. Not kept: of ten coins that would be a megabyte."""
        since, until = self._seen[symbol] - WEEK, self._seen[symbol]
        whole = self._store.markets.whole_bars(symbol, since=since, until=until)
        return set(range(since, until, BAR_SECONDS)) - whole - self._nowhere[symbol]

    def _ask(self, venue: BinanceSpot, symbol: str) -> bool:
        """Fill the newest missing bars of a coin; False when the venue did not answer."""
        missing = self._missing(symbol)
        newest, day = max(missing), self._seen[symbol] - DAY
        oldest = day if newest >= day else newest - (PAGE_ROWS - 1) * BAR_SECONDS
        wanted = {at for at in missing if at >= oldest}
        question = partial(venue.bars, symbol, since=min(wanted), until=newest + BAR_SECONDS)
        answer = self._feeds.ask(venue, question, feed=symbol)
        if answer is None:
            return False
        bars, skipped = answer
        self._feeds.count_flaws(venue, skipped=skipped)
        self._waiting.append((venue, symbol, [bar for bar in bars if bar.at in wanted]))
        self._nowhere[symbol] |= wanted - {bar.at for bar in bars}
        self._newest[symbol] = max(missing - wanted, default=None)
        return True

    def _keep(self) -> None:
        """Store what was answered. What a bar of an outage did to a price level is an alert."""
        answers, self._waiting = self._waiting, []
        if not answers:
            return
        judged, now = Judged(), self._now()
        try:
            with self._store.transaction():
                self._store.markets.fill_bars([bar for _, _, bars in answers for bar in bars])
                for venue, _, bars in answers:
                    if bars:
                        judged.look(self._store, as_trades(bars, venue.venue), venue, now)
                judged.keep(self._store, now=now)
        except BaseException:  # whatever it was, they are asked for again
            for _, symbol, _ in answers:
                self._seen.pop(symbol, None)
            raise
        for venue, symbol, bars in answers:
            self._filled(venue.venue, symbol, bars)
