"""Gate perpetuals against USDT, without a key: the liquidations of the whole venue in one answer.

Protocol facts, Gate API v4 docs, "Futures", `liq_orders` and `contracts`: rows come newest first, times are seconds,
`size` is the position before (positive: long), `order_size` the order that closes some of it, `left` the part of that
order that was not filled; a partial liquidation repeats the shrinking position, so only the filled part of the order
counts. One contract is `quanto_multiplier` coins. Nothing from more than an hour ago is shown, however few rows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from base.coins import coin
from venues.perpetuals import (
    Contract,
    ContractVenue,
    Liquidation,
    Numbered,
    Reading,
    Worth,
    checked_liquidation,
    read_rows,
    worth_nothing,
)
from venues.trades import BAD_ROW, as_list, number

ROWS = 1000
SHOWN_MS = 3_600_000
NO_COINS = ("stocks", "indices", "forex", "commodities", "metals")  # values of `contract_type`
GOLD_COINS = ("PAXG", "XAUT")  # coins among the metals


class Gate(ContractVenue):
    """Gate perpetuals."""

    name = "gate"
    venue = "Gate"

    def __init__(self, base_url: str, **how: Any) -> None:
        super().__init__(base_url, words=_words, **how)

    def liquidations(
        self, symbols: Collection[str], *, since_ms: int | None, worth: Worth = worth_nothing
    ) -> Reading[Liquidation]:
        """The liquidations of these coins that Gate still shows. since_ms: the time they must reach back to, unix ms;
        `gap_from` says when they do not. worth: the amounts before which the sizes of contracts are read again."""
        found = self._shown(symbols, since_ms)
        return self._shown(symbols, since_ms) if self._sizes_changed(found.rows, worth) else found

    def _shown(self, symbols: Collection[str], since_ms: int | None) -> Reading[Liquidation]:
        contracts = self.contracts()
        rows, venue_ms = self._get("liq_orders", {"limit": ROWS})
        numbered = Numbered()

        def read(row: Any) -> Liquidation | None:
            name = row["contract"]
            if coin(name.removesuffix("_USDT"))[0] not in symbols or contracts[name].unit == 0:
                return None
            size, order, left, at_ms = row["size"], row["order_size"], row["left"], int(row["time"]) * 1000
            closed, position, price = abs(float(order)) - abs(float(left)), float(size), row["fill_price"]
            if closed == 0:
                return None
            event = Liquidation(
                venue=self.venue,
                symbol=contracts[name].symbol,
                side="long" if position > 0 else "short" if position < 0 else "",
                usd=contracts[name].usd(closed, number(price)),
                price=number(price) / contracts[name].thousands,
                at_ms=at_ms,
                row=numbered(f"{name}|{size}|{order}|{left}|{price}|{at_ms}"),
            )
            return checked_liquidation(event, venue_ms)

        found = read_rows(self.host, rows, read, venue_ms)
        shown_from = self._time_ms(venue_ms) - SHOWN_MS
        if len(rows) >= ROWS:
            shown_from = max(shown_from, _oldest_ms(rows) or 0)
        gap_from = shown_from if since_ms is not None and shown_from > since_ms else None
        return replace(found, gap_from=gap_from)

    def url(self, symbol: str) -> str:
        return f"https://www.gate.com/futures/USDT/{quote(symbol)}_USDT"

    def _contract_rows(self) -> tuple[list[Any], int]:
        return self._get("contracts", {})

    def _contract(self, row: Any) -> dict[str, Contract]:
        symbol, thousands = coin(row["name"].removesuffix("_USDT"))
        no_coin = row.get("contract_type") in NO_COINS and symbol not in GOLD_COINS
        # Shares and the like, and contracts whose market is not open yet, are known and not watched.
        unit = 0.0 if no_coin or row.get("is_pre_market") else number(row["quanto_multiplier"])
        return {row["name"]: Contract(symbol, unit, thousands=thousands)}

    def _get(self, name: str, params: dict[str, str | int]) -> tuple[list[Any], int]:
        answer, venue_ms = self._http.get(f"/api/v4/futures/usdt/{name}", params)
        return as_list(self.host, answer), venue_ms


def _oldest_ms(rows: list[Any]) -> int | None:
    """The time of the oldest row that has one, of any contract; unix ms."""
    for row in reversed(rows):
        try:
            return int(row["time"]) * 1000
        except BAD_ROW:
            continue
    return None


def _words(answer: Any) -> str:
    return str(answer.get("label") or "")[:40] if isinstance(answer, dict) else ""
