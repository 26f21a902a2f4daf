"""A chat that asks without a pause, and counts the answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from conftest import OWNER, PATIENCE

from simulation.account import SimBot


class Talk:
    """Commands with numbers, and whether each was answered exactly once."""

    def __init__(self, chat: SimBot) -> None:
        self.chat = chat
        self.sent = 0
        self._lock = threading.Lock()  # `stream` has a thread of its own

    def say(self) -> str:
        with self._lock:
            self.sent += 1
            number = self.sent
        self.chat.send_text(chat_id=OWNER, text=f"/ping {number:04}")
        return f"pong {number:04}"

    def heard(self) -> float:
        """Say one thing and wait for the answer; the seconds it took."""
        began = time.monotonic()
        self._wait({self.say()})
        return time.monotonic() - began

    def _answers(self) -> Counter[str]:
        return Counter(text for text in self.chat.texts(OWNER) if text.startswith("pong"))

    def _wait(self, wanted: set[str]) -> None:
        """Wait for these answers, for some minutes as long as others come: a busy machine is behind."""
        ends_at = time.monotonic() + 4 * PATIENCE
        while lost := wanted - set(answers := self._answers()):
            assert time.monotonic() < ends_at, f"{sorted(lost)} are lost"
            news = partial(self._come_since, set(answers))
            self.chat._hub.wait(news, timeout=PATIENCE, what=f"an answer to each: {sorted(lost)} are lost")

    def _come_since(self, known: set[str]) -> bool:
        return not set(self._answers()) <= known

    @contextmanager
    def stream(self, every: float = 0.05, *, ahead: int = 5) -> Iterator[None]:
        """Commands without a pause, from a thread of their own, as long as the block lasts.

        ahead: so many are without an answer at most; a busy machine would get further and further behind.
        """
        over = threading.Event()

        def talk() -> None:
            while not over.wait(every):
                if self.sent - len(self._answers()) < ahead:
                    self.say()

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)

    def all_answered_once(self, *, doubled: int = 0) -> None:
        """doubled: so many answers may have come twice: those that were on their way when the bot was killed."""
        wanted = {f"pong {number:04}" for number in range(1, self.sent + 1)}
        self._wait(wanted)
        answers = self._answers()
        assert sum(answers.values()) - len(answers) <= doubled, "doubled"
