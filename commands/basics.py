"""Commands about the chat, the bot and its people: start, stop, status, ping, id, logs, users, allow, deny."""

from __future__ import annotations

from dataclasses import replace

from access import DECIDED, Knock, Role
from alerts.held_back import due_at, of, reasons
from base import text, typed
from botapi.updates import Update
from commands import out
from commands.context import Context, Reply, Usage, run_button
from commands.times import UNTIL, muted
from commands.words import taken_apart
from store.rows import Chat

LOG_LINES, MOST_LOG_LINES = 300, 5000
MOST_LISTED = 100  # people whom the owner decided about
PAUSED = "alerts paused: the bot is not allowed to write there"


def start(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Turn alerts on in this chat, or move them to this topic."""
    known = context.store.chats.get(update.chat_id)
    if known is not None and known.subscribed and known.thread_id != update.thread_id and known.kind != "private":
        asked = "Alerts of this group are on and go to another topic. Move all of them to this one?"
        return [Reply(text=asked, keyboard=((run_button("Move all alerts here", "here all"),),))]
    if known is not None and not context.is_owner(update):
        # A group belongs to whoever started it, while they are allowed; others only turn alerts on again.
        owned = context.access.may_hear(known) or not context.access.knows(update.user_id)
    else:
        owned = False
    chat = replace(
        known or Chat(chat_id=update.chat_id, added_by=update.user_id, since=context.now()),
        kind=update.chat_kind,
        title=text.clip(update.chat_title, 128),
        handle=update.chat_handle if update.chat_kind == "channel" else "",
        thread_id=update.thread_id,
        added_by=known.added_by if known is not None and owned else update.user_id,
        subscribed=True,
        note="",
        paused_until=0.0,
    )
    context.store.chats.put(chat)
    said = "Alerts are on in this chat."
    if known is not None and known.subscribed:
        said = "Alerts are already on."
    lines = [said, *context.kinds(chat), *muted(context, chat), ""]
    if update.chat_kind == "channel":
        lines.append(f"Settings: /settings {chat.address}. Stop alerts: /stop {chat.address}")
        return [Reply(text="\n".join(lines))]
    if not update.private:
        lines.append("Allowed users and this group's admins can change these settings.")
    if chat.timezone == "UTC":
        lines.append("Times are in UTC. For your time zone: /timezone Berlin")
    lines.append("Settings: /settings. All commands: /help. Stop alerts: /stop.")
    return [Reply(text="\n".join(lines))]


def stop(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Turn alerts off in this chat; its settings are kept."""
    if context.subscribed(update) is None:
        return [Reply(text="Alerts are already off. /start turns them on.")]
    words = taken_apart(context, arguments)
    if words.coins or words.kinds or any(word.lower() in UNTIL or word[0].isdecimal() for word in words.rest):
        raise Usage(
            "Without other words it turns all alerts off here: /stop. For a while: /mute 2h. Without one coin: "
            "/unwatch BTC. Without one kind: /level whales off."
        )
    context.store.unsubscribe(update.chat_id, note="")
    return [Reply(text="Alerts are off in this chat. Your settings are kept; /start turns alerts on again.")]


def ping(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Answer pong with the same words."""
    return [Reply(text=text.clip(" ".join(["pong", *arguments]), 4000))]


def id_(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show the user's id and the chat's."""
    topic = f", topic {update.thread_id}" if update.thread_id else ""
    return [Reply(text=f"Your user id: {update.user_id}. This chat: {update.chat_id}{topic}.")]


def status(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show whether the bot works, and what this chat gets. In a group only the chat's part."""
    # The bot's own state names the machine and other chats: private chats only.
    if not update.private or not context.access.knows(update.user_id):
        return [Reply(text="\n".join(_chat_status(context, update)))]
    more = [*_lost(context), *out.lines(context, update)] if context.is_owner(update) else []
    return [Reply(text="\n".join([*context.status(context.zone(update)), *_chat_status(context, update), *more]))]


def logs(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Send the end of the log as a file, always to the owner's private chat: it names chats and people."""
    try:
        lines = typed.whole(" ".join(arguments) or str(LOG_LINES), 1, MOST_LOG_LINES)
    except ValueError:
        raise Usage(f"Give a number of lines from 1 to {MOST_LOG_LINES:,}.") from None
    wish = {"kind": "log", "lines": lines}
    said = f"The last {text.count(lines, 'line')} of the log"
    replies = [Reply(text=said, chat_id=update.user_id, method="sendDocument", attachment=wish)]
    return replies if update.private else [*replies, Reply(text="The log is on its way to your private chat.")]


def _chat_status(context: Context, update: Update) -> list[str]:
    chat = context.store.chats.get(update.chat_id)
    if chat is None or not chat.subscribed:
        note = f" ({chat.note})" if chat is not None and chat.note else ""
        return [f"This chat: alerts are off{note}."]
    return [*context.kinds(chat, who="This chat gets"), *_kept_back(context, chat)]


def _lost(context: Context) -> list[str]:
    """The chats that alerts cannot reach, for the owner."""
    chats = context.store.chats
    ended = [(chat, chat.note) for chat in chats.ended(limit=5)]
    paused = [(chat, PAUSED) for chat in chats.paused(context.now())[-5:]]
    return [f"Chat {chat.chat_id} {text.quoted(chat.title, 32)}: {why}" for chat, why in [*ended, *paused]]


def _kept_back(context: Context, chat: Chat) -> list[str]:
    """What is muted or held back, and why: nothing is suppressed in silence."""
    now, lines = context.now(), muted(context, chat)
    quiet = chat.quiet_hours
    ends = quiet.until(now, chat.zone) if quiet is not None else None
    if ends is not None:
        lines.append(f"Quiet hours until {text.clock(ends, now=now, zone=chat.zone)}.")
    count = context.store.messages.muted_since(chat.chat_id, now - 86400)
    if count:
        lines.append(f"Muted in the last 24 h: {text.count(count, 'alert')} (see /history).")
    waiting = context.store.messages.held(chat.chat_id)
    found = of(context.store, chat, waiting)
    if found is not None:
        due = text.clock(due_at(found, now=now), now=now, zone=chat.zone)
        lines.append(
            f"Held back: {text.count(len(waiting), 'alert')} ({reasons(waiting)}); they arrive at about {due}."
        )
    return lines


# The owner's decisions about people, typed or by the buttons under a stranger's question


def allow(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Let someone use the bot, and tell them if they have written to it."""
    return _decide(context, _user_id(arguments), allowed=True)


def deny(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Remove someone and end the alerts of their chats."""
    return _decide(context, _user_id(arguments), allowed=False)


def users(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """List the owner and everyone allowed or denied, of many the last ones."""
    found = context.access.users(limit=MOST_LISTED)
    lines = [f"{_person(user.user_id, user.name)} ({role.value})" for role, user in found]
    more = context.store.chats.count_users(*DECIDED) - MOST_LISTED
    if more > 0:
        lines.append(f"And {more:,} more, allowed or denied before these.")
    said = "\n".join(lines) or "Nobody yet. Add someone with /allow ID."
    if update.private:
        return [Reply(text=said)]
    return [Reply(text=said, chat_id=update.user_id), Reply(text="The list is in your private chat.")]


def press(context: Context, verb: str, rest: str) -> list[Reply]:
    """The owner pressed Allow or Deny. Once decided, by a button or a command, old buttons change nothing."""
    try:
        user_id = _user_id([rest])
        user = context.store.chats.user(user_id)
        if user is not None and user.state != "stranger":
            other = "deny" if user.state == "allowed" else "allow"
            words = f"You have decided this already: {user.state}. Change it: /{other} {user_id}"
            return [Reply(text=words, toast=True)]
        said = _decide(context, user_id, allowed=verb == "allow")
    except Usage as problem:
        return [Reply(text=str(problem), toast=True)]
    return [replace(said[0], toast=True), replace(said[0], edit=True), *said[1:]]


def claimed(context: Context, update: Update, *, before: int | None) -> list[Reply]:
    """Greet the new owner and turn alerts on; tell the previous owner who replaced them."""
    words = (
        "You now own this bot. It will send you its own status messages, and you decide who may use it: /users, "
        "/allow, /deny."
    )
    replies = [Reply(text=words), *start(context, update, [])]
    if before is not None and before != update.user_id:
        who = _person(update.user_id, update.user_name)
        replies.append(
            Reply(text=f"{who} now owns this bot: they opened the owner link shown on its computer.", chat_id=before)
        )
    return replies


def stranger(context: Context, update: Update) -> list[Reply]:
    """One answer to a stranger and one question to the owner, or nothing (Access.knock)."""
    knock = context.access.knock(update)
    if knock is Knock.IGNORE:
        return []
    asked = " The owner has been asked." if knock is Knock.ANSWER_AND_ASK else ""
    replies = [Reply(text=f"This bot is private. Your user id is {update.user_id}.{asked}")]
    if knock is Knock.ANSWER_AND_ASK:
        who = _person(update.user_id, update.user_name)
        row = (("Allow", f"allow:{update.user_id}"), ("Deny", f"deny:{update.user_id}"))
        replies.append(Reply(text=f"{who} wants to use this bot.", chat_id=context.access.owner_id, keyboard=(row,)))
    return replies


def outsider(context: Context, update: Update) -> list[Reply]:
    """Someone unknown, or who posts as the group, wants to start a group: how to, once a day."""
    person = update.user_id > 0 and context.access.role(update.user_id) is Role.STRANGER
    silent = not (update.as_group or person)
    if silent or context.subscribed(update) or not context.access.may_answer_group(update):
        return []
    if not update.as_group:
        to = f"@{context.username}" if context.username else "me"
        words = f"Only people whom this bot's owner allowed can start alerts. To ask the owner, send /start to {to}"
        return [Reply(text=f"{words} in private; then send it here again.")]
    words = "You post as the group, so I cannot see who you are. Send /start under your own name (turn off Anonymous "
    return [Reply(text=f"{words}in your admin rights). After that admins who post as the group can use me, too.")]


def _decide(context: Context, user_id: int, *, allowed: bool) -> list[Reply]:
    if user_id == context.access.owner_id:
        raise Usage("That is the owner, who is always allowed.")
    user = context.store.chats.user(user_id)
    who = _person(user_id, user.name if user is not None else "")
    if allowed:
        context.access.allow(user_id)
        replies = [Reply(text=f"{who} can now use this bot.")]
        if user is not None and user.answered_at:  # only those who wrote first can be written to
            replies.append(Reply(text="You can now use this bot. /start turns alerts on.", chat_id=user_id))
        return replies
    ended = context.access.deny(user_id)
    more = f" Alerts were turned off in {text.count(len(ended), 'chat')}." if ended else ""
    return [Reply(text=f"{who} can no longer use this bot.{more}")]


def _person(user_id: int, name: str) -> str:
    """The id first: it is the one thing that nobody can choose."""
    return f"{user_id} {text.quoted(name, 64)}" if name else str(user_id)


def _user_id(arguments: list[str]) -> int:
    try:
        return typed.user_id(" ".join(arguments))
    except ValueError:
        raise Usage("Give one numeric user id.") from None
