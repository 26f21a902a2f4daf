"""What a check found, how many checks run at once, and how the result is shown: for people and as JSON.

A check is a function that returns findings. One that fails, or does not end in time, costs one line, never the rest.
"""

from __future__ import annotations

import json
import queue
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

from base import text

T = TypeVar("T")

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the result: which check, how it is, in words, and what to do about it ("" when nothing)."""

    check: str
    level: Level
    text: str
    fix: str = ""


Check = Callable[[], Iterable[Finding]]


def at_once(questions: Mapping[str, Callable[[], T]], *, deadline: float) -> dict[str, T | Exception]:
    """Ask all questions at the same time: name -> answer, or the exception it ended with.

    One that has not ended after `deadline` seconds is left alone (its thread ends with the process) and counts as
    TimeoutError. The order is that of the questions.
    """
    answers: queue.SimpleQueue[tuple[str, T | Exception]] = queue.SimpleQueue()

    def ask(name: str, question: Callable[[], T]) -> None:
        try:
            answers.put((name, question()))
        except Exception as error:  # the caller decides what a failed question means
            answers.put((name, error))

    for name, question in questions.items():
        threading.Thread(target=ask, args=(name, question), name=name, daemon=True).start()
    ends_at = time.monotonic() + deadline
    got: dict[str, T | Exception] = {}
    while len(got) < len(questions):
        try:
            name, answer = answers.get(timeout=max(0.0, ends_at - time.monotonic()))
        except queue.Empty:
            break
        got[name] = answer
    return {name: got.get(name, TimeoutError(f"no answer within {text.duration(deadline)}")) for name in questions}


def examine(checks: Mapping[str, Check], *, deadline: float) -> list[Finding]:
    """Every check's findings, in the order of the checks."""

    def whole(check: Check) -> Callable[[], list[Finding]]:
        return lambda: list(check())  # a generator does its work only when it is read

    found: list[Finding] = []
    for name, result in at_once({name: whole(check) for name, check in checks.items()}, deadline=deadline).items():
        if isinstance(result, ModuleNotFoundError):
            found.append(Finding(name, "warning", f"not checked: the package {result.name} is missing"))
        elif isinstance(result, TimeoutError):
            found.append(Finding(name, "problem", f"{result}; what it checks hangs or is very slow"))
        elif isinstance(result, Exception):
            words = f"could not be checked: {type(result).__name__}: {text.clip(str(result), 200)}"
            found.append(Finding(name, "problem", words))
        else:
            found += result
    return found


def shown(findings: Sequence[Finding], *, width: int) -> str:
    """One line for each finding (folded at `width`), a second one with what to do.

    That one is not folded: a command in it has to run as it is copied.
    """
    room = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        head = f"{finding.level:<8} {finding.check:<{room}}  "
        lines += _folded(head, finding.text, width)
        if finding.fix:
            lines.append(f"{' ' * len(head)}-> {finding.fix}")
    problems, warnings = (sum(finding.level == level for finding in findings) for level in ("problem", "warning"))
    counts = [text.count(problems, "problem") if problems else "No problems found"]
    counts += [text.count(warnings, "warning")] if problems or warnings else []
    return "\n".join([*lines, "", f"{', '.join(counts)}."])


def _folded(head: str, words: str, width: int) -> list[str]:
    folded = textwrap.wrap(words, max(30, width - len(head)), break_long_words=False, break_on_hyphens=False)
    return [(head if number == 0 else " " * len(head)) + line for number, line in enumerate(folded or [""])]


def as_json(findings: Sequence[Finding], *, now: float) -> str:
    """The findings for a program: {"at", "problems", "warnings", "findings": [{check, level, text, fix}]}."""
    told = {
        "at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "problems": sum(finding.level == "problem" for finding in findings),
        "warnings": sum(finding.level == "warning" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(told, ensure_ascii=False, indent=1)
