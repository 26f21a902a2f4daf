"""`python bot.py install`: the file for this machine, made from deploy/, right in its grammar; nothing is started."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import ROOT, TOKEN, clean_environment

import bot
from base.shell import quoted
from machine.folders import find_folder
from manage import install, launchers
from manage.install import DEPLOY, KINDS, Place, filled, written
from manage.start_commands import Machine, starts_bot

# A path with everything that some grammar trips over.
AWKWARD = '100% of Ann\'s "bots" & $HOME; <new>'
if sys.platform == "win32":  # which allows fewer
    AWKWARD = "100% of Ann's bots & more"
ODD = (
    "100% of the bots & more;" if sys.platform == "win32" else "100% of the bots & more; <new>"
)  # what systemd and supervisord can still write


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path, AWKWARD)


def place_in(tmp_path: Path, name: str) -> Place:
    folder = tmp_path / name
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("bot.py", "monitors.py", "access.py"):
        (folder / name).touch()
    return Place(
        python=folder / ".venv/bin/python",
        folder=folder,
        user="ann",
        home=tmp_path,
        state=tmp_path / "my state",
        options=("--env-file", f"{folder}/my.env"),
    )


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "bot.py"), "install", *arguments],
        cwd=folder,
        env=clean_environment() | {"HOME": str(folder), "LOCALAPPDATA": str(folder), "USERPROFILE": str(folder)},
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


def words(place: Place) -> list[str]:
    return [str(place.python), str(place.folder / "bot.py"), *place.options, "--data-dir", str(place.state)]


# Each grammar, read by who will read it


def test_the_command_line_offers_every_kind() -> None:
    with pytest.raises(SystemExit):
        bot.main(["install", "--help"])
    parser = bot._parser()
    for kind in KINDS:
        assert parser.parse_args(["install", kind]).kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_is_left_in_a_filled_file(kind: str, place: Place) -> None:
    assert "@" not in filled(KINDS[kind], place).replace("@reboot", "").replace("@system-service", "").replace(
        "@echo", ""
    )


@pytest.mark.parametrize("kind", ["systemd", "systemd-user"])
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_reads_the_unit_without_a_complaint(kind: str, tmp_path: Path) -> None:
    place = place_in(tmp_path, ODD)
    place.python.symlink_to(sys.executable)
    unit = tmp_path / "cryptosat.service"
    unit.write_text(filled(KINDS[kind], place).replace("User=ann\n", ""), encoding="utf-8")
    scope = ["--user"] if kind == "systemd-user" else []
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", str(unit)],
        capture_output=True,
        encoding="utf-8",
        env=clean_environment() | {"XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert "cryptosat.service" not in done.stderr, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
def test_what_install_makes_is_what_doctor_finds(tmp_path: Path) -> None:
    place = place_in(tmp_path, ODD)
    root = tmp_path / "root"
    machine = Machine(root=root, home=tmp_path / "home", environ={"PATH": "/nowhere"}, every_user=False)
    for name, file in (("systemd", "etc/systemd/system/cryptosat.service"), ("supervisor", "etc/supervisord.conf")):
        target = root / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(filled(KINDS[name], place), encoding="utf-8")
    found = [*launchers.systemd(machine), *launchers.supervisord(machine)]
    assert [launcher.folder for launcher in found] == [place.folder, place.folder]
    crontab = [line for line in filled(KINDS["cron"], place).splitlines() if not line.startswith("#")]
    assert len(crontab) == 2
    for line in crontab:
        started = starts_bot(line.replace(r"\%", "%"))
        assert started is not None
        assert started.folder == place.folder


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
def test_node_reads_the_pm2_file_as_it_is_meant(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "ecosystem.config.js"
    file.write_text(filled(KINDS["pm2"], place), encoding="utf-8")
    code = f"console.log(JSON.stringify(require({json.dumps(str(file))})))"
    told = subprocess.run(["node", "-e", code], capture_output=True, encoding="utf-8", timeout=60, check=True)
    (app,) = json.loads(told.stdout)["apps"]
    assert [app["interpreter"], app["script"], *app["args"]] == words(place)
    assert (app["cwd"], app["exec_mode"], app["instances"]) == (str(place.folder), "fork", 1)
    assert app["stop_exit_codes"] == [64, 75, 77, 78], "0 would be every kill, too"


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell runs it")
def test_a_shell_reads_the_cron_line_as_it_is_meant(place: Place) -> None:
    place.python.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$0" "$@" >seen\n', encoding="utf-8")
    place.python.chmod(0o755)
    line = filled(KINDS["cron"], place).splitlines()[-1]
    assert not re.search(r"(?<!\\)%", line), "a bare % ends the command in a crontab"
    # cron(8) itself turns \% into % and a bare % into a line end.
    command = line.split(None, 5)[5].replace(r"\%", "%")
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=30)
    seen = (place.folder / "seen").read_text(encoding="utf-8").splitlines()
    assert seen == [str(place.folder), *words(place)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells run it")
@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_the_command_for_cron_adds_the_lines_in_every_shell(place: Place, tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    tool, table = tmp_path / "bin" / "crontab", tmp_path / "table"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\n[ "$1" = -l ] && exec cat "{table}"\ncat >"{table}.new"\n', encoding="utf-8")
    tool.chmod(0o755)
    table.write_text("0 0 * * * theirs\n", encoding="utf-8")
    (step,) = KINDS["cron"].steps(place)
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([shell, "-c", step], env=clean_environment() | {"PATH": path}, check=True, timeout=60)
    theirs, *ours = Path(f"{table}.new").read_text(encoding="utf-8").splitlines()
    assert theirs == "0 0 * * * theirs"
    assert sum(str(ROOT / "bot.py") in line and not line.startswith("#") for line in ours) == 2


@pytest.mark.parametrize("name", KINDS)
def test_no_command_has_a_comment_behind_it(place: Place, name: str) -> None:
    """zsh, the shell of macOS, would take it for more words of the command."""
    assert not any(" #" in step for step in KINDS[name].steps(place))


@pytest.mark.skipif(sys.platform == "win32", reason="supervisord is not for Windows")
def test_supervisord_reads_the_program_as_it_is_meant(tmp_path: Path) -> None:
    place = place_in(tmp_path, ODD)
    parser = configparser.ConfigParser(inline_comment_prefixes=(";",))  # interpolation as supervisord does it
    parser.read_string(filled(KINDS["supervisor"], place))
    program = parser["program:cryptosat"]
    assert shlex.split(program["command"]) == words(place)
    assert program["directory"] == str(place.folder)
    assert (program["autorestart"], program["exitcodes"]) == ("unexpected", "0,64,75,77,78")


def test_the_windows_task_is_xml_that_says_what_is_meant(place: Place) -> None:
    text = filled(KINDS["windows"], place)
    tree = ET.fromstring(text.encode("utf-16"))
    name = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    assert tree.findtext("t:Actions/t:Exec/t:Command", namespaces=name) == str(place.python)
    assert tree.findtext("t:Actions/t:Exec/t:WorkingDirectory", namespaces=name) == str(place.folder)
    assert tree.findtext("t:Settings/t:ExecutionTimeLimit", namespaces=name) == "PT0S"
    assert tree.findtext("t:Settings/t:MultipleInstancesPolicy", namespaces=name) == "IgnoreNew"
    assert tree.findtext("t:Settings/t:DisallowStartIfOnBatteries", namespaces=name) == "false"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
def test_the_entry_of_the_applications_menu_says_what_is_meant(place: Place) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(filled(KINDS["desktop"], place))
    entry = dict(parser["Desktop Entry"])
    # The specification's own order: the string's escapes first, then quotes, then %.
    string = entry["exec"].replace("\\\\", "\\")
    found = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', string)
    command = [re.sub(r"\\(.)", r"\1", quoted or bare).replace("%%", "%") for quoted, bare in found]
    assert command == ["/bin/sh", str(place.folder / "deploy" / "start.sh"), *words(place)[2:]]
    assert (entry["path"], entry["terminal"]) == (str(place.folder), "true")


def test_the_batch_file_has_the_line_ends_that_windows_wants() -> None:
    raw = (DEPLOY / "start.bat").read_bytes()
    assert raw.count(b"\n") == raw.count(b"\r\n") > 10


# The command


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX accounts")
@pytest.mark.parametrize("name", ["systemd", "supervisor"])
def test_who_is_root_needs_no_sudo(tmp_path: Path, name: str) -> None:
    steps = [line.strip() for line in run(tmp_path, name).stderr.splitlines() if line.startswith("    ")]
    assert any("bot.py install" in step for step in steps)
    assert os.geteuid() != 0 or not [
        step for step in steps if step.startswith("sudo") and not step.startswith("sudo -u")
    ]
    assert os.geteuid() == 0 or all(step.startswith("sudo ") for step in steps)


@pytest.mark.skipif(sys.platform == "win32", reason="systemd is not for Windows")
def test_a_pipe_gets_the_file_alone_and_the_terminal_the_commands(tmp_path: Path) -> None:
    done = run(tmp_path, "systemd-user")
    assert done.returncode == 0
    assert done.stdout.startswith("# The bot as a service of one user")
    state = find_folder(0).parent
    assert f"ExecStart={sys.executable} {ROOT / 'bot.py'} --data-dir {state}\n" in done.stdout
    assert "systemctl --user enable --now cryptosat" in done.stderr
    assert not list(tmp_path.iterdir()), "printing writes nothing"


@pytest.mark.skipif(sys.platform == "win32", reason="HOME is not the home there")
@pytest.mark.parametrize("kind", ["systemd", "cron", "supervisor"])
def test_the_commands_to_copy_name_the_settings_file_that_was_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "my.env").touch()
    asked = run(tmp_path, kind, "--env-file", "my.env")
    (copied,) = [line for line in asked.stderr.splitlines() if f"install {kind}" in line]
    assert f"--env-file {quoted(str(tmp_path / 'my.env'))}" in copied


@pytest.mark.skipif(sys.platform == "win32", reason="systemd is not for Windows")
def test_writing_makes_the_file_once_and_never_over_another(tmp_path: Path) -> None:
    target = tmp_path / ".config/systemd/user/cryptosat.service"
    done = run(tmp_path, "systemd-user", "--write")
    assert done.returncode == 0, done.stderr
    assert f"Saved {target}. Nothing was started." in done.stderr
    content = target.read_text(encoding="utf-8")
    assert run(tmp_path, "systemd-user", "--write").returncode == 0, "the same again is no change"
    target.write_text("mine\n", encoding="utf-8")
    done = run(tmp_path, "systemd-user", "--write")
    assert done.returncode == 1
    assert "already exists with different content and was left unchanged" in done.stderr
    assert target.read_text(encoding="utf-8") == "mine\n"
    assert content.startswith("# The bot")


@pytest.mark.parametrize("kind", ["systemd", "supervisor"])
def test_a_path_that_the_grammar_cannot_hold_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "ROOT", tmp_path / "it's ; here")
    assert bot.main(["install", kind]) == 1
    told = capsys.readouterr()
    assert (told.out, "Use another path" in told.err) == ("", True)


EVIL = "x\nExecStartPre=/bin/sh -c evil\n"


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("given", ["--env-file", "DATA_DIR", "SUDO_USER"])
def test_a_line_end_in_what_is_given_makes_no_line_of_the_file(
    given: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if given == "SUDO_USER" and (sys.platform == "win32" or os.geteuid() != 0):
        pytest.skip("only root installs for another user")
    monkeypatch.delenv("SUDO_USER", raising=False)
    if given == "--env-file":
        arguments = ["--env-file", f"{tmp_path}/{EVIL}"]
    else:
        arguments = ["--env-file", str(tmp_path / "bot.env")]
        monkeypatch.setenv(given, f"{tmp_path}/{EVIL}" if given == "DATA_DIR" else EVIL)
    assert bot.main(["install", kind, *arguments]) == 1
    told = capsys.readouterr()
    assert (told.out, "cannot hold" in told.err) == ("", True)
    assert not [line for line in told.err.splitlines() if line.startswith("ExecStartPre")]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "could not be written" in written(tmp_path / "file" / "x.service", b"x")


def test_an_unknown_kind_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    done = run(tmp_path, "upstart")
    assert done.returncode == 64
    assert "systemd-user" in done.stderr


def test_a_token_that_only_the_terminal_knows_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    told = " ".join(install.unready(tmp_path / ".env"))
    assert "which a service cannot see" in told
    assert TOKEN not in told
    (tmp_path / ".env").write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\n", encoding="utf-8")
    assert "which a service cannot see" not in " ".join(install.unready(tmp_path / ".env"))


def test_a_start_that_is_set_up_without_a_token_or_an_owner_is_warned_of(tmp_path: Path) -> None:
    env = tmp_path / "settings.env"
    done = run(tmp_path, "cron", "--env-file", str(env))
    assert done.returncode == 0
    note = next(line for line in done.stderr.splitlines() if line.startswith("Note:"))
    assert f"{env} has no TELEGRAM_BOT_TOKEN and OWNER_ID, so the bot would end at once. First run: " in note
    assert "bot.py setup" in note
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\n", encoding="utf-8")
    assert "has no OWNER_ID, so" in run(tmp_path, "cron", "--env-file", str(env)).stderr
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    assert "would end at once" not in run(tmp_path, "cron", "--env-file", str(env)).stderr
