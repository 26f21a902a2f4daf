"""/price and /top answer from the bars that are kept, and say what they lack."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import OWNER, TOKEN, Run
from test_commands import NOW, Desk

from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.coins import Coins
from venues.trades import Bar

NOON = int(NOW) // 300 * 300


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.say("/start")
    yield desk
    desk.store.close()


def keep(store: Store, symbol: str, *prices: float, since: int = NOON - 86_400 + 300, read: bool = True) -> None:
    """Bars of a coin from that time to now, each with 1,000 USD on both sides, whose closes are these."""
    step = (NOON - since) // max(1, len(prices) - 1) // 300 * 300
    opened = prices[0]
    for number, price in enumerate(prices):
        low, high = min(opened, price), max(opened, price)
        store.markets.add_bars([Bar(symbol, since + step * number, opened, high, low, price, 1000, 1000)])
        opened = price
    if read:
        store.markets.set_cursor("Binance spot", symbol, "1", at=NOW - 5)


def test_price_shows_the_last_the_change_the_range_and_the_volume_of_a_day(desk: Desk) -> None:
    keep(desk.store, "BTC", 100_000, 104_000, 95_000, 101_500)
    desk.store.markets.add_bars([Bar("BTC", NOON - 86_700, 1, 1, 1, 1, 9e9, 9e9)])  # before that day
    assert desk.say("/price btc") == (
        "<b>BTC 101,500</b> · +1.5 % in 24 h\nlow 95,000 · high 104,000 · volume 8k USD"
    )


def test_price_names_the_shorter_time_that_is_known_and_a_source_that_is_not_read(desk: Desk) -> None:
    keep(desk.store, "ETH", 2500, 2450, since=NOON - 7200, read=False)
    said = desk.say("/price ETH")
    assert "-2.0 % in 2 h" in said
    assert "Not read for more than 15 min: ETH. See /status." in said
    assert "No price of BTC yet" in desk.say("/price BTC")


def test_price_without_a_coin_shows_those_that_the_chat_follows(desk: Desk) -> None:
    for symbol in ("BTC", "ETH", "DOGE"):
        keep(desk.store, symbol, 10, 11)
    desk.say("/watch BTC DOGE")
    assert "ETH" not in desk.say("/price") and "DOGE 11" in desk.say("/price")
    assert "ETH" in desk.say("/price all") and desk.say("/price *") == desk.say("/price all")
    assert desk.say("/price of btc now 🚀") == desk.say("/price BTC USD") == desk.say("/price BTC")


def test_many_coins_are_a_table_that_fits_a_phone(desk: Desk) -> None:
    desk.desk.symbols = Coins(desk.store, tuple(f"COIN{number}" for number in range(20)))
    for symbol in desk.desk.symbols:
        keep(desk.store, symbol, 123_456.7, 98_765.4)
    lines = desk.say("/price").removeprefix("<pre>").split("\n")
    assert len(lines) == 21 and max(map(len, lines)) <= 42


def test_top_lists_the_coins_by_their_move_and_says_where_time_is_missing(desk: Desk) -> None:
    keep(desk.store, "BTC", 100, 50, 99)
    keep(desk.store, "DOGE", 0.2, 0.25, since=NOON - 3000)
    said = desk.say("/top")
    assert said.index("DOGE") < said.index("+25.0 %") < said.index("BTC") < said.index("-1.0 %")
    assert "The data does not go back that far for DOGE." in said
    assert "No price: ETH." in said
    assert "Moves in 2 h" in desk.say("/top 2h") and "+98.0 %" in desk.say("/top 2h")
    assert "from 1h to 7d" in desk.say("/top 30d")
    assert desk.say("/top 2") == desk.say("/top 2h")


def test_before_the_first_look_both_say_so(desk: Desk) -> None:
    assert "No price yet; the first look takes a minute." in desk.say("/price")
    assert "No price yet; the first look takes a minute." in desk.say("/top")


def test_a_made_up_test_alert_has_the_price_of_its_coin(desk: Desk) -> None:
    desk.say("/start")
    keep(desk.store, "BTC", 76_000, 77_000)
    assert "USD at 77,000" in desk.say("/test liquidations")
    assert "price 77,000 → 77,038" in desk.say("/test whales")


def test_prices_are_offered_in_any_chat_to_allowed_people_only(
    sim: Simulator, chat: SimBot, run_bot: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / TOKEN.partition(":")[0]
    folder.mkdir(parents=True)
    store = Store(folder / "bot.db")
    store.markets.add_bars([Bar(coin, int(time.time() - 600), 40, 44, 40, 44, 1e6, 1e6) for coin in ("BTC", "ETH")])
    store.close()
    run_bot().wait_output("Polling: running")

    def offered(user_id: int, typed: str) -> str:
        before = chat.delivered
        chat.type_inline(user_id, typed)
        sim.wait(lambda: chat.delivered > before, what="an answer")
        answer = chat.sent[-1]
        assert (answer.method, str(answer.params["cache_time"])) == ("answerInlineQuery", "5")
        assert str(answer.params["is_personal"]).lower() == "true"
        return answer.text

    assert offered(OWNER, "b") == offered(OWNER, "bitcoin") == "BTC 44"
    assert offered(OWNER, "") == offered(OWNER, "btcusdt eth") == "BTC 44 ETH 44"
    first = json.loads(str(chat.sent[-1].params["results"]))[0]
    assert first["input_message_content"]["message_text"].startswith("<b>BTC 44</b> · +10.0 %")
    assert [offered(OWNER, "xyz"), offered(4711, "btc"), offered(4711, "")] == ["", "", ""]
