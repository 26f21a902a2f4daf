"""What people can say to the bot: one table of commands; dispatch, /help and Telegram's menu come from it.

The commands are functions in the modules beside this one. The gate in `access.py` stands in front: nobody who is not
allowed reaches a command.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from alerts.publish import fits
from base.typed import Unreadable
from botapi.updates import Update
from commands import basics, coins, history, keyboard, levels, markets, prices, settings, times
from commands.context import RUN, Button, Context, Reply, UnknownCoin, Usage, run_button
from store.rows import MONITORS

Run = Callable[[Context, Update, list[str]], list[Reply]]

_COMMAND = re.compile(r"^/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?$", re.DOTALL)
AT_ONCE = 5  # commands in one message
# What people type for something that has another name here.
SYNONYMS = {
    "unmute": "mute off",
    "pause": "mute",
    "silence": "mute",
    "snooze": "mute",
    "resume": "start",
    "subscribe": "start",
    "unsubscribe": "stop",
    "alerts": "history",
    "config": "settings",
    "options": "settings",
    "add": "watch",
    "remove": "unwatch",
    "min": "threshold",
    "minimum": "threshold",
    "sound": "level",
    "tz": "timezone",
    "zone": "timezone",
    "sleep": "quiet",
    "night": "quiet",
    "limit": "cap",
    "summary": "digest",
    "report": "digest",
    "liquidations": "liq",
    "graph": "chart",
    "prices": "price",
    "movers": "top",
    "wallets": "wallet",
    "commands": "help",
    "menu": "help",
    "info": "help",
}


@dataclass(frozen=True)
class Command:
    """One command. `section`, `arguments`, `summary` and `example` are shown to people as they are.

    raw: everything after the name is one argument, spaces included. shows: it changes nothing, and a group's admins
    may open it to every member.
    """

    section: str
    name: str
    arguments: str
    summary: str
    example: str
    run: Run
    owner_only: bool = False
    raw: bool = False
    shows: bool = False


class Commands:
    """Finds the command of a message or a button, and runs it."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def run(self, update: Update) -> list[Reply]:
        """Answer a message or a button of someone who is allowed. Never raises for what people type."""
        if update.kind == "callback":
            return self._press(update)
        lines = re.split(r"\n+(?=\s*/)", update.text.strip())
        said = [reply for line in lines[:AT_ONCE] for reply in self._one(replace(update, text=line.strip()))]
        more = f"One message can hold {AT_ONCE} commands. Please send the others again."
        return [*said, Reply(text=more)] if said and len(lines) > AT_ONCE else said

    def _one(self, update: Update) -> list[Reply]:
        match = _COMMAND.match(update.text)
        if match is None:
            hint = "I only understand commands, for example /whales BTC. See them all: /help"
            return [Reply(text=hint, misread=True)] if update.private and update.text else []
        name, addressee, rest = match[1].lower(), match[2], (match[3] or "").strip()
        if addressee and addressee.lower() != self.context.username.lower():
            return []
        command = next((row for row in _known(self.context, update) if row.name == name), None)
        if command is None:
            # In a group an unknown command is probably meant for another bot.
            return [self._unknown(update, name, rest)] if update.private or addressee else []
        arguments = [rest] if command.raw and rest else rest.split()
        try:
            return command.run(self.context, update, arguments)
        except Unreadable as problem:
            if isinstance(problem, UnknownCoin) and name == "watch":
                asked = coins.wanted(self.context, update, problem)
                if asked:
                    return asked
            buttons = _buttons((words, f"{command.name} {words}") for words in problem.meant)
            sentence = f"{problem}" if str(problem)[-1:] in ".?!" else f"{problem}."
            words = sentence if buttons else f"{sentence} Example: {command.example}"
            return [Reply(text=words, keyboard=tuple((button,) for button in buttons), misread=True)]

    def _unknown(self, update: Update, name: str, rest: str) -> Reply:
        if any(row.name == name for row in TABLE):
            return Reply(text=f"Only this bot's owner can use /{name}. All commands: /help", misread=True)
        names = [row.name for row in _known(self.context, update)]
        meant = SYNONYMS.get(name) or next(iter(difflib.get_close_matches(name, names, 1, 0.7)), None)
        if meant is None:
            return Reply(text=f"Unknown command /{name}. All commands: /help", misread=True)
        whole = meant if " " in meant else f"{meant} {rest}".strip()
        buttons = _buttons([(f"/{whole}", whole)])
        words = f"Unknown command /{name}. Did you mean /{meant}? All commands: /help"
        return Reply(text=words, keyboard=(tuple(buttons),) if buttons else (), misread=True)

    def shows(self, update: Update) -> bool:
        """Is this one of the commands that only show something?"""
        match = _COMMAND.match(update.text.strip())
        named = match is not None and any(row.shows and row.name == match[1].lower() for row in TABLE)
        return update.kind == "message" and named and "\n" not in update.text

    def would_run(self, update: Update) -> bool:
        """Is this a command of this bot, or at least addressed to it?"""
        match = _COMMAND.match(update.text.strip())
        if match is None:
            return False
        if match[2]:
            return match[2].lower() == self.context.username.lower()
        return update.private or any(row.name == match[1].lower() for row in TABLE)

    def stranger(self, update: Update) -> list[Reply]:
        """Answers to a stranger: at most one to them, and one question to the owner."""
        if update.kind == "callback":
            return [Reply(text="Only people whom this bot's owner allowed can use its buttons.", toast=True)]
        if update.as_group and self.context.access.hides_denied(update.chat_id):
            words = "One of this group's admins may not use this bot, so I obey none who posts as the group."
            return [Reply(text=f"{words} Post under your own name.")] if self.would_run(update) else []
        if not update.private:
            match = _COMMAND.match(update.text.strip())
            started = match is not None and match[1].lower() == "start" and self.would_run(update)
            return basics.outsider(self.context, update) if started else []
        return basics.stranger(self.context, update)

    def claimed(self, update: Update, *, before: int | None) -> list[Reply]:
        """Someone became the owner by the link; `before`: the previous owner."""
        return basics.claimed(self.context, update, before=before)

    def joined(self, update: Update) -> list[Reply]:
        """An allowed user added the bot to a group or a channel."""
        if update.chat_kind == "channel":
            words = "I cannot work in a channel: commands there do not reach me. Add me to a group instead."
            return [Reply(text=words, chat_id=update.user_id)]
        chats = self.context.store.chats
        # A group that becomes a supergroup "adds" the bot to it, perhaps before the update that tells so.
        moving = [chat for chat in chats.all() if (chat.kind, chat.title) == ("group", update.chat_title)]
        if update.private or self.context.subscribed(update) or (update.chat_kind == "supergroup" and moving):
            return []
        return [Reply(text="Send /start here to get alerts in this group.")]

    def _press(self, update: Update) -> list[Reply]:
        verb, _, rest = update.text.partition(":")
        said: list[Reply] = []
        if verb in ("allow", "deny") and self.context.is_owner(update):
            said = basics.press(self.context, verb, rest)
        elif verb == keyboard.VERB:
            said = keyboard.press(self.context, update, rest, lambda name, words: self._typed(update, name, words))
        elif verb == RUN:
            said = self._run_button(update, rest)
        elif verb == "mute":
            said = times.press_mute(self.context, update, rest)
        return said or [Reply(text="This button has expired.", toast=True)]

    def _run_button(self, update: Update, command: str) -> list[Reply]:
        said = self.run(replace(update, kind="message", text=f"/{command}"))
        return (
            [Reply(text="", toast=True), replace(said[0], edit=said[0].attachment is None), *said[1:]] if said else []
        )

    def _typed(self, update: Update, name: str, arguments: list[str]) -> list[Reply]:
        command = next(row for row in TABLE if row.name == name)
        return command.run(self.context, update, arguments)


