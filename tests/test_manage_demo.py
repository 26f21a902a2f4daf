"""`python bot.py --demo`: however the demo ends, its bot ends too."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, clean_environment

from manage.demo import _Demo
from manage.screen import Screen
from simulation.simulator import Simulator

if sys.platform != "win32":
    import termios

ENDS = ["SIGKILL", "SIGTERM", "SIGHUP"] if sys.platform != "win32" else ["SIGTERM"]  # there it kills
WITHIN = 40.0  # seconds, on a busy machine


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bot.py"), "--demo"],
        env=clean_environment() | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    yield process
    process.kill()
    process.communicate(timeout=WITHIN)


def shown(demo: subprocess.Popen[str], words: str) -> None:
    """Read what the demo prints until a line has the words."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if words in line:
            return
    raise AssertionError(f"the demo ended without printing {words!r}")


def bot_of(demo: subprocess.Popen[str]) -> psutil.Process:
    (bot,) = (child for child in psutil.Process(demo.pid).children() if "bot.py" in " ".join(child.cmdline()))
    return bot


def wait_gone(process: psutil.Process) -> None:
    ends_at = time.monotonic() + WITHIN
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < ends_at, f"the demo's bot {process.pid} still runs"
        threading.Event().wait(0.05)


@pytest.mark.parametrize("name", ENDS)
def test_the_bot_of_a_demo_that_is_killed_or_loses_its_terminal_ends_too(
    demo: subprocess.Popen[str], name: str
) -> None:
    shown(demo, "Alerts are on in this chat")  # the bot answers
    bot = bot_of(demo)
    try:
        demo.send_signal(getattr(signal, name))
        wait_gone(bot)
    finally:
        if bot.is_running():
            bot.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_demo_that_is_asked_to_end_leaves_no_files(demo: subprocess.Popen[str], name: str, tmp_path: Path) -> None:
    shown(demo, "The bot starts")
    demo.send_signal(getattr(signal, name))
    assert demo.wait(WITHIN) == 0
    assert list(tmp_path.glob("cryptosat-demo-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_terminal_shows_the_typed_line_whole_gets_no_echo_and_is_left_as_it_was(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(ours, (24, 50))
    before = termios.tcgetattr(ours)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bot.py"), "--demo"],
        env=clean_environment() | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    output, unsent = b"", b"/wha"
    try:
        ends_at = time.monotonic() + WITHIN
        while b"40 fills" not in output:
            assert time.monotonic() < ends_at, output.decode()
            if select.select([ours], [], [], 0.5)[0]:
                output += os.read(ours, 4096)
            if unsent and b"say hello" in output:
                os.write(ours, unsent)
                unsent = b""
        while not output.endswith(b"> /wha"):
            output += os.read(ours, 4096)
        os.write(ours, b"\x15quit\n")
        while b"The demo is over." not in output:
            output += os.read(ours, 4096)
        assert process.wait(WITHIN) == 0
    finally:
        process.kill()
        process.wait()
    rows = output.decode().replace("\r\n", "\n").split("\n")
    assert [row for row in rows if len(row.rpartition("\r")[2]) > 50] == []
    assert set(re.findall("(..)/wha", output.decode())) == {"> "}, "the terminal echoes what is typed"
    assert termios.tcgetattr(ours) == before
    os.close(ours)
    os.close(theirs)


def test_without_matplotlib_the_demo_says_how_to_get_charts_and_goes_on(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = io.StringIO()
    _Demo(sim, Screen(told, width=lambda: 200), tmp_path, interactive=False)._show_a_chart()
    assert "-m pip install matplotlib" in told.getvalue()


def test_a_bot_that_is_told_to_end_with_its_input_ends_while_it_still_starts(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bot.py"), "--stop-at-eof"],
        env=clean_environment()
        | {
            "HOME": str(tmp_path),
            "TELEGRAM_BOT_TOKEN": "123456789:nobody-listens-at-this-port-0000000",
            "TELEGRAM_API_URL": "http://127.0.0.1:9",
            "OWNER_ID": "1",
            "DATA_DIR": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    output, _ = process.communicate(timeout=WITHIN)
    assert process.returncode == 0, output
