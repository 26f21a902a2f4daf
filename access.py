"""Who may use the bot: owner, allowed users, and the chats they started. Everyone else is a stranger.

Deny by default: every update passes one gate, `Access.admits`, so a new command is closed to strangers.
Decisions live in the store and survive restarts.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from base.text import clip
from botapi.errors import Rejected, TelegramError, Unreachable
from botapi.storage import StoreError
from store import Store
from store.readable import UNREADABLE
from store.rows import Chat, User

if TYPE_CHECKING:  # the first getUpdates does without it
    from botapi.updates import Update

log = logging.getLogger(__name__)

ANSWER_EVERY = 86400.0  # a stranger is answered once a day
ASK_EVERY = 7 * 86400.0  # the owner is asked about the same stranger once a week
ASKS_AN_HOUR = 5
ANSWERS_A_MINUTE = 10  # to strangers, all together
LINK_LIFETIME = 900.0
ADMINISTRATORS_EVERY = 3600.0  # seconds between two questions about a group
ADMINISTRATORS_TRUSTED = 2 * ADMINISTRATORS_EVERY  # how old an answer may be
ADMINISTRATORS_RETRY = 60.0
AT_ONCE = 200  # chats whose alerts end in one transaction: commands get their turn between them
SHUT_OUT = "alerts ended: the user who started them may no longer use this bot"
DECIDED = ("allowed", "denied")  # states of a user about whom the owner has decided
_FACT = "administrators:"  # names, with a group's id
_LINK, _OWNER = "claim", "owner"  # names of two facts in the store; see OwnerLink


class Role(Enum):
    """What a user may do here; a stranger is one nobody has decided about."""

    OWNER = "owner"
    ALLOWED = "allowed"
    DENIED = "denied"
    STRANGER = "stranger"


class Link(Enum):
    """When a link is shown on the terminal that makes whoever opens it the owner."""

    NEVER = "never"
    IF_NEEDED = "when nobody could use the bot"
    ONLY = "in any case, and the bot ends when it was opened"


class Knock(Enum):
    """What follows when a stranger writes."""

    IGNORE = "ignore"
    ANSWER = "answer"
    ANSWER_AND_ASK = "answer, and ask the owner"


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
        """The present owner: from the settings, or whoever opened the owner link since (OwnerLink)."""
        try:
            self._owner = self._link.owner(self.configured_owner)
        except StoreError:
            pass  # the database cannot be read now; its last known owner must still get the warning
        return self._owner

    def claim(self, update: Update) -> bool:
        """True if this message opened the owner link: its sender is now the owner. A wrong code changes nothing."""
        if update.kind != "message" or not self._link.matches(update.text, now=self._now()):
            return False
        if not update.private or not update.user_id:
            self._link.void()  # a whole group can read the code
            return False
        self._link.settle(update.user_id, configured=self.configured_owner)
        self.sweep()
        return True

    def role(self, user_id: int) -> Role:
        """The user's role. The owner's /deny also applies to users listed in the settings."""
        if user_id and user_id == self.owner_id:
            return Role.OWNER
        return self._decided(self._store.chats.user(user_id) or User(user_id=user_id))

    def _decided(self, user: User) -> Role:
        if user.state == "denied":
            return Role.DENIED
        return Role.ALLOWED if user.state == "allowed" or user.user_id in self._allowed_users else Role.STRANGER

    def admits(self, update: Update) -> bool:
        """May this update make the bot do anything? Someone must stand behind it: a user or a group's admin."""
        if update.chat_kind == "channel" and update.kind != "membership":
            return False  # everything about a channel is done in private, by whoever added the bot there
        known = update.user_id > 0 and self.knows(update.user_id)
        return known or ((update.user_id > 0 or update.as_group) and self._administers(update))

    def knows(self, user_id: int) -> bool:
        """Is this the owner or an allowed user?"""
        return self.role(user_id) in (Role.OWNER, Role.ALLOWED)

    def _administers(self, update: Update) -> bool:
        """A group's administrators may change its settings once an allowed user has started the bot there."""
        if update.chat_kind == "private" or self.role(update.user_id) is Role.DENIED:
            return False
        chat = self._store.chats.get(update.chat_id)
        if chat is None or not self.may_hear(chat):
            return False
        if update.as_group:
            return not self.hides_denied(update.chat_id)
        return administers(self._store, update.chat_id, update.user_id, now=self._now())

    def hides_denied(self, chat_id: int) -> bool:
        """Is one of the group's administrators denied? Then one who writes as the group may be that one."""
        return any(self.role(user_id) is Role.DENIED for user_id in _administrators(self._store, chat_id)[1])

    def may_look(self, update: Update) -> bool:
        """May this member of a group use the commands that only show something? If its admins said so."""
        chat = self._store.chats.get(update.chat_id)
        denied = self.role(update.user_id) is Role.DENIED
        return chat is not None and chat.subscribed and chat.members and not denied and self.may_hear(chat)

    def may_hear(self, chat: Chat) -> bool:
        """May this chat get alerts? Yes while the user who started the bot in it is allowed."""
        return self.knows(chat.added_by)

    def knock(self, update: Update) -> Knock:
        """Decide what a stranger's message leads to, and record it: one answer a day, few questions to the owner."""
        # Only private messages of people count: two bots that answered each other would never end.
        person = update.kind == "message" and update.private and update.user_id > 0
        if not person or self.role(update.user_id) is not Role.STRANGER:
            return Knock.IGNORE
        now = self._now()
        user = self._store.chats.user(update.user_id) or User(user_id=update.user_id, at=now)
        # abs(): a clock that was ahead must not silence anyone until then.
        if abs(now - user.answered_at) < ANSWER_EVERY:
            return Knock.IGNORE
        if self._store.chats.answered_between(now - 60, now) >= ANSWERS_A_MINUTE:
            return Knock.IGNORE
        ask = (
            self.owner_id is not None
            and abs(now - user.asked_at) > ASK_EVERY
            and self._store.chats.asked_between(now - 3600, now) < ASKS_AN_HOUR
        )
        user = user._replace(name=clip(update.user_name, 64), answered_at=now)
        self._store.chats.put_user(user._replace(asked_at=now) if ask else user)
        return Knock.ANSWER_AND_ASK if ask else Knock.ANSWER

    def may_answer_group(self, update: Update) -> bool:
        """Someone unknown wants to start this group: may they be answered? Once a day; a yes is recorded."""
        now = self._now()
        group = self._store.chats.user(update.chat_id) or User(user_id=update.chat_id, at=now)
        if now - group.answered_at < ANSWER_EVERY:
            return False
        self._store.chats.put_user(group._replace(answered_at=now))
        return True

    def allow(self, user_id: int) -> None:
        """Let a user use the bot, whatever was decided before."""
        self._decide(user_id, "allowed")

    def deny(self, user_id: int) -> list[Chat]:
        """Remove a user and end the alerts of every chat they started; returns those chats."""
        self._decide(user_id, "denied")
        self._store.messages.bury_all(user_id, reason="this user was denied", now=self._now())
        return self.sweep()

    def sweep(self) -> list[Chat]:
        """End the alerts of chats whose users are no longer allowed; returns those chats."""
        ended = self._store.chats.of_others(self.owner_id, self._allowed_users)
        for first in range(0, len(ended), AT_ONCE):
            with self._store.transaction():
                for chat in ended[first : first + AT_ONCE]:
                    self._store.unsubscribe(chat.chat_id, note=SHUT_OUT)
        return ended

    def _decide(self, user_id: int, state: str) -> None:
        user = self._store.chats.user(user_id) or User(user_id=user_id)
        self._store.chats.put_user(user._replace(state=state, at=self._now()))

    def users(self, *, limit: int) -> list[tuple[Role, User]]:
        """The owner, those allowed by the settings, and those allowed or denied last; in the order of the roles."""
        decided = {user.user_id: user for user in self._store.chats.users(*DECIDED, limit=limit)}
        owner = self.owner_id
        for user_id in self._allowed_users | ({owner} if owner else set()):
            decided.setdefault(user_id, self._store.chats.user(user_id) or User(user_id=user_id))
        rows = [(Role.OWNER if user.user_id == owner else self._decided(user), user) for user in decided.values()]
        return sorted(rows, key=lambda row: (list(Role).index(row[0]), row[1].user_id))


