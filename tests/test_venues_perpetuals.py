"""The feeds of perpetual contracts over HTTP: units, sides, pages, rows that cannot be read, and every refusal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from simulation.perpetuals import ADDRESS, Perpetuals
from simulation.simulator import Simulator
from venues.coinglass import CoinGlass, Refused
from venues.gate import Gate
from venues.hyperliquid import Hyperliquid
from venues.kraken import Kraken
from venues.okx import Okx
from venues.perpetuals import CONTRACTS_KEPT, Liquidation, Rate, Reading, checked_rate
from venues.trades import SourceError, UnknownSymbol

NOW = int(time.time() * 1000) // 1000 * 1000 - 60_000


@pytest.fixture
def perps(sim: Simulator) -> Perpetuals:
    return sim.market.perpetuals


@pytest.fixture
def okx(sim: Simulator) -> Okx:
    return Okx(sim.market_url("okx"))


@pytest.fixture
def gate(sim: Simulator) -> Gate:
    return Gate(sim.market_url("gate"))


@pytest.fixture
def hyperliquid(sim: Simulator) -> Hyperliquid:
    return Hyperliquid(sim.market_url("hyperliquid"))


@pytest.fixture
def coinglass(sim: Simulator) -> CoinGlass:
    return CoinGlass(sim.market_url("coinglass"), sim.market.perpetuals.coinglass_key)


def worth(found: Reading[Liquidation]) -> list[tuple[str, str, int]]:
    return [(event.symbol, event.side, round(event.usd)) for event in found.rows]


# OKX


def test_okx_contracts_are_dollars_by_their_multiplier_linear_and_inverse(okx: Okx, perps: Perpetuals) -> None:
    perps.liquidate("okx", "BTC", "short", usd=625_000, price=77_482.2)
    perps.liquidate("okx", "DOGE", "long", usd=40_000)
    perps.liquidate("okx", "BTC", "long", usd=90_000, inverse=True, net=True)
    assert worth(okx.liquidations("BTC-USDT", since_ms=None)) == [("BTC", "short", 625_000)]
    assert worth(okx.liquidations("DOGE-USDT", since_ms=None)) == [("DOGE", "long", 40_000)]
    assert worth(okx.liquidations("BTC-USD", since_ms=None)) == [("BTC", "long", 90_000)]


def test_okx_families_of_a_coin_are_the_linear_and_the_inverse_one(okx: Okx) -> None:
    assert okx.families(["ETH", "SOL", "NONE"]) == {"ETH-USD": "ETH", "ETH-USDT": "ETH", "SOL-USDT": "SOL"}


def test_okx_pages_back_to_the_time_asked_for_and_loses_nothing_at_their_edges(okx: Okx, perps: Perpetuals) -> None:
    for number in range(130):  # three of each instant, two of them equal in everything
        perps.liquidate("okx", "BTC", "long", usd=10_000, at_ms=NOW + number, times=2)
        perps.liquidate("okx", "BTC", "long", usd=20_000, at_ms=NOW + number)
    found = okx.liquidations("BTC-USDT", since_ms=NOW - 1)
    assert found.gap_from is None
    counts = Counter(event.at_ms for event in found.rows)
    assert counts == dict.fromkeys(range(NOW, NOW + 130), 3)
    assert len({event.row for event in found.rows}) == 390


def test_okx_equal_rows_of_one_page_are_events_of_their_own_and_the_same_ones_in_the_next(
    okx: Okx, perps: Perpetuals
) -> None:
    perps.liquidate("okx", "BTC", "long", usd=10_000, at_ms=NOW, times=2)
    first = {event.row for event in okx.liquidations("BTC-USDT", since_ms=None).rows}
    perps.liquidate("okx", "BTC", "long", usd=10_000, at_ms=NOW)
    second = {event.row for event in okx.liquidations("BTC-USDT", since_ms=None).rows}
    assert len(first) == 2 and len(second) == 3 and first < second


def test_okx_says_from_when_on_it_shows_nothing_when_there_were_too_many(okx: Okx, perps: Perpetuals) -> None:
    for number in range(1300):
        perps.liquidate("okx", "BTC", "long", usd=1000, at_ms=NOW + number)
    found = okx.liquidations("BTC-USDT", since_ms=NOW - 1)
    assert found.gap_from is not None and found.gap_from > NOW


def test_okx_without_a_multiplier_a_row_is_unreadable_and_not_guessed(okx: Okx, perps: Perpetuals) -> None:
    perps.without_multiplier.add(("okx", "SOL"))
    perps.liquidate("okx", "SOL", "long", usd=1_000_000)
    found = okx.liquidations("SOL-USDT", since_ms=None)
    assert found.rows == [] and len(found.unreadable) == 1


def test_okx_contracts_are_asked_for_every_quarter_of_an_hour_and_stay_when_that_fails(sim: Simulator) -> None:
    clock = 0.0
    okx = Okx(sim.market_url("okx"), clock=lambda: clock)

    def asked() -> int:
        return sum(call.path.endswith("/instruments") for call in sim.market.calls)

    okx.families(["BTC"])
    clock = CONTRACTS_KEPT - 1
    okx.families(["BTC"])
    assert asked() == 1
    sim.fault(market="okx", kind="status", code=503)
    clock = CONTRACTS_KEPT + 1
    assert okx.families(["BTC"]) == {"BTC-USD": "BTC", "BTC-USDT": "BTC"}
    okx.families(["BTC"])
    assert asked() == 2


def test_okx_funding_has_its_interval_and_leaves_out_what_is_no_swap(okx: Okx, perps: Perpetuals) -> None:
    perps.set_rate("okx", "TON", 0.0004)
    rates = {rate.contract: rate for rate in okx.rates().rows}
    assert rates["TON-USDT"].hours == 4.0 and round(rates["TON-USDT"].eight_hours, 8) == 0.0008
    assert "BTC-USD" not in rates and not any("XAU" in name for name in rates)
    assert "TSLA-USDT" not in rates, "shares are no coins"
    assert okx.families(["TSLA", "XAU"]) == {}
    assert rates["BTC-USDT"].next_ms > time.time() * 1000


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (50011, "code 50011, Too Many Requests"),
        (50013, "code 50013, Systems are busy. Please try again later."),
        (429, "HTTP 429, code 50011, Too Many Requests"),
        (404, "HTTP 404, code 404, Not Found"),
        (503, "HTTP 503"),
    ],
)
def test_okx_refusals_are_told_in_its_own_words(sim: Simulator, okx: Okx, code: int, words: str) -> None:
    sim.fault(market="okx", kind="status", code=code)
    with pytest.raises(SourceError) as caught:
        okx.rates()
    assert caught.value.reason == words


@pytest.mark.parametrize("code", [400, 51000, 51001])
def test_okx_an_unknown_family_is_no_failure_of_the_host_but_an_unknown_question_is(
    sim: Simulator, okx: Okx, code: int
) -> None:
    """The code comes with HTTP 400 or inside HTTP 200."""
    with pytest.raises(UnknownSymbol):
        okx.liquidations("NONE-USDT", since_ms=None)
    sim.fault(market="okx", path="funding-rate", kind="status", code=code)
    with pytest.raises(SourceError) as caught:
        okx.rates()
    assert not isinstance(caught.value, UnknownSymbol) and "code 5100" in caught.value.reason
    sim.clear_faults()
    okx.families(["BTC"])
    sim.fault(market="okx", path="instFamily=BTC-USDT", kind="status", code=code)
    with pytest.raises(UnknownSymbol):
        okx.liquidations("BTC-USDT", since_ms=None)


# Gate


def test_gate_counts_the_filled_part_of_each_order_once(gate: Gate, perps: Perpetuals) -> None:
    perps.liquidate_in_parts("ETH", "short", [25_000, 50_000], price=2500, at_ms=NOW)
    assert sorted(worth(gate.liquidations(["ETH"], since_ms=None))) == [
        ("ETH", "short", 25_000),
        ("ETH", "short", 50_000),
    ]


def test_gate_leaves_out_what_an_order_did_not_fill(gate: Gate, perps: Perpetuals) -> None:
    perps.liquidate("gate", "BTC", "long", usd=500_000, price=77_000, left=1000)
    assert worth(gate.liquidations(["BTC"], since_ms=None)) == [("BTC", "long", 500_000)]


def test_gate_knows_its_shares_and_leaves_them_alone(sim: Simulator, gate: Gate, perps: Perpetuals) -> None:
    perps.liquidate("gate", "BTC", "long", usd=1000)
    assert gate.liquidations(["ANDURIL", "ETH"], since_ms=None).rows == []


def test_gate_watches_gold_and_stable_coins_and_no_metal(gate: Gate, perps: Perpetuals) -> None:
    coins = ["PAXG", "XAU", "USDC"]
    for coin in coins:
        perps.sizes["gate", coin] = 0.001
        perps.liquidate("gate", coin, "long", usd=1000, price=4000)
        del perps.sizes["gate", coin]
    assert sorted(worth(gate.liquidations(coins, since_ms=None))) == [("PAXG", "long", 1000), ("USDC", "long", 1000)]


def test_gate_tells_a_gap_only_when_its_full_page_does_not_reach_back(gate: Gate, perps: Perpetuals) -> None:
    for number in range(1001):
        perps.liquidate("gate", "BTC", "long", usd=1000, at_ms=NOW + number * 10)
    assert gate.liquidations(["BTC"], since_ms=NOW - 1000).gap_from == NOW
    assert gate.liquidations(["BTC"], since_ms=NOW + 1000).gap_from is None


def test_gate_shows_one_hour_however_few_rows(gate: Gate) -> None:
    hour_ago = (time.time() - 3600) * 1000
    assert gate.liquidations(["BTC"], since_ms=int(hour_ago) + 5000).gap_from is None
    gap_from = gate.liquidations(["BTC"], since_ms=int(hour_ago) - 5000).gap_from
    assert gap_from is not None and abs(gap_from - hour_ago) < 4000


def test_gate_refusals_are_told_with_their_label(sim: Simulator, gate: Gate) -> None:
    sim.fault(market="gate", kind="retry_after", retry_after=7)
    with pytest.raises(SourceError) as caught:
        gate.liquidations(["BTC"], since_ms=None)
    assert (caught.value.reason, caught.value.retry_after) == ("HTTP 429, TOO_MANY_REQUESTS", 7)


@pytest.mark.parametrize("kind", ["missing", "text", "nan", "negative", "null"])
@pytest.mark.parametrize("venue", ["okx", "gate"])
def test_a_row_that_cannot_be_read_is_skipped_and_counted_alone(
    okx: Okx, gate: Gate, perps: Perpetuals, venue: str, kind: str
) -> None:
    perps.liquidate(venue, "BTC", "long", usd=5000)
    perps.poison(venue, "BTC", kind)

    def ask() -> Reading[Liquidation]:
        if venue == "okx":
            return okx.liquidations("BTC-USDT", since_ms=None)
        return gate.liquidations(["BTC"], since_ms=None)

    found = ask()
    assert worth(found) == [("BTC", "long", 5000)] and len(found.unreadable) == 1
    assert ask().unreadable == found.unreadable


# Hyperliquid


def test_hyperliquid_funding_is_hourly_and_a_delisted_coin_has_none(hyperliquid: Hyperliquid) -> None:
    rates = {rate.symbol: rate for rate in hyperliquid.rates().rows}
    assert rates["BTC"].hours == 1.0 and round(rates["BTC"].eight_hours, 8) == 0.0001
    assert "MATIC" not in rates


def test_hyperliquid_positions_are_signed_and_may_have_no_liquidation(
    hyperliquid: Hyperliquid, perps: Perpetuals
) -> None:
    perps.hold(ADDRESS, "BTC", -2, liquidation=90_000)
    perps.hold(ADDRESS, "ETH", 10)
    short, long = hyperliquid.positions(ADDRESS).positions
    assert (short.side, short.size, short.usd, short.liquidation) == ("short", -2.0, 154_000.0, 90_000.0)
    assert (long.side, long.liquidation, long.distance) == ("long", 0.0, 1.0)
    assert hyperliquid.positions("0x" + "0" * 40).positions == []


def test_hyperliquid_a_position_that_cannot_be_read_is_named_and_not_missing(
    hyperliquid: Hyperliquid, perps: Perpetuals
) -> None:
    perps.hold(ADDRESS, "BTC", -2, poison="nan")
    perps.hold(ADDRESS, "ETH", 1)
    snapshot = hyperliquid.positions(ADDRESS)
    assert [held.coin for held in snapshot.positions] == ["ETH"] and snapshot.unread == frozenset({"BTC"})
    perps.hold(ADDRESS, "BTC", -2, poison="null")
    assert hyperliquid.positions(ADDRESS).unread is None


@pytest.mark.parametrize(("kind", "code"), [("status", 422), ("status", 429), ("status", 500), ("null", 0)])
def test_hyperliquid_null_and_plain_text_are_a_source_that_is_down(
    sim: Simulator, hyperliquid: Hyperliquid, kind: str, code: int
) -> None:
    sim.fault(market="hyperliquid", kind=kind, code=code)
    for ask in (hyperliquid.rates, lambda: hyperliquid.positions(ADDRESS)):
        with pytest.raises(SourceError):
            ask()


# CoinGlass


def test_coinglass_a_closed_short_is_a_closed_short(coinglass: CoinGlass, perps: Perpetuals) -> None:
    perps.whale_move(ADDRESS, "BTC", size=-800, opened=False, at_ms=NOW)
    perps.whale_move(ADDRESS, "BTC", size=-800, opened=True, at_ms=NOW - 1000)
    perps.whale_move(ADDRESS, "BTC", size=-800, opened=True, at_ms=NOW - 2000)
    moves = coinglass.whale_moves(since_ms=None).rows
    assert {(move.opened, move.side) for move in moves} == {(False, "short"), (True, "short")}
    assert len({move.key for move in moves}) == 3


def test_coinglass_liquidations_are_of_the_position_that_died_and_page_on(
    coinglass: CoinGlass, perps: Perpetuals
) -> None:
    for number in range(450):
        perps.foreign_liquidation("Binance", "BTC", "long", usd=20_000 + number, at_ms=NOW + number * 10)
    perps.foreign_liquidation("Bybit", "BTC", "short", usd=70_000, at_ms=NOW)
    found = coinglass.liquidations("Binance", "BTC", since_ms=NOW - 1)
    assert len(found.rows) == 450 and {event.side for event in found.rows} == {"long"}
    assert worth(coinglass.liquidations("Bybit", "BTC", since_ms=NOW - 1)) == [("BTC", "short", 70_000)]


def test_coinglass_funding_is_in_percent(coinglass: CoinGlass, perps: Perpetuals) -> None:
    perps.set_rate("Binance", "BTC", 0.00007343)
    rates = {(rate.venue, rate.symbol): rate for rate in coinglass.rates().rows}
    assert round(rates["Binance", "BTC"].rate, 10) == 0.00007343


def test_coinglass_a_plan_that_lacks_an_endpoint_is_permanent(coinglass: CoinGlass, perps: Perpetuals) -> None:
    perps.coinglass_plan = "HOBBYIST"
    with pytest.raises(Refused, match="Upgrade plan"):
        coinglass.whale_moves(since_ms=None)
    with pytest.raises(Refused, match="Upgrade plan"):
        coinglass.liquidations("Binance", "BTC", since_ms=None)
    assert coinglass.rates().rows


def test_coinglass_a_wrong_key_is_permanent_and_in_no_error(sim: Simulator) -> None:
    coinglass = CoinGlass(sim.market_url("coinglass"), "wrong-key-4711")
    asked: list[Callable[[], Any]] = [coinglass.rates, lambda: coinglass.whale_moves(since_ms=None)]
    for ask in asked:
        with pytest.raises(Refused, match="Invalid API key") as caught:
            ask()
        assert "4711" not in str(caught.value)


@pytest.mark.parametrize("kind", ["retry_after", "html", "garbage200", "null", "not_ok_without_fields", "reset"])
def test_any_other_failure_is_a_source_that_is_down_and_not_the_plan(
    sim: Simulator, coinglass: CoinGlass, okx: Okx, gate: Gate, hyperliquid: Hyperliquid, kind: str
) -> None:
    sim.fault(market="*", kind=kind)
    asked: list[Callable[[], Any]] = [coinglass.rates, okx.rates, hyperliquid.rates]
    asked += [lambda: gate.liquidations(["BTC"], since_ms=None), lambda: coinglass.whale_moves(since_ms=None)]
    for ask in asked:
        with pytest.raises(SourceError) as caught:
            ask()
        assert not isinstance(caught.value, Refused)


@pytest.mark.parametrize(
    ("hours", "usable"), [(0.0, False), (1e-7, False), (1 / 61, False), (0.25, True), (8.0, True)]
)
def test_a_funding_interval_too_short_to_be_real_makes_a_row_unreadable(hours: float, usable: bool) -> None:
    rate = Rate("OKX", "BTC", "BTC-USDT-SWAP", 0.0001, hours, 0, 1_789_308_895_000)
    if usable:
        assert checked_rate(rate).interval > rate.at_ms
    else:
        with pytest.raises(ValueError, match="not a usable rate"):
            checked_rate(rate)


def test_okx_a_contract_for_a_thousand_coins_has_the_price_of_one(okx: Okx, perps: Perpetuals) -> None:
    perps.sizes["okx", "1000SATS"] = 100.0
    perps.liquidate("okx", "1000SATS", "long", usd=5000, price=0.25)
    assert okx.families(["SATS"]) == {"1000SATS-USDT": "SATS"}
    (event,) = okx.liquidations("1000SATS-USDT", since_ms=None).rows
    assert (event.symbol, round(event.usd), event.price) == ("SATS", 5000, 0.00025)


def test_too_many_requests_inside_http_200_leave_the_whole_host_alone(sim: Simulator, okx: Okx) -> None:
    for code, pause in ((50011, 10.0), (50013, None)):
        sim.clear_faults()
        sim.fault(market="okx", kind="status", code=code)
        with pytest.raises(SourceError) as caught:
            okx.rates()
        assert caught.value.retry_after == pause
    kraken = Kraken(sim.market_url("kraken"))
    for status, pause in ((429, 10.0), (503, None)):
        sim.clear_faults()
        sim.fault(market="kraken", kind="status", code=status)
        with pytest.raises(SourceError) as caught:
            kraken.head("BTC")
        assert caught.value.retry_after == pause
