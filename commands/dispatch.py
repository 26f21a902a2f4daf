"""From what someone typed or pressed to the command that is meant. The table of commands is table.py.

The gate in `access.py` stands in front: nobody who is not allowed reaches a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from access import Role
from alerts.publish import fits
from base import typed
from base.typed import Unreadable
from botapi.updates import Update
from commands import basics, channels, coins, copies, keyboard, levels, targets, times
from commands.context import RUN, Button, Context, Reply, UnknownCoin, as_symbol, run_button
from commands.examples import nearest
from commands.quota import Told
from commands.table import SYNONYMS, TABLE, known, meant_by

_COMMAND = re.compile(r"^[/／]([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:(?:\s+|[:=,.;!?]+\s*)(.*))?$", re.DOTALL)
_OFFERED = re.compile("(?:(?<!add it)[:?]|Send) /[a-z]")  # what to send instead
_NAMES = "|".join([*(row.name for row in TABLE), *SYNONYMS])
_NEXT = re.compile(rf"(?<=[\s,;.])(?=/(?:{_NAMES})(?:@\w+)?(?:\s|$))", re.IGNORECASE)
# What follows these is kept as it is typed: a note, a name, or another command.
AS_TYPED = ("alert", "wallet", "out")
TAKES_COMMANDS = ("schedule", "help", "alert")
HELP = ("help", "?", "-h", "--help")  # after a command's name
AT_ONCE = 5  # commands in one message
# May stand before a command. After other words it is talked about: `what does /stop do`.
_GREETINGS = ("hi", "hey", "hello", "ok", "okay", "and", "then", "now", "so", "please", "pls", "plz", "bot", "thanks")


class Commands:
    """Finds the command of a message or a button, and runs it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._told = Told()

    def run(self, update: Update) -> list[Reply]:
        """Answer a message or a button of someone who is allowed. Never raises for what people type."""
        if update.kind == "callback":
            return self._press(update)
        lines = _apart(update)
        said = [reply for line in lines[:AT_ONCE] for reply in self._one(replace(update, text=line))]
        more = f"One message can hold {AT_ONCE} commands. Please send the others again."
        return [*said, Reply(text=more)] if said and len(lines) > AT_ONCE else said

    def _one(self, update: Update) -> list[Reply]:
        match = _COMMAND.match(update.text)
        if match is None:
            return [self._no_command(update)] if update.private and update.text else []
        name, addressee, rest = match[1].lower(), match[2], (match[3] or "").strip()
        if addressee and addressee.lower() != self.context.username.lower():
            return []
        command = next((row for row in known(self.context, update) if row.name == name), None)
        if command is None:
            # In a group an unknown command is probably meant for another bot.
            return [self._unknown(update, name, rest)] if update.private or addressee else []
        if rest.lower() in HELP and command.name not in ("ping", "help"):
            return self._typed(update, "help", [command.name])
        channel = None
        try:
            if command.of_chat:
                channel, rest = targets.named_first(self.context, update, rest)
            elif command.shows and (said_of := targets.of_no_chat(self.context, update, command.name, rest)):
                return [Reply(text=said_of, misread=True)]
            words = typed.usual(rest)
            words = words if command.name in AS_TYPED else typed.tidy(words)
            arguments = [rest] if command.raw and rest else words.split()
            if channel is not None:
                said = command.run(self.context, targets.aim(update, channel), arguments)
                return channels.aimed(said, channel)
            return command.run(self.context, update, arguments)
        except Unreadable as problem:
            if isinstance(problem, UnknownCoin) and problem.near:
                problem.meant = (rest.replace(problem.typed, problem.near),)
            elif isinstance(problem, UnknownCoin) and name == "watch":
                asked = coins.wanted(self.context, update, problem)
                if asked:
                    return asked
            buttons = _buttons((words, f"{command.name} {words}") for words in problem.meant)
            sentence = f"{problem}" if str(problem)[-1:] in ".?!" else f"{problem}."
            example = nearest(command.name, rest, command.example)
            helped = buttons or example in sentence or _OFFERED.search(sentence)
            words = sentence if helped else f"{sentence} Example: {example}"
            said = [Reply(text=words, keyboard=tuple((button,) for button in buttons), misread=True)]
            return said if channel is None else channels.aimed(said, channel)

    def _no_command(self, update: Update) -> Reply:
        """A hint, and a button where only the slash, or `/price`, is missing."""
        first, *rest = typed.tidy(update.text.lower()).split() or [""]
        names = [row.name for row in known(self.context, update)]
        name = first if first in names else SYNONYMS.get(first, "")
        whole = " ".join([name, *rest]) if name and "\n" not in update.text else ""
        coins = [as_symbol(word, self.context.symbols) for word in (first, *rest)]
        if not whole and all(coin in self.context.symbols for coin in coins):
            whole = f"price {' '.join(coins)}"
        buttons = _buttons([(f"/{whole}", whole)]) if whole else []
        hint = "I only understand commands, for example /whales BTC. See them all: /help"
        hint = f"Commands begin with a slash: /{whole}" if buttons else hint
        if (place := _NEXT.search(f" {update.text}")) is not None:
            named = update.text[place.end() - 1 :].split()[0]
            hint = f"A command runs when nothing is in front of it: {named}. See them all: /help"
        return Reply(text=hint, keyboard=(tuple(buttons),) if buttons else (), misread=True)

    def _unknown(self, update: Update, name: str, rest: str) -> Reply:
        if any(row.name == name for row in TABLE):
            return Reply(text=f"Only this bot's owner can use /{name}. All commands: /help", misread=True)
        names = [row.name for row in known(self.context, update)]
        meant = self._glued(name, names) or meant_by(name, names)
        if not meant:
            return Reply(text=f"Unknown command /{name}. All commands: /help", misread=True)
        whole = f"{meant} {rest}".strip()
        buttons = _buttons([(f"/{whole}", whole)])
        words = f"Unknown command /{name}. Did you mean /{meant}? All commands: /help"
        return Reply(text=words, keyboard=(tuple(buttons),) if buttons else (), misread=True)

    def _glued(self, name: str, names: list[str]) -> str:
        """`mute 2h` for `/mute2h`, `price BTC` for `/price_btc` and `/btc`; "" for any other."""
        if as_symbol(name, self.context.symbols) in self.context.symbols:
            return f"price {as_symbol(name, self.context.symbols)}"
        for command in sorted(names, key=len, reverse=True):
            after = name.removeprefix(command).strip("_")
            symbol = as_symbol(after, self.context.symbols)
            if after != name and after and (after[0].isdecimal() or symbol in self.context.symbols):
                return f"{command} {after if after[0].isdecimal() else symbol}"
        return ""

    def shows(self, update: Update) -> bool:
        """Is this one of the commands that only show something?"""
        match = _COMMAND.match(update.text.strip())
        named = match is not None and any(row.shows and row.name == match[1].lower() for row in TABLE)
        return update.kind == "message" and named and "\n" not in update.text and len(_apart(update)) == 1

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
            admins = "this group's admins and " if update.chat_kind in ("group", "supergroup") else ""
            words = f"Only {admins}people whom this bot's owner allowed can use these buttons."
            return [Reply(text=words, toast=True)]
        if update.as_group and self.context.access.hides_denied(update.chat_id):
            words = "One of this group's admins may not use this bot, so nobody who posts as the group can use me."
            return [Reply(text=f"{words} Post under your own name.")] if self.would_run(update) else []
        if update.private:
            return basics.stranger(self.context, update)
        match = _COMMAND.match(update.text.strip())
        if match is None or not self.would_run(update):
            return []
        if match[1].lower() == "start" and not self.context.subscribed(update):
            return basics.outsider(self.context, update)
        return self._member(update, match[1].lower(), addressed=bool(match[2]))

    def _member(self, update: Update, name: str, *, addressed: bool) -> list[Reply]:
        """One answer an hour to a member of a group with alerts who may not use this command."""
        chat, row = self.context.subscribed(update), next((row for row in TABLE if row.name == name), None)
        if chat is None or row is None or row.owner_only or self.context.access.role(update.user_id) is Role.DENIED:
            return []
        if not addressed and (row.section == "Bot" or name in ("start", "stop")):
            return []  # other bots have commands of these names
        if update.user_id <= 0 or not self._told.may_be(update.user_id, update.chat_id, at=self.context.now()):
            return []
        words = f"Only this group's admins and people whom this bot's owner allowed can use /{name}."
        if chat.members:
            words += " Everyone can use the commands that show markets, like /price BTC"
        elif row.shows:
            words += " An admin can let everyone look at markets: /members on"
        return [Reply(text=words)]

    def joined(self, update: Update) -> list[Reply]:
        """An allowed user added the bot to a group or a channel."""
        if update.chat_kind == "channel":
            return channels.joined(self.context, update)
        # A group that becomes a supergroup "adds" the bot to it, perhaps before the update that says so.
        moving = update.chat_kind == "supergroup" and self.context.store.chats.has_group(update.chat_title)
        if update.private or self.context.subscribed(update) or moving:
            return []
        return [Reply(text="Send /start here to get alerts in this group.")]

    def _press(self, update: Update) -> list[Reply]:
        verb, _, rest = update.text.partition(":")
        said: list[Reply] = []
        if verb in ("allow", "deny") and self.context.is_owner(update):
            said = basics.press(self.context, verb, rest)
        elif verb == copies.VERB and self.context.is_owner(update):
            said = copies.press(self.context, rest)
        elif verb == keyboard.VERB:
            said = self._press_settings(update, rest)
        elif verb == channels.VERB:
            said = channels.press(self.context, update, rest)
        elif verb == RUN:
            said = self._run_button(update, rest)
        elif verb == "mute":
            said = times.press_mute(self.context, update, rest)
        elif verb == "snooze":
            said = levels.press_snooze(self.context, update, rest)
        return said or [Reply(text="This button has expired.", toast=True)]

    def _press_settings(self, update: Update, rest: str) -> list[Reply]:
        channel, rest = targets.button(self.context, update, rest)
        at = update if channel is None else targets.aim(update, channel)
        said = keyboard.press(self.context, at, rest, lambda name, words: self._typed(at, name, words))
        return said if channel is None else channels.aimed(said, channel)

    def _run_button(self, update: Update, command: str) -> list[Reply]:
        said = self.run(replace(update, kind="message", text=f"/{command}"))
        return (
            [Reply(text="", toast=True), replace(said[0], edit=said[0].attachment is None), *said[1:]] if said else []
        )

    def _typed(self, update: Update, name: str, arguments: list[str]) -> list[Reply]:
        command = next(row for row in TABLE if row.name == name)
        return command.run(self.context, update, arguments)


