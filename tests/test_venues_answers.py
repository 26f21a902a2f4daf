"""Each venue's answers, in the shapes of its API docs, mean what the docs say; odd rows are refused one by one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.http import Answer, HttpServer, Hub, json_answer
from simulation.request import Request
from venues.coinglass import CoinGlass
from venues.gate import Gate
from venues.hyperliquid import Hyperliquid
from venues.kraken import Kraken
from venues.okx import Okx
from venues.perpetuals import Liquidation, Rate, Reading, checked_liquidation, checked_rate
from venues.spot import PAGE_ROWS, BinanceSpot, CoinbaseExchange
from venues.trades import Quote, SourceError, number

MANY = max(10, settings().max_examples // 4)
WALLET = "0x" + "12" * 20
AT = 1_789_308_895_102


class Canned:
    """A host whose answers are set by the test: JSON, or a function of the request, by the end of the path."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[Request] = []
        self._hub = Hub()
        self._server = HttpServer(self._answer, hub=self._hub)
        self.url = self._server.url

    def _answer(self, request: Request) -> Answer:
        self.requests.append(request)
        answer = self.answers[request.path.rpartition("/")[2]]
        return json_answer(answer(request) if callable(answer) else answer)

    def close(self) -> None:
        self._hub.closing.set()
        self._server.offline()


@pytest.fixture(scope="module")
def host() -> Iterator[Canned]:
    canned = Canned()
    yield canned
    canned.close()


# Trades


def binance(number: int, price: str, quantity: str, side: str, ms: int) -> Any:
    return {"a": number, "p": price, "q": quantity, "f": 1, "l": 3, "T": ms, "m": side == "sell", "M": True}


def coinbase(number: int, price: str, quantity: str, side: str, ms: int) -> Any:
    clock = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    maker = "buy" if side == "sell" else "sell"
    return {"time": clock, "trade_id": number, "price": price, "size": quantity, "side": maker}


def kraken(number: int, price: str, quantity: str, side: str, ms: int) -> Any:
    return [price, quantity, ms / 1000, side[0], "m", "", number]


def kraken_answer(rows: list[Any], last: str = "0") -> Any:
    return {"error": [], "result": {"XXBTZUSD": rows, "last": last}}


prices = st.decimals("0.00001", "200000", places=5).map(str)
quantities = st.decimals("0.00001", "1000", places=5).map(str)
fills = st.lists(
    st.tuples(prices, quantities, st.sampled_from(["buy", "sell"]), st.integers(AT, AT + 90_000)),
    min_size=1,
    max_size=9,
)


@settings(max_examples=MANY, deadline=None)
@given(found=fills, first=st.integers(1, 10**12))
def test_trades_in_each_spot_venues_own_shape_are_read_as_they_happened(
    host: Canned, found: list[tuple[str, str, str, int]], first: int
) -> None:
    numbered = [(first + n, *fill) for n, fill in enumerate(found)]
    host.answers = {"aggTrades": [binance(*row) for row in numbered]}
    host.answers["trades"] = [coinbase(*row) for row in numbered][::-1]
    host.answers["Trades"] = kraken_answer([kraken(*row) for row in numbered])
    expected = [(number, float(price), float(size), side) for number, price, size, side, _ in numbered]
    for venue, cursor in (
        (BinanceSpot(host.url), f"{first}"),
        (CoinbaseExchange(host.url), f"{first}"),
        (Kraken(host.url), f"0:{first}"),
    ):
        page = venue.page("BTC", cursor)
        assert [(t.trade_id, t.price, t.quantity, t.taker_side) for t in page.trades] == expected
        assert all(abs(t.at_ms - row[4]) <= 1 for t, row in zip(page.trades, numbered, strict=True))
        assert (page.missed, page.skipped, page.head) == (0, 0, True)
        venue.close()


def test_a_market_without_a_trade_has_a_head_and_an_empty_page(host: Canned) -> None:
    host.answers = {"aggTrades": [], "trades": [], "Trades": kraken_answer([])}
    for venue in (BinanceSpot(host.url), CoinbaseExchange(host.url), Kraken(host.url)):
        page = venue.page("BTC", venue.head("BTC"))
        assert (page.trades, page.head, page.missed) == ([], True, 0)


