"""What people type after `/alert BTC`, read as the level that they mean. What comes after it is level_options.py."""

from __future__ import annotations

import re

from base import text, typed
from base.typed import Unreadable
from commands.context import Context, Usage
from commands.level_options import ANY_LENGTH, ENDS, REPEATS, is_amount, is_coin, length, options
from store.levels import HOUR, Level
from store.rows import Chat
from venues.trades import Bar

NEAR = 20.0  # times the price, up or down: of two readings the one that is not beyond it is meant
_MOVES = ("move", "moves", "moved", "moving", "change", "changes", "swing", "swings")
DIRECTIONS = {
    **dict.fromkeys(("above", "over", ">", ">=", "up", "rise", "rises", "gain", "gains", "pump", "pumps"), "above"),
    **dict.fromkeys(("below", "under", "<", "<=", "down", "fall", "falls", "drop", "drops"), "below"),
    **dict.fromkeys(("dump", "dumps", "crash", "crashes", "lose", "loses"), "below"),
}
FILLERS = (
    "at",
    "@",
    "to",
    "by",
    "=",
    "goes",
    "more",
    "than",
    "crosses",
    "cross",
    "hits",
    "reaches",
    "price",
    "when",
    "if",
    *_MOVES,
)
_NUMBER = r"\d{1,4}(?:[.,]\d{1,2})?"
_FACTOR = rf"(?:[x×*] ?{_NUMBER}|{_NUMBER} ?(?:x|×|times|%))"
_VOLUME = re.compile(
    rf"(?:(?P<before>{_FACTOR}) )?(?:volume|vol|turnover)\b(?: (?:above|goes|over|>=?|at|is|of|more|than|spikes?)\b)*"
    rf"(?: ?[>=]* ?(?:(?P<after>{_FACTOR})|(?:up (?:by )?|\+)(?P<more>{_NUMBER})%))?"
    r"(?: (?:the )?(?:usual|normal|average|avg)\b)?(?= |$)"
)
LEAST_TIMES, MOST_TIMES = 1.2, 100.0  # of a volume
_IN = ("in", "within", "over", "during", "per", "/")
SHORTEST, LONGEST = 60, 7 * 86400  # seconds of a move
_BEFORE_COIN = (*DIRECTIONS, *FILLERS, "me", "volume", "vol")
_MONEY = ("usd", "usdt", "usdc", "$", "dollar", "dollars", "k", "thousand", "million", "billion", "€", "eur", "euro")
_LEADS = ("add", "set", "new", "create", "make", "please", "binance", "coinbase", "kraken", "okx", "bybit")
# What is not set here, and how it is set.
_OTHERS = {
    **dict.fromkeys(("whale", "whales"), "whales BTC 2m"),
    **dict.fromkeys(("liq", "liquidation", "liquidations"), "liquidations 1m"),
    "funding": "funding 0.03",
    **dict.fromkeys(("oi", "interest"), "oi 5"),
}
MOVE_TIME = "The time of a move is from 1m to 7d."
_PERCENT = re.compile(r"([+-]?)(\d{1,4}(?:[.,]\d{1,4})?)%")


def tidy(context: Context, words: list[str]) -> list[str]:
    """The words without what other bots want (`add`, `binance`), pictures and quotation marks; the coin of `BTC:100k`
    apart from the price. A note stays as it is."""
    end = next((place for place, word in enumerate(words, 1) if any(map(str.isdigit, word))), 4)
    head = [word.strip("\"'“”„") for word in words[:end] if not typed.is_picture(word)]
    words = [*filter(None, head), *words[end:]]
    while len(words) > 1 and words[0].lower() in _LEADS and not is_coin(context, words[0]):
        words = words[1:]
    first = re.sub(r"(?<=[^\W\d_])([<>]=?|=)", r" \1 ", "".join(words[:1]))
    first = re.sub(r"(?<=[^\W\d_])(?:[:;,_]|-(?=[^%]*$))(?=\$?\d)|(?<=[^\W\d_])(?=[+-]\d)", " ", first)
    return [*first.split(), *words[1:]]


def coin_first(context: Context, words: list[str]) -> list[str]:
    """The words with the coin first, for people also type `100k BTC`, `when BTC hits 90k` and `btc>90k`."""
    words = tidy(context, words)
    first = words[0].lower() if words else ""
    swapped = first in _BEFORE_COIN or _PERCENT.fullmatch(first) or is_amount(first)
    if swapped and len(words) > 1 and not is_coin(context, first) and is_coin(context, words[1]):
        words[:2] = words[1::-1]
    return words


