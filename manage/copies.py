"""The checks of `doctor` about copies of the bot: who runs it, conflicts it has seen, what could start a second one.

They stop nothing: each finding names the command that would.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from base import text
from base.kinds import ROOT
from base.shell import bot_command
from botapi.polling_state import ConflictState, PollingReport, PollingState
from machine import processes, supervisor
from machine.holder import Holder, elsewhere, facts, stop_command
from manage import launchers
from manage.checks import Subject
from manage.findings import Finding, Level, at_once
from manage.start_commands import Launcher, starts_bot

RECENT = 86400.0


def lock(subject: Subject) -> Iterator[Finding]:
    """Who runs the bot; whether the lock file can be used; copies beside the holder."""
    if subject.settings is None or not subject.settings.bot_id:
        return
    trouble = _obstacle(subject.folder / "bot.lock") if subject.folder is not None else None
    if trouble is not None:
        yield trouble
    elif subject.holder is None:
        yield Finding("lock", "ok", "free: this bot is not running on this machine")
        host = elsewhere(subject.folder / "holder.json") if subject.folder is not None else ""
        if host:
            fix = "if the bot still runs there, stop it there before you start it here"
            yield Finding("lock", "warning", f"{subject.folder} is of {host}: it was copied, or is shared", fix)
    else:
        by = f", run by {subject.holder.supervisor}" if subject.holder.supervisor else ""
        yield Finding("lock", "ok", f"the bot runs: {facts(subject.holder, now=time.time())}{by}")
        if subject.folder is None:
            words = f"its folder belongs to {subject.holder.user}: folder, database and polling are not checked"
            yield Finding("lock", "warning", words, f"run doctor as {subject.holder.user}, or as root")
    if not subject.settings.machine_wide_lock:
        words = "LOCK_SCOPE=folder: it does not stop copies with another DATA_DIR or another account"
        yield Finding("lock", "warning", words, "remove LOCK_SCOPE, unless a sandbox forbids the wider lock")
    for pid, place in _running(subject):
        words = f"process {pid} also runs this bot{f' in {place}' if place else ''}: {_does(subject, pid)}"
        yield Finding("lock", "warning", words, f"to stop it: {_stop(pid)}")


def _obstacle(path: Path) -> Finding | None:
    if path.is_symlink() or path.is_dir():
        fix = "remove the link" if path.is_symlink() else "remove or rename it"
        return Finding("lock", "problem", f"{path} is not a file, so the bot cannot start", fix)
    theirs = sys.platform != "win32" and path.exists() and path.stat().st_uid != os.geteuid()
    if theirs and not os.access(path, os.W_OK):  # a read-only disk is what the folder's check tells of
        return Finding("lock", "problem", f"{path} belongs to another account", "start the bot as that account")
    return None


def _does(subject: Subject, pid: int) -> str:
    """What a process beside the holder does: by the copies that the holder sees, else by the lock."""
    from service import state

    status = state.read(subject.folder) if subject.holder is not None and subject.folder is not None else None
    shared = next((copy for copy in (status or {}).get("copies", ()) if copy["pid"] == pid), None)
    if shared is not None:
        return "it leads" if shared["leads"] else "it stands by"
    if subject.holder is None:
        return "it does not hold this bot's lock"
    machine_wide = subject.settings is not None and subject.settings.machine_wide_lock
    return "it stands by" if machine_wide else "it has a lock of its own"


def _stop(pid: int) -> str:
    if not (runs := Holder(pid=pid, user=processes.user(pid), sure=True)).trusted:
        return stop_command(runs)
    found = supervisor.detect(pid)
    return found.stop_command if found is not None and found.stop_command else supervisor.kill_command(pid)


def _running(subject: Subject) -> Iterator[tuple[int, Path | None]]:
    """Other processes that surely run this bot: what is another program, or may be, is none of its business."""
    known = {os.getpid(), os.getppid(), subject.holder.pid if subject.holder is not None else 0}
    for pid, words, cwd in processes.everything():
        if pid in known or not re.match(r"python|pypy", PureWindowsPath(words[0] if words else "").name.lower()):
            continue
        # The script is the first word that is not an option: a mention after it runs nothing.
        script = next((number for number, word in enumerate(words[1:], 1) if not word.startswith("-")), len(words))
        if script == len(words) or PureWindowsPath(words[script]).name != "bot.py":
            continue
        quoted = " ".join(f'"{word}"' if sys.platform == "win32" else shlex.quote(word) for word in words[script:])
        started = starts_bot(quoted, cwd)
        given = re.search(r"--env-file[= ](.+?)(?: --|$)", " ".join(words[script:]))
        file = Path(cwd, given[1]) if given else None
        if started is not None and _is_ours(subject, pid, started.folder, file):
            yield pid, started.folder


def _is_ours(subject: Subject, pid: int, place: Path | None, env_file: Path | None) -> bool:
    """By the number of its token, its settings file or its folder, the first of them that is known."""
    from base import config

    own = subject.settings.bot_id if subject.settings is not None else 0
    theirs = processes.environment(pid).get("TELEGRAM_BOT_TOKEN", "").partition(":")[0]
    if theirs:
        return theirs == str(own)
    if env_file is not None:
        return env_file == subject.env_file or config.bot_id_in(env_file) == own
    return bool(_same_bot(subject, place))


def _same_bot(subject: Subject, place: Path | None) -> bool | None:
    """Whether a folder's copy is the same bot; None when that is unknown."""
    if place is None:
        return None
    from base import config

    theirs = config.bot_id_in(place / ".env")
    if theirs is None or subject.settings is None:
        return True if place == ROOT else None
    return theirs == subject.settings.bot_id


