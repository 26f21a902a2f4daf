"""What 10,000 price levels or moves of 1,000 chats cost: the time of a tick with and without them, and of 5,000 at
once.

`python -m benchmarks.levels [--ticks 60] [--trades 500]` runs the real whale monitor on three real stores, one tick
of each in turn, with ten coins whose trades come as Binance's bytes: without, with levels, with moves. No level is
near enough to be touched, and the price moves too little, until in the last tick every second one is told. Seconds
are CPU seconds of this process. Exit code 1 when the levels cost more than 5 % of a tick or the moves more than 10 %,
or when another number than 5,000 is told. No network.
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
from store.rows import Chat, Level
from venues.spot import PAGE_ROWS, BinanceSpot
from watch.feeds import Context
from watch.whale_monitor import WhaleMonitor

COINS = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "TON")
CHATS, LEVELS = 1000, 10  # of each chat, one for each coin
PRICE, EVERY = 1000.0, 15.0
SPANS = (300, 900, 3600, 4 * 3600, 86_400)  # of the moves, in seconds


class Tape:
    """In place of `fetch.Host`: answers with trades at about PRICE, as bytes that were made before."""

    name = "recorded"

    def __init__(self, trades: int) -> None:
        self._trades = trades
        self.now, self.price = 1_790_000_000.0, PRICE
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
                row = {"a": trade_id, "p": f"{price:.8f}", "q": "0.00100000", "T": int(self.now * 1000) - 9}
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
        venue = BinanceSpot("http://127.0.0.1")
        venue._http = self.tape  # type: ignore[assignment]
        settings = Settings(token="1:none", symbols=COINS, whale_min=WhaleMin(1e6))
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
    direction, span = "above" if rises else "below", SPANS[chat_id % len(SPANS)]
    size = 0.01 * round(100 * away, 1)  # as people type it
    return Level(chat_id=chat_id, symbol=coin, kind="move", size=size, span=span, direction=direction, state="on")


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="What 10,000 price levels of 1,000 chats cost.")
    parser.add_argument("--ticks", type=int, default=60)
    parser.add_argument("--trades", type=int, default=500, help="of each coin in a tick")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bots = []
        for kind in ("", "price", "move"):
            (Path(folder) / f"of-{kind}").mkdir()
            bots.append(Bot(Path(folder) / f"of-{kind}", trades=options.trades, kind=kind))
        taken = [[bot.tick() for bot in bots] for _ in range(options.ticks + 5)][5:]
        ticks = [statistics.median(column) * 1000 for column in zip(*taken, strict=True)]
        costs = [statistics.median(tick[place] - tick[0] for tick in taken) * 1000 for place in (1, 2)]
        early = sum(len(bot.store.messages.alerts("prices", limit=CHATS * LEVELS)) for bot in bots)
        for bot in bots[1:]:
            bot.tape.price = PRICE * 1.041
        bursts = [bot.tick() * 1000 for bot in bots[1:]]
        told = [len(bot.store.messages.alerts("prices", limit=CHATS * LEVELS)) for bot in bots[1:]]
        after = statistics.median(bots[2].tick() for _ in range(9)) * 1000
        for bot in bots:
            bot.store.close()
    print(
        f"Python {platform.python_version()}, {len(COINS)} coins, {options.trades} trades each, {options.ticks} ticks"
    )
    print(f"| CPU time in ms, {CHATS * LEVELS:,} of each | levels | moves |\n|---|--:|--:|")
    print(f"| a tick ({ticks[0]:.1f} without) | {ticks[1]:.1f} | {ticks[2]:.1f} |")
    print(f"| their cost, median of the differences | {costs[0]:.2f} | {costs[1]:.2f} |")
    print(f"| a tick in which {told[0]:,} and {told[1]:,} are told | {bursts[0]:.0f} | {bursts[1]:.0f} |")
    print(f"| a tick after it, while the moves last | | {after:.1f} |")
    cheap = costs[0] < 0.05 * ticks[0] and costs[1] < 0.1 * ticks[0]
    return 0 if cheap and early == 0 and told == [CHATS * LEVELS // 2] * 2 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
