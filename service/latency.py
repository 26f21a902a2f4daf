"""How long messages took from being kept to being sent: figures since the start, in memory only."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds; the last bucket has no upper bound
LATEST = 1000  # messages that the percentiles are of


@dataclass(frozen=True, kw_only=True)
class Spread:
    """counts: messages in each bucket, one more than BOUNDS. p50, p95, longest: of the latest messages, seconds."""

    counts: tuple[int, ...]
    total: float
    latest: int
    p50: float | None
    p95: float | None
    longest: float | None


class Latency:
    """Takes one figure in seconds for each message sent. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0
        self._latest: deque[float] = deque(maxlen=LATEST)

    def add(self, seconds: float) -> None:
        """A clock that went back while the message waited makes no negative time of it."""
        seconds = max(0.0, seconds)
        with self._lock:
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._total += seconds
            self._latest.append(seconds)

    def spread(self) -> Spread:
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
    """By the nearest rank: a figure that was measured, not one in between."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None
