"""Durable proposals a second: the log alone, and whole members with 1, 64 and 512 clients.

Owns figures for the write path, with a real disk and a sync before every acknowledgement;
`sync` is the same disk's bare write and fdatasync, to hold the others against. Members share
one process and one interpreter, so three of them show the price of replication in CPU, not
the gain of three machines. Never asserts a speed. Run
`pytest bench/bench_wal.py --benchmark-enable`; the test suite runs it once, tiny.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from neuro.cluster.disk import RealDisk
from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.wal import Wal
from neuro.cluster.wal_format import Record, encode_records, frame_batch
from neuro.raft import Configuration, Entry, EntryKind, HardState, Options, found_group
from tests.unit.cluster.member_group import Group, Member

VALUE_BYTES = 256 + 8 + 16  # the value, the key and the command around them
BASE = found_group(Configuration(voters=(1,)))
QUIET = Options(election_timeout_ms_min=300, election_timeout_ms_max=600, heartbeat_ms=50)


def entries(first: int, count: int) -> list[Record]:
    data = b"v" * VALUE_BYTES
    return [Entry(first + n, 2, EntryKind.COMMAND, data) for n in range(count)]


def test_bare_write_and_sync(benchmark: Any, tmp_path: Path) -> None:
    disk = RealDisk(tmp_path)
    file = disk.create("bare")
    file.allocate(4 << 20)
    data = b"v" * 4096

    def write_and_sync() -> None:
        file.write(0, data)
        file.sync()

    benchmark(write_and_sync)
    file.close()
    disk.close()


@pytest.mark.parametrize("count", [1, 64, 512])
def test_encode_batch(benchmark: Any, count: int) -> None:
    records = [*entries(2, count), HardState(2, 1, 1)]
    benchmark(lambda: frame_batch(7, 0, len(records), 1, encode_records(records)))


@pytest.mark.parametrize("count", [1, 64, 512])
def test_commit_batch(benchmark: Any, tmp_path: Path, count: int) -> None:
    disk = RealDisk(tmp_path)
    wal = Wal.create(disk, "disk", BASE)
    position = 2

    def commit() -> None:
        nonlocal position
        if wal.needs_spare:
            wal.prepare_spare()
        wal.commit([*entries(position, count), HardState(2, 1, position)])
        position += count

    benchmark(commit)
    wal.close()
    disk.close()


class RunningGroup:
    """Members on a loop of their own, kept over the rounds of a bench."""

    def __init__(self, directory: Path, count: int) -> None:
        self.loop = uvloop.new_event_loop()
        self.group = Group(
            count,
            lambda node: RealDisk(directory / str(node)),
            settings=DriverSettings(space_reserve_bytes=0),
            options=QUIET,
            segment_bytes=16 << 20,
        )
        self.loop.run_until_complete(self.group.start_all())
        self.leader: Member = self.loop.run_until_complete(self.group.leader())

    def write(self, client_count: int, write_count: int) -> None:
        self.loop.run_until_complete(self._write(client_count, write_count))

    async def _write(self, client_count: int, write_count: int) -> None:
        payload = b"v" * VALUE_BYTES

        async def client() -> None:
            for _ in range(write_count):
                await self.leader.propose(payload)

        await asyncio.gather(*(client() for _ in range(client_count)))

    def close(self) -> None:
        self.loop.run_until_complete(self.group.close())
        self.loop.close()


@pytest.fixture(params=[1, 3], ids=["one-node", "three-nodes"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningGroup]:
    group = RunningGroup(tmp_path, request.param)
    yield group
    group.close()


@pytest.mark.parametrize("client_count", [1, 64, 512])
def test_durable_proposals(benchmark: Any, running: RunningGroup, client_count: int) -> None:
    write_count = 20 if benchmark.enabled else 1
    rounds = 10 if benchmark.enabled else 1
    benchmark.pedantic(running.write, (client_count, write_count), rounds=rounds, warmup_rounds=1)
    if not benchmark.enabled:
        return
    status = running.leader.status()
    benchmark.extra_info["proposals_per_s"] = round(
        client_count * write_count / benchmark.stats.stats.median
    )
    benchmark.extra_info["sync_us_p50"] = status.disk.sync_us_p50
    benchmark.extra_info["cpu_count"] = os.cpu_count()
