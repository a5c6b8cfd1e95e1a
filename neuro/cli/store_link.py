"""`neurocache ctl`'s connection to the key-value store: a plain socket and JSON frames.

Owns sending and receiving. Whether and where to try again is decided by `neuro.cluster.retrying`,
as for every client. It exists beside `neuro.cluster.client` because asyncio and the native codec
take longer to load than a command takes.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from neuro.cluster.client_errors import (
    ClientError,
    ClusterUnreachable,
    OutcomeUnknown,
    RequestTimeout,
    make_client_error,
)
from neuro.cluster.retrying import Attempts, ConnectionLost, make_unreachable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

    from neuro.units import Address

Message = dict[str, Any]
FRAME_BYTES_MAX: Final = 16 << 20
_HEADER_BYTES: Final = 4


class StoreLink:
    """Asks one member after the other until one answers or time is up."""

    def __init__(
        self, endpoints: Sequence[Address], *, timeout_ms: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self._endpoints = endpoints
        self._timeout_ms = timeout_ms
        self._tls = tls

    def at(self, endpoint: Address) -> StoreLink:
        """The same, to one member only."""
        return StoreLink([endpoint], timeout_ms=self._timeout_ms, tls=self._tls)

    def read(self, op: str, **arguments: Any) -> Message:
        """The answer to a question, which may be asked again as often as it takes.

        Raises:
            ClientError: see `neuro.cluster.client_errors`.
        """
        return self._run({"op": op, **arguments}, is_repeatable=True)

    def write(self, op: str, **arguments: Any) -> Message:
        """The answer to a command, sent again only where it certainly had no effect.

        Raises:
            OutcomeUnknown: it may have had its effect.
            ClientError: see `neuro.cluster.client_errors`.
        """
        return self._run({"op": op, **arguments}, is_repeatable=False)

    def stream(self, op: str, **arguments: Any) -> Iterator[Message]:
        """The events of a watch or a snapshot, from one member, for as long as it takes.

        Raises:
            ClientError: see `neuro.cluster.client_errors`.
        """
        with self._connect_any() as connection:
            send(connection, {"id": 1, "op": op, **arguments})
            yield receive(connection)
            connection.settimeout(None)
            while True:
                yield receive(connection)

    def _connect_any(self) -> socket.socket:
        attempts = Attempts(self._endpoints, 0, is_repeatable=True)
        while True:
            try:
                return self._connect(attempts.endpoint, self._timeout_ms / 1_000)
            except ClientError as error:
                if not attempts.may_retry(error) or attempts.count >= len(self._endpoints):
                    raise

    def _run(self, message: Message, *, is_repeatable: bool) -> Message:
        attempts = Attempts(self._endpoints, 0, is_repeatable=is_repeatable)
        deadline_s = time.monotonic() + self._timeout_ms / 1_000
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                if left_s <= 0:
                    raise RequestTimeout(f"no answer within {self._timeout_ms} ms")
                answer = self._ask(attempts, message, left_s)
                return {name: item for name, item in answer.items() if name not in ("id", "ok")}
            except RequestTimeout as error:
                if attempts.may_have_effect and not is_repeatable:
                    raise OutcomeUnknown(error.message) from error
                raise
            except ClientError as error:
                if not attempts.may_retry(error):
                    if isinstance(error, ConnectionLost):
                        raise OutcomeUnknown(error.message) from error
                    raise
                is_nobody_there = isinstance(error, ClusterUnreachable)
                if is_nobody_there and attempts.count >= 2 * len(self._endpoints):
                    raise
            time.sleep(min(attempts.pause_ms / 1_000, max(0.0, deadline_s - time.monotonic())))

    def _ask(self, attempts: Attempts, message: Message, left_s: float) -> Message:
        connection = self._connect(attempts.endpoint, left_s)
        with connection:
            try:
                send(connection, {"id": 1, "timeout_ms": int(left_s * 1_000) + 1, **message})
                return receive(connection)
            except TimeoutError as error:
                attempts.may_have_effect = True
                raise RequestTimeout(f"no answer within {self._timeout_ms} ms") from error

    def _connect(self, endpoint: Address, left_s: float) -> socket.socket:
        try:
            connection = socket.create_connection(endpoint, timeout=left_s)
            if self._tls is None:
                return connection
            return self._tls.wrap_socket(connection, server_hostname=endpoint.host)
        except TimeoutError as error:
            raise RequestTimeout(f"no connection to `{endpoint}` in time") from error
        except OSError as error:
            raise make_unreachable(endpoint, error) from error


def send(connection: socket.socket, message: Message) -> None:
    """Writes one frame.

    Raises:
        ConnectionLost: the other side is gone.
    """
    payload = json.dumps(message).encode()
    try:
        connection.sendall(len(payload).to_bytes(_HEADER_BYTES, "big") + payload)
    except TimeoutError:
        raise
    except OSError as error:
        raise ConnectionLost(f"the connection broke: {error.strerror or error}") from error


def receive(connection: socket.socket) -> Message:
    """Reads one frame.

    Raises:
        ConnectionLost: the other side is gone, or is no node.
        ClientError: the answer is a refusal.
    """
    try:
        length = int.from_bytes(_read_exactly(connection, _HEADER_BYTES), "big")
        if length > FRAME_BYTES_MAX:
            raise ConnectionLost("what listens there is not a node's client port")
        message = json.loads(_read_exactly(connection, length))
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        raise ConnectionLost(f"the connection broke: {error}") from error
    if not isinstance(message, dict):
        raise ConnectionLost("what listens there is not a node's client port")
    if message.get("ok") is False:
        raise make_client_error(message.get("error") or {})
    return message


def _read_exactly(connection: socket.socket, size_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < size_bytes:
        block = connection.recv(min(size_bytes - len(data), 1 << 20))
        if not block:
            raise ConnectionLost("the server closed the connection")
        data += block
    return bytes(data)


def put_bytes(name: str, data: bytes) -> Message:
    """Bytes as a field of a JSON request."""
    return {f"{name}_b64": base64.b64encode(data).decode("ascii")}


def get_bytes(message: Message, name: str) -> bytes:
    """Bytes in a field of a JSON answer; nothing where it has none."""
    text = message.get(name)
    if isinstance(text, str):
        return text.encode()
    return base64.b64decode(message.get(f"{name}_b64", ""))
