# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The slab in Python: objects, fills and zero-copy views of their bytes.

Owns: pins on behalf of Python objects, and this package's only link to the native library. Never
interprets fields, keys or meta. Every view holds a pin of its own, so the bytes behind it stay the
same object's for as long as the view lives, whatever happens to the cache meanwhile.
"""

from cpython.buffer cimport (
    PyBUF_CONTIG_RO,
    PyBUF_SIMPLE,
    PyBuffer_FillInfo,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy, memset

import os

cdef enum:
    CRC_UNLOCKED_BYTES_MIN = 65536  # from here on, letting other threads run is worth its price

cdef extern from "neurocache.h" nogil:
    uint32_t nc_abi_version() noexcept
    uint32_t nc_crc32c(uint32_t, const uint8_t *, uint64_t) noexcept
    nc_status nc_slab_open(const nc_slab_options *, nc_slab **, int32_t *) noexcept
    nc_status nc_slab_close(nc_slab *) noexcept
    nc_status nc_fill_begin(nc_slab *, const nc_fill_spec *, nc_object *) noexcept
    nc_status nc_fill_buffer(nc_slab *, nc_object, uint8_t **, uint64_t *) noexcept
    nc_status nc_fill_advance(nc_slab *, nc_object, uint64_t) noexcept
    nc_status nc_fill_publish(nc_slab *, nc_object, nc_object *) noexcept
    nc_status nc_fill_complete_unindexed(nc_slab *, nc_object) noexcept
    nc_status nc_fill_abort(nc_slab *, nc_object) noexcept
    nc_status nc_object_acquire(
        nc_slab *, const uint8_t *, uint64_t, int32_t, nc_object *) noexcept
    nc_status nc_object_pin(nc_slab *, nc_object) noexcept
    nc_status nc_object_unpin(nc_slab *, nc_object) noexcept
    nc_status nc_object_describe(nc_slab *, nc_object, nc_object_info *) noexcept
    nc_status nc_object_chunk(
        nc_slab *, nc_object, uint64_t, const uint8_t **, uint64_t *) noexcept
    nc_status nc_object_refresh(
        nc_slab *, nc_object, uint32_t, uint32_t, uint32_t, uint32_t) noexcept
    nc_status nc_object_delete(nc_slab *, const uint8_t *, uint64_t) noexcept
    nc_status nc_slab_scan(nc_slab *, uint64_t *, nc_object *) noexcept
    nc_status nc_slab_hash(nc_slab *, const uint8_t *, uint64_t, uint64_t *) noexcept
    uint64_t nc_slab_reclaim(nc_slab *) noexcept
    void nc_slab_read_stats(nc_slab *, nc_slab_stats *) noexcept
    const nc_engine_api *nc_engine_get_api() noexcept

include "slab_status.pxi"

ABI_VERSION = nc_abi_version()
PAGE_BYTES = NC_PAGE_BYTES
KEY_BYTES_MAX = NC_KEY_BYTES_MAX
TIME_NEVER = NC_TIME_NEVER
NEEDS_PYTHON = NC_OBJECT_NEEDS_PYTHON
AUTHORIZED_OK = NC_OBJECT_AUTHORIZED_OK
BODILESS = NC_OBJECT_BODILESS
PREFETCHED = NC_OBJECT_PREFETCHED

cdef tuple STATES = ("free", "filling", "live", "dead")
# Copies from here on run without the GIL: below, taking it back costs more than the copy.
cdef Py_ssize_t NOGIL_COPY_BYTES = 65536
cdef const uint8_t EMPTY = 0


cdef const nc_engine_api *engine_api() noexcept:
    return nc_engine_get_api()


cdef const uint8_t *bytes_of(bytes data) noexcept:
    return <const uint8_t *>PyBytes_AS_STRING(data)


cdef class Slab:
    def __cinit__(self):
        self.pointer = NULL
        self.calls = 0

    def __init__(self, arena_bytes, *, path=None, object_bytes_max=0, hash_key=(0, 0),
                 reader_count_max=0, fail_allocation=0):
        cdef nc_slab_options options
        cdef int32_t error = 0
        cdef nc_status status
        if self.pointer != NULL:
            raise WrongState("the slab is open already", operation="open")
        memset(&options, 0, sizeof(options))
        name = None if path is None else os.fsencode(path)
        if name is not None:
            options.path = name
        options.arena_bytes = arena_bytes
        options.object_bytes_max = object_bytes_max
        options.hash_key[0] = hash_key[0]
        options.hash_key[1] = hash_key[1]
        options.reader_count_max = reader_count_max
        options.fail_allocation = fail_allocation
        with nogil:
            status = nc_slab_open(&options, &self.pointer, &error)
        if status == NC_SYSTEM:
            if error == 11:  # EWOULDBLOCK of flock
                raise SlabBusy(f"arena file `{path}` is in use by another process")
            raise OSError(error, os.strerror(error), path)
        check_status(status, "open slab")
        self.object_bytes_max = options.object_bytes_max

    def __dealloc__(self):
        if self.pointer != NULL:
            # A registered reader or a forgotten pin: the mapping stays, for it is still being read.
            nc_slab_close(self.pointer)

    cdef nc_slab *open_pointer(self) except NULL:
        if self.pointer == NULL:
            raise SlabClosed("the slab is closed")
        return self.pointer

    def acquire(self, bytes key not None, bint touch=True):
        cdef nc_object handle = 0
        cdef nc_status status = nc_object_acquire(
            self.open_pointer(), bytes_of(key), PyBytes_GET_SIZE(key), touch, &handle)
        if status == NC_NOT_FOUND:
            return None
        check_status(status, "acquire")
        return wrap_object(self, handle)

    def begin_fill(self, bytes key not None, *, int status, bytes fields not None,
                   bytes fields_304 not None, bytes meta not None, body_length,
                   uint32_t etag_offset=0, uint32_t etag_length=0, uint32_t last_modified=0,
                   uint32_t born, uint32_t expires, uint32_t stale_while_revalidate_s=0,
                   uint32_t stale_if_error_s=0, uint32_t flags=0):
        cdef nc_slab *slab = self.open_pointer()
        cdef nc_fill_spec spec
        cdef nc_object handle = 0
        cdef nc_status result
        memset(&spec, 0, sizeof(spec))
        if status < 100 or status > 599:
            raise InvalidArgument(f"status {status} is not in 100..599", argument="status")
        spec.key = bytes_of(key)
        spec.fields = bytes_of(fields)
        spec.fields_304 = bytes_of(fields_304)
        spec.meta = bytes_of(meta)
        spec.body_length = NC_LENGTH_UNKNOWN if body_length is None else body_length
        spec.key_length = PyBytes_GET_SIZE(key)
        spec.fields_length = PyBytes_GET_SIZE(fields)
        spec.fields_304_length = PyBytes_GET_SIZE(fields_304)
        spec.meta_length = PyBytes_GET_SIZE(meta)
        spec.etag_offset = etag_offset
        spec.etag_length = etag_length
        spec.last_modified = last_modified
        spec.born = born
        spec.expires = expires
        spec.stale_while_revalidate_s = stale_while_revalidate_s
        spec.stale_if_error_s = stale_if_error_s
        spec.flags = flags
        spec.status = <uint16_t>status
        self.calls += 1
        with nogil:
            result = nc_fill_begin(slab, &spec, &handle)
        self.calls -= 1
        check_status(result, "begin fill")
        cdef Fill fill = Fill.__new__(Fill)
        fill.slab = self
        fill.object_handle = handle
        fill.is_open = True
        return fill

    def delete(self, bytes key not None):
        cdef nc_status status = nc_object_delete(
            self.open_pointer(), bytes_of(key), PyBytes_GET_SIZE(key))
        if status == NC_NOT_FOUND:
            return False
        check_status(status, "delete")
        return True

    def scan(self, uint64_t cursor):
        cdef nc_object handle = 0
        cdef nc_status status = nc_slab_scan(self.open_pointer(), &cursor, &handle)
        if status == NC_NOT_FOUND:
            return None, cursor
        check_status(status, "scan")
        return wrap_object(self, handle), cursor

    def hash(self, bytes key not None):
        cdef uint64_t value[2]
        check_status(
            nc_slab_hash(self.open_pointer(), bytes_of(key), PyBytes_GET_SIZE(key), value), "hash")
        return value[0], value[1]

    def reclaim(self):
        return nc_slab_reclaim(self.open_pointer())

    def stats(self):
        cdef nc_slab_stats stats
        nc_slab_read_stats(self.open_pointer(), &stats)
        return stats_dict(&stats)

    def close(self):
        cdef nc_status status
        if self.pointer == NULL:
            return
        if self.calls:
            raise SlabBusy("a fill is being made in another thread")
        status = nc_slab_close(self.pointer)
        if status == NC_BUSY:
            raise SlabBusy("objects are pinned, a fill is open or an engine runs")
        self.pointer = NULL
        check_status(status, "close slab")

    @property
    def closed(self):
        return self.pointer == NULL


cdef dict stats_dict(const nc_slab_stats *stats):
    cdef dict result = stats[0]
    classes = result.pop("size_class")
    result["size_classes"] = classes[:result.pop("size_class_count")]
    return result


cdef Object wrap_object(Slab slab, nc_object handle):
    """Takes over the caller's pin."""
    cdef Object wrapped = Object.__new__(Object)
    wrapped.slab = slab
    wrapped.object_handle = handle
    wrapped.is_held = True
    return wrapped


