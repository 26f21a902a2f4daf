"""Channels: asked about in private, set in private, and not a word of set-up where readers see it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FRIEND, OWNER, Run, first_look
from test_alerts_publish import alert, publish
from test_commands_inbox import NOW, STRANGER, Desk, message, press

from alerts.preferences import Outcome
from alerts.publish import payload
from commands.due import Due
from commands.table import schedulable
from simulation.account import SimBot
from simulation.simulator import Simulator
from store.rows import Chat

NEWS, SECRET = -1001234567890, -1009876543210
ABOUT = {
    NEWS: {"id": NEWS, "type": "channel", "title": "News", "username": "whale_news"},
    SECRET: {"id": SECRET, "type": "channel", "title": "Inner circle"},
}


class Private(Desk):
    """What people do to channels, and what is said to them since the last look."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._number, self._seen = 0, 0

    def look(self) -> list[tuple[int, str]]:
        new = [self.store.delivery(row[0]) for row in self.store.pending(after=self._seen)]
        self._seen = max([self._seen, *(one.id for one in new if one is not None)])
        return [(one.chat_id, one.payload.get("text", "")) for one in new if one is not None]

    def member(
        self, old: str, new: str, *, by: int = FRIEND, channel: int = NEWS, **posts: bool
    ) -> list[tuple[int, str]]:
        statuses = {
            "old_chat_member": {"status": old}
            | ({"can_post_messages": posts["before"]} if "before" in posts else {}),
            "new_chat_member": {"status": new} | ({"can_post_messages": posts["now"]} if "now" in posts else {}),
        }
        person = {"id": by, "is_bot": False, "first_name": "Ann"}
        self._take({"my_chat_member": {"chat": ABOUT[channel], "from": person, "date": int(NOW), **statuses}})
        return self.look()

    def say(self, words: str, user_id: int = FRIEND) -> str:
        self._number += 1
        self.inbox.take(message(self._number, words, user_id))
        (answer,) = self.look()
        assert answer[0] == user_id
        return answer[1]

    def press(self, data: str, user_id: int = FRIEND) -> list[tuple[int, str]]:
        self._number += 1
        self.inbox.take(press(self._number, data, user_id))
        return self.look()

    def buttons(self) -> list[str]:
        """The data of the buttons of the last answer."""
        delivery = self.store.delivery(self.store.pending()[-1][0])
        assert delivery is not None
        rows = delivery.payload.get("reply_markup", {}).get("inline_keyboard", [])
        return [one["callback_data"] for row in rows for one in row]

    def chat(self, chat_id: int = NEWS) -> Chat:
        chat = self.store.chats.get(chat_id)
        assert chat is not None
        return chat

    def _take(self, update: dict[str, Any]) -> None:
        self._number += 1
        self.inbox.take({"update_id": self._number, **update})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Private]:
    desk = Private(tmp_path)
    yield desk
    desk.store.close()


@pytest.fixture
def on(desk: Private) -> Private:
    """A friend added the bot to a channel and said yes."""
    desk.member("left", "administrator")
    desk.press(f"channel:yes:{NEWS}")
    return desk


def test_who_adds_the_bot_is_asked_in_private_and_a_yes_turns_alerts_on(desk: Private) -> None:
    assert desk.member("left", "administrator", now=True) == [
        (FRIEND, "Channel “\u2068News\u2069”: I can post there now. Shall alerts go there?")
    ]
    assert desk.store.chats.some(limit=99) == [], "nothing goes there before the answer"
    (_, toast), (to, said) = desk.press(desk.buttons()[0])
    assert (toast, to) == ("", FRIEND)
    assert said.startswith("Channel “\u2068News\u2069”\nAlerts are on in this channel.")
    assert "Settings: /settings @whale_news. Stop alerts: /stop @whale_news" in said
    (chat,) = desk.store.chats.some(limit=99)
    assert (chat.chat_id, chat.kind, chat.title, chat.added_by) == (NEWS, "channel", "News", FRIEND)


def test_a_no_is_kept_and_can_be_taken_back(desk: Private) -> None:
    desk.member("left", "administrator")
    assert "no alerts go there" in desk.press(desk.buttons()[1])[-1][1]
    assert desk.store.chats.some(limit=99) == []
    assert desk.member("administrator", "administrator") == [], "a change of other rights asks nothing"
    assert "Alerts are on" in desk.say("/start @Whale_News")
    assert [chat.chat_id for chat in desk.store.chats.some(limit=99)] == [NEWS]


