"""The frames two members exchange: the handshake, batches of messages, snapshot transfers.

Owns what stands in each frame, and the reader that turns a byte stream into checked frames. Never
opens a socket. The side that dialled speaks first and sends messages; the other only answers the
handshake, so each direction between two members has its own connection.

    -> {"hello": [version, cluster, node, incarnation, to, lane, address]}
    <- {"welcome": [version, cluster, node, incarnation]}   or   {"refuse": reason}

    lane "messages"     -> {"c": cluster, "i": incarnation, "m": [message, ...]}  ...
    lane "snapshot"     -> {"c", "i", "offer": [message, size, digest]}
                        <- {"c", "i", "at": offset}
                        -> {"c", "i", "at": offset, "part": bytes}  ...
                        -> {"c", "i", "end": true}
                        <- {"c", "i", "done": true}         or   {"refuse": reason}

Every frame names the cluster and the sender's incarnation: a member that was rebuilt under an old
address, or a second process on a copied disk, is noticed at its first frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn

from neuro.cluster.peers import SnapshotOffer
from neuro.cluster.transport.codec import INTEGER_MAX, decode_message, encode_message
from neuro.cluster.transport.errors import MessageMalformed
from neuro.raft import Message, NodeId
from neuro.raft.messages import InstallSnapshot
from neuro.wire import FRAME_BYTES_MAX, HEADER_BYTES, FrameDecoder, FrameEncoder

PROTOCOL_VERSION: Final = 1
HELLO_BYTES_MAX: Final = 4_096
"""A stranger's first frame; names and an address fit many times over."""
TEXT_CHARS_MAX: Final = 512
DIGEST_BYTES_MAX: Final = 64
MESSAGES_PER_FRAME_MAX: Final = 4_096

Frame = dict[str, Any]


class Lane(StrEnum):
    """What a connection is for."""

    MESSAGES = "messages"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Member:
    """Who speaks: cluster, node, and how often that node's storage was opened."""

    cluster_id: str
    node: NodeId
    incarnation: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The dialling side's introduction; `address` is where it can be reached itself."""

    version: int
    member: Member
    to: NodeId
    lane: Lane
    address: str


_encoder: Final = FrameEncoder()


def encode_hello(hello: Hello) -> bytes:
    """The first frame of a connection."""
    who = hello.member
    words = [hello.version, who.cluster_id, who.node, who.incarnation]
    return _encoder.encode({"hello": [*words, hello.to, str(hello.lane), hello.address]})


def decode_hello(frame: Frame) -> Hello:
    """The introduction in a first frame.

    Raises:
        MessageMalformed: it is none.
    """
    words = frame.get("hello")
    if len(frame) != 1 or type(words) is not list or not words:
        _refuse("hello")
    version = _integer(words[0])
    if version != PROTOCOL_VERSION:
        # Another version may have other fields; all that is left to do is to say so.
        return Hello(version, Member("", 0, 0), 0, Lane.MESSAGES, "")
    if len(words) != 7:
        _refuse("hello")
    member = Member(_text(words[1]), _integer(words[2]), _integer(words[3]))
    try:
        lane = Lane(_text(words[5]))
    except ValueError:
        _refuse("lane")
    return Hello(version, member, _integer(words[4]), lane, _text(words[6]))


def encode_welcome(member: Member) -> bytes:
    """The answer to a hello that is accepted."""
    words = [PROTOCOL_VERSION, member.cluster_id, member.node, member.incarnation]
    return _encoder.encode({"welcome": words})


def decode_welcome(frame: Frame) -> Member:
    """Who answered.

    Raises:
        MessageMalformed: it is no welcome of this version.
    """
    words = frame.get("welcome")
    if len(frame) != 1 or type(words) is not list or len(words) != 4:
        _refuse("welcome")
    if _integer(words[0]) != PROTOCOL_VERSION:
        _refuse("version")
    return Member(_text(words[1]), _integer(words[2]), _integer(words[3]))


def encode_refusal(reason: str) -> bytes:
    """Ends a handshake or a transfer; the reason is a stable word."""
    return _encoder.encode({"refuse": reason[:TEXT_CHARS_MAX]})


def decode_refusal(frame: Frame) -> str | None:
    """The reason in a refusal; None for any other frame."""
    return _text(frame["refuse"]) if "refuse" in frame else None


