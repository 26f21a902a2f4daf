"""Commands that change what this chat hears, and how loud. The keyboard of /settings runs these same functions."""

from __future__ import annotations

from dataclasses import replace

from alerts.digest import plan
from alerts.held_back import is_due
from base import text, zones
from botapi.updates import Update
from commands.context import Desk, Reply, Usage
from store.rows import LEVELS, MONITORS, Chat

LOWEST_THRESHOLD = 10_000.0
HIGHEST_CAP = 1000
# Which words choose a side, by monitor; funding and wallets have no such filter.
SIDES = {"whales": {"buys": "buy", "sells": "sell"}, "liquidations": {"longs": "long", "shorts": "short"}}


def watch(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    if [word.lower() for word in arguments] == ["all"]:
        return desk.save(replace(chat, symbols=None), f"Watching all: {', '.join(desk.symbols)}.")
    return _save_symbols(desk, chat, desk.watched(chat) | desk.some_symbols(arguments))


def unwatch(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    return _save_symbols(desk, chat, desk.watched(chat) - desk.some_symbols(arguments))


def threshold(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    monitor, rest = _leading_monitor(desk, arguments)
    if monitor == "funding":
        raise Usage("Funding has no threshold in dollars; /level funding off ends it.")
    if not rest:
        return [Reply(text=f"This chat hears of {desk.hears(chat, monitor)}.")]
    if len(rest) > 2:
        raise Usage("I need an amount, or a coin and an amount.")
    symbol = desk.symbol(rest[0]) if len(rest) == 2 else "*"
    amounts = dict(chat.thresholds.get(monitor, {}))
    if symbol == "*":
        amounts.clear()
    if rest[-1].lower() == "auto":
        amounts.pop(symbol, None)
    else:
        amounts[symbol] = _amount(rest[-1])
    chat = replace(chat, thresholds={**chat.thresholds, monitor: amounts})
    return desk.save(chat, f"This chat now hears of {desk.hears(chat, monitor)}.")


def level(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    if not arguments:
        return [Reply(text=". ".join(f"{one.capitalize()}: {level_of(chat, one)}" for one in MONITORS) + ".")]
    if len(arguments) != 2:
        raise Usage(f"I need one of {', '.join(MONITORS)} (or: all), and one of {', '.join(LEVELS)}.")
    named, wanted = arguments[0].lower(), arguments[1].lower()
    chosen = MONITORS if named == "all" else (_monitor(named),)
    if wanted not in LEVELS:
        raise Usage(f"“{text.clip(wanted, 32)}” is no level; there are {', '.join(LEVELS)}.")
    what = {
        "on": "are on: without a sound below twice the threshold, with one from there on",
        "loud": "always come with a sound",
        "silent": "always come without a sound",
        "off": "are off here",
    }[wanted]
    if chosen == ("funding",) and wanted == "on":  # it has no threshold
        what = "are on: they come with a sound"
    chat = replace(chat, levels={**chat.levels, **dict.fromkeys(chosen, wanted)})
    return desk.save(chat, f"{'All alerts' if named == 'all' else MONITOR_ALERTS[chosen[0]]} {what}.")


def side(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    monitor, rest = _leading_monitor(desk, arguments)
    words = SIDES.get(monitor)
    if words is None:
        raise Usage(f"Sides can be chosen for {' and '.join(SIDES)} only.")
    wanted = rest[0].lower() if len(rest) == 1 else ""
    if len(arguments) == 1 and wanted not in ("both", *words):
        # "longs" can only mean liquidations
        monitor = next((name for name, known in SIDES.items() if wanted in known), monitor)
        words = SIDES[monitor]
    if wanted == "both":
        sides = {name: one for name, one in chat.sides.items() if name != monitor}
        return desk.save(replace(chat, sides=sides), f"{MONITOR_ALERTS[monitor]} of both sides come here.")
    if wanted not in words:
        raise Usage(f"I need {', '.join(words)} or both.")
    chat = replace(chat, sides={**chat.sides, monitor: words[wanted]})
    return desk.save(chat, f"Of {monitor} only {wanted} come here. /side {monitor} both ends that.")


def quiet(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    typed = " ".join(arguments)
    if not typed:
        state = f"Quiet hours are {chat.quiet} ({chat.timezone})." if chat.quiet else "No quiet hours here."
        return [Reply(text=f"{state} Change it: /quiet 22:00-07:00, /quiet off.")]
    if typed.lower() == "off":
        if not chat.quiet:
            return [Reply(text="There are no quiet hours here.")]
        chat = replace(chat, quiet="")
        comes = is_due(chat, desk.store.messages.held(chat.chat_id), now=desk.now())
        return desk.save(chat, f"No more quiet hours here.{' What they held comes in a moment.' if comes else ''}")
    try:
        hours = zones.hours(typed)
    except ValueError:
        raise Usage(f"“{text.clip(typed, 32)}” is no stretch of a day.") from None
    said = f"Quiet from {str(hours).replace('-', ' to ')} ({chat.timezone}). What comes then is told when they end."
    if chat.timezone == "UTC":
        said += " Your own time zone: /timezone Berlin."
    return desk.save(replace(chat, quiet=str(hours)), said)


def timezone(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    if not arguments:
        return [Reply(text=f"The time zone here is {_zone_now(desk, chat)}. Change it: /timezone Berlin.")]
    try:
        name = zones.find(" ".join(arguments))
    except zones.UnknownZone as problem:
        raise Usage(str(problem)) from None
    chat = plan(replace(chat, timezone=name), desk.now())
    return desk.save(chat, f"The time zone here is now {_zone_now(desk, chat)}.")


def cap(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    if not arguments:
        state = (
            f"At most {text.count(chat.hourly_cap, 'message')} an hour." if chat.hourly_cap else "No hourly cap here."
        )
        return [Reply(text=f"{state} Change it: /cap 20, /cap off.")]
    typed = " ".join(arguments).lower()
    if typed == "off":
        return desk.save(replace(chat, hourly_cap=0), "No more hourly cap: every alert comes at once.")
    if not (typed.isascii() and typed.isdigit() and 1 <= int(typed[:9]) <= HIGHEST_CAP):
        raise Usage(f"I need a number of messages an hour, from 1 to {HIGHEST_CAP}, or off.")
    when = "in the next digest" if chat.digest_at is not None else "together when the hour is over"
    said = f"At most {text.count(int(typed), 'message')} with alerts in a full hour; more of them come {when}."
    return desk.save(replace(chat, hourly_cap=int(typed)), said)


def mute(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    if [word.lower() for word in arguments] == ["off"]:
        return desk.save(replace(chat, muted_until=0.0, symbol_mutes={}), "No mute any more: alerts come again.")
    if not arguments:
        said = " ".join(muted(desk, chat)) or "Nothing is muted here."
        return [Reply(text=f"{said} Change it: /mute 2h, /mute BTC 1d, /mute off.")]
    if len(arguments) > 2:
        raise Usage("I need a length of time, or a coin and a length of time.")
    if arguments[-1].lower() == "off":
        return _unmute(desk, chat, desk.heard_symbol(arguments[0]))
    try:
        seconds = text.parse_duration(arguments[-1])
    except ValueError:
        raise Usage(f"“{text.clip(arguments[-1], 32)}” is not a length of time (30m, 2h, 1d).") from None
    return _mute(desk, chat, desk.heard_symbol(arguments[0]) if len(arguments) == 2 else None, seconds)


def press_mute(desk: Desk, update: Update, rest: str) -> list[Reply]:
    """A mute button under an alert; nothing for data that no button of ours has."""
    named, _, length = rest.rpartition(":")
    chat = desk.store.chats.get(update.chat_id)
    if chat is None or length not in ("1h", "24h"):
        return []
    try:
        symbol = desk.heard_symbol(named)
    except Usage:
        return []
    return [replace(said, toast=True) for said in _mute(desk, chat, symbol, text.parse_duration(length))]


# How settings are worded

MONITOR_ALERTS = {
    "whales": "Whale orders",
    "liquidations": "Liquidations",
    "funding": "Funding alerts",
    "wallets": "Wallet alerts",
}


def level_of(chat: Chat, monitor: str) -> str:
    return chat.levels.get(monitor, "on")


def described(desk: Desk, chat: Chat) -> list[str]:
    """Every setting of the chat, one a line, as plain text."""
    lines = []
    for monitor in MONITORS:
        words = [level_of(chat, monitor)]
        if words[0] != "off" and monitor != "funding":
            words.append(desk.sizes(chat, monitor))
        chosen = next((word for word, one in SIDES.get(monitor, {}).items() if one == chat.sides.get(monitor)), "")
        lines.append(f"{monitor.capitalize()}: {', '.join([*words, f'only {chosen}'] if chosen else words)}")
    coins = [symbol for symbol in desk.symbols if symbol in desk.watched(chat)]
    lines.append(f"Coins: {', '.join(coins) if chat.symbols is not None else 'all'}" if coins else "Coins: none")
    lines.append(f"Quiet hours: {chat.quiet or 'none'}")
    lines.append(f"Time zone: {_zone_now(desk, chat)}")
    lines.append(f"Hourly cap: {text.count(chat.hourly_cap, 'message') if chat.hourly_cap else 'none'}")
    lines.append(f"Digest: {chat.digest or 'none'}")
    return [*lines, *muted(desk, chat)]


def muted(desk: Desk, chat: Chat) -> list[str]:
    """`Muted until TIME.` and `Muted: ETH until TIME.`, each only where it is so now."""
    now, lines = desk.now(), []
    if chat.muted_until > now:
        lines.append(f"Muted until {text.clock(chat.muted_until, now=now, zone=chat.zone)}.")
    coins = [
        f"{symbol} until {text.clock(until, now=now, zone=chat.zone)}"
        for symbol, until in sorted(chat.symbol_mutes.items())
        if until > max(now, chat.muted_until)
    ]
    return [*lines, f"Muted: {', '.join(coins)}."] if coins else lines


def _zone_now(desk: Desk, chat: Chat) -> str:
    return f"{chat.timezone}, where it is {text.clock(desk.now(), zone=chat.zone)}"


# What was typed


def _monitor(word: str) -> str:
    """The monitor that a word begins the name of: `liq`, `whale`. Raises Usage."""
    found = [monitor for monitor in MONITORS if len(word) >= 3 and monitor.startswith(word.lower())]
    if not found:
        raise Usage(f"“{text.clip(word, 32)}” is no kind of alert; there are {', '.join(MONITORS)}.")
    return found[0]


def _leading_monitor(desk: Desk, arguments: list[str]) -> tuple[str, list[str]]:
    """The monitor that is named first, whales where none is, and what follows it."""
    if arguments and arguments[0].upper() not in desk.symbols:
        try:
            return _monitor(arguments[0]), arguments[1:]
        except Usage:
            pass  # then it is an amount or a coin
    return "whales", arguments


def _amount(typed: str) -> float:
    try:
        amount = text.parse_amount(typed)
    except ValueError:
        raise Usage(f"“{text.clip(typed, 32)}” is not an amount.") from None
    if amount < LOWEST_THRESHOLD:
        raise Usage(f"The lowest threshold is {text.usd(LOWEST_THRESHOLD)}.")
    return amount


def _mute(desk: Desk, chat: Chat, symbol: str | None, seconds: float) -> list[Reply]:
    until = desk.now() + seconds
    what, ends = symbol or "All alerts", text.clock(until, now=desk.now(), zone=chat.zone)
    if symbol is None:
        chat = replace(chat, muted_until=until)
    else:
        chat = replace(chat, symbol_mutes={**chat.symbol_mutes, symbol: until})
    return desk.save(chat, f"{what} muted here until {ends}. /mute off ends it.")


def _unmute(desk: Desk, chat: Chat, symbol: str) -> list[Reply]:
    """The end of the mute of one coin, which a mute of all alerts outlives."""
    chat = replace(chat, symbol_mutes={coin: until for coin, until in chat.symbol_mutes.items() if coin != symbol})
    said = (
        f"{symbol} is not muted by itself any more." if chat.muted_until > desk.now() else f"{symbol} is not muted."
    )
    return desk.save(chat, " ".join([said, *muted(desk, chat)]))


def _save_symbols(desk: Desk, chat: Chat, symbols: frozenset[str]) -> list[Reply]:
    named = [symbol for symbol in desk.symbols if symbol in symbols]
    everything = len(named) == len(desk.symbols)
    said = f"Watching {', '.join(named)}." if named else "Watching nothing: no whale alerts come here. /watch all"
    return desk.save(replace(chat, symbols=None if everything else frozenset(named)), said)
