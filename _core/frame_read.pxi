# Reading msgpack: part of frame.pyx. Recursive descent over one payload that is there as a whole.
#
# Order of checks for every value, kept by the twin as well: tag known, header there, depth,
# content there, bounds, content valid. Each fault points at the tag of the value it is about.


cdef struct Cursor:
    const uint8_t *start  # first byte of the payload
    const uint8_t *at
    const uint8_t *end
    uint64_t base  # stream offset of start
    Py_ssize_t items_left
    Py_ssize_t depth_max
    Py_ssize_t string_bytes_max


cdef enum:
    KEY_SLOTS = 256
    KEY_BYTES_MAX = 24

# The same few field names come in every message: a direct-mapped table of str objects saves an
# allocation and a hash for each. A slot is overwritten on collision, so it is bounded.
cdef PyObject *key_slots[KEY_SLOTS]


cdef inline object refuse(Cursor *cursor, const uint8_t *where, str code):
    return malformed(code, cursor.base + <uint64_t>(where - cursor.start))


cdef inline uint64_t load_big_endian(const uint8_t *bytes_, int width) noexcept nogil:
    cdef uint64_t number = 0
    cdef int index
    for index in range(width):
        number = number << 8 | bytes_[index]
    return number


cdef inline Py_ssize_t read_length(Cursor *cursor, int width) except -1:
    """The length field after the tag; moves the cursor to the content."""
    cdef Py_ssize_t length
    if cursor.end - cursor.at < 1 + width:
        raise refuse(cursor, cursor.at, "value_truncated")
    length = <Py_ssize_t>load_big_endian(cursor.at + 1, width)
    cursor.at += 1 + width
    return length


cdef object read_value(Cursor *cursor, Py_ssize_t depth):
    cdef uint8_t tag
    if cursor.at >= cursor.end:
        raise refuse(cursor, cursor.at, "value_truncated")
    tag = cursor.at[0]
    if tag < 0x80:
        cursor.at += 1
        return <long>tag
    if tag >= 0xE0:
        cursor.at += 1
        return <long>tag - 256
    if tag >= 0xC0:
        return read_tagged(cursor, tag, depth)
    if tag < 0x90:
        return read_map(cursor, tag & 0x0F, 0, depth)
    if tag < 0xA0:
        return read_array(cursor, tag & 0x0F, 0, depth)
    return read_text(cursor, tag & 0x1F, 0)


cdef object read_tagged(Cursor *cursor, uint8_t tag, Py_ssize_t depth):
    if tag == 0xC0 or tag == 0xC2 or tag == 0xC3:
        cursor.at += 1
        return None if tag == 0xC0 else tag == 0xC3
    if 0xCC <= tag <= 0xD3:
        return read_integer(cursor, tag)
    if 0xD9 <= tag <= 0xDB:
        return read_text(cursor, 0, 1 << (tag - 0xD9))
    if 0xC4 <= tag <= 0xC6:
        return read_binary(cursor, 1 << (tag - 0xC4))
    if tag == 0xDC or tag == 0xDD:
        return read_array(cursor, 0, 2 << (tag - 0xDC), depth)
    if tag == 0xDE or tag == 0xDF:
        return read_map(cursor, 0, 2 << (tag - 0xDE), depth)
    if tag == 0xCA or tag == 0xCB:
        return read_float(cursor, tag)
    # 0xC1 is reserved; the rest are extension types, of which the protocol has none.
    raise refuse(cursor, cursor.at, "type_unsupported")


cdef object read_integer(Cursor *cursor, uint8_t tag):
    cdef int width = 1 << (tag - 0xCC if tag < 0xD0 else tag - 0xD0)
    cdef uint64_t number
    if cursor.end - cursor.at < 1 + width:
        raise refuse(cursor, cursor.at, "value_truncated")
    number = load_big_endian(cursor.at + 1, width)
    cursor.at += 1 + width
    if tag < 0xD0:
        return number
    return <int64_t>(number << (64 - 8 * width)) >> (64 - 8 * width)


cdef object read_float(Cursor *cursor, uint8_t tag):
    cdef int width = 4 if tag == 0xCA else 8
    cdef uint64_t bits
    cdef uint32_t bits_32
    cdef float number_32
    cdef double number
    if cursor.end - cursor.at < 1 + width:
        raise refuse(cursor, cursor.at, "value_truncated")
    bits = load_big_endian(cursor.at + 1, width)
    if width == 4:
        bits_32 = <uint32_t>bits
        memcpy(&number_32, &bits_32, 4)
        number = number_32
    else:
        memcpy(&number, &bits, 8)
    if not isfinite(number):
        raise refuse(cursor, cursor.at, "number_not_finite")
    cursor.at += 1 + width
    return number