def level(context: Context, chat: Chat, symbol: str, words: list[str], *, topic: int) -> Level:
    """The level that is meant by `above 100k repeat for 7d my note`, or the move by `5% in 1h`. Raises Unreadable."""
    last, direction, words = last_price(context, symbol), "either", plain(words)
    while words and words[0].lower() in (*DIRECTIONS, *FILLERS):
        direction = DIRECTIONS.get(words.pop(0).lower(), direction)
    if words and words[0][0] in "<>":
        direction, words[0] = DIRECTIONS[words[0][0]], words[0].lstrip("<>=")
    if not words:
        raise Usage("At which price?")
    not_here(words[0])
    times = _times(words)
    if times is not None:
        size, used = times
        more = options(context, chat, words[used:], repeat=True)
        volume = context.store.volume(symbol, now=context.now())
        return Level(
            chat_id=chat.chat_id,
            symbol=symbol,
            kind="volume",
            size=size,
            span=HOUR,
            state="busy" if volume is not None and volume.times >= size else "calm",
            topic=topic,
            **vars(more),
        )
    move = _move(words, direction)
    if move is not None:
        size, span, direction, used = move
        more = options(context, chat, words[used:], repeat=True)
        begun = Level(
            chat_id=chat.chat_id,
            symbol=symbol,
            kind="move",
            size=size,
            span=span,
            direction=direction,
            state="on",
            topic=topic,
            **vars(more),
        )
        seen = since(context, symbol, span)
        return begun.waiting(last, now=context.now()) if seen is not None and _is_over(begun, seen) else begun
    price, direction, used = _price(symbol, words, direction, last)
    if words[used : used + 1] and words[used].lower() in _IN and length(words[used + 1 : used + 3]):
        raise Usage("A move is in percent.")
    if direction == "either" and "".join(words[used:]).lower() in DIRECTIONS:  # BTC 100k above
        direction = DIRECTIONS[words.pop().lower()]
    more = options(context, chat, words[used:])
    return Level(
        chat_id=chat.chat_id,
        symbol=symbol,
        price=price,
        direction=direction,
        topic=topic,
        **vars(more),
    ).waiting(last, now=context.now())


def not_here(word: str) -> None:
    """Raises Usage for a kind of alert that has a minimum size, not a price."""
    if word.lower() in _OTHERS:
        raise Usage(f"Those alerts come without /alert. Set their size: /threshold {_OTHERS[word.lower()]}")


def _price(symbol: str, words: list[str], direction: str, last: float | None) -> tuple[float, str, int]:
    """The price that the first words mean, its direction, and how many words say so. Raises Unreadable."""
    used = in_amount(words, last)
    word, rest = re.sub("[−–]", "-", " ".join(words[:used])), " ".join(words[used:])
    percent, word = _PERCENT.fullmatch(word), word.rstrip("!?;,.")
    begins = f"{symbol} {'' if direction == 'either' else f'{direction} '}"
    if re.fullmatch(rf"[+-]{_NUMBER}", word):
        raise Usage(f"Do you mean {word} % from now?", meant=[f"{symbol} {word}% {rest}".strip()])
    if percent is None:
        try:
            values = typed.amounts(re.sub(r"^[.,](?=\d)", "0.", word))
        except Unreadable:
            said = f"I can't read “{text.clip(word, 32)}” as a price in US dollars. Write 100k, 0.052 or +5%."
            raise Usage(said) from None
        if last is not None:
            values = [value for value in values if is_near(value, last)] or values
        if len(values) > 1:
            meant = [f"{begins}{text.price(value).replace(',', '')} {rest}".strip() for value in values]
            raise Usage(f"“{text.clip(word, 32)}” can mean two prices. Which one?", meant=meant)
        if last is not None and not is_near(values[0], last) and not re.search(r"\$|usd|dollar", word.lower()):
            _far(symbol, begins, values[0], last, rest)
        return values[0], direction, used
    sign = percent[1] or {"above": "+", "below": "-"}.get(direction, "")
    try:
        share = typed.number(percent[2].replace(",", "."), 0.01, 99 if sign == "-" else 1000) / 100
    except ValueError:
        raise Usage("Give from 0.01 to 1000 percent, at most 99 down.") from None
    if not sign:
        meant = [f"{symbol} {way}{word} {rest}".strip() for way in "+-"]
        meant.append(f"{symbol} {word} in 1h {rest}".strip())
        raise Usage(f"{word} up or down from now, or a move of {word} in a time like 1h?", meant=meant)
    if last is None:
        raise Usage(f"There is no price of {symbol} yet to count from. Is a source down? See /status.")
    price = text.price(last * (1 + share if sign == "+" else 1 - share))  # as it is shown
    return float(price.replace(",", "")), "above" if sign == "+" else "below", used


def _far(symbol: str, begins: str, value: float, last: float, rest: str) -> None:
    """Raises Usage: a price so far from the market is rather a percentage, or lacks its thousands."""
    ways = "+" if " above" in begins else "-" if " below" in begins else "+-"
    meant = [f"{symbol} {way}{value:g}% {rest}".strip() for way in ways] if 0.01 <= value <= 99 else []
    meant += [f"{begins}{value * 1000:g} {rest}".strip()] if last / 4 < value * 1000 < last * 4 else []
    meant.append(f"{begins}${text.price(value).replace(',', '')} {rest}".strip())
    raise Usage(
        f"{text.price(value)} is far from the price of {symbol} ({text.price(last)}). Which do you mean?", meant=meant
    )


