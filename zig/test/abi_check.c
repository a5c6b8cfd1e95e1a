/* abi_check.c: what C makes of neurocache.h, and one round through the library.
 *
 * Owns: static asserts on every structure that crosses the border (the same figures stand in Zig's comptime
 * asserts) and a main that stores, finds and deletes through the C ABI alone.
 * Never: tests of behaviour beyond that.
 */
#include <neurocache.h>

#include <stdio.h>
#include <string.h>

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "size of " #type)
#define OFFSET(type, field, bytes) \
    _Static_assert(offsetof(type, field) == (bytes), "offset of " #type "." #field)

SIZE(nc_status, 4);
SIZE(nc_object, 8);
SIZE(nc_slab_options, 48);
OFFSET(nc_slab_options, hash_key, 24);
OFFSET(nc_slab_options, fail_allocation, 44);
SIZE(nc_fill_spec, 96);
OFFSET(nc_fill_spec, body_length, 32);
OFFSET(nc_fill_spec, etag_offset, 56);
OFFSET(nc_fill_spec, status, 88);
SIZE(nc_object_info, 128);
OFFSET(nc_object_info, hash, 48);
OFFSET(nc_object_info, state, 112);
OFFSET(nc_object_info, status, 120);
SIZE(nc_size_class_stats, 48);
SIZE(nc_slab_stats, 152 + 48 * NC_SIZE_CLASS_COUNT_MAX);
OFFSET(nc_slab_stats, size_class_count, 144);
OFFSET(nc_slab_stats, size_class, 152);
SIZE(nc_access, 64);
SIZE(nc_field, 16);

static int failed_line;
#define EXPECT(condition) \
    do { \
        if (!(condition) && failed_line == 0) failed_line = __LINE__; \
    } while (0)

static void store(nc_slab *slab, const char *key, const char *body, uint64_t length) {
    const char *fields = "ETag: \"x\"\r\n";
    nc_fill_spec spec = {
        .key = (const uint8_t *)key, .key_length = (uint32_t)strlen(key),
        .fields = (const uint8_t *)fields, .fields_length = (uint32_t)strlen(fields),
        .body_length = length, .etag_offset = 6, .etag_length = 3, .born = 1, .expires = 2, .status = 200,
    };
    nc_object fill = 0, stored = 0;
    uint8_t *room = NULL;
    uint64_t room_length = 0;
    EXPECT(nc_fill_begin(slab, &spec, &fill) == NC_OK);
    EXPECT(nc_fill_buffer(slab, fill, &room, &room_length) == NC_OK);
    EXPECT(room_length >= strlen(body));
    memcpy(room, body, strlen(body));
    EXPECT(nc_fill_advance(slab, fill, strlen(body)) == NC_OK);
    EXPECT(nc_fill_publish(slab, fill, &stored) == NC_OK);
    EXPECT((stored == fill) == (length != NC_LENGTH_UNKNOWN));
    EXPECT(nc_object_unpin(slab, stored) == NC_OK);
}

static void check_stored(nc_slab *slab, const char *key, const char *body) {
    nc_object object = 0;
    nc_object_info info;
    const uint8_t *chunk = NULL;
    uint64_t length = 0;
    EXPECT(nc_object_acquire(slab, (const uint8_t *)key, strlen(key), 1, &object) == NC_OK);
    EXPECT(nc_object_describe(slab, object, &info) == NC_OK);
    EXPECT(info.status == 200 && info.state == NC_STATE_LIVE && info.pins == 1);
    EXPECT(info.body_length == strlen(body) && info.filled == info.body_length);
    EXPECT(info.key_length == strlen(key) && memcmp(info.key, key, info.key_length) == 0);
    EXPECT(memcmp(info.fields + info.etag_offset, "\"x\"", info.etag_length) == 0);
    EXPECT(nc_object_chunk(slab, object, 0, &chunk, &length) == NC_OK);
    EXPECT(length == strlen(body) && memcmp(chunk, body, length) == 0);
    EXPECT(nc_slab_close(slab) == NC_BUSY);
    EXPECT(nc_object_unpin(slab, object) == NC_OK);
    EXPECT(nc_object_delete(slab, (const uint8_t *)key, strlen(key)) == NC_OK);
    EXPECT(nc_object_delete(slab, (const uint8_t *)key, strlen(key)) == NC_NOT_FOUND);
    nc_slab_reclaim(slab);
    EXPECT(nc_crc32c(0, (const uint8_t *)"123456789", 9) == 0xE3069283u);
    /* The generation has passed: refused, never misread. */
    EXPECT(nc_object_pin(slab, object) == NC_NOT_FOUND);
    EXPECT(nc_object_describe(slab, object, &info) == NC_NOT_FOUND);
    EXPECT(nc_object_pin(slab, object ^ (1ull << 40)) == NC_NOT_FOUND);
    EXPECT(nc_object_pin(slab, UINT64_MAX) == NC_NOT_FOUND);
    EXPECT(nc_object_pin(slab, 0) == NC_NOT_FOUND);
}

int main(void) {
    nc_slab_options options = {.arena_bytes = 8ull * NC_PAGE_BYTES, .hash_key = {1, 2}};
    nc_slab *slab = NULL;
    nc_slab_stats stats;
    int32_t error = 0;
    EXPECT(nc_abi_version() == NC_ABI_VERSION);
    EXPECT(nc_slab_open(&options, &slab, &error) == NC_OK);
    store(slab, "known", "hello", 5);
    store(slab, "unknown", "world", NC_LENGTH_UNKNOWN);
    check_stored(slab, "known", "hello");
    check_stored(slab, "unknown", "world");
    nc_slab_read_stats(slab, &stats);
    EXPECT(stats.objects_live == 0 && stats.fills == 2 && stats.deletes == 2 && stats.lookups == 2);
    EXPECT(stats.size_class_count <= NC_SIZE_CLASS_COUNT_MAX);
    EXPECT(nc_slab_close(slab) == NC_OK);
    if (failed_line != 0) fprintf(stderr, "abi_check.c:%d: expectation failed\n", failed_line);
    return failed_line != 0;
}