cdef inline int check_string(Cursor *cursor, const uint8_t *tag_at, Py_ssize_t length) except -1:
    if cursor.end - cursor.at < length:
        raise refuse(cursor, tag_at, "value_truncated")
    if length > cursor.string_bytes_max:
        raise refuse(cursor, tag_at, "string_too_long")
    return 0


cdef object read_text(Cursor *cursor, Py_ssize_t length, int width):
    cdef const uint8_t *tag_at = cursor.at
    if width:
        length = read_length(cursor, width)
    else:
        cursor.at += 1
    check_string(cursor, tag_at, length)
    try:
        text = PyUnicode_DecodeUTF8(<const char *>cursor.at, length, NULL)
    except UnicodeDecodeError as fault:
        raise refuse(cursor, cursor.at + <Py_ssize_t>fault.start, "utf8_invalid") from None
    cursor.at += length
    return text


cdef object read_binary(Cursor *cursor, int width):
    cdef const uint8_t *tag_at = cursor.at
    cdef Py_ssize_t length = read_length(cursor, width)
    check_string(cursor, tag_at, length)
    data = PyBytes_FromStringAndSize(<const char *>cursor.at, length)
    cursor.at += length
    return data


cdef int enter(
    Cursor *cursor, const uint8_t *tag_at, Py_ssize_t count, int bytes_each, Py_ssize_t depth
) except -1:
    """Refuse a container before anything is allocated for it; an item takes at least one byte."""
    if depth > cursor.depth_max:
        raise refuse(cursor, tag_at, "depth_exceeded")
    if count > (cursor.end - cursor.at) // bytes_each:
        raise refuse(cursor, tag_at, "value_truncated")
    if count > cursor.items_left:
        raise refuse(cursor, tag_at, "too_many_items")
    cursor.items_left -= count
    return 0


cdef object read_array(Cursor *cursor, Py_ssize_t count, int width, Py_ssize_t depth):
    cdef const uint8_t *tag_at = cursor.at
    cdef Py_ssize_t index
    cdef list items
    if width:
        count = read_length(cursor, width)
    else:
        cursor.at += 1
    enter(cursor, tag_at, count, 1, depth)
    items = PyList_New(count)
    for index in range(count):
        item = read_value(cursor, depth + 1)
        Py_INCREF(item)  # PyList_SET_ITEM steals one
        PyList_SET_ITEM(items, index, item)
    return items


cdef object read_map(Cursor *cursor, Py_ssize_t count, int width, Py_ssize_t depth):
    cdef const uint8_t *tag_at = cursor.at
    cdef const uint8_t *key_at
    cdef Py_ssize_t index
    cdef dict items = {}
    if width:
        count = read_length(cursor, width)
    else:
        cursor.at += 1
    enter(cursor, tag_at, count, 2, depth)
    for index in range(count):
        key_at = cursor.at
        key = read_key(cursor)
        PyDict_SetItem(items, key, read_value(cursor, depth + 1))
        if PyDict_Size(items) != index + 1:
            raise refuse(cursor, key_at, "key_duplicate")
    return items


cdef object read_key(Cursor *cursor):
    cdef uint8_t tag
    cdef Py_ssize_t length
    cdef uint32_t slot
    cdef const uint8_t *text_at
    cdef object key
    if cursor.at >= cursor.end:
        raise refuse(cursor, cursor.at, "value_truncated")
    tag = cursor.at[0]
    if tag >> 5 != 5:
        if tag < 0xD9 or tag > 0xDB:
            raise refuse(cursor, cursor.at, "key_not_string")
        return read_text(cursor, 0, 1 << (tag - 0xD9))
    length = tag & 0x1F
    if length == 0 or length > KEY_BYTES_MAX or cursor.end - cursor.at <= length:
        return read_text(cursor, length, 0)
    text_at = cursor.at + 1
    slot = (text_at[0] * 31 + text_at[length // 2] * 131 + text_at[length - 1] * 7 + length) & 0xFF
    if key_slots[slot] != NULL:
        key = <object>key_slots[slot]
        if (
            PyUnicode_GET_LENGTH(key) == length
            and length <= cursor.string_bytes_max
            and memcmp(PyUnicode_DATA(key), text_at, length) == 0
        ):
            cursor.at = text_at + length
            return key
    key = read_text(cursor, length, 0)
    if PyUnicode_IS_COMPACT_ASCII(key):
        Py_INCREF(key)
        Py_XDECREF(key_slots[slot])
        key_slots[slot] = <PyObject *>key
    return key
