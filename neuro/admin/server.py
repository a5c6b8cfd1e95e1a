"""The admin port's socket and its HTTP server, inside the node's own event loop.

Owns binding and the life of uvicorn. Never touches signals: the node decides when it stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn

from neuro.admin.app import NodeView, make_app
from neuro.units import Address

if TYPE_CHECKING:
    from collections.abc import Generator

STOP_TIMEOUT_S = 1  # answers are made from memory; whoever reads slower than this is cut
_BACKLOG = 128
_CONNECTIONS_MAX = 256  # operators and scrapers, not clients


class _QuietServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves the process's signal handlers as they are."""
        yield


class AdminServer:
    """The admin port. `bind` before `start`, so that address errors come early."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._socket: socket.socket | None = None
        self._server: _QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    def bind(self, address: Address) -> Address:
        """Binds and gives the address with the real port.

        Raises:
            OSError: the address is taken or not ours.
        """
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address.host, address.port))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._socket = listener
        return Address(address.host, listener.getsockname()[1])

    async def start(self) -> None:
        """Begins to answer."""
        listener = self._socket
        if listener is None:
            raise RuntimeError("bind() comes first")
        host = listener.getsockname()[0]
        config = uvicorn.Config(
            make_app(self._view, is_loopback=Address(host, 0).is_loopback),
            loop="none",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS_MAX,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        self._server = _QuietServer(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="admin")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Finishes answers that are being made, for up to STOP_TIMEOUT_S. Idempotent."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = self._task = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
