"""The state in Prometheus' text format. The only door to `prometheus_client`, which is optional.

Figures are made when they are scraped, from what the bot keeps anyway.
Source of the format and the naming rules: prometheus.io, "Exposition formats" and "Metric and label naming".
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from botapi.polling_state import PollingState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MISSING = (
    "Metrics need the package prometheus_client, which is not installed. On the bot's machine, with the pip of the "
    "bot's own Python: pip install prometheus_client. No restart is needed."
)
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


def exposition(view: Mapping[str, Any]) -> bytes:
    """The metrics of a state's view (`State.view`). Raises MetricsMissing."""
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    except ImportError:
        raise MetricsMissing(MISSING) from None
    # A registry of its own for each scrape: nothing is left over from the one before.
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Collector(view))
    return generate_latest(registry)


class _Collector:
    """Makes the families of metrics of one view. Each scrape has its own."""

    def __init__(self, view: Mapping[str, Any]) -> None:
        self._view = view

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client import core

        view, conflict = self._view, self._view["conflict"]
        about = {name: str(view[name]) for name in ("version", "bot_id", "username") if name in view}
        yield core.InfoMetricFamily("cryptosat", "The bot and its version", value=about)
        for name, words, value in _gauges(view):
            if value is not None:
                yield core.GaugeMetricFamily(f"cryptosat_{name}", words, value=value)
        yield core.CounterMetricFamily("cryptosat_conflicts", "Conflicts since start", value=conflict["begun"])
        yield core.CounterMetricFamily(
            "cryptosat_conflict_answers", "Errors 409 since start", value=conflict["answers"]
        )
        yield self._delivery(core)
        for kind, name, words, labels, rows in _labelled(view):
            make = core.CounterMetricFamily if kind == "counter" else core.GaugeMetricFamily
            family = make(f"cryptosat_{name}", words, labels=labels)
            for values, number in rows:
                family.add_metric(values, number)
            yield family

    def _delivery(self, core: Any) -> Any:
        latency = self._view["latency"]
        bounds = [f"{bound:g}" for bound in latency["bounds"]] + ["+Inf"]
        return core.HistogramMetricFamily(
            "cryptosat_delivery_seconds",
            "Time from storing a message to Telegram accepting it",
            buckets=list(zip(bounds, accumulate(latency["counts"]), strict=True)),
            sum_value=latency["total"],
        )


def _gauges(view: Mapping[str, Any]) -> tuple[tuple[str, str, float | None], ...]:
    """Name, words and value of each gauge without labels; None is not shown."""
    queue, conflict = view.get("queue", {}), view["conflict"]
    alerts = sum(count for _, count in view["alerts_by_hour"])
    good = view["polling"]["last_good_at"]
    return (
        ("start_time_seconds", "When the bot was started, unix time", view["started_at"]),
        ("healthy", "1 when /healthz answers 200", float(view["healthy"])),
        ("last_poll_time_seconds", "When Telegram last answered getUpdates without an error, unix time", good),
        ("conflict", "1 while another copy of the bot polls", float(conflict["since"] is not None)),
        ("alerts_paused", "1 while alerts are paused (ON_CONFLICT=pause)", float(view["alerts_paused"])),
        ("queue_messages", "Messages waiting to be sent", queue.get("pending")),
        ("sent_24h_messages", "Messages sent in 24 h", queue.get("sent_24h")),
        ("buried_24h_messages", "Messages that could not be delivered in 24 h", queue.get("buried_24h")),
        ("alerts_24h", "Alerts in the last 24 clock hours, this one included", alerts),
        ("stuck_threads", "Threads that are stuck", len(view["stuck"])),
    )


_Rows = list[tuple[list[str], float]]  # values of the labels, number


def _labelled(view: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[str], _Rows]]:
    """Kind, name, words, labels and rows of each metric with labels."""
    state = view["polling"]["state"]
    polling: _Rows = [([one.value], float(one == state)) for one in PollingState]
    yield "gauge", "polling_state", "1 for the current state of polling", ["state"], polling
    threads: _Rows = [([thread["name"]], thread["age"]) for thread in view.get("threads", ())]
    words = "Seconds since a thread's last activity, rests included"
    yield "gauge", "thread_quiet_seconds", words, ["thread"], threads
    labels = ["source", "venue"]
    sources = [([row["source"], row["venue"]], row) for row in view.get("sources", ())]
    states: _Rows = [
        ([*name, state], float(state == row["state"])) for name, row in sources for state in _SOURCE_STATES
    ]
    yield "gauge", "source_state", "1 for the current state of a source", [*labels, "state"], states
    lag: _Rows = [(name, row["lag"]) for name, row in sources if row["state"] == "ok"]
    yield "gauge", "source_lag_seconds", "Seconds since the slowest coin of a source was checked", labels, lag
    coins: _Rows = [(name, len(row["symbols"])) for name, row in sources]
    yield "gauge", "source_coins", "Coins read from a source", labels, coins
    missed: _Rows = [(name, row["missed"]) for name, row in sources]
    yield "counter", "source_missed_trades", "Trades missed, found by gaps in their ids", labels, missed
    skipped: _Rows = [(name, row["skipped"]) for name, row in sources]
    yield "counter", "source_skipped_rows", "Rows that could not be read", labels, skipped
