"""A group of three processes: founding, kill -9, pauses, one-way cuts, joining; on both carriers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from neuro.cluster.client_errors import ClientError
from neuro.cluster.replica import format_member_address
from tests.integration.cluster.history import History
from tests.integration.cluster.serving_group import NODES, Group, running_group


@pytest.fixture(params=["tcp", "quic"])
async def group(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Group]:
    """Three members with certificates."""
    async with running_group(tmp_path, request.param) as group:
        yield group


async def test_acknowledged_writes_survive_kill_9_of_the_leader(group: Group) -> None:
    leader = await group.wait_for_leader()
    others = [node for node in NODES if node != leader]
    async with group.client() as client:
        for number in range(20):
            await client.put(f"before/{number}", str(number).encode())
        group.kill(leader)
        for number in range(20):
            await client.put(f"after/{number}", str(number).encode())
    assert await group.wait_for_leader(*others) != leader
    async with group.client(*others) as client:
        found = {item["key"]: item["value"] async for item in client.scan()}
    assert found == {
        f"{when}/{number}": str(number).encode()
        for when in ("before", "after")
        for number in range(20)
    }
    group.spawn(leader)
    await group.wait_until_equal(*NODES)
    async with group.client(leader) as client:
        assert (await client.get("after/19"))["value"] == b"19"


async def test_the_history_is_linearizable_while_members_fail(group: Group) -> None:
    """Kill -9 of the leader, a pause of the next, a one-way cut of the third, all under load."""
    history = History(seed=20_11)
    clients = [group.client(timeout_ms=4_000) for _ in range(4)]
    workers = [
        asyncio.create_task(history.work(client, number)) for number, client in enumerate(clients)
    ]
    try:
        await asyncio.sleep(0.5)
        victim = await group.wait_for_leader()
        group.kill(victim)
        await group.wait_for_leader(*[node for node in NODES if node != victim])
        group.spawn(victim)

        paused = await group.wait_for_leader()
        group.signal(paused, signal.SIGSTOP)
        await group.wait_for_leader(*[node for node in NODES if node != paused])
        group.signal(paused, signal.SIGCONT)

        deaf = await group.wait_for_leader()
        group.relays[deaf].cut()
        await group.wait_for_leader(*[node for node in NODES if node != deaf])
        group.relays[deaf].mend()
        await group.wait_until_equal(*NODES)
    finally:
        history.stop()
        await asyncio.gather(*workers)
        for client in clients:
            await client.close()
    await group.wait_until_equal(*NODES)
    assert sum(op.end < 1 << 62 for op in history.operations) > 100
    history.check()


@pytest.mark.parametrize("group", ["tcp"], indirect=True)
async def test_a_minority_and_a_stranger_get_nothing(group: Group) -> None:
    files, group.client_tls = group.client_tls, None
    async with group.client(timeout_ms=1_500) as client:
        with pytest.raises(ClientError):
            await client.get("k")
    group.client_tls = files
    leader = await group.wait_for_leader()
    for node in NODES:
        if node != leader:
            group.kill(node)
    async with group.client(leader, timeout_ms=3_000) as client:
        with pytest.raises(ClientError):
            await client.put("k", b"lost")
        with pytest.raises(ClientError):
            await client.get("k")
    for node in NODES:
        if node != leader:
            group.spawn(node)
    await group.wait_for_leader()
    async with group.client() as client:
        await client.put("k", b"kept")
        assert (await client.get("k"))["value"] == b"kept"


@pytest.mark.parametrize("group", ["quic"], indirect=True)
async def test_a_fourth_member_joins_through_a_follower_and_catches_up(group: Group) -> None:
    """Only the leader takes a change of members: a follower sends the client there."""
    leader = await group.wait_for_leader()
    follower = next(node for node in NODES if node != leader)
    status = await group.status(follower)
    assert status is not None
    assert status["leader_address"] == group.endpoint(leader)
    async with group.client(follower) as client:
        for number in range(50):
            await client.put(f"key/{number}", bytes(1_000))
        group.spawn(4, is_joining=True)
        address = format_member_address(group.relays[4].address, group.endpoint(4))
        change = {"kind": "add_voter", "node": 4, "address": address}
        await client.call("member_change", changes=[change])
        await client.put("last", b"1")
    await group.wait_until_equal(*NODES, 4)
    async with group.client(4) as client:
        assert (await client.get("last", local=True))["value"] == b"1"
