"""Sizes, durations and addresses: strict, and the same both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro import units
from neuro.errors import UnitError
from neuro.units import Address


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("12B", 12),
        ("256MiB", 256 << 20),
        ("10MB", 10**7),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, size_bytes: int) -> None:
    assert units.parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "MiB", "256mb", "1.5GiB", "-1", "1 MiB", "1e3", "007", "\u0661"]
)
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        units.parse_size_bytes(text)
    assert caught.value.text == text


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("0", 0), ("250ms", 250), ("10s", 10_000), ("1h30m", 5_400_000), ("2d", 172_800_000)],
)
def test_durations_are_read(text: str, duration_ms: int) -> None:
    assert units.parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize("text", ["", "5", "s", "1m1h", "1s1s", "1.5s", "-1s", "1s ", "1S"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UnitError):
        units.parse_duration_ms(text)


@given(st.integers(0, 10**18 - 1))
def test_a_formatted_size_reads_back(size_bytes: int) -> None:
    assert units.parse_size_bytes(units.format_size_bytes(size_bytes)) == size_bytes


@given(st.integers(0, 10**14))
def test_a_formatted_duration_reads_back(duration_ms: int) -> None:
    assert units.parse_duration_ms(units.format_duration_ms(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:65535", Address("localhost", 65535)),
    ],
)
def test_addresses_are_read_and_written(text: str, address: Address) -> None:
    assert units.parse_address(text) == address
    assert str(address) == text
    assert address.is_loopback


@pytest.mark.parametrize(
    "text",
    ["", "80", ":80", "::1:80", "[127.0.0.1]:80", "h:65536", "h:-1", "1.2.3:4", "a b:1", "h:"],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(UnitError):
        units.parse_address(text)


def test_only_loopback_counts_as_loopback() -> None:
    assert not Address("0.0.0.0", 1).is_loopback
    assert not Address("::", 1).is_loopback
    assert not Address("example.org", 1).is_loopback


def test_a_rounded_size_is_short() -> None:
    assert units.format_size_rounded(1_610_612_736) == "1.5 GiB"
    assert units.format_size_rounded(12) == "12 B"
