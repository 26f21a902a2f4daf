"""Taking it home: files that spreadsheets open and that cannot harm, and settings that another chat takes in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER
from hypothesis import given
from hypothesis import strategies as st
from storekit import DAY, NOW, whale
from test_commands import GROUP, Desk

from alerts import export
from alerts.attachments import makers
from alerts.publish import publish
from botapi.sending import AttachmentError
from commands.context import Reply
from store.rows import MONITORS, Chat
from venues.trades import Bar

ADDRESS = "0x" + "ab" * 20


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened(tmp_path) as desk:
        yield desk


@contextmanager
def opened(folder: Path) -> Iterator[Desk]:
    desk = Desk(folder)
    desk.say("/start")
    yield desk
    desk.store.close()


def made(desk: Desk, reply: Reply) -> list[list[str]]:
    """The rows of the file that this answer brings."""
    assert reply.attachment is not None
    file = makers(desk.store, Path(), now=lambda: NOW)["export"](dict(reply.attachment))
    assert file.content.startswith(b"\xef\xbb\xbf")
    assert file.filename.endswith(".csv")
    return list(csv.reader(io.StringIO(file.content.decode("utf-8-sig"), newline="")))


# Files


def test_the_alerts_of_a_chat_are_a_file_with_what_became_of_each(desk: Desk) -> None:
    desk.say("/timezone Berlin")
    publish(desk.store, whale("first", at=NOW - 60), now=NOW - 60, default_min=1e6)
    desk.say("/mute ETH 2h")
    publish(desk.store, whale("second", symbol="ETH", at=NOW - 30, facts="a, b"), now=NOW - 30, default_min=1e6)
    (reply,) = desk.replies("/export")
    assert (reply.method, reply.text) == (
        "sendDocument",
        "Alerts of this chat, last 7 d, the newest first (at most 10,000).",
    )
    head, second, first = made(desk, reply)
    assert head[:6] == ["time (Europe/Berlin)", "utc", "kind", "coin", "side", "usd"]
    assert second[:6] == ["2025-06-15 17:06:10", "2025-06-15T15:06:10Z", "whales", "ETH", "buy", "2000000"]
    assert dict(zip(head, second, strict=True))["details"] == "a, b"
    assert [row[-1] for row in (second, first)] == ["muted", "being sent"]
    assert [row[3] for row in made(desk, desk.replies("/export btc 1d")[0])[1:]] == ["BTC"]


def test_a_chat_gets_its_own_alerts_only_and_the_owner_in_private_those_of_all(desk: Desk) -> None:
    publish(desk.store, whale("of the friend"), now=NOW, default_min=1e6)
    assert "Only this bot's owner" in desk.say("/export all")
    desk.say("/start", user_id=OWNER)
    (reply,) = desk.replies("/export alerts 30d", user_id=OWNER)
    with pytest.raises(AttachmentError, match="No alerts in that time"):
        made(desk, reply)
    (reply,) = desk.replies("/export all 30d", user_id=OWNER)
    assert [row[-2] for row in made(desk, reply)[1:]] == ["Binance spot"]
    desk.say("/start", user_id=OWNER, chat_id=GROUP)
    file, said = desk.replies("/export all", user_id=OWNER, chat_id=GROUP)
    assert (file.chat_id, said.text) == (OWNER, "The file is on its way to your private chat.")


def test_candles_are_those_of_the_coins_named_or_followed(desk: Desk) -> None:
    at = int(NOW) // 300 * 300
    bars = [Bar(coin, at - ago, 1.5, 2, 1e-8, 1.75, 10, 20) for coin in ("BTC", "ETH") for ago in (600, 300)]
    desk.store.markets.add_bars(bars)
    desk.say("/watch ETH")
    (reply,) = desk.replies("/export candles")
    head, *rows = made(desk, reply)
    assert head[2:] == ["coin", "open", "high", "low", "close", "bought usd", "sold usd"]
    assert [row[2:] for row in rows] == [["ETH", "1.5", "2", "1e-08", "1.75", "10", "20"]] * 2
    assert rows[0][1] < rows[1][1]
    assert len(made(desk, desk.replies("/export candles BTC 1h")[0])) == 3


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("60d", "Give a time from 1h to 30d"),
        ("10m", "Give a time from 1h to 30d"),
        ("candles PEPE", "PEPE is not on this bot's list"),
        ("everything", "is not on this bot's list"),
    ],
)
def test_what_cannot_be_exported_is_said(desk: Desk, typed: str, why: str) -> None:
    assert why in desk.say(f"/export {typed}")


def test_more_than_a_file_holds_is_refused_or_cut(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "up to 30,000 candles" not in desk.say("/export candles 30d")
    for coin in ("A1", "B1", "C1"):
        desk.desk.symbols.add(coin)
    assert "A file holds up to 30,000 candles of 5 minutes, and these are 51,840" in desk.say("/export candles 30d")
    for number in range(5):
        publish(desk.store, whale(f"{number}", at=NOW - number), now=NOW - number, default_min=1e6)
    monkeypatch.setattr(export, "MOST_ALERTS", 3)
    assert len(made(desk, desk.replies("/export")[0])) == 4


def test_files_wait_in_a_short_queue(desk: Desk) -> None:
    for number in range(2):
        desk.store.messages.enqueue(FRIEND, "sendDocument", {"caption": f"{number}"}, now=NOW)
    assert "still being made" in desk.say("/export")


def test_rows_are_the_newest_first_also_of_alerts_that_came_together(desk: Desk) -> None:
    for key, ago in (("b", 30), ("a", 20), ("c", 10)):
        publish(desk.store, whale(key, at=NOW - ago), now=NOW - 5, default_min=1e6)
    times = [row[1] for row in made(desk, desk.replies("/export")[0])[1:]]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 3


@given(st.text(alphabet=st.sampled_from("=+-@;,\"' \t\r\nA1|!＝\u202e"), max_size=20))
def test_no_cell_of_text_is_a_formula_whatever_separates_them(raw: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerow(["x", export.cell(raw), "y"])
    for mark in (",", ";"):
        rows = list(csv.reader(io.StringIO(file.getvalue(), newline=""), delimiter=mark))
        assert len(rows) == 1
        for found in rows[0]:
            assert not found.strip(' "').startswith(("=", "+", "-", "@", "＝"))


def test_a_message_sent_anew_is_one_row_and_the_month_is_whole(desk: Desk) -> None:
    for day in (0, 1, 29):
        publish(desk.store, whale(f"{day}", at=NOW - day * DAY), now=NOW - day * DAY, default_min=1e6)
    (row,) = desk.store._db.rows("SELECT delivery_id FROM bundled WHERE alert_key = '29'")
    desk.store.settle_buried(row["delivery_id"], reason="deleted", now=NOW)
    again = desk.store.messages.enqueue(FRIEND, "sendMessage", {}, now=NOW - 60, bundle="again")
    desk.store.fan_out.add_to_bundles([again], "29")
    rows = made(desk, desk.replies("/export 30d")[0])[1:]
    assert sorted((row[0][:10], row[-1]) for row in rows) == [
        ("2025-05-17", "being sent"),
        ("2025-06-14", "being sent"),
        ("2025-06-15", "being sent"),
    ]


# Settings


TYPED = st.lists(
    st.sampled_from(
        [
            *("/watch BTC", "/watch -ETH", "/unwatch all", "/watch all"),
            *("/threshold 500k", "/threshold BTC 1234567.891", "/threshold liquidations 2m", "/threshold auto"),
            *("/threshold funding 0.03", "/threshold funding ETH 0.0012345", "/threshold oi BTC 5.5"),
            *("/level funding off", "/level whales loud", "/level all silent", "/side sells", "/side longs"),
            *("/quiet 22:00-07:00", "/quiet off", "/timezone Tokyo", "/cap 7", "/cap off"),
            *("/digest 09:00 mon-fri", "/schedule every 4h price BTC ETH", "/schedule cron 0 */6 * * 1 chart BTC 7d"),
            *(f"/wallet add {ADDRESS} whale one", "/schedule pause 1", "/mute 2h"),
        ]
    ),
    max_size=12,
)


@given(TYPED, TYPED)
def test_another_chat_takes_in_all_settings_whatever_it_had(
    tmp_path_factory: pytest.TempPathFactory, typed: list[str], before: list[str]
) -> None:
    with opened(tmp_path_factory.mktemp("desk")) as desk:
        desk.say("/start", user_id=OWNER)
        for words in typed:
            desk.replies(words)
        for words in before:
            if words.split()[0] not in ("/digest", "/schedule", "/wallet"):  # these are added
                desk.replies(words, user_id=OWNER)
        _, part = desk.replies("/settings export")
        desk.replies(part.text.removeprefix("<pre>").removesuffix("</pre>"), user_id=OWNER)
        mine, theirs = desk.chat(), desk.chat(OWNER)
        for name in ("symbols", "levels", "sides", "timezone", "quiet", "hourly_cap"):
            assert filled(mine, name) == filled(theirs, name), name
        for monitor in MONITORS:
            assert mine.thresholds.get(monitor, {}) == theirs.thresholds.get(monitor, {})
        kept = desk.store.schedules.of_chat(FRIEND)
        assert [(one.rule, one.command) for one in kept if one.at is not None] == [
            (one.rule, one.command) for one in desk.store.schedules.of_chat(OWNER)
        ]
        assert [one[1:] for one in desk.store.wallets.of_chat(FRIEND)] == [
            one[1:] for one in desk.store.wallets.of_chat(OWNER)
        ]


def filled(chat: Chat, name: str) -> object:
    value = getattr(chat, name)
    return dict.fromkeys(MONITORS, "on") | value if name == "levels" else value


def test_the_text_of_an_export_reads_like_what_is_typed(desk: Desk) -> None:
    desk.say("/unwatch DOGE")
    desk.say("/threshold BTC 2.5m")
    desk.say("/schedule 09:00 chart BTC")
    said, part = desk.replies("/settings export")
    assert said.text.startswith("Send this in the other chat. For a channel put its @name after the word settings. ")
    lines = part.text.removesuffix("</pre>").split("\n")
    assert lines[:5] == [
        "<pre>/settings import",
        "timezone UTC",
        "watch only BTC ETH",
        "level whales on",
        "side whales both",
    ]
    assert {"threshold whales auto", "threshold whales BTC 2500000", "schedule 09:00 chart BTC"} <= set(lines)
    assert desk.replies("/export settings") == [said, part]


def test_many_settings_come_in_parts_that_a_message_holds(desk: Desk) -> None:
    desk.desk.default_min = lambda monitor, symbol: 1e6
    for number in range(90):
        coin = f"C{number}"
        desk.desk.symbols.add(coin)
        for kind in ("whales", "liquidations"):
            desk.say(f"/threshold {kind} {coin} {number + 1}m")
    thresholds = desk.chat().thresholds
    said, *parts = desk.replies("/settings export")
    assert "each of these, in this order," in said.text
    assert len(parts) > 1 and all(len(part.text) < 4096 for part in parts)
    desk.say("/start", user_id=OWNER)
    for part in parts:
        desk.replies(part.text[5:-6], user_id=OWNER)
    assert {kind: amounts for kind, amounts in desk.chat(OWNER).thresholds.items() if amounts} == thresholds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Nothing follows the word import"),
        ("watch all\nstop", "“stop” is not a setting"),
        ("cap 5\nallow 99", "“allow 99” is not a setting"),
        ("cap 5\nquiet 99:00", "“quiet 99:00” can't be used: I can't read “99:00” as a time range"),
        ("cap 5\nschedule 09:00 mute", "“schedule 09:00 mute” can't be used"),
        ("wallet add 0x12", "“wallet add 0x12” can't be used"),
        ("settings import", "“settings import” is not a setting"),
    ],
)
def test_a_text_with_one_bad_line_changes_nothing(desk: Desk, text: str, why: str) -> None:
    before = desk.chat()
    said = desk.say(f"/settings import\nwatch only BTC\nschedule 09:00 liq\n{text}" if text else "/settings import")
    assert why in said
    assert desk.chat() == before
    assert desk.store.schedules.of_chat(FRIEND) == []


def test_after_an_import_the_settings_are_shown(desk: Desk) -> None:
    said = desk.say("/settings import\r\n cap 5 \r\n\r\nquiet 22-7")
    assert said.startswith("Settings of this chat now:\nWhales: on")
    assert "Hourly limit: 5 messages" in said
    assert "Quiet hours: 22:00-07:00" in said


def test_a_channel_takes_in_settings_that_are_sent_in_private(desk: Desk) -> None:
    news = Chat(chat_id=-100500, kind="channel", title="News", handle="news", added_by=FRIEND)
    desk.store.chats.put(news)
    desk.say("/settings @news import\ncap 5\nschedule 09:00 chart BTC")
    assert desk.chat(news.chat_id).hourly_cap == 5
    assert [one.command for one in desk.store.schedules.of_chat(news.chat_id)] == ["chart BTC"]
    assert desk.chat().hourly_cap == 0


def test_whoever_has_no_alerts_here_takes_nothing_in(desk: Desk) -> None:
    assert "Send /start first" in desk.say("/settings import\ncap 5", chat_id=GROUP)
    assert "Send /start first" in desk.say("/export", chat_id=GROUP)
