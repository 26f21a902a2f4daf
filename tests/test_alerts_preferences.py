"""What a chat's settings make of an alert: loud, silent, held, counted, or not asked for."""

from __future__ import annotations

from typing import Any

import pytest
from test_alerts_publish import NOW, alert

from alerts import preferences
from alerts.preferences import Outcome
from store.rows import LEVELS, MONITORS, Chat

MIN = 1e6


def outcome(alert_changes: dict[str, Any] | None = None, **settings: Any) -> Outcome:
    chat = Chat(chat_id=7, added_by=7, **settings)
    return preferences.decide(chat, alert(**(alert_changes or {})), now=NOW, default_min=MIN)


@pytest.mark.parametrize(
    ("level", "usd", "result"),
    [
        ("on", 1e6, Outcome.SILENT),
        ("on", 1_999_999, Outcome.SILENT),
        ("on", 2e6, Outcome.LOUD),
        ("loud", 1e6, Outcome.LOUD),
        ("silent", 9e9, Outcome.SILENT),
        ("off", 9e9, Outcome.NO),
    ],
)
def test_the_level_of_a_monitor_says_how_loud_it_is(level: str, usd: float, result: Outcome) -> None:
    assert outcome({"usd": usd}, levels={"whales": level}) is result
    if level == "on":
        assert outcome({"usd": usd}) is result, "on is what nobody changed"


def test_the_chats_own_threshold_decides_what_is_loud() -> None:
    assert outcome({"usd": 2.3e6}, thresholds={"whales": {"BTC": 2e6}}) is Outcome.SILENT
    assert outcome({"usd": 2.3e6}, thresholds={"whales": {"BTC": 1e5}}) is Outcome.LOUD


@pytest.mark.parametrize("monitor", MONITORS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_is_of_its_monitor_alone(monitor: str, level: str) -> None:
    other = "funding" if monitor != "funding" else "whales"
    assert outcome({"monitor": monitor, "usd": 5e6}, levels={other: level}) is Outcome.LOUD


@pytest.mark.parametrize(
    ("side", "wanted", "result"),
    [
        ("buy", "buy", Outcome.LOUD),
        ("sell", "buy", Outcome.NO),
        ("", "buy", Outcome.LOUD),
        ("sell", None, Outcome.LOUD),
    ],
)
def test_a_side_filter_leaves_the_other_side_out(side: str, wanted: str | None, result: Outcome) -> None:
    sides = {} if wanted is None else {"whales": wanted}
    assert outcome({"side": side}, sides=sides) is result


def test_what_is_stored_as_quiet_hours_and_is_none_keeps_nothing_back() -> None:
    assert outcome(quiet="all night") is Outcome.LOUD


QUIET: dict[str, Any] = {"quiet": "17:00-18:00", "timezone": "Europe/Berlin"}  # NOW is 17:06:40 there


def test_quiet_hours_hold_in_the_chats_own_zone() -> None:
    assert outcome(**QUIET) is Outcome.QUIET
    assert outcome(quiet="17:00-18:00") is Outcome.LOUD
    assert outcome(quiet="15:00-16:00") is Outcome.QUIET


def test_a_mute_goes_before_quiet_hours_and_a_filter_before_both() -> None:
    """Who mutes does not want to be told later; what nobody asked for is neither held nor counted."""
    assert outcome(muted_until=NOW + 1, **QUIET) is Outcome.MUTED
    assert outcome(symbol_mutes={"BTC": NOW + 1}, **QUIET) is Outcome.MUTED
    assert outcome({"usd": 1.0}, muted_until=NOW + 1, **QUIET) is Outcome.NO
    assert outcome(symbols=frozenset(), muted_until=NOW + 1, **QUIET) is Outcome.NO
