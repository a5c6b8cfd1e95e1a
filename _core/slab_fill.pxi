# Fills and the exporter behind every view of the arena.


cdef View make_view(Slab slab, nc_object handle, const uint8_t *data, uint64_t length, bint readonly):
    cdef View view = View.__new__(View)
    check_status(nc_object_pin(slab.pointer, handle), "pin")
    view.slab = slab
    view.object_handle = handle
    view.data = data if length else &EMPTY
    view.length = length
    view.readonly = readonly
    return view


cdef class View:
    """Exports a run of an object's bytes; its pin lasts until the last memoryview is gone."""

    cdef Slab slab
    cdef nc_object object_handle
    cdef const uint8_t *data
    cdef Py_ssize_t length
    cdef bint readonly

    def __cinit__(self):
        self.object_handle = 0

    def __dealloc__(self):
        if self.object_handle:
            nc_object_unpin(self.slab.pointer, self.object_handle)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void *>self.data, self.length, self.readonly, flags)


cdef class Fill:
    cdef Slab slab
    cdef nc_object object_handle
    cdef uint64_t written
    cdef bint is_open
    # The view given last: released at the next call, so that it cannot be written by mistake.
    cdef object room

    def __init__(self):
        raise TypeError("fills come from Slab.begin_fill")

    def __dealloc__(self):
        if self.is_open:
            nc_fill_abort(self.slab.pointer, self.object_handle)

    cdef int settle(self, str operation) except -1:
        room, self.room = self.room, None
        if room is not None:
            room.release()
        if not self.is_open:
            raise WrongState("the fill has ended", operation=operation)
        return 0

    @property
    def handle(self):
        """Names the filling object, also after publish: followers are notified by it."""
        return self.object_handle

    @property
    def filled(self):
        return self.written

    cdef int take_room(self, uint8_t **data, uint64_t *length) except -1:
        cdef nc_status status
        self.slab.calls += 1
        with nogil:
            status = nc_fill_buffer(self.slab.pointer, self.object_handle, data, length)
        self.slab.calls -= 1
        check_status(status, "fill buffer")
        return 0

    def buffer(self):
        """Writable room for the next body bytes, 1 or more; good until the next call on this fill."""
        cdef uint8_t *data = NULL
        cdef uint64_t length = 0
        self.settle("buffer")
        self.take_room(&data, &length)
        self.room = memoryview(make_view(self.slab, self.object_handle, data, length, False))
        return self.room

    def advance(self, uint64_t count):
        self.settle("advance")
        check_status(nc_fill_advance(self.slab.pointer, self.object_handle, count), "advance")
        self.written += count

    def write(self, data):
        cdef Py_buffer source
        cdef uint8_t *target = NULL
        cdef uint64_t length = 0
        cdef Py_ssize_t offset = 0
        self.settle("write")
        PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
        try:
            while offset < source.len:
                self.take_room(&target, &length)
                length = min(length, <uint64_t>(source.len - offset))
                if <Py_ssize_t>length < NOGIL_COPY_BYTES:
                    memcpy(target, <const char *>source.buf + offset, length)
                    status = nc_fill_advance(self.slab.pointer, self.object_handle, length)
                else:
                    with nogil:
                        memcpy(target, <const char *>source.buf + offset, length)
                        status = nc_fill_advance(self.slab.pointer, self.object_handle, length)
                check_status(status, "advance")
                self.written += length
                offset += length
        finally:
            PyBuffer_Release(&source)

    def publish(self):
        cdef nc_object stored = 0
        cdef nc_status status
        self.settle("publish")
        self.slab.calls += 1
        with nogil:
            status = nc_fill_publish(self.slab.pointer, self.object_handle, &stored)
        self.slab.calls -= 1
        check_status(status, "publish")
        self.is_open = False
        return wrap_object(self.slab, stored)

    def complete_unindexed(self):
        self.settle("complete")
        check_status(nc_fill_complete_unindexed(self.slab.pointer, self.object_handle), "complete")
        self.is_open = False
        return wrap_object(self.slab, self.object_handle)

    def abort(self):
        """Idempotent, and nothing after publish."""
        room, self.room = self.room, None
        if room is not None:
            room.release()
        if self.is_open:
            self.is_open = False
            nc_fill_abort(self.slab.pointer, self.object_handle)
