"""Commands about when alerts come: mutes, quiet hours, the time zone."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import dropwhile

from alerts.held_back import is_due, of
from base import moments, text, typed, zones
from base.typed import Unreadable
from botapi.updates import Update
from commands.context import Context, Reply, Usage
from commands.schedules import replan
from commands.words import OFF_OR_ZERO, taken_apart
from store.rows import Chat, mute_left

UNTIL = ("until", "till", "til", "untill", "unitl")
ENDLESS = ("forever", "always", "permanently", "indefinitely", "infinite", "on")
_BEFORE = ("for", "the", "next", "my", "alerts")  # in front of a length of time
_LATER = ("in", "after")
_AGAIN = re.compile(r"\b(?:(?:every|each)\s+(?:\d|day|night|hour|week|morning|evening)|daily|nightly)", re.IGNORECASE)
_END_OF_ONE = ("off", "end", "cancel", "clear", "remove", "delete")  # not `no`: /mute no BTC means the opposite
DAYS = r"\s*(?:(?:every|each)\s*day|daily|every\s*night|nightly)\s*"


def quiet(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set or end the chat's quiet hours."""
    chat = context.need_chat(update)
    said = " ".join(arguments)
    if not said:
        state = f"Quiet hours: {chat.quiet} ({chat.timezone})." if chat.quiet else "No quiet hours are set."
        return [Reply(text=f"{state} Change it: /quiet 22:00-07:00 or /quiet off")]
    if said.lower() in OFF_OR_ZERO:
        if not chat.quiet:
            return [Reply(text="No quiet hours are set.")]
        chat = replace(chat, quiet="")
        comes = is_due(of(context.store, chat, context.store.messages.held(chat.chat_id)), now=context.now())
        return context.save(chat, f"Quiet hours are off.{' The alerts held back are on their way.' if comes else ''}")
    hours = _hours(said)
    start, end = str(hours).split("-")
    said = f"Quiet hours: {start} to {end} ({chat.timezone}). Alerts from that time arrive as one summary at {end}."
    if chat.timezone == "UTC":
        said += " For your time zone: /timezone Berlin"
    return context.save(replace(chat, quiet=str(hours)), said)


