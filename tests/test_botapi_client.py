"""The road to the Bot API: errors of our own kinds without the token, a long poll that can be cut."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import OWNER, TOKEN, WINE

from base.clock import Clock
from base.secrets import know
from botapi import errors
from botapi.client import ASK_TIMEOUT, Telegram
from botapi.errors import (
    Conflict,
    NoAnswer,
    NotLeading,
    Rejected,
    TelegramError,
    TokenRefused,
    TooManyRequests,
    Unreachable,
)
from simulation.account import SimBot
from simulation.simulator import Simulator


@pytest.fixture
def telegram(sim: Simulator, chat: SimBot) -> Telegram:
    return Telegram(TOKEN, sim.url)


def failure(do: Callable[[], object]) -> TelegramError:
    with pytest.raises(TelegramError) as caught:
        do()
    assert TOKEN.partition(":")[2] not in repr(caught.value) + str(caught.value.__cause__)
    return caught.value


def test_a_message_is_sent_and_its_id_returned(telegram: Telegram, chat: SimBot) -> None:
    message_id = telegram.send("sendMessage", {"chat_id": OWNER, "text": "<b>hi</b>", "parse_mode": "HTML"})
    assert message_id == chat.sent[0].message_id


def test_a_file_is_uploaded_with_its_text_parameters_in_the_body(telegram: Telegram, chat: SimBot) -> None:
    keyboard = {"inline_keyboard": [[{"text": "Mute", "callback_data": "mute:BTC:1h"}]]}
    payload = {"chat_id": OWNER, "caption": "<b>鲸</b> & Co", "disable_notification": True, "reply_markup": keyboard}
    files = {"photo": ("chart.png", b"\x89PNG\r\n\r\n--x\r\n")}
    message_id = telegram.send("sendPhoto", payload, files=files)
    (sent,) = chat.sent
    upload = sent.params["photo"]
    assert not isinstance(upload, str)
    assert (upload.name, upload.data) == files["photo"]
    assert (sent.message_id, sent.text, sent.buttons) == (message_id, "<b>鲸</b> & Co", (("Mute", "mute:BTC:1h"),))
    assert sent.params["disable_notification"] == "true"


def test_an_upload_that_fails_names_no_token(telegram: Telegram, sim: Simulator) -> None:
    files = {"document": ("log.txt", b"x" * 100_000)}
    for kind in ("reset", "html502"):
        sim.fault(method="sendDocument", kind=kind, times=1)
        error = failure(lambda: telegram.send("sendDocument", {"chat_id": OWNER}, files=files))
        assert isinstance(error, Unreachable)


@pytest.mark.parametrize("kind", ["html502", "garbage200", "null", "not_ok_without_fields", "reset", "close"])
def test_an_unusable_answer_is_unreachable_and_names_no_token(telegram: Telegram, sim: Simulator, kind: str) -> None:
    sim.fault(method="getWebhookInfo", kind=kind)
    assert isinstance(failure(telegram.webhook), Unreachable)


def test_a_server_that_is_gone_is_unreachable_and_names_no_token(telegram: Telegram, sim: Simulator) -> None:
    sim.close()
    assert isinstance(failure(telegram.webhook), Unreachable)


def test_429_carries_the_seconds_to_wait(telegram: Telegram, sim: Simulator) -> None:
    sim.fault(method="sendMessage", kind="retry_after", retry_after=7)
    error = failure(lambda: telegram.send("sendMessage", {"chat_id": OWNER, "text": "x"}))
    assert isinstance(error, TooManyRequests)
    assert error.retry_after == 7


def test_a_revoked_token_is_refused(telegram: Telegram, sim: Simulator) -> None:
    sim.revoke(TOKEN)
    assert isinstance(failure(telegram.webhook), TokenRefused)


def test_a_webhooks_409_is_told_from_a_pollers(telegram: Telegram, chat: SimBot) -> None:
    chat.set_webhook_as_foreigner("https://hook.example.net/x")
    error = failure(lambda: telegram.updates(0, timeout=1))
    assert isinstance(error, Conflict)
    assert error.by_webhook


def test_a_blocked_chat_is_rejected_with_403(telegram: Telegram, chat: SimBot) -> None:
    chat.refuse(OWNER, "blocked")
    error = failure(lambda: telegram.send("sendMessage", {"chat_id": OWNER, "text": "x"}))
    assert isinstance(error, Rejected)
    assert error.code == 403


@pytest.mark.skipif(WINE, reason="Wine does not end a recv() by a shutdown")
def test_a_long_poll_is_cut_from_another_thread_at_once(telegram: Telegram, sim: Simulator, chat: SimBot) -> None:
    """Fails when urllib3 moves the hook that the cut depends on."""
    ended: list[TelegramError] = []

    def poll() -> None:
        ended.append(failure(lambda: telegram.updates(0, timeout=50)))

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    sim.wait(lambda: chat.polling, what="a long poll")
    telegram.cut()
    thread.join(30)
    assert isinstance(ended[0], Unreachable)


def test_a_look_on_a_dead_connection_is_given_up_soon_and_the_next_one_goes_through(
    sim: Simulator, chat: SimBot
) -> None:
    route = sim.route()
    telegram = Telegram(TOKEN, route.url)
    for _ in range(8):
        telegram.webhook()
    route.cut(sever=True)
    route.restore()  # the network is back, that connection is not
    began = time.monotonic()
    assert isinstance(failure(telegram.webhook), NoAnswer)
    assert time.monotonic() - began < ASK_TIMEOUT - 0.5
    assert telegram.webhook().pending == 0


def test_the_poll_after_a_look_uses_its_connection_which_is_known_to_live(telegram: Telegram, chat: SimBot) -> None:
    telegram.webhook()
    telegram.updates(0, timeout=1)
    assert len({call.port for call in chat.calls}) == 1


def test_a_slow_line_is_given_the_time_it_needs(telegram: Telegram, sim: Simulator, chat: SimBot) -> None:
    for _ in range(8):
        telegram.webhook()
    sim.fault(method="getWebhookInfo", kind="slow_first_byte", seconds=1.6)
    for _ in range(2):
        assert isinstance(failure(telegram.webhook), NoAnswer)
    assert telegram.webhook().pending == 0


def test_a_message_on_its_way_is_not_given_up_because_the_network_had_a_moment_of_trouble(
    telegram: Telegram, sim: Simulator, chat: SimBot
) -> None:
    """It would be sent a second time."""
    telegram.webhook()
    sim.fault(method="getWebhookInfo", kind="reset", times=1)
    assert isinstance(failure(telegram.webhook), Unreachable)
    sim.fault(method="sendMessage", kind="slow_first_byte", seconds=0.5, after=True)
    sent: list[int | None] = []
    sending = threading.Thread(
        target=lambda: sent.append(telegram.send("sendMessage", {"chat_id": OWNER, "text": "x"})), daemon=True
    )
    sending.start()
    sim.wait(lambda: chat.texts(OWNER) == ["x"], what="the message")
    telegram.webhook()  # the network is back
    sending.join(30)
    assert len(sent) == 1


class Names:
    """The resolver of this computer, which can hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.answers.set()
        real = socket.getaddrinfo

        def look_up(host: str, *args: Any, **how: Any) -> Any:
            if host != "telegram.test":
                return real(host, *args, **how)
            if not self.answers.wait(30):
                raise socket.gaierror
            return real("127.0.0.1", *args, **how)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names(monkeypatch)
    yield names
    names.answers.set()


