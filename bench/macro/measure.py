"""One run: CPU time of a whole process tree, around a load, on checked hits.

Owns what a figure means: microseconds of utime and stime of the server, all threads and children,
over the responses received. A response cut by the end of a run counts by its share of bytes, or
big bodies on many connections would look dear. Never starts servers and never judges.
"""

from __future__ import annotations

import http.client
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.macro.load import Answer, Misses, count_origin, count_wrong, fetch, run_wrk

if TYPE_CHECKING:
    from bench.macro.servers import Server

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
WARM_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Run:
    """One server, size and connection count, once."""

    server: str
    body_bytes: int
    connections: int
    requests: int
    requests_per_s: float
    cpu_us_per_request: float
    p50_us: int
    p99_us: int
    errors: int
    misses: int


def cpu_time_us(root_pid: int) -> int:
    """utime + stime of the process and its living descendants, in steps of a clock tick."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        ticks[int(entry.name)] = int(fields[11]) + int(fields[12])
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, queue = 0, [root_pid]
    while queue:
        pid = queue.pop()
        total += ticks.get(pid, 0)
        queue += children.get(pid, [])
    return total * 1_000_000 // TICKS_PER_S


def warm(server: Server, origin_port: int, body_bytes: int) -> Answer:
    """Fetches until an answer is whole and did not touch the origin; gives that answer.

    Raises:
        RuntimeError: the server does not cache it.
    """
    deadline = time.monotonic() + WARM_TIMEOUT_S
    path = f"/{body_bytes}"
    seen: object = None
    while time.monotonic() < deadline:
        before = count_origin(origin_port)
        try:
            seen = answer = fetch(server.port, path)
        except (OSError, http.client.HTTPException) as error:
            seen = error
        else:
            is_whole = (answer.status, answer.body_bytes) == (200, body_bytes)
            if is_whole and count_origin(origin_port) == before:
                return answer
        time.sleep(0.1)
    raise RuntimeError(f"{server.name} does not answer {path} from its cache: {seen}")


def measure_hits(
    server: Server, origin_port: int, body_bytes: int, connections: int, seconds: float, core: int
) -> Run:
    """A run of nothing but hits of one object; `misses` and `errors` have to be 0."""
    answer = warm(server, origin_port, body_bytes)
    asked = count_origin(origin_port)
    before_us = cpu_time_us(server.pid)
    load = run_wrk(server.port, f"/{body_bytes}", connections, seconds, core)
    spent_us = cpu_time_us(server.pid) - before_us
    received = load.bytes / (answer.head_bytes + answer.body_bytes)
    return Run(
        server=server.name,
        body_bytes=body_bytes,
        connections=connections,
        requests=load.requests,
        requests_per_s=load.requests_per_s,
        cpu_us_per_request=spent_us / max(1.0, received),
        p50_us=load.p50_us,
        p99_us=load.p99_us,
        errors=count_wrong(load, body_bytes, connections),
        misses=count_origin(origin_port) - asked,
    )


@dataclass(frozen=True)
class Disturbance:
    """Hits with and without a slow origin behind them, in both orders."""

    server: str
    p99_us_calm: list[int]
    p99_us_disturbed: list[int]
    misses_per_s: float
    errors: int


def measure_disturbance(
    server: Server,
    origin_port: int,
    *,
    rounds: int,
    seconds: float,
    core: int,
    rate_per_s: int = 100,
    delay_ms: int = 500,
    connections: int = 64,
) -> Disturbance:
    """p99 of 1 KiB hits while `rate_per_s` new URLs wait for an origin that takes `delay_ms`."""
    warm(server, origin_port, 1024)
    calm: list[int] = []
    disturbed: list[int] = []
    errors = sent = 0
    started = 0.0
    for number in range(rounds):
        for with_misses in (False, True) if number % 2 == 0 else (True, False):
            if not with_misses:
                load = run_wrk(server.port, "/1024", connections, seconds, core)
                calm.append(load.p99_us)
            else:
                begin = time.monotonic()
                with Misses(server.port, rate_per_s, delay_ms) as misses:
                    load = run_wrk(server.port, "/1024", connections, seconds, core)
                    started += time.monotonic() - begin
                    sent += misses.sent
                disturbed.append(load.p99_us)
                errors += misses.failed
            errors += count_wrong(load, 1024, connections)
    return Disturbance(server.name, calm, disturbed, sent / started, errors)
