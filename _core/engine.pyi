"""Types of neuro._core.engine: the native HTTP edge, driven from the event loop's thread."""

from typing import Final, final

from neuro._core.slab import Slab

OUTCOME_HIT: Final[int]
OUTCOME_MISS: Final[int]
OUTCOME_REVALIDATED: Final[int]
OUTCOME_STALE: Final[int]
OUTCOME_COLLAPSED: Final[int]
OUTCOME_BYPASS: Final[int]
OUTCOME_ERROR: Final[int]
OUTCOME_OBJECT_API: Final[int]
OUTCOME_PREFETCHED: Final[int]
WRITE_HIGH_BYTES: Final[int]
ACCESS_RECORD_BYTES: Final[int]

@final
class RequestEvent:
    """A request that the engine does not answer by itself. Owns its bytes: nothing native is kept alive."""

    request: int
    method: bytes
    target: bytes
    authority: bytes
    key: bytes
    fields: list[tuple[bytes, bytes]]
    minor_version: int
    content_length: int | None
    has_body: bool
    expects_continue: bool
    is_object_api: bool
    is_stale_hit: bool
    peer_is_loopback: bool
    peer_address: str
    peer_port: int
    received_ms: int

@final
class BodyEvent:
    request: int
    data: bytes
    is_last: bool

@final
class WritableEvent:
    request: int

@final
class ClosedEvent:
    """The request is over: finished in full, or the client left or timed out."""

    request: int
    is_complete: bool

Event = RequestEvent | BodyEvent | WritableEvent | ClosedEvent

@final
class Engine:
    """Listeners are bound by the constructor (OSError with errno on failure), threads run after start()."""

    def __init__(
        self,
        slab: Slab,
        *,
        host: str,
        port: int,
        thread_count: int = 1,
        connections_max: int = 16384,
        requests_in_flight_max: int = 4096,
        request_line_bytes_max: int = 8192,
        header_bytes_max: int = 32768,
        field_count_max: int = 100,
        header_timeout_ms: int = 10_000,
        idle_timeout_ms: int = 60_000,
        body_timeout_ms: int = 30_000,
        send_timeout_ms: int = 30_000,
        access_ring_count: int = 65_536,
    ) -> None: ...
    @property
    def port(self) -> int: ...
    @property
    def event_fd(self) -> int: ...
    def start(self) -> None: ...
    def poll(self, count: int = 256) -> list[Event]: ...
    def poll_access(self, count: int = 4096) -> bytes:
        """Whole nc_access records, ACCESS_RECORD_BYTES each."""
    # Each of these gives False when the client has left already: not an error, stop working for it.
    def inform(self, request: int, status: int, fields: bytes) -> bool: ...
    def read(self, request: int, count: int) -> bool: ...
    def answer(
        self,
        request: int,
        status: int,
        fields: bytes,
        *,
        length: int | None,
        outcome: int,
        object_handle: int = 0,
        offset: int = 0,
        close: bool = False,
    ) -> bool: ...
    def write(self, request: int, data: bytes | bytearray | memoryview) -> bool: ...
    def finish(self, request: int) -> bool: ...
    def abort(self, request: int) -> bool: ...
    def notify_fill(self, handle: int) -> None: ...
    def stats(self) -> dict[str, object]: ...
    def drain(self) -> None: ...
    def stop(self) -> None: ...
