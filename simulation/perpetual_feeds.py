"""How the simulated venues of perpetual contracts answer: OKX, Gate and Hyperliquid.

A venue is one function `(market, path, request) -> Answer`, plus its refusals in `refusal`. Shapes, cursors and error
codes follow the venues' public API docs.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from simulation.http import Answer, html_answer, json_answer
from simulation.market import Market
from simulation.perpetuals import OKX_INVERSE, Liquidation
from simulation.request import Params, Request

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_GATE_ROWS = 1000
OKX_NO_COINS = {"TSLA": "3", "XAU": "4"}  # shares and metals: their category
GATE_TYPES = {"PAXG": "metals", "XAU": "metals", "USDC": "stablecoins"}


def refusal(venue: str, status: int, wait: tuple[tuple[str, str], ...]) -> Answer:
    """A venue's own refusal with `status`. OKX: a status above 1000 is its own code inside HTTP 200."""
    if venue == "hyperliquid":
        return (
            _no_json("Failed to deserialize the JSON body into the target type")
            if status == 422
            else Answer(status, b"null", headers=wait)
        )
    if venue == "gate":
        label, message = {
            429: ("TOO_MANY_REQUESTS", "Request Rate limit Exceeded"),
            400: ("INVALID_PARAM_VALUE", "Invalid parameter value"),
            404: ("NOT_FOUND", "Not found"),
        }.get(status, ("SERVER_ERROR", "Server error"))
        return json_answer({"label": label, "message": message}, status=status, headers=wait)
    if venue == "coinglass":
        code, words = {
            401: ("401", "Upgrade plan"),
            400: ("400", "Invalid API key provided"),
        }.get(status, (str(status), "Too Many Requests" if status == 429 else "Server error"))
        return json_answer({"code": code, "msg": words}, status=200 if status in (400, 401) else status, headers=wait)
    if status == 404:
        return json_answer({"code": 404, "data": {}, "error_code": "404", "msg": "Not Found"}, status=404)
    code, words = {
        429: ("50011", "Too Many Requests"),
        50011: ("50011", "Too Many Requests"),
        50013: ("50013", "Systems are busy. Please try again later."),
        400: ("51000", "Parameter error"),
    }.get(status, (str(status), "Operation failed."))
    body = {"msg": words, "code": code} if code == "50011" else {"msg": words, "code": code, "data": []}
    return json_answer(body, status=200 if status > 1000 else status, headers=wait)


# OKX


def okx(market: Market, path: str, request: Request) -> Answer:
    """OKX: contracts, funding rates, open interest, liquidations."""
    params = request.params
    if path == "/api/v5/public/instruments":
        if params.get("instType") != "SWAP":
            return _okx_error("50014", "Parameter instType can not be empty", 400)
        return _okx_data([*_okx_instruments(market)])
    if path == "/api/v5/public/funding-rate":
        if params.get("instId") != "ANY":
            return _okx_error("51001", "Instrument ID does not exist")
        return _okx_data(_okx_rates(market))
    if path == "/api/v5/public/open-interest":
        if params.get("instType") != "SWAP":
            return _okx_error("50014", "Parameter instType can not be empty", 400)
        return _okx_data(_okx_interest(market))
    if path == "/api/v5/public/liquidation-orders":
        return _okx_liquidations(market, params)
    return refusal("okx", 404, ())


def _okx_instruments(market: Market) -> list[dict[str, str]]:
    rows = []
    for (venue, coin), unit in market.perpetuals.sizes.items():
        if venue != "okx":
            continue
        row = {"instType": "SWAP", "instId": f"{coin}-USDT-SWAP", "instFamily": f"{coin}-USDT", "uly": f"{coin}-USDT"}
        size = {"ctType": "linear", "ctVal": f"{unit:g}", "ctMult": "1", "ctValCcy": coin, "settleCcy": "USDT"}
        if ("okx", coin) not in market.perpetuals.without_multiplier:
            rows.append(row | size | {"state": "live", "instCategory": "1"})
    for coin, category in OKX_NO_COINS.items():
        row = {"instType": "SWAP", "instId": f"{coin}-USDT-SWAP", "instFamily": f"{coin}-USDT", "uly": f"{coin}-USDT"}
        size = {"ctType": "linear", "ctVal": "1", "ctMult": "1", "ctValCcy": coin, "settleCcy": "USDT"}
        rows.append(row | size | {"state": "live", "instCategory": category})
    for coin, usd in OKX_INVERSE.items():
        row = {"instType": "SWAP", "instId": f"{coin}-USD-SWAP", "instFamily": f"{coin}-USD", "uly": f"{coin}-USD"}
        size = {"ctType": "inverse", "ctVal": f"{usd:g}", "ctMult": "1", "ctValCcy": "USD", "settleCcy": coin}
        rows.append(row | size | {"state": "live"})
    return rows


