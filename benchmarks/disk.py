"""What the bot writes to the disk in a day: with markets in which nothing is traded, and with busy ones.

`python -m benchmarks.disk [--seconds 600] [--rate 20]` runs `python bot.py` twice at the same time, with default
settings and a week that is known from candles: without trades, and with so many trades a second on ten coins. When
the week is read it asks /proc what the kernel was given to write (Linux, and a folder that is on a disk).
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.rig import COINS, OWNER, Failed, Rig, rest, rig

QUIET = 60.0  # seconds without a request for candles, after which the week is read
DAY = 86400.0


def written(pid: int) -> int:
    """Bytes that a process has given to disks so far (proc(5), io)."""
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text(encoding="utf-8").splitlines())
    return int(lines["write_bytes"]) - int(lines["cancelled_write_bytes"])


def measure(bot: Rig, *, seconds: float, rate: float) -> float:
    """Bytes a day. Raises Failed."""

    def week_is_read() -> bool:
        asked = [call.at for call in bot.sim.market.calls if call.path.endswith("klines")]
        return bool(asked) and time.time() - max(asked) > QUIET

    bot.sim.market.give_past(9)
    if rate:
        bot.sim.market.start_flow(rate, COINS)
    bot.start()
    bot.wait(lambda: bot.account.polling, 20, what="the first long poll")
    bot.account.send_text(OWNER, "/start")
    bot.wait(week_is_read, 600, what="the week's candles are read")
    with closing(sqlite3.connect(bot.folder / "bot.db")) as database:
        database.execute("PRAGMA wal_checkpoint")  # else the week may be copied out of SQLite's log later
    before = written(bot.pid)
    rest(seconds)
    found = written(bot.pid) - before
    bot.stop()
    bot.check_log()
    return found * DAY / seconds


def in_a_folder(rate: float, *, seconds: float, within: Path | None) -> float:
    """`measure` with a fresh bot."""
    with tempfile.TemporaryDirectory(dir=within) as folder, rig(Path(folder), SEND_RATE="30") as bot:
        return measure(bot, seconds=seconds, rate=rate)


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="What the bot writes to the disk in a day.")
    parser.add_argument("--seconds", type=float, default=600.0, help="to measure (default: %(default)g)")
    parser.add_argument("--rate", type=float, default=20.0, help="trades a second (default: %(default)g)")
    parser.add_argument("--folder", type=Path, help="on a disk; default: the system's for temporary files")
    options = parser.parse_args(arguments)
    rates = (0.0, options.rate)
    try:
        with ThreadPoolExecutor(len(rates)) as both:
            one = partial(in_a_folder, seconds=options.seconds, within=options.folder)
            found = list(both.map(one, rates))
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    print("| trades a second on ten coins | MB a day |\n|---|--:|")
    for rate, size in zip(rates, found, strict=True):
        print(f"| {rate:g} | {size / 1e6:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
