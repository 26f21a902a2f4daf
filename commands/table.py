"""What people can say to the bot: one table of commands. /help and Telegram's menu come from it, too.

The commands are functions in the modules beside this one; dispatch.py finds the one that is meant.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from base import text
from botapi.updates import Update
from commands import (
    basics,
    coins,
    export,
    history,
    keyboard,
    levels,
    markets,
    out,
    prices,
    schedules,
    settings,
    thresholds,
    times,
)
from commands.context import Context, Reply, Run, Usage
from store.rows import MONITORS

# What people type for something that has another name here.
_ALSO = {
    "mute": "pause silence snooze",
    "mute off": "unmute",
    "start": "resume subscribe on enable",
    "stop": "unsubscribe off disable exit",
    "alert": "alerts remind notify",
    "price": "prices quote",
    "whales": "whale orders trades",
    "top": "movers gainers losers",
    "chart": "graph",
    "liq": "liquidations",
    "funding": "rates fundingrate fundingrates",
    "oi": "openinterest open_interest interest",
    "wallet": "wallets",
    "wallet add": "track",
    "settings": "config options setup preferences prefs",
    "watch": "add follow watchlist symbols",
    "unwatch": "remove unfollow delete del",
    "threshold": "min minimum size amount",
    "level all": "sound notifications",
    "timezone": "tz zone time",
    "quiet": "sleep night dnd",
    "cap": "limit",
    "here": "topic",
    "digest": "summary report",
    "digest daily": "daily",
    "digest hourly": "hourly",
    "schedule": "schedules cron",
    "schedule every": "every",
    "history": "hist",
    "export": "csv download",
    "status": "health stat stats state",
    "id": "whoami myid me",
    "help": "commands cmds menu info about version",
}
SYNONYMS = {word: name for name, words in _ALSO.items() for word in words.split()}


def meant_by(name: str, names: list[str]) -> str:
    """The command that `name` is another word for, or one that is typed almost so; "" for any other.

    names: the commands that may be used.
    """
    if name in SYNONYMS:
        return SYNONYMS[name]
    close = [word for word in (*names, *SYNONYMS) if _one_edit(name, word)]
    near = min(close, key=lambda word: sorted(word) != sorted(name), default="")  # swapped letters before all
    near = near or next(iter(difflib.get_close_matches(name, [*names, *SYNONYMS], 1, 0.8)), "")
    return SYNONYMS.get(near, near)


def _one_edit(one: str, other: str) -> bool:
    """Is it one letter more, less or another, or two that changed places?"""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    start = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    first, second = one[start:], other[start:]
    swapped = first[:2] == second[1::-1] and first[2:] == second[2:]
    return first[1:] == second[1:] or first == second[1:] or first[1:] == second or (len(second) > 1 and swapped)


@dataclass(frozen=True)
class Command:
    """One command. `section`, `arguments`, `summary` and `sample` are shown to people as they are.

    raw: everything after the name is one argument, spaces included. shows: it changes nothing, and a group's admins
    may open it to every member.
    """

    section: str
    name: str
    arguments: str
    summary: str
    sample: str
    run: Run
    owner_only: bool = False
    raw: bool = False
    shows: bool = False

    @property
    def example(self) -> str:
        """The command with its sample arguments."""
        return f"/{self.name} {self.sample}".rstrip()

    @property
    def of_chat(self) -> bool:
        """Is it about a chat: may it name a channel first?"""
        return self.section in ("Alerts", "Settings") or self.name == "wallet"


def known(context: Context, update: Update) -> list[Command]:
    """The commands that whoever sent this update may use."""
    owner = context.is_owner(update)
    return [row for row in TABLE if owner or not row.owner_only]


def _help(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    rows = known(context, update)
    if arguments:
        wanted = arguments[0].lower().lstrip("/")
        for row in rows:
            if row.name == wanted:
                return [Reply(text="\n".join([_line(row), DETAILS[row.name], f"Example: {row.example}"]))]
        chosen = [row for row in rows if row.section.lower() == wanted]
        if not chosen:
            near = meant_by(wanted, [row.name for row in rows]).split()[:1]
            raise Usage(f"There is no command “{text.clip(wanted, 32)}”.", meant=near)
        rows = chosen
    sections = []
    for section in dict.fromkeys(row.section for row in rows):
        sections.append("\n".join([section, *(_line(row) for row in rows if row.section == section)]))
    if not arguments:
        sections.append(f"KIND: {', '.join(MONITORS)}. Details on one command: /help quiet")
    return [Reply(text="\n\n".join(sections))]


def _line(row: Command) -> str:
    return f"/{row.name} {row.arguments}".rstrip() + f" - {row.summary}"


ALSO_SCHEDULED = ("digest", "history", "status")  # beside those that show markets


def schedulable() -> schedules.Shown:
    """The commands that /schedule takes, by their names and by what people type instead."""
    may = {row.name: (row.name, row.run) for row in TABLE if row.shows or row.name in ALSO_SCHEDULED}
    return may | {word: may[name] for word, name in SYNONYMS.items() if name in may}


def _schedule(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    return schedules.schedule(context, update, arguments, schedulable())


def _settings(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """The page of buttons, or the settings for another chat; `arguments` has at most one text of several lines."""
    word, *rest = arguments[0].split(None, 1) if arguments else [""]
    if word.lower() == "import":
        may = {row.name: row.run for row in TABLE if row.name in export.MAY}
        return export.import_settings(context, update, "".join(rest), may)
    if word.lower() == "export":
        return export.export_settings(context, update)
    return keyboard.settings(context, update, arguments)


WALLET = "add 0x0123456789abcdef0123456789abcdef01234567 whale"

# The order of /help and of Telegram's menu.
TABLE = (
    Command("Alerts", "start", "", "turn alerts on in this chat", "", basics.start),
    Command("Alerts", "stop", "", "turn alerts off", "", basics.stop),
    Command("Alerts", "mute", "[COIN] 2h | off", "no alerts for a while", "2h", times.mute),
    Command("Alerts", "alert", "COIN PRICE | 5% in 1h | volume x3", "price alerts", "BTC 100k", levels.alert),
    Command("Alerts", "history", "[N]", "recent alerts, sent or held back", "10", history.history),
    Command("Alerts", "export", "[alerts | candles] [7d] [COIN]", "a CSV file", "alerts 7d", export.export),
    Command("Alerts", "test", "[KIND]", "a sample alert", "whales", history.test),
    Command("Markets", "whales", "[COIN] [N]", "latest whale orders", "BTC 5", markets.whales, shows=True),
    Command("Markets", "price", "[COIN...]", "price, range, spread", "BTC", prices.price, shows=True),
    Command("Markets", "top", "[24h]", "which coins moved most", "1h", prices.top, shows=True),
    Command(
        "Markets",
        "chart",
        "[COIN] [24h] [light | dark]",
        "price, whale orders and net flow",
        "BTC 24h",
        markets.chart,
        shows=True,
    ),
    Command("Markets", "liq", "[COIN]", "liquidations and their totals", "BTC", markets.liq, shows=True),
    Command("Markets", "funding", "[COIN]", "funding rates by exchange", "BTC", markets.funding, shows=True),
    Command("Markets", "oi", "[COIN]", "open interest", "BTC", markets.interest, shows=True),
    Command(
        "Markets", "wallet", "add 0x… NAME | list | remove NAME", "follow Hyperliquid wallets", WALLET, markets.wallet
    ),
    Command("Settings", "settings", "[@CHANNEL] [export]", "all settings, with buttons", "", _settings, raw=True),
    Command("Settings", "watch", "COIN... | +COIN | all", "choose coins", "BTC ETH", settings.watch),
    Command("Settings", "unwatch", "COIN... | all", "remove coins", "DOGE", settings.unwatch),
    Command(
        "Settings", "threshold", "[KIND] [COIN] AMOUNT", "minimum size for alerts", "BTC 2m", thresholds.threshold
    ),
    Command("Settings", "level", "KIND on|loud|silent|off", "sound of alerts", "whales silent", settings.level),
    Command("Settings", "side", "buys | sells | both", "only buys or only sells", "sells", settings.side),
    Command("Settings", "quiet", "22:00-07:00 | off", "hold alerts back at night", "22:00-07:00", times.quiet),
    Command("Settings", "timezone", "CITY", "time zone of this chat", "Berlin", times.timezone),
    Command("Settings", "cap", "20 | off", "limit alerts per hour", "20", settings.cap),
    Command(
        "Settings", "digest", "09:00 | every 4h | off", "a summary at these times", "09:00 mon-fri", schedules.digest
    ),
    Command(
        "Settings",
        "schedule",
        "WHEN COMMAND | pause N | remove N",
        "an answer at these times",
        "09:00 chart BTC",
        _schedule,
    ),
    Command("Groups", "here", "[KIND | COIN | all]", "alerts go to this topic", "liquidations", settings.here),
    Command("Groups", "members", "on | off", "may everyone look at markets?", "on", settings.members),
    Command("Bot", "status", "", "is everything working?", "", basics.status),
    Command("Bot", "ping", "[text]", "answers pong", "hello", basics.ping, raw=True),
    Command("Bot", "id", "", "your user id and this chat's", "", basics.id_),
    Command("Bot", "help", "[COMMAND]", "this list", "quiet", _help),
    Command("Owner", "coins", "[add | remove COIN...]", "this bot's coins", "add PEPE", coins.coins, owner_only=True),
    Command("Owner", "users", "", "list allowed users", "", basics.users, owner_only=True),
    Command("Owner", "allow", "ID", "let someone use the bot", "123456789", basics.allow, owner_only=True),
    Command("Owner", "deny", "ID", "remove someone", "123456789", basics.deny, owner_only=True),
    Command(
        "Owner",
        "out",
        "[add ADDRESS | remove N | test N]",
        "alerts to a webhook, Discord, e-mail ...",
        "add https://example.com/hook",
        out.out,
        owner_only=True,
    ),
    Command("Owner", "logs", "[N]", "the last lines of the log as a file", "500", basics.logs, owner_only=True),
)

# What /help COMMAND adds to the command's line.
DETAILS = {
    "start": "Alerts go to this chat; in a group with topics, to this topic. Your settings are kept. Undo with /stop",
    "stop": "Alerts end here, your settings are kept. /start turns them on again.",
    "mute": "Muted alerts are not sent; /history lists them. Without a coin it mutes everything. Undo with /mute off",
    "alert": "BTC 100k, BTC above 2m, BTC -5% from now; then repeat or repeat every 1h, for 7d or until 31 Dec 9am, "
    "a note. Moves: BTC 5% in 1h, BTC drops 5% 15m; each is told once. BTC volume x3: three times what is usual "
    "at this hour. all 5% in 1h: each coin that you follow now. /alert lists, snoozes and removes them.",
    "history": "Alerts of the last 30 days in this chat, newest first.",
    "test": "Looks and sounds like a real alert with your present settings.",
    "price": "Without a coin: all that this chat follows. Volume and spread are those of the exchange the bot reads.",
    "top": "The coins of this bot by how far their price moved, from 1h to 7d.",
    "whales": "Market orders above the alert size that the bot has seen.",
    "chart": "From 1h to 30d. Bubbles are whale orders; the bars below are what takers bought minus what they sold. "
    "/chart light or /chart dark also sets the colours of later charts here.",
    "liq": "Totals of 5 minutes and 24 hours on the exchanges named in the answer, and the largest recent ones.",
    "funding": "Rates are shown for 8 hours and a year. Positive: longs pay shorts. Alerts: /threshold funding 0.03",
    "oi": "Open positions on OKX and Hyperliquid, in USD. Alerts: 10 % in an hour; your own: /threshold oi 5",
    "wallet": "Alerts when a wallet opens, closes, flips or changes a position by 25 %, or nears liquidation.",
    "settings": "Every button does what the command of the same name does. For another chat: /settings export. Your "
    "channels have buttons here, and most commands take a channel first: /watch @channel BTC",
    "export": "For spreadsheets, 1h to 30d. The settings are a text for another chat. The owner can /export all.",
    "watch": "From all coins: only these. Later it adds to your choice; /watch +SOL always adds.",
    "unwatch": "You get no more alerts for these coins. Undo with /watch",
    "threshold": "Amounts are in USD: 500k, 2m. In percent: funding 0.03 (for 8 h), oi 5 (in 1 h). Without KIND it "
    "means whales. Back to the default: /threshold auto",
    "level": "on: silent up to twice your minimum, with sound above it. loud: always with sound. silent: never.",
    "side": "For liquidations: longs or shorts. Undo with /side both",
    "quiet": "Alerts are held back and arrive as one summary at the end. Set /timezone too. Undo with /quiet off",
    "timezone": "A city, a country with one zone, or UTC+2. Times in alerts, quiet hours and digests follow it.",
    "cap": "Alert messages per clock hour; the rest arrives after it or in the next digest. Undo with /cap off",
    "digest": "Times with days (09:00 18:00 mon-fri), every 4h, or cron 30 8 * * 1-5. Get one now: /digest now",
    "schedule": "Times as for /digest, up to 20 in a chat, answered in this topic; in quiet hours without a sound. "
    "It takes commands that show something, and digest, history, status. /schedule lists them with buttons.",
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
    "out": "A webhook gets JSON with a signature (a secret of your own: /out add URL SECRET); discord://, ntfy://, "
    "mailto:// and others go through the package apprise. All of them: github.com/caronc/apprise",
    "logs": "The file is sent to your private chat only, because it names chats and people.",
}


def menu() -> list[tuple[str, str]]:
    """Names and descriptions for Telegram's command menu (Bot API setMyCommands), without the owner's commands."""
    return [(row.name, row.summary) for row in TABLE if not row.owner_only]
