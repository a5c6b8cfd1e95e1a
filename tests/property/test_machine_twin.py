"""The state machine against its naive twin, its snapshots, and itself under another hash seed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.cluster.machine import KeyValueMachine, Op, make_payload
from neuro.cluster.machine.ordered_keys import OrderedKeys
from tests.property.naive_machine import NaiveMachine

KEYS = st.sampled_from(["a", "a/1", "a/2", "a/2/x", "b", "é", "é/1", "\U0001f600"])
VALUES = st.sampled_from([b"", b"1", b"2", b"\xff\x00"])
LEASES = st.integers(0, 12)
TESTS = st.tuples(
    KEYS, st.sampled_from(["version", "mod_revision", "create_revision", "lease"]),
    st.sampled_from(["=", "!=", "<", ">"]), st.integers(0, 6),
) | st.tuples(KEYS, st.just("value"), st.sampled_from(["=", "!=", "<", ">"]), VALUES)  # fmt: skip
OPERATIONS = (
    st.tuples(st.just("put"), KEYS, VALUES, st.sampled_from([0, 0, 0, 2, 3]))
    | st.tuples(st.just("delete"), KEYS)
    | st.tuples(st.just("get"), KEYS)
)
COMMANDS = (
    st.tuples(st.just("put"), KEYS, VALUES, LEASES)
    | st.tuples(st.just("put"), KEYS, VALUES, st.just(0))
    | st.tuples(st.just("delete"), KEYS, st.booleans())
    | st.tuples(
        st.just("cas"), KEYS, st.none() | st.integers(0, 9), VALUES | st.just(b"1"), VALUES, LEASES
    )
    | st.tuples(
        st.just("txn"),
        st.lists(TESTS, max_size=3),
        st.lists(OPERATIONS, max_size=4),
        st.lists(OPERATIONS, max_size=4),
    )
    | st.tuples(st.just("lease_grant"), st.sampled_from([1_000, 2_000, 5_000]))
    | st.tuples(st.just("lease_keepalive"), LEASES)
    | st.tuples(st.just("lease_revoke"), LEASES)
    | st.tuples(st.just("tick"), st.sampled_from([0, 700, 1_400, 2_400]), st.just(700))
    | st.tuples(st.just("tick"), st.none(), st.sampled_from([500, 1_000, 3_000]))
)


def fill_in(command: tuple[Any, ...], time_ms: int) -> tuple[Any, ...]:
    """A tick without base is measured from the machine's time."""
    return ("tick", time_ms, command[2]) if command[:2] == ("tick", None) else command


def rows_of(machine: KeyValueMachine, revision: int = 0) -> dict[str, tuple[Any, ...]]:
    rows: dict[str, tuple[Any, ...]] = {}
    after = ""
    while True:
        page = machine.scan("", after=after, count_max=2, revision=revision)
        assert page is not None
        rows.update((key, tuple(record)) for key, record in page.items)
        if not page.has_more:
            return rows
        after = page.items[-1][0]


@settings(max_examples=150, deadline=None)
@given(st.lists(COMMANDS, max_size=40))
def test_machine_does_what_the_naive_twin_does(commands: list[tuple[Any, ...]]) -> None:
    machine, twin = KeyValueMachine(), NaiveMachine()
    seen: dict[str, tuple[Any, ...]] = {}
    watch = machine.watch("", is_prefix=True, next_revision=1)
    for index, unfilled in enumerate(commands, 2):
        command = fill_in(unfilled, machine.time_ms)
        op, *arguments = command
        result = machine.apply(index, 1, make_payload(Op[op.upper()], *arguments))
        # A txn whose written keys repeat is refused whichever fault is looked at first.
        code, revision = twin.apply(index, op, *arguments)
        assert (result.code, result.revision) == (code, revision), command
        assert rows_of(machine) == twin.rows
        assert machine.time_ms == twin.time_ms
        assert machine.lease_ids() == sorted(twin.leases)
        assert machine.size_bytes == sum(
            len(key.encode()) + len(row[0]) + 128 for key, row in twin.rows.items()
        )
        batch = watch.take(1_000)
        assert batch is not None
        for _, change in batch.changes:
            assert (tuple(change.previous) if change.previous else None) == seen.get(change.key)
            if change.record is None:
                del seen[change.key]
            else:
                seen[change.key] = tuple(change.record)
        assert seen == twin.rows
        assert batch.revision == revision
    for revision, rows in enumerate(twin.states):
        if revision:
            assert rows_of(machine, revision) == rows


