# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The native HTTP edge in Python: events out, answers in.

Owns: the engine's life and the translation of its events into Python objects that own their bytes.
Never links the native library: the functions come as a table from neuro._core.slab. All methods are
called from the event loop's thread; the engine's own threads never run Python.

Keys of requests: `http://` + authority + target for sites, `cache:` + path below /cache/ (see
zig/src/http1_request.zig, the one place that builds them).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from neuro._core.slab cimport (
    NC_LENGTH_UNKNOWN,
    NC_NOT_FOUND,
    NC_OK,
    NC_SYSTEM,
    Slab,
    check_status,
    engine_api,
    nc_object,
    nc_slab,
    nc_status,
)

import os
import socket

include "engine_api.pxi"

cdef const Api *api = <const Api *>engine_api()

OUTCOME_HIT = NC_OUTCOME_HIT
OUTCOME_MISS = NC_OUTCOME_MISS
OUTCOME_REVALIDATED = NC_OUTCOME_REVALIDATED
OUTCOME_STALE = NC_OUTCOME_STALE
OUTCOME_COLLAPSED = NC_OUTCOME_COLLAPSED
OUTCOME_BYPASS = NC_OUTCOME_BYPASS
OUTCOME_ERROR = NC_OUTCOME_ERROR
OUTCOME_OBJECT_API = NC_OUTCOME_OBJECT_API
OUTCOME_PREFETCHED = NC_OUTCOME_PREFETCHED
WRITE_HIGH_BYTES = NC_WRITE_HIGH_BYTES
ACCESS_RECORD_BYTES = 64

cdef tuple OUTCOME_NAMES = ("hit", "miss", "revalidated", "stale", "collapsed", "bypass", "error",
                            "object_api", "prefetched")
# Copying a chunk of this size costs more than giving the GIL away and taking it back.
cdef Py_ssize_t NOGIL_WRITE_BYTES = 32768
cdef enum:
    POLL_COUNT_MAX = 256


include "engine_events.pxi"


cdef bint is_present(nc_status status, str operation) except -1:
    """False where the client has left; every other failure raises."""
    if status == NC_OK:
        return True
    if status == NC_NOT_FOUND:
        return False
    check_status(status, operation)
    return False


