"""The life of the process: event loop, signals, last words.

Owns signals. The first SIGINT, SIGTERM or SIGHUP stops gracefully, the second ends at once with
128 + signal. There is no reload: a SIGHUP means that the terminal went away. Never forks, because
the engine's threads would not survive it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from neuro.errors import NeuroCacheError
from neuro.server.node import Node
from neuro.telemetry.logs import LogPipe, start_logs
from neuro.units import format_duration_ms

if TYPE_CHECKING:
    from neuro.config import Config

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXIT_SIGNAL_BASE = 128
_log = logging.getLogger("neuro.server")


def run_node(config: Config) -> int:
    """Runs a node until a signal ends it; the process's exit code.

    Raises:
        NeuroCacheError: it could not start.
    """
    pipe = start_logs(
        config.log.level, config.log.format, node_id=config.node.id, stream=sys.stderr
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(config, pipe))
    finally:
        pipe.stop()


class _Signals:
    """Remembers the first signal, obeys the second."""

    def __init__(self) -> None:
        self.first: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self.first.done():
            self.first.set_result(number)
            return
        # The writing thread may be stuck and the loop may be busy: say it directly, and leave.
        os.write(2, f"second signal ({number.name}): ending at once\n".encode("ascii"))
        os._exit(_EXIT_SIGNAL_BASE + number)


async def _serve(config: Config, pipe: LogPipe) -> int:
    signals = _Signals()
    signals.install()
    node = Node(config, log_records_dropped=lambda: pipe.dropped)
    await node.start()
    _log.info(
        "ready",
        extra={
            "edge": str(node.edge_address),
            "admin": str(node.admin_address),
            "raft": str(node.control.raft_address) if node.control else None,
            "client": node.control.client_address if node.control else None,
            "origin": config.origin.url,
            "threads": config.edge.threads,
            "memory_bytes": config.node.memory_bytes,
            "pid": os.getpid(),
        },
    )
    print(make_banner(config, node), flush=True)  # noqa: T201 (what to try is the program's output)
    ended = node.control.ended if node.control is not None else signals.first
    await asyncio.wait({signals.first, ended}, return_when=asyncio.FIRST_COMPLETED)
    timeout = format_duration_ms(config.node.shutdown_timeout_ms)
    is_healthy = signals.first.done()
    if is_healthy:
        name = signals.first.result().name
        _log.info("stopping", extra={"signal": name, "timeout": timeout})
    else:
        _log.error("stopping: the member of the store ended", extra={"reason": ended.result()})
    try:
        is_complete = await node.stop(config.node.shutdown_timeout_ms)
    except NeuroCacheError:
        _log.exception("stopped with an error")
        return 1
    summary = node.last_summary
    if is_complete:
        _log.info("stopped", extra=summary)
    else:
        _log.warning("stopped; requests in flight were cut at the deadline", extra=summary)
    return 0 if is_healthy else 1


def make_banner(config: Config, node: Node) -> str:
    """What to try, with this node's addresses."""
    edge = f"http://{node.edge_address}"
    admin = f"http://{node.admin_address}"
    lines = [f"NeuroCache node {config.node.id} is ready"]
    if config.origin.url is None:
        lines.append(f"  edge    {edge}  (no origin: only the object API answers)")
    else:
        lines.append(f"  edge    {edge}  in front of {config.origin.url}")
    if node.control is not None:
        lines.append(f"  store   {node.control.client_address}")
    lines += [f"  status  {admin}/", "try:"]
    if config.origin.url is not None:
        lines.append(f"  curl -i {edge}/")
    lines += [
        f"  curl -X PUT {edge}/cache/hello.txt --data-binary 'hello'",
        f"  curl -i {edge}/cache/hello.txt",
        f"  neurocache ctl status --admin {node.admin_address}",
        "stop with Ctrl-C",
    ]
    return "\n".join(lines)
