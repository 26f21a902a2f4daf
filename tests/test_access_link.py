"""The owner's link: opened once, in time, by one person, in private; every other try is a stranger's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import FRIEND, OWNER

from access import Access, OwnerLink, Role, link_url
from commands import context
from commands.dispatch import Commands
from commands.inbox import Inbox
from store import Store
from store.coins import Coins

STRANGER, OTHER = 99, 98
GROUP = {"id": -5, "type": "group", "title": "Desk"}


@dataclass
class Clock:
    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A bot's inbox with a clock of its own; `again` is a restart."""

    def __init__(self, folder: Path, clock: Clock, *, owner: int | None = None) -> None:
        self.folder, self.clock = folder, clock
        self.store = Store(folder / "bot.db")
        self.access = Access(self.store, owner_id=owner, allowed_users=frozenset({FRIEND}), now=clock)
        words = context.Context(
            self.store,
            self.access,
            symbols=Coins(self.store, ("BTC",)),
            now=clock,
            default_min=lambda monitor, symbol: 1e6,
        )
        self.inbox = Inbox(self.store, self.access, Commands(words), stale_after=600.0, now=clock)
        self._number = 0

    def again(self, *, owner: int | None = None) -> Desk:
        self.store.close()
        return Desk(self.folder, self.clock, owner=owner)

    def say(self, words: str, user_id: int = STRANGER, **more: Any) -> list[tuple[int, str]]:
        """What is answered to a message: (chat, text)."""
        self._number += 1
        before = {row[0] for row in self.store.pending()}
        message = {
            "message_id": self._number,
            "date": int(self.clock()),
            "chat": {"id": user_id, "type": "private", "first_name": "Ann"},
            "from": {"id": user_id, "is_bot": False, "first_name": "Ann"},
            "text": words,
            **more,
        }
        self.inbox.take({"update_id": int(self.clock()) + self._number, "message": message})
        new = [self.store.delivery(row[0]) for row in self.store.pending() if row[0] not in before]
        return [(one.chat_id, one.payload.get("text", "")) for one in new if one is not None]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, Clock())
    yield desk
    desk.store.close()


def offered(desk: Desk) -> str:
    return OwnerLink(desk.store).offer(now=desk.clock())


def refused(desk: Desk, words: str, user_id: int = STRANGER, **more: Any) -> bool:
    """The message was answered like any other stranger's, and nobody became the owner."""
    said = desk.say(words, user_id, **more)
    other = desk.say("hello", user_id + 1000, **more)
    masked = [(0, text.replace(str(user_id), "?")) for _, text in said]
    return desk.access.owner_id is None and masked == [
        (0, text.replace(str(user_id + 1000), "?")) for _, text in other
    ]


def test_who_opens_the_link_is_the_owner_and_hears_of_whales(desk: Desk) -> None:
    said = desk.say(f"/start {offered(desk)}")
    assert desk.access.owner_id == STRANGER
    assert desk.access.role(STRANGER) is Role.OWNER
    assert [chat.chat_id for chat in desk.store.chats.some(limit=99)] == [STRANGER]
    assert "You now own this bot" in said[0][1]
    assert "Alerts are on" in said[1][1]
    assert "/users" in desk.say("/help")[0][1]


def test_the_code_has_128_bits_fits_a_link_and_only_its_hash_is_kept(desk: Desk, tmp_path: Path) -> None:
    code = offered(desk)
    assert len(code) == 22, "16 bytes in the letters that a start parameter may have"
    assert link_url("some_bot", code) == f"https://t.me/some_bot?start={code}"
    desk.say(f"/start {code}")
    desk.store.close()
    for path in tmp_path.iterdir():
        assert code.encode() not in path.read_bytes(), path
    desk.store = Store(tmp_path / "bot.db")


def test_the_second_who_opens_it_is_a_stranger(desk: Desk) -> None:
    code = offered(desk)
    desk.say(f"/start {code}")
    (told,) = [text for chat, text in desk.say(f"/start {code}", OTHER) if chat == OTHER]
    assert told.startswith("This bot is private")
    assert desk.access.owner_id == STRANGER


