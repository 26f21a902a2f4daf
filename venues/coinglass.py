"""CoinGlass, with a key that costs money: what the keyless feeds do not show. Optional.

No class here retries, waits or logs, and the key is in no error. Protocol facts, CoinGlass API v4 docs: success is
HTTP 200 with the text code "0"; "Upgrade plan" comes inside HTTP 200 and never passes; `position_action` 1 opened and
2 closed, the sign of `position_size` is the side, an event has no id and a wallet has many; `side` of a liquidation
is the closing order, 2 sold, so a long died; funding is in percent.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, NamedTuple

from venues.fetch import Host
from venues.perpetuals import (
    TOO_LARGE,
    Found,
    Liquidation,
    Numbered,
    Rate,
    as_list,
    checked_liquidation,
    checked_rate,
    liquidation_price,
    name,
    read_rows,
)
from venues.trades import SourceError, UnknownSymbol

ROWS, PAGES = 200, 5  # liquidations of an answer; pages read on at most
MOVES = 190  # whale moves that an answer holds at least when there were more than it holds (documented as about 200)
LEAST_USD = 10_000  # of the liquidations asked for
EXCHANGES = ("Binance", "Bybit")  # whose liquidations and funding are asked for: OKX and Gate are read themselves


class Refused(SourceError):
    """The plan lacks this endpoint, or the key is none (`bad_key`). Asking again is of no use."""

    @property
    def bad_key(self) -> bool:
        return "API key" in self.reason


class WhaleMove(NamedTuple):
    """A position of over a million dollars on Hyperliquid that was opened or closed.

    wallet: its address. size: coins, negative for a short. usd: the position's value.
    """

    wallet: str
    symbol: str
    opened: bool
    size: float
    usd: float
    entry: float
    liquidation: float
    at_ms: int

    @property
    def side(self) -> str:
        return "long" if self.size > 0 else "short"

    @property
    def key(self) -> str:
        """The event's identity: one wallet opens and closes the same many times."""
        return f"{self.wallet}:{self.symbol}:{'open' if self.opened else 'close'}:{self.at_ms}:{self.size}"


