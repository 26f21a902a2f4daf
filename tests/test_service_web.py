"""The health server: what it shows, what it never shows, what clients cannot do to it, and its page in a browser."""

from __future__ import annotations

import http.client
import json
import logging
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import OWNER, SECRETS, Run

from botapi.polling_state import PollingState
from service import web
from service.metrics import BOUNDS
from service.web import HealthServer
from simulation.account import SimBot
from simulation.simulator import Simulator

NOW = time.time()
HOUR = int(NOW // 3600) * 3600
SOURCE = {
    "source": "binance",
    "venue": "Binance spot",
    "host": "data.example.org",
    "state": "ok",
    "since": NOW - 500,
    "reason": "",
    "covers": "",
    "symbols": ["BTC", "ETH"],
    "lag": 1.5,
    "missed": 12,
    "skipped": 0,
    "except_for": "",
    "quietest": "ETH",
    "silent": 4.5,
}
VIEW: dict[str, Any] = {
    "schema": 1,
    "version": "9.9.9",
    "bot_id": 42,
    "username": "my_whale_bot",
    "pid": 4711,
    "started_at": NOW - 90_000,
    "written_at": NOW,
    "now": NOW,
    "polling": {"state": "running", "words": "Running", "last_good_at": NOW - 3, "failing_since": None},
    "conflict": {
        "since": None,
        "count": 0,
        "begun": 1,
        "answers": 3,
        "episodes": [{"since": NOW - 7000, "until": NOW - 6910, "count": 3}],
    },
    "alerts_paused": False,
    "sources": [
        SOURCE,
        SOURCE | {"source": "kraken", "venue": "Kraken", "state": "unused", "symbols": []},
        SOURCE | {"source": "okx_funding", "venue": "OKX funding", "symbols": [], "covers": "every coin"},
    ],
    "queue": {"pending": 7, "sent_24h": 1482, "buried_24h": 2},
    "threads": [{"name": "polling", "age": 1.5}, {"name": "whales", "age": 0.5}],
    "folder": "/nowhere",
    "healthy": True,
    "problems": [],
    "stuck": [],
    "latest_alerts": [
        {"at": NOW - 90, "side": "buy", "headline": "BTC buy 2.4M USD at 77,030", "venue": "Binance spot"},
        {"at": NOW - 4000, "side": "long", "headline": "ETH long liquidated on OKX: 640k USD", "venue": "OKX"},
    ],
    "prices": [["BTC", "77,030", "+0.3 %"], ["DOGE", "0.1704", "-1.9 %"]],
    "alerts_by_hour": [[HOUR - 3600 * (23 - n), n] for n in range(24)],
    "latency": {
        "counts": [90, 8, 0, 1, 0, 0, 0, 0, 0, 0, 1],
        "total": 412.5,
        "latest": 100,
        "p50": 0.084,
        "p95": 0.25,
        "longest": 400.0,
        "bounds": BOUNDS,
    },
}
STANDBY = {
    "polling": {
        "state": "standby",
        "words": PollingState.STANDBY.words,
        "last_good_at": NOW - 400,
        "failing_since": None,
    },
    "conflict": VIEW["conflict"]
    | {"since": NOW - 380, "count": 4, "episodes": [{"since": NOW - 380, "until": None, "count": 4}]},
}
STUCK = {"healthy": False, "stuck": ["whales"], "problems": ["The thread whales is stuck."]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """A health server over a view that a test may change."""

    def __init__(self, *, host: str = "127.0.0.1", token: str = "") -> None:
        self.view: dict[str, Any] = dict(VIEW)
        self.port = free_port()
        self.server = HealthServer(lambda: self.view, host=host, port=self.port, token=token)
        self.host = host

    def ask(self, path: str, method: str = "GET") -> tuple[int, str, Mapping[str, str]]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LOOK", 0.05)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.server.step()  # takes the port, so that a test may ask at once
    site.server.worker.start()
    yield site
    site.server.stop(5)


# /healthz


def test_a_bot_that_polls_is_200(site: Site) -> None:
    assert site.ask("/healthz")[:2] == (200, "ok\nRunning\n")


def test_a_copy_in_standby_is_200_and_says_so(site: Site) -> None:
    site.view |= STANDBY
    code, said, _ = site.ask("/healthz")
    assert code == 200
    assert said == "ok\nStanding by while another copy polls\n"


def test_a_bot_with_a_problem_is_503_with_each_reason_on_a_line(site: Site) -> None:
    site.view |= {"healthy": False, "problems": ["The thread whales is stuck.", "Telegram gives no good answer."]}
    code, said, _ = site.ask("/healthz")
    assert code == 503
    assert said.splitlines() == ["not healthy", "The thread whales is stuck.", "Telegram gives no good answer."]


# What clients cannot do


@pytest.mark.parametrize("path", ["/", "/healthz", "/status.json"])
def test_head_is_get_without_the_body(site: Site, path: str) -> None:
    code, body, headers = site.ask(path, "HEAD")
    assert (code, body) == (200, "")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_read_only(site: Site, method: str) -> None:
    code, _, headers = site.ask("/", method)
    assert (code, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/web.py", "/../bot.log", "/%2e%2e/bot.log", "/healthz/", "/status.json%00", "*"])
def test_every_other_path_is_404(site: Site, path: str) -> None:
    assert site.ask(path)[0] == 404


def test_an_unknown_method_and_garbage_are_answered_in_plain_words(site: Site) -> None:
    assert site.ask("/", "BREW")[0] == 501
    for garbage in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/9.9.9\r\n\r\n", b"GET " + b"a" * 70_000):
        with socket.create_connection(("127.0.0.1", site.port), timeout=30) as line:
            line.sendall(garbage)
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(65_536)
        assert b"<" not in answer
    assert site.ask("/healthz")[0] == 200


def asked_by(site: Site, host: str, path: str, *, bearer: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection(site.host, site.port, timeout=30)
    try:
        headers = {"Host": host} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics"])
def test_a_page_elsewhere_that_gives_its_name_to_this_machine_reads_nothing(site: Site, path: str) -> None:
    for name in ("evil.example", f"evil.example:{site.port}", "127.0.0.1.evil.example", "a]"):
        code, said = asked_by(site, name, path)
        assert code == 403, name
        assert "address" in said
    for name in ("localhost", f"127.0.0.1:{site.port}", "[::1]:80", "192.168.1.5"):
        assert asked_by(site, name, path)[0] in (200, 501), name


def test_healthz_says_yes_or_no_to_everyone_and_why_to_those_who_may_look(site: Site) -> None:
    site.view |= STUCK
    assert asked_by(site, "monitor.example", "/healthz") == (503, "not healthy\n")
    assert "whales is stuck" in asked_by(site, "127.0.0.1", "/healthz")[1]


def test_with_a_token_only_who_gives_it_may_look() -> None:
    site = Site(token="let-me-in-please")
    site.server.step()
    site.server.worker.start()
    try:
        assert asked_by(site, "127.0.0.1", "/status.json")[0] == 403
        assert asked_by(site, "127.0.0.1", "/status.json?token=let-me-in")[0] == 403
        assert asked_by(site, "bot.example", "/status.json?token=let-me-in-please")[0] == 200
        assert asked_by(site, "bot.example", "/", bearer="let-me-in-please")[0] == 200
        assert asked_by(site, "bot.example", "/healthz")[1] == "ok\n"
    finally:
        site.server.stop(5)


def test_no_path_of_the_machine_is_shown(site: Site) -> None:
    assert "/nowhere" not in site.ask("/status.json")[1]


def _talkers() -> int:
    """Threads that speak with a client, of this server and of those of other tests."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


def test_many_slow_clients_cannot_lock_others_out(site: Site) -> None:
    before = _talkers()
    slow = [socket.create_connection(("127.0.0.1", site.port), timeout=30) for _ in range(3 * web.CONNECTIONS)]
    try:
        for line in slow:
            line.sendall(b"GET /hea")
        held = _talkers() - before
        assert site.ask("/healthz")[0] == 200
        assert held < 2 * web.CONNECTIONS, "each slow client holds a thread"
    finally:
        for line in slow:
            line.close()


def test_a_silent_client_is_disconnected(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web._Handler, "timeout", 0.1)
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as line:
        assert line.recv(10) == b""


def test_a_client_that_disconnects_is_no_error(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    site.view["folder"] = "x" * 5_000_000  # too much for the socket's buffers: the answer cannot be delivered
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as line:
        line.sendall(b"GET /status.json HTTP/1.0\r\n\r\n")
        line.recv(10)
    site.view["folder"] = ""
    deadline = time.monotonic() + 30
    while any("process_request" in thread.name for thread in threading.enumerate()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert site.ask("/healthz")[0] == 200
    assert caplog.text == ""


def test_the_page_loads_nothing_from_elsewhere_and_its_policy_allows_nothing_else(site: Site) -> None:
    code, page, headers = site.ask("/")
    assert code == 200
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+|@import|\ssrc=", page)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Python" not in headers["Server"]


# The port


def test_a_port_in_use_is_logged_once_and_taken_when_it_is_free(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HealthServer(lambda: VIEW, host="127.0.0.1", port=taken.getsockname()[1])
        assert server.step() == web.TRY_AGAIN
        assert server.step() == web.TRY_AGAIN
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "HEALTH_PORT" in record.getMessage()
    assert "in use" in record.getMessage()
    assert server.step() == 0.0
    assert f"Status page: {server.url}" in caplog.text
    server.stop()


def test_an_address_that_is_not_of_this_machine_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    server = HealthServer(lambda: VIEW, host="203.0.113.7", port=free_port())
    assert server.step() == web.TRY_AGAIN
    assert "203.0.113.7" in caplog.text


def test_it_serves_ipv6_too() -> None:
    site = Site(host="::1")
    if site.server.step() != 0.0:
        pytest.skip("no IPv6 on this machine")
    site.server.worker.start()
    assert f"http://[::1]:{site.port}/" == site.server.url
    assert site.ask("/healthz")[0] == 200
    site.server.stop(5)


# The whole bot


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_the_running_bot_shows_its_state_but_no_token_no_chat_and_no_message(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    port = free_port()
    bot = run_bot(HEALTH_PORT=str(port), before="import monitors; monitors.STATUS_EVERY = 0.05")
    bot.wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/ping a-secret-word")
    chat.wait_text("pong")
    sim.wait(lambda: get(port, "/healthz")[0] == 200, what="a healthy bot")

    def told() -> dict[str, Any]:
        return json.loads(get(port, "/status.json")[1])  # type: ignore[no-any-return]

    sim.wait(lambda: told()["queue"]["sent_24h"] >= 2, what="the sent messages counted")
    sim.wait(lambda: told()["latency"]["latest"] >= 2, what="their latency")
    assert told()["latency"]["longest"] < 60
    everything = "".join(get(port, path)[1] for path in ("/", "/healthz", "/status.json", "/metrics"))
    for hidden in (*SECRETS, "a-secret-word", "pong"):
        assert hidden not in everything
    assert bot.stop()[0] == 0
    assert get(port, "/healthz")[0] == 0


def test_a_bot_whose_store_hangs_still_answers_and_says_what_is_stuck(run_bot: Run, sim: Simulator) -> None:
    port = free_port()
    hang = "lambda self: exec('with self._store.transaction(): threading.Event().wait()')"
    bot = run_bot(
        HEALTH_PORT=str(port),
        before="import threading; from service import events, watchdog; from watch import whale_monitor as monitors; "
        "watchdog.LOOK_EVERY = events.LOOK = 0.05; watchdog.GRACE = 3.0; "
        f"watchdog.PATIENCE = 0.5; monitors.WhaleMonitor.tick = {hang}",
    )
    said: set[tuple[int, str]] = set()

    def named() -> bool:
        said.add(get(port, "/healthz"))
        return any(
            code == 503 and re.search(r"The thread (polling|schedule|outbox-1) is stuck\.\n", words)
            for code, words in said
        )

    try:
        sim.wait(named, what="a 503 that names the thread")
    except AssertionError:
        raise AssertionError(f"{said}\n{bot.output}") from None
    assert bot.wait_exit() == 1


# The page in a real browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def dom(url: str, profile: Path, *, milliseconds: int = 2500) -> str:
    """The page's document after that time of its own clock, which runs as fast as it can."""
    arguments = [f"--user-data-dir={profile}", f"--virtual-time-budget={milliseconds}"]
    ran = subprocess.run(
        [str(CHROMIUM), *QUIET, *arguments, "--dump-dom", url],
        capture_output=True,
        check=True,
        encoding="utf-8",
        timeout=60,
    )
    return ran.stdout


def shown(document: str, element: str) -> str:
    """The text of the element with that id."""
    found = re.search(rf'<(\w+)[^>]* id="{element}"[^>]*>(.*?)</\1>', document, re.DOTALL)
    assert found is not None, document[:2000]
    return re.sub(r"<[^>]+>", " ", found.group(2)).strip()


@browser
def test_in_a_browser_the_page_shows_state_queue_sources_conflicts_and_latency(site: Site, tmp_path: Path) -> None:
    site.view["username"] = "<img src=x onerror=alert(1)>"  # what comes from outside is text, never markup
    document = dom(f"http://127.0.0.1:{site.port}/", tmp_path)
    assert shown(document, "headline") == "Running"
    assert "<img" not in document
    assert shown(document, "pending") == "7"
    assert shown(document, "sent") == "1,482"
    assert shown(document, "alerts") == "276"
    assert shown(document, "p95") == "250 ms"
    assert "Binance spot" in shown(document, "sources")
    assert "2 coins" in shown(document, "sources")
    assert "every coin · checked 1.5 s ago" in shown(document, "sources")
    assert "Not needed now: Kraken (data.example.org)" in shown(document, "sources")
    assert "1 min, 3 × error 409" in shown(document, "episodes")
    assert document.count('class="past"') == 23, "23 hours that are over"
    latest = re.sub(r"\s+", " ", shown(document, "latest"))
    assert re.search(
        r"BTC buy 2.4M USD at 77,030 Binance spot, \S+ ETH long liquidated on OKX: 640k USD \d", latest
    ), "an exchange that the alert names is not named twice"
    assert re.sub(r"\s+", " ", shown(document, "prices")) == "BTC 77,030 +0.3 % DOGE 0.1704 -1.9 %"
    places = [
        re.findall(r'left: ([\d.]+)%;">([^<]*)', found) for found in re.findall(r'id="\w+-axis">.*?</div>', document)
    ]
    assert len(places[0]) > 2
    assert places[0] == places[1], "both pictures have the same hours below each other"
    assert "hidden" in re.search(r'<p [^>]*id="strip-key"[^>]*>', document)[0]  # type: ignore[index]


@browser
def test_in_a_browser_what_the_strip_of_conflicts_does_not_know_is_explained(site: Site, tmp_path: Path) -> None:
    site.view["started_at"] = NOW - 7200
    document = dom(f"http://127.0.0.1:{site.port}/", tmp_path)
    assert 'class="unknown" style="width: ' in document
    assert "hidden" not in re.search(r'<p [^>]*id="strip-key"[^>]*>', document)[0]  # type: ignore[index]
    assert shown(document, "strip-key") == "not known: before the bot was started"
    assert "hidden" in re.search(r'<p id="gone"[^>]*>', document)[0]  # type: ignore[index]


@browser
def test_in_a_browser_a_problem_comes_first(site: Site, tmp_path: Path) -> None:
    site.view |= STANDBY | STUCK
    document = dom(f"http://127.0.0.1:{site.port}/", tmp_path)
    assert shown(document, "headline") == "Stuck"
    assert "takes over when the other one stops" in shown(document, "words")
    assert "Both send alerts, so each may come twice." in shown(document, "words")
    assert shown(document, "problems") == "The thread whales is stuck."
    (width,) = re.findall(r'class="on now"[^>]*width: ([\d.]+)%', document)
    assert float(width) == pytest.approx(100 * 380 / 86400, rel=0.01), "a conflict lasts until now, not for the hour"
    assert 'data-tone="bad"' in document


@browser
def test_in_a_browser_the_page_refreshes_itself_and_says_when_the_bot_is_gone(
    tmp_path: Path,
) -> None:
    answers = iter([VIEW, VIEW | {"queue": {"pending": 99, "sent_24h": 1, "buried_24h": 0}}])

    def view() -> dict[str, Any]:
        answer = next(answers, None)
        if answer is None:
            raise ConnectionResetError  # as a process that was killed
        return answer

    server = HealthServer(view, host="127.0.0.1", port=free_port())
    server.worker.start()
    document = dom(server.url, tmp_path, milliseconds=20_000)
    server.stop(5)
    assert shown(document, "headline") == "No answer from the bot"
    assert "has not answered since" in shown(document, "gone")
    assert "Last known state: running" in shown(document, "words")
    assert shown(document, "pending") == "99"


@browser
def test_in_a_browser_the_page_is_no_wider_than_a_phone(tmp_path: Path) -> None:
    """A server of this test's own, without the policy: the page in frames as wide as phones, and a measure."""
    frames = "".join(
        f'<iframe src="/page" style="width: {width}px; border: 0"></iframe>' for width in (320, 390, 1040)
    )
    each = "[...document.querySelectorAll('iframe')].map((frame) => frame.contentDocument)"
    measure = f"{each}.map((page) => page.documentElement.scrollWidth).join()"
    # Marks of a time line, in their order, of which one ends after the next one begins.
    places = "marks.map((mark) => mark.getBoundingClientRect()).sort((a, b) => a.left - b.left)"
    over = f"((marks) => {places}.filter((mark, i, all) => i && mark.left < all[i - 1].right + 4).length)"
    marks = "[...page.querySelectorAll('#hours-axis span')]"
    tell = f"wide.textContent = {measure}; over.textContent = {each}.map((page) => {over}({marks})).join()"
    wrapper = f"{frames}<p id=wide></p><p id=over></p><script>setTimeout(() => {{ {tell} }}, 1500)</script>"
    evening = time.mktime((2026, 11, 30, 20, 20, 0, 0, 0, -1))  # 18:00 is just left of "now"
    told = json.dumps(VIEW | {"now": evening, "written_at": evening})
    pages = {"/": wrapper, "/page": web.PAGE.read_text(encoding="utf-8"), "/status.json": told}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        document = dom(f"http://127.0.0.1:{server.server_port}/", tmp_path)
        server.shutdown()
    assert shown(document, "wide") == "320,390,1040"
    assert shown(document, "over") == "0,0,0", "two times of day stand in each other"
