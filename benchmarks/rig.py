"""The rig of the benchmarks: a simulator in this process, and the bot as a process of its own beside it.

It never leaves loopback, never needs a token, never touches a real bot's folder.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simulation.account import SimBot
from simulation.feeds import VENUES
from simulation.simulator import Simulator

ROOT = Path(__file__).resolve().parent.parent
OWNER = 7
COINS = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "TON")
KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE", "LOCALAPPDATA", "LD_LIBRARY_PATH")


class Failed(Exception):
    """The bot did not do what the benchmark expects; the text says what was seen instead."""


class Rig:
    """One bot's account at a simulated Telegram, and its process, which can be started, stopped and killed
    repeatedly.

    before: Python run ahead of the bot. settings: environment variables of the bot.
    """

    def __init__(
        self, sim: Simulator, folder: Path, *, before: str = "pass", token: str = "", **settings: str
    ) -> None:
        # A number of its own each time: the machine-wide lock is on, and another run may be on.
        token = token or f"{random.SystemRandom().randrange(10**9, 10**10)}:TEST-token-of-nobody-000000000"
        self.sim = sim
        self.token = token
        self.account: SimBot = sim.bot(token)
        self.account.add_chat(OWNER)
        self.folder = folder / "data" / token.partition(":")[0]
        self.output = folder / "output.txt"
        (folder / "empty.env").touch()
        self._before = before
        self._arguments = ["--env-file", str(folder / "empty.env")]
        self._environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "TELEGRAM_BOT_TOKEN": token,
            "TELEGRAM_API_URL": sim.url,
            "OWNER_ID": str(OWNER),
            "DATA_DIR": str(folder / "data"),
            "SEND_RATE": "0",
            **{f"{venue.upper()}_URL": sim.market_url(venue) for venue in VENUES},
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process started last."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, before: str = "") -> None:
        """Start `python bot.py`. before: Python run ahead of it this time."""
        code = f"import sys; sys.argv[0] = 'bot.py'\n{before or self._before}\nimport bot; sys.exit(bot.main())"
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, *self._arguments],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """kill -9. Raises Failed when the bot has ended by itself."""
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise self._failed(f"the bot ended by itself with exit code {code}")
        self._process.kill()
        self._process.wait(10)

    def killed_itself(self) -> bool:
        """Whether a start with a built-in kill has reached it. Raises Failed when the bot ended in another way."""
        assert self._process is not None
        code = self._process.poll()
        if code not in (None, -signal.SIGKILL):
            raise self._failed(f"the bot ended by itself with exit code {code}")
        return code is not None

    def stop(self) -> float:
        """SIGTERM. Returns the seconds until the process was gone. Raises Failed for another exit code than 0."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(20)
        if code != 0:
            raise self._failed(f"SIGTERM ended with exit code {code}")
        return time.monotonic() - began

    def end(self) -> None:
        """Kill the process if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def log(self) -> str:
        """The output of all starts."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def wait(self, done: Callable[[], object], timeout: float, *, what: str) -> None:
        """Wait until `done` is true. Raises Failed after `timeout` seconds."""
        try:
            self.sim.wait(done, timeout, what=what)
        except AssertionError as error:
            raise self._failed(str(error)) from None

    def wait_reading(self, coins: int) -> None:
        """Wait until so many coins are read: what was traded before the first time is no news. Raises Failed."""

        def reading() -> bool:
            asked = Counter(call.params.get("symbol") for call in self.sim.market.calls if "Trades" in call.path)
            return len(asked) == coins and min(asked.values()) > 2

        self.wait(reading, 20, what="the trades of every coin are read")

    def check_log(self) -> None:
        """Raises Failed when the bot logged a traceback."""
        if "Traceback" in self.log():
            raise self._failed("a traceback")

    def _failed(self, words: str) -> Failed:
        return Failed(f"{words}; the end of the bot's output:\n{self.log()[-3000:]}")


@contextmanager
def rig(folder: Path, *, before: str = "pass", conflict_hold: float = 1.0, **settings: str) -> Iterator[Rig]:
    """A Rig whose processes end with the block. conflict_hold: seconds in place of the server's 3 s."""
    with Simulator(conflict_hold=conflict_hold, keep=1_000_000) as sim:
        made = Rig(sim, folder, before=before, **settings)
        try:
            yield made
        finally:
            made.end()


def rest(seconds: float) -> None:
    """Wait."""
    threading.Event().wait(seconds)


def resident_mib(pid: int) -> float:
    """A process's memory (RSS) in MiB, from Linux's /proc; NaN on other systems."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return float("nan")
    return next(
        int(line.split()[1]) / 1024 for line in path.read_text(encoding="utf-8").splitlines() if "VmRSS" in line
    )
