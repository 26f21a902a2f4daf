"""CryptoSat: watches crypto markets for whales and sends alerts on Telegram. Run it with `python bot.py`.

This is the command line: which command, which settings file, which exit code (base/exit_codes.py). The running bot
itself begins in service/run.py.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import importlib
import importlib.util
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

_NEEDED = ("cronsim", "dotenv", "filelock", "psutil", "requests", "schedule", "telebot")


def _restart_in_venv() -> None:
    """Where this Python is too old or lacks packages: start again with that of the `.venv` beside this file."""
    venv = Path(__file__).resolve().parent / ".venv"
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    is_it = Path(sys.prefix) == venv or Path(sys.executable) == python  # with -S the prefix is another one
    if is_it or not python.exists():
        return
    if sys.version_info >= (3, 11) and all(importlib.util.find_spec(name) for name in _NEEDED):
        return
    if sys.platform == "win32":  # a process cannot become another one there
        import subprocess

        print("This Python lacks the bot's packages. Start it with the one that has them:", file=sys.stderr)
        print("    " + subprocess.list2cmdline([str(python), *sys.argv]), file=sys.stderr)
        sys.exit(78)
    try:
        os.execv(python, [str(python), *getattr(sys, "orig_argv", ["", *sys.argv])[1:]])
    except OSError as error:  # copied from another computer
        print("%s does not run on this computer (%s)." % (python, error.strerror), file=sys.stderr)  # noqa: UP031


if __name__ == "__main__":
    gc.disable()  # nothing that is imported is garbage: looking for it takes a twentieth of the start
    _restart_in_venv()
if sys.version_info < (3, 11):  # noqa: UP036 - before what an older one cannot read
    print("CryptoSat needs Python 3.11 or newer; this is %d.%d." % sys.version_info[:2], file=sys.stderr)  # noqa: UP031
    print(
        "Install a newer Python, then create the virtual environment again with it (see README.md).", file=sys.stderr
    )
    sys.exit(78)

from base import config, console, exit_codes, shell
from base.config import ConfigError
from base.secrets import redact


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        unknown = re.match(r"argument COMMAND: invalid choice: ('.*?')", message)
        what = f"Unknown command {unknown[1]}" if unknown else f"bot.py: {message}"
        print(f"{redact(what)}. See: {shell.bot_command('--help')}", file=sys.stderr)
        raise SystemExit(exit_codes.BAD_ARGUMENTS)


# `python bot.py NAME` calls run(env_file, arguments) -> exit code of manage/NAME.py, which is imported only then and
# reads the settings it needs itself. A ConfigError from it is reported as at a start (exit code 78).
COMMANDS = {
    "setup": "set the token and the owner",
    "status": "show whether the bot is running",
    "stop": "stop the running bot",
    "logs": "show the last lines of the log",
    "doctor": "check for problems and suggest fixes",
    "backup": "save a copy of the database, also while the bot runs",
    "restore": "go back to a backup (the bot must be stopped)",
    "move-store": "move the database to a PostgreSQL server, or back (the bot must be stopped)",
    "install": "set up automatic start (systemd, PM2, cron, ...)",
}
_NEEDS_NO_FILE = ("setup", "doctor", "install")  # the file of --env-file may be missing
_SUPERVISORS = ("systemd", "systemd-user", "pm2", "supervisor", "cron", "windows", "docker", "desktop")


def _number(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(word: str) -> float:
        try:
            number = kind(word)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{word!r}: expected a number from {low:,} to {high:,}")
        return number

    return parse


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a Windows pipe is cp1252: no character may cost the line
    try:
        return _main(argv)
    except ImportError as error:
        server = "psycopg" in f"{error.name} {error}"  # it may also be there without what it stands on
        missing = isinstance(error, ModuleNotFoundError)
        if not server and (not missing or (Path(__file__).parent / str(error.name).partition(".")[0]).exists()):
            raise
        needs = "and DATABASE_URL needs it. To install it" if server else "so the bot cannot run. To install it"
        package = "psycopg" if server else error.name
        print(f"The Python package {package} is missing, {needs}:", file=sys.stderr)
        commands = shell.installing("requirements-postgres.txt" if server else "requirements.txt")
        print("\n".join(f"    {line}" for line in commands), file=sys.stderr)
        return exit_codes.BAD_SETTINGS


def _into_a_pipe(command: Callable[[], int]) -> int:
    gc.enable()
    try:
        code = command()
        sys.stdout.flush()  # so that a closed pipe is met here, not when the interpreter ends
        return code
    except BrokenPipeError:  # `status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.STOPPED
    except OSError as error:  # `status > FILE` on a full disk
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.problem("The output could not be written: the disk is full.")


def _main(argv: list[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.demo:
        from manage import demo  # the bot itself does not need it

        interactive = sys.stdin is not None and sys.stdin.isatty()
        return _into_a_pipe(lambda: demo.run(interactive=interactive))
    if arguments.stop_at_eof:
        from manage import demo

        demo.stop_at_eof()
    command, env_file = arguments.command, arguments.env_file.absolute()
    if command not in _NEEDS_NO_FILE and env_file != config.ENV_FILE and _is_missing(env_file):
        parser.error(f"the settings file {arguments.env_file} does not exist")
    options = [] if env_file == config.ENV_FILE else ["--env-file", str(env_file)]
    if "data_dir" in arguments:
        os.environ["DATA_DIR"] = str(arguments.data_dir.absolute())
        options += ["--data-dir", os.environ["DATA_DIR"]]
    shell.add_to_commands(options)
    with contextlib.suppress(ModuleNotFoundError):  # said by what needs the package
        config.export_network(env_file)
    try:
        if command is not None:
            module = command.replace("-", "_")
            return _into_a_pipe(lambda: int(importlib.import_module(f"manage.{module}").run(env_file, arguments)))
        return _run(env_file, arguments)
    except ConfigError as error:
        began = "The bot did not start: its" if command is None else "The"
        print(f"{began} settings need a change:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        if error.missing:
            print(f"Add these lines to {env_file}:\n{config.lines(*error.missing)}", file=sys.stderr)
            print(f"Or run this in a terminal: {shell.bot_command('setup')}", file=sys.stderr)
        return exit_codes.BAD_SETTINGS
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:  # no access to a folder above it: reading the settings reports that
        return False


def _run(env_file: Path, arguments: argparse.Namespace) -> int:
    """The bot itself; on a terminal, what it needs to begin with is asked for."""
    from access import Link
    from service import run  # and with it the libraries, which no subcommand should have to wait for

    gc.freeze()
    gc.enable()  # all that is imported is there
    terminal = console.interactive() and not arguments.once
    try:
        settings = config.load(env_file, owner_may_come=True)
    except ConfigError as error:
        if not terminal:
            raise
        from manage import setup

        asked = setup.begin(env_file, error)
        if asked is None:
            return exit_codes.BAD_SETTINGS
        settings = asked
    link = Link.IF_NEEDED if terminal else Link.NEVER
    return run.run(settings, env_file=env_file, wait=arguments.wait, one_round=arguments.once, link=link)


def _parser() -> argparse.ArgumentParser:
    described = "Watches crypto markets for whales and sends alerts on Telegram. Without a command it runs the bot."
    parser = _Arguments(prog="bot.py", description=described)
    parser.add_argument("--demo", action="store_true", help="try everything without a token or internet")
    parser.add_argument(
        "--wait", action="store_true", help="if a copy is already running, wait and take over when it stops"
    )
    parser.add_argument("--once", action="store_true", help="check once, send alerts, then exit (for cron)")
    parser.add_argument("--stop-at-eof", action="store_true", help=argparse.SUPPRESS)  # for the demo's bot
    parser.add_argument("--version", action="version", version=f"CryptoSat {config.VERSION}")
    _add_places(parser, config.ENV_FILE)
    rows = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    commands = {
        name: rows.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        for name, what in COMMANDS.items()
    }
    for command in commands.values():
        _add_places(command, argparse.SUPPRESS)  # may stand before the command or after it
    for name in ("status", "doctor"):
        commands[name].add_argument("--json", action="store_true", help="print JSON, for programs")
    told = "exit code 1 if it is running but not healthy"
    commands["status"].add_argument("--healthy", action="store_true", help=told)
    seconds, lines = _number(float, 0, 3600), _number(int, 0, 1_000_000)
    commands["stop"].add_argument(
        "--timeout", type=seconds, default=10.0, metavar="S", help="seconds to wait (%(default)g)"
    )
    commands["logs"].add_argument("-f", "--follow", action="store_true", help="keep printing new lines")
    commands["logs"].add_argument(
        "-n", "--lines", type=lines, default=40, metavar="N", help="how many lines (%(default)s)"
    )
    for name in ("backup", "restore"):
        commands[name].add_argument("file", type=Path, metavar="FILE", help="the file of the backup")
    told = "postgresql://user@host/database (the password is asked for), or `file`"
    commands["move-store"].add_argument("target", metavar="URL", help=told)
    install = commands["install"]
    install.add_argument("kind", nargs="?", choices=_SUPERVISORS, metavar="KIND", help=", ".join(_SUPERVISORS))
    install.add_argument("--write", action="store_true", help="save the file in its place instead of printing it")
    return parser


def _add_places(parser: argparse.ArgumentParser, default: object) -> None:
    told = f"settings file (default: {config.ENV_FILE})"
    parser.add_argument("--env-file", type=Path, default=default, metavar="FILE", help=told)
    told = "folder for the bot's data, like the setting DATA_DIR"
    parser.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=told)


if __name__ == "__main__":
    sys.exit(main())
