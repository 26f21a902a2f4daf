"""Open interest of OKX and Hyperliquid: kept for a day for /oi; large changes within an hour become alerts.

When each coin was told last is stored in one transaction with the alert: a restart repeats nothing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from alerts.publish import publish
from base import text
from store.rows import Alert, Chat
from venues.perpetuals import Interest
from watch.feeds import Context
from watch.interest import DEFAULT, SPAN_MS, Change, change
from watch.thresholds import marks

TOLD = "oi:told"  # fact in the store: mark -> venue:coin -> unix ms of the last alert, or of the first look

Told = dict[str, dict[str, int]]


class InterestMonitor:
    """Finds changes. For the thread that asks for funding. urls: venue and coin to the contract's public web page."""

    def __init__(self, context: Context, urls: Mapping[str, Callable[[str], str]]) -> None:
        self._store, self._symbols, self._now, self._urls = context.store, context.symbols, context.now, urls

    def look(self, venue: str, found: Sequence[Interest]) -> None:
        """What a venue answered just now. Raises StoreError."""
        now, symbols = self._now(), self._symbols()
        newest = [one for one in found if one.symbol in symbols]
        with self._store.transaction():
            chats, told = self._store.chats.kinds(), self._store.read_value(TOLD, _told, Told())
            since = min((one.at_ms for one in newest), default=0) - SPAN_MS
            past = defaultdict(list)
            for one in self._store.markets.interest(since=since / 1000):
                past[one.venue, one.symbol].append(one)
            for one in newest:
                for mark in marks(chats, "oi", one.symbol, DEFAULT):
                    self._judge(one, past[venue, one.symbol], mark, told, now)
            self._store.markets.note_interest(venue, newest)
            self._store.set_value(TOLD, json.dumps(_wanted(told, chats, symbols)))

    def _judge(self, now: Interest, past: Sequence[Interest], mark: float, told: Told, clock: float) -> None:
        known, name = told.setdefault(repr(mark), {}), f"{now.venue}:{now.symbol}"
        since_ms = known.setdefault(name, now.at_ms)
        if since_ms > now.at_ms:  # by a clock that was ahead
            since_ms = known[name] = now.at_ms
        seen = change(now, past, mark=mark / 100, since_ms=since_ms)
        if seen is not None:
            known[name] = now.at_ms
            publish(self._store, self._alert(seen, mark), now=clock, default_min=DEFAULT)

    def _alert(self, seen: Change, mark: float) -> Alert:
        before, now = seen
        done = "opened" if seen.usd > 0 else "closed"
        took = text.duration((now.at_ms - before.at_ms) / 1000)
        return Alert(
            key=f"oi:{seen.key}:{mark:g}",
            monitor="oi",
            symbol=now.symbol,
            mark=mark,
            headline=f"{now.symbol} open interest on {now.venue}: {text.percent(seen.share)} in {took}",
            facts=(
                f"{text.usd(abs(seen.usd))} USD {done}, now {text.usd(now.usd)} USD · "
                f"price {text.percent(now.price / before.price - 1)}"
            ),
            at_ms=now.at_ms,
            venue=now.venue,
            url=self._urls[now.venue](now.contract or now.symbol),
            price=now.price,
        )


def _told(kept: str) -> Told:
    return {mark: {name: int(at) for name, at in known.items()} for mark, known in json.loads(kept).items()}


def _wanted(told: Told, chats: Sequence[Chat], symbols: Sequence[str]) -> Told:
    """Without marks that no chat has any more, and coins that are not watched: later their past would be news."""
    wanted = {(repr(mark), coin) for coin in symbols for mark in marks(chats, "oi", coin, DEFAULT)}
    kept = {
        mark: {name: at for name, at in known.items() if (mark, name.partition(":")[2]) in wanted}
        for mark, known in told.items()
    }
    return {mark: known for mark, known in kept.items() if known}
