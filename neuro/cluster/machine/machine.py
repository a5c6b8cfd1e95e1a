"""The state machine that the driver replicates.

Owns `apply`, the rolling hash, snapshots, and the reads of local state. Never waits: that a read is
linearizable is the replica's business (`read_barrier`), before it comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

import msgpack

from neuro.cluster.machine import outcome as codes
from neuro.cluster.machine.commands import Command, Op, parse_payload
from neuro.cluster.machine.execution import STEPS
from neuro.cluster.machine.history import Change, Record
from neuro.cluster.machine.outcome import Outcome, Refusal
from neuro.cluster.machine.reading import PAGE_COUNT_MAX, Page, read_page
from neuro.cluster.machine.snapshot_form import freeze, thaw
from neuro.cluster.machine.state import State
from neuro.cluster.machine.transaction import run_transaction
from neuro.cluster.machine.watching import Watch

_STEPS = {**STEPS, Op.TXN: (run_transaction, 3)}


class KeyValueMachine:
    """Deterministic: equal logs give equal results, hashes and snapshots."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = State()

    @property
    def state_hash(self) -> bytes:
        """16 bytes that depend on every command applied and on every result given."""
        return self._state.chain

    @property
    def applied_index(self) -> int:
        """Log index of the last command applied."""
        return self._state.applied_index

    @property
    def revision(self) -> int:
        """Rises by one with each command that changes a key."""
        return self._state.revision

    @property
    def compacted_revision(self) -> int:
        """The history up to here is forgotten."""
        return self._state.history.compacted

    @property
    def time_ms(self) -> int:
        """Machine time: elapsed milliseconds that leaders put into the log."""
        return self._state.time_ms

    @property
    def key_count(self) -> int:
        """Keys that exist."""
        return len(self._state.records)

    @property
    def size_bytes(self) -> int:
        """Keys and values, with an allowance for each record."""
        return self._state.size_bytes

    @property
    def lease_count(self) -> int:
        """Leases that exist."""
        return len(self._state.leases)

    @property
    def session_count(self) -> int:
        """Sessions that exist."""
        return len(self._state.sessions)

    def apply(self, index: int, term: int, payload: bytes) -> Outcome:
        """Executes a committed command; a refusal is a result like any other."""
        state = self._state
        state.applied_index = index
        result = self._execute(index, payload)
        chain = blake2b(state.chain, digest_size=16)
        chain.update(b"%d %d %d " % (index, term, len(payload)))
        chain.update(payload)
        chain.update(msgpack.packb(result))
        state.chain = chain.digest()
        return result

    def _execute(self, index: int, payload: bytes) -> Outcome:
        state = self._state
        try:
            command = parse_payload(payload)
        except ValueError as error:
            return Outcome(codes.INVALID_REQUEST, state.revision, {"reason": str(error)})
        if not command.session:
            return self._run(index, command)
        try:
            known = state.sessions.recall(
                command.session, command.sequence, command.acknowledged, state.time_ms
            )
        except Refusal as refusal:
            return Outcome(refusal.code, state.revision, refusal.facts)
        if known is not None:
            return known
        result = self._run(index, command)
        state.sessions.remember(command.session, command.sequence, result)
        return result

    def _run(self, index: int, command: Command) -> Outcome:
        state = self._state
        step, argument_count = _STEPS.get(command.op, (None, 0))
        if step is None or len(command.arguments) != argument_count:
            reason = "no such command, or not its arguments"
            return Outcome(codes.INVALID_REQUEST, state.revision, {"reason": reason})
        try:
            facts = step(state, index, *command.arguments)
        except Refusal as refusal:
            return Outcome(refusal.code, state.revision, refusal.facts)
        return Outcome(codes.OK, state.revision, facts)

    def snapshot(self) -> Iterator[bytes]:
        """The state as of now, in chunks that another thread may drain."""
        return freeze(self._state)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replaces the state; it stays as it was when the bytes are no state.

        Raises:
            ValueError: the bytes are no state.
        """
        self._state = thaw(chunks)

    def get(self, key: str) -> Record | None:
        """A key's record."""
        return self._state.records.get(key)

    def scan(
        self, prefix: str, *, after: str = "", count_max: int = PAGE_COUNT_MAX, revision: int = 0
    ) -> Page | None:
        """A page of keys in order; None when that revision is forgotten or yet to come.

        Args:
            prefix: What keys begin with; empty for all.
            after: The last key of the page before.
            count_max: 1 to PAGE_COUNT_MAX.
            revision: The first page's, to have all pages of one moment; 0 for now.
        """
        state = self._state
        at = revision or state.revision
        if not state.history.compacted <= at <= state.revision:
            return None
        return read_page(state, prefix, after, min(count_max, PAGE_COUNT_MAX), at)

    def changes_at(self, revision: int) -> tuple[Change, ...]:
        """What one remembered revision changed."""
        return self._state.history.group_at(revision).changes

    def watch(self, key: str, *, is_prefix: bool, next_revision: int) -> Watch:
        """A watch that begins with `next_revision`."""
        return Watch(self, key, is_prefix=is_prefix, next_revision=next_revision)

    def lease_ids(self) -> list[int]:
        """Leases that exist, sorted."""
        return sorted(self._state.leases)

    def describe_lease(self, lease: int) -> dict[str, Any] | None:
        """TTL, time left and keys of a lease; None when there is none."""
        try:
            return self._state.leases.describe(lease, self._state.time_ms)
        except Refusal:
            return None
