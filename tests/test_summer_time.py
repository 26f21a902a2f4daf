"""The nights in which clocks change, minute by minute: schedules, digests and quiet hours keep the chat's time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import OWNER
from schedulekit import DAY, Desk, at
from test_alerts_publish import alert, publish

from alerts import held_back
from botapi.updates import Update
from commands.dispatch import Commands

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
SPRING, AUTUMN, FALL = "2026-03-29", "2026-10-25", "2026-11-01"  # in Berlin, in Berlin, in New York


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def say(desk: Desk, words: str) -> str:
    commands = Commands(desk.context)
    (reply,) = commands.run(
        Update(
            update_id=1,
            kind="message",
            chat_id=7,
            chat_kind="private",
            user_id=OWNER,
            text=words,
            at=desk.clock,
        )
    )
    return reply.text


def begin(desk: Desk, zone: str, day: str) -> None:
    """It is noon on the day before."""
    desk.clock = at(f"{day} 12:00", zone) - DAY
    desk.subscribe(digest="", timezone=zone)


def until(desk: Desk, zone: str, day: str, *, tick: Callable[[], bool] | None = None) -> list[float]:
    """When something came, up to noon on the day after; each message is sent at once."""
    came, ends_at = [], at(f"{day} 12:00", zone) + DAY
    while desk.clock < ends_at:
        if (tick or desk.tick)():
            came.append(desk.clock)
            desk.send()
        desk.clock += 60
    return came


def clocks(moments: list[float], zone: str) -> list[str]:
    return [datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%d %H:%M%z") for at in moments]


@pytest.mark.parametrize(
    ("zone", "day", "typed", "came"),
    [
        (BERLIN, SPRING, "02:30", ["29 03:00+0200", "30 02:30+0200"]),  # skipped: right after the change
        (BERLIN, SPRING, "02:00 02:30", ["29 03:00+0200", "30 02:00+0200", "30 02:30+0200"]),
        (BERLIN, SPRING, "cron 30 2 * * *", ["29 03:00+0200", "30 02:30+0200"]),
        (BERLIN, SPRING, "09:00", ["29 09:00+0200", "30 09:00+0200"]),
        (BERLIN, AUTUMN, "02:30", ["25 02:30+0200", "26 02:30+0100"]),  # twice: the first time
        (BERLIN, AUTUMN, "02:30 mon", ["26 02:30+0100"]),
        (BERLIN, AUTUMN, "cron 30 2 * * *", ["25 02:30+0200", "26 02:30+0100"]),
        (BERLIN, AUTUMN, "03:00", ["25 03:00+0100", "26 03:00+0100"]),
        (NEW_YORK, FALL, "01:30", ["01 01:30-0400", "02 01:30-0500"]),
        (NEW_YORK, FALL, "02:30", ["01 02:30-0500", "02 02:30-0500"]),
    ],
)
def test_a_time_of_day_comes_once_a_day(desk: Desk, zone: str, day: str, typed: str, came: list[str]) -> None:
    begin(desk, zone, day)
    first = datetime.strptime(f"2026-{day[5:7]}-{came[0]}", "%Y-%m-%d %H:%M%z")
    assert f"Next one: {first:%a %d %b %H:%M}, in " in say(desk, f"/schedule {typed} liq")
    assert clocks(until(desk, zone, day), zone) == came


@pytest.mark.parametrize(("zone", "day"), [(BERLIN, SPRING), (BERLIN, AUTUMN), (NEW_YORK, FALL)])
def test_every_hour_is_an_hour_after_the_one_before(desk: Desk, zone: str, day: str) -> None:
    begin(desk, zone, day)
    say(desk, "/schedule every 1h liq")
    came = until(desk, zone, day)
    assert {later - sooner for sooner, later in itertools.pairwise(came)} == {3600.0}
    assert len(came) > 40


@pytest.mark.parametrize(
    ("day", "title"), [(SPRING, "Digest, last 23 h (until Sun 29"), (AUTUMN, "Digest, last 1 d 1 h (until Sun 25")]
)
def test_a_digest_covers_the_time_since_the_one_before(desk: Desk, day: str, title: str) -> None:
    begin(desk, BERLIN, day)
    say(desk, "/digest 09:00")
    titles: list[str] = []

    def tick() -> bool:
        came = desk.tick()
        titles.extend(words.split("\n")[0] for _, words in desk.told() if came)
        return came

    assert len(until(desk, BERLIN, day, tick=tick)) == 2
    assert titles[0].startswith(title)
    assert titles[1].startswith("Digest, last 24 hours")


@pytest.mark.parametrize(
    ("zone", "day", "ends"),
    [
        (BERLIN, SPRING, "29 07:00+0200"),
        (BERLIN, AUTUMN, "25 07:00+0100"),
        (NEW_YORK, FALL, "01 07:00-0500"),
    ],
)
def test_quiet_hours_hold_back_all_of_the_night_and_end_by_the_clock(
    desk: Desk, zone: str, day: str, ends: str
) -> None:
    begin(desk, zone, day)
    say(desk, "/quiet 22:00-07:00")
    began, over = at(f"{day} 00:00", zone) - 7200, at(f"{day} 07:00", zone)
    hours = range(int(began), int(over), 1800)
    for number, moment in enumerate(hours):  # also in the hour that comes twice
        publish(desk.store, alert(f"night {number}", at_ms=moment * 1000), now=float(moment))
    assert desk.told() == []
    desk.clock = float(began)
    came = until(desk, zone, day, tick=lambda: held_back.send_due(desk.store, now=desk.clock))
    assert clocks(came, zone) == [ends]
    assert desk.store.messages.held(7) == []
