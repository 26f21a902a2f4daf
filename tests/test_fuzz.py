"""Whatever people and servers send: the inbox never fails, never writes markup of others, never obeys a stranger.

`--hypothesis-profile=long` tries a hundred times as much. The oracle here reads raw updates by itself; it shares no
code with the gate that it judges.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from conftest import FRIEND, OWNER
from hypothesis import given, note, settings
from hypothesis import strategies as st

from access import Access
from alerts import wording
from alerts.publish import publish
from commands import context
from commands.dispatch import Commands
from commands.inbox import Inbox
from commands.table import TABLE
from simulation.html import parse_html, utf16
from store import Store
from store.coins import Coins
from store.rows import Alert, User

NOW = 1_790_000_000.0
STRANGER, DENIED, ADMINISTRATOR = 99, 98, 97
GROUP, CHANNEL = -1001, -1002
USERNAME = "whale_test_bot"
MANY = settings().max_examples  # 50, or what the profile says

# What people type, are called, and call their groups


INJECTED = '<a href="https://evil.example">x</a><b>evil</b>&lt;'
ODD = (
    *(
        "",
        " ",
        "\x00",
        "\u202e/start",
        "\u200f\u200e",
        "\u2066/ping\u2069",
        "\ufeff",
        "e\u0301" * 40,
        "\ud83d",
        "\udc00\ud800",
    ),
    *(
        "👩‍👩‍👧‍👦" * 60,
        "x" * 4096,
        "😀" * 2048,
        "\n" * 50,
        "a\n" * 2000,
        "&" * 1000,
        "<" * 4090,
        "９",
        "٣h",
        "²",
        "ǅ",
        "ß",
        "ﬁ",
    ),
    *(
        INJECTED,
        "</b>",
        "&amp",
        "&#0;",
        "<!--",
        "%s%d%(x)s{}{0}",
        "'; DROP TABLE chats;--",
        "\\",
        '"',
        "`",
        "9" * 4000,
    ),
    *(
        "-1",
        "0",
        "1e9",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "NaNk",
        "$",
        "$$",
        "/",
        "//",
        "@",
        "USDT",
        "BTCUSDT",
        "$btc",
        "*",
    ),
)
ARGUMENTS = (
    *(
        "BTC",
        "eth",
        "DOGE",
        "2m",
        "500k",
        "1h",
        "24h",
        "365d",
        "0h",
        "99999d",
        "off",
        "on",
        "all",
        "auto",
        "now",
        "loud",
    ),
    *(
        "09:00",
        "25:99",
        "mon-fri",
        "every",
        "4h",
        "cron",
        "*",
        "*/5",
        "1-5",
        "1,2",
        "Europe/Berlin",
        "UTC",
        "7",
        "99",
        "*/0",
    ),
    *("silent", "buy", "sell", "22:00-07:00", "whales", "funding", str(OWNER), str(STRANGER), str(DENIED)),
    *(
        "above",
        "below",
        ">",
        "<",
        "+5%",
        "-3%",
        "in",
        "7d",
        "repeat",
        "for",
        "until",
        "fri",
        "31",
        "Dec",
        "2026-12-31",
        "volume",
        "3x",
        "100k",
        "1,5",
        "up",
        "down",
        "remove",
        "1",
    ),
    *(
        "add",
        "test",
        "https://example.com/x",
        "ntfy://t",
        "candles",
        "csv",
        "export",
        "import",
        "30d",
        "price",
        "chart",
        "tomorrow",
        "@chan",
    ),
)
odd = st.sampled_from(ODD) | st.text(max_size=30) | st.text(st.characters(codec=None), max_size=10)
word = st.sampled_from(ARGUMENTS) | odd
name = st.sampled_from([row.name for row in TABLE]) | st.sampled_from(["START", "unknown", "", "ping@", "a" * 33])
addressee = st.sampled_from(["", "", f"@{USERNAME}", f"@{USERNAME.upper()}", "@other_bot", "@"])
blank = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", "\u2028"])
typed = st.builds(
    lambda *parts: "".join(parts)[:4096],
    st.just("/"),
    name,
    addressee,
    blank,
    st.lists(word, max_size=6).map(" ".join),
)
words = typed | typed | odd | st.builds(lambda a, b: a + b, odd, typed)
data = st.one_of(
    st.builds(
        lambda verb, rest: f"{verb}:{rest}", st.sampled_from(["allow", "deny", "mute", "level", "x", ""]), word
    ),
    st.builds(
        lambda verb, words: f"{verb}:{' '.join(words)}"[:64],
        *(st.sampled_from(["run", "snooze", "channel", "mute"]), st.lists(word, max_size=3)),
    ),
    st.builds(
        lambda page, name, words: f"s:{page}:{name} {' '.join(words)}",
        st.sampled_from(["main", "done", "cap", "quiet", "whales", "thresholds", "x"]),
        *(name, st.lists(word, max_size=3)),
    ),
    st.sampled_from(
        ["mute:BTC:1h", "mute:ETH:24h", f"allow:{STRANGER}", f"deny:{FRIEND}", f"allow:{DENIED}", "mute:BTC:9h"]
    ),
    odd,
)


def people(*ids: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"id": st.sampled_from(ids), "is_bot": st.just(False), "first_name": odd},
        optional={"last_name": odd, "username": odd, "language_code": odd},
    )


person = people(OWNER, FRIEND, STRANGER, DENIED, ADMINISTRATOR)
nobody = st.sampled_from(  # Bot API, User: who stands in for a group, a channel and Telegram itself
    [
        {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"},
        {"id": 136817688, "is_bot": True, "first_name": "Channel", "username": "Channel_Bot"},
        {"id": 777000, "is_bot": False, "first_name": "Telegram"},
        {"id": OWNER, "is_bot": True, "first_name": "No owner"},
    ]
)
group = st.fixed_dictionaries(
    {"id": st.sampled_from([GROUP, -5]), "type": st.sampled_from(["group", "supergroup"]), "title": odd},
    optional={"is_forum": st.booleans(), "username": odd},
)
channel = st.fixed_dictionaries({"id": st.just(CHANNEL), "type": st.just("channel"), "title": odd})


def message(text: str = "text", *, author: st.SearchStrategy[Any] = person) -> st.SearchStrategy[dict[str, Any]]:
    """A message as Telegram makes it: in someone's own chat or a group, with everything that may hang on it."""
    forged = st.fixed_dictionaries({"from": people(OWNER), "text": typed, "message_id": st.just(3)})
    content = st.fixed_dictionaries(
        {
            "message_id": st.integers(1, 2**31),
            "date": st.sampled_from([int(NOW), int(NOW) - 30, int(NOW) - 3600, int(NOW) + 3600]),
            "from": author,
            text: words,
        },
        optional={
            "reply_to_message": forged,
            "external_reply": forged,
            "quote": st.fixed_dictionaries({"text": typed, "position": st.just(0)}),
            "entities": st.just([{"type": "bot_command", "offset": 0, "length": 6}]),
            "is_topic_message": st.just(True),
            "message_thread_id": st.integers(1, 99),
            "pinned_message": forged,
            "photo": st.just([]),
        },
    )
    mark = st.sampled_from(
        [
            *({}, {}, {}),
            {"forward_origin": {"type": "user", "sender_user": {"id": OWNER}, "date": 1}},
            {"via_bot": {"id": 5, "is_bot": True, "first_name": "b"}},
            {"sender_chat": {"id": GROUP, "type": "supergroup", "title": "g"}},
        ]
    )

    def placed(made: dict[str, Any], elsewhere: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
        home = {"id": made["from"]["id"], "type": "private", "first_name": made["from"]["first_name"]}
        if made.get("is_topic_message") and "message_thread_id" not in made:
            del made["is_topic_message"]
        return made | {"chat": elsewhere or home} | more

    return st.builds(placed, content, st.none() | group, mark)


unreachable = st.fixed_dictionaries({"chat": group, "message_id": st.just(4), "date": st.just(0)})


def membership(status: str) -> st.SearchStrategy[dict[str, Any]]:
    member = st.fixed_dictionaries(
        {"status": st.sampled_from(["member", "administrator", "restricted", "left", "kicked"])}
    )
    parts = {"chat": group | channel, "from": person, "date": st.just(int(NOW)), "old_chat_member": member}
    return st.fixed_dictionaries({**parts, status: member})


UPDATES: dict[str, st.SearchStrategy[Any]] = {  # Bot API 9, Update: every field
    "message": message(),
    "edited_message": message(),
    "channel_post": st.builds(lambda made, chat: made | {"chat": chat, "sender_chat": chat}, message(), channel),
    "edited_channel_post": st.builds(
        lambda made, chat: made | {"chat": chat, "sender_chat": chat}, message(), channel
    ),
    "business_connection": st.fixed_dictionaries({"id": odd, "user": person, "user_chat_id": st.just(OWNER)}),
    "business_message": message(),
    "edited_business_message": message(),
    "deleted_business_messages": st.fixed_dictionaries({"chat": group, "message_ids": st.just([1])}),
    "message_reaction": st.fixed_dictionaries({"chat": group, "user": person, "new_reaction": st.just([])}),
    "message_reaction_count": st.fixed_dictionaries({"chat": group, "reactions": st.just([])}),
    "inline_query": st.fixed_dictionaries({"id": odd, "from": person, "query": words, "offset": odd}),
    "chosen_inline_result": st.fixed_dictionaries({"result_id": odd, "from": person, "query": words}),
    "callback_query": st.fixed_dictionaries(
        {"id": st.just("5"), "from": person, "chat_instance": odd, "message": message() | unreachable},
        optional={"data": data, "game_short_name": odd},
    ),
    "shipping_query": st.fixed_dictionaries({"id": odd, "from": person, "invoice_payload": words}),
    "pre_checkout_query": st.fixed_dictionaries({"id": odd, "from": person, "invoice_payload": words}),
    "purchased_paid_media": st.fixed_dictionaries({"from": person, "paid_media_payload": words}),
    "poll": st.fixed_dictionaries({"id": odd, "question": words}),
    "poll_answer": st.fixed_dictionaries({"poll_id": odd, "user": person}),
    "my_chat_member": membership("new_chat_member"),
    "chat_member": membership("new_chat_member"),
    "chat_join_request": st.fixed_dictionaries({"chat": group, "from": person, "bio": words}),
    "chat_boost": st.fixed_dictionaries({"chat": group, "boost": st.just({})}),
    "removed_chat_boost": st.fixed_dictionaries({"chat": group, "boost_id": odd}),
    "managed_bot": st.fixed_dictionaries({"user": person}),
}
ASKED_FOR = ("message", "callback_query", "my_chat_member")
asked_for = [st.fixed_dictionaries({kind: UPDATES[kind]}) for kind in (*["message"] * 20, *ASKED_FOR * 5)]
captioned = st.fixed_dictionaries({"message": message("caption")})
update = st.one_of(
    *asked_for, captioned, captioned, *(st.fixed_dictionaries({kind: UPDATES[kind]}) for kind in UPDATES)
)
anonymous = st.builds(
    lambda made, who, chat: {"message": made | {"from": who, "chat": chat, "sender_chat": chat}},
    *(message(), nobody, group),
) | st.builds(lambda made, who, chat: {"message": made | {"from": who, "chat": chat}}, message(), nobody, group)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | odd
    | st.sampled_from([OWNER, str(OWNER), [OWNER], 1e300, 2**70]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text", "chat", "from", "type"]), inner)
    ),
    max_leaves=6,
)


