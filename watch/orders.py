"""From fills to whale orders: pure functions of trades, no clock, no network, no store.

A large market order reaches the tape as many fills. Fills are added up first and compared with the threshold
afterwards. The tape does not say which fills belong together: what is added up is often one market order, sometimes
several of the same side and moment. The rule, for one coin at one venue, by the venue's own times only:

- A fill of at least `threshold / 1000` US dollars matters. Only a fill that matters opens a cluster for its side.
- The cluster's window ends GAP_MS after its last fill that matters, and at most SPAN_MS after its first.
- Every fill of the same side inside the window is counted. One that matters also extends the window; a smaller one
  does not, so a flow of small fills alone never makes an alert, however dense it is.
- Fills of the other side neither count nor end anything: each side has its own cluster.
- Any later fill outside the window closes the cluster. On a quiet feed `head_reached` does.

So orders depend on the sequence of trades alone, not on how it was cut into pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from venues.trades import Trade

MATTERS = 1 / 1000  # share of the threshold: a fill of this size opens or extends a cluster
GAP_MS, SPAN_MS = 100, 1000  # see above
SETTLE_MS = 1000  # how far the venue's clock must be past the last fill at the head of a feed
SHARE_OF_DAY = 0.0005
LEAST, MOST = 100_000.0, 5_000_000.0  # US dollars


def automatic_threshold(volume_usd: float) -> float:
    """US dollars from which an order is a whale: 0.05 % of 24 hours' volume, 100 k to 5 M."""
    return min(max(SHARE_OF_DAY * volume_usd, LEAST), MOST)


@dataclass(slots=True, kw_only=True)
class Order:
    """Fills of one taker side that belong together: a cluster while it is open, an order when it is closed.

    quantity: coins. notional: US dollars, price x quantity. close_at: when its window ends, unix ms. settled: one
    read up to the newest trade added nothing to it.
    """

    first: Trade
    last: Trade
    fills: int = 1
    quantity: float
    notional: float
    low: float
    high: float
    close_at: int
    settled: bool = False

    @property
    def vwap(self) -> float:
        return self.notional / self.quantity

    @property
    def key(self) -> str:
        """The order's identity: the same after a restart and for any paging."""
        return f"{self.first.venue}:{self.first.symbol}:{self.first.trade_id}"


class Clusterer:
    """Puts the fills of one coin at one venue together. Feed them in the venue's order, each once."""

    def __init__(self, *, threshold: float) -> None:
        self.threshold = threshold  # US dollars; a change applies to the trades fed after it
        self._open: dict[str, Order] = {}
        self._next_id = 0
        self._from: dict[str, int] = {}

    @property
    def pending_usd(self) -> float:
        """US dollars of the largest cluster still open, 0 when none is."""
        return max((cluster.notional for cluster in self._open.values()), default=0.0)

    def feed(self, trades: Sequence[Trade]) -> list[Order]:
        """Count trades; return the orders of at least the threshold that they closed, oldest first."""
        if not trades:
            return []
        if self._from:
            trades = self._not_counted_before(trades)
        matters = self.threshold * MATTERS
        gap, span, clusters = GAP_MS, SPAN_MS, self._open
        closed: list[Order] = []
        earliest, latest = self._window()
        for trade in trades:
            _, _, _, price, quantity, side, at_ms = trade
            # A time far before the open clusters closes them too: one row with a wrong, late time must not
            # keep its cluster open for ever.
            if not earliest <= at_ms <= latest:
                outside = [c for c in clusters.values() if not c.first.at_ms - gap <= at_ms <= c.close_at]
                closed += self._close(outside)
                earliest, latest = self._window()
            usd = price * quantity
            cluster = clusters.get(side)
            if cluster is None:
                if usd >= matters:
                    clusters[side] = Order(
                        first=trade,
                        last=trade,
                        quantity=quantity,
                        notional=usd,
                        low=price,
                        high=price,
                        close_at=at_ms + min(gap, span),
                    )
                    earliest, latest = self._window()
                continue
            cluster.last = trade
            cluster.fills += 1
            cluster.quantity += quantity
            cluster.notional += usd
            cluster.settled = False
            if price < cluster.low:
                cluster.low = price
            elif price > cluster.high:
                cluster.high = price
            if usd >= matters:
                close_at = min(at_ms + gap, cluster.first.at_ms + span)
                if close_at > cluster.close_at:
                    cluster.close_at = close_at
                    latest = self._window()[1]
        if trades:
            self._next_id = max(self._next_id, trades[-1].trade_id + 1)
        return closed

    def head_reached(self, venue_ms: int) -> list[Order]:
        """The feed was read up to its end while the venue's clock showed `venue_ms` (0: not known).

        Closes what a read before this one already left open, that this one did not continue, and whose last
        fill is a second old by the venue's clock. Never closes by the local clock.
        """
        silent = [
            cluster
            for cluster in self._open.values()
            if cluster.settled and venue_ms >= cluster.last.at_ms + max(SETTLE_MS, GAP_MS)
        ]
        for cluster in self._open.values():
            cluster.settled = True
        return self._close(silent)

    def open_since(self) -> Trade | None:
        """First fill of the oldest cluster still open, where a restart has to read from; None when none is open."""
        firsts = (cluster.first for cluster in self._open.values())
        return min(firsts, key=lambda trade: trade.trade_id, default=None)

    def counted(self) -> dict[str, int]:
        """For each side the first id that a re-read from `open_since` has to count; give it to `resume`.

        Otherwise a closed order that overlaps the open one would be found again, cut short and under another key.
        """
        ids = {}
        for side in ("buy", "sell"):
            cluster = self._open.get(side)
            ids[side] = max(self._next_id, self._from.get(side, 0)) if cluster is None else cluster.first.trade_id
        return ids

    def resume(self, counted: dict[str, int]) -> None:
        """Call before the first `feed` after a restart: fills that were counted before it are left out."""
        self._from = dict(counted)

    def _not_counted_before(self, trades: Sequence[Trade]) -> list[Trade]:
        start = self._from
        if trades[-1].trade_id >= max(start.values()):
            self._from = {}
        return [trade for trade in trades if trade.trade_id >= start.get(trade.taker_side, 0)]

    def _window(self) -> tuple[float, float]:
        """Times between which no open cluster closes."""
        clusters = self._open.values()
        if not clusters:
            return float("-inf"), float("inf")
        return max(c.first.at_ms for c in clusters) - GAP_MS, min(c.close_at for c in clusters)

    def _close(self, clusters: Iterable[Order]) -> list[Order]:
        closed = sorted(clusters, key=lambda cluster: cluster.first.trade_id)
        for cluster in closed:
            del self._open[cluster.first.taker_side]
        return [cluster for cluster in closed if cluster.notional >= self.threshold]
