"""Leadership transfer: hand over to a peer that has everything, or give up in time.

Owns the transfer under way. Never makes the target leader: it only asks it to campaign.

Source: dissertation section 3.10.
"""

from __future__ import annotations

from neuro.raft import election
from neuro.raft.core import Core, Role
from neuro.raft.errors import InvalidTransfer, NotLeader, Transferring
from neuro.raft.messages import TimeoutNow
from neuro.raft.progress import Progress
from neuro.raft.types import NOBODY, NodeId


def start_transfer(core: Core, target: NodeId) -> None:
    """Stops taking proposals and asks `target` to campaign as soon as it has the whole log.

    Asked again for the same target, it offers again and still ends when it would have.

    Raises:
        NotLeader: this member does not lead.
        InvalidTransfer: the target is this member, or may not lead.
        Transferring: another transfer is under way.
    """
    if core.role is not Role.LEADER:
        raise NotLeader(leader=core.leader)
    configuration = core.log.configuration
    if target == core.id or target not in configuration.voters:
        raise InvalidTransfer(f"node {target} is not another voter", target=target)
    if not configuration.may_lead(target):
        raise InvalidTransfer(f"node {target} is a witness", target=target)
    if core.transfer_target not in (NOBODY, target):
        raise Transferring(target=core.transfer_target)
    if core.transfer_target == NOBODY:
        # Asking again repeats the offer but buys no time: proposals are refused meanwhile.
        core.transfer_target = target
        core.transfer_deadline_ms = core.now + core.options.election_timeout_ms_min
    on_match(core, target, core.progress[target])


def on_match(core: Core, peer: NodeId, progress: Progress) -> None:
    """The target may have caught up."""
    if peer == core.transfer_target and progress.match_index == core.log.last_index:
        # The target may campaign late, even after this transfer is given up, and its vote
        # requests break stickiness: the lease is over for the rest of this term.
        core.may_use_lease = False
        core.send(TimeoutNow(core.id, peer, core.term))


def on_tick(core: Core) -> None:
    """Takes proposals again when the target did not take over in time."""
    if core.transfer_target != NOBODY and core.now >= core.transfer_deadline_ms:
        core.transfer_target = NOBODY


def resign_if_disk_stalled(core: Core) -> None:
    """A leader whose own disk hangs can acknowledge nothing: somebody else should lead."""
    if core.is_disk_stalled():
        resign(core)


def on_timeout_now(core: Core, _message: TimeoutNow) -> None:
    """The leader wants this member to campaign: no pre-vote, no waiting."""
    if core.role is not Role.LEADER and core.may_campaign():
        election.start_election(core, is_transfer=True)


def resign(core: Core) -> None:
    """Steps down, after asking the most caught-up voter to take over."""
    best = NOBODY
    best_match = -1
    configuration = core.log.configuration
    for peer, progress in core.progress.items():
        if peer in configuration.voters and configuration.may_lead(peer):
            is_alive = core.now - progress.heard_ms <= core.options.election_timeout_ms_min
            if is_alive and progress.match_index > best_match:
                best, best_match = peer, progress.match_index
    if best != NOBODY:
        core.send(TimeoutNow(core.id, best, core.term))
    election.become_follower(core, core.term, NOBODY)
