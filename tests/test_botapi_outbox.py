"""Delivery: order, pacing, retries, burials. A hand-written sender stands for Telegram; the store is real."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from botapi.errors import LineRenewed, Rejected, TelegramError, TokenRefused, TooManyRequests, Unreachable, failure
from botapi.events import OutboxEvents
from botapi.failing import GIVE_UP_AFTER
from botapi.outbox import Outbox
from botapi.sending import Attachment, AttachmentError, Files
from botapi.storage import ALERTS, ANSWERS, STRANGERS, TOASTS, StoreError
from store import Store
from store.rows import Chat

GROUP = -100
BAD_GATEWAY = Unreachable("HTTP 502", status=502)


class FakeTelegram:
    """Takes messages as the Bot API would; `fail` holds errors to raise first, `gate` can hold a send back."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, str, dict[str, Any]]] = []
        self.files: list[Files | None] = []
        self.dead: TelegramError | None = None  # what every call gets
        self.fail: list[TelegramError] = []
        self.inside = 0  # calls under way
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.changed = threading.Condition()

    def send(self, method: str, payload: dict[str, Any], *, files: Files | None = None) -> int | None:
        with self.changed:
            self.inside += 1
            self.changed.notify_all()
        self.entered.set()
        assert self.gate.wait(30)
        with self.changed:
            self.inside -= 1
            if self.dead is not None:
                raise self.dead
            if method == "getMe":
                return None
            if self.fail:
                raise self.fail.pop(0)
            self.sent.append((time.monotonic(), method, payload))
            self.files.append(files)
            self.changed.notify_all()
            return len(self.sent)

    def wait_inside(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.inside == count, 30), self.inside

    def texts(self) -> list[str]:
        return [payload.get("text", "") for _, _, payload in self.sent]

    def wait(self, count: int, timeout: float = 30.0) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sent) >= count, timeout), self.texts()


