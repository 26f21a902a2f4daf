"""From a raw update to its effect: exactly once, behind the gate, and never an exception for what people send."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FRIEND, OWNER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storekit import file_store

from access import Access
from botapi.storage import Delivery
from botapi.updates import Update, parse
from commands import context
from commands.context import Reply
from commands.dispatch import Commands
from commands.inbox import Inbox
from store.coins import Coins

NOW = 1_790_000_000.0
STRANGER = 99


class Desk:
    def __init__(self, folder: Path) -> None:
        self.store = file_store(folder / "bot.db")
        self.access = Access(self.store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=lambda: NOW)
        self.desk = context.Context(
            self.store,
            self.access,
            symbols=Coins(self.store, ("BTC", "ETH")),
            now=lambda: NOW,
            default_min=lambda monitor, symbol: 1e6,
        )
        self.commands = Commands(self.desk)
        self.inbox = Inbox(self.store, self.access, self.commands, stale_after=600.0, now=lambda: NOW)

    def answers(self) -> list[tuple[int, str]]:
        deliveries = [self.store.delivery(row[0]) for row in self.store.pending()]
        return [(found.chat_id, found.payload.get("text", "")) for found in deliveries if found is not None]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def message(number: int, words: str | None = "/ping", user_id: int = FRIEND, **more: Any) -> dict[str, Any]:
    content = {
        "message_id": number,
        "date": int(NOW),
        "chat": {"id": user_id, "type": "private", "first_name": "Ann"},
        "from": {"id": user_id, "is_bot": False, "first_name": "Ann"},
        **({} if words is None else {"text": words}),
        **more,
    }
    return {"update_id": number, "message": content}


def press(number: int, data: str, user_id: int = FRIEND) -> dict[str, Any]:
    person = {"id": user_id, "is_bot": False, "first_name": "Ann"}
    query = {"id": str(number), "from": person, "data": data, "message": message(1, user_id=user_id)["message"]}
    return {"update_id": number, "callback_query": query}


def test_an_update_delivered_twice_is_handled_once(desk: Desk) -> None:
    desk.inbox.take(message(1))
    desk.inbox.take(message(1))
    assert desk.answers() == [(FRIEND, "pong")]


def test_the_mark_survives_a_reopening_of_the_store(desk: Desk, tmp_path: Path) -> None:
    desk.inbox.take(message(1))
    desk.store.close()
    desk.store = Desk(tmp_path).store
    assert desk.store.chats.handled(1)


def test_a_bug_in_a_command_is_answered_and_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(update: Update) -> list[Any]:
        desk.store.set_value("half", "done")
        raise RuntimeError("a bug")

    monkeypatch.setattr(desk.commands, "run", broken)
    desk.inbox.take(message(1))
    assert desk.store.value("half") is None
    assert "went wrong" in desk.answers()[0][1]
    assert desk.store.chats.handled(1)


def test_commands_that_are_too_old_are_told_of_in_one_line_for_each_chat(desk: Desk) -> None:
    for number in range(3):
        desk.inbox.take(message(number, date=int(NOW) - 3600))
    desk.inbox.take(message(10, user_id=OWNER, date=int(NOW) - 3600))
    assert desk.answers() == []
    assert desk.inbox.tell_stale(away_since=NOW - 7200)
    told = dict(desk.answers())
    assert "3 old commands" in told[FRIEND]
    assert "1 old command" in told[OWNER]
    assert not desk.inbox.tell_stale(away_since=None)


@pytest.mark.parametrize("words", ["/start@other_bot", "/unknown", "/", "/ hello", "//"])
def test_an_old_command_in_a_group_that_was_for_another_bot_is_not_told_of(desk: Desk, words: str) -> None:
    desk.commands.context.username = "whale_test_bot"
    group = {"id": -5, "type": "group", "title": "Desk"}
    desk.inbox.take(message(1, "/start", chat=group))
    old: dict[str, Any] = {"chat": group, "date": int(NOW) - 3600}
    before = desk.answers()
    desk.inbox.take(message(2, words, **old))
    assert not desk.inbox.tell_stale(away_since=None)
    assert desk.answers() == before
    desk.inbox.take(message(3, "/ping@whale_test_bot", **old))
    assert desk.inbox.tell_stale(away_since=None)


@pytest.mark.parametrize(
    "more",
    [
        {"forward_origin": {"type": "user"}},
        {"via_bot": {"id": 5}},
        {"sender_chat": {"id": -5, "type": "channel"}},
    ],
)
def test_what_was_not_typed_here_is_no_command(desk: Desk, more: dict[str, Any]) -> None:
    desk.inbox.take(message(1, "/start", **more))
    assert desk.answers() == []
    assert desk.store.chats.some(limit=99) == []


def test_a_caption_is_no_command(desk: Desk) -> None:
    desk.inbox.take(message(1, None, caption="/start", photo=[]))
    assert desk.answers() == []


def test_an_answer_in_a_group_is_a_reply_to_its_question(desk: Desk) -> None:
    desk.inbox.take(message(1, "/start", chat={"id": -5, "type": "group", "title": "Desk"}))
    desk.inbox.take(message(2, "/ping"))
    group, private = (desk.store.delivery(row[0]) for row in desk.store.pending())
    assert group is not None
    assert private is not None
    assert group.payload["reply_parameters"] == {"message_id": 1, "allow_sending_without_reply": True}
    assert "reply_parameters" not in private.payload


def test_members_of_a_group_may_look_at_markets_once_its_admin_says_so(desk: Desk) -> None:
    group = {"id": -5, "type": "group", "title": "Desk"}

    def member(number: int, words: str) -> list[str]:
        before = len(desk.answers())
        desk.inbox.take(message(number, words, user_id=STRANGER, chat=group))
        return [words for _, words in desk.answers()[before:]]

    desk.inbox.take(message(1, "/start", chat=group))
    assert ["/members on" in said for said in member(2, "/whales")] == [True]
    desk.inbox.take(message(3, "/members on", chat=group))
    assert member(4, "/whales") == ["No whale orders yet."]
    for number, words in enumerate(
        ("/stop", "/settings", "/level all off", "/whales\n/stop", "/whales /stop"), start=5
    ):
        assert member(number, words) == [], words
    assert len(member(12, "/chart light")) == 1
    known = desk.store.chats.get(-5)
    assert known is not None and known.chart_theme == "dark", "for a member it is this picture's only"
    desk.access.deny(STRANGER)
    assert member(20, "/whales") == []
    desk.inbox.take(message(21, "/members off", chat=group))
    desk.access.allow(STRANGER)


def test_a_name_that_holds_anothers_is_seen_to_be_a_name(desk: Desk) -> None:
    eve = {
        "id": STRANGER,
        "is_bot": False,
        "first_name": "Alice\u202e",
        "last_name": "@alice_real",
        "username": "eve",
    }
    desk.inbox.take(message(1, "/start", user_id=STRANGER, **{"from": eve}))
    asked = dict(desk.answers())[OWNER]
    assert asked == f"{STRANGER} “\u2068Alice alice_real @eve\u2069” wants to use this bot."


def test_a_message_that_was_not_understood_counts_as_new_when_it_is_corrected(desk: Desk) -> None:
    wrong = message(1, "/pingg x")["message"]
    desk.inbox.take({"update_id": 1, "message": wrong})
    desk.inbox.take(
        {"update_id": 2, "edited_message": {**message(9, "/ping other")["message"], "edit_date": int(NOW)}}
    )
    assert [words for _, words in desk.answers()][1:] == []
    desk.inbox.take({"update_id": 3, "edited_message": {**wrong, "text": "/ping x", "edit_date": int(NOW)}})
    desk.inbox.take({"update_id": 4, "edited_message": {**wrong, "text": "/ping y", "edit_date": int(NOW)}})
    assert [words for _, words in desk.answers()][1:] == ["pong x"], "understood now: a later edit changes nothing"


def test_an_edited_message_is_not_run_again(desk: Desk) -> None:
    raw = message(1)
    desk.inbox.take({"update_id": 2, "edited_message": raw["message"]})
    assert desk.answers() == []


def test_a_strangers_button_does_nothing(desk: Desk) -> None:
    desk.inbox.take(press(1, f"allow:{STRANGER}", user_id=STRANGER))
    assert desk.answers() == [(STRANGER, "Only people whom this bot's owner allowed can use these buttons.")]
    assert desk.store.chats.user(STRANGER) is None


def test_in_a_group_a_press_by_someone_else_is_told_that_its_admins_may(desk: Desk) -> None:
    group = {"id": -5, "type": "supergroup", "title": "Desk"}
    desk.inbox.take(message(1, "/start", chat=group))
    raw = press(2, "s:main", user_id=STRANGER)
    raw["callback_query"]["message"] |= {"chat": group, "message_thread_id": 7, "is_topic_message": True}
    desk.inbox.take(raw)
    words = "Only this group's admins and people whom this bot's owner allowed can use these buttons."
    assert desk.answers()[-1] == (-5, words)


def test_a_group_that_became_a_supergroup_keeps_its_alerts_and_its_name(desk: Desk) -> None:
    group = {"id": -5, "type": "group", "title": "Desk"}
    desk.inbox.take(message(1, "/start", chat=group))
    desk.inbox.take(message(2, None, user_id=STRANGER, chat=group, migrate_to_chat_id=-1005))
    assert [(chat.chat_id, chat.kind, chat.title) for chat in desk.store.chats.some(limit=99)] == [
        (-1005, "supergroup", "Desk")
    ]


def test_being_removed_from_a_chat_ends_its_alerts_whoever_did_it(desk: Desk) -> None:
    desk.inbox.take(message(1, "/start"))
    change = {
        "chat": {"id": FRIEND, "type": "private"},
        "from": {"id": FRIEND, "is_bot": False, "first_name": "Ann"},
        "old_chat_member": {"status": "member"},
        "new_chat_member": {"status": "kicked"},
    }
    desk.inbox.take({"update_id": 2, "my_chat_member": change})
    assert desk.store.chats.some(limit=99) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("left", "member", True),
        ("kicked", "administrator", True),
        ("member", "administrator", False),
        ("left", "restricted", False),
    ],
)
def test_who_adds_the_bot_to_a_group_is_told_how_to_start_it_there(
    desk: Desk, old: str, new: str, told: bool
) -> None:
    def change(number: int, user_id: int) -> dict[str, Any]:
        person = {"id": user_id, "is_bot": False, "first_name": "Ann"}
        statuses = {"old_chat_member": {"status": old}, "new_chat_member": {"status": new}}
        chat = {"id": -5, "type": "group", "title": "Desk"}
        return {"update_id": number, "my_chat_member": {"chat": chat, "from": person, **statuses}}

    desk.inbox.take(change(1, STRANGER))
    assert desk.answers() == []
    desk.inbox.take(change(2, FRIEND))
    assert [chat for chat, words in desk.answers() if "/start" in words] == ([-5] if told else [])


def added(number: int, chat: dict[str, Any], *, user_id: int = FRIEND) -> dict[str, Any]:
    person = {"id": user_id, "is_bot": False, "first_name": "Ann"}
    statuses = {"old_chat_member": {"status": "left"}, "new_chat_member": {"status": "administrator"}}
    return {"update_id": number, "my_chat_member": {"chat": chat, "from": person, **statuses}}


def test_fields_that_are_null_count_as_absent(desk: Desk) -> None:
    """Some servers send them so."""
    nulls: dict[str, Any] = {
        "sender_chat": None,
        "forward_origin": None,
        "migrate_to_chat_id": None,
        "edit_date": None,
    }
    desk.inbox.take({**message(1, **nulls), "callback_query": None, "my_chat_member": None, "edited_message": None})
    assert desk.answers() == [(FRIEND, "pong")]


def test_the_direct_messages_of_a_channel_are_left_alone(desk: Desk) -> None:
    desk.inbox.take(message(1, "/start", chat={"id": -1009, "type": "supergroup", "is_direct_messages": True}))
    assert desk.answers() == []
    assert desk.store.chats.some(limit=99) == []


@pytest.mark.parametrize("first", ["migrate_to", "migrate_from", "membership"])
def test_a_group_that_became_a_supergroup_is_not_told_to_start_again(desk: Desk, first: str) -> None:
    old, new = {"id": -5, "type": "group", "title": "Desk"}, {"id": -1005, "type": "supergroup", "title": "Desk"}
    desk.inbox.take(message(1, "/start", chat=old))
    updates = {
        "migrate_to": message(2, None, chat=old, migrate_to_chat_id=-1005),
        "migrate_from": message(3, None, chat=new, migrate_from_chat_id=-5),
        "membership": added(4, new),
    }
    before = desk.answers()
    for name in sorted(updates, key=lambda name: name != first):
        desk.inbox.take(updates[name])
    assert [words for _, words in desk.answers()] == [words for _, words in before]
    assert [(chat.chat_id, chat.kind) for chat in desk.store.chats.some(limit=99)] == [(-1005, "supergroup")]


def test_an_anonymous_admin_of_a_new_group_is_told_how_to_start_the_bot_once_a_day(desk: Desk) -> None:
    desk.commands.context.username = "whale_test_bot"
    group = {"id": -1005, "type": "supergroup", "title": "Desk"}
    posts: dict[str, Any] = {
        "from": {"id": 1087968824, "is_bot": True, "first_name": "Group"},
        "sender_chat": group,
        "chat": group,
    }
    for number, words in enumerate(("/ping", "hello", "/start@other_bot", "/start@whale_test_bot", "/start")):
        desk.inbox.take(message(number, words, **posts))
    (answer,) = desk.answers()
    assert answer[0] == -1005
    assert answer[1].startswith("You post as the group, so I cannot see who you are. Send /start under your own name")
    assert desk.store.chats.some(limit=99) == []
    assert desk.store.chats.users("allowed", "denied", limit=99) == []


def test_who_may_not_start_a_group_is_told_once_a_day_how_to_ask_and_whom_the_owner_denied_is_not(desk: Desk) -> None:
    desk.commands.context.username = "whale_test_bot"
    stranger, denied = 77, 78
    desk.access.deny(denied)
    group = {"id": -1005, "type": "supergroup", "title": "Desk"}
    desk.inbox.take(message(1, "/start@whale_test_bot", denied, chat=group))
    assert desk.answers() == []
    for number, words in enumerate(("/ping", "hello", "/start@other_bot", "/start@whale_test_bot", "/start"), 2):
        desk.inbox.take(message(number, words, stranger, chat=group))
    (answer,) = desk.answers()
    assert answer[0] == -1005
    assert answer[1].startswith("Only people whom this bot's owner allowed can start alerts. To ask the owner, send")
    assert desk.store.chats.some(limit=99) == []
    other = {"id": -1006, "type": "supergroup", "title": "Started"}
    desk.inbox.take(message(9, "/start", chat=other))
    before = desk.answers()
    desk.inbox.take(message(10, "/start", stranger, chat=other))
    assert desk.answers() == before, "this one has alerts, and the command may be for another bot"


def test_a_member_is_told_once_an_hour_that_a_command_is_not_for_them_and_few_members_are(desk: Desk) -> None:
    desk.commands.context.username = "whale_test_bot"
    group, denied = {"id": -1005, "type": "supergroup", "title": "Desk"}, 78
    desk.access.deny(denied)
    desk.inbox.take(message(1, "/start", chat=group))
    numbers = itertools.count(2)

    def said(words: str, user_id: int = STRANGER) -> list[str]:
        before = len(desk.answers())
        desk.inbox.take(message(next(numbers), words, user_id=user_id, chat=group))
        return [answer for to, answer in desk.answers()[before:] if to == -1005]

    others = ("hello", "/level@other_bot whales off", "/xyzzy", "/help", "/start", "/status", "/coins add PEPE")
    assert [said(words) for words in others] == [[]] * len(others), "not surely for this bot, or the owner's"
    assert said("/level whales off", denied) == []
    assert said("/level whales off") == [
        "Only this group's admins and people whom this bot's owner allowed can use /level."
    ]
    assert [said(words) for words in ("/level whales off", "/price BTC", "/status@whale_test_bot")] == [[]] * 3
    assert "/members on" in said("/price BTC", 101)[0]
    assert "can use /status." in said("/status@whale_test_bot", 102)[0]
    assert said("/price BTC", 103) == [], "three people in an hour"
    desk.commands.context.now = lambda: NOW + 3601
    desk.inbox.take(message(next(numbers), "/members on", chat=group))
    assert "Everyone can use the commands that show markets" in said("/level whales off")[0]
    chat = desk.store.chats.get(-1005)
    assert chat is not None and chat.levels == {}


@pytest.mark.parametrize(
    "words", ["/ping \ud83d", "\u202e/start", "/ping " + "x" * 5000, "/ping " + "😀" * 4000, "/", "/@", "\x00"]
)
def test_odd_text_is_answered_or_ignored_and_never_an_error(
    desk: Desk, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk.inbox.take(message(1, words))
    desk.inbox.take(message(2, "/ping after"))
    assert desk.answers()[-1] == (FRIEND, "pong after")
    assert "failed" not in caplog.text
    assert all(len(answer.encode("utf-16-le")) // 2 <= 4096 for _, answer in desk.answers())


@pytest.mark.parametrize(
    "data", ["", ":", "mute:", "mute:BTC:", "mute:BTC:9h", "allow:", "allow:x", "deny:" + "9" * 60]
)
def test_odd_button_data_is_answered_and_changes_nothing(desk: Desk, data: str) -> None:
    desk.inbox.take(message(1, "/start", user_id=OWNER))
    before = desk.store.chats.some(limit=99)
    desk.inbox.take(press(2, data, user_id=OWNER))
    assert desk.store.chats.some(limit=99) == before
    assert len(desk.answers()) == 2


# How an answer is put


def answered_by(desk: Desk, monkeypatch: pytest.MonkeyPatch, raw: dict[str, Any], *said: Reply) -> list[Delivery]:
    monkeypatch.setattr(desk.commands, "run", lambda update: list(said))
    desk.inbox.take(raw)
    found = [desk.store.delivery(row[0]) for row in desk.store.pending()]
    return [one for one in found if one is not None]


KEYS = ((("a", "x:1"), ("b", "x:2")), (("c", "x:3"),))


def test_an_edit_changes_the_message_whose_button_was_pressed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = answered_by(
        desk, monkeypatch, press(1, "x"), Reply(text="<b>new</b>", html=True, edit=True, keyboard=KEYS)
    )
    assert (made.method, made.chat_id) == ("editMessageText", FRIEND)
    assert (made.payload["message_id"], made.payload["text"], made.payload["parse_mode"]) == (1, "<b>new</b>", "HTML")
    rows = made.payload["reply_markup"]["inline_keyboard"]
    assert [[button["callback_data"] for button in row] for row in rows] == [["x:1", "x:2"], ["x:3"]]


def test_where_the_message_is_out_of_reach_an_edit_is_a_new_message(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = press(1, "x")
    raw["callback_query"]["message"]["date"] = 0
    (made,) = answered_by(desk, monkeypatch, raw, Reply(text="new", edit=True))
    assert (made.method, made.payload) == ("sendMessage", {"text": "new"})


def test_a_button_in_a_topic_is_answered_in_that_topic(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = press(1, "x")
    raw["callback_query"]["message"] |= {"is_topic_message": True, "message_thread_id": 5}
    (made,) = answered_by(desk, monkeypatch, raw, Reply(text="here", silent=True))
    assert made.payload == {"text": "here", "message_thread_id": 5, "disable_notification": True}


def test_a_file_is_a_wish_in_the_payload_with_the_text_as_its_caption(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = Reply(text="BTC", method="sendPhoto", attachment={"kind": "chart", "symbol": "BTC"})
    (made,) = answered_by(desk, monkeypatch, message(1), reply)
    assert made.method == "sendPhoto"
    assert made.payload == {"caption": "BTC", "attachment": {"kind": "chart", "symbol": "BTC"}}


def test_the_keyboard_of_a_long_answer_stands_under_its_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = answered_by(desk, monkeypatch, message(1), Reply(text="x" * 5000, keyboard=KEYS))
    assert "reply_markup" not in first.payload
    assert "reply_markup" in last.payload


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "text", "chat", "from", "date", "message_id", "type", "data", "message", "status"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
KINDS = st.sampled_from(["message", "callback_query", "my_chat_member", "edited_message", "poll", "inline_query"])


@given(kind=KINDS, content=JSON)
def test_parse_raises_nothing_but_what_it_says(kind: str, content: Any) -> None:
    try:
        parse({"update_id": 1, kind: content})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        pass


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(kind=KINDS, content=JSON, number=st.integers(min_value=1, max_value=2**31))
def test_no_update_whatever_makes_the_inbox_fail(desk: Desk, kind: str, content: Any, number: int) -> None:
    desk.inbox.take({"update_id": number, kind: content})
    assert desk.store.chats.handled(number)


def test_charts_wait_in_a_short_queue_of_which_no_chat_takes_all(desk: Desk) -> None:
    for number in range(4):
        desk.inbox.take(message(number, "/chart BTC"))
    waiting = [desk.store.delivery(row[0]) for row in desk.store.pending()]
    assert [one.method for one in waiting if one is not None] == [
        "sendPhoto",
        "sendPhoto",
        "sendMessage",
        "sendMessage",
    ]
    for number in range(10, 20):
        desk.access.allow(1000 + number)
        desk.inbox.take(message(number, "/chart BTC", user_id=1000 + number))
    assert sum(desk.store.messages.waiting_files().values()) == 5


def test_the_wallets_of_all_chats_together_have_a_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands.markets.WALLETS_IN_ALL", 2)
    desk.inbox.take(message(1, "/start"))
    for number in range(2, 5):
        desk.inbox.take(message(number, f"/wallet add 0x{number:040x} w{number}"))
    assert "that is its limit" in desk.answers()[-1][1]
    desk.inbox.take(message(9, f"/wallet add 0x{2:040x} renamed"))
    assert "is now called renamed" in desk.answers()[-1][1]


def test_of_several_edits_of_one_message_only_the_newest_is_made(desk: Desk) -> None:
    desk.inbox.take(message(1, "/start"))
    for number in range(2, 7):
        desk.inbox.take(press(number, "s:cap:cap 20" if number % 2 else "s:main"))
    kept = [desk.store.delivery(row[0]) for row in desk.store.pending()]
    assert sum(one.method == "editMessageText" for one in kept if one is not None) == 1
    assert sum(one.method == "answerCallbackQuery" for one in kept if one is not None) == 5
