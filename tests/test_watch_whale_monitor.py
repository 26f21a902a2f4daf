"""The whale monitor against real feeds over HTTP and a real store; only the clock is the test's."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TOKEN, outgoing
from storekit import path_of

from base import config, text
from base.clock import slot
from base.config import Settings
from base.kinds import WhaleMin
from botapi.storage import StoreError
from simulation.simulator import Simulator
from store import Store
from store.rows import Alert, Chat
from venues import kraken
from venues.availability import SourceHealth
from venues.kraken import Kraken
from venues.spot import BinanceSpot, CoinbaseExchange, SpotVenue, spot_venues
from venues.trades import Page, SourceError
from watch import spot_reader
from watch.feeds import Context
from watch.whale_monitor import WRITE_EVERY, WhaleMonitor

VENUE = "Binance spot"
VENUES = ("binance", "coinbase", "kraken")


class Watch:
    """A monitor, its store, its clock and what it told the owner."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self.sim = sim
        self.store = Store(folder / "bot.db")
        self.store.chats.put(Chat(chat_id=7, added_by=7))
        self.clock = time.time()
        self.notices: list[str] = []
        self.coins_stay = True
        self.write_every = 0.0
        self.published: Callable[[], None] = lambda: None
        self.symbols: tuple[str, ...] = ("BTC",)
        self.whale_min = WhaleMin(1e6)
        self.sources: Callable[[], list[SpotVenue]] = lambda: [
            BinanceSpot(sim.market_url("binance")),
            BinanceSpot(sim.market_url("binance_api"), name="binance_api"),
            CoinbaseExchange(sim.market_url("coinbase")),
            Kraken(sim.market_url("kraken")),
        ]
        self.monitor = self.restart()
        # Every book began two hours ago: what a test adds has to follow in time.
        for venue in VENUES:
            for symbol in ("BTC", "ETH", "SOL"):
                sim.market.trade(venue, symbol, "buy", 77_000, 0.001, at_ms=int((time.time() - 7300) * 1000))

    def restart(self, *symbols: str) -> WhaleMonitor:
        self.symbols = symbols or self.symbols
        settings = Settings(token=TOKEN, symbols=self.symbols, whale_min=self.whale_min)
        context = Context(
            settings=settings,
            store=self.store,
            now=lambda: self.clock,
            published=lambda: self.published(),  # noqa: PLW0108 - tests change it
            notify_owner=self.notices.append,
            no_such_coin=self.no_such_coin,
        )
        self.monitor = WhaleMonitor(context, self.sources(), write_every=self.write_every)
        return self.monitor

    def no_such_coin(self, coin: str) -> bool:
        self.notices.append(coin)
        return self.coins_stay

    def tick(self, *, after: float = 0.0) -> None:
        self.clock += after
        self.monitor.tick()

    def whale(
        self, usd: float = 2e6, *, venue: str = "binance", symbol: str = "BTC", ago: float = 5, **more: Any
    ) -> None:
        at_ms = int((time.time() - ago) * 1000)
        self.sim.market.sweep(venue, symbol, "buy", usd=usd, at_ms=at_ms, **more)

    def asked(self, venue: str) -> int:
        """How often for trades: a bar that has just ended may be asked for besides."""
        return sum(call.venue == venue and "klines" not in call.path for call in self.sim.market.calls)

    @property
    def alerts(self) -> list[Alert]:
        return self.store.messages.alerts("whales", limit=100)[::-1]

    @property
    def told(self) -> list[str]:
        """Texts that wait to be sent."""
        return [str(delivery.payload["text"]) for delivery in outgoing(self.store, now=self.clock)]

    def health(self, source: str = "binance") -> SourceHealth:
        return next(health for health in self.monitor.feeds.health() if health.source == source)

    def fail(self, *markets: str, kind: str = "status", code: int = 503, **fault: Any) -> None:
        for market in markets or ("binance", "binance_api", "coinbase", "kraken"):
            self.sim.fault(market=market, kind=kind, code=code, **fault)


