"""Pages of keys, now or as of an earlier revision.

Owns the reading of ranges. An earlier revision is today's state with later changes undone, so the
pages of one scan fit together although others write meanwhile.
"""

from __future__ import annotations

from heapq import merge
from typing import Final, NamedTuple

from neuro.cluster.machine.history import Record
from neuro.cluster.machine.state import State

PAGE_COUNT_MAX: Final = 1_000
PAGE_BYTES_MAX: Final = 1 << 20
"""Values of one page; the first item always fits."""


class Page(NamedTuple):
    """Keys in order, as of `revision`; `has_more` tells to ask again after the last one."""

    items: tuple[tuple[str, Record], ...]
    revision: int
    has_more: bool


def read_page(state: State, prefix: str, after: str, count_max: int, revision: int) -> Page:
    """Keys that begin with `prefix` and come after `after`, as of a remembered revision."""
    undone = state.history.find_differences(revision) if revision < state.revision else {}
    names = state.keys.iterate_prefix(prefix, after)
    if undone:
        gone = (
            key
            for key, record in undone.items()
            if record is not None
            and key not in state.records
            and key > after
            and key.startswith(prefix)
        )
        names = merge(names, sorted(gone))
    items: list[tuple[str, Record]] = []
    size_bytes = 0
    for key in names:
        record = undone[key] if key in undone else state.records[key]
        if record is None:
            continue
        size_bytes += len(record.value)
        if len(items) == count_max or (items and size_bytes > PAGE_BYTES_MAX):
            return Page(tuple(items), revision, has_more=True)
        items.append((key, record))
    return Page(tuple(items), revision, has_more=False)
