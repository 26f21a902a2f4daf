"""Open interest: which change is told, to whom, and once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import TOKEN
from hypothesis import given
from hypothesis import strategies as st

from base.config import Settings
from store import Store
from store.rows import Chat
from venues.perpetuals import Interest
from watch import interest_monitor
from watch.feeds import Context
from watch.interest import LEAST_USD, SPAN_MS, change
from watch.interest_monitor import InterestMonitor

START_MS = 1_750_000_000_000
MARK = 0.05


def interest(coins: float, *, minutes: float = 0.0, price: float = 70_000.0, symbol: str = "BTC") -> Interest:
    return Interest("OKX", symbol, coins, coins * price, START_MS + int(minutes * 60_000))


histories = st.lists(
    st.tuples(st.floats(0.2, 30), st.floats(-0.09, 0.09), st.floats(0.5, 2)), min_size=1, max_size=60
)


def series(steps: list[tuple[float, float, float]]) -> list[Interest]:
    made, coins, minutes = [interest(30_000)], 30_000.0, 0.0
    for after, share, price in steps:
        coins, minutes = coins * (1 + share), minutes + after
        made.append(interest(coins, minutes=minutes, price=70_000 * price))
    return made


@given(histories)
def test_exactly_the_changes_of_an_hour_are_told_and_none_twice(steps: list[tuple[float, float, float]]) -> None:
    looks, since_ms = series(steps), 0
    for number, now in enumerate(looks):
        compared = [one for one in looks[:number] if one.at_ms >= max(since_ms, now.at_ms - SPAN_MS)]
        shares = [now.coins / one.coins - 1 for one in compared]
        found = change(now, looks[:number], mark=MARK, since_ms=since_ms)
        assert (found is not None) == any(abs(share) >= MARK for share in shares)
        if found is not None:
            assert found.share == max(shares, key=abs)
            assert (found.usd > 0) == (found.share > 0)
            since_ms = now.at_ms


def test_a_price_that_moves_opens_no_position_and_little_interest_is_not_told() -> None:
    looks = [interest(30_000, minutes=number, price=70_000 * 1.2**number) for number in range(10)]
    assert change(looks[-1], looks[:-1], mark=0.01, since_ms=0) is None
    small = LEAST_USD / 70_000 * 0.9
    assert change(interest(small, minutes=5), [interest(small / 2)], mark=MARK, since_ms=0) is None


Look = Callable[..., None]


class Watch:
    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "bot.db")
        self.store.chats.put(Chat(chat_id=7, added_by=7))
        self.clock = START_MS / 1000
        self.restart()

    def restart(self) -> None:
        context = Context(
            settings=Settings(token=TOKEN, symbols=("BTC", "ETH")), store=self.store, now=lambda: self.clock
        )
        self.monitor = InterestMonitor(context, {"OKX": lambda symbol: f"https://example.org/{symbol}"})

    def look(self, coins: float, *, minutes: float, **more: Any) -> None:
        self.clock = START_MS / 1000 + minutes * 60
        self.monitor.look("OKX", [interest(coins, minutes=minutes, **more)])

    @property
    def told(self) -> list[tuple[int, str]]:
        found = [self.store.delivery(number) for number, _, _ in self.store.pending()]
        return sorted(
            (one.chat_id, alert.headline) for one in found if one for alert in self.store.messages.bundle(one)[1]
        )


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(tmp_path)
    yield watch
    watch.store.close()


def test_each_chat_is_told_at_its_own_mark_with_dollars_and_the_price_and_a_restart_repeats_none(
    watch: Watch,
) -> None:
    watch.store.chats.put(Chat(chat_id=8, added_by=8, thresholds={"oi": {"BTC": 5.0}}))
    watch.look(30_000, minutes=0)
    watch.look(31_800, minutes=20, price=70_700)
    assert watch.told == [(8, "BTC open interest on OKX: +6.0 % in 20 min")]
    watch.restart()
    watch.look(31_900, minutes=21)
    watch.look(33_300, minutes=50)
    assert watch.told == [
        (7, "BTC open interest on OKX: +11.0 % in 50 min"),
        (8, "BTC open interest on OKX: +6.0 % in 20 min"),
    ], "8 needs another 5 % from what it was told"
    (last, first) = watch.store.messages.alerts("oi", limit=9)
    assert first.facts == "127M USD opened, now 2.25B USD · price +1.0 %"
    assert (last.mark, last.url) == (10.0, "https://example.org/BTC")
    watch.look(31_500, minutes=70)
    assert watch.told[-1] == (8, "BTC open interest on OKX: -5.4 % in 20 min")


def test_what_is_older_than_an_hour_or_than_a_new_mark_is_no_news(watch: Watch) -> None:
    watch.look(30_000, minutes=0)
    watch.look(33_500, minutes=61)
    watch.store.chats.put(Chat(chat_id=8, added_by=8, thresholds={"oi": {"*": 2.0}}))
    watch.look(34_500, minutes=62)
    watch.look(34_600, minutes=63)
    assert watch.told == []


def test_when_an_alert_could_not_be_stored_it_is_told_at_the_next_look(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.look(30_000, minutes=0)

    def fails(*_: object, **__: object) -> None:
        raise OSError("killed here")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="killed"):
        broken.setattr(interest_monitor.InterestMonitor, "_alert", fails)
        watch.look(34_000, minutes=10)
    watch.restart()
    watch.look(34_000, minutes=11)
    watch.look(34_000, minutes=12)
    assert [headline for _, headline in watch.told] == ["BTC open interest on OKX: +13.3 % in 11 min"]


def test_a_clock_that_was_ahead_silences_nothing(watch: Watch) -> None:
    watch.look(30_000, minutes=6000)
    watch.look(30_000, minutes=0)
    watch.look(34_000, minutes=10)
    assert len(watch.told) == 1
    assert {one.at_ms for one in watch.store.markets.interest(since=0)} == {START_MS, START_MS + 600_000}


def test_a_look_in_five_minutes_is_kept(watch: Watch) -> None:
    for number in range(60):
        watch.look(30_000, minutes=number)
    kept = watch.store.markets.interest(since=0)
    assert {b.at_ms - a.at_ms for a, b in pairwise(kept[1:])} == {300_000}, "the first one is amid a slot"
    assert len(kept) == 13
