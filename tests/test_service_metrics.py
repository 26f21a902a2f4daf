"""The metrics: Prometheus can read them, they match the state, and the dashboard uses only those that exist."""

from __future__ import annotations

import builtins
import json
import re
import sys
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from test_service_web import STANDBY, STUCK, VIEW

from service import metrics
from service.metrics import BOUNDS, LATEST, Latency

prometheus_client = pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))


def scraped(view: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Each sample by its name and its labels' values, in the order of the labels' names."""
    families = text_string_to_metric_families(metrics.exposition(view).decode())
    return {
        (sample.name, " ".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_own_parser_reads_the_state() -> None:
    found = scraped(VIEW)
    assert found["cryptosat_info", "42 my_whale_bot 9.9.9"] == 1
    assert found["cryptosat_healthy", ""] == 1
    assert found["cryptosat_queue_messages", ""] == 7
    assert found["cryptosat_alerts_24h", ""] == 276
    assert found["cryptosat_source_missed_trades_total", "binance Binance spot"] == 12
    assert found["cryptosat_source_silent_seconds", "binance Binance spot"] == 4.5
    assert found["cryptosat_source_state", "kraken unused Kraken"] == 1
    assert found["cryptosat_thread_quiet_seconds", "polling"] == 1.5
    assert ("cryptosat_source_lag_seconds", "kraken Kraken") not in found, "a source that is not read has no lag"


def test_the_latency_is_a_histogram_whose_buckets_add_up() -> None:
    found = scraped(VIEW)
    assert found["cryptosat_delivery_seconds_bucket", "0.1"] == 90
    assert found["cryptosat_delivery_seconds_bucket", "1"] == 99
    assert found["cryptosat_delivery_seconds_bucket", "+Inf"] == 100
    assert found["cryptosat_delivery_seconds_count", ""] == 100
    assert found["cryptosat_delivery_seconds_sum", ""] == 412.5


def test_exactly_one_polling_state_is_on() -> None:
    for view in (VIEW, VIEW | STANDBY):
        found = scraped(view)
        on = [labels for (name, labels), value in found.items() if name == "cryptosat_polling_state" and value]
        assert on == [view["polling"]["state"]]


def test_a_problem_shows() -> None:
    found = scraped(VIEW | STUCK | {"conflict": STANDBY["conflict"]})
    assert found["cryptosat_healthy", ""] == 0
    assert found["cryptosat_stuck_threads", ""] == 1
    assert found["cryptosat_conflict", ""] == 1
    assert found["cryptosat_conflict_answers_total", ""] == 3


def test_a_bot_that_has_just_started_can_be_scraped() -> None:
    """Before the first collection only what is live is known."""
    live = (
        "now",
        "healthy",
        "problems",
        "stuck",
        "polling",
        "conflict",
        "alerts_paused",
        "alerts_by_hour",
        "latency",
        "started_at",
    )
    found = scraped({name: VIEW[name] for name in live} | {"alerts_by_hour": []})
    assert found["cryptosat_alerts_24h", ""] == 0
    assert ("cryptosat_queue_messages", "") not in found


def test_without_the_library_the_answer_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "prometheus_client":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(metrics.MetricsMissing, match="pip install prometheus_client"):
        metrics.exposition(VIEW)


# The dashboard


def expressions() -> list[str]:
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*found, *(row["definition"] for row in DASHBOARD["templating"]["list"] if "definition" in row)]


def test_each_metric_of_the_dashboard_exists_and_with_the_labels_it_asks_for() -> None:
    families = list(text_string_to_metric_families(metrics.exposition(VIEW).decode()))
    labels = {
        sample.name: set(sample.labels) | {"instance", "le"} for family in families for sample in family.samples
    }
    if not sys.platform.startswith("linux"):  # the process metrics are read from /proc
        labels |= {name: {"instance"} for words in expressions() for name in re.findall(r"process_\w+", words)}
    used = {
        (name, asked)
        for words in expressions()
        for name, asked in re.findall(r"((?:cryptosat|process)_\w+)(\{[^}]*\})?", words)
    }
    assert len(used) > 20
    for name, asked in used:
        assert name in labels, f"the dashboard asks for {name}, which the bot does not have"
        assert set(re.findall(r"(\w+)=", asked)) <= labels[name]


def test_the_dashboards_panels_do_not_overlap_and_name_their_data_source_by_a_variable() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


# Delivery times


def test_without_a_sent_message_there_are_no_percentiles() -> None:
    spread = Latency().spread()
    assert (spread.p50, spread.p95, spread.longest, spread.latest, sum(spread.counts)) == (None, None, None, 0, 0)


def test_percentiles_are_by_the_nearest_rank() -> None:
    latency = Latency()
    for number in range(1, 101):
        latency.add(float(number))
    spread = latency.spread()
    assert (spread.p50, spread.p95, spread.longest) == (50.0, 95.0, 100.0)


def test_a_clock_that_went_back_makes_no_negative_time() -> None:
    latency = Latency()
    latency.add(-3600.0)
    assert latency.spread().longest == 0.0
    assert latency.spread().total == 0.0


@given(st.lists(st.floats(0, 1000), max_size=LATEST))
def test_each_message_is_in_the_one_bucket_whose_bound_it_does_not_exceed(times: list[float]) -> None:
    latency = Latency()
    for seconds in times:
        latency.add(seconds)
    counts = latency.spread().counts
    assert sum(counts) == len(times)
    for number, bound in enumerate(BOUNDS):
        assert sum(counts[: number + 1]) == sum(seconds <= bound for seconds in times)


def test_percentiles_are_of_the_latest_messages_and_counts_of_all() -> None:
    latency = Latency()
    latency.add(500.0)
    for _ in range(LATEST):
        latency.add(0.01)
    spread = latency.spread()
    assert spread.longest == 0.01
    assert spread.counts[-1] == 1
    assert spread.latest == LATEST
