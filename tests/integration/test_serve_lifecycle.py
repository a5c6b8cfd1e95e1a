"""Start and stop of a real process: order, signals, and failures that name the way out."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.serving import ServedNode, running_origin, served, wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_node_finishes_the_request_in_flight(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_origin() as origin, served(tmp_path, "--origin", origin.url) as node:
        connection = http.client.HTTPConnection(node.edge.host, node.edge.port, timeout=20)
        connection.request("GET", "/slow")
        assert origin.slow_started.wait(20)
        node.signal(number)
        wait_until(lambda: node.find("stopping"), "the first signal is noticed")
        assert node.get_json("/readyz") == (503, {"ready": False, "reasons": ["draining"]})
        assert node.get("/healthz", admin=True)[0] == 200
        wait_until(lambda: not accepts_connections(node), "new connections are refused")
        origin.gate.set()
        assert connection.getresponse().read() == b"first halfother half"
        connection.close()
        assert node.wait() == 0
    stopped = node.find("stopped")
    assert stopped is not None
    assert stopped["requests"] >= 1


def accepts_connections(node: ServedNode) -> bool:
    try:
        socket.create_connection(node.edge, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running_origin() as origin, served(tmp_path, "--origin", origin.url) as node:
        connection = http.client.HTTPConnection(node.edge.host, node.edge.port, timeout=20)
        connection.request("GET", "/slow")
        assert origin.slow_started.wait(20)
        node.signal(signal.SIGTERM)
        wait_until(lambda: node.find("stopping"), "the first signal is noticed")
        assert node.process.poll() is None
        node.signal(number)
        assert node.wait() == code
        connection.close()
    assert f"second signal ({number.name})" in node.log_file.read_text(encoding="utf-8")


def test_the_deadline_cuts_what_does_not_end(tmp_path: Path) -> None:
    with (
        running_origin() as origin,
        served(tmp_path, "--origin", origin.url, "--shutdown-timeout", "200ms") as node,
    ):
        connection = http.client.HTTPConnection(node.edge.host, node.edge.port, timeout=20)
        connection.request("GET", "/slow")
        assert origin.slow_started.wait(20)
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        with pytest.raises((http.client.IncompleteRead, OSError)):
            connection.getresponse().read()
        connection.close()
    assert node.find("stopped; requests in flight were cut at the deadline")


def test_an_idle_node_stops_without_waiting(tmp_path: Path) -> None:
    with served(tmp_path, "--shutdown-timeout", "1h") as node:
        idle = socket.create_connection(node.edge, timeout=20)
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert idle.recv(1) == b""
        idle.close()


@pytest.mark.parametrize("flag", ["--edge", "--admin"])
def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        node = ServedNode(tmp_path, flag, f"127.0.0.1:{port}")
        assert node.wait() == 1
    lines = node.log_file.read_text(encoding="utf-8").splitlines()
    name = Path("/proc/self/comm").read_text(encoding="ascii").strip()
    assert lines[0] == f"error: port {port} on `127.0.0.1` is in use by pid {os.getpid()} ({name})"
    assert f"`{flag} 127.0.0.1:" in lines[1]
    assert node.output_file.read_bytes() == b""


def test_two_nodes_cannot_share_a_directory(tmp_path: Path) -> None:
    with served(tmp_path) as node:
        second = tmp_path / "second"
        second.mkdir()
        other = ServedNode(second, "--data", str(tmp_path / "data"))
        assert other.wait() == 1
        assert "in use by another node" in other.log_file.read_text(encoding="utf-8")
        assert node.process.poll() is None


def test_a_port_of_a_running_node_is_in_use_although_listeners_share_it(tmp_path: Path) -> None:
    with served(tmp_path) as node:
        second = tmp_path / "second"
        second.mkdir()
        other = ServedNode(second, "--edge", str(node.edge))
        assert other.wait() == 1
        assert f"port {node.edge.port}" in other.log_file.read_text(encoding="utf-8")


def test_a_failed_start_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short", encoding="ascii")
    (tmp_path / "token").chmod(0o600)
    failed = ServedNode(tmp_path, "--token-file", str(tmp_path / "token"))
    assert failed.wait() == 2
    assert "must hold 16 to" in failed.log_file.read_text(encoding="utf-8")
    with served(tmp_path) as node:
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
    with served(tmp_path) as node:
        assert node.get("/healthz", admin=True)[0] == 200
