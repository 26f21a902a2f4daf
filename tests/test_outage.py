"""Sending while Telegram is down, in every way it can be: nothing lost, told once, on again within a back-off step.

The road is the real one: store, outbox, HTTP, simulator. Outages of hours are in test_outbox.py, on its own clock.
"""

from __future__ import annotations

import gc
import logging
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import OWNER, TOKEN

from botapi.client import Telegram
from botapi.errors import Unreachable
from botapi.outbox import Outbox
from botapi.sending import Files
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store

CHATS = range(OWNER, OWNER + 5)
MESSAGES = 40


class Backoff:
    """The outbox's jitter: makes each pause a twentieth of its length (0.05 s, 0.1 s, 0.2 s ...) and counts them."""

    count = 0

    def __call__(self) -> float:
        self.count += 1
        return -1.4


@pytest.fixture
def backoff() -> Backoff:
    return Backoff()


@pytest.fixture
def telegram(sim: Simulator, chat: SimBot) -> Telegram:
    return Telegram(TOKEN, sim.url)


@pytest.fixture
def outbox(store: Store, telegram: Telegram, sim: Simulator, chat: SimBot, backoff: Backoff) -> Iterator[Outbox]:
    """Not yet started, with messages for five chats waiting."""
    for chat_id in CHATS:
        chat.add_chat(chat_id)
    for number in range(MESSAGES):
        store.messages.enqueue(OWNER + number % len(CHATS), "sendMessage", {"text": str(number)}, now=0.0)
    outbox = Outbox(store, telegram, send_rate=0, jitter=backoff)
    yield outbox
    sim.clear_faults()
    outbox.stop(1.0)


Break = Callable[[Simulator], object]
Mend = Callable[[Simulator], object]


def fault(kind: str, **how: Any) -> tuple[Break, Mend]:
    return lambda sim: sim.fault(method="*", kind=kind, **how), Simulator.clear_faults


DOWN: dict[str, tuple[Break, Mend]] = {
    "refused": (Simulator.offline, Simulator.online),
    "black hole": (Simulator.cut, Simulator.restore),
    "502 with a proxy's page": fault("html502"),
    "500": fault("status"),
    "200 with garbage": fault("garbage200"),
    "200 with null": fault("null"),
    "reset": fault("reset"),
    "closed": fault("close"),
    "hang": fault("hang"),
}


def patience(telegram: Telegram, seconds: float) -> None:
    telegram._call_timeout = telegram._connect_timeout = seconds


@pytest.mark.parametrize("how", DOWN)
def test_nothing_is_lost_or_doubled_it_is_told_once_and_it_goes_on_within_a_step(
    outbox: Outbox,
    store: Store,
    telegram: Telegram,
    sim: Simulator,
    chat: SimBot,
    backoff: Backoff,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="botapi.outbox")
    break_it, mend_it = DOWN[how]
    break_it(sim)
    if how in ("black hole", "hang"):
        patience(telegram, 0.4)
    outbox.start()
    sim.wait(lambda: backoff.count >= 3, what="three failed tries")
    tried = backoff.count + 1  # one more may be on its way
    assert outbox.unreachable_since() is not None
    assert len(store.pending()) == MESSAGES
    mend_it(sim)
    patience(telegram, 30.0)  # a busy machine is late with good answers
    mended = time.monotonic()
    # The step after three failures is 0.2 s (4 s in life); a try that hangs just now has its own 0.4 s.
    sim.wait(lambda: chat.delivered > 0, what="the first message")
    assert time.monotonic() - mended < 10
    sim.wait(lambda: not store.pending(), what="all of them")
    for chat_id in CHATS:
        mine = list(dict.fromkeys(int(text) for text in chat.texts(chat_id)))
        assert mine == list(range(chat_id - OWNER, MESSAGES, len(CHATS)))
    # In a black hole a request may only be late: it arrives when the network is back, after it was given up.
    assert len(chat.sent) - MESSAGES <= (len(CHATS) + tried if how == "black hole" else 0)
    assert outbox.unreachable_since() is None
    assert store.messages.counts(since=0.0)["buried"] == 0
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2, told
    assert "cannot be reached" in told[0]
    assert "is back" in told[1]


def test_a_storm_of_429_is_waited_out_and_nothing_is_lost(
    outbox: Outbox, store: Store, sim: Simulator, chat: SimBot, caplog: pytest.LogCaptureFixture
) -> None:
    storm = sim.fault(method="sendMessage", kind="retry_after", retry_after=1, lasting=1.5)
    outbox.start()
    sim.wait(lambda: not store.pending(), what="all of them")
    assert len(chat.sent) == MESSAGES
    assert storm.hits <= 4 * len(CHATS), "a pause that has been asked for is kept"
    assert "cannot be reached" not in caplog.text


def test_an_answer_that_is_lost_after_the_message_was_taken_may_double_it_and_never_loses_it(
    outbox: Outbox, store: Store, sim: Simulator, chat: SimBot
) -> None:
    """At least once: whether Telegram took it cannot be known."""
    lost = sim.fault(method="sendMessage", kind="reset", after=True, times=2)
    outbox.start()
    sim.wait(lambda: not store.pending(), what="all of them")
    assert {sent.text for sent in chat.sent} == {str(number) for number in range(MESSAGES)}
    assert len(chat.sent) == MESSAGES + lost.hits


def test_memory_stays_flat_through_hours_of_outage(store: Store) -> None:
    class Dead:
        tries = 0

        def send(self, method: str, payload: dict[str, Any], *, files: Files | None = None) -> int | None:
            self.tries += 1
            raise Unreachable("HTTP 502", status=502)

    with store.transaction():
        for number in range(2000):
            store.messages.enqueue(1 + number % 500, "sendMessage", {"text": "x" * 200}, now=0.0)
    clock = [1000.0]
    telegram = Dead()
    outbox = Outbox(store, telegram, send_rate=30.0, monotonic=lambda: clock[0], jitter=lambda: 0.5)

    def live(seconds: float) -> int:
        ends = clock[0] + seconds
        while clock[0] < ends:
            clock[0] += max(0.001, outbox.step())
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first, last = live(4 * 3600), live(8 * 3600)
    finally:
        tracemalloc.stop()
    assert telegram.tries > 600
    assert last - first < 100_000
    assert len(store.pending()) == 2000
