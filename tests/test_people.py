"""What a chat hears, end to end: the bot as a real process, its settings typed and pressed, a night with whales."""

from __future__ import annotations

import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from functools import partial

from conftest import OWNER, BotProcess, Run, first_look

from simulation.account import SimBot
from simulation.simulator import Simulator

POLLING = "Polling: running"
# What is held is told within 30 s; a test cannot wait that long.
SOON = "import monitors; monitors.HELD_EVERY = 0.2"


def start(run_bot: Run, chat: SimBot, sim: Simulator, before: str = "") -> BotProcess:
    for symbol in ("BTC", "ETH"):
        sim.market.trade("binance", symbol, "buy", 50_000.0, 0.01)
    bot = run_bot(before=before, SEND_RATE="0")  # a press is answered at once
    bot.wait_output(POLLING)
    say(chat, "/start", "alerts are on")
    first_look(sim, "BTC", "ETH")
    return bot


def say(chat: SimBot, words: str, answer: str) -> str:
    before = chat.delivered
    chat.send_text(chat_id=OWNER, text=words)
    return chat.wait_text(answer, chat_id=OWNER, after=before).text


def test_whales_of_a_quiet_time_are_told_together_when_it_is_over_also_after_a_kill(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    bot = start(run_bot, chat, sim)
    now = datetime.now(UTC)
    say(chat, f"/quiet {now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}", "Quiet hours:")
    sim.market.sweep("binance", "BTC", "sell", usd=2_500_000, fills=9, price=50_000.0)
    sim.market.sweep("binance", "ETH", "buy", usd=4_000_000, fills=9, price=50_000.0)
    held = "Held back: 2 alerts (2 in quiet hours)"
    sim.wait(lambda: held in say(chat, "/status", "This chat gets"), what="two held alerts in /status")
    assert not any("BTC sell" in words for words in chat.texts(OWNER))
    bot.kill()
    run_bot(before=SOON, SEND_RATE="0").wait_output(POLLING)
    assert not any("Held back: 2 alerts\n" in words for words in chat.texts(OWNER))
    before = chat.delivered
    say(chat, "/timezone UTC+6", "UTC+6")  # where it is not quiet now
    told = chat.wait_text("Held back: 2 alerts\n", chat_id=OWNER, after=before).text
    assert "BTC: 1 whale order, 2.5M USD, net -2.5M" in told
    assert "ETH buy 4M USD" in told
    say(chat, "/ping over", "pong over")
    assert sum("Held back: 2 alerts\n" in words for words in chat.texts(OWNER)) == 1
    assert "held back, sent later" in say(chat, "/history", "The last 2 alerts")


def test_settings_are_pressed_in_one_message_that_edits_itself(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    start(run_bot, chat, sim)
    chat.send_text(chat_id=OWNER, text="/settings")
    message = chat.wait_text("Settings of this chat", chat_id=OWNER).message_id

    def shown() -> tuple[str, list[str]]:
        (found,) = [one for one in chat.chat(OWNER) if one["message_id"] == message]
        rows = found.get("reply_markup", {}).get("inline_keyboard", [])
        return found["text"], [button["text"] for row in rows for button in row]

    def has(label: str) -> bool:
        return label in shown()[1]

    for label, expected in (
        ("Whales: on", "✓ on"),
        ("silent", "✓ silent"),
        ("2M", "✓ 2M"),
        ("‹ Back", "Whales: silent"),
        ("Coins", "✓ ETH"),
        ("✓ ETH", "ETH"),
        ("‹ Back", "Done"),
    ):
        (found,) = [one for one in chat.chat(OWNER) if one["message_id"] == message]
        buttons = [button for row in found["reply_markup"]["inline_keyboard"] for button in row]
        (data,) = [button["callback_data"] for button in buttons if button["text"] == label]
        chat.press(message, data, chat_id=OWNER)
        sim.wait(partial(has, expected), what=f"a button {expected!r}")
    assert "Whales: silent, from 2M USD" in shown()[0]
    assert "Coins: BTC" in shown()[0]
    assert sum("Settings of this chat" in one["text"] for one in chat.chat(OWNER)) == 1
    sim.market.sweep("binance", "BTC", "buy", usd=9_000_000, fills=9, price=50_000.0)
    alert = chat.wait_text("BTC buy 9M", chat_id=OWNER)
    assert json.loads(str(alert.params["disable_notification"]).lower()) is True


def acknowledged(chat: SimBot) -> list[float]:
    return [sent.at for sent in chat.sent if sent.method == "answerCallbackQuery"]


def test_ten_quick_presses_are_each_acknowledged_at_once(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    """With Telegram's limits on; what is edited comes later, the newest of it, and no call is refused."""
    chat.limits()
    run_bot(SEND_RATE="30").wait_output("Polling: running")
    say(chat, "/start", "Alerts are on")
    say(chat, "/settings", "Settings of this chat")
    keyboard = chat.sent[-1].message_id
    took = list[float]()
    for number in range(1, 11):
        pressed = time.time()
        chat.press(keyboard, f"s:cap:cap {number}", chat_id=OWNER)
        sim.wait(lambda: len(acknowledged(chat)) == len(took) + 1, what="the press is acknowledged")
        took.append(acknowledged(chat)[-1] - pressed)
    assert statistics.median(took) < 0.8, "they wait for one another as messages do, one a second"
    sim.wait(lambda: "10 messages" in str(chat.chat(OWNER)), what="the keyboard shows the last one")
    assert chat.chats.flood_refused == 0
