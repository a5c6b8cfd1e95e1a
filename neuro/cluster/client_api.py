"""The server of the key-value store's client API: frames in, frames out.

Owns connections, their bounds, and the streams of watches and snapshots. Never knows what a request
means (`api_requests` does) nor who leads (the replica does). Requests of a connection run at the
same time; answers carry the request's id and come as they are ready.

    -> {"id": 1, "op": "put", "key": "k", "value": "v"}
    <- {"id": 1, "ok": true, "revision": 7, ...}
    <- {"id": 1, "ok": false, "error": {"code": "not_leader", "certain": true, "leader": {...}}}
    <- {"id": 2, "event": "changes", "revision": 9, "changes": [...]}
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from neuro.cluster.api_requests import Message, Requests, take_number
from neuro.cluster.api_stream import Streams
from neuro.cluster.api_values import make_json_ready
from neuro.cluster.client_errors import ClientError, InvalidRequest
from neuro.cluster.replica import OutcomeUnknown, ReplicaError, split_member_address
from neuro.errors import FrameError, NeuroCacheError
from neuro.raft import NotLeader
from neuro.wire import JSON, Encoding, FrameDecoder, FrameEncoder

if TYPE_CHECKING:
    import ssl

    from neuro.cluster.machine import KeyValueMachine, Outcome
    from neuro.cluster.replica import Replica

CONNECTION_COUNT_MAX: Final = 4_096
REQUEST_COUNT_MAX: Final = 256
"""Requests of one connection at a time; more wait in its socket."""
STREAM_COUNT_MAX: Final = 128
"""Fewer than requests, so that a connection full of watches can still cancel one."""
REQUEST_BYTES_MAX: Final = 8 << 20
TIMEOUT_MS_DEFAULT: Final = 5_000
TIMEOUT_MS_MAX: Final = 600_000
_READ_BYTES: Final = 256 << 10

_logger = logging.getLogger(__name__)


class ClientApi:
    """Serves one replica to clients."""

    def __init__(self, replica: Replica[Outcome], machine: KeyValueMachine) -> None:
        self._replica = replica
        self._requests = Requests(replica, machine)
        self._streams = Streams(replica, machine)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def connection_count(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    async def start(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None
    ) -> tuple[str, int]:
        """Listens; the address in use, with the port that the kernel chose for 0.

        Raises:
            OSError: the address can not be listened on.
        """
        self._streams.start()
        self._server = await asyncio.start_server(
            self._accept, host, port, ssl=tls, limit=_READ_BYTES
        )
        name: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return name

    async def close(self) -> None:
        """Stops listening and ends every connection; what they asked for is abandoned."""
        self._streams.close()
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= CONNECTION_COUNT_MAX:
            writer.close()
            return
        self._connections.add(task)
        try:
            await _Connection(self, reader, writer).run()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the server does: there is nobody to tell
        finally:
            self._connections.discard(task)
            writer.close()

    async def answer(self, message: Message) -> Message:
        """The answer to a request that is no stream.

        Raises:
            NeuroCacheError: it was refused or failed.
        """
        operation = self._requests.by_name.get(str(message.get("op", "")))
        if operation is None:
            raise InvalidRequest(f"there is no operation `{message.get('op')}`")
        timeout_ms = take_number(message, "timeout_ms", TIMEOUT_MS_DEFAULT)
        return await operation(message, min(timeout_ms, TIMEOUT_MS_MAX))

    @property
    def streams(self) -> Streams:
        """What has many answers: watches and snapshots."""
        return self._streams

    def describe_error(self, error: NeuroCacheError) -> Message:
        """A failure as clients see it; `certain` says that there certainly was no effect."""
        described: Message = {"code": error.code, "message": error.message, "certain": True}
        if isinstance(error, ClientError):
            described.update(error.details)
            described["code"] = error.remote_code or error.code
        elif isinstance(error, NotLeader):
            hint = self._replica.leader_hint()
            # A member's address names the peers' port first; a client is sent to its own.
            client = split_member_address(hint.address)[1] or hint.address
            described["leader"] = {"node": hint.node, "address": client}
        elif isinstance(error, OutcomeUnknown):
            described["certain"] = False
        elif isinstance(error, ReplicaError) and error.code == "replica_stopped":
            # It may have stopped with the command under way.
            described["certain"] = False
        return described


class _Connection:
    """One client."""

    def __init__(
        self, api: ClientApi, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._api = api
        self._reader = reader
        self._writer = writer
        self._decoder = FrameDecoder(frame_bytes_max=REQUEST_BYTES_MAX)
        self._encoder = FrameEncoder()
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(REQUEST_COUNT_MAX)

    async def run(self) -> None:
        """Reads until the client leaves."""
        try:
            while data := await self._reader.read(_READ_BYTES):
                self._decoder.feed(data)
                for message, encoding in self._decoder:
                    await self._room.acquire()
                    task = asyncio.create_task(self._serve(message, encoding))
                    self._tasks.add(task)
                    task.add_done_callback(self._forget)
                await self._writer.drain()
        except FrameError as error:
            self._write({"id": 0, "ok": False, "error": self._api.describe_error(error)}, JSON)
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug of ours: the client must not wait for an answer that never comes.
            _logger.error("a request failed unexpectedly", exc_info=error)
            self._writer.close()

    async def _serve(self, message: dict[str, Any], encoding: Encoding) -> None:
        number = message.get("id", 0)
        if type(number) is not int:
            number = 0
        try:
            op = message.get("op")
            if op == "cancel":
                answer = self._cancel(take_number(message, "stream"))
            elif op in self._api.streams.names:
                await self._stream(number, message, encoding)
                return
            else:
                answer = await self._api.answer(message)
        except NeuroCacheError as error:
            self._write(self._make_failure(number, error), encoding)
            return
        self._write({"id": number, "ok": True, **answer}, encoding)

    def _make_failure(self, number: int, error: NeuroCacheError) -> Message:
        return {"id": number, "ok": False, "error": self._api.describe_error(error)}

    def _cancel(self, number: int) -> Message:
        task = self._streams.pop(number, None)
        if task is not None:
            task.cancel()
        return {"cancelled": task is not None}

    async def _stream(self, number: int, message: Message, encoding: Encoding) -> None:
        task = asyncio.current_task()
        if number in self._streams or task is None:
            raise InvalidRequest(f"id {number} is in use")
        if len(self._streams) >= STREAM_COUNT_MAX:
            raise InvalidRequest(f"a connection has at most {STREAM_COUNT_MAX} streams")
        self._streams[number] = task
        try:
            async for event in self._api.streams.open(message):
                self._write({"id": number, **event}, encoding)
                await self._writer.drain()
        except ConnectionError:
            pass  # the reader sees it too, and ends the connection
        finally:
            if self._streams.get(number) is task:
                del self._streams[number]

    def _write(self, message: Message, encoding: Encoding) -> None:
        if self._writer.is_closing():
            return
        ready = make_json_ready(message) if encoding == JSON else message
        try:
            self._writer.write(self._encoder.encode(ready, encoding))
        except FrameError as error:
            failure = self._make_failure(message["id"], error)
            self._writer.write(self._encoder.encode(failure, encoding))
