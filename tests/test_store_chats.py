"""Chats, users, and the rules by which their rows are chosen and forgotten."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from storekit import DAY, NOW, pending, say

from botapi.storage import ALERTS
from store import Store
from store.rows import Chat, User


def test_chats_are_listed_oldest_first_those_with_alerts_and_those_that_lost_them(store: Store) -> None:
    for chat_id, since in ((1, 30.0), (2, 10.0), (3, 20.0)):
        store.chats.put(Chat(chat_id=chat_id, added_by=1, since=since))
    store.chats.put(Chat(chat_id=4, added_by=1, since=5.0))
    store.unsubscribe(3, note="blocked")
    store.unsubscribe(4, note="")
    assert [chat.chat_id for chat in store.chats.some(limit=99)] == [2, 1]
    assert [chat.chat_id for chat in store.chats.ended(limit=9)] == [3]


def test_why_alerts_ended_is_the_newest_reason(store: Store) -> None:
    store.chats.put(Chat(chat_id=7, added_by=7))
    for note in ("blocked", "removed"):
        store.unsubscribe(7, note=note)
    (chat,) = store.chats.ended(limit=9)
    assert chat.note == "removed"


@pytest.mark.parametrize(("note", "reason"), [("blocked", "blocked"), ("", "unsubscribed")])
def test_a_withdrawn_message_says_why(store: Store, note: str, reason: str) -> None:
    say(store, 7, "whale", lane=ALERTS)
    store.unsubscribe(7, note=note)
    assert pending(store) == []
    assert [row["reason"] for row in store._db.rows("SELECT reason FROM deliveries")] == [reason]


def test_no_coin_at_all_is_read_back_as_it_was_written(store: Store) -> None:
    chat = Chat(chat_id=7, added_by=7, symbols=frozenset())
    store.chats.put(chat)
    assert store.chats.get(7) == chat


def test_settings_of_a_newer_version_are_left_out(store: Store) -> None:
    store.chats.put(Chat(chat_id=7, added_by=7))
    store._db.write('UPDATE chats SET settings = \'{"mood": 1, "quiet": "22:00-07:00"}\'')
    assert store.chats.get(7) == Chat(chat_id=7, added_by=7, quiet="22:00-07:00")


def test_a_mute_ends_at_its_second_and_a_coins_own_threshold_goes_before_that_for_all(store: Store) -> None:
    chat = Chat(chat_id=7, added_by=7, muted_until=NOW, symbol_mutes={"BTC": NOW + 1})
    assert chat.muted("ETH", NOW - 1)
    assert not chat.muted("ETH", NOW)
    assert chat.muted("BTC", NOW)
    assert not chat.muted("BTC", NOW + 1)
    chat = replace(chat, thresholds={"whales": {"*": 2.0, "BTC": 3.0}})
    assert [chat.threshold("whales", symbol, 1.0) for symbol in ("BTC", "ETH")] == [3.0, 2.0]
    assert chat.threshold("funding", "BTC", 1.0) == 1.0


def test_users_are_listed_by_state_the_latest_first(store: Store) -> None:
    for user_id, state, at in ((1, "allowed", 30.0), (2, "denied", 20.0), (3, "allowed", 10.0), (4, "stranger", 0.0)):
        store.chats.put_user(User(user_id=user_id, state=state, at=at))
    assert [user.user_id for user in store.chats.users("allowed", "denied", limit=2)] == [1, 2]
    assert store.chats.count_users("allowed", "denied") == 3


def test_strangers_count_from_when_the_owner_was_asked_about_them(store: Store) -> None:
    store.chats.put_user(User(user_id=1, at=NOW, asked_at=NOW - 100))
    store.chats.put_user(User(user_id=2, at=NOW - 100, asked_at=NOW))
    store.chats.put_user(User(user_id=3, at=NOW))
    assert store.chats.asked_between(NOW - 50, NOW) == 1
    assert store.chats.asked_between(NOW, NOW + 9) == 0


@pytest.mark.parametrize("recent", ["at", "answered_at", "asked_at"])
def test_a_stranger_who_was_met_in_the_last_30_days_is_not_forgotten(store: Store, recent: str) -> None:
    old = NOW - 31 * DAY
    forgotten = User(user_id=1, at=old, answered_at=old, asked_at=old)
    store.chats.put_user(forgotten)
    store.chats.put_user(forgotten._replace(user_id=2, **{recent: NOW - 29 * DAY}))  # type: ignore[arg-type]
    store.prune(now=NOW)
    assert [user.user_id for user in store.chats.users("stranger", limit=99)] == [2]


def test_every_setting_of_a_chat_is_kept(store: Store) -> None:
    """A setting that is not known to the reader would be gone after the next start."""
    changed = Chat(
        chat_id=9,
        added_by=9,
        symbols=frozenset({"BTC"}),
        thresholds={"whales": {"*": 1e6}},
        muted_until=5.0,
        symbol_mutes={"ETH": 6.0},
        levels={"whales": "off"},
        sides={"whales": "buy"},
        timezone="Europe/Berlin",
        quiet="22:00-07:00",
        hourly_cap=3,
        paused_until=7.0,
        topics={"BTC": 4},
        members=True,
        chart_theme="light",
        handle="desk",
    )
    same = {
        field.name
        for field in fields(Chat)
        if getattr(changed, field.name) == getattr(Chat(chat_id=9, added_by=9), field.name)
    }
    assert same <= {
        "chat_id",
        "added_by",
        "kind",
        "title",
        "thread_id",
        "subscribed",
        "since",
        "note",
    }, "set each of them above"
    store.chats.put(changed)
    assert store.chats.get(9) == changed


def test_chats_are_found_by_what_they_are(store: Store) -> None:
    def put(chat_id: int, kind: str, **more: Any) -> None:
        store.chats.put(Chat(chat_id=chat_id, kind=kind, since=float(abs(chat_id)), **{"added_by": 1, **more}))

    put(1, "private")
    put(-2, "group", title="Desk")
    put(-3, "supergroup", title="Traders")
    put(-4, "channel", added_by=2, paused_until=NOW + 100)
    put(-5, "channel", subscribed=False)
    put(-6, "channel", paused_until=NOW - 100)
    chats = store.chats
    assert [chat.chat_id for chat in chats.channels()] == [-4, -6, -5]
    assert [chat.chat_id for chat in chats.channels(1)] == [-6, -5]
    assert chats.groups() == [-2, -3]
    assert (chats.has_group("Desk"), chats.has_group("Traders")) == (True, False)
    assert [chat.chat_id for chat in chats.paused(NOW)] == [-4]


def test_chats_of_people_who_are_neither_owner_nor_allowed_are_found(store: Store) -> None:
    states = {1: "allowed", 2: "denied", 3: "stranger", 4: "denied", 5: "", 6: "", 7: "denied"}
    for number, state in states.items():
        store.chats.put(Chat(chat_id=-number, kind="group", added_by=number, since=float(number)))
        if state:
            store.chats.put_user(User(user_id=number, state=state))
    store.chats.put(Chat(chat_id=-30, kind="group", added_by=3, subscribed=False))
    assert [chat.added_by for chat in store.chats.of_others(7, {4, 5})] == [2, 3, 4, 6]
    assert [chat.added_by for chat in store.chats.of_others(None, ())] == [2, 3, 4, 5, 6, 7]


def test_what_a_chat_has_as_every_new_one_is_not_stored(store: Store) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1))
    store.chats.put(Chat(chat_id=2, added_by=1, symbols=frozenset({"BTC"}), quiet="22:00-07:00"))
    rows = store._db.rows("SELECT settings FROM chats ORDER BY chat_id")
    assert [row["settings"] for row in rows] == ["{}", '{"symbols": ["BTC"], "quiet": "22:00-07:00"}']


def test_one_chat_stands_for_all_with_its_settings(store: Store) -> None:
    for number in range(6):
        store.chats.put(Chat(chat_id=number + 1, added_by=1, hourly_cap=number % 3, subscribed=number != 5))
    assert [(chat.chat_id, chat.hourly_cap) for chat in store.chats.kinds()] == [(3, 2), (4, 0), (5, 1)]
