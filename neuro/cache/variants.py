"""Variants: where the responses of one URL go that differ by Vary.

Owns the marker at the primary key, the names it selects by, and the cap on variants. The marker's
nonce is part of every variant's key: without the marker no variant can be found, so that one delete
invalidates them all. The cap drops the oldest, so that a flood of field values costs a bounded
number of objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from neuro.cache.entry import EntryMeta
from neuro.cache.key import variant_key, variant_suffix
from neuro.cache.messages import NEEDS_PYTHON, CacheRequest, StoredResponse
from neuro.cache.plans import MarkerPlan
from neuro.cache.policy import SharedCachePolicy
from neuro.http.vary import selecting_values

# The suffixes of a marker's variants are part of its meta, whose size is bounded.
_SUFFIX_BYTES_MAX = 2048


@dataclass(frozen=True, slots=True)
class Place:
    """The key for a response, its meta, the marker to write and the keys to drop."""

    key: bytes
    meta: EntryMeta
    marker: MarkerPlan | None = None
    delete: tuple[bytes, ...] = ()


def place_variant(
    request: CacheRequest,
    meta: EntryMeta,
    marker: StoredResponse | None,
    nonce: int,
    now_s: int,
    policy: SharedCachePolicy,
) -> Place | str:
    """Where a response with the Vary names of `meta` is stored, or the reason why not.

    A marker that exists keeps its nonce as long as it selects by all names; when a response brings
    a new name, the old variants become unreachable and a new marker starts.
    Source: RFC 9111 section 4.1.
    """
    if not meta.vary_names:
        return Place(request.key, meta)
    if len(meta.vary_names) > policy.vary_names_max:
        return "vary-names"
    known = marker.meta if marker is not None and marker.meta.is_marker else None
    names = meta.vary_names
    if known is not None:
        union = tuple(sorted({*known.vary_names, *names}))
        names = union if len(union) <= policy.vary_names_max else names
    if known is None or known.vary_names != names:
        known = None
    values = selecting_values(names, request.fields)
    suffix = variant_suffix(names, values)
    tag = nonce if known is None else known.nonce
    key = variant_key(request.key, tag, suffix)
    if key is None or len(suffix) > _SUFFIX_BYTES_MAX:
        return "vary-values"
    own = replace(meta, vary_names=names, vary_values=values, nonce=tag)
    if known is not None and suffix in known.variants:
        return Place(key, own)
    variants = (*(known.variants if known is not None else ()), suffix)
    dropped = variants[: max(0, len(variants) - policy.variants_max)]
    plan = MarkerPlan(
        key=request.key,
        flags=NEEDS_PYTHON,
        born_s=now_s,
        meta=EntryMeta(
            is_marker=True,
            nonce=tag,
            response_time_s=now_s,
            vary_names=names,
            variants=variants[len(dropped) :],
        ),
    )
    gone = (variant_key(request.key, tag, old) for old in dropped)
    return Place(key, own, plan, tuple(key for key in gone if key is not None))
