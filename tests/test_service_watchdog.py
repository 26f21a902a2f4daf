"""A stuck thread is named and ends the process; a resting thread or a suspended machine does not."""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import OWNER, SECRETS, TOKEN, Run

from base import logs
from base.worker import Worker
from machine import stop_requests
from service import state, watchdog
from service.watchdog import LOOK_EVERY, Watchdog
from simulation.account import SimBot
from simulation.simulator import Simulator

LIMIT = 80.0


class Rig:
    """A watchdog over workers that do not run: their heartbeats are given by hand, time too."""

    def __init__(self, *names: str) -> None:
        self.workers = [Worker(name, lambda: 1.0) for name in names]
        self.now = 1000.0
        self.said: list[str] = []
        self.ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.dog = Watchdog(
            lambda: self.workers,
            limit=LIMIT,
            on_stuck=self.said.append,
            give_up=self.give_up,
            monotonic=lambda: self.now,
            end_process=self.ended.put,
        )
        self.dog.look()

    def give_up(self, worker: Worker) -> bool:
        if worker.name != "whales":
            return False
        self.workers[self.workers.index(worker)] = Worker(worker.name, lambda: 1.0)
        return True

    def run(self, seconds: float, *, beating: Callable[[], object] = lambda: None) -> None:
        for _ in range(int(seconds / LOOK_EVERY)):
            self.now += LOOK_EVERY
            beating()
            self.dog.look()


@pytest.fixture(autouse=True)
def long_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "GRACE", 0.05)


def test_a_step_without_a_heartbeat_is_stuck_after_the_limit_and_not_before() -> None:
    rig = Rig("polling", "outbox-1")
    rig.run(LIMIT, beating=rig.workers[1].heartbeat)
    assert rig.dog.stuck == []
    rig.run(LOOK_EVERY, beating=rig.workers[1].heartbeat)
    assert rig.dog.stuck == ["polling"]
    assert len(rig.said) == 1
    assert "polling did nothing for 85 s" in rig.said[0]
    assert "outbox-1" not in rig.said[0]


def test_the_alarm_is_raised_once_and_ends_the_process_if_nothing_else_does() -> None:
    rig = Rig("polling")
    rig.run(3 * LIMIT)
    assert len(rig.said) == 1
    assert rig.ended.get(timeout=30) == 1
    threading.Event().wait(0.1)
    assert rig.ended.empty()


def test_a_long_step_that_sends_heartbeats_is_not_stuck() -> None:
    rig = Rig("polling")
    rig.run(10 * LIMIT, beating=rig.workers[0].heartbeat)
    assert rig.dog.stuck == []


def test_a_stuck_thread_that_can_be_done_without_is_replaced_and_no_alarm_is_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig("polling", "whales")
    stuck = rig.workers[1]
    rig.run(LIMIT + LOOK_EVERY, beating=rig.workers[0].heartbeat)
    assert rig.workers[1] is not stuck
    assert (rig.dog.stuck, rig.said) == ([], [])
    assert "Stuck: whales did nothing for 85 s" in caplog.text
    rig.run(LIMIT, beating=rig.workers[0].heartbeat)
    assert caplog.text.count("Stuck") == 1, "the new one gets its full time"


def test_a_resting_thread_is_not_stuck_until_the_limit_after_its_rest() -> None:
    rig = Rig("polling")
    rig.workers[0].resting = 3600.0
    rig.workers[0].heartbeat()
    rig.run(3600 + LIMIT)
    assert rig.dog.stuck == []
    rig.run(2 * LOOK_EVERY)
    assert rig.dog.stuck == ["polling"]


def test_a_thread_that_sends_heartbeats_again_is_no_longer_stuck() -> None:
    rig = Rig("polling")
    rig.run(2 * LIMIT)
    assert rig.dog.stuck == ["polling"]
    rig.workers[0].heartbeat()
    rig.run(LOOK_EVERY)
    assert rig.dog.stuck == []


def test_time_in_which_the_process_was_frozen_does_not_count() -> None:
    """A laptop that slept for a night, and one that woke up for a second every minute."""
    rig = Rig("polling")
    rig.run(60)
    rig.now += 8 * 3600
    rig.dog.look()
    for _ in range(100):
        rig.now += 60
        rig.dog.look()
    assert rig.dog.stuck == []
    rig.run(LIMIT)
    assert rig.dog.stuck == ["polling"]


def test_a_clock_that_goes_back_raises_no_alarm() -> None:
    rig = Rig("polling")
    rig.now -= 500
    rig.run(LIMIT / 2)
    assert rig.dog.stuck == []


@pytest.fixture
def hung() -> Iterator[Callable[[], None]]:
    """A function that hangs until the end of the test."""
    done = threading.Event()

    def a_step_that_hangs() -> None:
        done.wait(30)

    yield a_step_that_hangs
    done.set()


