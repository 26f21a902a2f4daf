"""What the store keeps of the markets: gaps, bars, liquidations, rates and wallets."""

from __future__ import annotations

import pytest
from conftest import NewStore
from storekit import DAY, NOW, file_only, path_of, raw, written

from base.clock import slot
from store import Store
from store.markets import RATES_EVERY, Cursor, Gap
from store.rows import Chat
from store.wallets import TrackedPosition, WalletSnapshot, WatchedWallet
from venues.perpetuals import Interest, Liquidation, Position, Rate
from venues.trades import Bar


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(new_store: NewStore, clock: Clock) -> Store:
    return new_store(now=clock)


def bar(at: float, symbol: str = "BTC") -> Bar:
    return Bar(symbol, int(at), 10.0, 12.0, 8.0, 11.0, 100.0, 50.0)


def liquidation(row: str, at: float) -> Liquidation:
    return Liquidation("OKX", "BTC", "long", 1e6, 77_000.0, int(at * 1000), row)


def rate(symbol: str, venue: str = "OKX") -> Rate:
    return Rate(venue, symbol, f"{symbol}-SWAP", 0.0001, 8.0, 0, 0)


def test_open_interest_of_a_venue_is_kept_every_five_minutes_for_a_day(store: Store) -> None:
    began = slot(NOW)

    def note(venue: str, minutes: float) -> None:
        found = [Interest(venue, coin, 5.5, 3e9, int((began + minutes * 60) * 1000)) for coin in ("BTC", "币")]
        with store.transaction():
            store.markets.note_interest(venue, found)

    for minutes in (0, 1, 4, 5, 6):
        note("OKX", minutes)
    note("Hyperliquid", 5)
    assert [
        (one.venue, one.at_ms / 1000 - began) for one in store.markets.interest(since=began) if one.symbol == "币"
    ] == [
        ("OKX", 0.0),
        ("Hyperliquid", 300.0),
        ("OKX", 300.0),
    ]
    assert store.markets.interest(since=began + 300)[0] == Interest(
        "Hyperliquid", "BTC", 5.5, 3e9, int(began + 300) * 1000
    )
    note("OKX", 26 * 60)
    store.prune(now=began + 25 * 3600 + 250)
    assert [int(one.at_ms / 1000 - began) for one in store.markets.interest(since=0)] == [300] * 4 + [26 * 3600] * 2
    note("OKX", 4)
    assert {one.at_ms / 1000 - began for one in store.markets.interest(since=0)} == {240, 300}, "a clock was put back"


def test_trades_of_one_bar_that_come_in_two_parts_are_one_bar(store: Store) -> None:
    store.markets.add_bars([Bar("BTC", 300, 10.0, 12.0, 8.0, 11.0, 100.0, 50.0)])
    store.markets.add_bars([Bar("BTC", 300, 11.0, 11.5, 7.0, 9.0, 5.0, 7.0)])
    assert store.markets.bars("BTC", since=0) == [Bar("BTC", 300, 10.0, 12.0, 7.0, 9.0, 105.0, 57.0)]
    store.markets.add_bars([Bar("BTC", 300, 9.0, 13.0, 7.5, 10.0, 0.0, 0.0)])
    assert store.markets.bars("BTC", since=0) == [Bar("BTC", 300, 10.0, 13.0, 7.0, 10.0, 105.0, 57.0)]


def test_bars_are_those_of_the_coin_from_a_time_on_oldest_first(store: Store) -> None:
    assert store.markets.trades_from() is None
    store.markets.add_bars([bar(900), bar(300), bar(600), bar(600, "ETH")])
    assert [found.at for found in store.markets.bars("BTC", since=600)] == [600, 900]
    assert store.markets.trades_from() == 300


def test_coins_as_one_bar_each_are_those_that_were_traded_in_the_order_asked_for(store: Store) -> None:
    store.markets.add_bars([bar(300), bar(600), bar(600, "ETH"), Bar("SOL", 900, 5.0, 6.0, 4.0, 5.5, 1.0, 2.0)])
    store.markets.add_bars([Bar("BTC", 900, 11.0, 20.0, 9.0, 15.0, 10.0, 20.0)])
    assert store.markets.one_bar_each(["SOL", "XRP", "BTC"], since=600) == [
        Bar("SOL", 900, 5.0, 6.0, 4.0, 5.5, 1.0, 2.0),
        Bar("BTC", 600, 10.0, 20.0, 8.0, 15.0, 110.0, 70.0),
    ]
    assert store.markets.one_bar("BTC", since=600) == Bar("BTC", 600, 10.0, 20.0, 8.0, 15.0, 110.0, 70.0)
    assert store.markets.one_bar("ETH", since=900) is None


