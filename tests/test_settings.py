"""Each setting typed and pressed; /test, /history and /status show what the settings do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import FRIEND, OWNER
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from test_alerts_publish import alert
from test_commands import NOW, Desk, first_line

from alerts import held_back
from alerts import publish as alerts
from alerts.preferences import Outcome
from botapi.updates import Update
from commands import keyboard as command_keyboard
from commands.context import Keyboard
from commands.keyboard import ZONES
from simulation.html import parse_html
from store.rows import LEVELS, MONITORS


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A friend's chat that has alerts on."""
    desk = Desk(tmp_path)
    desk.say("/start")
    yield desk
    desk.store.close()


# Typed


def test_a_level_is_set_for_one_kind_of_alert_or_for_all(desk: Desk) -> None:
    assert "Liquidation alerts always come without sound" in desk.say("/level liq silent")
    assert desk.chat().levels == {"liquidations": "silent"}
    assert "All alerts are off" in desk.say("/level ALL OFF")
    assert desk.chat().levels == dict.fromkeys(MONITORS, "off")
    assert desk.say("/level") == (
        "Whales: off. Liquidations: off. Funding: off. Open interest: off. Wallets: off. Prices: off."
    )
    assert "Off: whale orders, liquidations, funding, open interest, wallets, price alerts." in desk.say("/status")


def test_funding_and_open_interest_have_marks_in_percent_for_each_chat(desk: Desk) -> None:
    assert first_line(desk.say("/level funding on")) == "Funding alerts are on, with sound."
    assert desk.say("/threshold funding") == "Funding beyond ±0.05 % for 8 h."
    assert first_line(desk.say("/threshold funding 0,03 %")) == "Funding beyond ±0.03 % for 8 h."
    of_one = "Funding beyond BTC ±0.01 %, ETH ±0.03 %, DOGE ±0.03 % for 8 h."
    assert first_line(desk.say("/threshold funding BTC 0.01")) == of_one
    desk.say("/threshold funding 0.03")
    assert first_line(desk.say("/threshold oi 5")) == "Open interest changing by 5 % in 1 h."
    assert desk.say("/threshold oi BTC=3%").startswith("Open interest changing by BTC 3 %, ETH 5 %")
    assert desk.chat().thresholds == {"funding": {"*": 0.03}, "oi": {"*": 5.0, "BTC": 3.0}}
    for said in ("oi 0.5", "oi 500", "oi 2m", "funding 0", "funding 11", "funding off"):
        before = desk.chat()
        assert any(words in desk.say(f"/threshold {said}") for words in ("Give a percentage from", "To turn")), said
        assert desk.chat() == before
    assert first_line(desk.say("/threshold oi auto")) == "Open interest changing by 10 % in 1 h."
    assert ("✓ 0.03%", "s:funding:threshold funding 0.03%") in desk.press("s:funding")[1].keyboard[1]


def test_a_test_of_funding_or_open_interest_has_the_mark_of_the_chat(desk: Desk) -> None:
    for kind in ("funding", "oi"):
        desk.say(f"/threshold {kind} 3")
        assert "A real alert would come with sound." in desk.say(f"/test {kind}")


def test_a_side_is_of_whales_unless_the_word_can_only_mean_liquidations(desk: Desk) -> None:
    assert "sells only" in desk.say("/side sells")
    assert "longs only" in desk.say("/side longs")
    assert desk.chat().sides == {"whales": "sell", "liquidations": "long"}
    assert "both sides" in desk.say("/side whales both")
    assert desk.chat().sides == {"liquidations": "long"}
    assert first_line(desk.say("/side sell")) == "Whale orders: sells only. Undo with /side whales both"
    assert first_line(desk.say("/side both")) == "Whale orders and liquidation alerts: both sides."
    assert desk.chat().sides == {}


def test_a_threshold_is_of_whales_unless_another_kind_is_named(desk: Desk) -> None:
    assert "iquidations from 500k USD" in desk.say("/threshold liq 500k")
    desk.say("/threshold liquidations btc 2m")
    desk.say("/threshold 3m")
    assert desk.chat().thresholds == {"liquidations": {"*": 5e5, "BTC": 2e6}, "whales": {"*": 3e6}}
    assert "BTC 2M" in desk.say("/threshold liq")
    desk.say("/threshold liq auto")
    assert desk.chat().thresholds["liquidations"] == {}


