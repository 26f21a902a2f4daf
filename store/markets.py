"""What the market feeds delivered: how far each was read, price bars, liquidations, funding, open interest.

The part `Store.markets`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from typing import NamedTuple, TypeVar

from base.clock import SLOT, slot
from store.database import Database, Part
from store.readable import UNREADABLE, number_of
from venues.perpetuals import Interest, Liquidation, Rate
from venues.trades import BAR_SECONDS, Bar

T = TypeVar("T")
_PUT_RATE = (
    "INSERT INTO rates (venue, symbol, contract, rate, hours, next_ms, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (venue, contract) DO UPDATE SET symbol = excluded.symbol, rate = excluded.rate, "
    "hours = excluded.hours, next_ms = excluded.next_ms, at_ms = excluded.at_ms "
    # Rates are shown for 8 hours in percent with four digits.
    "WHERE abs(rates.rate - excluded.rate) * 8 >= 0.0000005 * excluded.hours OR rates.hours <> excluded.hours "
    "OR rates.next_ms <> excluded.next_ms OR rates.symbol <> excluded.symbol"
)
# While nothing is traded only the time goes on: to write it with each look would be most of what an idle bot writes.
# Ten minutes without a look are a gap: a slot and the seconds until it is written are half of that.
_SET_CURSOR = (
    "INSERT INTO cursors (venue, symbol, text, at) VALUES (?, ?, ?, ?) ON CONFLICT (venue, symbol) DO UPDATE SET "
    "text = excluded.text, at = excluded.at "
    "WHERE cursors.text <> excluded.text OR cursors.at < ? OR cursors.at >= ?"
)
_BAR = ", ".join(field.name for field in fields(Bar))
_INSERT_BAR = f"INSERT INTO bars ({_BAR}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# Bars are kept by their time, because those of now change together; so a coin's are found among all of that time.
_AS_ONE = (
    "SELECT whole.symbol, whole.first, opened.open, whole.high, whole.low, closed.close, whole.bought, whole.sold "
    "FROM (SELECT symbol, min(at) AS first, max(at) AS last, max(high) AS high, min(low) AS low, "
    "sum(buy_usd) AS bought, sum(sell_usd) AS sold FROM bars WHERE at >= ? AND symbol = coalesce(?, symbol) "
    "GROUP BY symbol) AS whole "
    "JOIN bars AS opened ON opened.at = whole.first AND opened.symbol = whole.symbol "
    "JOIN bars AS closed ON closed.at = whole.last AND closed.symbol = whole.symbol"
)
FLAWED_KEPT = 30 * 86400  # seconds
RATES_EVERY = 600.0  # seconds of a slot: after 900 without a look rates are shown with their time
INTEREST_KEPT = 90000.0  # seconds
LIQUIDATIONS_KEPT = 2 * 86400.0  # seconds; venues show them again for a day


class Cursor(NamedTuple):
    """Where reading a feed continues. text: in the venue's own terms. at: up to when it was read."""

    text: str
    at: float


class Gap(NamedTuple):
    """A time in which trades of a coin were not seen. missed: how many, None when that is not known."""

    venue: str
    symbol: str
    missed: int | None
    start: float
    end: float


