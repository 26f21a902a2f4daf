"""What people can say to the bot: one table of commands; dispatch, /help and Telegram's menu come from it.

The commands themselves are functions in the `command_*` modules; what they work with is in desk.py. None is ever
reached by one who may not: the gate is in front (`access.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import command_basics
import command_digest
import command_markets
import command_people
import command_settings
from access import Update
from desk import Desk, Reply, Usage

__all__ = ["TABLE", "Command", "Commands", "Desk", "Reply", "Usage", "menu"]

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
    run: Callable[[Desk, Update, list[str]], list[Reply]]
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
        return command_people.stranger(self.desk, update)

    def claimed(self, update: Update, *, before: int | None) -> list[Reply]:
        """Someone became the owner by the link; `before` was it until now."""
        return command_people.claimed(self.desk, update, before=before)

    def joined(self, update: Update) -> list[Reply]:
        """Someone who may use the bot added it to a group."""
        return [] if update.private else [Reply(text="Send /start here and whale alerts come to this group.")]

    def _press(self, update: Update) -> list[Reply]:
        verb, _, rest = update.text.partition(":")
        said: list[Reply] = []
        if verb in ("allow", "deny") and self.desk.is_owner(update):
            said = command_people.press(self.desk, verb, rest)
        elif verb == "mute":
            said = command_settings.press_mute(self.desk, update, rest)
        return said or [Reply(text="This button does nothing any more.", toast=True)]


def _help(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    rows = [row for row in TABLE if not row.owner_only or desk.is_owner(update)]
    sections = []
    for section in dict.fromkeys(row.section for row in rows):
        lines = [
            f"/{row.name} {row.arguments}".rstrip() + f" - {row.summary}" for row in rows if row.section == section
        ]
        sections.append("\n".join([section, *lines]))
    return [Reply(text="\n\n".join(sections))]


TABLE = (
    Command("start", "", "switch alerts on in this chat", "/start", command_basics.start, "Alerts"),
    Command("stop", "", "switch alerts off", "/stop", command_basics.stop, "Alerts"),
    Command("whales", "[COIN] [N]", "the latest whale orders", "/whales BTC 5", command_markets.whales, "Markets"),
    Command(
        *("chart", "[COIN] [24h]", "price, whale orders and net flow", "/chart BTC 24h"),
        *(command_markets.chart, "Markets"),
    ),
    Command(
        *("digest", "09:00 | every 4h | off", "a summary at these times", "/digest 09:00 mon-fri"),
        *(command_digest.digest_, "Alerts"),
    ),
    Command(
        "watch", "COIN...", "watch these coins too (or: all)", "/watch BTC ETH", command_settings.watch, "Settings"
    ),
    Command("unwatch", "COIN...", "no longer watch them", "/unwatch DOGE", command_settings.unwatch, "Settings"),
    Command(
        *("threshold", "[COIN] AMOUNT", "from which size on", "/threshold BTC 2m"),
        *(command_settings.threshold, "Settings"),
    ),
    Command("mute", "[COIN] 2h | off", "no alerts for a while", "/mute 2h", command_settings.mute, "Settings"),
    Command("status", "", "how the bot and its sources are", "/status", command_basics.status),
    Command("ping", "[text]", "answer pong", "/ping hello", command_basics.ping, raw=True),
    Command("id", "", "your id and this chat's", "/id", command_basics.id_),
    Command("help", "", "this list", "/help", _help),
    Command("users", "", "who may use the bot", "/users", command_people.users, "Owner", owner_only=True),
    Command("allow", "ID", "let someone in", "/allow 123456789", command_people.allow, "Owner", owner_only=True),
    Command("deny", "ID", "shut someone out", "/deny 123456789", command_people.deny, "Owner", owner_only=True),
)


def menu() -> list[tuple[str, str]]:
    """Names and descriptions for Telegram's command menu (setMyCommands); the owner's own are not shown there."""
    return [(row.name, row.summary) for row in TABLE if not row.owner_only]
