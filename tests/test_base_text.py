"""Words and numbers: what people type is understood or refused, what they read is right."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import text


@given(st.floats(min_value=0, max_value=9.99e11))
def test_a_shown_amount_is_short_and_never_reaches_the_next_unit(amount: float) -> None:
    shown = text.usd(amount)
    assert re.fullmatch(r"\d{1,3}(\.\d{1,2})?[kMB]?", shown), shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0"),
        (950.4, "950"),
        (84_210, "84.2k"),
        (840_000, "840k"),
        (999_949, "1M"),
        (999_500, "1M"),
        (1_250_000, "1.25M"),
        (2.1e9, "2.1B"),
        (-1_250_000, "-1.25M"),
    ],
)
def test_amounts_are_shown_compactly(amount: float, shown: str) -> None:
    assert text.usd(amount) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.034, "0.03 s"),
        (9.999, "10 s"),
        (12.4, "12 s"),
        (59.6, "1 min"),
        (3600, "1 h"),
        (240, "4 min"),
        (7980, "2 h 13 min"),
        (7200, "2 h"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_a_duration_is_shown_in_at_most_two_units(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (76_980.4, "76,980"),
        (1234.5, "1,234.5"),
        (2.5, "2.5"),
        (0.0821, "0.0821"),
        (0.00001234, "0.00001234"),
        (0.19, "0.19"),
        (0, "0"),
    ],
)
def test_a_price_keeps_what_matters_of_it(value: float, shown: str) -> None:
    assert text.price(value) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Alice @bob_real", "Alice bob_real"),
        ("Ann\n/allow 7", "Ann /allow 7"),
        ("a\u202eb\u2066c", "a b c"),
        ("\u200b\u200d", ""),
        ("  Zoë   Ünal ", "Zoë Ünal"),
        ("مرحبا", "مرحبا"),
    ],
)
def test_a_name_is_one_line_without_mentions_or_changes_of_direction(raw: str, shown: str) -> None:
    assert text.name(raw) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.0123, "+1.2 %"), (-0.5, "-50.0 %"), (-0.0004, "0.0 %")])
def test_a_change_has_a_sign_unless_it_is_nothing(share: float, shown: str) -> None:
    assert text.percent(share) == shown


@pytest.mark.parametrize(
    ("value", "beside", "shown"),
    [
        (76_980.1, 76_980.4, ("76,980.1", "76,980.4")),
        (0.19001, 0.19002, ("0.19001", "0.19002")),
        (0.19, 0.19, ("0.19", "0.19")),
        (0.19, 0.190004, ("0.190000", "0.190004")),
        (650, 649.38, ("650.00", "649.38")),
        (2, 2.5, ("2.0", "2.5")),
        (0, 2.5, ("0", "2.5")),
    ],
)
def test_two_prices_side_by_side_are_told_apart_and_have_the_same_decimals(
    value: float, beside: float, shown: tuple[str, str]
) -> None:
    assert (text.price(value, beside=beside), text.price(beside, beside=value)) == shown


def test_a_time_of_another_day_shows_its_date() -> None:
    noon = 1_750_000_000.0
    assert text.clock(noon, now=noon + 60) == "15:06:40 UTC"
    assert text.clock(noon, now=noon + 86400) == "2025-06-15 15:06:40 UTC"


def test_one_is_singular() -> None:
    assert (text.count(1, "order"), text.count(0, "order"), text.count(1234, "order")) == (
        "1 order",
        "0 orders",
        "1,234 orders",
    )


def units(raw: str) -> int:
    return len(raw.encode("utf-16-le", "surrogatepass")) // 2


@given(st.text(alphabet="a🐳 \n", max_size=200), st.integers(min_value=2, max_value=40))
def test_parts_of_a_message_fit_the_limit_and_lose_nothing_but_blank_space(message: str, limit: int) -> None:
    parts = text.split(message, limit)
    assert all(units(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(message.split())


@given(st.lists(st.text(alphabet="ab🐳", min_size=1, max_size=10), min_size=1, max_size=30))
def test_a_message_is_cut_only_at_line_ends_when_its_lines_fit(lines: list[str]) -> None:
    parts = text.split("\n".join(lines), 20)
    assert [line for part in parts for line in part.split("\n")] == lines


def test_a_message_of_the_very_limit_is_one_part() -> None:
    assert len(text.split("a" * 4096)) == 1
    assert [len(part) for part in text.split("a" * 4097)] == [4096, 1]
    assert [len(part) for part in text.split("🐳" * 2049)] == [2048, 1], "Telegram counts UTF-16 units"


@pytest.mark.parametrize("message", ["😀" * 60_000, "a\n" * 60_000])
def test_a_huge_text_is_split_without_delay(message: str) -> None:
    """Each character was counted again and again: one answer of 4,000 emoji took most of a second."""
    began = time.process_time()
    assert len(text.split(message)) > 20
    assert time.process_time() - began < 2


def test_clip_says_that_something_was_cut() -> None:
    assert text.clip("whales", 6) == "whales"
    assert text.clip("whales!", 6) == "whale…"


def test_clip_counts_as_telegram_does_and_cuts_no_character_in_two() -> None:
    assert text.clip("🐳🐳🐳", 6) == "🐳🐳🐳"
    assert text.clip("🐳🐳🐳🐳", 6) == "🐳🐳…"


def test_an_amount_that_is_nothing_has_no_sign() -> None:
    assert [text.signed_usd(amount) for amount in (-0.4, 0.0, 0.4, -0.6)] == ["0", "0", "0", "-1"]


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        (79_500.5, "79,500.5"),
        (100_000.0, "100,000"),
        (0.123456, "0.123456"),
        (0.25, "0.25"),
        (1.5e-9, "0.0000000015"),
    ],
)
def test_a_price_that_somebody_set_is_shown_exactly(price: float, shown: str) -> None:
    assert text.exact(price) == shown
