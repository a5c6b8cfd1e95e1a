"""What travels between nodes and clients: frames, and the messages inside them.

Owns the public names of the frame codec. Never opens a socket. It exists so that the layers above
need not know that the codec is native.
"""

from __future__ import annotations

from neuro.wire.frame import (
    DEPTH_MAX,
    FRAME_BYTES_MAX,
    HEADER_BYTES,
    ITEM_COUNT_MAX,
    JSON,
    MSGPACK,
    STRING_BYTES_MAX,
    Encoding,
    FrameDecoder,
    FrameEncoder,
    Message,
)

__all__ = [
    "DEPTH_MAX",
    "FRAME_BYTES_MAX",
    "HEADER_BYTES",
    "ITEM_COUNT_MAX",
    "JSON",
    "MSGPACK",
    "STRING_BYTES_MAX",
    "Encoding",
    "FrameDecoder",
    "FrameEncoder",
    "Message",
]
