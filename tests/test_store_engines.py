"""Both engines of the store do the same: the same calls at random give the same answers and leave the same rows."""

from __future__ import annotations

import inspect
import tempfile
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import serverkit
from conftest import BOT_ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storekit import NOW, raw

from store import Store
from store.rows import Alert
from store.schema import NEWEST
from store.volume import Volume
from venues.trades import Bar

NOT_CALLED = {  # what takes SQL or a function, or is about the connection
    *("prune_settled", "read_value", "transaction", "savepoint", "close", "trouble", "when_damaged"),
    *("failing_for", "save_if_deleted"),
}
WORDS = [
    "",
    "BTC",
    "ETH",
    "eth",
    "a",
    "b",
    "Z",
    "a:1",
    "x:-5",
    "%",
    "é",
    "鲸🐳",
    "'; --",
    "quiet",
    "muted",
    "whales",
    "5",
]
NUMBERS = [0.0, 1.0, 2.5, 300.0, NOW, NOW - 1e6, NOW - 3e6, NOW + 60, 1e12]
WHOLE = [*range(8), -5, 60, 300, 2**40]
SEQUENCES = (list, tuple, set, frozenset, Iterable, Collection, Sequence)
MAPPINGS = (dict, Mapping)


def values(hint: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Values of a parameter or a field, few enough to meet again; now and then one that does not fit a column."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(values(one, name) for one in inside))
    if origin in MAPPINGS:
        return st.dictionaries(values(inside[0]), values(inside[1]), max_size=2)
    if origin is tuple and inside[-1:] != (...,):
        return st.tuples(*(values(one) for one in inside))
    if origin in SEQUENCES:
        found = st.lists(values(inside[0]), max_size=4)
        return found.map(frozenset) if origin in (set, frozenset) else found
    if name == "limit":
        return st.integers(0, 6)
    if hint is float:
        return st.sampled_from([*NUMBERS, float("inf")] if name == "until" else [*NUMBERS, *NUMBERS, float("nan")])
    simple = {
        int: st.sampled_from([*WHOLE, *WHOLE, *WHOLE, 2**63]),
        str: st.sampled_from([*WORDS, *WORDS, "\ud800"]),
        bool: st.booleans(),
        type(None): st.none(),
        Any: st.sampled_from(["x", 7, None]),
        object: st.sampled_from(["x", 7, None]),
    }
    return simple[hint] if hint in simple else made(hint)


def made(kind: Any) -> st.SearchStrategy[Any]:
    """A dataclass or a named tuple with any fields."""
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(kind._fields)
    hints = typing.get_type_hints(kind)
    given = {name: values(hints[name], name) for name in names}
    if kind in (Bar, Alert):  # whose numbers are looked at before they come here
        given |= {name: st.sampled_from(NUMBERS) for name in names if hints[name] is float}
    return st.builds(kind, **given)


@dataclass(frozen=True)
class Call:
    part: str
    name: str
    positional: list[Any]
    named: dict[str, Any]

    def on(self, store: Store) -> object:
        return getattr(getattr(store, self.part) if self.part else store, self.name)(*self.positional, **self.named)


def calls(store: Store) -> list[st.SearchStrategy[Call]]:
    """Any public method of the store; of each of its parts alone, which meet the same rows more often; of all."""
    parts = {"": store} | {
        name: part
        for name, part in inspect.getmembers(store)  # also those that are loaded when they are used
        if type(part).__module__.startswith("store.") and name[0] != "_"
    }
    found = [
        st.one_of(
            *(
                call(name, method, function)
                for method, function in inspect.getmembers(type(part), inspect.isfunction)
                if not method.startswith("_") and method not in NOT_CALLED
            )
        )
        for name, part in parts.items()
    ]
    return [*found, st.one_of(*found)]


def call(part: str, method: str, function: Callable[..., Any]) -> st.SearchStrategy[Call]:
    hints = typing.get_type_hints(function, localns={"Volume": Volume})  # which the store imports for types only
    positional, named = [], {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[name] = values(hints[name], name)
        else:
            positional.append(values(hints[name], name))
    return st.builds(
        Call, st.just(part), st.just(method), st.tuples(*positional).map(list), st.fixed_dictionaries(named)
    )


@dataclass(frozen=True)
class Two:
    file: Store
    server: Store
    groups: st.SearchStrategy[list[tuple[str, list[Call]]]] = field(repr=False)

    @cached_property
    def numbered(self) -> list[str]:
        """The tables that never give an id twice."""
        sql = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
        return [str(row[0]) for row in raw(self.file).execute(sql)]

    def empty(self) -> None:
        for store in (self.file, self.server):
            with store.transaction():
                for table in tables(store):
                    store._db.write(f"DELETE FROM {table}")
        raw(self.file).execute("DELETE FROM sqlite_sequence")
        self.same_ids()

    def same_ids(self) -> None:
        """What was undone used up an id in one of them only."""
        used = dict(raw(self.file).execute("SELECT name, seq FROM sqlite_sequence"))
        for table in self.numbered:
            last = used.get(table, 0)
            sql = (
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {last or 1}, {'true' if last else 'false'})"
            )
            self.server._db.rows(sql)


@pytest.fixture(scope="module")
def two(own_database: str) -> Iterator[Two]:
    from store.postgres import Server

    serverkit.empty(own_database)
    with tempfile.TemporaryDirectory() as folder:
        file = Store(Path(folder) / "bot.db", now=lambda: NOW)
        server = Store(Server(own_database, bot_id=BOT_ID), now=lambda: NOW)
        how = st.sampled_from(["alone", "together", "durable", "undone", "inside"])
        groups = (st.tuples(how, st.lists(one, min_size=1, max_size=6)) for one in calls(file))
        yield Two(file, server, st.one_of(*(st.lists(group, max_size=12) for group in groups)))
        file.close()
        server.close()


def tables(store: Store) -> list[str]:
    found = (
        raw(store).execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if store._db.engine.differs == "IS NOT"
        else (
            store._db.rows(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        )
    )
    return sorted(row[0] for row in found if row[0] not in ("about", "sqlite_sequence"))


def columns(store: Store, table: str) -> list[str]:
    if store._db.engine.differs == "IS NOT":
        return [row[1] for row in raw(store).execute(f"PRAGMA table_info({table})")]
    sql = f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    return [row[0] for row in store._db.rows(f"{sql} ORDER BY attnum")]


def rows(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All that is stored, without the numbers of gaps, which nobody uses."""
    return {
        table: sorted(
            (tuple(row)[1 if table == "gaps" else 0 :] for row in store._db.rows(f"SELECT * FROM {table}")), key=repr
        )
        for table in tables(store)
    }


class Undone(Exception):
    """Leaves a transaction."""


ERRORS = (Exception,)  # whatever it is, both engines have to raise it


def outcome(store: Store, how: str, group: list[Call]) -> list[object]:
    """What the calls return, or the kind of error that ended them.

    A server tells what is wrong with a write together with the next answer, or at the end of the transaction.
    """
    answers: list[object] = []

    def run() -> None:
        for one in group:
            answers.append(one.on(store))
        if how == "undone":
            raise Undone

    try:
        if how == "alone":
            run()
        elif how == "inside":
            with store.transaction():
                store.set_value("around", str(len(group)))
                try:
                    with store.savepoint():
                        run()
                except ERRORS as error:
                    answers = [kind(store, error)]
        else:
            with store.transaction(durable=how == "durable"):
                run()
    except ERRORS as error:
        return [kind(store, error) if how != "undone" else how]
    return answers


def kind(store: Store, error: BaseException) -> str:
    """Of several values that are wrong, one engine may meet another one first."""
    values = (OverflowError, UnicodeEncodeError, *store._db.engine.errors)
    return "a bug" if isinstance(error, values) else type(error).__name__


def test_the_tables_of_both_engines_have_the_same_columns(two: Two) -> None:
    assert tables(two.file) == tables(two.server)
    for table in tables(two.file):
        assert columns(two.file, table) == columns(two.server, table), table
    assert (
        two.server._db.number("SELECT version FROM about")
        == raw(two.file).execute("PRAGMA user_version").fetchone()[0]
        == NEWEST
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_the_same_calls_at_random_give_the_same_answers_and_leave_the_same_rows(
    two: Two, data: st.DataObject
) -> None:
    two.empty()
    for way, group in data.draw(two.groups):
        assert outcome(two.file, way, group) == outcome(two.server, way, group), (way, group)
        two.same_ids()
    assert rows(two.file) == rows(two.server)
