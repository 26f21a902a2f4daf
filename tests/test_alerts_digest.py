"""Digests: what is in them, by what the chat follows. When they come: test_commands_due.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from schedulekit import DAY, Desk, at

from simulation.html import parse_html
from venues.perpetuals import Interest, Liquidation, Rate
from venues.trades import Bar


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def test_it_has_the_biggest_orders_and_the_net_of_all(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    for number in range(1, 9):
        desk.alert(number * 1e6, side="sell" if number == 8 else "buy", ago=number * 600)
    desk.tick()
    lines = desk.told()[0][1].split("\n")
    assert lines[1] == "8 whale orders, 36M USD, net +20M"
    assert lines[2] == "07:40 🔴 BTC sell 8M USD at 64,000"
    assert [line.split(" ")[4] for line in lines[2:7]] == ["8M", "7M", "6M", "5M", "4M"]


def test_orders_outside_its_time_are_left_out(desk: Desk) -> None:
    desk.subscribe(digest="every 4h")
    desk.clock = at("2026-11-24 12:00")
    desk.alert(2e6, ago=4 * 3600 + 1)
    desk.alert(3e6, ago=4 * 3600 - 1)
    desk.tick()
    assert "1 whale order, 3M USD" in desk.told()[0][1]


def test_it_keeps_to_what_the_chat_follows(desk: Desk) -> None:
    desk.subscribe(1, symbols=frozenset({"ETH"}))
    desk.subscribe(2, levels={"whales": "off"})
    desk.subscribe(3, thresholds={"whales": {"BTC": 4e6}})
    desk.clock = at("2026-11-24 09:00")
    desk.alert(3e6)
    desk.alert(2e6, symbol="ETH")
    desk.tick()
    told = dict(desk.told())
    assert "ETH buy" in told[1]
    assert "BTC" not in told[1]
    assert "whale order" not in told[2]
    assert "BTC buy" not in told[3]
    assert "ETH buy" in told[3]


def test_net_taker_flow_is_of_all_trades_with_the_price_beside_it(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    begins = int(desk.clock) - 7200
    desk.store.markets.add_bars(
        [Bar("BTC", begins, 100, 120, 90, 110, 9e6, 4e6), Bar("BTC", begins + 300, 110, 115, 100, 105, 1e6, 2e6)]
    )
    desk.tick()
    assert "Net taker flow (all trades, USD)\nBTC +4M of 16M, price +5.0 %" in desk.told()[0][1]


def test_liquidations_are_summed_by_coin_and_side_and_their_venues_named(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    happened = int((desk.clock - 600) * 1000)
    rows = [("OKX", "BTC", "long", 1e6), ("Gate", "BTC", "short", 2e5), ("OKX", "ETH", "long", 9e4)]
    desk.store.markets.add_liquidations(
        Liquidation(venue, symbol, side, usd, 100.0, happened, f"row {number}")
        for number, (venue, symbol, side, usd) in enumerate(rows)
    )
    desk.tick()
    told = "Liquidations (USD, Gate and OKX)\nBTC longs 1M, shorts 200k\nETH longs 90k"
    assert told in desk.told()[0][1]


def test_the_extremes_of_funding_are_those_of_the_coins_that_are_followed(desk: Desk) -> None:
    desk.subscribe(symbols=frozenset({"BTC", "ETH"}))
    desk.clock = at("2026-11-24 09:00")
    rates = [("BTC", 0.0001), ("ETH", -0.0002), ("PEPE", 0.01)]
    desk.store.markets.put_rates("OKX", [Rate("OKX", symbol, symbol, rate, 8, 0, 0) for symbol, rate in rates])
    desk.tick()
    assert "Funding per 8 h, highest and lowest now: BTC +0.0100 % (OKX), ETH -0.0200 % (OKX)" in desk.told()[0][1]


def test_what_was_not_seen_is_told(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    start = desk.clock - 7200
    desk.store._db.write(
        "INSERT INTO gaps VALUES (1, 'Binance spot', 'BTC', 12, ?, ?, ?)", (start, start + 60, start + 61)
    )
    desk.tick()
    assert "Missing data\nBinance spot: 07:00 to 07:01, BTC, 12 trades" in desk.told()[0][1]


def test_a_time_in_which_nobody_looked_is_no_quiet_time(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    desk.store._db.write("DELETE FROM bars")
    assert "Missing data\nNo data yet: the bot has just started." in written(desk)
    desk.store.markets.add_bars([Bar("BTC", int(desk.clock) - 3600, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
    assert "No data before 08:00, when the bot was first started." in written(desk)
    desk.store.markets.fill_bars([Bar("BTC", int(desk.clock) - 7200, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
    assert "No whale orders before 08:00, when the bot was first started." in written(desk), "candles go further back"


def written(desk: Desk) -> str:
    chat = desk.store.chats.get(7)
    assert chat is not None
    words: str = parse_html(desk.digests.compose(chat, since=desk.clock - DAY, until=desk.clock))[0]
    return words


def test_a_quiet_time_says_so(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    desk.tick()
    assert desk.told()[0][1].split("\n")[1:] == ["No whale orders."]


# Open interest


def test_a_digest_names_the_coins_whose_open_interest_changed_most_in_its_time(desk: Desk) -> None:
    began = desk.clock
    for hours, bitcoin in ((0, 30_000.0), (24, 33_000.0)):
        at_ms = int((began + hours * 3600) * 1000)
        found = [Interest("OKX", coin, size, size * 7, at_ms) for coin, size in (("BTC", bitcoin), ("ETH", 5e5))]
        with desk.store.transaction():
            desk.store.markets.note_interest("OKX", found)
    desk.clock = began + 86400
    desk.subscribe()
    chat = desk.chat(7)
    words = desk.digests.compose(chat, since=began, until=desk.clock)
    assert "<b>Open interest</b>, most changed in 24 h: BTC +10.0 %, ETH 0.0 %" in words
    assert "Open interest" not in desk.digests.compose(chat, since=desk.clock - 3600, until=desk.clock), (
        "not read then"
    )
    off = replace(chat, levels={"oi": "off"})
    assert "Open interest" not in desk.digests.compose(off, since=began, until=desk.clock)
