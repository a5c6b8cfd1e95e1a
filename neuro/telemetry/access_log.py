"""The access log: one line for each finished response, made from the engine's ring.

Owns the reading of nc_access records and their rate of draining. Never slows a hit: the ring drops
and counts when this side is late. Addresses and URLs do not appear, only keyed hashes of them.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import TYPE_CHECKING, NamedTuple

from neuro.telemetry.metrics import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRAIN_INTERVAL_S = 0.2
DRAIN_RECORDS_MAX = 4_096  # in one turn of the loop: about 10 ms of formatting

_RECORD = struct.Struct("=QQQQQQIHBBQ")  # nc_access of zig/include/neurocache.h
RECORD_BYTES = _RECORD.size
_FLAG_NAMES = ((1, "head"), (2, "not_modified"), (4, "partial"))
_log = logging.getLogger("neuro.access")


class AccessRecord(NamedTuple):
    """One finished response."""

    time_us: int
    key_hash: str
    client_hash: str
    body_bytes: int
    duration_us: int
    status: int
    cache: str
    flags: tuple[str, ...]


def parse_records(data: bytes) -> Iterator[AccessRecord]:
    """The records of a block that the engine gave."""
    for row in _RECORD.iter_unpack(data):
        time_us, low, high, client, body_bytes, _, duration_us, status, outcome, flags, _ = row
        yield AccessRecord(
            time_us=time_us,
            key_hash=f"{high:016x}{low:016x}",
            client_hash=f"{client:016x}",
            body_bytes=body_bytes,
            duration_us=duration_us,
            status=status,
            cache=OUTCOMES[outcome] if outcome < len(OUTCOMES) else "unknown",
            flags=tuple(name for bit, name in _FLAG_NAMES if flags & bit),
        )


class AccessLog:
    """Drains the ring into the log until it is stopped."""

    def __init__(self, poll: Callable[[int], bytes]) -> None:
        self._poll = poll
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins on the running loop."""
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(DRAIN_INTERVAL_S, self._on_due)

    def stop(self) -> None:
        """Writes what waits, and ends. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self.drain()

    def drain(self) -> bool:
        """Writes up to DRAIN_RECORDS_MAX lines; whether more may wait."""
        data = self._poll(DRAIN_RECORDS_MAX)
        for record in parse_records(data):
            _log.info(
                "access",
                extra={
                    "status": record.status,
                    "cache": record.cache,
                    "bytes": record.body_bytes,
                    "duration_s": record.duration_us / 1_000_000,
                    "key_hash": record.key_hash,
                    "client_hash": record.client_hash,
                    **({"flags": ",".join(record.flags)} if record.flags else {}),
                },
            )
        return len(data) == DRAIN_RECORDS_MAX * RECORD_BYTES

    def _on_due(self) -> None:
        delay_s = 0.0 if self.drain() else DRAIN_INTERVAL_S
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._on_due)
