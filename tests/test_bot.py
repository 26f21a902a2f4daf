"""The whole bot as a real process against the simulator over HTTP: started, doubled, killed, starved."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from conftest import FRIEND, OTHER_TOKEN, OWNER, SECRETS, TOKEN, Demo, Run, first_look

from commands import table
from simulation.account import SimBot
from simulation.simulator import Simulator

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc or at POSIX signals")
POLLING = "Polling: running"
HASTY = "from service import run; run.START_GRACE = 0.2"  # for a start that is refused anyway


def folder(tmp_path: Path, data: str = "data") -> Path:
    return tmp_path / data / TOKEN.partition(":")[0]


# Starting


def test_the_bot_starts_fills_the_command_menu_answers_and_stops_in_order(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    sim.wait(lambda: chat.chats.commands, what="the menu")
    assert [row["command"] for row in chat.chats.commands] == [name for name, _ in table.menu()]
    line = next(line for line in bot.output.splitlines() if "This is @whale_test_bot" in line)
    assert str(folder(tmp_path)) in line
    assert "BTC, ETH" in line
    chat.send_text(chat_id=OWNER, text="/ping hello")
    chat.wait_text("pong hello", chat_id=OWNER)
    assert json.loads((folder(tmp_path) / "holder.json").read_text(encoding="utf-8"))["pid"] == bot.pid
    assert bot.stop()[0] == 0
    assert "Stopped in" in bot.output
    assert not (folder(tmp_path) / "holder.json").exists()


def test_all_bad_settings_are_told_at_once_and_end_with_78(run_bot: Run) -> None:
    bot = run_bot(WHALE_INTERVAL="soon", ON_CONFLICT="fight", SEND_RATE="-1", TELEGRAM_BOT_TOKEN="")
    assert bot.wait_exit() == 78
    for name in ("WHALE_INTERVAL", "ON_CONFLICT", "SEND_RATE", "TELEGRAM_BOT_TOKEN"):
        assert name in bot.output
    assert "Traceback" not in bot.output


def test_nobody_allowed_is_refused_with_the_fix(run_bot: Run) -> None:
    bot = run_bot(OWNER_ID="", ALLOWED_USERS="")
    assert bot.wait_exit() == 78
    assert "Set OWNER_ID" in bot.output


def test_a_start_without_anyone_to_alert_says_so(run_bot: Run, chat: SimBot) -> None:
    """An empty folder by mistake: another DATA_DIR, a container's own volume."""
    bot = run_bot()
    bot.wait_output(POLLING)
    told = "No chat gets alerts from this folder's database yet. Send /start to @whale_test_bot."
    bot.wait_output(told)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on")
    bot.stop()
    again = run_bot()
    again.wait_output(POLLING)
    again.wait_output("This is @whale_test_bot")
    again.stop()
    assert told not in again.output


def test_a_bad_argument_ends_with_64(run_bot: Run) -> None:
    bot = run_bot("--nonsense")
    assert bot.wait_exit() == 64
    assert "--help" in bot.output


@pytest.mark.parametrize("arguments", [[TOKEN], ["--x", TOKEN], ["--env-file", TOKEN], ["stop", "--timeout", TOKEN]])
def test_a_token_on_the_command_line_is_not_printed(run_bot: Run, arguments: list[str]) -> None:
    bot = run_bot(*arguments)
    assert bot.wait_exit() == 64  # that no output holds it is checked after each test


def test_a_settings_file_that_was_named_and_is_not_there_ends_with_64(run_bot: Run, tmp_path: Path) -> None:
    bot = run_bot("--env-file", str(tmp_path / "nowhere.env"))
    assert bot.wait_exit() == 64
    assert "nowhere.env does not exist" in bot.output


def test_a_refused_token_ends_with_77_at_the_start_and_in_mid_run(run_bot: Run, sim: Simulator, chat: SimBot) -> None:
    soon = "from botapi import outage; outage.REFUSED_FOR = 1.5; outage.REFUSED_REST = 0.5"
    bot = run_bot(before=soon)
    bot.wait_output(POLLING)
    sim.revoke(TOKEN)
    chat.send_text(chat_id=OWNER, text="/ping")
    assert bot.wait_exit() == 77
    told = run_bot("status")
    assert told.wait_exit() == 3
    assert "Telegram refuses the token" in told.output, "it says why it ended"
    again = run_bot(before=soon)
    assert again.wait_exit() == 77
    assert "@BotFather" in again.output


def test_a_database_of_another_program_is_refused_and_left_alone(run_bot: Run, tmp_path: Path) -> None:
    folder(tmp_path).mkdir(parents=True)
    path = folder(tmp_path) / "bot.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    bot = run_bot()
    assert bot.wait_exit() == 78
    assert "another program" in bot.output
    assert path.read_bytes() == before


