"""The prices, moves and volumes that chats set with /alert. The part `Store.levels`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from store.database import Part
from store.engine import Row
from store.rows import ANY_TOPIC, Alert

HOUR = 3600  # seconds: the span of every volume
BEGINS = {"move": "on", "volume": "calm"}  # the state of a `Level` that waits, by its kind
REARM = 0.002  # of a level's price: how far the price has to go from it before it waits again
_WAITS = "(state <> 'done' AND (expires = 0 OR expires > ?))"
_LIKE = (
    "chat_id = ? AND symbol = ? AND kind = ? AND size = ? AND span = ? AND direction = ? "
    "AND (kind <> 'price' OR price = ?)"
)
# Written as five searches of an index: with 10,000 levels a look at them costs microseconds.
_WITHIN = " UNION ALL ".join(
    f"SELECT id FROM levels WHERE symbol = :symbol AND state = {state}"
    for state in (
        "'above' AND price <= :high",
        "'below' AND price >= :low",
        "'away' AND direction <> 'below' AND price >= :low / (1 - :rearm)",
        "'away' AND direction <> 'above' AND price <= :high / (1 + :rearm)",
        "'rest' AND since_ms <= :newest",
    )
)


# The spans of a coin's moves, each with the smallest size: one look into an index for each span, not for each move.
_MOVES = "SELECT min({}) FROM levels WHERE symbol = :symbol AND state = 'on'"
_SPANS = (
    f"WITH RECURSIVE spans(span) AS (SELECT ({_MOVES.format('span')}) UNION ALL "
    f"SELECT ({_MOVES.format('span')} AND span > spans.span) FROM spans WHERE span IS NOT NULL) "
    f"SELECT span, ({_MOVES.format('size')} AND span = spans.span) AS least FROM spans WHERE span IS NOT NULL"
)


@dataclass(frozen=True, kw_only=True)
class Level:
    """What a chat wants an alert for: a price of a coin, a move of it, or its volume.

    kind: `price`, `move` or `volume`. price: of a move, where it was last told, 0 for nowhere. size, span: a move is
    a trade at least this share (0.05 for 5 %) above or below another one of so many seconds before; a volume is of so
    many seconds and at least this many times the usual one. direction: `above` when the price is to come to it from
    below, or to rise; `below`, or `either`. state: `above` while it waits for the price to rise to it, `below` to
    fall to it; `away` until the price is far enough from it; `rest` until `since_ms`, then it waits again from
    wherever the price is; `done`. A move is `on` or `done`, a volume `calm`, `busy` from when it was told until there
    is less of it, or `done`. repeat: it waits again after it was told. cooldown: seconds that it rests then; without
    any the price has to go away from it first. expires: unix seconds, 0 for never. since_ms: trades from before do
    not count, touched_ms: when it was last told, 0 for never; unix ms. topic: as in `Alert`.
    """

    id: int = 0
    chat_id: int
    symbol: str
    kind: str = "price"
    price: float = 0.0
    size: float = 0.0
    span: int = 0
    direction: str = "either"
    state: str = "away"
    repeat: bool = False
    cooldown: float = 0.0
    expires: float = 0.0
    note: str = ""
    since_ms: int = 0
    touched_ms: int = 0
    topic: int = ANY_TOPIC

    def waits(self, now: float) -> bool:
        """Is it still to be told at that time, or later?"""
        return self.state != "done" and not 0 < self.expires <= now

    def rests(self, now: float) -> float:
        """Until when it rests, unix seconds; 0 when it does not."""
        return self.since_ms / 1000 if self.waits(now) and self.since_ms > now * 1000 else 0.0

    def waiting(self, price: float | None, *, now: float) -> Level:
        """The level as it waits from now on. price: where the market is, None when that is not known."""
        if self.kind != "price":
            return replace(self, state=BEGINS[self.kind], price=0.0, since_ms=int(now * 1000))
        side = "away" if price is None or price == self.price else "above" if price < self.price else "below"
        state = side if self.direction in ("either", side) else "away"
        return replace(self, state=state, since_ms=int(now * 1000))

    def resting(self, until: float) -> Level:
        """The level as it waits from that time on; nothing that is traded until then is told."""
        if self.kind != "price":
            return self.waiting(None, now=until)
        return replace(self, state="rest", since_ms=int(until * 1000))

    def alert_key(self, venue: str, number: int) -> str:
        """The key of its alert about one trade; `level_of` reads it."""
        return f"level:{self.id}:{venue}:{number}"


def level_of(alert: Alert) -> str:
    """The number of the level whose alert it is, "" for other alerts."""
    kind, _, rest = alert.key.partition(":")
    return rest.partition(":")[0] if kind == "level" else ""


class Levels(Part):
    def add(self, level: Level) -> int:
        """Keep a new level, in place of the chat's own of the same price or move. Returns its number."""
        with self._db.transaction():
            self._db.write(f"DELETE FROM levels WHERE {_LIKE}", _like(level))
            return self._db.add("levels", level)

    def like(self, level: Level) -> Level | None:
        """The chat's own of the same price or move, which a new one takes the place of."""
        row = self._db.row(f"SELECT * FROM levels WHERE {_LIKE}", _like(level))
        return None if row is None else _level(row)

    def of_chat(self, chat_id: int) -> list[Level]:
        """A chat's levels by coin, the highest price first, then its moves."""
        rows = self._db.rows(
            "SELECT * FROM levels WHERE chat_id = ? ORDER BY symbol, span, "
            "CASE WHEN kind = 'price' THEN price ELSE 0 END DESC, size, id",
            (chat_id,),
        )
        return [_level(row) for row in rows]

    def remove(self, chat_id: int, number: int) -> None:
        self._db.write("DELETE FROM levels WHERE chat_id = ? AND id = ?", (chat_id, number))

    def within(self, symbol: str, low: float, high: float, *, newest_ms: int) -> list[Level]:
        """The levels of chats with alerts that trades between these two prices, and up to then, may concern."""
        rows = self._db.rows(
            f"SELECT levels.* FROM levels JOIN chats USING (chat_id) WHERE subscribed = 1 AND id IN ({_WITHIN})",
            {"symbol": symbol, "low": low, "high": high, "rearm": REARM, "newest": newest_ms},
        )
        return [_level(row) for row in rows]

    def spans(self, symbol: str) -> list[tuple[int, float]]:
        """The spans in seconds of the coin's moves, each with the smallest size."""
        return [(row["span"], row["least"]) for row in self._db.rows(_SPANS, {"symbol": symbol})]

    def moves(self, symbol: str, span: int, *, most: float, rose_ms: int, fell_ms: int) -> list[Level]:
        """The moves of chats with alerts of this span, up to this size, that count trades from that time or before.

        rose_ms: for those up, fell_ms: for those down. One that was told by the trade of that time counts it, too.
        """
        rows = self._db.rows(
            "SELECT levels.* FROM levels JOIN chats USING (chat_id) WHERE subscribed = 1 AND symbol = ? "
            "AND state = 'on' AND span = ? AND size <= ? AND ((direction <> 'below' AND since_ms <= ?) "
            "OR (direction <> 'above' AND since_ms <= ?))",
            (symbol, span, most, rose_ms + 1, fell_ms + 1),
        )
        return [_level(row) for row in rows]

    def told(self, symbol: str, *, since_ms: int) -> list[tuple[int, float]]:
        """The trades since then by which moves of this coin were told: when, unix ms, and at what price.

        Of moves that rest after they were told the price is not kept.
        """
        rows = self._db.rows(
            "SELECT DISTINCT touched_ms, price FROM levels WHERE symbol = ? AND kind = 'move' AND price > 0 "
            "AND touched_ms >= ?",
            (symbol, since_ms),
        )
        return [(row["touched_ms"], row["price"]) for row in rows]

    def volume_marks(self, symbol: str, *, now: float) -> tuple[float, float]:
        """The smallest size of the coin's volumes that wait, and the largest of those that were told; 0 for none."""
        row = self._db.row(
            "SELECT (SELECT min(size) FROM levels WHERE symbol = ? AND state = 'calm' AND span = ? "
            "AND since_ms <= ?) AS least, "
            "(SELECT max(size) FROM levels WHERE symbol = ? AND state = 'busy' AND span = ?) AS most",
            (symbol, HOUR, int(now * 1000), symbol, HOUR),
        )
        return (0.0, 0.0) if row is None else (float(row["least"] or 0), float(row["most"] or 0))

    def volumes(self, symbol: str) -> list[Level]:
        """The volumes of this coin that chats with alerts asked for and that are not over."""
        rows = self._db.rows(
            "SELECT levels.* FROM levels JOIN chats USING (chat_id) WHERE subscribed = 1 AND symbol = ? "
            "AND state IN ('calm', 'busy')",
            (symbol,),
        )
        return [_level(row) for row in rows]

    def move(self, before: Level, after: Level) -> bool:
        """Keep what became of a level; False, and nothing is done, if it was changed or removed meanwhile."""
        changed = self._db.change(
            "UPDATE levels SET state = ?, price = ?, since_ms = ?, touched_ms = ?, expires = ? "
            "WHERE id = ? AND state = ? AND since_ms = ?",
            (
                after.state,
                after.price,
                after.since_ms,
                after.touched_ms,
                after.expires,
                before.id,
                before.state,
                before.since_ms,
            ),
        )
        return changed == 1

    def prune(self, before: float, *, now: float) -> None:
        """Delete those that were over before that time."""
        self._db.prune("levels", "id", f"NOT {_WAITS} AND since_ms < ? AND expires < ?", (now, before * 1000, before))


def _like(level: Level) -> tuple[int | float | str, ...]:
    """The values of _LIKE."""
    return level.chat_id, level.symbol, level.kind, level.size, level.span, level.direction, level.price


def _level(row: Row) -> Level:
    return Level(**dict(row) | {"repeat": bool(row["repeat"])})
