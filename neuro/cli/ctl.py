"""`neurocache ctl`: asks a running node, and prints the answer.

Owns the verbs and their output. Loads nothing but small modules of the standard library, because
operators and health checks run it in loops.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from neuro.cli import ctl_cluster, ctl_offline, ctl_store, exit_codes
from neuro.cli.admin_client import fetch
from neuro.cli.ctl_words import Verbs, argument
from neuro.cli.messages import print_error
from neuro.errors import AdminError, AdminTimeout, AdminUnreachable, NeuroCacheError
from neuro.units import Address, format_size_rounded, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_ADMIN = "127.0.0.1:9001"
_HTTP_OK = 200
_HTTP_UNAVAILABLE = 503

_EPILOG = """\
examples:
  neurocache ctl status
  neurocache ctl status --admin 127.0.0.1:9002 -o json
  neurocache ctl health || echo "not ready"
  neurocache ctl put config/colour blue
  neurocache ctl get config/colour -o json
  neurocache ctl put photo - < photo.jpg && neurocache ctl get photo > copy.jpg
  neurocache ctl cas lock/a me --absent || echo "taken"
  neurocache ctl scan config/ -o table
  neurocache ctl watch config/ --prefix --from 1 -o jsonl
  neurocache ctl lease grant 30s
  neurocache ctl status --endpoints 10.0.0.1:3001,10.0.0.2:3002,10.0.0.3:3003
  neurocache ctl members add 4 10.0.0.4:7004 10.0.0.4:3004
  neurocache ctl ca init ./ca && neurocache ctl ca issue ./ca --node 1
"""
_STORE_FAILURES: Final = {
    "not_found": (exit_codes.NOT_FOUND, ""),
    "lease_not_found": (exit_codes.NOT_FOUND, "neurocache ctl lease list"),
    "compare_failed": (exit_codes.COMPARE_FAILED, ""),
    "invalid_key": (exit_codes.USAGE, ""),
    "invalid_request": (exit_codes.USAGE, "neurocache ctl --help"),
    "cluster_unreachable": (
        exit_codes.UNREACHABLE,
        "name the members' client addresses with `--endpoints HOST:PORT,...`",
    ),
    "connection_lost": (exit_codes.UNREACHABLE, "try another member with `--endpoints`"),
    "not_leader": (exit_codes.UNHEALTHY, "neurocache ctl health --endpoints HOST:PORT,..."),
    "request_timeout": (exit_codes.TIMEOUT, "wait longer with `--timeout 30s`"),
    "outcome_unknown": (exit_codes.UNKNOWN, "look first: the command may have been done"),
}
"""Code of a failure: exit code, and what to try."""


def main(words: Sequence[str]) -> int:
    """Runs one verb; the exit code."""
    options = _parse(words)
    if options.output is None:
        options.output = "table" if sys.stdout.isatty() else "plain"
    try:
        code: int = options.run(options)
        return code
    except AdminUnreachable as error:
        print_error(
            error.message, "start a node with `neurocache serve`, or name it with `--admin`"
        )
        return exit_codes.UNREACHABLE
    except AdminTimeout as error:
        print_error(error.message, "wait longer with `--timeout 30s`")
        return exit_codes.TIMEOUT
    except AdminError as error:
        print_error(error.message, "name the node's admin address with `--admin HOST:PORT`")
        return exit_codes.FAILED
    except NeuroCacheError as error:
        code, hint = _STORE_FAILURES.get(error.code, (exit_codes.FAILED, ""))
        print_error(error.message, hint)
        return code


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="neurocache ctl",
        description="Ask a running node or a cluster",
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = Verbs(parser, "verb")
    asks_members = any(word.split("=")[0] == "--endpoints" for word in words)
    for name, of_node, of_members, text in (
        ("status", _run_status, ctl_cluster.run_status, "what the node holds and does"),
        ("health", _run_health, ctl_cluster.run_health, "whether it takes traffic; exit code 5"),
    ):
        run = of_members if asks_members else of_node
        verb = verbs.add(name, run, f"{text}; with `--endpoints`, of each member of the cluster")
        verb.add_argument(
            "--admin",
            metavar="HOST:PORT",
            type=argument(parse_address),
            default=os.environ.get("NEUROCACHE_ADMIN", DEFAULT_ADMIN),
            help=f"the node's admin address (default: $NEUROCACHE_ADMIN or {DEFAULT_ADMIN})",
        )
    ctl_store.add_verbs(verbs)
    ctl_offline.add_verbs(verbs, ctl_cluster.add_verbs(verbs))
    return parser.parse_args(words)


def _run_status(options: argparse.Namespace) -> int:
    document = _fetch_json(options, "/api/v1/status", _HTTP_OK)
    if options.output in ("json", "jsonl"):
        _print_json(options.output, document)
    elif options.output == "table":
        _print_table(_summarize(options.admin, document))
    else:
        for name, value in _flatten("", document):
            print(name, value)
    return exit_codes.OK


def _run_health(options: argparse.Namespace) -> int:
    document = _fetch_json(options, "/readyz", _HTTP_OK, _HTTP_UNAVAILABLE)
    is_ready = document["ready"] is True
    reasons = ", ".join(document["reasons"])
    if options.output in ("json", "jsonl"):
        _print_json(options.output, document)
    elif options.output == "table":
        _print_table(
            {"ENDPOINT": str(options.admin), "READY": "yes" if is_ready else "no", "WHY": reasons}
        )
    else:
        print("ready" if is_ready else f"not ready: {reasons}")
    return exit_codes.OK if is_ready else exit_codes.UNHEALTHY


def _fetch_json(options: argparse.Namespace, path: str, *statuses: int) -> dict[str, Any]:
    status, body = fetch(options.admin, path, timeout_ms=options.timeout)
    try:
        document = json.loads(body) if status in statuses else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise AdminError(
            f"`{options.admin}` is not a node's admin port (status {status})", url=path
        )
    return document


def _summarize(address: Address, document: dict[str, Any]) -> dict[str, str]:
    """The row of `status -o table`."""
    cache = document["cache"]
    ratio = cache["hit_ratio"]
    used = format_size_rounded(cache["bytes"])
    quota = format_size_rounded(document["slab"]["arena_bytes"])
    return {
        "ENDPOINT": str(address),
        "ID": document["id"],
        "VERSION": document["version"],
        "READY": "yes" if document["ready"] else ",".join(document["reasons"]),
        "UPTIME": f"{document['uptime_s']:.0f}s",
        "OBJECTS": str(cache["objects"]),
        "USED/QUOTA": f"{used} / {quota}",
        "HIT%": "-" if ratio is None else f"{100 * ratio:.1f}",
        "REQUESTS": str(document["edge"]["requests"]),
        "CONNECTIONS": str(document["edge"]["connections_open"]),
    }


def _print_json(output: str, document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2 if output == "json" else None))


def _print_table(row: dict[str, str]) -> None:
    widths = [max(len(name), len(value)) for name, value in row.items()]
    for cells in (row.keys(), row.values()):
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip())


def _flatten(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Dotted names and values of a document, in its order; lists by index."""
    if isinstance(value, dict):
        items = [(f"{prefix}.{name}" if prefix else name, item) for name, item in value.items()]
    elif isinstance(value, list):
        items = [(f"{prefix}.{index}", item) for index, item in enumerate(value)]
    else:
        return [(prefix, json.dumps(value) if not isinstance(value, str) else value)]
    return [row for name, item in items for row in _flatten(name, item)]
