"""The bytes of a log segment: batches, the records in them, and how damage is told from tearing.

Owns the format, both ways. Never opens a file.

A segment is a row of batches, each written by one write and made durable by one sync, then
zeros. Every batch begins at a multiple of 32 bytes with a header of 32 bytes, so a header
never straddles a sector:

    nonce u32 | header crc u32 | offset u64
    body bytes u32 | record count u32 | previous crc u32 | body crc u32

`body crc` is the CRC32C of the body, going on from `previous crc`, which is that of the batch
before, also across segments: a chain, so an old sector that comes back is noticed. `header
crc` covers the rest of the header. `offset` is the batch's own, `nonce` the segment's: a
sector written elsewhere is noticed too. The first batch is a SEGMENT record. Integers are
little-endian; a body ends with a byte that is not zero.

    body = record ... 0xFF          record = body bytes u32 | kind u8 | body

The last batch may be torn by a crash: it was never acknowledged, and is cut. Torn means that
a part of it was not written: its end, or whole sectors, are zeros. Anything else is damage,
and so is anything wrong before a valid later batch; damage is refused, never repaired here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from neuro.errors import NeuroCacheError
from neuro.native import crc32c
from neuro.raft import Configuration, Entry, EntryKind, HardState, SnapshotMeta

FORMAT_VERSION: Final = 1
ALIGN_BYTES: Final = 32
SECTOR_BYTES: Final = 512
BATCH_BYTES_MAX: Final = 1 << 30
HEADER_BYTES: Final = 32
END_MARK: Final = b"\xff"
_HEADER: Final = struct.Struct("<IIQIIII")
_HEADER_REST: Final = struct.Struct("<QIIII")
_RECORD: Final = struct.Struct("<IB")
_ENTRY: Final = struct.Struct("<IBQQB")
_ENTRY_BODY: Final = struct.Struct("<QQB")
_HARD_STATE: Final = struct.Struct("<QQQ")


class WalCorrupt(NeuroCacheError):
    """The log is damaged in `file` at byte `offset`, before its torn tail; nothing was changed."""

    code = "wal_corrupt"
    file: str = ""
    offset: int = 0


class RecordKind(IntEnum):
    """What a record means; numbers never change."""

    ENTRY = 1
    HARD_STATE = 2
    RESET = 3
    BASE = 4
    SEGMENT = 5


@dataclass(frozen=True, slots=True)
class Reset:
    """A snapshot took the place of the whole log, which goes on after it."""

    base: SnapshotMeta


@dataclass(frozen=True, slots=True)
class Base:
    """Entries up to this position are no longer needed."""

    base: SnapshotMeta


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What a segment says of itself: whose it is, and where the log stood when it began."""

    disk_id: str
    sequence: int
    base: SnapshotMeta
    hard_state: HardState


Record: TypeAlias = Entry | HardState | Reset | Base | SegmentHead


@dataclass(frozen=True, slots=True)
class Batch:
    """A whole, checked batch."""

    offset: int
    end: int
    crc: int
    previous_crc: int
    records: tuple[Record, ...]


def encode_records(records: list[Record]) -> bytes:
    """The body of a batch."""
    parts: list[bytes] = []
    add = parts.append
    entry_pack = _ENTRY.pack
    for record in records:
        if isinstance(record, Entry):
            data = record.data
            add(entry_pack(17 + len(data), 1, record.index, record.term, record.kind))
            add(data)
        elif isinstance(record, HardState):
            add(_RECORD.pack(_HARD_STATE.size, RecordKind.HARD_STATE))
            add(_HARD_STATE.pack(record.term, record.vote, record.commit))
        else:
            kind, text = _encode_text(record)
            add(_RECORD.pack(len(text), kind))
            add(text)
    add(END_MARK)
    return b"".join(parts)


def frame_batch(nonce: int, offset: int, count: int, previous_crc: int, body: bytes) -> bytes:
    """A batch as it is written at `offset`, padded to the next header."""
    rest = _HEADER_REST.pack(offset, len(body), count, previous_crc, crc32c(body, previous_crc))
    mark = nonce.to_bytes(4, "little")
    header_crc = crc32c(rest, nonce).to_bytes(4, "little")
    return b"".join((mark, header_crc, rest, body, bytes(-len(body) % ALIGN_BYTES)))


def body_crc(batch: bytes) -> int:
    """The body crc in a framed batch's header: the next link of the chain."""
    return int.from_bytes(batch[28:32], "little")


def nonce_of(segment: bytes) -> int:
    """The nonce in a segment's first header."""
    return int.from_bytes(segment[:4], "little")


