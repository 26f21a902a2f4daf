"""Market feeds: one small class per venue pages through public trades by cursor. Asking is `fetch`'s
work, reading rows is `trades`'s.

A page is gap-free or says how many trades are proven missing by their ids. No class retries, waits or logs:
the monitor decides. Nothing an API sends is trusted: a row that cannot be read is skipped and counted alone,
an answer that is not what the API promises raises `SourceError`. An empty page means that there is no news; a
source that is down is always an error.

Protocol facts: Binance spot API docs (aggTrades: `fromId` inclusive, contiguous ids, `m` = buyer was maker),
Coinbase Exchange docs (newest first, `after` = older than, `side` is the maker's), Kraken REST docs (`since`
in nanoseconds, errors inside HTTP 200, own names XBT and XDG).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from venues.fetch import Host
from venues.trades import Fields, Page, Read, Reader, SourceError, Trade, UnknownSymbol

PAGE_ROWS = 1000  # the largest page of all three venues


class Source(Protocol):
    """What a monitor needs of a market feed. Every method that asks the host raises SourceError."""

    name: str
    venue: str
    host: str

    def head(self, symbol: str) -> str:
        """The cursor just after the newest trade."""

    def page(self, symbol: str, cursor: str) -> Page:
        """The next trades from the cursor on."""

    def at(self, symbol: str, at_ms: int) -> str | None:
        """The cursor of the first trade at or after a time; None when there is no cheap way to it."""

    def cursor_at(self, trade: Trade) -> str:
        """The cursor whose page begins with this trade. Asks nobody."""

    def is_beyond(self, cursor: str, head: str) -> bool:
        """Is the cursor beyond the head, where no trade will ever be? Asks nobody."""

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:
        """Quote volume of the last 24 hours; symbols that the venue does not know are left out."""

    def url(self, symbol: str) -> str:
        """The market's public web page."""

    def close(self) -> None: ...


def default_sources(urls: Mapping[str, str]) -> list[Source]:
    """The feeds in order of preference; the keys are those of `Settings.source_urls`."""
    return [
        BinanceSpot(urls["binance"]),
        BinanceSpot(urls["binance_api"], name="binance_api"),
        CoinbaseExchange(urls["coinbase"]),
        Kraken(urls["kraken"]),
    ]


class BinanceSpot:
    """Binance spot against USDT. The cursor is the next trade id."""

    venue = "Binance spot"

    def __init__(self, base_url: str, *, name: str = "binance", deadline: float = 15.0) -> None:
        self.name = name
        self._http = Host(base_url, deadline=deadline)
        self.host = self._http.name

    def head(self, symbol: str) -> str:
        rows, venue_ms = self._trades(symbol, limit=1)
        if not rows:
            return "0"
        read = self._parse(rows, symbol, wanted=0, venue_ms=venue_ms)
        if not read.trades:
            raise SourceError(self.host, "the newest trade could not be read")
        return str(read.next_id)

    def page(self, symbol: str, cursor: str) -> Page:
        wanted = int(cursor)
        rows, venue_ms = self._trades(symbol, fromId=wanted, limit=PAGE_ROWS)
        read = self._parse(rows, symbol, wanted=wanted, venue_ms=venue_ms)
        head = len(rows) < PAGE_ROWS
        if not head and read.next_id == wanted:
            raise SourceError(self.host, "a page from before the cursor")
        return read.page(str(read.next_id), head=head, venue_ms=venue_ms)

    def at(self, symbol: str, at_ms: int) -> str | None:
        rows, venue_ms = self._trades(symbol, startTime=at_ms, limit=1)
        if not rows:  # nothing since then: what follows the newest trade is the first
            return self.head(symbol)
        read = self._parse(rows, symbol, wanted=0, venue_ms=venue_ms)
        return str(read.trades[0].trade_id) if read.trades else None

    def cursor_at(self, trade: Trade) -> str:
        return str(trade.trade_id)

    def is_beyond(self, cursor: str, head: str) -> bool:
        return int(cursor) > int(head)

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:
        volumes: dict[str, float] = {}
        for start in range(0, len(symbols), 20):  # up to 20 symbols cost the weight of one
            volumes |= self._volumes(symbols[start : start + 20])
        return volumes

    def _volumes(self, symbols: Sequence[str]) -> dict[str, float]:
        names = {f"{symbol}USDT": symbol for symbol in symbols}
        try:
            rows, _ = self._get("ticker/24hr", "", symbols=json.dumps(list(names), separators=(",", ":")))
        except UnknownSymbol:
            if len(symbols) == 1:
                return {}
            # One unknown coin spoils the whole answer: ask for each alone.
            return {coin: usd for symbol in symbols for coin, usd in self._volumes([symbol]).items()}
        volumes = {}
        for row in _list(self.host, rows):
            try:
                volumes[names[row["symbol"]]] = _number(row["quoteVolume"])
            except (KeyError, TypeError, ValueError):
                continue
        return volumes

    def url(self, symbol: str) -> str:
        return f"https://www.binance.com/en/trade/{symbol}_USDT?type=spot"

    def close(self) -> None:
        self._http.close()

    def _trades(self, symbol: str, **params: int) -> tuple[list[Any], int]:
        rows, venue_ms = self._get("aggTrades", symbol, symbol=f"{symbol}USDT", **params)
        return _list(self.host, rows), venue_ms

    def _get(self, name: str, coin: str, **params: str | int) -> tuple[Any, int]:
        def unknown(status: int, answer: Any) -> bool:
            return status == 400 and isinstance(answer, dict) and answer.get("code") == -1121

        return self._http.get(f"/api/v3/{name}", params, symbol=coin, unknown=unknown)

    def _parse(self, rows: list[Any], symbol: str, *, wanted: int, venue_ms: int) -> Read:
        def fields(row: Any) -> Fields:
            maker_bought = row["m"]
            side = "sell" if maker_bought is True else "buy" if maker_bought is False else ""
            return row["a"], row["p"], row["q"], side, row["T"]

        reader = Reader(self.host, self.venue, symbol, fields, id_at="a")
        return reader.read(rows, wanted=wanted, venue_ms=venue_ms)


