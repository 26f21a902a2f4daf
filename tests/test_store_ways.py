"""How often a server is asked: with 20 ms to it each way, a question takes 40 ms, and most keep others waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from conftest import BOT_ID, OWNER
from storekit import NOW, say, texts, whale

from access import Access
from alerts.publish import announce, compose, go_on
from base.stopwatch import Stopwatch
from botapi.storage import ALERTS
from commands.context import Context
from commands.dispatch import Commands
from commands.inbox import Inbox
from store import Store
from store.coins import Coins
from store.rows import Chat
from venues.perpetuals import Liquidation
from venues.trades import Bar

pytest.importorskip("psycopg")

from store import leader
from store.postgres import Posted, Server

Ways = list[list[str]]


@pytest.fixture
def shared(database_url: str) -> Iterator[Store]:
    with closing(Store(Server(database_url, bot_id=BOT_ID))) as store:
        yield store


@pytest.fixture
def ways(shared: Store, monkeypatch: pytest.MonkeyPatch) -> Ways:
    """The statements that went to the server: a list for each way there and back."""
    engine, found = shared._db.engine, Ways()
    assert isinstance(engine, Server)
    original = engine._ask

    def ask(statements: list[Posted]) -> Any:
        found.append([one.query.decode() for one in statements])
        return original(statements)

    monkeypatch.setattr(engine, "_ask", ask)
    return found


def test_a_message_takes_three(shared: Store, ways: Ways) -> None:
    """Of eight senders, with 40 ms to the server and back, 30 messages a second need fewer than six."""
    shared.chats.put(Chat(chat_id=7, added_by=OWNER))
    made = say(shared, 7, "", lane=ALERTS)
    shared.messages.add_alert(whale("a"), now=NOW)
    shared.fan_out.add_to_bundles([made], "a")
    shared.messages.revise([made], {"alerts": "loud"}, now=NOW)
    ways.clear()
    delivery = shared.delivery(made)
    assert delivery is not None and compose(shared, delivery, now=NOW) is not None
    assert not shared.settle_all([(delivery, 11)], now=NOW)
    assert len(ways) == 3, ways


def test_a_command_takes_four(shared: Store, ways: Ways) -> None:
    """In its transaction, which keeps everything else that is to be stored waiting."""
    access = Access(shared, owner_id=OWNER, allowed_users=frozenset(), now=lambda: NOW)
    context = Context(
        shared, access, symbols=Coins(shared, ("BTC",)), now=lambda: NOW, default_min=lambda monitor, symbol: 1e6
    )
    inbox = Inbox(shared, access, Commands(context), stale_after=600.0, now=lambda: NOW)
    chat, person = {"id": OWNER, "type": "private"}, {"id": OWNER, "is_bot": False, "first_name": "Ann"}
    sent = {"message_id": 1, "date": int(NOW), "chat": chat, "from": person, "text": "/ping"}
    ways.clear()
    inbox.take({"update_id": 1, "message": sent})
    assert len(ways) == 4, ways
    assert texts(shared) == ["pong"]


def test_a_line_for_many_chats_travels_as_one(shared: Store, ways: Ways) -> None:
    with shared.transaction():
        for chat_id in range(1, 201):
            shared.chats.put(Chat(chat_id=chat_id, added_by=OWNER))
    ways.clear()
    with shared.transaction():
        announce(shared, lambda zone: "Binance cannot be reached.", now=NOW)
    assert len(ways) < 5, ways
    assert len(shared.pending()) == 200


def test_chats_whose_alerts_end_travel_together(shared: Store, ways: Ways) -> None:
    with shared.transaction():
        for chat_id in range(1, 201):
            shared.chats.put(Chat(chat_id=chat_id, added_by=OWNER + chat_id))
    ways.clear()
    assert len(Access(shared, owner_id=OWNER, allowed_users=frozenset(), now=lambda: NOW).sweep()) == 200
    assert len(ways) < 5, ways


def test_what_is_old_is_deleted_in_one(shared: Store, ways: Ways) -> None:
    shared.chats.mark_handled(1, now=NOW)
    ways.clear()
    shared._db.prune("inbox", "update_id", "handled_at <= ?", (NOW,))
    assert not shared.chats.handled(1)
    assert [len(statements) for statements in ways] == [3, 1], ways


def test_a_leader_whose_question_is_on_its_way_asks_no_other_one(
    shared: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a line that loses packets it would keep commands waiting."""
    monkeypatch.setattr(leader, "BEAT_EVERY", 0.0)
    election = leader.Election(
        lambda name: Server(database_url, bot_id=BOT_ID, name=name),
        Store,
        bot_id=BOT_ID,
        host="one",
        chosen=lambda store: None,
        lost=lambda why: None,
        refused=lambda why: None,
        died=lambda thread: None,
    )
    server = shared._db.engine
    assert isinstance(server, Server)
    election._looked_at = time.monotonic()
    assert election._is_due(server), "the server would hear nothing"
    server._asked = Stopwatch()
    assert not election._is_due(server)


def test_what_there_is_nothing_to_do_for_begins_no_transaction(shared: Store, ways: Ways) -> None:
    assert not go_on(shared, now=NOW)
    assert not shared.chats.has_stale()
    assert [len(statements) for statements in ways] == [1, 1]


def test_what_came_of_many_coins_takes_as_many_as_of_one(shared: Store, ways: Ways) -> None:
    """A storm, or the first minutes after an outage, must not keep commands waiting."""
    coins, at = [f"C{number}" for number in range(30)], int(NOW) // 300 * 300
    bars = [Bar(coin, at, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0) for coin in coins]
    events = [Liquidation("OKX", coin, "long", 1e5, 1.0, at * 1000, coin) for coin in coins]
    ways.clear()
    assert shared.markets.new_liquidations(events) == events
    with shared.transaction():
        shared.markets.add_liquidations(events)
    assert len(ways) == 2, ways
    with shared.transaction():
        shared.markets.mark_flawed([(coin, at) for coin in coins])
    with shared.transaction():
        shared.markets.fill_bars(bars)
    assert len(ways) == 2 + 2 + 4, ways
    assert shared.markets.whole_bars("C7", since=at, until=at + 1) == {at}
