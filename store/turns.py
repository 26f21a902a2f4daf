"""A re-entrant lock that is given in the order of asking.

With Python's own, a thread that lets go and takes hold again at once mostly gets it again: a storm of alerts, each
a transaction of its own, would keep a command waiting to its end.
"""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """Used with `with`, as an RLock is."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._owner in (None, me):
                self._owner = me
                self._depth += 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append((me, turn))
        turn.acquire()  # released by whoever hands over

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            self._depth -= 1
            if self._depth:
                return
            self._owner = None
            if self._waiting:
                self._owner, turn = self._waiting.popleft()
                self._depth = 1
                turn.release()
