"""Alerts and candles as CSV files that spreadsheets open: UTF-8 with a mark at its start, commas, one line a row.

A file is put together day by day and coin by coin, and has a limit, so that a busy month takes little memory.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from alerts.wording import BECAME
from base import text, zones
from botapi.sending import Attachment, AttachmentError
from store import Store
from store.rows import HistoryEntry

MOST_ALERTS = 10_000  # rows, the newest ones
MOST_CANDLES = 30_000  # rows
DAY = 86400.0
# Spreadsheets run what begins with one of these. Where a semicolon separates cells, one may begin inside a text.
_FORMULA = re.compile(r"(^|;)(?=[\s'\"]*[=+\-@＝＋－＠])")

Cell = str | float


def alerts(
    store: Store, *, chat_id: int | None, since: float, until: float, coins: Sequence[str], zone: str
) -> Attachment:
    """The alerts of a chat, or of the whole bot for None; only of these coins if any are named. Times: unix seconds.

    Raises AttachmentError when there are none.
    """
    head = ["kind", "coin", "side", "usd", "price", "alert", "details", "exchange", "link"]
    if chat_id is None:
        found = _of_bot(store, since, until)
    else:
        head, found = [*head, "in this chat"], _of_chat(store, chat_id, since, until)
    rows = (_alert(one, zone)[: 2 + len(head)] for one in found if not coins or one.alert.symbol in coins)
    return _file("alerts", head, rows, MOST_ALERTS, until=until, zone=zone)


def candles(store: Store, *, since: float, until: float, coins: Sequence[str], zone: str) -> Attachment:
    """Five-minute candles of these coins. Times: unix seconds. Raises AttachmentError when there are none."""
    head = ["coin", "open", "high", "low", "close", "bought usd", "sold usd"]
    rows: Iterable[list[Cell]] = (
        [*_times(bar.at, zone), bar.symbol, bar.open, bar.high, bar.low, bar.close, bar.buy_usd, bar.sell_usd]
        for coin in coins
        for bar in store.markets.bars(coin, since=since)
    )
    return _file("candles", head, rows, MOST_CANDLES, until=until, zone=zone)


def cell(raw: str) -> str:
    """Text of others as one line that no spreadsheet takes for a formula."""
    return _FORMULA.sub(r"\1'", text.one_line(raw))


def _of_chat(store: Store, chat_id: int, since: float, until: float) -> Iterator[HistoryEntry]:
    seen: set[str] = set()
    for start, end in _days(since, until):
        # One look may bring several, which the history has in no order.
        for one in sorted(store.history.between(chat_id, start, end), key=lambda one: -one.alert.at):
            if one.alert.key not in seen:
                seen.add(one.alert.key)
                yield one


def _of_bot(store: Store, since: float, until: float) -> Iterator[HistoryEntry]:
    for start, end in _days(since, until):
        for alert in reversed(store.messages.alerts_between(start, end)):
            yield HistoryEntry(alert, "", alert.at)


def _days(since: float, until: float) -> Iterator[tuple[float, float]]:
    """The time in pieces of a day, the newest first. It ends a second later than `until`, which is now."""
    end = until + 1
    while end > since:
        yield max(since, end - DAY), end
        end -= DAY


def _alert(one: HistoryEntry, zone: str) -> list[Cell]:
    alert = one.alert
    words = [alert.headline, alert.facts, alert.venue, alert.url, BECAME.get(one.how, "sent")]
    figures: list[Cell] = [alert.usd, alert.price or ""]
    return [*_times(alert.at, zone), alert.monitor, alert.symbol, alert.side, *figures, *words]


def _times(at: float, zone: str) -> tuple[str, str]:
    """The time in that zone as spreadsheets read it, and in UTC, which no change of clocks makes ambiguous."""
    local = datetime.fromtimestamp(int(at), zones.zone(zone))
    return local.strftime("%Y-%m-%d %H:%M:%S"), datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _file(
    name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]], most: int, *, until: float, zone: str
) -> Attachment:
    content = io.BytesIO()
    with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow([f"time ({zone})", "utc", *head])
        written = 0
        for written, row in enumerate(rows, 1):
            table.writerow([cell(value) if isinstance(value, str) else f"{value:.12g}" for value in row])
            if written == most:
                break
        file.flush()
        day = datetime.fromtimestamp(until, zones.zone(zone)).strftime("%Y-%m-%d")
        if not written:
            raise AttachmentError(f"No {name} in that time.")
        return Attachment("document", f"{name}-{day}.csv", content.getvalue())
