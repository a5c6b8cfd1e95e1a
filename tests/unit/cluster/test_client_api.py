"""The client API over sockets: the protocol, the server, and the asyncio client."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from neuro.cluster import api_stream
from neuro.cluster.api_requests import Requests
from neuro.cluster.api_stream import Streams
from neuro.cluster.api_values import make_json_ready, take_bytes
from neuro.cluster.ca import (
    init_authority,
    issue_client,
    issue_node,
    make_client_context,
    make_server_context,
)
from neuro.cluster.client import Client
from neuro.cluster.client_api import ClientApi
from neuro.cluster.client_errors import (
    ClientError,
    ClusterUnreachable,
    Compacted,
    CompareFailed,
    InvalidKey,
    InvalidRequest,
    KeyNotFound,
    LeaseNotFound,
    NotLeader,
    OutcomeUnknown,
    RequestTimeout,
)
from neuro.cluster.machine import Op, make_payload
from neuro.cluster.replica import Alarm, AlarmKind, StateCorrupt
from neuro.cluster.replica import OutcomeUnknown as ReplicaOutcomeUnknown
from neuro.raft import Busy
from neuro.raft import NotLeader as RaftNotLeader
from tests.unit.cluster.api_harness import serve
from tests.unit.cluster.memory_replica import MemoryGroup


def ask_by_hand(endpoint: str, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """All that another language needs: a socket, JSON and a length prefix."""
    host, _, port = endpoint.rpartition(":")
    answers = []
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        stream = connection.makefile("rwb")
        for request in requests:
            payload = json.dumps(request).encode()
            stream.write(len(payload).to_bytes(4, "big") + payload)
            stream.flush()
            answers.append(json.loads(stream.read(int.from_bytes(stream.read(4), "big"))))
    return answers


async def test_ten_lines_of_any_language_can_talk_to_a_node() -> None:
    async with serve() as cluster:
        put, got, raw, missing = await asyncio.to_thread(
            ask_by_hand,
            cluster.endpoints[0],
            {"id": 1, "op": "put", "key": "k", "value": "grüße"},
            {"id": 2, "op": "get", "key": "k"},
            {"id": 3, "op": "put", "key": "raw", "value_b64": "/wA="},
            {"id": 4, "op": "get", "key": "nothing"},
        )
        assert put == {
            "id": 1, "ok": True, "revision": 1, "create_revision": 1, "mod_revision": 1,
            "version": 1, "lease": 0,
        }  # fmt: skip
        assert got["value"] == "grüße"
        assert raw["ok"] is True
        assert missing["error"] == {
            "code": "not_found", "message": "there is no such key", "certain": True,
        }  # fmt: skip
        (shown,) = await asyncio.to_thread(
            ask_by_hand, cluster.endpoints[0], {"id": 5, "op": "get", "key": "raw"}
        )
        assert shown["value_b64"] == "/wA="
        assert "value" not in shown


@pytest.mark.parametrize(
    ("request_", "code", "part"),
    [
        ({"op": "put", "key": "", "value": "v"}, "invalid_key", "not empty"),
        ({"op": "get", "key": "a\nb"}, "invalid_key", "control"),
        ({"op": "put", "key": "k"}, "invalid_request", "`value` is missing"),
        ({"op": "put", "key": "k", "value_b64": "%"}, "invalid_request", "base64"),
        ({"op": "put", "key": "k", "value": 7}, "invalid_request", "text or bytes"),
        ({"op": "put", "key": "k", "value": "v", "lease": -1}, "invalid_request", "lease"),
        ({"op": "put", "key": "k", "value": "v", "lease": 9}, "lease_not_found", "lease"),
        ({"op": "nonsense"}, "invalid_request", "nonsense"),
        ({}, "invalid_request", "operation"),
        ({"op": "cas", "key": "k", "value": "v"}, "invalid_request", "expected"),
        ({"op": "scan", "limit": 0}, "invalid_request", "limit"),
        ({"op": "scan", "revision": 99}, "compacted", "yet to come"),
        ({"op": "txn", "then": [{"op": "x"}]}, "invalid_request", "transaction"),
        ({"op": "txn", "then": "x"}, "invalid_request", "list"),
        ({"op": "delete", "key": "k", "prefix": 1}, "invalid_request", "true or false"),
        ({"op": "member_change", "changes": [{"kind": "x"}]}, "invalid_request", "add_voter"),
        ({"op": "lease_show", "lease": 5}, "lease_not_found", "lease"),
        ({"op": "watch", "key": ""}, "invalid_key", "not empty"),
    ],
)
async def test_a_bad_request_is_refused_with_its_code(
    request_: dict[str, Any], code: str, part: str
) -> None:
    async with serve() as cluster:
        (answer,) = await asyncio.to_thread(
            ask_by_hand, cluster.endpoints[0], {"id": 7, **request_}
        )
        assert (answer["id"], answer["ok"]) == (7, False)
        assert answer["error"]["code"] == code
        assert part in answer["error"]["message"]
        assert answer["error"]["certain"] is True
        assert cluster.group.replicas[0].machine.revision == 0


async def test_a_broken_frame_is_answered_and_ends_the_connection() -> None:
    async with serve() as cluster:
        host, _, port = cluster.endpoints[0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x00\x00\x00\x02{]")
        data = await asyncio.wait_for(reader.read(), 5)
        assert json.loads(data[4:])["error"]["code"] == "frame_malformed"
        writer.close()
        await writer.wait_closed()


async def test_put_get_delete_cas_and_txn_through_the_client() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        await client.put("a", b"\xff\x00")
        assert (await client.get("a"))["value"] == b"\xff\x00"
        await client.cas("a", b"2", expected=b"\xff\x00")
        with pytest.raises(CompareFailed) as caught:
            await client.cas("a", b"3", expected_revision=1)
        assert caught.value.details["mod_revision"] == 2
        await client.cas("new", b"1", expected_revision=0)
        done = await client.txn(
            [{"key": "a", "operand": b"2"}],
            [{"op": "delete", "key": "a"}, {"op": "put", "key": "b", "value": b"4"}],
            [{"op": "get", "key": "a"}],
        )
        assert done["succeeded"] is True
        assert await client.delete("", prefix=True) == 2
        for call in (client.get("a"), client.delete("a")):
            with pytest.raises(KeyNotFound):
                await call


async def test_typed_errors_reach_the_caller() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        with pytest.raises(InvalidKey, match="control"):
            await client.put("\t", b"")
        with pytest.raises(LeaseNotFound):
            await client.put("k", b"", lease=12)
        with pytest.raises(InvalidRequest):
            await client.call("nonsense")


async def test_a_scan_gives_the_keys_of_one_moment_page_by_page() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        for number in range(10):
            await client.put(f"k{number}", b"old")
        seen: list[tuple[str, bytes]] = []
        async for item in client.scan("k", page_size=3):
            if not seen:
                await client.put("k9", b"new")
                await client.delete("k8")
            seen.append((item["key"], item["value"]))
        assert seen == [(f"k{number}", b"old") for number in range(10)]


async def test_reads_are_linearizable_unless_asked_otherwise() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        await client.put("k", b"1")
        replica = cluster.group.replicas[0]
        await client.get("k")
        assert replica.barrier_count == 1
        await client.get("k", local=True)
        assert replica.barrier_count == 1


async def test_a_write_whose_answer_was_lost_is_repeated_and_done_once() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        replica = cluster.group.replicas[0]
        await client.put("k", b"0")
        replica.fail_after = [ReplicaOutcomeUnknown("leadership was lost") for _ in range(3)]
        await client.cas("k", b"1", expected=b"0")
        assert replica.fail_after == []
        assert (await client.get("k"))["version"] == 2


async def test_a_write_without_session_is_not_repeated_when_it_may_have_happened() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        replica = cluster.group.replicas[0]
        replica.fail_after = [ReplicaOutcomeUnknown("leadership was lost")]
        with pytest.raises(OutcomeUnknown):
            await client.call("put", key="k", value=b"1")
        assert len(replica.proposals) == 1


@pytest.mark.parametrize("error", [RaftNotLeader("election"), Busy("full"), StateCorrupt("bad")])
async def test_what_certainly_did_not_happen_is_repeated(error: Exception) -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        cluster.group.replicas[0].fail_before = [error, error]
        await client.call("put", key="k", value=b"1")
        assert cluster.group.replicas[0].machine.revision == 1


async def test_an_election_is_waited_for_within_the_timeout() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        cluster.group.leader = 0
        waiting = asyncio.create_task(client.put("k", b"1"))
        while cluster.group.replicas[0].refusal_count < 3:
            await asyncio.sleep(0)
        cluster.group.leader = 1
        assert (await waiting)["revision"] == 1


async def test_no_leader_within_the_timeout_is_a_timeout_and_certainly_no_effect() -> None:
    async with serve() as cluster, Client(cluster.endpoints, timeout_ms=200) as client:
        cluster.group.leader = 0
        with pytest.raises(RequestTimeout) as caught:
            await client.call("put", key="k", value=b"1")
        assert caught.value.is_certain
        with pytest.raises(RequestTimeout):
            await client.put("k", b"1")


async def test_no_answer_in_time_is_an_unknown_outcome_for_writes_only() -> None:
    async with serve() as cluster, Client(cluster.endpoints, timeout_ms=200) as client:
        await client.put("k", b"0")
        cluster.group.replicas[0].gate.clear()
        with pytest.raises(OutcomeUnknown):
            await client.put("k", b"1")
        with pytest.raises(RequestTimeout):
            await client.get("k")
        cluster.group.replicas[0].gate.set()


async def test_a_forgotten_session_is_renewed_when_nothing_was_sent_under_it() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        await client.put("k", b"1")
        cluster.group.commit(make_payload(Op.SESSION_CLOSE, 2))
        await client.put("k", b"2")
        assert (await client.get("k"))["version"] == 2


async def test_a_session_forgotten_between_two_tries_is_an_unknown_outcome() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        await client.put("k", b"1")
        replica = cluster.group.replicas[0]
        close = make_payload(Op.SESSION_CLOSE, 2)
        replica.fail_after = [ReplicaOutcomeUnknown("lost")]
        original = replica.propose

        async def propose(payload: bytes, **options: Any) -> Any:
            try:
                return await original(payload, **options)
            except ReplicaOutcomeUnknown:
                cluster.group.commit(close)
                raise

        replica.propose = propose  # type: ignore[method-assign]
        with pytest.raises(OutcomeUnknown):
            await client.put("k", b"2")


async def test_a_client_goes_to_another_member_when_one_is_gone() -> None:
    async with serve(2) as cluster, Client(cluster.endpoints) as client:
        await client.put("k", b"1")
        await cluster.servers[0].close()
        assert (await client.get("k"))["value"] == b"1"
        await client.put("k", b"2")


async def test_nobody_there_is_unreachable() -> None:
    async with serve() as cluster:
        await cluster.servers[0].close()
        async with Client(cluster.endpoints, timeout_ms=200) as client:
            with pytest.raises(ClusterUnreachable):
                await client.get("k")


async def test_what_only_the_leader_does_is_sent_to_the_leader() -> None:
    async with serve(3) as cluster:
        cluster.group.leader = 3
        async with Client(cluster.endpoints[:1]) as client:
            await client.call("transfer", target=2)
            assert cluster.group.leader == 2
            changed = await client.call(
                "member_change",
                changes=[{"kind": "add_learner", "node": 9, "promote": True, "address": "h:1 h:2"}],
            )
            assert changed["members"][-1] == {
                "node": 9, "role": "learner", "leader": False,
                "raft_address": "h:1", "client_address": "h:2",
            }  # fmt: skip
            with pytest.raises(ClientError) as caught:
                await client.call("transfer", target=9)
            assert caught.value.remote_code == "transfer_invalid"


async def test_a_leader_that_is_not_there_is_not_followed_for_ever() -> None:
    async with serve(2) as cluster:
        cluster.group.leader = 2
        await cluster.servers[1].close()
        async with Client(cluster.endpoints[:1], timeout_ms=300) as client:
            with pytest.raises((NotLeader, RequestTimeout, ClusterUnreachable)):
                await client.call("transfer", target=1)


async def test_leases_are_granted_kept_shown_and_revoked() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        lease = (await client.write("lease_grant", ttl_ms=5_000))["lease"]
        await client.put("k", b"", lease=lease)
        shown = await client.call("lease_show", lease=lease)
        assert (shown["ttl_ms"], shown["keys"]) == (5_000, ["k"])
        await client.write("lease_keepalive", lease=lease)
        assert (await client.call("lease_list"))["leases"] == [lease]
        assert (await client.write("lease_revoke", lease=lease))["deleted"] == 1
        with pytest.raises(KeyNotFound):
            await client.get("k")


async def test_deletes_are_marked_as_freeing_space_and_puts_are_not() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        await client.put("k", b"")
        await client.txn([], [{"op": "put", "key": "x", "value": b""}])
        await client.txn([], [{"op": "delete", "key": "x"}])
        await client.delete("k")
        marks = [frees for _, frees in cluster.group.replicas[0].proposals]
        assert marks == [False, False, False, True, True]


async def test_status_health_members_and_alarms_tell_what_the_replica_says() -> None:
    async with serve(2) as cluster, Client(cluster.endpoints[1:]) as client:
        cluster.group.replicas[1].present_alarms = (Alarm(2, AlarmKind.NO_SPACE),)
        await client.put("k", b"v")
        status = await client.call("status")
        assert (status["node"], status["role"], status["leader"]) == (2, "follower", 1)
        assert (status["keys"], status["revision"]) == (1, 1)
        assert (await client.call("health"))["healthy"] is True
        assert (await client.call("alarms"))["alarms"] == [{"node": 2, "kind": "nospace"}]
        assert [item["role"] for item in (await client.call("members"))["members"]] == [
            "voter", "voter",
        ]  # fmt: skip


async def collect(changes: Any, count: int) -> list[tuple[int, str, str]]:
    seen: list[tuple[int, str, str]] = []
    async for change in changes:
        seen.append((change["revision"], change["kind"], change["key"]))
        if len(seen) == count:
            break
    return seen


async def test_a_watch_sees_each_change_once_in_order() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        await client.put("k/before", b"")
        watch = asyncio.create_task(collect(client.watch("k", prefix=True, from_revision=1), 4))
        await client.put("k/1", b"")
        await client.put("other", b"")
        await client.delete("k/1")
        await client.put("k/2", b"")
        assert await asyncio.wait_for(watch, 5) == [
            (1, "put", "k/before"), (2, "put", "k/1"), (4, "delete", "k/1"), (5, "put", "k/2"),
        ]  # fmt: skip


async def test_a_watch_goes_on_where_it_was_on_another_member() -> None:
    async with serve(2) as cluster, Client(cluster.endpoints) as client:
        changes = client.watch("k", prefix=True, from_revision=1)
        for number in range(300):
            await client.put(f"k{number}", b"")
        first = [await anext(changes) for _ in range(100)]
        await cluster.servers[0].close()
        for number in range(300):
            await client.put(f"k{number}", b"")
        rest = [await anext(changes) for _ in range(500)]
        assert [change["revision"] for change in first + rest] == list(range(1, 601))
        await changes.aclose()  # type: ignore[attr-defined]


async def test_a_watch_from_a_forgotten_revision_is_refused() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        for _ in range(5):
            await client.put("k", b"")
        await client.write("compact", revision=3)
        with pytest.raises(Compacted) as caught:
            await collect(client.watch("k", from_revision=3), 1)
        assert caught.value.details["compacted"] == 3
        assert await collect(client.watch("k", from_revision=4), 2) == [
            (4, "put", "k"), (5, "put", "k"),
        ]  # fmt: skip


async def test_a_watch_from_now_begins_after_what_is_acknowledged() -> None:
    async with serve() as cluster, Client(cluster.endpoints) as client:
        await client.put("k", b"old")
        watch = client.watch("k", previous=True)
        first = asyncio.ensure_future(anext(watch))
        while not cluster.group.replicas[0].barrier_count:
            await asyncio.sleep(0.01)
        await client.put("k", b"new")
        change = await asyncio.wait_for(first, 5)
        assert (change["value"], change["previous"]["value"]) == (b"new", b"old")
        await watch.aclose()  # type: ignore[attr-defined]


async def test_a_quiet_watch_tells_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_stream, "PROGRESS_S", 0.05)
    async with serve() as cluster, Client(cluster.endpoints) as client:
        host, _, port = cluster.endpoints[0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        request = b'{"id": 3, "op": "watch", "key": "k", "from_revision": 1}'
        writer.write(len(request).to_bytes(4, "big") + request)
        await client.put("unrelated", b"")
        events: list[dict[str, Any]] = []
        while not events or events[-1].get("event") != "progress":
            size = int.from_bytes(await asyncio.wait_for(reader.readexactly(4), 5), "big")
            events.append(json.loads(await reader.readexactly(size)))
        assert events[-1] == {"id": 3, "event": "progress", "revision": 1}
        writer.close()
        await writer.wait_closed()


async def test_many_clients_write_at_once_and_nothing_is_lost() -> None:
    async with serve(3) as cluster:
        clients = [Client(cluster.endpoints) for _ in range(8)]

        async def count_up(client: Client) -> None:
            for _ in range(20):
                while True:
                    try:
                        record = await client.get("n")
                        now, revision = int(record["value"]), record["mod_revision"]
                    except KeyNotFound:
                        now, revision = 0, 0
                    try:
                        await client.cas("n", b"%d" % (now + 1), expected_revision=revision)
                        break
                    except CompareFailed:
                        continue

        await asyncio.gather(*(count_up(client) for client in clients))
        assert (await clients[0].get("n"))["value"] == b"160"
        hashes = {replica.machine.state_hash for replica in cluster.group.replicas}
        assert len(hashes) == 1
        await asyncio.gather(*(client.close() for client in clients))


def test_bytes_have_two_spellings_in_json_and_one_in_msgpack() -> None:
    assert make_json_ready({"v": b"a", "list": [{"w": b"\xff"}]}) == {
        "v": "a", "list": [{"w_b64": "/w=="}],
    }  # fmt: skip
    assert take_bytes({"v_b64": "/w=="}, "v") == b"\xff"
    assert take_bytes({"v": "é"}, "v") == "é".encode()
    assert take_bytes({}, "v") is None


async def test_clients_and_members_show_each_other_certificates(tmp_path: Path) -> None:
    init_authority(tmp_path)
    member = make_server_context(issue_node(tmp_path, 1))
    impostor = make_server_context(issue_client(tmp_path, "eve"))
    context = make_client_context(issue_client(tmp_path, "bob"))
    group = MemoryGroup()
    for tls, is_welcome in ((member, True), (impostor, False)):
        server = ClientApi(group.replicas[0], group.replicas[0].machine)
        _, port = await server.start("127.0.0.1", 0, tls=tls)
        async with Client([f"127.0.0.1:{port}"], tls=context, timeout_ms=500) as client:
            if is_welcome:
                await client.put("k", b"v")
            else:
                with pytest.raises(ClusterUnreachable, match="certificate purpose"):
                    await client.get("k")
        await server.close()


def test_the_reference_page_lists_every_operation() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/client-api.md").read_text()
    table = page.split("## Operations")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"op"}
    replica = MemoryGroup().replicas[0]
    served = set(Requests(replica, replica.machine).by_name) | Streams.names | {"cancel"}
    assert listed == served
