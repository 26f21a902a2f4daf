"""Commands that change what this chat gets, and how loud. The buttons of /settings run the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from alerts.digest import Digests, plan
from alerts.held_back import is_due
from base import schedules, text, zones
from botapi.updates import Update
from commands.context import Context, Reply, Usage
from store.rows import LEVELS, MONITORS, Chat, mute_left

LOWEST_THRESHOLD = 10_000.0
HIGHEST_CAP = 1000
DIGEST_HELP = "Set one: /digest 09:00 mon-fri, /digest every 4h. Get one now: /digest now"
# The words for a side, by monitor; funding and wallets have no sides.
SIDES = {"whales": {"buys": "buy", "sells": "sell"}, "liquidations": {"longs": "long", "shorts": "short"}}


def watch(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Add coins to those this chat follows."""
    chat = context.need_chat(update)
    if [word.lower() for word in arguments] == ["all"]:
        return context.save(replace(chat, symbols=None), f"Watching all coins: {', '.join(context.symbols)}.")
    return _save_symbols(context, chat, context.watched(chat) | context.some_symbols(arguments))


def unwatch(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Remove coins from those this chat follows."""
    chat = context.need_chat(update)
    return _save_symbols(context, chat, context.watched(chat) - context.some_symbols(arguments))


def threshold(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the minimum in US dollars of one kind of alert, for one coin or all; without an amount, show it."""
    chat = context.need_chat(update)
    monitor, rest = _leading_monitor(context, arguments)
    if monitor == "funding":
        raise Usage("Funding has no minimum in USD. To turn it off: /level funding off.")
    if not rest:
        return [Reply(text=f"{_sentence(context.kind(chat, monitor))}")]
    if len(rest) > 2:
        raise Usage("Give an amount in USD, with or without a coin.")
    symbol = context.symbol(rest[0]) if len(rest) == 2 else "*"
    amounts = dict(chat.thresholds.get(monitor, {}))
    if symbol == "*":
        amounts.clear()
    if rest[-1].lower() == "auto":
        amounts.pop(symbol, None)
    else:
        amounts[symbol] = _amount(rest[-1])
    chat = replace(chat, thresholds={**chat.thresholds, monitor: amounts})
    return context.save(chat, _sentence(context.kind(chat, monitor)))


def level(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the sound of one kind of alert, or turn it off."""
    chat = context.need_chat(update)
    if not arguments:
        return [Reply(text=". ".join(f"{one.capitalize()}: {level_of(chat, one)}" for one in MONITORS) + ".")]
    if len(arguments) != 2:
        raise Usage(f"Give a kind ({_or(MONITORS)}, or all) and a level ({_or(LEVELS)}).")
    named, wanted = arguments[0].lower(), arguments[1].lower()
    chosen = MONITORS if named == "all" else (_monitor(named),)
    if wanted not in LEVELS:
        raise Usage(f"“{text.clip(wanted, 32)}” is not a level. Choose {_or(LEVELS)}.")
    what = {
        "on": "are on: silent up to twice your minimum, with sound above it",
        "loud": "are always with sound",
        "silent": "are always silent",
        "off": "are off",
    }[wanted]
    if chosen == ("funding",) and wanted == "on":  # it has no threshold
        what = "are on, with sound"
    chat = replace(chat, levels={**chat.levels, **dict.fromkeys(chosen, wanted)})
    return context.save(chat, f"{'All alerts' if named == 'all' else MONITOR_ALERTS[chosen[0]]} {what}.")


def side(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Limit whale orders or liquidations to one side."""
    chat = context.need_chat(update)
    monitor, rest = _leading_monitor(context, arguments)
    words = SIDES.get(monitor)
    if words is None:
        raise Usage(f"Only {' and '.join(SIDES)} have sides.")
    wanted = rest[0].lower() if len(rest) == 1 else ""
    if len(arguments) == 1 and wanted not in ("both", *words):
        # "longs" can only mean liquidations
        monitor = next((name for name, known in SIDES.items() if wanted in known), monitor)
        words = SIDES[monitor]
    if wanted == "both":
        sides = {name: one for name, one in chat.sides.items() if name != monitor}
        return context.save(replace(chat, sides=sides), f"{MONITOR_ALERTS[monitor]}: both sides.")
    if wanted not in words:
        raise Usage(f"Choose {_or((*words, 'both'))}.")
    chat = replace(chat, sides={**chat.sides, monitor: words[wanted]})
    return context.save(chat, f"{MONITOR_ALERTS[monitor]}: {wanted} only. Undo with /side {monitor} both")


def quiet(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set or end the chat's quiet hours."""
    chat = context.need_chat(update)
    typed = " ".join(arguments)
    if not typed:
        state = f"Quiet hours: {chat.quiet} ({chat.timezone})." if chat.quiet else "No quiet hours are set."
        return [Reply(text=f"{state} Change it: /quiet 22:00-07:00 or /quiet off")]
    if typed.lower() == "off":
        if not chat.quiet:
            return [Reply(text="No quiet hours are set.")]
        chat = replace(chat, quiet="")
        comes = is_due(chat, context.store.messages.held(chat.chat_id), now=context.now())
        return context.save(chat, f"Quiet hours are off.{' The alerts held back are on their way.' if comes else ''}")
    try:
        hours = zones.hours(typed)
    except ValueError:
        raise Usage(f"I can't read “{text.clip(typed, 32)}” as a time range. Use 24-hour times.") from None
    start, end = str(hours).split("-")
    said = f"Quiet hours: {start} to {end} ({chat.timezone}). Alerts from that time arrive as one summary at {end}."
    if chat.timezone == "UTC":
        said += " For your time zone: /timezone Berlin"
    return context.save(replace(chat, quiet=str(hours)), said)


def timezone(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the chat's time zone; its next digest moves with it."""
    chat = context.need_chat(update)
    if not arguments:
        return [Reply(text=f"Time zone: {_zone_now(context, chat)}. Change it: /timezone Berlin")]
    try:
        name = zones.find(" ".join(arguments))
    except zones.Unreadable as problem:
        raise Usage(str(problem)) from None
    chat = plan(replace(chat, timezone=name), context.now())
    return context.save(chat, f"Time zone set to {_zone_now(context, chat)}.")


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
    typed = " ".join(arguments).lower()
    if typed == "off":
        return context.save(replace(chat, hourly_cap=0), "The hourly limit is off: every alert arrives at once.")
    try:
        limit = text.parse_whole(typed, 1, HIGHEST_CAP)
    except ValueError:
        raise Usage(f"Give a number of messages per hour from 1 to {HIGHEST_CAP}, or off.") from None
    rest = "the rest goes into the next digest" if chat.digest_at is not None else "the rest arrives after the hour"
    said = f"At most {text.count(limit, 'alert message')} per clock hour; {rest}."
    return context.save(replace(chat, hourly_cap=limit), said)


def digests(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the times of the chat's digest, or send one now."""
    chat = context.need_chat(update)
    now = context.now()
    word = arguments[0].lower() if len(arguments) == 1 else ""
    if not arguments:
        state = _digest_times(chat, now) if chat.digest else "No digest is set."
        return [Reply(text=f"{state} {DIGEST_HELP}")]
    if word == "off":
        return context.save(plan(replace(chat, digest=""), now), "Digests are off.")
    if word == "now":
        least = partial(context.default_min, "whales")
        summary = Digests(context.store, symbols=context.symbols, default_min=least, now=context.now)
        return [Reply(text=summary.compose(chat, since=now - 86400, until=now), html=True)]
    try:
        rule = schedules.parse(" ".join(arguments))
    except zones.Unreadable as problem:
        raise Usage(str(problem)) from None
    chat = plan(replace(chat, digest=rule.typed), now)
    return context.save(chat, _digest_times(chat, now))


def mute(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Mute all alerts or one coin for a while, or unmute."""
    chat = context.need_chat(update)
    if [word.lower() for word in arguments] == ["off"]:
        return context.save(replace(chat, muted_until=0.0, symbol_mutes={}), "Unmuted. Alerts will come again.")
    if not arguments:
        state = " ".join(muted(context, chat)) or "Nothing is muted."
        return [Reply(text=f"{state} Change it: /mute 2h, /mute BTC 1d or /mute off")]
    if len(arguments) > 2:
        raise Usage("Say how long, and for which coin if you like: /mute 2h or /mute BTC 1d.")
    if arguments[-1].lower() == "off":
        return _unmute(context, chat, context.alerted_symbol(arguments[0]))
    try:
        seconds = text.parse_duration(arguments[-1])
    except ValueError:
        raise Usage(
            f"I can't read “{text.clip(arguments[-1], 32)}” as a length of time. Use 30m, 2h or 1d."
        ) from None
    return _mute(context, chat, context.alerted_symbol(arguments[0]) if len(arguments) == 2 else None, seconds)


def press_mute(context: Context, update: Update, rest: str) -> list[Reply]:
    """Run a mute button under an alert. Returns nothing for data that is not from our buttons."""
    named, _, length = rest.rpartition(":")
    chat = context.store.chats.get(update.chat_id)
    if chat is None or length not in ("1h", "24h"):
        return []
    try:
        symbol = context.alerted_symbol(named)
    except Usage:
        return []
    return [replace(said, toast=True) for said in _mute(context, chat, symbol, text.parse_duration(length))]


# Wording of settings

MONITOR_ALERTS = {
    "whales": "Whale orders",
    "liquidations": "Liquidations",
    "funding": "Funding alerts",
    "wallets": "Wallet alerts",
}


def level_of(chat: Chat, monitor: str) -> str:
    """The chat's level for this kind of alert: on, loud, silent or off."""
    return chat.levels.get(monitor, "on")


def described(context: Context, chat: Chat) -> list[str]:
    """All settings of the chat as plain text, one a line."""
    lines = []
    for monitor in MONITORS:
        words = [level_of(chat, monitor)]
        if words[0] != "off" and monitor != "funding":
            words.append(context.sizes(chat, monitor))
        chosen = next((word for word, one in SIDES.get(monitor, {}).items() if one == chat.sides.get(monitor)), "")
        lines.append(f"{monitor.capitalize()}: {', '.join([*words, f'only {chosen}'] if chosen else words)}")
    coins = [symbol for symbol in context.symbols if symbol in context.watched(chat)]
    lines.append(f"Coins: {', '.join(coins) if chat.symbols is not None else 'all'}" if coins else "Coins: none")
    lines.append(f"Quiet hours: {chat.quiet or 'none'}")
    lines.append(f"Time zone: {_zone_now(context, chat)}")
    lines.append(f"Hourly limit: {text.count(chat.hourly_cap, 'message') if chat.hourly_cap else 'none'}")
    lines.append(f"Digest: {chat.digest or 'none'}")
    return [*lines, *muted(context, chat)]


def muted(context: Context, chat: Chat) -> list[str]:
    """`Muted until TIME.` and `Muted: ETH until TIME.`, each only if it applies now."""
    now, lines = context.now(), []
    if chat.muted_for(now):
        lines.append(f"Muted until {text.clock(chat.muted_until, now=now, zone=chat.zone)}.")
    coins = [
        f"{symbol} until {text.clock(until, now=now, zone=chat.zone)}"
        for symbol, until in sorted(chat.symbol_mutes.items())
        if mute_left(until, now) > chat.muted_for(now)
    ]
    return [*lines, f"Muted: {', '.join(coins)}."] if coins else lines


def _zone_now(context: Context, chat: Chat) -> str:
    return f"{chat.timezone}, now {text.clock(context.now(), zone=chat.zone)}"


def _digest_times(chat: Chat, now: float) -> str:
    assert chat.digest_at is not None
    rule = schedules.parse(chat.digest)
    zone = rule.zone or chat.timezone
    comes = datetime.fromtimestamp(chat.digest_at, zones.zone(zone)).strftime("%a %d %b %H:%M")
    wait = text.duration(chat.digest_at - now)
    named = "" if rule.zone else f" ({zone})"
    return f"Digest: {chat.digest}{named}. Next one: {comes}, in {wait}."


# What was typed


def _monitor(word: str) -> str:
    """The monitor that starts with this word: `liq`, `whale`. Raises Usage."""
    found = [monitor for monitor in MONITORS if len(word) >= 3 and monitor.startswith(word.lower())]
    if not found:
        raise Usage(f"“{text.clip(word, 32)}” is not a kind of alert. Choose {_or(MONITORS)}.")
    return found[0]


def _leading_monitor(context: Context, arguments: list[str]) -> tuple[str, list[str]]:
    """The monitor named first (whales if none is) and the arguments after it."""
    if arguments and arguments[0].upper() not in context.symbols:
        try:
            return _monitor(arguments[0]), arguments[1:]
        except Usage:
            pass  # then it is an amount or a coin
    return "whales", arguments


def _amount(typed: str) -> float:
    try:
        amount = text.parse_amount(typed)
    except ValueError:
        raise Usage(f"I can't read “{text.clip(typed, 32)}” as an amount. Write 500k, 2.5m or 2500000.") from None
    if amount < LOWEST_THRESHOLD:
        raise Usage(f"The lowest minimum is {text.usd(LOWEST_THRESHOLD)} USD.")
    return amount


def _mute(context: Context, chat: Chat, symbol: str | None, seconds: float) -> list[Reply]:
    until = context.now() + seconds
    what, ends = symbol or "All alerts", text.clock(until, now=context.now(), zone=chat.zone)
    if symbol is None:
        chat = replace(chat, muted_until=until)
    else:
        chat = replace(chat, symbol_mutes={**chat.symbol_mutes, symbol: until})
    return context.save(chat, f"{what} muted until {ends}. Undo with /mute off")


def _unmute(context: Context, chat: Chat, symbol: str) -> list[Reply]:
    """Unmute one coin; a mute of all alerts stays."""
    chat = replace(chat, symbol_mutes={coin: until for coin, until in chat.symbol_mutes.items() if coin != symbol})
    if not chat.muted_for(context.now()):
        return context.save(chat, " ".join([f"{symbol} unmuted.", *muted(context, chat)]))
    until = text.clock(chat.muted_until, now=context.now(), zone=chat.zone)
    said = f"{symbol} is no longer muted, but all alerts stay muted until {until}. /mute off ends that too."
    return context.save(chat, said)


def _save_symbols(context: Context, chat: Chat, symbols: frozenset[str]) -> list[Reply]:
    named = [symbol for symbol in context.symbols if symbol in symbols]
    everything = len(named) == len(context.symbols)
    said = f"Watching {', '.join(named)}." if named else context.kinds(replace(chat, symbols=frozenset()))[0]
    return context.save(replace(chat, symbols=None if everything else frozenset(named)), said)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
