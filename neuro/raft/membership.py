"""Changing the members: when a change may begin, how it ends, promotion, step-down.

Owns the order of configuration entries. Never computes quorums. A configuration is in
force from the moment it is appended, on every member, and no longer when it is truncated.

A change may begin only when the previous one is committed and an entry of the leader's
own term is committed: without the second rule two leaders in turn can each change one
server and end with majorities that do not meet (the 2015 erratum of the dissertation).

Source: dissertation sections 4.1 to 4.3, 4.2.1 (catching up), 4.2.2 (removed leader).
"""

from __future__ import annotations

from collections.abc import Sequence

from neuro.raft import election, replication, transfer
from neuro.raft.configuration import (
    Change,
    ChangeKind,
    Configuration,
    change_configuration,
    leave_joint,
)
from neuro.raft.core import Core, Role
from neuro.raft.errors import ChangePending, NotLeader, Transferring
from neuro.raft.types import NOBODY, EntryKind, LogIndex, NodeId


def propose_change(core: Core, changes: Sequence[Change]) -> LogIndex:
    """Appends the configuration after `changes`; returns its index.

    A joint configuration is left by itself once it is committed.

    Raises:
        NotLeader, Transferring: this member can not do it now.
        ChangePending: see the head of this module.
        InvalidChange: the change makes no sense.
    """
    if core.role is not Role.LEADER:
        raise NotLeader(leader=core.leader)
    if core.transfer_target != NOBODY:
        raise Transferring(target=core.transfer_target)
    if is_change_pending(core):
        raise ChangePending("a change is unfinished, or this term has committed nothing yet")
    return _append(core, change_configuration(core.log.configuration, changes))


def is_change_pending(core: Core) -> bool:
    """True when a leader may not begin a configuration change."""
    log = core.log
    return (
        log.configuration_index > log.commit_index
        or log.configuration.is_joint
        or log.commit_index < core.term_start_index
    )


def on_commit(core: Core) -> None:
    """Ends a joint configuration that is committed; steps down when this member is out."""
    log = core.log
    if core.role is not Role.LEADER or log.configuration_index > log.commit_index:
        return
    if log.configuration.is_joint:
        _append(core, leave_joint(log.configuration))
        if log.configuration_index <= log.commit_index:
            return
    elif not log.configuration.may_lead(core.id):
        transfer.resign(core)


def promote_caught_up(core: Core) -> None:
    """Makes a promotable learner a voter when it is close to the leader's log.

    Source: dissertation section 4.2.1; promotion needs no new write, so a learner that
    caught up from a snapshot alone is promoted too.
    """
    promotable = core.log.configuration.promotable
    if not promotable or is_change_pending(core) or core.transfer_target != NOBODY:
        return
    for node in promotable:
        progress = core.progress[node]
        lag = core.log.last_index - progress.match_index
        is_alive = core.now - progress.heard_ms < core.options.election_timeout_ms_min
        if is_alive and progress.is_streaming and lag <= core.options.promotion_lag_max:
            change = Change(ChangeKind.ADD_VOTER, node)
            _append(core, change_configuration(core.log.configuration, (change,)))
            return


def is_gone(core: Core, node: NodeId) -> bool:
    """True when the node's removal is committed and finished."""
    log = core.log
    configuration = log.configuration
    return (
        log.configuration_index <= log.commit_index
        and node in configuration.removed
        and node not in configuration.members()
    )


def _append(core: Core, configuration: Configuration) -> LogIndex:
    index = replication.append_as_leader(core, EntryKind.CONFIGURATION, (configuration.to_bytes(),))
    election.sync_progress(core)
    return index
