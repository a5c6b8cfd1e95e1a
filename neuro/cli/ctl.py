"""`neurocache ctl`: asks a running node, and prints the answer.

Owns the verbs and their output. Loads nothing but small modules of the standard library, because
operators and health checks run it in loops.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from neuro.cli import exit_codes
from neuro.cli.admin_client import fetch
from neuro.cli.messages import print_error
from neuro.errors import AdminError, AdminTimeout, AdminUnreachable, UnitError
from neuro.units import Address, format_size_rounded, parse_address, parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("plain", "table", "json")
DEFAULT_ADMIN = "127.0.0.1:9001"
_HTTP_OK = 200
_HTTP_UNAVAILABLE = 503

_EPILOG = """\
examples:
  neurocache ctl status
  neurocache ctl status --admin 127.0.0.1:9002 -o json
  neurocache ctl health || echo "not ready"
"""


def main(words: Sequence[str]) -> int:
    """Runs one verb; the exit code."""
    options = _parse(words)
    run = {"status": _run_status, "health": _run_health}[options.verb]
    try:
        return run(options)
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


def _parse(words: Sequence[str]) -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    shared.add_argument(
        "--admin",
        metavar="HOST:PORT",
        type=_argument(parse_address),
        default=os.environ.get("NEUROCACHE_ADMIN", DEFAULT_ADMIN),
        help=f"the node's admin address (default: $NEUROCACHE_ADMIN or {DEFAULT_ADMIN})",
    )
    shared.add_argument(
        "--timeout",
        metavar="DURATION",
        type=_argument(parse_duration_ms),
        default="5s",
        help="how long to wait for the answer (default: 5s)",
    )
    shared.add_argument(
        "-o",
        "--output",
        choices=FORMATS,
        default="table" if sys.stdout.isatty() else "plain",
        help="table on a terminal, else plain: one name and value a line",
    )
    parser = argparse.ArgumentParser(
        prog="neurocache ctl",
        description="Ask a running node",
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (
        ("status", "what the node holds and does"),
        ("health", "whether it takes traffic; exit code 0 or 5"),
    ):
        verbs.add_parser(
            verb, parents=[shared], help=text, description=text.capitalize(), allow_abbrev=False
        )
    return parser.parse_args(words)


def _argument(parse: Any) -> Any:
    """A parser of `neuro.units` as argparse wants one."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except UnitError as error:
            raise argparse.ArgumentTypeError(error.message) from error

    return convert


def _run_status(options: argparse.Namespace) -> int:
    document = _fetch_json(options, "/api/v1/status", _HTTP_OK)
    if options.output == "json":
        print(json.dumps(document, indent=2))
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
    if options.output == "json":
        print(json.dumps(document, indent=2))
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
