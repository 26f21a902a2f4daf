"""What people type after `/alert BTC`, read as the level that they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from base import moments, text, typed
from base.typed import Unreadable
from commands.context import Context, Usage
from store.rows import Chat, Level

NOTE_LENGTH = 100
NEAR = 20.0  # times the price, up or down: of two readings the one that is not beyond it is meant
LEAST_COOLDOWN = 60.0  # seconds
_DIRECTIONS = {
    **dict.fromkeys(("above", "over", ">", ">=", "up", "rise", "rises"), "above"),
    **dict.fromkeys(("below", "under", "<", "<=", "down", "fall", "falls", "drop", "drops"), "below"),
}
_FILLERS = ("at", "@", "to", "=", "crosses", "cross", "hits", "reaches", "price")
_PERCENT = re.compile(r"([+-]?)(\d{1,4}(?:[.,]\d{1,4})?)%")
_EVERY = ("every", "each", "per", "a", "an")


def level(context: Context, chat: Chat, symbol: str, words: list[str], *, topic: int) -> Level:
    """The level that is meant by `above 100k repeat for 7d my note`. Raises Unreadable."""
    last, direction, words = last_price(context, symbol), "either", list(words)
    while words and words[0].lower() in (*_DIRECTIONS, *_FILLERS):
        direction = _DIRECTIONS.get(words.pop(0).lower(), direction)
    if words and words[0][0] in "<>":
        direction, words[0] = _DIRECTIONS[words[0][0]], words[0].lstrip("<>=")
    if len(words) > 1 and words[1] == "%":
        words[:2] = ["".join(words[:2])]
    if not words:
        raise Usage("At which price?")
    price, direction = _price(symbol, words, direction, last)
    more = _more(context, chat, words[1:])
    return Level(
        chat_id=chat.chat_id,
        symbol=symbol,
        price=price,
        direction=direction,
        repeat=more.repeat,
        cooldown=more.cooldown,
        expires=more.expires,
        note=more.note,
        topic=topic,
    ).waiting(last, now=context.now())


def _price(symbol: str, words: list[str], direction: str, last: float | None) -> tuple[float, str]:
    """The price that the first word means, and its direction. Raises Unreadable."""
    word, rest = re.sub("[−–]", "-", words[0]), " ".join(words[1:])
    percent = _PERCENT.fullmatch(word)
    if percent is None:
        try:
            values = typed.amounts(word)
        except Unreadable:
            said = f"I can't read “{text.clip(word, 32)}” as a price in US dollars. Write 100k, 0.052 or +5%."
            raise Usage(said) from None
        if last is not None:
            values = [value for value in values if last / NEAR < value < last * NEAR] or values
        if len(values) > 1:
            begins = f"{symbol} {'' if direction == 'either' else f'{direction} '}"
            meant = [f"{begins}{text.price(value).replace(',', '')} {rest}".strip() for value in values]
            raise Usage(f"“{text.clip(word, 32)}” can mean two prices. Which one?", meant=meant)
        return values[0], direction
    sign = percent[1] or {"above": "+", "below": "-"}.get(direction, "")
    if not sign:
        meant = [f"{symbol} {way}{word} {rest}".strip() for way in "+-"]
        raise Usage(f"{word} up or down from now?", meant=meant)
    if last is None:
        raise Usage(f"There is no price of {symbol} yet to count from. Is a source down? See /status.")
    try:
        share = typed.number(percent[2].replace(",", "."), 0.01, 1000 if sign == "+" else 99) / 100
    except ValueError:
        raise Usage("Give from 0.01 to 1000 percent, at most 99 down.") from None
    price = text.price(last * (1 + share if sign == "+" else 1 - share))  # as it is shown
    return float(price.replace(",", "")), "above" if sign == "+" else "below"


# What comes after the price


@dataclass
class _More:
    repeat: bool = False
    cooldown: float = 0.0
    expires: float = 0.0
    note: str = ""


def _more(context: Context, chat: Chat, words: list[str]) -> _More:
    """`repeat every 1h until fri my note`, in any order but for the note. Raises Unreadable."""
    more, rest = _More(), list(words)
    while rest:
        word, used = rest[0].lower(), 0
        if word in ("repeat", "repeats", "repeated", "once", "every", "each", "hourly", "daily"):
            used = _repeat(more, word, rest)
        elif word == "for" and (found := _length(rest[1:3])):
            more.expires, used = context.now() + found[0], 1 + found[1]
        elif word in ("until", "till", "til"):
            moment = moments.until(rest[1:], now=context.now(), where=chat.zone)
            if moment is None:
                said = text.clip(" ".join(rest[1:3]), 32)
                raise Usage(f"I can't read “{said}” as a time. Write until 18:00, until fri or for 7d.")
            more.expires, used = moment[0], 1 + moment[1]
        if not used:
            break
        rest = rest[used:]
    more.note = text.one_line(" ".join(rest)).strip('"“”')
    if len(more.note) > NOTE_LENGTH:
        raise Usage(f"A note can have up to {NOTE_LENGTH} characters.")
    return more


def _repeat(more: _More, word: str, rest: list[str]) -> int:
    """Note what `repeat`, `repeat every 1h`, `every 4h`, `once`, `once a day` or `daily` asks for; how many words."""
    used = 0 if word in ("every", "each", "hourly", "daily") else 1
    after = [other.lower() for other in rest[used : used + 3]]
    fixed = {"hourly": 3600.0, "daily": 86400.0}.get(after[0] if after else "")
    every = bool(after) and after[0] in _EVERY
    found = (fixed, 1) if fixed else _length(after[int(every) :])
    if found is None and every:
        found = _length([f"1{after[1]}"]) if len(after) > 1 else None  # every hour
    if found is None or (word == "once" and not (every or fixed)):
        if used:
            more.repeat, more.cooldown = word != "once", 0.0
        return 3 if used and after[:2] == ["every", "time"] else used
    if found[0] < LEAST_COOLDOWN:
        raise Usage("The shortest time between two alerts is a minute.")
    more.repeat, more.cooldown = True, found[0]
    return used + int(every) + found[1]


def _length(words: list[str]) -> tuple[float, int] | None:
    """The time that the first two words mean, or the first one, with their number; None for other words."""
    for number in (2, 1):
        if words[number - 1 : number] in (["for"], ["and"]):  # what follows is another length
            continue
        try:
            return typed.length(" ".join(words[:number])), min(number, len(words))
        except Unreadable:
            continue
    return None


def last_price(context: Context, symbol: str) -> float | None:
    """The newest price of the last day."""
    bar = context.store.markets.one_bar(symbol, since=context.now() - 86400)
    return None if bar is None else bar.close
