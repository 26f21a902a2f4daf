"""Many chats and long queues: nothing lost over a kill, order kept, commands in between get their turn.

In real time, with Telegram's limits on, it is measured by benchmarks/fan_out.py.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

from conftest import OWNER, Run

from alerts.publish import publish
from botapi.outbox import SENDERS
from botapi.storage import ALERTS
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.rows import Alert, Chat

NOW = 1_750_000_000.0
QUEUED = 2400


def test_thousands_of_queued_messages_survive_kill_9_and_arrive_in_order(
    run_bot: Run, sim: Simulator, chat: SimBot, tmp_path: Path
) -> None:
    path = tmp_path / "data" / str(chat.id) / "bot.db"
    path.parent.mkdir(parents=True)
    store = Store(path)
    with store.transaction():
        for number in range(QUEUED):
            chat_id = 1001 + number % 200
            chat.add_chat(chat_id)
            store.messages.enqueue(chat_id, "sendMessage", {"text": str(number)}, now=time.time(), lane=ALERTS)
    store.close()
    # Unread market hosts leave the two cores to the queue.
    quiet = {"SEND_RATE": "0", "WHALE_INTERVAL": "60"}
    for _ in range(3):
        seen = chat.delivered
        bot = run_bot(**quiet)
        sim.wait(lambda seen=seen: chat.delivered >= seen + QUEUED // 8, 60, what="a part of the queue")  # type: ignore[misc]
        bot.kill()
    run_bot(**quiet)
    sim.wait(lambda: chat.delivered >= QUEUED and len(numbers(chat)) == QUEUED, 60, what="all of it")
    arrived = numbers(chat)
    doubled = sum(count - 1 for count in arrived.values())
    assert doubled <= 3 * SENDERS, "only what was in flight at a kill may come twice"
    for chat_id in range(1001, 1201):
        of_chat = [int(sent.text) for sent in chat.sent if sent.chat_id == chat_id]
        assert of_chat == sorted(of_chat)


def numbers(chat: SimBot) -> Counter[str]:
    """How often each message arrived."""
    return Counter(sent.text for sent in chat.sent if sent.text.isdigit())


def test_a_storm_of_alerts_for_a_thousand_chats_lets_commands_through(tmp_path: Path) -> None:
    store = Store(tmp_path / "bot.db")
    with store.transaction():
        for chat_id in range(1, 1001):
            store.chats.put(Chat(chat_id=chat_id, added_by=OWNER, since=float(chat_id)))
    storm_over = threading.Event()
    alerts, waits = [0], []  # alerts published so far; how many were published while a command waited

    def commands() -> None:
        number = 0
        while not storm_over.wait(0.01):
            number += 1
            before = alerts[0]
            with store.transaction():
                waits.append(alerts[0] - before)
                store.chats.mark_handled(number, now=NOW)

    thread = threading.Thread(target=commands)
    thread.start()
    for number in range(12):
        with store.transaction():
            publish(store, whale(number), now=NOW, default_min=1e6)
            alerts[0] += 1
    storm_over.set()
    thread.join(10)
    assert len(store.pending()) == 1000, "one message for each chat, with all orders in it"
    assert len(waits) >= 5
    assert max(waits) <= 3, "a command waits for one alert or two, not for the storm"
    store.close()


def whale(number: int) -> Alert:
    return Alert(
        key=f"k{number}",
        monitor="whales",
        symbol="BTC",
        side="buy",
        usd=3e6,
        headline="BTC buy 3M USD at 64,210",
        at_ms=int(NOW * 1000) + number,
        venue="Binance spot",
        url="https://example.org/BTC",
    )
