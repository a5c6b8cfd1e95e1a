"""A real `neurocache serve` in a process of its own, in front of a real small origin.

Owns: starting both on ports that the kernel chooses, waiting until the node says that it is ready,
and ending them. Waiting is polling with a deadline; nothing sleeps for luck.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from neuro.units import Address, parse_address

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 20.0
_POLL_S = 0.02


def wait_until(is_true: Callable[[], object], what: str) -> None:
    """Returns when the condition holds; fails the test with `what` when it does not come."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(_POLL_S)


class Origin:
    """An origin: `/fresh` may be cached, `/slow` waits for `gate` half-way through its body."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.slow_started = threading.Event()
        self.request_count = 0
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                origin.request_count += 1
                if self.path == "/slow":
                    self._answer_slowly()
                    return
                body = b"hello from the origin"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "max-age=60")
                self.end_headers()
                self.wfile.write(body)

            def _answer_slowly(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "20")
                self.end_headers()
                self.wfile.write(b"first half")
                self.wfile.flush()
                origin.slow_started.set()
                origin.gate.wait(DEADLINE_S)
                with contextlib.suppress(OSError):
                    self.wfile.write(b"other half")

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """For `--origin`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Lets waiting handlers go and stops."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class ServedNode:
    """One process; its log lines are read as JSON from a file."""

    def __init__(self, directory: Path, *words: str) -> None:
        self.log_file = directory / "log.jsonl"
        self.output_file = directory / "output.txt"
        command = [sys.executable, "-m", "neuro.cli.main", "serve", "--memory", "16MiB"]
        command += ["--data", str(directory / "data"), "--log-format", "json", *words]
        if "--edge" not in words:
            command += ["--edge", "127.0.0.1:0"]
        if "--admin" not in words:
            command += ["--admin", "127.0.0.1:0"]
        if "--peers" not in words and "--no-cluster" not in words:
            command += ["--raft-bind", "127.0.0.1:0", "--client-bind", "127.0.0.1:0"]
        with self.log_file.open("wb") as log, self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=directory, env=clean_environment(), stdout=output, stderr=log
            )
        self.edge = self.admin = Address("127.0.0.1", 0)

    def wait_until_ready(self) -> None:
        """Returns when the node has logged its addresses."""
        wait_until(lambda: self.find("ready") or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.log_file.read_text()
        line = self.find("ready")
        assert line is not None
        self.edge = parse_address(line["edge"])
        self.admin = parse_address(line["admin"])

    def log(self) -> list[dict[str, Any]]:
        """Every complete log line so far."""
        lines = self.log_file.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def find(self, event: str) -> dict[str, Any] | None:
        """The first log line of an event."""
        return next((line for line in self.log() if line["event"] == event), None)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(DEADLINE_S)

    def get(self, path: str, *, admin: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, fields (names in lower case) and body of a GET."""
        return request(self.admin if admin else self.edge, "GET", path)

    def get_json(self, path: str) -> tuple[int, Any]:
        """Status and document from the admin port."""
        status, _, body = self.get(path, admin=True)
        return status, json.loads(body)


def request(
    address: Address, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, fields, answer.read()
    finally:
        connection.close()


def clean_environment() -> dict[str, str]:
    """The environment without settings of a node."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NEUROCACHE")}


@contextlib.contextmanager
def served(directory: Path, *words: str) -> Iterator[ServedNode]:
    """A ready node; ended by force when the test did not end it."""
    node = ServedNode(directory, *words)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.process.kill()
        node.process.wait()


@contextlib.contextmanager
def running_origin() -> Iterator[Origin]:
    """An origin for one test."""
    origin = Origin()
    try:
        yield origin
    finally:
        origin.close()
