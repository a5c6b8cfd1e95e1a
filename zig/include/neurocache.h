/* neurocache.h: the C ABI of the native library (slab and edge engine).
 *
 * Owns: every type and function that crosses between Zig and Cython. Written by hand; a C file with
 * static asserts (zig/test/abi_check.c) and nc_abi_version() keep both sides honest.
 * Never: C++ or Python types, structures by value, callbacks into Python.
 *
 * Rules. Names are nc_<object>_<verb>. Every fallible call gives an nc_status, results leave through
 * out-pointers. Times in headers of objects are seconds of the wall clock (Unix, uint32, good until
 * 2106); deadlines are milliseconds. Unless a function says otherwise it may be called from any thread.
 */
#ifndef NEUROCACHE_H
#define NEUROCACHE_H

#include <stddef.h>
#include <stdint.h>

#define NC_ABI_VERSION 1u

uint32_t nc_abi_version(void);

/* CRC-32C of bytes, going on from value, the CRC-32C of what came before (0: nothing). */
uint32_t nc_crc32c(uint32_t value, const uint8_t *bytes, uint64_t length);

typedef int32_t nc_status;
enum {
    NC_OK = 0,
    NC_NOT_FOUND = -1,    /* no such object, or no such request any more (the client left) */
    NC_NO_SPACE = -2,     /* nothing could be evicted: every byte is pinned or filling */
    NC_TOO_LARGE = -3,    /* larger than object_bytes_max, or than the length promised at nc_fill_begin */
    NC_INVALID = -4,      /* an argument is outside its documented range */
    NC_BUSY = -5,         /* still pinned or in use; try again later */
    NC_WRONG_STATE = -6,  /* e.g. publish of an aborted fill, answer to an answered request */
    NC_SYSTEM = -7,       /* a system call failed: see the errno out-parameter */
    NC_NO_MEMORY = -8,    /* malloc or mmap failed */
    NC_INCOMPLETE = -9,   /* publish with fewer body bytes than promised */
    NC_FULL = -10,        /* a bounded queue is full */
};

/* ------------------------------------------------------------------ slab */

typedef struct nc_slab nc_slab;

/* An object: low 32 bits name the slot (arena offset / 64), high 32 bits its generation.
 * A handle whose generation has passed is refused with NC_NOT_FOUND, never misread. 0 is no object. */
typedef uint64_t nc_object;

#define NC_PAGE_BYTES (1u << 20)
#define NC_ARENA_BYTES_MAX (256ull << 30)
#define NC_KEY_BYTES_MAX 16384u
#define NC_PART_BYTES_MAX 65535u /* of fields, fields_304 and meta each; beyond: NC_TOO_LARGE */
#define NC_LENGTH_UNKNOWN UINT64_MAX
#define NC_TIME_NEVER UINT32_MAX

typedef struct nc_slab_options {
    const char *path;          /* arena file, created and sized when missing; NULL: anonymous memory */
    uint64_t arena_bytes;      /* rounded down to whole pages; at least 8 pages */
    uint64_t object_bytes_max; /* largest body; 0: a quarter of the arena */
    uint64_t hash_key[2];      /* SipHash-128 key; kept with the arena */
    uint32_t reader_count_max; /* epoch slots; 0: 64 */
    uint32_t fail_allocation;  /* tests: the n-th internal allocation fails; 0: never */
} nc_slab_options;

nc_status nc_slab_open(const nc_slab_options *options, nc_slab **out, int32_t *out_errno);
/* NC_BUSY while an object is pinned, a fill is open or a reader is registered. */
nc_status nc_slab_close(nc_slab *slab);

/* Object flags: what the edge engine may do with the object by itself. */
enum {
    NC_OBJECT_NEEDS_PYTHON = 1u << 0,    /* never answered natively (a Vary marker, must-revalidate oddities) */
    NC_OBJECT_AUTHORIZED_OK = 1u << 1,   /* may answer requests with Authorization (RFC 9111 section 3.5) */
    NC_OBJECT_BODILESS = 1u << 2,        /* status carries no body (204, 304) */
    NC_OBJECT_PREFETCHED = 1u << 3,      /* stored by prediction, not yet used; cleared by the first hit */
};