def test_a_damaged_database_is_set_aside_and_the_owner_told(run_bot: Run, chat: SimBot, tmp_path: Path) -> None:
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / "bot.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 8000)
    bot = run_bot()
    bot.wait_output(POLLING)
    told = chat.wait_text("was damaged", chat_id=OWNER).text
    assert told in bot.output, "the log says the same"
    kept = [path for path in folder(tmp_path).iterdir() if "corrupt" in path.name]
    assert kept
    assert kept[0].stat().st_size == 8016


# One machine


def test_a_second_start_is_refused_and_names_the_first(run_bot: Run, chat: SimBot) -> None:
    first = run_bot()
    first.wait_output(POLLING)
    second = run_bot(before=HASTY)
    assert second.wait_exit() == 75
    assert str(first.pid) in second.output
    assert "already running" in second.output
    assert "Traceback" not in second.output
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong")
    assert all(call.status != 409 for call in chat.calls)


@linux
def test_neither_another_data_folder_nor_a_removed_lock_file_lets_a_second_copy_in(
    run_bot: Run, tmp_path: Path
) -> None:
    first = run_bot()
    first.wait_output(POLLING)
    (folder(tmp_path) / "bot.lock").unlink()
    for second in (run_bot(before=HASTY, DATA_DIR=str(tmp_path / "elsewhere")), run_bot(before=HASTY)):
        assert second.wait_exit() == 75
        assert str(first.pid) in second.output


def test_two_tokens_run_side_by_side(run_bot: Run, sim: Simulator, chat: SimBot) -> None:
    other = sim.bot(OTHER_TOKEN, username="other_bot")
    run_bot().wait_output(POLLING)
    run_bot(TELEGRAM_BOT_TOKEN=OTHER_TOKEN).wait_output(POLLING)
    for account in (chat, other):
        account.send_text(chat_id=OWNER, text="/ping")
        account.wait_text("pong")


def test_a_waiting_start_can_be_stopped_or_takes_over_when_the_first_ends(run_bot: Run, chat: SimBot) -> None:
    first = run_bot()
    first.wait_output(POLLING)
    second, third = run_bot("--wait", before=HASTY), run_bot("--wait", before=HASTY)
    for waiting in (second, third):
        waiting.wait_output(f"Standing by: waiting for the running copy (pid {first.pid}, user ")
        assert "refused" not in waiting.output
    assert third.stop()[0] == 0
    first.stop()
    second.wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong")
    assert "Conflict" not in first.output + second.output


# Conflict (two copies of the bot: test_two_copies.py)


