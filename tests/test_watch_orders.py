"""Clustering: the same orders as a slow, obvious reference, whatever the pages; never from background alone."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from venues.trades import Trade
from watch.orders import Clusterer, Order, automatic_threshold

MANY = settings().max_examples  # 50, or what the profile says

THRESHOLD = 100_000.0
START_MS = 1_789_308_895_000
END = 10**9  # ms after which everything is closed


def trade(trade_id: int, at: int, side: str, usd: float, price: float = 100.0) -> Trade:
    return Trade("Venue", "BTC", trade_id, price, usd / price, side, START_MS + at)


def clusterer(threshold: float = THRESHOLD) -> Clusterer:
    return Clusterer(threshold=threshold)


def close(trades: list[Trade]) -> list[Trade]:
    """With a row of later time, too small to matter, that closes everything."""
    return [*trades, trade((trades[-1].trade_id if trades else 0) + 1, END, "buy", 0.01)]


def reference(trades: list[Trade], threshold: float) -> list[tuple[str, list[Trade]]]:
    """For each side alone: lists of fills, found by looking at every fill against its cluster's own fills."""
    found = []
    for side in ("buy", "sell"):
        cluster: list[Trade] = []
        for row in [*(t for t in trades if t.taker_side == side), None]:
            matters = row is not None and row.price * row.quantity >= threshold / 1000
            if row is not None and cluster:
                last = max(t.at_ms for t in cluster if t.price * t.quantity >= threshold / 1000)
                if row.at_ms <= last + 100 and row.at_ms <= cluster[0].at_ms + 1000:
                    cluster.append(row)
                    continue
            if sum(t.price * t.quantity for t in cluster) >= threshold:
                found.append((side, cluster))
            cluster = [row] if row is not None and matters else []
    return sorted(found, key=lambda pair: pair[1][0].trade_id)


@st.composite
def tapes(draw: st.DrawFn) -> list[Trade]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0, 0, 0, 1, 40, 99, 100, 101, 300, 950, 1100]),
                st.sampled_from(["buy", "sell"]),
                st.sampled_from([1.0, 99.0, 101.0, 30_000.0, 60_000.0, 120_000.0]),
                st.sampled_from([99.5, 100.0, 100.25]),
            ),
            max_size=60,
        )
    )
    at, tape = 0, []
    for number, (step, side, usd, price) in enumerate(rows):
        at += step
        tape.append(trade(1000 + number, at, side, usd, price))
    return tape


def summary(orders: list[Order]) -> list[Order]:
    return sorted(orders, key=lambda order: order.first.trade_id)


@given(tapes())
@settings(max_examples=3 * MANY, deadline=None)
def test_orders_are_those_of_a_slow_obvious_reference(tape: list[Trade]) -> None:
    orders = summary(clusterer().feed(close(tape)))
    expected = reference(tape, THRESHOLD)
    assert len(orders) == len(expected)
    for order, (side, fills) in zip(orders, expected, strict=True):
        assert order.first.taker_side == side
        assert (order.first.trade_id, order.last.trade_id, order.fills) == (
            fills[0].trade_id,
            fills[-1].trade_id,
            len(fills),
        )
        assert math.isclose(order.notional, math.fsum(t.price * t.quantity for t in fills), rel_tol=1e-12)
        assert math.isclose(order.quantity, math.fsum(t.quantity for t in fills), rel_tol=1e-12)
        assert (order.low, order.high) == (min(t.price for t in fills), max(t.price for t in fills))
        assert (order.first.price, order.last.price) == (fills[0].price, fills[-1].price)
        assert (order.first.at_ms, order.last.at_ms) == (fills[0].at_ms, fills[-1].at_ms)
        assert order.last.at_ms - order.first.at_ms <= 1000
        assert order.low * 0.999999 <= order.vwap <= order.high * 1.000001


@given(tapes(), st.lists(st.integers(0, 61), max_size=8))
@settings(max_examples=3 * MANY, deadline=None)
def test_pages_cut_anywhere_give_the_same_orders(tape: list[Trade], cuts: list[int]) -> None:
    tape = close(tape)
    whole, paged = clusterer(), clusterer()
    orders: list[Order] = []
    edges = [0, *sorted(cut for cut in cuts if cut <= len(tape)), len(tape)]
    for start, end in pairwise(edges):
        orders += paged.feed(tape[start:end])
    assert orders == whole.feed(tape)


