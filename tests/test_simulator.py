"""The simulator obeys the real server's rules, or the tests that stand on it prove nothing."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from simulation.account import SimBot
from simulation.html import commands, parse_html
from simulation.http import HttpServer
from simulation.simulator import Simulator

TOKEN = "123456789:TEST-token-of-nobody-000000000000000"
OTHER_POLLER = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
GET_ME = f"GET /bot{TOKEN}/getMe HTTP/1.1\r\nHost: x\r\n\r\n".encode()
HOLD = 2.0  # stands for the server's 3 s


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(conflict_hold=HOLD) as simulator:
        yield simulator


@pytest.fixture
def bot(sim: Simulator) -> SimBot:
    return sim.bot(TOKEN)


class Client:
    """One keep-alive connection that calls methods of the Bot API or asks a market."""

    def __init__(self, sim: Simulator | HttpServer, token: str = TOKEN) -> None:
        self.token = token
        self.connection = http.client.HTTPConnection(sim.url.removeprefix("http://"), timeout=30)
        self.headers: dict[str, str] = {}

    def get(self, path: str, **params: object) -> tuple[int, Any]:
        self.connection.request("GET", f"{path}?{urlencode(params)}" if params else path)
        return self._read()

    def call(self, method: str, **params: object) -> tuple[int, Any]:
        return self.get(f"/bot{self.token}/{method}", **params)

    def result(self, method: str, **params: object) -> Any:
        status, body = self.call(method, **params)
        assert status == 200, body
        return body["result"]

    def refused(self, method: str, **params: object) -> str:
        status, body = self.call(method, **params)
        assert body["ok"] is False
        assert body["error_code"] == status
        return f"{status} {body['description']}"

    def post(self, method: str, body: bytes, kind: str) -> tuple[int, Any]:
        self.connection.request("POST", f"/bot{self.token}/{method}", body, {"Content-Type": kind})
        return self._read()

    def _read(self) -> tuple[int, Any]:
        response = self.connection.getresponse()
        self.headers = dict(response.getheaders())
        text = response.read()
        return response.status, json.loads(text) if "json" in self.headers["Content-Type"] else text.decode()


@pytest.fixture
def client(sim: Simulator, bot: SimBot) -> Client:
    return Client(sim)


class Background:
    """A call in a thread: `answer()` waits for it (or its exception), `waiting` is True while there is none."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._done: list[Any] = []
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self._done.append(work())
        except (OSError, http.client.HTTPException) as error:
            self._done.append(error)

    @property
    def waiting(self) -> bool:
        return not self._done

    def answer(self) -> Any:
        self._thread.join(30)
        assert self._done, "no answer within 10 s"
        return self._done[0]


def raw_connection(sim: Simulator | HttpServer, timeout: float = 30) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(sim.url.rsplit(":", 1)[1])), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def long_poll(sim: Simulator, bot: SimBot, **params: object) -> Background:
    """A long poll that is certainly parked when this returns."""
    before = bot.count("getUpdates")
    poll = Background(lambda: Client(sim).call("getUpdates", **{"timeout": 30, **params}))
    sim.wait(lambda: bot.count("getUpdates") > before and bot.polling, what="the poll is parked")
    return poll


def ids(updates: list[dict[str, Any]]) -> list[int]:
    return [update["update_id"] for update in updates]


# getUpdates


def test_an_update_is_given_again_until_a_higher_offset_confirms_it(bot: SimBot, client: Client) -> None:
    first, second = bot.send_text(7, "one"), bot.send_text(7, "two")
    assert ids(client.result("getUpdates")) == [first, second]
    assert ids(client.result("getUpdates", offset=first, limit=10)) == [first, second]
    assert ids(client.result("getUpdates", offset=first + 1)) == [second]
    assert bot.pending == 1
    assert client.result("getUpdates", offset=second + 1) == []
    assert bot.pending == 0


def test_a_negative_offset_keeps_only_the_newest_updates(bot: SimBot, client: Client) -> None:
    given = [bot.send_text(7, str(number)) for number in range(5)]
    assert ids(client.result("getUpdates", offset=-2)) == given[-2:]
    assert bot.pending == 2


def test_limit_cuts_the_answer_and_is_never_below_one(bot: SimBot, client: Client) -> None:
    given = [bot.send_text(7, str(number)) for number in range(3)]
    assert ids(client.result("getUpdates", limit=2)) == given[:2]
    assert ids(client.result("getUpdates", offset=given[0], limit=0)) == given[:1]


def test_an_offset_far_in_the_future_confirms_nothing_and_serves_all(bot: SimBot, client: Client) -> None:
    given = bot.send_text(7, "still here")
    assert ids(client.result("getUpdates", offset=given + 1_000_000)) == [given]
    assert bot.pending == 1


def test_a_long_poll_is_answered_by_the_next_update(sim: Simulator, bot: SimBot) -> None:
    poll = long_poll(sim, bot)
    given = bot.send_text(7, "/start")
    status, body = poll.answer()
    assert (status, ids(body["result"])) == (200, [given])
    assert bot.pending == 1, "delivered is not confirmed"


def test_an_empty_long_poll_ends_after_its_timeout(client: Client) -> None:
    before = time.monotonic()
    assert client.result("getUpdates", timeout=1) == []
    assert time.monotonic() - before >= 0.9


def test_allowed_updates_are_remembered_and_filter_what_is_queued(bot: SimBot, client: Client) -> None:
    client.result("getUpdates", allowed_updates='["callback_query"]')
    bot.send_text(7, "not wanted")
    wanted = bot.press(1, "data", chat_id=7)
    assert ids(client.result("getUpdates", offset=1)) == [wanted]
    assert client.result("getWebhookInfo")["allowed_updates"] == ["callback_query"]


def test_member_updates_come_only_when_they_are_asked_for(bot: SimBot, client: Client) -> None:
    bot.updates.add({"chat_member": {}})
    assert bot.pending == 0
    client.result("getUpdates", allowed_updates='["chat_member"]')
    bot.updates.add({"chat_member": {}})
    assert bot.pending == 1


