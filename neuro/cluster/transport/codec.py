"""Messages of the core as plain values, and back.

Owns the shape of each message on the wire: a list that begins with the kind's number, then sender,
receiver, term and the kind's own fields in the order of the class. Never touches frames or sockets.
What is read is believed only after every field was checked for its type and range, so that a
damaged or hostile peer can not put a value into the core that the core would never make itself.

Numbers of kinds never change their meaning; a change of fields is a new kind or a new
`frames.PROTOCOL_VERSION`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, NoReturn

from neuro.checks import check
from neuro.cluster.transport.errors import MessageMalformed
from neuro.raft import Code, Configuration, Entry, EntryKind, Message, SnapshotMeta
from neuro.raft import messages as kinds

INTEGER_MAX: Final = 2**63 - 1
"""Terms, indices and ids stay below it, so that every language's signed integers hold them."""
CONFIGURATION_BYTES_MAX: Final = 1 << 20
"""Ids of removed members pile up in a configuration; this is room for a hundred thousand."""
MESSAGE_ITEMS: Final = 24
"""No message has more values than this apart from its entries, payloads or requests."""
ENTRY_ITEMS: Final = 3

Value = Any


def encode_message(message: Message) -> list[Value]:
    """The plain value of a message; `decode_message` gives back an equal one."""
    number, _, packers, _ = _BY_CLASS[type(message)]
    value: list[Value] = [number]
    for name, pack in packers:
        item = getattr(message, name)
        value.append(pack(item) if pack is not None else item)
    return value


def decode_message(value: Value) -> Message:
    """The message that a plain value says.

    Raises:
        MessageMalformed: `reason` names the first thing that is wrong.
    """
    if type(value) is not list or not value or type(value[0]) is not int:
        _refuse("message_shape")
    known = _BY_NUMBER.get(value[0])
    if known is None:
        _refuse("kind_unknown")
    _, make, _, readers = known
    if len(value) != len(readers) + 1:
        _refuse("field_count")
    message = make(*(read(item) for read, item in zip(readers, value[1:], strict=True)))
    if message.sender < 1 or message.to < 1:
        _refuse("node_id")
    if (
        type(message) is kinds.Append
        and message.entries
        and message.entries[0].index != message.prev_index + 1
    ):
        _refuse("entry_index")
    return message


def weigh_message(message: Message) -> tuple[int, int]:
    """Bytes and items that a message takes in a frame at most, without encoding it."""
    size_bytes, items = 0, 0
    if isinstance(message, kinds.Append):
        items = ENTRY_ITEMS * len(message.entries)
        size_bytes = sum(len(entry.data) for entry in message.entries)
    elif isinstance(message, kinds.Propose):
        items = len(message.payloads)
        size_bytes = sum(len(payload) for payload in message.payloads)
    elif isinstance(message, kinds.ReadRequest | kinds.ReadReply):
        items = len(message.requests)
    # An integer takes 9 bytes, a length 5.
    return size_bytes + 9 * (items + MESSAGE_ITEMS), items + MESSAGE_ITEMS


def _refuse(reason: str) -> NoReturn:
    raise MessageMalformed(f"a peer's message is malformed: {reason}", reason=reason)


def _read_integer(value: Value) -> int:
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        _refuse("integer")
    return value


def _read_flag(value: Value) -> bool:
    if type(value) is not bool:
        _refuse("flag")
    return value


def _read_code(value: Value) -> Code:
    try:
        return Code(_read_integer(value))
    except ValueError:
        _refuse("code")


def _read_kind(value: Value) -> EntryKind:
    try:
        return EntryKind(_read_integer(value))
    except ValueError:
        _refuse("entry_kind")


def _read_requests(value: Value) -> tuple[int, ...]:
    if type(value) is not list:
        _refuse("requests")
    return tuple(_read_integer(item) for item in value)


def _read_bytes(value: Value) -> bytes:
    if type(value) is not bytes:
        _refuse("bytes")
    return value


def _read_payloads(value: Value) -> tuple[bytes, ...]:
    if type(value) is not list:
        _refuse("payloads")
    return tuple(_read_bytes(item) for item in value)


