"""From the last fill of a whale order at the exchange to its message at Telegram, with default settings.

`python -m benchmarks.latency [--whales 60]` takes about six minutes. Ten coins are traded, each answer of the
simulated exchange takes 0.15 s and each of Telegram 0.05 s, as over the internet. Whales come at random moments, and
both times are of the simulator's clock. Exit code 1 when one is not told, when the 95th percentile is above 6 s, or
when more than a tenth of Binance's limit is used.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from base import text
from benchmarks.rig import COINS, OWNER, Failed, Rig, rest, rig

MOST_SECONDS = 6.0
LIMIT = 6000  # Binance's request weight a minute (spot API docs, "Limits")
WEIGHTS = {"aggTrades": 4, "klines": 2, "ticker/24hr": 2}
SETTINGS = {"WHALE_MIN_USD": "1m", "SEND_RATE": "30"}


def measure(bot: Rig, whales: int, rate: float, seed: int) -> tuple[dict[str, float], list[str]]:
    """One run: its figures, and what was wrong. Raises Failed when it does not come to its end."""
    market, account, chance = bot.sim.market, bot.account, random.Random(seed)
    bot.sim.fault(market="binance", kind="slow_first_byte", seconds=0.15)
    bot.sim.fault("sendMessage", kind="slow_first_byte", seconds=0.05)
    market.start_flow(rate, COINS)
    bot.start()
    bot.wait(lambda: account.polling, 20, what="the first long poll")
    account.send_text(OWNER, "/start")
    bot.wait(lambda: len(market.calls) > 60, 60, what="some rounds of reading")
    rest(40)  # the candles are read
    began = time.time()
    sent_at: dict[str, float] = {}
    for number in range(whales):
        rest(chance.uniform(2, 8))
        usd = 1_500_000 + 30_000 * number  # each is another one when it is rounded, whatever else is traded
        fills = market.sweep("binance", chance.choice(COINS), chance.choice(("buy", "sell")), usd=usd)
        sent_at[text.usd(usd)] = fills[-1].ms / 1000
    rest(10)
    lasted = time.time() - began
    waits = []
    for words, at in sent_at.items():
        told = [sent.at - at for sent in account.sent if sent.at >= at and words in sent.text]
        waits += told[:1]
    calls = [call for call in market.calls if call.at >= began]
    weight = sum(cost for call in calls for name, cost in WEIGHTS.items() if call.path.endswith(name))
    figures = {
        "whales told": len(waits),
        "p50, s": statistics.median(waits),
        "p95, s": sorted(waits)[int(0.95 * len(waits))],
        "slowest, s": max(waits),
        "requests to Binance a minute": sum("/api/v3/" in call.path for call in calls) / lasted * 60,
        "share of its limit, %": weight / lasted * 60 / LIMIT * 100,
        "other requests a minute": sum("/api/v3/" not in call.path for call in calls) / lasted * 60,
    }
    problems = [] if len(waits) == whales else ["a whale was not told"]
    problems += ["too slow"] if figures["p95, s"] > MOST_SECONDS else []
    problems += ["more than a tenth of the limit"] if figures["share of its limit, %"] > 10 else []
    return figures, problems


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Seconds from a whale order to its message.")
    parser.add_argument("--whales", type=int, default=60)
    parser.add_argument("--rate", type=float, default=20, help="other trades a second")
    parser.add_argument("--interval", default="auto", help="WHALE_INTERVAL")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-") as folder:
        try:
            with rig(Path(folder), conflict_hold=3.0, **SETTINGS, WHALE_INTERVAL=options.interval) as bot:
                figures, problems = measure(bot, options.whales, options.rate, options.seed)
        except (AssertionError, Failed) as error:
            print(error, file=sys.stderr)
            return 1
    for name, value in figures.items():
        print(f"{name:>30} {value:,.2f}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
