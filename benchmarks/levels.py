"""What 10,000 price levels of 1,000 chats cost: the time of a tick with and without them, and of 5,000 at once.

`python -m benchmarks.levels [--ticks 60] [--trades 500]` runs the real whale monitor on two real stores, one tick of
each in turn, with ten coins whose trades come as Binance's bytes. No level is near enough to be touched, until in the
last tick every second one is. Seconds are CPU seconds of this process. Exit code 1 when the levels cost more than 5 %
of a tick, or when another number than 5,000 is told. No network.
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

    def __init__(self, folder: Path, *, trades: int, levels: int) -> None:
        self.tape = Tape(trades)
        self.store = Store(folder / "bot.db", now=lambda: self.tape.now)
        with self.store.transaction():
            for chat_id in range(1, CHATS + 1):
                self.store.chats.put(Chat(chat_id=chat_id, added_by=chat_id))
                for coin in COINS[:levels]:
                    away = 0.02 * (1 + chat_id / CHATS)  # 2 to 4 %
                    price = PRICE * (1 + away if chat_id % 2 else 1 - away)
                    level = Level(chat_id=chat_id, symbol=coin, price=price).waiting(PRICE, now=0)
                    self.store.levels.add(level)
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


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="What 10,000 price levels of 1,000 chats cost.")
    parser.add_argument("--ticks", type=int, default=60)
    parser.add_argument("--trades", type=int, default=500, help="of each coin in a tick")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        bare = Bot(Path(first), trades=options.trades, levels=0)
        full = Bot(Path(second), trades=options.trades, levels=LEVELS)
        taken = [(bare.tick(), full.tick()) for _ in range(options.ticks + 5)][5:]
        without, with_levels = (statistics.median(column) * 1000 for column in zip(*taken, strict=True))
        cost = statistics.median(b - a for a, b in taken) * 1000
        early = len(full.store.messages.alerts("prices", limit=CHATS * LEVELS))
        full.tape.price = PRICE * 1.041
        burst = full.tick()
        told = len(full.store.messages.alerts("prices", limit=CHATS * LEVELS))
        bare.store.close()
        full.store.close()
    print(
        f"Python {platform.python_version()}, {len(COINS)} coins, {options.trades} trades each, {options.ticks} ticks"
    )
    print("| CPU time | ms |\n|---|--:|")
    print(f"| a tick without levels | {without:.1f} |\n| with {CHATS * LEVELS:,} levels | {with_levels:.1f} |")
    print(f"| their cost, median of the differences | {cost:.2f} |")
    print(f"| a tick in which {told:,} are touched | {burst * 1000:.0f} |")
    return 0 if cost < 0.05 * without and early == 0 and told == CHATS * LEVELS // 2 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
