"""Members' messages side by side on TCP, TLS and QUIC: round trips, appends, a snapshot.

Owns figures for the transports alone, both ends on one event loop and one core: what a message
costs in CPU time, not what a network adds. `encode` and `decode` are the share of the codec. Never
asserts a speed. Run `pytest bench/bench_transport.py --benchmark-enable`; the test suite runs it
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
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
    TransportSettings,
    make_transport,
)
from neuro.cluster.transport.codec import decode_message, encode_message
from neuro.raft import Entry, EntryKind, Message
from neuro.raft import messages as kinds
from neuro.units import Address
from tests.transport_contract import MemorySource, RecordingDriver

ENTRY_BYTES = 256 + 8 + 16  # the value, the key and the command around them
ENTRY_COUNT = 64
ROUND_TRIPS = 50
APPENDS = 64
SNAPSHOT_BYTES = 2 << 20


def make_append(number: int) -> Message:
    """A full batch of small commands."""
    first = number * ENTRY_COUNT + 1
    entries = tuple(
        Entry(first + offset, 2, EntryKind.COMMAND, bytes(ENTRY_BYTES))
        for offset in range(ENTRY_COUNT)
    )
    return kinds.Append(1, 2, 2, first - 1, 2, entries, first - 1, number)


class Echo(RecordingDriver):
    """Answers every heartbeat, and tells when so many messages have come."""

    transport: MemberTransport
    wanted = 0
    came: asyncio.Event

    def receive(self, messages: Any) -> None:
        self.messages += messages
        answers: list[Message] = [
            kinds.HeartbeatReply(2, 1, 2, message.round)
            for message in self.messages
            if isinstance(message, kinds.Heartbeat)
        ]
        if answers:
            self.messages.clear()
            self.transport.send(answers)
        if self.wanted and len(self.messages) >= self.wanted:
            self.messages.clear()
            self.came.set()

    def report_snapshot(self, peer: int, is_delivered: bool) -> None:
        assert is_delivered
        assert peer == 2
        self.came.set()


class Pair:
    """Two members on one loop."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.loop = uvloop.new_event_loop()
        self.drivers = (Echo(), Echo())
        files: dict[int, TlsFiles | None] = {1: None, 2: None}
        if kind != "plain":
            ca.init_authority(directory)
            files = {node: ca.issue_node(directory, node) for node in (1, 2)}
        carrier = CarrierKind.QUIC if kind == "quic" else CarrierKind.TCP
        self.members = tuple(
            make_transport(
                TransportSettings(
                    Member("bench", node, 1), Address("127.0.0.1", 0), tls=tls, carrier=carrier
                )
            )
            for node, tls in files.items()
        )

    def run(self, work: Callable[[], Any]) -> Any:
        """Runs a coroutine on the pair's loop."""
        return self.loop.run_until_complete(work())

    async def start(self) -> None:
        for member, driver in zip(self.members, self.drivers, strict=True):
            driver.transport, driver.came = member, asyncio.Event()
            await member.start(driver)
        addresses = {node: str(m.address) for node, m in enumerate(self.members, 1)}
        for member in self.members:
            member.set_peers(addresses)
        await self.round_trips(1)

    async def round_trips(self, count: int) -> None:
        """One heartbeat after another, each answered."""
        driver = self.drivers[0]
        driver.wanted = 1
        for number in range(count):
            driver.came.clear()
            self.members[0].send([kinds.Heartbeat(1, 2, 2, 1, number)])
            await driver.came.wait()

    async def appends(self, messages: list[Message]) -> None:
        """As fast as they go, one way."""
        driver = self.drivers[1]
        driver.wanted = len(messages)
        driver.came.clear()
        for message in messages:
            self.members[0].send([message])
        await driver.came.wait()

    async def snapshot(self) -> None:
        """A transfer from start to end."""
        driver = self.drivers[0]
        driver.came.clear()
        self.members[0].send_snapshot(MemorySource(1, 2, bytes(SNAPSHOT_BYTES)))
        await driver.came.wait()
        self.drivers[1].held.clear()
        self.drivers[1].finished.clear()

    async def close(self) -> None:
        for member in self.members:
            await member.close()


@pytest.fixture(params=["plain", "tcp", "quic"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Two members that are connected."""
    pair = Pair(request.param, tmp_path)
    pair.run(pair.start)
    yield pair
    pair.run(pair.close)
    pair.loop.close()


def test_round_trips(benchmark: Any, pair: Pair) -> None:
    """Figures are for ROUND_TRIPS of them."""
    benchmark(lambda: pair.run(lambda: pair.round_trips(ROUND_TRIPS)))


def test_appends(benchmark: Any, pair: Pair) -> None:
    """Figures are for APPENDS batches of ENTRY_COUNT entries, about 1.2 MB."""
    messages = [make_append(number) for number in range(APPENDS)]
    benchmark(lambda: pair.run(lambda: pair.appends(messages)))


def test_snapshot(benchmark: Any, pair: Pair) -> None:
    """Figures are for SNAPSHOT_BYTES."""
    benchmark(lambda: pair.run(pair.snapshot))


def test_encode_append(benchmark: Any) -> None:
    benchmark(encode_message, make_append(1))


def test_decode_append(benchmark: Any) -> None:
    benchmark(decode_message, encode_message(make_append(1)))
