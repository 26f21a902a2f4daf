"""CryptoSat as a whole process, side by side with bare bots of other libraries, against the simulator on loopback.

`python benchmarks/run.py [--runs 5] [--quick] [--bot PATH] [--database URL]` prints a Markdown table of medians; each
run's figures go to stderr. A run has a fresh simulator, a fresh folder and one bot; the bots take turns, and so does
the one that goes first. `--database` adds the same bot with its data on that PostgreSQL server, in a database of its
own. The column of python-telegram-bot needs requirements-bench.txt. An uncounted start compiles the bytecode.
Answers are checked, not only counted: a bot that loses, doubles or changes one ends the benchmark. It never leaves
loopback, never needs a token, never touches a real bot's folder, and imports nothing of the bot, so `--bot` may name
the bot.py of any checkout. Exit code 1 when a bot failed, with the end of its output.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OURS, SERVER, ECHO, PTB = "CryptoSat", "CryptoSat, PostgreSQL", "echo bot", "python-telegram-bot"
BARE = {ECHO: HERE / "echo_bot.py", PTB: HERE / "ptb_bot.py"}
HAS_PTB = importlib.util.find_spec("telegram") is not None
OWNER = 7
PATIENCE = 20.0  # seconds for anything that takes well under one
KEPT = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE", "LOCALAPPDATA", "LD_LIBRARY_PATH")
HAS_PROC = Path("/proc/self/status").exists()
HAS_SIGTERM = os.name == "posix"  # on Windows `terminate` is a kill: there is nothing to measure
ROWS = (  # key, title, format
    ("start", "Start to first getUpdates, s", ".2f"),
    ("memory", "Idle memory (RSS), MiB", ".1f"),
    ("threads", "Threads when idle", ".0f"),
    ("p50", "`/ping` round trip, p50, ms", ".1f"),
    ("p99", "`/ping` round trip, p99, ms", ".1f"),
    ("answers", "{commands:,} queued commands, answers/s (more is better)", ",.0f"),
    ("stop", "SIGTERM to exit in an idle poll, s", ".3f"),
)
Figures = dict[str, float]


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """An empty database on that server, which is dropped afterwards. Its URL."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.own_database import own_database as own  # with the driver

    with own(server) as url:
        yield url


class Sizes(NamedTuple):
    """How much to measure. idle: seconds before the memory is read."""

    runs: int
    idle: float = 4.0
    round_trips: int = 300
    commands: int = 5000


class Failed(Exception):
    """The simulator or a bot failed; the text says which, and how."""


