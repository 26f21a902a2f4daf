"""The spread in /price: one request for all who ask, and an answer without it where the exchange does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import FRIEND, OWNER, Run
from hypothesis import given
from hypothesis import strategies as st

from simulation.account import SimBot
from simulation.simulator import Simulator
from venues.spot import BinanceSpot, CoinbaseExchange, SpotVenue
from venues.trades import Quote
from watch.quotes import FAILED_REST, FRESH, Quotes, line

Make = Callable[..., Quotes]


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(sim: Simulator, clock: Clock) -> Iterator[Make]:
    made: list[Quotes] = []

    def new(venue_of: Callable[[str], SpotVenue | None] | None = None, *, wait: float = 15.0) -> Quotes:
        binance = BinanceSpot(sim.market_url("binance"))
        made.append(Quotes(venue_of or (lambda symbol: binance), monotonic=clock, wait=wait))
        return made[-1]

    yield new
    for quotes in made:
        quotes.stop()
        assert quotes.worker.join(30)


def asked(sim: Simulator) -> list[str]:
    return [str(call.params.get("symbols", "")) for call in sim.market.calls if "ticker" in call.path]


def test_several_coins_are_one_request_and_are_known_for_some_seconds(
    sim: Simulator, make: Make, clock: Clock
) -> None:
    quotes = make()
    sim.market.books["binance", "BTC"] = (67_000.0, 67_000.01)
    assert quotes.of(["BTC", "ETH"])["BTC"] == Quote(67_000.0, 67_000.01)
    sim.market.books["binance", "BTC"] = (68_000.0, 68_000.01)
    clock.time += FRESH - 0.1
    assert quotes.of(["BTC"])["BTC"].bid == 67_000.0
    assert asked(sim) == ['["BTCUSDT","ETHUSDT"]']
    clock.time += 0.1
    assert quotes.of(["BTC"])["BTC"].bid == 68_000.0
    assert len(asked(sim)) == 2


def test_what_many_ask_at_a_time_costs_few_requests(sim: Simulator, make: Make) -> None:
    quotes, found = make(), list[float]()
    askers = [threading.Thread(target=lambda: found.append(quotes.of(["BTC"])["BTC"].bid)) for _ in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(30)
    assert len(found) == 20
    assert len(asked(sim)) == 1


def test_between_two_requests_the_venue_has_its_rest(sim: Simulator, make: Make, clock: Clock) -> None:
    quotes = make()
    quotes.of(["BTC"])
    asking = threading.Thread(target=quotes.of, args=(["ETH"],))
    asking.start()
    sim.wait(lambda: bool(quotes._wanted), what="a coin that is wanted")
    assert quotes.step() == pytest.approx(BinanceSpot.request_seconds)
    assert len(asked(sim)) == 1
    clock.time += BinanceSpot.request_seconds
    quotes.worker.wake()
    asking.join(30)
    assert len(asked(sim)) == 2


@pytest.mark.parametrize("kind", ["status", "garbage200", "reset", "null"])
def test_a_venue_that_fails_gives_none_and_is_left_alone_for_a_while(
    sim: Simulator, make: Make, clock: Clock, kind: str
) -> None:
    quotes = make()
    sim.fault(market="binance", kind=kind, code=503)
    assert quotes.of(["BTC"]) == {}
    sim.clear_faults()
    clock.time += FAILED_REST - 1
    assert quotes.of(["BTC"]) == {}
    assert len(asked(sim)) == 1
    clock.time += FRESH + 1
    assert set(quotes.of(["BTC"])) == {"BTC"}


def test_a_venue_that_wants_to_be_left_alone_gets_the_time_that_it_asked_for(
    sim: Simulator, make: Make, clock: Clock
) -> None:
    quotes = make()
    sim.fault(market="binance", kind="retry_after", retry_after=300)
    assert quotes.of(["BTC"]) == {}
    sim.clear_faults()
    clock.time += 299
    assert quotes.of(["BTC"]) == {}
    clock.time += 2 + FRESH
    assert set(quotes.of(["BTC"])) == {"BTC"}


def test_no_message_waits_long_for_a_venue_that_hangs_and_the_next_ones_not_at_all(
    sim: Simulator, make: Make, clock: Clock
) -> None:
    quotes = make(wait=0.2)
    sim.fault(market="binance", kind="hang")
    message = {"text": "BTC 100", "spread": ["BTC"]}
    assert quotes.filled(message) == {"text": "BTC 100"}
    assert quotes._asking_since is not None
    clock.time += 1.0  # the question has been on its way for longer than a message waits
    assert quotes.filled(message) == {"text": "BTC 100"}
    assert not quotes._wanted, "it did not ask, and so it did not wait"
    sim.clear_faults()


def test_a_stop_ends_the_wait_at_once(sim: Simulator, make: Make) -> None:
    quotes, done = make(wait=1e6), threading.Event()
    sim.fault(market="binance", kind="hang")

    def ask() -> None:
        quotes.of(["BTC"])
        done.set()

    threading.Thread(target=ask, daemon=True).start()
    sim.wait(lambda: bool(asked(sim)), what="a question")
    quotes.stop()
    assert done.wait(30)
    sim.clear_faults()


def test_a_coin_that_no_venue_reads_now_is_asked_of_nobody(sim: Simulator, make: Make) -> None:
    assert make(lambda symbol: None).of(["BTC"]) == {}
    assert asked(sim) == []


def test_each_coin_is_asked_where_it_is_read(sim: Simulator, make: Make) -> None:
    binance, coinbase = BinanceSpot(sim.market_url("binance")), CoinbaseExchange(sim.market_url("coinbase"))
    sim.market.books["coinbase", "BTC"], sim.market.books["binance", "ETH"] = (10.0, 11.0), (2.0, 3.0)
    found = make(lambda symbol: coinbase if symbol == "BTC" else binance).of(["BTC", "ETH"])
    assert found == {"BTC": Quote(10.0, 11.0), "ETH": Quote(2.0, 3.0)}


@pytest.mark.parametrize(
    ("quote", "words"),
    [
        (Quote(67_000.0, 67_000.01), "bid 67,000.00 · ask 67,000.01 · spread under 0.001 %"),
        (Quote(99.5, 100.5), "bid 99.5 · ask 100.5 · spread 1 %"),
        (Quote(2.1996, 2.1998), "bid 2.1996 · ask 2.1998 · spread 0.009 %"),
        (Quote(0.00002213, 0.00002214), "bid 0.00002213 · ask 0.00002214 · spread 0.045 %"),
        (Quote(0.0002213 / 1000, 0.0002214 / 1000), "bid 0.0000002213 · ask 0.0000002214 · spread 0.045 %"),
        (Quote(5.0, 5.0), "bid 5 · ask 5 · spread 0 %"),
    ],
)
def test_bid_and_ask_have_the_exchanges_decimals_and_the_spread_what_matters(quote: Quote, words: str) -> None:
    assert line({"BTC": quote}) == words


def test_of_several_coins_the_spreads_are_shown() -> None:
    found = {"BTC": Quote(67_000.0, 67_000.01), "DOGE": Quote(0.17, 0.1701)}
    assert line(found) == "spread: BTC under 0.001 %, DOGE 0.059 %"
    assert line({}) == ""


@given(st.floats(1e-10, 1e9), st.floats(0, 0.5))
def test_any_quote_can_be_shown(bid: float, share: float) -> None:
    words = line({"BTC": Quote(bid, bid * (1 + share))})
    assert words.startswith("bid ") and words.endswith(" %") and len(words) < 100


# Typed


def test_price_shows_bid_ask_and_spread_and_comes_without_them_when_the_exchange_fails(
    sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    sim.market.start_flow(20, ("BTC", "ETH"))
    sim.market.books["binance", "BTC"] = (76_999.99, 77_000.0)
    run_bot().wait_output("Polling: running")

    def answer(words: str, part: str, *, chat_id: int = OWNER) -> str:
        before = chat.delivered
        chat.send_text(chat_id, words, user_id=chat_id)
        return chat.wait_text(part, chat_id=chat_id, after=before).text

    answer("/start", "Alerts are on")
    ends_at = time.monotonic() + 30
    while "spread" not in (said := answer("/price btc", "BTC")) and time.monotonic() < ends_at:
        pass  # before the first trades are read there is no price, and no spread
    assert said.splitlines()[-1] == "bid 76,999.99 · ask 77,000.00 · spread under 0.001 %"
    assert "spread: BTC " in answer("/price", "BTC")
    before = len(asked(sim))
    assert sim.market.calls and asked(sim)[-1].count("USDT") in (1, 2)
    chat.add_chat(FRIEND)
    assert "spread" in answer("/price BTC", "BTC", chat_id=FRIEND), "also of one who gets no alerts"
    assert len(asked(sim)) <= before + 1
    sim.fault(market="binance", kind="hang", path="bookTicker")
    sim.fault(market="binance_api", kind="hang", path="bookTicker")

    def without() -> bool:
        said = answer("/price ETH", "ETH")
        assert "low" in said
        return "bid" not in said

    ends_at = time.monotonic() + 30
    while not without():
        assert time.monotonic() < ends_at, "an answer from memory is good for some seconds only"
    sim.clear_faults()
