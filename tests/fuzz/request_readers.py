"""Three readings of the same bytes: the node's, h11's and nginx's.

Owns: what each makes of a pipe of requests, in one comparable form. Never: the comparison.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h11

from tests.programs import find_program
from tests.recording_origin import RecordedRequest, RecordingOrigin, whole

QUIET_S = 0.1
"""A server that says nothing for this long waits for more input."""
WAIT_S = 10.0
END = b"GET /end HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"
"""Sent behind each case, so that a server which understood it all closes by itself."""

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 0; lingering_close off;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {origin}; proxy_http_version 1.1;
      proxy_set_header X-Forwarded-Host $host;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Meaning:
    """What one request asks for."""

    method: bytes
    target: bytes
    authority: bytes
    body: bytes
    probes: tuple[bytes, ...]


def normal_authority(text: bytes) -> bytes:
    """Lower case, without a final dot and without port 80."""
    host, colon, port = text.rpartition(b":")
    if not colon or host.endswith(b":") or b"]" in port:
        host, port = text, b""
    host = host.lower()
    host = host.removesuffix(b".")
    return host + (b":%d" % int(port) if port and int(port) != 80 else b"")


def without_port(authority: bytes) -> bytes:
    """The host alone."""
    host, colon, port = authority.rpartition(b":")
    return host if colon and port.isdigit() and not host.endswith(b":") else authority


def read_recorded(request: RecordedRequest) -> Meaning:
    """From an origin's record; the proxy in front has told the authority in X-Forwarded-Host."""
    return Meaning(
        request.method,
        request.target,
        request.get(b"x-forwarded-host") or b"",
        request.body,
        tuple(request.get_all(b"x-probe")),
    )


def read_with_h11(data: bytes) -> tuple[list[Meaning], str]:
    """The requests, and why there are no more: "end", "close", "incomplete" or a fault."""
    seen: list[Meaning] = []
    while data:
        data = data.removeprefix(
            b"\r\n"
        )  # RFC 9112 section 2.2 lets a server skip one; h11 does not
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(data)
        body = []
        request: h11.Request | None = None
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body.append(bytes(event.data))
                else:
                    return seen, "incomplete"
        except h11.RemoteProtocolError as fault:
            return seen, f"fault: {fault}"
        assert request is not None
        seen.append(_meaning_of(request, b"".join(body)))
        if connection.their_state is h11.MUST_CLOSE and not _asks_to_stay(request):
            return seen, "close"
        data = bytes(connection.trailing_data[0])
    return seen, "end"


def _asks_to_stay(request: h11.Request) -> bool:
    """Whether an HTTP/1.0 client keeps its connection (RFC 9112 section 9.3): h11 never does."""
    options = {
        option.strip(b" \t").lower()
        for name, value in request.headers
        if name == b"connection"
        for option in value.split(b",")
    }
    return request.http_version == b"1.0" and b"keep-alive" in options and b"close" not in options


def _meaning_of(request: h11.Request, body: bytes) -> Meaning:
    target = request.target
    authority = next((value for name, value in request.headers if name == b"host"), b"")
    if target.lower().startswith(b"http://"):
        authority, slash, path = target[7:].partition(b"/")
        target = slash + path or b"/"
    try:
        authority = normal_authority(authority)
    except ValueError:
        authority = b"not an authority: " + authority
    probes = tuple(value for name, value in request.headers if name == b"x-probe")
    return Meaning(request.method, target, authority, body, probes)


def counting_answer(request: RecordedRequest) -> None:
    """An answer that no cache keeps."""
    body = b"" if request.method == b"HEAD" else b"ok"
    request.send(whole(body, b"Cache-Control: no-store"))


class Sender:
    """Sends cases to one server and gives what its origin saw of each."""

    def __init__(self, port: int, origin: RecordingOrigin) -> None:
        self._port = port
        self._origin = origin
        origin.default = counting_answer

    def read(self, data: bytes) -> tuple[list[Meaning], bytes]:
        """What arrived at the origin, and every byte that came back."""
        assert not self._origin.take()
        received, is_over = self._exchange(data)
        if not is_over:
            self._exchange(END.replace(b"/end", b"/fence"))
        assert self._origin.faults == []
        requests = [request for request in self._origin.take() if request.target != b"/fence"]
        return [read_recorded(request) for request in requests], received

    def _exchange(self, data: bytes) -> tuple[bytes, bool]:
        """Bytes back, and whether the server closed of its own accord."""
        received = b""
        is_over = True
        with socket.create_connection(("127.0.0.1", self._port), timeout=WAIT_S) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(data)
            while True:
                ready, _, _ = select.select([client], [], [], QUIET_S if is_over else WAIT_S)
                if not ready:
                    assert is_over, "the server does not close"
                    is_over = False
                    with contextlib.suppress(OSError):
                        client.shutdown(socket.SHUT_WR)
                    continue
                try:
                    part = client.recv(1 << 16)
                except ConnectionError:
                    return received, False
                if not part:
                    return received, is_over
                received += part


@contextlib.contextmanager
def running_nginx(folder: Path, origin: RecordingOrigin) -> Iterator[int]:
    """The port of an nginx that forwards everything to the origin."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port, origin=origin.url))
    program = find_program("nginx")
    assert program is not None
    words = [program, "-e", str(folder / "error.log"), "-c", str(configuration), "-p", str(folder)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "error.log").read_text()
                assert time.monotonic() < deadline, "nginx does not start"
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(WAIT_S)
