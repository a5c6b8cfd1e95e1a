//! The slab: one arena of cached objects. This file is its read side and its life.
//!
//! Owns: the parts (arena, pages, index, epochs, eviction queues, counters) and the one lock of the write
//! side. Reads (find, touch, pin, unpin, chunkAt, objectOf) take no lock and may run on any thread; fills,
//! deletes and evictions (fill.zig, catalog.zig, space.zig) hold the lock for short steps.
//! Never: parses, formats or interprets what an object means.
//!
//! Invariants: a slot is reused only when it left the index, two epochs have passed and its pins are 0;
//! the generation is new at each use of a slot; the start of a slot in a head page is always a header.

const std = @import("std");
const Atomic = std.atomic.Value;
const c = std.c;
const memory = @import("memory.zig");
const size_class = @import("size_class.zig");
const arena_module = @import("arena.zig");
const pages_module = @import("pages.zig");
const object_module = @import("object.zig");
const index_module = @import("index.zig");
const epoch = @import("epoch.zig");
const eviction = @import("eviction.zig");
const stats = @import("stats.zig");
const space = @import("space.zig");

pub const Hash = object_module.Hash;
pub const Object = object_module.Object;
pub const State = object_module.State;
const Extent = object_module.Extent;
const ExtentHeader = object_module.ExtentHeader;
const SipHash = std.crypto.auth.siphash.SipHash128(2, 4);
const unit_bytes = object_module.unit_bytes;

const reader_count_default = 64;
const reader_count_max = 4096;

pub const Options = struct {
    path: ?[*:0]const u8 = null,
    arena_bytes: u64,
    /// 0: a quarter of the arena.
    object_bytes_max: u64 = 0,
    hash_key: [2]u64 = .{ 0, 0 },
    reader_count_max: u32 = 0,
    fail_allocation: u32 = 0,
};

pub const OpenError = error{ NoMemory, System, Invalid };