typedef struct nc_fill_spec {
    const uint8_t *key;         /* full cache key, 1..NC_KEY_BYTES_MAX bytes */
    const uint8_t *fields;      /* response field lines "Name: value\r\n"..., without framing, Age, Cache-Status, Connection */
    const uint8_t *fields_304;  /* the subset sent with 304 (RFC 9110 section 15.4.5) */
    const uint8_t *meta;        /* opaque to the library; msgpack of neuro.store */
    uint64_t body_length;       /* bytes, or NC_LENGTH_UNKNOWN */
    uint32_t key_length;
    uint32_t fields_length;
    uint32_t fields_304_length;
    uint32_t meta_length;
    uint32_t etag_offset;       /* the entity-tag (quotes and W/ included) inside fields; etag_length 0: none */
    uint32_t etag_length;
    uint32_t last_modified;     /* wall seconds; 0: none */
    uint32_t born;              /* wall seconds at which Age was 0 */
    uint32_t expires;           /* wall seconds from which the object is stale; NC_TIME_NEVER: fresh for ever */
    uint32_t stale_while_revalidate_s;
    uint32_t stale_if_error_s;
    uint32_t flags;             /* NC_OBJECT_* */
    uint16_t status;            /* 100..599 */
} nc_fill_spec;

/* A FILLING object, pinned by its filler until publish or abort. It is not in the index before publish.
 * May evict. The strings are copied. */
nc_status nc_fill_begin(nc_slab *slab, const nc_fill_spec *spec, nc_object *out);
/* Room for the next body bytes; *out_length is 1 or more, and may be less than what is still missing. */
nc_status nc_fill_buffer(nc_slab *slab, nc_object fill, uint8_t **out, uint64_t *out_length);
/* count bytes of the buffer are written; followers may read them. Sequence: buffer, write, advance. */
nc_status nc_fill_advance(nc_slab *slab, nc_object fill, uint64_t count);
/* LIVE and in the index, replacing an older object of the same key. *out is the stored object, and the filler's
 * pin, now on *out, remains the caller's (nc_object_unpin). *out is another object than fill when a body of
 * unknown length was copied to a slot that fits: then fill is complete and readable for those who pinned it
 * before, but nobody else finds it. Followers are notified with the handle of fill in either case. */
nc_status nc_fill_publish(nc_slab *slab, nc_object fill, nc_object *out);
/* Complete for those who follow it, but never in the index: used when a response turns out not storable. */
nc_status nc_fill_complete_unindexed(nc_slab *slab, nc_object fill);
/* DEAD: followers see a failed body. Drops the filler's pin. */
nc_status nc_fill_abort(nc_slab *slab, nc_object fill);

typedef struct nc_object_info {
    const uint8_t *key;
    const uint8_t *fields;
    const uint8_t *fields_304;
    const uint8_t *meta;
    uint64_t body_length;       /* NC_LENGTH_UNKNOWN while filling without a promise */
    uint64_t filled;            /* body bytes readable now */
    uint64_t hash[2];
    uint32_t key_length;
    uint32_t fields_length;
    uint32_t fields_304_length;
    uint32_t meta_length;
    uint32_t etag_offset;
    uint32_t etag_length;
    uint32_t last_modified;
    uint32_t born;
    uint32_t expires;
    uint32_t stale_while_revalidate_s;
    uint32_t stale_if_error_s;
    uint32_t flags;
    uint32_t state;             /* NC_STATE_* */
    uint32_t pins;
    uint16_t status;
} nc_object_info;

/* DEAD: an aborted fill. An object that was evicted, replaced or deleted while pinned stays LIVE for those
 * who hold it: its bytes are whole. */
enum { NC_STATE_FREE = 0, NC_STATE_FILLING = 1, NC_STATE_LIVE = 2, NC_STATE_DEAD = 3 };

/* Finds the LIVE object of a key and pins it; the caller owes one nc_object_unpin. Counts as an access
 * (visited bit) when touch is not 0. */
nc_status nc_object_acquire(nc_slab *slab, const uint8_t *key, uint64_t key_length, int32_t touch, nc_object *out);
/* A further pin on an object that the caller has pinned already. */
nc_status nc_object_pin(nc_slab *slab, nc_object object);
nc_status nc_object_unpin(nc_slab *slab, nc_object object);
/* The caller holds a pin. Pointers stay good for as long as the pin. */
nc_status nc_object_describe(nc_slab *slab, nc_object object, nc_object_info *out);
/* The longest contiguous run of readable body bytes at offset; *out_length 0 at the end of what is filled. */
nc_status nc_object_chunk(nc_slab *slab, nc_object object, uint64_t offset, const uint8_t **out, uint64_t *out_length);
/* New freshness after a 304 whose field lines did not change. */
nc_status nc_object_refresh(nc_slab *slab, nc_object object, uint32_t born, uint32_t expires,
                            uint32_t stale_while_revalidate_s, uint32_t stale_if_error_s);
