"""The files that go with messages, made at the moment of sending: the store keeps only what was asked for."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from alerts import export
from base import logs, text, zones
from base.env import passed_on
from base.secrets import redact
from base.shell import pip_command
from base.worker import heartbeat
from botapi.sending import Attachment, AttachmentError, Maker
from store import Store
from store.rows import Alert
from venues.trades import BAR_SECONDS, Bar

CHART = Path(__file__).with_name("chart.py").resolve()
LENGTHS = (300, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400)  # seconds of a candle
FEWEST_CANDLES, MOST_CANDLES = 12, 60  # more would be too thin for a phone
MOST_BIGGER = 14  # the largest bubble has so many times the area of the smallest: chart.LARGEST / chart.SMALLEST
TIMEOUT = 60.0  # seconds for one picture; the first one on a machine builds a font cache
_DRAWING = threading.Lock()  # matplotlib takes 100 MB: on a small server one picture at a time


class NotInstalledError(Exception):
    """The optional package matplotlib is missing."""


def makers(store: Store, folder: Path, *, now: Callable[[], float]) -> Mapping[str, Maker]:
    """What makes each kind of file; `folder` is the bot's own."""

    def make_chart(wish: dict[str, Any]) -> Attachment:
        symbol, until = str(wish["symbol"]), now()
        since = until - float(wish["seconds"])
        alerts = store.messages.alerts_between(since, until)
        orders = [alert for alert in alerts if alert.monitor == "whales" and alert.symbol == symbol]
        bars = store.markets.bars(symbol, since=since)
        zone, theme, cache = str(wish["zone"]), str(wish.get("theme", "dark")), folder / "matplotlib"
        try:
            png = draw(symbol, bars, orders, since=since, until=until, zone=zone, theme=theme, cache=cache)
        except NotInstalledError:
            command = pip_command("install", "matplotlib")
            how = f"Charts need matplotlib. On the bot's machine: {command} (no restart needed)."
            raise AttachmentError(how if wish.get("owner") else "Charts are not set up on this bot.") from None
        return Attachment("photo", f"{symbol}.png", png)

    def cut_log(wish: dict[str, Any]) -> Attachment:
        try:
            lines, _ = logs.last_lines(folder / "bot.log", int(wish["lines"]))
        except OSError as error:
            raise AttachmentError(
                f"The log cannot be read ({error.strerror}). Open it on the bot's machine: {folder / 'bot.log'}"
            ) from None
        if not lines:
            raise AttachmentError("There is no log file. What the bot logs is only in the console of its machine.")
        # Once more: what other programs or an earlier version wrote there did not pass our formatter.
        return Attachment("document", "bot-log.txt", redact(lines).encode())

    def make_export(wish: dict[str, Any]) -> Attachment:
        until, coins, zone = now(), list(map(str, wish["coins"])), str(wish["zone"])
        since = until - float(wish["seconds"])
        if wish["what"] == "candles":
            return export.candles(store, since=since, until=until, coins=coins, zone=zone)
        chat_id = None if wish["what"] == "all" else int(wish["chat_id"])
        return export.alerts(store, chat_id=chat_id, since=since, until=until, coins=coins, zone=zone)

    return {"chart": make_chart, "log": cut_log, "export": make_export}


def draw(
    symbol: str,
    bars: Sequence[Bar],
    orders: Sequence[Alert],
    *,
    since: float,
    until: float,
    zone: str,
    theme: str = "dark",
    cache: Path,
    script: Path = CHART,
) -> bytes:
    """The chart of a coin as PNG. Times are unix seconds. cache: a folder for matplotlib's fonts.

    Runs a process and waits for it, up to TIMEOUT, and for the pictures before this one: never on a thread that
    others wait for. Raises AttachmentError, NotInstalledError.
    """
    if not bars:
        raise AttachmentError(f"No {symbol} trades in that time yet. Try again in a few minutes, or a longer time.")
    if importlib.util.find_spec("matplotlib") is None:
        raise NotInstalledError
    environment = passed_on() | {"MPLCONFIGDIR": str(cache), "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
    data = chart_data(symbol, bars, orders, since=since, until=until, zone=zone) | {"theme": theme}
    question = json.dumps(data).encode()
    import subprocess  # few bots draw at all

    while not _DRAWING.acquire(timeout=5):
        heartbeat()
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(script)],  # -P: the script's folder is not searched for modules
            input=question,
            capture_output=True,
            env=environment,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AttachmentError(
            f"The chart was not ready within {TIMEOUT:g} s. Try again, or ask for a shorter time."
        ) from None
    except OSError as error:
        raise AttachmentError(f"The chart could not be drawn ({error.strerror}). Try again later.") from None
    finally:
        _DRAWING.release()
        heartbeat()
    if done.returncode != 0 or not done.stdout.startswith(b"\x89PNG"):
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise AttachmentError(f"The chart could not be drawn ({text.clip(last or 'no output', 200)}).")
    return done.stdout