@pytest.fixture
def named(sim: Simulator, chat: SimBot, names: Names) -> Telegram:
    """Has had an answer from telegram.test."""
    telegram = Telegram(TOKEN, sim.url.replace("127.0.0.1", "telegram.test"))
    telegram.webhook()
    return telegram


def loses_its_network(telegram: Telegram, sim: Simulator) -> None:
    sim.offline()
    failure(telegram.webhook)
    sim.online()


def test_after_a_lost_network_the_server_is_reached_while_its_name_is_still_being_looked_up(
    named: Telegram, names: Names, sim: Simulator, chat: SimBot
) -> None:
    """A question for a name that was lost is repeated after 5 s and more."""
    names.answers.clear()
    began = time.monotonic()
    loses_its_network(named, sim)
    assert named.webhook().pending == 0
    named.send("sendMessage", {"chat_id": OWNER, "text": "x"})
    assert time.monotonic() - began < 20, "it was waited for"


def test_a_server_that_has_moved_during_an_outage_is_found_by_its_name(
    named: Telegram, names: Names, sim: Simulator
) -> None:
    named._addresses.reached("telegram.test", "127.0.0.2")  # nobody answers there
    names.answers.clear()
    loses_its_network(named, sim)
    failure(named.webhook)
    names.answers.set()

    def answers() -> bool:
        try:
            return named.webhook().pending == 0
        except TelegramError:
            return False

    sim.wait(answers, what="an answer")


