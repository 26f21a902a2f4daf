"""The documents are true: pictures, links, and the tables that name files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from conftest import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md"), *ROOT.glob("benchmarks/*.md")]


def test_the_readmes_alert_is_worded_as_the_bot_words_it_today(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None and spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    drawn = (ROOT / "docs" / "alert.svg").read_text(encoding="utf-8")
    assert pictures.alert() == drawn, "run: python docs/pictures.py"


def test_the_readmes_chart_can_be_drawn_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None and spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    assert pictures.chart().startswith(b"\x89PNG")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_file_of_the_project_leads_somewhere(page: Path) -> None:
    words = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", words) + re.findall(r'src="([^":]+)"', words)
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize(
    "page", [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", page.read_text(encoding="utf-8"))
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_lock_file_pins_every_requirement_within_its_range() -> None:
    pinned = dict(
        re.findall(r"^([A-Za-z0-9-]+)==([\d.]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    )
    pinned = {name.lower(): version for name, version in pinned.items()}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name, wanted, least = re.fullmatch(r"([A-Za-z-]+)(~=)?([\d.]*).*", line).groups()  # type: ignore[union-attr]
        version = pinned[name.lower()]
        kept = least.rpartition(".")[0]
        assert not wanted or version == least or version.startswith(f"{kept}."), f"{name} {version} is not ~={least}"


def test_every_promise_of_the_security_page_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    tests = {
        name
        for file in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.M)
    }
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 20
    assert not [name for name in named if name not in tests]


def test_the_security_page_gives_a_reason_for_every_requirement() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        assert re.search(rf"^\| {re.match(r'[A-Za-z-]+', line)[0]}\b", page, re.M), line  # type: ignore[index]
