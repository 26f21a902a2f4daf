"""Helpers of the store's tests."""

from __future__ import annotations

import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import cast

import pytest

from botapi.storage import ANSWERS, Delivery
from store import Store
from store.rows import Alert
from store.sqlite import File

file_only = pytest.mark.parametrize("new_store", ["file"], indirect=True)  # a test of what is SQLite's
NOW = 1_750_000_000.0
DAY = 86400.0


@cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bot.db"
        Store(path).close()
        return path.read_bytes()


def file_store(path: Path) -> Store:
    """The store in this file. The tables of a new file are made once in a test process, and copied."""
    if not path.exists():
        path.write_bytes(_tables())
    return Store(path)


def say(store: Store, chat_id: int, text: str, *, lane: int = ANSWERS, bundle: str | None = None) -> int:
    return store.messages.enqueue(chat_id, "sendMessage", {"text": text}, now=NOW, lane=lane, bundle=bundle)


def whale(key: str, *, symbol: str = "BTC", at: float = NOW, facts: str = "") -> Alert:
    return Alert(
        key=key,
        monitor="whales",
        symbol=symbol,
        side="buy",
        usd=2e6,
        headline=f"{symbol} buy 2M USD",
        facts=facts,
        at_ms=round(at * 1000),
        venue="Binance spot",
        url="https://example.org",
    )


def pending(store: Store) -> list[Delivery]:
    found = [store.delivery(delivery_id) for delivery_id, _, _ in store.pending()]
    return [delivery for delivery in found if delivery is not None]


def texts(store: Store) -> list[str]:
    return [delivery.payload["text"] for delivery in pending(store)]


def alerts_in(store: Store, delivery_id: int) -> list[str]:
    """The keys of the alerts that a message tells of, whatever became of it."""
    rows = store._db.rows("SELECT alert_key FROM bundled WHERE delivery_id = ? ORDER BY alert_key", (delivery_id,))
    return [row["alert_key"] for row in rows]


def raw(store: Store) -> sqlite3.Connection:
    """SQLite's own connection of a store in a file."""
    return cast(File, store._db.engine).connection


def path_of(store: Store) -> Path:
    return cast(File, store._db.engine).path


def written(store: Store) -> int:
    """How many rows were written so far."""
    return store._db.engine.changes()


def full_disk(store: Store, *, full: bool = True) -> None:
    """From now on the file may not grow: SQLite's own "database or disk is full"."""
    pages = raw(store).execute("PRAGMA page_count").fetchone()[0]
    raw(store).execute(f"PRAGMA max_page_count = {pages if full else 10**6}")


def deliver(store: Store, message_id: int) -> Delivery:
    """The outbox's part: read, (send), settle."""
    delivery = pending(store)[0]
    store.messages.settle_all([(delivery, message_id)], now=NOW)
    return delivery
