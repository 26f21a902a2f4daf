"""What is secret is taken out of every text, whole, before anything is cut."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from base import config, secrets
from base.answer import Answer
from base.config import ConfigError
from base.secrets import redact
from base.text import one_line
from botapi import errors
from venues.trades import SourceError

KEY = "coinglass-key-of-a-test-0123456789"
TOKEN = "987654321:half-of-a-token-of-a-test-98765"


@pytest.fixture(autouse=True)
def known() -> None:
    secrets.know(KEY, TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"bad key {KEY}!",
        TOKEN,
        TOKEN.partition(":")[2],
        f"https://x.org/bot{TOKEN}/getMe",
        TOKEN.replace(":", "%3A"),
        "https://ann:hunter22@proxy.example:3128/",
        "socks5://ann:hunter22@proxy",
        "htps://ann:hunter22@proxy",
    ],
)
def test_no_secret_is_left_in_a_text(text: str) -> None:
    clean = redact(text)
    for secret in (KEY, TOKEN.partition(":")[2], "hunter22"):
        assert secret not in clean


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgresql://ann:correct-horse@db.example.org/bot", "correct-horse"),
        ("postgresql://ann:correct%40horse@db.example.org/bot", "correct@horse"),
        ("postgresql://ann:correct@horse@db.example.org/bot", "correct@horse"),
        ("postgresql://db.example.org/bot?user=ann&password=correct-horse", "correct-horse"),
        ("postgresql://db.example.org/bot?sslpassword=correct-horse&sslmode=require", "correct-horse"),
    ],
)
def test_the_password_of_a_databases_url_is_left_in_no_text(url: str, secret: str) -> None:
    secrets.know(url, *secrets.passwords(url))
    for text in (url, f"says: {secret}!", f"cannot resolve {url.partition('//')[2]}"):
        assert secret not in redact(text) and "correct" not in redact(text)
    assert secrets.passwords("postgresql://ann@db.example.org:5432/bot") == []


def test_short_values_and_ordinary_words_stay() -> None:
    secrets.know("", "abc")
    assert redact("abc 12345:short 10:02:11 //host/path a@b") == "abc 12345:short 10:02:11 //host/path a@b"


def test_a_server_that_echoes_a_key_cannot_have_half_of_it_cut_out() -> None:
    body = ("x" * 70 + KEY + "y" * 70).encode()
    words = Answer(403, {}, secrets.redact_body(body)).body.decode()[:90]
    for cut in range(8, len(KEY)):
        assert KEY[:cut] not in words


def test_a_servers_words_are_one_line_and_no_escape_reaches_a_terminal() -> None:
    forged = "no\n2026-11-30 03:00:00 ERROR \x1b[2J all is lost\r\u2028"
    error = errors.failure({"ok": False, "error_code": 400, "description": forged})
    source = SourceError("host", forged)
    for said in (str(error), source.reason):
        assert said.splitlines() == [said]
        assert said.isprintable()
    assert one_line("a\tb") == "a b"


def test_settings_errors_echo_no_half_token_and_no_password(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    half = TOKEN.partition(":")[2]
    file.write_text(
        f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID={half}\nOKX_URL=htps://ann:hunter22@x.org\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError) as error:
        config.load(file, environ={})
    told = "\n".join(error.value.problems)
    assert "OWNER_ID=(hidden)" in told
    assert half not in told
    assert "hunter22" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX rights")
def test_a_settings_file_that_others_can_read_and_a_token_sent_in_the_open_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    file.chmod(0o644)
    (warning,) = config.load(file, environ={}).warnings
    assert f"chmod 600 {file}" in warning
    file.chmod(0o600)
    assert config.load(file, environ={}).warnings == ()
    open_url = {"TELEGRAM_API_URL": "http://bot-api.example:8081"}
    (warning,) = config.load(file, environ=open_url).warnings
    assert "can read your token" in warning
    assert config.load(file, environ={"TELEGRAM_API_URL": "http://127.0.0.1:8081"}).warnings == ()


def test_the_log_holds_no_known_secret(caplog: pytest.LogCaptureFixture) -> None:
    from base.logs import Redacting

    record = logging.LogRecord("x", logging.INFO, __file__, 1, "key %s", (KEY,), None)
    assert KEY not in Redacting("json").format(record)
