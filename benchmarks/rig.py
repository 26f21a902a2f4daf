"""What soak.py and leaks.py stand on: a simulator in this process, and the bot as a real one beside it.

Never leaves loopback, never needs a token, never touches a real bot's folder.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as `python benchmarks/soak.py`, where only this folder is on the path

from simulation.account import SimBot  # noqa: E402
from simulation.feeds import VENUES  # noqa: E402
from simulation.simulator import Simulator  # noqa: E402

OWNER = 7
KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE", "LOCALAPPDATA", "LD_LIBRARY_PATH")


class Failed(Exception):
    """What was to be shown is not so; the text says what was seen instead."""


class Rig:
    """One bot's account at a simulated Telegram, and its process: started, stopped and killed as often as asked."""

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
        assert self._process is not None
        return self._process.pid

    def start(self, *, before: str = "") -> None:
        """Run `python bot.py`; `before` is Python run ahead of it."""
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
        """kill -9. Raises Failed when the bot had ended by itself before."""
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise Failed(f"the bot ended by itself with exit code {code}; its last words:\n{self.told()[-3000:]}")
        self._process.kill()
        self._process.wait(10)

    def killed_itself(self) -> bool:
        """Did a start with a kill built in come to it? Raises Failed when the bot ended in another way."""
        assert self._process is not None
        code = self._process.poll()
        if code not in (None, -signal.SIGKILL):
            raise Failed(f"the bot ended by itself with exit code {code}; its last words:\n{self.told()[-3000:]}")
        return code is not None

    def stop(self) -> float:
        """SIGTERM; the seconds until it was gone. Raises Failed for another exit code than 0."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(20)
        if code != 0:
            raise Failed(f"SIGTERM ended with exit code {code}; its last words:\n{self.told()[-3000:]}")
        return time.monotonic() - began

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def told(self) -> str:
        """All that every start of it wrote."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def wait(self, done: Callable[[], object], timeout: float, *, what: str) -> None:
        """Until `done` is true; looks every change at the simulator. Raises Failed."""
        try:
            self.sim.wait(done, timeout, what=what)
        except AssertionError as error:
            raise Failed(f"{error}; the bot's last words:\n{self.told()[-3000:]}") from None


@contextmanager
def rig(folder: Path, *, before: str = "pass", conflict_hold: float = 1.0, **settings: str) -> Iterator[Rig]:
    """A Rig that is gone when the block ends. conflict_hold: the server's 3 s between two 409s."""
    with Simulator(conflict_hold=conflict_hold, keep=1_000_000) as sim:
        made = Rig(sim, folder, before=before, **settings)
        try:
            yield made
        finally:
            made.end()


def rest(seconds: float) -> None:
    threading.Event().wait(seconds)
