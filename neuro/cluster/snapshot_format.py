"""The bytes of a snapshot file: a head, compressed chunks, and an end that proves it is whole.

Owns the format, both ways. Never names a file. Integers are little-endian.

    "NCSNAP\\0\\1" | head bytes u32 | head crc u32 | head: a JSON object
    chunk ...:   stored bytes u32 | raw bytes u32 | crc u32 | zstd frame
    end:         0 u32            | 0 u32         | crc u32 | raw bytes of all chunks u64

Every crc is a CRC32C that goes on from the one before it, so chunks can not change places.
"""

from __future__ import annotations

import json
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import zstandard

from neuro.cluster.wal_format import decode_meta, encode_meta
from neuro.errors import NeuroCacheError
from neuro.native import crc32c
from neuro.raft import SnapshotMeta

MAGIC: Final = b"NCSNAP\0\1"
CHUNK_BYTES_MAX: Final = 1 << 20
"""Large enough to compress well, small enough that one chunk never holds up the interpreter."""
HEAD_BYTES_MAX: Final = 1 << 20
ZSTD_LEVEL: Final = 1
"""Faster than the disk; higher levels save a tenth of the size for several times the work."""
ID_BYTES: Final = 16
_HEAD: Final = struct.Struct("<II")
_CHUNK: Final = struct.Struct("<III")
_TOTAL: Final = struct.Struct("<Q")


class SnapshotCorrupt(NeuroCacheError):
    """A snapshot is damaged or incomplete at byte `offset`; nothing of it was used."""

    code = "snapshot_corrupt"
    file: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """What the file says of itself; `id` is random, so equal ids mean equal bytes.

    `control` is the driver's own replicated state as of the same entry.
    """

    meta: SnapshotMeta
    id: bytes
    control: dict[str, object]


def encode_snapshot(
    meta: SnapshotMeta, control: dict[str, object], chunks: Iterable[bytes]
) -> Iterator[bytes]:
    """The parts of a snapshot file, in order."""
    fields = {
        "meta": encode_meta(meta),
        "id": secrets.token_bytes(ID_BYTES).hex(),
        "control": control,
    }
    head = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    crc = crc32c(head)
    yield MAGIC + _HEAD.pack(len(head), crc) + head
    compress = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
    total = 0
    for chunk in _regroup(chunks):
        stored = compress(chunk)
        crc = crc32c(stored, crc)
        total += len(chunk)
        yield _CHUNK.pack(len(stored), len(chunk), crc) + stored
    end = _TOTAL.pack(total)
    yield _CHUNK.pack(0, 0, crc32c(end, crc)) + end


class SnapshotReader:
    """Reads a snapshot file through `read(offset, size)`, checking every byte."""

    def __init__(self, name: str, read: Callable[[int, int], bytes]) -> None:
        self._name = name
        self._read = read
        self._offset = 0
        self._crc = 0

    def read_head(self) -> SnapshotHead:
        """The head.

        Raises:
            SnapshotCorrupt: it is none.
        """
        self._offset = 0
        if self._take(len(MAGIC)) != MAGIC:
            raise self._fault()
        size_bytes, crc = _HEAD.unpack(self._take(_HEAD.size))
        if size_bytes > HEAD_BYTES_MAX:
            raise self._fault()
        head = self._take(size_bytes)
        self._crc = crc32c(head)
        if self._crc != crc:
            raise self._fault()
        fields = json.loads(head)
        return SnapshotHead(
            decode_meta(fields["meta"]), bytes.fromhex(fields["id"]), fields["control"]
        )

    def read_chunks(self) -> Iterator[bytes]:
        """The raw chunks, after `read_head`; comes to its end only when the file is whole.

        Raises:
            SnapshotCorrupt: any byte differs from what was written.
        """
        decompress = zstandard.ZstdDecompressor().decompress
        total = 0
        while True:
            stored_bytes, raw_bytes, crc = _CHUNK.unpack(self._take(_CHUNK.size))
            if stored_bytes == 0:
                break
            if raw_bytes > CHUNK_BYTES_MAX or stored_bytes > 2 * CHUNK_BYTES_MAX:
                raise self._fault()
            stored = self._take(stored_bytes)
            self._crc = crc32c(stored, self._crc)
            if self._crc != crc:
                raise self._fault()
            try:
                chunk = decompress(stored, max_output_size=CHUNK_BYTES_MAX)
            except zstandard.ZstdError:
                raise self._fault() from None
            if len(chunk) != raw_bytes:
                raise self._fault()
            total += raw_bytes
            yield chunk
        end = self._take(_TOTAL.size)
        is_whole = crc32c(end, self._crc) == crc and _TOTAL.unpack(end)[0] == total
        if not is_whole or raw_bytes or self._read(self._offset, 1):
            raise self._fault()

    def _take(self, size_bytes: int) -> bytes:
        data = self._read(self._offset, size_bytes)
        if len(data) != size_bytes:
            raise self._fault()
        self._offset += size_bytes
        return data

    def _fault(self) -> SnapshotCorrupt:
        return SnapshotCorrupt(
            f"`{self._name}` is damaged before byte {self._offset}",
            file=self._name,
            offset=self._offset,
        )


def _regroup(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of exactly the largest size, save for the last."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= CHUNK_BYTES_MAX:
            yield bytes(held[:CHUNK_BYTES_MAX])
            del held[:CHUNK_BYTES_MAX]
    if held:
        yield bytes(held)
