"""OKX swaps, without a key: liquidations of one contract family (`BTC-USDT`), funding and open interest of all swaps.

Protocol facts, OKX v5 docs, "Public data": `code` "0" is success, and an error may come inside HTTP 200; a linear
contract is `ctVal` x `ctMult` coins, an inverse one that many US dollars; `posSide` is the side of the liquidated
position, in net mode a sell closes a long; rows come newest first, `after` means older than; the rate shown is
charged at `fundingTime`, and the interval after it ends at `nextFundingTime`; open interest is `oiCcy` coins, worth
`oiUsd`. `instCategory` 1 is crypto, 3 shares, 4 metals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from base.coins import coin
from venues.perpetuals import (
    Contract,
    ContractVenue,
    Interest,
    Liquidation,
    Numbered,
    Rate,
    Reading,
    Worth,
    checked_liquidation,
    checked_rate,
    read_rows,
    worth_nothing,
)
from venues.trades import LIMIT_PAUSE, MOST_COINS, SourceError, UnknownSymbol, as_list, number

ROWS, PAGES = 100, 10  # of a page; walked back at most
_UNKNOWN = ("51000", "51001", "51014")  # inside HTTP 200 or with 400
_TOO_MANY = "50011"


class Okx(ContractVenue):
    """OKX swaps."""

    name = "okx"
    venue = "OKX"

    def __init__(self, base_url: str, **how: Any) -> None:
        super().__init__(base_url, words=_words, **how)

    def families(self, symbols: Sequence[str]) -> dict[str, str]:
        """The contract families of these coins, in their order: family to coin."""
        known = self.contracts().items()
        found = {name.removesuffix("-SWAP"): contract.symbol for name, contract in known if contract.unit}
        return {family: known for symbol in symbols for family, known in sorted(found.items()) if known == symbol}

    def liquidations(
        self, family: str, *, since_ms: int | None, worth: Worth = worth_nothing
    ) -> Reading[Liquidation]:
        """The liquidations of a family back to `since_ms`, unix ms (None: one page).

        worth: the amounts before which the sizes of contracts are read again.
        """
        found = self._pages(family, since_ms)
        return self._pages(family, since_ms) if self._sizes_changed(found.rows, worth) else found

    def _pages(self, family: str, since_ms: int | None) -> Reading[Liquidation]:
        events: dict[str, Liquidation] = {}
        unreadable: frozenset[int] = frozenset()
        older: int | None = None
        for _ in range(PAGES):
            page, rows = self._page(family, older)
            events |= {event.row: event for event in page.rows}
            unreadable |= page.unreadable
            found = replace(page, rows=list(events.values()), unreadable=unreadable)
            oldest = min((event.at_ms for event in page.rows), default=None)
            if since_ms is None or rows < ROWS or oldest is None or oldest <= since_ms:
                return found
            # Events of one instant may lie on both sides of the page's edge, so it is asked for again; a page of a
            # single instant is stepped over.
            older = oldest if older == oldest + 1 else oldest + 1
        return replace(found, gap_from=min(event.at_ms for event in found.rows))

    def _page(self, family: str, older: int | None) -> tuple[Reading[Liquidation], int]:
        contracts = self.contracts()
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
                price=number(price) / contract.thousands,
                at_ms=at_ms,
                row=numbered(f"{name}|{side}|{size}|{price}|{at_ms}"),
            )
            return checked_liquidation(event, venue_ms)

        return read_rows(self.host, rows, read, venue_ms), len(rows)

    def rates(self) -> Reading[Rate]:
        """The funding of every swap of a coin against USDT, one contract per coin."""
        contracts = self.contracts()
        rows, venue_ms = self._get("funding-rate", {"instId": "ANY"}, "")
        at_ms = self._time_ms(venue_ms)

        def read(row: Any) -> Rate | None:
            base, against, *kind = row["instId"].split("-")
            known = contracts.get(row["instId"])
            no_coin = known is not None and not known.unit
            if row["instType"] != "SWAP" or kind != ["SWAP"] or against != "USDT" or no_coin:
                return None
            next_ms = int(row["fundingTime"])
            hours = (int(row["nextFundingTime"]) - next_ms) / 3_600_000
            return checked_rate(
                Rate(self.venue, coin(base)[0], f"{base}-{against}", float(row["fundingRate"]), hours, next_ms, at_ms)
            )

        return read_rows(self.host, rows, read, venue_ms)

    def interest(self) -> Reading[Interest]:
        """The open interest of every swap of a coin against USDT."""
        contracts = self.contracts()
        rows, venue_ms = self._get("open-interest", {"instType": "SWAP"}, "")
        at_ms = self._time_ms(venue_ms)

        def read(row: Any) -> Interest | None:
            known = contracts.get(row["instId"])
            if not row["instId"].endswith("-USDT-SWAP") or known is None or not known.unit or not float(row["oiCcy"]):
                return None
            size, usd = number(row["oiCcy"], most=MOST_COINS) * known.thousands, number(row["oiUsd"])
            return Interest(self.venue, known.symbol, size, usd, at_ms)

        return read_rows(self.host, rows, read, venue_ms)

    def url(self, symbol: str) -> str:
        return f"https://www.okx.com/trade-swap/{quote(symbol.lower())}-usdt-swap"

    def _contract_rows(self) -> tuple[list[Any], int]:
        return self._get("instruments", {"instType": "SWAP"}, "")

    def _contract(self, row: Any) -> dict[str, Contract]:
        base, inverse = row["instFamily"].split("-")[0], row["ctType"] == "inverse"
        unit = number(row["ctVal"]) * number(row["ctMult"])
        if row["ctValCcy"] != ("USD" if inverse else base):
            return {}
        name, thousands = coin(base)
        # Shares and metals are known and not watched, whatever coin has the same ticker.
        unit = unit if row.get("instCategory", "") in ("", "1") else 0.0
        return {str(row["instId"]): Contract(name, unit, inverse, thousands)}

    def _get(self, name: str, params: dict[str, str | int], symbol: str) -> tuple[list[Any], int]:
        def explain(_: int, answer: Any) -> SourceError | None:
            """Where a family was asked for, it is unknown; else these codes mean that the question is wrong."""
            unknown = symbol and isinstance(answer, dict) and str(answer.get("code")) in _UNKNOWN
            return UnknownSymbol(self.host, f"does not know {symbol}") if unknown else None

        answer, venue_ms = self._http.get(f"/api/v5/public/{name}", params, explain=explain)
        if not isinstance(answer, dict) or "code" not in answer:
            raise SourceError(self.host, "an answer in an unknown shape")
        code = str(answer["code"])
        if code != "0":
            pause = LIMIT_PAUSE if code == _TOO_MANY else None
            raise explain(200, answer) or SourceError(self.host, _words(answer), retry_after=pause)
        return as_list(self.host, answer.get("data")), venue_ms


def _words(answer: Any) -> str:
    if not isinstance(answer, dict) or "code" not in answer:
        return ""
    return f"code {str(answer['code'])[:10]}, {str(answer.get('msg') or '')[:60]}".rstrip(", ")
