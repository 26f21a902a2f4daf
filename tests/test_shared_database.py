"""Copies that share a database, as real processes on two machines: one leads, and another takes over when it cannot.

Two DATA_DIRs with LOCK_SCOPE=folder are two machines; a relay of its own is a network of its own to the server.
benchmarks/take_over.py measures the times; here a busy machine is given more.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import serverkit
from conftest import OWNER, ROOT, TOKEN, BotProcess, Run
from talk import Talk

from base import config
from machine import processes
from simulation.account import SimBot
from simulation.relay import Relay
from simulation.simulator import Simulator
from store import session

LEADS = "This copy leads"
NO_LONGER = "This copy leads no longer"
WAITS = "Standing by: the copy on"
POLLING = "Polling: running"
BUSY = 8.0  # seconds more than promised
linux = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

Machine = Callable[..., BotProcess]


@pytest.fixture
def url(database_url: str) -> Iterator[str]:
    yield database_url
    serverkit.execute(database_url, "DROP FUNCTION IF EXISTS fail CASCADE")  # a test that failed has left it there


@pytest.fixture
def relay(url: str) -> Iterator[Relay]:
    """A network to the server."""
    with Relay(("127.0.0.1", 5432)) as relay:
        yield relay


@pytest.fixture
def machine(run_bot: Run, tmp_path: Path, url: str) -> Machine:
    """Start the bot on a machine of its own: `machine("one")`. relay: its network to the server."""

    def start(
        name: str, *arguments: str, relay: Relay | None = None, before: str = "", **settings: str
    ) -> BotProcess:
        shared = {
            "DATA_DIR": str(tmp_path / name),
            "LOCK_SCOPE": "folder",
            "BOT_NAME": name,
            "SEND_RATE": "0",
            "DATABASE_URL": url if relay is None else url.replace(":5432/", f":{relay.port}/"),
        }
        return run_bot(*arguments, before=before, **(shared | settings))

    return start


@pytest.fixture
def talk(chat: SimBot) -> Talk:
    return Talk(chat)


def pair(machine: Machine, chat: SimBot, sim: Simulator, **leader: object) -> tuple[BotProcess, BotProcess]:
    """A copy that leads and one that stands by."""
    one = machine("one", **leader)
    one.wait_output(POLLING)
    two = machine("two")
    two.wait_output(WAITS)
    sim.wait(lambda: chat.polling, what="a long poll")
    return one, two


def polls(chat: SimBot, *, since: float) -> list[float]:
    """When getUpdates was called."""
    return [call.at for call in chat.calls if call.method == "getUpdates" and call.at > since]


def conflicts(chat: SimBot, *, since: float = 0.0) -> int:
    """How many 409s a copy got. The poll of a dead copy ends with one that nobody gets."""
    return sum(call.status == 409 and call.at > since for call in chat.calls)


def settled(url: str, sim: Simulator) -> None:
    """All that was sent is marked as sent: a kill now doubles nothing."""
    pending = "SELECT count(*) FROM deliveries WHERE state = 'pending'"
    sim.wait(lambda: serverkit.execute(url, pending) == [(0,)], what="nothing left to send")


def frozen(bot: BotProcess, sim: Simulator) -> None:
    sim.wait(lambda: Path(f"/proc/{bot.pid}/stat").read_text(encoding="utf-8").split()[2] == "T", what="frozen")


# Take-over


def test_a_killed_leader_is_replaced_within_a_second_and_no_command_is_lost(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    one, two = pair(machine, chat, sim)
    with talk.stream():
        talk.heard()
        died = time.time()
        one.kill()
        two.wait_output(POLLING)
        talk.heard()
    assert polls(chat, since=died + 0.01)[0] - died < 1.0 + BUSY
    talk.all_answered_once(doubled=1)  # the answer that was on its way
    assert conflicts(chat, since=died) == 0


def test_a_leader_that_is_stopped_hands_over_within_half_a_second_and_nothing_is_doubled(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk
) -> None:
    one, two = pair(machine, chat, sim)
    with talk.stream():
        talk.heard()
        assert one.stop()[0] == 0
        ended = time.time()
        two.wait_output(POLLING)
        talk.heard()
    assert polls(chat, since=ended)[0] - ended < 0.5 + BUSY
    talk.all_answered_once()
    assert conflicts(chat, since=ended) == 0


def test_a_leader_that_is_cut_off_from_the_server_has_stopped_before_another_one_begins(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, relay: Relay
) -> None:
    one, two = pair(machine, chat, sim, relay=relay)
    with talk.stream(every=0.2):
        talk.heard()
        began = time.time()
        relay.hold()
        one.wait_output(NO_LONGER, timeout=12 + BUSY)
        stopped = time.time()
        assert LEADS not in two.output
        two.wait_output(POLLING, timeout=12 + BUSY)
        talk.heard()
        relay.restore()
        one.wait_output(WAITS)
        talk.heard()
    first = polls(chat, since=stopped)[0]
    assert first - began < 12.0 + BUSY
    assert not [at for at in polls(chat, since=began + session.SILENT - 0.5) if at < first - 0.5], "the old one polls"
    talk.all_answered_once(doubled=1)
    assert conflicts(chat, since=stopped) == 0
    assert one.output.count("database server") == 1, "told once"


@linux
@pytest.mark.parametrize("where", ["at rest", "within a transaction"])
def test_a_frozen_leader_is_replaced_and_does_nothing_more_when_it_wakes_up(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, url: str, where: str
) -> None:
    freezes = (
        "import signal; from commands.dispatch import Commands; run = Commands.run; "
        "Commands.run = lambda self, update: (run(self, update), 'now' in update.text and signal.raise_signal(19))[0]"
    )
    one, two = pair(machine, chat, sim, before=freezes)
    talk.heard()
    settled(url, sim)
    began = time.time()
    if where == "at rest":
        one.process.send_signal(signal.SIGSTOP)
    else:
        chat.send_text(chat_id=OWNER, text="/ping now")
    frozen(one, sim)
    two.wait_output(LEADS, timeout=15 + BUSY)
    talk.heard()
    calls = chat.count("sendMessage")
    settled(url, sim)
    one.process.send_signal(signal.SIGCONT)
    one.wait_output(NO_LONGER)
    one.wait_output(WAITS)
    assert chat.count("sendMessage") == calls
    talk.heard()
    talk.all_answered_once()
    if where != "at rest":
        assert chat.texts(OWNER).count("pong now") == 1
    assert conflicts(chat, since=began) == 0
    assert LEADS not in one.output.partition(NO_LONGER)[2].replace(NO_LONGER, "")


def test_a_leader_that_is_frozen_between_two_parts_of_a_pipeline_is_replaced(machine: Machine, url: str) -> None:
    from store import leader

    frozen = session.connect(url, name="a leader")
    session.limit(frozen)
    frozen.execute("SELECT pg_advisory_lock(%s)", (leader.lock_key(int(TOKEN.partition(":")[0])),))
    frozen.pgconn.enter_pipeline_mode()
    frozen.pgconn.send_query_params(b"SELECT 1", None)
    frozen.pgconn.send_flush_request()
    began = time.time()
    assert frozen.pgconn.flush() == 0
    machine("two").wait_output(POLLING, timeout=12 + BUSY)
    assert time.time() - began > session.LEASE, "the old leader has stopped by itself before"
    frozen.close()


def test_an_alert_comes_once_to_each_chat_though_the_leader_is_killed(
    machine: Machine, chat: SimBot, sim: Simulator, url: str
) -> None:
    sim.market.trade("binance", "BTC", "buy", 50_000.0, 0.01)
    one, two = pair(machine, chat, sim)
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on", chat_id=OWNER)
    settled(url, sim)
    read = "SELECT text FROM cursors WHERE symbol = 'BTC'"
    sim.wait(lambda: serverkit.execute(url, read), what="the market is read")
    sim.market.sweep("binance", "BTC", "sell", usd=2_000_000, fills=10, price=50_000.0)
    one.kill()
    two.wait_output(LEADS)
    chat.wait_text("BTC sell", chat_id=OWNER)
    sim.market.sweep("binance", "BTC", "buy", usd=3_000_000, fills=10, price=50_000.0)
    chat.wait_text("BTC buy", chat_id=OWNER)
    settled(url, sim)
    alerts = [sent for sent in chat.sent if "BTC sell" in sent.text and sent.method == "sendMessage"]
    assert len({sent.text for sent in alerts}) == 1
    assert len(alerts) <= 2, "once, and again only if it was on its way when the leader was killed"
    assert serverkit.execute(url, "SELECT count(*) FROM alerts WHERE monitor = 'whales'") == [(2,)]


# What a copy that stands by does, and says

# It would log what it cannot reach.
NO_NETWORK = {"TELEGRAM_API_URL": "http://127.0.0.1:1"} | {
    f"{name.upper()}_URL": "http://127.0.0.1:1" for name in config.SOURCE_DEFAULTS
}


def test_a_copy_that_stands_by_does_nothing_and_says_so_everywhere(
    machine: Machine, chat: SimBot, sim: Simulator
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    one = machine("one", HEALTH_PORT="0")
    one.wait_output(POLLING)
    two = machine("two", HEALTH_PORT=str(port), **NO_NETWORK)
    two.wait_output(f"{WAITS} one (pid {one.pid})")
    two.wait_output("Status page")
    assert healthz(port) == "ok\nStanding by while another copy polls\n"
    sim.wait(lambda: "leads since" in run(machine, "status"), what="a status with the copies")
    status = run(machine, "status")
    assert "Standing by" in status
    assert f"one (pid {one.pid}) leads since" in status
    assert f"two (pid {two.pid}) stands by since" in status
    assert json.loads(run(machine, "status", "--json"))["copies"][0]["host"] == "one"
    assert "Standing by while another copy polls" in run(machine, "doctor")
    assert not [line for line in two.output.splitlines() if "reached" in line or "Polling" in line]


def test_doctor_says_what_another_copy_on_this_machine_does(machine: Machine, tmp_path: Path, sim: Simulator) -> None:
    two = machine("two")
    two.wait_output(POLLING)
    other = dict(processes.environment(two.pid)) | {"DATA_DIR": str(tmp_path / "other")}
    as_people_start_it = [sys.executable, "bot.py", "--env-file", str(tmp_path / "no.env")]
    with subprocess.Popen(as_people_start_it, cwd=ROOT, env=other, stderr=subprocess.DEVNULL) as process:
        try:

            def told(does: str) -> bool:
                words = " ".join(run(machine, "doctor").split())
                return f"process {process.pid} also runs this bot in {ROOT}: {does}" in words

            sim.wait(lambda: told("it stands by"), what="a copy that stands by")
            two.kill()
            sim.wait(lambda: told("it does not hold this bot's lock"), what="a copy alone")
            machine("two").wait_output(WAITS)
            sim.wait(lambda: told("it leads"), what="a copy that leads")
        finally:
            process.kill()


def test_a_copy_that_nobody_could_use_does_not_stand_by_for_one_that_somebody_uses(machine: Machine) -> None:
    """It would end in the moment in which it is needed."""
    machine("one").wait_output(POLLING)
    two = machine("two", OWNER_ID="", ALLOWED_USERS="")
    assert two.wait_exit() == 78
    assert "Set OWNER_ID" in two.output


def test_two_first_starts_at_once_share_the_work_and_the_page_goes_on_with_the_copy_that_takes_over(
    machine: Machine, chat: SimBot, sim: Simulator, url: str
) -> None:
    serverkit.empty(url, anew=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    one, two = machine("one"), machine("two", HEALTH_PORT=str(port))
    for bot in (one, two):
        sim.wait(lambda bot=bot: POLLING in bot.output or WAITS in bot.output, what="one leads")  # type: ignore[misc]
    if POLLING in one.output:
        one.kill()
    two.wait_output(POLLING)
    sim.wait(lambda: healthz(port) == "ok\nRunning\n", what="the page of the one that leads")
    chat.send_text(chat_id=OWNER, text="/status")
    assert f"two (pid {two.pid}) leads since" in chat.wait_text("Copies that share", chat_id=OWNER).text


def healthz(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
        return str(answer.read(), "utf-8")


def run(machine: Machine, *arguments: str) -> str:
    asked = machine("two", *arguments)
    asked.wait_exit()
    return asked.output


def test_once_next_to_a_leader_on_another_machine_leaves_the_work_to_it(
    machine: Machine, chat: SimBot, sim: Simulator
) -> None:
    one = machine("one")
    one.wait_output(POLLING)
    beside = machine("two", "--once")
    assert beside.wait_exit() == 0
    assert "Nothing was left to do" in beside.output
    assert one.stop()[0] == 0
    alone = machine("two", "--once")
    assert alone.wait_exit() == 0
    assert "Checked and delivered" in alone.output


# The database away


QUICKLY = (
    "import monitors; from botapi import outbox, poller; from service import shared; from store.database import "
    "Database; monitors.TROUBLE_EVERY = outbox.AFTER_FAILURE = poller.STORE_REST = 0.3; shared.TELL_AFTER = 0.5; "
    "Database.steady = 0.5"
)


def test_while_the_database_is_away_commands_wait_and_the_owner_is_told_once_and_then_all_is_done(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, relay: Relay
) -> None:
    bot = machine("one", relay=relay, before=QUICKLY)
    bot.wait_output(POLLING)
    with talk.stream(ahead=50):
        talk.heard()
        relay.refuse()
        chat.wait_text("cannot be reached", chat_id=OWNER)
        waiting = chat.pending
        sim.wait(lambda: chat.pending > waiting + 10, what="ten more commands wait")
        relay.restore()
        back = time.time()
        bot.wait_output(POLLING, times=2)
        talk.heard()
    assert polls(chat, since=back)[0] - back < 5.0 + BUSY
    talk.all_answered_once()
    told = [words for words in chat.texts(OWNER) if "database" in words]
    chat.wait_text("The database can be written again", chat_id=OWNER)
    assert len(told) <= 2
    assert bot.output.count("cannot be reached") == 1


def test_after_an_outage_of_the_database_the_copy_that_led_leads_again_and_it_alone_tells_the_owner(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, relay: Relay
) -> None:
    """It knows what it sent last, which a server that crashed does not."""
    one = machine("one", relay=relay, before=QUICKLY)
    one.wait_output(POLLING)
    two = machine("two", relay=relay, before=f"{QUICKLY}; from store import leader; leader.LONGEST_REST = 0.25")
    two.wait_output(WAITS)
    relay.refuse()
    two.wait_output("cannot be reached")
    chat.wait_text("This is the copy on one", chat_id=OWNER)
    sim.wait(lambda: "leads since" not in run(machine, "status"), what="a status that knows no leader")
    relay.restore()
    one.wait_output(LEADS, times=2)
    two.wait_output(WAITS, times=2)
    talk.heard()
    assert LEADS not in two.output
    assert not [words for words in chat.texts(OWNER) if "the copy on two" in words]


@linux
def test_a_stop_does_not_wait_for_a_server_that_is_silent_and_no_command_is_lost(
    machine: Machine, chat: SimBot, talk: Talk, relay: Relay
) -> None:
    one = machine("one", relay=relay)
    one.wait_output(POLLING)
    with talk.stream(every=0.2):
        talk.heard()
        relay.hold()
        talk.say()
        code, seconds = one.stop()
        machine("two").wait_output(POLLING, timeout=12 + BUSY)
        talk.heard()
    assert (code, seconds < 6) == (0, True), seconds  # 1 s on a machine with nothing else to do
    talk.all_answered_once(doubled=1)


def test_a_copy_that_stood_by_tells_the_owner_when_the_leader_is_gone_too_and_leads_when_the_database_is_back(
    machine: Machine, chat: SimBot, talk: Talk, relay: Relay
) -> None:
    one = machine("one")
    one.wait_output(POLLING)
    two = machine("two", relay=relay, before=f"{QUICKLY}; shared.TELL_LATER = 0.5")
    two.wait_output(WAITS)
    relay.refuse()
    one.kill()
    chat.wait_text("This is the copy on two", chat_id=OWNER)
    relay.restore()
    two.wait_output(POLLING)
    talk.heard()


@contextmanager
def as_role(url: str, options: str) -> Iterator[tuple[str, str]]:
    """A role of its own, which has the database's tables, and the URL with which it connects."""
    serverkit.empty(url, anew=True)
    role = f"cryptosat_test_{os.getpid()}"
    serverkit.execute(url, f"CREATE ROLE {role} {options}", f"ALTER SCHEMA public OWNER TO {role}")
    try:
        yield role, url.replace("//postgres@", f"//{role}@")
    finally:
        serverkit.empty(url, anew=True)
        serverkit.execute(url, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def test_a_copy_that_stands_by_waits_while_the_server_takes_a_right_from_it(machine: Machine, url: str) -> None:
    with as_role(url, "LOGIN") as (role, theirs):
        one = machine("one", DATABASE_URL=theirs)
        one.wait_output(POLLING)
        two = machine("two", DATABASE_URL=theirs, before="from store import leader; leader.LOOK_EVERY = 0.25")
        two.wait_output(WAITS)
        serverkit.execute(url, "ALTER TABLE about OWNER TO postgres")
        two.wait_output("may not do that in the database")
        serverkit.execute(url, f"ALTER TABLE about OWNER TO {role}")
        two.wait_output("The database can be reached again")
        one.kill()
        two.wait_output(POLLING)
        assert two.output.count("may not do that in the database") == 1
        two.kill()


BROKEN = {
    "the disk is full": "53100",
    "a deadlock": "40P01",
    "a serialization failure": "40001",
    "a statement time-out": "57014",
    "a read-only replica": "25006",
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_stored_is_asked_for_again_until_it_can_and_the_owner_knows(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, url: str, how: str
) -> None:
    bot = machine("one", before=QUICKLY)
    bot.wait_output(POLLING)
    talk.heard()
    settled(url, sim)
    serverkit.execute(
        url,
        f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = "
        f"'{BROKEN[how]}'; END $$",
        # Every table: what can be written in one of them would end the trouble for a moment.
        "DO $$ DECLARE one text; BEGIN FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP "
        "EXECUTE format('CREATE TRIGGER fails BEFORE INSERT OR UPDATE OR DELETE ON %I EXECUTE FUNCTION fail()', "
        "one); END LOOP; END $$",
    )
    talk.say()
    chat.wait_text("new commands and alerts wait", chat_id=OWNER)
    talk.say()
    serverkit.execute(url, "DROP FUNCTION fail() CASCADE")
    talk.heard()
    talk.all_answered_once()
    chat.wait_text("The database can be written again", chat_id=OWNER)
    assert bot.output.count("commands and alerts wait") == 1
    assert NO_LONGER not in bot.output, "the connection is well"


def test_a_copy_that_is_chosen_while_the_disk_is_full_says_so_once_and_leads_when_it_can(
    machine: Machine, chat: SimBot, sim: Simulator, talk: Talk, url: str
) -> None:
    one, two = pair(machine, chat, sim)
    talk.heard()
    settled(url, sim)
    tables = [
        str(row[0])
        for row in serverkit.execute(
            url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    ]
    serverkit.execute(
        url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = "
        "'53100'; END $$",
        *[f"CREATE TRIGGER fails BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION fail()" for table in tables],
    )
    one.kill()
    two.wait_output("is full")
    talk.say()
    calls = chat.count("getUpdates")
    sim.wait(lambda: chat.count("getUpdates") > calls + 4, what="it is chosen again and again")
    serverkit.execute(url, "DROP FUNCTION fail() CASCADE")
    talk.heard()
    talk.all_answered_once()
    assert two.output.count("is full") == 1
    assert two.output.count(LEADS) <= 2


def test_a_server_that_takes_no_more_connections_is_waited_for(machine: Machine, url: str) -> None:
    with as_role(url, "LOGIN CONNECTION LIMIT 1") as (_, theirs):
        one = machine("one", DATABASE_URL=theirs)
        one.wait_output(POLLING)
        two = machine("two", DATABASE_URL=theirs)
        two.wait_output("accepts no more connections")
        one.kill()
        two.wait_output(POLLING)
        assert two.output.count("accepts no more connections") == 1
        two.kill()


# A pooler


POOLER = """
[databases]
{name} = host=127.0.0.1 port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
auth_type = any
pool_mode = {mode}
user = nobody
"""


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_that_lends_its_connections_for_one_transaction_is_refused_in_words(
    machine: Machine, url: str, tmp_path: Path, mode: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = free.getsockname()[1]
    parts = urlsplit(url)
    config = tmp_path / "pgbouncer.ini"
    name, port = parts.path[1:], parts.port or 5432
    words = POOLER.format(name=f"{name}", port=f"{port} user={parts.username}", listen=listen, mode=mode)
    config.write_text(words, encoding="utf-8")
    pooler = subprocess.Popen(["pgbouncer", str(config)], stderr=subprocess.PIPE, encoding="utf-8")
    try:
        assert pooler.stderr is not None
        assert any("process up" in line for line in pooler.stderr)
        bot = machine("one", DATABASE_URL=f"postgresql://postgres@127.0.0.1:{listen}/{name}")
        if mode == "session":
            bot.wait_output(POLLING)
        else:
            assert bot.wait_exit() == 78
            assert "pooler in transaction mode" in bot.output
            assert "Traceback" not in bot.output
    finally:
        pooler.kill()
        pooler.wait(30)
