"""The files of deploy/ under the real PM2 and the real supervisord, where these are installed.

One story for each: it starts, a second start is refused and named, a crash starts it again, a stop is in order, and
an end that another start would not mend (75, 77, 78) is not repeated. Half a minute in all, so only when asked for:
TRY_SUPERVISORS=1 python -m pytest tests/test_supervisors.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import OWNER, ROOT, SECRETS, TOKEN, clean_environment

from base.config import SOURCE_DEFAULTS
from simulation.account import SimBot
from simulation.simulator import Simulator

pytestmark = pytest.mark.skipif("TRY_SUPERVISORS" not in os.environ, reason="slow: TRY_SUPERVISORS=1 runs it")


class Site:
    """A settings file, and the bot as `python bot.py --env-file FILE ...` with it."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.folder = folder
        self.env_file = folder / "my settings.env"
        self._sim = sim
        self.write(OWNER_ID=str(OWNER))
        self.env_file.chmod(0o600)
        # Each program of a supervisor keeps its files and sockets here.
        self.environment = clean_environment() | {"HOME": str(folder), "PM2_HOME": str(folder / "pm2")}

    def write(self, **settings: str) -> None:
        sources = {f"{name.upper()}_URL": self._sim.market_url(name) for name in SOURCE_DEFAULTS}
        every = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": self._sim.url,
            "DATA_DIR": str(self.folder / "data"),
            **sources,
            **settings,
        }
        self.env_file.write_text("".join(f"{name}='{value}'\n" for name, value in every.items()), encoding="utf-8")

    def bot(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "bot.py"), "--env-file", str(self.env_file), *arguments]
        return self.run(*command)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def holder(self) -> int:
        """The pid of the bot that holds the lock, 0 when none does."""
        record = next((self.folder / "data").glob("*/holder.json"), None)
        return int(json.loads(record.read_text(encoding="utf-8"))["pid"]) if record is not None else 0

    def started_by(self) -> str:
        findings = json.loads(self.bot("doctor", "--json").stdout)["findings"]
        return "\n".join(f"{one['level']}: {one['text']}" for one in findings if one["check"] == "started by")


@pytest.fixture
def site(tmp_path: Path, sim: Simulator, chat: SimBot) -> Iterator[Site]:
    yield Site(tmp_path, sim)
    logs = "".join(path.read_text(encoding="utf-8", errors="replace") for path in tmp_path.rglob("*.log"))
    assert not any(secret in logs for secret in SECRETS)


def wait(met: Callable[[], object], what: str, timeout: float = 30.0) -> None:
    ends_at = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < ends_at, what
        threading.Event().wait(0.1)


def kill_bot(site: Site) -> int:
    pid = site.holder()
    assert pid > 1
    os.kill(pid, signal.SIGKILL)
    return pid


def refused(site: Site, kind: str, stop: str) -> None:
    second = site.bot()
    assert second.returncode == 75
    assert f"run by    {kind} cryptosat" in second.stderr
    assert stop in second.stderr


# PM2


class Pm2:
    def __init__(self, site: Site) -> None:
        self._site = site
        self.log_file = site.folder / "pm2/pm2.log"

    def __call__(self, *arguments: str) -> str:
        done = self._site.run("pm2", *arguments)
        return done.stdout + done.stderr

    def app(self) -> tuple[str, int]:
        """Its status and how often PM2 has started it again."""
        listed = self("jlist")
        (app,) = json.loads(listed[listed.index("[{") :])
        return app["pm2_env"]["status"], app["pm2_env"]["restart_time"]


@pytest.mark.skipif(shutil.which("pm2") is None, reason="PM2 is not installed")
def test_pm2(site: Site, sim: Simulator, chat: SimBot) -> None:
    pm2 = Pm2(site)
    file = site.folder / "ecosystem.config.js"
    file.write_text(site.bot("install", "pm2").stdout, encoding="utf-8")
    try:
        pm2("start", str(file))
        wait(lambda: chat.polling, "it polls")
        assert pm2.app() == ("online", 0)
        refused(site, "PM2", "pm2 stop cryptosat")
        pm2("save")
        assert site.started_by() == "ok: PM2 cryptosat (running now)"

        kill_bot(site)
        wait(lambda: pm2.app() == ("online", 1), "PM2 starts it again after a crash")
        polls = chat.count("getUpdates")
        wait(lambda: chat.count("getUpdates") > polls, "it polls again")

        pm2("stop", "cryptosat")
        assert "Stopped in" in last_log_line(site), "not killed"
        assert pm2.app()[0] == "stopped"

        site.write(OWNER_ID="nobody")
        ends_once(pm2, 78)
        site.write(OWNER_ID=str(OWNER))
        sim.revoke(TOKEN)
        ends_once(pm2, 77)
    finally:
        pm2("kill")


def last_log_line(site: Site) -> str:
    log_file = next((site.folder / "data").glob("*/bot.log"))
    return log_file.read_text(encoding="utf-8").splitlines()[-1]


def ends_once(pm2: Pm2, code: int) -> None:
    told = pm2.log_file.stat().st_size
    pm2("restart", "cryptosat")

    def said() -> str:
        return pm2.log_file.read_text(encoding="utf-8")[told:]

    wait(lambda: f"exited with code [{code}]" in said(), f"it ends with {code}")
    threading.Event().wait(1.5)  # a loop's first new start would come after 0.2 s
    assert said().count("starting in") == 1
    assert pm2.app()[0] != "online"


# supervisord


@pytest.mark.skipif(shutil.which("supervisord") is None, reason="supervisord is not installed")
def test_supervisord(site: Site, sim: Simulator, chat: SimBot) -> None:
    main = site.folder / "supervisord.conf"
    socket = site.folder / "s.sock"
    main.write_text(
        f"[unix_http_server]\nfile={socket}\n[supervisord]\nnodaemon=true\nlogfile={site.folder}/supervisord.log\n"
        f"pidfile={site.folder}/supervisord.pid\nchildlogdir={site.folder}\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{socket}\n[include]\nfiles=programs/*.conf\n",
        encoding="utf-8",
    )
    (site.folder / "programs").mkdir()
    file = site.folder / "programs/cryptosat.conf"
    file.write_text(site.bot("install", "supervisor").stdout, encoding="utf-8")

    def control(*arguments: str) -> str:
        return site.run("supervisorctl", "-c", str(main), *arguments).stdout

    def status() -> str:
        return re.sub(r"\s+", " ", control("status", "cryptosat")).strip()

    daemon = subprocess.Popen(
        ["supervisord", "-c", str(main)], cwd=site.folder, env=site.environment, stdout=subprocess.DEVNULL
    )
    try:
        wait(lambda: chat.polling, "it polls")
        wait(lambda: "RUNNING" in status(), "it runs")
        refused(site, "supervisord", "supervisorctl stop cryptosat")
        assert site.started_by() == "ok: supervisord cryptosat (running now)"

        first = kill_bot(site)
        wait(lambda: site.holder() not in (0, first) and "RUNNING" in status(), "it is started again after a crash")

        assert "stopped" in control("stop", "cryptosat")
        assert "Stopped in" in last_log_line(site), "not killed"
        assert "STOPPED" in status()

        site.write(OWNER_ID="nobody")
        control("start", "cryptosat")
        wait(lambda: re.search("FATAL|EXITED", status()), "wrong settings do not loop")
        site.write(OWNER_ID=str(OWNER))
        sim.revoke(TOKEN)
        control("start", "cryptosat")
        wait(lambda: re.search("FATAL|EXITED", status()), "a refused token does not loop")
    finally:
        daemon.terminate()
        daemon.wait(30)
