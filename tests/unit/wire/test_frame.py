"""The rules of the frame codec, a sentence each, for the native codec and its twin alike."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from neuro.errors import FrameError, FrameMalformed, FrameTooLarge, FrameTruncated
from neuro.wire import FrameDecoder, FrameEncoder
from neuro.wire.pure_frame import PureFrameDecoder, PureFrameEncoder

DECODERS = [FrameDecoder, PureFrameDecoder]
ENCODERS = [FrameEncoder, PureFrameEncoder]
decoders = pytest.mark.parametrize("decoder_type", DECODERS)
encoders = pytest.mark.parametrize("encoder_type", ENCODERS)


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def read(decoder_type: Any, data: bytes, **limits: int) -> list[Any]:
    decoder = decoder_type(**limits)
    decoder.feed(data)
    return list(decoder)


@decoders
def test_each_frame_names_the_encoding_it_came_in(decoder_type: Any) -> None:
    assert read(decoder_type, frame(b"\x81\xa1a\x01") + frame(b'{"a":1}')) == [
        ({"a": 1}, "msgpack"),
        ({"a": 1}, "json"),
    ]


@decoders
def test_iteration_ends_at_a_cut_frame_and_goes_on_after_the_next_feed(decoder_type: Any) -> None:
    data = frame(b"\x81\xa1a\x01")
    decoder = decoder_type()
    for byte in data[:-1]:
        decoder.feed(bytes([byte]))
        assert list(decoder) == []
    assert decoder.pending_bytes == len(data) - 1
    decoder.feed(data[-1:])
    assert list(decoder) == [({"a": 1}, "msgpack")]
    assert decoder.pending_bytes == 0


@decoders
def test_feeding_twice_before_iterating_loses_nothing(decoder_type: Any) -> None:
    data = frame(b"\x81\xa1a\x01") + frame(b"\x80") + frame(b'{"b":[]}')
    decoder = decoder_type()
    decoder.feed(data[:3])
    decoder.feed(data[3:10])
    assert next(decoder) == ({"a": 1}, "msgpack")
    decoder.feed(data[10:15])
    decoder.feed(data[15:])
    assert list(decoder) == [({}, "msgpack"), ({"b": []}, "json")]


@decoders
@pytest.mark.parametrize("buffer_type", [bytearray, memoryview])
def test_other_buffers_are_copied_so_the_caller_may_reuse_them(
    decoder_type: Any, buffer_type: Any
) -> None:
    room = bytearray(frame(b"\x81\xa1a\xa3one"))
    decoder = decoder_type()
    decoder.feed(buffer_type(room) if buffer_type is memoryview else room)
    room[:] = bytes(len(room))
    assert list(decoder) == [({"a": "one"}, "msgpack")]


# payload, reason, offset in the payload
MALFORMED = [
    (b"\x05", "not_a_map", 0),
    (b"\x91\x01", "not_a_map", 0),
    (b"[1]", "not_a_map", 0),
    (b' {"a":1}', "not_a_map", 0),
    (b"\x80\x80", "trailing_bytes", 1),
    (b"\x81\xa1a", "value_truncated", 3),
    (b"\x82\xa1a\x01", "value_truncated", 0),
    (b"\x81\xa1a\xa5abc", "value_truncated", 3),
    (b"\x81\xa1a\xcd\x01", "value_truncated", 3),
    (b"\x81\xa1a\xdb\xff\xff\xff\xffabc", "value_truncated", 3),
    (b"\x81\xa1a\xc6\xff\xff\xff\xffabc", "value_truncated", 3),
    (b"\x81\xa1a\xdd\xff\xff\xff\xff", "value_truncated", 3),
    (b"\xdf\xff\xff\xff\xff\xa1a\x01", "value_truncated", 0),
    (b"\x81\x01\x01", "key_not_string", 1),
    (b"\x81\xc4\x01a\x01", "key_not_string", 1),
    (b"\x82\xa1a\x01\xa1a\x02", "key_duplicate", 4),
    (b"\x82\xa1a\x01\xd9\x01a\x02", "key_duplicate", 4),
    (b"\x81\xa1a\xc1", "type_unsupported", 3),
    (b"\x81\xa1a\xd6\xff\x00\x00\x00\x00", "type_unsupported", 3),
    (b"\x81\xa1a\xc7\x00\x01", "type_unsupported", 3),
    (b"\x81\xa1a\xa2\xc3\x28", "utf8_invalid", 4),
    (b"\x81\xa1a\xa3\xed\xa0\x80", "utf8_invalid", 4),
    (b"\x81\xa1\xff\x01", "utf8_invalid", 2),
    (b"\x81\xa1a\xcb\x7f\xf8" + bytes(6), "number_not_finite", 3),
    (b"\x81\xa1a\xca\xff\x80\x00\x00", "number_not_finite", 3),
    (b'{"a":1', "json_malformed", 6),
    (b'{"a":01}', "json_malformed", 6),
    (b'{"a":"\x01"}', "json_malformed", 6),
    (b'{"a":1}\n', "trailing_bytes", 7),
    (b'{"a":1}{"b":1}', "trailing_bytes", 7),
    (b'{"a":"\xff"}', "utf8_invalid", 6),
    (b'{"a":"\\ud800"}', "utf8_invalid", 6),
    (b'{"a":"\\ude00\\ud83d"}', "utf8_invalid", 6),
    (b'{"a":1,"\\u0061":2}', "key_duplicate", 0),
    (b'{"a":NaN}', "number_not_finite", 0),
    (b'{"a":-Infinity}', "number_not_finite", 0),
    (b'{"a":1e999}', "number_not_finite", 0),
    (b'{"a":18446744073709551616}', "integer_range", 0),
    (b'{"a":-9223372036854775809}', "integer_range", 0),
    (b'{"a":' + b"9" * 5000 + b"}", "integer_range", 0),
]


@decoders
@pytest.mark.parametrize(("payload", "reason", "offset"), MALFORMED)
def test_malformed_payload_has_a_stable_reason_and_the_offset_in_the_stream(
    decoder_type: Any, payload: bytes, reason: str, offset: int
) -> None:
    good = frame(b"\x80")
    decoder = decoder_type()
    decoder.feed(good + frame(payload) + good)
    assert next(decoder) == ({}, "msgpack")
    with pytest.raises(FrameMalformed) as caught:
        next(decoder)
    assert caught.value.code == "frame_malformed"
    assert (caught.value.reason, caught.value.offset) == (reason, len(good) + 4 + offset)


@decoders
def test_decoder_stays_poisoned_after_the_first_fault(decoder_type: Any) -> None:
    decoder = decoder_type()
    decoder.feed(frame(b"\x05") + frame(b"\x80"))
    for use in (
        lambda: next(decoder),
        lambda: next(decoder),
        lambda: decoder.feed(b""),
        decoder.finish,
    ):
        with pytest.raises(FrameMalformed) as caught:
            use()
        assert caught.value is decoder.fault


@decoders
def test_announced_length_over_the_limit_is_refused_before_the_payload_comes(
    decoder_type: Any,
) -> None:
    decoder = decoder_type(frame_bytes_max=100)
    decoder.feed(b"\x00\x00\x00\x65")
    with pytest.raises(FrameTooLarge) as caught:
        next(decoder)
    assert (caught.value.size_bytes, caught.value.bytes_max, caught.value.offset) == (101, 100, 0)


@decoders
def test_empty_frame_is_refused(decoder_type: Any) -> None:
    with pytest.raises(FrameMalformed, match="frame empty at byte 0"):
        read(decoder_type, bytes(4))


@decoders
@pytest.mark.parametrize(("there", "missing"), [(1, 3), (4, 4), (6, 2)])
def test_end_of_stream_inside_a_frame_says_how_much_is_missing(
    decoder_type: Any, there: int, missing: int
) -> None:
    decoder = decoder_type()
    decoder.feed(frame(b"\x81\xa1a\x01")[:there])
    assert list(decoder) == []
    with pytest.raises(FrameTruncated) as caught:
        decoder.finish()
    assert (caught.value.missing_bytes, caught.value.offset) == (missing, there)


@decoders
def test_end_of_stream_between_frames_is_no_fault(decoder_type: Any) -> None:
    decoder = decoder_type()
    decoder.finish()
    decoder.feed(frame(b"\x80"))
    assert len(list(decoder)) == 1
    decoder.finish()


@decoders
@pytest.mark.parametrize(
    ("payload", "limits", "reason", "offset"),
    [
        (b"\x81\xa1a\x91\x90", {"depth_max": 2}, "depth_exceeded", 4),
        (b'{"a":[[]]}', {"depth_max": 2}, "depth_exceeded", 6),
        (b"\x81\xa1a\x93\x01\x02\x03", {"item_count_max": 3}, "too_many_items", 3),
        (b'{"a":[1,2,3]}', {"item_count_max": 3}, "too_many_items", 9),
        (b"\x81\xa1a\xa4abcd", {"string_bytes_max": 3}, "string_too_long", 3),
        (b"\x81\xa1a\xc4\x04abcd", {"string_bytes_max": 3}, "string_too_long", 3),
        (b"\x81\xa4abcd\x01", {"string_bytes_max": 3}, "string_too_long", 1),
        (b'{"a":"abcd"}', {"string_bytes_max": 3}, "string_too_long", 5),
    ],
)
def test_bounds_hold_at_the_first_value_that_passes_them(
    decoder_type: Any, payload: bytes, limits: dict[str, int], reason: str, offset: int
) -> None:
    with pytest.raises(FrameMalformed) as caught:
        read(decoder_type, frame(payload), **limits)
    assert (caught.value.reason, caught.value.offset) == (reason, 4 + offset)
    (name, value), *_ = limits.items()
    assert len(read(decoder_type, frame(payload), **{name: value + 1})) == 1


@decoders
def test_deep_nesting_cannot_exhaust_the_stack(decoder_type: Any) -> None:
    for payload in (b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01", b'{"a":' + b"[" * 100_000):
        with pytest.raises(FrameMalformed, match="depth exceeded"):
            read(decoder_type, frame(payload))


def test_surrogate_pair_escapes_become_one_character() -> None:
    for decoder_type in DECODERS:
        text = rb'{"a":"\\ud83d \ud83d\ude00 \" \\"}'
        assert read(decoder_type, frame(text)) == [({"a": '\\ud83d \U0001f600 " \\'}, "json")]


def test_known_keys_are_not_confused_with_others_of_the_same_slot() -> None:
    keys = [f"{a}{b}" for a in "abcdefgh" for b in "ijklmnop"] + ["", "k" * 24, "k" * 25, "é"]
    encoder, decoder = FrameEncoder(), FrameDecoder()
    for _ in range(2):
        for key in keys:
            decoder.feed(encoder.encode({key: 1}))
            assert next(decoder) == ({key: 1}, "msgpack")


class Colour(enum.IntEnum):
    RED = 7


@encoders
@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_subclasses_are_written_as_their_base(encoder_type: Any, encoding: str) -> None:
    written = encoder_type().encode({"a": Colour.RED, "b": (1, True)}, encoding)
    assert read(FrameDecoder, written) == [({"a": 7, "b": [1, True]}, encoding)]


@encoders
@pytest.mark.parametrize(
    ("message", "encoding", "reason", "offset"),
    [
        ([], "msgpack", "not_a_map", 4),
        ({"a": {1, 2}}, "msgpack", "type_unsupported", 7),
        ({"a": 1j}, "json", "type_unsupported", 4),
        ({"a": b"x"}, "json", "type_unsupported", 4),
        ({"a": memoryview(b"abcd")[::2]}, "msgpack", "type_unsupported", 7),
        ({1: 2}, "msgpack", "key_not_string", 5),
        ({1: 2}, "json", "key_not_string", 4),
        ({"a": 2**64}, "msgpack", "integer_range", 7),
        ({"a": -(2**63) - 1}, "msgpack", "integer_range", 7),
        ({"a": -(2**100)}, "msgpack", "integer_range", 7),
        ({"a": 2**64}, "json", "integer_range", 4),
        ({"a": float("nan")}, "msgpack", "number_not_finite", 7),
        ({"a": float("inf")}, "json", "number_not_finite", 4),
        ({"a": "\ud800"}, "msgpack", "utf8_invalid", 7),
        ({"\ud800": 1}, "json", "utf8_invalid", 4),
    ],
)
def test_message_that_cannot_be_said_is_refused(
    encoder_type: Any, message: Any, encoding: str, reason: str, offset: int
) -> None:
    with pytest.raises(FrameMalformed) as caught:
        encoder_type().encode(message, encoding)
    assert (caught.value.reason, caught.value.offset) == (reason, offset)


@encoders
@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_message_that_contains_itself_is_refused(encoder_type: Any, encoding: str) -> None:
    message: dict[str, Any] = {}
    message["again"] = message
    with pytest.raises(FrameMalformed, match="depth exceeded"):
        encoder_type().encode(message, encoding)


@encoders
@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("body", ["x" * 10, "x" * 600, "x" * 100_000])
def test_frame_of_exactly_the_limit_passes_and_one_byte_more_does_not(
    encoder_type: Any, encoding: str, body: str
) -> None:
    size = len(encoder_type().encode({"a": body}, encoding)) - 4
    assert encoder_type(frame_bytes_max=size).encode({"a": body}, encoding)
    with pytest.raises(FrameTooLarge) as caught:
        encoder_type(frame_bytes_max=size - 1).encode({"a": body}, encoding)
    assert caught.value.bytes_max == size - 1


@encoders
def test_unknown_encoding_is_a_programming_error(encoder_type: Any) -> None:
    with pytest.raises(ValueError, match="no such encoding: 'xml'") as caught:
        encoder_type().encode({}, "xml")
    assert not isinstance(caught.value, FrameError)


@pytest.mark.parametrize("limit", ["frame_bytes_max", "depth_max", "item_count_max"])
@pytest.mark.parametrize("native_type", [FrameDecoder, FrameEncoder])
def test_limits_below_one_are_refused(native_type: Any, limit: str) -> None:
    with pytest.raises(ValueError, match=limit):
        native_type(**{limit: 0})


def test_memory_of_a_length_bomb_grows_with_what_came_not_with_what_was_promised() -> None:
    import resource

    def resident_peak_kib() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = resident_peak_kib()
    bombs = [FrameDecoder(frame_bytes_max=2**31) for _ in range(200)]
    for decoder in bombs:
        decoder.feed(b"\x7f\xff\xff\xff\x81")
        assert list(decoder) == []
        assert decoder.pending_bytes == 5
    assert resident_peak_kib() - before < 50_000
