"""Claims of the Raft dissertation, one test each, named by section.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014).
"""

from __future__ import annotations

import pytest

from neuro.checks import InvariantError
from neuro.raft import (
    HardState,
    Options,
    Role,
    Transferring,
)
from neuro.raft import messages as m
from tests.paper.raft_steps import append, command, sent
from tests.raft_group import Group


class TestTerms:
    """Section 3.3, and figure 3.1 "All Servers"."""

    def test_newer_term_is_adopted_from_any_message(self) -> None:
        group = Group()
        group.deliver(m.VoteReply(2, 1, 7, granted=False))
        assert group.node(1).term == 7

    def test_candidate_that_sees_a_newer_term_follows(self) -> None:
        group = Group()
        group.pass_time(3_000, [1])
        group.deliver_between(1, 2)
        group.deliver_between(2, 1)
        assert group.node(1).role is Role.CANDIDATE
        group.deliver(m.VoteReply(3, 1, 9, granted=False))
        assert (group.node(1).role, group.node(1).term) == (Role.FOLLOWER, 9)

    def test_leader_that_sees_a_newer_term_follows(self) -> None:
        group = Group()
        group.elect(1)
        group.deliver(m.AppendReply(2, 1, 9, 0, 0, rejected=True))
        assert group.node(1).role is Role.FOLLOWER

    def test_request_of_an_older_term_is_refused(self) -> None:
        group = Group()
        group.elect(1)
        group.sent.clear()
        group.deliver(m.RequestVote(3, 2, 1, 99, 99))
        (reply,) = sent(group, m.VoteReply)
        assert reply == m.VoteReply(2, 3, group.node(2).term, granted=False)

    def test_leader_of_an_older_term_is_told(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(1)
        group.elect(2)
        group.heal()
        group.pass_time(100, [1])
        group.settle()
        assert group.leaders() == [2]


class TestElection:
    """Section 3.4."""

    def test_servers_start_as_followers(self) -> None:
        assert {node.node(1).role for node in (Group(), Group((1,)))} == {Role.FOLLOWER}

    def test_follower_that_hears_nothing_campaigns(self) -> None:
        group = Group()
        group.pass_time(Options().election_timeout_ms_max, [1])
        assert group.node(1).role is Role.PRE_CANDIDATE

    def test_follower_that_hears_a_leader_does_not(self) -> None:
        group = Group()
        group.elect(1)
        for _ in range(50):
            group.pass_time(100)
            group.settle()
        assert (group.leaders(), group.node(1).term) == ([1], 2)

    def test_timeouts_are_drawn_anew_for_every_election(self) -> None:
        group = Group()
        deadlines = set()
        for _ in range(20):
            group.pass_time(group.node(1).next_deadline_ms() - group.now, [1])
            deadlines.add(group.node(1).next_deadline_ms() - group.now)
        low, high = Options().election_timeout_ms_min, Options().election_timeout_ms_max
        assert len(deadlines) > 15
        assert low <= min(deadlines) <= max(deadlines) < high

    def test_one_vote_a_term_first_come_first_served(self) -> None:
        group = Group()
        group.now = 5_000
        group.deliver(m.RequestVote(1, 3, 2, 1, 1))
        group.deliver(m.RequestVote(2, 3, 2, 1, 1))
        assert [reply.granted for reply in sent(group, m.VoteReply)] == [True, False]  # type: ignore[attr-defined]

    def test_the_same_candidate_gets_its_vote_again(self) -> None:
        group = Group()
        group.now = 5_000
        group.deliver(m.RequestVote(1, 3, 2, 1, 1))
        group.deliver(m.RequestVote(1, 3, 2, 1, 1))
        assert [reply.granted for reply in sent(group, m.VoteReply)] == [True, True]  # type: ignore[attr-defined]

    def test_vote_survives_a_restart(self) -> None:
        group = Group()
        group.now = 5_000
        group.deliver(m.RequestVote(1, 3, 2, 1, 1))
        group.restart(3)
        group.now = 10_000
        group.sent.clear()
        group.deliver(m.RequestVote(2, 3, 2, 1, 1))
        assert sent(group, m.VoteReply) == [m.VoteReply(3, 2, 2, granted=False)]

    def test_vote_is_not_sent_before_it_is_durable(self) -> None:
        group = Group()
        group.now = 5_000
        group.members[3].is_disk_held = True
        group.deliver(m.RequestVote(1, 3, 2, 1, 1))
        assert not sent(group, m.VoteReply)
        group.finish_writes(3)
        assert group.members[3].image.hard_state == HardState(2, 1, 1)
        assert sent(group, m.VoteReply)

    def test_candidate_follows_the_winner_of_its_term(self) -> None:
        group = Group()
        group.pass_time(3_000, [1])
        group.deliver_between(1, 2)
        group.deliver_between(2, 1)
        assert group.node(1).role is Role.CANDIDATE
        group.deliver(m.Append(3, 1, group.node(1).term, 1, 1, (), 1, 0))
        assert (group.node(1).role, group.node(1).leader) == (Role.FOLLOWER, 3)

    def test_candidate_that_a_majority_refused_stops(self) -> None:
        group = Group()
        group.pass_time(3_000, [1])
        group.deliver_between(1, 2)
        group.deliver_between(2, 1)
        term = group.node(1).term
        for voter in (2, 3):
            group.deliver(m.VoteReply(voter, 1, term, granted=False))
        assert group.node(1).role is Role.FOLLOWER

    def test_two_leaders_of_one_term_stop_the_process(self) -> None:
        group = Group()
        group.elect(1)
        with pytest.raises(InvariantError, match="one leader a term"):
            group.deliver(m.Heartbeat(2, 1, group.node(1).term, 0, 0))


class TestTransfer:
    """Section 3.10."""

    def test_leader_refuses_proposals_until_the_transfer_ends(self) -> None:
        group = Group()
        group.elect(1)
        group.node(1).transfer_leadership(2, group.now)
        with pytest.raises(Transferring) as caught:
            group.propose(1, b"x")
        assert caught.value.target == 2

    def test_target_gets_missing_entries_first(self) -> None:
        group = Group()
        group.elect(1)
        group.propose(1, b"x")
        group.node(1).transfer_leadership(2, group.now)
        group.pump(1)
        assert not sent(group, m.TimeoutNow)
        group.settle()
        assert group.leaders() == [2]

    def test_transfer_is_given_up_after_an_election_timeout(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(2)
        group.node(1).transfer_leadership(2, group.now)
        for _ in range(10):
            group.pass_time(100)
            group.settle()
        group.propose(1, b"x")
        assert group.leaders() == [1]

    def test_asking_again_does_not_prolong_a_transfer(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(2)
        for _ in range(10):
            group.node(1).transfer_leadership(2, group.now)
            group.pass_time(100)
            group.settle()
        group.propose(1, b"x")
        assert group.leaders() == [1]

    def test_asking_again_repeats_a_lost_offer(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(2)
        group.node(1).transfer_leadership(2, group.now)
        group.settle()
        group.heal()
        group.node(1).transfer_leadership(2, group.now)
        group.settle()
        assert group.leaders() == [2]

    def test_offer_of_leadership_does_not_make_its_target_stick_to_the_old_leader(self) -> None:
        """Whoever offers leadership has ended its lease: nothing relies on this member."""
        group = Group()
        group.elect(1)
        group.settle()
        last_term, last_index = group.node(1).term, group.node(1).last_index
        group.now += group.options.election_timeout_ms_min
        group.deliver(m.TimeoutNow(1, 2, group.node(1).term))
        group.sent.clear()
        group.deliver(m.RequestVote(3, 2, group.node(2).term + 1, last_index, last_term, False))
        (reply,) = sent(group, m.VoteReply)
        assert isinstance(reply, m.VoteReply)
        assert reply.granted


class TestPreVote:
    """Sections 9.6 and 4.2.3."""

    def test_pre_vote_changes_no_term_and_no_vote(self) -> None:
        group = Group()
        group.pass_time(3_000, [1])
        group.now += 3_000
        group.deliver_between(1, 2)
        assert (group.node(1).term, group.node(2).term) == (1, 1)
        assert group.members[2].image.hard_state.vote == 0

    def test_partitioned_member_comes_back_without_an_election(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(3)
        for _ in range(100):
            group.pass_time(100)
            group.settle()
        group.heal()
        for _ in range(30):
            group.pass_time(100)
            group.settle()
        assert (group.leaders(), group.node(1).term) == ([1], 2)

    def test_longer_log_of_lower_term_and_shorter_log_of_higher_term_elect(self) -> None:
        group = Group((1, 2))
        append(group, 1, 2, (1, 1), (command(2, 2), command(3, 2)), sender=2)
        group.deliver(m.VoteReply(1, 2, 8, granted=False))
        group.now += 5_000
        for _ in range(6):
            group.pass_time(2_000)
            group.settle()
        assert group.leaders() == [1]
        assert group.node(1).term > 8


class TestCheckQuorum:
    """Section 6.2."""

    def test_leader_without_a_quorum_steps_down(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(1)
        group.pass_time(Options().election_timeout_ms_min + 1, [1])
        assert group.leaders() == []

    def test_leader_that_hears_but_is_not_heard_is_replaced(self) -> None:
        group = Group()
        group.elect(1)
        group.cut.update({(1, 2), (1, 3)})
        for _ in range(60):
            group.pass_time(100)
            group.settle()
        assert len(group.leaders()) == 1
        assert group.leaders() != [1]
