"""The bars that the bot did not see itself: a week of every coin minutes after the first start, and of outages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TOKEN

from base.config import Settings
from base.kinds import WhaleMin
from simulation.market import COINS, MarketCall
from simulation.simulator import Simulator
from store import Store
from store.levels import Level
from store.rows import Chat
from venues.spot import BinanceSpot, CoinbaseExchange
from venues.trades import Bar, SourceError
from watch import whale_monitor
from watch.candles import A_TICK
from watch.feeds import Context
from watch.whale_monitor import WhaleMonitor

DAY, WEEK = 86400, 7 * 86400
HOUR_AGO = int(time.time() - 3600) // 300 * 300  # a bar begins


class Watch:
    """A whale monitor whose clock begins two minutes after `HOUR_AGO`; every coin has a past until then."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self.sim = sim
        self.store = Store(folder / "bot.db")
        self.clock = HOUR_AGO + 120.0
        sim.market.give_past(8)
        for symbol in COINS:
            sim.market.past[symbol] = [past for past in sim.market.past[symbol] if past.ms < HOUR_AGO * 1000]
            sim.market.trade("binance", symbol, "buy", sim.market.prices[symbol], 0.001, at_ms=HOUR_AGO * 1000)
            sim.market.trade("coinbase", symbol, "buy", sim.market.prices[symbol], 0.001, at_ms=HOUR_AGO * 1000)
        self.coins: list[str] = ["BTC"]
        self.restart()

    def restart(self) -> None:
        context = Context(
            settings=Settings(token=TOKEN, symbols=("BTC",), whale_min=WhaleMin(1e6), whale_interval_seconds=15.0),
            store=self.store,
            now=lambda: self.clock,
            coins=self.coins,
        )
        urls = self.sim.market_url
        venues = BinanceSpot(urls("binance")), CoinbaseExchange(urls("coinbase"))
        self.monitor = WhaleMonitor(context, venues, write_every=0)

    def tick(self, at: float, *, times: int = 1) -> None:
        """Look at the market `at` seconds after HOUR_AGO, and 15 s later again."""
        for number in range(times):
            self.clock = HOUR_AGO + at + number * 15
            self.monitor.tick()

    def buy(self, at: float, usd: float, symbol: str = "BTC", venue: str = "binance") -> None:
        price = self.sim.market.prices[symbol]
        self.sim.market.trade(venue, symbol, "buy", price, usd / price, at_ms=int((HOUR_AGO + at) * 1000))

    def bars(self, since: float, symbol: str = "BTC") -> list[Bar]:
        return self.store.markets.bars(symbol, since=HOUR_AGO + since)

    def bought(self, at: int) -> float:
        return next(bar.buy_usd for bar in self.bars(0) if bar.at == HOUR_AGO + at)

    @property
    def asked(self) -> list[MarketCall]:
        return [call for call in self.sim.market.calls if call.path.endswith("/klines")]


