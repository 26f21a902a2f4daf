"""Why an HTTP request got no answer: one sentence part with the cause, for Telegram and the market hosts alike.

`requests` lets errors of the layers below it through (OSError for certificates, urllib3's for names). Their texts
hold the URL, and with it the token or a proxy's password: only kinds and causes are used, never a text as it is.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.utils import get_environ_proxies, select_proxy

from base.kinds import is_address
from base.shell import pip_command

# What a request can raise. RequestException is an OSError; a UnicodeError comes from a name that cannot be encoded.
ERRORS = (OSError, urllib3.exceptions.HTTPError, UnicodeError)

UNKNOWN_NAME = "the server's name was not found (DNS)"
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class TooLarge(requests.RequestException):
    """More than an answer may have."""


def reason(error: BaseException, url: str) -> str:
    """The cause in words. url: where the request was to go. The words hold no URL, no token and no password."""
    causes = list(_causes(error))
    if any(isinstance(cause, TooLarge) for cause in causes):
        return "an answer of absurd size"
    proxy = select_proxy(url, get_environ_proxies(url, no_proxy=None)) or ""
    words = _certificates(causes) or _names(url, proxy) or _proxy(causes, url, proxy) or _tls(causes)
    if words:
        return words
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        return UNKNOWN_NAME
    if isinstance(error, requests.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, requests.ReadTimeout):
        return "no answer within the time limit"
    return _connection(causes)


def was_connected(error: BaseException) -> bool:
    """Whether the server was there and what it sent was cut or broken."""
    broken = TooLarge | urllib3.exceptions.ProtocolError | urllib3.exceptions.DecodeError | zlib.error
    return any(isinstance(cause, broken) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what is inside: requests and urllib3 keep the cause in an argument, in `reason`, or below."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            inside = getattr(one, "reason", None), getattr(one, "original_error", None)
            waiting += [*one.args, *inside, one.__cause__, one.__context__]


def _certificates(causes: list[BaseException]) -> str:
    for cause in causes:
        # requests raises a bare OSError with this text (adapters.py, cert_verify); urllib3 what OpenSSL says.
        missing = re.search(r"CA certificate bundle, invalid path: (.*)", str(cause))
        if missing or re.search(r"NO_CERTIFICATE_OR_CRL_FOUND|X509: ", str(cause)):
            set_in = next((name for name in _BUNDLES if os.environ.get(name)), "")
            where = os.environ.get(set_in, missing[1] if missing else "")
            fix = f"correct or unset {set_in}" if set_in else pip_command("install", "--force-reinstall", "certifi")
            what = "is missing" if missing else "holds no certificates"
            return f"the file of trusted certificates {what} ({where}): {fix}"
    return ""


def _names(url: str, proxy: str) -> str:
    """What is wrong with the address of the proxy or of the server, before anything is sent."""
    if proxy and not is_address(proxy if "//" in proxy else f"http://{proxy}"):
        return f"the proxy's address cannot be used; it should look like http://host:port ({_where_from(url)})"
    return "" if is_address(url) else "the server's address cannot be used; check its name and its port"


def _where_from(url: str) -> str:
    """What sets the proxy for this URL."""
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    given = (name.upper() for name in names if os.environ.get(name) or os.environ.get(name.upper()))
    return next(given, "set in this system")


def _proxy(causes: list[BaseException], url: str, proxy: str) -> str:
    if any("SOCKS support" in str(cause) for cause in causes if isinstance(cause, requests.exceptions.InvalidSchema)):
        return f"a SOCKS proxy needs the package PySocks: {pip_command('install', 'PySocks')}"
    if any(isinstance(cause, urllib3.exceptions.ProxySchemeUnknown) for cause in causes):
        return f"the proxy's address cannot be used; it should begin with http:// ({_where_from(url)})"
    if not proxy or not any(isinstance(cause, urllib3.exceptions.ProxyError) for cause in causes):
        return ""
    where = urlsplit(proxy if "//" in proxy else f"http://{proxy}").netloc.rpartition("@")[2]
    answer = next(
        (found for cause in causes if (found := re.search(r"Tunnel connection failed: (\d+)", str(cause)))), None
    )
    if answer:
        return f"the proxy {where} refuses (HTTP {answer[1]})"
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        return f"the proxy's name {where} was not found (DNS)"
    return f"the proxy {where} did not connect"


def _tls(causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_message:
            return (
                f"no secure connection (TLS): {cause.verify_message.partition(', certificate is not valid for')[0]}"
            )
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return f"no secure connection (TLS): {cause.reason.lower().replace('_', ' ')}"
    return (
        "no secure connection (TLS)" if any(isinstance(one, requests.exceptions.SSLError) for one in causes) else ""
    )


def _connection(causes: list[BaseException]) -> str:
    codes = {cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno}
    if codes & {errno.EMFILE, errno.ENFILE}:
        return "this process has too many files open"
    if codes & {errno.EACCES, errno.EPERM}:
        return "a firewall or a sandbox on this machine forbids the connection"
    if any(isinstance(cause, requests.ConnectionError | urllib3.exceptions.ProtocolError) for cause in causes):
        return "the connection was refused or broken"
    return f"the request failed ({type(causes[0]).__name__})"
