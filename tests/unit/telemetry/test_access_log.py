"""The access log reads the engine's records as the header lays them out."""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING

from neuro.telemetry.access_log import DRAIN_RECORDS_MAX, RECORD_BYTES, AccessLog, parse_records

if TYPE_CHECKING:
    import pytest


def record(status: int = 200, outcome: int = 0, flags: int = 0) -> bytes:
    """nc_access: time, hash[2], client, bytes, object, duration, status, outcome, flags, reserved."""
    return struct.pack("=QQQQQQIHBBQ", 10, 1, 2, 3, 4, 5, 6, status, outcome, flags, 0)


def test_a_record_has_the_size_of_a_cache_line() -> None:
    assert RECORD_BYTES == 64


def test_records_are_read_field_by_field() -> None:
    first, second = parse_records(record() + record(304, 2, 0b011))
    assert (first.time_us, first.body_bytes, first.duration_us, first.status) == (10, 4, 6, 200)
    assert first.key_hash == f"{2:016x}{1:016x}"
    assert (first.cache, first.flags) == ("hit", ())
    assert (second.cache, second.flags) == ("revalidated", ("head", "not_modified"))
    assert next(parse_records(record(outcome=99))).cache == "unknown"


def test_draining_writes_one_line_a_record_and_says_when_more_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocks = [record() * DRAIN_RECORDS_MAX, record(404, 6)]
    log = AccessLog(lambda _: blocks.pop(0))
    with caplog.at_level(logging.INFO, "neuro.access"):
        assert log.drain() is True
        assert log.drain() is False
    assert len(caplog.records) == DRAIN_RECORDS_MAX + 1
    last = vars(caplog.records[-1])
    assert (last["status"], last["cache"], last["duration_s"]) == (404, "error", 6e-06)
