"""Hostile bytes for the frame codec: cut everywhere, damaged everywhere, promising too much."""

from __future__ import annotations

import random
from typing import Any

import pytest

from neuro.errors import FrameError
from neuro.wire import FrameDecoder, FrameEncoder
from neuro.wire.pure_frame import PureFrameDecoder

MESSAGES: list[tuple[dict[str, Any], Any]] = [
    ({}, "msgpack"),
    ({"type": "put", "key": "k", "value": b"\x00\xff" * 9, "ttl": -1}, "msgpack"),
    ({"type": "append", "term": 2**33, "entries": [{"n": 1.5}, {"n": None}, {}]}, "msgpack"),
    ({"type": "get", "key": 'é\\"\U0001f600', "deep": [[[True]]]}, "json"),
    ({"long" * 9: "x" * 300, "many": list(range(-40, 300, 20))}, "msgpack"),
    ({"n": [1, -1, 2.5, 1e300, 2**64 - 1, -(2**63)]}, "json"),
]
STREAM = b"".join(FrameEncoder().encode(message, encoding) for message, encoding in MESSAGES)
EXPECTED = list(MESSAGES)


def tell(decoder: Any, *pieces: bytes) -> tuple[list[str], str]:
    """Messages and the end of a stream as a decoder sees them."""
    read: list[str] = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            for message in decoder:
                read.append(repr(message))  # noqa: PERF401 - keeps what came before a fault
        decoder.finish()
    except FrameError as fault:
        return read, f"{fault.code} {fault.reason} {fault.offset}"
    return read, "end"


def test_byte_by_byte_gives_every_message_at_its_last_byte() -> None:
    decoder = FrameDecoder()
    read = []
    for index in range(len(STREAM)):
        decoder.feed(STREAM[index : index + 1])
        read += list(decoder)
    assert read == EXPECTED
    assert decoder.pending_bytes == 0


def test_split_at_every_offset_changes_nothing() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = FrameDecoder()
        decoder.feed(STREAM[:cut])
        read = list(decoder)
        whole = STREAM[:cut]
        decoder.feed(STREAM[cut:])
        assert read + list(decoder) == EXPECTED, f"cut at {cut} of {len(whole)}"


def test_every_truncation_is_named_as_such() -> None:
    ends = {0}
    for message, encoding in MESSAGES:
        ends.add(max(ends) + len(FrameEncoder().encode(message, encoding)))
    for cut in range(len(STREAM) + 1):
        _, end = tell(FrameDecoder(), STREAM[:cut])
        assert end == ("end" if cut in ends else f"frame_truncated frame_truncated {cut}")


def test_every_byte_set_to_every_class_of_value_is_judged_like_the_twin_does() -> None:
    for at in range(len(STREAM)):
        for value in (0, 0x7B, 0x80, 0xA1, 0xC1, 0xC6, 0xCB, 0xDB, 0xDF, 0xFF):
            damaged = STREAM[:at] + bytes([value]) + STREAM[at + 1 :]
            native = tell(FrameDecoder(), damaged)
            assert native == tell(PureFrameDecoder(), damaged), f"byte {at} set to {value:#x}"


def test_random_damage_is_judged_like_the_twin_does() -> None:
    for seed in range(600):
        chance = random.Random(seed)
        data = bytearray(STREAM)
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data))
            action = chance.randrange(4)
            if action == 0:
                data[at] ^= 1 << chance.randrange(8)
            elif action == 1:
                del data[at : at + chance.randint(1, 6)]
            elif action == 2:
                data[at:at] = chance.randbytes(chance.randint(1, 6))
            else:
                data[at:at] = data[at : at + chance.randint(1, 60)]
        cut = chance.randrange(len(data) + 1)
        pieces = bytes(data[:cut]), bytes(data[cut:])
        native = tell(FrameDecoder(), *pieces)
        assert native == tell(PureFrameDecoder(), *pieces), f"seed {seed}"


@pytest.mark.parametrize("tag", ["c4ff", "c5ffff", "c6ffffffff", "d9ff", "daffff", "dbffffffff",
                                 "dcffff", "ddffffffff", "deffff", "dfffffffff"])  # fmt: skip
def test_length_bombs_are_refused_without_allocating(tag: str) -> None:
    payload = b"\x81\xa1a" + bytes.fromhex(tag) + b"\xa1a"
    _, end = tell(FrameDecoder(), len(payload).to_bytes(4, "big") + payload)
    assert end == "frame_malformed value_truncated 7"


def test_nested_arrays_of_empty_arrays_stop_at_the_item_bound() -> None:
    payload = b"\x81\xa1a\xdd\x00\x10\x00\x00" + b"\x90" * 0x100000
    _, end = tell(FrameDecoder(), len(payload).to_bytes(4, "big") + payload)
    assert end == "frame_malformed too_many_items 7"


def test_garbage_from_the_first_byte_never_crashes() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        raw = chance.randbytes(chance.randint(1, 60))
        head = len(raw).to_bytes(4, "big") if chance.random() < 0.9 else b""
        shaped = bytes([chance.choice((0x81, 0x83, 0x8F, 0xDE, 0x7B))]) + raw[1:]
        data = head + shaped
        assert tell(FrameDecoder(), data) == tell(PureFrameDecoder(), data), data.hex()
