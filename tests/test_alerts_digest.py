"""Digests: at the times a chat asked for, once each, with what it follows, across restarts and outages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerts.digest import Digests, plan
from simulation.html import parse_html
from store import Store
from store.rows import Alert, Chat
from venues.perpetuals import Liquidation, Rate
from venues.trades import Bar

DAY = 86400.0


def at(words: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(words).replace(tzinfo=ZoneInfo(zone)).timestamp()


class Desk:
    """A store, its digests and a clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bot.db"
        self.store = Store(self.path)
        self.clock = at("2026-11-24 08:00")
        self.restart()
        long_ago = int(self.clock) - 20 * 86400
        self.store.markets.add_bars([Bar("SOL", long_ago, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])

    def restart(self) -> None:
        self.store.close()
        self.store = Store(self.path)
        self.digests = Digests(
            self.store, symbols=("BTC", "ETH"), default_min=lambda symbol: 1e6, now=lambda: self.clock
        )

    def subscribe(self, chat_id: int = 7, *, digest: str = "09:00", **settings: object) -> None:
        chat = Chat(chat_id=chat_id, added_by=chat_id, digest=digest, **settings)  # type: ignore[arg-type]
        self.store.chats.put(plan(chat, self.clock))

    def alert(self, usd: float, *, side: str = "buy", symbol: str = "BTC", ago: float = 3600, **more: object) -> None:
        at_ms = int((self.clock - ago) * 1000)
        values = {"monitor": "whales", "venue": "Binance spot", "url": "https://x", "price": 64_000.0} | more
        headline = f"{symbol} {side} {usd / 1e6:g}M USD at 64,000"
        key = f"{symbol}{at_ms}{usd}{side}"
        alert = Alert(key=key, symbol=symbol, side=side, usd=usd, headline=headline, at_ms=at_ms, **values)  # type: ignore[arg-type]
        self.store.messages.add_alert(alert, now=self.clock)

    def told(self) -> list[tuple[int, str]]:
        """Chat and text of what waits to be sent, read as Telegram reads it."""
        found = [self.store.delivery(number) for number, _, _ in self.store.pending()]
        return [(one.chat_id, parse_html(one.payload["text"])[0]) for one in found if one is not None]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def test_a_digest_comes_at_its_time_and_once(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 08:59:59")
    assert not desk.digests.tick()
    desk.clock = at("2026-11-24 09:00:10")
    assert desk.digests.tick()
    assert not desk.digests.tick()
    ((chat_id, text),) = desk.told()
    assert chat_id == 7
    assert text.startswith("Digest, last 24 hours (until Tue 24 Nov, 09:00 UTC)")
    desk.clock += DAY
    assert desk.digests.tick()
    assert len(desk.told()) == 2


def test_it_comes_by_the_clock_of_the_chat(desk: Desk) -> None:
    desk.subscribe(timezone="Asia/Kolkata")
    desk.clock = at("2026-11-25 08:59", "Asia/Kolkata")
    assert not desk.digests.tick()
    desk.clock = at("2026-11-25 09:00", "Asia/Kolkata")
    assert desk.digests.tick()
    assert "(until Wed 25 Nov, 09:00 Asia/Kolkata)" in desk.told()[0][1]


def test_a_restart_forgets_no_digest(desk: Desk) -> None:
    desk.subscribe()
    desk.restart()
    desk.clock = at("2026-11-24 09:00")
    assert desk.digests.tick()
    desk.restart()
    assert not desk.digests.tick()


def test_after_an_outage_one_digest_covers_all_of_it(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 08:30")
    desk.alert(2e6, ago=60)
    desk.clock = at("2026-11-27 15:00")
    desk.alert(3e6, side="sell", ago=60)
    assert desk.digests.tick()
    ((_, text),) = desk.told()
    assert "Digest, last 4 d 6 h" in text
    assert "2 whale orders, 5M USD, net -1M" in text
    assert "Tue 08:29" in text
    desk.clock = at("2026-11-28 09:00")
    assert desk.digests.tick()


def test_a_kill_between_message_and_plan_undoes_both(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    with pytest.raises(RuntimeError), desk.store.transaction():
        desk.digests.tick()
        raise RuntimeError("killed")
    assert desk.told() == []
    assert desk.digests.tick()


def test_settings_changed_while_digests_are_written_are_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of chats have the same time, and people type at that time, too."""
    desk.subscribe(1)
    desk.subscribe(2)
    desk.clock = at("2026-11-24 09:00")
    first = desk.store.chats.get(1)
    assert first is not None
    compose = desk.digests.compose

    def while_someone_types(chat: Chat, **times: float) -> str:
        if chat.chat_id == 1:
            desk.store.chats.put(replace(first, muted_until=desk.clock + 60, timezone="Asia/Kolkata"))
            desk.store.unsubscribe(2, note="")
        return compose(chat, **times)

    monkeypatch.setattr(desk.digests, "compose", while_someone_types)
    assert desk.digests.tick()
    (changed,), (stopped,) = desk.store.chats.all(), desk.store.chats.all(subscribed=False)
    assert (changed.muted_until, changed.timezone) == (desk.clock + 60, "Asia/Kolkata")
    assert changed.digest_at == at("2026-11-25 09:00")
    assert stopped.chat_id == 2
    assert [chat_id for chat_id, _ in desk.told()] == [1], "who stopped gets no digest"


def test_a_rule_that_cannot_be_read_stops_no_other_chats_digest(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A rule of an older version, a zone that this machine no longer knows, a file edited by hand."""
    desk.subscribe(1)
    desk.subscribe(2)
    bad = desk.store.chats.get(1)
    assert bad is not None
    desk.store.chats.put(replace(bad, digest="whenever", digest_at=at("2026-11-24 08:59")))
    desk.clock = at("2026-11-24 09:00")
    assert desk.digests.tick()
    (one, words), (two, digest) = desk.told()
    assert (one, two) == (1, 2)
    assert "digest is off" in words and "/digest 09:00" in words
    assert "Digest, last" in digest
    desk.clock = at("2026-11-25 09:00")
    assert desk.digests.tick()
    assert [chat_id for chat_id, _ in desk.told()] == [1, 2, 2], "it is told once"


def test_a_next_time_beyond_its_rule_is_planned_again_and_a_digest_of_years_covers_what_is_kept(desk: Desk) -> None:
    """A clock that was ahead planned it, or was behind when it began."""
    desk.subscribe(1)
    desk.subscribe(2)
    desk.store.chats.set_digest_at(1, desk.clock + 1094 * DAY)
    desk.store.chats.set_digest_at(2, desk.clock - 1094 * DAY)
    assert desk.digests.tick()
    assert [chat_id for chat_id, _ in desk.told()] == [2]
    assert "last 30 d" in desk.told()[0][1]
    assert [chat.digest_at for chat in desk.store.chats.all()] == [at("2026-11-24 09:00")] * 2


def test_it_has_the_biggest_orders_and_the_net_of_all(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    for number in range(1, 9):
        desk.alert(number * 1e6, side="sell" if number == 8 else "buy", ago=number * 600)
    desk.digests.tick()
    lines = desk.told()[0][1].split("\n")
    assert lines[1] == "8 whale orders, 36M USD, net +20M"
    assert lines[2] == "07:40 🔴 BTC sell 8M USD at 64,000"
    assert [line.split(" ")[4] for line in lines[2:7]] == ["8M", "7M", "6M", "5M", "4M"]


def test_orders_outside_its_time_are_left_out(desk: Desk) -> None:
    desk.subscribe(digest="every 4h")
    desk.clock = at("2026-11-24 12:00")
    desk.alert(2e6, ago=4 * 3600 + 1)
    desk.alert(3e6, ago=4 * 3600 - 1)
    desk.digests.tick()
    assert "1 whale order, 3M USD" in desk.told()[0][1]


def test_it_keeps_to_what_the_chat_follows(desk: Desk) -> None:
    desk.subscribe(1, symbols=frozenset({"ETH"}))
    desk.subscribe(2, levels={"whales": "off"})
    desk.subscribe(3, thresholds={"whales": {"BTC": 4e6}})
    desk.clock = at("2026-11-24 09:00")
    desk.alert(3e6)
    desk.alert(2e6, symbol="ETH")
    desk.digests.tick()
    told = dict(desk.told())
    assert "ETH buy" in told[1]
    assert "BTC" not in told[1]
    assert "whale order" not in told[2]
    assert "BTC buy" not in told[3]
    assert "ETH buy" in told[3]


def test_net_taker_flow_is_of_all_trades_with_the_price_beside_it(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    begins = int(desk.clock) - 7200
    desk.store.markets.add_bars(
        [Bar("BTC", begins, 100, 120, 90, 110, 9e6, 4e6), Bar("BTC", begins + 300, 110, 115, 100, 105, 1e6, 2e6)]
    )
    desk.digests.tick()
    assert "Net taker flow (all trades, USD)\nBTC +4M of 16M, price +5.0 %" in desk.told()[0][1]


def test_liquidations_are_summed_by_coin_and_side_and_their_venues_named(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    happened = int((desk.clock - 600) * 1000)
    rows = [("OKX", "BTC", "long", 1e6), ("Gate", "BTC", "short", 2e5), ("OKX", "ETH", "long", 9e4)]
    desk.store.markets.add_liquidations(
        Liquidation(venue, symbol, side, usd, 100.0, happened, f"row {number}")
        for number, (venue, symbol, side, usd) in enumerate(rows)
    )
    desk.digests.tick()
    told = "Liquidations (USD, Gate and OKX)\nBTC longs 1M, shorts 200k\nETH longs 90k"
    assert told in desk.told()[0][1]


def test_the_extremes_of_funding_are_those_of_the_coins_that_are_followed(desk: Desk) -> None:
    desk.subscribe(symbols=frozenset({"BTC", "ETH"}))
    desk.clock = at("2026-11-24 09:00")
    rates = [("BTC", 0.0001), ("ETH", -0.0002), ("PEPE", 0.01)]
    desk.store.markets.put_rates("OKX", [Rate("OKX", symbol, symbol, rate, 8, 0, 0) for symbol, rate in rates])
    desk.digests.tick()
    assert "Funding per 8 h, highest and lowest now: BTC +0.0100 % (OKX), ETH -0.0200 % (OKX)" in desk.told()[0][1]


def test_what_was_not_seen_is_told(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    start = desk.clock - 7200
    desk.store._db.write(
        "INSERT INTO gaps VALUES (1, 'Binance spot', 'BTC', 12, ?, ?, ?)", (start, start + 60, start + 61)
    )
    desk.digests.tick()
    assert "Missing data\nBinance spot: 07:00 to 07:01, BTC, 12 trades" in desk.told()[0][1]


def test_a_time_in_which_nobody_looked_is_no_quiet_time(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    desk.store._db.write("DELETE FROM bars")
    assert "Missing data\nNo data yet: the bot has just started." in written(desk)
    desk.store.markets.add_bars([Bar("BTC", int(desk.clock) - 3600, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
    assert "No data before 08:00, when the bot was first started." in written(desk)


def written(desk: Desk) -> str:
    chat = desk.store.chats.get(7)
    assert chat is not None
    words: str = parse_html(desk.digests.compose(chat, since=desk.clock - DAY, until=desk.clock))[0]
    return words


def test_a_quiet_time_says_so(desk: Desk) -> None:
    desk.subscribe()
    desk.clock = at("2026-11-24 09:00")
    desk.digests.tick()
    assert desk.told()[0][1].split("\n")[1:] == ["No whale orders."]


def test_a_chat_that_stopped_gets_none_and_one_in_a_topic_gets_it_there(desk: Desk) -> None:
    desk.subscribe(1, subscribed=False)
    desk.subscribe(-5, thread_id=9)
    desk.clock = at("2026-11-24 09:00")
    desk.digests.tick()
    ((number, chat_id, _),) = desk.store.pending()
    delivery = desk.store.delivery(number)
    assert delivery is not None
    assert (chat_id, delivery.payload["message_thread_id"]) == (-5, 9)


def test_in_quiet_hours_it_comes_without_a_sound(desk: Desk) -> None:
    desk.subscribe(1, quiet="22:00-10:00")
    desk.subscribe(2)
    desk.clock = at("2026-11-24 09:00")
    desk.digests.tick()
    found = [desk.store.delivery(number) for number, _, _ in desk.store.pending()]
    assert {one.chat_id: one.payload.get("disable_notification") for one in found if one} == {1: True, 2: None}


def test_without_a_rule_there_is_no_next_time(desk: Desk) -> None:
    chat = replace(Chat(chat_id=7, added_by=7), digest_at=5.0)
    assert plan(chat, desk.clock).digest_at is None