def test_a_full_page_from_before_the_cursor_is_an_error_and_not_read_for_ever(host: Canned) -> None:
    host.answers = {"aggTrades": [binance(n, "1", "1", "buy", AT) for n in range(1, PAGE_ROWS + 1)]}
    with pytest.raises(SourceError, match="a page from before the cursor"):
        BinanceSpot(host.url).page("BTC", "5000")


def test_a_full_page_of_one_instant_at_kraken_is_stepped_past(host: Canned) -> None:
    instant = AT * 1_000_000
    rows = [kraken(n, "1", "1", "buy", AT) for n in range(1, PAGE_ROWS + 1)]

    def trades(request: Request) -> Any:
        since = int(str(request.params["since"]))
        return kraken_answer(rows if since <= instant else [], last=str(instant if since <= instant else since))

    host.answers = {"Trades": trades}
    venue, cursor = Kraken(host.url), f"{instant - 1}:1"
    for _ in range(5):
        page = venue.page("BTC", cursor)
        cursor = page.next_cursor
        if page.head:
            break
    assert page.head and cursor.endswith(f":{PAGE_ROWS + 1}")


def test_coinbase_counts_a_page_that_is_missing_as_a_whole_and_goes_on(host: Canned) -> None:
    newest = [coinbase(n, "1", "1", "buy", AT) for n in range(9_000, 9_000 + PAGE_ROWS)][::-1]
    older = [coinbase(n, "1", "1", "buy", AT) for n in range(100, 200)][::-1]
    host.answers = {"trades": lambda request: older if "after" in request.params else newest}
    page = CoinbaseExchange(host.url).page("BTC", "200")
    assert (len(page.trades), page.missed, page.head) == (PAGE_ROWS, 8_800, True)


def test_coinbase_is_asked_once_when_its_newest_page_reaches_back(host: Canned) -> None:
    host.answers = {"trades": [coinbase(500, "1", "1", "buy", AT)]}
    host.requests.clear()
    assert CoinbaseExchange(host.url).page("BTC", "400").missed == 100
    assert len(host.requests) == 1


def test_coinbase_is_asked_for_ids_that_exist_only(host: Canned) -> None:
    newest = [coinbase(n, "1", "1", "buy", AT) for n in range(300, 300 + PAGE_ROWS)][::-1]
    older = [coinbase(n, "1", "1", "buy", AT) for n in range(100, 300)][::-1]
    host.answers = {"trades": lambda request: older if "after" in request.params else newest}
    host.requests.clear()
    page = CoinbaseExchange(host.url).page("BTC", "200")
    assert host.requests[-1].params["after"] == "300"
    assert [t.trade_id for t in page.trades] == list(range(200, 300 + PAGE_ROWS))


def test_a_volume_is_that_of_the_quote_currency(host: Canned) -> None:
    host.answers = {
        "24hr": [{"symbol": "BTCUSDT", "quoteVolume": "2500.5"}, {"symbol": "OTHER", "quoteVolume": "1"}],
        "stats": {"volume": "20", "last": "3.5"},
        "Ticker": {"error": [], "result": {"XXBTZUSD": {"v": ["1", "20"], "p": ["1", "3.5"]}}},
    }
    assert BinanceSpot(host.url).volume_usd(["BTC"]) == {"BTC": 2500.5}
    assert CoinbaseExchange(host.url).volume_usd(["BTC"]) == {"BTC": 70.0}
    assert Kraken(host.url).volume_usd(["BTC"]) == {"BTC": 70.0}


