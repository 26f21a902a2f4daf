"""Every command and every argument that can be wrong: one helpful answer each, and no word to those not meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER
from hypothesis import given
from hypothesis import strategies as st
from storekit import file_store

from access import Access, Role
from base import text
from botapi.updates import Update
from commands import context, copies, table
from commands.context import Reply
from commands.dispatch import Commands
from commands.examples import nearest
from commands.table import TABLE
from store.coins import Coins
from store.rows import Alert, Chat
from venues.trades import Bar

NOW = 1_750_000_000.0
GROUP = -100
EVERYONES = [row for row in TABLE if not row.owner_only]
OWNERS = [row for row in TABLE if row.owner_only]


class Desk:
    """Commands with a real store; `say` gives the text of the only reply."""

    def __init__(self, folder: Path) -> None:
        self.store = file_store(folder / "bot.db")
        self.access = Access(self.store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=lambda: NOW)
        self.desk = context.Context(
            self.store,
            self.access,
            symbols=Coins(self.store, ("BTC", "ETH", "DOGE")),
            now=lambda: NOW,
            default_min=lambda monitor, symbol: (
                {"funding": 0.05, "oi": 10.0}.get(monitor) or {"BTC": 1.05e6, "ETH": 6.4e5, "DOGE": 1e5}[symbol]
            ),
            status=lambda zone: ["Up for 3 h."],
            username="whale_test_bot",
        )
        self.commands = Commands(self.desk)

    def replies(self, text: str, *, user_id: int = FRIEND, chat_id: int | None = None) -> list[Reply]:
        chat_id = user_id if chat_id is None else chat_id
        kind = "private" if chat_id > 0 else "supergroup"
        update = Update(
            update_id=1, kind="message", chat_id=chat_id, chat_kind=kind, chat_title="Ann", user_id=user_id, text=text
        )
        return self.commands.run(update)

    def say(self, text: str, *, user_id: int = FRIEND, chat_id: int | None = None) -> str:
        (reply,) = self.replies(text, user_id=user_id, chat_id=chat_id)
        return reply.text

    def press(self, data: str, *, user_id: int = FRIEND, chat_id: int | None = None) -> list[Reply]:
        chat_id = user_id if chat_id is None else chat_id
        return self.commands.run(
            Update(update_id=1, kind="callback", chat_id=chat_id, user_id=user_id, text=data, callback_id="5")
        )

    def chat(self, chat_id: int = FRIEND) -> Chat:
        chat = self.store.chats.get(chat_id)
        assert chat is not None
        return chat


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


@pytest.fixture
def started(desk: Desk) -> Desk:
    """A friend's chat that has alerts on."""
    desk.say("/start")
    return desk


def first_line(answer: str) -> str:
    """What was done; the lines after it say what the chat gets now."""
    return answer.split("\n")[0]


def whale(number: int, symbol: str = "BTC") -> Alert:
    at = int(NOW * 1000) + number * 1000
    return Alert(
        key=f"{symbol}{number}",
        symbol=symbol,
        side="buy",
        usd=1e6 + number * 1e5,
        price=76_980.0,
        monitor="whales",
        headline=f"{symbol} buy {text.usd(1e6 + number * 1e5)} USD at 76,980",
        at_ms=at,
        venue="A & B",
        url="https://x",
    )


# Which words are a command to us


@pytest.mark.parametrize("text", ["/ping", "/PING", " /ping ", "/ping@whale_test_bot", "/ping@Whale_Test_Bot"])
def test_a_command_is_known_in_any_case_and_by_the_bots_name(desk: Desk, text: str) -> None:
    assert desk.say(text) == "pong"


@pytest.mark.parametrize("chat_id", [FRIEND, GROUP])
def test_a_command_for_another_bot_is_ignored(desk: Desk, chat_id: int) -> None:
    assert desk.replies("/ping@other_bot", chat_id=chat_id) == []
    assert desk.replies("/start@other_bot", chat_id=chat_id) == []
    assert desk.store.chats.some(limit=99) == []


