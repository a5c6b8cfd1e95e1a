"""Members on loopback for the contract suite: each test runs on every carrier."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from neuro.cluster import ca
from neuro.cluster.ca import TlsFiles
from neuro.cluster.transport import (
    CarrierKind,
    Member,
    MemberTransport,
    TransportLimits,
    TransportSettings,
    make_transport,
)
from neuro.units import Address
from tests.transport_contract import RecordingDriver, Relay


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that a node runs on: its sockets differ from those of asyncio's own."""
    return {"uvloop": uvloop.new_event_loop}


CLUSTER = "c0ffee"
QUICK = TransportLimits(
    connect_timeout_ms=1_500,
    backoff_ms_min=10,
    backoff_ms_max=80,
    idle_timeout_ms=2_000,
    snapshot_step_timeout_ms=1_500,
    snapshot_finish_timeout_ms=3_000,
    snapshot_part_bytes=64 << 10,
)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority with certificates for nodes 1 to 4 and a client."""
    directory = tmp_path_factory.mktemp("authority")
    ca.init_authority(directory)
    for node in range(1, 5):
        ca.issue_node(directory, node)
    ca.issue_client(directory, "reader")
    return directory


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another cluster's authority, with a certificate for node 1."""
    directory = tmp_path_factory.mktemp("stranger")
    ca.init_authority(directory)
    ca.issue_node(directory, 1)
    return directory


def files_of(directory: Path, stem: str, ca_directory: Path | None = None) -> TlsFiles:
    """The files of `node-N` or `client-NAME`."""
    trusted = (ca_directory or directory) / "ca.pem"
    return TlsFiles(trusted, directory / f"{stem}.pem", directory / f"{stem}.key")


class Net:
    """Makes members on one carrier, and ends them."""

    def __init__(self, kind: str, authority: Path) -> None:
        self.kind = kind
        self.is_udp = kind == "quic"
        self.is_plain = kind == "plain"
        self._authority = authority
        self._ends: list[Callable[[], Any]] = []

    async def member(
        self, node: int, *, files: TlsFiles | None = None, **options: Any
    ) -> tuple[MemberTransport, RecordingDriver]:
        """A transport that listens, and its driver."""
        transport = self.make(node, files=files, **options)
        driver = RecordingDriver()
        await transport.start(driver)
        return transport, driver

    def make(
        self,
        node: int,
        *,
        files: TlsFiles | None = None,
        cluster_id: str = CLUSTER,
        incarnation: int = 1,
        limits: TransportLimits = QUICK,
        port: int = 0,
    ) -> MemberTransport:
        """A transport that does not listen yet."""
        carrier = CarrierKind.QUIC if self.is_udp else CarrierKind.TCP
        tls = None if self.is_plain else files or files_of(self._authority, f"node-{node}")
        member = Member(cluster_id, node, incarnation)
        bind = Address("127.0.0.1", port)
        settings = TransportSettings(member, bind, tls=tls, carrier=carrier, limits=limits)
        transport = make_transport(settings)
        self._ends.append(transport.close)
        return transport

    async def pair(
        self,
    ) -> tuple[MemberTransport, RecordingDriver, MemberTransport, RecordingDriver]:
        """Members 1 and 2, who know each other."""
        one, driver_one = await self.member(1)
        two, driver_two = await self.member(2)
        one.set_peers({1: str(one.address), 2: str(two.address)})
        two.set_peers({1: str(one.address), 2: str(two.address)})
        return one, driver_one, two, driver_two

    async def relay(self, target: MemberTransport) -> Relay:
        """A proxy in front of a member."""
        relay = Relay((target.address.host, target.address.port), is_udp=self.is_udp)
        await relay.start()
        self._ends.append(relay.close)
        return relay

    async def close(self) -> None:
        for end in reversed(self._ends):
            await end()


@pytest.fixture(params=["tcp", "quic", "plain"])
async def net(request: pytest.FixtureRequest, authority: Path) -> AsyncIterator[Net]:
    """TCP with TLS, QUIC, and TCP in clear."""
    net = Net(request.param, authority)
    yield net
    await net.close()


@pytest.fixture(params=["tcp", "quic"])
async def tls_net(request: pytest.FixtureRequest, authority: Path) -> AsyncIterator[Net]:
    """The carriers that prove identities."""
    net = Net(request.param, authority)
    yield net
    await net.close()
