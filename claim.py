"""The owner by a one-time link: `https://t.me/<bot>?start=<code>`, and whoever opens it becomes the owner.

The code has 128 bits, works once, for 15 minutes, in a private chat; the store keeps its hash only. There is one link
at a time. Who the owner is by a link stands in the store until the settings name somebody else: the newest
decision counts.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from store import Store

LIFETIME = 900.0  # seconds
_LINK, _OWNER = "claim", "owner"  # names of two facts; see `offer` and `settle` for what they hold


def offer(store: Store, *, now: float) -> str:
    """A new code; the one before is void from now on."""
    code = secrets.token_urlsafe(16)
    store.set_value(_LINK, f"open {_hash(code)} {now + LIFETIME}")
    return code


def link(username: str, code: str) -> str:
    return f"https://t.me/{username}?start={code}"


def is_open(store: Store, *, now: float) -> bool:
    """Is there a link that still works?"""
    return now < _open_link(store)[1]


def void(store: Store) -> None:
    """No link works any more."""
    store.set_value(_LINK, "")


def used_by(store: Store) -> int | None:
    """Who opened the latest link; None while nobody has."""
    kind, _, user_id = (store.value(_LINK) or "").partition(" ")
    return int(user_id) if kind == "used" else None


def matches(store: Store, words: str, *, now: float) -> bool:
    """Is this message `/start CODE` (or `/start@bot CODE`) with the code that works now? Changes nothing."""
    command, _, code = words.strip().partition(" ")
    if command.partition("@")[0].lower() != "/start" or not code:
        return False
    kept, ends_at = _open_link(store)
    return now < ends_at and hmac.compare_digest(_hash(code.strip()), kept)


def settle(store: Store, user_id: int, *, configured: int | None) -> None:
    """This person is the owner now. `configured`: whom the settings name at this time."""
    with store.transaction():
        store.set_value(_LINK, f"used {user_id}")
        store.set_value(_OWNER, f"{user_id} {configured or 0}")


def owner(store: Store, configured: int | None) -> int | None:
    """The owner: whoever opened a link while the settings named `configured` as they do now, else `configured`."""
    found, _, then = (store.value(_OWNER) or "").partition(" ")
    return int(found) if found and int(then) == (configured or 0) else configured


def forget_owner(store: Store) -> None:
    """The settings name the owner: what the store knows about it counts no more."""
    store.set_value(_OWNER, "")


def _open_link(store: Store) -> tuple[str, float]:
    kind, _, rest = (store.value(_LINK) or "").partition(" ")
    kept, _, ends_at = rest.partition(" ")
    return (kept, float(ends_at)) if kind == "open" else ("", 0.0)


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
