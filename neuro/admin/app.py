"""The routes of the admin port, over whatever shows itself as a NodeView.

Owns paths, methods, status codes and security headers. Never binds a socket and never keeps state.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from neuro.http.host import is_direct
from neuro.telemetry.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/status.css": ("status.css", "text/css; charset=utf-8"),
    "/status.js": ("status.js", "text/javascript; charset=utf-8"),
}
_SECURITY_FIELDS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class NodeView(Protocol):
    """What the admin port may ask of a node. Every answer is made from memory, at once."""

    def find_unready_reasons(self) -> Sequence[str]:
        """Why no traffic should come; empty when it should."""
        ...

    def describe(self) -> dict[str, Any]:
        """The body of `/api/v1/status`."""
        ...

    def render_metrics(self) -> bytes:
        """The body of `/metrics`."""
        ...


def make_app(view: NodeView, *, is_loopback: bool) -> ASGIApp:
    """The ASGI application.

    Args:
        view: The node.
        is_loopback: Whether the port is bound to loopback; then requests must name it by address
            or as `localhost`, so that a web page cannot read it through a name of its own.
    """

    async def get_healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def get_readyz(_: Request) -> Response:
        reasons = list(view.find_unready_reasons())
        body = {"ready": not reasons, "reasons": reasons}
        return JSONResponse(body, status_code=503 if reasons else 200)

    async def get_metrics(_: Request) -> Response:
        return Response(view.render_metrics(), headers={"content-type": CONTENT_TYPE})

    async def get_status(_: Request) -> Response:
        return JSONResponse(view.describe())

    app = Starlette(
        routes=[
            *(Route(path, _serve_file(*entry)) for path, entry in _STATIC.items()),
            Route("/healthz", get_healthz),
            Route("/readyz", get_readyz),
            Route("/metrics", get_metrics),
            Route("/api/v1/status", get_status),
        ]
    )
    return _Guard(app, is_loopback=is_loopback)


def _serve_file(name: str, media_type: str) -> Callable[[Request], Any]:
    body = resources.files("neuro.admin").joinpath("static", name).read_bytes()

    async def get_file(_: Request) -> Response:
        return Response(body, headers={"content-type": media_type})

    return get_file


class _Guard:
    """Adds the security fields, and refuses foreign host names on a loopback port."""

    def __init__(self, app: ASGIApp, *, is_loopback: bool) -> None:
        self._app = app
        self._is_loopback = is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_SECURITY_FIELDS]
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self._is_loopback and not is_direct(host):
            refusal = PlainTextResponse(
                "this port answers to its address and to localhost only\n", status_code=421
            )
            await refusal(scope, receive, send_with_fields)
            return
        await self._app(scope, receive, send_with_fields)
