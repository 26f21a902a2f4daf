"""What a chat hears of, by its own settings: a pure decision for one alert at one time.

Nothing is suppressed in silence. What quiet hours or the hourly cap keep back is held and told later (held.py);
what a mute keeps back is counted; what a chat's filters leave out (level off, coin, side, threshold) it did not
ask for.
"""

from __future__ import annotations

from enum import Enum

from base import zones
from store.rows import Alert, Chat

LOUD_FROM = 2.0  # times the threshold, for a monitor whose level is `on`


class Heard(Enum):
    """What becomes of an alert in a chat. The values of the held ones are what the store keeps as `why`."""

    LOUD = "loud"
    SILENT = "silent"
    QUIET = "quiet"  # held: it came in quiet hours
    CAP = "cap"  # held: the hour's messages are used up
    MUTED = "muted"  # counted
    NO = "no"


def decide(chat: Chat, alert: Alert, *, now: float, default_min: float) -> Heard:
    """What the chat's settings say, the hourly cap left aside: that one is about messages, see `over_cap`."""
    threshold = chat.threshold(alert.monitor, alert.symbol, default_min)
    if not follows(chat, alert) or alert.usd < threshold:
        return Heard.NO
    if chat.muted(alert.symbol, now):
        return Heard.MUTED
    if is_quiet(chat, now):
        return Heard.QUIET
    level = chat.levels.get(alert.monitor, "on")
    if level == "silent" or (level == "on" and alert.usd < LOUD_FROM * threshold):
        return Heard.SILENT
    return Heard.LOUD


def follows(chat: Chat, alert: Alert) -> bool:
    """Is it of a kind, a coin and a side that the chat asked for, whatever its size?"""
    if chat.levels.get(alert.monitor) == "off":
        return False
    side = chat.sides.get(alert.monitor)
    if side is not None and alert.side and alert.side != side:
        return False
    return chat.follows(alert.symbol)


def is_quiet(chat: Chat, now: float) -> bool:
    quiet = chat.quiet_hours
    return quiet is not None and quiet.until(now, chat.zone) is not None


def over_cap(chat: Chat, messages: int) -> bool:
    """May no further message come in this hour, after so many?"""
    return chat.hourly_cap > 0 and messages >= chat.hourly_cap


def hour_began(chat: Chat, now: float) -> float:
    """Since when the cap counts: the full hour of the chat's clock, so that people see when it ends."""
    return zones.hour_began(now, chat.zone)
