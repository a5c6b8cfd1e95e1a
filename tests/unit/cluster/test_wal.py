"""The write-ahead log: replay, tearing, damage, failures at every operation, full disks."""

from __future__ import annotations

from random import Random

import pytest

from neuro.cluster.disk import DiskFull
from neuro.cluster.wal import SPARE_NAME, Wal, WalFailed
from neuro.cluster.wal_format import Base, Record, Reset, WalCorrupt
from neuro.cluster.wal_recovery import Recovered, recover, segment_name, segment_sequences
from neuro.raft import Configuration, Entry, EntryKind, HardState, SnapshotMeta, found_group
from tests.unit.cluster.fault_disk import FaultDisk

BASE = found_group(Configuration(voters=(1, 2, 3)))
SMALL_BYTES = 4096


def entry(index: int, term: int = 2, data: bytes = b"data") -> Entry:
    return Entry(index, term, EntryKind.COMMAND, data)


def meta(index: int, term: int = 2) -> SnapshotMeta:
    return SnapshotMeta(index, term, BASE.configuration)


def new_wal(disk: FaultDisk, segment_bytes: int = SMALL_BYTES) -> Wal:
    return Wal.create(disk, "disk", BASE, segment_bytes)


def reopen(disk: FaultDisk) -> Recovered:
    _, found = Wal.open(disk, SMALL_BYTES)
    return found


def damaged_copy(disk: FaultDisk, name: str, offset: int, flip: int) -> FaultDisk:
    copy = FaultDisk()
    for each in disk.names():
        file = copy.create(each)
        content = bytearray(disk.content(each))
        if each == name:
            content[offset] ^= flip
        file.write(0, content)
    return copy


def test_a_new_log_is_empty_after_its_base() -> None:
    disk = FaultDisk()
    new_wal(disk)
    found = reopen(disk)
    assert (found.base, found.entries, found.hard_state) == (BASE, [], HardState())
    assert found.disk_id == "disk"


def test_everything_committed_is_replayed() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    wal.commit([entry(2), entry(3, 2, b"\0" * 700), HardState(2, 1, 1)])
    wal.commit([Entry(4, 3, EntryKind.NO_OP, b""), HardState(3, 2, 3)])
    found = reopen(disk)
    assert found.entries == [
        entry(2),
        entry(3, 2, b"\0" * 700),
        Entry(4, 3, EntryKind.NO_OP, b""),
    ]
    assert found.hard_state == HardState(3, 2, 3)
    assert found.torn_bytes == 0


def test_an_entry_replaces_everything_from_its_index_on() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    wal.commit([entry(index) for index in range(2, 9)])
    wal.commit([entry(5, 4)])
    assert reopen(disk).entries == [entry(2), entry(3), entry(4), entry(5, 4)]


def test_a_reset_empties_the_log() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    wal.commit([entry(index) for index in range(2, 9)])
    wal.commit([Reset(meta(20)), entry(21), HardState(3, 0, 20)])
    found = reopen(disk)
    assert (found.base, found.entries) == (meta(20), [entry(21)])


def test_the_log_goes_on_over_segments_and_old_ones_are_removed() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    for index in range(2, 102):
        wal.commit([entry(index, 2, b"x" * 300), HardState(2, 1, index)])
    assert len(segment_sequences(disk)) > 5
    assert [each.index for each in reopen(disk).entries] == list(range(2, 102))
    wal.commit([Base(meta(90))])
    removed = wal.remove_unneeded()
    assert removed > 5
    found = reopen(disk)
    assert found.base == meta(90)
    assert [each.index for each in found.entries] == list(range(91, 102))
    assert found.hard_state == HardState(2, 1, 101)


def test_a_spare_segment_is_used_and_never_left_over() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    for index in range(2, 40):
        if wal.needs_spare:
            wal.prepare_spare()
        wal.commit([entry(index, 2, b"x" * 300)])
    assert SPARE_NAME in disk.names()
    assert len(reopen(disk).entries) == 38
    assert SPARE_NAME not in disk.names()


