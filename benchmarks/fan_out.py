"""One whale alert to a thousand chats, in real time: the whole bot against the simulator with Telegram's limits on.

`python -m benchmarks.fan_out [--chats 1000] [--groups 50] [--database URL [--round-trip 20]]` takes about 75 s. With
`--database` the bot keeps its data on that PostgreSQL server, in a database of its own that is dropped afterwards,
`--round-trip` milliseconds away. The simulator refuses with 429 more than
30 messages a second overall, 1 a second in a chat, 20 a minute in a group. Two coins have a whale within a second, so
each chat gets two messages, in this order; meanwhile the owner sends `/ping`. Exit code 1 when a chat got too few,
too many or in another order, when a message was refused, or when the pace was below 95 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.rig import OWNER, Failed, Rig, resident_mib, rest, rig
from simulation.account import SimBot
from store import Store, place
from store.rows import Chat

ALLOWED = 30.0  # messages a second (Bot API FAQ)
COINS = ("BTC", "ETH")
SETTINGS = {"SYMBOLS": ",".join(COINS), "WHALE_MIN_USD": "1m", "WHALE_INTERVAL": "0.5", "SEND_RATE": "30"}


def subscribe(url: str, file: Path, sim: SimBot, chats: list[int]) -> None:
    """Make everybody known to the bot, as after /start."""
    file.parent.mkdir(parents=True)
    store = Store(place(url, file, bot_id=sim.id))
    with store.transaction():
        for number, chat_id in enumerate(chats):
            kind = "private" if chat_id > 0 else "group"
            sim.add_chat(chat_id, chat_type=kind)
            store.chats.put(Chat(chat_id=chat_id, kind=kind, added_by=OWNER, since=float(number)))
    store.close()


def measure(bot: Rig, chats: list[int], url: str) -> tuple[dict[str, float], list[str]]:
    """One run: its figures, and what was wrong. Raises Failed when it does not come to its end."""
    account = bot.account
    subscribe(url, bot.folder / "bot.db", account, chats)
    account.limits()
    bot.start()
    bot.wait_reading(len(COINS))
    memory = [resident_mib(bot.pid)]
    began = time.time()
    for coin in COINS:
        bot.sim.market.sweep("binance", coin, "buy", usd=3_000_000)
        rest(0.7)
    wanted = 2 * len(chats)
    bot.wait(lambda: account.delivered >= wanted // 3, wanted / ALLOWED, what="a third of the messages")
    memory.append(resident_mib(bot.pid))
    asked = time.time()
    account.send_text(OWNER, "/ping middle")
    pong = account.wait_text("pong middle", chat_id=OWNER, timeout=10).at - asked
    # A group may get 20 a minute only, so its second message may come some seconds late.
    bot.wait(lambda: account.delivered > wanted, wanted / ALLOWED + 30, what="all messages")
    memory.append(resident_mib(bot.pid))
    rest(2.0)  # duplicates would arrive now
    return judge(account, chats, began, pong, memory)


def judge(
    account: SimBot, chats: list[int], began: float, pong: float, memory: list[float]
) -> tuple[dict[str, float], list[str]]:
    """The figures of a run, and what was wrong."""
    alerts = [sent for sent in account.sent if sent.chat_id != OWNER]
    times = [sent.at for sent in alerts]
    per_second = Counter(int(at - times[0]) for at in times)
    full_seconds = [per_second[second] for second in range(1, int(times[-1] - times[0]) - 1)]
    rate = (len(times) - 1) / (times[-1] - times[0])
    figures = {
        "messages": len(alerts),
        "first after, s": times[0] - began,
        "messages/s": rate,
        "share of the allowed 30/s, %": 100 * rate / ALLOWED,
        "median of a second": statistics.median(full_seconds or [rate]),
        "refused with 429": account.chats.flood_refused,
        "/ping in the middle, s": pong,
        "memory before, MiB": memory[0],
        "memory in the middle, MiB": memory[1],
        "memory after, MiB": memory[2],
    }
    problems = []
    for chat_id in chats:
        got = [next(coin for coin in COINS if coin in sent.text) for sent in alerts if sent.chat_id == chat_id]
        if got != list(COINS):
            problems.append(f"chat {chat_id} got {got}")
    if account.chats.flood_refused:
        problems.append("the limits were hit")
    if rate < 0.95 * ALLOWED:
        problems.append("slower than 95 % of what is allowed")
    if pong > 2.0:
        problems.append("/ping waited for more than 2 s")
    return figures, problems


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="One whale alert to many chats, with Telegram's limits on.")
    parser.add_argument("--chats", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=50, help="how many of them are groups")
    parser.add_argument("--database", help="a PostgreSQL server, by the URL of any database there; without: a file")
    parser.add_argument("--round-trip", type=float, default=0.0, help="milliseconds to that server and back")
    options = parser.parse_args()
    chats = [-number if number <= options.groups else 10_000 + number for number in range(1, options.chats + 1)]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-"))
        url, settings = "", SETTINGS
        if options.database:
            from benchmarks.own_database import far, own_database  # and the driver

            url = stack.enter_context(own_database(options.database))
            settings = SETTINGS | {"DATABASE_URL": stack.enter_context(far(url, options.round_trip / 1000))}
        try:
            with rig(Path(folder), conflict_hold=3.0, **settings) as bot:
                figures, problems = measure(bot, chats, url)
        except (AssertionError, Failed) as error:
            print(error, file=sys.stderr)
            return 1
    for name, value in figures.items():
        print(f"{name:>32} {value:,.2f}")
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