def read_batch(segment: bytes, offset: int, nonce: int) -> Batch | None:
    """The valid batch at that offset, whatever its place in the chain; None when it is not one."""
    body_bytes = _body_bytes(segment, offset, nonce)
    start = offset + HEADER_BYTES
    stop = start + body_bytes
    if body_bytes == 0 or stop > len(segment):
        return None
    _, _, _, _, count, previous_crc, crc = _HEADER.unpack_from(segment, offset)
    if crc32c(memoryview(segment)[start:stop], previous_crc) != crc:
        return None
    records = tuple(_decode_records(segment, start, stop - len(END_MARK)))
    if len(records) != count:
        return None
    end = stop + -body_bytes % ALIGN_BYTES
    return Batch(offset, end, crc, previous_crc, records)


def _body_bytes(segment: bytes, offset: int, nonce: int) -> int:
    """The length of the body that the header there announces; 0 when the header is not valid."""
    header = segment[offset : offset + HEADER_BYTES]
    if len(header) < HEADER_BYTES:
        return 0
    found, header_crc, at, body_bytes, _, _, _ = _HEADER.unpack(header)
    is_valid = found == nonce and at == offset and crc32c(header[8:], nonce) == header_crc
    return body_bytes if is_valid else 0


def is_torn(segment: bytes, offset: int) -> bool:
    """True when what lies at `offset`, not a valid batch, can be the unfinished last write.

    False means damage: either a whole batch follows, or no part of this one is missing.
    """
    data_end = len(segment.rstrip(b"\0"))
    if data_end <= offset:
        return True
    nonce = nonce_of(segment)
    if _has_batch_after(segment, offset, nonce):
        return False
    header = segment[offset : offset + HEADER_BYTES]
    if data_end < offset + HEADER_BYTES or not any(header):
        return True
    body_bytes = _body_bytes(segment, offset, nonce)
    stop = offset + HEADER_BYTES + body_bytes
    if body_bytes == 0:
        return False
    return data_end < stop or _has_empty_sector(segment, offset, stop)


def _has_batch_after(segment: bytes, offset: int, nonce: int) -> bool:
    mark = nonce.to_bytes(4, "little")
    at = segment.find(mark, offset + 1)
    while at != -1:
        if at % ALIGN_BYTES == 0 and read_batch(segment, at, nonce) is not None:
            return True
        at = segment.find(mark, at + 1)
    return False


def _has_empty_sector(segment: bytes, start: int, stop: int) -> bool:
    first = -(-start // SECTOR_BYTES) * SECTOR_BYTES
    empty = bytes(SECTOR_BYTES)
    return any(
        segment[at : at + SECTOR_BYTES] == empty
        for at in range(first, stop - SECTOR_BYTES + 1, SECTOR_BYTES)
    )


def _decode_records(segment: bytes, start: int, stop: int) -> Iterator[Record]:
    """The records of a body whose checksum held; ends early when they do not fill it."""
    while start < stop:
        size, kind = _RECORD.unpack_from(segment, start)
        start += _RECORD.size
        if start + size > stop:
            return
        yield _decode_record(kind, segment[start : start + size])
        start += size


def _decode_record(kind: int, body: bytes) -> Record:
    if kind == RecordKind.ENTRY:
        index, term, entry_kind = _ENTRY_BODY.unpack_from(body)
        return Entry(index, term, EntryKind(entry_kind), body[_ENTRY_BODY.size :])
    if kind == RecordKind.HARD_STATE:
        return HardState(*_HARD_STATE.unpack(body))
    fields = json.loads(body)
    base = decode_meta(fields["base"])
    if kind == RecordKind.RESET:
        return Reset(base)
    if kind == RecordKind.BASE:
        return Base(base)
    if fields["format"] != FORMAT_VERSION or kind != RecordKind.SEGMENT:
        raise WalCorrupt(f"the log has format {fields['format']}, this program {FORMAT_VERSION}")
    return SegmentHead(fields["disk"], fields["sequence"], base, HardState(*fields["hard_state"]))


def _encode_text(record: Reset | Base | SegmentHead) -> tuple[RecordKind, bytes]:
    fields: dict[str, object] = {"base": encode_meta(record.base)}
    if isinstance(record, Reset):
        kind = RecordKind.RESET
    elif isinstance(record, Base):
        kind = RecordKind.BASE
    else:
        kind = RecordKind.SEGMENT
        state = record.hard_state
        fields |= {
            "format": FORMAT_VERSION,
            "disk": record.disk_id,
            "sequence": record.sequence,
            "hard_state": [state.term, state.vote, state.commit],
        }
    return kind, json.dumps(fields, separators=(",", ":")).encode()


def encode_meta(meta: SnapshotMeta) -> list[object]:
    """Snapshot metadata as JSON values."""
    return [meta.index, meta.term, meta.configuration.to_bytes().decode()]


def decode_meta(fields: list[object]) -> SnapshotMeta:
    """Snapshot metadata from JSON values."""
    index, term, configuration = fields
    return SnapshotMeta(
        int(str(index)), int(str(term)), Configuration.from_bytes(str(configuration).encode())
    )
