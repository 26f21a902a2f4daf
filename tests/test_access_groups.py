"""In groups: only those whom the bot knows, or administrators whom Telegram named, change what the group hears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER, Run, first_look
from test_commands import NOW, Desk

import access
from access import Groups, administers
from botapi.errors import Rejected, TooManyRequests, Unreachable
from botapi.updates import Update, parse
from simulation.account import SimBot
from simulation.simulator import Simulator

GROUP, OTHER = -100, -200
ADMIN, MEMBER = 55, 56


class Telegram:
    """Answers from a table of administrators; an exception in it is raised."""

    def __init__(self) -> None:
        self.admins: dict[int, list[int] | Exception] = {GROUP: [ADMIN]}
        self.asked: list[int] = []

    def __call__(self, chat_id: int) -> list[int]:
        self.asked.append(chat_id)
        found = self.admins[chat_id]
        if isinstance(found, Exception):
            raise found
        return found


class Clock:
    at = NOW

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A group that a friend has started."""
    desk = Desk(tmp_path)
    desk.say("/start", chat_id=GROUP)
    yield desk
    desk.store.close()


def update(user_id: int, *, chat_id: int = GROUP, kind: str = "supergroup", what: str = "message") -> Update:
    return Update(update_id=1, kind=what, chat_id=chat_id, chat_kind=kind, user_id=user_id, text="/level all off")


def know(desk: Desk, *ids: int, chat_id: int = GROUP, at: float = NOW) -> None:
    desk.store.set_value(f"administrators:{chat_id}", json.dumps({"at": at, "ids": list(ids)}))


@pytest.mark.parametrize("what", ["message", "callback"])
def test_an_administrator_is_let_in_once_telegram_named_them(desk: Desk, what: str) -> None:
    assert not desk.access.admits(update(ADMIN, what=what)), "nobody was named yet"
    know(desk, ADMIN)
    assert desk.access.admits(update(ADMIN, what=what))
    assert not desk.access.admits(update(MEMBER, what=what))
    assert not desk.access.admits(update(0, what=what))


def test_who_writes_as_the_group_itself_is_its_administrator_and_a_channel_is_nobody(desk: Desk) -> None:
    def raw(sender: int, chat_id: int = GROUP) -> Update:
        bots = {"id": 1087968824, "is_bot": True, "first_name": "Group"}
        message = {"message_id": 1, "date": int(NOW), "chat": {"id": chat_id, "type": "supergroup"}, "from": bots}
        return parse({"update_id": 1, "message": message | {"text": "/stop", "sender_chat": {"id": sender}}})

    assert raw(GROUP).kind == "message"
    assert desk.access.admits(raw(GROUP))
    assert not desk.access.admits(raw(OTHER, chat_id=OTHER)), "nobody whom the bot knows has started it there"
    assert raw(-7777).kind == "other"
    assert not desk.access.admits(raw(-7777))


def test_an_administrator_is_nobody_elsewhere(desk: Desk) -> None:
    know(desk, ADMIN)
    know(desk, ADMIN, chat_id=OTHER)
    assert not desk.access.admits(update(ADMIN, chat_id=OTHER)), "nobody whom the bot knows has started it there"
    assert not desk.access.admits(update(ADMIN, chat_id=ADMIN, kind="private"))


def test_whom_the_owner_denied_no_group_lets_in(desk: Desk) -> None:
    know(desk, ADMIN)
    desk.access.deny(ADMIN)
    assert not desk.access.admits(update(ADMIN))


def test_when_the_one_who_started_it_is_shut_out_its_administrators_are_too(desk: Desk) -> None:
    know(desk, ADMIN)
    desk.access.deny(FRIEND)
    assert not desk.access.admits(update(ADMIN))


def test_a_denied_administrator_does_not_come_back_as_the_group_itself(desk: Desk) -> None:
    know(desk, ADMIN, MEMBER)
    as_group = replace(update(0), as_group=True, text="/stop")
    assert desk.access.admits(as_group)
    desk.access.deny(MEMBER)
    assert not desk.access.admits(as_group)
    (said,) = desk.commands.stranger(as_group)
    assert said.text.endswith("Post under your own name.")
    assert desk.access.admits(update(ADMIN)), "who has a name is obeyed"


def test_an_old_answer_is_not_trusted(desk: Desk) -> None:
    know(desk, ADMIN, at=NOW - access.ADMINISTRATORS_TRUSTED)
    assert not desk.access.admits(update(ADMIN))


def test_an_administrator_sets_the_group_but_does_not_take_it_over(desk: Desk) -> None:
    know(desk, ADMIN)
    assert "are off" in desk.say("/level all off", user_id=ADMIN, chat_id=GROUP)
    desk.say("/stop", user_id=ADMIN, chat_id=GROUP)
    assert desk.access.admits(update(ADMIN)), "who switched it off may switch it on again"
    desk.say("/start", user_id=ADMIN, chat_id=GROUP)
    assert desk.chat(GROUP).added_by == FRIEND
    assert desk.access.may_hear(desk.chat(GROUP))
    desk.say("/start", user_id=OWNER, chat_id=GROUP)
    assert desk.chat(GROUP).added_by == OWNER
    desk.say("/start", user_id=FRIEND, chat_id=GROUP)
    assert desk.chat(GROUP).added_by == OWNER, "a friend does not take the owner's group over"
    assert desk.replies("/allow 99", user_id=ADMIN, chat_id=GROUP) == []