# Conflicts


def test_the_newer_long_poll_wins_and_the_older_gets_the_409(sim: Simulator, bot: SimBot) -> None:
    older = long_poll(sim, bot)
    newer = long_poll(sim, bot)
    status, body = older.answer()
    assert (status, body) == (409, {"ok": False, "error_code": 409, "description": OTHER_POLLER})
    assert newer.waiting
    given = bot.send_text(7, "hello")
    assert ids(newer.answer()[1]["result"]) == [given]


def test_a_poll_with_timeout_zero_aborts_nobody(sim: Simulator, bot: SimBot, client: Client) -> None:
    older = long_poll(sim, bot)
    assert client.result("getUpdates", offset=5, timeout=0) == []
    assert older.waiting
    assert bot.polling


def test_a_second_409_within_the_hold_is_held_back(sim: Simulator, bot: SimBot) -> None:
    first = long_poll(sim, bot, offset=1)
    second = long_poll(sim, bot, offset=2)
    first.answer()
    started = time.monotonic()
    third = long_poll(sim, bot, offset=3)
    assert second.answer()[0] == 409
    assert time.monotonic() - started >= HOLD * 0.9
    assert third.waiting
    sim.wait(lambda: time.monotonic() > started + HOLD, what="the hold is over")
    bot.updates.conflict_hold = 60.0  # a hold now would outlast the client
    long_poll(sim, bot, offset=4)
    assert third.answer()[0] == 409


def test_the_same_offset_again_soon_is_made_a_long_poll(sim: Simulator, bot: SimBot, client: Client) -> None:
    older = long_poll(sim, bot, offset=9)
    started = time.monotonic()
    assert client.result("getUpdates", offset=9, timeout=0) == []
    assert time.monotonic() - started >= HOLD * 0.9
    assert older.answer()[0] == 409, "so even timeout=0 can put a 409 on someone"


def test_the_same_offset_at_once_is_given_one_update_only(bot: SimBot, client: Client) -> None:
    bot.updates.conflict_hold = 60.0  # on a busy machine it lasts until the second call
    given = [bot.send_text(7, str(number)) for number in range(3)]
    assert len(client.result("getUpdates", offset=given[0])) == 3
    assert ids(client.result("getUpdates", offset=given[0])) == given[:1]


def test_the_poll_of_a_dead_client_stays_parked_and_confirms_nothing(sim: Simulator, bot: SimBot) -> None:
    connection = raw_connection(sim)
    connection.sendall(f"GET /bot{TOKEN}/getUpdates?timeout=50 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    sim.wait(lambda: bot.polling, what="the poll is parked")
    connection.close()
    assert bot.polling
    given = bot.send_text(7, "lost on the wire")
    sim.wait(lambda: not bot.polling, what="the update was written to the dead client")
    assert ids(Client(sim).result("getUpdates")) == [given]


def test_a_rival_takes_the_poll_and_leaves_it_parked_when_it_dies(sim: Simulator, bot: SimBot) -> None:
    ours = long_poll(sim, bot)
    with bot.rival(timeout=30) as rival:
        assert ours.answer()[1]["description"] == OTHER_POLLER
        sim.wait(lambda: bot.polling, what="the rival's poll is parked")
    given = bot.send_text(7, "nobody reads this")
    sim.wait(lambda: not bot.polling, what="the parked poll is given the update")
    assert rival.taken == []
    assert ids(Client(sim).result("getUpdates", offset=1)) == [given]


# Webhooks


def test_get_updates_is_refused_while_a_webhook_is_active(bot: SimBot, client: Client) -> None:
    assert client.call("setWebhook", url="https://example.org/hook")[1]["description"] == "Webhook was set"
    assert client.refused("getUpdates") == (
        "409 Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook "
        "first"
    )
    assert client.result("getWebhookInfo")["url"] == bot.webhook_url == "https://example.org/hook"
    assert client.call("deleteWebhook")[1]["description"] == "Webhook was deleted"
    assert client.result("getUpdates", offset=1) == []


def test_setting_a_webhook_ends_the_poll_that_waits(sim: Simulator, bot: SimBot) -> None:
    poll = long_poll(sim, bot)
    bot.set_webhook_as_foreigner("https://rival.example.org/")
    assert poll.answer() == (
        409,
        {"ok": False, "error_code": 409, "description": "Conflict: terminated by setWebhook request"},
    )


def test_deleting_a_webhook_that_is_not_there_disturbs_nobody(sim: Simulator, bot: SimBot, client: Client) -> None:
    poll = long_poll(sim, bot)
    for method in ("setWebhook", "deleteWebhook"):
        answer = client.call(method, url="")[1]
        assert answer == {"ok": True, "result": True, "description": "Webhook is already deleted"}
    client.result("getWebhookInfo")
    assert poll.waiting
    assert bot.polling


def test_pending_updates_are_dropped_only_on_request(bot: SimBot, client: Client) -> None:
    bot.send_text(7, "one")
    client.result("deleteWebhook")
    assert client.result("getWebhookInfo")["pending_update_count"] == 1
    client.result("deleteWebhook", drop_pending_updates="true")
    assert client.result("getWebhookInfo")["pending_update_count"] == 0


def test_a_foreign_webhook_may_take_the_updates(bot: SimBot, client: Client) -> None:
    bot.set_webhook_as_foreigner("https://rival.example.org/", consumes=True)
    taken = bot.send_text(7, "gone")
    assert (bot.pending, bot.updates.webhook_took) == (0, [taken])


def test_a_webhook_can_be_set_once_a_second(bot: SimBot, client: Client) -> None:
    bot.updates.conflict_hold = 60.0  # on a busy machine it lasts until the second call
    client.result("setWebhook", url="https://example.org/1")
    status, body = client.call("setWebhook", url="https://example.org/2")
    assert (status, body["parameters"]) == (429, {"retry_after": 1})


def test_setting_the_same_webhook_again_changes_nothing(sim: Simulator, bot: SimBot, client: Client) -> None:
    client.result("setWebhook", url="https://example.org/hook")
    sim.wait(lambda: client.call("setWebhook", url="https://example.org/hook")[0] == 200, what="the second may pass")
    assert bot.webhook_url == "https://example.org/hook"
    bot.set_webhook_as_foreigner("https://example.org/hook", consumes=True)
    bot.send_text(7, "kept")
    assert bot.pending == 1


# Tokens, methods, the wire


def test_unknown_and_revoked_tokens_get_401_and_malformed_ones_404(sim: Simulator, bot: SimBot) -> None:
    poll = long_poll(sim, bot)
    assert Client(sim, "987654321:TEST-token-of-somebody-else").refused("getMe") == "401 Unauthorized"
    assert Client(sim, "nonsense").refused("getMe") == "404 Not Found"
    sim.revoke(TOKEN)
    assert poll.answer()[1] == {"ok": False, "error_code": 401, "description": "Unauthorized"}
    assert Client(sim).refused("getMe") == "401 Unauthorized"


def test_method_names_ignore_case_and_unknown_ones_are_refused(client: Client) -> None:
    assert client.result("GETME")["username"] == "whale_test_bot"
    assert client.refused("getMoney") == "404 Not Found: method not found"


def test_every_kind_of_body_is_understood_and_every_answer_is_dated(bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    text = "grüß & <dich> 🐋"
    form = urlencode({"chat_id": 7, "text": text}).encode()
    client.post("sendMessage", form, "application/x-www-form-urlencoded")
    client.post("sendMessage", json.dumps({"chat_id": 7, "text": text}).encode(), "application/json; charset=utf-8")
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}' for k, v in (("chat_id", 7), ("text", text))
    ]
    client.post("sendMessage", ("\r\n".join(parts) + "\r\n--x--\r\n").encode(), "multipart/form-data; boundary=x")
    client.result("sendMessage", chat_id=7, text=text)
    assert bot.texts() == [text] * 4
    assert client.headers["Date"].endswith("GMT")
    assert {call.port for call in bot.calls} == {bot.calls[0].port}, "one connection for all"