def test_a_name_that_can_be_looked_up_is_used(named: Telegram, names: Names) -> None:
    named._addresses.reached("telegram.test", "127.0.0.2")
    named.send("getMe", {})


def test_after_the_cut_the_last_updates_can_still_be_confirmed(telegram: Telegram, chat: SimBot) -> None:
    first = chat.send_text(chat_id=OWNER, text="/ping")
    telegram.cut()
    telegram.updates(first + 1, timeout=0, limit=1, within=2.0)
    assert chat.pending == 0


@pytest.mark.parametrize("wrong", [3600, -3600])
def test_the_servers_clock_is_learnt_from_a_poll(sim: Simulator, chat: SimBot, wrong: float) -> None:
    telegram = Telegram(TOKEN, sim.url, clock=Clock(wall=lambda: time.time() + wrong))
    telegram.updates(0, timeout=1)
    assert telegram.clock() == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("wrong", [3600, -3600])
def test_without_a_date_header_it_is_learnt_from_a_message(wrong: float) -> None:
    """A clock that is ahead: from one that was not there at the poll before."""
    with Simulator(dated=False) as sim:
        chat = sim.bot(TOKEN)
        chat.add_chat(OWNER)
        learns_from_a_message(sim, chat, wrong)


def learns_from_a_message(sim: Simulator, chat: SimBot, wrong: float) -> None:
    telegram = Telegram(TOKEN, sim.url, clock=Clock(wall=lambda: time.time() + wrong))
    telegram.updates(0, timeout=1)
    assert telegram.clock() == pytest.approx(time.time() + wrong, abs=5)
    chat.send_text(chat_id=OWNER, text="/ping")
    telegram.updates(0, timeout=1)
    assert telegram.clock() == pytest.approx(time.time(), abs=70)


def test_a_server_that_echoes_the_url_puts_no_token_into_an_error() -> None:
    know(TOKEN)
    echoed = f"Bad Request: /bot{TOKEN}/sendMessage, bot{TOKEN.replace(':', '%3a')}, {TOKEN.partition(':')[2]}"
    error = errors.failure({"ok": False, "error_code": 400, "description": echoed})
    assert TOKEN.partition(":")[2] not in str(error)
    assert "sendMessage" in str(error)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(7, 7), (0, 1), (-5, 1), (1e300, 3600), (math.inf, 3600), (math.nan, 5), (None, 5), ("60", 5), (True, 5)],
)
def test_a_wait_that_a_server_asks_for_is_at_most_an_hour(asked: object, waits: float) -> None:
    told = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": asked}}
    error = errors.failure(told)
    assert isinstance(error, errors.TooManyRequests)
    assert error.retry_after == waits


@pytest.mark.parametrize("message_id", [1e300, math.inf, 2**70, "5", None])
def test_an_id_that_is_none_fits_the_database_all_the_same(
    telegram: Telegram, monkeypatch: pytest.MonkeyPatch, message_id: object
) -> None:
    monkeypatch.setattr(telegram, "_call", lambda *_, **__: {"message_id": message_id})
    found = telegram.send("sendMessage", {"chat_id": OWNER, "text": "x"})
    assert found is None or abs(found) < 2**53


def test_an_error_code_that_is_no_status_is_not_from_the_bot_api() -> None:
    with pytest.raises(TypeError):
        errors.failure({"ok": False, "error_code": "x", "description": ""})


def test_an_administrator_without_a_user_is_left_out(telegram: Telegram, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers send null for what is absent."""
    found = [{"user": None, "status": "administrator"}, {"user": {"id": 5, "is_bot": None}}, None]
    monkeypatch.setattr(telegram, "_call", lambda *args, **kwargs: found)
    assert telegram.administrators(-5) == [5]


def test_a_copy_that_does_not_lead_sends_nothing_at_all(sim: Simulator, chat: SimBot) -> None:
    leads = [True]
    telegram = Telegram(TOKEN, sim.url, leads=lambda: leads[0])
    telegram.webhook()
    leads[0] = False
    for call in (
        telegram.webhook,
        telegram.me,
        lambda: telegram.updates(1, timeout=1),
        lambda: telegram.send("sendMessage", {"chat_id": OWNER, "text": "x"}),
        lambda: telegram.send("sendDocument", {"chat_id": OWNER}, files={"document": ("log.txt", b"x")}),
    ):
        assert isinstance(failure(call), NotLeading)
    assert len(chat.calls) == 1
