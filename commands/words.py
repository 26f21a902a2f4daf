"""The words after a command, taken apart: kinds of alerts, coins, "all", and the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from base import text
from base.kinds import ALL
from commands.context import Context, Usage, as_symbol
from store.rows import MONITORS

OFF = ("off", "none", "no", "never", "stop", "end", "cancel", "disable", "disabled", "clear", "remove", "delete")
OFF_OR_ZERO = (*OFF, "0")
_KINDS = {
    **dict.fromkeys(("order", "orders", "trade", "trades"), "whales"),
    **dict.fromkeys(("liqs", "liquidated", "liquidation", "liquidations"), "liquidations"),
    **dict.fromkeys(("open", "interest", "openinterest", "open-interest"), "oi"),
    **dict.fromkeys(("rate", "rates", "fundings"), "funding"),
}
_NOUNS = ("coin", "coins", "alert", "alerts", "kind", "kinds", "the", "my", "for", "of", "and", "&", "+")


@dataclass(frozen=True)
class Words:
    """kinds, coins: in the order typed, each once. every: was "all" said? rest: the other words. several: are there
    numbers on both sides of a coin or kind (`BTC 2h ETH 3h`)? Together they would be another number."""

    kinds: tuple[str, ...]
    coins: tuple[str, ...]
    every: bool
    rest: tuple[str, ...]
    several: bool


def taken_apart(context: Context, arguments: Sequence[str]) -> Words:
    """A coin of the list is a coin, whatever else its name means: `/mute OPEN 2h`."""
    joined = re.sub(
        r"[;|=]|:(?!\d)|(?<=[^\W\d_])[,:/-](?=[\d$])|(?<=[^\W\d_]),|,(?=[^\W\d_]|\s|$)", " ", " ".join(arguments)
    )
    kinds, coins, rest, every = list[str](), list[str](), list[str](), False
    parts = set[int]()  # how many coins and kinds stand before each number
    for word in joined.split():
        symbol, lower = as_symbol(word, context.symbols), word.lower()
        if symbol in context.symbols and not lower.isdecimal():
            coins.append(symbol)
        elif lower in ALL:
            every = True
        elif (kind := _kind(lower)) is not None:
            kinds.append(kind)
        elif lower in ("-", "–") or (lower in _NOUNS and (kinds or coins or every)):
            continue
        else:
            rest.append(word)
            if any(map(str.isdecimal, word)):
                parts.add(len(kinds) + len(coins))
    return Words(tuple(dict.fromkeys(kinds)), tuple(dict.fromkeys(coins)), every, tuple(rest), len(parts) > 1)


def monitor_of(word: str) -> str:
    """The kind of alert that is meant by `liq`, `whale` or `open interest`. Raises Usage."""
    found = dict.fromkeys(_kind(part) for part in word.lower().split() if part not in _NOUNS)
    if len(found) != 1 or None in found:
        raise Usage(f"“{text.clip(word, 32)}” is not a kind of alert. Choose {text.enumerated(MONITORS, 'or')}.")
    return str(next(iter(found)))


def _kind(word: str) -> str | None:
    if word in _KINDS:
        return _KINDS[word]
    return next((kind for kind in MONITORS if word == kind or (len(word) >= 3 and kind.startswith(word))), None)