def test_a_self_hosted_server_sends_no_date_and_a_market_does() -> None:
    with Simulator(dated=False) as sim:
        sim.bot(TOKEN)
        client = Client(sim)
        client.result("getMe")
        assert "Date" not in client.headers
        client.get("/market/binance/api/v3/time")
        assert client.headers["Date"].endswith("GMT")


def test_an_uploaded_file_arrives_whole(bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    data = bytes(range(256)) * 500
    head = (
        '--x\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n7\r\n'
        '--x\r\nContent-Disposition: form-data; name="document"; filename="log.bin"\r\n\r\n'
    )
    status, body = client.post(
        "sendDocument", head.encode() + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
    )
    assert (status, body["result"]["document"]["file_size"]) == (200, len(data))
    upload = bot.sent[0].params["document"]
    assert not isinstance(upload, str)
    assert (upload.name, upload.size, upload.data) == ("log.bin", len(data), data)


@pytest.mark.parametrize(
    ("method", "data", "words"),
    [
        ("sendDocument", b"", "400 Bad Request: file must be non-empty"),
        ("sendPhoto", b"no picture", "400 Bad Request: IMAGE_PROCESS_FAILED"),
        ("sendPhoto", b"\x89PNG" + bytes(10 << 20), "400 Bad Request: file of size 10485764 bytes is too big"),
        ("sendDocument", bytes((50 << 20) + 1), "413 Request Entity Too Large"),
    ],
    ids=["empty", "no picture", "big picture", "big file"],
)
def test_an_upload_that_the_server_would_not_take_is_refused(
    bot: SimBot, client: Client, method: str, data: bytes, words: str
) -> None:
    bot.add_chat(7)
    head = (
        '--x\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n7\r\n--x\r\nContent-Disposition: form-data; '
        f'name="{method[4:].lower()}"; filename="file"\r\n\r\n'
    )
    status, body = client.post(method, head.encode() + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
    assert f"{status} {body['description']}".startswith(words)
    assert bot.sent == []


def test_a_picture_is_shown_with_its_caption(bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    head = (
        '--x\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n7\r\n'
        '--x\r\nContent-Disposition: form-data; name="caption"\r\n\r\nBTC\r\n'
        '--x\r\nContent-Disposition: form-data; name="photo"; filename="chart.png"\r\n\r\n'
    )
    status, body = client.post(
        "sendPhoto", head.encode() + b"\x89PNG...\r\n--x--\r\n", "multipart/form-data; boundary=x"
    )
    assert (status, body["result"]["caption"]) == (200, "BTC")
    assert body["result"]["photo"][0]["file_size"] == 7
    assert bot.texts() == ["BTC"]


# Sending


def test_a_message_comes_back_as_the_server_shows_it(bot: SimBot, client: Client) -> None:
    bot.send_text(-5, "hi", user_id=7, chat_type="group", name="Group")
    keyboard = json.dumps({"inline_keyboard": [[{"text": "Mute", "callback_data": "m:1"}]]})
    sent = client.result(
        "sendMessage", chat_id=-5, text="<b>Whale</b> &lt;1&gt;", parse_mode="HTML", reply_markup=keyboard
    )
    assert sent["text"] == "Whale <1>"
    assert sent["entities"] == [{"type": "bold", "offset": 0, "length": 5}]
    assert sent["chat"] == {"id": -5, "type": "group", "title": "Group"}
    assert bot.sent[0].buttons == (("Mute", "m:1"),)
    assert bot.sent[0].message_id == sent["message_id"]


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "message text is empty"),
        (" \n ", "message text is empty"),
        ("x" * 4097, "message is too long"),
        ("🐋" * 2049, "message is too long"),
    ],
)
def test_a_text_has_one_to_4096_characters(bot: SimBot, client: Client, text: str, refusal: str) -> None:
    bot.add_chat(7)
    assert client.refused("sendMessage", chat_id=7, text=text) == f"400 Bad Request: {refusal}"
    assert bot.sent == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<b>open", 'Can\'t find end tag corresponding to start tag "b"'),
        ("close</b>", "Unexpected end tag at byte offset 5"),
        ("é<b>x</i>", 'Unmatched end tag at byte offset 6, expected "</b>", found "</i>"'),
        ("price <5", "Unclosed start tag at byte offset 6"),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("<p>x</p>", 'Unsupported start tag "p" at byte offset 0'),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ],
)
def test_html_is_refused_in_the_servers_words(bot: SimBot, client: Client, text: str, complaint: str) -> None:
    bot.add_chat(7)
    refusal = client.refused("sendMessage", chat_id=7, text=text, parse_mode="HTML")
    assert refusal == f"400 Bad Request: can't parse entities: {complaint}"