def test_before_the_bot_knows_its_name_no_named_command_is_taken_for_its_own(desk: Desk) -> None:
    desk.desk.username = ""
    assert desk.replies("/ping@whale_test_bot") == []


def test_an_unknown_command_gets_one_line_with_an_example_where_it_is_surely_ours(desk: Desk) -> None:
    line = "Unknown command /xyzzy. All commands: /help"
    assert desk.say("/xyzzy BTC") == line
    assert desk.say("/xyzzy@whale_test_bot", chat_id=GROUP) == line
    assert desk.replies("/wales", chat_id=GROUP) == [], "in a group it is probably for another bot"


@pytest.mark.parametrize("text", ["hello", "/", "/ ping", "//ping", "/пинг", "hi ping", "/ping-me", "." * 4096])
def test_other_words_get_a_hint_in_private_and_silence_in_a_group(desk: Desk, text: str) -> None:
    assert "/help" in desk.say(text)
    assert desk.replies(text, chat_id=GROUP) == []


@pytest.mark.parametrize("command", ["whales", "liq", "funding", "oi"])
def test_all_is_as_good_as_no_coin(started: Desk, command: str) -> None:
    assert started.say(f"/{command} all") == started.say(f"/{command}")


@pytest.mark.parametrize(
    ("text", "command"),
    [("price btc", "price btc"), ("Prices", "price"), ("alert BTC 100k", "alert btc 100k"), ("unmute", "mute off")],
)
def test_a_command_without_its_slash_is_offered(desk: Desk, text: str, command: str) -> None:
    (reply,) = desk.replies(text)
    assert reply.text == f"Commands begin with a slash: /{command}"
    assert reply.keyboard == (((f"/{command}", f"run:{command}"),),)
    assert reply.misread
    assert desk.replies(text, chat_id=GROUP) == []
    assert desk.replies("users")[0].keyboard == (), "what only the owner may is not offered"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_each_command_explains_itself(desk: Desk, row: table.Command) -> None:
    desk.say("/start", user_id=OWNER)
    about = desk.say(f"/help {row.name}", user_id=OWNER)
    if row.name in ("ping", "help"):
        return
    for word in ("help", "?", "--HELP"):
        assert desk.say(f"/{row.name} {word}", user_id=OWNER) == about


# One table


def test_help_and_menu_come_from_the_table(desk: Desk) -> None:
    listed = [line.split()[0].lstrip("/") for line in desk.say("/help").split("\n") if line.startswith("/")]
    assert sorted(listed) == sorted(row.name for row in EVERYONES)
    assert [name for name, _ in table.menu()] == [row.name for row in EVERYONES]
    for row, (_, summary) in zip(EVERYONES, table.menu(), strict=True):
        assert summary == row.summary
        assert row.summary in desk.say("/help")


