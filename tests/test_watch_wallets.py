"""Wallets: what changed between two looks; the sum of what is told is what happened."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from store.wallets import dump_positions, load_positions
from venues.perpetuals import Position
from watch.wallets import Change, compare, first_sight

MANY = settings().max_examples  # 50, or what the profile says

COINS = ("BTC", "ETH", "SOL")


def position(size: float, *, coin: str = "BTC", price: float = 100.0, liquidation: float = 0.0) -> Position:
    return Position(coin, size, abs(size) * price, 95.0, liquidation, 20.0)


def kinds(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.kind, change.coin) for change in changes]


sizes = st.sampled_from([-2.0, -1.0, -0.8, 0.0, 0.0, 0.5, 1.0, 1.2, 1.25, 1.3, 2.0])
snapshots = st.lists(st.fixed_dictionaries({coin: sizes for coin in COINS}), min_size=1, max_size=15)


def look(snapshot: dict[str, float]) -> list[Position]:
    return [position(size, coin=coin) for coin, size in snapshot.items() if size]


@given(snapshots)
@settings(max_examples=3 * MANY, deadline=None)
def test_changes_are_those_of_a_slow_obvious_reference(history: list[dict[str, float]]) -> None:
    known = first_sight(look(history[0]))
    told = dict(history[0])
    for snapshot in history[1:]:
        changes, known = compare(known, look(snapshot))
        expected = []
        for coin in COINS:
            before, after = told[coin], snapshot[coin]
            if before == 0 and after != 0:
                kind = "open"
            elif before != 0 and after == 0:
                kind = "close"
            elif before * after < 0:
                kind = "flip"
            elif before and abs(after) / abs(before) >= 1.25:
                kind = "more"
            elif before and abs(after) / abs(before) <= 0.75:
                kind = "less"
            else:
                continue
            expected.append((kind, coin))
            told[coin] = after
        assert sorted(kinds(changes)) == sorted(expected)
        assert {coin: seen.alerted for coin, seen in known.items()} == {c: size for c, size in told.items() if size}


@given(snapshots)
@settings(max_examples=3 * MANY, deadline=None)
def test_looking_twice_and_restarting_after_each_look_change_nothing(history: list[dict[str, float]]) -> None:
    once = twice = first_sight(look(history[0]))
    for snapshot in history[1:]:
        expected, once = compare(once, look(snapshot))
        changes, twice = compare(twice, look(snapshot))
        more, twice = compare(load_positions(json.loads(json.dumps(dump_positions(twice)))), look(snapshot))
        assert changes == expected and more == [] and twice == once


def test_nothing_is_told_at_first_sight_and_not_even_that_it_is_near() -> None:
    known = first_sight([position(1.0, liquidation=99.0)])
    assert compare(known, [position(1.0, liquidation=99.0)])[0] == []


def test_many_small_steps_are_seen_as_one_change() -> None:
    known = first_sight([position(1.0)])
    told = []
    for size in (1.05, 1.1, 1.15, 1.2, 1.25, 1.3):
        changes, known = compare(known, [position(size)])
        told += changes
    assert kinds(told) == [("more", "BTC")]
    assert round(told[0].usd, 6) == 25.0


def test_a_closed_position_is_told_with_what_it_was_worth() -> None:
    changes, known = compare(first_sight([position(-2.0)]), [])
    assert kinds(changes) == [("close", "BTC")] and known == {}
    assert changes[0].shown.side == "short" and changes[0].usd == 200.0


def test_a_turned_position_counts_both_ways() -> None:
    changes, _ = compare(first_sight([position(1.0)]), [position(-2.0)])
    assert kinds(changes) == [("flip", "BTC")] and changes[0].usd == 300.0


def test_near_liquidation_is_told_once_until_it_was_far_again() -> None:
    known = first_sight([position(1.0, liquidation=80.0)])
    told = []
    for liquidation in (95.5, 96.0, 94.5, 95.5, 90.0, 95.5):
        changes, known = compare(known, [position(1.0, liquidation=liquidation)])
        told.append(kinds(changes))
    assert told == [[("near", "BTC")], [], [], [], [], [("near", "BTC")]]


def test_an_opened_position_that_is_near_is_told_as_both() -> None:
    assert kinds(compare({}, [position(1.0, liquidation=96.0)])[0]) == [("open", "BTC"), ("near", "BTC")]


def test_a_position_that_cannot_be_read_is_not_closed() -> None:
    known = first_sight([position(1.0), position(1.0, coin="ETH")])
    changes, after = compare(known, [position(1.0, coin="ETH")], unread={"BTC"})
    assert changes == [] and after == known
    changes, after = compare(known, [], unread=None)
    assert changes == [] and after == known


def test_a_quarter_more_or_less_is_a_change_and_five_percent_is_near() -> None:
    known = first_sight([position(4.0, liquidation=80.0)])
    for size, kind in ((4.9, []), (5.0, ["more"]), (3.1, []), (3.0, ["less"])):
        changes = compare(known, [position(size, liquidation=80.0)])[0]
        assert [change.kind for change in changes] == kind, size
    changes, known = compare(known, [position(4.0, liquidation=95.0)])
    assert [(change.kind, change.usd) for change in changes] == [("near", 400.0)]
    known = compare(known, [position(4.0, liquidation=92.5)])[1]
    assert kinds(compare(known, [position(4.0, liquidation=95.0)])[0]) == [("near", "BTC")], "it was far again"


def test_a_flipped_or_reopened_position_that_is_near_is_told_as_near_again() -> None:
    known = first_sight([position(1.0, liquidation=96.0)])
    assert kinds(compare(known, [position(-1.0, liquidation=104.0)])[0]) == [("flip", "BTC"), ("near", "BTC")]
