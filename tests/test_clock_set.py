"""A clock that was ahead, or behind, left its marks: nothing waits for its time, and nothing counts twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from conftest import NewStore
from storekit import NOW, say, whale

from access import Access, Groups, Knock, OwnerLink
from alerts import held_back
from alerts.preferences import Outcome, decide
from alerts.publish import publish
from base.config import Settings
from botapi.updates import Update
from store import Store
from store.rows import Chat, User
from venues.trades import SourceError
from watch.feeds import Context, Feeds
from watch.thresholds import Thresholds

HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0
OFF = [3 * HOUR, 3 * YEAR]  # how far the clock was ahead


@pytest.fixture
def store(new_store: NewStore) -> Store:
    store = new_store()
    store.chats.put(Chat(chat_id=1, added_by=1))
    return store


def heard(**settings: Any) -> Outcome:
    chat = Chat(chat_id=1, added_by=1, levels={"whales": "loud"}, **settings)
    return decide(chat, whale("a"), now=NOW, default_min=1e6)


def test_a_mute_or_a_pause_longer_than_any_can_be_does_not_count() -> None:
    assert heard(muted_until=NOW + YEAR) is Outcome.MUTED
    assert heard(symbol_mutes={"BTC": NOW + YEAR}) is Outcome.MUTED
    assert heard(muted_until=NOW + 3 * YEAR) is Outcome.LOUD
    assert heard(symbol_mutes={"BTC": NOW + 3 * YEAR}) is Outcome.LOUD
    assert heard(paused_until=NOW + 3 * YEAR) is Outcome.LOUD
    assert heard(paused_until=NOW + DAY) is not Outcome.LOUD


@pytest.mark.parametrize("off", OFF)
def test_messages_of_a_clock_that_was_ahead_use_up_no_later_hour(store: Store, off: float) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1, hourly_cap=1))
    publish(store, whale("then"), now=NOW + off, default_min=1e6)
    publish(store, whale("now", symbol="ETH"), now=NOW, default_min=1e6)
    assert not store.messages.held(1)
    assert len(store.pending()) == 2


@pytest.mark.parametrize("off", OFF)
def test_alerts_held_by_a_clock_that_was_ahead_are_sent_now(store: Store, off: float) -> None:
    store.messages.add_alert(whale("then"), now=NOW)
    store.fan_out.hold([1], "then", why="cap", at=NOW + off)
    assert held_back.send_due(store, now=NOW)


@pytest.mark.parametrize("off", [*OFF, -3 * HOUR, -3 * YEAR])
def test_a_new_message_does_not_join_a_bundle_of_another_time(store: Store, off: float) -> None:
    publish(store, whale("then"), now=NOW + off, default_min=1e6)
    publish(store, whale("now"), now=NOW, default_min=1e6)
    assert len(store.pending()) == 2


@pytest.mark.parametrize("off", OFF)
def test_strangers_and_administrators_are_not_forgotten_until_then(store: Store, off: float) -> None:
    now = [NOW + off]
    access = Access(store, owner_id=7, allowed_users=frozenset(), now=lambda: now[0])
    knocks = [Update(update_id=n, kind="message", chat_id=n, chat_kind="private", user_id=n) for n in range(90, 97)]
    assert [access.knock(one) for one in knocks[:5]] == [Knock.ANSWER_AND_ASK] * 5
    now[0] = NOW
    assert access.knock(knocks[0]) is (Knock.IGNORE if off < DAY else Knock.ANSWER_AND_ASK)
    assert access.knock(knocks[5]) is Knock.ANSWER_AND_ASK, "those of then are not of this hour"
    store.chats.put(Chat(chat_id=-5, kind="supergroup", added_by=7))
    asked: list[int] = []

    def administrators(chat_id: int) -> list[int]:
        asked.append(chat_id)
        return [8]

    groups = Groups(store, ask=administrators, now=lambda: now[0])
    now[0] = NOW + off
    groups.tick()
    now[0] = NOW
    groups.tick()
    assert asked == [-5, -5]


@pytest.mark.parametrize("off", [*OFF, -3 * HOUR])
def test_an_owner_link_works_for_its_quarter_of_an_hour_and_never_for_years(store: Store, off: float) -> None:
    link = OwnerLink(store)
    code = link.offer(now=NOW + off)
    assert not link.is_open(now=NOW)
    assert not link.matches(f"/start {code}", now=NOW)
    code = link.offer(now=NOW)
    assert link.matches(f"/start {code}", now=NOW + 1)


@pytest.mark.parametrize("off", OFF)
def test_a_source_that_rested_by_a_clock_that_was_ahead_is_asked_again(store: Store, off: float) -> None:
    now = [NOW + off]
    context = Context(settings=Settings(token="1:x"), store=store, now=lambda: now[0])
    venue: Any = SimpleNamespace(name="okx", venue="OKX", host="example.org", hurry=lambda: None)
    feeds: Feeds[Any] = Feeds("funding", [venue], context)
    feeds.begin_tick()

    def fails() -> int:
        raise SourceError("example.org", "HTTP 429", retry_after=300.0)

    assert feeds.ask(venue, fails) is None
    feeds.end_tick({})
    now[0] = NOW
    feeds.begin_tick()
    assert feeds.ask(venue, lambda: 5) == 5


@pytest.mark.parametrize("off", [*OFF, -3 * HOUR, -3 * YEAR])
def test_volumes_are_read_again_whatever_the_clock_was_when_they_were_read(store: Store, off: float) -> None:
    thresholds = Thresholds(Settings(token="1:x"), store, lambda: ("BTC",))
    asked: list[str] = []

    def volumes(symbols: list[str]) -> dict[str, float]:
        asked.extend(symbols)
        return {"BTC": 1e9}

    source: Any = SimpleNamespace(volume_usd=volumes)
    thresholds.refresh(source, now=NOW + off)
    thresholds.refresh(source, now=NOW + (DAY + abs(off) if abs(off) < DAY else 0))
    assert len(asked) == 2


def test_what_a_clock_far_ahead_would_delete_stays_until_the_time_is_sure(store: Store) -> None:
    """Pruning itself goes by the time it is given: who gives it asks the clock first (base/clock.py)."""
    say(store, 1, "kept")
    store.chats.put_user(User(user_id=99, at=NOW))
    store.prune(now=NOW + DAY)
    assert store.chats.user(99) is not None
