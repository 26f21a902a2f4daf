"""`bot.py status` as real processes: what is told of a bot that runs, has ended, was killed, is another user's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import OWNER, ROOT, TOKEN, Run, clean_environment

from base.config import Settings
from lock import InstanceLock
from manage import instance
from manage import status as status_of
from service import state
from simulation.account import SimBot
from simulation.simulator import Simulator

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
POLLING = "Polling: running"
BOT_ID = int(TOKEN.partition(":")[0])
NO_TOKEN = f"{BOT_ID}:none"
# The interpreter itself may lie where only root can read: what is needed is loaded before.
AS_NOBODY = (
    "import encodings.utf_8_sig, glob, locale, os, psutil, bot, dotenv.main, manage.status, manage.stop; "
    "os.setgid(65534); os.setuid(65534)"
)


def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / str(BOT_ID)


def status(run_bot: Run, **settings: str) -> tuple[int, dict[str, Any]]:
    asked = run_bot("status", "--json", **settings)
    code = asked.wait_exit()
    return code, json.loads(asked.output)


def status_lines(run_bot: Run, **settings: str) -> tuple[int, str]:
    asked = run_bot("status", **settings)
    return asked.wait_exit(), asked.output


def seen(tmp_path: Path) -> instance.Instance:
    """What `status` sees, without a process of its own."""
    return instance.look(Settings(token=TOKEN, data_dir=tmp_path / "data"))


def until_polling(tmp_path: Path, sim: Simulator, state: str) -> None:
    """Wait until the bot has written that it polls in this state."""
    sim.wait(lambda: (seen(tmp_path).status.get("polling") or {}).get("state") == state, what=state)


def shown(tmp_path: Path) -> str:
    return "\n".join(status_of.lines(seen(tmp_path), time.time()))


def test_a_running_bot_is_told_of_to_programs_and_people(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    bot = run_bot(before="import monitors; monitors.STATUS_EVERY = 0.2")
    bot.wait_output(POLLING)
    until_polling(tmp_path, sim, "running")
    told = status(run_bot)[1]
    assert (told["running"], told["pid"], told["bot_id"]) == (True, bot.pid, BOT_ID)
    assert told["username"] == "whale_test_bot"
    assert told["folder"] == str(folder(tmp_path))
    assert told["conflict"]["since"] is None
    assert told["queue"]["pending"] == 0
    assert {"Binance spot"} <= {source["venue"] for source in told["sources"]}
    code, text = status_lines(run_bot)
    assert code == 0
    assert f"Bot {BOT_ID} (@whale_test_bot) is running." in text
    for part in (f"pid {bot.pid}", "polling   Running; last answer", "conflict  none", "Binance spot", "0 waiting"):
        assert part in text
    assert str(folder(tmp_path)) in text
    bot.stop()
    assert "is not running" in shown(tmp_path)
    assert "last sign of life" not in shown(tmp_path), "a stop in order leaves nothing behind"


def test_a_bot_that_does_not_run_is_told_with_3_and_no_folder_is_made(run_bot: Run, tmp_path: Path) -> None:
    code, told = status(run_bot)
    assert (code, told["running"], told["pid"]) == (3, False, None)
    code, text = status_lines(run_bot)
    assert code == 3
    assert "is not running on this machine" in text
    assert not folder(tmp_path).exists()


def test_a_killed_bots_state_is_not_taken_for_a_running_one_nor_for_the_next_ones(
    run_bot: Run, sim: Simulator, tmp_path: Path
) -> None:
    first = run_bot()
    first.wait_output(POLLING)
    sim.wait(lambda: state.read(folder(tmp_path)), what="the state's file")
    first.kill()
    assert seen(tmp_path).holder is None
    assert seen(tmp_path).status == {}
    assert "it was killed, or the power failed" in shown(tmp_path)
    second = run_bot(
        before="from service import state; state.State.write = lambda self: None"
    )  # one that has not told yet
    second.wait_output(POLLING)
    code, told = status(run_bot)
    assert (code, told["pid"], told["polling"]) == (0, second.pid, None)
    assert "has not written its status yet" in shown(tmp_path)


def test_a_state_of_the_same_pid_but_of_an_earlier_life_is_not_believed(tmp_path: Path) -> None:
    """In a container every life of the bot has the same pid."""
    place = Settings(token=NO_TOKEN, data_dir=tmp_path)
    with InstanceLock(tmp_path / str(BOT_ID), NO_TOKEN) as lock:
        found = instance.look(place)
        assert found.holder is not None
        assert found.holder.pid == os.getpid()
        told = {"schema": 1, "pid": os.getpid(), "written_at": 1.0}
        (lock.folder / state.FILE).write_text(json.dumps(told), encoding="utf-8")
        earlier = (found.holder.since or 0) - 60
        os.utime(lock.folder / state.FILE, (earlier, earlier))
        assert instance.look(place).status == {}
        (lock.folder / state.FILE).write_text(json.dumps(told), encoding="utf-8")
        assert instance.look(place).status == told
        (lock.folder / state.FILE).write_text(json.dumps(told | {"pid": os.getpid() + 1}), encoding="utf-8")
        assert instance.look(place).status == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": 99}',
        b"\xff\xfe",
        b'{"schema": 1}',
        b'{"schema": 1, "pid": %d, "written_at": 4e9, "polling": {}}' % os.getpid(),
        b'{"schema": 1, "pid": %d, "written_at": "soon"}' % os.getpid(),
    ],
    ids=lambda _: "garbage",  # without the pid: each process of a test run has its own
)
def test_garbage_in_the_states_file_is_no_error(tmp_path: Path, content: bytes) -> None:
    with InstanceLock(tmp_path / str(BOT_ID), NO_TOKEN) as lock:
        (lock.folder / state.FILE).write_bytes(content)
        found = instance.look(Settings(token=NO_TOKEN, data_dir=tmp_path))
        assert f"pid {os.getpid()}" in "\n".join(status_of.lines(found, 1.8e9))
        assert status_of.as_json(found, 1.8e9)["running"] is True


def test_healthy_fails_for_a_bot_that_hangs_or_names_a_problem(tmp_path: Path) -> None:
    """The Docker image's health check."""
    place = Settings(token=NO_TOKEN, data_dir=tmp_path)
    with InstanceLock(tmp_path / str(BOT_ID), NO_TOKEN) as lock:
        holder = instance.look(place).holder
        assert holder is not None
        since = holder.since or 0
        told: dict[str, Any] = {"schema": 1, "pid": os.getpid(), "written_at": since + 1}

        def problems(*named: str, after: float) -> list[str]:
            (lock.folder / state.FILE).write_text(json.dumps(told | {"problems": named}), encoding="utf-8")
            os.utime(lock.folder / state.FILE, (since, since))
            return status_of.problems(instance.look(place), since + after)

        assert status_of.problems(instance.look(place), since) == ["It has not written its status yet."]
        assert problems(after=10) == []
        assert problems("The thread polling is stuck.", after=10) == ["The thread polling is stuck."]
        assert problems(after=state.FRESH + 1)[0].startswith("No sign of life for 2 min")


