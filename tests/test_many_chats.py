"""Of a hundred thousand chats a command reads the few that it is about: nobody waits until all were read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from conftest import FRIEND, OWNER
from storekit import NOW

from access import Access, Groups
from alerts.held_back import send_due
from commands.context import Context
from commands.dispatch import Commands
from commands.due import Due
from commands.inbox import Inbox
from commands.table import schedulable
from store import Store, chats
from store.coins import Coins
from store.rows import Chat, User
from store.schedules import Scheduled

MANY = 2000
COMMANDS = ("/status", "/settings", "/settings @news", "/stop @nowhere", "/users", "/start", "/id", f"/deny {MANY}")


def fill(store: Store) -> None:
    with store.transaction():
        for number in range(1, MANY + 1):
            store.chats.put(Chat(chat_id=number, added_by=number, since=float(number), timezone="Asia/Tokyo"))
            store.chats.put_user(User(user_id=number, state="allowed", at=float(number)))
        for number, kind in enumerate(("group", "supergroup", "channel"), start=1):
            store.chats.put(
                Chat(chat_id=-number, kind=kind, added_by=OWNER, handle="news" if kind == "channel" else "")
            )
        store.schedules.add(
            Scheduled(
                id=0, chat_id=7, thread_id=None, user_id=7, rule="09:00", command="digest", at=NOW + 9, delivery=0
            )
        )


def test_no_command_and_no_job_reads_every_chat(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "bot.db", now=lambda: NOW)) as store:
        fill(store)
        access = Access(store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=lambda: NOW)
        context = Context(
            store, access, symbols=Coins(store, ("BTC",)), now=lambda: NOW, default_min=lambda monitor, symbol: 1e6
        )
        inbox = Inbox(store, access, Commands(context), stale_after=600.0, now=lambda: NOW, limited=False)
        owner = {"id": OWNER, "is_bot": False, "first_name": "Ann"}

        def take(number: int, **what: dict[str, Any]) -> None:
            inbox.take({"update_id": number, **what})

        chats._chat_of.cache_clear()
        for number, words in enumerate(COMMANDS, start=1):
            private = {"id": OWNER, "type": "private"}
            sent = {"message_id": number, "date": int(NOW), "chat": private, "from": owner, "text": words}
            take(number, message=sent)
        group = {"id": -10, "type": "supergroup", "title": "Desk"}
        bot = {"id": 1, "is_bot": True, "first_name": "Bot"}
        change = {
            "old_chat_member": {"status": "left", "user": bot},
            "new_chat_member": {"status": "member", "user": bot},
        }
        take(99, my_chat_member={"date": int(NOW), "chat": group, "from": owner, **change})
        access.sweep()
        Groups(store, ask=lambda chat_id: [OWNER], now=lambda: NOW).tick()
        Due(context, schedulable()).tick()
        send_due(store, now=NOW)
        assert len(store.pending()) > len(COMMANDS)
        assert chats._chat_of.cache_info().misses < 30
        said = [found.payload["text"] for number, _, _ in store.pending() if (found := store.delivery(number))]
        assert any(f"And {MANY - 100:,} more, allowed or denied before these." in words for words in said)
