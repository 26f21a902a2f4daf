"""The monitors of liquidations, funding and wallets against feeds over HTTP and a real store; the clock is ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TOKEN
from storekit import written

from base.config import Settings
from base.kinds import WhaleMin
from botapi.storage import StoreError
from simulation.perpetuals import ADDRESS, Perpetuals
from simulation.simulator import Simulator
from store import Store
from store.rows import Alert, Chat
from store.wallets import WatchedWallet
from venues.coinglass import CoinGlass
from venues.gate import Gate
from venues.hyperliquid import Hyperliquid
from venues.okx import Okx
from watch.feeds import Context
from watch.funding_monitor import FundingMonitor
from watch.liquidation_monitor import LiquidationMonitor
from watch.wallet_monitor import WalletMonitor

OTHER = "0x" + "cd" * 20
Monitor = LiquidationMonitor | FundingMonitor | WalletMonitor


class Watch:
    """The monitors, their store and clock, and what they told the owner. `restart` makes them anew."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self.sim = sim
        self.perps: Perpetuals = sim.market.perpetuals
        self.store = Store(folder / "bot.db")
        self.store.chats.put(Chat(chat_id=7, added_by=7))
        self.clock = time.time()
        self.notices: list[str] = []
        self.key = ""
        self.settings: dict[str, Any] = {"liquidation_min": WhaleMin(500_000.0), "liquidation_sum": WhaleMin(2e6)}
        self.restart()

    def restart(self, **settings: Any) -> None:
        self.settings |= settings
        given = Settings(**{"token": TOKEN, "symbols": ("BTC", "ETH")} | self.settings)
        context = Context(
            settings=given,
            store=self.store,
            now=lambda: self.clock,
            notify_owner=self.notices.append,
        )
        url = self.sim.market_url
        okx, gate, hyperliquid = (
            Okx(url("okx"), deadline=2),
            Gate(url("gate"), deadline=2),
            Hyperliquid(url("hyperliquid")),
        )
        glass = CoinGlass(url("coinglass"), self.key, deadline=2) if self.key else None
        self.liquidations = LiquidationMonitor(context, okx, gate, glass)
        self.funding = FundingMonitor(context, okx, hyperliquid, glass)
        self.wallets = WalletMonitor(context, hyperliquid, glass)

    def tick(self, monitor: Monitor, *, after: float = 0.0) -> None:
        self.clock += after
        monitor.tick()

    def away(self, seconds: float) -> None:
        """Nobody looked at any liquidations for so long."""
        for venue, feed in (("OKX", "BTC-USDT"), ("OKX", "BTC-USD"), ("OKX", "ETH-USDT"), ("Gate", "*")):
            if (cursor := self.store.markets.cursor(venue, feed)) is not None:
                read, _, coins = cursor.text.partition(" ")
                moved = f"{int(read) - int(seconds * 1000)} {coins}".rstrip()
                self.store.markets.set_cursor(venue, feed, moved, at=cursor.at - seconds)

    def alerts(self, monitor: str) -> list[str]:
        """The headlines, oldest first."""
        return [alert.headline for alert in self.store.messages.alerts(monitor, limit=100)[::-1]]

    def told(self) -> list[str]:
        waiting = (self.store.delivery(number) for number, _, _ in self.store.pending())
        return [str(delivery.payload.get("text", "")) for delivery in waiting if delivery is not None]

    def liquidate(self, venue: str, side: str, usd: float, *, ago: float = 5, coin: str = "BTC", **more: Any) -> None:
        at_ms = int((time.time() - ago) * 1000)
        self.perps.liquidate(venue, coin, side, usd=usd, price=77_000, at_ms=at_ms, **more)


