"""One running node in front of an origin that records every byte, shared by the attacks on it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.serving import ServedNode, served
from tests.native.engine_driver import Client, Response
from tests.recording_origin import RecordingOrigin

HOST = b"Host: site.test\r\n"
LOCAL = b"Host: localhost\r\n"
FRESH = b"Cache-Control: max-age=600"
_numbers = itertools.count()


def is_hit(response: Response) -> bool:
    """Whether the answer came from the cache."""
    return (response.get(b"Cache-Status") or b"").startswith(b"NeuroCache; hit")


class Target:
    """A node under attack, its origin, and what must be true of both whatever was sent."""

    def __init__(self, node: ServedNode, origin: RecordingOrigin) -> None:
        self.node = node
        self.origin = origin

    def client(self) -> Client:
        """A raw connection to the edge."""
        return Client(self.node.edge.port)

    def ask(self, data: bytes, *, is_head: bool = False) -> Response:
        """The answer to raw bytes on a connection of their own."""
        client = self.client()
        try:
            client.send(data)
            return client.read_response(is_head=is_head)
        finally:
            client.close()

    def get(
        self, path: bytes, *lines: bytes, method: bytes = b"GET", host: bytes = HOST
    ) -> Response:
        """A plain request on a connection of its own."""
        head = method + b" " + path + b" HTTP/1.1\r\n" + host
        return self.ask(
            head + b"".join(line + b"\r\n" for line in lines) + b"\r\n", is_head=method == b"HEAD"
        )

    def fresh_path(self, name: str) -> bytes:
        """A path that no other test uses."""
        return f"/{name}-{next(_numbers)}".encode()

    @contextlib.contextmanager
    def nothing_arrives(self) -> Iterator[None]:
        """The origin receives no byte of what is sent inside.

        The node handles what it accepts in order of arrival, so when a later request has come through,
        an earlier one has arrived or never will.
        """
        before = self.origin.byte_count
        yield
        assert self.get(b"/fence").status == 200
        fence = self.origin.requests[-1]
        size = len(b"GET /fence HTTP/1.1\r\n\r\n")
        size += sum(len(name) + 2 + len(value) + 2 for name, value in fence.lines)
        assert self.origin.byte_count - before == size, "bytes of the attack reached the origin"

    def assert_refused(self, data: bytes, *statuses: int) -> None:
        """Refused with one whole answer and a closed connection; the origin hears nothing, although a
        correct request stands behind."""
        with self.nothing_arrives():
            client = self.client()
            client.send(data + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
            response = client.read_response()
            assert response.status in statuses, data
            assert response.get(b"Connection") == b"close", data
            client.assert_closed()
            client.close()
        assert self.origin.count(b"/smuggled") == 0


@pytest.fixture(scope="session")
def _target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with (
        RecordingOrigin() as origin,
        served(tmp_path_factory.mktemp("edge"), "--origin", origin.url) as node,
    ):
        yield Target(node, origin)


@pytest.fixture
def target(_target: Target) -> Iterator[Target]:
    """The shared node; afterwards it must still be well."""
    _target.origin.answers.clear()
    yield _target
    assert _target.node.process.poll() is None, "the node has died"
    assert _target.origin.faults == []
    errors = [line for line in _target.node.log() if line.get("level") in ("error", "critical")]
    assert errors == []


@pytest.fixture
def start_target(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Target]]:
    """For attacks that need a node with options of its own."""

    @contextlib.contextmanager
    def start(*words: str) -> Iterator[Target]:
        with RecordingOrigin() as origin, served(tmp_path, "--origin", origin.url, *words) as node:
            yield Target(node, origin)
            assert origin.faults == []
            assert node.process.poll() is None, "the node has died"

    return start
