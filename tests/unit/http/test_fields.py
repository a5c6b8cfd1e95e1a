"""Field lines: lookups, lists and strict parsing."""

from __future__ import annotations

import pytest

from neuro.errors import InvalidFieldError
from neuro.http.fields import Fields, is_field_value, is_token, split_list


def test_lookups_ignore_case_and_keep_order_and_spelling() -> None:
    fields = Fields(((b"A", b"1"), (b"b", b"2"), (b"a", b"3")))
    assert b"B" in fields
    assert fields.get(b"a") == b"1"
    assert fields.get_all(b"A") == [b"1", b"3"]
    assert fields.get_single(b"a") is None
    assert fields.get_single(b"B") == b"2"
    assert fields.combined(b"a") == b"1, 3"
    assert fields.combined(b"x") is None
    assert fields.names() == (b"a", b"b", b"a")
    assert next(iter(fields)) == (b"A", b"1")


def test_edits_give_new_fields_and_leave_the_old_ones() -> None:
    fields = Fields(((b"A", b"1"), (b"B", b"2"), (b"a", b"3")))
    assert fields.without(b"a") == Fields(((b"B", b"2"),))
    assert fields.replace(b"a", b"9") == Fields(((b"a", b"9"), (b"B", b"2")))
    assert fields.replace(b"C", b"9").get(b"c") == b"9"
    assert len(fields) == 3


def test_a_block_survives_a_round_trip() -> None:
    block = b"A: 1\r\nB: \r\nA: x, \xff\r\n"
    assert Fields.from_bytes(block).to_bytes() == block


@pytest.mark.parametrize(
    "block",
    [
        b"A: 1", b"A: 1\n", b"A : 1\r\n", b": 1\r\n", b"A: 1\r\n b\r\n", b"A: a\nb\r\n",
        b"A: a\x00\r\n", b"A: a\rb\r\n", b"\r\n", b"A\r\n", b"A: \x7f\r\n",
    ],
)  # fmt: skip
def test_malformed_blocks_are_refused(block: bytes) -> None:
    with pytest.raises(InvalidFieldError):
        Fields.from_bytes(block)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b" , ,a ,\tb,", [b"a", b"b"]),
        (b'a="x,y", b', [b'a="x,y"', b"b"]),
        (b'a="x\\",y", b', [b'a="x\\",y"', b"b"]),
        (b'"open, b', [b'"open, b']),
        (b'"open\\', [b'"open\\']),
    ],
)
def test_lists_split_at_commas_outside_quotes(value: bytes, expected: list[bytes]) -> None:
    assert split_list(value) == expected


def test_tokens_and_values() -> None:
    assert is_token(b"a-b!")
    assert not is_token(b"")
    assert not is_token(b"a b")
    assert is_field_value(b"")
    assert is_field_value(b"a\tb \xff")
    assert not is_field_value(b" a")
    assert not is_field_value(b"a\n")
