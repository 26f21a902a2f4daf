"""How many trades a second one core turns from a venue's bytes into whale orders.

`python -m benchmarks.throughput [--runs 5] [--trades 200000] [--least 150000]` makes a busy tape (small trades on
both sides, whales of many fills) in pages of 1,000 rows as Binance sends them, and does with each page what the bot
does: JSON, all checks of all rows, ids, clustering. The baseline is `json.loads` of the same bytes, alternating with
it. Seconds are CPU seconds of this process. Exit code 1 when other whales come out than went in, or when the median
is below `--least`. No network.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from venues.spot import PAGE_ROWS, BinanceSpot
from watch.orders import Clusterer

FIRST_ID = 3_000_001
THRESHOLD = 1_000_000.0
WHALE_EVERY, WHALE_FILLS = 4000, 60  # trades from one whale to the next; fills of one


def tape(count: int) -> list[bytes]:
    """Pages of rows in Binance's form, the last one short. One whale in every full WHALE_EVERY trades."""
    chance = random.Random(1)
    at, price, rows = 1_789_308_895_000, 77_000.0, []
    for number in range(count):
        in_whale = number % WHALE_EVERY < WHALE_FILLS
        at += 0 if in_whale and number % WHALE_EVERY else chance.choice((0, 0, 1, 5, 30, 130))
        price *= 1 + chance.uniform(-1e-5, 1e-5)
        quantity = 0.5 if in_whale else chance.choice((0.0001, 0.001, 0.002, 0.01))
        sold = number // WHALE_EVERY % 2 == 0 if in_whale else chance.random() < 0.5
        row = {"a": FIRST_ID + number, "p": f"{price:.8f}", "q": f"{quantity:.8f}", "f": number * 2}
        rows.append(row | {"l": number * 2 + 1, "T": at, "m": sold, "M": True})
    return [json.dumps(rows[start : start + PAGE_ROWS]).encode() for start in range(0, count + 1, PAGE_ROWS)]


class Recorded:
    """In place of `fetch.Host`: answers each request with the next page."""

    name = "recorded"

    def __init__(self, pages: list[bytes]) -> None:
        self._pages: Iterator[bytes] = iter(pages)

    def get(self, path: str, params: Any, **_: Any) -> tuple[Any, int]:
        """See Host."""
        return json.loads(next(self._pages)), 1_799_999_999_000


def read_all(pages: list[bytes]) -> int:
    """From bytes to orders; returns how many there were."""
    source, clusterer = BinanceSpot("http://127.0.0.1"), Clusterer(threshold=THRESHOLD)
    source._http = Recorded(pages)  # type: ignore[assignment]
    cursor, orders, head = str(FIRST_ID), 0, False
    while not head:
        page = source.page("BTC", cursor)
        orders += len(clusterer.feed(page.trades))
        cursor, head = page.next_cursor, page.head
    return orders


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Trades a second, from bytes to whale orders, on one core.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--trades", type=int, default=200_000)
    parser.add_argument("--least", type=float, default=150_000, help="trades a second below which it fails")
    options = parser.parse_args(arguments)
    pages, planted = tape(options.trades), options.trades // WHALE_EVERY
    bare, whole = [], []
    for number in range(options.runs):
        began = time.process_time()
        for page in pages:
            json.loads(page)
        bare.append(options.trades / (time.process_time() - began))
        began = time.process_time()
        orders = read_all(pages)
        whole.append(options.trades / (time.process_time() - began))
        print(f"run {number + 1}: json.loads {bare[-1]:,.0f}/s, all {whole[-1]:,.0f}/s", file=sys.stderr)
        if orders != planted:
            print(f"{planted} whales were put in, {orders} came out", file=sys.stderr)
            return 1
    json_rate, rate = statistics.median(bare), statistics.median(whole)
    print(
        f"Python {platform.python_version()}, {options.trades:,} trades, {planted} whales, median of {options.runs}\n"
    )
    print("| trades a second of one core | | share |\n|---|--:|--:|")
    print(f"| `json.loads` of the same bytes | {json_rate:,.0f} | 1 |")
    print(f"| bytes to whale orders | {rate:,.0f} | {rate / json_rate:.2f} |")
    return 0 if rate >= options.least else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
