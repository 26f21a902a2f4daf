"""/alert: the price levels of a chat, set by typing or with buttons. watch/levels.py finds what touches them."""

from __future__ import annotations

import re
from dataclasses import replace

from alerts.publish import SNOOZES, fits
from base import moments, text, typed
from base.kinds import ALL
from base.typed import Unreadable
from botapi.updates import Update
from commands import level_several, level_typed
from commands.context import Button, Context, Reply, Usage, in_rows, run_button
from commands.level_typed import last_price
from store.levels import Level
from store.rows import Chat

MOST = 50  # that wait, in a chat
LISTED = 10  # of those that wait no more
OFFERED = 8  # coins with a button
OTHERS = ("2% in 15m", "5% in 1h", "volume x3")
STEPS = ("+1%", "+2%", "+5%", "+10%", "-1%", "-2%", "-5%", "-10%")
_SAME = {
    **dict.fromkeys(("delete", "del", "rm", "cancel", "clear"), "remove"),
    **dict.fromkeys(("wake", "unsnooze", "resume", "rearm", "re-arm"), "again"),
    "pause": "snooze",
}
SNOOZABLE = 30  # that wait, in a list with a button to snooze each: a keyboard has up to 100 buttons
MORNING = "tomorrow 09:00"  # until when a snooze until tomorrow lasts


