"""Waves of liquidations, positions closed by force. Pure functions of events: no clock, network or store.

A wave is liquidations of one coin and one side that together reach an amount within five minutes, by the venues' own
times. The rule for a coin and a side:

- The window holds what happened in the five minutes up to the newest event, in whatever order it arrives. An older
  event counts for no sum.
- A wave begins when the window reaches the amount and no single event is most of it (that one has its own alert).
- Every later event belongs to the wave. There is an alert when it begins and each time it has doubled.
- It is over when an event comes and the window before it had fallen below half of the amount.

So alerts depend on the sequence of events alone, not on how it was cut into pages and ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from venues.perpetuals import Liquidation

WINDOW_MS = 300_000
REARM = 0.5  # share of the amount below which the window ends a wave
MOST = 0.8  # share of the sum: one event above it makes no wave
GROWN = 2.0  # times the sum at the last alert


@dataclass(kw_only=True)
class Wave:
    """A wave so far. step: 1 when it began, 2 when it had doubled, and so on.

    usd: US dollars in total. before: those when it began or doubled last, 0 the first time. venues: each with its US
    dollars.
    """

    symbol: str
    side: str
    step: int = 0
    usd: float = 0.0
    before: float = 0.0
    events: int = 0
    first_ms: int = 0
    last_ms: int = 0
    low: float = 0.0
    high: float = 0.0
    biggest: float = 0.0
    venues: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its identity: the same after a restart and for any paging."""
        return f"{self.symbol}:{self.side}:{self.first_ms}:{self.last_ms}:{self.step}"

    def add(self, event: Liquidation) -> None:
        known = self.events > 0
        self.usd += event.usd
        self.events += 1
        self.first_ms = min(self.first_ms, event.at_ms) if known else event.at_ms
        self.last_ms = max(self.last_ms, event.at_ms)
        self.low = min(self.low, event.price) if known else event.price
        self.high = max(self.high, event.price)
        self.biggest = max(self.biggest, event.usd)
        self.venues[event.venue] = self.venues.get(event.venue, 0.0) + event.usd


@dataclass
class _Side:
    """What one coin and side did in the last five minutes, and its wave if one is on.

    alerted_usd: US dollars of the wave when it began or doubled last.
    """

    window: list[Liquidation] = field(default_factory=list)
    wave: Wave | None = None
    alerted_usd: float = 0.0


class Waves:
    """Watches the sums of all coins. `amount`: US dollars from which a sum of this coin is a wave."""

    def __init__(self, amount: Callable[[str], float]) -> None:
        self._amount = amount
        self._sides: dict[tuple[str, str], _Side] = {}

    def feed(self, events: Iterable[Liquidation]) -> list[Wave]:
        """Count events; return the waves that began or doubled with one of them, as they were then."""
        return [wave for event in events if (wave := self._count(event)) is not None]

    def _count(self, event: Liquidation) -> Wave | None:
        side = self._sides.setdefault((event.symbol, event.side), _Side())
        amount = self._amount(event.symbol)
        begins = max(known.at_ms for known in [*side.window, event]) - WINDOW_MS
        if event.at_ms <= begins:
            return None
        side.window = [before for before in side.window if before.at_ms > begins]
        if side.wave is not None and sum(before.usd for before in side.window) < amount * REARM:
            side.wave, side.alerted_usd = None, 0.0
        side.window.append(event)
        if side.wave is not None:
            side.wave.add(event)
            wave, enough = side.wave, side.alerted_usd * GROWN
        else:
            wave, enough = Wave(symbol=event.symbol, side=event.side), amount
            for counted in side.window:
                wave.add(counted)
        if wave.usd < enough or wave.biggest > MOST * wave.usd:
            return None
        wave.before, side.alerted_usd = side.alerted_usd, wave.usd
        wave.step += 1
        side.wave = wave
        return replace(wave, venues=dict(wave.venues))

    # For a restart

    def dump(self) -> dict[str, Any]:
        """All that is known, as JSON values; `load` continues from there."""
        return {f"{symbol}:{name}": asdict(side) for (symbol, name), side in self._sides.items()}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Call before the first `feed`. Raises KeyError or TypeError for what `dump` did not make."""
        for key, known in dumped.items():
            symbol, _, name = key.rpartition(":")
            window, wave = [Liquidation(*event) for event in known["window"]], known["wave"]
            self._sides[symbol, name] = _Side(window, None if wave is None else Wave(**wave), known["alerted_usd"])