def test_the_bots_own_state_is_not_told_to_a_groups_administrator(desk: Desk) -> None:
    assert "Up for 3 h." in desk.say("/status")
    assert "Up for 3 h." not in desk.say("/status", chat_id=GROUP), "nor to the others there"
    said = desk.say("/status", user_id=ADMIN, chat_id=GROUP)
    assert "Up for 3 h." not in said
    assert said.startswith("This chat gets")


def test_a_group_is_asked_about_after_its_start_and_once_an_hour(desk: Desk) -> None:
    ask, clock = Telegram(), Clock()
    job = Groups(desk.store, ask=ask, now=clock)
    desk.say("/start")  # a private chat has no administrators
    for _ in range(3):
        job.tick()
    assert ask.asked == [GROUP]
    assert administers(desk.store, GROUP, ADMIN, now=NOW)
    ask.admins[GROUP] = [MEMBER]
    clock.at = NOW + access.ADMINISTRATORS_EVERY
    job.tick()
    assert not administers(desk.store, GROUP, ADMIN, now=clock.at)
    assert administers(desk.store, GROUP, MEMBER, now=clock.at)


def test_a_refusal_lets_nobody_in_and_is_not_asked_again_at_once(desk: Desk) -> None:
    ask = Telegram()
    ask.admins[GROUP] = Rejected(403, "Forbidden: bot was kicked from the supergroup chat")
    know(desk, ADMIN, at=NOW - access.ADMINISTRATORS_EVERY)
    job = Groups(desk.store, ask=ask, now=Clock())
    job.tick()
    job.tick()
    assert ask.asked == [GROUP]
    assert not administers(desk.store, GROUP, ADMIN, now=NOW)


@pytest.mark.parametrize("trouble", [Unreachable("no answer"), TooManyRequests(30)])
def test_without_an_answer_the_last_one_holds_and_a_minute_later_it_is_asked_again(
    desk: Desk, trouble: Exception
) -> None:
    ask, clock = Telegram(), Clock()
    ask.admins[GROUP] = trouble
    know(desk, ADMIN, at=NOW - access.ADMINISTRATORS_EVERY)
    job = Groups(desk.store, ask=ask, now=clock)
    job.tick()
    job.tick()
    assert ask.asked == [GROUP]
    assert administers(desk.store, GROUP, ADMIN, now=NOW)
    clock.at += access.ADMINISTRATORS_RETRY
    job.tick()
    assert ask.asked == [GROUP, GROUP]


def test_a_group_with_topics_end_to_end(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    """A friend starts it in a topic; its administrator, a stranger, sets it from another; members cannot."""
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    chat.set_member(GROUP, ADMIN, "administrator", chat_type="supergroup")
    run_bot(before="import access, monitors; access.ADMINISTRATORS_EVERY = monitors.ADMINS_EVERY = 0.5").wait_output(
        "Polling: running"
    )

    def say(user_id: int, words: str, thread_id: int | None = None) -> None:
        chat.send_text(GROUP, words, user_id=user_id, chat_type="supergroup", thread_id=thread_id)

    say(ADMIN, "/start@whale_test_bot")
    say(FRIEND, "/start@whale_test_bot", thread_id=7)
    began = chat.wait_text("Alerts are on", chat_id=GROUP)
    assert int(str(began.params["message_thread_id"])) == 7
    # The second question shows that the answer to the first one is kept.
    sim.wait(lambda: chat.count("getChatAdministrators") >= 2, what="who administers the group")
    say(MEMBER, "/level whales off")
    say(ADMIN, "/level whales loud", thread_id=9)
    answer = chat.wait_text("Whale orders always come with sound", chat_id=GROUP)
    assert int(str(answer.params["message_thread_id"])) == 9
    first_look(sim, "BTC")
    sim.market.sweep("binance", "BTC", "buy", usd=1_100_000, fills=9, price=50_000.0)
    alert = chat.wait_text("BTC buy", chat_id=GROUP)
    assert int(str(alert.params["message_thread_id"])) == 7, "alerts go to the topic where it was started"
    assert "disable_notification" not in alert.params
    assert alert.message_id is not None
    for user_id in (MEMBER, ADMIN):
        chat.press(alert.message_id, "mute:BTC:1h", chat_id=GROUP, user_id=user_id)
    chat.wait_text("BTC muted", chat_id=0)
    chat.wait_text("Only this group's admins and people", chat_id=0)  # the member's button did nothing, and said so
    assert sum(sent.method == "answerCallbackQuery" for sent in chat.sent) == 2
    assert not any("are off" in words for words in chat.texts(GROUP))
