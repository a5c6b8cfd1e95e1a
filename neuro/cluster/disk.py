"""One directory of files, and the few operations that durability is made of.

Owns the `Disk` seam and its real form. Never knows what the files mean. It exists so that
every write, sync, rename and allocation can be made to fail in a test, in order.

A name is durable only after `sync_directory`, bytes only after the file's `sync`: a crash in
between may take them, or not. All calls block; the driver makes them off its event loop.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final, Protocol

from neuro.errors import NeuroCacheError, StartError

_ZERO_BYTES: Final = bytes(1 << 20)
LOCK_NAME: Final = "lock"


class DiskFull(NeuroCacheError):
    """There is no room for `requested_bytes`; nothing was written."""

    code = "disk_full"
    requested_bytes: int = 0


class DiskFile(Protocol):
    """An open file; offsets are absolute."""

    @property
    def size_bytes(self) -> int:
        """Its length."""

    def read(self, offset: int, size_bytes: int) -> bytes:
        """That part, shorter at the end of the file."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Writes all of it, growing the file where needed.

        Raises:
            OSError: any part may have been written.
        """

    def allocate(self, size_bytes: int) -> None:
        """Grows the file to that size with zeros that are really on the disk.

        Raises:
            DiskFull: the file may be cut off or removed, nothing else is to be done.
        """

    def truncate(self, size_bytes: int) -> None:
        """Cuts the file."""

    def sync(self) -> None:
        """Makes its bytes durable.

        Raises:
            OSError: what was written since the last sync may be lost; never to be tried again.
        """

    def close(self) -> None:
        """Lets go of it; may be called twice."""


class Disk(Protocol):
    """A flat directory."""

    def names(self) -> list[str]:
        """Names of its files, sorted."""

    def open(self, name: str) -> DiskFile:
        """An existing file.

        Raises:
            FileNotFoundError: there is none.
        """

    def create(self, name: str) -> DiskFile:
        """A new, empty file; one of that name is emptied."""

    def rename(self, old: str, new: str) -> None:
        """Gives a file another name, atomically, in place of any file that had it."""

    def remove(self, name: str) -> None:
        """Removes a file; nothing happens when there is none."""

    def sync_directory(self) -> None:
        """Makes names durable."""

    def free_bytes(self) -> int:
        """Room left for this user."""

    def close(self) -> None:
        """Lets go of the directory."""


class RealFile:
    """A file descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    def read(self, offset: int, size_bytes: int) -> bytes:
        parts = []
        while size_bytes:
            part = os.pread(self._fd, size_bytes, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size_bytes -= len(part)
        return b"".join(parts)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, offset)
            offset += written
            rest = rest[written:]

    def allocate(self, size_bytes: int) -> None:
        start = self.size_bytes
        if start >= size_bytes:
            return
        try:
            os.posix_fallocate(self._fd, start, size_bytes - start)
            # Extents that were never written cost a metadata commit in every later sync.
            for offset in range(start, size_bytes, len(_ZERO_BYTES)):
                self.write(offset, _ZERO_BYTES[: size_bytes - offset])
            os.fsync(self._fd)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull("no room on the disk", requested_bytes=size_bytes) from error
            raise

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._fd, size_bytes)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RealDisk:
    """A directory of this machine, held by one process at a time."""

    def __init__(self, directory: Path) -> None:
        """Opens the directory, making it where it is missing.

        Raises:
            StartError: another process holds it, or it can not be made.
        """
        self._path = directory
        try:
            if not directory.is_dir():
                directory.mkdir(parents=True, mode=0o700)
                _sync_path(directory.parent)
            self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            self._lock_fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(
                f"the data directory `{directory}` can not be opened ({error.strerror})",
                hint="give another with `--data DIR`",
            ) from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise StartError(
                f"another process uses the data directory `{directory}`",
                hint="stop it, or give another with `--data DIR`",
            ) from error

    def names(self) -> list[str]:
        return sorted(path.name for path in self._path.iterdir() if path.name != LOCK_NAME)

    def open(self, name: str) -> DiskFile:
        return RealFile(os.open(self._path / name, os.O_RDWR | os.O_CLOEXEC))

    def create(self, name: str) -> DiskFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return RealFile(os.open(self._path / name, flags, 0o600))

    def rename(self, old: str, new: str) -> None:
        (self._path / old).replace(self._path / new)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def sync_directory(self) -> None:
        os.fsync(self._directory_fd)

    def free_bytes(self) -> int:
        stat = os.statvfs(self._directory_fd)
        return stat.f_bavail * stat.f_frsize

    def close(self) -> None:
        for fd in (self._directory_fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._directory_fd = self._lock_fd = -1


def replace_file(disk: Disk, name: str, data: bytes) -> None:
    """Writes a small file so that a crash leaves the old one or the new one, never a mixture."""
    draft = f"{name}.tmp"
    file = disk.create(draft)
    try:
        file.write(0, data)
        file.sync()
    finally:
        file.close()
    disk.rename(draft, name)
    disk.sync_directory()


def _sync_path(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
