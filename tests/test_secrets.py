"""Texts of others may hold the token: it is taken out where they enter, before any log, database or answer."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import OWNER, SECRETS, TOKEN, Run

from botapi.client import Webhook
from botapi.updates import parse
from simulation.account import SimBot
from venues.trades import SourceError


@pytest.mark.parametrize("typed", ["--x TOKEN", "--x=TOKEN", "TOKEN", "logs TOKEN", "--env-file TOKEN"])
def test_a_token_on_the_command_line_is_not_printed_back(run_bot: Run, typed: str) -> None:
    bot = run_bot(*typed.replace("TOKEN", TOKEN).split())
    assert bot.wait_exit() == 64
    assert "See:" in bot.output
    assert SECRETS[0] not in bot.output


def test_a_token_pasted_into_a_chat_is_not_repeated_or_kept(run_bot: Run, chat: SimBot) -> None:
    bot = run_bot()
    for words in (f"/ping {TOKEN}", f"/threshold {TOKEN}", f"/{TOKEN}"):
        chat.send_text(chat_id=OWNER, text=words)
    chat.send_text(chat_id=OWNER, text="/ping last")
    chat.wait_text("pong last", chat_id=OWNER)
    assert SECRETS[0] not in "".join(chat.texts(OWNER))
    assert bot.stop()[0] == 0
    stored = b"".join(path.read_bytes() for path in bot.folder.glob("bot.db*"))
    assert SECRETS[0].encode() not in stored


def test_a_token_in_a_name_or_a_title_is_taken_out() -> None:
    who: dict[str, Any] = {"id": 5, "first_name": TOKEN}
    message = {"message_id": 1, "date": 1, "text": "hi", "from": who}
    update = parse(
        {"update_id": 1, "message": message | {"chat": {"id": -5, "type": "group", "title": f"x {TOKEN}"}}}
    )
    assert SECRETS[0] not in repr(update)


def test_a_hosts_own_words_are_redacted() -> None:
    error = SourceError("example.org", f"HTTP 400, no such path /bot{TOKEN}/x")
    assert SECRETS[0] not in f"{error} {error.reason}"


@pytest.mark.parametrize("url", ["https://example.org/botTOKEN", "/botTOKEN", "http://[TOKEN", "TOKEN"])
def test_of_a_webhook_only_the_host_is_shown(url: str) -> None:
    assert Webhook(url.replace("TOKEN", TOKEN), 0).host in ("example.org", "")
