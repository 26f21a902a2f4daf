"""A chat that asks without a pause, and counts the answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import OWNER, PATIENCE

from simulation.account import SimBot


class Talk:
    """Commands with numbers, and whether each was answered exactly once."""

    def __init__(self, chat: SimBot) -> None:
        self.chat = chat
        self.sent = 0

    def say(self) -> str:
        self.sent += 1
        self.chat.send_text(chat_id=OWNER, text=f"/ping {self.sent:04}")
        return f"pong {self.sent:04}"

    def heard(self, *, timeout: float = PATIENCE) -> float:
        """Say one thing and wait for the answer; the seconds it took."""
        began = time.monotonic()
        self.chat.wait_text(self.say(), chat_id=OWNER, timeout=timeout)
        return time.monotonic() - began

    @contextmanager
    def stream(self, every: float = 0.05) -> Iterator[None]:
        """Commands without a pause, from a thread of their own, as long as the block lasts."""
        over = threading.Event()

        def talk() -> None:
            while not over.wait(every):
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
        try:
            self.chat.wait_text(f"pong {self.sent:04}")
            self.chat._hub.wait(
                lambda: wanted <= set(self.chat.texts(OWNER)), timeout=PATIENCE, what="an answer to each"
            )
        finally:
            answers = Counter(text for text in self.chat.texts(OWNER) if text.startswith("pong"))
            assert not wanted - set(answers), "lost"
        assert sum(answers.values()) - len(answers) <= doubled, "doubled"
