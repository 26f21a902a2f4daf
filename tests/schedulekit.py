"""A store, what chats scheduled in it, and a clock: for the tests of scheduled messages and of digests."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from conftest import OWNER
from storekit import file_store

from access import Access
from base import schedules
from botapi.storage import Delivery
from commands.context import Context
from commands.due import Due
from commands.schedules import composer
from commands.table import schedulable
from simulation.html import parse_html
from store import Store
from store.coins import Coins
from store.rows import Alert, Chat
from store.schedules import Scheduled
from venues.trades import Bar

DAY = 86400.0


def at(words: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(words).replace(tzinfo=ZoneInfo(zone)).timestamp()


class Desk:
    """Chats are OWNER's unless it is said otherwise. `tick`: what the schedule thread does; was anything enqueued?"""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bot.db"
        self.store = file_store(self.path)
        self.clock = at("2026-11-24 08:00")
        self.restart()
        long_ago = int(self.clock) - 20 * 86400
        self.store.markets.add_bars([Bar("SOL", long_ago, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])

    def restart(self) -> None:
        self.store.close()
        self.store = Store(self.path)
        access = Access(self.store, owner_id=OWNER, allowed_users=frozenset(), now=lambda: self.clock)
        self.context = Context(
            self.store,
            access,
            symbols=Coins(self.store, ("BTC", "ETH")),
            now=lambda: self.clock,
            default_min=lambda monitor, symbol: 1e6,
        )
        self.digests = composer(self.context)
        self.due = Due(self.context, schedulable())

    def tick(self) -> bool:
        before = len(self.store.pending())
        self.due.tick()
        return len(self.store.pending()) > before

    def subscribe(self, chat_id: int = 7, *, digest: str = "09:00", **settings: object) -> None:
        chat = Chat(chat_id=chat_id, **{"added_by": OWNER} | settings)  # type: ignore[arg-type]
        self.store.chats.put(chat)
        if digest:
            self.schedule("digest", digest, chat_id=chat_id, thread_id=chat.thread_id)

    def schedule(
        self, command: str, rule: str, *, chat_id: int = 7, thread_id: int | None = None, user_id: int = OWNER
    ) -> int:
        chat = self.chat(chat_id)
        next_at = schedules.parse(rule).next(self.clock, zone=chat.timezone)
        return self.store.schedules.add(
            Scheduled(chat_id=chat_id, thread_id=thread_id, user_id=user_id, rule=rule, command=command, at=next_at)
        )

    def chat(self, chat_id: int = 7) -> Chat:
        chat = self.store.chats.get(chat_id)
        assert chat is not None
        return chat

    def next_at(self, number: int) -> float | None:
        one = self.store.schedules.get(number)
        assert one is not None
        return one.at

    def alert(self, usd: float, *, side: str = "buy", symbol: str = "BTC", ago: float = 3600, **more: object) -> None:
        at_ms = int((self.clock - ago) * 1000)
        values = {"monitor": "whales", "venue": "Binance spot", "url": "https://x", "price": 64_000.0} | more
        headline = f"{symbol} {side} {usd / 1e6:g}M USD at 64,000"
        key = f"{symbol}{at_ms}{usd}{side}"
        alert = Alert(key=key, symbol=symbol, side=side, usd=usd, headline=headline, at_ms=at_ms, **values)  # type: ignore[arg-type]
        self.store.messages.add_alert(alert, now=self.clock)

    def waiting(self) -> list[Delivery]:
        """What waits to be sent."""
        found = [self.store.delivery(number) for number, _, _ in self.store.pending()]
        return [one for one in found if one is not None]

    def told(self) -> list[tuple[int, str]]:
        """Chat and text of what waits to be sent, read as Telegram reads it."""
        return [(one.chat_id, parse_html(one.payload["text"])[0]) for one in self.waiting()]

    def send(self) -> None:
        """Everything that waits is sent."""
        for one in self.waiting():
            self.store.messages.settle_all([(one, 1)], now=self.clock)
