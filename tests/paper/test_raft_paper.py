"""Claims of the Raft dissertation, one test each, named by section.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014).
"""

from __future__ import annotations

import pytest

from neuro.checks import InvariantError
from neuro.raft import (
    Change,
    ChangeKind,
    ChangePending,
    Code,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Options,
    Role,
    SnapshotMeta,
    Transferring,
)
from neuro.raft import messages as m
from tests.raft_group import Group


def sent(group: Group, kind: type[m.Message]) -> list[m.Message]:
    return [message for message in group.sent if type(message) is kind]


def append(
    group: Group,
    to: int,
    term: int,
    prev: tuple[int, int],
    entries: tuple[Entry, ...] = (),
    commit: int = 0,
    sender: int = 1,
) -> m.AppendReply:
    """Steps an append from an imagined leader; returns the answer."""
    group.sent.clear()
    group.deliver(m.Append(sender, to, term, prev[0], prev[1], entries, commit, 0))
    (reply,) = sent(group, m.AppendReply)
    assert isinstance(reply, m.AppendReply)
    return reply


def command(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(index, term, EntryKind.COMMAND, data)


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


class TestMembership:
    """Chapter 4."""

    def test_change_waits_for_a_commit_of_the_own_term(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(1)
        group.now += 2_000
        group.node(2).campaign(group.now)
        for sender, to in ((2, 3), (3, 2), (2, 3), (3, 2)):
            group.pump(sender)
            group.deliver_between(sender, to)
        assert group.node(2).role is Role.LEADER
        with pytest.raises(ChangePending):
            group.change(2, Change(ChangeKind.REMOVE, 3))

    def test_configuration_is_in_force_when_appended(self) -> None:
        group = Group()
        group.elect(1)
        group.change(1, Change(ChangeKind.REMOVE, 3))
        assert group.node(1).configuration.voters == (1, 2)
        assert group.node(1).commit_index == 2

    def test_truncation_restores_the_previous_configuration(self) -> None:
        group = Group()
        configuration = Configuration(voters=(1, 2), removed=(3,))
        entry = Entry(2, 2, EntryKind.CONFIGURATION, configuration.to_bytes())
        append(group, 2, 2, (1, 1), (entry,))
        assert group.node(2).configuration == configuration
        append(group, 2, 3, (1, 1), (command(2, 3),))
        assert group.node(2).configuration.voters == (1, 2, 3)

    def test_joint_configuration_needs_both_majorities(self) -> None:
        group = Group()
        group.elect(1)
        for member in (4, 5):
            group.add(member)
        group.change(
            1,
            Change(ChangeKind.REMOVE, 2),
            Change(ChangeKind.REMOVE, 3),
            Change(ChangeKind.ADD_VOTER, 4),
            Change(ChangeKind.ADD_VOTER, 5),
        )
        joint = group.node(1).last_index
        group.cut.update({(2, 1), (3, 1)})
        group.settle()
        assert group.node(1).commit_index < joint, "only the new half has it"
        group.heal()
        group.pass_time(100)
        group.settle()
        assert group.node(1).configuration == Configuration(voters=(1, 4, 5), removed=(2, 3))

    def test_removed_server_does_not_disturb_the_rest(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(3)
        group.change(1, Change(ChangeKind.REMOVE, 3))
        group.settle()
        group.heal()
        for _ in range(40):
            group.pass_time(100)
            group.settle()
        assert (group.leaders(), group.node(1).term) == ([1], 2)
        assert group.node(3).is_removed

    def test_learner_does_not_count(self) -> None:
        group = Group((1, 2), learners=(3,))
        group.elect(1)
        group.isolate(2)
        group.propose(1, b"x")
        group.settle()
        assert group.node(1).commit_index == 2
        group.pass_time(9_000, [3])
        assert group.node(3).role is Role.FOLLOWER

    def test_server_outside_its_uncommitted_configuration_still_campaigns(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(1)
        group.change(1, Change(ChangeKind.DEMOTE, 1))
        group.crash(1)
        group.restart(1)
        group.heal()
        group.now += 2_000
        group.node(1).campaign(group.now)
        group.settle()
        assert group.node(2).configuration.voters == (2, 3)
        assert group.leaders() in ([2], [3]), "it led until its removal was committed"


class TestCompaction:
    """Chapter 5."""

    def test_snapshot_replaces_a_log_it_is_ahead_of(self) -> None:
        group = Group()
        group.elect(1)
        group.isolate(3)
        group.propose(1, b"a", b"b")
        group.settle()
        group.compact(1)
        group.heal()
        group.pass_time(100)
        group.settle()
        node = group.node(3)
        assert (node.commit_index, node._core.log.store.base_index) == (4, 4)

    def test_snapshot_of_a_held_prefix_keeps_the_rest(self) -> None:
        group = Group((1, 2))
        append(group, 2, 2, (1, 1), tuple(command(i, 2) for i in (2, 3, 4)))
        meta = SnapshotMeta(3, 2, Configuration(voters=(1, 2)))
        group.deliver(m.InstallSnapshot(1, 2, 2, meta, 0))
        assert (group.node(2).commit_index, group.node(2).last_index) == (3, 4)

    def test_stale_snapshot_is_ignored(self) -> None:
        group = Group((1, 2))
        append(group, 2, 2, (1, 1), tuple(command(i, 2) for i in (2, 3)), commit=3)
        meta = SnapshotMeta(2, 2, Configuration(voters=(1, 2)))
        group.deliver(m.InstallSnapshot(1, 2, 2, meta, 0))
        assert (group.node(2).commit_index, group.node(2).last_index) == (3, 3)

    def test_snapshot_sets_the_configuration_over_any_uncommitted_one(self) -> None:
        group = Group()
        odd = Configuration(voters=(1, 2), removed=(3,))
        entries = (command(2, 2), Entry(3, 2, EntryKind.CONFIGURATION, odd.to_bytes()))
        append(group, 2, 2, (1, 1), entries)
        meta = SnapshotMeta(2, 3, Configuration(voters=(1, 2, 3)))
        group.deliver(m.InstallSnapshot(1, 2, 3, meta, 0))
        assert group.node(2).configuration.voters == (1, 2, 3)
        assert group.node(2).last_index == 2

    def test_member_that_installs_a_snapshot_does_not_campaign_before_it_is_durable(
        self,
    ) -> None:
        group = Group()
        group.members[2].is_disk_held = True
        meta = SnapshotMeta(9, 2, Configuration(voters=(1, 2, 3)))
        group.deliver(m.InstallSnapshot(1, 2, 2, meta, 0))
        group.pass_time(3_000, [2])
        assert group.node(2).role is Role.FOLLOWER
        assert group.node(2).is_installing


class TestReads:
    """Section 6.4."""

    def test_reads_of_one_moment_share_a_round(self) -> None:
        group = Group()
        group.elect(1)
        group.sent.clear()
        for _ in range(5):
            group.node(1).read_index(group.now)
        group.pump(1)
        assert len(sent(group, m.Heartbeat)) == 2
        group.settle()
        assert [read.code for read in group.members[1].reads] == [Code.OK] * 5

    def test_acknowledgement_of_an_earlier_round_confirms_nothing(self) -> None:
        group = Group()
        group.elect(1)
        group.pass_time(100, [1])
        group.read(1)
        for voter in (2, 3):
            group.deliver(m.HeartbeatReply(voter, 1, group.node(1).term, 1))
        assert not group.members[1].reads
        group.deliver(m.HeartbeatReply(2, 1, group.node(1).term, 2))
        assert group.members[1].reads

    def test_read_fails_when_leadership_is_lost(self) -> None:
        group = Group()
        group.elect(1)
        group.read(1)
        group.deliver(m.AppendReply(2, 1, 9, 0, 0, rejected=True))
        assert [read.code for read in group.members[1].reads] == [Code.NOT_LEADER]

    def test_learner_reads_through_the_leader(self) -> None:
        group = Group((1, 2), learners=(3,))
        group.elect(1)
        group.read(3)
        group.settle()
        (read,) = group.members[3].reads
        assert (read.code, read.index) == (Code.OK, 2)

    def test_lease_answers_alone_until_it_runs_out(self) -> None:
        group = Group(options=Options(lease_reads=True))
        group.elect(1)
        group.pass_time(100, [1])
        group.settle()
        group.isolate(1)
        group.now += 700
        group.read(1)
        assert [read.code for read in group.members[1].reads] == [Code.OK]
        group.now += 200
        group.read(1)
        assert len(group.members[1].reads) == 1

    def test_lease_ends_with_an_offer_of_leadership(self) -> None:
        group = Group(options=Options(lease_reads=True))
        group.elect(1)
        group.pass_time(100, [1])
        group.settle()
        group.isolate(1)
        group.node(1).transfer_leadership(2, group.now)
        group.read(1)
        assert not group.members[1].reads


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
