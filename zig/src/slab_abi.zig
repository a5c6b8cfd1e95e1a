//! The slab's C ABI: nc_slab_*, nc_fill_* and nc_object_* of include/neurocache.h.
//!
//! Owns: translation of handles, statuses and structures. Never: logic of the slab. Handles are resolved
//! as an epoch guest, so a stale one is refused even while its slot is being reused.

const std = @import("std");
const catalog = @import("catalog.zig");
const crc32c = @import("crc32c.zig");
const fill_module = @import("fill.zig");
const object_module = @import("object.zig");
const size_class = @import("size_class.zig");
const slab_module = @import("slab.zig");
const space = @import("space.zig");
const stats = @import("stats.zig");
const Slab = slab_module.Slab;
const Object = object_module.Object;

pub const Status = enum(i32) {
    ok = 0,
    not_found = -1,
    no_space = -2,
    too_large = -3,
    invalid = -4,
    busy = -5,
    wrong_state = -6,
    system = -7,
    no_memory = -8,
    incomplete = -9,
    full = -10,
};

fn statusOf(reason: anyerror) Status {
    return switch (reason) {
        error.NotFound => .not_found,
        error.NoSpace => .no_space,
        error.TooLarge => .too_large,
        error.Busy => .busy,
        error.WrongState => .wrong_state,
        error.System => .system,
        error.NoMemory => .no_memory,
        error.Incomplete => .incomplete,
        else => .invalid,
    };
}

pub const SlabOptions = extern struct {
    path: ?[*:0]const u8,
    arena_bytes: u64,
    object_bytes_max: u64,
    hash_key: [2]u64,
    reader_count_max: u32,
    fail_allocation: u32,
};

pub const FillSpec = extern struct {
    key: ?[*]const u8,
    fields: ?[*]const u8,
    fields_304: ?[*]const u8,
    meta: ?[*]const u8,
    body_length: u64,
    key_length: u32,
    fields_length: u32,
    fields_304_length: u32,
    meta_length: u32,
    etag_offset: u32,
    etag_length: u32,
    last_modified: u32,
    born: u32,
    expires: u32,
    stale_while_revalidate_s: u32,
    stale_if_error_s: u32,
    flags: u32,
    status: u16,
};

pub const ObjectInfo = extern struct {
    key: [*]const u8,
    fields: [*]const u8,
    fields_304: [*]const u8,
    meta: [*]const u8,
    body_length: u64,
    filled: u64,
    hash: [2]u64,
    key_length: u32,
    fields_length: u32,
    fields_304_length: u32,
    meta_length: u32,
    etag_offset: u32,
    etag_length: u32,
    last_modified: u32,
    born: u32,
    expires: u32,
    stale_while_revalidate_s: u32,
    stale_if_error_s: u32,
    flags: u32,
    state: u32,
    pins: u32,
    status: u16,
};

comptime {
    // The same figures stand in test/abi_check.c.
    std.debug.assert(@sizeOf(SlabOptions) == 48);
    std.debug.assert(@sizeOf(FillSpec) == 96);
    std.debug.assert(@offsetOf(FillSpec, "status") == 88);
    std.debug.assert(@sizeOf(ObjectInfo) == 128);
    std.debug.assert(@offsetOf(ObjectInfo, "status") == 120);
    std.debug.assert(@sizeOf(stats.SizeClassStats) == 48);
    std.debug.assert(@sizeOf(stats.SlabStats) == 152 + 48 * 48);
}

fn slice(pointer: ?[*]const u8, length: u64) []const u8 {
    return if (length == 0) &.{} else pointer.?[0..length];
}

export fn nc_slab_open(options: *const SlabOptions, out: *?*Slab, out_errno: *i32) Status {
    out.* = null;
    out_errno.* = 0;
    out.* = Slab.open(.{
        .path = options.path,
        .arena_bytes = options.arena_bytes,
        .object_bytes_max = options.object_bytes_max,
        .hash_key = options.hash_key,
        .reader_count_max = options.reader_count_max,
        .fail_allocation = options.fail_allocation,
    }, out_errno) catch |reason| return statusOf(reason);
    return .ok;
}

