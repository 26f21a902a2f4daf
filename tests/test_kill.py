"""kill -9 at random moments: while commands and whales come in (a short run of benchmarks/soak.py), and while what
chats scheduled is answered."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import OWNER, ROOT, TOKEN, Run
from schedulekit import Desk

from benchmarks.soak import KILL_AT_STATEMENT, soak
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.rows import Chat
from store.schedules import Scheduled

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kill -9 and what it leaves behind")


def test_killed_at_any_instant_it_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    """Raises Failed with what was lost, run twice, or sent twice without being in flight at a kill."""
    report = soak(tmp_path, kills=8, seed=15)
    assert sum(report.kills.values()) == 8
    assert report.commands > 50
    assert report.whales > 5


KILLED_AT_EACH_STATEMENT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from schedulekit import Desk, at
from storekit import raw

statement, ended = 0, 1
while ended:  # each child is killed one statement later than the one before it, until one gets through
    statement += 1
    child = os.fork()
    if not child:
        desk, left = Desk(Path(sys.argv[1])), iter(range(statement - 1, -1, -1))
        desk.clock = at("2026-11-24 09:00")
        raw(desk.store).set_trace_callback(
            lambda _: next(left, 0) or os.kill(os.getpid(), signal.SIGKILL)
        )
        desk.tick()
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
print(statement)
"""


def test_a_kill_at_any_statement_of_the_answering_doubles_and_loses_no_message(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for chat_id in (1, 2, 3):
        desk.subscribe(chat_id)
    desk.store.close()
    run = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_STATEMENT, tmp_path], cwd=ROOT, capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert int(run.stdout) > 20, run.stderr
    desk.restart()
    assert [chat_id for chat_id, _ in desk.told()] == [1, 2, 3]
    desk.store.close()


def test_what_is_scheduled_is_answered_once_whenever_the_bot_is_killed(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "data" / TOKEN.partition(":")[0] / "bot.db"
    path.parent.mkdir(parents=True)
    store, chats = Store(path), range(101, 121)
    for chat_id in chats:
        chat.add_chat(chat_id)
        store.chats.put(Chat(chat_id=chat_id, added_by=OWNER))
        command = "digest" if chat_id % 2 else "liq"
        due = Scheduled(chat_id=chat_id, user_id=OWNER, rule="every 12h", command=command, at=time.time() - 60)
        store.schedules.add(due)
    left = []
    for statement in (120, 160):
        assert run_bot(before=KILL_AT_STATEMENT.format(number=statement)).wait_exit() == -9
        left.append(len(store.schedules.due(time.time())))
    assert any(0 < number < len(chats) for number in left), f"no kill fell between two answers: {left}"
    bot = run_bot()
    sim.wait(lambda: not store.schedules.due(time.time()) and not store.pending(), what="all answers")
    made = Counter(row["chat_id"] for row in store._db.rows("SELECT chat_id FROM deliveries WHERE chat_id > 100"))
    assert made == dict.fromkeys(chats, 1)
    assert all(chat.texts(chat_id) for chat_id in chats)
    assert bot.stop()[0] == 0
    store.close()
