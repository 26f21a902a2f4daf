"""What a command works with: the chat's settings, the coins, the clock, and the ways to answer.

A command is a function `(desk, update, arguments) -> replies` in one of the `command_*` modules. It reads and
writes local state only: it never sends and never touches the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from access import Access, Role
from base import text
from botapi.updates import Update
from store import Store
from store.rows import Chat

Keyboard = tuple[tuple[tuple[str, str], ...], ...]  # rows of (label, callback data of at most 64 bytes)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Something to say.

    chat_id: None for where the update came from. html: the text is Telegram HTML. toast: the answer to a button
    press. edit: put text and keyboard into the message whose button was pressed. silent: without a sound.
    method: `sendPhoto` or `sendDocument` when an `attachment` ({"kind": ..., ...}, see outbox.py) goes with it.
    """

    text: str
    chat_id: int | None = None
    html: bool = False
    keyboard: Keyboard = ()
    toast: bool = False
    edit: bool = False
    silent: bool = False
    method: str = "sendMessage"
    attachment: Mapping[str, Any] | None = None


class Usage(Exception):
    """An argument that cannot be used. str() is one sentence; the command's example is added to it."""


@dataclass
class Desk:
    """The parts that commands share.

    symbols: the coins of the settings. now: unix seconds by Telegram's clock. default_min: monitor and symbol to
    the dollars from which a chat without a threshold of its own hears of it. status: the lines of /status that
    other parts know, with times in a zone. username: the bot's own, known once Telegram told it.
    """

    store: Store
    access: Access
    symbols: Sequence[str]
    now: Callable[[], float]
    default_min: Callable[[str, str], float]
    status: Callable[[tzinfo], list[str]] = lambda zone: []
    username: str = ""

    def is_owner(self, update: Update) -> bool:
        return self.access.role(update.user_id) is Role.OWNER

    def zone(self, update: Update) -> tzinfo:
        """The zone in which the chat wants its times."""
        chat = self.store.chats.get(update.chat_id)
        return UTC if chat is None else chat.zone

    def subscribed(self, update: Update) -> Chat | None:
        """The chat the update came from, if alerts are on there."""
        chat = self.store.chats.get(update.chat_id)
        return chat if chat is not None and chat.subscribed else None

    def need_chat(self, update: Update) -> Chat:
        """The chat the update came from. Raises Usage when alerts are off there."""
        chat = self.subscribed(update)
        if chat is None:
            raise Usage("Alerts are off in this chat; switch them on first with /start.")
        return chat

    def save(self, chat: Chat, said: str) -> list[Reply]:
        self.store.chats.put(chat)
        return [Reply(text=said)]

    def symbol(self, word: str) -> str:
        """A coin as people write it (`btc`, `$BTC`, `BTCUSDT`). Raises Usage when it is not watched here."""
        symbol = word.upper().removesuffix("USDT").strip("$/-") or word.upper()
        if symbol not in self.symbols:
            raise Usage(f"{text.clip(symbol, 16)} is not watched here; I watch {', '.join(self.symbols)}.")
        return symbol

    def heard_symbol(self, word: str) -> str:
        """A coin that is watched here, or that there was an alert of. Raises Usage for any other."""
        try:
            return self.symbol(word)
        except Usage:
            for symbol in (word, word.upper()):
                if self.store.messages.has_alerts(symbol):
                    return symbol
            raise

    def some_symbols(self, arguments: list[str]) -> frozenset[str]:
        """Coins separated by blanks or commas. Raises Usage for none, or an unknown one."""
        words = [word for argument in arguments for word in argument.split(",") if word]
        if not words:
            raise Usage("Which coins?")
        return frozenset(self.symbol(word) for word in words)

    def watched(self, chat: Chat) -> frozenset[str]:
        return frozenset(self.symbols) if chat.symbols is None else chat.symbols

    def hears(self, chat: Chat, monitor: str = "whales") -> str:
        """`market orders of BTC 1.05M, ETH 640k USD or more`: what each watched coin needs to be told here."""
        if chat.levels.get(monitor) == "off":
            return f"no {_EVENTS[monitor]}: they are off here (/level {monitor} on)"
        return (
            "nothing: no coin is watched (/watch all)"
            if not self.watched(chat)
            else (f"{_EVENTS[monitor]} of {self.sizes(chat, monitor)}")
        )

    def sizes(self, chat: Chat, monitor: str) -> str:
        """`500k USD or more`, or the amount of each coin."""
        watched = self.watched(chat)
        amounts = {
            symbol: chat.threshold(monitor, symbol, self.default_min(monitor, symbol)) for symbol in self.symbols
        }
        if not any(amounts.values()):
            return "any size"
        if len(set(amounts.values())) == 1 and len(watched) == len(self.symbols):
            sizes = text.usd(next(iter(amounts.values())))
        else:
            sizes = ", ".join(f"{symbol} {text.usd(amounts[symbol])}" for symbol in amounts if symbol in watched)
        return f"{sizes} USD or more" if sizes else "no coin"


_EVENTS = {"whales": "market orders", "liquidations": "liquidations", "wallets": "positions of wallets"}