@given(tapes(), st.lists(st.integers(0, 61), max_size=4))
@settings(max_examples=3 * MANY, deadline=None)
def test_a_restart_anywhere_finds_every_order_once_with_the_same_key(tape: list[Trade], kills: list[int]) -> None:
    tape = close(tape)
    orders: list[Order] = []
    reader, position = clusterer(), 0
    for end in [*sorted(kill for kill in kills if kill <= len(tape)), len(tape)]:
        orders += reader.feed(tape[position:end])
        first, counted = reader.open_since(), reader.counted()
        position = end if first is None else first.trade_id - tape[0].trade_id
        reader = clusterer()
        reader.resume(counted)
    assert summary(orders) == summary(clusterer().feed(tape))


def test_an_order_that_closed_before_a_restart_is_not_found_again_on_a_later_page() -> None:
    """The other side's order was still open then, so the restart reads from before the one that was told."""
    tape = [
        trade(0, 0, "buy", 150_000.0),
        trade(1, 10, "sell", 150_000.0),
        trade(2, 80, "buy", 150_000.0),
        trade(3, 150, "buy", 150_000.0),
    ]
    reader = clusterer()
    assert [order.first.taker_side for order in reader.feed(tape)] == ["sell"]
    again = clusterer()
    again.resume(reader.counted())
    orders = [order for page in (tape[:1], tape[1:2], tape[2:], close(tape)[-1:]) for order in again.feed(page)]
    assert [(order.first.taker_side, order.fills) for order in orders] == [("buy", 3)]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["buy", "sell"])), min_size=1, max_size=300))
@settings(max_examples=MANY, deadline=None)
def test_background_flow_alone_never_alerts_however_dense(steps: list[tuple[int, str]]) -> None:
    at, tape = 0, []
    for number, (step, side) in enumerate(steps * 20):  # up to 6,000 fills of 99.9 dollars: 599,400 dollars
        at += step // 3
        tape.append(trade(number, at, side, THRESHOLD / 1000 * 0.999))
    reader = clusterer()
    assert reader.feed(close(tape)) == []
    assert reader.pending_usd == 0


def test_a_chain_of_fills_that_matter_is_cut_after_the_span() -> None:
    tape = [trade(number, number * 90, "buy", 150.0) for number in range(1000)]  # 150,000 dollars in 90 s
    assert clusterer().feed(close(tape)) == []


