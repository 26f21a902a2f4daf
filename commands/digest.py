"""The command that says when digests come."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerts.digest import Digests, plan
from base import schedules, text, zones
from botapi.updates import Update
from commands.context import Desk, Reply, Usage
from store.rows import Chat

HOW = "Set it: /digest 09:00 mon-fri, /digest every 4h, /digest cron 30 8 * * 1-5. One at once: /digest now."


def digest_(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    chat = desk.need_chat(update)
    now = desk.now()
    word = arguments[0].lower() if len(arguments) == 1 else ""
    if not arguments:
        told = f"Digests come {_described(chat, now)}" if chat.digest else "No digest is planned here."
        return [Reply(text=f"{told} {HOW}")]
    if word == "off":
        return desk.save(plan(replace(chat, digest=""), now), "No more digests here.")
    if word == "now":
        digests = Digests(
            desk.store, symbols=desk.symbols, default_min=lambda coin: desk.default_min("whales", coin), now=desk.now
        )
        return [Reply(text=digests.compose(chat, since=now - 86400, until=now), html=True)]
    try:
        rule = schedules.parse(" ".join(arguments))
    except schedules.ScheduleError as problem:
        raise Usage(str(problem)) from None
    chat = plan(replace(chat, digest=rule.typed), now)
    return desk.save(chat, f"Digests come {_described(chat, now)}")


def _described(chat: Chat, now: float) -> str:
    assert chat.digest_at is not None
    rule = schedules.parse(chat.digest)
    zone = rule.zone or chat.timezone
    comes = datetime.fromtimestamp(chat.digest_at, zones.zone(zone)).strftime("%a %d %b %H:%M")
    named = "" if rule.zone else f" ({zone})"
    return f"{chat.digest}{named}: the next one {comes} {zone}, in {text.duration(chat.digest_at - now)}."