def test_html_that_the_server_takes_is_taken() -> None:
    assert parse_html('<a href="https://x.org/?a=1&amp;b=>">🐋 &amp; <i>co</i></a> &nbsp;&#9731;') == (
        "🐋 & co &nbsp;☃",
        [
            {"type": "text_link", "offset": 0, "length": 7, "url": "https://x.org/?a=1&b=>"},
            {"type": "italic", "offset": 5, "length": 2},
        ],
    )
    assert parse_html("<blockquote expandable>x</blockquote><tg-spoiler>y</tg-spoiler>")[0] == "xy"


def test_commands_are_marked_as_the_server_marks_them() -> None:
    assert commands("🐋 /ping@whale_test_bot now, /stop") == [
        {"type": "bot_command", "offset": 3, "length": 20},
        {"type": "bot_command", "offset": 29, "length": 5},
    ]
    assert commands("http://x/start a/b") == []


def test_an_edit_changes_the_chat_and_an_unchanged_one_is_refused(bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    message_id = client.result("sendMessage", chat_id=7, text="one")["message_id"]
    assert client.result("editMessageText", chat_id=7, message_id=message_id, text="two")["text"] == "two"
    assert [message["text"] for message in bot.chat(7)] == ["two"]
    refusal = client.refused("editMessageText", chat_id=7, message_id=message_id, text="two")
    assert refusal.startswith("400 Bad Request: message is not modified: specified new message content")
    assert client.refused("editMessageText", chat_id=7, message_id=999, text="x") == (
        "400 Bad Request: message to edit not found"
    )
    client.result("deleteMessage", chat_id=7, message_id=message_id)
    assert bot.chat(7) == []
    assert client.refused("deleteMessage", chat_id=7, message_id=message_id).endswith("message to delete not found")


@pytest.mark.parametrize(
    ("reason", "refusal"),
    [
        ("blocked", "403 Forbidden: bot was blocked by the user"),
        ("deactivated", "403 Forbidden: user is deactivated"),
        ("kicked", "403 Forbidden: bot was kicked from the private chat"),
        ("not_found", "400 Bad Request: chat not found"),
        ("no_rights", "400 Bad Request: not enough rights to send text messages to the chat"),
    ],
)
def test_a_chat_that_refuses_says_why(bot: SimBot, client: Client, reason: str, refusal: str) -> None:
    bot.add_chat(7)
    bot.refuse(7, reason)
    assert client.refused("sendMessage", chat_id=7, text="x") == refusal
    bot.add_chat(7)
    bot.refuse(7, None)
    client.result("sendMessage", chat_id=7, text="x")


def test_a_closed_topic_refuses_its_messages_and_edits_and_no_others(bot: SimBot, client: Client) -> None:
    bot.add_chat(-5, chat_type="supergroup")
    message_id = client.result("sendMessage", chat_id=-5, text="x", message_thread_id=3)["message_id"]
    bot.close_topic(-5, 3)
    closed = "400 Bad Request: TOPIC_CLOSED"
    assert client.refused("sendMessage", chat_id=-5, text="x", message_thread_id=3) == closed
    assert client.refused("editMessageText", chat_id=-5, text="y", message_id=message_id) == closed
    client.result("sendMessage", chat_id=-5, text="x")
    client.result("sendMessage", chat_id=-5, text="x", message_thread_id=4)


def test_a_group_may_forbid_pictures_and_allow_text(bot: SimBot, client: Client) -> None:
    bot.add_chat(-5, chat_type="group")
    bot.refuse(-5, "no_photos")
    client.result("sendMessage", chat_id=-5, text="x")
    assert client.refused("sendPhoto", chat_id=-5, photo="file").endswith(
        "not enough rights to send photos to the chat"
    )


def test_after_log_out_every_call_is_refused_also_the_poll_that_waits(
    sim: Simulator, bot: SimBot, client: Client
) -> None:
    poll = Background(lambda: client.refused("getUpdates", timeout=30))
    sim.wait(lambda: bot.polling, what="a long poll")
    Client(sim).result("logOut")
    assert poll.answer() == "400 Logged out"
    assert Client(sim).refused("getMe") == "400 Logged out"
    bot.logged_out = False
    assert Client(sim).result("getMe")["is_bot"]


def test_an_upgraded_group_names_its_new_id(bot: SimBot, client: Client) -> None:
    bot.send_text(-5, "hi", user_id=7, chat_type="group", name="Traders")
    bot.migrate(-5, -1005, by=7)
    status, body = client.call("sendMessage", chat_id=-5, text="x")
    assert (status, body["parameters"]) == (400, {"migrate_to_chat_id": -1005})
    assert body["description"] == "Bad Request: group chat was upgraded to a supergroup chat"
    assert client.result("sendMessage", chat_id=-1005, text="x")["chat"]["title"] == "Traders"
    updates = client.result("getUpdates")[1:]
    assert updates[0]["message"]["migrate_to_chat_id"] == -1005
    assert updates[1]["message"]["migrate_from_chat_id"] == -5


def test_a_button_press_carries_the_message_and_is_answered_by_its_id(bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    message_id = client.result("sendMessage", chat_id=7, text="press me")["message_id"]
    bot.press(message_id, "yes", chat_id=7)
    query = client.result("getUpdates")[0]["callback_query"]
    assert (query["data"], query["message"]["text"], query["from"]["id"]) == ("yes", "press me", 7)
    client.result("answerCallbackQuery", callback_query_id=query["id"], text="done")
    assert bot.sent[-1].text == "done"
    too_old = "400 Bad Request: query is too old and response timeout expired or query ID is invalid"
    assert client.refused("answerCallbackQuery", callback_query_id="1") == too_old
    bot.chats.callbacks_expire = True
    assert client.refused("answerCallbackQuery", callback_query_id=query["id"]) == too_old


def test_being_kicked_is_told_and_ends_sending(bot: SimBot, client: Client) -> None:
    bot.membership(-5, "member", by=7)
    client.result("sendMessage", chat_id=-5, text="hello")
    bot.membership(-5, "kicked", by=7, old="member")
    changes = [update["my_chat_member"]["new_chat_member"]["status"] for update in client.result("getUpdates")]
    assert changes == ["member", "kicked"]
    assert client.refused("sendMessage", chat_id=-5, text="x") == "403 Forbidden: bot was kicked from the group chat"


def test_the_command_menu_is_checked_and_kept(bot: SimBot, client: Client) -> None:
    menu = [{"command": "start", "description": "Begin"}]
    client.result("setMyCommands", commands=json.dumps(menu))
    assert client.result("getMyCommands") == bot.chats.commands == menu
    bad = json.dumps([{"command": "Start!", "description": "x"}])
    assert client.refused("setMyCommands", commands=bad) == "400 Bad Request: BOT_COMMAND_INVALID"


def test_members_of_a_group_can_be_asked_for(bot: SimBot, client: Client) -> None:
    bot.set_member(-5, 7, "creator")
    bot.set_member(-5, 8, "member")
    bot.set_member(-5, bot.id, "administrator")
    assert [member["user"]["id"] for member in client.result("getChatAdministrators", chat_id=-5)] == [7]
    bot.refuse(-5, "kicked")
    assert client.refused("getChatAdministrators", chat_id=-5).startswith("403 Forbidden: bot was kicked")
    assert client.result("getChatMember", chat_id=-5, user_id=8)["status"] == "member"
    assert client.result("getChatMember", chat_id=-5, user_id=9)["status"] == "left"


def test_limits_refuse_with_a_time_and_count_it(bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    bot.limits(per_chat=1, burst=3)
    answers = [client.call("sendMessage", chat_id=7, text="x") for _ in range(4)]
    assert [status for status, _ in answers] == [200, 200, 200, 429]
    assert answers[-1][1]["parameters"] == {"retry_after": 1}
    assert answers[-1][1]["description"] == "Too Many Requests: retry after 1"
    assert bot.chats.flood_refused == 1
    bot.limits(on=False)
    client.result("sendMessage", chat_id=7, text="x")


def test_a_group_has_its_own_limit_a_minute(bot: SimBot, client: Client) -> None:
    bot.add_chat(-5, chat_type="group")
    bot.limits(per_chat=1000, burst=1000, overall=1000)
    answers = [client.call("sendMessage", chat_id=-5, text="x") for _ in range(21)]
    assert answers[19][0] == 200
    assert answers[20][1]["parameters"]["retry_after"] in (2, 3)


def test_a_delivery_can_be_waited_for_beyond_the_ones_already_seen(bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    client.result("sendMessage", chat_id=7, text="same words")
    seen = bot.delivered
    second = client.result("sendMessage", chat_id=7, text="Same Words")
    assert bot.wait_text("same words", chat_id=7).text == "same words"
    assert bot.wait_text("same words", after=seen).message_id == second["message_id"]
    bot.forget()
    assert bot.sent_after(seen) == []


# Faults


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("status", 500, '{"ok":false,"error_code":500,"description":"Internal Server Error"}'),
        ("html502", 502, "Bad Gateway"),
        ("garbage200", 200, '{"ok":true,"result":[{"update_id"'),
        ("null", 200, "null"),
        ("not_ok_without_fields", 200, '{"ok":false}'),
        ("retry_after", 429, '"parameters":{"retry_after":7}'),
    ],
)
def test_a_fault_spoils_so_many_answers_and_no_more(
    sim: Simulator, client: Client, kind: str, status: int, body: str
) -> None:
    fault = sim.fault("getMe", kind=kind, times=1, retry_after=7)
    client.connection.request("GET", f"/bot{TOKEN}/getMe")
    response = client.connection.getresponse()
    assert response.status == status
    assert body in response.read().decode()
    assert Client(sim).result("getMe")["is_bot"]
    assert fault.hits == 1


@pytest.mark.parametrize(
    ("kind", "error"), [("reset", ConnectionResetError), ("close", http.client.RemoteDisconnected)]
)
def test_a_dropped_answer_is_a_reset_or_an_end(
    sim: Simulator, bot: SimBot, client: Client, kind: str, error: type[Exception]
) -> None:
    sim.fault("*", kind=kind, times=1)
    with pytest.raises(error) as caught:
        client.call("getMe")
    assert type(caught.value) is error
    assert bot.calls[0].status == 0
    assert Client(sim).result("getMe")


def test_a_hanging_request_ends_when_the_fault_is_cleared(sim: Simulator, bot: SimBot, client: Client) -> None:
    fault = sim.fault("sendMessage", kind="hang")
    hung = Background(lambda: client.call("sendMessage"))
    sim.wait(lambda: fault.hits == 1, what="the request hangs")
    assert Client(sim).result("getMe"), "other methods go on"
    assert hung.waiting
    fault.clear()
    assert isinstance(hung.answer(), http.client.RemoteDisconnected)
    assert bot.sent == []


def test_an_answer_can_be_lost_after_the_message_was_delivered(sim: Simulator, bot: SimBot, client: Client) -> None:
    bot.add_chat(7)
    sim.fault("sendMessage", kind="reset", times=1, after=True)
    with pytest.raises(ConnectionResetError):
        client.call("sendMessage", chat_id=7, text="delivered all the same")
    assert bot.texts(7) == ["delivered all the same"]


def test_a_slow_answer_is_late_and_right(sim: Simulator, client: Client) -> None:
    sim.fault("getMe", kind="slow_first_byte", seconds=0.1, times=1)
    started = time.monotonic()
    assert Client(sim).result("getMe")["is_bot"]
    assert time.monotonic() - started >= 0.1


def test_offline_resets_what_is_open_and_refuses_what_is_new(sim: Simulator, bot: SimBot, client: Client) -> None:
    client.result("getMe")
    poll = Background(lambda: Client(sim).call("getUpdates", timeout=30))
    sim.wait(lambda: bot.polling, what="the poll is parked")
    sim.offline()
    assert type(poll.answer()) is ConnectionResetError
    with pytest.raises(ConnectionError):
        client.call("getMe")
    with pytest.raises(ConnectionRefusedError):
        Client(sim).call("getMe")
    sim.online()
    assert Client(sim).result("getMe")


def test_a_severed_connection_never_answers_again_and_a_new_one_does(sim: Simulator, bot: SimBot) -> None:
    old = raw_connection(sim)
    old.sendall(GET_ME)
    assert b"200 OK" in old.recv(65536)
    old.settimeout(0.1)
    sim.cut(sever=True)
    old.sendall(GET_ME)
    late = Background(lambda: Client(sim).result("getMe"))
    with pytest.raises(TimeoutError):
        old.recv(65536)
    assert late.waiting
    sim.restore()
    assert late.answer()["is_bot"]
    with pytest.raises(TimeoutError):
        old.recv(65536)
    old.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops a SYN on loopback")
def test_while_the_network_is_lost_nobody_can_connect(sim: Simulator, bot: SimBot) -> None:
    sim.cut(sever=False)
    raw = [Background(lambda: raw_connection(sim, timeout=0.2)) for _ in range(2)]
    assert [type(one.answer()) for one in raw] == [TimeoutError, TimeoutError]
    sim.restore()
    assert Client(sim).result("getMe")


def test_a_request_that_was_given_up_with_a_reset_while_the_network_was_lost_is_never_carried_out(
    sim: Simulator, bot: SimBot
) -> None:
    form = "hh" if sys.platform == "win32" else "ii"
    sim.fault("getMyName", kind="slow_first_byte", seconds=0.2)
    for linger, calls in ((1, 1), (0, 3)):
        route = sim.route()
        client = raw_connection(route)
        client.sendall(GET_ME)
        assert client.recv(65536)
        route.cut(sever=False)
        client.sendall(GET_ME)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(form, linger, 0))
        client.close()
        Client(sim).call("getMyName")  # slow enough for the server to see what it was sent
        route.restore()
        Client(sim).call("getMyName")
        assert bot.count("getMe") == calls


def test_an_answer_that_the_network_held_up_has_the_date_of_its_making(sim: Simulator, bot: SimBot) -> None:
    route = sim.route()
    client = raw_connection(route)
    poll = f"GET /bot{TOKEN}/getUpdates?timeout=30 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    client.sendall(poll)
    sim.wait(lambda: bot.polling, what="the poll is parked")
    route.cut(sever=False)
    made = time.time()
    bot.send_text(7, "/ping")
    sim.wait(lambda: time.time() > made + 2.1, what="two seconds")
    route.restore()
    head = client.recv(65536).decode()
    date = parsedate_to_datetime(head.partition("Date: ")[2].partition("\r\n")[0]).timestamp()
    assert made - 1 <= date <= made + 1


def test_the_loss_of_one_road_does_not_concern_another(sim: Simulator, bot: SimBot) -> None:
    route, other = sim.route(), Client(sim)
    lost = Client(route)
    assert lost.result("getMe") == other.result("getMe")
    route.cut(sever=True)
    assert other.result("getMe")
    late = Background(lambda: lost.result("getMe"))
    assert Client(sim).result("getMe")
    assert late.waiting
    route.restore()
    assert Client(route).result("getMe")
    assert late.waiting


def test_a_wait_says_what_did_not_happen(sim: Simulator) -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.1 s: pigs fly"):
        sim.wait(lambda: False, timeout=0.1, what="pigs fly")


# Markets


def market(sim: Simulator, venue: str, path: str, **params: object) -> tuple[int, Any, dict[str, str]]:
    client = Client(sim)
    status, body = client.get(sim.market_url(venue).removeprefix(sim.url) + path, **params)
    return status, body, client.headers


def test_binance_pages_by_an_inclusive_id_and_shows_gaps(sim: Simulator) -> None:
    whale = sim.market.sweep("binance", "BTC", "buy", usd=2_000_000, fills=5, price=70_000, at_ms=1_790_000_000_000)
    sim.market.skip_ids("binance", "BTC", 3)
    after = sim.market.trade("binance", "BTC", "sell", 70_000, 0.5)
    assert after.id == whale[-1].id + 4
    _, rows, headers = market(sim, "binance", "/api/v3/aggTrades", symbol="BTCUSDT", fromId=whale[3].id, limit=1000)
    assert [row["a"] for row in rows] == [whale[3].id, whale[4].id, after.id]
    assert [row["m"] for row in rows] == [False, False, True]
    assert rows[0]["T"] == 1_790_000_000_000
    assert int(headers["X-MBX-USED-WEIGHT-1M"]) == 4
    total = sum(trade.price * trade.quantity for trade in whale)
    assert total == pytest.approx(2_000_000)
    newest = market(sim, "binance_api", "/api/v3/aggTrades", symbol="BTCUSDT", limit=2)[1]
    assert [row["a"] for row in newest] == [whale[4].id, after.id], "the other host serves the same trades"
    late = market(sim, "binance", "/api/v3/aggTrades", symbol="BTCUSDT", startTime=1_790_000_000_001)[1]
    assert [row["a"] for row in late] == [after.id]


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/api/v3/aggTrades", {"symbol": "NOPEUSDT"}, -1121),
        ("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": "x"}, -1100),
        ("/api/v3/aggTrades", {}, -1102),
        ("/api/v3/ticker/24hr", {"symbols": '["BTCUSDT","NOPEUSDT"]'}, -1121),
        ("/api/v3/ticker/bookTicker", {"symbols": '["NOPEUSDT"]'}, -1121),
        ("/api/v3/ticker/bookTicker", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
    ],
)
def test_binance_words_its_refusals(sim: Simulator, path: str, params: dict[str, object], code: int) -> None:
    status, body, _ = market(sim, "binance", path, **params)
    assert (status, body["code"]) == (400, code)