@linux
def test_healthy_exits_with_0_then_1_when_the_bot_is_frozen(run_bot: Run, sim: Simulator, tmp_path: Path) -> None:
    quick = "import monitors; monitors.STATUS_EVERY = 0.2"
    bot = run_bot(before=quick)
    bot.wait_output(POLLING)
    sim.wait(lambda: not status_of.problems(seen(tmp_path), time.time()), what="a healthy bot")
    assert run_bot("status", "--healthy").wait_exit() == 0
    os.kill(bot.pid, signal.SIGSTOP)
    later = f"import time; now = time.time(); time.time = lambda: now + {state.FRESH + 5}"
    try:
        assert run_bot("status", "--healthy", before=later).wait_exit() == 1
    finally:
        os.kill(bot.pid, signal.SIGCONT)


def test_other_wrong_settings_do_not_keep_it_from_looking(run_bot: Run) -> None:
    assert status(run_bot, WHALE_INTERVAL="soon", OWNER_ID="me")[0] == 3


def test_without_a_token_there_is_no_bot_to_look_for(run_bot: Run) -> None:
    asked = run_bot("status", TELEGRAM_BOT_TOKEN="")
    assert asked.wait_exit() == 78
    assert "did not start" not in asked.output
    assert "TELEGRAM_BOT_TOKEN" in asked.output


def test_a_conflict_is_told(run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path) -> None:
    quick = "conflict.JUST_STARTED = 0; monitors.STATUS_EVERY = 0.2"
    run_bot(before=f"import monitors; from botapi import conflict; {quick}").wait_output(POLLING)
    sim.wait(lambda: chat.polling, what="a long poll")
    with chat.rival(timeout=30, pause=3600):
        chat.wait_text("takes over when it stops", chat_id=OWNER)
        until_polling(tmp_path, sim, "standby")
        text = shown(tmp_path)
    assert "another copy has been polling since" in text
    assert "Standing by while another copy polls" in text
    assert "both copies send them, so each may come twice" in text


@linux
def test_a_bot_with_other_settings_is_looked_at_where_it_keeps_its_files(
    run_bot: Run, sim: Simulator, tmp_path: Path
) -> None:
    """A service has its own environment, and it may see a read-only home where the terminal does not."""
    elsewhere = tmp_path / "elsewhere" / str(BOT_ID)
    bot = run_bot(DATA_DIR=str(elsewhere.parent), before="import monitors; monitors.STATUS_EVERY = 0.2")
    bot.wait_output(POLLING)
    sim.wait(lambda: state.read(elsewhere), what="the status file")
    code, found = status(run_bot)
    assert (code, found["folder"], found["username"]) == (0, str(elsewhere), "whale_test_bot")
    assert found["polling"] is not None
    log = run_bot("logs")
    assert log.wait_exit() == 0
    assert POLLING in log.output


@linux
@root
def test_another_users_bot_is_told_as_far_as_it_can_be_seen(run_bot: Run) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    asked = run_bot("status", "--env-file", os.devnull, before=AS_NOBODY, DATA_DIR="/nonexistent")
    assert asked.wait_exit() == 0, asked.output
    assert f"pid {bot.pid}, user root, since" in asked.output
    assert "only user root" in asked.output


@linux
@root
def test_a_settings_file_that_may_not_be_read_is_told(run_bot: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    asked = run_bot("status", before=AS_NOBODY)
    assert asked.wait_exit() == 78
    assert "could not be read: Permission denied" in asked.output


def test_looking_never_makes_a_start_fail(tmp_path: Path) -> None:
    place = Settings(token=NO_TOKEN, data_dir=tmp_path)
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            instance.look(place)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(100):
            with InstanceLock(tmp_path / str(BOT_ID), NO_TOKEN):
                pass
    finally:
        done.set()
        looking.join(30)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is a device of Linux")
def test_output_to_a_full_disk_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    environment = clean_environment() | {"TELEGRAM_BOT_TOKEN": TOKEN, "DATA_DIR": str(tmp_path)}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "bot.py", "status"],
            check=False,
            cwd=ROOT,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
    assert (done.returncode, done.stderr) == (1, "The output could not be written: the disk is full.\n")
