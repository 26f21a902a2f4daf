"""The simulator's venues of perpetual contracts obey the rules of the real ones, asked as a plain client would."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from simulation.perpetuals import ADDRESS
from simulation.simulator import Simulator


def get(sim: Simulator, venue: str, path: str, **params: Any) -> requests.Response:
    headers = {"CG-API-KEY": sim.market.perpetuals.coinglass_key} if venue == "coinglass" else {}
    return requests.get(sim.market_url(venue) + path, params=params, headers=headers, timeout=30)


def info(sim: Simulator, **body: Any) -> requests.Response:
    return requests.post(sim.market_url("hyperliquid") + "/info", json=body, timeout=30)


def okx(sim: Simulator, **params: Any) -> Any:
    path = "/api/v5/public/liquidation-orders"
    return get(sim, "okx", path, instType="SWAP", state="filled", **params).json()


def test_okx_pages_backwards_from_the_newest_and_after_means_strictly_older(sim: Simulator) -> None:
    for number in range(150):
        sim.market.perpetuals.liquidate("okx", "BTC", "long", usd=1000, at_ms=1_789_000_000_000 + number)
    (group,) = okx(sim, instFamily="BTC-USDT", limit=100)["data"]
    times = [int(row["ts"]) for row in group["details"]]
    assert group["instId"] == "BTC-USDT-SWAP"
    assert times == sorted(times, reverse=True) and len(times) == 100
    (older,) = okx(sim, instFamily="BTC-USDT", after=times[-1])["data"]
    assert int(older["details"][0]["ts"]) == times[-1] - 1
    assert len(older["details"]) == 50


def test_okx_says_contracts_and_the_side_of_the_position(sim: Simulator) -> None:
    sim.market.perpetuals.liquidate("okx", "BTC", "short", usd=770_000, price=77_000)
    sim.market.perpetuals.liquidate("okx", "BTC", "long", usd=50_000, inverse=True, net=True)
    row = okx(sim, instFamily="BTC-USDT")["data"][0]["details"][0]
    assert (row["posSide"], row["side"], row["sz"]) == ("short", "buy", "1000")
    row = okx(sim, instFamily="BTC-USD")["data"][0]["details"][0]
    assert (row["posSide"], row["side"], row["sz"]) == ("net", "sell", "500")


def test_okx_words_its_errors_with_text_codes_and_an_unknown_path_with_a_number(sim: Simulator) -> None:
    assert okx(sim)["code"] == "50015"
    none = get(sim, "okx", "/api/v5/public/liquidation-orders", instType="SWAP", instFamily="NONE-USDT")
    assert (none.status_code, none.json()["code"]) == (400, "51000")
    assert okx(sim, instFamily="SOL-USDT") == {"code": "0", "data": [], "msg": ""}
    unknown = get(sim, "okx", "/api/v5/public/nothing")
    assert unknown.status_code == 404 and unknown.json()["code"] == 404
    sim.fault(market="okx", kind="status", code=50011, times=1)
    limited = get(sim, "okx", "/api/v5/public/funding-rate", instId="ANY")
    assert limited.status_code == 200 and limited.json() == {"code": "50011", "msg": "Too Many Requests"}


def test_okx_funding_of_any_has_futures_among_its_swaps(sim: Simulator) -> None:
    rows = get(sim, "okx", "/api/v5/public/funding-rate", instId="ANY").json()["data"]
    assert {row["instType"] for row in rows} == {"SWAP", "FUTURES"}
    row = next(row for row in rows if row["instId"] == "TON-USDT-SWAP")
    assert int(row["nextFundingTime"]) - int(row["fundingTime"]) == 4 * 3_600_000
    assert int(row["fundingTime"]) > time.time() * 1000


def test_gate_shows_the_shrinking_position_of_an_hour_in_seconds_and_ignores_from(sim: Simulator) -> None:
    at_ms = int(time.time() - 600) * 1000
    sim.market.perpetuals.liquidate("gate", "BTC", "long", usd=1000, at_ms=at_ms - 3_060_000)
    sim.market.perpetuals.liquidate_in_parts("ETH", "short", [25_000, 50_000], price=2500, at_ms=at_ms)
    rows = get(sim, "gate", "/api/v4/futures/usdt/liq_orders", limit=1000, **{"from": at_ms}).json()
    assert [(row["size"], row["order_size"], row["time"]) for row in rows] == [
        ("-2000", "2000", at_ms // 1000 + 6),
        ("-3000", "1000", at_ms // 1000),
    ]
    contracts = get(sim, "gate", "/api/v4/futures/usdt/contracts").json()
    assert next(row for row in contracts if row["name"] == "ETH_USDT")["quanto_multiplier"] == "0.01"
    assert any(row["contract_type"] == "stocks" and row["is_pre_market"] for row in contracts)


def test_gate_names_its_errors_with_labels(sim: Simulator) -> None:
    bad = get(sim, "gate", "/api/v4/futures/usdt/liq_orders", limit=5000)
    assert (bad.status_code, bad.json()["label"]) == (400, "INVALID_PARAM_VALUE")
    sim.fault(market="gate", kind="retry_after", retry_after=3, times=1)
    limited = get(sim, "gate", "/api/v4/futures/usdt/contracts")
    assert (limited.status_code, limited.json()["label"]) == (429, "TOO_MANY_REQUESTS")


def test_hyperliquid_answers_only_to_post(sim: Simulator) -> None:
    assert get(sim, "hyperliquid", "/info", type="metaAndAssetCtxs").status_code == 405
    meta, contexts = info(sim, type="metaAndAssetCtxs").json()
    assert len(meta["universe"]) == len(contexts)
    assert meta["universe"][-1]["isDelisted"] and contexts[-1]["midPx"] is None


def test_hyperliquid_refuses_a_bad_body_in_plain_text_and_more_with_null(sim: Simulator) -> None:
    bad = info(sim, type="clearinghouseState", user="0x12")
    assert bad.status_code == 422 and bad.headers["Content-Type"] == "text/plain"
    sim.fault(market="hyperliquid", kind="retry_after", times=1)
    limited = info(sim, type="metaAndAssetCtxs")
    assert limited.status_code == 429 and limited.json() is None


def test_hyperliquid_tells_the_positions_of_a_wallet_and_of_an_unused_one_none(sim: Simulator) -> None:
    sim.market.perpetuals.hold(ADDRESS, "BTC", -2, liquidation=90_000)
    sim.market.perpetuals.hold(ADDRESS, "ETH", 10)
    one, two = info(sim, type="clearinghouseState", user=ADDRESS.upper().replace("X", "x")).json()["assetPositions"]
    assert (one["position"]["szi"], one["position"]["liquidationPx"]) == ("-2", "90000")
    assert two["position"]["liquidationPx"] is None
    assert info(sim, type="clearinghouseState", user="0x" + "0" * 40).json()["assetPositions"] == []


@pytest.mark.parametrize(("plan", "allowed"), [("HOBBYIST", [True, False, False]), ("STARTUP", [True, True, False])])
def test_coinglass_says_upgrade_plan_inside_http_200(sim: Simulator, plan: str, allowed: list[bool]) -> None:
    sim.market.perpetuals.coinglass_plan = plan
    answers = [
        get(sim, "coinglass", "/api/futures/funding-rate/exchange-list"),
        get(sim, "coinglass", "/api/hyperliquid/whale-alert"),
        get(sim, "coinglass", "/api/futures/liquidation/order", exchange="Binance", symbol="BTC"),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["code"] == "0" for answer in answers] == allowed
    assert all(answer.json()["msg"] == "Upgrade plan" for answer in answers if answer.json()["code"] != "0")


def test_coinglass_wants_its_key_in_the_header_and_nowhere_else(sim: Simulator) -> None:
    url, key = sim.market_url("coinglass") + "/api/hyperliquid/whale-alert", sim.market.perpetuals.coinglass_key
    assert requests.get(url, params={"CG-API-KEY": key}, timeout=30).json()["msg"] == "API key missing."
    wrong = requests.get(url, headers={"CG-API-KEY": "wrong"}, timeout=30).json()
    assert wrong == {"code": "400", "msg": "Invalid API key provided"}


def test_coinglass_liquidations_need_their_parameters_and_start_at_start_time(sim: Simulator) -> None:
    for at_ms in (1000, 2000, 3000):
        sim.market.perpetuals.foreign_liquidation("Binance", "BTC", "long", usd=50_000, at_ms=at_ms)
    assert get(sim, "coinglass", "/api/futures/liquidation/order").status_code == 400
    asked = {"exchange": "Binance", "symbol": "BTC", "min_liquidation_amount": 10_000}
    rows = get(sim, "coinglass", "/api/futures/liquidation/order", start_time=2000, **asked).json()["data"]
    assert [(row["time"], row["side"]) for row in rows] == [(2000, 2), (3000, 2)]
