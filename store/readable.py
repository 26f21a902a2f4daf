"""What is stored as JSON, as plain values of the right kinds: what cannot be used is found here, not by its users.

A damaged disk or another version of the bot may have left anything in a row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from base.text import clip
from store.database import Database
from store.engine import Row
from store.rows import Alert

UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_LATEST_MS = 10**14  # unix ms; anything later is not a date
_KINDS: dict[str, type | tuple[type, ...]] = {"str": str, "float": (int, float), "int": int, "bool": bool}


def alert_of(body: str) -> Alert:
    """The alert; what a newer version added is left out. Raises one of UNREADABLE."""
    found = json.loads(body)
    alert = Alert(**{field.name: found[field.name] for field in fields(Alert) if field.name in found})
    for field in fields(Alert):
        if not isinstance(getattr(alert, field.name), _KINDS[str(field.type)]):
            raise TypeError(f"{field.name} is not a {field.type}")
    if not (math.isfinite(alert.usd) and math.isfinite(alert.price) and 0 <= alert.at_ms < _LATEST_MS):
        raise ValueError("not a finite number")
    return alert


def alerts_of(db: Database, rows: Iterable[Row]) -> Iterator[tuple[Row, Alert]]:
    """Rows that have a `body`, with their alerts, without those that cannot be read."""
    for row in rows:
        try:
            alert = alert_of(row["body"])
        except UNREADABLE as error:
            db.unreadable(f"the alert {clip(str(row['body']), 80)!r}", error)
        else:
            yield row, alert


def settings_of(text: str) -> tuple[dict[str, Any], list[str]]:
    """A chat's settings, and the names of those that cannot be used and are left out. Never raises."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return {}, ["all of them"]
    known = {name: value for name, value in found.items() if name in _USABLE}
    bad = [name for name, value in known.items() if not _USABLE[name](value)]
    return {name: value for name, value in known.items() if name not in bad}, bad


def number_of(text: str) -> float:
    """Raises ValueError for anything but a finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    return value


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _each(of: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Mapping) and all(of(one) for one in value.values())


_USABLE: dict[str, Callable[[object], bool]] = {  # by setting (rows.Chat)
    "symbols": lambda value: value is None or (isinstance(value, list) and all(map(_text, value))),
    "thresholds": _each(_each(_number)),
    "muted_until": _number,
    "symbol_mutes": _each(_number),
    "levels": _each(_text),
    "sides": _each(_text),
    "timezone": _text,
    "quiet": _text,
    "hourly_cap": lambda value: isinstance(value, int),
    "paused_until": _number,
    "topics": _each(lambda value: isinstance(value, int)),
    "members": lambda value: isinstance(value, bool),
    "chart_theme": _text,
    "handle": _text,
}
