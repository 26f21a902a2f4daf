"""What quiet hours and the cap hold back is told later, once, all of it; no alert vanishes whatever the settings."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from conftest import NewStore, outgoing
from hypothesis import given, settings
from hypothesis import strategies as st
from test_alerts_publish import alert, publish, subscribe

from alerts import held_back, preferences
from alerts.preferences import Outcome
from simulation.html import parse_html
from store import Store
from store.rows import Chat
from store.schedules import Scheduled

# 2025-06-15 21:30:00 UTC, 23:30 in Berlin
NIGHT = 1_750_023_000.0
MORNING = NIGHT + 7.5 * 3600
QUIET: dict[str, Any] = {"quiet": "22:00-07:00", "timezone": "Europe/Berlin"}


def texts(store: Store) -> list[str]:
    return [parse_html(one.payload["text"])[0] for one in outgoing(store, now=NIGHT)]


def hear(store: Store, *keys: str, now: float, **changes: Any) -> None:
    for key in keys:
        publish(store, alert(key, at_ms=int(now * 1000), **changes), now=now)


def test_a_night_is_told_in_the_morning_by_itself_and_once(store: Store) -> None:
    subscribe(store, thread_id=5, **QUIET)
    hear(store, "a", "b", now=NIGHT)
    hear(store, "c", now=NIGHT + 3600, symbol="ETH", side="sell", usd=1e6)
    assert texts(store) == []
    assert not held_back.send_due(store, now=MORNING - 1)
    assert held_back.send_due(store, now=MORNING)
    (told,) = texts(store)
    lines = told.split("\n")
    assert lines[0] == "Held back: 3 alerts"
    assert lines[1] == "2025-06-15 23:30:00 UTC+2 to 00:30:00 UTC+2"
    assert lines[2] == "3 in quiet hours"
    assert "BTC: 2 whale orders, 4.6M USD, net +4.6M" in lines
    assert "ETH: 1 whale order, 1M USD, net -1M" in lines
    assert any(line.startswith("00:30:00 🔴 ETH sell 1M USD") for line in lines)
    (row,) = store.pending()
    delivery = store.delivery(row[0])
    assert delivery is not None
    assert delivery.payload["message_thread_id"] == 5
    assert not held_back.send_due(store, now=MORNING + 30)
    assert len(texts(store)) == 1


def test_of_many_chats_some_are_told_at_a_time_and_all_of_them_once(store: Store) -> None:
    for chat_id in range(1, 6):
        subscribe(store, chat_id=chat_id, **QUIET)
    hear(store, "a", now=NIGHT)
    times = itertools.count(0.0, held_back.AT_ONCE * 0.4)  # what the summary of one chat takes

    def tell() -> int:
        before = len(texts(store))
        held_back.send_due(store, now=MORNING, monotonic=lambda: next(times))
        return len(texts(store)) - before

    assert [tell(), tell(), tell(), tell()] == [2, 2, 1, 0]


def test_a_digest_that_brings_what_was_held_back_lists_no_whale_order_twice(store: Store) -> None:
    subscribe(store, **QUIET)
    hear(store, "a", now=NIGHT)
    hear(store, "b", now=NIGHT, monitor="liquidations", side="long")
    chat = store.chats.get(7)
    assert chat is not None
    told = parse_html(held_back.take(store, chat, now=MORNING, in_digest=True))[0].split("\n")
    assert "BTC: 1 whale order, 2.3M USD, net +2.3M" in told
    assert [line for line in told if "🟢" in line or "🔴" in line] == [told[-1]]
    assert "BTC long" in told[-1]


def test_quiet_hours_that_are_switched_off_tell_at_once(store: Store) -> None:
    subscribe(store, **QUIET)
    hear(store, "a", now=NIGHT)
    subscribe(store, quiet="")
    assert held_back.send_due(store, now=NIGHT + 30)


def test_what_never_makes_a_sound_makes_none_when_it_is_told_later(store: Store) -> None:
    subscribe(store, 1, levels={"whales": "silent"}, **QUIET)
    subscribe(store, 2, **QUIET)
    hear(store, "a", now=NIGHT)
    held_back.send_due(store, now=MORNING)
    sounds = {}
    for row in store.pending():
        delivery = store.delivery(row[0])
        assert delivery is not None
        sounds[delivery.chat_id] = not delivery.payload.get("disable_notification", False)
    assert sounds == {1: False, 2: True}


def test_a_mute_of_everything_also_keeps_the_telling_back(store: Store) -> None:
    subscribe(store, **QUIET)
    hear(store, "a", now=NIGHT)
    subscribe(store, muted_until=MORNING + 3600, **QUIET)
    assert not held_back.send_due(store, now=MORNING)
    assert held_back.send_due(store, now=MORNING + 3600)


def test_what_is_over_the_cap_comes_when_the_hour_is_over(store: Store) -> None:
    subscribe(store, hourly_cap=2)
    for number in range(5):
        hear(store, f"k{number}", now=NIGHT + number * 100)
    assert len(texts(store)) == 2
    assert not held_back.send_due(store, now=NIGHT + 1799)
    assert held_back.send_due(store, now=NIGHT + 1800)  # 22:00 UTC
    assert "Held back: 3 alerts" in texts(store)[2]
    assert "3 over the hourly limit" in texts(store)[2]


def test_the_cap_holds_over_a_restart(store: Store, new_store: NewStore) -> None:
    subscribe(store, hourly_cap=1)
    hear(store, "a", now=NIGHT)
    store.close()
    again = new_store()
    hear(again, "b", now=NIGHT + 100)
    assert len(texts(again)) == 1
    assert [one.how for one in again.messages.held(7)] == ["cap"]
    again.close()


def test_what_joins_a_bundle_makes_no_message_and_does_not_count(store: Store) -> None:
    subscribe(store, hourly_cap=1)
    hear(store, "a", "b", "c", now=NIGHT)
    assert "3 whale orders" in texts(store)[0]
    assert store.messages.held(7) == []


def test_with_a_digest_planned_the_overflow_waits_for_it(store: Store) -> None:
    subscribe(store, hourly_cap=1)
    store.schedules.add(Scheduled(chat_id=7, user_id=7, rule="09:00", command="digest", at=MORNING))
    hear(store, "a", now=NIGHT)
    hear(store, "b", now=NIGHT + 100)
    assert not held_back.send_due(store, now=NIGHT + 7200)
    chat = store.chats.get(7)
    assert chat is not None
    assert "Held back: 1 alert" in held_back.take(store, chat, now=MORNING)
    assert held_back.take(store, chat, now=MORNING) == ""


def test_a_kill_before_the_commit_neither_loses_nor_doubles(store: Store) -> None:
    subscribe(store, **QUIET)
    hear(store, "a", now=NIGHT)
    with pytest.raises(RuntimeError), store.transaction():
        held_back.send_due(store, now=MORNING)
        raise RuntimeError("killed before the commit")
    assert texts(store) == []
    assert held_back.send_due(store, now=MORNING)
    assert len(texts(store)) == 1


def test_a_chat_that_stops_is_told_nothing_later_and_a_group_that_moves_is(store: Store) -> None:
    subscribe(store, 1, **QUIET)
    subscribe(store, -2, **QUIET)
    hear(store, "a", now=NIGHT)
    store.unsubscribe(1, note="")
    store.migrate_chat(-2, -1002)
    subscribe(store, 1)
    assert held_back.send_due(store, now=MORNING)
    assert [chat_id for _, chat_id, _ in store.pending()] == [-1002]


def test_held_alerts_that_cannot_be_read_are_left_out_once_and_stop_no_others(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    subscribe(store, 1, **QUIET)
    hear(store, "bad", now=NIGHT)
    store._db.write("UPDATE alerts SET body = '{}'")
    subscribe(store, 2, **QUIET)
    hear(store, "good", now=NIGHT)
    store._db.write("DELETE FROM held WHERE chat_id = 1 AND alert_key = 'good'")
    assert held_back.send_due(store, now=MORNING)
    assert not held_back.send_due(store, now=MORNING + 30)
    assert [chat_id for _, chat_id, _ in store.pending()] == [2]
    assert len(caplog.records) == 1
    assert "cannot be read" in caplog.text


def test_a_long_night_is_split_at_lines_and_nothing_of_it_is_left_out(store: Store) -> None:
    subscribe(store, **QUIET)
    for number in range(400):
        hear(store, f"k{number}", now=NIGHT, symbol=f"COIN{number}", usd=1e6 + number)
    held_back.send_due(store, now=MORNING)
    parts = texts(store)
    assert len(parts) > 1
    assert all(len(part) <= 4096 for part in parts)
    assert sum(part.count("1 whale order,") for part in parts) == 400


def test_an_alert_that_waits_is_never_pruned(store: Store) -> None:
    subscribe(store, **QUIET)
    hear(store, "a", now=NIGHT)
    store.prune(now=NIGHT + 40 * 86400)
    assert held_back.send_due(store, now=NIGHT + 40 * 86400 + 12 * 3600)
    store.prune(now=NIGHT + 41 * 86400)
    assert store.history.newest(7, limit=5) == []


SETTINGS = st.fixed_dictionaries(
    {
        "levels": st.dictionaries(
            st.sampled_from(["whales", "funding"]), st.sampled_from(["on", "loud", "silent", "off"])
        ),
        "sides": st.sampled_from([{}, {"whales": "buy"}]),
        "quiet": st.sampled_from(["", "22:00-07:00", "23:45-00:15"]),
        "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
        "hourly_cap": st.sampled_from([0, 1, 3]),
        "muted_until": st.sampled_from([0.0, NIGHT + 1800]),
        "symbol_mutes": st.sampled_from([{}, {"BTC": NIGHT + 3600}]),
        "symbols": st.sampled_from([None, frozenset({"BTC"})]),
    }
)
HAPPENED = st.lists(
    st.tuples(
        st.sampled_from(range(0, 4 * 3600, 300)),
        st.sampled_from(["BTC", "ETH"]),
        st.sampled_from(["whales", "funding"]),
        st.sampled_from(["buy", "sell"]),
        st.sampled_from([9e5, 1e6, 3e6]),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(chosen=SETTINGS, happened=HAPPENED, pause=st.integers(min_value=30, max_value=5000))
def test_every_alert_that_passes_the_filters_is_delivered_told_later_or_counted(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Any], happened: list[Any], pause: int
) -> None:
    store = Store(tmp_path_factory.mktemp("held") / "bot.db")
    chat = Chat(chat_id=7, added_by=7, **chosen)
    store.chats.put(chat)
    wanted: dict[str, Outcome] = {}
    tick = NIGHT
    for number, (after, symbol, monitor, side, usd) in enumerate(sorted(happened)):
        now = NIGHT + after
        while tick < now:
            held_back.send_due(store, now=tick)
            tick += pause
        one = alert(f"k{number}", symbol=symbol, monitor=monitor, side=side, usd=usd, at_ms=int(now * 1000))
        publish(store, one, now=now)
        wanted[one.key] = preferences.decide(chat, one, now=now, default_min=1e6)
    held_back.send_due(store, now=NIGHT + 16 * 3600)
    became = {told.alert.key: told.how for told in store.history.newest(7, limit=99)}
    expected = {
        Outcome.LOUD: {"pending", "told"},
        Outcome.SILENT: {"pending", "told"},
        Outcome.QUIET: {"told"},
        Outcome.MUTED: {"muted"},
    }
    assert set(became) == {key for key, outcome in wanted.items() if outcome is not Outcome.NO}
    assert all(became[key] in expected[wanted[key]] for key in became)
    told = re.findall(r"Held back: (\d+) alert", "\n".join(texts(store)))
    assert sum(map(int, told)) == sum(how == "told" for how in became.values())
    made: dict[float, int] = {}
    for delivery in outgoing(store, now=NIGHT):
        if delivery.bundle is not None:
            hour = preferences.hour_began(chat, delivery.created_at)
            made[hour] = made.get(hour, 0) + 1
            sound = Outcome.SILENT if delivery.payload.get("disable_notification") else Outcome.LOUD
            assert delivery.bundle.endswith(sound.value)
    assert not chat.hourly_cap or max(made.values(), default=0) <= chat.hourly_cap
    store.close()
