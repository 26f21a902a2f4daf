"""Bars: every trade is counted once, in the bar of its time, however the trades were cut into pages or stopped."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from store import Store
from venues.trades import Bar, Trade, add_to_bars

AT = 1_750_000_200_000  # ms; a bar begins here


def trade(number: int, price: float = 100.0, quantity: float = 1.0, side: str = "buy", at_ms: int = AT) -> Trade:
    return Trade("Binance spot", "BTC", number, price, quantity, side, at_ms)


def test_a_bar_has_the_prices_and_what_takers_bought_and_sold() -> None:
    found: dict[tuple[str, int], Bar] = {}
    add_to_bars(found, [trade(1, 100), trade(2, 130, 2), trade(3, 90, 1, "sell"), trade(4, 110, at_ms=AT + 299_999)])
    assert list(found.values()) == [Bar("BTC", AT // 1000, 100, 130, 90, 110, 100 + 260 + 110, 90)]


def test_a_bar_ends_after_five_minutes() -> None:
    found: dict[tuple[str, int], Bar] = {}
    add_to_bars(found, [trade(1), trade(2, at_ms=AT + 300_000)])
    assert [bar.at for bar in found.values()] == [AT // 1000, AT // 1000 + 300]


many = st.lists(
    st.tuples(st.floats(1, 1e5), st.floats(0.001, 10), st.sampled_from(["buy", "sell"]), st.integers(0, 900_000)),
    max_size=30,
)


@given(many, st.data())
def test_pages_do_not_change_the_bars(rows: list[tuple[float, float, str, int]], data: st.DataObject) -> None:
    rows.sort(key=lambda row: row[3])
    trades = [trade(n, price, quantity, side, AT + ms) for n, (price, quantity, side, ms) in enumerate(rows)]
    whole: dict[tuple[str, int], Bar] = {}
    add_to_bars(whole, trades)
    cut = data.draw(st.integers(0, len(trades)))
    parts: dict[tuple[str, int], Bar] = {}
    add_to_bars(parts, trades[:cut])
    add_to_bars(parts, trades[cut:])
    assert parts == whole


def test_the_store_adds_to_a_bar_that_it_has(tmp_path: Path) -> None:
    store = Store(tmp_path / "bot.db")
    for trades in ([trade(1, 100), trade(2, 120)], [trade(3, 80, side="sell"), trade(4, 90)]):
        found: dict[tuple[str, int], Bar] = {}
        add_to_bars(found, trades)
        store.markets.add_bars(found.values())
    (bar,) = store.markets.bars("BTC", since=0)
    assert bar == Bar("BTC", AT // 1000, 100, 120, 80, 90, 310, 80)
    assert store.markets.bars("BTC", since=AT / 1000 + 1) == []
    store.close()