def test_the_table_has_every_command_that_is_promised() -> None:
    promised = "start stop help ping status whales watch unwatch threshold mute id allow deny users chart digest "
    promised += "settings level side quiet timezone cap history test"
    assert set(promised.split()) <= {row.name for row in TABLE}
    assert {row.name for row in OWNERS} == {"allow", "coins", "deny", "users", "logs", "out"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_row_fits_telegrams_menu_and_its_example_works(desk: Desk, row: table.Command) -> None:
    assert row.name.isascii()
    assert row.name == row.name.lower()
    assert 1 <= len(row.summary) <= 256
    assert row.example.split()[0] == f"/{row.name}"
    where = GROUP if row.section == "Groups" else OWNER
    desk.say("/start", user_id=OWNER, chat_id=where)
    answer = desk.say(row.example, user_id=OWNER, chat_id=where)
    assert row.name == "help" or "Example:" not in answer


@pytest.mark.parametrize("row", OWNERS, ids=lambda row: row.name)
def test_the_owners_commands_are_the_owners_and_shown_to_no_one_else(desk: Desk, row: table.Command) -> None:
    (reply,) = desk.replies(row.example)
    assert (reply.text, reply.keyboard) == (f"Only this bot's owner can use /{row.name}. All commands: /help", ())
    assert f"/{row.name}" not in desk.say("/help")
    assert f"/{row.name}" in desk.say("/help", user_id=OWNER)
    assert row.name not in dict(table.menu())


BAD = [
    *("/whales 0", "/whales 21", "/whales XYZ", "/whales BTC 2 5x", "/whales BTC ETH", "/chart BTC ETH"),
    *("/watch ,", "/watch only", "/unwatch", "/unwatch XYZ"),
    *(
        "/threshold much",
        "/threshold off",
        "/threshold 0",
        "/threshold BTC much",
        "/threshold XYZ 1m",
    ),
    *("/threshold 9999", "/threshold -1m", "/threshold 1,50", "/threshold nan"),
    *(
        "/mute XYZ off",
        "/mute 2 x",
        "/mute until",
        "/mute btc",
        "/mute whales 1h",
        "/mute tomorrow",
        "/mute forever",
        "/mute 0h",
        "/mute 999d",
        "/mute XYZ 2h",
    ),
    *("/threshold funding 1m", "/threshold liq XYZ 1m", "/threshold liq 1"),
    *("/level loud", "/level whales LOUDER", "/level x off", "/level whales on off", "/level on on"),
    *("/side", "/side up", "/side funding both", "/side whales longs", "/side liquidations buys"),
    *("/quiet 22", "/quiet 7-7", "/quiet 25-7", "/quiet on", "/quiet 22:00-07:00 x", "/quiet 22:61-7"),
    *("/timezone Wakanda", "/timezone UTC+99", "/timezone ../etc/passwd", f"/timezone {'x' * 300}"),
    *("/cap -1", "/cap 1001", "/cap many", "/cap 1.5", "/cap ³", f"/cap {'9' * 40}", "/cap 5 6"),
    *("/history 0", "/history 51", "/history x", "/history 1 2", "/test x", "/test whales BTC", "/help nothing"),
    *("/allow", "/allow me", "/allow 1 2", "/allow 0", "/allow -5", f"/allow {'9' * 20}", f"/allow {OWNER}"),
    *("/deny", "/deny ³", f"/deny {OWNER}"),
]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_argument_gets_one_line_with_an_example_and_changes_nothing(desk: Desk, text: str) -> None:
    desk.say("/start", user_id=OWNER)
    before, users = desk.chat(OWNER), desk.access.users(limit=99)
    (reply,) = desk.replies(text, user_id=OWNER)
    answer, offered = reply.text, [data for row in reply.keyboard for _, data in row]
    name = text.split()[0].lstrip("/")
    (row,) = [row for row in TABLE if row.name == name]
    shown = nearest(name, text.partition(" ")[2], row.example)
    example = answer.endswith((f". Example: {shown}", f"? Example: {shown}")) or shown in answer
    assert example or re.search("[:?] /[a-z]", answer) or any(data.startswith("run:") for data in offered)
    assert "\n" not in answer
    assert desk.chat(OWNER) == before
    assert desk.access.users(limit=99) == users


@pytest.mark.parametrize(
    "text", ["/watch BTC", "/unwatch BTC", "/threshold", "/threshold 1m", "/mute 2h", "/mute off"]
)
def test_settings_of_a_chat_without_alerts_point_to_start(desk: Desk, text: str) -> None:
    assert "Send /start first" in desk.say(text)
    assert desk.store.chats.get(FRIEND) is None


@given(st.sampled_from([*(row.name for row in TABLE), "nonsense", ""]), st.text(max_size=40), st.booleans())
def test_nothing_that_people_type_raises(name: str, rest: str, owner: bool) -> None:
    for update in (
        Update(update_id=1, kind="message", chat_id=7, chat_kind="private", user_id=OWNER, text=f"/{name} {rest}"),
        Update(update_id=1, kind="callback", chat_id=7, user_id=OWNER if owner else FRIEND, text=f"{name}:{rest}"),
    ):
        for reply in SHARED.commands.run(update):
            assert reply.text.strip()


@pytest.fixture(autouse=True, scope="module")
def shared_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    global SHARED
    SHARED = Desk(tmp_path_factory.mktemp("desk"))
    SHARED.say("/start", user_id=OWNER)
    yield
    SHARED.store.close()


SHARED: Desk


# Each command


def test_start_subscribes_with_defaults_and_says_what_will_come_and_how_to_change_it(desk: Desk) -> None:
    said = desk.say("/start")
    assert "BTC 1.05M, ETH 640k, DOGE 100k USD" in said
    assert "/settings" in said
    assert "/stop" in said
    chat = desk.chat()
    assert (chat.subscribed, chat.added_by, chat.symbols, dict(chat.thresholds)) == (True, FRIEND, None, {})
    assert desk.say("/start").startswith("Alerts are already on.")


def test_a_group_becomes_a_target_of_the_one_who_starts_it(desk: Desk) -> None:
    desk.say("/start@whale_test_bot", chat_id=GROUP)
    chat = desk.chat(GROUP)
    assert (chat.kind, chat.added_by, chat.title) == ("supergroup", FRIEND, "Ann")


def test_stop_ends_the_alerts_and_start_brings_them_back_with_the_settings(started: Desk) -> None:
    started.say("/threshold BTC 2m")
    assert "Alerts are off" in started.say("/stop")
    assert started.store.chats.some(limit=99) == []
    assert "already off" in started.say("/stop")
    assert started.say("/start").startswith("Alerts are on in this chat.")
    assert started.chat().thresholds == {"whales": {"BTC": 2e6}}


def test_ping_gives_back_the_text_as_it_was_typed(desk: Desk) -> None:
    assert desk.say("/ping") == "pong"
    assert desk.say("/ping two  <b>spaces</b>\nand a line") == "pong two  <b>spaces</b>\nand a line"
    assert not desk.replies("/ping <b>x</b>")[0].html
    assert len(desk.say("/ping " + "x" * 4090)) <= 4096


def test_id_tells_user_chat_and_topic(desk: Desk) -> None:
    assert desk.say("/id", chat_id=GROUP) == f"Your user id: {FRIEND}. This chat: {GROUP}."


def test_status_tells_the_bots_lines_and_the_chats_own(started: Desk) -> None:
    assert started.say("/status").split("\n")[0] == "Up for 3 h."
    assert "1.05M" in started.say("/status")
    started.say("/mute ETH 1h")
    assert "Muted: ETH until 16:06:40 UTC." in started.say("/status")
    started.say("/mute 2h")
    assert "Muted until 17:06:40 UTC." in started.say("/status")
    started.say("/stop")
    assert "alerts are off" in started.say("/status")


def test_a_chat_that_was_lost_is_told_to_the_owner_only(started: Desk) -> None:
    started.store.unsubscribe(FRIEND, note="unsubscribed by Telegram: blocked")
    assert f"Chat {FRIEND} “\u2068Ann\u2069”: unsubscribed by Telegram: blocked" in started.say(
        "/status", user_id=OWNER
    )
    assert "Chat 8" not in started.say("/status")


def test_whales_lists_the_newest_first_by_coin_and_number(desk: Desk) -> None:
    assert "No whale orders yet" in desk.say("/whales")
    for number in range(8):
        found = whale(number, "BTC" if number % 2 else "ETH")
        desk.store.messages.add_alert(found, now=NOW)
    (reply,) = desk.replies("/whales")
    lines = reply.text.split("\n")
    assert len(lines) == 5
    assert lines[0] == "15:06:47 UTC 🟢 BTC buy 1.7M USD at 76,980 · A &amp; B"
    assert reply.html
    assert all(" BTC " in line for line in desk.say("/whales btc 3").split("\n"))
    assert len(desk.say("/whales 3 $BTC").split("\n")) == 3
    assert "No whale orders in DOGE" in desk.say("/whales DOGE")


def test_watch_and_unwatch_change_the_coins_of_this_chat(started: Desk) -> None:
    assert first_line(started.say("/unwatch doge")) == "Watching only BTC, ETH."
    assert started.chat().symbols == frozenset({"BTC", "ETH"})
    assert started.say("/unwatch BTC,ETH").startswith("No coins are selected")
    assert started.chat().symbols == frozenset()
    assert first_line(started.say("/watch $btc ETHUSDT")) == "Watching BTC, ETH."
    assert first_line(started.say("/watch DOGE/USDT")) == "Watching all coins: BTC, ETH, DOGE."
    assert started.chat().symbols is None, "all of them means also those that the settings add later"
    started.say("/unwatch BTC")
    assert first_line(started.say("/watch all")) == "Watching all coins: BTC, ETH, DOGE."
    assert started.chat().symbols is None


@pytest.mark.parametrize("text", ["/threshold", "/threshold 1m", "/start", "/status"])
def test_a_chat_that_watches_nothing_is_told_so_instead_of_an_empty_list(started: Desk, text: str) -> None:
    started.say("/unwatch BTC ETH DOGE")
    assert "selects every coin" in started.say(text)
    assert "  " not in started.say(text)


def test_a_threshold_is_one_for_all_coins_or_for_one(started: Desk) -> None:
    assert "BTC 2M, ETH 640k, DOGE 100k USD" in started.say("/threshold btc 2m")
    assert "orders from 500k USD" in started.say("/threshold 500k")
    assert started.chat().thresholds == {"whales": {"*": 5e5}}, "one for all replaces those for one"
    assert "BTC 2M, ETH 500k, DOGE 500k" in started.say("/threshold BTC 2m")
    assert "BTC 2M" in started.say("/threshold")
    assert "BTC 1.05M, ETH 640k" in started.say("/threshold auto")
    assert started.chat().thresholds == {"whales": {}}


def test_auto_for_one_coin_is_automatic_for_it_whatever_the_others_have(started: Desk) -> None:
    started.say("/threshold BTC 2m")
    assert "BTC 1.05M" in started.say("/threshold BTC auto")


def test_mute_is_for_all_or_for_one_coin_and_off_ends_both(started: Desk) -> None:
    assert started.say("/mute 2h") == "All alerts muted until 17:06:40 UTC. Undo with /mute off"
    assert started.chat().muted_until == NOW + 7200
    assert started.say("/mute eth 1d").startswith("ETH muted until 2025-06-16 15:06:40 UTC.")
    assert started.chat().symbol_mutes == {"ETH": NOW + 86400}
    assert "Alerts will come again" in started.say("/mute OFF")
    assert (started.chat().muted_until, dict(started.chat().symbol_mutes)) == (0, {})


@pytest.mark.parametrize("everything", ["all", "ALL", "everything"])
def test_all_alerts_can_be_named_in_a_mute(started: Desk, everything: str) -> None:
    assert started.say(f"/mute {everything} 2h").startswith("All alerts muted until 17:06:40 UTC.")
    assert "Alerts will come again" in started.say(f"/mute {everything} off")
    assert started.chat().muted_until == 0
    assert "A mute has an end." in started.say(f"/mute {everything}")


def test_a_word_for_everything_is_no_coin_that_the_owner_could_add(started: Desk) -> None:
    """Where everything can be meant it is; elsewhere a coin is asked for."""
    started.say("/threshold BTC 2m")
    assert first_line(started.say("/threshold all 500k")) == "Whale orders from 500k USD."
    started.say("/side whales sells")
    assert first_line(started.say("/side all both")) == "Whale orders and liquidation alerts: both sides."
    for said in ("/chart all", "/chart off", "/alert none 5% in 1h", "/wallet"):
        assert "/coins add" not in started.say(said), said
    assert started.say("/chart all").startswith("ALL is not a coin.")


@pytest.mark.parametrize("said", ["/mute off eth", "/mute eth off"])
def test_off_may_stand_on_either_side_of_the_coin(started: Desk, said: str) -> None:
    started.say("/mute eth 1d")
    started.say("/mute btc 1d")
    assert started.say(said).startswith("ETH unmuted. Muted: BTC until ")
    assert "Did you mean /mute off" in started.say("/unmute eth")


def test_one_coin_can_be_unmuted_and_mute_alone_tells_what_is_muted(started: Desk) -> None:
    assert started.say("/mute").startswith("Nothing is muted. Change it: ")
    started.say("/mute eth 1d")
    started.say("/mute BTC 1h")
    assert started.say("/mute").startswith("Muted: BTC until 16:06:40 UTC, ETH until 2025-06-16 15:06:40 UTC. ")
    assert started.say("/mute btc off") == "BTC unmuted. Muted: ETH until 2025-06-16 15:06:40 UTC."
    started.say("/mute 2h")
    assert (
        started.say("/mute ETH off")
        == "ETH is no longer muted, but all alerts stay muted until 17:06:40 UTC. /mute off ends that too."
    )
    assert dict(started.chat().symbol_mutes) == {}


def test_what_is_muted_or_off_is_told_wherever_it_is_said_what_comes(started: Desk) -> None:
    started.say("/mute 2h")
    for command in ("/start", "/settings", "/status"):
        assert "Muted until 17:06:40 UTC." in started.say(command)
    started.say("/level whales off")
    assert started.say("/threshold") == "Whale orders are off (turn on: /level whales on)."
    assert first_line(started.say("/threshold 2m")) == "Whale orders are off (turn on: /level whales on)."
    assert "Off: whale orders" in started.say("/start")


# People


def test_the_owner_lets_in_and_shuts_out_by_command(desk: Desk) -> None:
    assert desk.say("/allow 99", user_id=OWNER) == "99 can now use this bot."
    assert desk.access.role(99) is Role.ALLOWED
    desk.store.chats.put(Chat(chat_id=99, added_by=99))
    assert desk.say("/deny 99", user_id=OWNER) == "99 can no longer use this bot. Alerts were turned off in 1 chat."
    assert desk.access.role(99) is Role.DENIED
    assert desk.say("/users", user_id=OWNER).split("\n") == ["7 (owner)", "8 (allowed)", "99 (denied)"]


def stranger(desk: Desk, user_id: int, name: str = "Eve") -> list[Reply]:
    return desk.commands.stranger(
        Update(update_id=1, kind="message", chat_id=user_id, chat_kind="private", user_id=user_id, user_name=name)
    )


def test_a_stranger_is_told_their_id_and_the_owner_gets_two_buttons(desk: Desk) -> None:
    answer, question = stranger(desk, 99, "Eve @eve")
    assert answer.text == "This bot is private. Your user id is 99. The owner has been asked."
    assert answer.chat_id is None
    assert (question.chat_id, question.text) == (OWNER, "99 “\u2068Eve @eve\u2069” wants to use this bot.")
    assert question.keyboard == ((("Allow", "allow:99"), ("Deny", "deny:99")),)
    assert stranger(desk, 99) == []


def test_the_owners_button_decides_and_tells_the_stranger(desk: Desk) -> None:
    stranger(desk, 99)
    toast, confirmed, told = desk.press("allow:99", user_id=OWNER)
    assert toast.toast
    assert confirmed.text == "99 “\u2068Eve\u2069” can now use this bot."
    assert confirmed.edit, "the question is answered: its buttons go"
    assert told.chat_id == 99
    assert desk.access.role(99) is Role.ALLOWED


def test_a_button_changes_nothing_once_the_owner_has_decided(desk: Desk) -> None:
    stranger(desk, 99)
    desk.say("/deny 99", user_id=OWNER)
    (toast,) = desk.press("allow:99", user_id=OWNER)
    assert (toast.toast, toast.text) == (True, "You have decided this already: denied. Change it: /allow 99")
    assert desk.access.role(99) is Role.DENIED


def test_what_names_people_and_chats_is_told_in_private_only(desk: Desk) -> None:
    desk.say("/allow 99", user_id=OWNER)
    listed, pointer = desk.replies("/users", user_id=OWNER, chat_id=GROUP)
    assert (listed.chat_id, pointer.chat_id) == (OWNER, None)
    assert "99 (allowed)" in listed.text
    assert "99" not in pointer.text


def test_only_those_who_wrote_first_are_written_to(desk: Desk) -> None:
    for _ in range(2):
        assert [reply.chat_id for reply in desk.replies("/allow 99", user_id=OWNER)] == [None]


@pytest.mark.parametrize(
    "data", ["allow:99", "deny:7", "users:", "allow:", "mute:1h", "mute:XYZ:1h", "mute:BTC:9h", "", ":", "x"]
)
def test_a_forged_button_of_a_friend_does_nothing(started: Desk, data: str) -> None:
    before = started.chat()
    (reply,) = started.press(data)
    assert (reply.toast, reply.text) == (True, "This button has expired.")
    assert started.chat() == before
    assert started.access.role(99) is Role.STRANGER


@pytest.mark.parametrize("data", [f"allow:{OWNER}", f"deny:{OWNER}", f"allow:{'9' * 50}", "allow:0", "deny:-1"])
def test_a_button_of_the_owner_that_cannot_be_obeyed_is_answered_all_the_same(desk: Desk, data: str) -> None:
    (reply,) = desk.press(data, user_id=OWNER)
    assert reply.toast
    assert desk.access.role(OWNER) is Role.OWNER


def test_the_mute_buttons_of_an_alert_mute_this_coin_here(started: Desk) -> None:
    (reply,) = started.press("mute:BTC:1h")
    assert reply.toast
    assert started.chat().symbol_mutes == {"BTC": NOW + 3600}
    started.press("mute:BTC:24h")
    assert started.chat().symbol_mutes == {"BTC": NOW + 86400}


def test_a_group_is_told_how_to_begin_when_the_bot_joins(desk: Desk) -> None:
    group = Update(update_id=1, kind="membership", chat_id=GROUP, chat_kind="group", user_id=OWNER, status="member")
    (reply,) = desk.commands.joined(group)
    assert "/start" in reply.text


# Digests and charts


def test_digest_plans_shows_and_ends_summaries(started: Desk) -> None:
    assert "No digest is set" in started.say("/digest")
    said = started.say("/digest 09:00 Europe/Berlin mon-fri")
    assert said.startswith("Digest: 09:00 Europe/Berlin mon-fri. Next one: Mon 16 Jun 09:00")
    assert "Next one: Mon 16 Jun" in started.say("/digest")
    assert started.say("/digest off") == "Digests are off."
    assert started.store.schedules.of_chat(FRIEND) == []


@pytest.mark.parametrize("typed", ["25:00", "every 5h", "cron 1 2 3", "soon", "09:00 Nowhere/Else"])
def test_a_digest_that_cannot_be_is_told_and_changes_nothing(started: Desk, typed: str) -> None:
    started.say("/digest every 4h")
    before = started.store.schedules.of_chat(FRIEND)
    assert "Example: /digest " in started.say(f"/digest {typed}")
    assert started.store.schedules.of_chat(FRIEND) == before


def test_a_digest_can_be_had_at_once(started: Desk) -> None:
    (reply,) = started.replies("/digest now")
    assert reply.html
    assert reply.text.startswith("<b>Digest, last 24 hours</b> (until Sun 15 Jun")


def test_a_chart_is_a_wish_for_a_photo_of_that_coin_and_time(started: Desk) -> None:
    (reply,) = started.replies("/chart eth 7d")
    assert reply.method == "sendPhoto"
    assert reply.attachment == {
        "kind": "chart",
        "symbol": "ETH",
        "seconds": 7 * 86400.0,
        "zone": "UTC",
        "theme": "dark",
        "owner": False,
    }
    assert started.replies("/chart 6h")[0].attachment == {
        **reply.attachment,
        **{"seconds": 6 * 3600.0, "symbol": "BTC"},
    }
    assert "1h to 30d" in started.say("/chart BTC 1m")
    assert "is not on this bot's list" in started.say("/chart PEPE")


@pytest.mark.parametrize(("user_id", "chat_id"), [(OWNER, OWNER), (OWNER, GROUP), (FRIEND, FRIEND)])
def test_only_the_owner_in_private_is_told_how_to_set_charts_up(desk: Desk, user_id: int, chat_id: int) -> None:
    desk.say("/start", user_id=user_id, chat_id=chat_id)
    (reply,) = desk.replies("/chart", user_id=user_id, chat_id=chat_id)
    assert reply.attachment is not None
    assert reply.attachment["owner"] == (chat_id == OWNER), "the hint names a path of the server"


def test_a_chat_chooses_the_theme_of_its_charts(started: Desk) -> None:
    def theme(typed: str, **more: int) -> str:
        (reply,) = started.replies(typed, **more)
        assert reply.attachment is not None
        return str(reply.attachment["theme"])

    assert theme("/chart") == "dark"
    assert theme("/chart Light ETH") == "light"
    assert theme("/chart BTC 7d") == "light"
    assert started.chat().chart_theme == "light"
    assert theme("/chart dark") == "dark"
    assert theme("/chart") == "dark"


def test_the_caption_of_a_chart_says_how_much_time_from_where_and_in_which_zone(started: Desk) -> None:
    markets = started.store.markets
    started.say("/timezone UTC+5:30")
    markets.set_cursor("Binance spot", "BTC", "1", at=NOW - 5)
    markets.set_cursor("Kraken", "BTC", "1", at=NOW - 8 * 86400)
    markets.add_bars([Bar("BTC", int(NOW) - 840, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
    what = "price, net taker flow and whale orders on Binance spot, in US dollars. Times in UTC+5:30."
    assert started.say("/chart") == f"BTC, last 14 min (all the data so far): {what}"
    markets.fill_bars([Bar("BTC", int(NOW) - 86400, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
    assert started.say("/chart") == f"BTC, last 24 h: {what}"


# Two copies


@pytest.mark.parametrize("machine", ["laptop", "a machine whose name is too long for a button of 64 bytes", "vps"])
def test_the_pause_button_tells_the_copies_that_wait_and_turns_into_the_way_back(desk: Desk, machine: str) -> None:
    told: list[bool] = []
    desk.desk.host, desk.desk.pause_others = "vps", told.append
    label, data = copies.pause_button(machine)
    assert label == f"Pause alerts of {machine}"
    _, said = desk.press(data, user_id=OWNER)
    waiting = "laptop" if machine == "laptop" else "The other copy"
    assert f"vps answers your commands and sends alerts. {waiting} sends none while vps runs." in said.text
    ((_, back),) = said.keyboard[0]
    assert len(back.encode()) <= 64
    _, again = desk.press(back, user_id=OWNER)
    assert f"{waiting} sends alerts, too" in again.text
    _, said = desk.press(again.keyboard[0][0][1], user_id=OWNER)
    assert f"{waiting} sends none while vps runs." in said.text
    assert told == [True, False, True]


@pytest.mark.parametrize("data", ["copies:pause:laptop", "copies:send:", "copies:", "copies:stop:laptop"])
def test_nobody_else_and_nothing_else_pauses_a_copy(desk: Desk, data: str) -> None:
    told: list[bool] = []
    desk.desk.pause_others = told.append
    for user_id in (FRIEND, *((OWNER,) if "pause" not in data and "send" not in data else ())):
        (reply,) = desk.press(data, user_id=user_id)
        assert (reply.toast, reply.text) == (True, "This button has expired.")
    assert not told
