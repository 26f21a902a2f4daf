"""Funding of perpetual contracts: which changes of a rate make an alert. Pure: no clock, network or store.

Venues quote a rate for an interval of their own (OKX v5 docs, "Get funding rate": 1 to 8 hours; Hyperliquid docs,
"Funding": every hour); all rates are compared as rates for 8 hours. An alert is due when a rate crosses the mark, up
or down, and again only after it was back within 80 % of the mark.
A contract makes at most one alert in a funding interval; a crossing that lasts into the next one is an alert then.
What was already true at the first look is not a crossing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from venues.perpetuals import Rate

REARM = 0.8  # share of the mark below which an alert is armed again
FLIPPED = 0.1  # share of the mark that a rate must reach on the other side: near zero a sign says nothing


@dataclass(frozen=True)
class Change:
    """What an alert is about. kind: `above` the mark, `below` its negative, or `flip` (the sign changed)."""

    kind: str
    rate: Rate

    @property
    def key(self) -> str:
        """Its identity: the same after a restart."""
        return f"{self.rate.venue}:{self.rate.contract}:{self.rate.interval}"


@dataclass
class _Contract:
    """One contract. side: 1 above the mark, -1 below its negative, 0 between, at the last alert or the first look."""

    side: int
    sign: int
    told_in: int = 0  # the funding interval of the last alert, as `Rate.interval`


class Crossings:
    """Watches rates against a mark, a fraction for 8 hours. flips: changes of the sign are alerts as well."""

    def __init__(self, mark: float, *, flips: bool = False) -> None:
        self._mark = mark
        self._flips = flips
        self._contracts: dict[str, _Contract] = {}

    def feed(self, rates: Iterable[Rate]) -> list[Change]:
        """Look at the newest rates; return the alerts that are due. Contracts without a rate stay as they are."""
        return [change for rate in rates if (change := self._check(rate)) is not None]

    def _check(self, rate: Rate) -> Change | None:
        value, name = rate.eight_hours, f"{rate.venue}:{rate.contract}"
        side = (value >= self._mark) - (value <= -self._mark)
        sign = (value >= self._mark * FLIPPED) - (value <= -self._mark * FLIPPED)
        known = self._contracts.get(name)
        if known is None:
            self._contracts[name] = _Contract(side, sign)
            return None
        if known.side and value * known.side < self._mark * REARM:
            known.side = 0
        if rate.interval == known.told_in:
            return None
        if side and side != known.side:
            known.side, known.sign, known.told_in = side, sign, rate.interval
            return Change("above" if side > 0 else "below", rate)
        if sign and sign != known.sign:
            before, known.sign = known.sign, sign
            if before and self._flips:
                known.told_in = rate.interval
                return Change("flip", rate)
        return None

    # For a restart

    def dump(self) -> dict[str, Any]:
        """All that is known, as JSON values; `load` continues from there."""
        return {name: asdict(known) for name, known in self._contracts.items()}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Call before the first `feed`. Raises TypeError for what `dump` did not make."""
        self._contracts = {name: _Contract(**known) for name, known in dumped.items()}