@pytest.fixture
def watch(sim: Simulator, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(sim, tmp_path)
    yield watch
    watch.store.close()


# Whales


def test_the_first_run_alerts_nothing_that_was_there_before(watch: Watch) -> None:
    watch.whale()
    watch.tick()
    watch.tick(after=15)
    assert watch.alerts == []
    watch.whale()
    watch.tick(after=15)
    assert len(watch.alerts) == 1


def test_a_whale_of_forty_fills_over_two_pages_is_one_alert_with_side_usd_and_vwap(watch: Watch) -> None:
    watch.tick()
    now = int(time.time() * 1000)
    for number in range(985):
        watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=now - 8000 + number)
    fills = watch.sim.market.sweep("binance", "BTC", "sell", usd=2_400_000, fills=40, at_ms=now - 5000, span_ms=60)
    watch.tick(after=15)
    (alert,) = watch.alerts
    assert (alert.side, alert.venue, alert.late) == ("sell", VENUE, False)
    assert math.isclose(alert.usd, 2_400_000, rel_tol=1e-6)
    assert math.isclose(alert.price, 2_400_000 / sum(fill.quantity for fill in fills), rel_tol=1e-6)
    assert alert.at_ms == now - 4940
    first, last = fills[0].price, fills[-1].price
    moved = f"{text.price(first, beside=last)} → {text.price(last, beside=first)}"
    assert alert.facts == f"40 fills in 0.06 s · price {moved}"
    assert alert.headline == f"BTC sell 2.4M USD at {text.price(alert.price)}"
    assert alert.key == f"{VENUE}:BTC:{fills[0].id}"
    assert alert.url.startswith("https://")
    assert len(watch.told) == 1
    assert "BTC sell 2.4M USD" in watch.told[0]


def test_a_restart_in_the_middle_of_an_order_counts_no_trade_twice_into_the_bars(watch: Watch) -> None:
    watch.tick()
    watch.whale(1.2e6, ago=0, fills=20)  # still open: a restart reads it again
    watch.tick()
    counted = sum(bar.buy_usd for bar in watch.store.markets.bars("BTC", since=watch.clock - 3600))
    assert counted == pytest.approx(1.2e6)
    watch.restart()
    watch.whale(3e5, ago=0, fills=1)
    watch.tick()
    counted = sum(bar.buy_usd for bar in watch.store.markets.bars("BTC", since=watch.clock - 3600))
    assert counted == pytest.approx(1.5e6)


def fills_of(alert: Alert) -> int:
    return int(alert.facts.split(" ")[0])


def test_one_fill_at_one_price_claims_no_range_and_no_duration(watch: Watch) -> None:
    watch.tick()
    watch.whale(fills=1)
    watch.tick()
    watch.tick()
    (alert,) = watch.alerts
    assert alert.facts == "1 fill"


def open_whale(watch: Watch, usd: float, fills: int) -> int:
    """Fills of this very moment: nothing can close them yet."""
    now = int(time.time() * 1000)
    watch.sim.market.sweep("binance", "BTC", "buy", usd=usd, fills=fills, at_ms=now)
    return now


def test_a_whale_across_two_ticks_is_one_alert(watch: Watch) -> None:
    watch.tick()
    now = open_whale(watch, 1.2e6, 20)
    watch.tick(after=15)
    assert watch.alerts == []
    watch.sim.market.sweep("binance", "BTC", "buy", usd=1.2e6, fills=20, at_ms=now)
    watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=now + 2000)
    watch.tick(after=15)
    assert [(fills_of(alert), round(alert.usd)) for alert in watch.alerts] == [(40, 2_400_000)]


def test_a_restart_in_the_middle_of_an_open_order_loses_and_doubles_nothing(watch: Watch) -> None:
    watch.tick()
    now = int(time.time() * 1000)
    market = watch.sim.market
    # A sell that ends, and a buy that began in its midst and is still open when the process dies.
    buys = [(30 + 90 * number, "buy", 2e5) for number in range(11)]
    sells = [(0, "sell", 5e5), (0, "sell", 5e5), (60, "sell", 5e5), (60, "sell", 7e5)]
    for at, side, usd in sorted(buys + sells):
        market.sweep("binance", "BTC", side, usd=usd, fills=1, at_ms=now + at)
    watch.tick(after=15)
    assert [alert.side for alert in watch.alerts] == ["sell"]
    for _ in range(2):
        watch.restart()
        watch.tick(after=15)
    watch.restart()
    market.sweep("binance", "BTC", "buy", usd=2e5, fills=1, at_ms=now + 950)
    market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=now + 5000)
    watch.tick(after=15)
    watch.restart()
    watch.tick(after=15)
    found = [(alert.side, fills_of(alert), round(alert.usd)) for alert in watch.alerts]
    assert found == [("sell", 4, 2_200_000), ("buy", 12, 2_400_000)]


