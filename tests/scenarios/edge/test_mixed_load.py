"""Everything at once against a real process: pipelines in random pieces, clients that leave at any byte,
uploads that are killed, an origin that lies, cuts and stalls, and a slab that is far too small.

Each body tells whose it is and is checked to the last byte. Runs for a few seconds in the suite; for longer

    NEUROCACHE_LOAD_S=120 python -m pytest -s tests/scenarios/edge/test_mixed_load.py

A failure prints the seed; what the sockets interleave is not repeatable, what is asked for is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import socket
import struct
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.serving import ServedNode, served, wait_until

LOAD_S = 4.0
CLIENT_COUNT = 32
KEY_COUNT = 300
OBJECT_COUNT = 40
GROWTH_BYTES_MAX = 24 << 20
HOST = b"Host: localhost\r\n"


def make_body(name: bytes, version: int) -> bytes:
    """Says its name, version and length, and is unlike every other body behind that."""
    dice = random.Random(b"%b %d" % (name, version))
    length = int(2 ** dice.uniform(0, 18))
    digest = hashlib.sha256(b"%b %d" % (name, version)).digest()
    tail = (digest * (length // 32 + 1))[:length]
    return b"%b %d %d\n" % (name, version, length) + tail


def check_body(name: bytes, body: bytes) -> None:
    """Fails unless the body is one whole version of this name."""
    said, version, _ = body.partition(b"\n")[0].split(b" ")
    assert said == name, f"a body of {said!r} for {name!r}"
    assert body == make_body(name, int(version)), f"{name!r} is damaged"


class Origin:
    """Answers what the path says, and sometimes wrongly, in every way that the path's dice know."""

    def __init__(self, seed: int, is_honest: bool) -> None:
        self.dice = random.Random(seed)
        self.is_honest = is_honest
        self.port = 0
        self._open_count = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open_count += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.transport.abort()
        self._open_count -= 1

    async def wait_closed(self) -> None:
        """Returns when the node has closed all its connections."""
        async with asyncio.timeout(10):
            while self._open_count:
                await asyncio.sleep(0.01)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
        upload = await self._read_upload(head.lower(), reader)
        if method == b"POST":
            body = hashlib.sha256(upload).hexdigest().encode()
            lines = b"Cache-Control: no-store\r\n"
        else:
            body = make_body(target, self.dice.randrange(3))
            age = 0 if target.startswith(b"/mine") else self.dice.choice((1, 60, 600))
            lines = (
                b"Cache-Control: max-age=%d\r\n" % age if age else b"Cache-Control: no-store\r\n"
            )
        fault = 1.0 if self.is_honest else self.dice.random()
        if fault < 0.01:
            return False
        if fault < 0.015:
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            return False
        start = b"HTTP/1.1 200 OK\r\n" + lines
        if method == b"HEAD":
            writer.write(start + b"Content-Length: %d\r\n\r\n" % len(body))
            return True
        if self.dice.random() < 0.5:
            writer.write(start + b"Content-Length: %d\r\n\r\n" % len(body))
            pieces = [body]
        else:
            writer.write(start + b"Transfer-Encoding: chunked\r\n\r\n")
            parts = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
            pieces = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts] + [b"0\r\n\r\n"]
        if fault < 0.03:  # in the middle of the body
            writer.write(pieces[0][: len(pieces[0]) // 2])
            await writer.drain()
            if fault < 0.02:
                await asyncio.sleep(0.6)
            return False
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return True

    async def _read_upload(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        if b"content-length: " in head:
            return await reader.readexactly(
                int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            )
        body = b""
        if b"transfer-encoding: " in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        return body


class Ask:
    """One request and the check of its answer."""

    def __init__(self, dice: random.Random) -> None:
        self.method = b"GET"
        self.extra = b""
        self.body = b""
        kind = dice.random()
        if kind < 0.55:
            # Some keys are asked for by everybody, most by hardly anyone.
            self.name = b"/k%d" % int(KEY_COUNT * dice.random() ** 3)
            self.method = b"HEAD" if dice.random() < 0.1 else b"GET"
        elif kind < 0.62:
            self.name = b"/mine%d" % dice.randrange(20)
        elif kind < 0.72:
            self.name, self.method = b"/up%d" % dice.randrange(20), b"POST"
            self.body = dice.randbytes(int(2 ** dice.uniform(0, 17)))
        else:
            self.name = b"/cache/o%d" % dice.randrange(OBJECT_COUNT)
            self.method = dice.choice((b"GET", b"GET", b"GET", b"PUT", b"PUT", b"DELETE"))
            if self.method == b"PUT":
                self.body = make_body(self.name, dice.randrange(3))
        if self.method == b"GET" and dice.random() < 0.1:
            self.extra = b'If-None-Match: "never"\r\n'
        self.is_chunked = dice.random() < 0.4

    def to_bytes(self) -> bytes:
        head = self.method + b" " + self.name + b" HTTP/1.1\r\n" + HOST + self.extra
        if not self.body:
            return head + b"\r\n"
        if self.is_chunked:
            middle = len(self.body) // 2
            parts = [part for part in (self.body[:middle], self.body[middle:]) if part]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        return head + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body

    def check(self, status: int, body: bytes) -> None:
        what = (self.method, self.name, status, body[:200])
        if self.method == b"PUT":
            assert status in (201, 204, 507), what
        elif self.method == b"DELETE":
            assert status in (204, 404), what
        elif status == 200 and self.method == b"POST":
            assert body == hashlib.sha256(self.body).hexdigest().encode(), what
        elif status == 200 and self.method == b"GET":
            check_body(self.name, body)
        else:
            allowed = (200, 404) if self.name.startswith(b"/cache/") else (200, 502, 503, 504)
            assert status in allowed, what


async def read_answer(reader: asyncio.StreamReader, is_head: bool) -> tuple[int, bytes]:
    """Status and body; IncompleteReadError where the connection ends before the answer does."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    if status < 200:
        return await read_answer(reader, is_head)
    if is_head or status in (204, 304):
        return status, b""
    if b"content-length: " in head:
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        return status, await reader.readexactly(length)
    assert b"transfer-encoding: chunked" in head, head
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return status, body


class Load:
    """Clients until a deadline, and what they met."""

    def __init__(self, port: int, seed: int, until_s: float) -> None:
        self.port = port
        self.seed = seed
        self.until_s = until_s
        self.counts: Counter[str] = Counter()
        self.cuts: list[str] = []

    async def run_client(self, number: int) -> None:
        dice = random.Random(self.seed * 1000 + number)
        while time.monotonic() < self.until_s:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            try:
                async with asyncio.timeout(30):
                    await self._converse(dice, reader, writer)
            finally:
                writer.transport.abort()

    async def _converse(
        self, dice: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asks = [Ask(dice) for _ in range(dice.choice((1, 2, 5, 12)))]
        data = b"".join(ask.to_bytes() for ask in asks)
        is_leaving = dice.random() < 0.25
        if is_leaving:
            data = data[: dice.randrange(len(data))]
        sending = asyncio.create_task(self._send(dice, writer, data))
        answered = 0
        try:
            for ask in asks:
                if is_leaving and dice.random() < 0.3:
                    break
                reading = read_answer(reader, ask.method == b"HEAD")
                status, body = await (asyncio.wait_for(reading, 0.05) if is_leaving else reading)
                ask.check(status, body)
                answered += 1
                self.counts[str(status)] += 1
        except TimeoutError:
            assert is_leaving, f"no answer to request {answered} of {len(asks)}"
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            # The origin broke off in the middle of a body that was on its way already.
            if not is_leaving:
                self.counts["cut"] += 1
                ask = asks[answered]
                what = f"{ask.method!r} {ask.name!r}, {answered} of {len(asks)}: {error!r}"
                self.cuts.append(what[:300])
        finally:
            sending.cancel()
            if is_leaving:
                self.counts["left"] += 1
                known = writer.get_extra_info("socket")
                option = struct.pack("ii", dice.randrange(2), 0)  # a reset or a plain end
                with contextlib.suppress(OSError):  # closed by the node already
                    known.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)

    async def _send(self, dice: random.Random, writer: asyncio.StreamWriter, data: bytes) -> None:
        pieces = dice.choice((1, 1, 3, 10))
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(pieces - 1))
        with contextlib.suppress(ConnectionError):
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                writer.write(data[start:end])
                await writer.drain()
                await asyncio.sleep(0)


def anonymous_bytes(node: ServedNode) -> int:
    """The node's own memory in RAM; the slab is a shared mapping and not among it."""
    text = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


@pytest.mark.parametrize(
    ("memory", "threads", "is_honest"), [("8MiB", "2", False), ("16MiB", "1", True)]
)
async def test_mixed_load_serves_every_body_right_in_bounded_memory(
    tmp_path: Path, memory: str, threads: str, is_honest: bool
) -> None:
    """Beyond the list: all of it together."""
    seed = int(os.environ.get("NEUROCACHE_TEST_SEED", random.randrange(1 << 32)))
    load_s = float(os.environ.get("NEUROCACHE_LOAD_S", LOAD_S))
    print(
        f"repeat: NEUROCACHE_TEST_SEED={seed} NEUROCACHE_LOAD_S={load_s} python -m pytest {__file__}"
    )
    origin = Origin(seed, is_honest)
    server = await origin.start()
    words = ["--origin", f"http://127.0.0.1:{origin.port}", "--memory", memory]
    words += ["--threads", threads, "--origin-between-bytes-timeout", "400ms"]
    with served(tmp_path, *words, "--origin-first-byte-timeout", "2s") as node:
        load = Load(node.edge.port, seed, time.monotonic() + load_s)
        clients = [asyncio.create_task(load.run_client(number)) for number in range(CLIENT_COUNT)]
        await asyncio.sleep(load_s / 3)  # the part of the load after which memory has its level
        level = anonymous_bytes(node)
        _, running = await asyncio.wait(clients, return_when=asyncio.FIRST_EXCEPTION)
        for task in running:
            task.cancel()
        await asyncio.gather(*clients)
        growth = anonymous_bytes(node) - level
        print(f"{dict(load.counts)}, memory {level >> 20} MiB then {growth / (1 << 20):+.1f} MiB")
        await asyncio.to_thread(check_rest, node)
        assert growth < GROWTH_BYTES_MAX
    await origin.wait_closed()
    server.close()
    assert load.counts["200"] > 100 * load_s / 4
    assert load.counts["left"] > 5
    if is_honest:
        assert load.cuts == []
        assert load.counts["502"] == 0
    else:
        assert load.counts["cut"] < load.counts["200"] / 10


def check_rest(node: ServedNode) -> None:
    """Nothing is left over of a load: neither connections nor requests, nor a logged error."""

    def find_rest() -> dict[str, int]:
        _, document = node.get_json("/api/v1/status")
        edge = document["edge"]
        return {
            name: edge[name] for name in ("connections_open", "requests_in_flight") if edge[name]
        }

    try:
        wait_until(lambda: not find_rest(), "connections and requests are over")
    except AssertionError:
        raise AssertionError(f"left over: {find_rest()}") from None
    assert node.process.poll() is None, "the node has died"
    assert [line for line in node.log() if line.get("level") in ("error", "critical")] == []
    _, document = node.get_json("/api/v1/status")
    assert document["cache"]["evictions"] > 0
