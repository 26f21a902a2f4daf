"""A picture of a coin: its price with the whale orders as bubbles, and the net taker flow below.

matplotlib is optional and large: this file is run as a short-lived process of its own (`python chart.py`, data as
JSON on stdin, PNG on stdout), so the bot's own memory stays small. The process gets no token and asks no network.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from base import text
from venues.trades import BAR_SECONDS, Bar

TIMEOUT = 60.0  # seconds for one picture; the first one on a machine builds a font cache
BARS = 48  # of the flow: more would be too thin for a phone
GAP = 1800.0  # seconds without a trade: the line is broken there, what was not seen is not drawn
# One set of colours with a ground of its own: readable in a light and in a dark chat alike.
GROUND, INK, FAINT, LINE = "#17212b", "#e8eef4", "#7d8e9e", "#6ab3f3"
BUY, SELL = "#4fcf8f", "#ff6b6b"
_DATES = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S"]  # years to seconds
_ZERO_DATES = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
_PASSED_ON = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE", "LD_LIBRARY_PATH")


class ChartError(Exception):
    """No picture. str() says why and what to do, for the one who asked."""


def picture(
    symbol: str,
    bars: Sequence[Bar],
    orders: Sequence[tuple[float, float, float, str]],
    *,
    since: float,
    until: float,
    zone: str,
    cache: Path,
) -> bytes:
    """The PNG. Orders are (unix seconds, price, US dollars, taker side). `cache`: a folder for matplotlib's fonts.

    Runs a process and waits for it, up to TIMEOUT: never on a thread that others wait for. Raises ChartError.
    """
    if not bars:
        raise ChartError(f"No trades of {symbol} were seen in that time yet. I keep looking.")
    if importlib.util.find_spec("matplotlib") is None:
        raise ChartError(
            "Charts need one more package that is not installed here. On the bot's machine, in its folder: "
            f"{_pip()} install matplotlib - then ask again, no restart is needed."
        )
    data = {
        "symbol": symbol,
        "bars": [[bar.at, bar.close, bar.buy_usd - bar.sell_usd] for bar in bars],
        "first": bars[0].open,
        "orders": list(orders),
        "since": max(since, bars[0].at),  # no empty days before the bot began to look
        "until": until,
        "zone": zone,
    }
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve())],
            input=json.dumps(data).encode(),
            capture_output=True,
            env=environment
            | {
                "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
                "MPLCONFIGDIR": str(cache),
                "MPLBACKEND": "Agg",
            },
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChartError(f"The picture was not ready within {TIMEOUT:g} s. Try again, or a shorter time.") from None
    except OSError as error:
        raise ChartError(f"The picture could not be drawn here ({error.strerror}).") from None
    if done.returncode != 0 or not done.stdout.startswith(b"\x89PNG"):
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ChartError(f"The picture could not be drawn here ({text.clip(last or 'no output', 200)}).")
    return done.stdout


def _pip() -> str:
    return f'"{sys.executable}" -m pip' if " " in sys.executable else f"{sys.executable} -m pip"


def draw(data: Mapping[str, Any]) -> bytes:
    """The picture itself; only ever called in the process of its own."""
    import io
    from datetime import datetime
    from zoneinfo import ZoneInfo

    import matplotlib.dates
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    zone = ZoneInfo(data["zone"])

    def when(at: float) -> datetime:
        return datetime.fromtimestamp(at, zone)

    figure = Figure(figsize=(5.4, 5.8), dpi=200, facecolor=GROUND)
    price_axes, flow_axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.subplots_adjust(left=0.04, right=0.83, top=0.87, bottom=0.08, hspace=0.12)
    bars = data["bars"]
    line = [(when(bars[0][0]), data["first"])]
    for (before, _, _), (at, close, _) in zip([bars[0], *bars], bars, strict=False):
        if at - before > GAP:
            line.append((when(before), math.nan))
        line.append((when(at + BAR_SECONDS), close))
    price_axes.plot([at for at, _ in line], [close for _, close in line], color=LINE, linewidth=1.4)
    biggest = max((usd for _, _, usd, _ in data["orders"]), default=1.0)
    # Large ones first: a small bubble must not vanish behind a large one.
    for layer, (at, price, usd, side) in enumerate(sorted(data["orders"], key=lambda order: -order[2]), start=3):
        area, colour = 60 + 640 * usd / biggest, BUY if side == "buy" else SELL
        bubble = {"color": colour, "alpha": 0.75, "edgecolors": INK, "linewidths": 0.6}
        price_axes.scatter(when(at), price, s=area, zorder=layer, **bubble)
        arrow = "^" if side == "buy" else "v"  # the side is not told by its colour alone
        price_axes.scatter(when(at), price, s=area / 5, marker=arrow, color=GROUND, zorder=layer)
    count = max(1, min(BARS, int((data["until"] - data["since"]) / BAR_SECONDS)))
    width = (data["until"] - data["since"]) / count
    flows = [0.0] * count
    for at, _, net in bars:
        flows[min(count - 1, max(0, int((at - data["since"]) / width)))] += net
    flow_axes.bar(
        [when(data["since"] + (number + 0.5) * width) for number in range(count)],
        flows,
        width=width * 0.8 / 86400,
        color=[BUY if flow >= 0 else SELL for flow in flows],
    )
    flow_axes.axhline(0, color=FAINT, linewidth=0.6)
    last = bars[-1][1]
    moved = (last / data["first"] - 1) * 100
    length = text.duration(data["until"] - data["since"])
    figure.text(0.04, 0.945, f"{data['symbol']}  {text.price(last)}", color=INK, fontsize=15, fontweight="bold")
    figure.text(
        0.96, 0.945, f"{moved:+.1f} % in {length}", color=BUY if moved >= 0 else SELL, fontsize=11, ha="right"
    )
    bought = [usd for _, _, usd, side in data["orders"] if side == "buy"]
    sold = [usd for _, _, usd, side in data["orders"] if side != "buy"]
    told = "no whale orders"
    if data["orders"]:
        sides = ("▲", bought, "buy"), ("▼", sold, "sell")
        told = "   ".join(f"{mark} {text.count(len(usd), noun)} {text.usd(sum(usd))}" for mark, usd, noun in sides)
        told = f"whale orders: {told} USD"
    figure.text(0.04, 0.9, told, color=FAINT, fontsize=8.5)
    net = sum(flows)
    flow_axes.set_title(
        f"net taker flow {'-' if net < 0 else '+'}{text.usd(abs(net))} USD", color=FAINT, fontsize=8.5, loc="left"
    )
    price_axes.yaxis.set_major_locator(MaxNLocator(6))
    price_axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.{decimals}f}"))
    flow_axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "0" if value == 0 else f"{'-' if value < 0 else ''}{text.usd(abs(value))}")
    )
    closes = [close for _, close, _ in bars]
    # Enough digits to tell one tick from the next, as small as the price may be.
    decimals = max(0, 1 - math.floor(math.log10((max(closes) - min(closes)) or max(closes) / 100)))
    locator = matplotlib.dates.AutoDateLocator(tz=zone, minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    flow_axes.xaxis.set_major_locator(locator)
    flow_axes.xaxis.set_major_formatter(
        matplotlib.dates.ConciseDateFormatter(  # type: ignore[no-untyped-call]
            locator, tz=zone, show_offset=False, formats=_DATES, zero_formats=_ZERO_DATES
        )
    )
    flow_axes.set_xlim(when(data["since"]), when(data["until"]))
    for axes in (price_axes, flow_axes):
        axes.set_facecolor(GROUND)
        axes.yaxis.tick_right()
        axes.tick_params(colors=FAINT, labelsize=8.5, length=0)
        axes.grid(color=FAINT, alpha=0.18, linewidth=0.6)
        axes.margins(y=0.12)
        for spine in axes.spines.values():
            spine.set_visible(False)
    figure.text(0.96, 0.02, f"times in {data['zone']}", color=FAINT, fontsize=7.5, ha="right")
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor=GROUND)
    return png.getvalue()


def main() -> int:
    sys.stdout.buffer.write(draw(json.load(sys.stdin.buffer)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
