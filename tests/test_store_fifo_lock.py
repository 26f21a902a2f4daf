"""The database's lock: first come, first served."""

from __future__ import annotations

import threading
import time

from store.fifo_lock import FifoLock


def test_who_lets_go_and_takes_hold_again_at_once_lets_others_have_their_turn() -> None:
    lock, asked, got = FifoLock(), threading.Event(), threading.Event()
    rounds_after = 0

    def other() -> None:
        asked.set()
        with lock:
            got.set()

    with lock:
        thread = threading.Thread(target=other)
        thread.start()
        assert asked.wait(30)
        deadline = time.monotonic() + 30
        while not lock._waiting:
            assert time.monotonic() < deadline
    for _ in range(1000):
        with lock:
            rounds_after += not got.is_set()
    thread.join(30)
    assert rounds_after == 0


def test_turns_come_in_the_order_of_asking_and_the_owner_may_ask_again() -> None:
    lock, order = FifoLock(), list[int]()

    def work(number: int) -> None:
        with lock, lock:
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    with lock, lock:
        for number, thread in enumerate(threads):
            thread.start()
            deadline = time.monotonic() + 30
            while len(lock._waiting) <= number:
                assert time.monotonic() < deadline
    for thread in threads:
        thread.join(30)
    assert order == [0, 1, 2, 3, 4]


def test_no_two_threads_hold_it_at_once() -> None:
    lock, inside, most = FifoLock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(2000):
            with lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (inside, most) == (0, 1)
