"""A disk in memory that fails and loses power on purpose.

Owns a model of what a crash may take: bytes since the last sync, sector by sector, and names
since the last directory sync, the later ones first. Never kinder than a real disk. A failed
sync drops what it should have made durable and says so only once, as Linux does.
"""

from __future__ import annotations

import errno
from collections import Counter
from random import Random

from neuro.cluster.disk import DiskFile, DiskFull

SECTOR_BYTES = 512


class _Inode:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.dirty_sectors: set[int] = set()


class FaultDisk:
    """See the module; `capacity_bytes` counts what files hold."""

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        self.capacity_bytes = capacity_bytes
        self.operation_count = 0
        self.fail_at = 0
        self.counts: Counter[str] = Counter()
        self.is_frozen = False
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._name_steps: list[dict[str, _Inode]] = []

    # -- what tests do to it

    def lose_power(self, random: Random) -> None:
        """Keeps what is durable, and a random part of what is not."""
        steps = [self._durable_names, *self._name_steps]
        self._names = dict(steps[random.randrange(len(steps))])
        self._durable_names = dict(self._names)
        self._name_steps.clear()
        for inode in self._names.values():
            for sector in sorted(inode.dirty_sectors):
                if random.random() < 0.5:
                    _copy_sector(inode.data, inode.durable, sector)
            inode.dirty_sectors.clear()
            inode.data = bytearray(inode.durable)
        self.fail_at = 0
        self.operation_count = 0

    def content(self, name: str) -> bytearray:
        """The bytes of a file, to be damaged in place."""
        return self._names[name].data

    def settle(self) -> None:
        """Makes everything durable, as after a long idle time."""
        for inode in self._names.values():
            inode.durable = bytearray(inode.data)
            inode.dirty_sectors.clear()
        self.sync_directory()

    # -- Disk

    def names(self) -> list[str]:
        return sorted(self._names)

    def open(self, name: str) -> DiskFile:
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return _FaultFile(self, self._names[name])

    def create(self, name: str) -> DiskFile:
        self.step("create")
        self._names[name] = _Inode()
        self._note_names()
        return _FaultFile(self, self._names[name])

    def rename(self, old: str, new: str) -> None:
        self.step("rename")
        self._names[new] = self._names.pop(old)
        self._note_names()

    def remove(self, name: str) -> None:
        self.step("remove")
        self._names.pop(name, None)
        self._note_names()

    def sync_directory(self) -> None:
        self.step("sync_directory")
        self._durable_names = dict(self._names)
        self._name_steps.clear()

    def free_bytes(self) -> int:
        return self.capacity_bytes - sum(len(inode.data) for inode in self._names.values())

    def close(self) -> None:
        pass

    def step(self, name: str) -> None:
        """Counts an operation, and fails it when it is its turn."""
        self.operation_count += 1
        self.counts[name] += 1
        if self.is_frozen or self.operation_count == self.fail_at:
            self.counts[f"failed {name}"] += 1
            raise OSError(errno.EIO, f"injected at operation {self.operation_count} ({name})")

    def _note_names(self) -> None:
        self._name_steps.append(dict(self._names))


class _FaultFile:
    def __init__(self, disk: FaultDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode

    @property
    def size_bytes(self) -> int:
        return len(self._inode.data)

    def read(self, offset: int, size_bytes: int) -> bytes:
        return bytes(self._inode.data[offset : offset + size_bytes])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        end = offset + len(data)
        if end > len(self._inode.data):
            self._grow(end)
        try:
            self._disk.step("write")
        except OSError:
            self._put(offset, bytes(data)[: len(data) // 2])
            raise
        self._put(offset, bytes(data))

    def allocate(self, size_bytes: int) -> None:
        self._disk.step("allocate")
        if size_bytes > len(self._inode.data):
            self._grow(size_bytes)
            self._inode.durable.extend(bytes(size_bytes - len(self._inode.durable)))

    def truncate(self, size_bytes: int) -> None:
        self._disk.step("truncate")
        del self._inode.data[size_bytes:]
        del self._inode.durable[size_bytes:]

    def sync(self) -> None:
        inode = self._inode
        try:
            self._disk.step("sync")
        except OSError:
            inode.dirty_sectors.clear()
            raise
        inode.durable = bytearray(inode.data)
        inode.dirty_sectors.clear()

    def close(self) -> None:
        pass

    def _grow(self, size_bytes: int) -> None:
        more = size_bytes - len(self._inode.data)
        if more > self._disk.free_bytes():
            raise DiskFull("no room on the disk", requested_bytes=size_bytes)
        self._inode.data.extend(bytes(more))

    def _put(self, offset: int, data: bytes) -> None:
        self._inode.data[offset : offset + len(data)] = data
        if data:
            last = (offset + len(data) - 1) // SECTOR_BYTES
            self._inode.dirty_sectors.update(range(offset // SECTOR_BYTES, last + 1))


def _copy_sector(source: bytearray, target: bytearray, sector: int) -> None:
    start = sector * SECTOR_BYTES
    if len(target) < start:
        target.extend(bytes(start - len(target)))
    target[start : start + SECTOR_BYTES] = source[start : start + SECTOR_BYTES]
