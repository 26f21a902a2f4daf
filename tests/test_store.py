"""What the store keeps of chats, messages and alerts."""

from __future__ import annotations

import json

import pytest
from conftest import NewStore
from storekit import DAY, NOW, deliver, file_only, path_of, pending, say, texts, whale

from botapi.storage import ALERTS, ANSWERS
from store import Store, database
from store.rows import Chat, User
from store.wallets import WatchedWallet
from venues.trades import Bar


def test_every_setting_of_a_chat_survives(store: Store) -> None:
    chat = Chat(
        chat_id=-5,
        kind="supergroup",
        title="Desk",
        thread_id=3,
        added_by=7,
        since=NOW,
        symbols=frozenset({"BTC"}),
        thresholds={"whales": {"*": 1e6}, "funding": {"BTC": 0.1}},
        muted_until=1.0,
        symbol_mutes={"ETH": 2.0},
        levels={"whales": "loud"},
        sides={"whales": "buy"},
        timezone="Europe/Berlin",
        quiet="22:00-07:00",
        hourly_cap=20,
    )
    store.chats.put(chat)
    assert store.chats.get(-5) == chat


def test_everything_is_there_after_a_restart(store: Store, new_store: NewStore) -> None:
    chat = Chat(
        chat_id=-100,
        kind="supergroup",
        title="鲸",
        thread_id=5,
        added_by=7,
        since=NOW,
        symbols=frozenset({"BTC", "ETH"}),
        thresholds={"whales": {"BTC": 2e6, "*": 5e5}},
        muted_until=NOW + 60,
        symbol_mutes={"ETH": NOW + 3600},
    )
    user = User(user_id=9, name="Eve", state="denied", at=NOW, answered_at=NOW - 1, asked_at=NOW - 2)
    store.chats.put(chat)
    store.chats.put_user(user)
    store.markets.set_cursor("Binance spot", "BTC", "123", at=NOW)
    store.markets.add_gap("Binance spot", "BTC", missed=None, start=NOW - 60, end=NOW)
    store.close()
    again = new_store()
    assert again.chats.get(-100) == chat
    assert again.chats.user(9) == user
    cursor = again.markets.cursor("Binance spot", "BTC")
    assert cursor is not None
    assert (cursor.text, cursor.at) == ("123", NOW)
    assert [(gap.venue, gap.missed) for gap in again.markets.gaps(since=0)] == [("Binance spot", None)]
    assert again.markets.cursor("Kraken", "BTC") is None
    again.close()


def test_every_symbol_and_no_symbol_are_different_choices(store: Store) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1, symbols=None))
    store.chats.put(Chat(chat_id=2, added_by=2, symbols=frozenset()))
    everything, nothing = store.chats.some(limit=99)
    assert everything.follows("BTC")
    assert not nothing.follows("BTC")


def test_pending_messages_come_in_the_order_they_were_enqueued(store: Store) -> None:
    ids = [say(store, 7, "a"), say(store, 8, "b"), say(store, 7, "c", lane=ALERTS)]
    assert store.pending() == [(ids[0], 7, ANSWERS), (ids[1], 8, ANSWERS), (ids[2], 7, ALERTS)]
    assert store.pending(after=ids[0]) == [(ids[1], 8, ANSWERS), (ids[2], 7, ALERTS)]


def test_an_id_is_never_used_twice_even_after_the_newest_row_is_gone(store: Store) -> None:
    first = say(store, 7, "a")
    store.settle_buried(first, reason="x", now=NOW)
    store.prune(now=NOW + 4 * DAY)
    assert say(store, 7, "b") > first