def test_binance_gives_volume_and_symbols(sim: Simulator) -> None:
    _, tickers, _ = market(sim, "binance", "/api/v3/ticker/24hr", symbols='["BTCUSDT","ETHUSDT"]')
    assert [(row["symbol"], float(row["quoteVolume"])) for row in tickers] == [("BTCUSDT", 2.1e9), ("ETHUSDT", 1.2e9)]
    assert market(sim, "binance", "/api/v3/ticker/24hr", symbol="BTCUSDT")[1]["symbol"] == "BTCUSDT"
    _, info, _ = market(sim, "binance", "/api/v3/exchangeInfo", symbols='["SOLUSDT"]')
    assert info["symbols"][0]["baseAsset"] == "SOL"
    assert market(sim, "binance", "/api/v3/ping")[:2] == (200, {})
    assert abs(market(sim, "binance", "/api/v3/time")[1]["serverTime"] / 1000 - time.time()) < 5


def test_each_spot_venue_shows_its_best_bid_and_ask_in_its_own_form(sim: Simulator) -> None:
    for venue in ("binance", "coinbase", "kraken"):
        sim.market.books[venue, "BTC"] = (77_000.0, 77_000.01)
    path = "/api/v3/ticker/bookTicker"
    _, one, headers = market(sim, "binance", path, symbol="BTCUSDT")
    assert (one["bidPrice"], one["askPrice"], headers["X-MBX-USED-WEIGHT-1M"]) == (
        "77000.00000000",
        "77000.01000000",
        "2",
    )
    _, two, headers = market(sim, "binance", path, symbols='["BTCUSDT","ETHUSDT"]')
    assert [row["symbol"] for row in two] == ["BTCUSDT", "ETHUSDT"]
    assert headers["X-MBX-USED-WEIGHT-1M"] == "6", "several have a weight of 4"
    ticker = market(sim, "coinbase", "/products/BTC-USD/ticker")[1]
    assert (ticker["bid"], ticker["ask"]) == ("77000", "77000.01")
    assert market(sim, "coinbase", "/products/NOPE-USD/ticker")[:2] == (404, {"message": "NotFound"})
    result = market(sim, "kraken", "/0/public/Ticker", pair="XBTUSD,ETHUSD")[1]["result"]
    assert list(result) == ["XXBTZUSD", "XETHZUSD"]
    assert (result["XXBTZUSD"]["b"][0], result["XXBTZUSD"]["a"][0]) == ("77000.00000", "77000.01000")
    unknown = market(sim, "kraken", "/0/public/Ticker", pair="XBTUSD,NOPEUSD")[1]
    assert unknown == {"error": ["EQuery:Unknown asset pair"]}, "one unknown pair spoils the answer"


