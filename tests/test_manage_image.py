"""The Docker image holds all that its program needs."""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment


def is_copied(name: str) -> bool:
    """Whether `COPY . .` takes this entry of the project's folder. The last fitting rule of .dockerignore decides."""
    copied = True
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if rule and not rule.startswith("#") and fnmatch.fnmatchcase(name, rule.lstrip("!")):
            copied = rule.startswith("!")
    return copied


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with exactly the files that the image gets."""
    folder = tmp_path_factory.mktemp("image") / "app"
    folder.mkdir()
    for entry in filter(lambda entry: is_copied(entry.name), ROOT.iterdir()):
        if entry.is_dir():
            shutil.copytree(entry, folder / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(entry, folder)
    return folder


def test_the_image_holds_no_secrets_and_no_tests(image: Path) -> None:
    assert not is_copied(".env")
    assert not is_copied(".git")
    assert not (image / "tests").exists()


def test_the_demo_plays_from_the_files_of_the_image(image: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(image / "bot.py"), "--demo"],
        env=clean_environment() | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
        cwd=image,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    output = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if "Alerts are on in this chat" in line:
                break
    finally:
        process.terminate()
        output += process.communicate(timeout=40)[0]
    assert "Alerts are on in this chat" in output


def test_install_works_from_the_files_of_the_image(image: Path, tmp_path: Path) -> None:
    for kind in ("cron", "docker", "systemd", "pm2"):
        done = subprocess.run(
            [sys.executable, str(image / "bot.py"), "install", kind],
            env=clean_environment() | {"HOME": str(tmp_path)},
            cwd=image,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert kind == "docker" or str(image / "bot.py") in done.stdout
