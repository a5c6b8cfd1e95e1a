"""Members that run: one alone, three together, with cuts, crashes, snapshots and changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.replica import (
    Alarm,
    AlarmKind,
    NoSpace,
    OutcomeUnknown,
    ReplicaStopped,
    StateCorrupt,
)
from neuro.raft import Change, ChangeKind, NodeId, NotLeader, Role
from tests.unit.cluster.fault_disk import FaultDisk
from tests.unit.cluster.member_group import Group, wait_for

MakeGroup = Callable[..., Group]


@pytest.fixture
def disks() -> dict[NodeId, FaultDisk]:
    return {}


@pytest.fixture
async def make_group(disks: dict[NodeId, FaultDisk]) -> AsyncIterator[MakeGroup]:
    groups: list[Group] = []

    def make(count: int, **settings: int) -> Group:
        held = {"space_reserve_bytes": 0, "housekeeping_ms": 50, **settings}
        group = Group(
            count,
            lambda node: disks.setdefault(node, FaultDisk()),
            settings=DriverSettings(**held),
        )
        groups.append(group)
        return group

    yield make
    for group in groups:
        await group.close()


async def test_a_single_member_leads_and_applies(make_group: MakeGroup) -> None:
    group = make_group(1)
    member = await group.start(1)
    await group.leader()
    applied = await member.propose(b"one")
    assert applied.result == (b"one", 1)
    assert await member.read_barrier() >= applied.index
    assert group.items(1) == [b"one"]


async def test_what_was_acknowledged_survives_a_restart(
    make_group: MakeGroup, disks: dict[NodeId, FaultDisk]
) -> None:
    group = make_group(1)
    member = await group.start(1)
    await group.leader()
    await asyncio.gather(*(member.propose(b"%d" % n) for n in range(50)))
    await group.stop(1)
    disks[1].lose_power(Random(1))
    again = await group.start(1)
    await group.leader()
    await again.read_barrier()
    assert sorted(group.items(1)) == sorted(b"%d" % n for n in range(50))
    assert again.status().incarnation == 2


async def test_three_members_elect_a_leader_and_agree(make_group: MakeGroup) -> None:
    group = make_group(3)
    await group.start_all()
    leader = await group.leader()
    results = await asyncio.gather(*(leader.propose(b"%d" % n) for n in range(200)))
    assert [each.result[1] for each in results] == list(range(1, 201))
    for node in (1, 2, 3):
        await group.members[node].read_barrier()
        assert group.items(node) == [b"%d" % n for n in range(200)]
    assert len({m.status().state_hash for m in group.members.values()}) == 1


async def test_many_proposals_share_a_sync(make_group: MakeGroup) -> None:
    group = make_group(1)
    member = await group.start(1)
    await group.leader()
    before = member.status().disk.sync_count
    await asyncio.gather(*(member.propose(b"x" * 100) for _ in range(1000)))
    assert member.status().disk.sync_count - before < 10


async def test_a_follower_forwards_commands_and_reads(make_group: MakeGroup) -> None:
    group = make_group(3)
    await group.start_all()
    leader = await group.leader()
    follower = next(m for m in group.members.values() if m is not leader)
    results = await asyncio.gather(*(follower.propose(b"%d" % n) for n in range(20)))
    assert [each.result[0] for each in results] == [b"%d" % n for n in range(20)]
    index = await follower.read_barrier()
    assert index >= results[-1].index
    hint = follower.leader_hint()
    assert (hint.node, hint.address) == (leader.node.id, f"node-{leader.node.id}")


async def test_an_isolated_leader_answers_unknown_and_another_takes_over(
    make_group: MakeGroup,
) -> None:
    group = make_group(3)
    await group.start_all()
    old = await group.leader()
    await old.propose(b"before")
    group.network.isolate(old.node.id)
    with pytest.raises(OutcomeUnknown):
        await old.propose(b"lost")
    with pytest.raises(NotLeader):
        await old.read_barrier()
    new = await group.leader()
    assert new is not old
    await new.propose(b"after")
    group.network.heal()
    await wait_for(lambda: group.items(old.node.id) == [b"before", b"after"])


async def test_a_read_or_a_command_never_waits_in_silence(make_group: MakeGroup) -> None:
    group = make_group(3)
    await group.start_all()
    leader = await group.leader()
    group.network.isolate(leader.node.id)
    results = await asyncio.gather(
        *(leader.propose(b"x", timeout_ms=100) for _ in range(5)),
        *(leader.read_barrier(timeout_ms=100) for _ in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(each, Exception) for each in results)


async def test_a_failing_sync_ends_the_member_and_tells_everybody(
    make_group: MakeGroup, disks: dict[NodeId, FaultDisk]
) -> None:
    group = make_group(1)
    member = await group.start(1)
    await group.leader()
    await member.propose(b"kept")
    disks[1].is_frozen = True
    with pytest.raises(OutcomeUnknown):
        await member.propose(b"lost")
    assert "injected" in await member.ended
    with pytest.raises(ReplicaStopped):
        await member.propose(b"more")
    with pytest.raises(ReplicaStopped):
        await member.read_barrier()
    disks[1].is_frozen = False
    await group.stop(1)
    disks[1].lose_power(Random(3))
    await group.start(1)
    await group.leader()
    await group.members[1].read_barrier()
    assert group.items(1)[0] == b"kept"


async def test_a_late_member_is_sent_a_snapshot_that_resumes(
    make_group: MakeGroup, disks: dict[NodeId, FaultDisk]
) -> None:
    group = make_group(3, snapshot_entry_count=200, entry_count_kept=10)
    await group.start_all()
    leader = await group.leader()
    late = next(n for n in (1, 2, 3) if n != leader.node.id)
    await group.stop(late)
    random = Random(1)
    for _ in range(6):
        await asyncio.gather(*(leader.propose(b"p" + random.randbytes(1000)) for _ in range(100)))
    await wait_for(lambda: leader.status().first_index > 300)
    group.network.interrupt_snapshot_at = 150_000
    await group.start(late)
    await wait_for(lambda: len(group.items(late)) == 600)
    assert group.items(late) == group.items(leader.node.id)
    resumed = [offset for offset in group.network.offsets_asked if offset >= 150_000]
    assert resumed
    await group.stop(late)
    disks[late].lose_power(Random(2))
    await group.start(late)
    await wait_for(lambda: group.items(late) == group.items(leader.node.id))


async def test_a_snapshot_damaged_on_the_way_is_thrown_away_and_sent_again(
    make_group: MakeGroup,
) -> None:
    group = make_group(3, snapshot_entry_count=50, entry_count_kept=5)
    await group.start_all()
    leader = await group.leader()
    late = next(n for n in (1, 2, 3) if n != leader.node.id)
    await group.stop(late)
    for n in range(100):
        await leader.propose(b"%d" % n)
    await wait_for(lambda: leader.status().first_index > 50)
    group.network.damage_snapshots = True
    await group.start(late)
    await wait_for(lambda: len(group.network.offsets_asked) > 1)
    assert group.items(late) == []
    group.network.damage_snapshots = False
    await wait_for(lambda: len(group.items(late)) == 100)


async def test_snapshots_compact_the_log_and_the_rest_is_replayed(
    make_group: MakeGroup, disks: dict[NodeId, FaultDisk]
) -> None:
    group = make_group(1, snapshot_entry_count=100, entry_count_kept=20)
    member = await group.start(1)
    await group.leader()
    for _ in range(20):
        await asyncio.gather(*(member.propose(b"y" * 500) for _ in range(50)))
    info = await member.take_snapshot()
    assert info.index == member.status().applied_index
    await member.propose(b"last")
    assert member.status().disk.segment_count < 6
    assert b"".join(member.open_snapshot())[:6] == b"NCSNAP"
    await group.stop(1)
    disks[1].lose_power(Random(4))
    await group.start(1)
    await group.leader()
    await group.members[1].read_barrier()
    assert group.items(1) == [b"y" * 500] * 1000 + [b"last"]


async def test_members_are_added_promoted_replaced_and_removed(make_group: MakeGroup) -> None:
    group = make_group(3)
    await group.start_all()
    leader = await group.leader()
    for n in range(30):
        await leader.propose(b"%d" % n)
    await group.start(4, joins=True)
    added = await leader.change_members(
        [Change(ChangeKind.ADD_LEARNER, 4, promote=True, address="node-4 client-4")]
    )
    assert 4 in (*added.learners, *added.voters)
    await wait_for(lambda: 4 in leader.node.configuration.voters)
    await wait_for(lambda: len(group.items(4)) == 30)
    await wait_for(lambda: not group.members[4].status().is_voteless)
    gone = next(n for n in (1, 2, 3) if n != leader.node.id)
    replaced = await leader.change_members(
        [Change(ChangeKind.REMOVE, gone), Change(ChangeKind.ADD_LEARNER, 5, address="node-5")]
    )
    assert gone not in replaced.voters
    assert gone in replaced.removed
    await leader.propose(b"end")


async def test_leadership_is_handed_over(make_group: MakeGroup) -> None:
    group = make_group(3)
    await group.start_all()
    leader = await group.leader()
    target = next(n for n in (1, 2, 3) if n != leader.node.id)
    await leader.propose(b"x")
    await leader.transfer_leadership(target)
    assert leader.node.leader == target
    new = await group.leader()
    assert new.node.id == target
    with pytest.raises(NotLeader):
        await leader.change_members([Change(ChangeKind.REMOVE, 1)])


async def test_a_member_with_a_wiped_disk_does_not_vote(
    make_group: MakeGroup, disks: dict[NodeId, FaultDisk]
) -> None:
    group = make_group(3)
    await group.start_all()
    leader = await group.leader()
    for n in range(10):
        await leader.propose(b"%d" % n)
    others = [n for n in (1, 2, 3) if n != leader.node.id]
    wiped, behind = others
    # `behind` misses what the leader and `wiped` commit; then both forget.
    await group.stop(behind)
    await leader.propose(b"only on two")
    await group.stop(wiped)
    await group.stop(leader.node.id)
    disks[wiped] = FaultDisk()
    await group.start(behind)
    back = await group.start(wiped)
    await asyncio.sleep(1.5)  # several election timeouts in which nothing may happen
    assert back.status().is_voteless
    assert group.members[behind].node.role is not Role.LEADER
    await group.start(leader.node.id)
    await wait_for(lambda: group.items(behind)[-1:] == [b"only on two"])


async def test_a_full_disk_refuses_growth_and_recovers_by_itself(
    make_group: MakeGroup, disks: dict[NodeId, FaultDisk]
) -> None:
    disks[1] = FaultDisk(capacity_bytes=1 << 20)
    group = make_group(1, space_reserve_bytes=600_000)
    member = await group.start(1)
    await group.leader()
    with pytest.raises(NoSpace) as caught:
        while True:
            await member.propose(b"z" * 10_000)
    assert caught.value.nodes == (1,)
    assert Alarm(1, AlarmKind.NO_SPACE) in member.alarms()
    await member.propose(b"delete", frees_space=True)
    await member.read_barrier()
    disks[1].capacity_bytes *= 4
    await wait_for(lambda: member.alarms() == ())
    await member.propose(b"more")


async def test_a_really_full_disk_only_makes_commands_wait(
    make_group: MakeGroup, disks: dict[NodeId, FaultDisk]
) -> None:
    disks[1] = FaultDisk(capacity_bytes=300_000)
    group = make_group(1)
    member = await group.start(1)
    await group.leader()
    tasks = [asyncio.create_task(member.propose(b"w" * 20_000)) for _ in range(30)]
    await wait_for(lambda: member.writer.is_full)
    assert not all(task.done() for task in tasks)
    disks[1].capacity_bytes *= 10
    await asyncio.gather(*tasks)
    assert len(group.items(1)) == 30


async def test_a_member_whose_state_differs_raises_an_alarm_and_serves_nothing(
    make_group: MakeGroup,
) -> None:
    group = make_group(3)
    await group.start_all()
    leader = await group.leader()
    bad = next(n for n in (1, 2, 3) if n != leader.node.id)
    await leader.propose(b"x")
    await group.members[bad].read_barrier()
    group.members[bad].applier.machine.apply(0, 0, b"cosmic ray")
    await asyncio.gather(*(leader.propose(b"%d" % n) for n in range(1100)))
    await wait_for(lambda: Alarm(bad, AlarmKind.CORRUPT) in leader.alarms())
    with pytest.raises(StateCorrupt):
        await group.members[bad].read_barrier()
    await leader.read_barrier()


async def test_a_witness_votes_and_keeps_no_data(make_group: MakeGroup) -> None:
    group = make_group(2, snapshot_entry_count=20, entry_count_kept=5)
    await group.start_all()
    leader = await group.leader()
    for n in range(40):
        await leader.propose(b"%d" % n)
    await wait_for(lambda: leader.status().first_index > 5)
    witness = await group.start(3, joins=True)
    await leader.change_members([Change(ChangeKind.ADD_WITNESS, 3, address="node-3")])
    await wait_for(lambda: not witness.status().is_voteless)
    other = next(n for n in (1, 2) if n != leader.node.id)
    await group.stop(other)
    await leader.propose(b"with the witness alone")
    assert group.items(3) == []
    with pytest.raises(NotLeader):
        await witness.propose(b"x")
    with pytest.raises(NotLeader):
        await witness.read_barrier()
    await group.stop(3)
    await group.start(3, joins=True)
    await leader.propose(b"after its restart")
    assert group.items(3) == []