class CoinGlass:
    """Every method that asks raises SourceError, and Refused where asking again is of no use."""

    name = "coinglass"
    venue = "CoinGlass"

    def __init__(self, base_url: str, key: str, *, deadline: float = 15.0) -> None:
        self._key = key
        self._http = Host(base_url, deadline=deadline, headers={"CG-API-KEY": key})
        self.host = self._http.name

    def whale_moves(self, *, since_ms: int | None) -> Found[WhaleMove]:
        """The newest (about 200) changes of large positions; since_ms: what must be covered, for `gap_from`."""
        rows, venue_ms = self._rows("hyperliquid/whale-alert", {})

        def read(row: Any) -> WhaleMove:
            move = WhaleMove(
                wallet=name(row["user"]),
                symbol=name(row["symbol"]),
                opened={1: True, 2: False}[row["position_action"]],
                size=float(row["position_size"]),
                usd=float(row["position_value_usd"]),
                entry=float(row["entry_price"]),
                liquidation=liquidation_price(row.get("liq_price")),
                at_ms=int(row["create_time"]),
            )
            checked_liquidation(Liquidation("", "", move.side, move.usd, move.entry, move.at_ms, ""), venue_ms)
            if not 0 < abs(move.size) < TOO_LARGE:
                raise ValueError("not a size")
            return move

        moves, poison = read_rows(self.host, rows, read)
        oldest = min((move.at_ms for move in moves), default=0)
        gap_from = oldest if since_ms is not None and len(rows) >= MOVES and oldest > since_ms else None
        return Found(rows=moves, poison=poison, venue_ms=venue_ms, gap_from=gap_from)

    def liquidations(self, exchange: str, symbol: str, *, since_ms: int | None) -> Found[Liquidation]:
        """Those of one exchange and coin of at least LEAST_USD; since_ms None: the latest ones."""
        events: dict[str, Liquidation] = {}
        poison: frozenset[int] = frozenset()
        venue_ms = 0
        for _ in range(PAGES):
            page, count, venue_ms = self._liquidations(exchange, symbol, since_ms)
            before = len(events)
            events |= {event.row: event for event in page.rows}
            poison |= page.poison
            # Which end of a full answer was cut is not documented: the next page begins with the newest known
            # instant once more, and one that brings nothing new ends it.
            if since_ms is None or count < ROWS or len(events) == before:
                return Found(rows=list(events.values()), poison=poison, venue_ms=venue_ms)
            since_ms = max(event.at_ms for event in events.values())
        return Found(rows=list(events.values()), poison=poison, venue_ms=venue_ms, gap_from=since_ms)

    def _liquidations(self, exchange: str, symbol: str, since_ms: int | None) -> tuple[Found[Liquidation], int, int]:
        params: dict[str, str | int] = {"exchange": exchange, "symbol": symbol, "min_liquidation_amount": LEAST_USD}
        if since_ms is not None:
            params |= {"start_time": since_ms, "end_time": int(time.time() * 1000) + 60_000}
        rows, venue_ms = self._rows("futures/liquidation/order", params)
        numbered = Numbered()

        def read(row: Any) -> Liquidation | None:
            if row["base_asset"] != symbol:
                return None
            price, usd, at_ms = float(row["price"]), float(row["usd_value"]), int(row["time"])
            side = {1: "short", 2: "long"}[row["side"]]
            identity = numbered(f"{exchange}|{row['symbol']}|{side}|{usd}|{price}|{at_ms}")
            return checked_liquidation(Liquidation(exchange, symbol, side, usd, price, at_ms, identity), venue_ms)

        events, poison = read_rows(self.host, rows, read)
        return Found(rows=events, poison=poison), len(rows), venue_ms

    def rates(self, exchanges: Collection[str] = EXCHANGES) -> Found[Rate]:
        """The funding of these exchanges' contracts that are margined in dollars."""
        coins, venue_ms = self._rows("futures/funding-rate/exchange-list", {})
        rows = []
        for coin in coins:
            entries = coin.get("stablecoin_margin_list") if isinstance(coin, dict) else None
            # What is no list is one unreadable row.
            rows += [
                (coin, entry) for entry in (entries if isinstance(entries, list) else [entries] if entries else [])
            ]
        at_ms = venue_ms or int(time.time() * 1000)

        def read(row: tuple[Any, Any]) -> Rate | None:
            coin, entry = row
            if entry["exchange"] not in exchanges:
                return None
            # Without its interval a rate cannot be compared: unreadable, not guessed.
            hours, next_ms = float(entry["funding_rate_interval"]), int(entry.get("next_funding_time") or 0)
            rate = float(entry["funding_rate"]) / 100
            return checked_rate(Rate(entry["exchange"], coin["symbol"], coin["symbol"], rate, hours, next_ms, at_ms))

        rates, poison = read_rows(self.host, rows, read)
        return Found(rows=rates, poison=poison, venue_ms=venue_ms)

    def url(self, symbol: str) -> str:
        return f"https://www.coinglass.com/currencies/{symbol}"

    def close(self) -> None:
        self._http.close()

    def _rows(self, path: str, params: dict[str, str | int]) -> tuple[list[Any], int]:
        data, venue_ms = self._get(path, params)
        return as_list(self.host, data), venue_ms

    def _get(self, path: str, params: dict[str, str | int]) -> tuple[Any, int]:
        refusal = ""

        def refused(status: int, answer: Any) -> bool:
            nonlocal refusal
            words = str(answer.get("msg") or "") if isinstance(answer, dict) else ""
            if words == "Upgrade plan" or "API key" in words:
                refusal = words.replace(self._key, "<key>")[:60]
            return bool(refusal)

        try:
            answer, venue_ms = self._http.get(f"/api/{path}", params, symbol="", unknown=refused)
        except UnknownSymbol:
            raise Refused(self.host, refusal) from None
        if not isinstance(answer, dict) or "code" not in answer:
            raise SourceError(self.host, "an answer in an unknown shape")
        if str(answer["code"]) == "0":
            return answer.get("data"), venue_ms
        if refused(200, answer):
            raise Refused(self.host, refusal)
        words = f"code {str(answer['code'])[:10]}, {str(answer.get('msg') or '')[:60]}"
        raise SourceError(self.host, words.replace(self._key, "<key>").rstrip(", "))
