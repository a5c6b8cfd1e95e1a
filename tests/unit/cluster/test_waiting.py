"""What waiting clients are told, one outcome a test."""

from __future__ import annotations

import asyncio

import pytest

from neuro.cluster.replica import Applied, OutcomeUnknown, ReplicaStopped
from neuro.cluster.waiting import Waiting
from neuro.raft import Code, NotLeader, PayloadTooLarge, ProposalState, ReadState

Future = asyncio.Future[Applied[str]]


def future() -> Future:
    return asyncio.get_running_loop().create_future()


def asked(count: int = 1, *, is_local: bool = True) -> tuple[Waiting[str], list[Future]]:
    waiting: Waiting[str] = Waiting()
    futures = [future() for _ in range(count)]
    waiting.ask(7, is_local, futures)
    return waiting, futures


async def test_a_batch_is_answered_entry_by_entry() -> None:
    waiting, futures = asked(3)
    waiting.place(ProposalState(7, Code.OK, 2, 10), 9)
    for index in (10, 11, 12):
        waiting.note_applied(index, 2, f"result {index}")
    assert [each.result() for each in futures] == [
        Applied(index, 2, f"result {index}") for index in (10, 11, 12)
    ]


async def test_a_forwarded_command_applied_before_its_place_is_known_is_answered() -> None:
    waiting, futures = asked(2, is_local=False)
    waiting.note_applied(10, 2, "early")
    waiting.place(ProposalState(7, Code.OK, 2, 10), 10)
    assert futures[0].result().result == "early"
    waiting.note_applied(11, 2, "later")
    assert futures[1].result().result == "later"


async def test_an_entry_of_another_term_is_certain_for_the_leader_and_unknown_for_others() -> None:
    for is_local, expected in ((True, NotLeader), (False, OutcomeUnknown)):
        waiting, futures = asked(is_local=is_local)
        waiting.place(ProposalState(7, Code.OK, 2, 10), 9)
        waiting.note_applied(10, 3, "other")
        assert isinstance(futures[0].exception(), expected)


async def test_lost_leadership_a_snapshot_and_the_end_leave_nobody_waiting() -> None:
    waiting, futures = asked()
    waiting.place(ProposalState(7, Code.OK, 2, 10), 9)
    waiting.lose_leadership()
    assert isinstance(futures[0].exception(), OutcomeUnknown)
    waiting, futures = asked()
    waiting.place(ProposalState(7, Code.OK, 2, 10), 9)
    waiting.note_restored(9)
    assert not futures[0].done()
    waiting.note_restored(10)
    assert isinstance(futures[0].exception(), OutcomeUnknown)
    waiting, futures = asked()
    reads = [asyncio.get_running_loop().create_future() for _ in range(2)]
    waiting.ask_read(8, reads[:1])
    waiting.ask_read(9, reads[1:])
    waiting.note_read(ReadState(9, 50), 1)
    waiting.fail_all(OutcomeUnknown(), ReplicaStopped())
    assert isinstance(futures[0].exception(), OutcomeUnknown)
    assert all(isinstance(each.exception(), ReplicaStopped) for each in reads)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.BUSY, OutcomeUnknown),
        (Code.NOT_LEADER, OutcomeUnknown),
        (Code.TRANSFERRING, OutcomeUnknown),
        (Code.UNKNOWN_OUTCOME, OutcomeUnknown),
        (Code.TOO_LARGE, PayloadTooLarge),
    ],
)
async def test_a_refused_forward_is_unknown_because_a_copy_may_still_arrive(
    code: Code, expected: type[Exception]
) -> None:
    waiting, futures = asked(is_local=False)
    waiting.place(ProposalState(7, code), 0)
    assert isinstance(futures[0].exception(), expected)


async def test_reads_are_served_in_order_of_their_index_and_not_before() -> None:
    waiting: Waiting[str] = Waiting()
    reads = [asyncio.get_running_loop().create_future() for _ in range(3)]
    for request, read in enumerate(reads):
        waiting.ask_read(request, [read])
    waiting.note_read(ReadState(0, 20), 1)
    waiting.note_read(ReadState(1, 10), 1)
    waiting.note_read(ReadState(2, 0, Code.NOT_LEADER), 3)
    waiting.serve_reads(15)
    assert [each.done() for each in reads] == [False, True, True]
    assert reads[1].result() == 15
    error = reads[2].exception()
    assert isinstance(error, NotLeader)
    assert error.leader == 3
    waiting.serve_reads(20)
    assert reads[0].result() == 20


async def test_a_client_that_went_away_disturbs_nothing() -> None:
    waiting, futures = asked(2)
    futures[0].cancel()
    waiting.place(ProposalState(7, Code.OK, 2, 10), 9)
    waiting.note_applied(10, 2, "a")
    waiting.note_applied(11, 2, "b")
    assert futures[1].result().result == "b"