class CoinbaseExchange:
    """Coinbase Exchange against USD. The cursor is the next trade id.

    The venue serves the newest trades and, with `after`, the newest of those below an id. Its ids being
    contiguous, `after = cursor + 1000` is the next page upwards. It is only asked for ids that exist.
    """

    venue = "Coinbase"

    def __init__(self, base_url: str, *, name: str = "coinbase", deadline: float = 15.0) -> None:
        self.name = name
        self._http = Host(base_url, deadline=deadline)
        self.host = self._http.name

    def head(self, symbol: str) -> str:
        rows, venue_ms = self._trades(symbol, limit=1)
        read = self._parse(rows, symbol, wanted=0, venue_ms=venue_ms)
        if rows and not read.trades:
            raise SourceError(self.host, "the newest trade could not be read")
        return str(read.next_id)

    def page(self, symbol: str, cursor: str) -> Page:
        wanted = int(cursor)
        rows, venue_ms = self._trades(symbol, limit=PAGE_ROWS)
        read = self._parse(rows, symbol, wanted=wanted, venue_ms=venue_ms)
        head = True
        oldest = read.trades[0].trade_id if read.trades else wanted
        if len(rows) >= PAGE_ROWS and oldest > wanted:
            older, _ = self._trades(symbol, limit=PAGE_ROWS, after=min(wanted + PAGE_ROWS, oldest))
            reached = wanted + PAGE_ROWS >= oldest
            below = self._parse(older + rows if reached else older, symbol, wanted=wanted, venue_ms=venue_ms)
            if below.trades:  # else the whole page is proven missing, and `read` counts it
                read, head = below, reached
        return read.page(str(read.next_id), head=head, venue_ms=venue_ms)

    def at(self, symbol: str, at_ms: int) -> str | None:
        return None

    def cursor_at(self, trade: Trade) -> str:
        return str(trade.trade_id)

    def is_beyond(self, cursor: str, head: str) -> bool:
        return int(cursor) > int(head)

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:
        volumes = {}
        for symbol in symbols:
            try:
                stats, _ = self._get("stats", symbol)
                volumes[symbol] = _number(stats["volume"]) * _number(stats["last"])
            except (UnknownSymbol, KeyError, TypeError, ValueError):
                continue
        return volumes

    def url(self, symbol: str) -> str:
        return f"https://www.coinbase.com/advanced-trade/spot/{symbol}-USD"

    def close(self) -> None:
        self._http.close()

    def _trades(self, symbol: str, **params: int) -> tuple[list[Any], int]:
        """Rows in the order of their ids."""
        rows, venue_ms = self._get("trades", symbol, **params)
        return _list(self.host, rows)[::-1], venue_ms

    def _get(self, name: str, symbol: str, **params: int) -> tuple[Any, int]:
        def unknown(status: int, answer: Any) -> bool:
            return status == 404 and isinstance(answer, dict) and answer.get("message") == "NotFound"

        return self._http.get(f"/products/{symbol}-USD/{name}", params, symbol=symbol, unknown=unknown)

    def _parse(self, rows: list[Any], symbol: str, *, wanted: int, venue_ms: int) -> Read:
        def fields(row: Any) -> Fields:
            moment = datetime.fromisoformat(row["time"])
            if moment.tzinfo is None:
                raise ValueError("a time without its zone")
            taker = {"sell": "buy", "buy": "sell"}[row["side"]]
            return row["trade_id"], row["price"], row["size"], taker, int(moment.timestamp() * 1000)

        reader = Reader(self.host, self.venue, symbol, fields, id_at="trade_id", overlaps=True)
        return reader.read(rows, wanted=wanted, venue_ms=venue_ms)