class Time:
    """A clock that moves when told to, so that pacing is tested without waiting."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def telegram() -> FakeTelegram:
    return FakeTelegram()


Make = Callable[..., Outbox]


@pytest.fixture
def make(store: Store, telegram: FakeTelegram) -> Iterator[Make]:
    made: list[Outbox] = []

    def build(**options: Any) -> Outbox:
        options.setdefault("send_rate", 0.0)
        outbox = Outbox(store, telegram, jitter=lambda: 0.5, **options)
        made.append(outbox)
        return outbox

    yield build
    telegram.gate.set()
    for outbox in made:
        outbox.stop(1.0)


def put(store: Store, text: str, chat_id: int = 1, lane: int = ANSWERS) -> int:
    return store.messages.enqueue(chat_id, "sendMessage", {"text": text}, now=0.0, lane=lane)


def drive(outbox: Outbox, clock: Time, seconds: float, telegram: FakeTelegram) -> list[tuple[float, str]]:
    """Run the one sender by hand for so long on the given clock: when each text went out."""
    ends, out = clock.now + seconds, []
    while clock.now < ends:
        before = len(telegram.sent)
        rest = outbox.step()
        out += [(clock.now, payload["text"]) for _, _, payload in telegram.sent[before:]]
        clock.now = min(ends, clock.now + rest) if rest else clock.now
    return out


def test_messages_of_a_chat_keep_their_order(store: Store, telegram: FakeTelegram, make: Make) -> None:
    for n in range(200):
        put(store, f"{n % 4}:{n}", chat_id=1 + n % 4)
    make().start()
    telegram.wait(200)
    for chat in range(4):
        mine = [int(text.split(":")[1]) for text in telegram.texts() if text.startswith(f"{chat}:")]
        assert mine == sorted(mine)


def test_answers_go_before_alerts(store: Store, telegram: FakeTelegram, make: Make) -> None:
    put(store, "alert", lane=ALERTS)
    put(store, "alert elsewhere", chat_id=2, lane=ALERTS)
    put(store, "answer")
    make().start()
    telegram.wait(3)
    assert telegram.texts()[0] == "answer"


def test_what_was_pending_is_sent_after_a_restart(store: Store, telegram: FakeTelegram, make: Make) -> None:
    telegram.fail = [Unreachable("down")] * 1000
    put(store, "kept")
    first = make()
    first.start()
    assert telegram.entered.wait(30)
    first.stop(1.0)
    telegram.fail = []
    make().start()
    telegram.wait(1)
    assert telegram.texts() == ["kept"]


def test_three_quick_answers_go_at_once_and_then_one_a_second(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    outbox = make(send_rate=30.0, monotonic=clock)
    for n in range(6):
        put(store, str(n))
    sent = drive(outbox, clock, 10, telegram)
    times = [at - 1000.0 for at, _ in sent]
    assert len(times) == 6
    assert times[2] < 0.2
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(times[2:]))


def test_a_group_gets_no_more_than_20_in_any_minute(store: Store, telegram: FakeTelegram, make: Make) -> None:
    clock = Time()
    outbox = make(send_rate=30.0, monotonic=clock)
    for n in range(60):
        put(store, str(n), chat_id=GROUP)
    times = [at for at, _ in drive(outbox, clock, 240, telegram)]
    assert len(times) == 60
    assert all(sum(start <= at < start + 60 for at in times) <= 20 for start in times)


def test_overall_no_more_than_the_rate_and_nearly_all_of_it(store: Store, telegram: FakeTelegram, make: Make) -> None:
    clock = Time()
    outbox = make(send_rate=30.0, monotonic=clock)
    for n in range(600):
        put(store, str(n), chat_id=n + 1)
    times = [at for at, _ in drive(outbox, clock, 25, telegram)]
    assert len(times) == 600
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 30
    assert 600 / (times[-1] - times[0]) >= 0.95 * 30


def test_what_a_busy_machine_was_late_with_is_made_up_for_within_the_limit(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    """Each rest lasts up to 60 ms longer than asked for: the rate is kept all the same."""
    clock = Time()
    outbox = make(send_rate=30.0, monotonic=clock)
    clock.now += 60  # a long rest saves up no burst
    for n in range(600):
        put(store, str(n), chat_id=n + 1)
    times: list[float] = []
    late = itertools.cycle([0.0, 0.06, 0.02, 0.04])
    while len(times) < 600:
        before = len(telegram.sent)
        rest = outbox.step()
        times += [clock.now] * (len(telegram.sent) - before)
        clock.now += rest + next(late) if rest else 0.001
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 30
    assert 600 / (times[-1] - times[0]) >= 0.95 * 30


def test_a_slow_first_message_does_not_squeeze_the_next_ones(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    """Telegram counts a message when it comes, which is up to the time of its answer."""
    clock = Time()
    outbox = make(send_rate=30.0, monotonic=clock)
    take, delays = telegram.send, iter([0.0, 0.0, 0.6])

    def send(method: str, payload: dict[str, Any], *, files: Files | None = None) -> int | None:
        clock.now += next(delays, 0.0)
        return take(method, payload, files=files)

    telegram.send = send  # type: ignore[method-assign]
    for n in range(5):
        put(store, str(n))
    times = [at for at, _ in drive(outbox, clock, 10, telegram)]
    assert times[3] - times[2] > 0.9


@pytest.mark.parametrize(("chat_id", "sent_before", "least"), [(1, 3, 0.4), (GROUP, 17, 3.0)])
def test_what_was_sent_just_before_a_restart_counts(
    store: Store, telegram: FakeTelegram, make: Make, chat_id: int, sent_before: int, least: float
) -> None:
    clock = Time()
    first = make(send_rate=30.0, monotonic=clock, now=clock)
    for n in range(sent_before):
        put(store, str(n), chat_id=chat_id)
    while len(telegram.sent) < sent_before:
        drive(first, clock, 0.5, telegram)
    put(store, "next", chat_id=chat_id)
    clock.now += 0.05
    restarted = clock.now
    again = make(send_rate=30.0, monotonic=lambda: clock.now - 500, now=clock)
    while telegram.texts()[-1] != "next":
        clock.now += max(0.01, again.step())
    assert clock.now - restarted >= least


def test_a_chat_that_has_nothing_to_send_is_forgotten(store: Store, telegram: FakeTelegram, make: Make) -> None:
    clock = Time()
    outbox = make(send_rate=30.0, monotonic=clock)
    for n in range(40):
        put(store, str(n), chat_id=-n - 1)
    drive(outbox, clock, 60, telegram)
    put(store, "last", chat_id=5)
    outbox.wake()
    drive(outbox, clock, 61, telegram)
    assert len(telegram.sent) == 41
    assert len(outbox._queues._chats) <= 1


def test_a_429_holds_its_chat_for_as_long_as_told(store: Store, telegram: FakeTelegram, make: Make) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    telegram.fail = [TooManyRequests(7.0)]
    put(store, "held")
    put(store, "other", chat_id=2)
    sent = drive(outbox, clock, 20, telegram)
    assert [text for _, text in sent] == ["other", "held"]
    assert sent[1][0] - 1000.0 >= 7.0


def test_a_second_429_of_the_same_chat_holds_that_chat_only(store: Store, telegram: FakeTelegram, make: Make) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    put(store, "flooded", chat_id=1)
    telegram.fail = [TooManyRequests(5.0), TooManyRequests(5.0)]
    assert drive(outbox, clock, 6.0, telegram) == []
    put(store, "elsewhere", chat_id=2)
    outbox.wake()
    began = clock.now
    assert drive(outbox, clock, 1.0, telegram) == [(began, "elsewhere")]


def test_a_429_of_two_chats_at_once_is_the_limit_of_all(store: Store, telegram: FakeTelegram, make: Make) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    for chat_id in (1, 2, 3):
        put(store, f"chat {chat_id}", chat_id=chat_id)
    telegram.fail = [TooManyRequests(5.0), TooManyRequests(7.0)]
    began = clock.now
    sent = drive(outbox, clock, 20.0, telegram)
    assert sorted(text for _, text in sent) == ["chat 1", "chat 2", "chat 3"]
    assert min(at for at, _ in sent) >= began + 7.0


@pytest.mark.parametrize(
    ("error", "subscribed"),
    [
        (Rejected(403, "Forbidden: bot was blocked by the user"), False),
        (Rejected(400, "Bad Request: chat not found"), False),
        (Rejected(400, "Bad Request: user is deactivated"), False),
        (Rejected(400, "Bad Request: group chat was deleted"), False),
        (Rejected(400, "Bad Request: message text is empty"), True),
    ],
    ids=lambda value: value.description if isinstance(value, Rejected) else "",
)
def test_only_a_refusal_of_the_chat_itself_ends_its_alerts(
    store: Store, telegram: FakeTelegram, make: Make, error: Rejected, subscribed: bool
) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1))
    put(store, "refused")
    telegram.fail = [error]
    make().step()
    chat = store.chats.get(1)
    assert chat is not None and chat.subscribed is subscribed


def test_telegram_reached_by_another_call_ends_the_wait_at_once(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    put(store, "waits")
    telegram.fail = [Unreachable("no route")] * 5
    drive(outbox, clock, 16.0, telegram)
    assert telegram.fail == [], "five tries within 16 s"
    began = clock.now
    outbox.try_again()
    assert drive(outbox, clock, 0.5, telegram) == [(began, "waits")]


def test_a_chat_that_blocked_the_bot_is_unsubscribed_and_its_alerts_buried(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1))
    telegram.fail = [Rejected(403, "Forbidden: bot was blocked by the user")]
    put(store, "one", lane=ALERTS)
    put(store, "two", lane=ALERTS)
    put(store, "for others", chat_id=2, lane=ALERTS)
    make().start()
    telegram.wait(1)
    drain(store)
    assert store.chats.some(limit=99) == []
    notes = [chat.note for chat in store.chats.ended(limit=9)]
    assert notes == ["alerts ended: bot was blocked by the user"]
    assert telegram.texts() == ["for others"]


def drain(store: Store) -> None:
    deadline = time.monotonic() + 30
    bell = threading.Event()
    while store.pending():
        assert time.monotonic() < deadline, "the outbox did not get empty"
        bell.wait(0.01)


def test_a_message_refused_for_good_is_buried_with_its_reason_and_the_next_one_goes(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    telegram.fail = [Rejected(400, "Bad Request: message is too long")]
    put(store, "bad")
    put(store, "good")
    make().start()
    telegram.wait(1)
    drain(store)
    assert telegram.texts() == ["good"]
    assert store.messages.counts(since=0.0)["buried"] == 1


def test_html_that_telegram_does_not_take_is_sent_as_plain_text(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    telegram.fail = [Rejected(400, "Bad Request: can't parse entities: unexpected end tag")]
    store.messages.enqueue(1, "sendMessage", {"text": "<b>A &amp; B</b> &lt;3 buy", "parse_mode": "HTML"}, now=0.0)
    make().start()
    telegram.wait(1)
    assert telegram.texts() == ["A & B <3 buy"]
    assert "parse_mode" not in telegram.sent[0][2]


def test_an_outage_keeps_everything_and_is_logged_once_at_its_begin_and_end(
    store: Store, telegram: FakeTelegram, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Time()
    outbox = make(monotonic=clock)
    telegram.fail = [Unreachable("no route")] * 5
    for n in range(3):
        put(store, str(n))
    assert [text for _, text in drive(outbox, clock, 120, telegram)] == ["0", "1", "2"]
    assert caplog.text.count("cannot be reached") == 1
    assert caplog.text.count("Telegram is back after") == 1


def test_one_message_that_the_server_always_fails_on_does_not_stop_the_others(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    refuse_poison(telegram)
    put(store, "poison")
    put(store, "fine", chat_id=2)
    drive(outbox, clock, GIVE_UP_AFTER - 60, telegram)
    assert len(store.pending()) == 1
    drive(outbox, clock, 120, telegram)
    assert telegram.texts() == ["fine"]
    assert store.messages.counts(since=0.0)["buried"] == 1


def test_a_message_that_the_server_always_fails_on_is_given_up_in_a_chat_of_its_own_too(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    refuse_poison(telegram)
    put(store, "poison")
    put(store, "next")
    drive(outbox, clock, GIVE_UP_AFTER + 60, telegram)
    assert telegram.texts() == ["next"]


def test_a_failing_message_slows_down_its_own_chat_only(
    store: Store, telegram: FakeTelegram, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    refuse_poison(telegram)
    put(store, "poison")
    put(store, "fine", chat_id=2)
    drive(outbox, clock, 60, telegram)
    for n in range(5):
        put(store, str(n), chat_id=2)
        outbox.wake()
        assert [text for _, text in drive(outbox, clock, 1, telegram)] == [str(n)]
    assert caplog.text.count("cannot be reached") == 1


@pytest.mark.parametrize("chats", [1, 50])
def test_two_hours_of_502_bury_nothing(store: Store, telegram: FakeTelegram, make: Make, chats: int) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    for n in range(50):
        put(store, str(n), chat_id=1 + n % chats)
    telegram.dead = BAD_GATEWAY
    assert drive(outbox, clock, 2 * 3600, telegram) == []
    telegram.dead = None
    back = clock.now
    times = [at for at, _ in drive(outbox, clock, 200, telegram)]
    assert len(times) == 50
    assert times[0] - back <= 75  # the longest step of the back-off
    assert store.messages.counts(since=0.0)["buried"] == 0


def refused(code: int, description: str) -> TelegramError:
    return failure({"ok": False, "error_code": code, "description": description})


@pytest.mark.parametrize(
    "error",
    [refused(400, "Logged out"), refused(421, "Misdirected Request"), refused(403, "Forbidden: words of the future")],
    ids=str,
)
def test_a_refusal_of_every_call_buries_nothing_however_long_it_lasts(
    store: Store, telegram: FakeTelegram, make: Make, caplog: pytest.LogCaptureFixture, error: TelegramError
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    made = put(store, "1 order", lane=ALERTS)
    drive(outbox, clock, 1, telegram)
    store.messages.revise([made], {"text": "2 orders"}, now=1.0)
    put(store, "answer", chat_id=2)
    outbox.wake()
    telegram.dead = error
    drive(outbox, clock, 3 * GIVE_UP_AFTER, telegram)
    assert caplog.text.count(str(error)) == 1, "told once"
    telegram.dead = None
    drive(outbox, clock, 120, telegram)
    assert sorted(telegram.texts()) == ["1 order", "2 orders", "answer"]
    assert store.messages.counts(since=0.0)["buried"] == 0


def test_an_unknown_refusal_of_one_message_is_told_and_ends_after_a_time(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    told: list[str] = []
    outbox = make(monotonic=clock, events=OutboxEvents(tell_owner=told.append))
    refuse_poison(telegram, refused(400, "Bad Request: words of the future"))
    put(store, "poison")
    put(store, "fine", chat_id=2)
    drive(outbox, clock, GIVE_UP_AFTER - 60, telegram)
    assert told == []
    assert len(store.pending()) == 1
    drive(outbox, clock, 120, telegram)
    assert store.pending() == []
    assert told == [
        "A message to chat 1 could not be delivered for 2 h and was dropped: 400 Bad Request: words of the future"
    ]


def test_where_the_bot_may_not_write_the_chat_stays_and_is_reported(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    store.chats.put(Chat(chat_id=GROUP, added_by=1))
    paused: list[int] = []
    put(store, "alert", chat_id=GROUP, lane=ALERTS)
    telegram.fail = [refused(400, "Bad Request: not enough rights to send text messages to the chat")]
    make(events=OutboxEvents(no_rights=paused.append)).step()
    assert (paused, store.pending(), len(store.chats.some(limit=99))) == ([GROUP], [], 1)


@pytest.mark.parametrize("words", ["TOPIC_CLOSED", "TOPIC_DELETED", "message thread not found"])
def test_what_a_closed_topic_does_not_take_comes_to_the_chat_itself(
    store: Store, telegram: FakeTelegram, make: Make, words: str
) -> None:
    telegram.fail = [refused(400, f"Bad Request: {words}")]
    store.messages.enqueue(GROUP, "sendMessage", {"text": "answer", "message_thread_id": 5}, now=0.0)
    make().step()
    assert telegram.texts() == ["answer"]
    assert "message_thread_id" not in telegram.sent[0][2]


def test_an_update_of_an_alert_in_a_closed_topic_comes_as_a_new_message(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    paused: list[int] = []
    outbox = make(events=OutboxEvents(no_rights=paused.append))
    made = put(store, "1 order", chat_id=GROUP, lane=ALERTS)
    outbox.step()
    store.messages.revise([made], {"text": "2 orders"}, now=1.0)
    telegram.fail = [refused(400, "Bad Request: TOPIC_CLOSED")]
    outbox.wake()
    for _ in range(3):
        outbox.step()
    assert [(method, payload["text"]) for _, method, payload in telegram.sent] == [
        ("sendMessage", "1 order"),
        ("sendMessage", "2 orders"),
    ]
    assert paused == []


def test_a_chat_closed_to_the_bot_without_topics_is_one_where_it_may_not_write(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    paused: list[int] = []
    put(store, "alert", chat_id=GROUP, lane=ALERTS)
    telegram.fail = [refused(400, "Bad Request: TOPIC_CLOSED")]
    make(events=OutboxEvents(no_rights=paused.append)).step()
    assert paused == [GROUP]


def until(said: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not said():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_sends_that_fail_together_lengthen_the_backoff_once(store: Store, telegram: FakeTelegram, make: Make) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    for n in range(8):
        put(store, str(n), chat_id=n + 1)
    telegram.gate.clear()
    outbox.start()
    telegram.wait_inside(8)
    telegram.dead = BAD_GATEWAY
    telegram.gate.set()
    until(lambda: telegram.inside == 0)
    clock.now += 0.01
    until(lambda: outbox.step(8) == pytest.approx(0.99))
    clock.now += 0.99
    until(lambda: outbox.step(8) > 0.0)
    assert outbox.step(8) == 2.0


def test_during_an_outage_one_message_at_a_time_is_tried(store: Store, telegram: FakeTelegram, make: Make) -> None:
    """Else a server that only hangs would have every thread wait for it when it comes back."""
    clock = Time()
    outbox = make(monotonic=clock)
    for n in range(8):
        put(store, str(n), chat_id=n + 1)
    telegram.dead = BAD_GATEWAY
    outbox.start()
    until(lambda: outbox.unreachable_since() is not None)
    clock.now += 0.01
    until(lambda: outbox.step(8) == pytest.approx(0.99))
    telegram.dead = None
    telegram.gate.clear()
    telegram.entered.clear()
    clock.now += 5
    outbox.wake()
    assert telegram.entered.wait(30)
    assert outbox.step(8) == 60.0
    assert telegram.inside == 1
    telegram.gate.set()
    telegram.wait(8)


def refuse_poison(telegram: FakeTelegram, error: TelegramError | None = None) -> None:
    take = telegram.send

    def send(method: str, payload: dict[str, Any], *, files: Files | None = None) -> int | None:
        if payload.get("text") == "poison":
            raise error or Unreachable("HTTP 500", status=500)
        return take(method, payload, files=files)

    telegram.send = send  # type: ignore[method-assign]


def test_a_sent_message_that_cannot_be_marked_is_not_sent_again(
    store: Store, telegram: FakeTelegram, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    put(store, "once")
    with monkeypatch.context() as patch:
        patch.setattr(store, "settle_all", _disk_full)
        outbox.step()
    drive(outbox, clock, 30, telegram)
    assert telegram.texts() == ["once"]
    assert store.pending() == []


@pytest.mark.parametrize("mark", ["not written", "forgotten by a server that crashed"])
def test_what_an_earlier_outbox_sent_and_the_store_has_not_marked_is_not_sent_again_by_the_next(
    store: Store, telegram: FakeTelegram, make: Make, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    clock = Time()
    earlier, later = make(monotonic=clock), make(monotonic=clock)
    earlier.marks.may_be_forgotten = True
    put(store, "once")
    with monkeypatch.context() as patch:
        if mark == "not written":
            patch.setattr(store, "settle_all", _disk_full)
        earlier.step()
    if mark != "not written":
        assert store.pending() == []
        _forget(store)
    later.marks.take_over(earlier.marks.unsure())
    drive(later, clock, 30, telegram)
    assert telegram.texts() == ["once"]
    assert store.pending() == []


def test_a_message_with_the_number_of_one_that_a_crashed_server_has_forgotten_is_sent(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    earlier, later = make(monotonic=clock), make(monotonic=clock)
    earlier.marks.may_be_forgotten = True
    put(store, "before")
    earlier.step()
    _forget(store)
    store._db.change("UPDATE deliveries SET created_at = created_at + 1, payload = ?", ('{"text": "after"}',))
    later.marks.take_over(earlier.marks.unsure())
    drive(later, clock, 30, telegram)
    assert telegram.texts() == ["before", "after"]


def test_a_file_forgets_no_mark_so_none_is_kept_in_memory(store: Store, telegram: FakeTelegram, make: Make) -> None:
    outbox = make(monotonic=Time())
    put(store, "once")
    outbox.step()
    assert telegram.texts() == ["once"] and outbox.marks.unsure() == []


def _forget(store: Store) -> None:
    """As a server that crashed: the last transactions have not been."""
    store._db.change("UPDATE deliveries SET state = 'pending', settled_at = NULL, message_id = NULL")


def test_while_the_store_cannot_be_written_nothing_more_is_sent(
    store: Store, telegram: FakeTelegram, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message sent without its mark would be sent again after a restart."""
    clock = Time()
    outbox = make(monotonic=clock)
    for n in range(20):
        put(store, str(n), chat_id=n + 1)
    with monkeypatch.context() as patch:
        patch.setattr(store, "settle_all", _disk_full)
        drive(outbox, clock, 600, telegram)
        assert telegram.texts() == ["0"]
    drive(outbox, clock, 30, telegram)
    assert telegram.texts() == [str(n) for n in range(20)]
    assert store.pending() == []


