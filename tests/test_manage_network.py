"""The whole bot on a network that fails: nothing is lost, little is logged, and it is back soon after the network."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from conftest import OWNER, BotProcess, Run

from simulation.account import SimBot
from simulation.simulator import Simulator

POLLING = "Polling: running"
# The promise is 3.5 s, by benchmarks/outages.py; a busy machine is given more. What is not noticed costs 25 s.
BACK_WITHIN = 8.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops a SYN on loopback")


def later(sim: Simulator, seconds: float) -> None:
    """Real time goes by: what is tested is how long something takes."""
    ends = time.monotonic() + seconds
    sim.wait(lambda: time.monotonic() >= ends, timeout=seconds + 5)


def polling(bot: BotProcess, chat: SimBot, sim: Simulator) -> None:
    bot.wait_output(POLLING)
    sim.wait(lambda: chat.polling, what="a long poll in flight")


def answered_once(chat: SimBot, *names: str) -> None:
    """Wait for the answers, which come soon and once."""
    wanted = [f"pong {name}" for name in names]
    for words in wanted:
        chat.wait_text(words, timeout=BACK_WITHIN)
    assert sorted(text for text in chat.texts(OWNER) if text in wanted) == sorted(wanted)


@linux
def test_after_a_change_of_network_commands_and_answers_on_their_way_arrive_soon(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    route = sim.route()
    bot = run_bot(TELEGRAM_API_URL=route.url)
    polling(bot, chat, sim)
    fault = sim.fault("sendMessage", kind="hang")
    chat.send_text(chat_id=OWNER, text="/ping sent")
    sim.wait(lambda: chat.count("sendMessage"), what="an answer that is being sent")
    sim.wait(lambda: chat.polling, what="the next long poll")
    route.cut(sever=True)
    chat.send_text(chat_id=OWNER, text="/ping given")  # to a connection that is dead
    later(sim, 1.0)
    sim.clear_faults()
    fault.clear()
    chat.send_text(chat_id=OWNER, text="/ping new")
    route.restore()
    answered_once(chat, "sent", "given", "new")
    assert "Trying again" not in bot.output  # one silent connection is no outage


@linux
def test_a_network_lost_without_a_word_costs_a_moment_after_its_return_and_two_lines_of_log(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    route = sim.route()
    bot = run_bot(TELEGRAM_API_URL=route.url)
    polling(bot, chat, sim)
    route.cut(sever=False)
    bot.wait_output("Polling: no connection within the time limit. Trying again")
    chat.send_text(chat_id=OWNER, text="/ping")
    route.restore()
    chat.wait_text("pong", timeout=BACK_WITHIN)
    bot.wait_output("Polling: Telegram answers again")
    assert len([line for line in bot.output.splitlines() if "Polling:" in line]) == 3


def test_a_refused_connection_is_tried_again_soon_and_told_once(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    route = sim.route()
    bot = run_bot(TELEGRAM_API_URL=route.url)
    polling(bot, chat, sim)
    before = len(chat.calls)
    route.offline()
    bot.wait_output("Trying again")
    later(sim, 4.0)
    chat.send_text(chat_id=OWNER, text="/ping")
    route.online()
    chat.wait_text("pong", timeout=BACK_WITHIN)
    bot.wait_output("Telegram answers again")
    assert bot.output.count("Trying again") == 1
    assert len(chat.calls) - before < 10


@linux
def test_a_resumed_laptop_is_back_within_a_long_poll(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    route = sim.route()
    bot = run_bot(TELEGRAM_API_URL=route.url)
    polling(bot, chat, sim)
    bot.process.send_signal(signal.SIGSTOP)
    route.cut(sever=True)  # another network meanwhile
    chat.send_text(chat_id=OWNER, text="/ping asleep")
    later(sim, 2.5)
    route.restore()
    bot.process.send_signal(signal.SIGCONT)
    answered_once(chat, "asleep")
