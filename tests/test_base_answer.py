"""Whatever a server sends, and however slowly: an answer has an end, for Telegram and the market hosts alike."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
import requests
from conftest import OWNER, TOKEN
from hypothesis import given
from hypothesis import strategies as st

from base.answer import BoundedAdapter, whole
from botapi.client import Telegram
from botapi.errors import NoAnswer, TelegramError, Unreachable
from simulation.account import SimBot
from simulation.endless import DRIPS, FLOODS, LARGE
from simulation.http import Answer, HttpServer, Hub
from simulation.simulator import Simulator
from venues.fetch import Host
from venues.trades import SourceError

DEADLINE = 0.4
BUSY = 15.0  # seconds more than that on a busy machine; without an end it would take for ever

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
    def answered() -> bool:
        try:
            return bool(ask())
        except (NoAnswer, SourceError):
            return False  # a busy machine is late

    sim.clear_faults()
    sim.wait(answered, what="an answer")


@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_that_drips_is_left_at_the_deadline(ask: Ask, sim: Simulator, kind: str) -> None:
    spoil(sim, kind)
    began = time.monotonic()
    with pytest.raises((NoAnswer, SourceError), match="time"):
        ask()
    assert time.monotonic() - began < DEADLINE + BUSY
    goes_on(ask, sim)


@pytest.mark.parametrize("kind", [*FLOODS, *LARGE])
def test_an_answer_without_measure_costs_little_time_and_memory(ask: Ask, sim: Simulator, kind: str) -> None:
    spoil(sim, kind)
    began = time.thread_time()
    tracemalloc.start()
    with pytest.raises((Unreachable, SourceError)):
        ask()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 120_000_000
    assert time.thread_time() - began < DEADLINE + 2.0
    goes_on(ask, sim)


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/", "/other", "http://[", "", "\xff"])
def test_a_redirect_is_not_followed_wherever_it_leads(where: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            line.recv(65536)
            line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        question = requests.Request("GET", f"http://127.0.0.1:{server.getsockname()[1]}/").prepare()
        found = whole(lambda: BoundedAdapter().send(question, stream=True), seconds=5)
        thread.join(30)
    assert found.status == 302


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
    assert time.monotonic() - began < DEADLINE + BUSY


def test_a_kept_connection_serves_the_next_request_with_a_deadline_of_its_own(sim: Simulator, chat: SimBot) -> None:
    adapter, request = BoundedAdapter(), requests.Request("GET", f"{sim.url}/bot{TOKEN}/getMe").prepare()
    for seconds in (1.0, 30.0):
        assert whole(lambda: adapter.send(request, stream=True, timeout=30.0), seconds=seconds).json()["ok"]
        threading.Event().wait(1.05)  # longer than the first one had
    assert len({call.port for call in chat.calls}) == 1


PIECES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/9 abc\r\n", b"HTTP/1.1 999999999 \r\n"),
        *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 9" + b"9" * 30 + b"\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Date: Mon, 99 Foo 99999\r\n"),
        *(b"X" * 70_000 + b": 1\r\n", b": \r\n", b"\x00\xff\r\n", b"Location: //x\r\n", b"\r\n", b"\n"),
        *(b"ffffffffffffffff\r\n", b"-5\r\n", b"0\r\n\r\n", b"5;x=y\r\n", b"zz\r\n"),
        *(
            b'{"ok":true,"result":[]}',
            b'{"ok":false,"error_code":[],"description":{}}',
            b"[]",
            b"1e999",
            b"\x1f\x8b\x08",
        ),
    ]
)


class Scripted:
    """A server that sends these bytes to whoever asks, whatever they mean, and hangs up."""

    def __init__(self) -> None:
        self.raw = b""
        self.hub = Hub()
        self.server = HttpServer(lambda request: Answer(200, b"", raw=iter([self.raw])), hub=self.hub)


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.hub.closing.set()
    server.server.offline()


@given(pieces=st.lists(PIECES | st.binary(max_size=20), max_size=8), begins=st.booleans())
def test_whatever_bytes_a_server_sends_the_caller_gets_an_answer_or_an_error_of_its_own(
    scripted: Scripted, pieces: list[bytes], begins: bool
) -> None:
    scripted.raw = b"HTTP/1.1 200 OK\r\n" * begins + b"".join(pieces)
    telegram = Telegram(TOKEN, scripted.server.url, ask_timeout=DEADLINE)
    host = Host(scripted.server.url, deadline=DEADLINE)
    began = time.monotonic()
    with contextlib.suppress(TelegramError):
        telegram.me()
    with contextlib.suppress(SourceError):
        host.get("/", {})
    host.close()
    assert time.monotonic() - began < 2 * DEADLINE + BUSY