/* Removes a key from the index; bytes in flight are finished. NC_NOT_FOUND when there is none. */
nc_status nc_object_delete(nc_slab *slab, const uint8_t *key, uint64_t key_length);
/* Walks LIVE objects in slot order: gives the first at or after *cursor, pinned, and moves the cursor past
 * it; NC_NOT_FOUND at the end. Objects stored or removed meanwhile may or may not be seen. */
nc_status nc_slab_scan(nc_slab *slab, uint64_t *cursor, nc_object *out);
/* SipHash-128 of a key as the index uses it. */
nc_status nc_slab_hash(nc_slab *slab, const uint8_t *key, uint64_t key_length, uint64_t out[2]);
/* Frees what waits for readers that have left meanwhile; cheap. Fills call it by themselves. */
uint64_t nc_slab_reclaim(nc_slab *slab);

#define NC_SIZE_CLASS_COUNT_MAX 48

typedef struct nc_size_class_stats {
    uint64_t slot_bytes;
    uint64_t page_count;
    uint64_t slots_total;
    uint64_t slots_live;
    uint64_t bytes_requested;    /* of the live slots: slot_bytes * slots_live minus this is internal waste */
    uint64_t evictions;
} nc_size_class_stats;

typedef struct nc_slab_stats {
    uint64_t arena_bytes;
    uint64_t pages_total;
    uint64_t pages_free;
    uint64_t objects_live;
    uint64_t objects_filling;
    uint64_t objects_retired;    /* dead, waiting for a reader or a pin */
    uint64_t body_bytes_live;
    uint64_t lookups;            /* through nc_object_acquire; the engine counts its own */
    uint64_t lookup_hits;
    uint64_t fills;
    uint64_t fills_aborted;
    uint64_t evictions;
    uint64_t evicted_bytes;
    uint64_t deletes;
    uint64_t allocation_failures; /* NC_NO_SPACE answers */
    uint64_t pages_moved;         /* taken from one size class for another */
    uint64_t index_slots;
    uint64_t index_used;
    uint32_t size_class_count;
    nc_size_class_stats size_class[NC_SIZE_CLASS_COUNT_MAX];
} nc_slab_stats;

void nc_slab_read_stats(nc_slab *slab, nc_slab_stats *out);

/* ---------------------------------------------------------------- engine */

typedef struct nc_engine nc_engine;

/* A request that waits for an answer: thread, connection and generation. Stale ones are refused. */
typedef uint64_t nc_request;

typedef struct nc_engine_options {
    const char *host;                  /* numeric IPv4 or IPv6 address to bind */
    uint32_t port;                     /* 0: the kernel chooses; see nc_engine_port */
    uint32_t thread_count;             /* 1..64 */
    uint32_t connections_max;          /* over all threads; further ones get 503 and are closed */
    uint32_t requests_in_flight_max;   /* waiting for Python; further ones get 503; at most 16384 */
    uint32_t request_line_bytes_max;   /* 8192; beyond: 414 */
    uint32_t header_bytes_max;         /* 32768; beyond: 431 */
    uint32_t field_count_max;          /* 100; beyond: 431 */
    uint32_t header_timeout_ms;        /* first byte to end of the head; beyond: 408 */
    uint32_t idle_timeout_ms;          /* between requests */
    uint32_t body_timeout_ms;          /* no body byte from the client for so long */
    uint32_t send_timeout_ms;          /* no byte accepted by the client for so long */
    uint32_t access_ring_count;        /* records, a power of two; 0: no access events */
} nc_engine_options;

/* Binds and listens (SO_REUSEPORT, one listener a thread) so that address errors show before start. */
nc_status nc_engine_create(nc_slab *slab, const nc_engine_options *options, nc_engine **out, int32_t *out_errno);
nc_status nc_engine_start(nc_engine *engine, int32_t *out_errno);
uint32_t nc_engine_port(const nc_engine *engine);
/* Readable when events wait; belongs to the engine. */
int32_t nc_engine_event_fd(const nc_engine *engine);
/* Stops accepting, closes idle connections, answers what is in flight with "Connection: close". */
nc_status nc_engine_drain(nc_engine *engine);
/* Ends the threads now and joins them; connections still open are closed. Blocks: call without the GIL. */
nc_status nc_engine_stop(nc_engine *engine);
void nc_engine_destroy(nc_engine *engine); /* after stop */

