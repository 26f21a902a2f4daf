"""The first poll comes before the rest of the bot; what it brings waits for that rest."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from conftest import OWNER, TOKEN

from access import Link
from base import config
from base.clock import Clock
from botapi.events import PollerEvents
from service.listening import Listening
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store


class Rest:
    """The rest of the bot, as far as listening knows it."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.took = threading.Event()
        self.connected: list[str] = []

    def take(self, raw: dict[str, Any]) -> None:
        assert self.connected, "a command may name the bot"
        self.taken.append(raw["update_id"])
        self.took.set()

    def tell_stale(self, *, away_since: float | None) -> bool:
        return False


def test_what_comes_before_the_rest_is_loaded_is_handled_afterwards(
    sim: Simulator, chat: SimBot, tmp_path: Path
) -> None:
    environ = {"TELEGRAM_BOT_TOKEN": TOKEN, "OWNER_ID": str(OWNER), "TELEGRAM_API_URL": sim.url}
    settings = config.load(tmp_path / "no.env", environ=environ)
    store, rest = Store(tmp_path / "bot.db"), Rest()
    listening = Listening(settings, store, clock=Clock(), end=lambda *_: None, link=Link.NEVER)
    number = chat.send_text(chat_id=OWNER, text="/ping")
    listening.start()
    try:
        sim.wait(lambda: chat.count("getUpdates") > 1)  # a newcomer looks twice
        asked = chat.calls[-1].at
        sim.wait(lambda: (listening.poller.last_good_at or 0.0) > asked)
        assert not rest.taken
        listening.serve(rest, PollerEvents(connected=rest.connected.append))
        assert rest.took.wait(30)
        assert rest.taken == [number]
        assert rest.connected == [chat.chats.me["username"]]
    finally:
        listening.poller.stop(5.0)
        store.close()
