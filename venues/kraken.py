"""Kraken spot: public trades, page by page from a cursor, like `spot`, which has the description of a venue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from venues.fetch import Venue
from venues.trades import (
    BAD_ROW,
    LIMIT_PAUSE,
    MOST_COINS,
    Fields,
    Page,
    ParsedTrades,
    Quote,
    SourceError,
    Trade,
    TradeParser,
    UnknownSymbol,
    as_list,
    as_quote,
    number,
    volume_of_each,
)

ROWS = 1000  # the largest page
SPACING = 1.0  # seconds between two requests: Kraken allows about one a second


class Kraken(Venue):
    """Kraken spot against US dollars. The cursor is `since:next id`, since in nanoseconds.

    Kraken REST docs, "Get Recent Trades" and "Get Ticker Information": `since` and `last` are text, since a float
    would lose digits; errors come inside HTTP 200; BTC is XBT, DOGE is XDG. Several fills share one time, and whether
    `since` includes its own instant is not documented: a page is asked for from just before the last time seen, and
    the ids show what is new (id 0: not known yet).
    """

    name = "kraken"
    venue = "Kraken"
    request_seconds = 1.5  # two thirds of the limit: with a tenth of it ten coins would take longer than a minute
    _NAMES = {"BTC": "XBT", "DOGE": "XDG"}

    def __init__(self, base_url: str, **how: Any) -> None:
        super().__init__(base_url, **how)
        self._parser = TradeParser(self.host, self.venue, _kraken_fields, id_at=6, overlaps=True)

    def head(self, symbol: str) -> str:
        return self.newest(symbol)[0]

    def newest(self, symbol: str) -> tuple[str, int]:
        found, _, last, _ = self._trades(symbol, wanted=0)
        return f"{max(0, last - 1)}:{found.next_id}", found.trades[-1].at_ms if found.trades else 0

    def page(self, symbol: str, cursor: str) -> Page:
        since, wanted = (int(part) for part in cursor.split(":"))
        found, rows, last, venue_ms = self._trades(symbol, wanted=wanted, since=since, count=ROWS)
        head = rows < ROWS
        # A full page of a single instant would be read again for ever: step past it.
        stuck = not head and last - 1 <= since
        following = max(since + 1, last) if stuck else max(since, last - 1)
        return found.page(f"{following}:{found.next_id}", head=head, venue_ms=venue_ms)

    def at(self, symbol: str, at_ms: int) -> str | None:
        return f"{at_ms * 1_000_000 - 1}:0"

    def cursor_at(self, trade: Trade) -> str:
        # at_ms is cut to the millisecond, so the trade itself lies after this instant.
        return f"{trade.at_ms * 1_000_000 - 1}:{trade.trade_id}"

    def is_beyond(self, cursor: str, head: str) -> bool:
        # Two more prove nothing: full pages of a single instant leave the cursor up to two nanoseconds ahead.
        return any(int(a) > int(b) + 2 for a, b in zip(cursor.split(":"), head.split(":"), strict=True))

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:

        def ask(symbol: str) -> float:
            result, _ = self._get("Ticker", symbol)
            (ticker,) = result.values()
            return number(ticker["v"][1], most=MOST_COINS) * number(ticker["p"][1])

        return volume_of_each(symbols, ask)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The best bid and ask of these coins, in one request. Several pairs are separated by commas."""
        result, _ = self._get("Ticker", ",".join(symbols))
        found = {}
        for symbol in symbols:
            name = self._NAMES.get(symbol, symbol)
            try:
                ticker = result.get(f"{name}USD") or result[f"X{name}ZUSD"]  # the older coins have longer names
                found[symbol] = as_quote(ticker["b"][0], ticker["a"][0])
            except BAD_ROW:
                continue
        return found

    def url(self, symbol: str) -> str:
        return f"https://pro.kraken.com/app/trade/{quote(symbol.lower())}-usd"

    def _trades(self, symbol: str, *, wanted: int, **params: int) -> tuple[ParsedTrades, int, int, int]:
        """The trades from id `wanted` on, the number of rows, `last` in ns, and the venue's clock."""
        result, venue_ms = self._get("Trades", symbol, **params)
        if not isinstance(result, dict):
            raise SourceError(self.host, "an answer in an unknown shape")
        last = result.get("last")
        if not isinstance(last, str) or not last.isascii() or not last.isdigit() or len(last) > 20:
            raise SourceError(self.host, "an answer without its cursor")
        # The rows stand under Kraken's own name of the pair (XXBTZUSD).
        rows = as_list(self.host, next((value for key, value in result.items() if key != "last"), None))
        found = self._parser.parse(rows, symbol, wanted=wanted, venue_ms=venue_ms)
        return found, len(rows), int(last), venue_ms

    def _get(self, name: str, symbol: str, **params: int) -> tuple[Any, int]:
        pairs = (f"{self._NAMES.get(one, one)}USD" for one in symbol.split(","))
        query = {"pair": ",".join(pairs)} | params
        answer, venue_ms = self._http.get(f"/0/public/{name}", query)
        if not isinstance(answer, dict) or not isinstance(answer.get("error"), list):
            raise SourceError(self.host, "an answer in an unknown shape")
        if answer["error"]:
            words = str(answer["error"][0])[:60]
            if words == "EQuery:Unknown asset pair":
                raise UnknownSymbol(self.host, f"does not know {symbol}")
            too_often = "Too many requests" in words
            raise SourceError(self.host, words, retry_after=LIMIT_PAUSE if too_often else None, too_often=too_often)
        return answer.get("result"), venue_ms


def _kraken_fields(row: Any) -> Fields:
    taker = {"b": "buy", "s": "sell"}[row[3]]
    return row[6], row[0], row[1], taker, int(row[2] * 1000)
