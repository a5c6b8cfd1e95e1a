"""Asking an origin as the edge does: what the tests of the upstream client share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuro.edge.settings import OriginSettings, UpstreamTimeouts
from neuro.edge.upstream import UpstreamRequest
from neuro.edge.upstream_pool import OriginPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FAST = UpstreamTimeouts(connect_ms=300, first_byte_ms=300, between_bytes_ms=300, idle_ms=5_000)


def make_pool(origin: Any, **options: Any) -> OriginPool:
    options.setdefault("timeouts", FAST)
    return OriginPool(OriginSettings(url=origin.url, **options))


def get(target: bytes = b"/", **options: Any) -> UpstreamRequest:
    return UpstreamRequest(b"GET", target, [(b"Host", b"o")], **options)


async def fetch(
    pool: OriginPool, request: UpstreamRequest | None = None
) -> tuple[int, bytes, bool]:
    response = await pool.fetch(request or get())
    body = b""
    while data := await response.read():
        body += data
    return response.head.status, body, response.is_clean


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
