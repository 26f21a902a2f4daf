"""How often to look for trades: as often as a share of each exchange's limit allows. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from venues.spot import SpotVenue

FASTEST = 2.0  # seconds between two rounds, however few coins there are
BESIDES = 1.0  # requests of a round besides: candles, and an order that is read again


def interval(coins: Mapping[SpotVenue, int], slowness: Mapping[SpotVenue, float]) -> float:
    """Seconds from one round to the next. coins: how many are read from each venue. slowness: how many times as
    rarely one wants to be asked, 1 for as usual."""
    needed = (venue.request_seconds * (count + BESIDES) * slowness[venue] for venue, count in coins.items() if count)
    return max(FASTEST, max(needed, default=0.0))
