"""Draws the picture of a coin: candles with the whale orders as bubbles, and the net taker flow below.

matplotlib is optional and large: this file runs as a short-lived process of its own (data as JSON on stdin, PNG on
stdout), so the bot's own memory stays small. It imports nothing of the bot, gets no token and asks no network.
`attachments.draw` is its only caller and makes the data.
Pillow alone would be lighter, but axes, dates and labels would be our own code.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Mapping
from datetime import timedelta, timezone
from typing import Any, NamedTuple

import matplotlib.dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator


class Theme(NamedTuple):
    """Colours. The background is one of them, so that a picture is readable in any chat."""

    ground: str
    ink: str
    faint: str
    last: str
    buy: str
    sell: str


THEMES = {
    "dark": Theme("#17212b", "#e8eef4", "#7d8e9e", "#3d7fb8", "#4fcf8f", "#ff6b6b"),
    "light": Theme("#ffffff", "#17212b", "#66758a", "#2f6fa8", "#1f9d63", "#d9433f"),
}
_DATES = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S"]  # years to seconds
_ZERO_DATES = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
DAY = 86400.0  # matplotlib counts dates in days since 1970
SMALLEST, LARGEST = 30.0, 420.0  # square points: the areas of bubbles, as scatter() counts them
LEFT, RIGHT, TOP, BOTTOM = 0.03, 0.83, 0.87, 0.105  # of the picture
FOOT = 0.032


def draw(data: Mapping[str, Any]) -> bytes:
    """The picture as PNG. data: see `attachments.chart_data`."""
    drawn = figure(data)
    png = io.BytesIO()
    drawn.savefig(png, format="png", facecolor=drawn.get_facecolor())
    return png.getvalue()


def figure(data: Mapping[str, Any]) -> Figure:
    theme = THEMES.get(data["theme"], THEMES["dark"])
    drawn = Figure(figsize=(5.4, 5.8), dpi=200, facecolor=theme.ground)
    price, flow = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    drawn.subplots_adjust(left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM, hspace=0.12)
    for axes in (price, flow):
        _dress(axes, theme)
    _draw_candles(price, data, theme)
    _draw_orders(price, data, theme)
    _draw_flow(flow, data, theme)
    _draw_dates(flow, data)
    decimals, last = _fit(price, data), data["candles"][-1][4]
    shown = f"{last:,.{decimals}f}"
    _mark_last(price, last, shown, theme)
    _draw_title(drawn, f"{data['symbol']}  {shown}", data["moved"], theme)
    drawn.text(LEFT, 0.9, data["orders_text"], color=theme.faint, fontsize=8.5)
    drawn.text(0.97, FOOT, f"times in {data['zone']}", color=theme.faint, fontsize=7.5, ha="right", va="center")
    if data["orders"]:
        _draw_scale(drawn, data, theme)
    return drawn


def _draw_title(drawn: Figure, words: str, moved: str, theme: Theme) -> None:
    """The coin and its price, as large as there is room left of what it moved."""
    colour = {"+": theme.buy, "-": theme.sell}.get(moved[0], theme.faint)
    title = drawn.text(LEFT, 0.945, words, color=theme.ink, fontsize=15, fontweight="bold")
    change = drawn.text(0.97, 0.945, moved, color=colour, fontsize=11, ha="right")
    here, there = title.get_window_extent(), change.get_window_extent()
    title.set_fontsize(15 * min(1, (there.x0 - here.x0) * 0.96 / here.width))


def _draw_candles(axes: Axes, data: Mapping[str, Any], theme: Theme) -> None:
    length = data["length"]
    middles = [(at + length / 2) / DAY for at, *_ in data["candles"]]
    colours = [theme.buy if close >= opened else theme.sell for _, opened, _, _, close, _ in data["candles"]]
    _, opens, highs, lows, closes, _ = zip(*data["candles"], strict=True)
    axes.vlines(middles, lows, highs, colors=colours, linewidth=0.8)
    bodies = [close - opened for opened, close in zip(opens, closes, strict=True)]
    # The edge shows a candle whose price did not move.
    axes.bar(middles, bodies, 0.7 * length / DAY, opens, color=colours, edgecolor=colours, linewidth=0.7)


def _area(usd: float, data: Mapping[str, Any]) -> float:
    largest: float = max(order[2] for order in data["orders"])
    return max(SMALLEST, LARGEST * usd / largest)


def _draw_orders(axes: Axes, data: Mapping[str, Any], theme: Theme) -> None:
    # Large ones first: a small bubble must not vanish behind a large one.
    for layer, (at, price, usd, side) in enumerate(sorted(data["orders"], key=lambda order: -order[2]), start=4):
        area, colour = _area(usd, data), theme.buy if side == "buy" else theme.sell
        where: dict[str, Any] = {"zorder": layer, "clip_on": False}
        axes.scatter(at / DAY, price, s=area, color=colour, alpha=0.7, edgecolors=theme.ink, linewidths=0.7, **where)
        arrow = "^" if side == "buy" else "v"  # the side is not shown by its colour alone
        axes.scatter(at / DAY, price, s=area / 5, marker=arrow, color=theme.ground, **where)


def _draw_scale(drawn: Figure, data: Mapping[str, Any], theme: Theme) -> None:
    """How large the bubbles of some amounts are."""
    drawn.text(LEFT, FOOT, "order size in USD", color=theme.faint, fontsize=7.5, va="center")
    bubble: dict[str, Any] = {"marker": "o", "linestyle": "", "color": theme.faint, "markeredgecolor": theme.ink}
    handles = [
        Line2D([], [], markersize=math.sqrt(_area(usd, data)), markeredgewidth=0.7, alpha=0.7, label=label, **bubble)
        for usd, label in data["scale"]
    ]
    drawn.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(0.195, FOOT),
        ncols=len(handles),
        frameon=False,
        fontsize=7.5,
        labelcolor=theme.faint,
        handlelength=2.8,
        handletextpad=0.4,
        columnspacing=1,
    )


def _draw_flow(axes: Axes, data: Mapping[str, Any], theme: Theme) -> None:
    length, flows = data["length"], [net for *_, net in data["candles"]]
    middles = [(at + length / 2) / DAY for at, *_ in data["candles"]]
    colours = [theme.buy if net >= 0 else theme.sell for net in flows]
    axes.bar(middles, flows, width=0.7 * length / DAY, color=colours)
    axes.axhline(0, color=theme.faint, linewidth=0.6)
    axes.margins(y=0.12)
    axes.set_title(data["flow_text"], color=theme.faint, fontsize=8.5, loc="left")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if max(map(abs, flows)) < 1:  # nobody traded: no axis of parts of a cent
        axes.set_ylim(-1, 1)
        axes.set_yticks([0])
    short = EngFormatter(sep="")  # 250k, -1.5M; and G for billions
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value).replace("G", "B").replace("−", "-")))


def _draw_dates(axes: Axes, data: Mapping[str, Any]) -> None:
    zone = timezone(timedelta(seconds=data["ahead"]))
    locator = matplotlib.dates.AutoDateLocator(tz=zone, minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        matplotlib.dates.ConciseDateFormatter(  # type: ignore[no-untyped-call]
            locator, tz=zone, show_offset=False, formats=_DATES, zero_formats=_ZERO_DATES
        )
    )


def _fit(axes: Axes, data: Mapping[str, Any]) -> int:
    """Choose the limits so that no bubble is cut; the decimals of the prices, on the axis and in the title."""
    box = axes.get_window_extent()
    points = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    radius = points * math.sqrt(LARGEST) / 2 if data["orders"] else 0.0
    prices = [price for _, _, high, low, _, _ in data["candles"] for price in (high, low)]
    prices += [price for _, price, _, _ in data["orders"]]
    low, high = min(prices), max(prices)
    if low == high:
        low, high = low * 0.999, high * 1.001
    share = max(0.06, radius / box.height)  # of the axis
    rim = (high - low) * share / (1 - 2 * share)
    axes.set_ylim(low - rim, high + rim)
    since, until, share = data["since"], data["until"], radius / box.width
    rim_of_time = (until - since) * share / (1 - 2 * share)
    axes.set_xlim((since - rim_of_time) / DAY, (until + rim_of_time) / DAY)
    ticks = MaxNLocator(6)
    axes.yaxis.set_major_locator(ticks)
    steps = ticks.tick_values(*axes.get_ylim())
    step = float(steps[1] - steps[0])
    told_apart = (digits for digits in range(16) if math.isclose(round(step, digits), step, rel_tol=0.01))
    decimals = max(int(data["decimals"]), next(told_apart, 16))
    last, near = data["candles"][-1][4], 0.035 * (high - low + 2 * rim)  # its mark is there
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "" if abs(value - last) < near else f"{value:,.{decimals}f}")
    )
    axes.tick_params(axis="y", labelsize=8.5 * min(1, 10 / len(f"{high:,.{decimals}f}")))
    return decimals


def _mark_last(axes: Axes, price: float, words: str, theme: Theme) -> None:
    """The last price, on the axis."""
    axes.axhline(price, color=theme.last, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
    axes.annotate(
        words,
        (1, price),
        xycoords=axes.get_yaxis_transform(),
        xytext=(3.5, 0),
        textcoords="offset points",
        va="center",
        color="#ffffff",
        fontsize=axes.yaxis.get_ticklabels()[0].get_fontsize(),
        bbox={"boxstyle": "square,pad=0.25", "facecolor": theme.last, "edgecolor": "none"},
    )


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.ground)
    axes.yaxis.tick_right()
    axes.tick_params(colors=theme.faint, labelsize=8.5, length=0)
    axes.set_axisbelow(True)
    axes.grid(color=theme.faint, alpha=0.2, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _limit() -> None:
    """This process may not take the machine from the bot: a picture takes 0.1 GB and a second."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


if __name__ == "__main__":
    _limit()
    sys.stdout.buffer.write(draw(json.load(sys.stdin.buffer)))
