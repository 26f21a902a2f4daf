"""Delivery times, and the state in Prometheus' text format. The only door to `prometheus_client`, which is optional.

Source of the format and the naming rules: prometheus.io, "Exposition formats" and "Metric and label naming".
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from botapi.polling_state import PollingState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SOURCE_STATES = ("ok", "resting", "blocked", "off", "unused")
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds; the last bucket has no upper bound
LATEST = 1000  # messages: the percentiles are of so many, the latest ones


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How long messages took from being stored to being sent, in seconds.

    counts: messages in each bucket, one more than BOUNDS. total: of all messages since the start. latest: how many
    messages p50, p95 and longest are of; these are None when there is none.
    """

    counts: tuple[int, ...]
    total: float
    latest: int
    p50: float | None
    p95: float | None
    longest: float | None


class Latency:
    """Delivery times since the start, in memory only. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0
        self._latest: deque[float] = deque(maxlen=LATEST)

    def add(self, seconds: float) -> None:
        """Count a message that was sent so many seconds after it was stored."""
        seconds = max(0.0, seconds)  # a clock that was put back meanwhile makes it negative
        with self._lock:
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._total += seconds
            self._latest.append(seconds)

    def spread(self) -> Spread:
        """The figures so far."""
        with self._lock:
            counts, total, latest = tuple(self._counts), self._total, sorted(self._latest)
        return Spread(
            counts=counts,
            total=total,
            latest=len(latest),
            p50=_percentile(latest, 50),
            p95=_percentile(latest, 95),
            longest=latest[-1] if latest else None,
        )


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """By the nearest rank: a figure that was measured, never one in between. None of nothing."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None


class MetricsMissing(Exception):
    """prometheus_client is not installed. str() says what to do."""


@dataclass(frozen=True, eq=False)
class _View:
    """A state's view as a collector of metrics, for one scrape."""

    view: Mapping[str, Any]

    def collect(self) -> Iterator[Any]:
        from prometheus_client import core

        view, latency = self.view, self.view["latency"]
        about = {name: str(view[name]) for name in ("version", "bot_id", "username") if name in view}
        yield core.InfoMetricFamily("cryptosat", "The bot and its version", value=about)
        for kind, name, words, labels, rows in _metrics(view):
            make = core.CounterMetricFamily if kind == "counter" else core.GaugeMetricFamily
            family = make(f"cryptosat_{name}", words, labels=labels)
            for values, number in rows:
                family.add_metric(values, number)
            if rows:
                yield family
        bounds = [f"{bound:g}" for bound in latency["bounds"]] + ["+Inf"]
        yield core.HistogramMetricFamily(
            "cryptosat_delivery_seconds",
            "Time from storing a message to Telegram accepting it",
            buckets=list(zip(bounds, accumulate(latency["counts"]), strict=True)),
            sum_value=latency["total"],
        )


def exposition(view: Mapping[str, Any]) -> bytes:
    """The metrics of a state's view (`State.view`). Raises MetricsMissing."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    except ImportError:
        raise MetricsMissing(
            "Metrics need the package prometheus_client, which is not installed. On the bot's machine, with the pip "
            "of the bot's own Python: pip install prometheus_client. No restart is needed."
        ) from None
    # A registry of its own for each scrape: nothing is left over from the one before.
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_View(view))
    return generate_latest(registry)


_Rows = list[tuple[list[str], float]]  # values of the labels, number


def _metrics(view: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[str], _Rows]]:
    """Kind, name, words, labels and rows of each metric; without a row it is not shown."""

    def single(name: str, words: str, value: float | None, kind: str = "gauge") -> Any:
        return kind, name, words, [], [] if value is None else [([], float(value))]

    queue, conflict, polling = view.get("queue", {}), view["conflict"], view["polling"]
    alerts = sum(count for _, count in view["alerts_by_hour"])
    good = polling["last_good_at"]
    yield single("start_time_seconds", "When the bot was started, unix time", view["started_at"])
    yield single("healthy", "1 when /healthz answers 200", view["healthy"])
    yield single("last_poll_time_seconds", "When Telegram last answered getUpdates without an error, unix time", good)
    yield single("conflict", "1 while another copy of the bot polls", conflict["since"] is not None)
    yield single("conflicts", "Conflicts since start", conflict["begun"], "counter")
    yield single("conflict_answers", "Errors 409 since start", conflict["answers"], "counter")
    yield single("alerts_paused", "1 while this copy waits and sends no alerts", view["alerts_paused"])
    yield single("queue_messages", "Messages waiting to be sent", queue.get("pending"))
    yield single("sent_24h_messages", "Messages sent in 24 h", queue.get("sent_24h"))
    yield single("buried_24h_messages", "Messages that could not be delivered in 24 h", queue.get("buried_24h"))
    yield single("alerts_24h", "Alerts in the last 24 clock hours, this one included", alerts)
    yield single("stuck_threads", "Threads that are stuck", len(view["stuck"]))
    states: _Rows = [([one.value], float(one == polling["state"])) for one in PollingState]
    yield "gauge", "polling_state", "1 for the current state of polling", ["state"], states
    threads: _Rows = [([thread["name"]], thread["age"]) for thread in view.get("threads", ())]
    words = "Seconds since a thread's last activity, rests included"
    yield "gauge", "thread_quiet_seconds", words, ["thread"], threads

    sources, labels = view.get("sources", ()), ["source", "venue"]
    state: _Rows = [
        ([row["source"], row["venue"], one], float(one == row["state"])) for row in sources for one in _SOURCE_STATES
    ]
    yield "gauge", "source_state", "1 for the current state of a source", [*labels, "state"], state

    def of(figure: Callable[[Mapping[str, Any]], float | None]) -> _Rows:
        found = (([row["source"], row["venue"]], figure(row)) for row in sources)
        return [(names, value) for names, value in found if value is not None]

    lag = of(lambda row: row["lag"] if row["state"] == "ok" else None)
    yield "gauge", "source_lag_seconds", "Seconds since the slowest coin of a source was checked", labels, lag
    words = "Seconds since the last trade of the coin of a source that was traded longest ago"
    yield "gauge", "source_silent_seconds", words, labels, of(lambda row: row["silent"] if row["quietest"] else None)
    coins = of(lambda row: len(row["symbols"]))
    yield "gauge", "source_coins", "Coins read from a source", labels, coins
    missed = of(lambda row: row["missed"])
    yield "counter", "source_missed_trades", "Trades missed, found by gaps in their ids", labels, missed
    skipped = of(lambda row: row["skipped"])
    yield "counter", "source_skipped_rows", "Rows that could not be read", labels, skipped
