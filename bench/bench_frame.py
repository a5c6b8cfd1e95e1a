"""The frame codec beside msgpack-python: alone, and as an echo server on a real socket pair.

Owns figures for encode, decode and round trips; never asserts a speed, because machines differ:
read the ratios within one run. Run `pytest bench/bench_frame.py`; the test suite runs it with
`--benchmark-disable`, once each, so that it never rots.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, cast

import msgpack
import pytest
import uvloop

from neuro.wire import FrameDecoder, FrameEncoder
from neuro.wire.pure_frame import PureFrameDecoder, PureFrameEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MESSAGES: dict[str, dict[str, Any]] = {
    "heartbeat": {"type": "append", "term": 5, "leader": 1, "index": 1000, "commit": 999},
    "append-64": {
        "type": "append",
        "term": 5,
        "entries": [{"index": 1000 + i, "term": 5, "data": b"x" * 128} for i in range(64)],
    },
    "value-64k": {"type": "put", "key": "asset", "value": b"x" * 65536},
}
PIPELINED = 32  # messages in flight in a round of the echo
EXCHANGE_TIMEOUT_S = 30.0  # a broken server fails the bench instead of hanging it
by_message = pytest.mark.parametrize("name", MESSAGES)


class MsgpackEncoder:
    """A length prefix by hand around msgpack-python, as most programs do it."""

    def __init__(self) -> None:
        self._pack = msgpack.Packer().pack

    def encode(self, message: dict[str, Any]) -> bytes:
        payload: bytes = self._pack(message)
        return len(payload).to_bytes(4, "big") + payload


class MsgpackDecoder:
    """Frames cut out of a bytearray, each read by msgpack-python."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        self._pending += data

    def __iter__(self) -> Iterator[tuple[Any, str]]:
        while len(self._pending) >= 4:
            end = 4 + int.from_bytes(self._pending[:4], "big")
            if len(self._pending) < end:
                return
            payload = bytes(memoryview(self._pending)[4:end])
            del self._pending[:end]
            yield msgpack.unpackb(payload), "msgpack"


CODECS: dict[str, tuple[Any, Any]] = {
    "neuro": (FrameEncoder, FrameDecoder),
    "msgpack-python": (MsgpackEncoder, MsgpackDecoder),
    "pure-twin": (PureFrameEncoder, PureFrameDecoder),
}
by_codec = pytest.mark.parametrize("codec", CODECS)


@by_codec
@by_message
@pytest.mark.benchmark(group="encode")
def test_encode(benchmark: Any, codec: str, name: str) -> None:
    encoder = CODECS[codec][0]()
    frame = benchmark(encoder.encode, MESSAGES[name])
    assert frame == FrameEncoder().encode(MESSAGES[name])


@by_codec
@by_message
@pytest.mark.benchmark(group="decode")
def test_decode_of_a_chunk_with_eight_frames(benchmark: Any, codec: str, name: str) -> None:
    decoder = CODECS[codec][1]()
    chunk = FrameEncoder().encode(MESSAGES[name]) * 8

    def decode() -> list[Any]:
        decoder.feed(chunk)
        return list(decoder)

    assert benchmark(decode) == [(MESSAGES[name], "msgpack")] * 8


class EchoProtocol(asyncio.Protocol):
    """A server on our codec: whole frames are read where the event loop put them."""

    def __init__(self) -> None:
        self._encoder, self._decoder = FrameEncoder(), FrameDecoder()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._decoder.feed(data)
        self._transport.writelines(
            [self._encoder.encode(message, encoding) for message, encoding in self._decoder]
        )


async def echo_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server on msgpack-python over asyncio streams."""
    encoder = MsgpackEncoder()
    while True:
        try:
            header = await reader.readexactly(4)
        except asyncio.IncompleteReadError:
            return
        payload = await reader.readexactly(int.from_bytes(header, "big"))
        writer.write(encoder.encode(msgpack.unpackb(payload)))
        await writer.drain()


async def open_echo(
    kind: str,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Callable[[], None]]:
    """An echo server at one end of a socket pair; gives the other end and how to close both."""
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=near, limit=1 << 22)
    task: asyncio.Task[None] | None = None
    served: asyncio.BaseTransport
    if kind == "neuro":
        served, _ = await loop.connect_accepted_socket(EchoProtocol, far)
    else:
        far_reader, far_writer = await asyncio.open_connection(sock=far, limit=1 << 22)
        served = far_writer.transport
        task = asyncio.ensure_future(echo_streams(far_reader, far_writer))

    def close() -> None:
        writer.transport.abort()
        served.close()
        if task is not None:
            task.cancel()

    return reader, writer, close


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["neuro", "msgpack-python"])
@by_message
@pytest.mark.benchmark(group="echo")
def test_echo_of_pipelined_messages(benchmark: Any, kind: str, name: str, loop_name: str) -> None:
    """The client is the same on both sides: it writes ready frames and counts answered bytes."""
    loop: asyncio.AbstractEventLoop
    loop = uvloop.new_event_loop() if loop_name == "uvloop" else asyncio.new_event_loop()
    frame = FrameEncoder().encode(MESSAGES[name])
    reader, writer, close = loop.run_until_complete(open_echo(kind))

    async def exchange() -> bytes:
        async with asyncio.timeout(EXCHANGE_TIMEOUT_S):
            writer.write(frame * PIPELINED)
            return await reader.readexactly(len(frame) * PIPELINED)

    try:
        answer = benchmark(lambda: loop.run_until_complete(exchange()))
        assert answer == frame * PIPELINED
    finally:
        close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
