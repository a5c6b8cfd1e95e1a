//! Memory of the slab's own bookkeeping, and the switch that makes the n-th allocation fail.
//!
//! Owns: mapping and unmapping of zeroed pages. Never: the arena's file. Exists so that every internal
//! allocation passes one place that tests can make fail.

const std = @import("std");
const Atomic = std.atomic.Value;
const c = std.c;

pub const os_page_bytes = std.heap.page_size_min;
pub const Error = error{NoMemory};
pub const Region = []align(os_page_bytes) u8;

/// Counts allocations; the n-th one fails, once.
pub const Failpoint = struct {
    fail_at: u32 = 0,
    count: Atomic(u32) = .init(0),

    pub fn passes(self: *Failpoint) bool {
        if (self.fail_at == 0) return true;
        return self.count.fetchAdd(1, .monotonic) + 1 != self.fail_at;
    }
};

/// Zeroed anonymous memory, in huge pages where the system allows it (random access gains most).
pub fn map(failpoint: *Failpoint, bytes: usize) Error!Region {
    if (!failpoint.passes()) return error.NoMemory;
    const length = std.mem.alignForward(usize, @max(bytes, 1), os_page_bytes);
    const flags: c.MAP = .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .NORESERVE = true };
    const address = c.mmap(null, length, .{ .READ = true, .WRITE = true }, flags, -1, 0);
    if (address == c.MAP_FAILED) return error.NoMemory;
    const region = @as([*]align(os_page_bytes) u8, @ptrCast(@alignCast(address)))[0..length];
    if (length >= 4 << 20) _ = c.madvise(@ptrCast(region.ptr), length, c.MADV.HUGEPAGE);
    return region;
}

pub fn unmap(region: Region) void {
    _ = c.munmap(@ptrCast(region.ptr), region.len);
}

/// A table of `count` zeroed items that lives as long as its region.
pub fn Table(comptime T: type) type {
    return struct {
        items: []T = &.{},
        region: ?Region = null,

        const Self = @This();

        pub fn init(failpoint: *Failpoint, item_count: usize) Error!Self {
            const region = try map(failpoint, item_count * @sizeOf(T));
            const items: [*]T = @ptrCast(@alignCast(region.ptr));
            return .{ .items = items[0..item_count], .region = region };
        }

        pub fn deinit(self: *Self) void {
            if (self.region) |region| unmap(region);
            self.* = .{};
        }
    };
}
