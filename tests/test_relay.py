"""The relay that tests and benchmarks put between the bot and a server."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from simulation.relay import Relay


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


@pytest.fixture
def relay() -> Iterator[Relay]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Relay(("127.0.0.1", server.server_address[1])) as relay:
            yield relay
        server.shutdown()


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=30)


def test_what_goes_in_comes_out_in_order_after_the_delay_each_way(relay: Relay) -> None:
    relay.delay = 0.05
    with connect(relay) as line:
        began = time.monotonic()
        for number in range(10):
            line.sendall(b"%d" % number)
        got = b""
        while len(got) < 10:
            got += line.recv(100)
        assert got == b"0123456789"
        assert time.monotonic() - began >= 0.1


def test_held_bytes_come_when_it_is_restored_also_on_a_connection_begun_meanwhile(relay: Relay) -> None:
    with connect(relay) as line:
        line.sendall(b"before")
        assert line.recv(100) == b"before"
        relay.hold()
        with connect(relay) as other:
            for one in (line, other):
                one.sendall(b"held")
                one.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    one.recv(100)
            relay.restore()
            for one in (line, other):
                one.settimeout(30)
                assert one.recv(100) == b"held"


def test_a_reset_ends_what_is_open_and_refusing_ends_what_is_to_come_until_it_is_restored(relay: Relay) -> None:
    with connect(relay) as line:
        line.sendall(b"x")
        assert line.recv(100) == b"x"
        relay.reset()
        with pytest.raises(ConnectionResetError):
            line.recv(100)
    with connect(relay) as line:
        line.sendall(b"y")
        assert line.recv(100) == b"y"
    relay.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(relay)
    relay.restore()
    with connect(relay) as line:
        line.sendall(b"z")
        assert line.recv(100) == b"z"


def test_the_end_of_one_side_ends_the_other_after_all_that_came_before(relay: Relay) -> None:
    with connect(relay) as line:
        line.sendall(b"last")
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100) == b"last"
        assert line.recv(100) == b""
