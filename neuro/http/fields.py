"""Field lines: an ordered, immutable list of (name, value) with the lookups HTTP needs.

Owns the syntax of names, values and comma lists. Never interprets a field. Exists so that every
rule sees the lines in the order of arrival, and repeated lines stay visible: a dictionary would
hide the duplicates that a cache must notice (RFC 9111 section 4.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from neuro.errors import InvalidFieldError

FieldLine = tuple[bytes, bytes]

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# VCHAR, obs-text, SP and HTAB, no blank at either end (RFC 9110 section 5.5).
_VALUE: Final = re.compile(
    rb"(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?)?"
)
_BLANK: Final = b" \t"


def _shown(culprit: bytes) -> str:
    return culprit[:64].decode("latin-1")


def is_token(value: bytes) -> bool:
    """Whether the bytes are one token. Source: RFC 9110 section 5.6.2."""
    return _TOKEN.fullmatch(value) is not None


def is_field_value(value: bytes) -> bool:
    """Whether the bytes are a field value without outer blanks. Source: RFC 9110 section 5.5."""
    return _VALUE.fullmatch(value) is not None


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma list, trimmed, without empty ones; commas in quotes do not split.

    A quote that never ends takes the rest of the value into its member.
    Source: RFC 9110 sections 5.6.1 and 5.6.4.
    """
    if b'"' not in value:
        return [member for part in value.split(b",") if (member := part.strip(_BLANK))]
    members: list[bytes] = []
    start = 0
    in_quotes = False
    index = 0
    while index < len(value):
        octet = value[index]
        if in_quotes:
            if octet == 0x5C:
                index += 1
            elif octet == 0x22:
                in_quotes = False
        elif octet == 0x22:
            in_quotes = True
        elif octet == 0x2C:
            members.append(value[start:index].strip(_BLANK))
            start = index + 1
        index += 1
    members.append(value[start:].strip(_BLANK))
    return [member for member in members if member]


class Fields:
    """An immutable list of field lines; names keep their spelling and compare without case."""

    __slots__ = ("_lines", "_lowered")

    def __init__(self, lines: Iterable[FieldLine] = ()) -> None:
        self._lines: tuple[FieldLine, ...] = tuple(lines)
        self._lowered: tuple[bytes, ...] = tuple(name.lower() for name, _ in self._lines)

    @classmethod
    def checked(cls, lines: Iterable[FieldLine]) -> Fields:
        """Fields whose every name is a token and every value a field value.

        Raises:
            InvalidFieldError: a line breaks RFC 9110 section 5.
        """
        fields = cls(lines)
        for name, value in fields:
            if not is_token(name):
                raise InvalidFieldError("field name is not a token", name=_shown(name))
            if not is_field_value(value):
                raise InvalidFieldError(
                    "field value holds forbidden bytes", name=_shown(name), value=_shown(value)
                )
        return fields

    @classmethod
    def from_bytes(cls, block: bytes) -> Fields:
        """Parses "Name: value CRLF" lines, strictly: no folding, no bare LF, no blank before ":".

        Raises:
            InvalidFieldError: the block is not made of such lines.
        """
        if not block:
            return cls()
        if not block.endswith(b"\r\n"):
            raise InvalidFieldError("field block does not end with CRLF", value=_shown(block[-32:]))
        lines: list[FieldLine] = []
        for line in block[:-2].split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not colon:
                raise InvalidFieldError("field line without a colon", value=_shown(line))
            lines.append((name, value.strip(_BLANK)))
        return cls.checked(lines)

    def to_bytes(self) -> bytes:
        """The lines as "Name: value CRLF", ready for a message head."""
        return b"".join(b"%b: %b\r\n" % line for line in self._lines)

    def __iter__(self) -> Iterator[FieldLine]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and name.lower() in self._lowered

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self._lines == other._lines

    def __hash__(self) -> int:
        return hash(self._lines)

    def __repr__(self) -> str:
        return f"Fields({list(self._lines)!r})"

    def get(self, name: bytes) -> bytes | None:
        """The value of the first line of this name, or None."""
        lowered = name.lower()
        if lowered not in self._lowered:
            return None
        return self._lines[self._lowered.index(lowered)][1]

    def get_all(self, name: bytes) -> list[bytes]:
        """The values of all lines of this name, in order."""
        lowered = name.lower()
        return [
            line[1]
            for line, known in zip(self._lines, self._lowered, strict=True)
            if known == lowered
        ]

    def get_single(self, name: bytes) -> bytes | None:
        """The value when exactly one line has this name; None for none and for several."""
        values = self.get_all(name)
        return values[0] if len(values) == 1 else None

    def combined(self, name: bytes) -> bytes | None:
        """All values of this name joined by ", ", or None. Source: RFC 9110 section 5.3."""
        values = self.get_all(name)
        return b", ".join(values) if values else None

    def list_members(self, name: bytes) -> list[bytes]:
        """The members of a list-valued field over all its lines. Source: RFC 9110 section 5.6.1."""
        return [member for value in self.get_all(name) for member in split_list(value)]

    def names(self) -> tuple[bytes, ...]:
        """The lower-case name of every line, in order."""
        return self._lowered

    def without(self, *names: bytes) -> Fields:
        """These lines less every line of the given names."""
        return self.without_set({name.lower() for name in names})

    def without_set(self, lowered_names: frozenset[bytes] | set[bytes]) -> Fields:
        """Like `without`, for names that are lower case already."""
        if lowered_names.isdisjoint(self._lowered):
            return self
        return Fields(
            line
            for line, known in zip(self._lines, self._lowered, strict=True)
            if known not in lowered_names
        )

    def replace(self, name: bytes, value: bytes) -> Fields:
        """These lines with exactly one of this name: at the place of the first, else at the end."""
        lowered = name.lower()
        if lowered not in self._lowered:
            return self.append(name, value)
        first = self._lowered.index(lowered)
        return Fields(
            (name, value) if index == first else line
            for index, line in enumerate(self._lines)
            if index == first or self._lowered[index] != lowered
        )

    def append(self, name: bytes, value: bytes) -> Fields:
        """These lines and one more at the end."""
        return Fields((*self._lines, (name, value)))

    def extend(self, lines: Iterable[FieldLine]) -> Fields:
        """These lines and more at the end."""
        return Fields((*self._lines, *lines))
