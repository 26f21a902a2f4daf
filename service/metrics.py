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
    def __init__(self, view: Mapping[str, Any]) -> None:
        self._view = view

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        def gauge(name: str, words: str, value: float | None) -> Iterator[Any]:
            if value is not None:
                yield GaugeMetricFamily(f"cryptosat_{name}", words, value=value)

        view, polling, conflict = self._view, self._view["polling"], self._view["conflict"]
        queue = view.get("queue", {})
        about = {name: str(view[name]) for name in ("version", "bot_id", "username") if name in view}
        yield InfoMetricFamily("cryptosat", "The bot and its version", value=about)
        yield from gauge("start_time_seconds", "When the bot was started, unix time", view["started_at"])
        yield from gauge("healthy", "1 when /healthz answers 200", float(view["healthy"]))
        states = GaugeMetricFamily("cryptosat_polling_state", "1 for the current state of polling", labels=["state"])
        for state in PollingState:
            states.add_metric([state.value], float(state == polling["state"]))
        yield states
        good = polling["last_good_at"]
        yield from gauge(
            "last_poll_time_seconds", "When Telegram last answered getUpdates without an error, unix time", good
        )
        yield from gauge("conflict", "1 while another copy of the bot polls", float(conflict["since"] is not None))
        paused = float(view["alerts_paused"])
        yield from gauge("alerts_paused", "1 while alerts are paused (ON_CONFLICT=pause)", paused)
        for name, words, value in (
            ("conflicts", "Conflicts since start", conflict["begun"]),
            ("conflict_answers", "Errors 409 since start", conflict["answers"]),
        ):
            yield CounterMetricFamily(f"cryptosat_{name}", words, value=value)
        yield from gauge("queue_messages", "Messages waiting to be sent", queue.get("pending"))
        yield from gauge("sent_24h_messages", "Messages sent in 24 h", queue.get("sent_24h"))
        yield from gauge(
            "buried_24h_messages", "Messages that could not be delivered in 24 h", queue.get("buried_24h")
        )
        yield self._delivery()
        alerts = sum(count for _, count in view["alerts_by_hour"])
        yield from gauge("alerts_24h", "Alerts in the last 24 clock hours, this one included", alerts)
        yield from self._sources()
        threads = GaugeMetricFamily(
            "cryptosat_thread_quiet_seconds",
            "Seconds since a thread's last activity, rests included",
            labels=["thread"],
        )
        for thread in view.get("threads", ()):
            threads.add_metric([thread["name"]], thread["age"])
        yield threads
        yield from gauge("stuck_threads", "Threads that are stuck", len(view["stuck"]))

    def _delivery(self) -> Any:
        from prometheus_client.core import HistogramMetricFamily

        latency = self._view["latency"]
        bounds = [f"{bound:g}" for bound in latency["bounds"]] + ["+Inf"]
        return HistogramMetricFamily(
            "cryptosat_delivery_seconds",
            "Time from storing a message to Telegram accepting it",
            buckets=list(zip(bounds, accumulate(latency["counts"]), strict=True)),
            sum_value=latency["total"],
        )

    def _sources(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        sources = self._view.get("sources", ())
        labels = ["source", "venue"]
        states = GaugeMetricFamily(
            "cryptosat_source_state", "1 for the current state of a source", labels=[*labels, "state"]
        )
        lag = GaugeMetricFamily(
            "cryptosat_source_lag_seconds", "Seconds since the slowest coin of a source was checked", labels=labels
        )
        coins = GaugeMetricFamily("cryptosat_source_coins", "Coins read from a source", labels=labels)
        missed = CounterMetricFamily(
            "cryptosat_source_missed_trades", "Trades missed, found by gaps in their ids", labels=labels
        )
        skipped = CounterMetricFamily("cryptosat_source_skipped_rows", "Rows that could not be read", labels=labels)
        for row in sources:
            name = [row["source"], row["venue"]]
            for state in _SOURCE_STATES:
                states.add_metric([*name, state], float(state == row["state"]))
            if row["state"] == "ok":
                lag.add_metric(name, row["lag"])
            coins.add_metric(name, len(row["symbols"]))
            missed.add_metric(name, row["missed"])
            skipped.add_metric(name, row["skipped"])
        yield from (states, lag, coins, missed, skipped)
