"""Servers over in-memory replicas, for the tests of the client API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from neuro.cluster.client_api import ClientApi
from tests.unit.cluster.memory_replica import MemoryGroup


class Cluster:
    """Members with a server each; `endpoints` in the order of their ids."""

    def __init__(self, count: int) -> None:
        self.group = MemoryGroup(count)
        self.servers = [ClientApi(item, item.machine) for item in self.group.replicas]
        self.endpoints: list[str] = []

    async def start(self, number: int) -> None:
        port = int(self.endpoints[number].rpartition(":")[2]) if self.endpoints[number] else 0
        _, port = await self.servers[number].start("127.0.0.1", port)
        self.endpoints[number] = f"127.0.0.1:{port}"
        self.group.addresses[number + 1] = self.endpoints[number]


@asynccontextmanager
async def serve(count: int = 1) -> AsyncIterator[Cluster]:
    """A running cluster."""
    cluster = Cluster(count)
    cluster.endpoints = [""] * count
    for number in range(count):
        await cluster.start(number)
    try:
        yield cluster
    finally:
        await asyncio.gather(*(server.close() for server in cluster.servers))
