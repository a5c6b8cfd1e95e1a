"""One client request that the engine handed over, and the answer to it.

Owns: the body's credits, the answer's state, back-pressure towards the client. Never: deciding what
to answer, parsing (the engine has one parser, and this object shows what it found).

Every call may find that the client has left: then it raises ClientGone, which ends the handler
quietly. After `answer_*` or `finish` the request belongs to the engine alone.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import TYPE_CHECKING

from neuro.errors import NeuroCacheError
from neuro.http.fields import FieldLine, Fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from neuro.native import Engine, RequestEvent

BODY_WINDOW_BYTES = 262_144
"""Request body bytes granted ahead of the handler: four of the engine's largest pieces."""

WRITE_HIGH_BYTES = 262_144
"""NC_WRITE_HIGH_BYTES: beyond this a writer waits for the engine."""


class ClientGone(NeuroCacheError):
    """The client left, or was cut for a timeout, before its answer was complete."""

    code = "client_gone"


class _Stage(enum.Enum):
    WAITING = enum.auto()  # nothing final has been said
    STARTED = enum.auto()  # a head is out, body bytes follow
    ANSWERED = enum.auto()  # the rest is the engine's
    GONE = enum.auto()


class ClientExchange:
    """A request, and the one answer it gets. Made by the bridge; used by one task at a time."""

    __slots__ = (
        "_body",
        "_body_ended",
        "_changed",
        "_engine",
        "_granted_bytes",
        "_queued_bytes",
        "_stage",
        "fields",
        "request",
        "task",
    )

    def __init__(self, engine: Engine, request: RequestEvent) -> None:
        self._engine = engine
        self._stage = _Stage.WAITING
        self._body: deque[bytes] = deque()
        self._body_ended = not request.has_body
        self._granted_bytes = 0
        self._queued_bytes = 0
        self._changed: asyncio.Future[None] | None = None
        self.request = request
        self.fields = Fields(request.fields)
        self.task: asyncio.Task[None] | None = None

    # -------------------------------------------------------------- state

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""
        return self._stage is _Stage.GONE

    @property
    def is_started(self) -> bool:
        """Whether a final head has been sent."""
        return self._stage is not _Stage.WAITING

    @property
    def is_answered(self) -> bool:
        """Whether nothing is left to do for the handler."""
        return self._stage in (_Stage.ANSWERED, _Stage.GONE)

    # ------------------------------------------------------- request body

    async def read_body(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives; the first read sends 100 (Continue) where awaited.

        Raises:
            ClientGone: the client left before the end.
        """
        while True:
            while self._body:
                data = self._body.popleft()
                self._granted_bytes -= len(data)
                if data:
                    yield data
            if self._body_ended:
                return
            self._require_present()
            if self._granted_bytes <= BODY_WINDOW_BYTES // 2:
                count = BODY_WINDOW_BYTES - self._granted_bytes
                self._granted_bytes += count
                self._check(self._engine.read(self.request.request, count))
            await self._wait()

    # ------------------------------------------------------------- answer

    def inform(self, status: int, lines: Iterable[FieldLine]) -> None:
        """A 1xx answer on the way, 101 excepted. Source: RFC 9110 section 15.2."""
        if self._stage is _Stage.WAITING:
            self._engine.inform(self.request.request, status, Fields(lines).to_bytes())

    def answer_bytes(
        self, status: int, fields: Fields, body: bytes, *, outcome: int, close: bool = False
    ) -> None:
        """A whole answer that is at hand."""
        self.start(status, fields, length=len(body), outcome=outcome, close=close)
        if self._stage is _Stage.STARTED:
            self._check(self._engine.write(self.request.request, body))
            self.finish()

    def answer_head(self, status: int, fields: Fields, *, length: int | None, outcome: int) -> None:
        """An answer that has no body by its method or status; `length` is what it may announce."""
        self._begin(status, fields, length=length, outcome=outcome)
        self._stage = _Stage.ANSWERED

    def start(
        self, status: int, fields: Fields, *, length: int | None, outcome: int, close: bool = False
    ) -> None:
        """Sends the head; `write` and `finish` follow unless the answer has no body."""
        self._begin(status, fields, length=length, outcome=outcome, close=close)
        is_bodiless = length == 0 or status in (204, 304) or self.request.method == b"HEAD"
        self._stage = _Stage.ANSWERED if is_bodiless else _Stage.STARTED

    async def write(self, data: bytes, lag_bytes_max: int = 0) -> None:
        """Queues body bytes, and waits while more than WRITE_HIGH_BYTES are on their way.

        Args:
            lag_bytes_max: a higher mark for this write, where others wait for the writer.

        Raises:
            ClientGone: stop working for this client.
        """
        self._require_present()
        self._queued_bytes += len(data)
        self._check(self._engine.write(self.request.request, data))
        while self._queued_bytes > max(WRITE_HIGH_BYTES, lag_bytes_max):
            await self._wait()
            self._require_present()

    def finish(self) -> None:
        """The body is complete."""
        self._check(self._engine.finish(self.request.request))
        self._stage = _Stage.ANSWERED

    def answer_object(
        self,
        handle: int,
        status: int,
        fields: Fields,
        *,
        length: int | None,
        outcome: int,
        offset: int = 0,
    ) -> None:
        """Bytes [offset, offset + length) of an object in the slab; a FILLING one is followed.

        The caller's pin is needed only until this returns.
        """
        self._begin(
            status, fields, length=length, outcome=outcome, object_handle=handle, offset=offset
        )
        self._stage = _Stage.ANSWERED

    def abort(self) -> None:
        """Cuts the connection: the client must not take what it got for the whole."""
        if self._stage not in (_Stage.GONE, _Stage.ANSWERED):
            self._stage = _Stage.ANSWERED
            self._engine.abort(self.request.request)

    # ----------------------------------------------- events, by the bridge

    def on_body(self, data: bytes, is_last: bool) -> None:
        """Body bytes arrived."""
        self._body.append(data)
        self._body_ended = self._body_ended or is_last
        self._wake()

    def on_writable(self) -> None:
        """The engine's queue has fallen below its low mark."""
        self._queued_bytes = 0
        self._wake()

    def on_closed(self, is_complete: bool) -> None:
        """The request is over."""
        self._stage = _Stage.ANSWERED if is_complete else _Stage.GONE
        self._wake()

    # ------------------------------------------------------------ helpers

    def _begin(
        self,
        status: int,
        fields: Fields,
        *,
        length: int | None,
        outcome: int,
        object_handle: int = 0,
        offset: int = 0,
        close: bool = False,
    ) -> None:
        self._require_present()
        self._check(
            self._engine.answer(
                self.request.request,
                status,
                fields.to_bytes(),
                length=length,
                outcome=outcome,
                object_handle=object_handle,
                offset=offset,
                close=close,
            )
        )

    def _check(self, is_present: bool) -> None:
        if not is_present:
            self._stage = _Stage.GONE
            raise ClientGone

    def _require_present(self) -> None:
        if self._stage is _Stage.GONE:
            raise ClientGone

    async def _wait(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        try:
            await self._changed
        finally:
            self._changed = None

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
