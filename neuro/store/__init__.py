"""The Python face of the slab: heads, stored objects, figures.

Owns the form in which a head lies in the slab. Never decides whether to store or to reuse
(that is neuro.cache), and imports no native code before a slab is opened.
"""

from __future__ import annotations

from neuro.store.head import ObjectHead, RenderedHead
from neuro.store.objects import ObjectStore, StoredObject
from neuro.store.stats import SizeClassStats, SlabStats

__all__ = [
    "ObjectHead",
    "ObjectStore",
    "RenderedHead",
    "SizeClassStats",
    "SlabStats",
    "StoredObject",
]
