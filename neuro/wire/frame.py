"""The frame codec as the other layers see it.

A frame is a 4-byte big-endian length and one message: a msgpack map, or a JSON object (first byte
`{`), answered in the encoding it was asked in. Values are None, bool, int (-2**63 to 2**64-1),
finite float, str, bytes (msgpack only), list and map with unique str keys; anything else is refused
on both ways. Owns names and types only; the work is done in `neuro._core.frame`.

    decoder = FrameDecoder(frame_bytes_max=1_000_000)
    decoder.feed(data)
    for message, encoding in decoder:
        transport.write(encoder.encode(answer(message), encoding))
"""

from __future__ import annotations

from typing import Any, Literal

from neuro.native import (
    DEPTH_MAX,
    FRAME_BYTES_MAX,
    HEADER_BYTES,
    ITEM_COUNT_MAX,
    JSON,
    MSGPACK,
    STRING_BYTES_MAX,
    FrameDecoder,
    FrameEncoder,
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

Encoding = Literal["msgpack", "json"]
Message = dict[str, Any]
