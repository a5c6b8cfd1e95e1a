"""The state as bytes and back.

Owns the form: blocks of a 4-byte big-endian length and a msgpack array of rows, each row beginning
with its kind; then a block of length 0 and a BLAKE2b digest of all before it. Equal states give
equal bytes. Whether a disk changed them is the driver's care; the digest here answers whether the
whole way from one member's memory to another's was right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

import msgpack

from neuro.cluster.machine.history import ChangeGroup, History, Record, pack_group, unpack_group
from neuro.cluster.machine.leases import Leases
from neuro.cluster.machine.ordered_keys import OrderedKeys
from neuro.cluster.machine.outcome import Refusal
from neuro.cluster.machine.sessions import Sessions
from neuro.cluster.machine.state import State, measure

FORM_VERSION: Final = 1
BLOCK_BYTES: Final = 256 << 10
BLOCK_BYTES_MAX: Final = 128 << 20
"""A block is cut after the row that fills it; one row is at most a transaction's changes."""
_DIGEST_BYTES: Final = 16


def freeze(state: State) -> Iterator[bytes]:
    """The state as of now, in chunks; the iterator may be drained on another thread."""
    return _write_blocks(
        ["state", FORM_VERSION, state.applied_index, state.chain, state.time_ms],
        state.records.copy(),
        state.history.compacted,
        state.history.freeze(),
        state.leases.freeze(),
        state.sessions.freeze(),
    )


def _write_blocks(
    head: list[Any],
    records: dict[str, Record],
    compacted: int,
    groups: tuple[ChangeGroup, ...],
    leases: list[list[Any]],
    sessions: list[list[Any]],
) -> Iterator[bytes]:
    def rows() -> Iterator[list[Any]]:
        yield head
        yield from (["lease", *row] for row in leases)
        yield from (["session", *row] for row in sessions)
        yield ["history", compacted]
        yield from (["group", *pack_group(group)] for group in groups)
        yield from (["key", key, *records[key]] for key in sorted(records))

    digest = blake2b(digest_size=_DIGEST_BYTES)
    block: list[bytes] = []
    size_bytes = 0
    for row in rows():
        packed: bytes = msgpack.packb(row)
        block.append(packed)
        size_bytes += len(packed)
        if size_bytes >= BLOCK_BYTES:
            yield _close_block(block, digest)
            block, size_bytes = [], 0
    if block:
        yield _close_block(block, digest)
    end = bytes(4)
    digest.update(end)
    yield end + digest.digest()


def _close_block(block: list[bytes], digest: blake2b) -> bytes:
    payload = b"".join(block)
    data = len(payload).to_bytes(4, "big") + payload
    digest.update(data)
    return data


def thaw(chunks: Iterable[bytes]) -> State:
    """The state in the bytes; no bytes at all are the empty state.

    Raises:
        ValueError: the bytes are no state.
    """
    state = State()
    keys: list[str] = []
    is_first = True
    try:
        for row in _read_rows(chunks):
            kind, *parts = row
            if is_first:
                _thaw_head(state, kind, parts)
                is_first = False
            elif kind == "key":
                keys.append(_thaw_key(state, parts))
            elif kind == "group":
                state.history.append(unpack_group(parts))
            elif kind == "lease":
                state.leases.thaw(parts)
            elif kind == "session":
                state.sessions.thaw(parts)
            elif kind == "history":
                state.history = History(parts[0])
            else:
                raise ValueError(f"unknown row {kind!r} in a state")
    except (TypeError, KeyError, AttributeError, AssertionError, Refusal) as error:
        raise ValueError("the rows of a state do not fit together") from error
    state.keys = OrderedKeys(keys)
    return state


def _thaw_head(state: State, kind: object, parts: list[Any]) -> None:
    if kind != "state" or len(parts) != 4 or parts[0] != FORM_VERSION:
        raise ValueError("not a state of this version")
    _, state.applied_index, state.chain, state.time_ms = parts
    state.leases = Leases()
    state.sessions = Sessions()


def _thaw_key(state: State, parts: list[Any]) -> str:
    key = str(parts[0])
    record = Record(*parts[1:])
    state.records[key] = record
    state.size_bytes += measure(key, record)
    state.leases.attach(record.lease, key)
    return key


def _read_rows(chunks: Iterable[bytes]) -> Iterator[list[Any]]:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    pending = bytearray()
    ended = False
    for chunk in chunks:
        pending += chunk
        while not ended and len(pending) >= 4:
            length = int.from_bytes(pending[:4], "big")
            if length > BLOCK_BYTES_MAX:
                raise ValueError("a block of a state is too long")
            if len(pending) < 4 + length:
                break
            block = bytes(pending[: 4 + length])
            del pending[: 4 + length]
            digest.update(block)
            ended = length == 0
            yield from _unpack_rows(block[4:])
    if not ended and not pending and digest.digest() == blake2b(digest_size=16).digest():
        return
    if not ended or bytes(pending) != digest.digest():
        raise ValueError("a state is cut short, or was changed on its way")


def _unpack_rows(block: bytes) -> Iterator[list[Any]]:
    unpacker = msgpack.Unpacker(strict_map_key=True, max_buffer_size=BLOCK_BYTES_MAX)
    unpacker.feed(block)
    try:
        rows = list(unpacker)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError("a block of a state is damaged") from error
    if unpacker.tell() != len(block) or not all(isinstance(row, list) and row for row in rows):
        raise ValueError("a block of a state is no list of rows")
    yield from rows
