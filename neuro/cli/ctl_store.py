"""`neurocache ctl` verbs of the key-value store: keys, transactions, watches, leases.

Owns their words and output. Never knows the protocol beyond the names of its operations.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neuro.cli import exit_codes
from neuro.cli.ctl_words import Verbs, duration_ms, open_link, whole_number
from neuro.cli.rows import print_one, print_rows
from neuro.cli.store_link import get_bytes, put_bytes
from neuro.cluster.client_errors import InvalidRequest
from neuro.cluster.retrying import ConnectionLost

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

PAGE_SIZE: Final = 500
RESUME_PAUSE_S: Final = 0.1
RECORD: Final = ("key", "value", "mod_revision", "version", "lease")
WRITTEN: Final = ("revision",)


def add_verbs(verbs: Verbs) -> None:
    """Adds the verbs to the command line."""
    put = verbs.add("put", run_put, "set a key; a value of `-` is read from stdin")
    put.add_argument("key")
    put.add_argument("value")
    put.add_argument("--lease", type=whole_number, default=0, help="the key ends with this lease")
    get = verbs.add("get", run_get, "print a value; raw bytes unless `-o` says otherwise")
    get.add_argument("key")
    get.add_argument("--local", action="store_true", help="what this member has, maybe old")
    delete = verbs.add("del", run_delete, "delete a key, or all keys with a prefix")
    delete.add_argument("key")
    delete.add_argument("--prefix", action="store_true", help="all keys that begin with it")
    cas = verbs.add("cas", run_cas, "set a key if it is as expected; exit code 6 if not")
    cas.add_argument("key")
    cas.add_argument("value")
    expected = cas.add_mutually_exclusive_group(required=True)
    expected.add_argument("--expect", metavar="VALUE", help="its value now")
    expected.add_argument("--revision", type=whole_number, help="its `mod_revision` now")
    expected.add_argument("--absent", action="store_true", help="it does not exist")
    cas.add_argument("--lease", type=whole_number, default=0)
    txn = verbs.add("txn", run_txn, "a transaction from a JSON file, or stdin for `-`")
    txn.add_argument("file", nargs="?", default="-")
    scan = verbs.add("scan", run_scan, "keys with a prefix, in order, all of one moment")
    scan.add_argument("prefix", nargs="?", default="")
    scan.add_argument("--limit", type=whole_number, default=0, help="at most so many")
    scan.add_argument("--keys", action="store_true", help="without values")
    scan.add_argument("--revision", type=whole_number, default=0, help="as of this revision")
    watch = verbs.add("watch", run_watch, "print changes as they happen")
    watch.add_argument("key")
    watch.add_argument("--prefix", action="store_true", help="all keys that begin with it")
    watch.add_argument("--from", dest="first", type=whole_number, default=0, metavar="REVISION")
    watch.add_argument("--count", type=whole_number, default=0, help="end after so many changes")
    compact = verbs.add("compact", run_compact, "forget the history up to a revision")
    compact.add_argument("revision", type=whole_number)
    lease = verbs.add_group("lease", "grant, keep, show, list and revoke leases")
    grant = lease.add("grant", run_lease_grant, "a new lease, like `lease grant 30s`")
    grant.add_argument("ttl", type=duration_ms, metavar="DURATION")
    for name, text in (
        ("keepalive", "start its time anew"),
        ("revoke", "end it, and delete its keys"),
        ("show", "time left and keys"),
    ):
        lease.add(name, run_lease, text).add_argument("lease", type=whole_number)
    lease.add("list", run_lease_list, "all leases")


def _read_value(text: str) -> bytes:
    return sys.stdin.buffer.read() if text == "-" else text.encode(errors="surrogateescape")


def run_put(options: argparse.Namespace) -> int:
    """`put KEY VALUE`."""
    value = put_bytes("value", _read_value(options.value))
    answer = open_link(options).write("put", key=options.key, lease=options.lease, **value)
    print_one(options.output, WRITTEN, answer)
    return exit_codes.OK


def run_get(options: argparse.Namespace) -> int:
    """`get KEY`."""
    answer = open_link(options).read("get", key=options.key, local=options.local)
    if options.output in ("json", "jsonl", "table"):
        print_one(options.output, RECORD, answer)
        return exit_codes.OK
    sys.stdout.flush()
    sys.stdout.buffer.write(get_bytes(answer, "value"))
    if sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    return exit_codes.OK


def run_delete(options: argparse.Namespace) -> int:
    """`del KEY`."""
    link, deleted, has_more = open_link(options), 0, True
    answer: dict[str, Any] = {}
    while has_more:
        answer = link.write("delete", key=options.key, prefix=options.prefix)
        deleted += answer["deleted"]
        has_more = answer["more"]
    row = {"deleted": deleted, "revision": answer["revision"]}
    print_one(options.output, ("deleted", "revision"), row)
    return exit_codes.OK


def run_cas(options: argparse.Namespace) -> int:
    """`cas KEY VALUE`."""
    arguments = put_bytes("value", _read_value(options.value))
    if options.expect is not None:
        arguments |= put_bytes("expected", options.expect.encode(errors="surrogateescape"))
    else:
        arguments["expected_revision"] = 0 if options.absent else options.revision
    answer = open_link(options).write("cas", key=options.key, lease=options.lease, **arguments)
    print_one(options.output, WRITTEN, answer)
    return exit_codes.OK


def run_txn(options: argparse.Namespace) -> int:
    """`txn FILE`: `{"compares": [...], "then": [...], "else": [...]}`."""
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
        document = json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"`{options.file}` is no transaction: {error}") from error
    if not isinstance(document, dict) or set(document) - {"compares", "then", "else"}:
        raise InvalidRequest("a transaction is an object of `compares`, `then` and `else`")
    answer = open_link(options).write("txn", **document)
    if options.output in ("json", "jsonl"):
        print_one(options.output, (), answer)
    else:
        print("then" if answer["succeeded"] else "else", answer["revision"])
        print_rows(options.output, ("exists", "value", "deleted", "version"), answer["results"])
    return exit_codes.OK if answer["succeeded"] else exit_codes.COMPARE_FAILED


def run_scan(options: argparse.Namespace) -> int:
    """`scan PREFIX`."""
    columns: tuple[str, ...] = ("key",) if options.keys else RECORD
    if options.output == "plain" and not options.keys:
        columns = ("key", "value")
    print_rows(options.output, columns, _scan(options))
    return exit_codes.OK


def _scan(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    link = open_link(options)
    after, revision, left = "", options.revision, options.limit or sys.maxsize
    while left:
        page = link.read(
            "scan", prefix=options.prefix, after=after, limit=min(left, PAGE_SIZE),
            revision=revision, keys_only=options.keys,
        )  # fmt: skip
        yield from page["items"]
        left -= len(page["items"])
        if not page["more"]:
            return
        revision, after = page["revision"], page["items"][-1]["key"]


def run_watch(options: argparse.Namespace) -> int:
    """`watch KEY`, until it is interrupted or has seen `--count` changes."""
    columns = ("revision", "kind", "key", "value")
    output = "jsonl" if options.output == "json" else options.output
    output = "plain" if output == "table" else output
    print_rows(output, columns, _watch(options))
    return exit_codes.OK


def _watch(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    link, following, left = open_link(options), options.first, options.count or sys.maxsize
    while True:
        events = link.stream(
            "watch", key=options.key, prefix=options.prefix, from_revision=following
        )
        try:
            for event in events:
                for change in event.get("changes", ()):
                    yield change
                    left -= 1
                    if not left:
                        return
                following = event.get("next_revision") or event["revision"] + 1
        except ConnectionLost:
            # Another member goes on at the next revision; if there is none, stream() says so.
            time.sleep(RESUME_PAUSE_S)


def run_compact(options: argparse.Namespace) -> int:
    """`compact REVISION`."""
    answer = open_link(options).write("compact", revision=options.revision)
    print_one(options.output, ("compacted",), answer)
    return exit_codes.OK


def run_lease_grant(options: argparse.Namespace) -> int:
    """`lease grant DURATION`."""
    answer = open_link(options).write("lease_grant", ttl_ms=options.ttl)
    columns = ("lease",) if options.output == "plain" else ("lease", "ttl_ms")
    print_one(options.output, columns, answer)
    return exit_codes.OK


def run_lease(options: argparse.Namespace) -> int:
    """`lease keepalive|revoke|show ID`."""
    link = open_link(options)
    if options.subverb == "show":
        answer = link.read("lease_show", lease=options.lease)
        columns: tuple[str, ...] = ("lease", "ttl_ms", "left_ms", "keys")
    else:
        answer = link.write(f"lease_{options.subverb}", lease=options.lease)
        columns = ("lease", "deleted") if options.subverb == "revoke" else ("lease", "ttl_ms")
    print_one(options.output, columns, answer)
    return exit_codes.OK


def run_lease_list(options: argparse.Namespace) -> int:
    """`lease list`."""
    leases = open_link(options).read("lease_list")["leases"]
    print_rows(options.output, ("lease",), [{"lease": lease} for lease in leases])
    return exit_codes.OK