class Sealer:
    """Writes the frames that follow the handshake, each marked with its sender."""

    def __init__(self, member: Member) -> None:
        self._mark: Frame = {"c": member.cluster_id, "i": member.incarnation}

    def messages(self, values: list[Any]) -> bytes:
        """A batch of encoded messages.

        Raises:
            FrameTooLarge, FrameMalformed: the batch passes a limit of the codec.
        """
        return _encoder.encode({**self._mark, "m": values})

    def offer(self, offer: SnapshotOffer) -> bytes:
        """Opens a transfer."""
        words = [encode_message(offer.message), offer.size_bytes, offer.digest]
        return _encoder.encode({**self._mark, "offer": words})

    def resume_at(self, offset: int) -> bytes:
        """Tells the sender where to begin."""
        return _encoder.encode({**self._mark, "at": offset})

    def part(self, offset: int, data: bytes) -> bytes:
        """A piece of the file."""
        return _encoder.encode({**self._mark, "at": offset, "part": data})

    def end(self) -> bytes:
        """All parts were sent."""
        return _encoder.encode({**self._mark, "end": True})

    def done(self) -> bytes:
        """All parts are durable and right."""
        return _encoder.encode({**self._mark, "done": True})


def check_mark(frame: Frame, member: Member) -> None:
    """Raises MessageMalformed unless the frame is from that member in that incarnation."""
    if frame.get("c") != member.cluster_id:
        _refuse("cluster_id")
    if frame.get("i") != member.incarnation or type(frame.get("i")) is not int:
        _refuse("incarnation")


def decode_messages(frame: Frame, member: Member, to: NodeId) -> list[Message]:
    """The messages of a batch, each from that member and for this node.

    Raises:
        MessageMalformed: one is not; none of them is to be used.
    """
    check_mark(frame, member)
    values = frame.get("m")
    if type(values) is not list or not 1 <= len(values) <= MESSAGES_PER_FRAME_MAX:
        _refuse("batch")
    found = [decode_message(value) for value in values]
    for message in found:
        if message.sender != member.node or message.to != to:
            _refuse("node_id")
        if isinstance(message, InstallSnapshot):
            _refuse("lane")
    return found


def decode_offer(frame: Frame, member: Member, to: NodeId) -> SnapshotOffer:
    """The offer that opens a transfer.

    Raises:
        MessageMalformed: it is none, or not between these two.
    """
    check_mark(frame, member)
    words = frame.get("offer")
    if type(words) is not list or len(words) != 3:
        _refuse("offer")
    message, size_bytes, digest = decode_message(words[0]), _integer(words[1]), words[2]
    if not isinstance(message, InstallSnapshot):
        _refuse("offer")
    if message.sender != member.node or message.to != to:
        _refuse("node_id")
    if type(digest) is not bytes or len(digest) > DIGEST_BYTES_MAX:
        _refuse("digest")
    return SnapshotOffer(message, size_bytes, digest)


def decode_part(frame: Frame, member: Member) -> tuple[int, bytes] | None:
    """Offset and bytes of a part; None when the frame says that all were sent.

    Raises:
        MessageMalformed: it is neither.
    """
    check_mark(frame, member)
    if frame.get("end") is True:
        return None
    data = frame.get("part")
    if type(data) is not bytes:
        _refuse("part")
    return _integer(frame.get("at")), data


def decode_offset(frame: Frame, member: Member) -> int:
    """Where the receiver wants the transfer to begin.

    Raises:
        MessageMalformed: the frame says something else.
    """
    check_mark(frame, member)
    return _integer(frame.get("at"))


def decode_done(frame: Frame, member: Member) -> None:
    """Raises MessageMalformed unless the receiver says that it has everything."""
    check_mark(frame, member)
    if frame.get("done") is not True:
        _refuse("done")


class FrameReader:
    """Bytes in, frames out; until the first frame is whole, only a small one is believed."""

    def __init__(self) -> None:
        self._first: bytearray | None = bytearray()
        self._decoder = FrameDecoder(frame_bytes_max=FRAME_BYTES_MAX)

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete.

        Raises:
            FrameError: the bytes are no frames; the stream can not be used any more.
        """
        if self._first is not None:
            self._first += data
            if len(self._first) < HEADER_BYTES:
                return
            size_bytes = HEADER_BYTES + int.from_bytes(self._first[:HEADER_BYTES], "big")
            if size_bytes > HELLO_BYTES_MAX:
                _refuse("hello_size")
            if len(self._first) < size_bytes:
                return
            data, self._first = bytes(self._first), None
        self._decoder.feed(data)
        for message, _ in self._decoder:
            yield message


def _refuse(reason: str) -> NoReturn:
    raise MessageMalformed(f"a peer's frame is malformed: {reason}", reason=reason)


def _integer(value: object) -> int:
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        _refuse("integer")
    return value


def _text(value: object) -> str:
    if type(value) is not str or len(value) > TEXT_CHARS_MAX:
        _refuse("text")
    return value
