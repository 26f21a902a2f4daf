"""What soak.py counts while it kills the bot, and whether that is what must have come of it."""

from __future__ import annotations

import json
import re
import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.rig import OWNER, Failed, Rig
from simulation.chats import Sent

SUBSCRIBERS = (OWNER, 11, 12, 13, -14)
GROUP = -14
CLERK = 15  # gets no whale alert; its commands change its threshold
NO_START_IS_FASTER = 0.08  # seconds from a start to its first request: the interpreter alone takes half of that


@dataclass
class Evidence:
    """The commands, the whales, and the kills. Times are unix seconds."""

    asked: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))  # chat -> answers it must get
    updates: list[int] = field(default_factory=list)
    whales: list[str] = field(default_factory=list)  # the words that only this whale's alert has
    starts: list[float] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)  # by where they fell


@dataclass(frozen=True)
class Report:
    """The counts of a run. seconds: how long it took."""

    kills: dict[str, int]
    seconds: float
    commands: int
    whales: int
    alerts: int  # summed over chats
    doubled_answers: int
    doubled_alerts: int
    repeated_edits: int  # Telegram refuses an edit without a change, so nobody sees them

    def table(self) -> str:
        """A Markdown table."""
        rows = (
            ("kill -9", sum(self.kills.values())),
            *((f"of these {where}", number) for where, number in self.kills.items()),
            ("commands, each handled exactly once", self.commands),
            (f"whales, each sent to all {len(SUBSCRIBERS)} subscribers", self.whales),
            ("answers sent twice (in flight at a kill)", self.doubled_answers),
            ("alerts sent twice (in flight at a kill)", self.doubled_alerts),
            ("edits sent twice (in flight at a kill, invisible)", self.repeated_edits),
            ("commands lost, commands run twice, alerts lost", 0),
        )
        lines = ["| Counted | |", "|---|--:|", *(f"| {what} | {number:,} |" for what, number in rows)]
        return "\n".join([*lines, "", f"Took {self.seconds:.0f} s."])


def judge(bot: Rig, evidence: Evidence, *, seconds: float) -> Report:
    problems = [*_handled_once(bot, evidence)]
    sent = [one for one in bot.account.sent if one.chat_id]
    by_chat = {chat: [one for one in sent if one.chat_id == chat] for chat in (*SUBSCRIBERS, CLERK)}
    doubled_answers = doubled_alerts = alerts = 0
    for chat, deliveries in by_chat.items():
        last = _last_before_a_kill(deliveries, evidence.starts)
        doubled_answers += _answers(chat, evidence.asked[chat], deliveries, last, problems)
        if chat != CLERK:
            alerts += len(evidence.whales)
            doubled_alerts += _alerts(chat, evidence.whales, deliveries, last, problems)
    edits = 0
    for call in bot.account.calls:
        if call.status == 400 and "not modified" in str(call.description):
            edits += 1
        elif call.status not in (200, 409, 0, None):
            problems.append(f"{call.method} was answered with {call.status} {call.description}")
    bot.check_log()
    if problems:
        shown = "\n".join(problems[:20])
        raise Failed(f"{len(problems)} wrong after {sum(evidence.kills.values())} kills:\n{shown}")
    return Report(
        kills=dict(evidence.kills),
        seconds=seconds,
        commands=len(evidence.updates),
        whales=len(evidence.whales),
        alerts=alerts,
        doubled_answers=doubled_answers,
        doubled_alerts=doubled_alerts,
        repeated_edits=edits,
    )


def _handled_once(bot: Rig, evidence: Evidence) -> Iterator[str]:
    """What the bot's database lacks: a mark for each update, and exactly one answer to each command."""
    with database(bot) as db:
        marked = {row[0] for row in db.execute("SELECT update_id FROM inbox")}
        rows = db.execute("SELECT chat_id, payload FROM deliveries WHERE lane = 0 AND method = 'sendMessage'")
        answers = Counter((chat, _answer(json.loads(payload)["text"])) for chat, payload in rows)
    yield from (f"update {update_id} was never handled" for update_id in evidence.updates if update_id not in marked)
    for chat, wanted in evidence.asked.items():
        for answer in wanted:
            if (times := answers[chat, answer]) != 1:
                yield f"chat {chat}: the command with the answer {answer!r} was run {times} times"


def _answers(chat: int, asked: list[str], deliveries: list[Sent], last: set[int], problems: list[str]) -> int:
    """Check that each answer came, in the order of the commands. Returns how many came twice, in flight at a kill."""
    wanted, first, doubled = set(asked), dict[str, int](), 0
    for place, sent in enumerate(deliveries):
        answer = _answer(sent.text)
        if answer not in wanted:
            continue
        before = first.setdefault(answer, place)
        if before != place:
            doubled += 1
            if before not in last:
                problems.append(f"chat {chat}: {answer!r} came twice, and no kill fell between")
    problems += [f"chat {chat}: {answer!r} never came" for answer in asked if answer not in first]
    if [answer for answer in asked if answer in first] != list(first):
        problems.append(f"chat {chat}: the answers came in another order than the commands")
    return doubled


def _alerts(chat: int, whales: list[str], deliveries: list[Sent], last: set[int], problems: list[str]) -> int:
    """Check that each whale is in a message of the chat in the end. Returns how many messages came twice."""
    places: dict[int, int] = {}
    messages: dict[int, str] = {}
    for place, sent in enumerate(deliveries):
        places.setdefault(sent.message_id, place)
        messages[sent.message_id] = sent.text  # an edit replaces the text
    doubled: set[int] = set()
    unlisted = defaultdict[str, list[str]](list)
    for whale in whales:
        found = [number for number, text in messages.items() if whale in text]
        if not found:
            unlisted[whale.split()[0]].append(whale)
        doubled |= set(found[:-1])
    for coin, missing in unlisted.items():
        # A message lists the 25 largest and counts the others; a busy machine finds many whales at once.
        counted = sum(
            int(found[1].replace(",", ""))
            for number, text in messages.items()
            if f"{coin}: " in text.partition("\n")[0] and number not in doubled
            for found in re.finditer(r"^and ([\d,]+) smaller", text, re.MULTILINE)
        )
        if counted != len(missing):
            problems.append(f"chat {chat}: {len(missing)} whales in no message, {counted} counted: {missing[:5]}")
    problems += [
        f"chat {chat}: came again, and no kill fell between: {messages[number]!r}"
        for number in doubled
        if places[number] not in last
    ]
    return len(doubled)


def _last_before_a_kill(deliveries: list[Sent], starts: list[float]) -> set[int]:
    """The places of each start's last delivery in a chat: the bot sends one at a time there, so nothing else can have
    been in flight at a kill."""
    lives = [bisect_right(starts, sent.at - NO_START_IS_FASTER) for sent in deliveries]
    return {place for place, (life, after) in enumerate(pairwise(lives)) if life != after}


def _answer(text: str) -> str:
    """What is unique in an answer: the pong, or the amount of a threshold."""
    found = re.search(r"^pong \d+$|\b\d[\d.]*[MB]\b", text)
    return found[0] if found else ""


@contextmanager
def database(bot: Rig) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{(bot.folder / 'bot.db').as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        yield db
