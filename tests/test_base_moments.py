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
        ("2026/12/24 at 8pm", "2026-12-24 20:00", 3),
        ("31 Dec", "2026-12-31 23:59", 2),
        ("31 Dec 18:00 look", "2026-12-31 18:00", 3),
        ("31 dec at 6 pm look", "2026-12-31 18:00", 5),
        ("31 December 2026 18:00", "2026-12-31 18:00", 4),
        ("31. Dec. 2026", "2026-12-31 23:59", 3),
        ("31st of December, 9am", "2026-12-31 09:00", 4),
        ("Dec 31", "2026-12-31 23:59", 2),
        ("Dec 31, 2026 noon", "2026-12-31 12:00", 4),
        ("September 1st", "2026-09-01 23:59", 2),
        ("Thu, 31 Dec 18:00", "2026-12-31 18:00", 4),
        ("31.12.2026", "2026-12-31 23:59", 1),
        ("31.12.2026 18:00", "2026-12-31 18:00", 2),
        ("31.12.26 18.30", "2026-12-31 18:30", 2),
        ("31.12. 18:00", "2026-12-31 18:00", 2),
        ("31.12", "2026-12-31 23:59", 1),
        ("1.4.", "2026-04-01 23:59", 1),
        ("31-12-2026", "2026-12-31 23:59", 1),
        ("31/12/2026", "2026-12-31 23:59", 1),
        ("12/31", "2026-12-31 23:59", 1),
        ("4/4/2026", "2026-04-04 23:59", 1),
        ("27 Mar", "2026-03-27 23:59", 2),  # today
        ("1 Feb", "2027-02-01 23:59", 2),  # the next one
        ("29 Mar 02:30", "2026-03-29 03:00", 3),  # skipped by the clocks
        ("9 dec low", "2026-12-09 23:59", 2),
        ("18.12", "2026-03-27 18:12", 1),  # a time
        ("18:00 🎯 sell", "2026-03-27 18:00", 1),
        ("fri 18.12", "2026-04-03 18:12", 2),
    ],
)
def test_a_moment_is_read_as_people_type_it(words: str, moment: str, used: int) -> None:
    found = moments.until(words.split(), now=NOW, where=BERLIN)
    assert found is not None
    assert (datetime.fromtimestamp(found[0], BERLIN).strftime("%Y-%m-%d %H:%M"), found[1]) == (moment, used)


@pytest.mark.parametrize(
    "words", ["", "at", "fri at", "we sell", "5k", "25:00", "later", "dec", "31", "31 lots", "12-31"]
)
def test_other_words_are_none(words: str) -> None:
    assert moments.until(words.split(), now=NOW, where=BERLIN) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("today 09:00", "That time has passed"),
        ("2026-03-26", "“2026-03-26” has passed"),
        ("31.12.2025 18:00", "“31.12.2025” has passed"),
        ("26 Mar 2026", "“26 Mar 2026” has passed"),
        ("27 Mar 09:00", "That time has passed"),
        ("2027-03-28", "“2027-03-28” is more than a year away"),
        ("Dec 31, 2027", "“Dec 31, 2027” is more than a year away"),
        ("31 Feb", "There is no day “31 feb”"),
        ("2026-13-01", "There is no day “2026-13-01”"),
        ("5/6", "“5/6” can be two dates. Write 31 Dec or 2026-12-31"),
    ],
)
def test_a_moment_that_cannot_be_meant_is_refused(words: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        moments.until(words.split(), now=NOW, where=BERLIN)
