"""Refusals (4xx) that are about one message or one chat, and why. Every other 4xx is about the server: it waits.

"Logged out" (for an hour after logOut) and a 421 (after a data-centre move) refuse every call and pass, so no message
may be dropped for them, nor for words that a later server may use. Words as the server sends them: Client.cpp
(fail_query_with_error) and tdlib's MessagesManager; upper-case ones are Telegram's own, which the server hands on.
"""

from __future__ import annotations

from enum import Enum


class About(Enum):
    """What a refusal is about, and so what follows from it."""

    MESSAGE = "this message: it can never be delivered, the next one can"
    TOPIC = "this topic: the chat itself can be written to"
    RIGHTS = "the bot's rights in this chat: an administrator can change that"
    CHAT = "this chat: it is gone, or does not want the bot"


_LIST: tuple[tuple[str, About, str], ...] = (
    # What this chat does not allow of a kind of message; text may be allowed.
    ("not enough rights to send photos", About.MESSAGE, "a group can forbid pictures and allow text"),
    ("not enough rights to send documents", About.MESSAGE, "the same for files"),
    ("chat_send_photos_forbidden", About.MESSAGE, "the same, in Telegram's words"),
    ("chat_send_docs_forbidden", About.MESSAGE, "the same, in Telegram's words"),
    # The chat
    ("bot was blocked by the user", About.CHAT, "only that person can undo it"),
    ("user is deactivated", About.CHAT, "the account was deleted"),
    ("bot was kicked", About.CHAT, "someone has to add the bot again"),
    ("bot is not a member", About.CHAT, "someone has to add the bot again"),
    ("bot can't initiate conversation", About.CHAT, "that person never pressed Start"),
    ("can't send messages to bots", About.CHAT, "the id is a bot's"),
    ("chat not found", About.CHAT, "no such chat, or the bot never met it"),
    ("user not found", About.CHAT, "no such person, or the bot never met them"),
    ("group chat was deactivated", About.CHAT, "the group was left by all, or became a supergroup"),
    ("group chat was deleted", About.CHAT, "the group is gone"),
    ("user_is_blocked", About.CHAT, "blocked, in Telegram's words"),
    ("input_user_deactivated", About.CHAT, "deactivated, in Telegram's words"),
    ("channel_private", About.CHAT, "removed from a group or channel, in Telegram's words"),
    ("peer_id_invalid", About.CHAT, "chat not found, in Telegram's words"),
    # The bot's rights there
    ("not enough rights", About.RIGHTS, "the group's or the bot's own permissions forbid messages"),
    ("no rights to send", About.RIGHTS, "the same"),
    ("no write access", About.RIGHTS, "the same"),
    ("need administrator rights", About.RIGHTS, "in a channel only administrators write"),
    ("chat_write_forbidden", About.RIGHTS, "no rights, in Telegram's words"),
    ("chat_send_plain_forbidden", About.RIGHTS, "no text allowed, in Telegram's words"),
    ("chat_admin_required", About.RIGHTS, "administrators only, in Telegram's words"),
    ("chat_restricted", About.RIGHTS, "the chat is restricted, in Telegram's words"),
    ("privacy_restricted", About.RIGHTS, "that person's privacy settings, in Telegram's words"),
    ("allow_payment_required", About.RIGHTS, "messages there cost, in Telegram's words"),
    ("user_banned_in_channel", About.RIGHTS, "restricted there, in Telegram's words"),
    # The topic
    ("topic_closed", About.TOPIC, "an administrator closed it"),
    ("topic_deleted", About.TOPIC, "it is gone"),
    ("topic_id_invalid", About.TOPIC, "no such topic"),
    ("thread not found", About.TOPIC, "no such topic"),
    # The message
    ("text is empty", About.MESSAGE, "nothing to show"),
    ("message_empty", About.MESSAGE, "the same, in Telegram's words"),
    ("must be non-empty", About.MESSAGE, "the same, of a text or a file"),
    ("is too long", About.MESSAGE, "over the limit of a text or a caption"),
    ("_too_long", About.MESSAGE, "the same, in Telegram's words"),
    ("is too big", About.MESSAGE, "the file is over the limit"),
    ("request entity too large", About.MESSAGE, "the same, said before it was read"),
    ("can't parse", About.MESSAGE, "markup, keyboard or commands that are not valid"),
    ("unsupported parse_mode", About.MESSAGE, "the same"),
    ("as reply markup", About.MESSAGE, "the same"),
    ("keyboard expected", About.MESSAGE, "the same"),
    ("button_", About.MESSAGE, "a button that is not valid, in Telegram's words"),
    ("reply_markup_", About.MESSAGE, "a keyboard that is not valid, in Telegram's words"),
    ("entity_", About.MESSAGE, "markup that is not valid, in Telegram's words"),
    ("encoded in utf-8", About.MESSAGE, "a text that is not valid"),
    ("in the request", About.MESSAGE, "a required parameter is missing"),
    ("is not specified", About.MESSAGE, "a required parameter is missing"),
    ("chat_id is empty", About.MESSAGE, "a required parameter is missing"),
    ("wrong file identifier", About.MESSAGE, "no such file"),
    ("image_process_failed", About.MESSAGE, "not a picture"),
    ("photo_", About.MESSAGE, "a picture that is not valid, in Telegram's words"),
    ("message is not modified", About.MESSAGE, "the edit was made already"),
    ("message to edit not found", About.MESSAGE, "someone deleted it"),
    ("message can't be edited", About.MESSAGE, "too old, or not the bot's"),
    ("message_id_invalid", About.MESSAGE, "no such message, in Telegram's words"),
    ("in the message to edit", About.MESSAGE, "it has no text or caption"),
    ("message to delete not found", About.MESSAGE, "someone deleted it"),
    ("message can't be deleted", About.MESSAGE, "too old, or not the bot's"),
    ("to be replied not found", About.MESSAGE, "someone deleted it"),
    ("reply message not found", About.MESSAGE, "the same, as older servers say it"),
    ("query is too old", About.MESSAGE, "a button's answer that comes too late"),
    ("query_id_invalid", About.MESSAGE, "the same, in Telegram's words"),
    ("bot_command", About.MESSAGE, "a command of the menu that is not valid"),
    ("method not found", About.MESSAGE, "a server that does not know this call"),
    ("member list is inaccessible", About.MESSAGE, "the group hides its members"),
    ("no administrators in the private chat", About.MESSAGE, "a question that makes no sense there"),
)
_DELETED = (
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
    "identifier is not specified",
)


def about(description: str) -> About | None:
    """What a refusal in these words is about; None if neither a message nor a chat: then it is the server."""
    said = description.lower()
    return next((what for words, what, _ in _LIST if words in said), None)


def edit_is_lost(description: str) -> bool:
    """Does it say that the message to edit is not there any more, or can no longer be edited?"""
    return any(words in description.lower() for words in _DELETED)
