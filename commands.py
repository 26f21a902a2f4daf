"""What people can say to the bot: one table of commands; dispatch, /help and Telegram's menu come from it.

A command takes plain values, reads and writes local state only, and returns what to say. It never sends,
never touches the network and is never reached by one who may not: the gate is in front (`access.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import alerts
import text
from access import Access, Role, Update
from alerts import Alert
from store import Chat, Store

LOWEST_THRESHOLD = 10_000.0
_COMMAND = re.compile(r"^/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?$", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Something to say. `chat_id` None: where the update came from. `toast`: the answer to a button press."""

    text: str
    chat_id: int | None = None
    html: bool = False
    buttons: tuple[tuple[str, str], ...] = ()
    toast: bool = False


class Usage(Exception):
    """An argument that cannot be used. str() is one sentence; the command's example is added to it."""


@dataclass(frozen=True)
class Command:
    """A row of the table. `arguments` and `example` are shown to people as they stand."""

    name: str
    arguments: str
    summary: str
    example: str
    run: Callable[[Commands, Update, list[str]], list[Reply]]
    owner_only: bool = False


class Commands:
    """Runs commands and buttons against the store. `status` gives the lines of /status that others know."""

    def __init__(
        self,
        store: Store,
        access: Access,
        *,
        symbols: Sequence[str],
        now: Callable[[], float],
        default_min: Callable[[str], float],
        status: Callable[[], list[str]] = list,
    ) -> None:
        self.username = ""  # known once Telegram told it
        self._store = store
        self._access = access
        self._symbols = tuple(symbols)
        self._now = now
        self._default_min = default_min
        self._status = status

    def run(self, update: Update) -> list[Reply]:
        """Answer a message or a button of someone who was admitted. Never raises for what people type."""
        if update.kind == "callback":
            return self._press(update)
        match = _COMMAND.match(update.text.strip())
        if match is None:
            hint = "I answer commands. /help lists them."
            return [Reply(text=hint)] if update.private and update.text else []
        name, addressee, rest = match[1].lower(), match[2], (match[3] or "").strip()
        if addressee and addressee.lower() != self.username.lower():
            return []
        command = next((row for row in TABLE if row.name == name), None)
        if command is None or (command.owner_only and not self._is_owner(update)):
            # In a group an unknown command is probably meant for another bot.
            unknown = f"I do not know /{name}. /help lists what I do, for example /whales BTC."
            return [Reply(text=unknown)] if update.private or addressee else []
        arguments = [rest] if command.name == "ping" and rest else rest.split()
        try:
            return command.run(self, update, arguments)
        except Usage as problem:
            return [Reply(text=f"{problem} Example: {command.example}")]

    def stranger(self, update: Update) -> list[Reply]:
        """The answers to one who is not admitted: at most one to them and one question to the owner."""
        answer, ask = self._access.knock(update)
        replies = []
        if answer:
            asked = " The owner was asked." if ask else ""
            replies.append(Reply(text=f"This bot is private. Your id is {update.user_id}.{asked}"))
        if ask:
            who = f"{text.clip(update.user_name, 64)} (id {update.user_id})"
            buttons = (("Allow", f"allow:{update.user_id}"), ("Deny", f"deny:{update.user_id}"))
            replies.append(
                Reply(text=f"{who} wants to use this bot.", chat_id=self._access.owner_id, buttons=buttons)
            )
        return replies

    def joined(self, update: Update) -> list[Reply]:
        """Someone who may use the bot added it to a group."""
        return [] if update.private else [Reply(text="Send /start here and whale alerts come to this group.")]

    # Commands

    def start(self, update: Update, arguments: list[str]) -> list[Reply]:
        known = self._store.chat(update.chat_id)
        chat = replace(
            known or Chat(chat_id=update.chat_id, added_by=update.user_id, since=self._now()),
            kind=update.chat_kind,
            title=text.clip(update.chat_title, 128),
            thread_id=update.thread_id,
            added_by=update.user_id,
            subscribed=True,
            note="",
        )
        self._store.put_chat(chat)
        lines = [
            "Whale alerts are on in this chat."
            if known is None or not known.subscribed
            else "Alerts were on already.",
            f"You will hear of {self._hears(chat)}.",
            "",
            "Change it: /threshold BTC 2m, /unwatch DOGE, /mute 2h. All commands: /help. End it: /stop.",
        ]
        return [Reply(text="\n".join(lines))]

    def stop(self, update: Update, arguments: list[str]) -> list[Reply]:
        if self._subscribed(update) is None:
            return [Reply(text="Alerts were off already. /start switches them on.")]
        self._store.unsubscribe(update.chat_id, note="")
        return [Reply(text="Alerts are off in this chat. Your settings stay; /start switches them on again.")]

    def help(self, update: Update, arguments: list[str]) -> list[Reply]:
        rows = [row for row in TABLE if not row.owner_only or self._is_owner(update)]
        return [Reply(text="\n".join(f"/{row.name} {row.arguments}".rstrip() + f" - {row.summary}" for row in rows))]

    def ping(self, update: Update, arguments: list[str]) -> list[Reply]:
        return [Reply(text=text.clip(" ".join(["pong", *arguments]), 4000))]

    def status(self, update: Update, arguments: list[str]) -> list[Reply]:
        return [Reply(text="\n".join([*self._status(), *self._chat_status(update)]))]

    def whales(self, update: Update, arguments: list[str]) -> list[Reply]:
        symbol, limit = None, 5
        for argument in arguments:
            if argument.isascii() and argument.isdigit():
                limit = int(argument)
                if not 1 <= limit <= 20:
                    raise Usage("I list from 1 to 20 orders.")
            else:
                symbol = self._symbol(argument)
        found = [Alert(**body) for body in self._store.alerts("whales", symbol, limit=limit)]
        if not found:
            return [Reply(text=f"No whale orders{f' of {symbol}' if symbol else ''} seen yet. I keep looking.")]
        now = self._now()
        lines = [
            f"{text.clock(alert.at, now=now)} {alerts.headline(alert)} · {text.escape(alert.venue)}"
            for alert in found
        ]
        return [Reply(text="\n".join(lines), html=True)]

    def watch(self, update: Update, arguments: list[str]) -> list[Reply]:
        chat = self._need_chat(update)
        if [word.lower() for word in arguments] == ["all"]:
            return self._save(replace(chat, symbols=None), f"Watching all: {', '.join(self._symbols)}.")
        wanted = self._some_symbols(arguments)
        return self._save_symbols(chat, self._watched(chat) | wanted)

    def unwatch(self, update: Update, arguments: list[str]) -> list[Reply]:
        chat = self._need_chat(update)
        return self._save_symbols(chat, self._watched(chat) - self._some_symbols(arguments))

    def threshold(self, update: Update, arguments: list[str]) -> list[Reply]:
        chat = self._need_chat(update)
        if not arguments:
            return [Reply(text=f"This chat hears of {self._hears(chat)}.")]
        if len(arguments) > 2:
            raise Usage("I need an amount, or a coin and an amount.")
        symbol = self._symbol(arguments[0]) if len(arguments) == 2 else "*"
        thresholds = dict(chat.thresholds.get("whales", {}))
        if arguments[-1].lower() == "auto":
            if symbol == "*":
                thresholds.clear()
            thresholds.pop(symbol, None)
        else:
            try:
                amount = text.parse_amount(arguments[-1])
            except ValueError:
                raise Usage(f"“{text.clip(arguments[-1], 32)}” is not an amount.") from None
            if amount < LOWEST_THRESHOLD:
                raise Usage(f"The lowest threshold is {text.usd(LOWEST_THRESHOLD)}.")
            if symbol == "*":
                thresholds.clear()
            thresholds[symbol] = amount
        chat = replace(chat, thresholds={**chat.thresholds, "whales": thresholds})
        return self._save(chat, f"This chat now hears of {self._hears(chat)}.")

    def mute(self, update: Update, arguments: list[str]) -> list[Reply]:
        chat = self._need_chat(update)
        if [word.lower() for word in arguments] == ["off"]:
            return self._save(replace(chat, muted_until=0.0, symbol_mutes={}), "No mute any more: alerts come again.")
        if len(arguments) not in (1, 2):
            raise Usage("I need a length of time, or a coin and a length of time.")
        try:
            seconds = text.parse_duration(arguments[-1])
        except ValueError:
            raise Usage(f"“{text.clip(arguments[-1], 32)}” is not a length of time (30m, 2h, 1d).") from None
        return self._mute(chat, self._symbol(arguments[0]) if len(arguments) == 2 else None, seconds)

    def id(self, update: Update, arguments: list[str]) -> list[Reply]:
        topic = f", topic {update.thread_id}" if update.thread_id else ""
        return [Reply(text=f"Your id is {update.user_id}; this chat is {update.chat_id}{topic}.")]

    def allow(self, update: Update, arguments: list[str]) -> list[Reply]:
        return self._decide(self._user_id(arguments), allowed=True)

    def deny(self, update: Update, arguments: list[str]) -> list[Reply]:
        return self._decide(self._user_id(arguments), allowed=False)

    def users(self, update: Update, arguments: list[str]) -> list[Reply]:
        lines = [
            f"{user.user_id} {user.name} ({role.value})".replace("  ", " ") for role, user in self._access.users()
        ]
        return [Reply(text="\n".join(lines) or "Nobody yet. /allow ID lets someone in.")]

    # Buttons

    def _press(self, update: Update) -> list[Reply]:
        verb, _, rest = update.text.partition(":")
        if verb in ("allow", "deny") and self._is_owner(update):
            try:
                said = self._decide(self._user_id([rest]), allowed=verb == "allow")
            except Usage as problem:
                return [Reply(text=str(problem), toast=True)]
            return [replace(said[0], toast=True), *said]
        if verb == "mute":
            symbol, _, length = rest.partition(":")
            chat = self._store.chat(update.chat_id)
            if chat is not None and symbol in self._symbols and length in ("1h", "24h"):
                said = self._mute(chat, symbol, text.parse_duration(length))
                return [replace(said[0], toast=True)]
        return [Reply(text="This button does nothing any more.", toast=True)]

    # Helpers

    def _is_owner(self, update: Update) -> bool:
        return self._access.role(update.user_id) is Role.OWNER

    def _decide(self, user_id: int, *, allowed: bool) -> list[Reply]:
        if user_id == self._access.owner_id:
            raise Usage("That is the owner, who is always allowed.")
        user = self._store.user(user_id)
        who = f"{user.name} ({user_id})" if user is not None and user.name else str(user_id)
        if allowed:
            self._access.allow(user_id)
            replies = [Reply(text=f"{who} may use this bot now.")]
            if user is not None and user.answered_at:  # only those who wrote first can be written to
                replies.append(Reply(text="You may use this bot now. /start switches alerts on.", chat_id=user_id))
            return replies
        ended = self._access.deny(user_id)
        more = f" Alerts ended in {text.count(len(ended), 'chat')}." if ended else ""
        return [Reply(text=f"{who} may not use this bot.{more}")]

    def _user_id(self, arguments: list[str]) -> int:
        if len(arguments) != 1 or not re.fullmatch(r"[1-9]\d{0,14}", arguments[0], re.ASCII):
            raise Usage("I need one numeric user id.")
        return int(arguments[0])

    def _subscribed(self, update: Update) -> Chat | None:
        chat = self._store.chat(update.chat_id)
        return chat if chat is not None and chat.subscribed else None

    def _need_chat(self, update: Update) -> Chat:
        chat = self._subscribed(update)
        if chat is None:
            raise Usage("Alerts are off in this chat; switch them on first with /start.")
        return chat

    def _symbol(self, word: str) -> str:
        symbol = word.upper().removesuffix("USDT").strip("$/-") or word.upper()
        if symbol not in self._symbols:
            raise Usage(f"{text.clip(symbol, 16)} is not watched here; I watch {', '.join(self._symbols)}.")
        return symbol

    def _some_symbols(self, arguments: list[str]) -> frozenset[str]:
        words = [word for argument in arguments for word in argument.split(",") if word]
        if not words:
            raise Usage("Which coins?")
        return frozenset(self._symbol(word) for word in words)

    def _watched(self, chat: Chat) -> frozenset[str]:
        return frozenset(self._symbols) if chat.symbols is None else chat.symbols

    def _save_symbols(self, chat: Chat, symbols: frozenset[str]) -> list[Reply]:
        named = [symbol for symbol in self._symbols if symbol in symbols]
        everything = len(named) == len(self._symbols)
        said = f"Watching {', '.join(named)}." if named else "Watching nothing: no whale alerts come here. /watch all"
        return self._save(replace(chat, symbols=None if everything else frozenset(named)), said)

    def _save(self, chat: Chat, said: str) -> list[Reply]:
        self._store.put_chat(chat)
        return [Reply(text=said)]

    def _mute(self, chat: Chat, symbol: str | None, seconds: float) -> list[Reply]:
        until = self._now() + seconds
        what, ends = symbol or "All alerts", text.clock(until, now=self._now())
        if symbol is None:
            chat = replace(chat, muted_until=until)
        else:
            chat = replace(chat, symbol_mutes={**chat.symbol_mutes, symbol: until})
        return self._save(chat, f"{what} muted here until {ends}. /mute off ends it.")

    def _hears(self, chat: Chat) -> str:
        """`market orders of BTC 1.05M, ETH 640k USD or more`: what each watched coin needs to be told here."""
        watched = self._watched(chat)
        if not watched:
            return "nothing: no coin is watched (/watch all)"
        amounts = {symbol: chat.threshold("whales", symbol, self._default_min(symbol)) for symbol in self._symbols}
        if len(set(amounts.values())) == 1 and len(watched) == len(self._symbols):
            sizes = text.usd(next(iter(amounts.values())))
        else:
            sizes = ", ".join(f"{symbol} {text.usd(amounts[symbol])}" for symbol in amounts if symbol in watched)
        return f"market orders of {sizes} USD or more"

    def _chat_status(self, update: Update) -> list[str]:
        chat = self._store.chat(update.chat_id)
        if chat is None or not chat.subscribed:
            note = f" ({chat.note})" if chat is not None and chat.note else ""
            lines = [f"This chat: alerts are off{note}."]
        else:
            now = self._now()
            muted = [symbol for symbol, until in chat.symbol_mutes.items() if until > now]
            lines = [f"This chat hears of {self._hears(chat)}."]
            if chat.muted_until > now:
                lines.append(f"Muted until {text.clock(chat.muted_until, now=now)}.")
            elif muted:
                lines.append(f"Muted: {', '.join(sorted(muted))}.")
        if self._is_owner(update):
            lost = [chat for chat in self._store.chats(subscribed=False) if chat.note]
            lines += [f"Chat {chat.chat_id} {text.clip(chat.title, 32)}: {chat.note}" for chat in lost[-5:]]
        return lines


