"""Alerts to other places: each alert once taken, in order, after any trouble; and no address where it can be seen."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from conftest import OWNER, Run, first_look
from receiver import Receiver, receiver
from test_alerts_publish import alert, publish
from test_commands import NOW, Desk
from test_commands import desk as desk  # a fixture

from alerts import places
from alerts.places import GIVEN_UP_AFTER, LONGEST_PAUSE, TOLD_AFTER, Places, body, deliver, shown
from base import secrets, webhook
from base.public import NotPublic, is_public, public_only
from base.webhook import SIGNATURE, NotTaken, Then, post, sign
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.places import Place
from store.rows import Alert, Chat

HIDDEN = "q7Zr2LxkV9TnB4wY"  # part of the address
URL = f"https://hooks.example.com/{HIDDEN}/in?key=p0Secret1234&room=9"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known here is no secret of other tests."""
    monkeypatch.setattr(secrets, "_known", dict(secrets._known))
    monkeypatch.setattr(secrets, "_typed", set(secrets._typed))


class Bench:
    """Places with a sender that does what it is told, and a clock that moves when it is told."""

    def __init__(self, store: Store) -> None:
        self.store, self.now = store, NOW
        self.errors: list[NotTaken | None] = []  # what the next tries come to, the last one again and again
        self.sent: list[tuple[int, str]] = []
        self.told: list[str] = []
        store.chats.put(Chat(chat_id=OWNER, added_by=OWNER))
        self.places = Places(
            store,
            now=lambda: self.now,
            tell_owner=self.told.append,
            told=lambda: None,
            may_send=lambda: True,
            send=self._send,
        )

    def _send(self, place: Place, one: Alert, *, private: bool) -> None:
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0] if self.errors else None
        if error is not None:
            raise error
        self.sent.append((place.id, one.key))

    def add(self, url: str = URL) -> int:
        return self.store.places.add(Place(chat_id=OWNER, url=url, secret="s" * 20))

    def all_due(self) -> None:
        assert any(self.places.step() > 0 for _ in range(50)), "it sends the same again and again"

    def place(self, number: int) -> Place:
        found = self.store.places.get(number)
        assert found is not None
        return found


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def test_what_the_owners_chat_wants_goes_to_every_place_and_the_rest_does_not(bench: Bench) -> None:
    first, second = bench.add(), bench.add(f"{URL}2")
    bench.store.chats.put(Chat(chat_id=OWNER, added_by=OWNER, symbols=frozenset({"BTC"}), muted_until=NOW + 3600))
    bench.store.chats.put(Chat(chat_id=8, added_by=8))
    for key, symbol in (("a", "BTC"), ("b", "ETH"), ("c", "BTC")):
        publish(bench.store, alert(key, symbol=symbol), now=NOW)
    publish(bench.store, alert("a"), now=NOW)
    bench.all_due()
    assert sorted(bench.sent) == [(first, "a"), (first, "c"), (second, "a"), (second, "c")], "a mute is for Telegram"
    bench.store.unsubscribe(OWNER, note="")
    publish(bench.store, alert("d"), now=NOW)
    bench.all_due()
    assert len(bench.sent) == 4, "alerts are off in the owner's chat"


def test_an_alert_is_tried_with_ever_longer_pauses_and_then_the_rest_follows_in_order(bench: Bench) -> None:
    number = bench.add()
    for key in "abc":
        publish(bench.store, alert(key), now=NOW)
    bench.errors = [NotTaken("HTTP 500")] * 4 + [None]
    tried = []
    for _ in range(20):
        before = bench.place(number).tries
        bench.places.step()
        if bench.place(number).tries > before:
            tried.append(bench.now - NOW)
        bench.now += 5
    bench.all_due()
    assert tried == [0, 5, 15, 35]
    assert [key for _, key in bench.sent] == ["a", "b", "c"]
    assert (bench.place(number).tries, bench.place(number).problem, bench.place(number).sent) == (0, "", 3)


