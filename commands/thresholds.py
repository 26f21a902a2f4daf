"""/threshold: from which size alerts come, by kind and coin."""

from __future__ import annotations

import re
from dataclasses import replace

from alerts.wording import plural
from base import kinds, text, typed
from base.typed import Unreadable
from botapi.updates import Update
from commands.context import Context, Reply, Usage
from commands.settings import NO_MINIMUM, saved, sentence
from commands.words import OFF, Words, taken_apart
from store.rows import MARKED

LOWEST_THRESHOLD = 10_000.0
MARKS = {"funding": (0.001, 10.0), "oi": (1.0, 100.0)}  # percent that may be set, from and to
_AUTOMATIC = ("auto", "automatic", "default", "reset", "standard", "usual")
# Words around an amount that say nothing more: `at least 2m`.
_AROUND = re.compile(
    r"(?:min(?:imum)?|at|least|over|above|more|than|from|to|is|set|up|or|size|amount|by|threshold|alerts?),?",
    re.IGNORECASE,
)


def threshold(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the minimum in US dollars, or the mark in percent, of one kind, for some coins or all; or show it."""
    chat = context.need_chat(update)
    words = taken_apart(context, [word.strip("()") for word in arguments])
    rest = [word for word in words.rest if not _AROUND.fullmatch(word)]
    if len(words.kinds) > 1:
        raise Usage(f"Set one kind at a time: /threshold {words.kinds[0]} 2m.")
    monitor = words.kinds[0] if words.kinds else "whales"
    if monitor == NO_MINIMUM:
        raise Usage("Price alerts have no minimum in USD. To turn them off: /level prices off.")
    if not rest or rest in (["show"], ["list"]):
        one = replace(chat, symbols=frozenset(words.coins)) if words.coins else chat
        said = context.kind(one, monitor)
        return [Reply(text=f"{', '.join(words.coins)}: {said}." if words.coins else sentence(said))]
    amounts = dict(chat.thresholds.get(monitor, {})) if words.coins else {}
    for symbol in words.coins or ("*",):
        if len(rest) == 1 and rest[0].lower() in _AUTOMATIC:
            amounts.pop(symbol, None)
        else:
            amounts[symbol] = _size(context, words, rest, monitor)
    chat = replace(chat, thresholds={**chat.thresholds, monitor: amounts})
    return saved(context, chat, sentence(context.kind(chat, monitor)))


def _mark(said: str, monitor: str) -> float:
    """The percent that were typed: `0.03`, `5 %`, `5,5%`. Raises Usage."""
    low, high = MARKS[monitor]
    try:
        return typed.number(re.sub(r"\s*(?:%|percent|pct)$", "", said.strip("+-± ")).replace(",", "."), low, high)
    except ValueError:
        raise Usage(
            f"Give a percentage from {low:g} to {high:g}, like {0.03 if monitor == 'funding' else 5}."
        ) from None


def _size(context: Context, words: Words, rest: list[str], monitor: str) -> float:
    """The minimum or the mark that was typed. Raises Usage, also if it means two things."""
    said = " ".join(rest)
    if said.lower() in OFF:
        raise Usage(f"To turn {plural(monitor)} off: /level {monitor} off.")
    named = [word for word in rest if word[0].isalpha() and kinds.SYMBOL.fullmatch(word)]
    strange = next((word for word in named if word.lower() not in _AUTOMATIC), None)
    try:
        if words.several:
            raise Usage("Set one amount at a time.")
        return _mark(said, monitor) if monitor in MARKED else _amount(said, [*words.kinds, *words.coins])
    except Unreadable as problem:
        if problem.meant or typed.is_other_money(said):
            raise
        if len(words.coins) > 1 and len(rest) > 1 and all(_is_size(word, monitor) for word in rest):
            first, second, *_ = words.coins
            raise Usage(
                f"Set one coin at a time: /threshold {first} {rest[0]}, then /threshold {second} {rest[1]}."
            ) from None
        if strange is not None and (len(rest) == 1 or _is_size(" ".join(w for w in rest if w != strange), monitor)):
            context.symbol(strange)
        raise


def _is_size(said: str, monitor: str) -> bool:
    try:
        return (_mark(said, monitor) if monitor in MARKED else typed.amount(said) - LOWEST_THRESHOLD) >= 0
    except Unreadable:
        return False


def _amount(said: str, before: list[str]) -> float:
    """The amount that was typed. before: the arguments in front of it. Raises Usage, also if it means two things."""
    if said.startswith("-") or not re.search(r"[^\W0]", re.sub(r"[km]$", "", said.lower())):
        values = [0.0]
    else:
        values = [value for value in typed.amounts(said) if value >= LOWEST_THRESHOLD]
    if not values or values == [0.0]:
        lowest = f"/threshold {' '.join([*before, text.usd(LOWEST_THRESHOLD)])}"
        raise Usage(f"The lowest minimum is {text.usd(LOWEST_THRESHOLD)} USD: {lowest}")
    if len(values) > 1:
        shown = [text.usd(value) if typed.amount(text.usd(value)) == value else f"{value:.0f}" for value in values]
        raise Usage(
            f"“{text.clip(said, 32)}” can mean two amounts. Which one?",
            meant=[" ".join([*before, value]) for value in shown],
        )
    return values[0]