def _pack_entries(entries: tuple[Entry, ...]) -> list[Value]:
    """First index, then term, kind and data of each: indices have no gaps, so one is enough."""
    if not entries:
        return []
    first = entries[0].index
    flat: list[Value] = [first]
    for offset, entry in enumerate(entries):
        check(entry.index == first + offset, "entries of an append have no gaps")
        flat += (entry.term, int(entry.kind), entry.data)
    return flat


def _read_entries(value: Value) -> tuple[Entry, ...]:
    if type(value) is not list or (value and (len(value) - 1) % ENTRY_ITEMS):
        _refuse("entries")
    if not value:
        return ()
    first = _read_integer(value[0])
    count = (len(value) - 1) // ENTRY_ITEMS
    if first < 1 or count < 1 or first + count > INTEGER_MAX:
        _refuse("entry_index")
    return tuple(
        _read_entry(first + offset, *value[1 + ENTRY_ITEMS * offset : 4 + ENTRY_ITEMS * offset])
        for offset in range(count)
    )


def _read_entry(index: int, term: Value, kind: Value, data: Value) -> Entry:
    entry = Entry(index, _read_integer(term), _read_kind(kind), _read_bytes(data))
    if entry.kind is EntryKind.CONFIGURATION:
        _read_configuration(entry.data)
    return entry


def _pack_snapshot(snapshot: SnapshotMeta) -> list[Value]:
    return [snapshot.index, snapshot.term, snapshot.configuration.to_bytes()]


def _read_snapshot(value: Value) -> SnapshotMeta:
    if type(value) is not list or len(value) != 3:
        _refuse("snapshot")
    index, term, configuration = value
    return SnapshotMeta(
        _read_integer(index), _read_integer(term), _read_configuration(_read_bytes(configuration))
    )


def _read_configuration(data: bytes) -> Configuration:
    if len(data) > CONFIGURATION_BYTES_MAX:
        _refuse("configuration_size")
    try:
        configuration = Configuration.from_bytes(data)
        is_exact = configuration.to_bytes() == data
    except (ValueError, TypeError, RecursionError):
        _refuse("configuration")
    if not is_exact:
        _refuse("configuration")
    return configuration


_Pack = Callable[[Value], Value] | None
_Read = Callable[[Value], Value]

# How a field travels is told by its annotation; None packs the value as it is.
_FIELDS: Final[dict[str, tuple[_Pack, _Read]]] = {
    "NodeId": (None, _read_integer),
    "Term": (None, _read_integer),
    "LogIndex": (None, _read_integer),
    "RequestId": (None, _read_integer),
    "int": (None, _read_integer),
    "bool": (None, _read_flag),
    "Code": (int, _read_code),
    "EntryKind": (int, _read_kind),
    "SnapshotMeta": (_pack_snapshot, _read_snapshot),
    "tuple[Entry, ...]": (_pack_entries, _read_entries),
    "tuple[bytes, ...]": (list, _read_payloads),
    "tuple[RequestId, ...]": (list, _read_requests),
}

KIND_NUMBERS: Final[dict[type[Message], int]] = {
    kinds.PreVote: 1,
    kinds.PreVoteReply: 2,
    kinds.RequestVote: 3,
    kinds.VoteReply: 4,
    kinds.Append: 5,
    kinds.AppendReply: 6,
    kinds.Heartbeat: 7,
    kinds.HeartbeatReply: 8,
    kinds.InstallSnapshot: 9,
    kinds.TimeoutNow: 10,
    kinds.Propose: 11,
    kinds.ProposeReply: 12,
    kinds.ReadRequest: 13,
    kinds.ReadReply: 14,
}

_Kind = tuple[int, type[Message], list[tuple[str, _Pack]], list[_Read]]


def _describe(kind: type[Message], number: int) -> _Kind:
    ways = [(field.name, *_FIELDS[str(field.type)]) for field in fields(kind)]
    return number, kind, [(name, pack) for name, pack, _ in ways], [read for _, _, read in ways]


_BY_CLASS: Final = {kind: _describe(kind, number) for kind, number in KIND_NUMBERS.items()}
_BY_NUMBER: Final = {number: _BY_CLASS[kind] for kind, number in KIND_NUMBERS.items()}
