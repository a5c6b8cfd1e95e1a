"""The native Raft log against its pure twin, operation by operation; and its views."""

from __future__ import annotations

import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.checks import InvariantError
from neuro.native import RECORD_HEADER_BYTES, RaftLogStore, agreed_index
from neuro.raft import Entry, EntryKind, MemoryLogStore
from neuro.raft.log_store import LogStore
from neuro.raft.quorum import agreed_value
from neuro.raft.types import ENTRY_OVERHEAD_BYTES
from tests.raft_group import Group

NO_LIMIT = 1 << 62
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["append", "truncate", "compact", "reset", "slice", "term", "view"]),
        st.integers(0, 1 << 16),
        st.integers(0, 1 << 16),
        st.integers(0, 400),
    ),
    max_size=60,
)


def make_entries(first: int, term: int, seed: int, count: int) -> tuple[Entry, ...]:
    chance = Random(seed)
    kinds = tuple(EntryKind)
    return tuple(
        Entry(first + i, term + i // 3, kinds[chance.randrange(4)], chance.randbytes(size))
        for i, size in enumerate(chance.choices((0, 1, 17, 300, 40_000), (5, 5, 5, 3, 1), k=count))
    )


def assert_equal(native: LogStore, pure: LogStore) -> None:
    base, last = pure.base_index, pure.last_index
    assert (native.base_index, native.last_index) == (base, last)
    assert [native.term_at(i) for i in range(base - 1, last + 3)] == [
        pure.term_at(i) for i in range(base - 1, last + 3)
    ]
    assert native.entries(base + 1, last, NO_LIMIT) == pure.entries(base + 1, last, NO_LIMIT)


class Pair:
    """Both stores, driven alike."""

    def __init__(self) -> None:
        self.native = RaftLogStore()
        self.pure = MemoryLogStore()
        self.views: list[tuple[memoryview, bytes]] = []

    def perform(self, name: str, a: int, b: int, budget: int) -> None:
        base, last = self.pure.base_index, self.pure.last_index
        low = base + 1 + a % (last - base + 1)
        high = min(last, low + b % 20)
        if name == "append":
            term = (self.pure.term_at(last) or 0) + b % 2
            entries = make_entries(last + 1, term, a, b % 8)
            self.native.append(entries)
            self.pure.append(entries)
        elif name == "truncate":
            self.native.truncate_from(low)
            self.pure.truncate_from(low)
        elif name == "compact":
            self.native.compact(low - 1)
            self.pure.compact(low - 1)
        elif name == "reset" and a % 4 == 0:
            self.native.reset(last + b, b)
            self.pure.reset(last + b, b)
        elif name == "slice":
            got = self.native.entries(low, high, budget)
            assert got == self.pure.entries(low, high, budget)
            assert self.native.size_bytes(low, high) == self.pure.size_bytes(low, high)
        elif name == "term":
            term = a % 40
            got_index = self.native.last_with_term_at_most(base + b % 60, term)
            assert got_index == self.pure.last_with_term_at_most(base + b % 60, term)
        elif name == "view":
            count, view = self.native.view(low, high, budget)
            entries = self.pure.entries(low, high, budget)
            assert count == len(entries)
            assert bytes(view) == b"".join(encode(entry) for entry in entries)
            self.views.append((view, bytes(view)))


def encode(entry: Entry) -> bytes:
    return struct.pack("<QB3xI", entry.term, entry.kind, len(entry.data)) + entry.data


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_native_and_pure_log_agree_and_views_never_change(
    operations: list[tuple[str, int, int, int]],
) -> None:
    pair = Pair()
    for operation in operations:
        pair.perform(*operation)
        assert_equal(pair.native, pair.pure)
    assert all(bytes(view) == bytes_then for view, bytes_then in pair.views)


def test_a_long_random_life_agrees() -> None:
    chance = Random(7)
    pair = Pair()
    names = ("append",) * 8 + ("truncate", "compact", "slice", "term", "view")
    for _ in range(2_000):
        low, high = chance.randrange(1 << 16), chance.randrange(1 << 16)
        pair.perform(chance.choice(names), low, high, chance.randrange(100_000))
        if len(pair.views) > 5:
            view, then = pair.views.pop(0)
            assert bytes(view) == then
    assert_equal(pair.native, pair.pure)


def test_record_header_is_the_overhead_that_limits_count() -> None:
    assert RECORD_HEADER_BYTES == ENTRY_OVERHEAD_BYTES


def test_records_travel_from_log_to_log() -> None:
    source = RaftLogStore(make_entries(1, 1, 5, 30))
    _, view = source.view(1, 30, NO_LIMIT)
    target = RaftLogStore()
    assert target.append_records(view) == 30
    assert target.entries(1, 30, NO_LIMIT) == source.entries(1, 30, NO_LIMIT)


@pytest.mark.parametrize("cut", [1, 15, 16, 18])
def test_cut_records_are_refused_whole(cut: int) -> None:
    data = encode(Entry(1, 1, EntryKind.COMMAND, b"abc")) * 2
    store = RaftLogStore()
    with pytest.raises(ValueError, match="cut off"):
        store.append_records(data[:-cut] if cut < 16 else data[: 19 + cut - 2])
    assert store.last_index == 0


def test_records_with_falling_terms_or_unknown_kinds_are_refused() -> None:
    store = RaftLogStore((), 4, 9)
    for bad in (struct.pack("<QB3xI", 8, 0, 0), struct.pack("<QB3xI", 9, 77, 0)):
        with pytest.raises(ValueError, match="terms|kind"):
            store.append_records(bad)
    assert store.last_index == 4


@pytest.mark.parametrize("store", [RaftLogStore, MemoryLogStore])
def test_misuse_stops_the_process(store: type[RaftLogStore | MemoryLogStore]) -> None:
    log = store((Entry(1, 2, EntryKind.NO_OP, b""),))
    with pytest.raises(InvariantError):
        log.append((Entry(3, 2, EntryKind.NO_OP, b""),))
    with pytest.raises(InvariantError):
        log.append((Entry(2, 1, EntryKind.NO_OP, b""),))
    with pytest.raises(InvariantError):
        log.truncate_from(3)
    with pytest.raises(InvariantError):
        log.compact(2)
    with pytest.raises(InvariantError):
        log.entries(0, 1, 10)


@given(st.lists(st.integers(0, 1 << 40), max_size=9))
def test_agreed_index_is_what_a_majority_reached(matches: list[int]) -> None:
    values = dict(enumerate(matches))
    assert agreed_index(matches) == agreed_value(tuple(values), values)


def test_a_group_runs_on_native_logs() -> None:
    group = Group(store=RaftLogStore)
    group.elect(1)
    group.isolate(3)
    for number in range(40):
        group.propose(1, b"%d" % number)
        group.settle()
    group.compact(1, 20)
    group.heal()
    group.pass_time(100)
    group.settle()
    group.propose(2, b"last")
    group.settle()
    expected = [b"%d" % number for number in range(40)] + [b"last"]
    assert group.commands_of(1) == expected
    assert group.log_of(3)[-1][2] == b"last"
    assert isinstance(group.node(3)._core.log.store, RaftLogStore)