enum { /* nc_event.kind */
    NC_EVENT_REQUEST = 1,   /* a request the engine does not answer by itself */
    NC_EVENT_BODY = 2,      /* body bytes that nc_request_read asked for; flag NC_EVENT_LAST with the last */
    NC_EVENT_WRITABLE = 3,  /* the queue of nc_request_write fell to NC_WRITE_LOW_BYTES or less */
    NC_EVENT_CLOSED = 4,    /* the request is over: finished (status 0), or the client left or timed out (-1) */
};
enum { /* nc_event.flags */
    NC_EVENT_LAST = 1u << 0,
    NC_EVENT_OBJECT_API = 1u << 1,    /* path below /cache/ */
    NC_EVENT_HAS_BODY = 1u << 2,      /* Content-Length above 0 or chunked */
    NC_EVENT_EXPECTS_100 = 1u << 3,
    NC_EVENT_STALE_HIT = 1u << 4,     /* the index has the key, but stale or not answerable natively */
    NC_EVENT_PEER_LOOPBACK = 1u << 5, /* the client's address is 127.0.0.0/8 or ::1 */
};
#define NC_WRITE_HIGH_BYTES 262144u
#define NC_WRITE_LOW_BYTES 65536u
#define NC_BODY_CHUNK_BYTES_MAX 65536u

typedef struct nc_field {   /* offsets into nc_event.data */
    uint32_t name_offset, name_length, value_offset, value_length;
} nc_field;

typedef struct nc_event {
    nc_request request;
    const uint8_t *data;         /* REQUEST: raw head, then the key; BODY: the bytes */
    const nc_field *fields;      /* REQUEST: in order of arrival, names as sent, values trimmed */
    uint64_t data_length;
    uint64_t content_length;     /* REQUEST: NC_LENGTH_UNKNOWN when chunked */
    uint64_t received_ms;        /* wall clock */
    uint64_t hash[2];            /* of the key */
    uint32_t field_count;
    uint32_t method_offset, method_length;
    uint32_t target_offset, target_length;       /* origin-form, "*" for OPTIONS *; absolute-form already reduced */
    uint32_t authority_offset, authority_length; /* lower case, default port removed, no userinfo */
    uint32_t key_offset, key_length;
    uint16_t kind;
    uint16_t flags;
    int16_t status;              /* CLOSED */
    uint8_t minor_version;       /* 0 or 1 */
    uint8_t peer_family;         /* 4 or 6 */
    uint8_t peer_address[16];
    uint16_t peer_port;
} nc_event;

/* Takes up to count events; each must be given back with nc_event_free. One consumer thread. Clears the
 * event fd when it empties the ring. */
uint32_t nc_engine_poll(nc_engine *engine, nc_event **out, uint32_t count);
void nc_event_free(nc_engine *engine, nc_event *event);

/* How an answer came about: goes to the access events and metrics. */
enum {
    NC_OUTCOME_HIT = 0, NC_OUTCOME_MISS = 1, NC_OUTCOME_REVALIDATED = 2, NC_OUTCOME_STALE = 3,
    NC_OUTCOME_COLLAPSED = 4, NC_OUTCOME_BYPASS = 5, NC_OUTCOME_ERROR = 6, NC_OUTCOME_OBJECT_API = 7,
    NC_OUTCOME_PREFETCHED = 8, NC_OUTCOME_COUNT = 9,
};

typedef struct nc_answer {
    const uint8_t *fields;   /* complete field lines incl. Age and Cache-Status; no framing, no Connection */
    nc_object object;        /* not 0: the body is bytes [offset, offset+length) of this object, LIVE or FILLING */
    uint64_t offset;
    uint64_t length;         /* of the body; NC_LENGTH_UNKNOWN: chunked, or close for HTTP/1.0. */
    uint32_t fields_length;
    uint16_t status;         /* 200..599 */
    uint8_t outcome;         /* NC_OUTCOME_* */
    uint8_t close;           /* not 0: close the connection after the answer */
} nc_answer;

/* Calls below: from one thread (the event loop's). NC_NOT_FOUND: the client has left; not an error.
 * The engine adds framing (Content-Length, Transfer-Encoding) and Connection, leaves out bodies for HEAD,
 * 204 and 304 (there length is what a Content-Length may say, or NC_LENGTH_UNKNOWN for none). */

/* 1xx, except 101. Ignored for HTTP/1.0 clients. */
nc_status nc_request_inform(nc_engine *engine, nc_request request, uint16_t status, const uint8_t *fields, uint32_t fields_length);
/* Grants count body bytes; the first grant sends 100 Continue where the client expects it. */
nc_status nc_request_read(nc_engine *engine, nc_request request, uint64_t count);
/* Starts the answer. With an object this is also its end: the engine pins it, streams it, and follows a
 * FILLING one. With length 0, or a status without body, it is complete; else nc_request_write and finish. */
