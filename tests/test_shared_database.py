"""Copies that share a database, as real processes on two machines: one leads, and another takes over when it cannot.

Two DATA_DIRs with LOCK_SCOPE=folder are two machines; a relay of its own is a network of its own to the server.
benchmarks/take_over.py measures the times; here a busy machine is given more.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serverkit
from conftest import OWNER, BotProcess, Run
from talk import Talk

from simulation.account import SimBot
from simulation.relay import Relay
from simulation.simulator import Simulator

LEADS = "This copy leads"
NO_LONGER = "This copy leads no longer"
WAITS = "Standing by: the copy on"
POLLING = "Polling: running"
BUSY = 3.0  # seconds more than promised
linux = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

Machine = Callable[..., BotProcess]


@pytest.fixture
def url(own_database: str) -> str:
    """A database without a table."""
    serverkit.empty(own_database, anew=True)
    return own_database


@pytest.fixture
def relay(url: str) -> Iterator[Relay]:
    """A network to the server."""
    with Relay(("127.0.0.1", 5432)) as relay:
        yield relay


@pytest.fixture
def machine(run_bot: Run, tmp_path: Path, url: str) -> Machine:
    """Start the bot on a machine of its own: `machine("one")`. relay: its network to the server."""

    def start(
        name: str, *arguments: str, relay: Relay | None = None, before: str = "", **settings: str
    ) -> BotProcess:
        shared = {
            "DATA_DIR": str(tmp_path / name),
            "LOCK_SCOPE": "folder",
            "BOT_NAME": name,
            "SEND_RATE": "0",
            "DATABASE_URL": url if relay is None else url.replace(":5432/", f":{relay.port}/"),
        }
        return run_bot(*arguments, before=before, **(shared | settings))

    return start


@pytest.fixture
def talk(chat: SimBot) -> Talk:
    return Talk(chat)


def pair(machine: Machine, chat: SimBot, sim: Simulator, **leader: object) -> tuple[BotProcess, BotProcess]:
    """A copy that leads and one that stands by."""
    one = machine("one", **leader)
    one.wait_output(POLLING)
    two = machine("two")
    two.wait_output(WAITS)
    sim.wait(lambda: chat.polling, what="a long poll")
    return one, two


def polls(chat: SimBot, *, since: float) -> list[float]:
    """When getUpdates was called."""
    return [call.at for call in chat.calls if call.method == "getUpdates" and call.at > since]


def conflicts(chat: SimBot) -> int:
    return sum(call.status == 409 for call in chat.calls)


def settled(url: str, sim: Simulator) -> None:
    """All that was sent is marked as sent: a kill now doubles nothing."""
    pending = "SELECT count(*) FROM deliveries WHERE state = 'pending'"
    sim.wait(lambda: serverkit.execute(url, pending) == [(0,)], what="nothing left to send")


def frozen(bot: BotProcess, sim: Simulator) -> None:
    sim.wait(lambda: Path(f"/proc/{bot.pid}/stat").read_text(encoding="utf-8").split()[2] == "T", what="frozen")


# Take-over


def test_a_killed_leader_is_replaced_within_a_second_and_no_command_is_lost(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    one, two = pair(machine, chat, sim)
    with talk.stream():
        talk.heard()
        died = time.time()
        one.kill()
        two.wait_output(POLLING)
        talk.heard()
    assert polls(chat, since=died + 0.01)[0] - died < 1.0 + BUSY
    talk.all_answered_once(doubled=1)  # the answer that was on its way
    assert conflicts(chat) == 0


def test_a_leader_that_is_stopped_hands_over_within_half_a_second_and_nothing_is_doubled(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    one, two = pair(machine, chat, sim)
    with talk.stream():
        talk.heard()
        assert one.stop()[0] == 0
        ended = time.time()
        two.wait_output(POLLING)
        talk.heard()
    assert polls(chat, since=ended)[0] - ended < 0.5 + BUSY
    talk.all_answered_once()
    assert conflicts(chat) == 0


def test_a_leader_that_is_cut_off_from_the_server_has_stopped_before_another_one_begins(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, relay: Relay
) -> None:
    one, two = pair(machine, chat, sim, relay=relay)
    with talk.stream(every=0.2):
        talk.heard()
        began = time.time()
        relay.hold()
        one.wait_output(NO_LONGER, timeout=12 + BUSY)
        stopped = time.time()
        assert LEADS not in two.output
        two.wait_output(POLLING, timeout=12 + BUSY)
        talk.heard()
        relay.restore()
        one.wait_output(WAITS)
        talk.heard()
    first = polls(chat, since=stopped)[0]
    assert first - began < 12.0 + BUSY
    assert not [at for at in polls(chat, since=began + 7.5) if at < first - 0.5], "the old one polls"
    talk.all_answered_once(doubled=1)
    assert conflicts(chat) == 0
    assert one.output.count("database server") == 1, "told once"


@linux
@pytest.mark.parametrize("where", ["at rest", "within a transaction"])
def test_a_frozen_leader_is_replaced_and_does_nothing_more_when_it_wakes_up(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, url: str, where: str
) -> None:
    freezes = (
        "import signal; from commands.dispatch import Commands; run = Commands.run; "
        "Commands.run = lambda self, update: (run(self, update), 'now' in update.text and signal.raise_signal(19))[0]"
    )
    one, two = pair(machine, chat, sim, before=freezes)
    talk.heard()
    settled(url, sim)
    began = time.time()
    if where == "at rest":
        one.process.send_signal(signal.SIGSTOP)
    else:
        chat.send_text(chat_id=OWNER, text="/ping now")
    frozen(one, sim)
    two.wait_output(LEADS, timeout=15 + BUSY)
    assert time.time() - began < 15 + BUSY
    talk.heard()
    calls = chat.count("sendMessage")
    settled(url, sim)
    one.process.send_signal(signal.SIGCONT)
    one.wait_output(NO_LONGER)
    one.wait_output(WAITS)
    assert chat.count("sendMessage") == calls
    talk.heard()
    talk.all_answered_once()
    if where != "at rest":
        assert chat.texts(OWNER).count("pong now") == 1
    assert conflicts(chat) == 0
    assert LEADS not in one.output.partition(NO_LONGER)[2].replace(NO_LONGER, "")
