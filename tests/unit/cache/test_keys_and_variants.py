"""Keys, variants and the meta of entries."""

from __future__ import annotations

import msgpack
import pytest

from neuro.cache import (
    CacheRequest,
    EntryMalformed,
    EntryMeta,
    SharedCachePolicy,
    StoredResponse,
    object_key,
    site_key,
    target_uri_key,
    variant_key,
)
from neuro.cache.key import KEY_BYTES_MAX, variant_suffix
from neuro.cache.variants import Place, place_variant
from neuro.http.fields import Fields

KEY = b"http://h/x"


def request(value: bytes, name: bytes = b"A") -> CacheRequest:
    return CacheRequest(b"GET", KEY, Fields(((name, value),)))


def place(
    value: bytes,
    marker: StoredResponse | None,
    *,
    names: tuple[bytes, ...] = (b"a",),
    nonce: int = 1,
    policy: SharedCachePolicy | None = None,
) -> Place | str:
    meta = EntryMeta(vary_names=names)
    return place_variant(request(value), meta, marker, nonce, 5, policy or SharedCachePolicy())


def as_stored(placed: Place | str) -> StoredResponse:
    assert isinstance(placed, Place)
    assert placed.marker is not None
    plan = placed.marker
    return StoredResponse(
        KEY, 200, Fields(), 0, plan.born_s, 2**32 - 1, 0, 0, plan.flags, plan.meta
    )


def test_keys_have_the_forms_that_the_engine_makes() -> None:
    assert site_key(b"h:81", b"/x?q") == b"http://h:81/x?q"
    assert object_key(b"/cache/a?b") == b"cache:/cache/a"
    assert target_uri_key(b"https://h/x") == b"http://h/x"
    assert target_uri_key(b"cache:/cache/a") is None
    assert target_uri_key(b"ftp://h/x") is None


def test_no_value_can_imitate_another_variant_or_a_primary_key() -> None:
    names = (b"a", b"b")
    tricky = [
        (b"1", b"2"), (b"12", b""), (b"", b"12"), (None, b"12"), (b"-", None), (None, None),
        (b"11:b1:2", None), (b"1", b"2-"), (b"1:b", b"1:2"),
    ]  # fmt: skip
    keys = {
        variant_key(primary, nonce, variant_suffix(names, values))
        for primary in (b"http://h/", b"http://h/1:")
        for nonce in (0, 1, 11)
        for values in tricky
    }
    assert len(keys) == 2 * 3 * len(tricky)
    assert all(key is not None and key.startswith(b"vary:") for key in keys)


def test_a_key_that_would_be_too_long_does_not_exist() -> None:
    assert variant_key(b"k" * KEY_BYTES_MAX, 0, b"") is None


def test_variants_beyond_the_cap_push_out_the_oldest() -> None:
    policy = SharedCachePolicy(variants_max=2)
    marker = None
    keys = []
    for value in (b"1", b"2", b"3"):
        placed = place(value, marker, policy=policy)
        assert isinstance(placed, Place)
        keys.append(placed.key)
        marker = as_stored(placed)
        assert len(marker.meta.variants) <= 2
        assert placed.delete == (() if len(keys) < 3 else (keys[0],))


def test_ten_thousand_values_leave_a_bounded_marker() -> None:
    marker = None
    for number in range(10_000):
        marker = as_stored(place(b"%d" % number, marker))
    assert marker is not None
    assert len(marker.meta.variants) == SharedCachePolicy().variants_max
    assert len(marker.meta.to_bytes()) < 1024


def test_a_known_variant_keeps_the_marker() -> None:
    marker = as_stored(place(b"1", None))
    again = place(b"1", marker, nonce=2)
    assert isinstance(again, Place)
    assert again.marker is None
    assert again.meta.nonce == 1


def test_a_new_name_starts_a_new_marker_over_all_names() -> None:
    marker = as_stored(place(b"1", None))
    placed = place(b"1", marker, names=(b"b",), nonce=2)
    assert isinstance(placed, Place)
    assert placed.marker is not None
    assert (placed.marker.meta.vary_names, placed.marker.meta.nonce) == ((b"a", b"b"), 2)
    assert len(placed.marker.meta.variants) == 1


def test_a_new_marker_forgets_the_variants_of_a_deleted_one() -> None:
    before, after = place(b"1", None, nonce=1), place(b"1", None, nonce=2)
    assert isinstance(before, Place)
    assert isinstance(after, Place)
    assert before.key != after.key


def test_too_many_names_and_too_long_values_are_not_stored() -> None:
    names = tuple(b"n%d" % number for number in range(9))
    assert place(b"1", None, names=names) == "vary-names"
    assert place(b"v" * 4000, None) == "vary-values"


def test_meta_survives_a_round_trip() -> None:
    meta = EntryMeta(
        1,
        2,
        "max-age",
        True,
        False,
        True,
        True,
        2**63,
        (b"a", b"b"),
        (None, b"x"),
        (b"v",),
        b"h" * 32,
    )
    assert EntryMeta.from_bytes(meta.to_bytes()) == meta


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x90", msgpack.packb([0] * 13), msgpack.packb({"a": 1}), EntryMeta().to_bytes()[:-1],
        EntryMeta().to_bytes() + b"\x00", b"\x00" * 70_000,
        msgpack.packb([1, 0, 0, "x", 0, False, False, False, 0, [], [], [], b""]),
        msgpack.packb([1, 0, 0, "x", True, False, False, False, 0, ["a"], [], [], b""]),
        msgpack.packb([1, 0, 0, "x", True, False, False, False, 0, [], [b"v"], [], b""]),
    ],
)  # fmt: skip
def test_damaged_meta_is_refused(data: bytes) -> None:
    with pytest.raises(EntryMalformed):
        EntryMeta.from_bytes(data)


def test_meta_has_a_bound() -> None:
    with pytest.raises(EntryMalformed):
        EntryMeta(variants=(b"v" * 70_000,)).to_bytes()
