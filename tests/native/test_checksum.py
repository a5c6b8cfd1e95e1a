"""CRC-32C: the published vectors, and a table in Python as twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.native import crc32c

POLYNOMIAL = 0x82F63B78


def crc32c_portable(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """Bit by bit, as RFC 3720 appendix B.4 has it."""
    value ^= 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value ^ 0xFFFFFFFF


VECTORS = [
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(reversed(range(32))), 0x113FDB5C),
]


@pytest.mark.parametrize(("data", "expected"), VECTORS)
def test_published_vectors_hold(data: bytes, expected: int) -> None:
    assert crc32c(data) == crc32c_portable(data) == expected


@given(st.binary(max_size=200), st.integers(0, 200))
def test_parts_give_the_same_as_the_whole(data: bytes, cut: int) -> None:
    whole = crc32c(data)
    assert crc32c(data[cut:], crc32c(data[:cut])) == whole
    assert crc32c_portable(data[cut:], crc32c_portable(data[:cut])) == whole


def test_large_buffers_release_the_lock_and_agree() -> None:
    data = bytearray(range(256)) * 256
    assert crc32c(data) == crc32c_portable(memoryview(data))


def test_anything_but_bytes_is_refused() -> None:
    with pytest.raises(TypeError):
        crc32c("text")  # type: ignore[arg-type]
