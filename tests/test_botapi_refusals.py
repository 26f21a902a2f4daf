"""Which refusals are about a message, a chat or the bot's rights; all others are the server's and pass."""

from __future__ import annotations

import pytest
from conftest import TOKEN

from botapi import refusals
from botapi.client import Telegram
from botapi.errors import Rejected, TelegramError, TokenRefused, Unreachable, failure
from botapi.refusals import About, about
from simulation.chats import REFUSALS
from simulation.simulator import Simulator


def refused(code: int, description: str, **parameters: int) -> TelegramError:
    return failure({"ok": False, "error_code": code, "description": description, "parameters": parameters})


@pytest.mark.parametrize(
    ("description", "what"),
    [
        ("Bad Request: message text is empty", About.MESSAGE),
        ("Bad Request: can't parse entities: unexpected end tag", About.MESSAGE),
        ("Bad Request: BUTTON_DATA_INVALID", About.MESSAGE),
        ("Bad Request: query is too old and response timeout expired or query ID is invalid", About.MESSAGE),
        ("Request Entity Too Large", About.MESSAGE),
        ("Bad Request: not enough rights to send photos to the chat", About.MESSAGE),
        ("Bad Request: not enough rights to send text messages to the chat", About.RIGHTS),
        ("Bad Request: have no rights to send a message", About.RIGHTS),
        ("Forbidden: need administrator rights in the channel chat", About.RIGHTS),
        ("Bad Request: CHAT_WRITE_FORBIDDEN", About.RIGHTS),
        ("Bad Request: TOPIC_CLOSED", About.TOPIC),
        ("Bad Request: message thread not found", About.TOPIC),
        ("Forbidden: bot was blocked by the user", About.CHAT),
        ("Forbidden: bot can't initiate conversation with a user", About.CHAT),
        ("Bad Request: chat not found", About.CHAT),
        ("Logged out", None),
        ("Misdirected Request", None),
        ("Forbidden: something of the future", None),
        ("Bad Request", None),
    ],
)
def test_what_each_refusal_is_about(description: str, what: About | None) -> None:
    assert about(description) is what
    error = refused(400, description)
    assert (error.about if isinstance(error, Rejected) else None) is what


def test_what_is_not_listed_counts_as_an_unreachable_server_with_its_words() -> None:
    error = refused(421, "Misdirected Request")
    assert isinstance(error, Unreachable)
    assert (error.status, str(error)) == (421, "421 Misdirected Request")


def test_a_group_that_moved_is_told_whatever_the_words() -> None:
    error = refused(400, "words of the future", migrate_to_chat_id=-1005)
    assert isinstance(error, Rejected)
    assert error.migrate_to == -1005


def test_a_token_is_not_refused_by_a_4xx_of_one_call() -> None:
    assert not isinstance(refused(404, "Not Found: method not found"), TokenRefused)


def test_a_servers_own_mistake_is_not_the_tokens() -> None:
    error = refused(401, "Unauthorized: invalid api-id/api-hash")
    assert isinstance(error, Unreachable)
    assert str(error) == "the Bot API server was started with a wrong api-id or api-hash (401)"


def test_where_the_path_may_be_wrong_the_token_alone_is_not_blamed(sim: Simulator) -> None:
    with pytest.raises(TokenRefused) as wrong:
        Telegram(TOKEN, f"{sim.url}/wrong").me()
    assert wrong.value.says == "The Bot API server knows no such address (404 Not Found)"
    assert "TELEGRAM_API_URL has a wrong path" in wrong.value.remedy
    with pytest.raises(TokenRefused) as unknown:
        Telegram(TOKEN, sim.url).me()
    assert unknown.value.says == "Telegram refuses the token (401 Unauthorized)"
    at_telegram = refused(404, "Not Found")
    assert isinstance(at_telegram, TokenRefused)
    assert "TELEGRAM_API_URL" not in at_telegram.remedy


def test_every_entry_has_a_reason_and_stands_behind_no_shorter_one() -> None:
    """An entry behind one that its words contain would never be found."""
    for number, (words, _, why) in enumerate(refusals._LIST):
        assert words == words.lower()
        assert why
        assert not [earlier for earlier, _, _ in refusals._LIST[:number] if earlier in words]


def test_every_refusal_of_the_simulated_chats_is_listed() -> None:
    assert not [words for _, words in REFUSALS.values() if about(words) is None]
