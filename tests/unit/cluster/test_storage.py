"""A member's directory: founding, restarts, foreign and damaged directories, offline tools."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from neuro.cluster import offline
from neuro.cluster.disk import RealDisk
from neuro.cluster.identity import IdentityError, load_identity
from neuro.cluster.snapshot_format import SnapshotCorrupt
from neuro.cluster.snapshots import SnapshotStore
from neuro.cluster.storage import Founding, Opened, Storage
from neuro.cluster.wal_format import Base, Reset, WalCorrupt
from neuro.cluster.wal_recovery import segment_name
from neuro.raft import (
    EMPTY_BASE,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    SnapshotMeta,
    found_group,
)
from tests.unit.cluster.fault_disk import FaultDisk

FOUNDERS = Configuration(voters=(1, 2, 3), addresses=((1, "a"), (2, "b"), (3, "c")))
SMALL_BYTES = 8192


def founding(node: int = 1, founders: Configuration | None = FOUNDERS) -> Founding:
    return Founding("cluster", node, founders, lambda: [b"empty"])


def open_storage(disk: FaultDisk, what: Founding | None = None) -> tuple[Storage, Opened]:
    return Storage.open(disk, what or founding(), SMALL_BYTES)


def entry(index: int, data: bytes = b"data") -> Entry:
    return Entry(index, 2, EntryKind.COMMAND, data)


def test_a_founder_begins_with_the_empty_state_and_without_a_vote() -> None:
    storage, opened = open_storage(FaultDisk())
    assert opened.base == found_group(FOUNDERS)
    assert (list(opened.entries), opened.hard_state) == ([], HardState())
    assert storage.snapshots.latest is not None
    assert list(storage.snapshots.read(storage.snapshots.latest)) == [b"empty"]
    assert storage.identity.is_voteless
    assert storage.identity.incarnation == 1


def test_a_member_that_joins_begins_with_nothing() -> None:
    storage, opened = open_storage(FaultDisk(), founding(4, None))
    assert opened.base == EMPTY_BASE
    assert storage.snapshots.latest is None
    assert storage.identity.is_voteless


def test_the_only_founder_may_vote_at_once() -> None:
    storage, _ = open_storage(FaultDisk(), founding(1, Configuration(voters=(1,))))
    assert not storage.identity.is_voteless


def test_a_restart_counts_and_remembers() -> None:
    disk = FaultDisk()
    storage, _ = open_storage(disk)
    storage.commit([entry(2), entry(3), HardState(2, 1, 2)])
    storage.allow_votes(7)
    disk.lose_power(Random(1))
    again, opened = open_storage(disk)
    assert [each.index for each in opened.entries] == [2, 3]
    assert opened.hard_state == HardState(2, 1, 2)
    assert (again.identity.incarnation, again.identity.is_voteless) == (2, False)
    assert again.identity.vote_floor == 7
    assert again.identity.disk_id == storage.identity.disk_id


@pytest.mark.parametrize(
    "other", [Founding("other", 1, FOUNDERS, list), Founding("cluster", 2, FOUNDERS, list)]
)
def test_a_directory_of_another_member_is_refused(other: Founding) -> None:
    disk = FaultDisk()
    open_storage(disk)
    with pytest.raises(IdentityError, match="belongs to node 1"):
        open_storage(disk, other)


def test_a_log_without_its_identity_is_refused() -> None:
    disk = FaultDisk()
    open_storage(disk)
    disk.remove("identity.json")
    with pytest.raises(IdentityError, match="no `identity.json`"):
        open_storage(disk)


def test_any_flipped_bit_of_the_identity_is_refused_or_means_nothing() -> None:
    disk = FaultDisk()
    open_storage(disk)
    good = load_identity(disk)
    content = disk.content("identity.json")
    refused = 0
    for offset in range(len(content)):
        for bit in range(8):
            content[offset] ^= 1 << bit
            try:
                assert load_identity(disk) == good
            except IdentityError:
                refused += 1
            content[offset] ^= 1 << bit
    assert refused > 7 * len(content)


def test_a_damaged_log_is_refused_at_start_and_the_directory_left_alone() -> None:
    disk = FaultDisk()
    storage, _ = open_storage(disk)
    storage.commit([entry(2), HardState(2, 1, 1)])
    storage.commit([entry(3)])
    disk.content(segment_name(1))[100] ^= 1
    names = disk.names()
    with pytest.raises(WalCorrupt):
        open_storage(disk)
    assert disk.names() == names


def test_a_crash_between_snapshot_and_reset_is_ended_at_the_next_start() -> None:
    disk = FaultDisk()
    storage, _ = open_storage(disk)
    storage.commit([entry(2), entry(3), HardState(2, 1, 2)])
    arrived = SnapshotMeta(50, 4, FOUNDERS)
    storage.snapshots.write(arrived, {}, [b"state"])
    _, opened = open_storage(disk)
    assert (opened.base, list(opened.entries)) == (arrived, [])
    _, again = open_storage(disk)
    assert again.base == arrived


def test_every_failing_operation_while_founding_can_be_repeated() -> None:
    failing = 0
    while True:
        failing += 1
        disk = FaultDisk()
        disk.fail_at = failing
        try:
            open_storage(disk)
        except OSError:
            pass
        reached = disk.operation_count
        disk.lose_power(Random(failing))
        _, opened = open_storage(disk)
        assert opened.base == found_group(FOUNDERS)
        if reached < failing:
            break
    assert failing > 20


def test_compaction_frees_segments_and_keeps_what_follows() -> None:
    disk = FaultDisk()
    storage, _ = open_storage(disk)
    for index in range(2, 80):
        storage.commit([entry(index, b"x" * 1000)])
    before = storage.wal.status().segment_count
    snapshot = SnapshotMeta(70, 2, FOUNDERS)
    storage.snapshots.write(snapshot, {}, [b"state"])
    storage.commit([Base(SnapshotMeta(60, 2, FOUNDERS))])
    assert storage.wal.status().segment_count < before - 5
    _, opened = open_storage(disk)
    assert opened.base.index == 60
    assert [each.index for each in opened.entries] == list(range(61, 80))


# -- offline tools


def used_disk() -> FaultDisk:
    disk = FaultDisk()
    storage, _ = open_storage(disk)
    storage.commit([entry(2), entry(3), HardState(2, 1, 3)])
    storage.commit([Reset(SnapshotMeta(3, 2, FOUNDERS)), entry(4)])
    storage.snapshots.write(SnapshotMeta(3, 2, FOUNDERS), {}, [b"state"])
    return disk


def test_dump_tells_every_record() -> None:
    lines = list(offline.dump(used_disk()))
    assert [line.kind for line in lines] == [
        "segment",
        "command",
        "command",
        "hard_state",
        "reset",
        "command",
    ]
    assert (lines[1].index, lines[1].term, lines[1].preview) == (2, 2, b"data")


def test_verify_reads_everything_and_finds_damage_in_any_file() -> None:
    disk = used_disk()
    report = offline.verify(disk)
    assert (report.first_index, report.last_index, report.snapshot_index) == (4, 4, 3)
    assert report.snapshot_bytes == 5
    for name in disk.names():
        content = disk.content(name)
        middle = len(content.rstrip(b"\0")) // 2
        content[middle] ^= 1
        with pytest.raises((WalCorrupt, SnapshotCorrupt, IdentityError)):
            offline.verify(disk)
        content[middle] ^= 1
    with pytest.raises(offline.NotUsable):
        offline.verify(FaultDisk())


def test_force_new_leaves_one_voter_and_removes_the_others_for_ever() -> None:
    disk = used_disk()
    configuration = offline.force_new(disk, "rescued")
    assert configuration.voters == (1,)
    assert configuration.removed == (2, 3)
    with pytest.raises(IdentityError):
        open_storage(disk)
    rescued = Founding("rescued", 1, FOUNDERS, list)
    storage, opened = open_storage(disk, rescued)
    assert [each.index for each in opened.entries] == [4, 5]
    assert Configuration.from_bytes(opened.entries[-1].data) == configuration
    assert opened.hard_state == HardState(3, 1, 5)
    assert not storage.identity.is_voteless
    with pytest.raises(offline.NotUsable, match="cluster id"):
        offline.force_new(disk, "rescued")


def test_a_backup_begins_a_new_group(tmp_path: Path) -> None:
    source = used_disk()
    store = SnapshotStore(source)
    assert store.latest is not None
    backup = tmp_path / "backup"
    backup.write_bytes(b"".join(store.read_file(store.latest)))
    disk = RealDisk(tmp_path / "data")
    assert offline.restore(disk, backup, "restored", 7, "host:1") == 3
    with pytest.raises(offline.NotUsable):
        offline.restore(disk, backup, "restored", 7)
    storage, opened = Storage.open(disk, Founding("restored", 7, None, list))
    assert opened.base.configuration.voters == (7,)
    assert opened.base.configuration.removed == (1, 2, 3)
    assert storage.snapshots.latest is not None
    assert b"".join(storage.snapshots.read(storage.snapshots.latest)) == b"state"
    storage.close()


def test_a_damaged_backup_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    store = SnapshotStore(used_disk())
    assert store.latest is not None
    content = bytearray(b"".join(store.read_file(store.latest)))
    content[-30] ^= 1
    backup = tmp_path / "backup"
    backup.write_bytes(content)
    disk = FaultDisk()
    with pytest.raises(SnapshotCorrupt):
        offline.restore(disk, backup, "restored", 7)
    assert disk.names() == []
