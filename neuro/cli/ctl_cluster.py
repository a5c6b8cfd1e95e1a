"""`neurocache ctl` verbs of the cluster: members, snapshots, alarms, the certificate authority.

Owns their words and output. Never changes anything but through a member, save for `ca`, which works
on files alone.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neuro.cli import exit_codes
from neuro.cli.ctl_words import Verbs, open_link, whole_number
from neuro.cli.rows import print_one, print_rows
from neuro.cli.store_link import StoreLink
from neuro.cluster.client_errors import ClientError

if TYPE_CHECKING:
    import argparse

MEMBER: Final = ("node", "role", "leader", "raft_address", "client_address")
STATUS: Final = (
    "endpoint", "node", "role", "term", "leader", "commit_index", "applied_index", "revision",
    "keys", "alarms",
)  # fmt: skip


def add_verbs(verbs: Verbs) -> Verbs:
    """Adds the verbs to the command line; the group `snapshot`, for one verb more."""
    members = verbs.add_group("members", "list, add, remove, promote, replace members")
    members.add("list", run_members, "who belongs to the cluster")
    add = members.add("add", run_add, "add a member: a learner that votes once it has caught up")
    add.add_argument("node", type=whole_number)
    add.add_argument("raft_address", metavar="RAFT-ADDRESS")
    add.add_argument("client_address", metavar="CLIENT-ADDRESS", nargs="?", default="")
    kinds = add.add_mutually_exclusive_group()
    kinds.add_argument("--learner", action="store_true", help="it never votes by itself")
    kinds.add_argument("--witness", action="store_true", help="it votes and keeps no data")
    remove = members.add("remove", run_remove, "remove a member; its id never comes back")
    remove.add_argument("node", type=whole_number)
    promote = members.add("promote", run_promote, "make a learner a voter")
    promote.add_argument("node", type=whole_number)
    replace = members.add("replace", run_replace, "put a new member in an old one's place")
    replace.add_argument("old", type=whole_number)
    replace.add_argument("node", metavar="new", type=whole_number)
    replace.add_argument("raft_address", metavar="RAFT-ADDRESS")
    replace.add_argument("client_address", metavar="CLIENT-ADDRESS", nargs="?", default="")
    transfer = members.add("transfer", run_transfer, "hand leadership to a member")
    transfer.add_argument("node", type=whole_number)
    snapshot = verbs.add_group("snapshot", "store the state, here or on the members")
    snapshot.add("take", run_take, "store a snapshot on the member, and shorten its log")
    save = snapshot.add("save", run_save, "copy the member's state into a file, `-` for stdout")
    save.add_argument("file")
    verbs.add("alarm", run_alarm, "what is wrong with members; exit code 5 if anything is")
    authority = verbs.add_group("ca", "the cluster's own certificate authority, in files")
    authority.add("init", run_ca_init, "make it").add_argument("directory", type=Path)
    issue = authority.add("issue", run_ca_issue, "issue a certificate for a node or a client")
    issue.add_argument("directory", type=Path)
    names = issue.add_mutually_exclusive_group(required=True)
    names.add_argument("--node", type=whole_number, metavar="ID")
    names.add_argument("--client", metavar="NAME")
    issue.add_argument("--host", action="append", default=[], help="where clients reach the node")
    issue.add_argument("--out", type=Path, help="directory (default: beside the authority)")
    return snapshot


def run_status(options: argparse.Namespace) -> int:
    """`status --endpoints ...`: each endpoint for itself; exit code 4 if one does not answer."""
    rows: list[dict[str, Any]] = []
    failure: ClientError | None = None
    for endpoint in options.endpoints:
        one = open_link(options).at(endpoint)
        try:
            answer = one.read("status")
        except ClientError as error:
            failure = error
            rows.append({"endpoint": str(endpoint), "role": error.remote_code or error.code})
            continue
        answer["alarms"] = ",".join(f"{item['node']}:{item['kind']}" for item in answer["alarms"])
        rows.append({"endpoint": str(endpoint), **answer})
    print_rows(options.output, STATUS, rows)
    return exit_codes.OK if failure is None else exit_codes.UNREACHABLE


def run_health(options: argparse.Namespace) -> int:
    """`health --endpoints ...`: which can serve a linearizable read; exit code 5 if not all."""
    rows: list[dict[str, Any]] = []
    is_all_well = True
    for endpoint in options.endpoints:
        link = open_link(options).at(endpoint)
        row: dict[str, Any] = {"endpoint": str(endpoint), "healthy": True, "why": ""}
        try:
            link.write("health")
        except ClientError as error:
            row.update(healthy=False, why=error.message)
            is_all_well = False
        rows.append(row)
    print_rows(options.output, ("endpoint", "healthy", "why"), rows)
    return exit_codes.OK if is_all_well else exit_codes.UNHEALTHY


def run_members(options: argparse.Namespace) -> int:
    """`members list`."""
    print_rows(options.output, MEMBER, open_link(options).read("members")["members"])
    return exit_codes.OK


def _change(options: argparse.Namespace, *changes: dict[str, Any]) -> int:
    answer = open_link(options).write("member_change", changes=list(changes))
    print_rows(options.output, MEMBER, answer["members"])
    return exit_codes.OK


def _joining(options: argparse.Namespace) -> dict[str, Any]:
    address = f"{options.raft_address} {options.client_address}".rstrip()
    return {"kind": "add_learner", "node": options.node, "promote": True, "address": address}


def run_add(options: argparse.Namespace) -> int:
    """`members add`."""
    change = _joining(options)
    if options.learner:
        change["promote"] = False
    if options.witness:
        change.update(kind="add_witness", promote=False)
    return _change(options, change)


def run_remove(options: argparse.Namespace) -> int:
    """`members remove`."""
    return _change(options, {"kind": "remove", "node": options.node})


def run_promote(options: argparse.Namespace) -> int:
    """`members promote`."""
    return _change(options, {"kind": "add_voter", "node": options.node})


def run_replace(options: argparse.Namespace) -> int:
    """`members replace`: one joint change, so that there is never one voter less."""
    joining = {**_joining(options), "kind": "add_voter", "promote": False}
    return _change(options, joining, {"kind": "remove", "node": options.old})


def run_transfer(options: argparse.Namespace) -> int:
    """`members transfer`."""
    answer = open_link(options).write("transfer", target=options.node)
    print_one(options.output, ("leader",), answer)
    return exit_codes.OK


def run_take(options: argparse.Namespace) -> int:
    """`snapshot take`."""
    answer = open_link(options).write("snapshot_take")
    print_one(options.output, ("index", "term", "size_bytes"), answer)
    return exit_codes.OK


def run_save(options: argparse.Namespace) -> int:
    """`snapshot save FILE`: the file is there when it is whole, and not before."""
    link = open_link(options)
    if options.file == "-":
        sys.stdout.flush()
        _save(link, sys.stdout.buffer)
        return exit_codes.OK
    partial = Path(f"{options.file}.partial")
    try:
        with partial.open("wb") as file:
            size_bytes = _save(link, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(options.file)
    except OSError as error:
        raise ClientError(f"`{options.file}` can not be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    print_one(options.output, ("size_bytes",), {"size_bytes": size_bytes, "file": options.file})
    return exit_codes.OK


def _save(link: StoreLink, file: Any) -> int:
    size_bytes = 0
    for event in link.stream("snapshot_save"):
        if event.get("event") == "end":
            return size_bytes
        data = base64.b64decode(event.get("data_b64", "")) or event.get("data", "").encode()
        size_bytes += len(data)
        file.write(data)
    raise ClientError("the snapshot was cut short")


def run_alarm(options: argparse.Namespace) -> int:
    """`alarm`."""
    alarms = open_link(options).read("alarms")["alarms"]
    print_rows(options.output, ("node", "kind"), alarms)
    return exit_codes.UNHEALTHY if alarms else exit_codes.OK


def run_ca_init(options: argparse.Namespace) -> int:
    """`ca init DIRECTORY`."""
    from neuro.cluster.ca import init_authority  # noqa: PLC0415 (loads cryptography)

    print_one(options.output, ("ca",), {"ca": str(init_authority(options.directory))})
    return exit_codes.OK


def run_ca_issue(options: argparse.Namespace) -> int:
    """`ca issue DIRECTORY --node ID|--client NAME`."""
    from neuro.cluster.ca import issue_client, issue_node  # noqa: PLC0415 (loads cryptography)

    if options.client is not None:
        files = issue_client(options.directory, options.client, out=options.out)
    else:
        hosts = options.host
        files = issue_node(options.directory, options.node, hosts=hosts, out=options.out)
    row = {"ca": str(files.ca), "certificate": str(files.certificate), "key": str(files.key)}
    print_one(options.output, ("ca", "certificate", "key"), row)
    return exit_codes.OK
