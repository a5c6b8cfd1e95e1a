//! The object header: what stands at the start of each head slot.
//!
//! Owns: the byte layout of one cached object (header, key, fields, fields_304, meta, then the body or
//! the extent table) and typed reads of it. Never: allocates, locks, or follows extents (see slab.zig).
//! Exists so that a hit reads two cache lines of header plus the key and nothing else.
//!
//! Everything is immutable once LIVE except the atomics: freshness (304 refresh), visited, pins, flags.
//! Reading `state` with acquire before `filled` and `bodyLength` gives a consistent view of a fill.

const std = @import("std");
const Atomic = std.atomic.Value;

/// SipHash-128 of a key.
pub const Hash = extern struct {
    lo: u64,
    hi: u64,

    pub fn eql(a: Hash, b: Hash) bool {
        return (a.lo ^ b.lo) | (a.hi ^ b.hi) == 0;
    }
};

/// NC_STATE_*. DEAD is only an aborted fill: an evicted or deleted object that somebody has pinned stays
/// LIVE, because its bytes are whole; it merely left the index.
pub const State = enum(u8) { free = 0, filling = 1, live = 2, dead = 3 };

pub const unit_bytes = 64;
pub const header_bytes = @sizeOf(Object);
pub const length_unknown = std.math.maxInt(u64);
pub const key_bytes_max = 16384;
/// Bound of fields, fields_304 and meta, each: lengths are 16 bits wide.
pub const part_bytes_max = 65535;

pub const flag_needs_python: u16 = 1 << 0;
pub const flag_authorized_ok: u16 = 1 << 1;
pub const flag_bodiless: u16 = 1 << 2;
pub const flag_prefetched: u16 = 1 << 3;

pub const mark_indexed: u8 = 1 << 0;
pub const mark_extents: u8 = 1 << 1;

/// Pins of a slot that holds no object. A pin taken on it by mistake keeps the bit and is undone.
pub const pins_closed: u32 = 1 << 31;

