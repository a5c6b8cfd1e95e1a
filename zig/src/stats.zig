//! Counters of the slab and the C structure they leave by.
//!
//! Owns: relaxed atomic counters, one set for each size class. Never: locks; a reading is not one instant.

const std = @import("std");
const Atomic = std.atomic.Value;
const size_class = @import("size_class.zig");
const Slab = @import("slab.zig").Slab;
const Object = @import("object.zig").Object;

pub const Counter = struct {
    value: Atomic(u64) = .init(0),

    pub fn add(self: *Counter, amount: u64) void {
        _ = self.value.fetchAdd(amount, .monotonic);
    }
    pub fn sub(self: *Counter, amount: u64) void {
        _ = self.value.fetchSub(amount, .monotonic);
    }
    pub fn get(self: *const Counter) u64 {
        return self.value.load(.monotonic);
    }
};

pub const ClassCounters = struct {
    live: Counter = .{},
    requested: Counter = .{},
    evictions: Counter = .{},
};

pub const Counters = struct {
    objects_live: Counter = .{},
    objects_filling: Counter = .{},
    objects_retired: Counter = .{},
    body_bytes_live: Counter = .{},
    lookups: Counter = .{},
    lookup_hits: Counter = .{},
    fills: Counter = .{},
    fills_aborted: Counter = .{},
    evictions: Counter = .{},
    evicted_bytes: Counter = .{},
    deletes: Counter = .{},
    allocation_failures: Counter = .{},
    pages_moved: Counter = .{},
    classes: [size_class.count]ClassCounters = @splat(.{}),
};

pub const Direction = enum { in, out };

/// Counts an object that enters or leaves the index.
pub fn account(slab: *Slab, object: *Object, direction: Direction) void {
    const counters = &slab.counters;
    const body = object.bodyLength();
    apply(&counters.objects_live, 1, direction);
    apply(&counters.body_bytes_live, body, direction);
    const head = &counters.classes[object.size_class];
    apply(&head.live, 1, direction);
    if (!object.hasExtents()) {
        apply(&head.requested, object.headLength() + body, direction);
        return;
    }
    apply(&head.requested, object.headLength(), direction);
    var start: u64 = 0;
    for (slab.extents(object)) |extent| {
        const end = @as(u64, extent.end) * 64;
        const class = &counters.classes[slab.pages.classOf(extent.ref)];
        apply(&class.live, 1, direction);
        apply(&class.requested, @min(end, @max(body, start)) - start, direction);
        start = end;
    }
}

fn apply(counter: *Counter, amount: u64, direction: Direction) void {
    switch (direction) {
        .in => counter.add(amount),
        .out => counter.sub(amount),
    }
}

pub const SizeClassStats = extern struct {
    slot_bytes: u64,
    page_count: u64,
    slots_total: u64,
    slots_live: u64,
    bytes_requested: u64,
    evictions: u64,
};

pub const size_class_count_max = 48;

pub const SlabStats = extern struct {
    arena_bytes: u64,
    pages_total: u64,
    pages_free: u64,
    objects_live: u64,
    objects_filling: u64,
    objects_retired: u64,
    body_bytes_live: u64,
    lookups: u64,
    lookup_hits: u64,
    fills: u64,
    fills_aborted: u64,
    evictions: u64,
    evicted_bytes: u64,
    deletes: u64,
    allocation_failures: u64,
    pages_moved: u64,
    index_slots: u64,
    index_used: u64,
    size_class_count: u32,
    size_class: [size_class_count_max]SizeClassStats,
};

pub fn read(slab: *Slab, out: *SlabStats) void {
    out.* = std.mem.zeroes(SlabStats);
    const counters = &slab.counters;
    inline for (@typeInfo(Counters).@"struct".field_names) |name| {
        if (comptime std.mem.eql(u8, name, "classes")) continue;
        @field(out, name) = @field(counters, name).get();
    }
    out.arena_bytes = slab.arena.bytes.len;
    out.pages_total = slab.arena.pageCount() - 1;
    out.pages_free = slab.pages.pool_count.load(.monotonic);
    out.index_slots = slab.index.capacity();
    out.index_used = slab.index.used.load(.monotonic);
    out.size_class_count = size_class.count;
    for (&counters.classes, 0..) |*class, i| {
        const page_count = slab.pages.classes[i].page_count.load(.monotonic);
        out.size_class[i] = .{
            .slot_bytes = size_class.slotBytes(@intCast(i)),
            .page_count = page_count,
            .slots_total = @as(u64, page_count) * size_class.slotCount(@intCast(i)),
            .slots_live = class.live.get(),
            .bytes_requested = class.requested.get(),
            .evictions = class.evictions.get(),
        };
    }
}

comptime {
    std.debug.assert(size_class.count <= size_class_count_max);
}
