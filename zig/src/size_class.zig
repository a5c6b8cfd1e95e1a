//! Size classes: which slot sizes exist and which one a request gets.
//!
//! Owns: the two families of classes. Head classes (about 1.25 apart, 256 bytes to 256 KiB) hold a
//! header, its strings and a body that fits; extent classes (powers of two, 16 KiB to a page) hold only
//! body bytes. Never: state. The families never share a page, so the start of a head slot is always a
//! header and a stale handle can be checked without reading body bytes as if they were one.

const std = @import("std");

pub const page_bytes: usize = 1 << 20;
const slot_bytes_min = 256;
const head_bytes_largest = page_bytes / 4;
const extent_bytes_smallest = 16 * 1024;

pub const none: u8 = 255;

const head_table = blk: {
    @setEvalBranchQuota(10_000);
    var found: [64]u32 = undefined;
    var length: usize = 0;
    var want: usize = slot_bytes_min;
    while (want < head_bytes_largest * 9 / 10) {
        // Few large slots leave room for the nearest count; many small ones must not fall below `want`.
        const slots = if (want > 64 * 1024) (page_bytes + want / 2) / want else page_bytes / want;
        const bytes = page_bytes / slots / 64 * 64;
        found[length] = @intCast(bytes);
        length += 1;
        want = (bytes + bytes / 4 + 63) / 64 * 64;
    }
    found[length] = head_bytes_largest;
    length += 1;
    break :blk found[0..length].*;
};

const extent_table = [_]u32{
    16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20,
};

pub const head_count: u8 = head_table.len;
pub const count: u8 = head_table.len + extent_table.len;
pub const page_class: u8 = count - 1;
const sizes = head_table ++ extent_table;

/// Granules of extent pages: the smallest extent slot.
pub const granule_bytes = extent_bytes_smallest;
pub const granules_per_page = page_bytes / granule_bytes;

pub const head_bytes_max: usize = head_bytes_largest;

pub fn slotBytes(class: u8) usize {
    return sizes[class];
}

pub fn slotCount(class: u8) u32 {
    return @intCast(page_bytes / sizes[class]);
}

pub fn isHead(class: u8) bool {
    return class < head_count;
}

fn smallestHead(bytes: usize) u8 {
    var low: u8 = 0;
    var high: u8 = head_count;
    while (low < high) {
        const middle = (low + high) / 2;
        if (sizes[middle] < bytes) low = middle + 1 else high = middle;
    }
    return if (low == head_count) none else low;
}

/// Which classes an arena uses. A small one skips classes: each class wants a page of its own, and an
/// arena with fewer pages than classes would do little but move pages between them.
pub const Grain = struct {
    step: u8,

    pub fn of(page_count: u32) Grain {
        return .{ .step = if (page_count >= 128) 1 else if (page_count >= 48) 2 else 3 };
    }

    /// Smallest head class of at least so many bytes; none above head_bytes_max.
    pub fn headFor(self: Grain, bytes: usize) u8 {
        const class = smallestHead(bytes);
        return if (class == none) none else class + (head_count - 1 - class) % self.step;
    }

    /// Largest extent class that so many bytes fill, or the smallest one.
    pub fn extentFor(self: Grain, bytes: u64) u8 {
        var class: u8 = page_class;
        while (class >= head_count + self.step and sizes[class] > bytes) class -= self.step;
        return class;
    }

    /// Smallest extent class of at least so many bytes, a page at most.
    pub fn extentAtLeast(self: Grain, bytes: u64) u8 {
        var class: u8 = page_class;
        while (class >= head_count + self.step and sizes[class - self.step] >= bytes) class -= self.step;
        return class;
    }
};
