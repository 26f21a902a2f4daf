"""What people type at the bot, as they type it: understood, or refused with a form that can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER
from test_commands import NOW, Desk

from commands.context import Reply

WHALES = {"whales": {"*": 2e6}}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A friend's chat that has alerts on."""
    desk = Desk(tmp_path)
    desk.say("/start")
    yield desk
    desk.store.close()


@pytest.mark.parametrize(
    ("said", "thresholds"),
    [
        ("btc 2 million", {"BTC": 2e6}),
        ("2 m", {"*": 2e6}),
        ("2,5m", {"*": 2.5e6}),
        ("BTC 2,5m", {"BTC": 2.5e6}),
        ("btc=2m", {"BTC": 2e6}),
        ("bitcoin = 2m", {"BTC": 2e6}),
        ("1.000.000", {"*": 1e6}),
        ("1 000 000", {"*": 1e6}),
        ("1000000 USD", {"*": 1e6}),
        ("500k 🐳", {"*": 5e5}),
        ("500k$", {"*": 5e5}),
        ("2mio", {"*": 2e6}),
        ("1e6", {"*": 1e6}),
        ("250.000", {"*": 250e3}),
        ("whales btc 1 000 000", {"BTC": 1e6}),
        ("BTC ٢٫٥m", {"BTC": 2.5e6}),
        ("ＢＴＣ ２，５００，０００", {"BTC": 2.5e6}),
        ("btc २ million", {"BTC": 2e6}),
        ("2m BTC", {"BTC": 2e6}),
        ("$2m btc", {"BTC": 2e6}),
        ("BTC > 2m", {"BTC": 2e6}),
        ("BTC: 2m", {"BTC": 2e6}),
    ],
)
def test_an_amount_as_people_write_it_is_the_minimum(desk: Desk, said: str, thresholds: dict[str, float]) -> None:
    desk.say(f"/threshold {said}")
    assert desk.chat().thresholds == {"whales": thresholds}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("/threshold €500k", "Amounts are in US dollars"),
        ("/threshold 0", "The lowest minimum is 10k USD."),
        ("/threshold -5", "as an amount"),
        ("/threshold off", "To turn whale orders off: /level whales off."),
        ("/threshold btc", "BTC: whale orders from 1.05M USD."),
        ("/threshold btc 2m eth 1m", "one coin at a time"),
        ("/threshold pepe=2m", "PEPE is not on this bot's list"),
        ("/level whales", "Whales: on."),
        ("/mute tomorrow", "neither a coin of this bot nor a length of time"),
        ("/mute 30 3", "as a length of time"),
        ("/mute btc", "For how long? /mute BTC 2h"),
        ("/mute forever", "/stop. For one coin: /unwatch BTC."),
        ("/mute whales 1h", "Turn it off: /level whales off."),
        ("/watch", "This chat follows all coins: BTC, ETH, DOGE."),
        ("/unwatch pepe", "PEPE is not on this bot's list (BTC, ETH, DOGE)."),
        ("/wallet add vitalik.eth", "0x"),
    ],
)
def test_what_cannot_be_done_is_answered_with_what_can(desk: Desk, said: str, answer: str) -> None:
    before = desk.chat()
    assert answer in desk.say(said)
    assert desk.chat() == before


@pytest.mark.parametrize(
    "said", ["10pm-7am", "2200-0700", "22:00 07:00", "from 22:00 to 07:00", "22-7", "22:00 – 07:00", "22h-7h"]
)
def test_quiet_hours_as_people_write_them(desk: Desk, said: str) -> None:
    desk.say(f"/quiet {said}")
    assert desk.chat().quiet == "22:00-07:00"


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("9am", "09:00"),
        ("9", "09:00"),
        ("daily", "09:00"),
        ("every day at 9", "09:00"),
        ("hourly", "every 1h"),
        ("every hour", "every 1h"),
        ("every 4 hours", "every 4h"),
        ("weekdays 09:00", "09:00 mon-fri"),
        ("09:00 mo-fr", "09:00 mon-fri"),
        ("09:00 monday-friday", "09:00 mon-fri"),
        ("09:00 sat, sun", "09:00 sun,sat"),
        ("09:00 18:00", "09:00 18:00"),
        ("09:00 new york mon", "09:00 America/New_York mon"),
    ],
)
def test_digest_times_as_people_write_them(desk: Desk, said: str, rule: str) -> None:
    answer = desk.say(f"/digest {said}")
    assert answer.startswith(f"Digest: {rule}")
    assert [one.rule for one in desk.store.schedules.of_chat(FRIEND)] == [rule]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30", 1800),
        ("30 min", 1800),
        ("1 hour", 3600),
        ("2h30m", 9000),
        ("until 18:00", 10_400),
        ("until 9am", 64_400),
    ],
)
def test_a_mute_as_long_as_people_say(desk: Desk, said: str, seconds: float) -> None:
    desk.say(f"/mute {said}")
    assert desk.chat().muted_until == NOW + seconds  # NOW is 15:06:40 UTC
    desk.say(f"/mute btc {said}")
    assert desk.chat().symbol_mutes == {"BTC": NOW + seconds}