VITAL = ("from", "chat", "id", "is_bot", "type", "text", "message", "data", "status", "message_id", "date")


@st.composite
def broken(draw: st.DrawFn) -> dict[str, Any]:
    """An update with parts missing or replaced by anything: no person can make it, a server might."""
    made: dict[str, Any] = copy.deepcopy(draw(update))
    for _ in range(draw(st.integers(1, 2))):
        paths = list(_paths(made)) or [(made, "message")]
        vital = [path for path in paths if path[1] in VITAL] if draw(st.booleans()) else []
        where, key = draw(st.sampled_from(vital or paths))
        if draw(st.booleans()):
            where.pop(key, None)
        else:
            where[key] = draw(JSON)
    return made


def _paths(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(value, dict):
        for key in value:
            yield value, key
            yield from _paths(value[key])


# The inbox with a store in which something is at stake


class Desk:
    """A real store with subscribers, people of every kind and alerts; what an example does to it is undone."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "bot.db")
        access = Access(self.store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=lambda: NOW)
        desk = context.Context(
            self.store,
            access,
            symbols=Coins(self.store, ("BTC", "ETH")),
            now=lambda: NOW,
            default_min=lambda monitor, symbol: 1e6,
            username=USERNAME,
        )
        self.inbox = Inbox(self.store, access, Commands(desk), stale_after=600.0, now=lambda: NOW, limited=False)
        for number, chat in enumerate((OWNER, FRIEND, GROUP), 1):
            about = {"id": chat, "type": "private" if chat > 0 else "supergroup", "title": INJECTED}
            someone = {"id": max(chat, OWNER), "first_name": INJECTED}
            self.inbox.take(
                {
                    "update_id": number,
                    "message": {"chat": about, "from": someone, "date": NOW, "message_id": 1, "text": "/start"},
                }
            )
        access.deny(DENIED)
        self.store.set_value(f"administrators:{GROUP}", f'{{"at": {NOW}, "ids": [{ADMINISTRATOR}, {DENIED}]}}')
        for number in range(3):
            publish(self.store, whale(number), now=NOW, default_min=1e6)
        self.count = 10

    @contextmanager
    def undone(self) -> Iterator[None]:
        try:
            with self.store.transaction():
                yield
                raise _Undo
        except _Undo:
            pass

    def take(self, content: dict[str, Any]) -> None:
        self.count += 1
        self.inbox.take({"update_id": self.count, **content})
        assert self.store.chats.handled(self.count)

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row that decides what the bot does from now on: not what it says, nor which updates it saw."""
        return {
            table: [tuple(row) for row in self.store._db.rows(f"SELECT * FROM {table}")]
            for (table,) in self.store._db.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
            if table not in ("inbox", "deliveries", "sqlite_sequence")
        }

    def answers(self, since: int) -> list[tuple[int, str, dict[str, Any]]]:
        found = (self.store.delivery(row[0]) for row in self.store.pending(after=since))
        return [(one.chat_id, one.method, one.payload) for one in found if one is not None]

    def newest(self) -> int:
        return max((row[0] for row in self.store.pending()), default=0)


class _Undo(Exception):
    pass


def whale(number: int) -> Alert:
    about: dict[str, Any] = {
        "monitor": "whales",
        "symbol": "BTC",
        "side": "buy",
        "headline": f"BTC buy {number}M USD & <more>",
    }
    return Alert(
        key=f"w{number}",
        usd=2e6,
        at_ms=int(NOW - number) * 1000,
        venue="A&B",
        url="https://venue.example/?a=1&b=2",
        **about,
    )


class Complaints(logging.Handler):
    """Collects what the bot logs as a bug of its own, or as an update that it could not read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("fuzz"))
    yield desk
    desk.store.close()


@pytest.fixture(scope="module")
def complaints() -> Iterator[list[str]]:
    handler = Complaints()
    logging.getLogger().addHandler(handler)
    yield handler.lines
    logging.getLogger().removeHandler(handler)


def check_payload(method: str, payload: dict[str, Any]) -> None:
    """Would Telegram take it, and is all markup in it ours? (Bot API, sendMessage and the like.)"""
    if method == "answerInlineQuery":
        for found in payload["results"]:
            content = found["input_message_content"]
            check_payload("sendMessage", content | {"text": content["message_text"]})
        return
    said = payload.get("caption" if "attachment" in payload else "text", "")
    if payload.get("parse_mode") == "HTML":
        said, entities = parse_html(said)
        for entity in entities:
            assert "evil" not in entity.get("url", ""), "a link that is not ours"
            marked = said.encode("utf-16-le")[entity["offset"] * 2 :][: entity["length"] * 2].decode("utf-16-le")
            assert entity["type"] in ("bold", "italic", "text_link", "code", "pre"), entity
            assert marked != "evil", "markup that is not ours"
    limit = {"answerCallbackQuery": 200, "sendPhoto": 1024, "sendDocument": 1024}.get(method, 4096)
    assert utf16(said) <= limit
    assert said.strip() or method in ("sendPhoto", "answerCallbackQuery"), "an empty message"
    said.encode()  # no half surrogate
    for row in payload.get("reply_markup", {}).get("inline_keyboard", []):
        for button in row:
            assert 1 <= len(button["callback_data"].encode()) <= 64
            assert button["text"].strip()


def may(desk: Desk, content: dict[str, Any]) -> bool:
    """Is there someone behind this update whom the owner lets in, and who did it here and now?

    In a group that was started by one of them: also its administrators, and who writes as the group itself.
    """
    made: Any = next((content[kind] for kind in ASKED_FOR if kind in content), None)
    if not isinstance(made, dict) or ("message" in content and {"forward_origin", "via_bot"} & set(made)):
        return False
    around = made.get("message")
    someone, place = made.get("from"), made.get("chat") or (around.get("chat") if isinstance(around, dict) else None)
    started = isinstance(place, dict) and place.get("id") == GROUP and place.get("type") != "private"
    if "message" in content and "sender_chat" in made:
        itself = made["sender_chat"]
        return started and isinstance(itself, dict) and itself.get("id") == GROUP
    if not isinstance(someone, dict) or type(someone.get("id")) is not int or someone.get("is_bot"):
        return False
    let_in = {OWNER, FRIEND, *(user.user_id for user in desk.store.chats.users("allowed", limit=99))}
    return someone["id"] in let_in or (started and someone["id"] == ADMINISTRATOR)


def check_no_effect(desk: Desk, content: dict[str, Any], before: dict[str, Any], newest: int) -> None:
    """One who may not: at most the stranger's own answer and one question to the owner, and nothing changed."""
    after = desk.state()
    taken_away = "my_chat_member" in content  # whoever puts the bot out of a chat ends that chat's alerts
    for table, rows in after.items():
        if table == "users":
            assert [row for row in rows if row[2] != "stranger"] == [
                row for row in before[table] if row[2] != "stranger"
            ]
        elif not (table in ("chats", "held") and taken_away):
            assert rows == before[table], table
    said = desk.answers(newest)
    assert len(said) <= 2
    for chat, method, payload in said:
        if "callback_query" in content:
            assert method == "answerCallbackQuery"
            assert payload["text"].endswith("people whom this bot's owner allowed can use these buttons.")
            continue
        if "inline_query" in content:
            assert (method, payload["results"]) == ("answerInlineQuery", [])
            continue
        assert method == "sendMessage"
        asks = payload["text"].endswith("wants to use this bot.")
        assert chat == (OWNER if asks else content["message"]["chat"]["id"])
        if payload["text"].startswith(("You post as the group", "One of this group's admins may not")):
            assert content["message"]["sender_chat"]["id"] == chat
            continue
        told = ("This bot is private.", "Only people whom this bot's owner", "Only this group's admins and people")
        assert asks or payload["text"].startswith(told)
        assert content["message"]["from"]["id"] > 0, "an answer to nobody"
        assert not content["message"]["from"].get("is_bot"), "an answer to a bot"


# What is promised


@settings(max_examples=MANY * 2, deadline=None)
@given(contents=st.lists(update | anonymous | anonymous | anonymous, min_size=1, max_size=4))
def test_nothing_that_people_send_fails_or_is_obeyed_for_one_who_may_not(
    desk: Desk, complaints: list[str], contents: list[dict[str, Any]]
) -> None:
    complaints.clear()
    with desk.undone():
        for content in contents:
            before, newest = desk.state(), desk.newest()
            desk.take(content)
            note(str(desk.answers(newest))[:300])
            for _, method, payload in desk.answers(newest):
                check_payload(method, payload)
            if not may(desk, content):
                check_no_effect(desk, content, before, newest)
        desk.inbox.tell_stale(away_since=None)
    assert not complaints


@settings(max_examples=MANY * 2, deadline=None)
@given(content=broken())
def test_an_update_with_parts_missing_or_wrong_is_set_aside_alone(
    desk: Desk, complaints: list[str], content: dict[str, Any]
) -> None:
    complaints.clear()
    with desk.undone():
        before, newest = desk.state(), desk.newest()
        desk.take(content)
        for _, method, payload in desk.answers(newest):
            check_payload(method, payload)
        if not may(desk, content):
            check_no_effect(desk, content, before, newest)
    assert not [line for line in complaints if "could not be read" not in line]


@settings(max_examples=MANY, deadline=None)
@given(
    who=st.sampled_from([FRIEND, STRANGER, DENIED, 0, -7]),
    rest=st.sampled_from(["allow", "deny", "users"]),
    data=data,
    argument=word,
)
def test_only_the_owner_decides_about_people(desk: Desk, who: int, rest: str, data: str, argument: str) -> None:
    someone = {"id": who, "is_bot": False, "first_name": "x"}
    made = {
        "message_id": 1,
        "date": NOW,
        "chat": {"id": who, "type": "private"},
        "from": someone,
        "text": f"/{rest} {argument}",
    }
    with desk.undone():
        decided = desk.store.chats.users("allowed", "denied", limit=99)
        desk.take({"message": made})
        desk.take({"callback_query": {"id": "1", "from": someone, "data": data, "message": made}})
        assert desk.store.chats.users("allowed", "denied", limit=99) == decided


NOT_TYPED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("message", {"forward_origin": {"type": "user", "sender_user": {"id": OWNER}, "date": 1}}),
    ("message", {"via_bot": {"id": 5, "is_bot": True, "first_name": "b"}}),
    ("message", {"sender_chat": {"id": CHANNEL, "type": "channel", "title": "c"}}),
    ("message", {"from": {"id": OWNER, "is_bot": True, "first_name": "No owner"}}),
    ("message", {"text": None}),  # the command stands in the caption, the quote and the message replied to
    *((kind, {}) for kind in UPDATES if kind not in ASKED_FOR),
)


