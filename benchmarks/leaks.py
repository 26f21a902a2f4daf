"""Does anything grow? Threads, file descriptors and memory of the running bot under traffic and trouble.

`python -m benchmarks.leaks [--cycles 300] [--traffic 120]` sends commands and trades as fast as the bot takes them.
Then it repeats each trouble `cycles` times: a second poller that comes and dies, a webhook set by someone else, a
lost network. The bot's waits are shortened, each cycle ends with an answered command, and /proc is read ten times in
each part. Linux only. Exit code 1 when anything grew.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rig import COINS, OWNER, Failed, Rig, resident_mib, rest, rig

SAMPLES = 10
BATCH = 200  # commands at a time
PATIENCE = 30.0
GROWTH_MIB = 3.0  # allowed, from the median of a part's first samples to the median of its last ones
SPARE = 6  # descriptors: kept-alive connections come and go
# Real waits take seconds to minutes, and grow when conflicts come back again and again.
SHORT_WAITS = """
from botapi import conflict, outbox, poller
conflict.RETRY_REST = conflict.STANDBY_REST = 0.02
conflict.UNREAD = conflict.UNREAD_STUBBORN = 0.05
conflict.UNHARMED = conflict.UNHARMED_MOST = 0.1
conflict.WEBHOOK_PATIENCE = 1e9
outbox.LONGEST_BACKOFF = 0.05
poller.LOST_REST = poller.FAILED_REST = 0.05
"""


class Sample(NamedTuple):
    """What a process uses; mib: resident memory."""

    threads: int
    descriptors: int
    mib: float


class Part(NamedTuple):
    """One kind of load: what was done, and the samples taken during it."""

    name: str
    done: str
    samples: list[Sample]


def sample(pid: int) -> Sample:
    """What the process uses now, from /proc."""
    threads, descriptors = (len(list(Path(f"/proc/{pid}/{name}").iterdir())) for name in ("task", "fd"))
    return Sample(threads, descriptors, resident_mib(pid))


def leaks(folder: Path, *, cycles: int, traffic: float) -> list[Part]:
    """All parts, one after the other, on one running bot. Raises Failed when the bot fails."""
    settings: dict[str, Any] = {"SYMBOLS": ",".join(COINS), "WHALE_MIN_USD": "1m", "WHALE_INTERVAL": "0.2"}
    with rig(folder, before=SHORT_WAITS, conflict_hold=0.1, **settings) as bot:
        for coin in COINS:
            bot.sim.market.trade("binance", coin, "buy", bot.sim.market.prices[coin], 1e-6)
        bot.start()
        _answered(bot, "/start")
        bot.sim.market.start_flow(500, COINS, whale_every=0.5)
        troubles = (
            ("a second poller comes and dies", _rival),
            ("someone sets a webhook", _webhook),
            ("the network is lost", _offline),
        )
        _traffic(bot, seconds=min(10.0, traffic))
        for _, trouble in troubles:  # connections and threads that are made once and kept are not growth
            for number in range(max(3, cycles // 20)):
                trouble(bot, number)
        parts = [_traffic(bot, seconds=traffic)]
        parts += [_cycles(bot, name, trouble, cycles) for name, trouble in troubles]
        bot.check_log()
        bot.stop()
    return parts


def _traffic(bot: Rig, *, seconds: float) -> Part:
    samples, answers, began = [], 0, time.monotonic()
    alerts = bot.account.count("editMessageText")
    for step in range(1, SAMPLES + 1):
        while time.monotonic() < began + seconds * step / SAMPLES:
            wanted = bot.account.count("sendMessage") + BATCH
            for number in range(BATCH):
                bot.account.send_text(OWNER, f"/ping {number}")
            bot.wait(lambda wanted=wanted: bot.account.count("sendMessage") >= wanted, PATIENCE, what="answers")  # type: ignore[misc]
            answers += BATCH
            bot.account.forget()
        samples.append(sample(bot.pid))
    edits = bot.account.count("editMessageText") - alerts
    return Part(
        "commands and trades", f"{answers:,} commands, {500 * seconds:,.0f} trades, {edits:,} alerts edited", samples
    )


def _cycles(bot: Rig, name: str, trouble: Callable[[Rig, int], None], cycles: int) -> Part:
    samples = []
    for number in range(1, cycles + 1):
        trouble(bot, number)
        if number * SAMPLES % cycles < SAMPLES:
            samples.append(sample(bot.pid))
    return Part(name, f"{cycles} times", samples)


def _rival(bot: Rig, number: int) -> None:
    seen = bot.sim.wait(lambda: bot.account.polling, PATIENCE, what="a long poll of the bot")
    looks = bot.account.count("getWebhookInfo")
    with bot.account.rival(timeout=1):
        bot.wait(lambda: seen and bot.account.count("getWebhookInfo") > looks, PATIENCE, what="the standby")
    _answered(bot, f"/ping rival {number}")


def _webhook(bot: Rig, number: int) -> None:
    bot.account.set_webhook_as_foreigner("https://hook.example.net/x")
    bot.wait(lambda: not bot.account.webhook_url, PATIENCE, what="the removal of the webhook")
    _answered(bot, f"/ping webhook {number}")


def _offline(bot: Rig, number: int) -> None:
    bot.sim.offline()
    rest(0.05)
    bot.sim.online()
    _answered(bot, f"/ping network {number}")


def _answered(bot: Rig, words: str) -> None:
    bot.account.forget()
    bot.account.send_text(OWNER, words)
    wanted = words.replace("/ping", "pong") if words.startswith("/ping") else ""
    bot.wait(
        lambda: any(wanted in text for text in bot.account.texts(OWNER)), PATIENCE, what=f"the answer to {words}"
    )


def grown(part: Part) -> list[str]:
    """What grew, in words."""
    third = max(1, len(part.samples) // 3)
    first, last = (_median(samples) for samples in (part.samples[:third], part.samples[-third:]))
    found = []
    if last.threads > first.threads:
        found.append(f"threads from {first.threads} to {last.threads}")
    if last.descriptors > first.descriptors + SPARE:
        found.append(f"descriptors from {first.descriptors} to {last.descriptors}")
    if last.mib > first.mib + GROWTH_MIB:
        found.append(f"memory from {first.mib:.1f} to {last.mib:.1f} MiB")
    return [f"{part.name}: {words}" for words in found]


def _median(samples: list[Sample]) -> Sample:
    middle = len(samples) // 2
    threads, descriptors, mib = (sorted(values)[middle] for values in zip(*samples, strict=True))
    return Sample(threads, descriptors, mib)


def table(parts: list[Part]) -> str:
    """A Markdown table of all parts."""
    lines = ["| Part | Done | Threads | Descriptors | Memory (RSS), MiB |", "|---|---|--:|--:|--:|"]
    for part in parts:
        first, last = part.samples[0], part.samples[-1]
        low, high = (pick(one.mib for one in part.samples) for pick in (min, max))
        lines.append(
            f"| {part.name} | {part.done} | {first.threads} → {last.threads} | {first.descriptors} → "
            f"{last.descriptors} | {first.mib:.1f} → {last.mib:.1f} ({low:.1f} to {high:.1f}) |"
        )
    return "\n".join(lines)


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Threads, descriptors and memory under traffic and trouble.")
    parser.add_argument("--cycles", type=int, default=300, help="of each kind of trouble (default: %(default)s)")
    parser.add_argument("--traffic", type=float, default=120.0, help="seconds of it (default: %(default)s)")
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        print("This benchmark needs Linux: it reads /proc.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cryptosat-leaks-") as folder:
        try:
            parts = leaks(Path(folder), cycles=max(SAMPLES, options.cycles), traffic=options.traffic)
        except Failed as failure:
            print(failure, file=sys.stderr)
            return 1
    print(table(parts))
    problems = [problem for part in parts for problem in grown(part)]
    for problem in problems:
        print(f"grew: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
