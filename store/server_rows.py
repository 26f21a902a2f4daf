"""Rows of a PostgreSQL server as those of SQLite are: values by name, by number, or one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import psycopg


class Row(tuple[Any, ...]):
    """A row whose values are also known by name."""

    names: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[dict[str, int]] = {}

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, self.places[key] if isinstance(key, str) else key)

    def keys(self) -> list[str]:
        return list(self.names)


@cache  # one for each query of the store
def _row_type(names: tuple[str, ...]) -> type[Row]:
    places = {name: place for place, name in reversed([*enumerate(names)])}
    return type("Row", (Row,), {"names": names, "places": places})


def rows_by_name(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
    return _row_type(tuple(column.name for column in cursor.description or ()))
