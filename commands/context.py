"""What a command works with: the chat's settings, the coins, the clock, and the ways to answer.

A command is a function `(context, update, arguments) -> replies`. It reads and writes local state only; it never
sends and never touches the network.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from access import Access, Role
from alerts.wording import plural
from base import coins, kinds, text, typed
from base.typed import Unreadable
from botapi.updates import Update
from store import Store
from store.coins import Coins
from store.rows import MARKED, MONITORS, Chat

Button = tuple[str, str]  # label, callback data of at most 64 bytes
Keyboard = tuple[tuple[Button, ...], ...]
RUN = "run"
RESERVED = ("ALL", "OFF", "NONE")  # commands mean something else by these words, so no coin is called so
SPREAD = "spread"  # in a delivery's payload: the coins whose spread is added when it is sent (watch/quotes.py)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer.

    chat_id: None for where the update came from. html: the text is Telegram HTML. toast: the short answer
    to a button press (Bot API answerCallbackQuery). edit: replace text and keyboard of the message whose button was
    pressed. silent: no sound. method: `sendPhoto` or `sendDocument` when an `attachment` ({"kind": ..., ...}) is sent
    with it (alerts/attachments.py). misread: what was sent was not understood; when it is edited it counts as new.
    spread: coins whose spread is added at the moment of sending, if it is known in time.
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
    misread: bool = False
    spread: tuple[str, ...] = ()

    def payloads(self) -> list[dict[str, Any]]:
        """The parameters of its messages: a long text becomes several, and the last one has the keyboard."""
        if self.attachment is not None:
            return [{"caption": self.text, "attachment": dict(self.attachment)} | self.form(self.keyboard)]
        *parts, last = text.split(self.text)
        return [*({"text": part} | self.form() for part in parts), {"text": last} | self.form(self.keyboard)]

    def form(self, keyboard: Keyboard = ()) -> dict[str, Any]:
        """Format, keyboard and what is added, as parameters."""
        form: dict[str, Any] = {"parse_mode": "HTML"} if self.html else {}
        if self.spread:
            form[SPREAD] = list(self.spread)
        if keyboard:
            rows = [[{"text": label, "callback_data": data} for label, data in row] for row in keyboard]
            form["reply_markup"] = {"inline_keyboard": rows}
        return form


def run_button(label: str, command: str) -> Button:
    """A button that does what typing this command would do."""
    return label, f"{RUN}:{command}"


def in_rows(buttons: Sequence[Button], width: int) -> Keyboard:
    """The buttons in rows of so many."""
    return tuple(tuple(buttons[start : start + width]) for start in range(0, len(buttons), width))


class Usage(Unreadable):
    """An argument that cannot be used. str() is one sentence; the command's example is added to it.

    meant: the arguments that may have been meant, each becomes a button.
    """


class UnknownCoin(Usage):
    """A coin that this bot does not watch. typed: the word; near: the coin that it may stand for, "" for none."""

    def __init__(self, sentence: str, *, coin: str, typed: str, near: str) -> None:
        super().__init__(sentence)
        self.coin, self.typed, self.near = coin, typed, near


@dataclass
class Context:
    """What every command is given.

    symbols: the coins that the bot watches. now: unix seconds by Telegram's clock. default_min: monitor and symbol
    to the default threshold in US dollars. status: the bot's own lines of /status, times in a zone. username: the
    bot's own, "" until Telegram has sent it. out_private: may alerts go to addresses of private networks (/out)?
    places_changed: there is a new place, or a test for one. host: this machine's name, for people.
    pause_others: shall copies that wait send no alerts?
    """

    store: Store
    access: Access
    symbols: Coins
    now: Callable[[], float]
    default_min: Callable[[str, str], float]
    status: Callable[[tzinfo], list[str]] = lambda zone: []
    username: str = ""
    out_private: bool = False
    places_changed: Callable[[], None] = lambda: None
    host: str = ""
    pause_others: Callable[[bool], None] = lambda on: None

    def is_owner(self, update: Update) -> bool:
        return self.access.role(update.user_id) is Role.OWNER

    def zone(self, update: Update) -> tzinfo:
        """The chat's time zone, UTC if it has none."""
        chat = self.store.chats.get(update.chat_id)
        return UTC if chat is None else chat.zone

    def subscribed(self, update: Update) -> Chat | None:
        """The chat of the update if alerts are on there, else None."""
        chat = self.store.chats.get(update.chat_id)
        return chat if chat is not None and chat.subscribed else None

    def need_chat(self, update: Update) -> Chat:
        """The chat of the update. Raises Usage if alerts are off there."""
        chat = self.subscribed(update)
        if chat is None and update.chat_kind == "channel":
            raise Usage("Alerts are off in this channel. /settings has a button that turns them on.")
        if chat is None:
            raise Usage("Alerts are off in this chat. Send /start first.")
        return chat

    def save(self, chat: Chat, said: str) -> list[Reply]:
        """Store the chat's settings and answer with that sentence."""
        self.store.chats.put(chat)
        return [Reply(text=said)]

    def symbol(self, word: str) -> str:
        """A coin as people type it: `btc`, `$BTC`, `BTCUSDT`. Raises Usage if this bot does not watch it."""
        symbol = as_symbol(word, self.symbols)
        if symbol not in self.symbols:
            if word.startswith("@"):
                raise Usage(f"“{text.clip(word, 32)}” is not a coin. A channel comes first: /settings @channel")
            if word[:1].isdecimal() and _is_length(word):
                raise Usage(f"“{text.clip(word, 32)}” is a time, not a coin.")
            if "/" in word.strip("/") and as_symbol(word.split("/")[0], self.symbols) in self.symbols:
                raise Usage(f"Prices are in US dollars: {as_symbol(word.split('/')[0], self.symbols)}, not {word}.")
            if word[:1].isdecimal() and _is_amount(word):
                raise Usage(f"Which coin? “{text.clip(word, 32)}” is an amount.")
            said = f"{text.clip(symbol, 16)} is not on this bot's list ({', '.join(self.symbols)})."
            if symbol in RESERVED:
                raise Usage(f"{symbol} is not a coin.")
            near = coins.near(symbol) if coins.near(symbol) in self.symbols else ""
            if near:
                said += f" Did you mean {near}?"
            elif kinds.SYMBOL.fullmatch(symbol):
                said += f" The owner can add it: /coins add {text.clip(symbol, 16)}."
            raise UnknownCoin(said, coin=symbol, typed=word, near=near)
        return symbol

    def is_coin(self, word: str) -> bool:
        """Is this word meant as a coin, not as a number? (`1INCH` is a coin where it is watched.)"""
        return as_symbol(word, self.symbols) in self.symbols or word[:1].isalpha()

    def alerted_symbol(self, word: str) -> str:
        """A coin of the list, or one that had an alert (funding covers more coins). Raises Usage for any other."""
        try:
            return self.symbol(word)
        except Usage:
            for symbol in (word, word.upper(), as_symbol(word, ())):
                if self.store.messages.has_alerts(symbol):
                    return symbol
            raise

    def some_symbols(self, arguments: list[str]) -> frozenset[str]:
        """Coins separated by spaces or commas. Raises Usage if there is none, or an unknown one."""
        words = [
            word
            for argument in arguments
            for word in self._apart(argument)
            if (word.lower() not in _FILLERS or word.upper() in self.symbols) and not typed.is_picture(word)
        ]
        if not words:
            raise Usage("Which coins?")
        return frozenset(self.symbol(word) for word in words)

    def _apart(self, argument: str) -> list[str]:
        """`BTC,ETH` and, where both are coins, `BTC/ETH` and `BTC+ETH`."""
        words = re.split(r"[/+]", argument)
        if len(words) > 1 and all(as_symbol(word, self.symbols) in self.symbols for word in words):
            return words
        return re.split(r"[,;|]", argument)

    def watched(self, chat: Chat) -> frozenset[str]:
        """The coins that the chat follows."""
        return frozenset(self.symbols) if chat.symbols is None else chat.symbols

    def followed(self, chat: Chat) -> list[str]:
        """The coins that the chat follows, in the order of the list."""
        return [symbol for symbol in self.symbols if chat.follows(symbol)]

    def kinds(self, chat: Chat, *, who: str = "You get") -> list[str]:
        """What the chat gets and what is off: `You get: whale orders from 1M USD; ...`, `Off: wallets.`"""
        on = [self.kind(chat, monitor) for monitor in MONITORS if chat.levels.get(monitor) != "off"]
        off = [KINDS[monitor] for monitor in MONITORS if chat.levels.get(monitor) == "off"]
        lines = [f"{who}: {'; '.join(on)}."] if on else []
        if not self.followed(chat):
            lines = ["No coins are selected, so no alerts will come. /watch all selects every coin."]
        return [*lines, f"Off: {', '.join(off)}."] if off else lines

    def kind(self, chat: Chat, monitor: str) -> str:
        """`whale orders from 500k USD`: one kind of alert with the chat's minimum."""
        if chat.levels.get(monitor) == "off":
            return f"{plural(monitor)} are off (turn on: /level {monitor} on)"
        if monitor == "wallets":
            least = chat.thresholds.get(monitor, {}).get("*")
            return f"the wallets you add with /wallet{f', from {text.usd(least)} USD' if least else ''}"
        if monitor == "prices":
            return "the prices, moves and volumes you set with /alert"
        return f"{KINDS[monitor]} {self.sizes(chat, monitor)}"

    def sizes(self, chat: Chat, monitor: str) -> str:
        """The chat's minimum: `from 500k USD`, or `from BTC 2M, all other coins 250k USD`; or its mark."""
        amounts = {
            symbol: chat.threshold(monitor, symbol, self.default_min(monitor, symbol))
            for symbol in self.followed(chat)
        }
        if not amounts:
            return "for no coin (/watch all selects every coin)"
        if not any(amounts.values()):
            return "of any size"
        sign = "±" if monitor == "funding" else ""
        written = f"{sign}{{:g}} %".format if monitor in MARKED else text.usd
        form = _MARKS.get(monitor, "from {} USD")
        common, coins = Counter(amounts.values()).most_common(1)[0]
        named = [f"{symbol} {written(value)}" for symbol, value in amounts.items() if value != common or coins < 3]
        if not named or len(set(amounts.values())) == 1:
            return form.format(written(common))
        if coins >= 3:
            named.append(f"all other coins {written(common)}")
        return form.format(", ".join(named))


