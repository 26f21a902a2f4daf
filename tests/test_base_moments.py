"""Moments as people type them after `until`, in a zone whose clocks change."""

from __future__ import annotations

from datetime import datetime

import pytest

from base import moments, zones
from base.typed import Unreadable

BERLIN = zones.zone("Europe/Berlin")
NOW = datetime(2026, 3, 27, 10, 30, tzinfo=BERLIN).timestamp()  # a Friday; clocks change on Sunday


@pytest.mark.parametrize(
    ("words", "moment", "used"),
    [
        ("18:00", "2026-03-27 18:00", 1),
        ("9", "2026-03-28 09:00", 1),
        ("6 pm sell", "2026-03-27 18:00", 2),
        ("at 18:00", "2026-03-27 18:00", 2),
        ("noon", "2026-03-27 12:00", 1),
        ("midnight", "2026-03-28 00:00", 1),
        ("sat", "2026-03-28 23:59", 1),
        ("friday", "2026-04-03 23:59", 1),  # never today
        ("Mon, 9am note", "2026-03-30 09:00", 2),
        ("sun 02:30", "2026-03-29 03:00", 2),  # skipped by the clocks
        ("tomorrow", "2026-03-28 23:59", 1),
        ("tomorrow at 9", "2026-03-28 09:00", 3),
        ("tonight", "2026-03-27 23:59", 1),
        ("mon 2 lots", "2026-03-30 23:59", 1),
        ("2026-12-24", "2026-12-24 23:59", 1),
        ("2026-12-24 20:00", "2026-12-24 20:00", 2),
    ],
)
def test_a_moment_is_read_as_people_type_it(words: str, moment: str, used: int) -> None:
    found = moments.until(words.split(), now=NOW, where=BERLIN)
    assert found is not None
    assert (datetime.fromtimestamp(found[0], BERLIN).strftime("%Y-%m-%d %H:%M"), found[1]) == (moment, used)


@pytest.mark.parametrize("words", ["", "at", "fri at", "we sell", "5k", "25:00", "2026-13-01", "later"])
def test_other_words_are_none(words: str) -> None:
    assert moments.until(words.split(), now=NOW, where=BERLIN) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [("today 09:00", "passed"), ("2026-03-26", "passed"), ("2027-03-28", "more than a year")],
)
def test_a_moment_that_cannot_be_meant_is_refused(words: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        moments.until(words.split(), now=NOW, where=BERLIN)
