"""The state of a running bot: its shape, its file, and that the file is only a hint."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from conftest import OWNER, TOKEN, Run

from base.config import VERSION
from base.worker import Worker
from botapi.polling_state import ConflictState, PastConflict, PollingReport, PollingState
from botapi.storage import StoreError
from service import state
from service.metrics import Latency
from service.state import Snapshot, State
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.rows import Alert
from venues.availability import SourceHealth
from venues.trades import Bar

SOURCE = SourceHealth(
    source="binance",
    venue="Binance spot",
    host="example.org",
    state="ok",
    since=5.0,
    reason="",
    symbols=("BTC", "ETH"),
    lag=1.5,
    missed=2,
    skipped=0,
    last_ok=9.0,
    retry_at=0.0,
)
ALERT = Alert(
    key="k",
    monitor="whales",
    symbol="BTC",
    side="buy",
    usd=2e6,
    headline="BTC buy 2M USD at 64,210",
    at_ms=0,
    venue="Binance spot",
    url="https://example.org/BTC",
)


class Rig:
    """A state of a bot that was started at 86,500, with a real store. `answers` are what its store says instead."""

    def __init__(self, folder: Path, monotonic: Callable[[], float] = lambda: 100.0, **parts: Any) -> None:
        self.store = Store(folder / "bot.db")
        idle = Worker("polling", lambda: 1.0)
        idle.progress_at = 90.0
        self.parts: dict[str, Any] = {
            "username": "whale_test_bot",
            "polling": PollingReport(state=PollingState.RUNNING, last_good_at=9.0, failing_since=None),
            "conflict": ConflictState(since=None, count=0, episodes=(PastConflict(since=1.0, until=2.0, count=3),)),
            "sending_failed_since": None,
            "sources": [SOURCE],
            "workers": [idle],
            "stuck": [],
            "latency": Latency().spread(),
            "started_at": 86500.0,
        } | parts
        self.state = State(
            folder,
            self.store,
            bot_id=42,
            snapshot=lambda: Snapshot(**self.parts),
            coins=["BTC", "ETH"],
            now=lambda: 86500.0,
            monotonic=monotonic,
        )

    def enqueue(self, count: int) -> None:
        for number in range(count):
            self.store.messages.enqueue(1, "sendMessage", {"text": str(number)}, now=80_000.0)


def test_the_file_holds_the_whole_state_in_the_shape_that_others_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.enqueue(4)
    rig.state.write()
    assert state.read(tmp_path) == {
        "schema": 1,
        "version": VERSION,
        "bot_id": 42,
        "username": "whale_test_bot",
        "pid": os.getpid(),
        "started_at": 86500.0,
        "written_at": 86500.0,
        "polling": {
            "state": "running",
            "words": "Running",
            "last_good_at": 9.0,
            "failing_since": None,
        },
        "conflict": {
            "since": None,
            "count": 0,
            "begun": 0,
            "answers": 0,
            "episodes": [{"since": 1.0, "until": 2.0, "count": 3}],
        },
        "problems": ["Telegram has not answered for 1 d."],
        "alerts_paused": False,
        "sources": [
            {
                "source": "binance",
                "venue": "Binance spot",
                "host": "example.org",
                "state": "ok",
                "since": 5.0,
                "reason": "",
                "covers": "",
                "symbols": ["BTC", "ETH"],
                "lag": 1.5,
                "missed": 2,
                "skipped": 0,
                "except_for": "",
                "quietest": "",
                "silent": 0.0,
            }
        ],
        "queue": {"pending": 4, "sent_24h": 0, "buried_24h": 0},
        "threads": [{"name": "polling", "age": 10.0}],
        "folder": str(tmp_path),
        "copies": [],
    }


def test_a_disk_that_cannot_be_written_is_logged_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    hint = Rig(tmp_path).state
    hint._path = tmp_path / "gone" / "status.json"
    for _ in range(3):
        hint.write()
    assert len(caplog.records) == 1
    assert "status.json cannot be written (No such file or directory)" in caplog.text
    assert hint.latest["bot_id"] == 42


def test_a_store_that_fails_leaves_its_figures_as_they_were_and_the_rest_is_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> int:
        raise StoreError("the disk is gone")

    rig = Rig(tmp_path)
    rig.enqueue(4)
    rig.state.write()
    monkeypatch.setattr(rig.store.messages, "pending_count", fails)
    rig.parts["polling"] = polling("unreachable", good=9.0)
    rig.state.write()
    told = state.read(tmp_path)
    assert told is not None
    assert told["queue"]["pending"] == 4
    assert told["polling"]["state"] == "unreachable"


# What is wrong with it (its patience is 80 s)


def polling(state: str, *, good: float | None, failing: float | None = None) -> PollingReport:
    return PollingReport(state=PollingState(state), last_good_at=good, failing_since=failing)


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        (polling("running", good=86_420.0), ""),
        (polling("running", good=86_419.0), "Telegram has not answered for 1 min."),
        (polling("connecting", good=None), "Not connected to Telegram yet, for 0 s."),
        (polling("unreachable", good=None, failing=86_500.0), "Not connected to Telegram yet, for 0 s."),
        (polling("unreachable", good=80_000.0, failing=86_450.0), ""),
        (
            polling("unreachable", good=86_100.0, failing=86_200.0),
            "Telegram cannot be reached: Telegram has not answered for 5 min.",
        ),
        (
            polling("webhook", good=86_200.0),
            "Removing a webhook that another service set: Telegram has not answered for",
        ),
        (polling("standby", good=None), ""),
        (polling("standby", good=100.0), ""),
        (polling("retrying", good=100.0), ""),
    ],
)
def test_only_a_bot_that_does_not_work_has_a_problem(tmp_path: Path, how: PollingReport, problem: str) -> None:
    found = Rig(tmp_path, polling=how).state.view()["problems"]
    assert len(found) == bool(problem)
    assert "".join(found).startswith(problem)


def test_a_stuck_thread_is_a_problem_in_standby_too(tmp_path: Path) -> None:
    rig = Rig(tmp_path, polling=polling("standby", good=None), stuck=["whales"])
    assert rig.state.view()["problems"] == ["The thread whales is stuck."]


def test_a_database_that_fails_is_a_problem_although_telegram_answers(tmp_path: Path) -> None:
    rig = Rig(tmp_path, polling=polling("running", good=86_500.0), failing_for=120.0)
    assert rig.state.view()["problems"] == ["The database has been unusable for 2 min. The log says why."]


def test_the_view_is_there_before_the_first_collection_and_never_asks_the_store(tmp_path: Path) -> None:
    rig = Rig(tmp_path, polling=polling("standby", good=None))
    with rig.store.transaction():  # as long as another thread holds the store, asking it would wait
        views: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: views.append(rig.state.view()), daemon=True)
        thread.start()
        thread.join(30)
        [view] = views
    assert view["healthy"]
    assert view["polling"]["state"] == "standby"
    assert json.loads(json.dumps(view))["latency"]["p50"] is None


def test_counting_a_large_database_is_not_done_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that took 2 s is not made again for 200 s; how many messages wait is known all the same."""
    clock, counted = [100.0], [0]

    def slow(since: float) -> dict[str, int]:
        counted[0] += 1
        clock[0] += 2.0
        return {"sent": counted[0], "buried": 0}

    rig = Rig(tmp_path, monotonic=lambda: clock[0])
    rig.enqueue(4)
    monkeypatch.setattr(rig.store.messages, "counts", slow)
    for _ in range(40):
        rig.state.write()
        assert rig.state.latest["queue"]["pending"] == 4
        clock[0] += 5.0
    assert counted[0] == 1
    clock[0] += 5.0
    rig.state.write()
    assert rig.state.latest["queue"]["sent_24h"] == 2


