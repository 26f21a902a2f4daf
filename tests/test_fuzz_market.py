"""Whatever a market host answers: a `SourceError` or usable numbers, never another error, never an absurd alert."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import TOKEN
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.wording import headline
from base.config import Settings
from base.kinds import WhaleMin
from simulation.feeds import FEEDS
from simulation.html import parse_html
from simulation.http import Answer, HttpServer, Hub, json_answer
from simulation.market import Market
from simulation.perpetuals import ADDRESS
from simulation.request import Request
from store import Store
from venues.coinglass import CoinGlass
from venues.gate import Gate
from venues.hyperliquid import Hyperliquid
from venues.kraken import Kraken
from venues.okx import Okx
from venues.spot import BinanceSpot, CoinbaseExchange, SpotVenue
from venues.trades import SourceError
from watch.feeds import Context
from watch.whale_monitor import WhaleMonitor

MANY = settings().max_examples
TOO_LARGE = 1e12  # dollars, coins, a price: nothing real comes near

Edit = tuple[float, bool, Any]  # where, taken out, else what stands there instead
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        [],
        {},
        "",
        "NaN",
        "Infinity",
        "-1",
        "1e400",
        "1e-400",
        "0x10",
        "²",
        "1_0",
        "\ud800",
        "<b>&",
    ),
    *(0, -1, 2**63, 2**70, 10**400, 1e308, math.nan, math.inf, -math.inf, "9" * 5000, [[]], {"a": {}}, "buy", "2026"),
)
odd = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    odd,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "data", "result", "error"]), inner)
    ),
    max_leaves=8,
)
edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), odd), min_size=1, max_size=3
)


class Venues:
    """Every feed of the simulator on one server, with the answers spoilt by `edits` or replaced by `instead`."""

    def __init__(self) -> None:
        self._hub = Hub()
        self._market = Market(self._hub)
        self.edits: list[Edit] = []
        self.instead: list[Any] = []
        self._server = HttpServer(self._handle, hub=self._hub)
        self.url = f"http://127.0.0.1:{self._server.port}"
        for venue in ("binance", "coinbase", "kraken"):
            self._market.sweep(venue, "BTC", "buy", usd=2e6, fills=12)
            self._market.sweep(venue, "BTC", "sell", usd=5e4, fills=3)
        perpetuals = self._market.perpetuals
        for venue in ("okx", "gate"):
            perpetuals.liquidate(venue, "BTC", "long", usd=2e6)
            perpetuals.set_rate(venue, "BTC", 0.0001)
        perpetuals.hold(ADDRESS, "BTC", size=10)
        perpetuals.whale_move(ADDRESS, "BTC", size=10, opened=True)
        self.key = perpetuals.coinglass_key

    def _handle(self, request: Request) -> Answer:
        venue, _, path = request.path[1:].partition("/")
        with self._hub.lock:
            answer = FEEDS[venue](self._market, f"/{path}", request)
        if self.instead:
            return json_answer(self.instead[0])
        value: Any = json.loads(answer.body)
        for edit in self.edits:
            value = _spoilt(value, *edit)
        return Answer(answer.status, json.dumps(value).encode(), headers=answer.headers)

    def close(self) -> None:
        self._hub.closing.set()
        self._server.offline()


def _spoilt(value: Any, where: float, removed: bool, instead: Any) -> Any:
    places = [
        (holder, key)
        for holder in _holders(value)
        for key in (holder if isinstance(holder, dict) else range(len(holder)))
    ]
    if not places:
        return copy.deepcopy(instead)
    holder, key = places[int(where * (len(places) - 1))]
    if removed:
        del holder[key]
    else:
        holder[key] = copy.deepcopy(instead)  # a later edit may reach into it
    return value


def _holders(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


@pytest.fixture(scope="module")
def venues() -> Iterator[Venues]:
    venues = Venues()
    yield venues
    venues.close()


def pages(source: SpotVenue) -> list[Callable[[], Any]]:
    known = {"binance": "3000001", "coinbase": "3000001", "kraken": "1:3000001"}[source.name]

    def on() -> Any:
        page = source.page("BTC", known)
        assert source.page("BTC", page.next_cursor).missed >= 0  # a cursor it gave can be used
        return page

    return [
        on,
        lambda: source.head("BTC"),
        lambda: source.page("BTC", source.head("BTC")),
        lambda: source.at("BTC", 1_790_000_000_000),
        lambda: source.volume_usd(["BTC", "ETH"]),
        lambda: source.quotes(["BTC", "ETH"]),
    ]


def questions(venues: Venues) -> dict[str, list[Callable[[], Any]]]:
    """Everything that can be asked of each venue."""
    url = venues.url
    okx, gate, hyperliquid = Okx(f"{url}/okx"), Gate(f"{url}/gate"), Hyperliquid(f"{url}/hyperliquid")
    coinglass, binance = CoinGlass(f"{url}/coinglass", venues.key), BinanceSpot(f"{url}/binance")
    venues._market.give_past(0.1)
    return {
        "binance": [*pages(binance), lambda: binance.bars("BTC", since=int(time.time()) - 3000, until=1 << 31)],
        "coinbase": pages(CoinbaseExchange(f"{url}/coinbase")),
        "kraken": pages(Kraken(f"{url}/kraken")),
        "okx": [
            lambda: okx.families(["BTC", "ETH"]),
            lambda: okx.liquidations("BTC-USDT", since_ms=None),
            lambda: okx.liquidations("BTC-USDT", since_ms=1),
            okx.rates,
            okx.interest,
        ],
        "gate": [lambda: gate.liquidations(["BTC"], since_ms=None), lambda: gate.liquidations(["BTC"], since_ms=1)],
        "hyperliquid": [hyperliquid.rates, hyperliquid.interest, lambda: hyperliquid.positions(ADDRESS)],
        "coinglass": [
            coinglass.rates,
            lambda: coinglass.whale_moves(since_ms=1),
            lambda: coinglass.liquidations("Binance", "BTC", since_ms=1),
        ],
    }


NAMES = ("binance", "coinbase", "kraken", "okx", "gate", "hyperliquid", "coinglass")


@pytest.fixture(scope="module")
def asked(venues: Venues) -> dict[str, list[Callable[[], Any]]]:
    return questions(venues)


def check(value: Any) -> None:
    """Every number in what a source gave is one that could be real, and every text can be written down."""
    if isinstance(value, float):
        assert math.isfinite(value)
        assert abs(value) < 1e37  # a volume may be the product of two odd numbers: the threshold from it has limits
    elif isinstance(value, str):
        value.encode()
    elif is_dataclass(value):
        check([getattr(value, field.name) for field in fields(value)])
    elif isinstance(value, dict):
        check([*value, *value.values()])
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            check(inner)


def ask(questions: list[Callable[[], Any]]) -> None:
    for question in questions:
        try:
            check(question())
        except SourceError as error:
            assert len(str(error)) < 200


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=max(10, MANY // 4), deadline=None)
@given(edits=edits)
def test_a_spoilt_answer_is_a_source_error_or_usable(
    venues: Venues, asked: dict[str, list[Callable[[], Any]]], name: str, edits: list[Edit]
) -> None:
    venues.edits, venues.instead = edits, []
    ask(asked[name])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=max(10, MANY // 5), deadline=None)
@given(answer=anything)
def test_any_json_at_all_is_a_source_error_or_usable(
    venues: Venues, asked: dict[str, list[Callable[[], Any]]], name: str, answer: Any
) -> None:
    venues.edits, venues.instead = [], [answer]
    ask(asked[name])


@settings(max_examples=max(10, MANY // 4), deadline=None)
@given(spoilt=st.lists(edits, min_size=2, max_size=3))
def test_the_monitor_outlives_spoilt_answers_and_tells_nothing_absurd(
    venues: Venues, tmp_path_factory: pytest.TempPathFactory, spoilt: list[list[Edit]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("market")
    store = Store(folder / "bot.db")
    venues.edits, venues.instead = [], []
    settings = Settings(token=TOKEN, symbols=("BTC",), whale_min=WhaleMin(1e5))
    spot: list[SpotVenue] = [BinanceSpot(f"{venues.url}/binance"), Kraken(f"{venues.url}/kraken")]
    monitor = WhaleMonitor(Context(settings=settings, store=store), spot)
    try:
        monitor.tick()
        for venues.edits in spoilt:
            venues._market.sweep("binance", "BTC", "buy", usd=2e6, fills=5)
            monitor.tick()
        for alert in store.messages.alerts("whales", "BTC", limit=100):
            assert 1e5 <= alert.usd < 1e10
            assert 0 < alert.price < TOO_LARGE
            parse_html(headline(alert))
    finally:
        store.close()


def test_a_coin_whose_contracts_are_no_list_is_one_unreadable_row(venues: Venues) -> None:
    entry = {"exchange": "Binance", "funding_rate_interval": 8, "funding_rate": 0.01}
    coins = [{"symbol": "BTC", "stablecoin_margin_list": 5.0}, {"symbol": "ETH", "stablecoin_margin_list": [entry]}]
    venues.instead = [{"code": "0", "data": coins}]
    found = CoinGlass(f"{venues.url}/coinglass", venues.key).rates()
    assert [rate.symbol for rate in found.rows] == ["ETH"]
    assert len(found.unreadable) == 1
