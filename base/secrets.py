"""The secrets of the settings, known once, and taken out wherever text of others enters or text of ours leaves.

They are taken out of whole texts, before anything is cut: half a key is still half a key.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

# No \b in front: a token also stands in "bot<token>" of a URL, and behind an escaped colon.
TOKEN_LIKE = re.compile(r"\d{5,}(?::|%3[Aa])[A-Za-z0-9_-]{20,}")
_LOGIN = re.compile(r"(?<=//)[^/\s@]+:[^/\s@]+(?=@)")  # user:password before a host
_PASSWORDS = (r"//[^:/@]*:([^@]+)@", r"//[^:/@]*:(.+)@", r"[?&](?:ssl)?password=([^&]+)")
SHORTEST = 8  # characters: a shorter one would be found in ordinary words

_known: dict[str, str] = {}  # secret -> what stands in its place
_typed: set[str] = set()  # those of them that people type in a chat


def know(*secrets: str, typed: bool = False) -> None:
    """Take these out from now on, also as they stand in a URL, and of a token the half after the colon.

    typed: people type them in a chat, perhaps again, so they stay in what a server sends.
    """
    global _known
    found = {}
    for secret in secrets:
        half = secret.partition(":")[2]
        for form in (secret, half, quote(secret, safe="")):
            if len(form) >= SHORTEST:
                found[form] = "<token>" if half and "//" not in half else "<secret>"
    if typed:
        _typed.update(found.keys() - _known.keys())
    else:
        _typed.difference_update(found)
    _known = _known | found


def passwords(url: str) -> list[str]:
    """The passwords in a URL, as written and as meant; more than one where it is not clear where it ends."""
    found = [password for form in _PASSWORDS for password in re.findall(form, url)]
    return [*dict.fromkeys([*found, *map(unquote, found)])]


def redact(text: str) -> str:
    """The text without known secrets, without what looks like a bot token, and without a password in a URL."""
    text = TOKEN_LIKE.sub("<token>", text)
    for secret, instead in _known.items():
        text = text.replace(secret, instead)
    return _LOGIN.sub("<login>", text)


def redact_body(body: bytes) -> bytes:
    """What a server sent, without known secrets, for some echo the request; but with what people type."""
    for secret, instead in _known.items():
        if secret in _typed:
            continue
        body = body.replace(secret.encode(), instead.encode())
    return body
