"""The chats of one simulated bot: their messages and members, and the Bot API methods that act on them.

The words of errors are the real server's. Not simulated: Markdown (kept as it is), inline mode, payments, games.
Call everything with the simulator's lock held.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulation.content import check_upload, decoded, file_of, formatted, markup
from simulation.html import utf16
from simulation.http import Hub
from simulation.request import Params, Upload
from simulation.updates import ApiError, integer

REFUSALS = {
    "blocked": (403, "Forbidden: bot was blocked by the user"),
    "deactivated": (403, "Forbidden: user is deactivated"),
    "kicked": (403, "Forbidden: bot was kicked from the {type} chat"),
    "not_member": (403, "Forbidden: bot is not a member of the {type} chat"),
    "no_posts": (400, "Bad Request: need administrator rights in the {type} chat"),
    "no_rights": (400, "Bad Request: not enough rights to send text messages to the chat"),
    "no_photos": (400, "Bad Request: not enough rights to send photos to the chat"),
}
_KEEP = 5_000  # messages kept in a chat
_NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)


@dataclass(frozen=True)
class Sent:
    """A delivery of the bot. text: what a person reads; `params["text"]`: what was sent, with its markup."""

    method: str
    chat_id: int
    text: str
    params: Params
    message_id: int
    at: float  # unix seconds
    buttons: tuple[tuple[str, str], ...] = ()  # (label, callback data or URL), row by row


@dataclass
class Chat:
    """A chat as the server keeps it. about: its Chat object. members: status by user id. closed_topics: with the
    words of their refusal."""

    about: dict[str, Any]
    refusal: str | None = None
    migrated_to: int | None = None
    messages: dict[int, dict[str, Any]] = field(default_factory=dict)
    members: dict[int, str] = field(default_factory=dict)
    closed_topics: dict[int, str] = field(default_factory=dict)

    def refuse(self, reason: str | None) -> None:
        """Refuse sends for one of REFUSALS; None allows them. Raises ValueError."""
        if reason is not None and reason not in REFUSALS:
            raise ValueError(f"no refusal {reason!r}; there are {', '.join(REFUSALS)}")
        self.refusal = reason


class Chats:
    """All chats that a bot knows, and its deliveries. callbacks_expire: answers to button presses come too late."""

    def __init__(self, hub: Hub, *, bot_id: int, username: str, keep: int) -> None:
        self.me: dict[str, Any] = {
            "id": bot_id,
            "is_bot": True,
            "first_name": username,
            "username": username,
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }
        self.known: dict[int, Chat] = {}
        self.sent: deque[Sent] = deque(maxlen=keep)
        self.delivered = 0
        self.flood_refused = 0
        self.commands: list[dict[str, str]] = []
        self.callbacks: set[str] = set()
        self.callbacks_expire = False
        self.limits: Limits | None = None
        self._hub = hub
        self._author = {key: self.me[key] for key in ("id", "is_bot", "first_name", "username")}
        self._users: dict[int, dict[str, Any]] = {}
        self._message_id = 0
        self._posts: set[int] = set()  # the bot's messages in channels, which name no author

    def methods(self) -> dict[str, Callable[[Params], object]]:
        """Bot API methods by their lower-case names."""
        return {
            "getme": lambda _: self.me,
            "sendmessage": lambda params: self._send("sendMessage", params),
            "sendphoto": lambda params: self._send("sendPhoto", params, media="photo"),
            "senddocument": lambda params: self._send("sendDocument", params, media="document"),
            "editmessagetext": lambda params: self._edit("editMessageText", params),
            "editmessagereplymarkup": lambda params: self._edit("editMessageReplyMarkup", params),
            "deletemessage": self._delete,
            "answercallbackquery": self._answer_callback,
            "answerinlinequery": self._answer_inline,
            "setmycommands": self._set_commands,
            "getmycommands": lambda _: self.commands,
            "getchat": lambda params: self._chat(params).about,
            "getchatmember": lambda params: self._member(self._chat(params), integer(params, "user_id")),
            "getchatadministrators": self._administrators,
            "getchatmembercount": lambda params: len(self._chat(params).members),
            "leavechat": self._leave,
        }

    def add(self, chat_id: int, *, chat_type: str = "private", name: str = "Ann") -> Chat:
        """Make a chat known to the bot; a known one stays as it is."""
        chat = self.known.get(chat_id)
        if chat is None:
            label = {"first_name": name} if chat_type == "private" else {"title": name}
            chat = self.known[chat_id] = Chat({"id": chat_id, "type": chat_type, **label})
        return chat

    def post(self, chat: Chat, message: dict[str, Any]) -> dict[str, Any]:
        """Give a message its id and add it to its chat."""
        self._message_id += 1
        message = {"message_id": self._message_id, **message}
        chat.messages[self._message_id] = message
        if len(chat.messages) > _KEEP:
            del chat.messages[next(iter(chat.messages))]
        return message

    def user(self, user_id: int, name: str) -> dict[str, Any]:
        """The User object of a person; the first name given stays."""
        user = {"id": user_id, "is_bot": False, "first_name": name, "language_code": "en"}
        return self._users.setdefault(user_id, user)

    def _send(self, method: str, params: Params, *, media: str = "") -> dict[str, Any]:
        chat = self._chat(params)
        name, limit = ("caption", 1024) if media else ("text", 4096)
        text, entities = formatted(params, name)
        if not media and not text:
            raise ApiError(400, "Bad Request: message text is empty")
        if utf16(text) > limit:
            raise ApiError(400, f"Bad Request: message {'caption ' if media else ''}is too long")
        if media and not params.get(media):
            raise ApiError(400, f"Bad Request: there is no {media} in the request")
        if media and isinstance(upload := params[media], Upload):
            check_upload(media, upload)
        keyboard = markup(params)
        self._check_chat(chat, media=media)
        channel = chat.about["type"] == "channel"  # there a message is the channel's, and has no topic
        author = {"sender_chat": chat.about} if channel else {"from": self._author}
        message: dict[str, Any] = {**author, "chat": chat.about, "date": int(time.time())}
        if channel and params.get("message_thread_id"):
            raise ApiError(400, "Bad Request: message thread not found")
        if thread := integer(params, "message_thread_id"):
            _check_topic(chat, thread)
            message |= {"message_thread_id": thread, "is_topic_message": True}
        if text:
            message[name] = text
        if entities:
            message["caption_entities" if media else "entities"] = entities
        if keyboard is not None:
            message["reply_markup"] = keyboard
        if media:
            message[media] = file_of(media, params[media])
        message = self.post(chat, message)
        if channel:
            self._posts.add(message["message_id"])
        self._log(method, chat, params, message)
        return message

    def _edit(self, method: str, params: Params) -> dict[str, Any]:
        chat = self._chat(params)
        if not integer(params, "message_id"):
            raise ApiError(400, "Bad Request: message identifier is not specified")
        old = chat.messages.get(integer(params, "message_id"))
        if old is None:
            raise ApiError(400, "Bad Request: message to edit not found")
        if old.get("from", {}).get("id") != self.me["id"] and old["message_id"] not in self._posts:
            raise ApiError(400, "Bad Request: message can't be edited")
        new = {key: value for key, value in old.items() if key != "reply_markup"}
        if method == "editMessageText":
            text, entities = formatted(params, "text")
            if not text:
                raise ApiError(400, "Bad Request: message text is empty")
            if utf16(text) > 4096:
                raise ApiError(400, "Bad Request: message is too long")
            new["text"] = text
            new.pop("entities", None)
            if entities:
                new["entities"] = entities
        keyboard = markup(params)
        if keyboard is not None and keyboard.get("inline_keyboard"):
            new["reply_markup"] = keyboard
        if {**new, "edit_date": 0} == {**old, "edit_date": 0}:
            raise ApiError(400, _NOT_MODIFIED)
        self._check_chat(chat)
        _check_topic(chat, old.get("message_thread_id", 0))
        new["edit_date"] = int(time.time())
        chat.messages[new["message_id"]] = new
        self._log(method, chat, params, new)
        return new

    def _delete(self, params: Params) -> bool:
        chat = self._chat(params)
        if chat.messages.pop(integer(params, "message_id"), None) is None:
            raise ApiError(400, "Bad Request: message to delete not found")
        self._hub.touch()
        return True

    def _answer_callback(self, params: Params) -> bool:
        query_id = str(params.get("callback_query_id", ""))
        if self.callbacks_expire or query_id not in self.callbacks:
            raise ApiError(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        text = str(params.get("text", ""))
        self._deliver(Sent("answerCallbackQuery", 0, text, params, 0, time.time()))
        return True

    def _answer_inline(self, params: Params) -> bool:
        if str(params.get("inline_query_id", "")) not in self.callbacks:
            raise ApiError(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        results = decoded(params, "results", "Bad Request: can't parse inline query results JSON object")
        self._deliver(Sent("answerInlineQuery", 0, " ".join(row["title"] for row in results), params, 0, time.time()))
        return True

    def _set_commands(self, params: Params) -> bool:
        given = decoded(params, "commands", "Bad Request: can't parse commands JSON object")
        for command in given if isinstance(given, list) else []:
            if not re.fullmatch(r"[a-z0-9_]{1,32}", str(command.get("command", ""))):
                raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
            if not 1 <= len(str(command.get("description", ""))) <= 256:
                raise ApiError(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
        if "scope" not in params and "language_code" not in params:
            self.commands = given
        return True

    def _administrators(self, params: Params) -> list[dict[str, Any]]:
        chat = self._chat(params)
        if chat.about["type"] == "private":
            raise ApiError(400, "Bad Request: there are no administrators in the private chat")
        if chat.refusal in ("kicked", "not_member"):
            code, words = REFUSALS[chat.refusal]
            raise ApiError(code, words.format(type=chat.about["type"]))
        return [  # the real server leaves bots out
            self._member(chat, user_id)
            for user_id, status in chat.members.items()
            if status in ("creator", "administrator") and user_id != self.me["id"]
        ]

    def _member(self, chat: Chat, user_id: int) -> dict[str, Any]:
        user = self.me if user_id == self.me["id"] else self.user(user_id, "Ann")
        return {"user": user, "status": chat.members.get(user_id, "left")}

    def status(self, chat: Chat, status: str, *, posts: bool) -> dict[str, Any]:
        """The bot's own ChatMember. The server tells the right to post of every administrator of a channel."""
        right = status == "administrator" and chat.about["type"] == "channel"
        return {"user": self.me, "status": status} | ({"can_post_messages": posts} if right else {})

    def _leave(self, params: Params) -> bool:
        chat = self._chat(params)
        chat.refusal = "not_member"
        chat.members[self.me["id"]] = "left"
        self._hub.touch()
        return True

    def _chat(self, params: Params) -> Chat:
        if not params.get("chat_id"):
            raise ApiError(400, "Bad Request: chat_id is empty")
        chat = self.known.get(integer(params, "chat_id"))
        if chat is None:
            raise ApiError(400, "Bad Request: chat not found")
        return chat

    def _check_chat(self, chat: Chat, *, media: str = "") -> None:
        if chat.migrated_to is not None:
            raise ApiError(
                400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=chat.migrated_to
            )
        if chat.refusal is not None and (chat.refusal != "no_photos" or media == "photo"):
            code, words = REFUSALS[chat.refusal]
            raise ApiError(code, words.format(type=chat.about["type"]))
        if self.limits is not None:
            pause = self.limits.take(chat.about["id"], group=chat.about["type"] != "private")
            if pause > 0:
                self.flood_refused += 1
                seconds = math.ceil(pause)
                raise ApiError(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)

    def _log(self, method: str, chat: Chat, params: Params, message: dict[str, Any]) -> None:
        text = message.get("text") or message.get("caption") or ""
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        buttons = tuple(
            (button.get("text", ""), button.get("callback_data") or button.get("url", ""))
            for row in rows
            for button in row
        )
        self._deliver(Sent(method, chat.about["id"], text, params, message["message_id"], time.time(), buttons))

    def _deliver(self, sent: Sent) -> None:
        self.sent.append(sent)
        self.delivered += 1
        self._hub.touch()


