"""Metrics: valid exposition, right figures, bounded labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from neuro.telemetry.loop_lag import LoopLag
from neuro.telemetry.metrics import OUTCOMES
from tests.unit.telemetry.samples import (
    engine_stats,
    make_metrics,
    render_page,
    slab_stats,
    upstream_stats,
)


def scrape(
    engine: dict[str, Any] | None = None,
    slab: dict[str, Any] | None = None,
    origins: dict[str, dict[str, Any]] | None = None,
    lag: LoopLag | None = None,
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    metrics = make_metrics(engine, slab, origins, lag)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_names_follow_prometheus_and_carry_the_prefix() -> None:
    names = {name for name, _ in scrape(origins={"http://o": upstream_stats()})}
    own = {name for name in names if not name.startswith("process_")}
    assert own
    assert all(re.fullmatch(r"neurocache_[a-z][a-z_]*", name) for name in own)
    assert ("neurocache_build_info", (("version", "1.2.3"),)) in scrape()


def test_outcomes_are_counted_by_their_names() -> None:
    values = scrape(engine_stats(outcomes=dict.fromkeys(OUTCOMES, 1) | {"hit": 9}))
    assert values["neurocache_requests_total", (("cache", "hit"),)] == 9
    assert values["neurocache_requests_total", (("cache", "prefetched"),)] == 1


def test_a_histogram_is_cumulative_and_ends_at_infinity() -> None:
    buckets = [0] * 24
    buckets[3], buckets[10], buckets[23] = 5, 2, 1
    values = scrape(engine_stats(hit_duration=buckets, hit_duration_sum_us=2_500_000))
    name = "neurocache_request_duration_seconds"
    native = ("answered_by", "native")

    def bucket(bound: str) -> float:
        return values[f"{name}_bucket", (native, ("le", bound))]

    assert bucket("4e-06") == 0
    assert bucket("8e-06") == 5
    assert bucket("0.001024") == 7
    assert bucket("+Inf") == 8
    assert values[f"{name}_count", (native,)] == 8
    assert values[f"{name}_sum", (native,)] == 2.5


def test_the_slab_shows_each_size_class() -> None:
    values = scrape(slab=slab_stats(objects_live=7, body_bytes_live=6_000))
    row = (("slot_bytes", "1024"),)
    assert values["neurocache_cache_objects", (("state", "live"),)] == 7
    assert values["neurocache_cache_bytes", ()] == 6_000
    assert values["neurocache_size_class_slots_live", row] == 7
    assert values["neurocache_evictions_total", row] == 3


def test_an_origin_shows_requests_errors_and_latency() -> None:
    stats = upstream_stats(
        requests=5, errors={"upstream_timeout": 2}, connections_open=4, connections_idle=1
    )
    stats["first_byte"][26] = 1
    values = scrape(origins={"http://o:1": stats})
    origin = ("origin", "http://o:1")
    assert values["neurocache_origin_requests_total", (origin,)] == 5
    errors = (("code", "upstream_timeout"), origin)
    assert values["neurocache_origin_errors_total", errors] == 2
    assert values["neurocache_origin_connections", (origin, ("state", "busy"))] == 3
    assert values["neurocache_origin_first_byte_seconds_count", (origin,)] == 1


def test_lag_and_lost_log_lines_are_counted() -> None:
    lag = LoopLag()
    lag.record(0.003)
    lag.record(9.0)
    values = scrape(lag=lag)
    name = "neurocache_event_loop_lag_seconds"
    assert values[f"{name}_bucket", (("le", "0.005"),)] == 1
    assert values[f"{name}_count", ()] == 2
    assert values["neurocache_log_records_dropped_total", ()] == 4


def test_labels_never_come_from_traffic() -> None:
    allowed = {
        "access_events", "answered_by", "cache", "code", "le", "origin", "phase", "result",
        "slot_bytes", "state", "status", "status_class", "version",
    }  # fmt: skip
    labels = {label for _, pairs in scrape(origins={"o": upstream_stats()}) for label, _ in pairs}
    assert labels <= allowed


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
    hint = "run: python -m tests.unit.telemetry.samples > docs/reference/metrics.md"
    assert page.read_text(encoding="utf-8") == render_page(), hint


def test_every_counter_says_what_it_counts() -> None:
    for family in make_metrics().registry.collect():
        assert family.documentation, family.name
