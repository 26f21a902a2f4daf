"""/schedule and /digest: commands that the bot answers by itself, at times a chat chose. due.py runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from alerts.digest import DAY, Digests
from base import schedules, text, zones
from base.typed import Unreadable
from botapi.updates import Update
from commands.context import Button, Context, Keyboard, Reply, Run, Usage, run_button
from commands.words import OFF
from store.rows import DIGEST, Chat
from store.schedules import Scheduled

T = TypeVar("T")
Shown = Mapping[str, tuple[str, Run]]  # what may be scheduled: by each of its names, the command's name and function

MOST = 20  # in a chat
LENGTH = 100  # characters of a command
KIND = "schedule"  # of the update that stands for a scheduled command: it changes nothing
CHANGES = {"pause": "pause", "resume": "resume", "remove": "remove", "delete": "remove"}
DIGEST_HELP = "Set one: /digest 09:00 mon-fri, /digest every 4h. Get one now: /digest now"


def schedule(context: Context, update: Update, arguments: list[str], shown: Shown) -> list[Reply]:
    """Schedule a command, or list, pause, resume and remove what the chat scheduled."""
    chat = context.need_chat(update)
    word = arguments[0].lower() if arguments else "list"
    if word == "list" and len(arguments) < 2:
        return [_listed(context, chat)]
    if word in CHANGES and len(arguments) == 2:
        return [_change(context, chat, CHANGES[word], arguments[1].lstrip("#").lower())]
    if word in (*CHANGES, "off", "none"):
        raise Usage("Name one by its number, like /schedule pause 3, or all of them: /schedule remove all.")
    place = next((place for place, word in enumerate(arguments) if _bare(word) in shown), None)
    if place is None:
        names = ", ".join(dict.fromkeys(name for name, _ in shown.values()))
        raise Usage(f"Say when, and then which of these commands: {names}.")
    if place == 0:
        raise Usage("Say when first, then the command.", meant=_turned(arguments))
    rule, (name, run), rest = _rule(arguments[:place]), shown[_bare(arguments[place])], arguments[place + 1 :]
    command = " ".join([name, *rest])
    if len(command) > LENGTH:
        raise Usage(f"A scheduled command can have up to {LENGTH} characters.")
    one = _new(context, update, chat, rule, command)
    known = context.store.schedules.of_chat(chat.chat_id)
    same = next((old for old in known if _what(old) == _what(one)), None)
    if same is not None:
        return [Reply(text=f"Scheduled already: {_line(context, chat, same)}", keyboard=_keyboard(same))]
    _room(known)
    if name == DIGEST and rest:
        raise Usage("A digest covers the time since the one before, so nothing follows the word.")
    if name != DIGEST:
        _try(partial(run, context, replace(update, kind=KIND), rest))
    one = replace(one, id=context.store.schedules.add(one))
    said = [f"Scheduled: {_line(context, chat, one)}"]
    if chat.quiet:
        said.append("In quiet hours it comes without a sound.")
    return [Reply(text="\n".join(said), keyboard=_keyboard(one))]


def digest(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """The short form of /schedule for the chat's one digest: set its times, end it, or send one now."""
    chat, now, kept = context.need_chat(update), context.now(), context.store.schedules
    known = digests(context, chat)
    word = arguments[0].lower() if len(arguments) == 1 else ""
    if not arguments:
        states = [f"Digest: {_times(context, chat, one)}." for one in known] or ["No digest is set."]
        return [Reply(text=" ".join([*states, DIGEST_HELP]))]
    if word == "now":
        return [Reply(text=composer(context).compose(chat, since=now - DAY, until=now), html=True)]
    new = None if word in OFF else _new(context, update, chat, schedules.parse(" ".join(arguments)), DIGEST)
    for one in known:
        kept.remove(chat.chat_id, one.id)
    if new is None:
        return [Reply(text="Digests are off.")]
    _room(kept.of_chat(chat.chat_id))
    kept.add(new)
    return [Reply(text=f"Digest: {_times(context, chat, new)}.")]


def digests(context: Context, chat: Chat) -> list[Scheduled]:
    """The chat's digests, oldest first."""
    return [one for one in context.store.schedules.of_chat(chat.chat_id) if one.command == DIGEST]


def composer(context: Context) -> Digests:
    """What writes digests."""
    least = partial(context.default_min, "whales")
    return Digests(store=context.store, symbols=context.symbols, default_min=least, now=context.now)


def replan(context: Context, chat: Chat) -> None:
    """The chat's zone has changed, so the next times have."""
    for one in context.store.schedules.of_chat(chat.chat_id):
        if one.at is not None:
            context.store.schedules.set_at(one.id, following(one, chat, context.now()))


