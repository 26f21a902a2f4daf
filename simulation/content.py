"""What a simulated message may hold: text with its markup, keyboards, files. The words of errors are the server's."""

from __future__ import annotations

import json
from typing import Any

from simulation.html import commands, parse_html
from simulation.request import Params, Upload
from simulation.updates import ApiError

_UPLOAD_MAX, _PHOTO_MAX = 50 << 20, 10 << 20  # bytes (Bot API, "Sending files")
_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")


def formatted(params: Params, name: str) -> tuple[str, list[dict[str, Any]]]:
    raw = str(params.get(name, ""))
    mode = str(params.get("parse_mode", "")).lower()
    if mode == "html":
        try:
            text, entities = parse_html(raw)
        except ValueError as error:
            raise ApiError(400, f"Bad Request: can't parse entities: {error}") from None
        return text.rstrip(), entities
    if mode not in ("", "none", "markdown", "markdownv2"):
        raise ApiError(400, "Bad Request: unsupported parse_mode")
    return raw.rstrip(), commands(raw)


def markup(params: Params) -> dict[str, Any] | None:
    if not params.get("reply_markup"):
        return None
    markup = decoded(params, "reply_markup", "Bad Request: can't parse reply keyboard markup JSON object")
    if not isinstance(markup, dict):
        raise ApiError(400, "Bad Request: object expected as reply markup")
    for row in markup.get("inline_keyboard", []):
        for button in row:
            if "callback_data" in button and not 1 <= len(button["callback_data"].encode()) <= 64:
                raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    return markup if "inline_keyboard" in markup else {}


def decoded(params: Params, name: str, complaint: str) -> Any:
    try:
        return json.loads(str(params.get(name, "")))
    except ValueError:
        raise ApiError(400, complaint) from None


def check_upload(media: str, upload: Upload) -> None:
    if upload.size == 0:
        raise ApiError(400, "Bad Request: file must be non-empty")
    if upload.size > _UPLOAD_MAX:
        raise ApiError(413, "Request Entity Too Large")
    if media == "photo" and upload.size > _PHOTO_MAX:
        words = f"file of size {upload.size} bytes is too big for a photo; the maximum size is {_PHOTO_MAX} bytes"
        raise ApiError(400, f"Bad Request: {words}")
    if media == "photo" and not upload.data.startswith(_IMAGES):
        raise ApiError(400, "Bad Request: IMAGE_PROCESS_FAILED")


def file_of(media: str, given: str | Upload) -> Any:
    size = given.size if isinstance(given, Upload) else 0
    about: dict[str, Any] = {"file_id": f"{media}-{size}", "file_unique_id": f"u{size}", "file_size": size}
    if media == "photo":
        return [about | {"width": 800, "height": 400}]
    return about | {"file_name": given.name if isinstance(given, Upload) else "file"}
