"""`python bot.py --demo`: the real bot against a simulated Telegram and simulated markets on this machine.

It needs no token and no internet, reads none of your settings, and keeps its files in a temporary folder that is
deleted at the end. The terminal shows the chat (screen.py): what a trader gets, then a second copy with the same
token that comes and goes. With a terminal you can type at any time and stay afterwards; without one the demo ends by
itself. Exit code 0; 1 with a sentence when a step did not happen in time.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib.util
import io
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from base import config
from base.kinds import ROOT
from base.shell import pip_command
from manage.screen import Screen, by_key, has_colour, keys

if TYPE_CHECKING:  # the real bot imports this module too: it must not pay for a simulator it does not use
    from simulation.account import SimBot
    from simulation.simulator import Simulator

YOU = 1001  # the made-up user id of the person at the terminal
HOLD = 1.0  # Telegram holds repeated 409s back for 3 s; less keeps the story short
ORPHAN_GRACE = 15.0  # seconds a bot whose demo is gone has to stop in order


class _Failed(Exception):
    """A step did not happen in time; str() says which."""


def stop_at_eof() -> None:
    """Stop this process, as on SIGTERM, when its standard input ends: the demo that held the other end is gone.

    Works for every way a demo can end: a closed terminal or console, kill -9. Does not block.
    """

    def wait() -> None:
        pause = threading.Event()
        while os.read(sys.stdin.fileno(), 4096):
            pass
        while not callable(signal.getsignal(signal.SIGTERM)):  # still starting: the signal would be lost
            pause.wait(0.05)
        _thread.interrupt_main(signal.SIGTERM)
        pause.wait(ORPHAN_GRACE)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="stop-at-eof", daemon=True).start()


def run(interactive: bool) -> int:
    """Play the demo and return the exit code. Ctrl-C, SIGTERM or a closed terminal ends it, and its bot, at once."""
    from simulation.simulator import Simulator

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a Windows console may lack a character: never a crash
    ends = [signal.SIGTERM]
    if sys.platform != "win32":
        ends.append(signal.SIGHUP)
    previous = {number: signal.signal(number, _interrupt) for number in ends}
    # The line that is typed is kept whole only where each key comes by itself.
    typing = interactive and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    screen = Screen(sys.stdout, typing=typing, colour=has_colour(sys.stdout))
    try:
        with (
            by_key() if typing else contextlib.nullcontext(),
            tempfile.TemporaryDirectory(prefix="cryptosat-demo-", ignore_cleanup_errors=True) as folder,
            Simulator(conflict_hold=HOLD) as sim,
            _Demo(sim, screen, Path(folder), interactive=interactive) as demo,
        ):
            try:
                demo.play()
            except _Failed as failure:
                screen.end(f"The demo stopped: {failure}")
                print(demo.log_tail(), file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            screen.end("The demo is over.")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


class _Demo:
    """The bot as a child process, the chat on the screen, and the steps of the demo; all in the main thread."""

    def __init__(self, sim: Simulator, screen: Screen, folder: Path, *, interactive: bool) -> None:
        # An id of its own, so that two demos (or a demo and a real bot) never meet in a lock.
        self._token = f"{900_000_000_000 + os.getpid()}:DEMO-token-that-opens-nothing-00000"
        self._sim, self._screen = sim, screen
        self._bot: SimBot = sim.bot(self._token, username="cryptosat_demo_bot")
        self._folder = folder
        self._interactive = interactive
        self._log = folder / "output.log"
        self._shown = 0
        self._typed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._child: subprocess.Popen[bytes]

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
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, str(ROOT / "bot.py"), "--stop-at-eof", "--env-file", str(empty)],
                env=environment,
                stdin=subprocess.PIPE,  # never written to: when it closes, the bot knows that the demo is gone
                stdout=log,
                stderr=subprocess.STDOUT,
                **group,
            )
        if self._interactive:
            threading.Thread(target=self._read, name="demo-keyboard", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        child = self._child
        if child.poll() is not None:
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
        """The steps, then (with a terminal) the chat until you quit. Raises _Failed and KeyboardInterrupt."""
        market, screen = self._sim.market, self._screen
        market.give_past(8, seed=22)  # in these 24 hours Bitcoin rose, as it does in the story
        screen.say(
            "CryptoSat demo: the real bot with a simulated Telegram and simulated markets. Press Ctrl-C to quit."
        )
        if self._interactive:
            screen.say("Type a /command or the label of a [button], then press Enter.")
        self._tell("The bot starts.")
        self._until(lambda: self._bot.polling, "the bot did not start polling", within=20)
        self._tell("You say hello.")
        self._ask("/start")
        # BTC is quiet, so that every fill of the message is one of the order in the story.
        market.trade("binance", "BTC", "sell", market.prices["BTC"], 0.001)
        flow = market.start_flow(12, ("ETH", "SOL"))
        self._until(lambda: _reads(self._sim, "BTCUSDT") >= 3, "the bot did not read the market", within=15)
        self._tell("Someone buys 2.4 million dollars of Bitcoin: one order that fills in 40 small trades.")
        before = self._bot.delivered
        market.sweep("binance", "BTC", "buy", usd=2_400_000, fills=40, span_ms=90)
        self._until(lambda: self._heard(before, "BTC"), "the whale was not reported", within=15)
        self._tell("Too many alerts? You raise the minimum for Bitcoin.")
        self._ask("/threshold BTC 2m")
        self._tell("You want to be told when Bitcoin is up 1 %. Moves work, too: /alert BTC 3% in 1h")
        self._ask("/alert BTC +1%")
        before = self._bot.delivered
        market.trade("binance", "BTC", "buy", market.prices["BTC"] * 1.02, 0.001)
        self._until(lambda: self._heard(before, "BTC rose to"), "the price alert did not come", within=15)
        self._tell("You ask for a summary. It can come every morning: /digest 09:00")
        self._ask("/digest now")
        self._show_a_chart()
        self._meet_a_second_copy()
        self._tell("That's the demo.")
        if self._interactive:
            flow.set()
            market.start_flow(12, seed=2, whale_every=25)
            market.perpetuals.liquidate("okx", "BTC", "long", usd=640_000)
            market.perpetuals.set_rate("hyperliquid", "ETH", 0.00009)
            market.perpetuals.set_interest("okx", "SOL", 2.3e9)
            screen.say("Markets keep running, with a whale every 25 seconds.")
            screen.say(
                "Try /help, /price, /alert BTC 1% in 5m, /whales, /liq, /funding or /status. Type quit to leave."
            )
            self._until(lambda: False)

    def _ask(self, text: str, *, within: float = 15) -> None:
        """You send a command, and the bot answers."""
        said = self._bot.delivered
        self._say(text)
        self._until(lambda: self._bot.delivered > said, f"{text} was not answered", within=within)

    def _show_a_chart(self) -> None:
        """Ask for a chart and open it, or say where it is."""
        if importlib.util.find_spec("matplotlib") is None:
            self._tell(f"Charts need one more package: {pip_command('install', 'matplotlib')}")
            return
        self._tell("You ask for a chart.")
        before = self._bot.delivered
        self._ask("/chart BTC 1h", within=40)
        photos = [sent.params.get("photo") for sent in self._bot.sent_after(before)]
        photo = next((photo for photo in photos if photo is not None and not isinstance(photo, str)), None)
        if photo is None:  # the bot said why
            return
        chart = self._folder / "chart.png"
        chart.write_bytes(photo.data)
        # Without a desktop this would open a browser inside the terminal.
        desktop = (
            sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        )
        opened = self._interactive and desktop and webbrowser.open_new_tab(chart.as_uri())
        self._screen.say(f"The chart {'opens now' if opened else 'is here until the demo ends'}: {chart}")

    def _meet_a_second_copy(self) -> None:
        """Another poller with the same token comes, stays, and leaves again."""
        self._tell("A second copy of the bot is started somewhere else, with the same token.")
        before = self._bot.delivered
        with self._bot.rival(timeout=30, pause=0.2):
            failure = "the owner was not told about the second copy"
            self._until(lambda: self._heard(before, "another", "other", "copies"), failure, within=12)
            self._tell("The bot waits to see whether the other copy stays (up to 30 s).")
            self._until(self._stands_by, "the bot did not go to standby", within=45)
            self._tell("The bot is on standby: it stops polling, so the two copies do not disconnect each other.")
        before = self._bot.delivered
        self._tell("The other copy is gone. You send a message; the bot notices and takes over.")
        self._say("/ping still there?")
        self._until(lambda: self._heard(before, "pong"), "the bot did not take over", within=30)
        failure = "the owner was not told that the other copy is gone"
        self._until(lambda: self._heard(before, "conflict", "copy"), failure, within=30)

    def log_tail(self) -> str:
        """The last lines the bot printed."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(["The end of the bot's log:", *(f"  {line}" for line in lines[-15:])])

    # One step

    def _until(self, happened: Callable[[], object], failure: str = "", *, within: float = float("inf")) -> None:
        """Show the chat and pass on what is typed until `happened`. Raises _Failed after `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            self._show()
            if happened():
                self._show()
                return
            code = self._child.poll()
            if code is not None:
                raise _Failed(f"the bot ended with exit code {code}.")
            if time.monotonic() > deadline:
                raise _Failed(f"{failure} within {within:.0f} s.")
            try:  # in slices: Windows cannot interrupt a wait without an end
                typed = self._typed.get(timeout=0.05)
            except queue.Empty:
                continue
            self._take(typed)

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
        for typed in keys():
            self._typed.put(typed)
        self._typed.put(None)

    def _take(self, typed: str | None) -> None:
        if typed is None:
            raise KeyboardInterrupt
        for line in self._screen.type(typed):
            if line.lower() in ("quit", "exit", "/quit"):
                raise KeyboardInterrupt
            if line and not self._press(line.strip("[]").lower()):
                self._say(line)

    def _press(self, label: str) -> bool:
        """Press the newest button with this label, if there is one."""
        for sent in reversed(self._bot.sent):
            for text, data in sent.buttons:
                if text.lower() == label and not data.startswith("http"):
                    self._screen.message("You", f"[{text}]")
                    self._bot.press(sent.message_id, data, chat_id=YOU, name="You")
                    return True
        return False

    # The screen

    def _say(self, text: str) -> None:
        self._show()
        self._screen.message("You", text)
        self._bot.send_text(YOU, text, name="You")

    def _tell(self, text: str) -> None:
        self._show()
        self._screen.tell(text)

    def _show(self) -> None:
        """Print what the bot delivered since the last look."""
        for sent in self._bot.sent_after(self._shown):
            self._shown += 1
            if sent.method != "answerCallbackQuery":
                edited, labels = sent.method.startswith("edit"), [label for label, _ in sent.buttons]
                self._screen.message("Bot", sent.text, edited=edited, buttons=labels)
            elif sent.text:
                self._screen.message("Bot", f"({sent.text})")


def _reads(sim: Simulator, symbol: str) -> int:
    """How often the bot has read this market."""
    return sum(1 for call in sim.market.calls if symbol in str(call.params.get("symbol", "")) and call.status)