def test_quiet_hours_are_set_shown_and_ended(desk: Desk) -> None:
    assert "No quiet hours" in desk.say("/quiet")
    said = desk.say("/quiet 22-7")
    assert said.startswith("Quiet hours: 22:00 to 07:00 (UTC)")
    assert "/timezone" in said, "who has set no zone is told that the hours are UTC"
    assert desk.chat().quiet == "22:00-07:00"
    assert "22:00-07:00" in desk.say("/quiet")
    desk.say("/timezone berlin")
    assert "/timezone" not in desk.say("/quiet 22:00 - 07:00")
    desk.say("/quiet OFF")
    assert desk.chat().quiet == ""


def test_a_zone_changes_every_time_that_is_shown_and_when_digests_come(desk: Desk) -> None:
    desk.say("/digest 09:00")
    before = desk.store.schedules.next_digest(FRIEND)
    assert desk.say("/timezone new york").endswith("America/New_York, now 11:06:40 UTC-4.")
    after = desk.store.schedules.next_digest(FRIEND)
    assert before is not None
    assert after is not None
    assert datetime.fromtimestamp(before, UTC).hour == 9
    assert datetime.fromtimestamp(after, UTC).hour == 13
    assert "until 13:06:40 UTC-4" in desk.say("/mute 2h")
    assert "Muted until 13:06:40 UTC-4." in desk.say("/status")


def test_a_zone_that_is_not_known_is_refused_with_suggestions(desk: Desk) -> None:
    assert "Did you mean Europe/Berlin" in desk.say("/timezone Berlim")
    assert desk.chat().timezone == "UTC"


def test_a_cap_is_set_shown_and_ended(desk: Desk) -> None:
    assert "No hourly limit" in desk.say("/cap")
    assert "after the hour" in desk.say("/cap 20")
    assert desk.chat().hourly_cap == 20
    desk.say("/digest 09:00")
    assert "into the next digest" in desk.say("/cap 1")
    assert desk.say("/cap").startswith("Limit: 1 message an hour.")
    desk.say("/cap off")
    assert desk.chat().hourly_cap == 0


def test_help_explains_one_command_or_one_section(desk: Desk) -> None:
    what, details, example = desk.say("/help quiet").split("\n")
    assert what == "/quiet 22:00-07:00 | off - hold alerts back at night"
    assert "Undo with /quiet off" in details
    assert example == "Example: /quiet 22:00-07:00"
    assert desk.say("/help /QUIET") == desk.say("/help quiet")
    assert desk.say("/help markets").startswith("Markets\n/whales")
    assert all(len(section.split("\n")) <= 16 for section in desk.say("/help", user_id=OWNER).split("\n\n"))


def test_a_coin_that_there_was_an_alert_of_can_be_muted_and_no_other(desk: Desk) -> None:
    """Liquidations and wallets tell of coins that the settings do not name."""
    (refused,) = desk.press("mute:kPEPE:1h")
    assert "has expired" in refused.text
    assert "not on this bot" in desk.say("/mute kPEPE 1h")
    publish(desk, "k1", symbol="kPEPE", monitor="liquidations")
    publish(desk, "k2", symbol="xyz:GOLD", monitor="wallets")
    desk.press("mute:kPEPE:1h")
    desk.press("mute:xyz:GOLD:24h")
    assert desk.chat().symbol_mutes == {"kPEPE": NOW + 3600, "xyz:GOLD": NOW + 86400}
    assert desk.say("/mute kPEPE 2h").startswith("kPEPE muted until")


def in_topic(desk: Desk, words: str, thread_id: int | None) -> str:
    group = Update(update_id=1, kind="message", chat_id=-9, chat_kind="supergroup", user_id=FRIEND)
    return desk.commands.run(replace(group, text=words, thread_id=thread_id))[0].text


def test_start_in_another_topic_asks_before_it_moves_the_alerts(desk: Desk) -> None:
    assert in_topic(desk, "/start", 5).startswith("Alerts are on in this chat.")
    assert in_topic(desk, "/start", 5).startswith("Alerts are already on.")
    assert in_topic(desk, "/start", None).endswith("Move all of them to this one?")
    assert desk.chat(-9).thread_id == 5
    assert in_topic(desk, "/here all", None) == "All alerts will come here."
    assert desk.chat(-9).thread_id is None


