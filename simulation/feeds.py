"""How the simulated spot venues answer: Binance spot, Coinbase Exchange and Kraken.

A venue is one function `(market, path, request) -> Answer` in FEEDS, plus its refusals in `error_answer`. Shapes and
error codes follow the venues' public API docs. Perpetual contracts: perpetual_feeds.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from simulation.coinglass_feed import coinglass
from simulation.http import Answer, html_answer, json_answer
from simulation.klines import LENGTHS, klines
from simulation.market import Market, Trade
from simulation.perpetual_feeds import gate, hyperliquid, okx, refusal, spoilt
from simulation.request import Params, Request

_KRAKEN = {"BTC": ("XBTUSD", "XXBTZUSD"), "ETH": ("ETHUSD", "XETHZUSD"), "XRP": ("XRPUSD", "XXRPZUSD")} | {
    "DOGE": ("XDGUSD", "XDGUSD")
}
_WEIGHT = 6000  # a minute
_NO_TRADE_ID = "Illegal characters found in parameter 'fromId'; legal range is '^[0-9]{1,20}$'."


def error_answer(venue: str, status: int, *, retry_after: int | None = None) -> Answer:
    """A venue's own refusal with `status`; 403 and 5xx are a proxy's HTML page. retry_after: seconds."""
    wait = () if retry_after is None else (("Retry-After", str(retry_after)),)
    if status == 403 or 500 <= status < 600:
        return html_answer(status)
    if venue in ("okx", "gate", "hyperliquid", "coinglass"):
        return refusal(venue, status, wait)
    if venue == "kraken":  # errors come with HTTP 200
        words = {429: "EGeneral:Too many requests", 404: "EQuery:Unknown asset pair"}
        return json_answer({"error": [words.get(status, "EService:Busy")]})
    if venue == "coinbase":
        message = {404: "NotFound", 429: "Public rate limit exceeded"}.get(status, "BadRequest")
        return json_answer({"message": message}, status=status, headers=wait)
    code, words_of_binance = {
        429: (-1003, "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."),
        418: (-1003, "Way too much request weight used; IP banned until 1789309016002."),
        451: (0, "Service unavailable from a restricted location according to 'b. Eligibility'."),
    }.get(status, (-1000, "An unknown error occurred while processing the request."))
    return json_answer({"code": code, "msg": words_of_binance}, status=status, headers=wait)


def _binance(market: Market, path: str, request: Request) -> Answer:
    params = request.params
    if path == "/api/v3/ping":
        return json_answer({})
    if path == "/api/v3/time":
        return json_answer({"serverTime": int(time.time() * 1000)})
    if path == "/api/v3/aggTrades":
        return _binance_trades(market, params)
    if path == "/api/v3/klines":
        return _binance_klines(market, params)
    if path not in ("/api/v3/ticker/24hr", "/api/v3/ticker/bookTicker", "/api/v3/exchangeInfo"):
        return html_answer(404)
    if "symbol" in params and "symbols" in params:
        return _binance_error(-1128, "Combination of optional parameters invalid.")
    try:
        names = json.loads(str(params["symbols"])) if "symbols" in params else None
    except ValueError:
        return _binance_error(-1100, "Illegal characters found in parameter 'symbols'.")
    if names is None:
        names = [str(params["symbol"])] if "symbol" in params else [f"{symbol}USDT" for symbol in market.volumes]
    symbols = [name.removesuffix("USDT") for name in names]
    if not all(market.knows("binance", symbol) for symbol in symbols):
        return _binance_error(-1121, "Invalid symbol.")
    if path == "/api/v3/exchangeInfo":
        rows = [
            {"symbol": f"{symbol}USDT", "status": "TRADING", "baseAsset": symbol, "quoteAsset": "USDT"}
            for symbol in symbols
        ]
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": _WEIGHT}
        now = int(time.time() * 1000)
        return json_answer({"timezone": "UTC", "serverTime": now, "rateLimits": [limit], "symbols": rows})
    ticker, weight = _binance_ticker, 2
    if path == "/api/v3/ticker/bookTicker":
        ticker, weight = _binance_book, 2 if "symbol" in params else 4
    tickers = [ticker(market, symbol) for symbol in symbols]
    return _weighed(market, weight, tickers[0] if "symbol" in params else tickers)


def _weighed(market: Market, weight: int, body: Any) -> Answer:
    """The answer, unless this address has asked for too much in this minute."""
    used = market.weigh(weight)
    if used > _WEIGHT:
        return error_answer("binance", 429, retry_after=60 - int(time.time() % 60))
    return json_answer(body, headers=(("X-MBX-USED-WEIGHT-1M", str(used)),))


def _binance_symbol(market: Market, params: Params, *mandatory: str) -> str | Answer:
    """The coin of a question, or what is wrong with its parameters."""
    for name in ("symbol", *mandatory):
        if not params.get(name):
            return _binance_error(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    name = str(params["symbol"])
    symbol = name.removesuffix("USDT")
    if not name.endswith("USDT") or not market.knows("binance", symbol):
        return _binance_error(-1121, "Invalid symbol.")
    return symbol


def _binance_klines(market: Market, params: Params) -> Answer:
    symbol = _binance_symbol(market, params, "interval")
    if not isinstance(symbol, str):
        return symbol
    length = LENGTHS.get(str(params["interval"]))
    if length is None:
        return _binance_error(-1120, "Invalid interval.")
    try:
        limit = min(max(int(str(params.get("limit", "500"))), 1), 1000)
        start, end = int(str(params.get("startTime", "0"))), int(str(params.get("endTime", "9" * 15)))
    except ValueError:
        return _binance_error(-1100, "Illegal characters found in a parameter.")
    found = [row for row in klines(market, symbol, length) if start <= int(row[0]) <= end]
    return _weighed(market, 2, found[:limit] if "startTime" in params else found[-limit:])


def _binance_trades(market: Market, params: Params) -> Answer:
    symbol = _binance_symbol(market, params)
    if not isinstance(symbol, str):
        return symbol
    if "fromId" in params and ("startTime" in params or "endTime" in params):
        return _binance_error(-1128, "Combination of optional parameters invalid.")
    try:
        limit = min(max(int(str(params.get("limit", "500"))), 1), 1000)
        if "fromId" in params:
            trades = market.since_id("binance", symbol, int(str(params["fromId"])), limit)
        elif "startTime" in params or "endTime" in params:
            start, end = int(str(params.get("startTime", "0"))), int(str(params.get("endTime", "9" * 15)))
            found = [trade for trade in market.trades("binance", symbol) if start <= trade.ms <= end]
            trades = found[:limit] if "startTime" in params else found[-limit:]
        else:
            trades = market.newest("binance", symbol, limit)
    except ValueError:
        return _binance_error(-1100, _NO_TRADE_ID)
    rows = [
        spoilt(
            {
                "a": trade.id,
                "p": f"{trade.price:.8f}",
                "q": f"{trade.quantity:.8f}",
                "f": trade.id * 2,
                "l": trade.id * 2,
                "T": trade.ms,
                "m": trade.side == "sell",
                "M": True,
            },
            "p",
            trade.poison,
        )
        for trade in trades
    ]
    return _weighed(market, 4, rows)


def _binance_ticker(market: Market, symbol: str) -> dict[str, Any]:
    price, volume, now = market.prices[symbol], market.volumes[symbol], int(time.time() * 1000)
    return {
        "symbol": f"{symbol}USDT",
        "lastPrice": f"{price:.8f}",
        "volume": f"{volume / price:.8f}",
        "quoteVolume": f"{volume:.8f}",
        "openTime": now - 86_400_000,
        "closeTime": now,
        "count": 1_000_000,
    }


def _binance_book(market: Market, symbol: str) -> dict[str, Any]:
    bid, ask = market.book("binance", symbol)
    book = {"bidPrice": bid, "bidQty": 1.5, "askPrice": ask, "askQty": 2.5}
    return {"symbol": f"{symbol}USDT"} | {name: f"{number:.8f}" for name, number in book.items()}


def _binance_error(code: int, words: str) -> Answer:
    return json_answer({"code": code, "msg": words}, status=400)


def _coinbase(market: Market, path: str, request: Request) -> Answer:
    params = request.params
    parts = path.strip("/").split("/")
    symbol = parts[1].removesuffix("-USD") if len(parts) == 3 and parts[1].endswith("-USD") else None
    if symbol is None or not market.knows("coinbase", symbol) or parts[0] != "products":
        return error_answer("coinbase", 404)
    if symbol in market.closed_at_coinbase:
        return json_answer({"message": "Not allowed for delisted products"}, status=400)
    if parts[2] == "stats":
        price, volume = market.prices[symbol], market.volumes[symbol] / 4
        numbers = {"open": price, "high": price, "low": price, "last": price, "volume": volume / price}
        return json_answer({name: f"{number:.8f}" for name, number in numbers.items()})
    if parts[2] == "ticker":
        return json_answer(_coinbase_ticker(market, symbol))
    if parts[2] != "trades":
        return error_answer("coinbase", 404)
    try:
        limit = min(max(int(str(params.get("limit", "1000"))), 1), 1000)
        after = int(str(params["after"])) if "after" in params else None
        before = int(str(params["before"])) if "before" in params else None
    except ValueError:
        return error_answer("coinbase", 400)
    trades = market.trades("coinbase", symbol)
    # `before` gives the newest page above it, not the next one, as documented.
    trades = [
        trade for trade in trades if (after is None or trade.id < after) and (before is None or trade.id > before)
    ][-limit:][::-1]
    rows = [
        spoilt(
            {
                "time": datetime.fromtimestamp(trade.ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "trade_id": trade.id,
                "price": f"{trade.price:.8f}",
                "size": f"{trade.quantity:.8f}",
                "side": "sell" if trade.side == "buy" else "buy",  # the maker's side
            },
            "price",
            trade.poison,
        )
        for trade in trades
    ]
    pages = (("CB-BEFORE", str(trades[0].id)), ("CB-AFTER", str(trades[-1].id))) if trades else ()
    return json_answer(rows, headers=pages)


def _coinbase_ticker(market: Market, symbol: str) -> dict[str, Any]:
    bid, ask = market.book("coinbase", symbol)
    price, newest = market.prices[symbol], market.newest("coinbase", symbol, 1)
    numbers = {"ask": ask, "bid": bid, "volume": market.volumes[symbol] / 4 / price, "price": price, "size": 0.01}
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    ticker: dict[str, Any] = {"trade_id": newest[-1].id if newest else 1, "time": at}
    return ticker | {name: f"{number:.8f}".rstrip("0").rstrip(".") for name, number in numbers.items()}


def _kraken(market: Market, path: str, request: Request) -> Answer:
    params = request.params
    if path not in ("/0/public/Trades", "/0/public/Ticker"):
        return json_answer({"error": ["EGeneral:Unknown method"]})
    pairs = {symbol: _KRAKEN.get(symbol, (f"{symbol}USD",) * 2) for symbol in market.volumes}
    asked = str(params.get("pair", "")).split(",")
    named = [next((symbol for symbol, names in pairs.items() if pair in names), None) for pair in asked]
    known = [symbol for symbol in named if symbol is not None and market.knows("kraken", symbol)]
    if len(known) < len(asked) or (len(asked) > 1 and path != "/0/public/Ticker"):
        return error_answer("kraken", 404)
    if path == "/0/public/Ticker":
        tickers = {pairs[symbol][1]: _kraken_ticker(market, symbol) for symbol in known}
        return json_answer({"error": [], "result": tickers})
    (found,) = known
    key = pairs[found][1]
    try:
        count = min(max(int(str(params.get("count", "1000"))), 1), 1000)
        since = int(str(params["since"])) if "since" in params else None
    except ValueError:
        return json_answer({"error": ["EGeneral:Invalid arguments"]})
    trades = market.trades("kraken", found)
    if since is None:
        trades = trades[-count:]
    else:
        inclusive = market.kraken_since_inclusive
        trades = [trade for trade in trades if _ns(trade) > since or (inclusive and _ns(trade) == since)][:count]
    rows = [
        spoilt(
            [
                f"{trade.price:.5f}",
                f"{trade.quantity:.8f}",
                trade.ms / 1000,
                trade.side[0],
                "m",
                "",
                trade.id,
            ],
            0,
            trade.poison,
        )
        for trade in trades
    ]
    last = _ns(trades[-1]) if trades else since or 0
    return json_answer({"error": [], "result": {key: rows, "last": str(last)}})


def _kraken_ticker(market: Market, symbol: str) -> dict[str, Any]:
    price, volume = f"{market.prices[symbol]:.5f}", f"{market.volumes[symbol] / 20 / market.prices[symbol]:.8f}"
    bid, ask = (f"{number:.5f}" for number in market.book("kraken", symbol))
    ticker: dict[str, Any] = {"a": [ask, "2", "2.000"], "b": [bid, "1", "1.000"], "c": [price, "0.01"]}
    return ticker | {"v": [volume, volume], "p": [price, price], "t": [9000, 9000], "o": price}


def _ns(trade: Trade) -> int:
    return trade.ms * 1_000_000


FEEDS: dict[str, Callable[[Market, str, Request], Answer]] = {
    "binance": _binance,
    "binance_api": _binance,
    "coinbase": _coinbase,
    "kraken": _kraken,
    "okx": okx,
    "gate": gate,
    "hyperliquid": hyperliquid,
    "coinglass": coinglass,
}
VENUES = tuple(FEEDS)
