"""What chats scheduled: at its times, once each, with the rights of that time, across restarts and outages."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import OWNER
from hypothesis import given
from hypothesis import strategies as st
from schedulekit import DAY, Desk, at

from base import schedules
from botapi.storage import ALERTS
from botapi.updates import Update
from commands.context import Context, Reply
from commands.due import AT_ONCE, Due
from commands.table import schedulable
from monitors import Jobs
from venues.trades import Bar


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def test_a_digest_comes_at_its_time_and_once(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 08:59:59")
    assert not desk.tick()
    desk.clock = at("2026-11-24 09:00:10")
    assert desk.tick()
    assert not desk.tick()
    ((chat_id, text),) = desk.told()
    assert chat_id == 7
    assert text.startswith("Digest, last 24 hours (until Tue 24 Nov, 09:00 UTC)")
    desk.clock += DAY
    desk.send()
    assert desk.tick()


def test_it_comes_by_the_clock_of_the_chat(desk: Desk) -> None:
    desk.subscribe(timezone="Asia/Kolkata")
    desk.clock = at("2026-11-25 08:59", "Asia/Kolkata")
    assert not desk.tick()
    desk.clock = at("2026-11-25 09:00", "Asia/Kolkata")
    assert desk.tick()
    assert "(until Wed 25 Nov, 09:00 Asia/Kolkata)" in desk.told()[0][1]


def test_a_restart_forgets_no_digest(desk: Desk) -> None:
    desk.subscribe()
    desk.restart()
    desk.clock = at("2026-11-24 09:00")
    assert desk.tick()
    desk.restart()
    assert not desk.tick()


def test_after_an_outage_one_digest_covers_all_of_it(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 08:30")
    desk.alert(2e6, ago=60)
    desk.clock = at("2026-11-27 15:00")
    desk.alert(3e6, side="sell", ago=60)
    assert desk.tick()
    ((_, text),) = desk.told()
    assert "Digest, last 4 d 6 h" in text
    assert "2 whale orders, 5M USD, net -1M" in text
    assert "Tue 08:29" in text
    desk.send()
    desk.clock = at("2026-11-28 09:00")
    assert desk.tick()


def test_a_kill_between_message_and_plan_undoes_both(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    with pytest.raises(RuntimeError), desk.store.transaction():
        desk.tick()
        raise RuntimeError("killed")
    assert desk.told() == []
    assert desk.tick()


def test_what_is_changed_while_the_due_ones_are_answered_counts(desk: Desk) -> None:
    """Hundreds of chats have the same time, and people type at that time, too."""
    for chat_id in (1, 2, 3):
        desk.subscribe(chat_id, digest="")
    numbers = [desk.schedule("ping", "09:00", chat_id=chat_id) for chat_id in (1, 2, 3)]

    def while_someone_types(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
        if update.chat_id == 1:
            desk.store.chats.put(replace(desk.chat(1), muted_until=desk.clock + 60))
            desk.store.unsubscribe(2, note="")
            desk.store.schedules.remove(3, numbers[2])
        return [Reply(text="pong")]

    desk.due = Due(desk.context, {"ping": ("ping", while_someone_types)})
    desk.clock = at("2026-11-24 09:00")
    assert desk.tick()
    assert desk.chat(1).muted_until == desk.clock + 60
    assert desk.next_at(numbers[0]) == at("2026-11-25 09:00")
    assert desk.told() == [(1, "pong")], "who stopped, and what was removed, gets no answer"


def test_a_rule_that_cannot_be_read_stops_no_other_chat(desk: Desk) -> None:
    """A rule of an older version, a zone that this machine no longer knows, a file edited by hand."""
    desk.subscribe(1)
    desk.subscribe(2)
    desk.subscribe(3, subscribed=False)
    desk.store._db.write("UPDATE schedules SET rule = 'whenever' WHERE chat_id IN (1, 3)")
    desk.clock = at("2026-11-24 09:00")
    assert desk.tick()
    (one, words), (two, digest) = desk.told()
    assert (one, two) == (1, 2)
    assert words == "The times of “digest” can't be read any more, so it was removed. Schedule it again: " + (
        "/schedule 09:00 digest"
    )
    assert "Digest, last" in digest
    desk.send()
    desk.clock = at("2026-11-25 09:00")
    assert desk.tick()
    assert [chat_id for chat_id, _ in desk.told()] == [2], "it is told once"


def test_a_command_with_a_bug_stops_no_other_and_is_tried_again(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    desk.subscribe(1, digest="")
    number, _ = desk.schedule("broken", "09:00", chat_id=1), desk.schedule("ping", "09:00", chat_id=1)

    def broken(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
        context.store.messages.enqueue(1, "sendMessage", {"text": "half"}, now=desk.clock)
        raise RuntimeError("a bug")

    desk.due = Due(desk.context, {"broken": ("broken", broken), "ping": ("ping", ping)})
    desk.clock = at("2026-11-24 09:00")
    desk.tick()
    assert desk.told() == [(1, "pong")]
    assert desk.next_at(number) == desk.clock + 3600


def ping(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    return [Reply(text="pong")]


def test_a_next_time_beyond_its_rule_is_planned_again_and_a_digest_of_years_covers_what_is_kept(desk: Desk) -> None:
    """A clock that was ahead planned it, or was behind when it began."""
    desk.subscribe(1)
    desk.subscribe(2)
    (ahead,), (behind,) = desk.store.schedules.of_chat(1), desk.store.schedules.of_chat(2)
    desk.store.schedules.set_at(ahead.id, desk.clock + 1094 * DAY)
    desk.store.schedules.set_at(behind.id, desk.clock - 1094 * DAY)
    assert desk.tick()
    assert [chat_id for chat_id, _ in desk.told()] == [2]
    assert "last 30 d" in desk.told()[0][1]
    assert [desk.next_at(one.id) for one in (ahead, behind)] == [at("2026-11-24 09:00")] * 2


def test_a_chat_that_stopped_gets_none_not_even_when_it_starts_again(desk: Desk) -> None:
    desk.subscribe(1, subscribed=False)
    desk.clock = at("2026-11-24 09:00")
    assert not desk.tick()
    desk.store.chats.put(replace(desk.chat(1), subscribed=True))
    assert not desk.tick(), "what fell due meanwhile is not made up for"
    desk.clock = at("2026-11-25 09:00")
    assert desk.tick()


def test_the_answer_goes_to_the_topic_where_it_was_scheduled(desk: Desk) -> None:
    desk.subscribe(-5, digest="", thread_id=9, kind="supergroup")
    desk.schedule("funding", "09:00", chat_id=-5, thread_id=4)
    desk.schedule("liq", "09:00", chat_id=-5)
    desk.clock = at("2026-11-24 09:00")
    desk.tick()
    assert [(one.chat_id, one.payload.get("message_thread_id"), one.lane) for one in desk.waiting()] == [
        (-5, 4, ALERTS),
        (-5, None, ALERTS),
    ]


def test_in_quiet_hours_and_mutes_it_comes_without_a_sound(desk: Desk) -> None:
    desk.subscribe(1, quiet="22:00-10:00")
    desk.subscribe(2)
    desk.subscribe(3, muted_until=at("2026-11-24 12:00"))
    desk.clock = at("2026-11-24 09:00")
    desk.tick()
    assert {one.chat_id: one.payload.get("disable_notification") for one in desk.waiting()} == {
        1: True,
        2: None,
        3: True,
    }


@pytest.mark.parametrize(
    "who", [{"user_id": 8}, {"added_by": 8}, {"subscribed": False}, {"paused_until": at("2026-11-24 10:00")}]
)
def test_it_runs_with_the_rights_of_its_time(desk: Desk, who: dict[str, object]) -> None:
    """Who asked for it is denied, who started the chat is; the chat stopped; the bot may not write there."""
    desk.subscribe(-5, digest="", kind="supergroup", **{key: value for key, value in who.items() if key != "user_id"})
    number = desk.schedule("liq", "09:00", chat_id=-5, user_id=int(str(who.get("user_id", OWNER))))
    desk.context.access.deny(8)
    desk.clock = at("2026-11-24 09:00")
    assert not desk.tick()
    assert desk.next_at(number) == at("2026-11-25 09:00")
    desk.context.access.allow(8)
    desk.store.chats.put(replace(desk.chat(-5), subscribed=True, paused_until=0.0))
    desk.clock = at("2026-11-25 09:00")
    assert desk.tick()


def test_after_an_outage_of_telegram_one_answer_comes_and_it_is_the_newest(desk: Desk) -> None:
    desk.subscribe(1, digest="")
    desk.schedule("price BTC", "every 1h", chat_id=1)
    desk.schedule("liq", "09:00", chat_id=1)
    for hour in range(9, 60):
        desk.clock = at("2026-11-24 00:00") + hour * 3600
        bar = Bar("BTC", int(desk.clock) - 600, 1000.0 + hour, 1000.0 + hour, 1000.0 + hour, 1000.0 + hour, 1, 1)
        desk.store.markets.add_bars([bar])
        desk.tick()
    prices, liquidations = sorted((words for _, words in desk.told()), key=lambda words: "BTC" not in words)
    assert prices.startswith("BTC 1,059")
    assert [one.payload.get("spread") for one in desk.waiting()].count(["BTC"]) == 1, "as if it was typed"
    assert "No liquidations" in liquidations
    desk.send()
    assert not desk.tick(), "the regular one comes at its time"


def test_a_digest_waits_for_the_one_before_and_covers_all_since_then(desk: Desk) -> None:
    """Telegram is out of reach for three days."""
    desk.subscribe(1, digest="every 4h")
    for hour in range(12, 84, 4):
        desk.clock = at("2026-11-24 00:00") + hour * 3600
        desk.tick()
    assert len(desk.told()) == 1
    desk.send()
    assert desk.tick()
    assert not desk.tick()
    ((_, words),) = desk.told()
    assert "Digest, last 2 d 20 h" in words, "the first digest ended at 12:00, this one begins there"


def test_a_command_that_no_longer_works_says_so(desk: Desk) -> None:
    desk.subscribe(1, digest="")
    number = desk.schedule("price ETH", "09:00", chat_id=1)
    other = desk.schedule("nonsense", "09:00", chat_id=1)
    desk.context.symbols.remove("ETH")
    desk.clock = at("2026-11-24 09:00")
    desk.tick()
    first, second = desk.waiting()
    assert first.payload["text"].startswith(
        "“price ETH”, which is scheduled here: ETH is not on this bot's list (BTC)."
    )
    button = first.payload["reply_markup"]["inline_keyboard"][0][0]
    assert button == {"text": "Remove it", "callback_data": f"run:schedule remove {number}"}
    assert second.payload["text"] == "“nonsense”, which is scheduled here: this version has no such command."
    assert desk.next_at(other) == at("2026-11-25 09:00")


def test_charts_that_wait_hold_up_nothing_else(desk: Desk) -> None:
    """Looking at each again takes time, with a server far away all that a tick has."""
    for chat_id in range(1, 21):
        desk.subscribe(chat_id, digest="")
        desk.schedule("chart BTC", "09:00", chat_id=chat_id)
    ping = desk.schedule("price BTC", "09:01", chat_id=1)
    desk.clock = at("2026-11-24 09:00:30")
    assert desk.tick()
    desk.clock = at("2026-11-24 09:01")
    desk.due = Due(desk.context, schedulable(), monotonic=itertools.count(0.0, AT_ONCE / 10).__next__)
    assert desk.tick()
    assert desk.next_at(ping) == at("2026-11-25 09:01")


def test_charts_wait_for_each_other_and_all_of_them_come(desk: Desk) -> None:
    for chat_id in range(1, 9):
        desk.subscribe(chat_id, digest="")
        desk.schedule("chart BTC light", "09:00", chat_id=chat_id)
    desk.clock = at("2026-11-24 09:00")
    seen = []
    while desk.tick():
        seen += [one.chat_id for one in desk.waiting()]
        assert {one.method for one in desk.waiting()} == {"sendPhoto"}
        assert len(desk.waiting()) <= 5
        desk.send()
    assert sorted(seen) == list(range(1, 9))
    assert desk.chat(1).chart_theme == "dark", "a theme that is scheduled is for its chart only"


def test_a_tick_leaves_the_rest_to_the_next_one_when_it_takes_long(desk: Desk) -> None:
    seconds = iter(range(100))
    desk.subscribe(1, digest="")
    for _ in range(6):
        desk.schedule("ping", "09:00", chat_id=1)
    desk.due = Due(desk.context, {"ping": ("ping", ping)}, monotonic=lambda: float(next(seconds)))
    desk.clock = at("2026-11-24 09:00")
    ticks = 0
    while desk.tick():
        ticks += 1
    assert (ticks, len(desk.told())) == (2, 6)


def test_a_round_of_once_leaves_nothing_that_is_due_to_the_next_round(desk: Desk) -> None:
    seconds = iter(range(100))
    desk.subscribe(1, digest="")
    for _ in range(6):
        desk.schedule("ping", "09:00", chat_id=1)
    due = Due(desk.context, {"ping": ("ping", ping)}, monotonic=lambda: float(next(seconds)))
    desk.clock = at("2026-11-24 09:00")
    nothing_to_check: Any = SimpleNamespace(whales=SimpleNamespace(tick=lambda: None))
    once: Any = SimpleNamespace(watchers=nothing_to_check, due=due, store=desk.store, clock=lambda: desk.clock)
    Jobs.check_spot(once)
    assert len(desk.told()) == 6


def test_a_round_of_once_ends_when_something_stays_due(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = iter(range(1000)), iter([True] * 100)
    monkeypatch.setattr("monitors.time.monotonic", lambda: float(next(clock)))
    stays: Any = SimpleNamespace(tick=lambda: next(looks))
    nothing_to_check: Any = SimpleNamespace(whales=SimpleNamespace(tick=lambda: None))
    once: Any = SimpleNamespace(watchers=nothing_to_check, due=stays, store=desk.store, clock=lambda: desk.clock)
    Jobs.check_spot(once)
    assert next(looks), "there was time for all of them"


RULES = ("09:00", "02:30 22:10", "07:00 mon,thu", "every 4h", "every 1h", "cron 0 */3 * * 1-5", "12:00 Asia/Tokyo")


@given(
    st.sampled_from(RULES),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    st.lists(st.tuples(st.floats(1, 9 * DAY), st.sampled_from(["tick", "restart", "send"])), min_size=1, max_size=12),
)
def test_each_time_is_answered_at_the_next_look_once(rule: str, zone: str, steps: list[tuple[float, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        desk.subscribe(1, digest="", timezone=zone)
        desk.schedule("liq", rule, chat_id=1)
        looked = desk.clock
        for seconds, what in steps:
            desk.clock += seconds
            if what == "restart":
                desk.restart()
            before = desk.waiting()
            fell_due = schedules.parse(rule).next(looked, zone=zone) <= desk.clock
            desk.tick()
            after = desk.waiting()
            assert [one.created_at for one in after] == [desk.clock] if fell_due else after == before
            desk.tick()
            assert desk.waiting() == after
            looked = desk.clock
            if what == "send":
                desk.send()
        desk.store.close()
