"""The files that go with messages, made at the moment of sending: the store keeps only the wish for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import chart
from outbox import Attachment, AttachmentError, Maker
from store import Store


def makers(store: Store, folder: Path, *, now: Callable[[], float]) -> Mapping[str, Maker]:
    """Each kind of wish with its maker; `folder` is the bot's own."""

    def draw_chart(wish: dict[str, Any]) -> Attachment:
        symbol, until = str(wish["symbol"]), now()
        since = until - float(wish["seconds"])
        orders = [
            (body["at_ms"] / 1000, body["price"], body["usd"], body["side"])
            for body in store.alerts_between(since, until)
            if body["monitor"] == "whales" and body["symbol"] == symbol
        ]
        try:
            png = chart.picture(
                symbol,
                store.bars(symbol, since=since),
                orders,
                since=since,
                until=until,
                zone=str(wish["zone"]),
                cache=folder / "matplotlib",
            )
        except chart.ChartError as error:
            raise AttachmentError(str(error)) from None
        return Attachment("photo", f"{symbol}.png", png)

    return {"chart": draw_chart}
