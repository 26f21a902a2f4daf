"""`python bot.py --once`: a round of checks for cron, alone or beside a running bot; no alert and no answer twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import OWNER, TOKEN, BotProcess, Run
from receiver import receiver

from service import state
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.rows import Chat
from store.schedules import Scheduled

POLLING = "Polling: running"
ASKS_SOON = "from service import once; once.REFUSED_REST = 0.1"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guard across folders is Linux's here")


@pytest.fixture
def alerts_on(tmp_path: Path, sim: Simulator) -> Iterator[Store]:
    """The owner has alerts on, and no round was made yet."""
    folder = tmp_path / "data" / TOKEN.partition(":")[0]
    folder.mkdir(parents=True)
    with closing(Store(folder / "bot.db")) as store:
        store.chats.put(Chat(chat_id=OWNER, added_by=OWNER))
        for symbol in ("BTC", "ETH"):
            sim.market.trade("binance", symbol, "buy", 50_000.0, 0.01, at_ms=int((time.time() - 3600) * 1000))
        yield store


@pytest.fixture
def subscribed(alerts_on: Store, sim: Simulator) -> Store:
    """And one round was made: it knows where to read on."""
    for symbol in ("BTC", "ETH"):
        unread = sim.market.trade("binance", symbol, "buy", 50_000.0, 0.01)
        alerts_on.markets.set_cursor("Binance spot", symbol, str(unread.id), at=time.time())
    return alerts_on


def once(run_bot: Run, *, before: str = "", **settings: str) -> BotProcess:
    return run_bot("--once", before=before, **settings)


def whale(sim: Simulator) -> None:
    sim.market.sweep("binance", "BTC", "sell", usd=2_000_000, fills=10, price=50_000.0)


def alerts(chat: SimBot) -> int:
    return sum("BTC sell" in words for words in chat.texts(OWNER))


def test_a_round_answers_what_is_due_once(run_bot: Run, chat: SimBot, subscribed: Store) -> None:
    due = Scheduled(chat_id=OWNER, user_id=OWNER, rule="every 4h", command="price BTC", at=time.time() - 60)
    subscribed.schedules.add(due)
    for _ in range(2):
        assert once(run_bot).wait_exit() == 0
    assert sum("BTC 50,000" in words for words in chat.texts(OWNER)) == 1


@pytest.mark.usefixtures("subscribed")
def test_a_round_sends_an_alert_to_another_place_once_also_after_one_in_which_it_failed(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    with receiver() as hook:
        chat.send_text(OWNER, f"/out add {hook.url}/hook")
        assert once(run_bot, OUT_PRIVATE="true").wait_exit() == 0
        assert [one["monitor"] for one in hook.alerts()] == ["test"]
        whale(sim)
        hook.status = 503
        soon = "from alerts import places; places.FIRST_PAUSE = 0.5"
        assert once(run_bot, before=soon, OUT_PRIVATE="true").wait_exit() == 0
        assert alerts(chat) == 1, "Telegram has it"
        assert len(hook.alerts()) == 1 and hook.asked >= 2
        hook.status = 200
        ends_at = time.monotonic() + 60
        while len(hook.alerts()) < 2:  # it is tried again in the first round after a pause
            assert time.monotonic() < ends_at
            assert once(run_bot, OUT_PRIVATE="true").wait_exit() == 0
        assert once(run_bot, OUT_PRIVATE="true").wait_exit() == 0
        assert [(one["monitor"], one["symbol"]) for one in hook.alerts()][1:] == [("whales", "BTC")]
        assert alerts(chat) == 1


@pytest.mark.usefixtures("alerts_on")
def test_a_round_delivers_what_came_since_the_last_one_and_ends_with_0(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    assert once(run_bot).wait_exit() == 0
    whale(sim)
    round_ = once(run_bot)
    assert round_.wait_exit() == 0
    assert "delivered in" in round_.output
    assert once(run_bot).wait_exit() == 0
    assert alerts(chat) == 1
    assert chat.count("getUpdates") == 0, "nothing is unread: a copy elsewhere is not disturbed"


@pytest.mark.usefixtures("subscribed")
def test_a_round_answers_what_was_typed_since_the_last_one_and_once(run_bot: Run, chat: SimBot) -> None:
    for number in range(3):
        chat.send_text(chat_id=OWNER, text=f"/ping {number}", date=int(time.time()) - 3600)
    chat.send_text(chat_id=OWNER, text="/mute 2h")
    assert once(run_bot).wait_exit() == 0
    assert once(run_bot).wait_exit() == 0
    assert [words for words in chat.texts(OWNER) if words.startswith("pong")] == ["pong 0", "pong 1", "pong 2"]
    assert sum("All alerts muted" in words for words in chat.texts(OWNER)) == 1
    assert chat.pending == 0


@pytest.mark.usefixtures("subscribed")
@pytest.mark.parametrize("reached", ["getUpdates", "sendMessage"])
def test_a_round_that_is_killed_leaves_everything_to_the_next_one_and_nothing_comes_twice(
    run_bot: Run, chat: SimBot, sim: Simulator, reached: str
) -> None:
    chat.send_text(chat_id=OWNER, text="/ping")
    whale(sim)
    fault = sim.fault(method="sendMessage", kind="hang")  # Telegram does not get it
    killed = once(run_bot)
    sim.wait(lambda: chat.count(reached), what=f"the round reaches {reached}")
    killed.kill()
    fault.clear()
    for _ in range(2):
        assert once(run_bot).wait_exit() == 0
    assert chat.texts(OWNER).count("pong") == 1
    assert alerts(chat) == 1
    assert chat.pending == 0


@pytest.mark.usefixtures("subscribed")
def test_settings_typed_since_the_last_round_hold_for_the_alerts_of_this_one(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    chat.send_text(chat_id=OWNER, text="/mute 2h", date=int(time.time()) - 300)
    whale(sim)
    assert once(run_bot).wait_exit() == 0
    chat.send_text(chat_id=OWNER, text="/mute off")
    assert once(run_bot).wait_exit() == 0
    assert alerts(chat) == 0


@pytest.mark.usefixtures("subscribed")
def test_what_a_copy_elsewhere_is_about_to_read_is_left_to_it(run_bot: Run, chat: SimBot, tmp_path: Path) -> None:
    elsewhere = run_bot(DATA_DIR=str(tmp_path / "other"), LOCK_SCOPE="folder")
    elsewhere.wait_output(POLLING)
    chat.send_text(chat_id=OWNER, text="/ping")
    assert once(run_bot, LOCK_SCOPE="folder").wait_exit() == 0
    chat.wait_text("pong", chat_id=OWNER)
    assert "Conflict" not in elsewhere.output
    assert elsewhere.stop()[0] == 0


@pytest.mark.usefixtures("subscribed")
def test_beside_a_running_bot_it_waits_for_that_bots_round_and_no_alert_comes_twice(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    bot = run_bot()
    bot.wait_output(POLLING)
    whale(sim)
    round_ = once(run_bot)
    assert round_.wait_exit() == 0
    assert "The bot is already running" in round_.output
    chat.wait_text("BTC sell", chat_id=OWNER)
    assert alerts(chat) == 1
    assert bot.stop()[0] == 0


@pytest.mark.usefixtures("subscribed")
def test_a_round_beside_another_round_waits_for_its_end_and_makes_its_own(
    run_bot: Run, chat: SimBot, sim: Simulator
) -> None:
    whale(sim)
    fault = sim.fault(method="sendMessage", kind="slow_first_byte", seconds=18.0)
    first = once(run_bot)
    sim.wait(lambda: chat.count("sendMessage"), what="the round sends")
    second = once(run_bot)
    second.wait_output("Waiting for a `--once` round to finish")
    fault.clear()
    assert first.wait_exit() == 0
    assert second.wait_exit() == 0
    assert "Checked and delivered in" in second.output
    assert alerts(chat) == 1


@pytest.mark.usefixtures("subscribed")
def test_beside_a_bot_whose_alerts_are_paused_it_says_so_at_once(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    bot = run_bot(before="import monitors; monitors.STATUS_EVERY = 0.2", ON_CONFLICT="pause")
    bot.wait_output(POLLING)
    sim.wait(lambda: chat.polling, what="a long poll")
    with chat.rival(timeout=30):
        sim.wait(lambda: (state.read(bot.folder) or {}).get("alerts_paused"), what="standby")
        round_ = once(run_bot)
        assert round_.wait_exit() == 69
    assert "waiting for its next round" in round_.output
    assert "Its alerts are paused while another copy answers" in round_.output


@linux
@pytest.mark.usefixtures("subscribed")
def test_beside_a_bot_of_another_folder_it_cannot_work_and_says_who_that_is(run_bot: Run, tmp_path: Path) -> None:
    bot = run_bot(DATA_DIR=str(tmp_path / "other"))
    bot.wait_output(POLLING)
    round_ = once(run_bot)
    assert round_.wait_exit() == 75
    assert str(bot.pid) in round_.output


@pytest.mark.usefixtures("subscribed")
def test_without_telegram_the_alert_waits_for_the_next_round(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    whale(sim)
    fault = sim.fault(method="*", kind="reset")
    round_ = once(run_bot)
    assert round_.wait_exit() == 69
    assert "Not delivered: 1 message" in round_.output
    fault.clear()
    assert once(run_bot).wait_exit() == 0
    assert alerts(chat) == 1


@pytest.mark.usefixtures("subscribed")
def test_a_refused_token_ends_the_round_with_77_and_is_logged_once(run_bot: Run, sim: Simulator) -> None:
    whale(sim)
    sim.market.sweep("binance", "ETH", "sell", usd=2_000_000, fills=10, price=50_000.0)
    sim.revoke(TOKEN)
    ended = once(run_bot, before=ASKS_SOON)
    assert ended.wait_exit() == 77
    assert "internet" not in ended.output
    assert ended.output.count("refuses the token") == 1
    assert "Not delivered: 2 messages" in ended.output


@pytest.mark.usefixtures("subscribed")
def test_one_stray_refusal_does_not_end_the_round(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    whale(sim)
    sim.fault(method="sendMessage", kind="status", code=401, description="Unauthorized", times=1)
    assert once(run_bot).wait_exit() == 0
    assert alerts(chat) == 1


def test_a_refused_token_ends_with_77_also_when_nothing_waits(run_bot: Run, sim: Simulator) -> None:
    sim.revoke(TOKEN)
    assert once(run_bot, before=ASKS_SOON).wait_exit() == 77


@pytest.mark.usefixtures("subscribed")
def test_a_bot_that_is_started_during_a_round_waits_for_its_end(run_bot: Run, chat: SimBot, sim: Simulator) -> None:
    whale(sim)
    fault = sim.fault(method="sendMessage", kind="slow_first_byte", seconds=18.0)
    round_ = once(run_bot)
    sim.wait(lambda: chat.count("sendMessage"), what="the round sends")
    bot = run_bot(before="from service import run as process; process.START_GRACE = 0.2")
    bot.wait_output("Waiting for a `--once` round to finish")
    fault.clear()
    assert round_.wait_exit() == 0
    bot.wait_output(POLLING)
    assert alerts(chat) == 1
