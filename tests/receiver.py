"""A local HTTP server that takes alerts as a webhook does, or in one of the ways in which webhooks fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """status: what it answers; 0: it hangs, -1: garbage that is no HTTP. took: (path, headers, body)."""

    def __init__(self) -> None:
        self.status, self.headers = 200, dict[str, str]()
        self.took: list[tuple[str, dict[str, str], bytes]] = []
        self.asked = 0
        self.changed = threading.Condition()
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = receiver.status
                with receiver.changed:
                    receiver.asked += 1
                    if 200 <= status < 300:
                        receiver.took.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                    receiver.changed.notify_all()
                if status == 0:
                    receiver.closing.wait(60)
                elif status == -1:
                    self.wfile.write(b"\x00\xff garbage\r\n\r\n" * 100)
                else:
                    self.send_response(status)
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(b"x" * 10)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def wait(self, *, took: int = 0, asked: int = 0, timeout: float = 60.0) -> None:
        with self.changed:
            done = self.changed.wait_for(lambda: len(self.took) >= took and self.asked >= asked, timeout)
        assert done, (self.asked, self.took)

    def alerts(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.took]


@contextmanager
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    try:
        yield one
    finally:
        one.closing.set()
        one.server.shutdown()
        one.server.server_close()
