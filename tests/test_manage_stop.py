"""`bot.py stop` as real processes: it stops what it is sure of, and only where nothing starts the bot again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import pytest
from conftest import ROOT, TOKEN, Run, clean_environment
from test_manage_status import AS_NOBODY, BOT_ID, POLLING, folder, linux, root

from base import files
from machine import processes, stop_requests
from machine.machine_lock import MachineLock
from manage import stop
from simulation.simulator import Simulator

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
# As on a system where no kernel object names the holder (macOS, Windows): its record is all there is.
UNSURE = "import lock; lock._flock_holder = lambda path: None"
NOBODY = 65534
AS_NOBODY_TO_RUN = f"import manage.setup, service.run, monitors, logging.handlers; {AS_NOBODY}"
UNSURE_SETTINGS = {"LOCK_SCOPE": "folder"}


def test_a_running_bot_stops_in_order_and_it_is_told_how_long_it_took(run_bot: Run) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    asked = run_bot("stop")
    assert asked.wait_exit() == 0, asked.output
    assert f"pid {bot.pid}, stopped in " in asked.output
    assert bot.wait_exit() == 0
    assert "Stopped in" in bot.output


def test_a_bot_that_does_not_run_is_no_failure(run_bot: Run, tmp_path: Path) -> None:
    asked = run_bot("stop")
    assert asked.wait_exit() == 0
    assert "was not running" in asked.output
    assert not folder(tmp_path).exists()


def test_a_copy_that_waited_and_takes_over_is_told(run_bot: Run) -> None:
    first = run_bot()
    first.wait_output(POLLING)
    second = run_bot("--wait")
    second.wait_output("Standing by")
    # a busy machine is slow to take over
    asked = run_bot("stop", before="from manage import stop; stop.SETTLE = 5.0")
    assert asked.wait_exit() == 1
    assert f"taken over (pid {second.pid})" in asked.output
    assert first.wait_exit() == 0
    assert second.stop()[0] == 0


@posix
def test_a_bot_that_hangs_is_told_after_the_timeout_and_not_killed(
    run_bot: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    bot.process.send_signal(signal.SIGSTOP)
    try:
        monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
        assert stop.run(tmp_path / "no.env", Namespace(timeout=0.3)) == 1
        assert "has not stopped within 0.3 s" in capsys.readouterr().err
        assert bot.process.poll() is None
    finally:
        bot.process.send_signal(signal.SIGCONT)
    assert bot.wait_exit() == 0, "it has been asked, and does it when it can"


@pytest.mark.parametrize("word", ["-1", "nan", "soon", "inf"])
def test_a_timeout_that_is_none_ends_with_64(run_bot: Run, word: str) -> None:
    assert run_bot("stop", f"--timeout={word}").wait_exit() == 64


@linux
def test_under_a_supervisor_its_own_command_is_named_and_nothing_is_stopped(
    run_bot: Run, sim: Simulator, tmp_path: Path
) -> None:
    code = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[2:]))  # PM2 v5: God Daemon"
    (tmp_path / "no.env").touch()
    settings = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_URL": sim.url,
        "OWNER_ID": "7",
        "DATA_DIR": str(tmp_path / "data"),
        **{f"{name}_URL": sim.market_url(name.lower()) for name in ("BINANCE", "BINANCE_API", "COINBASE", "KRAKEN")},
    }
    bot = [sys.executable, str(ROOT / "bot.py"), "--env-file", str(tmp_path / "no.env")]
    manager = subprocess.Popen(
        [sys.executable, "-c", code, "pm2", *bot],
        env=clean_environment() | settings | {"pm_id": "0", "name": "whale bot"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    record = folder(tmp_path) / "holder.json"
    sim.wait(record.exists, what="the bot's record")
    pid = json.loads(record.read_text(encoding="utf-8"))["pid"]
    try:
        asked = run_bot("stop")
        assert asked.wait_exit() == 1
        assert "PM2 whale bot, which would restart it" in asked.output
        assert "\n  pm2 stop 'whale bot'\n" in asked.output
        assert manager.poll() is None
        assert processes.is_alive(pid)
    finally:
        os.kill(pid, signal.SIGTERM)
        assert manager.wait(30) == 0


@linux
@root
def test_another_users_bot_is_left_alone_and_the_command_named(run_bot: Run) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    asked = run_bot("stop", "--env-file", os.devnull, before=AS_NOBODY, DATA_DIR="/nonexistent")
    assert asked.wait_exit() == 1, asked.output
    assert "as user root" in asked.output
    assert f"kill -TERM {bot.pid}" in asked.output
    assert bot.process.poll() is None


GONE = """
import os, socket, sys
held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
held.bind(chr(0) + sys.argv[1])
held.listen()
child = os.fork()
if child:
    print(os.getpid(), child, flush=True)
    os._exit(0)
