"""Several price alerts in one: `/alert all 5% in 1h`, `BTC ETH volume x3`, `BTC between 70k and 80k`."""

from __future__ import annotations

import re

from base import typed
from base.kinds import ALL
from commands.context import Context, Usage, as_symbol
from commands.level_options import ENDS, REPEATS, is_amount, is_coin
from commands.level_typed import DIRECTIONS, FILLERS, in_amount, is_near, last_price, level, plain
from store.levels import Level
from store.rows import Chat

ONE_COIN = "A price is for one coin: /alert BTC 100k. A move can be for several: /alert all 5% in 1h"
_RANGES = ("between", "from", "inside", "outside", "range", "leaves")
_LINKS = ("and", "or", "to", "of", "in", "within", "the", "&", "-", "/", ",")


def levels(context: Context, chat: Chat, symbols: list[str], words: list[str], *, topic: int) -> list[Level]:
    """What is to be set for these coins. Raises Unreadable, also for one price of several coins."""
    if not words or not symbols:
        raise Usage("Which move? /alert BTC ETH 5% in 1h" if symbols else "No coins are selected: /watch all")
    first = [word.lower() for word in plain(words)[:3]]
    share = any("%" in word for word in first) or first[0] in ("volume", "vol", "turnover")
    if len(symbols) > 1 and not share and any(map(is_amount, first[:2])):
        raise Usage(ONE_COIN)
    try:
        return [
            level(context, chat, symbol, one, topic=topic)
            for symbol in symbols
            for one in prices(words, last_price(context, symbol))
        ]
    except Usage as problem:
        if len(symbols) == 1 or not problem.meant:
            raise
        named = ",".join(symbols)
        meant = [f"{named} {one.partition(' ')[2]}" for one in problem.meant]
        raise Usage(str(problem), meant=meant) from None


def coins(context: Context, chat: Chat, words: list[str]) -> tuple[list[str], list[str]]:
    """The coins that come first, and the rest: `all`, `BTC ETH`, `btc,eth` or one. Raises Usage where none comes."""
    if not words:
        raise Usage("Which coin?")
    if words[0].lower() in ALL and not is_coin(context, words[0]):
        rest = words[2:] if words[1:2] and words[1].lower() in ("coin", "coins") else words[1:]
        return context.followed(chat), rest
    found: list[str] = []
    for place, word in enumerate(words):
        parts = [part for part in word.split(",") if part]
        if word.lower() in ("and", "&") and place:
            continue
        if not all(is_coin(context, part) for part in parts) or (place and is_amount(word)):
            return (found, words[place:]) if found else ([context.symbol(word)], words[1:])
        found += [as_symbol(part, context.symbols) for part in parts]
    return list(dict.fromkeys(found)), []


def prices(words: list[str], last: float | None) -> list[list[str]]:
    """The words of each price that `between 70k and 80k for 7d` or `above 90k or below 70k` names, with what follows
    them all; the words as they are, where they name one or something else."""
    words = _ends(plain(words), last)
    found: list[list[str]] = []
    direction, near, place, is_range = list[str](), last, 0, False
    while place < len(words):
        word = words[place].lower().strip(",")
        used = in_amount(words[place:], near)
        amount = " ".join(words[place : place + used]).strip(",")
        if word in _RANGES or word in _LINKS or word in FILLERS or not word:
            is_range = is_range or word in _RANGES
            place += 1
        elif word in DIRECTIONS:
            direction, place = [word], place + 1
        elif is_amount(amount) and _is_near(amount, near):
            found.append([*direction, amount])
            near, place = near or typed.amounts(amount)[0], place + used
        else:
            break
    rest = words[place:]
    alone = not rest or rest[0].lower() in (*REPEATS, *ENDS)
    return [[*one, *rest] for one in found] if len(found) > 1 and (alone or is_range) else [words]


def _ends(words: list[str], last: float | None) -> list[str]:
    """The words with `70k-80k` and `70-80k` as two."""
    found: list[str] = []
    for word in words:
        ends = re.fullmatch(r"(\$?\d[\d.,]*)([kmb]?)(?:-|–|\.\.)(\$?\d[\d.,]*)([kmb]?)", word.lower())
        if ends is None:
            found.append(word)
            continue
        low, high = ends[1] + ends[2], ends[3] + ends[4]
        if not ends[2] and not _is_near(low, last or typed.amounts(high)[0]):
            low += ends[4]
        found += [low, high]
    return found


def _is_near(amount: str, price: float | None) -> bool:
    return price is None or any(is_near(value, price) for value in typed.amounts(amount))
