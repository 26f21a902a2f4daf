"""kill -9 at random moments, again and again, while commands and whales come in.

`python -m benchmarks.soak [--kills 200] [--seed 1]` shows that each command is handled exactly once, that each whale
alert reaches each subscriber, and that a message arrives twice only when it was in flight at a kill. The evidence is
the bot's database, which holds a different answer to each command, and what arrived in each chat. Otherwise exit code
1, and what was lost or doubled. The moments are random from a seed; what the bot does at each depends on the machine,
so two runs with one seed are similar, not equal.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.evidence import CLERK, GROUP, SUBSCRIBERS, Evidence, Report, database, judge
from benchmarks.rig import COINS, OWNER, Failed, Rig, rest, rig

EVERY = 0.025  # seconds between two commands
SWEEP_EVERY = 0.3  # between two whales: fewer per coin and minute than the 25 that one message lists
SWEEP_MS = 60
ROUND_TRIP = 0.03
PATIENCE = 60.0
# A kill by the clock seldom falls between two statements or transactions of the database: this one always does.
KILL_AT_STATEMENT = """
import itertools, os, signal, sqlite3
statements, connect = itertools.count(1), sqlite3.connect
def traced(*args, **kwargs):
    db = connect(*args, **kwargs)
    db.set_trace_callback(lambda _: next(statements) == {number} and os.kill(os.getpid(), signal.SIGKILL))
    return db
