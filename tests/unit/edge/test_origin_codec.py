"""The codec between h11 and the socket: the same answer however its bytes arrive, or an error."""

from __future__ import annotations

import random

import pytest

from neuro.edge.origin_codec import OriginCodec
from neuro.errors import UpstreamProtocolError


def make(method: bytes = b"GET") -> OriginCodec:
    codec = OriginCodec(origin="o", head_bytes_max=4_096, field_count_max=50)
    codec.start(method, b"/", [(b"Host", b"o")])
    codec.end()
    return codec


def read(codec: OriginCodec, pieces: list[bytes]) -> tuple[int, bytes, bool, bool]:
    for piece in filter(None, pieces):  # a socket never gives an empty piece
        codec.receive(piece)
    assert codec.head is not None
    return codec.head.status, codec.take(), codec.is_done, codec.may_reuse


ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello", True, True)),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        (200, b"hello", True, True),
    ),
    (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        (200, b"x", True, False),
    ),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", (200, b"x", True, False)),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil close", (200, b"until close", False, False)),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 N\r\n\r\n", (204, b"", True, True)),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxEXTRA", (200, b"x", True, False)),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_split_at_every_offset_reads_the_same(
    answer: bytes, expected: tuple[int, bytes, bool, bool]
) -> None:
    for at in range(len(answer) + 1):
        assert read(make(), [answer[:at], answer[at:]]) == expected
    assert read(make(), [answer[at : at + 1] for at in range(len(answer))]) == expected


def test_head_answer_has_no_body_whatever_it_announces() -> None:
    codec = make(b"HEAD")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    assert read(codec, [answer]) == (200, b"", True, True)
    assert codec.head is not None
    assert codec.head.content_length == 500


def test_end_of_stream_completes_only_a_body_without_length() -> None:
    codec = make()
    codec.receive(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert codec.receive_eof() is True
    codec = make()
    codec.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    assert codec.receive_eof() is False


def test_request_body_must_keep_its_announced_length() -> None:
    codec = OriginCodec(origin="o", head_bytes_max=4_096, field_count_max=50)
    codec.start(b"POST", b"/", [(b"Host", b"o"), (b"Content-Length", b"3")])
    with pytest.raises(UpstreamProtocolError):
        codec.body(b"four")


def test_mutated_answers_are_read_or_refused_and_never_crash() -> None:
    dice = random.Random(9110)
    alphabet = b"\r\n :;0123456789abcdefHTTP/.\x00\xff"
    for _ in range(6_000):
        answer = bytearray(dice.choice(ANSWERS)[0])
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(answer))
            action = dice.randrange(3)
            if action == 0:
                answer[at] = dice.choice(alphabet)
            elif action == 1:
                del answer[at]
            else:
                answer.insert(at, dice.choice(alphabet))
        codec = make()
        try:
            codec.receive(bytes(answer))
        except UpstreamProtocolError:
            continue
        if (
            codec.is_done
            and codec.head is not None
            and codec.head.content_length is not None
            and codec.head.status not in (204, 304)
        ):
            assert len(codec.take()) == codec.head.content_length