def _known(context: Context, update: Update) -> list[Command]:
    return [row for row in TABLE if not row.owner_only or context.is_owner(update)]


def _buttons(commands: Iterable[tuple[str, str]]) -> list[Button]:
    """Buttons that run these commands (label, command), without those too long for a button."""
    buttons = [run_button(label, command) for label, command in commands]
    return [button for button in buttons if fits(button[1])]


def _help(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    rows = _known(context, update)
    if arguments:
        wanted = arguments[0].lower().lstrip("/")
        for row in rows:
            if row.name == wanted:
                return [Reply(text="\n".join([_line(row), DETAILS[row.name], f"Example: {row.example}"]))]
        rows = [row for row in rows if row.section.lower() == wanted]
        if not rows:
            raise Usage("Give the name of a command.")
    sections = []
    for section in dict.fromkeys(row.section for row in rows):
        sections.append("\n".join([section, *(_line(row) for row in rows if row.section == section)]))
    if not arguments:
        sections.append(f"KIND: {', '.join(MONITORS)}. Details on one command: /help quiet")
    return [Reply(text="\n\n".join(sections))]


def _line(row: Command) -> str:
    return f"/{row.name} {row.arguments}".rstrip() + f" - {row.summary}"


WALLET = "/wallet add 0x0123456789abcdef0123456789abcdef01234567 whale"

# The order of /help and of Telegram's menu.
TABLE = (
    Command("Alerts", "start", "", "turn alerts on in this chat", "/start", basics.start),
    Command("Alerts", "stop", "", "turn alerts off", "/stop", basics.stop),
    Command("Alerts", "mute", "[COIN] 2h | off", "no alerts for a while", "/mute 2h", times.mute),
    Command("Alerts", "alert", "COIN PRICE [repeat] [for 7d]", "price alerts", "/alert BTC 100k", levels.alert),
    Command("Alerts", "history", "[N]", "recent alerts, sent or held back", "/history 10", history.history),
    Command("Alerts", "test", "[KIND]", "a sample alert", "/test whales", history.test),
    Command("Markets", "whales", "[COIN] [N]", "latest whale orders", "/whales BTC 5", markets.whales, shows=True),
    Command("Markets", "price", "[COIN...]", "price, range and volume", "/price BTC", prices.price, shows=True),
    Command("Markets", "top", "[24h]", "which coins moved most", "/top 1h", prices.top, shows=True),
    Command(
        "Markets",
        "chart",
        "[COIN] [24h] [light | dark]",
        "price, whale orders and net flow",
        "/chart BTC 24h",
        markets.chart,
        shows=True,
    ),
    Command("Markets", "liq", "[COIN]", "liquidations and their totals", "/liq BTC", markets.liq, shows=True),
    Command("Markets", "funding", "[COIN]", "funding rates by exchange", "/funding BTC", markets.funding, shows=True),
    Command(
        "Markets", "wallet", "add 0x… NAME | list | remove NAME", "follow Hyperliquid wallets", WALLET, markets.wallet
    ),
    Command("Settings", "settings", "", "all settings, with buttons", "/settings", keyboard.settings),
    Command("Settings", "watch", "COIN... | +COIN | all", "choose coins", "/watch BTC ETH", settings.watch),
    Command("Settings", "unwatch", "COIN... | all", "remove coins", "/unwatch DOGE", settings.unwatch),
    Command(
        "Settings",
        "threshold",
        "[KIND] [COIN] AMOUNT",
        "minimum size for alerts",
        "/threshold BTC 2m",
        settings.threshold,
    ),
    Command(
        "Settings", "level", "KIND on|loud|silent|off", "sound of alerts", "/level whales silent", settings.level
    ),
    Command("Settings", "side", "buys | sells | both", "only buys or only sells", "/side sells", settings.side),
    Command("Settings", "quiet", "22:00-07:00 | off", "hold alerts back at night", "/quiet 22:00-07:00", times.quiet),
    Command("Settings", "timezone", "CITY", "time zone of this chat", "/timezone Berlin", times.timezone),
    Command("Settings", "cap", "20 | off", "limit alerts per hour", "/cap 20", settings.cap),
    Command(
        "Settings",
        "digest",
        "09:00 | every 4h | off",
        "a summary at these times",
        "/digest 09:00 mon-fri",
        times.digests,
    ),
    Command("Groups", "here", "[KIND | COIN | all]", "alerts go to this topic", "/here liquidations", settings.here),
    Command("Groups", "members", "on | off", "may everyone look at markets?", "/members on", settings.members),
    Command("Bot", "status", "", "is everything working?", "/status", basics.status),
    Command("Bot", "ping", "[text]", "answers pong", "/ping hello", basics.ping, raw=True),
    Command("Bot", "id", "", "your user id and this chat's", "/id", basics.id_),
    Command("Bot", "help", "[COMMAND]", "this list", "/help quiet", _help),
    Command(
        "Owner",
        "coins",
        "[add | remove COIN...]",
        "this bot's coins",
        "/coins add PEPE",
        coins.coins,
        owner_only=True,
    ),
    Command("Owner", "users", "", "list allowed users", "/users", basics.users, owner_only=True),
    Command("Owner", "allow", "ID", "let someone use the bot", "/allow 123456789", basics.allow, owner_only=True),
    Command("Owner", "deny", "ID", "remove someone", "/deny 123456789", basics.deny, owner_only=True),
    Command("Owner", "logs", "[N]", "the last lines of the log as a file", "/logs 500", basics.logs, owner_only=True),
)

# What /help COMMAND adds to the command's line.
DETAILS = {
    "start": "Alerts go to this chat; in a group with topics, to this topic. Your settings are kept. Undo with /stop",
    "stop": "Alerts end here, your settings are kept. /start turns them on again.",
    "mute": "Muted alerts are not sent; /history lists them. Without a coin it mutes everything. Undo with /mute off",
    "alert": "BTC 100k, BTC above 2m, BTC -5% from now; then repeat, for 7d, a note. /alert lists and removes them.",
    "history": "Alerts of the last 30 days in this chat, newest first.",
    "test": "Looks and sounds like a real alert with your present settings.",
    "price": "Without a coin: all that this chat follows. The volume is that of the exchange the bot reads.",
    "top": "The coins of this bot by how far their price moved, from 1h to 7d.",
    "whales": "Market orders above the alert size that the bot has seen.",
    "chart": "From 1h to 30d. Bubbles are whale orders; the bars below are what takers bought minus what they sold. "
    "/chart light or /chart dark also sets the colours of later charts here.",
    "liq": "Totals of 5 minutes and 24 hours on the exchanges named in the answer, and the largest recent ones.",
    "funding": "Rates are shown for 8 hours and a year. Positive: longs pay shorts.",
    "wallet": "Alerts when a wallet opens, closes, flips or changes a position by 25 %, or nears liquidation.",
    "settings": "Every button does what the command of the same name does.",
    "watch": "From all coins: only these. Later it adds to your choice; /watch +SOL always adds.",
    "unwatch": "You get no more alerts for these coins. Undo with /watch",
    "threshold": "Amounts are in USD: 500k, 2m. Without KIND it means whales. Back to the default: /threshold auto",
    "level": "on: silent up to twice your minimum, with sound above it. loud: always with sound. silent: never.",
    "side": "For liquidations: longs or shorts. Undo with /side both",
    "quiet": "Alerts are held back and arrive as one summary at the end. Set /timezone too. Undo with /quiet off",
    "timezone": "A city, a country with one zone, or UTC+2. Times in alerts, quiet hours and digests follow it.",
    "cap": "Alert messages per clock hour; the rest arrives after it or in the next digest. Undo with /cap off",
    "digest": "Times with days (09:00 18:00 mon-fri), every 4h, or cron 30 8 * * 1-5. Get one now: /digest now",
    "here": "In a group with topics: these alerts come to the topic where you send this. /here all: all of them do.",
    "members": "on: everyone in this group may use the commands that show markets. Undo with /members off",
    "status": "Polling, conflicts, sources and waiting messages, and what this chat gets.",
    "ping": "Shows that the bot reads your messages. Nothing is changed.",
    "id": "The owner needs your user id to allow you.",
    "help": "With the name of a command: what it does and how to undo it.",
    "coins": "Added to SYMBOLS at once, for every chat. Undo with /coins remove PEPE",
    "users": "Shows the owner and everyone allowed or denied, with their user ids.",
    "allow": "They can then use every command that is not the owner's. Undo with /deny ID",
    "deny": "Their chats and the groups they started get no more alerts. Undo with /allow ID",
    "logs": "The file is sent to your private chat only, because it names chats and people.",
}


def menu() -> list[tuple[str, str]]:
    """Names and descriptions for Telegram's command menu (Bot API setMyCommands), without the owner's commands."""
    return [(row.name, row.summary) for row in TABLE if not row.owner_only]
