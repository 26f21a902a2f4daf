"""Connections that another thread can end: the sockets under requests, by road.

urllib3 offers no way to end a request from outside, so each connection registers a duplicate of its socket here,
before the TLS handshake begins; shutdown() acts on the connection, whichever object wraps it.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_LINGER = "hh" if sys.platform == "win32" else "ii"  # struct linger: on, seconds


class Connections:
    """The live sockets of one road, with the time each was opened, so that another thread can end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: dict[socket.socket, float] = {}
        self._cut = False
        self.hung_up_at = 0.0  # monotonic

    def add(self, sock: socket.socket) -> socket.socket:
        """Keep a duplicate: TLS wrapping detaches the original, shutdown() works on the connection itself."""
        # Closed means forgotten: what a dead network has not taken yet must not arrive later, after a second try.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
        twin = sock.dup()
        with self._lock:
            self._sockets[twin] = time.monotonic()
            cut = self._cut
        if cut:  # the cut raced with the connect
            _shut(twin)
        return twin

    def drop(self, twin: socket.socket) -> None:
        with self._lock:
            self._sockets.pop(twin, None)
        twin.close()

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            for sock in self._sockets:
                _shut(sock)

    def hang_up(self, *, opened_before: float) -> None:
        """End the connections that are older than that (monotonic time); new ones can be made."""
        self.hung_up_at = time.monotonic()
        with self._lock:
            for sock, opened in self._sockets.items():
                if opened < opened_before:
                    _shut(sock)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was closed already


class CuttableAdapter(HTTPAdapter):
    """requests' adapter whose connections register their socket before the TLS handshake begins."""

    def __init__(self, line: Connections) -> None:
        self._pools = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": _cuttable(HTTPConnection, line)}),
            "https": type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": _cuttable(HTTPSConnection, line)}),
        }
        super().__init__(pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


def _cuttable(base: type[HTTPConnection], line: Connections) -> type[HTTPConnection]:
    class Cuttable(base):  # type: ignore[misc, valid-type]
        twin: socket.socket | None = None

        def _new_conn(self) -> socket.socket:
            # urllib3's own hook for "make the TCP connection" (1.26 and 2.x); test_telegram.py fails if it moves.
            sock: socket.socket = super()._new_conn()
            self.twin = line.add(sock)
            return sock

        def close(self) -> None:
            super().close()
            if self.twin is not None:
                line.drop(self.twin)
                self.twin = None

    return Cuttable