def test_a_wait_that_a_place_asks_for_is_kept(bench: Bench) -> None:
    number = bench.add()
    publish(bench.store, alert("a"), now=NOW)
    bench.errors = [NotTaken("HTTP 429", retry_after=60.0), None]
    bench.places.step()
    assert bench.place(number).next_at == NOW + 60
    bench.now += 59
    bench.places.step()
    assert bench.sent == []
    bench.now += 1
    bench.all_due()
    assert len(bench.sent) == 1


def test_a_place_that_fails_holds_up_no_other_and_a_clock_that_was_ahead_holds_up_nothing(bench: Bench) -> None:
    first, second = bench.add(), bench.add(f"{URL}2")
    publish(bench.store, alert("a"), now=NOW)
    bench.errors = [NotTaken("HTTP 500"), None]
    bench.places.step()
    assert bench.sent == [(second, "a")]
    bench.store.places.put(Place(**vars(bench.place(first)) | {"next_at": NOW + 10 * 86400}))
    bench.all_due()
    assert (first, "a") in bench.sent


def test_the_owner_is_told_after_ten_minutes_once_and_when_it_works_again(bench: Bench) -> None:
    bench.add()
    publish(bench.store, alert("a"), now=NOW)
    bench.errors = [NotTaken("HTTP 503")]
    while bench.now < NOW + TOLD_AFTER + 3 * LONGEST_PAUSE:
        bench.places.step()
        bench.now += 30
    (said,) = bench.told
    assert said.startswith(
        "Place 1 (https://hooks.example.com) fails: HTTP 503. Tries go on for a day, 1 alert waiting."
    )
    bench.errors = []
    bench.now += LONGEST_PAUSE
    bench.all_due()
    assert bench.told[1:] == ["Place 1 (https://hooks.example.com) works again."]


def test_after_a_day_of_failures_it_is_off_until_a_test_gets_through(bench: Bench) -> None:
    number = bench.add()
    publish(bench.store, alert("a"), now=NOW)
    bench.errors = [NotTaken("HTTP 503")]
    bench.places.step()
    bench.now += GIVEN_UP_AFTER
    bench.places.step()
    assert bench.place(number).state == "off"
    assert "It is off now, 1 alert dropped. On again: /out test 1" in bench.told[-1]
    publish(bench.store, alert("b"), now=bench.now)
    assert bench.store.places.waiting(number) == 0, "nothing is kept for it"
    bench.errors = [NotTaken("HTTP 503"), None]
    for state, words in (("off", "did not take the test alert: HTTP 503."), ("on", "took the test alert. It is on")):
        bench.store.places.enqueue(number, alert("test"), test=True)
        bench.all_due()
        assert bench.place(number).state == state
        assert words in bench.told[-1]


@pytest.mark.parametrize(("then", "state"), [(Then.NEXT, "on"), (Then.OFF, "off")])
def test_what_is_refused_for_good_is_not_tried_again(bench: Bench, then: Then, state: str) -> None:
    number = bench.add()
    publish(bench.store, alert("a"), now=NOW)
    publish(bench.store, alert("b"), now=NOW)
    bench.errors = [NotTaken("HTTP 4xx", then), None]
    bench.places.step()
    assert bench.place(number).state == state
    bench.all_due()
    assert bench.sent == ([(number, "b")] if state == "on" else [])
    assert len(bench.told) == 1


def test_a_copy_that_may_not_send_alerts_sends_none(store: Store) -> None:
    bench = Bench(store)
    bench.add()
    publish(store, alert("a"), now=NOW)
    silent = Places(
        store,
        now=lambda: NOW,
        tell_owner=bench.told.append,
        told=lambda: None,
        may_send=lambda: False,
        send=bench._send,
    )
    assert silent.step() > 0
    assert bench.sent == []


def test_there_is_a_thread_only_once_there_is_a_place(bench: Bench) -> None:
    def runs() -> bool:
        return any(thread.name == "places" for thread in threading.enumerate())

    bench.places.start()
    bench.places.published()
    assert not runs()
    bench.add()
    bench.places.wake()
    assert runs()
    bench.places.stop(5)
    assert not runs()


