"""What needs a file or a clock, end to end: a chart is a picture in the chat, a digest that is due comes alone."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER, TOKEN, Run, first_look

from simulation.account import SimBot
from simulation.request import Upload
from simulation.simulator import Simulator
from store import Store
from store.rows import Chat
from store.schedules import Scheduled

POLLING = "Polling: running"
THIRD_TOKEN = "555000000:TEST-token-of-a-third-00000000000000"


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is optional")
def test_a_chart_comes_as_a_picture_and_no_command_waits_for_it(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on")
    first_look(sim, "BTC")
    sim.market.sweep("binance", "BTC", "sell", usd=2_500_000, fills=40, price=50_000.0)
    chat.wait_text("BTC sell", chat_id=OWNER)
    chat.send_text(chat_id=OWNER, text="/chart BTC 1h")
    chat.send_text(chat_id=8, user_id=8, text="/ping meanwhile")
    chat.wait_text("pong meanwhile", chat_id=8)
    sent = chat.wait_text("BTC, last ", chat_id=OWNER)
    photo = sent.params["photo"]
    assert sent.method == "sendPhoto"
    assert isinstance(photo, Upload)
    assert photo.data.startswith(b"\x89PNG")


def test_a_chart_that_cannot_be_drawn_is_a_sentence(run_bot: Run, chat: SimBot) -> None:
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/chart ETH")
    chat.wait_text("No ETH trades in that time yet", chat_id=OWNER)


def test_a_digest_that_fell_due_while_the_bot_was_off_comes_once(run_bot: Run, chat: SimBot, tmp_path: Path) -> None:
    folder = tmp_path / "data" / TOKEN.partition(":")[0]
    folder.mkdir(parents=True)
    store = Store(folder / "bot.db")
    for chat_id, added_by in ((OWNER, OWNER), (8, 99)):  # the other is of one who may not use the bot
        store.chats.put(Chat(chat_id=chat_id, added_by=added_by))
        due = Scheduled(chat_id=chat_id, user_id=added_by, rule="every 4h", command="digest", at=time.time() - 60)
        store.schedules.add(due)
    store.close()
    bot = run_bot()
    chat.wait_text("Digest, last", chat_id=OWNER)
    bot.stop()
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong", chat_id=OWNER)
    assert [words for words in chat.texts() if "Digest, last" in words] == chat.texts(OWNER)[:1]


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is optional")
def test_what_is_scheduled_in_the_chat_comes_by_itself(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/start")
    for when, command in (("every 1h", "chart BTC 1h"), ("cron 0 */4 * * *", "price BTC"), ("mon 08:00", "digest")):
        chat.send_text(chat_id=OWNER, text=f"/schedule {when} {command}")
        chat.wait_text(f" {command}: ", chat_id=OWNER)
    store = Store(tmp_path / "data" / TOKEN.partition(":")[0] / "bot.db")
    sim.wait(lambda: store.markets.cursor("Binance spot", "BTC"), what="the first look at the market")
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    sim.wait(lambda: store.markets.one_bar("BTC", since=0), what="the price")
    for one in store.schedules.of_chat(OWNER):
        store.schedules.set_at(one.id, time.time() - 1)
    chat.wait_text("BTC 50,000", chat_id=OWNER)
    chat.wait_text("Digest, last", chat_id=OWNER)
    sent = chat.wait_text("BTC, last ", chat_id=OWNER)
    assert sent.method == "sendPhoto"
    assert all(one.at and one.at > time.time() for one in store.schedules.of_chat(OWNER))
    store.close()


def test_an_export_comes_as_a_file_and_settings_go_from_one_chat_to_another(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    run_bot().wait_output(POLLING)
    for chat_id in (OWNER, FRIEND):
        chat.send_text(chat_id=chat_id, user_id=chat_id, text="/start")
    chat.wait_text("alerts are on", chat_id=FRIEND)
    first_look(sim, "BTC")
    sim.market.sweep("binance", "BTC", "sell", usd=2_500_000, fills=40, price=50_000.0)
    chat.wait_text("BTC sell", chat_id=OWNER)
    chat.send_text(chat_id=OWNER, text="/export 1d")
    sent = chat.wait_text("Alerts of this chat, last 24 h", chat_id=OWNER)
    document = sent.params["document"]
    assert sent.method == "sendDocument"
    assert isinstance(document, Upload)
    head, row = document.data.decode("utf-8-sig").splitlines()
    assert head.startswith("time (UTC),utc,kind,coin,side,usd")
    assert ",whales,BTC,sell," in row and row.endswith(",sent")
    chat.send_text(chat_id=OWNER, text="/export candles ETH 1h")
    chat.wait_text("No candles in that time.", chat_id=OWNER)
    for words in ("/cap 7", "/schedule mon 08:00 digest", "/settings export"):
        chat.send_text(chat_id=OWNER, text=words)
    copied = chat.wait_text("/settings import\n", chat_id=OWNER).text
    chat.send_text(chat_id=FRIEND, user_id=FRIEND, text=copied)
    now = chat.wait_text("Settings of this chat now:", chat_id=FRIEND).text
    assert "Hourly limit: 7 messages\nDigest: 08:00 mon" in now


# The log


def test_the_owner_gets_the_end_of_the_log_as_a_file_without_any_token(
    run_bot: Run, chat: SimBot, tmp_path: Path
) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    log = tmp_path / "data" / TOKEN.partition(":")[0] / "bot.log"
    with log.open("a", encoding="utf-8") as file:
        file.write(f"written by another program: {THIRD_TOKEN} 鲸\n")
    chat.send_text(chat_id=OWNER, text="/logs 5")
    sent = chat.wait_text("The last 5 lines of the log", chat_id=OWNER)
    document = sent.params["document"]
    assert sent.method == "sendDocument"
    assert isinstance(document, Upload)
    lines = document.data.decode().splitlines()
    assert "written by another program: <token> 鲸" in lines
    assert any("This is @whale_test_bot" in line for line in lines)
    assert len(lines) <= 5


def test_nobody_else_gets_the_log_and_a_group_does_not_see_it(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    run_bot().wait_output(POLLING)
    chat.send_text(chat_id=8, user_id=8, text="/logs")
    chat.wait_text("/help", chat_id=8)
    chat.send_text(chat_id=-500, chat_type="group", user_id=OWNER, text="/logs")
    chat.wait_text("The log is on its way to your private chat", chat_id=-500)
    chat.wait_text("The last 300 lines of the log", chat_id=OWNER)
    assert [
        call for call in chat.calls if call.method == "sendDocument" and call.params["chat_id"] != str(OWNER)
    ] == []


def test_without_a_log_file_it_is_said(run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path) -> None:
    run_bot().wait_output(POLLING)
    log = tmp_path / "data" / TOKEN.partition(":")[0] / "bot.log"

    def said() -> bool:
        log.unlink(missing_ok=True)  # what is logged from now on begins it anew
        before = chat.delivered
        chat.send_text(chat_id=OWNER, text="/logs")
        return "There is no log file" in chat.wait_text(" log", chat_id=OWNER, after=before).text

    sim.wait(said, what="an answer that the log is missing")
