"""Connections to public addresses only: checked when a socket connects, by the very address that it connects to.

So neither a name that leads to a private address, nor one that changes between two look-ups, nor a redirect, nor a
library that connects by itself gets further. Python reports every connect to audit hooks (PEP 578); one that raises
prevents it. Source of what is public: the IANA registries in `ipaddress`.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

_here = threading.local()
_everywhere: list[Guard] = []  # of this whole process
_hooked = threading.Lock()  # taken once, never released: a hook stays as long as the process
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class NotPublic(OSError):
    """A connection to an address of this machine or of a private network was prevented."""


def is_public(address: str) -> bool:
    """Is this IP address one of the internet? False for anything else."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


def is_private_name(host: str) -> bool:
    """Does this name or address of a URL mean this machine or a private network, without asking a name server?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().endswith((".localhost", ".local", ".internal"))
    return not is_public(host)


class Guard:
    """refused: the private address that something in the block wanted to connect to, "" while nothing did."""

    refused = ""

    def __init__(self) -> None:
        self.proxies = _proxies()


@contextmanager
def public_only(*, unless: bool = False) -> Iterator[Guard]:
    """In this block this thread connects to public addresses only, and to the proxies of the environment.

    unless: to any address after all.
    """
    if unless:
        yield Guard()
        return
    _install()
    _here.guard = Guard()
    try:
        yield _here.guard
    finally:
        del _here.guard


def public_from_now_on() -> Guard:
    """The same for every thread of this process, as long as it lives."""
    _install()
    _everywhere.append(Guard())
    return _everywhere[0]


def _install() -> None:
    if _hooked.acquire(blocking=False):
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto"):
        return
    guard: Guard | None = getattr(_here, "guard", _everywhere[0] if _everywhere else None)
    if guard is None:
        return
    address = arguments[1]
    if isinstance(address, tuple) and (is_public(str(address[0])) or address[:2] in guard.proxies):
        return
    guard.refused = str(address[0]) if isinstance(address, tuple) else "a local socket"
    raise NotPublic("not a public address")


def _proxies() -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for url in getproxies().values():
        with suppress(OSError, ValueError):
            parts = urlsplit(url if "//" in url else f"http://{url}")
            port = parts.port or (443 if parts.scheme == "https" else 80)
            found |= {(str(at[4][0]), port) for at in socket.getaddrinfo(parts.hostname, port)}
    return found
