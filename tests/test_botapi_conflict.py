"""The decisions about rivals and webhooks, one table each: pure, on a clock of their own."""

from __future__ import annotations

import logging

import pytest

from botapi.conflict import (
    STANDBY_REST,
    UNHARMED,
    UNHARMED_MOST,
    WEBHOOK_QUIET,
    WEBHOOK_REST_MOST,
    After409,
    ConflictPolicy,
    Fading,
    Look,
    Rivalry,
    WebhookWar,
    longer,
)
from botapi.heartbeat import ALERTS_OFF, ALLOWED_UPDATES, BEAT, EVERY, SILENT, Heartbeat
from botapi.polling_state import ConflictState, PastConflict

ERROR = Exception("409")
RETRY, STAND_BY = After409.RETRY, After409.STAND_BY


def rivalry(**policy: object) -> Rivalry:
    return Rivalry(started=0.0, policy=ConflictPolicy(host="vm", **policy))  # type: ignore[arg-type]


def conflicts(rival: Rivalry, count: int, *, at: float = 0.0) -> None:
    for _ in range(count):
        rival.got_409(ERROR, newcomer=False, now=at, monotonic=at)


@pytest.mark.parametrize(
    ("newcomer", "decisions"),
    [
        ((True, True), (RETRY, STAND_BY)),  # it tries exactly once more
        ((True, False), (RETRY, STAND_BY)),
        ((False, True), (STAND_BY, RETRY)),  # a retry that was not used is not lost
        ((False, False), (STAND_BY, STAND_BY)),
    ],
)
def test_only_a_newcomer_polls_once_more_after_a_409(
    newcomer: tuple[bool, ...], decisions: tuple[After409, ...]
) -> None:
    rival = rivalry()
    made = [rival.got_409(ERROR, newcomer=new, now=0.0, monotonic=0.0) for new in newcomer]
    assert tuple(made) == decisions


@pytest.mark.parametrize(
    ("looks", "last"),
    [
        # (seconds, unread updates); conflicts before: 1
        ([(0, 0)], Look(False, STANDBY_REST)),
        ([(0, 0), (60, 0)], Look(False, STANDBY_REST)),  # nothing unread: it waits for ever
        ([(0, 1)], Look(False, STANDBY_REST)),
        ([(0, 1), (2, 1)], Look(False, STANDBY_REST)),  # so that a rival that reads now and then is seen
        ([(0, 1), (2.5, 1)], Look(False, 0.5)),  # no longer than needed
        ([(0, 1), (3, 1)], Look(True, 0.0)),
        ([(0, 1), (3, 9)], Look(True, 0.0)),  # more have come: nobody reads
        ([(0, 9), (2, 8), (4.5, 8)], Look(False, 0.5)),  # fewer: someone reads, the wait begins anew
        ([(0, 1), (2, 0), (4, 1), (6.5, 1)], Look(False, 0.5)),  # read in between
        ([(0, 1), (1, 0), (2, 1), (3, 1)], Look(False, STANDBY_REST)),  # again and again
        ([(0, 1), (3, 1), (4, 1), (6.5, 1)], Look(False, 0.5)),  # after a take-over the wait begins anew
    ],
)
def test_standby_takes_over_when_updates_stay_unread_for_three_seconds(
    looks: list[tuple[float, int]], last: Look
) -> None:
    rival = rivalry()
    conflicts(rival, 1)
    found = [rival.looked(pending, asked=at, answered=at) for at, pending in looks]
    assert found[-1] == last


@pytest.mark.parametrize(("before", "seconds"), [(1, 3.0), (2, 3.0), (3, 4.0), (9, 4.0)])
def test_after_three_conflicts_a_take_over_asks_for_four_seconds(before: int, seconds: float) -> None:
    rival = rivalry()
    conflicts(rival, before)
    rival.looked(1, asked=0.0, answered=0.0)
    assert not rival.looked(1, asked=seconds - 0.01, answered=seconds - 0.01).take_over
    assert rival.looked(1, asked=seconds, answered=seconds).take_over


def test_an_answer_that_is_late_does_not_look_like_updates_that_waited() -> None:
    rival = rivalry()
    conflicts(rival, 1)
    rival.looked(1, asked=0.0, answered=2.0)
    assert rival.looked(1, asked=4.5, answered=6.5) == Look(take_over=False, rest=0.5)
    assert rival.looked(1, asked=5.0, answered=7.0).take_over


def test_a_409_makes_the_wait_for_unread_updates_begin_anew() -> None:
    rival = rivalry()
    conflicts(rival, 1)
    rival.looked(1, asked=0.0, answered=0.0)
    conflicts(rival, 1)
    assert not rival.looked(1, asked=3.0, answered=3.0).take_over
    assert rival.looked(1, asked=5.5, answered=5.5) == Look(take_over=False, rest=0.5)


