"""Who may: closed by default, one answer a day to a stranger, a few questions an hour to the owner, kept for good."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from conftest import FRIEND, OWNER, NewStore
from storekit import file_only, path_of

from access import Access, Knock, Role
from botapi.storage import ALERTS, StoreError
from botapi.updates import Update
from store import Store
from store.rows import Chat

STRANGER = 99
HOUR, DAY = 3600.0, 86400.0


class Clock:
    def __init__(self) -> None:
        self.at = 1_750_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(store: Store, clock: Clock) -> Access:
    return Access(store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=clock)


def message(user_id: int, *, kind: str = "message", chat_kind: str = "private", name: str = "Eve") -> Update:
    return Update(
        update_id=1, kind=kind, chat_id=user_id, chat_kind=chat_kind, user_id=user_id, user_name=name, text="/start"
    )


@pytest.mark.parametrize("kind", ["message", "callback", "membership", "migration", "other", "a kind of the future"])
def test_every_kind_of_update_is_closed_to_all_but_owner_and_allowed_users(access: Access, kind: str) -> None:
    admitted = [user for user in (OWNER, FRIEND, STRANGER, 0, -5) if access.admits(message(user, kind=kind))]
    assert admitted == [OWNER, FRIEND]


def test_an_update_of_nobody_is_nobodys_even_without_an_owner(store: Store, clock: Clock) -> None:
    access = Access(store, owner_id=None, allowed_users=frozenset({FRIEND}), now=clock)
    assert not access.admits(message(0))
    assert access.role(0) is Role.STRANGER


def test_a_stranger_is_answered_once_a_day(access: Access, clock: Clock) -> None:
    assert [access.knock(message(STRANGER)) for _ in range(3)] == [Knock.ANSWER_AND_ASK, Knock.IGNORE, Knock.IGNORE]
    clock.at += DAY - 1
    assert access.knock(message(STRANGER)) is Knock.IGNORE
    clock.at += 1
    assert access.knock(message(STRANGER)) is Knock.ANSWER


def test_the_owner_is_asked_at_most_five_times_an_hour(access: Access, clock: Clock) -> None:
    asked = []
    for user_id in range(100, 110):
        asked.append(access.knock(message(user_id)))
        clock.at += 60
    assert asked == [Knock.ANSWER_AND_ASK] * 5 + [Knock.ANSWER] * 5, "those over the limit are still answered"
    clock.at += HOUR
    assert access.knock(message(110)) is Knock.ANSWER_AND_ASK


def test_the_owner_is_asked_about_the_same_stranger_once_a_week(access: Access, clock: Clock) -> None:
    asked = []
    for _ in range(9):
        asked.append(access.knock(message(STRANGER)) is Knock.ANSWER_AND_ASK)
        clock.at += DAY + 1
    assert asked == [True, *[False] * 6, True, False]


def test_without_an_owner_nobody_is_asked(store: Store, clock: Clock) -> None:
    access = Access(store, owner_id=None, allowed_users=frozenset({FRIEND}), now=clock)
    assert access.knock(message(STRANGER)) is Knock.ANSWER


@pytest.mark.parametrize(
    ("kind", "chat_kind"), [("message", "supergroup"), ("callback", "private"), ("other", "private")]
)
def test_only_a_private_message_is_a_knock(access: Access, kind: str, chat_kind: str) -> None:
    assert access.knock(message(STRANGER, kind=kind, chat_kind=chat_kind)) is Knock.IGNORE


@pytest.mark.parametrize("nobody", [0, -5])
def test_what_no_person_wrote_is_not_answered(access: Access, nobody: int) -> None:
    assert access.knock(message(nobody)) is Knock.IGNORE


def test_a_denied_user_is_not_answered_at_all(access: Access) -> None:
    access.deny(STRANGER)
    assert access.knock(message(STRANGER)) is Knock.IGNORE


def test_decisions_and_counts_outlive_the_process(store: Store, clock: Clock, new_store: NewStore) -> None:
    before = Access(store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=clock)
    before.allow(STRANGER)
    before.deny(FRIEND)
    for user_id in range(100, 105):
        before.knock(message(user_id))
    store.close()
    again = new_store()
    after = Access(again, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=clock)
    assert after.role(STRANGER) is Role.ALLOWED
    assert after.role(FRIEND) is Role.DENIED, "the owner's decision goes before the settings' list"
    assert after.knock(message(100)) is Knock.IGNORE, "answered before the restart"
    assert after.knock(message(105)) is Knock.ANSWER, "five were asked about before the restart"
    again.close()


def test_a_decision_can_be_changed_and_keeps_the_name(access: Access, store: Store) -> None:
    access.knock(message(STRANGER, name="Eve @eve"))
    access.deny(STRANGER)
    access.allow(STRANGER)
    assert access.role(STRANGER) is Role.ALLOWED
    user = store.chats.user(STRANGER)
    assert user is not None
    assert user.name == "Eve @eve"


def test_the_owner_cannot_be_denied(access: Access) -> None:
    access.deny(OWNER)
    assert access.role(OWNER) is Role.OWNER


def test_denying_a_user_ends_every_chat_that_was_theirs_and_no_other(access: Access, store: Store) -> None:
    access.allow(STRANGER)
    for chat_id, user_id in ((STRANGER, STRANGER), (-100, STRANGER), (FRIEND, FRIEND), (-200, OWNER)):
        store.chats.put(Chat(chat_id=chat_id, added_by=user_id))
    store.messages.enqueue(-100, "sendMessage", {"text": "whale"}, now=0, lane=ALERTS)
    assert {chat.chat_id for chat in access.deny(STRANGER)} == {STRANGER, -100}
    assert {chat.chat_id for chat in store.chats.some(limit=99)} == {FRIEND, -200}
    assert store.pending() == []


def test_a_user_who_left_the_settings_loses_the_alerts(store: Store, clock: Clock) -> None:
    store.chats.put(Chat(chat_id=FRIEND, added_by=FRIEND))
    assert not Access(store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=clock).sweep()
    (ended,) = Access(store, owner_id=OWNER, allowed_users=frozenset(), now=clock).sweep()
    assert ended.chat_id == FRIEND
    chat = store.chats.get(FRIEND)
    assert chat is not None
    assert "no longer use this bot" in chat.note


def test_the_list_of_users_names_everyone_decided_about_by_role(access: Access) -> None:
    access.knock(message(STRANGER))
    access.allow(50)
    access.deny(40)
    assert [(role, user.user_id) for role, user in access.users(limit=99)] == [
        (Role.OWNER, OWNER),
        (Role.ALLOWED, FRIEND),
        (Role.ALLOWED, 50),
        (Role.DENIED, 40),
    ]


@file_only
def test_the_owner_is_known_while_the_database_cannot_be_read(store: Store, access: Access) -> None:
    with closing(sqlite3.connect(path_of(store))) as other:
        other.execute("DROP TABLE facts")
        other.commit()
    with pytest.raises(StoreError):
        store.value("owner")
    assert access.owner_id == OWNER
