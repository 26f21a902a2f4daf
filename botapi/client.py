"""The Bot API over HTTP, for polling and for sending: connections that can be cut, errors of our own kinds.

All calls go through `_send`, telebot's own too (its public hook CUSTOM_REQUEST_SENDER). Parameters travel in the
body, never in the URL, where a log would show them. Another thread can end a long poll in a millisecond. A failure is
one of the kinds of `TelegramError`, whose text never holds the token.

A dead connection (another Wi-Fi, a NAT that forgot it, a resumed laptop) sends nothing, not even a reset. Long polls
and looks from standby show it soon, because they are short and late answers are measured; the first call that is
answered again closes every older connection.
"""

from __future__ import annotations

import email.utils
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from base import transport
from base.answer import Answer, whole
from base.clock import Clock
from base.secrets import know
from base.stopwatch import Stopwatch
from base.worker import heartbeat
from botapi.connections import UNANSWERED, Addresses, Connections, CuttableAdapter, Delay
from botapi.errors import LineRenewed, NoAnswer, NotLeading, Unreachable, failure, number
from botapi.heartbeat import Heartbeat

# telebot imports Pillow where that is installed, for pictures in a form the bot never sends: 2 MiB and 20 ms.
_pillow = sys.modules.setdefault("PIL", None)  # type: ignore[arg-type]
import telebot  # noqa: E402

if _pillow is None:
    del sys.modules["PIL"]

API_URL = "https://api.telegram.org"
CONNECT_TIMEOUT = 2.5  # a lost SYN is repeated after 1 and 3 s: a new try is faster than the second
CALL_TIMEOUT = 20.0  # seconds for a call that sends something
ASK_TIMEOUT = 5.0  # seconds for a call that only asks, or may be made twice
NOT_BOT_API = "an answer that is not from the Bot API"

apihelper: Any = telebot.apihelper  # the module has no type hints

# telebot has a console handler of its own: every line would appear twice.
telebot.logger.removeHandler(telebot.console_output_handler)
telebot.logger.setLevel(logging.WARNING)


class Webhook(NamedTuple):
    """getWebhookInfo: the webhook's URL ("" for none), how many updates are unread, and the types that are wanted."""

    url: str
    pending: int
    types: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The URL's host, for people; "" when it has none. The rest may hold a secret."""
        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:
            return ""