def timezone(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the chat's time zone; what it scheduled moves with it."""
    chat = context.need_chat(update)
    if not arguments:
        return [Reply(text=f"Time zone: {zone_now(context, chat)}. Change it: /timezone Berlin")]
    chat = replace(chat, timezone=zones.find(" ".join(arguments)))
    replan(context, chat)
    return context.save(chat, f"Time zone set to {zone_now(context, chat)}.")


def _hours(said: str) -> zones.Hours:
    """The quiet hours that were typed. Raises Usage where a zone or days are beside them."""
    said = re.sub(DAYS, " ", said, flags=re.IGNORECASE).strip()
    words = said.split()
    for size in range(len(words) if len(words) < 12 else 0, 0, -1):
        for first in range(len(words) - size + 1):
            try:
                found = zones.hours(" ".join(words[first : first + size]))
            except Unreadable:
                continue
            if size == len(words):
                return _which_half(said, found)
            rest = text.clip(" ".join([*words[:first], *words[first + size :]]), 32)
            raise Usage(
                f"Quiet hours are the same every day, in this chat's time zone (/timezone). I can't use “{rest}”.",
                meant=[str(found)],
            )
    return zones.hours(said)


def _which_half(said: str, found: zones.Hours) -> zones.Hours:
    """The hours, unless they are long because of a `10` that may be 22: `10-7`, `1-5pm`. Raises Usage for these."""
    half, day = 12 * 60, 24 * 60
    is_bare = re.match(r"(?:\D*\s)?\d\d?(?!\d|\s*[:.hap])", said) is not None
    if not is_bare or (found.end - found.start) % day <= half or not 60 <= found.start <= half:
        return found
    meant = [str(replace(found, start=(found.start + half) % day)), str(found)]
    raise Usage(f"Does “{text.clip(said, 32)}” mean {' or '.join(meant)}?", meant=meant)


def mute(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Mute all alerts or some coins for a while, or unmute."""
    chat = context.need_chat(update)
    if not arguments:
        state = " ".join(muted(context, chat)) or "Nothing is muted."
        return [Reply(text=f"{state} Change it: /mute 2h, /mute BTC 1d or /mute off")]
    cut = next((place for place, word in enumerate(arguments) if word.lower() in UNTIL), len(arguments))
    seconds, after = _until(context, chat, arguments[cut + 1 :]) if cut < len(arguments) else (0.0, [])
    words = taken_apart(context, [*arguments[:cut], *after])
    rest, coins = list(dropwhile(lambda word: word.lower() in _BEFORE, words.rest)), list(words.coins)
    if _AGAIN.search(" ".join(arguments)):
        raise Usage("A mute comes once. For the same hours of every day: /quiet 22:00-07:00.")
    if words.several:
        raise Usage("Give one length of time at a time: /mute BTC 2h, then /mute ETH 3h.")
    if words.kinds:
        raise Usage(f"One kind of alert cannot be muted for a time. Turn it off: /level {words.kinds[0]} off.")
    if (rest and rest[-1].lower() in ENDLESS) or (words.every and not rest and not seconds):
        raise Usage("A mute has an end. To turn alerts off until /start: /stop. For one coin: /unwatch BTC.")
    if rest and rest[0].lower() in _LATER:
        length = " ".join([*words.coins, *rest[1:]])
        raise Usage("A mute begins at once. For how long?", meant=[length] if _is_length(" ".join(rest[1:])) else [])
    if not seconds and rest:
        rest, others = _without_coin(context, rest)
        coins += others
        if " ".join(rest).lower() in (_END_OF_ONE if coins else OFF_OR_ZERO):
            return _unmute(context, chat, coins)
        seconds = _seconds(context, chat, coins, " ".join(rest))
    elif rest:
        coins += [context.alerted_symbol(word) for word in rest]
    if not seconds:
        raise Usage(f"For how long? /mute {coins[0] if coins else ''} 2h".replace("  ", " "))
    return _mute(context, chat, coins, seconds)


def _until(context: Context, chat: Chat, words: list[str]) -> tuple[float, list[str]]:
    """The seconds to that moment, and coins after it. Raises Unreadable."""
    moment = moments.until(words, now=context.now(), where=chat.zone)
    after = words[moment[1] :] if moment is not None else []
    if moment is None or len(taken_apart(context, after).coins) < len(after):
        what = f"I can't read “{text.clip(' '.join(words), 32)}” as a time." if words else "Until when?"
        raise Usage(f"{what} Write until 18:00, until fri, until 31 Dec or 2h.")
    return moment[0] - context.now(), after


def _without_coin(context: Context, words: list[str]) -> tuple[list[str], list[str]]:
    """The words that say how long, and a coin beside them that is not on the list but had an alert."""
    for word, others in ((words[0], words[1:]), (words[-1], words[:-1])):
        said = " ".join(others).lower()
        timed = _is_length(said) and (word is words[0] or not said.isdecimal())
        if word[0].isalpha() and others and (said in _END_OF_ONE or timed) and not _is_length(" ".join(words)):
            return others, [context.alerted_symbol(word)]
    return words, []


def _is_length(said: str) -> bool:
    try:
        return typed.length(said, unit="m") > 0
    except Unreadable:
        return False


def _seconds(context: Context, chat: Chat, coins: list[str], said: str) -> float:
    """How long a mute lasts: `2h`, or `30` (minutes). Raises Unreadable."""
    said = re.sub("^for ", "", said, flags=re.IGNORECASE)
    try:
        return typed.length(said, unit="m")
    except Unreadable:
        if said.isdecimal():
            raise Usage("A mute lasts from one minute to a year: 30m, 2h or 1d.") from None
        words = re.sub("^(?:to|at) ", "", said, flags=re.IGNORECASE).split()
        try:
            moment = moments.until(words, now=context.now(), where=chat.zone)
        except Unreadable:
            moment = None
        if moment is not None and moment[1] == len(words):
            until = " ".join(["until", *words])
            raise Usage(f"Mute {until}?", meant=[" ".join([*coins, until])]) from None
        if len(words) == 1 and words[0][0].isalpha():
            raise Usage(f"“{text.clip(said, 32)}” is neither a coin of this bot nor a length of time.") from None
        raise


def press_mute(context: Context, update: Update, rest: str) -> list[Reply]:
    """Run a mute button under an alert. Returns nothing for data that is not from our buttons."""
    named, _, length = rest.rpartition(":")
    chat = context.store.chats.get(update.chat_id)
    if chat is None or length not in ("1h", "24h"):
        return []
    try:
        symbol = context.alerted_symbol(named)
    except Usage:
        return []
    return [replace(said, toast=True) for said in _mute(context, chat, [symbol], typed.length(length))]


def _mute(context: Context, chat: Chat, coins: list[str], seconds: float) -> list[Reply]:
    until = context.now() + seconds
    what, ends = ", ".join(coins) or "All alerts", text.clock(until, now=context.now(), zone=chat.zone)
    if coins:
        chat = replace(chat, symbol_mutes={**chat.symbol_mutes, **dict.fromkeys(coins, until)})
    else:
        chat = replace(chat, muted_until=until)
    return context.save(chat, f"{what} muted until {ends}. Undo with /mute off")


def _unmute(context: Context, chat: Chat, coins: list[str]) -> list[Reply]:
    """Unmute everything, or these coins: then a mute of all alerts stays."""
    if not coins:
        return context.save(replace(chat, muted_until=0.0, symbol_mutes={}), "Unmuted. Alerts will come again.")
    symbol, left = ", ".join(coins), {one: until for one, until in chat.symbol_mutes.items() if one not in coins}
    chat = replace(chat, symbol_mutes=left)
    if not chat.muted_for(context.now()):
        return context.save(chat, " ".join([f"{symbol} unmuted.", *muted(context, chat)]))
    until = text.clock(chat.muted_until, now=context.now(), zone=chat.zone)
    are = "is" if len(coins) == 1 else "are"
    said = f"{symbol} {are} no longer muted, but all alerts stay muted until {until}. /mute off ends that too."
    return context.save(chat, said)


def muted(context: Context, chat: Chat) -> list[str]:
    """`Muted until TIME.` and `Muted: ETH until TIME.`, each only if it applies now."""
    now, lines = context.now(), []
    if chat.muted_for(now):
        lines.append(f"Muted until {text.clock(chat.muted_until, now=now, zone=chat.zone)}.")
    coins = [
        f"{symbol} until {text.clock(until, now=now, zone=chat.zone)}"
        for symbol, until in sorted(chat.symbol_mutes.items())
        if mute_left(until, now) > chat.muted_for(now)
    ]
    return [*lines, f"Muted: {', '.join(coins)}."] if coins else lines


def zone_now(context: Context, chat: Chat) -> str:
    """`Europe/Berlin, now 14:03:07 UTC+1`."""
    return f"{chat.timezone}, now {text.clock(context.now(), zone=chat.zone)}"
