"""The algebra of configurations: random walks keep every rule; each refusal has its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.raft import Change, ChangeKind, Configuration, InvalidChange
from neuro.raft.configuration import change_configuration, leave_joint

CHANGES = st.lists(
    st.builds(Change, st.sampled_from(ChangeKind), st.integers(1, 8), st.booleans(), st.just("")),
    min_size=1,
    max_size=4,
)
START = Configuration(voters=(1, 2, 3))


def majorities_meet(old: Configuration, new: Configuration) -> bool:
    """Whether every quorum of one shares a voter with every quorum of the other."""

    def quorums(configuration: Configuration) -> list[set[int]]:
        nodes = sorted({*configuration.voters, *configuration.outgoing})
        subsets = [
            {node for bit, node in enumerate(nodes) if mask >> bit & 1}
            for mask in range(1 << len(nodes))
        ]
        halves = [half for half in (configuration.voters, configuration.outgoing) if half]
        return [
            subset
            for subset in subsets
            if all(2 * len(subset.intersection(half)) > len(half) for half in halves)
        ]

    return all(a & b for a in quorums(old) for b in quorums(new))


@given(st.lists(CHANGES, max_size=5))
def test_random_changes_keep_every_rule(steps: list[list[Change]]) -> None:
    current = START
    removed: set[int] = set()
    for changes in steps:
        try:
            after = change_configuration(current, changes)
        except InvalidChange:
            continue
        assert majorities_meet(current, after)
        if after.is_joint:
            final = leave_joint(after)
            assert majorities_meet(after, final)
            after = final
        removed |= set(after.removed)
        assert not removed & set(after.members())
        assert set(after.promotable) <= set(after.learners)
        assert 2 * len(after.witnesses) <= len(after.voters)
        assert not set(after.voters) & set(after.learners)
        assert Configuration.from_bytes(after.to_bytes()) == after
        current = after


def test_one_voter_changes_in_one_step_and_two_go_through_joint() -> None:
    one = change_configuration(START, [Change(ChangeKind.ADD_VOTER, 4)])
    two = change_configuration(
        START, [Change(ChangeKind.ADD_VOTER, 4), Change(ChangeKind.REMOVE, 1)]
    )
    assert not one.is_joint
    assert (two.voters, two.outgoing) == ((2, 3, 4), (1, 2, 3))
    assert leave_joint(two) == Configuration(voters=(2, 3, 4), removed=(1,))


def test_demoted_voter_of_a_joint_change_votes_until_its_end() -> None:
    changes = [Change(ChangeKind.DEMOTE, 3), Change(ChangeKind.ADD_VOTER, 4)]
    joint = change_configuration(START, changes)
    assert (joint.learners, joint.learners_next) == ((), (3,))
    assert joint.is_voter(3)
    assert leave_joint(joint).learners == (3,)


def test_addresses_travel_with_the_members() -> None:
    changed = change_configuration(
        START, [Change(ChangeKind.ADD_LEARNER, 4, promote=True, address="h:1")]
    )
    assert changed.addresses == ((4, "h:1"),)
    assert Configuration.from_bytes(changed.to_bytes()) == changed
    gone = change_configuration(changed, [Change(ChangeKind.REMOVE, 4)])
    assert gone.addresses == ()


@pytest.mark.parametrize(
    ("base", "changes", "reason"),
    [
        (START, [Change(ChangeKind.REMOVE, 9)], "not a member"),
        (START, [Change(ChangeKind.DEMOTE, 9)], "not a member"),
        (START, [Change(ChangeKind.ADD_VOTER, 0)], "not positive"),
        (Configuration(voters=(1,)), [Change(ChangeKind.REMOVE, 1)], "no voter"),
        (
            Configuration(voters=(1, 2), removed=(3,)),
            [Change(ChangeKind.ADD_LEARNER, 3)],
            "never comes back",
        ),
        (Configuration(voters=(1, 2), outgoing=(1,)), [], "joint already"),
        (
            Configuration(voters=(1, 2, 3), witnesses=(3,)),
            [Change(ChangeKind.ADD_VOTER, 3)],
            "witness, or back",
        ),
        (
            Configuration(voters=(1, 2, 3), witnesses=(3,)),
            [Change(ChangeKind.REMOVE, 2), Change(ChangeKind.ADD_WITNESS, 4)],
            "majority",
        ),
    ],
)
def test_senseless_change_is_refused(
    base: Configuration, changes: list[Change], reason: str
) -> None:
    with pytest.raises(InvalidChange, match=reason):
        change_configuration(base, changes)


@pytest.mark.parametrize("data", [b"[]", b"{", b"7", b'"x"'])
def test_foreign_bytes_are_not_a_configuration(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Configuration.from_bytes(data)
