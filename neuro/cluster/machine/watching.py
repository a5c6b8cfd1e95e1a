"""Watches: a place in the history, moved on by whoever reads it.

Owns the cursor. There is no queue for a watcher: it holds only the next revision it wants, so it
costs no memory however slow it is, sees each revision once, in order and whole, and is told when
what it wants is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from neuro.cluster.machine.history import Change

if TYPE_CHECKING:
    from neuro.cluster.machine.machine import KeyValueMachine

SCAN_COUNT_MAX = 1_000
"""Revisions looked at in one call: a narrow watch must not hold up the loop."""


class Batch(NamedTuple):
    """Changes with their revisions; everything up to `revision` has been looked at."""

    changes: tuple[tuple[int, Change], ...]
    revision: int
    has_more: bool


class Watch:
    """Reads changes of one key, or of all keys that begin with `key`."""

    __slots__ = ("_machine", "is_prefix", "key", "next_revision")

    def __init__(
        self, machine: KeyValueMachine, key: str, *, is_prefix: bool, next_revision: int
    ) -> None:
        """Starts at `next_revision`, which may be yet to come."""
        self._machine = machine
        self.key = key
        self.is_prefix = is_prefix
        self.next_revision = next_revision

    def matches(self, key: str) -> bool:
        """Whether changes of this key belong to the watch."""
        return key.startswith(self.key) if self.is_prefix else key == self.key

    def find_compacted(self) -> int | None:
        """The last forgotten revision if the watch wanted it: it has ended. Else None."""
        compacted = self._machine.compacted_revision
        return compacted if self.next_revision <= compacted else None

    def take(self, count_max: int) -> Batch | None:
        """The next changes, about `count_max`; None when the watch has ended.

        A revision is never divided. An empty batch with a revision is progress.
        """
        if self.find_compacted() is not None:
            return None
        last = self._machine.revision
        changes: list[tuple[int, Change]] = []
        stop = min(last, self.next_revision + SCAN_COUNT_MAX - 1)
        while self.next_revision <= stop and len(changes) < count_max:
            group = self._machine.changes_at(self.next_revision)
            changes.extend(
                (self.next_revision, change) for change in group if self.matches(change.key)
            )
            self.next_revision += 1
        return Batch(tuple(changes), self.next_revision - 1, self.next_revision <= last)
