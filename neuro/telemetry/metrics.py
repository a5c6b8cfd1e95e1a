"""Prometheus metrics, read from where they are counted at the moment of a scrape.

Owns names, help texts and labels. Never counts on a request's path: the engine, the slab and the
pool to the origin keep plain counters, and one collector asks them. Labels come from fixed lists;
nothing that a client sends ever becomes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from neuro.telemetry.loop_lag import BUCKETS_S, LoopLag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_US_PER_S = 1_000_000

OUTCOMES = (
    "hit",
    "miss",
    "revalidated",
    "stale",
    "collapsed",
    "bypass",
    "error",
    "object_api",
    "prefetched",
)
"""Names of NC_OUTCOME_*, in the order of the header."""

# (key in the stats, metric, help); a counter's metric gets `_total`.
_ENGINE_COUNTERS = (
    ("connections_accepted", "connections_accepted", "Client connections accepted"),
    ("connections_refused", "connections_refused", "Client connections over the limit"),
    ("requests", "http_requests", "Complete and valid request heads"),
    ("hits_native", "native_hits", "Requests answered from the slab without Python"),
    ("hits_not_modified", "native_hits_not_modified", "Native hits answered with 304"),
    ("hits_partial", "native_hits_partial", "Native hits answered with 206"),
    ("handed_over", "requests_handed_over", "Requests given to Python"),
    ("shed", "requests_shed", "Requests answered with 503 because a bound was reached"),
    ("bytes_received", "received_bytes", "Bytes read from clients"),
    ("bytes_sent", "sent_bytes", "Bytes written to clients"),
    ("handler_failures", "handler_failures", "Requests whose handler failed: each is a bug"),
)
_REJECTIONS = ("400", "408", "414", "431", "501", "505")
_TIMEOUT_PHASES = ("idle", "send", "body")
_SLAB_COUNTERS = (
    ("evicted_bytes", "evicted_bytes", "Body bytes of evicted objects"),
    ("deletes", "deletes", "Objects removed by request"),
    ("allocation_failures", "allocation_failures", "Objects for which no room could be made"),
    ("pages_moved", "slab_pages_moved", "Pages taken from one size class for another"),
)
_UPSTREAM_COUNTERS = (
    ("requests", "origin_requests", "Requests sent to the origin"),
    ("retries", "origin_retries", "Further attempts after a failure"),
    ("connects", "origin_connects", "Connections made to the origin"),
    ("reused", "origin_connections_reused", "Requests on a connection that was kept"),
    ("bytes_sent", "origin_sent_bytes", "Bytes sent to the origin"),
    ("bytes_received", "origin_received_bytes", "Bytes received from the origin"),
)


class NodeMetrics:
    """The registry of one node.

    Args:
        version: Of the program.
        engine_stats: Gives nc_engine_stats and what the edge counts beside it as a mapping.
        slab_stats: Gives nc_slab_stats as a mapping.
        upstream_stats: Gives the counters of each origin by a configured name.
        loop_lag: The event loop's measurements.
        log_records_dropped: How many log lines were lost.
    """

    def __init__(
        self,
        *,
        version: str,
        engine_stats: Callable[[], Mapping[str, Any]],
        slab_stats: Callable[[], Mapping[str, Any]],
        upstream_stats: Callable[[], Mapping[str, Mapping[str, Any]]],
        loop_lag: LoopLag,
        log_records_dropped: Callable[[], int],
    ) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        collector = _NodeCollector(
            version, engine_stats, slab_stats, upstream_stats, loop_lag, log_records_dropped
        )
        self.registry.register(collector)
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """The text exposition format, for `/metrics`."""
        return generate_latest(self.registry)


class _NodeCollector(Collector):
    def __init__(
        self,
        version: str,
        engine_stats: Callable[[], Mapping[str, Any]],
        slab_stats: Callable[[], Mapping[str, Any]],
        upstream_stats: Callable[[], Mapping[str, Mapping[str, Any]]],
        loop_lag: LoopLag,
        log_records_dropped: Callable[[], int],
    ) -> None:
        self._version = version
        self._engine_stats = engine_stats
        self._slab_stats = slab_stats
        self._upstream_stats = upstream_stats
        self._loop_lag = loop_lag
        self._log_records_dropped = log_records_dropped

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known at a scrape only, and nobody else registers here."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, from one reading of each source."""
        yield InfoMetricFamily(
            "neurocache_build", "Version of the program", {"version": self._version}
        )
        yield from engine_metrics(self._engine_stats())
        yield from slab_metrics(self._slab_stats())
        yield from upstream_metrics(self._upstream_stats())
        yield _histogram(
            "event_loop_lag_seconds",
            "How late the event loop ran a timer",
            [((), BUCKETS_S, self._loop_lag.bucket_counts, self._loop_lag.sum_s)],
            labels=(),
        )
        yield _counter(
            "log_records_dropped",
            "Log lines lost because stderr was slow",
            self._log_records_dropped(),
        )


