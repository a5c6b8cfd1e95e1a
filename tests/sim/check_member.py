"""Invariants of one member after an event: watermarks, terms, leadership, commitment.

Owns the checks of state. Never changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.raft import NOBODY, Role
from neuro.raft.core import Core
from neuro.raft.log import RaftLog
from neuro.raft.messages import Append, InstallSnapshot
from tests.sim.check_log import check_configuration
from tests.sim.ledger import Ledger, MemberView, Violation, has_quorum, require

if TYPE_CHECKING:
    from tests.sim.process import Process

STABLE_AFTER_MS = 1_500
"""Whoever led a healed group that long, past the longest election timeout, keeps leading."""

HEALED_LOSS_COUNT_MAX = 5
"""Stale leaders that meet the new one, and members whose term ran ahead, count here."""


def check_member(ledger: Ledger, process: Process) -> None:
    """Everything that can be seen of one member."""
    node = process.node
    assert node is not None
    core = node._core
    log = core.log
    view = ledger.views[process.id]
    require(core.term >= view.term, "term_monotonic", "a term went back")
    view.term = core.term
    commit = log.commit_index
    if commit != view.commit:
        require(commit > view.commit, "commit_monotonic", f"{process.id} went back")
        _check_commit(ledger, process, view.commit, commit)
        view.commit = commit
    last, stable, applied = log.last_index, log.stable_index, log.applied_index
    if not (applied <= commit <= last and stable <= last and (applied <= stable or not stable)):
        raise Violation("watermark_order", f"{process.id}: {applied} {stable} {commit} {last}")
    if last < view.tail_index and not isinstance(process.handled, (Append, InstallSnapshot)):
        raise Violation("log_shrinks_by_conflict", f"{process.id} forgets its log's tail")
    view.tail_index = last
    if core.role is Role.LEADER:
        if view.led_term != core.term:
            _check_election(ledger, process, view)
        _check_leader(ledger, process, view)
    elif view.role is Role.LEADER:
        _check_loss(ledger, process, view)
    view.role = core.role
    if view.configuration is not log.configuration:
        check_configuration(ledger, process, log)
        for peer in set(log.configuration.members()).difference(view.configuration.members()):
            # Whoever is new gets the same patience as everybody at the start of a term.
            ledger.heard[process.id, peer] = process.local_now
        view.configuration = log.configuration
    elif log.configuration_index > last:
        check_configuration(ledger, process, log)


def check_ticked(ledger: Ledger, process: Process) -> None:
    """After a tick: a leader has a quorum and a disk that answer."""
    node = process.node
    if node is None or not process.is_leader:
        return
    now = process.local_now
    options = process.options
    patience_ms = 3 * options.election_timeout_ms_min
    since = node._core.became_leader_ms
    heard = {
        peer
        for peer in node.configuration.members()
        if peer == process.id
        or now - max(ledger.heard.get((process.id, peer), 0), since) <= patience_ms
    }
    require(
        has_quorum(node.configuration, heard) or now - since <= patience_ms,
        "leader_hears_quorum",
        f"{process.id} leads term {node.term}, hears only {sorted(heard)}",
    )
    view = ledger.views[process.id]
    if node._core.transfer_target == NOBODY:
        view.transfer_since = None
    elif view.transfer_since is None:
        view.transfer_since = now
    else:
        require(
            now - view.transfer_since <= options.election_timeout_ms_min + options.heartbeat_ms,
            "transfer_bounded",
            f"{process.id} has refused proposals for a transfer since {view.transfer_since}",
        )
    stalled_ms = process.stalled_ms()
    limit_ms = options.disk_stall_ms_max + options.election_timeout_ms_max
    require(
        stalled_ms <= limit_ms,
        "leader_disk_works",
        f"{process.id} leads, and has waited for its disk for {stalled_ms} ms",
    )


def _check_election(ledger: Ledger, process: Process, view: MemberView) -> None:
    core: Core = process.node._core  # type: ignore[union-attr]
    term = core.term
    first = ledger.leaders.setdefault(term, process.id)
    require(first == process.id, "election_safety", f"{first} and {process.id} in {term}")
    view.led_term = term
    view.match = {}
    view.last_index = core.log.last_index
    ledger.world.counters["leader_elected"] += 1
    ledger.world.note(f"{process.id} leads term {term}")
    view.led_since = ledger.world.now
    view.transfer_since = None
    voters = {node for (node, at), choice in ledger.votes.items() if (at, choice) == (term, first)}
    voters.add(process.id)
    require(
        has_quorum(view.configuration, voters),
        "leader_has_votes",
        f"{process.id} leads {term} with {sorted(voters)} of {view.configuration}",
    )
    for commit_term, (index, entry_term) in ledger.commit_of_term.items():
        if commit_term < term and index > core.log.store.base_index:
            require(
                core.log.store.term_at(index) == entry_term,
                "leader_completeness",
                f"{process.id} leads {term} without {index} of term {entry_term}",
            )


def _check_loss(ledger: Ledger, process: Process, view: MemberView) -> None:
    simulation = process.simulation
    node = process.node
    assert node is not None
    if not simulation.is_healed or simulation.is_exercising:
        return
    ledger.healed_loss_count += 1
    require(
        ledger.healed_loss_count <= HEALED_LOSS_COUNT_MAX,
        "leader_stability",
        f"leadership was lost {ledger.healed_loss_count} times without a fault",
    )
    led_ms = ledger.world.now - max(view.led_since, simulation.healed_at)
    require(
        led_ms < STABLE_AFTER_MS or not node.configuration.may_lead(process.id),
        "leader_stability",
        f"{process.id} loses leadership after {led_ms} ms without a fault",
    )


def _check_leader(ledger: Ledger, process: Process, view: MemberView) -> None:
    core: Core = process.node._core  # type: ignore[union-attr]
    log = core.log
    last = log.last_index
    require(last >= view.last_index, "leader_append_only", "a leader's log got shorter")
    view.last_index = last
    require(
        log.configuration.may_lead(process.id) or log.configuration_index > log.commit_index,
        "leader_is_eligible",
        "a leader is not a voter, or a witness",
    )
    count_max = core.options.inflight_count_max
    for peer, progress in core.progress.items():
        match = progress.match_index
        before = view.match.get(peer, 0)
        if match < before:
            raise Violation("match_monotonic", f"{process.id}: {peer} {before}->{match}")
        view.match[peer] = match
        is_sane = match < progress.next_index and match <= last
        if not is_sane or len(progress.inflight) > count_max:
            raise Violation("progress_sane", f"{process.id}: {peer}, match index {match}")
        if progress.acked_round > core.round:
            raise Violation("known_round", f"{process.id}: {peer} is ahead of time")
    if last > log.commit_index + 1:
        limit = core.options.uncommitted_bytes_max + core.options.entry_bytes_max
        require(log.size_after_commit() <= limit, "bounded_tail", f"{process.id}")


def _check_commit(ledger: Ledger, process: Process, before: int, commit: int) -> None:
    core: Core = process.node._core  # type: ignore[union-attr]
    store = core.log.store
    view = ledger.views[process.id]
    for index in range(max(before, store.base_index) + 1, commit + 1):
        term = store.term_at(index) or 0
        known = ledger.committed.setdefault(index, (term, core.term))
        require(
            known[0] == term,
            "state_machine_safety",
            f"{index} committed with terms {known[0]} and {term}",
        )
    if core.role is not Role.LEADER:
        return
    term = store.term_at(commit) or 0
    require(
        term == core.term or view.led_term != core.term,
        "commit_own_term",
        f"{process.id} leads {core.term} and commits {commit} of term {term} by counting",
    )
    ledger.commit_of_term[core.term] = (commit, term)
    _check_quorum(ledger, process, commit, term)
    _note_removed(ledger, core.log)


def _note_removed(ledger: Ledger, log: RaftLog) -> None:
    if log.configuration_index <= log.commit_index and not log.configuration.is_joint:
        ledger.removed.update(log.configuration.removed)


def _check_quorum(ledger: Ledger, process: Process, index: int, term: int) -> None:
    processes = process.simulation.processes
    # In force when the event began: what the leader does on this commit comes after it.
    configuration = ledger.views[process.id].configuration
    holders = {
        node
        for node in (*configuration.voters, *configuration.outgoing)
        if node in processes and processes[node].disk.image.holds(index, term)
    }
    require(
        has_quorum(configuration, holders),
        "committed_on_quorum",
        f"{index} of term {term} committed, held by {sorted(holders)} of {configuration}",
    )
    require(
        holders.difference(configuration.witnesses),
        "committed_with_data",
        f"{index} of term {term} committed by witnesses alone, {configuration}",
    )
