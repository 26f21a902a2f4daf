"""The database after a year of use: its size, and how long the frequent queries take.

`python -m benchmarks.growth [--days 365] [--alerts 1000] [--chats 5]` plays one day after the other on the real store
with an injected clock: alerts published and sent, commands handled, bars kept, one chat muted, pruned once a day as
the bot does. It takes about two seconds per day. Exit code 1 when the files exceed 100 MB, when they still grow after
the second month, or when a query takes too long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from alerts.publish import publish
from store import Store
from store.rows import Alert, Chat
from venues.trades import Bar

BEGAN = 1_735_689_600.0  # 2025-01-01
DAY = 86400.0
COINS = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "TON")
COMMANDS = 200  # a day
MOST = 100 * 1000 * 1000  # bytes


def whale(number: int, at: float) -> Alert:
    """The alert of one whale order."""
    coin = COINS[number % len(COINS)]
    return Alert(
        key=f"Binance spot:{coin}:{3_000_000_000 + number}",
        monitor="whales",
        symbol=coin,
        side="buy" if number % 3 else "sell",
        usd=1e6 + number % 1000 * 5e3,
        headline=f"{coin} buy 2.31M USD at 64,210",
        facts="38 fills in 0.2 s · price 64,250 → 64,190",
        at_ms=int(at * 1000),
        venue="Binance spot",
        url=f"https://www.binance.com/en/trade/{coin}_USDT?type=spot",
        price=64_210.0,
    )


def live(store: Store, day: int, *, a_day: int) -> None:
    """One day: new rows are kept, waiting messages are sent."""
    for number in range(a_day):
        now = BEGAN + (day + number / a_day) * DAY
        with store.transaction():
            publish(store, whale(day * a_day + number, now), now=now, default_min=1e6)
        if number % 20 == 0:
            deliver(store, now)
    midnight = BEGAN + day * DAY
    with store.transaction():
        for number in range(COMMANDS):
            store.chats.mark_handled(day * COMMANDS + number, now=midnight)
            store.messages.enqueue(1, "sendMessage", {"text": "x" * 400}, now=midnight)
        for number in range(288):
            bars = [Bar(coin, int(midnight) + 300 * number, 1.5, 2.5, 0.5, 1.25, 1e6, 2e6) for coin in COINS]
            store.markets.add_bars(bars)
        for coin in COINS:
            store.markets.set_cursor("Binance spot", coin, f"{day} 1 2 3", at=midnight)
    deliver(store, BEGAN + (day + 1) * DAY)


def deliver(store: Store, now: float) -> None:
    """Mark all waiting messages as sent."""
    with store.transaction():
        for delivery_id, _, _ in store.pending():
            delivery = store.delivery(delivery_id)
            if delivery is not None:
                store.messages.settle_all([(delivery, delivery_id)], now=now)


def milliseconds(ask: Callable[[], object], *, times: int = 20) -> float:
    """The median time of a call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def prune(store: Store, now: float) -> tuple[float, float]:
    """Prune. Returns the seconds it took, and the longest wait of a command meanwhile."""
    over = threading.Event()
    waits = [0.0]

    def commands() -> None:
        while not over.wait(0.002):
            began = time.perf_counter()
            with store.transaction():
                store.set_value("mark", str(began))
            waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=commands)
    thread.start()
    began = time.perf_counter()
    store.prune(now=now)
    took = time.perf_counter() - began
    over.set()
    thread.join()
    return took, max(waits)


def queries(store: Store, now: float) -> dict[str, float]:
    """The frequent queries and their milliseconds (median)."""
    number = iter(range(10**9, 2 * 10**9))

    def publish_one() -> None:
        with store.transaction():
            publish(store, whale(next(number), now), now=now, default_min=1e6)

    return {
        "publish an alert": milliseconds(publish_one),
        "what waits (outbox)": milliseconds(lambda: store.pending(after=10**12)),
        "counts of a day (/status)": milliseconds(lambda: store.messages.counts(since=now - DAY)),
        "the latest 5 (/whales)": milliseconds(lambda: store.messages.alerts("whales")),
        "the latest 5 of a coin": milliseconds(lambda: store.messages.alerts("whales", "BTC")),
        "history of a chat": milliseconds(lambda: store.history.newest(1, limit=10)),
        "alerts of a day (digest)": milliseconds(lambda: store.messages.alerts_between(now - DAY, now)),
        "bars of 24 h (chart)": milliseconds(lambda: store.markets.bars("BTC", since=now - DAY)),
        "messages of an hour (cap)": milliseconds(lambda: store.fan_out.made_between([1], now - 3600, now)),
        "an update is marked": milliseconds(lambda: store.chats.mark_handled(next(number), now=now)),
    }


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="The database after a year of use.")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--alerts", type=int, default=1000, help="a day")
    parser.add_argument("--chats", type=int, default=5)
    options = parser.parse_args()
    problems = []
    with tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-") as folder:
        path = Path(folder) / "bot.db"
        store = Store(path)
        for chat_id in range(1, options.chats + 1):
            store.chats.put(Chat(chat_id=chat_id, added_by=chat_id))
        sizes, prunes = [], []
        for day in range(options.days):
            store.chats.put(Chat(chat_id=100, added_by=1, muted_until=BEGAN + (day + 2) * DAY))
            live(store, day, a_day=options.alerts)
            prunes.append(prune(store, BEGAN + (day + 1) * DAY))
            sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
            if day % 30 == 29:
                print(f"day {day + 1}: {sizes[-1] / 1e6:.1f} MB", file=sys.stderr, flush=True)
        now = BEGAN + options.days * DAY
        print(f"{'largest size, MB':>32} {max(sizes) / 1e6:,.1f}")
        print(f"{'size at the end, MB':>32} {sizes[-1] / 1e6:,.1f}")
        print(f"{'pruning of a day, s (median)':>32} {statistics.median(took for took, _ in prunes):.2f}")
        print(f"{'longest wait meanwhile, ms':>32} {max(wait for _, wait in prunes) * 1000:.0f}")
        began = time.perf_counter()
        store.close()
        store = Store(path)
        print(f"{'opening, ms':>32} {(time.perf_counter() - began) * 1000:.0f}")
        for name, took in queries(store, now).items():
            print(f"{name + ', ms':>32} {took:.2f}")
            if took > 100:
                problems.append(f"{name}: {took:.0f} ms")
        store.close()
    if max(sizes) > MOST:
        problems.append(f"the files exceed {MOST / 1e6:.0f} MB")
    if len(sizes) > 62 and max(sizes[62:]) > 1.05 * max(sizes[:62]):
        problems.append("the files still grow after two months")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
