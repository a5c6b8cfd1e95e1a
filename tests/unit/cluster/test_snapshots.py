"""Snapshot files: round trips, damage at any byte, failures at every operation, resumption."""

from __future__ import annotations

from random import Random

import pytest

from neuro.cluster.disk import DiskFull
from neuro.cluster.peers import SnapshotOffer
from neuro.cluster.snapshot_format import CHUNK_BYTES_MAX, SnapshotCorrupt
from neuro.cluster.snapshots import SnapshotStore, StoredSnapshot
from neuro.raft import Configuration, SnapshotMeta
from neuro.raft.messages import InstallSnapshot
from tests.unit.cluster.fault_disk import FaultDisk

CONTROL: dict[str, object] = {"alarms": [[2, "nospace"]]}


def meta(index: int) -> SnapshotMeta:
    return SnapshotMeta(index, 3, Configuration(voters=(1, 2, 3)))


def state(store: SnapshotStore) -> bytes:
    assert store.latest is not None
    return b"".join(store.read(store.latest))


def offer_of(stored: StoredSnapshot) -> SnapshotOffer:
    message = InstallSnapshot(1, 2, 5, stored.meta, 7)
    return SnapshotOffer(message, stored.size_bytes, stored.head.id)


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK_BYTES_MAX, 2 * CHUNK_BYTES_MAX + 17])
def test_a_snapshot_reads_back_as_it_was(size: int) -> None:
    disk = FaultDisk()
    data = Random(size).randbytes(size)
    chunks = [data[at : at + 70_000] for at in range(0, size, 70_000)]
    SnapshotStore(disk).write(meta(9), CONTROL, chunks)
    again = SnapshotStore(disk)
    assert again.latest is not None
    assert (again.latest.meta, again.latest.head.control) == (meta(9), CONTROL)
    assert state(again) == data


def test_the_newest_snapshot_stays_and_the_older_goes() -> None:
    disk = FaultDisk()
    store = SnapshotStore(disk)
    store.write(meta(5), {}, [b"old"])
    store.write(meta(9), {}, [b"new"])
    assert len(disk.names()) == 1
    assert store.write(meta(7), {}, [b"late"]).meta == meta(9)
    assert state(SnapshotStore(disk)) == b"new"


def test_any_flipped_bit_is_refused() -> None:
    disk = FaultDisk()
    stored = SnapshotStore(disk).write(meta(9), CONTROL, [b"some state " * 20])
    content = disk.content(stored.name)
    for offset in range(len(content)):
        content[offset] ^= 4
        with pytest.raises(SnapshotCorrupt):
            state(SnapshotStore(disk))
        content[offset] ^= 4
    assert state(SnapshotStore(disk)) == b"some state " * 20


def test_a_snapshot_cut_or_grown_anywhere_is_refused() -> None:
    disk = FaultDisk()
    stored = SnapshotStore(disk).write(meta(9), {}, [b"some state " * 20])
    content = disk.content(stored.name)
    whole = bytes(content)
    for cut in range(len(whole)):
        content[:] = whole[:cut]
        with pytest.raises(SnapshotCorrupt):
            state(SnapshotStore(disk))
    content[:] = whole + b"\0"
    with pytest.raises(SnapshotCorrupt):
        state(SnapshotStore(disk))


def test_every_failing_operation_leaves_the_old_snapshot_or_the_new_one() -> None:
    failing = 0
    while True:
        failing += 1
        disk = FaultDisk()
        store = SnapshotStore(disk)
        store.write(meta(5), {}, [b"old" * 400])
        disk.operation_count, disk.fail_at = 0, failing
        try:
            store.write(meta(9), {}, [b"new" * 400])
            is_done = True
        except OSError:
            is_done = False
        reached = disk.operation_count
        disk.lose_power(Random(failing))
        content = state(SnapshotStore(disk))
        assert content == b"new" * 400 or (content == b"old" * 400 and not is_done)
        if reached < failing:
            break
    assert failing > 6


def test_a_full_disk_leaves_nothing_behind() -> None:
    disk = FaultDisk(capacity_bytes=20_000)
    store = SnapshotStore(disk)
    store.write(meta(5), {}, [b"old"])
    before = disk.names()
    with pytest.raises(DiskFull):
        store.write(meta(9), {}, [Random(1).randbytes(50_000)])
    assert disk.names() == before
    assert state(store) == b"old"


def test_parts_may_be_repeated_lost_and_resumed_over_a_restart() -> None:
    source_disk = FaultDisk()
    data = Random(1).randbytes(30_000)
    stored = SnapshotStore(source_disk).write(meta(9), CONTROL, [data])
    offer = offer_of(stored)
    source = SnapshotStore(source_disk).open_source(offer.message)
    assert source is not None
    assert source.offer == offer
    disk = FaultDisk()
    random = Random(2)
    store = SnapshotStore(disk)
    assert store.begin_incoming(offer) == 0
    held = store.write_incoming(offer, 0, source.read(0, 100))
    assert held == 100
    for _ in range(2_000):
        at = random.randrange(offer.size_bytes)
        size = random.randrange(1, 4_000)
        held = store.write_incoming(offer, at, source.read(at, size))
        if random.randrange(50) == 0:
            store = SnapshotStore(disk)
            assert store.begin_incoming(offer) == held
    assert held == offer.size_bytes
    store.verify_incoming(offer)
    store.install(offer)
    disk.lose_power(random)
    assert state(SnapshotStore(disk)) == data
    source.close()
    source.close()


def test_an_incoming_snapshot_damaged_anywhere_is_thrown_away() -> None:
    stored_disk = FaultDisk()
    stored = SnapshotStore(stored_disk).write(meta(9), {}, [b"some state " * 20])
    offer = offer_of(stored)
    whole = bytes(stored_disk.content(stored.name))
    for offset in range(len(whole)):
        store = SnapshotStore(FaultDisk())
        store.begin_incoming(offer)
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        store.write_incoming(offer, 0, bytes(damaged))
        with pytest.raises(SnapshotCorrupt):
            store.verify_incoming(offer)
        assert store.begin_incoming(offer) == 0
        assert store.write_incoming(offer, 0, whole) == len(whole)
        store.verify_incoming(offer)


def test_a_new_offer_takes_the_place_of_an_unfinished_one() -> None:
    first = offer_of(SnapshotStore(FaultDisk()).write(meta(9), {}, [b"first"]))
    second = offer_of(SnapshotStore(FaultDisk()).write(meta(12), {}, [b"second"]))
    disk = FaultDisk()
    store = SnapshotStore(disk)
    store.begin_incoming(first)
    store.write_incoming(first, 0, b"half")
    assert store.begin_incoming(second) == 0
    assert len(disk.names()) == 1
    assert store.write_incoming(first, 4, b"late") == 0


def test_a_witness_is_sent_and_stores_no_state() -> None:
    store = SnapshotStore(FaultDisk())
    message = InstallSnapshot(1, 2, 5, meta(9), 7, witness=True)
    source = store.open_source(message)
    assert source is not None
    assert (source.offer.size_bytes, source.read(0, 10)) == (0, b"")
    store.install(source.offer)
    assert state(store) == b""


def test_a_snapshot_that_is_not_held_any_more_is_not_offered() -> None:
    store = SnapshotStore(FaultDisk())
    store.write(meta(9), {}, [b"x"])
    assert store.open_source(InstallSnapshot(1, 2, 5, meta(5), 7)) is None
