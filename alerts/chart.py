"""Draws the picture of a coin: its price with the whale orders as bubbles, and the net taker flow below.

matplotlib is optional and large: this file runs as a short-lived process of its own (data as JSON on stdin, PNG on
stdout), so the bot's own memory stays small. It imports nothing of the bot, gets no token and asks no network.
`attachments.draw` is its only caller and makes the data.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib.dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

FLOW_BARS = 48  # more would be too thin for a phone
GAP = 1800.0  # seconds without a trade: the line is broken there, what was not seen is not drawn
# One set of colours with a background of its own: readable in a light and in a dark chat alike.
GROUND, INK, FAINT, LINE = "#17212b", "#e8eef4", "#7d8e9e", "#6ab3f3"
BUY, SELL = "#4fcf8f", "#ff6b6b"
_DATES = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S"]  # years to seconds
_ZERO_DATES = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
DAY = 86400.0  # matplotlib counts dates in days since 1970


def draw(data: Mapping[str, Any]) -> bytes:
    """The picture as PNG. data: see `attachments.draw`."""
    figure = Figure(figsize=(5.4, 5.8), dpi=200, facecolor=GROUND)
    price, flow = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.subplots_adjust(left=0.04, right=0.83, top=0.87, bottom=0.08, hspace=0.12)
    _draw_price(price, data)
    _draw_orders(price, data)
    _draw_flow(flow, data)
    _draw_dates(flow, data)
    for axes in (price, flow):
        _dress(axes)
    up = not data["moved"].startswith("-")
    figure.text(0.04, 0.945, data["title"], color=INK, fontsize=15, fontweight="bold")
    figure.text(0.96, 0.945, data["moved"], color=BUY if up else SELL, fontsize=11, ha="right")
    figure.text(0.04, 0.9, data["orders_text"], color=FAINT, fontsize=8.5)
    figure.text(0.96, 0.02, f"times in {data['zone']}", color=FAINT, fontsize=7.5, ha="right")
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor=GROUND)
    return png.getvalue()


def _draw_price(axes: Axes, data: Mapping[str, Any]) -> None:
    bars, length = data["bars"], data["bar_seconds"]
    line = [(bars[0][0] / DAY, data["first"])]
    for (before, _, _), (at, close, _) in zip([bars[0], *bars], bars, strict=False):
        if at - before > GAP:
            line.append((before / DAY, math.nan))
        line.append(((at + length) / DAY, close))
    axes.plot([at for at, _ in line], [close for _, close in line], color=LINE, linewidth=1.4)
    closes = [close for _, close, _ in bars]
    # Enough digits to tell one tick from the next, as small as the price may be.
    decimals = max(0, 1 - math.floor(math.log10((max(closes) - min(closes)) or max(closes) / 100)))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.{decimals}f}"))


def _draw_orders(axes: Axes, data: Mapping[str, Any]) -> None:
    largest = max((usd for _, _, usd, _ in data["orders"]), default=1.0)
    # Large ones first: a small bubble must not vanish behind a large one.
    for layer, (at, price, usd, side) in enumerate(sorted(data["orders"], key=lambda order: -order[2]), start=3):
        area, colour = 60 + 640 * usd / largest, BUY if side == "buy" else SELL
        axes.scatter(at / DAY, price, s=area, zorder=layer, color=colour, alpha=0.75, edgecolors=INK, linewidths=0.6)
        arrow = "^" if side == "buy" else "v"  # the side is not shown by its colour alone
        axes.scatter(at / DAY, price, s=area / 5, marker=arrow, color=GROUND, zorder=layer)


def _draw_flow(axes: Axes, data: Mapping[str, Any]) -> None:
    since, length = data["since"], data["until"] - data["since"]
    count = max(1, min(FLOW_BARS, int(length / data["bar_seconds"])))
    width = length / count
    flows = [0.0] * count
    for at, _, net in data["bars"]:
        flows[min(count - 1, max(0, int((at - since) / width)))] += net
    axes.bar(
        [(since + (number + 0.5) * width) / DAY for number in range(count)],
        flows,
        width=width * 0.8 / DAY,
        color=[BUY if flow >= 0 else SELL for flow in flows],
    )
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.set_title(data["flow_text"], color=FAINT, fontsize=8.5, loc="left")
    short = EngFormatter(sep="")  # 250k, -1.5M; and G for billions
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value).replace("G", "B").replace("−", "-")))


def _draw_dates(axes: Axes, data: Mapping[str, Any]) -> None:
    zone = ZoneInfo(data["zone"])
    locator = matplotlib.dates.AutoDateLocator(tz=zone, minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        matplotlib.dates.ConciseDateFormatter(  # type: ignore[no-untyped-call]
            locator, tz=zone, show_offset=False, formats=_DATES, zero_formats=_ZERO_DATES
        )
    )
    axes.set_xlim(data["since"] / DAY, data["until"] / DAY)


def _dress(axes: Axes) -> None:
    axes.set_facecolor(GROUND)
    axes.yaxis.tick_right()
    axes.tick_params(colors=FAINT, labelsize=8.5, length=0)
    axes.grid(color=FAINT, alpha=0.18, linewidth=0.6)
    axes.margins(y=0.12)
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
