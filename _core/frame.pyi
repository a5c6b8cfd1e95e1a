"""Types of neuro._core.frame: the frame codec of the client and Raft protocols."""

from collections.abc import Mapping
from typing import Final, Literal, final

from neuro.errors import FrameError

Encoding = Literal["msgpack", "json"]

HEADER_BYTES: Final[int]
MSGPACK: Final[Literal["msgpack"]]
JSON: Final[Literal["json"]]
FRAME_BYTES_MAX: Final[int]
DEPTH_MAX: Final[int]
ITEM_COUNT_MAX: Final[int]
STRING_BYTES_MAX: Final[int]

class _Limits:
    """Bounds shared by both directions; counts, and sizes in bytes, each 1 or more."""

    def __init__(
        self,
        *,
        frame_bytes_max: int = ...,
        depth_max: int = ...,
        item_count_max: int = ...,
        string_bytes_max: int = ...,
    ) -> None: ...
    @property
    def frame_bytes_max(self) -> int: ...
    @property
    def depth_max(self) -> int: ...
    @property
    def item_count_max(self) -> int: ...
    @property
    def string_bytes_max(self) -> int: ...

@final
class FrameDecoder(_Limits):
    """Bytes in, messages out: `feed()` what came, then iterate; the first fault poisons it."""

    @property
    def pending_bytes(self) -> int: ...
    @property
    def fault(self) -> FrameError | None: ...
    def feed(self, data: bytes | bytearray | memoryview) -> None: ...
    def finish(self) -> None: ...
    def __iter__(self) -> FrameDecoder: ...
    def __next__(self) -> tuple[dict[str, object], Encoding]: ...

@final
class FrameEncoder(_Limits):
    """Messages in, frames out, under the bounds that the other side's decoder has."""

    def encode(self, message: Mapping[str, object], encoding: Encoding = "msgpack") -> bytes: ...
