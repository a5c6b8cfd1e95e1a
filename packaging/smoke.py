"""Smoke test of a `neurocache` program: it serves a real origin, and the second answer is a hit.

Owns: one run from start to clean end. Never: a judgement about speed.

    python packaging/smoke.py build/out/freeze/neurocache/neurocache
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "demo"))

import processes
import site_files

PATH = "/images/dawn-64k.png"


class SmokeError(Exception):
    """The program did something else than expected."""


def smoke(program: str) -> str:
    """Runs the program once; gives the Cache-Status of the hit.

    Raises:
        SmokeError, processes.DemoError: what went wrong.
    """
    version = subprocess.run([program, "--version"], check=True, capture_output=True, timeout=30)
    if b"neurocache" not in version.stdout.lower():
        raise SmokeError(f"`--version` printed {version.stdout!r}")
    edge, admin = free_ports(2)
    with tempfile.TemporaryDirectory() as directory, processes.running_origin(quiet=True) as origin:
        arguments = [
            f"--edge=127.0.0.1:{edge}",
            f"--admin=127.0.0.1:{admin}",
            f"--data={directory}",
            "--memory=32MiB",
        ]
        with processes.running_node([program], origin, arguments) as node:
            processes.wait_until_answers(node, admin, "/readyz")
            first = processes.fetch(edge, PATH)
            second = processes.fetch(edge, PATH)
            check_answers(first, second)
            node.send_signal(signal.SIGTERM)
            status = node.wait(processes.STOP_DEADLINE_S)
        if status != 0:
            raise SmokeError(f"the node ended with status {status} after SIGTERM")
    return second.fields["Cache-Status"]


def check_answers(first: processes.Fetched, second: processes.Fetched) -> None:
    """A miss with the origin's bytes, then a hit with the same.

    Raises:
        SmokeError: they are something else.
    """
    expected = site_files.TARGET.joinpath(PATH.lstrip("/")).read_bytes()
    for name, answer in (("first", first), ("second", second)):
        if answer.status != 200 or answer.body != expected:
            raise SmokeError(f"{name} answer: status {answer.status}, {len(answer.body)} bytes")
    if "; hit" in first.fields.get("Cache-Status", ""):
        raise SmokeError(f"first answer is a hit: {first.fields['Cache-Status']}")
    if "; hit" not in second.fields.get("Cache-Status", ""):
        raise SmokeError(f"second answer is no hit: {second.fields.get('Cache-Status')}")


def free_ports(count: int) -> list[int]:
    """Distinct ports on loopback that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: smoke.py PROGRAM")
    try:
        print(f"smoke: ok, {smoke(sys.argv[1])}")
    except (SmokeError, processes.DemoError, subprocess.SubprocessError) as error:
        sys.exit(f"smoke: {error}")
