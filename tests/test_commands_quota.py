"""A flood of one person, of a group or of strangers costs nobody else an answer, and is told once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER
from hypothesis import given
from hypothesis import strategies as st
from test_commands_inbox import NOW, Desk, message, press

from botapi.storage import STRANGERS
from commands.inbox import TOO_MANY, TOO_MANY_PRESSED
from commands.quota import BURST, EVERY, Quota, Verdict


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def said(desk: Desk, chat_id: int) -> list[str]:
    return [words for chat, words in desk.answers() if chat == chat_id]


def test_twenty_at_once_are_answered_then_one_every_three_seconds_and_it_is_told_once(desk: Desk) -> None:
    for number in range(60):
        desk.inbox.take(message(number, "/ping"))
    assert said(desk, FRIEND) == ["pong"] * 20 + [TOO_MANY]
    for number in range(100, 110):
        desk.inbox.take(message(number, "/ping", date=int(NOW) + 3 * (number - 99)))
    assert said(desk, FRIEND).count("pong") == 30


def test_what_was_typed_over_an_hour_while_the_bot_was_away_is_no_flood(desk: Desk) -> None:
    for number in range(60):
        desk.inbox.take(message(number, "/ping", date=int(NOW) - 590 + number * 9))
    assert said(desk, FRIEND) == ["pong"] * 60


def test_the_owner_has_no_limit_and_others_are_not_held_up(desk: Desk) -> None:
    for number in range(50):
        desk.inbox.take(message(number, "/ping", user_id=OWNER))
        desk.inbox.take(message(1000 + number, "/ping"))
    assert said(desk, OWNER) == ["pong"] * 50


def test_a_group_as_a_whole_has_the_limit_of_one_person(desk: Desk) -> None:
    group = {"id": -5, "type": "group", "title": "Desk"}
    desk.inbox.take(message(1, "/start", chat=group))
    for number in range(2, 62):
        user_id = 1000 + number % 10
        desk.access.allow(user_id)
        desk.inbox.take(message(number, "/ping", user_id=user_id, chat=group))
    assert said(desk, -5).count("pong") == 19
    desk.inbox.take(message(99, "/ping"))
    assert said(desk, FRIEND) == ["pong"], "in private the friend is answered"


def test_what_people_say_to_each_other_in_a_group_uses_up_nothing(desk: Desk) -> None:
    """A bot that is an admin of the group, or without privacy mode, is sent all of it."""
    desk.commands.context.username = "whale_test_bot"
    group = {"id": -5, "type": "group", "title": "Desk"}
    desk.inbox.take(message(1, "/start", chat=group))
    for number in range(2, 102, 2):
        desk.inbox.take(message(number, "to the moon", chat=group))
        desk.inbox.take(message(number + 1, "/roll@dice_bot", chat=group))
    desk.inbox.take(message(200, "/ping", chat=group))
    assert said(desk, -5)[1:] == ["pong"]


def test_in_private_every_message_gets_an_answer_and_counts(desk: Desk) -> None:
    for number in range(30):
        desk.inbox.take(message(number, "hello"))
    assert len(said(desk, FRIEND)) == 21


def test_each_press_is_answered_even_when_there_are_too_many(desk: Desk) -> None:
    for number in range(30):
        desk.inbox.take(press(number, "nothing"))
    assert said(desk, FRIEND) == ["This button has expired."] * 20 + [TOO_MANY_PRESSED] * 10


def test_strangers_get_ten_answers_a_minute_all_together_and_after_everyone_else(desk: Desk) -> None:
    for number in range(30):
        desk.inbox.take(message(number, "/start", user_id=5000 + number))
    answered = [row for row in desk.store.pending() if row[1] >= 5000]
    assert len(answered) == 10
    assert {lane for _, _, lane in answered} == {STRANGERS}


def test_nothing_more_goes_to_someone_who_was_denied(desk: Desk) -> None:
    desk.inbox.take(message(1, "/ping"))
    desk.inbox.take(message(2, f"/deny {FRIEND}", user_id=OWNER))
    assert said(desk, FRIEND) == []


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_in_any_time_no_more_run_than_the_quota_gives(times: list[float]) -> None:
    quota, ran = Quota(), list[float]()
    for at in sorted(times):
        if quota.judge([1], at=at) is Verdict.RUN:
            ran.append(at)
    for number, at in enumerate(ran):
        within = [other for other in ran[: number + 1] if other >= at - 30]
        assert len(within) <= BURST + 30 / EVERY + 1e-6
