"""What people type after the level itself: `repeat every 1h until fri my note`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from base import moments, text, typed
from base.typed import Unreadable
from commands.context import Context, Usage, as_symbol
from commands.words import OFF
from store.rows import Chat

_QUOTES = tuple("\"'“”„")
_LABEL = re.compile(r"^(?:note\s*[:=]|--|\||//)\s*", re.IGNORECASE)
NOTE_LENGTH = 100
LEAST_COOLDOWN = 60.0  # seconds
ONE = "One price alert at a time: /alert BTC 100k, then /alert ETH 5k"
REPEATS = ("repeat", "repeats", "repeated", "once", "every", "each", "cooldown", "hourly", "daily")
ENDS = ("for", "until", "till", "til", "expires")
_EVERY = ("every", "each", "per", "a", "an")
_UNITS = r"s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?|mo|months?|y|yrs?|years?"
ANY_LENGTH = re.compile(rf"[+-]?\d[\d.,]* ?(?:{_UNITS})(?= |$)")


@dataclass
class Options:
    """cooldown: seconds, 0 for none. expires: unix seconds, 0 for never."""

    repeat: bool = False
    cooldown: float = 0.0
    expires: float = 0.0
    note: str = ""


def options(context: Context, chat: Chat, words: list[str], *, repeat: bool = False) -> Options:
    """`repeat every 1h until fri my note`, in any order but for the note. Raises Unreadable."""
    more, rest = Options(repeat=repeat), list(words)
    while rest:
        option, equals, value = rest[0].partition("=")
        if equals and option.lower() in (*REPEATS, *ENDS):  # repeat=1h
            rest[:1] = [option, value]
        word, used = rest[0].lower(), 0
        if word in ("max", "maximum", "most") and rest[1:2] and rest[1].lower() in (*_EVERY, "once"):
            rest = rest[1:]
            continue
        if word in REPEATS:
            used = _repeat(more, word, rest)
        elif word == "expires" and rest[1:2] == ["in"]:
            rest[:2] = ["for"]
            continue
        elif word == "for":
            found = length(rest[1:3])
            if found is not None:
                more.expires, used = context.now() + found[0], 1 + found[1]
            else:
                _no_length(rest[1:3])
        elif word in ENDS[1:] and rest[1:2] and rest[1].isdecimal() and length(rest[1:3]):  # until 2 weeks
            rest[:1] = ["for"]
            continue
        elif word in ENDS[1:] or (word == "by" and moments.until(rest[1:], now=context.now(), where=chat.zone)):
            moment = moments.until(rest[1:], now=context.now(), where=chat.zone)
            if moment is None:
                said = text.clip(" ".join(rest[1:3]), 32)
                raise Usage(f"I can't read “{said}” as a time. Write until 18:00, until fri, until 31 Dec or for 7d.")
            more.expires, used = moment[0], 1 + moment[1]
        if not used:
            break
        rest = rest[used:]
    named = [word for word in rest[:3] if word.lower() not in ("and", "&", "+", ",")]
    if len(named) > 1 and is_coin(context, named[0]) and is_amount(named[1]):
        raise Usage(ONE)
    if " ".join(rest).lower() in OFF:
        raise Usage("This would be a new one. To remove one send its number, like /alert remove 3.")
    more.note = _LABEL.sub("", text.one_line(" ".join(rest)))
    if more.note[:1] in _QUOTES and more.note[-1:] in _QUOTES:
        more.note = more.note[1:-1]
    if len(more.note) > NOTE_LENGTH:
        raise Usage(f"A note can have up to {NOTE_LENGTH} characters.")
    return more


def _repeat(more: Options, word: str, rest: list[str]) -> int:
    """Note what `repeat`, `repeat every 1h`, `every 4h`, `once`, `once a day` or `daily` asks for; how many words."""
    used = 0 if word in ("every", "each", "hourly", "daily") else 1
    after = [other.lower() for other in rest[used : used + 3]]
    fixed = {"hourly": 3600.0, "daily": 86400.0}.get(after[0] if after else "")
    every = bool(after) and after[0] in _EVERY
    found = (fixed, 1) if fixed else length(after[int(every) :], bare=every)
    if found is None:
        _no_length(after[int(every) :])
    if found is None or (word == "once" and not (every or fixed)):
        if used:
            more.repeat, more.cooldown = word != "once", 0.0
        return 3 if used and after[:2] == ["every", "time"] else used
    if found[0] < LEAST_COOLDOWN:
        raise Usage("The shortest time between two alerts is a minute.")
    more.repeat, more.cooldown = True, found[0]
    return used + int(every) + found[1]


def _no_length(words: list[str]) -> None:
    """Raises Usage where words that cannot be used are meant as a time or a number of times, not as a note."""
    said = " ".join(words).lower()
    if re.match(r"\d+ ?(?:x|×|times)(?= |$)", said):
        raise Usage("Repeat has no number. Give an end, like repeat for 7d.")
    if found := ANY_LENGTH.match(re.sub("[−–]", "-", said)):
        raise Usage(f"“{text.clip(found[0], 32)}” cannot be used here. Write for 7d or every 1h, at most a year.")


def length(words: list[str], *, bare: bool = False) -> tuple[float, int] | None:
    """The time that the first two words mean, or the first one, with their number; None for other words.

    bare: may it be a unit alone, as in `every hour`?
    """
    if bare and words[:1] and words[0].isalpha() and words[0] not in _EVERY:
        words = [f"1 {words[0]}", *words[1:]]
    for number in (2, 1):
        if {"for", "and"} & set(words[:number]) or any(map(typed.is_picture, words[:number])):
            continue  # what follows is another length, or a note
        try:
            return typed.length(" ".join(words[:number])), min(number, len(words))
        except Unreadable:
            continue
    return None


def is_coin(context: Context, word: str) -> bool:
    """Is this a coin of the bot?"""
    return as_symbol(word, context.symbols) in context.symbols


def is_amount(word: str) -> bool:
    """Can this be read as an amount?"""
    try:
        return bool(typed.amounts(word))
    except Unreadable:
        return False
