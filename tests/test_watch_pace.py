"""How often trades are looked for, and how often what is no news is written."""

from __future__ import annotations

import time

import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from storekit import written
from test_watch_levels import said
from test_watch_whale_monitor import VENUE, Watch, watch  # noqa: F401 - a fixture

from base.worker import GivenUp
from botapi.storage import StoreError
from simulation.account import SimBot
from simulation.simulator import Simulator
from store.levels import Levels
from venues.availability import FORGIVEN_IN, SLOWEST, Health
from venues.kraken import Kraken
from venues.spot import BinanceSpot, CoinbaseExchange, SpotVenue
from venues.trades import BAR_SECONDS, Bar, Page, SourceError
from watch.pace import FASTEST, interval

BINANCE: SpotVenue = BinanceSpot("http://127.0.0.1:1")
COINBASE: SpotVenue = CoinbaseExchange("http://127.0.0.1:1")
KRAKEN: SpotVenue = Kraken("http://127.0.0.1:1")
BAR = time.time() // BAR_SECONDS * BAR_SECONDS - BAR_SECONDS  # one that is over by the clock of the simulator


@given(st.integers(0, 200), st.floats(1, SLOWEST))
def test_a_round_costs_at_most_a_tenth_of_what_binance_and_coinbase_allow(coins: int, slowness: float) -> None:
    seconds = interval({BINANCE: coins}, {BINANCE: slowness})
    assert seconds >= FASTEST
    assert 4 * (coins + 1) / seconds * 60 * slowness <= 600.001 or coins == 0
    seconds = interval({COINBASE: coins}, {COINBASE: slowness})
    assert coins / seconds * slowness <= 1
    assert coins / interval({KRAKEN: coins}, {KRAKEN: slowness}) < 1


def test_ten_coins_are_read_every_four_seconds_and_the_slowest_venue_decides() -> None:
    usual = {BINANCE: 1.0, COINBASE: 1.0, KRAKEN: 1.0}
    assert interval({BINANCE: 10}, usual) == pytest.approx(4.4)
    assert interval({BINANCE: 1}, usual) == FASTEST
    assert interval({BINANCE: 8, COINBASE: 2, KRAKEN: 0}, usual) == pytest.approx(3.6)
    assert interval({BINANCE: 10}, usual | {BINANCE: 2.0}) == pytest.approx(8.8)


def test_a_venue_that_asks_for_fewer_requests_is_asked_half_as_often_each_time_and_forgives_slowly() -> None:
    health = Health("binance", "Binance", "host")
    for number in range(5):
        health.begin_tick()
        health.failed(SourceError("host", "HTTP 429", retry_after=2.0, too_often=True), float(number))
        assert health.slowness(float(number)) == pytest.approx(min(SLOWEST, 2 ** (number + 1)), rel=0.01)
    assert health.slowness(4.0 + FORGIVEN_IN) == pytest.approx(SLOWEST / 2)
    assert health.slowness(4.0 + 3 * FORGIVEN_IN) == 1
    assert health.slowness(-1e6) == pytest.approx(SLOWEST), "a clock put back"


def test_429_and_retry_after_make_the_rounds_rarer_and_a_broken_answer_does_not(watch: Watch) -> None:  # noqa: F811
    watch.tick()
    assert watch.monitor.interval() == FASTEST
    watch.fail("binance", code=500)
    watch.tick(after=2)
    assert watch.monitor.interval() == FASTEST
    watch.sim.clear_faults()
    watch.restart("BTC", "ETH", "SOL", *(f"C{number}" for number in range(7)))
    watch.sim.fault(market="binance", kind="retry_after", retry_after=3)
    watch.tick(after=2)
    assert watch.monitor.interval() == pytest.approx(8.8)
    watch.sim.clear_faults()
    watch.tick(after=60)
    watch.tick(after=1)
    assert " coins every 8.2 s, checked" in watch.health().line(watch.clock)
    watch.sim.clear_faults()


def test_ticks_in_quick_succession_ask_for_one_candle_each_and_rare_ones_for_three(watch: Watch) -> None:  # noqa: F811
    watch.sim.market.give_past(8)
    watch.restart("BTC", "ETH", "SOL", "BNB", "XRP")

    def asked(*, after: float) -> int:
        before = len(watch.sim.market.calls)
        watch.tick(after=after)
        return sum("klines" in call.path for call in watch.sim.market.calls[before:])

    assert [asked(after=after) for after in (0, 4, 4, 60, 4)] == [3, 1, 1, 3, 1]


