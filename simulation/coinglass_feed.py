"""How the simulated CoinGlass answers; see perpetual_feeds.py, which also has its refusals."""

from __future__ import annotations

import re
import time
from typing import Any

from simulation.http import Answer, json_answer
from simulation.market import Market
from simulation.perpetual_feeds import refusal
from simulation.perpetuals import PLANS
from simulation.request import Params, Request

_KEY = re.compile(rb"\r\ncg-api-key:\s*([^\r]*)", re.IGNORECASE)
_PLAN_NEEDED = {
    "/api/futures/funding-rate/exchange-list": "HOBBYIST",
    "/api/hyperliquid/whale-alert": "STARTUP",
    "/api/futures/liquidation/order": "STANDARD",
}


def coinglass(market: Market, path: str, request: Request) -> Answer:
    """CoinGlass: whale moves, liquidations and funding rates, by the key's plan."""
    perpetuals = market.perpetuals
    key = match[1].decode("latin-1").strip() if (match := _KEY.search(request.head)) else ""
    if not key:
        return json_answer({"code": "400", "msg": "API key missing."})
    if key != perpetuals.coinglass_key:
        return refusal("coinglass", 400, ())
    needed = _PLAN_NEEDED.get(path)
    if needed is None:
        return json_answer({"code": "404", "msg": "Not Found"}, status=404)
    if PLANS.index(perpetuals.coinglass_plan) < PLANS.index(needed):
        return refusal("coinglass", 401, ())
    if path.endswith("/whale-alert"):
        return _coinglass_data(perpetuals.coinglass_moves[:200])
    if path.endswith("/order"):
        return _coinglass_orders(market, request.params)
    return _coinglass_data(_coinglass_rates(market))


def _coinglass_orders(market: Market, params: Params) -> Answer:
    if not all(params.get(name) for name in ("exchange", "symbol", "min_liquidation_amount")):
        return json_answer({"code": "400", "msg": "Required parameter is missing"}, status=400)
    least = float(str(params["min_liquidation_amount"]))
    start = int(str(params.get("start_time", "0")))
    end = int(str(params.get("end_time", "9" * 15)))
    rows = [
        row
        for row in market.perpetuals.coinglass_orders
        if row["exchange_name"] == str(params["exchange"]).upper()
        and row["base_asset"] == params["symbol"]
        and row["usd_value"] >= least
        and start <= row["time"] <= end
    ]
    rows.sort(key=lambda row: int(row["time"]))
    return _coinglass_data(rows[:200] if start else rows[-200:])


def _coinglass_rates(market: Market) -> list[dict[str, Any]]:
    following = int((time.time() // 28800 + 1) * 28_800_000)
    coins: dict[str, list[dict[str, Any]]] = {}
    for (venue, coin), (rate, hours) in market.perpetuals.rates.items():
        if venue in ("Binance", "Bybit"):
            entry = {"exchange": venue, "funding_rate_interval": int(hours), "funding_rate": rate * 100}
            coins.setdefault(coin, []).append(entry | {"next_funding_time": following})
    return [
        {"symbol": coin, "stablecoin_margin_list": entries, "token_margin_list": []}
        for coin, entries in coins.items()
    ]


def _coinglass_data(data: Any) -> Answer:
    return json_answer({"code": "0", "msg": "success", "data": data})
