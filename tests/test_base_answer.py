"""Whatever a server sends, and however slowly: an answer has an end, for Telegram and the market hosts alike."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest
import requests
from conftest import OWNER, TOKEN

from base.answer import BoundedAdapter, whole
from botapi.client import Telegram
from botapi.errors import NoAnswer, TelegramError, Unreachable
from simulation.account import SimBot
from simulation.endless import DRIPS, FLOODS, LARGE
from simulation.simulator import Simulator
from venues.fetch import Host
from venues.trades import SourceError

DEADLINE = 0.4

Ask = Callable[[], object]


@pytest.fixture(params=["Telegram", "a market host"])
def ask(request: pytest.FixtureRequest, sim: Simulator, chat: SimBot) -> Ask:
    if request.param == "Telegram":
        telegram = Telegram(TOKEN, sim.url, ask_timeout=DEADLINE)
        return telegram.me
    host = Host(sim.market_url("binance"), deadline=DEADLINE)
    return lambda: host.get("/api/v3/aggTrades", {"symbol": "BTCUSDT", "limit": 1})


def spoil(sim: Simulator, kind: str) -> None:
    sim.fault(method="*", kind=kind)
    sim.fault(market="*", kind=kind)


def goes_on(ask: Ask, sim: Simulator) -> None:
    sim.clear_faults()
    assert ask()


@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_that_drips_is_left_at_the_deadline(ask: Ask, sim: Simulator, kind: str) -> None:
    spoil(sim, kind)
    began = time.monotonic()
    with pytest.raises((NoAnswer, SourceError), match="time"):
        ask()
    assert time.monotonic() - began < DEADLINE + 1.0
    goes_on(ask, sim)


@pytest.mark.parametrize("kind", [*FLOODS, *LARGE])
def test_an_answer_without_measure_costs_little_time_and_memory(ask: Ask, sim: Simulator, kind: str) -> None:
    spoil(sim, kind)
    began = time.monotonic()
    tracemalloc.start()
    with pytest.raises((Unreachable, SourceError)):
        ask()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 120_000_000
    assert time.monotonic() - began < DEADLINE + 2.0
    goes_on(ask, sim)


def test_a_server_that_takes_an_upload_byte_by_byte_is_left_at_the_deadline() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def sip() -> None:
            connection, _ = listener.accept()
            while not ended.wait(0.01) and connection.recv(64):
                pass
            connection.close()

        threading.Thread(target=sip, daemon=True).start()
        telegram = Telegram(TOKEN, f"http://127.0.0.1:{listener.getsockname()[1]}", call_timeout=DEADLINE)
        began = time.monotonic()
        with pytest.raises(TelegramError):
            telegram.send("sendDocument", {"chat_id": OWNER}, files={"document": ("x", b"x" * 8_000_000)})
        ended.set()
    assert time.monotonic() - began < DEADLINE + 1.0


def test_a_kept_connection_serves_the_next_request_with_a_deadline_of_its_own(sim: Simulator, chat: SimBot) -> None:
    adapter, request = BoundedAdapter(), requests.Request("GET", f"{sim.url}/bot{TOKEN}/getMe").prepare()
    for seconds in (0.3, 5.0, 0.3):
        assert whole(lambda: adapter.send(request, stream=True, timeout=5.0), seconds=seconds).json()["ok"]
        threading.Event().wait(0.35)  # longer than the first one had
    assert len({call.port for call in chat.calls}) == 1