@settings(max_examples=80, deadline=None)
@given(st.lists(COMMANDS, max_size=30), st.integers(0, 30), st.integers(1, 97))
def test_a_restored_machine_goes_on_as_if_nothing_had_happened(
    commands: list[tuple[Any, ...]], cut: int, width: int
) -> None:
    machine, restored = KeyValueMachine(), KeyValueMachine()
    for index, unfilled in enumerate(commands, 2):
        if index == cut + 2:
            data = b"".join(machine.snapshot())
            chunks = [data[i : i + width] for i in range(0, len(data), width)]
            restored.restore(chunks)
        op, *arguments = fill_in(unfilled, machine.time_ms)
        payload = make_payload(
            Op[op.upper()], *arguments, session=2, sequence=1 + index % 5, acknowledged=index % 3
        )
        if index == 2:
            payload = make_payload(Op.SESSION_OPEN)
        result = machine.apply(index, 1, payload)
        if index >= cut + 2:
            assert restored.apply(index, 1, payload) == result
    if cut < len(commands):
        assert restored.state_hash == machine.state_hash
        assert list(restored.snapshot()) == list(machine.snapshot())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=64) | st.recursive(
    st.none() | st.integers(0, 2**64 - 1) | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=6), max_leaves=12,
).map(lambda arguments: make_payload(Op.TXN, arguments)), max_size=5))  # fmt: skip
def test_no_payload_makes_the_machine_raise(payloads: list[bytes]) -> None:
    machine = KeyValueMachine()
    for index, payload in enumerate(payloads, 1):
        result = machine.apply(index, 1, payload)
        assert not result.is_ok or result.revision == 0
    assert machine.revision == 0


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, len(Op)),
    st.lists(
        st.none() | st.booleans() | st.integers(0, 2**64 - 1) | KEYS | VALUES
        | st.floats() | st.lists(st.lists(KEYS | VALUES | st.integers(0, 9), max_size=4), max_size=2),
        max_size=5,
    ),
)  # fmt: skip
def test_arguments_of_any_kind_are_refused_or_obeyed(op: int, arguments: list[Any]) -> None:
    machine = KeyValueMachine()
    machine.apply(1, 1, make_payload(Op.PUT, "a", b"1", 0))
    before = rows_of(machine)
    result = machine.apply(2, 1, make_payload(Op(op), *arguments))
    if not result.is_ok:
        assert rows_of(machine) == before
    restored = KeyValueMachine()
    restored.restore(machine.snapshot())
    assert list(restored.snapshot()) == list(machine.snapshot())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=3), max_size=60), st.text(max_size=2), st.text(max_size=3)
)
def test_ordered_keys_are_a_sorted_set(words: list[str], prefix: str, after: str) -> None:
    keys, model = OrderedKeys(), set[str]()
    for word in words:
        (keys.remove if word in model else keys.add)(word)
        model ^= {word}
        expected = sorted(name for name in model if name.startswith(prefix) and name > after)
        assert list(keys.iterate_prefix(prefix, after)) == expected
    assert len(keys) == len(model)


def test_ordered_keys_divide_and_vanish_run_by_run() -> None:
    order = random.Random(1)
    names = [f"{number:05}" for number in range(6_000)]
    order.shuffle(names)
    keys = OrderedKeys(names[:2_000])
    for name in names[2_000:]:
        keys.add(name)
    assert list(keys.iterate_from("")) == sorted(names)
    order.shuffle(names)
    while names:
        keys.remove(names.pop())
        if len(names) % 500 == 0:
            assert list(keys.iterate_from("03")) == sorted(n for n in names if n >= "03")
    assert len(keys) == 0


HISTORY_PROGRAM = """
import random
from hashlib import sha256
from neuro.cluster.machine import KeyValueMachine, Op, make_payload
random = random.Random(7)
machine = KeyValueMachine()
for index in range(2, 3_000):
    key = "k%d" % random.randrange(200)
    lease = random.choice([0, 0, *machine.lease_ids()[-3:]])
    payload = random.choice([
        make_payload(Op.PUT, key, b"v%d" % index, lease),
        make_payload(Op.PUT, key, b"v%d" % index, lease, session=5, sequence=index, acknowledged=index - 9),
        make_payload(Op.DELETE, key[:2], True),
        make_payload(Op.LEASE_GRANT, 1_000),
        make_payload(Op.LEASE_REVOKE, lease),
        make_payload(Op.SESSION_OPEN),
        make_payload(Op.TICK, machine.time_ms, random.randrange(2_000)),
        make_payload(Op.TXN, [[key, "version", "<", 3]], [["put", key, b"t", lease], ["put", key + "t", b"t", lease]], [["delete", key]]),
    ]) if index != 5 else make_payload(Op.SESSION_OPEN)
    machine.apply(index, index // 100, payload)
print(machine.state_hash.hex(), machine.revision, machine.lease_count, sha256(b"".join(machine.snapshot())).hexdigest())
"""


def test_equal_logs_give_equal_bytes_whatever_the_hash_seed() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", HISTORY_PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "4242", "random")
    }  # fmt: skip
    assert len(answers) == 1
    assert int(answers.pop().split()[1]) > 500
