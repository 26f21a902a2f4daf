"""What an hour of busy markets costs: CPU seconds of the bot, by thread, with default settings.

`python -m benchmarks.market_hour [--seconds 120] [--rate 80] [--most 1.5]` plays so many trades a second on ten coins
to `python bot.py`, and reads its threads' CPU time from /proc after the start is over (Linux only). Exit code 1 when
that is more than `--most` percent of a core, or when the bot logged a traceback.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.rig import COINS, OWNER, Failed, Rig, rest, rig

# Python before 3.14 does not tell the system the names of its threads.
NAMED = """
import threading
run = threading.Thread.run
def named(thread):
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w", encoding="utf-8") as file:
        file.write(thread.name[:15])
    run(thread)
threading.Thread.run = named
"""
START = 60.0  # seconds; by then the week's candles are read
HOUR = 3600.0


def threads(pid: int) -> dict[str, float]:
    """CPU seconds of each thread by its name (proc(5), schedstat), and of the process as `in all`."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text(encoding="utf-8").strip()
        found["main" if name.startswith("python") else name] = (
            int((task / "schedstat").read_text(encoding="utf-8").split()[0]) / 1e9
        )
    return found | {"in all": sum(found.values())}


def measure(bot: Rig, *, seconds: float, rate: float) -> dict[str, float]:
    """CPU seconds an hour, by thread. Raises Failed."""
    bot.sim.market.start_flow(rate, COINS)
    bot.start()
    bot.wait(lambda: bot.account.polling, 20, what="the first long poll")
    bot.account.send_text(OWNER, "/start")
    rest(START)
    before = threads(bot.pid)
    rest(seconds)
    after = threads(bot.pid)
    bot.stop()
    bot.check_log()
    return {name: (spent - before.get(name, 0.0)) * HOUR / seconds for name, spent in after.items()}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="What an hour of busy markets costs.")
    parser.add_argument("--seconds", type=float, default=120.0, help="to measure (default: %(default)g)")
    parser.add_argument(
        "--rate", type=float, default=80.0, help="trades a second on all coins (default: %(default)g)"
    )
    parser.add_argument("--most", type=float, default=1.5, help="percent of a core (default: %(default)g)")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder, rig(Path(folder), before=NAMED, SEND_RATE="30") as bot:
            spent = measure(bot, seconds=options.seconds, rate=options.rate)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"| thread | CPU seconds in an hour of {options.rate:g} trades a second | % of a core |\n|---|--:|--:|")
    for name, seconds in sorted(spent.items(), key=lambda row: -row[1]):
        print(f"| {name} | {seconds:.1f} | {seconds / HOUR * 100:.2f} |")
    return int(spent["in all"] / HOUR * 100 > options.most)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
