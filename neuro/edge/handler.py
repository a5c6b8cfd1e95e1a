"""Where a request goes: the object API, one of the sites, or an answer that says why not.

Owns: the choice by path and host, and the refusals that need no origin: loops, unknown hosts,
methods that a proxy must not pass on. Never: an origin from the request itself; it comes from
configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.edge.answers import answer_text
from neuro.http.cache_status import CacheStatus
from neuro.http.forwarding import is_loop

if TYPE_CHECKING:
    from neuro.clock import Clock
    from neuro.edge.exchange import ClientExchange
    from neuro.edge.object_api import ObjectApi
    from neuro.edge.site import SiteHandler


class EdgeHandler:
    """Answers every request that the engine hands over."""

    def __init__(
        self,
        *,
        object_api: ObjectApi,
        sites: dict[bytes, SiteHandler],
        default_site: SiteHandler | None,
        cdn_id: bytes,
        clock: Clock,
    ) -> None:
        self._object_api = object_api
        self._sites = sites  # by host in lower case, without port
        self._default_site = default_site
        self._cdn_id = cdn_id
        self._clock = clock

    async def __call__(self, exchange: ClientExchange) -> None:
        """Answers one request."""
        request = exchange.request
        if request.is_object_api:
            await self._object_api.handle(exchange)
            return
        if request.method in (b"CONNECT", b"TRACE"):
            # CONNECT would make an open proxy; TRACE would show what is added on the way.
            self._refuse(exchange, 405, "This method is not served", b"method")
            return
        site = self._sites.get(_host_of(request.authority), self._default_site)
        if site is None:
            self._refuse(
                exchange,
                404,
                "No site is configured for this host; start NeuroCache with `--origin URL` "
                "or add the host to its configuration",
                b"unknown-host",
            )
        elif is_loop(exchange.fields, self._cdn_id):
            self._refuse(
                exchange,
                508,
                "This request has passed this node before; check that an origin is not the node",
                b"loop",
            )
        else:
            await site.handle(exchange)

    def _refuse(self, exchange: ClientExchange, status: int, text: str, detail: bytes) -> None:
        lines = [(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")]
        answer_text(
            exchange,
            status,
            text,
            now_s=self._clock.wall_s(),
            cache_status=CacheStatus(detail=detail),
            lines=lines if status == 405 else (),
        )


def _host_of(authority: bytes) -> bytes:
    """The host of an authority, without port; brackets of an IPv6 address stay."""
    host, colon, port = authority.rpartition(b":")
    return host if colon and port.isdigit() else authority
