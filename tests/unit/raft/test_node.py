"""The node's contract with its shell: batches, bounds, errors, and what may be pending."""

from __future__ import annotations

import pytest

from neuro.checks import InvariantError
from neuro.raft import (
    Busy,
    Code,
    InvalidTransfer,
    NotLeader,
    Options,
    PayloadTooLarge,
    RaftError,
    Role,
)
from neuro.raft import messages as m
from neuro.raft.progress import Inflight, Progress, ProgressState
from tests.raft_group import Group


def test_ready_is_none_when_there_is_nothing_to_do() -> None:
    group = Group()
    group.pass_time(0)
    node = group.node(1)
    node.tick(0)
    assert node.ready() is None


def test_readies_are_advanced_in_order() -> None:
    group = Group((1,))
    group.members[1].is_disk_held = True
    group.pass_time(3_000)
    with pytest.raises(InvariantError, match="in order"):
        group.node(1).advance(99, group.now)


def test_time_never_goes_back() -> None:
    group = Group((1, 2))
    group.elect(1)
    group.pass_time(0)
    node = group.node(1)
    due = node.next_deadline_ms()
    node.tick(0)
    assert node.next_deadline_ms() == due


def test_commit_hint_alone_needs_no_sync() -> None:
    group = Group((1, 2))
    group.elect(1)
    group.propose(1, b"x")
    group.deliver_between(1, 2)
    group.deliver_between(2, 1)
    group.node(2).step(group.pending.pop(), group.now)
    ready = group.node(2).ready()
    assert ready is not None
    assert ready.hard_state is not None
    assert (ready.must_sync, ready.hard_state.commit) == (False, 3)


def test_leader_sends_while_its_disk_works() -> None:
    group = Group((1, 2))
    group.elect(1)
    group.members[1].is_disk_held = True
    for payload in (b"a", b"b"):
        group.propose(1, payload)
    group.settle()
    assert group.node(2).last_index == 4
    assert group.commands_of(1) == []
    group.finish_writes(1)
    group.settle()
    assert group.commands_of(1) == [b"a", b"b"]


def test_uncommitted_tail_is_bounded() -> None:
    group = Group((1, 2), options=Options(uncommitted_bytes_max=1_000, entry_bytes_max=500))
    group.elect(1)
    group.isolate(2)
    with pytest.raises(Busy) as caught:
        for _ in range(100):
            group.propose(1, b"x" * 100)
    assert (caught.value.bound, caught.value.limit) == ("uncommitted_bytes_max", 1_000)
    assert group.node(1).last_index < 12


def test_too_large_payload_is_refused_before_it_travels() -> None:
    group = Group((1, 2), options=Options(entry_bytes_max=10))
    group.elect(1)
    for member in (1, 2):
        with pytest.raises(PayloadTooLarge) as caught:
            group.propose(member, b"x" * 11)
        assert (caught.value.size_bytes, caught.value.bytes_max) == (11, 10)


def test_reads_waiting_are_bounded() -> None:
    group = Group(options=Options(reads_pending_max=3))
    group.elect(1)
    group.isolate(1)
    for _ in range(3):
        group.node(1).read_index(group.now)
    with pytest.raises(Busy):
        group.node(1).read_index(group.now)


def test_without_a_leader_reads_and_proposals_say_so() -> None:
    group = Group()
    with pytest.raises(NotLeader) as caught:
        group.propose(1, b"x")
    assert caught.value.leader == 0
    with pytest.raises(NotLeader):
        group.read(1)


def test_forwarded_proposal_without_an_answer_has_an_unknown_outcome() -> None:
    group = Group()
    group.elect(1)
    request = group.propose(2, b"x")
    group.pending.clear()
    group.pass_time(Options().election_timeout_ms_max, [2])
    (state,) = group.members[2].proposals
    assert (state.request, state.code) == (request, Code.UNKNOWN_OUTCOME)


def test_forwarded_proposal_is_never_passed_on() -> None:
    group = Group()
    group.elect(1)
    group.sent.clear()
    group.deliver(m.Propose(3, 2, 2, 5, (b"x",)))
    assert group.sent == [m.ProposeReply(2, 3, 2, 5, Code.NOT_LEADER, 2, 0, 1)]


def test_read_of_a_follower_fails_when_its_leader_changes() -> None:
    group = Group()
    group.elect(1)
    group.read(2)
    group.pending.clear()
    group.deliver(m.Append(3, 2, 9, 2, 2, (), 2, 0))
    assert [read.code for read in group.members[2].reads] == [Code.NOT_LEADER]


@pytest.mark.parametrize("target", [1, 4, 9])
def test_leadership_is_offered_only_to_another_voter(target: int) -> None:
    group = Group((1, 2, 3), learners=(4,))
    group.elect(1)
    with pytest.raises(InvalidTransfer):
        group.node(1).transfer_leadership(target, group.now)


def test_every_error_has_a_code_of_its_own() -> None:
    kinds = RaftError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds) >= 7


def test_leader_with_a_hung_disk_hands_over() -> None:
    group = Group(options=Options(disk_stall_ms_max=1_500))
    group.elect(1)
    group.members[1].is_disk_held = True
    group.propose(1, b"x")
    for _ in range(20):
        group.pass_time(100)
        group.settle()
    assert group.leaders() in ([2], [3])
    assert group.node(1).role is Role.FOLLOWER


def test_compaction_keeps_a_tail_for_peers_that_catch_up() -> None:
    group = Group()
    group.elect(1)
    group.isolate(3)
    for number in range(30):
        group.propose(1, b"%d" % number)
        group.settle()
    node = group.node(1)
    node.keep_snapshot(node.note_snapshot(node.applied_index))
    assert node.suggest_compaction(5) == node.applied_index - 5
    group.node(1)._core.progress[3].match_index = node.applied_index - 8
    assert node.suggest_compaction(5) == node.applied_index - 8


class TestProgress:
    """The machine of probe, replicate and snapshot."""

    def progress(self, count_max: int = 4, bytes_max: int = 100) -> Progress:
        return Progress(10, Inflight(count_max, bytes_max), 0)

    def test_window_is_full_by_count_or_by_bytes(self) -> None:
        for inflight, size in ((Inflight(2, 100), 1), (Inflight(9, 100), 50)):
            inflight.add(1, size)
            inflight.add(2, size)
            assert inflight.is_full
            inflight.free_to(1)
            assert (inflight.is_full, len(inflight), inflight.size_bytes) == (False, 1, size)

    def test_stale_rejections_are_ignored(self) -> None:
        progress = self.progress()
        progress.acknowledge(5)
        progress.become_replicate()
        assert not progress.reject(4, 3)
        progress.become_probe()
        assert not progress.reject(9, 3)
        assert progress.next_index == 6

    def test_rejection_moves_next_to_the_hint_but_never_to_match(self) -> None:
        progress = self.progress()
        assert progress.reject(9, 4)
        assert progress.next_index == 5
        progress.acknowledge(3)
        assert progress.reject(progress.next_index - 1, 0)
        assert progress.next_index == 4

    def test_snapshot_pauses_until_it_ends(self) -> None:
        progress = self.progress()
        progress.become_snapshot(20, 0)
        assert progress.is_paused
        progress.become_probe()
        assert (progress.next_index, progress.state) == (21, ProgressState.PROBE)
