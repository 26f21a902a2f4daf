"""The files that go with messages, made at the moment of sending: the store keeps only what was asked for."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from base import logs, text
from base.secrets import redact
from base.shell import pip_command
from base.worker import heartbeat
from botapi.sending import Attachment, AttachmentError, Maker
from store import Store
from store.rows import Alert
from venues.trades import BAR_SECONDS, Bar

CHART = Path(__file__).with_name("chart.py").resolve()
TIMEOUT = 60.0  # seconds for one picture; the first one on a machine builds a font cache
_DRAWING = threading.Lock()  # matplotlib takes 100 MB: on a small server one picture at a time
_PASSED_ON = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE", "LD_LIBRARY_PATH")


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
        cache = folder / "matplotlib"
        try:
            png = draw(symbol, bars, orders, since=since, until=until, zone=str(wish["zone"]), cache=cache)
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

    return {"chart": make_chart, "log": cut_log}


def draw(
    symbol: str,
    bars: Sequence[Bar],
    orders: Sequence[Alert],
    *,
    since: float,
    until: float,
    zone: str,
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
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"MPLCONFIGDIR": str(cache), "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
    since = max(since, bars[0].at)  # no empty days before the bot's first trade
    question = json.dumps(_data(symbol, bars, orders, since=since, until=until, zone=zone)).encode()
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


def _data(
    symbol: str, bars: Sequence[Bar], orders: Sequence[Alert], *, since: float, until: float, zone: str
) -> dict[str, Any]:
    """What chart.py needs. bars: [unix seconds, close, net taker flow]; orders: [unix seconds, price, USD, side]."""
    moved = text.percent(bars[-1].close / bars[0].open - 1)
    sides = []
    for mark, side in (("▲", "buy"), ("▼", "sell")):
        amounts = [order.usd for order in orders if order.side == side]
        sides.append(f"{mark} {text.count(len(amounts), side)} {text.usd(sum(amounts))}")
    net = sum(bar.buy_usd - bar.sell_usd for bar in bars)
    return {
        "title": f"{symbol}  {text.price(bars[-1].close)}",
        "moved": f"{moved} in {text.duration(until - since)}",
        "orders_text": f"whale orders: {'   '.join(sides)} USD" if orders else "no whale orders",
        "flow_text": f"net taker flow {text.signed_usd(net)} USD",
        "bars": [[bar.at, bar.close, bar.buy_usd - bar.sell_usd] for bar in bars],
        "bar_seconds": BAR_SECONDS,
        "first": bars[0].open,
        "orders": [[order.at, order.price, order.usd, order.side] for order in orders],
        "since": since,
        "until": until,
        "zone": zone,
    }
