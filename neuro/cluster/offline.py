"""What operators do to a data directory while its member is stopped.

Owns reading a log for people, checking every byte, rescuing a group that lost its majority,
and beginning a group from a backup. Never runs beside a member: the directory's lock sees to
that. `force_new` and `restore` change who the members are without asking them; both draw a new
cluster id, so that old members can not talk to the new group.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from neuro.cluster.disk import Disk
from neuro.cluster.identity import (
    IdentityError,
    load_identity,
    new_identity,
    save_identity,
)
from neuro.cluster.snapshot_format import SnapshotReader
from neuro.cluster.snapshots import SnapshotStore
from neuro.cluster.wal import Wal
from neuro.cluster.wal_format import Base, Record, Reset, SegmentHead
from neuro.cluster.wal_recovery import Recovered, recover, segment_sequences, walk
from neuro.errors import NeuroCacheError
from neuro.raft import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    LogIndex,
    NodeId,
    SnapshotMeta,
    Term,
)

PREVIEW_BYTES = 64


class NotUsable(NeuroCacheError):
    """The directory does not hold what the operation needs."""

    code = "directory_unusable"


@dataclass(frozen=True, slots=True)
class DumpLine:
    """One record of the log, for people; `preview` begins the data of an entry."""

    file: str
    offset: int
    kind: str
    index: LogIndex
    term: Term
    size_bytes: int
    preview: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of all files found; it raises when anything is wrong."""

    cluster_id: str
    node: NodeId
    segment_count: int
    first_index: LogIndex
    last_index: LogIndex
    hard_state: HardState
    torn_bytes: int
    snapshot_index: LogIndex
    snapshot_bytes: int


def dump(disk: Disk) -> Iterator[DumpLine]:
    """Every record of the log in order.

    Raises:
        WalCorrupt: at the damage, after everything before it.
    """
    found = Recovered()
    for segment, batch in walk(disk, found):
        for record in batch.records:
            yield _describe(segment.name, batch.offset, record)


def verify(disk: Disk) -> Verified:
    """Reads every byte of identity, log and snapshot.

    Raises:
        IdentityError, WalCorrupt, SnapshotCorrupt: the first damage, with file and offset.
        NotUsable: there is no member here.
    """
    identity = load_identity(disk)
    if identity is None:
        raise NotUsable("the directory belongs to no member")
    found = recover(disk)
    if found.disk_id != identity.disk_id:
        raise IdentityError("the log and `identity.json` are of different disks")
    snapshots = SnapshotStore(disk)
    latest = snapshots.latest
    raw_bytes = sum(len(chunk) for chunk in snapshots.read(latest)) if latest else 0
    return Verified(
        cluster_id=identity.cluster_id,
        node=identity.node,
        segment_count=len(found.segments),
        first_index=found.base.index + 1,
        last_index=found.entries[-1].index if found.entries else found.base.index,
        hard_state=found.hard_state,
        torn_bytes=found.torn_bytes,
        snapshot_index=latest.meta.index if latest else 0,
        snapshot_bytes=raw_bytes,
    )


def force_new(disk: Disk, cluster_id: str, address: str = "") -> Configuration:
    """Makes the stopped member the only one of a new group that holds its whole log.

    For a group whose majority is lost for good. Entries that were never committed become
    committed; acknowledged ones that only the lost members held are gone. Every other member
    is removed for ever: start them with empty directories and new ids.

    Args:
        cluster_id: must differ from the old one, so that old members stay out.

    Raises:
        NotUsable: the directory holds no whole member, or the cluster id is the old one.
        WalCorrupt, OSError: nothing was changed, or the operation may be repeated.
    """
    identity = load_identity(disk)
    if identity is None or not identity.is_complete:
        raise NotUsable("the directory belongs to no member")
    if cluster_id == identity.cluster_id:
        raise NotUsable("the new group needs a cluster id of its own")
    wal, found = Wal.open(disk)
    with closing(wal):
        old = _configuration_of(found)
        if any(entry.kind is EntryKind.WITHHELD for entry in found.entries):
            raise NotUsable("a witness keeps no data")
        others = {*old.members(), *old.learners_next, *old.removed} - {identity.node}
        addresses = address or dict(old.addresses).get(identity.node, "")
        configuration = Configuration(
            voters=(identity.node,),
            removed=tuple(sorted(others)),
            addresses=((identity.node, addresses),) if addresses else (),
        )
        last, last_term = found.base.index, found.base.term
        if found.entries:
            last, last_term = found.entries[-1].index, found.entries[-1].term
        term = max(found.hard_state.term, last_term) + 1
        entry = Entry(last + 1, term, EntryKind.CONFIGURATION, configuration.to_bytes())
        # The new id first: with the old one, a crash here could leave two groups that mix.
        save_identity(
            disk, replace(identity, cluster_id=cluster_id, is_voteless=False, vote_floor=term)
        )
        wal.commit([entry, HardState(term, identity.node, last + 1)])
    return configuration


def restore(disk: Disk, backup: Path, cluster_id: str, node: NodeId, address: str = "") -> LogIndex:
    """Begins a group of one member from a snapshot file; returns the index it stands at.

    Raises:
        NotUsable: the directory is not empty.
        SnapshotCorrupt: the file is damaged; the directory is still empty.
        OSError, DiskFull: the disk failed; empty the directory and try again.
    """
    if load_identity(disk) is not None or segment_sequences(disk):
        raise NotUsable("the directory is not empty")
    with backup.open("rb") as file:

        def read(offset: int, size_bytes: int) -> bytes:
            file.seek(offset)
            return file.read(size_bytes)

        checked = SnapshotReader(str(backup), read)
        head = checked.read_head()
        for _ in checked.read_chunks():
            pass
        old = head.meta.configuration
        others = {*old.members(), *old.learners_next, *old.removed} - {node}
        configuration = Configuration(
            voters=(node,),
            removed=tuple(sorted(others)),
            addresses=((node, address),) if address else (),
        )
        meta = SnapshotMeta(head.meta.index, head.meta.term, configuration)
        identity = new_identity(cluster_id, node, is_voteless=False)
        save_identity(disk, identity)
        again = SnapshotReader(str(backup), read)
        again.read_head()
        SnapshotStore(disk).write(meta, {}, again.read_chunks())
    Wal.create(disk, identity.disk_id, meta).close()
    save_identity(disk, replace(identity, is_complete=True))
    return meta.index


def _configuration_of(found: Recovered) -> Configuration:
    for entry in reversed(found.entries):
        if entry.kind is EntryKind.CONFIGURATION:
            return Configuration.from_bytes(entry.data)
    return found.base.configuration


def _describe(file: str, offset: int, record: Record) -> DumpLine:
    if isinstance(record, Entry):
        kind = record.kind.name.lower()
        data = record.data
        return DumpLine(
            file, offset, kind, record.index, record.term, len(data), data[:PREVIEW_BYTES]
        )
    if isinstance(record, HardState):
        preview = f"vote={record.vote} commit={record.commit}".encode()
        return DumpLine(file, offset, "hard_state", record.commit, record.term, 0, preview)
    kinds = {Base: "base", Reset: "reset", SegmentHead: "segment"}
    meta = record.base
    preview = f"voters={list(meta.configuration.voters)}".encode()
    return DumpLine(file, offset, kinds[type(record)], meta.index, meta.term, 0, preview)
