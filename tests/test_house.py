"""The house stands: imports go down only, each library has its doors, files name their encoding, nothing sleeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = (  # a module imports only modules below it; one a line, so that two additions do not meet
    "bot",
    "first_run",
    "status",
    "stop",
    "instance",
    "doctor",
    "reach",
    "copies",
    "checks",
    "install",
    "process",
    "app",
    "ownership",
    "envfile",
    "attachments",
    "once",
    "demo",
    "tail",
    "polling",
    "longpoll",
    "conflict",
    "inbox",
    "commands",
    "command_alerts",
    "command_keyboard",
    "command_derivatives",
    "command_digest",
    "command_markets",
    "command_people",
    "command_basics",
    "command_settings",
    "desk",
    "derivatives",
    "liquidation_monitor",
    "funding_monitor",
    "wallet_monitor",
    "feeds",
    "monitors",
    "scheduler",
    "thresholds",
    "web",
    "metrics",
    "state",
    "latency",
    "health",
    "outbox",
    "pacing",
    "chart",
    "digest",
    "held",
    "alerts",
    "preferences",
    "whales",
    "access",
    "claim",
    "groups",
    "sources",
    "coinglass",
    "okx",
    "gate",
    "hyperliquid",
    "contracts",
    "fetch",
    "store",
    "history",
    "book",
    "database",
    "salvage",
    "turns",
    "records",
    "bars",
    "liquidations",
    "funding",
    "wallets",
    "trades",
    "telegram",
    "wire",
    "launchers",
    "machine",
    "findings",
    "stopfile",
    "lock",
    "guard",
    "holder",
    "files",
    "supervisor",
    "signals",
    "notify",
    "watchdog",
    "progress",
    "logs",
    "loop",
    "exits",
    "config",
    "schedules",
    "zones",
    "text",
)
DOORS = {  # library: the modules that may import it
    "telebot": {"telegram", "longpoll"},
    "schedule": {"scheduler"},
    "requests": {"telegram", "wire", "fetch"},
    "urllib3": {"telegram", "wire", "fetch"},
    "sqlite3": {"database", "salvage"},
    "filelock": {"lock"},
    "dotenv": {"config", "envfile"},
    "cronsim": {"schedules"},
    "matplotlib": {"chart"},
    "prometheus_client": {"metrics"},
    "http": {"web"},
}
# The commands beside the running bot have a folder; their names are floors like any other.
MANAGE = {path.stem: path for path in sorted((ROOT / "manage").glob("*.py")) if path.stem != "__init__"}
MODULES = {path.stem: path for path in sorted(ROOT.glob("*.py"))} | MANAGE
OURS = [name for name in MODULES if name != "simulator"]
SIMULATOR = [MODULES["simulator"], *sorted((ROOT / "simulation").glob("*.py"))]
OTHERS = [path for folder in ("simulation", "tests", "benchmarks") for path in sorted((ROOT / folder).glob("*.py"))]
EVERY_FILE = [*MODULES.values(), *OTHERS]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """Names of all modules that the file imports, also inside functions: the top-level one, or that in `manage`."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import in a flat house"
            top, _, rest = (node.module or "").partition(".")
            within = {rest} if rest else {alias.name for alias in node.names}
            found |= within if top == "manage" else {top}
    return found


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called, `.name` when it is called on an expression."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield f"{owner.id if isinstance(owner, ast.Name) else ''}.{node.func.attr}", node


@pytest.mark.parametrize("name", OURS)
def test_a_module_imports_only_modules_below_it(name: str) -> None:
    assert name in FLOORS, f"{name}.py has no floor: give it a place in FLOORS"
    below = set(FLOORS[FLOORS.index(name) + 1 :])
    allowed = below | ({"simulator"} if name == "demo" else set())
    assert imports(MODULES[name]) & set(MODULES) <= allowed


@pytest.mark.parametrize("path", SIMULATOR, ids=lambda path: path.stem)
def test_the_simulator_knows_nothing_of_the_bot(path: Path) -> None:
    assert not imports(path) & set(FLOORS)


@pytest.mark.parametrize("library", DOORS)
def test_a_library_enters_by_its_doors_only(library: str) -> None:
    assert {name for name, path in MODULES.items() if library in imports(path)} <= DOORS[library]


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: path.name)
def test_nothing_sleeps(path: Path) -> None:
    assert not [node.lineno for name, node in calls(path) if name in ("time.sleep", "sleep")]


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: path.name)
def test_every_text_file_is_opened_with_a_named_encoding(path: Path) -> None:
    nameless = []
    for name, node in calls(path):
        mode_at = {"open": 1, "read_text": None, "write_text": None}.get(name.rpartition(".")[2], -1)
        if mode_at == -1 or name == "os.open":
            continue
        positional = node.args[(mode_at if name == "open" else 0) :][:1] if mode_at is not None else []
        modes = [*positional, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        binary = any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)
        if not binary and "encoding" not in {keyword.arg for keyword in node.keywords}:
            nameless.append(node.lineno)
    assert not nameless, f"{path.name}, lines {nameless}: name the encoding"


def test_the_running_bot_needs_none_of_the_commands_beside_it() -> None:
    ours = {name: path for name, path in MODULES.items() if name not in MANAGE}
    assert not {name for name, path in ours.items() if imports(path) & set(MANAGE)} - {"bot"}


def test_the_table_of_floors_names_no_module_twice() -> None:
    assert len(set(FLOORS)) == len(FLOORS)
