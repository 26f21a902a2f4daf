"""`bot.py logs`: the end of the log, what comes after it, and no harm to the bot that writes it."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TOKEN, Run, clean_environment

from base.logs import Follower
from manage import logs
from simulation.simulator import Simulator

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data" / TOKEN.partition(":")[0]).mkdir(parents=True)
    return tmp_path / "data" / TOKEN.partition(":")[0] / "bot.log"


Write = Callable[[str], object]


@pytest.fixture
def write(path: Path) -> Iterator[Write]:
    """Writes a line as the bot does; the file is rotated every few lines."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=60, backupCount=3, encoding="utf-8")
    yield lambda line: handler.handle(logging.makeLogRecord({"msg": line}))
    handler.close()


def test_the_last_lines_are_shown_also_across_a_rotation(run_bot: Run, write: Write) -> None:
    for number in range(12):
        write(f"line {number:02} a")
    asked = run_bot("logs", "-n", "7")
    assert asked.wait_exit() == 0
    assert asked.output == "".join(f"line {number:02} a\n" for number in range(5, 12))
    assert run_bot("logs", "-n", "0").wait_exit() == 0


def test_a_terminal_gets_no_control_characters(run_bot: Run, path: Path) -> None:
    path.write_text("one\x1b[2J\x9b\u202e\n\ntwo\n", encoding="utf-8")
    asked = run_bot("logs")
    assert asked.wait_exit() == 0
    assert [line.isprintable() for line in asked.output.split("\n")] == [True] * 4


def test_no_log_yet_is_told_and_nothing_is_made(run_bot: Run, tmp_path: Path) -> None:
    asked = run_bot("logs")
    assert asked.wait_exit() == 1
    assert "No log at" in asked.output and "not --once" in asked.output
    assert not (tmp_path / "data").exists()


def test_a_pipe_gets_the_log_alone_and_a_person_why_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file = tmp_path / "test.env"
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nDATA_DIR={tmp_path}\n", encoding="utf-8")
    assert logs.run(env_file, argparse.Namespace(lines=3, follow=False)) == 1
    printed = capsys.readouterr()
    assert "No log at" in printed.err
    assert not printed.out


def test_a_file_where_the_folder_should_be_is_no_log_and_no_traceback(run_bot: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    asked = run_bot("logs")
    assert asked.wait_exit() == 1
    assert "No log at" in asked.output


@pytest.mark.parametrize("typed", ["abc", "-3", "nan"])
def test_a_number_of_lines_that_is_none_is_refused_in_words(run_bot: Run, typed: str) -> None:
    asked = run_bot("logs", "-n", typed)
    assert asked.wait_exit() == 64
    assert f"{typed!r}: expected a number from 0 to 1,000,000" in asked.output


def test_following_loses_and_doubles_no_line_across_rotations(path: Path, write: Write) -> None:
    follower = Follower(path)
    seen = ""
    for number in range(100):
        write(f"line {number:03}")
        if number % 3 == 0:  # several lines, and often a rotation, between two looks
            seen += follower.more()
    seen += follower.more()
    assert seen.splitlines() == [f"line {number:03}" for number in range(100)]
    assert follower.more() == ""


def test_a_character_that_comes_in_two_halves_is_shown_whole(path: Path) -> None:
    follower = Follower(path)
    euro = "€".encode()
    path.write_bytes(b"1 " + euro[:2])
    assert follower.more() == "1 "
    with path.open("ab") as file:
        file.write(euro[2:])
    assert follower.more() == "€"


def test_lines_that_end_as_on_windows_end_once(path: Path, run_bot: Run) -> None:
    path.write_bytes(b"one\r\ntwo\r\n")
    asked = run_bot("logs")
    assert asked.wait_exit() == 0
    assert asked.output == "one\ntwo\n"
    follower = Follower(path)
    assert follower.more() == "one\ntwo\n"
    path.write_bytes(b"one\r\ntwo\r\nthree\r")
    assert follower.more() == "three"
    path.write_bytes(b"one\r\ntwo\r\nthree\r\n")
    assert follower.more() == "\n"


def test_a_file_that_was_emptied_in_place_is_read_from_its_beginning(path: Path) -> None:
    follower = Follower(path)
    path.write_bytes(b"a long old line\n")
    assert follower.more() == "a long old line\n"
    path.write_bytes(b"new\n")
    assert follower.more() == "new\n"


def test_between_two_looks_nothing_is_held_open(path: Path) -> None:
    """On Windows an open reader would keep the bot from rotating its log."""
    path.write_bytes(b"x\n")
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208
    followers = [Follower(path) for _ in range(5)]
    for follower in followers:
        follower.more()
    assert (len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0) == before  # noqa: PTH208


@posix
def test_follow_shows_what_the_bot_writes_and_ctrl_c_ends_it_with_0(run_bot: Run, sim: Simulator) -> None:
    asked = run_bot("logs", "-f")
    asked.wait_output("waiting for it")
    bot = run_bot()
    asked.wait_output("Polling: running")
    bot.stop()
    asked.wait_output("Stopped in")
    code, _ = asked.stop(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in asked.output


@posix
def test_a_reader_that_goes_away_is_no_error(path: Path, tmp_path: Path) -> None:
    path.write_text("line\n" * 200_000, encoding="utf-8")
    (tmp_path / "no.env").touch()
    environment = clean_environment() | {"TELEGRAM_BOT_TOKEN": TOKEN, "DATA_DIR": str(tmp_path / "data")}
    arguments = [sys.executable, str(ROOT / "bot.py"), "logs", "-n", "200000", "--env-file", str(tmp_path / "no.env")]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


@posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_before_a_command_speaks_is_no_error(tmp_path: Path, unbuffered: str) -> None:
    environment = clean_environment() | {"TELEGRAM_BOT_TOKEN": TOKEN, "DATA_DIR": str(tmp_path / "data")}
    (tmp_path / "no.env").touch()
    arguments = [sys.executable, str(ROOT / "bot.py"), "status", "--env-file", str(tmp_path / "no.env")]
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.run(
        arguments,
        env=environment | {"PYTHONUNBUFFERED": unbuffered},
        stdout=write_end,
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
    )
    os.close(write_end)
    assert (process.returncode, process.stderr) == (0, b"")


def test_a_log_that_grows_faster_than_one_look_is_read_to_its_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("base.logs.CHUNK", 10)
    path.write_bytes(b"0123456789" * 3)
    follower = Follower(path)
    assert [follower.more() for _ in range(4)] == ["0123456789"] * 3 + [""]