@pytest.fixture
def watch(sim: Simulator, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(sim, tmp_path)
    yield watch
    watch.store.close()


@pytest.fixture
def keyed(watch: Watch) -> Watch:
    watch.key = watch.perps.coinglass_key
    watch.restart()
    return watch


# Liquidations


def test_what_was_there_at_the_first_look_is_kept_and_makes_no_alert(watch: Watch) -> None:
    watch.liquidate("okx", "long", 3e6)
    watch.liquidate("gate", "short", 3e6)
    watch.tick(watch.liquidations)
    watch.tick(watch.liquidations, after=60)
    assert watch.alerts("liquidations") == []
    assert len(watch.store.markets.liquidations(since=watch.clock - 3600)) == 2


def test_a_large_liquidation_is_told_once_with_its_venue_side_and_dollars(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.liquidate("okx", "long", 625_000)
    watch.liquidate("okx", "short", 499_000)
    watch.liquidate("gate", "short", 800_000)
    watch.liquidate("okx", "long", 700_000, inverse=True)
    for _ in range(3):
        watch.tick(watch.liquidations, after=60)
    assert sorted(watch.alerts("liquidations")) == [
        "BTC long liquidated on OKX: 625k USD at 77,000",
        "BTC long liquidated on OKX: 700k USD at 77,000",
        "BTC short liquidated on Gate: 800k USD at 77,000",
    ]


def test_a_chat_that_wants_smaller_ones_hears_of_them_and_the_others_do_not(watch: Watch) -> None:
    watch.store.chats.put(Chat(chat_id=8, added_by=8, thresholds={"liquidations": {"BTC": 50_000.0}}))
    watch.tick(watch.liquidations)
    watch.liquidate("gate", "short", 60_000)
    watch.tick(watch.liquidations, after=60)
    assert [chat for _, chat, _ in watch.store.pending()] == [8]


def test_a_wave_over_two_venues_is_one_alert_that_grows_and_names_both(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    for ago in (200, 190, 180):
        watch.liquidate("okx", "long", 450_000, ago=ago)
        watch.liquidate("gate", "long", 400_000, ago=ago)
    watch.tick(watch.liquidations, after=60)
    watch.tick(watch.liquidations, after=60)
    assert watch.alerts("liquidations") == ["BTC longs liquidated on Gate and OKX: 2.1M USD in 20 s"]
    for number in range(6):
        watch.liquidate("okx", "long", 450_000, ago=100 - number)
    watch.tick(watch.liquidations, after=60)
    (_, grown) = watch.alerts("liquidations")
    assert grown == "BTC longs liquidated on OKX and Gate: 4.35M USD in 1 min, and growing"
    alert = watch.store.messages.alerts("liquidations", limit=1)[0]
    assert alert.facts.startswith("10 liquidations, the largest 450k") and "up from 2.1M" in alert.facts


def test_ticks_and_restarts_anywhere_tell_the_same(watch: Watch, sim: Simulator, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Watch(sim, tmp_path / "other")
    for each in (watch, other):
        each.tick(each.liquidations)
    for number in range(24):
        watch.liquidate("okx" if number % 3 else "gate", "long", 230_000 + 20_000 * number, ago=280 - 11 * number)
        watch.tick(watch.liquidations, after=2)
        if number % 5 == 0:
            watch.restart()
    other.tick(other.liquidations, after=60)
    assert len(watch.alerts("liquidations")) > 10
    assert sorted(watch.alerts("liquidations")) == sorted(other.alerts("liquidations"))
    other.store.close()


def test_a_wave_is_found_beside_the_first_look_of_another_feed(watch: Watch) -> None:
    """The events of one look count in order of time, whether they are late, new, too old or from a first look."""
    watch.sim.fault(market="gate", kind="status", code=503)
    watch.tick(watch.liquidations)
    watch.sim.clear_faults()
    watch.away(1800)
    for ago in (1200, 700):
        watch.liquidate("okx", "long", 900_000, ago=ago)  # too old
    for ago in (590, 580, 570, 560, 550):
        watch.liquidate("okx", "long", 300_000, ago=ago)  # late
    watch.liquidate("gate", "long", 300_000, ago=575)  # there at the first look of Gate
    watch.liquidate("gate", "long", 3e6, ago=10)  # would close the five minutes if it counted first
    watch.tick(watch.liquidations, after=30)
    assert watch.alerts("liquidations") == ["BTC longs liquidated on OKX and Gate: 2.1M USD in 2 min"]
    assert [told[:23] for told in watch.told() if told] == ["2 large liquidations fr"]


@pytest.mark.parametrize("venue", ["okx", "gate"])
@pytest.mark.parametrize("parts", [1, 25])
def test_a_contract_whose_size_has_changed_makes_no_alert_a_hundred_times_too_large(
    watch: Watch, venue: str, parts: int
) -> None:
    """Neither alone nor as a wave of small ones."""
    watch.tick(watch.liquidations)
    watch.perps.sizes[venue, "BTC"] /= 100
    for number in range(parts):
        watch.liquidate(venue, "long", 50_000 / parts, ago=-1 - number / 10)
    watch.tick(watch.liquidations, after=60)
    assert watch.alerts("liquidations") == []
    assert sum(event.usd for event in watch.store.markets.liquidations(since=0)) == pytest.approx(50_000)


def test_sizes_are_read_again_only_for_what_is_worth_an_alert_and_once_for_it(watch: Watch) -> None:
    def asked() -> int:
        return sum(call.path.endswith(("/instruments", "/contracts")) for call in watch.sim.market.calls)

    watch.tick(watch.liquidations)
    before = asked()
    watch.liquidate("okx", "long", 400_000, ago=-1)
    watch.liquidate("gate", "long", 400_000, ago=-1)
    watch.tick(watch.liquidations, after=60)
    assert asked() == before
    watch.liquidate("okx", "short", 600_000, ago=0)
    watch.sim.fault(market="okx", path="instruments", kind="status", code=503)
    watch.tick(watch.liquidations, after=60)
    assert asked() == before + 1
    assert watch.alerts("liquidations") == ["BTC short liquidated on OKX: 600k USD at 77,000"], "told all the same"


def test_equal_rows_of_one_instant_are_counted_as_many_times_as_they_are_shown(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.liquidate("gate", "short", 600_000, times=2)
    watch.tick(watch.liquidations, after=60)
    watch.tick(watch.liquidations, after=60)
    assert len(watch.alerts("liquidations")) == 2


@pytest.mark.parametrize("kept", range(6))
def test_a_kill_between_two_alerts_loses_and_repeats_nothing(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    watch.tick(watch.liquidations)
    for _ in range(5):
        watch.liquidate("okx", "long", 600_000)
    add, left = watch.store.messages.add_alert, iter(range(kept))

    def fail(alert: Alert, *, now: float) -> bool:
        if next(left, None) is None:
            raise StoreError("the disk is full")
        return add(alert, now=now)

    with monkeypatch.context() as patched:
        patched.setattr(watch.store.messages, "add_alert", fail)
        with pytest.raises(StoreError):
            watch.tick(watch.liquidations, after=60)
    watch.tick(watch.liquidations, after=60)
    assert len(watch.alerts("liquidations")) == 6
    assert "BTC longs liquidated on OKX: 2.4M USD in 1 s" in watch.alerts("liquidations"), "no event counts twice"


def test_each_alert_is_a_transaction_of_its_own(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """So commands get their turn during a storm; the cursors are last."""
    watch.tick(watch.liquidations)
    watch.away(500)
    for number in range(3):
        watch.liquidate("gate", "long" if number % 2 else "short", 600_000)

    def fail(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(watch.store.markets, "set_cursor", fail)
        with pytest.raises(StoreError):
            watch.tick(watch.liquidations, after=60)
    assert len(watch.alerts("liquidations")) == 3
    watch.tick(watch.liquidations, after=60)
    assert len(watch.alerts("liquidations")) == 3


def test_while_nothing_happens_the_cursors_are_written_every_few_minutes(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.tick(watch.liquidations, after=60)
    before = written(watch.store)
    for _ in range(3):
        watch.tick(watch.liquidations, after=60)
    assert written(watch.store) == before
    watch.away(500)
    watch.tick(watch.liquidations, after=60)
    cursors = [watch.store.markets.cursor("OKX", "BTC-USDT"), watch.store.markets.cursor("Gate", "*")]
    read = [int(cursor.text.partition(" ")[0]) for cursor in cursors if cursor is not None]
    assert len(read) == 2 and min(read) > (time.time() - 60) * 1000


def test_after_an_outage_what_is_old_is_one_line_and_no_alert(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.away(3500)
    for ago in (3000, 2900, 2800):
        watch.liquidate("gate", "long", 900_000, ago=ago)
    watch.liquidate("gate", "long", 600_000, ago=30)
    watch.tick(watch.liquidations, after=3600)
    assert watch.alerts("liquidations") == ["BTC long liquidated on Gate: 600k USD at 77,000"]
    (line,) = [text for text in watch.told() if text]
    assert line.startswith("3 large liquidations from ") and "BTC long, 900k USD on Gate" in line


def test_one_venue_that_is_down_does_not_stop_the_other_and_is_shown(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.sim.fault(market="okx", kind="status", code=50011)
    watch.liquidate("gate", "long", 600_000)
    watch.tick(watch.liquidations, after=60)
    assert len(watch.alerts("liquidations")) == 1
    okx, gate = watch.liquidations.feeds.health()
    assert (okx.state, okx.reason, gate.state) == ("resting", "code 50011, Too Many Requests", "ok")
    assert "OKX liquidations" in okx.line(watch.clock) and "2 coins" in gate.line(watch.clock)
    watch.liquidate("okx", "short", 700_000)
    watch.sim.clear_faults()
    watch.tick(watch.liquidations, after=60)
    assert len(watch.alerts("liquidations")) == 2


@pytest.mark.parametrize("kind", ["status", "garbage200", "close", "hang"])
def test_one_family_that_always_fails_silences_no_other_and_the_owner_is_told_once(watch: Watch, kind: str) -> None:
    watch.tick(watch.liquidations)
    watch.sim.fault(market="okx", path="instFamily=BTC-USD", kind=kind)  # and BTC-USDT
    watch.tick(watch.liquidations, after=60)
    watch.liquidate("okx", "long", 625_000, coin="ETH")
    for _ in range(2 if kind == "hang" else 1):  # each of the two is left at its own deadline
        watch.tick(watch.liquidations, after=60)
    watch.liquidate("okx", "long", 725_000, coin="ETH")
    watch.tick(watch.liquidations, after=60)
    assert len(watch.alerts("liquidations")) == 2
    assert watch.notices == []
    if kind == "hang":
        return
    for _ in range(40):
        watch.tick(watch.liquidations, after=60)
    (notice,) = watch.notices
    assert notice.startswith("No source answers for liquidations of OKX BTC-USD, OKX BTC-USDT, so")
    health = watch.liquidations.feeds.health()[0]
    assert health.state == "ok" and "except BTC-USD: " in health.line(watch.clock)


def test_a_family_that_okx_does_not_have_is_told_once_and_asked_for_once_a_day(watch: Watch) -> None:
    def asked() -> int:
        calls = [call for call in watch.sim.market.calls if call.path.endswith("liquidation-orders")]
        return sum(call.params["instFamily"] == "BTC-USD" for call in calls)

    watch.sim.market.delisted.add(("okx", "BTC-USD"))
    for _ in range(10):
        watch.tick(watch.liquidations, after=60)
    watch.liquidate("okx", "long", 625_000, coin="ETH")
    watch.tick(watch.liquidations, after=60)
    assert watch.alerts("liquidations") == ["ETH long liquidated on OKX: 625k USD at 77,000"]
    assert asked() == 2
    (notice,) = watch.notices
    assert "has no liquidations of BTC-USD." in notice
    assert watch.liquidations.feeds.health()[0].state == "ok"
    watch.tick(watch.liquidations, after=86_400)
    assert asked() == 4
    assert len(watch.notices) == 1


def test_one_stray_answer_switches_no_family_off(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.sim.fault(market="okx", path="instFamily=BTC-USDT", kind="status", code=51000, times=1)
    watch.liquidate("okx", "long", 625_000)
    watch.tick(watch.liquidations, after=60)
    assert watch.alerts("liquidations") == ["BTC long liquidated on OKX: 625k USD at 77,000"]
    assert watch.notices == []


@pytest.mark.parametrize("path", ["funding-rate", "instruments"])
def test_an_unknown_parameter_where_no_symbol_was_asked_for_is_a_failure_of_the_host(watch: Watch, path: str) -> None:
    watch.sim.fault(market="okx", path=path, kind="status", code=51000)
    monitor: Monitor = watch.funding if path == "funding-rate" else watch.liquidations
    watch.tick(monitor)
    asked = len(watch.sim.market.calls)
    assert monitor.feeds.health()[0].state == "resting"
    assert monitor.feeds.health()[0].reason.startswith("code 51000")
    watch.tick(monitor, after=60)
    assert len(watch.sim.market.calls) > asked
    watch.sim.clear_faults()
    watch.tick(monitor, after=60)
    assert monitor.feeds.health()[0].state == "ok"


def test_a_row_that_cannot_be_read_is_counted_and_logged_once_however_often_it_is_shown(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.tick(watch.liquidations)
    watch.perps.poison("gate", "BTC")
    for _ in range(3):
        watch.tick(watch.liquidations, after=60)
    assert [health.skipped for health in watch.liquidations.feeds.health()] == [0, 1]
    assert caplog.text.count("skipped an unreadable row") == 1


def test_the_owner_hears_once_that_a_place_is_refused(watch: Watch) -> None:
    watch.sim.fault(market="okx", kind="html", code=403)
    for _ in range(3):
        watch.tick(watch.liquidations, after=60)
    (notice,) = watch.notices
    assert notice.startswith("OKX (") and "liquidations" in notice


def test_a_refusal_that_goes_on_is_logged_once(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    watch.tick(watch.liquidations)
    watch.sim.fault(market="okx", kind="html", code=451, path="liquidation-orders")
    for _ in range(4):
        watch.tick(watch.liquidations, after=3700)
    assert sum("HTTP 451" in record.getMessage() for record in caplog.records) == 1
    assert watch.liquidations.feeds.health()[0].last_ok == pytest.approx(watch.clock - 4 * 3700)


def test_the_owner_hears_when_no_venue_answers_for_half_an_hour_and_when_one_does_again(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.sim.fault(market="*", kind="status", code=503)
    for _ in range(6):
        watch.tick(watch.liquidations, after=600)
    watch.sim.clear_faults()
    watch.tick(watch.liquidations, after=600)
    begun, ended = watch.notices
    assert begun.startswith("No source answers for liquidations") and begun.count("HTTP 503") == 2
    assert ended.startswith("Sources for liquidations answer again, after ")


def test_more_than_a_venue_shows_is_a_gap_of_every_coin_and_not_silence(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    for number in range(1001):
        watch.liquidate("gate", "long", 1000, ago=100 - number / 20)
    watch.away(400)
    watch.tick(watch.liquidations)
    assert sorted((gap.venue, gap.symbol) for gap in watch.store.markets.gaps(since=0)) == [
        ("Gate", "BTC"),
        ("Gate", "ETH"),
    ]
    assert [told for told in watch.told() if told] == []


def test_an_absence_of_more_than_gates_hour_is_a_gap_that_is_told_once(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.away(8 * 3600)
    watch.liquidate("okx", "long", 900_000, ago=7 * 3600)  # OKX shows it for a day
    for _ in range(3):
        watch.tick(watch.liquidations, after=60)
    gaps = watch.store.markets.gaps(since=0)
    assert sorted((gap.venue, gap.symbol, round(gap.end - gap.start, -2)) for gap in gaps) == [
        ("Gate", "BTC", 25_200),
        ("Gate", "ETH", 25_200),
    ]
    (line,) = [told for told in watch.told() if told.startswith("Missed")]
    assert line.endswith("Gate was not read: liquidations from that time are unknown for BTC, ETH.")


def test_an_absence_within_gates_hour_and_a_quiet_hour_are_no_gaps(watch: Watch) -> None:
    watch.liquidate("gate", "long", 1000, ago=3 * 3600)
    watch.tick(watch.liquidations)
    watch.away(3500)
    watch.tick(watch.liquidations, after=60)
    assert watch.store.markets.gaps(since=0) == []


@pytest.mark.parametrize("minutes", [11, 69, 119])
def test_what_okx_publishes_late_is_an_alert_that_says_so(watch: Watch, minutes: int) -> None:
    watch.tick(watch.liquidations)
    watch.liquidate("okx", "long", 900_000, ago=minutes * 60)
    watch.tick(watch.liquidations, after=60)
    (alert,) = watch.store.messages.alerts("liquidations", limit=9)
    assert alert.late
    assert watch.told() == [""]


def test_what_gate_still_shows_of_a_coin_that_is_new_makes_no_alert(watch: Watch) -> None:
    watch.tick(watch.liquidations)
    watch.liquidate("gate", "long", 900_000, ago=3000, coin="SOL")
    watch.tick(watch.liquidations, after=60)
    watch.restart(symbols=("BTC", "ETH", "SOL"))
    for _ in range(2):
        watch.tick(watch.liquidations, after=60)
    assert watch.alerts("liquidations") == []
    watch.liquidate("gate", "long", 800_000, ago=5, coin="SOL")
    watch.tick(watch.liquidations, after=60)
    assert watch.alerts("liquidations") == ["SOL long liquidated on Gate: 800k USD at 77,000"]


# Funding


def test_a_rate_that_crosses_the_mark_is_told_once_with_interval_and_venue(watch: Watch) -> None:
    watch.tick(watch.funding)
    watch.perps.set_rate("okx", "BTC", 0.0006)
    watch.perps.set_rate("hyperliquid", "ETH", -0.0001)
    watch.perps.set_rate("okx", "SOL", 0.002)  # not among the coins
    for _ in range(3):
        watch.tick(watch.funding, after=60)
    assert sorted(watch.alerts("funding")) == [
        "BTC funding on OKX: +0.0600 % for 8 h, +66 % a year",
        "ETH funding on Hyperliquid: -0.0800 % for 8 h, -88 % a year",
    ]
    facts = {alert.symbol: alert.facts for alert in watch.store.messages.alerts("funding", limit=2)}
    assert facts["BTC"].startswith("longs pay shorts, above +0.05 % · charged every 8 h, next in ")
    assert facts["ETH"].startswith("shorts pay longs, below -0.05 % · charged every hour")


def test_a_chat_with_a_mark_of_its_own_is_told_at_this_one_only(watch: Watch) -> None:
    watch.store.chats.put(Chat(chat_id=8, added_by=8, thresholds={"funding": {"*": 0.03}}))
    watch.tick(watch.funding)

    def told() -> list[tuple[int, float]]:
        found = [watch.store.delivery(number) for number, _, _ in watch.store.pending()]
        keys = [(one.chat_id, watch.store.messages.bundle(one)[1]) for one in found if one is not None]
        return sorted((chat_id, alert.mark) for chat_id, alerts in keys for alert in alerts)

    watch.perps.set_rate("okx", "BTC", 0.0004)
    for _ in range(2):
        watch.restart()
        watch.tick(watch.funding, after=60)
    assert told() == [(8, 0.03)]
    watch.perps.set_rate("okx", "BTC", 0.0006)
    watch.tick(watch.funding, after=60)
    assert told() == [(7, 0.05), (8, 0.03)]


def test_a_mark_that_a_chat_sets_makes_no_alert_of_what_is_so_already(watch: Watch) -> None:
    watch.perps.set_rate("okx", "BTC", 0.0004)
    watch.tick(watch.funding)
    watch.store.chats.put(Chat(chat_id=8, added_by=8, thresholds={"funding": {"*": 0.03}}))
    watch.tick(watch.funding, after=60)
    watch.tick(watch.funding, after=60)
    assert watch.alerts("funding") == []
    watch.store.chats.put(Chat(chat_id=8, added_by=8))
    watch.perps.set_rate("okx", "BTC", 0.0001)
    watch.tick(watch.funding, after=60)
    watch.perps.set_rate("okx", "BTC", 0.0004)
    watch.tick(watch.funding, after=60)
    watch.store.chats.put(Chat(chat_id=8, added_by=8, thresholds={"funding": {"*": 0.03}}))
    watch.tick(watch.funding, after=60)
    assert watch.alerts("funding") == [], "a mark that was given up knows nothing of before"


def test_a_coin_is_one_coin_by_whatever_name_a_venue_lists_it(keyed: Watch) -> None:
    perps, prices = keyed.perps, keyed.sim.market.prices
    perps.sizes["okx", "PEPE"] = perps.sizes["gate", "1000PEPE"] = 1e4
    prices |= {"PEPE": 0.00001, "1000PEPE": 0.01, "kPEPE": 0.01}
    names = {"okx": "PEPE", "hyperliquid": "kPEPE", "Binance": "1000PEPE"}
    for venue, name in names.items():
        perps.set_rate(venue, name, 0.0001 if venue != "hyperliquid" else 0.00001)
    keyed.restart(symbols=("PEPE",), liquidation_sum=WhaleMin(1e9))
    add(keyed, 7, "frog")
    perps.hold(ADDRESS, "kPEPE", 1000)
    for monitor in (keyed.liquidations, keyed.funding, keyed.wallets):
        keyed.tick(monitor)
    for venue, name in names.items():
        perps.set_rate(venue, name, 0.001)
    perps.liquidate("okx", "PEPE", "long", usd=600_000)
    perps.liquidate("gate", "1000PEPE", "long", usd=600_000)
    perps.foreign_liquidation("Binance", "1000PEPE", "long", usd=600_000)
    perps.hold(ADDRESS, "kPEPE", 4e6)
    for monitor in (keyed.liquidations, keyed.funding, keyed.wallets):
        keyed.tick(monitor, after=60)
    kinds = ("liquidations", "funding", "wallets")
    told = [alert for kind in kinds for alert in keyed.store.messages.alerts(kind, limit=9)]
    assert {alert.symbol for alert in told} == {"PEPE"}
    assert sorted(alert.venue for alert in told if alert.monitor == "funding") == ["Binance", "Hyperliquid", "OKX"]
    assert sorted(alert.headline for alert in told if alert.monitor == "liquidations") == [
        "PEPE long liquidated on Binance: 600k USD at 0.00001",
        "PEPE long liquidated on Gate: 600k USD at 0.00001",
        "PEPE long liquidated on OKX: 600k USD at 0.00001",
    ]
    urls = {alert.venue: alert.url for alert in told if alert.monitor == "funding"}
    assert urls["Hyperliquid"].endswith("/trade/kPEPE") and urls["OKX"].endswith("/pepe-usdt-swap")
    assert {rate.symbol for rate in keyed.store.markets.rates() if "PEPE" in rate.contract} == {"PEPE"}


def test_a_restart_neither_repeats_a_crossing_nor_takes_it_for_a_first_sight(watch: Watch) -> None:
    watch.tick(watch.funding)
    watch.perps.set_rate("okx", "BTC", 0.0006)
    watch.restart()
    watch.tick(watch.funding, after=60)
    watch.restart()
    watch.tick(watch.funding, after=60)
    assert len(watch.alerts("funding")) == 1


def test_open_interest_that_fails_leaves_the_rates_alone_and_is_seen(watch: Watch) -> None:
    watch.sim.fault(market="okx", path="open-interest", kind="status", code=503)
    watch.tick(watch.funding)
    assert {rate.venue for rate in watch.store.markets.rates("BTC")} == {"OKX", "Hyperliquid"}
    assert {one.venue for one in watch.store.markets.interest(since=0)} == {"Hyperliquid"}
    health = {health.source: health.line(watch.clock) for health in watch.funding.feeds.health()}
    assert "open interest: HTTP 503" in health["okx_funding"]
    assert sum(call.path == "/info" for call in watch.sim.market.calls) == 1, "it comes with the rates"


def test_the_latest_rates_of_every_coin_are_kept_and_those_of_a_silent_venue_stay(watch: Watch) -> None:
    watch.tick(watch.funding)
    watch.sim.fault(market="okx", kind="status", code=503)
    watch.perps.set_rate("hyperliquid", "SOL", 0.0002)
    watch.tick(watch.funding, after=60)
    rates = {rate.venue: rate for rate in watch.store.markets.rates("SOL")}
    assert round(rates["Hyperliquid"].eight_hours, 6) == 0.0016 and rates["OKX"].hours == 8.0
    assert {health.source: health.state for health in watch.funding.feeds.health()} == {
        "okx_funding": "resting",
        "hyperliquid_funding": "ok",
    }


# Wallets


def add(watch: Watch, chat_id: int, name: str, address: str = ADDRESS) -> None:
    watch.store.wallets.watch(WatchedWallet(chat_id, address, name), now=watch.clock)


def test_a_wallet_is_told_to_the_chats_that_watch_it_by_their_names_and_asked_for_once(watch: Watch) -> None:
    for chat_id in (8, 9):
        watch.store.chats.put(Chat(chat_id=chat_id, added_by=chat_id, symbols=frozenset({"ETH"})))
    add(watch, 7, "satoshi")
    add(watch, 8, "nick")
    watch.perps.hold(ADDRESS, "ETH", 100)
    watch.tick(watch.wallets)
    assert watch.alerts("wallets") == []
    watch.perps.hold(ADDRESS, "BTC", -2, liquidation=90_000)
    watch.perps.hold(ADDRESS, "ETH", 0)
    watch.tick(watch.wallets, after=60)
    watch.restart()
    watch.tick(watch.wallets, after=60)
    assert sorted(watch.alerts("wallets")) == [
        "nick closed a ETH long: 250k USD at 2,500",
        "nick opened a BTC short: 154k USD at 77,000",
        "satoshi closed a ETH long: 250k USD at 2,500",
        "satoshi opened a BTC short: 154k USD at 77,000",
    ]
    assert sorted(chat for _, chat, _ in watch.store.pending()) == [7, 7, 8, 8]
    assert {alert.side for alert in watch.store.messages.alerts("wallets", limit=9)} == {"sell"}
    assert sum(call.venue == "hyperliquid" for call in watch.sim.market.calls) == 3


def test_a_wallet_that_cannot_be_read_for_a_while_has_closed_nothing(watch: Watch) -> None:
    add(watch, 7, "satoshi")
    watch.perps.hold(ADDRESS, "BTC", 2)
    watch.tick(watch.wallets)
    watch.sim.fault(market="hyperliquid", kind="null", times=1)
    watch.tick(watch.wallets, after=60)
    watch.perps.hold(ADDRESS, "BTC", 2, poison="nan")
    watch.tick(watch.wallets, after=60)
    watch.perps.hold(ADDRESS, "BTC", 2)
    watch.tick(watch.wallets, after=60)
    assert watch.alerts("wallets") == []
    watch.perps.hold(ADDRESS, "BTC", 4)
    watch.tick(watch.wallets, after=60)
    assert watch.alerts("wallets") == ["satoshi added to a BTC long: +100%, now 308k USD at 77,000"]


def test_a_chat_that_stops_watching_during_the_look_gets_no_alert_of_it(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.store.wallets.watch(WatchedWallet(7, ADDRESS, "satoshi"), now=watch.clock)
    watch.tick(watch.wallets)
    watch.perps.hold(ADDRESS, "BTC", 2)
    positions = watch.wallets._hyperliquid.positions

    def while_it_answers(address: str) -> object:
        watch.store.wallets.unwatch(7, ADDRESS)
        return positions(address)

    monkeypatch.setattr(watch.wallets._hyperliquid, "positions", while_it_answers)
    watch.tick(watch.wallets, after=60)
    assert watch.alerts("wallets") == []


def test_a_wallet_watched_again_is_seen_for_the_first_time(watch: Watch) -> None:
    add(watch, 7, "satoshi")
    watch.tick(watch.wallets)
    watch.store.wallets.unwatch(7, ADDRESS)
    watch.tick(watch.wallets, after=60)
    watch.perps.hold(ADDRESS, "BTC", 2)
    add(watch, 7, "satoshi")
    watch.tick(watch.wallets, after=60)
    watch.tick(watch.wallets, after=60)
    assert watch.alerts("wallets") == []


def test_one_wallet_that_always_fails_does_not_starve_the_others(watch: Watch) -> None:
    add(watch, 7, "good", OTHER)
    add(watch, 7, "bad", "0xnonsense")
    for _ in range(3):
        watch.tick(watch.wallets, after=60)
    watch.perps.hold(OTHER, "BTC", 2)
    for _ in range(3):
        watch.tick(watch.wallets, after=60)
    assert watch.alerts("wallets") == ["good opened a BTC long: 154k USD at 77,000"]


# CoinGlass


def test_whale_moves_are_events_and_not_wallets_and_worded_by_side(keyed: Watch) -> None:
    keyed.tick(keyed.wallets)
    now = int(time.time() * 1000)
    keyed.perps.whale_move(ADDRESS, "BTC", size=-800, opened=True, at_ms=now - 3000)
    keyed.perps.whale_move(ADDRESS, "BTC", size=-800, opened=False, at_ms=now - 2000)
    keyed.perps.whale_move(ADDRESS, "BTC", size=-800, opened=True, at_ms=now - 1000)
    for _ in range(2):
        keyed.tick(keyed.wallets, after=60)
        keyed.restart()
    assert keyed.alerts("wallets") == [
        "A Hyperliquid whale opened a BTC short: 61.6M USD",
        "A Hyperliquid whale closed a BTC short: 61.6M USD",
        "A Hyperliquid whale opened a BTC short: 61.6M USD",
    ]
    assert [alert.side for alert in keyed.store.messages.alerts("wallets", limit=3)] == ["sell", "buy", "sell"]


def test_whale_moves_there_at_the_first_look_make_no_alert(keyed: Watch) -> None:
    keyed.perps.whale_move(ADDRESS, "BTC", size=800, opened=True)
    keyed.tick(keyed.wallets)
    keyed.tick(keyed.wallets, after=60)
    assert keyed.alerts("wallets") == []


@pytest.mark.parametrize(("ago", "told"), [(500, 0), (5000, 1)])
def test_more_whale_moves_than_are_shown_are_a_gap_and_a_long_one_is_told(keyed: Watch, ago: int, told: int) -> None:
    now = int(time.time() * 1000)
    keyed.perps.whale_move(ADDRESS, "BTC", size=800, opened=True, at_ms=now - ago * 1000)
    keyed.tick(keyed.wallets)
    for number in range(200):
        keyed.perps.whale_move(ADDRESS, "DOGE", size=1e8, opened=True, at_ms=now - 400_000 + number)
    keyed.tick(keyed.wallets, after=60)
    assert {gap.venue for gap in keyed.store.markets.gaps(since=0)} == {"CoinGlass"}
    ending = "CoinGlass was not read: positions of large wallets from that time are unknown for BTC, ETH."
    assert len([line for line in keyed.told() if line.endswith(ending)]) == told
    assert keyed.alerts("wallets") == []  # of a coin that nobody watches


def test_other_venues_liquidations_and_funding_come_with_a_key(keyed: Watch) -> None:
    for monitor in (keyed.liquidations, keyed.funding):
        keyed.tick(monitor)
    keyed.perps.foreign_liquidation("Binance", "BTC", "long", usd=900_000)
    keyed.perps.set_rate("Bybit", "BTC", 0.0007)
    for monitor in (keyed.liquidations, keyed.funding):
        keyed.tick(monitor, after=60)
    assert keyed.alerts("liquidations") == ["BTC long liquidated on Binance: 900k USD at 77,000"]
    assert keyed.alerts("funding") == ["BTC funding on Bybit: +0.0700 % for 8 h, +77 % a year"]


def test_one_coin_of_one_exchange_that_coinglass_cannot_tell_silences_no_other(keyed: Watch) -> None:
    keyed.tick(keyed.liquidations)
    keyed.sim.fault(market="coinglass", path="exchange=Binance&symbol=BTC", kind="status", code=500)
    keyed.perps.foreign_liquidation("Binance", "ETH", "long", usd=900_000)
    keyed.perps.foreign_liquidation("Bybit", "BTC", "long", usd=900_000)
    keyed.tick(keyed.liquidations, after=60)
    assert len(keyed.alerts("liquidations")) == 2
    assert keyed.liquidations.feeds.health()[-1].except_for.startswith("Binance BTC: HTTP 500")


def test_a_plan_that_lacks_an_endpoint_is_told_once_and_asked_no_more(keyed: Watch) -> None:
    keyed.perps.coinglass_plan = "HOBBYIST"

    def asked() -> int:
        return sum(call.venue == "coinglass" for call in keyed.sim.market.calls)

    def ticks(number: int) -> None:
        for _ in range(number):
            for monitor in (keyed.liquidations, keyed.wallets):
                keyed.tick(monitor, after=60)

    ticks(3)
    assert asked() == 4 and len(keyed.notices) == 2, "each asked twice: no single answer decides"
    assert keyed.notices[0].startswith("CoinGlass refuses liquidations with your COINGLASS_API_KEY: Upgrade plan.")
    keyed.restart()
    ticks(1)
    assert len(keyed.notices) == 2
    health = keyed.liquidations.feeds.health()[-1]
    assert health.state == "off" and "Upgrade plan" in health.line(keyed.clock)
    keyed.perps.coinglass_plan = "STANDARD"
    keyed.restart()
    ticks(1)
    assert keyed.liquidations.feeds.health()[-1].state == "ok"


def test_a_refusal_of_a_while_ends_without_a_restart_and_the_next_one_is_told_again(keyed: Watch) -> None:
    keyed.tick(keyed.liquidations)
    keyed.sim.fault(market="coinglass", kind="status", code=401, times=1)
    keyed.tick(keyed.liquidations, after=60)
    assert keyed.liquidations.feeds.health()[-1].state == "ok", "one stray answer decides nothing"
    for day in range(2):
        keyed.sim.fault(market="coinglass", kind="status", code=401)
        keyed.tick(keyed.liquidations, after=60)
        assert keyed.liquidations.feeds.health()[-1].state == "off"
        assert len(keyed.notices) == day + 1
        keyed.sim.clear_faults()
        keyed.tick(keyed.liquidations, after=3600)
        assert keyed.liquidations.feeds.health()[-1].state == "off"
        keyed.tick(keyed.liquidations, after=86_400)
        assert keyed.liquidations.feeds.health()[-1].state == "ok"


def test_a_wrong_key_is_told_once_for_all_that_it_would_open(keyed: Watch) -> None:
    keyed.perps.coinglass_key = "another"
    for _ in range(2):
        for monitor in (keyed.liquidations, keyed.funding, keyed.wallets):
            keyed.tick(monitor, after=60)
        keyed.restart()
    (notice,) = keyed.notices
    assert notice.startswith("CoinGlass refuses your COINGLASS_API_KEY: Invalid API key provided.")


def test_the_key_is_in_no_notice_no_log_and_no_status(keyed: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    asked: Callable[[], None] = keyed.liquidations.tick
    for kind, code in (("status", 401), ("status", 429), ("reset", 0), ("html", 502)):
        keyed.restart()
        keyed.sim.clear_faults()
        keyed.sim.fault(market="coinglass", kind=kind, code=code)
        asked = keyed.liquidations.tick
        asked()
        keyed.clock += 600
    lines = [health.line(keyed.clock) for health in keyed.liquidations.feeds.health()]
    assert keyed.key not in "\n".join(
        [caplog.text, *keyed.notices, *lines, repr(Settings(token=TOKEN, coinglass_key=keyed.key))]
    )
