"""A console that takes no output holds up nobody: no command, no log file, no stop."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import OWNER, PATIENCE, ROOT, TOKEN, clean_environment

from base import config
from base.console import Console, ConsoleHandler
from simulation.account import SimBot
from simulation.simulator import Simulator

linux = pytest.mark.skipif(sys.platform != "linux", reason="fills a pipe of Linux")


class Stuck(io.StringIO):
    """A console that takes nothing until `free` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.free, self.reached = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.free.wait(PATIENCE)
        return super().write(text)


def test_what_finds_no_room_is_counted_and_the_count_shown_when_there_is_room_again() -> None:
    console, screen = Console(room=2), Stuck()
    handler = ConsoleHandler(console, screen)

    def log(words: str) -> None:
        handler.handle(logging.makeLogRecord({"msg": words}))

    log("first")
    assert screen.reached.wait(PATIENCE)
    for number in range(5):
        log(f"line {number}")
    assert not console.drain(0.01)
    screen.free.set()
    assert console.drain(PATIENCE)
    log("again")
    handler.flush()
    left_out = "The console took no output; 3 lines are missing here. The log file has them."
    assert screen.getvalue().splitlines() == ["first", "line 0", "line 1", left_out, "again"]


def test_a_console_that_is_gone_costs_nothing() -> None:
    console, screen = Console(), io.StringIO()
    screen.close()
    console.print("to nobody", screen)
    assert console.drain(PATIENCE)


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """A pipe into which nothing more fits: its ends for reading and writing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"." * 1024)
    except BlockingIOError:
        os.set_blocking(writer, True)
    yield reader, writer
    os.close(reader)
    os.close(writer)


@linux
def test_a_bot_on_a_console_that_takes_no_output_answers_logs_and_stops(
    chat: SimBot, sim: Simulator, tmp_path: Path, full_pipe: tuple[int, int]
) -> None:
    environment = clean_environment() | {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_URL": sim.url,
        "OWNER_ID": str(OWNER),
        "DATA_DIR": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        **{f"{name.upper()}_URL": sim.market_url(name) for name in config.SOURCE_DEFAULTS},
    }
    command = [sys.executable, str(ROOT / "bot.py"), "--env-file", os.devnull]
    bot = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=full_pipe[1], stderr=full_pipe[1]
    )
    try:
        chat.send_text(chat_id=OWNER, text="/ping")
        chat.wait_text("pong", timeout=PATIENCE)
        log = tmp_path / TOKEN.partition(":")[0] / "bot.log"
        assert "Polling: running" in log.read_text(encoding="utf-8")
        began = time.monotonic()
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(PATIENCE) == 0
        assert time.monotonic() - began < 10  # by itself it takes less than 1 s
        assert "Stopped in" in log.read_text(encoding="utf-8")
    finally:
        bot.kill()
        bot.wait(PATIENCE)
