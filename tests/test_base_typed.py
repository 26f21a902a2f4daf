"""Amounts, lengths of time and times of day as people type them: read rightly, or refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import text, typed
from base.typed import Unreadable


@pytest.mark.parametrize(
    ("said", "dollars"),
    [
        ("250000", 250_000),
        ("1,250,000.5", 1_250_000.5),
        ("1.250.000,5", 1_250_000.5),
        ("1.000.000", 1_000_000),
        ("1 000 000", 1_000_000),
        ("1’000’000", 1_000_000),
        ("250_000", 250_000),
        ("2,5m", 2_500_000),
        ("1,5", 1.5),
        ("0.500m", 500_000),
        ("500k", 500_000),
        ("500 K", 500_000),
        ("1.5m", 1_500_000),
        ("2 million", 2e6),
        ("2mio", 2e6),
        ("+2m", 2e6),
        ("2m+", 2e6),
        ("≥ 2m", 2e6),
        ("US$2m", 2e6),
        ("USD2m", 2e6),
        ("2mUSD", 2e6),
        ("two million dollars", 2e6),
        ("a million", 1e6),
        ("half a million", 5e5),
        (".5m", 5e5),
        ("2kk", 2e6),
        ("500к", 5e5),
        ("5 lakh", 5e5),
        ("1 crore", 1e7),
        ("5,00,000", 5e5),
        ("12,34,567", 1_234_567),
        ("1e+6", 1e6),
        ("2B", 2e9),
        ("1e6", 1e6),
        ("$2m", 2e6),
        (" $ 2m ", 2e6),
        ("500k$", 500_000),
        ("500000 USD", 500_000),
        ("500k usdt", 500_000),
        ("500k 🐳", 500_000),
        ("５００k", 500_000),
    ],
)
def test_an_amount_is_read_as_people_write_it(said: str, dollars: float) -> None:
    assert typed.amounts(said) == [dollars]


@pytest.mark.parametrize(
    ("said", "american", "european"),
    [
        ("1.500m", 1.5e6, 1.5e9),
        ("1,500m", 1.5e9, 1.5e6),
        ("250.000", 250, 250_000),
        ("250,000", 250_000, 250),
    ],
)
def test_a_comma_or_point_before_three_digits_has_two_meanings(said: str, american: float, european: float) -> None:
    assert typed.amounts(said)[0] == typed.amount(said) == american
    assert european in {*typed.amounts(said), 250}


@pytest.mark.parametrize(
    "said",
    [
        *("", "k", "0", "0k", "-5k", "nan", "inf", "1.2.3", "999999999b", "5\n6", "1 2", "½m", "10^6", ",500"),
        *("1_5", "1,000,00k", "1,,000", "2.m", "2x", "1e99", "9" * 99),
    ],
)
def test_what_is_no_amount_is_refused(said: str) -> None:
    with pytest.raises(Unreadable, match="as an amount"):
        typed.amounts(said)


@pytest.mark.parametrize("said", ["€500k", "500000€", "500k eur", "£2m"])
def test_other_money_than_dollars_is_refused_by_its_name(said: str) -> None:
    with pytest.raises(Unreadable, match="US dollars"):
        typed.amounts(said)


@given(st.text())
def test_any_text_is_amounts_above_zero_or_refused(said: str) -> None:
    try:
        found = typed.amounts(said)
    except Unreadable:
        return
    assert 1 <= len(found) <= 2
    assert all(0 < value < 1e15 for value in found)


@given(st.floats(min_value=1, max_value=9e11))
def test_a_shown_amount_reads_back_to_within_its_last_digit(value: float) -> None:
    assert typed.amount(text.usd(value)) == pytest.approx(value, rel=0.006 if value >= 1000 else 0.51)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30m", 1800),
        ("30min", 1800),
        ("30 min", 1800),
        ("2h", 7200),
        ("1.5H", 5400),
        ("1,5 h", 5400),
        ("1 hour", 3600),
        ("an hour", 3600),
        ("2h30m", 9000),
        ("2 hours and 30 minutes", 9000),
        ("1d", 86400),
        ("2 weeks", 1_209_600),
        ("2h 30", 9000),
        ("1h30", 5400),
        ("1 hour, 30 minutes", 5400),
        ("half an hour", 1800),
        ("two hours", 7200),
        ("an hour and a half", 5400),
        ("one and a half hours", 5400),
        ("90 min.", 5400),
        ("+1h", 3600),
        ("week", 604_800),
    ],
)
def test_a_length_of_time_is_read_as_people_write_it(said: str, seconds: float) -> None:
    assert typed.length(said) == seconds


@pytest.mark.parametrize("said", ["", "2", "h", "0h", "-1h", "366d", "1e9h", "30 s", "2h x", "half", "an hour x"])
def test_what_is_no_length_of_time_is_refused(said: str) -> None:
    with pytest.raises(Unreadable, match="length of time"):
        typed.length(said)


@pytest.mark.parametrize(
    ("said", "minutes"),
    [
        ("9", 540),
        ("9am", 540),
        ("9 a.m.", 540),
        ("12am", 0),
        ("12pm", 720),
        ("9:30 pm", 1290),
        ("2130", 1290),
        ("900", 540),
        ("21.30", 1290),
        ("21h30", 1290),
        ("24:00", 0),
        ("noon", 720),
    ],
)
def test_a_time_of_day_is_read_as_people_write_it(said: str, minutes: int) -> None:
    assert typed.clock(said) == minutes


@pytest.mark.parametrize("said", ["", "25", "9:60", "13am", "0am", "24:01", "later", "9:5"])
def test_what_is_no_time_of_day_is_refused(said: str) -> None:
    with pytest.raises(Unreadable, match="as a time"):
        typed.clock(said)


@given(st.text(max_size=30))
def test_any_text_is_a_length_a_time_a_span_or_refused(said: str) -> None:
    for read in (typed.length, typed.clock, typed.span):
        try:
            read(said)
        except Unreadable as problem:
            assert len(str(problem)) < 120


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("BTC ١٠٠٬٠٠٠", "BTC 100,000"),  # Arabic-Indic
        ("BTC ۱۲۳۴۵٫۵", "BTC 12345.5"),  # Persian
        ("१००,०००", "100,000"),  # Devanagari
        ("ＢＴＣ　１００，０００ ＞ ５％", "BTC 100,000 > 5%"),  # full width
        ("٥٪ in ١h", "5% in 1h"),
        ("\u200f\u2067100k\u2069 look", "100k look"),  # marks that turn the direction of writing
        ("100k 🐸 żółw – ½ ① ²", "100k 🐸 żółw – ½ ① ²"),
    ],
)
def test_digits_of_other_scripts_are_digits_and_other_signs_stay(said: str, read: str) -> None:
    assert typed.usual(said) == read


@given(st.text(st.characters(categories=["Nd"]), min_size=1, max_size=12))
def test_a_number_has_the_same_value_in_every_script(digits: str) -> None:
    assert typed.usual(digits).isascii()
    assert int(typed.usual(digits)) == int(digits)


@pytest.mark.parametrize("said", ["10²", "²", "①00k", "10½", "ⅷ", "10㎞", "៹"])
def test_what_only_looks_like_a_digit_is_no_number(said: str) -> None:
    with pytest.raises(Unreadable):
        typed.amount(said)
    with pytest.raises(Unreadable):
        typed.length(f"{said}h")
