"""The computer's clock is wrong, or jumps in mid-run, both ways: every feature with a time goes on as it should."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import OWNER, TOKEN, Run

from botapi.storage import ALERTS
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.rows import Alert, Chat, User
from store.schedules import Scheduled

HOUR, YEAR = 3600.0, 365 * 86400.0
MUTED, WAS_MUTED, QUIET, AWAKE, DIGEST, FULL = range(11, 17)
GETS = {WAS_MUTED, AWAKE, DIGEST}


@pytest.fixture
def wall(tmp_path: Path) -> tuple[str, Callable[[float], None]]:
    """Code that makes the bot's process read its clock from a file, and what moves that clock by so many seconds."""
    path = tmp_path / "moved"

    def move(seconds: float) -> None:
        new = path.with_suffix(".new")
        new.write_text(str(seconds), encoding="utf-8")
        new.replace(path)

    move(0.0)
    code = f"import time; real = time.time; time.time = lambda: real() + float(open({str(path)!r}).read())"
    return code, move


def between(start: float, end: float) -> str:
    """Quiet hours in UTC from and to so many seconds from now."""
    return "-".join(time.strftime("%H:%M", time.gmtime(time.time() + at)) for at in (start, end))


def prepare(path: Path) -> None:
    path.parent.mkdir(parents=True)
    store, now = Store(path), time.time()
    chats = {
        MUTED: {"muted_until": now + HOUR},
        WAS_MUTED: {"muted_until": now - 60, "symbol_mutes": {"BTC": now - 60}},
        QUIET: {"quiet": between(-HOUR, HOUR)},
        AWAKE: {"quiet": between(2 * HOUR, 4 * HOUR)},
        DIGEST: {"quiet": between(-4 * HOUR, -2 * HOUR)},
        FULL: {"hourly_cap": 1},
    }
    for chat_id, settings in chats.items():
        store.chats.put(Chat(chat_id=chat_id, added_by=OWNER, **settings))  # type: ignore[arg-type]
    for chat_id, rule, at in ((AWAKE, "09:00", now + 1000 * 86400), (DIGEST, "every 12h", now + 2 * HOUR)):
        store.schedules.add(Scheduled(chat_id=chat_id, user_id=OWNER, rule=rule, command="digest", at=at))
    store.messages.enqueue(FULL, "sendMessage", {"text": "."}, now=now, lane=ALERTS, bundle="whales:ETH:loud")
    for name, at in (("yesterday", now - 86400), ("ahead", now + 3 * HOUR)):
        alert = Alert(
            key=name, monitor="whales", symbol="SOL", side="buy", usd=5e6, headline="", at_ms=int(at * 1000),
            venue="", url="",
        )  # fmt: skip
        store.messages.add_alert(alert, now=at)
        store.fan_out.hold([AWAKE], name, why="muted", at=at)
    # A clock that was ahead has marked this: its hour would never be over.
    store.fan_out.hold([WAS_MUTED], "ahead", why="cap", at=now + 3 * HOUR)
    store.chats.put_user(User(user_id=99, at=now, answered_at=now - 60))
    store.close()


@pytest.mark.parametrize("in_mid_run", [False, True], ids=["from the start", "in mid-run"])
@pytest.mark.parametrize("wrong", [3 * HOUR, -3 * HOUR, 3 * YEAR, -3 * YEAR], ids=["+3 h", "-3 h", "+3 y", "-3 y"])
def test_no_feature_with_a_time_goes_by_the_computers_clock(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path, wall: tuple[str, Callable[[float], None]],
    wrong: float, in_mid_run: bool,
) -> None:  # fmt: skip
    code, move = wall
    path = tmp_path / "data" / TOKEN.partition(":")[0] / "bot.db"
    prepare(path)
    for chat_id in range(11, 17):
        chat.add_chat(chat_id)
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    if not in_mid_run:
        move(wrong)
    bot = run_bot(before=code)
    bot.wait_output("Polling: running")
    chat.wait_text("Held back: 1 alert", chat_id=WAS_MUTED)
    store = Store(path)
    sim.wait(lambda: store.markets.cursor("Binance spot", "BTC"), what="the first look at the market")
    if in_mid_run:
        move(wrong)
    sim.market.sweep("binance", "BTC", "sell", usd=2_000_000, fills=10, price=50_000.0)
    for chat_id in GETS:
        chat.wait_text("BTC sell", chat_id=chat_id)
    sim.wait(lambda: store.messages.held(QUIET) and store.messages.held(FULL), what="it is held back")
    chat.send_text(chat_id=MUTED, user_id=OWNER, text="/mute")
    assert "Muted until" in chat.wait_text("uted", chat_id=MUTED).text
    chat.send_text(chat_id=99, user_id=99, text="/start")
    chat.send_text(chat_id=OWNER, text="/status")
    status = chat.wait_text("Running for", chat_id=OWNER).text
    assert not {" h ", " d "} & {status.partition("\n")[0].partition(" on ")[0][-6:-3]}, status
    if in_mid_run:
        move(0.0)
        chat.send_text(chat_id=OWNER, text="/ping back")
        chat.wait_text("pong back", chat_id=OWNER)
    for chat_id in (MUTED, QUIET, FULL):
        assert not any("BTC sell" in words for words in chat.texts(chat_id)), chat_id
    for chat_id in (AWAKE, DIGEST):
        assert not any("Digest" in words for words in chat.texts(chat_id))
    assert not chat.texts(99), "answered a minute ago"
    later = [store.schedules.next_digest(chat_id) for chat_id in (AWAKE, DIGEST)]
    assert all(at and 0 < at - time.time() < 86400 for at in later), "a plan beyond its rule was made again"
    assert store.messages.muted_since(AWAKE, 0) == 2, "nothing was deleted by that clock"
    store.close()
    assert bot.stop()[0] == 0
