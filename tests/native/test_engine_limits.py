"""Bounds and ends: deadlines, too many of anything, drain, stop, and statistics."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from neuro._core.engine import OUTCOME_MISS, ClosedEvent, Engine, RequestEvent
from neuro._core.slab import Slab
from neuro.errors import InvalidArgument, SlabBusy
from tests.native.engine_driver import HOST, EngineDriver


def test_head_that_does_not_end_in_time_gets_408() -> None:
    with EngineDriver(header_timeout_ms=80) as driver:
        client = driver.client()
        client.send(b"GET /a HTTP/1.1\r\nHo")
        response = client.read_response()
        assert (response.status, response.get(b"Connection")) == (408, b"close")
        client.assert_closed()
        assert driver.engine.stats()["rejected_408"] == 1


def test_dripping_bytes_does_not_extend_the_head_deadline() -> None:
    with EngineDriver(header_timeout_ms=150) as driver:
        client = driver.client()
        client.socket.settimeout(0.02)
        client.send(b"GET /")
        received = b""
        while not received:
            client.send(b"a")
            try:
                received = client.socket.recv(1000)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408")


def test_idle_connection_is_closed_without_a_word() -> None:
    with EngineDriver(idle_timeout_ms=80) as driver:
        driver.put("/a")
        client = driver.client()
        silent = driver.client()
        client.get("/a")
        assert client.read_response().status == 200
        client.assert_closed()
        silent.assert_closed()
        assert driver.engine.stats()["timeouts_idle"] == 2


def test_body_that_stalls_gets_408_and_ends_the_request() -> None:
    with EngineDriver(body_timeout_ms=80) as driver:
        client = driver.client()
        client.send(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
        request = driver.next_request().request
        driver.engine.read(request, 10)
        assert client.read_response().status == 408
        client.assert_closed()
        assert not driver.next_event(ClosedEvent, request).is_complete
        assert driver.engine.stats()["timeouts_body"] == 1


def test_waiting_for_python_has_no_deadline_of_the_engine() -> None:
    with EngineDriver(idle_timeout_ms=40, body_timeout_ms=40, header_timeout_ms=40) as driver:
        waiting = driver.client()
        waiting.get("/miss")
        request = driver.next_request().request
        other = driver.client()
        other.assert_closed()  # the idle deadline has passed several scans
        driver.answer_all(request)
        assert waiting.read_response().status == 200


def test_client_that_takes_no_byte_is_cut() -> None:
    with EngineDriver(send_timeout_ms=100) as driver:
        driver.put("/a", os.urandom(8 << 20))
        client = driver.client(receive_bytes=4096)
        client.get("/a")
        driver.wait_for_stat("timeouts_send", 1)
        client.assert_cut()


def test_connections_beyond_the_bound_get_503() -> None:
    with EngineDriver(connections_max=3) as driver:
        driver.put("/a")
        kept = [driver.client() for _ in range(3)]
        for client in kept:
            client.get("/a")
            client.read_response()
        refused = driver.client()
        response = refused.read_response()
        assert (response.status, response.get(b"Retry-After")) == (503, b"1")
        refused.assert_closed()
        kept[0].close()
        driver.wait_for_stat("connections_open", 2)
        again = driver.client()
        again.get("/a")
        assert again.read_response().status == 200
        assert driver.engine.stats()["connections_refused"] == 1


def test_requests_beyond_the_bound_get_503_and_hits_go_on() -> None:
    with EngineDriver(requests_in_flight_max=2) as driver:
        driver.put("/a")
        waiting = [driver.client() for _ in range(2)]
        for client in waiting:
            client.get("/miss")
        events = [driver.next_request() for _ in waiting]
        client = driver.client()
        client.get("/miss")
        response = client.read_response()
        assert (response.status, response.get(b"Retry-After")) == (503, b"1")
        assert response.get(b"Connection") is None
        client.get("/a")
        assert client.read_response().body == b"hello"
        assert driver.engine.stats()["shed"] == 1
        for event in events:
            driver.answer_all(event.request)
            driver.next_event(ClosedEvent)
        client.get("/miss")
        driver.answer_all(driver.next_request().request)
        assert client.read_response().body == b"from python"


def test_full_access_ring_drops_and_counts() -> None:
    with EngineDriver(access_ring_count=8) as driver:
        driver.put("/a")
        client = driver.client()
        for _ in range(20):
            client.get("/a")
            client.read_response()
        driver.wait_for_stat("access_dropped", 12)
        assert len(driver.engine.poll_access()) == 8 * 64
        client.get("/a")
        client.read_response()
        driver.wait_for_stat("access_recorded", 9)


def test_access_ring_can_be_off() -> None:
    with EngineDriver(access_ring_count=0) as driver:
        driver.put("/a")
        client = driver.client()
        client.get("/a")
        client.read_response()
        assert driver.engine.poll_access() == b""
        assert driver.engine.stats()["access_dropped"] == 0


def test_drain_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    with EngineDriver() as driver:
        driver.put("/a", b"x" * 100)
        idle = driver.client()
        idle.get("/a")
        idle.read_response()
        busy = driver.client()
        busy.get("/miss")
        request = driver.next_request().request
        half = driver.client()
        half.send(b"GET /a HTTP/1.1\r\n")
        driver.wait_for_stat("connections_open", 3)
        received = len(f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET /miss HTTP/1.1\r\n")
        received += len(f"Host: {HOST}\r\n\r\nGET /a HTTP/1.1\r\n")
        driver.wait_for_stat("bytes_received", received)
        driver.engine.drain()
        idle.assert_closed()
        with pytest.raises(ConnectionRefusedError):
            driver.client()
        half.send(f"Host: {HOST}\r\n\r\n".encode())
        assert half.read_response().get(b"Connection") == b"close"
        half.assert_closed()
        driver.answer_all(request)
        assert busy.read_response().get(b"Connection") == b"close"
        busy.assert_closed()
        for client in (half, busy):
            client.close()
        driver.wait_for_stat("connections_open", 0)


def test_stop_ends_open_connections_and_reports_each_request_once() -> None:
    with EngineDriver(thread_count=2) as driver:
        clients = [driver.client() for _ in range(8)]
        for client in clients:
            client.get("/miss")
        requests = {driver.next_request().request for _ in clients}
        driver.engine.stop()
        closed = [driver.next_event(ClosedEvent) for _ in clients]
        assert {event.request for event in closed} == requests
        assert not any(event.is_complete for event in closed)
        driver.assert_no_event()
        for client in clients:
            client.assert_cut()
        driver.engine.stop()
        assert not driver.engine.answer(requests.pop(), 200, b"", length=0, outcome=OUTCOME_MISS)


def test_slab_is_busy_while_an_engine_runs_on_it() -> None:
    slab = Slab(8 << 20)
    engine = Engine(slab, host="127.0.0.1", port=0)
    with pytest.raises(SlabBusy):
        slab.close()
    engine.stop()
    slab.close()


def test_address_errors_show_at_creation() -> None:
    slab = Slab(8 << 20)
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    with pytest.raises(OSError, match="127.0.0.1") as caught:
        Engine(slab, host="127.0.0.1", port=taken.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE
    taken.close()
    for options in (
        {"host": "localhost"},
        {"thread_count": 0},
        {"connections_max": 0},
        {"access_ring_count": 3},
        {"requests_in_flight_max": 20_000},
        {"port": 70_000},
    ):
        with pytest.raises(InvalidArgument):
            Engine(slab, **{"host": "127.0.0.1", "port": 0, **options})  # type: ignore[arg-type]
    slab.close()


def test_ipv6_clients_are_served() -> None:
    slab = Slab(8 << 20)
    engine = Engine(slab, host="::1", port=0)
    engine.start()
    with socket.create_connection(("::1", engine.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n")
        events: list[object] = []
        while not events:
            events = list(engine.poll())
        event = events[0]
        assert isinstance(event, RequestEvent)
        assert event.peer_address == "::1"
        assert event.peer_is_loopback
    engine.stop()
    slab.close()


def test_thousands_of_connections_over_several_threads() -> None:
    with EngineDriver(thread_count=3, connections_max=4096) as driver:
        body = driver.put("/a", os.urandom(3000))
        clients = [driver.client() for _ in range(1500)]
        for _ in range(2):
            for client in clients:
                client.get("/a")
            for client in clients:
                assert client.read_response().body == body
        assert driver.engine.stats()["connections_open"] == 1500
        for client in clients:
            client.close()
        driver.wait_for_stat("connections_open", 0)


def test_out_of_descriptors_pauses_accepting_and_recovers() -> None:
    resource = pytest.importorskip("resource")
    with EngineDriver() as driver:
        driver.put("/a")
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        first = driver.client()
        driver.wait_for_stat("connections_open", 1)
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        waiting = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, before[1]))
        try:
            spare = []
            try:
                while True:
                    spare.append(os.dup(0))
            except OSError as error:
                assert error.errno == errno.EMFILE
            waiting.connect(("127.0.0.1", driver.engine.port))
            first.get("/a")
            assert first.read_response().status == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for descriptor in spare:
                os.close(descriptor)
        waiting.sendall(f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        waiting.settimeout(10)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
        waiting.close()