def test_without_a_setting_the_interval_follows_from_the_coins_and_is_shown(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    run_bot(WHALE_INTERVAL="auto", SYMBOLS="BTC,ETH,SOL,BNB,XRP,DOGE,ADA,AVAX,LINK,TON").wait_output("every 4.4 s")
    shown = "10 coins every 4.4 s, checked"
    sim.wait(lambda: shown in said(chat, "/status", "Running for"), what="a status after the first look")


def test_trades_that_are_no_news_are_written_every_fifteen_seconds(watch: Watch) -> None:  # noqa: F811
    watch.clock = BAR + 100
    watch.write_every = 15
    watch.restart()
    watch.tick()

    def changes_after(seconds: float) -> bool:
        before = written(watch.store)
        watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=int(watch.clock * 1000))
        watch.tick(after=seconds)
        return written(watch.store) > before

    assert changes_after(1), "the first trade of a bar"
    assert [changes_after(4) for _ in range(5)] == [False, False, False, True, False]


def test_what_was_not_written_yet_is_read_again_after_a_kill_and_counted_once(watch: Watch) -> None:  # noqa: F811
    watch.clock = BAR + 100
    watch.write_every = 15
    watch.restart()
    watch.tick()
    for number in range(10):
        watch.sim.market.trade("binance", "BTC", "buy", 77_000 + number, 0.001, at_ms=int(watch.clock * 1000))
        watch.tick(after=4)
        if number % 3 == 0:
            watch.restart()
    watch.restart()
    watch.tick(after=4)
    watch.tick(after=20)
    assert _bar(watch).buy_usd == pytest.approx(77_004.5 * 0.01)


def test_when_a_search_of_the_store_fails_the_page_is_counted_once(
    watch: Watch,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch.clock = BAR + 100
    watch.tick()

    def fails(*_: object, **__: object) -> None:
        raise StoreError("the connection is lost")

    watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=int(watch.clock * 1000))
    with monkeypatch.context() as broken, pytest.raises(StoreError):
        broken.setattr(Levels, "within", fails)
        watch.tick(after=4)
    watch.tick(after=4)
    assert _bar(watch).buy_usd == pytest.approx(77.0)


def test_what_a_thread_read_that_was_given_up_is_written_by_the_next(
    watch: Watch,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch.restart("BTC", "ETH")
    watch.tick()
    watch.whale(ago=40)
    ask = BinanceSpot.page

    def hangs(venue: BinanceSpot, symbol: str, cursor: str) -> Page:
        if symbol == "ETH":
            raise GivenUp
        return ask(venue, symbol, cursor)

    with monkeypatch.context() as broken, pytest.raises(GivenUp):
        broken.setattr(BinanceSpot, "page", hangs)
        watch.tick(after=4)
    assert (len(watch.monitor._reader.batch.orders), watch.alerts) == (1, [])
    watch.monitor._read_all({})
    assert len(watch.alerts) == 1


def test_a_coin_that_always_fails_has_nothing_written_more_often(watch: Watch) -> None:  # noqa: F811
    watch.clock = BAR + 100
    watch.write_every = 15
    watch.restart("BTC", "ETH")
    watch.fail("binance", path="ETHUSDT", code=500)
    changes = []
    for _ in range(8):
        before = written(watch.store)
        watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=int(watch.clock * 1000))
        watch.tick(after=4)
        changes.append(written(watch.store) > before)
    assert sum(changes[2:]) <= 2, changes


def test_a_fresh_alert_is_stored_and_sent_before_the_next_coin_is_read(watch: Watch) -> None:  # noqa: F811
    asked: list[int] = []
    watch.restart("BTC", "ETH", "SOL")
    watch.tick()
    watch.published = lambda: asked.append(watch.asked("binance"))
    watch.whale(ago=3)
    before = watch.asked("binance")
    watch.tick(after=4)
    assert len(watch.alerts) == 1
    assert asked[0] - before < watch.asked("binance") - before, "others were read after it"


def test_an_order_that_may_go_on_is_looked_at_sooner_and_nothing_else_is(watch: Watch) -> None:  # noqa: F811
    watch.restart("BTC", "ETH", "SOL")
    watch.tick()
    watch.monitor.look_again()
    before = watch.asked("binance")
    watch.monitor.look_again()
    assert watch.asked("binance") == before, "no order is open"
    watch.whale(ago=0)
    watch.tick(after=4)
    assert (list(watch.monitor.unfinished()), watch.alerts) == (["BTC"], [])
    before = len(watch.sim.market.calls)
    watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=int(time.time() * 1000) + 500)
    watch.monitor.look_again()
    assert len(watch.alerts) == 1
    assert {call.params["symbol"] for call in watch.sim.market.calls[before:]} == {"BTCUSDT"}
    assert watch.store.markets.read_since("BTC", watch.clock - 1) == [VENUE]


def _bar(watch: Watch) -> Bar:  # noqa: F811
    bar = watch.store.markets.one_bar("BTC", since=BAR)
    assert bar is not None
    return bar