def test_a_row_that_cannot_be_read_is_left_out(bench: Bench) -> None:
    number = bench.add()
    bench.store._db.write("INSERT INTO outgoing (place_id, body, test) VALUES (?, ?, 0)", (number, '{"key": 5}'))
    publish(bench.store, alert("a"), now=NOW)
    bench.all_due()
    assert bench.sent == [(number, "a")]


# What is sent, and where to


def test_a_webhook_gets_every_field_of_the_alert_signed(hook: Receiver) -> None:
    made = alert("a")
    deliver(Place(chat_id=1, url=f"{hook.url}/in?room=9", secret="my secret"), made, private=True)
    ((path, headers, sent),) = hook.took
    assert path == "/in?room=9"
    assert headers["content-type"] == "application/json"
    wanted = hmac.new(b"my secret", sent, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE.lower()] == f"sha256={wanted}"
    told = json.loads(sent)
    assert {field.name: getattr(made, field.name) for field in fields(Alert)}.items() <= told.items()
    assert told["version"] == 1
    assert told["at"].endswith("+00:00")


def test_the_signature_is_that_of_the_body_and_the_secret() -> None:
    assert sign(b"body", "a") != sign(b"body", "b")
    assert sign(b"body", "a") != sign(b"bodY", "a")


@pytest.mark.parametrize(
    ("status", "headers", "why", "then"),
    [
        (500, {}, "HTTP 500", Then.AGAIN),
        (404, {}, "HTTP 404", Then.AGAIN),
        (429, {"Retry-After": "7"}, "HTTP 429", Then.AGAIN),
        (400, {}, "HTTP 400", Then.NEXT),
        (410, {}, "HTTP 410", Then.OFF),
        (302, {"Location": "http://127.0.0.1:1/"}, "it answers with a redirect (HTTP 302), which is not followed", 0),
        (-1, {}, "the connection was refused or broken", Then.AGAIN),
        (0, {}, "no answer within the time limit", Then.AGAIN),
    ],
)
def test_each_way_to_fail_has_its_words(
    hook: Receiver, status: int, headers: dict[str, str], why: str, then: Then | int
) -> None:
    hook.status, hook.headers = status, headers
    began = time.monotonic()
    with pytest.raises(NotTaken) as caught:
        post(f"{hook.url}/{HIDDEN}", b"{}", secret="s", private=True, seconds=30 if status else 0.5)
    assert time.monotonic() - began < 20
    assert str(caught.value) == why
    assert caught.value.then is (then or Then.AGAIN)
    assert caught.value.retry_after == float(headers.get("Retry-After", 0))


