# Events of the engine as Python objects. Each owns its bytes: the native event is freed at once.

cdef bytes slice_of(const uint8_t *data, uint32_t offset, uint32_t length):
    return PyBytes_FromStringAndSize(<const char *>data + offset, length)


cdef class RequestEvent:
    """A request that the engine does not answer by itself; owns its bytes."""

    cdef readonly uint64_t request
    cdef readonly bytes method
    cdef readonly bytes target
    cdef readonly bytes authority
    cdef readonly bytes key
    cdef readonly list fields
    cdef readonly int minor_version
    cdef readonly object content_length
    cdef readonly bint has_body
    cdef readonly bint expects_continue
    cdef readonly bint is_object_api
    cdef readonly bint is_stale_hit
    cdef readonly bint peer_is_loopback
    cdef readonly int peer_port
    cdef readonly uint64_t received_ms
    cdef int peer_family
    cdef bytes peer_bytes

    @property
    def peer_address(self):
        """Numeric IPv4 or IPv6 address of the client."""
        family = socket.AF_INET if self.peer_family == 4 else socket.AF_INET6
        return socket.inet_ntop(family, self.peer_bytes)

    def __repr__(self):
        return f"RequestEvent({self.request:#x}, {self.method!r}, {self.key!r})"


cdef class BodyEvent:
    """Body bytes that `Engine.read` asked for."""

    cdef readonly uint64_t request
    cdef readonly bytes data
    cdef readonly bint is_last


cdef class WritableEvent:
    """The queue of `Engine.write` has fallen low."""

    cdef readonly uint64_t request


cdef class ClosedEvent:
    """The request is over: finished in full, or the client left or timed out."""

    cdef readonly uint64_t request
    cdef readonly bint is_complete


cdef RequestEvent request_event(const nc_event *event):
    cdef RequestEvent self = RequestEvent.__new__(RequestEvent)
    cdef const uint8_t *data = event.data
    cdef const nc_field *field
    cdef uint32_t i
    self.request = event.request
    self.method = slice_of(data, event.method_offset, event.method_length)
    self.target = slice_of(data, event.target_offset, event.target_length)
    self.authority = slice_of(data, event.authority_offset, event.authority_length)
    self.key = slice_of(data, event.key_offset, event.key_length)
    self.fields = []
    for i in range(event.field_count):
        field = &event.fields[i]
        self.fields.append((
            slice_of(data, field.name_offset, field.name_length),
            slice_of(data, field.value_offset, field.value_length),
        ))
    self.minor_version = event.minor_version
    if event.content_length == NC_LENGTH_UNKNOWN:
        self.content_length = None
    else:
        self.content_length = event.content_length
    self.has_body = event.flags & NC_EVENT_HAS_BODY != 0
    self.expects_continue = event.flags & NC_EVENT_EXPECTS_100 != 0
    self.is_object_api = event.flags & NC_EVENT_OBJECT_API != 0
    self.is_stale_hit = event.flags & NC_EVENT_STALE_HIT != 0
    self.peer_is_loopback = event.flags & NC_EVENT_PEER_LOOPBACK != 0
    self.peer_port = event.peer_port
    self.received_ms = event.received_ms
    self.peer_family = event.peer_family
    self.peer_bytes = PyBytes_FromStringAndSize(
        <const char *>event.peer_address, 4 if event.peer_family == 4 else 16)
    return self


cdef object event_object(const nc_event *event):
    cdef BodyEvent body
    cdef WritableEvent writable
    cdef ClosedEvent closed
    if event.kind == NC_EVENT_REQUEST:
        return request_event(event)
    if event.kind == NC_EVENT_BODY:
        body = BodyEvent.__new__(BodyEvent)
        body.request = event.request
        body.data = PyBytes_FromStringAndSize(<const char *>event.data, event.data_length)
        body.is_last = event.flags & NC_EVENT_LAST != 0
        return body
    if event.kind == NC_EVENT_WRITABLE:
        writable = WritableEvent.__new__(WritableEvent)
        writable.request = event.request
        return writable
    closed = ClosedEvent.__new__(ClosedEvent)
    closed.request = event.request
    closed.is_complete = event.status == 0
    return closed
