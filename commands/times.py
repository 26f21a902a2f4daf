"""Commands about when alerts come: mutes, quiet hours, the time zone."""

from __future__ import annotations

from dataclasses import replace

from alerts.held_back import is_due, of
from base import moments, text, typed, zones
from base.kinds import ALL
from botapi.updates import Update
from commands.context import Context, Reply, Usage
from commands.schedules import replan
from store.rows import MONITORS, Chat, mute_left

UNTIL = ("until", "till", "til")
ENDLESS = ("forever", "always", "permanently", "on", *ALL)


def quiet(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set or end the chat's quiet hours."""
    chat = context.need_chat(update)
    said = " ".join(arguments)
    if not said:
        state = f"Quiet hours: {chat.quiet} ({chat.timezone})." if chat.quiet else "No quiet hours are set."
        return [Reply(text=f"{state} Change it: /quiet 22:00-07:00 or /quiet off")]
    if said.lower() in ("off", "none", "never"):
        if not chat.quiet:
            return [Reply(text="No quiet hours are set.")]
        chat = replace(chat, quiet="")
        comes = is_due(of(context.store, chat, context.store.messages.held(chat.chat_id)), now=context.now())
        return context.save(chat, f"Quiet hours are off.{' The alerts held back are on their way.' if comes else ''}")
    hours = zones.hours(said)
    start, end = str(hours).split("-")
    said = f"Quiet hours: {start} to {end} ({chat.timezone}). Alerts from that time arrive as one summary at {end}."
    if chat.timezone == "UTC":
        said += " For your time zone: /timezone Berlin"
    return context.save(replace(chat, quiet=str(hours)), said)


def timezone(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Set the chat's time zone; what it scheduled moves with it."""
    chat = context.need_chat(update)
    if not arguments:
        return [Reply(text=f"Time zone: {zone_now(context, chat)}. Change it: /timezone Berlin")]
    chat = replace(chat, timezone=zones.find(" ".join(arguments)))
    replan(context, chat)
    return context.save(chat, f"Time zone set to {zone_now(context, chat)}.")


def mute(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Mute all alerts or one coin for a while, or unmute."""
    chat = context.need_chat(update)
    if len(arguments) > 1 and arguments[0].lower() in ALL:
        arguments = arguments[1:]
    if len(arguments) > 1 and arguments[0].lower() == "off":  # off BTC
        arguments = [*arguments[1:], "off"]
    words = [word.lower() for word in arguments]
    if words == ["off"]:
        return context.save(replace(chat, muted_until=0.0, symbol_mutes={}), "Unmuted. Alerts will come again.")
    if not arguments:
        state = " ".join(muted(context, chat)) or "Nothing is muted."
        return [Reply(text=f"{state} Change it: /mute 2h, /mute BTC 1d or /mute off")]
    if words[0] in MONITORS:
        raise Usage(f"One kind of alert cannot be muted for a time. Turn it off: /level {words[0]} off.")
    if words[-1] in ENDLESS:
        raise Usage("A mute has an end. To turn alerts off until /start: /stop. For one coin: /unwatch BTC.")
    symbol = None
    if context.is_coin(words[0]) and words[0] not in (*UNTIL, "for", "a", "an", "one"):
        try:
            symbol = context.alerted_symbol(arguments[0])
        except Usage:
            if len(words) > 1:
                raise
            raise Usage(f"“{text.clip(words[0], 32)}” is neither a coin of this bot nor a length of time.") from None
        words = words[1:]
    if not words:
        raise Usage(f"For how long? /mute {symbol} 2h")
    if words == ["off"] and symbol is not None:
        return _unmute(context, chat, symbol)
    return _mute(context, chat, symbol, _seconds(context, chat, " ".join(words)))


def _seconds(context: Context, chat: Chat, said: str) -> float:
    """How long a mute lasts: `2h`, `30` (minutes), `until 18:00` or `until fri`."""
    first, *words = said.split()
    if first in UNTIL and words:
        moment = moments.until(words, now=context.now(), where=chat.zone)
        if moment is None or moment[1] < len(words):
            said = text.clip(" ".join(words), 32)
            raise Usage(f"I can't read “{said}” as a time. Write until 18:00, until fri, until 31 Dec or 2h.")
        return moment[0] - context.now()
    return typed.length(f"{said} minutes" if said.isdecimal() else said)


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
    return [replace(said, toast=True) for said in _mute(context, chat, symbol, typed.length(length))]


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


def zone_now(context: Context, chat: Chat) -> str:
    """`Europe/Berlin, now 14:03:07 UTC+1`."""
    return f"{chat.timezone}, now {text.clock(context.now(), zone=chat.zone)}"