class Kraken:
    """Kraken spot against USD. The cursor is `since:next id`: nanoseconds as text (a float would lose digits).

    Several fills share one time, and whether `since` includes its own instant is not documented: a page is
    asked for from just before the last time seen, and the ids tell what is new (id 0: not known yet).
    """

    venue = "Kraken"
    _NAMES = {"BTC": "XBT", "DOGE": "XDG"}

    def __init__(self, base_url: str, *, name: str = "kraken", deadline: float = 15.0) -> None:
        self.name = name
        self._http = Host(base_url, deadline=deadline)
        self.host = self._http.name

    def head(self, symbol: str) -> str:
        rows, last, venue_ms = self._trades(symbol)
        read = self._parse(rows, symbol, wanted=0, venue_ms=venue_ms)
        return f"{max(0, last - 1)}:{read.next_id}"

    def page(self, symbol: str, cursor: str) -> Page:
        since, wanted = (int(part) for part in cursor.split(":"))
        rows, last, venue_ms = self._trades(symbol, since=since, count=PAGE_ROWS)
        read = self._parse(rows, symbol, wanted=wanted, venue_ms=venue_ms)
        head = len(rows) < PAGE_ROWS
        # A full page of one single instant would come again for ever: step behind it.
        stuck = not head and last - 1 <= since
        following = max(since, last if stuck else last - 1)
        return read.page(f"{following}:{read.next_id}", head=head, venue_ms=venue_ms)

    def at(self, symbol: str, at_ms: int) -> str | None:
        return f"{at_ms * 1_000_000 - 1}:0"

    def cursor_at(self, trade: Trade) -> str:
        # at_ms is cut to the millisecond, so the trade itself lies after this instant.
        return f"{trade.at_ms * 1_000_000 - 1}:{trade.trade_id}"

    def is_beyond(self, cursor: str, head: str) -> bool:
        # One more is no proof: after a full page of one instant the cursor is a nanosecond ahead.
        return any(int(a) > int(b) + 1 for a, b in zip(cursor.split(":"), head.split(":"), strict=True))

    def volume_usd(self, symbols: Sequence[str]) -> dict[str, float]:
        volumes = {}
        for symbol in symbols:
            try:
                result, _ = self._get("Ticker", symbol)
                (ticker,) = result.values()
                volumes[symbol] = _number(ticker["v"][1]) * _number(ticker["p"][1])
            except (UnknownSymbol, KeyError, IndexError, TypeError, ValueError, AttributeError):
                continue
        return volumes

    def url(self, symbol: str) -> str:
        return f"https://pro.kraken.com/app/trade/{symbol.lower()}-usd"

    def close(self) -> None:
        self._http.close()

    def _trades(self, symbol: str, **params: int) -> tuple[list[Any], int, int]:
        result, venue_ms = self._get("Trades", symbol, **params)
        if not isinstance(result, dict):
            raise SourceError(self.host, "an answer in an unknown shape")
        last = result.get("last")
        if not isinstance(last, str) or not last.isascii() or not last.isdigit() or len(last) > 20:
            raise SourceError(self.host, "an answer without its cursor")
        # The rows stand under Kraken's own name of the pair (XXBTZUSD).
        rows = next((value for key, value in result.items() if key != "last"), None)
        return _list(self.host, rows), int(last), venue_ms

    def _get(self, name: str, symbol: str, **params: int) -> tuple[Any, int]:
        query = {"pair": f"{self._NAMES.get(symbol, symbol)}USD"} | params
        answer, venue_ms = self._http.get(f"/0/public/{name}", query, symbol=symbol)
        if not isinstance(answer, dict) or not isinstance(answer.get("error"), list):
            raise SourceError(self.host, "an answer in an unknown shape")
        if answer["error"]:
            words = str(answer["error"][0])[:60]
            if words == "EQuery:Unknown asset pair":
                raise UnknownSymbol(self.host, f"does not know {symbol}")
            raise SourceError(self.host, words)
        return answer.get("result"), venue_ms

    def _parse(self, rows: list[Any], symbol: str, *, wanted: int, venue_ms: int) -> Read:
        def fields(row: Any) -> Fields:
            taker = {"b": "buy", "s": "sell"}[row[3]]
            return row[6], row[0], row[1], taker, int(row[2] * 1000)

        reader = Reader(self.host, self.venue, symbol, fields, id_at=6, overlaps=True)
        return reader.read(rows, wanted=wanted, venue_ms=venue_ms)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        raise ValueError("not a usable number") from None
    if not 0 < number < 1e18:
        raise ValueError("not a usable number")
    return number


def _list(host: str, rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise SourceError(host, "an answer in an unknown shape")
    return rows