def test_after_16_minutes_it_does_nothing(desk: Desk) -> None:
    code = offered(desk)
    desk.clock.now += 16 * 60
    assert refused(desk, f"/start {code}")


def test_after_14_minutes_it_still_works_even_if_the_message_waited_for_the_bot(desk: Desk) -> None:
    code = offered(desk)
    sent = int(desk.clock())
    desk.clock.now += 14 * 60
    desk.say(f"/start {code}", date=sent)
    assert desk.access.owner_id == STRANGER


@pytest.mark.parametrize(
    "words", ["/start {}x", "/start", "/start {} {}", "/start x{}", "{}", "/help {}", "/start ä"]
)
def test_a_wrong_code_is_answered_like_any_stranger(desk: Desk, words: str) -> None:
    code = offered(desk)
    assert refused(desk, words.format(code, code))
    desk.say(f"/start {code}", OTHER)
    assert desk.access.owner_id == OTHER, "a wrong try does not spoil the link"


def test_without_a_link_nothing_is_one(desk: Desk) -> None:
    assert refused(desk, "/start ")
    OwnerLink(desk.store).void()
    assert refused(desk, "/start -", 55)


def test_in_a_group_the_right_code_makes_nobody_the_owner_and_is_spoiled(desk: Desk) -> None:
    code = offered(desk)
    assert desk.say(f"/start@whale_test_bot {code}", chat=GROUP) == []
    assert desk.access.owner_id is None
    assert not OwnerLink(desk.store).is_open(now=desk.clock())
    assert refused(desk, f"/start {code}", OTHER), "others in the group have read it"


def test_a_forwarded_code_is_nothing(desk: Desk) -> None:
    code = offered(desk)
    desk.say(f"/start {code}", forward_origin={"type": "user"})
    assert desk.access.owner_id is None


def test_a_new_link_voids_the_one_before(desk: Desk) -> None:
    old, new = offered(desk), offered(desk)
    assert refused(desk, f"/start {old}")
    desk.say(f"/start {new}", OTHER)
    assert desk.access.owner_id == OTHER


def test_a_link_outlives_a_restart(desk: Desk) -> None:
    code = offered(desk)
    desk = desk.again()
    desk.say(f"/start {code}")
    desk = desk.again()
    assert desk.access.owner_id == STRANGER


def test_one_who_was_denied_can_become_the_owner(desk: Desk) -> None:
    desk.access.deny(STRANGER)
    desk.say(f"/start {offered(desk)}")
    assert desk.access.role(STRANGER) is Role.OWNER


def test_the_owner_before_is_told_and_has_no_more_say(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Clock(), owner=OWNER)
    desk.say("/start", OWNER)
    said = desk.say(f"/start {offered(desk)}")
    assert any(chat == OWNER and f"{STRANGER} “" in text for chat, text in said)
    assert desk.access.role(OWNER) is Role.STRANGER
    assert [chat.chat_id for chat in desk.store.chats.some(limit=99)] == [STRANGER]
    desk.store.close()


def test_the_newest_decision_counts_link_or_settings(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Clock(), owner=OWNER)
    desk.say(f"/start {offered(desk)}")
    desk = desk.again(owner=OWNER)
    assert desk.access.owner_id == STRANGER, "the settings say what they said before the link"
    desk = desk.again(owner=OTHER)
    assert desk.access.owner_id == OTHER, "the settings were changed since"
    desk.store.close()


def test_the_same_update_twice_changes_nothing_more(desk: Desk) -> None:
    raw = {
        "update_id": 5,
        "message": {
            "message_id": 1,
            "date": int(desk.clock()),
            "chat": {"id": STRANGER, "type": "private"},
            "from": {"id": STRANGER, "is_bot": False, "first_name": "Ann"},
            "text": f"/start {offered(desk)}",
        },
    }
    desk.inbox.take(raw)
    before = desk.store.pending()
    desk.inbox.take(raw)
    assert desk.store.pending() == before
