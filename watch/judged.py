"""What trades did to the levels and moves of chats, until it is stored with the alerts.

Every trade is judged once, as it is counted in the bars: what it did to a level, the alert, the bars and the cursor
are stored in one transaction (`keep`). So a level that is touched and left between two looks is told, and told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alerts.publish import publish
from base import text
from store import Store
from store.levels import Level
from store.rows import Alert
from venues.spot import SpotVenue
from venues.trades import Trade
from watch.levels import Touch, judge
from watch.moves import Seen, Windows

LATE = 60.0  # seconds after which an alert says that it is late


@dataclass
class Judged:
    """What trades did to levels since the last commit. levels: by number, as stored and as they are now.

    touches: each with its venue and the venue's clock, unix seconds. last: the newest price of each coin.
    """

    levels: dict[int, tuple[Level, Level]] = field(default_factory=dict)
    touches: list[tuple[Touch, SpotVenue, float]] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)

    def look(
        self, store: Store, trades: Sequence[Trade], venue: SpotVenue, clock: float, windows: Windows | None = None
    ) -> None:
        """Judge one coin's trades; moves only with the windows, which take them in. Raises StoreError."""
        symbol = trades[0].symbol
        prices = [trade.price for trade in trades]
        self.last[symbol] = prices[-1]
        seen = Seen(trades, prices, min(prices), max(prices))
        near = store.levels.within(symbol, seen.low, seen.high, newest_ms=trades[-1].at_ms)
        for level in self._as_now(near, symbol, "price"):
            self._note(level, *judge(level, trades), venue, clock)
        if windows is not None:
            for level, after, touches in self._moves(store, seen, windows):
                self._note(level, after, touches, venue, clock)

    def _moves(self, store: Store, seen: Seen, windows: Windows) -> list[tuple[Level, Level, list[Touch]]]:
        first = seen.trades[0]
        venue, symbol = first.venue, first.symbol
        spans = store.levels.spans(symbol)
        if not spans:
            windows.forget(symbol)
            return []
        window = windows.of(venue, symbol, at_ms=first.at_ms)
        near: list[Level] = []
        for span, least in spans:
            reach = window.reach(seen, span, least)
            if reach is not None:
                near += store.levels.moves(
                    symbol, span, most=reach.most, rose_ms=reach.rose_ms, fell_ms=reach.fell_ms
                )
        moves = self._as_now(near, symbol, "move")
        if not moves:
            window.add_all(seen)
            return []
        return window.judge(moves, seen.trades)

    def _as_now(self, stored: Iterable[Level], symbol: str, kind: str) -> list[Level]:
        """These levels and those that were judged since the last commit, as they are now."""
        found = {level.id: level for level in stored}
        found |= {id_: now for id_, (_, now) in self.levels.items() if (now.symbol, now.kind) == (symbol, kind)}
        return list(found.values())

    def _note(self, level: Level, after: Level, touches: list[Touch], venue: SpotVenue, clock: float) -> None:
        if after != level:
            self.levels[level.id] = (self.levels[level.id][0] if level.id in self.levels else level, after)
            self.touches += [(touch, venue, clock) for touch in touches]

    def keep(self, store: Store, *, now: float) -> None:
        """Store what became of the levels, with the alerts. In the transaction that counts the trades as read."""
        kept = {number for number, (before, after) in self.levels.items() if store.levels.move(before, after)}
        for touch, venue, clock in self.touches:
            if touch.level.id in kept:
                alert = _alert(touch, venue, last=self.last[touch.level.symbol], clock=clock)
                publish(store, alert, now=now, default_min=0.0, only=touch.level.chat_id)


def _alert(touch: Touch, venue: SpotVenue, *, last: float, clock: float) -> Alert:
    level, trade = touch.level, touch.trade
    words, facts = _move(touch, last) if level.kind == "move" else _touch(touch, last)
    return Alert(
        key=level.alert_key(trade.venue, trade.trade_id or trade.at_ms),
        monitor="prices",
        symbol=level.symbol,
        headline=f"{words}: {level.note}" if level.note else words,  # a list shows headlines only
        facts=" · ".join(facts),
        at_ms=trade.at_ms,
        venue=trade.venue,
        url=venue.url(level.symbol),
        price=trade.price,
        late=clock - trade.at_ms / 1000 > LATE,
        topic=level.topic,
    )


def _touch(touch: Touch, last: float) -> tuple[str, list[str]]:
    level, trade = touch.level, touch.trade
    rose = level.state == "above"
    facts = []
    if not trade.trade_id:
        facts.append("in the five minutes from that time, when the bot was not reading")
    elif trade.price != level.price:
        facts.append(f"first trade at {text.price(trade.price, beside=level.price)}")
    if trade.trade_id and (last < level.price if rose else last > level.price):
        facts.append(f"now {text.price(last, beside=level.price)}")
    return f"{level.symbol} {'rose' if rose else 'fell'} to {text.exact(level.price)}", facts


def _move(touch: Touch, last: float) -> tuple[str, list[str]]:
    level, trade, start = touch.level, touch.trade, touch.start
    assert start is not None
    rose = trade.price > start.price
    share = abs(trade.price / start.price - 1)
    moved = f"{'rose' if rose else 'fell'} {share * 100:.{2 if share < 0.01 else 1}f} %"
    lasted = f"{'about ' if start.rough else ''}{text.duration(max(0, trade.at_ms - start.at_ms) / 1000)}"
    began, ended = text.price(start.price, beside=trade.price), text.price(trade.price, beside=start.price)
    facts = [f"{'low' if rose else 'high'} {began} · {'high' if rose else 'low'} {ended}"]
    if last != trade.price:
        facts.append(f"now {text.price(last, beside=trade.price)}")
    return f"{level.symbol} {moved} in {lasted}", facts
