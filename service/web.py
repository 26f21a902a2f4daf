"""The health server: /healthz, /metrics, /status.json and a status page, over HTTP on a port of this machine.

Off unless HEALTH_PORT is set, on loopback unless HEALTH_HOST says otherwise. Read-only: it shows no token, no message
text, no chat and no path. With HEALTH_TOKEN only who gives it can look. Without one it answers to addresses only: a
web page elsewhere can make a name of its own mean this machine (DNS rebinding). /healthz answers everyone.
Answers come from memory (`State.view`), so it also answers while the bot hangs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from base.config import Settings
from base.worker import Worker
from service import metrics

log = logging.getLogger(__name__)

CONNECTIONS = 16  # open at the same time; one more closes the oldest, so that slow clients cannot lock others out
TIMEOUT = 5.0  # seconds between two bytes of a request
TRY_AGAIN = 30.0  # seconds until a port that is in use is tried again
LOOK = 0.5  # seconds: how soon a stop is noticed
PAGE = Path(__file__).with_name("status.html")

_WITHOUT_TOKEN = "Not for everyone: add ?token= and the HEALTH_TOKEN of this bot, or send it as a bearer token.\n"
_BY_NAME = "Open this page by its address, as http://127.0.0.1:8080/, or set HEALTH_TOKEN to open it by a name.\n"

View = Callable[[], Mapping[str, Any]]


class HealthServer:
    """Serves `view` on host and port. A port that is in use is logged once and tried again."""

    def __init__(
        self, view: View, *, host: str, port: int, token: str = "", on_death: Callable[[str], None] | None = None
    ) -> None:
        self.worker = Worker("web", self.step, on_death=on_death)
        self._view = view
        self._shows = False
        self._token = token
        self._address = host, port
        self._server: _Server | None = None
        self._refused = False

    @classmethod
    def of(cls, settings: Settings, on_death: Callable[[str], None]) -> HealthServer:
        """The page that the settings ask for. It has nothing to show yet."""
        host, port, token = settings.health_host, settings.health_port, settings.health_token
        return cls(dict, host=host, port=port, token=token, on_death=on_death)

    @property
    def url(self) -> str:
        """The address of the page."""
        host, port = self._address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def show(self, view: View) -> None:
        """Answer by this view from the next request on. The first call starts the thread."""
        self._view = view
        if not self._shows:
            self._shows = True
            self.worker.start()

    def stop(self, timeout: float = 0.0) -> None:
        """End the thread: no request is answered after LOOK seconds. If it ends in time, the port is freed."""
        self.worker.stop()
        if self.worker.join(timeout) and self._server is not None:
            self._server.server_close()

    def step(self) -> float:
        """Take the port, or answer one connection."""
        if self._server is not None:
            self._server.handle_request()
            return 0.0
        try:
            self._server = _Server(self._address, lambda: self._view(), self._token)  # noqa: PLW0108 - it may be replaced
        except OSError as error:
            if not self._refused:
                log.warning(
                    "The status page cannot use %s: %s. The bot runs without it and keeps trying. Free that port, or "
                    "set another HEALTH_PORT or HEALTH_HOST.",
                    self.url,
                    error.strerror or error,
                )
            self._refused = True
            return TRY_AGAIN
        log.info("Status page: %s", self.url)
        return 0.0


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection, at most CONNECTIONS of them."""

    daemon_threads = True
    block_on_close = False
    # On Windows this flag would let a second program take the same port.
    allow_reuse_address = sys.platform != "win32"
    request_queue_size = CONNECTIONS

    def __init__(self, address: tuple[str, int], view: View, token: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.timeout = LOOK
        self.view = view
        self.token = token
        self._open: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A new connection: make room for it, then serve it."""
        with self._lock:
            while len(self._open) >= CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                try:
                    oldest.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has ended already
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what failed. A client that disconnects midway is not an error."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("A request to the status page failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    timeout = TIMEOUT
    server_version, sys_version = "CryptoSat", ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def do_GET(self) -> None:
        """GET, and HEAD, which is answered without the body."""
        match self.path.partition("?")[0]:
            case "/healthz":
                self._healthz()
            case "/" | "/metrics" | "/status.json" if not self._may_look():
                self._say(403, _WITHOUT_TOKEN if self.server.token else _BY_NAME)
            case "/":
                self._send(200, _PAGE, "text/html; charset=utf-8", **{"Content-Security-Policy": _POLICY})
            case "/metrics":
                self._metrics()
            case "/status.json":
                shown = {name: value for name, value in self.server.view().items() if name != "folder"}
                self._send(200, json.dumps(shown).encode(), "application/json")
            case _:
                self._say(404, "Not found. Try /, /healthz, /metrics or /status.json.\n")

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._say(405, "Read-only: use GET or HEAD.\n", Allow="GET, HEAD")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse

    def _may_look(self) -> bool:
        """With a token: who gives it, as `?token=` or as a bearer. Without: who asks for an address or no host."""
        if self.server.token:
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            given = parse_qs(urlsplit(self.path).query).get("token", [bearer])[0]
            return hmac.compare_digest(given.encode("utf-8", "replace"), self.server.token.encode())
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or "localhost"
            return host == "localhost" or bool(ip_address(host))
        except ValueError:
            return False

    def _healthz(self) -> None:
        view, looks = self.server.view(), self._may_look()
        if view["healthy"]:
            self._say(200, f"ok\n{view['polling']['words']}\n" if looks else "ok\n")
        else:
            self._say(503, "\n".join(["not healthy", *(view["problems"] if looks else []), ""]))

    def _metrics(self) -> None:
        try:
            self._send(200, metrics.exposition(self.server.view()), metrics.CONTENT_TYPE)
        except metrics.MetricsMissing as error:
            self._say(501, f"{error}\n")

    def _say(self, code: int, words: str, **headers: str) -> None:
        self._send(code, words.encode(), "text/plain; charset=utf-8", **headers)

    def _send(self, code: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(code)
        common = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **common, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        """Log a request, without its query, which may hold the token."""
        log.debug("Status page: %s", self.requestline.partition("?")[0] if hasattr(self, "requestline") else "?")


def _hash(tag: str) -> str:
    """The source expression of CSP for the page's one inline <script> or <style>."""
    content = _PAGE.partition(f"<{tag}>".encode())[2].partition(f"</{tag}>".encode())[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


_PAGE = PAGE.read_text(encoding="utf-8").encode()  # as text first: the line ends of every system become one
_POLICY = (
    f"default-src 'none'; script-src {_hash('script')}; style-src {_hash('style')}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
