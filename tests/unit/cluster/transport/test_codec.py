"""Raft messages on the wire: round trips, and everything that must be refused."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.checks import InvariantError
from neuro.cluster.transport.codec import (
    CONFIGURATION_BYTES_MAX,
    INTEGER_MAX,
    KIND_NUMBERS,
    decode_message,
    encode_message,
    weigh_message,
)
from neuro.cluster.transport.errors import MessageMalformed
from neuro.raft import Code, Configuration, Entry, EntryKind, Message, SnapshotMeta
from neuro.raft import messages as kinds
from neuro.wire import FrameDecoder, FrameEncoder

NUMBERS = st.integers(0, INTEGER_MAX)
NODES = st.integers(1, INTEGER_MAX)
IDS = st.lists(st.integers(1, 99), max_size=4, unique=True).map(lambda ids: tuple(sorted(ids)))
CONFIGURATIONS = st.builds(
    Configuration,
    voters=IDS,
    outgoing=IDS,
    learners=IDS,
    witnesses=IDS,
    removed=IDS,
    addresses=st.lists(st.tuples(st.integers(1, 9), st.text(max_size=9)), max_size=3).map(tuple),
)
SNAPSHOTS = st.builds(SnapshotMeta, NUMBERS, NUMBERS, CONFIGURATIONS)
HEAD = {"sender": NODES, "to": NODES, "term": NUMBERS}


@st.composite
def appends(draw: st.DrawFn) -> kinds.Append:
    prev = draw(st.integers(0, 2**62))
    count = draw(st.integers(0, 5))
    plain = st.sampled_from([EntryKind.COMMAND, EntryKind.NO_OP, EntryKind.WITHHELD])
    entries = []
    for offset in range(count):
        if draw(st.booleans()):
            kind, data = draw(plain), draw(st.binary(max_size=40))
        else:
            kind, data = EntryKind.CONFIGURATION, draw(CONFIGURATIONS).to_bytes()
        entries.append(Entry(prev + 1 + offset, draw(NUMBERS), kind, data))
    return kinds.Append(
        draw(NODES),
        draw(NODES),
        draw(NUMBERS),
        prev,
        draw(NUMBERS),
        tuple(entries),
        draw(NUMBERS),
        draw(NUMBERS),
    )


def of(kind: type[Message], /, **fields: Any) -> st.SearchStrategy[Message]:
    return st.builds(kind, **HEAD, **fields)


REQUESTS = st.lists(NUMBERS, max_size=5).map(tuple)
CODES = st.sampled_from(Code)
LAST = {"last_index": NUMBERS, "last_term": NUMBERS}
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    appends(),
    of(kinds.PreVote, **LAST),
    of(kinds.PreVoteReply, granted=st.booleans(), removed=st.booleans()),
    of(kinds.RequestVote, **LAST, transfer=st.booleans()),
    of(kinds.VoteReply, granted=st.booleans()),
    of(
        kinds.AppendReply,
        match_index=NUMBERS,
        round=NUMBERS,
        rejected=st.booleans(),
        rejected_index=NUMBERS,
        hint_index=NUMBERS,
        hint_term=NUMBERS,
    ),
    of(kinds.Heartbeat, commit=NUMBERS, round=NUMBERS),
    of(kinds.HeartbeatReply, round=NUMBERS),
    of(kinds.InstallSnapshot, snapshot=SNAPSHOTS, round=NUMBERS, witness=st.booleans()),
    of(kinds.TimeoutNow),
    of(
        kinds.Propose,
        request=NUMBERS,
        payloads=st.lists(st.binary(max_size=40), max_size=4).map(tuple),
        kind=st.sampled_from(EntryKind),
    ),
    of(
        kinds.ProposeReply,
        request=NUMBERS,
        code=CODES,
        entry_term=NUMBERS,
        first_index=NUMBERS,
        leader=NUMBERS,
    ),
    of(kinds.ReadRequest, requests=REQUESTS),
    of(kinds.ReadReply, requests=REQUESTS, code=CODES, index=NUMBERS),
)


def through_a_frame(value: Any) -> Any:
    decoder = FrameDecoder()
    decoder.feed(FrameEncoder().encode({"m": value}))
    ((message, _),) = list(decoder)
    return message["m"]


@settings(max_examples=400, deadline=None)
@given(MESSAGES)
def test_every_message_comes_back_equal_through_a_frame(message: Message) -> None:
    back = decode_message(through_a_frame(encode_message(message)))
    assert back == message
    assert type(back) is type(message)


def test_every_kind_of_message_has_a_number_of_its_own() -> None:
    found = {kind for kind in vars(kinds).values() if isinstance(kind, type)}
    found = {kind for kind in found if issubclass(kind, Message) and kind is not Message}
    assert set(KIND_NUMBERS) == found
    assert len(set(KIND_NUMBERS.values())) == len(found)


def test_numbers_of_kinds_are_frozen() -> None:
    names = [kind.__name__ for kind in sorted(KIND_NUMBERS, key=KIND_NUMBERS.__getitem__)]
    assert names == [
        "PreVote",
        "PreVoteReply",
        "RequestVote",
        "VoteReply",
        "Append",
        "AppendReply",
        "Heartbeat",
        "HeartbeatReply",
        "InstallSnapshot",
        "TimeoutNow",
        "Propose",
        "ProposeReply",
        "ReadRequest",
        "ReadReply",
    ]
    assert sorted(KIND_NUMBERS.values()) == list(range(1, 15))


def test_bytes_of_an_append_are_frozen() -> None:
    message = kinds.Append(1, 2, 3, 7, 3, (Entry(8, 3, EntryKind.COMMAND, b"x"),), 6, 9)
    assert encode_message(message) == [5, 1, 2, 3, 7, 3, [8, 3, 0, b"x"], 6, 9]


@settings(max_examples=200, deadline=None)
@given(MESSAGES)
def test_the_weight_bounds_the_encoded_size(message: Message) -> None:
    size_bytes, items = weigh_message(message)
    value = encode_message(message)
    if not isinstance(message, kinds.InstallSnapshot):
        assert len(msgpack.packb(value)) <= size_bytes
    assert count_items(value) <= items


def count_items(value: Any) -> int:
    if not isinstance(value, list):
        return 0
    return len(value) + sum(count_items(item) for item in value)


HEARTBEAT = encode_message(kinds.Heartbeat(1, 2, 3, 4, 5))
APPEND = encode_message(kinds.Append(1, 2, 3, 7, 3, (Entry(8, 3, EntryKind.COMMAND, b"x"),), 6, 9))
INSTALL = encode_message(
    kinds.InstallSnapshot(1, 2, 3, SnapshotMeta(5, 2, Configuration(voters=(1, 2))), 4)
)


def changed(value: list[Any], position: int, item: Any) -> list[Any]:
    return [*value[:position], item, *value[position + 1 :]]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "message_shape"),
        ([], "message_shape"),
        ({"k": 1}, "message_shape"),
        ([True, 1, 2, 3], "message_shape"),
        ([0, 1, 2, 3], "kind_unknown"),
        ([99, 1, 2, 3], "kind_unknown"),
        (HEARTBEAT[:-1], "field_count"),
        ([*HEARTBEAT, 0], "field_count"),
        (changed(HEARTBEAT, 1, 0), "node_id"),
        (changed(HEARTBEAT, 2, 0), "node_id"),
        (changed(HEARTBEAT, 3, -1), "integer"),
        (changed(HEARTBEAT, 3, 2**63), "integer"),
        (changed(HEARTBEAT, 3, True), "integer"),
        (changed(HEARTBEAT, 3, 1.0), "integer"),
        (changed(HEARTBEAT, 3, "1"), "integer"),
        (changed(APPEND, 6, None), "entries"),
        (changed(APPEND, 6, [8, 3, 0]), "entries"),
        (changed(APPEND, 6, [8]), "entry_index"),
        (changed(APPEND, 6, [9, 3, 0, b"x"]), "entry_index"),
        (changed(APPEND, 6, [0, 3, 0, b"x"]), "entry_index"),
        (changed(APPEND, 6, [2**63 - 1, 3, 0, b"x"]), "entry_index"),
        (changed(APPEND, 6, [8, 3, 9, b"x"]), "entry_kind"),
        (changed(APPEND, 6, [8, 3, 0, "x"]), "bytes"),
        (changed(APPEND, 6, [8, 3, 2, b"x"]), "configuration"),
        (changed(APPEND, 6, [8, 3, 2, b'{"voters":"ab"}']), "configuration"),
        (changed(APPEND, 6, [8, 3, 2, b'{"voters":[1], "x":[]}']), "configuration"),
        (changed(APPEND, 6, [8, 3, 2, b'{"voters": [1]}']), "configuration"),
        (changed(APPEND, 6, [8, 3, 2, b"[" * 100_000]), "configuration"),
        (changed(APPEND, 6, [8, 3, 2, b" " * (CONFIGURATION_BYTES_MAX + 1)]), "configuration_size"),
        (changed(INSTALL, 4, [5, 2]), "snapshot"),
        (changed(INSTALL, 4, [5, 2, b"{"]), "configuration"),
        (changed(INSTALL, 6, 1), "flag"),
        ([11, 1, 2, 3, 4, [b"x", 1], 0], "bytes"),
        ([11, 1, 2, 3, 4, b"x", 0], "payloads"),
        ([12, 1, 2, 3, 4, 77, 0, 0, 0], "code"),
        ([13, 1, 2, 3, 4], "requests"),
    ],
)
def test_what_no_member_would_say_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(MessageMalformed) as caught:
        decode_message(value)
    assert caught.value.reason == reason


def test_an_append_with_a_gap_is_never_sent() -> None:
    entries = (Entry(8, 3, EntryKind.COMMAND, b""), Entry(10, 3, EntryKind.COMMAND, b""))
    with pytest.raises(InvariantError):
        encode_message(kinds.Append(1, 2, 3, 7, 3, entries, 6, 9))


def test_damaged_messages_are_refused_or_read_but_never_fail_otherwise() -> None:
    """Ten thousand mutations of real messages, bytes and structure, from a fixed seed."""
    chance = random.Random(20_11_22)
    samples = [HEARTBEAT, APPEND, INSTALL]
    samples += [
        encode_message(message)
        for message in (
            kinds.Propose(1, 2, 3, 4, (b"a", b"b")),
            kinds.ReadReply(1, 2, 3, (4, 5), Code.OK, 6),
            kinds.ProposeReply(1, 2, 3, 4, Code.BUSY),
            kinds.PreVoteReply(1, 2, 3, True, True),
            replace(kinds.AppendReply(1, 2, 3, 4, 5), rejected=True),
        )
    ]
    refused = read = 0
    for _ in range(10_000):
        data = bytearray(msgpack.packb(chance.choice(samples)))
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            value = msgpack.unpackb(bytes(data), strict_map_key=False)
        except Exception:
            continue
        try:
            message = decode_message(value)
        except MessageMalformed:
            refused += 1
        else:
            read += 1
            assert decode_message(encode_message(message)) == message
    assert refused > 500
    assert read > 500


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=9),
        max_leaves=20,
    )
)
def test_arbitrary_values_are_refused_with_a_reason(value: Any) -> None:
    try:
        message = decode_message(value)
    except MessageMalformed as error:
        assert error.reason
    else:
        assert encode_message(message) == value
