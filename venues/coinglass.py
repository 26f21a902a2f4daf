"""CoinGlass, with a paid key: what the venues without a key do not show. Optional.

The key never appears in an error. Protocol facts, CoinGlass API v4 docs: success is HTTP 200 with the text code "0";
"Upgrade plan" comes inside HTTP 200 and is permanent; `position_action` 1 opened and 2 closed, the sign of
`position_size` is the side, an event has no id and one wallet has many events; `side` of a liquidation is the closing
order, so 2, a sell, closed a long; funding is in percent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote

from base.coins import coin
from base.secrets import know
from venues.fetch import Venue
from venues.perpetuals import (
    Liquidation,
    Numbered,
    Rate,
    Reading,
    checked_liquidation,
    checked_rate,
    liquidation_price,
    name,
    read_rows,
)
from venues.trades import MOST_COINS, SourceError, as_list

ROWS, PAGES = 200, 5  # liquidations in a full answer; pages read at most
MOVES = 190  # whale moves: an answer with this many may be cut (documented as about 200)
LEAST_USD = 10_000  # smallest liquidation asked for
EXCHANGES = ("Binance", "Bybit")  # asked for here: OKX and Gate are read directly


class Refused(SourceError):
    """The plan lacks this endpoint, or the key is wrong (`bad_key`). Asking again does not help."""

    @property
    def bad_key(self) -> bool:
        """Whether the key is missing or wrong, rather than the plan too small."""
        return "API key" in self.reason


class WhaleMove(NamedTuple):
    """A position of over a million dollars on Hyperliquid that was opened or closed.

    wallet: its address. size: coins, negative for a short. usd: the position's value. entry, liquidation: prices in
    US dollars, 0 for no liquidation price. at_ms: unix ms.
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
        """`long` or `short`."""
        return "long" if self.size > 0 else "short"

    @property
    def key(self) -> str:
        """The event's identity; one wallet may open and close the same position many times."""
        return f"{self.wallet}:{self.symbol}:{'open' if self.opened else 'close'}:{self.at_ms}:{self.size}"


class CoinGlass(Venue):
    """CoinGlass. Methods that ask also raise Refused, where asking again does not help."""

    name = "coinglass"
    venue = "CoinGlass"

    def __init__(self, base_url: str, key: str, **how: Any) -> None:
        super().__init__(base_url, headers={"CG-API-KEY": key}, **how)
        self._key = key
        know(key)

    def whale_moves(self, *, since_ms: int | None) -> Reading[WhaleMove]:
        """The newest changes of large positions, about 200. since_ms: the time they must reach back to, unix ms;
        `gap_from` says when they do not."""
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
            if not 0 < abs(move.size) < MOST_COINS:
                raise ValueError("not a size")
            return move

        found = read_rows(self.host, rows, read, venue_ms)
        oldest = min((move.at_ms for move in found.rows), default=0)
        cut = since_ms is not None and len(rows) >= MOVES and oldest > since_ms
        return replace(found, gap_from=oldest) if cut else found

    def liquidations(self, exchange: str, symbol: str, *, since_ms: int | None) -> Reading[Liquidation]:
        """The liquidations of one exchange and coin from LEAST_USD on, since a time, unix ms (None: the latest)."""
        events: dict[str, Liquidation] = {}
        unreadable: frozenset[int] = frozenset()
        for _ in range(PAGES):
            page, count = self._page(exchange, symbol, since_ms)
            before = len(events)
            events |= {event.row: event for event in page.rows}
            unreadable |= page.unreadable
            found = replace(page, rows=list(events.values()), unreadable=unreadable)
            # Which end of a full answer was cut is not documented: the next page begins with the newest known
            # instant once more, and a page without news is the last.
            if since_ms is None or count < ROWS or len(events) == before:
                return found
            since_ms = max(event.at_ms for event in events.values())
        return replace(found, gap_from=since_ms)

    def _page(self, exchange: str, symbol: str, since_ms: int | None) -> tuple[Reading[Liquidation], int]:
        params: dict[str, str | int] = {"exchange": exchange, "symbol": symbol, "min_liquidation_amount": LEAST_USD}
        if since_ms is not None:
            params |= {"start_time": since_ms, "end_time": int(self._now() * 1000) + 60_000}
        rows, venue_ms = self._rows("futures/liquidation/order", params)
        numbered = Numbered()

        def read(row: Any) -> Liquidation | None:
            if coin(row["base_asset"])[0] != symbol:
                return None
            _, thousands = coin(row["symbol"])
            price, usd, at_ms = float(row["price"]) / thousands, float(row["usd_value"]), int(row["time"])
            side = {1: "short", 2: "long"}[row["side"]]
            identity = numbered(f"{exchange}|{row['symbol']}|{side}|{usd}|{price}|{at_ms}")
            return checked_liquidation(Liquidation(exchange, symbol, side, usd, price, at_ms, identity), venue_ms)

        return read_rows(self.host, rows, read, venue_ms), len(rows)

    def rates(self) -> Reading[Rate]:
        """The funding of the contracts of EXCHANGES with a margin in US dollars."""
        coins, venue_ms = self._rows("futures/funding-rate/exchange-list", {})
        rows = []
        for listed in coins:
            entries = listed.get("stablecoin_margin_list") if isinstance(listed, dict) else None
            # Anything but a list is one unreadable row.
            rows += [
                (listed, entry) for entry in (entries if isinstance(entries, list) else [entries] if entries else [])
            ]
        at_ms = self._time_ms(venue_ms)

        def read(row: tuple[Any, Any]) -> Rate | None:
            listed, entry = row
            contract = listed["symbol"]
            if entry["exchange"] not in EXCHANGES:
                return None
            # A rate without its interval cannot be compared: unreadable, not guessed.
            hours, next_ms = float(entry["funding_rate_interval"]), int(entry.get("next_funding_time") or 0)
            rate = float(entry["funding_rate"]) / 100
            return checked_rate(Rate(entry["exchange"], coin(contract)[0], contract, rate, hours, next_ms, at_ms))

        return read_rows(self.host, rows, read, venue_ms)

    @staticmethod
    def url(symbol: str) -> str:
        return f"https://www.coinglass.com/currencies/{quote(symbol)}"

    def _rows(self, path: str, params: dict[str, str | int]) -> tuple[list[Any], int]:
        answer, venue_ms = self._http.get(f"/api/{path}", params, explain=lambda _, answer: self._refusal(answer))
        if not isinstance(answer, dict) or "code" not in answer:
            raise SourceError(self.host, "an answer in an unknown shape")
        if str(answer["code"]) != "0":
            words = f"code {str(answer['code'])[:10]}, {self._words(answer)[:60]}"
            raise self._refusal(answer) or SourceError(self.host, words.rstrip(", "))
        return as_list(self.host, answer.get("data")), venue_ms

    def _refusal(self, answer: Any) -> Refused | None:
        """The error for an answer that will not change, None for another one."""
        message = answer.get("msg") if isinstance(answer, dict) else None
        permanent = message == "Upgrade plan" or "API key" in str(message)
        return Refused(self.host, self._words(answer)[:60]) if permanent else None

    def _words(self, answer: Any) -> str:
        words = str(answer.get("msg") or "") if isinstance(answer, dict) else ""
        return words.replace(self._key, "<key>")
