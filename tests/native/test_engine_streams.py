"""Bodies that take longer than a turn: fills that clients follow, slow readers, evictions meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterator

import pytest

from neuro._core.engine import OUTCOME_COLLAPSED, ClosedEvent
from neuro._core.slab import Fill
from neuro.errors import SlabFull
from tests.native.engine_driver import FIELDS, HOST, Client, EngineDriver


@pytest.fixture
def driver() -> Iterator[EngineDriver]:
    with EngineDriver() as made:
        yield made


def _begin(driver: EngineDriver, length: int | None) -> Fill:
    return driver.slab.begin_fill(
        f"http://{HOST}/fill".encode(),
        status=200,
        fields=FIELDS,
        fields_304=b"",
        meta=b"",
        body_length=length,
        born=0,
        expires=2**32 - 1,
    )


def _follow(driver: EngineDriver, fill: Fill, length: int | None, offset: int = 0) -> int:
    request = driver.next_request().request
    assert driver.engine.answer(
        request,
        200,
        b"",
        length=length,
        offset=offset,
        outcome=OUTCOME_COLLAPSED,
        object_handle=fill.handle,
    )
    return request


@pytest.mark.parametrize("promised", [True, False])
@pytest.mark.parametrize("ending", ["publish", "unindexed"])
def test_followers_receive_a_fill_while_it_runs(
    driver: EngineDriver, promised: bool, ending: str
) -> None:
    body = os.urandom(700_001)
    length = len(body) if promised else None
    fill = _begin(driver, length)
    early = [driver.client() for _ in range(20)]
    late = driver.client()
    for client in early:
        client.get("/fill")
        _follow(driver, fill, length)
    steps = [1, 100, 65536, 300_000, len(body)]
    at = 0
    for step in steps:
        fill.write(body[at:step])
        driver.engine.notify_fill(fill.handle)
        if step == 65536:
            late.get("/fill")
            _follow(driver, fill, length)
        at = step
        if step == 1 and not promised:
            early[0].read_head()
    handle = fill.handle
    stored = fill.publish() if ending == "publish" else fill.complete_unindexed()
    driver.engine.notify_fill(handle)
    if not promised:
        received = b""
        while size := int(early[0].read_line(), 16):
            received += early[0].read_exactly(size)
            early[0].read_exactly(2)
        assert received == body
        early = early[1:]
    for client in [*early, late]:
        assert client.read_response().body == body
    stored.release()
    again = driver.client()
    again.get("/fill")
    if ending == "publish":
        assert again.read_response().body == body
    else:
        while isinstance(driver.next_any(), ClosedEvent):
            pass


def test_each_step_of_a_fill_reaches_a_follower_at_once(driver: EngineDriver) -> None:
    fill = _begin(driver, 300)
    client = driver.client()
    client.get("/fill")
    _follow(driver, fill, 300)
    client.read_head()
    for i in range(300):
        fill.write(bytes([i % 256]))
        driver.engine.notify_fill(fill.handle)
        assert client.read_exactly(1) == bytes([i % 256])
    fill.publish().release()
    driver.next_event(ClosedEvent)


def test_range_of_a_fill_ends_before_the_fill_does(driver: EngineDriver) -> None:
    fill = _begin(driver, 1000)
    client = driver.client()
    client.get("/fill")
    request = _follow(driver, fill, 50, offset=10)
    fill.write(bytes(range(100)))
    driver.engine.notify_fill(fill.handle)
    assert client.read_response().body == bytes(range(10, 60))
    assert driver.next_event(ClosedEvent, request).is_complete
    fill.abort()


@pytest.mark.parametrize("promised", [True, False])
def test_aborted_fill_cuts_its_followers(driver: EngineDriver, promised: bool) -> None:
    length = 1000 if promised else None
    fill = _begin(driver, length)
    client = driver.client()
    client.get("/fill")
    request = _follow(driver, fill, length)
    fill.write(b"x" * 400)
    driver.engine.notify_fill(fill.handle)
    assert client.read_head().status == 200
    handle = fill.handle
    fill.abort()
    driver.engine.notify_fill(handle)
    assert not driver.next_event(ClosedEvent, request).is_complete
    assert not client.read_rest().endswith(b"0\r\n\r\n")


def test_followers_that_leave_hold_nothing(driver: EngineDriver) -> None:
    # Their ends come while the fill moves: a follower woken by its own end must leave the list too.
    for _ in range(20):
        _leave_while_following(driver)


def _leave_while_following(driver: EngineDriver) -> None:
    fill = _begin(driver, 1000)
    for _ in range(20):
        client = driver.client()
        client.get("/fill")
        _follow(driver, fill, 1000)
        client.read_head()
        client.close()
    fill.write(b"x" * 1000)
    handle = fill.handle
    fill.complete_unindexed().release()
    driver.engine.notify_fill(handle)
    for _ in range(20):
        driver.next_event(ClosedEvent)


def test_slow_reader_gets_exact_bytes_while_its_object_is_replaced_and_evicted() -> None:
    with EngineDriver(arena_bytes=24 << 20) as driver:
        body = driver.put("/a", os.urandom(4 << 20))
        client = driver.client(receive_bytes=8192)
        client.get("/a")
        head = client.read_head()
        assert head.status == 200
        driver.put("/a", b"replaced")
        for i in range(60):
            try:
                driver.put(f"/other{i}", os.urandom(900_000))
            except SlabFull:
                pytest.fail("one pinned object must not fill the slab")
        stats = driver.slab.stats()
        assert stats["evictions"]
        received = bytearray()
        while len(received) < len(body):
            received += client.socket.recv(100_000) if not client.buffer else client.buffer
            client.buffer = b""
        assert bytes(received) == body


def test_bytes_are_right_while_objects_are_filled_evicted_and_deleted() -> None:
    """Each body repeats its own key, so one foreign byte shows."""
    sizes = [10, 5_000, 20_000, 150_000, 1_200_000]

    def body_of(number: int) -> bytes:
        unit = b"<%06d>" % number
        return unit * (sizes[number % len(sizes)] // len(unit) + 1)

    failures: list[str] = []
    stop = threading.Event()

    def read(port: int, seed: int) -> None:
        generator = random.Random(seed)
        client = Client(port)
        try:
            while not stop.is_set():
                number = generator.randrange(120)
                client.get(f"/{number}")
                response = client.read_response()
                if response.status == 200 and response.body != body_of(number):
                    failures.append(f"{number}: {response.body[:50]!r}")
                    return
        except (OSError, AssertionError) as error:
            if not stop.is_set():
                failures.append(repr(error))
        finally:
            client.close()

    generator = random.Random(1)
    with EngineDriver(arena_bytes=16 << 20, thread_count=2) as driver:
        readers = [threading.Thread(target=read, args=(driver.engine.port, i)) for i in range(4)]
        for reader in readers:
            reader.start()
        for _ in range(1500):
            number = generator.randrange(120)
            with contextlib.suppress(SlabFull):
                driver.put(f"/{number}", body_of(number))
            if generator.random() < 0.1:
                driver.slab.delete(f"http://{HOST}/{generator.randrange(120)}".encode())
            for event in driver.engine.poll():
                if not isinstance(event, ClosedEvent):
                    driver.engine.answer(event.request, 404, b"", length=0, outcome=1)
        assert driver.slab.stats()["evictions"]
        stop.set()
        while any(reader.is_alive() for reader in readers):
            for event in driver.engine.poll():
                if not isinstance(event, ClosedEvent):
                    driver.engine.answer(event.request, 404, b"", length=0, outcome=1)
        assert failures == []
        assert int(driver.engine.stats()["hits_native"]) > 100  # type: ignore[call-overload]
