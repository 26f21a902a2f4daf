"""Extreme funding rates of OKX and Hyperliquid, and with a CoinGlass key of more venues, become alerts.

The latest rates of every contract are stored for /funding; only the coins of SYMBOLS make alerts. The state of each
contract is stored in one transaction with the alert: a restart repeats nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from alerts.publish import publish
from base import text
from store.rows import Alert
from venues.availability import Use
from venues.coinglass import CoinGlass
from venues.hyperliquid import Hyperliquid
from venues.okx import Okx
from venues.perpetuals import Rate, Reading
from watch.feeds import Context, Feeds
from watch.funding import Change, Crossings

STATE = "funding:crossings"


class FundingMonitor:
    """Finds crossings. `tick` is for one thread, `feeds` for any. coinglass: None without a key."""

    def __init__(self, context: Context, okx: Okx, hyperliquid: Hyperliquid, coinglass: CoinGlass | None) -> None:
        self._settings, self._store, self._now = context.settings, context.store, context.now
        self._symbols = context.symbols
        self.feeds: Feeds[Okx | Hyperliquid | CoinGlass] = Feeds("funding", (okx, hyperliquid, coinglass), context)
        self._urls: dict[str, Callable[[str], str]] = {okx.venue: okx.url, hyperliquid.venue: hyperliquid.url}

    def tick(self) -> None:
        """Ask every venue once. Failures of venues are in `feeds.health()`, never raised. Raises StoreError."""
        self.feeds.begin_tick()
        uses = {venue.name: Use("every coin") for venue in self.feeds.venues}
        for venue in self.feeds.venues:
            found: Reading[Rate] | None = self.feeds.ask(venue, venue.rates)
            if found is not None:
                uses[venue.name] = Use(text.count(len({rate.symbol for rate in found.rows}), "coin"))
                self.feeds.count_unreadable(venue, found.unreadable)
                self._commit(found.rows)
        self.feeds.end_tick(uses)

    def _commit(self, rates: list[Rate]) -> None:
        now = self._now()
        with self._store.transaction():
            for venue in {rate.venue for rate in rates}:
                self._store.markets.put_rates(venue, [rate for rate in rates if rate.venue == venue])
            crossings = self._store.read_value(STATE, self._known, self._known("{}"))
            for change in crossings.feed(rate for rate in rates if rate.symbol in self._symbols()):
                publish(self._store, self._alert(change), now=now, default_min=0.0)
            self._store.set_value(STATE, json.dumps(crossings.dump()))

    def _known(self, kept: str) -> Crossings:
        crossings = Crossings(self._settings.funding_alert_percent / 100, flips=self._settings.funding_flips)
        crossings.load(json.loads(kept))
        return crossings

    def _alert(self, change: Change) -> Alert:
        rate = change.rate
        payer = "longs pay shorts" if rate.rate > 0 else "shorts pay longs"
        mark = f"{self._settings.funding_alert_percent:g} %"
        why = {"above": f"above +{mark}", "below": f"below -{mark}", "flip": "the sign changed"}[change.kind]
        charged = "every hour" if rate.hours == 1 else f"every {rate.hours:g} h"
        following = (
            f", next in {text.duration((rate.next_ms - rate.at_ms) / 1000)}" if rate.next_ms > rate.at_ms else ""
        )
        return Alert(
            key=f"funding:{change.key}",
            monitor="funding",
            symbol=rate.symbol,
            side="",
            usd=0.0,
            headline=(
                f"{rate.symbol} funding on {rate.venue}: {percent(rate.eight_hours)} for 8 h, "
                f"{rate.year * 100:+z,.0f} % a year"
            ),
            facts=f"{payer}, {why} · charged {charged}{following}",
            at_ms=rate.at_ms,
            venue=rate.venue,
            url=self._urls.get(rate.venue, CoinGlass.url)(
                rate.contract if rate.venue == Hyperliquid.venue else rate.symbol
            ),
        )


def percent(fraction: float) -> str:
    """A fraction as percent, with its sign: `+0.0125 %`."""
    return f"{fraction * 100:+z.4f} %"
