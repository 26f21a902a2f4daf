"""What people can say to the bot: one table of commands; dispatch, /help and Telegram's menu come from it.

The commands themselves are functions in the `command_*` modules; what they work with is in desk.py. None is ever
reached by one who may not: the gate is in front (`access.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from botapi.updates import Update
from commands import basics, derivatives, digest, history, keyboard, markets, people, settings
from commands.context import Desk, Reply, Usage
from store.rows import MONITORS

Run = Callable[[Desk, Update, list[str]], list[Reply]]

_COMMAND = re.compile(r"^/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?$", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A row of the table. `arguments` and `example` are shown to people as they stand.

    section: the heading it stands under in /help. raw: what follows the name is one argument, blanks and all.
    """

    name: str
    arguments: str
    summary: str
    example: str
    run: Run
    section: str = "Bot"
    owner_only: bool = False
    raw: bool = False


class Commands:
    """Finds what a message or a button asks for, and runs it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def run(self, update: Update) -> list[Reply]:
        """Answer a message or a button of someone who was admitted. Never raises for what people type."""
        if update.kind == "callback":
            return self._press(update)
        match = _COMMAND.match(update.text.strip())
        if match is None:
            hint = "I answer commands. /help lists them."
            return [Reply(text=hint)] if update.private and update.text else []
        name, addressee, rest = match[1].lower(), match[2], (match[3] or "").strip()
        if addressee and addressee.lower() != self.desk.username.lower():
            return []
        command = next((row for row in TABLE if row.name == name), None)
        if command is None or (command.owner_only and not self.desk.is_owner(update)):
            # In a group an unknown command is probably meant for another bot.
            unknown = f"I do not know /{name}. /help lists what I do, for example /whales BTC."
            return [Reply(text=unknown)] if update.private or addressee else []
        arguments = [rest] if command.raw and rest else rest.split()
        try:
            return command.run(self.desk, update, arguments)
        except Usage as problem:
            return [Reply(text=f"{problem} Example: {command.example}")]

    def would_run(self, update: Update) -> bool:
        """Is this a command of ours, or at least one that is meant for this bot?"""
        match = _COMMAND.match(update.text.strip())
        if match is None:
            return False
        if match[2]:
            return match[2].lower() == self.desk.username.lower()
        return update.private or any(row.name == match[1].lower() for row in TABLE)

    def stranger(self, update: Update) -> list[Reply]:
        """The answers to one who is not admitted: at most one to them and one question to the owner."""
        return people.stranger(self.desk, update)

    def claimed(self, update: Update, *, before: int | None) -> list[Reply]:
        """Someone became the owner by the link; `before` was it until now."""
        return people.claimed(self.desk, update, before=before)

    def joined(self, update: Update) -> list[Reply]:
        """Someone who may use the bot added it to a group."""
        return [] if update.private else [Reply(text="Send /start here and whale alerts come to this group.")]

    def _press(self, update: Update) -> list[Reply]:
        verb, _, rest = update.text.partition(":")
        said: list[Reply] = []
        if verb in ("allow", "deny") and self.desk.is_owner(update):
            said = people.press(self.desk, verb, rest)
        elif verb == keyboard.VERB:
            said = keyboard.press(self.desk, update, rest, lambda name, words: self._typed(update, name, words))
        elif verb == "mute":
            said = settings.press_mute(self.desk, update, rest)
        return said or [Reply(text="This button does nothing any more.", toast=True)]

    def _typed(self, update: Update, name: str, arguments: list[str]) -> list[Reply]:
        command = next(row for row in TABLE if row.name == name)
        return command.run(self.desk, update, arguments)


def _help(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    rows = [row for row in TABLE if not row.owner_only or desk.is_owner(update)]
    if arguments:
        wanted = arguments[0].lower().lstrip("/")
        for row in rows:
            if row.name == wanted:
                return [Reply(text=f"{_line(row)}, for example {row.example}")]
        rows = [row for row in rows if row.section.lower() == wanted]
        if not rows:
            raise Usage("I need the name of a command, or of a section of /help.")
    sections = []
    for section in dict.fromkeys(row.section for row in rows):
        sections.append("\n".join([section, *(_line(row) for row in rows if row.section == section)]))
    if not arguments:
        sections.append(f"KIND is one of {', '.join(MONITORS)}. More of one command: /help quiet")
    return [Reply(text="\n\n".join(sections))]


def _line(row: Command) -> str:
    return f"/{row.name} {row.arguments}".rstrip() + f" - {row.summary}"


def _row(section: str, name: str, arguments: str, summary: str, example: str, run: Run, **more: bool) -> Command:
    return Command(name, arguments, summary, example, run, section, **more)


# The order is the one of /help and of the menu. One row a line or two, so that two additions do not meet.
TABLE = (
    _row("Alerts", "start", "", "switch alerts on in this chat", "/start", basics.start),
    _row("Alerts", "stop", "", "switch alerts off", "/stop", basics.stop),
    _row("Alerts", "mute", "[COIN] 2h | off", "no alerts for a while", "/mute 2h", settings.mute),
    _row("Alerts", "history", "[N]", "what came here, and what was held", "/history 10", history.history),
    _row("Alerts", "test", "[KIND]", "how an alert would look here", "/test whales", history.test),
    _row("Markets", "whales", "[COIN] [N]", "the latest whale orders", "/whales BTC 5", markets.whales),
    _row("Markets", "chart", "[COIN] [24h]", "price, whale orders and net flow", "/chart BTC 24h", markets.chart),
    _row("Markets", "liq", "[COIN]", "liquidations and their sums", "/liq BTC", derivatives.liq),
    _row("Markets", "funding", "[COIN]", "funding by venue, the extremes", "/funding BTC", derivatives.funding),
    _row(
        *("Markets", "wallet", "add 0x… NAME | list | remove NAME", "watch Hyperliquid wallets"),
        *("/wallet add 0x0123456789abcdef0123456789abcdef01234567 whale", derivatives.wallet),
    ),
    _row("Settings", "settings", "", "all settings, with buttons", "/settings", keyboard.settings),
    _row("Settings", "watch", "COIN...", "watch these coins too (or: all)", "/watch BTC ETH", settings.watch),
    _row("Settings", "unwatch", "COIN...", "no longer watch them", "/unwatch DOGE", settings.unwatch),
    _row(
        *("Settings", "threshold", "[KIND] [COIN] AMOUNT", "from which size on", "/threshold BTC 2m"),
        settings.threshold,
    ),
    _row(
        *("Settings", "level", "KIND on|loud|silent|off", "how loud a kind of alert is", "/level whales silent"),
        settings.level,
    ),
    _row("Settings", "side", "buys | sells | both", "only one side", "/side sells", settings.side),
    _row("Settings", "quiet", "22:00-07:00 | off", "hold alerts at night", "/quiet 22:00-07:00", settings.quiet),
    _row("Settings", "timezone", "CITY", "the time zone of this chat", "/timezone Berlin", settings.timezone),
    _row("Settings", "cap", "20 | off", "the most messages an hour", "/cap 20", settings.cap),
    _row(
        *("Settings", "digest", "09:00 | every 4h | off", "a summary at these times", "/digest 09:00 mon-fri"),
        digest.digest_,
    ),
    _row("Bot", "status", "", "how the bot and its sources are", "/status", basics.status),
    _row("Bot", "ping", "[text]", "answer pong", "/ping hello", basics.ping, raw=True),
    _row("Bot", "id", "", "your id and this chat's", "/id", basics.id_),
    _row("Bot", "help", "[COMMAND]", "this list", "/help quiet", _help),
    _row("Owner", "users", "", "who may use the bot", "/users", people.users, owner_only=True),
    _row("Owner", "allow", "ID", "let someone in", "/allow 123456789", people.allow, owner_only=True),
    _row("Owner", "logs", "[N]", "the last lines of my log, as a file", "/logs 500", basics.logs, owner_only=True),
    _row("Owner", "deny", "ID", "shut someone out", "/deny 123456789", people.deny, owner_only=True),
)


def menu() -> list[tuple[str, str]]:
    """Names and descriptions for Telegram's command menu (setMyCommands); the owner's own are not shown there."""
    return [(row.name, row.summary) for row in TABLE if not row.owner_only]