def chart_data(
    symbol: str, bars: Sequence[Bar], orders: Sequence[Alert], *, since: float, until: float, zone: str
) -> dict[str, Any]:
    """What chart.py needs.

    candles: [unix seconds, open, high, low, close, net taker flow], each of `length` seconds. orders: [unix seconds,
    price, USD, side]. scale: amounts whose bubbles are shown, with their words. ahead: the zone's seconds from UTC.
    """
    if bars[0].at - since > BAR_SECONDS:  # no empty days before the first trade
        since = bars[0].at
    length = next(step for step in LENGTHS if until - since <= MOST_CANDLES * step or step == LENGTHS[-1])
    where = zones.zone(zone)
    ahead = round((datetime.fromtimestamp(until, where).utcoffset() or timedelta()).total_seconds())
    candles = _merge(bars, length, ahead)
    moved = text.percent(bars[-1].close / bars[0].open - 1)
    sides = []
    for mark, side in (("▲", "buy"), ("▼", "sell")):
        amounts = [order.usd for order in orders if order.side == side]
        if amounts:
            sides.append(f"{mark} {text.count(len(amounts), side)} {text.usd(sum(amounts))}")
    net = sum(bar.buy_usd - bar.sell_usd for bar in bars)
    ends = candles[-1][0] + length
    return {
        "symbol": symbol,
        "decimals": text.price_decimals(bars[-1].close),
        "moved": f"{moved} in {text.span(until - since)}",
        "orders_text": f"whale orders: {'  '.join(sides)} USD" if orders else "no whale orders",
        "flow_text": f"net taker flow {text.signed_usd(net)} USD, each bar {text.duration(length)}",
        "candles": candles,
        "length": length,
        "orders": [[order.at, order.price, order.usd, order.side] for order in orders],
        "scale": [[usd, text.usd(usd)] for usd in _scale([order.usd for order in orders])],
        "since": min(candles[0][0], ends - FEWEST_CANDLES * length),
        "until": ends,
        "ahead": ahead,
        "zone": text.offset_at(until, where),
    }


def _merge(bars: Sequence[Bar], length: int, ahead: int) -> list[list[float]]:
    """Candles that begin at full hours of the chat's zone, which is `ahead` seconds from UTC."""
    candles: list[list[float]] = []
    for bar in bars:
        at, net = (bar.at + ahead) // length * length - ahead, bar.buy_usd - bar.sell_usd
        if not candles or candles[-1][0] != at:
            candles.append([at, bar.open, bar.high, bar.low, bar.close, net])
            continue
        _, opened, high, low, _, flow = candles[-1]
        candles[-1] = [at, opened, max(high, bar.high), min(low, bar.low), bar.close, flow + net]
    return candles


def _scale(amounts: Sequence[float]) -> list[float]:
    """Up to three round amounts from the smallest order to the largest, the largest first."""
    if not amounts:
        return []
    steps = [digit * 10.0**power for power in range(12, 1, -1) for digit in (5, 2, 1)]
    smallest, largest = max(min(amounts), max(amounts) / MOST_BIGGER), max(amounts)
    fitting = [step for step in steps if smallest <= step <= largest] or [largest]
    return list(dict.fromkeys((fitting[0], fitting[len(fitting) // 2], fitting[-1])))
