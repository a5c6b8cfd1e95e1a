"""JSON payloads of frames in plain Python: the JSON half of the oracle in `pure_frame`.

Owns what the protocol refuses beyond RFC 8259's grammar. Never used to serve. Scans with regular
expressions where the native codec walks bytes, so that the two do not share a mistake.
"""

from __future__ import annotations

import json
import math
import re

from neuro.wire.pure_limits import HEADER_BYTES, Limits, malformed, too_large

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1
_MARK = re.compile(rb'"|[{}\[\],]')
_STRING = re.compile(rb'(?:[^"\\]|\\.)*+', re.DOTALL)
_SURROGATE = re.compile(
    rb"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)


class _MeaningError(Exception):
    """Well-formed JSON that the protocol refuses."""


def _build_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _MeaningError("key_duplicate")
    return dict(pairs)


def _parse_integer(digits: str) -> int:
    if len(digits) > 20 or not _INTEGER_MIN <= int(digits) <= _INTEGER_MAX:
        raise _MeaningError("integer_range")
    return int(digits)


def _parse_float(digits: str) -> float:
    if math.isinf(float(digits)):
        raise _MeaningError("number_not_finite")
    return float(digits)


def _refuse_constant(_name: str) -> object:
    raise _MeaningError("number_not_finite")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object,
    parse_int=_parse_integer,
    parse_float=_parse_float,
    parse_constant=_refuse_constant,
)


def read_object(limits: Limits, payload: bytes, base: int) -> dict[str, object]:
    """The one JSON object that fills the payload; `base` is its offset in the stream."""
    try:
        text = payload.decode()
    except UnicodeDecodeError as fault:
        raise malformed("utf8_invalid", base + fault.start) from None
    scan(limits, payload, base)
    try:
        message: dict[str, object]
        message, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as fault:
        raise malformed("json_malformed", base + len(text[: fault.pos].encode())) from None
    except _MeaningError as fault:
        raise malformed(str(fault), base) from None
    if end != len(text):
        raise malformed("trailing_bytes", base + len(text[:end].encode()))
    return message


def scan(limits: Limits, payload: bytes, base: int) -> None:
    """Raises FrameMalformed where a bound of depth, items or string length is passed."""
    at = depth = items = 0
    while (mark := _MARK.search(payload, at)) is not None:
        start, at = mark.start(), mark.end()
        kind = mark.group()
        if kind == b'"':
            body = _STRING.match(payload, at)
            at = body.end() if body is not None else at  # it matches the empty string as well
            # A quote ends the string; all else is a string that the payload's end cut.
            at = at if payload[at : at + 1] == b'"' else len(payload)
            for escape in _SURROGATE.finditer(payload, start + 1, at):
                if escape.lastgroup == "half":
                    raise malformed("utf8_invalid", base + escape.start())
            if at - start - 1 > limits.string_bytes_max:
                raise malformed("string_too_long", base + start)
            at += 1
        elif kind in b"}]":
            depth -= 1
        else:
            items += 1
            depth += kind != b","
            if depth > limits.depth_max and kind != b",":
                raise malformed("depth_exceeded", base + start)
            if items > limits.item_count_max:
                raise malformed("too_many_items", base + start)


def write_object(limits: Limits, message: dict[str, object]) -> bytes:
    """The payload of the message, compact, non-ASCII text as it is."""
    check(message, 1, limits.depth_max)
    payload = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    if len(payload) > limits.frame_bytes_max:
        raise too_large(len(payload), limits.frame_bytes_max, 0)
    scan(limits, payload, HEADER_BYTES)
    return payload


def check(value: object, depth: int, depth_max: int) -> None:
    """Raises FrameMalformed for what JSON cannot say."""
    reason = None
    if isinstance(value, str):
        reason = "utf8_invalid" if re.search("[\ud800-\udfff]", value) else None
    elif isinstance(value, int):
        reason = None if _INTEGER_MIN <= value <= _INTEGER_MAX else "integer_range"
    elif isinstance(value, float):
        reason = None if math.isfinite(value) else "number_not_finite"
    elif isinstance(value, dict | list | tuple):
        reason = "depth_exceeded" if depth > depth_max else None
    elif value is not None:
        reason = "type_unsupported"
    if reason is not None:
        raise malformed(reason, HEADER_BYTES)
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise malformed("key_not_string", HEADER_BYTES)
            check(key, depth, depth_max)
            check(item, depth + 1, depth_max)
    elif isinstance(value, list | tuple):
        for item in value:
            check(item, depth + 1, depth_max)
