"""An alert for 1,000, 10,000 and 100,000 chats: what it costs the store, and how long a command waits meanwhile.

`python -m benchmarks.scale [--database URL] [--chats 1000 10000 100000]` takes about half a minute. Every chat wants
the alert; a thread commits one command after the other meanwhile. With `--database` the same on that PostgreSQL
server, in a database of its own. Exit code 1 when a command waited for longer than 0.5 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from access import Access, Groups
from alerts.held_back import send_due
from alerts.publish import go_on, publish
from benchmarks.growth import BEGAN, milliseconds, whale
from botapi.updates import Update
from commands.context import Context
from commands.dispatch import Commands
from commands.due import Due
from store import Store, place
from store.coins import Coins
from store.rows import Chat

LONGEST = 0.5  # seconds that a command may wait
ALLOWED = 29.1  # messages a second: 97 % of Telegram's 30 (botapi/pacing.py)


def subscribe(store: Store, chats: int) -> None:
    """Make everybody known, as after /start, a thousand at a time."""
    for start in range(1, chats + 1, 1000):
        with store.transaction():
            for chat_id in range(start, min(start + 1000, chats + 1)):
                store.chats.put(Chat(chat_id=chat_id, added_by=7, since=float(chat_id)))


def enqueue(store: Store, number: int) -> tuple[float, float, float]:
    """An alert for everybody: seconds until the first chats have it and until all have, longest wait of a command."""
    over, waits = threading.Event(), [0.0]

    def commands() -> None:
        update_id = number * 10**6
        while not over.wait(0.005):
            update_id += 1
            began = time.perf_counter()
            with store.transaction(durable=True):
                store.chats.mark_handled(update_id, now=BEGAN)
            waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=commands)
    thread.start()
    began = time.perf_counter()
    with store.transaction():
        publish(store, whale(number, BEGAN), now=BEGAN, default_min=1e6)
    first = time.perf_counter() - began
    while go_on(store, now=BEGAN):
        pass
    all_of_them = time.perf_counter() - began
    over.set()
    thread.join()
    return first, all_of_them, max(waits)


def slowest(store: Store) -> tuple[float, float]:
    """Milliseconds of the slowest command of the owner, and of the slowest job, of those that concern all chats."""
    access = Access(store, owner_id=7, allowed_users=frozenset(), now=lambda: BEGAN)
    context = Context(
        store, access, symbols=Coins(store, ("BTC",)), now=lambda: BEGAN, default_min=lambda monitor, symbol: 1e6
    )
    commands = Commands(context)

    def run(words: str) -> Callable[[], object]:
        update = Update(update_id=0, kind="message", chat_id=7, chat_kind="private", user_id=7, text=words)
        return lambda: commands.run(update)

    typed = [run(words) for words in ("/status", "/settings", "/users", "/stop @nowhere", "/deny 8")]
    groups = Groups(store, ask=lambda chat_id: [7], now=lambda: BEGAN)
    jobs = [groups.tick, access.sweep, lambda: Due(context, {}).tick(), lambda: send_due(store, now=BEGAN)]
    return max(milliseconds(one, times=3) for one in typed), max(milliseconds(one, times=3) for one in jobs)


def measure(store: Store, size: Callable[[], int], chats: int) -> list[float]:
    """The figures of ROWS."""
    subscribe(store, chats)
    empty = size()
    first, took, waited = enqueue(store, 0)
    grown = size() - empty
    kinds = milliseconds(store.chats.kinds, times=5)
    return [first, took, waited, kinds, *slowest(store), chats / ALLOWED / 60, empty / 1e6, grown / 1e6]


ROWS = (
    ("first chats have it in the queue, s", ".2f"),
    ("all chats have it in the queue, s", ".2f"),
    ("longest wait of a command, s", ".3f"),
    ("every chat's thresholds, ms", ".1f"),
    ("slowest command of the owner, ms", ".0f"),
    ("slowest job that concerns all chats, ms", ".0f"),
    ("sent to all at 29.1/s, min", ",.1f"),
    ("database before, MB", ",.1f"),
    ("and more for the alert, MB", ",.1f"),
)


def one(url: str, chats: int) -> list[float]:
    """One bot's database with so many chats. url: any of a server, "" for a file."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-")))
        if url:
            from benchmarks.own_database import own_database  # with the driver

            url = stack.enter_context(own_database(url))
        store = Store(place(url, folder / "bot.db", bot_id=1))
        stack.callback(store.close)

        def size() -> int:
            if url:
                return int(store._db.number("SELECT pg_database_size(current_database())"))
            return sum(file.stat().st_size for file in folder.iterdir())

        return measure(store, size, chats)


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="What an alert for many chats costs the store.")
    parser.add_argument("--database", default="", help="a PostgreSQL server, by the URL of any database there")
    parser.add_argument("--chats", type=int, nargs="+", default=[1000, 10_000, 100_000])
    options = parser.parse_args()
    columns = {}
    for chats in options.chats:
        for name, url in {"file": "", **({"server": options.database} if options.database else {})}.items():
            columns[f"{chats:,} chats, {name}"] = one(url, chats)
    print(f"| | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for number, (title, form) in enumerate(ROWS):
        print(f"| {title} | {' | '.join(f'{figures[number]:{form}}' for figures in columns.values())} |")
    return 1 if any(figures[2] > LONGEST for figures in columns.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
