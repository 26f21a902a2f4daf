"""`python bot.py --demo`: the very same bot against a simulated Telegram and simulated markets, on loopback.

Needs no token and no internet, reads no settings of yours, and keeps everything in a temporary folder that is
removed at the end. The terminal shows the chat. One story is played once: /start, a whale, a rival that polls with
the same token, the rival gone. With a terminal you can type all along and stay after the story; without one the
demo ends by itself (exit 0; 1, with a sentence, when a step did not happen in time).
"""

from __future__ import annotations

import io
import os
import queue
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from base import config

if TYPE_CHECKING:  # the real bot imports this module too: it must not pay for a simulator it does not use
    from simulation.account import SimBot
    from simulation.chats import Sent
    from simulation.simulator import Simulator

YOU = 1001  # the made-up user id of the person at the terminal
WIDTH = 100
HOLD = 1.0  # Telegram holds repeated 409s back for 3 s; less keeps the story short
# Deadlines of the steps in seconds
START_WITHIN = 20.0
ANSWER_WITHIN = 8.0
WHALE_WITHIN = 15.0
TOLD_WITHIN = 12.0
STANDBY_WITHIN = 45.0
BACK_WITHIN = 30.0


class _Failed(Exception):
    """A step of the story did not happen; the text says which."""


def run(interactive: bool) -> int:
    """Play the demo and return the exit code. Ctrl-C (or SIGTERM) ends it at once; the bot is always ended too."""
    from simulation.simulator import Simulator

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a Windows console may lack a character: never a crash
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="cryptosat-demo-", ignore_cleanup_errors=True) as folder,
            Simulator(conflict_hold=HOLD) as sim,
            _Demo(sim, Path(folder), interactive=interactive) as demo,
        ):
            try:
                demo.play()
            except _Failed as failure:
                print(f"\nThe demo stopped: {failure}\n{demo.log_tail()}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        print("\nThe demo is over.")
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


class _Demo:
    """The bot as a child process, the chat on the terminal, and the story. All in the main thread."""

    def __init__(self, sim: Simulator, folder: Path, *, interactive: bool) -> None:
        # An id of its own, so that two demos (or a demo and a real bot) never meet in a lock.
        self._token = f"{900_000_000_000 + os.getpid()}:DEMO-token-that-opens-nothing-00000"
        self._sim = sim
        self._bot: SimBot = sim.bot(self._token, username="cryptosat_demo_bot")
        self._folder = folder
        self._interactive = interactive
        self._log = folder / "output.log"
        self._shown = 0
        self._typed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._quit = False
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Demo:
        empty = self._folder / "empty.env"
        empty.write_text("", encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if name not in config.NAMES}
        environment |= {
            "TELEGRAM_BOT_TOKEN": self._token,
            "TELEGRAM_API_URL": self._sim.url,
            "OWNER_ID": str(YOU),
            "DATA_DIR": str(self._folder / "data"),
            "SYMBOLS": "BTC,ETH,SOL",
            "WHALE_INTERVAL": "1",
            "DERIVATIVES_INTERVAL": "2",
            **{f"{name.upper()}_URL": self._sim.market_url(name) for name in config.SOURCE_DEFAULTS},
            "LOCK_SCOPE": os.environ.get("LOCK_SCOPE", "machine"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PYTHONUTF8": "1",
        }
        # Its own group: a Ctrl-C at the terminal reaches the demo only, which then stops the bot in order.
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        program = Path(__file__).resolve().parent.parent / "bot.py"
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, str(program), "--env-file", str(empty)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **group,
            )
        if self._interactive:
            threading.Thread(target=self._read, name="demo-keyboard", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        if sys.platform == "win32":
            child.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            child.terminate()
        try:
            child.wait(5)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()
            child.wait(5)

    def play(self) -> None:
        """The story, then (with a terminal) the chat until it is left. Raises _Failed."""
        sim, bot = self._sim, self._bot
        print("CryptoSat demo: the real bot, a simulated Telegram, simulated markets. Ctrl-C ends it.")
        if self._interactive:
            print("Type /commands or the label of a [button] and press Enter.")
        self._tell("The bot starts.")
        self._until(lambda: bot.polling, START_WITHIN, "the bot did not start polling")

        self._tell("You say hello.")
        said = bot.delivered
        self._say("/start")
        self._until(lambda: bot.delivered > said, ANSWER_WITHIN, "/start was not answered")
        flow = sim.market.start_flow(12)
        self._until(lambda: _reads(sim, "BTCUSDT") >= 3, WHALE_WITHIN, "the bot did not read the market")

        self._tell("Someone buys Bitcoin for 2.4 million dollars: one order, filled in 40 small trades.")
        before = bot.delivered
        sim.market.sweep("binance", "BTC", "buy", usd=2_400_000, fills=40, span_ms=90)
        self._until(lambda: self._heard(before, "BTC"), WHALE_WITHIN, "the whale was not reported")

        self._tell("A rival: somewhere else a second program starts to poll with the same token.")
        before = bot.delivered
        with bot.rival(timeout=30, pause=0.2):
            self._until(
                lambda: self._heard(before, "conflict", "another"), TOLD_WITHIN, "the owner was not told of the rival"
            )
            self._tell("The bot makes sure that the rival stays, which takes up to half a minute.")
            self._until(self._stands_by, STANDBY_WITHIN, "the bot did not go to standby")
            self._tell("The bot stands by now: it polls no more, so the two do not kick each other out.")
        before = bot.delivered

        self._tell("The rival is gone. You write; nobody reads it, until the bot notices that.")
        self._say("/ping still there?")
        self._until(lambda: self._heard(before, "pong"), BACK_WITHIN, "the bot did not take over")
        self._until(lambda: self._heard(before, "conflict"), BACK_WITHIN, "the owner was not told that it is over")

        self._tell("That was the story.")
        if self._interactive:
            flow.set()
            sim.market.start_flow(12, seed=2, whale_every=25)
            sim.market.perpetuals.liquidate("okx", "BTC", "long", usd=640_000)
            sim.market.perpetuals.set_rate("hyperliquid", "ETH", 0.00009)
            print(
                "The markets go on, a whale comes every half minute. Try /help, /whales, /liq, /funding or /status; "
                "quit ends it."
            )
            self._until(lambda: self._quit, float("inf"), "")

    def log_tail(self) -> str:
        """The last lines the bot printed."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(["The bot's last words:", *(f"  {line}" for line in lines[-15:])])

    # One step

    def _until(self, happened: Callable[[], object], seconds: float, failure: str) -> None:
        """Show the chat and pass on what is typed until `happened`. Raises _Failed after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            self._show()
            if happened():
                self._show()
                return
            if self._quit:
                raise KeyboardInterrupt
            code = self._child.poll() if self._child is not None else None
            if code is not None:
                raise _Failed(f"the bot ended by itself with exit code {code}.")
            if time.monotonic() > deadline:
                raise _Failed(f"{failure} within {seconds:.0f} s.")
            try:  # in slices: Windows cannot interrupt a wait without an end
                line = self._typed.get(timeout=0.05)
            except queue.Empty:
                continue
            self._take(line)

    def _stands_by(self) -> bool:
        """It only looks (getWebhookInfo) and does not poll, twice in a row."""
        looks = [call.method.lower() for call in self._bot.calls if "get" in call.method[:3]]
        return looks[-2:] == ["getwebhookinfo"] * 2

    def _heard(self, since: int, *words: str) -> bool:
        """The bot said one of the words to the owner in a message after number `since`."""
        new = self._bot.sent_after(since)
        return any(sent.chat_id == YOU and any(word.lower() in sent.text.lower() for word in words) for sent in new)

    # The keyboard

    def _read(self) -> None:
        # The raw stream: a thread that sits in the buffered one would hold its lock when the interpreter ends.
        raw = cast(io.BufferedReader, sys.stdin.buffer).raw
        rest = b""
        while chunk := raw.read(4096):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._typed.put(line.decode("utf-8", "replace").strip())
        self._typed.put(None)

    def _take(self, line: str | None) -> None:
        if line is None or line.lower() in ("quit", "exit", "/quit"):
            self._quit = True
        elif line:
            label = line.strip("[]").lower()
            for sent in reversed(self._bot.sent):
                for text, data in sent.buttons:
                    if text.lower() == label and not data.startswith("http"):
                        self._bot.press(sent.message_id, data, chat_id=YOU, name="You")
                        return
            self._bot.send_text(YOU, line, name="You")

    # The screen

    def _say(self, text: str) -> None:
        self._show()
        print(f"{_clock()}  You  {text}", flush=True)
        self._bot.send_text(YOU, text, name="You")

    def _tell(self, text: str) -> None:
        self._show()
        print(f"\n* {text}", flush=True)

    def _show(self) -> None:
        """Print what the bot delivered since the last look."""
        for sent in self._bot.sent_after(self._shown):
            self._shown += 1
            if sent.method == "answerCallbackQuery":
                lines = [f"({sent.text})"] if sent.text else []
            else:
                lines = [*(("(edited)",) if sent.method.startswith("edit") else ()), *self._readable(sent)]
            for number, line in enumerate(lines):
                print(
                    f"{_clock() if number == 0 else '':8}  {'Bot' if number == 0 else '':3}  {line}".rstrip(),
                    flush=True,
                )

    def _readable(self, sent: Sent) -> list[str]:
        """The message as lines of plain text, links written out, buttons in brackets."""
        text = sent.text
        message = next((m for m in self._bot.chat(sent.chat_id) if m["message_id"] == sent.message_id), {})
        units = text.encode("utf-16-le")
        for entity in reversed(message.get("entities", [])):
            if entity["type"] == "text_link":
                end = (entity["offset"] + entity["length"]) * 2
                units = units[:end] + f" ({entity['url']})".encode("utf-16-le") + units[end:]
        text = units.decode("utf-16-le", "replace")
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, WIDTH) or [""]]
        if sent.buttons:
            lines.append(" ".join(f"[{label}]" for label, _ in sent.buttons))
        return lines


def _reads(sim: Simulator, symbol: str) -> int:
    """How often the bot has read this market."""
    return sum(1 for call in sim.market.calls if symbol in str(call.params.get("symbol", "")) and call.status)


def _clock() -> str:
    return time.strftime("%H:%M:%S")