def test_the_view_has_a_bar_for_each_of_24_hours(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number, at in enumerate([3_700.0, *[7_300.0] * 5, 86_450.0, 86_460.0]):
        rig.store.messages.add_alert(replace(ALERT, key=f"k{number}", at_ms=int(at * 1000)), now=at)
    rig.state.write()
    hours = rig.state.view()["alerts_by_hour"]
    assert len(hours) == 24
    assert hours[0] == [3600, 1]
    assert hours[1] == [7200, 5]
    assert hours[-1] == [86_400, 2]
    assert sum(count for _, count in hours) == 8


def test_the_view_has_the_last_alerts_of_the_markets_and_the_prices_and_no_wallet(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    kinds = ["whales"] * 9 + ["wallets", "funding"]
    for number, kind in enumerate(kinds):
        alert = replace(ALERT, key=f"k{number}", monitor=kind, headline=f"{kind} {number}", at_ms=number * 1000)
        rig.store.messages.add_alert(alert, now=number)
    rig.store.markets.add_bars([Bar("BTC", 86_100, 50_000.0, 51_000.0, 49_000.0, 50_500.0, 1.0, 2.0)])
    rig.state.write()
    view = rig.state.view()
    assert [alert["headline"] for alert in view["latest_alerts"]] == [
        "funding 10",
        *(f"whales {number}" for number in range(8, 1, -1)),
    ]
    assert view["prices"] == [["BTC", "50,500", "+1.0 %"]], "one without a price is left out"


def test_status_says_when_alerts_are_paused_and_when_nothing_can_be_sent(tmp_path: Path) -> None:
    rig = Rig(tmp_path, sources=[])
    usual = rig.state.lines(UTC, polling=["Polling: last answer 1 s ago."])
    assert usual[1:] == ["Polling: last answer 1 s ago.", "Messages: 0 waiting; in 24 h 0 sent, 0 undeliverable."]
    paused = polling("standby", good=None)._replace(alerts_paused=True)
    rig.parts |= {"polling": paused, "sending_failed_since": 86_490.0}
    told = "\n".join(rig.state.lines(UTC, polling=[]))
    assert "Alerts: paused while another copy answers (ON_CONFLICT=pause, or the button under its message)." in told
    assert "Sending: Telegram unreachable since 00:01:30 UTC." in told


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 99}', "[" * 100_000, "\x00"])
def test_a_file_that_is_not_a_state_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "status.json").write_text(content, encoding="utf-8")
    assert state.read(tmp_path) is None


