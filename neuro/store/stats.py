"""Figures of the slab as typed values.

Owns the names and the ratios derived from them. Never counts: the native library does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class SizeClassStats:
    """One size class; `bytes_requested` is what its live slots hold of what they could."""

    slot_bytes: int
    page_count: int
    slots_total: int
    slots_live: int
    bytes_requested: int
    evictions: int

    @property
    def waste_bytes(self) -> int:
        """Internal fragmentation: bytes of live slots that nobody asked for."""
        return self.slots_live * self.slot_bytes - self.bytes_requested


@dataclass(frozen=True, slots=True)
class SlabStats:
    """One reading of the slab's counters; not one instant."""

    arena_bytes: int
    pages_total: int
    pages_free: int
    objects_live: int
    objects_filling: int
    objects_retired: int
    body_bytes_live: int
    lookups: int
    lookup_hits: int
    fills: int
    fills_aborted: int
    evictions: int
    evicted_bytes: int
    deletes: int
    allocation_failures: int
    pages_moved: int
    index_slots: int
    index_used: int
    size_classes: tuple[SizeClassStats, ...]

    @classmethod
    def from_mapping(cls, figures: Mapping[str, Any]) -> SlabStats:
        """Reads what `Slab.stats()` gives."""
        rows = tuple(SizeClassStats(**row) for row in figures["size_classes"])
        values = {
            field.name: figures[field.name] for field in fields(cls) if field.name != "size_classes"
        }
        return cls(size_classes=rows, **values)

    @property
    def waste_ratio(self) -> float:
        """Internal fragmentation as a share of the bytes in live slots; 0 when there are none."""
        held = sum(row.slots_live * row.slot_bytes for row in self.size_classes)
        return sum(row.waste_bytes for row in self.size_classes) / held if held else 0.0
