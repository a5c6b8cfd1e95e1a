"""The comparison in one command: python -m bench.macro.run [--tiny] [--write].

Owns the order of runs and where results go. All servers of a run live at the same time and take
turns, in reversed order every second round, so that a noisy minute hits all of them alike. Figures
are worth something on an idle machine with at least two cores; elsewhere only the ratios are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.macro.measure import Disturbance, Run, measure_disturbance, measure_hits
from bench.macro.report import Verdict, judge, judge_disturbance, summarize, to_markdown
from bench.macro.servers import CEILING, OURS, ROOT, SERVERS, Origin, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (1024, 16384, 65536, 1048576)
CONNECTIONS = (1, 64, 512)
SERVER_CORE, LOAD_CORE = 0, 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command line; `--tiny` is what the test suite runs."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.macro.run", description="Compare caches on one core each"
    )
    parser.add_argument("--scenario", choices=("hits", "misses", "all"), default="all")
    parser.add_argument("--servers", nargs="+", choices=tuple(SERVERS), default=list(SERVERS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), metavar="BYTES")
    parser.add_argument("--connections", nargs="+", type=int, default=list(CONNECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one run of wrk, 1 or more")
    parser.add_argument("--tiny", action="store_true", help="one size, one second: does it work?")
    parser.add_argument("--require-all", action="store_true", help="a missing server is an error")
    parser.add_argument("--write", action="store_true", help="results to docs/benchmarks/")
    parser.add_argument("--judge", action="store_true", help="exit code 1 when the bar is missed")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.sizes, options.connections = [1024], [8]
        options.rounds, options.seconds = 1, 1.0
    return options


def choose_servers(options: argparse.Namespace) -> list[type[Server]]:
    """Those asked for that can run; says which cannot.

    Raises:
        SystemExit: one is missing and all are required, or wrk is.
    """
    missing = {name: text for name in options.servers if (text := SERVERS[name].missing())}
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            raise SystemExit(f"`{program}` is not installed")
    for name, text in missing.items():
        say(f"skipped {name}: {text}")
    if missing and options.require_all:
        raise SystemExit("servers are missing and `--require-all` is given")
    return [SERVERS[name] for name in options.servers if name not in missing]


@contextlib.contextmanager
def running(
    kinds: list[type[Server]], sizes: tuple[int, ...], core: int, load_core: int
) -> Iterator[tuple[Origin, list[Server]]]:
    """The origin and the servers, all stopped and their files removed at the end."""
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="neurocache-bench-", dir=base))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        origin = Origin(folder / "origin", 0, sizes, load_core)
        stack.callback(origin.stop)
        origin.start()
        servers = []
        for kind in kinds:
            server = kind(folder / kind.name, origin.port, sizes, core)
            stack.callback(server.stop)
            server.start()
            say(f"started {server.name} on port {server.port}")
            servers.append(server)
        yield origin, servers


def run_hits(options: argparse.Namespace, origin: Origin, servers: list[Server]) -> list[Run]:
    """Every server at every size and connection count, interleaved."""
    runs = []
    load_core = options.load_core
    for size in options.sizes:
        for connections in options.connections:
            for number in range(options.rounds):
                for server in servers if number % 2 == 0 else reversed(servers):
                    run = measure_hits(
                        server, origin.port, size, connections, options.seconds, load_core
                    )
                    runs.append(run)
                    say(
                        f"{size:>8} B x {connections:<4} {server.name:<14}"
                        f"{run.requests_per_s:>9,.0f}/s {run.cpu_us_per_request:>8.1f} us"
                        f"  errors {run.errors} misses {run.misses}"
                    )
    return runs


def say(text: str) -> None:
    """Progress goes to stderr; results to stdout."""
    sys.stderr.write(f"{text}\n")


def write(markdown: str, document: dict[str, object]) -> None:
    """Stores the table and the raw runs side by side."""
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        "# NeuroCache beside other caches\n\n"
        "One core for the server, another for wrk, same origin, every response a checked hit.\n"
        f"Made by `python -m bench.macro.run --require-all --write` on {document['machine']}, "
        f"{document['date']}.\n\n{markdown}"
    )
    (folder / "macro.md").write_text(text)
    (folder / "macro.json").write_text(json.dumps(document, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Runs, prints the table, judges; 0 unless something failed that was asked to be judged."""
    options = parse(arguments)
    cores = sorted(os.sched_getaffinity(0))
    options.load_core = cores[LOAD_CORE % len(cores)]
    if len(cores) < 2:
        say("only one core: wrk and the servers share it, ratios mean little")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kinds = choose_servers(options)
    runs: list[Run] = []
    disturbances: list[Disturbance] = []
    verdicts: list[Verdict] = []
    with running(kinds, tuple(options.sizes), cores[SERVER_CORE], options.load_core) as (
        origin,
        servers,
    ):
        if options.scenario in ("hits", "all"):
            runs = run_hits(options, origin, servers)
            verdicts += judge(summarize(runs))
        if options.scenario in ("misses", "all"):
            for server in servers:
                if server.name == CEILING or (server.name != OURS and OURS in options.servers):
                    continue
                result = measure_disturbance(
                    server,
                    origin.port,
                    rounds=options.rounds,
                    seconds=options.seconds,
                    core=options.load_core,
                )
                disturbances.append(result)
                verdicts.append(judge_disturbance(result))
    markdown = to_markdown(summarize(runs), verdicts)
    sys.stdout.write(markdown)
    document: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}, "
        f"{len(cores)} cores",
        "figures": [asdict(figure) for figure in summarize(runs)],
        "runs": [asdict(run) for run in runs],
        "disturbances": [asdict(result) for result in disturbances],
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }
    if options.write:
        write(markdown, document)
    # A run that is wrong fails always; a bar that is missed only where judgement was asked for.
    is_wrong = any(run.errors or run.misses for run in runs) or any(d.errors for d in disturbances)
    is_missed = any(not verdict.passed for verdict in verdicts)
    return 1 if is_wrong or (options.judge and is_missed) else 0


if __name__ == "__main__":
    sys.exit(main())
