"""Funding of perpetual contracts: made comparable, and which changes are told. Pure: no clock, network or store.

Venues charge every 1 to 8 hours and state the rate for that interval. Rates are compared for 8 hours. Told is a
rate that crosses the mark, up or down; the mark is armed again once the rate is back within 80 % of it. At most one
thing is told of a coin on a venue in one funding interval: what is still so in the next one is told then. What was so
at first sight is no crossing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from venues.perpetuals import Rate

REARM = 0.8  # share of the mark within which it is armed again
FLIPPED = 0.1  # share of the mark that a rate must reach on the other side: around zero a sign says nothing


@dataclass(frozen=True)
class Change:
    """Something to tell. kind: `above`, `below` (the mark, or its negative) or `flip` (the sign changed)."""

    kind: str
    rate: Rate

    @property
    def key(self) -> str:
        """Its identity: the same after a restart."""
        return f"{self.rate.venue}:{self.rate.contract}:{self.rate.interval}"


@dataclass
class _Watched:
    """One contract. side: on which side of the marks it was last told or first seen, 0 for between them."""

    side: int
    sign: int
    told_in: int = 0  # the funding interval in which something was told


class Crossings:
    """Watches rates against a mark, a fraction for 8 hours. flips: tell changes of the sign as well."""

    def __init__(self, mark: float, *, flips: bool = False) -> None:
        self._mark = mark
        self._flips = flips
        self._watched: dict[str, _Watched] = {}

    def feed(self, rates: Iterable[Rate]) -> list[Change]:
        """Look at the newest rates; return what is to be told of them. Contracts without a rate stay as they are."""
        found = [self._look(rate) for rate in rates]
        return [change for change in found if change is not None]

    def _look(self, rate: Rate) -> Change | None:
        value, name = rate.eight_hours, f"{rate.venue}:{rate.contract}"
        side = (value >= self._mark) - (value <= -self._mark)
        sign = (value >= self._mark * FLIPPED) - (value <= -self._mark * FLIPPED)
        known = self._watched.get(name)
        if known is None:
            self._watched[name] = _Watched(side, sign)
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
        """All that is known, as JSON has it; `load` goes on from there."""
        return {name: asdict(known) for name, known in self._watched.items()}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Before the first `feed`. Raises TypeError for what `dump` did not make."""
        self._watched = {name: _Watched(**known) for name, known in dumped.items()}