def test_alerts_of_a_kind_or_a_coin_go_to_a_topic_of_their_own(desk: Desk) -> None:
    in_topic(desk, "/start", 5)
    assert in_topic(desk, "/here liq", 6) == (
        "Liquidation alerts will come here. For all alerts in one topic again, send /here all there."
    )
    assert in_topic(desk, "/here eth", None).startswith("ETH alerts will come here. ")
    chat = desk.chat(-9)
    assert (chat.topic("whales", "BTC"), chat.topic("liquidations", "BTC")) == (5, 6)
    assert chat.topic("liquidations", "ETH") is None, "a coin's topic is meant more exactly than a kind's"
    sent = alerts.payload(chat, [alert("k", monitor="liquidations")], now=NOW, sound=Outcome.LOUD)
    assert sent["message_thread_id"] == 6
    assert "liquidations, ETH (all in one topic again: /here all in it)" in in_topic(desk, "/settings", 5)
    in_topic(desk, "/here", 5)
    assert desk.chat(-9).topics == {}
    assert "Only groups" in desk.say("/here all")


def test_the_end_of_quiet_hours_promises_what_they_held_only_where_they_held_something(desk: Desk) -> None:
    assert desk.say("/quiet off") == "No quiet hours are set."
    desk.say("/quiet 15-18")
    assert desk.say("/quiet off") == "Quiet hours are off."
    desk.say("/quiet 15-18")
    publish(desk, "held")
    assert desk.say("/quiet off") == "Quiet hours are off. The alerts held back are on their way."


# Status and history


def test_the_status_says_that_it_is_quiet_now(desk: Desk) -> None:
    desk.say("/quiet 15-18")
    assert "Quiet hours until 18:00:00 UTC." in desk.say("/status")
    desk.say("/quiet 18-19")
    assert "Quiet hours until" not in desk.say("/status")


def test_status_tells_what_is_held_until_when_and_what_a_mute_kept_back(desk: Desk) -> None:
    desk.say("/timezone Berlin")
    desk.say("/quiet 17-18")
    desk.store.chats.put(desk.chat())
    for number in range(3):
        publish(desk, f"k{number}")
    desk.say("/mute BTC 1h")
    publish(desk, "muted")
    said = desk.say("/status")
    assert "Held back: 3 alerts (3 in quiet hours); they arrive at about 18:00:00 UTC+2." in said
    assert "Muted in the last 24 h: 1 alert (see /history)." in said


def publish(desk: Desk, key: str, *, now: float = NOW, **changes: Any) -> None:
    with desk.store.transaction():
        alerts.publish(desk.store, alert(key, **changes), now=now, default_min=1e6)


def test_history_tells_what_came_what_is_held_and_what_became_of_it(desk: Desk) -> None:
    assert "No alerts in this chat" in desk.say("/history")
    desk.say("/timezone Berlin")
    at = int(NOW * 1000)
    publish(desk, "came", symbol="ETH", at_ms=at)
    for row in desk.store.pending():
        sent = desk.store.delivery(row[0])
        assert sent is not None
        desk.store.messages.settle_all([(sent, 5)], now=NOW)
    desk.say("/quiet 17-18")
    publish(desk, "held", at_ms=at + 1000)
    publish(desk, "below", at_ms=at + 1500, usd=5.0)
    (reply,) = desk.replies("/history")
    lines = parse_html(reply.text)[0].split("\n")
    assert lines[0] == "The last 2 alerts, times in UTC+2"
    assert lines[1] == "17:06:41 🟢 BTC buy 2.3M USD at 76,981 · Binance spot · held back: quiet hours"
    assert lines[2] == "17:06:40 🟢 ETH buy 2.3M USD at 76,981 · Binance spot"
    with desk.store.transaction():
        held_back.take(desk.store, desk.chat(), now=NOW)
    assert "held back, sent later" in desk.say("/history 1")
    desk.say("/mute 1h")
    publish(desk, "muted", at_ms=at + 2000, now=NOW + 2)
    assert "muted" in desk.say("/history 1")


