"""Who this data directory belongs to, and whether its member may vote.

Owns the identity file. Never decides when a member may vote: that is `ballot`. `disk_id` is
drawn when the directory is first used: a member that comes back with another one has lost
its promises. `incarnation` counts the starts.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Final

from neuro.cluster.disk import Disk, replace_file
from neuro.errors import NeuroCacheError
from neuro.native import crc32c
from neuro.raft import NodeId, Term

NAME: Final = "identity.json"


class IdentityError(NeuroCacheError):
    """The identity file is damaged, missing beside a log, or names another member."""

    code = "identity_wrong"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a member knows about itself before it reads its log.

    `is_complete` is false until the directory holds a log. While `is_voteless`, the member
    may have forgotten votes and entries; votes of `vote_floor` and below are never given.
    """

    cluster_id: str
    node: NodeId
    disk_id: str
    incarnation: int
    is_complete: bool
    is_voteless: bool
    vote_floor: Term

    def started(self) -> Identity:
        """The same, one start later."""
        return replace(self, incarnation=self.incarnation + 1)


def new_identity(cluster_id: str, node: NodeId, *, is_voteless: bool) -> Identity:
    """The identity of an empty directory."""
    return Identity(cluster_id, node, secrets.token_hex(8), 0, False, is_voteless, 0)


def save_identity(disk: Disk, identity: Identity) -> None:
    """Makes it durable.

    Raises:
        OSError: the old one, or this one, is what a restart will find.
    """
    body = json.dumps(asdict(identity), sort_keys=True)
    text = json.dumps({"crc32c": crc32c(body.encode()), "identity": body}, indent=1)
    replace_file(disk, NAME, text.encode())


def load_identity(disk: Disk) -> Identity | None:
    """The identity of the directory, None when it has none.

    Raises:
        IdentityError: the file is damaged.
    """
    if NAME not in disk.names():
        return None
    file = disk.open(NAME)
    try:
        content = file.read(0, file.size_bytes)
    finally:
        file.close()
    try:
        outer = json.loads(content)
        body = outer["identity"]
        if crc32c(body.encode()) != outer["crc32c"]:
            raise ValueError("the checksum differs")
        return Identity(**json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IdentityError(f"`{NAME}` is damaged ({error})") from error
