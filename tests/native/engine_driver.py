"""Drives the native engine in tests: objects in, raw sockets on one side, events on the other.

Owns: waiting with deadlines (never sleeping) and a response reader that knows nothing of the engine.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from neuro._core.engine import (
    OUTCOME_MISS,
    BodyEvent,
    ClosedEvent,
    Engine,
    RequestEvent,
    WritableEvent,
)
from neuro._core.slab import Slab

WAIT_S = 10.0
"""No single step takes longer, however busy the machine is."""
HOST = "example.test"
ETAG = b'"v1"'
LAST_MODIFIED = b"Sun, 06 Nov 1994 08:49:37 GMT"
LAST_MODIFIED_S = 784111777
FIELDS = (
    b"Content-Type: text/plain\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\nETag: " + ETAG + b"\r\n"
    b"Last-Modified: " + LAST_MODIFIED + b"\r\n"
)
FIELDS_304 = b"Date: Mon, 07 Nov 1994 08:49:37 GMT\r\nETag: " + ETAG + b"\r\n"

Event = RequestEvent | BodyEvent | WritableEvent | ClosedEvent
E = TypeVar("E", RequestEvent, BodyEvent, WritableEvent, ClosedEvent)


@dataclass
class Response:
    """One parsed response."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        """The value of the only field of that name; None when there is none."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name!r} stands {len(values)} times"
        return values[0] if values else None


class Client:
    """A client that says exactly the bytes it is told to."""

    def __init__(self, port: int, *, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(WAIT_S)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, path: str = "/a", *lines: str, method: str = "GET", version: str = "1.1") -> None:
        """Sends one request without body."""
        text = "".join(f"{line}\r\n" for line in (f"Host: {HOST}", *lines))
        self.send(f"{method} {path} HTTP/{version}\r\n{text}\r\n".encode("latin-1"))

    def _fill(self) -> bool:
        data = self.socket.recv(1 << 18)
        self.buffer += data
        return bool(data)

    def read_line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            assert self._fill(), f"closed inside of a line: {self.buffer!r}"
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_exactly(self, count: int) -> bytes:
        parts = [self.buffer]
        have = len(self.buffer)
        while have < count:
            data = self.socket.recv(1 << 18)
            assert data, f"closed after {have} of {count} bytes"
            parts.append(data)
            have += len(data)
        joined = b"".join(parts)
        self.buffer = joined[count:]
        return joined[:count]

    def read_head(self) -> Response:
        version, status, _ = self.read_line().split(b" ", 2)
        assert version == b"HTTP/1.1"
        fields = []
        while line := self.read_line():
            name, value = line.split(b": ", 1)
            fields.append((name, value))
        return Response(int(status), fields)

    def read_response(self, *, is_head: bool = False) -> Response:
        """The next response, framed as RFC 9112 section 6.3 says."""
        response = self.read_head()
        if is_head or response.status in (204, 304) or response.status < 200:
            return response
        if response.get(b"Transfer-Encoding") == b"chunked":
            while size := int(self.read_line(), 16):
                response.chunks.append(self.read_exactly(size))
                assert self.read_exactly(2) == b"\r\n"
            assert self.read_line() == b""
            response.body = b"".join(response.chunks)
            return response
        length = response.get(b"Content-Length")
        response.body = self.read_rest() if length is None else self.read_exactly(int(length))
        return response

    def read_rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self._fill():
            pass
        rest, self.buffer = self.buffer, b""
        return rest

    def assert_closed(self) -> None:
        """The server has closed, and nothing was left unread. A reset counts as closed."""
        try:
            assert self.read_rest() == b""
        except ConnectionResetError:
            assert self.buffer == b""

    def assert_cut(self) -> None:
        """The server has closed, whatever came before."""
        try:
            self.read_rest()
        except ConnectionResetError:
            pass

    def close(self) -> None:
        self.socket.close()


class EngineDriver:
    """A slab with an engine in front of it. Use as a context manager."""

    def __init__(self, *, arena_bytes: int = 32 << 20, **options: int) -> None:
        self.slab = Slab(arena_bytes)
        self.engine = Engine(self.slab, host="127.0.0.1", port=0, **options)
        self.engine.start()
        self.clients: list[Client] = []
        self.waiting: list[Event] = []

    def __enter__(self) -> EngineDriver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self.clients:
            client.close()
        self.engine.stop()
        if error is None:
            # Refused while the engine holds a pin: every test checks that none has leaked.
            self.slab.close()

    def client(self, *, receive_bytes: int = 0) -> Client:
        client = Client(self.engine.port, receive_bytes=receive_bytes)
        self.clients.append(client)
        return client

    def put(
        self,
        path: str = "/a",
        body: bytes = b"hello",
        *,
        key: bytes | None = None,
        status: int = 200,
        lifetime_s: int = 1000,
        age_s: int = 0,
        flags: int = 0,
        fields: bytes = FIELDS,
    ) -> bytes:
        """Stores a response for http://HOST + path (or `key`) and gives its body back."""
        now = int(time.time())
        etag_offset = fields.find(ETAG)
        fill = self.slab.begin_fill(
            key or f"http://{HOST}{path}".encode(),
            status=status,
            fields=fields,
            fields_304=FIELDS_304,
            meta=b"",
            body_length=len(body),
            etag_offset=max(etag_offset, 0),
            etag_length=len(ETAG) if etag_offset >= 0 else 0,
            last_modified=LAST_MODIFIED_S,
            born=now - age_s,
            expires=now + lifetime_s,
            flags=flags,
        )
        fill.write(body)
        fill.publish().release()
        return body

    def _poll(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        assert left > 0, f"no such event; waiting: {self.waiting}"
        select.select([self.engine.event_fd], [], [], left)
        self.waiting.extend(self.engine.poll())

    def next_any(self) -> Event:
        """The next event of any kind."""
        deadline = time.monotonic() + WAIT_S
        while not self.waiting:
            self._poll(deadline)
        return self.waiting.pop(0)

    def next_event(self, kind: type[E], request: int | None = None) -> E:
        """The next event; it must be of that kind (and of that request)."""
        event = self.next_any()
        assert isinstance(event, kind), f"got {event!r}"
        assert request is None or event.request == request
        return event

    def next_request(self) -> RequestEvent:
        return self.next_event(RequestEvent)

    def assert_no_event(self) -> None:
        self.waiting.extend(self.engine.poll())
        assert self.waiting == []

    def answer_all(self, request: int, body: bytes = b"from python", status: int = 200) -> None:
        """Answers with a whole body."""
        engine = self.engine
        assert engine.answer(
            request, status, b"X-From: python\r\n", length=len(body), outcome=OUTCOME_MISS
        )
        if body:
            engine.write(request, body)
            engine.finish(request)

    def read_body(self, request: int, grant: int = 1 << 20) -> bytes:
        """The whole request body."""
        assert self.engine.read(request, grant)
        parts = []
        while True:
            event = self.next_event(BodyEvent, request)
            parts.append(event.data)
            if event.is_last:
                return b"".join(parts)

    def wait_for_stat(self, name: str, value: int) -> None:
        """Until a counter has reached a value."""
        deadline = time.monotonic() + WAIT_S
        while (seen := self.engine.stats()[name]) != value:
            assert time.monotonic() < deadline, f"{name} is {seen}, not {value}"
            select.select([], [], [], 0.002)