def test_an_answer_of_absurd_size_is_not_read(monkeypatch: pytest.MonkeyPatch, hook: Receiver) -> None:
    monkeypatch.setattr(webhook, "SIZE", 50)
    with pytest.raises(NotTaken, match="absurd size"):
        post(hook.url, b"{}", secret="s", private=True)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("172.16.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_which_addresses_are_of_the_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "0"])
def test_no_form_of_an_address_of_this_machine_is_connected_to(hook: Receiver, host: str) -> None:
    with pytest.raises(NotTaken) as caught:
        post(f"http://{host}:{hook.port}/", b"{}", secret="s", private=False)
    assert caught.value.then is Then.OFF or "[" in host or not host.startswith(("127", "l"))
    assert hook.asked == 0


def test_a_name_that_leads_to_a_private_address_is_found_out_when_it_connects(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name server says whatever it likes, and something else each time."""
    at = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", hook.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: at)
    with pytest.raises(NotTaken, match="OUT_PRIVATE=true"):
        post(f"http://hooks.example.com:{hook.port}/", b"{}", secret="s", private=False)
    assert hook.asked == 0
    post(f"http://hooks.example.com:{hook.port}/", b"{}", secret="s", private=True)
    assert hook.asked == 1


def test_the_guard_is_for_its_thread_and_its_block_only(hook: Receiver) -> None:
    def connect() -> None:
        socket.create_connection(("127.0.0.1", hook.port), 5).close()

    with public_only() as guard:
        with pytest.raises(NotPublic):
            connect()
        assert guard.refused == "127.0.0.1"
        other = threading.Thread(target=connect)
        other.start()
        other.join(30)
        assert not other.is_alive()
    connect()


def test_a_proxy_may_be_on_this_machine_and_is_not_asked_for_a_private_name(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", hook.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    post("http://hooks.example.invalid/in", b"{}", secret="s", private=False)
    assert hook.took[0][0] == "http://hooks.example.invalid/in"
    with pytest.raises(NotTaken, match="private network"):
        post("http://localhost:1/in", b"{}", secret="s", private=False)
    assert hook.asked == 1


def test_apprise_sends_words_to_what_it_knows_and_obeys_the_same_rules(hook: Receiver) -> None:
    pytest.importorskip("apprise")
    place = Place(chat_id=1, url=f"json://127.0.0.1:{hook.port}/{HIDDEN}")
    with pytest.raises(NotTaken, match="OUT_PRIVATE=true") as caught:
        deliver(place, alert("a"), private=False)
    assert caught.value.then is Then.OFF
    assert hook.asked == 0
    deliver(place, alert("a"), private=True)
    told = hook.alerts()[0]
    assert told["title"] == alert("a").headline
    hook.status = 500
    with pytest.raises(NotTaken) as caught:
        deliver(place, alert("a"), private=True)
    assert HIDDEN not in secrets.redact(str(caught.value))
    with pytest.raises(NotTaken, match="cannot read this address"):
        deliver(Place(chat_id=1, url="nonsense://x"), alert("a"), private=True)


def test_apprise_is_ended_when_it_waits_for_too_long(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    monkeypatch.setattr(places, "TIMEOUT", 1.0)
    hook.status = 0
    with pytest.raises(NotTaken, match="no answer within 1 s"):
        deliver(Place(chat_id=1, url=f"json://127.0.0.1:{hook.port}/x?rto=60"), alert("a"), private=True)


def test_without_apprise_the_exact_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for url in ("discord://1234/abcd", "https://discord.com/api/webhooks/1/x", "mailto://a:b@example.com"):
        with pytest.raises(NotTaken, match=r"install -r requirements-out\.txt"):
            deliver(Place(chat_id=1, url=url), alert("a"), private=False)
    assert places.missing(URL) == ""


# Secrets


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        (URL, "https://hooks.example.com"),
        ("HTTPS://user:passw0rd1@hooks.example.com:8443/x", "https://hooks.example.com"),
        ("discord://174059000000000000/Abcdefg123456789", "discord://…"),
        ("mailto://ann:hunter2hunter2@gmail.com", "mailto://…"),
        ("tgram://123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/7", "tgram://…"),
    ],
)
def test_an_address_is_shown_without_its_secrets_and_they_are_taken_out_of_any_text(url: str, safe: str) -> None:
    assert shown(url) == safe
    places.know(Place(chat_id=1, url=url, secret="my-own-secret-1"))
    for text in (url, f"failed: {url} my-own-secret-1", url.partition("//")[2]):
        left = secrets.redact(text)
        for secret in (HIDDEN, "p0Secret1234", "passw0rd1", "Abcdefg123456789", "hunter2hunter2", "AAHdq", "my-own"):
            assert secret not in left


def test_an_address_that_is_typed_again_arrives_as_it_was_typed() -> None:
    """Telegram's answers are what people typed: an address known from before, or removed, can be added again."""
    places.know(Place(chat_id=1, url=URL, secret="my-own-secret-1"))
    body = f"/out add {URL} my-own-secret-1".encode()
    assert secrets.redact_body(body) == body
    secrets.know("p4ss-of-the-settings")
    assert secrets.redact_body(b"p4ss-of-the-settings") == b"<secret>"


def test_an_id_in_an_address_is_no_secret() -> None:
    for url in (
        "tgram://123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/987654321",
        "discord://174059000000000000/Abcdefg12",
    ):
        places.know(Place(chat_id=1, url=url))
    for text in ("allow:987654321", "s:-100987654321:main", "/allow 123456789"):
        assert secrets.redact(text) == text


def test_only_the_owner_sees_or_changes_places_and_in_private_only(desk: Desk) -> None:
    desk.say("/start", user_id=OWNER)
    assert desk.say(f"/out add {URL}") == "Only this bot's owner can use /out. All commands: /help"
    assert "private chat" in desk.say(f"/out add {URL}", user_id=OWNER, chat_id=-100)
    assert desk.store.places.all() == []
    said = desk.say(f"/out add {URL}", user_id=OWNER)
    assert "This chat's settings choose which alerts go there" in said, "one place or several"
    (place,) = desk.store.places.all()
    assert (place.url, place.chat_id) == (URL, OWNER)
    assert len(place.secret) >= 32
    assert place.secret in said
    assert desk.store.places.waiting(place.id) == 1, "a test"
    for words in ("/out", "/status", "/out test 1", f"/out add {URL}"):
        said = desk.say(words, user_id=OWNER)
        assert place.secret not in said
        assert HIDDEN not in said
    assert "out" not in desk.say("/status", user_id=8).lower()
    assert desk.say("/out remove 1", user_id=OWNER).endswith("is removed.")
    assert desk.store.places.all() == []
    assert desk.store.places.waiting(1) == 0
    assert "shown only now" not in desk.say(f"/out add {URL} my-secret-0123456", user_id=OWNER)
    assert desk.store.places.all()[0].secret == "my-secret-0123456"


@pytest.mark.parametrize(
    "words",
    [
        "/out add",
        "/out add example.com",
        "/out add https://",
        "/out add http://127.0.0.1/x",
        "/out add https://localhost/x",
        "/out add https://10.0.0.1/x",
        "/out add https://[::1]/x",
        f"/out add https://example.com/{'x' * 1000}",
        "/out remove 5",
        "/out remove x",
        "/out test",
        "/out nonsense",
        "/out add nonsense",
        "/out add ann@example.com",
        "/out add ftp://example.com/alerts",
        "/out add SFTP://ann@example.com",
        "/out add file:///etc/passwd",
        "/out add javascript:alert(1)",
        "/out add wss://example.com/socket",
        "/out add tg://resolve?domain=bot",
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(desk: Desk, words: str) -> None:
    desk.say("/start", user_id=OWNER)
    assert "Example: /out " in desk.say(words, user_id=OWNER)
    assert desk.store.places.all() == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com", "Alerts cannot go to ftp://. These work:"),
        ("nonsense", "That is no address. These work:"),
    ],
)
def test_an_address_of_another_kind_is_refused_at_once_with_those_that_work(desk: Desk, url: str, why: str) -> None:
    desk.say("/start", user_id=OWNER)
    said = desk.say(f"/out add {url}", user_id=OWNER)
    assert said.startswith(why)
    assert "https:// (a webhook), and discord://, slack://, ntfy://, mailto://" in said


def test_a_new_place_that_can_never_work_is_taken_off_the_list_and_an_old_one_stays(bench: Bench) -> None:
    bench.errors = [None]
    old, new = bench.add(), bench.add("foo://example.com")
    bench.store.places.enqueue(old, alert("t", monitor="test"), test=True)
    bench.all_due()
    bench.errors = [NotTaken("apprise cannot read this address", Then.OFF)]
    for number in (old, new):
        bench.store.places.enqueue(number, alert("t", monitor="test"), test=True)
    bench.all_due()
    assert [place.id for place in bench.store.places.all()] == [old]
    assert [words.endswith("It is off the list again.") for words in bench.told[-2:]] == [False, True]


def test_there_are_at_most_ten(desk: Desk) -> None:
    desk.say("/start", user_id=OWNER)
    for number in range(10):
        desk.say(f"/out add {URL}{number}", user_id=OWNER)
    assert "up to 10 places" in desk.say(f"/out add {URL}x", user_id=OWNER)


def test_a_body_is_json_whatever_the_names_are() -> None:
    assert json.loads(body(alert("a", symbol="龙🐳")))["symbol"] == "龙🐳"


# End to end


def everything_written(folder: Any, *, without: tuple[str, ...] = (".db", ".db-wal", ".db-shm")) -> str:
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(without)]
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in found)