@pytest.fixture
def watch(sim: Simulator, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(sim, tmp_path)
    yield watch
    watch.store.close()


def test_a_week_of_ten_coins_is_complete_within_five_minutes_of_the_first_start(watch: Watch) -> None:
    watch.coins[:] = COINS
    for number in range(10):
        before = len(watch.asked)
        watch.tick(120 + number * 15)
        assert len(watch.asked) - before <= A_TICK
        if number == 3:  # the last day of every coin comes first
            assert [len(watch.bars(-DAY, coin)) for coin in COINS] == [288] * 10
    for coin in COINS:
        found = watch.bars(-WEEK, coin)
        assert [bar.at for bar in found] == list(range(HOUR_AGO - WEEK, HOUR_AGO, 300))
        past = watch.sim.market.past[coin][-1]
        assert found[-1].close == pytest.approx(past.close, abs=1e-8)
        assert (found[-1].buy_usd, found[-1].sell_usd) == pytest.approx((past.bought, past.usd - past.bought))
    watch.tick(280)
    assert len(watch.asked) == 30, "what is complete is not asked for again"


def test_the_first_bar_is_made_whole_and_one_that_was_built_from_trades_stays(watch: Watch) -> None:
    watch.buy(60, 1000)  # before the bot began to read
    watch.tick(120)
    watch.buy(200, 500)
    watch.buy(310, 700)
    watch.tick(312)
    price = watch.sim.market.prices["BTC"]
    seen = watch.bought(0)
    watch.store.markets.add_bars([Bar("BTC", HOUR_AGO + 300, price, price, price, price, 1, 0)])
    watch.tick(620, times=4)
    assert seen == pytest.approx(500)
    assert watch.bought(0) == pytest.approx(1500 + 0.001 * price)
    assert watch.bought(300) == pytest.approx(701), "Binance says 700; what the bot built itself counts"


def test_what_an_outage_left_out_is_filled_with_the_bars_it_began_and_ended_in(watch: Watch) -> None:
    watch.tick(0, times=10)
    for at in (310, 450, 700, 2400 - 590, 2400 + 10):
        watch.buy(at, 1000)
        if at == 310:
            watch.tick(320)  # the last look before the outage
    watch.restart()
    watch.tick(2400, times=2)
    assert len(watch.bars(0)) == 9
    assert [watch.bought(at) for at in (300, 600, 900, 1800)] == pytest.approx([2000, 1000, 0, 1000])
    watch.tick(2720, times=2)
    assert watch.bought(2400) == pytest.approx(1000)


def test_a_price_that_was_touched_in_an_outage_is_told_once_with_its_time(watch: Watch) -> None:
    watch.store.chats.put(Chat(chat_id=7, added_by=7))
    price = watch.sim.market.prices["BTC"]
    set_at = int((HOUR_AGO + 310) * 1000)
    watch.tick(0, times=10)
    watch.tick(320)
    for share in (1.02, 1.05):
        one = Level(chat_id=7, symbol="BTC", price=price * share, state="above", since_ms=set_at)
        watch.store.levels.add(one)
    for at, share in ((700, 1.0), (950, 1.03), (1100, 1.0), (2400 - 590, 1.0)):
        watch.sim.market.trade("binance", "BTC", "buy", price * share, 0.001, at_ms=int((HOUR_AGO + at) * 1000))
    watch.restart()
    watch.tick(2400, times=3)
    (alert,) = watch.store.messages.alerts("prices")
    assert alert.headline.startswith("BTC rose to") and alert.late
    assert alert.at == HOUR_AGO + 900
    assert alert.facts == "in the five minutes from that time, when the bot was not reading"
    assert [level.state for level in watch.store.levels.of_chat(7)] == ["above", "done"]


def test_candles_from_before_a_price_was_set_do_not_touch_it(watch: Watch) -> None:
    watch.store.chats.put(Chat(chat_id=7, added_by=7))
    for share in (0.9, 0.99, 1.01, 1.1):
        price = watch.sim.market.prices["BTC"] * share
        level = Level(chat_id=7, symbol="BTC", price=price).waiting(watch.sim.market.prices["BTC"], now=HOUR_AGO + 60)
        watch.store.levels.add(level)
    watch.tick(120, times=10)
    assert len(watch.bars(-WEEK)) > 2000
    assert watch.store.messages.alerts("prices") == []


def test_a_quiet_coin_has_a_bar_without_volume_where_nothing_was_traded(watch: Watch) -> None:
    watch.tick(120, times=4)
    watch.tick(620, times=2)
    assert [bar.buy_usd + bar.sell_usd for bar in watch.bars(300)] == [0.0]


def test_bars_of_many_quiet_coins_are_asked_for_one_by_one_and_stored_together(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.coins[:] = list(COINS)[:3]
    watch.tick(120, times=6)
    monkeypatch.setattr(whale_monitor, "SELDOM", 1e9)
    found = []
    for number in range(4):
        watch.tick(620 + number * 15)
        found.append(sum(len(watch.bars(300, coin)) for coin in watch.coins))
    assert found == [0, 0, 3, 3]
    watch.restart()
    watch.tick(920)
    watch.restart()  # what was not stored is asked for again
    watch.tick(935, times=3)
    assert [len(watch.bars(600, coin)) for coin in watch.coins] == [1, 1, 1]


def test_a_coin_that_is_added_gets_its_week(watch: Watch) -> None:
    watch.tick(120, times=4)
    watch.coins.append("DOGE")
    watch.tick(180, times=4)
    assert len(watch.bars(-WEEK, "DOGE")) == 2016


def test_a_coin_that_was_listed_yesterday_is_not_asked_for_again_and_again(watch: Watch) -> None:
    watch.sim.market.past["BTC"] = watch.sim.market.past["BTC"][-200:]
    watch.tick(120, times=5)
    watch.tick(420, times=5)
    assert len(watch.bars(-WEEK)) == 201
    assert len(watch.asked) == 3 + 1


def test_another_venue_s_candles_are_not_asked_for(watch: Watch) -> None:
    watch.sim.market.delisted.add(("binance", "BTC"))
    watch.tick(120, times=5)
    assert watch.asked == []


def test_trades_of_two_venues_in_one_bar_are_replaced_by_those_of_one(watch: Watch) -> None:
    watch.tick(120, times=3)
    watch.sim.fault(market="binance", kind="status", code=503)
    watch.tick(200, times=12)  # from 320 on Coinbase is read
    watch.buy(650, 1000)
    watch.buy(650, 5000, venue="coinbase")
    watch.tick(660)
    assert watch.bought(600) == pytest.approx(5000)
    watch.sim.clear_faults()
    watch.tick(700, times=2)
    assert watch.bought(600) == pytest.approx(6000), "Binance is read on from where it failed"
    watch.tick(920, times=2)
    assert watch.bought(600) == pytest.approx(1000)


def test_a_limit_of_the_host_ends_the_questions_and_the_host_rests(watch: Watch) -> None:
    watch.coins[:] = COINS
    watch.sim.fault(market="binance", kind="status", code=429, path="klines", retry_after=60)
    watch.tick(120)
    watch.tick(135)
    assert len(watch.asked) == 1
    assert watch.monitor.feeds.health()[0].state == "resting"


def test_candles_that_fail_are_asked_for_again_when_the_next_bar_is_over(watch: Watch) -> None:
    watch.sim.fault(market="binance", kind="status", code=503, path="klines")
    watch.tick(120, times=8)
    assert len(watch.asked) == 1
    watch.tick(320, times=4)
    assert len(watch.asked) == 2


def test_trades_are_known_since_the_first_start_and_not_since_the_oldest_candle(watch: Watch) -> None:
    watch.tick(120, times=3)
    began = watch.store.markets.trades_from()
    assert began is not None and began >= HOUR_AGO


@pytest.mark.parametrize(
    "spoil",
    [
        {0: None},
        {0: 1},
        {2: "1.0"},
        {1: "NaN"},
        {4: 5.0},
        {10: "1e30"},
        {7: "-1"},
    ],
    ids=str,
)
def test_a_candle_that_cannot_be_right_is_skipped_alone(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, spoil: dict[int, object]
) -> None:
    sim.market.give_past(1)
    venue = BinanceSpot(sim.market_url("binance"))
    since, until = HOUR_AGO - 3000, HOUR_AGO
    good, _ = venue.bars("BTC", since=since, until=until)
    get = venue._http.get

    def spoilt(*arguments: object, **named: object) -> tuple[object, int]:
        rows, clock = get(*arguments, **named)  # type: ignore[arg-type]
        for place, value in spoil.items():
            rows[3][place] = value
        return rows, clock

    monkeypatch.setattr(venue._http, "get", spoilt)
    found, skipped = venue.bars("BTC", since=since, until=until)
    assert (found, skipped) == (good[:3] + good[4:], 1)


def test_candles_in_another_shape_are_an_error(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    venue = BinanceSpot(sim.market_url("binance"))
    monkeypatch.setattr(venue._http, "get", lambda *arguments, **named: ([{"open": 1}] * 10, 0))
    with pytest.raises(SourceError, match="unknown shape"):
        venue.bars("BTC", since=HOUR_AGO, until=HOUR_AGO + 300)


def test_a_candle_that_is_not_over_is_left_out(sim: Simulator) -> None:
    sim.market.trade("binance", "BTC", "buy", 77_000, 0.001)
    venue = BinanceSpot(sim.market_url("binance"))
    now = int(time.time())
    found, _ = venue.bars("BTC", since=now - 600, until=now + 600)
    assert all(bar.at + 300 <= now for bar in found)


def test_a_coin_sold_by_the_thousand_has_the_price_of_one(sim: Simulator) -> None:
    sim.market.prices["1000SATS"], sim.market.volumes["1000SATS"] = 0.0003, 1e6
    sim.market.give_past(1)
    venue = BinanceSpot(sim.market_url("binance"))
    found, _ = venue.bars("SATS", since=HOUR_AGO - 300, until=HOUR_AGO)
    assert found[0].symbol == "SATS"
    assert found[0].close == pytest.approx(3e-7, rel=0.2)