sys.stdin.read()
"""


@linux
@root
def test_a_process_that_came_to_the_pid_of_a_gone_listener_is_not_touched(run_bot: Run) -> None:
    """A child keeps the socket, the kernel still names the parent's pid, and that is another process's by now."""
    name = MachineLock(BOT_ID, TOKEN.partition(":")[2])._name
    for _ in range(20):
        keeper = subprocess.Popen(
            [sys.executable, "-c", GONE, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert keeper.stdout is not None
        listener, _child = map(int, keeper.stdout.readline().split())
        keeper.wait()
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(listener - 1), encoding="utf-8")
        innocent = subprocess.Popen(["sleep", "60"])
        try:
            if innocent.pid != listener:  # some other process was quicker
                continue
            asked = run_bot("stop")
            assert asked.wait_exit() == 1
            assert f"Process {listener} of user root holds the name" in asked.output
            assert "LOCK_SCOPE=folder" in asked.output
            assert innocent.poll() is None
            return
        finally:
            innocent.kill()
            innocent.wait()
            keeper.communicate()
    pytest.skip("the pid cannot be had on a machine this busy")


@linux
@root
def test_root_stops_the_bot_of_another_account_without_believing_what_it_says(run_bot: Run, sim: Simulator) -> None:
    with tempfile.TemporaryDirectory() as data:
        os.chown(data, NOBODY, NOBODY)
        bot = run_bot("--env-file", os.devnull, before=AS_NOBODY_TO_RUN, DATA_DIR=data)
        bot.wait_output(POLLING)
        told = run_bot("status", DATA_DIR=data)
        assert told.wait_exit() == 0
        assert "bot.py" not in told.output.partition("process")[2].partition("stop it")[0], "not its command"
        assert "stop it   as user" in told.output
        asked = run_bot("stop", DATA_DIR=data)
        assert asked.wait_exit() == 0, asked.output
        assert bot.wait_exit() == 0


@posix
def test_a_folder_copied_from_another_computer_is_no_running_bot(
    run_bot: Run, sim: Simulator, tmp_path: Path
) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    record = folder(tmp_path) / "holder.json"
    sim.wait(lambda: "process" in (files.read_json(record) or {}), what="the complete record")
    bot.kill()
    left = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(left | {"host": "the-old-server"}), encoding="utf-8")
    told, asked, examined = run_bot("status"), run_bot("stop"), run_bot("doctor", "--json")
    assert told.wait_exit() == 3
    assert "is of the-old-server: if the bot still runs there, stop it there" in told.output
    assert asked.wait_exit() == 0
    assert "was not running on this machine. Its folder is of the-old-server" in asked.output
    examined.wait_exit()
    assert "free: this bot is not running" in examined.output
    assert "is of the-old-server: it was copied, or is shared" in examined.output
    run_bot().wait_output(POLLING)


# Without a kernel's word: through a file


@posix
def test_where_the_kernel_names_nobody_a_file_asks(run_bot: Run, tmp_path: Path) -> None:
    bot = run_bot(**UNSURE_SETTINGS)
    bot.wait_output(POLLING)
    asked = run_bot("stop", before=f"{UNSURE}; import os; os.kill = None", **UNSURE_SETTINGS)
    assert asked.wait_exit() == 0, asked.output
    assert bot.wait_exit() == 0
    assert "`bot.py stop` asked for it" in bot.output
    assert not (folder(tmp_path) / stop_requests.FILE).exists()


@posix
def test_a_process_that_came_to_a_killed_bots_pid_is_not_touched(
    run_bot: Run, sim: Simulator, tmp_path: Path
) -> None:
    bot = run_bot(**UNSURE_SETTINGS)
    record = folder(tmp_path) / "holder.json"
    sim.wait(lambda: "process" in (files.read_json(record) or {}), what="the complete record")
    bot.kill()
    innocent = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        left = json.loads(record.read_text(encoding="utf-8"))
        record.write_text(json.dumps(left | {"pid": innocent.pid}), encoding="utf-8")
        asked = run_bot("stop", **UNSURE_SETTINGS)
        assert asked.wait_exit() == 0, asked.output
        assert "was not running" in asked.output
        assert innocent.poll() is None
    finally:
        innocent.communicate(timeout=30)


def test_a_file_for_another_process_or_from_before_the_start_stops_nobody(
    run_bot: Run, sim: Simulator, tmp_path: Path
) -> None:
    folder(tmp_path).mkdir(parents=True)
    path = folder(tmp_path) / stop_requests.FILE
    path.write_text("{}", encoding="utf-8")
    bot = run_bot()
    bot.wait_output(POLLING)
    for content in (json.dumps({"pid": bot.pid + 1}), "garbage"):
        path.write_text(content, encoding="utf-8")
        sim.wait(lambda: not path.exists(), what="that the bot has looked at the file")
    assert bot.process.poll() is None
    stop_requests.ask(folder(tmp_path), bot.pid)
    assert bot.wait_exit() == 0