class Simulator:
    """The control API of `python -m simulation`, running as its own process."""

    def __init__(self, line: str) -> None:
        urls = json.loads(line)
        self.url: str = urls["url"]
        self.markets: dict[str, str] = urls["markets"]

    def ask(self, name: str, *, patience: float = PATIENCE, **given: Any) -> Any:
        """POST /sim/NAME; its result. Raises Failed when the simulator refuses or does not answer."""
        # http.client, not urllib: it ignores a proxy from the environment.
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=patience + 5)
        try:
            connection.request("POST", f"/sim/{name}", json.dumps(given), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Failed(f"the simulator did not answer {name}: {error!r}") from error
        finally:
            connection.close()
        if not answer["ok"]:
            raise Failed(f"{name}: {answer['error']}")
        return answer["result"]

    def until_idle(self) -> None:
        """Wait until no update is queued and a long poll is open. Raises Failed."""
        deadline = time.monotonic() + PATIENCE
        while True:
            stats = self.ask("stats")
            if stats["polling"] and not stats["pending"]:
                return
            if time.monotonic() > deadline:
                raise Failed("the bot does not poll")
            rest(0.05)


def rest(seconds: float) -> None:
    """Wait."""
    threading.Event().wait(seconds)


@contextmanager
def child(*command: object, env: dict[str, str], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is killed when the block ends."""
    arguments = [sys.executable, *map(str, command)]
    with subprocess.Popen(arguments, env=env, stdin=subprocess.DEVNULL, text=True, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def deadline(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill `process` when the block takes longer than PATIENCE, so that a blocking wait in it ends."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def measure(script: Path, sizes: Sizes, database: str = "") -> Figures:
    """One run of one bot. database: any URL of a server. Raises Failed, with the end of the bot's output."""
    # A token of its own each time: the machine-wide lock would refuse a second run with a common one.
    token = f"{random.randrange(10**9, 10**10)}:TEST-token-of-nobody"
    clean = {name: os.environ[name] for name in KEPT if name in os.environ}
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-") as folder,
        (Path(folder) / "output.txt").open("w+", encoding="utf-8", errors="replace") as output,
        child(
            "-m", "simulation", "--port", 0, "--token", token, env=clean, cwd=ROOT, stdout=subprocess.PIPE
        ) as server,
    ):
        url = stack.enter_context(own_database(database)) if database else ""
        with deadline(server):
            line = server.stdout.readline() if server.stdout else ""
        if not line:
            raise Failed("the simulator did not start")
        sim = Simulator(line)
        env = clean | {
            "TELEGRAM_BOT_TOKEN": token,
            "TELEGRAM_API_URL": sim.url,
            "OWNER_ID": str(OWNER),
            "DATA_DIR": str(Path(folder) / "data"),
            "SEND_RATE": "0",
            **({"DATABASE_URL": url} if url else {}),
            **{f"{name.upper()}_URL": url for name, url in sim.markets.items()},
        }
        env_file = Path(folder) / "empty.env"
        env_file.touch()
        command = [script] if script in BARE.values() else [script, "--env-file", env_file]
        started = time.time()  # the simulator's log has wall clock times
        with child(*command, env=env, stdout=output, stderr=output) as bot:
            try:
                return _figures(sim, bot, sizes, started=started)
            except Failed as failure:
                state = "is running" if bot.poll() is None else f"ended with exit code {bot.returncode}"
                output.seek(0)
                raise Failed(f"{script.name} ({state}): {failure}\n{output.read()[-2000:]}") from failure


def _figures(sim: Simulator, bot: subprocess.Popen[str], sizes: Sizes, *, started: float) -> Figures:
    figures: Figures = {}
    sim.ask("wait", called="getUpdates", timeout=PATIENCE)
    figures["start"] = sim.ask("calls", method="getUpdates")[0]["at"] - started
    rest(sizes.idle)
    if HAS_PROC:
        figures |= _of_proc(bot.pid)
    sim.ask("round_trips", chat_id=OWNER, text="/ping warm", count=20, patience=20 * 5)
    times = sim.ask(
        "round_trips", chat_id=OWNER, text="/ping x", count=sizes.round_trips, patience=sizes.round_trips * 5
    )
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    figures["p50"], figures["p99"] = cuts[49], cuts[98]
    sim.ask("forget")
    burst = sim.ask("burst", chat_id=OWNER, text="/ping {n}", count=sizes.commands, timeout=60, patience=60)
    figures["answers"] = burst["per_second"]
    sim.until_idle()
    answers = [sent["params"]["text"] for sent in sim.ask("sent")]
    if sorted(answers) != sorted(f"pong {number}" for number in range(sizes.commands)):
        raise Failed(f"{sizes.commands} commands, {len(answers)} answers, and they are not the right ones")
    if HAS_SIGTERM:
        rest(0.5)
        stopped = time.perf_counter()
        with deadline(bot):
            bot.send_signal(signal.SIGTERM)
            bot.wait()  # without a timeout: with one, subprocess checks every 50 ms only
        figures["stop"] = time.perf_counter() - stopped
        if bot.returncode not in (0, -signal.SIGTERM):
            raise Failed(f"SIGTERM did not end it with exit code 0 within {PATIENCE:g} s")
    return figures


def _of_proc(pid: int) -> Figures:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise Failed(f"process {pid} is gone") from None
    status = dict(line.split(":", 1) for line in lines)
    return {"memory": int(status["VmRSS"].split()[0]) / 1024, "threads": int(status["Threads"])}


def table(results: dict[str, list[Figures]], sizes: Sizes) -> str:
    """A Markdown table of medians, each with its ratio to the echo bot's, and notes on the machine and the others."""
    others = [name for name in results if name not in (OURS, SERVER, ECHO)]
    names = [*(name for name in (OURS, SERVER, ECHO) if name in results), *others]
    lines = [f"| Measured | {' | '.join(names)} | {OURS} / {ECHO} |", f"|---|{'--:|' * (len(names) + 1)}"]
    for key, template, form in ROWS:
        title = template.format(commands=sizes.commands)
        if key not in results[ECHO][0]:
            lines.append(f"| {title} | not measured on {platform.system()} |{' |' * len(names)}")
            continue
        medians = {name: statistics.median(run[key] for run in results[name]) for name in names}
        shown = " | ".join(f"{medians[name]:{form}}" for name in names)
        lines.append(f"| {title} | {shown} | {medians[OURS] / medians[ECHO]:.2f} |")
    libraries = ["pyTelegramBotAPI", *others]
    lines += [
        "",
        f"Medians of {sizes.runs}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in libraries)}.",
        "The echo bot stores nothing, and SIGTERM simply kills it. CryptoSat commits every command and its answer, "
        "and shuts down in order.",
    ]
    if not others:
        lines.append(f"{PTB} is not installed, so its column is left out: pip install -r requirements-bench.txt")
    return "\n".join(lines)


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="CryptoSat and bare bots, measured side by side.")
    parser.add_argument("--runs", type=int, default=5, help="runs of each bot (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one small run: does everything work?")
    parser.add_argument("--bot", type=Path, default=ROOT / "bot.py", help="measure the bot.py of another checkout")
    parser.add_argument("--database", help="a PostgreSQL server, by the URL of any database there: a column more")
    options = parser.parse_args()
    sizes = Sizes(1, idle=1.0, round_trips=50, commands=500) if options.quick else Sizes(max(1, options.runs))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are ended then too
    order = [
        (OURS, options.bot.resolve()),
        *([(SERVER, options.bot.resolve())] if options.database else []),
        *((name, bot) for name, bot in BARE.items() if name != PTB or HAS_PTB),
    ]
    database = options.database or ""
    results: dict[str, list[Figures]] = {name: [] for name, _ in order}
    try:
        for name, script in order:
            measure(script, Sizes(1, idle=0, round_trips=2, commands=10), database if name == SERVER else "")
        for number in range(sizes.runs):
            for name, script in order:
                figures = measure(script, sizes, database if name == SERVER else "")
                results[name].append(figures)
                words = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                print(f"{number + 1}/{sizes.runs} {name}: {words}", file=sys.stderr, flush=True)
            order.reverse()
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(table(results, sizes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
