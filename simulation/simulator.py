"""A Bot API server and market feeds on loopback, for `--demo`, for tests and for benchmarks.

    with Simulator() as sim:
        bot = sim.bot("123456789:TEST-token")          # TELEGRAM_API_URL is sim.url
        bot.send_text(chat_id=7, text="/start")
        bot.wait_text("welcome", chat_id=7)
        sim.fault(method="sendMessage", kind="retry_after", retry_after=2, times=1)
        sim.market.sweep("binance", "BTC", "buy", usd=2_000_000)     # BINANCE_URL is sim.market_url("binance")

Server rules come from tdlib/telegram-bot-api (see simulation/updates.py); the rest of the parts are in
simulation/http.py (wire), simulation/account.py (people), simulation/chats.py (methods), simulation/market.py and
simulation/feeds.py (trades and how venues show them), simulation/perpetuals.py (liquidations, funding, wallets: at
`sim.market.perpetuals`) and simulation/perpetual_feeds.py, simulation/control.py (the API below).

Alone: `python -m simulation --port 8081 --token TOKEN [--flow N]` prints one JSON line with its URLs and runs until
it is stopped. Then `POST /sim/NAME` with a JSON body does what the Python API does; `token` may be left out
when there is one bot:
    bot {token, username}           send_text {chat_id, text, count, ...}; {n} in the text is the number
    sent, calls {since, method}     chat {chat_id}                   stats {}          forget {}
    wait {sent|called, count, timeout}: until so many deliveries, or calls of method `called`, since `forget`
    round_trips {chat_id, text, count}: send one, wait for the answer, and so on -> milliseconds of each
    burst {chat_id, text, count, answers, timeout}: queue all, wait for the answers -> seconds, per_second
    fault {method|market, kind, ...}, clear_faults {}     set_webhook {url, consumes}     revoke {}
    rival {timeout, pause}, end_rivals {}                 limits {on}     block {chat_id}
    trade, sweep, skip_ids, poison {venue, symbol, ...}   flow {rate, symbols, whale_every}
    liquidate {venue, coin, side, usd, ...}   set_rate {venue, coin, rate}   hold {address, coin, size, ...}
    offline {}, online {}, cut {sever}, restore {}
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from simulation.account import Call, SimBot
from simulation.control import control
from simulation.feeds import FEEDS, VENUES, error_answer
from simulation.http import Answer, Drop, HttpServer, Hub, Params, Request, html_answer, json_answer, json_text
from simulation.market import Market, MarketCall
from simulation.updates import ApiError, Described, RawJson, Rival

T = TypeVar("T")
KINDS = (
    "status",  # `code` with the service's own error body
    "html",  # a proxy's page with `code` (502)
    "html502",
    "garbage200",  # 200 and half a JSON document
    "null",  # 200 and null
    "not_ok_without_fields",  # 200 and {"ok": false}
    "retry_after",  # 429 with `retry_after` seconds
    "hang",  # no answer until the fault is cleared; then the connection ends
    "reset",  # RST instead of an answer
    "close",  # FIN instead of an answer
    "slow_first_byte",  # the right answer, `seconds` late, or when the fault is cleared
)
_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]{3,}")


@dataclass(eq=False)
class Fault:
    """A fault in force. `hits` counts the requests it met; `clear()` ends it."""

    target: str
    kind: str
    times: int | None
    ends_at: float
    seconds: float
    code: int
    retry_after: int
    after: bool
    description: str
    path: str
    hits: int = 0

    def __post_init__(self) -> None:
        self.cleared = threading.Event()

    def clear(self) -> None:
        self.cleared.set()


class Simulator:
    """Serves from construction until `close` (or the end of its `with` block). `keep`: log entries kept a bot."""

    def __init__(self, port: int = 0, *, conflict_hold: float = 3.0, keep: int = 50_000) -> None:
        self._hub = Hub()
        self._conflict_hold = conflict_hold
        self._keep = keep
        self.bots: dict[str, SimBot] = {}
        self._faults: list[Fault] = []
        self.rivals: list[Rival] = []
        self.market = Market(self._hub)
        self.unauthorized = 0
        self._server = HttpServer(self._handle, hub=self._hub, port=port)
        self._roads: list[HttpServer] = []

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._hub.closing.set()
        for fault in self._faults:
            fault.clear()
        for bot in self.bots.values():
            bot.updates.close()
        for server in (self._server, *self._roads):
            server.offline()

    @property
    def url(self) -> str:
        return self._server.url

    def market_url(self, venue: str) -> str:
        """Base URL of a market host: binance, binance_api, coinbase, kraken, okx, gate, hyperliquid, coinglass."""
        if venue not in VENUES:
            raise ValueError(f"no market {venue!r}; there are {', '.join(VENUES)}")
        return f"{self.url}/market/{venue}"

    def bot(self, token: str, *, username: str = "whale_test_bot") -> SimBot:
        """Register a token, or find the bot it belongs to."""
        with self._hub.lock:
            if token not in self.bots:
                self.bots[token] = SimBot(
                    self._hub, token, username=username, conflict_hold=self._conflict_hold, keep=self._keep
                )
            return self.bots[token]

    def revoke(self, token: str) -> None:
        """From now on 401, also for the poll that waits."""
        bot = self.bots[token]
        bot.revoked = True
        bot.updates.refuse_poll(ApiError(401, "Unauthorized"))

    def wait(self, predicate: Callable[[], T | None], timeout: float = 10.0, *, what: str = "the condition") -> T:
        """The first true value of `predicate`; AssertionError naming `what` after `timeout` seconds."""
        value: T = self._hub.wait(predicate, timeout=timeout, what=what)
        return value

    def fault(
        self,
        method: str | None = None,
        *,
        kind: str,
        market: str | None = None,
        path: str = "",
        times: int | None = None,
        lasting: float | None = None,
        seconds: float = 1.0,
        code: int = 500,
        retry_after: int = 1,
        after: bool = False,
        description: str = "",
    ) -> Fault:
        """Make requests fail: of a Bot API `method`, of a `market` host (paths containing `path`), or "*" for all.

        `times` requests, for `lasting` seconds, or until cleared. `after`: the request is carried out first and
        then its answer is lost or spoilt. Of several faults the oldest that fits is taken.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(KINDS)}")
        if (method is None) == (market is None):
            raise ValueError("a fault needs either a method or a market")
        target = f"api/{method}".lower() if method is not None else f"market/{market}"
        ends_at = float("inf") if lasting is None else time.monotonic() + lasting
        code = 502 if kind == "html502" or (kind == "html" and code == 500) else code
        fault = Fault(target, kind, times, ends_at, seconds, code, retry_after, after, description, path)
        with self._hub.lock:
            self._faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        with self._hub.lock:
            for fault in self._faults:
                fault.clear()
            self._faults.clear()

    def offline(self) -> None:
        """Refuse connections and reset the open ones until `online`."""
        self._server.offline()

    def online(self) -> None:
        self._server.online()

    def cut(self, *, sever: bool = True) -> None:
        """Lose the network without a reset until `restore`; severed connections never come back."""
        self._server.cut(sever=sever)

    def restore(self) -> None:
        self._server.restore()

    def road(self) -> HttpServer:
        """Another port with the same world behind it: its `cut` and `offline` concern only who uses its `url`."""
        server = HttpServer(self._handle, hub=self._hub)
        with self._hub.lock:
            self._roads.append(server)
        return server

    def _handle(self, request: Request) -> Answer:
        path = request.path
        if path.startswith("/bot"):
            return self._bot_api(request)
        if path.startswith("/market/"):
            return self._market(request)
        if path.startswith("/sim/"):
            return control(self, path[5:], request.params)
        return html_answer(404)

    def _bot_api(self, request: Request) -> Answer:
        token, _, method = request.path[4:].partition("/")
        bot = self.bots.get(token)
        if bot is None or bot.revoked:
            self.unauthorized += 1
            good = _TOKEN.fullmatch(token)
            return _failure(ApiError(401, "Unauthorized") if good else ApiError(404, "Not Found"))[0]
        call = Call(method, request.params, time.time(), request.port)
        with self._hub.lock:
            bot.log_call(call)
            self._hub.touch()
        status = 0
        try:
            fault = self._fault_for(f"api/{method}".lower(), "api/*", "") if self._faults else None
            if fault is None:
                answer, call.description = _result(bot, method, request.params)
            else:
                if fault.after:
                    answer, call.description = _result(bot, method, request.params)
                spoilt = self._spoil(fault, "")
                if spoilt is not None:
                    answer = spoilt
                elif not fault.after:
                    answer, call.description = _result(bot, method, request.params)
            status = answer.status
            return answer
        finally:
            with self._hub.lock:
                call.answered_at, call.status = time.time(), status
                self._hub.touch()

    def _market(self, request: Request) -> Answer:
        venue, _, path = request.path[len("/market/") :].partition("/")
        if venue not in VENUES:
            return html_answer(404)
        call = MarketCall(venue, f"/{path}", request.params, time.time())
        self.market.log_call(call)
        status = 0
        try:
            fault = self._fault_for(f"market/{venue}", "market/*", path)
            answer = self._spoil(fault, venue) if fault is not None else None
            if answer is None:
                with self._hub.lock:
                    answer = FEEDS[venue](self.market, f"/{path}", request)
            status = answer.status
            return answer
        finally:
            with self._hub.lock:
                call.status = status
                self._hub.touch()

    def _fault_for(self, target: str, anything: str, path: str) -> Fault | None:
        now = time.monotonic()
        with self._hub.lock:
            for fault in self._faults:
                spent = fault.cleared.is_set() or now >= fault.ends_at
                if not spent and fault.times is not None:
                    spent = fault.hits >= fault.times
                if not spent and fault.target in (target, anything) and fault.path in path:
                    fault.hits += 1
                    return fault
        return None

    def _spoil(self, fault: Fault, venue: str) -> Answer | None:
        """What the client gets instead; None for the true answer, late. Raises Drop for no answer."""
        kind = fault.kind
        if kind == "hang":
            fault.cleared.wait(None if fault.ends_at == float("inf") else max(0.0, fault.ends_at - time.monotonic()))
            raise Drop
        if kind in ("reset", "close"):
            raise Drop(reset=kind == "reset")
        if kind == "slow_first_byte":
            fault.cleared.wait(fault.seconds)
            return None
        if kind in ("html", "html502"):
            return html_answer(fault.code)
        if kind == "garbage200":
            return Answer(200, b'{"ok":true,"result":[{"update_id"')
        if kind == "null":
            return Answer(200, b"null")
        if kind == "not_ok_without_fields":
            return Answer(200, b'{"ok":false}')
        if venue:
            code = 429 if kind == "retry_after" else fault.code
            return error_answer(venue, code, retry_after=fault.retry_after if code in (418, 429) else None)
        if kind == "retry_after":
            words = f"Too Many Requests: retry after {fault.retry_after}"
            return _failure(ApiError(429, words, retry_after=fault.retry_after))[0]
        return _failure(ApiError(fault.code, fault.description or "Internal Server Error"))[0]


