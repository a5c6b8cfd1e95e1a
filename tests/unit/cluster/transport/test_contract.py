"""What every transport promises to the driver; each test runs on TCP, TLS and QUIC."""

from __future__ import annotations

import asyncio
import dataclasses
import socket

import pytest
import uvloop

from neuro.cluster.replica import format_member_address
from neuro.cluster.transport import DialState
from neuro.raft import Entry, EntryKind, Message
from neuro.raft import messages as kinds
from tests.transport_contract import MemorySource, keep_sending, until

from .conftest import QUICK, Net


def heartbeat(sender: int, to: int, number: int) -> Message:
    return kinds.Heartbeat(sender, to, 3, number, number)


def append(sender: int, to: int, number: int, size_bytes: int) -> Message:
    entry = Entry(number + 1, 3, EntryKind.COMMAND, bytes(size_bytes))
    return kinds.Append(sender, to, 3, number, 3, (entry,), 0, number)


async def test_the_suite_runs_on_the_loop_of_a_node() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)


async def test_messages_arrive_in_order_and_equal(net: Net) -> None:
    one, _, _, driver = await net.pair()
    sent = [heartbeat(1, 2, number) for number in range(300)]
    for start in range(0, 300, 7):
        one.send(sent[start : start + 7])
    await until(lambda: len(driver.messages) == 300)
    assert driver.messages == sent


async def test_both_directions_work_at_once(net: Net) -> None:
    one, driver_one, two, driver_two = await net.pair()
    one.send([heartbeat(1, 2, 1)])
    two.send([heartbeat(2, 1, 2)])
    await until(lambda: driver_one.messages and driver_two.messages)
    assert driver_one.messages == [heartbeat(2, 1, 2)]
    assert driver_two.messages == [heartbeat(1, 2, 1)]


async def test_nothing_is_connected_before_there_is_something_to_say(net: Net) -> None:
    one, _, two, driver = await net.pair()
    assert one.peers() == ()
    assert two.stats.channels_accepted == 0
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver.messages)
    assert [peer.state for peer in one.peers()] == [DialState.OPEN]
    assert two.stats.channels_accepted == 1


async def test_an_append_of_the_largest_entry_arrives(net: Net) -> None:
    one, _, _, driver = await net.pair()
    big = append(1, 2, 7, 8 << 20)
    one.send([big, heartbeat(1, 2, 8)])
    await until(lambda: len(driver.messages) == 2, deadline_s=30)
    assert driver.messages == [big, heartbeat(1, 2, 8)]


async def test_a_message_that_no_frame_holds_is_dropped_and_reported(net: Net) -> None:
    one, driver_one, _, driver = await net.pair()
    payloads = tuple(bytes(6 << 20) for _ in range(3))
    one.send([kinds.Propose(1, 2, 3, 4, payloads), heartbeat(1, 2, 1)])
    await until(lambda: driver.messages)
    assert driver.messages == [heartbeat(1, 2, 1)]
    assert driver_one.unreachable == [2]


async def test_many_small_entries_are_split_over_frames(net: Net) -> None:
    one, _, _, driver = await net.pair()
    sent: list[Message] = []
    for number in range(4):
        start = number * 60_000
        entries = tuple(Entry(start + i + 1, 3, EntryKind.COMMAND, b"") for i in range(60_000))
        sent.append(kinds.Append(1, 2, 3, start, 3, entries, 0, number))
    one.send(sent)
    await until(lambda: len(driver.messages) == 4, deadline_s=30)
    assert driver.messages == sent


async def test_messages_for_a_dead_peer_are_dropped_and_reported(net: Net) -> None:
    one, driver, two, _ = await net.pair()
    await two.close()
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver.unreachable)
    assert set(driver.unreachable) == {2}
    one.send([heartbeat(1, 2, number) for number in range(9)])
    await until(lambda: one.stats.messages_lost >= 10)
    assert one.peers()[0].queue_count <= 9


