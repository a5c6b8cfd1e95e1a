"""The frame codec in plain Python: the oracle that tests hold the native one against.

Owns a second, slow statement of the rules in `_core/frame.pyx`, same order of checks, same faults
at the same offsets. Never used to serve. It exists because two statements that agree on a million
random inputs are worth more than one that was read twice.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NoReturn

from neuro.errors import FrameError, FrameTruncated
from neuro.wire import pure_json
from neuro.wire.pure_limits import HEADER_BYTES, Limits, malformed, too_large


class PureFrameDecoder(Limits):
    """Twin of `FrameDecoder`: keeps one bytearray and reads whole frames off its front."""

    fault: FrameError | None = None
    _pending = b""
    _base = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes fed that no delivered message accounts for."""
        return len(self._pending)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the stream."""
        if self.fault is not None:
            raise self.fault
        self._pending += bytes(data)

    def finish(self) -> None:
        """Say that the stream ended; a cut frame is a fault."""
        if self.fault is not None:
            raise self.fault
        there = len(self._pending)
        if there == 0:
            return
        length = int.from_bytes(self._pending[:4], "big") if there >= HEADER_BYTES else 0
        self.fault = FrameTruncated(
            "the stream ended inside a frame",
            reason="frame_truncated",
            offset=self._base + there,
            missing_bytes=HEADER_BYTES + length - there,
        )
        raise self.fault

    def __iter__(self) -> PureFrameDecoder:
        return self

    def __next__(self) -> tuple[dict[str, object], str]:
        """The next whole message and its encoding."""
        if self.fault is not None:
            raise self.fault
        try:
            return self._take()
        except FrameError as fault:
            self.fault = fault
            raise

    def _take(self) -> tuple[dict[str, object], str]:
        if len(self._pending) < HEADER_BYTES:
            raise StopIteration
        length = int.from_bytes(self._pending[:4], "big")
        if length > self.frame_bytes_max:
            raise too_large(length, self.frame_bytes_max, self._base)
        if length == 0:
            raise malformed("frame_empty", self._base)
        if len(self._pending) < HEADER_BYTES + length:
            raise StopIteration
        payload = self._pending[HEADER_BYTES : HEADER_BYTES + length]
        if payload[:1] == b"{":
            message = pure_json.read_object(self, payload, self._base + HEADER_BYTES)
            encoding = "json"
        else:
            message = _Reader(self, payload, self._base + HEADER_BYTES).read_top()
            encoding = "msgpack"
        self._pending = self._pending[HEADER_BYTES + length :]
        self._base += HEADER_BYTES + length
        return message, encoding


class _Reader:
    """One msgpack payload, read by recursive descent."""

    _WIDTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
    _NUMBERS = dict(zip(range(0xCA, 0xD4), "fdBHIQbhiq", strict=True))
    _SINGLES = {0xC0: None, 0xC2: False, 0xC3: True}

    def __init__(self, limits: Limits, payload: bytes, base: int) -> None:
        self.limits = limits
        self.payload = payload
        self.base = base
        self.at = 0
        self.items_left = limits.item_count_max

    def refuse(self, at: int, reason: str) -> NoReturn:
        raise malformed(reason, self.base + at)

    def read_top(self) -> dict[str, object]:
        first = self.payload[0]
        if first >> 4 != 8 and first not in (0xDE, 0xDF):
            self.refuse(0, "not_a_map")
        message = self.read_map(first, 1)
        if self.at != len(self.payload):
            self.refuse(self.at, "trailing_bytes")
        return message

    def read_value(self, depth: int) -> object:
        if self.at >= len(self.payload):
            self.refuse(self.at, "value_truncated")
        tag = self.payload[self.at]
        if tag < 0x80 or tag >= 0xE0:
            self.at += 1
            return tag if tag < 0x80 else tag - 256
        if tag in self._SINGLES:
            self.at += 1
            return self._SINGLES[tag]
        if tag in self._NUMBERS:
            return self.read_number(tag)
        if 0xA0 <= tag < 0xC0 or tag in (0xD9, 0xDA, 0xDB):
            return self.read_text(tag)
        if tag in (0xC4, 0xC5, 0xC6):
            start, length = self.read_string(tag)
            return self.payload[start : start + length]
        if 0x90 <= tag < 0xA0 or tag in (0xDC, 0xDD):
            return self.read_array(tag, depth)
        if 0x80 <= tag < 0x90 or tag in (0xDE, 0xDF):
            return self.read_map(tag, depth)
        raise malformed("type_unsupported", self.base + self.at)

    def read_number(self, tag: int) -> int | float:
        layout = ">" + self._NUMBERS[tag]
        end = self.at + 1 + struct.calcsize(layout)
        if end > len(self.payload):
            self.refuse(self.at, "value_truncated")
        number: int | float = struct.unpack(layout, self.payload[self.at + 1 : end])[0]
        if number in (float("inf"), float("-inf")) or number != number:
            self.refuse(self.at, "number_not_finite")
        self.at = end
        return number

    def read_length(self, width: int) -> int:
        end = self.at + 1 + width
        if end > len(self.payload):
            self.refuse(self.at, "value_truncated")
        length = int.from_bytes(self.payload[self.at + 1 : end], "big")
        self.at = end
        return length

    def read_string(self, tag: int) -> tuple[int, int]:
        tag_at = self.at
        length = tag & 0x1F if tag < 0xC0 else 0
        length += self.read_length(self._WIDTHS.get(tag, 0))
        start = self.at
        if start + length > len(self.payload):
            self.refuse(tag_at, "value_truncated")
        if length > self.limits.string_bytes_max:
            self.refuse(tag_at, "string_too_long")
        self.at += length
        return start, length

    def read_text(self, tag: int) -> str:
        start, length = self.read_string(tag)
        try:
            return self.payload[start : start + length].decode()
        except UnicodeDecodeError as fault:
            self.refuse(start + fault.start, "utf8_invalid")

    def enter(self, tag_at: int, count: int, bytes_each: int, depth: int) -> None:
        if depth > self.limits.depth_max:
            self.refuse(tag_at, "depth_exceeded")
        if count * bytes_each > len(self.payload) - self.at:
            self.refuse(tag_at, "value_truncated")
        if count > self.items_left:
            self.refuse(tag_at, "too_many_items")
        self.items_left -= count

    def read_array(self, tag: int, depth: int) -> list[object]:
        tag_at = self.at
        count = tag & 0x0F if tag < 0xA0 else 0
        count += self.read_length({0xDC: 2, 0xDD: 4}.get(tag, 0))
        self.enter(tag_at, count, 1, depth)
        return [self.read_value(depth + 1) for _ in range(count)]

    def read_map(self, tag: int, depth: int) -> dict[str, object]:
        tag_at = self.at
        count = tag & 0x0F if tag < 0xA0 else 0
        count += self.read_length({0xDE: 2, 0xDF: 4}.get(tag, 0))
        self.enter(tag_at, count, 2, depth)
        items: dict[str, object] = {}
        for _ in range(count):
            key_at = self.at
            if key_at >= len(self.payload):
                self.refuse(key_at, "value_truncated")
            key_tag = self.payload[key_at]
            if not (0xA0 <= key_tag < 0xC0 or key_tag in (0xD9, 0xDA, 0xDB)):
                self.refuse(key_at, "key_not_string")
            key = self.read_text(key_tag)
            value = self.read_value(depth + 1)
            if key in items:
                self.refuse(key_at, "key_duplicate")
            items[key] = value
        return items


class PureFrameEncoder(Limits):
    """Twin of `FrameEncoder`."""

    def encode(self, message: Mapping[str, object], encoding: str = "msgpack") -> bytes:
        """Header and payload."""
        if not isinstance(message, dict):
            raise malformed("not_a_map", HEADER_BYTES)
        if encoding == "json":
            payload = pure_json.write_object(self, message)
        elif encoding == "msgpack":
            writer = _Writer(self)
            writer.write_value(message, 1)
            payload = bytes(writer.out[HEADER_BYTES:])
        else:
            raise ValueError(f"no such encoding: {encoding!r}")
        return len(payload).to_bytes(4, "big") + payload


class _Writer:
    """One msgpack payload, every value in its shortest form."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.out = bytearray(HEADER_BYTES)
        self.items_left = limits.item_count_max

    def put(self, data: bytes) -> None:
        size = len(self.out) - HEADER_BYTES + len(data)
        if size > self.limits.frame_bytes_max:
            raise too_large(size, self.limits.frame_bytes_max, 0)
        self.out += data

    def refuse(self, reason: str) -> NoReturn:
        raise malformed(reason, len(self.out))

    def write_value(self, value: object, depth: int) -> None:
        if value is None or value is True or value is False:
            self.put(b"\xc0" if value is None else b"\xc3" if value else b"\xc2")
        elif isinstance(value, str):
            self.write_text(value)
        elif isinstance(value, int):
            self.write_integer(value)
        elif isinstance(value, dict):
            self.enter(len(value), depth)
            self.write_header(0x80, 15, 0xDE, 2, len(value))
            for key, item in value.items():
                if not isinstance(key, str):
                    self.refuse("key_not_string")
                self.write_text(key)
                self.write_value(item, depth + 1)
        elif isinstance(value, bytes | bytearray | memoryview):
            self.write_binary(value)
        elif isinstance(value, list | tuple):
            self.enter(len(value), depth)
            self.write_header(0x90, 15, 0xDC, 2, len(value))
            for item in value:
                self.write_value(item, depth + 1)
        elif isinstance(value, float):
            if value != value or value in (float("inf"), float("-inf")):
                self.refuse("number_not_finite")
            self.put(struct.pack(">Bd", 0xCB, value))
        else:
            self.refuse("type_unsupported")

    def write_header(self, fix: int, fix_max: int, tag: int, width: int, count: int) -> None:
        if count <= fix_max:
            self.put(bytes([fix | count]))
            return
        while width < 4 and count >> (8 * width):
            width, tag = width * 2, tag + 1
        self.put(bytes([tag]) + count.to_bytes(width, "big"))

    def write_text(self, value: str) -> None:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            self.refuse("utf8_invalid")
        if len(data) > self.limits.string_bytes_max:
            self.refuse("string_too_long")
        self.write_header(0xA0, 31, 0xD9, 1, len(data))
        self.put(data)

    def write_binary(self, value: bytes | bytearray | memoryview) -> None:
        try:
            view = memoryview(value)
        except ValueError:
            self.refuse("type_unsupported")
        if not view.c_contiguous:
            self.refuse("type_unsupported")
        if view.nbytes > self.limits.string_bytes_max:
            self.refuse("string_too_long")
        self.write_header(0, -1, 0xC4, 1, view.nbytes)
        self.put(view.tobytes())

    def write_integer(self, value: int) -> None:
        if not -(2**63) <= value < 2**64:
            self.refuse("integer_range")
        if -32 <= value < 128:
            self.put(bytes([value & 0xFF]))
            return
        signed = value < 0
        for index, width in enumerate((1, 2, 4, 8)):
            bits = 8 * width - signed
            if (-1 - value if signed else value) >> bits == 0:
                tag = (0xD0 if signed else 0xCC) + index
                self.put(bytes([tag]) + value.to_bytes(width, "big", signed=signed))
                return

    def enter(self, count: int, depth: int) -> None:
        if depth > self.limits.depth_max:
            self.refuse("depth_exceeded")
        if count > self.items_left:
            self.refuse("too_many_items")
        self.items_left -= count