class OwnerLink:
    """A one-time link, `https://t.me/<bot>?start=<code>`, that makes whoever opens it the owner.

    The code has 128 bits and works once, for LINK_LIFETIME seconds, in a private chat; the store keeps only its hash.
    There is one link at a time. An owner by link stays the owner until the settings name somebody else.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def offer(self, *, now: float) -> str:
        """Make a new code, valid from `now` (unix seconds); any earlier code stops working."""
        code = secrets.token_urlsafe(16)
        self._store.set_value(_LINK, f"open {_hash(code)} {now + LINK_LIFETIME}")
        return code

    def is_open(self, *, now: float) -> bool:
        """Is there a link that still works at `now`?"""
        return 0 < self._open()[1] - now <= LINK_LIFETIME

    def void(self) -> None:
        self._store.set_value(_LINK, "")

    def used_by(self) -> int | None:
        """Who opened the latest link; None while nobody has."""
        return self._store.read_value(_LINK, lambda kept: int(kept[5:]) if kept.startswith("used ") else None, None)

    def matches(self, words: str, *, now: float) -> bool:
        """Is this message `/start CODE` (or `/start@bot CODE`) with the code that works now? Changes nothing."""
        command, _, code = words.strip().partition(" ")
        if command.partition("@")[0].lower() != "/start" or not code:
            return False
        kept, ends_at = self._open()
        return 0 < ends_at - now <= LINK_LIFETIME and hmac.compare_digest(_hash(code.strip()), kept)

    def settle(self, user_id: int, *, configured: int | None) -> None:
        """Make this user the owner and use up the link. `configured`: the owner that the settings name now."""
        with self._store.transaction():
            self._store.set_value(_LINK, f"used {user_id}")
            self._store.set_value(_OWNER, f"{user_id} {configured or 0}")

    def owner(self, configured: int | None) -> int | None:
        """The owner by link if the settings still name the same owner as when it was opened; else `configured`."""
        found, then = self._store.read_value(_OWNER, lambda kept: list(map(int, kept.split(" ", 1))), [0, 0])
        return found if found and then == (configured or 0) else configured

    def forget_owner(self) -> None:
        """Forget the owner by link, so that the settings decide."""
        self._store.set_value(_OWNER, "")

    def _open(self) -> tuple[str, float]:
        def read(kept: str) -> tuple[str, float]:
            kind, *rest = kept.split(" ")
            return (rest[0], float(rest[1])) if kind == "open" else ("", 0.0)

        return self._store.read_value(_LINK, read, ("", 0.0))


def link_url(username: str, code: str) -> str:
    """The address that opens a chat with the bot and sends it `/start CODE` (Telegram's deep link)."""
    return f"https://t.me/{username}?start={code}"


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()


class Groups:
    """Keeps the list of administrators of each group that gets alerts; the gate reads this list.

    A job asks soon after /start, then once an hour, because Telegram sends changes of members only to bots that are
    administrators. A former administrator may still change settings for up to an hour; someone who cannot be verified
    may not. `ask`: chat id to user ids (Bot API getChatAdministrators), may raise TelegramError.
    """

    def __init__(self, store: Store, *, ask: Callable[[int], list[int]], now: Callable[[], float]) -> None:
        self._store = store
        self._ask = ask
        self._now = now
        self._failed_at: dict[int, float] = {}  # by group

    def tick(self) -> None:
        """Refresh the lists that are an hour old. A refusal or a network error is never raised."""
        known = self._store.values(_FACT)
        for chat_id in self._store.chats.groups():
            now = self._now()
            recent = abs(now - _read(known.get(_fact(chat_id)))[0]) < ADMINISTRATORS_EVERY
            just_failed = abs(now - self._failed_at.get(chat_id, 0.0)) < ADMINISTRATORS_RETRY
            if recent or just_failed:
                continue
            try:
                found = self._ask(chat_id)
            except Rejected as error:
                log.info("A group's administrators are not known (%s): only allowed users change its settings", error)
                found = []
            except TelegramError as error:
                self._failed_at[chat_id] = now
                if isinstance(error, Unreachable) and error.status is None:
                    return  # no network: the others would wait for it, too
                continue
            self._failed_at.pop(chat_id, None)
            self._store.set_value(_fact(chat_id), json.dumps({"at": now, "ids": found}))


def administers(store: Store, chat_id: int, user_id: int, *, now: float) -> bool:
    """Was this user an administrator of the group when the list was last refreshed (at most two hours ago)?"""
    at, ids = _administrators(store, chat_id)
    return user_id in ids and abs(now - at) < ADMINISTRATORS_TRUSTED


def _administrators(store: Store, chat_id: int) -> tuple[float, list[int]]:
    return _read(store.value(_fact(chat_id)))


def _read(kept: str | None) -> tuple[float, list[int]]:
    """When a group's administrators were asked for, and who they are; nobody for what cannot be read."""
    try:
        known = json.loads(kept or "")
        return float(known["at"]), list(known["ids"])
    except UNREADABLE:
        return 0.0, []


def _fact(chat_id: int) -> str:
    return f"{_FACT}{chat_id}"
