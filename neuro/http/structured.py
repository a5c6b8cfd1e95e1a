"""Structured fields: the dictionary parser that targeted cache control needs, and serialisers.

Owns the grammar of RFC 9651 (which supersedes RFC 8941): items, inner lists, parameters,
dictionaries. Parsing is strict, as the RFC demands: one fault makes the whole field invalid. Never
knows what a member means.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from neuro.errors import HttpSyntaxError

_INTEGER_DIGITS_MAX: Final = 15
_DECIMAL_WHOLE_DIGITS_MAX: Final = 12
_DECIMAL_FRACTION_DIGITS_MAX: Final = 3
_KEY: Final = re.compile(rb"[a-z*][a-z0-9_\-.*]*")
_TOKEN: Final = re.compile(rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_NUMBER: Final = re.compile(rb"(-?)(\d+)(?:(\.)(\d*))?")
_BINARY: Final = re.compile(rb":([A-Za-z0-9+/=]*):")
_PERCENT: Final = re.compile(rb"%([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Token:
    """An sf-token: an unquoted word, which is not the same as the string of the same letters."""

    text: str


@dataclass(frozen=True, slots=True)
class Date:
    """An sf-date: seconds since 1970, of either sign."""

    seconds: int


@dataclass(frozen=True, slots=True)
class DisplayString:
    """An sf-displaystring: Unicode text."""

    text: str


BareItem = int | Decimal | str | bytes | bool | Token | Date | DisplayString
Parameters = dict[str, BareItem]


@dataclass(frozen=True, slots=True)
class Item:
    """A value with its parameters."""

    value: BareItem
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class InnerList:
    """A parenthesised list of items with parameters of its own."""

    items: tuple[Item, ...]
    parameters: Parameters


Dictionary = dict[str, Item | InnerList]


def parse_dictionary(value: bytes) -> Dictionary:
    """Parses the combined value of a dictionary field; a repeated key keeps its last value.

    Raises:
        HttpSyntaxError: the value breaks the grammar anywhere.
    Source: RFC 9651 section 4.2.2.
    """
    return _Parser(value).dictionary()


def parse_item(value: bytes) -> Item:
    """Parses the value of an item field.

    Raises:
        HttpSyntaxError: the value breaks the grammar anywhere.
    Source: RFC 9651 section 4.2.3.
    """
    return _Parser(value).whole_item()


class _Parser:
    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data.strip(b" ")
        self._at = 0

    def _fail(self, what: str) -> HttpSyntaxError:
        return HttpSyntaxError(f"structured field: {what} at byte {self._at}", section="9651:4.2")

    def _peek(self) -> bytes:
        return self._data[self._at : self._at + 1]

    def _take(self, wanted: bytes) -> bool:
        if self._peek() == wanted:
            self._at += 1
            return True
        return False

    def _skip(self, blanks: bytes) -> None:
        while (octet := self._peek()) and octet in blanks:
            self._at += 1

    def _match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        match = pattern.match(self._data, self._at)
        if match is None:
            raise self._fail(f"{what} expected")
        self._at = match.end()
        return match

    def whole_item(self) -> Item:
        item = self._item()
        if self._at != len(self._data):
            raise self._fail("trailing bytes")
        return item

    def dictionary(self) -> Dictionary:
        members: Dictionary = {}
        while self._at < len(self._data):
            key = self._key()
            if self._take(b"="):
                member: Item | InnerList = (
                    self._inner_list() if self._peek() == b"(" else self._item()
                )
            else:
                member = Item(True, self._parameters())
            members.pop(key, None)
            members[key] = member
            self._skip(b" \t")
            if self._at == len(self._data):
                break
            if not self._take(b","):
                raise self._fail("comma expected")
            self._skip(b" \t")
            if self._at == len(self._data):
                raise self._fail("trailing comma")
        return members

    def _inner_list(self) -> InnerList:
        self._at += 1
        items: list[Item] = []
        while True:
            self._skip(b" ")
            if self._take(b")"):
                return InnerList(tuple(items), self._parameters())
            items.append(self._item())
            if self._peek() not in (b" ", b")"):
                raise self._fail("blank or closing parenthesis expected")

    def _item(self) -> Item:
        return Item(self._bare_item(), self._parameters())

    def _parameters(self) -> Parameters:
        parameters: Parameters = {}
        while self._take(b";"):
            self._skip(b" ")
            key = self._key()
            value: BareItem = self._bare_item() if self._take(b"=") else True
            parameters.pop(key, None)
            parameters[key] = value
        return parameters

    def _key(self) -> str:
        return self._match(_KEY, "key").group().decode("ascii")

    def _bare_item(self) -> BareItem:
        first = self._peek()
        if first == b'"':
            return self._string()
        if first == b":":
            return self._binary()
        if first == b"?":
            return self._boolean()
        if first == b"@":
            self._at += 1
            seconds = self._number()
            if isinstance(seconds, Decimal):
                raise self._fail("integer expected in a date")
            return Date(seconds)
        if first == b"%":
            return self._display_string()
        if first and first in b"-0123456789":
            return self._number()
        return Token(self._match(_TOKEN, "value").group().decode("ascii"))

    def _number(self) -> int | Decimal:
        sign, whole, point, fraction = self._match(_NUMBER, "number").groups()
        text = (sign + whole).decode("ascii")
        if point is None:
            if len(whole) > _INTEGER_DIGITS_MAX:
                raise self._fail("integer too long")
            return int(text)
        if len(whole) > _DECIMAL_WHOLE_DIGITS_MAX:
            raise self._fail("decimal too long")
        if not 1 <= len(fraction) <= _DECIMAL_FRACTION_DIGITS_MAX:
            raise self._fail("decimal with a bad fraction")
        return Decimal(f"{text}.{fraction.decode('ascii')}")

    def _string(self) -> str:
        self._at += 1
        text = bytearray()
        while octet := self._peek():
            self._at += 1
            if octet == b'"':
                return text.decode("ascii")
            if octet == b"\\":
                octet = self._peek()
                if octet not in (b'"', b"\\"):
                    raise self._fail("bad escape")
                self._at += 1
            elif not 0x20 <= octet[0] <= 0x7E:
                raise self._fail("forbidden byte in a string")
            text += octet
        raise self._fail("string without an end")

    def _binary(self) -> bytes:
        encoded = self._match(_BINARY, "byte sequence").group(1)
        # Padding may be missing and pad bits may be set: the RFC asks parsers to accept both.
        stripped = encoded.rstrip(b"=")
        try:
            return base64.b64decode(stripped + b"=" * (-len(stripped) % 4), validate=True)
        except binascii.Error as error:
            raise self._fail("bad base64") from error

    def _boolean(self) -> bool:
        self._at += 1
        if self._take(b"1"):
            return True
        if self._take(b"0"):
            return False
        raise self._fail("?0 or ?1 expected")

    def _display_string(self) -> DisplayString:
        self._at += 1
        if not self._take(b'"'):
            raise self._fail("quote expected")
        text = bytearray()
        while octet := self._peek():
            if octet == b"%":
                text.append(int(self._match(_PERCENT, "two lower-case digits").group(1), 16))
                continue
            self._at += 1
            if octet == b'"':
                try:
                    return DisplayString(text.decode("utf-8"))
                except UnicodeDecodeError as error:
                    raise self._fail("bad UTF-8") from error
            if not 0x20 <= octet[0] <= 0x7E:
                raise self._fail("forbidden byte in a display string")
            text += octet
        raise self._fail("display string without an end")


def serialize_string(text: str) -> bytes:
    """An sf-string; bytes outside printable ASCII become "?" because the form cannot hold them.

    Source: RFC 9651 section 4.1.6.
    """
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return b'"' + printable.replace("\\", "\\\\").replace('"', '\\"').encode("ascii") + b'"'


def is_structured_token(value: bytes) -> bool:
    """Whether the bytes may stand as an sf-token. Source: RFC 9651 section 3.3.4."""
    return _TOKEN.fullmatch(value) is not None
