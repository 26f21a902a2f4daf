"""What every test may use: a simulator on loopback and the bot as a real process against it."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import compiled
import pytest
import serverkit
from hypothesis import settings

from alerts.publish import compose
from base import config, shell
from botapi.storage import Delivery
from machine import stop_requests
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `pytest &` in a script: each bot would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("long", max_examples=2_000, deadline=None)  # pytest --hypothesis-profile=long
# How long an example takes is the machine's business: on a busy one it is no failure.
settings.register_profile("house", max_examples=50, deadline=None)
settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent
# The lock holds for the whole machine: two test runs at once must not be the same bot.
TOKEN = f"{100_000_000 + os.getpid()}:TEST-token-of-nobody-000000000000000"
OTHER_TOKEN = f"{200_000_000 + os.getpid()}:TEST-token-of-somebody-00000000000"
SECRETS = [token.partition(":")[2] for token in (TOKEN, OTHER_TOKEN)]
BOT_ID = int(TOKEN.partition(":")[0])
OWNER = 7
FRIEND = 8
PATIENCE = 60.0  # seconds; on a busy machine the start of a process takes many
# Wine 8 does not end a recv() whose socket is shut down from another thread: there a long poll runs its time.
WINE = sys.platform == "win32" and hasattr(ctypes.windll.ntdll, "wine_get_version")


# Everything that starts a process, kills one, or waits for a network; the rest is `pytest -m quick`.
PROCESS_FIXTURES = {"run_bot", "demo", "sim", "terminal", "doctor", "own_database"}
PROCESS_TESTS = {
    "test_alerts_chart",
    "test_alerts_held_back",
    "test_base_console",
    "test_base_shell",
    "test_bot",
    "test_disk",
    "test_docs",
    "test_fan_out",
    "test_fuzz",
    "test_journeys",
    "test_kill",
    "test_lock",
    "test_manage_image",
    "test_manage_install",
    "test_manage_logs",
    "test_manage_move_store",
    "test_manage_server",
    "test_manage_status",
    "test_manage_stop",
    "test_outage",
    "test_relay",
    "test_service_watchdog",
    "test_service_web",
    "test_store_server",
    "test_store_upgrade",
    "test_stopping",
    "test_store_readers",
    "test_supervisors",
    "test_two_copies",
}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    with compiled.once():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        uses = set(getattr(item, "fixturenames", ()))
        engine = getattr(item, "callspec", None) and item.callspec.params.get("new_store")  # type: ignore[attr-defined]
        if not uses & PROCESS_FIXTURES and item.path.stem not in PROCESS_TESTS and engine != "server":
            item.add_marker("quick")
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, bool, int]:
    """The longest first, so that no worker waits for another at the end (pyproject.toml hands out one at a time).

    Those with processes come in a mixed order: tests of one file often wait for the same thing, all at once.
    """
    demo, quick = "demo" in item.fixturenames, "quick" in item.keywords  # type: ignore[attr-defined]
    return not demo, quick, 0 if quick else zlib.crc32(item.nodeid.encode())


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the collector of garbage need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_commands() -> Iterator[None]:
    """What a test makes the printed commands say is forgotten after it."""
    yield
    shell.add_to_commands([])


class BotProcess:
    """`python bot.py` as a real process. Its output is read all the time; `kill` is for the end of a test."""

    def __init__(self, environment: Mapping[str, str], folder: Path, *arguments: str, before: str = "") -> None:
        # `before` is Python run ahead of the bot, to shorten one of its waits.
        code = f"import sys; sys.argv[0] = 'bot.py'; {before or 'pass'}\nimport bot; sys.exit(bot.main())"
        no_settings = folder / "no.env"
        no_settings.touch()
        self.folder = (
            Path(environment.get("DATA_DIR", "")) / environment.get("TELEGRAM_BOT_TOKEN", "").partition(":")[0]
        )
        self.output = ""
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "--env-file", str(no_settings), *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",  # a Windows pipe is cp1252
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.output += line
                self._changed.notify_all()

    def wait_output(self, part: str, *, times: int = 1, timeout: float = PATIENCE) -> str:
        with self._changed:
            found = self._changed.wait_for(lambda: self.output.count(part) >= times, timeout)
        assert found, f"{part!r} not in the output within {timeout} s:\n{self.output}"
        return self.output

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {timeout} s:\n{self.output}") from None
        self._reader.join(30)
        return code

    def stop(self, number: int = signal.SIGTERM, *, timeout: float = PATIENCE) -> tuple[int, float]:
        """Ask the bot to stop, with a signal where there are signals; its exit code and the seconds it took."""
        began = time.monotonic()
        if sys.platform == "win32":  # there a signal would be a kill
            stop_requests.ask(self.folder, self.pid)
        else:
            self.process.send_signal(number)
        code = self.wait_exit(timeout)
        return code, time.monotonic() - began

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait_exit()


NewStore = Callable[..., Store]


@pytest.fixture(scope="session")
def own_database() -> Iterator[str]:
    with serverkit.own_database() as url:
        yield url


@pytest.fixture
def database_url(own_database: str) -> str:
    """An empty PostgreSQL database: the tables of the bot without a row, or no table."""
    serverkit.empty(own_database)
    return own_database


@pytest.fixture(params=["file", "server"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewStore]:
    """Opens the test's store, and again what was stored, in each of the two engines."""
    url = request.getfixturevalue("database_url") if request.param == "server" else ""
    opened: list[Store] = []

    def new(now: Callable[[], float] = time.time) -> Store:
        if url:
            from store.postgres import Server

            opened.append(Store(Server(url, bot_id=BOT_ID), now=now))
        else:
            opened.append(Store(tmp_path / "bot.db", now=now))
        return opened[-1]

    yield new
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store: NewStore) -> Store:
    """An empty store, in each of the two engines."""
    return new_store()


