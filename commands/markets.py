"""Commands that show the markets: whale orders, charts, contracts, wallets. They read the store only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo

from alerts.wording import MARKS, described, listed, short, sums
from base import text, typed
from base.kinds import ALL
from botapi.updates import Update
from commands.context import Context, Reply, Usage, as_symbol
from store.rows import CHART_THEMES
from store.wallets import WatchedWallet
from venues.hyperliquid import ADDRESS, wallet_url
from venues.perpetuals import INTEREST_NEAR, Interest, Rate, growth
from venues.trades import BAR_SECONDS

LISTED = 8
RECENT_MS = 300_000
SHARE = 0.1  # of the alert threshold: smaller liquidations are not listed
WALLETS = 10  # per chat
WALLETS_IN_ALL = 200  # different ones: 400 of the 1,200 a minute that Hyperliquid allows one address
FILES, FILES_A_CHAT = 5, 2  # that wait: charts are drawn one after the other
BUSY = "Other charts and files are still being made. Ask again in a minute."
NAME_LENGTH = 24
EXTREMES = 6
STALE = 900.0  # seconds after which rates and positions are shown with their time
NOT_YET = "No {} yet; the first check takes a minute. Is a source down? See /status."
SHORTEST_CHART, LONGEST_CHART = 3600.0, 30 * 86400.0  # seconds; candles are kept for 30 days


def whales(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """List the latest whale orders."""
    symbol, limit = None, 5
    for argument in _without_all(arguments):
        if argument.isascii() and argument.isdigit():
            limit = int(argument)
            if not 1 <= limit <= 20:
                raise Usage("Give a number from 1 to 20.")
        elif symbol is not None:
            raise Usage("Give one coin, or none for all of them.")
        else:
            symbol = context.symbol(argument)
    found = context.store.messages.alerts("whales", symbol, limit=limit)
    if not found:
        return [Reply(text=f"No whale orders{f' in {symbol}' if symbol else ''} yet.")]
    now, zone = context.now(), context.zone(update)
    lines = [listed(alert, now=now, zone=zone, named=True) for alert in found]
    return [Reply(text="\n".join(lines), html=True)]


def _without_all(arguments: list[str]) -> list[str]:
    """No coin means all of them, so `all` says nothing more."""
    return [argument for argument in arguments if argument.lower() not in ALL]


def chart(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Send a coin's chart; it is drawn when it is sent (alerts/attachments.py)."""
    symbol, seconds, theme = "", 86400.0, ""
    for argument in typed.with_units(arguments):
        if argument.lower() in CHART_THEMES:
            theme = argument.lower()
            continue
        try:
            seconds = typed.length(argument, unit="h")
        except ValueError:
            if symbol:
                raise Usage("A chart shows one coin.") from None
            symbol = context.symbol(argument)
    symbol = symbol or context.symbols[0]
    if not SHORTEST_CHART <= seconds <= LONGEST_CHART:
        raise Usage("A chart covers 1h to 30d.")
    typed_now = update.kind == "message"  # else it was scheduled (due.py)
    if typed_now and files_wait(context, update.chat_id):
        return [Reply(text=BUSY)]
    chat = context.store.chats.get(update.chat_id)
    if theme and chat is not None and typed_now and context.access.admits(update):  # else it is for this picture only
        context.store.chats.put(replace(chat, chart_theme=theme))
    wanted = {
        "kind": "chart",
        "symbol": symbol,
        "seconds": seconds,
        "zone": "UTC" if chat is None else chat.timezone,
        "theme": theme or (CHART_THEMES[0] if chat is None else chat.chart_theme),
        "owner": context.is_owner(update) and update.private,  # paths of the server are not for a group
    }
    caption = _caption(context, symbol, seconds, context.zone(update))
    return [Reply(text=caption, method="sendPhoto", attachment=wanted)]


def files_wait(context: Context, chat_id: int) -> bool:
    """Must a new chart or file of this chat wait for others?"""
    waiting = context.store.messages.waiting_files()
    return waiting.get(chat_id, 0) >= FILES_A_CHAT or sum(waiting.values()) >= FILES


def _caption(context: Context, symbol: str, seconds: float, zone: tzinfo) -> str:
    """What the chart shows: how much time, from which exchanges, in which zone."""
    now, markets = context.now(), context.store.markets
    since = now - seconds
    whole = markets.one_bar(symbol, since=since)
    first = since if whole is None else whole.at
    last = f"last {text.span(seconds)}"
    if first - since > BAR_SECONDS:
        last = f"last {text.span(now - first)} (all the data so far)"
    venues = markets.read_since(symbol, since)
    of = f" on {' and '.join(venues)}" if venues else ""
    return (
        f"{symbol}, {last}: price, net taker flow and whale orders{of}, in US dollars. "
        f"Times in {text.offset_at(now, zone)}."
    )


