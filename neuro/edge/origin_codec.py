"""One exchange with an origin as bytes in, parts of a response out: strict HTTP/1.1 over h11.

Owns: framing of the request sent, and every check of the response's head and framing. Never:
sockets, timers, caching decisions. Why beside h11: h11 parses heads and chunks well, but it lets
Transfer-Encoding win over Content-Length (RFC 9112 section 6.3 allows it, a cache must not store
the result), and it copies bodies three times. Bodies with a length never pass through it.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from neuro.errors import InvalidFieldError, UpstreamProtocolError
from neuro.http.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable

FieldLines = list[tuple[bytes, bytes]]  # names as received or sent, values trimmed

INFORMATIONAL_COUNT_MAX = 16  # an origin that says "wait" for ever is broken


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and field lines as the origin sent them, framing still included."""

    status: int
    minor_version: int
    fields: Fields
    content_length: int | None
    is_chunked: bool


class _Framing(enum.Enum):
    HEAD = enum.auto()
    LENGTH = enum.auto()
    CHUNKED = enum.auto()
    UNTIL_CLOSE = enum.auto()
    DONE = enum.auto()


class OriginCodec:
    """Both directions of one exchange. Feed it bytes, then read its attributes."""

    def __init__(
        self,
        *,
        origin: str,
        head_bytes_max: int,
        field_count_max: int,
        on_informational: Callable[[int, FieldLines], None] | None = None,
    ) -> None:
        self._origin = origin
        self._head_bytes_max = head_bytes_max
        self._field_count_max = field_count_max
        self._on_informational = on_informational
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=head_bytes_max)
        self._method = b""
        self._framing = _Framing.HEAD
        self._missing = 0
        self._informational_count = 0
        self._keeps_alive = False
        self.head: ResponseHead | None = None
        self.chunks: deque[bytes] = deque()
        self.chunk_bytes = 0
        self.received_bytes = 0
        self.has_extra_bytes = False
        self.is_delimited_by_close = False

    # ------------------------------------------------------------ request

    def start(self, method: bytes, target: bytes, fields: FieldLines) -> bytes:
        """The request head as bytes."""
        self._method = method
        return self._send(h11.Request(method=method, target=target, headers=fields))

    def body(self, data: bytes) -> bytes:
        """Body bytes with their framing.

        Raises:
            UpstreamProtocolError: more bytes than the Content-Length that was sent.
        """
        return self._send(h11.Data(data=data))

    def end(self) -> bytes:
        """The end of the request's framing."""
        return self._send(h11.EndOfMessage())

    @property
    def is_request_complete(self) -> bool:
        """Whether end() was called."""
        return self._h11.our_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self._h11.send(event)
        except h11.LocalProtocolError as error:
            raise self._fault(f"request cannot be framed: {error}") from error

    # ----------------------------------------------------------- response

    @property
    def is_done(self) -> bool:
        """Whether the response has ended as its framing says."""
        return self._framing is _Framing.DONE

    @property
    def may_reuse(self) -> bool:
        """Whether the connection may carry another request: all sent, all read, no more."""
        return (
            self.is_done
            and self._keeps_alive
            and self.is_request_complete
            and not self.has_extra_bytes
        )

    def receive(self, data: bytes) -> None:
        """Takes bytes from the origin.

        Raises:
            UpstreamProtocolError: they are no valid answer.
        """
        self.received_bytes += len(data)
        if self._framing is _Framing.LENGTH:
            self._take_counted(data)
        elif self._framing is _Framing.UNTIL_CLOSE:
            self._push(data)
        elif self._framing is _Framing.DONE:
            self.has_extra_bytes = True
        else:
            self._h11.receive_data(data)
            self._pull()

    def receive_eof(self) -> bool:
        """The origin closed its side: whether the response is complete by that or was already."""
        if self._framing is _Framing.UNTIL_CLOSE:
            self._framing = _Framing.DONE
        return self.is_done

    def take(self) -> bytes:
        """All body bytes that wait, b"" when there are none."""
        if len(self.chunks) == 1:
            data = self.chunks.popleft()
        else:
            data = b"".join(self.chunks)
            self.chunks.clear()
        self.chunk_bytes = 0
        return data

    def _pull(self) -> None:
        while self._framing in (_Framing.HEAD, _Framing.CHUNKED):
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise self._fault(str(error)) from error
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.InformationalResponse):
                self._inform(event)
            elif isinstance(event, h11.Response):
                self._begin_body(event)
            elif isinstance(event, h11.Data):
                self._push(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._framing = _Framing.DONE
                self.has_extra_bytes = bool(self._h11.trailing_data[0])

    def _inform(self, event: h11.InformationalResponse) -> None:
        self._informational_count += 1
        if self._informational_count > INFORMATIONAL_COUNT_MAX:
            raise self._fault("too many 1xx answers")
        if self._on_informational is not None:
            self._on_informational(event.status_code, event.headers.raw_items())

    def _begin_body(self, event: h11.Response) -> None:
        head = self._check_head(event)
        self.head = head
        connection = {
            token.strip().lower()
            for name, value in event.headers
            if name == b"connection"
            for token in value.split(b",")
        }
        self._keeps_alive = head.minor_version >= 1 and b"close" not in connection
        if self._method == b"HEAD" or head.status in (204, 304):
            self._begin_counted(0)
        elif head.is_chunked:
            self._framing = _Framing.CHUNKED
        elif head.content_length is not None:
            self._begin_counted(head.content_length)
        else:
            self.is_delimited_by_close = True
            self._keeps_alive = False
            self._framing = _Framing.UNTIL_CLOSE
            self._push(bytes(self._h11.trailing_data[0]))

    def _begin_counted(self, count: int) -> None:
        self._missing = count
        self._framing = _Framing.LENGTH if count else _Framing.DONE
        rest = bytes(self._h11.trailing_data[0])
        if count:
            self._take_counted(rest)
        elif rest:
            self.has_extra_bytes = True

    def _take_counted(self, data: bytes) -> None:
        if len(data) > self._missing:
            self.has_extra_bytes = True
            data = data[: self._missing]
        self._missing -= len(data)
        self._push(data)
        if self._missing == 0:
            self._framing = _Framing.DONE

    def _push(self, data: bytes) -> None:
        if data:
            self.chunks.append(data)
            self.chunk_bytes += len(data)

    def _check_head(self, event: h11.Response) -> ResponseHead:
        if len(event.headers) > self._field_count_max:
            raise self._fault(f"more than {self._field_count_max} field lines")
        if sum(len(name) + len(value) + 4 for name, value in event.headers) > self._head_bytes_max:
            raise self._fault(f"a head of more than {self._head_bytes_max} bytes")
        if event.http_version not in (b"1.0", b"1.1"):
            raise self._fault("not HTTP/1.0 or HTTP/1.1")
        minor_version = 0 if event.http_version == b"1.0" else 1
        length: int | None = None
        is_chunked = False
        for name, value in event.headers:
            if name == b"content-length":
                length = int(value)  # h11 let digits through only
            elif name == b"transfer-encoding":
                is_chunked = True
        if is_chunked and length is not None:
            raise self._fault("both Content-Length and Transfer-Encoding")
        if is_chunked and minor_version == 0:
            raise self._fault("Transfer-Encoding in an HTTP/1.0 answer")
        if event.status_code == 204 and (is_chunked or length):
            raise self._fault("204 announces a body")
        if not 200 <= event.status_code <= 599:
            raise self._fault(f"status {event.status_code}")
        try:
            fields = Fields.checked(event.headers.raw_items())  # h11 lets control bytes through
        except InvalidFieldError as error:
            raise self._fault(error.message) from error
        return ResponseHead(event.status_code, minor_version, fields, length, is_chunked)

    def _fault(self, reason: str) -> UpstreamProtocolError:
        return UpstreamProtocolError(
            f"origin {self._origin} broke HTTP/1.1: {reason}", origin=self._origin
        )