def test_an_alert_whose_message_had_to_be_sent_anew_is_listed_once(desk: Desk) -> None:
    publish(desk, "came")
    (row,) = desk.store.pending()
    sent = desk.store.delivery(row[0])
    assert sent is not None
    desk.store.messages.settle_all([(sent, 5)], now=NOW)
    publish(desk, "joins")
    (row,) = desk.store.pending()
    edit = desk.store.delivery(row[0])
    assert edit is not None
    desk.store.send_anew(edit, reason="message to edit not found", now=NOW)
    lines = desk.say("/history").split("\n")
    assert len(lines) == 3
    assert all("being sent" in line for line in lines[1:])


def test_the_history_of_a_chat_is_its_own_and_stays_30_days(desk: Desk) -> None:
    publish(desk, "came")
    for row in desk.store.pending():
        sent = desk.store.delivery(row[0])
        assert sent is not None
        desk.store.messages.settle_all([(sent, 5)], now=NOW)
    assert "No alerts" in desk.say("/history", user_id=OWNER)
    desk.store.prune(now=NOW + 29 * 86400)
    assert "BTC buy" in desk.say("/history")
    desk.store.prune(now=NOW + 31 * 86400)
    assert "No alerts" in desk.say("/history")


# A test alert


@pytest.mark.parametrize("monitor", MONITORS)
def test_a_test_looks_like_a_real_alert_is_marked_and_is_not_kept(desk: Desk, monitor: str) -> None:
    desk.say("/timezone Berlin")
    (reply,) = desk.replies(f"/test {monitor}")
    plain = parse_html(reply.text)[0]
    assert "TEST: " in plain.split("\n")[0]
    assert "UTC+2" in plain
    assert "This is a test, not a real trade." in plain
    assert [data for _, data in reply.keyboard[0]] == ["mute:BTC:1h", "mute:BTC:24h"]
    assert desk.store.messages.alerts(monitor) == []
    assert "No alerts" in desk.say("/history")


def test_a_test_is_made_of_the_newest_real_alert_and_differs_only_where_it_says_so(desk: Desk) -> None:
    publish(desk, "real", headline="BTC sell 7M USD at 65,000", side="sell", usd=7e6)
    (row,) = desk.store.pending()
    real = desk.store.delivery(row[0])
    assert real is not None
    worded = alerts.compose(desk.store, real, now=NOW)
    assert worded is not None
    wanted, said = worded["text"].split("\n"), desk.say("/test").split("\n")
    assert said[0] == wanted[0].replace("BTC sell", "TEST: BTC sell")
    assert said[1] == wanted[1]


def test_a_test_of_wallets_shows_no_wallet_of_another_chat(desk: Desk) -> None:
    publish(desk, "theirs", monitor="wallets", headline="Grandma's wallet opened a BTC long")
    assert "Grandma" not in desk.say("/test wallets")


@pytest.mark.parametrize(
    ("command", "silent", "would"),
    [
        ("/level whales loud", False, "come with sound"),
        ("/level whales silent", True, "come without sound"),
        ("/level whales off", False, "would not come: this kind is off"),
        ("/quiet 15-16", False, "held back now"),
        ("/mute 1h", False, "not be sent now (muted)"),
    ],
)
def test_a_test_says_what_would_become_of_a_real_one_now(desk: Desk, command: str, silent: bool, would: str) -> None:
    desk.say(command)
    (reply,) = desk.replies("/test whales")
    assert reply.silent is silent
    assert would in reply.text


# The keyboard


def pages(desk: Desk) -> Iterator[tuple[str, Keyboard]]:
    """Every page that can be reached from /settings, by its buttons."""
    (reply,) = desk.replies("/settings")
    yield "", reply.keyboard
    for _, data in [button for row in reply.keyboard for button in row]:
        _, shown = desk.press(data)
        yield data, shown.keyboard


def test_every_button_fits_telegrams_limits_and_does_what_it_says(desk: Desk) -> None:
    for page, keyboard in pages(desk):
        buttons = [button for row in keyboard for button in row]
        assert len(buttons) <= 100
        for label, data in buttons:
            assert 1 <= len(data.encode()) <= 64
            assert label
            toast, shown = desk.press(data)
            assert (toast.toast, shown.edit) == (True, True)
            if ":" in data.removeprefix("s:") and page:
                changed = [text for row in shown.keyboard for text, _ in row if text.startswith("✓")]
                name = label.removeprefix("✓ ")
                if not data.startswith("s:coins:"):
                    assert f"✓ {name}" in changed, (data, changed)