def test_a_foreign_webhook_is_removed_in_mid_run_and_named(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    run_bot().wait_output(POLLING)
    sim.wait(lambda: chat.polling, what="a long poll")
    chat.set_webhook_as_foreigner("https://hook.example.net/x")
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong")
    chat.wait_text("hook.example.net", chat_id=OWNER)
    assert chat.webhook_url == ""


# Stopping (in each state of polling: test_stopping.py)


@linux
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_polite_signal_stops_with_0(run_bot: Run, name: str) -> None:
    # Whatever nohup starts ignores SIGHUP, these tests and their bot too; a bot that began so goes on ignoring it.
    bot = run_bot(before=f"import signal; signal.signal(signal.{name}, signal.SIG_DFL)")
    bot.wait_output(POLLING)
    assert bot.stop(signal.Signals[name])[0] == 0


@linux
def test_a_second_signal_ends_the_process_at_once(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    # So long the stop would wait for the send that hangs: else a busy machine is late with the second signal.
    bot = run_bot(before="from service import app; app.Bot.stop.__kwdefaults__['drain'] = 300.0")
    bot.wait_output(POLLING)
    sim.fault(method="sendMessage", kind="hang")
    chat.send_text(chat_id=OWNER, text="/ping")
    sim.wait(lambda: chat.count("sendMessage"), what="a send that hangs")
    bot.process.send_signal(signal.SIGTERM)
    bot.wait_output("Stopping")
    bot.process.send_signal(signal.SIGTERM)
    assert bot.wait_exit() == 128 + signal.SIGTERM


def test_after_kill_9_a_new_start_works_at_once_and_sends_the_answer_that_could_not_be_sent(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    fault = sim.fault(method="sendMessage", kind="html502")
    chat.send_text(chat_id=OWNER, text="/ping kept")
    bot.wait_output("Sending: Telegram cannot be reached")
    bot.kill()
    fault.clear()
    run_bot().wait_output(POLLING)
    chat.wait_text("pong kept")
    chat.send_text(chat_id=OWNER, text="/ping next")
    chat.wait_text("pong next")
    assert chat.texts(OWNER).count("pong kept") == 1


# People


def test_a_stranger_is_answered_once_and_let_in_by_the_owners_button(run_bot: Run, chat: SimBot) -> None:
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=99, user_id=99, text="/start")
    chat.wait_text("Your user id is 99", chat_id=99)
    asked = chat.wait_text("wants to use this bot", chat_id=OWNER)
    chat.send_text(chat_id=99, user_id=99, text="/start")
    assert asked.message_id is not None
    chat.press(message_id=asked.message_id, data="allow:99", user_id=99, chat_id=99)  # not theirs to press
    chat.press(message_id=asked.message_id, data="allow:99", user_id=OWNER, chat_id=OWNER)
    chat.wait_text("You can now use this bot", chat_id=99)
    chat.send_text(chat_id=99, user_id=99, text="/start")
    chat.wait_text("alerts are on", chat_id=99)
    assert len(chat.texts(99)) == 3


def test_in_a_group_only_a_start_for_this_bot_by_one_who_may_puts_alerts_on(run_bot: Run, chat: SimBot) -> None:
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=-500, chat_type="group", user_id=99, text="/start@whale_test_bot")
    chat.send_text(chat_id=-500, chat_type="group", user_id=FRIEND, text="/start@other_bot")
    chat.send_text(chat_id=-500, chat_type="group", user_id=FRIEND, text="/start@whale_test_bot")
    chat.wait_text("alerts are on", chat_id=-500)
    chat.wait_text("Only people whom this bot's owner allowed", chat_id=-500)
    assert len(chat.texts(-500)) == 2


# Whales


def test_a_whale_reaches_its_subscriber_once_with_side_size_and_price(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on")
    first_look(sim, "BTC")
    sim.market.sweep("binance", "BTC", "sell", usd=2_500_000, fills=40, price=50_000.0)
    alert = chat.wait_text("BTC sell", chat_id=OWNER)
    first = alert.text.splitlines()[0]
    assert re.search(r"BTC sell 2\.5M USD at 50,000|BTC sell 2\.[45]\d?M USD at (49,9|50,0)\d\d", first), first
    assert "40 fills" in alert.text
    assert "Binance spot" in alert.text
    sim.market.sweep("binance", "BTC", "buy", usd=1_500_000, fills=3, price=50_000.0)
    sim.wait(lambda: any("2 whale orders" in row["text"] for row in chat.chat(OWNER)), what="the bundled message")
    chat.send_text(chat_id=OWNER, text="/whales BTC")
    listed = chat.wait_text("BTC buy 1.5M", chat_id=OWNER)
    assert "BTC sell" in listed.text


def test_an_alert_can_be_muted_from_its_button(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    sim.market.trade("binance", "ETH", "buy", 3_000.0, 0.01)
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on")
    first_look(sim, "ETH")
    sim.market.sweep("binance", "ETH", "buy", usd=2_000_000, fills=5, price=3_000.0)
    alert = chat.wait_text("ETH buy", chat_id=OWNER)
    assert alert.message_id is not None
    chat.press(message_id=alert.message_id, data="mute:ETH:1h", user_id=OWNER, chat_id=OWNER)
    sim.wait(lambda: chat.count("answerCallbackQuery"), what="the button's answer")
    chat.send_text(chat_id=OWNER, text="/status")
    chat.wait_text("Muted: ETH", chat_id=OWNER)


def test_when_the_first_source_is_blocked_the_next_one_is_used_and_status_says_so(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    for venue in ("binance", "binance_api", "coinbase", "kraken"):
        for symbol in ("BTC", "ETH"):
            sim.market.trade(venue, symbol, "buy", 50_000.0, 0.01)
    for venue in ("binance", "binance_api"):
        sim.fault(market=venue, kind="status", code=451)
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on")

    def coinbase_is_in_use() -> bool:
        chat.send_text(chat_id=OWNER, text="/status")
        return any("Coinbase" in words and "Running for" in words for words in chat.texts(OWNER))

    sim.wait(coinbase_is_in_use, what="a status that names Coinbase")


# Secrets


@linux
def test_the_token_is_in_no_process_list_and_in_no_file_of_ours(run_bot: Run, chat: SimBot, tmp_path: Path) -> None:
    bot = run_bot(LOG_LEVEL="DEBUG")
    bot.wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/status")
    chat.wait_text("Running for ")
    assert SECRETS[0].encode() not in Path(f"/proc/{bot.pid}/cmdline").read_bytes()
    bot.stop()
    assert SECRETS[0] not in bot.output
    for path in folder(tmp_path).iterdir():
        assert SECRETS[0].encode() not in path.read_bytes(), path


# The demo


def test_the_demo_plays_its_story_with_no_terminal_and_exits_0(demo: Demo) -> None:
    process, home = demo
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    story = (
        *("Alerts are on", "fills in 40 small trades", "BTC buy 2.4M USD", "40 fills in", "/threshold BTC 2m"),
        *(
            "Whale orders from BTC 2M",
            "/digest now",
            "1 whale order, 2.4M USD",
            "The chart is here until",
            "Two copies of this bot",
        ),
        *("you may see each one twice", "The other copy has stopped"),
    )
    places = [told.find(words) for words in story]
    assert -1 not in places and places == sorted(places), told  # what a trader gets comes first
    assert re.search(r"BTC \+\S+ of \S+, price\s\+", told), "Bitcoin rose in the digest too"
    assert SECRETS[0] not in told
    assert "Traceback" not in told
    assert not any(home.rglob("bot.db")), "the demo touched a real bot's folder"
