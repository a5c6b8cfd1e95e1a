"""The edge of one node: makes its parts, starts and stops them.

Owns: the engine, the pools, the background work. Never: configuration files, the slab's lifetime,
which belongs to whoever passes the store in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuro import native
from neuro.cache import CollapseTable, SharedCachePolicy
from neuro.edge.access import AccessFeed
from neuro.edge.answers import text_fields
from neuro.edge.background import Background
from neuro.edge.bridge import EngineBridge
from neuro.edge.fetch import OriginFetcher
from neuro.edge.flights import Flights
from neuro.edge.forward import Forwarder
from neuro.edge.handler import EdgeHandler
from neuro.edge.object_api import ObjectApi
from neuro.edge.shelf import Shelf
from neuro.edge.site import SiteHandler
from neuro.edge.upstream_pool import OriginPool
from neuro.http.cache_status import CacheStatus

if TYPE_CHECKING:
    from neuro.clock import Clock
    from neuro.edge.access import AccessSubscription
    from neuro.edge.settings import EdgeSettings, ListenSettings, SiteSettings
    from neuro.native import Engine, Slab
    from neuro.store import ObjectStore


class EdgeService:
    """The edge: listening from its construction, serving from `start` to `stop`.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, settings: EdgeSettings, store: ObjectStore, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._engine = make_engine(store.slab, settings.listen)
        self._background = Background()
        self._pools = [OriginPool(site.origin) for site in settings.sites]
        self._bridge: EngineBridge | None = None
        self._own_access: AccessSubscription | None = None
        self.access = AccessFeed(self._engine.poll_access)

    @property
    def port(self) -> int:
        """The TCP port, also where the kernel chose it."""
        return self._engine.port

    async def start(self) -> None:
        """Begins to serve."""
        error_fields = text_fields(self._clock.wall_s(), CacheStatus(detail=b"failure"))
        handler = self._make_handler()
        self._bridge = EngineBridge(
            self._engine, handler, error_fields=error_fields.without(b"date")
        )
        self._bridge.start()

    async def drain(self, deadline_s: float) -> bool:
        """Takes no new connections; whether all requests in flight ended within the deadline."""
        if self._bridge is None:
            return True
        return await self._bridge.drain(deadline_s)

    async def stop(self) -> None:
        """Ends everything now, fills included; every pin is given back. Idempotent."""
        if self._bridge is None:
            self._engine.stop()
            return
        self.access.stop()
        await self._bridge.stop()
        await self._background.stop()
        for pool in self._pools:
            pool.close()

    # ------------------------------------------------------------- figures

    def stats(self) -> dict[str, Any]:
        """The engine's counters, and what Python counts beside them."""
        figures: dict[str, Any] = dict(self._engine.stats())
        figures["handler_failures"] = 0 if self._bridge is None else self._bridge.failures
        figures["background_tasks"] = self._background.count
        return figures

    def upstream_stats(self) -> dict[str, dict[str, Any]]:
        """The counters of each origin, by its URL."""
        return {pool.settings.url: pool.stats.snapshot() for pool in self._pools}

    def poll_access(self, count: int = 4_096) -> bytes:
        """Whole nc_access records of finished responses, oldest first; for one reader.

        Further readers use `access.subscribe()`.
        """
        if self._own_access is None:
            self._own_access = self.access.subscribe()
        self.access.drain()
        return self._own_access.poll(count)

    # ------------------------------------------------------------- helpers

    def _make_handler(self) -> EdgeHandler:
        settings = self._settings
        shelf = Shelf(self._store)
        flights = Flights(
            CollapseTable(wait_timeout_ms=settings.limits.collapse_wait_ms), self._clock
        )
        sites: dict[bytes, SiteHandler] = {}
        default_site: SiteHandler | None = None
        for site, pool in zip(settings.sites, self._pools, strict=True):
            handler = self._make_site(site, pool, shelf, flights)
            for host in site.hosts:
                sites[host.lower().encode("ascii")] = handler
            if not site.hosts:
                default_site = handler
        return EdgeHandler(
            object_api=ObjectApi(self._store, settings.object_api, self._clock),
            sites=sites,
            default_site=default_site,
            cdn_id=settings.loop_token.encode("ascii"),
            clock=self._clock,
        )

    def _make_site(
        self, site: SiteSettings, pool: OriginPool, shelf: Shelf, flights: Flights
    ) -> SiteHandler:
        forwarder = Forwarder(self._settings.loop_token.encode("ascii"), site.origin.authority)
        policy = SharedCachePolicy(
            default_ttl_s=site.default_ttl_s,
            object_bytes_max=site.object_bytes_max,
            respects_request_directives=not site.ignore_request_cache_control,
        )
        fetcher = OriginFetcher(
            pool=pool,
            forwarder=forwarder,
            policy=policy,
            shelf=shelf,
            flights=flights,
            background=self._background,
            limits=self._settings.limits,
            clock=self._clock,
            notify_fill=self._engine.notify_fill,
        )
        return SiteHandler(
            fetcher=fetcher,
            pool=pool,
            forwarder=forwarder,
            policy=policy,
            shelf=shelf,
            flights=flights,
            clock=self._clock,
        )


def make_engine(slab: Slab, listen: ListenSettings) -> Engine:
    """The native engine, bound and not yet started."""
    return native.Engine(
        slab,
        host=listen.host,
        port=listen.port,
        thread_count=listen.thread_count,
        connections_max=listen.connections_max,
        requests_in_flight_max=listen.requests_in_flight_max,
        request_line_bytes_max=listen.request_line_bytes_max,
        header_bytes_max=listen.header_bytes_max,
        field_count_max=listen.field_count_max,
        header_timeout_ms=listen.header_timeout_ms,
        idle_timeout_ms=listen.idle_timeout_ms,
        body_timeout_ms=listen.body_timeout_ms,
        send_timeout_ms=listen.send_timeout_ms,
        access_ring_count=listen.access_ring_count,
    )