def _one_coin(context: Context, arguments: list[str]) -> str | None:
    """The coin that was named, None for all of them. Raises Usage."""
    arguments = _without_all(arguments)
    if len(arguments) > 1:
        raise Usage("Give one coin, or none for all of them.")
    return context.symbol(arguments[0]) if arguments else None


# Liquidations


def liq(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show totals of liquidations for 5 minutes and 24 hours, and the largest recent ones."""
    symbol = _one_coin(context, arguments)
    now, zone = context.now(), context.zone(update)
    day = context.store.markets.liquidations(since=now - 86400, symbol=symbol)
    began = context.store.markets.liquidations_from()
    if not day:
        seen = "in the last 24 hours" if began <= now - 86400 else "yet; the first check takes a minute"
        if now - 86400 < began <= now:
            seen = f"since {text.clock(began, now=now, zone=zone)}, when the bot was first started"
        of = f" of {symbol}" if symbol else ""
        return [Reply(text=f"No liquidations{of} {seen}. Is a source down? See /status.")]
    venues = " and ".join(sorted({event.venue for event in day}))
    lines = [f"<b>Liquidations on {text.escape(venues)}</b>, in USD (these venues only)"]
    recent = [event for event in day if event.at_ms > now * 1000 - RECENT_MS]
    lines.append(f"5 min: {' · '.join(sums(recent)) or 'none'}")
    # The first look reaches back an hour at some venues and a day at others, so it is not the total of a day.
    span = "24 h" if began <= now - 86400 else f"since {text.clock(began, now=now, zone=zone, named=False)}"
    lines.append(f"{span}: {' · '.join(sums([e for e in day if e.at_ms > began * 1000])) or 'none'}")
    large = [event for event in day if event.usd >= SHARE * context.default_min("liquidations", event.symbol)]
    for event in large[:LISTED]:
        at = text.clock(event.at_ms / 1000, now=now, zone=zone, named=False)
        words = f"{event.symbol} {event.side} {text.usd(event.usd)} at {text.price(event.price)}"
        lines.append(f"{at} {MARKS[event.side]} {words} · {text.escape(event.venue)}")
    return [Reply(text="\n".join(lines), html=True)]


# Funding


def funding(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show a coin's funding rates by exchange, or the highest and lowest of all coins."""
    arguments = _without_all(arguments)
    if len(arguments) > 1:
        raise Usage("Give one coin, or none for the extremes.")
    rates = context.store.markets.rates()
    if not rates:
        return [Reply(text=NOT_YET.format("funding rates"))]
    if arguments:
        coin = as_symbol(arguments[0], {rate.symbol.upper() for rate in rates})
        rates = [rate for rate in rates if rate.symbol.upper() == coin]
        if not rates:
            raise Usage(f"No funding rates for {text.clip(coin, 16)}.")
        title, table = f"Funding of {rates[0].symbol}", _of_coin(rates)
    else:
        title, table = "Funding: highest and lowest", _extremes(rates)
    now, zone = context.now(), context.zone(update)
    at = min(rate.at_ms for rate in rates) / 1000
    lines = [f"<b>{text.escape(title)}</b>", f"<pre>{text.escape(table)}</pre>", "Positive: longs pay shorts."]
    if now - at > STALE:
        lines.append(f"Some rates are from {text.clock(at, now=now, zone=zone)}. Is a source down? See /status.")
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
    return f"{rate.eight_hours * 100:>+z8.4f}{rate.year * 100:>+z7,.0f}"


# Open interest


def interest(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show the open interest of a coin by exchange, or of all coins that the chat follows."""
    chat, now = context.store.chats.get(update.chat_id), context.now()
    named = _one_coin(context, arguments)
    wanted = [named] if named else (chat and context.followed(chat)) or context.symbols
    rows: dict[str, dict[tuple[str, str], list[Interest]]] = {}  # what is in a row of the table, by venue and coin
    for one in context.store.markets.interest(since=now - 86400 - INTEREST_NEAR):
        if one.symbol in wanted:
            row = rows.setdefault(one.venue if named else one.symbol, {})
            row.setdefault((one.venue, one.symbol), []).append(one)
    if not rows:
        return [Reply(text=NOT_YET.format(f"open interest{f' of {named}' if named else ''}"))]
    venues = sorted({venue for row in rows.values() for venue, _ in row})
    order = venues if named else [symbol for symbol in wanted if symbol in rows]
    title = f"Open interest{f' of {named}' if named else ''} on {' and '.join(venues)}"
    table = [f"{'venue' if named else 'coin':<11} {'USD':>7}{'1 h':>8}{'24 h':>8}"]
    for name in order:
        pasts = list(rows[name].values())
        usd = text.usd(sum(past[-1].usd for past in pasts))
        table.append(f"{name:<11.11} {usd:>7}{_grew(pasts, 3600):>8}{_grew(pasts, 86400):>8}")
    lines = [f"<b>{text.escape(title)}</b>", f"<pre>{text.escape(chr(10).join(table))}</pre>"]
    unknown = " –: not known yet." if any("–" in row for row in table) else ""
    lines.append(f"Changes are of the positions in coins, whatever the price did.{unknown}")
    at = min(past[-1].at_ms for row in rows.values() for past in row.values()) / 1000
    if now - at > STALE:
        lines.append(f"Some figures are from {text.clock(at, now=now, zone=context.zone(update))}. See /status.")
    return [Reply(text="\n".join(lines), html=True)]


def _grew(pasts: Sequence[Sequence[Interest]], seconds: float) -> str:
    grown = growth(pasts, seconds)
    return "–" if grown is None else text.percent(grown)


# Wallets


def wallet(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Add, remove or list the Hyperliquid wallets that this chat follows."""
    chat = context.need_chat(update)
    word, rest = (arguments[0].lower(), arguments[1:]) if arguments else ("list", [])
    if word == "list" and not rest:
        return _list(context, update)
    if word.startswith("0x"):
        word, rest = "add", arguments
    if word == "add" and rest:
        return _add(context, chat.chat_id, rest[0].lower(), " ".join(rest[1:]))
    if word in ("remove", "rm", "del", "delete") and rest:
        return _remove(context, chat.chat_id, " ".join(rest))
    raise Usage("Use add with an address, list, or remove with a name.")


def _add(context: Context, chat_id: int, address: str, typed: str) -> list[Reply]:
    if not ADDRESS.fullmatch(address):
        raise Usage("A Hyperliquid address is 0x followed by 40 characters (0-9, a-f). ENS names do not work.")
    name = " ".join(typed.split()) or short(address)
    if len(name) > NAME_LENGTH:
        raise Usage(f"A name can have up to {NAME_LENGTH} characters.")
    known = context.store.wallets.of_chat(chat_id)
    others = [one for one in known if one.address != address]
    if any(one.name.lower() == name.lower() for one in others):
        raise Usage(f"Another wallet in this chat is already called “{name}”.")
    if len(others) >= WALLETS:
        raise Usage(f"A chat can follow up to {WALLETS} wallets. Remove one first with /wallet remove NAME.")
    if len(others) == len(known) and context.store.wallets.count() >= WALLETS_IN_ALL:
        raise Usage(f"This bot follows {WALLETS_IN_ALL} wallets for its chats, and that is its limit.")
    context.store.wallets.watch(WatchedWallet(chat_id, address, name), now=context.now())
    if len(others) < len(known):
        return [Reply(text=f"Wallet {short(address)} is now called {name}.")]
    said = f"Following {name}. Its current positions are read within a minute, without an alert."
    return [Reply(text=f"{said} You are alerted to changes after that. See them with /wallet list")]


def _remove(context: Context, chat_id: int, typed: str) -> list[Reply]:
    for one in context.store.wallets.of_chat(chat_id):
        if typed.lower() in (one.name.lower(), one.address):
            context.store.wallets.unwatch(chat_id, one.address)
            return [Reply(text=f"No longer following {one.name}.")]
    raise Usage(f"No wallet here is called “{text.clip(typed, 48)}”. See their names: /wallet list")


def _list(context: Context, update: Update) -> list[Reply]:
    known = context.store.wallets.of_chat(update.chat_id)
    if not known:
        return [Reply(text="No wallets yet. Add one: /wallet add 0x… NAME")]
    now, zone = context.now(), context.zone(update)
    lines = []
    for one in known:
        look = context.store.wallets.look(one.address)
        link = f'<a href="{wallet_url(one.address)}">{short(one.address)}</a>'
        lines.append(link if one.name == short(one.address) else f"<b>{text.escape(one.name)}</b> · {link}")
        if look is None:
            lines.append("not read yet")
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
