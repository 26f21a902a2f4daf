"""/alert: prices as people type them, the list with its buttons, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER
from test_commands import GROUP, NOW, Desk

from botapi.updates import Update
from commands import context, levels
from commands.context import Reply
from store.coins import Coins
from store.levels import Level
from venues.trades import Bar


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """BTC is at 80,000, DOGE at 0.2, of ETH no price is known."""
    desk = Desk(tmp_path)
    desk.say("/start")
    for symbol, price in (("BTC", 80_000.0), ("DOGE", 0.2)):
        desk.store.markets.add_bars([Bar(symbol, int(NOW) - 100, price, price, price, price, 1, 1)])
    yield desk
    desk.store.close()


def kept(desk: Desk, chat_id: int = FRIEND) -> list[Level]:
    return desk.store.levels.of_chat(chat_id)


@pytest.mark.parametrize(
    ("typed", "price", "direction", "state"),
    [
        ("BTC 100k", 100_000, "either", "above"),
        ("btc at $75,000", 75_000, "either", "below"),
        ("BTCUSDT above 82500", 82_500, "above", "above"),
        ("BTC > 82.5k", 82_500, "above", "above"),
        ("BTC <70k", 70_000, "below", "below"),
        ("BTC crosses 80k", 80_000, "either", "away"),
        ("BTC above 70k", 70_000, "above", "away"),
        ("BTC 82.500", 82_500, "either", "above"),  # 82.5 is too far from the price to be meant
        ("doge 0.1875", 0.1875, "either", "below"),
        ("ETH 3k", 3000, "either", "away"),
        ("BTC +5%", 84_000, "above", "above"),
        ("BTC @ 90k", 90_000, "either", "above"),
        ("BTC=90k", 90_000, "either", "above"),
        ("BTC drops to 70k", 70_000, "below", "below"),
        ("BTC −2,5 %", 78_000, "below", "below"),
        ("BTC up 10%", 88_000, "above", "above"),
        ("BTC 100 000", 100_000, "either", "above"),
        ("BTC 100 000 usd", 100_000, "either", "above"),
        ("BTC above 100k USD", 100_000, "above", "above"),
        ("BTC 0.1 million", 100_000, "either", "above"),
        ("doge .1875", 0.1875, "either", "below"),
        ("100k BTC", 100_000, "either", "above"),
        ("+5% btc", 84_000, "above", "above"),
        ("above BTC 90k", 90_000, "above", "above"),
        ("when BTC hits 90k", 90_000, "either", "above"),
        ("if btc > 90k", 90_000, "above", "above"),
        ("btc>90k", 90_000, "above", "above"),
        ("BTC<=70k", 70_000, "below", "below"),
        ("BTC 90k!", 90_000, "either", "above"),
        ("BTC at 79,500.50", 79_500.5, "either", "below"),
        ("#BTC 90k", 90_000, "either", "above"),
        ("add BTC 90k", 90_000, "either", "above"),
        ("set btc above 90k", 90_000, "above", "above"),
        ("binance BTCUSDT 90k", 90_000, "either", "above"),
        ('"BTC" "90k"', 90_000, "either", "above"),
        ("BTC;90k", 90_000, "either", "above"),
        ("BTC:90k", 90_000, "either", "above"),
        ("BTC,90k", 90_000, "either", "above"),
        ("BTC-90k", 90_000, "either", "above"),
        ("BTC-5%", 76_000, "below", "below"),
        ("BTC+5%", 84_000, "above", "above"),
        ("BTC 🚀 90k", 90_000, "either", "above"),
        ("BTCUSD 90k", 90_000, "either", "above"),
        ("BTC/USD 90k", 90_000, "either", "above"),
        ("BTC-PERP 90k", 90_000, "either", "above"),
        ("BTC $5", 5, "either", "below"),
        ("BTC ١٠٠٬٠٠٠", 100_000, "either", "above"),
        ("BTC ९०k", 90_000, "either", "above"),
        ("ＢＴＣ　＞９０ｋ", 90_000, "above", "above"),
        ("BTC +٥٪", 84_000, "above", "above"),
        ("BTC 90k above", 90_000, "above", "above"),
        ("BTC 70k below", 70_000, "below", "below"),
    ],
)
def test_a_price_is_read_as_people_type_it(desk: Desk, typed: str, price: float, direction: str, state: str) -> None:
    said = desk.say(f"/alert {typed}")
    (level,) = kept(desk)
    assert (round(level.price, 6), level.direction, level.state) == (price, direction, state)
    assert said.startswith(f"Price alert set: {level.symbol} "), said
    assert (level.repeat, level.expires, level.since_ms) == (False, 0, int(NOW * 1000))


@pytest.mark.parametrize(
    ("typed", "size", "span", "direction"),
    [
        ("BTC 5% in 1h", 5, 3600, "either"),
        ("BTC 5% 1h", 5, 3600, "either"),
        ("BTC +5% in 1h", 5, 3600, "above"),
        ("BTC drops 5% in 15m", 5, 900, "below"),
        ("BTC drops by 5% within 15 min", 5, 900, "below"),
        ("ETH −2,5 % in an hour", 2.5, 3600, "below"),
        ("btc ±5% 4h", 5, 14_400, "either"),
        ("BTC +/-5% 4h", 5, 14_400, "either"),
        ("BTC 0.5%/5m", 0.5, 300, "either"),
        ("BTC 5% per hour", 5, 3600, "either"),
        ("BTC moves 3% in 1 day", 3, 86_400, "either"),
        ("BTC up 3% in 24h", 3, 86_400, "above"),
        ("BTC 5% drop in 15m", 5, 900, "below"),
        ("BTC 5% move 15m", 5, 900, "either"),
        ("BTC 1h 5%", 5, 3600, "either"),
        ("BTC in 1h 5%", 5, 3600, "either"),
        ("BTC rises 200% in 7d", 200, 604_800, "above"),
        ("BTC 1% in 1m", 1, 60, "either"),
        ("BTC 5%in1h", 5, 3600, "either"),
        ("BTC %5 1h", 5, 3600, "either"),
        ("BTC 5 percent in 1h", 5, 3600, "either"),
        ("BTC +5pct 1h", 5, 3600, "above"),
        ("BTC moves more than 5% in 1h", 5, 3600, "either"),
        ("BTC goes down by 5% in the last hour", 5, 3600, "below"),
        ("BTC dumps 5% 10m", 5, 600, "below"),
        ("BTC pumps 5% 10m", 5, 600, "above"),
    ],
)
def test_a_move_is_read_as_people_type_it(desk: Desk, typed: str, size: float, span: int, direction: str) -> None:
    said = desk.say(f"/alert {typed} repeat every 4h for 1d my note")
    (level,) = kept(desk)
    assert (level.kind, round(level.size * 100, 6), level.span, level.direction) == ("move", size, span, direction)
    assert (level.state, level.since_ms, level.repeat, level.cooldown) == ("on", 0, True, 14_400)
    assert (level.expires, level.note) == (NOW + 86_400, "my note")
    assert said.startswith(f"Price alert set: {level.symbol} {size:g} %"), said


@pytest.mark.parametrize(
    "typed", ["BTC +5%", "BTC +5% repeat", "BTC +5% for 7d", "BTC -5% 2 lots", "BTC up 5% in profit"]
)
def test_a_percentage_without_a_time_is_a_price(desk: Desk, typed: str) -> None:
    desk.say(f"/alert {typed}")
    assert [(one.kind, one.price) for one in kept(desk)] == [("price", 76_000 if "-" in typed else 84_000)]


def test_a_move_says_how_far_it_is_and_what_it_counts(desk: Desk) -> None:
    desk.store.markets.add_bars([Bar("BTC", int(NOW) - 600, 82_000, 84_000, 79_200, 80_000, 1, 1)])
    said = desk.say("/alert BTC 5% in 1h once")
    assert "BTC 5 % up or down in 1 h · once" in said
    assert "In the last 1 h: +1.0 % from the low, -4.8 % from the high." in said
    assert "That move is over" not in said and "told once" not in said
    assert "Each move is told once" in desk.say("/alert BTC 6% in 1h")
    assert "That move is over" in desk.say("/alert BTC 4% in 1h")
    assert "That move is over" not in desk.say("/alert BTC up 4% in 1h"), "it fell"
    assert [(one.size, one.since_ms > 0) for one in kept(desk)] == [
        (0.04, True),
        (0.04, False),
        (0.05, False),
        (0.06, False),
    ]
    desk.say("/alert BTC 5% in 1h")
    assert len(kept(desk)) == 4, "in place of the one that is there"


def hour(desk: Desk, days: int, usd: float, *, symbol: str = "BTC") -> None:
    """Bars of the last hour, so many days ago."""
    newest = int(NOW) // 300 * 300 - days * 86_400
    bars = [Bar(symbol, newest - 300 * back, 1, 1, 1, 1, usd / 24, usd / 24) for back in range(12)]
    desk.store.markets.add_bars(bars)


@pytest.mark.parametrize(
    ("typed", "size"),
    [
        ("BTC volume x3", 3),
        ("BTC vol 3x", 3),
        ("btc Volume 2.5x", 2.5),
        ("BTC 3x volume", 3),
        ("BTC x5 volume", 5),
        ("BTC volume 3 times", 3),
        ("BTC volume > 2,5x", 2.5),
        ("BTC volume x 4", 4),
        ("BTC volume 300%", 3),
        ("BTC volume spike", 3),
        ("BTC volume spike x10", 10),
        ("BTC turnover is more than 3x", 3),
        ("BTC volume +300%", 4),
        ("BTC volume up by 300%", 4),
        ("BTC vol>3x", 3),
        ("BTC volume", 3),
    ],
)
def test_a_volume_is_read_as_people_type_it(desk: Desk, typed: str, size: float) -> None:
    said = desk.say(f"/alert {typed} repeat every 4h for 1d My note")
    (level,) = kept(desk)
    assert (level.kind, level.size, level.span, level.state, level.since_ms) == ("volume", size, 3600, "calm", 0)
    assert (level.repeat, level.cooldown, level.expires, level.note) == (True, 14_400, NOW + 86_400, "My note")
    assert said.startswith(f"Price alert set: BTC volume {size:g} times the usual · repeat every 4 h"), said


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("BTC volume 500m", "like volume x3"),
        ("BTC volume 3", "like volume x3"),
        ("BTC volume x1", "from 1.2 to 100 times"),
        ("BTC volume 101x", "from 1.2 to 100 times"),
        ("BTC volume x1000000", "like volume x3"),
        ("BTC volume x0.001", "like volume x3"),
    ],
)
def test_a_volume_that_cannot_be_used_is_answered_with_what_to_do(desk: Desk, typed: str, words: str) -> None:
    assert words in desk.say(f"/alert {typed}")
    assert kept(desk) == []


def test_a_volume_says_how_it_is_now_against_what_and_is_listed_like_the_others(desk: Desk) -> None:
    assert "three days of this hour are needed" in desk.say("/alert BTC volume x3")
    for days, usd in ((0, 1.5e6), (1, 9e6), (2, 1e6), (3, 2e6)):
        hour(desk, days, usd)
    said = desk.say("/alert BTC volume x3 once")
    assert "The last hour: 1.5M USD, 0.8 times the usual (2M USD, the median of this hour on 3 days)." in said
    (level,) = kept(desk)
    listed = desk.say("/alert")
    assert "1 of 50" in listed and f"#{level.id} BTC volume 3 times the usual · once" in listed
    assert "It replaces #" in desk.say("/alert BTC volume x3")
    assert "half of the way back" in desk.say("/alert BTC volume x3") and len(kept(desk)) == 1
    stored = kept(desk)[0]
    desk.store.levels.move(stored, replace(stored, state="busy", touched_ms=int(NOW * 1000)))
    assert "told 15:06:40 UTC, waits until it is lower" in desk.say("/alert")
    hour(desk, 0, 20e6)
    assert "10.8 times the usual" in desk.say("/alert BTC volume x4"), "it is that high already"
    assert [one.state for one in kept(desk)] == ["busy", "busy"] and "4 times the usual · waits" in desk.say("/alert")
    desk.say(f"/alert remove {kept(desk)[1].id}")
    desk.say(f"/alert snooze {stored.id} 2h")
    assert (kept(desk)[0].state, kept(desk)[0].since_ms) == ("calm", int((NOW + 7200) * 1000))
    assert "rests until 17:06:40 UTC" in desk.say("/alert")


def test_moves_are_listed_snoozed_woken_and_removed_like_prices(desk: Desk) -> None:
    desk.say("/alert BTC 100k")
    desk.say("/alert BTC 5% in 1h once")
    move = kept(desk)[1]
    listed = desk.say("/alert")
    assert "2 of 50" in listed and f"#{move.id} BTC 5 % up or down in 1 h · once" in listed
    assert f"✕ #{move.id} BTC 5 % in 1 h" in buttons(desk.replies("/alert")[0])
    assert f"#{move.id} BTC 5 % in 1 h snoozed until 17:06:40 UTC." in desk.say(f"/alert snooze {move.id} 2h")
    assert (kept(desk)[1].state, kept(desk)[1].since_ms) == ("on", int((NOW + 7200) * 1000))
    desk.store.levels.move(kept(desk)[1], replace(kept(desk)[1], state="done", touched_ms=int(NOW * 1000)))
    assert "1 of 50" in desk.say("/alert") and "came 15:06:40 UTC" in desk.say("/alert")
    assert "2 of 50" in desk.say(f"/alert again {move.id}")
    assert (kept(desk)[1].state, kept(desk)[1].since_ms) == ("on", int(NOW * 1000))
    assert "1 of 50" in desk.say(f"/alert remove {move.id}")


@pytest.mark.parametrize(
    ("more", "repeat", "days", "note"),
    [
        ("repeat", True, 0, ""),
        ("for 7d", False, 7, ""),
        ("repeat for 2 weeks sell half", True, 14, "sell half"),
        ("for 12 months", False, 360, ""),
        ("for a year sell", False, 365, "sell"),
        ("for 3 friends", False, 0, "for 3 friends"),
        ("for 1d repeat “sell half”", True, 1, "sell half"),
        ("for my short", False, 0, "for my short"),
        ("once sell @half", False, 0, "sell @half"),
    ],
)
def test_after_the_price_come_repeat_an_end_and_a_note(
    desk: Desk, more: str, repeat: bool, days: int, note: str
) -> None:
    desk.say(f"/alert BTC 100k {more}")
    (level,) = kept(desk)
    ends = NOW + days * 86_400 if days else 0
    assert (level.repeat, level.expires, level.note) == (repeat, ends, note)


@pytest.mark.parametrize(
    ("more", "cooldown", "note"),
    [
        ("repeat every 1h", 3600, ""),
        ("repeat 30 min sell", 1800, "sell"),
        ("every hour", 3600, ""),
        ("Every 4h for 7d", 4 * 3600, ""),
        ("once a day", 86_400, ""),
        ("once per 2h", 7200, ""),
        ("repeat hourly", 3600, ""),
        ("repeat daily until fri", 86_400, ""),
        ("repeat every time", 0, ""),
        ("max once per hour", 3600, ""),
        ("repeat max every 2h for 7d", 7200, ""),
        ("cooldown 1h", 3600, ""),
        ("every 1h expires in 7d", 3600, ""),
        ("every 1h expires fri 5 % here", 3600, "5 % here"),
        ("repeat a lot", 0, "a lot"),
        ("repeat 2 lots", 0, "2 lots"),
        ("every month", 30 * 86_400, ""),
        ("each lot", 0, "each lot"),
    ],
)
def test_a_time_between_two_alerts_is_read_as_people_type_it(
    desk: Desk, more: str, cooldown: float, note: str
) -> None:
    desk.say(f"/alert BTC 100k {more}")
    (level,) = kept(desk)
    assert (level.cooldown, level.note, level.repeat) == (cooldown, note, cooldown > 0 or "repeat" in more)
    assert ("repeat every" in desk.say("/alert")) is (cooldown > 0)


@pytest.mark.parametrize(
    ("typed", "until", "note"),
    [
        ("until 31 Dec", "2025-12-31 23:59:00 UTC+1", ""),
        ("until 31.12.2025 tax day", "2025-12-31 23:59:00 UTC+1", "tax day"),
        ("until 2025-12-31 18:00 sell", "2025-12-31 18:00:00 UTC+1", "sell"),
        ("until 31 December at 6 pm repeat sell", "2025-12-31 18:00:00 UTC+1", "sell"),
        ("until tomorrow 9am", "2025-06-16 09:00:00 UTC+2", ""),
        ("until friday 16:30 close it", "2025-06-20 16:30:00 UTC+2", "close it"),
        ("till Jan 2", "2026-01-02 23:59:00 UTC+1", ""),
    ],
)
def test_an_end_may_be_a_date(desk: Desk, typed: str, until: str, note: str) -> None:
    desk.say("/timezone Berlin")
    assert f" · until {until}" in desk.say(f"/alert BTC 100k {typed}")
    assert [one.note for one in kept(desk)] == [note]
    number = kept(desk)[0].id
    said = " ".join(word for word in typed.split() if word not in ("repeat", *note.split()))
    assert f"All alerts muted until {until}." in desk.say(f"/mute {said}")
    assert f"snoozed until {until}." in desk.say(f"/alert snooze {number} {said}")


def test_an_end_by_a_day_or_until_a_length_of_time_is_no_note(desk: Desk) -> None:
    assert "until 2025-06-20 23:59:00 UTC" in desk.say("/alert BTC 100k by friday")
    assert "until 2025-06-29 15:06:40 UTC" in desk.say("/alert BTC 101k until 2 weeks")
    assert "until 2025-06-16 02:00:00 UTC" in desk.say("/alert BTC 102k until 2 lots")
    assert [one.note for one in kept(desk)] == ["lots", "", ""]


def test_an_end_is_read_in_the_zone_of_the_chat(desk: Desk) -> None:
    desk.say("/timezone Berlin")  # Sunday, 15 June 2025, 17:06
    assert "until 18:00:00 UTC+2" in desk.say("/alert BTC 100k until 18:00 sell half")
    assert "until 2025-06-20 23:59:00 UTC+2" in desk.say("/alert BTC 101k until fri repeat")
    assert [(one.note, one.repeat) for one in kept(desk)] == [("", True), ("sell half", False)]
    assert "Write until 18:00, until fri, until 31 Dec or for 7d" in desk.say("/alert BTC 102k until later")
    assert "“14.6.2025” has passed. " in desk.say("/alert BTC 102k until 14.6.2025 sell half")
    assert "“14 Jun 2025” has passed. " in desk.say("/alert BTC 102k until 14 Jun 2025")
    assert "“2028-01-01” is more than a year away. " in desk.say("/alert BTC 102k until 2028-01-01")
    assert "a minute" in desk.say("/alert BTC 102k repeat 0.5m")
    assert len(kept(desk)) == 2


def test_the_answer_says_how_far_it_is_and_what_has_to_happen_first(desk: Desk) -> None:
    assert "Now: 80,000 (+25.0 % to go)." in desk.say("/alert BTC 100k")
    assert "The price is above it already" in desk.say("/alert BTC above 70k")
    assert "has to go 0.2 % away" in desk.say("/alert BTC 90k repeat")
    desk.say("/level prices off")
    assert "price alerts are off in this chat" in desk.say("/alert BTC 91k")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("BTC 5%", "5% up or down from now, or a move of 5% in a time like 1h?"),
        ("BTC 5% in 30", "Write in 30m, in 1h or in 7d."),
        ("BTC 5% in 8d", "from 1m to 7d"),
        ("BTC 5% in 0.5m", "from 1m to 7d"),
        ("BTC 0.05% in 1h", "from 0.1 to 99 percent"),
        ("BTC drops 100% in 1h", "from 0.1 to 99 percent"),
        ("ETH 1.500", "can mean two prices"),
        ("BTC above", "At which price?"),
        ("BTC soon", "I can't read “soon”"),
        ("BTC -100%", "at most 99 down"),
        ("ETH +5%", "There is no price of ETH yet"),
        ("NOPE 5", "is not on this bot's list"),
        (f"BTC 100k {'x' * 101}", "up to 100 characters"),
        ("remove 77", "There is no price alert #77."),
        ("off", "/alert remove all"),
        ("100k", "Which coin? “100k” is an amount."),
        ("BTC soon", "as a price in US dollars. Write 100k, 0.052 or +5%."),
        ("BTC -5", "Do you mean -5 % from now?"),
        ("BTC 100k €", "as a price in US dollars"),
        ("BTC 100k ETH 5k", "One price alert at a time"),
        ("ETH 5k and BTC 100k", "One price alert at a time"),
        ("BTC 100k off", "This would be a new one."),
        ("BTC 5% in 1h remove", "This would be a new one."),
        ("clear", "/alert remove all"),
        ("stop", "/alert remove all"),
        ("BTC 100k for 5y", "“5y” cannot be used here. Write for 7d or every 1h, at most a year."),
        ("BTC 100k for 0h", "“0h” cannot be used here"),
        ("BTC 100k for -1 h", "“-1 h” cannot be used here"),
        ("BTC 100k for 366d", "“366d” cannot be used here"),
        ("BTC 100k every 2s", "“2s” cannot be used here"),
        ("BTC 100k repeat every 400d", "“400d” cannot be used here"),
        ("BTC 100k repeat 3 times", "Repeat has no number. Give an end, like repeat for 7d."),
        ("BTC 5% in 30s", "from 1m to 7d"),
        ("BTC 0%", "from 0.01 to 1000 percent"),
        ("BTC 10²k", "as a price in US dollars"),
        ("BTC 500$ in 5m", "A move is in percent. Example: /alert BTC 5% in 1h"),
        ("BTC volume > 1B", "Give how many times the usual volume, like volume x3."),
        ("btc funding > 0.1%", "Those alerts come without /alert. Set their size: /threshold funding 0.03."),
        ("whale btc 5m", "Set their size: /threshold whales BTC 2m."),
        ("BTC/EUR 90k", "Prices are in US dollars: BTC, not BTC/EUR."),
        ("edit 3 90k", "Price alerts cannot be edited. Set a new one"),
    ],
)
def test_what_cannot_be_used_is_answered_with_what_to_do(desk: Desk, typed: str, words: str) -> None:
    assert words in desk.say(f"/alert {typed}")
    assert kept(desk) == []


def test_two_readings_become_two_buttons_that_work(desk: Desk) -> None:
    for typed in ("BTC 5% repeat", "ETH 1.500"):
        (reply,) = desk.replies(f"/alert {typed}")
        assert len(reply.keyboard) == (3 if "%" in typed else 2)
        _, shown = desk.press(reply.keyboard[1][0][1])
        assert shown.text.startswith("Price alert set") and shown.edit
    assert [(one.symbol, round(one.price, 1), one.repeat) for one in kept(desk)] == [
        ("BTC", 76_000, True),
        ("ETH", 1500, False),
    ]


def buttons(reply: Reply) -> dict[str, str]:
    return dict(button for row in reply.keyboard for button in row)


def test_by_buttons_alone_an_alert_is_set_removed_and_set_again(desk: Desk) -> None:
    (start,) = desk.replies("/alert")
    _, steps = desk.press(buttons(start)["BTC"])
    assert steps.text.startswith("BTC is at 80,000.")
    _, done = desk.press(buttons(steps)["-5%"])
    assert "BTC below 76,000" in done.text
    _, listed = desk.press(buttons(done)["All price alerts"])
    (number,) = [level.id for level in kept(desk)]
    assert f"#{number} BTC below 76,000" in listed.text
    stored = kept(desk)[0]
    desk.store.levels.move(stored, replace(stored, state="done", touched_ms=int(NOW * 1000)))
    (listed,) = desk.replies("/alert")
    assert "0 of 50" in listed.text and "came 15:06:40 UTC" in listed.text
    _, listed = desk.press(buttons(listed)[f"↻ #{number} BTC 76,000"])
    assert "1 of 50" in listed.text and kept(desk)[0].state == "below"
    _, listed = desk.press(buttons(listed)[f"✕ #{number} BTC 76,000"])
    assert kept(desk) == [] and "0 of 50" in listed.text


def test_by_buttons_an_alert_is_snoozed_and_woken(desk: Desk) -> None:
    desk.say("/alert BTC 100k for 7d")
    (level,) = kept(desk)
    _, asked = desk.press(buttons(desk.replies("/alert")[0])["💤 Snooze"])
    assert asked.text == f"#{level.id} BTC 100,000: for how long?"
    _, said = desk.press(buttons(asked)["4 h"])
    assert said.text == f"#{level.id} BTC 100,000 snoozed until 19:06:40 UTC."
    assert (kept(desk)[0].state, kept(desk)[0].since_ms) == ("rest", int((NOW + 4 * 3600) * 1000))
    assert "1 of 50" in desk.say("/alert") and "rests until 19:06:40 UTC" in desk.say("/alert")
    _, listed = desk.press(buttons(desk.replies("/alert")[0])["↻ Wake up"])
    assert (kept(desk)[0].state, kept(desk)[0].since_ms) == ("above", int(NOW * 1000))
    assert "rests" not in listed.text and kept(desk)[0].expires == level.expires


@pytest.mark.parametrize(
    ("typed", "until"),
    [
        ("2h", "17:06:40 UTC"),
        ("tomorrow", "2025-06-16 09:00:00 UTC"),
        ("until 18:00", "18:00:00 UTC"),
        ("for 1 day", "2025-06-16 15:06:40 UTC"),
        ("fri", "2025-06-20 23:59:00 UTC"),
    ],
)
def test_a_snooze_is_typed_in_many_ways(desk: Desk, typed: str, until: str) -> None:
    desk.say("/alert BTC 100k")
    assert f"snoozed until {until}." in desk.say(f"/alert snooze {kept(desk)[0].id} {typed}")
    assert "Write 4h, tomorrow, until 18:00 or until 31 Dec." in desk.say("/alert snooze all soon")


def test_the_buttons_under_an_alert_answer_with_a_toast_and_wake_what_was_told(desk: Desk) -> None:
    for price in (90_000, 91_000):
        desk.say(f"/alert BTC {price}")
    numbers = ",".join(str(one.id) for one in kept(desk))
    for one in kept(desk):
        desk.store.levels.move(one, replace(one, state="done", touched_ms=int(NOW * 1000)))
    (toast,) = desk.press(f"snooze:{numbers}:1h")
    assert (toast.text, toast.toast, toast.edit) == ("2 price alerts snoozed until 16:06:40 UTC.", True, False)
    assert [one.state for one in kept(desk)] == ["rest", "rest"]
    desk.say("/alert remove all")
    for data, words in ((f"snooze:{numbers}:1h", "There is no price alert"), ("snooze:1:5y", "expired")):
        (toast,) = desk.press(data)
        assert words in toast.text and toast.toast


def test_an_alert_set_in_a_topic_is_to_come_there(desk: Desk) -> None:
    desk.say("/start", chat_id=GROUP)
    update = Update(update_id=1, kind="message", chat_id=GROUP, chat_kind="supergroup", user_id=FRIEND)
    desk.commands.run(replace(update, text="/alert BTC 100k", thread_id=9))
    desk.commands.run(replace(update, text="/alert BTC 99k"))
    assert [one.topic for one in kept(desk, GROUP)] == [9, 0]


def test_by_buttons_moves_and_volumes_are_set_too(desk: Desk) -> None:
    steps = buttons(desk.replies("/alert BTC")[0])
    for label, said in (("5% in 1h", "BTC 5 % up or down in 1 h"), ("volume x3", "BTC volume 3 times the usual")):
        _, done = desk.press(steps[label])
        assert said in done.text


def test_no_button_is_longer_than_telegram_allows(desk: Desk) -> None:
    coin = "币" * 15
    desk.desk.symbols = Coins(desk.store, ("BTC", coin))
    desk.store.markets.add_bars([Bar(coin, int(NOW) - 100, 2, 2, 2, 2, 1, 1)])
    (steps,) = desk.replies(f"/alert {coin}")
    assert steps.keyboard and all(len(data.encode()) <= 64 for row in steps.keyboard for _, data in row)


def test_an_end_that_has_passed_does_not_end_what_is_set_again(desk: Desk) -> None:
    number = desk.store.levels.add(Level(chat_id=FRIEND, symbol="BTC", price=9e4, state="above", expires=NOW - 1))
    assert "expired" in desk.say("/alert")
    desk.say(f"/alert again {number}")
    assert kept(desk)[0].waits(NOW + 1e6)
    assert "there is no price alert #99" in desk.say("/alert wake 99").lower()
    assert "for how long?" in desk.say(f"/alert pause {number}") and "1 of 50" in desk.say("/alert snooze")
    assert "0 of 50" in desk.say(f"/alert delete {number}")


def test_a_chat_has_up_to_fifty_that_wait_and_the_list_fits_a_message(desk: Desk) -> None:
    for number in range(levels.MOST):
        desk.say(f"/alert BTC {90_000 + number} for 7d {'n' * 100}")
    assert "up to 50 price alerts" in desk.say("/alert BTC 99k")
    (listed,) = desk.replies("/alert")
    assert len(listed.text) <= 4096 and len(buttons(listed)) == 50
    desk.store.levels.remove(FRIEND, kept(desk)[0].id)
    assert "Price alert set" in desk.say("/alert BTC 99k")
    assert desk.say("/alert remove all").startswith("Price alerts: 0 of 50.")


def test_the_same_price_again_changes_the_one_that_is_there_and_says_so(desk: Desk) -> None:
    desk.say("/alert BTC 100k sell a tenth")
    (first,) = kept(desk)
    said = desk.say("/alert BTC 100k repeat now and then")
    (level,) = kept(desk)
    assert (level.repeat, level.note) == (True, "now and then")
    assert said.startswith("Price alert set: BTC at 100,000 · repeat · now and then\n")
    assert f"It replaces #{first.id}: BTC at 100,000 · sell a tenth" in said
    assert "replaces" not in desk.say("/alert BTC above 100k"), "another direction is another alert"
    assert len(kept(desk)) == 2
    desk.store.levels.move(level, replace(level, state="done", touched_ms=int(NOW * 1000)))
    assert "replaces" not in desk.say("/alert BTC 100k"), "what was over is not missed"


@pytest.mark.parametrize(
    "typed", ["BTC 100k", "btc 100000 repeat every 1h until 18:00 look", "BTC 5% in 1h", "BTC volume x3"]
)
def test_what_is_set_already_stays_as_it_is(desk: Desk, typed: str) -> None:
    desk.say(f"/alert {typed}")
    (level,) = kept(desk)
    told = replace(level, touched_ms=int(NOW * 1000) - 5)
    desk.store.levels.move(level, told)
    (reply,) = desk.replies(f"/alert {typed}")
    assert reply.text.startswith(f"Already set: #{level.id} BTC ")
    assert "replaces" not in reply.text
    assert buttons(reply)["Remove"] == f"run:alert remove {level.id}"
    assert kept(desk) == [told]


def test_one_that_is_snoozed_is_set_anew(desk: Desk) -> None:
    desk.say("/alert BTC 100k")
    (level,) = kept(desk)
    desk.say(f"/alert snooze {level.id} 4h")
    said = desk.say("/alert BTC 100k")
    assert f"It replaces #{level.id}: BTC at 100,000 · rests until " in said
    assert [one.rests(NOW) for one in kept(desk)] == [0]


def test_at_the_limit_one_may_still_be_replaced(desk: Desk) -> None:
    for number in range(levels.MOST):
        desk.say(f"/alert BTC {100_000 + number}")
    assert "Remove one" in desk.say("/alert BTC 90k")
    assert "It replaces #" in desk.say("/alert BTC 100000 repeat")
    assert len(kept(desk)) == levels.MOST


def test_a_button_pressed_again_does_nothing_more(desk: Desk) -> None:
    steps = buttons(desk.replies("/alert BTC")[0])
    desk.press(steps["+5%"])
    desk.store.markets.add_bars([Bar("BTC", int(NOW) - 50, 81_000, 81_000, 81_000, 81_000, 1, 1)])
    desk.press(steps["+5%"])
    (level,) = kept(desk)
    assert (level.price, level.direction) == (84_000, "above")
    for _ in range(2):
        _, shown = desk.press(f"run:alert remove {level.id}")
        assert "Price alerts: 0 of 50." in shown.text and "New: type" in shown.text


def test_a_chat_removes_none_of_another(desk: Desk) -> None:
    desk.say("/start", user_id=OWNER)
    desk.say("/alert BTC 100k", user_id=OWNER)
    (level,) = kept(desk, OWNER)
    assert "There is no price alert" in desk.say(f"/alert remove {level.id}")
    assert desk.say("/alert remove all").startswith("Price alerts: 0") and kept(desk, OWNER)


def test_it_needs_a_chat_with_alerts_and_works_in_a_group(desk: Desk) -> None:
    assert "Send /start first" in desk.say("/alert BTC 100k", chat_id=GROUP)
    desk.say("/start", chat_id=GROUP)
    desk.say("/alert BTC 100k", chat_id=GROUP)
    assert len(kept(desk, GROUP)) == 1 and kept(desk) == []


def test_prices_have_no_minimum_and_a_sample(desk: Desk) -> None:
    assert "Price alerts have no minimum in USD" in desk.say("/threshold prices 1m")
    assert "TEST: BTC rose to 1,234.5" in desk.say("/test prices")
    assert context.KINDS["prices"] in desk.say("/level prices off").lower()
    (page,) = desk.replies("/settings")
    assert ("Prices: off", "s:prices") in [button for row in page.keyboard for button in row]


def test_a_note_may_name_a_coin_and_a_number(desk: Desk) -> None:
    for typed, note in (("BTC 100k sell ETH 5k", "sell ETH 5k"), ("doge 0.21 500 coins", "500 coins")):
        desk.say(f"/alert {typed}")
        assert note in [one.note for one in kept(desk)]


def test_all_that_rest_are_woken_at_once_and_what_is_over_stays_over(desk: Desk) -> None:
    for price in ("100k", "101k", "102k"):
        desk.say(f"/alert BTC {price}")
    over = kept(desk)[0]
    desk.store.levels.move(over, replace(over, state="done", touched_ms=int(NOW * 1000)))
    desk.say("/alert snooze 1,2 4h")
    assert "rests until" in desk.say("/alert")
    said = desk.say("/alert wake all")
    assert "rests until" not in said
    assert said.startswith("Price alerts: 2 of 50.")


def test_several_are_removed_by_their_numbers(desk: Desk) -> None:
    for price in ("100k", "101k", "102k"):
        desk.say(f"/alert BTC {price}")
    assert "no price alert #all,but,1.\nPrice alerts: 3 of 50." in desk.say("/alert remove all but 1")
    assert desk.say("/alert remove #1 #3").startswith("Price alerts: 1 of 50.")
    assert [one.id for one in kept(desk)] == [2]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("BTC 5", ["BTC +5%", "BTC -5%", "BTC $5"]),
        ("BTC up 80", ["BTC +80%", "BTC above 80000", "BTC above $80"]),
        ("BTC 0.5 in 5m", ["BTC +0.5% in 5m", "BTC -0.5% in 5m", "BTC $0.5 in 5m"]),
        ("DOGE 250", ["DOGE $250"]),
        ("BTC +5", ["BTC +5%"]),
    ],
)
def test_a_price_far_from_the_market_is_asked_about_and_can_be_had(
    desk: Desk, typed: str, offered: list[str]
) -> None:
    (reply,) = desk.replies(f"/alert {typed}")
    assert list(buttons(reply)) == offered
    assert kept(desk) == []
    assert "far from the price of" in reply.text or "% from now?" in reply.text
    desk.press(buttons(reply)[offered[0]])
    assert len(kept(desk)) == 1


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("by the dip", "by the dip"),
        ('a "b"', 'a "b"'),
        ("-- sell", "sell"),
        ("note: sell", "sell"),
        ("| sell", "sell"),
        ('"sell"', "sell"),
        ("🎯 sell", "🎯 sell"),
    ],
)
def test_a_note_is_without_what_only_marks_it(desk: Desk, typed: str, note: str) -> None:
    desk.say(f"/alert BTC 100k repeat=1h {typed}")
    assert [(one.note, one.cooldown) for one in kept(desk)] == [(note, 3600)]


def test_several_are_removed_by_a_span_of_numbers(desk: Desk) -> None:
    for price in range(100, 106):
        desk.say(f"/alert BTC {price}k")
    numbers = sorted(one.id for one in kept(desk))
    assert "3 of 50" in desk.say(f"/alert remove {numbers[0]}-{numbers[1]},#{numbers[5]}")
    assert sorted(one.id for one in kept(desk)) == numbers[2:5]


def test_a_price_is_shown_with_all_its_decimals(desk: Desk) -> None:
    assert "BTC at 79,500.5\n" in desk.say("/alert BTC 79500.50")
    assert "BTC 79,500.5" in str(buttons(desk.replies("/alert")[0]))


@pytest.mark.parametrize("typed", ["BTC -5% from now", "BTC -5% from here", "BTC down 5% from now on"])
def test_from_now_is_no_note(desk: Desk, typed: str) -> None:
    desk.say(f"/alert {typed}")
    assert [(one.price, one.note) for one in kept(desk)] == [(76_000, "")]


@pytest.mark.parametrize("typed", ["volume 2x usual", "volume 2x the average", "vol x2 normal"])
def test_the_usual_volume_is_no_note(desk: Desk, typed: str) -> None:
    desk.say(f"/alert BTC {typed}")
    assert [(one.size, one.note) for one in kept(desk)] == [(2, "")]
