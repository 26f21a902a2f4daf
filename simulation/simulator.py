"""A Bot API server and market venues on loopback, for the demo, for tests and for benchmarks.

with Simulator() as sim:
bot = sim.bot("123456789:TEST-token")          # TELEGRAM_API_URL is sim.url
bot.send_text(chat_id=7, text="/start")
bot.wait_text("welcome", chat_id=7)
sim.fault(method="sendMessage", kind="retry_after", retry_after=2, times=1)
sim.market.sweep("binance", "BTC", "buy", usd=2_000_000)     # BINANCE_URL is sim.market_url("binance")

The server's rules come from tdlib/telegram-bot-api (simulation/updates.py). The other parts: http.py (connections),
account.py (people), chats.py (Bot API methods), market.py and feeds.py (trades, and how venues show them),
perpetuals.py and perpetual_feeds.py (liquidations, funding, wallets: `sim.market.perpetuals`), control.py (below).

`python -m simulation` runs it as a process of its own (__main__.py). `POST /sim/NAME` with a JSON body then does what
the Python API does; `token` may be left out when there is one bot: bot {token, username}           send_text
{chat_id, text, count, ...}; {n} in the text is the number sent, calls {since, method}     chat {chat_id}
stats {}          forget {} wait {called, count, timeout}: until `count` deliveries, or calls of the method `called`,
since `forget` round_trips {chat_id, text, count}: send one, wait for the answer, send the next -> milliseconds of
each burst {chat_id, text, count, answers, timeout}: queue all, wait for the answers -> seconds, per_second fault
{method|market, kind, ...}, clear_faults {}     set_webhook {url, consumes}     revoke {} rival {timeout, pause},
end_rivals {}                 limits {on}     block {chat_id} trade, sweep, skip_ids, poison {venue, symbol, ...}
flow {rate, symbols, whale_every} liquidate {venue, coin, side, usd, ...}   set_rate {venue, coin, rate}   hold
{address, coin, size, ...} offline {}, online {}, cut {sever}, restore {}
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from simulation import endless
from simulation.account import Call, SimBot
from simulation.control import control
from simulation.feeds import FEEDS, VENUES, error_answer
from simulation.http import PATIENCE, Answer, Drop, HttpServer, Hub, html_answer, json_answer, json_text
from simulation.market import Market, MarketCall
from simulation.request import Params, Request
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
    "slow_first_byte",  # the right answer, after `seconds` or when the fault is cleared
    *endless.KINDS,
)
_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]{3,}")


@dataclass(eq=False)
class Fault:
    """A fault in force. hits: requests that met it; ends_at: monotonic seconds; the rest as in `Simulator.fault`."""

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
        """End the fault, and whatever waits for it."""
        self.cleared.set()


class Simulator:
    """Serves from construction until `close`, or the end of its `with` block.

    conflict_hold: seconds in place of the server's 3 s between two 409s. keep: log entries to keep for each bot.
    dated: the Bot API's answers have a `Date` header, as api.telegram.org's do; a self-hosted server sends none.
    """

    def __init__(self, port: int = 0, *, conflict_hold: float = 3.0, keep: int = 50_000, dated: bool = True) -> None:
        self._hub = Hub()
        self.dated = dated
        self._conflict_hold = conflict_hold
        self._keep = keep
        self.bots: dict[str, SimBot] = {}
        self._faults: list[Fault] = []
        self.rivals: list[Rival] = []
        self.market = Market(self._hub)
        self.unauthorized = 0
        self._server = HttpServer(self._handle, hub=self._hub, port=port)
        self._routes: list[HttpServer] = []

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; every request that waits ends."""
        self._hub.closing.set()
        for fault in self._faults:
            fault.clear()
        for bot in self.bots.values():
            bot.updates.close()
        for server in (self._server, *self._routes):
            server.offline()

    @property
    def url(self) -> str:
        """TELEGRAM_API_URL of its bots."""
        return self._server.url

    def market_url(self, venue: str) -> str:
        """Base URL of a venue: one of VENUES. Raises ValueError."""
        if venue not in VENUES:
            raise ValueError(f"no market {venue!r}; there are {', '.join(VENUES)}")
        return f"{self.url}/market/{venue}"

    def bot(self, token: str, *, username: str = "whale_test_bot") -> SimBot:
        """The bot of a token, registered when it is new."""
        with self._hub.lock:
            if token not in self.bots:
                self.bots[token] = SimBot(
                    self._hub, token, username=username, conflict_hold=self._conflict_hold, keep=self._keep
                )
            return self.bots[token]

    def revoke(self, token: str) -> None:
        """Answer 401 from now on, also to the poll that waits."""
        bot = self.bots[token]
        bot.revoked = True
        bot.updates.refuse_poll(ApiError(401, "Unauthorized"))

    def wait(self, predicate: Callable[[], T | None], timeout: float = PATIENCE, *, what: str = "the condition") -> T:
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
        """Make requests fail: of a Bot API `method`, of a `market` venue, or "*" for all.

        It lasts for `times` requests, for `lasting` seconds, or until it is cleared. `after`: the request is carried
        out, and only its answer fails. path: what the path and the query of a market's request must contain, for
        example `instFamily=ETH-USDT`. Of several faults that fit, the oldest counts. Raises ValueError.
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
        """End all faults."""
        with self._hub.lock:
            for fault in self._faults:
                fault.clear()
            self._faults.clear()

    def offline(self) -> None:
        """Refuse connections and reset the open ones until `online`."""
        self._server.offline()

    def online(self) -> None:
        """Serve again, on the same port."""
        self._server.online()

    def cut(self, *, sever: bool = True) -> None:
        """Lose the network without a reset until `restore`; severed connections never come back."""
        self._server.cut(sever=sever)

    def restore(self) -> None:
        """End `cut`."""
        self._server.restore()

    def route(self) -> HttpServer:
        """Another port to the same simulator: its `cut` and `offline` affect only the users of its `url`."""
        server = HttpServer(self._handle, hub=self._hub)
        with self._hub.lock:
            self._routes.append(server)
        return server

    def _handle(self, request: Request) -> Answer:
        path = request.path
        if path.startswith("/bot"):
            return self._bot_api(request)._replace(dated=self.dated)
        if path.startswith("/market/"):
            return self._market(request)
        if path.startswith("/sim/"):
            return control(self, path[5:], request.params)
        return _failure(ApiError(404, "Not Found"))[0]  # as the Bot API server says of an address it does not know

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
            asked = f"{path}?{'&'.join(f'{name}={value}' for name, value in request.params.items())}"
            fault = self._fault_for(f"market/{venue}", "market/*", asked)
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
        """The answer that takes the true one's place, None to keep the true one. Raises Drop for no answer."""
        kind = fault.kind
        if kind == "hang":
            fault.cleared.wait(None if fault.ends_at == float("inf") else max(0.0, fault.ends_at - time.monotonic()))
            raise Drop
        if kind in ("reset", "close"):
            raise Drop(reset=kind == "reset")
        if kind == "slow_first_byte":
            fault.cleared.wait(fault.seconds)
            return None
        if kind in endless.KINDS:
            return endless.answer(kind, until=fault.cleared)
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
