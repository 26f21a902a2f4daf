"""Two copies of the bot with one token, as real processes on two machines: one answers, the other waits.

Two DATA_DIRs with LOCK_SCOPE=folder are two machines; a road of the simulator of its own is a network of its own.
The server sends no `Date` header, as a self-hosted one: nothing here may need it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import OWNER, BotProcess, Run, first_look
from talk import Talk

from base import files
from simulation.account import SimBot
from simulation.simulator import Simulator

POLLING = "Polling: running"
TAKES_OVER = "this copy takes over"
linux = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
# Looks from standby, the rest before a newcomer's second try and what counts as undisturbed, all shortened.
CAREFUL = "from botapi import conflict; conflict.STANDBY_REST = 0.4; conflict.RETRY_REST = 1; conflict.UNHARMED = 1"
# And a take-over so quick that it comes before an answer counts as too old: not where a copy may be late (frozen, cut
# off, starved of CPU) and nothing may be answered twice.
BRISK = f"{CAREFUL}; conflict.UNREAD = conflict.UNREAD_STUBBORN = 0.8"
AS_IT_IS = ""

Copy = Callable[..., BotProcess]


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(conflict_hold=1.0, dated=False) as simulator:
        yield simulator


@pytest.fixture
def copy(run_bot: Run, tmp_path: Path) -> Copy:
    """Start a copy on a machine of its own: `copy("one")`."""

    def start(machine: str, *arguments: str, before: str = BRISK, **settings: str) -> BotProcess:
        settings = {"DATA_DIR": str(tmp_path / machine), "LOCK_SCOPE": "folder", "SEND_RATE": "0", **settings}
        return run_bot(*arguments, before=before, **settings)

    return start


# The promise is 4.5 s, measured by benchmarks/two_copies.py; a busy machine is given more.
TAKEN_OVER_WITHIN = 20.0


@pytest.fixture
def talk(chat: SimBot) -> Talk:
    return Talk(chat)


def conflicts(chat: SimBot, *, since: float = 0.0) -> int:
    return sum(call.status == 409 and (call.answered_at or 0) >= since for call in chat.calls)


def pair(
    copy: Copy, chat: SimBot, sim: Simulator, newer_before: str = AS_IT_IS, **newer_settings: str
) -> tuple[BotProcess, BotProcess]:
    """An older copy that stands by, and a newer one that polls; their waits are as they are."""
    older = copy("one", before=AS_IT_IS)
    older.wait_output(POLLING)
    sim.wait(lambda: chat.polling, what="the older copy's long poll")
    newer = copy("two", before=newer_before, **newer_settings)
    newer.wait_output(POLLING)
    older.wait_output("Conflict: another program")
    return older, newer


def test_two_copies_started_together_settle_with_three_409s_at_most(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    both = [copy("one", before=CAREFUL), copy("two", before=CAREFUL)]
    for bot in both:
        bot.wait_output("This is @")
    sim.wait(lambda: any("Conflict: another program" in bot.output for bot in both), what="the first 409")
    for _ in range(5):
        talk.heard()
    sim.wait(lambda: any("Conflict: over" in bot.output for bot in both) or conflicts(chat) == 1, what="peace")
    talk.heard()
    talk.all_answered_once()
    assert 1 <= conflicts(chat) <= 3


def test_of_two_copies_the_older_stands_by_and_takes_over_when_the_newer_dies(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    older, newer = pair(copy, chat, sim)
    chat.wait_text("takes over when it stops", chat_id=OWNER)
    for _ in range(5):
        talk.heard()
    sim.wait(lambda: chat.pending == 0, what="the last one is confirmed")
    newer.kill()
    assert talk.heard() < TAKEN_OVER_WITHIN
    older.wait_output("Conflict: over")
    chat.wait_text("The other copy has stopped", chat_id=OWNER)
    talk.all_answered_once()
    assert conflicts(chat) == 1


@linux
def test_a_frozen_copy_that_wakes_up_answers_nothing_that_the_other_one_has_answered(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    _, newer = pair(copy, chat, sim)
    talk.heard()
    sim.wait(lambda: chat.polling, what="the newer copy's long poll")
    newer.process.send_signal(signal.SIGSTOP)
    assert talk.heard() < TAKEN_OVER_WITHIN  # given to the frozen copy's poll first
    newer.process.send_signal(signal.SIGCONT)
    for _ in range(3):
        talk.heard()
    talk.all_answered_once()
    assert conflicts(chat) <= 3


# The process freezes itself between the commit of a command with "now" and everything that follows.
FREEZES = (
    "import signal; from commands import inbox; take = inbox.Inbox.take; "
    "inbox.Inbox.take = lambda self, raw: (take(self, raw), 'now' in str(raw) and signal.raise_signal(19))[0]"
)


def freezes(newer: BotProcess, sim: Simulator) -> None:
    sim.wait(lambda: Path(f"/proc/{newer.pid}/stat").read_text(encoding="utf-8").split()[2] == "T", what="frozen")


@linux
@pytest.mark.parametrize("cut_off", [False, True])
def test_an_answer_that_a_copy_could_not_send_in_time_is_sent_by_the_other_one_only(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk, cut_off: bool
) -> None:
    """Frozen, or cut off, between the commit of the answer and its sending."""
    route = sim.route()
    older, newer = pair(copy, chat, sim, newer_before=FREEZES, TELEGRAM_API_URL=route.url)
    talk.heard()
    sim.wait(lambda: chat.polling, what="the newer copy's long poll")
    talk.sent += 1
    chat.send_text(chat_id=OWNER, text=f"/ping {talk.sent:04} now")
    freezes(newer, sim)
    if cut_off:
        looks = chat.count("getWebhookInfo")
        sim.wait(lambda: chat.count("getWebhookInfo") > looks + 2, what="a second or more has passed")
        route.cut(sever=True)
        newer.process.send_signal(signal.SIGCONT)
    older.wait_output(TAKES_OVER)
    chat.wait_text(f"pong {talk.sent:04} now", chat_id=OWNER)
    if cut_off:
        route.restore()
    else:
        newer.process.send_signal(signal.SIGCONT)
    newer.wait_output("Another copy has answered meanwhile: 1 message not sent")
    talk.heard()
    assert sum(text.startswith("pong") and text.endswith("now") for text in chat.texts(OWNER)) == 1


@linux
def test_a_frozen_copy_that_was_not_replaced_sends_its_answer_once_it_wakes_up(
    copy: Copy, chat: SimBot, sim: Simulator
) -> None:
    bot = copy("one", before=FREEZES)
    bot.wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/ping now")
    freezes(bot, sim)
    threading.Event().wait(4.0)
    bot.process.send_signal(signal.SIGCONT)
    chat.wait_text("pong now", chat_id=OWNER)
    chat.send_text(chat_id=OWNER, text="/ping after")
    chat.wait_text("pong after", chat_id=OWNER)
    assert chat.texts(OWNER).count("pong now") == 1


def test_where_answers_are_two_seconds_late_a_second_copy_doubles_nothing(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    copy("one", before=AS_IT_IS).wait_output(POLLING)
    for method in ("getUpdates", "getWebhookInfo", "getMe"):
        sim.fault(method=method, kind="slow_first_byte", seconds=2.0, after=True)
    with talk.stream(every=0.3):
        talk.heard()
        copy("two", before=AS_IT_IS)
        sim.wait(lambda: chat.count("getMe") == 2, what="the second copy")
        talk.heard()
    sim.wait(lambda: conflicts(chat) >= 1, what="the first 409")
    with talk.stream(every=0.3):
        talk.heard()
        talk.heard()
    talk.all_answered_once()


@pytest.mark.parametrize("sever", [True, False])
def test_a_copy_that_loses_its_network_is_replaced_and_finds_its_place_when_it_is_back(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk, sever: bool
) -> None:
    route = sim.route()
    older, _ = pair(copy, chat, sim, TELEGRAM_API_URL=route.url)
    talk.heard()
    sim.wait(lambda: chat.polling, what="the newer copy's long poll")
    route.cut(sever=sever)
    assert talk.heard() < TAKEN_OVER_WITHIN  # given to a connection that is dead first
    older.wait_output(TAKES_OVER)
    sim.wait(lambda: conflicts(chat) >= 1, what="the take-over")
    route.restore()
    for _ in range(3):
        talk.heard()
    talk.all_answered_once()
    assert conflicts(chat) <= 4


# Stop and start


def test_a_rolling_restart_under_a_stream_of_commands_loses_and_doubles_nothing(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    old = copy("one", before=CAREFUL)
    old.wait_output(POLLING)
    with talk.stream():
        talk.heard()
        new = copy("two", before=CAREFUL)
        new.wait_output(POLLING)
        stopping = time.time()
        assert old.stop()[0] == 0
        talk.heard()
        talk.heard()
    talk.all_answered_once()
    assert conflicts(chat, since=stopping + 0.01) == 0, "the old copy's farewell disturbed the new one"
    assert conflicts(chat) <= 2


def test_a_rolling_restart_on_one_machine_has_no_conflict_at_all(run_bot: Run, chat: SimBot, talk: Talk) -> None:
    old = run_bot(SEND_RATE="0")
    old.wait_output(POLLING)
    with talk.stream():
        talk.heard()
        new = run_bot("--wait", SEND_RATE="0")
        new.wait_output("Standing by")
        assert old.stop()[0] == 0
        new.wait_output(POLLING)
        talk.heard()
    talk.all_answered_once()
    assert conflicts(chat) == 0


def test_plain_restarts_under_a_stream_of_commands_lose_and_double_nothing(
    run_bot: Run, chat: SimBot, talk: Talk
) -> None:
    with talk.stream(every=0.03):
        for _ in range(3):
            bot = run_bot(SEND_RATE="0")
            bot.wait_output(POLLING)
            talk.heard()
            assert bot.stop()[0] == 0
    run_bot(SEND_RATE="0").wait_output(POLLING)
    talk.heard()
    talk.all_answered_once()
    assert conflicts(chat) == 0


# ON_CONFLICT=pause


@pytest.mark.parametrize("by", ["the other copy's end", "a webhook"])
def test_with_pause_a_waiting_copy_sends_no_alerts_says_so_and_sends_them_when_it_waits_no_longer(
    copy: Copy, chat: SimBot, sim: Simulator, tmp_path: Path, by: str
) -> None:
    def written() -> bool:
        return pause_written(tmp_path / "one")

    paused = "paused while another copy answers"
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    bot = copy("one", ON_CONFLICT="pause")
    bot.wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on", chat_id=OWNER)
    first_look(sim, "BTC")
    sim.wait(lambda: chat.polling, what="a long poll")
    with chat.rival(timeout=30) as rival:
        bot.wait_output("Conflict: another program")
        chat.wait_text("sends no alerts", chat_id=OWNER)
        sim.wait(written, what="a status that says so")
        assert paused in run_status(copy)
        sim.market.sweep("binance", "BTC", "sell", usd=2_000_000, fills=10, price=50_000.0)
        looks = chat.count("getWebhookInfo")
        sim.wait(lambda: chat.count("getWebhookInfo") >= looks + 4, what="four more looks")
        assert not [words for words in chat.texts(OWNER) if "BTC sell" in words]
        if by == "a webhook":
            rival.kill()
            chat.set_webhook_as_foreigner("https://hook.example.net/x")
    chat.send_text(chat_id=OWNER, text="/status")
    chat.wait_text("BTC sell", chat_id=OWNER)
    assert "Alerts: paused" not in chat.wait_text("; last answer from Telegram", chat_id=OWNER).text
    sim.wait(lambda: not written(), what="a status that says so no longer")
    assert paused not in run_status(copy)


def test_a_button_pauses_the_alerts_of_the_copy_that_waits_as_long_as_the_other_one_lives(
    copy: Copy, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    def whale(millions: int) -> str:
        sim.market.sweep("binance", "BTC", "sell", usd=millions * 1e6, fills=10, price=50_000.0)
        return f"BTC sell {millions}M USD"

    def press(part: str, label: str) -> None:
        message = chat.wait_text(part, chat_id=OWNER)
        chat.press(message.message_id, dict(message.buttons)[label], chat_id=OWNER)

    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    quick = f"{BRISK}; from botapi import heartbeat; heartbeat.EVERY, heartbeat.SILENT = 1.0, 15.0"
    older = copy("one", before=quick, BOT_NAME="laptop")
    older.wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on", chat_id=OWNER)
    first_look(sim, "BTC")
    sim.wait(lambda: chat.polling, what="a long poll")
    newer = copy("two", before=quick, BOT_NAME="vps")  # no chat gets alerts from its own database
    newer.wait_output(POLLING)
    older.wait_output("Conflict: another program")
    chat.wait_text(whale(2), chat_id=OWNER)

    press("Two copies of this bot are running", "Pause alerts of laptop")
    chat.wait_text("vps answers your commands and sends alerts. laptop sends none while vps runs", chat_id=OWNER)
    older.wait_output("this copy sends no alerts while it waits")
    quiet = whale(3)
    sim.wait(lambda: pause_written(tmp_path / "one"), what="a status that says so")
    assert "paused while another copy answers" in run_status(copy)
    looks = chat.count("getWebhookInfo")
    sim.wait(lambda: chat.count("getWebhookInfo") >= looks + 4, what="four more looks")
    assert not [words for words in chat.texts(OWNER) if quiet in words]

    press("laptop sends none while vps runs", "Send alerts of laptop")
    chat.wait_text("laptop sends alerts, too", chat_id=OWNER)
    older.wait_output("this copy sends its alerts again")
    chat.wait_text(quiet, chat_id=OWNER)

    press("laptop sends alerts, too", "Pause alerts of laptop")
    sim.wait(lambda: pause_written(tmp_path / "one"), what="a pause again")
    sim.wait(lambda: chat.pending == 0, what="the press is confirmed: only the heartbeat shows the end")
    newer.process.kill()
    newer.wait_exit()
    older.wait_output("this copy sends its alerts again, the other one is silent")
    chat.wait_text(whale(4), chat_id=OWNER)
    assert TAKES_OVER not in older.output


def pause_written(folder: Path) -> bool:
    (file,) = folder.rglob("status.json")
    return bool((files.read_json(file) or {}).get("alerts_paused"))


def run_status(copy: Copy) -> str:
    asked = copy("one", "status")
    asked.wait_exit()
    return asked.output


# Rivals that are not ours


@pytest.mark.parametrize(
    ("timeout", "pause"), [(30, 0.0), (30, 2.0), (0, 0.2)], ids=["aggressive", "slow", "grabs with timeout 0"]
)
def test_beside_a_foreign_poller_the_bot_stays_calm_and_recovers_by_itself(
    copy: Copy, chat: SimBot, sim: Simulator, talk: Talk, timeout: int, pause: float
) -> None:
    bot = copy("one")
    bot.wait_output(POLLING)
    sim.wait(lambda: chat.polling, what="a long poll")
    before, began = Counter(call.method for call in chat.calls), time.monotonic()
    with chat.rival(timeout=timeout, pause=pause):
        bot.wait_output("Conflict: another program")
        chat.wait_text("Two copies of this bot are running", chat_id=OWNER)
        for _ in range(4):
            talk.say()
            sim.wait(lambda: chat.pending == 0, what="somebody reads it")
    lasted = time.monotonic() - began
    made = Counter(call.method for call in chat.calls) - before
    # At this test's pace: looks every 0.4 s, and take-overs no quicker than every second.
    assert made["getUpdates"] + made["getWebhookInfo"] <= 10 + 5 * lasted
    assert talk.heard() < TAKEN_OVER_WITHIN
    bot.wait_output("Conflict: over")
    told = [text for text in chat.texts(OWNER) if text.startswith("Two copies")]
    assert len(told) == 1
