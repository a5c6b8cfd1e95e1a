//! Fills: how an object is written, and how it ends (published, complete without index, aborted).
//!
//! Owns: the layout of a new object and its extents. Never: waits for the filler. One thread at a time
//! calls these functions for one fill; followers read along lock-free through chunkAt.
//!
//! A body of known length is reserved whole at begin: a fill that began cannot run out of space. One of
//! unknown length grows by extents; when it ends, a small or wasteful one is copied to a slot that fits.

const std = @import("std");
const size_class = @import("size_class.zig");
const object_module = @import("object.zig");
const space = @import("space.zig");
const catalog = @import("catalog.zig");
const crc32c = @import("crc32c.zig");
const Slab = @import("slab.zig").Slab;
const Object = object_module.Object;
const Extent = object_module.Extent;
const ExtentHeader = object_module.ExtentHeader;
const TableHeader = object_module.TableHeader;
const unit_bytes = object_module.unit_bytes;
const length_unknown = object_module.length_unknown;

/// Enough for about 5 MiB of growth before an external table is needed.
const entries_unknown = 12;
/// More entries than this get an external table from the start.
const entries_inline_max = 128;
/// Larger bodies are not copied when they end: the copy would cost more than the waste.
const compact_bytes_max = 4 << 20;

pub const Spec = struct {
    key: []const u8,
    fields: []const u8 = &.{},
    fields_304: []const u8 = &.{},
    meta: []const u8 = &.{},
    /// Bytes, or length_unknown.
    body_length: u64,
    etag_offset: u32 = 0,
    etag_length: u32 = 0,
    last_modified: u32 = 0,
    born: u32 = 0,
    expires: u32 = 0,
    stale_while_revalidate: u32 = 0,
    stale_if_error: u32 = 0,
    flags: u32 = 0,
    status: u16 = 200,
};

pub const BeginError = error{ Invalid, TooLarge, NoSpace };
pub const BufferError = error{ WrongState, TooLarge, NoSpace };

/// What a body of known length is cut into: whole pages, then at most two smaller extents.
const Plan = struct {
    pages: u64,
    tail: [2]u8,
    tail_count: u32,

    fn make(grain: size_class.Grain, body_length: u64) Plan {
        var plan: Plan = .{ .pages = body_length / size_class.page_bytes, .tail = undefined, .tail_count = 0 };
        const rest = body_length % size_class.page_bytes;
        if (rest == 0) return plan;
        const one = grain.extentAtLeast(rest);
        const first = grain.extentFor(rest);
        const reached = size_class.slotBytes(first);
        if (reached >= rest) {
            plan.add(first);
        } else {
            const second = grain.extentAtLeast(rest - reached);
            const is_tighter = reached + size_class.slotBytes(second) < size_class.slotBytes(one);
            plan.add(if (is_tighter) first else one);
            if (is_tighter) plan.add(second);
        }
        return plan;
    }

    fn add(self: *Plan, class: u8) void {
        self.tail[self.tail_count] = class;
        self.tail_count += 1;
    }

    fn count(self: *const Plan) u64 {
        return self.pages + self.tail_count;
    }
};

fn check(slab: *Slab, spec: *const Spec) BeginError!void {
    if (spec.key.len == 0 or spec.key.len > object_module.key_bytes_max) return error.Invalid;
    if (spec.status < 100 or spec.status > 599) return error.Invalid;
    if (spec.flags > std.math.maxInt(u16)) return error.Invalid;
    const bound = object_module.part_bytes_max;
    if (spec.fields.len > bound or spec.fields_304.len > bound or spec.meta.len > bound) return error.TooLarge;
    if (@as(u64, spec.etag_offset) + spec.etag_length > spec.fields.len) return error.Invalid;
    if (spec.body_length != length_unknown and spec.body_length > slab.object_bytes_max) return error.TooLarge;
}

/// A FILLING object with one pin, the filler's.
pub fn begin(slab: *Slab, spec: *const Spec) BeginError!*Object {
    try check(slab, spec);
    const object = try make(slab, spec);
    _ = slab.fills_open.fetchAdd(1, .acq_rel);
    slab.counters.objects_filling.add(1);
    return object;
}

