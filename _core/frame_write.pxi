# Writing msgpack: part of frame.pyx. One pass into one bytes object that grows, then shrinks to fit.


cdef struct Writer:
    PyObject *buffer  # a bytes object that only the writer knows; NULL after a failed resize
    uint8_t *start
    Py_ssize_t size
    Py_ssize_t room
    Py_ssize_t bytes_max  # of the frame with its header
    Py_ssize_t items_left
    Py_ssize_t depth_max
    Py_ssize_t string_bytes_max


cdef enum:
    ROOM_FIRST = 512  # most messages are shorter, so most frames are one allocation


cdef object write_msgpack(_Limits limits, object message):
    cdef Writer writer
    cdef object frame = PyBytes_FromStringAndSize(NULL, ROOM_FIRST)
    Py_INCREF(frame)
    writer.buffer = <PyObject *>frame
    frame = None  # _PyBytes_Resize needs the only reference
    writer.start = <uint8_t *>PyBytes_AS_STRING(<object>writer.buffer)
    writer.size = HEADER
    writer.bytes_max = HEADER + limits.frame_bytes_max
    writer.room = min(<Py_ssize_t>ROOM_FIRST, writer.bytes_max)
    writer.items_left = limits.item_count_max
    writer.depth_max = limits.depth_max
    writer.string_bytes_max = limits.string_bytes_max
    try:
        write_value(&writer, message, 1)
        store_big_endian(writer.start, writer.size - HEADER, 4)
        _PyBytes_Resize(&writer.buffer, writer.size)
        return <object>writer.buffer
    finally:
        Py_XDECREF(writer.buffer)


cdef inline void store_big_endian(uint8_t *to, uint64_t number, int width) noexcept nogil:
    cdef int index
    for index in range(width):
        to[index] = <uint8_t>(number >> (8 * (width - 1 - index)))


cdef inline uint8_t *take(Writer *writer, Py_ssize_t count) except NULL:
    """Room for `count` more bytes, counted as written."""
    cdef Py_ssize_t size = writer.size + count
    if size > writer.room:
        grow(writer, size)
    writer.size = size
    return writer.start + size - count


cdef int grow(Writer *writer, Py_ssize_t size) except -1:
    if size > writer.bytes_max:
        raise too_large(size - HEADER, writer.bytes_max - HEADER, 0)
    writer.room = min(max(size, 2 * writer.room), writer.bytes_max)
    _PyBytes_Resize(&writer.buffer, writer.room)
    writer.start = <uint8_t *>PyBytes_AS_STRING(<object>writer.buffer)
    return 0


cdef int write_header(
    Writer *writer, uint8_t fix, Py_ssize_t fix_max, uint8_t tag, int width, Py_ssize_t count
) except -1:
    """The shortest header for `count`: in the tag itself, or `tag` and wider ones after it."""
    cdef uint8_t *to
    if count <= fix_max:
        take(writer, 1)[0] = <uint8_t>(fix | count)
        return 0
    while width < 4 and count >> (8 * width):
        width *= 2
        tag += 1
    to = take(writer, 1 + width)
    to[0] = tag
    store_big_endian(to + 1, count, width)
    return 0


cdef int write_value(Writer *writer, object value, Py_ssize_t depth) except -1:
    if value is None:
        take(writer, 1)[0] = 0xC0
    elif value is True:
        take(writer, 1)[0] = 0xC3
    elif value is False:
        take(writer, 1)[0] = 0xC2
    elif isinstance(value, str):
        write_text(writer, value)
    elif isinstance(value, int):
        write_integer(writer, value)
    elif isinstance(value, dict):
        write_map(writer, value, depth)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        write_binary(writer, value)
    elif isinstance(value, (list, tuple)):
        write_array(writer, value, depth)
    elif isinstance(value, float):
        write_float(writer, value)
    else:
        raise malformed("type_unsupported", writer.size)
    return 0


cdef int write_text(Writer *writer, object value) except -1:
    cdef Py_ssize_t length
    cdef const char *text
    try:
        text = PyUnicode_AsUTF8AndSize(value, &length)
    except UnicodeEncodeError:
        raise malformed("utf8_invalid", writer.size) from None
    if length > writer.string_bytes_max:
        raise malformed("string_too_long", writer.size)
    write_header(writer, 0xA0, 31, 0xD9, 1, length)
    memcpy(take(writer, length), text, length)
    return 0


cdef int write_binary(Writer *writer, object value) except -1:
    cdef Py_buffer view
    try:
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    except (BufferError, ValueError):  # not contiguous, or released
        raise malformed("type_unsupported", writer.size) from None
    try:
        if view.len > writer.string_bytes_max:
            raise malformed("string_too_long", writer.size)
        write_header(writer, 0, -1, 0xC4, 1, view.len)
        memcpy(take(writer, view.len), view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return 0


cdef int write_integer(Writer *writer, object value) except -1:
    cdef int overflow = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef uint64_t magnitude
    cdef uint8_t *to
    cdef int width = 1
    cdef uint8_t tag
    if -32 <= number < 128 and not overflow:
        take(writer, 1)[0] = <uint8_t>number
        return 0
    if overflow < 0:
        raise malformed("integer_range", writer.size)
    if overflow > 0 or number >= 0:
        tag = 0xCC
        try:
            magnitude = PyLong_AsUnsignedLongLong(value)
        except OverflowError:
            raise malformed("integer_range", writer.size) from None
        while width < 8 and magnitude >> (8 * width):
            width *= 2
            tag += 1
    else:
        tag = 0xD0
        magnitude = <uint64_t>number
        while width < 8 and number < -(<int64_t>1 << (8 * width - 1)):
            width *= 2
            tag += 1
    to = take(writer, 1 + width)
    to[0] = tag
    store_big_endian(to + 1, magnitude, width)
    return 0


cdef int write_float(Writer *writer, double number) except -1:
    cdef uint64_t bits
    cdef uint8_t *to
    if not isfinite(number):
        raise malformed("number_not_finite", writer.size)
    memcpy(&bits, &number, 8)
    to = take(writer, 9)
    to[0] = 0xCB
    store_big_endian(to + 1, bits, 8)
    return 0


cdef int leave_room(Writer *writer, Py_ssize_t count, Py_ssize_t depth) except -1:
    if depth > writer.depth_max:
        raise malformed("depth_exceeded", writer.size)
    if count > writer.items_left:
        raise malformed("too_many_items", writer.size)
    writer.items_left -= count
    return 0


cdef int write_array(Writer *writer, object value, Py_ssize_t depth) except -1:
    cdef list items = value if type(value) is list else list(value)
    leave_room(writer, PyList_GET_SIZE(items), depth)
    write_header(writer, 0x90, 15, 0xDC, 2, PyList_GET_SIZE(items))
    for item in items:
        write_value(writer, item, depth + 1)
    return 0


cdef int write_map(Writer *writer, object value, Py_ssize_t depth) except -1:
    cdef PyObject *key
    cdef PyObject *item
    cdef Py_ssize_t position = 0
    leave_room(writer, PyDict_Size(value), depth)
    write_header(writer, 0x80, 15, 0xDE, 2, PyDict_Size(value))
    while PyDict_Next(value, &position, &key, &item):
        if not isinstance(<object>key, str):
            raise malformed("key_not_string", writer.size)
        write_text(writer, <object>key)
        write_value(writer, <object>item, depth + 1)
    return 0
