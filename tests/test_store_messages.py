"""Deliveries, bundles, and what becomes of alerts in a chat."""

from __future__ import annotations

from storekit import NOW, alerts_in, deliver, pending, say, whale

from botapi.storage import ALERTS
from store import Store


def bundled(store: Store, chat_id: int, *keys: str) -> int:
    """A message with these alerts."""
    made = say(store, chat_id, "whale", lane=ALERTS, bundle="whales:BTC:loud")
    for number, key in enumerate(keys):
        store.messages.add_alert(whale(key, at=NOW + number), now=NOW)
        store.fan_out.add_to_bundles([made], key)
    return made


def test_the_hourly_limit_counts_messages_with_alerts_that_were_or_may_yet_be_sent(store: Store) -> None:
    """Messages that could not be delivered, answers, and other chats' messages use up nothing."""
    bundled(store, 7, "a")
    buried = bundled(store, 7, "b")
    bundled(store, 8, "c")
    say(store, 7, "pong")
    assert len(store.fan_out.made_between([7], NOW, NOW + 9)) == 2
    store.settle_buried(buried, reason="refused", now=NOW)
    assert len(store.fan_out.made_between([7], NOW, NOW + 9)) == 1
    assert len(store.fan_out.made_between([7], NOW + 0.1, NOW + 9)) == 0
    assert len(store.fan_out.made_between([7], NOW - 9, NOW - 0.1)) == 0, "made by a clock that was ahead"


def test_a_message_that_was_sent_is_settled_once(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    in_flight = pending(store)[0]
    store.messages.revise([made], {"text": "two"}, now=NOW)
    assert store.messages.settle_all([(in_flight, 11)], now=NOW)
    assert not store.messages.settle_all([(in_flight, 12)], now=NOW)
    (edit,) = pending(store)
    assert edit.payload == {"text": "two", "message_id": 11}


def test_a_revised_message_is_known_as_such_also_inside_a_transaction(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    in_flight = pending(store)[0]
    store.messages.revise([made], {"text": "two"}, now=NOW)
    with store.transaction():
        assert store.messages.settle_all([(in_flight, 11)], now=NOW)


def test_edits_always_belong_to_the_message_and_never_to_another_edit(store: Store) -> None:
    made = say(store, 7, "one", lane=ALERTS)
    deliver(store, 11)
    store.messages.revise([made], {"text": "two"}, now=NOW)
    edit = pending(store)[0]
    store.messages.revise([made], {"text": "three"}, now=NOW)  # while the edit is being sent
    store.messages.settle_all([(edit, 11)], now=NOW)
    store.messages.revise([made], {"text": "four"}, now=NOW)
    (last,) = pending(store)
    assert (last.parent, last.payload["text"]) == (made, "four")


def test_the_newest_of_two_open_bundles_takes_the_next_alert(store: Store) -> None:
    bundled(store, 7, "a")
    second = bundled(store, 7, "b")
    assert store.fan_out.open_bundles([7], "whales:BTC:loud", since=NOW - 60, until=NOW) == {7: second}
    assert store.fan_out.open_bundles([7], "whales:BTC:loud", since=NOW - 60, until=NOW - 1) == {}


def test_a_message_sent_anew_takes_its_alerts_along_and_the_old_one_is_buried(store: Store) -> None:
    made = bundled(store, 7, "a", "b")
    deliver(store, 11)
    store.messages.revise([made], {"text": "more"}, now=NOW)
    store.send_anew(pending(store)[0], reason="deleted", now=NOW - 3600)  # the clock was put back meanwhile
    (anew,) = pending(store)
    assert (anew.method, anew.payload, anew.bundle) == ("sendMessage", {"text": "more"}, "whales:BTC:loud")
    assert alerts_in(store, anew.id) == ["a", "b"]
    assert store.messages.counts(since=0) == {"pending": 1, "sent": 0, "buried": 2}
    assert [entry.how for entry in store.history.newest(7, limit=9)] == ["pending", "pending"]


def test_alerts_of_a_time_are_those_from_its_first_moment_until_before_its_last(store: Store) -> None:
    bundled(store, 7, "a", "b", "c")
    assert [alert.key for alert in store.messages.alerts_between(NOW, NOW + 2)] == ["a", "b"]


def test_only_what_was_muted_counts_as_muted(store: Store) -> None:
    bundled(store, 7, "a", "b", "c", "d")
    for key, why, at in (("a", "muted", NOW), ("b", "muted", NOW - 9), ("c", "quiet", NOW)):
        store.fan_out.hold([7], key, why=why, at=at)
    store.fan_out.hold([8], "d", why="muted", at=NOW)
    assert store.messages.muted_since(7, NOW) == 1


def test_a_history_has_the_newest_of_messages_and_held_alerts_together(store: Store) -> None:
    for number in range(6):
        key = f"{number}"
        store.messages.add_alert(whale(key, at=NOW + number), now=NOW)
        if number % 2:
            store.fan_out.hold([7], key, why="muted", at=NOW + number)
        else:
            made = store.messages.enqueue(7, "sendMessage", {}, now=NOW + number, lane=ALERTS, bundle="b")
            store.fan_out.add_to_bundles([made], key)
    found = store.history.newest(7, limit=4)
    assert [(entry.alert.key, entry.how) for entry in found] == [
        ("5", "muted"),
        ("4", "pending"),
        ("3", "muted"),
        ("2", "pending"),
    ]


def test_messages_that_were_sent_anew_use_up_no_place_of_a_history(store: Store) -> None:
    """Each is two deliveries: the newest alerts must still fill the list."""
    for number in range(4):
        made = store.messages.enqueue(7, "sendMessage", {}, now=NOW + number, lane=ALERTS, bundle="b")
        store.messages.add_alert(whale(f"{number}", at=NOW + number), now=NOW)
        store.fan_out.add_to_bundles([made], f"{number}")
        deliver(store, 11)
        store.messages.revise([made], {"text": "more"}, now=NOW + number)
        store.send_anew(pending(store)[0], reason="deleted", now=NOW + number)
        deliver(store, 12)
    found = store.history.newest(7, limit=3)
    assert [(entry.alert.key, entry.how) for entry in found] == [("3", "sent"), ("2", "sent"), ("1", "sent")]


def test_the_alerts_of_a_time_are_those_that_came_in_it_newest_first_whatever_became_of_them(store: Store) -> None:
    for number, key in enumerate("abcd"):
        store.messages.add_alert(whale(key), now=NOW)
        if key in "ac":
            made = store.messages.enqueue(7, "sendMessage", {}, now=NOW + number, bundle=key)
            store.fan_out.add_to_bundles([made], key)
        else:
            store.fan_out.hold([7], key, why="muted", at=NOW + number)
    found = store.history.between(7, NOW + 1, NOW + 3)
    assert [(one.alert.key, one.how, one.at) for one in found] == [("c", "pending", NOW + 2), ("b", "muted", NOW + 1)]
    assert store.history.between(8, NOW, NOW + 9) == []