def test_a_stranger_who_adds_it_is_not_answered_and_nobody_else_presses_the_button(desk: Private) -> None:
    assert desk.member("left", "administrator", by=STRANGER) == []
    assert desk.store.chats.get(NEWS) is None
    desk.member("left", "administrator", by=OWNER)
    assert desk.press(f"channel:yes:{NEWS}", FRIEND) == [(FRIEND, "This button has expired.")]
    assert desk.store.chats.some(limit=99) == []
    desk.press(f"channel:yes:{NEWS}", OWNER)
    assert desk.chat().added_by == OWNER


def test_the_owner_may_set_every_channel_and_a_friend_their_own(on: Private) -> None:
    on.member("left", "administrator", by=OWNER, channel=SECRET)
    on.press(f"channel:yes:{SECRET}", OWNER)
    assert "lowest" not in on.say("/threshold @whale_news 2m", OWNER)
    assert "is not a channel that you added me to" in on.say(f"/threshold {SECRET} 2m", FRIEND)
    assert on.press(f"s:{SECRET}:main:level whales off", FRIEND)[0][1] == "This button has expired."
    assert on.chat(SECRET).levels == {}
    assert on.chat().thresholds == {"whales": {"*": 2e6}}


def test_commands_that_name_the_channel_change_it_and_not_the_private_chat(on: Private) -> None:
    on.say("/start")
    for words in (
        "/watch @whale_news BTC",
        "/quiet @whale_news 22-7",
        "/level @WHALE_NEWS funding off",
        "/cap @whale_news 5",
    ):
        assert on.say(words).startswith("Channel “\u2068News\u2069”\n"), words
    chat = on.chat()
    assert (chat.symbols, chat.quiet, chat.levels, chat.hourly_cap) == (
        frozenset({"BTC"}),
        "22:00-07:00",
        {"funding": "off"},
        5,
    )
    own = on.chat(FRIEND)
    assert (own.symbols, own.quiet, own.levels, own.hourly_cap) == (None, "", {}, 0)
    assert on.say("/alert @whale_news BTC 100k").startswith("Channel")
    assert [level.symbol for level in on.store.levels.of_chat(NEWS)] == ["BTC"]
    on.say("/alert @whale_news")
    assert f"run:alert {NEWS} remove 1" in on.buttons(), "its buttons are about the channel"
    on.press(f"run:alert {NEWS} remove 1")
    assert on.store.levels.of_chat(NEWS) == []
    assert "type /alert @whale_news BTC 100k" in on.say("/alert @whale_news")
    asked = on.say("/alert @whale_news BTC above")
    assert asked.startswith("Channel") and asked.endswith("Example: /alert @whale_news BTC 100k")
    on.inbox.take(message(99, "/settings @whale_news export", FRIEND))
    asked, exported = (words for _, words in on.look())
    assert "put its @name after the word settings. Price" in asked
    assert "/settings import\ntimezone" in exported
    assert "Send /settings export in" in on.say("/settings @whale_news import")
    on.say("/alert @whale_news ETH 1.500")
    assert on.buttons()[0] == f"run:alert {NEWS} ETH 1.5", "a choice is about the channel, too"
    assert "/start @whale_news turns alerts on" in on.say("/stop @whale_news")
    assert [one.chat_id for one in on.store.chats.some(limit=99)] == [FRIEND]


def test_an_answer_about_the_channel_names_commands_that_are_about_it(on: Private) -> None:
    said = on.say(f"/wallet @whale_news add 0x{'0' * 40} whale")
    assert said.endswith("See them with /wallet @whale_news list")
    on.say("/mute @whale_news 1d")
    assert "/history @whale_news would list it" in on.say("/test @whale_news")