cdef class Object:
    cdef Slab slab
    cdef nc_object object_handle
    cdef bint is_held

    def __init__(self):
        raise TypeError("objects come from Slab.acquire, Slab.scan and Fill.publish")

    def __dealloc__(self):
        self.drop()

    cdef void drop(self) noexcept:
        if self.is_held:
            self.is_held = False
            nc_object_unpin(self.slab.pointer, self.object_handle)

    cdef nc_object_info describe(self) except *:
        cdef nc_object_info info
        if not self.is_held:
            raise WrongState("the object was released", operation="read")
        check_status(nc_object_describe(self.slab.pointer, self.object_handle, &info), "describe")
        return info

    @property
    def handle(self):
        return self.object_handle

    @property
    def key(self):
        cdef nc_object_info info = self.describe()
        return PyBytes_FromStringAndSize(<const char *>info.key, info.key_length)

    @property
    def fields(self):
        cdef nc_object_info info = self.describe()
        return PyBytes_FromStringAndSize(<const char *>info.fields, info.fields_length)

    @property
    def fields_304(self):
        cdef nc_object_info info = self.describe()
        return PyBytes_FromStringAndSize(<const char *>info.fields_304, info.fields_304_length)

    @property
    def meta(self):
        cdef nc_object_info info = self.describe()
        return PyBytes_FromStringAndSize(<const char *>info.meta, info.meta_length)

    @property
    def etag(self):
        cdef nc_object_info info = self.describe()
        return PyBytes_FromStringAndSize(
            <const char *>info.fields + info.etag_offset, info.etag_length)

    @property
    def status(self):
        return self.describe().status

    @property
    def body_length(self):
        cdef uint64_t length = self.describe().body_length
        return None if length == NC_LENGTH_UNKNOWN else length

    @property
    def filled(self):
        return self.describe().filled

    @property
    def state(self):
        return STATES[self.describe().state]

    @property
    def flags(self):
        return self.describe().flags

    @property
    def born(self):
        return self.describe().born

    @property
    def expires(self):
        return self.describe().expires

    @property
    def last_modified(self):
        return self.describe().last_modified

    @property
    def stale_while_revalidate_s(self):
        return self.describe().stale_while_revalidate_s

    @property
    def stale_if_error_s(self):
        return self.describe().stale_if_error_s

    def chunk(self, uint64_t offset):
        """Zero-copy, read-only; empty at the end. The object stays pinned while the view lives."""
        cdef const uint8_t *data = NULL
        cdef uint64_t length = 0
        self.describe()
        check_status(
            nc_object_chunk(self.slab.pointer, self.object_handle, offset, &data, &length), "chunk")
        return memoryview(make_view(self.slab, self.object_handle, data, length, True))

    def read(self):
        """The whole of what is filled, copied."""
        cdef const uint8_t *data = NULL
        cdef uint64_t length = 0, offset = 0
        cdef uint64_t filled = self.describe().filled
        cdef bytes result = PyBytes_FromStringAndSize(NULL, filled)
        cdef char *target = PyBytes_AS_STRING(result)
        while offset < filled:
            check_status(
                nc_object_chunk(self.slab.pointer, self.object_handle, offset, &data, &length), "read")
            length = min(length, filled - offset)
            with nogil:
                memcpy(target + offset, data, length)
            offset += length
        return result

    def refresh(self, uint32_t born, uint32_t expires, uint32_t stale_while_revalidate_s,
                uint32_t stale_if_error_s):
        self.describe()
        check_status(
            nc_object_refresh(self.slab.pointer, self.object_handle, born, expires,
                              stale_while_revalidate_s, stale_if_error_s), "refresh")

    def release(self):
        self.drop()


def crc32c(const uint8_t[::1] data not None, uint32_t value=0):
    """The CRC-32C of `data`, going on from `value`, the CRC-32C of what came before it."""
    cdef uint32_t result = value
    cdef uint64_t size = data.shape[0]
    if size >= CRC_UNLOCKED_BYTES_MIN:
        with nogil:
            result = nc_crc32c(value, &data[0], size)
    elif size:
        result = nc_crc32c(value, &data[0], size)
    return result


include "slab_fill.pxi"
