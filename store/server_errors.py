"""What a PostgreSQL server, or the way to it, says when something is wrong: in words, with what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg

# Mistakes in our own SQL or values: they are re-raised unchanged.
BUGS = (psycopg.ProgrammingError, psycopg.IntegrityError, psycopg.InterfaceError, psycopg.DataError)


_ALWAYS_SAID = re.compile(
    "^(consuming input failed: )?(connection (failed|is bad|timeout expired): )?(connection to server .* failed: )?"
    "(FATAL: )?"
)


@dataclass(frozen=True)
class Meaning:
    """happened, remedy: sentences without their full stop. away: may it heal by itself, without a change of ours?"""

    happened: str
    remedy: str
    away: bool = False


_FULL = Meaning("The disk of the database server {server} is full", "Free some space there", away=True)
_BUSY = Meaning("The database server {server} accepts no more connections", "Close what else is connected", away=True)
_MEMORY = Meaning("The database server {server} has no memory left", "Give it more memory", away=True)
_READ_ONLY = Meaning(
    "The database {name} on {server} can only be read: it is a replica, or was set to read-only",
    "Name the primary server in DATABASE_URL",
    away=True,
)
_PASSWORD = Meaning(
    "The database server {server} does not accept the user name or the password ({error})",
    "Correct them in DATABASE_URL",
)
_NOT_LET_IN = Meaning(
    "The database server {server} does not let this user or this computer in ({error})",
    "Correct DATABASE_URL, or allow it on the server (pg_hba.conf)",
)
_MISSING = Meaning("There is no database {name} on {server}", "Create it (createdb {name}), or correct DATABASE_URL")
_RIGHT = Meaning(
    "The user of DATABASE_URL may not do that in the database {name} on {server} ({error})",
    "Make it the owner of the database (ALTER DATABASE {name} OWNER TO ...)",
)
_NO_SCHEMA = Meaning(
    "The database {name} on {server} has no schema that this user may use ({error})",
    "Create one: CREATE SCHEMA AUTHORIZATION of that user",
)
_STARTING = Meaning("The database server {server} is starting or stopping", "Wait until it is ready", away=True)
_HOST = Meaning("There is no computer {host} ({error})", "Correct the host in DATABASE_URL")
_LOST = Meaning(
    "The database server {server} cannot be reached ({error})", "Check that it runs, and the network to it", away=True
)
_IN_THE_WAY = Meaning(
    "Another session of the database {name} on {server} is in the way ({error})",
    "Close what else works in that database",
    away=True,
)
_TOO_SLOW = Meaning(
    "The database server {server} ended a statement that took too long", "Look at what else keeps it busy", away=True
)
DAMAGED = Meaning(
    "The database {name} on {server} is damaged ({error})", "Check that server's disk; perhaps a backup is needed"
)
_OTHERWISE = Meaning(
    "The connection to the database server {server} cannot be made as DATABASE_URL says ({error})",
    "Correct DATABASE_URL, or that server's settings",
)
OTHER = Meaning("The database {name} on {server} cannot be used ({error})", "Look at the log of that server")

# By SQLSTATE, or its first two characters (postgresql.org/docs/current/errcodes-appendix.html).
_STATES = {
    "08": _LOST,
    "28": _NOT_LET_IN,
    "28P01": _PASSWORD,
    "3D000": _MISSING,
    "3F000": _NO_SCHEMA,
    "25006": _READ_ONLY,
    "40": _IN_THE_WAY,
    "42501": _RIGHT,
    "53100": _FULL,
    "53200": _MEMORY,
    "53300": _BUSY,
    "55P03": _IN_THE_WAY,
    "57": _LOST,
    "57014": _TOO_SLOW,
    "57P03": _STARTING,
    "25P03": _LOST,
    "XX001": DAMAGED,
    "XX002": DAMAGED,
}
# A connection that does not come about has no SQLSTATE, only words.
_REFUSALS = {
    r"database .* does not exist": _MISSING,
    r"password authentication failed|no password supplied|role .* does not exist": _PASSWORD,
    r"pg_hba\.conf|not permitted to log in|permission denied for database": _NOT_LET_IN,
    r"too many (connections|clients)|connection slots are reserved|too many connections for": _BUSY,
    r"starting up|shutting down|in recovery mode|not yet accepting": _STARTING,
    r"session is read-only|not hot standby|server is in hot standby": _READ_ONLY,
    r"failed to resolve host(?!.*(temporary|try again))|could not translate host name": _HOST,
    r"SSL SYSCALL|SSL connection has been closed|unexpected eof|bad record mac|decryption failed": _LOST,
    r"SSL|certificate|root\.crt|GSSAPI|invalid (value|integer|port)|SCRAM|authentication method": _OTHERWISE,
    r"FATAL": OTHER,
}


def meaning(error: psycopg.Error) -> Meaning:
    """What the error means, whatever the language of the server where it has a code."""
    state = error.sqlstate or ""
    if state:
        return _STATES.get(state) or _STATES.get(state[:2]) or OTHER
    if isinstance(error, BUGS):
        return OTHER
    words = str(error)
    return next((found for form, found in _REFUSALS.items() if re.search(form, words, re.IGNORECASE)), _LOST)


def first(error: psycopg.Error) -> psycopg.Error:
    """What the server said, where the driver failed over it once more on its way out of a pipeline."""
    while error.sqlstate is None and isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error


def cause(error: psycopg.Error) -> str:
    """The server's own words in one line, without what stands in all of them."""
    line = " ".join(str(error).split("\n")[0].split())
    return _ALWAYS_SAID.sub("", line)
