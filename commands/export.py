"""Taking it home: /export for alerts and candles as files, /settings export and import for another chat."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from alerts.export import MOST_ALERTS, MOST_CANDLES
from base import text, typed
from base.typed import Unreadable
from botapi.updates import Update
from commands import keyboard
from commands.context import Context, Reply, Run, Usage
from commands.markets import BUSY, files_wait
from commands.settings import NO_MINIMUM, SIDES, described, level_of, side_of
from store.rows import MONITORS, Chat
from venues.trades import BAR_SECONDS

WHAT = ("alerts", "candles", "settings", "all")
SHORTEST, LONGEST = 3600.0, 30 * 86400.0  # seconds; alerts and candles are kept for 30 days
PART = 3500  # characters of one message with settings
IMPORT = "/settings import"
# The commands that a text to import may have.
MAY = (*keyboard.MAY, "schedule", "wallet")


def export(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Send alerts or candles as a file, or the settings as a text."""
    what, seconds, coins = "", 7 * 86400.0, list[str]()
    for word in typed.with_units(arguments):
        if word.lower() in WHAT and (not what or (what, word.lower()) == ("alerts", "all")):
            what = word.lower()
            continue
        if word.lower() == "csv":
            continue
        try:
            seconds = typed.length(word)
        except ValueError:
            coins.append(word)
    what = what or "alerts"
    if what == "settings":
        return export_settings(context, update)
    chat, owner = context.need_chat(update), context.is_owner(update)
    if what == "all" and not owner:
        raise Usage("Only this bot's owner can export the alerts of all chats.")
    if not SHORTEST <= seconds <= LONGEST:
        raise Usage("Give a time from 1h to 30d.")
    named = [context.symbol(coin) if what == "candles" else context.alerted_symbol(coin) for coin in coins]
    if files_wait(context, update.chat_id):
        return [Reply(text=BUSY)]
    if what == "candles":
        named = named or context.followed(chat)
        rows = len(named) * int(seconds // BAR_SECONDS)
        if rows > MOST_CANDLES:
            most = f"A file holds up to {MOST_CANDLES:,} candles of 5 minutes, and these are {rows:,}."
            raise Usage(f"{most} Name a coin, or give a shorter time.")
    wish = {"kind": "export", "what": what, "chat_id": chat.chat_id, "seconds": seconds, "coins": named}
    caption = _caption(what, seconds, named)
    private = what == "all" and not update.private  # it names what other chats follow
    file: dict[str, Any] = wish | {"zone": chat.timezone}
    sent = Reply(text=caption, chat_id=update.user_id if private else None, method="sendDocument", attachment=file)
    return [sent, Reply(text="The file is on its way to your private chat.")] if private else [sent]


def _caption(what: str, seconds: float, coins: list[str]) -> str:
    named, last = ", ".join(coins), f"last {text.span(seconds)}"
    if what == "candles":
        words = f"5-minute candles{f' of {named}' if named else ''}, {last}, in US dollars."
    else:
        whose = "All the bot's alerts" if what == "all" else "Alerts of this chat"
        of = f" for {named}" if named else ""
        words = f"{whose}{of}, {last}, the newest first (at most {MOST_ALERTS:,})."
    return text.clip(words, 1000)


# Settings for another chat, as commands: an import is judged like what is typed


def export_settings(context: Context, update: Update) -> list[Reply]:
    """This chat's settings as a text that another chat takes in."""
    chat = context.need_chat(update)
    parts = [IMPORT]
    for line in lines(context, chat):
        if len(parts[-1]) + len(line) > PART:
            parts.append(IMPORT)
        parts[-1] += f"\n{line}"
    each = "this" if len(parts) == 1 else "each of these, in this order,"
    said = f"Send {each} in the other chat. For a channel put its @name after the word settings. Price "
    said += "alerts, mutes and topics are not in it."
    return [Reply(text=said), *(Reply(text=f"<pre>{text.escape(part)}</pre>", html=True) for part in parts)]


def lines(context: Context, chat: Chat) -> list[str]:
    """The commands that give a chat the settings of this one."""
    coins = context.followed(chat)
    watched = f"watch only {' '.join(coins)}" if coins else "unwatch all"
    found = [f"timezone {chat.timezone}", "watch all" if chat.symbols is None else watched]
    for monitor in MONITORS:
        found.append(f"level {monitor} {level_of(chat, monitor)}")
        if monitor in SIDES:
            found.append(f"side {monitor} {side_of(chat, monitor)}")
        if monitor != NO_MINIMUM:
            amounts = chat.thresholds.get(monitor, {})
            every = amounts.get("*")
            found.append(f"threshold {monitor} {'auto' if every is None else _number(every)}")
            named = ((coin, least) for coin, least in sorted(amounts.items()) if coin in context.symbols)
            found += [f"threshold {monitor} {coin} {_number(least)}" for coin, least in named]
    found += [f"quiet {chat.quiet or 'off'}", f"cap {chat.hourly_cap or 'off'}"]
    scheduled = [one for one in context.store.schedules.of_chat(chat.chat_id) if one.at is not None]
    found += [f"schedule {one.rule} {one.command}" for one in scheduled]
    return found + [f"wallet add {one.address} {one.name}" for one in context.store.wallets.of_chat(chat.chat_id)]


def import_settings(context: Context, update: Update, said: str, may: Mapping[str, Run]) -> list[Reply]:
    """Do what an exported text says by these commands, all of it or nothing. Raises Usage."""
    context.need_chat(update)
    commands = [line.strip().lstrip("/").split() for line in said.splitlines() if line.strip("/ \t")]
    if not commands:
        raise Usage("Nothing follows the word import. Send /settings export in the other chat, and its answer here.")
    with context.store.transaction(), context.store.savepoint():
        for name, *arguments in commands:
            words = text.clip(" ".join([name, *arguments]), 60)
            if name.lower() not in may:
                raise Usage(f"Nothing was changed: “{words}” is not a setting.")
            try:
                may[name.lower()](context, update, arguments)
            except Unreadable as problem:
                raise Usage(f"Nothing was changed. “{words}” can't be used: {problem}") from None
    chat = context.need_chat(update)
    return [Reply(text="\n".join(["Settings of this chat now:", *described(context, chat)]))]


def _number(value: float) -> str:
    """All its digits, without an exponent, as `typed` reads them."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")
