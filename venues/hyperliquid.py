"""Hyperliquid, without a key: the funding and open interest of every coin, and the positions of one wallet.

Protocol facts, Hyperliquid docs, "Info endpoint": every question is a POST to /info; funding is charged each hour;
the two lists of `metaAndAssetCtxs` are joined by their order; `szi` is negative for a short; `liquidationPx` is null
where there is none; `openInterest` is in coins. A wallet that was never used has no positions, which is not an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from base.coins import coin
from venues.fetch import Venue
from venues.perpetuals import Interest, Position, Rate, Reading, checked_rate, liquidation_price, name, read_rows
from venues.trades import BAD_ROW, MOST_COINS, SourceError, as_list, number

ADDRESS = re.compile(r"0x[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The open positions of one wallet.

    unread: coins whose position could not be read; None when not even the coin is known. venue_ms: the venue's clock,
    unix ms, 0 when it did not say.
    """

    positions: list[Position] = field(default_factory=list)
    unread: frozenset[str] | None = frozenset()
    venue_ms: int = 0


class Hyperliquid(Venue):
    """Hyperliquid perpetuals of its main exchange, not of those that others run on it."""

    name = "hyperliquid"
    venue = "Hyperliquid"

    def __init__(self, base_url: str, **how: Any) -> None:
        super().__init__(base_url, **how)
        self._listed: tuple[list[tuple[Any, Any]], int] = ([], 0)

    def rates(self) -> Reading[Rate]:
        """The funding of every coin that is traded."""
        answer, venue_ms = self._http.post("/info", {"type": "metaAndAssetCtxs"})
        at_ms = self._time_ms(venue_ms)
        try:
            meta, contexts = answer
            rows = list(zip(meta["universe"], contexts, strict=True))
        except BAD_ROW:
            raise SourceError(self.host, "an answer in an unknown shape") from None
        self._listed = rows, at_ms

        def read(row: tuple[Any, Any]) -> Rate | None:
            listed, context = row
            if listed.get("isDelisted"):
                return None
            contract = listed["name"]
            return checked_rate(
                Rate(self.venue, coin(contract)[0], contract, float(context["funding"]), 1.0, 0, at_ms)
            )

        return read_rows(self.host, rows, read, venue_ms)

    def interest(self) -> Reading[Interest]:
        """The open interest of every coin, as the last answer to `rates` said. Asks nobody."""
        rows, at_ms = self._listed

        def read(row: tuple[Any, Any]) -> Interest | None:
            listed, context = row
            if listed.get("isDelisted") or not float(context["openInterest"]):
                return None
            symbol, thousands = coin(name(listed["name"]))
            size = number(context["openInterest"], most=MOST_COINS)
            return Interest(
                self.venue, symbol, size * thousands, size * number(context["markPx"]), at_ms, listed["name"]
            )

        return read_rows(self.host, rows, read, at_ms)

    def positions(self, address: str) -> Snapshot:
        """The open positions of a wallet, `0x` and 40 hex digits in lower case."""
        answer, venue_ms = self._http.post("/info", {"type": "clearinghouseState", "user": address})
        rows = as_list(self.host, answer.get("assetPositions") if isinstance(answer, dict) else None)
        positions: list[Position] = []
        unread: set[str] | None = set()
        for row in rows:
            held = None
            try:
                held = row["position"]["coin"]
                positions += _position(row["position"])
            except BAD_ROW:
                if unread is not None and type(held) is str:
                    unread.add(held)
                else:
                    unread = None
        return Snapshot(positions=positions, unread=None if unread is None else frozenset(unread), venue_ms=venue_ms)

    def url(self, symbol: str) -> str:
        return f"https://app.hyperliquid.xyz/trade/{quote(symbol)}"


def wallet_url(address: str) -> str:
    return f"https://app.hyperliquid.xyz/explorer/address/{address}"


def _position(row: Any) -> list[Position]:
    size = float(row["szi"])
    if size == 0:
        return []
    usd, leverage = number(row["positionValue"]), row["leverage"]["value"]
    if not abs(size) < MOST_COINS or not 0 < float(leverage) < 1000:
        raise ValueError("not a usable position")
    return [
        Position(
            coin=name(row["coin"]),
            size=size,
            usd=usd,
            entry=number(row["entryPx"]),
            liquidation=liquidation_price(row.get("liquidationPx")),
            leverage=float(leverage),
        )
    ]
