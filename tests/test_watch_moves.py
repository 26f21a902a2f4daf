"""Moves: rolling over trades, each told once, right across pages, commits, restarts, gaps and exchanges."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER, Run, first_look
from hypothesis import given
from hypothesis import strategies as st
from test_watch_levels import NOW, VENUE, _kept, reading_bot, said, store, trade, wait_asked, watch
from test_watch_whale_monitor import Watch

from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.levels import Level
from store.rows import Chat
from venues.trades import BAR_SECONDS, Bar, Trade
from watch import moves
from watch.judged import Judged
from watch.moves import Seen, Trail, Windows

__all__ = ["store", "watch"]  # fixtures
START_MS = int(NOW * 1000)
DAY = 86_400
GROUP = -1001


def move(percent: float = 5.0, seconds: int = 3600, **more: object) -> Level:
    begun = Level(chat_id=7, symbol="BTC", kind="move", size=percent / 100, span=seconds, state="on", repeat=True)
    return replace(begun, **more)  # type: ignore[arg-type]


def tape(*trades: tuple[float, float], first: int = 1) -> list[Trade]:
    """Trades of (seconds from NOW, price)."""
    return [
        Trade("Binance spot", "BTC", number, price, 0.01, "buy", START_MS + round(at * 1000))
        for number, (at, price) in enumerate(trades, first)
    ]


def look(store: Store, windows: Windows, trades: Sequence[Trade]) -> list[tuple[int, str, str]]:
    """Judge one page and commit it; the time, headline and facts of what is told."""
    judged = Judged()
    judged.look(store, trades, VENUE, NOW, windows)
    known = {alert.key for alert in store.messages.alerts("prices", limit=100)}
    with store.transaction():
        judged.keep(store, now=NOW)
    told = [alert for alert in store.messages.alerts("prices", limit=100) if alert.key not in known]
    return [(round((alert.at_ms - START_MS) / 1000), alert.headline, alert.facts) for alert in reversed(told)]


def times(told: Sequence[tuple[int, str, str]]) -> list[int]:
    return [at for at, _, _ in told]


# The rule


@pytest.mark.parametrize(
    ("direction", "prices", "expected"),
    [
        ("either", ((0, 100), (60, 104.9), (120, 105)), [120]),
        ("either", ((0, 100), (60, 95.1), (120, 95)), [120]),
        ("above", ((0, 100), (60, 95), (120, 99.7), (130, 99.75)), [130]),
        ("below", ((0, 95), (60, 100), (120, 95)), [120]),
        ("either", ((0, 100), (3600, 105)), [3600]),  # the whole hour counts
        ("either", ((0, 100), (3601, 105)), []),
        ("either", ((0, 100), (50, 105), (60, 104.9), (70, 106), (80, 109)), [50]),  # one move is told once
        ("either", ((0, 100), (50, 105), (60, 106), (70, 111.3), (80, 112)), [50, 70]),  # as much again
        ("either", ((0, 100), (50, 105), (60, 106), (70, 100.7)), [50, 70]),  # and back
        ("either", ((0, 100), (0, 105), (0, 106), (1, 105)), [0]),  # all at once
    ],
)
def test_a_move_is_told_at_the_trade_that_completes_it_and_the_next_counts_from_there(
    store: Store, direction: str, prices: tuple[tuple[float, float], ...], expected: list[int]
) -> None:
    store.levels.add(move(direction=direction))
    assert times(look(store, Windows(store), tape(*prices))) == expected


def test_exactly_so_many_percent_is_enough_whatever_the_rounding(store: Store) -> None:
    for percent in (2.3, 0.7, 1.1, 4.7):
        store.levels.add(move(percent, direction="above"))
    told = look(store, Windows(store), tape((0, 100), (1, 100.7), (2, 101.1), (3, 102.3), (4, 104.7)))
    assert times(told) == [1, 2, 3, 3, 3, 4, 4, 4, 4], "smaller ones count on"


def test_it_is_told_with_the_low_the_high_how_long_it_took_and_the_price_now(store: Store) -> None:
    store.levels.add(move(note="look"))
    windows = Windows(store)
    assert look(store, windows, tape((0, 99.99), (60, 100), (840, 105), (850, 104))) == [
        (840, "BTC rose 5.0 % in 14 min: look", "low 99.99 · high 105.00 · now 104")
    ]
    assert look(store, windows, tape((1000, 98.8), (1001, 98.7), first=5)) == [
        (1000, "BTC fell 5.9 % in 2 min: look", "high 105.0 · low 98.8 · now 98.7")
    ]


def test_a_move_that_rests_once_ended_or_is_over_tells_nothing(store: Store) -> None:
    page = tape((0, 100), (10, 105), (20, 100), (300, 95), (310, 100), (320, 94))
    for begun, expected in (
        (move(repeat=False), [10]),
        (move(cooldown=300.0), [10, 320]),
        (move(since_ms=START_MS + 15_000), [300, 310, 320]),
        (move(expires=NOW + 300), [10, 20][:1]),
        (move(direction="above", cooldown=60.0), [10, 310]),
    ):
        for one in store.levels.of_chat(7):
            store.levels.remove(7, one.id)
        store.levels.add(begun)
        assert times(look(store, Windows(store), page)) == expected, begun


# Against a naive model


def naive(level: Level, trades: Sequence[Trade]) -> list[int]:
    """The rule as it reads: look back from each trade over all others."""
    told: list[int] = []
    since = level.since_ms
    for place, last in enumerate(trades):
        if last.at_ms < since:
            continue
        opened = last.at_ms - level.span * 1000
        seen = [other.price for other in trades[: place + 1] if other.at_ms >= max(since, opened)]
        if told and not level.cooldown and trades[told[-1] - 1].at_ms >= opened:
            seen.append(trades[told[-1] - 1].price)
        rose, fell = last.price / min(seen) - 1, 1 - last.price / max(seen)
        up, down = (
            level.direction != "below" and rose >= level.size,
            level.direction != "above" and fell >= level.size,
        )
        if up or down:
            told.append(last.trade_id)
            since = last.at_ms + (int(level.cooldown * 1000) or 1)
            if not level.repeat:
                break
    return told


STEPS = st.tuples(st.sampled_from((0.0, 0.5, 7.0, 30.0, 61.0)), st.integers(90, 112).map(float))


@given(
    steps=st.lists(STEPS, min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 40)),
    commits=st.sets(st.integers(1, 40)),
    begun=st.lists(
        st.builds(
            move,
            percent=st.sampled_from((0.95, 3.13, 5.01, 9.77)),
            seconds=st.sampled_from((60, 90, 300)),
            direction=st.sampled_from(("above", "below", "either")),
            repeat=st.booleans(),
            cooldown=st.sampled_from((0.0, 0.0, 45.0)),
            since_ms=st.sampled_from((0, START_MS + 40_000)),
        ).map(lambda one: replace(one, repeat=one.repeat or one.cooldown > 0)),
        min_size=1,
        max_size=4,
        unique_by=lambda one: (one.size, one.span, one.direction),
    ),
)
def test_any_pages_and_any_commits_tell_what_looking_back_from_each_trade_tells(
    steps: list[tuple[float, float]],
    cuts: set[int],
    commits: set[int],
    begun: list[Level],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = _kept(tmp_path_factory)
    for one in store.levels.of_chat(7):
        store.levels.remove(7, one.id)
    numbers = [store.levels.add(one) for one in begun]
    at = itertools.accumulate(step for step, _ in steps)
    trades = tape(*zip(at, (price for _, price in steps), strict=True))
    windows, judged, found = Windows(store), Judged(), []
    places = sorted({0, *(cut for cut in cuts | commits if cut < len(trades)), len(trades)})
    for start, end in itertools.pairwise(places):
        judged.look(store, trades[start:end], VENUE, NOW, windows)
        if end in commits or end == len(trades):
            found += [(touch.level.id, touch.trade.trade_id) for touch, _, _ in judged.touches]
            assert all(store.levels.move(before, after) for before, after in judged.levels.values())
            judged = Judged()
    expected = [(number, told) for number, one in zip(numbers, begun, strict=True) for told in naive(one, trades)]
    assert sorted(found) == sorted(expected)


@given(
    prices=st.lists(st.integers(1, 12).map(float), min_size=1, max_size=80),
    cuts=st.sets(st.integers(1, 80)),
    sign=st.sampled_from((1, -1)),
    since=st.integers(-5, 85),
)
def test_a_trail_knows_the_extreme_of_every_window(
    prices: list[float], cuts: set[int], sign: int, since: int
) -> None:
    trades, trail = tape(*enumerate(prices)), Trail(sign)
    for start, end in itertools.pairwise(sorted({0, *(cut for cut in cuts if cut < len(prices)), len(prices)})):
        some = prices[start:end]
        trail.add_all(Seen(trades[start:end], some, min(some), max(some)))
    seen = prices[max(0, since) :]
    first = trail.first(START_MS + since * 1000)
    assert (first and first.price) == ((min if sign > 0 else max)(seen) if seen else None)
    beyond = [place for place, price in enumerate(prices) if sign * price <= sign * 6.0]
    assert trail.latest(6.0) == (START_MS + beyond[-1] * 1000 if beyond else moves.NEVER)


def test_a_trail_stays_small_and_leaves_out_rather_than_invents() -> None:
    trail = Trail(1)
    for number in range(3 * moves.MOST_POINTS):
        trail.add(number, 1.0 + number)
    assert len(trail) <= moves.MOST_POINTS
    for since in (0, 10, moves.MOST_POINTS, 3 * moves.MOST_POINTS - 1):
        first = trail.first(since)
        assert first is not None and first.price >= 1.0 + since
    page = tape(*((number * DAY / 10, 100.0 + number) for number in range(200)))
    week = Trail(1)
    for one in page:
        week.add_all(Seen([one], [one.price], one.price, one.price))
    assert len(week) == 71, "a week, and no more"


# What is known from before


def bar(at: float, low: float, high: float) -> Bar:
    return Bar("BTC", int(at) // BAR_SECONDS * BAR_SECONDS, low, high, low, high, 1.0, 1.0)


def test_after_a_restart_the_bars_tell_what_was_before_and_nothing_is_told_again(store: Store) -> None:
    store.levels.add(move())
    store.markets.set_cursor("Binance spot", "BTC", "1", at=NOW)
    assert times(look(store, Windows(store), tape((0, 100), (1, 104)))) == []
    store.markets.add_bars([bar(NOW, 100, 104)])
    page = tape((1200, 105), first=3)
    ((_, headline, facts),) = look(store, Windows(store), page)
    assert headline == "BTC rose 5.0 % in about 21 min" and facts == "low 100 · high 105"
    store.markets.add_bars([bar(NOW + 1200, 105, 105)])
    assert look(store, Windows(store), tape((1210, 106), (1220, 104), first=4)) == []


def test_after_a_restart_a_move_goes_on_from_the_trade_by_which_it_was_told(store: Store) -> None:
    """No bar tells of that trade: it is neither the lowest nor the highest of its five minutes."""
    store.levels.add(move())
    store.markets.set_cursor("Binance spot", "BTC", "1", at=NOW)
    assert times(look(store, Windows(store), tape((0, 100), (10, 105), (11, 106), (12, 104.9)))) == [10]
    store.markets.add_bars([bar(NOW, 100, 106)])
    ((_, headline, facts),) = look(store, Windows(store), tape((20, 110.25), first=5))
    assert headline == "BTC rose 5.0 % in 10 s" and facts == "low 105.00 · high 110.25"
    store.markets.add_bars([bar(NOW, 100, 110.25)])
    assert times(look(store, Windows(store), tape((30, 104.8), first=6))) == []
    assert times(look(store, Windows(store), tape((40, 104.7), first=7))) == [40]


def test_after_a_restart_a_move_that_rests_tells_of_no_trade(store: Store) -> None:
    store.levels.add(move(cooldown=3600.0))
    store.levels.add(move(7))
    assert times(look(store, Windows(store), tape((0, 100), (10, 105)))) == [10]
    store.markets.add_bars([bar(NOW - 600, 100, 105)])
    assert times(look(store, Windows(store), tape((20, 106), (30, 107), first=3))) == [30]


def test_from_bars_a_window_may_be_five_minutes_too_short_and_never_too_long(store: Store) -> None:
    store.levels.add(move(seconds=600))
    store.markets.add_bars([bar(NOW, 100, 100)])  # its low may have been at any time of these five minutes
    began = int(NOW) // BAR_SECONDS * BAR_SECONDS - NOW
    assert look(store, Windows(store), tape((began + 601, 105))) == []
    assert times(look(store, Windows(store), tape((began + 600, 105)))) == [round(began + 600)]


def test_a_gap_longer_than_the_time_of_a_move_is_no_move(store: Store) -> None:
    store.levels.add(move(seconds=600))
    store.markets.add_bars([bar(NOW - 300, 100, 100)])
    windows = Windows(store)
    assert look(store, windows, tape((0, 100))) == []
    assert look(store, windows, tape((700, 110), (705, 111), first=2)) == []
    assert look(store, Windows(store), tape((1500, 120), first=4)) == []


def test_what_candles_fill_counts_as_seen(store: Store) -> None:
    store.levels.add(move())
    windows = Windows(store)
    assert look(store, windows, tape((0, 102))) == []
    windows.fill("Binance spot", "BTC", [bar(NOW + 300, 100, 103)])
    assert times(look(store, windows, tape((900, 104.9), (901, 105), first=2))) == [901]


def test_another_exchange_with_other_prices_is_no_move(store: Store) -> None:
    store.levels.add(move())
    store.markets.add_bars([bar(NOW - 300, 100, 100)])
    store.markets.set_cursor("Binance spot", "BTC", "1", at=NOW + 0.5)
    windows = Windows(store)
    assert look(store, windows, tape((0, 100))) == []
    elsewhere = [one._replace(venue="Kraken") for one in tape((10, 106), (20, 107))]
    assert look(store, windows, elsewhere) == []
    store.markets.set_cursor("Kraken", "BTC", "1", at=NOW + 20)
    assert look(store, windows, tape((30, 100.1), first=2)) == []
    assert times(look(store, windows, tape((40, 105), first=3))) == [40]
    assert look(store, Windows(store), [one._replace(venue="Kraken") for one in tape((50, 101), first=9)]) == []


def test_a_coin_without_moves_has_no_window(store: Store) -> None:
    windows = Windows(store)
    number = store.levels.add(move())
    look(store, windows, tape((0, 100)))
    store.levels.remove(7, number)
    look(store, windows, tape((1, 100), first=2))
    assert not windows._windows
    store.levels.add(move())
    look(store, windows, tape((2, 100), first=3))
    windows.keep({"ETH"})
    assert not windows._windows


def test_a_chat_without_alerts_and_a_move_removed_before_the_commit_are_told_nothing(store: Store) -> None:
    gone = store.levels.add(move())
    store.levels.add(move(chat_id=8))
    store.levels.add(move(chat_id=9))
    store.chats.put(Chat(chat_id=9, added_by=9, subscribed=False))
    judged = Judged()
    judged.look(store, tape((0, 100), (1, 105)), VENUE, NOW, Windows(store))
    store.levels.remove(7, gone)
    with store.transaction():
        judged.keep(store, now=NOW)
    assert store.messages.alerts("prices") == []


# With the monitor


def test_a_move_seen_by_the_monitor_is_told_and_survives_a_restart(watch: Watch) -> None:
    watch.store.levels.add(move(1, direction="below", note="careful"))
    trade(watch, 77_000, ago=9)
    trade(watch, 76_300, ago=6)
    watch.tick(after=1)
    assert watch.store.messages.alerts("prices") == []
    watch.restart()
    trade(watch, 76_100, ago=3)
    watch.tick(after=5)
    (alert,) = watch.store.messages.alerts("prices")
    assert alert.headline.startswith("BTC fell 1.2 % in about") and alert.headline.endswith(": careful")
    assert alert.facts == "high 77,000 · low 76,100"
    watch.restart()
    trade(watch, 76_000, ago=1)
    watch.tick(after=5)
    assert len(watch.store.messages.alerts("prices")) == 1


# End to end


def test_a_move_set_in_a_topic_is_told_there_and_snoozed_by_its_button(
    sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    bot = run_bot(SEND_RATE="0")
    bot.wait_output("Watching BTC, ETH")
    chat.send_text(GROUP, "/start", user_id=OWNER, chat_type="supergroup", thread_id=5)
    chat.wait_text("Alerts are on", chat_id=GROUP)
    first_look(sim, "BTC")
    sim.market.trade("binance", "BTC", "buy", 77_000, 0.001)
    chat.send_text(GROUP, "/alert BTC up 1% in 1h", user_id=OWNER, chat_type="supergroup", thread_id=9)
    assert chat.wait_text("BTC 1 % up in 1 h", chat_id=GROUP).params["message_thread_id"] == "9"
    wait_asked(sim, 6)
    for price in (77_000, 77_800):
        sim.market.trade("binance", "BTC", "buy", price, 0.001)
    told = chat.wait_text("BTC rose 1.0 %", chat_id=GROUP)
    assert told.params["message_thread_id"] == "9"
    label, data = told.buttons[0]
    assert label == "Snooze 1 h"
    before = chat.delivered
    chat.press(told.message_id, data, chat_id=GROUP, user_id=OWNER)
    assert "snoozed until" in chat.wait_text("snoozed until", after=before).text
    assert bot.stop()[0] == 0


def test_moves_set_by_typing_are_told_once_each_over_kills(
    sim: Simulator, chat: SimBot, run_bot: Run, tmp_path: Path
) -> None:
    bot = reading_bot(sim, chat, run_bot)
    said(chat, "/alert BTC up 1% in 1h", "BTC 1 % up in 1 h")
    price = 77_000.0
    for number in range(6):
        price *= 1.0101
        sim.market.trade("binance", "BTC", "buy", price, 0.001)
        wait_asked(sim, 1 + number % 3)  # a kill before, while or after it reads them
        if number % 2:
            bot.kill()
            bot = run_bot(SEND_RATE="0")
    with contextlib.closing(Store(next(tmp_path.glob("data/*/bot.db")))) as store:
        sim.wait(lambda: len(store.messages.alerts("prices", limit=99)) >= 6, what="all are told")
        wait_asked(sim, 6)
        assert bot.stop()[0] == 0
        assert len({alert.price for alert in store.messages.alerts("prices", limit=99)}) == 6
        assert len(store.messages.alerts("prices", limit=99)) == 6
    assert not [sent for sent in chat.sent if sent.chat_id == FRIEND and "rose" in sent.text]
