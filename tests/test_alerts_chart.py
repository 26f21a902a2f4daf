"""The chart: a picture a phone can show, drawn in a process of its own, or a sentence that says what to do."""

from __future__ import annotations

import importlib.util
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from alerts import attachments
from botapi.sending import AttachmentError
from store import Store
from store.rows import Alert
from venues.trades import Bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
def test_it_is_a_png_of_a_phones_size(cache: Path) -> None:
    orders = order(UNTIL - 600, 64_000.0, 2e6, "buy"), order(UNTIL - 300, 64_000.0, 9e6, "sell")
    png = draw(cache, bars(288), *orders)
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
def test_what_goes_wrong_in_the_process_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('no ink')", encoding="utf-8")
    with pytest.raises(AttachmentError, match=r"could not be drawn .*no ink") as caught:
        draw(tmp_path, bars(2), script=broken)
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


# What is in the picture


def data(found: list[Bar], *orders: Alert, hours: float = 24, zone: str = "Europe/Berlin") -> dict[str, Any]:
    since = UNTIL - hours * 3600
    return attachments.chart_data("BTC", found, orders, since=since, until=UNTIL, zone=zone)


def figure(found: list[Bar], *orders: Alert, theme: str = "dark", hours: float = 24) -> Figure:
    return chart_of(data(found, *orders, hours=hours) | {"theme": theme})


def chart_of(made: dict[str, Any]) -> Figure:
    from alerts import chart  # matplotlib is optional

    drawn = chart.figure({"theme": "dark"} | made)
    drawn.draw_without_rendering()
    return drawn


def bubbles(drawn: Figure) -> list[Any]:
    """Each order's circle and arrow, the largest order first."""
    return [found for found in drawn.axes[0].collections if hasattr(found, "get_sizes")]


@pytest.mark.parametrize(("hours", "length"), [(1, 300), (24, 1800), (168, 10800), (720, 43200)])
def test_a_chart_has_at_most_sixty_one_candles_and_they_hold_every_bar(hours: int, length: int) -> None:
    found = bars(hours * 12)
    made = data(found, hours=hours)
    assert made["length"] == length
    assert len(made["candles"]) <= 61
    assert sum(flow for *_, flow in made["candles"]) == pytest.approx(hours * 12 * 1e6)
    first, last = made["candles"][0], made["candles"][-1]
    assert (first[1], last[4]) == (found[0].open, found[-1].close)
    assert max(high for _, _, high, *_ in made["candles"]) == max(bar.high for bar in found)
    assert min(low for _, _, _, low, *_ in made["candles"]) == min(bar.low for bar in found)


def test_candles_begin_at_full_hours_of_the_chat(cache: Path) -> None:
    made = data(bars(7 * 288), hours=168, zone="UTC+5:30")
    assert made["zone"] == "UTC+5:30"
    assert {(at + 19800) % 10800 for at, *_ in made["candles"]} == {0}


def test_a_price_that_did_not_move_has_no_minus() -> None:
    found = bars(2, step=0.0)
    found[-1].close = found[0].open * 0.9999
    assert data(found)["moved"].startswith("0.0 % in ")


def test_a_side_without_an_order_is_left_out() -> None:
    made = data(bars(2), order(UNTIL - 60, 64_000, 2e6, "sell"))
    assert made["orders_text"] == "whale orders: ▼ 1 sell 2M USD"


@needs_matplotlib
def test_each_flow_bar_lies_under_its_candle() -> None:
    price, flow = figure(bars(288)).axes
    candles = [(patch.get_x(), patch.get_width()) for patch in price.patches]  # type: ignore[attr-defined]
    assert len(candles) == 49
    assert candles == [(patch.get_x(), patch.get_width()) for patch in flow.patches]  # type: ignore[attr-defined]


@needs_matplotlib
@pytest.mark.parametrize("price", [64_000.0, 0.00001234])
def test_no_bubble_is_cut(price: float) -> None:
    step = price / 10_000
    orders = [order(UNTIL - back, price + move * step, 9e6, "buy") for back in (1, 86399) for move in (-20, 20)]
    drawn = figure(bars(288, price=price, step=step), *orders, order(UNTIL - 5000, price, 1e5, "sell"))
    axes = drawn.axes[0]
    box = axes.get_window_extent()
    assert len(bubbles(drawn)) == 2 * 5
    for bubble in bubbles(drawn):
        ((x, y),) = axes.transData.transform(bubble.get_offsets())
        radius = bubble.get_sizes()[0] ** 0.5 / 2 * drawn.dpi / 72
        assert box.x0 <= x - radius + 0.01 and x + radius - 0.01 <= box.x1
        assert box.y0 <= y - radius + 0.01 and y + radius - 0.01 <= box.y1