class Markets(Part):
    def __init__(self, db: Database, *, now: Callable[[], float]) -> None:
        super().__init__(db)
        self._now = now

    def prune(self, *, now: float) -> None:
        """Delete open interest of before the last day, and the liquidations that no venue shows any more."""
        self._db.prune("interest", "venue, at_ms", "at_ms < ?", (int((now - INTEREST_KEPT) * 1000),))
        self._db.prune("liquidations", "venue, row", "at_ms < ?", (int((now - LIQUIDATIONS_KEPT) * 1000),))

    # Feeds

    def cursor(self, venue: str, symbol: str) -> Cursor | None:
        """Where to read a feed on; None if it was never read."""
        row = self._db.row("SELECT text, at FROM cursors WHERE venue = ? AND symbol = ?", (venue, symbol))
        return None if row is None else Cursor(row["text"], row["at"])

    def forget_cursors(self, symbol: str) -> None:
        """Read this coin from its newest trade on, at every venue."""
        with self._db.transaction():
            rows = self._db.rows("SELECT at FROM cursors WHERE symbol = ?", (symbol,))
            self.mark_flawed((symbol, int(row["at"]) // BAR_SECONDS * BAR_SECONDS) for row in rows)
            self._db.write("DELETE FROM cursors WHERE symbol = ?", (symbol,))

    def read_since(self, symbol: str, since: float) -> list[str]:
        """The venues from which this coin was read at that time or later."""
        rows = self._db.rows("SELECT venue FROM cursors WHERE symbol = ? AND at >= ? ORDER BY venue", (symbol, since))
        return [row["venue"] for row in rows]

    def read_elsewhere(self, symbol: str, venue: str) -> float:
        """Up to when this coin was read from any other venue, 0 when it was not."""
        row = self._db.row("SELECT max(at) AS at FROM cursors WHERE symbol = ? AND venue <> ?", (symbol, venue))
        return 0.0 if row is None or row["at"] is None else float(row["at"])

    def set_cursor(self, venue: str, symbol: str, text: str, *, at: float) -> None:
        """The feed was read up to `text`, whose time is `at`; that alone is noted once in each slot of the clock."""
        began = slot(at)
        self._db.write(_SET_CURSOR, (venue, symbol, text, at, began, began + SLOT))

    def add_gap(self, venue: str, symbol: str, *, missed: int | None, start: float, end: float) -> bool:
        """Note that trades between two times were not seen; `missed` None when their number is not known.

        False when it is noted already: the feed was read again from the same place.
        """
        added = self._db.change(
            "INSERT INTO gaps (venue, symbol, missed, began, ended, noted_at) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (venue, symbol, missed, start, end, self._now()),
        )
        return added == 1

    def gaps(self, *, since: float) -> list[Gap]:
        """The gaps noted since then, newest first."""
        columns = "venue, symbol, missed, began, ended"
        rows = self._db.rows(f"SELECT {columns} FROM gaps WHERE noted_at > ? ORDER BY noted_at DESC, id", (since,))
        return [Gap(*row) for row in rows]

    # Bars of five minutes

    def add_bars(self, bars: Iterable[Bar]) -> None:
        """Add these to the bars that are kept: each trade must be in one of them only."""
        with self._db.transaction():
            for bar in bars:
                self._db.write(
                    f"{_INSERT_BAR} ON CONFLICT (at, symbol) DO UPDATE SET "
                    "high = CASE WHEN excluded.high > bars.high THEN excluded.high ELSE bars.high END, "
                    "low = CASE WHEN excluded.low < bars.low THEN excluded.low ELSE bars.low END, "
                    "close = excluded.close, "
                    "buy_usd = bars.buy_usd + excluded.buy_usd, sell_usd = bars.sell_usd + excluded.sell_usd",
                    tuple(astuple(bar)),
                )

    def mark_flawed(self, bars: Iterable[tuple[str, int]]) -> None:
        """These bars (coin, start) lack trades, or count some twice: `fill_bars` may replace them."""
        bars = list(bars)
        with self._db.transaction():
            known = self._flawed({symbol for symbol, _ in bars})
            for symbol, at in bars:
                if at not in known[symbol]:
                    known[symbol] = {one for one in known[symbol] if one > at - FLAWED_KEPT} | {at}
            self._set_flawed(known)

    def whole_bars(self, symbol: str, *, since: float, until: float) -> set[int]:
        """The starts of a coin's bars from `since` to before `until` that are as they should be."""
        rows = self._db.rows("SELECT at FROM bars WHERE symbol = ? AND at >= ? AND at < ?", (symbol, since, until))
        return {row["at"] for row in rows} - self._flawed([symbol])[symbol]

    def fill_bars(self, bars: Collection[Bar]) -> None:
        """Keep those of these bars that are missing or flawed; the other ones stay as they were built."""
        with self._db.transaction():
            if self._noted("trades:from", None) is None:  # older bars are to come: the oldest will not say it then
                self._note("trades:from", repr(self.trades_from() or self._now()))
            flawed = self._flawed({bar.symbol for bar in bars})
            for bar in bars:
                if bar.at in flawed[bar.symbol]:
                    flawed[bar.symbol].remove(bar.at)
                    self._db.write("DELETE FROM bars WHERE symbol = ? AND at = ?", (bar.symbol, bar.at))
                self._db.write(f"{_INSERT_BAR} ON CONFLICT DO NOTHING", tuple(astuple(bar)))
            self._set_flawed(flawed)

    def _flawed(self, symbols: Collection[str]) -> dict[str, set[int]]:
        """The starts of each coin's flawed bars."""
        found: dict[str, set[int]] = {symbol: set() for symbol in symbols}
        names = {f"flawed:{symbol}": symbol for symbol in found}
        if names:
            marks = ", ".join("?" * len(names))
            for row in self._db.rows(f"SELECT name, value FROM facts WHERE name IN ({marks})", tuple(names)):
                starts = str(row["value"]).split()
                found[names[row["name"]]] = {int(word) for word in starts if word.isdecimal()}
        return found

    def _set_flawed(self, known: Mapping[str, set[int]]) -> None:
        for symbol, starts in known.items():
            self._note(f"flawed:{symbol}", " ".join(map(str, sorted(starts))))

    def trades_from(self) -> float | None:
        """Since when trades have been read; None before the first one. Bars that were filled may be older."""
        row = self._db.row("SELECT min(at) AS at FROM bars")
        oldest = None if row is None or row["at"] is None else float(row["at"])
        return self._noted("trades:from", oldest)

    def bars(self, symbol: str, *, since: float) -> list[Bar]:
        """A coin's bars that began since then, oldest first."""
        rows = self._db.rows(f"SELECT {_BAR} FROM bars WHERE symbol = ? AND at >= ? ORDER BY at", (symbol, since))
        return [Bar(*row) for row in rows]

    def one_bar(self, symbol: str, *, since: float) -> Bar | None:
        """A coin's bars that began since then as one bar of all that time; None when there is none."""
        row = self._db.row(_AS_ONE, (since, symbol))
        return None if row is None else Bar(*row)

    def one_bar_each(self, symbols: Iterable[str], *, since: float) -> list[Bar]:
        """`one_bar` of these coins, without those that have none."""
        found = {row["symbol"]: row for row in self._db.rows(_AS_ONE, (since, None))}
        return [Bar(*found[symbol]) for symbol in symbols if symbol in found]

    # Liquidations

    def new_liquidations(self, events: Collection[Liquidation]) -> list[Liquidation]:
        """Those of these that are not kept yet, each once, in their order."""
        if not events:
            return []
        oldest = min(event.at_ms for event in events)
        rows = self._db.rows("SELECT venue, row FROM liquidations WHERE at_ms >= ?", (oldest,))
        known = {(row["venue"], row["row"]) for row in rows}
        found: dict[tuple[str, str], Liquidation] = {}
        for event in events:
            found.setdefault((event.venue, event.row), event)
        return [event for row, event in found.items() if row not in known]

    def add_liquidations(self, events: Iterable[Liquidation]) -> None:
        """Keep these, unless they are kept."""
        with self._db.transaction():
            for event in events:
                self._db.write(
                    "INSERT INTO liquidations VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", tuple(event)
                )

    def liquidations(self, *, since: float, symbol: str | None = None) -> list[Liquidation]:
        """Those that happened since then, newest first."""
        rows = self._db.rows(
            "SELECT * FROM liquidations WHERE at_ms > ? AND symbol = coalesce(?, symbol) "
            "ORDER BY at_ms DESC, venue, row",
            (int(since * 1000), symbol),
        )
        return [Liquidation(*row) for row in rows]

    def liquidations_from(self) -> float:
        """Since when the venues are read; infinite before the first time."""
        return self._noted("liquidations:from", math.inf)

    def begin_liquidations(self, *, now: float) -> None:
        """The venues are being read; only the first call counts."""
        self._db.write("INSERT INTO facts VALUES ('liquidations:from', ?) ON CONFLICT DO NOTHING", (repr(now),))

    # Funding

    def put_rates(self, venue: str, rates: Iterable[Rate]) -> None:
        """The latest rates of a venue, in place of all it had.

        Most are as they were a minute ago: only those that changed as they are shown are written, and once when all
        were read.
        """
        latest = {rate.contract: rate for rate in rates}
        with self._db.transaction():
            known = self._db.rows("SELECT contract FROM rates WHERE venue = ?", (venue,))
            for contract in {str(row["contract"]) for row in known} - latest.keys():
                self._db.write("DELETE FROM rates WHERE venue = ? AND contract = ?", (venue, contract))
            for rate in latest.values():
                self._db.write(_PUT_RATE, tuple(rate))
            if latest:
                read_at = max(rate.at_ms for rate in latest.values())
                noted = self._noted(f"rates:{venue}", -1)
                if slot(read_at / 1000, RATES_EVERY) != slot(noted / 1000, RATES_EVERY):
                    self._note(f"rates:{venue}", str(read_at))

    def rates(self, symbol: str | None = None) -> list[Rate]:
        """The latest known rates of every venue."""
        rows = self._db.rows(
            "SELECT venue, symbol, contract, rate, hours, next_ms, at_ms FROM rates "
            "WHERE symbol = coalesce(?, symbol) ORDER BY venue, symbol, contract",
            (symbol,),
        )
        read_at = {venue: int(self._noted(f"rates:{venue}", 0)) for venue in {row["venue"] for row in rows}}
        return [Rate(*(*row[:6], read_at[row["venue"]] or row["at_ms"])) for row in rows]

    def _noted(self, name: str, otherwise: T) -> float | T:
        """A number that is kept as a fact; `otherwise` when there is none or it cannot be read."""
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (name,))
        try:
            return otherwise if row is None else number_of(row["value"])
        except UNREADABLE as error:
            self._db.unreadable(f"the fact {name}", error)
            return otherwise

    def _note(self, name: str, value: str) -> None:
        self._db.put("facts", ("name",), {"name": name, "value": value})

    # Open interest

    def note_interest(self, venue: str, found: Sequence[Interest]) -> None:
        """Keep the open interest of a venue, if none was in this slot of the clock. Inside a transaction."""
        rows = {one.symbol: (one.coins, one.usd) for one in found}
        at_ms = max((one.at_ms for one in found), default=0)
        last = self._db.number("SELECT coalesce(max(at_ms), 0) FROM interest WHERE venue = ?", (venue,))
        if rows and slot(at_ms / 1000) != slot(last / 1000):
            if at_ms < last:  # a clock was put back: what is ahead of it was not read yet
                self._db.write("DELETE FROM interest WHERE venue = ? AND at_ms >= ?", (venue, at_ms))
            self._db.write(
                "INSERT INTO interest (venue, at_ms, body) VALUES (?, ?, ?)", (venue, at_ms, json.dumps(rows))
            )

    def interest(self, *, since: float) -> list[Interest]:
        """The open interest of every coin that was kept since then, oldest first."""
        found: list[Interest] = []
        query = "SELECT venue, at_ms, body FROM interest WHERE at_ms >= ? ORDER BY at_ms, venue"
        for row in self._db.rows(query, (int(since * 1000),)):
            try:
                found += [
                    Interest(row["venue"], name, float(size), float(usd), row["at_ms"])
                    for name, (size, usd) in json.loads(row["body"]).items()
                ]
            except UNREADABLE as error:
                self._db.unreadable(f"open interest of {row['venue']} at {row['at_ms']}", error)
        return found
