"""Alerts: who hears them, in which words, and that a storm is bundled with nothing left out."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from conftest import outgoing
from hypothesis import given
from hypothesis import strategies as st

from alerts import publish as alerts
from alerts import wording
from base import text
from botapi.storage import ALERTS
from simulation.html import parse_html
from store import Store
from store.rows import Alert, Chat

NOW = 1_750_000_000.0


def alert(key: str = "k1", **changes: Any) -> Alert:
    values: dict[str, Any] = {
        "key": key,
        "symbol": "BTC",
        "side": "buy",
        "usd": 2_300_000.0,
        "price": 76_981.2,
        "monitor": "whales",
        "facts": "40 fills in 0.09 s · price 76,980 → 76,990",
        "at_ms": int(NOW * 1000) - 2000,
        "venue": "Binance spot",
        "url": "https://example.org/trade/BTC_USDT",
    }
    values |= changes
    words = f"{values['symbol']} {values['side']} {text.usd(values['usd'])} USD at {text.price(values['price'])}"
    return Alert(**{"headline": words} | values)


def publish(store: Store, *found: Alert, now: float = NOW, default_min: float = 1e6) -> list[bool]:
    with store.transaction():
        return [alerts.publish(store, one, now=now, default_min=default_min) for one in found]


def subscribe(store: Store, chat_id: int = 7, **settings: Any) -> None:
    store.chats.put(Chat(chat_id=chat_id, added_by=chat_id, **settings))


def waiting(store: Store) -> list[tuple[int, str]]:
    """Chat and text of every message still to be sent."""
    return [(one.chat_id, one.payload["text"]) for one in outgoing(store, now=NOW)]


def shown(*bundled: Alert, now: float = NOW) -> list[str]:
    """The lines a person reads."""
    plain: str = parse_html(wording.message(bundled, now=now, zone=UTC))[0]
    return plain.split("\n")


# Who hears


def test_a_known_key_is_told_nobody_again(store: Store) -> None:
    subscribe(store)
    assert publish(store, alert(), alert()) == [True, False]
    assert publish(store, alert()) == [False]
    assert len(waiting(store)) == 1


@pytest.mark.parametrize(
    ("settings", "heard"),
    [
        ({}, True),
        ({"subscribed": False}, False),
        ({"symbols": frozenset({"BTC"})}, True),
        ({"symbols": frozenset({"ETH"})}, False),
        ({"symbols": frozenset()}, False),
        ({"thresholds": {"whales": {"*": 2_300_000.0}}}, True),
        ({"thresholds": {"whales": {"*": 2_300_001.0}}}, False),
        ({"thresholds": {"whales": {"*": 9e9, "BTC": 1e6}}}, True),
        ({"thresholds": {"whales": {"*": 1e6, "BTC": 9e9}}}, False),
        ({"thresholds": {"whales": {"ETH": 9e9}, "funding": {"*": 9e9}}}, True),
        ({"muted_until": NOW + 1}, False),
        ({"muted_until": NOW}, True),
        ({"symbol_mutes": {"BTC": NOW + 1}}, False),
        ({"symbol_mutes": {"ETH": NOW + 1}}, True),
    ],
)
def test_a_chat_hears_what_its_own_settings_let_through(store: Store, settings: dict[str, Any], heard: bool) -> None:
    subscribe(store, **settings)
    publish(store, alert())
    assert bool(waiting(store)) == heard


def test_without_a_threshold_of_its_own_a_chat_hears_from_the_default_on(store: Store) -> None:
    subscribe(store)
    publish(store, alert("small", usd=999_999), alert("enough", usd=1_000_000))
    ((_, text),) = waiting(store)
    assert "1M USD" in text


def test_an_alert_and_its_messages_are_undone_together(store: Store) -> None:
    subscribe(store)
    with pytest.raises(RuntimeError), store.transaction():
        alerts.publish(store, alert(), now=NOW, default_min=1e6)
        raise RuntimeError("killed before the commit")
    assert waiting(store) == []
    assert publish(store, alert()) == [True]


def test_a_group_topic_hears_in_its_topic_with_mute_buttons(store: Store) -> None:
    subscribe(store, -100, thread_id=5)
    publish(store, alert())
    (delivery,) = outgoing(store, now=NOW)
    assert delivery.lane == ALERTS
    assert delivery.payload["message_thread_id"] == 5
    ((first, second),) = delivery.payload["reply_markup"]["inline_keyboard"]
    assert (first["callback_data"], second["callback_data"]) == ("mute:BTC:1h", "mute:BTC:24h")
    assert (first["text"], second["text"]) == ("Mute BTC 1 h", "Mute BTC 24 h")


def test_an_announcement_goes_to_those_whom_it_concerns(store: Store) -> None:
    subscribe(store, 1)
    subscribe(store, 2, symbols=frozenset({"ETH"}))
    subscribe(store, 3, muted_until=NOW + 60)
    subscribe(store, 4, subscribed=False)
    alerts.announce(store, lambda zone: "missed", now=NOW, symbol="BTC")
    assert waiting(store) == [(1, "missed")]
    alerts.announce(store, lambda zone: "for all", now=NOW)
    assert {chat_id for chat_id, text in waiting(store) if text == "for all"} == {1, 2, 3}


# Bundles


def test_orders_of_one_coin_within_a_minute_share_one_message(store: Store) -> None:
    subscribe(store)
    publish(store, alert("k1"))
    publish(store, alert("k2", side="sell", usd=1.5e6), now=NOW + 30)
    publish(store, alert("e1", symbol="ETH"), now=NOW + 30)
    publish(store, alert("k3"), now=NOW + 61)
    (_, first), (_, ether), (_, later) = waiting(store)
    assert "BTC: 2 whale orders, 3.8M USD, net +800k" in first
    assert "ETH buy" in ether
    assert "whale orders" not in later, "a minute after its beginning a bundle takes no more"


def test_a_price_alert_rings_again_a_few_seconds_after_another_one(store: Store) -> None:
    """Each was asked for, and an edit makes no sound: only those of the same moment share a message."""
    subscribe(store)
    for number, seconds in enumerate((0, 3, 6, 30)):
        publish(store, alert(f"p{number}", monitor="prices"), now=NOW + seconds)
    assert ["2 price alerts" in told for _, told in waiting(store)] == [True, False, False]


def test_price_alerts_that_are_not_listed_are_not_called_smaller() -> None:
    many = [alert(f"p{n}", monitor="prices", usd=0.0, at_ms=int(NOW * 1000) + n) for n in range(30)]
    assert shown(*many)[-1] == "and 5 more"


def test_after_the_clock_was_put_back_an_hour_the_next_order_is_a_message_of_its_own(store: Store) -> None:
    """Else all orders of that hour would be silent edits of one old message."""
    subscribe(store)
    publish(store, alert("k1"), now=NOW)
    publish(store, alert("k2"), now=NOW - 3600)
    assert len(waiting(store)) == 2


def test_a_message_whose_alerts_are_no_longer_kept_has_nothing_to_tell(store: Store) -> None:
    subscribe(store)
    publish(store, alert())
    store.prune(now=NOW + 31 * 86400)
    assert len(store.pending()) == 1
    assert waiting(store) == []


def test_a_bundle_that_was_sent_is_edited_once(store: Store) -> None:
    subscribe(store)
    publish(store, alert("k1"))
    sent = store.delivery(store.pending()[0][0])
    assert sent is not None
    store.messages.settle_all([(sent, 11)], now=NOW)
    publish(store, alert("k2"), alert("k3"), now=NOW + 5)
    (edit,) = outgoing(store, now=NOW)
    assert (edit.method, edit.payload["message_id"]) == ("editMessageText", 11)
    assert "3 whale orders" in edit.payload["text"]


def test_a_loud_alert_never_hides_in_a_silent_message_and_a_silent_one_joins_either(store: Store) -> None:
    """An edit makes no sound."""
    subscribe(store)
    publish(store, alert("small", usd=1.1e6), alert("large", usd=2.5e6), alert("late and small", usd=1.2e6))
    silent, loud = outgoing(store, now=NOW)
    assert silent.payload["disable_notification"] is True
    assert "1.1M" in silent.payload["text"]
    assert "disable_notification" not in loud.payload
    assert "BTC: 2 whale orders, 3.7M USD" in loud.payload["text"]


def test_each_chats_bundle_holds_only_what_that_chat_wants(store: Store) -> None:
    subscribe(store, 1, thresholds={"whales": {"BTC": 2e6}})
    subscribe(store, 2)
    publish(store, alert("k1"), alert("k2", usd=1.1e6))
    texts = dict(waiting(store))
    assert "whale orders" not in texts[1]
    assert "2 whale orders" in texts[2]


def test_a_storm_fits_one_message_with_the_biggest_listed_and_the_rest_counted() -> None:
    storm = [alert(f"k{n}", usd=1e6 + n * 1000, at_ms=int(NOW * 1000) + n, late=True) for n in range(100)]
    told = wording.message(storm, now=NOW + 86400 * 2, zone=UTC)
    assert len(told) < 4096
    lines = shown(*storm)
    assert lines[0].startswith("BTC: 100 whale orders, 105M USD, net +105M")
    assert sum("BTC buy" in line for line in lines) == wording.LISTED
    assert "1.1M USD" in lines[-2], "the biggest, here also the newest, is the last of the list"
    assert lines[-1] == "and 75 smaller, 77.8M USD in total"


@given(st.integers(min_value=2, max_value=80), st.integers(min_value=10, max_value=900))
def test_however_long_the_words_of_a_bundle_are_it_fits_one_message_and_counts_all(count: int, length: int) -> None:
    storm = [alert(f"k{n}", headline="<" * length, usd=1e6 + n) for n in range(count)]
    told = wording.message(storm, now=NOW, zone=UTC)
    assert len(told) <= 4096 or count == 1
    lines = shown(*storm)
    listed = sum("<" in line for line in lines)
    left = int(lines[-1].split()[1].replace(",", "")) if lines[-1].startswith("and ") else 0
    assert listed + left == count
    assert f"{count} whale orders" in lines[0]


def test_a_coin_whose_name_is_too_long_for_a_button_has_none(store: Store) -> None:
    subscribe(store)
    publish(store, alert(symbol="中" * 20))
    (row,) = store.pending()
    delivery = store.delivery(row[0])
    assert delivery is not None
    worded = alerts.compose(store, delivery, now=NOW)
    assert worded is not None
    assert "reply_markup" not in worded


@pytest.mark.parametrize(
    ("monitor", "sides", "words"),
    [
        ("whales", ("buy", "sell"), "2 whale orders, 4M USD, net +2M"),
        ("liquidations", ("long", "short"), "2 liquidation alerts, largest 3M USD of longs"),
        ("funding", ("", ""), "2 funding alerts"),
        ("wallets", ("buy", "sell"), "2 wallet alerts"),
    ],
)
def test_several_alerts_are_called_what_they_are(monitor: str, sides: tuple[str, str], words: str) -> None:
    pair = [
        alert(f"k{number}", monitor=monitor, side=side, usd=usd)
        for number, (side, usd) in enumerate(zip(sides, (3e6, 1e6), strict=True))
    ]
    assert shown(*pair)[0] == f"BTC: {words}"


# Words


def test_the_first_line_is_complete_in_a_phones_preview() -> None:
    assert shown(alert())[0] == "🟢 BTC buy 2.3M USD at 76,981"
    assert shown(alert(side="sell"))[0] == "🔴 BTC sell 2.3M USD at 76,981"


def test_the_lines_below_tell_the_facts_the_venue_and_the_time() -> None:
    _, facts, where = shown(alert())
    assert facts == "40 fills in 0.09 s · price 76,980 → 76,990"
    assert where == "Binance spot · 15:06:38 UTC"


def test_an_alert_without_facts_has_no_empty_line() -> None:
    assert len(shown(alert(facts=""))) == 2


def test_a_late_alert_says_how_late_and_when_it_happened() -> None:
    assert shown(alert(late=True), now=NOW + 298)[-1] == "Binance spot · 15:06:38 UTC · 5 min late"
    assert "2025-06-15 15:06:38 UTC" in shown(alert(late=True), now=NOW + 86400)[-1]


def test_net_says_which_side_was_stronger() -> None:
    assert shown(alert("a", usd=1e6), alert("b", side="sell", usd=3e6))[0].endswith("net -2M")


words = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@given(words, words, words, st.booleans())
def test_names_of_others_cannot_break_or_fake_the_html(symbol: str, venue: str, url: str, late: bool) -> None:
    hostile = {"symbol": symbol, "venue": f"<b>&{venue}", "url": f'https://x/"><i>{url}', "late": late}
    for bundled in ([alert("a", **hostile)], [alert("a", **hostile), alert("b", **hostile)]):
        plain, entities = parse_html(wording.message(bundled, now=NOW, zone=UTC))
        assert symbol in plain
        assert f"<b>&{venue}" in plain
        assert sorted(entity["type"] for entity in entities) == ["bold", "text_link"]
        (link,) = [entity["url"] for entity in entities if entity["type"] == "text_link"]
        assert link == hostile["url"]