def test_a_batch_larger_than_a_segment_gets_a_segment_of_its_size() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    wal.commit([entry(2, 2, b"big" * 10_000)])
    wal.commit([entry(3)])
    assert [len(each.data) for each in reopen(disk).entries] == [30_000, 4]


def test_a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    wal.commit([entry(2), HardState(2, 1, 1)])
    name = segment_name(1)
    before = bytes(disk.content(name))
    wal.commit([entry(3, 2, b"z" * 600), HardState(2, 1, 2)])
    after = bytes(disk.content(name))
    start = len(before.rstrip(b"\0")) + -len(before.rstrip(b"\0")) % 32
    end = len(after.rstrip(b"\0"))
    assert end - start > 650
    for cut in range(start, end):
        torn = FaultDisk()
        torn.create(name).write(0, after[:cut] + bytes(len(after) - cut))
        again, found = Wal.open(torn, SMALL_BYTES)
        assert found.entries == [entry(2)], cut
        again.commit([entry(3, 5)])
        assert reopen(torn).entries == [entry(2), entry(3, 5)], cut


def test_a_tail_file_shortened_at_any_byte_is_cut() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    wal.commit([entry(2)])
    name = segment_name(1)
    start = len(disk.content(name).rstrip(b"\0"))
    wal.commit([entry(3, 2, b"z" * 100)])
    after = bytes(disk.content(name).rstrip(b"\0"))
    for cut in range(start, len(after)):
        torn = FaultDisk()
        torn.create(name).write(0, after[:cut])
        assert reopen(torn).entries == [entry(2)], cut


def test_any_flipped_bit_of_the_log_is_refused_with_file_and_offset() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    for index in range(2, 5):
        wal.commit([entry(index, 2, b"payload %d" % index), HardState(2, 1, index)])
    name = segment_name(1)
    used = len(disk.content(name).rstrip(b"\0"))
    whole = recover(disk)
    refused = 0
    for offset in range(used):
        for flip in (0x01, 0x80):
            copy = damaged_copy(disk, name, offset, flip)
            try:
                found = recover(copy)
            except WalCorrupt as error:
                assert error.file == name
                assert error.offset <= offset
                refused += 1
            else:
                # Padding between batches is not covered, and means nothing.
                assert disk.content(name)[offset] == 0
                assert found.entries == whole.entries
                assert found.hard_state == whole.hard_state
    assert refused > used


def test_damage_is_refused_in_any_segment_but_never_repaired() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    for index in range(2, 60):
        wal.commit([entry(index, 2, b"x" * 300)])
    for sequence in segment_sequences(disk):
        name = segment_name(sequence)
        copy = damaged_copy(disk, name, 700, 0x10)
        before = bytes(copy.content(name))
        with pytest.raises(WalCorrupt) as caught:
            Wal.open(copy, SMALL_BYTES)
        assert caught.value.file == name
        assert bytes(copy.content(name)) == before


def test_a_missing_segment_is_refused() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    for index in range(2, 60):
        wal.commit([entry(index, 2, b"x" * 300)])
    disk.remove(segment_name(2))
    with pytest.raises(WalCorrupt, match="missing"):
        recover(disk)


def test_a_stale_sector_that_comes_back_is_noticed() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    wal.commit([entry(2, 2, b"a" * 476)])
    name = segment_name(1)
    old = bytes(disk.content(name))
    end = len(old.rstrip(b"\0"))
    wal.commit([entry(3, 2, b"b" * 476)])
    middle = bytes(disk.content(name))
    other = FaultDisk()
    other.create(name).write(0, old)
    twin, _ = Wal.open(other, SMALL_BYTES)
    twin.commit([entry(3, 3, b"c" * 476)])
    twin.commit([entry(4, 3, b"d" * 476)])
    content = other.content(name)
    # The disk gives back the batch that a crash had cut and another one replaced.
    start = end + -end % 32
    stop = len(middle.rstrip(b"\0"))
    content[start:stop] = middle[start:stop]
    with pytest.raises(WalCorrupt):
        recover(other)


