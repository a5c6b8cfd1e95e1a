"""Who is let in: certificates, clear text, and introductions by hand."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from neuro.cluster.ca import CertificateError, TlsFiles
from neuro.cluster.transport import (
    CarrierKind,
    InsecureTransport,
    Member,
    MemberTransport,
    PeerRefused,
    TransportSettings,
    make_transport,
)
from neuro.raft import messages as kinds
from neuro.units import Address
from neuro.wire import FrameDecoder, FrameEncoder
from tests.transport_contract import keep_sending, until

from .conftest import CLUSTER, Net, files_of

HEARTBEAT = kinds.Heartbeat(1, 2, 3, 4, 5)


async def assert_refused(net: Net, files: TlsFiles | None) -> None:
    """Node 1 with these files reaches nobody, and node 2 hears nothing."""
    one, driver_one = await net.member(1, files=files)
    two, driver_two = await net.member(2)
    one.set_peers({2: str(two.address)})
    for _ in range(2):
        driver_one.unreachable.clear()
        one.send([HEARTBEAT])
        await keep_sending(one, HEARTBEAT, lambda: driver_one.unreachable)
    assert driver_two.messages == []


async def test_a_foreign_authority_is_refused_by_the_accepting_side(
    tls_net: Net, authority: Path, stranger: Path
) -> None:
    """The stranger trusts our authority, so that only the accepting side can refuse."""
    await assert_refused(tls_net, files_of(stranger, "node-1", authority))


async def test_a_foreign_authority_is_refused_by_the_dialling_side(
    tls_net: Net, authority: Path, stranger: Path
) -> None:
    """Our certificate, but trust in another authority: what answers is not believed."""
    await assert_refused(tls_net, files_of(authority, "node-1", stranger))


async def test_a_clients_certificate_does_not_make_a_member(tls_net: Net, authority: Path) -> None:
    await assert_refused(tls_net, files_of(authority, "client-reader"))


async def test_another_nodes_certificate_is_refused(tls_net: Net, authority: Path) -> None:
    await assert_refused(tls_net, files_of(authority, "node-3"))


async def test_a_server_with_another_nodes_certificate_is_not_talked_to(
    tls_net: Net, authority: Path
) -> None:
    one, driver_one = await tls_net.member(1)
    two, driver_two = await tls_net.member(2, files=files_of(authority, "node-3"))
    one.set_peers({2: str(two.address)})
    with pytest.raises(PeerRefused) as caught:
        await one.carrier.open(two.address, 2, _Nobody())
    assert caught.value.reason == "certificate"
    one.send([HEARTBEAT])
    await until(lambda: driver_one.unreachable)
    assert driver_two.messages == []


async def test_no_certificate_is_refused(tls_net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dialling side is changed so that it shows none; it must come no further."""
    one, driver_one = await tls_net.member(1)
    two, driver_two = await tls_net.member(2)
    one.set_peers({2: str(two.address)})
    if tls_net.is_udp:
        configure = one.carrier._configure  # type: ignore[attr-defined]

        def without(*, is_client: bool) -> Any:
            configuration = configure(is_client=is_client)
            configuration.certificate = configuration.private_key = None
            return configuration

        monkeypatch.setattr(one.carrier, "_configure", without)
    else:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        assert one.settings.tls is not None
        context.load_verify_locations(one.settings.tls.ca)
        monkeypatch.setattr(one.carrier, "_client_context", context)
    one.send([HEARTBEAT])
    await until(lambda: driver_one.unreachable)
    assert driver_two.messages == []
    assert not [peer for peer in two._inbound if peer.hello is not None]


class _Nobody:
    def data_arrived(self, data: bytes) -> None: ...

    def room_returned(self) -> None: ...

    def channel_closed(self, reason: str) -> None: ...


def test_clear_text_needs_loopback_or_consent() -> None:
    member = Member(CLUSTER, 1, 1)
    everywhere = Address("0.0.0.0", 0)
    with pytest.raises(InsecureTransport) as caught:
        make_transport(TransportSettings(member, everywhere))
    assert "--insecure" in caught.value.hint
    make_transport(TransportSettings(member, everywhere, is_insecure=True))
    make_transport(TransportSettings(member, Address("127.0.0.1", 0)))


def test_quic_is_never_clear() -> None:
    settings = TransportSettings(
        Member(CLUSTER, 1, 1),
        Address("127.0.0.1", 0),
        carrier=CarrierKind.QUIC,
        is_insecure=True,
    )
    with pytest.raises(InsecureTransport):
        make_transport(settings)


@pytest.mark.parametrize("carrier", list(CarrierKind))
def test_missing_files_are_told_at_the_start(carrier: CarrierKind, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "ca.pem", tmp_path / "a.pem", tmp_path / "a.key")
    with pytest.raises(CertificateError):
        make_transport(
            TransportSettings(
                Member(CLUSTER, 1, 1), Address("127.0.0.1", 0), tls=files, carrier=carrier
            )
        )


@pytest.fixture
async def plain(authority: Path) -> Any:
    net = Net("plain", authority)
    yield net
    await net.close()


async def say(transport: MemberTransport, *frames: Any) -> list[dict[str, Any]]:
    """Sends frames by hand; what came back until the other side closed."""
    reader, writer = await asyncio.open_connection(transport.address.host, transport.address.port)
    for frame in frames:
        writer.write(frame if isinstance(frame, bytes) else FrameEncoder().encode(frame))
    decoder = FrameDecoder()
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(5):
            decoder.feed(await reader.read())
    writer.close()
    return [frame for frame, _ in decoder]


