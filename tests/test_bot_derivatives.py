"""The real bot against simulated venues of perpetual contracts: alerts, commands, a restart, a refused key."""

from __future__ import annotations

import time

from conftest import OWNER, Run

from simulation.account import SimBot
from simulation.perpetuals import ADDRESS
from simulation.simulator import Simulator

SOON = {"DERIVATIVES_INTERVAL": "0.3", "LIQUIDATION_MIN_USD": "500k"}


def wait_looked(sim: Simulator, times: int = 2) -> None:
    """Every venue has been asked so often."""
    since = time.time()
    paths = ("/api/v5/public/liquidation-orders", "/api/v4/futures/usdt/liq_orders", "/info")

    def looked() -> bool:
        calls = [call.path for call in sim.market.calls if call.at > since and call.status]
        return all(calls.count(path) >= 4 * times for path in paths)

    sim.wait(looked, what="looks at every venue")


def test_liquidations_funding_and_a_wallet_are_told_and_a_restart_repeats_none(
    sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    perps = sim.market.perpetuals
    bot = run_bot(**SOON)
    bot.wait_output("Watching BTC, ETH")
    chat.send_text(OWNER, "/start")
    chat.send_text(OWNER, f"/wallet add {ADDRESS} satoshi")
    chat.wait_text("Following satoshi", chat_id=OWNER)
    wait_looked(sim)
    perps.liquidate("okx", "BTC", "long", usd=625_000)
    perps.set_rate("hyperliquid", "ETH", 0.0001)
    perps.set_interest("okx", "BTC", 2.24e9)
    perps.hold(ADDRESS, "BTC", -2, liquidation=90_000)
    chat.wait_text("BTC long liquidated on OKX: 625k USD", chat_id=OWNER)
    chat.wait_text("ETH funding on Hyperliquid: +0.0800 % for 8 h", chat_id=OWNER)
    chat.wait_text("satoshi opened a BTC short", chat_id=OWNER)
    chat.wait_text("BTC open interest on OKX: +12.0 %", chat_id=OWNER)
    chat.wait_text("240M USD opened, now 2.24B USD · price 0.0 %", chat_id=OWNER)
    chat.send_text(OWNER, "/ping")
    chat.wait_text("pong", chat_id=OWNER)  # what came before it is marked as sent, however busy the machine is
    assert bot.stop()[0] == 0

    perps.liquidate("gate", "ETH", "short", usd=700_000, price=2500)
    bot = run_bot(**SOON)
    chat.wait_text("ETH short liquidated on Gate: 700k USD", chat_id=OWNER)
    chat.send_text(OWNER, "/liq")
    chat.wait_text("Liquidations on Gate and OKX", chat_id=OWNER)
    chat.send_text(OWNER, "/funding ETH")
    chat.wait_text("Hyperliquid", chat_id=OWNER)
    chat.send_text(OWNER, "/wallet list")
    chat.wait_text("BTC short 154k USD", chat_id=OWNER)
    chat.send_text(OWNER, "/oi BTC")
    chat.wait_text("Open interest of BTC on Hyperliquid and OKX", chat_id=OWNER)
    wait_looked(sim)
    texts = [sent.text for sent in chat.sent]
    for words in ("625k USD at", "ETH funding on Hyperliquid", "satoshi opened", "BTC open interest on OKX: +12"):
        assert sum(words in text for text in texts) == 1, texts


def test_a_round_for_cron_tells_what_happened_since_the_one_before(
    sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    bot = run_bot()
    chat.send_text(OWNER, "/start")
    chat.wait_text("Alerts are on", chat_id=OWNER)
    assert bot.stop()[0] == 0
    assert run_bot("--once").wait_exit() == 0
    sim.market.perpetuals.liquidate("gate", "BTC", "short", usd=900_000)
    assert run_bot("--once").wait_exit() == 0
    assert sum("BTC short liquidated on Gate: 900k USD" in sent.text for sent in chat.sent) == 1


def test_a_coinglass_plan_without_liquidations_is_told_once_and_its_key_never(
    sim: Simulator, chat: SimBot, run_bot: Run
) -> None:
    sim.market.perpetuals.coinglass_plan = "STARTUP"
    key = sim.market.perpetuals.coinglass_key
    bot = run_bot(**SOON, COINGLASS_API_KEY=key, LOG_LEVEL="DEBUG")
    chat.wait_text("CoinGlass refuses liquidations with your COINGLASS_API_KEY: Upgrade plan.", chat_id=OWNER)
    chat.send_text(OWNER, "/status")
    chat.wait_text("CoinGlass liquidations (127.0.0.1", chat_id=OWNER)
    wait_looked(sim)
    assert sum("Upgrade plan" in sent.text and "COINGLASS_API_KEY" in sent.text for sent in chat.sent) == 1
    looks = [call for call in sim.market.calls if call.path == "/api/futures/liquidation/order"]
    assert len(looks) == 2, "no single answer decides"
    assert bot.stop()[0] == 0
    assert key not in bot.output and key not in "".join(sent.text for sent in chat.sent)


def test_a_key_that_is_none_is_refused_at_the_start_without_being_shown(run_bot: Run) -> None:
    bot = run_bot(COINGLASS_API_KEY="no key at all")
    assert bot.wait_exit() == 78
    assert (
        "COINGLASS_API_KEY=(hidden): expected letters and digits" in bot.output and "no key at all" not in bot.output
    )