def alert(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set a price level, or list, remove and wake those of the chat."""
    chat = context.need_chat(update)
    word = arguments[0].lower() if arguments else "list"
    if word in ("list", "snooze", *ALL) and len(arguments) < 2:
        return [_listed(context, chat)]
    if word in ALL and _SAME.get(arguments[1].lower(), arguments[1].lower()) in ("remove", "snooze"):
        word, arguments = arguments[1].lower(), [arguments[1], "all", *arguments[2:]]
    word = _SAME.get(word, word) if len(arguments) > 1 else word
    if word in ("remove", "again") and len(arguments) > 1:
        return [_change(context, chat, word, ",".join(arguments[1:]))]
    if word == "snooze" and len(arguments) > 1:
        return [_snooze(context, chat, arguments[1], arguments[2:])]
    if word in ("edit", "change", "update", "modify"):
        raise Usage("Price alerts cannot be edited. Set a new one, and remove the old one by its number.")
    if word in ("off", "remove", "none", "stop") or _SAME.get(word) == "remove":
        raise Usage("Remove one with its number, like /alert remove 3, or all: /alert remove all.")
    level_typed.not_here(word)
    symbols, words = level_several.coins(context, chat, level_typed.coin_first(context, arguments))
    if not words and len(symbols) == 1:
        return [_steps(context, symbols[0])]
    found = level_several.levels(context, chat, symbols, words, topic=update.thread_id or 0)
    return [_set(context, chat, found[0]) if len(found) == 1 else _set_all(context, chat, found)]


# Changes


def _set(context: Context, chat: Chat, level: Level) -> Reply:
    """Keep a new level; the one of the same price gives way to it, and stays if it is the same in all."""
    old = _like(context, level)
    if old is not None and _is_same(context, old, level):
        level, number, said = old, old.id, [f"Already set: #{old.id} {_words(context, chat, old)}"]
    else:
        _room(context, chat, 0 if old else 1)
        number, said = context.store.levels.add(level), [f"Price alert set: {_words(context, chat, level)}"]
        if old is not None:
            said.append(f"It replaces #{old.id}: {_words(context, chat, old)}")
    said += [*_now(context, level), *_then(chat, level)]
    buttons = (run_button("Remove", f"alert remove {number}"), run_button("All price alerts", "alert"))
    return Reply(text="\n".join(said), keyboard=(buttons,))


def _set_all(context: Context, chat: Chat, levels: list[Level]) -> Reply:
    """Keep several new levels: prices of one coin, or one move or volume of several."""
    like = [_like(context, level) for level in levels]
    same = [old is not None and _is_same(context, old, level) for old, level in zip(like, levels, strict=True)]
    _room(context, chat, like.count(None))
    for level, is_there in zip(levels, same, strict=True):
        if not is_there:
            context.store.levels.add(level)
    said = ["Price alerts set:"]
    if levels[0].symbol != levels[-1].symbol and levels[0].kind != "price":
        first = _words(context, chat, replace(levels[0], state="on")).removeprefix(levels[0].symbol)
        said.append(f"{', '.join(level.symbol for level in levels)}:{first}")
    else:
        said += [_words(context, chat, level) for level in levels]
    replaced = len(levels) - like.count(None) - sum(same)
    counts = [f"{what}: {number}." for what, number in (("Already set", sum(same)), ("Replaced", replaced)) if number]
    said += [" ".join(counts)] if counts else []
    said += _then(chat, levels[0])
    return Reply(text="\n".join(said), keyboard=((run_button("All price alerts", "alert"),),))


def _like(context: Context, level: Level) -> Level | None:
    """The one of the same price or move that waits in the chat."""
    old = context.store.levels.like(level)
    return old if old is not None and old.waits(context.now()) else None


def _is_same(context: Context, old: Level, new: Level) -> bool:
    """Would the new one do just what the old one does?"""
    options = [(one.repeat, one.cooldown, one.expires, one.note, one.topic) for one in (old, new)]
    return options[0] == options[1] and not old.rests(context.now())


def _change(context: Context, chat: Chat, word: str, which: str) -> Reply:
    """Remove a level (or all), or let one wait again; the answer is the list, also for a second press."""
    found = _meant(context, chat, which)
    if word == "again" and which.lower() == "all":
        found = [level for level in found if level.rests(context.now())]
    if not found and which.lower() != "all":  # perhaps a second press
        listed = _listed(context, chat)
        return replace(listed, text=f"{_none(which)}\n{listed.text}")
    for level in found:
        if word == "remove":
            context.store.levels.remove(chat.chat_id, level.id)
            continue
        if not level.waits(context.now()):
            _room(context, chat)
        ends = level.expires if level.expires > context.now() else 0.0
        again = replace(level, expires=ends).waiting(last_price(context, level.symbol), now=context.now())
        context.store.levels.move(level, again)
    return _listed(context, chat)


def _snooze(context: Context, chat: Chat, which: str, words: list[str]) -> Reply:
    """Let a level rest for a while, or ask for how long."""
    found = _meant(context, chat, which)
    if not found:
        raise Usage(_none(which))
    everything = run_button("All price alerts", "alert")
    if not words:
        lengths = [run_button(label, f"alert snooze {which} {typed}") for label, typed in SNOOZES.items()]
        return Reply(text=f"{_named(context, chat, found)}: for how long?", keyboard=(tuple(lengths), (everything,)))
    until = _until(context, chat, words)
    for level in found:
        if not level.waits(context.now()):
            _room(context, chat)
        ends = level.expires if level.expires > until else 0.0  # it would never come otherwise
        context.store.levels.move(level, replace(level, expires=ends).resting(until))
    ends_at = text.clock(until, now=context.now(), zone=chat.zone)
    wakes = run_button("Wake up", f"alert again {which}")
    buttons = (wakes, everything) if len(found) == 1 else (everything,)
    return Reply(text=f"{_named(context, chat, found)} snoozed until {ends_at}.", keyboard=(buttons,))


def press_snooze(context: Context, update: Update, rest: str) -> list[Reply]:
    """Run a snooze button under an alert. Returns nothing for data that is not from our buttons."""
    numbers, _, length = rest.rpartition(":")
    chat = context.subscribed(update)
    if chat is None or length not in SNOOZES.values():
        return []
    try:
        return [replace(_snooze(context, chat, numbers, [length]), toast=True)]
    except Unreadable as problem:  # it was removed, or there is no room for it
        return [Reply(text=str(problem), toast=True)]


def _until(context: Context, chat: Chat, words: list[str]) -> float:
    """When a snooze of `4h`, `tomorrow` or `until 18:00` ends."""
    said, now = " ".join(words).lower(), context.now()
    bare = re.sub("^(?:until|till?) ", "", said)
    bare = MORNING if bare == "tomorrow" else bare
    try:
        return now + typed.length(bare.removeprefix("for "))
    except Unreadable:
        moment = moments.until(bare.split(), now=now, where=chat.zone)
    if moment is None or moment[1] < len(bare.split()):
        raise Usage(
            f"I can't read “{text.clip(said, 32)}” as a time. Write 4h, tomorrow, until 18:00 or until 31 Dec."
        )
    return moment[0]


def _meant(context: Context, chat: Chat, which: str) -> list[Level]:
    """The chat's levels of these numbers (`3`, `#3`, `3,4`, `3-5`), or all of them; none for `all but 3`."""
    found = context.store.levels.of_chat(chat.chat_id)
    said = [one for one in which.split(",") if one.lower() not in ("", "and", "&", "alert", "alerts", "please")]
    numbers = [re.fullmatch(r"#?(\d{1,15})(?:-#?(\d{1,15}))?", one) for one in said]
    if None in numbers and which.lower() != "all":
        return []
    spans = [(int(one[1]), int(one[2] or one[1])) for one in numbers if one is not None]
    return [level for level in found if which.lower() == "all" or any(a <= level.id <= b for a, b in spans)]


def _none(which: str) -> str:
    return f"There is no price alert #{text.clip(which.lstrip('#'), 16)}."


def _named(context: Context, chat: Chat, found: list[Level]) -> str:
    return (
        text.count(len(found), "price alert").capitalize() if len(found) > 1 else f"#{found[0].id} {_short(found[0])}"
    )


def _room(context: Context, chat: Chat, more: int = 1) -> None:
    """Raises Usage when the chat may not have so many more levels that wait."""
    if more and sum(level.waits(context.now()) for level in context.store.levels.of_chat(chat.chat_id)) + more > MOST:
        raise Usage(f"A chat can have up to {MOST} price alerts. Remove one: /alert shows them with buttons.")


# Words


def _now(context: Context, level: Level) -> list[str]:
    """How far it is from the market."""
    lines, last = list[str](), last_price(context, level.symbol)
    if level.kind == "move":
        lines += _so_far(context, level)
    elif level.kind == "volume":
        lines += _volume(context, level)
    elif last is not None:
        lines.append(f"Now: {text.price(last)} ({text.percent(level.price / last - 1)} to go).")
    if level.state == "away" and last is not None and level.direction != "either":
        side, back = ("above", "below") if level.direction == "above" else ("below", "above")
        lines.append(
            f"The price is {side} it already: the alert comes when the price was 0.2 % {back} it and is back."
        )
    return lines


def _then(chat: Chat, level: Level) -> list[str]:
    """What happens after it was told."""
    lines = []
    if chat.levels.get("prices") == "off":
        lines.append("But price alerts are off in this chat. Turn them on: /level prices on")
    if level.cooldown:
        lines.append(f"After each alert it rests for {text.duration(level.cooldown)}.")
    elif level.kind == "volume" and level.repeat:
        lines.append("After each alert the volume has to fall half of the way back before the next.")
    elif level.kind == "move" and level.repeat:
        lines.append("Each move is told once; the next one counts from there. Remove it, or add once to end it so.")
    elif level.repeat:
        lines.append("After each alert the price has to go 0.2 % away from it before the next.")
    return lines


def _so_far(context: Context, level: Level) -> list[str]:
    """How far a move has come, by the bars."""
    bar = level_typed.since(context, level.symbol, level.span)
    if bar is None:
        return []
    rose, fell = text.percent(bar.close / bar.low - 1), text.percent(bar.close / bar.high - 1)
    over = " That move is over: the alert comes with the next one." if level.since_ms else ""
    return [f"In the last {text.duration(level.span)}: {rose} from the low, {fell} from the high.{over}"]


def _volume(context: Context, level: Level) -> list[str]:
    """How the volume is now, and what it is compared with."""
    volume = context.store.volume(level.symbol, now=context.now())
    if volume is None:
        return ["What is usual is not known yet: three days of this hour are needed."]
    of = f"{text.usd(volume.usual)} USD, the median of this hour on {text.count(volume.days, 'day')}"
    return [f"The last hour: {text.usd(volume.usd)} USD, {volume.times:.1f} times the usual ({of})."]


def _what(level: Level) -> str:
    """`BTC above 100,000`, `BTC 5 % up in 1 h`."""
    if level.kind == "volume":
        return f"{level.symbol} volume {level.size:g} times the usual"
    if level.kind == "move":
        way = {"above": "up", "below": "down"}.get(level.direction, "up or down")
        return f"{level.symbol} {level.size * 100:g} % {way} in {text.duration(level.span)}"
    return f"{level.symbol} {level.direction if level.direction != 'either' else 'at'} {text.exact(level.price)}"


def _words(context: Context, chat: Chat, level: Level) -> str:
    """`BTC above 100,000 · repeat · until 2025-06-15 18:00:00 UTC+1 · my note`"""
    now = context.now()
    parts = [_what(level)]
    if level.touched_ms and not level.repeat:
        parts.append(f"came {text.clock(level.touched_ms / 1000, now=now, zone=chat.zone)}")
    if level.state == "busy":
        told = f"told {text.clock(level.touched_ms / 1000, now=now, zone=chat.zone)}, " if level.touched_ms else ""
        parts.append(f"{told}waits until it is lower")
    if level.kind != "price" and not level.repeat:
        parts.append("once")
    if level.repeat and (level.cooldown or level.kind == "price"):
        parts.append(f"repeat every {text.duration(level.cooldown)}" if level.cooldown else "repeat")
    if level.rests(now):
        parts.append(f"rests until {text.clock(level.rests(now), now=now, zone=chat.zone)}")
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
    buttons = [button for level in waits for button in _row(level, now, snoozable=len(waits) <= SNOOZABLE)]
    buttons += [run_button(f"↻ #{level.id} {_short(level)}", f"alert again {level.id}") for level in ended]
    coins = context.followed(chat) or list(context.symbols)
    offered = [run_button(symbol, f"alert {symbol}") for symbol in coins[:OFFERED]] if len(waits) < MOST else []
    parts = text.split("\n".join(lines), text.MESSAGE_LIMIT - 100)  # an edit is one message
    words = parts[0] if len(parts) == 1 else f"{parts[0]}\nThe others are on the buttons only."
    return Reply(text=words, keyboard=(*in_rows(buttons, 2), *in_rows(offered, 4)))


def _row(level: Level, now: float, *, snoozable: bool) -> list[Button]:
    """What can be done with a level that waits."""
    remove = run_button(f"✕ #{level.id} {_short(level)}", f"alert remove {level.id}")
    wake, snooze = ("↻ Wake up", f"alert again {level.id}"), ("💤 Snooze", f"alert snooze {level.id}")
    return [remove, run_button(*(wake if level.rests(now) else snooze))] if snoozable else [remove]


def _short(level: Level) -> str:
    if level.kind == "volume":
        return f"{level.symbol} volume x{level.size:g}"
    if level.kind == "move":
        return f"{level.symbol} {level.size * 100:g} % in {text.duration(level.span)}"
    return f"{level.symbol} {text.exact(level.price)}"


def _steps(context: Context, symbol: str) -> Reply:
    last = last_price(context, symbol)
    if last is None:
        return Reply(text=f"At which price? Type it: /alert {symbol} 100k")
    example = text.price(last * 1.05)
    words = (
        f"{symbol} is at {text.price(last)}. Tell you at which price, move or volume? Choose, or type it: "
        f"/alert {symbol} {example}"
    )
    others = [run_button(label, f"alert {symbol} {label}") for label in OTHERS]
    rows = (*in_rows([_step(symbol, last, step) for step in STEPS], 4), tuple(others))
    keyboard = tuple(tuple(button for button in row if fits(button[1])) for row in rows)
    return Reply(text=words, keyboard=tuple(filter(None, keyboard)))


def _step(symbol: str, last: float, step: str) -> Button:
    # A price, not a percentage: pressed again when the market has moved, it is the same price alert.
    price = text.price(last * (1 + int(step.rstrip("%")) / 100)).replace(",", "")
    return run_button(step, f"alert {symbol} {'above' if step[0] == '+' else 'below'} {price}")
