"""A market that has stopped: how long a coin is usually silent, and whether it is silent for longer now. Pure.

A halted market answers as ever, with its last trades. So the silences of a coin are measured, by the venue's own
times, from one read to the next; one that is much longer than the longest of the last days is told once.
"""

from __future__ import annotations

from dataclasses import dataclass

TIMES = 5.0  # the longest usual silence, after which a market has stopped
SHORTEST = 300.0  # seconds
READS, HABIT = 10, 120.0  # reads with trades, and seconds from the first of them, until a habit is known
HALVED_IN = 86400.0  # seconds in which the memory of a long silence fades to a half


@dataclass
class Silence:
    """One coin at one venue. newest: when it was traded last, unix seconds, 0 when not known. longest: the longest
    usual silence, seconds. reads: how many brought trades since it is read without a gap, began: when the first of
    them was. told: since when it is silent, 0 when nobody was told."""

    newest: float = 0.0
    longest: float = 0.0
    reads: int = 0
    began: float = 0.0
    told: float = 0.0

    def traded(self, first: float, last: float) -> float:
        """Trades came, of these times. Returns how long it was silent if that was told, else 0."""
        ended, self.told = (first - self.told if self.told else 0.0), 0.0
        if self.reads and not ended:
            lasted = max(0.0, first - self.newest)
            self.longest = max(lasted, self.longest * 0.5 ** (lasted / HALVED_IN))
        if not self.reads:
            self.began = first
        self.reads += 1
        self.newest = last
        return max(0.0, ended)

    def too_long(self, now: float) -> float:
        """No trade came up to `now`. Returns how long it has been silent, once, if that is too long; else 0."""
        lasted = now - self.newest
        known = self.reads >= READS and self.newest - self.began >= HABIT
        if not (self.newest and known) or self.told or lasted <= max(SHORTEST, TIMES * self.longest):
            return 0.0
        self.told = self.newest
        return lasted