@file_only
def test_new_trades_of_all_coins_cost_the_disk_a_few_pages_whatever_is_known(store: Store) -> None:
    coins = [f"C{number}" for number in range(10)]
    store.markets.add_bars([bar(at, coin) for coin in coins for at in range(300, 300 + 7 * 86400, 300)])
    log = path_of(store).with_name(f"{path_of(store).name}-wal")
    raw(store).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.markets.add_bars([bar(7 * 86400, coin) for coin in coins])
    assert log.stat().st_size < 4 * 4120, "the pages of these bars, and not one of each coin"


def test_bars_are_kept_for_a_chart_of_30_days_and_liquidations_for_two(store: Store) -> None:
    store.markets.add_bars([bar(NOW - 30.5 * DAY), bar(NOW - 31.5 * DAY)])
    store.markets.add_liquidations([liquidation("new", NOW - 1.9 * DAY), liquidation("old", NOW - 2.1 * DAY)])
    store.prune(now=NOW)
    assert store.markets.trades_from() == int(NOW - 30.5 * DAY)
    assert [found.row for found in store.markets.liquidations(since=0)] == ["new"]


def test_a_gap_is_noted_once_and_the_newest_comes_first(store: Store, clock: Clock) -> None:
    assert store.markets.add_gap("Kraken", "BTC", missed=None, start=1.0, end=2.0)
    assert not store.markets.add_gap("Kraken", "BTC", missed=None, start=1.0, end=3.0)
    clock.now += 1
    assert store.markets.add_gap("Kraken", "BTC", missed=9, start=1.0, end=2.0), "its number is news"
    assert not store.markets.add_gap("Kraken", "BTC", missed=9, start=1.0, end=2.0)
    assert store.markets.gaps(since=0) == [
        Gap("Kraken", "BTC", 9, 1.0, 2.0),
        Gap("Kraken", "BTC", None, 1.0, 2.0),
    ]
    assert len(store.markets.gaps(since=NOW)) == 1


def test_a_liquidation_is_new_until_it_is_kept_and_kept_once(store: Store) -> None:
    first, second = liquidation("1", NOW), liquidation("2", NOW + 1)
    assert store.markets.new_liquidations([second, first, second]) == [second, first]
    store.markets.add_liquidations([first])
    assert store.markets.new_liquidations([first, second]) == [second]
    assert store.markets.new_liquidations([]) == []
    store.markets.add_liquidations([first, second])
    assert store.markets.liquidations(since=NOW - 1) == [second, first]
    assert store.markets.liquidations(since=NOW) == [second]
    assert store.markets.liquidations(since=0, symbol="ETH") == []


def test_the_beginning_of_liquidations_is_the_first_one(store: Store) -> None:
    assert store.markets.liquidations_from() == float("inf")
    for now in (NOW, NOW + 9):
        store.markets.begin_liquidations(now=now)
    assert store.markets.liquidations_from() == NOW


def test_a_venues_rates_are_replaced_all_at_once_and_no_other_venues(store: Store) -> None:
    store.markets.put_rates("OKX", [rate("BTC"), rate("ETH")])
    store.markets.put_rates("Gate", [rate("BTC", "Gate")])
    store.markets.put_rates("OKX", [rate("SOL")])
    assert store.markets.rates() == [rate("BTC", "Gate"), rate("SOL")]
    assert store.markets.rates("SOL") == [rate("SOL")]


def test_rates_that_are_as_they_were_are_not_written_again_and_are_of_now_within_minutes(store: Store) -> None:
    def put(at_ms: int, more: float = 0.0, next_ms: int = rate("BTC").next_ms) -> int:
        before = written(store)
        latest = rate("BTC")._replace(at_ms=at_ms, rate=rate("BTC").rate + more, next_ms=next_ms)
        store.markets.put_rates("OKX", [latest, rate("ETH")._replace(at_ms=latest.at_ms)])
        assert all(latest.at_ms - 600_000 < kept.at_ms <= latest.at_ms for kept in store.markets.rates())
        return written(store) - before

    begun = int(slot(NOW, RATES_EVERY) * 1000)
    put(begun)
    assert put(begun + 60_000) == 0
    assert put(begun + 120_000, 2e-9) == 0
    assert put(begun + 180_000, 2e-6) == 1
    assert store.markets.rates("BTC")[0].rate == rate("BTC").rate + 2e-6
    assert put(begun + 600_000, 2e-6, next_ms=5) == 2, "and when they were read"


