"""The Raft core and its log: native and pure side by side.

Owns the cases. Figures are ratios between cases of one run; nothing here touches a disk or a
network, so they say what consensus costs in the interpreter, not what a cluster does.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from neuro.native import RaftLogStore
from neuro.raft import Entry, EntryKind, MemoryLogStore
from neuro.raft.log_store import LogStore
from tests.raft_group import Group

ENTRY_COUNT = 1_000
ENTRIES = tuple(
    Entry(index, 1, EntryKind.COMMAND, b"v" * 256) for index in range(1, ENTRY_COUNT + 1)
)
STORES = pytest.mark.parametrize("store", [RaftLogStore, MemoryLogStore])
APPEND_BYTES = 64 * 1024


@STORES
def test_append_a_thousand(benchmark: BenchmarkFixture, store: type[LogStore]) -> None:
    def append() -> LogStore:
        log = store()
        log.append(ENTRIES)
        return log

    assert benchmark(append).last_index == ENTRY_COUNT


@STORES
def test_slice_of_entries(benchmark: BenchmarkFixture, store: type[LogStore]) -> None:
    log = store()
    log.append(ENTRIES)
    assert len(benchmark(log.entries, 100, ENTRY_COUNT, APPEND_BYTES)) == APPEND_BYTES // 272


def test_slice_for_the_wire(benchmark: BenchmarkFixture) -> None:
    log = RaftLogStore(ENTRIES)
    count, view = benchmark(log.view, 100, ENTRY_COUNT, APPEND_BYTES)
    assert len(view) == 272 * count


def test_take_over_a_slice_from_the_wire(benchmark: BenchmarkFixture) -> None:
    _, view = RaftLogStore(ENTRIES).view(1, ENTRY_COUNT, 1 << 30)
    assert benchmark(lambda: RaftLogStore().append_records(view)) == ENTRY_COUNT


@pytest.mark.parametrize("batch", [1, 64])
def test_commit_in_a_group_of_three(benchmark: BenchmarkFixture, batch: int) -> None:
    group = Group()
    group.elect(1)
    payloads = (b"v" * 256,) * batch

    def commit() -> None:
        group.sent.clear()
        for member in group.members.values():
            member.applied.clear()
            member.proposals.clear()
        group.propose(1, *payloads)
        group.settle()

    benchmark(commit)
    assert group.node(1).commit_index == group.node(1).last_index