_FILLERS = ("and", "&", "+", "of", "for", "the", "now", "please", "price", "usd", "usdt")  # between and after coins
_MARKS = {"funding": "beyond {} for 8 h", "oi": "changing by {} in 1 h"}
KINDS = {
    "whales": "whale orders",
    "liquidations": "liquidations",
    "funding": "funding",
    "oi": "open interest",
    "wallets": "wallets",
    "prices": "price alerts",
}


def as_symbol(word: str, known: Container[str]) -> str:
    """The coin that people mean by `btc`, `$BTC`, `#BTC`, `BTCUSDT`, `BTC-PERP`, `1000PEPE` or `kpepe`, whether it is
    known or not."""
    bare = word.strip("$#/-.,;:!?") or word
    bare = bare[:-4].rstrip("/-") if bare.upper().endswith("USDT") else bare
    pair = re.fullmatch(r"(\w{2,}?)[-/_:.]?(?:USDC|USD|PERP|(?<=[-.])P)", bare.upper())
    if pair is not None and bare.upper() not in known and coins.typed(pair[1]) in known:
        bare = pair[1]
    symbol = coins.typed(bare or word)
    thousands = symbol[:1] == "K" and symbol not in known and symbol[1:] in known
    return symbol[1:] if thousands else symbol


def _is_length(word: str) -> bool:
    try:
        return typed.length(word) > 0
    except Unreadable:
        return False


def _is_amount(word: str) -> bool:
    try:
        typed.amount(word)
    except Unreadable:
        return False
    return True


Run = Callable[[Context, Update, list[str]], list[Reply]]  # a command; may raise Unreadable