def test_from_all_coins_watch_means_only_these_and_offers_all_again(desk: Desk) -> None:
    (said,) = desk.replies("/watch BTC ETH")
    assert said.text == "Watching only BTC, ETH."
    assert desk.chat().symbols == frozenset({"BTC", "ETH"})
    assert [label for label, _ in said.keyboard[0]] == ["All coins"]
    toast, shown = desk.press(said.keyboard[0][0][1])
    assert toast.toast
    assert (shown.text, shown.edit) == ("Watching all coins: BTC, ETH, DOGE.", True)
    assert desk.chat().symbols is None


@pytest.mark.parametrize(
    ("said", "coins"),
    [
        ("+DOGE", {"BTC", "DOGE"}),
        ("DOGE", {"BTC", "DOGE"}),
        ("+doge -btc", {"DOGE"}),
        ("only eth", {"ETH"}),
        ("all", None),
        ("+all", None),
        ("all coins", None),
        ("none", set()),
        ("-ALL", set()),
        ("off", set()),
        ("BTC,ETH,DOGE", None),
    ],
)
def test_after_a_choice_watch_adds_unless_it_says_only(desk: Desk, said: str, coins: set[str] | None) -> None:
    desk.say("/watch btc")
    desk.say(f"/watch {said}")
    assert desk.chat().symbols == coins


def test_all_coins_can_be_removed_by_word_and_by_button(desk: Desk) -> None:
    assert desk.say("/unwatch all").startswith("No coins are selected")
    assert desk.chat().symbols == frozenset()
    desk.say("/watch all")
    (_, page) = desk.press("s:coins")
    every, none = page.keyboard[-2]
    assert (every[0], none[0]) == ("All", "None")
    desk.press(none[1])
    assert desk.chat().symbols == frozenset()
    desk.press("s:coins:watch +ETH")
    assert desk.chat().symbols == frozenset({"ETH"})


def test_an_amount_with_two_meanings_is_asked_back_with_two_buttons(desk: Desk) -> None:
    (asked,) = desk.replies("/threshold whales BTC 1.500m")
    assert "two amounts" in asked.text
    assert [row[0][0] for row in asked.keyboard] == ["whales BTC 1.5M", "whales BTC 1.5B"]
    assert desk.chat().thresholds == {}
    desk.press(asked.keyboard[0][0][1])
    assert desk.chat().thresholds == {"whales": {"BTC": 1.5e6}}


def test_a_zone_with_two_meanings_is_asked_back_with_buttons(desk: Desk) -> None:
    (asked,) = desk.replies("/timezone EST")
    assert [row[0][0] for row in asked.keyboard] == ["America/New_York", "America/Panama"]
    desk.press(asked.keyboard[0][0][1])
    assert desk.chat().timezone == "America/New_York"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("/thresold 2m", "threshold 2m"),
        ("/unmute", "mute off"),
        ("/unmute BTC", "mute off BTC"),
        ("/sumary", "digest"),
        ("/wales BTC", "whales BTC"),
    ],
)
def test_an_unknown_command_offers_the_one_that_was_meant(desk: Desk, said: str, meant: str) -> None:
    (answer,) = desk.replies(said.replace("sumary", "summary"))
    assert f"Did you mean /{meant.split()[0]}" in answer.text
    assert answer.keyboard[0][0] == (f"/{meant}", f"run:{meant}")


def test_a_button_runs_nothing_that_its_presser_may_not_type(desk: Desk) -> None:
    for command in (f"deny {OWNER}", "users"):
        assert [reply.text for reply in desk.press(f"run:{command}")] == ["This button has expired."]


def test_several_commands_in_one_message_are_each_answered(desk: Desk) -> None:
    said = desk.replies("/quiet 22-7\n/timezone Berlin\n\n/threshold 2m")
    assert len(said) == 3
    assert (desk.chat().quiet, desk.chat().timezone) == ("22:00-07:00", "Europe/Berlin")
    assert desk.chat().thresholds == WHALES
    many = desk.replies("\n".join(["/ping"] * 9))
    assert len(many) == 6
    assert "Please send the others again" in many[-1].text


def test_nothing_is_said_to_be_misread_that_was_understood(desk: Desk) -> None:
    def misread(text: str) -> list[bool]:
        replies: list[Reply] = desk.replies(text)
        return [reply.misread for reply in replies]

    assert misread("/thresold 2m") == misread("/threshold much") == misread("hi") == [True]
    assert misread("/threshold 2m") == misread("/help") == [False]


@pytest.mark.parametrize(
    "said", ["btc and eth", "BTC, ETH.", "$btc & eth!", "btcusdt; eth/usdt?", "bitcoin ethereum"]
)
def test_coins_as_people_write_them(desk: Desk, said: str) -> None:
    desk.say(f"/watch {said}")
    assert desk.chat().symbols == frozenset({"BTC", "ETH"})


@pytest.mark.parametrize("said", ["20", "20/h", "20 per hour", "20 an hour"])
def test_an_hourly_limit_as_people_write_it(desk: Desk, said: str) -> None:
    desk.say(f"/cap {said}")
    assert desk.chat().hourly_cap == 20


def test_a_side_may_be_said_with_only(desk: Desk) -> None:
    assert desk.say("/side buys only").startswith("Whale orders: buys only.")