@needs_matplotlib
def test_the_legend_shows_bubbles_of_round_amounts_in_their_size() -> None:
    orders = order(UNTIL - 600, 64_000, 9.3e6, "buy"), order(UNTIL - 900, 64_000, 1e6, "sell")
    drawn = figure(bars(288), *orders)
    (legend,) = drawn.legends
    assert [words.get_text() for words in legend.get_texts()] == ["5M", "2M", "1M"]
    sizes = [handle.get_markersize() ** 2 for handle in legend.get_lines()]
    assert sizes == pytest.approx([420 * 5 / 9.3, 420 * 2 / 9.3, 420 / 9.3])
    assert bubbles(drawn)[2].get_sizes()[0] == pytest.approx(sizes[2])
    assert figure(bars(288)).legends == []


@pytest.mark.parametrize(
    ("amounts", "shown"),
    [
        ([6e5, 1.5e5], [5e5, 2e5]),
        ([5e9, 2e5], [5e9, 1e9, 5e8]),  # what is smaller has the smallest bubble, whatever it is worth
        ([4.37e6, 4.2e6], [4.37e6]),
    ],
)
def test_the_scale_reaches_from_the_largest_order_to_the_smallest(amounts: list[float], shown: list[float]) -> None:
    orders = [order(UNTIL - 600 - number, 64_000, usd, "buy") for number, usd in enumerate(amounts)]
    assert [usd for usd, _ in data(bars(288), *orders)["scale"]] == shown


@needs_matplotlib
def test_a_coin_that_nobody_traded_has_a_flow_of_zero_and_no_axis_of_parts_of_a_cent() -> None:
    still = [Bar("BTC", int(UNTIL) - number * 300, 2.5, 2.5, 2.5, 2.5, 0, 0) for number in range(12, 0, -1)]
    assert [words.get_text() for words in figure(still).axes[1].get_yticklabels()] == ["0"]


@needs_matplotlib
def test_title_and_axis_show_the_same_decimals_and_no_two_ticks_look_alike() -> None:
    # In one test, because every process that draws has to import matplotlib first.
    prices = (64_210.0, 30.0, 0), (2_512.34, 3.0, 2), (0.1712, 0.001, 4), (0.00001234, 1e-7, 8), (1.00036, 3e-6, 6)
    for price, step, decimals in prices:
        drawn = figure(bars(288, price=price, step=step))
        ticks = [words.get_text() for words in drawn.axes[0].get_yticklabels() if words.get_text()]
        last = next(words.get_text() for words in drawn.texts if words.get_text().startswith("BTC")).split()[1]
        assert len(set(ticks)) == len(ticks)
        assert {len(number.partition(".")[2]) for number in (*ticks, last)} == {decimals}
        assert last in [words.get_text() for words in drawn.axes[0].texts], "the last price is marked on the axis"
    for few in (bars(1, step=0.0), bars(2, price=0.00001234, step=1e-7), bars(288, price=2.5, step=0.0)):
        orders = order(UNTIL - 600, few[0].open, 2e6, "buy"), order(UNTIL - 300, few[0].open, 9e6, "sell")
        assert len(bubbles(figure(few, *orders))) == 2 * 2, "one bar, a tiny price, or one that stands still"


@needs_matplotlib
def test_a_long_name_and_a_tiny_price_fit_into_the_picture() -> None:
    drawn = chart_of(data(bars(286, price=1.2345e-9, step=1e-12)) | {"symbol": "1000000MOG"})
    title, moved, *_ = (words.get_window_extent() for words in drawn.texts)
    assert title.x1 < moved.x0
    marks = [*drawn.axes[0].get_yticklabels(), *drawn.axes[0].texts]
    assert max(words.get_window_extent().x1 for words in marks) <= drawn.bbox.width


@needs_matplotlib
def test_there_is_a_dark_and_a_light_theme() -> None:
    grounds: dict[str, Any] = {
        theme: figure(bars(12), theme=theme).get_facecolor() for theme in ("dark", "light", "pink")
    }
    assert sum(grounds["light"][:3]) > 2.9
    assert sum(grounds["dark"][:3]) < 0.6
    assert grounds["pink"] == grounds["dark"]


@needs_matplotlib
def test_a_chat_with_a_zone_that_is_an_offset_gets_its_chart(cache: Path) -> None:
    assert draw(cache, bars(2), zone="UTC+5:30").startswith(b"\x89PNG")
