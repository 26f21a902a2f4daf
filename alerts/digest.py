"""Digests: a summary of the last hours or days in one message. When they come: commands/due.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerts import held_back, wording
from alerts.preferences import wants
from base import text
from store import Store
from store.markets import LIQUIDATIONS_KEPT
from store.rows import Chat
from venues.perpetuals import INTEREST_NEAR, Interest, growth
from venues.trades import BAR_SECONDS

TOP = 5  # orders, coins and liquidations that get a line
DAY = 86400.0
KEPT = 30 * DAY  # seconds: older alerts are deleted (store)


@dataclass(frozen=True, kw_only=True)
class Digests:
    """Writes digests. default_min: US dollars from which an order of a coin is a whale."""

    store: Store
    symbols: Sequence[str]
    default_min: Callable[[str], float]
    now: Callable[[], float]

    def take(self, chat: Chat, *, since: float, now: float) -> str:
        """The digest, and under it what was held back, which is held no longer: in the transaction that sends it."""
        digest = self.compose(chat, since=max(since, now - KEPT), until=now)
        held = held_back.take(self.store, chat, now=now, in_digest=True)
        return f"{digest}\n\n{held}" if held else digest

    def compose(self, chat: Chat, *, since: float, until: float) -> str:
        """The digest of a time (unix seconds) with what this chat follows, in Telegram HTML."""

        length = text.duration(until - since)  # a digest comes some seconds after its time: still one day
        one_day = until - since <= DAY or length == "1 d"

        def clock(at: float) -> str:
            return datetime.fromtimestamp(at, chat.zone).strftime("%H:%M" if one_day else "%a %H:%M")

        ends = datetime.fromtimestamp(until, chat.zone).strftime("%a %d %b, %H:%M")
        named = "24 hours" if length == "1 d" else length
        lines = [f"<b>Digest, last {named}</b> (until {ends} {text.escape(chat.timezone)})"]
        lines += self._whales(chat, since, until, clock)
        lines += self._flows(chat, since)
        lines += self._liquidations(chat, since)
        lines += self._funding(chat)
        lines += self._interest(chat, until - since)
        lines += self._gaps(chat, since, clock)
        return "\n".join(lines)

    def _whales(self, chat: Chat, since: float, until: float, clock: Callable[[float], str]) -> list[str]:
        if chat.levels.get("whales") == "off":
            return []
        orders = [
            alert
            for alert in self.store.messages.alerts_between(since, until)
            if alert.monitor == "whales" and wants(chat, alert, default_min=self.default_min(alert.symbol))
        ]
        if not orders:
            return ["No whale orders."]
        largest = sorted(orders, key=lambda order: order.usd, reverse=True)[:TOP]
        return [
            f"<b>{wording.totals(orders)}</b>",
            *(f"{clock(order.at)} {wording.headline(order)}" for order in largest),
        ]

    def _flows(self, chat: Chat, since: float) -> list[str]:
        rows = []
        for symbol in self.symbols:
            seen = self.store.markets.bars(symbol, since=since) if chat.follows(symbol) else []
            if not seen:
                continue
            bought, sold = sum(bar.buy_usd for bar in seen), sum(bar.sell_usd for bar in seen)
            moved = text.percent(seen[-1].close / seen[0].open - 1)
            line = f"{symbol} {text.signed_usd(bought - sold)} of {text.usd(bought + sold)}, price {moved}"
            rows.append((abs(bought - sold), line))
        return _top("<b>Net taker flow</b> (all trades, USD)", [line for _, line in sorted(rows, reverse=True)])

    def _liquidations(self, chat: Chat, since: float) -> list[str]:
        since = max(since, self.now() - LIQUIDATIONS_KEPT)
        seen = [event for event in self.store.markets.liquidations(since=since) if chat.follows(event.symbol)]
        if chat.levels.get("liquidations") == "off":
            return []
        venues = " and ".join(sorted({event.venue for event in seen}))
        return _top(f"<b>Liquidations</b> (USD, {text.escape(venues)})", wording.sums(seen))

    def _funding(self, chat: Chat) -> list[str]:
        followed = [rate for rate in self.store.markets.rates() if chat.follows(rate.symbol)]
        if not followed or chat.levels.get("funding") == "off":
            return []
        followed.sort(key=lambda rate: rate.eight_hours)
        extremes = [
            f"{rate.symbol} {rate.eight_hours * 100:+z.4f} % ({rate.venue})"
            for rate in dict.fromkeys((followed[-1], followed[0]))
        ]
        return [f"<b>Funding per 8 h</b>, highest and lowest now: {text.escape(', '.join(extremes))}"]

    def _interest(self, chat: Chat, seconds: float) -> list[str]:
        if chat.levels.get("oi") == "off":
            return []
        seconds, coins = min(seconds, DAY), dict[str, dict[str, list[Interest]]]()
        for one in self.store.markets.interest(since=self.now() - seconds - 2 * INTEREST_NEAR):
            if chat.follows(one.symbol):
                coins.setdefault(one.symbol, {}).setdefault(one.venue, []).append(one)
        grown = {coin: growth(venues.values(), seconds) for coin, venues in coins.items()}
        rows = [(share, coin) for coin, share in grown.items() if share is not None]
        rows.sort(key=lambda row: -abs(row[0]))
        named = [f"{coin} {text.percent(share)}" for share, coin in rows[:TOP]]
        took = text.span(seconds)
        return [f"<b>Open interest</b>, most changed in {took}: {text.escape(', '.join(named))}"] if named else []

    def _gaps(self, chat: Chat, since: float, clock: Callable[[float], str]) -> list[str]:
        gaps = [gap for gap in self.store.markets.gaps(since=since) if chat.follows(gap.symbol)]
        lines = []
        for venue in dict.fromkeys(gap.venue for gap in gaps):
            mine = [gap for gap in gaps if gap.venue == venue]
            coins = ", ".join(sorted({gap.symbol for gap in mine}))
            start, end = min(gap.start for gap in mine), max(gap.end for gap in mine)
            missed = sum(gap.missed or 0 for gap in mine)
            number = f", {text.count(missed, 'trade')}" if missed else ""
            lines.append(f"{text.escape(venue)}: {clock(start)} to {clock(end)}, {text.escape(coins)}{number}")
        began = self.store.markets.trades_from()
        if began is None:
            lines.append("No data yet: the bot has just started.")
        elif began > since + BAR_SECONDS:
            bars = self.store.markets.one_bar_each(self.symbols, since=since)  # candles may go further back
            what = "whale orders" if any(bar.at < began - BAR_SECONDS for bar in bars) else "data"
            lines.append(f"No {what} before {clock(began)}, when the bot was first started.")
        return ["<b>Missing data</b>", *lines] if lines else []


def _top(heading: str, lines: Sequence[str]) -> list[str]:
    """The heading with the first lines, escaped, and how many there are more; nothing without a line."""
    if not lines:
        return []
    more = [f"and {text.count(len(lines) - TOP, 'more coin')} with less"] if len(lines) > TOP else []
    return [heading, *map(text.escape, lines[:TOP]), *more]
