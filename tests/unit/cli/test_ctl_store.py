"""`neurocache ctl` against servers of the client API over sockets: output, stdin, exit codes."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuro.cli import exit_codes
from neuro.cli.main import main
from neuro.cluster.ca import issue_node, make_server_context
from neuro.cluster.client_api import ClientApi
from neuro.cluster.machine import KeyValueMachine, Op, make_payload
from neuro.cluster.replica import Alarm, AlarmKind
from neuro.cluster.replica import OutcomeUnknown as ReplicaOutcomeUnknown
from tests.unit.cluster.api_harness import Cluster
from tests.unit.cluster.memory_replica import MemoryGroup


class Running:
    """A cluster on a loop of its own, because `ctl` blocks the test's thread."""

    def __init__(self, count: int) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.cluster = self.do(self._make(count))

    async def _make(self, count: int) -> Cluster:
        cluster = Cluster(count)
        cluster.endpoints = [""] * count
        for number in range(count):
            await cluster.start(number)
        return cluster

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    @property
    def endpoints(self) -> str:
        return ",".join(self.cluster.endpoints)

    def close(self) -> None:
        for server in self.cluster.servers:
            self.do(server.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    running = Running(3)
    monkeypatch.setenv("NEUROCACHE_ENDPOINTS", running.endpoints)
    yield running
    running.close()


class Terminal:
    """Runs `ctl`; `out` is what it wrote to stdout last."""

    def __init__(self, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._patch = patch
        self.raw = b""
        self.error = ""

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def document(self) -> Any:
        return json.loads(self.raw)

    def run(self, *words: str, stdin: bytes = b"") -> int:
        self._patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            code = main(["ctl", *words])
        except SystemExit as end:
            code = int(str(end.code))
        captured = self._capture.readouterr()
        self.raw, self.error = captured.out, captured.err.decode()
        return code


@pytest.fixture
def ctl(
    running: Running, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    return Terminal(capsysbinary, monkeypatch)


def test_put_get_and_del_keep_bytes_as_they_are(ctl: Terminal) -> None:
    value = bytes(range(256))
    assert ctl.run("put", "k", "-", stdin=value) == exit_codes.OK
    assert ctl.out == "1\n"
    assert ctl.run("get", "k") == exit_codes.OK
    assert ctl.raw == value
    assert ctl.run("del", "k") == exit_codes.OK
    assert ctl.out == "1\t2\n"


def test_a_value_is_shown_in_each_format(ctl: Terminal) -> None:
    ctl.run("put", "k", "blue")
    ctl.run("get", "k", "-o", "json")
    assert ctl.document["value"] == "blue"
    ctl.run("get", "k", "-o", "jsonl")
    assert ctl.out.count("\n") == 1
    ctl.run("get", "k", "-o", "table")
    assert [line.split() for line in ctl.out.splitlines()] == [
        ["KEY", "VALUE", "MOD", "REVISION", "VERSION", "LEASE"],
        ["k", "blue", "1", "1", "0"],
    ]
    ctl.run("put", "k", "-", stdin=b"a\tb\n\\\x1b[2J\xff")
    ctl.run("scan", "k")
    assert ctl.out == "k\ta\\tb\\n\\\\\\x1b[2J\\xff\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["get", "nothing"], exit_codes.NOT_FOUND),
        (["del", "nothing"], exit_codes.NOT_FOUND),
        (["lease", "show", "77"], exit_codes.NOT_FOUND),
        (["put", "k", "v", "--lease", "77"], exit_codes.NOT_FOUND),
        (["put", "", "v"], exit_codes.USAGE),
        (["put", "k"], exit_codes.USAGE),
        (["cas", "k", "v"], exit_codes.USAGE),
        (["cas", "k", "v", "--expect", "x"], exit_codes.COMPARE_FAILED),
        (["cas", "k", "v", "--revision", "7"], exit_codes.COMPARE_FAILED),
        (["scan", "--revision", "99"], exit_codes.FAILED),
        (["lease", "grant", "1ms"], exit_codes.USAGE),
        (["lease", "grant", "soon"], exit_codes.USAGE),
        (["get", "k", "--endpoints", "127.0.0.1:1"], exit_codes.UNREACHABLE),
        (["get", "k", "--endpoints", "nowhere"], exit_codes.USAGE),
        (["watch", "k", "--endpoints", "127.0.0.1:1"], exit_codes.UNREACHABLE),
        (["members", "transfer", "9"], exit_codes.FAILED),
        (["members"], exit_codes.USAGE),
        (["get", "k", "--tls", "one-file"], exit_codes.FAILED),
    ],
)
def test_each_failure_has_its_exit_code_and_says_nothing_on_stdout(
    ctl: Terminal, words: list[str], code: int
) -> None:
    assert ctl.run(*words) == code
    assert ctl.raw == b""
    assert ctl.error


def test_a_write_that_may_have_happened_has_an_exit_code_of_its_own(
    ctl: Terminal, running: Running
) -> None:
    running.cluster.group.replicas[0].fail_after = [ReplicaOutcomeUnknown("leadership was lost")]
    assert ctl.run("put", "k", "v") == exit_codes.UNKNOWN
    assert len(running.cluster.group.replicas[0].proposals) == 1


def test_no_leader_in_time_is_a_timeout(ctl: Terminal, running: Running) -> None:
    running.cluster.group.leader = 0
    assert ctl.run("put", "k", "v", "--timeout", "200ms") == exit_codes.TIMEOUT


def test_a_member_that_is_gone_is_passed_over(ctl: Terminal, running: Running) -> None:
    running.do(running.cluster.servers[0].close())
    assert ctl.run("put", "k", "v") == exit_codes.OK
    assert ctl.run("get", "k") == exit_codes.OK
    assert ctl.raw == b"v"


def test_cas_and_txn_say_which_way_they_went(ctl: Terminal, tmp_path: Path) -> None:
    assert ctl.run("cas", "lock", "me", "--absent") == exit_codes.OK
    assert ctl.run("cas", "lock", "you", "--absent") == exit_codes.COMPARE_FAILED
    assert ctl.run("cas", "lock", "you", "--expect", "me") == exit_codes.OK
    assert ctl.run("cas", "lock", "me", "--revision", "2") == exit_codes.OK
    text = json.dumps(
        {
            "compares": [{"key": "lock", "operand": "me"}],
            "then": [{"op": "put", "key": "a", "value": "1"}],
            "else": [{"op": "get", "key": "lock"}],
        }
    )
    assert ctl.run("txn", "-o", "json", stdin=text.encode()) == exit_codes.OK
    assert ctl.document["succeeded"] is True
    ctl.run("put", "lock", "other")
    file = tmp_path / "txn.json"
    file.write_text(text)
    assert ctl.run("txn", str(file)) == exit_codes.COMPARE_FAILED
    assert ctl.out.splitlines()[0] == "else 5"
    assert "other" in ctl.out
    assert ctl.run("txn", str(tmp_path / "none")) == exit_codes.USAGE
    assert ctl.run("txn", stdin=b"[]") == exit_codes.USAGE


def test_scan_goes_through_all_pages_or_as_far_as_it_is_told(
    ctl: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuro.cli.ctl_store.PAGE_SIZE", 3)
    for number in range(8):
        ctl.run("put", f"k{number}", "v")
    ctl.run("put", "other", "v")
    ctl.run("scan", "k", "--keys")
    assert ctl.out.split() == [f"k{number}" for number in range(8)]
    ctl.run("scan", "k", "--keys", "--limit", "4")
    assert len(ctl.out.split()) == 4
    ctl.run("scan", "-o", "json", "--revision", "2")
    assert [item["key"] for item in ctl.document] == ["k0", "k1"]
    assert ctl.run("del", "k", "--prefix") == exit_codes.OK
    assert ctl.out.split()[0] == "8"


def test_watch_prints_each_change_and_goes_on_at_another_member(
    ctl: Terminal, running: Running
) -> None:
    for number in range(3):
        ctl.run("put", f"k{number}", "v")
    ctl.run("del", "k1")
    assert ctl.run("watch", "k", "--prefix", "--from", "1", "--count", "4") == exit_codes.OK
    assert ctl.out == "1\tput\tk0\tv\n2\tput\tk1\tv\n3\tput\tk2\tv\n4\tdelete\tk1\t\n"
    server, group = running.cluster.servers[0], running.cluster.group

    async def move() -> None:
        while not server.connection_count:
            await asyncio.sleep(0.01)
        await server.close()
        group.commit(make_payload(Op.PUT, "k9", b"v", 0))

    moving = asyncio.run_coroutine_threadsafe(move(), running.loop)
    words = ["watch", "k", "--prefix", "--from", "4", "--count", "2", "-o", "jsonl"]
    assert ctl.run(*words) == exit_codes.OK
    assert [json.loads(line)["revision"] for line in ctl.out.splitlines()] == [4, 5]
    moving.result(10)


def test_leases_by_hand(ctl: Terminal) -> None:
    ctl.run("lease", "grant", "30s")
    lease = ctl.out.strip()
    assert ctl.run("put", "k", "v", "--lease", lease) == exit_codes.OK
    assert ctl.run("lease", "keepalive", lease) == exit_codes.OK
    ctl.run("lease", "show", lease, "-o", "json")
    assert (ctl.document["ttl_ms"], ctl.document["keys"]) == (30_000, ["k"])
    ctl.run("lease", "list")
    assert ctl.out.split() == [lease]
    ctl.run("lease", "revoke", lease)
    assert ctl.out.split() == [lease, "1"]
    assert ctl.run("get", "k") == exit_codes.NOT_FOUND


def test_members_are_listed_added_promoted_replaced_removed(
    ctl: Terminal, running: Running
) -> None:
    running.cluster.group.leader = 2
    assert ctl.run("members", "list") == exit_codes.OK
    assert ctl.out.splitlines()[1] == "2\tvoter\tyes\t127.0.0.1:7002\t"
    assert ctl.run("members", "add", "4", "h:7004", "h:3004") == exit_codes.OK
    assert ctl.out.splitlines()[-1] == "4\tlearner\tno\th:7004\th:3004"
    assert ctl.run("members", "promote", "4") == exit_codes.OK
    assert ctl.out.splitlines()[-1].startswith("4\tvoter")
    ctl.run("members", "transfer", "1", "-o", "json")
    assert ctl.document == {"leader": 1}
    assert running.cluster.group.leader == 1


def test_status_and_health_speak_of_each_endpoint(ctl: Terminal, running: Running) -> None:
    ctl.run("put", "k", "v")
    assert ctl.run("status", "--endpoints", running.endpoints, "-o", "json") == exit_codes.OK
    assert [row["role"] for row in ctl.document] == ["leader", "follower", "follower"]
    assert len({row["state_hash"] for row in ctl.document}) == 1
    assert ctl.run("health", "--endpoints", running.endpoints) == exit_codes.OK
    running.do(running.cluster.servers[2].close())
    words = ["--endpoints", running.endpoints, "--timeout", "300ms"]
    assert ctl.run("status", *words) == exit_codes.UNREACHABLE
    assert ctl.out.splitlines()[2].split()[1] == "cluster_unreachable"
    assert ctl.run("health", *words) == exit_codes.UNHEALTHY
    assert [line.split("\t")[1] for line in ctl.out.splitlines()] == ["yes", "yes", "no"]


def test_alarms_are_an_exit_code_too(ctl: Terminal, running: Running) -> None:
    assert ctl.run("alarm") == exit_codes.OK
    running.cluster.group.replicas[0].present_alarms = (Alarm(2, AlarmKind.NO_SPACE),)
    assert ctl.run("alarm") == exit_codes.UNHEALTHY
    assert ctl.out == "2\tnospace\n"


def test_a_saved_snapshot_is_the_whole_state(ctl: Terminal, tmp_path: Path) -> None:
    ctl.run("put", "k", "-", stdin=b"\xff" * 100_000)
    file = tmp_path / "state"
    assert ctl.run("snapshot", "save", str(file)) == exit_codes.OK
    machine = KeyValueMachine()
    machine.restore([file.read_bytes()])
    record = machine.get("k")
    assert record is not None
    assert record.value == b"\xff" * 100_000
    assert list(tmp_path.iterdir()) == [file]
    assert ctl.run("snapshot", "save", "-") == exit_codes.OK
    assert ctl.raw == file.read_bytes()
    assert ctl.run("snapshot", "save", str(tmp_path / "no" / "file")) == exit_codes.FAILED
    assert ctl.run("snapshot", "take") == exit_codes.OK


def test_history_is_compacted_by_hand(ctl: Terminal) -> None:
    for _ in range(3):
        ctl.run("put", "k", "v")
    ctl.run("compact", "2")
    assert ctl.out == "2\n"
    assert ctl.run("watch", "k", "--from", "1") == exit_codes.FAILED
    assert "forgotten" in ctl.error


def test_certificates_made_by_ctl_open_a_port_that_asks_for_them(
    ctl: Terminal, running: Running, tmp_path: Path
) -> None:
    directory = str(tmp_path)
    assert ctl.run("ca", "init", directory) == exit_codes.OK
    assert ctl.run("ca", "init", directory) == exit_codes.FAILED
    assert ctl.run("ca", "issue", directory, "--node", "1", "-o", "json") == exit_codes.OK
    assert ctl.run("ca", "issue", directory, "--client", "bob", "-o", "json") == exit_codes.OK
    client = ctl.document
    group = MemoryGroup()
    tls = make_server_context(issue_node(tmp_path, 2))
    server = ClientApi(group.replicas[0], group.replicas[0].machine)

    async def start() -> int:
        return (await server.start("127.0.0.1", 0, tls=tls))[1]

    endpoint = f"127.0.0.1:{running.do(start())}"
    files = ",".join(client[name] for name in ("ca", "certificate", "key"))
    words = ["--endpoints", endpoint, "--timeout", "1s"]
    assert ctl.run("put", "k", "v", *words, "--tls", files) == exit_codes.OK
    assert ctl.run("get", "k", *words) != exit_codes.OK
    running.do(server.close())


@pytest.mark.parametrize("words", [["--help"], ["cas", "--help"], ["members", "add", "--help"]])
def test_help_tells_of_every_verb(ctl: Terminal, words: list[str]) -> None:
    assert ctl.run(*words) == exit_codes.OK
    assert "usage: neurocache ctl" in ctl.out
    if words == ["--help"]:
        for verb in (
            "put", "get", "del", "cas", "txn", "scan", "watch", "lease", "status", "health",
            "members", "snapshot", "alarm", "ca", "compact",
            "wal", "cluster",
        ):  # fmt: skip
            assert f"\n    {verb} " in ctl.out
