"""The first run and `setup` as a person sees them: a real process on a real (pseudo-)terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import FRIEND, OTHER_TOKEN, OWNER, PATIENCE, ROOT, SECRETS, TOKEN, Run, clean_environment

from manage.setup import find_token
from simulation.account import SimBot
from simulation.simulator import Simulator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
POLLING = "Polling: running"
PASTE = "Paste the token"
CTRL_C, CTRL_D = "\x03", "\x04"
# The process takes the pseudo-terminal for its controlling one, as a shell's children have it.
TAKE_TERMINAL = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"


class Terminal:
    """A process on a terminal of its own, which runs this Python: what it shows, and keys for it."""

    def __init__(self, code: str, *arguments: str, cwd: Path = ROOT, **settings: str) -> None:
        self.shown = ""
        self._changed = threading.Condition()
        self._seen = 0
        self._screen, inside = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{TAKE_TERMINAL}; {code}", *arguments],
            cwd=cwd,
            env=clean_environment() | {"TERM": "xterm"} | settings,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._screen, 65_536)
            except OSError:  # the process is gone
                return
            with self._changed:
                self.shown += part.decode("utf-8", "replace")
                self._changed.notify_all()

    def wait(self, part: str, *, timeout: float = PATIENCE) -> str:
        """Wait until this is shown after all that was waited for before."""
        with self._changed:
            found = self._changed.wait_for(lambda: part in self.shown[self._seen :], timeout)
            assert found, f"{part!r} was not shown within {timeout} s:\n{self.shown}"
            self._seen = self.shown.index(part, self._seen) + len(part)
            return self.shown

    def type(self, words: str, *, enter: bool = True) -> None:
        os.write(self._screen, (words + ("\n" if enter else "")).encode())

    def answer(self, question: str, words: str) -> None:
        self.wait(question)
        # getpass shows its prompt before it drops what was typed ahead: give it a moment to be ready.
        deadline = time.monotonic() + 30
        pause = threading.Event()
        while question == PASTE and _echoes(self._screen) and time.monotonic() < deadline:
            pause.wait(0.01)
        self.type(words)

    def link(self) -> str:
        self.wait("?start=")
        self.wait("Do not share it")
        return str(re.findall(r"https://t\.me/whale_test_bot\?start=([\w-]{22})", self.shown)[-1])

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        code = self.process.wait(timeout)
        self._reader.join(30)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(30)
        os.close(self._screen)


Open = Callable[..., Terminal]


def _echoes(descriptor: int) -> bool:
    import termios

    return bool(termios.tcgetattr(descriptor)[3] & termios.ECHO)


@pytest.fixture
def env_file(tmp_path: Path, sim: Simulator, chat: SimBot) -> Path:
    """A settings file that lacks token and owner only."""
    path = tmp_path / ".env"
    lines = [
        "# my bot",
        "TELEGRAM_BOT_TOKEN=",
        f"TELEGRAM_API_URL={sim.url}",
        f"DATA_DIR={tmp_path / 'data'}",
        "SYMBOLS=BTC",
        *(f"{name}_URL={sim.market_url(name.lower())}" for name in ("BINANCE", "BINANCE_API", "COINBASE", "KRAKEN")),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def terminal(env_file: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def start(*arguments: str, before: str = "", **settings: str) -> Terminal:
        code = f"sys.argv[0] = 'bot.py'; {before or 'pass'}\nimport bot; sys.exit(bot.main())"
        opened.append(Terminal(code, *arguments, "--env-file", str(env_file), cwd=ROOT, **settings))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
    shown = "".join(one.shown for one in opened)
    assert "Traceback" not in shown, shown
    for secret in SECRETS:
        assert secret not in shown, "the token was shown"
        for path in env_file.parent.rglob("*.log"):
            assert secret not in path.read_text(encoding="utf-8")


def open_link(chat: SimBot, code: str, *, user_id: int = OWNER) -> None:
    """What Telegram sends when somebody opens the link and presses Start."""
    chat.send_text(chat_id=user_id, text=f"/start {code}")


# First run


def test_from_nothing_to_a_running_bot_with_an_owner(
    terminal: Open, env_file: Path, chat: SimBot, sim: Simulator
) -> None:
    bot = terminal()
    bot.wait("BotFather")
    bot.answer(PASTE, TOKEN)
    bot.wait("This is @whale_test_bot")
    code = bot.link()
    open_link(chat, code)
    chat.wait_text("You now own this bot", chat_id=OWNER)
    chat.wait_text("alerts are on", chat_id=OWNER)
    bot.wait("OWNER_ID was saved")
    chat.send_text(chat_id=OWNER, text="/users")
    chat.wait_text("(owner)", chat_id=OWNER)
    written = env_file.read_text(encoding="utf-8")
    assert written.startswith(f"# my bot\nTELEGRAM_BOT_TOKEN={TOKEN}\nTELEGRAM_API_URL=")
    assert written.endswith(f"\nOWNER_ID={OWNER}\n")
    assert env_file.stat().st_mode & 0o777 == 0o600
    bot.type(CTRL_C, enter=False)
    assert bot.wait_exit() == 0
    for path in env_file.parent.rglob("*"):
        assert path.is_dir() or code.encode() not in path.read_bytes(), f"the code is in {path}"
    again = terminal()
    again.wait(POLLING)
    assert "?start=" not in again.shown


def test_a_token_is_found_in_a_careless_paste(terminal: Open, env_file: Path) -> None:
    bot = terminal()
    bot.answer(PASTE, f"  'bot{TOKEN[:25]} {TOKEN[25:]}' ")
    bot.wait("This is @whale_test_bot")
    bot.wait("The token is saved")
    assert f"\nTELEGRAM_BOT_TOKEN={TOKEN}\n" in env_file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "pasted",
    [
        TOKEN,
        f"\t{TOKEN}  ",
        f'"{TOKEN}"',
        f"`{TOKEN}`",
        f"bot{TOKEN}",
        f"TELEGRAM_BOT_TOKEN={TOKEN}",
        f"export TELEGRAM_BOT_TOKEN='{TOKEN}'",
        f"{TOKEN[:25]} {TOKEN[25:]}",
        f"\ufeff{TOKEN}\u200b",
        f"\x1b[200~{TOKEN}\x1b[201~",
        f"Use this token to access the HTTP API: {TOKEN} Keep your token secure",
        f"https://api.telegram.org/bot{TOKEN}/getMe",
    ],
    ids=lambda _: "paste",  # without the token: each process of a test run has its own
)
def test_what_people_paste_is_understood(pasted: str) -> None:
    assert find_token(pasted) == TOKEN


@pytest.mark.parametrize(
    "pasted", ["", "hello", "123456789", "123456789:", ":abc", f"{TOKEN} or {OTHER_TOKEN}?"], ids=lambda _: "paste"
)
def test_what_is_no_token_or_two_is_none(pasted: str) -> None:
    assert find_token(pasted) is None


def test_a_wrong_token_and_no_token_are_asked_again(terminal: Open, env_file: Path) -> None:
    bot = terminal()
    bot.answer(PASTE, "my bot's token")
    bot.wait("That is not a token")
    bot.answer(PASTE, OTHER_TOKEN)
    bot.wait("Telegram refuses the token")
    bot.answer(PASTE, TOKEN)
    bot.wait("This is @whale_test_bot")
    bot.wait("?start=")
    assert OTHER_TOKEN not in env_file.read_text(encoding="utf-8")


def test_without_a_network_the_token_can_be_saved_unchecked_and_the_link_comes_later(
    terminal: Open, env_file: Path, chat: SimBot, sim: Simulator
) -> None:
    sim.offline()
    bot = terminal()
    bot.answer(PASTE, TOKEN)
    bot.answer("cannot be reached", "")
    bot.answer("cannot be reached", "s")
    bot.wait("The token is saved")
    bot.wait("Trying again")
    sim.online()
    open_link(chat, bot.link())
    chat.wait_text("You now own this bot", chat_id=OWNER)


@pytest.mark.parametrize(("arguments", "key"), [((), CTRL_C), (("setup",), CTRL_D)])
def test_leaving_the_dialogue_changes_nothing(
    terminal: Open, env_file: Path, arguments: tuple[str, ...], key: str
) -> None:
    before = env_file.read_bytes()
    bot = terminal(*arguments)
    bot.answer(PASTE, "no token")
    bot.wait("That is not a token")
    bot.wait(PASTE)
    bot.type(key, enter=False)
    bot.wait("Nothing was changed")
    assert bot.wait_exit() == 78
    assert env_file.read_bytes() == before


def test_a_read_only_settings_file_is_told_before_anything_is_asked(terminal: Open, env_file: Path) -> None:
    env_file.chmod(0o400)
    bot = terminal()
    bot.wait("it is read-only")
    assert bot.wait_exit() == 78
    assert PASTE not in bot.shown


def test_other_wrong_settings_are_told_before_anything_is_asked(terminal: Open) -> None:
    bot = terminal(SYMBOLS="BTC/USDT")
    bot.wait("SYMBOLS=")
    assert bot.wait_exit() == 78
    assert PASTE not in bot.shown


def test_a_token_in_the_environment_cannot_be_mended_in_the_file(terminal: Open) -> None:
    bot = terminal(TELEGRAM_BOT_TOKEN="nonsense")
    bot.wait("set in the environment, which overrides")
    assert bot.wait_exit() == 78


def test_without_a_terminal_the_lines_to_write_are_shown(run_bot: Run, tmp_path: Path) -> None:
    empty = {"TELEGRAM_BOT_TOKEN": "", "OWNER_ID": "", "ALLOWED_USERS": ""}
    for bot in (run_bot(**empty), run_bot("setup", **empty)):
        assert bot.wait_exit() == 78
        assert f"{tmp_path / 'no.env'}" in bot.output
        assert "\n  TELEGRAM_BOT_TOKEN=<the token from @BotFather>\n" in bot.output
        assert "\n  OWNER_ID=<your numeric Telegram user id>\n" in bot.output


# The owner's link


def with_token(env_file: Path, *lines: str) -> None:
    content = env_file.read_text(encoding="utf-8").replace("TELEGRAM_BOT_TOKEN=\n", f"TELEGRAM_BOT_TOKEN={TOKEN}\n")
    env_file.write_text(content + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_a_bot_that_nobody_could_use_shows_the_link_on_a_terminal(
    terminal: Open, env_file: Path, chat: SimBot
) -> None:
    with_token(env_file)
    bot = terminal()
    code = bot.link()
    open_link(chat, code, user_id=OWNER)
    open_link(chat, code, user_id=FRIEND)
    chat.wait_text("You now own this bot", chat_id=OWNER)
    chat.wait_text("This bot is private", chat_id=FRIEND)


def test_with_people_who_may_use_it_no_link_is_shown(terminal: Open, env_file: Path) -> None:
    with_token(env_file, f"ALLOWED_USERS={FRIEND}")
    bot = terminal()
    bot.wait(POLLING)
    assert "?start=" not in bot.shown


def test_a_link_that_nobody_opens_ends_the_bot_with_what_to_do(terminal: Open, env_file: Path) -> None:
    with_token(env_file)
    bot = terminal(before="import access; access.LINK_LIFETIME = 1.0")
    bot.link()
    bot.wait("link has expired")
    assert bot.wait_exit() == 78


def test_a_link_opened_in_a_group_ends_the_bot_too(terminal: Open, env_file: Path, chat: SimBot) -> None:
    with_token(env_file)
    bot = terminal()
    chat.send_text(chat_id=-500, chat_type="group", user_id=OWNER, text=f"/start@whale_test_bot {bot.link()}")
    bot.wait("link has expired")
    assert bot.wait_exit() == 78
    assert "OWNER_ID" not in env_file.read_text(encoding="utf-8")


def test_an_owner_who_could_not_be_written_down_is_known_after_a_restart_even_without_a_terminal(
    terminal: Open, env_file: Path, chat: SimBot, run_bot: Run
) -> None:
    with_token(env_file)
    env_file.chmod(0o400)
    bot = terminal()
    open_link(chat, bot.link())
    bot.wait("it is read-only")
    bot.wait("database knows the owner")
    chat.wait_text("You now own this bot", chat_id=OWNER)
    bot.type(CTRL_C, enter=False)
    assert bot.wait_exit() == 0
    run_bot(OWNER_ID="", ALLOWED_USERS="").wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/users")
    chat.wait_text(f"{OWNER} ", chat_id=OWNER)


# setup


def test_setup_keeps_what_is_kept_by_enter(terminal: Open, env_file: Path) -> None:
    with_token(env_file, f"OWNER_ID={OWNER}")
    before = env_file.read_bytes()
    setup = terminal("setup")
    setup.answer(PASTE, "")
    setup.answer(f"Owner: user {OWNER}", "")
    setup.wait("Nothing was changed")
    assert setup.wait_exit() == 0
    assert env_file.read_bytes() == before


def test_setup_takes_another_owner_by_number(terminal: Open, env_file: Path) -> None:
    with_token(env_file, f"OWNER_ID={OWNER}")
    setup = terminal("setup")
    setup.answer(PASTE, "")
    setup.answer("Owner:", "me")
    setup.answer("Owner:", str(FRIEND))
    setup.wait("Start the bot")
    assert setup.wait_exit() == 0
    assert env_file.read_text(encoding="utf-8").endswith(f"\nOWNER_ID={FRIEND}\n")


def test_setup_with_a_link_runs_the_bot_until_it_was_opened(terminal: Open, env_file: Path, chat: SimBot) -> None:
    setup = terminal("setup")
    setup.answer(PASTE, TOKEN)
    setup.answer("Owner: none yet", "")
    open_link(chat, setup.link())
    setup.wait("The bot has an owner")
    assert setup.wait_exit() == 0
    chat.wait_text("You now own this bot", chat_id=OWNER)
    assert env_file.read_text(encoding="utf-8").endswith(f"\nOWNER_ID={OWNER}\n")


def test_setup_beside_a_running_bot_has_that_one_take_the_new_owner(
    terminal: Open, env_file: Path, chat: SimBot
) -> None:
    with_token(env_file, f"OWNER_ID={OWNER}")
    bot = terminal()
    bot.wait(POLLING)
    setup = terminal("setup")
    setup.answer(PASTE, "")
    setup.answer("Owner:", "link")
    open_link(chat, setup.link(), user_id=FRIEND)
    setup.wait(f"User {FRIEND} is the owner now")
    assert setup.wait_exit() == 0
    chat.wait_text("You now own this bot", chat_id=FRIEND)
    chat.wait_text("now owns this bot", chat_id=OWNER)
    bot.wait("OWNER_ID was saved")
    assert env_file.read_text(encoding="utf-8").endswith(f"\nOWNER_ID={FRIEND}\n")
    assert all(call.status != 409 for call in chat.calls)


def test_leaving_setup_while_it_waits_voids_the_link(terminal: Open, env_file: Path, chat: SimBot) -> None:
    with_token(env_file, f"OWNER_ID={OWNER}")
    terminal().wait(POLLING)
    setup = terminal("setup")
    setup.answer(PASTE, "")
    setup.answer("Owner:", "link")
    code = setup.link()
    setup.wait("Waiting for you to open it")
    setup.type(CTRL_C, enter=False)
    setup.wait("link has expired")
    assert setup.wait_exit() == 78
    open_link(chat, code, user_id=FRIEND)
    chat.wait_text("This bot is private", chat_id=FRIEND)
