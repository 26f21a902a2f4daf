"""What an application can listen to. Every event may be left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


def _ignore(*_: object) -> None:
    pass


class PollerEvents(NamedTuple):
    """What the application can listen to. All are called from the polling thread.

    connected: getMe answered; the bot's username. end: the process should end with this exit code and message.
    died: the thread ended by itself; its name. tell_owner: a message for the owner, and the machine whose alerts a
    button under it can pause, or "". changed: there may be something to send. reached: Telegram answers again.
    """

    connected: Callable[[str], None] = _ignore
    end: Callable[[int, str], None] = _ignore
    died: Callable[[str], None] = _ignore
    tell_owner: Callable[[str, str], None] = _ignore
    changed: Callable[[], None] = _ignore
    reached: Callable[[], None] = _ignore


class OutboxEvents(NamedTuple):
    """What the application can listen to. All are called from a sending thread.

    sent: Telegram took a message, so many seconds after it was stored. token_refused: 401 or 404, for people.
    died: a thread ended by itself; its name. tell_owner: a message for the owner. no_rights: the bot may not write in
    this chat. These two are called inside the transaction that buries the message, and must not call the outbox.
    """

    sent: Callable[[float], None] = _ignore
    token_refused: Callable[[str], None] = _ignore
    tell_owner: Callable[[str], None] = _ignore
    no_rights: Callable[[int], None] = _ignore
    died: Callable[[str], None] = _ignore
