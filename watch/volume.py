"""Volume alerts of /alert: when is the volume of a coin so many times the usual one?

The last hour, by its five-minute bars (the one that is not over counts with what it has), against the median of the
same hour on up to seven days before (store/volume.py). A median, so that one wild day does not hide the next one.
Told once; it ends when the volume is nearer to the usual one than to the mark. `judge` is pure. The state is stored
in one transaction with the alert, so a kill at any instant tells it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from alerts.publish import publish
from base import text
from store import Store
from store.levels import Level
from store.rows import Alert
from store.volume import Volume
from venues.spot import SpotVenue

LOOK_EVERY = 10.0  # seconds


def judge(level: Level, times: float, *, at_ms: int) -> tuple[Level, bool]:
    """What a volume of so many times the usual one makes of a level that waits; and whether it is to be told."""
    if level.state == "done" or at_ms < level.since_ms or 0 < level.expires * 1000 <= at_ms:
        return level, False
    if level.state == "busy":
        over = times < ends_below(level.size)
        return (replace(level, state="calm", since_ms=at_ms) if over else level), False
    if times < level.size:
        return level, False
    since_ms = at_ms + int(level.cooldown * 1000)
    return replace(level, state="busy" if level.repeat else "done", since_ms=since_ms, touched_ms=at_ms), True


def ends_below(times: float) -> float:
    """How many times the usual volume ends what began at `times`."""
    return (1 + times) / 2


class Volumes:
    """Looks at the volume of the coins that have such alerts. For one thread."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store, self._now = store, now
        self._looked_at = 0.0

    def look(self, serving: Mapping[str, SpotVenue]) -> bool:
        """Judge the coins that were read, by the exchange they come from; True if there was news.

        Raises StoreError.
        """
        now = self._now()
        if 0 <= now - self._looked_at < LOOK_EVERY:
            return False
        self._looked_at = now
        return any([self._look(symbol, venue, now) for symbol, venue in serving.items()])

    def _look(self, symbol: str, venue: SpotVenue, now: float) -> bool:
        least, most = self._store.levels.volume_marks(symbol, now=now)
        volume = self._store.volume(symbol, now=now) if least or most else None
        if volume is None:
            return False
        if not (0 < least <= volume.times or (most and volume.times < ends_below(most))):
            return False
        told = False
        with self._store.transaction():
            for level in self._store.levels.volumes(symbol):
                after, is_news = judge(level, volume.times, at_ms=int(now * 1000))
                if after != level and self._store.levels.move(level, after) and is_news:
                    alert = _alert(level, volume, venue, at_ms=int(now * 1000))
                    told |= publish(self._store, alert, now=now, default_min=0.0, only=level.chat_id)
        return told


def _alert(level: Level, volume: Volume, venue: SpotVenue, *, at_ms: int) -> Alert:
    words = f"{level.symbol} volume {volume.times:.1f} times the usual: {text.usd(volume.usd)} USD in an hour"
    facts = [
        f"usual {text.usd(volume.usual)}, the median of this hour on {volume.days} days",
        f"takers bought {volume.bought:.0%}",
        f"price {text.percent(volume.close / volume.open - 1)}",
    ]
    return Alert(
        key=level.alert_key("volume", at_ms),
        monitor="prices",
        symbol=level.symbol,
        headline=f"{words}: {level.note}" if level.note else words,
        facts=" · ".join(facts),
        at_ms=at_ms,
        venue=venue.venue,
        url=venue.url(level.symbol),
        price=volume.close,
        topic=level.topic,
    )
