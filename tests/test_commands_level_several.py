"""/alert for several coins or several prices at a time."""

from __future__ import annotations

import pytest
from conftest import FRIEND
from hypothesis import given
from hypothesis import strategies as st
from test_commands import Desk
from test_commands_levels import buttons, desk, kept  # noqa: F401 - a fixture

from commands import levels
from commands.level_several import prices


@pytest.mark.parametrize("typed", ["all", "ALL", "all coins", "btc eth doge", "BTC,ETH,DOGE", "btc, eth and doge"])
def test_a_move_may_be_for_several_coins(desk: Desk, typed: str) -> None:  # noqa: F811
    (reply,) = desk.replies(f"/alert {typed} 5% in 1h for 7d careful")
    assert sorted((one.symbol, one.kind, one.size, one.note) for one in kept(desk)) == [
        (symbol, "move", 0.05, "careful") for symbol in ("BTC", "DOGE", "ETH")
    ]
    assert reply.text.startswith("Price alerts set:\nBTC, ETH, DOGE: 5 % up or down in 1 h · until 2025-06-22 ")
    assert buttons(reply) == {"All price alerts": "run:alert"}


@pytest.mark.parametrize("typed", ["btc,doge 4% 30m", "* 4% 30m", "btc doge 30m 4%", "all drops 4% in 30 min"])
def test_a_length_of_minutes_is_no_price_in_millions(desk: Desk, typed: str) -> None:  # noqa: F811
    assert "4 % " in desk.say(f"/alert {typed}")
    assert {(one.kind, one.span) for one in kept(desk)} == {("move", 1800)}


def test_all_coins_are_those_that_the_chat_follows(desk: Desk) -> None:  # noqa: F811
    desk.say("/watch BTC ETH")
    assert "BTC, ETH: volume 3 times the usual" in desk.say("/alert all volume x3")
    desk.say("/unwatch all")
    assert "No coins are selected: /watch all" in desk.say("/alert all volume x3")


def test_a_character_that_nobody_reads_is_no_coin(desk: Desk) -> None:  # noqa: F811
    assert desk.say("/alert \U0007a5d1").startswith("Which coin?")


def test_what_is_there_already_is_counted(desk: Desk) -> None:  # noqa: F811
    desk.say("/alert BTC 5% in 1h")
    desk.say("/alert ETH 5% in 1h look")
    (btc,) = (one for one in kept(desk) if one.symbol == "BTC")
    assert "\nAlready set: 1. Replaced: 1." in desk.say("/alert all 5% in 1h")
    assert btc in kept(desk), "it is not set anew"
    assert sorted((one.symbol, one.note) for one in kept(desk)) == [("BTC", ""), ("DOGE", ""), ("ETH", "")]


def test_a_percentage_from_now_is_a_price_of_each_coin_and_a_price_is_for_one(desk: Desk) -> None:  # noqa: F811
    assert "BTC above 84,000\nDOGE above 0.21" in desk.say("/alert btc doge +5%")
    assert "A price is for one coin: /alert BTC 100k." in desk.say("/alert all 100k")
    assert "A price is for one coin: /alert BTC 100k." in desk.say("/alert BTC ETH 100k")
    assert "Which move?" in desk.say("/alert BTC ETH")
    (reply,) = desk.replies("/alert btc doge 5%")
    assert buttons(reply)["BTC,DOGE 5% in 1h"] == "run:alert BTC,DOGE 5% in 1h"
    assert len(kept(desk)) == 2


@pytest.mark.parametrize(
    ("typed", "found", "note"),
    [
        ("between 70k and 90k", [70_000, 90_000], ""),
        ("between 70k and 90k my range", [70_000, 90_000], "my range"),
        ("from 70,000 to 90,000", [70_000, 90_000], ""),
        ("outside of 70-90k", [70_000, 90_000], ""),
        ("70k-90k repeat look", [70_000, 90_000], "look"),
        ("70k – 90k", [70_000, 90_000], ""),
        ("at 70 000 or 90 000", [70_000, 90_000], ""),
        ("70k, 75k, 90k", [70_000, 75_000, 90_000], ""),
        ("above 90k or below 70k", [-70_000, 90_001], ""),
        ("goes above 90k and 95k", [90_001, 95_001], ""),
        ("100k 2 lots", [100_000], "2 lots"),
        ("100k - 2 lots", [100_000], "- 2 lots"),
        ("100k and sell 90k", [100_000], "and sell 90k"),
    ],
)
def test_several_prices_are_several_alerts(desk: Desk, typed: str, found: list[int], note: str) -> None:  # noqa: F811
    """Below is minus, above one dollar more: the test's own marks of a direction."""
    desk.say(f"/alert BTC {typed}")
    marks = [{"above": one.price + 1, "below": -one.price}.get(one.direction, one.price) for one in kept(desk)]
    assert sorted(marks, key=abs) == found
    assert {one.note for one in kept(desk)} == {note}


def test_both_ends_of_a_range_are_told(desk: Desk) -> None:  # noqa: F811
    assert desk.say("/alert BTC between 70k and 90k once") == "Price alerts set:\nBTC at 70,000\nBTC at 90,000"
    assert "I can't read “between”" in desk.say("/alert BTC between 70k")


def test_more_than_there_is_room_for_is_refused_as_a_whole(desk: Desk) -> None:  # noqa: F811
    for number in range(levels.MOST - 2):
        desk.say(f"/alert BTC {100_000 + number}")
    assert "up to 50 price alerts" in desk.say("/alert all 5% in 1h")
    assert len(kept(desk)) == levels.MOST - 2
    assert "Price alerts set" in desk.say("/alert btc eth 5% in 1h")


def test_all_of_them_are_listed_snoozed_and_removed_in_either_order(desk: Desk) -> None:  # noqa: F811
    desk.say("/alert all 5% in 1h")
    assert "3 of 50" in desk.say("/alert all")
    assert "3 price alerts snoozed until" in desk.say("/alert all snooze 4h")
    assert "0 of 50" in desk.say("/alert all remove")
    assert kept(desk, FRIEND) == []


words = st.sampled_from(
    [
        "between",
        "70k",
        "90k",
        "70-90k",
        "and",
        "or",
        "-",
        ",",
        "above",
        "below",
        "2",
        "lots",
        "5%",
        "in",
        "1h",
        "for",
        "7d",
    ]
)


@given(st.lists(words, max_size=8), st.none() | st.just(80_000.0))
def test_whatever_is_typed_each_price_has_an_amount(typed: list[str], last: float | None) -> None:
    found = prices(typed, last)
    assert found
    if len(found) > 1:
        assert all(any(word[:1].isdecimal() for word in one) for one in found)
