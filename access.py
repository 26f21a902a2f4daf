"""Who may use the bot: owner, allowed users, and the chats they started. Everyone else is a stranger.

Deny by default: one gate, `Access.admits`, stands in front of every update, so a new command is closed to
strangers without anyone remembering it. Decisions live in the store and survive restarts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import claim
import groups
from base.text import clip
from store import Chat, Store, StoreError, User

ANSWER_EVERY = 86400.0  # a stranger is answered once a day
ASK_EVERY = 7 * 86400.0  # the owner is asked about the same stranger once a week
ASKS_AN_HOUR = 5


class Role(Enum):
    OWNER = "owner"
    ALLOWED = "allowed"
    DENIED = "denied"
    STRANGER = "stranger"


@dataclass(frozen=True, kw_only=True)
class Update:
    """One Bot API Update in the bot's own terms.

    kind: `message`, `callback` (a button), `membership` (the bot's own status in a chat changed),
    `migration` (a group became a supergroup) or `other`. `at` is Telegram's time in unix seconds, 0 if unknown.
    """

    update_id: int
    kind: str = "other"
    chat_id: int = 0
    chat_kind: str = ""
    chat_title: str = ""
    thread_id: int | None = None
    user_id: int = 0
    user_name: str = ""
    text: str = ""
    at: float = 0.0
    message_id: int | None = None
    callback_id: str = ""
    status: str = ""
    migrate_to: int | None = None
    as_group: bool = False  # an administrator wrote as the group itself; Telegram lets nobody else do that

    @property
    def private(self) -> bool:
        return self.chat_kind == "private"


class Access:
    """The gate and the owner's decisions. The owner cannot be denied."""

    def __init__(
        self, store: Store, *, owner_id: int | None, allowed_users: frozenset[int], now: Callable[[], float]
    ) -> None:
        self.configured_owner = self._owner = owner_id  # whom the settings name
        self._store = store
        self._allowed_users = allowed_users
        self._now = now

    @property
    def owner_id(self) -> int | None:
        """The owner now: by the settings, or by a link that was opened since (claim.py)."""
        try:
            self._owner = claim.owner(self._store, self.configured_owner)
        except StoreError:
            pass  # the database cannot be read just now, and the owner is to be told so: whoever it was
        return self._owner

    def claim(self, update: Update) -> bool:
        """Someone opened the owner's link: True, and they are the owner. False for all else, a wrong code too."""
        if update.kind != "message" or not claim.matches(self._store, update.text, now=self._now()):
            return False
        if not update.private or not update.user_id:
            claim.void(self._store)  # a whole group can read the code
            return False
        claim.settle(self._store, update.user_id, configured=self.configured_owner)
        self.sweep()
        return True

    def role(self, user_id: int) -> Role:
        """A decision of the owner goes before the settings' list: /deny also holds for a user listed there."""
        if user_id and user_id == self.owner_id:
            return Role.OWNER
        user = self._store.user(user_id)
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
        chat = self._store.chat(update.chat_id)
        if chat is None or not self.may_hear(chat):
            return False
        return update.as_group or groups.administers(self._store, update.chat_id, update.user_id, now=self._now())

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
        known = self._store.user(update.user_id)
        user = known or User(user_id=update.user_id, at=now)
        if now - user.answered_at < ANSWER_EVERY:
            return False, False
        ask = (
            self.owner_id is not None
            and now - user.asked_at > ASK_EVERY
            and self._store.asked_since(now - 3600) < ASKS_AN_HOUR
        )
        user = replace(user, name=clip(update.user_name, 64), answered_at=now)
        self._store.put_user(replace(user, asked_at=now) if ask else user)
        return True, ask

    def allow(self, user_id: int) -> None:
        self._decide(user_id, "allowed")

    def deny(self, user_id: int) -> list[Chat]:
        """Shut a user out and end the alerts of every chat that was theirs; returns those chats."""
        self._decide(user_id, "denied")
        return self.sweep()

    def sweep(self) -> list[Chat]:
        """End the subscriptions of chats whose people may no longer hear; returns those chats."""
        ended = [chat for chat in self._store.chats() if not self.may_hear(chat)]
        for chat in ended:
            self._store.unsubscribe(chat.chat_id, note="unsubscribed: its user may no longer use this bot")
        return ended

    def _decide(self, user_id: int, state: str) -> None:
        user = self._store.user(user_id) or User(user_id=user_id)
        self._store.put_user(replace(user, state=state, at=self._now()))

    def users(self) -> list[tuple[Role, User]]:
        """Everyone who was decided about, by settings or by the owner."""
        decided = {user.user_id: user for user in self._store.users("allowed", "denied")}
        for user_id in (*self._allowed_users, *([self.owner_id] if self.owner_id else [])):
            decided.setdefault(user_id, self._store.user(user_id) or User(user_id=user_id))
        order = list(Role)
        rows = [(self.role(user_id), user) for user_id, user in decided.items()]
        return sorted(rows, key=lambda row: (order.index(row[0]), row[1].user_id))
