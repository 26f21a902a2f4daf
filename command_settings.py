"""Commands that change what this chat hears."""

from __future__ import annotations

from dataclasses import replace

import text
from access import Update
from desk import Desk, Reply, Usage
from store import Chat

LOWEST_THRESHOLD = 10_000.0


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
    if not arguments:
        return [Reply(text=f"This chat hears of {desk.hears(chat)}.")]
    if len(arguments) > 2:
        raise Usage("I need an amount, or a coin and an amount.")
    symbol = desk.symbol(arguments[0]) if len(arguments) == 2 else "*"
    thresholds = dict(chat.thresholds.get("whales", {}))
    if arguments[-1].lower() == "auto":
        if symbol == "*":
            thresholds.clear()
        thresholds.pop(symbol, None)
    else:
        try:
            amount = text.parse_amount(arguments[-1])
        except ValueError:
            raise Usage(f"“{text.clip(arguments[-1], 32)}” is not an amount.") from None
        if amount < LOWEST_THRESHOLD:
            raise Usage(f"The lowest threshold is {text.usd(LOWEST_THRESHOLD)}.")
        if symbol == "*":
            thresholds.clear()
        thresholds[symbol] = amount
    chat = replace(chat, thresholds={**chat.thresholds, "whales": thresholds})
    return desk.save(chat, f"This chat now hears of {desk.hears(chat)}.")


def mute(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    if [word.lower() for word in arguments] == ["off"]:
        return desk.save(replace(chat, muted_until=0.0, symbol_mutes={}), "No mute any more: alerts come again.")
    if len(arguments) not in (1, 2):
        raise Usage("I need a length of time, or a coin and a length of time.")
    try:
        seconds = text.parse_duration(arguments[-1])
    except ValueError:
        raise Usage(f"“{text.clip(arguments[-1], 32)}” is not a length of time (30m, 2h, 1d).") from None
    return _mute(desk, chat, desk.symbol(arguments[0]) if len(arguments) == 2 else None, seconds)


def press_mute(desk: Desk, update: Update, rest: str) -> list[Reply]:
    """A mute button under an alert; nothing for data that no button of ours has."""
    symbol, _, length = rest.partition(":")
    chat = desk.store.chat(update.chat_id)
    if chat is None or symbol not in desk.symbols or length not in ("1h", "24h"):
        return []
    return [replace(said, toast=True) for said in _mute(desk, chat, symbol, text.parse_duration(length))]


def _mute(desk: Desk, chat: Chat, symbol: str | None, seconds: float) -> list[Reply]:
    until = desk.now() + seconds
    what, ends = symbol or "All alerts", text.clock(until, now=desk.now(), zone=chat.zone)
    if symbol is None:
        chat = replace(chat, muted_until=until)
    else:
        chat = replace(chat, symbol_mutes={**chat.symbol_mutes, symbol: until})
    return desk.save(chat, f"{what} muted here until {ends}. /mute off ends it.")


def _save_symbols(desk: Desk, chat: Chat, symbols: frozenset[str]) -> list[Reply]:
    named = [symbol for symbol in desk.symbols if symbol in symbols]
    everything = len(named) == len(desk.symbols)
    said = f"Watching {', '.join(named)}." if named else "Watching nothing: no whale alerts come here. /watch all"
    return desk.save(replace(chat, symbols=None if everything else frozenset(named)), said)