def test_a_failed_commit_is_read_again(watch: Watch) -> None:
    watch.tick()
    watch.whale()
    other = sqlite3.connect(path_of(watch.store))
    other.execute("CREATE TRIGGER full BEFORE INSERT ON cursors BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.commit()
    with pytest.raises((StoreError, sqlite3.Error)):
        watch.tick(after=15)
    other.execute("DROP TRIGGER full")
    other.commit()
    other.close()
    watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert len(watch.told) == 1, "what was kept before the failure is not told again"


def test_an_alert_that_could_not_be_stored_is_found_again(watch: Watch) -> None:
    watch.tick()
    watch.whale()
    other = sqlite3.connect(path_of(watch.store))
    other.execute("CREATE TRIGGER full BEFORE INSERT ON alerts BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.commit()
    with pytest.raises((StoreError, sqlite3.Error)):
        watch.tick(after=15)
    other.execute("DROP TRIGGER full")
    other.commit()
    other.close()
    assert watch.alerts == []
    watch.tick(after=15)
    assert len(watch.alerts) == 1


def test_an_outage_is_told_once_though_the_cursors_after_it_could_not_be_kept(watch: Watch) -> None:
    watch.tick()
    stored_long_ago(watch, 2, "BTC")
    watch.restart()
    other = sqlite3.connect(path_of(watch.store))
    other.execute("CREATE TRIGGER full BEFORE INSERT ON cursors BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.commit()
    for _ in range(3):
        with pytest.raises((StoreError, sqlite3.Error)):
            watch.tick(after=15)
    other.execute("DROP TRIGGER full")
    other.commit()
    other.close()
    watch.tick(after=15)
    assert len([line for line in watch.told if line.startswith("Missed")]) == 1
    assert len(watch.store.markets.gaps(since=0)) == 1


def test_alerts_of_several_coins_are_delivered_in_time_order(watch: Watch) -> None:
    watch.restart("BTC", "ETH", "SOL")
    watch.tick()
    watch.whale(ago=20)
    watch.whale(symbol="ETH", ago=40)
    watch.whale(symbol="SOL", ago=30)
    watch.tick(after=15)
    assert [message.split()[1] for message in watch.told] == ["ETH", "SOL", "BTC"]


def test_a_backlog_beyond_twenty_pages_goes_on_at_the_next_tick(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log tells how far it is: with no time between two lines here, a line for each page."""
    monkeypatch.setattr(spot_reader, "PROGRESS_EVERY", 0.0)
    caplog.set_level(logging.INFO)
    watch.tick()
    now = int(time.time() * 1000)
    for number in range(20_500):
        watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.0001, at_ms=now - 30_000 + number)
    watch.whale()
    before = watch.asked("binance")
    watch.tick(after=15)
    assert watch.asked("binance") - before == 20
    assert watch.alerts == []
    assert caplog.text.count("Catching up: BTC on Binance spot is read up to") == 19
    assert "Caught up" not in caplog.text
    watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert caplog.text.count("Caught up with the markets after") == 1


# Thresholds


def test_a_chat_with_a_lower_threshold_hears_of_what_others_do_not(watch: Watch) -> None:
    watch.store.chats.put(Chat(chat_id=8, added_by=8, thresholds={"whales": {"BTC": 50_000.0}}))
    watch.tick()
    watch.whale(60_000)
    watch.tick(after=15)
    assert [round(alert.usd) for alert in watch.alerts] == [60_000]
    assert [chat for _, chat, _ in watch.store.pending()] == [8]


def test_automatic_thresholds_come_from_the_volume_and_survive_a_restart(watch: Watch) -> None:
    watch.whale_min = WhaleMin(None, {"ETH": 3e6})
    watch.restart("BTC", "ETH")
    assert watch.monitor.default_threshold("BTC") == 1e6
    watch.sim.market.volumes["BTC"] = 4e9
    watch.tick()
    assert watch.monitor.default_threshold("BTC") == pytest.approx(2e6)
    assert watch.monitor.default_threshold("ETH") == 3e6
    watch.sim.market.volumes["BTC"] = 6e9
    watch.restart()
    watch.tick(after=3600)
    assert watch.monitor.default_threshold("BTC") == pytest.approx(2e6)
    watch.tick(after=86400)
    assert watch.monitor.default_threshold("BTC") == pytest.approx(3e6)


def test_a_failing_volume_costs_no_alert_and_is_not_asked_for_at_every_tick(watch: Watch) -> None:
    watch.whale_min = WhaleMin(None)
    watch.restart()
    watch.fail("binance", path="ticker")
    watch.tick()
    watch.whale()
    for _ in range(5):
        watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert sum("ticker" in call.path for call in watch.sim.market.calls) == 1
    assert watch.health().state == "ok"


# Sources that fail


def test_a_short_failure_keeps_the_cursor_and_loses_nothing(watch: Watch) -> None:
    watch.tick()
    for kind in ("html", "garbage200", "null", "not_ok_without_fields", "close"):
        watch.sim.clear_faults()
        watch.whale()
        watch.fail("binance", kind=kind)
        watch.tick(after=15)
        assert watch.health().state == "resting", kind
        watch.sim.clear_faults()
        watch.tick(after=15)
        assert watch.health().state == "ok", kind
    assert len(watch.alerts) == 5
    assert watch.asked("coinbase") == watch.asked("binance_api") == 0


@pytest.mark.parametrize(
    ("kind", "a_tick"), [("garbage200", 3), ("status", 3), ("close", 3), ("reset", 3), ("hang", 1)]
)
def test_a_source_that_fails_is_asked_again_every_five_seconds(watch: Watch, kind: str, a_tick: int) -> None:
    """Each coin once, where there is an answer at all."""
    patience = 0.1 if kind == "hang" else 10.0  # seconds; what is answered at once is not cut short on a busy machine
    watch.sources = lambda: [BinanceSpot(watch.sim.market_url("binance"), deadline=patience)]
    watch.restart("BTC", "ETH", "SOL")
    watch.fail("binance", kind=kind)
    asked = []
    for second in range(12):
        before = watch.asked("binance")
        watch.tick(after=1 if second else 0)
        asked += [second] * (watch.asked("binance") - before)
    assert asked == sorted([0, 5, 10] * a_tick)


@pytest.mark.parametrize("kind", ["garbage200", "status", "close", "html502", "null"])
def test_a_source_back_after_a_minute_of_trouble_is_read_at_the_next_interval(watch: Watch, kind: str) -> None:
    watch.tick()
    watch.whale()
    watch.fail("binance", kind=kind)
    for _ in range(4):
        watch.tick(after=15)
    assert watch.health().state == "resting"
    watch.sim.clear_faults()
    watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert watch.health().state == "ok"


@pytest.mark.parametrize(("code", "rest"), [(418, 300), (429, 60), (403, 3600), (451, 3600)])
def test_a_host_that_refuses_is_left_alone_for_long(watch: Watch, code: int, rest: int) -> None:
    watch.restart("BTC", "ETH")
    watch.tick()
    watch.sim.fault(market="binance", kind="html", code=code)
    asked = watch.asked("binance")
    watch.tick(after=15)
    assert watch.asked("binance") == asked + 1
    watch.tick(after=rest - 1)
    assert watch.asked("binance") == asked + 1
    watch.tick(after=1)
    assert watch.asked("binance") == asked + 2


def test_the_next_host_is_read_after_two_minutes_and_the_preferred_one_when_it_heals(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch.tick()
    watch.fail("binance", "binance_api")
    for _ in range(7):
        watch.tick(after=15)
    assert watch.asked("coinbase") == 0
    watch.tick(after=15)
    watch.tick(after=15)
    assert watch.health("coinbase").symbols == ("BTC",)
    watch.whale(venue="coinbase")
    watch.whale()
    watch.tick(after=15)
    assert [alert.venue for alert in watch.alerts] == ["Coinbase"]
    watch.sim.clear_faults()
    watch.tick(after=300)
    assert sorted(alert.venue for alert in watch.alerts) == [VENUE, "Coinbase"]
    assert watch.health().state == "ok"
    assert watch.health("coinbase").state == "unused"
    assert watch.notices == []
    lines = [record.getMessage() for record in caplog.records if "127.0.0.1" in record.getMessage()]
    assert len([line for line in lines if "is failing" in line]) == 2
    assert len([line for line in lines if "answers again" in line]) == 1
    assert len([line for line in lines if "Now reading BTC from" in line]) == 2


def test_a_source_that_refuses_this_place_is_left_at_once_and_asked_again_after_an_hour(watch: Watch) -> None:
    watch.tick()
    watch.fail("binance", code=451)
    watch.whale()
    watch.tick(after=15)
    assert len(watch.alerts) == 1  # the other host of the same venue goes on at the same cursor
    assert watch.health().state == "blocked"
    assert watch.health("binance_api").symbols == ("BTC",)
    asked = watch.asked("binance")
    for _ in range(10):
        watch.tick(after=300)
    assert watch.asked("binance") == asked
    assert len(watch.notices) == 1
    assert "HTTP 451" in watch.notices[0]
    watch.sim.clear_faults()
    watch.tick(after=700)
    assert watch.health().symbols == ("BTC",)
    assert watch.health("binance_api").state == "unused"


def test_retry_after_is_obeyed(watch: Watch) -> None:
    watch.tick()
    watch.fail("binance", kind="retry_after", retry_after=40, times=1)
    watch.tick(after=15)
    asked = watch.asked("binance")
    watch.tick(after=39)
    assert watch.asked("binance") == asked
    assert watch.health().state == "resting"
    assert "HTTP 429" in watch.health().reason
    watch.tick(after=1)
    assert watch.asked("binance") == asked + 1
    assert watch.health().state == "ok"


def test_when_no_source_answers_the_owner_hears_once_and_once_more_at_the_end(watch: Watch) -> None:
    watch.restart("BTC", "ETH")
    watch.tick()
    watch.fail()
    for _ in range(60):
        watch.tick(after=15)
    assert len(watch.notices) == 1
    assert "BTC, ETH" in watch.notices[0]
    assert "HTTP 503" in watch.notices[0]
    watch.sim.clear_faults()
    watch.tick(after=400)
    watch.tick(after=15)
    assert len(watch.notices) == 2
    assert "again" in watch.notices[1]


def test_a_coin_nobody_knows_is_told_once_and_disturbs_nothing(watch: Watch) -> None:
    for venue in VENUES:
        watch.sim.market.delisted.add((venue, "ADA"))
    watch.restart("ADA", "BTC")
    watch.tick()
    watch.whale()
    watch.tick(after=15)
    watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert [("ADA" in notice) for notice in watch.notices] == [True]
    assert {health.state for health in watch.monitor.feeds.health()} == {"ok", "unused"}


def test_a_coin_the_first_venue_does_not_know_is_read_from_the_next(watch: Watch) -> None:
    watch.sim.market.delisted.add(("binance", "ADA"))
    watch.sim.market.trade("coinbase", "ADA", "buy", 0.65, 10)
    watch.restart("ADA", "BTC")
    watch.tick()
    watch.whale(venue="coinbase", symbol="ADA")
    watch.tick(after=15)
    assert [alert.venue for alert in watch.alerts] == ["Coinbase"]
    assert watch.health("coinbase").symbols == ("ADA",)


@pytest.mark.parametrize("kind", ["status", "garbage200", "close", "hang"])
def test_one_coin_that_always_fails_does_not_starve_the_others(
    watch: Watch, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watch.sources = lambda: [CoinbaseExchange(watch.sim.market_url("coinbase"), deadline=0.3)]
    watch.restart("BTC", "ETH", "SOL")
    watch.tick()
    watch.fail("coinbase", path="ETH-USD", kind=kind)
    watch.tick(after=15)
    for symbol in ("BTC", "SOL"):
        watch.whale(venue="coinbase", symbol=symbol)
    for _ in range(10):
        watch.tick(after=15)
    assert sorted(alert.symbol for alert in watch.alerts) == ["BTC", "SOL"]
    health = watch.health("coinbase")
    assert (health.state, health.symbols) == ("ok", ("BTC", "SOL"))
    assert "2 coins every 4 s, checked 0 s ago" in health.line(watch.clock)
    assert f", except ETH: {health.except_for[5:]}" in health.line(watch.clock)
    (notice,) = watch.notices
    assert notice.startswith("No source answers for whale orders of ETH, so there are no such alerts now.")
    assert "ETH: " in notice.split("trying.")[1]
    watch.sim.clear_faults()
    watch.whale(venue="coinbase", symbol="ETH")
    watch.tick(after=15)
    assert [alert.symbol for alert in watch.alerts if alert.symbol == "ETH"] == ["ETH"]
    assert len(watch.notices) == 2
    assert caplog.text.count("fails for ETH") == caplog.text.count("answers for ETH again") == 1


def test_one_coin_that_always_fails_is_read_from_the_next_venue_after_two_minutes(watch: Watch) -> None:
    watch.restart("BTC", "ETH")
    watch.tick()
    watch.fail("binance", "binance_api", path="ETHUSDT")
    for _ in range(10):
        watch.tick(after=15)
    watch.whale()
    watch.whale(venue="coinbase", symbol="ETH")
    watch.tick(after=15)
    assert {(alert.symbol, alert.venue) for alert in watch.alerts} == {("BTC", VENUE), ("ETH", "Coinbase")}


def test_a_host_that_answers_two_questions_at_a_time_reads_every_coin_in_turn(watch: Watch) -> None:
    watch.sources = lambda: [Kraken(watch.sim.market_url("kraken"))]
    watch.restart("BTC", "ETH", "SOL", "XRP")
    watch.sim.market.trade("kraken", "XRP", "buy", 2, 1, at_ms=int((time.time() - 7300) * 1000))
    watch.tick()
    for symbol in watch.symbols:
        watch.whale(venue="kraken", symbol=symbol)
    for _ in range(12):
        watch.sim.clear_faults()
        served = watch.asked("kraken") + 2
        watch.sim.fault(market="kraken", kind="slow_first_byte", seconds=0, times=2)
        watch.sim.fault(market="kraken", kind="status", code=429)
        watch.tick(after=15)
        assert watch.asked("kraken") <= served + 1
    assert len(watch.alerts) == 4


def test_a_host_that_hangs_is_left_at_its_deadline(watch: Watch) -> None:
    watch.sources = lambda: [
        BinanceSpot(watch.sim.market_url("binance"), deadline=0.2),
        CoinbaseExchange(watch.sim.market_url("coinbase")),
    ]
    watch.restart("BTC", "ETH", "SOL")
    watch.fail("binance", kind="hang")
    began = time.monotonic()
    watch.tick()
    assert time.monotonic() - began < 20
    assert watch.health().reason == "timeout"


# What is missing


def test_a_poison_row_is_counted_and_the_whale_beside_it_is_found(watch: Watch) -> None:
    watch.tick()
    watch.sim.market.poison("binance", "BTC", "nan")
    watch.whale()
    watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert watch.health().skipped == 1
    assert "1 unreadable row skipped" in watch.health().line(watch.clock)


def test_trades_missing_by_their_ids_are_counted_noted_and_shown(watch: Watch) -> None:
    watch.tick()
    watch.sim.market.skip_ids("binance", "BTC", 12)
    watch.whale()
    watch.tick(after=15)
    (gap,) = watch.store.markets.gaps(since=0)
    assert (gap.venue, gap.symbol, gap.missed) == (VENUE, "BTC", 12)
    assert gap.start <= gap.end
    assert ", 12 trades missed" in watch.health().line(watch.clock)
    watch.sim.market.skip_ids("binance", "BTC", 5)
    watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001)
    watch.tick(after=15)
    assert watch.health().missed == 17
    assert len(watch.alerts) == 1


def test_a_short_outage_is_made_good_and_marked_late(watch: Watch) -> None:
    watch.tick()
    watch.whale(ago=90)
    watch.restart()
    watch.tick(after=420)
    (alert,) = watch.alerts
    assert alert.late
    assert watch.store.markets.gaps(since=0) == []


def test_while_nothing_is_traded_it_is_noted_every_five_minutes_that_a_coin_was_read(watch: Watch) -> None:
    """A kill then leaves more than four minutes until what was not read becomes a gap."""
    watch.write_every, watch.clock = WRITE_EVERY, slot(watch.clock) + 100
    watch.restart("BTC", "ETH")
    watch.tick()
    ages, notes = list[float](), set[float]()
    for _ in range(120):
        watch.tick(after=10)
        cursors = [watch.store.markets.cursor(VENUE, symbol) for symbol in ("BTC", "ETH")]
        notes |= {cursor.at for cursor in cursors if cursor is not None}
        ages += [watch.clock - cursor.at for cursor in cursors if cursor is not None]
    assert len(ages) == 240
    assert max(ages) <= 330
    assert len(notes) == 5, "the first look, and in each of four slots both coins together"


def stored_long_ago(watch: Watch, hours: float, *symbols: str) -> None:
    for symbol in symbols:
        cursor = watch.store.markets.cursor(VENUE, symbol)
        assert cursor is not None
        watch.store.markets.set_cursor(VENUE, symbol, cursor.text, at=watch.clock - hours * 3600)


def test_after_a_long_outage_ten_minutes_are_replayed_and_one_line_tells_what_was_missed(watch: Watch) -> None:
    watch.restart("BTC", "ETH")
    watch.tick()
    stored_long_ago(watch, 2, "BTC", "ETH")
    watch.whale(1.1e6, ago=1500)
    watch.whale(1.2e6, ago=120)
    watch.whale(1.3e6, ago=5)
    watch.restart()
    watch.tick()
    assert [(round(alert.usd), alert.late) for alert in watch.alerts] == [(1_200_000, True), (1_300_000, False)]
    missed = [line for line in watch.told if line.startswith("Missed")]
    start, end = (text.clock(watch.clock - ago, now=watch.clock) for ago in (7200, 600))
    assert missed == [
        f"Missed {start} to {end} (1 h 50 min). {VENUE} was not read: whale orders from that time are unknown for "
        "BTC, ETH."
    ]
    assert watch.told.index(missed[0]) == 0
    gaps = watch.store.markets.gaps(since=0)
    assert {(gap.symbol, gap.missed) for gap in gaps} == {("BTC", None), ("ETH", None)}
    watch.tick(after=15)
    assert len(watch.store.markets.gaps(since=0)) == 2


def test_a_fallback_begins_where_the_other_venue_was_left_and_calls_nothing_missed(watch: Watch) -> None:
    watch.sources = lambda: [
        BinanceSpot(watch.sim.market_url("binance")),
        Kraken(watch.sim.market_url("kraken")),
    ]
    watch.restart()
    # An old cursor of the fallback, from another day.
    watch.store.markets.set_cursor("Kraken", "BTC", f"{int((watch.clock - 86400) * 1e9)}:1", at=watch.clock - 86400)
    watch.tick()
    watch.whale(venue="kraken", usd=1.1e6, ago=500)
    watch.whale(venue="kraken", usd=1.2e6, ago=-20)
    watch.fail("binance", code=451)
    watch.tick(after=30)
    watch.sim.market.trade("kraken", "BTC", "buy", 77_000, 0.001, at_ms=int((time.time() + 25) * 1000))
    watch.tick(after=15)
    assert [round(alert.usd) for alert in watch.alerts] == [1_200_000]
    assert watch.store.markets.gaps(since=0) == []
    assert not [line for line in watch.told if line.startswith("Missed")]


def test_a_venue_left_for_long_says_that_another_one_was_read(watch: Watch) -> None:
    watch.tick()
    watch.fail("binance", "binance_api")
    for _ in range(60):
        watch.tick(after=30)
    watch.sim.clear_faults()
    watch.tick(after=400)
    (line,) = [line for line in watch.told if line.startswith("Missed")]
    assert line.endswith("Coinbase was read instead.")
    assert VENUE in line


def test_ids_that_begin_anew_do_not_silence_the_feed(watch: Watch) -> None:
    watch.tick()
    cursor = watch.store.markets.cursor(VENUE, "BTC")
    assert cursor is not None
    watch.store.markets.set_cursor(VENUE, "BTC", str(int(cursor.text) + 5000), at=watch.clock)
    watch.restart()
    for _ in range(45):
        watch.tick(after=15)
    watch.whale()
    watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert len(watch.store.markets.gaps(since=0)) == 1


def test_a_quiet_coin_is_not_taken_for_a_broken_one(watch: Watch) -> None:
    watch.tick()
    for _ in range(200):
        watch.tick(after=15)
    watch.whale()
    watch.tick(after=15)
    assert len(watch.alerts) == 1
    assert watch.store.markets.gaps(since=0) == []


# A market that stands still


def test_a_halted_market_is_shown_at_once_by_the_age_of_its_newest_trade(watch: Watch) -> None:
    watch.sim.market.trade("binance", "ETH", "buy", 2500, 1)
    for _ in range(2):
        watch.restart("BTC", "ETH")  # at a first start, and where a cursor is stored
        watch.tick()
        health = watch.health()
        assert (health.state, health.quietest, round(health.silent, -2)) == ("ok", "BTC", 7300)
        assert ", last trade of BTC 2 h 1 min ago" in health.line(watch.clock)
    watch.sim.market.trade("binance", "BTC", "buy", 77_000, 1)
    watch.tick(after=15)
    assert "last trade" not in watch.health().line(watch.clock)


def trades_each_minute(watch: Watch, *, until: float, minutes: int = 20) -> None:
    for minute in range(minutes, -1, -1):
        at_ms = int((time.time() - until - 60 * minute) * 1000)
        watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001, at_ms=at_ms)
        watch.tick(after=1)


def test_a_coin_silent_for_longer_than_its_habit_is_told_once_and_once_when_it_is_traded_again(watch: Watch) -> None:
    watch.tick()
    trades_each_minute(watch, until=1810)
    assert watch.notices == []
    watch.clock += 400  # the age is by the clock of the venue
    for _ in range(5):
        watch.tick(after=15)
    (notice,) = watch.notices
    assert notice.startswith(f"No trade of BTC on {VENUE} for 30 min; at most 1 min is usual.")
    watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.001)
    watch.tick(after=15)
    watch.tick(after=15)
    assert watch.notices[1:] == [f"BTC on {VENUE} is traded again, after 30 min."]


# Health and stopping


def test_health_tells_what_is_used_how_far_it_is_and_what_fails(watch: Watch) -> None:
    watch.tick()
    watch.clock += 12
    lines = [health.line(watch.clock) for health in watch.monitor.feeds.health()]
    assert lines[0].endswith("ok, 1 coin every 2 s, checked 12 s ago, last trade of BTC 2 h 1 min ago")
    assert lines[1].endswith("not needed")
    assert lines[0].startswith("Binance spot: ")
    watch.fail("binance", kind="retry_after", retry_after=40)
    watch.tick()
    line = watch.health().line(watch.clock)
    assert f"resting since {text.clock(watch.clock)}: HTTP 429, next try in 40 s" in line


def test_a_stop_ends_catching_up_before_the_next_page(watch: Watch) -> None:
    class Stopping(BinanceSpot):
        def page(self, symbol: str, cursor: str) -> Page:
            watch.monitor.feeds.stop()
            return super().page(symbol, cursor)

    watch.tick()
    now = int(time.time() * 1000)
    for number in range(2_500):
        watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.0001, at_ms=now - 30_000 + number)
    watch.sources = lambda: [Stopping(watch.sim.market_url("binance"))]
    watch.restart()
    before = watch.asked("binance")
    watch.tick(after=15)
    assert watch.asked("binance") - before == 1


def test_the_place_of_a_first_run_is_kept_also_when_its_first_page_fails(watch: Watch) -> None:
    class Failing(BinanceSpot):
        def page(self, symbol: str, cursor: str) -> Page:
            raise SourceError(self.host, "no page")

    watch.sources = lambda: [Failing(watch.sim.market_url("binance"))]
    watch.restart()
    watch.tick()
    watch.whale()
    watch.sources = lambda: [BinanceSpot(watch.sim.market_url("binance"))]
    watch.restart()
    watch.tick(after=15)
    assert len(watch.alerts) == 1


def test_a_stop_ends_the_tick_before_the_next_request_and_keeps_what_was_read(watch: Watch) -> None:
    watch.tick()
    asked = watch.asked("binance")
    watch.monitor.feeds.stop()
    watch.tick(after=15)
    assert watch.asked("binance") == asked
    assert watch.notices == []


def test_a_first_run_that_only_the_last_source_answers_tells_of_no_outage(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kraken, "SPACING", 0.0)
    for venue in ("binance", "binance_api", "coinbase"):
        sim.fault(market=venue, kind="status", code=451)
    sim.market.trade("kraken", "BTC", "buy", 50_000.0, 0.01)
    names = ("binance", "binance_api", "coinbase", "kraken")
    urls = {f"{name.upper()}_URL": sim.market_url(name) for name in names}
    environ = {"TELEGRAM_BOT_TOKEN": TOKEN, "OWNER_ID": "7", "SYMBOLS": "BTC", **urls}
    loaded = config.load(tmp_path / "no.env", environ=environ)
    store = Store(tmp_path / "bot.db")
    monitor = WhaleMonitor(Context(settings=loaded, store=store), spot_venues(loaded.source_urls))
    for _ in range(3):
        monitor.tick()
    assert any(view.venue == "Kraken" and view.state == "ok" for view in monitor.feeds.health())
    assert store.markets.gaps(since=0.0) == []
    store.close()


def test_a_coin_that_coinbase_knows_as_delisted_is_read_from_the_next_venue(watch: Watch) -> None:
    market = watch.sim.market
    watch.sources = lambda: [
        CoinbaseExchange(watch.sim.market_url("coinbase")),
        Kraken(watch.sim.market_url("kraken")),
    ]
    market.closed_at_coinbase.add("BTC")
    watch.restart("BTC", "ETH")
    watch.tick()
    for symbol, venue in (("BTC", "kraken"), ("ETH", "coinbase")):
        watch.whale(venue=venue, symbol=symbol)
    watch.tick(after=15)
    watch.tick(after=15)
    assert sorted((alert.symbol, alert.venue) for alert in watch.alerts) == [("BTC", "Kraken"), ("ETH", "Coinbase")]
    assert {health.state for health in watch.monitor.feeds.health()} == {"ok"}
    assert watch.notices == []


def test_the_lag_of_a_source_is_that_of_its_slowest_coin(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spot_reader, "PAGES_A_TICK", 1)
    watch.restart("BTC", "ETH")
    watch.tick()
    begun = int((time.time() - 300) * 1000)
    for number in range(1200):
        watch.sim.market.trade("binance", "BTC", "buy", 77_000, 0.0001, at_ms=begun + number)
    watch.tick(after=15)
    assert watch.health().symbols == ("BTC", "ETH")
    assert 300 <= watch.health().lag < 330
    watch.tick(after=15)
    assert watch.health().lag == 0


def test_a_coin_that_is_added_again_before_the_next_look_is_looked_for_and_told_of_again(watch: Watch) -> None:
    watch.coins_stay = False
    watch.restart("BTC", "NOPE")
    watch.tick()
    asked = watch.asked("kraken")
    watch.tick(after=1)
    assert watch.notices == ["NOPE", "NOPE"]
    assert watch.asked("kraken") > asked
    watch.coins_stay = True
    watch.tick(after=1)
    watch.tick(after=1)
    assert watch.notices == ["NOPE"] * 3, "one that stays is told of once"
