"""Telegram's HTML parse mode, strict enough to refuse what the real server refuses, with its own words.

Follows tdlib's parse_html (MessageEntity.cpp). Byte offsets count UTF-8, entity offsets count UTF-16 units.
"""

from __future__ import annotations

import re
from typing import Any

_KINDS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "tg-emoji": "custom_emoji",
}
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_ENTITY = re.compile(r"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(lt|gt|amp|quot)(?![a-zA-Z]));?")
_ATTRIBUTE = re.compile(r"""\s*([^\s=>]+)(?:\s*=\s*("[^"]*"|'[^']*'|[A-Za-z0-9.-]*))?""")
_COMMAND = re.compile(r"(?<![\w/@<>])/[a-zA-Z0-9_]{1,64}(?:@[a-zA-Z][a-zA-Z0-9_]{2,31})?(?![\w/@<>])")


def parse_html(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Plain text and entities. Raises ValueError with the server's words after "can't parse entities: "."""
    plain: list[str] = []
    entities: list[dict[str, Any]] = []
    opened: list[tuple[str, str, int]] = []
    units = 0
    position = 0
    while position < len(text):
        tag = text.find("<", position)
        piece = unescape(text[position : tag if tag >= 0 else len(text)])
        plain.append(piece)
        units += utf16(piece)
        if tag < 0:
            break
        at = f"at byte offset {len(text[:tag].encode())}"
        end = _tag_end(text, tag)
        if text.startswith("/", tag + 1):
            if not opened:
                raise ValueError(f"Unexpected end tag {at}")
            if end < 0:
                raise ValueError(f"Unclosed end tag {at}")
            name = text[tag + 2 : end].strip().lower()
            start = opened.pop()
            if name and name != start[0]:
                raise ValueError(f'Unmatched end tag {at}, expected "</{start[0]}>", found "</{name}>"')
            if units > start[2]:
                entities.append(_entity(start, units - start[2]))
        else:
            name = re.split(r"[\s>]", text[tag + 1 :], maxsplit=1)[0].lower()
            if end < 0 and not re.search(r"[\s>]", text[tag:]):
                raise ValueError(f"Unclosed start tag {at}")
            if name not in _KINDS:
                raise ValueError(f'Unsupported start tag "{name}" {at}')
            if end < 0:
                raise ValueError(f'Unclosed start tag "{name}" {at}')
            opened.append((name, _argument(name, text[tag + 1 + len(name) : end], at), units))
        position = end + 1
    if opened:
        raise ValueError(f'Can\'t find end tag corresponding to start tag "{opened[-1][0]}"')
    return "".join(plain), sorted(entities, key=lambda entity: (entity["offset"], -entity["length"]))


def unescape(text: str) -> str:
    """Text with the entities that Telegram knows decoded; others stay as they are."""
    return _ENTITY.sub(_decode, text) if "&" in text else text


def commands(text: str) -> list[dict[str, Any]]:
    """The bot_command entities of a text, found as the server finds them."""
    return [
        {"type": "bot_command", "offset": utf16(text[: found.start()]), "length": utf16(found[0])}
        for found in _COMMAND.finditer(text)
    ]


def utf16(text: str) -> int:
    """The length Telegram counts in."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _tag_end(text: str, start: int) -> int:
    quote = ""
    for position in range(start + 1, len(text)):
        char = text[position]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and text[position - 1] == "=":
            quote = char
        elif char == ">":
            return position
    return -1


def _argument(name: str, rest: str, at: str) -> str:
    argument = ""
    for found in _ATTRIBUTE.finditer(rest.rstrip()):
        attribute, value = found[1], found[2]
        if value is None:
            if name == "blockquote" and attribute == "expandable":
                continue
            raise ValueError(f'Expected equal sign in declaration of an attribute of the tag "{name}" {at}')
        value = unescape(value[1:-1]) if value[:1] in ("'", '"') else value.lower()
        if (name, attribute) in (("a", "href"), ("tg-emoji", "emoji-id"), ("span", "class"), ("code", "class")):
            argument = value
    if name == "span" and argument != "tg-spoiler":
        raise ValueError(f'Tag "span" must have class "tg-spoiler" {at}')
    return argument


def _entity(start: tuple[str, str, int], length: int) -> dict[str, Any]:
    name, argument, offset = start
    entity: dict[str, Any] = {"type": _KINDS[name], "offset": offset, "length": length}
    if name == "a":
        entity["url"] = argument
    if name == "tg-emoji":
        entity["custom_emoji_id"] = argument
    return entity


def _decode(found: re.Match[str]) -> str:
    hexadecimal, decimal, name = found.groups()
    if name:
        return _NAMED[name]
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return found[0] if code == 0 or code >= 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)
