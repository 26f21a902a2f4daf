"""Price levels: every trade is judged once, whatever pages and commits it came in, and a touch is told once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER, BotProcess, NewStore, Run, first_look, outgoing
from hypothesis import given
from hypothesis import strategies as st
from test_watch_whale_monitor import Watch

from alerts.held_back import take
from botapi.storage import StoreError
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.levels import Level
from store.rows import Chat
from venues.spot import BinanceSpot
from venues.trades import Trade
from watch.judged import Judged
from watch.levels import Touch, judge

NOW = 1_750_000_000.0
VENUE = BinanceSpot("http://127.0.0.1")


def tape(*prices: float, first: int = 1) -> list[Trade]:
    """Trades of these prices, one a second from NOW on."""
    return [
        Trade("Binance spot", "BTC", number, price, 0.01, "buy", int(NOW * 1000) + number * 1000)
        for number, price in enumerate(prices, first)
    ]


def level(price: float = 100.0, **more: object) -> Level:
    return replace(Level(chat_id=7, symbol="BTC", price=price, state="above"), **more)  # type: ignore[arg-type]


def told(touches: Sequence[Touch]) -> list[int]:
    return [touch.trade.trade_id for touch in touches]


# The rule


def test_one_trade_at_the_level_is_a_touch_however_soon_the_price_leaves_it() -> None:
    after, touches = judge(level(), tape(99, 99.9, 100, 98, 101))
    assert told(touches) == [3] and after.state == "done"
    assert after.touched_ms == touches[0].trade.at_ms


@pytest.mark.parametrize(
    ("start", "direction", "prices", "expected"),
    [
        (99.0, "either", (99.5, 100.2), [2]),
        (101.0, "either", (100.5, 99.9), [2]),
        (99.0, "below", (99.5, 99, 100.1, 100.2, 99.9), [5]),  # already below: it has to come back first
        (101.0, "above", (102, 101, 99.9, 99.8, 100), [5]),
        (101.0, "above", (102, 100.1, 99.9, 100.5), []),  # 0.1 % below it is not far enough
        (None, "either", (100, 100.2, 99.9), [3]),  # where the price is was not known
        (100.0, "either", (100.1, 99.7, 100), [3]),
    ],
)
def test_a_level_waits_on_the_side_where_the_price_is(
    start: float | None, direction: str, prices: tuple[float, ...], expected: list[int]
) -> None:
    begun = level(direction=direction).waiting(start, now=NOW)
    assert told(judge(begun, tape(*prices))[1]) == expected


def test_a_repeated_level_is_told_again_after_the_price_went_away_by_a_fifth_of_a_percent() -> None:
    prices = (100, 99.9, 100, 99.81, 100, 99.8, 100, 100.19, 100, 100.2, 100)
    assert told(judge(level(repeat=True), tape(*prices))[1]) == [1, 7, 11]
    assert told(judge(level(repeat=True, direction="above"), tape(*prices))[1]) == [1, 7]


def test_after_its_rest_a_level_waits_on_the_side_where_the_price_is_then() -> None:
    resting = level(repeat=True, cooldown=3)
    after, touches = judge(resting, tape(100, 99.9, 100.1, 100.1, 100.05, 99.99, 101))
    assert told(touches) == [1, 6], "it rests from the touch at 1 to 4, when the price is above it"
    assert (after.state, after.since_ms) == ("rest", int(NOW * 1000) + 9000)
    assert told(
        judge(level(repeat=True, cooldown=3, direction="above"), tape(100, 99, 100, 101, 100, 99, 100))[1]
    ) == [
        1,
        7,
    ], "it waits for a rise only, so the price has to come back first"


@given(
    prices=st.lists(st.sampled_from((98.0, 99.9, 100.0, 100.1, 102.0)), max_size=40),
    cooldown=st.integers(1, 12),
)
def test_a_level_with_a_rest_is_told_at_each_crossing_that_is_not_in_one(prices: list[float], cooldown: int) -> None:
    """The naive model: look for the next crossing, then begin anew when the rest is over."""
    expected, place = [], 0
    while place < len(prices):
        first = prices[place]
        found = next(
            (
                later
                for later in range(place + 1, len(prices))
                if (first < 100 <= prices[later]) or (first > 100 >= prices[later])
            ),
            None,
        )
        if first == 100:  # on the level itself: away by a fifth of a percent first
            found = None
            place = next((later for later in range(place, len(prices)) if abs(prices[later] - 100) > 1), len(prices))
            continue
        if found is None:
            break
        expected.append(found + 1)
        place = found + cooldown
    begun = level(state="rest", repeat=True, cooldown=cooldown)
    assert told(judge(begun, tape(*prices))[1]) == expected


def test_a_snoozed_level_tells_nothing_until_it_wakes() -> None:
    snoozed = level(repeat=True).resting(NOW + 3)
    assert told(judge(snoozed, tape(101, 99, 100, 99, 100))[1]) == [5]
    assert told(judge(level(state="done").resting(NOW + 3), tape(101, 101, 101, 100))[1]) == [4]


def test_trades_from_before_a_level_was_set_and_after_it_expired_do_not_count() -> None:
    assert not judge(level(since_ms=int(NOW * 1000) + 3000), tape(100, 100, 99))[1]
    assert not judge(level(expires=NOW + 2), tape(99, 100))[1]
    assert told(judge(level(expires=NOW + 2.001), tape(99, 100))[1]) == [2]


# With the store


@pytest.fixture
def store(new_store: NewStore) -> Store:
    store = new_store(now=lambda: NOW)
    store.chats.put(Chat(chat_id=7, added_by=7))
    return store


PRICES = st.sampled_from((98.0, 99.7, 99.8, 99.9, 100.0, 100.1, 100.2, 100.3, 102.0))


@given(
    prices=st.lists(PRICES, min_size=1, max_size=30),
    cuts=st.sets(st.integers(1, 30)),
    commits=st.sets(st.integers(1, 30)),
    levels=st.lists(
        st.builds(
            level,
            price=PRICES,
            direction=st.sampled_from(("above", "below", "either")),
            state=st.sampled_from(("above", "below", "away", "rest", "done")),
            repeat=st.booleans(),
            cooldown=st.sampled_from((0.0, 0.0, 3.0)),
            since_ms=st.sampled_from((0, int(NOW * 1000) + 5000)),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda one: (one.price, one.direction),
    ),
)
def test_any_pages_and_any_commits_tell_what_the_whole_tape_tells(
    prices: list[float],
    cuts: set[int],
    commits: set[int],
    levels: list[Level],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = _kept(tmp_path_factory)
    for one in store.levels.of_chat(7):
        store.levels.remove(7, one.id)
    begun = [replace(one, id=store.levels.add(one)) for one in levels]
    trades, moves, found = tape(*prices), Judged(), []
    places = sorted({0, *(cut for cut in cuts | commits if cut < len(trades)), len(trades)})
    for start, end in itertools.pairwise(places):
        moves.look(store, trades[start:end], VENUE, NOW)
        if end in commits or end == len(trades):
            found += [(touch.level.id, touch.trade.trade_id) for touch, _, _ in moves.touches]
            assert all(store.levels.move(before, after) for before, after in moves.levels.values())
            moves = Judged()
    whole = [judge(one, trades) for one in begun]
    assert sorted(found) == sorted((touch.level.id, touch.trade.trade_id) for _, some in whole for touch in some)
    assert {one.id: one.state for one in store.levels.of_chat(7)} == {after.id: after.state for after, _ in whole}


_STORES: list[Store] = []  # closed with the process


def _kept(folders: pytest.TempPathFactory) -> Store:
    """One store for all examples: opening a file for each takes longer than all else."""
    if not _STORES:
        _STORES.append(Store(folders.mktemp("levels") / "bot.db"))
        _STORES[0].chats.put(Chat(chat_id=7, added_by=7))
    return _STORES[0]


def test_what_was_removed_or_set_anew_before_the_commit_is_not_told(store: Store) -> None:
    gone, again = store.levels.add(level(100)), store.levels.add(level(101))
    moves = Judged()
    moves.look(store, tape(102), VENUE, NOW)
    store.levels.remove(7, gone)
    (kept,) = store.levels.of_chat(7)
    store.levels.move(kept, kept.waiting(102, now=NOW + 5))
    moves.keep(store, now=NOW)
    assert store.messages.alerts("prices") == []
    assert [(one.id, one.state) for one in store.levels.of_chat(7)] == [(again, "below")]


def test_what_another_venue_traded_before_a_level_changed_is_not_judged_again(store: Store) -> None:
    """Back at the preferred venue, its trades of an outage are read although the fallback's were."""
    store.levels.add(level(repeat=True))
    for trades in (tape(100, 99, first=10), tape(*[101] * 10, 98), tape(99, 100, first=12)):
        moves = Judged()
        moves.look(store, trades, VENUE, NOW)
        moves.keep(store, now=NOW)
    assert [alert.key for alert in store.messages.alerts("prices")] == [
        "level:1:Binance spot:13",
        "level:1:Binance spot:10",
    ]


