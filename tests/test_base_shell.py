"""A command that the bot prints runs as printed: from any folder, and with any character in a path."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

from base import shell

posix = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
WINDOWS_PYTHON = r"C:\Ann's bots\.venv\Scripts\python.exe"


def start(*command: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment() | environ,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what starts, in a folder with a name that shells do not like."""
    folder = tmp_path / "Ann's $bots; 100 %"
    folder.mkdir()
    shutil.copy(ROOT / "bot.py", folder)
    shutil.copytree(ROOT / "base", folder / "base", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CHANGELOG.md", folder)
    (folder / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "start.sh", folder / "deploy")
    return folder


def make_venv(project: Path, code: int = 0) -> None:
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nprintf "%s|" venv "$@"\nexit {code}\n', encoding="utf-8")
    python.chmod(0o755)


@posix
def test_what_is_printed_runs_in_any_folder(tmp_path: Path) -> None:
    done = start(sys.executable, ROOT / "bot.py", "--nonsense", cwd=tmp_path)
    printed = done.stderr.rpartition("See: ")[2].strip()
    again = start("/bin/sh", "-c", printed, cwd=tmp_path)
    assert again.returncode == 0, printed
    assert "usage: bot.py" in again.stdout


@posix
def test_a_settings_file_that_was_named_is_named_in_every_command(tmp_path: Path) -> None:
    file = tmp_path / "my own.env"
    file.write_text("", encoding="utf-8")
    done = start(sys.executable, ROOT / "bot.py", "--env-file", file, cwd=tmp_path)
    assert done.returncode == 78
    printed = shlex.split(done.stderr.rpartition("terminal: ")[2])
    assert printed == [sys.executable, str(ROOT / "bot.py"), "setup", "--env-file", str(file)]


@posix
def test_a_python_without_the_packages_goes_on_with_the_venv_beside_bot_py(project: Path) -> None:
    make_venv(project, code=5)
    done = start(sys.executable, "-S", project / "bot.py", "status", "--json", cwd=project.parent)
    assert (done.stdout, done.returncode) == (f"venv|-S|{project / 'bot.py'}|status|--json|", 5)


@posix
def test_so_does_a_python_that_is_too_old(project: Path) -> None:
    make_venv(project)
    old = "import sys, runpy; sys.version_info = (3, 9, 2); runpy.run_path(sys.argv[1], run_name='__main__')"
    done = start(sys.executable, "-c", old, project / "bot.py", cwd=project)
    assert done.stdout.startswith("venv|")


@posix
def test_the_venv_s_own_python_does_not_go_on_with_itself_again_and_again(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    done = start(sys.executable, "-S", str(project / "bot.py"), "status", cwd=project)
    assert (done.returncode, "is missing, so the bot cannot run" in done.stderr) == (78, True)


@posix
def test_without_a_venv_the_commands_that_make_one_run_as_printed(project: Path) -> None:
    done = start(sys.executable, "-S", project / "bot.py", cwd=project.parent)
    assert done.returncode == 78
    make, fill, begin = done.stderr.splitlines()[1:]
    assert shlex.split(make) == [sys.executable, "-m", "venv", str(project / ".venv")]
    python = str(project / ".venv" / "bin" / "python")
    assert shlex.split(fill) == [python, "-m", "pip", "install", "-r", str(project / "requirements.txt")]
    make_venv(project)
    assert start("/bin/sh", "-c", begin, cwd=project.parent).stdout == f"venv|{project / 'bot.py'}|"


@posix
@pytest.mark.parametrize("gone", [True, False], ids=["its Python is gone", "of another computer"])
def test_a_venv_that_does_not_run_here_is_made_again(project: Path, gone: bool) -> None:
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere/python3") if gone else python.write_text("\x7fELF", encoding="latin-1")
    if not gone:
        python.chmod(0o755)
    done = start(sys.executable, "-S", project / "bot.py", cwd=project.parent)
    assert done.returncode == 78
    assert gone or done.stderr.startswith(f"{python} does not run on this computer (")
    make, _, begin = done.stderr.splitlines()[-3:]
    assert start("/bin/sh", "-c", f"{make.strip()} --without-pip", cwd=project.parent).returncode == 0
    again = start("/bin/sh", "-c", begin, cwd=project.parent)
    printed = shlex.split(again.stderr.splitlines()[-1])
    assert printed == [str(python), "-m", "pip", "install", "-r", str(project / "requirements.txt")]


@posix
def test_in_its_folder_at_a_terminal_a_command_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv" / "bin" / "python"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert shell.bot_command("stop") == ".venv/bin/python bot.py stop"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert shell.bot_command("stop") == f"{ROOT}/.venv/bin/python {ROOT}/bot.py stop", "a log is read anywhere"


USERS_MODULES = r"C:\Users\Ann\Documents\PowerShell\Modules;C:\Program Files\PowerShell\Modules"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, f'"{WINDOWS_PYTHON}" stop'),
        ({"PSMODULEPATH": USERS_MODULES}, f'& "{WINDOWS_PYTHON}" stop'),
        ({"MSYSTEM": "MINGW64"}, """'C:/Ann'"'"'s bots/.venv/Scripts/python.exe' stop"""),
    ],
    ids=["cmd", "PowerShell", "Git Bash"],
)
def test_on_windows_it_is_quoted_for_the_shell_at_hand(
    variables: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PSMODULEPATH", "MSYSTEM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "win32")
    assert shell.quoted(WINDOWS_PYTHON, "stop") == line


# start.sh, for people who click


def in_folder(command: str) -> Path:
    """Where a shell is after this command."""
    return Path(start("/bin/sh", "-c", f"{command} && pwd", cwd=Path("/")).stdout.rstrip("\n"))


@posix
def test_the_start_script_runs_the_bot_of_its_folder_and_says_how_it_ended(project: Path) -> None:
    script = project / "deploy" / "start.sh"
    done = start("/bin/sh", script, cwd=Path("/"))
    assert (done.returncode, "python3 -m venv --clear .venv" in done.stdout) == (78, True)
    assert in_folder(done.stdout.splitlines()[1]) == project
    make_venv(project, code=127)
    done = start("/bin/sh", script, cwd=Path("/"))
    assert (done.returncode, "python3 -m venv --clear .venv" in done.stdout) == (78, True), "it does not run here"
    make_venv(project, code=77)
    done = start("/bin/sh", script, "--wait", cwd=Path("/"), CDPATH=str(ROOT))
    assert done.returncode == 77
    assert in_folder(done.stdout.splitlines()[-1].split("&&")[0]) == project
    assert done.stdout.startswith("venv|bot.py|--wait|")
    assert "exit code 77" in done.stdout
    assert os.access(ROOT / "deploy" / "start.sh", os.X_OK)