def test_a_409_forgets_how_many_updates_were_unread() -> None:
    rival = rivalry()
    conflicts(rival, 1)
    rival.looked(9, asked=0.0, answered=0.0)
    conflicts(rival, 1)
    rival.looked(5, asked=0.0, answered=0.0)
    rival.looked(4, asked=1.0, answered=1.0)
    assert rival.looked(4, asked=3.5, answered=3.5).rest == pytest.approx(0.5)


def test_a_take_over_is_logged_once_a_conflict(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rival = rivalry()
    for _ in range(3):
        conflicts(rival, 1)
        rival.looked(1, asked=0.0, answered=0.0)
        rival.looked(1, asked=4.0, answered=4.0)
    assert len([line for line in caplog.messages if "takes over" in line]) == 1


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        (1, UNHARMED),
        (2, 2 * UNHARMED),
        (3, 4 * UNHARMED),
        (5, 16 * UNHARMED),
        (6, UNHARMED_MOST),
        (60, UNHARMED_MOST),
    ],
)
def test_the_more_conflicts_the_longer_it_takes_until_one_counts_as_over(count: int, seconds: float) -> None:
    rival = rivalry()
    conflicts(rival, count)
    assert rival.unharmed(seconds - 0.01, now=50.0, monotonic=0.0) is None
    assert rival.current is not None
    rival.unharmed(seconds, now=50.0, monotonic=0.0)
    assert rival.current is None


def test_conflicts_are_forgotten_by_half_every_ten_minutes() -> None:
    memory = Fading(0.0)
    for _ in range(4):
        memory.add(0.0)
    assert [memory.at(600.0), memory.at(1200.0)] == [2.0, 1.0]
    memory.add(600.0)
    assert memory.at(600.0) == 3.0


@pytest.mark.parametrize("knows", [True, False])
def test_the_end_is_told_to_an_owner_who_was_told_of_the_beginning(knows: bool) -> None:
    rival = rivalry()
    conflicts(rival, 1, at=100.0)
    assert rival.current is not None
    rival.current.owner_knows = knows
    said = rival.unharmed(UNHARMED, now=160.0, monotonic=100.0)
    assert said == (
        "The other copy has stopped or stands by. vm answers your commands (after 1 min)." if knows else None
    )
    assert rival.unharmed(UNHARMED, now=170.0, monotonic=110.0) is None


def test_the_state_counts_conflicts_and_409s_and_lists_the_one_that_is_on_last() -> None:
    rival = rivalry()
    assert rival.state() == ConflictState(since=None, count=0)
    conflicts(rival, 2, at=10.0)
    first = PastConflict(since=10.0, until=None, count=2)
    assert rival.state() == ConflictState(since=10.0, count=2, episodes=(first,), begun=1, answers=2)
    rival.unharmed(UNHARMED_MOST, now=90.0, monotonic=90.0)
    over = PastConflict(since=10.0, until=90.0, count=2)
    assert rival.state() == ConflictState(since=None, count=0, episodes=(over,), begun=1, answers=2)
    conflicts(rival, 1, at=200.0)
    on = PastConflict(since=200.0, until=None, count=1)
    assert rival.state() == ConflictState(since=200.0, count=1, episodes=(over, on), begun=2, answers=3)


def test_the_last_hundred_conflicts_are_kept_and_all_are_counted() -> None:
    rival = rivalry()
    for number in range(150):
        conflicts(rival, 1, at=number * 3600.0)
        rival.unharmed(UNHARMED_MOST, now=number * 3600.0, monotonic=number * 3600.0)
    state = rival.state()
    assert (len(state.episodes), state.begun, state.answers) == (100, 150, 150)
    assert state.episodes[-1].since == 149 * 3600.0


@pytest.mark.parametrize(
    ("policy", "next_step", "parts"),
    [
        ({}, STAND_BY, ["This one is on vm; the other is not on vm.", "vm takes over when it stops", "Both send"]),
        ({}, RETRY, ["vm tries again in a few seconds", "Both send alerts"]),
        ({"alone_here": False}, STAND_BY, ["the other may be there too (LOCK_SCOPE=folder)"]),
        ({"on_conflict": "pause"}, STAND_BY, ["Until then vm sends no alerts."]),
    ],
)
def test_the_owner_is_told_what_happens_where_and_what_to_do(
    policy: dict[str, object], next_step: After409, parts: list[str]
) -> None:
    said = rivalry(**policy).message(next_step)
    assert said.startswith("Two copies of this bot are running. ")
    assert "Stop one of them" in said
    assert "/revoke" in said
    for part in parts:
        assert part in said


PAUSES = (*ALLOWED_UPDATES, ALERTS_OFF)