def asked(chat: SimBot, command: str, words: str) -> str:
    """The answer to the command once it has these words: what the receiver took is noted a moment later."""
    for _ in range(50):
        before = chat.delivered
        chat.send_text(OWNER, command)
        answer = chat.wait_text("Place 1", chat_id=OWNER, after=before).text
        if words in answer:
            return answer
    raise AssertionError(answer)


def whale(sim: Simulator, usd: float, side: str = "buy") -> None:
    sim.market.sweep("binance", "BTC", side, usd=usd, fills=9, price=50_000.0)


def test_an_alert_at_a_webhook_survives_a_kill_and_its_address_is_nowhere(
    run_bot: Run, chat: SimBot, sim: Simulator, hook: Receiver, tmp_path: Any
) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    bot = run_bot(OUT_PRIVATE="true", LOG_LEVEL="DEBUG")
    bot.wait_output("Polling: running")
    chat.send_text(OWNER, "/start")
    chat.wait_text("Alerts are on", chat_id=OWNER)
    chat.send_text(OWNER, f"/out add {hook.url}/{HIDDEN} my-own-secret-99")
    chat.wait_text("took the test alert", chat_id=OWNER)
    assert hook.alerts()[0]["monitor"] == "test"
    first_look(sim, "BTC")
    hook.status = 500
    whale(sim, 1_100_000)
    chat.wait_text("BTC buy", chat_id=OWNER)
    bot.wait_output("Place 1 (http://127.0.0.1) did not take an alert: HTTP 500")
    listed = asked(chat, "/out", "HTTP 500; 1 alert waiting")
    assert HIDDEN not in listed
    bot.kill()
    hook.status = 200
    again = run_bot(OUT_PRIVATE="true", LOG_LEVEL="DEBUG")
    hook.wait(took=2)
    assert hook.alerts()[1]["headline"].startswith("BTC buy 1.1M")
    status = asked(chat, "/status", "Place 1 (http://127.0.0.1): works")
    again.stop()
    assert len(hook.took) == 2
    for secret in (HIDDEN, "my-own-secret-99"):
        assert secret not in status + bot.output + again.output + everything_written(tmp_path)


