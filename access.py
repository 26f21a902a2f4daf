"""Who may use the bot: owner, allowed users, and the chats they started. Everyone else is a stranger.

Deny by default: one gate, `Access.admits`, stands in front of every update, so a new command is closed to
strangers without anyone remembering it. Decisions live in the store and survive restarts.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from base.text import clip
from botapi.client import Rejected, TelegramError
from botapi.storage import StoreError
from botapi.updates import Update
from store import Store
from store.rows import Chat, User

log = logging.getLogger(__name__)

ANSWER_EVERY = 86400.0  # a stranger is answered once a day
ASK_EVERY = 7 * 86400.0  # the owner is asked about the same stranger once a week
ASKS_AN_HOUR = 5
LINK_LIFETIME = 900.0
ADMINISTRATORS_EVERY = 3600.0  # seconds between two questions about a group
ADMINISTRATORS_TRUSTED = 2 * ADMINISTRATORS_EVERY  # how old an answer may be
ADMINISTRATORS_RETRY = 60.0
_LINK, _OWNER = "claim", "owner"  # names of two facts in the store; see OwnerLink


class Role(Enum):
    OWNER = "owner"
    ALLOWED = "allowed"
    DENIED = "denied"
    STRANGER = "stranger"


class Access:
    """The gate and the owner's decisions. The owner cannot be denied."""

    def __init__(
        self, store: Store, *, owner_id: int | None, allowed_users: frozenset[int], now: Callable[[], float]
    ) -> None:
        self.configured_owner = self._owner = owner_id  # whom the settings name
        self._store = store
        self._link = OwnerLink(store)
        self._allowed_users = allowed_users
        self._now = now

    @property
    def owner_id(self) -> int | None:
        """The owner now: by the settings, or by a link that was opened since (OwnerLink)."""
        try:
            self._owner = self._link.owner(self.configured_owner)
        except StoreError:
            pass  # the database cannot be read just now, and the owner is to be told so: whoever it was
        return self._owner

    def claim(self, update: Update) -> bool:
        """Someone opened the owner's link: True, and they are the owner. False for all else, a wrong code too."""
        if update.kind != "message" or not self._link.matches(update.text, now=self._now()):
            return False
        if not update.private or not update.user_id:
            self._link.void()  # a whole group can read the code
            return False
        self._link.settle(update.user_id, configured=self.configured_owner)
        self.sweep()
        return True

    def role(self, user_id: int) -> Role:
        """A decision of the owner goes before the settings' list: /deny also holds for a user listed there."""
        if user_id and user_id == self.owner_id:
            return Role.OWNER
        user = self._store.chats.user(user_id)
        if user is not None and user.state == "denied":
            return Role.DENIED
        if user_id in self._allowed_users or (user is not None and user.state == "allowed"):
            return Role.ALLOWED
        return Role.STRANGER

    def admits(self, update: Update) -> bool:
        """May this update make the bot do anything? An update without a person behind it may not."""
        known = update.user_id > 0 and self.knows(update.user_id)
        return known or ((update.user_id > 0 or update.as_group) and self._administers(update))

    def knows(self, user_id: int) -> bool:
        """Is this the owner or one whom the owner let in?"""
        return self.role(user_id) in (Role.OWNER, Role.ALLOWED)

    def _administers(self, update: Update) -> bool:
        """An administrator of a group may set what it hears, once someone whom the bot knows has started it there."""
        if update.chat_kind == "private" or self.role(update.user_id) is Role.DENIED:
            return False
        chat = self._store.chats.get(update.chat_id)
        if chat is None or not self.may_hear(chat):
            return False
        return update.as_group or administers(self._store, update.chat_id, update.user_id, now=self._now())

    def may_hear(self, chat: Chat) -> bool:
        """May alerts go there? A private chat is its user's; a group is heard for the one who started it."""
        return self.knows(chat.added_by)

    def knock(self, update: Update) -> tuple[bool, bool]:
        """A stranger wrote: (give the day's one answer, ask the owner). Only private messages of people count."""
        if update.kind != "message" or not update.private or update.user_id <= 0:
            return False, False  # two bots that answered each other would never end
        if self.role(update.user_id) is not Role.STRANGER:
            return False, False
        now = self._now()
        known = self._store.chats.user(update.user_id)
        user = known or User(user_id=update.user_id, at=now)
        if now - user.answered_at < ANSWER_EVERY:
            return False, False
        ask = (
            self.owner_id is not None
            and now - user.asked_at > ASK_EVERY
            and self._store.chats.asked_since(now - 3600) < ASKS_AN_HOUR
        )
        user = replace(user, name=clip(update.user_name, 64), answered_at=now)
        self._store.chats.put_user(replace(user, asked_at=now) if ask else user)
        return True, ask

    def allow(self, user_id: int) -> None:
        self._decide(user_id, "allowed")

    def deny(self, user_id: int) -> list[Chat]:
        """Shut a user out and end the alerts of every chat that was theirs; returns those chats."""
        self._decide(user_id, "denied")
        return self.sweep()

    def sweep(self) -> list[Chat]:
        """End the subscriptions of chats whose people may no longer hear; returns those chats."""
        ended = [chat for chat in self._store.chats.all() if not self.may_hear(chat)]
        for chat in ended:
            self._store.unsubscribe(chat.chat_id, note="unsubscribed: its user may no longer use this bot")
        return ended

    def _decide(self, user_id: int, state: str) -> None:
        user = self._store.chats.user(user_id) or User(user_id=user_id)
        self._store.chats.put_user(replace(user, state=state, at=self._now()))

    def users(self) -> list[tuple[Role, User]]:
        """Everyone who was decided about, by settings or by the owner."""
        decided = {user.user_id: user for user in self._store.chats.users("allowed", "denied")}
        for user_id in (*self._allowed_users, *([self.owner_id] if self.owner_id else [])):
            decided.setdefault(user_id, self._store.chats.user(user_id) or User(user_id=user_id))
        order = list(Role)
        rows = [(self.role(user_id), user) for user_id, user in decided.items()]
        return sorted(rows, key=lambda row: (order.index(row[0]), row[1].user_id))


