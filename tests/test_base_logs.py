"""The log never holds the token, in no form it can take, and loses no line to an encoding."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from conftest import OTHER_TOKEN, PATIENCE, SECRETS, TOKEN

from base import logs, secrets
from base.console import console


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """The root logger, given back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def logged(tmp_path: Path) -> str:
    return (tmp_path / "bot.log").read_text(encoding="utf-8")


def test_the_token_is_in_no_line_and_in_no_traceback(tmp_path: Path, root: logging.Logger) -> None:
    logs.to_file(tmp_path / "bot.log")
    secrets.know(TOKEN)
    quoted = TOKEN.replace(":", "%3A")
    logging.error("calling https://api.telegram.org/bot%s/getMe", TOKEN)
    logging.error("calling https://api.telegram.org/bot%s/getMe", quoted)
    logging.error("the secret half alone: %s", SECRETS[0])
    try:
        raise ConnectionError(f"POST /bot{TOKEN}/getUpdates")
    except ConnectionError:
        logging.exception("failed")
    told = logged(tmp_path)
    assert SECRETS[0] not in told
    assert told.count("<token>") >= 4
    assert "ConnectionError" in told, "what happened is still told"


def test_a_token_of_another_bot_is_hidden_as_well(tmp_path: Path, root: logging.Logger) -> None:
    logs.to_file(tmp_path / "bot.log")
    logging.error("OWNER_ID=%s", OTHER_TOKEN)
    assert SECRETS[1] not in logged(tmp_path)


def test_any_character_reaches_the_file(
    tmp_path: Path, root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root, "handlers", [])  # not into pytest's own report, which cannot carry half a character
    logs.to_file(tmp_path / "bot.log")
    logging.error("group %s joined", "鲸🐳\ud800")
    assert "鲸🐳" in logged(tmp_path)


def test_a_console_that_lacks_a_character_still_shows_the_line(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="cp1252", write_through=True))
    logs.to_console("INFO")
    logging.info("group 鲸 joined, token %s", TOKEN)
    assert console.drain(PATIENCE)
    assert b"group \\u9cb8 joined, token <token>" in raw.getvalue()


def test_a_process_without_a_console_can_log(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    handlers = list(root.handlers)
    logs.to_console("INFO")
    assert root.handlers == handlers


def test_debug_does_not_switch_on_the_libraries_request_lines(root: logging.Logger) -> None:
    logs.to_console("DEBUG")
    assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("botapi.outbox").isEnabledFor(logging.DEBUG)


def test_as_json_each_line_is_one_object_with_the_same_words_and_no_token(
    tmp_path: Path, root: logging.Logger
) -> None:
    root.setLevel(logging.INFO)
    secrets.know(TOKEN)
    logs.to_file(tmp_path / "bot.log", "json")
    logging.info("group %s joined\nwith two lines", "鲸")
    try:
        raise ConnectionError(f"POST /bot{TOKEN}/getUpdates")
    except ConnectionError:
        logging.exception("calling /bot%s/getMe", TOKEN)
    first, second = map(json.loads, logged(tmp_path).splitlines())
    assert list(first) == ["time", "level", "thread", "message"]
    assert (first["level"], first["thread"]) == ("INFO", "MainThread")
    assert first["message"] == "group 鲸 joined\nwith two lines"
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert second["message"] == "calling /bot<token>/getMe"
    assert second["exception"].endswith("ConnectionError: POST /bot<token>/getUpdates")
    assert SECRETS[0] not in logged(tmp_path)


def test_a_folder_that_cannot_be_written_is_said_and_not_fatal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs.to_file(tmp_path / "missing" / "bot.log")
    assert "cannot be written" in caplog.text