fn make(slab: *Slab, spec: *const Spec) BeginError!*Object {
    const strings = spec.key.len + spec.fields.len + spec.fields_304.len + spec.meta.len;
    const head = object_module.header_bytes + strings;
    const is_inline = spec.body_length != length_unknown and head + spec.body_length <= size_class.head_bytes_max;
    var entries: u64 = 0;
    if (!is_inline) {
        entries = entries_unknown;
        if (spec.body_length != length_unknown) entries = Plan.make(slab.grain, spec.body_length).count();
        if (entries > entries_inline_max) entries = 0;
    }
    const table_bytes = 8 + @sizeOf(ExtentHeader) + entries * @sizeOf(Extent);
    const bytes = head + if (is_inline) spec.body_length else table_bytes;
    const class = slab.grain.headFor(@intCast(bytes));
    if (class == size_class.none) return error.TooLarge;
    const ref = try space.allocate(slab, class);
    const object = slab.pages.object(ref);
    writeHead(slab, object, spec, class, is_inline);
    if (!is_inline) {
        slab.extentHeader(object).* = .{
            .table = .init(0),
            .count = .init(0),
            .capacity = @intCast(entries),
            .inline_capacity = @intCast(entries),
        };
        if (spec.body_length != length_unknown) reserve(slab, object, spec.body_length) catch |reason| {
            discard(slab, object);
            return reason;
        };
    }
    object.openPinned();
    object.state_word.store(@backingInt(object_module.State.filling), .release);
    var generation = slab.generation.fetchAdd(1, .monotonic) +% 1;
    // 0 names no object. After 2^32 fills generations repeat; a handle would have to be that old.
    if (generation == 0) generation = slab.generation.fetchAdd(1, .monotonic) +% 1;
    object.generation.store(generation, .release);
    return object;
}

fn writeHead(slab: *Slab, object: *Object, spec: *const Spec, class: u8, is_inline: bool) void {
    object.visited.store(0, .monotonic);
    object.size_class = class;
    object.marks.store(if (is_inline) 0 else object_module.mark_extents, .monotonic);
    object.link_next = 0;
    object.link_prev = 0;
    object.hash = slab.hashKey(spec.key);
    object.body_length_word.store(spec.body_length, .monotonic);
    object.filled_word.store(0, .monotonic);
    object.born_word.store(spec.born, .monotonic);
    object.expires_word.store(spec.expires, .monotonic);
    object.stale_while_revalidate_word.store(spec.stale_while_revalidate, .monotonic);
    object.stale_if_error_word.store(spec.stale_if_error, .monotonic);
    object.last_modified_word = spec.last_modified;
    object.key_length = @intCast(spec.key.len);
    object.status_word = spec.status;
    object.fields_length = @intCast(spec.fields.len);
    object.fields_304_length = @intCast(spec.fields_304.len);
    object.meta_length = @intCast(spec.meta.len);
    object.etag_offset = @intCast(spec.etag_offset);
    object.etag_length = @intCast(spec.etag_length);
    object.flags_word.store(@intCast(spec.flags), .monotonic);
    object.body_crc32c = 0;
    object.header_crc32c = 0;
    var at: usize = object_module.header_bytes;
    const base: [*]u8 = @ptrCast(object);
    for ([_][]const u8{ spec.key, spec.fields, spec.fields_304, spec.meta }) |part| {
        @memcpy(base[at..][0..part.len], part);
        at += part.len;
    }
}

fn reserve(slab: *Slab, object: *Object, body_length: u64) error{NoSpace}!void {
    const plan = Plan.make(slab.grain, body_length);
    for (0..plan.pages) |_| try append(slab, object, size_class.page_class);
    for (plan.tail[0..plan.tail_count]) |class| try append(slab, object, class);
}

/// One more extent at the end of the body's room.
fn append(slab: *Slab, object: *Object, class: u8) error{NoSpace}!void {
    const header = slab.extentHeader(object);
    const count = header.count.load(.monotonic);
    if (count == header.capacity) try growTable(slab, object, header);
    const ref = try space.allocate(slab, class);
    space.ownerOf(slab, ref).store(slab.refOf(object), .release);
    const table = slab.extentTable(header);
    const start = if (count == 0) 0 else table[count - 1].end;
    table[count] = .{ .ref = ref, .end = start + @as(u32, @intCast(size_class.slotBytes(class) / unit_bytes)) };
    header.count.store(count + 1, .release);
}

