"""Commands that change what this chat gets, and how loud. The buttons of /settings run the same functions."""

from __future__ import annotations

import re
from dataclasses import replace

from alerts.wording import plural
from base import text, typed
from base.kinds import ALL
from botapi.updates import Update
from commands.context import KINDS, Context, Keyboard, Reply, Usage, run_button
from commands.schedules import digests
from commands.times import muted, zone_now
from commands.words import OFF, OFF_OR_ZERO, taken_apart
from store.rows import LEVELS, MARKED, MONITORS, Chat

HIGHEST_CAP = 1000
NO_MINIMUM = "prices"  # the one kind without
UNSIZED = (*MARKED, NO_MINIMUM)  # kinds without a minimum in US dollars
# The words for a side, by monitor; the other kinds have no sides.
SIDES = {"whales": {"buys": "buy", "sells": "sell"}, "liquidations": {"longs": "long", "shorts": "short"}}
BOTH = "both"
LEVEL_WORDS = {
    **dict.fromkeys(("mute", "muted", "quiet", "silence", "silently", "soundless"), "silent"),
    **dict.fromkeys(("normal", "default", "yes", "enable", "enabled", "start"), "on"),
    **dict.fromkeys(("sound", "loudly", "noisy"), "loud"),
    **dict.fromkeys(OFF, "off"),
}
_SIDE_WORDS = {
    **{word.removesuffix("s"): word for known in SIDES.values() for word in known},
    **dict.fromkeys(("buying", "buyers", "bought"), "buys"),
    **dict.fromkeys(("selling", "sellers", "sold"), "sells"),
    **dict.fromkeys(("either", *OFF), BOTH),
}
_LIMIT = re.compile(
    r"^(?:max(?:imum)?|at most|up to)\s+"
    r"|\s*(?:messages?|alerts?|msgs?)?\s*(?:(?:/|per|an?|each|every)\s*h(?:our)?|hourly)?$"
)
_EVERY = rf"(?:(?:{'|'.join(map(re.escape, ALL))})(?: coins?)?)(?=\s|$)"


