"""Three members under power cuts and isolation, with clients that remember every answer.

The whole shell with real timers and threads; the order of events differs from run to run, so
the seed repeats the faults, not the run. The simulator in `tests/sim` is what replays.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.replica import OutcomeUnknown
from neuro.errors import NeuroCacheError
from neuro.raft import NodeId
from tests.unit.cluster.fault_disk import FaultDisk
from tests.unit.cluster.member_group import Group, wait_for

FAULT_COUNT = 6
CLIENT_COUNT = 4


class Clients:
    """Writers of commands that never repeat; each command is sent once."""

    def __init__(self, group: Group, random: Random) -> None:
        self.group = group
        self.random = random
        self.acknowledged: set[bytes] = set()
        self.unknown: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.is_over = False

    async def run(self, client: int) -> None:
        number = 0
        while not self.is_over:
            await asyncio.sleep(0.002)
            members = [each for each in self.group.members.values() if not each.is_over]
            if not members:
                continue
            number += 1
            command = b"client %d command %d" % (client, number)
            try:
                await self.random.choice(members).propose(command, timeout_ms=500)
                self.acknowledged.add(command)
            except OutcomeUnknown:
                self.unknown.add(command)
            except NeuroCacheError:
                self.refused.add(command)


async def cut_power(group: Group, disk: FaultDisk, node: NodeId, random: Random) -> None:
    disk.is_frozen = True
    await asyncio.sleep(random.random() * 0.05)
    await group.stop(node)
    disk.is_frozen = False
    disk.lose_power(random)
    await asyncio.sleep(random.random() * 0.3)
    await group.start(node)


@pytest.mark.parametrize("seed", [1, 2])
async def test_acknowledged_commands_survive_power_cuts_and_isolation(seed: int) -> None:
    random = Random(seed)
    disks = {node: FaultDisk() for node in (1, 2, 3)}
    settings = DriverSettings(
        snapshot_entry_count=60, entry_count_kept=10, space_reserve_bytes=0, housekeeping_ms=50
    )
    group = Group(3, disks.__getitem__, settings=settings, segment_bytes=4096)
    await group.start_all()
    await group.leader()
    clients = Clients(group, random)
    tasks = [asyncio.create_task(clients.run(client)) for client in range(CLIENT_COUNT)]
    for fault in range(FAULT_COUNT):
        enough = len(clients.acknowledged) + 40
        await wait_for(lambda enough=enough: len(clients.acknowledged) > enough)
        node = random.choice((1, 2, 3))
        if fault % 3 == 2:
            group.network.isolate(node)
            await asyncio.sleep(0.4)
            group.network.heal()
        else:
            await cut_power(group, disks[node], node, random)
    clients.is_over = True
    await asyncio.gather(*tasks)
    leader = await group.leader()
    await leader.propose(b"end")
    for node, member in group.members.items():
        await wait_for(lambda node=node: group.items(node)[-1:] == [b"end"])
        await member.read_barrier()
    items = group.items(1)
    assert group.items(2) == items
    assert group.items(3) == items
    assert len(items) == len(set(items))
    assert clients.acknowledged <= set(items)
    assert not clients.refused & set(items)
    assert set(items) <= clients.acknowledged | clients.unknown | {b"end"}
    assert not any(member.alarms() for member in group.members.values())
    await group.close()
