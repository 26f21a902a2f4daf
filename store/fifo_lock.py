"""The lock of the database: first come, first served."""

from __future__ import annotations

import threading
from collections import deque


class FifoLock:
    """A re-entrant lock that is first come, first served. Used with `with`, as an RLock is.

    With Python's own, a thread that releases and acquires again at once mostly gets it again: a storm of alerts, each
    a transaction of its own, would keep a command waiting until its end.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    def is_mine(self) -> bool:
        """Does this thread hold it?"""
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:  # only this thread can see itself here, and every statement of a transaction does
            self._depth += 1
            return
        with self._mutex:
            if self._owner is None:
                self._owner, self._depth = me, 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append((me, turn))
        turn.acquire()  # released by whoever hands over

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        with self._mutex:
            self._owner = None
            if self._waiting:
                self._owner, turn = self._waiting.popleft()
                self._depth = 1
                turn.release()
