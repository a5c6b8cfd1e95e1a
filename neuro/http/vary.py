"""Vary: which request fields chose a response, and whether another request chooses the same.

Owns parsing, normalising and comparing. Never makes keys: `neuro.cache.key` does, from the values
given here. Normalising must keep requests apart that an origin could tell apart in a way that
matters; that is why unknown fields only lose the blanks and line breaks that RFC 9111 names.
"""

from __future__ import annotations

import re
from typing import Final

from neuro.http.fields import Fields, is_token, split_list

_BLANK: Final = b" \t"
_Q_VALUE: Final = re.compile(rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")

SelectingValues = tuple[bytes | None, ...]


def parse_vary(fields: Fields) -> tuple[bytes, ...] | None:
    """The lower-case names in Vary, sorted, each once; None when "*" or a malformed name is there.

    Source: RFC 9110 section 12.5.5; RFC 9111 section 4.1 ("*" always fails to match).
    """
    names = {member.lower() for member in fields.list_members(b"vary")}
    if any(name == b"*" or not is_token(name) for name in names):
        return None
    return tuple(sorted(names))


def selecting_values(names: tuple[bytes, ...], request: Fields) -> SelectingValues:
    """The normalised value of each name in the request; None where the field is absent.

    Source: RFC 9111 section 4.1.
    """
    return tuple(_normalise(name, request) for name in names)


def is_match(names: tuple[bytes, ...], stored: SelectingValues, request: Fields) -> bool:
    """Whether the request chooses what the stored one chose. Source: RFC 9111 section 4.1."""
    return stored == selecting_values(names, request)


def _normalise(name: bytes, request: Fields) -> bytes | None:
    values = request.get_all(name)
    if not values:
        return None
    if name == b"accept-encoding":
        return _normalise_weighted(values, omits_refused=True)
    if name == b"accept-language":
        return _normalise_weighted(values, omits_refused=False)
    # A comma may stand inside a value that is no list (a date): both sides keep it, in its place.
    return b",".join(member for value in values for member in split_list(value))


def _normalise_weighted(values: list[bytes], *, omits_refused: bool) -> bytes:
    """Weighted members without case, blanks, order and needless weights.

    With `omits_refused` a member of weight 0 is left out where silence means the same: always,
    but for "identity", "*", and any coding that a "*" would let in (RFC 9110 section 12.5.3).
    Falls back to the plain text when a member is malformed.
    """
    plain = [member for value in values for member in split_list(value)]
    weights: dict[bytes, bytes] = {}
    for member in plain:
        item, *parameters = (part.strip(_BLANK) for part in member.lower().split(b";"))
        weight = b"1"
        if parameters:
            key, _, weight = parameters[0].partition(b"=")
            if len(parameters) > 1 or key != b"q" or _Q_VALUE.fullmatch(weight) is None:
                return b",".join(plain)
            if b"." in weight:
                weight = weight.rstrip(b"0").rstrip(b".")
        if item in weights:
            return b",".join(plain)
        weights[item] = weight
    kept = (
        item if weight == b"1" else item + b";q=" + weight
        for item, weight in weights.items()
        if not (
            omits_refused
            and weight == b"0"
            and item not in (b"*", b"identity")
            and b"*" not in weights
        )
    )
    return b",".join(sorted(kept))
