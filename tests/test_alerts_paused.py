"""A chat where the bot may not write: paused, told to whoever started it, tried again; no alert without a trace."""

from __future__ import annotations

import json

from conftest import FRIEND, OWNER, Run, first_look
from storekit import NOW, texts
from test_alerts_publish import alert, publish, subscribe

from alerts import held_back, paused
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.rows import Chat

GROUP = -100
DAY = paused.TRY_EVERY


def group(store: Store) -> Chat:
    chat = store.chats.get(GROUP)
    assert chat is not None
    return chat


def told(store: Store) -> list[str]:
    """What the one who started the group was told."""
    rows = store._db.rows("SELECT payload FROM deliveries WHERE chat_id = ?", (FRIEND,))
    return [json.loads(row["payload"])["text"] for row in rows]


def test_its_alerts_are_counted_and_whoever_started_it_is_told_once(store: Store) -> None:
    store.chats.put(Chat(chat_id=GROUP, kind="group", title="Traders", added_by=FRIEND))
    publish(store, alert("a"), now=NOW)
    paused.pause(store, GROUP, now=NOW)
    publish(store, alert("b"), now=NOW + 60)
    assert {entry.how for entry in store.history.newest(GROUP, limit=5)} == {"paused", "buried"}
    assert told(store)[0].startswith(
        "I am not allowed to write in the group “\u2068Traders\u2069”, so its alerts are paused."
    )
    publish(store, alert("c"), now=NOW + DAY)
    assert [chat_id for _, chat_id, _ in store.pending()] == [FRIEND, GROUP], "a day later the next one is tried"
    paused.pause(store, GROUP, now=NOW + DAY + 1)
    assert len(told(store)) == 1
    paused.pause(store, GROUP, now=NOW + 9 * DAY)
    assert len(told(store)) == 2, "a new trouble is told again"


def test_a_change_of_its_rights_ends_the_pause_and_a_second_refusal_is_not_told_again(store: Store) -> None:
    store.chats.put(Chat(chat_id=GROUP, kind="group", added_by=FRIEND))
    paused.pause(store, GROUP, now=NOW)
    paused.try_again(store, GROUP, now=NOW + 5)
    publish(store, alert("a"), now=NOW + 5)
    assert GROUP in [chat_id for _, chat_id, _ in store.pending()]
    paused.pause(store, GROUP, now=NOW + 6)
    assert len(told(store)) == 1
    paused.try_again(store, -555, now=NOW)  # a chat that never used /start


def test_what_quiet_hours_held_back_waits_for_the_end_of_the_pause(store: Store) -> None:
    subscribe(store, quiet="00:00-23:59")
    publish(store, alert("a"), now=NOW)
    subscribe(store, quiet="")
    (chat,) = store.chats.some(limit=99)
    paused.pause(store, chat.chat_id, now=NOW)
    assert not held_back.send_due(store, now=NOW + 1)
    assert held_back.send_due(store, now=NOW + DAY)


def test_a_chat_without_alerts_is_left_as_it_is(store: Store) -> None:
    paused.pause(store, GROUP, now=NOW)
    store.chats.put(Chat(chat_id=GROUP, added_by=FRIEND, subscribed=False))
    paused.pause(store, GROUP, now=NOW)
    assert (texts(store), group(store).paused_until) == ([], 0.0)


def test_a_group_that_forbids_messages_end_to_end(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    chat.add_chat(FRIEND)
    run_bot(SEND_RATE="0").wait_output("Polling: running")
    chat.send_text(GROUP, "/start@whale_test_bot", user_id=FRIEND, chat_type="group", name="Traders")
    chat.wait_text("Alerts are on", chat_id=GROUP)
    first_look(sim, "BTC")
    chat.refuse(GROUP, "no_rights")
    sim.market.sweep("binance", "BTC", "buy", usd=1_100_000, fills=9, price=50_000.0)
    chat.wait_text("I am not allowed to write in", chat_id=FRIEND)
    chat.send_text(OWNER, "/status")
    chat.wait_text("alerts paused: the bot is not allowed to write there", chat_id=OWNER)
    chat.membership(GROUP, "administrator", by=99, old="member")  # by a stranger: anyone may end a pause
    chat.send_text(OWNER, "/ping")
    chat.wait_text("pong", chat_id=OWNER)
    sim.market.sweep("binance", "BTC", "sell", usd=1_300_000, fills=9, price=50_000.0)
    chat.wait_text("BTC sell", chat_id=GROUP)
    assert sum("I am not allowed" in words for words in chat.texts(FRIEND)) == 1


def test_after_a_log_out_nothing_is_lost(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    """A bot that moves to another server and back is refused for an hour: here for as long as some tries."""
    bot = run_bot(SEND_RATE="0")
    bot.wait_output("Polling: running")
    sim.fault("sendMessage", kind="status", code=400, description="Logged out")
    chat.send_text(OWNER, "/ping kept")
    sim.wait(lambda: any(call.method == "sendMessage" and call.status for call in chat.calls), what="a refusal")
    chat.log_out()
    sim.clear_faults()
    bot.wait_output("Polling: 400 Logged out")
    chat.logged_out = False
    chat.wait_text("pong kept", chat_id=OWNER)
