"""What one object does: head, body of known and unknown length, life, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neuro._core.slab import KEY_BYTES_MAX, PREFETCHED, TIME_NEVER, Slab
from neuro.errors import (
    IncompleteBody,
    InvalidArgument,
    ObjectTooLarge,
    SlabBusy,
    SlabClosed,
    WrongState,
)
from tests.native.slab_driver import FIELDS, MIB, begin, body_of, put, read


@pytest.fixture
def slab() -> Iterator[Slab]:
    slab = Slab(16 * MIB, hash_key=(1, 2))
    yield slab
    slab.close()


def test_object_gives_back_its_whole_head(slab: Slab) -> None:
    fill = slab.begin_fill(
        b"http://a/b",
        status=203,
        fields=FIELDS,
        fields_304=b'ETag: "v1"\r\n',
        meta=b"\x93meta",
        body_length=5,
        etag_offset=FIELDS.index(b'"v1"'),
        etag_length=4,
        last_modified=77,
        born=1000,
        expires=TIME_NEVER,
        stale_while_revalidate_s=30,
        stale_if_error_s=40,
        flags=PREFETCHED,
    )
    fill.write(memoryview(b"hello"))
    with_handle = fill.publish()
    stored = slab.acquire(b"http://a/b")
    assert stored is not None
    assert stored.handle == with_handle.handle == fill.handle
    assert (stored.status, stored.fields, stored.fields_304) == (203, FIELDS, b'ETag: "v1"\r\n')
    assert (stored.key, stored.meta, stored.etag) == (b"http://a/b", b"\x93meta", b'"v1"')
    assert (stored.born, stored.expires, stored.last_modified) == (1000, TIME_NEVER, 77)
    assert (stored.stale_while_revalidate_s, stored.stale_if_error_s) == (30, 40)
    assert (stored.flags, stored.state, stored.body_length) == (PREFETCHED, "live", 5)
    assert stored.read() == b"hello"
    stored.release()
    stored.release()
    with_handle.release()


@pytest.mark.parametrize("is_length_known", [True, False])
@pytest.mark.parametrize(
    "length",
    [0, 1, 63, 64, 4095, 16384, 16385, 262_143, 262_144, 262_145, MIB - 1, MIB, MIB + 1, 3_999_999],
)
def test_body_comes_back_byte_for_byte_at_every_boundary(
    slab: Slab, length: int, is_length_known: bool
) -> None:
    body = body_of(b"k", 1, length)
    stored = put(slab, b"k", body, is_length_known=is_length_known)
    assert stored.body_length == stored.filled == length
    assert stored.read() == body
    parts = []
    offset = 0
    while len(part := stored.chunk(offset)) > 0:
        parts.append(bytes(part))
        offset += len(part)
    assert b"".join(parts) == body
    assert bytes(stored.chunk(length)) == b""
    assert bytes(stored.chunk(2**63)) == b""
    inside = bytes(stored.chunk(length * 2 // 3))
    assert inside == body[length * 2 // 3 :][: len(inside)]
    stored.release()


def test_small_body_of_unknown_length_ends_in_one_contiguous_slot(slab: Slab) -> None:
    body = body_of(b"k", 1, 9000)
    stored = put(slab, b"k", body, is_length_known=False)
    assert bytes(stored.chunk(0)) == body
    held = [row for row in slab.stats()["size_classes"] if row["slots_live"]]  # type: ignore[attr-defined]
    assert [row["slots_live"] for row in held] == [1]
    assert held[0]["slot_bytes"] < 3 * len(body)
    stored.release()


def test_hundred_megabytes_are_stored_in_whole_pages_and_read_back() -> None:
    slab = Slab(136 * MIB, object_bytes_max=110 * MIB)
    length = 100 * MIB + 12_345
    for is_length_known in (True, False):
        unit = body_of(b"big", int(is_length_known), MIB)
        fill = begin(slab, b"big", length if is_length_known else None)
        for _ in range(100):
            fill.write(unit)
        fill.write(unit[:12_345])
        stored = fill.publish()
        offset = chunks = 0
        while len(view := stored.chunk(offset)) > 0:
            start = offset % MIB
            assert bytes(view[: min(len(view), MIB - start)]) == unit[start : start + len(view)]
            offset += len(view)
            chunks += 1
        assert offset == length
        assert chunks <= 112
        view.release()
        stored.release()
    assert slab.stats()["objects_live"] == 1
    slab.close()


def test_followers_read_what_is_filled_and_see_the_end(slab: Slab) -> None:
    fill = begin(slab, b"k", None)
    fill.write(b"abc")
    assert slab.acquire(b"k") is None
    completed = fill.complete_unindexed()
    assert (completed.state, completed.body_length, completed.read()) == ("live", 3, b"abc")
    assert slab.acquire(b"k") is None
    completed.release()


def test_buffer_and_advance_write_in_place(slab: Slab) -> None:
    fill = begin(slab, b"k", 10)
    with fill.buffer() as room:
        assert len(room) == 10
        room[:4] = b"0123"
    fill.advance(4)
    room = fill.buffer()
    room[:] = b"456789"
    with pytest.raises(InvalidArgument):
        fill.advance(7)
    fill.advance(6)
    with pytest.raises(ValueError, match="released"):
        room[0] = 1
    with pytest.raises(ObjectTooLarge):
        fill.buffer()
    fill.publish().release()
    assert read(slab, b"k") == b"0123456789"


def test_newer_object_of_a_key_takes_its_place_while_the_old_is_read(slab: Slab) -> None:
    old = put(slab, b"k", b"old")
    put(slab, b"k", b"new").release()
    assert (old.read(), old.state) == (b"old", "live")
    assert read(slab, b"k") == b"new"
    assert slab.stats()["objects_live"] == 1
    old.release()


def test_deleted_object_is_finished_by_who_holds_it(slab: Slab) -> None:
    held = put(slab, b"k", b"bytes")
    assert slab.delete(b"k") is True
    assert slab.delete(b"k") is False
    assert slab.acquire(b"k") is None
    assert held.read() == b"bytes"
    assert slab.reclaim() == 0
    held.release()
    assert slab.reclaim() == 1


def test_refresh_changes_only_freshness(slab: Slab) -> None:
    stored = put(slab, b"k", b"x")
    stored.refresh(5000, 6000, 7, 8)
    assert (stored.born, stored.expires) == (5000, 6000)
    assert (stored.stale_while_revalidate_s, stored.stale_if_error_s) == (7, 8)
    assert stored.read() == b"x"
    stored.release()


def test_scan_visits_every_live_object_once(slab: Slab) -> None:
    keys = {b"k%d" % i for i in range(200)}
    for i, key in enumerate(sorted(keys)):
        put(slab, key, b"x" * (i * 37)).release()
    slab.delete(b"k7")
    seen = []
    found, cursor = slab.scan(0)
    while found is not None:
        seen.append(found.key)
        found.release()
        found, cursor = slab.scan(cursor)
    assert sorted(seen) == sorted(keys - {b"k7"})


def test_hash_depends_on_key_and_slab() -> None:
    one, other = Slab(8 * MIB, hash_key=(1, 2)), Slab(8 * MIB, hash_key=(1, 3))
    assert one.hash(b"a") == one.hash(b"a") != one.hash(b"b")
    assert one.hash(b"a") != other.hash(b"a")
    one.close()
    other.close()


def test_hash_is_siphash_2_4_of_128_bits() -> None:
    key = bytes(range(16))
    halves = (int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little"))
    slab = Slab(8 * MIB, hash_key=halves)
    # vectors_sip128 of the authors' reference implementation: inputs 00, and 00 01 ... 0e
    for length, expected in (
        (1, "da87c1d86b99af44347659119b22fc45"),
        (15, "5493e99933b0a8117e08ec0f97cfc3d9"),
    ):
        low, high = slab.hash(bytes(range(length)))
        assert (low.to_bytes(8, "little") + high.to_bytes(8, "little")).hex() == expected
    slab.close()


def test_states_and_promises_are_enforced(slab: Slab) -> None:
    fill = begin(slab, b"k", 4)
    fill.write(b"ab")
    with pytest.raises(IncompleteBody):
        fill.publish()
    with pytest.raises(ObjectTooLarge):
        fill.write(b"cde")
    fill.abort()
    fill.abort()
    for operation in (fill.publish, fill.complete_unindexed, fill.buffer):
        with pytest.raises(WrongState):
            operation()
    assert slab.acquire(b"k") is None
    assert slab.stats()["fills_aborted"] == 1


def test_arguments_outside_their_range_are_refused(slab: Slab) -> None:
    with pytest.raises(InvalidArgument):
        begin(slab, b"", 1)
    with pytest.raises(InvalidArgument):
        begin(slab, b"k" * (KEY_BYTES_MAX + 1), 1)
    with pytest.raises(ObjectTooLarge):
        begin(slab, b"k", 4 * MIB + 1)
    with pytest.raises(ObjectTooLarge):
        begin(slab, b"k", 1, meta=b"m" * 65_536)
    fill = begin(slab, b"k" * KEY_BYTES_MAX, 1, meta=b"m" * 65_535)
    fill.abort()
    with pytest.raises(InvalidArgument):
        Slab(7 * MIB)
    endless = begin(slab, b"k", None)
    with pytest.raises(ObjectTooLarge):
        endless.write(b"x" * (4 * MIB + 1))
    assert endless.filled == 4 * MIB
    endless.abort()


def test_close_refuses_while_something_is_held() -> None:
    slab = Slab(8 * MIB)
    held = put(slab, b"k", b"x")
    with pytest.raises(SlabBusy):
        slab.close()
    held.release()
    fill = begin(slab, b"k", 1)
    with pytest.raises(SlabBusy):
        slab.close()
    fill.abort()
    slab.close()
    slab.close()
    assert slab.closed
    with pytest.raises(SlabClosed):
        slab.acquire(b"k")


def test_arena_file_is_locked_and_sized(tmp_path: Path) -> None:
    path = str(tmp_path / "arena")
    slab = Slab(8 * MIB + 5, path=path)
    assert Path(path).stat().st_size == 8 * MIB
    put(slab, b"k", b"in a file").release()
    with pytest.raises(SlabBusy, match="in use by another process"):
        Slab(8 * MIB, path=path)
    assert read(slab, b"k") == b"in a file"
    slab.close()
    again = Slab(8 * MIB, path=path)
    assert again.acquire(b"k") is None
    again.close()
    with pytest.raises(FileNotFoundError):
        Slab(8 * MIB, path=str(tmp_path / "none" / "arena"))