/// An external table of at least twice the entries. The old one stays: followers may be reading it.
fn growTable(slab: *Slab, object: *Object, header: *ExtentHeader) error{NoSpace}!void {
    const wanted = @sizeOf(TableHeader) + 2 * @as(u64, header.capacity) * @sizeOf(Extent);
    const class = slab.grain.extentAtLeast(wanted);
    const capacity = (size_class.slotBytes(class) - @sizeOf(TableHeader)) / @sizeOf(Extent);
    if (capacity <= header.capacity) return error.NoSpace;
    const ref = try space.allocate(slab, class);
    space.ownerOf(slab, ref).store(slab.refOf(object), .release);
    const table: *TableHeader = @ptrCast(slab.pages.object(ref));
    table.* = .{ .previous = header.table.load(.monotonic), .capacity = @intCast(capacity) };
    const entries: [*]Extent = @ptrFromInt(@intFromPtr(table) + @sizeOf(TableHeader));
    const old = slab.extents(object);
    @memcpy(entries[0..old.len], old);
    header.capacity = @intCast(capacity);
    header.table.store(ref, .release);
}

/// An object that nobody has seen.
fn discard(slab: *Slab, object: *Object) void {
    slab.lock();
    defer slab.unlock();
    space.freeSlots(slab, object, slab.epochs.now());
}

/// Bytes that may be written now, without growing.
fn room(slab: *Slab, object: *Object) []u8 {
    const filled = object.filled();
    const length = object.bodyLength();
    const bound = if (length == length_unknown) slab.object_bytes_max else length;
    if (filled >= bound) return &.{};
    if (!object.hasExtents()) {
        const base: [*]u8 = @ptrCast(object);
        return base[object.headLength() + filled .. object.headLength() + length];
    }
    const entries = slab.extents(object);
    if (entries.len == 0 or filled >= @as(u64, entries[entries.len - 1].end) * unit_bytes) return &.{};
    const run = slab.extentAt(object, filled);
    return run[0..@min(run.len, bound - filled)];
}

/// Room for the next body bytes, 1 or more.
pub fn buffer(slab: *Slab, object: *Object) BufferError![]u8 {
    if (object.state() != .filling) return error.WrongState;
    const present = room(slab, object);
    if (present.len != 0) return present;
    const filled = object.filled();
    if (object.bodyLength() != length_unknown or filled >= slab.object_bytes_max) return error.TooLarge;
    // Doubling: an extent as large as all before it, up to a page.
    try append(slab, object, slab.grain.extentAtLeast(filled));
    return room(slab, object);
}

/// `count` bytes of the buffer are written: followers may read them.
pub fn advance(slab: *Slab, object: *Object, count: u64) error{ WrongState, Invalid }!void {
    if (object.state() != .filling) return error.WrongState;
    const present = room(slab, object);
    if (count > present.len) return error.Invalid;
    object.body_crc32c = crc32c.extend(object.body_crc32c, present[0..@intCast(count)]);
    object.filled_word.store(object.filled() + count, .release);
}

pub const EndError = error{ WrongState, Incomplete };

/// LIVE and in the index. The result is the stored object with the filler's pin: another one than `fill`
/// when a body of unknown length was copied to a slot that fits. Then `fill` stays readable, complete,
/// for those who have pinned it.
pub fn publish(slab: *Slab, fill: *Object) EndError!*Object {
    try finish(slab, fill);
    var stored = fill;
    if (isWorthCompacting(slab, fill)) stored = copyTight(slab, fill) orelse fill;
    sealHeader(stored);
    slab.lock();
    defer slab.unlock();
    stored.state_word.store(@backingInt(object_module.State.live), .release);
    catalog.insert(slab, stored);
    if (stored != fill) {
        fill.state_word.store(@backingInt(object_module.State.live), .release);
        space.retire(slab, fill);
        slab.unpin(fill);
    }
    close(slab);
    slab.counters.fills.add(1);
    _ = space.reclaim(slab, 64);
    return stored;
}

