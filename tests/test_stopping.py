"""SIGTERM in every state of polling: exit 0 soon, and every command that was sent is answered once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

import pytest
from conftest import OWNER, BotProcess, Run

from simulation.account import SimBot
from simulation.simulator import Simulator

POLLING = "Polling: running"
LIMIT = 6.0  # seconds; on a machine with nothing else to do none of them takes 1 s
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def polling(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    bot.wait_output(POLLING)
    sim.wait(lambda: chat.polling, what="a long poll in flight")


def connecting(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    sim.wait(lambda: chat.count("getMe"), what="a getMe that hangs")


def retry_rest(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    sim.wait(lambda: chat.polling, what="the first long poll")
    chat.rival(timeout=30, pause=3600)
    chat.wait_text("tries again in a few seconds", chat_id=OWNER)


def standby(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    polling(bot, chat, sim)
    chat.rival(timeout=30, pause=3600)
    chat.wait_text("takes over when it stops", chat_id=OWNER)


def webhook_rest(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    polling(bot, chat, sim)
    for _ in range(3):
        sim.wait(lambda: not chat.webhook_url, what="no webhook")
        chat.set_webhook_as_foreigner("https://hook.example.net/x")
    bot.wait_output("it is removed less and less often")


def network_rest(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    polling(bot, chat, sim)
    sim.offline()
    bot.wait_output("Polling: the connection was refused or broken. Trying again")


def wait_of_a_429(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    bot.wait_output(POLLING)
    sim.fault("getUpdates", kind="retry_after", retry_after=30)
    bot.wait_output("Telegram asks to wait 30 s")


@pytest.mark.parametrize(
    "state",
    [connecting, polling, retry_rest, standby, webhook_rest, network_rest, wait_of_a_429],
    ids=lambda x: x.__name__,
)
def test_a_stop_is_quick_and_loses_no_command(
    run_bot: Run, chat: SimBot, sim: Simulator, state: Callable[[BotProcess, SimBot, Simulator], None]
) -> None:
    if state is connecting:
        sim.fault("getMe", kind="hang")
    bot = run_bot()
    state(bot, chat, sim)
    code, seconds = bot.stop()
    assert (code, seconds < LIMIT) == (0, True), seconds
    sim.clear_faults()
    if state is network_rest:
        sim.online()
    if state is webhook_rest:
        chat.set_webhook_as_foreigner("")
    chat.send_text(chat_id=OWNER, text="/ping kept")
    run_bot()
    chat.wait_text("pong kept", chat_id=OWNER)
    assert chat.texts(OWNER).count("pong kept") == 1


def test_a_stop_waits_for_a_slow_answer_of_telegram_rather_than_send_twice(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    bot = run_bot(SEND_RATE="0")
    bot.wait_output(POLLING)
    sim.fault("sendMessage", kind="slow_first_byte", seconds=2.0, after=True)
    chat.send_text(chat_id=OWNER, text="/ping once")
    chat.wait_text("pong once", chat_id=OWNER)
    code, seconds = bot.stop()
    assert (code, seconds < 10) == (0, True), seconds
    sim.clear_faults()
    run_bot(SEND_RATE="0")
    chat.send_text(chat_id=OWNER, text="/ping after")
    chat.wait_text("pong after", chat_id=OWNER)
    assert chat.texts(OWNER).count("pong once") == 1


def test_a_restart_in_the_middle_of_many_answers_keeps_telegrams_limits(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    chat.limits()
    for number in range(8):
        chat.send_text(chat_id=OWNER, text=f"/ping {number}")
    bot = run_bot()
    chat.wait_text("pong 4", chat_id=OWNER)
    bot.stop()
    run_bot()
    chat.wait_text("pong 7", chat_id=OWNER)
    assert chat.chats.flood_refused == 0


def test_a_stop_in_a_batch_of_slow_commands_ends_in_time_and_leaves_the_rest(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    for number in range(400):
        chat.send_text(chat_id=OWNER, text=f"/ping {number}")
    slow = "from commands import inbox; take = inbox.Inbox.take; import threading; rest = threading.Event().wait; "
    slow += "inbox.Inbox.take = lambda self, raw: (rest(0.01), take(self, raw))[1]"
    bot = run_bot(SEND_RATE="0", before=slow)
    chat.wait_text("pong 20", chat_id=OWNER)
    code, seconds = bot.stop()
    assert (code, seconds < LIMIT) == (0, True), seconds
    assert 20 < sum(text.startswith("pong") for text in chat.texts(OWNER)) < 300
    run_bot(SEND_RATE="0")
    all_answered_once(chat, sim, 400)


def all_answered_once(chat: SimBot, sim: Simulator, count: int) -> None:
    wanted = {f"pong {number}" for number in range(count)}
    sim.wait(lambda: wanted <= set(chat.texts(OWNER)), what="an answer to each")
    answers = Counter(text for text in chat.texts(OWNER) if text.startswith("pong"))
    assert [text for text, count in answers.items() if count > 1] == []


def test_a_stop_in_a_burst_finishes_the_batch_in_hand_so_that_nothing_is_handed_out_twice(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    # Prints how far each long poll went, and asks for the stop in the middle of the second batch of 100.
    tells = (
        "import os; from commands import inbox; from botapi import client, longpoll; "
        "longpoll.FINISH = longpoll.SHORTEST = 60; "  # a busy machine needs longer for a batch
        "take, ask, taken = inbox.Inbox.take, client.Telegram.updates, []; "
        "inbox.Inbox.take = lambda self, raw: "
        "(take(self, raw), taken.append(1), len(taken) == 150 and os.kill(os.getpid(), 15))[0]; "
        "told = lambda timeout, found: (timeout and found and print('up to', found[-1]['update_id']), found)[1]; "
        "client.Telegram.updates = lambda self, offset, **how: told(how['timeout'], ask(self, offset, **how))"
    )
    last = [chat.send_text(chat_id=OWNER, text=f"/ping {number}") for number in range(400)][-1]
    bot = run_bot(SEND_RATE="0", before=tells)
    assert bot.wait_exit() == 0
    handed = max(int(line.split()[2]) for line in bot.output.splitlines() if line.startswith("up to"))
    assert 0 < chat.pending == last - handed
    run_bot(SEND_RATE="0")
    all_answered_once(chat, sim, 400)