pub const Object = extern struct {
    generation: Atomic(u32),
    pins: Atomic(u32),
    state_word: Atomic(u8),
    visited: Atomic(u8),
    size_class: u8,
    marks: Atomic(u8),
    /// Toward older objects in the eviction queue; next in the retire list.
    link_next: u32,
    hash: Hash,
    body_length_word: Atomic(u64),
    filled_word: Atomic(u64),
    born_word: Atomic(u32),
    expires_word: Atomic(u32),
    stale_while_revalidate_word: Atomic(u32),
    stale_if_error_word: Atomic(u32),
    last_modified_word: u32,
    /// Toward newer objects in the eviction queue; the epoch stamp in the retire list.
    link_prev: u32,
    key_length: u16,
    status_word: u16,
    fields_length: u16,
    fields_304_length: u16,
    meta_length: u16,
    etag_offset: u16,
    etag_length: u16,
    flags_word: Atomic(u16),
    body_crc32c: u32,
    header_crc32c: u32,

    fn part(self: *const Object, offset: usize, length: usize) []const u8 {
        const base: [*]const u8 = @ptrCast(self);
        return base[header_bytes + offset ..][0..length];
    }
    pub fn key(self: *const Object) []const u8 {
        return self.part(0, self.key_length);
    }
    /// Response field lines, each with CRLF, without framing, Age, Cache-Status and Connection.
    pub fn fields(self: *const Object) []const u8 {
        return self.part(self.key_length, self.fields_length);
    }
    /// The subset of the field lines that a 304 carries.
    pub fn fields304(self: *const Object) []const u8 {
        return self.part(@as(usize, self.key_length) + self.fields_length, self.fields_304_length);
    }
    pub fn meta(self: *const Object) []const u8 {
        const before = @as(usize, self.key_length) + self.fields_length + self.fields_304_length;
        return self.part(before, self.meta_length);
    }
    /// The entity-tag with its quotes (and W/); empty when there is none.
    pub fn etag(self: *const Object) []const u8 {
        return self.fields()[self.etag_offset..][0..self.etag_length];
    }
    /// Bytes of header and strings: where the body or the extent header begins.
    pub fn headLength(self: *const Object) usize {
        return header_bytes + @as(usize, self.key_length) + self.fields_length +
            self.fields_304_length + self.meta_length;
    }
    /// Bytes; length_unknown while filling without a promise.
    pub fn bodyLength(self: *const Object) u64 {
        return self.body_length_word.load(.acquire);
    }
    /// Body bytes readable now; equals bodyLength() once LIVE.
    pub fn filled(self: *const Object) u64 {
        return self.filled_word.load(.acquire);
    }
    pub fn state(self: *const Object) State {
        return @fromBackingInt(@intCast(self.state_word.load(.acquire)));
    }
    pub fn status(self: *const Object) u16 {
        return self.status_word;
    }
    // Freshness words are stored one by one: any mixture of an old and a new value only makes an object
    // look staler or its Age higher than it is, never fresher than the newest refresh allows.
    pub fn born(self: *const Object) u32 {
        return self.born_word.load(.monotonic);
    }
    pub fn expires(self: *const Object) u32 {
        return self.expires_word.load(.monotonic);
    }
    pub fn staleWhileRevalidate(self: *const Object) u32 {
        return self.stale_while_revalidate_word.load(.monotonic);
    }
    pub fn staleIfError(self: *const Object) u32 {
        return self.stale_if_error_word.load(.monotonic);
    }
    pub fn lastModified(self: *const Object) u32 {
        return self.last_modified_word;
    }
    pub fn flags(self: *const Object) u16 {
        return self.flags_word.load(.monotonic);
    }
    /// Clears NC_OBJECT_PREFETCHED; true for the one caller that cleared it.
    pub fn takePrefetched(self: *Object) bool {
        if (self.flags() & flag_prefetched == 0) return false;
        return self.flags_word.fetchAnd(~flag_prefetched, .monotonic) & flag_prefetched != 0;
    }
    pub fn isIndexed(self: *const Object) bool {
        return self.marks.load(.monotonic) & mark_indexed != 0;
    }
    pub fn hasExtents(self: *const Object) bool {
        return self.marks.load(.monotonic) & mark_extents != 0;
    }
    pub fn pinCount(self: *const Object) u32 {
        return self.pins.load(.acquire) & ~pins_closed;
    }

    /// Makes a slot of a page that no reader can look at an empty one.
    pub fn format(self: *Object) void {
        self.pins.store(pins_closed, .monotonic);
        self.close();
    }

    /// Ends an object whose pins were closed; its handle is refused from here on. The pins word is never
    /// stored while handles may be tried on it, only added to: a pin taken by mistake is undone later.
    pub fn close(self: *Object) void {
        self.state_word.store(@backingInt(State.free), .monotonic);
        self.marks.store(0, .monotonic);
        self.generation.store(0, .release);
    }

    /// From closed to one pin.
    pub fn openPinned(self: *Object) void {
        _ = self.pins.fetchSub(pins_closed - 1, .acq_rel);
    }

    /// From no pin to closed; false when somebody holds one.
    pub fn tryClosePins(self: *Object) bool {
        return self.pins.cmpxchgStrong(0, pins_closed, .acq_rel, .monotonic) == null;
    }
};

/// Stands after the strings of an object whose body is in extents; 8-byte aligned.
pub const ExtentHeader = extern struct {
    /// Slot of the newest external table; 0: the table follows this header.
    table: Atomic(u32),
    count: Atomic(u32),
    capacity: u32,
    /// Entries that fit behind this header.
    inline_capacity: u32,
};

/// One run of body bytes. `end` is where it ends in the body, in units of 64 bytes.
pub const Extent = extern struct { ref: u32, end: u32 };

/// First bytes of an external table; the table it replaced lives on until the object is freed, because
/// followers may be reading it.
pub const TableHeader = extern struct { previous: u32, capacity: u32 };

comptime {
    std.debug.assert(header_bytes == 96);
    std.debug.assert(@sizeOf(Extent) == 8);
    std.debug.assert(@offsetOf(Object, "hash") == 16);
}
