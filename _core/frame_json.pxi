# JSON payloads: part of frame.pyx. The standard library parses and prints; what it leaves open
# (depth, counts, lone surrogates, duplicate keys, NaN, integer range) is refused here.


cdef object read_json(
    _Limits limits, const uint8_t *payload, Py_ssize_t length, uint64_t base
):
    """One JSON object that fills the payload.

    A fault of syntax or of a bound has its exact offset; one of meaning (duplicate key, number
    out of range) has the payload's, because the standard library does not say where it was.
    """
    cdef str text
    try:
        text = PyUnicode_DecodeUTF8(<const char *>payload, length, NULL)
    except UnicodeDecodeError as fault:
        raise malformed("utf8_invalid", base + <Py_ssize_t>fault.start) from None
    scan_json(limits, payload, length, base)
    try:
        message, end = _json_decoder.raw_decode(text)
    except json.JSONDecodeError as fault:
        raise malformed("json_malformed", base + utf8_size(text[: fault.pos])) from None
    except _Meaning as fault:
        raise malformed(fault.args[0], base) from None
    if end != len(text):
        raise malformed("trailing_bytes", base + utf8_size(text[:end]))
    return message


cdef uint64_t utf8_size(str text):
    return len(text.encode())


class _Meaning(Exception):
    """Well-formed JSON that the protocol refuses; carries the code."""


def _object_from_pairs(pairs):
    items = dict(pairs)
    if len(items) != len(pairs):
        raise _Meaning("key_duplicate")
    return items


def _integer_from_digits(digits):
    if len(digits) > 20:  # longer than -2**63 and 2**64-1: never pay for a huge conversion
        raise _Meaning("integer_range")
    number = int(digits)
    if not -0x8000000000000000 <= number <= 0xFFFFFFFFFFFFFFFF:
        raise _Meaning("integer_range")
    return number


def _float_from_digits(digits):
    number = float(digits)
    if not isfinite(number):
        raise _Meaning("number_not_finite")
    return number


def _refuse_constant(name):
    raise _Meaning("number_not_finite")


_json_decoder = json.JSONDecoder(
    object_pairs_hook=_object_from_pairs,
    parse_int=_integer_from_digits,
    parse_float=_float_from_digits,
    parse_constant=_refuse_constant,
)
_json_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)


cdef int scan_json(
    _Limits limits, const uint8_t *payload, Py_ssize_t length, uint64_t base
) except -1:
    """Hold the bounds before the parser allocates; items are commas plus containers.

    Knows only strings, brackets and commas; whether the rest is JSON is the parser's question.
    """
    cdef Py_ssize_t at = 0, depth = 0, items = 0, end
    cdef uint8_t byte
    while at < length:
        byte = payload[at]
        if byte == c'"':
            end = skip_json_string(payload, at + 1, length, base)
            if end - at - 1 > limits.string_bytes_max:
                raise malformed("string_too_long", base + at)
            at = end
        elif byte == c"{" or byte == c"[" or byte == c",":
            if byte != c",":
                depth += 1
                if depth > limits.depth_max:
                    raise malformed("depth_exceeded", base + at)
            items += 1
            if items > limits.item_count_max:
                raise malformed("too_many_items", base + at)
        elif byte == c"}" or byte == c"]":
            depth -= 1
        at += 1
    return 0


cdef Py_ssize_t skip_json_string(
    const uint8_t *payload, Py_ssize_t at, Py_ssize_t length, uint64_t base
) except -1:
    """The index of the closing quote, or `length` where there is none.

    Refuses half of a surrogate pair: such a str could not be sent on. RFC 8259 section 8.2.
    """
    cdef int unit
    while at < length and payload[at] != c'"':
        if payload[at] != c"\\":
            at += 1
            continue
        unit = utf16_unit(payload, at, length)
        if unit >> 11 != 0x1B:  # not D800 to DFFF
            at += 2
            continue
        if unit >= 0xDC00 or utf16_unit(payload, at + 6, length) >> 10 != 0x37:
            raise malformed("utf8_invalid", base + at)
        at += 12
    return at if at < length else length


cdef int utf16_unit(const uint8_t *payload, Py_ssize_t at, Py_ssize_t length) noexcept nogil:
    r"""The number of the escape `\uXXXX` at `at`, or 0 when there is no such escape."""
    cdef int number = 0, index
    cdef uint8_t digit
    if length - at < 6 or payload[at] != c"\\" or payload[at + 1] != c"u":
        return 0
    for index in range(2, 6):
        digit = payload[at + index]
        if c"0" <= digit <= c"9":
            number = number << 4 | (digit - c"0")
        elif c"a" <= digit | 0x20 <= c"f":
            number = number << 4 | ((digit | 0x20) - c"a" + 10)
        else:
            return 0
    return number


cdef object write_json(_Limits limits, object message):
    cdef Py_ssize_t length
    cdef const char *text
    cdef uint8_t *to
    check_json(message, 1, limits.depth_max)
    printed = _json_encoder.encode(message)
    text = PyUnicode_AsUTF8AndSize(printed, &length)
    if length > limits.frame_bytes_max:
        raise too_large(length, limits.frame_bytes_max, 0)
    scan_json(limits, <const uint8_t *>text, length, HEADER)
    frame = PyBytes_FromStringAndSize(NULL, HEADER + length)
    to = <uint8_t *>PyBytes_AS_STRING(frame)
    store_big_endian(to, length, 4)
    memcpy(to + HEADER, text, length)
    return frame


cdef int check_json(object value, Py_ssize_t depth, Py_ssize_t depth_max) except -1:
    """Refuse what JSON cannot say and what the printer would quietly change."""
    cdef str fault = None
    if value is None or value is True or value is False:
        return 0
    if isinstance(value, str):
        fault = "utf8_invalid" if has_surrogate(value) else None
    elif isinstance(value, int):
        if not -0x8000000000000000 <= value <= 0xFFFFFFFFFFFFFFFF:
            fault = "integer_range"
    elif isinstance(value, float):
        fault = None if isfinite(value) else "number_not_finite"
    elif isinstance(value, (dict, list, tuple)):
        if depth > depth_max:
            fault = "depth_exceeded"
        elif isinstance(value, dict):
            for key, item in (<dict>value).items():
                if not isinstance(key, str):
                    raise malformed("key_not_string", HEADER)
                check_json(key, depth, depth_max)
                check_json(item, depth + 1, depth_max)
        else:
            for item in value:
                check_json(item, depth + 1, depth_max)
    else:
        fault = "type_unsupported"
    if fault is not None:
        raise malformed(fault, HEADER)
    return 0


cdef bint has_surrogate(object value) except -1:
    cdef Py_ssize_t length
    try:
        PyUnicode_AsUTF8AndSize(value, &length)
    except UnicodeEncodeError:
        return True
    return False
