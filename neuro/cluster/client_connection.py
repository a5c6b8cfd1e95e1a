"""One connection of the asyncio client: requests out, answers to whoever asked.

Owns the request ids and the pairing of answers. Never tries again: `client` does.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from neuro.cluster.client_errors import ClientError, make_client_error
from neuro.cluster.retrying import ConnectionLost, make_unreachable
from neuro.errors import FrameError
from neuro.wire import MSGPACK, FrameDecoder, FrameEncoder

if TYPE_CHECKING:
    import ssl

    from neuro.units import Address

Message = dict[str, Any]
_READ_BYTES: Final = 256 << 10
EVENT_COUNT_MAX: Final = 64
"""Events of a stream that wait for its reader; then the connection waits too, so that a stream
better has one of its own."""


class ClientConnection:
    """Open until it is closed or lost; many requests at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._encoder = FrameEncoder()
        self._decoder = FrameDecoder()
        self._last_number = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._streams: dict[int, asyncio.Queue[Message | ClientError]] = {}
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def open(cls, endpoint: Address, tls: ssl.SSLContext | None) -> ClientConnection:
        """Connects.

        Raises:
            ClusterUnreachable: nobody listens there.
        """
        try:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls)
        except OSError as error:
            raise make_unreachable(endpoint, error) from error
        return cls(reader, writer)

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return not self._task.done()

    async def close(self) -> None:
        """Ends the connection, and with it what still waits."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def request(self, message: Message) -> Message:
        """The answer to a request.

        Raises:
            ConnectionLost: no answer came.
            ClientError: the server's refusal.
        """
        number = self._take_number()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send({"id": number, **message})
            return await answer
        finally:
            self._waiting.pop(number, None)

    def open_stream(self, message: Message) -> int:
        """Asks for a stream; its number for `next_event`."""
        number = self._take_number()
        self._streams[number] = asyncio.Queue(EVENT_COUNT_MAX)
        self._send({"id": number, **message})
        return number

    async def next_event(self, number: int) -> Message:
        """The next event of a stream.

        Raises:
            ConnectionLost: the connection ended.
            ClientError: the stream did.
        """
        event = await self._streams[number].get()
        if isinstance(event, ClientError):
            raise event
        return event

    def _take_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _send(self, message: Message) -> None:
        data = self._encoder.encode(message, MSGPACK)
        if not self.is_open:
            raise ConnectionLost("the connection is closed", is_certain=True)
        self._writer.write(data)

    async def _receive(self) -> None:
        reason = "the server closed the connection"
        try:
            while data := await self._reader.read(_READ_BYTES):
                self._decoder.feed(data)
                for message, _ in self._decoder:
                    await self._deliver(message)
        except (OSError, FrameError) as error:
            reason = f"the connection broke: {error}"
        finally:
            self._abandon(reason)

    async def _deliver(self, message: Message) -> None:
        number = message.get("id")
        is_refusal = message.get("ok") is False
        error = make_client_error(message.get("error") or {}) if is_refusal else None
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is not None and not answer.done():
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(message)
        elif (events := self._streams.get(number)) is not None:  # type: ignore[arg-type]
            await events.put(message if error is None else error)

    def _abandon(self, reason: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionLost(reason))
        for events in self._streams.values():
            if events.full():
                events.get_nowait()
            events.put_nowait(ConnectionLost(reason))
