"""What 10,000 price levels, moves or volumes of 1,000 chats cost: the time of a tick without and with them, and of
5,000 told at once.

`python -m benchmarks.levels [--ticks 60] [--trades 500]` runs the real whale monitor on four real stores, one tick of
each in turn, with ten coins whose trades come as Binance's bytes. Nothing is near enough to be told, until in the
last tick every second one is. Seconds are CPU seconds of this process. Exit code 1 when one of the three kinds costs
more than 15 % of a tick, or when another number than 5,000 is told. No network.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from base.config import Settings
from base.kinds import WhaleMin
from store import Store
from store.levels import Level
from store.rows import Chat
from venues.spot import PAGE_ROWS, BinanceSpot
from venues.trades import BAR_SECONDS, Bar
from watch.feeds import Context
from watch.whale_monitor import WhaleMonitor

COINS = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "TON")
CHATS, LEVELS = 1000, 10  # of each chat, one for each coin
PRICE, EVERY = 1000.0, 15.0
KINDS = ("price", "move", "volume")
SPANS = (300, 900, 3600, 4 * 3600, 86_400)  # of the moves, in seconds


class Tape:
    """In place of `fetch.Host`: answers with trades at about PRICE, as bytes that were made before."""

    name = "recorded"

    def __init__(self, trades: int) -> None:
        self._trades = trades
        self.now, self.price, self.quantity = 1_790_000_000.0, PRICE, 0.001
        self._next = dict.fromkeys(COINS, 3_000_001)
        self.waiting: dict[str, bytes] = {}

    def advance(self) -> None:
        """Make the trades of the next tick."""
        self.now += EVERY
        chance = random.Random(self.now)
        for coin in COINS:
            rows = []
            for number in range(self._trades):
                trade_id = self._next[coin] + number
                price = self.price * (1 + chance.uniform(-0.001, 0.001))
                row = {"a": trade_id, "p": f"{price:.8f}", "q": f"{self.quantity:.8f}", "T": int(self.now * 1000) - 9}
                rows.append(row | {"f": trade_id * 2, "l": trade_id * 2 + 1, "m": number % 2 == 0, "M": True})
            self._next[coin] += len(rows)
            self.waiting[coin] = json.dumps(rows).encode()

    def get(self, path: str, params: Any, **_: Any) -> tuple[Any, int]:
        """See Host."""
        coin = str(params.get("symbol", "")).removesuffix("USDT")
        if params.get("limit") == 1:  # the newest trade
            return json.loads(self.waiting.pop(coin))[-1:], int(self.now * 1000)
        body = self.waiting.pop(coin, b"[]") if params.get("limit") == PAGE_ROWS and "fromId" in params else b"[]"
        return json.loads(body), int(self.now * 1000)


class Bot:
    """A whale monitor on a store of its own."""

    def __init__(self, folder: Path, *, trades: int, kind: str = "") -> None:
        self.tape = Tape(trades)
        self.store = Store(folder / "bot.db", now=lambda: self.tape.now)
        with self.store.transaction():
            for chat_id in range(1, CHATS + 1):
                self.store.chats.put(Chat(chat_id=chat_id, added_by=chat_id))
                for coin in COINS if kind else ():
                    self.store.levels.add(_level(kind, chat_id, coin))
            if kind == "volume":  # usual is about as much as the ticks bring
                usd = trades * self.tape.quantity * PRICE * 10
                first = int(self.tape.now) // BAR_SECONDS * BAR_SECONDS - 3600
                for coin in COINS:
                    times = [first + BAR_SECONDS * bar - day * 86_400 for day in range(1, 5) for bar in range(24)]
                    self.store.markets.add_bars([Bar(coin, at, *(PRICE,) * 4, usd, usd) for at in times])
        venue = BinanceSpot("http://127.0.0.1")
        venue._http = self.tape  # type: ignore[assignment]
        settings = Settings(token="1:none", symbols=COINS, whale_min=WhaleMin(1e9))
        self._monitor = WhaleMonitor(Context(settings=settings, store=self.store, now=lambda: self.tape.now), [venue])

    def tick(self) -> float:
        """The CPU seconds of a tick."""
        self.tape.advance()
        began = time.process_time()
        self._monitor.tick()
        return time.process_time() - began


def _level(kind: str, chat_id: int, coin: str) -> Level:
    away = 0.02 * (1 + chat_id / CHATS)  # 2 to 4 %
    rises = chat_id % 2 == 1
    if kind == "price":
        return Level(chat_id=chat_id, symbol=coin, price=PRICE * (1 + away if rises else 1 - away)).waiting(
            PRICE, now=0
        )
    if kind == "volume":
        size = (2.5 if rises else 90.0) + chat_id / CHATS
        return Level(chat_id=chat_id, symbol=coin, kind=kind, size=size, span=3600, state="calm", repeat=True)
    direction, span = "above" if rises else "below", SPANS[chat_id % len(SPANS)]
    size = 0.01 * round(100 * away, 1)  # as people type it
    return Level(chat_id=chat_id, symbol=coin, kind="move", size=size, span=span, direction=direction, state="on")


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="What 10,000 price levels, moves or volumes cost.")
    parser.add_argument("--ticks", type=int, default=60)
    parser.add_argument("--trades", type=int, default=500, help="of each coin in a tick")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bots = []
        for kind in ("bare", *KINDS):
            (Path(folder) / kind).mkdir()
            bots.append(Bot(Path(folder) / kind, trades=options.trades, kind=kind if kind in KINDS else ""))
        taken = [[bot.tick() for bot in bots] for _ in range(options.ticks + 5)][5:]
        without, *ticks = (statistics.median(column) * 1000 for column in zip(*taken, strict=True))
        costs = [statistics.median(tick[place] - tick[0] for tick in taken) * 1000 for place in (1, 2, 3)]
        early = sum(len(bot.store.messages.alerts("prices", limit=CHATS * LEVELS)) for bot in bots)
        for bot in bots[1:]:
            bot.tape.price, bot.tape.quantity = (PRICE, 50.0) if bot is bots[3] else (PRICE * 1.041, 0.001)
        bursts = [bot.tick() * 1000 for bot in bots[1:]]
        told = [len(bot.store.messages.alerts("prices", limit=CHATS * LEVELS)) for bot in bots[1:]]
        after = [statistics.median(bot.tick() for _ in range(9)) * 1000 for bot in bots[1:]]
        for bot in bots:
            bot.store.close()
    print(
        f"Python {platform.python_version()}, {len(COINS)} coins, {options.trades} trades each, {options.ticks} ticks"
    )
    print(f"| CPU time in ms, {CHATS * LEVELS:,} of each | levels | moves | volumes |\n|---|--:|--:|--:|")
    _row(f"a tick ({without:.1f} without)", ticks)
    _row("their cost, median of the differences", costs, 2)
    _row(f"a tick in which {told[0]:,} are told", bursts, 0)
    _row("a tick after it", after)
    cheap = all(cost < 0.15 * without for cost in costs)
    return 0 if cheap and early == 0 and told == [CHATS * LEVELS // 2] * 3 else 1


def _row(name: str, values: list[float], decimals: int = 1) -> None:
    print(f"| {name} | {' | '.join(f'{value:.{decimals}f}' for value in values)} |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
