"""Trades and liquidations that were missed: what is stored about them, and the line that chats get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import NamedTuple

from alerts.publish import announce
from base import text
from store import Store


class Gap(NamedTuple):
    """Trades or liquidations of one coin that were missed, from `start` to `end`, unix seconds.

    missed: how many, by their ids; None after an outage: not known. instead: the venue read meanwhile.
    """

    venue: str
    symbol: str
    missed: int | None
    start: float
    end: float
    instead: str = ""


WHAT = {"whales": "whale orders", "liquidations": "liquidations", "wallets": "positions of large wallets"}


def keep_gaps(store: Store, gaps: Sequence[Gap], *, now: float, monitor: str = "whales", least: float = 0.0) -> None:
    """Store the gaps and announce outages, one line for each venue. A gap that is known already adds nothing.

    least: seconds; shorter ones, as in a storm, are only stored. Inside a transaction. Raises StoreError.
    """
    outages = [
        gap
        for gap in gaps
        if store.markets.add_gap(gap.venue, gap.symbol, missed=gap.missed, start=gap.start, end=gap.end)
        and gap.missed is None
        and gap.end - gap.start > least
    ]
    for venue in dict.fromkeys(gap.venue for gap in outages):
        out = [gap for gap in outages if gap.venue == venue]
        symbols = sorted({gap.symbol for gap in out})
        words = _line(venue, WHAT[monitor], out, symbols, now)
        announce(store, words, now=now, symbol=symbols[0] if len(symbols) == 1 else None, monitor=monitor)


def _line(venue: str, what: str, out: Sequence[Gap], symbols: Sequence[str], now: float) -> Callable[[tzinfo], str]:
    start, end = min(gap.start for gap in out), max(gap.end for gap in out)
    instead = " and ".join(sorted({gap.instead for gap in out} - {""}))
    rest = f"{venue} was not read: {what} from that time are unknown for {', '.join(symbols)}."
    if instead:
        rest += f" {instead} was read instead."

    def words(zone: tzinfo) -> str:
        began, ended = (text.clock(at, now=now, zone=zone) for at in (start, end))
        return f"Missed {began} to {ended} ({text.duration(end - start)}). {rest}"

    return words
