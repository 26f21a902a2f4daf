"""Draws the README's pictures: `python docs/pictures.py [FOLDER]` writes alert.svg and chart.png.

The bot itself words the alert, which is shown in a bubble like Telegram's. The chart is what /chart sends, of
made-up prices; it needs matplotlib.
"""

from __future__ import annotations

import html
import math
import random
import re
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from alerts.attachments import draw  # noqa: E402
from alerts.preferences import Outcome  # noqa: E402
from alerts.publish import payload  # noqa: E402
from store.rows import Alert, Chat  # noqa: E402
from venues.trades import Bar  # noqa: E402

NOW = datetime(2026, 11, 28, 14, 3, 9, tzinfo=UTC).timestamp()
WIDTH, LINE, BUTTON = 420, 22, 38
FONT = "-apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"

ORDER = Alert(
    key="example",
    monitor="whales",
    symbol="BTC",
    side="sell",
    usd=2_310_000,
    headline="BTC sell 2.31M USD at 64,210",
    facts="38 fills in 0.2 s · price 64,250 → 64,190",
    at_ms=int((NOW - 2) * 1000),
    venue="Binance spot",
    url="https://example.org",
    price=64_210,
)


def alert() -> str:
    """An SVG of one whale alert with its buttons."""
    message = payload(Chat(chat_id=1, added_by=1), [ORDER], now=NOW, sound=Outcome.LOUD)
    lines, buttons = message["text"].split("\n"), message["reply_markup"]["inline_keyboard"]
    bottom = 24 + LINE * len(lines) + 26
    height = bottom + (BUTTON + 6) * len(buttons) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="{FONT}" font-size="15">',
        f'<rect width="{WIDTH}" height="{height}" rx="14" fill="#0e1621"/>',
        f'<rect x="12" y="12" width="{WIDTH - 24}" height="{bottom - 18}" rx="12" fill="#182533"/>',
    ]
    for number, line in enumerate(lines):
        shown = re.sub(r'<a href="[^"]*">(.*?)</a>', r'<tspan fill="#6ab3f3">\1</tspan>', line)
        shown = re.sub(r"<b>(.*?)</b>", r'<tspan font-weight="700">\1</tspan>', shown)
        parts.append(f'<text x="26" y="{40 + LINE * number}" fill="#f5f5f5">{shown}</text>')
    parts.append(
        f'<text x="{WIDTH - 24}" y="{bottom - 14}" fill="#7d8e9e" font-size="12" text-anchor="end">14:03</text>'
    )
    for row, keys in enumerate(buttons):
        wide = (WIDTH - 24 - 6 * (len(keys) - 1)) / len(keys)
        for column, key in enumerate(keys):
            left, top = 12 + column * (wide + 6), bottom + row * (BUTTON + 6)
            parts.append(
                f'<rect x="{left:g}" y="{top}" width="{wide:g}" height="{BUTTON}" rx="9" fill="#2b3a4a"/>'
                f'<text x="{left + wide / 2:g}" y="{top + 24}" fill="#fff" text-anchor="middle">'
                f"{html.escape(key['text'])}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def chart() -> bytes:
    """The PNG of a day of made-up prices, drawn as /chart draws it."""
    chance = random.Random(7)
    since, price, bars, orders = NOW - 86400, 63_800.0, [], []
    for step in range(288):
        at, before = since + step * 300, price
        price *= 1 + chance.gauss(0.00003, 0.0011) + 0.0009 * math.sin(step / 35) * chance.random()
        net = (price / before - 1) * 2.4e9 + chance.gauss(0, 7e5)
        bars.append(
            Bar(
                *("BTC", int(at), before, max(price, before) * 1.0004, min(price, before) * 0.9996, price),
                *(max(net, 0), max(-net, 0)),
            )
        )
        if chance.random() < 0.045:
            side, usd = "buy" if net > 0 else "sell", chance.lognormvariate(14.2, 0.6)
            orders.append(replace(ORDER, side=side, usd=usd, price=price, at_ms=int((at + 150) * 1000)))
    with tempfile.TemporaryDirectory() as cache:
        return draw("BTC", bars, orders, since=since, until=NOW, zone="UTC", cache=Path(cache))


def main(folder: Path) -> None:
    (folder / "alert.svg").write_text(alert(), encoding="utf-8")
    (folder / "chart.png").write_bytes(chart())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
