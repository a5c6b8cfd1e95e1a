"""Zero-copy views: the bytes behind one stay the same object's until the view is gone."""

from __future__ import annotations

import gc

import pytest

from neuro._core.slab import Slab
from neuro.errors import SlabBusy, WrongState
from tests.native.slab_driver import MIB, begin, body_of, put


def churn(slab: Slab, rounds: int = 40) -> None:
    """Overwrites every evictable byte of the arena."""
    for i in range(rounds):
        put(slab, b"churn%d" % i, b"\xee" * 900_000).release()
        for j in range(50):
            put(slab, b"small%d.%d" % (i, j), b"\xdd" * 5000).release()


def test_view_outlives_release_deletion_and_eviction() -> None:
    slab = Slab(8 * MIB)
    bodies = {}
    views = {}
    for number, length in enumerate((10, 5000, 200_000, 700_000)):
        key = b"k%d" % number
        bodies[key] = body_of(key, 1, length)
        stored = put(slab, key, bodies[key])
        views[key] = stored.chunk(0)
        stored.release()
        slab.delete(key)
    churn(slab)
    for key, view in views.items():
        assert bytes(view) == bodies[key][: len(view)]
    with pytest.raises(SlabBusy):
        slab.close()
    for view in views.values():
        view.release()
    assert slab.reclaim() >= len(views)
    slab.close()


def test_view_is_read_only_and_knows_its_length() -> None:
    slab = Slab(8 * MIB)
    stored = put(slab, b"k", b"0123456789")
    view = stored.chunk(4)
    assert view.readonly
    assert bytes(view) == b"456789"
    with pytest.raises(TypeError):
        view[0] = 1
    half = view[3:]
    view.release()
    stored.release()
    with pytest.raises(SlabBusy):
        slab.close()
    assert bytes(half) == b"789"
    half.release()
    slab.close()


def test_pins_are_given_back_by_garbage_collection() -> None:
    slab = Slab(8 * MIB)
    stored = put(slab, b"k", b"x")
    view = stored.chunk(0)
    fill = begin(slab, b"other", 10)
    room = fill.buffer()
    with pytest.raises(SlabBusy):
        slab.close()
    del stored, view, fill, room
    gc.collect()
    assert slab.stats()["objects_filling"] == 0
    slab.close()


def test_released_object_cannot_be_read() -> None:
    slab = Slab(8 * MIB)
    stored = put(slab, b"k", b"x")
    stored.release()
    for read in (lambda: stored.chunk(0), stored.read, lambda: stored.key):
        with pytest.raises(WrongState):
            read()
    slab.close()


def test_slice_of_a_buffer_kept_after_the_end_writes_no_other_object() -> None:
    slab = Slab(8 * MIB)
    fill = begin(slab, b"k", 4000)
    kept = fill.buffer()[:4000]
    fill.abort()
    churn(slab)
    kept[:] = b"\xaa" * 4000
    cursor = 0
    while True:
        found, cursor = slab.scan(cursor)
        if found is None:
            break
        assert b"\xaa" not in found.read()
        found.release()
    kept.release()
    slab.close()
