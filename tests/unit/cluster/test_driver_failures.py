"""A running member whose disk fails at every operation in turn: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
from random import Random

from neuro.cluster.disk import Disk
from neuro.cluster.driver_settings import DriverSettings
from neuro.errors import NeuroCacheError
from neuro.raft import NodeId, Options
from tests.unit.cluster.fault_disk import FaultDisk
from tests.unit.cluster.member_group import Group, wait_for

QUICK = Options(
    heartbeat_ms=2, election_timeout_ms_min=10, election_timeout_ms_max=20, disk_stall_ms_max=2_000
)
COMMAND_COUNT = 40


def group_on(disk: FaultDisk) -> Group:
    def make_disk(_: NodeId) -> Disk:
        return disk

    settings = DriverSettings(
        snapshot_entry_count=10, entry_count_kept=3, space_reserve_bytes=0, housekeeping_ms=50
    )
    return Group(1, make_disk, settings=settings, options=QUICK, segment_bytes=2048)


async def write_until_failure(group: Group) -> list[bytes]:
    """What was acknowledged, in order, by a member that may end at any time."""
    acknowledged: list[bytes] = []
    try:
        member = await group.start(1)
        await wait_for(lambda: member.node.leader == 1 or member.is_over)
        for number in range(COMMAND_COUNT):
            applied = await member.propose(b"%d" % number + b"x" * 200)
            acknowledged.append(applied.result[0])
        await member.take_snapshot()
    except (OSError, NeuroCacheError):
        pass
    return acknowledged


async def test_every_failing_operation_of_a_life_is_survived_by_what_was_acknowledged() -> None:
    failing = 0
    ended = 0
    while True:
        failing += 1 + failing // 12
        disk = FaultDisk()
        group = group_on(disk)
        await group.start(1)
        await group.stop(1)
        disk.operation_count, disk.fail_at = 0, failing
        acknowledged = await write_until_failure(group)
        reached = disk.operation_count
        if 1 in group.members:
            ended += group.members[1].is_over
            await group.stop(1)
        disk.lose_power(Random(failing))
        member = await group.start(1)
        await wait_for(lambda member=member: member.node.leader == 1)
        await member.read_barrier()
        items = group.items(1)
        assert items[: len(acknowledged)] == acknowledged, failing
        assert len(items) <= len(acknowledged) + 1
        await group.stop(1)
        if reached < failing:
            break
    assert ended > 10


async def test_a_member_that_ended_answers_nothing_and_is_closed_in_order() -> None:
    disk = FaultDisk()
    group = group_on(disk)
    member = await group.start(1)
    await wait_for(lambda: member.node.leader == 1)
    tasks = [asyncio.create_task(member.propose(b"%d" % n)) for n in range(50)]
    disk.is_frozen = True
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(each, NeuroCacheError) for each in results)
    await group.stop(1)
    await asyncio.wait_for(asyncio.shield(member.ended), 1)