TABLE = (
    Command("start", "", "switch alerts on in this chat", "/start", Commands.start),
    Command("stop", "", "switch alerts off", "/stop", Commands.stop),
    Command("whales", "[COIN] [N]", "the latest whale orders", "/whales BTC 5", Commands.whales),
    Command("watch", "COIN...", "watch these coins too (or: all)", "/watch BTC ETH", Commands.watch),
    Command("unwatch", "COIN...", "no longer watch them", "/unwatch DOGE", Commands.unwatch),
    Command("threshold", "[COIN] AMOUNT", "from which size on", "/threshold BTC 2m", Commands.threshold),
    Command("mute", "[COIN] 2h | off", "no alerts for a while", "/mute 2h", Commands.mute),
    Command("status", "", "how the bot and its sources are", "/status", Commands.status),
    Command("ping", "[text]", "answer pong", "/ping hello", Commands.ping),
    Command("id", "", "your id and this chat's", "/id", Commands.id),
    Command("help", "", "this list", "/help", Commands.help),
    Command("users", "", "who may use the bot", "/users", Commands.users, owner_only=True),
    Command("allow", "ID", "let someone in", "/allow 123456789", Commands.allow, owner_only=True),
    Command("deny", "ID", "shut someone out", "/deny 123456789", Commands.deny, owner_only=True),
)


def menu() -> list[tuple[str, str]]:
    """Names and descriptions for Telegram's command menu (setMyCommands); the owner's own are not shown there."""
    return [(row.name, row.summary) for row in TABLE if not row.owner_only]