@pytest.fixture
def sim() -> Iterator[Simulator]:
    # The server's 3 s between two 409s (and its shorter times with it) are 1 s here.
    with Simulator(conflict_hold=1.0) as simulator:
        yield simulator


@pytest.fixture
def chat(sim: Simulator) -> SimBot:
    """The bot's account at the simulated Telegram; its owner wrote to it once (a bot cannot write first)."""
    account = sim.bot(TOKEN)
    account.add_chat(OWNER)
    return account


Run = Callable[..., BotProcess]
Demo = tuple["subprocess.Popen[str]", Path]


@pytest.fixture
def run_bot(sim: Simulator, chat: SimBot, tmp_path: Path) -> Iterator[Run]:
    """Start the bot: `run_bot("--wait", ON_CONFLICT="exit", DATA_DIR=...)`. All are ended after the test."""
    started: list[BotProcess] = []

    def run(*arguments: str, before: str = "", **settings: str) -> BotProcess:
        environment = clean_environment() | {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": sim.url,
            "OWNER_ID": str(OWNER),
            "ALLOWED_USERS": str(FRIEND),
            "DATA_DIR": str(tmp_path / "data"),
            "SYMBOLS": "BTC,ETH",
            "WHALE_MIN_USD": "1m",
            "WHALE_INTERVAL": "0.2",
            **{f"{name.upper()}_URL": sim.market_url(name) for name in config.SOURCE_DEFAULTS},
            **settings,
        }
        bot = BotProcess(environment, tmp_path, *arguments, before=before)
        started.append(bot)
        return bot

    yield run
    for bot in started:
        bot.kill()
    told = "".join(bot.output for bot in started)
    logged = "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix in (".log", ".json")
    )
    for secret in SECRETS:
        assert secret not in told + logged, "the token was written to an output"


@pytest.fixture
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """`python bot.py --demo` with no terminal. It takes 45 s."""
    folder = tmp_path_factory.mktemp("demo")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bot.py"), "--demo"],
        env=clean_environment() | {"HOME": str(folder), "TELEGRAM_BOT_TOKEN": TOKEN},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    yield process, folder
    process.terminate()  # so that it deletes its folder; its bot ends with it however it ends
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)


def first_look(sim: Simulator, *symbols: str, since: float = 0.0) -> None:
    """Wait until a bot reads on from its first look at these coins: what was traded before that look is no news.

    since: unix seconds; what was asked before is not its.
    """

    def reads(symbol: str) -> bool:
        asked = [call for call in sim.market.calls if call.at > since and "fromId" in call.params]
        return any(call.venue == "binance" and call.params["symbol"] == f"{symbol}USDT" for call in asked)

    for symbol in symbols:
        sim.wait(lambda symbol=symbol: reads(symbol), what=f"a bot that reads {symbol}")  # type: ignore[misc]


def clean_environment() -> dict[str, str]:
    """This process's environment without anything a supervisor or a real bot's settings left in it."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMP", "WINEPREFIX")
    return {name: os.environ[name] for name in keep if name in os.environ} | {"PYTHONPYCACHEPREFIX": compiled.FOLDER}


def outgoing(store: Store, *, now: float) -> list[Delivery]:
    """What waits to be sent, in order, worded as it would be now."""
    found = (store.delivery(delivery_id) for delivery_id, _, _ in store.pending())
    worded = [(one, compose(store, one, now=now)) for one in found if one is not None]
    return [one._replace(payload=payload) for one, payload in worded if payload is not None]
