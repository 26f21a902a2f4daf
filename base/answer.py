"""One HTTP request and its whole answer, within one deadline and one size: for Telegram and the market hosts alike.

A time limit of `requests` counts from one byte to the next, so a server that drips headers, `100 Continue`, chunk
sizes, trailers or a body outlasts it. Here the limits hold where bytes are read from the socket, whatever they are.
Only the name's look-up and the connecting have limits of their own: the resolver's, and `connect` for each address.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from base.secrets import redact_body
from base.transport import TooLarge

SIZE = 16 * 1024 * 1024  # bytes; 100 updates at their longest have 7 MB

_limits = threading.local()  # of this thread's request in progress


class Answer:
    """A whole answer, unpacked. headers: names in any case."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self._told: Any = None

    def json(self) -> Any:
        """The body's JSON. Raises ValueError."""
        if self._told is None:
            try:
                self._told = json.loads(self.body)
            except RecursionError:
                raise ValueError("nested too deep") from None
        return self._told


def whole(send: Callable[[], Any], *, seconds: float, size: int = SIZE) -> Answer:
    """The answer to a request. Raises what `send` raises, ReadTimeout after so many seconds, TooLarge.

    send: sends it through a `BoundedAdapter` with stream=True, from this thread. size: bytes as they come, headers
    and all, and bytes of the unpacked body.
    """
    _limits.ends_at, _limits.left = time.monotonic() + seconds, size
    try:
        with send() as response:
            # read1 returns what has arrived, still packed: a small packed answer cannot grow without limit.
            body = b"".join(iter(lambda: response.read1(65536, decode_content=False), b""))
            headers = response.headers
        if headers.get("Content-Encoding", "").lower() == "gzip":
            unpacked = zlib.decompressobj(wbits=31)
            body = unpacked.decompress(body, size)
            if unpacked.unconsumed_tail:
                raise TooLarge
        return Answer(response.status, headers, redact_body(body))
    except urllib3.exceptions.TimeoutError as error:
        raise requests.ReadTimeout from error
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError from error
    finally:
        del _limits.ends_at, _limits.left


class BoundedAdapter(HTTPAdapter):
    """A requests adapter for `whole`. mixins: what its connections are besides."""

    def __init__(self, *mixins: type) -> None:
        self._pools = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": _connection(HTTPConnection, *mixins)}),
            "https": type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": _connection(HTTPSConnection, *mixins)}),
        }
        self._servers: dict[str, Any] = {}
        super().__init__(pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def build_response(self, req: Any, resp: Any) -> Any:
        """urllib3's own response: `requests` would look for cookies and an encoding, a tenth of a call's time."""
        return resp

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The connections to the request's server, found once: neither proxies nor certificates change."""
        server = "/".join(request.url.split("/", 3)[:3])
        if server not in self._servers:
            found = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._servers[server] = found
        return self._servers[server]

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        bundle = Path(DEFAULT_CA_BUNDLE_PATH if verify is True else verify or "")
        if verify and host["scheme"] == "https" and bundle.exists():  # else `cert_verify` says that it is missing
            pool["ssl_context"] = _tls(bundle)
        return host, pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        conn.ca_certs = conn.ca_cert_dir = None  # they are in the context

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


@lru_cache
def _tls(bundle: Path) -> ssl.SSLContext:
    """One for all connections: each time its certificates are read they take 15 ms and 0.7 MiB."""
    context = create_urllib3_context()
    context.load_verify_locations(*((None, bundle) if bundle.is_dir() else (bundle,)))
    return context


def _connection(base: type[HTTPConnection], *mixins: type) -> type[HTTPConnection]:
    class Bounded(*mixins, base):  # type: ignore[misc, valid-type]
        response_class = _Response

        def send(self, data: Any) -> None:
            if self.sock is not None:
                self.sock.settimeout(_time_left())
            super().send(data)

    return Bounded


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        # http.client reads everything from here: status, headers, `100 Continue`, chunks, trailers, a proxy's answer.
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock))


class _Reader(io.RawIOBase):
    """What a socket sends, within the limits of the request in progress."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock, self._silence = raw, sock, sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _time_left()
        self._sock.settimeout(left if self._silence is None else min(left, self._silence))
        count: int | None = self._raw.readinto(buffer)
        _limits.left -= count or 0
        if _limits.left < 0:
            raise TooLarge
        return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._raw.close()


def _time_left() -> float:
    left: float = _limits.ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("the whole answer took too long")
    return left