def watch(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Choose coins: from "all" only these, later these too. `+SOL` always adds, `-SOL` removes."""
    chat = context.need_chat(update)
    said = re.sub(r"(?<=[+-])\s+", "", " ".join(arguments))
    said = re.sub(
        r"^(?:add|plus)\s+", "+", re.sub(r"^(?:remove|delete|not|no|without)\s+", "-", said, flags=re.I), flags=re.I
    )
    lower = said.lower()
    if lower in ("", "list", "show"):
        state = f"This chat follows {_coins(context, context.watched(chat))}."
        some = "Only some: /watch BTC ETH. One more: /watch +SOL."
        if chat.symbols is not None:
            some = "One more: /watch +SOL. One less: /unwatch SOL."
        return [Reply(text=f"{state} {some} All: /watch all")]
    if lower in (*OFF, "nothing", "-all", "no coins", "-coins"):
        return _save_symbols(context, chat, frozenset())
    every = re.fullmatch(rf"\+?{_EVERY}(?:(?:\s+(?:but|except|without|minus)\s+|\s+-)(.*))?", lower)
    if every is not None:
        left = context.some_symbols(re.split(r"[\s,]-?", every[1])) if every[1] else frozenset()
        return _save_symbols(context, chat, frozenset(context.symbols) - left)
    only = re.fullmatch(r"(?:only|just)\s(.*)|(.*)\s(?:only|just)", said, re.IGNORECASE)
    if only is not None:
        return _save_symbols(context, chat, context.some_symbols((only[1] or only[2]).split()))
    words = [word for word in said.split() if word.lower() not in ("only", "just")]
    if not words:
        raise Usage("Which coins?")
    if {word[0] for word in words} <= {"+", "-"}:
        removed = [word[1:] for word in words if word[0] == "-"]
        added = [word[1:] for word in words if word[0] == "+"]
        chosen = context.watched(chat) | (context.some_symbols(added) if added else frozenset())
        return _save_symbols(context, chat, chosen - (context.some_symbols(removed) if removed else frozenset()))
    if any(word.startswith("-") for word in words):
        raise Usage("Only these: /watch BTC ETH. One more and one less: /watch +BTC -ETH.")
    named = context.some_symbols([word.lstrip("+") for word in words])
    if chat.symbols is None:
        return _save_symbols(context, chat, named)
    return _save_symbols(context, chat, context.watched(chat) | named)


def unwatch(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Remove coins from those this chat follows."""
    chat = context.need_chat(update)
    every = re.fullmatch(rf"{_EVERY}(?:\s+(?:but|except)\s+(.*))?", " ".join(arguments).lower())
    if every is not None:
        left = context.some_symbols(every[1].split()) if every[1] else frozenset()
    else:
        left = context.watched(chat) - context.some_symbols([word.lstrip("+-") for word in arguments])
    return _save_symbols(context, chat, left)


def level(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the sound of some kinds of alerts, or turn them off."""
    chat = context.need_chat(update)
    words = taken_apart(context, arguments)
    found = [LEVEL_WORDS.get(word.lower(), word.lower()) for word in words.rest]
    if not found:
        asked = words.kinds if words.kinds and not words.every else MONITORS
        return [Reply(text=". ".join(f"{titled(one)}: {level_of(chat, one)}" for one in asked) + ".")]
    if words.coins:
        coin = words.coins[0]
        raise Usage(
            f"A level is for a kind of alert, not for a coin. Without {coin}: /unwatch {coin} or /mute {coin} 1d."
        )
    unknown = [word for word in found if word not in LEVELS]
    kinds = f"{text.enumerated(MONITORS, 'or')}, or all"
    if unknown and (words.kinds or words.every or len(found) == 1):
        raise Usage(f"“{text.clip(unknown[0], 32)}” is not a level. Choose {text.enumerated(LEVELS, 'or')}.")
    if unknown:
        raise Usage(f"“{text.clip(unknown[0], 32)}” is not a kind of alert. Choose {kinds}.")
    if len(found) != 1:
        raise Usage(f"Give a kind ({kinds}) and a level ({text.enumerated(LEVELS, 'or')}).")
    wanted = found[0]
    if not (words.kinds or words.every):
        raise Usage(f"Which kind of alert? Choose {kinds}.", meant=[f"all {wanted}"])
    chosen = MONITORS if words.every else words.kinds
    what = {
        "on": "are on: silent up to twice your minimum, with sound above it",
        "loud": "always come with sound",
        "silent": "always come without sound",
        "off": "are off",
    }[wanted]
    if wanted == "on" and set(chosen) <= set(UNSIZED):
        what = "are on, with sound"
    chat = replace(chat, levels={**chat.levels, **dict.fromkeys(chosen, wanted)})
    named = "All alerts" if words.every else sentence(text.enumerated([plural(one) for one in chosen], "and"))[:-1]
    return saved(context, chat, f"{named} {what}.")


def side(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Limit whale orders or liquidations to one side."""
    chat = context.need_chat(update)
    if not arguments:
        state = ". ".join(f"{_alerts(one)}: {side_of(chat, one)}" for one in SIDES)
        return [Reply(text=f"{state}. Change it: /side sells, /side longs or /side both")]
    words = taken_apart(context, re.split(r"[\s/]+", " ".join(arguments)))
    found = {
        _SIDE_WORDS.get(word.lower(), word.lower())
        for word in words.rest
        if word.lower() not in ("only", "just", "and", "&")
    }
    if (words.every and not found) or found in [set(known) for known in SIDES.values()]:
        found = {BOTH}
    wanted = found.pop() if len(found) == 1 else ""
    if words.kinds and words.kinds[0] not in SIDES:
        raise Usage(f"Only {' and '.join(SIDES)} have sides.")
    if words.coins:
        raise Usage("A side is for all coins. Leave the coin out.")
    monitor = words.kinds[0] if words.kinds else "whales"
    if wanted == BOTH:
        ended = words.kinds or tuple(SIDES)
        sides = {name: one for name, one in chat.sides.items() if name not in ended}
        what = " and ".join(plural(name) for name in ended).capitalize()
        return saved(context, replace(chat, sides=sides), f"{what}: both sides.")
    if not words.kinds:  # "longs" can only mean liquidations
        monitor = next((name for name, known in SIDES.items() if wanted in known), monitor)
    if wanted not in SIDES[monitor]:
        raise Usage(f"Choose {text.enumerated((*SIDES[monitor], BOTH), 'or')}.")
    chat = replace(chat, sides={**chat.sides, monitor: SIDES[monitor][wanted]})
    return saved(context, chat, f"{_alerts(monitor)}: {wanted} only. Undo with /side {monitor} both")


def here(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """In a group with topics: all alerts, or those of one kind or coin, go to the topic where this was sent."""
    chat = context.need_chat(update)
    if update.private:
        raise Usage("Only groups have topics. Send /here liquidations in one.")
    words = taken_apart(context, arguments)
    if not arguments or (words.every and not (words.kinds or words.coins or words.rest)):
        return context.save(replace(chat, thread_id=update.thread_id, topics={}), "All alerts will come here.")
    if len((*words.kinds, *words.coins, *words.rest)) != 1:
        raise Usage(f"Give one kind ({text.enumerated(MONITORS, 'or')}), one coin, or all.")
    what = next(iter((*words.kinds, *words.coins)), None) or context.alerted_symbol(words.rest[0])
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
        raise Usage("This is for groups. Send /members on in one.")
    word = " ".join(arguments).lower()
    word = LEVEL_WORDS.get(word, word)
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
    if said in (*OFF_OR_ZERO, "unlimited", "infinite", "no limit", "all"):
        return context.save(replace(chat, hourly_cap=0), "The hourly limit is off: every alert arrives at once.")
    try:
        limit = typed.whole(_LIMIT.sub("", said.replace(",000", "000")), 1, HIGHEST_CAP)
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
    return sentence(KINDS[monitor])[:-1] if monitor == "oi" else monitor.capitalize()


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


def saved(context: Context, chat: Chat, said: str) -> list[Reply]:
    """Store the settings; the answer says what the chat gets now, of every kind."""
    return context.save(chat, "\n".join([said, *context.kinds(chat)]))


def _save_symbols(context: Context, chat: Chat, symbols: frozenset[str]) -> list[Reply]:
    everything = symbols >= frozenset(context.symbols)
    said = context.kinds(replace(chat, symbols=symbols))[0]
    if symbols.intersection(context.symbols):
        said = f"Watching {'' if everything or chat.symbols is not None else 'only '}{_coins(context, symbols)}."
    again: Keyboard = () if everything else ((run_button("All coins", "watch all"),),)
    chat = replace(chat, symbols=None if everything else symbols)
    replies = saved(context, chat, said) if symbols else context.save(chat, said)
    return [replace(replies[0], keyboard=again)]


def _coins(context: Context, symbols: frozenset[str]) -> str:
    if symbols >= frozenset(context.symbols):
        return f"all coins: {', '.join(context.symbols)}"
    return ", ".join(symbol for symbol in context.symbols if symbol in symbols) or "no coins"


def _alerts(monitor: str) -> str:
    return plural(monitor).capitalize()


def sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
