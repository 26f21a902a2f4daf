"""One simulated bot: what people do to it, what tests ask about it, and its API calls."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulation.chats import Chat, Chats, Limits, Sent
from simulation.html import commands
from simulation.http import PATIENCE, Hub
from simulation.request import Params
from simulation.updates import ApiError, Rival, Updates

# Accepted with `true`, without an effect here.
_NO_EFFECT = [
    "close",
    "deletemycommands",
    "pinchatmessage",
    "sendchataction",
    "setchatmenubutton",
    "setmessagereaction",
    "setmydescription",
    "setmydefaultadministratorrights",
    "setmyname",
    "setmyshortdescription",
    "unpinchatmessage",
]


@dataclass
class Call:
    """One Bot API request. `answered_at` and `status` are None while it waits; status 0: dropped without answer."""

    method: str
    params: Params
    at: float  # unix seconds
    port: int  # of the client: one number is one connection
    answered_at: float | None = None
    status: int | None = None
    description: str | None = None


class SimBot:
    """A bot, known by its token. Thread-safe. updates: its queue; chats: its chats. keep: log entries to keep."""

    def __init__(self, hub: Hub, token: str, *, username: str, conflict_hold: float, keep: int) -> None:
        self.token = token
        self.id = int(token.split(":")[0])
        self.username = username
        self.revoked = False
        self.logged_out = False  # by logOut: every call is refused until this is set back
        self.updates = Updates(hub, conflict_hold=conflict_hold, first_id=500_000_001)
        self.chats = Chats(hub, bot_id=self.id, username=username, keep=keep)
        self._hub = hub
        self._calls: deque[Call] = deque(maxlen=keep)
        self._counts: Counter[str] = Counter()
        self._callback_number = 0
        self._methods: dict[str, Callable[[Params], object]] = {
            "getupdates": self.updates.get_updates,
            "setwebhook": self.updates.set_webhook,
            "deletewebhook": lambda params: self.updates.set_webhook({**params, "url": ""}),
            "getwebhookinfo": lambda _: self.updates.webhook_info(),
            "logout": lambda _: self.log_out(),
            **self.chats.methods(),
        }

    # What tests and the demo ask

    @property
    def sent(self) -> list[Sent]:
        """The deliveries since `forget`, oldest first."""
        with self._hub.lock:
            return list(self.chats.sent)

    @property
    def delivered(self) -> int:
        """The number of deliveries in all, whatever was forgotten."""
        return self.chats.delivered

    @property
    def calls(self) -> list[Call]:
        """The API calls since `forget`, oldest first."""
        with self._hub.lock:
            return list(self._calls)

    @property
    def counts(self) -> dict[str, int]:
        """The number of calls by lower-case method, whatever the answer and whatever was forgotten."""
        with self._hub.lock:
            return dict(self._counts)

    def count(self, method: str) -> int:
        """The number of calls of a method."""
        return self._counts[method.lower()]

    @property
    def pending(self) -> int:
        """Updates that wait."""
        return self.updates.pending

    @property
    def polling(self) -> bool:
        """Whether a long poll is open now, perhaps a dead client's."""
        return self.updates.polling

    @property
    def webhook_url(self) -> str:
        """The webhook that is set, "" for none."""
        return self.updates.webhook_url

    def texts(self, chat_id: int | None = None) -> list[str]:
        """The texts delivered since `forget`, to one chat or to all."""
        return [sent.text for sent in self.sent if chat_id is None or sent.chat_id == chat_id]

    def sent_after(self, number: int) -> list[Sent]:
        """The deliveries after the first `number` (a value of `delivered`)."""
        with self._hub.lock:
            new = min(len(self.chats.sent), max(0, self.delivered - number))
            return list(self.chats.sent)[len(self.chats.sent) - new :]

    def wait_text(self, part: str, *, chat_id: int | None = None, after: int = 0, timeout: float = PATIENCE) -> Sent:
        """The first delivery (to `chat_id`, after the first `after`) whose text contains `part`, in any case.

        Raises AssertionError after `timeout` seconds.
        """

        def look() -> Sent | None:
            for sent in self.sent_after(after):
                if part.lower() in sent.text.lower() and chat_id in (None, sent.chat_id):
                    return sent
            return None

        found: Sent = self._hub.wait(look, timeout=timeout, what=f"the bot sends {part!r}")
        return found

    def chat(self, chat_id: int) -> list[dict[str, Any]]:
        """The Message objects of a chat as it looks now: edited texts, without deleted messages."""
        with self._hub.lock:
            chat = self.chats.known.get(chat_id)
            return list(chat.messages.values()) if chat else []

    def forget(self) -> None:
        """Empty the logs of calls and deliveries."""
        with self._hub.lock:
            self._calls.clear()
            self.chats.sent.clear()

    # What people and the world do

    def send_text(
        self,
        chat_id: int,
        text: str | None,
        *,
        user_id: int | None = None,
        chat_type: str = "private",
        name: str = "Ann",
        date: int | None = None,
        thread_id: int | None = None,
        kind: str = "message",
        **extra: Any,
    ) -> int:
        """A person writes a message. Returns the update id.

        text: None for a message without one. kind: of the update, for example edited_message. extra: further fields.
        """
        with self._hub.lock:
            user_id = chat_id if user_id is None else user_id
            chat = self.chats.add(chat_id, chat_type=chat_type, name=name)
            chat.members.setdefault(user_id, "member")
            message: dict[str, Any] = {
                "from": self.chats.user(user_id, name),
                "chat": chat.about,
                "date": int(time.time()) if date is None else date,
            }
            if thread_id is not None:
                message |= {"message_thread_id": thread_id, "is_topic_message": True}
            if text is not None:
                message["text"] = text
                if found := commands(text):
                    message["entities"] = found
            return self.updates.add({kind: self.chats.post(chat, message | extra)})

    def press(
        self, message_id: int, data: str, *, chat_id: int, user_id: int | None = None, name: str = "Ann"
    ) -> int:
        """A person presses a button, real or forged: any message, any data. Returns the update id."""
        with self._hub.lock:
            chat = self.chats.add(chat_id)
            gone = {"chat": chat.about, "message_id": message_id, "date": 0}
            query_id = self._query_id()
            query = {
                "id": query_id,
                "from": self.chats.user(chat_id if user_id is None else user_id, name),
                "message": chat.messages.get(message_id, gone),
                "chat_instance": str(chat_id),
                "data": data,
            }
            return self.updates.add({"callback_query": query})

    def type_inline(self, user_id: int, text: str) -> int:
        """A person types `@bot text` in some chat. Returns the update id."""
        with self._hub.lock:
            query_id = self._query_id()
            asked = {"id": query_id, "from": self.chats.user(user_id, "Ann"), "query": text, "offset": ""}
            return self.updates.add({"inline_query": asked})

    def _query_id(self) -> str:
        self._callback_number += 1
        query_id = f"{self.id}{self._callback_number:09d}"
        self.chats.callbacks.add(query_id)
        return query_id

    def membership(
        self,
        chat_id: int,
        status: str,
        *,
        by: int,
        chat_type: str = "group",
        old: str = "left",
        name: str = "Ann",
        username: str = "",
        posts: bool = True,
        old_posts: bool = True,
    ) -> int:
        """Someone (`by`) changes the bot's own status in a chat: member, administrator, left, kicked.

        username: of the chat. posts, old_posts: an administrator of a channel may post there, and might before; a bot
        cannot be in a channel as anything else. Sends to the chat are refused or allowed accordingly. Returns the
        update id. Raises ValueError.
        """
        if chat_type == "channel" and "member" in (status, old):
            raise ValueError("a bot is in a channel as its administrator or not at all")
        with self._hub.lock:
            chat = self.chats.add(chat_id, chat_type=chat_type, name=name)
            if username:
                chat.about["username"] = username
            refusals = {"kicked": "blocked" if chat_type == "private" else "kicked", "left": "not_member"}
            chat.refusal = refusals.get(status, None if posts or chat_type != "channel" else "no_posts")
            chat.members[self.id] = status
            change = {
                "chat": chat.about,
                "from": self.chats.user(by, name),
                "date": int(time.time()),
                "old_chat_member": self.chats.status(chat, old, posts=old_posts),
                "new_chat_member": self.chats.status(chat, status, posts=posts),
            }
            return self.updates.add({"my_chat_member": change})

    def post_in_channel(self, chat_id: int, text: str, *, name: str = "News") -> int:
        """A post of a channel, which names no person. Bots get it only if they ask for `channel_post`."""
        with self._hub.lock:
            chat = self.chats.add(chat_id, chat_type="channel", name=name)
            post = {"sender_chat": chat.about, "chat": chat.about, "date": int(time.time()), "text": text}
            return self.updates.add({"channel_post": self.chats.post(chat, post)})

    def migrate(self, old: int, new: int, *, by: int = 1) -> int:
        """A group becomes a supergroup, with both service messages; sends to the old id are refused from now on.

        Returns the id of the first of the two updates.
        """
        with self._hub.lock:
            chat = self.chats.add(old, chat_type="group")
            update_id = self.send_text(old, None, user_id=by, migrate_to_chat_id=new)
            chat.migrated_to = new
            self.chats.add(new, chat_type="supergroup", name=chat.about.get("title", "Group"))
            self.send_text(new, None, user_id=by, migrate_from_chat_id=old)
            return update_id

    def set_webhook_as_foreigner(self, url: str, *, consumes: bool = False) -> None:
        """Someone else with the token sets a webhook, or with "" removes it. consumes: it takes the updates."""
        self.updates.set_webhook({"url": url}, foreign=True, consumes=consumes)

    def rival(self, *, timeout: int = 30, pause: float = 0.0) -> Rival:
        """A second poller with this token, until it is killed. Its polls are not in `calls`."""
        return Rival(self.updates, timeout=timeout, pause=pause)

    def add_chat(self, chat_id: int, *, chat_type: str = "private", name: str = "Ann") -> Chat:
        """Make a chat known to the bot, which can write only to known chats. A known chat stays as it is."""
        with self._hub.lock:
            return self.chats.add(chat_id, chat_type=chat_type, name=name)

    def refuse(self, chat_id: int, reason: str | None) -> None:
        """Refuse sends to a chat: blocked, deactivated, kicked, not_member, no_posts, no_rights, no_photos; None
        allows them again.

        not_found: the chat is forgotten. Raises ValueError for another reason.
        """
        with self._hub.lock:
            if reason == "not_found":
                self.chats.known.pop(chat_id, None)
            else:
                self.chats.add(chat_id).refuse(reason)

    def close_topic(self, chat_id: int, thread_id: int, *, words: str = "TOPIC_CLOSED") -> None:
        """Refuse sends and edits in one topic of a chat."""
        with self._hub.lock:
            self.chats.add(chat_id).closed_topics[thread_id] = words

    def log_out(self) -> bool:
        """The bot moves to another server (logOut): this one refuses every call, also the poll that waits."""
        self.logged_out = True
        self.updates.refuse_poll(ApiError(400, "Logged out"))
        return True

    def set_member(self, chat_id: int, user_id: int, status: str, *, chat_type: str = "group") -> None:
        """Set someone's status in a chat: creator, administrator, member, left, kicked."""
        with self._hub.lock:
            self.chats.add(chat_id, chat_type=chat_type).members[user_id] = status

    def limits(
        self,
        on: bool = True,
        *,
        overall: float = 30,
        per_chat: float = 1,
        burst: float = 3,
        group_a_minute: float = 20,
    ) -> None:
        """Enforce Telegram's limits on sends and edits with 429, or stop that.

        overall, per_chat: messages a second. burst: messages a chat may get at once. group_a_minute: of a group.
        """
        self.chats.limits = Limits(overall, per_chat, burst, group_a_minute) if on else None

    # What the bot asks

    def log_call(self, call: Call) -> None:
        """Log a call. Call it with the lock held."""
        self._calls.append(call)
        self._counts[call.method.lower()] += 1

    def answer(self, method: str, params: Params) -> object:
        """The result of a Bot API method. Raises ApiError."""
        name = method.lower()
        if self.logged_out:
            raise ApiError(400, "Logged out")
        run = self._methods.get(name)
        if run is None:
            if name in _NO_EFFECT:
                return True
            raise ApiError(404, "Not Found: method not found")
        if name == "getupdates":  # it takes the lock itself, and releases it while it waits
            return run(params)
        with self._hub.lock:
            return run(params)
