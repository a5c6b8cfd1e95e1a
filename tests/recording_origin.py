"""An origin that keeps every byte it was sent, and reads requests with a parser of its own.

Owns: the record, and answers that a test programs by path. Never: leniency: what it cannot read to the
letter it keeps in `faults`, so that no malformed byte goes unseen. Threads and blocking sockets, so that a
test may stall, cut or garble an answer with plain calls.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

WAIT_S = 20.0
"""No read of a test takes longer; a stalled one ends its thread."""


@dataclass
class RecordedRequest:
    """One request as it arrived."""

    method: bytes
    target: bytes
    lines: list[tuple[bytes, bytes]]
    body: bytes
    connection: int
    trailer: bytes = b""
    socket: socket.socket | None = field(default=None, repr=False)

    def get(self, name: bytes) -> bytes | None:
        """The value of the only field of that name; None when there is none."""
        values = self.get_all(name)
        assert len(values) <= 1, f"{name!r} stands {len(values)} times"
        return values[0] if values else None

    def get_all(self, name: bytes) -> list[bytes]:
        """All values of a name in order."""
        return [value for key, value in self.lines if key.lower() == name.lower()]

    def send(self, data: bytes) -> None:
        """Bytes for whoever asked; whether they are an answer is the test's affair."""
        assert self.socket is not None
        self.socket.sendall(data)

    def cut(self) -> None:
        """Ends the connection with a reset."""
        assert self.socket is not None
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionAbortedError


Answer = Callable[[RecordedRequest], None]


def whole(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer with a length."""
    head = [b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


class RecordingOrigin:
    """Answers are chosen by path: bytes, or a function that sends them. Others get 200, no-store."""

    def __init__(self) -> None:
        self.answers: dict[bytes, bytes | Answer] = {}
        self.early_answers: dict[bytes, bytes] = {}  # sent before the body is read
        self.default: Answer = self._say_target
        self.requests: list[RecordedRequest] = []
        self.streams: list[bytearray] = []
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """For `--origin`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def byte_count(self) -> int:
        """Bytes received so far on all connections."""
        with self._lock:
            return sum(len(stream) for stream in self.streams)

    def count(self, target: bytes) -> int:
        """Requests for a target so far."""
        return sum(request.target == target for request in list(self.requests))

    def take(self) -> list[RecordedRequest]:
        """The requests since the last call."""
        with self._lock:
            taken, self.requests = self.requests, []
        return taken

    def __enter__(self) -> RecordingOrigin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(WAIT_S)

    # ------------------------------------------------------------- helpers

    def _say_target(self, request: RecordedRequest) -> None:
        body = b"" if request.method == b"HEAD" else b"origin: " + request.target
        request.send(whole(body, b"Cache-Control: no-store"))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(WAIT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = bytearray()
            with self._lock:
                self._open.add(connection)
                self.streams.append(stream)
                number = len(self.streams) - 1
            threading.Thread(
                target=self._serve, args=(connection, stream, number), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, stream: bytearray, number: int) -> None:
        reader = _Reader(connection, stream, self._lock)
        try:
            while (request := _read_head(reader, number)) is not None:
                request.socket = connection
                if (early := self.early_answers.get(request.target)) is not None:
                    request.send(early)
                elif (request.get(b"expect") or b"").lower() == b"100-continue":
                    request.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                if not _read_body(reader, request):
                    return
                with self._lock:
                    self.requests.append(request)
                if early is not None:
                    continue
                answer = self.answers.get(request.target.partition(b"?")[0], self.default)
                if isinstance(answer, bytes):
                    request.send(answer)
                else:
                    answer(request)
        except ValueError as error:
            self.faults.append(f"{error}: {bytes(stream[-500:])!r}")
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class _Reader:
    def __init__(self, connection: socket.socket, stream: bytearray, lock: threading.Lock) -> None:
        self._connection = connection
        self._stream = stream
        self._lock = lock
        self._buffer = b""

    def _fill(self) -> bool:
        data = self._connection.recv(1 << 18)
        with self._lock:
            self._stream += data
        self._buffer += data
        return bool(data)

    def until(self, end: bytes) -> bytes | None:
        while end not in self._buffer:
            if not self._fill():
                return None
        found, self._buffer = self._buffer.split(end, 1)
        return found

    def exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            if not self._fill():
                return None
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found


def _read_head(reader: _Reader, number: int) -> RecordedRequest | None:
    head = reader.until(b"\r\n\r\n")
    if head is None:
        return None
    first, *rest = head.split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise ValueError(f"request line {first!r}")
    lines: list[tuple[bytes, bytes]] = []
    for line in rest:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\n" in line or b"\r" in line:
            raise ValueError(f"field line {line!r}")
        lines.append((name, value.strip(b" \t")))
    return RecordedRequest(words[0], words[1], lines, b"", number)


def _read_body(reader: _Reader, request: RecordedRequest) -> bool:
    """Whether the whole body came."""
    lengths, codings = request.get_all(b"content-length"), request.get_all(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise ValueError(f"framed twice: {lengths} {codings}")
    body: bytes | None = b""
    if lengths:
        if not lengths[0].isdigit():
            raise ValueError(f"length {lengths[0]!r}")
        body = reader.exactly(int(lengths[0]))
    elif codings:
        if codings[0] != b"chunked":
            raise ValueError(f"coding {codings[0]!r}")
        body = _read_chunks(reader, request)
    request.body = body or b""
    return body is not None


def _read_chunks(reader: _Reader, request: RecordedRequest) -> bytes | None:
    parts: list[bytes] = []
    while (line := reader.until(b"\r\n")) is not None:
        if not line or line.strip(b"0123456789abcdefABCDEF"):
            raise ValueError(f"chunk size {line!r}")
        size = int(line, 16)
        if size == 0:
            trailer = reader.until(b"\r\n")
            if trailer is None:
                return None
            request.trailer = trailer
            return b"".join(parts)
        data = reader.exactly(size + 2)
        if data is None:
            return None
        if data[-2:] != b"\r\n":
            raise ValueError("chunk without its end")
        parts.append(data[:-2])
    return None