def _result(bot: SimBot, method: str, params: Params) -> tuple[Answer, str | None]:
    try:
        result = bot.answer(method, params)
    except ApiError as error:
        return _failure(error)
    if isinstance(result, RawJson):
        return Answer(200, b'{"ok":true,"result":' + result.text + b"}"), None
    if isinstance(result, Described):
        body = {"ok": True, "result": result.result, "description": result.description}
        return json_answer(body), result.description
    return Answer(200, b'{"ok":true,"result":' + json_text(result) + b"}"), None


def _failure(error: ApiError) -> tuple[Answer, str]:
    body: dict[str, Any] = {"ok": False, "error_code": error.code, "description": error.description}
    wait: tuple[tuple[str, str], ...] = ()
    if error.parameters:
        body["parameters"] = error.parameters
    if error.code == 429:
        wait = (("Retry-After", str(error.parameters.get("retry_after", 1))),)
    return json_answer(body, status=error.code, headers=wait), error.description


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Bot API server and market feeds on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", action="append", default=[], help="a bot to know (again for more)")
    parser.add_argument("--flow", type=float, default=0, help="background trades a second")
    parser.add_argument("--whale-every", type=float, default=None, help="seconds between whales of the flow")
    parser.add_argument("--conflict-hold", type=float, default=3.0, help="the server's 3 s, in seconds")
    options = parser.parse_args(arguments)
    stopped = threading.Event()
    # Plain set() in a handler is safe here: the main thread waits in slices, in a loop of its own.
    stop = False

    def ask_to_stop(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    with Simulator(options.port, conflict_hold=options.conflict_hold) as sim:
        for token in options.token:
            sim.bot(token)
        if options.flow:
            sim.market.start_flow(options.flow, whale_every=options.whale_every)
        print(json.dumps({"url": sim.url, "markets": {venue: sim.market_url(venue) for venue in VENUES}}), flush=True)
        while not stop:
            stopped.wait(0.2)
    return 0
