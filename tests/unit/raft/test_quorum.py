"""Majorities against a naive count, for random voters, values and votes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuro.raft import Configuration
from neuro.raft.quorum import Tally, agreed_value, majority_count, quorum_value, tally_votes

IDS = st.integers(1, 9)
VOTERS = st.sets(IDS, min_size=1, max_size=7).map(lambda ids: tuple(sorted(ids)))
VALUES = st.dictionaries(IDS, st.integers(0, 20))
CONFIGURATIONS = st.builds(
    lambda voters, outgoing: Configuration(voters=voters, outgoing=outgoing),
    VOTERS,
    st.one_of(st.just(()), VOTERS),
)


def naive_agreed(voters: tuple[int, ...], values: dict[int, int]) -> int:
    reached = [
        value
        for value in range(21)
        if 2 * sum(values.get(voter, 0) >= value for voter in voters) > len(voters)
    ]
    return max(reached)


def test_majority_of_every_small_count() -> None:
    assert [majority_count(count) for count in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


@given(VOTERS, VALUES)
def test_agreed_value_is_what_a_majority_reached(
    voters: tuple[int, ...], values: dict[int, int]
) -> None:
    assert agreed_value(voters, values) == naive_agreed(voters, values)


@given(CONFIGURATIONS, VALUES)
def test_joint_agreement_is_the_weaker_half(
    configuration: Configuration, values: dict[int, int]
) -> None:
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    expected = min(naive_agreed(half, values) for half in halves)
    assert quorum_value(configuration, values) == expected


@given(CONFIGURATIONS, st.dictionaries(IDS, st.booleans()))
def test_election_is_decided_only_when_no_further_vote_can_change_it(
    configuration: Configuration, votes: dict[int, bool]
) -> None:
    def wins(final: dict[int, bool]) -> bool:
        halves = [half for half in (configuration.voters, configuration.outgoing) if half]
        return all(2 * sum(final.get(node, False) for node in half) > len(half) for half in halves)

    missing = set(range(1, 10)) - votes.keys()
    worst = wins({**votes, **dict.fromkeys(missing, False)})
    best = wins({**votes, **dict.fromkeys(missing, True)})
    expected = Tally.WON if worst else (Tally.PENDING if best else Tally.LOST)
    assert tally_votes(configuration, votes) is expected
