"""Moves: by how much a coin rose or fell within a time that chats set with /alert. Pure but for `Windows`.

A move of 5 % in 1 h is a trade that is 5 % above (or below) the lowest (highest) trade of the hour before it, by the
times of the trades: what nobody traded or nobody read is no move. Once it was told, trades from before do not count
any more, so that each move is told once, and one that goes on is told again after as much again.

Accuracy: while the bot runs, every trade counts with its time. What is older than its start is known from the bars:
their lows and highs count as traded at the bar's start, up to five minutes early, so that a window can be too short
by that and never too long. The trades by which moves were told are known with their times. Each exchange has its own
windows, because their prices differ.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from store import Store
from store.levels import Level
from store.rows import ANY_TOPIC
from venues.trades import Bar, Trade
from watch.levels import Point, Touch

WEEK_MS = 7 * 86_400_000  # the longest span
MOST_POINTS = 4000  # of a trail: a random price has about a thousand in a week
IN_A_PAGE = 8  # extremes of a page that are looked for at the speed of C
NEARLY = 1e-9  # of a price, so that 102.3 is 2.3 % above 100
NEVER = -2  # a time before all others, and not the millisecond before one
CLOSE = 1e-6  # so that rounding excludes nothing from a closer look


class Seen(NamedTuple):
    """Trades of one coin at one exchange, with their prices."""

    trades: Sequence[Trade]
    prices: list[float]
    low: float
    high: float


class Trail:
    """The lows (sign 1) or highs (-1) that a window may begin with: each is beyond all that was traded after it."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._points: list[tuple[int, float, bool]] = []  # time, sign times price, rough; ascending in both

    def __len__(self) -> int:
        return len(self._points)

    def add(self, at_ms: int, price: float, *, rough: bool = False) -> None:
        """Add the newest trade."""
        points, value = self._points, self._sign * price
        while points and points[-1][1] >= value:
            points.pop()
        points.append((max(at_ms, points[-1][0]) if points else at_ms, value, rough))
        if len(points) > MOST_POINTS:
            del points[1 : MOST_POINTS // 2 : 2]

    def add_all(self, seen: Seen) -> None:
        """Add trades: what is kept is the same as if each were added."""
        trades, turned, start = seen.trades, seen.prices[::-1], 0
        extreme, price = (min, seen.low) if self._sign > 0 else (max, seen.high)
        for _ in range(IN_A_PAGE):
            place = start + len(turned) - 1 - turned.index(price)
            self.add(trades[place].at_ms, price)
            start = place + 1
            if start == len(trades):
                break
            turned = turned[: len(trades) - start]
            price = extreme(turned)
        for trade in trades[start:]:
            self.add(trade.at_ms, trade.price)
        if self._points[0][0] < trades[-1].at_ms - WEEK_MS:
            del self._points[: bisect_left(self._points, (trades[-1].at_ms - WEEK_MS,))]

    def merge(self, points: Iterable[Point]) -> None:
        """Add older trades."""
        mine = [Point(at_ms, self._sign * value, rough) for at_ms, value, rough in self._points]
        self._points = []
        for at_ms, price, rough in sorted([*mine, *points], key=itemgetter(0)):
            self.add(at_ms, price, rough=rough)

    def first(self, since_ms: int) -> Point | None:
        """The lowest (highest) trade since then."""
        place = bisect_left(self._points, (since_ms,))
        if place == len(self._points):
            return None
        at_ms, value, rough = self._points[place]
        return Point(at_ms, self._sign * value, rough)

    def latest(self, price: float) -> int:
        """When it was last at this price or beyond, unix ms; NEVER if it was not."""
        value = self._sign * price
        place = bisect_right(self._points, value + abs(value) * CLOSE, key=itemgetter(1))
        return self._points[place - 1][0] if place else NEVER


class Reach(NamedTuple):
    """How far trades may have moved in a span: up to `most`, begun at these times (NEVER: not in this direction)."""

    most: float
    rose_ms: int
    fell_ms: int


class Window:
    """What is known of the last week of a coin at one exchange."""

    def __init__(self) -> None:
        self.lows, self.highs = Trail(1), Trail(-1)

    def add_all(self, seen: Seen) -> None:
        """Add the newest trades."""
        self.lows.add_all(seen)
        self.highs.add_all(seen)

    def merge(self, bars: Sequence[Bar], trades: Sequence[Point] = ()) -> None:
        """Add bars and trades from before the newest trade."""
        self.lows.merge([*(Point(bar.at * 1000, bar.low, True) for bar in bars), *trades])
        self.highs.merge([*(Point(bar.at * 1000, bar.high, True) for bar in bars), *trades])

    def reach(self, seen: Seen, span: int, least: float) -> Reach | None:
        """The most that trades, not in it yet, may have moved in so many seconds; None if less than `least`."""
        (trades, _, low, high), since = seen, seen.trades[0].at_ms - span * 1000
        lowest, highest = self.lows.first(since), self.highs.first(since)
        rose = high / min(low, lowest.price if lowest else low) - 1
        fell = 1 - low / max(high, highest.price if highest else high)
        rose_ms = fell_ms = NEVER
        if rose >= least - NEARLY:
            rose_ms = trades[-1].at_ms if high / low - 1 >= least - CLOSE else self.lows.latest(high / (1 + least))
        if fell >= least - NEARLY:
            fell_ms = trades[-1].at_ms if 1 - low / high >= least - CLOSE else self.highs.latest(low / (1 - least))
        return Reach(max(rose, fell) + NEARLY, rose_ms, fell_ms) if max(rose_ms, fell_ms) >= 0 else None

    def judge(self, moves: Sequence[Level], trades: Sequence[Trade]) -> list[tuple[Level, Level, list[Touch]]]:
        """Add trades one by one; each move that waits, what they make of it, and what is to be told of it."""
        alike: dict[Level, list[Level]] = {}  # of a thousand chats most have set the same few
        for level in moves:
            alike.setdefault(replace(level, id=0, chat_id=0, note="", topic=ANY_TOPIC), []).append(level)
        states: dict[Level, tuple[Level, list[Touch]]] = {level: (level, []) for level in alike}
        for trade in trades:
            self.lows.add(trade.at_ms, trade.price)
            self.highs.add(trade.at_ms, trade.price)
            starts: dict[int, tuple[Point, Point]] = {}
            for begun, (level, told) in states.items():
                if level.state == "on" and level.since_ms <= trade.at_ms:
                    since = max(trade.at_ms - level.span * 1000, level.since_ms)
                    if since not in starts:
                        starts[since] = self._starts(since)
                    touch = _touch(level, trade, *starts[since])
                    if touch is not None:
                        states[begun] = (_told(level, trade), [*told, touch])
        return [
            (
                level,
                replace(after, id=level.id, chat_id=level.chat_id, note=level.note, topic=level.topic),
                [touch._replace(level=level) for touch in told],
            )
            for begun, (after, told) in states.items()
            if told
            for level in alike[begun]
        ]

    def _starts(self, since_ms: int) -> tuple[Point, Point]:
        low, high = self.lows.first(since_ms), self.highs.first(since_ms)
        assert low is not None and high is not None, "the newest trade is in both"
        return low, high


def _touch(level: Level, trade: Trade, low: Point, high: Point) -> Touch | None:
    """What the newest trade is to a move: its end, or nothing. low, high: since it counts."""
    if 0 < level.expires * 1000 <= trade.at_ms:
        return None
    if level.price and level.touched_ms >= trade.at_ms - level.span * 1000:
        told = Point(level.touched_ms, level.price)
        low, high = (told if told.price < low.price else low), (told if told.price > high.price else high)
    if level.direction != "below" and trade.price / low.price - 1 >= level.size - NEARLY:
        return Touch(level, trade, low)
    if level.direction != "above" and 1 - trade.price / high.price >= level.size - NEARLY:
        return Touch(level, trade, high)
    return None


def _told(level: Level, trade: Trade) -> Level:
    """The move after it was told: it counts from that trade on, or after its rest."""
    level = replace(level, touched_ms=trade.at_ms, price=trade.price, since_ms=trade.at_ms + 1)
    if level.cooldown:
        return level.resting(trade.at_ms / 1000 + level.cooldown)
    return level if level.repeat else replace(level, state="done")


class Windows:
    """The windows of all coins that have moves, by exchange. For one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._windows: dict[tuple[str, str], Window] = {}

    def of(self, venue: str, symbol: str, *, at_ms: int) -> Window:
        """The window of a coin, at first from the bars since another exchange was read. Raises StoreError.

        at_ms: of the first trade that is not in the bars yet.
        """
        window = self._windows.get((venue, symbol))
        if window is None:
            since = max((at_ms - WEEK_MS) / 1000, self._store.markets.read_elsewhere(symbol, venue))
            window = Window()
            bars = [bar for bar in self._store.markets.bars(symbol, since=since) if bar.at * 1000 <= at_ms]
            window.merge(bars, [Point(*told) for told in self._store.levels.told(symbol, since_ms=int(since * 1000))])
            self._windows[venue, symbol] = window
        return window

    def fill(self, venue: str, symbol: str, bars: Sequence[Bar]) -> None:
        """These bars of what was not read are known now."""
        if (venue, symbol) in self._windows:
            self._windows[venue, symbol].merge(bars)

    def forget(self, symbol: str) -> None:
        """Forget a coin: what is known of it when it comes back, the bars tell."""
        self.keep({key[1] for key in self._windows} - {symbol})

    def keep(self, symbols: Collection[str]) -> None:
        """Forget all other coins."""
        self._windows = {key: window for key, window in self._windows.items() if key[1] in symbols}
