"""What every Replica promises: the fake that other tests use, and the driver over a real disk.

So a test that passes with the fake says something about the product.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from neuro.clock import SystemClock
from neuro.cluster.client import Client
from neuro.cluster.client_api import ClientApi
from neuro.cluster.client_errors import KeyNotFound
from neuro.cluster.disk import RealDisk
from neuro.cluster.driver import Driver
from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.machine import KeyValueMachine, Op, Outcome, make_payload
from neuro.cluster.machine_clock import MachineClock
from neuro.cluster.replica import Replica
from neuro.cluster.storage import Founding
from neuro.raft import Change, ChangeKind, Configuration, InvalidTransfer, Role
from tests.unit.cluster.member_group import FAST, MemoryTransport, Network
from tests.unit.cluster.memory_replica import MemoryGroup

Pair = tuple[Replica[Outcome], KeyValueMachine]


async def start_driver(directory: Path) -> tuple[Driver[Outcome], KeyValueMachine]:
    machine = KeyValueMachine()
    founders = Configuration(voters=(1,), addresses=((1, "127.0.0.1:7001"),))
    driver = await Driver.start(
        RealDisk(directory),
        Founding("test", 1, founders, KeyValueMachine().snapshot),
        machine,
        MemoryTransport(Network(), 1),
        options=FAST,
        settings=DriverSettings(space_reserve_bytes=0),
    )
    async with asyncio.timeout(10):
        while driver.status().role is not Role.LEADER:
            await asyncio.sleep(0.01)
    await driver.read_barrier()  # a new leader takes changes once an entry of its term is committed
    return driver, machine


@pytest.fixture(params=["memory", "driver"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    if request.param == "memory":
        replica = MemoryGroup().replicas[0]
        yield replica, replica.machine
        return
    driver, machine = await start_driver(tmp_path)
    yield driver, machine
    await driver.close()


class Ears:
    def __init__(self) -> None:
        self.indices: list[int] = []

    def on_applied(self, index: int) -> None:
        self.indices.append(index)

    def on_restored(self, index: int) -> None:
        raise AssertionError(index)

    def on_leadership(self, term: int, leader: int, is_leader: bool) -> None:
        pass


async def test_a_proposal_gives_the_machine_s_result(pair: Pair) -> None:
    replica, machine = pair
    applied = await replica.propose(make_payload(Op.PUT, "k", b"v", 0))
    assert applied.result.is_ok
    assert machine.applied_index == applied.index
    refused = await replica.propose(make_payload(Op.CAS, "k", 9, None, b"", 0))
    assert refused.result.code == "compare_failed"
    assert refused.index > applied.index


async def test_proposals_at_once_are_each_applied_once(pair: Pair) -> None:
    replica, machine = pair
    applied = await asyncio.gather(
        *(replica.propose(make_payload(Op.PUT, f"k{n}", b"", 0)) for n in range(200))
    )
    assert len({item.index for item in applied}) == 200
    assert sorted(item.result.revision for item in applied) == list(range(1, 201))
    assert machine.revision == 200


async def test_after_the_barrier_the_machine_has_what_was_acknowledged(pair: Pair) -> None:
    replica, machine = pair
    applied = await replica.propose(make_payload(Op.PUT, "k", b"v", 0))
    assert await replica.read_barrier() >= applied.index
    assert machine.get("k") is not None


async def test_listeners_hear_of_each_command_in_order_until_they_leave(pair: Pair) -> None:
    replica, _ = pair
    ears = Ears()
    leave = replica.subscribe(ears)
    first = await replica.propose(make_payload(Op.PUT, "a", b"", 0))
    second = await replica.propose(make_payload(Op.PUT, "b", b"", 0))
    assert ears.indices[-1] == second.index
    assert first.index in ears.indices
    assert ears.indices == sorted(ears.indices)
    leave()
    await replica.propose(make_payload(Op.PUT, "c", b"", 0))
    assert ears.indices[-1] == second.index


async def test_status_and_hint_agree_on_the_leader(pair: Pair) -> None:
    replica, machine = pair
    applied = await replica.propose(make_payload(Op.PUT, "k", b"v", 0))
    status = replica.status()
    assert (status.node, status.role, status.leader.node) == (1, Role.LEADER, 1)
    assert replica.leader_hint().node == 1
    assert status.applied_index == applied.index
    assert status.state_hash == machine.state_hash.hex()
    assert replica.alarms() == ()


async def test_members_are_changed_and_leadership_goes_to_voters_only(pair: Pair) -> None:
    replica, _ = pair
    change = Change(ChangeKind.ADD_LEARNER, 2, address="127.0.0.1:7002 127.0.0.1:3002")
    after = await replica.change_members([change])
    assert (after.voters, after.learners) == ((1,), (2,))
    assert replica.status().configuration.learners == (2,)
    with pytest.raises(InvalidTransfer):
        await replica.transfer_leadership(2)


async def test_a_snapshot_can_be_taken_and_read_while_commands_go_on(pair: Pair) -> None:
    replica, _ = pair
    applied = await replica.propose(make_payload(Op.PUT, "k", b"v", 0))
    info = await replica.take_snapshot()
    assert info.index >= applied.index
    chunks = replica.open_snapshot()
    await replica.propose(make_payload(Op.PUT, "k", b"w", 0))
    assert b"".join(chunks)


async def test_clients_are_served_whatever_is_below(pair: Pair) -> None:
    replica, machine = pair
    server = ClientApi(replica, machine)
    clock = MachineClock(replica, machine, SystemClock())
    clock.start()
    _, port = await server.start("127.0.0.1", 0)
    async with Client([f"127.0.0.1:{port}"]) as client:
        lease = (await client.write("lease_grant", ttl_ms=1_000))["lease"]
        await asyncio.gather(*(client.put(f"k{n}", b"v") for n in range(50)))
        await client.put("k0", b"w", lease=lease)
        assert [item["key"] async for item in client.scan("k4")] == [
            "k4", *(f"k4{n}" for n in range(10)),
        ]  # fmt: skip
        assert (await client.call("health"))["healthy"] is True
        seen: list[Any] = []
        async with asyncio.timeout(10):
            async for change in client.watch("k0", from_revision=1):
                seen.append(change["kind"])
                if change["kind"] == "delete":
                    break
        assert seen == ["put", "put", "delete"]
        with pytest.raises(KeyNotFound):
            await client.get("k0")
    await clock.close()
    await server.close()


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    driver, machine = await start_driver(tmp_path)
    session = (await driver.propose(make_payload(Op.SESSION_OPEN))).result.facts["session"]
    payload = make_payload(Op.PUT, "k", b"v", 0, session=session, sequence=1)
    first = await driver.propose(payload)
    await driver.take_snapshot()
    await driver.propose(make_payload(Op.PUT, "after", b"v", 0))
    before, revision = machine.state_hash, machine.revision
    await driver.close()
    driver, machine = await start_driver(tmp_path)
    await driver.read_barrier()
    assert (machine.state_hash, machine.revision) == (before, revision)
    assert (await driver.propose(payload)).result == first.result
    assert machine.revision == revision
    await driver.close()
