"""What chats scheduled is kept: what is due and what waits, the next digest, and a group that moves."""

from __future__ import annotations

from storekit import NOW, pending, say, texts

from store import Store
from store.rows import Chat
from store.schedules import Scheduled

LIQ = Scheduled(chat_id=7, thread_id=4, user_id=8, rule="every 4h", command="liq BTC", at=NOW)


def add(store: Store, **changes: object) -> int:
    return store.schedules.add(Scheduled(**vars(LIQ) | changes))


def test_one_is_kept_as_it_is_and_removed_by_its_chat_only(store: Store) -> None:
    number = add(store)
    kept = Scheduled(**vars(LIQ) | {"id": number})
    assert store.schedules.get(number) == kept
    store.schedules.remove(8, number)
    assert store.schedules.of_chat(7) == [kept]
    store.schedules.remove(7, number)
    assert store.schedules.get(number) is None


def test_it_is_due_from_its_second_on_the_longest_due_first(store: Store) -> None:
    later, now, first = add(store, at=NOW + 1), add(store), add(store, at=NOW - 60)
    add(store, at=None)
    assert store.schedules.due(NOW) == [first, now]
    assert [one.id for one in store.schedules.planned_after(NOW)] == [later]


def test_what_still_waits_of_an_answer_is_withdrawn_and_nothing_else(store: Store) -> None:
    """Two schedules of a chat were answered at the same time, the second one with two messages."""
    first, second = add(store), add(store)
    store.schedules.answered(first, at=NOW, delivery=say(store, 7, "first"))
    say(store, 7, "second, part one")
    store.schedules.answered(second, at=NOW, delivery=say(store, 7, "second, part two"))
    say(store, 7, "an answer to somebody")
    say(store, 7, "an alert", bundle="b")
    store.schedules.withdraw(second, now=NOW + 60)
    assert texts(store) == ["first", "an answer to somebody", "an alert"]
    store.schedules.withdraw(second, now=NOW + 61)
    store.messages.settle_all([(pending(store)[0], 1)], now=NOW)
    store.schedules.withdraw(first, now=NOW + 62)
    assert texts(store) == ["an answer to somebody", "an alert"], "what was sent was sent"


def test_a_digest_is_not_due_while_its_last_message_waits(store: Store) -> None:
    later, now, first = add(store, at=NOW + 1), add(store), add(store, at=NOW - 60, command="digest")
    add(store, at=None)
    assert store.schedules.due(NOW) == [first, now]
    assert [one.id for one in store.schedules.planned_after(NOW)] == [later]
    store.schedules.answered(first, at=NOW - 1, delivery=say(store, 7, "liquidations"))
    assert store.schedules.due(NOW) == [now]
    store.messages.settle_all([(pending(store)[0], 1)], now=NOW)
    assert store.schedules.due(NOW) == [first, now]
    store.schedules.set_at(first, None)
    assert store.schedules.due(NOW) == [now]


def test_a_time_is_brought_forward_and_never_put_off(store: Store) -> None:
    number, paused = add(store), add(store, at=None)
    for at, kept in ((NOW + 1, NOW), (NOW - 1, NOW - 1)):
        for one in (number, paused):
            store.schedules.bring_forward(one, at)
        assert [one.at for one in store.schedules.of_chat(7)] == [kept, None]


def test_the_next_digest_is_the_earliest_that_is_not_paused(store: Store) -> None:
    add(store)
    assert store.schedules.next_digest(7) is None
    for at in (NOW + 9, NOW + 5, None):
        add(store, command="digest", at=at)
    assert store.schedules.next_digest(7) == NOW + 5


def test_what_a_group_scheduled_moves_with_it(store: Store) -> None:
    store.chats.put(Chat(chat_id=-2, added_by=7))
    number = add(store, chat_id=-2)
    store.migrate_chat(-2, -1002)
    assert [one.id for one in store.schedules.of_chat(-1002)] == [number]
