"""Linearizable reads without a log entry: read index, and the opt-in leader lease.

Owns reads from request to answer. Never reads the state machine: it says from which
applied index on a read may be served.

The leader notes its commit index, then proves that it still led afterwards: a quorum must
acknowledge a heartbeat round that began after the read arrived. Reads that arrive between
two Readies share one round. Nothing is answered before an entry of the leader's own term
is committed, because until then its commit index may be behind. Followers and learners
ask the leader and serve the read themselves.

Source: dissertation section 6.4; lease 6.4.1.
"""

from __future__ import annotations

from neuro.checks import check
from neuro.raft import quorum, replication
from neuro.raft.core import Core, PendingRead, Role
from neuro.raft.errors import Busy, Code, NotLeader
from neuro.raft.messages import ReadReply, ReadRequest
from neuro.raft.ready import ReadState
from neuro.raft.types import NOBODY, NodeId, RequestId


def request_read(core: Core) -> RequestId:
    """Begins a read; its answer comes in a Ready under the returned id.

    Raises:
        NotLeader: no leader is known.
        Busy: too many reads are waiting.
    """
    waiting = core.read_count + len(core.forwarded_reads)
    if waiting >= core.options.reads_pending_max:
        raise Busy(bound="reads_pending_max", limit=core.options.reads_pending_max)
    if core.role is Role.LEADER:
        request = core.new_request()
        _admit(core, core.id, (request,))
        return request
    if core.leader == NOBODY:
        raise NotLeader("no leader is known", leader=NOBODY)
    request = core.new_request()
    core.forwarded_reads[request] = core.now + core.options.election_timeout_ms_max
    core.reads_to_forward.append(request)
    return request


def flush(core: Core) -> None:
    """Starts the round that the new reads wait for, or forwards them as one batch."""
    if core.is_round_due:
        core.is_round_due = False
        replication.start_round(core)
        confirm(core)
    if core.reads_to_forward:
        batch = tuple(core.reads_to_forward)
        core.reads_to_forward.clear()
        core.send(ReadRequest(core.id, core.leader, core.term, batch))


def confirm(core: Core) -> None:
    """Answers the reads whose round a quorum of the configuration has acknowledged."""
    if core.role is not Role.LEADER:
        return
    acked = _acknowledged_round(core)
    while core.reads_pending and core.reads_pending[0].round <= acked:
        _answer(core, core.reads_pending.popleft(), Code.OK)
    for old in [number for number in core.round_started_ms if number < acked]:
        del core.round_started_ms[old]


def start_waiting(core: Core) -> None:
    """The first commit of this term: reads that waited for it get their read index now."""
    if not core.reads_waiting or core.log.commit_index < core.term_start_index:
        return
    waiting, core.reads_waiting = core.reads_waiting, []
    for read in waiting:
        core.read_count -= len(read.requests)
        _admit(core, read.origin, read.requests)


def has_lease(core: Core) -> bool:
    """True while no other leader can exist, provided clocks drift within the bound.

    Source: dissertation section 6.4.1.
    """
    if not core.may_use_lease or core.transfer_target != NOBODY:
        return False
    started_ms = core.round_started_ms.get(_acknowledged_round(core))
    return started_ms is not None and core.now - started_ms < core.options.lease_ms


def on_read_request(core: Core, message: ReadRequest) -> None:
    """A follower asks on behalf of its clients."""
    code = Code.OK
    if core.role is not Role.LEADER:
        code = Code.NOT_LEADER
    elif core.read_count + len(message.requests) > core.options.reads_pending_max:
        code = Code.BUSY
    if code is Code.OK:
        _admit(core, message.sender, message.requests)
    else:
        core.send(ReadReply(core.id, message.sender, core.term, message.requests, code))


def on_read_reply(core: Core, message: ReadReply) -> None:
    """The leader's answer to a batch; unknown ids were given up already."""
    for request in message.requests:
        if core.forwarded_reads.pop(request, None) is not None:
            core.reads.append(ReadState(request, message.index, message.code))


def fail_pending(core: Core) -> None:
    """Leadership is lost: every waiting read fails, none stays silent."""
    for read in (*core.reads_waiting, *core.reads_pending):
        _answer(core, read, Code.NOT_LEADER)
    core.reads_waiting.clear()
    core.reads_pending.clear()
    check(core.read_count == 0, "every read is answered once")


def fail_forwarded(core: Core) -> None:
    """The leader they were sent to is gone: the reads may be tried again elsewhere."""
    for request in core.forwarded_reads:
        core.reads.append(ReadState(request, 0, Code.NOT_LEADER))
    core.forwarded_reads.clear()
    core.reads_to_forward.clear()


def expire_forwarded(core: Core) -> None:
    """Gives up on reads whose answer is overdue; ids are in order of their deadlines."""
    while core.forwarded_reads:
        request, deadline_ms = next(iter(core.forwarded_reads.items()))
        if deadline_ms > core.now:
            return
        del core.forwarded_reads[request]
        core.reads.append(ReadState(request, 0, Code.UNKNOWN_OUTCOME))


def _admit(core: Core, origin: NodeId, requests: tuple[RequestId, ...]) -> None:
    core.read_count += len(requests)
    if core.log.commit_index < core.term_start_index:
        core.reads_waiting.append(PendingRead(origin, requests, 0, 0))
        return
    # The index first, the lease after it: the other order would let a pause in between
    # make the answer stale.
    read = PendingRead(origin, requests, core.log.commit_index, core.round + 1)
    if core.options.lease_reads and has_lease(core):
        _answer(core, read, Code.OK)
        return
    core.reads_pending.append(read)
    core.is_round_due = True


def _answer(core: Core, read: PendingRead, code: Code) -> None:
    core.read_count -= len(read.requests)
    if read.origin == core.id:
        core.reads.extend(ReadState(request, read.index, code) for request in read.requests)
        return
    core.send(ReadReply(core.id, read.origin, core.term, read.requests, code, read.index))


def _acknowledged_round(core: Core) -> int:
    return quorum.quorum_value(core.log.configuration, core.peer_values("acked_round", core.round))