def test_the_stacks_name_each_thread_and_the_place_it_hangs_at(hung: Callable[[], None]) -> None:
    thread = threading.Thread(target=hung, name="whales", daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while "done.wait(30)" not in (told := watchdog.stacks()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert "whales:\n" in told
    assert "in a_step_that_hangs\n    done.wait(30)" in told


def test_the_stacks_are_logged_without_the_token(tmp_path: Path) -> None:
    record = logging.LogRecord("x", logging.CRITICAL, "x", 1, "Stuck at /bot%s/", (TOKEN,), None)
    assert SECRETS[0] not in logs.Redacting("text").format(record)


# A real process

SOON = (
    "from service import events, watchdog; from botapi import poller as polling; import threading; "
    "watchdog.PATIENCE = 1.0; watchdog.LOOK_EVERY = events.LOOK = 0.1; "
    "polling.LONG_POLL = 1; polling.Poller.__init__.__kwdefaults__['long_poll'] = 1; "
)


def hang_in(package: str, where: str, *, holding_the_store: bool = False) -> str:
    """Python that lets the method `module.Class.name` of the package hang for ever, from its second call on."""
    body = "threading.Event().wait()"
    if holding_the_store:
        body = f"exec('with self._store.transaction(): {body}')"
    return (
        f"from {package} import {where.partition('.')[0]}; was = {where}; calls = []; "
        f"{where} = lambda self, *a, **k: (calls.append(1), {body} if len(calls) > 1 else was(self, *a, **k))[1]"
    )


def test_a_poll_that_hangs_ends_the_process_in_order_with_1_and_the_log_shows_where(
    run_bot: Run, tmp_path: Path
) -> None:
    bot = run_bot(before=SOON + hang_in("botapi", "client.Telegram.updates"))
    assert bot.wait_exit() == 1
    assert "Stuck: polling did nothing" in bot.output
    assert "in get_updates\n" in bot.output
    assert "Stopped in" in bot.output, "the stop was not orderly"
    assert "Stuck: polling" in (state.read(tmp_path / "data" / TOKEN.partition(":")[0]) or {})["ended"]


def test_a_send_that_hangs_ends_the_process_and_the_next_start_sends(run_bot: Run, chat: SimBot) -> None:
    bot = run_bot(before=SOON + hang_in("botapi", "client.Telegram.send"))
    bot.wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/ping kept")
    assert bot.wait_exit() == 1
    assert "Stuck: outbox-" in bot.output
    run_bot()
    chat.wait_text("pong kept")


def test_a_market_host_that_hangs_is_given_up_and_the_bot_goes_on_with_the_next_one(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    """In life the host rests for ten minutes; the next venue is read after a moment here, not after two minutes."""
    quick = "from venues import availability; from watch import feeds; availability.PATIENCE = feeds.PATIENCE = 0.5; "
    bot = run_bot(before=SOON + quick + hang_in("venues", "spot.BinanceSpot.page"))
    bot.wait_output("Stuck: whales did nothing")
    chat.wait_text("hung when asked for whale orders", chat_id=OWNER)
    bot.wait_output("from Coinbase")
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong")
    assert bot.stop()[0] == 0


def test_a_hanging_job_that_makes_the_stop_hang_too_ends_the_process(run_bot: Run) -> None:
    """The stuck thread holds the store: nothing could be closed in order."""
    hanging = hang_in("watch", "whale_monitor.WhaleMonitor.tick", holding_the_store=True)
    bot = run_bot(before=SOON + "watchdog.GRACE = 1.0; " + hanging)
    assert bot.wait_exit() == 1
    assert "Stuck:" in bot.output
    assert "whales" in bot.output


@pytest.mark.parametrize("asked", ["by a file", "by a signal"])
def test_a_bot_whose_store_is_held_for_good_sees_the_request_to_stop_and_ends(
    run_bot: Run, tmp_path: Path, asked: str
) -> None:
    hanging = hang_in("watch", "whale_monitor.WhaleMonitor.tick", holding_the_store=True)
    hanging = hanging.replace("threading.Event().wait()", 'print("Holding", flush=True); threading.Event().wait()')
    soon = "import threading; from service import watchdog; watchdog.GRACE = 1.0; "
    bot = run_bot(before=soon + hanging)
    bot.wait_output("Holding")
    if asked == "by a file":
        stop_requests.ask(tmp_path / "data" / TOKEN.partition(":")[0], bot.pid)
    else:
        bot.process.terminate()
    assert bot.wait_exit() == 0
    assert "Stopping" in bot.output


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_process_that_was_frozen_for_longer_than_the_limit_continues(run_bot: Run, chat: SimBot) -> None:
    """The worst moment: in the middle of a step, which needs a second more before its next heartbeat."""
    slow = "[threading.Event().wait(0.05) for _ in range(20)]"
    bot = run_bot(
        before=f"{SOON} watchdog.PATIENCE = 4; from watch import whale_monitor; "
        f"whale_monitor.WhaleMonitor.tick = "
        f"lambda self: (print('begins', flush=True), {slow}, print('ends', flush=True))"
    )
    bot.wait_output("Polling: running")
    bot.wait_output("begins", times=bot.output.count("begins") + 1)
    bot.process.send_signal(signal.SIGSTOP)
    threading.Event().wait(6)
    bot.process.send_signal(signal.SIGCONT)
    bot.wait_output("ends", times=bot.output.count("ends") + 2)
    chat.send_text(chat_id=OWNER, text="/ping again")
    chat.wait_text("pong again")
    assert "Stuck" not in bot.output
