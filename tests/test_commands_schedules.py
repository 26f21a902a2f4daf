"""/schedule: times and commands as people type them, the list with its buttons, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRIEND
from hypothesis import given
from hypothesis import strategies as st
from test_commands import GROUP, Desk

from botapi.updates import Update
from commands.schedules import MOST
from commands.table import TABLE, schedulable
from store.schedules import Scheduled


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.say("/start")
    yield desk
    desk.store.close()


def kept(desk: Desk, chat_id: int = FRIEND) -> list[Scheduled]:
    return desk.store.schedules.of_chat(chat_id)


@pytest.mark.parametrize(
    ("typed", "rule", "command"),
    [
        ("09:00 chart BTC", "09:00", "chart BTC"),
        ("cron 0 */4 * * * price BTC ETH", "cron 0 */4 * * *", "price BTC ETH"),
        ("mon 08:00 digest", "08:00 mon", "digest"),
        ("every 4h funding", "every 4h", "funding"),
        ("every day at 9am /liq btc", "09:00", "liq btc"),
        ("09:00 new york mon-fri chart ETH 7d light", "09:00 America/New_York mon-fri", "chart ETH 7d light"),
        ("weekdays 9 /price@whale_test_bot", "09:00 mon-fri", "price"),
        ("hourly movers", "every 1h", "top"),
        ("21:00 History 5", "21:00", "history 5"),
        ("21:00 summary", "21:00", "digest"),
        ("noon status", "12:00", "status"),
    ],
)
def test_times_and_commands_as_people_write_them(desk: Desk, typed: str, rule: str, command: str) -> None:
    said = desk.say(f"/schedule {typed}")
    (one,) = kept(desk)
    assert (one.rule, one.command, one.user_id) == (rule, command, FRIEND)
    assert said.startswith(f"Scheduled: #{one.id} {command}: {rule}")
    assert "Next one: " in said


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("09:00", "which of these commands: history, whales, price, top, chart, liq, funding, oi, digest, status."),
        ("09:00 mute 2h", "which of these commands"),
        ("09:00 stop", "which of these commands"),
        ("09:00 users", "which of these commands"),
        ("chart BTC", "Say when first, then the command."),
        ("25:00 chart BTC", "I can't read “25:00” as a time"),
        ("every 5m chart BTC", "Intervals: every 1h"),
        ("every 15 min price", "More often: cron */15 * * * *"),
        ("31.12. 18:00 price BTC", "These times repeat, so “31.12.” cannot be one"),
        ("tomorrow 9:00 price BTC", "These times repeat, so “tomorrow” cannot be one"),
        ("in 2h price BTC", "These times repeat, so “in” cannot be one"),
        ("cron * * * * * chart BTC", "The shortest interval is 15 minutes"),
        ("09:00 chart PEPE", "PEPE is not on this bot's list"),
        ("09:00 chart BTC 60d", "A chart covers 1h to 30d"),
        ("09:00 top 1m", "Give a time from 1h to 7d"),
        ("09:00 digest 7d", "nothing follows the word"),
        ("09:00 price BTC" + " BTC" * 30, "up to 100 characters"),
        ("pause", "Name one by its number"),
        ("off", "Name one by its number"),
    ],
)
def test_what_cannot_be_scheduled_is_said_and_changes_nothing(desk: Desk, typed: str, why: str) -> None:
    said = desk.say(f"/schedule {typed}")
    assert why in said
    assert "Example: /schedule " in said or "like /schedule " in said
    assert kept(desk) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("chart BTC every 4h", "every 4h chart BTC"),
        ("chart BTC 7d 09:00 mon-fri", "09:00 mon-fri chart BTC 7d"),
        ("price BTC ETH cron 0 8 * * 1", "cron 0 8 * * 1 price BTC ETH"),
        ("digest mon", "mon digest"),
    ],
)
def test_with_the_times_at_the_end_a_button_has_them_in_front(desk: Desk, typed: str, meant: str) -> None:
    (reply,) = desk.replies(f"/schedule {typed}")
    assert reply.keyboard == (((meant, f"run:schedule {meant}"),),)
    desk.press(reply.keyboard[0][0][1])
    assert len(kept(desk)) == 1


@given(st.text(alphabet=st.sampled_from("0123456789: everyhmonpricechartBTC*/-,#"), max_size=40))
def test_whatever_is_typed_is_answered_once(tmp_path_factory: pytest.TempPathFactory, typed: str) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.say("/start")
    assert len(desk.replies(f"/schedule {typed}")) == 1
    desk.store.close()


def test_only_commands_that_show_something_can_be_scheduled() -> None:
    names = {name for name, _ in schedulable().values()}
    assert names == {row.name for row in TABLE if row.shows} | {"digest", "history", "status"}


def test_the_list_has_every_one_with_its_next_time_and_buttons(desk: Desk) -> None:
    assert desk.say("/schedule") == "Scheduled messages: 0 of 20.\nA new one: /schedule 09:00 chart BTC"
    desk.say("/timezone Berlin")
    desk.say("/schedule 09:00 chart BTC")
    desk.say("/digest every 4h Asia/Tokyo")
    first, second = kept(desk)
    desk.say(f"/schedule pause {second.id}")
    (reply,) = desk.replies("/schedule list")
    assert reply.text.split("\n")[:-1] == [
        "Scheduled messages: 2 of 20.",
        f"#{first.id} chart BTC: 09:00 (Europe/Berlin). Next one: Mon 16 Jun 09:00, in 15 h 53 min",
        f"#{second.id} digest: every 4h Asia/Tokyo, paused",
    ]
    assert reply.keyboard == (
        ((f"⏸ #{first.id} chart BTC", f"run:schedule pause {first.id}"), ("✕", f"run:schedule remove {first.id}")),
        ((f"▶ #{second.id} digest", f"run:schedule resume {second.id}"), ("✕", f"run:schedule remove {second.id}")),
    )


def test_one_is_paused_resumed_and_removed_by_its_number_or_a_button(desk: Desk) -> None:
    desk.say("/schedule 09:00 chart BTC")
    (one,) = kept(desk)
    toast, shown = desk.press(f"run:schedule pause {one.id}")
    assert (toast.toast, shown.edit) == (True, True)
    assert kept(desk)[0].at is None
    desk.say(f"/schedule resume #{one.id}")
    assert kept(desk) == [one]
    desk.press(f"run:schedule remove {one.id}")
    assert kept(desk) == []
    _, again = desk.press(f"run:schedule remove {one.id}")
    assert again.text.startswith(f"Nothing scheduled has the number {one.id}.")


def test_all_are_removed_at_once_and_those_of_another_chat_stay(desk: Desk) -> None:
    desk.say("/start", chat_id=GROUP)
    desk.say("/schedule 09:00 liq", chat_id=GROUP)
    for command in ("liq", "price", "digest"):
        desk.say(f"/schedule 09:00 {command}")
    (other,) = kept(desk, GROUP)
    desk.say(f"/schedule remove {other.id}")
    desk.say("/schedule remove all")
    assert kept(desk) == []
    assert kept(desk, GROUP) == [other]


def test_the_same_again_is_one_and_the_number_of_all_is_limited(desk: Desk) -> None:
    for hour in range(MOST):
        desk.say(f"/schedule {hour:02}:00 liq")
    assert desk.say("/schedule 00:00 liq").startswith("Scheduled already: #1 liq: 00:00")
    assert len(kept(desk)) == MOST
    for words in ("/schedule 23:00 liq", "/digest 09:00"):
        assert "A chat can have up to 20 scheduled messages. Remove one" in desk.say(words)
    assert len(kept(desk)) == MOST


def test_digest_is_the_short_form_and_replaces_the_digests_before_it(desk: Desk) -> None:
    desk.say("/schedule mon 08:00 digest")
    desk.say("/schedule 09:00 liq")
    assert desk.say("/digest").startswith("Digest: 08:00 mon (UTC). Next one: Mon 16 Jun 08:00")
    desk.say("/digest 07:00")
    assert [(one.rule, one.command) for one in kept(desk)] == [("09:00", "liq"), ("07:00", "digest")]
    assert "Digest: 07:00\nOther scheduled messages: 1 (/schedule)" in desk.say("/settings")
    desk.say("/digest off")
    assert [one.command for one in kept(desk)] == ["liq"]


def test_it_is_answered_in_its_topic_and_quiet_hours_are_mentioned(desk: Desk) -> None:
    desk.say("/start", chat_id=GROUP)
    desk.say("/quiet 22:00-07:00", chat_id=GROUP)
    asked = Update(
        update_id=1, kind="message", chat_id=GROUP, chat_kind="supergroup", user_id=FRIEND, thread_id=4,
        text="/schedule 09:00 liq",
    )  # fmt: skip
    (reply,) = desk.commands.run(asked)
    assert reply.text.endswith("\nIn quiet hours it comes without a sound.")
    assert kept(desk, GROUP)[0].thread_id == 4


def test_without_alerts_nothing_is_scheduled(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert "Send /start first" in desk.say("/schedule 09:00 liq")
    desk.store.close()