nc_status nc_request_answer(nc_engine *engine, nc_request request, const nc_answer *answer);
/* Queues a copy; never refuses for fullness: the caller stops at NC_WRITE_HIGH_BYTES until WRITABLE. */
nc_status nc_request_write(nc_engine *engine, nc_request request, const uint8_t *data, uint64_t length);
nc_status nc_request_finish(nc_engine *engine, nc_request request);
/* Cuts the connection: the body failed on the way, the client must see that. */
nc_status nc_request_abort(nc_engine *engine, nc_request request);
/* Followers of a FILLING object look again: call after advance, publish, complete and abort. */
nc_status nc_engine_notify_fill(nc_engine *engine, nc_object fill);

typedef struct nc_access {   /* 64 bytes, one for each finished response */
    uint64_t time_us;        /* wall clock at the end of the response */
    uint64_t hash[2];        /* of the key */
    uint64_t client_hash;    /* SipHash-64 of the client's address under the slab's key */
    uint64_t body_bytes;     /* sent */
    nc_object object;        /* 0: none */
    uint32_t duration_us;    /* head complete to last byte handed to the kernel */
    uint16_t status;
    uint8_t outcome;
    uint8_t flags;           /* bit 0: HEAD, bit 1: conditional answered 304, bit 2: range answered 206 */
    uint64_t reserved;
} nc_access;

/* Takes up to count records; one consumer. Never blocks a producer: when full, records are dropped and counted. */
uint32_t nc_engine_poll_access(nc_engine *engine, nc_access *out, uint32_t count);

#define NC_DURATION_BUCKETS 24 /* bucket i counts durations below 2^i microseconds */

typedef struct nc_engine_stats {
    uint64_t connections_accepted, connections_open, connections_refused;
    uint64_t requests;                /* complete heads, valid */
    uint64_t hits_native;             /* answered from the slab without Python, 206 and 304 included */
    uint64_t hits_not_modified, hits_partial;
    uint64_t handed_over;             /* given to Python */
    uint64_t shed;                    /* 503 because a bound was reached */
    uint64_t bytes_received, bytes_sent;
    uint64_t rejected_400, rejected_408, rejected_414, rejected_431, rejected_501, rejected_505;
    uint64_t timeouts_idle, timeouts_send, timeouts_body;
    uint64_t access_recorded, access_dropped;
    uint64_t requests_in_flight;
    uint64_t outcomes[NC_OUTCOME_COUNT];
    uint64_t status_class[6];         /* [1] 1xx ... [5] 5xx */
    uint64_t hit_duration[NC_DURATION_BUCKETS];   /* native hits */
    uint64_t hit_duration_sum_us;
    uint64_t other_duration[NC_DURATION_BUCKETS]; /* answers from Python */
    uint64_t other_duration_sum_us;
} nc_engine_stats;

void nc_engine_read_stats(nc_engine *engine, nc_engine_stats *out);

/* The functions above as a table: the one extension that links the archive hands it to the others. */
typedef struct nc_engine_api {
    nc_status (*create)(nc_slab *, const nc_engine_options *, nc_engine **, int32_t *);
    nc_status (*start)(nc_engine *, int32_t *);
    uint32_t (*port)(const nc_engine *);
    int32_t (*event_fd)(const nc_engine *);
    nc_status (*drain)(nc_engine *);
    nc_status (*stop)(nc_engine *);
    void (*destroy)(nc_engine *);
    uint32_t (*poll)(nc_engine *, nc_event **, uint32_t);
    void (*event_free)(nc_engine *, nc_event *);
    nc_status (*inform)(nc_engine *, nc_request, uint16_t, const uint8_t *, uint32_t);
    nc_status (*read)(nc_engine *, nc_request, uint64_t);
    nc_status (*answer)(nc_engine *, nc_request, const nc_answer *);
    nc_status (*write)(nc_engine *, nc_request, const uint8_t *, uint64_t);
    nc_status (*finish)(nc_engine *, nc_request);
    nc_status (*abort)(nc_engine *, nc_request);
    nc_status (*notify_fill)(nc_engine *, nc_object);
    uint32_t (*poll_access)(nc_engine *, nc_access *, uint32_t);
    void (*read_stats)(nc_engine *, nc_engine_stats *);
} nc_engine_api;

const nc_engine_api *nc_engine_get_api(void);

#endif
