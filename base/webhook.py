"""One signed HTTP POST to an address that its owner chose, with bounds on time and size. No redirect is followed."""

from __future__ import annotations

import hashlib
import hmac
import socket
from contextlib import closing, suppress
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy

from base import transport
from base.answer import BoundedAdapter, whole
from base.public import is_public, public_only

SECONDS, CONNECT = 10.0, 3.05
SIZE = 65536  # bytes of the answer, which nobody reads
SIGNATURE = "X-Signature-256"  # sha256=<hex of the HMAC-SHA256 of the body, keyed with the secret>
LONGEST_WAIT = 3600.0
_ABOUT_THE_ALERT = (400, 413, 415, 422)
PRIVATE = "its address is on this machine or in a private network, which the setting OUT_PRIVATE=true allows"


class Then(Enum):
    """What follows when an alert was not taken."""

    AGAIN = "try it again later"
    NEXT = "this alert will never be taken, the next one may be"
    OFF = "no alert will be taken any more"


class NotTaken(Exception):
    """str() is why, without the address. retry_after: seconds to wait at least."""

    def __init__(self, why: str, then: Then = Then.AGAIN, *, retry_after: float = 0.0) -> None:
        super().__init__(why)
        self.then, self.retry_after = then, retry_after


def sign(body: bytes, secret: str) -> str:
    """The value of the header SIGNATURE."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(url: str, body: bytes, *, secret: str, private: bool, seconds: float = SECONDS) -> None:
    """Send JSON. private: addresses that are not public are allowed, too. Raises NotTaken."""
    headers = {"Content-Type": "application/json", "User-Agent": "CryptoSat", SIGNATURE: sign(body, secret)}
    with public_only(unless=private) as guard, closing(BoundedAdapter()) as adapter:
        if not private and _proxied_to_private(url):
            raise NotTaken(PRIVATE, Then.OFF)
        try:
            request = requests.Request("POST", url, data=body, headers=headers).prepare()
            way: Any = requests.Session().merge_environment_settings(url, {}, True, None, None)
            timeouts = (min(CONNECT, seconds), seconds)
            found = whole(lambda: adapter.send(request, timeout=timeouts, **way), seconds=seconds, size=SIZE)
        except transport.ERRORS as error:
            if guard.refused:
                raise NotTaken(PRIVATE, Then.OFF) from None
            raise NotTaken(transport.reason(error, url)) from None
    if 200 <= found.status < 300:
        return
    if 300 <= found.status < 400:
        raise NotTaken(f"it answers with a redirect (HTTP {found.status}), which is not followed")
    then = Then.OFF if found.status == 410 else Then.NEXT if found.status in _ABOUT_THE_ALERT else Then.AGAIN
    raise NotTaken(f"HTTP {found.status}", then, retry_after=_seconds(found.headers.get("Retry-After", "")))


def _seconds(value: str) -> float:
    return min(LONGEST_WAIT, float(value)) if value.isascii() and value.isdecimal() else 0.0


def _proxied_to_private(url: str) -> bool:
    """Would a proxy, which resolves names itself, be asked for one that this machine knows to be private?"""
    if not select_proxy(url, get_environ_proxies(url, no_proxy=None)):
        return False
    parts, found = urlsplit(url), []
    with suppress(OSError, ValueError, UnicodeError):
        found = socket.getaddrinfo(parts.hostname, parts.port or 443)
    return any(not is_public(str(at[4][0])) for at in found)
