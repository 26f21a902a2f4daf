"""Floods, in real time and with Telegram's limits on: how soon do the owner's alert and answer come all the same?

`python -m benchmarks.flood` takes about a minute. Three floods, each against a bot of its own: 3,000 strangers with
one message each, a friend who sends 300 commands in a group and 300 in private, and five friends with 20 charts each.
In the middle a whale comes, and the owner sends `/ping`. Exit code 1 when an alert took more than 3 s, when a message
was refused with 429, or when the bot's memory grew by more than 20 MiB.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.rig import OWNER, Failed, Rig, resident_mib, rest, rig
from simulation.account import SimBot

LONGEST = 3.0  # seconds
GROWTH = 20.0  # MiB
GROUP = -77
FRIENDS = tuple(range(501, 506))
SETTINGS = {
    "SYMBOLS": "BTC",
    "WHALE_MIN_USD": "1m",
    "WHALE_INTERVAL": "0.5",
    "SEND_RATE": "30",
    "ALLOWED_USERS": ",".join(map(str, FRIENDS)),
}


def strangers(account: SimBot) -> None:
    """3,000 people whom nobody knows write one message each."""
    for number in range(3000):
        account.send_text(10_000 + number, "/start")


def friend(account: SimBot) -> None:
    """One who may use the bot sends 300 commands in a group that has alerts, and 300 in private."""
    for number in range(300):
        account.send_text(GROUP, f"/ping {number}", user_id=FRIENDS[0], chat_type="supergroup")
        account.send_text(FRIENDS[0], f"/ping {number}")


def charts(account: SimBot) -> None:
    """Five friends ask for 20 charts each."""
    for _ in range(20):
        for user_id in FRIENDS:
            account.send_text(user_id, "/chart BTC 24h")


FLOODS: dict[str, Callable[[SimBot], None]] = {
    "3,000 strangers": strangers,
    "600 commands": friend,
    "100 charts": charts,
}


def measure(bot: Rig, flood: Callable[[SimBot], None]) -> dict[str, float]:
    """One flood: seconds until the owner's alert, the group's alert and the owner's answer. Raises Failed."""
    account = bot.account
    account.limits()
    bot.start()
    account.send_text(OWNER, "/start")
    account.send_text(GROUP, "/start", user_id=OWNER, chat_type="supergroup")
    account.wait_text("Alerts are on", chat_id=GROUP, timeout=10)
    bot.wait_reading(1)
    before = resident_mib(bot.pid)
    flood(account)
    rest(1.0)
    began = time.time()
    bot.sim.market.sweep("binance", "BTC", "buy", usd=3_000_000)
    account.send_text(OWNER, "/ping in between")
    answer = account.wait_text("pong in between", chat_id=OWNER, timeout=60)
    owners = account.wait_text("BTC buy 3M USD", chat_id=OWNER, timeout=60)
    groups = account.wait_text("BTC buy 3M USD", chat_id=GROUP, timeout=60)
    return {
        "owner's alert, s": owners.at - began,
        "group's alert, s": groups.at - began,
        "owner's answer, s": answer.at - began,
        "refused with 429": account.chats.flood_refused,
        "memory grew by, MiB": resident_mib(bot.pid) - before,
    }


def main() -> int:
    """The command line; returns the exit code."""
    well = True
    for name, flood in FLOODS.items():
        with tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-") as folder:
            try:
                with rig(Path(folder), conflict_hold=3.0, **SETTINGS) as bot:
                    figures = measure(bot, flood)
            except (AssertionError, Failed) as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
        print(name)
        for what, value in figures.items():
            print(f"{what:>32} {value:,.2f}")
        slow = max(value for what, value in figures.items() if "alert" in what)
        well = (
            well and slow <= LONGEST and not figures["refused with 429"] and figures["memory grew by, MiB"] <= GROWTH
        )
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
