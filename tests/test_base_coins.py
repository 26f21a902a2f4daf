"""Names of coins, as exchanges list them and as people type them."""

from __future__ import annotations

import pytest

from base.coins import coin, typed


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("kPEPE", ("PEPE", 1000)),
        ("1000PEPE", ("PEPE", 1000)),
        ("10000LADYS", ("LADYS", 10_000)),
        ("1000000MOG", ("MOG", 1_000_000)),
        ("1MBABYDOGE", ("BABYDOGE", 1_000_000)),
        ("1000PEPEUSDT", ("PEPEUSDT", 1000)),
        *(
            (name, (name, 1))
            for name in ("BTC", "S", "KAVA", "kX", "1INCH", "1000X", "100X", "币安人生", "xyz:GOLD", "")
        ),
    ],
)
def test_a_coin_listed_by_the_thousand_is_the_coin_itself(name: str, found: tuple[str, int]) -> None:
    assert coin(name) == found


@pytest.mark.parametrize(
    ("word", "symbol"),
    [
        ("pepe", "PEPE"),
        ("kPEPE", "PEPE"),
        ("1000pepe", "PEPE"),
        ("kava", "KAVA"),
        ("KAVA", "KAVA"),
        ("s", "S"),
        ("Bitcoin", "BTC"),
        ("xbt", "BTC"),
    ],
)
def test_a_coin_is_typed_in_any_case(word: str, symbol: str) -> None:
    assert typed(word) == symbol
