"""Commands about perpetual contracts: liquidations, funding, watched wallets. They read what is kept, ask nobody."""

from __future__ import annotations

from alerts.wording import MARKS, described, short, sums
from base import text
from botapi.updates import Update
from commands.context import Desk, Reply, Usage
from store.rows import WatchedWallet
from venues.hyperliquid import ADDRESS, wallet_url
from venues.perpetuals import Rate

LISTED = 8
RECENT_MS = 300_000
SHARE = 0.1  # of the alert size: from here on a liquidation is listed
WALLETS = 10  # that one chat may watch
NAME_LENGTH = 24
EXTREMES = 6
STALE = 900.0  # seconds after which rates are called old


# Liquidations


def liq(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    if len(arguments) > 1:
        raise Usage("I need one coin, or none for all of them.")
    symbol = desk.symbol(arguments[0]) if arguments else None
    now, zone = desk.now(), desk.zone(update)
    day = desk.store.markets.liquidations(since=now - 86400, symbol=symbol)
    began = desk.store.markets.liquidations_from()
    if not day:
        seen = "in 24 hours" if began <= now - 86400 else "yet; the first look takes a minute"
        if now - 86400 < began <= now:
            seen = f"since {text.clock(began, now=now, zone=zone)}, when I began to look"
        of = f" of {symbol}" if symbol else ""
        return [Reply(text=f"No liquidations{of} seen {seen}. /status tells how the sources are.")]
    venues = " and ".join(sorted({event.venue for event in day}))
    lines = [f"<b>Liquidations on {text.escape(venues)}</b>, USD (other venues are not counted)"]
    recent = [event for event in day if event.at_ms > now * 1000 - RECENT_MS]
    lines.append(f"5 min: {' · '.join(sums(recent)) or 'none'}")
    # What venues showed at the first look reaches back an hour at some of them, a day at others: no sum of a day.
    span = "24 h" if began <= now - 86400 else f"since {text.clock(began, now=now, zone=zone, named=False)}"
    lines.append(f"{span}: {' · '.join(sums([e for e in day if e.at_ms > began * 1000])) or 'none'}")
    large = [event for event in day if event.usd >= SHARE * desk.default_min("liquidations", event.symbol)]
    for event in large[:LISTED]:
        at = text.clock(event.at_ms / 1000, now=now, zone=zone, named=False)
        words = f"{event.symbol} {event.side} {text.usd(event.usd)} at {text.price(event.price)}"
        lines.append(f"{at} {MARKS[event.side]} {words} · {text.escape(event.venue)}")
    return [Reply(text="\n".join(lines), html=True)]


# Funding


def funding(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    if len(arguments) > 1:
        raise Usage("I need one coin, or none for the extremes.")
    rates = desk.store.markets.rates()
    if not rates:
        return [Reply(text="No funding seen yet; the first look takes a minute. /status tells how the sources are.")]
    if arguments:
        coin = arguments[0].upper().removesuffix("USDT").strip("$/-")
        rates = [rate for rate in rates if rate.symbol.upper() == coin]
        if not rates:
            raise Usage(f"I know no funding of {text.clip(coin, 16)}.")
        title, table = f"Funding of {rates[0].symbol}", _of_coin(rates)
    else:
        title, table = "Funding, the extremes", _extremes(rates)
    now, zone = desk.now(), desk.zone(update)
    at = min(rate.at_ms for rate in rates) / 1000
    lines = [f"<b>{text.escape(title)}</b>", f"<pre>{text.escape(table)}</pre>", "Positive: longs pay shorts."]
    if now - at > STALE:
        lines.append(f"The oldest are of {text.clock(at, now=now, zone=zone)}: /status")
    return [Reply(text="\n".join(lines), html=True)]


def _extremes(rates: list[Rate]) -> str:
    ordered = sorted(rates, key=lambda rate: rate.eight_hours, reverse=True)
    high = [rate for rate in ordered[:EXTREMES] if rate.rate > 0]
    low = [rate for rate in ordered[-EXTREMES:] if rate.rate < 0]
    rows = [f"{rate.symbol:<8.8} {rate.venue:<8.8}{_figures(rate)}" for rate in high]
    rows += ["", *(f"{rate.symbol:<8.8} {rate.venue:<8.8}{_figures(rate)}" for rate in low)] if low else []
    return "\n".join([f"{'coin':<8} {'venue':<8}{'8 h %':>8}{'year %':>7}", *rows])


def _of_coin(rates: list[Rate]) -> str:
    ordered = sorted(rates, key=lambda rate: rate.eight_hours, reverse=True)
    rows = [f"{rate.venue:<11.11} {_figures(rate)}{f'{rate.hours:g} h':>5}" for rate in ordered]
    return "\n".join([f"{'venue':<11} {'8 h %':>8}{'year %':>7}{'each':>5}", *rows])


def _figures(rate: Rate) -> str:
    return f"{rate.eight_hours * 100:>+8.4f}{rate.year * 100:>+7,.0f}"


# Wallets


def wallet(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    word, rest = (arguments[0].lower(), arguments[1:]) if arguments else ("list", [])
    if word == "list" and not rest:
        return _list(desk, update)
    if word == "add" and rest:
        return _add(desk, chat.chat_id, rest[0].lower(), " ".join(rest[1:]))
    if word in ("remove", "rm", "del") and rest:
        return _remove(desk, chat.chat_id, " ".join(rest))
    raise Usage("I need add and an address, list, or remove and a name.")


def _add(desk: Desk, chat_id: int, address: str, typed: str) -> list[Reply]:
    if not ADDRESS.fullmatch(address):
        raise Usage("A Hyperliquid address is 0x and 40 digits or letters from a to f.")
    name = " ".join(typed.split()) or short(address)
    if len(name) > NAME_LENGTH:
        raise Usage(f"A name has at most {NAME_LENGTH} characters.")
    known = desk.store.markets.watched(chat_id)
    others = [one for one in known if one.address != address]
    if any(one.name.lower() == name.lower() for one in others):
        raise Usage(f"Another wallet here is called “{name}” already.")
    if len(others) >= WALLETS:
        raise Usage(f"A chat watches at most {WALLETS} wallets; /wallet remove one first.")
    desk.store.markets.watch(WatchedWallet(chat_id, address, name), now=desk.now())
    if len(others) < len(known):
        return [Reply(text=f"The wallet {short(address)} is called {name} here now.")]
    said = f"Watching {name}. What it holds now is read within a minute and makes no alert; what changes then does."
    return [Reply(text=f"{said} /wallet list shows it.")]


def _remove(desk: Desk, chat_id: int, typed: str) -> list[Reply]:
    for one in desk.store.markets.watched(chat_id):
        if typed.lower() in (one.name.lower(), one.address):
            desk.store.markets.unwatch(chat_id, one.address)
            return [Reply(text=f"No longer watching {one.name}.")]
    raise Usage(f"No wallet here is called “{text.clip(typed, 48)}”; /wallet list shows them.")


def _list(desk: Desk, update: Update) -> list[Reply]:
    known = desk.store.markets.watched(update.chat_id)
    if not known:
        return [Reply(text="No wallets are watched here. Add one: /wallet add 0x… NAME")]
    now, zone = desk.now(), desk.zone(update)
    lines = []
    for one in known:
        look = desk.store.markets.look(one.address)
        link = f'<a href="{wallet_url(one.address)}">{short(one.address)}</a>'
        lines.append(f"<b>{text.escape(one.name)}</b> · {link}")
        if look is None:
            lines.append("not looked at yet")
            continue
        positions = sorted((seen.position for seen in look.positions.values()), key=lambda held: -held.usd)
        lines += [text.escape(described(position)) for position in positions[:LISTED]]
        if len(positions) > LISTED:
            lines.append(f"and {len(positions) - LISTED} smaller")
        if not positions:
            lines.append("no open positions")
        if now - look.at > STALE:
            lines.append(f"as of {text.clock(look.at, now=now, zone=zone)}: /status")
    return [Reply(text="\n".join(lines), html=True)]
