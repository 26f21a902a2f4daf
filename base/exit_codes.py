"""Exit codes, as README.md lists them; from 64 on they are those of sysexits.h where one fits."""

STOPPED = 0
CRASHED = 1
PROBLEM = 1  # of `doctor`, and of `install` when a file is in the way
NOT_RUNNING = 3  # of `status`, like `systemctl status`
BAD_ARGUMENTS = 64
CONFLICT_GIVEN_UP = UNAVAILABLE = 69  # UNAVAILABLE: of --once, not all could be done
ALREADY_RUNNING = 75
TOKEN_REFUSED = 77
BAD_SETTINGS = 78