async def test_messages_for_an_unknown_node_are_dropped_and_reported(net: Net) -> None:
    one, driver, _, _ = await net.pair()
    one.send([heartbeat(1, 9, 1)])
    await until(lambda: driver.unreachable)
    assert driver.unreachable == [9]


async def test_a_peer_that_comes_back_is_found(net: Net) -> None:
    one, driver_one, two, driver_two = await net.pair()
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_two.messages)
    port = two.address.port
    await two.close()
    await keep_sending(one, heartbeat(1, 2, 2), lambda: driver_one.unreachable)
    again, driver = await net.member(2, port=port, incarnation=2)
    assert again.address.port == port

    def arrived() -> bool:
        one.send([heartbeat(1, 2, 3)])
        return bool(driver.messages)

    await until(arrived)
    assert set(driver.messages) == {heartbeat(1, 2, 3)}


async def test_attempts_back_off(net: Net) -> None:
    """A dead peer costs a few attempts, not one for each message."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{taken.getsockname()[1]}"
        one, driver = await net.member(1)
        opened = 0
        connect = one.carrier.open

        async def count(*arguments: object) -> object:
            nonlocal opened
            opened += 1
            if net.is_udp:
                raise ConnectionRefusedError
            return await connect(*arguments)  # type: ignore[arg-type]

        one.carrier.open = count  # type: ignore[method-assign,assignment]
        one.set_peers({2: dead})
        loop = asyncio.get_running_loop()
        begin, sent = loop.time(), 0
        while loop.time() - begin < 0.6:
            one.send([heartbeat(1, 2, sent)])
            sent += 1
            await asyncio.sleep(0.001)
    assert 4 <= opened <= 25
    assert sent > 100
    assert driver.unreachable


async def test_a_cut_link_fills_a_bounded_queue_and_recovers(net: Net) -> None:
    """The peer stops taking bytes: memory stays bounded, losses are reported, and it mends."""
    limits = dataclasses.replace(QUICK, queue_count_max=16, queue_bytes_max=4 << 20)
    one, driver_one = await net.member(1, limits=limits)
    two, driver_two = await net.member(2)
    relay = await net.relay(two)
    one.set_peers({2: relay.address})
    one.send([heartbeat(1, 2, 0)])
    await until(lambda: driver_two.messages)
    relay.cut()
    number = 0

    def is_full() -> bool:
        nonlocal number
        number += 1
        one.send([append(1, 2, number, 256 << 10)])
        status = one.peers()[0]
        assert status.queue_count <= 16
        assert status.queue_bytes <= 4 << 20
        return bool(driver_one.unreachable)

    await until(is_full)
    assert number < 400
    relay.mend()

    def arrived() -> bool:
        one.send([heartbeat(1, 2, 777_777)])
        return heartbeat(1, 2, 777_777) in driver_two.messages

    await until(arrived, deadline_s=20)


async def test_a_cut_link_is_noticed_when_nothing_is_acknowledged(net: Net) -> None:
    one, driver_one = await net.member(1)
    two, driver_two = await net.member(2)
    relay = await net.relay(two)
    one.set_peers({2: relay.address})
    one.send([heartbeat(1, 2, 0)])
    await until(lambda: driver_two.messages)
    if not net.is_udp:
        # The relay's kernel would acknowledge; a crashed peer's does not.
        relay.break_connections()
    relay.cut()
    await until(lambda: driver_one.unreachable)


async def test_a_link_that_is_silent_for_long_stays_open(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_two.messages)
    await asyncio.sleep(1.3 * QUICK.idle_timeout_ms / 1_000)
    assert one.peers()[0].state is DialState.OPEN
    assert driver_one.unreachable == []


async def test_a_joining_member_answers_those_it_does_not_know(net: Net) -> None:
    one, driver_one = await net.member(1)
    two, driver_two = await net.member(2)
    one.set_peers({1: str(one.address), 2: str(two.address)})
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_two.messages)
    two.send([kinds.HeartbeatReply(2, 1, 3, 1)])
    await until(lambda: driver_one.messages)
    assert driver_one.messages == [kinds.HeartbeatReply(2, 1, 3, 1)]


async def test_a_member_that_leaves_the_configuration_is_disconnected(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_two.messages)
    one.set_peers({1: str(one.address)})
    assert one.peers() == ()
    one.send([heartbeat(1, 2, 2)])
    await until(lambda: driver_one.unreachable)
    assert driver_two.messages == [heartbeat(1, 2, 1)]


async def test_a_member_that_moves_is_found_at_its_new_address(net: Net) -> None:
    one, _, two, driver_two = await net.pair()
    relay = await net.relay(two)
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_two.messages)
    one.set_peers({2: format_member_address(relay.address, "127.0.0.1:1")})
    one.send([heartbeat(1, 2, 2)])
    await until(lambda: len(driver_two.messages) == 2)
    assert relay.passed_bytes > 0


async def test_a_later_incarnation_replaces_the_earlier_one(net: Net) -> None:
    old, driver_old = await net.member(1, incarnation=3)
    new, _ = await net.member(1, incarnation=4)
    two, driver_two = await net.member(2)
    for sender in (old, new):
        sender.set_peers({2: str(two.address)})
    old.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_two.messages)
    new.send([heartbeat(1, 2, 2)])
    await until(lambda: len(driver_two.messages) == 2)
    await until(lambda: driver_old.unreachable)
    old.send([heartbeat(1, 2, 3)])
    await keep_sending(old, heartbeat(1, 2, 3), lambda: len(driver_old.unreachable) >= 2)
    assert driver_two.messages == [heartbeat(1, 2, 1), heartbeat(1, 2, 2)]


async def test_another_cluster_is_refused(net: Net) -> None:
    one, driver_one = await net.member(1, cluster_id="beef")
    two, driver_two = await net.member(2)
    one.set_peers({2: str(two.address)})
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_one.unreachable)
    assert driver_two.messages == []


async def test_a_node_at_anothers_address_is_refused(net: Net) -> None:
    one, driver_one = await net.member(1)
    two, driver_two = await net.member(2)
    one.set_peers({3: str(two.address)})
    one.send([heartbeat(1, 3, 1)])
    await until(lambda: driver_one.unreachable)
    assert driver_two.messages == []


async def test_a_message_in_anothers_name_ends_the_channel(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_two.messages)
    one.send([heartbeat(4, 2, 2)])
    await until(lambda: driver_one.unreachable)
    assert driver_two.messages == [heartbeat(1, 2, 1)]


async def test_a_snapshot_is_never_believed_without_its_bytes(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    one.send([MemorySource(1, 2, b"x").offer.message])
    await until(lambda: driver_one.unreachable)
    assert driver_two.messages == []
    assert driver_two.offers == []


async def test_closing_twice_is_harmless_and_leaves_nothing(net: Net) -> None:
    one, driver, two, _ = await net.pair()
    one.send([heartbeat(1, 2, 1)])
    await one.close()
    await one.close()
    one.send([heartbeat(1, 2, 2)])
    await asyncio.sleep(0)
    assert one.peers() == ()
    await two.close()
    assert driver.messages == []


@pytest.mark.parametrize("size_bytes", [0, 1, (64 << 10) - 1, 64 << 10, (3 << 20) + 17])
async def test_a_snapshot_arrives_whole(net: Net, size_bytes: int) -> None:
    one, driver_one, _, driver_two = await net.pair()
    data = bytes(number % 251 for number in range(1 << 12)) * (size_bytes // (1 << 12) + 1)
    source = MemorySource(1, 2, data[:size_bytes])
    one.send_snapshot(source)
    await until(lambda: driver_one.reports, deadline_s=20)
    assert driver_one.reports == [(2, True)]
    assert driver_two.finished == [data[:size_bytes]]
    assert driver_two.offers == [source.offer]
    assert source.is_closed
    assert driver_two.messages == []


async def test_messages_overtake_a_snapshot(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    one.send([heartbeat(1, 2, 0)])
    await until(lambda: driver_two.messages)
    seen: list[int] = []
    driver_two.part_is_done = lambda _: seen.append(len(driver_two.messages))
    one.send_snapshot(MemorySource(1, 2, bytes(8 << 20)))
    await until(lambda: len(seen) >= 2)
    one.send([heartbeat(1, 2, 1)])
    await until(lambda: driver_one.reports, deadline_s=30)
    assert driver_one.reports == [(2, True)]
    assert seen[0] < seen[-1]


async def test_a_broken_transfer_goes_on_where_it_stopped(net: Net) -> None:
    one, driver_one = await net.member(1)
    two, driver_two = await net.member(2)
    relay = await net.relay(two)
    one.set_peers({2: relay.address})
    data = bytes(range(256)) * (4 << 12)

    def cut_in_the_middle(held: int) -> None:
        if held >= len(data) // 3 and not relay.is_cut and not driver_one.reports:
            relay.cut()
            relay.break_connections()

    driver_two.part_is_done = cut_in_the_middle
    one.send_snapshot(MemorySource(1, 2, data))
    await until(lambda: driver_one.reports)
    assert driver_one.reports == [(2, False)]
    relay.mend()
    while driver_one.reports[-1] != (2, True):
        # The core offers it again; how often depends on how long the carrier was cut off.
        assert len(driver_one.reports) < 5
        count = len(driver_one.reports)
        one.send_snapshot(MemorySource(1, 2, data))
        await until(lambda: len(driver_one.reports) > count)  # noqa: B023 (read before it moves)
    assert driver_two.finished == [data]
    assert driver_two.begun_at[0] == 0
    assert driver_two.begun_at[-1] >= len(data) // 3


async def test_a_snapshot_that_is_not_wanted_is_reported_failed(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    driver_two.wants_snapshots = False
    source = MemorySource(1, 2, bytes(1 << 20))
    one.send_snapshot(source)
    await until(lambda: driver_one.reports)
    assert driver_one.reports == [(2, False)]
    assert source.is_closed


async def test_a_snapshot_that_is_damaged_is_reported_failed(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    driver_two.believes_snapshots = False
    one.send_snapshot(MemorySource(1, 2, bytes(1 << 20)))
    await until(lambda: driver_one.reports)
    assert driver_one.reports == [(2, False)]
    assert driver_two.finished == []


async def test_a_file_that_ends_early_is_reported_failed(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    one.send_snapshot(MemorySource(1, 2, bytes(1_000), says_size=2_000))
    await until(lambda: driver_one.reports)
    assert driver_one.reports == [(2, False)]
    assert driver_two.finished == []


async def test_a_snapshot_for_a_dead_peer_is_reported_failed(net: Net) -> None:
    one, driver_one, two, _ = await net.pair()
    await two.close()
    one.send_snapshot(MemorySource(1, 2, bytes(1_000)))
    one.send_snapshot(MemorySource(1, 9, bytes(1_000)))
    await until(lambda: len(driver_one.reports) == 2)
    assert sorted(driver_one.reports) == [(2, False), (9, False)]


async def test_the_same_snapshot_twice_is_one_transfer(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    first, second = (MemorySource(1, 2, bytes(1 << 20)) for _ in range(2))
    one.send_snapshot(first)
    one.send_snapshot(second)
    assert second.is_closed
    await until(lambda: driver_one.reports)
    assert driver_one.reports == [(2, True)]
    assert len(driver_two.finished) == 1


async def test_a_newer_snapshot_takes_the_place_of_an_older(net: Net) -> None:
    one, driver_one, _, driver_two = await net.pair()
    first, second = MemorySource(1, 2, bytes(4 << 20)), MemorySource(1, 2, b"newer")
    one.send_snapshot(first)
    one.send_snapshot(second)
    await until(lambda: driver_one.reports)
    assert driver_one.reports == [(2, True)]
    assert driver_two.finished == [b"newer"]
    assert first.is_closed
