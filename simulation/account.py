"""One bot of the simulator: what people do to it, what tests ask about it, and the way in for its API calls."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulation.chats import Chat, Chats, Limits, Sent
from simulation.html import commands
from simulation.http import Hub, Params
from simulation.updates import ApiError, Rival, Updates

_JUST_TRUE = frozenset(  # accepted, and without effect here
    {
        "close",
        "deletemycommands",
        "logout",
        "pinchatmessage",
        "sendchataction",
        "setchatmenubutton",
        "setmessagereaction",
        "setmydefaultadministratorrights",
        "setmydescription",
        "setmyname",
        "setmyshortdescription",
        "unpinchatmessage",
    }
)


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
    """A bot known by its token. Every method may be called from any thread.

    `updates` is its queue (webhook, long poll); `chats` its chats (flags such as `callbacks_expire`).
    """

    def __init__(self, hub: Hub, token: str, *, username: str, conflict_hold: float, keep: int) -> None:
        self.token = token
        self.id = int(token.split(":")[0])
        self.username = username
        self.revoked = False
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
            **self.chats.methods(),
        }

    # What tests and the demo ask

    @property
    def me(self) -> dict[str, Any]:
        return self.chats.me

    @property
    def sent(self) -> list[Sent]:
        with self._hub.lock:
            return list(self.chats.sent)

    @property
    def delivered(self) -> int:
        """How many deliveries there were in all; never forgotten."""
        return self.chats.delivered

    @property
    def calls(self) -> list[Call]:
        with self._hub.lock:
            return list(self._calls)

    @property
    def counts(self) -> dict[str, int]:
        """Calls by lower-case method, whatever the answer; never forgotten."""
        with self._hub.lock:
            return dict(self._counts)

    def count(self, method: str) -> int:
        return self._counts[method.lower()]

    @property
    def pending(self) -> int:
        return self.updates.pending

    @property
    def polling(self) -> bool:
        """A long poll is parked now (perhaps a dead client's)."""
        return self.updates.polling

    @property
    def webhook_url(self) -> str:
        return self.updates.webhook_url

    @property
    def commands(self) -> list[dict[str, str]]:
        """The command menu the bot has set."""
        return self.chats.commands

    @property
    def flood_refused(self) -> int:
        return self.chats.flood_refused

    def texts(self, chat_id: int | None = None) -> list[str]:
        return [sent.text for sent in self.sent if chat_id is None or sent.chat_id == chat_id]

    def sent_after(self, number: int) -> list[Sent]:
        """What was delivered after the first `number` deliveries (take `delivered` before)."""
        with self._hub.lock:
            new = min(len(self.chats.sent), max(0, self.delivered - number))
            return list(self.chats.sent)[len(self.chats.sent) - new :]

    def wait_text(self, part: str, *, chat_id: int | None = None, after: int = 0, timeout: float = 10.0) -> Sent:
        """The first delivery (to `chat_id`, beyond the first `after`) whose text contains `part`, in any case."""

        def look() -> Sent | None:
            for sent in self.sent_after(after):
                if part.lower() in sent.text.lower() and chat_id in (None, sent.chat_id):
                    return sent
            return None

        found: Sent = self._hub.wait(look, timeout=timeout, what=f"the bot sends {part!r}")
        return found

    def chat(self, chat_id: int) -> list[dict[str, Any]]:
        """The chat as it looks now: message objects in order, edits applied, deleted ones gone."""
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
        """A person writes. `extra` fields go into the message as they are; `text` None leaves the text out.

        `kind` may be edited_message, channel_post ... Returns the update id.
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
        """A person presses a button (of any message, with any data: forgeries too). Returns the update id."""
        with self._hub.lock:
            chat = self.chats.add(chat_id)
            gone = {"chat": chat.about, "message_id": message_id, "date": 0}
            self._callback_number += 1
            query_id = f"{self.id}{self._callback_number:09d}"
            self.chats.callbacks.add(query_id)
            query = {
                "id": query_id,
                "from": self.chats.user(chat_id if user_id is None else user_id, name),
                "message": chat.messages.get(message_id, gone),
                "chat_instance": str(chat_id),
                "data": data,
            }
            return self.updates.add({"callback_query": query})

    def membership(
        self, chat_id: int, status: str, *, by: int, chat_type: str = "group", old: str = "left", name: str = "Ann"
    ) -> int:
        """Someone (`by`) changed the bot's own status in a chat: member, administrator, left, kicked.

        Sends to the chat are refused (or allowed again) accordingly. Returns the update id.
        """
        with self._hub.lock:
            chat = self.chats.add(chat_id, chat_type=chat_type, name=name)
            refusals = {"kicked": "blocked" if chat_type == "private" else "kicked", "left": "not_member"}
            chat.refusal = refusals.get(status)
            chat.members[self.id] = status
            change = {
                "chat": chat.about,
                "from": self.chats.user(by, name),
                "date": int(time.time()),
                "old_chat_member": {"user": self.me, "status": old},
                "new_chat_member": {"user": self.me, "status": status},
            }
            return self.updates.add({"my_chat_member": change})

    def migrate(self, old: int, new: int, *, by: int = 1) -> int:
        """A group becomes a supergroup: both service messages; sends to the old id are refused from now on.

        Returns the id of the first of the two updates.
        """
        with self._hub.lock:
            chat = self.chats.add(old, chat_type="group")
            update_id = self.send_text(old, None, user_id=by, migrate_to_chat_id=new)
            chat.migrated_to = new
            self.chats.add(new, chat_type="supergroup", name=chat.about.get("title", "Group"))
            self.send_text(new, None, user_id=by, migrate_from_chat_id=old)
            return update_id

    def raw_update(self, update: dict[str, Any]) -> int:
        """Queue any update, well-formed or not; the update_id is added. Returns it."""
        return self.updates.add(update)

    def set_webhook_as_foreigner(self, url: str, *, consumes: bool = False) -> None:
        """Someone else with the token sets a webhook (or, with "", removes it); `consumes`: it takes the updates."""
        self.updates.set_webhook({"url": url}, foreign=True, consumes=consumes)

    def rival(self, *, timeout: int = 30, pause: float = 0.0) -> Rival:
        """Another poller with this token, running until it is killed. Its polls are not in `calls`."""
        return Rival(self.updates, timeout=timeout, pause=pause)

    def add_chat(self, chat_id: int, *, chat_type: str = "private", name: str = "Ann") -> Chat:
        """Make a chat known to the bot (only a known chat can be written to). Harmless when it is."""
        with self._hub.lock:
            return self.chats.add(chat_id, chat_type=chat_type, name=name)

    def refuse(self, chat_id: int, reason: str | None) -> None:
        """From now on sends to the chat fail: blocked, deactivated, kicked, not_member, no_rights, no_thread.

        None ends it; "not_found" forgets the chat.
        """
        with self._hub.lock:
            if reason == "not_found":
                self.chats.known.pop(chat_id, None)
            else:
                self.chats.add(chat_id).refuse(reason)

    def block(self, chat_id: int) -> None:
        self.refuse(chat_id, "blocked")

    def set_member(self, chat_id: int, user_id: int, status: str, *, chat_type: str = "group") -> None:
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
        """Enforce Telegram's limits on sends and edits with 429 (`flood_refused` counts them), or stop it."""
        self.chats.limits = Limits(overall, per_chat, burst, group_a_minute) if on else None

    # What the bot asks

    def log_call(self, call: Call) -> None:
        """Write a call down. Call it with the lock held."""
        self._calls.append(call)
        self._counts[call.method.lower()] += 1

    def answer(self, method: str, params: Params) -> object:
        """The result of a Bot API method. Raises ApiError."""
        name = method.lower()
        run = self._methods.get(name)
        if run is None:
            if name in _JUST_TRUE:
                return True
            raise ApiError(404, "Not Found: method not found")
        if name == "getupdates":  # it takes the lock itself, and lets go of it while it waits
            return run(params)
        with self._hub.lock:
            return run(params)
