"""`make serve`: the demo site's origin, a node in front of it, and a text that says what to try.

Owns: the order (origin first, node second; ended the other way round), the text, and the signals:
one Ctrl-C lets the node finish what it has in flight, a second one ends it at once.

Arguments go to `neurocache serve`, e.g. `python packaging/demo/serve.py --edge 127.0.0.1:8085`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import processes

ORIGIN_PORT = 9000
EDGE_PORT = 8080
ADMIN_PORT = 9001

TRY = """
NeuroCache runs in front of the demo site. Open it: http://localhost:{edge}/

Try in another terminal
  a miss, then a hit:    curl -sD- -o /dev/null http://localhost:{edge}/images/dusk-1m.png
  one origin request:    seq 8 | xargs -P8 -I_ curl -s http://localhost:{edge}/api/slow
  never stored:          curl -i http://localhost:{edge}/api/time
  a range:               curl -ir 0-99 http://localhost:{edge}/js/demo.js
  put an object:         curl -X PUT http://localhost:{edge}/cache/my.txt --data-binary hello
  get it back:           curl -i http://localhost:{edge}/cache/my.txt
  figures, status page:  curl http://localhost:{admin}/metrics   http://localhost:{admin}/
Without the cache: http://localhost:{origin}/
Each line below that starts with `origin:` is a request that reached the origin
Ctrl-C ends both
"""


def port_of(arguments: list[str], flag: str, default: int) -> int:
    """The port that a flag of `neurocache serve` names, or the default."""
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == flag:
            value = value or (arguments[index + 1] if index + 1 < len(arguments) else "")
            return int(value.rpartition(":")[2])
    return default


def run_demo(arguments: list[str]) -> int:
    """Runs both processes until a signal or the end of the node; gives the exit status."""
    edge = port_of(arguments, "--edge", EDGE_PORT)
    admin = port_of(arguments, "--admin", ADMIN_PORT)
    program = str(Path(sys.executable).with_name("neurocache"))
    with (
        processes.running_origin(_free_or_any(ORIGIN_PORT)) as origin_port,
        processes.running_node([program], origin_port, arguments) as node,
    ):
        pass_on_signals(node)
        processes.wait_until_answers(node, edge, "/")
        print(TRY.format(edge=edge, admin=admin, origin=origin_port), flush=True)
        status = node.wait()
    return 0 if status in {0, -signal.SIGINT, -signal.SIGTERM} else status


def pass_on_signals(node: subprocess.Popen[bytes]) -> None:
    """Signals reach the node only from here, once each: it counts them."""

    def pass_on(number: int, _frame: object) -> None:
        if node.poll() is None:
            os.kill(node.pid, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)


def _free_or_any(port: int) -> int:
    """The port itself, or 0 (the kernel chooses) where another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


if __name__ == "__main__":
    try:
        sys.exit(run_demo(sys.argv[1:]))
    except processes.DemoError as error:
        sys.exit(f"demo: {error}")