def test_the_main_page_shows_every_setting(desk: Desk) -> None:
    desk.say("/timezone Berlin")
    desk.say("/quiet 22-7")
    desk.say("/cap 20")
    desk.say("/level funding off")
    desk.say("/side sells")
    desk.say("/unwatch DOGE")
    (reply,) = desk.replies("/settings")
    lines = reply.text.split("\n")
    assert lines[2:] == [
        "Whales: on, from BTC 1.05M, ETH 640k USD, only sells",
        "Liquidations: on, from BTC 1.05M, ETH 640k USD",
        "Funding: off",
        "Open interest: on, changing by 10 % in 1 h",
        "Wallets: on, from BTC 1.05M, ETH 640k USD",
        "Prices: on",
        "Coins: BTC, ETH",
        "Quiet hours: 22:00-07:00",
        "Time zone: Europe/Berlin, now 17:06:40 UTC+2",
        "Hourly limit: 20 messages",
        "Digest: none",
    ]
    assert ("Funding: off", "s:funding") in reply.keyboard[1]


def test_a_button_changes_the_setting_says_so_and_shows_it_in_place(desk: Desk) -> None:
    toast, shown = desk.press("s:coins:unwatch DOGE")
    assert (toast.text, shown.edit) == ("Watching only BTC, ETH.", True)
    assert ("DOGE", "s:coins:watch +DOGE") in shown.keyboard[0]
    assert desk.chat().symbols == frozenset({"BTC", "ETH"})
    desk.press("s:digest:digest 09:00 mon-fri")
    assert [one.rule for one in desk.store.schedules.of_chat(FRIEND)] == ["09:00 mon-fri"]
    _, done = desk.press("s:done")
    assert done.keyboard == ()


def test_an_old_button_is_refused_in_words_and_shows_what_is_so_now(desk: Desk) -> None:
    toast, shown = desk.press("s:coins:unwatch SHIB")
    assert "SHIB is not on this bot's list" in toast.text
    assert shown.edit
    assert desk.chat().symbols is None


def test_the_keyboard_of_a_chat_that_stopped_points_to_start(desk: Desk) -> None:
    desk.say("/stop")
    (toast,) = desk.press("s:cap:cap 20")
    assert "/start" in toast.text
    assert desk.chat().hourly_cap == 0


@pytest.mark.parametrize(
    "data",
    [
        "s:",
        "s:x",
        "s:main:stop",
        "s:main:allow 99",
        "s:main:mute 2h",
        "s::cap 5",
        "s:cap:",
        "s:main:deny 7",
        "s:Main",
    ],
)
def test_a_forged_button_runs_nothing_that_the_keyboard_does_not_have(desk: Desk, data: str) -> None:
    before = desk.chat()
    replies = desk.press(data, user_id=FRIEND)
    assert replies[0].toast
    assert desk.chat() == before


@how(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    st.sampled_from(["main", "coins", "whales", "quiet", "x"]),
    st.sampled_from([*command_keyboard.MAY, ""]),
    st.text(),
)
def test_no_button_data_whatever_raises_or_goes_unanswered(desk: Desk, page: str, name: str, rest: str) -> None:
    replies = desk.press(f"s:{page}:{name} {rest}")
    assert replies[0].toast
    assert replies[0].text or len(replies) > 1


def test_the_choices_are_levels_and_zones_that_exist(desk: Desk) -> None:
    for zone in ZONES:
        desk.press(f"s:zone:timezone {zone}")
        assert desk.chat().timezone == zone
    for level in LEVELS:
        desk.press(f"s:funding:level funding {level}")
        assert desk.chat().levels["funding"] == level


def test_settings_can_be_pressed_only_by_those_whom_the_gate_lets_in(desk: Desk) -> None:
    update = Update(update_id=1, kind="callback", chat_id=FRIEND, user_id=99, text="s:cap:cap 5", callback_id="5")
    assert not desk.access.admits(update)
