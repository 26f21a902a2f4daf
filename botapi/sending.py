"""One delivery as one Bot API call: makes its file, and sends a plainer form where Telegram refuses this one.

A delivery may ask for a file (payload key `attachment`). It is made in the sending thread at the moment of sending;
the store holds the request only.
"""

from __future__ import annotations

import html
import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from base.text import clip
from botapi import refusals
from botapi.errors import Rejected
from botapi.storage import Delivery

log = logging.getLogger(__name__)

MAKERS = 4  # files made at a time; the other senders continue
WITH_TEXT = ("sendMessage", "editMessageText")  # methods that take link_preview_options
# What only a new message has; it is kept when the file could not be made.
ADDRESS = ("message_thread_id", "disable_notification", "reply_parameters")


@dataclass(frozen=True)
class Attachment:
    """A file to send. field: the Bot API's name of the parameter (`photo` for sendPhoto, `document`)."""

    field: str
    filename: str
    content: bytes


class AttachmentError(Exception):
    """The file cannot be made. str() is sent to the chat instead."""


Files = Mapping[str, tuple[str, bytes]]
Maker = Callable[[dict[str, Any]], Attachment]  # takes the delivery's `attachment`; may raise AttachmentError


class Sender(Protocol):
    """What the outbox needs of Telegram."""

    def send(self, method: str, payload: dict[str, Any], *, files: Files | None = None) -> int | None: ...


class MakersBusyError(Exception):
    """As many files as allowed are being made: try this delivery again in a second."""


class Sending:
    """Sends deliveries through `telegram`. makers: for each `kind` of attachment, how it is made. Thread-safe."""

    def __init__(self, telegram: Sender, makers: Mapping[str, Maker]) -> None:
        self._telegram = telegram
        self._makers = dict(makers)
        self._free = threading.BoundedSemaphore(MAKERS)

    def send(self, delivery: Delivery, payload: dict[str, Any]) -> int | None:
        """Send it; the message id if there is one. Raises TelegramError, MakersBusyError."""
        if "attachment" not in payload:
            return self._send(delivery, delivery.method, payload, None)
        if not self._free.acquire(blocking=False):
            raise MakersBusyError
        try:
            return self._send(delivery, *self._with_file(delivery))
        except Rejected as error:
            if error.about is not refusals.About.MESSAGE:
                raise
            log.warning("A file for chat %d was refused: %s", delivery.chat_id, clip(error.description, 120))
            why = error.description.removeprefix("Bad Request: ")
            return self._send(
                delivery, *_instead(delivery, f"Telegram did not take the file: {clip(why, 200)}."), None
            )
        finally:
            self._free.release()

    def _with_file(self, delivery: Delivery) -> tuple[str, dict[str, Any], Files | None]:
        """The call that sends the file, or a text that says why it could not be made."""
        request = delivery.payload["attachment"]
        try:
            maker = self._makers.get(request["kind"])
            if maker is None:
                raise AttachmentError("This version of the bot can no longer make this file.")
            made = maker(request)
        except AttachmentError as error:
            words = str(error)
        except Exception:  # a bug in a maker must not stop the chat's other messages
            log.exception("A file for chat %d could not be made", delivery.chat_id)
            words = "The file could not be made. Details are in the bot's log."
        else:
            payload = {name: value for name, value in delivery.payload.items() if name != "attachment"}
            return delivery.method, payload, {made.field: (made.filename, made.content)}
        return *_instead(delivery, words), None

    def _send(self, delivery: Delivery, method: str, payload: dict[str, Any], files: Files | None) -> int | None:
        if method.startswith("edit"):
            payload = {name: value for name, value in payload.items() if name not in ADDRESS}
        if method.startswith(("send", "edit", "delete")):
            payload = {"chat_id": delivery.chat_id, **payload}
        if method in WITH_TEXT:
            payload = {"link_preview_options": {"is_disabled": True}, **payload}
        while True:
            try:
                return self._telegram.send(method, payload, files=files)
            except Rejected as error:
                if "message is not modified" in error.description:
                    return int(payload["message_id"])
                plainer = _plainer(payload, error.description)
                if plainer is None:
                    raise
                log.warning("A message was refused (%s); sending it in a plainer form", clip(error.description, 120))
                payload = plainer


def _instead(delivery: Delivery, words: str) -> tuple[str, dict[str, Any]]:
    """A text in the place of a file."""
    kept = {name: delivery.payload[name] for name in ADDRESS if name in delivery.payload}
    return "sendMessage", {"text": words, **kept}


def _plainer(payload: dict[str, Any], description: str) -> dict[str, Any] | None:
    """The message without what Telegram refused; None if nothing can be left out."""
    if "can't parse entities" in description and "parse_mode" in payload:
        plain = {name: value for name, value in payload.items() if name != "parse_mode"}
        words = {name: _plain(plain[name]) for name in ("text", "caption") if name in plain}
        return plain | words
    if refusals.about(description) is refusals.About.TOPIC and "message_thread_id" in payload:
        return {name: value for name, value in payload.items() if name != "message_thread_id"}
    return None


def _plain(marked_up: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", marked_up))
