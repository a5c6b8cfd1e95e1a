"""Structured fields: RFC 9651 section 4.2, strictly."""

from __future__ import annotations

from decimal import Decimal

import pytest

from neuro.errors import HttpSyntaxError
from neuro.http.structured import (
    Date,
    DisplayString,
    InnerList,
    Item,
    Token,
    is_structured_token,
    parse_dictionary,
    parse_item,
    serialize_string,
)


def test_a_dictionary_with_every_kind_of_member() -> None:
    parsed = parse_dictionary(
        b'a=1, b;x, c=("q" t);y=?0 ,\td=:aGk=:, e=-1.5, f=?0, *g=tok/en:x, h=@-5, i=%"f%c3%bc"'
    )
    assert parsed["a"] == Item(1, {})
    assert parsed["b"] == Item(True, {"x": True})
    assert parsed["c"] == InnerList((Item("q", {}), Item(Token("t"), {})), {"y": False})
    assert parsed["d"] == Item(b"hi", {})
    assert parsed["e"] == Item(Decimal("-1.5"), {})
    assert parsed["f"] == Item(False, {})
    assert parsed["*g"] == Item(Token("tok/en:x"), {})
    assert parsed["h"] == Item(Date(-5), {})
    assert parsed["i"] == Item(DisplayString("fü"), {})


def test_a_repeated_key_keeps_its_last_value_and_place() -> None:
    assert list(parse_dictionary(b"a=1, b=2, a=3").items()) == [
        ("b", Item(2, {})),
        ("a", Item(3, {})),
    ]


def test_an_empty_dictionary_is_valid() -> None:
    assert parse_dictionary(b"") == {}
    assert parse_dictionary(b"  ") == {}


@pytest.mark.parametrize(
    "value",
    [
        b"A=1", b"a=", b"a=1,", b"a=1 b=2", b",a=1", b"a=1,,b=2", b"a = 1", b"a= 1", b"1=a", b"a=(1",
        b"a=(1,2)", b'a="x', b'a="\\x"', b'a="\xff"', b'a="\x01"', b"a=1234567890123456", b"a=1.", b"a=1.2345",
        b"a=1234567890123.1", b"a=--1", b"a=-", b"a=?2", b"a=:a:b", b"a=:*:", b"a=@1.5", b'a=%"%C3"', b'a=%"%ff"',
        b"a;=1", b"a;;b", b"\ta=1", b"a\x00",
    ],
)  # fmt: skip
def test_one_fault_makes_the_whole_invalid(value: bytes) -> None:
    with pytest.raises(HttpSyntaxError):
        parse_dictionary(value)


def test_an_item_has_nothing_after_it() -> None:
    assert parse_item(b" foo;a=1 ") == Item(Token("foo"), {"a": 1})
    with pytest.raises(HttpSyntaxError):
        parse_item(b"foo bar")


def test_strings_are_escaped_and_kept_printable() -> None:
    assert serialize_string('a"b\\c\n') == b'"a\\"b\\\\c?"'
    assert is_structured_token(b"stale-while-revalidate")
    assert not is_structured_token(b"a b")
    assert not is_structured_token(b"1a")