@settings(max_examples=MANY, deadline=None)
@given(
    who=st.sampled_from([OWNER, FRIEND]),
    place=st.sampled_from([{"id": OWNER, "type": "private"}, {"id": GROUP, "type": "supergroup", "title": "g"}]),
    command=st.sampled_from([row.example for row in TABLE]),
    way=st.sampled_from(NOT_TYPED),
)
def test_what_nobody_typed_here_is_never_obeyed(
    desk: Desk, who: int, place: dict[str, Any], command: str, way: tuple[str, dict[str, Any]]
) -> None:
    kind, more = way
    content = {"message_id": 1, "date": NOW, "chat": place, "from": {"id": who, "first_name": "x"}, "text": command}
    content |= {"caption": command, "quote": {"text": command}, "reply_to_message": dict(content)} | more
    with desk.undone():
        before, newest = desk.state(), desk.newest()
        desk.take({kind: {name: value for name, value in content.items() if value is not None}})
        assert desk.state() == before
        assert desk.answers(newest) == []


@settings(max_examples=MANY // 3, deadline=None)
@given(title=odd, person_name=odd)
def test_names_of_people_and_chats_are_text_wherever_they_are_shown(desk: Desk, title: str, person_name: str) -> None:
    stranger = {
        "id": STRANGER,
        "is_bot": False,
        "first_name": person_name,
        "last_name": person_name,
        "username": person_name,
    }
    owner = {"id": OWNER, "is_bot": False, "first_name": person_name}
    place = {"id": -77, "type": "group", "title": title}

    def says(words: str, someone: dict[str, Any], chat: dict[str, Any]) -> dict[str, Any]:
        return {"message": {"message_id": 1, "date": NOW, "chat": chat, "from": someone, "text": words}}

    with desk.undone():
        newest = desk.newest()
        called = person_name.encode("utf-8", "replace").decode()
        for number in range(80):  # more than one message holds
            desk.store.chats.put_user(User(user_id=1000 + number, name=called[:64].ljust(50, "x"), state="denied"))
        desk.take(says("/start", stranger, {"id": STRANGER, "type": "private"}))
        desk.take(says(f"/start@{USERNAME}", owner, place))
        removed = {"old_chat_member": {"status": "member"}, "new_chat_member": {"status": "kicked"}}
        desk.take({"my_chat_member": {"chat": place, "from": stranger, **removed}})
        for command in ("/users", f"/allow {STRANGER}", f"/deny {STRANGER}", "/status", "/digest now", "/whales"):
            desk.take(says(command, owner, {"id": OWNER, "type": "private"}))
        answers = desk.answers(newest)
        assert len([chat for chat, _, _ in answers if chat == OWNER]) >= 7
        for _, method, payload in answers:
            check_payload(method, payload)


@settings(max_examples=MANY, deadline=None)
@given(facts=odd, headline=odd, venue=odd, symbol=st.sampled_from(["BTC", "<b>", "A&B"]), several=st.integers(1, 30))
def test_an_alert_with_any_words_in_it_is_html_that_telegram_takes(
    facts: str, headline: str, venue: str, symbol: str, several: int
) -> None:
    clean: dict[str, Any] = {
        name: text.encode("utf-8", "replace").decode()
        for name, text in (("facts", facts), ("headline", headline), ("venue", venue))
    }
    bundled = [
        Alert(
            key=str(n),
            monitor="whales",
            symbol=symbol,
            side="buy",
            usd=1e6 + n,
            at_ms=n,
            url=f'https://v.example/{n}?<"&',
            **clean,
        )
        for n in range(several)
    ]
    said, entities = parse_html(wording.message(bundled, now=NOW, zone=UTC))
    assert clean["venue"] in said
    assert {entity["type"] for entity in entities} <= {"bold", "text_link"}
    assert all(entity.get("url", "https://v.example").startswith("https://v.example") for entity in entities)
