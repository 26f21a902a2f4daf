"""Many chats and long queues: nothing lost over a kill, order kept, commands in between get their turn.

In real time, with Telegram's limits on, it is measured by benchmarks/fan_out.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import storekit
from conftest import BOT_ID, OWNER, ROOT, Run, first_look

from access import Access, Groups
from alerts import publish
from botapi.outbox import SENDERS
from botapi.storage import ALERTS
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.engine import Row, Values
from store.rows import Alert, Chat
from store.sqlite import File
from watch.thresholds import smallest

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


# More chats than one transaction takes

MANY = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count}) "
    "INSERT INTO chats (chat_id, kind, title, added_by, subscribed, since) SELECT x, 'private', '', 7, 1, 0 FROM n"
)
GO_ON = """
import os, sys
from pathlib import Path
from access import Access, Groups
from alerts import publish
from store import Store, place
store = Store(place(sys.argv[1], Path(sys.argv[2]), bot_id=int(sys.argv[3])))
publish.AT_ONCE = 7
for _ in range(int(sys.argv[5])):
    publish.go_on(store, now=float(sys.argv[4]))
store.fan_out.came_to = store.fan_out.done = lambda *_: os.kill(os.getpid(), 9)
publish.go_on(store, now=float(sys.argv[4]))
"""


def subscribe_many(store: Store, count: int) -> None:
    store._db.write(MANY.format(count=count))


def told(store: Store) -> Counter[tuple[int, str]]:
    """How often each chat has each alert."""
    rows = store._db.rows("SELECT chat_id, alert_key FROM deliveries JOIN bundled ON delivery_id = deliveries.id")
    return Counter((row["chat_id"], row["alert_key"]) for row in rows)


def finish(store: Store, at: float = NOW) -> None:
    while publish.go_on(store, now=at):
        pass


def tell(store: Store, *numbers: int, at: float = NOW) -> None:
    for number in numbers:
        with store.transaction():
            publish.publish(store, whale(number), now=at, default_min=1e6)


def test_an_alert_for_100_000_chats_holds_no_command_up(store: Store) -> None:
    subscribe_many(store, 100_000)
    over, between = threading.Event(), [0]

    def commands() -> None:
        number = 0
        while not over.is_set():
            number += 1
            with store.transaction(durable=True):
                store.chats.mark_handled(number, now=NOW)
                store.messages.enqueue(7, "sendMessage", {"text": "pong"}, now=NOW)
            between[-1] += 1

    thread = threading.Thread(target=commands)
    thread.start()
    try:
        tell(store, 1, 2)
        first = store.messages.pending_count()
        for _ in range(20):
            assert publish.go_on(store, now=NOW)
            between.append(0)
    finally:
        over.set()
        thread.join(30)
    assert first >= publish.AT_ONCE, "the first chats get the alert at once"
    assert len(told(store)) >= 20 * publish.AT_ONCE
    assert sum(commands > 0 for commands in between) >= 10, "commands have their turn between the parts"


@pytest.mark.skipif(sys.platform == "win32", reason="a process kills itself with a signal")
def test_every_chat_gets_each_alert_once_and_in_order_after_kills_within_a_part(
    new_store: Callable[[], Store], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "AT_ONCE", 7)
    store = new_store()
    subscribe_many(store, 300)
    tell(store, 1, 2)
    tell(store, 3, at=NOW + 120)
    url = request.getfixturevalue("database_url") if not isinstance(store._db.engine, File) else ""
    store.close()
    for hour, portions in enumerate((0, 1, 5, 30, 40), start=1):
        arguments = [url, str(tmp_path / "bot.db"), str(BOT_ID), str(NOW + hour * 3600), str(portions)]
        child = subprocess.run([sys.executable, "-c", GO_ON, *arguments], check=False, cwd=ROOT, timeout=30)
        assert child.returncode == -signal.SIGKILL
    store = new_store()
    assert 76 * 7 < len(told(store)) < 900
    finish(store, at=NOW + 6 * 3600)
    assert told(store) == Counter({(chat, f"k{number}"): 1 for chat in range(1, 301) for number in (1, 2, 3)})
    for chat in (1, 7, 8, 299, 300):
        rows = store._db.rows("SELECT id FROM deliveries WHERE chat_id = ? ORDER BY id", (chat,))
        keys = [key for row in rows for key in storekit.alerts_in(store, row["id"])]
        assert keys == ["k1", "k2", "k3"]


def test_a_running_bot_tells_more_chats_than_one_transaction_takes(
    run_bot: Run, sim: Simulator, chat: SimBot, tmp_path: Path
) -> None:
    path = tmp_path / "data" / str(chat.id) / "bot.db"
    path.parent.mkdir(parents=True)
    store, count = Store(path), publish.AT_ONCE + 200
    subscribe_many(store, count)
    store.close()
    for chat_id in range(1, count + 1):
        chat.add_chat(chat_id)
    run_bot(SEND_RATE="0", SYMBOLS="BTC", DERIVATIVES_INTERVAL="3600")
    first_look(sim, "BTC")
    sim.market.sweep("binance", "BTC", "buy", usd=3_000_000)
    sim.wait(lambda: chat.delivered >= count and len({sent.chat_id for sent in chat.sent}) == count, 60, what="all")


def test_what_chats_set_while_an_alert_is_on_its_way_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "AT_ONCE", 2)
    for chat_id in range(1, 7):
        store.chats.put(Chat(chat_id=chat_id, added_by=OWNER, since=float(chat_id)))
    tell(store, 1)
    store.unsubscribe(3, note="")
    store.chats.put(Chat(chat_id=4, added_by=OWNER, since=4.0, muted_until=NOW + 60))
    store.migrate_chat(5, -1005)
    finish(store)
    assert told(store) == Counter({(chat, "k1"): 1 for chat in (1, 2, -1005, 6)})
    assert store.messages.muted_since(4, NOW) == 1


def test_a_later_alert_overtakes_none_where_chats_before_it_have_gone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "AT_ONCE", 2)
    subscribe_many(store, 5)
    tell(store, 1)
    store.unsubscribe(1, note="")
    with store.transaction():
        publish.publish(store, replace(whale(2), symbol="ETH"), now=NOW, default_min=1e6)
    finish(store)
    for chat in range(3, 6):
        ids = [one.id for one in storekit.pending(store) if one.chat_id == chat]
        assert [key for number in ids for key in storekit.alerts_in(store, number)] == ["k1", "k2"]
    assert told(store)[1, "k2"] == 0


def test_what_cannot_be_read_stops_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "AT_ONCE", 2)
    subscribe_many(store, 3)
    for broken in ("{", "[]", '{"alert": {}}', '{"lines": 7, "symbol": 1, "monitor": 1}'):
        store.fan_out.go_on_later(broken)
    tell(store, 1)
    finish(store)
    assert len(told(store)) == 3


def test_the_questions_of_a_start_and_of_each_look_do_not_grow_with_the_chats(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may be 20 ms away: with a question for each of 1,000 chats a start took 20 s."""
    asked, rows = list[str](), store._db.rows

    def noted(sql: str, values: Values = ()) -> list[Row]:
        asked.append(sql)
        return rows(sql, values)

    monkeypatch.setattr(store._db, "rows", noted)
    access = Access(store, owner_id=OWNER, allowed_users=frozenset(), now=lambda: NOW)
    counts = []
    for count in (1, 300):
        store._db.write("DELETE FROM chats")
        subscribe_many(store, count)
        asked.clear()
        assert access.sweep() == []
        Groups(store, ask=lambda chat_id: [], now=lambda: NOW).tick()
        smallest(store, "whales", {"BTC": 1e6})
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_line_for_every_chat_is_enqueued_in_parts_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "AT_ONCE", 2)
    for chat_id in range(1, 6):
        zone = "Asia/Tokyo" if chat_id > 3 else "UTC"
        store.chats.put(Chat(chat_id=chat_id, added_by=OWNER, since=float(chat_id), timezone=zone))
    with store.transaction():
        publish.announce(store, lambda zone: f"Missed, {zone}", now=NOW)
    assert len(store.pending()) == 2
    finish(store)
    sent = [(one.chat_id, one.payload["text"]) for one in storekit.pending(store)]
    assert sent == [
        (1, "Missed, UTC"),
        (2, "Missed, UTC"),
        (3, "Missed, UTC"),
        *((n, "Missed, Asia/Tokyo") for n in (4, 5)),
    ]


def test_a_storm_of_alerts_for_many_chats_lets_commands_through(tmp_path: Path) -> None:
    store = Store(tmp_path / "bot.db")
    with store.transaction():
        for chat_id in range(1, 901):
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
    for number in range(40):
        with store.transaction():
            publish.publish(store, whale(number), now=NOW, default_min=1e6)
            alerts[0] += 1
    storm_over.set()
    thread.join(30)
    assert len(store.pending()) == 900, "one message for each chat, with all orders in it"
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