def test_a_quote_is_the_best_bid_and_ask_of_each_coin(host: Canned) -> None:
    host.answers = {
        "bookTicker": [
            {"symbol": "BTCUSDT", "bidPrice": "70000.10000000", "bidQty": "1", "askPrice": "70000.2", "askQty": "2"},
            {"symbol": "1000SATSUSDT", "bidPrice": "0.0002", "bidQty": "1", "askPrice": "0.0003", "askQty": "2"},
            {"symbol": "OTHER", "bidPrice": "1", "askPrice": "2"},
        ],
        "ticker": {"ask": "70000.2", "bid": "70000.1", "price": "70000", "size": "1", "volume": "9", "trade_id": 5},
        "Ticker": {
            "error": [],
            "result": {
                "XXBTZUSD": {"a": ["70000.2", "1", "1.0"], "b": ["70000.1", "2", "2.0"]},
                "XDGUSD": {"a": ["0.2", "1", "1.0"], "b": ["0.1", "2", "2.0"]},
            },
        },
    }
    bitcoin = Quote(70_000.1, 70_000.2)
    assert BinanceSpot(host.url).quotes(["BTC", "SATS"]) == {
        "BTC": bitcoin,
        "SATS": Quote(0.0002 / 1000, 0.0003 / 1000),
    }
    assert host.requests[-1].params == {"symbols": '["BTCUSDT","1000SATSUSDT"]'}
    assert CoinbaseExchange(host.url).quotes(["BTC"]) == {"BTC": bitcoin}
    assert Kraken(host.url).quotes(["BTC", "DOGE", "ETH"]) == {"BTC": bitcoin, "DOGE": Quote(0.1, 0.2)}
    assert host.requests[-1].params == {"pair": "XBTUSD,XDGUSD,ETHUSD"}


@pytest.mark.parametrize(
    ("bid", "ask"), [("0.00000000", "1"), ("1", "0.0"), ("2", "1"), ("x", "1"), (1, 2), (None, "1")]
)
def test_an_empty_or_impossible_book_has_no_quote(host: Canned, bid: Any, ask: Any) -> None:
    host.answers = {
        "bookTicker": [{"symbol": "BTCUSDT", "bidPrice": bid, "askPrice": ask}],
        "ticker": {"bid": bid, "ask": ask},
        "Ticker": {"error": [], "result": {"XXBTZUSD": {"b": [bid, "1", "1"], "a": [ask, "1", "1"]}}},
    }
    for venue in (BinanceSpot(host.url), CoinbaseExchange(host.url), Kraken(host.url)):
        assert venue.quotes(["BTC"]) == {}


# Liquidations

sizes = st.decimals("0.001", "5000", places=3)
died = st.lists(st.tuples(sizes, prices, st.sampled_from(["long", "short"]), st.integers(AT, AT + 9000)), max_size=9)


def instrument(**changes: str) -> dict[str, str]:
    row = {"instId": "BTC-USDT-SWAP", "instFamily": "BTC-USDT", "ctType": "linear", "ctValCcy": "BTC"}
    return row | {"ctVal": "0.01", "ctMult": "1"} | changes


def okx_answer(rows: list[Any]) -> Any:
    return {"code": "0", "msg": "", "data": rows}


def okx_orders(details: list[Any]) -> Any:
    return okx_answer([{"instId": "BTC-USDT-SWAP", "instType": "SWAP", "details": details}])


def seen(found: Reading[Liquidation]) -> list[tuple[str, float, Any]]:
    assert not found.unreadable
    return [(event.side, event.price, pytest.approx(event.usd)) for event in found.rows]