def engine_metrics(stats: Mapping[str, Any]) -> Iterator[Metric]:
    """Families of the edge engine."""
    for key, name, text in _ENGINE_COUNTERS:
        yield _counter(name, text, stats[key])
    yield _labelled(
        "requests",
        "Finished responses by what the cache did",
        "cache",
        ((name, stats["outcomes"][name]) for name in OUTCOMES),
    )
    yield _labelled(
        "responses",
        "Finished responses by status class",
        "status_class",
        ((f"{index}xx", stats["status_class"][index]) for index in range(1, 6)),
    )
    yield _labelled(
        "requests_rejected",
        "Malformed or oversized requests",
        "status",
        ((status, stats[f"rejected_{status}"]) for status in _REJECTIONS),
    )
    yield _labelled(
        "connection_timeouts",
        "Connections ended by a deadline",
        "phase",
        ((phase, stats[f"timeouts_{phase}"]) for phase in _TIMEOUT_PHASES),
    )
    yield _labelled(
        "access_events",
        "Records of finished responses",
        "result",
        ((result, stats[f"access_{result}"]) for result in ("recorded", "dropped")),
    )
    yield _gauge("connections_open", "Client connections", stats["connections_open"])
    yield _gauge("requests_in_flight", "Requests waiting for Python", stats["requests_in_flight"])
    yield _gauge("background_tasks", "Revalidations under way", stats["background_tasks"])
    yield _histogram(
        "request_duration_seconds",
        "From the complete head to the last byte handed to the kernel",
        [
            (
                ("native",),
                *_power_buckets(stats["hit_duration"]),
                stats["hit_duration_sum_us"] / _US_PER_S,
            ),
            (
                ("python",),
                *_power_buckets(stats["other_duration"]),
                stats["other_duration_sum_us"] / _US_PER_S,
            ),
        ],
        labels=("answered_by",),
    )


def slab_metrics(stats: Mapping[str, Any]) -> Iterator[Metric]:
    """Families of the slab, those of each size class labelled by its slot size."""
    for key, name, text in _SLAB_COUNTERS:
        yield _counter(name, text, stats[key])
    yield _labelled(
        "fills",
        "Objects that were begun, and those given up",
        "result",
        (("begun", stats["fills"]), ("aborted", stats["fills_aborted"])),
    )
    yield _gauge("cache_bytes", "Body bytes of live objects", stats["body_bytes_live"])
    objects = GaugeMetricFamily("neurocache_cache_objects", "Objects by state", labels=["state"])
    for state in ("live", "filling", "retired"):
        objects.add_metric([state], stats[f"objects_{state}"])
    yield objects
    yield _gauge("slab_arena_bytes", "Size of the arena", stats["arena_bytes"])
    yield _gauge("slab_pages", "Pages of the arena", stats["pages_total"])
    yield _gauge("slab_pages_free", "Pages that no size class owns", stats["pages_free"])
    yield _gauge("slab_index_slots", "Slots of the index", stats["index_slots"])
    yield _gauge("slab_index_used", "Slots of the index in use", stats["index_used"])
    yield from _size_class_metrics(stats["size_classes"])


def _size_class_metrics(classes: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    gauges = (
        ("page_count", "size_class_pages", "Pages of the size class"),
        ("slots_total", "size_class_slots", "Slots of the size class"),
        ("slots_live", "size_class_slots_live", "Slots that hold a live object"),
        ("bytes_requested", "size_class_requested_bytes", "Bytes that its live objects need"),
    )
    for key, name, text in gauges:
        family = GaugeMetricFamily(f"neurocache_{name}", text, labels=["slot_bytes"])
        for row in classes:
            family.add_metric([str(row["slot_bytes"])], row[key])
        yield family
    yield _labelled(
        "evictions",
        "Objects evicted to make room",
        "slot_bytes",
        ((str(row["slot_bytes"]), row["evictions"]) for row in classes),
    )


def upstream_metrics(origins: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """Families of the pools to the origins; the label is the configured origin."""
    if not origins:
        return
    for key, name, text in _UPSTREAM_COUNTERS:
        yield _labelled(name, text, "origin", ((o, stats[key]) for o, stats in origins.items()))
    errors = CounterMetricFamily(
        "neurocache_origin_errors", "Failed exchanges with the origin", labels=["origin", "code"]
    )
    responses = CounterMetricFamily(
        "neurocache_origin_responses", "Answers of the origin", labels=["origin", "status_class"]
    )
    open_count = GaugeMetricFamily(
        "neurocache_origin_connections", "Open connections", labels=["origin", "state"]
    )
    durations = []
    for origin, stats in origins.items():
        for code, count in stats["errors"].items():
            errors.add_metric([origin, code], count)
        for index in range(1, 6):
            responses.add_metric([origin, f"{index}xx"], stats["status_class"][index])
        idle = stats["connections_idle"]
        open_count.add_metric([origin, "idle"], idle)
        open_count.add_metric([origin, "busy"], max(0, stats["connections_open"] - idle))
        durations.append(
            (
                (origin,),
                *_power_buckets(stats["first_byte"]),
                stats["first_byte_sum_us"] / _US_PER_S,
            )
        )
    yield errors
    yield responses
    yield open_count
    yield _histogram(
        "origin_first_byte_seconds",
        "From the request to the head of the origin's answer",
        durations,
        labels=("origin",),
    )


_HistogramRow = tuple[tuple[str, ...], "Sequence[float]", "Sequence[int]", float]


def _power_buckets(counts: Sequence[int]) -> tuple[tuple[float, ...], Sequence[int]]:
    """Bounds in seconds of buckets that count durations below 2^i microseconds; the last: all."""
    return tuple(2**index / _US_PER_S for index in range(len(counts) - 1)), counts


def _histogram(
    name: str, text: str, rows: Iterable[_HistogramRow], *, labels: tuple[str, ...]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"neurocache_{name}", text, labels=labels)
    for values, bounds, counts, total in rows:
        running = 0
        buckets = []
        for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
            running += count
            buckets.append((str(bound), float(running)))
        family.add_metric(values, buckets, total)
    return family


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"neurocache_{name}", text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"neurocache_{name}", text, value=value)


def _labelled(
    name: str, text: str, label: str, rows: Iterable[tuple[str, float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"neurocache_{name}", text, labels=[label])
    for value, count in rows:
        family.add_metric([value], count)
    return family
