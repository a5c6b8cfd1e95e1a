"""One GET to a node's admin port, over a plain socket.

Owns just enough HTTP for that. It exists because `http.client` loads ssl and email, which would
take longer than the whole command; the admin port is plain HTTP/1.1 with Content-Length.
"""

from __future__ import annotations

import socket
import time

from neuro.errors import AdminError, AdminTimeout, AdminUnreachable
from neuro.units import Address, format_duration_ms

ANSWER_BYTES_MAX = 4 << 20
_READ_BYTES = 65_536


def fetch(address: Address, path: str, *, timeout_ms: int) -> tuple[int, bytes]:
    """Status and body.

    Args:
        address: The node's admin address.
        path: What to ask for, from the first slash.
        timeout_ms: For everything together.

    Raises:
        AdminUnreachable: nobody listens there.
        AdminTimeout: no complete answer in time.
        AdminError: the answer is not what an admin port gives.
    """
    url = f"http://{address}{path}"
    deadline_s = time.monotonic() + timeout_ms / 1_000
    try:
        with socket.create_connection(address, timeout=timeout_ms / 1_000) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode("ascii"))
            return _read_answer(connection, deadline_s, url)
    except TimeoutError as error:
        text = format_duration_ms(timeout_ms)
        raise AdminTimeout(
            f"no answer from `{address}` within {text}", url=url, timeout_ms=timeout_ms
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise AdminUnreachable(f"no node answers at `{address}`: {reason}", url=url) from error


def _read_answer(connection: socket.socket, deadline_s: float, url: str) -> tuple[int, bytes]:
    data = b""
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        block = connection.recv(_READ_BYTES)
        if not block:
            break
        data += block
        if len(data) > ANSWER_BYTES_MAX:
            raise AdminError("the answer is larger than a node's", url=url)
    head, found, body = data.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if not found or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3:
        raise AdminError("what listens there is not a node's admin port", url=url)
    for field in fields:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length" and int(value) != len(body):
            raise AdminError("the answer was cut short", url=url)
    return int(words[1]), body