@settings(max_examples=MANY, deadline=None)
@given(events=died)
def test_liquidations_in_each_venues_own_shape_are_worth_their_contracts(host: Canned, events: list[Any]) -> None:
    okx = [{"posSide": side, "sz": str(size), "bkPx": price, "ts": str(ms)} for size, price, side, ms in events]
    gate = []
    coinglass = []
    for size, price, side, ms in events:
        sign = 1 if side == "long" else -1
        row = {"contract": "BTC_USDT", "size": f"{sign * size * 2}", "order_size": f"{-sign * size}", "left": "0"}
        gate.append(row | {"fill_price": price, "order_price": price, "time": ms // 1000})
        order = {"exchange_name": "BINANCE", "symbol": "BTCUSDT", "base_asset": "BTC", "price": float(price)}
        usd = float(size) * float(price)
        coinglass.append(order | {"usd_value": usd, "side": 2 if side == "long" else 1, "time": ms})
    host.answers = {
        "instruments": okx_answer([instrument(ctVal="0.01", ctMult="10")]),
        "liquidation-orders": okx_orders(okx),
        "contracts": [{"name": "BTC_USDT", "quanto_multiplier": "0.0001", "contract_type": ""}],
        "liq_orders": gate,
        "order": {"code": "0", "data": coinglass},
    }
    of = [(side, float(price), float(size) * float(price)) for size, price, side, _ in events]
    assert seen(Okx(host.url).liquidations("BTC-USDT", since_ms=None)) == [(s, p, usd * 0.1) for s, p, usd in of]
    assert seen(Gate(host.url).liquidations(["BTC"], since_ms=None)) == [(s, p, usd * 0.0001) for s, p, usd in of]
    assert seen(CoinGlass(host.url, "k").liquidations("Binance", "BTC", since_ms=None)) == of


def gate_row(**changes: str) -> dict[str, Any]:
    row = {"contract": "BTC_USDT", "size": "2", "order_size": "-2", "left": "0", "fill_price": "50000"}
    return row | {"time": AT // 1000} | changes


@pytest.mark.parametrize(
    ("changes", "sides", "unreadable"),
    [
        ({}, ["long"], 0),
        ({"size": "0.5", "order_size": "-0.5"}, ["long"], 0),
        ({"size": "-3", "order_size": "3"}, ["short"], 0),
        ({"order_size": "-2", "left": "-2"}, [], 0),  # nothing was filled
        ({"order_size": "-3", "left": "-2"}, ["long"], 0),
        ({"size": "0"}, [], 1),
        ({"order_size": "-2", "left": "-3"}, [], 1),
        ({"fill_price": "1e13"}, [], 1),
        ({"contract": "XAU_USDT"}, [], 0),
    ],
)
def test_gate_rows_one_by_one(host: Canned, changes: dict[str, str], sides: list[str], unreadable: int) -> None:
    host.answers = {
        "contracts": [{"name": "BTC_USDT", "quanto_multiplier": "1", "contract_type": ""}],
        "liq_orders": [gate_row(**changes)],
    }
    found = Gate(host.url).liquidations(["BTC"], since_ms=None)
    assert ([event.side for event in found.rows], len(found.unreadable)) == (sides, unreadable)


def test_gate_a_full_page_that_reaches_back_exactly_has_no_gap(host: Canned) -> None:
    host.answers["contracts"] = [{"name": "BTC_USDT", "quanto_multiplier": "1"}]
    oldest = int(time.time() - 600) * 1000
    host.answers["liq_orders"] = [gate_row(contract="ETH_USDT") | {"time": oldest // 1000}] * 1000
    gate = Gate(host.url)
    assert gate.liquidations(["BTC"], since_ms=oldest).gap_from is None
    assert gate.liquidations(["BTC"], since_ms=oldest - 1).gap_from == oldest


@pytest.mark.parametrize("venue", [Okx, Gate])
def test_contracts_of_which_none_can_be_read_are_a_source_that_is_down(host: Canned, venue: Any) -> None:
    host.answers = {"instruments": okx_answer([{}]), "contracts": [{}], "liq_orders": []}
    with pytest.raises(SourceError, match="no contract could be read"):
        venue(host.url).liquidations(["BTC"] if venue is Gate else "BTC-USDT", since_ms=None)


def test_okx_more_than_a_page_of_one_instant_does_not_hide_what_was_before(host: Canned) -> None:
    details = [{"posSide": "long", "sz": f"{n + 1}", "bkPx": "9", "ts": f"{AT + 5}"} for n in range(150)]
    details += [{"posSide": "short", "sz": "7", "bkPx": "9", "ts": f"{AT}"}]

    def page(request: Request) -> Any:
        after = int(str(request.params.get("after", AT * 2)))
        return okx_orders([row for row in details if int(row["ts"]) < after][:100])

    host.answers = {"instruments": okx_answer([instrument()]), "liquidation-orders": page}
    found = Okx(host.url).liquidations("BTC-USDT", since_ms=AT - 1)
    assert [event.at_ms for event in found.rows if event.side == "short"] == [AT]
    assert found.gap_from is None


def test_okx_is_asked_for_one_page_when_nothing_must_be_covered(host: Canned) -> None:
    details = [{"posSide": "long", "sz": f"{n + 1}", "bkPx": "9", "ts": f"{AT + n}"} for n in range(100)]
    host.answers = {"instruments": okx_answer([instrument()]), "liquidation-orders": okx_orders(details)}
    host.requests.clear()
    assert len(Okx(host.url).liquidations("BTC-USDT", since_ms=None).rows) == 100
    assert sum(request.path.endswith("liquidation-orders") for request in host.requests) == 1


def test_many_rows_of_which_none_can_be_read_are_a_source_that_is_down(host: Canned) -> None:
    host.answers = {"instruments": okx_answer([instrument()]), "liquidation-orders": okx_orders([{}] * 10)}
    with pytest.raises(SourceError, match="rows in an unknown shape"):
        Okx(host.url).liquidations("BTC-USDT", since_ms=None)
    host.answers["liquidation-orders"] = okx_orders([{}] * 9)
    assert Okx(host.url).liquidations("BTC-USDT", since_ms=None).rows == []


# Funding


@settings(max_examples=MANY, deadline=None)
@given(
    rate=st.decimals("-0.04", "0.04", places=10),
    hours=st.sampled_from([1, 4, 8]),
    coin=st.text("ABCXYZ1", min_size=1, max_size=9),
)
def test_funding_in_each_venues_own_shape_is_a_fraction_of_its_interval(
    host: Canned, rate: Any, hours: int, coin: str
) -> None:
    following = AT + hours * 3_600_000
    okx = {"instId": f"{coin}-USDT-SWAP", "instType": "SWAP", "fundingRate": str(rate), "fundingTime": str(AT)}
    future = okx | {"instType": "FUTURES"}
    entry: dict[str, Any] = {"exchange": "Bybit", "funding_rate_interval": hours, "funding_rate": float(rate) * 100}
    entry["next_funding_time"] = following
    host.answers = {
        "instruments": okx_answer([instrument()]),
        "funding-rate": okx_answer([okx | {"nextFundingTime": str(following)}, future]),
        "info": [
            {"universe": [{"name": coin}, {"name": "OLD", "isDelisted": True}]},
            [{"funding": str(rate)}, {"funding": None}],
        ],
        "exchange-list": {
            "code": "0",
            "data": [{"symbol": coin, "stablecoin_margin_list": [entry, entry | {"exchange": "dYdX"}]}],
        },
    }
    for venue, length in ((Okx(host.url), hours), (Hyperliquid(host.url), 1), (CoinGlass(host.url, "k"), hours)):
        found = venue.rates()
        (read,) = found.rows
        assert (read.symbol, read.hours, not found.unreadable) == (coin, length, True)
        assert read.next_ms == {"OKX": AT, "Hyperliquid": 0}.get(read.venue, following)
        assert read.rate == pytest.approx(float(rate), abs=1e-12)
        assert read.eight_hours == pytest.approx(float(rate) * 8 / length, abs=1e-12)
        assert abs(read.at_ms - time.time() * 1000) < 60_000
        venue.close()


def test_open_interest_in_each_venues_own_shape_is_coins_and_dollars(host: Canned) -> None:
    swap = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "oi": "2660239.59", "oiCcy": "26602.39", "ts": f"{AT}"}
    wrong = [swap | {"oiCcy": "-1"}, swap | {"oiUsd": "NaN"}, {name: swap[name] for name in ("instId", "oi")}, None]
    others = [
        swap | {"instId": "BTC-USD-SWAP"},
        swap | {"instId": "TSLA-USDT-SWAP"},
        swap | {"oi": "0", "oiCcy": "0"},
    ]
    shown = {"funding": "0.0000125", "openInterest": "35818.68", "markPx": "77748.0"}
    thousands = shown | {"openInterest": "5000000.0", "markPx": "0.0101"}
    host.answers = {
        "instruments": okx_answer([instrument()]),
        "open-interest": okx_answer([swap | {"oiUsd": "2433776053.94"}, *wrong, *others]),
        "info": [
            {"universe": [{"name": "BTC"}, {"name": "kPEPE"}, {"name": "OLD", "isDelisted": True}, {"name": "NEW"}]},
            [shown, thousands, shown, shown | {"openInterest": "0.0"}],
        ],
    }
    okx, hyperliquid = Okx(host.url), Hyperliquid(host.url)
    found = okx.interest()
    assert [(one.symbol, one.coins, one.usd) for one in found.rows] == [("BTC", 26602.39, 2433776053.94)]
    assert len(found.unreadable) == len(wrong)
    assert hyperliquid.interest().rows == []
    hyperliquid.rates()
    asked = len(host.requests)
    rows = hyperliquid.interest().rows
    assert [(one.symbol, one.contract, one.coins, round(one.usd)) for one in rows] == [
        ("BTC", "BTC", 35818.68, 2784830733),
        ("PEPE", "kPEPE", 5e9, 50500),
    ]
    assert len(host.requests) == asked, "it came with the rates"
    okx.close()
    hyperliquid.close()


RATE = Rate("OKX", "BTC", "BTC-USDT", 0.0001, 8.0, AT, AT)
EVENT = Liquidation("OKX", "BTC", "long", 5e5, 7e4, AT, "")


@pytest.mark.parametrize("changes", [{}, {"hours": 24.0}, {"rate": -0.99}, {"next_ms": 0}])
def test_a_rate_that_can_be_real_is_kept(changes: dict[str, Any]) -> None:
    rate = RATE._replace(**changes)
    assert checked_rate(rate) is rate


@pytest.mark.parametrize(
    "changes",
    [{"rate": 1.0}, {"rate": float("nan")}, {"hours": 0.0}, {"hours": 24.5}, {"next_ms": 5}, {"symbol": None}],
)
def test_a_rate_that_cannot_be_real_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a usable rate"):
        checked_rate(RATE._replace(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"side": "both"}, {"usd": 0.0}, {"usd": 1e13}, {"price": 0.0}, {"price": 1e13}, {"at_ms": 5}, {"at_ms": AT + 1}],
)
def test_a_liquidation_that_cannot_be_real_is_refused(changes: dict[str, Any]) -> None:
    assert checked_liquidation(EVENT, AT) is EVENT
    with pytest.raises(ValueError, match="not a usable liquidation"):
        checked_liquidation(EVENT._replace(**changes), AT - 60_000)


def test_a_number_is_positive_and_came_as_text() -> None:
    assert number("0.5") == 0.5
    for bad in ("0", "-1", "1e12", "nan", "", 0.5, True, None):
        with pytest.raises((ValueError, TypeError)):
            number(bad)


# Positions


@settings(max_examples=MANY, deadline=None)
@given(
    size=sizes,
    entry=prices,
    side=st.sampled_from([1, -1]),
    leverage=st.integers(1, 50),
    liquidation=st.none() | prices,
)
def test_positions_in_the_venues_own_shape_are_signed_sizes_and_dollars(
    host: Canned, size: Any, entry: str, side: int, leverage: int, liquidation: str | None
) -> None:
    position: dict[str, Any] = {
        "coin": "ETH",
        "szi": str(side * size),
        "entryPx": entry,
        "positionValue": str(size * 2),
    }
    position |= {"leverage": {"type": "cross", "value": leverage}, "liquidationPx": liquidation}
    host.answers = {"info": {"assetPositions": [{"position": position, "type": "oneWay"}], "time": AT}}
    snapshot = Hyperliquid(host.url).positions(WALLET)
    (held,) = snapshot.positions
    assert (held.coin, held.size, held.entry, held.leverage) == ("ETH", float(side * size), float(entry), leverage)
    assert held.price == pytest.approx(2.0)
    assert held.liquidation == float(liquidation or 0)
    assert snapshot.unread == frozenset()


def test_hyperliquid_lists_of_different_length_are_a_source_that_is_down(host: Canned) -> None:
    host.answers = {"info": [{"universe": [{"name": "BTC"}]}, []]}
    with pytest.raises(SourceError, match="unknown shape"):
        Hyperliquid(host.url).rates()


@settings(max_examples=MANY, deadline=None)
@given(size=sizes, price=prices, side=st.sampled_from([1, -1]), action=st.sampled_from([1, 2]))
def test_whale_moves_in_coinglasss_own_shape_are_opened_or_closed_longs_or_shorts(
    host: Canned, size: Any, price: str, side: int, action: int
) -> None:
    row = {"user": WALLET, "symbol": "ETH", "position_size": float(side * size), "entry_price": float(price)}
    row |= {"liq_price": None, "position_value_usd": 2e6, "position_action": action, "create_time": AT}
    host.answers = {"whale-alert": {"code": "0", "msg": "success", "data": [row]}}
    (move,) = CoinGlass(host.url, "k").whale_moves(since_ms=None).rows
    assert (move.opened, move.side) == (action == 1, "long" if side > 0 else "short")
    assert (move.size, move.usd, move.liquidation, move.at_ms) == (float(side * size), 2e6, 0.0, AT)


def test_coinglass_events_of_one_moment_have_keys_of_their_own(host: Canned) -> None:
    row = {"user": WALLET, "symbol": "ETH", "position_size": 5.0, "entry_price": 9.0, "position_value_usd": 2e6}
    rows = [row | {"position_action": action, "create_time": AT} for action in (1, 2)]
    host.answers = {"whale-alert": {"code": "0", "data": rows}}
    assert len({move.key for move in CoinGlass(host.url, "k").whale_moves(since_ms=None).rows}) == 2


def move(**changes: Any) -> dict[str, Any]:
    row = {"user": WALLET, "symbol": "ETH", "position_size": 5.0, "entry_price": 9.0, "position_value_usd": 2e6}
    return row | {"position_action": 1, "create_time": AT} | changes


@pytest.mark.parametrize(
    "changes",
    [{"position_size": 0}, {"position_value_usd": 0}, {"entry_price": -1}, {"create_time": 5}, {"user": ""}],
)
def test_a_whale_move_that_cannot_be_real_is_left_out_and_counted(host: Canned, changes: dict[str, Any]) -> None:
    host.answers = {"whale-alert": {"code": "0", "data": [move(), move(**changes)]}}
    found = CoinGlass(host.url, "k").whale_moves(since_ms=None)
    assert (len(found.rows), len(found.unreadable)) == (1, 1)


def test_whale_moves_of_a_full_answer_that_does_not_reach_back_have_a_gap(host: Canned) -> None:
    host.answers = {"whale-alert": {"code": "0", "data": [move(create_time=AT + n) for n in range(190)]}}
    coinglass = CoinGlass(host.url, "k")
    assert coinglass.whale_moves(since_ms=AT - 1).gap_from == AT
    assert coinglass.whale_moves(since_ms=AT).gap_from is None


def test_coinglass_counts_unreadable_liquidations(host: Canned) -> None:
    host.answers = {"order": {"code": "0", "data": [{"base_asset": "BTC"}]}}
    assert len(CoinGlass(host.url, "k").liquidations("Binance", "BTC", since_ms=None).unreadable) == 1


class WithoutDate(HttpServer):
    """A server that does not say what time it is."""

    def _head(self, answer: Answer) -> bytes:
        return re.sub(rb"Date: [^\r]*\r\n", b"", super()._head(answer))


Asked = Callable[[str], Reading[Rate]]


@pytest.mark.parametrize(
    ("name", "body", "ask"),
    [
        (
            "funding-rate",
            okx_answer(
                [
                    instrument(instId="A-USDT-SWAP", instType="SWAP", fundingRate="0.1", fundingTime=str(AT))
                    | {"nextFundingTime": str(AT + 3_600_000)}
                ]
            ),
            lambda url: Okx(url).rates(),
        ),
        ("info", [{"universe": [{"name": "A"}]}, [{"funding": "0.1"}]], lambda url: Hyperliquid(url).rates()),
    ],
)
def test_a_rate_has_this_machines_time_when_the_venue_does_not_say_its_own(name: str, body: Any, ask: Asked) -> None:
    hub = Hub()
    server = WithoutDate(lambda request: json_answer(body), hub=hub)
    try:
        (rate,) = ask(server.url).rows
    finally:
        hub.closing.set()
        server.offline()
    assert abs(rate.at_ms - time.time() * 1000) < 60_000