def test_a_chat_without_alerts_keeps_its_levels_for_later(store: Store) -> None:
    store.levels.add(level())
    store.unsubscribe(7, note="")
    assert store.levels.within("BTC", 99, 101, newest_ms=0) == []
    store.chats.put(Chat(chat_id=7, added_by=7))
    assert len(store.levels.within("BTC", 99, 101, newest_ms=0)) == 1
    assert (
        store.levels.within("ETH", 99, 101, newest_ms=0) == []
        and store.levels.within("BTC", 98, 99, newest_ms=0) == []
    )


def test_levels_move_with_a_group_and_are_forgotten_a_month_after_they_ended(store: Store) -> None:
    for one in (level(1, state="done"), level(2, expires=NOW + 5), level(3)):
        store.levels.add(replace(one, since_ms=int(NOW * 1000)))
    store.migrate_chat(7, -100)
    assert store.levels.of_chat(7) == []
    store.prune(now=NOW + 29 * 86_400)
    assert len(store.levels.of_chat(-100)) == 3
    store.prune(now=NOW + 31 * 86_400)
    assert [one.price for one in store.levels.of_chat(-100)] == [3]


# With the monitor


@pytest.fixture
def watch(sim: Simulator, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(sim, tmp_path)
    watch.store.chats.put(Chat(chat_id=8, added_by=8))
    watch.tick()
    yield watch
    watch.store.close()


def trade(watch: Watch, price: float, *, ago: float) -> int:
    at_ms = int((watch.clock - ago) * 1000)
    watch.sim.market.trade("binance", "BTC", "buy", price, 0.001, at_ms=at_ms)
    return at_ms


def test_a_level_touched_and_left_between_two_looks_is_told_with_its_price_and_time(watch: Watch) -> None:
    watch.store.levels.add(level(78_000, note="take <profit>", since_ms=int((watch.clock - 30) * 1000)))
    trade(watch, 77_900, ago=9)
    at_ms = trade(watch, 78_010, ago=6)
    trade(watch, 77_500, ago=3)
    watch.tick(after=1)
    (alert,) = watch.store.messages.alerts("prices")
    assert alert.headline == "BTC rose to 78,000: take <profit>"
    assert alert.facts == "first trade at 78,010 · now 77,500"
    assert (alert.at_ms, alert.price, alert.late) == (at_ms, 78_010, False)
    (text,) = watch.told
    assert "take &lt;profit&gt;" in text
    assert [chat_id for _, chat_id, _ in watch.store.pending()] == [7], "it is the business of one chat"
    watch.tick(after=1)
    assert len(watch.store.messages.alerts("prices")) == 1


def test_several_at_once_are_one_message_with_every_note_and_quiet_hours_hold_them(watch: Watch) -> None:
    for number in range(3):
        watch.store.levels.add(level(78_000 + number, note=f"step {number}"))
    watch.store.levels.add(level(77_999, chat_id=8, note="at night"))
    hour = int(watch.clock // 3600 % 24)
    watch.store.chats.put(Chat(chat_id=8, added_by=8, quiet=f"{hour:02}:00-{(hour + 2) % 24:02}:00"))
    trade(watch, 78_010, ago=6)
    watch.tick(after=1)
    (text,) = watch.told
    assert "BTC: 3 price alerts" in text and all(f"step {number}" in text for number in range(3))
    chat = watch.store.chats.get(8)
    assert chat is not None and "BTC rose to 77,999: at night" in take(watch.store, chat, now=watch.clock)
    assert [entry.how for entry in watch.store.history.newest(8, limit=5)] == ["told"]


def test_what_cannot_be_stored_is_judged_again_and_told_once(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.store.levels.add(level(78_000))
    trade(watch, 78_010, ago=6)

    def fail(*args: object, **more: object) -> None:
        raise StoreError("full")

    with monkeypatch.context() as broken:
        broken.setattr(watch.store.markets, "set_cursor", fail)
        with pytest.raises(StoreError):
            watch.tick(after=1)
    assert watch.store.messages.alerts("prices") == [] and watch.store.levels.of_chat(7)[0].state == "above"
    watch.restart()
    watch.tick(after=1)
    assert len(watch.told) == 1 and watch.store.levels.of_chat(7)[0].state == "done"


def test_an_alert_can_be_snoozed_by_its_own_buttons_and_goes_to_its_topic(watch: Watch) -> None:
    watch.store.chats.put(Chat(chat_id=7, added_by=7, thread_id=5))
    first = watch.store.levels.add(level(78_000, topic=9))
    second = watch.store.levels.add(level(78_001, topic=9))
    watch.store.levels.add(level(78_002, topic=0))
    watch.store.levels.add(level(78_003))
    trade(watch, 78_010, ago=6)
    watch.tick(after=1)
    sent = [delivery.payload for delivery in outgoing(watch.store, now=watch.clock)]
    assert [message.get("message_thread_id") for message in sent] == [9, None, 5]
    (row,) = sent[0]["reply_markup"]["inline_keyboard"]
    assert [(button["text"], button["callback_data"]) for button in row] == [
        ("Snooze 1 h", f"snooze:{first},{second}:1h"),
        ("4 h", f"snooze:{first},{second}:4h"),
        ("Tomorrow", f"snooze:{first},{second}:tomorrow"),
    ]


def test_a_topic_chosen_for_a_kind_or_coin_comes_before_the_one_in_which_it_was_set() -> None:
    chat = Chat(chat_id=7, added_by=7, thread_id=5, topics={"ETH": 6, "funding": 7})
    assert [chat.topic("prices", coin, 9) for coin in ("BTC", "ETH")] == [9, 6]
    assert replace(chat, topics={"prices": 0}).topic("prices", "BTC", 9) is None


# End to end


def wait_asked(sim: Simulator, times: int) -> None:
    """The markets have been asked so many times from now on."""
    asked = len(sim.market.calls) + times
    sim.wait(lambda: len(sim.market.calls) >= asked, what="questions to the markets")


def said(chat: SimBot, command: str, part: str) -> str:
    """The bot's answer to its owner, in which this part is."""
    before = chat.delivered
    chat.send_text(OWNER, command)
    return chat.wait_text(part, chat_id=OWNER, after=before).text


def reading_bot(sim: Simulator, chat: SimBot, run_bot: Run) -> BotProcess:
    """A bot with two chats, which has read that BTC is at 77,000."""
    chat.add_chat(FRIEND)
    bot = run_bot(SEND_RATE="0")
    bot.wait_output("Watching BTC, ETH")
    for person in (OWNER, FRIEND):
        chat.send_text(person, "/start")
        chat.wait_text("Alerts are on", chat_id=person)
    first_look(sim, "BTC")
    sim.market.trade("binance", "BTC", "buy", 77_000, 0.001)
    sim.wait(lambda: "BTC 77,000" in said(chat, "/price BTC", "BTC"), what="the price is known")
    return bot


def test_prices_set_by_typing_are_told_once_each_over_kills_to_the_chat_that_set_them(
    sim: Simulator, chat: SimBot, run_bot: Run, tmp_path: Path
) -> None:
    ladder = [77_100 + 100 * number for number in range(12)]
    bot = reading_bot(sim, chat, run_bot)
    for price in ladder:
        assert "Now: 77,000" in said(chat, f"/alert BTC {price} note {price}", f"BTC at {price:,}")
    for number, price in enumerate(ladder):
        sim.market.trade("binance", "BTC", "buy", price, 0.001)
        sim.market.trade("binance", "BTC", "sell", price - 50, 0.001)
        if number % 3 == 2:
            wait_asked(sim, number % 5)  # a kill before, while or after it reads them
            bot.kill()
            bot = run_bot(SEND_RATE="0")
    chat.wait_text(f"BTC rose to {ladder[-1]:,}", chat_id=OWNER)
    sim.wait(lambda: "Price alerts: 0 of 50." in said(chat, "/alert", "Price alerts:"), what="all are told")
    assert bot.stop()[0] == 0
    store = Store(next(tmp_path.glob("data/*/bot.db")))
    alerts = store.messages.alerts("prices", limit=100)
    store.close()
    assert sorted(alert.headline for alert in alerts) == sorted(
        f"BTC rose to {price:,}: note {price}" for price in ladder
    )
    assert not [sent for sent in chat.sent if sent.chat_id == FRIEND and "rose to" in sent.text]
