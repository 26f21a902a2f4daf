"""What a chat's settings make of an alert: loud, silent, held, counted, or not asked for."""

from __future__ import annotations

from typing import Any

import pytest
from test_alerts_publish import NOW, alert

from alerts import preferences
from alerts.preferences import Heard
from store.rows import LEVELS, MONITORS, Chat

MIN = 1e6


def heard(alert_changes: dict[str, Any] | None = None, **settings: Any) -> Heard:
    chat = Chat(chat_id=7, added_by=7, **settings)
    return preferences.decide(chat, alert(**(alert_changes or {})), now=NOW, default_min=MIN)


@pytest.mark.parametrize(
    ("level", "usd", "result"),
    [
        ("on", 1e6, Heard.SILENT),
        ("on", 1_999_999, Heard.SILENT),
        ("on", 2e6, Heard.LOUD),
        ("loud", 1e6, Heard.LOUD),
        ("silent", 9e9, Heard.SILENT),
        ("off", 9e9, Heard.NO),
    ],
)
def test_the_level_of_a_monitor_says_how_loud_it_is(level: str, usd: float, result: Heard) -> None:
    assert heard({"usd": usd}, levels={"whales": level}) is result
    if level == "on":
        assert heard({"usd": usd}) is result, "on is what nobody changed"


def test_the_chats_own_threshold_decides_what_is_loud() -> None:
    assert heard({"usd": 2.3e6}, thresholds={"whales": {"BTC": 2e6}}) is Heard.SILENT
    assert heard({"usd": 2.3e6}, thresholds={"whales": {"BTC": 1e5}}) is Heard.LOUD


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_is_of_its_monitor_alone(monitor: str, level: str) -> None:
    other = "funding" if monitor != "funding" else "whales"
    assert heard({"monitor": monitor, "usd": 5e6}, levels={other: level}) is Heard.LOUD


@pytest.mark.parametrize(
    ("side", "wanted", "result"),
    [
        ("buy", "buy", Heard.LOUD),
        ("sell", "buy", Heard.NO),
        ("", "buy", Heard.LOUD),
        ("sell", None, Heard.LOUD),
    ],
)
def test_a_side_filter_leaves_the_other_side_out(side: str, wanted: str | None, result: Heard) -> None:
    sides = {} if wanted is None else {"whales": wanted}
    assert heard({"side": side}, sides=sides) is result


def test_what_is_stored_as_quiet_hours_and_is_none_keeps_nothing_back() -> None:
    assert heard(quiet="all night") is Heard.LOUD


QUIET: dict[str, Any] = {"quiet": "17:00-18:00", "timezone": "Europe/Berlin"}  # NOW is 17:06:40 there


def test_quiet_hours_hold_in_the_chats_own_zone() -> None:
    assert heard(**QUIET) is Heard.QUIET
    assert heard(quiet="17:00-18:00") is Heard.LOUD
    assert heard(quiet="15:00-16:00") is Heard.QUIET


def test_a_mute_goes_before_quiet_hours_and_a_filter_before_both() -> None:
    """Who mutes does not want to be told later; what nobody asked for is neither held nor counted."""
    assert heard(muted_until=NOW + 1, **QUIET) is Heard.MUTED
    assert heard(symbol_mutes={"BTC": NOW + 1}, **QUIET) is Heard.MUTED
    assert heard({"usd": 1.0}, muted_until=NOW + 1, **QUIET) is Heard.NO
    assert heard(symbols=frozenset(), muted_until=NOW + 1, **QUIET) is Heard.NO
