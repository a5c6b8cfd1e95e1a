"""What changed, revision by revision, as far back as memory allows.

Owns the changes that watches and old pages read. Every revision above `compacted` has exactly one
group: so a reader that holds the next revision it wants can neither miss nor repeat one, and a
reader that came too late is told so instead.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from neuro.checks import check
from neuro.cluster.machine.limits import (
    HISTORY_BYTES_MAX,
    HISTORY_CHANGE_COUNT_MAX,
    RECORD_OVERHEAD_BYTES,
)


class Record(NamedTuple):
    """A key's value; revisions are the store's at creation and at the last change."""

    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


class Change(NamedTuple):
    """One key's step; `record` None means deleted, `previous` None means it did not exist."""

    key: str
    record: Record | None
    previous: Record | None


class ChangeGroup(NamedTuple):
    """All that one command changed, in order; a key occurs once."""

    revision: int
    changes: tuple[Change, ...]
    size_bytes: int


def make_group(revision: int, changes: tuple[Change, ...]) -> ChangeGroup:
    """A group with its size counted."""
    size_bytes = 0
    for key, record, previous in changes:
        size_bytes += RECORD_OVERHEAD_BYTES + len(key)
        size_bytes += len(record.value) if record else 0
        size_bytes += len(previous.value) if previous else 0
    return ChangeGroup(revision, changes, size_bytes)


class History:
    """Groups of consecutive revisions, bounded in changes and bytes."""

    __slots__ = ("_change_count", "_groups", "_size_bytes", "compacted")

    def __init__(self, compacted: int = 0) -> None:
        self.compacted = compacted
        self._groups: deque[ChangeGroup] = deque()
        self._change_count = 0
        self._size_bytes = 0

    @property
    def revision(self) -> int:
        """The last revision."""
        return self.compacted + len(self._groups)

    def append(self, group: ChangeGroup) -> None:
        """Adds the next revision and forgets what no longer fits; the newest always stays."""
        check(group.revision == self.revision + 1, "revisions follow each other")
        self._groups.append(group)
        self._change_count += len(group.changes)
        self._size_bytes += group.size_bytes
        while len(self._groups) > 1 and (
            self._change_count > HISTORY_CHANGE_COUNT_MAX or self._size_bytes > HISTORY_BYTES_MAX
        ):
            self._drop_oldest()

    def compact(self, revision: int) -> None:
        """Forgets everything up to `revision`."""
        while self._groups and self.compacted < revision:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        group = self._groups.popleft()
        self.compacted = group.revision
        self._change_count -= len(group.changes)
        self._size_bytes -= group.size_bytes

    def group_at(self, revision: int) -> ChangeGroup:
        """The changes of one revision above `compacted`. Cheap near the newest."""
        check(self.compacted < revision <= self.revision, "the revision is remembered")
        return self._groups[revision - self.compacted - 1]

    def find_differences(self, revision: int) -> dict[str, Record | None]:
        """For each key changed after `revision`: what it was then."""
        before: dict[str, Record | None] = {}
        for at in range(self.revision, revision, -1):
            before.update((key, previous) for key, _, previous in self.group_at(at).changes)
        return before

    def freeze(self) -> tuple[ChangeGroup, ...]:
        """The groups as they are now."""
        return tuple(self._groups)


def pack_group(group: ChangeGroup) -> list[Any]:
    """The form of a group in a snapshot."""
    return [group.revision, [[key, record, previous] for key, record, previous in group.changes]]


def unpack_group(parts: list[Any]) -> ChangeGroup:
    """Reverse of `pack_group`."""
    revision, changes = parts
    return make_group(
        revision,
        tuple(
            Change(
                key, Record(*record) if record else None, Record(*previous) if previous else None
            )
            for key, record, previous in changes
        ),
    )
