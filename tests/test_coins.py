"""The owner changes the list of coins from the chat: at once, and for good; a coin that nobody has is taken off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER, Run, first_look
from test_commands import Desk

from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.coins import Coins


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.say("/start", user_id=OWNER)
    yield desk
    desk.store.close()


def test_a_coin_is_added_and_removed_at_once_and_for_good(desk: Desk, tmp_path: Path) -> None:
    assert desk.say("/coins", user_id=OWNER) == "The bot watches BTC, ETH, DOGE."
    assert desk.say("/coins add 1000pepe TON", user_id=OWNER).startswith("Added: PEPE, TON.")
    assert desk.say("/coins remove doge", user_id=OWNER).startswith("Removed: DOGE.")
    assert list(desk.desk.symbols) == ["BTC", "ETH", "PEPE", "TON"]
    said = desk.say("/coins", user_id=OWNER)
    assert "Added with /coins: PEPE, TON." in said
    assert "Removed with /coins: DOGE." in said
    again = Coins(Store(tmp_path / "bot.db"), ("BTC", "ETH", "DOGE"))
    assert list(again) == list(desk.desk.symbols)
    desk.say("/coins add doge", user_id=OWNER)
    assert desk.desk.symbols.removed() == []


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("add", "Use add or remove"),
        ("buy BTC", "Use add or remove"),
        ("add $$$", "is not a coin's name"),
        ("remove XYZ", "XYZ is not on the list (BTC, ETH, DOGE)."),
        ("add ALL", "“ALL” means something else in commands, so no coin of that name can be watched."),
        ("add PEPE off", "“OFF” means something else in commands"),
        ("list", "The bot watches BTC, ETH, DOGE."),
        ("PEPE", "Use add or remove"),
        ("remove BTC ETH DOGE", "The last coin cannot be removed."),
        ("add btc", "Already on the list."),
        ("add " + " ".join(f"C{number}" for number in range(98)), "at most 100 coins"),
    ],
)
def test_what_cannot_be_done_changes_nothing(desk: Desk, said: str, answer: str) -> None:
    assert answer in desk.say(f"/coins {said}", user_id=OWNER)
    assert list(desk.desk.symbols) == ["BTC", "ETH", "DOGE"]


@pytest.mark.parametrize("typed", ["add pepe, $wif", "+PEPE WIFUSDT", "+ pepe wif", "add PEPE,WIF and WIF"])
def test_coins_are_added_as_people_type_them_and_removed_alike(desk: Desk, typed: str) -> None:
    assert desk.say(f"/coins {typed}", user_id=OWNER).startswith("Added: PEPE, WIF.")
    assert desk.say("/coins -pepe", user_id=OWNER).startswith("Removed: PEPE.")
    assert desk.say("/coins delete WIF", user_id=OWNER).startswith("Removed: WIF.")


@pytest.mark.parametrize(
    "typed", ["add PEPE and remove DOGE", "add PEPE remove DOGE", "add PEPE -DOGE", "remove ETH add X"]
)
def test_adding_and_removing_in_one_message_changes_nothing(desk: Desk, typed: str) -> None:
    assert "two messages" in desk.say(f"/coins {typed}", user_id=OWNER)
    assert list(desk.desk.symbols) == ["BTC", "ETH", "DOGE"]


def test_only_the_owner_may(desk: Desk) -> None:
    desk.say("/start")
    assert "Only this bot's owner" in desk.say("/coins add PEPE")
    assert list(desk.desk.symbols) == ["BTC", "ETH", "DOGE"]


def test_whoever_asks_for_an_unknown_coin_is_told_who_adds_it_and_the_owner_gets_a_button(desk: Desk) -> None:
    desk.say("/start")
    answer, question = desk.replies("/watch pepe")
    assert answer.text.endswith("The owner can add it: /coins add PEPE.")
    assert (question.chat_id, question.keyboard) == (OWNER, ((("Add PEPE", "run:coins add PEPE"),),))
    assert len(desk.replies("/watch shib")) == 1, "the owner is asked once an hour"
    update = desk.press(question.keyboard[0][0][1], user_id=FRIEND)
    assert update[0].text == "This button has expired.", "a friend's press adds nothing"
    (own,) = desk.replies("/watch shib", user_id=OWNER)
    assert own.keyboard[0][0] == ("Add SHIB", "run:coins add SHIB")


@pytest.mark.parametrize("coin", ["ALL", "none", "off"])
def test_a_word_that_is_no_coin_is_offered_to_nobody(desk: Desk, coin: str) -> None:
    desk.say("/start")
    assert desk.say(f"/watch BTC {coin}").startswith(f"{coin.upper()} is not a coin.")
    assert len(desk.replies(f"/watch BTC {coin}")) == 1


def test_who_follows_a_coin_that_was_taken_off_the_list_does_not_follow_all_the_others(desk: Desk) -> None:
    desk.say("/start")
    desk.say("/watch BTC DOGE")  # not ETH
    desk.say("/coins remove DOGE", user_id=OWNER)
    desk.say("/coins remove ETH", user_id=OWNER)
    desk.say("/coins add TON", user_id=OWNER)  # the list is as long as the chat's
    assert desk.say("/watch").startswith("This chat follows BTC.")
    assert desk.say("/watch BTC").startswith("Watching BTC.\n")
    assert desk.say("/unwatch BTC").startswith("No coins are selected, so no alerts will come.")
    desk.say("/coins add DOGE", user_id=OWNER)
    assert desk.say("/watch").startswith("This chat follows DOGE.")


def test_one_coin_by_two_names_is_added_once(desk: Desk) -> None:
    assert desk.say("/coins add 1000PEPE kpepe KPEPE kPEPE", user_id=OWNER).startswith("Added: PEPE. ")


def test_a_coin_that_was_off_the_list_is_read_from_its_newest_trade_on(desk: Desk) -> None:
    desk.store.markets.set_cursor("Binance spot", "DOGE", "17 {}", at=5.0)
    desk.say("/coins remove DOGE", user_id=OWNER)
    desk.say("/coins add DOGE", user_id=OWNER)
    assert desk.store.markets.cursor("Binance spot", "DOGE") is None


def test_end_to_end_a_whale_in_an_added_coin_is_told_and_a_coin_of_nobody_is_taken_off(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    bot = run_bot(SYMBOLS="BTC")
    bot.wait_output("Polling: running")
    for words in ("/start", "/coins add SOL KWIF NOPE"):
        chat.send_text(chat_id=OWNER, text=words)
    chat.wait_text("Added: SOL, KWIF, NOPE", chat_id=OWNER)
    chat.wait_text("No exchange of this bot has NOPE, so it is off the list again.", chat_id=OWNER)
    hint = chat.wait_text("No exchange of this bot has KWIF", chat_id=OWNER)
    assert hint.text.endswith("If you mean WIF by the thousand: /coins add WIF")
    first_look(sim, "SOL")
    sim.market.sweep("binance", "SOL", "buy", usd=2_000_000, fills=5, price=150.0)
    chat.wait_text("SOL buy 2M USD", chat_id=OWNER)
    bot.stop()
    again = run_bot(SYMBOLS="BTC")
    again.wait_output("Watching BTC, SOL every")
