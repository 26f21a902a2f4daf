"""Three people who have only the README: from its commands to the first alert, and the second step after it.

A trader on a desktop, a hobbyist with a server, the admin of a group. Each works in a fresh copy of the project with
real processes; every command of the terminal stands in the README or was printed by the bot.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import OWNER, ROOT, SECRETS, TOKEN, clean_environment, first_look
from test_manage_setup import CTRL_C, PASTE, POLLING, Terminal

from base import config
from simulation.account import SimBot
from simulation.simulator import Simulator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell and pseudo-terminals")
README = re.sub(r"\s+", " ", (ROOT / "README.md").read_text(encoding="utf-8"))
START = ".venv/bin/python bot.py"
GROUP, ADMIN, MEMBER = -1001, 55, 56


class Computer:
    """A fresh copy of the project, and a shell in it. Set before: the addresses of a simulated world, and haste."""

    def __init__(self, home: Path, sim: Simulator) -> None:
        self.home, self.folder = home, home / "cryptosat"
        left_out = shutil.ignore_patterns(".git", ".venv", "tests", "__pycache__", ".*_cache", ".hypothesis", ".env")
        shutil.copytree(ROOT, self.folder, ignore=left_out)
        python = self.folder / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        self.environment = {
            "HOME": str(home),
            "DATA_DIR": str(home / "data"),
            "TELEGRAM_API_URL": sim.url,
            "SEND_RATE": "0",
            "WHALE_INTERVAL": "0.2",
            "DERIVATIVES_INTERVAL": "1",
            **{f"{name.upper()}_URL": sim.market_url(name) for name in config.SOURCE_DEFAULTS},
        }
        self.terminals: list[Terminal] = []
        self.started: list[subprocess.Popen[bytes]] = []

    def run(self, command: str, *, code: int = 0) -> str:
        """What a command shows that ends by itself."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=clean_environment() | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """A command that goes on, without a window."""
        environment = clean_environment() | self.environment
        self.started.append(
            subprocess.Popen(["sh", "-c", command], cwd="/", env=environment, stdin=subprocess.DEVNULL)
        )
        return self.started[-1]

    def window(self, command: str) -> Terminal:
        """A command that goes on, in a window of its own."""
        code = "import os; os.execvp('sh', ['sh', '-c', 'exec ' + sys.argv[1]])"
        self.terminals.append(Terminal(code, command, cwd=self.folder, **self.environment))
        return self.terminals[-1]


@pytest.fixture
def computer(tmp_path: Path, sim: Simulator) -> Iterator[Computer]:
    computer = Computer(tmp_path / "home", sim)
    for symbol in ("BTC", "ETH"):
        sim.market.trade("binance", symbol, "buy", sim.market.prices[symbol], 0.001)
    yield computer
    for process in computer.started:
        process.kill()
        process.wait(30)
    for terminal in computer.terminals:
        terminal.close()
        assert not any(secret in terminal.shown for secret in SECRETS), "the token was shown"


def readme(command: str) -> str:
    """The command, which stands in the README."""
    assert command in README, f"the README does not say {command!r}"
    return command


def say(chat: SimBot, words: str, answer: str, *, user_id: int = OWNER, chat_id: int = 0, topic: int = 0) -> str:
    """Somebody sends a command; the bot's answer, which has these words."""
    before, where = chat.delivered, chat_id or user_id
    kind = "supergroup" if where < 0 else "private"
    chat.send_text(where, words, user_id=user_id, chat_type=kind, thread_id=topic or None)
    return chat.wait_text(answer, chat_id=where, after=before).text


def whale(sim: Simulator, symbol: str, usd: float, side: str = "buy") -> None:
    first_look(sim, symbol)
    sim.market.sweep("binance", symbol, side, usd=usd)


def test_a_trader_on_a_desktop(computer: Computer, chat: SimBot, sim: Simulator) -> None:
    """Token, link, alert; then only one coin, a larger minimum and a press on an alert, kept over a restart."""
    bot = computer.window(readme(START))
    bot.answer(PASTE, TOKEN)
    chat.send_text(OWNER, f"/start {bot.link()}")
    chat.wait_text("You now own this bot", chat_id=OWNER)
    bot.wait("OWNER_ID was saved")
    whale(sim, "BTC", 2_400_000)
    alert = chat.wait_text("BTC buy 2.4M USD", chat_id=OWNER)
    # The second step
    say(chat, readme("/watch BTC ETH"), "BTC, ETH")
    say(chat, readme("/threshold BTC 2m"), "BTC 2M")
    chat.press(alert.message_id, dict(alert.buttons)["Mute BTC 1 h"], chat_id=OWNER)
    chat.wait_text("BTC muted", chat_id=0)
    whale(sim, "BTC", 9_000_000)
    whale(sim, "ETH", 3_000_000)
    chat.wait_text("ETH buy 3M USD", chat_id=OWNER)
    assert not any("BTC buy 9M" in words for words in chat.texts(OWNER)), "BTC is muted"
    bot.type(CTRL_C, enter=False)
    assert bot.wait_exit() == 0, bot.shown
    again = computer.window(START)
    again.wait(POLLING)
    assert PASTE not in again.shown
    assert "?start=" not in again.shown
    told = say(chat, "/status", "This chat gets")
    assert "BTC 2M" in told
    assert "uted" in told