class OwnerLink:
    """The owner by a one-time link: `https://t.me/<bot>?start=<code>`, and whoever opens it becomes the owner.

    The code has 128 bits, works once, for LINK_LIFETIME seconds, in a private chat; the store keeps its hash only.
    There is one link at a time. Who the owner is by a link stands in the store until the settings name somebody else:
    the newest decision counts.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def offer(self, *, now: float) -> str:
        """A new code; the one before is void from now on."""
        code = secrets.token_urlsafe(16)
        self._store.set_value(_LINK, f"open {_hash(code)} {now + LINK_LIFETIME}")
        return code

    def is_open(self, *, now: float) -> bool:
        """Is there a link that still works?"""
        return now < self._open()[1]

    def void(self) -> None:
        """No link works any more."""
        self._store.set_value(_LINK, "")

    def used_by(self) -> int | None:
        """Who opened the latest link; None while nobody has."""
        kind, _, user_id = (self._store.value(_LINK) or "").partition(" ")
        return int(user_id) if kind == "used" else None

    def matches(self, words: str, *, now: float) -> bool:
        """Is this message `/start CODE` (or `/start@bot CODE`) with the code that works now? Changes nothing."""
        command, _, code = words.strip().partition(" ")
        if command.partition("@")[0].lower() != "/start" or not code:
            return False
        kept, ends_at = self._open()
        return now < ends_at and hmac.compare_digest(_hash(code.strip()), kept)

    def settle(self, user_id: int, *, configured: int | None) -> None:
        """This person is the owner now. `configured`: whom the settings name at this time."""
        with self._store.transaction():
            self._store.set_value(_LINK, f"used {user_id}")
            self._store.set_value(_OWNER, f"{user_id} {configured or 0}")

    def owner(self, configured: int | None) -> int | None:
        """Whoever opened a link while the settings named `configured` as they do now; else `configured`."""
        found, _, then = (self._store.value(_OWNER) or "").partition(" ")
        return int(found) if found and int(then) == (configured or 0) else configured

    def forget_owner(self) -> None:
        """The settings name the owner: what the store knows about it counts no more."""
        self._store.set_value(_OWNER, "")

    def _open(self) -> tuple[str, float]:
        kind, _, rest = (self._store.value(_LINK) or "").partition(" ")
        kept, _, ends_at = rest.partition(" ")
        return (kept, float(ends_at)) if kind == "open" else ("", 0.0)


def link_url(username: str, code: str) -> str:
    return f"https://t.me/{username}?start={code}"


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


class Groups:
    """Asks Telegram who administers the groups with a subscription; the gate reads what is kept.

    Commands never touch the network, so a job asks: soon after /start, then once an hour. Updates about members come
    only to a bot that is an administrator itself, so asking is what works in every group. Someone who is no longer an
    administrator may still change settings for up to an hour; who cannot be verified may not.
    `ask`: chat id to user ids (Bot API getChatAdministrators), may raise TelegramError.
    """

    def __init__(self, store: Store, *, ask: Callable[[int], list[int]], now: Callable[[], float]) -> None:
        self._store = store
        self._ask = ask
        self._now = now
        self._retry_at = 0.0

    def tick(self) -> None:
        """Ask about the groups whose turn it is. What Telegram refuses or cannot answer is nobody's error here."""
        for chat in self._store.chats.all():
            now = self._now()
            if (
                chat.kind == "private"
                or now < self._retry_at
                or now - _administrators(self._store, chat.chat_id)[0] < ADMINISTRATORS_EVERY
            ):
                continue
            try:
                found = self._ask(chat.chat_id)
            except Rejected as error:
                log.info("The administrators of a group are not told (%s): only allowed users may set it", error)
                found = []
            except TelegramError:
                self._retry_at = now + ADMINISTRATORS_RETRY
                return
            self._store.set_value(_fact(chat.chat_id), json.dumps({"at": now, "ids": found}))


def administers(store: Store, chat_id: int, user_id: int, *, now: float) -> bool:
    """Did Telegram say lately that this user is an administrator of that group?"""
    at, ids = _administrators(store, chat_id)
    return user_id in ids and abs(now - at) < ADMINISTRATORS_TRUSTED


def _administrators(store: Store, chat_id: int) -> tuple[float, list[int]]:
    value = store.value(_fact(chat_id))
    if value is None:
        return 0.0, []
    known = json.loads(value)
    return known["at"], known["ids"]


def _fact(chat_id: int) -> str:
    return f"administrators:{chat_id}"