cdef class Engine:
    """Listeners are bound by the constructor, threads run after `start()`.

    Raises:
        OSError: the address cannot be bound.
        InvalidArgument: an option is outside its range.
    """

    cdef nc_engine *pointer
    # Keeps the arena mapped for as long as threads may read it.
    cdef Slab slab
    cdef bint is_stopped

    def __cinit__(self):
        self.pointer = NULL
        self.is_stopped = False

    def __init__(self, Slab slab not None, *, str host, uint32_t port, uint32_t thread_count=1,
                 uint32_t connections_max=16384, uint32_t requests_in_flight_max=4096,
                 uint32_t request_line_bytes_max=8192, uint32_t header_bytes_max=32768,
                 uint32_t field_count_max=100, uint32_t header_timeout_ms=10_000,
                 uint32_t idle_timeout_ms=60_000, uint32_t body_timeout_ms=30_000,
                 uint32_t send_timeout_ms=30_000, uint32_t access_ring_count=65_536):
        cdef nc_engine_options options
        cdef int32_t error = 0
        cdef bytes host_bytes = host.encode("ascii")
        if self.pointer != NULL:
            raise RuntimeError("Engine.__init__ was called twice")
        options.host = PyBytes_AS_STRING(host_bytes)
        options.port = port
        options.thread_count = thread_count
        options.connections_max = connections_max
        options.requests_in_flight_max = requests_in_flight_max
        options.request_line_bytes_max = request_line_bytes_max
        options.header_bytes_max = header_bytes_max
        options.field_count_max = field_count_max
        options.header_timeout_ms = header_timeout_ms
        options.idle_timeout_ms = idle_timeout_ms
        options.body_timeout_ms = body_timeout_ms
        options.send_timeout_ms = send_timeout_ms
        options.access_ring_count = access_ring_count
        cdef nc_status status = api.create(slab.open_pointer(), &options, &self.pointer, &error)
        if status == NC_SYSTEM:
            raise OSError(error, f"{os.strerror(error)}: `{host}:{port}`")
        is_present(status, "creating the engine")
        self.slab = slab

    def __dealloc__(self):
        if self.pointer != NULL:
            with nogil:
                api.stop(self.pointer)
                api.destroy(self.pointer)
            self.pointer = NULL

    @property
    def port(self):
        """The port bound, also where 0 was asked for."""
        return api.port(self.pointer)

    @property
    def event_fd(self):
        """Readable while events wait."""
        return api.event_fd(self.pointer)

    def start(self):
        """Starts the threads; once."""
        cdef int32_t error = 0
        check_status(api.start(self.pointer, &error), "starting the engine")

    def poll(self, int count=256):
        """Up to `count` events in order of arrival."""
        cdef nc_event *events[POLL_COUNT_MAX]
        cdef uint32_t taken = 0
        cdef uint32_t i
        cdef list result = []
        taken = api.poll(self.pointer, events, min(max(count, 0), <int>POLL_COUNT_MAX))
        try:
            for i in range(taken):
                result.append(event_object(events[i]))
        finally:
            for i in range(taken):
                api.event_free(self.pointer, events[i])
        return result

    def poll_access(self, uint32_t count=4096):
        """Whole access records, ACCESS_RECORD_BYTES each (layout: nc_access in neurocache.h)."""
        cdef bytes records = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count * 64)
        cdef uint32_t taken = api.poll_access(
            self.pointer, <nc_access *>PyBytes_AS_STRING(records), count)
        return records if taken == count else records[:<Py_ssize_t>taken * 64]

    def inform(self, uint64_t request, uint16_t status, bytes fields not None):
        """Sends a 1xx response; False: the client has left."""
        return is_present(
            api.inform(self.pointer, request, status, <const uint8_t *>PyBytes_AS_STRING(fields),
                       <uint32_t>PyBytes_GET_SIZE(fields)),
            "informing")

    def read(self, uint64_t request, uint64_t count):
        """Grants `count` more body bytes; False: the client has left."""
        return is_present(api.read(self.pointer, request, count), "reading")

    def answer(self, uint64_t request, uint16_t status, bytes fields not None, *, length,
               uint8_t outcome, uint64_t object_handle=0, uint64_t offset=0, bint close=False):
        """Starts the answer; with an object it is also its end. False: the client has left."""
        cdef nc_answer answer
        answer.fields = <const uint8_t *>PyBytes_AS_STRING(fields)
        answer.fields_length = <uint32_t>PyBytes_GET_SIZE(fields)
        answer.object = object_handle
        answer.offset = offset
        answer.length = NC_LENGTH_UNKNOWN if length is None else <uint64_t>length
        answer.status = status
        answer.outcome = outcome
        answer.close = close
        return is_present(api.answer(self.pointer, request, &answer), "answering")

    def write(self, uint64_t request, data):
        """Queues a copy of a part of the body; False: the client has left."""
        cdef Py_buffer view
        cdef nc_status status
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len >= NOGIL_WRITE_BYTES:
                with nogil:
                    status = api.write(
                        self.pointer, request, <const uint8_t *>view.buf, <uint64_t>view.len)
            else:
                status = api.write(
                    self.pointer, request, <const uint8_t *>view.buf, <uint64_t>view.len)
        finally:
            PyBuffer_Release(&view)
        return is_present(status, "writing")

    def finish(self, uint64_t request):
        """Ends the body; False: the client has left."""
        return is_present(api.finish(self.pointer, request), "finishing")

    def abort(self, uint64_t request):
        """Cuts the connection so that the client sees a broken body; False: it has left already."""
        return is_present(api.abort(self.pointer, request), "aborting")

    def notify_fill(self, uint64_t handle):
        """Followers of the fill look again: after advance, publish, complete and abort."""
        api.notify_fill(self.pointer, handle)

    def stats(self):
        """Counters since the start, by the names of nc_engine_stats."""
        cdef nc_engine_stats stats
        cdef int i
        api.read_stats(self.pointer, &stats)
        return {
            "connections_accepted": stats.connections_accepted,
            "connections_open": stats.connections_open,
            "connections_refused": stats.connections_refused,
            "requests": stats.requests,
            "hits_native": stats.hits_native,
            "hits_not_modified": stats.hits_not_modified,
            "hits_partial": stats.hits_partial,
            "handed_over": stats.handed_over,
            "shed": stats.shed,
            "bytes_received": stats.bytes_received,
            "bytes_sent": stats.bytes_sent,
            "rejected_400": stats.rejected_400,
            "rejected_408": stats.rejected_408,
            "rejected_414": stats.rejected_414,
            "rejected_431": stats.rejected_431,
            "rejected_501": stats.rejected_501,
            "rejected_505": stats.rejected_505,
            "timeouts_idle": stats.timeouts_idle,
            "timeouts_send": stats.timeouts_send,
            "timeouts_body": stats.timeouts_body,
            "access_recorded": stats.access_recorded,
            "access_dropped": stats.access_dropped,
            "requests_in_flight": stats.requests_in_flight,
            "outcomes": {OUTCOME_NAMES[i]: stats.outcomes[i] for i in range(NC_OUTCOME_COUNT)},
            "status_class": [stats.status_class[i] for i in range(6)],
            "hit_duration": [stats.hit_duration[i] for i in range(NC_DURATION_BUCKETS)],
            "hit_duration_sum_us": stats.hit_duration_sum_us,
            "other_duration": [stats.other_duration[i] for i in range(NC_DURATION_BUCKETS)],
            "other_duration_sum_us": stats.other_duration_sum_us,
        }

    def drain(self):
        """Stops accepting, closes idle connections, lets answers in flight end."""
        api.drain(self.pointer)

    def stop(self):
        """Ends the threads and closes every connection; idempotent. The slab may be closed then."""
        if self.is_stopped:
            return
        self.is_stopped = True
        with nogil:
            api.stop(self.pointer)
