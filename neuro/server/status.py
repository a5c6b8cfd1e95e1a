"""What a node says about itself: readiness, the status document, metrics.

Owns the shape of `/api/v1/status` and the definition of the hit ratio. Reads counters, changes
none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from neuro.telemetry.metrics import OUTCOMES, NodeMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from neuro.clock import Clock
    from neuro.server.origin_health import OriginHealth

SCHEMA_VERSION = 1
_US_PER_S = 1_000_000
_HIT_OUTCOMES = ("hit", "stale", "prefetched")
_LOOKUP_OUTCOMES = (*_HIT_OUTCOMES, "miss", "revalidated", "collapsed")
_EDGE_KEYS = (
    "connections_open",
    "connections_accepted",
    "connections_refused",
    "requests",
    "requests_in_flight",
    "hits_native",
    "handed_over",
    "shed",
    "bytes_received",
    "bytes_sent",
)
_SLAB_KEYS = ("arena_bytes", "pages_total", "pages_free")
_SIZE_CLASS_KEYS = (
    "slot_bytes",
    "page_count",
    "slots_total",
    "slots_live",
    "bytes_requested",
    "evictions",
)


class NodeStatus:
    """The node as the admin port sees it (`neuro.admin.app.NodeView`)."""

    def __init__(
        self,
        *,
        node_id: int,
        version: str,
        clock: Clock,
        metrics: NodeMetrics,
        health: OriginHealth,
        engine_stats: Callable[[], Mapping[str, Any]],
        slab_stats: Callable[[], Mapping[str, Any]],
        upstream_stats: Callable[[], Mapping[str, Mapping[str, Any]]],
    ) -> None:
        self._node_id = node_id
        self._version = version
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._engine_stats = engine_stats
        self._slab_stats = slab_stats
        self._upstream_stats = upstream_stats
        self._started_wall_ms = clock.wall_ms()
        self._started_ms = clock.monotonic_ms()
        self.edge_address = ""
        self.admin_address = ""
        self.is_edge_listening = False
        self.is_slab_open = False
        self.is_draining = False

    def find_unready_reasons(self) -> Sequence[str]:
        """Stable words: `slab_closed`, `edge_not_listening`, `draining`."""
        reasons = []
        if not self.is_slab_open:
            reasons.append("slab_closed")
        if not self.is_edge_listening:
            reasons.append("edge_not_listening")
        if self.is_draining:
            reasons.append("draining")
        return reasons

    def render_metrics(self) -> bytes:
        """The text exposition format."""
        return self._metrics.render()

    def describe(self) -> dict[str, Any]:
        """The status document; ids are text, times RFC 3339, durations seconds."""
        engine = self._engine_stats()
        slab = self._slab_stats()
        reasons = self.find_unready_reasons()
        started = datetime.fromtimestamp(self._started_wall_ms / 1_000, UTC)
        return {
            "schema_version": SCHEMA_VERSION,
            "id": str(self._node_id),
            "version": self._version,
            "started_at": started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "uptime_s": (self._clock.monotonic_ms() - self._started_ms) / 1_000,
            "ready": not reasons,
            "reasons": list(reasons),
            "edge": {
                "address": self.edge_address,
                **{key: engine[key] for key in _EDGE_KEYS},
            },
            "admin": {"address": self.admin_address},
            "cache": describe_cache(engine, slab),
            "slab": {
                **{key: slab[key] for key in _SLAB_KEYS},
                "size_classes": [
                    {key: row[key] for key in _SIZE_CLASS_KEYS}
                    for row in slab["size_classes"]
                    if row["page_count"]
                ],
            },
            "origins": [
                self._describe_origin(origin, stats)
                for origin, stats in self._upstream_stats().items()
            ],
        }

    def _describe_origin(self, origin: str, stats: Mapping[str, Any]) -> dict[str, Any]:
        answers = sum(stats["first_byte"])
        return {
            "url": origin,
            "health": self._health.judge(origin, stats),
            "requests": stats["requests"],
            "errors": sum(stats["errors"].values()),
            "connections_open": stats["connections_open"],
            "connections_idle": stats["connections_idle"],
            "first_byte_mean_s": (
                stats["first_byte_sum_us"] / answers / _US_PER_S if answers else None
            ),
        }


def describe_cache(engine: Mapping[str, Any], slab: Mapping[str, Any]) -> dict[str, Any]:
    """Objects, bytes and the hit ratio.

    A lookup is a response to a request that the cache could have answered; it is a hit when its
    body came from the slab without waiting for an origin. Bypassed requests, errors and writes do
    not count.
    """
    outcomes = {name: engine["outcomes"][name] for name in OUTCOMES}
    hits = sum(outcomes[name] for name in _HIT_OUTCOMES)
    lookups = sum(outcomes[name] for name in _LOOKUP_OUTCOMES)
    return {
        "objects": slab["objects_live"],
        "bytes": slab["body_bytes_live"],
        "evictions": slab["evictions"],
        "hits": hits,
        "lookups": lookups,
        "hit_ratio": hits / lookups if lookups else None,
        "outcomes": outcomes,
    }
