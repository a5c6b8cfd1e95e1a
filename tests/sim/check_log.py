"""Invariants of logs, configurations, snapshots and state machines.

Owns the checks of what is appended, applied and restored. Never changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.raft import Configuration, Entry, EntryKind, SnapshotMeta
from neuro.raft.log import RaftLog
from tests.sim.ledger import Ledger, require

if TYPE_CHECKING:
    from tests.sim.process import Process


def check_entries(
    ledger: Ledger, process: Process, entries: tuple[Entry, ...], log: RaftLog
) -> None:
    """New entries reach the log of a member."""
    previous = log.store.term_at(entries[0].index - 1)
    for entry in entries:
        key = (entry.index, entry.term)
        known = ledger.entries.get(key)
        if known is None:
            is_whole = entry.kind is not EntryKind.WITHHELD
            require(is_whole, "log_matching", f"{key} first seen without data")
            ledger.entries[key] = (previous or 0, entry)
            if entry.kind is EntryKind.CONFIGURATION:
                _check_new_configuration(ledger, entry, log)
        else:
            before, other = known
            if previous is not None:
                require(
                    before == previous, "log_matching", f"{key} follows {previous} and {before}"
                )
            if entry.kind is not EntryKind.WITHHELD:
                require(other == entry, "log_matching", f"{key} differs on {process.id}")
        previous = entry.term


def _check_new_configuration(ledger: Ledger, entry: Entry, log: RaftLog) -> None:
    new = Configuration.from_bytes(entry.data)
    old = log.configuration_at(entry.index - 1)
    at = max(index for index, _ in log._configurations if index < entry.index)
    committed = max(log.commit_index, *ledger.committed)
    require(at <= committed, "one_change_at_a_time", f"{entry.index} while {at} is not committed")
    own_term = (
        entry.term in ledger.commit_of_term or log.store.term_at(log.commit_index) == entry.term
    )
    require(
        own_term,
        "change_after_own_commit",
        f"{entry.index} before anything of term {entry.term} is committed",
    )
    require(_is_legal_step(old, new), "configuration_step", f"{old} -> {new}")
    back = set(new.members()) & ledger.removed
    require(not back, "removed_stays_out", f"{sorted(back)} came back")
    ledger.configurations[entry.index, entry.term] = new


def _is_legal_step(old: Configuration, new: Configuration) -> bool:
    if 2 * len(new.witnesses) > len(new.voters):
        return False
    if old.is_joint:
        return new.outgoing == () and new.voters == old.voters
    if new.is_joint:
        return new.outgoing == old.voters
    return len(set(old.voters) ^ set(new.voters)) <= 1


def check_boot(ledger: Ledger, process: Process) -> None:
    """A member boots: its configuration is the one on its disk, and that is the group's."""
    node = process.node
    assert node is not None
    image = process.disk.image
    expected = image.base.configuration
    if image.snapshot is not None and image.term_at(image.snapshot.meta.index) is None:
        expected = image.snapshot.meta.configuration
    for entry in image.entries:
        if entry.kind is EntryKind.CONFIGURATION:
            expected = Configuration.from_bytes(entry.data)
    require(
        node.configuration == expected,
        "configuration_agreement",
        f"{process.id} boots with {node.configuration}, its disk says {expected}",
    )
    for meta in (image.base, image.snapshot.meta if image.snapshot else image.base):
        check_snapshot_configuration(ledger, process, meta)


def check_snapshot_configuration(ledger: Ledger, process: Process, meta: SnapshotMeta) -> None:
    """The configuration that goes with a position is the one committed there."""
    known = ledger.configuration_at(meta.index)
    if meta.index and known is not None:
        require(
            meta.configuration == known,
            "configuration_agreement",
            f"{process.id} has {meta.configuration} at {meta.index}, not {known}",
        )


def check_configuration(ledger: Ledger, process: Process, log: RaftLog) -> None:
    """The configuration in force is the latest in the log."""
    index = log.configuration_index
    require(
        index <= log.last_index,
        "configuration_agreement",
        f"{process.id} uses a configuration at {index}, its log ends at {log.last_index}",
    )
    term = log.store.term_at(index)
    known = ledger.configurations.get((index, term or 0))
    if known is not None:
        require(
            known == log.configuration,
            "configuration_agreement",
            f"{process.id} at {index}: {log.configuration}, not {known}",
        )


def check_applied(ledger: Ledger, process: Process, entry: Entry) -> None:
    """A member applied an entry."""
    machine = process.machine
    known = ledger.applied.get(entry.index)
    is_whole = entry.kind is not EntryKind.WITHHELD
    term = ledger.committed.get(entry.index, (entry.term, 0))[0]
    require(term == entry.term, "state_machine_safety", f"{entry.index} has term {term}: {entry}")
    if known is not None and is_whole:
        require(known == entry, "state_machine_safety", f"{entry.index}: {known} and {entry}")
    elif is_whole:
        ledger.applied[entry.index] = entry
    if machine.is_blind:
        return
    chain = ledger.state_chain.setdefault(entry.index, machine.chain)
    require(chain == machine.chain, "state_equality", f"{process.id} at {entry.index}")
    if machine.executed is not None:
        first = ledger.executed.setdefault(machine.executed, entry.index)
        require(
            first == entry.index,
            "exactly_once",
            f"{machine.executed} executed at {first} and {entry.index}",
        )
        require(
            machine.executed not in ledger.refused,
            "refused_never_executes",
            f"{machine.executed} was reported as failed",
        )


def check_restored(ledger: Ledger, process: Process, meta: SnapshotMeta) -> None:
    """A member's state was replaced by a snapshot."""
    machine = process.machine
    require(
        machine.applied_index == meta.index,
        "snapshot_equality",
        f"snapshot {meta.index} holds {machine.applied_index}",
    )
    chain = ledger.state_chain.get(meta.index)
    if chain is not None and not machine.is_blind:
        require(chain == machine.chain, "snapshot_equality", f"{process.id} at {meta.index}")
    check_snapshot_configuration(ledger, process, meta)
