"""When a member whose disk was empty may vote, and in which terms."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from neuro.cluster.ballot import Ballot
from neuro.cluster.identity import new_identity
from neuro.raft import Configuration, Message, Node, found_group
from neuro.raft.messages import (
    Append,
    Heartbeat,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
)

FOUNDERS = Configuration(voters=(1, 2, 3))
IDENTITY = new_identity("cluster", 1, is_voteless=True)
NODE = Node(1, found_group(FOUNDERS), Random(1), 0)


def pre_vote(sender: int, last_index: int = 1, last_term: int = 1) -> PreVote:
    return PreVote(sender, 1, 2, last_index, last_term)


def is_decided(ballot: Ballot) -> bool:
    return ballot.is_decided


def test_it_may_vote_when_every_other_founder_was_heard_at_the_founding_position() -> None:
    ballot = Ballot(IDENTITY, FOUNDERS)
    ballot.admits(pre_vote(2), NODE)
    assert not is_decided(ballot)
    ballot.admits(pre_vote(2), NODE)
    assert not is_decided(ballot)
    ballot.admits(pre_vote(3), NODE)
    assert is_decided(ballot)
    assert ballot.is_voteless
    ballot.open()
    assert ballot.admits(pre_vote(2), NODE)
    assert ballot.admits(RequestVote(2, 1, 2, 1, 1), NODE)


def test_a_founder_with_a_longer_log_means_that_the_disk_was_lost() -> None:
    ballot = Ballot(IDENTITY, FOUNDERS)
    ballot.admits(pre_vote(2), NODE)
    ballot.admits(pre_vote(3, last_index=2, last_term=2), NODE)
    assert not is_decided(ballot)


def test_nothing_of_an_election_passes_before_and_everything_else_does() -> None:
    ballot = Ballot(IDENTITY, FOUNDERS)
    refused: list[Message] = [
        pre_vote(2),
        PreVoteReply(2, 1, 2, True),
        RequestVote(2, 1, 2, 1, 1),
        RequestVote(2, 1, 2, 1, 1, transfer=True),
        VoteReply(2, 1, 2, True),
        TimeoutNow(2, 1, 2),
        Heartbeat(2, 1, 2, 50, 1),
    ]
    assert not any(ballot.admits(message, NODE) for message in refused)
    assert ballot.admits(Heartbeat(2, 1, 2, 1, 1), NODE)
    assert ballot.admits(Append(2, 1, 2, 1, 1, (), 1, 1), NODE)


def test_an_applied_entry_of_the_current_term_decides_but_never_for_that_term() -> None:
    ballot = Ballot(IDENTITY, FOUNDERS)
    ballot.note_applied(4, 5)
    assert not is_decided(ballot)
    ballot.note_applied(5, 5)
    assert is_decided(ballot)
    ballot.open()
    assert not ballot.admits(RequestVote(2, 1, 5, 9, 5), NODE)
    assert not ballot.admits(RequestVote(2, 1, 4, 9, 5), NODE)
    assert ballot.admits(RequestVote(2, 1, 6, 9, 5), NODE)


def test_the_floor_holds_over_a_restart() -> None:
    ballot = Ballot(replace(IDENTITY, is_voteless=False, vote_floor=7), FOUNDERS)
    assert not ballot.admits(RequestVote(2, 1, 7, 9, 5), NODE)
    assert ballot.admits(RequestVote(2, 1, 8, 9, 5), NODE)


def test_a_member_that_joins_waits_for_its_leader() -> None:
    ballot = Ballot(IDENTITY, None)
    for sender in (2, 3, 4):
        ballot.admits(pre_vote(sender), NODE)
    assert not is_decided(ballot)
    ballot.note_applied(3, 3)
    assert is_decided(ballot)
