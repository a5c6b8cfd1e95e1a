# Declarations of the slab for other extensions (neuro._core.engine).
#
# Owns: the C names of the slab's ABI and the shape of the Python classes. Only slab.pyx links the native
# library; others get its functions through `engine_api` and its pointers through `Slab`.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "neurocache.h" nogil:
    uint64_t NC_LENGTH_UNKNOWN
    uint32_t NC_TIME_NEVER, NC_PAGE_BYTES, NC_KEY_BYTES_MAX, NC_ABI_VERSION
    int NC_OK, NC_NOT_FOUND, NC_NO_SPACE, NC_TOO_LARGE, NC_INVALID, NC_BUSY, NC_WRONG_STATE
    int NC_SYSTEM, NC_NO_MEMORY, NC_INCOMPLETE, NC_FULL
    int NC_OBJECT_NEEDS_PYTHON, NC_OBJECT_AUTHORIZED_OK, NC_OBJECT_BODILESS, NC_OBJECT_PREFETCHED

    ctypedef int32_t nc_status
    ctypedef uint64_t nc_object
    ctypedef struct nc_slab:
        pass
    ctypedef struct nc_engine_api:
        pass

    ctypedef struct nc_slab_options:
        const char *path
        uint64_t arena_bytes
        uint64_t object_bytes_max
        uint64_t hash_key[2]
        uint32_t reader_count_max
        uint32_t fail_allocation

    ctypedef struct nc_fill_spec:
        const uint8_t *key
        const uint8_t *fields
        const uint8_t *fields_304
        const uint8_t *meta
        uint64_t body_length
        uint32_t key_length
        uint32_t fields_length
        uint32_t fields_304_length
        uint32_t meta_length
        uint32_t etag_offset
        uint32_t etag_length
        uint32_t last_modified
        uint32_t born
        uint32_t expires
        uint32_t stale_while_revalidate_s
        uint32_t stale_if_error_s
        uint32_t flags
        uint16_t status

    ctypedef struct nc_object_info:
        const uint8_t *key
        const uint8_t *fields
        const uint8_t *fields_304
        const uint8_t *meta
        uint64_t body_length
        uint64_t filled
        uint64_t hash[2]
        uint32_t key_length
        uint32_t fields_length
        uint32_t fields_304_length
        uint32_t meta_length
        uint32_t etag_offset
        uint32_t etag_length
        uint32_t last_modified
        uint32_t born
        uint32_t expires
        uint32_t stale_while_revalidate_s
        uint32_t stale_if_error_s
        uint32_t flags
        uint32_t state
        uint32_t pins
        uint16_t status

    ctypedef struct nc_size_class_stats:
        uint64_t slot_bytes, page_count, slots_total, slots_live, bytes_requested, evictions

    ctypedef struct nc_slab_stats:
        uint64_t arena_bytes, pages_total, pages_free, objects_live, objects_filling
        uint64_t objects_retired, body_bytes_live, lookups, lookup_hits, fills, fills_aborted
        uint64_t evictions, evicted_bytes, deletes, allocation_failures, pages_moved
        uint64_t index_slots, index_used
        uint32_t size_class_count
        nc_size_class_stats size_class[48]


cdef class Slab:
    cdef nc_slab *pointer
    # Calls that run without the GIL: close waits for none of them, it refuses.
    cdef int calls
    cdef readonly uint64_t object_bytes_max
    cdef nc_slab *open_pointer(self) except NULL


# Raises the exception of a status that is not NC_OK; `operation` goes into its text.
cdef int check_status(nc_status status, str operation) except -1

# The table of the engine's functions in the linked library.
cdef const nc_engine_api *engine_api() noexcept
