"""One node: makes the parts, starts them in order, stops them in reverse.

Owns the order. Whatever fails, everything started before it is stopped again, so a failed start
leaves no lock, port or thread behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import neuro
from neuro.admin.server import AdminServer
from neuro.clock import SystemClock
from neuro.config.secret import read_secret
from neuro.edge.service import EdgeService
from neuro.errors import SlabError, StartError
from neuro.server.edge_settings import make_edge_settings
from neuro.server.origin_health import SAMPLE_INTERVAL_S, OriginHealth
from neuro.server.resources import (
    DataDirectory,
    describe_bind_error,
    probe_address,
    raise_file_limit,
)
from neuro.server.status import NodeStatus
from neuro.store import ObjectStore
from neuro.telemetry.access_log import AccessLog
from neuro.telemetry.loop_lag import LoopLag
from neuro.telemetry.metrics import NodeMetrics
from neuro.units import Address, format_size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from neuro.config import Config
    from neuro.edge.settings import EdgeSettings
    from neuro.server.control import ControlPlane

_log = logging.getLogger("neuro.server")

ARENA_FILE_NAME = "arena"
CONNECTIONS_POLL_S = 0.02


class Node:
    """A node of one process. `start` once, then `stop` once."""

    def __init__(self, config: Config, *, log_records_dropped: Callable[[], int]) -> None:
        self._config = config
        self._clock = SystemClock()
        self._log_records_dropped = log_records_dropped
        self._stack = contextlib.AsyncExitStack()
        self._health = OriginHealth()
        self._health_timer: asyncio.TimerHandle | None = None
        self._edge: EdgeService | None = None
        self.status: NodeStatus | None = None
        self.control: ControlPlane | None = None
        self.last_summary: Mapping[str, Any] = {}
        self.edge_address = config.edge.bind
        self.admin_address = config.admin.bind

    async def start(self) -> None:
        """Brings everything up; readiness comes last.

        Raises:
            StartError: with the reason, and what to do.
            ConfigError: the token file holds no usable token.
            NativeError: the native library is missing or of another version.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self._start_parts(stack)
            self._stack = stack.pop_all()

    async def _start_parts(self, stack: contextlib.AsyncExitStack) -> None:
        config = self._config
        token = read_secret(config.objects.token_file) if config.objects.token_file else None
        probe_address(config.edge.bind, "--edge")
        probe_address(config.admin.bind, "--admin")

        self._warn_about_limits()
        directory = DataDirectory(config.node.data_dir)
        directory.open()
        stack.callback(directory.close)

        store = self._open_store()
        stack.callback(_close_store, store)

        edge = self._bind_edge(make_edge_settings(config, token), store)
        stack.push_async_callback(edge.stop)
        self._edge = edge
        self.edge_address = Address(config.edge.bind.host, edge.port)

        lag = LoopLag()
        status = self._make_status(edge, store, lag)
        admin = AdminServer(status)
        stack.push_async_callback(admin.stop)
        try:
            self.admin_address = admin.bind(config.admin.bind)
        except OSError as error:
            raise describe_bind_error(error, config.admin.bind, "--admin") from error
        if config.cluster.enabled:
            # Imported here: a node without the store needs neither its code nor its packages.
            from neuro.server.control import ControlPlane  # noqa: PLC0415

            self.control = ControlPlane(config)
            await self.control.start()
            stack.push_async_callback(self.control.stop)
        status.edge_address = str(self.edge_address)
        status.admin_address = str(self.admin_address)
        status.is_slab_open = True
        self.status = status
        await admin.start()

        lag.start()
        stack.callback(lag.stop)
        await edge.start()
        self._sample_health()
        stack.callback(self._stop_sampling)
        if config.log.access:
            access_log = AccessLog(edge.poll_access)
            access_log.start()
            stack.callback(access_log.stop)
        status.is_edge_listening = True

    async def stop(self, timeout_ms: int) -> bool:
        """Says so on `/readyz`, finishes requests in flight, stops; whether all were finished."""
        is_complete = True
        if self.status is not None:
            self.status.is_draining = True
        if self._edge is not None:
            is_complete = await self._drain(self._edge, timeout_ms)
        self.last_summary = self._summarize()
        await self._stack.aclose()
        return is_complete

    async def _drain(self, edge: EdgeService, timeout_ms: int) -> bool:
        """Waits for what Python answers, then for what the engine still sends."""
        deadline_ms = self._clock.monotonic_ms() + timeout_ms
        is_complete = await edge.drain(timeout_ms / 1_000)
        while is_complete and edge.stats()["connections_open"]:
            if self._clock.monotonic_ms() >= deadline_ms:
                return False
            await asyncio.sleep(CONNECTIONS_POLL_S)
        return is_complete

    def _warn_about_limits(self) -> None:
        edge = self._config.edge
        possible = raise_file_limit(edge.connections_max)
        if possible < edge.connections_max:
            _log.warning(
                "the limit of open files allows fewer connections than edge.connections_max",
                extra={"possible": possible, "configured": edge.connections_max},
            )
        for path, address in (("edge.bind", edge.bind), ("admin.bind", self._config.admin.bind)):
            if not address.is_loopback:
                _log.warning(
                    "other machines can connect, without TLS",
                    extra={"option": path, "address": str(address)},
                )

    def _open_store(self) -> ObjectStore:
        node = self._config.node
        try:
            return ObjectStore.open(
                node.memory_bytes,
                path=str(node.data_dir / ARENA_FILE_NAME),
                object_bytes_max=self._config.cache.object_bytes_max,
            )
        except (OSError, MemoryError, SlabError) as error:
            size = format_size_bytes(node.memory_bytes)
            raise StartError(
                f"the slab of {size} cannot be opened in `{node.data_dir}`: {error}",
                hint="choose less with `--memory SIZE`, or another place with `--data DIR`",
            ) from error

    def _bind_edge(self, settings: EdgeSettings, store: ObjectStore) -> EdgeService:
        try:
            return EdgeService(settings, store, clock=self._clock)
        except OSError as error:
            raise describe_bind_error(error, self._config.edge.bind, "--edge") from error

    def _make_status(self, edge: EdgeService, store: ObjectStore, lag: LoopLag) -> NodeStatus:
        metrics = NodeMetrics(
            version=neuro.__version__,
            engine_stats=edge.stats,
            slab_stats=store.slab.stats,
            upstream_stats=edge.upstream_stats,
            loop_lag=lag,
            log_records_dropped=self._log_records_dropped,
        )
        return NodeStatus(
            node_id=self._config.node.id,
            version=neuro.__version__,
            clock=self._clock,
            metrics=metrics,
            health=self._health,
            engine_stats=edge.stats,
            slab_stats=store.slab.stats,
            upstream_stats=edge.upstream_stats,
        )

    def _sample_health(self) -> None:
        if self._edge is not None:
            self._health.sample(self._edge.upstream_stats())
        loop = asyncio.get_running_loop()
        self._health_timer = loop.call_later(SAMPLE_INTERVAL_S, self._sample_health)

    def _stop_sampling(self) -> None:
        if self._health_timer is not None:
            self._health_timer.cancel()

    def _summarize(self) -> Mapping[str, Any]:
        """Figures for the last log line."""
        if self.status is None:
            return {}
        status = self.status.describe()
        return {
            "uptime_s": round(status["uptime_s"], 1),
            "requests": status["edge"]["requests"],
            "hit_ratio": status["cache"]["hit_ratio"],
            "objects": status["cache"]["objects"],
        }


def _close_store(store: ObjectStore) -> None:
    """Closes the slab; one still in use at this point is a bug, but must not hide the exit."""
    try:
        store.close()
    except SlabError:
        _log.exception("the slab could not be closed")
