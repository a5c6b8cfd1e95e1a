"""Claims of the Raft dissertation, one test each, named by section.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014).
"""

from __future__ import annotations

import pytest

from neuro.checks import InvariantError
from neuro.raft import (
    Options,
    Role,
)
from neuro.raft import messages as m
from tests.paper.raft_steps import append, command, sent
from tests.raft_group import Group


class TestReplication:
    """Section 3.5."""

    def test_entry_is_committed_once_a_majority_holds_it(self) -> None:
        group = Group((1, 2, 3, 4, 5))
        group.elect(1)
        group.propose(1, b"x")
        for follower, commit in ((2, 2), (3, 3)):
            group.deliver_between(1, follower)
            group.deliver_between(follower, 1)
            assert group.node(1).commit_index == commit

    def test_followers_learn_of_the_commit_and_apply_in_order(self) -> None:
        group = Group()
        group.elect(1)
        group.propose(1, b"a", b"b")
        group.propose(1, b"c")
        group.settle()
        assert all(group.commands_of(node) == [b"a", b"b", b"c"] for node in (1, 2, 3))

    @pytest.mark.parametrize("prev", [(5, 2), (2, 1), (3, 9)])
    def test_append_is_refused_where_prev_does_not_match(self, prev: tuple[int, int]) -> None:
        group = Group((1, 2))
        append(group, 2, 2, (1, 1), (command(2, 2), command(3, 2)))
        reply = append(group, 2, 3, prev, (command(prev[0] + 1, 3),))
        assert reply.rejected
        assert group.node(2).last_index == 3

    def test_empty_append_checks_prev_too(self) -> None:
        assert append(Group((1, 2)), 2, 2, (4, 2)).rejected

    def test_conflicting_entries_are_deleted_with_all_that_follow(self) -> None:
        group = Group((1, 2))
        append(group, 2, 2, (1, 1), tuple(command(i, 2) for i in (2, 3, 4)))
        reply = append(group, 2, 3, (2, 2), (command(3, 3, b"new"),))
        assert (reply.match_index, reply.rejected) == (3, False)
        assert group.log_of(2) == [(2, 2, b"x"), (3, 3, b"new")]

    def test_entries_already_held_delete_nothing(self) -> None:
        group = Group((1, 2))
        append(group, 2, 2, (1, 1), tuple(command(i, 2) for i in (2, 3, 4)))
        reply = append(group, 2, 2, (1, 1), (command(2, 2),))
        assert (reply.match_index, group.node(2).last_index) == (2, 4)

    def test_commit_index_is_the_smaller_of_leader_commit_and_last_new_entry(self) -> None:
        group = Group((1, 2))
        append(group, 2, 2, (1, 1), tuple(command(i, 2) for i in (2, 3, 4)))
        append(group, 2, 2, (1, 1), (command(2, 2),), commit=4)
        assert group.node(2).commit_index == 2

    def test_conflict_below_the_commit_index_stops_the_process(self) -> None:
        group = Group((1, 2))
        append(group, 2, 2, (1, 1), (command(2, 2), command(3, 2)), commit=2)
        bad = m.Append(1, 2, 3, 1, 1, (command(2, 3),), 2, 0)
        reply = append(group, 2, 3, (1, 1), (command(2, 3),))
        assert reply.match_index == 2, "what is committed matches by definition"
        with pytest.raises(InvariantError, match="never truncated"):
            group.node(2)._core.log.truncate_from(bad.entries[0].index)

    def test_entry_is_acknowledged_only_when_durable(self) -> None:
        group = Group((1, 2))
        group.elect(1)
        group.members[2].is_disk_held = True
        group.propose(1, b"x")
        group.sent.clear()
        group.deliver_between(1, 2)
        assert not sent(group, m.AppendReply)
        group.crash(2)
        group.restart(2)
        assert group.node(2).last_index == 2

    def test_leader_never_overwrites_its_own_entries(self) -> None:
        group = Group()
        group.elect(1)
        group.propose(1, b"x")
        term = group.node(1).term
        with pytest.raises(InvariantError):
            group.deliver(m.Append(2, 1, term, 2, 2, (command(3, term, b"y"),), 0, 0))

    def test_late_acknowledgement_does_not_take_the_match_index_back(self) -> None:
        group = Group((1, 2))
        group.elect(1)
        group.propose(1, b"a")
        group.propose(1, b"b")
        group.settle()
        progress = group.node(1)._core.progress[2]
        group.deliver(m.AppendReply(2, 1, group.node(1).term, 2, 0))
        assert (progress.match_index, progress.next_index) == (4, 5)


