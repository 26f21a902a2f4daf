"""OKX swaps, without a key: liquidations of one contract family (`BTC-USDT`) a question, funding of all in one.

No class here retries, waits or logs. Protocol facts, OKX v5 docs: `code` "0" is success, an error may come inside
HTTP 200; a linear contract is `ctVal` x `ctMult` coins, an inverse one so many dollars; `posSide` is the position
that died, in net mode a sell closed a long; rows come newest first, `after` means older than; the rate shown is
charged at `fundingTime`, and the interval after that ends at `nextFundingTime`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from venues.fetch import Host
from venues.perpetuals import (
    BAD_ROW,
    Contract,
    Contracts,
    Found,
    Liquidation,
    Numbered,
    Rate,
    as_list,
    checked_liquidation,
    checked_rate,
    number,
    read_rows,
)
from venues.trades import SourceError, UnknownSymbol

ROWS, PAGES = 100, 10  # of a page; walked back at most
_UNKNOWN = ("51000", "51001", "51014")


class Okx:
    """Every method that asks raises SourceError. clock: monotonic seconds."""

    name = "okx"
    venue = "OKX"

    def __init__(self, base_url: str, *, deadline: float = 15.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = Host(base_url, deadline=deadline, words=_words)
        self.host = self._http.name
        self._contracts = Contracts(self._read_contracts, clock)

    def families(self, symbols: Sequence[str]) -> dict[str, str]:
        """Contract family to coin, for these coins and in their order."""
        known = self._contracts.get().items()
        found = {name.removesuffix("-SWAP"): contract.symbol for name, contract in known}
        return {family: coin for symbol in symbols for family, coin in sorted(found.items()) if coin == symbol}

    def liquidations(self, family: str, *, since_ms: int | None) -> Found[Liquidation]:
        """Those of a family, back to `since_ms` at least (None: what one page shows)."""
        events: dict[str, Liquidation] = {}
        poison: frozenset[int] = frozenset()
        older: int | None = None
        venue_ms = 0
        for _ in range(PAGES):
            page, rows = self._page(family, older)
            venue_ms = page.venue_ms
            events |= {event.row: event for event in page.rows}
            poison |= page.poison
            oldest = min((event.at_ms for event in page.rows), default=None)
            if since_ms is None or rows < ROWS or oldest is None or oldest <= since_ms:
                return Found(rows=list(events.values()), poison=poison, venue_ms=venue_ms)
            # Events of one instant may lie on both sides of the page's edge: that instant is asked for again. A
            # page of one instant alone is stepped over.
            older = oldest if older == oldest + 1 else oldest + 1
        gap_from = min(event.at_ms for event in events.values())
        return Found(rows=list(events.values()), poison=poison, venue_ms=venue_ms, gap_from=gap_from)

    def _page(self, family: str, older: int | None) -> tuple[Found[Liquidation], int]:
        contracts = self._contracts.get()
        params: dict[str, str | int] = {"instType": "SWAP", "instFamily": family, "state": "filled", "limit": ROWS}
        if older is not None:
            params["after"] = older
        groups, venue_ms = self._get("liquidation-orders", params, family)
        rows: list[tuple[Any, Any]] = []
        for group in groups:
            details = group.get("details") if isinstance(group, dict) else None
            rows += [(group.get("instId"), row) for row in as_list(self.host, details)]
        numbered = Numbered()

        def read(row: tuple[Any, Any]) -> Liquidation:
            name, detail = row
            contract, size, price, at_ms = contracts[name], detail["sz"], detail["bkPx"], int(detail["ts"])
            died = detail.get("posSide")
            side = died if died in ("long", "short") else {"sell": "long", "buy": "short"}[detail["side"]]
            event = Liquidation(
                venue=self.venue,
                symbol=contract.symbol,
                side=side,
                usd=contract.usd(number(size), number(price)),
                price=number(price),
                at_ms=at_ms,
                row=numbered(f"{name}|{side}|{size}|{price}|{at_ms}"),
            )
            return checked_liquidation(event, venue_ms)

        events, poison = read_rows(self.host, rows, read)
        return Found(rows=events, poison=poison, venue_ms=venue_ms), len(rows)

    def rates(self) -> Found[Rate]:
        """The funding of every swap against USDT: one contract a coin."""
        rows, venue_ms = self._get("funding-rate", {"instId": "ANY"}, "")
        at_ms = venue_ms or int(time.time() * 1000)

        def read(row: Any) -> Rate | None:
            coin, quote, *kind = row["instId"].split("-")
            if row["instType"] != "SWAP" or kind != ["SWAP"] or quote != "USDT":
                return None
            next_ms = int(row["fundingTime"])
            hours = (int(row["nextFundingTime"]) - next_ms) / 3_600_000
            return checked_rate(
                Rate(self.venue, coin, f"{coin}-{quote}", float(row["fundingRate"]), hours, next_ms, at_ms)
            )

        rates, poison = read_rows(self.host, rows, read)
        return Found(rows=rates, poison=poison, venue_ms=venue_ms)

    def url(self, symbol: str) -> str:
        return f"https://www.okx.com/trade-swap/{symbol.lower()}-usdt-swap"

    def close(self) -> None:
        self._http.close()

    def _read_contracts(self) -> dict[str, Contract]:
        rows, _ = self._get("instruments", {"instType": "SWAP"}, "")
        contracts = {}
        for row in rows:
            try:
                coin, inverse = row["instFamily"].split("-")[0], row["ctType"] == "inverse"
                unit = number(row["ctVal"]) * number(row["ctMult"])
                if row["ctValCcy"] == ("USD" if inverse else coin):
                    contracts[str(row["instId"])] = Contract(coin, unit, inverse)
            except BAD_ROW:
                continue  # no multiplier: its rows will count as unreadable
        if not contracts:
            raise SourceError(self.host, "no contract could be read")
        return contracts

    def _get(self, name: str, params: dict[str, str | int], symbol: str) -> tuple[list[Any], int]:
        answer, venue_ms = self._http.get(f"/api/v5/public/{name}", params, symbol=symbol)
        if not isinstance(answer, dict) or "code" not in answer:
            raise SourceError(self.host, "an answer in an unknown shape")
        code = str(answer["code"])
        if code in _UNKNOWN:
            raise UnknownSymbol(self.host, f"does not know {symbol}")
        if code != "0":
            raise SourceError(self.host, _words(answer))
        return as_list(self.host, answer.get("data")), venue_ms


def _words(answer: Any) -> str:
    if not isinstance(answer, dict) or "code" not in answer:
        return ""
    return f"code {str(answer['code'])[:10]}, {str(answer.get('msg') or '')[:60]}".rstrip(", ")