def test_the_buttons_of_settings_act_on_the_channel_also_on_one_without_a_name(on: Private) -> None:
    on.member("left", "administrator", channel=SECRET)
    on.press(f"channel:yes:{SECRET}")
    assert "Your channels" in on.say("/settings"), "the private chat itself has no alerts"
    assert on.buttons() == [f"s:{SECRET}:main", f"s:{NEWS}:main"]
    on.say("/start")
    on.say("/settings")
    assert on.buttons()[-2:] == [f"s:{SECRET}:main", f"s:{NEWS}:main"]
    _, (to, said) = on.press(f"s:{SECRET}:main")
    assert to == FRIEND
    assert said.startswith("Channel “\u2068Inner circle\u2069”\nSettings of this channel")
    assert f"/threshold {SECRET} BTC 2m" in said
    shown = on.buttons()
    assert f"s:{SECRET}:whales" in shown
    assert all(str(SECRET) in data for data in shown)
    on.press(f"s:{SECRET}:whales:level whales silent")
    assert on.chat(SECRET).levels == {"whales": "silent"}
    assert on.chat(NEWS).levels == on.chat(FRIEND).levels == {}
    for page in ("liquidations", "digest", "quiet", "zone", "coins"):
        on.press(f"s:{SECRET}:{page}")
        assert all(len(data.encode()) <= 64 for data in on.buttons())


def test_one_whose_alerts_are_off_can_be_turned_on_in_the_list(on: Private) -> None:
    on.say("/stop @whale_news")
    assert on.press(f"s:{NEWS}:main")[0][1].startswith("Alerts are off in this channel.")
    on.say("/settings")
    (data,) = on.buttons()
    on.press(data)
    assert [chat.chat_id for chat in on.store.chats.some(limit=99)] == [NEWS]


def test_nothing_sent_in_the_channel_itself_changes_anything(on: Private) -> None:
    before = on.chat()
    post = {"message_id": 5, "date": int(NOW), "chat": ABOUT[NEWS], "sender_chat": ABOUT[NEWS], "text": "/stop"}
    for number, update in enumerate(({"channel_post": post}, {"edited_channel_post": post}, {"message": post}), 90):
        on.inbox.take({"update_id": number, **update})
    raw = press(99, "s:main:level all off", OWNER)
    raw["callback_query"]["message"]["chat"] = ABOUT[NEWS]
    on.inbox.take(raw)
    assert on.chat() == before
    assert on.look() == [(NEWS, "Only people whom this bot's owner allowed can use these buttons.")]  # a toast


def test_without_the_right_to_post_it_says_so_and_asks_once_it_has_it(desk: Private) -> None:
    ((to, said),) = desk.member("left", "administrator", now=False)
    assert to == FRIEND
    assert "not allowed to post there" in said
    ((_, asked),) = desk.member("administrator", "administrator", before=False, now=True)
    assert asked.endswith("Shall alerts go there?")


def test_when_the_right_to_post_is_taken_its_alerts_pause_and_who_added_it_is_told(on: Private) -> None:
    ((to, said),) = on.member("administrator", "administrator", by=STRANGER, before=True, now=False)
    assert to == FRIEND
    assert said.startswith("I am not allowed to write in the channel “\u2068News\u2069”, so its alerts are paused.")
    assert "/history @whale_news lists" in said
    publish(on.store, alert("a"), now=NOW)
    assert "not sent: the bot was not allowed to write here" in on.say("/history @whale_news")
    assert on.member("administrator", "administrator", by=STRANGER, before=False, now=True) == []
    assert not on.chat().paused(NOW), "no question either: alerts are on"


def test_when_somebody_removes_it_whoever_added_it_is_told(on: Private) -> None:
    ((to, said),) = on.member("administrator", "kicked", by=STRANGER)
    assert (to, said) == (FRIEND, "Channel “\u2068News\u2069”: I was removed from it, so its alerts have ended.")
    assert on.store.chats.some(limit=99) == []
    assert "is not a channel" in on.say("/start @whale_news"), "it is not in there any more"
    assert on.member("kicked", "administrator")[0][1].endswith("Shall alerts go there?")
    on.press(f"channel:yes:{NEWS}")
    assert on.member("administrator", "left") == [], "who did it knows"


def test_the_channels_of_a_denied_user_end(on: Private) -> None:
    assert "turned off in 1 chat" in on.say(f"/deny {FRIEND}", OWNER)
    assert on.store.chats.some(limit=99) == []
    assert on.press(f"channel:yes:{NEWS}") == [
        (FRIEND, "Only people whom this bot's owner allowed can use these buttons.")
    ]
    assert on.member("left", "administrator") == []
    assert on.store.chats.some(limit=99) == []