def test_coinbase_is_newest_first_pages_down_and_names_the_makers_side(sim: Simulator) -> None:
    trades = [sim.market.trade("coinbase", "BTC", "buy", 70_000 + n, 0.1, at_ms=1_790_000_000_000) for n in range(5)]
    _, rows, headers = market(sim, "coinbase", "/products/BTC-USD/trades", limit=2)
    assert [row["trade_id"] for row in rows] == [trades[4].id, trades[3].id]
    assert rows[0]["side"] == "sell", "the taker bought"
    assert rows[0]["time"] == "2026-09-21T14:13:20.000000Z"
    assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(trades[4].id), str(trades[3].id))
    older = market(sim, "coinbase", "/products/BTC-USD/trades", limit=2, after=headers["CB-AFTER"])[1]
    assert [row["trade_id"] for row in older] == [trades[2].id, trades[1].id]
    newest = market(sim, "coinbase", "/products/BTC-USD/trades", limit=2, before=trades[0].id)[1]
    assert [row["trade_id"] for row in newest] == [trades[4].id, trades[3].id], "the newest page above, not the next"
    assert market(sim, "coinbase", "/products/NOPE-USD/trades")[:2] == (404, {"message": "NotFound"})
    assert float(market(sim, "coinbase", "/products/BTC-USD/stats")[1]["volume"]) > 0


