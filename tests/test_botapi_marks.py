"""Messages that were sent at the same time are marked together, and no sender waits for a mark of another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from botapi.marks import Marks
from botapi.storage import Delivery, MemoryStorage, StoreError


class FarStorage(MemoryStorage):
    """Tells which marks it was asked to write (`asked`), and has written them when something comes on `answers`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: queue.Queue[list[int]] = queue.Queue()
        self.answers: queue.Queue[Exception | None] = queue.Queue()

    def settle_all(self, sent: Sequence[tuple[Delivery, int | None]], *, now: float) -> bool:
        self.asked.put([delivery.id for delivery, _ in sent])
        error = self.answers.get(timeout=30)
        if error is not None:
            raise error
        return super().settle_all(sent, now=now)


@pytest.fixture
def far() -> FarStorage:
    return FarStorage()


@pytest.fixture
def marks(far: FarStorage) -> Marks:
    return Marks(far, now=lambda: 1.0, sent=lambda seconds: None)


def sender(marks: Marks, far: FarStorage, chat_id: int) -> threading.Thread:
    """A thread whose message Telegram has just taken, as soon as its mark waits."""
    delivery = far.delivery(far.enqueue(chat_id, "sendMessage", {}, now=0.0))
    assert delivery is not None
    thread = threading.Thread(target=marks.sent, args=(delivery, chat_id), daemon=True)
    thread.start()
    until(lambda: delivery.id in marks.waiting)
    return thread


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def test_marks_that_gathered_while_one_was_written_are_written_together_and_nobody_waits_for_later_ones(
    marks: Marks, far: FarStorage
) -> None:
    first = sender(marks, far, 1)
    assert far.asked.get(timeout=30) == [1]
    second, third = sender(marks, far, 2), sender(marks, far, 3)
    far.answers.put(None)
    assert far.asked.get(timeout=30) == [2, 3]
    fourth = sender(marks, far, 4)
    far.answers.put(None)
    assert far.asked.get(timeout=30) == [4]
    for thread in (first, second, third):
        thread.join(30)
        assert not thread.is_alive(), "its mark is written"
    assert fourth.is_alive()
    far.answers.put(None)
    fourth.join(30)
    assert not marks.waiting and not far.pending()


def test_a_mark_that_could_not_be_written_is_written_by_the_next_who_can(marks: Marks, far: FarStorage) -> None:
    far.answers.put(StoreError("the disk is full"))
    delivery = far.delivery(far.enqueue(1, "sendMessage", {}, now=0.0))
    assert delivery is not None
    with pytest.raises(StoreError):
        marks.sent(delivery, 1)
    assert marks.failed and far.asked.get(timeout=30) == [1]
    far.answers.put(None)
    marks.write()
    assert not marks.failed and not far.pending()