def test_a_batch_misplaced_by_the_disk_is_noticed() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    for index in range(2, 6):
        wal.commit([entry(index, 2, b"q" * 50)])
    content = disk.content(segment_name(1))
    batches = [at for at in range(0, 2048, 32) if content[at : at + 4] == content[:4]]
    assert len(batches) == 5
    length = batches[2] - batches[1]
    content[batches[2] : batches[2] + length] = content[batches[1] : batches[1] + length]
    with pytest.raises(WalCorrupt) as caught:
        recover(disk)
    assert caught.value.offset == batches[2]


def script(random: Random, length: int) -> list[list[Record]]:
    """Commits as a follower makes them: appends, conflicts, compactions and installs."""
    batches: list[list[Record]] = []
    term, last, base = 2, 1, 1
    for _ in range(length):
        term += random.randrange(2)
        records: list[Record] = []
        kind = random.randrange(10)
        if kind == 0 and last > base:
            base = random.randrange(base, last) + 1
            records.append(Base(meta(base)))
        elif kind == 1:
            base = last = last + random.randrange(1, 4)
            records.append(Reset(meta(base, term)))
        else:
            first = random.randrange(max(base + 1, last - 1), last + 2)
            count = random.randrange(1, 5)
            size = random.randrange(400)
            records += [entry(first + n, term, bytes([n + 1]) * size) for n in range(count)]
            last = first + count - 1
        records.append(HardState(term, 1, base))
        batches.append(records)
    return batches


def state_of(found: Recovered) -> tuple[object, ...]:
    return found.base, tuple(found.entries), found.hard_state


@pytest.mark.parametrize("seed", range(12))
def test_every_failing_operation_leaves_a_log_that_restarts_with_all_that_was_committed(
    seed: int,
) -> None:
    random = Random(seed)
    batches = script(random, 25)
    failing = 0
    fired = 0
    while True:
        failing += 1
        disk = FaultDisk()
        wal = new_wal(disk, 2048)
        disk.operation_count, disk.fail_at = 0, failing
        states = [state_of(recover(disk))]
        attempted = None
        for records in batches:
            try:
                if wal.needs_spare and random.random() < 0.5:
                    wal.prepare_spare()
                attempted = records
                wal.commit(records)
                states.append(state_of(recover(disk)))
                wal.remove_unneeded()
            except OSError:
                fired += 1
                break
        has_failed = disk.operation_count >= failing
        disk.lose_power(random)
        again, found = Wal.open(disk, 2048)
        if state_of(found) != states[-1]:
            assert attempted is not None
            assert has_failed
            twin = FaultDisk()
            other = new_wal(twin, 2048)
            for records in batches[: len(states)]:
                other.commit(records)
            assert state_of(found) == state_of(recover(twin))
        again.commit([HardState(99, 1, 1)])
        assert recover(disk).hard_state == HardState(99, 1, 1)
        if not has_failed:
            break
    assert fired > 50


def test_after_a_failed_sync_the_log_refuses_everything() -> None:
    disk = FaultDisk()
    wal = new_wal(disk)
    disk.operation_count, disk.fail_at = 0, 2
    with pytest.raises(OSError, match="injected"):
        wal.commit([entry(2)])
    assert disk.counts["failed sync"] == 1
    for _ in range(2):
        with pytest.raises(WalFailed):
            wal.commit([entry(2)])


def test_a_full_disk_changes_nothing_and_the_same_records_may_be_tried_again() -> None:
    disk = FaultDisk(capacity_bytes=3 * SMALL_BYTES)
    wal = new_wal(disk)
    wal.prepare_spare()
    index = 2
    with pytest.raises(DiskFull):
        while True:
            wal.commit([entry(index, 2, b"x" * 300)])
            index += 1
            if wal.needs_spare and disk.free_bytes() >= SMALL_BYTES:
                wal.prepare_spare()
    assert index > 20
    with pytest.raises(DiskFull):
        wal.prepare_spare()
    with pytest.raises(DiskFull):
        wal.commit([entry(index, 2, b"x" * 300)])
    assert [each.index for each in reopen(disk).entries] == list(range(2, index))
    disk.capacity_bytes *= 2
    wal.commit([entry(index, 2, b"x" * 300)])
    assert [each.index for each in reopen(disk).entries] == list(range(2, index + 1))