def _okx_rates(market: Market) -> list[dict[str, str]]:
    now = time.time()
    rows = []
    for (venue, coin), (rate, hours) in market.perpetuals.rates.items():
        if venue == "okx":
            rows.append(_okx_rate(f"{coin}-USDT-SWAP", "SWAP", rate, hours, now))
    rows += [_okx_rate(f"{coin}-USDT-SWAP", "SWAP", 0.0009, 8.0, now) for coin in OKX_NO_COINS]
    rows.append(_okx_rate("BTC-USD-SWAP", "SWAP", 0.0001, 8.0, now))
    rows.append(_okx_rate("XAU-USD_UM_XPERP-310502", "FUTURES", 0.0003449, 8.0, now))
    return rows


def _okx_rate(name: str, kind: str, rate: float, hours: float, now: float) -> dict[str, str]:
    length = hours * 3600
    charged = (now // length + 1) * length
    return {
        "formulaType": "withRate",
        "fundingRate": f"{rate:.16f}",
        "fundingTime": str(int(charged * 1000)),
        "instId": name,
        "instType": kind,
        "method": "current_period",
        "nextFundingRate": "",
        "nextFundingTime": str(int((charged + length) * 1000)),
        "prevFundingTime": str(int((charged - length) * 1000)),
        "settState": "settled",
        "ts": str(int(now * 1000)),
    }


def _okx_interest(market: Market) -> list[dict[str, str]]:
    rows = []
    for (venue, coin), size in market.perpetuals.interest.items():
        if venue == "okx":
            unit = market.perpetuals.sizes.get(("okx", coin), 1.0)
            row = {"instId": f"{coin}-USDT-SWAP", "instType": "SWAP", "oi": f"{size / unit:.8f}"}
            rows.append(row | {"oiCcy": f"{size:.8f}", "oiUsd": f"{size * market.prices.get(coin, 1.0):.8f}"})
    others = [f"{coin}-USDT-SWAP" for coin in OKX_NO_COINS] + ["BTC-USD-SWAP"]
    rows += [{"instId": name, "instType": "SWAP", "oi": "100", "oiCcy": "5.5", "oiUsd": "9999"} for name in others]
    return [row | {"ts": str(int(time.time() * 1000))} for row in rows]


def _okx_liquidations(market: Market, params: Params) -> Answer:
    family = str(params.get("instFamily") or params.get("uly") or "")
    if not family:
        return _okx_error("50015", "Either parameter uly or instFamily is required", 400)
    coin, _, quote = family.partition("-")
    listed = ("okx", coin) in market.perpetuals.sizes if quote == "USDT" else quote == "USD" and coin in OKX_INVERSE
    if not listed or ("okx", family) in market.delisted:
        return _okx_error("51000", "Parameter instFamily error", 400)
    try:
        limit = min(max(int(str(params.get("limit", "100"))), 1), 100)
        after = int(str(params["after"])) if "after" in params else None
    except ValueError:
        return _okx_error("51000", "Parameter after error", 400)
    known = [event for event in market.perpetuals.liquidations if event.venue == "okx" and event.family == family]
    shown = [event for event in reversed(known) if after is None or event.ms < after][:limit]
    if not shown:
        return _okx_data([])
    details = [_okx_detail(event) for event in shown]
    group = {"instFamily": family, "instId": f"{family}-SWAP", "instType": "SWAP", "totalLoss": "0", "uly": family}
    return _okx_data([group | {"details": details}])


def _okx_detail(event: Liquidation) -> Any:
    row = {
        "bkLoss": "0",
        "bkPx": _text(event.price),
        "ccy": "",
        "posSide": "net" if event.net else event.side,
        "side": "sell" if event.side == "long" else "buy",
        "sz": _text(event.size),
        "time": event.ms,
        "ts": str(event.ms),
    }
    return spoilt(row, "bkPx", event.poison)


def _okx_data(rows: Sequence[Any]) -> Answer:
    return json_answer({"code": "0", "data": rows, "msg": ""})


def _okx_error(code: str, words: str, status: int = 200) -> Answer:
    return json_answer({"code": code, "msg": words, "data": []}, status=status)


# Gate


def gate(market: Market, path: str, request: Request) -> Answer:
    """Gate: contracts and liquidations."""
    if path == "/api/v4/futures/usdt/contracts":
        return json_answer(_gate_contracts(market))
    if path != "/api/v4/futures/usdt/liq_orders":
        return refusal("gate", 404, ())
    try:
        limit = int(str(request.params.get("limit", "100")))
    except ValueError:
        limit = 0
    if not 1 <= limit <= _GATE_ROWS:
        return refusal("gate", 400, ())
    # `from` and `to` are accepted and ignored; an hour is shown at most.
    since = (time.time() - 3600) * 1000
    known = [event for event in market.perpetuals.liquidations if event.venue == "gate" and event.ms >= since]
    return json_answer([_gate_row(event) for event in reversed(known[-limit:])])


def _gate_contracts(market: Market) -> list[dict[str, Any]]:
    rows = []
    for (venue, coin), unit in market.perpetuals.sizes.items():
        if venue == "gate" and ("gate", coin) not in market.perpetuals.without_multiplier:
            rows.append(_gate_contract(coin, f"{unit:g}", market.prices[coin]))
    for coin, kind in GATE_TYPES.items():
        rows.append(_gate_contract(coin, "0.001", 1.0) | {"contract_type": kind})
    shares = _gate_contract("ANDURIL", "0.01", 124.0)
    return [*rows, shares | {"contract_type": "stocks", "is_pre_market": True}]


def _gate_contract(coin: str, unit: str, price: float) -> dict[str, Any]:
    return {
        "name": f"{coin}_USDT",
        "type": "direct",
        "quanto_multiplier": unit,
        "funding_rate": "0.0001",
        "funding_interval": 28800,
        "funding_next_apply": int((time.time() // 28800 + 1) * 28800),
        "mark_price": f"{price:g}",
        "in_delisting": False,
        "is_pre_market": False,
        "status": "trading",
        "contract_type": "",
    }


def _gate_row(event: Liquidation) -> Any:
    sign = 1 if event.side == "long" else -1
    row = {
        "contract": f"{event.coin}_USDT",
        "left": _text(event.left),
        "size": _text(sign * event.position),
        "order_size": _text(-sign * event.size),
        "fill_price": _text(event.price),
        "order_price": _text(event.price * (1 - 0.003 * sign)),
        "time": event.ms // 1000,
    }
    return spoilt(row, "fill_price", event.poison)


# Hyperliquid


def hyperliquid(market: Market, path: str, request: Request) -> Answer:
    """Hyperliquid: funding rates and a wallet's positions."""
    if path != "/info":
        return html_answer(404)
    if request.method != "POST":
        return Answer(405, b"", "text/plain")
    kind, user = str(request.params.get("type", "")), str(request.params.get("user", ""))
    if kind == "metaAndAssetCtxs":
        return json_answer(_hyperliquid_contexts(market))
    if kind == "clearinghouseState" and _ADDRESS.fullmatch(user):
        return json_answer(_hyperliquid_wallet(market, user.lower()))
    return _no_json("Failed to deserialize the JSON body into the target type")


def _no_json(words: str) -> Answer:
    return Answer(422, words.encode(), "text/plain")


def _hyperliquid_contexts(market: Market) -> list[Any]:
    universe: list[dict[str, Any]] = []
    contexts: list[dict[str, Any]] = []
    for (venue, coin), (rate, _) in market.perpetuals.rates.items():
        if venue != "hyperliquid":
            continue
        price = f"{market.prices.get(coin, 1.0):g}"
        size = f"{market.perpetuals.interest.get((venue, coin), 0.0):.8f}"
        universe.append({"szDecimals": 5, "name": coin, "maxLeverage": 40, "marginTableId": 56})
        contexts.append(
            {"funding": f"{rate:.10f}", "openInterest": size, "premium": "0.0", "oraclePx": price}
            | {"markPx": price, "midPx": price, "dayNtlVlm": "3571973656.44", "impactPxs": [price, price]}
        )
    universe.append({"szDecimals": 1, "name": "MATIC", "maxLeverage": 20, "marginTableId": 20, "isDelisted": True})
    contexts.append(
        {"funding": "0.0", "openInterest": "0.0", "premium": None, "oraclePx": "0.3754", "markPx": "0.37621"}
        | {"midPx": None, "dayNtlVlm": "0.0", "impactPxs": None}
    )
    return [{"universe": universe, "marginTables": [], "collateralToken": 0}, contexts]


def _hyperliquid_wallet(market: Market, address: str) -> dict[str, Any]:
    positions = []
    for held in market.perpetuals.wallets.get(address, []):
        price = market.prices.get(held["coin"], 1.0)
        position = {
            "coin": held["coin"],
            "entryPx": _text(held["entry"] or price),
            "leverage": {"type": "cross", "value": 20},
            "liquidationPx": None if held["liquidation"] is None else _text(held["liquidation"]),
            "marginUsed": "10.5",
            "positionValue": _text(abs(held["size"]) * price),
            "returnOnEquity": "0.01",
            "szi": _text(held["size"]),
            "unrealizedPnl": "0.0",
        }
        positions.append({"position": spoilt(position, "szi", held["poison"]), "type": "oneWay"})
    summary = {"accountValue": "1182.3", "totalMarginUsed": "171.7", "totalNtlPos": "3434.8", "totalRawUsd": "86.5"}
    return {
        "assetPositions": positions,
        "crossMarginSummary": summary,
        "marginSummary": summary,
        "withdrawable": "1010.5",
        "time": int(time.time() * 1000),
    }


def _text(value: float) -> str:
    return json.dumps(round(value, 8)).removesuffix(".0")


def spoilt(row: Any, key: str | int, kind: str) -> Any:
    """The row as it is, or with the fault of this kind: null, list, or a value under `key` that cannot be read."""
    if kind in ("", "null", "list"):
        return {"": row, "null": None, "list": [[]]}[kind]
    row = row.copy()
    if kind == "missing":
        del row[key]
    else:
        row[key] = {"text": "a price", "nan": "NaN", "negative": "-1.0"}[kind]
    return row
