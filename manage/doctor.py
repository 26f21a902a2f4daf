"""`python bot.py doctor`: one screen that says what is fine, what is odd, what is wrong, and what to do.

It works while the bot runs and takes nothing away from it; it works when nothing is set up yet, and even when a
package is missing: what cannot be looked at is said. It changes nothing. Exit code: 0 no problem, 1 a problem.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from base import exit_codes
from base.shell import installing
from manage import checks, copies, network
from manage.checks import Subject
from manage.findings import Check, Finding, as_json, examine, shown
from manage.start_commands import Machine

DEADLINE = 8.0  # seconds for everything


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    logging.getLogger().addHandler(logging.NullHandler())  # what the parts would log is said by the findings
    began = time.monotonic()
    subject, first = look(env_file, Machine())
    findings = [without_secrets(finding) for finding in [*first, *examine(checks_of(subject), deadline=DEADLINE)]]
    if arguments.json:
        print(as_json(findings, now=time.time()))
    else:
        width = shutil.get_terminal_size((118, 24)).columns if sys.stdout.isatty() else 118
        print(shown(findings, width=min(width, 140)))
        print(f"Checked in {time.monotonic() - began:.1f} s. Nothing was changed.")
    return exit_codes.PROBLEM if any(finding.level == "problem" for finding in findings) else exit_codes.STOPPED


def checks_of(subject: Subject) -> dict[str, Check]:
    """The checks in the order they are shown."""
    return {
        "Python": checks.python,
        "packages": checks.packages,
        "settings": partial(checks.settings, subject),
        "settings file": partial(checks.env_file, subject),
        "folder": partial(checks.folder, subject),
        "lock": partial(copies.lock, subject),
        "polling": partial(copies.polling, subject),
        "started by": partial(copies.starters, subject, deadline=DEADLINE - 1),
        "database": partial(checks.database, subject),
        "memory": partial(checks.memory, subject),
        "time zones": checks.time_zones,
        "Telegram": partial(network.telegram, subject),
        "markets": partial(network.markets, subject),
    }


def look(env_file: Path, machine: Machine) -> tuple[Subject, list[Finding]]:
    """Read the settings, find the folder and who holds the lock; findings when even that fails."""
    subject = Subject(env_file=env_file, settings=None, problems=(), folder=None, holder=None, machine=machine)
    try:
        from base import config
        from manage import instance

        settings: config.Settings | None
        try:
            settings, problems = config.load(env_file, environ=machine.environ), []
        except config.ConfigError as error:
            settings, problems = error.settings, error.problems
        subject = replace(subject, settings=settings, problems=tuple(problems))
        if settings is not None and settings.bot_id:
            found = instance.look(settings)
            folder = found.folder if not found.foreign or os.access(found.folder, os.R_OK) else None
            subject = replace(subject, folder=folder, holder=found.holder)
    except ModuleNotFoundError as error:
        fix = ", then: ".join(installing())
        return subject, [Finding("settings", "problem", f"not read: the package {error.name} is missing", fix)]
    except Exception as error:  # whatever it is, the other checks shall be made
        return subject, [Finding("settings", "problem", f"could not be looked at: {type(error).__name__}: {error}")]
    return subject, []


def without_secrets(finding: Finding) -> Finding:
    """The finding in plain lines with every secret taken out: tools and errors may quote anything."""
    from base.secrets import redact
    from base.text import plain

    return replace(finding, text=redact(plain(finding.text)), fix=redact(plain(finding.fix)))
