"""A single member in a process of its own, told what to write on standard input.

For `test_kill.py`, which kills it at any moment. Prints `ready`, then `NUMBER` for every
command that was acknowledged, in the order of acknowledgement.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from neuro.cluster.disk import RealDisk
from neuro.cluster.driver import Driver
from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.storage import Founding
from neuro.raft import Configuration
from tests.unit.cluster.member_group import FAST, ListMachine, MemoryTransport, Network


async def main(directory: Path, client_count: int) -> None:
    member = await Driver.start(
        RealDisk(directory),
        Founding("killed", 1, Configuration(voters=(1,)), ListMachine().snapshot),
        ListMachine(),
        MemoryTransport(Network(), 1),
        options=FAST,
        settings=DriverSettings(snapshot_entry_count=300, entry_count_kept=50),
        segment_bytes=1 << 16,
    )
    while member.node.leader != 1:
        await asyncio.sleep(0.01)
    await member.read_barrier()
    machine = member.applier.machine
    assert isinstance(machine, ListMachine)
    print("ready", *(item.split(b":")[0].decode() for item in machine.items), flush=True)
    counter = iter(range(len(machine.items), 1 << 30))

    async def write() -> None:
        for number in counter:
            await member.propose(b"%d:" % number + b"v" * (number % 900))
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()

    await asyncio.gather(*(write() for _ in range(client_count)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
