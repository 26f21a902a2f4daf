"""Whatever the network does is one sentence with its cause, also below the libraries' own errors."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OWNER, SECRETS, TOKEN, Run

from base import config
from botapi.client import Telegram
from botapi.errors import Unreachable
from simulation.account import SimBot
from simulation.simulator import Simulator
from venues.fetch import Host
from venues.trades import SourceError

Ask = Callable[[str], str]
LONG = "a" * 64  # one letter more than a part of a name may have
PASSWORD = "s3cret-of-the-proxy"


def telegram(url: str) -> str:
    with pytest.raises(Unreachable) as caught:
        Telegram(TOKEN, url).webhook(within=2)
    return str(caught.value)


def market(url: str) -> str:
    with pytest.raises(SourceError) as caught:
        Host(url, deadline=2).get("/", {})
    return caught.value.reason


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*config.NETWORK, "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(params=[telegram, market], ids=["telegram", "market"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask a host that does not answer; returns what is said."""

    def asked(url: str) -> str:
        told: str = request.param(url)
        assert PASSWORD not in told
        assert SECRETS[0] not in told
        assert "Error" not in told
        return told

    return asked


@pytest.fixture
def server() -> Iterator[str]:
    """A server that speaks no TLS and refuses to be a proxy: host:port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):  # it may have hung up already
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):  # Windows has no such shutdown, and needs none: closing ends the wait
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("name", "proxy", "told"),
    [
        ("HTTPS_PROXY", "http://.proxy.corp:3128", "the proxy's address cannot be used"),
        ("HTTPS_PROXY", f"http://{LONG}.corp:3128", "the proxy's address cannot be used"),
        ("https_proxy", "http://", "(HTTPS_PROXY)"),
        ("ALL_PROXY", "http://a b:3128", "(ALL_PROXY)"),
        ("HTTPS_PROXY", "http://127.0.0.1:99999", "the proxy's address cannot be used"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:9", "it should begin with http:// (HTTPS_PROXY)"),
        ("HTTPS_PROXY", f"http://me:{PASSWORD}@127.0.0.1:9", "the proxy 127.0.0.1:9 did not connect"),
        ("HTTPS_PROXY", f"http://me:{PASSWORD}@no-such-proxy.invalid:9", "no-such-proxy.invalid:9"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, name: str, proxy: str, told: str
) -> None:
    monkeypatch.setenv(name, proxy)
    assert told in ask("https://host.invalid")


def test_a_proxy_that_refuses_is_said_with_its_answer(ask: Ask, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@{server}")
    assert ask("https://host.invalid") == f"the proxy {server} refuses (HTTP 407)"


def test_a_socks_proxy_without_its_package_is_said_with_the_command(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", _without_pysocks)
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://127.0.0.1:9")
    assert "needs the package PySocks" in ask("https://host.invalid")
    assert "-m pip install PySocks" in ask("https://host.invalid")


def _without_pysocks(*_: object, **__: object) -> object:
    from requests.exceptions import InvalidSchema

    raise InvalidSchema("Missing dependencies for SOCKS support.")  # as requests/adapters.py does


@pytest.mark.parametrize("host", [f"{LONG}.org", "a..org", ".org.x", f"ä{LONG}.org", "127.0.0.1:99999"])
def test_an_address_that_no_server_can_have_is_said(ask: Ask, host: str) -> None:
    assert ask(f"http://{host}") == "the server's address cannot be used; check its name and its port"


def test_a_name_that_does_not_resolve_is_said(ask: Ask) -> None:
    told = ask("http://no-such-host.invalid")
    assert told in ("the server's name was not found (DNS)", "the connection was refused or broken")


def test_what_speaks_no_tls_is_said(ask: Ask, server: str) -> None:
    assert ask(f"https://{server}") == "no secure connection (TLS): wrong version number"


def test_a_file_of_certificates_that_is_missing_or_holds_none_is_said(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, server: str, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert f"is missing ({bundle}): correct or unset REQUESTS_CA_BUNDLE" in ask(f"https://{server}")
    bundle.write_text("no certificates", encoding="utf-8")
    assert f"holds no certificates ({bundle})" in ask(f"https://{server}")


def test_a_file_of_certificates_renamed_in_mid_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(bundle))
    bundle.write_bytes(Path(__import__("certifi").where()).read_bytes())
    bot = Telegram(TOKEN, "https://127.0.0.1:9")
    with pytest.raises(Unreachable, match="refused"):
        bot.webhook(within=1)
    bundle.rename(bundle.with_suffix(".old"))
    with pytest.raises(Unreachable, match="-m pip install --force-reinstall certifi"):
        bot.webhook(within=1)


def test_the_certificates_are_read_once_for_all_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(Path(__import__("certifi").where()).read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, *files: Any) -> None:
        read.append(files)
        load(context, *files)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    for ask in (telegram, market, market):
        assert "wrong version number" in ask(f"https://{server}")
    assert read == [(bundle,)]


@pytest.mark.parametrize(
    ("environment", "file", "used"),
    [
        ({}, "https_proxy='http://b:2'  # ours", {"https_proxy": "http://b:2"}),
        ({"HTTPS_PROXY": "http://a:1"}, "https_proxy=http://b:2", {"HTTPS_PROXY": "http://a:1"}),
        (
            {"HTTPS_PROXY": '"http://a:1"'},
            "",
            {"HTTPS_PROXY": "http://a:1"},
        ),  # as docker passes it on
        ({"HTTPS_PROXY": ""}, "HTTPS_PROXY=http://b:2", {"HTTPS_PROXY": "http://b:2"}),
    ],
)
def test_a_proxy_of_the_settings_file_is_used_like_the_rest(
    environment: dict[str, str], file: str, used: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(file, encoding="utf-8")
    monkeypatch.setattr(os, "environ", environment)
    config.export_network(tmp_path / ".env")
    assert environment == used


# The whole bot


def test_without_a_network_each_host_is_one_line_in_the_log_and_no_traceback(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path
) -> None:
    """A proxy that cannot be used, from `.env`: it stands there like every other setting."""
    (tmp_path / "no.env").write_text("HTTP_PROXY=http://.proxy.corp:3128\nNO_PROXY=\n", encoding="utf-8")
    bot = run_bot(before="from base import clock; clock.PATIENCE = 0.2")  # markets wait for the time from Telegram
    told = "the proxy's address cannot be used"
    bot.wait_output(f"Polling: {told}")
    bot.wait_output(f"is failing: {told}")
    (tmp_path / "no.env").write_text("HTTP_PROXY=http://.proxy.corp:3128\nNO_PROXY=127.0.0.1\n", encoding="utf-8")
    bot.stop()
    lines = [line for line in bot.output.splitlines() if told in line]
    assert len(lines) <= 1 + len(config.SOURCE_DEFAULTS), "each host once"
    assert "Traceback" not in bot.output
    again = run_bot()
    again.wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/ping")
    chat.wait_text("pong")
