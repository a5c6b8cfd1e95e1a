"""From the operator's configuration to what the edge is given.

Owns that one translation. It exists because the edge and its tests must not know how a
configuration is written, and the schema must not know the edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.edge.settings import (
    EdgeSettings,
    ListenSettings,
    ObjectApiSettings,
    OriginSettings,
    SiteSettings,
    UpstreamTimeouts,
)

if TYPE_CHECKING:
    from neuro.config import Config
    from neuro.config.secret import Secret

_MS_PER_S = 1_000
_ACCESS_RING_COUNT = 65_536


def make_edge_settings(config: Config, token: Secret | None) -> EdgeSettings:
    """The edge's settings; `token` is what writes to the object API need."""
    edge = config.edge
    return EdgeSettings(
        listen=ListenSettings(
            host=edge.bind.host,
            port=edge.bind.port,
            thread_count=edge.threads,
            connections_max=edge.connections_max,
            requests_in_flight_max=edge.requests_in_flight_max,
            request_line_bytes_max=edge.request_line_bytes_max,
            header_bytes_max=edge.header_bytes_max,
            field_count_max=edge.field_count_max,
            header_timeout_ms=edge.header_timeout_ms,
            idle_timeout_ms=edge.idle_timeout_ms,
            body_timeout_ms=edge.body_timeout_ms,
            send_timeout_ms=edge.send_timeout_ms,
            access_ring_count=_ACCESS_RING_COUNT if config.log.access else 0,
        ),
        sites=_make_sites(config),
        object_api=ObjectApiSettings(
            token=token.reveal() if token is not None else None,
            object_bytes_max=config.cache.object_bytes_max,
        ),
        loop_token=f"neurocache-{config.node.id}",
    )


def _make_sites(config: Config) -> tuple[SiteSettings, ...]:
    origin = config.origin
    if origin.url is None:
        return ()
    settings = OriginSettings(
        url=origin.url,
        host_field=origin.host,
        tls_ca_file=str(origin.tls_ca_file) if origin.tls_ca_file else None,
        connections_max=origin.connections_max,
        idle_connections_max=origin.idle_connections_max,
        retries_max=origin.retries_max,
        timeouts=UpstreamTimeouts(
            connect_ms=origin.connect_timeout_ms,
            first_byte_ms=origin.first_byte_timeout_ms,
            between_bytes_ms=origin.between_bytes_timeout_ms,
        ),
    )
    default_ttl_s = config.cache.default_ttl_ms // _MS_PER_S
    return (
        SiteSettings(
            origin=settings,
            default_ttl_s=default_ttl_s,
            object_bytes_max=config.cache.object_bytes_max,
        ),
    )