def _apart(update: Update) -> list[str]:
    """The commands of a message: each on its own line, or one after the other."""
    lines, found = list[str](), list[str]()
    for line in update.text.strip().split("\n"):
        if lines and not line.lstrip().startswith(("/", "／")):
            lines[-1] += f"\n{line}"
        else:
            lines.append(line.lstrip())
    for line in map(str.rstrip, lines):
        first = _COMMAND.match(line)
        keeps = first is not None and (first[1].lower() in TAKES_COMMANDS or _is_raw(first[1].lower()))
        parts = [line] if keeps or not (first or update.private) else _NEXT.split(f" {line}" if not first else line)
        greeted = set(re.findall(r"[\w/]+", parts[0].lower())) <= set(_GREETINGS)
        if first is None and not greeted:
            parts = [line]
        parts = [*map(_ended, parts[:-1]), parts[-1].strip()]
        found += parts if first or len(parts) == 1 else parts[1:]
    return found


def _ended(part: str) -> str:
    """One of several commands without what links it to the next: `/mute 2h, and`."""
    words = part.split()
    linked = len(words) > 1 and words[-1].lower() in ("and", "then")
    return part.strip().removesuffix(words[-1]).rstrip() if linked else part.strip()


def _is_raw(name: str) -> bool:
    return any(row.raw and row.name == name for row in TABLE)


def _buttons(commands: Iterable[tuple[str, str]]) -> list[Button]:
    """Buttons that run these commands (label, command), without those too long for a button."""
    buttons = [run_button(label, command) for label, command in commands]
    return [button for button in buttons if fits(button[1])]
