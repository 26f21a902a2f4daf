"""Price levels: which trades touch the levels that chats set with /alert. `judge` is pure.

Every trade is judged once, as it is counted in the bars: what it did to a level, the alert, the bars and the cursor
are stored in one transaction (`keep`). So a level that is touched and left between two looks is told, and told once.
What was not read in an outage is judged by the candles that fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from alerts.publish import publish
from base import text
from store import Store
from store.levels import REARM
from store.rows import Alert, Level
from venues.spot import SpotVenue
from venues.trades import Bar, Trade

LATE = 60.0  # seconds after which an alert says that it is late


class Touch(NamedTuple):
    """A trade that brought the price to a level. level: as it was before; its state says from which side."""

    level: Level
    trade: Trade


def judge(level: Level, trades: Sequence[Trade]) -> tuple[Level, list[Touch]]:
    """What trades, in the venue's order, make of a level that waits; and the touches among them."""
    touches: list[Touch] = []
    for trade in trades:
        if trade.at_ms < level.since_ms:
            continue
        if level.state == "done" or 0 < level.expires * 1000 <= trade.at_ms:
            break
        price, state = trade.price, level.state
        if state == "rest":
            level = replace(level.waiting(price, now=0.0), since_ms=trade.at_ms)
        elif state == "away":
            if price <= level.price * (1 - REARM) and level.direction != "below":
                level = replace(level, state="above", since_ms=trade.at_ms)
            elif price >= level.price * (1 + REARM) and level.direction != "above":
                level = replace(level, state="below", since_ms=trade.at_ms)
        elif price >= level.price if state == "above" else price <= level.price:
            touches.append(Touch(level, trade))
            level = _told(level, trade.at_ms)
    return level, touches


def _told(level: Level, at_ms: int) -> Level:
    """The level after a touch at that time."""
    level = replace(level, touched_ms=at_ms)
    if level.cooldown:
        return level.resting(at_ms / 1000 + level.cooldown)
    return replace(level, state="away" if level.repeat else "done", since_ms=at_ms)


def as_trades(bars: Sequence[Bar], venue: str) -> list[Trade]:
    """Bars of what was not read, as trades without a number at the bar's start: its low is first if it rose."""
    return [
        Trade(venue, bar.symbol, 0, price, 0.0, "", bar.at * 1000)
        for bar in bars
        for price in (bar.open, *sorted((bar.low, bar.high), reverse=bar.close < bar.open), bar.close)
    ]


@dataclass
class Moves:
    """What trades did to levels since the last commit. levels: by number, as stored and as they are now.

    touches: each with its venue and the venue's clock, unix seconds. last: the newest price of each coin.
    """

    levels: dict[int, tuple[Level, Level]] = field(default_factory=dict)
    touches: list[tuple[Touch, SpotVenue, float]] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)

    def look(self, store: Store, trades: Sequence[Trade], venue: SpotVenue, clock: float) -> None:
        """Judge one coin's trades. Raises StoreError."""
        symbol = trades[0].symbol
        prices = [trade.price for trade in trades]
        self.last[symbol] = prices[-1]
        near = store.levels.within(symbol, min(prices), max(prices), newest_ms=trades[-1].at_ms)
        found = {level.id: level for level in near}
        found |= {number: now for number, (_, now) in self.levels.items() if now.symbol == symbol}
        for number, level in found.items():
            after, touches = judge(level, trades)
            if after != level:
                self.levels[number] = (self.levels[number][0] if number in self.levels else level, after)
                self.touches += [(touch, venue, clock) for touch in touches]

    def keep(self, store: Store, *, now: float) -> None:
        """Store what became of the levels, with the alerts. In the transaction that counts the trades as read."""
        kept = {number for number, (before, after) in self.levels.items() if store.levels.move(before, after)}
        for touch, venue, clock in self.touches:
            if touch.level.id in kept:
                alert = _alert(touch, venue, last=self.last[touch.level.symbol], clock=clock)
                publish(store, alert, now=now, default_min=0.0, only=touch.level.chat_id)


def _alert(touch: Touch, venue: SpotVenue, *, last: float, clock: float) -> Alert:
    level, trade = touch
    rose = level.state == "above"
    words = f"{level.symbol} {'rose' if rose else 'fell'} to {text.price(level.price)}"
    facts = []
    if not trade.trade_id:
        facts.append("in the five minutes from that time, when the bot was not reading")
    elif trade.price != level.price:
        facts.append(f"first trade at {text.price(trade.price, beside=level.price)}")
    if trade.trade_id and (last < level.price if rose else last > level.price):
        facts.append(f"now {text.price(last, beside=level.price)}")
    return Alert(
        key=level.alert_key(trade.venue, trade.trade_id or trade.at_ms),
        monitor="prices",
        symbol=level.symbol,
        side="",
        usd=0.0,
        headline=f"{words}: {level.note}" if level.note else words,  # a list shows headlines only
        facts=" · ".join(facts),
        at_ms=trade.at_ms,
        venue=trade.venue,
        url=venue.url(level.symbol),
        price=trade.price,
        late=clock - trade.at_ms / 1000 > LATE,
        topic=level.topic,
    )
