"""Claims of the Raft dissertation, one test each, named by section.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014).
"""

from __future__ import annotations

import pytest

from neuro.raft import (
    Change,
    ChangeKind,
    ChangePending,
    Code,
    Configuration,
    Entry,
    EntryKind,
    Options,
    Role,
    SnapshotMeta,
)
from neuro.raft import messages as m
from tests.paper.raft_steps import append, command, sent
from tests.raft_group import Group


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
