"""The house stands: imports go down only, each library has its doors, files name their encoding, nothing sleeps."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from conftest import ROOT

# What stands at the top, in the order of imports: a place imports itself and what stands below it.
ORDER = (
    "bot",
    "manage",
    "service",
    "monitors",
    "watch",
    "commands",
    "alerts",
    "access",
    "store",
    "botapi",
    "venues",
    "lock",
    "machine",
    "base",
)
BESIDE = {"simulation", "tests", "benchmarks"}  # not the bot: they may use it, it does not use them
DOORS = {  # library: the places that may import it
    "telebot": {"botapi"},
    "requests": {"botapi", "venues", "base"},
    "urllib3": {"botapi", "venues", "base"},
    "schedule": {"monitors"},
    "sqlite3": {"store"},
    "psycopg": {"store"},
    "filelock": {"lock"},
    "psutil": {"machine"},
    "dotenv": {"base", "machine"},
    "cronsim": {"base"},
    "matplotlib": {"alerts"},
    "apprise": {"alerts"},
    "prometheus_client": {"service"},
    "http": {"service", "base"},  # base: the client half
}


def place(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = sorted(path for name in (*ORDER, *BESIDE) for path in (*ROOT.glob(f"{name}.py"), *ROOT.glob(f"{name}/*.py")))
BOT = [path for path in FILES if place(path) in ORDER]


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """What the rules are about: imports and calls."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call))


@cache
def imports(path: Path) -> set[str]:
    """The top names of all modules that the file imports, also inside functions."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports here are absolute"
            found.add((node.module or "").partition(".")[0])
    return found


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called, `.name` when it is called on an expression."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield f"{owner.id if isinstance(owner, ast.Name) else ''}.{node.func.attr}", node


def test_the_top_level_holds_the_places_of_the_order_and_nothing_else() -> None:
    modules = {path.stem for path in ROOT.glob("*.py")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert modules | packages == {*ORDER, "simulation", "benchmarks"}
    assert modules == {"bot", "monitors", "access", "lock"}


def imports_go_down_only() -> None:
    upward = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in BOT
        for name in imports(path) & set(ORDER)
        if ORDER.index(name) < ORDER.index(place(path))
    }
    assert not upward


def only_the_demo_uses_the_simulator_and_the_simulator_uses_nothing_of_the_bot() -> None:
    assert {path.stem for path in BOT if "simulation" in imports(path)} == {"demo"}
    simulation = [path for path in FILES if place(path) == "simulation"]
    assert not {path.name for path in simulation if imports(path) & set(ORDER)}


def a_library_enters_by_its_doors_only() -> None:
    users = {library: {place(path) for path in BOT if library in imports(path)} for library in DOORS}
    assert {library: places - DOORS[library] for library, places in users.items() if places - DOORS[library]} == {}


NEVER_AT_A_START = {  # imported when they are needed
    *(
        "psycopg",
        "psutil",
        "zoneinfo",
        "subprocess",
        "statistics",
        "PIL",
        "matplotlib",
        "apprise",
        "prometheus_client",
        "cronsim",
        "webbrowser",
        "http.server",
        "asyncio",
    ),
    *("store.postgres", "service.web", "alerts.chart", "manage"),
}
AFTER_THE_FIRST_POLL = {
    "schedule",
    "monitors",
    "watch",
    "venues",
    "alerts",
    "commands",
    "service.state",
    "service.once",
    "store.levels",
    "store.markets",
    "store.places",
    "store.schedules",
    "store.wallets",
    "botapi.updates",
}


def test_a_start_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    start = (
        "import sys, bot; from pathlib import Path; from service import run; "
        "lock = run.InstanceLock(Path(sys.argv[1]), '42:x'); lock.acquire(); lock.name = 'a_bot'; "
        "print(*sys.modules); "
        "from service import app; print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", start, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    at_first, in_all = (set(line.split()) for line in run.stdout.splitlines())
    assert "service.listening" in at_first
    assert not at_first & (NEVER_AT_A_START | AFTER_THE_FIRST_POLL)
    assert in_all >= AFTER_THE_FIRST_POLL - {"service.once"}
    assert not in_all & NEVER_AT_A_START


def nothing_sleeps_and_every_text_file_is_opened_with_a_named_encoding() -> None:
    sleeping = [path.name for path in FILES for name, _ in calls(path) if name in ("time.sleep", "sleep")]
    assert not sleeping
    assert not [f"{path.name}:{line}" for path in FILES for line in without_encoding(path)]


def without_encoding(path: Path) -> Iterator[int]:
    for name, node in calls(path):
        mode_at = {"open": 1, "read_text": None, "write_text": None}.get(name.rpartition(".")[2], -1)
        if mode_at == -1 or name == "os.open":
            continue
        positional = node.args[(mode_at if name == "open" else 0) :][:1] if mode_at is not None else []
        modes = [*positional, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        binary = any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)
        if not binary and "encoding" not in {keyword.arg for keyword in node.keywords}:
            yield node.lineno


def test_imports_and_calls_keep_the_rules_of_the_house() -> None:
    """In one test: each process would read all files again."""
    imports_go_down_only()
    only_the_demo_uses_the_simulator_and_the_simulator_uses_nothing_of_the_bot()
    a_library_enters_by_its_doors_only()
    nothing_sleeps_and_every_text_file_is_opened_with_a_named_encoding()


def test_a_module_is_read_in_one_sitting_and_a_function_fits_a_screen() -> None:
    modules = [path for path in FILES if place(path) != "tests"]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert not {name: count for name, count in lines.items() if count > 350}
    functions = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert not {name: count for name, count in functions.items() if count > 60}
