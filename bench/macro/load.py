"""Load on a server: wrk at full speed on one core, and a steady trickle of misses.

Owns how requests are made and what is believed about the answers. Never measures the server.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LUA = Path(__file__).resolve().parent / "load.lua"
HEAD_BYTES_MAX = 1024
"""No server here answers with a longer head; bounds what a wrong body could hide behind."""


@dataclass(frozen=True)
class Load:
    """What wrk saw in one run."""

    requests: int
    duration_us: int
    bytes: int
    errors: int
    p50_us: int
    p99_us: int

    @property
    def requests_per_s(self) -> float:
        """Completed requests over wall time."""
        return self.requests * 1e6 / self.duration_us


def run_wrk(port: int, path: str, connections: int, seconds: float, core: int) -> Load:
    """Requests of one path as fast as the server answers, from one thread on `core`.

    Raises:
        RuntimeError: wrk failed.
    """
    command = [
        "taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}",
        f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(LUA),
        f"http://127.0.0.1:{port}{path}",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("JSON "):
            return Load(**json.loads(line[5:]))
    raise RuntimeError(f"wrk gave no result: {done.stdout[-500:]} {done.stderr[-500:]}")


def count_wrong(load: Load, body_bytes: int, connections: int) -> int:
    """Errors of the run, or 1 when the bytes received do not fit that many bodies of that size."""
    least = load.requests * body_bytes
    most = (load.requests + connections) * (body_bytes + HEAD_BYTES_MAX)
    return load.errors + int(not least <= load.bytes <= most)


@dataclass(frozen=True)
class Answer:
    """One response: how big its parts are on the wire."""

    status: int
    head_bytes: int
    body_bytes: int


def fetch(port: int, path: str) -> Answer:
    """One GET on a connection of its own.

    Raises:
        OSError: no connection, or it broke.
        http.client.HTTPException: the answer is not whole.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": f"127.0.0.1:{port}"})
        response = connection.getresponse()
        head = f"HTTP/1.1 {response.status} {response.reason}\r\n{response.headers}".encode()
        fields = len(response.headers)
        # `str(headers)` ends its lines with a bare newline: one byte more for each, and the last.
        return Answer(response.status, len(head) + fields + 1, len(response.read()))
    finally:
        connection.close()


def count_origin(port: int) -> int:
    """How many bodies the origin was asked for since it started."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/count")
        return int(connection.getresponse().read())
    finally:
        connection.close()


class Misses:
    """A steady stream of requests for new URLs whose origin takes `delay_ms`.

    Never more than one thread per request in flight: rate times delay bounds them.
    """

    def __init__(self, port: int, rate_per_s: int, delay_ms: int) -> None:
        self._port = port
        self._rate_per_s = rate_per_s
        self._delay_ms = delay_ms
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._workers: list[threading.Thread] = []
        self.sent = 0
        self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for worker in self._workers:
            worker.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._stop.is_set():
            worker = threading.Thread(target=self._one, args=(self.sent,), daemon=True)
            worker.start()
            self._workers = [*(w for w in self._workers if w.is_alive()), worker]
            self.sent += 1
            self._stop.wait(max(0.0, started + self.sent / self._rate_per_s - time.monotonic()))

    def _one(self, number: int) -> None:
        path = f"/1024?delay={self._delay_ms}&miss={time.monotonic_ns()}-{number}"
        try:
            answer = fetch(self._port, path)
        except (OSError, http.client.HTTPException):
            self.failed += 1
            return
        self.failed += (answer.status, answer.body_bytes) != (200, 1024)
