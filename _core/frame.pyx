# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
"""The frame codec: a 4-byte big-endian length, then one msgpack map or JSON object.

Owns the bytes of a frame on their way in and out, and every bound on them. Never does I/O, never
knows what a message means. It exists because each Raft message and each client command passes
here, and because what arrives is untrusted: a length is believed only after it was compared with
what is allowed and with what is there.

The twin `neuro.wire.pure_frame` says the same in plain Python; tests hold them equal, faults
included. Source: the msgpack specification (formats), RFC 8259 (JSON), RFC 3629 (UTF-8).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

import json

from neuro.errors import FrameError, FrameMalformed, FrameTooLarge, FrameTruncated

cdef extern from "Python.h":
    object PyUnicode_DecodeUTF8(const char *text, Py_ssize_t size, const char *errors)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int64_t PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    uint64_t PyLong_AsUnsignedLongLong(object number) except? 0xffffffffffffffff
    int _PyBytes_Resize(PyObject **buffer, Py_ssize_t size) except -1

cdef Py_ssize_t HEADER = 4

HEADER_BYTES = HEADER
MSGPACK = "msgpack"
JSON = "json"

# A Raft append or a snapshot chunk stays far below 16 MiB; a bigger length is a stranger's.
FRAME_BYTES_MAX = 16 * 1024 * 1024
# Messages nest four or five levels; 32 keeps recursion far from the C stack's end.
DEPTH_MAX = 32
# Items of all containers of one frame together: bounds the memory that small items inflate to.
ITEM_COUNT_MAX = 262_144
# A string or a binary may fill a frame; deployments that know better pass less.
STRING_BYTES_MAX = FRAME_BYTES_MAX

cdef object _msgpack_name = MSGPACK
cdef object _json_name = JSON


cdef class _Limits:
    """Bounds shared by both directions; all counts, sizes in bytes, each 1 or more."""

    cdef readonly Py_ssize_t frame_bytes_max
    cdef readonly Py_ssize_t depth_max
    cdef readonly Py_ssize_t item_count_max
    cdef readonly Py_ssize_t string_bytes_max

    def __init__(
        self,
        *,
        Py_ssize_t frame_bytes_max=FRAME_BYTES_MAX,
        Py_ssize_t depth_max=DEPTH_MAX,
        Py_ssize_t item_count_max=ITEM_COUNT_MAX,
        Py_ssize_t string_bytes_max=STRING_BYTES_MAX,
    ):
        if not 1 <= frame_bytes_max <= 0xFFFFFFFF:
            raise ValueError("frame_bytes_max is from 1 to 4294967295")
        if not 1 <= depth_max <= 512:
            raise ValueError("depth_max is from 1 to 512")
        if item_count_max < 1 or string_bytes_max < 1:
            raise ValueError("item_count_max and string_bytes_max are 1 or more")
        self.frame_bytes_max = frame_bytes_max
        self.depth_max = depth_max
        self.item_count_max = item_count_max
        self.string_bytes_max = string_bytes_max


cdef object malformed(str reason, uint64_t offset):
    text = f"{reason.replace('_', ' ')} at byte {offset}"
    return FrameMalformed(text, reason=reason, offset=offset)


cdef object too_large(Py_ssize_t size_bytes, Py_ssize_t bytes_max, uint64_t offset):
    return FrameTooLarge(
        f"a frame of {size_bytes} bytes passes the limit of {bytes_max}",
        reason="frame_too_large",
        offset=offset,
        size_bytes=size_bytes,
        bytes_max=bytes_max,
    )


include "frame_read.pxi"
include "frame_write.pxi"
include "frame_json.pxi"


@cython.final
cdef class FrameDecoder(_Limits):
    """Bytes in, messages out: `feed()` what came, then iterate.

    Whole frames inside a chunk are read where they lie; only a frame cut by the end of a chunk
    is copied, once. The first fault poisons the decoder: messages before it are delivered, then
    each call raises that fault again, because the boundary of the next frame is lost.
    """

    cdef bytes _chunk
    cdef Py_ssize_t _at  # first unread byte of _chunk
    cdef uint8_t *_partial  # a frame whose end has not come
    cdef Py_ssize_t _partial_size
    cdef Py_ssize_t _partial_room
    cdef uint64_t _base  # stream offset of the first byte of _partial, else of _chunk[_at]
    cdef object _fault

    def __cinit__(self):
        self._partial = NULL
        self._partial_size = self._partial_room = 0
        self._chunk = b""
        self._at = 0
        self._base = 0
        self._fault = None

    def __dealloc__(self):
        PyMem_Free(self._partial)

    @property
    def pending_bytes(self):
        """Bytes fed that no delivered message accounts for."""
        return self._partial_size + PyBytes_GET_SIZE(self._chunk) - self._at

    @property
    def fault(self):
        """The fault that poisoned the decoder, or None."""
        return self._fault

    def feed(self, data):
        """Take bytes from the stream; `bytes` are kept by reference, other buffers are copied.

        Raises:
            FrameError: the decoder is poisoned.
        """
        if self._fault is not None:
            raise self._again()
        cdef bytes chunk = data if type(data) is bytes else bytes(data)
        if self._at < PyBytes_GET_SIZE(self._chunk):
            # The caller fed again before it iterated to the end: join, which is rare.
            chunk = self._chunk[self._at:] + chunk
        self._chunk = chunk
        self._at = 0

    def finish(self):
        """Say that the stream ended.

        Raises:
            FrameError: `frame_truncated` when a frame was cut, or the fault of a poisoned decoder.
        """
        if self._fault is not None:
            raise self._again()
        if self.pending_bytes:
            raise self._poison(
                FrameTruncated(
                    "the stream ended inside a frame",
                    reason="frame_truncated",
                    offset=self._base + self.pending_bytes,
                    missing_bytes=self._missing_bytes(),
                )
            )

    def __iter__(self):
        return self

    def __next__(self):
        """The next whole message and its encoding.

        Raises:
            StopIteration: the next frame is not complete yet; feed and iterate again.
            FrameError: the stream is malformed from here on.
        """
        if self._fault is not None:
            raise self._again()
        try:
            return self._take_partial() if self._partial_size else self._take_whole()
        except FrameError as fault:
            raise self._poison(fault) from None

    cdef object _take_whole(self):
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(self._chunk) + self._at
        cdef Py_ssize_t there = PyBytes_GET_SIZE(self._chunk) - self._at
        cdef Py_ssize_t length
        cdef object message
        if there >= HEADER:
            length = self._check_length(start)
            if there - HEADER >= length:
                message = self._read(start, length)
                self._at += HEADER + length
                self._base += HEADER + length
                if self._at == PyBytes_GET_SIZE(self._chunk):
                    self._chunk = b""
                    self._at = 0
                return message
        if there:
            self._keep(there)
        raise StopIteration

    cdef object _take_partial(self):
        cdef Py_ssize_t missing, there, length
        cdef object message
        while True:
            if self._partial_size < HEADER:
                missing = HEADER - self._partial_size
            else:
                length = self._check_length(self._partial)
                missing = HEADER + length - self._partial_size
                if missing == 0:
                    break
            there = PyBytes_GET_SIZE(self._chunk) - self._at
            self._keep(missing if missing < there else there)
            if there < missing:
                raise StopIteration
        message = self._read(self._partial, length)
        self._base += HEADER + length
        self._partial_size = 0
        if self._partial_room > 65536:  # do not let one big frame hold memory for ever
            PyMem_Free(self._partial)
            self._partial = NULL
            self._partial_room = 0
        return message

    cdef Py_ssize_t _check_length(self, const uint8_t *start) except -1:
        cdef Py_ssize_t length = <Py_ssize_t>load_big_endian(start, 4)
        if length > self.frame_bytes_max:
            raise too_large(length, self.frame_bytes_max, self._base)
        if length == 0:
            raise malformed("frame_empty", self._base)
        return length

    cdef int _keep(self, Py_ssize_t count) except -1:
        """Move bytes from the chunk to the partial frame.

        Room grows with what arrived, not with what the length promises: four bytes must not buy
        a stranger 16 MiB of memory.
        """
        cdef Py_ssize_t size = self._partial_size + count
        cdef Py_ssize_t room = self._partial_room
        cdef void *grown
        if size > room:
            room = max(size, min(2 * room, HEADER + self.frame_bytes_max), 64)
            grown = PyMem_Realloc(self._partial, room)
            if grown == NULL:
                raise MemoryError
            self._partial = <uint8_t *>grown
            self._partial_room = room
        memcpy(self._partial + self._partial_size, PyBytes_AS_STRING(self._chunk) + self._at, count)
        self._partial_size = size
        self._at += count
        if self._at == PyBytes_GET_SIZE(self._chunk):
            self._chunk = b""
            self._at = 0
        return 0

    cdef object _read(self, const uint8_t *start, Py_ssize_t length):
        """One payload of `length` bytes after the header at `start`."""
        cdef Cursor cursor
        cdef uint8_t first = start[HEADER]
        if first == c"{":
            return (read_json(self, start + HEADER, length, self._base + HEADER), _json_name)
        cursor.start = cursor.at = start + HEADER
        cursor.end = cursor.start + length
        cursor.base = self._base + HEADER
        cursor.items_left = self.item_count_max
        cursor.depth_max = self.depth_max
        cursor.string_bytes_max = self.string_bytes_max
        if first >> 4 != 8 and first != 0xDE and first != 0xDF:
            raise malformed("not_a_map", cursor.base)
        message = read_value(&cursor, 1)
        if cursor.at != cursor.end:
            raise refuse(&cursor, cursor.at, "trailing_bytes")
        return (message, _msgpack_name)

    cdef object _poison(self, fault):
        self._fault = fault
        return fault

    cdef object _again(self):
        return self._fault.with_traceback(None)

    cdef Py_ssize_t _missing_bytes(self):
        cdef const uint8_t *start = self._partial
        cdef Py_ssize_t there = self.pending_bytes
        if self._partial_size == 0:
            start = <const uint8_t *>PyBytes_AS_STRING(self._chunk) + self._at
        if there < HEADER:
            return HEADER - there
        return HEADER + <Py_ssize_t>load_big_endian(start, 4) - there


@cython.final
cdef class FrameEncoder(_Limits):
    """Messages in, frames out, under the bounds that the other side's decoder has."""

    def encode(self, message, encoding=MSGPACK):
        """Header and payload in one `bytes`, ready for one write.

        Raises:
            FrameError: the message cannot be said in this encoding or passes a bound; the offset
                counts bytes of the frame for msgpack and for JSON bounds, else it is 4.
        """
        if not isinstance(message, dict):
            raise malformed("not_a_map", HEADER)
        if encoding == _msgpack_name:
            return write_msgpack(self, message)
        if encoding == _json_name:
            return write_json(self, message)
        raise ValueError(f"no such encoding: {encoding!r}")