def test_a_hobbyist_with_a_server(computer: Computer, chat: SimBot, sim: Simulator) -> None:
    """Settings file, doctor, automatic start, alert; then status, a refused second start, backup, stop, restore."""
    readme("put `TELEGRAM_BOT_TOKEN` and `OWNER_ID` into `.env` first; `.env.example` shows how")
    told = computer.run(f"{START} install cron")
    assert "has no TELEGRAM_BOT_TOKEN and OWNER_ID" in told
    text = (computer.folder / ".env.example").read_text(encoding="utf-8")
    filled = text.replace("TELEGRAM_BOT_TOKEN=\n", f"TELEGRAM_BOT_TOKEN={TOKEN}\n").replace(
        "OWNER_ID=\n", f"OWNER_ID={OWNER}\n"
    )
    (computer.folder / ".env").write_text(filled, encoding="utf-8")
    readme("Run `bot.py doctor` first.")
    assert "Nothing was changed" in computer.run(f"{START} doctor")
    readme("run `bot.py install`")
    table = computer.run(f"{START} install cron 2>&1")
    assert "would end at once" not in table
    line = next(line for line in table.splitlines() if line.startswith("@reboot "))
    service = computer.start(line.removeprefix("@reboot ").replace("\\%", "%").replace(" && ", " && exec "))
    sim.wait(lambda: chat.polling, what="a bot that cron has started")
    say(chat, "/start", "Alerts are on")
    whale(sim, "BTC", 2_400_000)
    chat.wait_text("BTC buy 2.4M USD", chat_id=OWNER)
    # The second step
    say(chat, "/threshold BTC 5m", "BTC 5M")
    readme("`bot.py status [--json]`")
    assert "is running" in computer.run(f"{START} status")
    refused = computer.run(START, code=75)
    stop = re.search(r"^  stop it +(.+)$", refused, re.MULTILINE)
    assert stop is not None, refused
    computer.run(readme(f"{START} backup ~/cryptosat.db"))
    computer.run(stop[1])
    assert service.wait(30) == 0
    assert "is not running" in computer.run(f"{START} status", code=3)
    shutil.rmtree(computer.home / "data")  # another computer has no data yet
    computer.run(f"{START} restore ~/cryptosat.db")
    computer.window(START).wait(POLLING)
    assert "BTC 5M" in say(chat, "/status", "This chat gets")


def test_the_admin_of_a_group(computer: Computer, chat: SimBot, sim: Simulator) -> None:
    """Added, asked for and allowed, alert; then a topic for liquidations, and members who may look and not change."""
    (computer.folder / ".env").write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID={OWNER}\n", encoding="utf-8")
    computer.window(START).wait(POLLING)
    chat.set_member(GROUP, ADMIN, "administrator", chat_type="supergroup")
    chat.membership(GROUP, "member", by=ADMIN, chat_type="supergroup")
    readme("add the bot and send `/start@yourbot` under your own name")
    told = say(chat, "/start@whale_test_bot", "Only people", user_id=ADMIN, chat_id=GROUP, topic=5)
    assert "To ask the owner, send /start to @whale_test_bot in private" in told
    readme("you get a message with the buttons Allow and Deny")
    say(chat, "/start", "The owner has been asked", user_id=ADMIN)
    asked = chat.wait_text("wants to use this bot", chat_id=OWNER)
    chat.press(asked.message_id, dict(asked.buttons)["Allow"], chat_id=OWNER)
    chat.wait_text("You can now use this bot", chat_id=ADMIN)
    say(chat, "/start@whale_test_bot", "Alerts are on", user_id=ADMIN, chat_id=GROUP, topic=5)
    whale(sim, "BTC", 2_400_000)
    alert = chat.wait_text("BTC buy 2.4M USD", chat_id=GROUP)
    assert int(str(alert.params["message_thread_id"])) == 5, "alerts go to the topic of /start"
    # The second step
    say(
        chat, readme("/here liquidations"), "Liquidation alerts will come here", user_id=ADMIN, chat_id=GROUP, topic=6
    )
    sim.market.perpetuals.liquidate("okx", "BTC", "long", usd=2_000_000)
    wave = chat.wait_text("BTC long liquidated", chat_id=GROUP)
    assert int(str(wave.params["message_thread_id"])) == 6
    say(chat, readme("/members on"), "Every member", user_id=ADMIN, chat_id=GROUP, topic=5)
    say(chat, "/whales", "BTC buy 2.4M USD", user_id=MEMBER, chat_id=GROUP, topic=5)
    chat.send_text(GROUP, "/threshold 77k", user_id=MEMBER, chat_type="supergroup", thread_id=5)
    assert "77k" not in say(chat, "/threshold BTC 3m", "BTC 3M", user_id=ADMIN, chat_id=GROUP, topic=5)
