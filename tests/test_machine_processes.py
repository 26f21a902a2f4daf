"""What is known of a process of this machine, living, gone, or somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from machine import processes

WINDOWS = sys.platform == "win32"
NOBODY = 2**31 - 2  # no process has such a pid


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "a b"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "LOCK_TEST_MARK": "x=y"},
        cwd=tmp_path,
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_living_process_is_described(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert processes.environment(child.pid)["LOCK_TEST_MARK"] == "x=y"
    assert processes.command_line(child.pid).endswith(" a b")
    assert processes.user(child.pid) == processes.user(os.getpid()) != ""
    assert abs((processes.started_at(child.pid) or 0) - (processes.started_at(os.getpid()) or 0)) < 3600
    assert (processes.resident(child.pid) or 0) > 1_000_000
    assert processes.is_alive(child.pid)
    words, folder = next((words, folder) for pid, words, folder in processes.everything() if pid == child.pid)
    assert words[-1] == "a b"
    assert Path(folder) == tmp_path


def test_ancestors_are_named_nearest_first(child: subprocess.Popen[bytes]) -> None:
    found = processes.ancestors(child.pid)
    assert found[0].pid == os.getpid()
    assert found[1].pid == os.getppid()
    assert found[0].command == processes.command_line(os.getpid())
    if not WINDOWS:
        assert "python" in found[0].name or "pytest" in found[0].name


def test_a_process_keeps_its_identity_and_no_other_has_it(child: subprocess.Popen[bytes]) -> None:
    ask = f"from machine import processes; print(processes.identity({os.getpid()}))"
    seen = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert seen.stdout.strip() == processes.identity(os.getpid()) != ""
    assert processes.identity(child.pid) != processes.identity(os.getpid())


@pytest.mark.parametrize("pid", [NOBODY, -1, 10**30])
def test_of_a_process_that_does_not_exist_nothing_is_known(pid: int) -> None:
    assert not processes.is_alive(pid)
    assert not processes.identity(pid)
    assert not processes.environment(pid)
    assert not processes.ancestors(pid)
    assert not processes.terminal(pid)
    assert processes.command_line(pid) == processes.user(pid) == ""
    assert processes.resident(pid) is processes.started_at(pid) is None


def test_a_process_that_has_ended_is_forgotten(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()
    assert not processes.is_alive(child.pid)
    assert not processes.identity(child.pid)


@pytest.mark.skipif(WINDOWS, reason="needs a pseudo-terminal")
def test_a_process_on_a_terminal_is_seen_there() -> None:
    inside = "import os; from machine import processes; print(processes.terminal(os.getpid()))"
    outside = f"import pty; pty.spawn([{sys.executable!r}, '-c', {inside!r}])"
    run = subprocess.run(
        [sys.executable, "-c", outside], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert run.stdout.strip().startswith((b"pts/", b"tty"))