def test_a_message_revised_before_its_late_mark_still_gets_its_edit(
    store: Store, telegram: FakeTelegram, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    made = put(store, "1 order", lane=ALERTS)
    with monkeypatch.context() as patch:
        patch.setattr(store, "settle_all", _disk_full)
        outbox.step()
    store.messages.revise([made], {"text": "2 orders"}, now=1.0)
    drive(outbox, clock, 60, telegram)
    assert [(method, payload["text"]) for _, method, payload in telegram.sent] == [
        ("sendMessage", "1 order"),
        ("editMessageText", "2 orders"),
    ]


def _disk_full(*args: Any, **kwargs: Any) -> None:
    raise StoreError("the disk is full")


def test_a_message_revised_while_in_flight_is_followed_by_one_edit(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    made = put(store, "1 order", lane=ALERTS)
    telegram.gate.clear()
    make().start()
    assert telegram.entered.wait(30)
    store.messages.revise([made], {"text": "2 orders"}, now=1.0)
    telegram.gate.set()
    telegram.wait(2)
    drain(store)
    assert [(method, payload["text"]) for _, method, payload in telegram.sent] == [
        ("sendMessage", "1 order"),
        ("editMessageText", "2 orders"),
    ]
    assert telegram.sent[1][2]["message_id"] == 1


def test_a_group_that_became_a_supergroup_gets_its_messages_there(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    store.chats.put(Chat(chat_id=GROUP, kind="group", added_by=1))
    telegram.fail = [Rejected(400, "Bad Request: group chat was upgraded", migrate_to=-1001)]
    put(store, "first", chat_id=GROUP, lane=ALERTS)
    put(store, "second", chat_id=GROUP, lane=ALERTS)
    make().start()
    telegram.wait(2)
    assert telegram.texts() == ["first", "second"]
    assert {payload["chat_id"] for _, _, payload in telegram.sent} == {-1001}
    assert [chat.chat_id for chat in store.chats.some(limit=99)] == [-1001]


def test_a_refused_token_is_reported_and_the_message_kept_and_sent_soon_if_it_was_a_stray_answer(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    told = threading.Event()
    telegram.fail = [TokenRefused("401 Unauthorized")]
    put(store, "kept")
    make(events=OutboxEvents(token_refused=lambda reason: told.set())).start()
    assert told.wait(30)
    assert len(store.pending()) == 1
    telegram.wait(1)
    assert telegram.texts() == ["kept"]


def test_paused_alerts_wait_while_answers_go(store: Store, telegram: FakeTelegram, make: Make) -> None:
    paused = [True]
    outbox = make(alerts_paused=lambda: paused[0])
    put(store, "alert", lane=ALERTS)
    put(store, "answer", chat_id=2)
    outbox.start()
    telegram.wait(1)
    assert telegram.texts() == ["answer"]
    paused[0] = False
    outbox.wake()
    telegram.wait(2)


def test_an_answer_that_another_copy_may_have_given_waits_until_it_is_known(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    ours: set[int] = set()
    outbox = make(monotonic=clock, is_ours=lambda update_id: update_id in ours)
    for update_id in (5, 6):
        store.messages.enqueue(update_id, "sendMessage", {"text": str(update_id)}, now=0.0, update_id=update_id)
    put(store, "alert", chat_id=9, lane=ALERTS)
    drive(outbox, clock, 30, telegram)
    assert telegram.texts() == ["alert"]
    ours.add(5)
    drive(outbox, clock, 1, telegram)
    assert store.messages.bury_answers([6, 7], reason="answered elsewhere", now=1.0) == 1
    drive(outbox, clock, 5, telegram)
    assert telegram.texts() == ["alert", "5"]
    assert store.pending() == []


def test_a_send_that_ended_because_the_network_is_back_goes_again_at_once(
    store: Store, telegram: FakeTelegram, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    put(store, "again")
    telegram.fail = [LineRenewed("the network is back")]
    assert [text for _, text in drive(outbox, clock, 0.1, telegram)] == ["again"]
    assert caplog.text == ""


def test_a_stop_sends_the_answers_that_are_ready_and_leaves_the_alerts_for_later(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    outbox = make()
    telegram.gate.clear()
    put(store, "in flight")
    outbox.start()
    assert telegram.entered.wait(30)
    stopped = threading.Thread(target=outbox.stop, args=(10.0,))
    stopped.start()
    until(lambda: outbox._draining)
    for n in range(5):
        put(store, f"answer {n}", chat_id=10 + n)
    put(store, "alert", chat_id=99, lane=ALERTS)
    outbox.wake()
    telegram.gate.set()
    stopped.join(30)
    assert set(telegram.texts()) == {"in flight", *(f"answer {n}" for n in range(5))}
    assert [chat_id for _, chat_id, _ in store.pending()] == [99]


def test_a_stop_waits_for_the_answer_to_a_send_so_that_it_is_not_sent_again(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    outbox = make()
    telegram.gate.clear()
    for chat_id in (1, 2):
        put(store, "in flight", chat_id=chat_id)
    outbox.start()
    telegram.wait_inside(2)
    stopped = threading.Thread(target=outbox.stop, args=(0.01,))
    stopped.start()
    until(lambda: all(worker._stopping for worker in outbox.workers()))
    put(store, "new", chat_id=3)
    outbox.wake()
    telegram.gate.set()
    stopped.join(30)
    assert [chat_id for _, chat_id, _ in store.pending()] == [3], (
        "both are marked, and nothing was begun after the time"
    )


# Edits


def test_an_edit_that_changes_nothing_counts_as_made(store: Store, telegram: FakeTelegram, make: Make) -> None:
    telegram.fail = [Rejected(400, "Bad Request: message is not modified: specified new message content ...")]
    store.messages.enqueue(1, "editMessageText", {"message_id": 5, "text": "same"}, now=0.0)
    make().start()
    drain(store)
    assert store.messages.counts(since=0.0) == {"pending": 0, "sent": 1, "buried": 0}


def test_an_edit_of_a_message_that_is_gone_is_dropped_and_the_chat_stays_subscribed(
    store: Store, telegram: FakeTelegram, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    store.chats.put(Chat(chat_id=1, added_by=1))
    telegram.fail = [Rejected(400, "Bad Request: message to edit not found")]
    store.messages.enqueue(1, "editMessageText", {"message_id": 5, "text": "new"}, now=0.0)
    put(store, "next")
    make().start()
    telegram.wait(1)
    drain(store)
    assert telegram.texts() == ["next"]
    assert [chat.chat_id for chat in store.chats.some(limit=99)] == [1]
    assert "ERROR" not in caplog.text


@pytest.mark.parametrize(
    "words", ["Bad Request: message to edit not found", "Bad Request: message identifier is not specified"]
)
def test_what_was_to_be_added_to_a_deleted_message_comes_as_a_new_one(
    store: Store, telegram: FakeTelegram, make: Make, words: str
) -> None:
    made = store.messages.enqueue(1, "sendMessage", {"text": "1 order"}, now=0.0, lane=ALERTS, bundle="whales:BTC")
    outbox = make()
    outbox.start()
    telegram.wait(1)
    drain(store)
    telegram.fail = [Rejected(400, words)]
    store.messages.revise([made], {"text": "2 orders"}, now=1.0)
    outbox.wake()
    telegram.wait(2)
    drain(store)
    assert [(method, payload["text"]) for _, method, payload in telegram.sent] == [
        ("sendMessage", "1 order"),
        ("sendMessage", "2 orders"),
    ]
    assert "message_id" not in telegram.sent[1][2]
    anew = store.fan_out.open_bundles([1], "whales:BTC", since=-1.0)[1]
    assert anew > made, "the next order is added to the new message"


def test_an_edit_has_no_parameters_that_only_a_new_message_has(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    """A strict server refuses them, and the message of several alerts would stop growing."""
    only_new = {"message_thread_id": 3, "disable_notification": True, "reply_parameters": {"message_id": 1}}
    store.messages.enqueue(1, "editMessageText", {"message_id": 5, "text": "new", **only_new}, now=0.0)
    make().step()
    assert set(telegram.sent[0][2]) == {"chat_id", "message_id", "text", "link_preview_options"}


# Attachments

CHART = {"attachment": {"kind": "chart", "symbol": "BTC"}, "caption": "BTC", "disable_notification": True}


def test_a_wished_for_file_is_made_when_it_is_sent(store: Store, telegram: FakeTelegram, make: Make) -> None:
    def draw(wish: dict[str, Any]) -> Attachment:
        return Attachment("photo", "chart.png", wish["symbol"].encode())

    store.messages.enqueue(1, "sendPhoto", CHART, now=0.0)
    make(attachments={"chart": draw}).start()
    telegram.wait(1)
    drain(store)
    _, method, payload = telegram.sent[0]
    assert (method, payload) == ("sendPhoto", {"chat_id": 1, "caption": "BTC", "disable_notification": True})
    assert telegram.files == [{"photo": ("chart.png", b"BTC")}]


def _cannot(wish: dict[str, Any]) -> Attachment:
    raise AttachmentError("No prices of BTC yet.")


def _has_a_bug(wish: dict[str, Any]) -> Attachment:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("makers", "words"),
    [
        ({"chart": _cannot}, "No prices of BTC yet."),
        ({"chart": _has_a_bug}, "The file could not be made. Details are in the bot's log."),
        ({}, "This version of the bot can no longer make this file."),
    ],
)
def test_a_file_that_cannot_be_made_becomes_a_message_that_says_so(
    store: Store, telegram: FakeTelegram, make: Make, makers: dict[str, Any], words: str
) -> None:
    store.messages.enqueue(1, "sendPhoto", {**CHART, "message_thread_id": 3}, now=0.0)
    make(attachments=makers).start()
    telegram.wait(1)
    drain(store)
    _, method, payload = telegram.sent[0]
    assert method == "sendMessage"
    assert payload["text"] == words
    assert (payload["message_thread_id"], payload["disable_notification"]) == (3, True)
    assert "caption" not in payload
    assert telegram.files == [None]


def test_a_file_that_the_chat_does_not_allow_becomes_a_message_that_says_so(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    store.messages.enqueue(1, "sendPhoto", {**CHART, "message_thread_id": 3}, now=0.0)
    telegram.fail = [refused(400, "Bad Request: not enough rights to send photos to the chat")]
    make(attachments={"chart": lambda wish: Attachment("photo", "chart.png", b"x")}).step()
    _, method, payload = telegram.sent[0]
    assert (method, payload["message_thread_id"]) == ("sendMessage", 3)
    assert payload["text"] == "Telegram did not take the file: not enough rights to send photos to the chat."


def test_files_that_take_long_to_make_do_not_hold_up_other_chats(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    go, begun = threading.Event(), threading.Semaphore(0)

    def slow(wish: dict[str, Any]) -> Attachment:
        begun.release()
        assert go.wait(60)
        return Attachment("photo", "chart.png", b"x")

    for chat_id in range(1, 21):
        store.messages.enqueue(chat_id, "sendPhoto", CHART, now=0.0)
    outbox = make(attachments={"chart": slow})
    outbox.start()
    try:
        for _ in range(4):
            assert begun.acquire(timeout=30)
        put(store, "pong", chat_id=99)
        outbox.wake()
        telegram.wait(1)
        assert telegram.texts() == ["pong"]
    finally:
        go.set()
    telegram.wait(21)
    drain(store)


# Who goes first


def test_an_alert_does_not_wait_behind_a_flood_of_answers(store: Store, telegram: FakeTelegram, make: Make) -> None:
    for number in range(30):
        put(store, f"answer {number}", chat_id=-5)
    put(store, "alert", chat_id=-5, lane=ALERTS)
    for number in range(300):
        put(store, f"other {number}", chat_id=100 + number)
    put(store, "own alert", chat_id=7, lane=ALERTS)
    clock = Time()
    drive(make(monotonic=clock), clock, 3, telegram)
    assert telegram.texts().index("own alert") < 5
    assert telegram.texts().index("alert") < 10


def test_presses_are_acknowledged_at_once_whatever_else_waits(
    store: Store, telegram: FakeTelegram, make: Make
) -> None:
    clock = Time()
    outbox = make(monotonic=clock)
    for number in range(100):
        put(store, f"answer {number}", chat_id=7 + number % 2)
    for number in range(10):
        payload = {"callback_query_id": str(number), "text": f"toast {number}"}
        store.messages.enqueue(7, "answerCallbackQuery", payload, now=0.0, lane=TOASTS)
    drive(outbox, clock, 0.1, telegram)
    assert [words for words in telegram.texts() if words.startswith("toast")] == [f"toast {n}" for n in range(10)]
    drive(outbox, clock, 3, telegram)
    assert sum(words.startswith("answer") for words in telegram.texts()) >= 10, (
        "toasts took nothing from their limits"
    )


def test_what_is_said_to_strangers_goes_last(store: Store, telegram: FakeTelegram, make: Make) -> None:
    for number in range(5):
        put(store, f"stranger {number}", chat_id=100 + number, lane=STRANGERS)
    put(store, "answer", chat_id=7)
    put(store, "alert", chat_id=8, lane=ALERTS)
    clock = Time()
    drive(make(monotonic=clock), clock, 2, telegram)
    assert telegram.texts()[:2] == ["answer", "alert"]
    assert len(telegram.texts()) == 7
