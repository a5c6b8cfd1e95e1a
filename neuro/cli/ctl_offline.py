"""`neurocache ctl` verbs for the directory of a stopped member: log, rescue, restore.

Owns their words and output. Never talks to a member: the directory's lock keeps a running one out.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neuro.cli import exit_codes
from neuro.cli.ctl_words import Verbs, whole_number
from neuro.cli.rows import escape, print_one, print_rows
from neuro.cluster.client_errors import ClientError, InvalidRequest
from neuro.errors import NeuroCacheError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from neuro.cluster.disk import RealDisk

DUMPED: Final = ("file", "offset", "kind", "index", "term", "size_bytes", "preview")
VERIFIED: Final = (
    "cluster_id", "node", "first_index", "last_index", "segment_count", "torn_bytes",
    "snapshot_index", "snapshot_bytes",
)  # fmt: skip
_CLUSTER_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}", re.ASCII)


def add_verbs(verbs: Verbs, snapshot: Verbs) -> None:
    """Adds the verbs to the command line; `restore` stands beside the other `snapshot` verbs."""
    wal = verbs.add_group("wal", "read the log of a stopped member")
    wal.add("dump", run_dump, "every record in order").add_argument("directory", type=Path)
    check = wal.add("verify", run_verify, "read every byte of log and snapshot")
    check.add_argument("directory", type=Path)
    cluster = verbs.add_group("cluster", "rescue a cluster that has lost its majority")
    force = cluster.add(
        "force-new",
        run_force_new,
        "UNSAFE: make a stopped member the only one of a new cluster",
        epilog="What only the lost members held is gone, and they can never come back.\n"
        "Without --yes nothing is changed.",
    )
    force.add_argument("directory", type=Path)
    force.add_argument("--cluster-id", required=True, help="of the new cluster")
    force.add_argument("--address", default="", help="where peers reach the member")
    force.add_argument("--yes", action="store_true", help="do it")
    restore = snapshot.add("restore", run_restore, "begin a new cluster from a saved snapshot")
    restore.add_argument("file", type=Path)
    restore.add_argument("directory", type=Path, help="empty, for the only member")
    restore.add_argument("--cluster-id", required=True, help="of the new cluster")
    restore.add_argument("--node", type=whole_number, required=True, metavar="ID")
    restore.add_argument("--address", default="", help="where peers reach the member")


def _open_disk(directory: Path, *, must_exist: bool = True) -> RealDisk:
    from neuro.cluster.disk import RealDisk  # noqa: PLC0415 (what only these verbs need)

    if must_exist and not directory.is_dir():
        raise ClientError(f"`{directory}` is no directory")
    try:
        return RealDisk(directory)
    except OSError as error:
        reason = error.strerror or error
        raise ClientError(f"`{directory}` can not be opened, or is in use: {reason}") from error


def run_dump(options: argparse.Namespace) -> int:
    """`wal dump DIRECTORY`."""
    from neuro.cluster.offline import dump  # noqa: PLC0415 (loads the native library)

    def rows(disk: RealDisk) -> Iterator[dict[str, Any]]:
        for line in dump(disk):
            row = {name: getattr(line, name) for name in DUMPED}
            yield {**row, "preview": escape(line.preview)}

    with closing(_open_disk(options.directory)) as disk:
        print_rows(options.output, DUMPED, rows(disk))
    return exit_codes.OK


def run_verify(options: argparse.Namespace) -> int:
    """`wal verify DIRECTORY`; exit code 1 and the place of the damage if there is any."""
    from neuro.cluster.offline import verify  # noqa: PLC0415 (loads the native library)

    with closing(_open_disk(options.directory)) as disk:
        found = verify(disk)
    print_one(options.output, VERIFIED, {name: getattr(found, name) for name in VERIFIED})
    return exit_codes.OK


def run_force_new(options: argparse.Namespace) -> int:
    """`cluster force-new DIRECTORY --cluster-id ID --yes`."""
    from neuro.cluster.offline import force_new  # noqa: PLC0415 (loads the native library)

    cluster_id = _check_cluster_id(options.cluster_id)
    if not options.yes:
        raise InvalidRequest("this gives up what only other members hold; add `--yes` to do it")
    with closing(_open_disk(options.directory)) as disk:
        configuration = force_new(disk, cluster_id, options.address)
    row = {"cluster_id": cluster_id, "node": configuration.voters[0]}
    print_one(options.output, ("cluster_id", "node"), row)
    return exit_codes.OK


def run_restore(options: argparse.Namespace) -> int:
    """`snapshot restore FILE DIRECTORY --cluster-id ID --node N`."""
    from neuro.cluster.offline import restore  # noqa: PLC0415 (loads the native library)

    cluster_id = _check_cluster_id(options.cluster_id)
    if options.node == 0:
        raise InvalidRequest("a member's id is 1 or more")
    try:
        with closing(_open_disk(options.directory, must_exist=False)) as disk:
            index = restore(disk, options.file, cluster_id, options.node, options.address)
    except OSError as error:
        raise NeuroCacheError(f"`{options.file}` can not be restored: {error}") from error
    print_one(options.output, ("index",), {"index": index, "node": options.node})
    return exit_codes.OK


def _check_cluster_id(text: str) -> str:
    if _CLUSTER_ID.fullmatch(text) is None:
        raise InvalidRequest("a cluster id is 1 to 64 letters, digits, `.`, `_` and `-`")
    return text
