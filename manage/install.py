"""`python bot.py install`: the file and commands that start the bot automatically, with this machine's paths.

The templates in deploy/ are the source. It prints, or with --write writes the one file; it never starts, enables or
overwrites anything. The file goes to stdout and what to do with it to stderr, so that a pipe gets the file alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from base import config, exit_codes
from base.kinds import ROOT
from base.shell import as_user, bot_command, bot_command_as, quoted
from machine import accounts, folders
from machine.holder import user_name
from manage import start_commands

WINDOWS = sys.platform == "win32"
DEPLOY = ROOT / "deploy"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the bot is on this machine and as whom it shall run. `state`: its data's folder, above the bot ids."""

    python: Path
    folder: Path
    user: str
    home: Path
    state: Path
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to have the bot started.

    `raw` writes a value as this file wants it where it stands alone, `word` as one word of a command. `target`: where
    the file belongs, None when it is not written. `steps`: the commands that enable it; `note`: what is said after
    them (some shells take a comment behind a command for words of it). `cannot`: what no value may hold, because the
    file's grammar has no way to write it; `no_program`: what the path of a program may not hold.
    """

    template: str
    raw: Callable[[str], str] = str
    word: Callable[[str], str] = shlex.quote
    between: str = " "
    target: Callable[[Place], Path | None] = lambda place: None
    steps: Callable[[Place], list[str]]
    note: str = ""
    encoding: str = "utf-8"
    cannot: str = "(?!)"
    no_program: str = "(?!)"


def _percent(value: str) -> str:
    return value.replace("%", "%%")


def _cron(value: str) -> str:
    return shlex.quote(value).replace("%", r"\%")


def _systemd_word(value: str) -> str:
    # systemd.service(5): quotes and C escapes; % begins a specifier, $ a variable.
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{value}"' if re.search(r"[^\w/.:@%+=,-]", value) else value


def _desktop_word(value: str) -> str:
    # Desktop Entry Specification, "The Exec key": quoted, and each backslash once more as in every string.
    inside = re.sub(r'(["`$\\])', r"\\\1", value).replace("\\", "\\\\").replace("%", "%%")
    return f'"{inside}"'


_OWN = ("systemd-user", "pm2", "cron", "desktop")  # a user's own: they start the bot as that user
_SYSTEMD_CANNOT = r"""["'\\$]"""  # "Executable name contains special characters"

KINDS: dict[str, Kind] = {
    "systemd": Kind(
        template="cryptosat.service",
        no_program=_SYSTEMD_CANNOT,
        raw=_percent,
        word=_systemd_word,
        target=lambda place: Path("/etc/systemd/system/cryptosat.service"),
        steps=lambda place: [
            quoted(*as_user(place.user), "mkdir", "-p", "-m", "700", str(place.state)),
            "sudo systemctl daemon-reload",
            "sudo systemctl enable --now cryptosat",
        ],
    ),
    "systemd-user": Kind(
        template="cryptosat-user.service",
        no_program=_SYSTEMD_CANNOT,
        raw=_percent,
        word=_systemd_word,
        target=lambda place: place.home / ".config/systemd/user/cryptosat.service",
        steps=lambda place: [
            "systemctl --user daemon-reload",
            "systemctl --user enable --now cryptosat",
            f"loginctl enable-linger {place.user}",
        ],
    ),
    "pm2": Kind(
        template="ecosystem.config.js",
        raw=lambda value: json.dumps(value)[1:-1],
        word=json.dumps,
        between=", ",
        target=lambda place: place.folder / "ecosystem.config.js",
        steps=lambda place: [
            quoted("pm2", "start", str(place.folder / "ecosystem.config.js")),
            "pm2 save",
            "pm2 startup",
        ],
        note="pm2 startup prints one more command. Run that, too.",
    ),
    "supervisor": Kind(
        template="supervisor.conf",
        cannot=r"\s;",  # a comment begins there, in quotes too
        raw=_percent,
        word=lambda value: _percent(shlex.quote(value)),
        target=lambda place: Path("/etc/supervisor/conf.d/cryptosat.conf"),
        steps=lambda place: ["sudo supervisorctl reread", "sudo supervisorctl update"],
    ),
    "cron": Kind(
        template="crontab",
        raw=_cron,
        word=_cron,
        steps=lambda place: [
            quoted("sh", "-c", f"(crontab -l 2>/dev/null; {bot_command('install', 'cron')} 2>/dev/null) | crontab -")
        ],
    ),
    "windows": Kind(
        template="windows-task.xml",
        raw=escape,
        word=lambda value: escape(f'"{value}"'),
        target=lambda place: place.folder / "cryptosat-task.xml",
        steps=lambda place: [
            f'schtasks /Create /TN CryptoSat /XML "{place.folder / "cryptosat-task.xml"}"',
            "schtasks /Run /TN CryptoSat",
        ],
        encoding="utf-16",
    ),
    "desktop": Kind(
        template="cryptosat.desktop",
        raw=lambda value: value.replace("\\", "\\\\"),
        word=_desktop_word,
        target=lambda place: place.home / ".local/share/applications/cryptosat.desktop",
        steps=lambda place: ["gtk-launch cryptosat"],
        note="Or click CryptoSat in the applications menu.",
    ),
    "docker": Kind(
        template="Dockerfile",
        steps=lambda place: [
            quoted("cd", str(place.folder)),
            "docker build -f deploy/Dockerfile -t cryptosat .",
            "docker run -d --name cryptosat --restart on-failure:5 --stop-timeout 20 --env-file .env "
            "-v cryptosat:/data cryptosat",
        ],
    ),
}


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """Print the file and what to do with it, or write it; the exit code."""
    name = arguments.kind or usual()
    place = here(env_file, name)
    kind = KINDS[name]
    if name in _OWN and not WINDOWS and place.user not in (user_name(), accounts.asking()):
        command = bot_command_as(place.user, "install", name, *(["--write"] if arguments.write else []))
        whose = f"user {place.user}, who has the bot's data or its settings file"
        return exit_codes.problem(f"{name} starts the bot as whoever sets it up. Do that as {whose}:\n    {command}")
    bad = unwritable(kind, place)
    if bad:
        return exit_codes.problem(
            f"The file for {name} cannot hold {bad}: a character in it is special there. Use another path or name."
        )
    content = filled(kind, place)
    target = kind.target(place)
    if not arguments.write:
        print(content, end="")
        _say("")
        _guide(name, place, write_first=target)
    elif target is None:
        _say(f"{name} needs no file; run these commands instead.")
        _guide(name, place)
    else:
        trouble = written(target, content.encode(kind.encoding))
        if trouble:
            return exit_codes.problem(trouble)
        _say(f"Saved {target}. Nothing was started.")
        _guide(name, place)
    for warning in [*([] if name == "desktop" else unready(env_file)), *warnings(place)]:
        _say(f"Note: {warning}")
    return exit_codes.STOPPED


def unwritable(kind: Kind, place: Place) -> str:
    """The first value that the file of this kind has no way to write, with its name; "" for none.

    A line end in a path or a name would be a line of its own, with a command of whoever chose the name.
    """
    programs = {"the Python": place.python, "the project's folder": place.folder}
    given = {"--env-file": "".join(place.options[-1:]), "DATA_DIR": place.state, "the user": place.user}
    for what, value in {**programs, **given}.items():
        special = re.search(kind.cannot, str(value)) or (what in programs and re.search(kind.no_program, str(value)))
        if special or not str(value).isprintable():
            return f"{what} {str(value)!r}"
    return ""


def usual() -> str:
    """The kind for this machine: what runs here and restarts what ends."""
    if WINDOWS:
        return "windows"
    if Path("/run/systemd/system").is_dir():
        return "systemd"
    for tool, kind in (("pm2", "pm2"), ("supervisorctl", "supervisor")):
        if shutil.which(tool):
            return kind
    return "cron"


def here(env_file: Path, kind: str) -> Place:
    """This installation, and the user whose it is: who has the bot's data or settings, or else who asks."""
    me = user_name()
    user, home = accounts.asking(), start_commands.home()
    if not WINDOWS:
        user = accounts.whose(config.bot_id_in(env_file) or 0, env_file, me=user)[0] or user
    if user != me:
        home = _home_of(user)
    elif WINDOWS and os.environ.get("USERDOMAIN"):
        user = f"{os.environ['USERDOMAIN']}\\{user}"
    python = Path(sys.executable)
    if kind == "windows" and python.with_name("pythonw.exe").exists():
        python = python.with_name("pythonw.exe")  # without a window
    try:
        state = config.load(env_file).data_dir
    except config.ConfigError as error:
        state = error.settings.data_dir if error.settings is not None else None
    given = () if env_file == config.ENV_FILE else ("--env-file", str(env_file))
    return Place(
        python=python,
        folder=ROOT,
        user=user,
        home=home,
        state=state or folders.find_folder(0, home=home if WINDOWS else _home_of(user)).parent,
        options=given,
    )


def _home_of(user: str) -> Path:
    """The home as the system knows it: the bot does not go by $HOME."""
    home = Path(os.path.expanduser(f"~{user}"))  # noqa: PTH111 - Path would ask the same
    return home if home.is_absolute() else start_commands.home()  # a bare uid of a container


def filled(kind: Kind, place: Place) -> str:
    """The template with this place in it: each value as the file's own grammar wants it."""
    values = {
        "PYTHON": kind.word(str(place.python)),
        "PYTHON_PATH": kind.raw(str(place.python)),
        "START": kind.word(str(place.folder / "deploy" / "start.sh")),
        "SCRIPT": kind.word(str(place.folder / "bot.py")),
        "SCRIPT_PATH": kind.raw(str(place.folder / "bot.py")),
        "FOLDER": kind.raw(str(place.folder)),
        "STATE": kind.word(str(place.state)),
        "USER": kind.raw(place.user),
        "OPTIONS": f" {kind.between.join(map(kind.word, (*place.options, '--data-dir', str(place.state))))}",
    }
    template = (DEPLOY / kind.template).read_text(encoding="utf-8")
    return re.sub("@([A-Z_]+)@", lambda found: values.get(found[1], found[0]), template)


def written(target: Path, content: bytes) -> str:
    """Write the file; "" or what is in the way. A file of another content is never overwritten."""
    try:
        if target.exists():
            if target.read_bytes() == content:
                return ""
            return (
                f"{target} already exists with different content and was left unchanged. Compare it with what "
                f"{bot_command('install')} prints; move it away to save this one."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except PermissionError:
        return f"{target} cannot be written by {user_name()}. Run the same command with sudo."
    except OSError as error:
        return f"{target} could not be written ({error.strerror or error}). Nothing was changed."
    return ""


def unready(env_file: Path) -> list[str]:
    """What the settings file lacks for a bot that can ask nobody: it would end at once."""
    try:
        config.load(env_file, environ={})
    except config.ConfigError as error:
        if config.TOKEN in error.missing and os.environ.get(config.TOKEN):
            seen = "the token is only in this terminal's environment, which a service cannot see"
            return [f"{seen}. Put it into {env_file}."]
        if error.missing:
            names = " and ".join(error.missing)
            return [f"{env_file} has no {names}, so the bot would end at once. First run: {bot_command('setup')}"]
    return []


def warnings(place: Place) -> list[str]:
    """What would make the service fail although the bot runs in this terminal."""
    found = []
    if sys.prefix == sys.base_prefix and not WINDOWS:
        found.append(f"this is the system's Python, not a virtual environment. The service will use {place.python}.")
    if not WINDOWS and place.user not in (user_name(), accounts.asking()):
        found.append(
            f"this runs the bot, with its token, as user {place.user}, who has its data or its settings file. "
            f"If that is wrong, run install as the user that should own the bot."
        )
    if place.user == "root":
        found.append(
            "this would run the bot as root. Run install as the user that should own the bot and its alerts."
        )
    return found


def _guide(name: str, place: Place, *, write_first: Path | None = None) -> None:
    command = bot_command("install", name, "--write")
    root = write_first is not None and not WINDOWS and write_first.is_relative_to("/etc")
    steps = [f"sudo {command}" if root else command] if write_first is not None else []
    _say(f"To start the bot with {name}:")
    is_root = not WINDOWS and os.geteuid() == 0
    for step in [*steps, *KINDS[name].steps(place)]:
        _say(f"    {re.sub(r'^sudo (?!-)', '', step) if is_root else step}")  # root often has no sudo
    if KINDS[name].note:
        _say(KINDS[name].note)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
