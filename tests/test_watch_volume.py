"""Volume alerts: the last hour against the median of the same hour on the days before, told once per episode."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import OWNER, Run, first_look
from hypothesis import given
from hypothesis import strategies as st
from test_watch_levels import NOW, VENUE, _kept, said, store

from simulation.account import SimBot
from simulation.market import Past
from simulation.simulator import Simulator
from store import Store
from store.levels import Level
from store.rows import Chat
from venues.trades import BAR_SECONDS, Bar
from watch.volume import Volumes, ends_below, judge

__all__ = ["store"]  # a fixture
START_MS = int(NOW * 1000)
NEWEST = int(NOW) // BAR_SECONDS * BAR_SECONDS
DAY = 86_400


def volume(times: float = 3.0, **more: object) -> Level:
    begun = Level(chat_id=7, symbol="BTC", kind="volume", size=times, span=3600, state="calm", repeat=True)
    return replace(begun, **more)  # type: ignore[arg-type]


def bar(at: float, usd: float, *, price: float = 100.0, bought: float = 0.5) -> Bar:
    return Bar("BTC", int(at), price, price, price, price, usd * bought, usd * (1 - bought))


def hour(store: Store, days: int, usd: float, *, bars: int = 12, ends: int = NEWEST) -> None:
    """Bars of an hour so many days before."""
    store.markets.add_bars([bar(ends - days * DAY - 300 * back, usd / bars) for back in range(bars)])


class Clock:
    now = NOW


@pytest.fixture
def watching(store: Store) -> tuple[Store, Volumes, Clock]:
    """Usual is a million."""
    for days, usd in enumerate((0.9e6, 1e6, 1.1e6, 40e6, 0.1e6), 1):
        hour(store, days, usd)
    clock = Clock()
    return store, Volumes(store, now=lambda: clock.now), clock


def told(watching: tuple[Store, Volumes, Clock], *, after: float = 15.0) -> list[str]:
    """The headlines of what is news at the next look."""
    store, volumes, clock = watching
    known = len(store.messages.alerts("prices", limit=100))
    clock.now += after
    volumes.look({"BTC": VENUE})
    found = store.messages.alerts("prices", limit=100)
    return [alert.headline for alert in found[: len(found) - known]]


def test_a_spike_is_told_once_with_what_it_is_against(watching: tuple[Store, Volumes, Clock]) -> None:
    store, _, _ = watching
    store.levels.add(volume(note="look"))
    store.markets.add_bars(
        [bar(NEWEST - 300, 2e6, price=100, bought=0.75), bar(NEWEST, 0.9e6, price=101, bought=0.75)]
    )
    assert told(watching) == []
    store.markets.add_bars([bar(NEWEST, 0.2e6, price=101, bought=0.75)])
    assert told(watching) == ["BTC volume 3.1 times the usual: 3.1M USD in an hour: look"]
    (alert,) = store.messages.alerts("prices")
    assert alert.facts == "usual 1M, the median of this hour on 5 days · takers bought 75% · price +1.0 %"
    assert (alert.venue, alert.price, alert.at_ms) == ("Binance spot", 101, START_MS + 30_000)
    store.markets.add_bars([bar(NEWEST, 1e6)])
    assert told(watching) == []


def test_it_is_told_again_only_after_the_volume_went_half_of_the_way_back(
    watching: tuple[Store, Volumes, Clock],
) -> None:
    store, _, _ = watching
    store.levels.add(volume())
    store.levels.add(volume(times=4.0, repeat=False))
    store.markets.add_bars([bar(NEWEST - 3300, 1.2e6), bar(NEWEST - 3000, 2.9e6), bar(NEWEST, 0.0)])
    assert len(told(watching)) == 2
    store.markets.add_bars([bar(NEWEST + 300, 0.0)])  # the hour begins a bar later: 2.9 times
    for days in range(1, 6):
        store.markets.add_bars([bar(NEWEST + 300 - days * DAY, 0.0)])
    assert told(watching, after=300) == []
    store.markets.add_bars([bar(NEWEST + 300, 0.2e6)])
    assert told(watching) == [], "3.1 times, and the same episode"
    store.markets.add_bars([bar(NEWEST + 600, 0.0)])  # and now 0.2 times
    for days in range(1, 6):
        store.markets.add_bars([bar(NEWEST + 600 - days * DAY, 0.0)])
    assert told(watching, after=300) == []
    store.markets.add_bars([bar(NEWEST + 600, 9e6)])
    assert len(told(watching)) == 1
    assert [level.state for level in store.levels.of_chat(7)] == ["busy", "done"]


def test_what_is_usual_is_a_median_of_three_days_at_least(store: Store) -> None:
    hour(store, 0, 5e6)
    for days, bars in ((1, 12), (2, 12), (3, 5)):  # of the third most is unknown
        hour(store, days, 1e6 * days, bars=bars)
    assert store.volume("BTC", now=NOW) is None
    hour(store, 4, 90e6)
    found = store.volume("BTC", now=NOW)
    assert found is not None and (round(found.usual), found.days, round(found.times, 6)) == (2e6, 3, 2.5)
    assert store.volume("BTC", now=NOW + 1200) is None, "it is not being read"
    store.markets.mark_flawed([("BTC", NEWEST - 300 * back) for back in range(6)])
    found = store.volume("BTC", now=NOW)
    assert found is not None and round(found.usd) == 2.5e6, "what may be counted twice does not count"


def test_nobody_is_told_who_did_not_ask_rests_or_has_no_alerts(watching: tuple[Store, Volumes, Clock]) -> None:
    store, _, _ = watching
    store.chats.put(Chat(chat_id=8, added_by=8, subscribed=False))
    store.levels.add(volume(chat_id=8))
    store.levels.add(volume(since_ms=START_MS + 60_000))
    store.levels.add(volume(2.0, expires=NOW))
    store.levels.add(volume(90.0))
    hour(store, 0, 5e6)
    assert told(watching) == []
    assert len(told(watching, after=60)) == 1
    assert told(watching, after=5) == [], "looked at a moment ago"


def test_a_chart_of_the_wrong_time_is_not_compared(watching: tuple[Store, Volumes, Clock]) -> None:
    """Other hours of the days before were much busier."""
    store, _, _ = watching
    for days in range(1, 8):
        hour(store, days, 500e6, ends=NEWEST - 3600)
        hour(store, days, 500e6, ends=NEWEST + 3600)
    store.levels.add(volume())
    hour(store, 0, 5e6)
    assert told(watching) == ["BTC volume 5.0 times the usual: 5M USD in an hour"]


@given(
    days=st.lists(st.lists(st.integers(1, 50).map(float), max_size=12), min_size=7, max_size=7),
    last=st.lists(st.integers(1, 500).map(float), min_size=1, max_size=12),
)
def test_the_usual_volume_is_what_adding_up_each_day_says(
    days: list[list[float]], last: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = _kept(tmp_path_factory)
    coin = f"C{len(store.markets.bars('', since=0))}{hash((str(days), str(last)))}"
    for number, sums in enumerate([last, *days]):
        bars = [replace(bar(NEWEST - number * DAY - 300 * back, usd), symbol=coin) for back, usd in enumerate(sums)]
        store.markets.add_bars(bars)
    known = [sum(sums) for sums in days if len(sums) >= 6]
    found = store.volume(coin, now=NOW)
    if len(known) < 3:
        assert found is None
    else:
        assert found is not None and found.times == pytest.approx(sum(last) / statistics.median(known))


def naive(begun: Level, times: Sequence[float]) -> list[int]:
    """The rule as it reads: tell, then wait until the volume is lower and the rest is over."""
    expected: list[int] = []
    place = 0
    while True:
        found = next((at for at in range(place, len(times)) if times[at] >= begun.size), None)
        if found is None:
            return expected
        expected.append(found)
        rested = found + int(begun.cooldown)
        after = range(max(found + 1, rested), len(times))
        low = next((at for at in after if times[at] < ends_below(begun.size)), None)
        if not begun.repeat or low is None:
            return expected
        place = low


@given(
    times=st.lists(st.sampled_from((1.9, 2.0, 2.9, 3.0)), min_size=8, max_size=30),
    repeat=st.booleans(),
    cooldown=st.sampled_from((0.0, 3.0)),
)
def test_each_episode_is_told_once(times: list[float], repeat: bool, cooldown: float) -> None:
    begun = volume(repeat=repeat or cooldown > 0, cooldown=cooldown)
    level, found = begun, []
    for at, ratio in enumerate(times):
        level, is_news = judge(level, ratio, at_ms=START_MS + at * 1000)
        if is_news:
            found.append(at)
    assert found == naive(begun, times)


def test_an_alert_that_cannot_be_stored_is_told_by_the_next_look(
    watching: tuple[Store, Volumes, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, _ = watching
    store.levels.add(volume())
    hour(store, 0, 5e6)
    with monkeypatch.context() as broken:
        broken.setattr(store.fan_out, "enqueue", lambda *args, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            told(watching)
    assert store.messages.alerts("prices") == [] and store.levels.of_chat(7)[0].state == "calm"
    assert len(told(watching)) == 1


# End to end


def test_a_spike_is_told_by_a_running_bot_against_the_candles_and_not_again_after_a_kill(
    sim: Simulator, chat: SimBot, run_bot: Run, tmp_path: Path
) -> None:
    now = int(time.time()) // BAR_SECONDS * BAR_SECONDS
    past = [
        Past((now - days * DAY - 300 * back) * 1000, 77_000, 77_000, 77_000, 77_000, 1e6, 5e5)
        for days in range(1, 7)
        for back in range(-2, 14)
    ]
    sim.market.past["BTC"] = sorted(past)
    bot = run_bot(SEND_RATE="0")
    bot.wait_output("Watching BTC, ETH")
    chat.send_text(OWNER, "/start")
    chat.wait_text("Alerts are on", chat_id=OWNER)
    first_look(sim, "BTC")
    sim.market.trade("binance", "BTC", "buy", 77_000, 1)
    usual = "12M USD, the median of this hour on 6 days"
    sim.wait(lambda: usual in said(chat, "/alert BTC volume x3", "volume"), what="the candles are read")
    assert bot.stop()[0] == 0
    with contextlib.closing(Store(next(tmp_path.glob("data/*/bot.db")))) as store:
        store.set_value("flawed:BTC", "")  # the bar in which reading began would count in five minutes only
    bot = run_bot(SEND_RATE="0")
    for _ in range(100):
        sim.market.trade("binance", "BTC", "buy", 77_000, 6)
    spike = chat.wait_text("times the usual: ", chat_id=OWNER).text
    assert "usual 12M, the median of this hour on 6 days" in spike
    bot.kill()
    bot = run_bot(SEND_RATE="0")
    bot.wait_output("Watching BTC, ETH")
    asked = len(sim.market.calls)
    sim.market.trade("binance", "BTC", "buy", 77_000, 6)
    sim.wait(lambda: len(sim.market.calls) > asked + 3, what="markets are read")
    assert "waits until it is lower" in said(chat, "/alert", "Price alerts:")
    assert bot.stop()[0] == 0
    with contextlib.closing(Store(next(tmp_path.glob("data/*/bot.db")))) as store:
        assert len(store.messages.alerts("prices", limit=100)) == 1
