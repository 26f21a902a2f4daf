"""kill -9 at random moments while commands and whales come in: a short run of benchmarks/soak.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.soak import soak


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kill -9 and what it leaves behind")
def test_killed_at_any_instant_it_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    """Raises Failed with what was lost, run twice, or sent twice without being in flight at a kill."""
    report = soak(tmp_path, kills=8, seed=15)
    assert sum(report.kills.values()) == 8
    assert report.commands > 50
    assert report.whales > 5
