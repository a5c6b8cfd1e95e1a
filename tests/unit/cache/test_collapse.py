"""Request collapsing: who leads, who waits, who is let go."""

from __future__ import annotations

from neuro.cache import CollapseTable, Role, Verdict, Wake


def test_the_first_leads_and_the_others_wait_until_it_shares() -> None:
    table = CollapseTable()
    assert [table.join(b"k", number, 0) for number in (1, 2, 3)] == [
        Role.LEADER,
        Role.FOLLOWER,
        Role.FOLLOWER,
    ]
    assert (table.flight_count, table.waiter_count) == (1, 2)
    assert table.share(b"k", 1) == [Wake(2, Verdict.USE), Wake(3, Verdict.USE)]
    assert (table.flight_count, table.waiter_count) == (0, 0)
    assert table.join(b"k", 4, 0) is Role.LEADER


def test_an_unstorable_response_releases_all_at_once_and_nobody_queues_again() -> None:
    table = CollapseTable(uncacheable_ttl_ms=100)
    for number in (1, 2, 3):
        table.join(b"k", number, 0)
    assert table.release(b"k", 1, 0, is_uncacheable=True) == [
        Wake(2, Verdict.FETCH),
        Wake(3, Verdict.FETCH),
    ]
    assert [table.join(b"k", number, 99) for number in (4, 5)] == [Role.ALONE, Role.ALONE]
    assert table.join(b"k", 6, 100) is Role.LEADER


def test_an_error_releases_all_but_is_not_remembered() -> None:
    table = CollapseTable()
    table.join(b"k", 1, 0)
    table.join(b"k", 2, 0)
    assert table.release(b"k", 1, 0, is_uncacheable=False) == [Wake(2, Verdict.FETCH)]
    assert table.join(b"k", 3, 0) is Role.LEADER


def test_when_the_leader_leaves_the_oldest_waiter_takes_over() -> None:
    table = CollapseTable()
    for number in (1, 2, 3):
        table.join(b"k", number, 0)
    assert table.abandon(b"k", 1) == [Wake(2, Verdict.LEAD)]
    assert table.share(b"k", 1) == []
    assert table.abandon(b"k", 2) == [Wake(3, Verdict.LEAD)]
    assert table.abandon(b"k", 3) == []
    assert table.flight_count == 0


def test_a_waiter_whose_client_left_is_not_woken() -> None:
    table = CollapseTable()
    for number in (1, 2, 3):
        table.join(b"k", number, 0)
    assert table.leave(b"k", 2)
    assert not table.leave(b"k", 2)
    assert not table.leave(b"other", 3)
    assert table.share(b"k", 1) == [Wake(3, Verdict.USE)]


def test_waiting_is_bounded_in_time() -> None:
    table = CollapseTable(wait_timeout_ms=50)
    table.join(b"k", 1, 0)
    table.join(b"k", 2, 10)
    table.join(b"k", 3, 20)
    assert table.next_deadline_ms() == 60
    assert table.expire(59) == []
    assert table.expire(60) == [Wake(2, Verdict.FETCH)]
    assert table.next_deadline_ms() == 70
    assert table.share(b"k", 1) == [Wake(3, Verdict.USE)]
    assert table.next_deadline_ms() is None


def test_waiting_is_bounded_in_number() -> None:
    table = CollapseTable(waiters_per_key_max=1, waiters_total_max=2)
    roles = [
        table.join(key, number, 0)
        for number, key in enumerate(b"aaabbccc".hex(" ").encode().split())
    ]
    assert roles == [
        *(Role.LEADER, Role.FOLLOWER, Role.ALONE),
        *(Role.LEADER, Role.FOLLOWER),
        *(Role.LEADER, Role.ALONE, Role.ALONE),
    ]


def test_memory_of_uncacheable_keys_is_bounded_and_drops_the_least_used() -> None:
    table = CollapseTable(uncacheable_keys_max=2)
    table.remember_uncacheable(b"a", 0)
    table.remember_uncacheable(b"b", 0)
    assert table.is_uncacheable(b"a", 1)
    table.remember_uncacheable(b"c", 2)
    assert [table.is_uncacheable(key, 3) for key in (b"a", b"b", b"c")] == [True, False, True]
    assert table.uncacheable_count == 2
    table.forget_uncacheable(b"a")
    assert not table.is_uncacheable(b"a", 3)