@pytest.mark.parametrize(
    ("types", "paused"),
    [
        (PAUSES, True),
        ((*PAUSES, BEAT), True),
        ((BEAT, *reversed(PAUSES)), True),  # the server lists them in an order of its own
        (ALLOWED_UPDATES, False),
        ((), False),  # all types: another program
        ((*PAUSES, "poll"), False),
        (("message", ALERTS_OFF), False),  # a shop with this token
    ],
)
def test_only_another_copy_of_this_bot_can_pause_the_alerts_of_one_that_waits(
    types: tuple[str, ...], paused: bool
) -> None:
    rival = rivalry()
    conflicts(rival, 1)
    rival.hear(types, monotonic=0.0)
    assert rival.alerts_paused is paused


def test_a_pause_lasts_as_long_as_the_other_copy_asks_for_it_or_the_conflict_lasts() -> None:
    rival = rivalry()
    conflicts(rival, 1)
    rival.hear(PAUSES, monotonic=0.0)
    rival.hear(ALLOWED_UPDATES, monotonic=1.0)  # it was started anew, or told so
    assert not rival.alerts_paused
    rival.hear(PAUSES, monotonic=2.0)
    assert rival.alerts_paused
    rival.unharmed(UNHARMED_MOST, now=200.0, monotonic=200.0)
    assert not rival.alerts_paused
    conflicts(rival, 1, at=300.0)
    assert not rival.alerts_paused


@pytest.mark.parametrize(("on_conflict", "pauses"), [("pause", False), ("keep-alerting", True)])
def test_a_copy_that_waits_sends_alerts_when_the_other_one_has_no_heartbeat_any_more(
    on_conflict: str, pauses: bool
) -> None:
    other, rival = Heartbeat(), rivalry(on_conflict=on_conflict)
    other.beats = not pauses
    other.pause_others(pauses)
    conflicts(rival, 1)
    for at in range(0, 3600, 2):
        rival.hear(other.types(at), monotonic=at)
        assert rival.alerts_paused, at
    last = other.types(at)
    rival.hear(last, monotonic=at + SILENT - EVERY)
    assert rival.alerts_paused
    rival.hear(last, monotonic=at + SILENT)
    assert not rival.alerts_paused
    rival.hear(other.types(at + EVERY), monotonic=at + SILENT + 2)  # it was frozen
    assert rival.alerts_paused


def test_with_pause_a_copy_that_never_heard_a_heartbeat_leaves_the_alerts_to_the_other_one() -> None:
    rival = rivalry(on_conflict="pause")  # an older version, or another program
    conflicts(rival, 1)
    for at in (0.0, 1000.0):
        rival.hear(ALLOWED_UPDATES, monotonic=at)
        assert rival.alerts_paused


def test_no_button_pauses_what_is_paused_anyway() -> None:
    assert rivalry().pauses() == "vm"
    assert rivalry(on_conflict="pause").pauses() == ""


def test_the_waits_get_longer_by_up_to_a_tenth_and_never_shorter() -> None:
    assert [longer(10.0, 0.0), longer(10.0, 1.0)] == [10.0, 11.0]


# Webhooks


def test_the_first_webhooks_are_removed_at_once_and_then_less_and_less_often() -> None:
    war = WebhookWar(started=0.0)
    rests = [war.found("hook.example.net", monotonic=0.0).rest for _ in range(12)]
    assert rests[:2] == [0.0, 0.0]
    assert rests[2:5] == pytest.approx([30 * 2**0.5, 30 * 2**1.5, 30 * 2**2.5])
    assert rests[-1] == WEBHOOK_REST_MOST
    assert max(rests) == WEBHOOK_REST_MOST


def test_the_owner_is_told_of_the_first_webhook_and_of_a_war_once_each() -> None:
    war = WebhookWar(started=0.0)
    told = [war.found("hook.example.net", monotonic=0.0) for _ in range(6)]
    assert [removal.kind for removal in told if removal.message] == ["webhook", "webhook war"]
    assert all("hook.example.net" in str(removal.message) for removal in told if removal.message)


@pytest.mark.parametrize(("quiet", "over"), [(599.0, False), (600.0, True)])
def test_after_ten_quiet_minutes_a_webhook_war_is_over_and_the_next_one_is_told_again(
    quiet: float, over: bool
) -> None:
    war = WebhookWar(started=0.0)
    for _ in range(6):
        war.found("hook.example.net", monotonic=0.0)
    war.polled(monotonic=quiet)
    assert (war.count == 0) is over
    assert (war.found("hook.example.net", monotonic=quiet).message is not None) is over
    later = quiet + 10 * WEBHOOK_QUIET
    war.polled(monotonic=later)
    told = [war.found("hook.example.net", monotonic=later) for _ in range(6)]
    assert [removal.kind for removal in told if removal.message] == ["webhook", "webhook war"]


def test_webhooks_hours_apart_are_each_removed_at_once() -> None:
    war = WebhookWar(started=0.0)
    assert [war.found("hook.example.net", monotonic=hour * 3600.0).rest for hour in range(1, 9)] == [0.0] * 8
