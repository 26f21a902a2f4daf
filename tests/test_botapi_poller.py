"""The poller, step by step, against the simulator's real 409, offset and webhook rules."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import telebot
from conftest import OWNER, TOKEN, WINE

import base.clock
from access import Access
from base import text
from botapi import conflict, longpoll
from botapi.client import Telegram
from botapi.conflict import ConflictPolicy
from botapi.events import PollerEvents
from botapi.poller import MARK_EVERY, STORE_REST, Poller
from botapi.storage import StoreError
from commands.context import Context
from commands.dispatch import Commands
from commands.inbox import Inbox
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store
from store.coins import Coins

RETRY = conflict.RETRY_REST
LOOK = conflict.longer(conflict.STANDBY_REST, 0.5)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(conflict_hold=0.1) as simulator:  # the server's 3 s between two 409s, shortened
        yield simulator


class Clock:
    def __init__(self) -> None:
        self.mono = 1000.0
        self.ahead = 0.0  # how far our clock is ahead of the server's

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return self.mono


class Rig:
    """A Poller with its neighbours; `step()` runs one step in a thread, as the Worker would."""

    def __init__(self, sim: Simulator, chat: SimBot, store: Store, *, jitter: float = 0.5, **options: Any) -> None:
        self.sim, self.chat, self.store = sim, chat, store
        # Seconds to rest between two looks: of a copy that comes, and of one that was there.
        self.look_again = (longpoll.LOOK_AGAIN * (1 + jitter * 1.8), longpoll.LOOK_AGAIN * (1 + jitter * 0.1))
        self.threads: list[threading.Thread] = []
        self.clock = Clock()
        self.told: list[str] = []
        self.ended: list[tuple[int, str]] = []
        self.connected: list[str] = []
        self.news = self.reached = 0
        self.half_a_second = threading.Event()
        self.telegram = Telegram(TOKEN, sim.url, clock=base.clock.Clock(wall=self.clock.now))
        access = Access(store, owner_id=OWNER, allowed_users=frozenset(), now=self.server_time)
        desk = Context(
            store,
            access,
            symbols=Coins(store, ("BTC",)),
            now=self.server_time,
            default_min=lambda monitor, symbol: 1e6,
        )
        self.inbox = Inbox(store, access, Commands(desk), stale_after=600.0, now=self.server_time)
        self.poller = Poller(
            self.telegram,
            store,
            self.inbox,
            events=PollerEvents(
                connected=self.connected.append,
                end=lambda code, words: self.ended.append((code, words)),
                tell_owner=lambda words, pauses: self.told.append(words),
                changed=self._count,
                reached=self._count_reached,
            ),
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            jitter=lambda: jitter,
            long_poll=options.pop("long_poll", 4 if WINE else 20),
            **options,
        )

    def _count(self) -> None:
        self.news += 1

    def _count_reached(self) -> None:
        self.reached += 1

    def server_time(self) -> float:
        return self.telegram.clock()

    def step(self) -> float:
        """Step until the rest is more than that between two looks at updates which may be someone else's."""
        while (rest := self.poller.step()) in self.look_again:
            self.half_a_second.wait(0.02)  # which the server gives one update only in; here it is as short as this
        return rest

    def begin(self) -> Callable[[], float]:
        """Start a step; the returned function waits for its end and gives the rest it asked for."""
        rest: list[float] = []
        thread = threading.Thread(target=lambda: rest.append(self.step()), daemon=True)
        self.threads.append(thread)
        thread.start()

        def finish() -> float:
            thread.join(30)
            assert rest, "the step did not end"
            return rest[0]

        return finish

    def connect(self) -> None:
        """Connect and clear the webhook: the next step polls."""
        while self.poller._state != self.poller._poll:
            assert self.poller.step() == 0

    def polling(self) -> Callable[[], float]:
        """Begin a poll and wait until it lies at the server."""
        finish = self.begin()
        self.sim.wait(lambda: self.chat.polling, what="a long poll in flight")
        return finish

    def polling_for_long(self) -> Callable[[], float]:
        """Begin to poll, have an update answered, and wait until the next poll lies at the server."""
        self.chat.updates.add({"message": {}})
        finish = self.begin()
        self.sim.wait(lambda: self.chat.polling and not self.chat.pending, what="a long poll after an update")
        return finish

    def answers(self) -> list[str]:
        return [self.store.delivery(row[0]).payload["text"] for row in self.store.pending()]  # type: ignore[union-attr]


