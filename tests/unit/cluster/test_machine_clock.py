"""Leases expire by the log, driven by whoever leads."""

from __future__ import annotations

import asyncio

from neuro.clock import SystemClock
from neuro.cluster.client import Client
from neuro.cluster.machine_clock import MachineClock
from tests.unit.cluster.api_harness import Cluster, serve


def make_clocks(cluster: Cluster) -> list[MachineClock]:
    clocks = [MachineClock(item, item.machine, SystemClock()) for item in cluster.group.replicas]
    for clock in clocks:
        clock.start()
    return clocks


async def test_an_unkept_lease_ends_on_all_members_and_never_early() -> None:
    async with serve(2) as cluster, Client(cluster.endpoints) as client:
        clocks = make_clocks(cluster)
        loop = asyncio.get_running_loop()
        lease = (await client.call("lease_grant", ttl_ms=1_000))["lease"]
        granted_s = loop.time()
        await client.call("put", key="k", value=b"", lease=lease)
        async with asyncio.timeout(10):
            async for change in client.watch("k", from_revision=2):
                assert change["kind"] == "delete"
                break
        assert 1.0 <= loop.time() - granted_s < 4.0
        assert [item.machine.lease_count for item in cluster.group.replicas] == [0, 0]
        await asyncio.gather(*(clock.close() for clock in clocks))


async def test_time_stands_still_while_nobody_leads() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        (clock,) = make_clocks(cluster)
        replica = cluster.group.replicas[0]
        await client.call("lease_grant", ttl_ms=1_000)
        async with asyncio.timeout(10):
            while not replica.machine.time_ms:
                await asyncio.sleep(0.01)
            before_ms = replica.machine.time_ms
            cluster.group.leader = 0
            refusals = replica.refusal_count
            while replica.refusal_count < refusals + 2:
                await asyncio.sleep(0.01)
        assert replica.machine.time_ms == before_ms
        assert replica.machine.lease_count == 1
        await clock.close()