class TestSafety:
    """Section 3.6."""

    @pytest.mark.parametrize(
        ("position", "granted"),
        [((2, 2), False), ((3, 2), True), ((4, 2), True), ((9, 1), False), ((2, 3), True)],
    )
    def test_vote_goes_only_to_a_log_as_up_to_date(
        self, position: tuple[int, int], granted: bool
    ) -> None:
        group = Group()
        append(group, 2, 2, (1, 1), (command(2, 2), command(3, 2)))
        group.now += 5_000
        group.sent.clear()
        group.deliver(m.RequestVote(3, 2, 9, *position))
        assert sent(group, m.VoteReply) == [m.VoteReply(2, 3, 9, granted)]

    def test_older_terms_are_committed_only_along_with_the_own(self) -> None:
        group = Group((1, 2, 3), options=Options(append_bytes_max=20))
        group.elect(1)
        group.isolate(3)
        group.cut.add((2, 1))
        group.propose(1, b"old")
        group.settle()
        group.heal()
        group.crash(1)
        group.now += 2_000
        group.node(2).campaign(group.now)
        for sender, to in ((2, 3), (3, 2), (2, 3), (3, 2)):
            group.pump(sender)
            group.deliver_between(sender, to)
        assert group.node(2).role is Role.LEADER
        own = group.node(2).last_index
        group.deliver(m.AppendReply(3, 2, group.node(2).term, own - 1, 0))
        assert group.node(2).commit_index < own - 1
        group.deliver(m.AppendReply(3, 2, group.node(2).term, own, 0))
        assert group.node(2).commit_index == own


class TestPersistence:
    """Section 3.8."""

    def test_member_resumes_with_term_vote_and_log(self) -> None:
        group = Group()
        group.elect(1)
        group.propose(1, b"x")
        group.settle()
        before = (group.node(2).term, group.node(2).last_index, group.log_of(2))
        group.crash(2)
        group.restart(2)
        assert (group.node(2).term, group.node(2).last_index, group.log_of(2)) == before

    def test_power_loss_everywhere_keeps_what_was_acknowledged(self) -> None:
        group = Group()
        group.elect(1)
        group.propose(1, b"x")
        group.settle()
        for member in (1, 2, 3):
            group.crash(member)
        group.pending.clear()
        for member in (1, 2, 3):
            group.restart(member)
        group.elect(3)
        assert b"x" in group.commands_of(3)

    def test_first_term_after_a_restart_is_above_every_persisted_one(self) -> None:
        group = Group()
        group.deliver(m.VoteReply(2, 1, 40, granted=False))
        group.crash(1)
        group.restart(1)
        group.elect(1)
        assert group.node(1).term == 41

    def test_crash_between_entries_and_hard_state_is_legal(self) -> None:
        group = Group()
        group.members[2].image.entries.append(command(2, 6))
        group.restart(2)
        assert group.node(2).term == 6


class TestFlow:
    """Section 10.2: pipelining, batching, and the leader's disk beside the followers'."""

    def test_many_proposals_share_one_append_and_one_write(self) -> None:
        group = Group()
        group.elect(1)
        group.sent.clear()
        for index in range(50):
            group.node(1).propose((b"%d" % index,), group.now)
        ready = group.node(1).ready()
        assert ready is not None
        assert len(ready.entries) == 50
        assert [len(msg.entries) for msg in ready.messages if isinstance(msg, m.Append)] == [50, 50]

    def test_window_bounds_what_is_under_way(self) -> None:
        group = Group((1, 2), options=Options(inflight_count_max=3))
        group.elect(1)
        for index in range(10):
            group.propose(1, b"%d" % index)
        assert len([msg for msg in group.pending if isinstance(msg, m.Append)]) == 3
        group.settle()
        assert group.node(2).commit_index == group.node(1).last_index

    def test_lost_appends_are_noticed_by_the_next_heartbeat(self) -> None:
        group = Group((1, 2))
        group.elect(1)
        group.propose(1, b"lost")
        group.pending.clear()
        group.pass_time(100, [1])
        group.settle()
        assert group.commands_of(2) == [b"lost"]
