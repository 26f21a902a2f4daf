"""The files that go with messages, made at the moment of sending: the store keeps only the wish for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alerts import chart
from base import logs
from botapi.outbox import Attachment, AttachmentError, Maker
from store import Store


def makers(
    store: Store, folder: Path, *, now: Callable[[], float], redact: Callable[[str], str]
) -> Mapping[str, Maker]:
    """Each kind of wish with its maker; `folder` is the bot's own. redact: takes the token out of a text."""

    def draw_chart(wish: dict[str, Any]) -> Attachment:
        symbol, until = str(wish["symbol"]), now()
        since = until - float(wish["seconds"])
        orders = [
            (body["at_ms"] / 1000, body["price"], body["usd"], body["side"])
            for body in store.messages.alerts_between(since, until)
            if body["monitor"] == "whales" and body["symbol"] == symbol
        ]
        try:
            png = chart.picture(
                symbol,
                store.markets.bars(symbol, since=since),
                orders,
                since=since,
                until=until,
                zone=str(wish["zone"]),
                cache=folder / "matplotlib",
            )
        except chart.ChartError as error:
            raise AttachmentError(str(error)) from None
        return Attachment("photo", f"{symbol}.png", png)

    def cut_log(wish: dict[str, Any]) -> Attachment:
        try:
            lines, _ = logs.last_lines(folder / "bot.log", int(wish["lines"]))
        except OSError as error:
            raise AttachmentError(f"The log cannot be read ({error.strerror}). Look at it on the machine.") from None
        if not lines:
            raise AttachmentError("There is no log file; the console of the bot's machine has what was logged.")
        # Once more: what other programs or an earlier version wrote there was never under our formatter.
        return Attachment("document", "bot-log.txt", redact(lines).encode())

    return {"chart": draw_chart, "log": cut_log}