def test_the_running_bot_writes_its_state_and_removes_the_file_when_it_stops(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / TOKEN.partition(":")[0]
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    bot = run_bot(before="import monitors; monitors.STATUS_EVERY = 0.05")
    bot.wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong")

    def told() -> dict[str, Any]:
        return state.read(folder) or {}

    sim.wait(lambda: told() and told()["polling"]["state"] == "running", what="a state that says running")
    sim.wait(lambda: told()["queue"]["sent_24h"] >= 2, what="the menu and the pong counted as sent")
    assert told()["pid"] == bot.pid
    assert told()["username"] == "whale_test_bot"
    assert {row["name"] for row in told()["threads"]} >= {"polling", "schedule", "whales", "telegram", "outbox-1"}
    assert told()["polling"]["last_good_at"] is not None
    assert bot.stop()[0] == 0
    assert sorted(path.name for path in folder.iterdir() if "status" in path.name) == []


def test_a_conflict_is_in_the_state_while_it_lasts_and_afterwards(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / TOKEN.partition(":")[0]
    bot = run_bot(
        before="import monitors; from botapi import conflict; conflict.UNHARMED = 1; "
        "conflict.STANDBY_REST = 0.5; conflict.UNREAD = 1; "
        "monitors.STATUS_EVERY = 0.05"
    )
    bot.wait_output("Polling: running")
    sim.wait(lambda: chat.polling, what="a long poll")

    def conflict() -> dict[str, Any]:
        return json.loads((folder / "status.json").read_text(encoding="utf-8"))["conflict"]  # type: ignore[no-any-return]

    with chat.rival(timeout=30, pause=3600):
        sim.wait(lambda: conflict()["since"], what="a conflict in the state")
        sim.wait(lambda: (state.read(folder) or {})["polling"]["state"] == "standby", what="standby")
        assert conflict()["episodes"][-1]["until"] is None
    chat.send_text(chat_id=OWNER, text="/ping")
    bot.wait_output("Conflict: over")
    sim.wait(lambda: conflict()["since"] is None, what="no conflict any more")
    [episode] = conflict()["episodes"]
    assert episode["count"] == 1
    assert episode["until"] > episode["since"]


# What is written to the disk


class Disk:
    """A state by a clock of the test's own, and the times at which its file was written and touched."""

    def __init__(self, folder: Path) -> None:
        self.at = 100.0
        self.path = folder / "status.json"
        self.rig = Rig(folder, monotonic=lambda: self.at)
        self.rig.state._wall = lambda: 1000.0 + self.at
        self.rig.state.write()

    def run(self, seconds: int) -> tuple[int, int]:
        """Write every five seconds; how often the file was written and how often it gave a sign of life."""
        written, signs = [self.path.stat().st_ino], [self.path.stat().st_mtime]
        for _ in range(seconds // 5):
            self.at += 5
            self.rig.parts["workers"][0].progress_at = self.at
            self.rig.parts["polling"] = polling("running", good=86_450.0 + self.at % 45)
            self.rig.parts["sources"] = [replace(SOURCE, lag=self.at % 15)]
            self.rig.state.write()
            found = self.path.stat()
            written += [found.st_ino] if found.st_ino != written[-1] else []
            signs += [found.st_mtime] if found.st_mtime != signs[-1] else []
        return len(written) - 1, len(signs) - 1


def test_while_nothing_changes_the_file_is_written_every_hour_and_touched_every_minute(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.run(5)  # its polling answers for the first time
    written, signs = disk.run(3600)
    assert written == 1
    assert 57 <= signs <= 63
    assert disk.at + 1000 - state.seen_at(tmp_path) <= 60


@pytest.mark.parametrize("change", ["polling", "source behind", "deleted"])
def test_what_people_look_for_is_in_the_file_at_once(tmp_path: Path, change: str) -> None:
    disk = Disk(tmp_path)
    disk.at += 1
    if change == "polling":
        disk.rig.parts["polling"] = polling("standby", good=9.0)
    elif change == "source behind":
        disk.rig.parts["sources"] = [replace(SOURCE, lag=400.0)]
    else:
        disk.path.unlink()
    disk.rig.state.write()
    told = state.read(tmp_path)
    assert told is not None
    assert told["polling"]["state"] == ("standby" if change == "polling" else "running")
    assert told["sources"][0]["lag"] == (400.0 if change == "source behind" else 1.5)


def test_a_copy_is_called_by_the_name_that_it_was_given(run_bot: Run, chat: SimBot) -> None:
    run_bot(BOT_NAME="Attic PC").wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/status")
    chat.wait_text("on Attic PC, pid", chat_id=OWNER)
    with chat.rival():
        chat.wait_text("This one is on Attic PC", chat_id=OWNER)
