"""Watching funding: the rates of OKX and Hyperliquid, and with a key those of more venues; crossings become alerts.

The latest rates of every contract are kept for /funding; only the coins of the settings make alerts. What is known of
each contract is in the store, in one transaction with the alert: a restart repeats nothing.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from functools import partial

from alerts.publish import publish
from base import text
from base.config import Settings
from store import Store
from store.rows import Alert
from venues.availability import SourceHealth
from venues.coinglass import CoinGlass
from venues.hyperliquid import Hyperliquid
from venues.okx import Okx
from venues.perpetuals import Rate, Reading
from watch.feeds import Feed, Feeds
from watch.funding import Change, Crossings

STATE = "funding:crossings"


class FundingMonitor:
    """`tick` is for one thread; `health` and `stop` for any. coinglass: None without a key."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        okx: Okx,
        hyperliquid: Hyperliquid,
        coinglass: CoinGlass | None,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        notify_owner: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._now = now
        self._asks: list[tuple[Feed, Callable[[], Reading[Rate]]]] = [
            (okx, okx.rates),
            (hyperliquid, hyperliquid.rates),
        ]
        if coinglass is not None:
            self._asks.append((coinglass, partial(coinglass.rates)))
        every = [source for source, _ in self._asks]
        self._feeds = Feeds("funding", every, store, now=now, jitter=jitter, notify_owner=notify_owner)
        self._urls: dict[str, Callable[[str], str]] = {okx.venue: okx.url, hyperliquid.venue: hyperliquid.url}
        self._crossings: Crossings | None = None
        self._stopping = False

    def health(self) -> list[SourceHealth]:
        return self._feeds.health()

    def stop(self) -> None:
        """Let the tick in progress end before its next request."""
        self._stopping = True

    def tick(self) -> None:
        """Look at every feed once. Failures of hosts are kept in `health`, never raised."""
        self._feeds.begin_tick()
        covers = {source.name: "every coin" for source, _ in self._asks}
        for source, ask in self._asks:
            found = None if self._stopping else self._feeds.ask(source, ask)
            if found is not None:
                covers[source.name] = text.count(len({rate.symbol for rate in found.rows}), "coin")
                self._feeds.count_poison(source, "", found.unreadable)
                self._commit(found.rows)
        self._feeds.end_tick(covers)

    def _commit(self, rates: list[Rate]) -> None:
        now = self._now()
        try:
            with self._store.transaction():
                for venue in {rate.venue for rate in rates}:
                    self._store.markets.put_rates(venue, [rate for rate in rates if rate.venue == venue])
                crossings = self._loaded()
                watched = [rate for rate in rates if rate.symbol in self._settings.symbols]
                for change in crossings.feed(watched):
                    publish(self._store, self._alert(change), now=now, default_min=0.0)
                self._store.set_value(STATE, json.dumps(crossings.dump()))
        except BaseException:
            self._crossings = None  # what is in memory is ahead of the store
            raise

    def _loaded(self) -> Crossings:
        if self._crossings is None:
            self._crossings = Crossings(
                self._settings.funding_alert_percent / 100, flips=self._settings.funding_flips
            )
            kept = self._store.value(STATE)
            if kept:
                self._crossings.load(json.loads(kept))
        return self._crossings

    def _alert(self, change: Change) -> Alert:
        rate = change.rate
        payer = "longs pay shorts" if rate.rate > 0 else "shorts pay longs"
        sign = "+" if rate.rate > 0 else "-"
        why = (
            "the sign changed"
            if change.kind == "flip"
            else f"beyond {sign}{self._settings.funding_alert_percent:g} %"
        )
        charged = "every hour" if rate.hours == 1 else f"every {rate.hours:g} h"
        following = (
            f", next in {text.duration((rate.next_ms - rate.at_ms) / 1000)}" if rate.next_ms > rate.at_ms else ""
        )
        url = self._urls.get(rate.venue)
        return Alert(
            key=f"funding:{change.key}",
            monitor="funding",
            symbol=rate.symbol,
            side="",
            usd=0.0,
            headline=(
                f"{rate.symbol} funding on {rate.venue}: {percent(rate.eight_hours)} for 8 h, "
                f"{rate.year * 100:+,.0f} % a year"
            ),
            facts=f"{payer}, {why} · charged {charged}{following}",
            at_ms=rate.at_ms,
            venue=rate.venue,
            url=f"https://www.coinglass.com/currencies/{rate.symbol}" if url is None else url(rate.symbol),
        )


def percent(fraction: float) -> str:
    """`+0.0125 %`."""
    return f"{fraction * 100:+.4f} %"
