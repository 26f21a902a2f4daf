"""Which updates a copy takes: a table of what it saw, on an injected clock. No network, no second process."""

from __future__ import annotations

from typing import Any

import pytest

from base.stopwatch import Stopwatch
from botapi import longpoll
from botapi.errors import Conflict, Unreachable
from botapi.longpoll import PollingBot
from botapi.storage import MemoryStorage, StoreError


class Server:
    """Answers of the Bot API server, one a poll: how long it waited, and the ids of its updates or an error."""

    token = "123456789:TEST-token-of-nobody"

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.offsets: list[int] = []
        self.answers: list[tuple[float, list[int] | Exception]] = []

    def updates(self, offset: int, *, timeout: int, **_: Any) -> list[dict[str, Any]]:
        self.offsets.append(offset)
        if not timeout:
            return []
        waited, found = self.answers.pop(0)
        self.now += waited
        if isinstance(found, Exception):
            raise found
        return [{"update_id": number} for number in found]

    def cut(self) -> None:
        pass


class Desk:
    """An inbox that notes the ids it was given."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.during: Any = lambda: None

    def take(self, raw: dict[str, Any]) -> None:
        self.taken.append(raw["update_id"])
        self.during()

    def tell_stale(self, *, away_since: float | None) -> bool:
        return False


class Copy:
    """One copy: `poll` is one getUpdates with what becomes of its updates."""

    def __init__(self) -> None:
        self.server, self.inbox, self.store = Server(), Desk(), MemoryStorage()
        self.more: list[bool] = []
        self.bot = PollingBot(
            self.server,  # type: ignore[arg-type]
            self.store,
            self.inbox,
            poll_length=lambda: 3,
            on_poll=lambda count: None,
            on_handled=self.more.append,
            now=lambda: self.server.now,
            stopwatch=lambda: Stopwatch((lambda: self.server.now,)),
        )

    def poll(self, *found: int, waited: float = 0.0, error: Exception | None = None) -> list[int]:
        """The ids that were taken of this answer."""
        self.inbox.taken.clear()
        self.server.answers.append((waited, error or list(found)))
        self.bot.process_new_updates(self.bot.get_updates())
        return list(self.inbox.taken)

    def answers(self) -> list[int | None]:
        """The updates whose answers wait to be sent."""
        found = (self.store.delivery(delivery_id) for delivery_id, _, _ in self.store.pending())
        return [answer.update_id for answer in found if answer is not None]

    def answer_each(self) -> None:
        """From now on each update that is taken has an answer that waits."""
        taken = self.inbox.taken
        self.inbox.during = lambda: self.store.enqueue(1, "sendMessage", {}, now=0.0, update_id=taken[-1])

    def alone(self) -> Copy:
        """This copy after a poll that waited at the server."""
        self.poll(waited=3.0)
        return self


@pytest.fixture
def copy() -> Copy:
    return Copy()


def test_a_newcomer_takes_nothing_that_another_copy_may_hold(copy: Copy) -> None:
    assert copy.poll(1, 2) == []
    assert copy.bot.rest == longpoll.LOOK_AGAIN


def test_an_update_that_is_there_at_two_looks_has_no_other_reader_and_is_taken_alone(copy: Copy) -> None:
    assert copy.poll(1, 2, 3) == []
    copy.server.now += longpoll.LOOK_AGAIN
    assert copy.poll(1, 2, 3) == [1]
    assert copy.poll(2, 3) == [2, 3]


def test_an_update_that_was_read_by_another_copy_meanwhile_is_left_to_it(copy: Copy) -> None:
    copy.poll(1, 2)
    assert copy.poll(2, 3) == []
    assert copy.poll(3) == []


@pytest.mark.parametrize("waited", [0.1, 2.1, 3.0])
def test_how_long_an_answer_took_does_not_tell_whose_its_updates_are(copy: Copy, waited: float) -> None:
    """It may have waited at the server, or the line is slow and another copy has them in hand."""
    assert copy.poll(1, 2, waited=waited) == []


def test_an_answer_without_updates_tells_that_nothing_is_unconfirmed(copy: Copy) -> None:
    assert copy.poll() == []
    assert copy.poll(1, 2) == [1, 2]


@pytest.mark.parametrize("frozen", [3.4, 60.0])
def test_a_copy_that_was_frozen_between_two_polls_is_a_newcomer_again(copy: Copy, frozen: float) -> None:
    copy.alone()
    copy.server.now += frozen
    assert copy.poll(1, 2) == []
    assert copy.poll(1, 2) == [1]


def test_a_short_pause_between_two_polls_changes_nothing(copy: Copy) -> None:
    copy.alone()
    copy.server.now += 3.2
    assert copy.poll(1, 2) == [1, 2]


def test_an_answer_that_waited_for_a_frozen_process_is_asked_for_again(copy: Copy) -> None:
    copy.alone()
    assert copy.poll(1, 2, waited=3.4) == []
    assert copy.poll(2, 3) == [], "another copy has handled the first one"
    assert copy.poll(2, 3) == [2]


def test_an_empty_answer_that_a_frozen_process_read_late_proves_nothing(copy: Copy) -> None:
    assert copy.poll(waited=6.4) == []
    assert copy.poll(1, 2) == []


def test_only_a_server_that_answers_at_once_without_updates_is_given_a_pause(copy: Copy) -> None:
    copy.alone()
    copy.poll(7)
    copy.poll(waited=longpoll.PAUSE)
    assert copy.bot.rest == 0
    copy.poll(waited=longpoll.PAUSE - 0.1)
    assert copy.bot.rest == longpoll.PAUSE


def test_it_is_known_whether_more_updates_wait_than_were_taken(copy: Copy) -> None:
    copy.poll(1, 2)
    copy.poll(1, 2)
    copy.poll(*range(2, 102))
    copy.poll(*range(102, 201))
    assert copy.more == [True, True, False]


def test_a_copy_is_no_newcomer_once_it_has_polled_alone(copy: Copy) -> None:
    copy.poll(1)
    assert not copy.bot.has_polled_alone
    copy.poll(1)
    assert copy.bot.has_polled_alone


def test_a_slow_line_that_answers_late_each_time_still_gets_its_updates(copy: Copy) -> None:
    assert copy.poll(1, 2, waited=4.0) == []
    assert copy.poll(1, 2, waited=4.0) == [1]
    assert copy.poll(2, 3, waited=4.0) == [2, 3]


def test_what_a_frozen_copy_still_holds_of_a_batch_is_asked_for_again(copy: Copy) -> None:
    copy.alone()

    def freeze() -> None:
        copy.server.now += 3.4

    copy.inbox.during = freeze
    assert copy.poll(1, 2, 3) == [1]
    copy.inbox.during = lambda: None
    assert copy.poll(2, 3) == [], "the rest may be another copy's by now"
    assert copy.server.offsets[-1] == 1, "and the first one's answer may have been given"
    assert copy.poll(2, 3) == [2]


def test_after_any_trouble_a_copy_is_a_newcomer_again(copy: Copy) -> None:
    copy.alone()
    assert copy.poll(error=Unreachable("no route")) == []
    assert isinstance(copy.bot.trouble, Unreachable)
    assert copy.poll(1, 2) == []
    assert copy.poll(1, 2) == [1]


def test_only_what_was_handled_is_confirmed_by_the_next_poll(copy: Copy) -> None:
    copy.alone()
    copy.poll(7, 8)
    copy.poll()
    assert copy.server.offsets == [0, 0, 9]


def test_after_a_week_without_updates_the_offset_starts_anew(copy: Copy) -> None:
    copy.alone()
    copy.poll(7)
    copy.server.now += longpoll.FORGOTTEN + 1
    assert copy.bot.next_offset() == 0


def test_an_update_without_a_number_ends_polling_instead_of_coming_again_at_full_speed(copy: Copy) -> None:
    copy.alone()
    copy.bot.process_new_updates([{"message": {}}])
    assert isinstance(copy.bot.trouble, Unreachable)


def test_one_update_that_always_fails_is_skipped_alone(copy: Copy, caplog: pytest.LogCaptureFixture) -> None:
    copy.alone()

    def fail() -> None:
        if copy.inbox.taken[-1] == 2:
            raise ZeroDivisionError

    copy.inbox.during = fail
    assert copy.poll(1, 2, 3) == [1, 2, 3]
    assert copy.bot.next_offset() == 4
    assert "Update 2" in caplog.text


# Answers that wait to be sent


def test_an_answer_is_ours_while_no_other_copy_can_have_taken_over_and_once_it_is_confirmed(copy: Copy) -> None:
    copy.alone().answer_each()
    copy.poll(7)
    assert copy.bot.is_ours(7)
    copy.server.now += 3.2
    assert copy.bot.is_ours(7)
    copy.server.now += 0.2
    assert not copy.bot.is_ours(7), "this process may have been frozen"
    assert copy.bot.is_ours(6)
    copy.poll(7)
    copy.poll(7)
    assert copy.bot.is_ours(7), "it is still there at two looks"
    copy.poll(waited=3.0)
    copy.server.now += 60
    assert copy.bot.is_ours(7)


@pytest.mark.parametrize("back", [(), (9,)], ids=["nothing", "a later one"])
def test_what_a_frozen_copy_had_handled_and_does_not_get_again_was_answered_elsewhere(
    copy: Copy, back: tuple[int, ...]
) -> None:
    copy.alone().answer_each()
    copy.poll(7, 8)
    copy.server.now += 60
    copy.poll(*back)
    assert copy.server.offsets[-1] == 7
    assert copy.answers() == []


def test_what_comes_again_is_still_to_be_answered_and_is_not_handled_twice(copy: Copy) -> None:
    copy.alone().answer_each()
    copy.poll(7, 8)
    copy.server.now += 60
    copy.poll(8)
    assert copy.answers() == [8]
    assert copy.poll(8, 9) == []
    assert copy.bot.is_ours(8)
    assert copy.poll(9) == [9]
    assert copy.server.offsets[-1] == 9
    assert copy.answers() == [8, 9]


def test_a_poll_that_another_copy_ended_had_waited_so_nothing_was_left(copy: Copy) -> None:
    copy.alone().answer_each()
    copy.poll(7)
    copy.server.now += 1.1
    copy.poll(error=Unreachable("no route"))
    copy.poll(error=Conflict("Conflict: can't use getUpdates method while webhook is active"))
    assert copy.answers() == [7]
    copy.poll(error=Conflict("Conflict: terminated by other getUpdates request"))
    assert copy.server.offsets[-1] == 7
    assert copy.answers() == []


def test_a_poll_that_another_copy_ended_has_confirmed_what_was_in_hand(copy: Copy) -> None:
    copy.alone().answer_each()
    copy.poll(7)
    copy.poll(error=Conflict("Conflict: terminated by other getUpdates request"))
    assert copy.answers() == [7]
    copy.server.now += 60
    assert copy.bot.is_ours(7)


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("no route"),
        Unreachable("HTTP 500", status=500),  # of a server that stops while the poll waits
        Unreachable("400 Logged out", status=400),
    ],
    ids=str,
)
def test_trouble_right_after_all_was_well_came_after_the_poll_had_arrived(copy: Copy, error: Exception) -> None:
    """So it has confirmed what was in hand, and the answers are ours, and must not be lost."""
    copy.alone().answer_each()
    copy.poll(7)
    copy.server.now += 0.9
    copy.poll(error=error)
    copy.poll()
    assert copy.server.offsets[-1] == 8
    assert copy.answers() == [7]


def test_a_question_that_had_gone_out_confirms_nothing_of_what_it_asked_for(copy: Copy) -> None:
    copy.alone().answer_each()
    copy.poll(7)
    copy.server.now += 1.1
    copy.poll(error=Unreachable("no route"))
    copy.poll(error=Unreachable("no route"))
    copy.poll()
    assert copy.server.offsets[-1] == 7
    assert copy.answers() == []


def test_an_update_that_could_not_be_stored_is_taken_when_it_comes_again(copy: Copy) -> None:
    copy.alone()

    def full() -> None:
        raise StoreError("the disk is full")

    copy.inbox.during = full
    copy.poll(7)
    copy.inbox.during = lambda: None
    copy.poll(7)
    assert copy.poll(7) == [7]


# A stop


def test_a_stop_finishes_the_batch_in_hand_and_confirms_it(copy: Copy) -> None:
    copy.alone().answer_each()
    answer = copy.inbox.during

    def stop() -> None:
        answer()
        copy.bot.end()

    copy.inbox.during = stop
    assert copy.poll(7, 8, 9) == [7, 8, 9]
    copy.bot.confirm(within=1.0)
    assert copy.server.offsets[-1] == 10
    copy.server.now += 60
    assert all(copy.bot.is_ours(update) for update in (7, 8, 9)), "nobody else is given them"
    asked = len(copy.server.offsets)
    copy.bot.confirm(within=1.0)
    copy.bot.run_until_trouble()
    assert len(copy.server.offsets) == asked, "the same offset again would be a long poll"


def test_a_stop_leaves_what_of_a_batch_it_has_no_time_for(copy: Copy) -> None:
    copy.alone()

    def stop() -> None:
        copy.bot.end()
        copy.server.now += longpoll.FINISH + 0.01

    copy.inbox.during = stop
    assert copy.poll(7, 8, 9) == [7]
    copy.bot.confirm(within=1.0)
    assert copy.server.offsets[-1] == 8


def test_a_stop_confirms_nothing_that_is_not_durable(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.alone()

    def full(*, durable: bool = False) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(copy.store, "transaction", full)
        copy.poll(7, 8)
        asked = len(copy.server.offsets)
        copy.bot.confirm(within=1.0)
        assert len(copy.server.offsets) == asked
    assert copy.bot.next_offset() == 7


@pytest.mark.parametrize("frozen", [3.4, 60.0])
def test_a_stop_after_a_freeze_confirms_nothing_because_another_copy_may_have_it_in_hand(
    copy: Copy, frozen: float
) -> None:
    copy.alone().answer_each()
    copy.poll(7, 8)
    copy.server.now += frozen
    asked = len(copy.server.offsets)
    copy.bot.confirm(within=1.0)
    assert len(copy.server.offsets) == asked
    assert not copy.bot.is_ours(7)


def test_a_stop_whose_confirmation_is_cut_keeps_its_answers_for_the_next_start(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.alone().answer_each()
    copy.poll(7)

    def cut(offset: int, **_: Any) -> list[dict[str, Any]]:
        raise Unreachable("cut")

    monkeypatch.setattr(copy.server, "updates", cut)
    with pytest.raises(Unreachable):
        copy.bot.confirm(within=1.0)
    copy.server.now += 60
    assert not copy.bot.is_ours(7)
    assert copy.answers() == [7]
