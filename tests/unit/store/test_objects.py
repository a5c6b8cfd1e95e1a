"""The store over a real slab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from neuro.errors import InvalidFieldError, SlabBusy
from neuro.http.fields import Fields
from neuro.store import ObjectHead, ObjectStore

LINES = ((b"Content-Type", b"text/plain"), (b"ETag", b'"v1"'))


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    store = ObjectStore.open(8 << 20)
    yield store
    store.close()


def put(store: ObjectStore, key: bytes, body: bytes) -> None:
    head = ObjectHead(status=200, fields=LINES, born=5, expires=9, meta=b"m")
    fill = store.begin(key, head, len(body))
    fill.write(body)
    fill.publish().release()


def test_head_comes_back_as_it_went_in(store: ObjectStore) -> None:
    put(store, b"k", b"body")
    found = store.find(b"k")
    assert found is not None
    with found:
        assert found.head == ObjectHead(
            status=200, fields=Fields(LINES), born=5, expires=9, meta=b"m"
        )
        assert (found.key, found.body_length) == (b"k", 4)
        assert found.pinned.etag == b'"v1"'
        assert b"".join(bytes(chunk) for chunk in found.chunks()) == b"body"
    assert store.find(b"other") is None


def test_malformed_line_leaves_no_fill_behind(store: ObjectStore) -> None:
    head = ObjectHead(status=200, fields=((b"X", b"a\r\n"),), born=1, expires=2)
    with pytest.raises(InvalidFieldError):
        store.begin(b"k", head, 1)
    assert store.stats().objects_filling == 0


def test_scan_gives_every_object_and_keeps_none(store: ObjectStore) -> None:
    for i in range(50):
        put(store, b"k%d" % i, b"x" * i * 100)
    assert sorted(found.key for found in store.scan()) == sorted(b"k%d" % i for i in range(50))


def test_stats_count_objects_and_waste(store: ObjectStore) -> None:
    assert store.stats().waste_ratio == 0
    put(store, b"k", b"x" * 1000)
    stats = store.stats()
    assert (stats.objects_live, stats.body_bytes_live, stats.fills) == (1, 1000, 1)
    assert 0 < stats.waste_ratio < 0.6
    assert store.delete(b"k") is True
    assert store.stats().objects_live == 0


def test_close_refuses_while_an_object_is_held() -> None:
    store = ObjectStore.open(8 << 20)
    put(store, b"k", b"x")
    found = store.find(b"k")
    assert found is not None
    with pytest.raises(SlabBusy):
        store.close()
    found.release()
    store.close()


def test_each_store_hashes_with_a_key_of_its_own() -> None:
    one, other = ObjectStore.open(8 << 20), ObjectStore.open(8 << 20)
    assert one.slab.hash(b"k") != other.slab.hash(b"k")
    one.close()
    other.close()
