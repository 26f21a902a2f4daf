"""Extreme funding rates of OKX and Hyperliquid, and with a CoinGlass key of more venues, become alerts.

The latest rates of every contract are stored for /funding; only the coins of SYMBOLS make alerts. The state of each
contract is stored in one transaction with the alert: a restart repeats nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from alerts.publish import publish
from base import text
from store.rows import Alert
from venues.availability import Use
from venues.coinglass import CoinGlass
from venues.hyperliquid import Hyperliquid
from venues.okx import Okx
from venues.perpetuals import Interest, Rate, Reading
from watch.feeds import Context, Feeds
from watch.funding import Change, Crossings
from watch.interest_monitor import InterestMonitor
from watch.thresholds import marks

STATE = "funding:crossings"  # fact in the store: what is known of the mark of the settings
INTEREST = "open interest"  # the feed
OWN = "funding:marks"  # and of the marks that chats have of their own


class FundingMonitor:
    """Finds crossings. `tick` is for one thread, `feeds` for any. coinglass: None without a key."""

    def __init__(self, context: Context, okx: Okx, hyperliquid: Hyperliquid, coinglass: CoinGlass | None) -> None:
        self._settings, self._store, self._now = context.settings, context.store, context.now
        self._symbols = context.symbols
        self.feeds: Feeds[Okx | Hyperliquid | CoinGlass] = Feeds("funding", (okx, hyperliquid, coinglass), context)
        self._urls: dict[str, Callable[[str], str]] = {okx.venue: okx.url, hyperliquid.venue: hyperliquid.url}
        self._interest = InterestMonitor(context, self._urls)

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
                if not isinstance(venue, CoinGlass):
                    self._look_at_interest(venue)
        self.feeds.end_tick(uses)

    def _look_at_interest(self, venue: Okx | Hyperliquid) -> None:
        same_answer = isinstance(venue, Hyperliquid)
        found: Reading[Interest] | None = self.feeds.ask(venue, venue.interest, feed=INTEREST, cached=same_answer)
        if found is not None:
            self.feeds.count_unreadable(venue, found.unreadable, feed=INTEREST)
            self._interest.look(venue.venue, found.rows)

    def _commit(self, rates: list[Rate]) -> None:
        now = self._now()
        with self._store.transaction():
            for venue in {rate.venue for rate in rates}:
                self._store.markets.put_rates(venue, [rate for rate in rates if rate.venue == venue])
            chats, default = self._store.chats.kinds(), self._settings.funding_alert_percent
            wanted = {coin: marks(chats, "funding", coin, default) for coin in self._symbols()}
            kept: dict[float, Crossings] = {}
            marked = self._known()
            for mark in {mark for some in wanted.values() for mark in some} | {default}:
                kept[mark] = marked.get(mark) or self._crossings(mark, {})
                for change in kept[mark].feed(rate for rate in rates if mark in wanted.get(rate.symbol, ())):
                    publish(self._store, self._alert(change, mark), now=now, default_min=default)
            self._store.set_value(STATE, json.dumps(kept.pop(default).dump()))
            self._store.set_value(OWN, json.dumps({mark: kept[mark].dump() for mark in sorted(kept)}))

    def _known(self) -> dict[float, Crossings]:
        """What is known of each mark. A mark that no chat has any more is not kept: later its past would be news."""
        default = self._settings.funding_alert_percent

        def of_default(kept: str) -> Crossings:
            return self._crossings(default, json.loads(kept))

        def of_others(kept: str) -> dict[float, Crossings]:
            return {float(mark): self._crossings(float(mark), known) for mark, known in json.loads(kept).items()}

        known = self._store.read_value(OWN, of_others, dict[float, Crossings]())
        return known | {default: self._store.read_value(STATE, of_default, self._crossings(default, {}))}

    def _crossings(self, mark: float, known: Mapping[str, Any]) -> Crossings:
        crossings = Crossings(mark / 100, flips=self._settings.funding_flips)
        crossings.load(known)
        return crossings

    def _alert(self, change: Change, mark: float) -> Alert:
        rate = change.rate
        payer = "longs pay shorts" if rate.rate > 0 else "shorts pay longs"
        why = {"above": f"above +{mark:g} %", "below": f"below -{mark:g} %", "flip": "the sign changed"}[change.kind]
        charged = "every hour" if rate.hours == 1 else f"every {rate.hours:g} h"
        following = (
            f", next in {text.duration((rate.next_ms - rate.at_ms) / 1000)}" if rate.next_ms > rate.at_ms else ""
        )
        return Alert(
            key=f"funding:{change.key}{'' if mark == self._settings.funding_alert_percent else f':{mark:g}'}",
            mark=mark,
            monitor="funding",
            symbol=rate.symbol,
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
