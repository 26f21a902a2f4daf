"""The size from which an order is a whale: fixed in the settings, or from each coin's 24-hour volume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from base.config import Settings
from store import Store
from store.readable import number_of
from store.rows import Chat
from venues.spot import SpotVenue
from venues.trades import SourceError
from watch.orders import automatic_threshold

log = logging.getLogger(__name__)

EVERY, RETRY = 86400.0, 600.0  # seconds until the volumes are read again, and after a failure
# US dollars, until the first volume is known.
FIRST = {"BTC": 1e6, "ETH": 5e5}
FIRST_OTHERS = 250e3


def smallest(store: Store, monitor: str, defaults: Mapping[str, float]) -> dict[str, float]:
    """US dollars for each coin: the smallest of the default and all chats' thresholds."""
    chats = store.chats.kinds()
    return {
        symbol: min([default, *(chat.threshold(monitor, symbol, default) for chat in chats)])
        for symbol, default in defaults.items()
    }


def marks(chats: Sequence[Chat], monitor: str, symbol: str, default: float) -> set[float]:
    """Every mark that a chat has for this coin, in percent, and the default."""
    return {default, *(chat.threshold(monitor, symbol, default) for chat in chats)}


class Thresholds:
    """Thresholds in US dollars. Volumes survive a restart as `volume:SYMBOL` and `volume:at`."""

    def __init__(self, settings: Settings, store: Store, symbols: Callable[[], Sequence[str]]) -> None:
        self._settings, self._store, self._symbols = settings, store, symbols
        self._volumes: dict[str, float] = {}
        self._read_at = 0.0
        self._tried_at = 0.0
        for symbol in self._automatic():
            stored = store.read_value(f"volume:{symbol}", number_of, 0.0)
            if stored:
                self._volumes[symbol] = stored
        self._read_at = store.read_value("volume:at", number_of, 0.0)

    def _automatic(self) -> list[str]:
        return [symbol for symbol in self._symbols() if self._settings.whale_min(symbol) is None]

    def default(self, symbol: str) -> float:
        """US dollars, for chats without a threshold of their own. Thread-safe."""
        fixed = self._settings.whale_min(symbol)
        if fixed is not None:
            return fixed
        volume = self._volumes.get(symbol)
        return FIRST.get(symbol, FIRST_OTHERS) if volume is None else automatic_threshold(volume)

    def refresh(self, source: SpotVenue, *, now: float) -> None:
        """Read the volumes when a day has passed or a coin is new. Never raises SourceError."""
        automatic = self._automatic()
        new = not self._volumes.keys() >= set(automatic)
        if not automatic or (abs(now - self._read_at) < EVERY and not new) or abs(now - self._tried_at) < RETRY:
            return
        self._tried_at = now
        try:
            volumes = source.volume_usd(automatic)
        except SourceError as error:
            log.info("Could not read 24-hour volumes; thresholds stay as they are: %s", error)
            return
        if volumes:
            with self._store.transaction():
                for symbol, volume in volumes.items():
                    self._store.set_value(f"volume:{symbol}", repr(volume))
                self._store.set_value("volume:at", repr(now))
            self._volumes = self._volumes | volumes
            self._read_at = now
