"""The example under an error is near to what was typed, and can be sent as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import OWNER
from test_commands import NOW, Desk

from commands import examples
from commands.table import TABLE
from venues.trades import Bar

NUMBERED = (
    "/alert snooze 3",
    "/alert remove 3",
    "/schedule pause 3",
    "/out test 1",
    "/out remove 1",
    "/wallet remove",
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.say("/start", user_id=OWNER)
    desk.say("/coins add TON", user_id=OWNER)
    desk.store.markets.add_bars([Bar("BTC", int(NOW) - 100, 80_000, 80_000, 80_000, 80_000, 1, 1)])
    desk.desk.default_min = lambda monitor, symbol: 1.0
    yield desk
    desk.store.close()


@pytest.mark.parametrize(
    ("typed", "example"),
    [
        ("/alert BTC", None),
        ("/alert BTC moves lots in 1h", "/alert BTC 5% in 1h"),
        ("/alert BTC 5% in 30s", "/alert BTC 5% in 1h"),
        ("/alert BTC volume x900", "/alert BTC volume x3"),
        ("/alert BTC 100k until later", "/alert BTC 100k until 31 Dec"),
        ("/alert BTC 100k repeat 3 times", "/alert BTC 100k repeat every 1h"),
        ("/alert BTC between a and b", "/alert BTC between 70k and 80k"),
        ("/alert BTC lots", "/alert BTC 100k"),
        ("/threshold funding lots", "/threshold funding 0.03"),
        ("/threshold lots", "/threshold BTC 2m"),
        ("/mute until whenever", "/mute until fri 18:00"),
        ("/schedule every blue moon price", "/schedule every 4h price BTC ETH"),
        ("/level prices whispering", "/level prices silent"),
        ("/coins remove NOPE", "/coins remove TON"),
        ("/out test 5", "/out test 1"),
    ],
)
def test_the_example_is_the_form_that_is_nearest(desk: Desk, typed: str, example: str | None) -> None:
    said = desk.say(typed, user_id=OWNER)
    assert said.partition(" Example: ")[2] == (example or ""), said


def test_no_example_repeats_what_the_sentence_says(desk: Desk) -> None:
    said = desk.say("/alert BTC 100k ETH 5k", user_id=OWNER)
    assert said == "One price alert at a time: /alert BTC 100k, then /alert ETH 5k."


@pytest.mark.parametrize("shown", sorted({one for rows in examples._NEARER.values() for one in rows.values()}))
def test_every_example_can_be_sent_as_it_is(desk: Desk, shown: str) -> None:
    name = shown[1:].split()[0]
    assert any(row.name == name for row in TABLE)
    if shown.startswith(NUMBERED) or name == "out":  # the number is one of the chat's own, the address one's own
        return
    assert "Example:" not in desk.say(shown, user_id=OWNER)
