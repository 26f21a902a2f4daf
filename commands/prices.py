"""Prices on demand, from the five-minute bars that the bot keeps: /price, /top, and `@bot btc` in any chat."""

from __future__ import annotations

from collections.abc import Iterable

from base import text, typed
from base.kinds import ALL
from botapi.updates import Update
from commands.context import Context, Reply, Usage, as_symbol
from venues.trades import BAR_SECONDS, Bar

DAY, WEEK = 86400.0, 7 * 86400.0
SHORTEST = 3600.0
STALE = 900.0  # seconds without a look, from which it is said
INLINE = 20  # coins that are offered; Telegram takes up to 50
FULL = 5  # coins with two lines each; more of them are a table
NONE_YET = "No price{} yet; the first look takes a minute. Is a source down? See /status."


def price(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show the price of these coins, or of those that the chat follows, with what it did in a day."""
    chat = context.store.chats.get(update.chat_id)
    followed = context.symbols if chat is None else context.followed(chat)
    if len(arguments) == 1 and arguments[0].lower() in ALL:
        arguments, followed = [], []
    named = context.some_symbols(arguments) if arguments else followed or context.symbols
    symbols = [symbol for symbol in context.symbols if symbol in named]
    bars = _bars(context, symbols, DAY)
    if not bars:
        return [Reply(text=NONE_YET.format(f" of {', '.join(symbols)}" if arguments else ""))]
    table = len(symbols) > FULL
    lines = [_table(bars)] if table else [_described(context, bar) for bar in bars]
    said = "\n".join([*lines, *_notes(context, symbols, bars, DAY if table else 0.0)])
    return [Reply(text=said, html=True, spread=() if table else tuple(bar.symbol for bar in bars))]


def inline(context: Context, update: Update) -> list[dict[str, object]]:
    """The prices of the coins whose names begin with what is typed, each as a message that may be sent."""
    words = tuple(as_symbol(word, context.symbols) for word in update.text.split())
    named = [symbol for symbol in context.symbols if not words or symbol.startswith(words)]
    return [
        {
            "type": "article",
            "id": bar.symbol,
            "title": f"{bar.symbol} {text.price(bar.close)}",
            "description": f"{text.percent(_change(bar))} · {text.usd(bar.buy_usd + bar.sell_usd)} USD traded",
            "input_message_content": {"message_text": _described(context, bar), "parse_mode": "HTML"},
        }
        for bar in _bars(context, named[:INLINE], DAY)
    ]


def top(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """List the bot's coins by how far their price moved, in a day or in the time that was typed."""
    said = " ".join(word for word in arguments if word.lower() not in ("gainers", "losers", "movers", "coins", "in"))
    said = {"today": "24h", "now": "1h"}.get(said.lower(), said)
    seconds = typed.length(said, unit="h") if said else DAY
    if not SHORTEST <= seconds <= WEEK:
        raise Usage("Give a time from 1h to 7d.")
    bars = _bars(context, context.symbols, seconds)
    if not bars:
        return [Reply(text=NONE_YET.format(""))]
    title = f"<b>Moves in {_span(seconds)}</b>"
    table = _table(sorted(bars, key=_change, reverse=True))
    return [Reply(text="\n".join([title, table, *_notes(context, context.symbols, bars, seconds)]), html=True)]


def _bars(context: Context, symbols: Iterable[str], seconds: float) -> list[Bar]:
    """One bar of that time for each coin that was traded in it."""
    return context.store.markets.one_bar_each(symbols, since=context.now() - seconds)


def _change(bar: Bar) -> float:
    return bar.close / bar.open - 1


def _described(context: Context, bar: Bar) -> str:
    low, high = text.price(bar.low, beside=bar.high), text.price(bar.high, beside=bar.low)
    span = _span(min(DAY, max(BAR_SECONDS, context.now() - bar.at)))
    return (
        f"<b>{text.escape(bar.symbol)} {text.price(bar.close)}</b> · {text.percent(_change(bar))} in {span}\n"
        f"low {low} · high {high} · volume {text.usd(bar.buy_usd + bar.sell_usd)} USD"
    )


def _span(seconds: float) -> str:
    return "24 h" if DAY - 2 * BAR_SECONDS <= seconds <= DAY else text.duration(seconds)


def _table(bars: Iterable[Bar]) -> str:
    rows = [f"{'coin':<8}{'price':>11}{'change':>9}{'volume':>8}"]
    for bar in bars:
        worth = text.usd(bar.buy_usd + bar.sell_usd)
        rows.append(f"{bar.symbol:<8.8}{text.price(bar.close):>11}{text.percent(_change(bar)):>9}{worth:>8}")
    return f"<pre>{text.escape(chr(10).join(rows))}</pre>"


def _notes(context: Context, symbols: Iterable[str], bars: Iterable[Bar], seconds: float) -> list[str]:
    """What the figures lack: coins without a price, a shorter time than these seconds, sources that do not answer."""
    now, seen = context.now(), {bar.symbol: bar.at for bar in bars}
    lines = []
    missing = [symbol for symbol in symbols if symbol not in seen]
    if missing:
        lines.append(f"No price: {', '.join(missing)}.")
    shorter = [symbol for symbol, at in seen.items() if seconds and at > now - seconds + 2 * BAR_SECONDS]
    if shorter:
        whose = "these coins" if len(shorter) == len(seen) > 1 else ", ".join(shorter)
        lines.append(f"The data does not go back that far for {whose}.")
    stale = [symbol for symbol in seen if not context.store.markets.read_since(symbol, now - STALE)]
    if stale:
        lines.append(f"Not read for more than {text.duration(STALE)}: {', '.join(stale)}. See /status.")
    return [text.escape(line) for line in lines]
