"""How much of a coin is traded in an hour, and how much usually is, by its five-minute bars."""

from __future__ import annotations

from typing import NamedTuple

from store.database import Database
from store.markets import Markets
from venues.trades import BAR_SECONDS

HOUR, DAY = 3600, 86400
LEAST_BARS, LEAST_DAYS = 6, 3  # of an hour, of the week: with less it is not known what is usual
_DAYS = " UNION ALL ".join(  # each a search of the bars' own index
    f"SELECT sum(buy_usd + sell_usd) AS usd, count(*) AS bars FROM bars WHERE symbol = :symbol "
    f"AND at > :newest - {day * DAY + HOUR} AND at <= :newest - {day * DAY}"
    for day in range(1, 8)
)


class Volume(NamedTuple):
    """What was traded of a coin in the last hour, and usually in this hour of the day.

    usd, usual: US dollars. bought: the share of it that takers bought. open, close: the price then and now. days: of
    how many days the usual one is the median.
    """

    usd: float
    usual: float
    bought: float
    open: float
    close: float
    days: int

    @property
    def times(self) -> float:
        """How many times the usual one it is."""
        return self.usd / self.usual


def read(db: Database, markets: Markets, symbol: str, *, now: float) -> Volume | None:
    """A coin's volume; None when it is not being read, or less than three days before are known.

    A bar that is flawed does not count now, because its trades may be in it twice.
    """
    row = db.row("SELECT max(at) AS at FROM bars WHERE symbol = ? AND at > ?", (symbol, now - 3 * BAR_SECONDS))
    if row is None or row["at"] is None:
        return None
    newest = int(row["at"])
    since, until = newest - HOUR + BAR_SECONDS, newest + BAR_SECONDS
    whole = markets.whole_bars(symbol, since=since, until=until)
    hour = [bar for bar in markets.bars(symbol, since=since) if bar.at in whole]
    days = db.rows(_DAYS, {"symbol": symbol, "newest": newest})
    known = sorted(float(row["usd"]) for row in days if row["bars"] >= LEAST_BARS)
    middle = len(known) // 2  # for a median, `statistics` would bring a quarter of a megabyte
    usual = (known[middle] + known[~middle]) / 2 if len(known) >= LEAST_DAYS else 0.0
    usd = sum(bar.buy_usd + bar.sell_usd for bar in hour)
    if not (usual and hour):
        return None
    bought = sum(bar.buy_usd for bar in hour) / usd if usd else 0.0
    return Volume(usd, usual, bought, hour[0].open, hour[-1].close, len(known))
