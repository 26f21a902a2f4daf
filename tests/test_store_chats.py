"""Chats, users, and the rules by which their rows are chosen and forgotten."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from storekit import DAY, NOW, pending, say

from botapi.storage import ALERTS
from store import Store
from store.rows import Chat, User


def test_chats_are_listed_oldest_first_those_with_and_those_without_alerts(store: Store) -> None:
    for chat_id, since in ((1, 30.0), (2, 10.0), (3, 20.0)):
        store.chats.put(Chat(chat_id=chat_id, added_by=1, since=since))
    store.unsubscribe(3, note="")
    assert [chat.chat_id for chat in store.chats.all()] == [2, 1]
    assert [chat.chat_id for chat in store.chats.all(subscribed=False)] == [3]


def test_why_alerts_ended_is_the_newest_reason(store: Store) -> None:
    store.chats.put(Chat(chat_id=7, added_by=7))
    for note in ("blocked", "removed"):
        store.unsubscribe(7, note=note)
    (chat,) = store.chats.all(subscribed=False)
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


def test_users_are_listed_by_state_in_the_order_they_came(store: Store) -> None:
    for user_id, state, at in ((1, "allowed", 30.0), (2, "denied", 20.0), (3, "allowed", 10.0), (4, "stranger", 0.0)):
        store.chats.put_user(User(user_id=user_id, state=state, at=at))
    assert [user.user_id for user in store.chats.users("allowed", "denied")] == [3, 2, 1]


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
    store.chats.put_user(replace(forgotten, user_id=2, **{recent: NOW - 29 * DAY}))  # type: ignore[arg-type]
    store.prune(now=NOW)
    assert [user.user_id for user in store.chats.users("stranger")] == [2]


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