class Telegram:
    """One bot's calls to its Bot API server. Thread-safe. Installs itself as telebot's request sender.

    leads: may this copy of the bot make calls? It is asked before each one.
    """

    def __init__(
        self,
        token: str,
        api_url: str = API_URL,
        *,
        call_timeout: float = CALL_TIMEOUT,
        ask_timeout: float = ASK_TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        clock: Clock | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.token = token
        know(token)
        self.leads = leads
        self._call_timeout, self._ask_timeout, self._connect_timeout = call_timeout, ask_timeout, connect_timeout
        self._delay = Delay()
        self._addresses = Addresses()
        self._renewed_at = 0.0  # when a call began, monotonic, that was answered after an outage
        self._api_url = api_url
        self._none_waited: Stopwatch | None = None  # since the question to which there was no update
        self.clock = clock or Clock()
        self.heartbeat = Heartbeat()
        self._poll_connections, self._connections = Connections(), Connections()
        self._poll_adapter = CuttableAdapter(self._poll_connections, self._addresses)
        self._adapter = CuttableAdapter(self._connections, self._addresses)
        # Proxies and certificates from the environment, looked up once: a Session does it for every call and spends
        # more time on cookies and redirects than on the request (0.63 ms a call, 0.36 ms this way).
        self._transport: Any = requests.Session().merge_environment_settings(api_url, {}, None, None, None)
        apihelper.API_URL = api_url + "/bot{0}/{1}"
        apihelper.CUSTOM_REQUEST_SENDER = self._send_for_telebot

    def updates(
        self, offset: int, *, timeout: int, limit: int = 100, within: float | None = None
    ) -> list[dict[str, Any]]:
        """Raw updates from `offset` on; confirms all before it. Waits up to `timeout` seconds for one to come.

        timeout 0 is a short poll: it is not ended by `cut`, and has `within` seconds to be answered.
        """
        types = self.heartbeat.types(time.monotonic())
        params = {"offset": offset, "limit": limit, "timeout": timeout, "allowed_updates": types}
        if not timeout:
            return _updates(self._call("getUpdates", params, timeout=self._ask_timeout if within is None else within))
        # The server makes a poll with the offset of the last 3 s at least 3 s long (process_get_updates_query).
        ends = max(3.0, timeout)
        asked = Stopwatch()
        with self._delay.measured() as delay:
            found = _updates(self._look("getUpdates", params, timeout=ends + delay.allowed()))
            if found:
                delay.answered_early()
            else:
                delay.answered(after=timeout if asked.elapsed() < ends else ends)
        self._note_dates(found, asked)
        return found

    def _look(self, method: str, params: dict[str, Any] | None = None, *, timeout: float) -> Any:
        """A call made every few seconds, on the connection of the long polls: it is quick to notice a dead one."""
        return self._call(method, params, timeout=timeout, adapter=self._poll_adapter)

    def me(self, *, within: float | None = None) -> tuple[dict[str, Any], float | None]:
        """getMe: the bot's own account, and the server's clock in unix seconds if it sent a Date."""
        url = f"{self._api_url}/bot{self.token}/getMe"
        answer = self._send("post", url, timeout=self._ask_timeout if within is None else within)
        account = answer.json()["result"]
        if not isinstance(account, dict):
            raise Unreachable(NOT_BOT_API)
        return account, _unix(answer.headers.get("Date", ""))

    def webhook(self, *, within: float | None = None) -> Webhook:
        """getWebhookInfo: disturbs no poller."""
        with self._delay.measured() as delay:
            info = self._look("getWebhookInfo", timeout=delay.allowed() if within is None else within)
            delay.answered()
        pending = info.get("pending_update_count") if isinstance(info, dict) else None
        if not isinstance(pending, int):
            raise Unreachable(NOT_BOT_API)
        types = info.get("allowed_updates")
        return Webhook(str(info.get("url") or ""), pending, tuple(map(str, types)) if isinstance(types, list) else ())

    def administrators(self, chat_id: int) -> list[int]:
        """User ids of a group's owner and administrators (getChatAdministrators); without bots."""
        found = self._call("getChatAdministrators", {"chat_id": chat_id}, timeout=self._ask_timeout)
        if not isinstance(found, list):
            raise Unreachable(NOT_BOT_API)
        people = [member.get("user") or {} for member in found if isinstance(member, dict)]
        return [user["id"] for user in people if isinstance(user.get("id"), int) and not user.get("is_bot")]

    def delete_webhook(self) -> None:
        """deleteWebhook; other servers than Telegram's do not take setWebhook with an empty URL for it."""
        self._call("deleteWebhook", timeout=self._ask_timeout)

    def drop_pending(self) -> None:
        """deleteWebhook with drop_pending_updates: drops every waiting update."""
        self._call("deleteWebhook", {"drop_pending_updates": True}, timeout=self._ask_timeout)

    def send(
        self, method: str, payload: dict[str, Any], *, files: Mapping[str, tuple[str, bytes]] | None = None
    ) -> int | None:
        """Make one sending call. Returns the message_id, None for a method that makes no message.

        files: parameter -> (file name, content), uploaded with it (Bot API, "Sending files").
        """
        result = self._call(method, payload, files=files, timeout=self._call_timeout, asks=False)
        return number(result.get("message_id"), 0, 2**52) if isinstance(result, dict) else None

    def cut(self) -> None:
        """End the long poll in flight at once, and every later one; an answer half received does not count."""
        self._poll_connections.cut()

    def _send_for_telebot(
        self, method: str, url: str, *, params: Any = None, files: Any = None, **_: Any
    ) -> SimpleNamespace:
        """telebot's own call, getMe. Its own time limits are not used."""
        answer = self._send(method, url, params=params, files=files, timeout=self._ask_timeout)
        return SimpleNamespace(json=answer.json, text="")  # what telebot reads: the text only for its log

    def _call(self, method: str, params: dict[str, Any] | None = None, *, timeout: float, **how: Any) -> Any:
        url = f"{self._api_url}/bot{self.token}/{method}"
        return self._send("post", url, params=params, timeout=timeout, **how).json()["result"]

    def _send(
        self,
        method: str,
        url: str,
        *,
        params: Any = None,
        files: Any = None,
        timeout: float,
        asks: bool = True,
        adapter: CuttableAdapter | None = None,
    ) -> Answer:
        """One HTTP request, parameters in the body. Returns an answer that says ok, or raises TelegramError.

        asks: it sends nothing, or may be made twice. Such calls come every few seconds and fail soon, so they notice
        a lost network first.
        """
        how = self._transport | {"stream": True, "timeout": (min(self._connect_timeout, timeout), timeout)}
        began, watch = time.monotonic(), Stopwatch()
        heartbeat()
        if not self.leads():
            raise NotLeading("another copy of this bot may lead by now")
        try:
            request = _form(url, params, files) if files else _json(url, params or {})
            answer = whole(lambda: (adapter or self._adapter).send(request, **how), seconds=timeout)
        except transport.ERRORS as error:
            if not asks and self._connections.closed_at > began:
                raise LineRenewed("the network is back") from None  # not tried again here: is it still to be sent?
            self._addresses.lost |= asks  # the last asking call got no answer
            # The text of a requests error holds the URL and so the token: only its kind is kept.
            kind = NoAnswer if isinstance(error, requests.exceptions.ReadTimeout) else Unreachable
            raise kind(transport.reason(error, self._api_url), took=watch.elapsed()) from None
        finally:
            heartbeat()
        if asks:
            if self._addresses.lost:
                self._addresses.lost, self._renewed_at = False, began
            # The network was lost. Older connections may be dead and would only notice at their time limit.
            limit = self._delay.allowed(UNANSWERED)
            self._connections.close_older(opened_before=self._renewed_at, unanswered=limit)
        try:
            told = answer.json()
            if told["ok"] is True and "result" in told:
                if asks:
                    self.clock.told(_unix(answer.headers.get("Date", "")), took=watch.elapsed())
                return answer
            refused = failure(told, own_server=self._api_url != API_URL)
        except (KeyError, TypeError, ValueError, AttributeError):
            page = f"HTTP {answer.status} with an answer that is not from the Bot API"
            refused = Unreachable(page, status=answer.status)
        raise refused

    def _note_dates(self, updates: list[dict[str, Any]], asked: Stopwatch) -> None:
        """Set the clock by the dates of new messages: a self-hosted server sends no `Date`."""
        messages = [update["message"] for update in updates if isinstance(update.get("message"), dict)]
        dates = [message["date"] for message in messages if isinstance(message.get("date"), int)]
        if dates:
            # Messages that were not there at the last look came after it, or Telegram was slow to pass them on.
            since = math.inf if self._none_waited is None else self._none_waited.elapsed()
            self.clock.message(max(dates), since=since)
        self._none_waited = None if updates else asked


def _unix(date: str) -> float | None:
    """Unix seconds from a Date header; None if it cannot be read."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _updates(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        raise Unreachable(NOT_BOT_API)
    return [update for update in found if isinstance(update, dict)]


def _form(url: str, params: Any, files: Any) -> requests.PreparedRequest:
    # In a form every value is text; keyboards, numbers and booleans are JSON (Bot API, "Making requests").
    fields = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in (params or {}).items()
        if value is not None
    }
    return requests.Request("POST", url, data=fields, files=files).prepare()


def _json(url: str, params: dict[str, Any]) -> requests.PreparedRequest:
    body = json.dumps(params).encode()
    request = requests.PreparedRequest()
    request.method, request.url, request.body = "POST", url, body
    request.headers = CaseInsensitiveDict({"Content-Type": "application/json", "Content-Length": str(len(body))})
    return request