class Limits:
    """Token buckets: one overall, one per chat, and one per group and minute."""

    def __init__(self, overall: float, per_chat: float, burst: float, group_a_minute: float) -> None:
        self._overall = (overall, overall)
        self._chat = (per_chat, burst)
        self._group = (group_a_minute / 60, group_a_minute)
        self._levels: dict[tuple[str, int], tuple[float, float]] = {}

    def take(self, chat_id: int, *, group: bool) -> float:
        """Seconds to wait. 0: the message may pass, and counts."""
        now = time.monotonic()
        wanted = {("all", 0): self._overall, ("chat", chat_id): self._chat}
        if group:
            wanted["group", chat_id] = self._group
        levels: dict[tuple[str, int], float] = {}
        pause = 0.0
        for key, (rate, size) in wanted.items():
            level, at = self._levels.get(key, (size, now))
            levels[key] = min(size, level + (now - at) * rate)
            if levels[key] < 1:
                pause = max(pause, (1 - levels[key]) / rate)
        if pause == 0:
            self._levels.update({key: (level - 1, now) for key, level in levels.items()})
        return pause


def _check_topic(chat: Chat, thread: int) -> None:
    if thread in chat.closed_topics:
        raise ApiError(400, f"Bad Request: {chat.closed_topics[thread]}")
