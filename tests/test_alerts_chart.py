"""The chart: a picture a phone can show, drawn in a process of its own, or a sentence that says what to do."""

from __future__ import annotations

import importlib.util
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alerts import attachments
from botapi.sending import AttachmentError
from store import Store
from store.rows import Alert
from venues.trades import Bar

UNTIL = 1_750_000_000.0
needs_matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is optional")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where matplotlib keeps what it knows of the fonts: to find them takes it a second."""
    return tmp_path_factory.mktemp("matplotlib")


def bars(count: int, *, price: float = 64_000.0, step: float = 10.0) -> list[Bar]:
    begin = int(UNTIL) - count * 300
    closes = [price + step * (number % 7 - 3) for number in range(count)]
    return [Bar("BTC", begin + number * 300, c, c, c, c, 5e6, 4e6) for number, c in enumerate(closes)]


def order(at: float, price: float, usd: float, side: str) -> Alert:
    return Alert(
        key=str(at),
        monitor="whales",
        symbol="BTC",
        side=side,
        usd=usd,
        headline="",
        at_ms=int(at * 1000),
        venue="Binance spot",
        url="https://example.org",
        price=price,
    )


def draw(
    cache: Path, found: list[Bar], *orders: Alert, zone: str = "Europe/Berlin", script: Path = attachments.CHART
) -> bytes:
    since = UNTIL - 86400
    return attachments.draw("BTC", found, orders, since=since, until=UNTIL, zone=zone, cache=cache, script=script)


@needs_matplotlib
@pytest.mark.parametrize(
    ("count", "price", "step"),
    [(288, 64_000.0, 10.0), (1, 64_000.0, 0.0), (2, 0.00001234, 0.0000001), (288, 2.5, 0.0)],
    ids=["a day", "one bar", "a tiny price", "a price that stands still"],
)
def test_it_is_a_png_of_a_phones_size(cache: Path, count: int, price: float, step: float) -> None:
    orders = order(UNTIL - 600, price, 2e6, "buy"), order(UNTIL - 300, price, 9e6, "sell")
    png = draw(cache, bars(count, price=price, step=step), *orders)
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1080, 1160)
    assert len(png) < 1_000_000


def test_without_a_trade_there_is_a_sentence_and_no_picture(cache: Path) -> None:
    with pytest.raises(AttachmentError, match="No BTC trades in that time yet"):
        draw(cache, [])


@pytest.mark.parametrize("owner", [True, False])
def test_without_matplotlib_the_owner_alone_is_told_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: bool
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    store = Store(tmp_path / "bot.db")
    store.markets.add_bars(bars(2))
    make = attachments.makers(store, tmp_path, now=lambda: UNTIL)["chart"]
    with pytest.raises(AttachmentError) as caught:
        make({"symbol": "BTC", "seconds": 3600, "zone": "UTC", "owner": owner})
    assert (f"{sys.executable} -m pip install matplotlib" in str(caught.value)) == owner
    assert ("Charts are not set up on this bot" in str(caught.value)) != owner
    store.close()


@needs_matplotlib
def test_what_goes_wrong_in_the_process_is_one_sentence(cache: Path) -> None:
    with pytest.raises(AttachmentError, match="could not be drawn") as caught:
        draw(cache, bars(2), zone="Middle/Earth")
    assert "Traceback" not in str(caught.value)


@needs_matplotlib
def test_the_process_sees_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    spy = tmp_path / "spy.py"
    spy.write_text(
        f"import os, pathlib\npathlib.Path({str(seen)!r}).write_text(repr(dict(os.environ)), encoding='utf-8')",
        encoding="utf-8",
    )
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123:secret")
    monkeypatch.setenv("COINGLASS_API_KEY", "secret")
    with pytest.raises(AttachmentError):
        draw(tmp_path, bars(2), script=spy)
    assert "secret" not in seen.read_text(encoding="utf-8")


def test_one_picture_is_drawn_at_a_time(tmp_path: Path) -> None:
    alone = tmp_path / "alone.py"
    alone.write_text(
        f"""
import os, sys, threading
mark = {str(tmp_path / "drawing")!r}
os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
threading.Event().wait(0.1)
os.remove(mark)
sys.stdout.buffer.write(b"\\x89PNG")
""",
        encoding="utf-8",
    )
    with ThreadPoolExecutor(4) as threads:
        pictures = list(threads.map(lambda _: draw(tmp_path, bars(2), script=alone), range(4)))
    assert pictures == [b"\x89PNG"] * 4
