"""What is sent to systemd, read from a real datagram socket as systemd reads it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run

from botapi.polling_state import PollingState
from service.systemd import CONNECTING, Notifier
from simulation.account import SimBot
from simulation.simulator import Simulator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is on Linux only")


class Manager:
    """The service manager's end of the line, at a path or at an abstract `@name`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def heard(self) -> list[str]:
        self._socket.settimeout(60)
        return self._socket.recv(4096).decode().split("\n")

    def wait_for(self, message: str) -> list[str]:
        """Everything up to the datagram that holds the message; each datagram's lines one after the other."""
        told: list[str] = []
        while message not in told:
            told += self.heard()
        return told

    def so_far(self) -> list[str]:
        """What was said and not heard yet."""
        self._socket.setblocking(False)
        told: list[str] = []
        try:
            while True:
                told += self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return told

    def silent(self) -> bool:
        return not self.so_far()

    def says_nothing_for(self, seconds: float) -> bool:
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are on Linux only")
    found = Manager(str(tmp_path / "notify") if request.param == "path" else f"@cryptosat-test-{os.getpid()}")
    yield found
    found.close()


@pytest.fixture
def by_path(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ready_is_sent_once_and_a_status_only_when_it_changes(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address})
    notifier.status("Polling as @whale_bot", ready=True)
    assert manager.heard() == ["READY=1", "STATUS=Polling as @whale_bot"]
    notifier.status("Polling as @whale_bot", ready=True)
    notifier.status("Polling as @whale_bot")
    assert manager.silent()
    notifier.status("Standing by", ready=True)
    assert manager.heard() == ["STATUS=Standing by"]
    notifier.stopping()
    assert "STOPPING=1" in manager.heard()


def test_a_line_end_in_a_status_cannot_start_another_assignment(manager: Manager) -> None:
    Notifier({"NOTIFY_SOCKET": manager.address}).status("wrong\nREADY=1")
    assert manager.heard() == ["STATUS=wrong READY=1"]


def test_heartbeats_are_sent_at_a_third_of_the_limit(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "180000000"}, monotonic=clock)
    assert notifier.watchdog == 180
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
    clock.now += 59
    notifier.alive()
    assert manager.silent()
    clock.now += 1
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}],
    ids=["none", "zero", "garbage", "of another process"],
)
def test_without_a_limit_no_heartbeat_is_sent(manager: Manager, environ: dict[str, str]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, **environ})
    notifier.alive()
    assert notifier.watchdog is None
    assert manager.silent()


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens-here", "vsock:1:2", "relative"])
def test_a_socket_that_nobody_reads_is_no_error(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    notifier.status("Polling", ready=True)
    notifier.alive()
    notifier.stopping()


def test_the_start_is_done_when_the_bot_polls_or_telegram_stays_unreachable(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "9000000"}, monotonic=clock)
    notifier.report(PollingState.CONNECTING, well=True)
    assert manager.heard() == ["STATUS=Connecting to Telegram"]
    assert manager.heard() == ["WATCHDOG=1"]
    clock.now += CONNECTING + 1
    notifier.report(PollingState.CONNECTING, well=False)
    assert manager.heard() == ["READY=1", "STATUS=Connecting to Telegram"]
    assert manager.silent(), "no heartbeat while a thread is stuck"
    notifier.report(PollingState.RUNNING, well=True)
    assert manager.heard() == ["STATUS=Running"]
    assert manager.heard() == ["WATCHDOG=1"]


def test_the_bot_sends_ready_when_it_polls_then_heartbeats_then_stopping(
    by_path: Manager, sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    bot = run_bot(NOTIFY_SOCKET=by_path.address, WATCHDOG_USEC="3000000")
    before = by_path.wait_for("READY=1")
    assert chat.count("getUpdates") >= 1
    assert "STATUS=Running" in before
    by_path.wait_for("WATCHDOG=1")
    assert by_path.wait_for("WATCHDOG=1"), "again and again"
    bot.stop()
    assert "STATUS=Stopping" in by_path.wait_for("STOPPING=1")


def test_a_standby_is_ready_and_sends_heartbeats_too(
    by_path: Manager, sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    run_bot().wait_output("Polling: running")
    run_bot(
        "--wait",
        before="from service import run; run.START_GRACE = 0.1",
        NOTIFY_SOCKET=by_path.address,
        WATCHDOG_USEC="900000",
    )
    told = by_path.wait_for("READY=1")
    assert "STATUS=Standing by: another copy runs on this machine" in told
    by_path.wait_for("WATCHDOG=1")
    by_path.wait_for("WATCHDOG=1")


def test_a_bot_whose_polling_is_stuck_sends_no_heartbeat(
    by_path: Manager, sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    stuck = (
        "import threading; from botapi import poller as polling; from service import app, events, watchdog; "
        "watchdog.LOOK_EVERY = events.LOOK = app.PATIENCE = 0.2; app.LONG_POLL = 0; "
        "watchdog.Watchdog._alarm = lambda *_: print('Seen', flush=True); "
        "polling.Poller.step = lambda _: threading.Event().wait(60) or 60"
    )
    bot = run_bot(before=stuck, NOTIFY_SOCKET=by_path.address, WATCHDOG_USEC="300000")
    bot.wait_output("Seen", timeout=60)
    assert "STATUS=Connecting to Telegram" in by_path.so_far()
    assert by_path.says_nothing_for(1.0)
