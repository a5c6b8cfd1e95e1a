"""The fan-out of access events: whole records, bounded, counted when lost."""

from __future__ import annotations

import asyncio

from neuro.edge.access import RECORD_BYTES, AccessFeed
from neuro.native import ACCESS_RECORD_BYTES


def records(first: int, count: int) -> bytes:
    return b"".join(index.to_bytes(RECORD_BYTES, "little") for index in range(first, first + count))


def test_record_size_is_the_engines() -> None:
    assert RECORD_BYTES == ACCESS_RECORD_BYTES


async def test_every_subscriber_sees_every_record_in_order() -> None:
    blocks = [records(0, 5), records(5, 3), b""]
    feed = AccessFeed(lambda _count: blocks.pop(0))
    one, two = feed.subscribe(), feed.subscribe()
    feed.drain()
    assert one.poll(2) == records(0, 2)
    feed.drain()
    assert one.poll(100) == records(2, 6)
    assert two.poll(100) == records(0, 8)
    assert (one.poll(1), one.dropped) == (b"", 0)
    feed.stop()


async def test_slow_subscriber_loses_the_oldest_and_is_told() -> None:
    blocks = [records(0, 4), records(4, 4), records(8, 4)]
    feed = AccessFeed(lambda _count: blocks.pop(0))
    slow, fast = feed.subscribe(8), feed.subscribe(100)
    for _ in range(3):
        feed.drain()
    assert slow.poll(100) == records(4, 8)
    assert (slow.dropped, fast.dropped) == (4, 0)
    assert fast.poll(100) == records(0, 12)
    feed.stop()


async def test_ring_is_drained_by_itself_while_somebody_listens() -> None:
    polled = asyncio.Event()

    def poll(_count: int) -> bytes:
        polled.set()
        return records(0, 1)

    feed = AccessFeed(poll)
    subscription = feed.subscribe()
    async with asyncio.timeout(5):
        await polled.wait()
    assert subscription.poll(1) == records(0, 1)
    feed.unsubscribe(subscription)
    feed.stop()