@pytest.fixture
def make(sim: Simulator, chat: SimBot, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []
    store = Store(tmp_path / "bot.db")

    def build(**options: Any) -> Rig:
        rigs.append(Rig(sim, chat, store, **options))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.poller.stop(1.0)
        for thread in rig.threads:  # a step that still runs must not meet a closed store
            thread.join(30)
    store.close()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()


def rival_polls_once(rig: Rig) -> None:
    """Another program's getUpdates, without waiting for its end."""
    rig.chat.rival(timeout=30, pause=3600)


def test_the_one_private_flag_of_the_library_is_still_there() -> None:
    bot = telebot.TeleBot(TOKEN, threaded=False)
    flag = bot._TeleBot__stop_polling  # type: ignore[attr-defined]
    assert isinstance(flag, threading.Event)
    bot.stop_polling()  # type: ignore[no-untyped-call]
    assert flag.is_set()


def test_the_start_checks_the_token_and_changes_nothing_where_there_is_no_webhook(rig: Rig) -> None:
    rig.connect()
    assert sorted(call.method for call in rig.chat.calls) == ["getMe", "getWebhookInfo"]


def test_the_start_removes_a_webhook_and_verifies_it_also_where_it_could_not_ask_for_it(rig: Rig) -> None:
    rig.sim.fault("getWebhookInfo", kind="html502", times=1)
    rig.connect()
    assert [call.method for call in rig.chat.calls][2:] == ["deleteWebhook", "getWebhookInfo"]


def test_a_bot_is_told_to_be_connected_once_however_often_its_updates_could_not_be_dropped(
    make: Callable[..., Rig],
) -> None:
    rig = make(drop_pending=True)
    rig.chat.send_text(chat_id=OWNER, text="/ping old")
    rig.sim.fault("deleteWebhook", kind="html502", times=2)
    for _ in range(3):
        rig.poller.step()
    assert rig.connected == ["whale_test_bot"]
    assert rig.chat.pending == 0


def test_a_server_whose_bot_has_no_user_name_is_no_trouble(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    del rig.chat.chats.me["username"]
    rig.connect()
    assert rig.connected == [""]
    rig.chat.send_text(chat_id=OWNER, text="/ping")
    finish = rig.begin()
    rig.sim.wait(lambda: "Polling: running as a bot without a user name" in caplog.text, what="polling")
    rig.poller.stop(1.0)
    finish()


def test_polling_counts_as_running_only_after_a_good_answer(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig.connect()
    rig.sim.fault(method="getUpdates", kind="html502", times=1)
    rig.poller.step()
    assert "running" not in caplog.text
    rig.chat.send_text(chat_id=OWNER, text="/ping")
    finish = rig.begin()
    rig.sim.wait(lambda: "running as" in caplog.text, what="the line that polling runs")
    rig.poller.stop(1.0)
    finish()


def test_a_webhook_at_the_start_is_named_removed_and_its_waiting_updates_are_answered(rig: Rig) -> None:
    rig.chat.set_webhook_as_foreigner("https://hook.example.net/secret-path")
    rig.chat.send_text(chat_id=OWNER, text="/ping one")
    rig.connect()
    finish = rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong one"], what="the answer")
    assert rig.chat.webhook_url == ""
    assert len(rig.told) == 1
    assert "hook.example.net" in rig.told[0]
    assert "secret-path" not in rig.told[0]
    rig.poller.stop(1.0)
    finish()


def test_a_conflict_of_the_very_first_poll_is_retried_once_then_stood_by(rig: Rig) -> None:
    rig.connect()
    finish = rig.polling()
    rig.chat.rival(timeout=30, pause=0.0)
    assert finish() == RETRY
    assert rig.step() == LOOK
    assert len(rig.told) == 1


def test_an_older_copy_stands_by_at_once_and_then_asks_for_no_updates(rig: Rig) -> None:
    rig.connect()
    finish = rig.polling_for_long()
    rival_polls_once(rig)
    assert finish() == LOOK
    before = rig.chat.count("getUpdates")
    for _ in range(5):
        assert rig.poller.step() == LOOK
    assert rig.chat.count("getUpdates") == before
    assert len(rig.told) == 1
    assert "the other is not on" in rig.told[0]


def test_an_update_without_a_number_is_no_busy_loop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can never be confirmed, so a server that sends one would send it again at once, for ever."""
    rig.connect()
    asked: list[int] = []

    def updates(offset: int, **more: Any) -> list[dict[str, Any]]:
        asked.append(offset)
        return [{"message": {}}] if len(asked) < 50 else []

    monkeypatch.setattr(rig.telegram, "updates", updates)
    assert rig.step() >= 0.75
    assert len(asked) == 1


def test_a_server_that_does_not_wait_for_updates_is_polled_at_most_twice_a_second(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.connect()
    asked: list[int] = []

    def updates(offset: int, **more: Any) -> list[dict[str, Any]]:
        asked.append(offset)
        return []

    monkeypatch.setattr(rig.telegram, "updates", updates)
    for polls in range(1, 6):
        assert rig.poller.step() >= 0.5
        assert len(asked) == polls


def test_an_update_that_cannot_be_taken_at_all_does_not_keep_the_next_ones_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug that the inbox itself did not catch: fetched again and again, the bot would be deaf for ever."""
    take = rig.inbox.take

    def bug(raw: dict[str, Any]) -> None:
        if "poison" in str(raw):
            raise KeyError("a bug")
        take(raw)

    monkeypatch.setattr(rig.inbox, "take", bug)
    rig.connect()
    rig.chat.send_text(chat_id=OWNER, text="/ping poison")
    rig.chat.send_text(chat_id=OWNER, text="/ping after it")
    rig.polling()
    rig.sim.wait(lambda: rig.answers() == ["pong after it"], what="the answer to the next command")
    assert "could not be handled and was skipped" in caplog.text


def test_after_a_failure_the_next_poll_is_short(rig: Rig) -> None:
    """So a network that is back is seen soon, and one that ends every long poll still lets commands through."""
    rig.connect()
    rig.polling()
    rig.sim.wait(lambda: rig.poller.polling_state().state == "running", what="polling that runs")
    rig.sim.fault(method="getUpdates", kind="reset", times=1)
    rig.chat.send_text(chat_id=OWNER, text="/ping")  # ends the poll in flight; the next one fails
    rig.sim.wait(lambda: rig.poller.polling_state().failing_since is not None, what="the failure")
    before = len(rig.chat.calls)
    rig.begin()
    rig.sim.wait(lambda: rig.poller.polling_state().failing_since is None, what="polling that works again")
    polls = [call.params["timeout"] for call in rig.chat.calls[before:] if call.method == "getUpdates"]
    assert str(polls[0]) == "1"


def stands_by(rig: Rig) -> None:
    """Polling is ended by a rival, which is gone right after."""
    finish = rig.polling_for_long()
    rival = rig.chat.rival(timeout=30, pause=3600)
    finish()
    rival.kill()


def takes_over(rig: Rig) -> float:
    """The seconds from the first look that sees something unread to the take-over."""
    waited = 0.0
    while rest := rig.poller.step():
        rig.clock.mono += rest
        waited += rest
    return waited


def test_standby_takes_over_when_updates_lie_unread_for_three_seconds(rig: Rig) -> None:
    rig.connect()
    stands_by(rig)
    rig.chat.send_text(chat_id=OWNER, text="/ping again")
    assert conflict.UNREAD <= takes_over(rig) < conflict.UNREAD + 0.1
    finish = rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong again"], what="the answer")
    rig.clock.mono += conflict.UNHARMED
    rig.chat.updates.add({"message": {}})
    rig.sim.wait(lambda: len(rig.told) == 2, what="the all-clear")
    assert "The other copy has stopped" in rig.told[1]
    rig.poller.stop(1.0)
    finish()


@pytest.mark.parametrize("newcomer", [True, False])
@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_a_command_that_comes_as_the_rival_goes_waits_four_and_a_half_seconds_at_most(
    make: Callable[..., Rig], jitter: float, newcomer: bool
) -> None:
    """And three and a half at least, because what a frozen copy has in hand is its own for 3.3 s."""
    rig = make(jitter=jitter)
    rig.connect()
    stands_by(rig)
    rig.poller._bot.has_polled_alone = not newcomer
    waited = rig.poller.step()  # a look just before the command
    rig.chat.send_text(chat_id=OWNER, text="/ping")
    rig.chat.send_text(chat_id=OWNER, text="/ping and more")
    seen = takes_over(rig)
    look_again = rig.poller.step()
    assert rig.answers() == []
    rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong", "pong and more"], what="the answers")
    assert seen + look_again > longpoll.SHORTEST + longpoll.OLD_ANSWER + 0.19
    assert waited + seen + look_again <= 4.45


def test_after_repeated_fights_a_take_over_waits_a_second_longer(rig: Rig) -> None:
    rig.connect()
    for _ in range(3):
        stands_by(rig)
        rig.chat.send_text(chat_id=OWNER, text="/ping")
        waited = takes_over(rig)
    assert conflict.UNREAD_STUBBORN <= waited < conflict.UNREAD_STUBBORN + 0.1
    assert len(rig.told) == 1  # one message an hour, however many fights


def test_a_webhook_set_while_polling_is_removed_at_once_and_the_owner_told_once(rig: Rig) -> None:
    rig.connect()
    finish = rig.polling()
    rig.chat.set_webhook_as_foreigner("https://hook.example.net/x")
    assert finish() == 0  # text (b): terminated by setWebhook
    assert rig.poller.step() == 0
    assert rig.chat.webhook_url == ""
    finish = rig.polling()
    rig.poller.stop(1.0)
    finish()
    assert [("hook.example.net" in words) for words in rig.told] == [True]


def test_a_webhook_that_is_already_active_is_told_from_a_second_poller(rig: Rig) -> None:
    rig.connect()
    rig.chat.set_webhook_as_foreigner("https://hook.example.net/x")
    assert rig.poller.step() == 0  # text (c): can't use getUpdates while a webhook is active
    assert rig.poller.step() == 0
    assert rig.chat.webhook_url == ""
    assert "webhook" in rig.told[0]


def war(rig: Rig, *, webhooks: int, seconds: float) -> None:
    """Someone sets a webhook whenever there is none, so many times at most; so many seconds pass in an instant."""
    ends = rig.clock.mono + seconds
    while rig.clock.mono < ends:
        if webhooks and not rig.chat.webhook_url:
            rig.chat.set_webhook_as_foreigner("https://hook.example.net/x")
            webhooks -= 1
        if not webhooks and not rig.chat.webhook_url:
            return
        rig.clock.mono += rig.step()


def test_an_hour_of_webhook_war_costs_a_call_every_few_seconds_and_the_owner_hears_of_it_twice(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.connect()
    before = len(rig.chat.calls)
    war(rig, webhooks=10_000, seconds=3600)
    made = [call.method for call in rig.chat.calls[before:]]
    assert 5 <= made.count("deleteWebhook") <= 40
    assert len(made) < 600  # a look every 10 s is 360
    assert ["again and again" in words for words in rig.told] == [False, True]
    assert len([line for line in caplog.messages if line.startswith("Webhook")]) == 2


def test_ten_webhooks_are_removed_and_then_commands_are_answered(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig.connect()
    war(rig, webhooks=10, seconds=7200)
    assert rig.chat.webhook_url == ""
    rig.chat.send_text(chat_id=OWNER, text="/ping")
    finish = rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong"], what="the answer")
    rig.clock.mono += conflict.WEBHOOK_QUIET
    rig.chat.updates.add({"message": {}})
    rig.sim.wait(lambda: "min; 10 removals before that" in caplog.text, what="the line of the end")
    rig.poller.stop(1.0)
    finish()
    assert len(rig.told) == 2


def test_a_webhook_that_its_owner_takes_back_is_noticed_within_ten_seconds(rig: Rig) -> None:
    rig.connect()
    war(rig, webhooks=10_000, seconds=600)
    rest = 0.0
    while not rest:
        rig.chat.set_webhook_as_foreigner("https://hook.example.net/x")
        rest = rig.step()
    assert rest <= 10
    rig.chat.set_webhook_as_foreigner("")
    rig.clock.mono += rest
    finish = rig.begin()
    assert finish() == 0
    finish = rig.polling()
    rig.poller.stop(1.0)
    finish()


def test_with_exit_the_bot_gives_up_with_69_after_its_patience(make: Callable[..., Rig]) -> None:
    rig = make(policy=ConflictPolicy(on_conflict="exit", patience=60.0))
    rig.connect()
    finish = rig.polling_for_long()
    rival_polls_once(rig)
    finish()
    rig.clock.ahead = 30
    rig.poller.step()
    assert rig.ended == []
    rig.clock.ahead = 61
    rig.poller.step()
    assert [code for code, _ in rig.ended] == [69]


@pytest.mark.parametrize("by", ["a take-over", "a webhook"])
def test_with_pause_alerts_wait_exactly_as_long_as_this_copy_stands_by(make: Callable[..., Rig], by: str) -> None:
    rig = make(policy=ConflictPolicy(on_conflict="pause"))
    rig.connect()
    finish = rig.polling_for_long()
    assert not rig.poller.polling_state().alerts_paused
    rival = rig.chat.rival(timeout=30, pause=3600)
    finish()
    rival.kill()
    assert rig.poller.polling_state().alerts_paused
    changes = rig.news
    if by == "a webhook":
        rig.chat.set_webhook_as_foreigner("https://hook.example.net/x")
    else:
        rig.chat.send_text(chat_id=OWNER, text="/ping")
        takes_over(rig)
    if by == "a webhook":
        assert rig.poller.step() == 0
    assert not rig.poller.polling_state().alerts_paused
    assert rig.news == changes + 1, "the outbox is woken, so that waiting alerts go out at once"


def refuse(rig: Rig, method: str, code: int, **how: Any) -> None:
    words = {401: "Unauthorized", 404: "Not Found"}
    rig.sim.fault(method=method, kind="status", code=code, description=words[code], **how)


def test_a_start_ends_with_77_when_getme_refuses_the_token_three_times_within_ten_seconds(rig: Rig) -> None:
    rig.sim.revoke(TOKEN)
    rests = [rig.poller.step(), rig.poller.step()]
    assert rig.ended == []
    rig.poller.step()
    assert [code for code, _ in rig.ended] == [77]
    assert sum(rests) < 10
    assert TOKEN not in rig.ended[0][1]


@pytest.mark.parametrize("code", [401, 404])
def test_a_stray_refusal_at_the_start_only_delays_it(rig: Rig, code: int) -> None:
    refuse(rig, "getMe", code, times=2)
    assert rig.poller.step() > 0
    assert rig.poller.step() > 0
    rig.connect()
    assert rig.ended == []


@pytest.mark.parametrize("code", [401, 404])
@pytest.mark.parametrize("method", ["getUpdates", "getWebhookInfo", "deleteWebhook"])
def test_a_stray_refusal_in_mid_run_is_logged_and_costs_a_moment(
    rig: Rig, method: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert rig.poller.step() == 0
    if method != "getUpdates":
        rig.chat.set_webhook_as_foreigner("https://hook.example.net/x")
    refuse(rig, method, code, times=1)
    rig.chat.send_text(chat_id=OWNER, text="/ping")
    rests: list[float] = []

    def run() -> None:
        while not rig.answers():
            rests.append(rig.step())

    rig.threads.append(threading.Thread(target=run, daemon=True))
    rig.threads[-1].start()
    rig.sim.wait(lambda: rig.answers() == ["pong"], what="the answer")
    assert 0 < max(rests) <= 2
    words = {401: "Telegram refuses the token", 404: "The Bot API server knows no such address"}[code]
    assert caplog.text.count(words) == 1
    assert rig.ended == []
    rig.poller.stop(1.0)


def test_in_mid_run_the_bot_ends_with_77_after_getme_has_refused_the_token_for_three_minutes(rig: Rig) -> None:
    rig.connect()
    began = rig.clock.mono
    rig.sim.revoke(TOKEN)
    while not rig.ended and rig.clock.mono < began + 600:
        rig.clock.mono += rig.poller.step()
    assert [code for code, _ in rig.ended] == [77]
    assert 180 <= rig.clock.mono - 3600 - began < 190


def test_only_getme_decides_and_one_good_answer_of_it_starts_the_three_minutes_anew(rig: Rig) -> None:
    rig.connect()
    began = rig.clock.mono
    refuse(rig, "getUpdates", 401)
    while rig.clock.mono < began + 1000:
        rig.clock.mono += rig.poller.step()
    assert rig.ended == []
    refuse(rig, "getMe", 401)
    began = rig.clock.mono
    while rig.clock.mono < began + 170:
        rig.clock.mono += rig.poller.step()
    rig.sim.clear_faults()
    refuse(rig, "getUpdates", 401, times=1)
    rig.clock.mono += rig.poller.step()
    refuse(rig, "getMe", 401)
    began = rig.clock.mono
    while rig.clock.mono < began + 170:
        rig.clock.mono += rig.poller.step()
    assert rig.ended == []


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        ("html502", [1, 2, 4, 8], 60),
        ("status", [1, 2, 4, 8], 60),
        ("garbage200", [1, 2, 4, 8], 60),
        ("null", [1, 2, 4, 8], 60),
        ("not_ok_without_fields", [1, 2, 4, 8], 60),
        ("reset", [1, 2, 2, 2], 2),
        ("close", [1, 2, 2, 2], 2),
    ],
)
def test_an_unusable_answer_is_retried_after_growing_rests_and_logged_once(
    rig: Rig, kind: str, first: list[float], last: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig.connect()
    fault = rig.sim.fault(method="getUpdates", kind=kind)
    rests = [rig.poller.step() for _ in range(9)]
    for rest, most in zip([*rests[:4], rests[-1]], [*first, last], strict=True):
        assert most - 0.9 < rest <= most  # less what a lost try took
    assert caplog.text.count("Trying again") == 1
    fault.clear()
    rig.chat.send_text(chat_id=OWNER, text="/ping")
    finish = rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong"], what="the answer after the trouble")
    assert caplog.text.count("answers again") == 1
    assert rig.reached == 1
    rig.poller.stop(1.0)
    finish()


def test_a_429_is_obeyed_to_the_second(rig: Rig) -> None:
    rig.connect()
    rig.sim.fault(method="getUpdates", kind="retry_after", retry_after=17, times=1)
    assert rig.poller.step() == pytest.approx(17.1)


def test_an_update_that_cannot_be_read_costs_no_neighbour(rig: Rig) -> None:
    rig.chat.send_text(chat_id=OWNER, text="/ping before")
    rig.chat.updates.add({"message": {"message_id": "?", "date": None, "chat": []}})
    rig.chat.send_text(chat_id=OWNER, text="/ping after")
    rig.connect()
    finish = rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong before", "pong after"], what="both neighbours answered")
    rig.sim.wait(lambda: rig.chat.pending == 0, what="all three confirmed")
    rig.poller.stop(1.0)
    finish()


def test_what_the_store_could_not_take_is_not_confirmed_and_comes_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(raw: dict[str, Any]) -> None:
        raise StoreError("the disk is full")

    rig.connect()
    rig.chat.send_text(chat_id=OWNER, text="/ping kept")
    with monkeypatch.context() as patch:
        patch.setattr(rig.inbox, "take", full)
        assert rig.step() == STORE_REST
    assert rig.chat.pending == 1
    finish = rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong kept"], what="the command after the trouble")
    rig.poller.stop(1.0)
    finish()


def test_a_stop_in_a_quiet_poll_sends_no_farewell(rig: Rig) -> None:
    rig.connect()
    finish = rig.polling()
    before = rig.chat.count("getUpdates")
    rig.poller.stop(1.0)
    finish()
    assert rig.chat.count("getUpdates") == before


def test_commands_older_than_the_limit_are_not_run_but_told_of_once(rig: Rig) -> None:
    old = rig.clock.now() - 3600
    for n in range(3):
        rig.chat.send_text(chat_id=OWNER, text=f"/ping {n}", date=int(old))
    rig.chat.send_text(chat_id=OWNER, text="/ping now")
    rig.connect()
    finish = rig.begin()
    rig.sim.wait(lambda: len(rig.answers()) == 2, what="one answer and one line")
    assert rig.answers()[0] == "pong now"
    assert "3 old commands" in rig.answers()[1]
    rig.poller.stop(1.0)
    finish()


def test_the_line_about_old_commands_says_since_when_the_bot_was_away(make: Callable[..., Rig]) -> None:
    rig = make()
    now = rig.clock.now()
    rig.store.set_value("last_poll", str(now - 7200))
    away = make()
    away.connect()
    away.chat.send_text(chat_id=OWNER, text="/ping", date=int(now - 3600))
    away.begin()
    away.sim.wait(away.answers, what="the line")
    assert f"offline from {text.clock(now - 7200, now=now)}" in away.answers()[0]


def test_old_commands_that_fill_a_whole_batch_are_told_of_when_nothing_more_comes(
    make: Callable[..., Rig],
) -> None:
    rig = make(long_poll=1)
    for n in range(101):  # the first one is taken alone
        rig.chat.send_text(chat_id=OWNER, text=f"/ping {n}", date=int(rig.clock.now() - 3600))
    rig.connect()
    rig.begin()
    rig.sim.wait(lambda: "101 old commands" in "".join(rig.answers()), what="the line")


def test_a_stop_notes_when_the_bot_last_polled_and_trouble_does_not(rig: Rig) -> None:
    """Each note is a write to the disk."""
    now = time.time()
    rig.clock.ahead = base.clock.slot(now, MARK_EVERY) - now  # else the next slot may begin in these 50 seconds
    rig.connect()
    finish = rig.polling_for_long()
    first = rig.store.value("last_poll")
    rig.clock.ahead += 50.0
    rig.chat.updates.add({"message": {}})
    rig.sim.wait(lambda: rig.chat.polling and not rig.chat.pending, what="a poll after another update")
    rival_polls_once(rig)
    finish()
    assert rig.store.value("last_poll") == first
    rig.poller._state = rig.poller._poll
    finish = rig.polling()
    rig.poller.stop(1.0)
    finish()
    assert float(rig.store.value("last_poll") or 0) >= float(first or 0) + 50


def test_the_end_of_a_conflict_that_the_owner_was_not_told_of_is_not_told_either(rig: Rig) -> None:
    rig.connect()
    for _ in range(2):
        stands_by(rig)
        rig.chat.send_text(chat_id=OWNER, text="/ping")
        takes_over(rig)
        rig.clock.mono += conflict.UNHARMED_MOST
        rig.poller._polling_since = 0.0
        rig.poller._polled(0)
        assert rig.poller.conflict_state().since is None
    assert [words.partition(" ")[0] for words in rig.told] == ["Two", "The"]


def test_a_start_that_cannot_ask_for_a_webhook_does_not_say_that_there_is_one(rig: Rig) -> None:
    rig.sim.fault("getWebhookInfo", kind="html502", times=1)
    assert rig.poller.step() == 0
    assert rig.poller.polling_state().state == "connecting"


def test_a_409_ends_an_outage(rig: Rig) -> None:
    rig.connect()
    rig.sim.fault(method="getUpdates", kind="reset", times=1)
    rig.poller.step()
    assert rig.poller.polling_state().failing_since is not None
    finish = rig.polling()
    rival_polls_once(rig)
    finish()
    assert rig.poller.polling_state().failing_since is None
    assert rig.reached == 1


def test_a_wrong_clock_makes_no_command_look_old(rig: Rig) -> None:
    rig.clock.ahead = 7200.0
    rig.connect()
    rig.chat.send_text(chat_id=OWNER, text="/ping")
    finish = rig.begin()
    rig.sim.wait(lambda: rig.answers() == ["pong"], what="the answer")
    rig.poller.stop(1.0)
    finish()


def test_after_a_week_without_updates_the_old_offset_is_not_trusted(rig: Rig, make: Callable[..., Rig]) -> None:
    rig.store.set_value("inbox", f"900000000 {rig.clock.now() - 8 * 86400}")
    later = make()
    later.connect()
    later.chat.send_text(chat_id=OWNER, text="/ping")  # the simulator's ids are lower than the old mark
    finish = later.begin()
    later.sim.wait(lambda: later.answers() == ["pong"], what="the answer")
    later.poller.stop(1.0)
    finish()


@pytest.mark.parametrize("alive", [True, False])
def test_a_command_that_another_copy_has_in_hand_is_left_to_it_unless_that_copy_is_dead(
    rig: Rig, alive: bool
) -> None:
    other = Telegram(TOKEN, rig.sim.url)
    rig.connect()
    update = rig.chat.send_text(chat_id=OWNER, text="/ping")
    assert [found["update_id"] for found in other.updates(0, timeout=1)] == [update]
    rests: list[float] = []
    looking = threading.Thread(target=lambda: rests.append(rig.poller.step()), daemon=True)
    looking.start()
    looking.join(30)
    assert rests == [rig.look_again[0]]
    assert rig.answers() == []
    if alive:
        other.updates(update + 1, timeout=0)  # it has handled it
    finish = rig.begin()
    rig.sim.wait(lambda: rig.chat.polling and not rig.chat.pending, what="the next long poll")
    rig.chat.send_text(chat_id=OWNER, text="/ping next")
    rig.sim.wait(lambda: "pong next" in rig.answers(), what="the next answer")
    assert rig.answers() == (["pong next"] if alive else ["pong", "pong next"])
    rig.poller.stop(1.0)
    finish()


def test_of_a_backlog_a_newcomer_takes_one_command_first_so_that_another_one_sees_that_it_reads(rig: Rig) -> None:
    first = rig.chat.send_text(chat_id=OWNER, text="/ping 0")
    for number in range(1, 5):
        rig.chat.send_text(chat_id=OWNER, text=f"/ping {number}")
    rig.connect()
    finish = rig.begin()
    rig.sim.wait(
        lambda: len(rig.answers()) == 5 and rig.chat.count("getUpdates") >= 4, what="answers and a poll after"
    )
    offsets = [call.params["offset"] for call in rig.chat.calls if call.method == "getUpdates"]
    assert offsets[:4] == ["0", "0", str(first + 1), str(first + 5)]
    rig.poller.stop(1.0)
    finish()


def test_the_farewell_after_a_command_confirms_it_and_disturbs_no_successor(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes a short poll with the offset of the last 3 s a long one, which would end the newcomer's."""
    reached, go_on = threading.Event(), threading.Event()
    take = rig.inbox.take

    def slowly(raw: dict[str, Any]) -> None:
        take(raw)
        reached.set()
        assert go_on.wait(30)

    monkeypatch.setattr(rig.inbox, "take", slowly)
    rig.poller.start()
    rig.chat.send_text(chat_id=OWNER, text="/ping last")
    assert reached.wait(30)
    stopping = threading.Thread(target=rig.poller.stop, args=(5.0,))
    stopping.start()
    rig.sim.wait(lambda: rig.poller._bot._ended, what="the stop has begun")
    go_on.set()
    stopping.join(30)
    assert rig.answers() == ["pong last"]
    assert rig.chat.pending == 0
    polls = [call for call in rig.chat.calls if call.method == "getUpdates"]
    assert polls[-1].params["timeout"] == "0"
    rig.poller.stop(1.0)  # again: it would be the same offset, and so a long poll
    assert rig.chat.count("getUpdates") == len(polls)


@pytest.mark.parametrize("pause", [5.0, 60.0])
def test_a_rival_that_comes_back_for_ten_minutes_is_one_conflict_and_few_calls(
    rig: Rig, caplog: pytest.LogCaptureFixture, pause: float
) -> None:
    """The rival polls once every `pause` seconds and reads nothing; time is injected."""
    caplog.set_level(logging.INFO)
    rig.connect()
    finish = rig.polling_for_long()
    rig.chat.rival(timeout=30, pause=3600)
    rig.clock.mono += finish()
    before, began = len(rig.chat.calls), rig.clock.mono
    comes_at = rig.clock.mono
    while rig.clock.mono - began < 600:
        rig.chat.send_text(chat_id=OWNER, text="/ping")
        if rig.poller.polling_state().state == "standby":
            rig.clock.mono += max(rig.step(), 0.1)
            continue
        finish = rig.polling_for_long()
        comes_at = max(comes_at + pause, rig.clock.mono + 1)
        rig.clock.mono = comes_at
        rig.chat.rival(timeout=30, pause=3600)
        rig.clock.mono += finish()
    calls = len(rig.chat.calls) - before
    assert calls < 1200  # fewer than two a second
    assert [words.partition(".")[0] for words in rig.told] == ["Two copies of this bot are running"]
    assert (
        len([line for line in caplog.messages if line.startswith("Conflict")]) == 2
    )  # it began; taken over at first


def test_after_two_hours_offline_the_latest_command_is_answered_and_the_older_ones_are_told_of(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Time is injected; nothing grows meanwhile, and the log has a line for the begin and one for the end."""
    caplog.set_level(logging.INFO)
    rig.connect()
    finish = rig.polling_for_long()
    rig.sim.offline()
    went = rig.clock.mono
    finish()
    threads, rests = threading.active_count(), []
    while rig.clock.mono - went < 7200:
        rests.append(rig.poller.step())
        rig.clock.mono += max(rests[-1], 1.0)
        rig.clock.ahead += max(rests[-1], 1.0)
    assert max(rests) <= 2.5
    assert threading.active_count() <= threads
    # The server's clock has stood still meanwhile, so "two hours ago" is two hours before it.
    rig.clock.ahead = 0.0
    rig.chat.send_text(chat_id=OWNER, text="/ping early", date=int(time.time()) - 7000)
    rig.chat.send_text(chat_id=OWNER, text="/ping late")
    rig.sim.online()
    finish = rig.begin()
    rig.sim.wait(lambda: len(rig.answers()) == 2, what="an answer and a line about the older one")
    assert rig.answers()[0] == "pong late"
    assert "1 old command" in rig.answers()[1]
    lines = [line for line in caplog.messages if line.startswith("Polling: ")]
    assert len(lines) == 3, lines  # it runs; it does not; it does again
    rig.poller.stop(1.0)
    finish()
