"""Snapshot files: written aside, named when they are whole, received in resumable parts.

Owns the snapshot files of one member. Never touches log or state machine. A file has its
final name only when it is durable, so what has that name is whole, or damaged by the disk.
"""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from neuro.cluster.disk import Disk, DiskFile, DiskFull
from neuro.cluster.peers import SnapshotOffer
from neuro.cluster.snapshot_format import (
    CHUNK_BYTES_MAX,
    SnapshotCorrupt,
    SnapshotHead,
    SnapshotReader,
    encode_snapshot,
)
from neuro.raft import SnapshotMeta
from neuro.raft.messages import InstallSnapshot

DRAFT_PREFIX: Final = "snapshot-draft-"
INCOMING_PREFIX: Final = "incoming-"
_NAME: Final = re.compile(r"snapshot-(\d{20})-(\d{20})")


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A durable snapshot file."""

    name: str
    head: SnapshotHead
    size_bytes: int

    @property
    def meta(self) -> SnapshotMeta:
        """Where it stands."""
        return self.head.meta


class StoredSource:
    """A stored snapshot on its way to a peer; the file stays readable after its removal."""

    def __init__(self, file: DiskFile | None, offer: SnapshotOffer) -> None:
        self._file = file
        self._offer = offer

    @property
    def offer(self) -> SnapshotOffer:
        return self._offer

    def read(self, offset: int, size_bytes: int) -> bytes:
        return self._file.read(offset, size_bytes) if self._file is not None else b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class SnapshotStore:
    """The snapshots of one member. Own snapshots are written on one thread, incoming on another."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._incoming: dict[bytes, DiskFile] = {}
        self._lock = threading.Lock()
        self.latest = self._find_latest()
        """The newest durable one; what slow peers are sent."""

    def write(
        self, meta: SnapshotMeta, control: dict[str, object], chunks: Iterable[bytes]
    ) -> StoredSnapshot:
        """Stores a snapshot; durable on return.

        Raises:
            DiskFull: no room; nothing is left behind.
            OSError: the disk failed.
        """
        draft = f"{DRAFT_PREFIX}{meta.index}"
        file = self._disk.create(draft)
        try:
            offset = 0
            for part in encode_snapshot(meta, control, chunks):
                file.write(offset, part)
                offset += len(part)
            file.sync()
        except (OSError, DiskFull) as error:
            file.close()
            is_full = isinstance(error, DiskFull) or error.errno in (errno.ENOSPC, errno.EDQUOT)
            if not is_full:
                raise
            self._disk.remove(draft)
            raise DiskFull("no room for a snapshot") from error
        file.close()
        return self._adopt(draft, meta)

    def read(self, stored: StoredSnapshot) -> Iterator[bytes]:
        """The state's chunks, every byte checked.

        Raises:
            SnapshotCorrupt, OSError: not usable.
        """
        file = self._disk.open(stored.name)
        try:
            reader = SnapshotReader(stored.name, file.read)
            reader.read_head()
            yield from reader.read_chunks()
        finally:
            file.close()

    def read_file(self, stored: StoredSnapshot) -> Iterator[bytes]:
        """The file's bytes as they are, for a backup."""
        file = self._disk.open(stored.name)
        try:
            for offset in range(0, stored.size_bytes, CHUNK_BYTES_MAX):
                yield file.read(offset, min(CHUNK_BYTES_MAX, stored.size_bytes - offset))
        finally:
            file.close()

    def open_source(self, message: InstallSnapshot) -> StoredSource | None:
        """The bytes that belong to the message; None when this is not the snapshot held."""
        if message.witness:
            return StoredSource(None, SnapshotOffer(message, 0, b""))
        stored = self.latest
        if stored is None or stored.meta != message.snapshot:
            return None
        offer = SnapshotOffer(message, stored.size_bytes, stored.head.id)
        return StoredSource(self._disk.open(stored.name), offer)

    # -- receiving

    def begin_incoming(self, offer: SnapshotOffer) -> int:
        """Makes ready for the parts of an offer; returns how many bytes are held already.

        Raises:
            OSError: the disk failed.
        """
        name = _incoming_name(offer)
        for other in self._disk.names():
            if other.startswith(INCOMING_PREFIX) and other != name:
                self._forget(bytes.fromhex(other.removeprefix(INCOMING_PREFIX)))
        file = self._incoming.get(offer.digest)
        if file is None:
            is_known = name in self._disk.names()
            file = self._disk.open(name) if is_known else self._disk.create(name)
            self._incoming[offer.digest] = file
        if file.size_bytes > offer.size_bytes:
            file.truncate(0)
        return file.size_bytes

    def write_incoming(self, offer: SnapshotOffer, offset: int, data: bytes) -> int:
        """Takes a part; returns how many bytes are held in a row.

        Raises:
            DiskFull: no room.
            OSError: the disk failed.
        """
        file = self._incoming.get(offer.digest)
        if file is None:
            return 0
        held = file.size_bytes
        fresh = data[max(0, held - offset) :] if offset <= held else b""
        if not fresh or held + len(fresh) > offer.size_bytes:
            return held
        try:
            file.write(held, fresh)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            file.truncate(held)
            raise DiskFull("no room for an incoming snapshot") from error
        return held + len(fresh)

    def verify_incoming(self, offer: SnapshotOffer) -> None:
        """Reads all that arrived and makes it durable; it has no name yet.

        Raises:
            SnapshotCorrupt: not what was offered; it was thrown away.
            OSError: the disk failed.
        """
        file = self._incoming.get(offer.digest)
        name = _incoming_name(offer)
        try:
            if file is None:
                raise SnapshotCorrupt("nothing was received", file=name)
            reader = SnapshotReader(name, file.read)
            head = reader.read_head()
            if head.meta != offer.message.snapshot or head.id != offer.digest:
                raise SnapshotCorrupt(f"`{name}` is not what was offered", file=name)
            for _ in reader.read_chunks():
                pass
        except SnapshotCorrupt:
            self._forget(offer.digest)
            raise
        file.sync()

    def install(self, offer: SnapshotOffer) -> StoredSnapshot:
        """Gives a verified incoming snapshot its name; durable on return.

        A witness is given the metadata only, and stores an empty state.

        Raises:
            DiskFull, OSError: the disk is full or failed.
        """
        meta = offer.message.snapshot
        if offer.message.witness:
            return self.write(meta, {}, ())
        self._incoming.pop(offer.digest).close()
        return self._adopt(_incoming_name(offer), meta)

    def close(self) -> None:
        """Lets go of the files."""
        for file in self._incoming.values():
            file.close()
        self._incoming.clear()

    def _forget(self, digest: bytes) -> None:
        file = self._incoming.pop(digest, None)
        if file is not None:
            file.close()
        self._disk.remove(f"{INCOMING_PREFIX}{digest.hex()}")

    def _adopt(self, draft: str, meta: SnapshotMeta) -> StoredSnapshot:
        """Names a durable file, and removes the older ones once the name is durable."""
        with self._lock:
            latest = self.latest
            if latest is not None and latest.meta.index >= meta.index:
                # One from the leader overtook our own while that was being written.
                self._disk.remove(draft)
                return latest
            name = f"snapshot-{meta.index:020d}-{meta.term:020d}"
            self._disk.rename(draft, name)
            self._disk.sync_directory()
            self.latest = self._describe(name)
            for older in self._names():
                if older != name:
                    self._disk.remove(older)
            return self.latest

    def _find_latest(self) -> StoredSnapshot | None:
        names = self._names()
        drafts = [name for name in self._disk.names() if name.startswith(DRAFT_PREFIX)]
        for leftover in (*drafts, *names[:-1]):
            self._disk.remove(leftover)
        return self._describe(names[-1]) if names else None

    def _names(self) -> list[str]:
        return [name for name in self._disk.names() if _NAME.fullmatch(name)]

    def _describe(self, name: str) -> StoredSnapshot:
        file = self._disk.open(name)
        try:
            head = SnapshotReader(name, file.read).read_head()
            return StoredSnapshot(name, head, file.size_bytes)
        finally:
            file.close()


def _incoming_name(offer: SnapshotOffer) -> str:
    return f"{INCOMING_PREFIX}{offer.digest.hex()}"
