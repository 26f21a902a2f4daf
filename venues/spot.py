"""Spot venues: public trades, page by page from a cursor. `fetch` asks, `trades` parses.

A page is free of gaps, or says how many trades the ids prove missing. An empty page means no news; a venue that is
down always raises SourceError. `SpotVenue` describes the methods; protocol facts are with each class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from base.coins import coin
from venues import kraken
from venues.fetch import Venue
from venues.trades import (
    BAD_ROW,
    BAR_SECONDS,
    MANY_ROWS,
    MOST_COINS,
    Bar,
    Fields,
    Page,
    Quote,
    SourceError,
    Trade,
    TradeParser,
    UnknownSymbol,
    as_list,
    as_quote,
    number,
    possible_ms,
    volume_of_each,
)

PAGE_ROWS = 1000  # the largest page of both venues here


class SpotVenue(Protocol):
    """What a monitor needs of a spot venue. A symbol is a coin, for example BTC; a cursor is text of the venue's own.

    name: the key of its setting. venue: its name for people. host: the host that is asked. request_seconds: how much
    time to give one request to a coin, so that a tenth of what the host allows is used. Every method that asks raises
    SourceError, and UnknownSymbol for a coin without a market there.
    """

    name: str
    venue: str
    host: str
    request_seconds: float

    def head(self, symbol: str) -> str:
        """The cursor just after the newest trade."""

    def newest(self, symbol: str) -> tuple[str, int]:
        """The same, and when that trade was, unix ms; 0 when there is none."""

    def page(self, symbol: str, cursor: str) -> Page:
        """The next trades from the cursor on."""

    def at(self, symbol: str, at_ms: int) -> str | None:
        """The cursor of the first trade at or after a time, unix ms; None where that is not cheap to find."""

    def cursor_at(self, trade: Trade) -> str:
        """The cursor whose page begins with this trade. Asks nobody."""

    def is_beyond(self, cursor: str, head: str) -> bool:
        """Is the cursor beyond the head, where no trade will ever be? Asks nobody."""

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:
        """US dollars traded in the last 24 hours, by coin; coins that the venue does not know are left out."""

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The best bid and ask of these coins, as far as they can be read. For any thread."""

    def url(self, symbol: str) -> str:
        """The market's public web page."""

    def close(self) -> None:
        """Close the connections."""

    def hurry(self) -> None:
        """Wait for nothing from now on: the bot stops. For any thread."""


def spot_venues(urls: Mapping[str, str]) -> list[SpotVenue]:
    """The venues in order of preference; the keys are those of `Settings.source_urls`."""
    return [
        BinanceSpot(urls["binance"]),
        BinanceSpot(urls["binance_api"], name="binance_api"),
        CoinbaseExchange(urls["coinbase"]),
        kraken.Kraken(urls["kraken"], spacing=kraken.SPACING),
    ]


class _CountedTrades(Venue):
    """A venue whose ids count the trades of a market: the cursor is the next trade's id."""

    _parser: TradeParser

    def head(self, symbol: str) -> str:
        return self.newest(symbol)[0]

    def newest(self, symbol: str) -> tuple[str, int]:
        rows, venue_ms = self._trades(symbol, limit=1)
        newest = self._parser.parse(rows, symbol, wanted=0, venue_ms=venue_ms)
        if rows and not newest.trades:
            raise SourceError(self.host, "the newest trade could not be read")
        return str(newest.next_id), newest.trades[-1].at_ms if newest.trades else 0

    def cursor_at(self, trade: Trade) -> str:
        return str(trade.trade_id)

    def is_beyond(self, cursor: str, head: str) -> bool:
        return int(cursor) > int(head)

    def _trades(self, symbol: str, **params: int) -> tuple[list[Any], int]:
        """Rows in the order of their ids, and the venue's clock."""
        raise NotImplementedError


