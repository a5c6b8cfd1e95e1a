/* The engine's structures as C lays them out; zig/src/engine_types.zig asserts the same figures.
 *
 * Owns: nothing at run time. Compiled with -fsyntax-only by `python build/zig_archive.py abi-check`. */
#include "neurocache.h"

#include <assert.h>

static_assert(sizeof(nc_engine_options) == 56, "nc_engine_options");
static_assert(sizeof(nc_field) == 16, "nc_field");
static_assert(sizeof(nc_event) == 128, "nc_event");
static_assert(offsetof(nc_event, hash) == 48, "nc_event.hash");
static_assert(offsetof(nc_event, field_count) == 64, "nc_event.field_count");
static_assert(offsetof(nc_event, kind) == 100, "nc_event.kind");
static_assert(offsetof(nc_event, peer_address) == 108, "nc_event.peer_address");
static_assert(offsetof(nc_event, peer_port) == 124, "nc_event.peer_port");
static_assert(sizeof(nc_answer) == 40, "nc_answer");
static_assert(offsetof(nc_answer, status) == 36, "nc_answer.status");
static_assert(sizeof(nc_access) == 64, "nc_access");
static_assert(offsetof(nc_access, status) == 52, "nc_access.status");
static_assert(sizeof(nc_engine_stats) == 88 * 8, "nc_engine_stats");
static_assert(offsetof(nc_engine_stats, outcomes) == 23 * 8, "nc_engine_stats.outcomes");
static_assert(sizeof(nc_engine_api) == 18 * sizeof(void *), "nc_engine_api");
