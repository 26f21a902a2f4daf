"""/alert: the price levels of a chat, set by typing or with buttons. watch/levels.py finds what touches them."""

from __future__ import annotations

import re
from dataclasses import replace

from base import text, typed
from base.typed import Unreadable
from botapi.updates import Update
from commands.context import Button, Context, Reply, Usage, in_rows, run_button
from store.rows import Chat, Level

MOST = 50  # that wait, in a chat
LISTED = 10  # of those that wait no more
NOTE_LENGTH = 100
OFFERED = 8  # coins with a button
STEPS = ("+1%", "+2%", "+5%", "+10%", "-1%", "-2%", "-5%", "-10%")
NEAR = 20.0  # times the price, up or down: of two readings the one that is not beyond it is meant
_DIRECTIONS = {
    **dict.fromkeys(("above", "over", ">", ">=", "up", "rise", "rises"), "above"),
    **dict.fromkeys(("below", "under", "<", "<=", "down", "fall", "falls", "drop", "drops"), "below"),
}
_FILLERS = ("at", "@", "to", "=", "crosses", "cross", "hits", "reaches", "price")
_PERCENT = re.compile(r"([+-]?)(\d{1,4}(?:[.,]\d{1,4})?)%")


def alert(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set a price level, or list, remove and wake those of the chat."""
    chat = context.need_chat(update)
    arguments = [*" ".join(arguments[:1]).replace("=", " ").split(), *arguments[1:]]  # BTC=90k
    word = arguments[0].lower() if arguments else "list"
    if word == "list" and len(arguments) < 2:
        return [_listed(context, chat)]
    if word in ("remove", "again") and len(arguments) == 2:
        return [_change(context, chat, word, arguments[1])]
    if word in ("off", "remove", "none"):
        raise Usage("Remove one with its number, like /alert remove 3, or all: /alert remove all.")
    symbol = context.symbol(arguments[0])
    if len(arguments) == 1:
        return [_steps(context, symbol)]
    level = _typed(context, chat, symbol, arguments[1:])
    _room(context, chat)
    number = context.store.levels.add(level)
    buttons = (run_button("Remove", f"alert remove {number}"), run_button("All price alerts", "alert"))
    return [Reply(text="\n".join(_said(context, chat, level)), keyboard=(buttons,))]


# What was typed


def _typed(context: Context, chat: Chat, symbol: str, words: list[str]) -> Level:
    """The level that is meant by `above 100k repeat for 7d my note`. Raises Unreadable."""
    last, direction, words = _last(context, symbol), "either", list(words)
    while words and words[0].lower() in (*_DIRECTIONS, *_FILLERS):
        direction = _DIRECTIONS.get(words.pop(0).lower(), direction)
    if words and words[0][0] in "<>":
        direction, words[0] = _DIRECTIONS[words[0][0]], words[0].lstrip("<>=")
    if len(words) > 1 and words[1] == "%":
        words[:2] = ["".join(words[:2])]
    if not words:
        raise Usage("At which price?")
    price, direction = _price(symbol, words, direction, last)
    repeat, expires, rest = False, 0.0, words[1:]
    while rest:
        if rest[0].lower() in ("repeat", "once"):
            repeat, rest = rest[0].lower() == "repeat", rest[1:]
        elif rest[0].lower() == "for" and (found := _length(rest[1:3])):
            expires, rest = context.now() + found[0], rest[1 + found[1] :]
        else:
            break
    note = text.one_line(" ".join(rest)).strip('"“”')
    if len(note) > NOTE_LENGTH:
        raise Usage(f"A note can have up to {NOTE_LENGTH} characters.")
    return Level(
        chat_id=chat.chat_id,
        symbol=symbol,
        price=price,
        direction=direction,
        repeat=repeat,
        expires=expires,
        note=note,
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


def _length(words: list[str]) -> tuple[float, int] | None:
    """The time that the first two words mean, or the first one, with their number; None for other words."""
    for number in (2, 1):
        try:
            return typed.length(" ".join(words[:number])), min(number, len(words))
        except Unreadable:
            continue
    return None


# Changes


def _change(context: Context, chat: Chat, word: str, which: str) -> Reply:
    """Remove a level (or all), or let one wait again; the answer is the list, also for a second press."""
    found = context.store.levels.of_chat(chat.chat_id)
    if not (word == "remove" and which.lower() == "all"):
        found = [level for level in found if str(level.id) == which.lstrip("#")]
        if not found:  # perhaps a second press
            listed = _listed(context, chat)
            return replace(
                listed, text=f"There is no price alert #{text.clip(which.lstrip('#'), 16)}.\n{listed.text}"
            )
    for level in found:
        if word == "remove":
            context.store.levels.remove(chat.chat_id, level.id)
            continue
        if not level.waits(context.now()):
            _room(context, chat)
        ends = level.expires if level.expires > context.now() else 0.0
        again = replace(level, expires=ends).waiting(_last(context, level.symbol), now=context.now())
        context.store.levels.move(level, again)
    return _listed(context, chat)


def _room(context: Context, chat: Chat) -> None:
    """Raises Usage when the chat has all the levels that it may have."""
    if sum(level.waits(context.now()) for level in context.store.levels.of_chat(chat.chat_id)) >= MOST:
        raise Usage(f"A chat can have up to {MOST} price alerts. Remove one: /alert shows them with buttons.")


# Words


def _last(context: Context, symbol: str) -> float | None:
    bar = context.store.markets.one_bar(symbol, since=context.now() - 86400)
    return None if bar is None else bar.close


def _said(context: Context, chat: Chat, level: Level) -> list[str]:
    last = _last(context, level.symbol)
    lines = [f"Price alert set: {_words(context, chat, level)}"]
    if last is not None:
        lines.append(f"Now: {text.price(last)} ({text.percent(level.price / last - 1)} to go).")
    if level.state == "away" and last is not None and level.direction != "either":
        side, back = ("above", "below") if level.direction == "above" else ("below", "above")
        lines.append(f"The price is {side} it already: it comes once the price was {back} it by 0.2 % and returns.")
    if chat.levels.get("prices") == "off":
        lines.append("But price alerts are off in this chat. Turn them on: /level prices on")
    if level.repeat:
        lines.append("After each alert the price has to go 0.2 % away from it before the next.")
    return lines


def _words(context: Context, chat: Chat, level: Level) -> str:
    """`BTC above 100,000 · repeat · until 2025-06-15 18:00:00 UTC+1 · my note`"""
    now = context.now()
    parts = [f"{level.symbol} {level.direction if level.direction != 'either' else 'at'} {text.price(level.price)}"]
    if level.touched_ms and not level.repeat:
        parts.append(f"came {text.clock(level.touched_ms / 1000, now=now, zone=chat.zone)}")
    if level.repeat:
        parts.append("repeat")
    if level.expires:
        word = "until" if level.expires > now else "expired"
        parts.append(f"{word} {text.clock(level.expires, now=now, zone=chat.zone)}")
    if level.symbol not in context.symbols:
        parts.append("not read: the coin is not on this bot's list")
    return " · ".join([*parts, level.note] if level.note else parts)


def _listed(context: Context, chat: Chat) -> Reply:
    found, now = context.store.levels.of_chat(chat.chat_id), context.now()
    waits = [level for level in found if level.waits(now)]
    ended = sorted((level for level in found if not level.waits(now)), key=lambda level: -level.since_ms)[:LISTED]
    lines = [f"Price alerts: {len(waits)} of {MOST}."]
    lines += [f"#{level.id} {_words(context, chat, level)}" for level in waits]
    lines += ["", "Over:", *(f"#{level.id} {_words(context, chat, level)}" for level in ended)] if ended else []
    lines.append("New: type /alert BTC 100k, or choose a coin." if len(waits) < MOST else "Remove one for a new one.")
    buttons = [run_button(f"✕ #{level.id} {_short(level)}", f"alert remove {level.id}") for level in waits]
    buttons += [run_button(f"↻ #{level.id} {_short(level)}", f"alert again {level.id}") for level in ended]
    coins = context.followed(chat) or list(context.symbols)
    offered = [run_button(symbol, f"alert {symbol}") for symbol in coins[:OFFERED]] if len(waits) < MOST else []
    parts = text.split("\n".join(lines), text.MESSAGE_LIMIT - 100)  # an edit is one message
    words = parts[0] if len(parts) == 1 else f"{parts[0]}\nThe others are on the buttons only."
    return Reply(text=words, keyboard=(*in_rows(buttons, 2), *in_rows(offered, 4)))


def _short(level: Level) -> str:
    return f"{level.symbol} {text.price(level.price)}"


def _steps(context: Context, symbol: str) -> Reply:
    last = _last(context, symbol)
    if last is None:
        return Reply(text=f"At which price? Type it: /alert {symbol} 100k")
    example = text.price(last * 1.05)
    words = (
        f"{symbol} is at {text.price(last)}. Tell you at which price? Choose, or type it: /alert {symbol} {example}"
    )
    return Reply(text=words, keyboard=in_rows([_step(symbol, last, step) for step in STEPS], 4))


def _step(symbol: str, last: float, step: str) -> Button:
    # A price, not a percentage: pressed again when the market has moved, it is the same price alert.
    price = text.price(last * (1 + int(step.rstrip("%")) / 100)).replace(",", "")
    return run_button(step, f"alert {symbol} {'above' if step[0] == '+' else 'below'} {price}")
