# C names of the engine's ABI (zig/include/neurocache.h).
# Nothing is linked: the functions come as a table.

cdef extern from "neurocache.h" nogil:
    enum:
        NC_EVENT_REQUEST, NC_EVENT_BODY, NC_EVENT_WRITABLE, NC_EVENT_CLOSED
        NC_EVENT_LAST, NC_EVENT_OBJECT_API, NC_EVENT_HAS_BODY, NC_EVENT_EXPECTS_100
        NC_EVENT_STALE_HIT, NC_EVENT_PEER_LOOPBACK
        NC_OUTCOME_HIT, NC_OUTCOME_MISS, NC_OUTCOME_REVALIDATED, NC_OUTCOME_STALE
        NC_OUTCOME_COLLAPSED, NC_OUTCOME_BYPASS, NC_OUTCOME_ERROR, NC_OUTCOME_OBJECT_API
        NC_OUTCOME_PREFETCHED, NC_OUTCOME_COUNT
        NC_DURATION_BUCKETS, NC_WRITE_HIGH_BYTES

    ctypedef struct nc_engine:
        pass
    ctypedef uint64_t nc_request

    ctypedef struct nc_engine_options:
        const char *host
        uint32_t port, thread_count, connections_max, requests_in_flight_max
        uint32_t request_line_bytes_max, header_bytes_max, field_count_max
        uint32_t header_timeout_ms, idle_timeout_ms, body_timeout_ms, send_timeout_ms
        uint32_t access_ring_count

    ctypedef struct nc_field:
        uint32_t name_offset, name_length, value_offset, value_length

    ctypedef struct nc_event:
        nc_request request
        const uint8_t *data
        const nc_field *fields
        uint64_t data_length, content_length, received_ms
        uint32_t field_count, method_offset, method_length, target_offset, target_length
        uint32_t authority_offset, authority_length, key_offset, key_length
        uint16_t kind, flags
        int16_t status
        uint8_t minor_version, peer_family
        uint8_t peer_address[16]
        uint16_t peer_port

    ctypedef struct nc_answer:
        const uint8_t *fields
        nc_object object
        uint64_t offset, length
        uint32_t fields_length
        uint16_t status
        uint8_t outcome, close

    ctypedef struct nc_access:
        uint64_t time_us

    ctypedef struct nc_engine_stats:
        uint64_t connections_accepted, connections_open, connections_refused, requests
        uint64_t hits_native, hits_not_modified, hits_partial, handed_over, shed
        uint64_t bytes_received, bytes_sent
        uint64_t rejected_400, rejected_408, rejected_414, rejected_431, rejected_501, rejected_505
        uint64_t timeouts_idle, timeouts_send, timeouts_body, access_recorded, access_dropped
        uint64_t requests_in_flight
        uint64_t outcomes[9]
        uint64_t status_class[6]
        uint64_t hit_duration[24]
        uint64_t hit_duration_sum_us
        uint64_t other_duration[24]
        uint64_t other_duration_sum_us

    ctypedef struct Api "nc_engine_api":
        nc_status (*create)(
            nc_slab *, const nc_engine_options *, nc_engine **, int32_t *) noexcept nogil
        nc_status (*start)(nc_engine *, int32_t *) noexcept nogil
        uint32_t (*port)(const nc_engine *) noexcept nogil
        int32_t (*event_fd)(const nc_engine *) noexcept nogil
        nc_status (*drain)(nc_engine *) noexcept nogil
        nc_status (*stop)(nc_engine *) noexcept nogil
        void (*destroy)(nc_engine *) noexcept nogil
        uint32_t (*poll)(nc_engine *, nc_event **, uint32_t) noexcept nogil
        void (*event_free)(nc_engine *, nc_event *) noexcept nogil
        nc_status (*inform)(
            nc_engine *, nc_request, uint16_t, const uint8_t *, uint32_t) noexcept nogil
        nc_status (*read)(nc_engine *, nc_request, uint64_t) noexcept nogil
        nc_status (*answer)(nc_engine *, nc_request, const nc_answer *) noexcept nogil
        nc_status (*write)(nc_engine *, nc_request, const uint8_t *, uint64_t) noexcept nogil
        nc_status (*finish)(nc_engine *, nc_request) noexcept nogil
        nc_status (*abort)(nc_engine *, nc_request) noexcept nogil
        nc_status (*notify_fill)(nc_engine *, nc_object) noexcept nogil
        uint32_t (*poll_access)(nc_engine *, nc_access *, uint32_t) noexcept nogil
        void (*read_stats)(nc_engine *, nc_engine_stats *) noexcept nogil
