"""The asyncio client of the key-value store.

Owns the choice of endpoints, repetition, and the session that makes repetition of writes safe. A
call ends within its timeout with a result, a refusal, or `OutcomeUnknown`; it never says "failed"
of something that may have happened.

    async with Client(["127.0.0.1:3001", "127.0.0.1:3002"]) as client:
        await client.put("k", b"v")
        async for change in client.watch("k", prefix=True): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from neuro.cluster.client_connection import ClientConnection, Message
from neuro.cluster.client_errors import (
    ClientError,
    ClusterUnreachable,
    OutcomeUnknown,
    RequestTimeout,
    SessionExpired,
)
from neuro.cluster.retrying import PAUSE_MS_MAX, TIMEOUT_MS, Attempts, ConnectionLost
from neuro.units import Address, parse_address

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

WRITES_IN_FLIGHT_MAX: Final = 100
"""Below the results that the store keeps for a session."""
READS: Final = frozenset(
    {"get", "scan", "lease_list", "lease_show", "status", "health", "members", "alarms"}
)


class Client:
    """Talks to one member at a time; goes to another when that one can not serve."""

    def __init__(
        self,
        endpoints: Sequence[str | Address],
        *,
        timeout_ms: int = TIMEOUT_MS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connects at the first request.

        Args:
            endpoints: Client addresses of members, one or more.
            timeout_ms: For each call with all its repetitions.
            tls: For members that ask for certificates.
        """
        self._endpoints = [
            item if isinstance(item, Address) else parse_address(item) for item in endpoints
        ]
        self._timeout_ms = timeout_ms
        self._tls = tls
        self._preferred = 0
        self._connections: dict[Address, ClientConnection] = {}
        self._connecting = asyncio.Lock()
        self._session = 0
        self._opening = asyncio.Lock()
        self._sequence = 0
        self._in_flight: set[int] = set()
        self._room = asyncio.Semaphore(WRITES_IN_FLIGHT_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections; the session ends by itself."""
        while self._connections:
            _, connection = self._connections.popitem()
            await connection.close()

    async def call(self, op: str, **arguments: Any) -> Message:
        """Any operation of the protocol without session: repeated only where that is harmless.

        Raises:
            ClientError: see `client_errors`.
        """
        return await self._run({"op": op, **arguments}, is_repeatable=op in READS)

    async def write(self, op: str, **arguments: Any) -> Message:
        """An operation of the protocol, executed exactly once however often it is sent.

        Raises:
            OutcomeUnknown: time ran out, or the session was forgotten, after it was sent.
            ClientError: see `client_errors`.
        """
        async with self._room:
            session = self._session or await self._open_session(0)
            try:
                return await self._write_once(session, op, arguments)
            except SessionExpired:
                # Raised only where nothing can have been executed under this session.
                session = await self._open_session(session)
                return await self._write_once(session, op, arguments)

    async def _write_once(self, session: int, op: str, arguments: dict[str, Any]) -> Message:
        self._sequence += 1
        sequence = self._sequence
        self._in_flight.add(sequence)
        try:
            message = {"op": op, **arguments, "session": session, "sequence": sequence}
            message["acknowledged"] = min(self._in_flight)
            return await self._run(message, is_repeatable=True)
        finally:
            self._in_flight.discard(sequence)

    async def _open_session(self, expired: int) -> int:
        async with self._opening:
            if self._session == expired:
                try:
                    answer = await self._run({"op": "session_open"}, is_repeatable=True)
                except OutcomeUnknown as error:
                    # Whether there is a session more does not matter: no write was sent.
                    raise RequestTimeout(error.message, remote_code="request_timeout") from error
                self._session = int(answer["session"])
            return self._session

    async def _run(self, message: Message, *, is_repeatable: bool) -> Message:
        attempts = Attempts(self._endpoints, self._preferred, is_repeatable=is_repeatable)
        is_read = message["op"] in READS
        last: ClientError | None = None
        was_sent = False
        try:
            async with asyncio.timeout(self._timeout_ms / 1_000):
                while True:
                    try:
                        connection = await self._connect(attempts.endpoint)
                        was_sent = True
                        answer = await connection.request(message)
                    except ClientError as error:
                        last = error
                        was_sent = False
                        self._judge(attempts, error, is_read=is_read)
                    else:
                        self._prefer(attempts.endpoint)
                        return answer
                    await asyncio.sleep(attempts.pause_ms / 1_000)
        except TimeoutError:
            text = f"no answer within {self._timeout_ms} ms"
            if last is not None:
                text = f"{text}; last: {last.message}"
            if not is_read and (was_sent or attempts.may_have_effect):
                raise OutcomeUnknown(text, remote_code="outcome_unknown") from last
            if isinstance(last, ClusterUnreachable):
                raise last from None
            raise RequestTimeout(text, remote_code="request_timeout") from last

    def _judge(self, attempts: Attempts, error: ClientError, *, is_read: bool) -> None:
        """Returns where another try is right, else raises what the caller has to know."""
        is_expired = isinstance(error, SessionExpired)
        if attempts.may_retry(error):
            return
        if is_read or not attempts.may_have_effect:
            raise error
        if is_expired or isinstance(error, ConnectionLost):
            raise OutcomeUnknown(error.message, remote_code="outcome_unknown") from error
        raise error

    async def _connect(self, endpoint: Address) -> ClientConnection:
        connection = self._connections.get(endpoint)
        if connection is not None and connection.is_open:
            return connection
        async with self._connecting:
            connection = self._connections.get(endpoint)
            if connection is None or not connection.is_open:
                if connection is not None:
                    await connection.close()
                connection = await ClientConnection.open(endpoint, self._tls)
                self._connections[endpoint] = connection
            return connection

    def _prefer(self, endpoint: Address) -> None:
        if endpoint in self._endpoints:
            self._preferred = self._endpoints.index(endpoint)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> Message:
        """Sets a key; its new revisions."""
        return await self.write("put", key=key, value=value, lease=lease)

    async def get(self, key: str, *, local: bool = False) -> Message:
        """A key's value and revisions; `local` may be old.

        Raises:
            KeyNotFound: there is none.
        """
        return await self.call("get", key=key, local=local)

    async def delete(self, key: str, *, prefix: bool = False) -> int:
        """Deletes a key, or all keys with a prefix; how many.

        Raises:
            KeyNotFound: there is no such key.
        """
        deleted = 0
        while True:
            answer = await self.write("delete", key=key, prefix=prefix)
            deleted += int(answer["deleted"])
            if not answer["more"]:
                return deleted

    async def cas(self, key: str, value: bytes, *, lease: int = 0, **expected: Any) -> Message:
        """Sets a key that is as expected: `expected_revision=` (0: absent), `expected=` bytes.

        Raises:
            CompareFailed: it is not.
        """
        return await self.write("cas", key=key, value=value, lease=lease, **expected)

    async def txn(
        self,
        compares: Sequence[Message],
        then: Sequence[Message],
        otherwise: Sequence[Message] = (),
    ) -> Message:
        """Does `then` when all comparisons hold, else `otherwise`, as one revision."""
        branches = {"then": list(then), "else": list(otherwise)}
        return await self.write("txn", compares=list(compares), **branches)

    async def scan(self, prefix: str = "", *, page_size: int = 500) -> AsyncIterator[Message]:
        """Keys with a prefix, in order, all as of one revision."""
        after, revision = "", 0
        while True:
            page = await self.call(
                "scan", prefix=prefix, after=after, limit=page_size, revision=revision
            )
            for item in page["items"]:
                yield item
            if not page["more"]:
                return
            revision, after = page["revision"], page["items"][-1]["key"]

    async def watch(
        self, key: str, *, prefix: bool = False, from_revision: int = 0, previous: bool = False
    ) -> AsyncIterator[Message]:
        """Changes in order, each once, over lost connections and members.

        Args:
            key: A key, or what keys begin with.
            prefix: Whether `key` is a prefix.
            from_revision: The first revision to report; 0 for whatever comes next.
            previous: Whether to tell what was there before.

        Raises:
            Compacted: the changes wanted are forgotten; read anew and go on from there.
        """
        message = {"op": "watch", "key": key, "prefix": prefix, "previous": previous}
        attempts = Attempts(self._endpoints, self._preferred, is_repeatable=True)
        following = from_revision
        while True:
            try:
                # A connection of its own: a slow reader must hold up nobody else.
                connection = await ClientConnection.open(attempts.endpoint, self._tls)
                try:
                    number = connection.open_stream({**message, "from_revision": following})
                    while True:
                        event = await connection.next_event(number)
                        for change in event.get("changes", ()):
                            yield change
                        following = event.get("next_revision") or event["revision"] + 1
                        attempts = Attempts(
                            self._endpoints, self._find(attempts), is_repeatable=True
                        )
                finally:
                    await connection.close()
            except ClientError as error:
                if not attempts.may_retry(error):
                    raise
            await asyncio.sleep(max(attempts.pause_ms, PAUSE_MS_MAX // 10) / 1_000)

    def _find(self, attempts: Attempts) -> int:
        endpoint = attempts.endpoint
        return self._endpoints.index(endpoint) if endpoint in self._endpoints else 0
