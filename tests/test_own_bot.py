"""docs/own_bot.md: its program, with nothing but the four parts it names, is a conflict-proof bot."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import OWNER, ROOT, TOKEN, clean_environment

from simulation.account import SimBot
from simulation.simulator import Simulator

PARTS = ("base", "botapi", "machine", "lock.py")
Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, sim: Simulator, chat: SimBot) -> Iterator[Start]:
    page = (ROOT / "docs" / "own_bot.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert program is not None
    (tmp_path / "own_bot.py").write_text(program[1], encoding="utf-8")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    running: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "own_bot.py"],
            cwd=tmp_path,
            env=clean_environment() | {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": sim.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait(30)


def test_it_answers_and_stops_on_a_signal(start: Start, chat: SimBot) -> None:
    bot = start()
    chat.send_text(chat_id=OWNER, text="/ping hello")
    chat.wait_text("pong hello", chat_id=OWNER)
    bot.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    output, _ = bot.communicate(timeout=30)
    assert "Stopping: 2" in output or os.name != "posix"
    assert TOKEN.partition(":")[2] not in output


def test_a_second_start_is_refused_and_names_the_first(start: Start, chat: SimBot) -> None:
    bot = start()
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong", chat_id=OWNER)
    second = start()
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "already running" in output and str(bot.pid) in output


def test_beside_a_rival_it_stands_by_and_takes_over_when_that_one_is_gone(
    start: Start, sim: Simulator, chat: SimBot
) -> None:
    start()
    chat.send_text(chat_id=OWNER, text="/ping before")
    chat.wait_text("pong before", chat_id=OWNER)
    with chat.rival():
        sim.wait(lambda: any(call.method == "getWebhookInfo" for call in chat.calls[-3:]), what="standby")
    chat.send_text(chat_id=OWNER, text="/ping after")
    chat.wait_text("pong after", chat_id=OWNER)
    assert chat.texts(OWNER) == ["pong before", "pong after"]