def test_kraken_uses_its_own_names_and_nanoseconds_as_text(sim: Simulator) -> None:
    trades = [sim.market.trade("kraken", "BTC", "sell", 70_000, 0.1, at_ms=1_790_000_000_000 + n) for n in range(3)]
    _, body, _ = market(sim, "kraken", "/0/public/Trades", pair="XBTUSD", count=2, since=0)
    rows = body["result"]["XXBTZUSD"]
    assert rows[0] == ["70000.00000", "0.10000000", 1_790_000_000.0, "s", "m", "", trades[0].id]
    assert body["result"]["last"] == "1790000000001000000"
    since = body["result"]["last"]
    again = market(sim, "kraken", "/0/public/Trades", pair="XBTUSD", since=since)[1]["result"]
    assert [row[6] for row in again["XXBTZUSD"]] == [trades[1].id, trades[2].id]
    sim.market.kraken_since_inclusive = False
    again = market(sim, "kraken", "/0/public/Trades", pair="XBTUSD", since=since)[1]["result"]
    assert [row[6] for row in again["XXBTZUSD"]] == [trades[2].id]
    unknown = market(sim, "kraken", "/0/public/Trades", pair="NOPEUSD")
    assert unknown[:2] == (200, {"error": ["EQuery:Unknown asset pair"]})
    assert "XXBTZUSD" in market(sim, "kraken", "/0/public/Ticker", pair="XBTUSD")[1]["result"]


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
@pytest.mark.parametrize("kind", ["missing", "text", "nan", "negative", "null", "list"])
def test_a_poison_row_stands_among_good_ones(sim: Simulator, venue: str, kind: str) -> None:
    sim.market.trade(venue, "ETH", "buy", 2500, 1)
    sim.market.poison(venue, "ETH", kind)
    sim.market.trade(venue, "ETH", "buy", 2500, 1)
    path, params = {
        "binance": ("/api/v3/aggTrades", {"symbol": "ETHUSDT"}),
        "coinbase": ("/products/ETH-USD/trades", {}),
        "kraken": ("/0/public/Trades", {"pair": "ETHUSD"}),
    }[venue]
    body = market(sim, venue, path, **params)[1]
    rows = body["result"]["XETHZUSD"] if venue == "kraken" else body
    assert len(rows) == 3
    assert type(rows[0]) is type(rows[2])
    assert len(rows[0]) == len(rows[2])
    assert rows[1] != rows[0]