def in_amount(words: list[str], last: float | None) -> int:
    """How many of the first words are one amount: `100 000`, `2 million`, `100k usd`."""
    used = 1
    if re.fullmatch(r"\d{1,3}", words[0], re.ASCII) and not (last and is_near(float(words[0]), last)):
        while used < len(words) and re.fullmatch(r"\d{3}", words[used], re.ASCII):
            used += 1
    while used < len(words) and words[used].lower() in _MONEY and not words[0].endswith("%"):
        used += 1
    return used


def is_near(value: float, last: float) -> bool:
    """Is this not further than NEAR times from the price?"""
    return last / NEAR < value < last * NEAR


def plain(words: list[str]) -> list[str]:
    """The words with percentages in one form: `5 %`, `%5`, `±5%`, `5 percent`, `5%/1h`, `5%in1h`. A note stays."""
    end = next((place for place, word in enumerate(words) if word.lower() in (*REPEATS, *ENDS)), 8)
    said = re.sub(r"[−–]", "-", " ".join(words[:end]))
    said = re.sub(r"(?:±|\+/?-)\s*(?=\d)", "", said)
    said = re.sub(r"(?<!\S)%(\d\S*)", r"\1%", said)
    said = re.sub(r"(?<=\d)\s*(?:%|per ?cent\b|pct\b)", "%", said, flags=re.IGNORECASE)
    said = re.sub(r"(?<=%)\s*(/|in(?=\d))\s*(?=[\da-z])", r" \1 ", said)
    said = re.sub(r"(?<=%) from (?:now|here)(?: on)?\b", "", said)
    said = re.sub(r"\b(in|over|within) (?:the )?(?:last|past) (?=[\da-z])", r"\1 ", said)
    return [*said.split(), *words[end:]]


def _move(words: list[str], direction: str) -> tuple[float, int, str, int] | None:
    """The size, span and direction of the move that `5% in 1h`, `-5% 15m` or `1h 5%` means, and how many words say
    so; None for a price. Raises Unreadable."""
    begin = int(words[0].lower() in _IN)
    span = length(words[begin : begin + 2])
    place = begin + span[1] if span else 0  # of the percentage
    percent = _PERCENT.fullmatch(words[place]) if place < len(words) else None
    if percent is None:
        return None
    used = place + 1
    if span is None:
        named = [word.lower() for word in words[used : used + 1] if word.lower() in (*DIRECTIONS, *_MOVES)]
        link = [word for word in words[used + len(named) :][:1] if word.lower() in _IN]
        after = words[used + len(named) + len(link) :][:2]
        span = length(after, bare=bool(link))
        if span is None:
            if link and after and after[0].isdecimal():
                raise Usage(f"In {after[0]} what? Write in {after[0]}m, in 1h or in 7d.")
            if ANY_LENGTH.match(" ".join(after).lower()):
                raise Usage(MOVE_TIME)
            return None
        direction = next((DIRECTIONS[word] for word in named if word in DIRECTIONS), direction)
        used += len(named) + len(link) + span[1]
    direction = {"+": "above", "-": "below"}.get(percent[1], direction)
    seconds = round(span[0])
    if not SHORTEST <= seconds <= LONGEST:
        raise Usage(MOVE_TIME)
    try:
        size = typed.number(percent[2].replace(",", "."), 0.1, 1000 if direction == "above" else 99) / 100
    except ValueError:
        raise Usage("Give from 0.1 to 99 percent (up: to 1000).") from None
    return size, seconds, direction, used


def _times(words: list[str]) -> tuple[float, int] | None:
    """How many times the usual volume `volume x3`, `3x volume` or `vol spike` means, and how many words say so; None
    for anything else. Raises Unreadable."""
    found = _VOLUME.match(" ".join(words).lower())
    if found is None:
        return None
    used = len(found[0].split())
    said = found["before"] or found["after"] or (f"{found['more']}%" if found["more"] else "")
    if not said and re.match(r"[x×*<>=$]*(?:\d|$)", " ".join(words[used : used + 1]) or "-"):
        raise Usage("Give how many times the usual volume, like volume x3.")
    size = float(re.sub(r"[^\d.]", "", said.replace(",", ".")) or 3) / (100 if said.endswith("%") else 1)
    size += 1 if found["more"] else 0
    if not LEAST_TIMES <= size <= MOST_TIMES:
        raise Usage(f"Give from {LEAST_TIMES:g} to {MOST_TIMES:g} times the usual volume.")
    return size, used


def _is_over(level: Level, bar: Bar) -> bool:
    """Has the move been there already, by what was traded in its span?"""
    rose, fell = bar.close / bar.low - 1, 1 - bar.close / bar.high
    return (level.direction != "below" and rose >= level.size) or (level.direction != "above" and fell >= level.size)


def since(context: Context, symbol: str, seconds: float) -> Bar | None:
    """What was traded in the last so many seconds, as one bar; None when that is not known."""
    return context.store.markets.one_bar(symbol, since=context.now() - seconds)


def last_price(context: Context, symbol: str) -> float | None:
    """The newest price of the last day."""
    bar = since(context, symbol, 86400)
    return None if bar is None else bar.close
