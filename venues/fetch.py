"""JSON from one market host, and what all venues share. The only module that uses `requests` for market data.

It never retries or logs: every failure is a `SourceError`, whose words contain no URL and no header.
"""

from __future__ import annotations

import calendar
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import default_user_agent

from base import transport
from base.answer import BoundedAdapter, whole
from base.worker import heartbeat
from venues.trades import SHORT_PAUSE, SourceError

BODY_LIMIT = 8 * 1024 * 1024
# Seconds until a host is asked again that refuses this place or wants fewer requests, where it does not say how long.
REFUSED_PAUSES = {403: 3600.0, 451: 3600.0, 418: 300.0, 429: 60.0}
RETRY_AFTER_LIMIT = 3 * 86400.0  # Binance's longest ban


Explain = Callable[[int, Any], SourceError | None]  # HTTP status and JSON body (None: no JSON) to a better error


class Host:
    """Asks one host for JSON over kept-alive connections, from any thread. An answer may take `deadline` seconds,
    never longer.

    name: the host's name and port. words: a few words from the body of a refusal, "" for none. headers: sent each
    time. spacing: seconds from one request to the next at least, waited for until `hurry` is set.
    """

    def __init__(
        self,
        base_url: str,
        *,
        deadline: float,
        words: Callable[[Any], str] = lambda answer: "",
        headers: Mapping[str, str] | None = None,
        spacing: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base_url.rstrip("/")
        self.name = urlsplit(base_url).netloc.rpartition("@")[2]
        self._deadline = deadline
        self._timeouts = (min(3.05, deadline), min(10.0, deadline))
        self._adapter = BoundedAdapter()
        # Proxies and certificates from the environment, looked up once: a Session does it for every call and spends
        # half of its time on that, on cookies and on redirects.
        self._transport: Any = requests.Session().merge_environment_settings(base_url, {}, True, None, None)
        accepted = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        self._headers = {"User-Agent": default_user_agent()} | accepted | dict(headers or {})
        self._words = words
        self._spacing, self._clock = spacing, clock
        self._next_at, self._turn = 0.0, threading.Lock()
        self.hurry = threading.Event()

    def close(self) -> None:
        self._adapter.close()

    def get(
        self, path: str, params: Mapping[str, str | int], *, explain: Explain = lambda status, answer: None
    ) -> tuple[Any, int]:
        """The answer and the venue's clock, unix ms (0: not known). Raises SourceError.

        explain: the error to raise for an answer with another status than 200, None for the general one.
        """
        return self._ask("GET", path, explain, params=dict(params))

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[Any, int]:
        """The answer to a JSON body and the venue's clock, unix ms (0: not known). Raises SourceError."""
        return self._ask("POST", path, lambda status, answer: None, json=dict(body))

    def _ask(self, method: str, path: str, explain: Explain, **question: Any) -> tuple[Any, int]:
        if self._spacing:
            with self._turn:
                self.hurry.wait(max(0.0, self._next_at - self._clock()))
                self._next_at = self._clock() + self._spacing
        try:
            request = requests.Request(method, self._base + path, headers=self._headers, **question).prepare()
            found = whole(
                lambda: self._adapter.send(request, timeout=self._timeouts, **self._transport),
                seconds=self._deadline,
                size=BODY_LIMIT,
            )
        except requests.Timeout:
            raise SourceError(self.name, "timeout", retry_after=SHORT_PAUSE) from None
        except transport.ERRORS as error:
            raise self._broken(error) from None
        finally:
            heartbeat()
        answer, broken = None, ""
        try:
            answer = found.json()
        except ValueError:
            broken = "HTML instead of JSON" if found.body.lstrip()[:1] == b"<" else "broken JSON"
        if found.status != 200:
            raise explain(found.status, answer) or self._refused(found.status, found.headers, self._words(answer))
        if broken:
            raise SourceError(self.name, broken)
        return answer, _date_ms(found.headers.get("Date"))

    def _refused(self, status: int, headers: Mapping[str, str], words: str) -> SourceError:
        reason = f"HTTP {status}, {words}" if words else f"HTTP {status}"
        blocked, pause = status in (403, 451), _retry_after(headers)
        too_often = not blocked and (pause is not None or status in (418, 429))
        if blocked or pause is None:
            pause = REFUSED_PAUSES.get(status)
        return SourceError(self.name, reason, retry_after=pause, blocked=blocked, too_often=too_often)

    def _broken(self, error: Exception) -> SourceError:
        words = transport.reason(error, self._base)
        # Without a network every name fails, and that may last a minute only.
        unknown = words == transport.UNKNOWN_NAME
        pause = None if transport.was_connected(error) else SHORT_PAUSE
        return SourceError(self.name, words, retry_after=pause, blocked=unknown)


class Venue:
    """A venue, asked at one host. Its methods raise SourceError, and never retry or log: the monitor decides.

    host: its name, for messages. now: unix seconds, where the host does not tell its own time. how: for `Host`.
    """

    def __init__(
        self, base_url: str, *, deadline: float = 15.0, now: Callable[[], float] = time.time, **how: Any
    ) -> None:
        self._http, self._now = Host(base_url, deadline=deadline, **how), now
        self.host = self._http.name

    def _time_ms(self, venue_ms: int) -> int:
        """The venue's clock, unix ms; this computer's where it did not say."""
        return venue_ms or int(self._now() * 1000)

    def close(self) -> None:
        self._http.close()

    def hurry(self) -> None:
        """Wait for nothing from now on: the bot stops. For any thread."""
        self._http.hurry.set()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from a Retry-After header, a number or a date; None when there is none that can be read."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        until, now = _date_ms(value), _date_ms(headers.get("Date")) or int(time.time() * 1000)
        if not until:
            return None
        seconds = max(0.0, (until - now) / 1000)
    return min(seconds, RETRY_AFTER_LIMIT) if seconds >= 0 else None


def _date_ms(value: str | None) -> int:
    parsed = parsedate(value) if value else None
    try:
        return calendar.timegm(parsed) * 1000 if parsed else 0
    except (ValueError, OverflowError):
        return 0
