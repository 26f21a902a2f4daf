"""The whole bot on a bad disk: it says so once, loses nothing, and goes on by itself when the disk is well again."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from conftest import OWNER, Run, first_look

from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.rows import Alert, Chat

if sys.platform != "linux":
    pytest.skip("a limit is put on a running process, which only Linux can do", allow_module_level=True)

import resource

POLLING = "Polling: running"
IMPATIENT = (
    "from store import sqlite; from botapi import outbox, poller as polling; "
    "sqlite.BUSY_PATIENCE = outbox.AFTER_FAILURE = polling.STORE_REST = 0.2; "
    "import monitors; from store.database import Database; monitors.TROUBLE_EVERY = Database.steady = 0.2"
)
SUBSCRIBERS = range(1001, 1021)


@pytest.fixture
def database(tmp_path: Path, chat: SimBot) -> Path:
    """The bot's database, with some subscribers."""
    path = tmp_path / "data" / str(chat.id) / "bot.db"
    path.parent.mkdir(parents=True)
    store = Store(path)
    with store.transaction():
        for chat_id in SUBSCRIBERS:
            chat.add_chat(chat_id)
            store.chats.put(Chat(chat_id=chat_id, added_by=OWNER))
    store.close()
    return path


def fill(path: Path) -> None:
    """So many alerts that not all of them stay in the memory of a process that has looked at them once."""
    store = Store(path)
    with store.transaction():
        for number in range(8000):
            at = time.time() + number - 8000
            # The newest stand where the check at the start looks first: no longer in memory.
            old = Alert(
                key=f"k{99_999 - number}",
                monitor="whales",
                symbol="BTC",
                side="buy",
                usd=2e6,
                headline="BTC buy 2M USD at 64,210",
                facts="x" * 700,
                at_ms=int(at * 1000),
                venue="Binance spot",
                url="https://example.org/BTC",
            )
            store.messages.add_alert(old, now=at)
    store.close()


def limit_files(pid: int, size: int) -> None:
    """From now on the process may write no file beyond that size, as on a full disk or with a used-up quota."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_on_a_full_disk_nothing_is_lost_and_all_goes_on_when_there_is_room(
    run_bot: Run, chat: SimBot, sim: Simulator, database: Path
) -> None:
    bot = run_bot(before=IMPATIENT)
    bot.wait_output(POLLING)
    first_look(sim, "BTC")
    limit_files(bot.pid, 1)
    chat.send_text(OWNER, "/ping kept")
    sim.market.sweep("binance", "BTC", "buy", usd=2_500_000)
    bot.wait_output("cannot be used")
    polls = chat.count("getUpdates")
    sim.wait(lambda: chat.count("getUpdates") >= polls + 5, what="more polls")
    told = chat.wait_text("cannot be used", chat_id=OWNER).text
    assert "the bot continues by itself" in told
    assert not [text for text in chat.texts() if "pong" in text or "BTC" in text]
    assert chat.pending == 1, "what could not be kept is not confirmed to Telegram"
    limit_files(bot.pid, resource.RLIM_INFINITY)
    chat.wait_text("pong kept")
    for chat_id in SUBSCRIBERS:
        chat.wait_text("BTC buy 2.5M", chat_id=chat_id)
    bot.wait_output("written again")
    chat.wait_text("can be written again", chat_id=OWNER)
    code, _ = bot.stop()
    assert code == 0
    assert bot.output.count("cannot be used") == 1
    assert "Traceback" not in bot.output
    assert chat.texts().count(told) == 1
    assert chat.texts().count("pong kept") == 1
    assert sum("BTC buy" in text for text in chat.texts()) == len(SUBSCRIBERS)


def test_a_message_that_was_sent_while_the_disk_was_full_is_not_sent_twice(
    run_bot: Run, chat: SimBot, sim: Simulator, database: Path
) -> None:
    """The disk fills between the sending and the mark: the hardest instant."""
    bot = run_bot(before=IMPATIENT)
    bot.wait_output(POLLING)
    first_look(sim, "BTC")
    slow = sim.fault(method="sendMessage", kind="slow_first_byte", seconds=0.5)
    chat.send_text(OWNER, "/ping once")
    sim.wait(lambda: slow.hits == 1, what="the answer is on its way")
    limit_files(bot.pid, 1)
    chat.wait_text("pong once")
    bot.wait_output("cannot be used")
    limit_files(bot.pid, resource.RLIM_INFINITY)
    bot.wait_output("written again")
    sim.clear_faults()
    chat.send_text(OWNER, "/ping after")
    chat.wait_text("pong after")
    bot.stop()
    assert chat.texts().count("pong once") == 1


def test_while_another_program_holds_the_database_commands_wait(
    run_bot: Run, chat: SimBot, sim: Simulator, database: Path
) -> None:
    bot = run_bot(before=IMPATIENT)
    bot.wait_output(POLLING)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        chat.send_text(OWNER, "/ping kept")
        bot.wait_output("has locked")
        polls = chat.count("getUpdates")
        sim.wait(lambda: chat.count("getUpdates") >= polls + 3, what="more polls")
        other.execute("ROLLBACK")
    chat.wait_text("pong kept")
    bot.wait_output("written again")
    assert bot.output.count("locked") == 1
    assert "Traceback" not in bot.output


def test_a_database_that_is_damaged_in_mid_run_ends_the_bot_and_the_next_start_saves_what_it_can(
    run_bot: Run, chat: SimBot, sim: Simulator, database: Path
) -> None:
    fill(database)
    bot = run_bot()
    bot.wait_output(POLLING)
    # Pages of the big table; the subscribers stand before it.
    with database.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(46 * 4096)
        file.write(b"\xa5" * (size - 46 * 4096))
    number = 0
    while bot.process.poll() is None:
        number += 1
        assert number < 200, "the damage was not noticed"
        chat.send_text(OWNER, "/whales BTC 20")
        sim.wait(lambda: bot.process.poll() is not None or not chat.pending, what="an answer or the end")
    assert bot.wait_exit() == 1
    assert "is damaged" in bot.output
    assert "Start the bot again" in bot.output
    assert "Traceback" not in bot.output
    began = time.time()
    again = run_bot()
    again.wait_output(POLLING)
    told = chat.wait_text("could be saved", chat_id=OWNER).text
    assert "20 chats with alerts" in told
    assert told in again.output, "what the owner is told is in the log, too"
    assert [path for path in database.parent.iterdir() if "corrupt" in path.name]
    first_look(sim, "ETH", since=began)
    sim.market.sweep("binance", "ETH", "buy", usd=2_500_000)
    for chat_id in SUBSCRIBERS:
        chat.wait_text("ETH buy 2.5M", chat_id=chat_id)
    assert again.stop()[0] == 0
    third = run_bot()
    third.wait_output(POLLING)
    assert len([path for path in database.parent.iterdir() if path.name.endswith(".db")]) == 1