def test_a_receiver_that_hangs_delays_nothing_at_telegram_nor_a_stop(
    run_bot: Run, chat: SimBot, sim: Simulator, hook: Receiver
) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    bot = run_bot(OUT_PRIVATE="true", before="from base import webhook; webhook.post.__kwdefaults__['seconds'] = 60")
    bot.wait_output("Polling: running")
    chat.send_text(OWNER, "/start")
    hook.status = 0
    chat.send_text(OWNER, f"/out add {hook.url}/{HIDDEN}")
    hook.wait(asked=1)
    first_look(sim, "BTC")
    began = time.monotonic()
    whale(sim, 1_100_000)
    chat.wait_text("BTC buy", chat_id=OWNER)
    chat.send_text(OWNER, "/ping")
    chat.wait_text("pong", chat_id=OWNER)
    assert time.monotonic() - began < 50, "while it hangs"
    code, took = bot.stop()
    assert code == 0
    assert took < 10


def test_the_test_log_holds_nothing(caplog: pytest.LogCaptureFixture, bench: Bench) -> None:
    caplog.set_level(logging.DEBUG)
    places.know(bench.place(bench.add()))
    publish(bench.store, alert("a"), now=NOW)
    bench.errors = [NotTaken(f"bad {URL}")]
    bench.places.step()
    assert HIDDEN not in caplog.text + bench.place(1).problem