pub const Slab = struct {
    arena: arena_module.Arena,
    pages: pages_module.Pages,
    index: index_module.Index,
    epochs: epoch.Epochs,
    readers: memory.Table(epoch.Reader),
    /// For each granule of an extent page: the object whose slot starts there; 0: none.
    owners: memory.Table(Atomic(u32)),
    queues: [size_class.count]eviction.Queue = @splat(.{}),
    counters: stats.Counters = .{},
    retired: space.Retired = .{},
    pressure: space.Pressure = .{},
    grain: size_class.Grain,
    failpoint: memory.Failpoint,
    lock_word: c.pthread_mutex_t = .{},
    hash_key: [16]u8,
    object_bytes_max: u64,
    generation: Atomic(u32) = .init(0),
    fills_open: Atomic(u32) = .init(0),
    region: memory.Region,

    /// `errno` gets the reason of error.System.
    pub fn open(options: Options, errno: *i32) OpenError!*Slab {
        const length = options.arena_bytes / size_class.page_bytes * size_class.page_bytes;
        if (length < arena_module.pages_min * size_class.page_bytes) return error.Invalid;
        if (length > arena_module.bytes_max) return error.Invalid;
        const reader_count = if (options.reader_count_max == 0) reader_count_default else options.reader_count_max;
        if (reader_count > reader_count_max) return error.Invalid;

        var failpoint: memory.Failpoint = .{ .fail_at = options.fail_allocation };
        const region = try memory.map(&failpoint, @sizeOf(Slab));
        errdefer memory.unmap(region);
        const self: *Slab = @ptrCast(@alignCast(region.ptr));
        var readers = try memory.Table(epoch.Reader).init(&failpoint, reader_count);
        errdefer readers.deinit();
        const granule_count = length / size_class.granule_bytes;
        var owners = try memory.Table(Atomic(u32)).init(&failpoint, granule_count);
        errdefer owners.deinit();
        var index = try index_module.Index.init(&failpoint, length);
        errdefer index.deinit();
        self.arena = try arena_module.Arena.open(&failpoint, options.path, length, options.hash_key, errno);
        errdefer self.arena.close();
        const pages = try pages_module.Pages.init(&self.arena, &failpoint);
        const arena = self.arena;
        self.* = .{
            .arena = arena,
            .pages = pages,
            .index = index,
            .epochs = epoch.Epochs.init(readers.items),
            .readers = readers,
            .owners = owners,
            .grain = size_class.Grain.of(self.arena.pageCount()),
            .failpoint = failpoint,
            .hash_key = @bitCast(options.hash_key),
            .object_bytes_max = if (options.object_bytes_max == 0) length / 4 else options.object_bytes_max,
            .region = region,
        };
        return self;
    }

    /// error.Busy while an object is pinned, a fill is open or a reader is registered.
    pub fn close(self: *Slab) error{Busy}!void {
        if (self.epochs.registeredCount() != 0 or self.fills_open.load(.acquire) != 0) return error.Busy;
        self.lock();
        const pinned = space.anyPinned(self);
        self.unlock();
        if (pinned) return error.Busy;
        self.pages.deinit();
        self.index.deinit();
        self.owners.deinit();
        self.readers.deinit();
        self.arena.close();
        memory.unmap(self.region);
    }

    pub fn lock(self: *Slab) void {
        _ = c.pthread_mutex_lock(&self.lock_word);
    }

    pub fn unlock(self: *Slab) void {
        _ = c.pthread_mutex_unlock(&self.lock_word);
    }

    pub fn registerReader(self: *Slab) error{TooManyReaders}!u32 {
        return self.epochs.register();
    }

    pub fn unregisterReader(self: *Slab, reader: u32) void {
        self.epochs.unregister(reader);
    }

    /// One store. What find and objectOf give is good until leave, longer with a pin taken before it.
    pub inline fn enter(self: *Slab, reader: u32) void {
        self.epochs.enter(reader);
    }

    pub inline fn leave(self: *Slab, reader: u32) void {
        self.epochs.leave(reader);
    }

    pub fn hashKey(self: *const Slab, key: []const u8) Hash {
        const value = SipHash.toInt(key, &self.hash_key);
        return .{ .lo = @truncate(value), .hi = @truncate(value >> 64) };
    }

    const KeyIs = struct {
        slab: *const Slab,
        hash: Hash,
        key: []const u8,

        pub inline fn accepts(self: KeyIs, ref: u32) bool {
            const object = self.slab.pages.object(ref);
            // The lengths and the key stand in the next lines: fetched while the hash arrives.
            @prefetch(@as([*]const u8, @ptrCast(object)) + unit_bytes, .{});
            @prefetch(@as([*]const u8, @ptrCast(object)) + 2 * unit_bytes, .{});
            if (!object.hash.eql(self.hash)) return false;
            return std.mem.eql(u8, object.key(), self.key);
        }
    };

    /// The LIVE object of a key; call between enter and leave. No atomic read-modify-write.
    pub fn find(self: *Slab, hash: Hash, key: []const u8) ?*Object {
        const found = self.findMatch(hash, key) orelse return null;
        return self.pages.object(found.ref);
    }

    pub inline fn findMatch(self: *Slab, hash: Hash, key: []const u8) ?index_module.Match {
        return self.index.find(hash, KeyIs{ .slab = self, .hash = hash, .key = key });
    }

    /// Counts as an access: sets the visited bit, with a store only when it was 0.
    pub inline fn touch(self: *Slab, object: *Object) void {
        _ = self;
        if (object.visited.load(.monotonic) == 0) object.visited.store(1, .monotonic);
    }

    pub fn refOf(self: *const Slab, object: *const Object) u32 {
        return @intCast((@intFromPtr(object) - @intFromPtr(self.arena.bytes.ptr)) / unit_bytes);
    }

    pub fn handleOf(self: *Slab, object: *Object) u64 {
        return @as(u64, object.generation.load(.monotonic)) << 32 | self.refOf(object);
    }

    /// The object of a handle, in any state, or null when its generation has passed. The caller is between
    /// enter and leave, and somebody holds a pin (else use pinHandle).
    pub fn objectOf(self: *Slab, handle: u64) ?*Object {
        const ref: u32 = @truncate(handle);
        const generation: u32 = @truncate(handle >> 32);
        if (generation == 0 or pages_module.pageOf(ref) >= self.arena.pageCount()) return null;
        const class = self.pages.classOf(ref);
        if (class >= size_class.head_count) return null;
        if (pages_module.slotOf(ref, class) == null) return null;
        const object = self.pages.object(ref);
        return if (object.generation.load(.acquire) == generation) object else null;
    }

    /// The caller found the object since enter, or somebody's pin is known to last during the call.
    pub fn pin(self: *Slab, object: *Object) void {
        _ = self;
        _ = object.pins.fetchAdd(1, .acquire);
    }

    pub fn unpin(self: *Slab, object: *Object) void {
        _ = self;
        _ = object.pins.fetchSub(1, .release);
    }

    /// Pins the object of a handle that nobody may have pinned, e.g. one kept from an earlier turn.
    /// Call between enter and leave (or as a guest).
    pub fn pinHandle(self: *Slab, handle: u64) ?*Object {
        const object = self.objectOf(handle) orelse return null;
        const before = object.pins.fetchAdd(1, .acquire);
        // Closed: between two uses, or about to be freed. A new generation: we pinned its successor.
        if (before & object_module.pins_closed != 0 or
            object.generation.load(.acquire) != @as(u32, @truncate(handle >> 32)))
        {
            _ = object.pins.fetchSub(1, .release);
            return null;
        }
        return object;
    }

    /// The longest contiguous run of readable body bytes at offset; empty at the end of what is filled.
    pub fn chunkAt(self: *Slab, object: *Object, offset: u64) []const u8 {
        const readable = object.filled();
        if (offset >= readable) return &.{};
        if (!object.hasExtents()) {
            const base: [*]const u8 = @ptrCast(object);
            return base[object.headLength() + offset .. object.headLength() + readable];
        }
        const run = self.extentAt(object, offset);
        return run[0..@min(run.len, readable - offset)];
    }

    pub fn extentHeaderIfAny(self: *Slab, object: *const Object) ?*ExtentHeader {
        return if (object.hasExtents()) self.extentHeader(object) else null;
    }

    pub fn extentHeader(self: *Slab, object: *const Object) *ExtentHeader {
        _ = self;
        const address = std.mem.alignForward(usize, @intFromPtr(object) + object.headLength(), 8);
        return @ptrFromInt(address);
    }

    /// Entries of an object's extent table. The count is read before the table: a table only ever is
    /// replaced by one that holds all entries of the old one and more.
    pub fn extents(self: *Slab, object: *const Object) []Extent {
        const header = self.extentHeader(object);
        const count = header.count.load(.acquire);
        return self.extentTable(header)[0..count];
    }

    pub fn extentTable(self: *Slab, header: *ExtentHeader) [*]Extent {
        const table = header.table.load(.acquire);
        if (table == 0) return @ptrFromInt(@intFromPtr(header) + @sizeOf(ExtentHeader));
        return @ptrFromInt(@intFromPtr(self.pages.object(table)) + @sizeOf(object_module.TableHeader));
    }

    /// The bytes from offset to the end of its extent, filled or not; offset is inside the extents.
    pub fn extentAt(self: *Slab, object: *const Object, offset: u64) []u8 {
        const entries = self.extents(object);
        const unit: u32 = @intCast(offset / unit_bytes);
        var low: usize = 0;
        var high: usize = entries.len - 1;
        while (low < high) {
            const middle = (low + high) / 2;
            if (entries[middle].end > unit) high = middle else low = middle + 1;
        }
        const start = if (low == 0) 0 else @as(u64, entries[low - 1].end) * unit_bytes;
        const end = @as(u64, entries[low].end) * unit_bytes;
        const base: [*]u8 = @ptrCast(self.pages.object(entries[low].ref));
        return base[offset - start .. end - start];
    }
};