def polling(subject: Subject) -> Iterator[Finding]:
    """How the running bot polls and the other copies it has seen, or why it ended; from its status.json."""
    if subject.folder is None:
        return
    from service import state
    from store.copies import Copy

    status, now = state.read(subject.folder), time.time()
    if subject.holder is None:
        if status is not None and status.get("ended"):
            words = (
                f"the bot ended by itself at {text.clock(state.seen_at(subject.folder), now=now)}: {status['ended']}"
            )
            yield Finding("polling", "warning", words, f"start it: {bot_command()}")
        return
    if status is None or status.get("pid") != subject.holder.pid:
        yield Finding("polling", "ok", "the running bot has not written its status yet; try again in a few seconds")
        return
    silent = now - state.seen_at(subject.folder)
    if silent > state.FRESH:
        words = f"no sign of life from the running bot for {text.duration(silent)}: it hangs, or the disk is full"
        yield Finding("polling", "problem", words, f"restart it. To see why, run: {bot_command('logs')}")
        return
    now = float(status["written_at"])  # by the bot's clock; what has changed since is written at once
    report, conflict = PollingReport.of_json(status["polling"]), ConflictState.of_json(status["conflict"])
    level, fix = _TROUBLES.get(report.state, ("ok", ""))
    yield Finding("polling", level, report.described(now=now), fix)
    if copies := status.get("copies"):
        words = state.shown([Copy(**copy) for copy in copies], now=now)
        yield Finding("copies", "ok", f"that share the database: {words}")
    recent = [episode for episode in conflict.episodes if (episode.until or now) > now - RECENT]
    if conflict.since is not None:
        # With ON_CONFLICT=pause a second copy is intended.
        meant = subject.settings is not None and subject.settings.on_conflict == "pause"
        where = "; it is not on this machine" if subject.settings and subject.settings.machine_wide_lock else ""
        yield Finding(
            "conflict", "warning" if meant else "problem", f"{conflict.described(now=now)}{where}", _ELSEWHERE
        )
    elif recent:
        last = text.clock(recent[-1].since, now=now)
        words = f"{text.count(len(recent), 'conflict')} with another copy in 24 h, the last at {last}; over now"
        yield Finding("conflict", "warning", words, _ELSEWHERE)
    else:
        yield Finding("conflict", "ok", "no second copy seen")


_ELSEWHERE = "stop the copy on the other computer or server; if you know of none, /revoke at @BotFather"


_TROUBLES: dict[PollingState, tuple[Level, str]] = {
    PollingState.UNREACHABLE: ("problem", "it keeps trying; see the Telegram line below"),
    PollingState.WAITING: ("problem", "see the database line below"),
    PollingState.WEBHOOK: ("warning", ""),
}


def starters(subject: Subject, *, deadline: float) -> Iterator[Finding]:
    """What starts this bot automatically: one is fine, two are a problem, one that may be another bot's is named."""
    questions = {kind: (lambda look=look: list(look(subject.machine))) for kind, look in launchers.KINDS.items()}
    sure: list[Launcher] = []
    asked = []
    for kind, answer in at_once(questions, deadline=deadline).items():
        if isinstance(answer, Exception):
            yield Finding("started by", "warning", f"{kind} could not be checked: {answer}")
            continue
        asked.append(kind)
        for found in answer:
            same = _same_bot(subject, found.folder)
            if same:
                sure.append(found)
            elif same is None:
                words = f"{found} starts a bot.py that is not visible from here; it may be this bot"
                yield Finding("started by", "ok", words, f"if it is a second one: {found.remove}")
    around = subject.holder.supervisor if subject.holder is not None else None
    active = [found for found in sure if found.starts or found.running]
    if len(active) > 1:
        for found in active:
            words = f"{found} is one of {len(active)} that start this bot"
            yield Finding("started by", "problem", words, f"keep only one. To remove this one: {found.remove}")
    elif active:
        how = "running now" if active[0].running else "at the next boot or scheduled time"
        yield Finding("started by", "ok", f"{active[0]} ({how})")
    elif around is not None and around.restarts:  # its file is not where such files usually are
        yield Finding("started by", "ok", f"{around} (running now)")
    else:
        words = f"automatic start is not set up (checked: {', '.join(asked)})"
        yield Finding("started by", "ok", words, f"to set it up, run: {bot_command('install')}")
