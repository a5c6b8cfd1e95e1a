"""The native codec against its plain twin and against msgpack-python: same bytes, same faults."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.errors import FrameError
from neuro.wire import FrameDecoder, FrameEncoder
from neuro.wire.pure_frame import PureFrameDecoder, PureFrameEncoder

integers = st.integers(-(2**63), 2**64 - 1) | st.sampled_from(
    [base + step for base in (-(2**31), -(2**15), -128, -32, 0, 128, 2**8, 2**16, 2**32)
     for step in (-1, 0, 1)]
)  # fmt: skip
scalars = (
    st.none() | st.booleans() | integers | st.text() | st.floats(allow_nan=False,
                                                                 allow_infinity=False)
)  # fmt: skip
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)
values = st.recursive(
    scalars | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)
messages = st.dictionaries(st.text(max_size=40), values, max_size=20)
json_messages = st.dictionaries(st.text(max_size=40), json_values, max_size=20)
wild = st.dictionaries(
    st.text(max_size=3) | st.integers() | st.characters(categories=["Cs"]),
    st.recursive(
        values | st.integers() | st.floats() | st.complex_numbers()
        | st.text(st.characters(categories=["Cs", "Ll"])),
        lambda inner: st.lists(inner, max_size=5),
        max_leaves=10,
    ),
    max_size=5,
)  # fmt: skip
limits = st.fixed_dictionaries(
    {},
    optional={
        "frame_bytes_max": st.integers(1, 700),
        "depth_max": st.integers(1, 4),
        "item_count_max": st.integers(1, 20),
        "string_bytes_max": st.integers(1, 40),
    },
)


def outcome(action: Any) -> Any:
    """What happened, comparable: the result, or every fact of the fault."""
    try:
        return action()
    except FrameError as fault:
        return (type(fault), str(fault), vars(fault))


def story(decoder: Any, pieces: list[bytes]) -> list[Any]:
    """All a decoder says about a stream; `repr` tells 1 from True and -0.0 from 0.0."""
    said: list[Any] = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            for message in decoder:
                said.append(repr(message))  # noqa: PERF401 - keeps what came before a fault
            said.append(decoder.pending_bytes)
        decoder.finish()
    except FrameError as fault:
        said.append((type(fault), str(fault), vars(fault)))
    return said


@given(messages)
def test_bytes_equal_those_of_msgpack_python_and_come_back_equal(message: Any) -> None:
    frame = FrameEncoder().encode(message)
    assert frame[4:] == msgpack.packb(message)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    decoder = FrameDecoder()
    decoder.feed(frame)
    assert repr(list(decoder)) == repr([(msgpack.unpackb(frame[4:]), "msgpack")])


@given(
    st.dictionaries(
        st.text(max_size=40), st.floats(width=32, allow_nan=False, allow_infinity=False)
    )
)
def test_floats_that_other_writers_made_short_are_read(message: Any) -> None:
    payload = msgpack.packb(message, use_single_float=True)
    decoder = FrameDecoder()
    decoder.feed(len(payload).to_bytes(4, "big") + payload)
    assert repr(list(decoder)) == repr([(message, "msgpack")])


@given(json_messages)
def test_json_frames_come_back_equal(message: Any) -> None:
    frame = FrameEncoder().encode(message, "json")
    decoder = FrameDecoder()
    decoder.feed(frame)
    assert repr(list(decoder)) == repr([(message, "json")])


@given(wild | messages | json_messages, st.sampled_from(["msgpack", "json"]), limits)
@settings(max_examples=200)
def test_both_encoders_write_the_same_bytes_or_the_same_fault(
    message: Any, encoding: Any, bounds: dict[str, int]
) -> None:
    native = outcome(lambda: FrameEncoder(**bounds).encode(message, encoding))
    assert native == outcome(lambda: PureFrameEncoder(**bounds).encode(message, encoding))


@given(json_messages, st.sampled_from(["msgpack", "json"]), limits)
def test_what_an_encoder_writes_a_decoder_of_the_same_bounds_reads(
    message: Any, encoding: Any, bounds: dict[str, int]
) -> None:
    try:
        frame = FrameEncoder(**bounds).encode(message, encoding)
    except FrameError:
        return
    decoder = FrameDecoder(**bounds)
    decoder.feed(frame)
    assert repr(list(decoder)) == repr([(message, encoding)])


@st.composite
def streams(draw: Any) -> list[bytes]:
    """Frames, some of them damaged, cut into pieces anywhere."""
    data = b""
    for message, encoding in draw(
        st.lists(st.tuples(json_messages, st.sampled_from(["msgpack", "json"])), max_size=4)
    ):
        data += FrameEncoder().encode(message, encoding)
    raw = draw(st.binary(max_size=20))
    data += len(raw).to_bytes(4, "big") + raw if raw else b""
    damaged = bytearray(data)
    for at, byte in draw(
        st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3)
    ):
        if damaged:
            damaged[at % len(damaged)] = byte
    cuts = sorted(draw(st.lists(st.integers(0, len(damaged)), max_size=5)))
    return [
        bytes(damaged[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(damaged)], strict=True)
    ]


@given(streams(), limits)
@settings(max_examples=300)
def test_both_decoders_tell_the_same_story_of_any_stream(
    pieces: list[bytes], bounds: dict[str, int]
) -> None:
    assert story(FrameDecoder(**bounds), pieces) == story(PureFrameDecoder(**bounds), pieces)


@given(st.text(alphabet='{}[]",:\\u0d8cDeE19.-+ tfnNaI\u00e9\U0001f600', max_size=60), limits)
@settings(max_examples=300)
def test_both_decoders_judge_json_alike(tail: str, bounds: dict[str, int]) -> None:
    payload = b"{" + tail.encode()
    frame = [len(payload).to_bytes(4, "big") + payload]
    assert story(FrameDecoder(**bounds), frame) == story(PureFrameDecoder(**bounds), frame)
