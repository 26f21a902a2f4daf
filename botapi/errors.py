"""The kinds of failed Bot API calls. Their texts never hold the token.

Source: core.telegram.org/bots/api, "Making requests" and ResponseParameters; codes as the server sends them.
"""

from __future__ import annotations

from typing import Any

from base.secrets import redact
from base.text import clip, one_line
from botapi import refusals

LONGEST_WAIT = 3600  # seconds: a longer 429 is asked again after an hour


class TelegramError(Exception):
    """A Bot API call failed. str() is safe to log: no token, no URL, no message text."""


class Unreachable(TelegramError):
    """No usable answer: network, TLS, a proxy's page, a 5xx, or a refusal of anything.

    status: the HTTP status. took: seconds until the network failed.
    """

    def __init__(self, reason: str, *, status: int | None = None, took: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.took = status, took


class NoAnswer(Unreachable):
    """Connected, but nothing came back within the time limit."""


class LineRenewed(Unreachable):
    """The network was away and is back: calls on old connections were ended. The next try may go at once."""


class NotLeading(TelegramError):
    """Nothing was sent: another copy of this bot leads now, or may."""


class TooManyRequests(TelegramError):
    """429: wait `retry_after` seconds before the next try (Bot API `ResponseParameters`)."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Telegram asks to wait {retry_after:g} s")
        self.retry_after = retry_after


class TokenRefused(TelegramError):
    """401 or 404 for every call. says, remedy: what it means and what to do, for people."""

    def __init__(self, reason: str, *, own_server: bool = False) -> None:
        super().__init__(reason)
        if own_server and reason.startswith("404"):  # Telegram's own server says 404 of an incomplete token only
            self.says = f"The Bot API server knows no such address ({reason})"
            self.remedy = "TELEGRAM_API_URL has a wrong path, or the token is not complete. Correct them in .env"
        else:
            self.says = f"Telegram refuses the token ({reason})"
            self.remedy = "It is wrong or was revoked. Put the current one from @BotFather (/token) into .env"


class Conflict(TelegramError):
    """409 of getUpdates. `by_webhook` tells a webhook from a second poller."""

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.by_webhook = "webhook" in description.lower()


class Rejected(TelegramError):
    """This call was refused for what it asks (4xx). `migrate_to` is a group's new id if that is the reason.

    about: what the refusal is about. A 4xx that says nothing of the message or the chat is `Unreachable`.
    """

    def __init__(self, code: int, description: str, *, migrate_to: int | None = None) -> None:
        super().__init__(f"{code} {description}")
        self.code = code
        self.description = description
        self.migrate_to = migrate_to
        self.about = refusals.about(description) or refusals.About.MESSAGE


def failure(content: dict[str, Any], *, own_server: bool = False) -> TelegramError:
    """The error for an answer whose `ok` is false. own_server: not Telegram's own.

    Raises KeyError or TypeError if it is not from the Bot API.
    """
    # Redacted here: it goes into the log, the database and the owner's chat, and a proxy may echo the URL.
    code, description = number(content["error_code"], 0, 999), one_line(redact(str(content["description"])))
    if code is None:
        raise TypeError("error_code is not an HTTP status")
    parameters = content.get("parameters") or {}
    if code == 409:
        return Conflict(description)
    if code == 401 and "api-id" in description:  # said of every token until whoever runs the server corrects it
        return Unreachable(f"the Bot API server was started with a wrong api-id or api-hash ({code})", status=code)
    if code == 401 or (code == 404 and description == "Not Found"):
        return TokenRefused(f"{code} {description}", own_server=own_server)
    if code == 429:
        return TooManyRequests(number(parameters.get("retry_after"), 1, LONGEST_WAIT) or 5)
    if code >= 500:
        return Unreachable(f"HTTP {code}", status=code)
    migrate_to = number(parameters.get("migrate_to_chat_id"), -(2**52), 2**52)
    if migrate_to is None and refusals.about(description) is None:
        return Unreachable(f"{code} {clip(description, 200)}", status=code)
    return Rejected(code, description, migrate_to=migrate_to)


def number(value: object, low: int, high: int) -> int | None:
    """A number from the network, not below `low` and not above `high`; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # NaN
        return None
    return int(min(high, max(low, value)))
