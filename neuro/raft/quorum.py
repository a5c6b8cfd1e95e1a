"""Majorities: of one voter set, and of both halves of a joint configuration.

Owns the arithmetic of agreement. Never knows what is being agreed on: votes, match
indices, heartbeat rounds and lease times all go through the same two functions.

Source: dissertation sections 3.4, 3.6.2 and 4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from neuro.raft.configuration import Configuration, IdSet


class Tally(IntEnum):
    """How an election stands."""

    PENDING = 0
    WON = 1
    LOST = 2


def majority_count(voter_count: int) -> int:
    """Votes needed out of `voter_count`; 1 or more."""
    return voter_count // 2 + 1


def agreed_value(voters: IdSet, values: Mapping[int, int]) -> int:
    """The largest value that a majority has reached; a missing value counts as 0."""
    if not voters:
        return 0
    reached = sorted([values.get(node, 0) for node in voters], reverse=True)
    return reached[majority_count(len(voters)) - 1]


def quorum_value(configuration: Configuration, values: Mapping[int, int]) -> int:
    """The largest value that a quorum of the (joint) configuration has reached."""
    agreed = agreed_value(configuration.voters, values)
    if configuration.outgoing:
        agreed = min(agreed, agreed_value(configuration.outgoing, values))
    return agreed


def tally_votes(configuration: Configuration, votes: Mapping[int, bool]) -> Tally:
    """WON when a quorum granted, LOST when no quorum can any more."""
    result = _tally_half(configuration.voters, votes)
    if configuration.outgoing:
        other = _tally_half(configuration.outgoing, votes)
        if Tally.LOST in (result, other):
            return Tally.LOST
        return result if result is other else Tally.PENDING
    return result


def _tally_half(voters: IdSet, votes: Mapping[int, bool]) -> Tally:
    granted = sum(1 for node in voters if votes.get(node) is True)
    refused = sum(1 for node in voters if votes.get(node) is False)
    needed = majority_count(len(voters))
    if granted >= needed:
        return Tally.WON
    if refused > len(voters) - needed:
        return Tally.LOST
    return Tally.PENDING
