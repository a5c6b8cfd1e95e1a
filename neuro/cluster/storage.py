"""Everything durable of one member: identity, log and snapshots, opened and written as one.

Owns the order between the three at start and at each commit. Never runs on the event loop:
every method blocks. A commit makes a row of Readies durable with one write and one sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from neuro.cluster.disk import Disk
from neuro.cluster.identity import (
    Identity,
    IdentityError,
    load_identity,
    new_identity,
    save_identity,
)
from neuro.cluster.peers import SnapshotOffer
from neuro.cluster.snapshots import SnapshotStore
from neuro.cluster.wal import SEGMENT_BYTES, Wal
from neuro.cluster.wal_format import Base, Record, Reset
from neuro.cluster.wal_recovery import Recovered, segment_sequences
from neuro.raft import (
    EMPTY_BASE,
    Configuration,
    Entry,
    HardState,
    NodeId,
    SnapshotMeta,
    found_group,
)


@dataclass(frozen=True, slots=True)
class Founding:
    """How an empty directory begins.

    `founders` is the configuration all founders agree on; None joins a running group.
    `empty_state` gives the chunks of the empty state machine.
    """

    cluster_id: str
    node: NodeId
    founders: Configuration | None
    empty_state: Callable[[], Iterable[bytes]]


@dataclass(slots=True)
class Opened:
    """What a member starts from."""

    base: SnapshotMeta
    entries: Sequence[Entry]
    hard_state: HardState
    torn_bytes: int


class Storage:
    """One member's disk; see the module. `wal` calls belong to one thread."""

    def __init__(self, disk: Disk, identity: Identity, wal: Wal, snapshots: SnapshotStore) -> None:
        self.disk = disk
        self.identity = identity
        self.wal = wal
        self.snapshots = snapshots

    @classmethod
    def open(
        cls, disk: Disk, founding: Founding, segment_bytes: int = SEGMENT_BYTES
    ) -> tuple[Storage, Opened]:
        """Opens a member's directory, founding it where it is empty.

        Raises:
            IdentityError: it belongs to another member or group.
            WalCorrupt, SnapshotCorrupt: damaged, with file and offset; nothing was changed.
            OSError, DiskFull: the disk failed.
        """
        identity = load_identity(disk)
        if identity is None or not identity.is_complete:
            if identity is None and segment_sequences(disk):
                raise IdentityError("there is a log, but no `identity.json` beside it")
            identity = _found(disk, founding, segment_bytes)
        if (identity.cluster_id, identity.node) != (founding.cluster_id, founding.node):
            raise IdentityError(
                f"the data directory belongs to node {identity.node} of cluster "
                f"`{identity.cluster_id}`, not to node {founding.node} of `{founding.cluster_id}`"
            )
        wal, found = Wal.open(disk, segment_bytes)
        if found.disk_id != identity.disk_id:
            raise IdentityError("the log and `identity.json` are of different disks")
        snapshots = SnapshotStore(disk)
        storage = cls(disk, identity.started(), wal, snapshots)
        save_identity(disk, storage.identity)
        return storage, storage._reconcile(found)

    def commit(self, records: list[Record], installs: Sequence[SnapshotOffer] = ()) -> None:
        """Makes records durable with one sync, and frees the segments they make needless.

        Args:
            installs: verified incoming snapshots that the records reset the log to; each
                gets its name before the log says that it begins there.

        Raises:
            DiskFull: the log has nothing of it; may be tried again.
            OSError: the member is over.
        """
        for offer in installs:
            latest = self.snapshots.latest
            if latest is None or latest.meta != offer.message.snapshot:
                self.snapshots.install(offer)
        if records:
            self.wal.commit(records)
            if any(isinstance(record, (Base, Reset)) for record in records):
                self.wal.remove_unneeded()

    def allow_votes(self, floor: int) -> None:
        """The member may vote in terms above `floor` from now on; durable on return.

        Raises:
            OSError: the member is over.
        """
        identity = replace(self.identity, is_voteless=False, vote_floor=floor)
        save_identity(self.disk, identity)
        self.identity = identity

    def close(self) -> None:
        """Lets go of files and directory."""
        self.wal.close()
        self.snapshots.close()
        self.disk.close()

    def _reconcile(self, found: Recovered) -> Opened:
        """Ends what a crash interrupted between a snapshot and the log's reset to it."""
        latest = self.snapshots.latest
        opened = Opened(found.base, found.entries, found.hard_state, found.torn_bytes)
        if latest is None:
            if found.base.index:
                raise IdentityError(
                    f"the snapshot that the log begins with is missing: {found.base.index}"
                )
            return opened
        if _term_at(found, latest.meta.index) != latest.meta.term:
            if latest.meta.index <= found.base.index:
                raise IdentityError("the snapshot is older than the log's beginning")
            self.wal.commit([Reset(latest.meta)])
            self.wal.remove_unneeded()
            opened.base, opened.entries = latest.meta, []
        return opened


def _term_at(found: Recovered, index: int) -> int | None:
    if index == found.base.index:
        return found.base.term
    position = index - found.base.index - 1
    return found.entries[position].term if 0 <= position < len(found.entries) else None


def _found(disk: Disk, founding: Founding, segment_bytes: int) -> Identity:
    """Fills an empty directory; whatever an interrupted attempt left is made anew."""
    founders = founding.founders
    is_voteless = founders is None or founders.voters != (founding.node,)
    identity = new_identity(founding.cluster_id, founding.node, is_voteless=is_voteless)
    save_identity(disk, identity)
    for name in disk.names():
        if name.startswith(("wal-", "snapshot-", "incoming-")):
            disk.remove(name)
    disk.sync_directory()
    base = EMPTY_BASE
    if founders is not None:
        base = found_group(founders)
        SnapshotStore(disk).write(base, {}, founding.empty_state())
    Wal.create(disk, identity.disk_id, base, segment_bytes).close()
    identity = replace(identity, is_complete=True)
    save_identity(disk, identity)
    return identity
