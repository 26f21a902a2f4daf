"""The update types that polling asks for, and in them a heartbeat for a copy that waits and leaves the alerts to it.

Nothing in Telegram carries a word from one copy to another but the update types of the last getUpdates, which
getWebhookInfo shows (Client.cpp, update_allowed_update_types). So the copy that polls asks for one more type, and
leaves it out again a minute later. None ever comes: they belong to invoices and polls, which this bot never sends.
"""

from __future__ import annotations

from collections.abc import Collection

ALLOWED_UPDATES = ("message", "edited_message", "callback_query", "my_chat_member", "inline_query")
ALERTS_OFF = "shipping_query"  # shown: who waits shall send no alerts
BEAT = "poll_answer"  # shown every other minute
EVERY = 60.0  # seconds
SILENT = 150.0  # seconds without a beat, after which the other copy is taken for dead


class Heartbeat:
    """Of the copy that polls. beats: also if it pauses no other copy. Safe from any thread."""

    def __init__(self) -> None:
        self.beats = False
        self._pauses = False

    def pause_others(self, on: bool) -> None:
        """Shall copies that wait send no alerts? They know it after the next poll."""
        self._pauses = on

    def types(self, monotonic: float) -> list[str]:
        """The update types to ask for now."""
        beat = (self._pauses or self.beats) and int(monotonic / EVERY) % 2 == 1
        return [*ALLOWED_UPDATES, *([ALERTS_OFF] if self._pauses else []), *([BEAT] if beat else [])]


class Heard:
    """What a copy that waits hears of the one that polls. pauses: the owner wants no alerts from this copy."""

    def __init__(self) -> None:
        self.pauses = False
        self._beat = False  # at the last look
        self._changed_at: float | None = None  # monotonic; None as long as nothing beats

    def look(self, types: Collection[str], monotonic: float) -> None:
        """The update types that the other copy asks for. Another program's list says nothing."""
        more = set(types) - set(ALLOWED_UPDATES)
        ours = more <= {ALERTS_OFF, BEAT} and set(ALLOWED_UPDATES) <= set(types)
        self.pauses, beat = ours and ALERTS_OFF in more, ours and BEAT in more
        if beat != self._beat or (self.pauses and self._changed_at is None):
            self._beat, self._changed_at = beat, monotonic

    def silent(self, monotonic: float) -> bool:
        """Did it beat, and does no more?"""
        return self._changed_at is not None and monotonic - self._changed_at >= SILENT