def test_a_whale_of_forty_fills_over_two_pages_is_one_order() -> None:
    fills = [trade(number, number // 4, "sell", 5_000.0, 100.0 - number * 0.01) for number in range(40)]
    crumbs = [trade(40, 10, "buy", 3.0)]
    reader = clusterer()
    assert reader.feed(fills[:17]) == []
    (order,) = reader.feed(close([*fills[17:], *crumbs]))
    assert (order.first.taker_side, order.fills, order.key) == ("sell", 40, "Venue:BTC:0")
    assert math.isclose(order.notional, 200_000.0)
    assert math.isclose(order.vwap, 200_000.0 / math.fsum(fill.quantity for fill in fills))


def test_crumbs_of_the_other_side_neither_break_nor_join_an_order() -> None:
    tape = [trade(1, 0, "buy", 60_000.0), trade(2, 50, "sell", 20.0), trade(3, 90, "buy", 60_000.0)]
    (order,) = clusterer().feed(close(tape))
    assert (order.fills, round(order.notional)) == (2, 120_000)


def test_a_small_fill_of_the_same_side_counts_but_does_not_extend_the_window() -> None:
    tape = [
        trade(1, 0, "buy", 120_000.0),
        trade(2, 80, "buy", 10.0),
        trade(3, 150, "buy", 10.0),
        trade(4, 160, "buy", 90_000.0),
    ]
    (order,) = clusterer().feed(close(tape))
    assert (order.fills, order.last.trade_id, round(order.notional)) == (2, 2, 120_010)


def test_the_head_of_the_feed_closes_an_order_only_by_venue_time_and_a_second_read() -> None:
    reader = clusterer()
    reader.feed([trade(1, 0, "buy", 150_000.0)])
    late = START_MS + 60_000
    assert reader.head_reached(late) == []  # the page after it was not read yet
    assert reader.head_reached(0) == []  # the venue did not tell its time
    assert reader.head_reached(START_MS + 999) == []
    assert len(reader.head_reached(START_MS + 1000)) == 1
    assert reader.head_reached(late) == []


def test_a_read_that_continues_an_order_keeps_it_open_at_the_head() -> None:
    reader = clusterer()
    reader.feed([trade(1, 0, "buy", 150_000.0)])
    reader.head_reached(START_MS + 50)
    reader.feed([trade(2, 60, "buy", 150_000.0)])
    assert reader.head_reached(START_MS + 5000) == []
    (order,) = reader.head_reached(START_MS + 5000)
    assert order.fills == 2


def test_a_row_with_a_wrong_late_time_does_not_swallow_what_follows() -> None:
    tape = [trade(1, 10**8, "buy", 500.0), trade(2, 0, "buy", 150_000.0), trade(3, 500, "sell", 1.0)]
    (order,) = clusterer().feed(tape)
    assert order.first.trade_id == 2


def test_an_order_below_the_threshold_is_none() -> None:
    assert clusterer().feed(close([trade(1, 0, "buy", THRESHOLD - 1)])) == []
    assert len(clusterer().feed(close([trade(1, 0, "buy", THRESHOLD)]))) == 1


def test_automatic_thresholds_follow_the_volume_within_bounds() -> None:
    assert automatic_threshold(2.1e9) == 1.05e6
    assert automatic_threshold(1e6) == 100_000
    assert automatic_threshold(1e12) == 5_000_000


def test_after_a_restart_the_side_that_is_closed_counts_only_what_comes_after() -> None:
    """A re-read from the open buy's first fill must not find the sell again that closed beside it."""
    reader = clusterer()
    tape = [trade(10, 0, "buy", 60_000.0), trade(11, 10, "sell", 150_000.0), trade(12, 90, "buy", 60_000.0)]
    reader.feed(tape)
    assert reader.counted() == {"buy": 10, "sell": 11}
    sells = reader.feed([trade(13, 115, "buy", 60_000.0)])
    assert [order.key for order in sells] == ["Venue:BTC:11"]
    assert reader.counted() == {"buy": 10, "sell": 14}
    again = clusterer()
    again.resume(reader.counted())
    assert again.counted() == {"buy": 10, "sell": 14}
    assert again.feed([*tape, trade(13, 115, "buy", 60_000.0), trade(14, 120, "sell", 150_000.0)]) == []
    assert [order.key for order in again.feed([trade(15, END, "buy", 0.01)])] == ["Venue:BTC:10", "Venue:BTC:14"]


def test_a_fill_of_exactly_a_thousandth_of_the_threshold_opens_an_order() -> None:
    (order,) = clusterer().feed(close([trade(1, 0, "buy", 100.0), trade(2, 0, "buy", 100_000.0)]))
    assert (order.first.trade_id, order.fills) == (1, 2)


def test_a_fill_just_before_an_order_by_the_clock_does_not_close_it() -> None:
    tape = [trade(1, 200, "buy", 60_000.0), trade(2, 100, "sell", 1.0), trade(3, 250, "buy", 60_000.0)]
    assert [order.fills for order in clusterer().feed(close(tape))] == [2]
    early = [tape[0], trade(2, 99, "sell", 1.0), tape[2]]
    assert clusterer().feed(close(early)) == []


def test_a_fill_that_closes_one_side_leaves_the_other_open() -> None:
    tape = [trade(1, 0, "buy", 60_000.0), trade(2, 90, "sell", 60_000.0)]
    tape += [trade(3, 150, "buy", 1.0), trade(4, 180, "sell", 60_000.0)]
    assert [(order.first.trade_id, order.fills) for order in clusterer().feed(close(tape))] == [(2, 2)]
