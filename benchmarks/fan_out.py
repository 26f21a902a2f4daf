"""Measures one whale alert to a thousand chats, in real time: the whole bot against the simulator with limits on.

`python benchmarks/fan_out.py [--chats 1000] [--groups 50]` takes about 75 s. The simulator refuses with 429 whatever
is above 30 messages a second overall, 1 a second in a chat and 20 a minute in a group. Two coins have a whale within
a second, so every chat gets two messages, in this order. In the middle the owner says `/ping`. Exit code 1 when a
chat got too little, too much or in another order, when anything was refused, or when the pace was below 95 %.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the benchmark is run as a script of its own folder

from simulation.account import SimBot  # noqa: E402
from simulation.simulator import Simulator  # noqa: E402
from store import Store  # noqa: E402
from store.rows import Chat  # noqa: E402

OWNER = 7
ALLOWED = 30.0  # messages a second (Bot API FAQ)
COINS = ("BTC", "ETH")
VENUES = ("binance", "binance_api", "coinbase", "kraken")
KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE", "LOCALAPPDATA", "LD_LIBRARY_PATH")
BELL = threading.Event()


def rest(seconds: float) -> None:
    BELL.wait(seconds)


def subscribe(database: Path, sim: SimBot, chats: list[int]) -> None:
    """Everybody has written to the bot once and said /start."""
    database.parent.mkdir(parents=True)
    store = Store(database)
    with store.transaction():
        for number, chat_id in enumerate(chats):
            kind = "private" if chat_id > 0 else "group"
            sim.add_chat(chat_id, chat_type=kind)
            store.chats.put(Chat(chat_id=chat_id, kind=kind, added_by=OWNER, since=float(number)))
    store.close()


@contextmanager
def running(sim: Simulator, token: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The bot as a process of its own; its output goes to `output.txt`. Gone when the block ends."""
    (folder / "empty.env").touch()
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
        "TELEGRAM_BOT_TOKEN": token,
        "TELEGRAM_API_URL": sim.url,
        "OWNER_ID": str(OWNER),
        "DATA_DIR": str(folder / "data"),
        "SYMBOLS": ",".join(COINS),
        "WHALE_MIN_USD": "1m",
        "WHALE_INTERVAL": "0.5",
        **{f"{venue.upper()}_URL": sim.market_url(venue) for venue in VENUES},
    }
    command = [sys.executable, str(ROOT / "bot.py"), "--env-file", str(folder / "empty.env")]
    with (
        (folder / "output.txt").open("wb") as output,
        subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as bot,
    ):
        try:
            yield bot
        finally:
            bot.kill()


def resident_mib(pid: int) -> float:
    """Resident memory, 0 where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def measure(chats: list[int], folder: Path) -> tuple[dict[str, float], list[str]]:
    """One run: its figures, and what was not as it should be."""
    # A number of its own each time: the machine-wide lock is on, and another run may hold a common one.
    token = f"{random.randrange(10**9, 10**10)}:TEST-token-of-nobody"
    with Simulator() as sim:
        account = sim.bot(token)
        account.add_chat(OWNER)
        subscribe(folder / "data" / str(account.id) / "bot.db", account, chats)
        account.limits()
        with running(sim, token, folder) as bot:
            sim.wait(lambda: len(sim.market.calls) >= 3 * len(COINS), 20, what="the markets are read")
            memory = [resident_mib(bot.pid)]
            began = time.time()
            for coin in COINS:
                sim.market.sweep("binance", coin, "buy", usd=3_000_000)
                rest(0.7)
            wanted = 2 * len(chats)
            sim.wait(lambda: account.delivered >= wanted // 3, wanted / ALLOWED, what="a third of the messages")
            memory.append(resident_mib(bot.pid))
            asked = time.time()
            account.send_text(OWNER, "/ping middle")
            pong = account.wait_text("pong middle", chat_id=OWNER, timeout=10).at - asked
            # A group may have no more than 20 a minute, so its second message may come some seconds late.
            sim.wait(lambda: account.delivered > wanted, wanted / ALLOWED + 30, what="all messages")
            memory.append(resident_mib(bot.pid))
            rest(2.0)  # whatever comes twice comes now
            return judge(account, chats, began, pong, memory)


def judge(
    account: SimBot, chats: list[int], began: float, pong: float, memory: list[float]
) -> tuple[dict[str, float], list[str]]:
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
        "median of a second": statistics.median(full_seconds),
        "refused with 429": account.flood_refused,
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
    if account.flood_refused:
        problems.append("the limits were hit")
    if rate < 0.95 * ALLOWED:
        problems.append("slower than 95 % of what is allowed")
    if pong > 2.0:
        problems.append("/ping waited for more than 2 s")
    return figures, problems


def main() -> int:
    parser = argparse.ArgumentParser(description="One whale alert to many chats, with Telegram's limits on.")
    parser.add_argument("--chats", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=50, help="how many of them are groups")
    options = parser.parse_args()
    chats = [-number if number <= options.groups else 10_000 + number for number in range(1, options.chats + 1)]
    with tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-") as folder:
        try:
            figures, problems = measure(chats, Path(folder))
        except AssertionError as error:
            print(error, file=sys.stderr)
            print(
                (Path(folder) / "output.txt").read_text(encoding="utf-8", errors="replace")[-2000:], file=sys.stderr
            )
            return 1
    for name, value in figures.items():
        print(f"{name:>32} {value:,.2f}")
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