export fn nc_slab_close(slab: *Slab) Status {
    slab.close() catch |reason| return statusOf(reason);
    return .ok;
}

/// What a call by handle works on, with the epoch held.
const Held = struct {
    slab: *Slab,
    ticket: u1,
    object: *Object,

    fn take(slab: *Slab, handle: u64) ?Held {
        const ticket = slab.epochs.enterGuest();
        const object = slab.objectOf(handle) orelse {
            slab.epochs.leaveGuest(ticket);
            return null;
        };
        return .{ .slab = slab, .ticket = ticket, .object = object };
    }

    fn drop(self: Held) void {
        self.slab.epochs.leaveGuest(self.ticket);
    }
};

/// The object of a handle that the caller has pinned: it cannot go away, so no epoch is held while the
/// call works (a fill may have to wait for readers, and must not wait for itself).
fn pinned(slab: *Slab, handle: u64) ?*Object {
    const held = Held.take(slab, handle) orelse return null;
    defer held.drop();
    return if (held.object.pinCount() == 0) null else held.object;
}

export fn nc_fill_begin(slab: *Slab, spec: *const FillSpec, out: *u64) Status {
    out.* = 0;
    if (spec.key == null) return .invalid;
    if ((spec.fields == null and spec.fields_length != 0) or (spec.meta == null and spec.meta_length != 0) or
        (spec.fields_304 == null and spec.fields_304_length != 0)) return .invalid;
    const object = fill_module.begin(slab, &.{
        .key = slice(spec.key, spec.key_length),
        .fields = slice(spec.fields, spec.fields_length),
        .fields_304 = slice(spec.fields_304, spec.fields_304_length),
        .meta = slice(spec.meta, spec.meta_length),
        .body_length = spec.body_length,
        .etag_offset = spec.etag_offset,
        .etag_length = spec.etag_length,
        .last_modified = spec.last_modified,
        .born = spec.born,
        .expires = spec.expires,
        .stale_while_revalidate = spec.stale_while_revalidate_s,
        .stale_if_error = spec.stale_if_error_s,
        .flags = spec.flags,
        .status = spec.status,
    }) catch |reason| return statusOf(reason);
    out.* = slab.handleOf(object);
    return .ok;
}

export fn nc_fill_buffer(slab: *Slab, fill: u64, out: *[*]u8, out_length: *u64) Status {
    out_length.* = 0;
    const object = pinned(slab, fill) orelse return .not_found;
    const room = fill_module.buffer(slab, object) catch |reason| return statusOf(reason);
    out.* = room.ptr;
    out_length.* = room.len;
    return .ok;
}

export fn nc_fill_advance(slab: *Slab, fill: u64, count: u64) Status {
    const object = pinned(slab, fill) orelse return .not_found;
    fill_module.advance(slab, object, count) catch |reason| return statusOf(reason);
    return .ok;
}

export fn nc_fill_publish(slab: *Slab, fill: u64, out: *u64) Status {
    out.* = 0;
    const object = pinned(slab, fill) orelse return .not_found;
    const stored = fill_module.publish(slab, object) catch |reason| return statusOf(reason);
    out.* = slab.handleOf(stored);
    return .ok;
}

export fn nc_fill_complete_unindexed(slab: *Slab, fill: u64) Status {
    const object = pinned(slab, fill) orelse return .not_found;
    fill_module.completeUnindexed(slab, object) catch |reason| return statusOf(reason);
    return .ok;
}

export fn nc_fill_abort(slab: *Slab, fill: u64) Status {
    const object = pinned(slab, fill) orelse return .not_found;
    fill_module.abort(slab, object) catch |reason| return statusOf(reason);
    return .ok;
}