def test_a_cursor_is_written_when_it_moves_and_its_time_alone_once_in_each_slot_of_the_clock(store: Store) -> None:
    def put(text: str, at: float) -> int:
        before = written(store)
        store.markets.set_cursor("OKX", "BTC", text, at=at)
        return written(store) - before

    began = slot(NOW)
    assert put("5", began + 200) == 1
    assert [put("5", began + later) for later in (215, 299, 300, 301, 599, 600, 899)] == [0, 0, 1, 0, 0, 1, 0]
    assert put("6", began + 899) == 1
    assert put("6", began + 599) == 1, "a clock that was ahead"
    assert store.markets.cursor("OKX", "BTC") == Cursor("6", began + 599)


def test_the_notes_of_all_feeds_come_in_the_same_slot_of_the_clock(store: Store) -> None:
    began = slot(NOW, RATES_EVERY)

    def look(at: float, part: int) -> int:
        before = written(store)
        if part == 0:
            store.markets.set_cursor("Kraken", "BTC", "1", at=at)
        elif part == 1:
            store.markets.put_rates("OKX", [rate("BTC")._replace(at_ms=int(at * 1000))])
        else:
            store.markets.note_interest("OKX", [Interest("OKX", "BTC", 5.5, 3e9, int(at * 1000))])
        return written(store) - before

    for part in range(3):  # each begins at another time
        look(began + 100 + 55 * part, part)
    assert [sum(look(began + at, part) for part in range(3)) for at in range(240, 960, 30)] == (
        [0, 0, 2] + [0] * 9 + [3] + [0] * 9 + [2, 0]
    )


def test_a_fact_that_stays_the_same_is_not_written(store: Store) -> None:
    store.set_value("state", "{}")
    before = written(store)
    store.set_value("state", "{}")
    assert written(store) == before


def watch(store: Store, chat_id: int, *addresses: str) -> None:
    store.chats.put(Chat(chat_id=chat_id, added_by=chat_id))
    for address in addresses:
        store.wallets.watch(WatchedWallet(chat_id, address, f"name of {address}"), now=NOW)


def test_the_wallet_read_longest_ago_comes_first_and_those_of_chats_without_alerts_not_at_all(store: Store) -> None:
    watch(store, 1, "0xa", "0xb", "0xc")
    watch(store, 2, "0xb", "0xd")
    store.unsubscribe(2, note="")
    store.wallets.put_look("0xa", WalletSnapshot({}, NOW + 2))
    store.wallets.put_look("0xb", WalletSnapshot({}, NOW + 1))
    assert list(store.wallets.watchers()) == ["0xc", "0xb", "0xa"]
    assert [wallet.chat_id for wallet in store.wallets.watchers()["0xb"]] == [1]


def test_a_wallet_that_no_chat_with_alerts_watches_is_forgotten(store: Store) -> None:
    watch(store, 1, "0xa")
    watch(store, 2, "0xb")
    snapshot = WalletSnapshot({"BTC": TrackedPosition(Position("BTC", 1.0, 7e4, 7e4, 0.0, 3.0), 1.0, True)}, NOW)
    for address in ("0xa", "0xb", "0xc"):
        store.wallets.put_look(address, snapshot)
    store.unsubscribe(2, note="")
    store.wallets.forget_unwatched()
    assert [store.wallets.look(address) for address in ("0xa", "0xb", "0xc")] == [snapshot, None, None]


def test_a_bar_that_was_built_from_trades_stays_and_a_flawed_one_is_replaced_once(store: Store) -> None:
    def bar(at: int, usd: float) -> Bar:
        return Bar("BTC", at, 1.0, 1.0, 1.0, 1.0, usd, 0.0)

    store.markets.add_bars([bar(0, 1), bar(300, 1)])
    store.markets.mark_flawed([("BTC", 300), ("BTC", 600)])
    assert store.markets.whole_bars("BTC", since=0, until=900) == {0}
    store.markets.fill_bars([bar(0, 9), bar(300, 9), bar(600, 9)])
    store.markets.fill_bars([bar(300, 5), bar(600, 5)])
    assert [one.buy_usd for one in store.markets.bars("BTC", since=0)] == [1, 9, 9]
    assert store.markets.whole_bars("BTC", since=0, until=900) == {0, 300, 600}


def test_the_bar_in_which_a_removed_coin_was_read_last_is_flawed(store: Store) -> None:
    store.markets.set_cursor("Binance spot", "BTC", "1", at=1000.0)
    store.markets.add_bars([Bar("BTC", 900, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0)])
    store.markets.forget_cursors("BTC")
    assert store.markets.whole_bars("BTC", since=0, until=2000) == set()