class BinanceSpot(_CountedTrades):
    """Binance spot against USDT.

    Binance spot API docs, "Compressed/Aggregate trades list" (weight 4 of 6,000 a minute), "24hr ticker" and
    "Kline/Candlestick data" (weight 2), "Symbol order book ticker" (weight 4 for several symbols): `fromId` is
    inclusive, ids have no holes, `m` says that the buyer was the maker, so the taker sold; code -1121 is an unknown
    symbol, -1100 with "symbol" one that its pattern does not allow. A few cheap coins are listed by the thousand or
    million.
    """

    venue = "Binance spot"
    request_seconds = 0.4  # weight 4 of 600
    _NAMES = {"SATS": "1000SATS", "CAT": "1000CAT", "CHEEMS": "1000CHEEMS", "BABYDOGE": "1MBABYDOGE"}

    def __init__(self, base_url: str, *, name: str = "binance", **how: Any) -> None:
        super().__init__(base_url, **how)
        self.name = name
        self._parser = TradeParser(self.host, self.venue, _binance_fields, id_at="a")

    def page(self, symbol: str, cursor: str) -> Page:
        wanted = int(cursor)
        rows, venue_ms = self._trades(symbol, fromId=wanted, limit=PAGE_ROWS)
        found = self._parser.parse(rows, symbol, wanted=wanted, venue_ms=venue_ms)
        head = len(rows) < PAGE_ROWS
        if not head and found.next_id == wanted:  # it would be read again for ever
            raise SourceError(self.host, "a page from before the cursor")
        _, units = coin(self._name(symbol))
        if units > 1:
            each = [t._replace(price=t.price / units, quantity=t.quantity * units) for t in found.trades]
            found = replace(found, trades=each)
        return found.page(str(found.next_id), head=head, venue_ms=venue_ms)

    def at(self, symbol: str, at_ms: int) -> str | None:
        rows, venue_ms = self._trades(symbol, startTime=at_ms, limit=1)
        if not rows:  # no trade since then: the next one is the first
            return self.head(symbol)
        first = self._parser.parse(rows, symbol, wanted=0, venue_ms=venue_ms)
        return str(first.trades[0].trade_id) if first.trades else None

    def bars(self, symbol: str, *, since: int, until: int) -> tuple[list[Bar], int]:
        """The bars that began from `since` to before `until` and are over, and how many rows were unreadable.

        At most PAGE_ROWS, the oldest ones. What was not traded for five minutes has a bar without volume; a bar is
        missing only from before the coin was listed, or where the market was halted.
        """
        name = f"{self._name(symbol)}USDT"
        span = {"startTime": since * 1000, "endTime": until * 1000 - 1}
        rows, venue_ms = self._get("klines", symbol, symbol=name, interval="5m", limit=PAGE_ROWS, **span)
        _, units = coin(self._name(symbol))
        found, skipped = [], 0
        for row in as_list(self.host, rows):
            try:
                bar, ends_ms = _binance_bar(row, symbol, units), row[6]
                if not venue_ms or ends_ms < venue_ms:
                    found.append(bar)
            except BAD_ROW:
                skipped += 1
        if skipped >= MANY_ROWS and not found:
            raise SourceError(self.host, "rows in an unknown shape")
        return found, skipped

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:
        volumes: dict[str, float] = {}
        for start in range(0, len(symbols), 20):  # up to 20 symbols cost the weight of one
            volumes |= self._volumes(symbols[start : start + 20])
        return volumes

    def _volumes(self, symbols: Sequence[str]) -> dict[str, float]:
        names = {f"{self._name(symbol)}USDT": symbol for symbol in symbols}
        try:
            rows, _ = self._get("ticker/24hr", "", symbols=json.dumps(list(names), separators=(",", ":")))
        except UnknownSymbol:
            if len(symbols) == 1:
                return {}
            # One unknown coin spoils the whole answer: ask for each alone.
            return {coin: usd for symbol in symbols for coin, usd in self._volumes([symbol]).items()}
        volumes = {}
        for row in as_list(self.host, rows):
            try:
                volumes[names[row["symbol"]]] = number(row["quoteVolume"], most=MOST_COINS)
            except BAD_ROW:
                continue
        return volumes

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The best bid and ask of these coins, in one request."""
        names = {f"{self._name(symbol)}USDT": symbol for symbol in symbols}
        rows, _ = self._get("ticker/bookTicker", "", symbols=json.dumps(list(names), separators=(",", ":")))
        found = {}
        for row in as_list(self.host, rows):
            try:
                symbol = names[row["symbol"]]
                found[symbol] = as_quote(row["bidPrice"], row["askPrice"], units=coin(self._name(symbol))[1])
            except BAD_ROW:
                continue
        return found

    def url(self, symbol: str) -> str:
        return f"https://www.binance.com/en/trade/{quote(self._name(symbol))}_USDT?type=spot"

    def _name(self, symbol: str) -> str:
        return self._NAMES.get(symbol, symbol)

    def _trades(self, symbol: str, **params: int) -> tuple[list[Any], int]:
        rows, venue_ms = self._get("aggTrades", symbol, symbol=f"{self._name(symbol)}USDT", **params)
        return as_list(self.host, rows), venue_ms

    def _get(self, name: str, coin: str, **params: str | int) -> tuple[Any, int]:
        def explain(status: int, answer: Any) -> SourceError | None:
            code, words = (answer.get("code"), str(answer.get("msg"))) if isinstance(answer, dict) else (0, "")
            unknown = status == 400 and (code == -1121 or (code == -1100 and "symbol" in words))
            return UnknownSymbol(self.host, f"does not know {coin or 'a symbol'}") if unknown else None

        return self._http.get(f"/api/v3/{name}", params, explain=explain)


def _binance_fields(row: Any) -> Fields:
    maker_bought = row["m"]
    side = "sell" if maker_bought is True else "buy" if maker_bought is False else ""
    return row["a"], row["p"], row["q"], side, row["T"]


def _binance_bar(row: Any, symbol: str, units: int) -> Bar:
    """Raises one of BAD_ROW."""
    at_ms, opened, high, low, close = row[0], *(number(text) / units for text in row[1:5])
    volume, bought = (number(text) if float(text) else 0.0 for text in (row[7], row[10]))
    if type(at_ms) is not int or not possible_ms(at_ms) or at_ms % (BAR_SECONDS * 1000):
        raise ValueError("no start of a bar")
    if not (low <= min(opened, close) and max(opened, close) <= high and bought <= volume):
        raise ValueError("impossible numbers")
    return Bar(symbol, at_ms // 1000, opened, high, low, close, bought, volume - bought)


class CoinbaseExchange(_CountedTrades):
    """Coinbase Exchange against US dollars.

    Coinbase Exchange docs, "Get product trades": newest first, `after` means ids below it, `side` is the maker's. Ids
    have no holes, so `after = cursor + 1000` is the next page upwards; only ids that exist are asked for. An unknown
    product is 404, a delisted one 400. "REST rate limits": 10 requests a second.
    """

    name = "coinbase"
    venue = "Coinbase"
    request_seconds = 1.0

    def __init__(self, base_url: str, **how: Any) -> None:
        super().__init__(base_url, **how)
        self._parser = TradeParser(self.host, self.venue, _coinbase_fields, id_at="trade_id", overlaps=True)

    def page(self, symbol: str, cursor: str) -> Page:
        wanted = int(cursor)
        rows, venue_ms = self._trades(symbol, limit=PAGE_ROWS)
        found = self._parser.parse(rows, symbol, wanted=wanted, venue_ms=venue_ms)
        head = True
        oldest = found.trades[0].trade_id if found.trades else wanted
        if len(rows) >= PAGE_ROWS and oldest > wanted:
            older, _ = self._trades(symbol, limit=PAGE_ROWS, after=min(wanted + PAGE_ROWS, oldest))
            reached = wanted + PAGE_ROWS >= oldest
            below = self._parser.parse(older + rows if reached else older, symbol, wanted=wanted, venue_ms=venue_ms)
            if below.trades:  # else all of it is proven missing, and `found` counts it
                found, head = below, reached
        return found.page(str(found.next_id), head=head, venue_ms=venue_ms)

    def at(self, symbol: str, at_ms: int) -> str | None:
        """None: Coinbase cannot be asked for a time."""
        return None

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:

        def ask(symbol: str) -> float:
            stats, _ = self._get("stats", symbol)
            return number(stats["volume"], most=MOST_COINS) * number(stats["last"])

        return volume_of_each(symbols, ask)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The best bid and ask of these coins, a request for each ("Get product ticker")."""
        found = {}
        for symbol in symbols:
            ticker, _ = self._get("ticker", symbol)
            try:
                found[symbol] = as_quote(ticker["bid"], ticker["ask"])
            except BAD_ROW:
                continue
        return found

    def url(self, symbol: str) -> str:
        return f"https://www.coinbase.com/advanced-trade/spot/{quote(symbol)}-USD"

    def _trades(self, symbol: str, **params: int) -> tuple[list[Any], int]:
        rows, venue_ms = self._get("trades", symbol, **params)
        return as_list(self.host, rows)[::-1], venue_ms

    def _get(self, name: str, symbol: str, **params: int) -> tuple[Any, int]:
        def explain(status: int, answer: Any) -> SourceError | None:
            words = answer.get("message") if isinstance(answer, dict) else None
            unknown = (status, words) in ((404, "NotFound"), (400, "Not allowed for delisted products"))
            return UnknownSymbol(self.host, f"does not know {symbol}") if unknown else None

        return self._http.get(f"/products/{symbol}-USD/{name}", params, explain=explain)


def _coinbase_fields(row: Any) -> Fields:
    moment = datetime.fromisoformat(row["time"])
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    taker = {"sell": "buy", "buy": "sell"}[row["side"]]
    return row["trade_id"], row["price"], row["size"], taker, int(moment.timestamp() * 1000)