export fn nc_object_acquire(slab: *Slab, key: ?[*]const u8, key_length: u64, touch: i32, out: *u64) Status {
    out.* = 0;
    if (key == null or key_length == 0 or key_length > object_module.key_bytes_max) return .invalid;
    const object = catalog.acquire(slab, slice(key, key_length), touch != 0) orelse return .not_found;
    out.* = slab.handleOf(object);
    return .ok;
}

export fn nc_object_pin(slab: *Slab, handle: u64) Status {
    const ticket = slab.epochs.enterGuest();
    defer slab.epochs.leaveGuest(ticket);
    return if (slab.pinHandle(handle) == null) .not_found else .ok;
}

export fn nc_object_unpin(slab: *Slab, handle: u64) Status {
    const object = pinned(slab, handle) orelse return .not_found;
    slab.unpin(object);
    return .ok;
}

export fn nc_object_describe(slab: *Slab, handle: u64, out: *ObjectInfo) Status {
    const object = pinned(slab, handle) orelse return .not_found;
    // The state first: whoever sees LIVE sees the final length too.
    const state = object.state();
    out.* = .{
        .key = object.key().ptr,
        .fields = object.fields().ptr,
        .fields_304 = object.fields304().ptr,
        .meta = object.meta().ptr,
        .body_length = object.bodyLength(),
        .filled = object.filled(),
        .hash = .{ object.hash.lo, object.hash.hi },
        .key_length = object.key_length,
        .fields_length = object.fields_length,
        .fields_304_length = object.fields_304_length,
        .meta_length = object.meta_length,
        .etag_offset = object.etag_offset,
        .etag_length = object.etag_length,
        .last_modified = object.lastModified(),
        .born = object.born(),
        .expires = object.expires(),
        .stale_while_revalidate_s = object.staleWhileRevalidate(),
        .stale_if_error_s = object.staleIfError(),
        .flags = object.flags(),
        .state = @backingInt(state),
        .pins = object.pinCount(),
        .status = object.status(),
    };
    return .ok;
}

export fn nc_object_chunk(slab: *Slab, handle: u64, offset: u64, out: *?[*]const u8, out_length: *u64) Status {
    out.* = null;
    out_length.* = 0;
    const object = pinned(slab, handle) orelse return .not_found;
    const chunk = slab.chunkAt(object, offset);
    out.* = chunk.ptr;
    out_length.* = chunk.len;
    return .ok;
}

export fn nc_object_refresh(slab: *Slab, handle: u64, born: u32, expires: u32, swr_s: u32, sie_s: u32) Status {
    const object = pinned(slab, handle) orelse return .not_found;
    if (object.state() != .live) return .wrong_state;
    catalog.refresh(object, born, expires, swr_s, sie_s);
    return .ok;
}

export fn nc_object_delete(slab: *Slab, key: ?[*]const u8, key_length: u64) Status {
    if (key == null or key_length == 0 or key_length > object_module.key_bytes_max) return .invalid;
    catalog.delete(slab, slice(key, key_length)) catch |reason| return statusOf(reason);
    return .ok;
}

export fn nc_slab_scan(slab: *Slab, cursor: *u64, out: *u64) Status {
    out.* = 0;
    const object = catalog.scan(slab, cursor) orelse return .not_found;
    out.* = slab.handleOf(object);
    return .ok;
}

export fn nc_crc32c(value: u32, bytes: ?[*]const u8, length: u64) u32 {
    return crc32c.extend(value, slice(bytes, length));
}

export fn nc_slab_hash(slab: *Slab, key: ?[*]const u8, key_length: u64, out: *[2]u64) Status {
    if (key == null and key_length != 0) return .invalid;
    const hash = slab.hashKey(slice(key, key_length));
    out.* = .{ hash.lo, hash.hi };
    return .ok;
}

export fn nc_slab_reclaim(slab: *Slab) u64 {
    slab.lock();
    defer slab.unlock();
    return space.reclaim(slab, slab.retired.pinned.count);
}

export fn nc_slab_read_stats(slab: *Slab, out: *stats.SlabStats) void {
    stats.read(slab, out);
}
