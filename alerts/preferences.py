"""Which alerts a chat gets, by its own settings: a pure decision for one alert at one time.

No alert is lost without a trace. What quiet hours or the hourly limit keep back is held and sent later
(held_back.py); what a mute keeps back is counted; what a chat's filters leave out (level off, coin, side, threshold)
it did not ask for.
"""

from __future__ import annotations

from enum import Enum

from base import zones
from store.rows import Alert, Chat

LOUD_FROM = 2.0  # times the threshold, for a monitor whose level is `on`


class Outcome(Enum):
    """What becomes of an alert in a chat. The values of HELD are what the store keeps as `why`."""

    LOUD = "loud"
    SILENT = "silent"
    QUIET = "quiet"  # held: it came in quiet hours
    CAP = "cap"  # held: the hour's messages are used up
    MUTED = "muted"  # only counted
    PAUSED = "paused"  # only counted: the bot may not write there (paused.py)
    NO = "no"


HELD = (Outcome.QUIET, Outcome.CAP, Outcome.MUTED, Outcome.PAUSED)


def decide(chat: Chat, alert: Alert, *, now: float, default_min: float) -> Outcome:
    """What the chat's settings say; never CAP: the hourly limit counts messages, not alerts (publish.py).

    default_min: the threshold where the chat set none, in US dollars or percent.
    """
    if not wants(chat, alert, default_min=default_min):
        return Outcome.NO
    if chat.muted(alert.symbol, now):
        return Outcome.MUTED
    if chat.paused(now):
        return Outcome.PAUSED
    if is_quiet(chat, now):
        return Outcome.QUIET
    level = chat.levels.get(alert.monitor, "on")
    loud_from = 0.0 if alert.mark else LOUD_FROM * chat.threshold(alert.monitor, alert.symbol, default_min)
    if level == "silent" or (level == "on" and alert.usd < loud_from):
        return Outcome.SILENT
    return Outcome.LOUD


def wants(chat: Chat, alert: Alert, *, default_min: float) -> bool:
    """Is it of a kind, a coin, a side and a size that the chat asked for?"""
    if chat.levels.get(alert.monitor) == "off" or not chat.follows(alert.symbol):
        return False
    if alert.side and alert.side != chat.sides.get(alert.monitor, alert.side):
        return False
    wanted = chat.threshold(alert.monitor, alert.symbol, default_min)
    return alert.mark == wanted if alert.mark else alert.usd >= wanted


def is_quiet(chat: Chat, now: float) -> bool:
    quiet = chat.quiet_hours
    return quiet is not None and quiet.until(now, chat.zone) is not None


def hour_began(chat: Chat, now: float) -> float:
    """When the hour of the hourly limit began: the full hour of the chat's clock, so that people see when it ends."""
    return zones.hour_began(now, chat.zone)
