"""What a node says about itself."""

from __future__ import annotations

from typing import Any

from neuro.clock import ManualClock
from neuro.server.origin_health import WINDOW_SAMPLES, OriginHealth
from neuro.server.status import NodeStatus, describe_cache
from neuro.telemetry.loop_lag import LoopLag
from neuro.telemetry.metrics import OUTCOMES, NodeMetrics
from tests.unit.telemetry.samples import engine_stats, slab_stats, upstream_stats


def make_status(clock: ManualClock, origins: dict[str, dict[str, Any]]) -> NodeStatus:
    health = OriginHealth()
    metrics = NodeMetrics(
        version="1",
        engine_stats=engine_stats,
        slab_stats=slab_stats,
        upstream_stats=lambda: origins,
        loop_lag=LoopLag(),
        log_records_dropped=lambda: 0,
    )
    return NodeStatus(
        node_id=3,
        version="1",
        clock=clock,
        metrics=metrics,
        health=health,
        engine_stats=engine_stats,
        slab_stats=slab_stats,
        upstream_stats=lambda: origins,
    )


def test_every_reason_against_readiness_is_named() -> None:
    status = make_status(ManualClock(), {})
    assert list(status.find_unready_reasons()) == ["slab_closed", "edge_not_listening"]
    status.is_slab_open = status.is_edge_listening = True
    assert not status.find_unready_reasons()
    status.is_draining = True
    assert list(status.find_unready_reasons()) == ["draining"]


def test_the_document_has_text_ids_and_seconds() -> None:
    clock = ManualClock(wall_ms=1_700_000_000_000)
    status = make_status(clock, {"http://o": upstream_stats(requests=2)})
    clock.advance_ms(1_500)
    document = status.describe()
    assert document["schema_version"] == 1
    assert document["id"] == "3"
    assert document["started_at"] == "2023-11-14T22:13:20Z"
    assert document["uptime_s"] == 1.5
    assert document["origins"][0]["url"] == "http://o"
    assert document["origins"][0]["first_byte_mean_s"] is None
    assert document["slab"]["size_classes"][0]["slot_bytes"] == 1024


def test_the_hit_ratio_counts_only_what_could_have_hit() -> None:
    engine = engine_stats(outcomes=dict(zip(OUTCOMES, [6, 2, 1, 1, 1, 50, 50, 50, 1], strict=True)))
    cache = describe_cache(engine, slab_stats())
    assert (cache["hits"], cache["lookups"]) == (8, 12)
    assert cache["hit_ratio"] == 8 / 12
    assert describe_cache(engine_stats(), slab_stats())["hit_ratio"] is None


def test_an_origin_is_judged_by_the_last_half_minute() -> None:
    health = OriginHealth()
    stats = upstream_stats(errors={"upstream_timeout": 3})
    assert health.judge("o", upstream_stats()) == "idle"
    assert health.judge("o", stats) == "failing"
    for _ in range(WINDOW_SAMPLES):
        health.sample({"o": stats})
    assert health.judge("o", stats) == "idle"
    stats["status_class"][2] = 1
    assert health.judge("o", stats) == "ok"
    stats["status_class"][5] = 1
    assert health.judge("o", stats) == "degraded"
