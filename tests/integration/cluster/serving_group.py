"""Three real `neurocache serve` processes that found a group, on either carrier, with relays.

Owns: certificates, ports, processes, and the relays between them. Every member reaches another
through the relay in front of it, so that a test can cut who hears what. Waiting is polling with a
deadline; nothing sleeps for luck.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from neuro.cluster import ca
from neuro.cluster.ca import TlsFiles
from neuro.cluster.client import Client
from neuro.cluster.client_errors import ClientError
from tests.integration.serving import clean_environment
from tests.transport_contract import Relay, until

NODES = (1, 2, 3)
DEADLINE_S = 25.0


def pick_port() -> int:
    """A port that is free on TCP and UDP now."""
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])
    raise AssertionError("no free port")


class Group:
    """The processes of one group."""

    def __init__(self, directory: Path, transport: str, *, is_tls: bool) -> None:
        self._directory = directory
        self._transport = transport
        self._tls: dict[int, TlsFiles] = {}
        self.client_tls: TlsFiles | None = None
        if is_tls:
            authority = directory / "ca"
            ca.init_authority(authority)
            self._tls = {node: ca.issue_node(authority, node) for node in (*NODES, 4)}
            self.client_tls = ca.issue_client(authority, "test")
        self.raft_ports = {node: pick_port() for node in (*NODES, 4)}
        self.client_ports = {node: pick_port() for node in (*NODES, 4)}
        self.relays: dict[int, Relay] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    async def start(self) -> None:
        """Starts the relays, then the three members."""
        for node in (*NODES, 4):
            target = ("127.0.0.1", self.raft_ports[node])
            self.relays[node] = Relay(target, is_udp=self._transport == "quic")
            await self.relays[node].start()
        for node in NODES:
            self.spawn(node)

    def spawn(self, node: int, *, is_joining: bool = False) -> None:
        """Starts one member, or starts it again."""
        directory = self._directory / f"node-{node}"
        directory.mkdir(exist_ok=True)
        words = [
            *("--id", str(node), "--data", str(directory / "data"), "--memory", "8MiB"),
            *("--threads", "1", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--log-format", "json", "--raft-transport", self._transport),
            *("--peers", self.peers_text((*NODES, node) if is_joining else NODES)),
            *("--raft-bind", f"127.0.0.1:{self.raft_ports[node]}"),
            *("--client-bind", f"127.0.0.1:{self.client_ports[node]}"),
        ]
        if is_joining:
            words.append("--join")
        tls = self._tls.get(node)
        if tls is not None:
            words += ["--tls-ca", str(tls.ca), "--tls-cert", str(tls.certificate)]
            words += ["--tls-key", str(tls.key)]
        with (directory / "log.jsonl").open("ab") as log:
            self.processes[node] = subprocess.Popen(
                [sys.executable, "-m", "neuro.cli.main", "serve", *words],
                cwd=directory,
                env=clean_environment(),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def peers_text(self, nodes: tuple[int, ...]) -> str:
        """For `--peers`; members are told the relays' addresses."""
        known = sorted(set(nodes))
        return ",".join(f"{n}={self.relays[n].address}/{self.client_ports[n]}" for n in known)

    def address_of(self, node: int) -> str:
        """A member's address as the configuration has it."""
        return f"{self.relays[node].address} {self.endpoint(node)}"

    def endpoint(self, node: int) -> str:
        """Where clients reach a member."""
        return f"127.0.0.1:{self.client_ports[node]}"

    def client(self, *nodes: int, timeout_ms: int = 15_000) -> Client:
        """A client of these members, or of all three."""
        context = ca.make_client_context(self.client_tls) if self.client_tls else None
        endpoints = [self.endpoint(node) for node in nodes or NODES]
        return Client(endpoints, timeout_ms=timeout_ms, tls=context)

    async def status(self, node: int) -> dict[str, Any] | None:
        """A member's own view; None while it does not answer."""
        async with self.client(node, timeout_ms=1_000) as client:
            try:
                return await client.call("status")
            except ClientError:
                return None

    async def wait_for_leader(self, *among: int) -> int:
        """The member that says of itself that it leads, once there is one."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for node in among or NODES:
                    status = await self.status(node)
                    if status is not None and status["role"] == "leader":
                        return node
                await asyncio.sleep(0.05)

    async def wait_until_equal(self, *nodes: int) -> None:
        """Returns when the members have applied the same entries; their states must be equal."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                found = [await self.status(node) for node in nodes]
                if all(found) and len({s["applied_index"] for s in found if s}) == 1:
                    hashes = {s["state_hash"] for s in found if s}
                    assert len(hashes) == 1, found
                    return
                await asyncio.sleep(0.05)

    def signal(self, node: int, number: signal.Signals) -> None:
        """Sends a signal to a member."""
        self.processes[node].send_signal(number)

    def kill(self, node: int) -> None:
        """kill -9, and waits for the end."""
        self.processes[node].kill()
        self.processes[node].wait()

    def log_of(self, node: int) -> str:
        """What a member wrote."""
        return (self._directory / f"node-{node}" / "log.jsonl").read_text()

    async def close(self) -> None:
        """Ends everything by force."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        for relay in self.relays.values():
            await relay.close()


@contextlib.asynccontextmanager
async def running_group(
    directory: Path, transport: str, *, is_tls: bool = True
) -> AsyncIterator[Group]:
    """Three members that have a leader."""
    group = Group(directory, transport, is_tls=is_tls)
    try:
        await group.start()
        await group.wait_for_leader()
        yield group
    finally:
        await group.close()


__all__ = ["DEADLINE_S", "NODES", "Group", "running_group", "until"]