def test_what_is_wrong_with_a_scheduled_message_is_told_to_whoever_added_the_bot(
    on: Private,
) -> None:
    on.say("/schedule @whale_news 09:00 top")
    on.say("/schedule @whale_news 09:00 whales BTC")
    (top, broken) = on.store.schedules.of_chat(NEWS)
    on.store._db.write("UPDATE schedules SET command = 'whales NOCOIN' WHERE id = ?", (broken.id,))
    for one in (top, broken):
        on.store.schedules.set_at(one.id, NOW - 1)
    Due(on.desk, schedulable()).tick()
    said = dict(on.look())
    assert "NOCOIN" not in said[NEWS]
    assert said[FRIEND].startswith("Channel “\u2068News\u2069”\n“whales NOCOIN”, which is scheduled here")
    assert on.buttons() == [f"run:schedule {NEWS} remove {broken.id}"]


def test_an_alert_in_a_channel_has_no_buttons(on: Private) -> None:
    made = [
        payload(chat, [alert("a")], now=NOW, sound=Outcome.LOUD) for chat in (on.chat(), Chat(chat_id=1, added_by=1))
    ]
    assert ["reply_markup" in one for one in made] == [False, True]


def test_a_channel_end_to_end(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    """Added, asked, set, alerted, silenced, restored: and every post in the channel is an alert."""
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    run_bot().wait_output("Polling: running")
    chat.membership(NEWS, "administrator", by=OWNER, chat_type="channel", name="News")
    asked = chat.wait_text("Shall alerts go there?", chat_id=OWNER)
    chat.press(asked.message_id, asked.buttons[0][1], chat_id=OWNER)
    chat.wait_text("Alerts are on", chat_id=OWNER)
    chat.post_in_channel(NEWS, "/stop")
    chat.send_text(OWNER, f"/level {NEWS} whales loud")
    chat.wait_text("always come with sound", chat_id=OWNER)
    first_look(sim, "BTC")
    sim.market.sweep("binance", "BTC", "buy", usd=1_100_000, fills=9, price=50_000.0)
    posted = chat.wait_text("BTC buy", chat_id=NEWS)
    assert "disable_notification" not in posted.params
    assert posted.buttons == ()
    chat.membership(
        NEWS, "administrator", by=OWNER, chat_type="channel", old="administrator", posts=False, name="News"
    )
    chat.wait_text("so its alerts are paused", chat_id=OWNER)
    chat.membership(NEWS, "administrator", by=OWNER, chat_type="channel", old="administrator", old_posts=False)
    before = chat.delivered
    sim.market.sweep("binance", "BTC", "sell", usd=1_300_000, fills=9, price=50_000.0)
    chat.wait_text("BTC sell", chat_id=NEWS, after=before)
    assert all("BTC" in words for words in chat.texts(NEWS)), "no word of set-up there"
    assert chat.count("getChatAdministrators") == 0


def test_what_is_said_about_a_channel_calls_it_one(on: Private) -> None:
    assert "It gets: whale orders" in on.say("/start @whale_news")
    assert "Settings of this channel" in on.say("/settings @whale_news")
    assert "No alerts in this channel" in on.say("/history @whale_news")
    assert "Alerts are off in this channel. Its settings are kept" in on.say("/stop @whale_news")
    assert "Alerts are on in this channel." in on.say("/start @whale_news")
    assert "Settings of this chat" in on.say("/start") + on.say("/settings"), "what is about a chat stays"


@pytest.mark.parametrize(
    ("typed", "bare"),
    [
        ("/price @whale_news BTC", "price BTC"),
        ("/chart BTC 7d @Whale_News", "chart BTC 7d"),
        ("/top @whale_news", "top"),
    ],
)
def test_a_command_that_shows_markets_says_how_to_have_it_in_a_channel(on: Private, typed: str, bare: str) -> None:
    said = on.say(typed)
    name = next(word for word in typed.split() if word[0] == "@")
    assert said == (
        f"/{bare.split()[0]} is the same for every chat, so leave {name} out: /{bare}\n"
        f"To have it posted there: /schedule {name} 09:00 {bare}"
    )
    assert "Scheduled: #1" in on.say(f"/schedule {name} 09:00 {bare}")
    assert "is not a coin" in on.say("/price @somebody BTC"), "a channel of others is not told about"


def test_a_channel_that_is_named_last_is_offered_first(on: Private) -> None:
    on.say("/start")
    for typed in ("/alert BTC 100k", "/watch BTC"):
        assert on.say(f"{typed} @whale_news") == "The channel comes first."
        name, _, rest = typed[1:].partition(" ")
        assert on.buttons() == [f"run:{name} @whale_news {rest}"]
    assert "tell @bob" in on.say("/alert BTC 100k tell @bob"), "others than one's own channels are words of a note"