HELLO = [1, CLUSTER, 1, 7, 2, "messages", "127.0.0.1:9"]
MARK = {"c": CLUSTER, "i": 7}
BEAT = [7, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ({"hello": [2, "whatever"]}, "version"),
        ({"hello": [0]}, "version"),
        ({"hello": [1, "beef", *HELLO[2:]]}, "cluster_id"),
        ({"hello": [*HELLO[:4], 3, *HELLO[5:]]}, "not_this_node"),
        ({"hello": [*HELLO[:2], 0, *HELLO[3:]]}, "node_id"),
        ({"hello": [*HELLO[:2], 2, *HELLO[3:]]}, "node_id"),
        ({"hello": [*HELLO[:5], "gossip", HELLO[6]]}, "lane"),
        ({"hello": HELLO[:-1]}, "hello"),
        ({"hello": [*HELLO[:6], "a" * 600]}, "text"),
        ({"hello": [*HELLO[:3], -1, *HELLO[4:]]}, "integer"),
        ({"hello": HELLO, "more": 1}, "hello"),
        ({"ping": 1}, "hello"),
        ({"hello": [*HELLO[:6], "a" * 5_000]}, "hello_size"),
        (b"\xff\xff\xff\xff", "hello_size"),
        (b"GET / HTTP/1.1\r\n\r\n", "hello_size"),
    ],
)
async def test_a_wrong_introduction_is_answered_with_the_reason(
    plain: Net, hello: Any, reason: str
) -> None:
    two, driver = await plain.member(2)
    assert await say(two, hello, {**MARK, "m": [BEAT]}) == [{"refuse": reason}]
    assert driver.messages == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"m": [BEAT]}, "cluster_id"),
        ({"c": "beef", "i": 7, "m": [BEAT]}, "cluster_id"),
        ({"c": CLUSTER, "i": 6, "m": [BEAT]}, "incarnation"),
        ({"c": CLUSTER, "i": 7.0, "m": [BEAT]}, "incarnation"),
        ({**MARK, "m": []}, "batch"),
        ({**MARK, "m": BEAT}, "message_shape"),
        ({**MARK, "m": [BEAT, [7, 1, 3, 3, 4, 5]]}, "node_id"),
        ({**MARK, "m": [BEAT, [7, 3, 2, 3, 4, 5]]}, "node_id"),
        ({**MARK, "m": [BEAT, [99]]}, "kind_unknown"),
        ({**MARK, "m": [[9, 1, 2, 3, [1, 1, b'{"voters":[1]}'], 4, False]]}, "lane"),
    ],
)
async def test_a_wrong_frame_ends_the_channel_and_nothing_of_it_is_used(
    plain: Net, frame: Any, reason: str
) -> None:
    two, driver = await plain.member(2)
    answers = await say(two, {"hello": HELLO}, {**MARK, "m": [BEAT]}, frame, {**MARK, "m": [BEAT]})
    assert answers[0] == {"welcome": [1, CLUSTER, 2, 1]}
    assert answers[1:] == [{"refuse": reason}]
    assert len(driver.messages) == 1


META = [9, 1, 2, 3, [1, 1, b'{"voters":[1]}'], 4, False]
OFFER = {**MARK, "offer": [META, 10, b"d"]}


def part(offset: int, data: bytes) -> dict[str, Any]:
    return {**MARK, "at": offset, "part": data}


END = {**MARK, "end": True}


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([{**MARK, "offer": [BEAT, 10, b"d"]}], "offer"),
        ([{**MARK, "offer": [META, 10]}], "offer"),
        ([{**MARK, "offer": [META, 10, b"d" * 65]}], "digest"),
        ([{**MARK, "m": [BEAT]}], "offer"),
        ([OFFER, part(1, b"x")], "part"),
        ([OFFER, part(0, b"")], "part"),
        ([OFFER, part(0, b"x" * 11)], "part"),
        ([OFFER, part(0, b"x" * 9), END], "part"),
        ([OFFER, part(0, b"x" * 10), END, part(10, b"x")], "part"),
        ([OFFER, {**MARK, "at": 0, "part": "text"}], "part"),
        ([OFFER, {"c": CLUSTER, "i": 8, "at": 0, "part": b"x"}], "incarnation"),
    ],
)
async def test_a_wrong_transfer_is_ended_with_the_reason(
    plain: Net, frames: list[Any], reason: str
) -> None:
    two, driver = await plain.member(2)
    hello = {"hello": [*HELLO[:5], "snapshot", HELLO[6]]}
    answers = await say(two, hello, *frames)
    assert answers[-1] == {"refuse": reason}
    assert driver.finished == []


async def test_a_right_transfer_by_hand_is_finished(plain: Net) -> None:
    two, driver = await plain.member(2)
    hello = {"hello": [*HELLO[:5], "snapshot", HELLO[6]]}
    answers = await say(two, hello, OFFER, part(0, b"01234"), part(5, b"56789"), END)
    mine = {"c": CLUSTER, "i": 1}
    assert answers[1:] == [{**mine, "at": 0}, {**mine, "done": True}]
    assert driver.finished == [b"0123456789"]


async def test_a_frame_split_at_every_byte_is_read(plain: Net) -> None:
    two, driver = await plain.member(2)
    data = FrameEncoder().encode({"hello": HELLO}) + FrameEncoder().encode({**MARK, "m": [BEAT]})
    _, writer = await asyncio.open_connection(two.address.host, two.address.port)
    for index in range(len(data)):
        writer.write(data[index : index + 1])
        await writer.drain()
        await asyncio.sleep(0)
    await until(lambda: driver.messages)
    assert driver.messages == [kinds.Heartbeat(1, 2, 3, 4, 5)]
    writer.close()


async def test_whoever_says_nothing_is_put_out(plain: Net) -> None:
    two, _ = await plain.member(2)
    reader, writer = await asyncio.open_connection(two.address.host, two.address.port)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    await until(lambda: not two._inbound)
