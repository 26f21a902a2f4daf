"""What is stored and cannot be used is left out alone, logged once, and stops nothing else."""

from __future__ import annotations

import json
import logging

import pytest
from storekit import DAY, NOW, file_only, say, whale

from access import Access, OwnerLink, administers
from alerts.digest import Digests
from alerts.publish import SOUND, compose, publish
from base.config import Settings
from botapi.client import Telegram
from botapi.events import PollerEvents
from botapi.poller import Poller
from store import Store
from store.rows import Chat
from watch.thresholds import Thresholds

BODY = vars(whale("bad"))


@file_only
def test_text_on_a_damaged_page_costs_its_row_alone(store: Store) -> None:
    store.set_value("good", "1")
    store._db.write("INSERT INTO facts VALUES ('bad', CAST(x'ff31' AS TEXT))")
    assert store.read_value("bad", int, 7) == 7
    assert store.read_value("good", int, 7) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[1]",
        "7",
        "{}",
        *(
            json.dumps(BODY | change)
            for change in (
                {"usd": "much"},
                {"usd": None},
                {"usd": float("nan")},
                {"at_ms": "noon"},
                {"at_ms": 10**18},
                {"headline": 5},
                {"late": "no"},
            )
        ),
    ],
)
def test_an_alert_of_wrong_values_is_left_out_of_everything_and_logged_once(
    store: Store, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    chat = Chat(chat_id=1, added_by=1)
    store.chats.put(chat)
    for key in ("good", "bad"):
        publish(store, whale(key), now=NOW, default_min=1e6)
    store._db.write("UPDATE alerts SET body = ? WHERE key = 'bad'", (body,))
    digests = Digests(store=store, symbols=("BTC",), default_min=lambda symbol: 1e6, now=lambda: NOW + 60)
    assert "1 whale order" in digests.compose(chat, since=NOW - DAY, until=NOW + 60)
    delivery = store.delivery(store.pending()[0][0])
    assert delivery is not None
    message = compose(store, delivery, now=NOW)
    assert message is not None and "BTC buy" in message["text"]
    assert len(store.history.newest(1, limit=10)) == 1
    assert len(store.messages.alerts("whales")) == 1
    assert [record.message.count("cannot be read") for record in caplog.records] == [1]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ('{"hourly_cap": "many", "levels": {"funding": "off"}}', {"levels": {"funding": "off"}}),
        ('{"thresholds": {"whales": {"BTC": "much"}}}', {}),
        ('{"thresholds": {"whales": 5}, "quiet": "22:00-07:00"}', {"quiet": "22:00-07:00"}),
        ('{"symbol_mutes": ["BTC"], "muted_until": "later", "symbols": "BTC"}', {}),
        ('{"timezone": 3, "sides": 3, "quiet": null, "paused_until": NaN}', {}),
        ("[]", {}),
        ('"x', {}),
    ],
)
def test_a_chats_setting_of_a_wrong_kind_has_its_default_and_stops_no_other_chat(
    store: Store, settings: str, kept: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for chat_id in (1, 2):
        store.chats.put(Chat(chat_id=chat_id, added_by=1))
    store._db.write("UPDATE chats SET settings = ? WHERE chat_id = 1", (settings,))
    assert store.chats.get(1) == Chat(chat_id=1, added_by=1, **kept)  # type: ignore[arg-type]
    assert publish(store, whale("a"), now=NOW, default_min=1e6)
    assert "of chat 1" in caplog.text
    logged = len(caplog.records)
    assert publish(store, whale("b"), now=NOW, default_min=1e6)
    assert len(caplog.records) == logged
    assert 2 in {chat_id for _, chat_id, _ in store.pending()}


@pytest.mark.parametrize("payload", ["", "{", "7"])
def test_a_message_that_cannot_be_read_is_dropped_and_the_next_one_goes_out(store: Store, payload: str) -> None:
    bad, good = say(store, 1, "bad"), say(store, 1, "good")
    store._db.write("UPDATE deliveries SET payload = ? WHERE id = ?", (payload, bad))
    assert store.delivery(bad) is None
    assert [delivery_id for delivery_id, _, _ in store.pending()] == [good]


def test_a_message_that_cannot_be_worded_is_dropped_and_does_not_block_its_chat(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1))
    publish(store, whale("a"), now=NOW, default_min=1e6)
    store._db.write("UPDATE deliveries SET payload = ?", (json.dumps({SOUND: "deafening"}),))
    delivery = store.delivery(store.pending()[0][0])
    assert delivery is not None
    assert compose(store, delivery, now=NOW) is None, "the outbox buries it"
    assert caplog.text.count("cannot be worded") == 1


@pytest.mark.parametrize("positions", ["", "[]", '{"BTC": 1}', '{"BTC": [[1], 2, 3]}'])
def test_a_wallet_that_cannot_be_read_is_as_one_never_read(store: Store, positions: str) -> None:
    store._db.write("INSERT INTO wallets VALUES ('0x1', ?, 0)", (positions,))
    assert store.wallets.look("0x1") is None


@pytest.mark.parametrize("value", ["x", "1 2 3", "open a", "used me", "[]", '{"at": "x"}', "0 x", "nan"])
def test_facts_that_cannot_be_read_keep_nobody_from_starting_or_asking(store: Store, value: str) -> None:
    for name in ("inbox", "last_poll", "owner", "claim", "administrators:-5", "volume:BTC", "volume:at"):
        store.set_value(name, value)
    access = Access(store, owner_id=7, allowed_users=frozenset(), now=lambda: NOW)
    assert access.owner_id == 7
    link = OwnerLink(store)
    assert not link.is_open(now=NOW) and link.used_by() is None
    assert not administers(store, -5, 7, now=NOW)
    telegram = Telegram("1:x", "http://127.0.0.1:9")
    Poller(telegram, store, None, events=PollerEvents())  # type: ignore[arg-type]
    assert Thresholds(Settings(token="1:x"), store, lambda: ("BTC",)).default("BTC") == 1e6
