"""Commands that change what this chat gets, and how loud. The buttons of /settings run the same functions."""

from __future__ import annotations

import re
from dataclasses import replace

from alerts.wording import plural
from base import text, typed
from base.kinds import ALL
from botapi.updates import Update
from commands.context import KINDS, Context, Keyboard, Reply, Usage, as_symbol, run_button
from commands.schedules import digests
from commands.times import muted, zone_now
from store.rows import LEVELS, MARKED, MONITORS, Chat

LOWEST_THRESHOLD = 10_000.0
HIGHEST_CAP = 1000
NO_MINIMUM = "prices"  # the one kind without
UNSIZED = (*MARKED, NO_MINIMUM)  # kinds without a minimum in US dollars
MARKS = {"funding": (0.001, 10.0), "oi": (1.0, 100.0)}  # percent that may be set, from and to
# The words for a side, by monitor; the other kinds have no sides.
SIDES = {"whales": {"buys": "buy", "sells": "sell"}, "liquidations": {"longs": "long", "shorts": "short"}}
BOTH = "both"
ALL_COINS = (*ALL, "+all", "all coins")
NONE = ("none", "-all", "no coins", "nothing", "off")


def watch(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Choose coins: from "all" only these, later these too. `+SOL` always adds, `-SOL` removes."""
    chat = context.need_chat(update)
    words = [word.lower() for word in arguments]
    if not words:
        state = f"This chat follows {_coins(context, context.watched(chat))}."
        some = "Only some: /watch BTC ETH. One more: /watch +SOL."
        if chat.symbols is not None:
            some = "One more: /watch +SOL. One less: /unwatch SOL."
        return [Reply(text=f"{state} {some} All: /watch all")]
    if " ".join(words) in ALL_COINS:
        return context.save(replace(chat, symbols=None), f"Watching all coins: {', '.join(context.symbols)}.")
    if " ".join(words) in NONE:
        return _save_symbols(context, chat, frozenset())
    if words[0] == "only":
        return _save_symbols(context, chat, context.some_symbols(arguments[1:]))
    signs = {word[0] for word in words}
    if signs <= {"+", "-"}:
        removed = [word[1:] for word in words if word[0] == "-"]
        added = [word[1:] for word in words if word[0] == "+"]
        chosen = context.watched(chat) | (context.some_symbols(added) if added else frozenset())
        return _save_symbols(context, chat, chosen - (context.some_symbols(removed) if removed else frozenset()))
    named = context.some_symbols([word.lstrip("+") for word in arguments])
    if chat.symbols is None and "+" not in signs:
        return _save_symbols(context, chat, named)
    return _save_symbols(context, chat, context.watched(chat) | named)


def unwatch(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Remove coins from those this chat follows."""
    chat = context.need_chat(update)
    every = " ".join(arguments).lower() in ALL_COINS
    left = frozenset() if every else context.watched(chat) - context.some_symbols(arguments)
    return _save_symbols(context, chat, left)


def threshold(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the minimum in US dollars, or the mark in percent, of one kind, for one coin or all; or show it."""
    chat = context.need_chat(update)
    arguments = re.sub(r"[=:]|>=?", " ", " ".join(arguments)).split()  # BTC=2m, as in .env
    monitor, rest = _leading_monitor(context, arguments)
    if len(rest) > 1 and rest[0].lower() in ALL:
        rest = rest[1:]
    if len(rest) == 2 and as_symbol(rest[1], context.symbols) in context.symbols and rest[0][0] in "$0123456789":
        rest = rest[::-1]  # 2m BTC
    if monitor == NO_MINIMUM:
        raise Usage("Price alerts have no minimum in USD. To turn them off: /level prices off.")
    symbol = "*"
    if rest and rest[0].lower() not in ("auto", "off", "none") and context.is_coin(rest[0]):
        symbol, rest = context.symbol(rest[0]), rest[1:]
    if not rest:
        one = chat if symbol == "*" else replace(chat, symbols=frozenset({symbol}))
        words = context.kind(one, monitor)
        return [Reply(text=_sentence(words) if symbol == "*" else f"{symbol}: {words}.")]
    if any(as_symbol(word.strip(","), context.symbols) in context.symbols for word in rest):
        raise Usage("Set one coin at a time: /threshold BTC 2m, then /threshold ETH 1m.")
    amounts = dict(chat.thresholds.get(monitor, {}))
    if symbol == "*":
        amounts.clear()
    if rest[-1].lower() == "auto":
        amounts.pop(symbol, None)
    else:
        said = " ".join(rest)
        marked = monitor in MARKED
        amounts[symbol] = (
            _mark(said, monitor) if marked else _amount(said, monitor, " ".join(arguments[: -len(rest)]))
        )
    chat = replace(chat, thresholds={**chat.thresholds, monitor: amounts})
    return context.save(chat, _sentence(context.kind(chat, monitor)))


def level(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the sound of one kind of alert, or turn it off."""
    chat = context.need_chat(update)
    if len(arguments) < 2:
        asked = MONITORS if not arguments or arguments[0].lower() == "all" else (monitor_of(arguments[0]),)
        return [Reply(text=". ".join(f"{titled(one)}: {level_of(chat, one)}" for one in asked) + ".")]
    if len(arguments) != 2:
        raise Usage(
            f"Give a kind ({text.enumerated(MONITORS, 'or')}, or all) and a level ({text.enumerated(LEVELS, 'or')})."
        )
    named, wanted = arguments[0].lower(), arguments[1].lower()
    chosen = MONITORS if named == "all" else (monitor_of(named),)
    if wanted not in LEVELS:
        raise Usage(f"“{text.clip(wanted, 32)}” is not a level. Choose {text.enumerated(LEVELS, 'or')}.")
    what = {
        "on": "are on: silent up to twice your minimum, with sound above it",
        "loud": "always come with sound",
        "silent": "always come without sound",
        "off": "are off",
    }[wanted]
    if chosen[0] in UNSIZED and wanted == "on":
        what = "are on, with sound"
    chat = replace(chat, levels={**chat.levels, **dict.fromkeys(chosen, wanted)})
    return context.save(chat, f"{'All alerts' if named == 'all' else _alerts(chosen[0])} {what}.")


def side(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Limit whale orders or liquidations to one side."""
    chat = context.need_chat(update)
    arguments = [word for word in arguments if word.lower() not in ("only", *ALL)]
    monitor, rest = _leading_monitor(context, arguments)
    words = SIDES.get(monitor)
    if words is None:
        raise Usage(f"Only {' and '.join(SIDES)} have sides.")
    wanted = rest[0].lower() if len(rest) == 1 else ""
    wanted = next((word for known in SIDES.values() for word in known if word == f"{wanted}s"), wanted)
    if wanted == BOTH:
        ended = tuple(SIDES) if len(arguments) == 1 else (monitor,)
        sides = {name: one for name, one in chat.sides.items() if name not in ended}
        what = " and ".join(plural(name) for name in ended).capitalize()
        return context.save(replace(chat, sides=sides), f"{what}: both sides.")
    if len(arguments) == 1:  # "longs" can only mean liquidations
        monitor = next((name for name, known in SIDES.items() if wanted in known), monitor)
        words = SIDES[monitor]
    if wanted not in words:
        raise Usage(f"Choose {text.enumerated((*words, BOTH), 'or')}.")
    chat = replace(chat, sides={**chat.sides, monitor: words[wanted]})
    return context.save(chat, f"{_alerts(monitor)}: {wanted} only. Undo with /side {monitor} both")


def here(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """In a group with topics: all alerts, or those of one kind or coin, go to the topic where this was sent."""
    chat = context.need_chat(update)
    if update.private:
        raise Usage("Only groups have topics.")
    word = arguments[0] if len(arguments) == 1 else "all" if not arguments else ""
    if word.lower() == "all":
        return context.save(replace(chat, thread_id=update.thread_id, topics={}), "All alerts will come here.")
    if not word:
        raise Usage(f"Give one kind ({text.enumerated(MONITORS, 'or')}), one coin, or all.")
    try:
        what = monitor_of(word)
    except Usage:
        what = context.alerted_symbol(word)
    chat = replace(chat, topics={**chat.topics, what: update.thread_id or 0})
    return context.save(
        chat,
        f"{_alerts(what) if what in MONITORS else f'{what} alerts'} will come here. "
        "For all alerts in one topic again, send /here all there.",
    )


def members(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """May everyone in this group use the commands that only show something?"""
    chat = context.need_chat(update)
    if update.private:
        raise Usage("This is for groups.")
    word = " ".join(arguments).lower()
    if word not in ("on", "off", ""):
        raise Usage("Choose on or off.")
    chat = replace(chat, members=word == "on" if word else chat.members)
    everyone = "Every member of this group can" if chat.members else "Only allowed users and admins of this group can"
    return context.save(
        chat, f"{everyone} use the commands that show markets. Change it: /members on or /members off"
    )


def cap(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Limit the alert messages per clock hour."""
    chat = context.need_chat(update)
    if not arguments:
        state = (
            f"Limit: {text.count(chat.hourly_cap, 'message')} an hour."
            if chat.hourly_cap
            else "No hourly limit is set."
        )
        return [Reply(text=f"{state} Change it: /cap 20 or /cap off")]
    said = " ".join(arguments).lower()
    if said in ("off", "none", "0"):
        return context.save(replace(chat, hourly_cap=0), "The hourly limit is off: every alert arrives at once.")
    try:
        limit = typed.whole(re.sub(r"\s*(?:/|per|an)\s*h(?:our)?$", "", said), 1, HIGHEST_CAP)
    except ValueError:
        raise Usage(f"Give a number of messages per hour from 1 to {HIGHEST_CAP}, or off.") from None
    rest = (
        "the rest goes into the next digest"
        if context.store.schedules.next_digest(chat.chat_id) is not None
        else "the rest arrives after the hour"
    )
    said = f"At most {text.count(limit, 'alert message')} per clock hour; {rest}."
    return context.save(replace(chat, hourly_cap=limit), said)


# Wording of settings


def titled(monitor: str) -> str:
    """The kind as a label: `Whales`, `Open interest`."""
    return _sentence(KINDS[monitor])[:-1] if monitor == "oi" else monitor.capitalize()


def level_of(chat: Chat, monitor: str) -> str:
    """The chat's level for this kind of alert: on, loud, silent or off."""
    return chat.levels.get(monitor, "on")


def side_of(chat: Chat, monitor: str) -> str:
    """The side that the chat wants of this kind, as people type it."""
    return next((word for word, side in SIDES.get(monitor, {}).items() if side == chat.sides.get(monitor)), BOTH)


def described(context: Context, chat: Chat) -> list[str]:
    """All settings of the chat as plain text, one a line."""
    lines = []
    for monitor in MONITORS:
        words = [level_of(chat, monitor)]
        if words[0] != "off" and monitor != NO_MINIMUM:
            words.append(context.sizes(chat, monitor))
        chosen = side_of(chat, monitor)
        lines.append(f"{titled(monitor)}: {', '.join([*words, f'only {chosen}'] if chosen != BOTH else words)}")
    coins = context.followed(chat)
    lines.append(f"Coins: {', '.join(coins) if chat.symbols is not None else 'all'}" if coins else "Coins: none")
    lines.append(f"Quiet hours: {chat.quiet or 'none'}")
    lines.append(f"Time zone: {zone_now(context, chat)}")
    lines.append(f"Hourly limit: {text.count(chat.hourly_cap, 'message') if chat.hourly_cap else 'none'}")
    lines.append(f"Digest: {', '.join(one.rule for one in digests(context, chat)) or 'none'}")
    others = len(context.store.schedules.of_chat(chat.chat_id)) - len(digests(context, chat))
    if others:
        lines.append(f"Other scheduled messages: {others} (/schedule)")
    if chat.topics:
        lines.append(f"With a topic of their own: {', '.join(chat.topics)} (all in one topic again: /here all in it)")
    return [*lines, *muted(context, chat)]


# What was typed


def monitor_of(word: str) -> str:
    """The monitor that starts with this word: `liq`, `whale`. Raises Usage."""
    word = word.lower()
    found = [monitor for monitor in MONITORS if word == monitor or (len(word) >= 3 and monitor.startswith(word))]
    if not found:
        raise Usage(f"“{text.clip(word, 32)}” is not a kind of alert. Choose {text.enumerated(MONITORS, 'or')}.")
    return found[0]


def _leading_monitor(context: Context, arguments: list[str]) -> tuple[str, list[str]]:
    """The monitor named first (whales if none is) and the arguments after it."""
    if arguments and arguments[0].upper() not in context.symbols:
        try:
            return monitor_of(arguments[0]), arguments[1:]
        except Usage:
            pass  # then it is an amount or a coin
    return "whales", arguments


def _mark(said: str, monitor: str) -> float:
    """The percent that were typed: `0.03`, `5 %`, `5,5%`. Raises Usage."""
    low, high = MARKS[monitor]
    if said.lower() in ("off", "none", "never"):
        raise Usage(f"To turn {plural(monitor)} off: /level {monitor} off.")
    try:
        return typed.number(said.strip("+-±% ").replace(",", "."), low, high)
    except ValueError:
        raise Usage(
            f"Give a percentage from {low:g} to {high:g}, like {0.03 if monitor == 'funding' else 5}."
        ) from None


def _amount(said: str, monitor: str, before: str) -> float:
    """The amount that was typed. before: the arguments in front of it. Raises Usage, also if it means two things."""
    if said.lower() in ("off", "none", "never"):
        raise Usage(f"To turn {plural(monitor)} off: /level {monitor} off.")
    values = [0.0] if said.strip("-$").strip() in ("0", "") else typed.amounts(said)
    values = [value for value in values if value >= LOWEST_THRESHOLD]
    if not values:
        raise Usage(f"The lowest minimum is {text.usd(LOWEST_THRESHOLD)} USD.")
    if len(values) > 1:
        meant = [f"{before} {text.usd(value)}".strip() for value in values]
        raise Usage(f"“{text.clip(said, 32)}” can mean two amounts. Which one?", meant=meant)
    return values[0]


def _save_symbols(context: Context, chat: Chat, symbols: frozenset[str]) -> list[Reply]:
    everything = symbols >= frozenset(context.symbols)
    said = context.kinds(replace(chat, symbols=symbols))[0]
    if symbols.intersection(context.symbols):
        said = f"Watching {'' if everything or chat.symbols is not None else 'only '}{_coins(context, symbols)}."
    again: Keyboard = () if everything else ((run_button("All coins", "watch all"),),)
    saved = context.save(replace(chat, symbols=None if everything else symbols), said)
    return [replace(saved[0], keyboard=again)]


def _coins(context: Context, symbols: frozenset[str]) -> str:
    if symbols >= frozenset(context.symbols):
        return f"all coins: {', '.join(context.symbols)}"
    return ", ".join(symbol for symbol in context.symbols if symbol in symbols) or "no coins"


def _alerts(monitor: str) -> str:
    return plural(monitor).capitalize()


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
