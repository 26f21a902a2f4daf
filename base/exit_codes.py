"""Exit codes, as README.md lists them; from 64 on they are those of sysexits.h where one fits."""

from __future__ import annotations

import sys

STOPPED = 0
CRASHED = 1
PROBLEM = 1  # a command did not do what was asked, or `doctor` found a problem
NOT_RUNNING = 3  # of `status`, like `systemctl status`
BAD_ARGUMENTS = 64
CONFLICT_GIVEN_UP = UNAVAILABLE = 69  # UNAVAILABLE: of --once, not all could be done
ALREADY_RUNNING = 75
TOKEN_REFUSED = 77
BAD_SETTINGS = 78


def problem(reason: object) -> int:
    """Print to standard error why a command did not do what was asked; its exit code."""
    print(reason, file=sys.stderr)
    return PROBLEM
