"""Stats as the native code and the origin pool give them, for tests that need no engine.

Owns plain mappings with every key of `EdgeService.stats`, `Slab.stats` and `UpstreamStats`.
"""

from __future__ import annotations

import sys
from typing import Any

from neuro.telemetry.loop_lag import LoopLag
from neuro.telemetry.metrics import OUTCOMES, NodeMetrics
from neuro.telemetry.reference import render_metrics_reference


def engine_stats(**changes: Any) -> dict[str, Any]:
    """All zero, save what is given."""
    names = (
        "connections_accepted connections_open connections_refused requests hits_native "
        "hits_not_modified hits_partial handed_over shed bytes_received bytes_sent rejected_400 "
        "rejected_408 rejected_414 rejected_431 rejected_501 rejected_505 timeouts_idle "
        "timeouts_send timeouts_body access_recorded access_dropped requests_in_flight "
        "hit_duration_sum_us other_duration_sum_us handler_failures background_tasks"
    )
    stats: dict[str, Any] = dict.fromkeys(names.split(), 0)
    stats |= {
        "outcomes": dict.fromkeys(OUTCOMES, 0),
        "status_class": [0] * 6,
        "hit_duration": [0] * 24,
        "other_duration": [0] * 24,
    }
    return stats | changes


def slab_stats(**changes: Any) -> dict[str, Any]:
    """All zero with one size class, save what is given."""
    names = (
        "arena_bytes pages_total pages_free objects_live objects_filling objects_retired "
        "body_bytes_live lookups lookup_hits fills fills_aborted evictions evicted_bytes deletes "
        "allocation_failures pages_moved index_slots index_used"
    )
    row = {
        "slot_bytes": 1024,
        "page_count": 2,
        "slots_total": 2048,
        "slots_live": 7,
        "bytes_requested": 7000,
        "evictions": 3,
    }
    return dict.fromkeys(names.split(), 0) | {"size_classes": [row]} | changes


def upstream_stats(**changes: Any) -> dict[str, Any]:
    """Counters of one origin, all zero save what is given."""
    names = (
        "requests retries connects reused connections_open connections_idle unsolicited "
        "bytes_sent bytes_received first_byte_sum_us"
    )
    stats: dict[str, Any] = dict.fromkeys(names.split(), 0)
    stats |= {"errors": {}, "status_class": [0] * 6, "first_byte": [0] * 27}
    return stats | changes


def make_metrics(
    engine: dict[str, Any] | None = None,
    slab: dict[str, Any] | None = None,
    origins: dict[str, dict[str, Any]] | None = None,
    lag: LoopLag | None = None,
) -> NodeMetrics:
    """The metrics of a node with these stats; of one origin that failed once when none are given."""
    return NodeMetrics(
        version="1.2.3",
        engine_stats=lambda: engine or engine_stats(),
        slab_stats=lambda: slab or slab_stats(),
        upstream_stats=lambda: (
            {"http://o": upstream_stats(errors={"upstream_timeout": 1})}
            if origins is None
            else origins
        ),
        loop_lag=lag or LoopLag(),
        log_records_dropped=lambda: 4,
    )


def render_page() -> str:
    """docs/reference/metrics.md as it should be."""
    families = (
        family
        for family in make_metrics().registry.collect()
        if family.name.startswith("neurocache_")
    )
    return render_metrics_reference(families)


if __name__ == "__main__":
    sys.stdout.write(render_page())
