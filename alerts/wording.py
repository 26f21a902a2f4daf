"""How alerts, liquidations, positions and wallets read in messages, lists and digests.

What returns Telegram HTML says so; the rest is plain text, to be escaped by whoever puts it into HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from alerts.preferences import Outcome
from base import text
from store.rows import Alert
from venues.perpetuals import Liquidation, Position

LISTED = 25  # alerts of a bundle that get a line of their own
# What was bought, or bought back by force, is green; what was sold, or sold by force, is red.
MARKS = {"buy": "🟢", "short": "🟢", "sell": "🔴", "long": "🔴"}
_NOUNS = {
    "whales": "whale order",
    "liquidations": "liquidation alert",  # it may be about a sum
    "funding": "funding alert",
    "oi": "open interest alert",
    "wallets": "wallet alert",
    "prices": "price alert",
}

# What happened to an alert that was not simply sent.
BECAME = {
    "pending": "being sent",
    "buried": "could not be delivered",
    Outcome.QUIET.value: "held back: quiet hours",
    Outcome.CAP.value: "held back: hourly limit",
    Outcome.MUTED.value: "muted",
    Outcome.PAUSED.value: "not sent: the bot was not allowed to write here",
    "told": "held back, sent later",
    "dropped": "held back, then alerts were turned off",
}


def message(bundled: Sequence[Alert], *, now: float, zone: tzinfo) -> str:
    """The message about alerts of one monitor and coin, in Telegram HTML. A phone's preview shows its first line."""
    return _single(bundled[0], now, zone) if len(bundled) == 1 else _several(bundled, now, zone)


def _single(alert: Alert, now: float, zone: tzinfo) -> str:
    where = [_link(alert), text.clock(alert.at, now=now, zone=zone)]
    if alert.late:
        where.append(_late(alert, now))
    facts = [text.escape(alert.facts)] if alert.facts else []
    return "\n".join([f"<b>{headline(alert)}</b>", *facts, " · ".join(where)])


def _several(bundled: Sequence[Alert], now: float, zone: tzinfo) -> str:
    span, last = bundled[-1].at - bundled[0].at, text.clock(bundled[-1].at, now=now, zone=zone)
    head = [
        f"<b>{text.escape(bundled[0].symbol)}: {totals(bundled)}</b>",
        f"{_link(bundled[0])} · in {text.duration(max(0.01, span))}, last at {last}",
    ]
    # The newest and the largest must both be seen: the list keeps time order and drops the smallest first.
    by_size = sorted(bundled, key=lambda alert: (alert.usd, alert.at), reverse=True)
    for most in (LISTED, 12, 6, 3, 1):
        listed = {alert.key for alert in by_size[:most]}
        lines = [*head, *(_line(alert, now, zone) for alert in bundled if alert.key in listed)]
        rest = by_size[most:]
        if rest:
            sum_of_them = f", {text.usd(sum(alert.usd for alert in rest))} USD in total"
            word = "more" if rest[0].monitor == "prices" else "smaller"
            lines.append(f"and {len(rest):,} {word}{sum_of_them if rest[0].monitor == 'whales' else ''}")
        if len(text.split("\n".join(lines))) == 1:
            break
    return "\n".join(lines)


def _line(alert: Alert, now: float, zone: tzinfo) -> str:
    late = f" ({_late(alert, now)})" if alert.late else ""
    return f"{text.clock(alert.at, now=now, zone=zone, named=False)} {headline(alert)}{late}"


def _late(alert: Alert, now: float) -> str:
    return f"{text.duration(max(0.0, now - alert.at))} late"


def _link(alert: Alert) -> str:
    return f'<a href="{text.escape(alert.url)}">{text.escape(alert.venue)}</a>'


def headline(alert: Alert) -> str:
    """The first line in Telegram HTML: `BTC buy 2.3M USD at 76,981`, with a coloured mark in front."""
    return f"{MARKS.get(alert.side, '🔵')} {text.escape(alert.headline)}"


def listed(alert: Alert, *, now: float, zone: tzinfo, named: bool = False) -> str:
    """The alert as one line of a list, in Telegram HTML. named: with the offset of the zone."""
    at = text.clock(alert.at, now=now, zone=zone, named=named)
    return f"{at} {headline(alert)} · {text.escape(alert.venue)}"


def count(number: int, monitor: str) -> str:
    """`3 whale orders`."""
    return text.count(number, _NOUNS.get(monitor, "alert"))


def plural(monitor: str) -> str:
    """The alerts of a kind: `whale orders`, `funding alerts`."""
    return f"{_NOUNS[monitor]}s"


def totals(found: Sequence[Alert]) -> str:
    """`3 whale orders, 8.2M USD, net -1.2M`: the sums of alerts of one monitor."""
    monitor = found[0].monitor
    parts = [count(len(found), monitor)]
    if monitor == "liquidations":
        # Never added up here: the sum of five minutes contains single ones that had alerts of their own.
        largest = max(found, key=lambda alert: alert.usd)
        parts.append(f"largest {text.usd(largest.usd)} USD of {largest.side}s")
    if monitor == "whales":
        net = sum(alert.usd if alert.side == "buy" else -alert.usd for alert in found)
        parts += [f"{text.usd(sum(alert.usd for alert in found))} USD", f"net {text.signed_usd(net)}"]
    return ", ".join(parts)


def sums(events: Iterable[Liquidation]) -> list[str]:
    """`BTC longs 1.2M, shorts 300k` for each coin, the largest sum first; US dollars."""
    found: dict[str, dict[str, float]] = {}
    for event in events:
        sides = found.setdefault(event.symbol, {})
        sides[event.side] = sides.get(event.side, 0.0) + event.usd
    coins = sorted(found.items(), key=lambda coin: -sum(coin[1].values()))
    return [
        f"{symbol} {', '.join(f'{side}s {text.usd(sides[side])}' for side in sorted(sides))}"
        for symbol, sides in coins
    ]


def short(address: str) -> str:
    """`0x12ab…34cd`."""
    return f"{address[:6]}…{address[-4:]}"


def described(position: Position) -> str:
    """`BTC short 154k USD at 77,000, 16.9% to liquidation`: a position as a list shows it."""
    words = f"{position.coin} {position.side} {text.usd(position.usd)} USD at {text.price(position.price)}"
    return f"{words}, {position.distance:.0%} to liquidation" if position.liquidation else words
