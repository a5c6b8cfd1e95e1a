"""Starts and ends the two processes of the demo: the origin, and a node in front of it.

Owns: their command lines, waiting until they answer, and ending them. Never: output for people.
The demo, the smoke test of the frozen program and the tests of both use it.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import site_files

READY_DEADLINE_S = 20.0
STOP_DEADLINE_S = 10.0
POLL_INTERVAL_S = 0.05


class DemoError(Exception):
    """A process of the demo did not start or did not answer."""


@contextlib.contextmanager
def running_origin(port: int = 0, *, quiet: bool = False) -> Iterator[int]:
    """Runs the demo's origin; gives its port.

    Raises:
        DemoError: it could not listen.
    """
    directory = site_files.make_site()
    program = Path(__file__).with_name("origin.py")
    process = subprocess.Popen(
        [sys.executable, str(program), f"--port={port}", f"--directory={directory}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        process_group=0,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if len(words) != 2 or words[0] != b"ready":
            raise DemoError(f"the origin did not start on port {port}")
        yield int(words[1])
    finally:
        stop(process)


@contextlib.contextmanager
def running_node(
    program: Sequence[str], origin_port: int, arguments: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `neurocache serve` in front of the origin, in a process group of its own."""
    command = [*program, "serve", "--id", "1", "--origin", f"http://127.0.0.1:{origin_port}"]
    process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, process_group=0)
    try:
        yield process
    finally:
        stop(process)


def wait_until_answers(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    """Returns when `path` on the port answers 200.

    Raises:
        DemoError: the process has ended, or the deadline has passed.
    """
    deadline = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the node ended with status {process.returncode}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if fetch(port, path).status == 200:
                return
        time.sleep(POLL_INTERVAL_S)
    raise DemoError(f"the node did not answer {path} within {READY_DEADLINE_S:.0f} s")


class Fetched:
    """One answer: status, fields and the whole body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = response.headers
        self.body = response.read()


def fetch(port: int, path: str, *, timeout_s: float = 10.0) -> Fetched:
    """GETs a path of a server on loopback.

    Raises:
        OSError, http.client.HTTPException: no server, or no HTTP answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return Fetched(connection.getresponse())
    finally:
        connection.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process politely, then by force; closes its pipes."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