sqlite3.connect = traced
"""


class Traffic:
    """Commands and trades, from a thread of their own, until `stop`. `whales` set: whales and thresholds, too."""

    def __init__(self, rig: Rig, evidence: Evidence, chance: random.Random) -> None:
        self.whales = threading.Event()
        self._rig, self._evidence, self._chance = rig, evidence, chance
        self._stop = threading.Event()
        self._number = 0
        self._amounts = self._threshold_amounts()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the traffic."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        sweep_at = time.monotonic()
        while not self._stop.wait(EVERY):
            if self.whales.is_set() and self._chance.random() < 0.1:
                self._change_threshold()
            else:
                self._ping()
            if self.whales.is_set() and time.monotonic() >= sweep_at:
                sweep_at = time.monotonic() + SWEEP_EVERY
                self._sweep(COINS[len(self._evidence.whales) % len(COINS)])

    def _ping(self) -> None:
        chat = self._chance.choice((*SUBSCRIBERS, CLERK))
        self._number += 1
        self._ask(chat, f"/ping {self._number}", f"pong {self._number}")

    def _change_threshold(self) -> None:
        amount = next(self._amounts)
        self._ask(CLERK, f"/threshold {amount}", amount.upper())

    def _threshold_amounts(self) -> Iterator[str]:
        # Larger than every whale, with the three digits that an answer shows.
        for unit in "mb":
            yield from (f"{tenths / 10:g}{unit}" for tenths in range(100, 1000))
            yield from (f"{whole}{unit}" for whole in range(100, 1000))

    def _ask(self, chat: int, words: str, answer: str) -> None:
        self._evidence.asked[chat].append(answer)
        self._evidence.updates.append(self._rig.account.send_text(chat, words, **_sender(chat)))

    def _sweep(self, coin: str) -> None:
        """One market order, of a size unique for its coin and side; its fills come in three parts."""
        market, number = self._rig.sim.market, len(self._evidence.whales)
        side = self._chance.choice(("buy", "sell"))
        usd = 1_010_000 + 10_000 * (number // len(COINS) % 898)
        self._evidence.whales.append(f"{coin} {side} {usd / 1e6:.2f}".rstrip("0").rstrip(".") + "M USD at")
        price, fills, first = market.prices[coin], self._chance.randint(6, 90), int(time.time() * 1000)
        for fill in range(fills):
            # The times of one order, even when this thread is held up.
            at_ms = first + SWEEP_MS * fill // (fills - 1)
            market.trade("binance", coin, side, price, usd * 1.0001 / fills / price, at_ms=at_ms)
            if fill in (fills // 3, 2 * fills // 3):
                rest(self._chance.uniform(0, SWEEP_MS / 2000))


def soak(folder: Path, *, kills: int, seed: int) -> Report:
    """One run in an empty folder. Raises Failed with what was lost, doubled or stuck."""
    chance, evidence, began = random.Random(seed), Evidence(), time.monotonic()
    settings: dict[str, Any] = {
        "ALLOWED_USERS": ",".join(str(chat) for chat in (*SUBSCRIBERS, CLERK) if chat > 0),
        "SYMBOLS": ",".join(COINS),
        "WHALE_MIN_USD": "1m",
        "WHALE_INTERVAL": "0.2",
    }
    with rig(folder, **settings) as bot:
        # As with a real server: a request is carried out some time before the bot gets the answer.
        for method in ("sendMessage", "editMessageText"):
            bot.sim.fault(method, kind="slow_first_byte", seconds=ROUND_TRIP, after=True)
        for coin in COINS:
            bot.sim.market.trade("binance", coin, "buy", bot.sim.market.prices[coin], 1e-6)
        traffic = Traffic(bot, evidence, random.Random(seed + 1))
        try:
            first = max(1, kills // 20)
            for _ in range(first):  # in the first starts, which create the database
                _start(bot, evidence)
                _kill(bot, evidence, "in the first starts", chance.uniform(0.0, 0.5))
            _start(bot, evidence)
            _subscribe(bot)
            traffic.whales.set()
            _kill(bot, evidence, "at work", 0.5)
            for _ in range(kills - first - 1):
                _kill_somewhere(bot, evidence, chance)
            _start(bot, evidence)
        finally:
            traffic.stop()
        _until_all_is_sent(bot, evidence)
        bot.stop()
        return judge(bot, evidence, seconds=time.monotonic() - began)


def _start(bot: Rig, evidence: Evidence, *, before: str = "") -> None:
    bot.start(before=before)
    evidence.starts.append(time.time())


def _kill_somewhere(bot: Rig, evidence: Evidence, chance: random.Random) -> None:
    """Start the bot and kill it: by the clock, or by itself between two statements of its database."""
    kind = chance.random()
    if kind < 0.4:
        where, statement = "between two statements of the database", chance.randint(1, 500)
        _start(bot, evidence, before=KILL_AT_STATEMENT.format(number=statement))
        bot.wait(bot.killed_itself, PATIENCE, what=f"statement {statement}")
        evidence.kills[where] += 1
    elif kind < 0.55:
        _start(bot, evidence)
        _kill(bot, evidence, "while it started", chance.uniform(0.0, 0.4))
    else:
        polls = bot.account.count("getUpdates")
        _start(bot, evidence)
        bot.wait(lambda: bot.account.count("getUpdates") > polls, PATIENCE, what="a poll after a start")
        _kill(bot, evidence, "at work", chance.uniform(0.0, 0.5))


def _kill(bot: Rig, evidence: Evidence, where: str, after: float) -> None:
    rest(after)
    bot.kill()
    evidence.kills[where] += 1


def _subscribe(bot: Rig) -> None:
    """Switch alerts on everywhere, and wait until each coin is read up to its newest trade."""
    for chat in (*SUBSCRIBERS, CLERK):
        bot.account.send_text(chat, "/start", **_sender(chat))
    for chat in (*SUBSCRIBERS, CLERK):
        about = f"the answer to /start in chat {chat}"
        bot.wait(lambda chat=chat: _not_pongs(bot, chat), PATIENCE, what=about)  # type: ignore[misc]
    bot.account.send_text(CLERK, "/threshold 5000b")
    bot.wait(lambda: "5000B" in str(bot.account.texts(CLERK)), PATIENCE, what="the first threshold")
    with database(bot) as db:
        bot.wait(
            lambda: _number(db, "cursors WHERE venue = 'Binance spot'") == len(COINS),
            PATIENCE,
            what="a first look at every coin",
        )


def _until_all_is_sent(bot: Rig, evidence: Evidence) -> None:
    """Let the last start catch up for as long as it makes progress. What is missing then is lost."""
    delivered, progress_at = -1, 0.0
    with database(bot) as db:
        while True:
            rest(0.3)
            waiting = bot.account.pending + _number(db, "deliveries WHERE state = 'pending'")
            if bot.account.delivered != delivered:
                delivered, progress_at = bot.account.delivered, time.monotonic()
            quiet = time.monotonic() - progress_at
            found = _number(db, "alerts WHERE monitor = 'whales'") >= len(evidence.whales)
            if (not waiting and found and quiet > 1) or quiet > PATIENCE:
                return


def _not_pongs(bot: Rig, chat: int) -> list[str]:
    return [text for text in bot.account.texts(chat) if not text.startswith("pong")]


def _sender(chat: int) -> dict[str, Any]:
    return {"chat_type": "group", "user_id": OWNER} if chat == GROUP else {}


def _number(db: sqlite3.Connection, rows: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="kill -9 at random moments: nothing lost, nothing done twice.")
    parser.add_argument("--kills", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the traffic (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cryptosat-soak-") as folder:
        try:
            print(soak(Path(folder), kills=options.kills, seed=options.seed).table())
        except Failed as failure:
            print(failure, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