def following(one: Scheduled, chat: Chat, now: float) -> float:
    """Its first time after `now`. Raises Unreadable for a rule that cannot be read any more."""
    return schedules.parse(one.rule).next(now, zone=chat.timezone)


# What was typed


def _bare(word: str) -> str:
    return word.lower().lstrip("/").partition("@")[0]


def _rule(words: list[str]) -> schedules.Schedule:
    return _try(partial(schedules.parse, " ".join(words)))


def _try(do: Callable[[], T]) -> T:
    """Do it. Raises Usage without what may have been meant: that is not all of what was typed."""
    try:
        return do()
    except Unreadable as problem:
        raise Usage(str(problem)) from None


def _turned(words: list[str]) -> list[str]:
    """What is meant by `chart BTC every 4h`: the times at the end go to the front."""
    for place in range(max(1, len(words) - 8), len(words)):
        try:
            schedules.parse(" ".join(words[place:]))
        except Unreadable:
            continue
        return [" ".join([*words[place:], *words[:place]])]
    return []


def _new(context: Context, update: Update, chat: Chat, rule: schedules.Schedule, command: str) -> Scheduled:
    return Scheduled(
        chat_id=chat.chat_id,
        thread_id=update.thread_id,
        user_id=update.user_id,
        rule=rule.typed,
        command=command,
        at=rule.next(context.now(), zone=chat.timezone),
    )


def _what(one: Scheduled) -> tuple[str, str, int | None]:
    return one.rule, one.command.lower(), one.thread_id


def _room(known: list[Scheduled]) -> None:
    """Raises Usage when the chat has all that it may have."""
    if len(known) >= MOST:
        raise Usage(
            f"A chat can have up to {MOST} scheduled messages. Remove one: /schedule shows them with buttons."
        )


def _change(context: Context, chat: Chat, word: str, which: str) -> Reply:
    """Pause, resume or remove one, or all; the answer is the list, also for a second press."""
    kept = context.store.schedules
    found = [one for one in kept.of_chat(chat.chat_id) if which in ("all", str(one.id))]
    for one in found:
        if word == "remove":
            kept.remove(chat.chat_id, one.id)
        elif word == "pause":
            kept.set_at(one.id, None)
        elif one.at is None:
            kept.set_at(one.id, following(one, chat, context.now()))
    listed = _listed(context, chat)
    if found or which == "all":
        return listed
    return replace(listed, text=f"Nothing scheduled has the number {text.clip(which, 16)}.\n{listed.text}")


# Words


def _times(context: Context, chat: Chat, one: Scheduled) -> str:
    """`09:00 mon-fri (Europe/Berlin). Next one: Mon 30 Nov 09:00, in 2 h`"""
    try:
        zone = schedules.parse(one.rule).zone
    except Unreadable:
        return one.rule  # it is removed at its time, and the chat gets a message
    shown = one.rule if zone else f"{one.rule} ({chat.timezone})"
    if one.at is None:
        return f"{shown}, paused"
    comes = datetime.fromtimestamp(one.at, zones.zone(zone or chat.timezone)).strftime("%a %d %b %H:%M")
    return f"{shown}. Next one: {comes}, in {text.duration(max(0.0, one.at - context.now()))}"


def _line(context: Context, chat: Chat, one: Scheduled) -> str:
    return f"#{one.id} {text.clip(one.command, 60)}: {_times(context, chat, one)}"


def _listed(context: Context, chat: Chat) -> Reply:
    known = context.store.schedules.of_chat(chat.chat_id)
    lines = [f"Scheduled messages: {len(known)} of {MOST}.", *(_line(context, chat, one) for one in known)]
    lines.append("A new one: /schedule 09:00 chart BTC" if len(known) < MOST else "Remove one for a new one.")
    rows = tuple((_pause(one, f"#{one.id} {one.command}"), _button("✕", "remove", one)) for one in known)
    return Reply(text="\n".join(lines), keyboard=rows)


def _keyboard(one: Scheduled) -> Keyboard:
    word = "Resume" if one.at is None else "Pause"
    return ((_pause(one, word), _button("Remove", "remove", one), run_button("All of them", "schedule")),)


def _pause(one: Scheduled, label: str) -> Button:
    mark, word = ("▶", "resume") if one.at is None else ("⏸", "pause")
    return _button(f"{mark} {text.clip(label, 24)}", word, one)


def _button(label: str, word: str, one: Scheduled) -> Button:
    return run_button(label, f"schedule {word} {one.id}")
