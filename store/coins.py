"""The coins that this bot watches: those of SYMBOLS, with what the owner added and removed in the chat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import overload

from store import Store

MOST = 100
_ADDED, _REMOVED = "coins:added", "coins:removed"  # facts


class Coins(Sequence[str]):
    """A list that any thread may read at any time; a change is seen at once and survives a restart."""

    def __init__(self, store: Store, configured: Sequence[str]) -> None:
        self._store = store
        self._configured = tuple(configured)
        self._all = self._read()

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        return self._all[place]

    def added(self) -> list[str]:
        """The coins that are watched although SYMBOLS does not name them."""
        return [coin for coin in self._all if coin not in self._configured]

    def removed(self) -> list[str]:
        """The coins of SYMBOLS that are not watched."""
        return [coin for coin in self._configured if coin not in self._all]

    def add(self, coin: str) -> None:
        """Watch this coin, from its newest trade on. Raises StoreError."""
        with self._store.transaction():
            self._store.markets.forget_cursors(coin)  # of an earlier time: what was missed since is not a gap
            self._keep([*self._known(_ADDED), coin], [one for one in self._known(_REMOVED) if one != coin])

    def remove(self, coin: str) -> None:
        """Stop watching this coin. Raises StoreError."""
        with self._store.transaction():
            self._keep([one for one in self._known(_ADDED) if one != coin], [*self._known(_REMOVED), coin])

    def _keep(self, added: Sequence[str], removed: Sequence[str]) -> None:
        self._store.set_value(_ADDED, json.dumps(sorted(set(added) - set(self._configured))))
        self._store.set_value(_REMOVED, json.dumps(sorted(set(removed) & set(self._configured))))
        self._all = self._read()

    def _read(self) -> tuple[str, ...]:
        added, removed = self._known(_ADDED), self._known(_REMOVED)
        kept = [coin for coin in self._configured if coin not in removed]
        return tuple(dict.fromkeys([*kept, *added])) or self._configured

    def _known(self, fact: str) -> list[str]:
        return self._store.read_value(fact, lambda kept: [str(coin) for coin in json.loads(kept)], [])