def test_a_message_revised_before_it_is_sent_is_sent_once_in_its_new_form(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    store.messages.revise([made], {"text": "one and two"}, now=NOW)
    assert deliver(store, 11).payload["text"] == "one and two"
    assert store.pending() == []


def test_a_message_revised_after_it_was_sent_gets_exactly_one_edit_with_the_newest_content(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    deliver(store, 11)
    store.messages.revise([made], {"text": "two"}, now=NOW)
    store.messages.revise([made], {"text": "three"}, now=NOW)
    (edit,) = pending(store)
    assert (edit.method, edit.payload) == ("editMessageText", {"text": "three", "message_id": 11})
    assert edit.lane == ALERTS
    deliver(store, 11)
    assert store.pending() == []


def test_a_message_revised_while_it_is_being_sent_gets_exactly_one_edit(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    in_flight = pending(store)[0]
    store.messages.revise([made], {"text": "two"}, now=NOW)
    store.messages.settle_all([(in_flight, 11)], now=NOW)
    in_flight = pending(store)[0]
    assert in_flight.payload == {"text": "two", "message_id": 11}
    store.messages.revise([made], {"text": "three"}, now=NOW)  # now the edit is in flight
    store.messages.settle_all([(in_flight, 11)], now=NOW)
    (edit,) = pending(store)
    assert edit.payload == {"text": "three", "message_id": 11}
    deliver(store, 11)
    assert store.pending() == []


def test_unsubscribing_takes_back_waiting_alerts_but_no_answer_and_keeps_the_settings(store: Store) -> None:
    store.chats.put(Chat(chat_id=7, added_by=7, thresholds={"whales": {"BTC": 1e6}}))
    say(store, 7, "whale", lane=ALERTS)
    say(store, 7, "pong")
    say(store, 8, "whale of another", lane=ALERTS)
    store.unsubscribe(7, note="blocked")
    assert texts(store) == ["pong", "whale of another"]
    chat = store.chats.get(7)
    assert chat is not None
    assert (chat.subscribed, chat.note, chat.thresholds) == (False, "blocked", {"whales": {"BTC": 1e6}})
    assert store.chats.some(limit=99) == []
    assert store.messages.counts(since=0) == {"pending": 2, "sent": 0, "buried": 1}


def test_a_group_that_became_a_supergroup_keeps_settings_and_waiting_messages(store: Store) -> None:
    store.chats.put(Chat(chat_id=-5, kind="group", added_by=7, thresholds={"whales": {"*": 3e6}}, thread_id=None))
    say(store, -5, "waiting", lane=ALERTS)
    for _ in range(2):  # both Telegram's update and a refused send may tell
        store.migrate_chat(-5, -1005)
    assert store.chats.get(-5) is None
    chat = store.chats.get(-1005)
    assert chat is not None
    assert (chat.kind, chat.thresholds, chat.subscribed) == ("supergroup", {"whales": {"*": 3e6}}, True)
    assert [delivery.chat_id for delivery in pending(store)] == [-1005]


def test_a_supergroup_keeps_the_history_and_the_held_alerts_of_its_group_once_each(store: Store) -> None:
    for key in ("sent", "held", "held twice"):
        store.messages.add_alert(whale(key), now=NOW)
    store.fan_out.add_to_bundles([say(store, -5, "whale", lane=ALERTS, bundle="whales:BTC")], "sent")
    deliver(store, 11)
    store.fan_out.hold([-5], "held", why="quiet", at=NOW)
    for chat_id in (-5, -1005):
        store.chats.put(Chat(chat_id=chat_id, kind="group", added_by=chat_id))
        store.fan_out.hold([chat_id], "held twice", why="quiet", at=NOW)
        store.wallets.watch(WatchedWallet(chat_id, "0x1", f"by {chat_id}"), now=NOW)
    store.migrate_chat(-5, -1005)
    assert sorted(entry.alert.key for entry in store.history.newest(-1005, limit=9)) == [
        "held",
        "held twice",
        "sent",
    ]
    assert [entry.alert.key for entry in store.messages.held(-1005)] == ["held", "held twice"]
    assert [found.chat.chat_id for found in store.messages.held_back()] == [-1005]
    assert [wallet.name for wallet in store.wallets.of_chat(-1005)] == ["by -1005"]
    assert store.wallets.of_chat(-5) == []
    (chat,) = store.chats.some(limit=99)
    assert (chat.chat_id, chat.kind, chat.added_by) == (-1005, "supergroup", -1005)


def test_what_is_added_to_a_message_of_the_former_group_names_no_message_of_the_supergroup(store: Store) -> None:
    made = say(store, -5, "1 order", lane=ALERTS, bundle="whales:BTC")
    deliver(store, 11)
    store.migrate_chat(-5, -1005)
    store.messages.revise([made], {"text": "2 orders"}, now=NOW)
    (edit,) = pending(store)
    assert (edit.chat_id, edit.payload) == (-1005, {"text": "2 orders"})


def test_a_supergroup_keeps_its_admins_and_its_old_commands(store: Store) -> None:
    store.set_value("administrators:-5", "Ann")
    store.set_value("administrators:-55", "Eve")
    store.chats.add_stale(-5, thread_id=None, at=NOW)
    for _ in range(2):
        store.migrate_chat(-5, -1005)
    assert (store.value("administrators:-5"), store.value("administrators:-1005")) == (None, "Ann")
    assert store.value("administrators:-55") == "Eve"
    assert [row.chat_id for row in store.chats.take_stale()] == [-1005]


def test_what_a_newer_version_added_to_an_alert_is_left_out(store: Store) -> None:
    store.messages.add_alert(whale("k"), now=NOW)
    store._db.write("UPDATE alerts SET body = ?", (json.dumps(vars(whale("k")) | {"mood": "blue"}),))
    assert store.messages.alerts("whales") == [whale("k")]


def test_a_bundle_stays_open_from_its_beginning_unless_it_was_buried(store: Store) -> None:
    made = say(store, 7, "whale", lane=ALERTS, bundle="whale:BTC")
    assert store.fan_out.open_bundles([7], "whale:BTC", since=NOW - 1) == {7: made}
    assert store.fan_out.open_bundles([7], "whale:BTC", since=NOW) == {}
    assert store.fan_out.open_bundles([7], "whale:ETH", since=NOW - 1) == {}
    assert store.fan_out.open_bundles([8], "whale:BTC", since=NOW - 1) == {}
    deliver(store, 11)
    assert store.fan_out.open_bundles([7], "whale:BTC", since=NOW - 1) == {7: made}
    store.settle_buried(made, reason="refused", now=NOW)
    assert store.fan_out.open_bundles([7], "whale:BTC", since=NOW - 1) == {}


def test_alerts_are_counted_by_the_hour_they_happened_in(store: Store) -> None:
    for number, at in enumerate((3599.9, 3600.0, 7199.0, 7200.0, 90_000.0)):
        store.messages.add_alert(whale(f"k{number}", at=at), now=NOW)
    assert store.messages.alerts_by_hour(since=3600.0) == {3600: 2, 7200: 1, 90_000: 1}


def test_an_alert_is_known_by_its_key_and_listed_newest_first(store: Store) -> None:
    assert store.messages.add_alert(whale("k1", facts="1"), now=NOW)
    assert not store.messages.add_alert(whale("k1", facts="9"), now=NOW)
    assert store.messages.add_alert(whale("k2", symbol="ETH", at=NOW + 2, facts="2"), now=NOW)
    assert store.messages.add_alert(whale("k3", at=NOW + 1, facts="3"), now=NOW)
    assert [found.facts for found in store.messages.alerts("whales")] == ["2", "3", "1"]
    assert [found.facts for found in store.messages.alerts("whales", "BTC", limit=1)] == ["3"]


def test_stale_commands_are_counted_for_each_chat_and_taken_once(store: Store) -> None:
    for at in (NOW, NOW - 50, NOW - 20):
        store.chats.add_stale(7, thread_id=None, at=at)
    store.chats.add_stale(8, thread_id=3, at=NOW)
    rows = {row.chat_id: row[1:] for row in store.chats.take_stale()}
    assert rows == {7: (None, 3, NOW - 50, NOW), 8: (3, 1, NOW, NOW)}
    assert store.chats.take_stale() == []


def test_pruning_forgets_what_is_settled_and_old_and_nothing_that_waits(store: Store) -> None:
    waiting, sent, recent = say(store, 7, "waits"), say(store, 7, "sent"), say(store, 7, "recent")
    for delivery_id, at in ((sent, NOW), (recent, NOW + 3 * DAY)):
        delivery = store.delivery(delivery_id)
        assert delivery is not None
        store.messages.settle_all([(delivery, 1)], now=at)
    store.chats.mark_handled(1, now=NOW)
    store.chats.mark_handled(2, now=NOW + 3 * DAY)
    store.messages.add_alert(whale("old", at=NOW - 31 * DAY), now=NOW)
    store.messages.add_alert(whale("new"), now=NOW)
    store.chats.put(Chat(chat_id=7, added_by=7))
    store.prune(now=NOW + 3.5 * DAY)
    assert [row[0] for row in store.pending()] == [waiting]
    assert store.messages.counts(since=0) == {"pending": 1, "sent": 1, "buried": 0}
    assert (store.chats.handled(1), store.chats.handled(2)) == (False, True)
    assert not store.messages.add_alert(whale("new"), now=NOW), "an alert of today stays known"
    assert store.messages.add_alert(whale("old"), now=NOW)
    assert store.chats.get(7) is not None


@pytest.mark.parametrize("count", [9, 10, 11, 95])
def test_pruning_in_small_steps_forgets_all_of_it_in_every_table(
    store: Store, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PRUNED_AT_ONCE", 10)
    for number in range(count):
        at = NOW + number
        store.messages.add_alert(whale(f"k{number}", at=at), now=at)
        for chat_id, bundle in ((7, "whales:BTC:loud"), (8, None)):
            store.fan_out.add_to_bundles([say(store, chat_id, "x", bundle=bundle)], f"k{number}")
        store.fan_out.hold([9], f"k{number}", why="muted", at=at)
        store.fan_out.hold([10], f"k{number}", why="quiet", at=at)
        store.chats.mark_handled(number, now=at)
        store.markets.add_gap("Kraken", "BTC", missed=number, start=at, end=at)
        store.markets.add_bars([Bar("BTC", int(NOW) + 300 * number, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
        store.chats.put_user(User(user_id=1000 + number, name="spam", state="stranger", at=at))
    store.chats.put_user(User(user_id=1, name="Ann", state="allowed", at=NOW))
    for delivery in pending(store):
        store.messages.settle_all([(delivery, 1)], now=NOW)
    tables = ("alerts", "bundled", "deliveries", "held", "inbox", "bars", "users")
    store._db.write("UPDATE gaps SET noted_at = ?", (NOW,))

    def left() -> dict[str, int]:
        return {name: store._db.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in (*tables, "gaps")}

    store.prune(now=NOW + 4 * DAY)
    assert left()["deliveries"] == count, "a message with alerts stays, for /history"
    assert left()["inbox"] == 0
    assert left()["alerts"] == count
    store.prune(now=NOW + 40 * DAY)
    assert left() == {name: 0 for name in tables} | {"users": 1, "gaps": 0, "alerts": count, "held": count}
    store.messages.settle_held(10, "told")
    store.prune(now=NOW + 40 * DAY)
    assert (left()["alerts"], left()["held"]) == (0, 0)


@file_only
def test_a_file_does_not_grow_while_as_much_goes_as_comes(store: Store) -> None:
    sizes = []
    for day in range(60):
        now = NOW + day * DAY
        with store.transaction():
            for number in range(50):
                key = f"{day}:{number}"
                store.messages.add_alert(whale(key, at=now, facts="x" * 300), now=now)
                made = store.messages.enqueue(7, "sendMessage", {"text": "x" * 300}, now=now, bundle=key)
                store.fan_out.add_to_bundles([made], key)
        for delivery in pending(store):
            store.messages.settle_all([(delivery, 1)], now=now)
        store.prune(now=now)
        sizes.append(path_of(store).stat().st_size)
    assert sizes[-1] <= 1.05 * sizes[40]