/// Complete for its followers, never in the index. The filler's pin remains.
pub fn completeUnindexed(slab: *Slab, fill: *Object) EndError!void {
    try finish(slab, fill);
    slab.lock();
    defer slab.unlock();
    fill.state_word.store(@backingInt(object_module.State.live), .release);
    space.retire(slab, fill);
    close(slab);
}

/// DEAD: followers see a failed body. Drops the filler's pin.
pub fn abort(slab: *Slab, fill: *Object) error{WrongState}!void {
    if (fill.state() != .filling) return error.WrongState;
    slab.lock();
    defer slab.unlock();
    fill.state_word.store(@backingInt(object_module.State.dead), .release);
    space.retire(slab, fill);
    slab.unpin(fill);
    close(slab);
    slab.counters.fills_aborted.add(1);
    _ = space.reclaim(slab, 64);
}

fn close(slab: *Slab) void {
    slab.counters.objects_filling.sub(1);
    _ = slab.fills_open.fetchSub(1, .acq_rel);
}

/// The length is what came. Stored before the state: whoever sees LIVE sees the length.
fn finish(slab: *Slab, fill: *Object) EndError!void {
    if (fill.state() != .filling) return error.WrongState;
    const length = fill.bodyLength();
    if (length == length_unknown) {
        trim(slab, fill);
        fill.body_length_word.store(fill.filled(), .release);
    } else if (fill.filled() < length) return error.Incomplete;
}

/// Gives back an extent in which no byte was written. No reader looks past `filled`.
fn trim(slab: *Slab, fill: *Object) void {
    const entries = slab.extents(fill);
    if (entries.len == 0) return;
    const start = if (entries.len == 1) 0 else @as(u64, entries[entries.len - 2].end) * unit_bytes;
    if (fill.filled() > start) return;
    slab.lock();
    defer slab.unlock();
    slab.extentHeader(fill).count.store(@intCast(entries.len - 1), .release);
    space.giveExtent(slab, entries[entries.len - 1].ref, slab.epochs.now());
}

fn isWorthCompacting(slab: *Slab, fill: *Object) bool {
    const length = fill.bodyLength();
    const extents = slab.extentHeaderIfAny(fill) orelse return false;
    if (extents.inline_capacity != entries_unknown or length > compact_bytes_max) return false;
    if (fill.headLength() + length <= size_class.head_bytes_max) return true;
    const entries = slab.extents(fill);
    const reserved = @as(u64, entries[entries.len - 1].end) * unit_bytes;
    return reserved - length > length / 8;
}

fn copyTight(slab: *Slab, fill: *Object) ?*Object {
    const copy = make(slab, &.{
        .key = fill.key(),
        .fields = fill.fields(),
        .fields_304 = fill.fields304(),
        .meta = fill.meta(),
        .body_length = fill.bodyLength(),
        .etag_offset = fill.etag_offset,
        .etag_length = fill.etag_length,
        .last_modified = fill.lastModified(),
        .born = fill.born(),
        .expires = fill.expires(),
        .stale_while_revalidate = fill.staleWhileRevalidate(),
        .stale_if_error = fill.staleIfError(),
        .flags = fill.flags(),
        .status = fill.status(),
    }) catch return null;
    while (copy.filled() < copy.bodyLength()) {
        const from = slab.chunkAt(fill, copy.filled());
        const to = room(slab, copy);
        const count = @min(from.len, to.len);
        @memcpy(to[0..count], from[0..count]);
        copy.filled_word.store(copy.filled() + count, .release);
    }
    copy.body_crc32c = fill.body_crc32c;
    return copy;
}

/// Covers what never changes: lengths, hash, strings and the body's checksum.
fn sealHeader(object: *Object) void {
    const bytes: [*]const u8 = @ptrCast(object);
    const from = @offsetOf(Object, "key_length");
    const to = @offsetOf(Object, "flags_word");
    var checksum = crc32c.of(std.mem.asBytes(&object.hash));
    checksum = crc32c.extend(checksum, std.mem.asBytes(&object.body_length_word));
    checksum = crc32c.extend(checksum, bytes[from..to]);
    checksum = crc32c.extend(checksum, std.mem.asBytes(&object.body_crc32c));
    object.header_crc32c = crc32c.extend(checksum, bytes[object_module.header_bytes..object.headLength()]);
}