def test_a_market_fault_hits_one_host_in_its_own_words(sim: Simulator) -> None:
    sim.fault(market="binance", kind="status", code=451)
    assert market(sim, "binance", "/api/v3/ping")[0] == 451
    assert market(sim, "binance_api", "/api/v3/ping")[0] == 200
    sim.clear_faults()
    sim.fault(market="binance", path="aggTrades", kind="retry_after", retry_after=17)
    status, body, headers = market(sim, "binance", "/api/v3/aggTrades", symbol="BTCUSDT")
    assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "17")
    assert market(sim, "binance", "/api/v3/ping")[0] == 200
    sim.fault(market="kraken", kind="retry_after")
    assert market(sim, "kraken", "/0/public/Trades", pair="XBTUSD")[1] == {"error": ["EGeneral:Too many requests"]}
    sim.fault(market="coinbase", kind="html", code=403)
    assert market(sim, "coinbase", "/products/BTC-USD/trades")[0] == 403


def test_the_flow_trades_and_never_makes_a_whale_by_itself(sim: Simulator) -> None:
    stop = sim.market.start_flow(500, ("BTC", "ETH"), seed=3)
    sim.wait(lambda: len(sim.market.trades("binance", "BTC")) > 50, what="trades flow")
    stop.set()
    trades = sim.market.trades("binance", "BTC")
    assert [trade.id for trade in trades] == list(range(trades[0].id, trades[-1].id + 1))
    assert max(trade.price * trade.quantity for trade in trades) <= 1000


# As a process of its own


def test_alone_it_prints_its_url_and_is_steered_over_http() -> None:
    root = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "simulation", "--token", TOKEN], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)

        def post(path: str, **given: object) -> Any:
            connection.request("POST", path, json.dumps(given), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())

        post("/sim/send_text", chat_id=7, text="{n}", count=3)
        updates = post(f"/bot{TOKEN}/getUpdates")["result"]
        assert [update["message"]["text"] for update in updates] == ["0", "1", "2"]
        post(f"/bot{TOKEN}/sendMessage", chat_id=7, text="5")
        assert [sent["text"] for sent in post("/sim/sent")["result"]] == ["5"]
        assert [call["method"] for call in post("/sim/calls", method="sendMessage")["result"]] == ["sendMessage"]
        post("/sim/fault", method="getMe", kind="html502", times=1)
        connection.request("GET", f"/bot{TOKEN}/getMe")
        response = connection.getresponse()
        assert (response.status, "Bad Gateway" in response.read().decode()) == (502, True)
        post("/sim/set_webhook", url="https://example.org/")
        assert post(f"/bot{TOKEN}/getUpdates", offset=1)["error_code"] == 409
        post("/sim/sweep", venue="binance", symbol="BTC", side="buy", usd=1_000_000, fills=4)
        assert len(post("/market/binance/api/v3/aggTrades", symbol="BTCUSDT")) == 4
        assert post("/sim/stats")["result"]["pending"] == 3
        assert post("/sim/nonsense")["ok"] is False
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def test_one_connection_carries_many_requests(sim: Simulator, bot: SimBot) -> None:
    connection = raw_connection(sim)
    for _ in range(500):
        connection.sendall(GET_ME)
        assert b"200 OK" in connection.recv(65536)
    connection.close()
    assert len(bot.calls) == 500
    assert len({call.port for call in bot.calls}) == 1


def test_in_a_channel_posts_name_no_author_and_only_an_administrator_who_may_post_posts(
    bot: SimBot, client: Client
) -> None:
    channel = -1001234567890
    bot.membership(channel, "administrator", by=7, chat_type="channel", name="News", username="news")
    bot.post_in_channel(channel, "hello")
    changed, posted = client.result("getUpdates")
    assert changed["my_chat_member"]["new_chat_member"]["can_post_messages"]
    assert "from" not in posted["channel_post"]
    sent = client.result("sendMessage", chat_id=channel, text="one")
    assert "from" not in sent
    assert sent["sender_chat"]["username"] == "news"
    assert (
        client.result("editMessageText", chat_id=channel, message_id=sent["message_id"], text="two")["text"] == "two"
    )
    foreign = posted["channel_post"]["message_id"]
    assert (
        client.refused("editMessageText", chat_id=channel, message_id=foreign, text="three")
        == "400 Bad Request: message can't be edited"
    )
    assert (
        client.refused("sendMessage", chat_id=channel, text="one", message_thread_id=5)
        == "400 Bad Request: message thread not found"
    )
    bot.membership(channel, "administrator", by=7, chat_type="channel", old="administrator", posts=False)
    assert (
        client.refused("sendMessage", chat_id=channel, text="one")
        == "400 Bad Request: need administrator rights in the channel chat"
    )
    with pytest.raises(ValueError, match="administrator"):
        bot.membership(channel, "member", by=7, chat_type="channel")
